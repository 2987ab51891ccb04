//! Counting semaphores.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use super::key_of;
use crate::arch;
use crate::error::Error;
use crate::runtime;
use crate::table::{Outcome, Wait};

/// A count of units that are there. Taking one waits until there is one.
#[derive(Debug)]
pub struct Semaphore {
    units: AtomicU64,
    /// Threads that wait, or are about to.
    waiting: AtomicU64,
}

impl Semaphore {
    /// With so many units.
    pub const fn new(units: u64) -> Self {
        Self {
            units: AtomicU64::new(units),
            waiting: AtomicU64::new(0),
        }
    }

    /// Units that are there now.
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// Takes a unit if there is one.
    pub fn try_take(&self) -> bool {
        let less = |units: u64| units.checked_sub(1);
        self.units
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, less)
            .is_ok()
    }

    /// Takes a unit, when there is one.
    pub fn take(&self) {
        while self.take_until(None).is_err() {}
    }

    /// Takes a unit, when there is one, if that is before the clock shows `deadline`.
    ///
    /// # Errors
    /// [`Error::TimedOut`].
    pub fn take_until(&self, deadline: Option<u64>) -> Result<(), Error> {
        arch::chance();
        if self.try_take() {
            return Ok(());
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let outcome = loop {
            let wait = Wait {
                key: key_of(self),
                deadline,
                ..Wait::NONE
            };
            let outcome = runtime::park(wait, || self.units.load(Ordering::SeqCst) == 0);
            if self.try_take() {
                break Ok(());
            }
            if outcome == Outcome::TimedOut {
                break Err(Error::TimedOut);
            }
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // Of two that were given at once, one may have woken nobody but this thread.
        if self.units() > 0 {
            self.wake();
        }
        outcome
    }

    /// Takes a unit that is given back when the answer is dropped.
    pub fn acquire(&self) -> Permit<'_> {
        self.take();
        Permit { semaphore: self }
    }

    /// Adds a unit, and wakes who has waited longest.
    pub fn give(&self) {
        arch::chance();
        self.units.fetch_add(1, Ordering::SeqCst);
        // Who comes to wait first counts itself and then looks for units: one of the two sees the other.
        fence(Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            runtime::wake_one(key_of(self));
        }
    }
}

/// A unit of a [`Semaphore`], given back when it is dropped.
#[derive(Debug)]
#[must_use = "the unit is given back when it is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.give();
    }
}
