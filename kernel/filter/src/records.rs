//! The records of the pools. Generated code reads them, so their layout is part of its convention.

use exopi_abi::net::{Operation, Width, shifted};

use crate::{MAX_ATOMS, MAX_KEYS, MAX_TARGETS};

/// A filter, by number. The root is number 0.
///
/// A number is used again after its filter has gone; who keeps numbers must know when that was, by the
/// epoch in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct FilterId(pub u32);

impl FilterId {
    /// The filter that takes every frame.
    pub const ROOT: FilterId = FilterId(0);

    /// The place of its first key: see [`Filter::words`].
    pub(crate) const fn place(self) -> u32 {
        self.0 << PLACE_SHIFT
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A key that has been interned, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct KeyId(pub u16);

/// Logarithm of the size of a [`Filter`].
pub(crate) const PLACE_SHIFT: u32 = 7;
/// Most filters: their places are numbers of 32 bits.
pub(crate) const MAX_FILTERS: usize = 1 << (32 - PLACE_SHIFT - 1);
/// Values in a filter's own record.
pub(crate) const OWN_WORDS: usize = 4;
/// Most words of values, the first half of the first being the place.
pub(crate) const MAX_WORDS: usize = MAX_ATOMS + 1;
/// No target.
pub(crate) const NO_TARGET: u32 = u32::MAX;
/// No key.
pub(crate) const NO_KEY: u16 = u16::MAX;

/// What a filter record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// On the free list, which goes through `next`.
    #[default]
    Free = 0,
    /// A filter.
    Live = 1,
    /// Deleted, but for its children: what they leave is the next filter's above that is live.
    Retired = 2,
    /// Being deleted with its descendants: out of the hash table, so no frame comes here.
    Leaving = 3,
}

/// A filter.
///
/// ```text
///    0  code   [4 keys + end]    offsets of the keys' code, then 0
///   20  more                     first chunk of the words that do not fit here, or 0
///   24  words  [4]               its values under its parent's key, packed; the first half of word 0 is
///                                the place of that key: the parent's number << 7 | key << 2
///   56  epoch
///   64  targets [8]
///   96  first_child, next, previous, home
///  112  keys [4], atoms, used_words, state, key_count
/// ```
///
/// A place is at once the offset of the key's word in `code`, counted from the begin of the pool: so the
/// generated code has one register for where it is, what comes next, and whose child it looks for.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Filter {
    pub(crate) code: [u32; MAX_KEYS + 1],
    pub(crate) more: u32,
    pub(crate) words: [u64; OWN_WORDS],
    pub(crate) epoch: u64,
    pub(crate) targets: [u32; MAX_TARGETS],
    pub(crate) first_child: u32,
    pub(crate) next: u32,
    pub(crate) previous: u32,
    pub(crate) home: u32,
    pub(crate) keys: [u16; MAX_KEYS],
    pub(crate) atoms: u16,
    pub(crate) used_words: u8,
    pub(crate) state: State,
    pub(crate) key_count: u8,
    pub(crate) reserved: [u8; 3],
}

/// Where generated code finds a filter's words.
pub(crate) const WORDS_OFFSET: u32 = 24;
/// Where generated code finds a filter's first chunk.
pub(crate) const MORE_OFFSET: u32 = 20;

const _: () = {
    assert!(size_of::<Filter>() == 1 << PLACE_SHIFT);
    assert!(core::mem::offset_of!(Filter, code) == 0);
    assert!(core::mem::offset_of!(Filter, more) == MORE_OFFSET as usize);
    assert!(core::mem::offset_of!(Filter, words) == WORDS_OFFSET as usize);
};

impl Filter {
    /// Place of the key under which it is its parent's child.
    pub(crate) const fn place(&self) -> u32 {
        self.words[0] as u32
    }

    /// Its parent; the root is its own.
    pub const fn parent(&self) -> FilterId {
        FilterId(self.place() >> PLACE_SHIFT)
    }

    /// Under which of its parent's keys it is, 0 to 3.
    pub const fn key(&self) -> usize {
        (self.place() >> 2) as usize % MAX_KEYS
    }

