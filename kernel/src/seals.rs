//! The key of all seals, and what is done with it: capabilities verified, minted and narrowed.
//!
//! None of it needs the kernel lock. What is found out here is that a capability is genuine and whose; whether
//! its objects are still those that it was made for is asked under the lock, at each use.

#![expect(
    unsafe_code,
    reason = "the key is written once, and read without a lock"
)]

use core::cell::UnsafeCell;

use exopi_abi::capability::{Body, CAPABILITY_WORDS, Capability, Identity};
use exopi_abi::{Error, UserCapability};
use exopi_cap::{Key, Verified};

use crate::arch::{timer, user};
use crate::exposed;

/// Where the key lies. No record that anybody else can read is near it.
struct Place(UnsafeCell<Key>);

// SAFETY: `init` writes it while core 0 boots and nobody reads it; afterwards it is only read.
unsafe impl Sync for Place {}

/// The key of all seals. `exo check` finds it in the memory of a machine under test by this name; as far as the
/// optimiser knows somebody may, so that it stays one variable.
#[used]
static KEY: Place = Place(UnsafeCell::new(Key::new([0; 2])));

/// Sets the key. Only while core 0 boots, and nobody else has anything verified or sealed.
pub fn init(words: [u64; 2]) {
    // SAFETY: see `Place`.
    unsafe { *KEY.0.get() = Key::new(words) };
}

#[inline(always)]
fn key() -> &'static Key {
    // SAFETY: see `Place`.
    unsafe { &*KEY.0.get() }
}

/// Whole seconds since boot: what caveats count in.
fn now() -> u64 {
    (timer::now() - exposed::entry_ticks()) / timer::frequency()
}

/// Reads what `presenter` presents, and verifies it; what it proves is in `place`.
///
/// # Errors
/// [`Error::BadAddress`], [`Error::Malformed`], or why the capability is worth nothing to the presenter.
#[inline(always)]
pub fn verify_into<'p>(
    place: &'p mut Option<Verified>,
    presented: UserCapability<'_>,
    presenter: Identity,
) -> Result<&'p Verified, Error> {
    let words = user::read_capability(presented)?;
    exopi_cap::verify_into(place, words, key(), presenter, now)
}

/// Words that somebody presents, which can be anything, verified.
///
/// # Errors
/// [`Error::Malformed`], or why the capability is worth nothing to the presenter.
#[inline(always)]
pub fn verify_words(
    words: [u64; CAPABILITY_WORDS],
    presenter: Identity,
) -> Result<Verified, Error> {
    exopi_cap::verify_words(words, key(), presenter, now)
}

/// The same of those that are a genuine capability for pages without caveats; `None` for all others.
#[inline(always)]
pub fn verify_plain(words: [u64; CAPABILITY_WORDS], presenter: Identity) -> Option<Verified> {
    exopi_cap::verify_plain(words, key(), presenter)
}

/// The capability that says `body`.
#[inline(always)]
pub fn seal(body: &Body) -> Capability {
    exopi_cap::seal(body, key())
}

/// A capability for a part of what `verified` is good for, as the row `cap_narrow` says.
///
/// # Errors
/// Those of [`exopi_domains::cap_narrow`].
pub fn narrow(
    verified: &Verified,
    index: u64,
    count: u64,
    rights: u64,
) -> Result<Capability, Error> {
    exopi_domains::cap_narrow(verified, key(), index, count, rights)
}
