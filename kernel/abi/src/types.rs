//! The types that the rows of the call table are made of.
//!
//! Physical and virtual names are distinct types. Each has one decoder, and what it accepts is all
//! that the kernel ever sees.

use core::fmt;
use core::marker::PhantomData;

use crate::layout::{PAGE_SIZE, USER_END};
use crate::registers::{Argument, Arguments, Outcome, Progress, Reply, Value};
use crate::{Error, layout};

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

/// `None` travels as page 0, which holds the firmware's hand-over and is nobody's.
impl Argument for Option<PageNumber> {
    const REFUSALS: &'static [Error] = PageNumber::REFUSALS;

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let page = PageNumber::decode(from)?;
        Ok((page.0 != 0).then_some(page))
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.map_or(0, |page| page.0.into()));
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
/// below [`layout::EXPOSED_BASE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtAddr(u64);

impl VirtAddr {
    /// The page at `address`, if it is page-aligned and in the part of user space that programs map.
    #[inline(always)]
    pub const fn new(address: u64) -> Option<Self> {
        let mappable = address >= layout::USER_START && address < layout::EXPOSED_BASE;
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

/// Bits of a source or selection word that say which form it has.
const FORM_SHIFT: u32 = 56;

/// Which page an allocation should take.
///
/// ```text
///   63      56 55                    32 31              0
///   | form 0  |  zero                  |  page number    |  exactly this one, and those after it
///   | form 1  |  zero                                    |  the head of the free list
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSelect {
    /// This page, and the ones that follow it.
    Exact(PageNumber),
    /// Whichever heads the free list, one at a time: the count must be 1.
    Any,
}

impl Argument for PageSelect {
    const REFUSALS: &'static [Error] = &[Error::Malformed, Error::OutOfRange];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.take();
        match word >> FORM_SHIFT {
            0 => match u32::try_from(word) {
                Ok(number) => Ok(Self::Exact(PageNumber(number))),
                Err(_) => Err(Error::OutOfRange),
            },
            1 if word << (64 - FORM_SHIFT) == 0 => Ok(Self::Any),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(match self {
            Self::Exact(page) => page.0.into(),
            Self::Any => 1 << FORM_SHIFT,
        });
    }
}

/// Where the pages of a mapping come from, and by what right.
///
/// ```text
///   63      56 55                    32 31              0
///   | form 0  |  zero                  |  page number    |  pages that the caller owns
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSource {
    /// This page and the ones that follow it, all owned by the caller.
    Owned(PageNumber),
}

impl Argument for PageSource {
    const REFUSALS: &'static [Error] = &[Error::Malformed, Error::OutOfRange];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.take();
        match word >> FORM_SHIFT {
            0 => match u32::try_from(word) {
                Ok(number) => Ok(Self::Owned(PageNumber(number))),
                Err(_) => Err(Error::OutOfRange),
            },
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        let Self::Owned(page) = self;
        into.put(page.0.into());
    }
}

/// The address space that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The caller's own. Travels as 0.
    Own,
}

impl Argument for Space {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        match from.take() {
            0 => Ok(Self::Own),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        let Self::Own = self;
        into.put(0);
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

/// First address beyond what a byte range may cover. Off target, where a test's stubs hand over
/// ranges of its own process, that is all that a host maps.
const MEMORY_END: u64 = if cfg!(target_os = "none") {
    USER_END
} else {
    1 << 56
};

/// Where a range of user memory begins and how long it is. It says nothing of what is mapped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UserRange {
    address: u64,
    length: u64,
}

impl UserRange {
    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let range = Self {
            address: from.take(),
            length: from.take(),
        };
        match range.address.checked_add(range.length) {
            Some(end) if end <= MEMORY_END => Ok(range),
            _ => Err(Error::BadAddress),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.address);
        into.put(self.length);
    }
}

/// User memory that the kernel may read during a call. Lies wholly in user space; may be unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserBytes<'a> {
    range: UserRange,
    borrowed: PhantomData<&'a [u8]>,
}

/// User memory that the kernel may write during a call. Lies wholly in user space; may be unmapped.
#[derive(Debug, PartialEq, Eq)]
pub struct UserBytesMut<'a> {
    range: UserRange,
    borrowed: PhantomData<&'a mut [u8]>,
}

macro_rules! user_range {
    ($name:ident, $from:ty) => {
        impl $name<'_> {
            /// First address.
            #[inline(always)]
            pub const fn address(&self) -> u64 {
                self.range.address
            }

            /// Length in bytes.
            #[inline(always)]
            pub const fn length(&self) -> u64 {
                self.range.length
            }
        }

        impl<'a> From<$from> for $name<'a> {
            #[inline(always)]
            fn from(slice: $from) -> Self {
                Self {
                    range: UserRange {
                        address: slice.as_ptr() as u64,
                        length: slice.len() as u64,
                    },
                    borrowed: PhantomData,
                }
            }
        }

        impl Argument for $name<'_> {
            const WORDS: usize = 2;
            const REFUSALS: &'static [Error] = &[Error::BadAddress];

            #[inline(always)]
            fn decode(from: &mut Arguments) -> Result<Self, Error> {
                Ok(Self {
                    range: UserRange::decode(from)?,
                    borrowed: PhantomData,
                })
            }

            #[inline(always)]
            fn encode(self, into: &mut Arguments) {
                self.range.encode(into);
            }
        }
    };
}

user_range!(UserBytes, &'a [u8]);
user_range!(UserBytesMut, &'a mut [u8]);

/// What an allocation gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the pages are charged to the caller now"]
pub struct Allocation {
    /// The first page, meaningful if any was allocated.
    pub first: PageNumber,
    /// How many were allocated, from the first on, and why no more.
    pub progress: Progress,
}

impl Outcome for Allocation {
    #[inline(always)]
    fn into_reply(self) -> Reply {
        Reply {
            value: self.first.into_word(),
            ..self.progress.into_reply()
        }
    }

    #[inline(always)]
    fn from_reply(reply: Reply) -> Self {
        Self {
            first: PageNumber::from_word(reply.value),
            progress: Progress::from_reply(reply),
        }
    }

    #[inline(always)]
    fn refused(error: Error) -> Self {
        Self {
            first: PageNumber::new(0),
            progress: Progress::refused(error),
        }
    }
}

#[cfg(test)]
mod tests;
