//! Formats of table entries: VMSAv8-64 stage 1, 4 KiB granule (ARM DDI 0487, D8.3).
//!
//! ```text
//!   page of EL0    63..59  58..55    54   53   47..12  11  10  9..8  7..6  4..2    1..0
//!                  0       software  UXN  PXN  frame   nG  AF  SH    AP    AttrIn  11
//!   table          59: PXNTable                47..12 frame                        11
//! ```
//!
//! The software bits hold the [`Access`] that the entry was bound with. All RAM is Normal write-back: the
//! memory type belongs to a frame, never to a mapping.

use exopi_abi::{Access, PageNumber};

/// What a MAIR attribute says of memory. The value is its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Memory {
    /// Normal, write-back, non-transient, allocating, inner and outer.
    Normal = 0,
    /// Device-nGnRE: no gathering, no reordering, early acknowledgement.
    Device = 1,
    /// Normal, non-cacheable, inner and outer.
    NonCacheable = 2,
}

impl Memory {
    /// Every kind.
    pub const ALL: [Memory; 3] = [Memory::Normal, Memory::Device, Memory::NonCacheable];

    /// Its attribute byte (ARM DDI 0487, MAIR_EL1).
    pub const fn attribute(self) -> u8 {
        match self {
            Self::Normal => 0xff,
            Self::Device => 0x04,
            Self::NonCacheable => 0x44,
        }
    }
}

/// MAIR_EL1 for these entries. Attributes that nothing uses are 0, Device-nGnRnE.
pub const MAIR: u64 = {
    let mut value = 0;
    let mut index = 0;
    while index < Memory::ALL.len() {
        let memory = Memory::ALL[index];
        value |= (memory.attribute() as u64) << (8 * memory as u32);
        index += 1;
    }
    value
};

/// What a mapping of the kernel's own allows. EL0 may write none of them, nor execute one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelAccess {
    /// Constants.
    Read,
    /// Data, RAM, devices.
    ReadWrite,
    /// Code.
    ReadExecute,
    /// The exposed region: EL0 reads it too, and nobody writes it here. The same in every space.
    Exposed,
}

const VALID: u64 = 1;
/// At levels 1 and 2 a table instead of a block; at level 3 always set.
const TABLE_OR_PAGE: u64 = 1 << 1;
const ATTRIBUTE_SHIFT: u32 = 2;
/// AP[1]: EL0 has access.
const AP_EL0: u64 = 1 << 6;
/// AP[2]: nobody writes.
const AP_READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
/// Set at once: this core has no hardware management of the flag, and clear it would fault.
const ACCESSED: u64 = 1 << 10;
/// Belongs to one ASID.
const NOT_GLOBAL: u64 = 1 << 11;
const FRAME: u64 = 0x0000_ffff_ffff_f000;
const FRAME_SHIFT: u32 = 12;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;
const SOFTWARE_SHIFT: u32 = 55;
const PXN_TABLE: u64 = 1 << 59;

/// An entry that leads nowhere.
pub const INVALID: u64 = 0;

/// Whether an entry leads somewhere.
#[inline(always)]
pub const fn is_valid(entry: u64) -> bool {
    entry & VALID != 0
}

/// The frame that a valid entry names.
#[inline(always)]
pub const fn frame(entry: u64) -> PageNumber {
    PageNumber::new(((entry & FRAME) >> FRAME_SHIFT) as u32)
}

/// A level-3 entry that lets EL0 have `access` to a frame of RAM. EL1 never executes what it maps.
#[inline(always)]
pub const fn page(frame: PageNumber, access: Access) -> u64 {
    let write = if access.contains(Access::WRITE) {
        0
    } else {
        AP_READ_ONLY
    };
    let execute = if access.contains(Access::EXECUTE) {
        0
    } else {
        UXN
    };
    VALID
        | TABLE_OR_PAGE
        | (Memory::Normal as u64) << ATTRIBUTE_SHIFT
        | AP_EL0
        | write
        | INNER_SHAREABLE
        | ACCESSED
        | NOT_GLOBAL
        | frame.address()
        | PXN
        | execute
        | (access.bits() as u64) << SOFTWARE_SHIFT
}

