//! The record of a page frame. The array of them is exposed: a libOS picks its pages from it.

use crate::capability::Epoch;

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
    /// The links that go with a table; private to the kernel.
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
    /// Nobody. No account has this epoch.
    pub const NOBODY: Owner = Owner::new(0, Epoch::NONE);

    /// The account at `index`, of `epoch`.
    #[inline(always)]
    pub const fn new(index: u16, epoch: Epoch) -> Self {
        Self(index as u64 | epoch.bits() << 16)
    }

    /// The account's index.
    #[inline(always)]
    pub const fn index(self) -> u16 {
        self.0 as u16
    }

    /// The account's epoch.
    #[inline(always)]
    pub const fn epoch(self) -> Epoch {
        Epoch::from_low_bits(self.0 >> 16)
    }

    /// The word, as records and registers hold it.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The owner in a word. Each word is one.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }
}

/// What an owner says of a frame to others: the epoch that their capabilities must carry, and how many
/// references they may have.
///
/// ```text
///   63    48 47            0
///   | limit | epoch         |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Stamp(u64);

impl Stamp {
    /// No capability is good for it, and nobody may refer to it.
    pub const NONE: Stamp = Stamp::new(Epoch::NONE, 0);

    /// Both together.
    #[inline(always)]
    pub const fn new(epoch: Epoch, limit: u16) -> Self {
        Self(epoch.bits() | (limit as u64) << Epoch::BITS)
    }

    /// The epoch that a capability for the frame must carry; [`Epoch::NONE`] if none can.
    #[inline(always)]
    pub const fn epoch(self) -> Epoch {
        Epoch::from_low_bits(self.0)
    }

    /// How many references others than the owner may have.
    #[inline(always)]
    pub const fn limit(self) -> u16 {
        (self.0 >> Epoch::BITS) as u16
    }
}

/// Limit of a frame whose owner has said nothing.
pub const DEFAULT_LIMIT: u16 = 64;

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
/// Most mappings that one `remove_pte` removes. A superpage is one.
pub const REMOVE_BOUND: u64 = 64;
/// Most mappings whose rights one `protect_pte` changes. A superpage is one.
pub const PROTECT_BOUND: u64 = 128;
/// Most superpages that one `insert_superpage` maps: each has the records of its pages looked at.
pub const SUPERPAGE_BOUND: u64 = 2;
/// Most mappings that one `page_break` removes.
pub const BREAK_BOUND: u64 = 64;
/// Most pages that one `page_break`, `page_retire`, `page_give` or `page_limit` goes through. As many as a
/// superpage has, so that they can be stamped alike and one capability can be good for it.
pub const RECORD_BOUND: u64 = SUPERPAGE_PAGES;
/// Most operations that one `pte_batch` carries out.
pub const BATCH_BOUND: u64 = 16;
/// When the mappings that a batch's operations count for
/// ([`Operation::weight`](crate::Operation::weight)) add up to this, it begins no other one.
pub const BATCH_MAPPINGS: u64 = 128;
/// Most pages for which one `cap_mint` makes a capability: each has its record looked at.
pub const MINT_BOUND: u64 = 1024;
/// Pages in a superpage, which begins at a multiple of as many.
pub const SUPERPAGE_PAGES: u64 = 512;
/// Most colours that frames can have.
pub const MAX_COLOURS: usize = 32;

/// What the kernel knows of a frame.
///
/// The two words `first` and `second` are by type. A slot is the place of a table entry: the table's frame
/// << 9 | its index.
///
/// | type | `first` | `second` |
/// | --- | --- | --- |
/// | free | next on the free list of its colour | previous on it |
/// | plain, u-area | first slot that maps it as a page | if its number is a multiple of 512: first slot that maps it and the 511 after it as a superpage; otherwise [`NONE`] |
/// | root | entries in use, the kernel's own not counted | its ASID |
/// | table | entries in use | its links' frame |
/// | links | its table's frame | slot of the entry that names that table |
/// | kernel | 0 | 0 |
///
/// So whoever has a frame finds its mappings: from `first` (and from `second` of the first frame of its 512)
/// through the links from slot to slot, and from a slot's table through its links' `second` up to the
/// root, which gives address and ASID.
///
/// `references` and `foreign` count a superpage on its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PageRecord {
    /// Whom it is charged to. Of a free frame: whose contents it still holds.
    pub owner: Owner,
    /// For capabilities of others.
    pub stamp: Stamp,
    /// Entries that map it, and pins.
    pub references: u32,
    /// Those of `references` that are in spaces, or pins for environments, of other accounts.
    pub foreign: u16,
    /// What it is.
    pub kind: FrameType,
    /// [`PageRecord::LEAVING`], and below it how many pins there are among its references.
    pub marks: u8,
    /// By type.
    pub first: u32,
    /// By type.
    pub second: u32,
}

impl PageRecord {
    /// A frame of the kernel's.
    pub const KERNEL: PageRecord = PageRecord {
        owner: Owner::NOBODY,
        stamp: Stamp::NONE,
        references: 0,
        foreign: 0,
        kind: FrameType::Kernel,
        marks: 0,
        first: 0,
        second: 0,
    };

    /// In `marks`: its bindings are being broken, and there are no new ones.
    pub const LEAVING: u8 = 0x80;
    /// Most pins that a frame can have, and the bits of `marks` that tell how many there are.
    pub const MAX_PINS: u8 = 0x7f;

    /// Whether its bindings are being broken.
    #[inline]
    pub const fn is_leaving(&self) -> bool {
        self.marks & Self::LEAVING != 0
    }

    /// How many of its references are pins: what the kernel itself reads or writes for as long as somebody has bound it
    /// to that.
    #[inline]
    pub const fn pins(&self) -> u8 {
        self.marks & Self::MAX_PINS
    }

    /// Whom it is charged to; nobody if it is free or the kernel's.
    #[inline]
    pub const fn charged_to(&self) -> Owner {
        match self.kind {
            FrameType::Free | FrameType::Kernel => Owner::NOBODY,
            _ => self.owner,
        }
    }
}

const _: () = assert!(size_of::<PageRecord>() == 32);
