//! From a frame to every table entry that names it, in pages that the mapper supplied.
//!
//! A level-3 table has a page of links, one for each entry, at the same index. The links of all
//! entries that name one frame form a list, whose head is in the frame's record:
//!
//! ```text
//!   record of frame p        links of table a, index 7      links of table b, index 300
//!   first = a << 9 | 7  -->  next     = b << 9 | 300   -->  next     = none
//!   references = 2           previous = none           <--  previous = a << 9 | 7
//!
//!   a link in memory:   63          32 31           0
//!                      | not previous |  not next    |      not none = 0
//! ```
//!
//! A slot is stored complemented, so that a link without neighbours is zero: a page of zeros is an
//! empty page of links, and one from which all entries have gone is a page of zeros again. Whether the
//! entry of a zero link is in use, the table itself says.

use exopi_abi::PageNumber;
use exopi_abi::page::NONE;

use crate::MAX_FRAMES;
use crate::hardware::Index;

/// The place of a table entry: the table's frame number << 9 | index; or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Slot(u32);

impl Slot {
    /// No place.
    pub const NONE: Slot = Slot(NONE);

    /// Entry `index` of `table`, which must be below [`MAX_FRAMES`].
    #[inline(always)]
    pub const fn new(table: PageNumber, index: Index) -> Self {
        Self(table.get() << 9 | index.get() as u32)
    }

    /// The slot in a record's word.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// As a record's word.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// Whether it is no place.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == NONE
    }

    /// The table.
    #[inline(always)]
    pub const fn table(self) -> PageNumber {
        PageNumber::new(self.0 >> 9)
    }

    /// The entry in it.
    #[inline(always)]
    pub const fn index(self) -> Index {
        Index::truncate(self.0 as u64)
    }
}

/// Neighbours of an entry on the list of the frame that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The entry after it.
    pub next: Slot,
    /// The entry before it.
    pub previous: Slot,
}

impl Link {
    /// Without neighbours, or of an entry that is not in use.
    pub const EMPTY: Link = Link {
        next: Slot::NONE,
        previous: Slot::NONE,
    };

    /// The link in a word of a page of links.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            next: Slot(!(word as u32)),
            previous: Slot(!((word >> 32) as u32)),
        }
    }

    /// As a word of a page of links.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        !self.next.0 as u64 | (!self.previous.0 as u64) << 32
    }
}

const _: () = {
    assert!(Link::EMPTY.word() == 0);
    // The last slot that there can be is none no more than the first.
    let last = Slot::new(PageNumber::new(MAX_FRAMES as u32 - 1), Index::LAST);
    assert!(!last.is_none() && last.table().index() == MAX_FRAMES - 1);
    assert!(!Slot::new(PageNumber::new(0), Index::truncate(0)).is_none());
};
