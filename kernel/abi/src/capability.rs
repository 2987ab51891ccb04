//! Capabilities: sealed plain data, narrowed by whoever holds them, without the kernel.
//!
//! ```text
//!   word 0   63            32 31             0
//!           | count          | index          |   objects index .. index + count
//!   word 1   63    48 47                     0
//!           | rights | epoch                  |   the stamp that each object must still carry
//!   word 2   63            32 31   16 15   8 7   0
//!           | caveat at 0    | zero  | used | kind |   used: how many caveats there are
//!   word 3   63            32 31             0
//!           | caveat at 2    | caveat at 1    |   unused caveats are zero
//!   word 4   seal, low half
//!   word 5   seal, high half
//! ```
//!
//! The kernel seals the *body*, which is kind, rights, index, count and epoch, with a key that nobody
//! else has: `seal = hash(key, body)`. A holder adds a caveat by one more step, in which the old seal is
//! the key: `seal = hash(seal, caveat, position)` ([`Seal::chain`]). The kernel does all steps again. So
//! caveats come off for nobody, and nothing else can be changed by anybody.
//!
//! What always holds:
//!
//! * Any 48 bytes are one capability or [`Error::Malformed`], and a capability has one form: reserved bits
//!   and unused caveats are zero, rights are those of the kind, no range is empty or wraps, an epoch was
//!   given to something. [`Capability::from_words`] is the only way in.
//! * Seals are compared as a whole, never up to the first difference, and are never printed: the bytes of
//!   a seal are the authority.
//!
//! Well-formed means nothing more than that: whether it is genuine only the kernel can tell, and whether it
//! still means anything only the objects' records.

use core::fmt;

use crate::Error;
use siphash::Initial;

mod caveat;
mod identity;
mod kind;
pub mod siphash;

pub use caveat::{Badge, Caveat, Hint, Restriction, Second};
pub use identity::{Epoch, Identity};
pub use kind::{
    AccountRights, BlockRights, EnvironmentRights, ExtentRights, FilterRights, Kind, KindRights,
    PageRights, PrincipalRights, Rights, SendRights, SliceRights, SpaceRights,
};

/// Most caveats that a capability can carry.
pub const MAX_CAVEATS: usize = 3;
/// Bytes of a capability.
pub const CAPABILITY_BYTES: usize = 48;
/// Registers or words of a capability.
pub const CAPABILITY_WORDS: usize = CAPABILITY_BYTES / 8;

/// 128 bits that only the kernel can compute for a body, and only a holder of it for one caveat more.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Seal([u64; 2]);

impl Seal {
    /// The seal in these words, low half first.
    #[inline(always)]
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self(words)
    }

    /// Its words, low half first.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        self.0
    }
}

/// Looks at all 128 bits whatever they are. A comparison that ended at the first difference would tell by its
/// time when half of a guess is right, and two searches of 2^64 are not one of 2^128. What is branched
/// on is the one word into which all differences have been gathered.
impl PartialEq for Seal {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        none_of((self.0[0] ^ other.0[0]) | (self.0[1] ^ other.0[1]))
    }
}

impl Eq for Seal {}

/// Whether no bit is set in the differences that were gathered.
///
/// Without the barrier the compiler takes an "or" of differences apart again, into a comparison and a branch
/// for each word, as A64 code of this very function has shown.
#[inline(always)]
fn none_of(differences: u64) -> bool {
    core::hint::black_box(differences) == 0
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seal")
    }
}

/// What the kernel says in a capability: which objects, and what may be done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    kind: Kind,
    rights: Rights,
    index: u32,
    count: u32,
    epoch: Epoch,
}

impl Body {
    /// `rights` to the `count` objects from `index` on that are stamped with `epoch`.
    ///
    /// # Errors
    /// [`Error::Malformed`]: what [`Body::of_kind`] refuses, or bits that are no right of the kind.
    #[inline]
    pub fn new<R: KindRights>(
        rights: R,
        index: u32,
        count: u32,
        epoch: Epoch,
    ) -> Result<Self, Error> {
        Self::of_kind(R::KIND, rights.into(), index, count, epoch)
    }

