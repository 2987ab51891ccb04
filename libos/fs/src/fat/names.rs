//! Names: what is allowed, how a long one is kept, and which short one goes with it.
//!
//! Source: the specification named in `geometry`, "Long Directory Entries". A short name is 8 and 3 bytes, padded with
//! blanks. A long one is in units of UTF-16, 13 in each entry before the short one's, last part first:
//!
//! ```text
//!   0x42 "e.txt"    0x01 "a long nam"    A L O N G N ~ 1 T X T
//!   part 2, last    part 1               the short entry; each part has its checksum
//! ```
//!
//! Short names that we make are ASCII. Bytes of others above that are shown as ISO 8859-1, since the volume does not
//! tell its code page.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Error;

/// A short name: 8 bytes and 3, padded with blanks.
pub(super) type Short = [u8; 11];

/// Most units of a long name.
const LONGEST: usize = 255;
/// Units in an entry.
pub(super) const UNITS: usize = 13;
/// Not allowed in any name, besides control characters.
const FORBIDDEN: &str = "\"*/:<>?\\|";
/// Allowed in short names, besides capital letters and digits.
const SPECIAL: &[u8] = b"!#$%&'()-@^_`{}~";
/// Bits of an entry's byte 12, by which Windows NT says that base or extension is shown in small letters.
const SMALL_BASE: u8 = 0x08;
const SMALL_EXTENSION: u8 = 0x10;

/// A name to be written.
pub(super) struct Encoded {
    /// Units of UTF-16; none if the short name says it all.
    pub(super) long: Vec<u16>,
    base: Vec<u8>,
    extension: Vec<u8>,
    /// Whether base and extension are the name but for small letters.
    is_whole: bool,
}

/// Whether both are one name to FAT.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let fold = |name: &'_ str| {
        name.chars()
            .flat_map(char::to_uppercase)
            .collect::<Vec<_>>()
    };
    one == other || fold(one) == fold(other)
}

impl Encoded {
    /// A name as it is written.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::NameTooLong`].
    pub(super) fn new(name: &str) -> Result<Self, Error> {
        let wrong = |c: char| c.is_control() || FORBIDDEN.contains(c);
        // Other systems cut blanks and full stops off at the end: the name would not be found again.
        if name.is_empty() || name.contains(wrong) || name.ends_with(['.', ' ']) {
            return Err(Error::BadName);
        }
        let long: Vec<u16> = name.encode_utf16().collect();
        if long.len() > LONGEST {
            return Err(Error::NameTooLong);
        }
        let (base, extension) = match name.trim_start_matches(['.', ' ']).rsplit_once('.') {
            Some((base, extension)) if !base.is_empty() => (base, extension),
            _ => (name, ""),
        };
        let (base, whole_base) = shorten(base, 8);
        let (extension, whole_extension) = shorten(extension, 3);
        let is_whole = whole_base && whole_extension && !name.starts_with(['.', ' ']);
        let is_capital = !name.bytes().any(|byte| byte.is_ascii_lowercase());
        Ok(Self {
            long: if is_whole && is_capital {
                Vec::new()
            } else {
                long
            },
            base,
            extension,
            is_whole,
        })
    }

    /// How many entries it takes.
    pub(super) fn slots(&self) -> usize {
        self.long.len().div_ceil(UNITS) + 1
    }

    /// A short name that nothing in the directory has.
    ///
    /// # Errors
    /// [`Error::DirectoryFull`]: there is none, which a directory is too small for.
    pub(super) fn short(&self, taken: &BTreeSet<Short>) -> Result<Short, Error> {
        let plain = pad(&self.base, &self.extension);
        if self.is_whole && !taken.contains(&plain) {
            return Ok(plain);
        }
        for number in 1..=999_999u32 {
            let tail = alloc::format!("~{number}");
            let room = 8 - tail.len();
            let mut base = self.base.get(..room).unwrap_or(&self.base).to_vec();
            base.extend_from_slice(tail.as_bytes());
            let short = pad(&base, &self.extension);
            if !taken.contains(&short) {
                return Ok(short);
            }
        }
        Err(Error::DirectoryFull)
    }
}

fn pad(base: &[u8], extension: &[u8]) -> Short {
    let mut short = [b' '; 11];
    for (to, from) in short[..8].iter_mut().zip(base) {
        *to = *from;
    }
    for (to, from) in short[8..].iter_mut().zip(extension) {
        *to = *from;
    }
    short
}

/// The first `most` characters that can be in a short name, and whether that is all but for small letters.
fn shorten(text: &str, most: usize) -> (Vec<u8>, bool) {
    let (mut bytes, mut whole) = (Vec::new(), true);
    for c in text.chars() {
        let byte = match c {
            ' ' | '.' => {
                whole = false;
                continue;
            }
            c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase() as u8,
            c if c.is_ascii() && SPECIAL.contains(&(c as u8)) => c as u8,
            _ => {
                whole = false;
                b'_'
            }
        };
        if bytes.len() == most {
            return (bytes, false);
        }
        bytes.push(byte);
    }
    (bytes, whole)
}

/// What ties the entries of a long name to its short one.
pub(super) fn checksum(short: &Short) -> u8 {
    let add = |sum: u8, byte: &u8| sum.rotate_right(1).wrapping_add(*byte);
    short.iter().fold(0, add)
}

