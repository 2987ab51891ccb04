//! Capabilities that the monitor keeps, since somebody has to: a capability is data, and this is its list.
//!
//! Commands mint, narrow and show them, so that one can watch what the kernel says to each.

use alloc::{format, string::String, vec::Vec};

use exopi_rt::cap::PageCap;
use exopi_rt::capability::{CAPABILITY_BYTES, Capability, Caveat, PageRights, Second};
use exopi_rt::layout::{PAGE_SIZE, TABLES_BASE, USER_START};
use exopi_rt::pages::Run;
use exopi_rt::{Error, PageNumber, exposed, print, println, tables};

/// What is kept.
#[derive(Debug, Default)]
pub struct Held {
    capabilities: Vec<PageCap>,
}

/// Why a command could not be carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The kernel said no.
    Kernel(Error),
    /// The command makes no sense.
    Usage(&'static str),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl Held {
    /// Shows all, numbered.
    pub fn list(&self) {
        if self.capabilities.is_empty() {
            println!("none: what is one's own needs no capability (`mint` makes one)");
        }
        for (number, capability) in self.capabilities.iter().enumerate() {
            println!("{number}: {}", describe(capability.capability()));
        }
    }

    /// Mints one for `count` pages of the monitor's from `first` on.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn mint(&mut self, first: u32, count: u64, rights: PageRights) -> Result<(), Refusal> {
        let minted = Run::owned(PageNumber::new(first), count).mint(rights)?;
        self.keep(minted);
        Ok(())
    }

    /// Keeps a narrower copy of number `from`.
    ///
    /// # Errors
    /// There is no such number, or no place for a caveat.
    pub fn attenuate(
        &mut self,
        from: usize,
        narrowing: impl FnOnce(&PageCap) -> Result<PageCap, Error>,
    ) -> Result<(), Refusal> {
        let narrowed = narrowing(self.get(from)?)?;
        self.keep(narrowed);
        Ok(())
    }

    /// Parses one from hexadecimal digits, as `hex` prints it.
    ///
    /// # Errors
    /// They are no capability for pages.
    pub fn parse(&mut self, digits: &str) -> Result<(), Refusal> {
        let bytes = from_hex(digits).ok_or(Refusal::Usage("96 hexadecimal digits"))?;
        let parsed = PageCap::from_bytes(&bytes)?;
        self.keep(parsed);
        Ok(())
    }

    /// Prints the bytes of number `number`: whoever reads them holds it.
    ///
    /// # Errors
    /// There is no such number.
    pub fn hex(&self, number: usize) -> Result<(), Refusal> {
        for byte in self.get(number)?.to_bytes() {
            print!("{byte:02x}");
        }
        println!();
        Ok(())
    }

    /// Forgets number `number`: that ends no right, somebody may have a copy.
    ///
    /// # Errors
    /// There is no such number.
    pub fn forget(&mut self, number: usize) -> Result<(), Refusal> {
        self.get(number)?;
        self.capabilities.remove(number);
        Ok(())
    }

    /// Capability number `number`.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, number: usize) -> Result<&PageCap, Refusal> {
        let found = self.capabilities.get(number);
        found.ok_or(Refusal::Usage("a number that `caps` lists"))
    }

    fn keep(&mut self, capability: PageCap) {
        println!(
            "{}: {}",
            self.capabilities.len(),
            describe(capability.capability())
        );
        self.capabilities.push(capability);
    }
}

/// What everybody can read in a capability.
fn describe(capability: &Capability) -> String {
    let body = capability.body();
    let mut text = format!(
        "{:?} {:#x} + {}, epoch {}, rights {}",
        body.kind(),
        body.index(),
        body.count(),
        body.epoch().bits(),
        letters(PageRights::from_bits_truncate(body.rights().bits())),
    );
    for caveat in capability.caveats() {
        text += &match caveat {
            Caveat::Rights(mask) => {
                format!(
                    "; keeps {}",
                    letters(PageRights::from_bits_truncate(mask.bits()))
                )
            }
            Caveat::Holder(hint) => format!("; only for environment {}", hint.get()),
            Caveat::Badge(badge) => format!("; badge {}", badge.get()),
            Caveat::Until(second) => format!("; until second {}", second.get()),
        };
    }
    text
}

/// Rights to pages and the letters for them.
const LETTERS: [(PageRights, char); 6] = [
    (PageRights::READ, 'r'),
    (PageRights::WRITE, 'w'),
    (PageRights::EXECUTE, 'x'),
    (PageRights::PIN, 'p'),
    (PageRights::RETIRE, 't'),
    (PageRights::FREE, 'f'),
];

/// The letters of a set of rights; a dash for none.
fn letters(rights: PageRights) -> String {
    let named = LETTERS.iter().filter(|(right, _)| rights.contains(*right));
    let text: String = named.map(|(_, letter)| letter).collect();
    if text.is_empty() { "-".into() } else { text }
}

/// The rights that letters say.
pub fn rights(text: &str) -> Option<PageRights> {
    let right = |letter| LETTERS.iter().find(|(_, other)| *other == letter);
    text.chars().try_fold(PageRights::empty(), |all, letter| {
        Some(all | right(letter)?.0)
    })
}

/// A second since boot.
pub fn second(text: &str) -> Option<Second> {
    Second::new(text.parse().ok()?)
}

fn from_hex(digits: &str) -> Option<[u8; CAPABILITY_BYTES]> {
    let mut bytes = [0; CAPABILITY_BYTES];
    if !digits.is_ascii() || digits.len() != 2 * CAPABILITY_BYTES {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        let digits = digits.get(2 * index..2 * index + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

/// What is mapped in the monitor's own space, in runs: something to mint from.
pub fn own_pages() {
    let mut run: Option<Mapped> = None;
    for (at, mapping) in tables::mappings(USER_START, TABLES_BASE) {
        let (at, page) = (at.get(), u64::from(mapping.page.get()));
        match &mut run {
            Some(run) if run.goes_on(at, page) => run.count += 1,
            _ => {
                let ended = run.replace(Mapped { at, page, count: 1 });
                ended.iter().for_each(Mapped::show);
            }
        }
    }
    run.iter().for_each(Mapped::show);
    println!("{} pages free", exposed::free_pages());
}

/// Pages that follow each other both in the space and in memory.
struct Mapped {
    at: u64,
    page: u64,
    count: u64,
}

impl Mapped {
    fn goes_on(&self, at: u64, page: u64) -> bool {
        at == self.at + self.count * PAGE_SIZE && page == self.page + self.count
    }

    fn show(&self) {
        let Self { at, page, count } = self;
        println!("{at:#13x}: {count} pages from {page:#x} on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_say_the_same_both_ways() {
        for bits in 0..64 {
            let set = PageRights::from_bits_truncate(bits);
            let text = letters(set);
            let back = if text == "-" {
                Some(PageRights::empty())
            } else {
                rights(&text)
            };
            assert_eq!(back, Some(set));
        }
        assert_eq!(rights("rz"), None);
    }

    #[test]
    fn digits_are_bytes_or_nothing() {
        let digits = "0f".repeat(CAPABILITY_BYTES);
        assert_eq!(from_hex(&digits), Some([15; CAPABILITY_BYTES]));
        assert_eq!(from_hex(&digits[1..]), None);
        assert_eq!(from_hex(&digits.replacen('0', "g", 1)), None);
        assert_eq!(from_hex(&"ä".repeat(CAPABILITY_BYTES)), None);
    }
}
