//! Whose a frame is: packet filters, merged, refined and compiled.
//!
//! A filter is a list of [`Atom`]s, all of which a frame must satisfy. It is declarative, so that many
//! can be merged and compiled together, and so that what one of them takes can be compared with what
//! another does (DPF: Engler and Kaashoek, SIGCOMM 1996). Three forms give every frame the same owner:
//!
//! * [`oracle`] looks at one filter alone, atom by atom;
//! * [`Trie::classify`] walks all filters merged;
//! * the code of [`Trie::emit`] does the same on the processor.
//!
//! # Refinement
//! Filters form a tree. The root takes every frame. A filter is split by up to [`MAX_KEYS`] *keys*, in
//! order; a key is a list of atoms without values, and a child gives it values:
//!
//! ```text
//!   root ------ key 0: Ethernet type, IP version and header length, protocol, destination address
//!    |            +-- child: IPv4, TCP, 10.0.2.15 --- key 0: destination port
//!    |            |                                     +-- child: 80 --- key 0: source address, port
//!    |            |                                                         +-- child: a connection
//!    |            +-- child: IPv4, UDP, 10.0.2.15
//!    +-------- key 1: Ethernet type
//!                 +-- child: ARP
//! ```
//!
//! What always holds:
//!
//! * A child's atoms are its parent's and more: it takes only frames that its parent would have got.
//! * Two children of one key differ in a value, so no frame satisfies both. The second of two with the
//!   same values is refused ([`Error::Overlap`]).
//! * A frame goes from a filter to the child that takes it under the first key of which there is one, and
//!   never back; what no child takes is the filter's own. So no filter, however specific, gets a frame
//!   that went to a sibling, nor one that its parent did not have.
//! * All fields of all keys lie behind one hash table, which has eight places for each filter from the
//!   beginning: it never grows, no operation depends on how many filters there are, and
//!   no run of occupied places is longer than [`MAX_RUN`].
//! * No form reads beyond the frame, and none depends on what the frame means.
//!
//! Everything is in records of fixed pools that the caller gives ([`Pools`]). Absent on purpose: who may
//! refine what (capabilities), rings (a target is a number here), and priorities other than the order of
//! keys.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "model"))]
extern crate std;

#[cfg(feature = "bpf")]
pub mod bpf;
pub mod build;
mod classify;
mod code;
mod delete;
#[cfg(any(test, feature = "model"))]
pub mod emulated;
mod hash;
mod insert;
mod keys;
pub mod oracle;
mod records;
mod targets;
#[cfg(test)]
mod tests;
mod trie;

use core::fmt;

pub use code::{Arguments, MAX_CODE_WORDS};
pub use delete::Removal;
pub use exopi_abi::net::{Atom, AtomError, MAX_ATOMS, Operation, Program, Width};
pub use hash::{MAX_RUN, Secrets, slots_for};
pub use records::{Chunk, Filter, FilterId, KeyId, KeyRecord, State};
pub use trie::{Pools, Trie};

/// Most atoms of a filter and all its ancestors together.
pub const MAX_CHAIN: usize = 256;
/// Most keys of a filter.
pub const MAX_KEYS: usize = 4;
/// Most targets of a filter: one frame is copied no more often.
pub const MAX_TARGETS: usize = 8;

/// Why something was refused. It has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// An atom has an unknown form, or something set that its kind does not have.
    Malformed,
    /// The same filter would be written in another way.
    NotCanonical,
    /// No atoms, or more than [`MAX_ATOMS`] or, with those above, [`MAX_CHAIN`].
    BadCount,
    /// There is no such filter or key.
    Unknown,
    /// The filter or one above it is being removed, or only its descendants were kept.
    Leaving,
    /// The atoms are not those of the key.
    WrongKey,
    /// The filter has [`MAX_KEYS`] keys.
    TooManyKeys,
    /// The key has no code yet.
    NoCode,
    /// A sibling has these values.
    Overlap,
    /// No filter record is left.
    NoFilter,
    /// No record is left for values that do not fit into the filter's own.
    NoChunk,
    /// No key record is left.
    NoKey,
    /// The filter's place in the hash table is too crowded.
    Crowded,
    /// The root stays.
    Root,
    /// The filter has [`MAX_TARGETS`] targets.
    TooManyTargets,
    /// The filter has this target already.
    Present,
    /// The filter does not have this target.
    Absent,
    /// A pool is too small or too large to be used.
    BadPool,
    /// Facts of which one excludes the other.
    Contradiction,
    /// Code could not be written.
    Code(exopi_a64::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl core::error::Error for Error {}

impl From<AtomError> for Error {
    fn from(error: AtomError) -> Self {
        match error {
            AtomError::Malformed => Self::Malformed,
            AtomError::NotCanonical => Self::NotCanonical,
            AtomError::BadCount => Self::BadCount,
        }
    }
}
