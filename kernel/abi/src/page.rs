//! The record of a page frame. The array of them is exposed: a libOS picks its pages from it.

/// What a frame is. It has exactly one type, and changes it only while nothing refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// The kernel's own, from boot on: code, stacks, this array, the firmware's page. All-zero
    /// records mean this, so that what nobody has described belongs to the kernel.
    Kernel = 0,
    /// On the free list.
    Free = 1,
    /// An owner's memory: the only type that EL0 may ever write, but for the u-area.
    Plain = 2,
    /// A level-2 table.
    Table2 = 3,
    /// A level-3 table.
    Table3 = 4,
    /// The links that go with a level-3 table; private to the kernel.
    Links = 5,
    /// The root of a space: its level-1 table.
    Root = 6,
    /// An environment's u-area.
    UArea = 7,
}

impl FrameType {
    /// The type with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Kernel,
            1 => Self::Free,
            2 => Self::Plain,
            3 => Self::Table2,
            4 => Self::Table3,
            5 => Self::Links,
            6 => Self::Root,
            7 => Self::UArea,
            _ => return None,
        })
    }
}

/// Whom a resource is charged to: an account's index (16 bits, low) and epoch (48 bits).
///
/// Epochs never repeat, so an owner that has gone is never mistaken for its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Owner(u64);

impl Owner {
    /// Nobody. No account has epoch 0.
    pub const NOBODY: Owner = Owner(0);

    /// The account at `index`, of `epoch` (less than 2^48, not 0).
    pub const fn new(index: u16, epoch: u64) -> Self {
        Self(index as u64 | epoch << 16)
    }

    /// The word, as records hold it.
    pub const fn word(self) -> u64 {
        self.0
    }
}

/// "None" in a [`PageRecord`]'s words.
pub const NONE: u32 = u32::MAX;

/// Most pages that one `page_alloc` carries out: each may have to be zeroed.
pub const ALLOC_BOUND: u64 = 16;
/// Most pages that one `page_free` carries out.
pub const FREE_BOUND: u64 = 64;
/// Most mappings that one `insert_pte` makes.
pub const INSERT_BOUND: u64 = 128;
/// The same if they are executable: what the pages hold is made visible to instruction fetches first.
pub const INSERT_EXECUTABLE_BOUND: u64 = 32;
/// Most mappings that one `remove_pte` removes.
pub const REMOVE_BOUND: u64 = 64;

/// What the kernel knows of a frame.
///
/// The two words `first` and `second` are by type:
///
/// | type | `first` | `second` |
/// | --- | --- | --- |
/// | free | next on the free list | previous on the free list |
/// | plain, u-area | first table entry that names it (table frame << 9 \| index) | 0 |
/// | root | entries in use, the kernel's last one not counted | its ASID |
/// | level-2 table | entries in use | entry of the root that names it (root's frame << 9 \| index) |
/// | level-3 table | entries in use | its links frame |
/// | links | its level-3 table's frame | entry that names that table (level-2 table's frame << 9 \| index) |
/// | kernel | 0 | 0 |
///
/// So whoever has a frame finds its mappings: from `first` through the links from entry to entry, and
/// from an entry's table through its links' `second` up to the root, which gives address and ASID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PageRecord {
    /// Whom it is charged to; nobody if it is free or the kernel's.
    pub owner: Owner,
    /// Whose contents it holds: the last owner, until it is zeroed for another.
    pub user: Owner,
    /// Table entries that name it, and pins.
    pub references: u32,
    /// What it is.
    pub kind: FrameType,
    /// Zero.
    pub reserved: [u8; 3],
    /// By type.
    pub first: u32,
    /// By type.
    pub second: u32,
}

impl PageRecord {
    /// A frame of the kernel's.
    pub const KERNEL: PageRecord = PageRecord {
        owner: Owner::NOBODY,
        user: Owner::NOBODY,
        references: 0,
        kind: FrameType::Kernel,
        reserved: [0; 3],
        first: 0,
        second: 0,
    };
}

const _: () = assert!(size_of::<PageRecord>() == 32);
