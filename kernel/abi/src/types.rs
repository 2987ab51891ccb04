//! The types that the rows of the call table are made of.
//!
//! Physical and virtual names are distinct types. Each has one decoder, and what it accepts is all
//! that the kernel ever sees.

use core::fmt;
use core::marker::PhantomData;

use crate::capability::{CAPABILITY_BYTES, CAPABILITY_WORDS, Capability, Kind};
use crate::domain::ObjectName;
use crate::layout::{PAGE_SIZE, USER_END};
use crate::page::MAX_COLOURS;
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

/// Which page an allocation should take.
///
/// ```text
///   63      56 55            32 31              0
///   | form 0  |  zero          |  page number    |  exactly this one, and those after it
///   | form 1  |  zero                            |  the head of a free list
///   | form 2  |  zero          |  colour         |  the head of this colour's free list
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSelect {
    /// This page, and the ones that follow it.
    Exact(PageNumber),
    /// Whichever heads a free list, one after the other.
    Any,
    /// Whichever heads the free list of this colour, one after the other. The colour of a page is its number
    /// modulo the machine's number of colours.
    Colour(u8),
}

impl PageSelect {
    const FORMS: u64 = 3;

    #[inline(always)]
    fn from_word(word: u64) -> Result<Self, Error> {
        match (word >> FORM_SHIFT, formless(word)) {
            (0, _) => Ok(Self::Exact(page_in(word)?)),
            (1, 0) => Ok(Self::Any),
            (2, colour) if colour < MAX_COLOURS as u64 => Ok(Self::Colour(colour as u8)),
            (2, _) => Err(Error::OutOfRange),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn word(self) -> u64 {
        match self {
            Self::Exact(page) => page.0.into(),
            Self::Any => 1 << FORM_SHIFT,
            Self::Colour(colour) => 2 << FORM_SHIFT | u64::from(colour),
        }
    }
}

impl Argument for PageSelect {
    const REFUSALS: &'static [Error] = &[Error::Malformed, Error::OutOfRange];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        Self::from_word(from.take())
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.word());
    }
}

/// Pages, from a first one on, and the right by which they are named.
///
/// ```text
///   63      56 55            32 31              0      second word
///   | form 0  |  zero          |  page number    |     zero
///   | form 1  |  zero          |  page number    |     address of a capability
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRun<'a> {
    /// Pages of the account that the caller draws on.
    Owned(PageNumber),
    /// Pages that a capability is good for.
    Presented(PageNumber, UserCapability<'a>),
}

impl Argument for PageRun<'_> {
    const WORDS: usize = 2;
    const REFUSALS: &'static [Error] = PRESENTED;

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.take();
        match word >> FORM_SHIFT {
            0 => {
                let page = page_in(word)?;
                if from.take() == 0 {
                    Ok(Self::Owned(page))
                } else {
                    Err(Error::Malformed)
                }
            }
            1 => Ok(Self::Presented(
                page_in(word)?,
                UserCapability::decode(from)?,
            )),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        match self {
            Self::Owned(page) => {
                into.put(page.0.into());
                into.put(0);
            }
            Self::Presented(page, capability) => {
                into.put(1 << FORM_SHIFT | u64::from(page.0));
                capability.encode(into);
            }
        }
    }
}

/// Where the pages of a mapping come from, and by what right: a [`PageRun`], or pages that are allocated on
/// the way, whose form is that of a [`PageSelect`] and 2 (second word zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSource<'a> {
    /// Pages that there are.
    Run(PageRun<'a>),
    /// Pages that the caller gets by this call, as by `page_alloc`.
    New(PageSelect),
}

impl PageSource<'_> {
    const NEW: u64 = 2;

    /// This page and the ones that follow it, owned by the account that the caller draws on.
    #[inline(always)]
    pub const fn owned(first: PageNumber) -> Self {
        Self::Run(PageRun::Owned(first))
    }
}

