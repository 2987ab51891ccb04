//! Formats of table entries: VMSAv8-64 stage 1, 4 KiB granule (ARM DDI 0487, D8.3).
//!
//! ```text
//!   page of EL0    63..59  58..55    54   53   47..12  11  10  9..8  7..6  4..2    1..0
//!                  0       software  UXN  PXN  frame   nG  AF  SH    AP    AttrIn  11
//!   superpage      the same                                                        01
//!   table          59: PXNTable, and what a page has that EL0 reads                11
//!   note           63..1: the libOS's                                              00
//! ```
//!
//! The software bits hold the [`Access`] that the entry was bound with; none in a u-area's entry, which
//! programs neither change nor remove. All RAM is Normal write-back: the memory type belongs to a frame, never
//! to a mapping.
//!
//! The root names itself at [`Index::OWN`](crate::Index::OWN), so that walks there come out a level early and
//! take an entry that names a table for one that names a page. So it is one, too: of bits that a table entry
//! leaves to software (D8.3, "Table descriptor format": 58..51 and 11..2 are ignored) it has those with
//! which a page can be read by EL0, and written or executed by nobody. A superpage's entry is no page's: at
//! level 3 its type is reserved and faults. Nor is what the kernel has at [`Index::LAST`](crate::Index::LAST), which EL0
//! has no access to in a page's place.

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

/// Whether a valid entry of level 1 or 2 leads to a table. One of level 2 that does not is a superpage.
#[inline(always)]
pub const fn is_table(entry: u64) -> bool {
    entry & (VALID | TABLE_OR_PAGE) == VALID | TABLE_OR_PAGE
}

/// What all of EL0's entries have. EL1 never executes what they map.
const USER: u64 = VALID
    | (Memory::Normal as u64) << ATTRIBUTE_SHIFT
    | AP_EL0
    | INNER_SHAREABLE
    | ACCESSED
    | NOT_GLOBAL
    | PXN;

/// The bits that tell what EL0 may do now.
const PERMISSIONS: u64 = AP_READ_ONLY | UXN;

/// [`PERMISSIONS`] for `access`.
#[inline(always)]
const fn permissions(access: Access) -> u64 {
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
    write | execute
}

#[inline(always)]
const fn bound(access: Access) -> u64 {
    (access.bits() as u64) << SOFTWARE_SHIFT
}

/// A level-2 entry that lets EL0 have `access` to the 512 frames of RAM from `first` on, a multiple of 512.
#[inline(always)]
pub const fn superpage(first: PageNumber, access: Access) -> u64 {
    USER | first.address() | permissions(access) | bound(access)
}

/// A level-3 entry that lets EL0 have `access` to a frame of RAM.
#[inline(always)]
pub const fn page(frame: PageNumber, access: Access) -> u64 {
    superpage(frame, access) | TABLE_OR_PAGE
}

/// A level-3 entry for an environment's u-area: readable and writable, and not for programs to change.
#[inline(always)]
pub const fn uarea(frame: PageNumber) -> u64 {
    USER | TABLE_OR_PAGE | frame.address() | permissions(Access::READ.union(Access::WRITE))
}

/// The access that a [`page`] or [`superpage`] entry was bound with; empty in a [`uarea`]'s.
#[inline(always)]
pub const fn bound_access(entry: u64) -> Access {
    Access::from_bits_truncate((entry >> SOFTWARE_SHIFT) as u8)
}

/// Whether EL0 may fetch instructions through the entry as it is now.
#[inline(always)]
pub const fn is_executable(entry: u64) -> bool {
    entry & UXN == 0
}

/// A change of what EL0 may do through [`page`] and [`superpage`] entries.
#[derive(Clone, Copy)]
pub struct Change {
    needed: u64,
    keep: u64,
    set: u64,
}

impl Change {
    /// Makes it `access`.
    #[inline(always)]
    pub fn to(access: Access) -> Self {
        Self {
            needed: VALID | bound(access),
            // Opaque, or the compiler would make this constant anew for each of a hundred entries.
            keep: core::hint::black_box(!PERMISSIONS),
            set: permissions(access),
        }
    }

    /// Whether an entry is valid, and bound with as much.
    #[inline(always)]
    pub const fn is_within(self, entry: u64) -> bool {
        self.needed & !entry == 0
    }

    /// The entry with other permissions: nothing else changes.
    #[inline(always)]
    pub const fn apply(self, entry: u64) -> u64 {
        entry & self.keep | self.set
    }
}

/// A level-1 or level-2 entry of a space that leads to `table`, and in a page's place lets EL0 read it (see the
/// module). PXNTable is set, so that nothing below is ever executed at EL1, whatever a page entry says;
/// other restrictions are left to the page entries. A page entry's bit 59 is ignored (PBHA is not enabled).
#[inline(always)]
pub const fn table(table: PageNumber) -> u64 {
    USER | TABLE_OR_PAGE | table.address() | permissions(Access::READ) | PXN_TABLE
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
        assert_eq!(uarea(frame), 0x0060_0000_1234_5f43);
        assert_eq!(table(frame), 0x0860_0000_1234_5fc3);
        let frame = PageNumber::new(0x12200);
        assert_eq!(superpage(frame, Access::READ), 0x00e0_0000_1220_0fc1);
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
