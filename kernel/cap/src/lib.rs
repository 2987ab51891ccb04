//! What a capability proves: sealing, verifying, issuing.
//!
//! Capabilities are plain data that programs keep, copy and send as they like ([`exopi_abi::capability`]
//! has their form). This crate decides what one that is presented is worth. State in, decision out: the key,
//! the time and the presenter are arguments, and no list of who holds what exists anywhere.
//!
//! ```text
//!   body --seal(key)--> capability --attenuate--> capability --attenuate--> ...   by holders, anywhere
//!                            |                         |
//!                            '--------- verify --------'--> Verified --covers(item)--> use
//!                                                              |
//!                                                              '--issue--> capability, not more
//! ```
//!
//! # What always holds
//!
//! * Nothing but a seal made here gives a [`Verified`], and no use can be made of a capability without one.
//! * Verified rights are those of the body and of every mask that was sealed in.
//! * What [`issue`](Verified::issue) gives allows nobody anything that the presented one did not allow
//!   its presenter.
//! * A `Verified` says that a capability is genuine, not that its objects still exist: each use of each
//!   object compares that object's epoch ([`Verified::covers`]).
//!
//! # The attacker
//!
//! Is a program, or many that work together, on any core. It knows this source, every record that is
//! exposed, and every capability that it was given; it can call with any 48 bytes as often as it
//! likes and take the time. It can do all that a holder can do: narrow, copy, pass on. It cannot read kernel
//! memory or, unless told, another's; who can has no need of capabilities. It wants a right, an object or an
//! identity that nothing it holds allows it.
//!
//! # Why 128 bits of SipHash are long enough
//!
//! A seal is the output of SipHash-2-4-128 under a key of 128 bits. Its authors expect of it what can be
//! expected of any function with that key and output: an attacker who sees outputs for inputs of its choice
//! does no better than guessing the key or the output (Aumasson and Bernstein, "SipHash: a fast short-input
//! PRF", INDOCRYPT 2012, section 6; the notes with the reference code say the same of 128-bit outputs).
//!
//! * *Guessing a seal* can be done only by asking the kernel. Four cores that do nothing else ask fewer than
//!   2^24 times a second, 2^49 times a year: the chance in that year is below 2^-78. Since comparison takes
//!   the same time for every guess, a guess tells no more than that it was wrong.
//! * *Guessing the key* needs no kernel once the attacker has one capability to compare with, but
//!   2^127 trials on average. The key is drawn at boot, is of use for that boot alone, and with it all
//!   capabilities end.
//! * *Guessing an old seal from a narrowed one*, to take a caveat off, is finding a key of 128 bits again. Who
//!   holds many can look for any of them: n capabilities make it n times likelier, and 2^40 of them
//!   leave 2^88 trials.
//!
//! A truncated seal of 64 bits would fail the first of these against a patient attacker within the reach
//! of a large machine; a longer one buys nothing, since the key is no longer.
//!
//! # What is hashed
//!
//! The body under the key; then for each caveat its word and position, under the seal so far. All of a
//! capability but the number of caveats is input to a hash, and that number is how often the chain steps. The
//! three forms of input (body, caveat, holder caveat) differ in length, and the length is hashed. The
//! position makes the steps of a chain different functions, so that the same caveat under the same
//! key would not give the same seal in another place; what holds the chain together is the key.
//!
//! # What a holder caveat does, and what not
//!
//! It names one environment by index and epoch, both in full, and the kernel supplies them from whoever makes the
//! call: a copy in other hands is worth nothing, the successor at the same index included. Only a hint
//! stays readable. It limits who presents, not who benefits: the holder can use the object for
//! others, and what has been bound (a mapping in a shared space) stays usable by all who share it. It cannot be
//! passed on by the kernel either: what is issued from it carries it too.
//!
//! # Deliberately absent
//!
//! Lists of holders, revocation of single copies (retire the objects, or give out a caveat with a time),
//! and any trust in a capability's bytes before [`verify`].
#![no_std]
#![forbid(unsafe_code)]

mod cache;
mod epochs;
mod issue;
mod verify;

use core::fmt;

use exopi_abi::capability::siphash::{Initial, Start};
use exopi_abi::capability::{Body, Capability};

pub use cache::Cache;
pub use epochs::Epochs;
pub use verify::{Verified, verify, verify_into, verify_plain, verify_words};

/// The key of all seals of one boot: 128 bits from the hardware's generator.
///
/// It is neither printed nor compared, and there is no way to copy it or to get it out again. It is kept as what
/// each hash under it begins with.
pub struct Key(Start);

impl Key {
    /// The key in these words. Whether the generator could be trusted, the caller has made sure.
    pub const fn new(words: [u64; 2]) -> Self {
        Self(Start::under(words, Initial::KNOWN))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The capability that says `body`, without caveats: what a kernel mints for an owner who wants to give
/// something away. That the owner may, the caller has made sure.
#[inline]
pub const fn seal(body: &Body, key: &Key) -> Capability {
    Capability::new(body, body.seal(key.0))
}