    /// What it is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// What the caller gave on insertion.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Who gets its frames.
    pub fn targets(&self) -> impl Iterator<Item = u32> + '_ {
        self.targets
            .iter()
            .copied()
            .filter(|&target| target != NO_TARGET)
    }

    /// Atoms from the root down to it.
    pub const fn chain_length(&self) -> usize {
        self.atoms as usize
    }

    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> + '_ {
        let count = self.key_count.into();
        self.keys.iter().take(count).map(|&key| KeyId(key))
    }
}

/// More words of a filter's values: the number of the next chunk (0: none), then seven words.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Chunk(pub(crate) [u64; 8]);

/// Logarithm of the size of a [`Chunk`].
pub(crate) const CHUNK_SHIFT: u32 = 6;
/// Words in a chunk.
pub(crate) const CHUNK_WORDS: usize = 7;

const _: () = assert!(size_of::<Chunk>() == 1 << CHUNK_SHIFT);

/// What a part of a key does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Part {
    #[default]
    Field = 1,
    Advance = 2,
    AdvanceBy = 3,
}

/// One atom of a key, without its value, and where the value is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) part: Part,
    pub(crate) width: u8,
    pub(crate) shift: i8,
    /// Word of the values that holds this field, and its lowest bit there.
    pub(crate) word: u8,
    pub(crate) bit: u8,
    pub(crate) reserved: u8,
    pub(crate) offset: u16,
    /// A field's with octets as a little-endian load has them; an advance's as a number.
    pub(crate) mask: u64,
}

impl Step {
    pub(crate) fn new(operation: Operation) -> Self {
        let atom = operation.encode();
        let (part, mask) = match operation {
            Operation::Equal { width, mask, .. } => (Part::Field, width.swap(mask)),
            Operation::Advance { .. } => (Part::Advance, 0),
            Operation::AdvanceBy { mask, .. } => (Part::AdvanceBy, mask),
        };
        Self {
            part,
            width: atom.width,
            shift: atom.shift,
            offset: atom.offset,
            mask,
            ..Self::default()
        }
    }

    pub(crate) fn width(&self) -> Width {
        Width::from_code(self.width).unwrap_or(Width::Bits64)
    }

    /// What it was made from, with this value (octets as loaded).
    pub(crate) fn operation(&self, value: u64) -> Operation {
        let (offset, width) = (self.offset, self.width());
        match self.part {
            Part::Field => Operation::Equal {
                offset,
                width,
                mask: width.swap(self.mask),
                value: width.swap(value),
            },
            Part::Advance => Operation::Advance { by: offset },
            Part::AdvanceBy => Operation::AdvanceBy {
                offset,
                width,
                mask: self.mask,
                shift: self.shift,
            },
        }
    }

    /// How far an advance by a field goes whose octets were loaded as `raw`.
    pub(crate) fn distance(&self, raw: u64) -> u64 {
        shifted(self.width().swap(raw) & self.mask, self.shift)
    }
}

/// A key: what all filters that were split in the same way share, and what code is made for.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KeyRecord {
    pub(crate) steps: [Step; MAX_ATOMS],
    /// Of the steps, so that most that differ are told apart by one comparison.
    pub(crate) fingerprint: u64,
    /// Filters that declare it.
    pub(crate) users: u32,
    /// Where its code is; 0 as long as there is none.
    pub(crate) code: u32,
    /// Steps; 0 if the record is free.
    pub(crate) count: u8,
    /// Words of values.
    pub(crate) words: u8,
    pub(crate) reserved: [u8; 6],
}

impl Default for KeyRecord {
    fn default() -> Self {
        Self {
            steps: [Step::default(); MAX_ATOMS],
            fingerprint: 0,
            users: 0,
            code: 0,
            count: 0,
            words: 0,
            reserved: [0; 6],
        }
    }
}

impl KeyRecord {
    pub(crate) fn steps(&self) -> &[Step] {
        self.steps.get(..self.count.into()).unwrap_or_default()
    }

    /// Filters that declare it.
    pub const fn users(&self) -> u32 {
        self.users
    }

    /// Where its code is, in octets from the arena's begin, if it has code.
    pub const fn code(&self) -> Option<u32> {
        if self.code == 0 {
            None
        } else {
            Some(self.code)
        }
    }
}