    /// The same, for a kind that is known only as the program runs.
    ///
    /// # Errors
    /// [`Error::Malformed`]: rights that are not the kind's, no object at all, more than one of a kind
    /// that has no ranges, numbers beyond 2^32 - 1, or [`Epoch::NONE`].
    #[inline(always)]
    pub const fn of_kind(
        kind: Kind,
        rights: Rights,
        index: u32,
        count: u32,
        epoch: Epoch,
    ) -> Result<Self, Error> {
        let extent = if kind.is_range() {
            count != 0 && index.checked_add(count - 1).is_some()
        } else {
            count == 1
        };
        if extent && kind.rights().contains(rights) && epoch.bits() != 0 {
            Ok(Self {
                kind,
                rights,
                index,
                count,
                epoch,
            })
        } else {
            Err(Error::Malformed)
        }
    }

    /// What it is for.
    #[inline(always)]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What may be done, caveats not counted.
    #[inline(always)]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// The first object.
    #[inline(always)]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// How many objects, at least 1.
    #[inline(always)]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// What each object must still be stamped with. Not [`Epoch::NONE`].
    #[inline(always)]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Words 0 and 1 of the capability.
    #[inline(always)]
    const fn words(&self) -> [u64; 2] {
        [
            self.index as u64 | (self.count as u64) << 32,
            self.epoch.bits() | (self.rights.bits() as u64) << Epoch::BITS,
        ]
    }

    /// The seal of a body without caveats: the hash, from where it begins under the kernel's key, of words 0 and 1
    /// and the kind.
    ///
    /// These 17 bytes are all of it; how many caveats follow is said by the chain.
    #[inline(always)]
    pub const fn seal(&self, start: siphash::Start) -> Seal {
        Seal(siphash::siphash::<2, 1>(
            start,
            self.words(),
            self.kind as u64,
        ))
    }
}

/// A capability: well-formed, and no more is known of it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Capability {
    index: u32,
    count: u32,
    /// Rights and epoch.
    stamp: u64,
    kind: Kind,
    used: u8,
    reserved: u16,
    caveats: [u32; MAX_CAVEATS],
    seal: Seal,
}

const _: () = {
    use core::mem::{align_of, offset_of};
    assert!(size_of::<Capability>() == CAPABILITY_BYTES);
    assert!(align_of::<Capability>() == 8);
    assert!(offset_of!(Capability, index) == 0);
    assert!(offset_of!(Capability, count) == 4);
    assert!(offset_of!(Capability, stamp) == 8);
    assert!(offset_of!(Capability, kind) == 16);
    assert!(offset_of!(Capability, used) == 17);
    assert!(offset_of!(Capability, reserved) == 18);
    assert!(offset_of!(Capability, caveats) == 20);
    assert!(offset_of!(Capability, seal) == 32);
};

impl Capability {
    /// A capability without caveats out of its parts. Whether the seal fits, the kernel will say.
    #[inline(always)]
    pub const fn new(body: &Body, seal: Seal) -> Self {
        Self {
            index: body.index,
            count: body.count,
            stamp: body.words()[1],
            kind: body.kind,
            used: 0,
            reserved: 0,
            caveats: [0; MAX_CAVEATS],
            seal,
        }
    }

    /// The capability in these words, as they came in registers or from memory.
    ///
    /// # Errors
    /// [`Error::Malformed`]: it is none.
    #[inline(always)]
    pub const fn from_words(words: [u64; CAPABILITY_WORDS]) -> Result<Self, Error> {
        let [extent, stamp, head, tail, low, high] = words;
        let Some(kind) = Kind::from_code(head as u8) else {
            return Err(Error::Malformed);
        };
        let capability = Self {
            index: extent as u32,
            count: (extent >> 32) as u32,
            stamp,
            kind,
            used: (head >> 8) as u8,
            reserved: (head >> 16) as u16,
            caveats: [(head >> 32) as u32, tail as u32, (tail >> 32) as u32],
            seal: Seal([low, high]),
        };
        let body = capability.body();
        if let Err(error) = Body::of_kind(kind, body.rights, body.index, body.count, body.epoch) {
            return Err(error);
        }
        // Most have no caveats: then all that is left must be zero.
        if head >> 8 | tail == 0 || capability.has_good_caveats() {
            Ok(capability)
        } else {
            Err(Error::Malformed)
        }
    }

