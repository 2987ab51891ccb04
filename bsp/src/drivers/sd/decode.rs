//! What a card says of itself: OCR, CID, CSD, SCR, and the answer to a switch of functions.
//!
//! Source: PLSS section 5, and 4.3.10.4 for switches. Nothing here is trusted: a register is a value, or it is
//! refused. Long registers come as 128 bits whose lowest eight, checksum and end bit, mean nothing: controllers
//! keep them.

use crate::block::{MediumKind, SECTOR};

/// Bits `high..=low` of a long register, of which there are at most 32.
fn bits(register: u128, high: u32, low: u32) -> u32 {
    (register >> low) as u32 & (u64::MAX >> (63 - (high - low))) as u32
}

/// Operating conditions (PLSS 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ocr(pub u32);

impl Ocr {
    /// The card's own set-up is done.
    pub const fn is_ready(self) -> bool {
        self.0 >> 31 != 0
    }

    /// Addresses are in sectors, not bytes. Valid when it is ready.
    pub const fn high_capacity(self) -> bool {
        self.0 >> 30 & 1 != 0
    }

    /// It works at some voltage of this window.
    pub const fn allows(self, window: u32) -> bool {
        self.0 & window != 0
    }
}

/// Identification (PLSS 5.2): another one for each card ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cid(u128);

impl Cid {
    /// The register as it came.
    pub const fn new(register: u128) -> Self {
        // Without the checksum, which not every controller keeps.
        Self(register & !0xff)
    }

    /// Product name, five characters; those that are not printable are dots.
    pub fn product(self) -> [u8; 5] {
        let [_, _, _, name @ .., _, _, _, _, _, _, _, _] = self.0.to_be_bytes();
        name.map(|byte| match byte.is_ascii_graphic() {
            true => byte,
            false => b'.',
        })
    }
}

/// Card-specific data (PLSS 5.3), as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Csd {
    /// Sectors of the card.
    pub sectors: u64,
    /// The register's version says that the card is one of high capacity.
    pub high_capacity: bool,
    /// Write protected, for now or for good.
    pub read_only: bool,
    /// It knows CMD6 (command class 10).
    pub switches: bool,
}

impl Csd {
    /// Reads the register; `None` if its version is unknown, or it says what it must not.
    pub fn decode(register: u128) -> Option<Self> {
        let (sectors, high_capacity) = match bits(register, 127, 126) {
            0 => (Self::standard(register)?, false),
            // In units of 512 KiB (5.3.3).
            1 => ((u64::from(bits(register, 69, 48)) + 1) << 10, true),
            // Version 3 is for cards of more than 2 TiB, whose commands are others.
            _ => return None,
        };
        Some(Self {
            sectors,
            high_capacity,
            read_only: bits(register, 13, 12) != 0,
            switches: bits(register, 95, 84) >> 10 & 1 != 0,
        })
    }

    /// Sectors of a card of standard capacity: `(C_SIZE + 1) * 2^(C_SIZE_MULT + 2)` blocks of `2^READ_BL_LEN` bytes
    /// (5.3.2). Blocks of more than 512 bytes are the older cards' way to more than 1 GiB; no other length is theirs.
    fn standard(register: u128) -> Option<u64> {
        let length = bits(register, 83, 80);
        let shift = length.checked_sub(SECTOR.trailing_zeros())?;
        if length > 11 {
            return None;
        }
        let blocks = u64::from(bits(register, 73, 62) + 1) << (bits(register, 49, 47) + 2);
        Some(blocks << shift)
    }

    /// What the card is. A card of high capacity is extended if it has more than 32 GiB (PLSS 4.2.3).
    pub const fn kind(&self) -> MediumKind {
        const EXTENDED: u64 = 32 << 30;
        match self.high_capacity {
            false => MediumKind::Sdsc,
            true if self.sectors > EXTENDED / SECTOR as u64 => MediumKind::Sdxc,
            true => MediumKind::Sdhc,
        }
    }
}

/// Configuration (PLSS 5.6), as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scr {
    /// Four data lines work.
    pub four_lines: bool,
    /// Version 1.10 or later, which knows CMD6.
    pub version_1_10: bool,
}

impl Scr {
    /// Reads the register from its eight bytes, first one first; `None` if its layout is unknown.
    pub const fn decode(bytes: [u8; 8]) -> Option<Self> {
        let [version, widths, ..] = bytes;
        if version >> 4 != 0 {
            return None;
        }
        Some(Self {
            four_lines: widths & 0b0100 != 0,
            version_1_10: version & 0xf != 0,
        })
    }
}

