//! The lock around the program's address space.
//!
//! The handler of faults takes it too, and so may find that the code it interrupted holds it. Waiting would
//! be for ever then. So the lock remembers who holds it, by the address of the environment's u-area: the
//! holder itself is refused, other environments of the space wait. Notices are masked meanwhile, lest the
//! handler of one faults where that fault cannot be handled.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::{time, upcall};

use crate::error::Error;

/// A value that one environment uses at a time.
pub(crate) struct Lock<T> {
    /// Who holds it; 0 for nobody.
    holder: AtomicU64,
    value: UnsafeCell<T>,
}

#[expect(unsafe_code, reason = "a lock")]
// SAFETY: the value is reached only through `with`, by one holder at a time, and may change its
// environment.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// Free.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            holder: AtomicU64::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `work` on the value.
    ///
    /// # Errors
    /// [`Error::Busy`] if this environment holds the lock already.
    #[inline(always)]
    #[expect(unsafe_code, reason = "a lock")]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
        let masked = upcall::mask();
        let me = upcall::uarea() as u64;
        while let Err(holder) =
            self.holder
                .compare_exchange_weak(0, me, Ordering::Acquire, Ordering::Relaxed)
        {
            if holder == me {
                return Err(Error::Busy);
            }
            time::relax();
        }
        // SAFETY: the exchange has made this environment the only holder, and it is not told so twice.
        let outcome = work(unsafe { &mut *self.value.get() });
        self.holder.store(0, Ordering::Release);
        drop(masked);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_refused_and_others_wait() {
        static LOCK: Lock<u64> = Lock::new(0);
        const ROUNDS: u64 = 1000;
        let count = || {
            for _ in 0..ROUNDS {
                let again = LOCK.with(|value| {
                    *value += 1;
                    LOCK.with(|value| *value += 1)
                });
                assert_eq!(again, Ok(Err(Error::Busy)));
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(count);
            scope.spawn(count);
        });
        assert_eq!(LOCK.with(|value| *value), Ok(2 * ROUNDS));
    }
}
