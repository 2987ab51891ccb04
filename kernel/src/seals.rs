//! The key of all seals, and what is done with it: capabilities verified, minted and narrowed.
//!
//! None of it needs the kernel lock. What is found out here is that a capability is genuine and whose; whether
//! its objects are still those that it was made for is asked under the lock, at each use.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_abi::capability::{Body, Capability, Identity};
use exopi_abi::{Error, UserCapability};
use exopi_cap::{Key, Verified};

use crate::arch::{timer, user};
use crate::exposed;

/// The key's words. They are written once, before anything runs at EL0, and no exposed record is near them.
static KEY: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Sets the key. Once, while core 0 boots.
pub fn init(words: [u64; 2]) {
    for (place, word) in KEY.iter().zip(words) {
        place.store(word, Ordering::Relaxed);
    }
}

#[inline(always)]
fn key() -> Key {
    let [low, high] = &KEY;
    Key::new([low.load(Ordering::Relaxed), high.load(Ordering::Relaxed)])
}

/// Whole seconds since boot: what caveats count in.
fn now() -> u64 {
    (timer::now() - exposed::entry_ticks()) / timer::frequency()
}

/// Reads what `presenter` presents, and verifies it.
///
/// # Errors
/// [`Error::BadAddress`], [`Error::Malformed`], or why the capability is worth nothing to the presenter.
#[inline(always)]
pub fn verify(presented: UserCapability<'_>, presenter: Identity) -> Result<Verified, Error> {
    let capability = Capability::from_words(user::read_capability(presented)?)?;
    // Without caveats there is no time to compare with.
    let now = if capability.caveats().is_empty() { 0 } else { now() };
    exopi_cap::verify(&capability, &key(), presenter, now)
}

/// The capability that says `body`.
#[inline(always)]
pub fn seal(body: &Body) -> Capability {
    exopi_cap::seal(body, &key())
}