/// Whether a switch to high speed can be done, or was done, by the 64 bytes of its answer: group 1 knows the
/// function, is not busy with it, and has it chosen.
pub fn chose_high_speed(answer: &[u8; 64]) -> bool {
    // Bits 511 to 0, highest first: 415..400 are the functions of group 1, 379..376 the one chosen, 375..368
    // the version of what follows, and 287..272 the functions that are busy.
    let byte = |bit: usize| answer.get(63 - bit / 8).copied().unwrap_or(0);
    let known = byte(400) >> 1 & 1 != 0;
    let chosen = byte(376) & 0xf == 1;
    let busy = byte(368) >= 1 && byte(272) >> 1 & 1 != 0;
    known && chosen && !busy
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A register with these fields, by their bits.
    pub(crate) fn register(fields: &[(u32, u128)]) -> u128 {
        fields
            .iter()
            .fold(0, |sum, (low, value)| sum | value << low)
    }

    #[test]
    fn capacities_of_standard_cards() {
        // The example of PLSS 5.3.2: 2 GiB by blocks of 1,024 bytes.
        let two_gib = register(&[(80, 10), (62, 0xfff), (47, 7), (84, 0x5b5)]);
        let csd = Csd::decode(two_gib).unwrap();
        assert_eq!(csd.sectors, (2 << 30) / 512);
        assert_eq!((csd.kind(), csd.read_only), (MediumKind::Sdsc, false));
        assert!(csd.switches);
        let small = register(&[(80, 9), (62, 0), (47, 0)]);
        assert_eq!(Csd::decode(small).unwrap().sectors, 4);
        assert!(!Csd::decode(small).unwrap().switches);
        for wrong in [0, 8, 12, 15] {
            assert_eq!(Csd::decode(register(&[(80, wrong)])), None);
        }
    }

    #[test]
    fn capacities_of_larger_cards() {
        let csd = |c_size| Csd::decode(register(&[(126, 1), (48, c_size)])).unwrap();
        // 4 GiB and 32 GiB, and one step more.
        assert_eq!(csd(0x1fff).sectors, (4 << 30) / 512);
        assert_eq!(csd(0x1fff).kind(), MediumKind::Sdhc);
        assert_eq!(csd(0xffff).kind(), MediumKind::Sdhc);
        assert_eq!(csd(0x10000).kind(), MediumKind::Sdxc);
        assert_eq!(csd(0x3f_ffff).sectors, 1 << 32);
        for version in [2, 3] {
            assert_eq!(Csd::decode(register(&[(126, version)])), None);
        }
    }

    #[test]
    fn either_kind_of_protection_counts() {
        for (bits, read_only) in [(0, false), (1, true), (2, true), (3, true)] {
            let csd = Csd::decode(register(&[(126, 1), (12, bits)])).unwrap();
            assert_eq!(csd.read_only, read_only);
        }
    }

    #[test]
    fn names_are_printable() {
        let cid = Cid::new(0x0353_4453_5533_3247_8012_3456_7801_234f);
        assert_eq!(cid.product(), *b"SU32G");
        assert_eq!(Cid::new(0).product(), *b".....");
        // What is in place of the checksum makes no other card.
        assert_eq!(Cid::new(0x1200), Cid::new(0x12ff));
        assert_ne!(Cid::new(0x1200), Cid::new(0x1300));
    }

    #[test]
    fn configurations() {
        let scr = |a, b| Scr::decode([a, b, 0, 0, 0, 0, 0, 0]);
        let good = scr(0x02, 0x35).unwrap();
        assert!(good.four_lines && good.version_1_10);
        let old = scr(0x00, 0x01).unwrap();
        assert!(!old.four_lines && !old.version_1_10);
        assert_eq!(scr(0x12, 0x35), None);
    }

    #[test]
    fn high_speed_is_chosen_known_and_free() {
        let mut answer = [0; 64];
        assert!(!chose_high_speed(&answer));
        (answer[13], answer[16]) = (0x02, 0x01);
        assert!(chose_high_speed(&answer));
        (answer[17], answer[29]) = (1, 2);
        assert!(!chose_high_speed(&answer), "busy");
        answer[29] = 0;
        answer[16] = 0x0f;
        assert!(!chose_high_speed(&answer), "refused");
    }

    proptest! {
        #[test]
        fn nothing_panics(register: u128, scr: [u8; 8]) {
            if let Some(csd) = Csd::decode(register) {
                prop_assert!(csd.sectors > 0);
                csd.kind();
            }
            Scr::decode(scr);
            Cid::new(register).product();
        }
    }
}
