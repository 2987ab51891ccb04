//! What is written into entries that map nothing, and operations that are carried out several at a time.

use super::{Access, PageSource};
use crate::page::{ALLOC_BOUND, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, SUPERPAGE_BOUND};
use crate::registers::{Argument, Arguments};
use crate::{Call, Error};

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

impl Operation {
    /// How many mappings a new page counts for, which may have to be zeroed.
    pub const NEW_PAGE: u64 = INSERT_BOUND / ALLOC_BOUND;
    /// How many mappings a superpage counts for, whose pages are all looked at, even if it is refused then.
    pub const SUPERPAGE: u64 = INSERT_BOUND / SUPERPAGE_BOUND;

    /// How many mappings an executable page counts for, whose contents are made visible to instruction fetches.
    pub const EXECUTABLE: u64 = INSERT_BOUND / INSERT_EXECUTABLE_BOUND;
    /// How many mappings a capability counts for, which is verified with as many caveats as it can have.
    pub const CAPABILITY: u64 = INSERT_BOUND / 8;

    /// How many mappings an operation counts for that was carried out as `call` with these arguments after the
    /// space, and came to `done`. At least one, whatever came of it.
    pub fn weight(call: Option<Call>, arguments: [u64; 5], done: u64) -> u64 {
        let [_, source, _, count, access] = arguments;
        let pages = done.max(1);
        match call {
            Some(Call::insert_superpage) => {
                verified(source) + count.clamp(1, SUPERPAGE_BOUND) * Self::SUPERPAGE
            }
            Some(Call::insert_pte) if PageSource::is_new(source) => {
                pages * Self::NEW_PAGE.max(each(access))
            }
            Some(Call::insert_pte) => verified(source) + pages * each(access),
            // Its arguments are a page, a count and what is to be allowed.
            Some(Call::protect_pte) => pages * each(arguments[2]),
            _ => pages,
        }
    }
}

/// How many mappings the right counts for by which the pages of `source` are named.
const fn verified(source: u64) -> u64 {
    if PageSource::is_presented(source) {
        Operation::CAPABILITY
    } else {
        0
    }
}

/// How many mappings a page counts for with `access`, as it travels.
const fn each(access: u64) -> u64 {
    if access & Access::EXECUTE.bits() as u64 != 0 {
        Operation::EXECUTABLE
    } else {
        1
    }
}
