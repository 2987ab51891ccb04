//! Wakeup predicates: what would wake a sleeper, as a sum of products of comparisons.
//!
//! A program that waits says for what: words of pages that it may read, words that the kernel keeps, the time.
//! The kernel looks at them while the program does not run. A predicate is true when *any* of its products is;
//! a product is true when *all* its comparisons are, and has a [`Tag`] that the sleeper is told.
//!
//! ```text
//!   (ring.owner != 0)  |  (peer.epoch != 7)  |  (lock.word == 0 & time >= 123456)
//!        tag 1                tag 2                     tag 3
//! ```
//!
//! * [`Term`]: a comparison as it travels, 32 bytes. Anything may be in it.
//! * [`Terms`]: a predicate that has been checked; of hostile terms it makes one or an [`Error`].
//! * [`Predicate`]: builds terms, on the side of the program.
//!
//! All comparisons are of unsigned numbers. There is no arithmetic and no mask: a word that others write for a
//! sleeper is written so that it can be compared.

use core::num::NonZeroU32;

mod build;
mod terms;
#[cfg(test)]
mod tests;

pub use build::{Predicate, Word};
pub use terms::{Named, Operand, Terms, Test};

use crate::Error;
use crate::domain::MAX_ENVIRONMENTS;

/// Most terms of a predicate.
pub const MAX_TERMS: usize = 32;
/// Most different pages that the terms of a predicate name.
pub const MAX_PAGES: usize = 8;

/// How a word is compared with a term's value, both unsigned: `word < value` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Comparison {
    /// `<`
    Less = 1,
    /// `<=`
    AtMost = 2,
    /// `==`
    Equal = 3,
    /// `!=`
    NotEqual = 4,
    /// `>=`
    AtLeast = 5,
    /// `>`
    Greater = 6,
}

impl Comparison {
    /// Every one, in the order of the codes.
    pub const ALL: [Comparison; 6] = [
        Self::Less,
        Self::AtMost,
        Self::Equal,
        Self::NotEqual,
        Self::AtLeast,
        Self::Greater,
    ];

    /// The comparison with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Less,
            2 => Self::AtMost,
            3 => Self::Equal,
            4 => Self::NotEqual,
            5 => Self::AtLeast,
            6 => Self::Greater,
            _ => return None,
        })
    }

    /// Whether it holds between a word and a value.
    #[inline(always)]
    pub const fn holds(self, word: u64, value: u64) -> bool {
        match self {
            Self::Less => word < value,
            Self::AtMost => word <= value,
            Self::Equal => word == value,
            Self::NotEqual => word != value,
            Self::AtLeast => word >= value,
            Self::Greater => word > value,
        }
    }
}

/// Bytes of a word of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Width {
    /// 32 bits.
    Four = 4,
    /// 64 bits.
    Eight = 8,
}

impl Width {
    /// The width of this many bytes.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    /// The largest number that such a word holds.
    pub const fn largest(self) -> u64 {
        match self {
            Self::Four => u32::MAX as u64,
            Self::Eight => u64::MAX,
        }
    }
}

/// What a sleeper is told: which product was true. Zero is none: woken without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Tag(NonZeroU32);

impl Tag {
    /// No product was true: a page of the predicate was taken away, and the predicate with it.
    pub const BROKEN: Tag = Tag(NonZeroU32::MAX);
    /// The largest tag that a product can have. Those above it are the kernel's.
    pub const LAST: u32 = 0xffff_ff00;

    /// A product's tag, if it is from 1 to [`Tag::LAST`].
    pub const fn new(tag: u32) -> Option<Self> {
        match NonZeroU32::new(tag) {
            Some(number) if tag <= Self::LAST => Some(Self(number)),
            _ => None,
        }
    }

