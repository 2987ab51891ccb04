//! The lock that environments of one space take for a moment, with the name of who has it.
//!
//! Its word is the owner's name, so that who waits can look whether the owner is still there: an
//! environment may be destroyed at any instruction. Who takes the lock over from a dead owner is told, since
//! what it protects may be half done. Asynchronous upcalls are masked meanwhile, so that the holder is not
//! interrupted by code that waits for it.
//!
//! Waiting is spinning, by LDXR and STXR as the compiler makes them of the exchange: it lasts a few hundred
//! instructions, unless the owner's core is taken at the hard limit of its slice. Then it lasts until its
//! next slice, on a core that has nothing to gain from going elsewhere.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::{time, upcall};

use crate::arch;

/// How many turns a waiter makes between two looks at the owner: a look reads the owner's record.
const TURNS: u32 = 1024;

/// Who has something: the word of an environment's name, or 0.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Owner(AtomicU64);

impl Owner {
    pub(crate) const fn nobody() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Waits until the calling environment has it. True if it was taken over from one that is gone.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        let me = arch::environment();
        let mut turn: u32 = 0;
        while let Err(owner) =
            self.0
                .compare_exchange_weak(0, me, Ordering::Acquire, Ordering::Relaxed)
        {
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(TURNS) && self.inherit(owner, me) {
                return true;
            }
            time::relax();
        }
        false
    }

    #[cold]
    fn inherit(&self, owner: u64, me: u64) -> bool {
        owner != 0
            && !arch::is_alive(owner)
            && self
                .0
                .compare_exchange(owner, me, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether an environment has it.
    pub(crate) fn is(&self, environment: u64) -> bool {
        self.0.load(Ordering::Relaxed) == environment
    }

    /// Nobody has it.
    #[inline]
    pub(crate) fn release(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// A value that one environment uses at a time.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    owner: Owner,
    value: UnsafeCell<T>,
}

#[expect(unsafe_code, reason = "a lock")]
// SAFETY: the value is reached only through `with`, by one owner at a time, and may change its environment.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            owner: Owner::nobody(),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `work` on the value, which must not come back here. Of an owner that died in here nothing is
    /// told: `work` must be able to go on from anywhere in another one's.
    #[expect(unsafe_code, reason = "a lock")]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let masked = upcall::mask();
        self.owner.take();
        // SAFETY: this environment is the only owner now, is not interrupted by upcalls that come here, and
        // `work` does not either.
        let outcome = work(unsafe { &mut *self.value.get() });
        self.owner.release();
        drop(masked);
        outcome
    }
}