/// A short name as people see it; byte 12 of its entry tells about small letters.
pub(super) fn shown(short: &Short, case: u8) -> String {
    let (base, extension) = short.split_at(8);
    let mut name = String::new();
    push(&mut name, base, case & SMALL_BASE != 0);
    // In place of the byte that marks a free entry.
    if short[0] == 0x05 {
        name.replace_range(..name.chars().next().map_or(0, char::len_utf8), "\u{e5}");
    }
    if extension.iter().any(|byte| *byte != b' ') {
        name.push('.');
        push(&mut name, extension, case & SMALL_EXTENSION != 0);
    }
    name
}

fn push(name: &mut String, bytes: &[u8], small: bool) {
    let end = bytes.iter().rposition(|byte| *byte != b' ');
    for &byte in bytes
        .get(..end.map_or(0, |end| end + 1))
        .unwrap_or_default()
    {
        let c = if small {
            byte.to_ascii_lowercase()
        } else {
            byte
        };
        match char::from(c) {
            // Nobody could name it.
            c if c.is_control() || FORBIDDEN.contains(c) => name.push(char::REPLACEMENT_CHARACTER),
            c => name.push(c),
        }
    }
}

/// A long name out of its units, if it is one that somebody could write.
pub(super) fn decode(units: &[u16]) -> Option<String> {
    let end = units.iter().position(|unit| *unit == 0);
    let units = units.get(..end.unwrap_or(units.len()))?;
    let name: Result<String, _> = char::decode_utf16(units.iter().copied()).collect();
    let name = name.ok()?;
    let wrong = |c: char| c.is_control() || FORBIDDEN.contains(c);
    let good = !name.is_empty() && name != "." && name != ".." && !name.contains(wrong);
    (good && units.len() <= LONGEST).then_some(name)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn short(name: &str) -> String {
        let short = Encoded::new(name).unwrap().short(&BTreeSet::new());
        shown(&short.unwrap(), 0)
    }

    #[test]
    fn short_names_are_made_as_elsewhere() {
        for (name, expected) in [
            ("KERNEL8.IMG", "KERNEL8.IMG"),
            ("kernel8.img", "KERNEL8.IMG"),
            ("config.txt", "CONFIG.TXT"),
            ("a long name.text", "ALONGN~1.TEX"),
            ("two.dots.txt", "TWODOT~1.TXT"),
            (".profile", "PROFIL~1"),
            ("noextension", "NOEXTE~1"),
            ("ä.txt", "_~1.TXT"),
            ("a+b", "A_B~1"),
            ("x", "X"),
        ] {
            assert_eq!(short(name), expected, "{name}");
        }
        assert!(Encoded::new("KERNEL8.IMG").unwrap().long.is_empty());
        assert_eq!(Encoded::new("kernel8.img").unwrap().slots(), 2);
        assert_eq!(Encoded::new(&"n".repeat(26)).unwrap().slots(), 3);
        assert_eq!(Encoded::new(&"n".repeat(27)).unwrap().slots(), 4);
    }

    #[test]
    fn a_number_is_as_high_as_it_must_be() {
        let mut taken = BTreeSet::new();
        let name = Encoded::new("a long name.txt").unwrap();
        for number in 1..=120 {
            let short = name.short(&taken).unwrap();
            let tail = alloc::format!("~{number}.TXT");
            assert!(shown(&short, 0).ends_with(&tail), "{number}");
            assert!(taken.insert(short));
        }
    }

    #[test]
    fn names_that_nobody_could_use_are_refused() {
        for name in ["", "a/b", "a:b", "a\u{7}", "end.", "end ", "q?", "*", "\\"] {
            assert_eq!(Encoded::new(name).err(), Some(Error::BadName), "{name:?}");
        }
        assert!(Encoded::new(&"ä".repeat(255)).is_ok());
        let long = Encoded::new(&"ä".repeat(256)).err();
        assert_eq!(long, Some(Error::NameTooLong));
        // Two units each.
        assert!(Encoded::new(&"\u{1f600}".repeat(128)).is_err());
    }

    #[test]
    fn what_others_wrote_is_shown() {
        assert_eq!(shown(b"ABC     TXT", 0x18), "abc.txt");
        assert_eq!(shown(b"ABC     TXT", 0x10), "ABC.txt");
        assert_eq!(shown(b"\x05BC        ", 0), "\u{e5}BC");
        assert_eq!(shown(b"A/C     T\0T", 0), "A\u{fffd}C.T\u{fffd}T");
        assert_eq!(decode(&[0x61, 0x2f]), None);
        assert_eq!(decode(&[0xd800]), None);
        assert_eq!(decode(&[0x61, 0, 0xffff]).as_deref(), Some("a"));
        assert_eq!(decode(&[0x2e, 0x2e]), None);
        assert!(is_same("Straße.TXT", "sTRAßE.txt") && !is_same("a", "b"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(name in "\\PC{1,60}") {
            if let Ok(encoded) = Encoded::new(&name) {
                let short = encoded.short(&BTreeSet::new()).unwrap();
                let legal = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ' || SPECIAL.contains(byte);
                prop_assert!(short.iter().all(legal) && short[0] != b' ', "{:?}", short);
                let seen = if encoded.long.is_empty() { shown(&short, 0) } else { decode(&encoded.long).unwrap_or_default() };
                prop_assert_eq!(seen, name.to_string());
            }
        }
    }
}