impl Argument for PageSource<'_> {
    const WORDS: usize = 2;
    const REFUSALS: &'static [Error] = PageRun::REFUSALS;

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.peek();
        let new = (word >> FORM_SHIFT).wrapping_sub(Self::NEW);
        if new >= PageSelect::FORMS {
            return PageRun::decode(from).map(Self::Run);
        }
        from.take();
        let select = PageSelect::from_word(new << FORM_SHIFT | formless(word))?;
        if from.take() == 0 {
            Ok(Self::New(select))
        } else {
            Err(Error::Malformed)
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        match self {
            Self::Run(run) => run.encode(into),
            Self::New(select) => {
                into.put(select.word() + (Self::NEW << FORM_SHIFT));
                into.put(0);
            }
        }
    }
}

/// The account, space or environment that a call is about, and the right by which it is named.
///
/// ```text
///   63      56 55                       16 15       0
///   | form 0  |  zero                                |  the caller's own
///   | form 0  |  address of a capability, not 0      |
///   | form 1  |  epoch, lowest 40 bits    |  index   |  one that belongs to the caller's account
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// The caller itself, the space that it runs in, the account that it is charged to.
    Own,
    /// One that is charged to the account that the caller draws on. An account is charged to its parent.
    Owned(ObjectName),
    /// One that a capability is good for.
    Presented(UserCapability<'a>),
}

impl Object<'_> {
    /// How many bits of an epoch travel with an owned object's name.
    pub const EPOCH_BITS: u32 = 40;
}

impl Argument for Object<'_> {
    const REFUSALS: &'static [Error] = PRESENTED;

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.peek();
        match word >> FORM_SHIFT {
            0 if word == 0 => {
                from.take();
                Ok(Self::Own)
            }
            0 => UserCapability::decode(from).map(Self::Presented),
            1 => {
                from.take();
                Ok(Self::Owned(ObjectName::from_word(formless(word))))
            }
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        match self {
            Self::Own => into.put(0),
            Self::Owned(name) => into.put(1 << FORM_SHIFT | formless(name.word())),
            Self::Presented(capability) => capability.encode(into),
        }
    }
}

impl ObjectName {
    /// Whether this is what an [`Object::Owned`] with `told` means: the index, and the epoch as far as it
    /// travelled.
    #[inline(always)]
    pub const fn is_told(self, told: ObjectName) -> bool {
        formless(self.word() ^ told.word()) == 0
    }
}

/// What the libOS keeps in an entry that maps nothing: 63 bits of its own, which it reads back in its tables.
/// Travels as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note(u64);

impl Note {
    /// The note `value`, if it is less than 2^63. 0 is an empty entry.
    #[inline(always)]
    pub const fn new(value: u64) -> Option<Self> {
        if value >> 63 == 0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The value.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The entry that holds it: bit 0 is zero, so that the processor looks at nothing else.
    #[inline(always)]
    pub const fn entry(self) -> u64 {
        self.0 << 1
    }

    /// The note in an entry that maps nothing.
    #[inline(always)]
    pub const fn of_entry(entry: u64) -> Self {
        Self(entry >> 1)
    }
}

impl Argument for Note {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        Self::new(from.take()).ok_or(Error::Malformed)
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.0);
    }
}

impl Argument for Kind {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let code = u8::try_from(from.take()).ok();
        code.and_then(Self::from_code).ok_or(Error::Malformed)
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self as u64);
    }
}

/// What a batch does at a refusal. Travels as 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// Stop.
    Stop,
    /// Go on with the next operation.
    GoOn,
}

impl Argument for OnRefusal {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        match from.take() {
            0 => Ok(Self::Stop),
            1 => Ok(Self::GoOn),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self as u64);
    }
}

/// An operation of a batch: the call that would do it, without its space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Operation {
    /// Number of the call: one of those whose first argument is a space and that make, change or remove
    /// mappings.
    pub call: u64,
    /// Its arguments after the space, as in registers; zeros behind them.
    pub arguments: [u64; 5],
    /// The kernel writes here what the call would have had in x0.
    pub status: u64,
    /// And in x1.
    pub value: u64,
}

const _: () = assert!(size_of::<Operation>() == 64);

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

/// What is wrong with a capability that is presented, from its address to what it is wanted for.
const PRESENTED: &[Error] = &[
    Error::Malformed,
    Error::BadAddress,
    Error::OutOfRange,
    Error::MissingRight,
    Error::WrongSeal,
    Error::Stale,
    Error::WrongKind,
    Error::WrongHolder,
    Error::Expired,
];

