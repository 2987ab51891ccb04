//! The types that the rows of the call table are made of.
//!
//! Physical and virtual names are distinct types. Each has one decoder, and what it accepts is all
//! that the kernel ever sees.
//!
//! Here are the names of memory; in modules of their own which pages and which objects are
//! meant and by what right, what a batch is made of, and user memory.

use core::fmt;

use crate::layout::PAGE_SIZE;
use crate::registers::{Argument, Arguments, Value};
use crate::{Error, layout};

mod batch;
mod objects;
mod pages;
mod user;

pub use batch::{Note, OnRefusal, Operation};
pub use objects::Object;
pub use pages::{Allocation, Breaking, PageRun, PageSelect, PageSource};
pub use user::{UserBytes, UserBytesMut, UserCapability, UserCapabilityMut, UserOperations};

bitflags::bitflags! {
    /// What EL0 may do through a mapping. Any set with [`Access::READ`] is possible: whether a page
    /// is both writable and executable is the libOS's business. The kernel never executes it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Access: u8 {
        /// Load.
        const READ = 1;
        /// Store.
        const WRITE = 2;
        /// Fetch instructions.
        const EXECUTE = 4;
    }
}

impl Access {
    /// Every set that a mapping can have.
    pub const POSSIBLE: [Access; 4] = [
        Access::READ,
        Access::READ.union(Access::WRITE),
        Access::READ.union(Access::EXECUTE),
        Access::all(),
    ];
}

impl Argument for Access {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.take();
        match u8::try_from(word).ok().and_then(Self::from_bits) {
            Some(access) if access.contains(Self::READ) => Ok(access),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.bits().into());
    }
}

/// A physical page frame, by number: its physical address divided by the page size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PageNumber(u32);

impl PageNumber {
    /// Largest number that a record can hold: what lies above 16 TiB has no name.
    pub const MAX: PageNumber = PageNumber(u32::MAX);

    /// The page with this number.
    #[inline(always)]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// As an index into the page array.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Physical address of its first byte.
    #[inline(always)]
    pub const fn address(self) -> u64 {
        self.0 as u64 * PAGE_SIZE
    }

    /// The page `count` pages on, if there is such a number.
    #[inline(always)]
    pub const fn plus(self, count: u64) -> Option<Self> {
        match (self.0 as u64).checked_add(count) {
            Some(sum) if sum <= u32::MAX as u64 => Some(Self(sum as u32)),
            _ => None,
        }
    }
}

impl fmt::Debug for PageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {:#x}", self.0)
    }
}

impl Argument for PageNumber {
    const REFUSALS: &'static [Error] = &[Error::OutOfRange];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        match u32::try_from(from.take()) {
            Ok(number) => Ok(Self(number)),
            Err(_) => Err(Error::OutOfRange),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.0.into());
    }
}

impl Value for PageNumber {
    #[inline(always)]
    fn into_word(self) -> u64 {
        self.0.into()
    }

    #[inline(always)]
    fn from_word(word: u64) -> Self {
        Self(word as u32)
    }
}

/// A page-aligned address of the part of user space that programs map: from [`layout::USER_START`] to
/// below [`layout::TABLES_BASE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtAddr(u64);

impl VirtAddr {
    /// The page at `address`, if it is page-aligned and in the part of user space that programs map.
    #[inline(always)]
    pub const fn new(address: u64) -> Option<Self> {
        let mappable = address >= layout::USER_START && address < layout::TABLES_BASE;
        if mappable && address.is_multiple_of(PAGE_SIZE) {
            Some(Self(address))
        } else {
            None
        }
    }

    /// The address.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The page `count` pages on, if programs can map it.
    #[inline(always)]
    pub const fn plus(self, count: u64) -> Option<Self> {
        match count.checked_mul(PAGE_SIZE) {
            Some(bytes) => match self.0.checked_add(bytes) {
                Some(sum) => Self::new(sum),
                None => None,
            },
            None => None,
        }
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Argument for VirtAddr {
    const REFUSALS: &'static [Error] = &[Error::BadAddress];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        Self::new(from.take()).ok_or(Error::BadAddress)
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.0);
    }
}

/// Bits of a word of several forms that say which one it is.
const FORM_SHIFT: u32 = 56;

/// The word without its form.
#[inline(always)]
const fn formless(word: u64) -> u64 {
    word & ((1 << FORM_SHIFT) - 1)
}

/// The page number in a word without its form.
#[inline(always)]
fn page_in(word: u64) -> Result<PageNumber, Error> {
    match u32::try_from(formless(word)) {
        Ok(number) => Ok(PageNumber(number)),
        Err(_) => Err(Error::OutOfRange),
    }
}

/// A level of the page table below the root (4 KiB granule, 39 bits: the root is level 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TableLevel {
    /// Covers 1 GiB; its entries name level-3 tables.
    Two = 2,
    /// Covers 2 MiB; its entries name pages. Comes with a page of links.
    Three = 3,
}

impl TableLevel {
    /// Bytes of address space that a table of this level covers.
    pub const fn span(self) -> u64 {
        match self {
            Self::Two => 1 << 30,
            Self::Three => 1 << 21,
        }
    }
}

impl Argument for TableLevel {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        match from.take() {
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self as u64);
    }
}

#[cfg(test)]
pub(crate) mod tests;