/// The access that a [`page`] entry was bound with.
#[inline(always)]
pub const fn bound_access(entry: u64) -> Access {
    Access::from_bits_truncate((entry >> SOFTWARE_SHIFT) as u8)
}

/// A level-1 or level-2 entry of a space that leads to `table`. PXNTable is set, so that nothing below is
/// ever executed at EL1, whatever a page entry says; other restrictions are left to the page entries.
#[inline(always)]
pub const fn table(table: PageNumber) -> u64 {
    VALID | TABLE_OR_PAGE | table.address() | PXN_TABLE
}

/// A level-1 or level-2 entry of the kernel's half that leads to the table at physical address `table`.
pub const fn kernel_table(table: u64) -> u64 {
    VALID | TABLE_OR_PAGE | table & FRAME
}

/// A level-3 entry of the kernel's own for the page at `physical`.
pub const fn kernel_page(physical: u64, memory: Memory, access: KernelAccess) -> u64 {
    kernel_block(physical, memory, access) | TABLE_OR_PAGE
}

/// A level-1 (1 GiB) or level-2 (2 MiB) entry of the kernel's own for the block at `physical`, which
/// must be aligned to its size.
pub const fn kernel_block(physical: u64, memory: Memory, access: KernelAccess) -> u64 {
    let rights = match access {
        KernelAccess::Read => AP_READ_ONLY | PXN | UXN,
        KernelAccess::ReadWrite => PXN | UXN,
        KernelAccess::ReadExecute => AP_READ_ONLY | UXN,
        KernelAccess::Exposed => AP_READ_ONLY | AP_EL0 | PXN | UXN,
    };
    // Shareability has no effect on Device and non-cacheable memory.
    VALID
        | (memory as u64) << ATTRIBUTE_SHIFT
        | INNER_SHAREABLE
        | ACCESSED
        | physical & FRAME
        | rights
}

#[cfg(test)]
mod tests {
    use super::*;

    // Numbers worked out by hand from the manual's field tables.
    #[test]
    fn entries_have_the_bits_of_the_manual() {
        let frame = PageNumber::new(0x12345);
        let read = page(frame, Access::READ);
        assert_eq!(read, 0x00e0_0000_1234_5fc3);
        let write = page(frame, Access::READ | Access::WRITE);
        assert_eq!(write, 0x01e0_0000_1234_5f43);
        let execute = page(frame, Access::READ | Access::EXECUTE);
        assert_eq!(execute, 0x02a0_0000_1234_5fc3);
        let all = page(frame, Access::all());
        assert_eq!(all, 0x03a0_0000_1234_5f43);
        assert_eq!(table(frame), 0x0800_0000_1234_5003);
        assert_eq!(MAIR, 0x44_04ff);
        let device = kernel_block(0x3f00_0000, Memory::Device, KernelAccess::ReadWrite);
        assert_eq!(device, 0x0060_0000_3f00_0705);
        let code = kernel_page(0x8_0000, Memory::Normal, KernelAccess::ReadExecute);
        assert_eq!(code, 0x0040_0000_0008_0783);
        let exposed = kernel_page(0x9_0000, Memory::Normal, KernelAccess::Exposed);
        assert_eq!(exposed, 0x0060_0000_0009_07c3);
    }

    #[test]
    fn an_entry_gives_back_what_it_was_made_from() {
        for access in Access::POSSIBLE {
            for number in [1, 0x3b3ff, 0x7f_fffe] {
                let entry = page(PageNumber::new(number), access);
                assert!(is_valid(entry));
                assert_eq!(frame(entry).get(), number);
                assert_eq!(bound_access(entry), access);
            }
        }
        assert!(!is_valid(INVALID));
    }
}