/// Where a capability lies in user memory: 48 bytes at an address that is a multiple of 8, which may be
/// unmapped, or hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserCapability<'a> {
    address: u64,
    borrowed: PhantomData<&'a Capability>,
}

/// Where the kernel puts the words of a capability. Aligned as [`UserCapability`]; may be unmapped.
#[derive(Debug, PartialEq, Eq)]
pub struct UserCapabilityMut<'a> {
    address: u64,
    borrowed: PhantomData<&'a mut [u64; CAPABILITY_WORDS]>,
}

macro_rules! user_capability {
    ($name:ident, $from:ty, $refusals:expr) => {
        impl $name<'_> {
            /// First address: a multiple of 8, and in user space to the last byte.
            #[inline(always)]
            pub const fn address(&self) -> u64 {
                self.address
            }
        }

        impl<'a> From<$from> for $name<'a> {
            #[inline(always)]
            fn from(place: $from) -> Self {
                Self {
                    address: core::ptr::from_ref(place) as u64,
                    borrowed: PhantomData,
                }
            }
        }

        impl Argument for $name<'_> {
            const REFUSALS: &'static [Error] = $refusals;

            #[inline(always)]
            fn decode(from: &mut Arguments) -> Result<Self, Error> {
                let address = from.take();
                if address % 8 == 0 && address <= MEMORY_END - CAPABILITY_BYTES as u64 {
                    Ok(Self {
                        address,
                        borrowed: PhantomData,
                    })
                } else {
                    Err(Error::BadAddress)
                }
            }

            #[inline(always)]
            fn encode(self, into: &mut Arguments) {
                into.put(self.address);
            }
        }
    };
}

user_capability!(UserCapability, &'a Capability, PRESENTED);
user_capability!(
    UserCapabilityMut,
    &'a mut [u64; CAPABILITY_WORDS],
    &[Error::BadAddress]
);

/// Operations of a batch in user memory, which may be unmapped.
#[derive(Debug, PartialEq, Eq)]
pub struct UserOperations<'a> {
    address: u64,
    count: u64,
    borrowed: PhantomData<&'a mut [Operation]>,
}

impl UserOperations<'_> {
    /// First address: a multiple of 8, and in user space to the last byte.
    #[inline(always)]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// How many operations.
    #[inline(always)]
    pub const fn count(&self) -> u64 {
        self.count
    }
}

impl<'a> From<&'a mut [Operation]> for UserOperations<'a> {
    #[inline(always)]
    fn from(operations: &'a mut [Operation]) -> Self {
        Self {
            address: operations.as_ptr() as u64,
            count: operations.len() as u64,
            borrowed: PhantomData,
        }
    }
}

impl Argument for UserOperations<'_> {
    const WORDS: usize = 2;
    const REFUSALS: &'static [Error] = &[Error::BadAddress];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let (address, count) = (from.take(), from.take());
        let end = count
            .checked_mul(size_of::<Operation>() as u64)
            .and_then(|bytes| address.checked_add(bytes));
        match end {
            Some(end) if address % 8 == 0 && end <= MEMORY_END => Ok(Self {
                address,
                count,
                borrowed: PhantomData,
            }),
            _ => Err(Error::BadAddress),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.address);
        into.put(self.count);
    }
}

/// How far the breaking of bindings came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "bindings may be left"]
pub struct Breaking {
    /// Pages to which nothing refers any more, from the first on. A call that reached its bound has broken
    /// something of the next page, too, and is asked again for the rest.
    pub progress: Progress,
    /// Superpage mappings that were removed as a whole, because the pages were in them.
    pub superpages: u64,
}

impl Outcome for Breaking {
    #[inline(always)]
    fn into_reply(self) -> Reply {
        Reply {
            value: self.superpages,
            ..self.progress.into_reply()
        }
    }

    #[inline(always)]
    fn from_reply(reply: Reply) -> Self {
        Self {
            progress: Progress::from_reply(reply),
            superpages: reply.value,
        }
    }

    #[inline(always)]
    fn refused(error: Error) -> Self {
        Self {
            progress: Progress::refused(error),
            superpages: 0,
        }
    }
}

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
pub(crate) mod tests;
