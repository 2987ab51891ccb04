//! Capabilities that were verified lately on one core.
//!
//! A hit gives what [`verify`] would give, for less. This holds without any invalidation, because all on
//! which the answer depends is either compared in full or looked at again:
//!
//! | [`verify`] depends on | here |
//! | --- | --- |
//! | the capability, seal included | compared in full, all 48 bytes whatever they are |
//! | the presenter | compared in full: index and epoch. An identity never comes back |
//! | the key | borrowed as long as the cache lives, so the same one for every entry |
//! | the time | not remembered: a time in the capability is compared with `now` at each hit |
//! | epochs of the objects | no part of the answer: compared at each use, hit or miss |
//!
//! An entry is bound to its presenter even if the capability has no holder caveat. So nobody can find
//! out, by taking the time, what others on this core have presented.

use exopi_abi::Error;
use exopi_abi::capability::{Capability, Identity};

use crate::{Key, Verified, verify};

/// The last `N` capabilities that were found genuine; replaced in turn. A miss has looked at every entry, so
/// `N` is small.
#[derive(Debug)]
pub struct Cache<'k, const N: usize> {
    key: &'k Key,
    entries: [Option<Verified>; N],
    next: usize,
}

impl<'k, const N: usize> Cache<'k, N> {
    /// An empty cache of answers under `key`.
    pub const fn new(key: &'k Key) -> Self {
        Self {
            key,
            entries: [None; N],
            next: 0,
        }
    }

    /// The same as [`verify`] with this cache's key.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub fn verify(
        &mut self,
        capability: &Capability,
        presenter: Identity,
        now: u64,
    ) -> Result<Verified, Error> {
        let known = self.entries.iter().flatten();
        for entry in known {
            if entry.presenter == presenter && entry.capability == *capability {
                entry.in_time(now)?;
                return Ok(*entry);
            }
        }
        let verified = verify(capability, self.key, presenter, now)?;
        if let Some(entry) = self.entries.get_mut(self.next) {
            *entry = Some(verified);
            self.next = (self.next + 1) % N;
        }
        Ok(verified)
    }
}
