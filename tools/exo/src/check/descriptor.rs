//! Table entries as the processor reads them: VMSAv8-64 stage 1, 4 KiB granule (ARM DDI 0487, D8.3).
//!
//! ```text
//!   63      62..61   60        59        58..55    54   53   47..12  11  10  9..8  7..6  4..2    1..0
//!   NSTable APTable  UXNTable  PXNTable  software  UXN  PXN  frame   nG  AF  SH    AP    AttrIn  type
//! ```
//!
//! Bits 59 to 63 mean something in tables, 2 to 11 and 50 to 54 in blocks and pages.

/// Bits of the output address.
pub const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Bit 1 of AP: EL0 has access.
pub const AP_EL0: u64 = 1 << 6;
/// Bit 2 of AP: nobody writes.
pub const AP_READ_ONLY: u64 = 1 << 7;
/// SH: inner shareable.
pub const INNER_SHAREABLE: u64 = 0b11 << 8;
/// AF: may be used.
pub const ACCESSED: u64 = 1 << 10;
/// nG: belongs to one ASID.
pub const NOT_GLOBAL: u64 = 1 << 11;
/// PXN: EL1 never executes it.
pub const PXN: u64 = 1 << 53;
/// UXN: EL0 never executes it.
pub const UXN: u64 = 1 << 54;
/// The lowest of three software bits that hold the access that an entry was bound with.
pub const BOUND_SHIFT: u32 = 55;
/// Bit 0 of APTable: nothing below it is for EL0.
pub const NO_EL0_BELOW: u64 = 1 << 61;
/// Bit 1 of APTable: nothing below it is written.
pub const READ_ONLY_BELOW: u64 = 1 << 62;
/// UXNTable: EL0 executes nothing below it.
pub const UXN_BELOW: u64 = 1 << 60;
/// PXNTable: EL1 executes nothing below it.
pub const PXN_BELOW: u64 = 1 << 59;

/// What an entry is, at its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Leads nowhere: bit 0 is zero, or the form is reserved.
    Nothing,
    /// Leads to a table of the next level.
    Table,
    /// Maps a page, or a block of 2 MiB or 1 GiB.
    Leaf,
}

/// What an entry is at `level`, 1 to 3.
pub const fn shape(entry: u64, level: u8) -> Shape {
    match (entry & 0b11, level) {
        (0b11, 3) => Shape::Leaf,
        (0b11, _) => Shape::Table,
        (0b01, 1 | 2) => Shape::Leaf,
        _ => Shape::Nothing,
    }
}

/// The number of the frame that a table or leaf entry names.
pub const fn frame(entry: u64) -> u64 {
    (entry & ADDRESS) >> 12
}

/// Pages that a leaf at `level` maps.
pub const fn pages(level: u8) -> u64 {
    match level {
        1 => 1 << 18,
        2 => 1 << 9,
        _ => 1,
    }
}

/// Which of the eight memory attributes of MAIR_EL1 a leaf chooses.
pub const fn attribute(entry: u64) -> u64 {
    entry >> 2 & 7
}

/// What may be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Can {
    /// Load.
    pub read: bool,
    /// Store.
    pub write: bool,
    /// Fetch instructions.
    pub execute: bool,
}

/// What EL0 and EL1 may do through a leaf below tables whose entries, put together by "or", are `above`.
///
/// EL0 executes what UXN does not forbid, readable or not. EL1 executes nothing that EL0 writes. A leaf whose
/// access flag is clear faults: the Cortex-A53 does not set it by itself.
pub const fn permissions(entry: u64, above: u64) -> (Can, Can) {
    const NONE: Can = Can {
        read: false,
        write: false,
        execute: false,
    };
    if entry & ACCESSED == 0 {
        return (NONE, NONE);
    }
    let write = entry & AP_READ_ONLY == 0 && above & READ_ONLY_BELOW == 0;
    let user = entry & AP_EL0 != 0 && above & NO_EL0_BELOW == 0;
    let el0 = Can {
        read: user,
        write: user && write,
        execute: entry & UXN == 0 && above & UXN_BELOW == 0,
    };
    let el1 = Can {
        read: true,
        write,
        execute: entry & PXN == 0 && above & PXN_BELOW == 0 && !el0.write,
    };
    (el0, el1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_depend_on_the_level() {
        for (bits, level, expected) in [
            (0b11, 1, Shape::Table),
            (0b11, 2, Shape::Table),
            (0b11, 3, Shape::Leaf),
            (0b01, 1, Shape::Leaf),
            (0b01, 2, Shape::Leaf),
            (0b01, 3, Shape::Nothing),
            (0b10, 2, Shape::Nothing),
        ] {
            assert_eq!(
                shape(0xf000 | bits, level),
                expected,
                "{bits:#b} at {level}"
            );
        }
    }

    // Table D8-43 and the text on hierarchical permissions.
    #[test]
    fn permissions_are_those_of_the_manual() {
        let told = |entry, above| {
            let (el0, el1) = permissions(entry | ACCESSED, above);
            let text = |can: Can| {
                [(can.read, 'r'), (can.write, 'w'), (can.execute, 'x')]
                    .map(|(can, letter)| if can { letter } else { '-' })
                    .iter()
                    .collect::<String>()
            };
            format!("{} {}", text(el0), text(el1))
        };
        assert_eq!(told(0, 0), "--x rwx");
        assert_eq!(told(UXN | PXN, 0), "--- rw-");
        assert_eq!(told(AP_EL0, 0), "rwx rw-");
        assert_eq!(told(AP_EL0 | UXN, 0), "rw- rw-");
        assert_eq!(told(AP_READ_ONLY | UXN, 0), "--- r-x");
        assert_eq!(told(AP_READ_ONLY | AP_EL0 | PXN, 0), "r-x r--");
        assert_eq!(told(AP_EL0, READ_ONLY_BELOW), "r-x r-x");
        assert_eq!(told(AP_EL0, NO_EL0_BELOW), "--x rwx");
        assert_eq!(
            told(AP_EL0, NO_EL0_BELOW | UXN_BELOW | PXN_BELOW),
            "--- rw-"
        );
        assert_eq!(permissions(AP_EL0, 0), (Can::default(), Can::default()));
    }
}
