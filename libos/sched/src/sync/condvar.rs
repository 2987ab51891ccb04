//! Condition variables.

use core::sync::atomic::{AtomicU64, Ordering};

use super::key_of;
use super::mutex::{Guard, LockError};
use crate::arch;
use crate::runtime;
use crate::table::{Outcome, Wait};

/// Waiting for something to become true of a value in a [`Mutex`](super::Mutex).
///
/// It is a count of notifications. Who waits notes it before the mutex is given back, and waits only if it
/// is still the same under the scheduler's lock: no notification in between is missed.
#[derive(Debug, Default)]
pub struct Condvar {
    count: AtomicU64,
}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
        }
    }

    /// Gives the mutex back, waits for a notification, and takes the mutex again. It may return without a
    /// notification: the caller looks at its condition.
    ///
    /// # Errors
    /// [`LockError::HolderEnded`], with the mutex.
    pub fn wait<'a, T>(
        &self,
        guard: Guard<'a, T>,
    ) -> Result<Guard<'a, T>, LockError<Guard<'a, T>>> {
        self.wait_until(guard, None).map(|(guard, _)| guard)
    }

    /// The same, until the clock shows `deadline` if there is one. The second answer is whether it does.
    ///
    /// # Errors
    /// Those of [`Condvar::wait`].
    pub fn wait_until<'a, T>(
        &self,
        guard: Guard<'a, T>,
        deadline: Option<u64>,
    ) -> Result<(Guard<'a, T>, bool), LockError<Guard<'a, T>>> {
        let mutex = guard.mutex();
        let seen = self.count.load(Ordering::Acquire);
        drop(guard);
        let wait = Wait {
            key: key_of(self),
            deadline,
            ..Wait::NONE
        };
        let outcome = runtime::park(wait, || self.count.load(Ordering::Acquire) == seen);
        Ok((mutex.lock()?, outcome == Outcome::TimedOut))
    }

    /// Waits as long as `condition` holds of the value.
    ///
    /// # Errors
    /// Those of [`Condvar::wait`].
    pub fn wait_while<'a, T>(
        &self,
        mut guard: Guard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<Guard<'a, T>, LockError<Guard<'a, T>>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Wakes the thread that has waited longest, if one waits.
    pub fn notify_one(&self) {
        arch::chance();
        self.count.fetch_add(1, Ordering::Release);
        runtime::wake_one(key_of(self));
    }

    /// Wakes all threads that wait.
    pub fn notify_all(&self) {
        arch::chance();
        self.count.fetch_add(1, Ordering::Release);
        runtime::wake_all(key_of(self));
    }
}