    /// Whether there are as many caveats as it says, with no gap, and the reserved bits are zero.
    const fn has_good_caveats(&self) -> bool {
        let mut words = self.caveats().rest;
        let mut used = 0;
        while words != 0 {
            // Zero is no caveat: there is nothing behind an unused place.
            if Caveat::from_word(words as u32).is_none() {
                return false;
            }
            words >>= 32;
            used += 1;
        }
        self.used == used && self.reserved == 0
    }

    /// Its words, for registers.
    #[inline(always)]
    pub const fn words(&self) -> [u64; CAPABILITY_WORDS] {
        let [first, second, third] = self.caveats;
        let Seal([low, high]) = self.seal;
        [
            self.index as u64 | (self.count as u64) << 32,
            self.stamp,
            self.kind as u64 | (self.used as u64) << 8 | (first as u64) << 32,
            second as u64 | (third as u64) << 32,
            low,
            high,
        ]
    }

    /// The capability in these bytes, as programs store and send it: its words, little-endian.
    ///
    /// # Errors
    /// [`Error::Malformed`]: it is none.
    pub fn from_bytes(bytes: &[u8; CAPABILITY_BYTES]) -> Result<Self, Error> {
        let mut words = [0; CAPABILITY_WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self::from_words(words)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; CAPABILITY_BYTES] {
        let mut bytes = [0; CAPABILITY_BYTES];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.words()) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    /// What the kernel said in it.
    #[inline(always)]
    pub const fn body(&self) -> Body {
        Body {
            kind: self.kind,
            rights: Rights::from_bits((self.stamp >> Epoch::BITS) as u16),
            index: self.index,
            count: self.count,
            epoch: Epoch::from_low_bits(self.stamp),
        }
    }

    /// What holders have added to it, in the order in which they did.
    #[inline(always)]
    pub const fn caveats(&self) -> Caveats {
        let [first, second, third] = self.caveats;
        Caveats {
            rest: first as u128 | (second as u128) << 32 | (third as u128) << 64,
            position: 0,
        }
    }

    /// Its seal.
    #[inline(always)]
    pub const fn seal(&self) -> Seal {
        self.seal
    }

    /// The capability with one more caveat: what is given to somebody who may do less. Needs no kernel,
    /// and there is no way back from what it returns to what it was called on.
    ///
    /// # Errors
    /// [`Error::CaveatsFull`].
    #[inline]
    pub const fn attenuate(&self, restriction: Restriction) -> Result<Self, Error> {
        let mut narrowed = *self;
        let at = self.used as usize;
        if at >= MAX_CAVEATS {
            return Err(Error::CaveatsFull);
        }
        narrowed.caveats[at] = restriction.caveat().word();
        narrowed.used += 1;
        narrowed.seal = self.seal.chain(self.used, restriction);
        Ok(narrowed)
    }
}

/// The caveats of a capability, first to last.
///
/// They are words that are not zero and are followed by zeros alone, so they are shifted out of a register
/// until nothing is left: an array that is indexed would have to be written to the stack first.
#[derive(Clone, Debug)]
pub struct Caveats {
    rest: u128,
    position: u8,
}

impl Caveats {
    /// Whether none is left.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.rest == 0
    }

    /// Takes the next caveat as it was sealed if that was done for `presenter`, and the step of the chain for
    /// it from `seal`. `None` if there is no caveat left.
    ///
    /// # Errors
    /// [`Error::WrongHolder`], as [`Caveat::for_presenter`].
    #[inline(always)]
    pub fn follow(
        &mut self,
        seal: Seal,
        presenter: Identity,
        initial: Initial,
    ) -> Result<Option<(Seal, Restriction)>, Error> {
        let (word, position) = (self.rest as u32, self.position);
        let Some(caveat) = self.next() else {
            return Ok(None);
        };
        let restriction = caveat.for_presenter(presenter)?;
        let seal = seal.chain_word(position, word, restriction, initial);
        Ok(Some((seal, restriction)))
    }
}