    /// The tag that a sleeper was told, the kernel's own included; none if it was woken without.
    pub const fn told(word: u64) -> Option<Self> {
        match NonZeroU32::new(word as u32) {
            Some(number) if word >> 32 == 0 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// A word that the kernel keeps.
///
/// ```text
///   code   place         the word
///   1      0             time in ticks, as CNTVCT_EL0 counts it
///   2      environment   state, from its life word: bits 0 to 3
///   3      environment   epoch, from its life word: bits 16 to 63
/// ```
///
/// Other codes are for words to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exposed {
    /// Time in ticks. It does not stand still to be looked at, so it can be compared by order alone.
    Time,
    /// What becomes of the environment at this index: the state's code, 0 if there is none.
    State(u16),
    /// The epoch of the environment at this index, 0 if there is none. It becomes another one when the
    /// environment is gone for good.
    Epoch(u16),
}

impl Exposed {
    /// Where the state is in a life word: lowest bit and number of bits.
    pub const STATE_FIELD: (u32, u32) = (0, 4);
    /// Where the epoch is.
    pub const EPOCH_FIELD: (u32, u32) = (16, 48);

    /// The word with this code and place.
    ///
    /// # Errors
    /// [`Error::Malformed`]: there is no such word; [`Error::OutOfRange`]: no such environment can be.
    pub const fn decode(code: u16, place: u32) -> Result<Self, Error> {
        let environment = match code {
            1 if place == 0 => return Ok(Self::Time),
            2 | 3 => place,
            _ => return Err(Error::Malformed),
        };
        if environment as usize >= MAX_ENVIRONMENTS {
            return Err(Error::OutOfRange);
        }
        Ok(match code {
            2 => Self::State(environment as u16),
            _ => Self::Epoch(environment as u16),
        })
    }

    /// Its code and place.
    pub const fn encode(self) -> (u16, u32) {
        match self {
            Self::Time => (1, 0),
            Self::State(environment) => (2, environment as u32),
            Self::Epoch(environment) => (3, environment as u32),
        }
    }
}

/// Where a term's word is, as it travels ([`Term::source`]).
pub(crate) mod source {
    /// In a page of the account that the caller draws on.
    pub(crate) const OWNED: u8 = 0;
    /// In a page that a capability lets the caller read.
    pub(crate) const PRESENTED: u8 = 1;
    /// A word that the kernel keeps.
    pub(crate) const EXPOSED: u8 = 2;
}

/// A comparison as it travels.
///
/// ```text
///   0       4        6        7       8       16           24    28           29      30         32
///   | place | offset | source | flags | value | capability | tag | comparison | width | reserved |
/// ```
///
/// | source | place | offset | capability |
/// | --- | --- | --- | --- |
/// | 0, own page | page number | of the word, in bytes | zero |
/// | 1, presented page | page number | of the word, in bytes | address of a capability with the right to read |
/// | 2, exposed word | see [`Exposed`] | code | zero |
///
/// The word is 4 or 8 bytes wide (an exposed one 8) and aligned to that. The first term of each product has
/// [`Term::FIRST_OF_PRODUCT`] and the product's tag; the others have the tag zero. All terms that name a page
/// name it by the same right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Term {
    /// Page number, or which of several exposed words.
    pub place: u32,
    /// Offset in the page, or which exposed word.
    pub offset: u16,
    /// Where the word is.
    pub source: u8,
    /// [`Term::FIRST_OF_PRODUCT`] or zero.
    pub flags: u8,
    /// What the word is compared with. Of 32 bits, if the word is.
    pub value: u64,
    /// Address of a capability, or zero.
    pub capability: u64,
    /// [`Tag`] of the product that begins here, or zero.
    pub tag: u32,
    /// [`Comparison`].
    pub comparison: u8,
    /// [`Width`].
    pub width: u8,
    /// Zero.
    pub reserved: u16,
}

const _: () = {
    assert!(size_of::<Term>() == 8 * Term::WORDS);
    assert!(core::mem::offset_of!(Term, value) == 8);
    assert!(core::mem::offset_of!(Term, capability) == 16);
    assert!(core::mem::offset_of!(Term, tag) == 24);
    assert!(core::mem::offset_of!(Term, comparison) == 28);
    assert!(MAX_ENVIRONMENTS <= u16::MAX as usize + 1);
};

impl Term {
    /// Words of 64 bits of a term.
    pub const WORDS: usize = 4;
    /// Flag: the term begins a product.
    pub const FIRST_OF_PRODUCT: u8 = 1;

    /// The term in words of memory, as the kernel reads them.
    pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [place, value, capability, rest] = words;
        Self {
            place: place as u32,
            offset: (place >> 32) as u16,
            source: (place >> 48) as u8,
            flags: (place >> 56) as u8,
            value,
            capability,
            tag: rest as u32,
            comparison: (rest >> 32) as u8,
            width: (rest >> 40) as u8,
            reserved: (rest >> 48) as u16,
        }
    }

    /// As words of memory.
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        [
            self.place as u64
                | (self.offset as u64) << 32
                | (self.source as u64) << 48
                | (self.flags as u64) << 56,
            self.value,
            self.capability,
            self.tag as u64
                | (self.comparison as u64) << 32
                | (self.width as u64) << 40
                | (self.reserved as u64) << 48,
        ]
    }
}