impl Iterator for Caveats {
    type Item = Caveat;

    #[inline(always)]
    fn next(&mut self) -> Option<Caveat> {
        if self.is_empty() {
            return None;
        }
        let word = self.rest as u32;
        self.rest >>= 32;
        self.position += 1;
        Some(Caveat::of_checked(word))
    }
}

/// Words that may be a capability for pages, with as much of their chain as was followed.
///
/// Who has the key seals nothing but what is well-formed, and the body's seal is over all of the body. So if the
/// seal at the end of the chain fits, nothing of the body needs to be looked at; what holders have added does.
/// When it turns out not to be a genuine one, [`Capability::from_words`] and the chain tell why.
#[derive(Clone, Debug)]
pub struct Chain {
    words: [u64; CAPABILITY_WORDS],
    seal: Seal,
    caveats: Caveats,
}

impl Chain {
    /// Whether the words say nothing but that they are for pages: no caveats, and nothing else either.
    #[inline(always)]
    pub const fn is_plain(words: &[u64; CAPABILITY_WORDS]) -> bool {
        words[2] == Kind::Page as u64 && words[3] == 0
    }

    /// The begin of the chain, if the words are for pages.
    #[inline(always)]
    pub const fn of_pages(words: [u64; CAPABILITY_WORDS], start: siphash::Start) -> Option<Self> {
        let [extent, stamp, head, tail, ..] = words;
        let kind = Kind::Page as u64;
        // The kind, and the reserved bits.
        if head & 0xffff_00ff != kind {
            return None;
        }
        Some(Self {
            words,
            seal: Seal(siphash::siphash::<2, 1>(start, [extent, stamp], kind)),
            caveats: Caveats {
                rest: (head >> 32) as u128 | (tail as u128) << 32,
                position: 0,
            },
        })
    }

    /// The rights that the body gives, if it is genuine.
    #[inline(always)]
    pub const fn rights(&self) -> Rights {
        Rights::from_bits((self.words[1] >> Epoch::BITS) as u16)
    }

    /// Whether there is no caveat left to follow.
    #[inline(always)]
    pub const fn is_followed(&self) -> bool {
        self.caveats.is_empty()
    }

    /// Takes the step for the next caveat, of which there is one, and tells `restrict` what it takes away: before the
    /// step, so that the caveat is taken apart once. `None` if it is no caveat, or not for `presenter`.
    #[inline(always)]
    pub fn follow(
        &mut self,
        presenter: Identity,
        initial: Initial,
        restrict: impl FnOnce(Restriction),
    ) -> Option<()> {
        let (word, position) = (self.caveats.rest as u32, self.caveats.position);
        let restriction = Caveat::restriction(word, presenter)?;
        restrict(restriction);
        self.caveats.rest >>= 32;
        self.caveats.position += 1;
        self.seal = self.seal.chain_word(position, word, restriction, initial);
        Some(())
    }

    /// The capability, if the chain has come to its seal with as many caveats as it says.
    #[inline(always)]
    pub fn genuine(self) -> Option<Capability> {
        let [extent, stamp, head, tail, low, high] = self.words;
        let used = (head >> 8) as u8;
        let seal = Seal([low, high]);
        (self.seal == seal && used == self.caveats.position).then_some(Capability {
            index: extent as u32,
            count: (extent >> 32) as u32,
            stamp,
            kind: Kind::Page,
            used,
            reserved: 0,
            caveats: [(head >> 32) as u32, tail as u32, (tail >> 32) as u32],
            seal,
        })
    }
}

/// Looks at all words whatever they are, as [`Seal`]s are compared, for the same reason.
impl PartialEq for Capability {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let differences = self.words().into_iter().zip(other.words());
        none_of(differences.fold(0, |all, (one, other)| all | one ^ other))
    }
}

impl Eq for Capability {}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Capability");
        fields.field("body", &self.body());
        for caveat in self.caveats() {
            fields.field("caveat", &caveat);
        }
        fields.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
