//! A mutex that names its holder.
//!
//! ```text
//!   0                nobody has it
//!   holder           the thread's name
//!   holder | AWAITED somebody waits: who gives it back hands it to the first of them
//! ```
//!
//! It is handed over, so that nobody waits for ever behind threads that come and go. And since the word
//! names the holder, who waits can see that the holder has ended without giving it back: then the mutex
//! goes to the one who looks, who is told.
#![expect(unsafe_code, reason = "a lock")]

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};

use super::key_of;
use crate::arch;
use crate::runtime;
use crate::table::{Outcome, Table, ThreadId, Wait};

/// Threads wait.
const AWAITED: u64 = 1 << 63;
/// The holder is no thread but an environment, whose word this is.
const ENVIRONMENT: u64 = 1 << 62;

/// A value that one thread uses at a time.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    word: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one holder at a time, and may change its thread.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// Why a mutex was not simply taken.
#[derive(Debug, PartialEq, Eq)]
pub enum LockError<G> {
    /// Its holder has ended without giving it back. It is the caller's now, with the value as it was left.
    HolderEnded(G),
    /// The caller has it already.
    Deadlock,
    /// The deadline has passed.
    TimedOut,
}

impl<G> LockError<G> {
    /// The guard, if there is one, for who can do with whatever the holder has left.
    pub fn into_guard(self) -> Option<G> {
        match self {
            Self::HolderEnded(guard) => Some(guard),
            Self::Deadlock | Self::TimedOut => None,
        }
    }
}

/// The value, until this is dropped. It stays with its thread.
#[derive(Debug)]
#[must_use = "the mutex is given back when it is dropped"]
pub struct Guard<'a, T> {
    mutex: &'a Mutex<T>,
    own: PhantomData<*mut ()>,
}

// SAFETY: a shared guard is a shared reference to the value.
unsafe impl<T: Sync> Sync for Guard<'_, T> {}

/// The caller as a holder.
fn me() -> u64 {
    runtime::current().map_or_else(
        || ENVIRONMENT | arch::environment() & (ENVIRONMENT - 1),
        ThreadId::word,
    )
}

/// Whether a holder can still give back what it has.
fn is_there(table: &Table<'_>, holder: u64) -> bool {
    holder & ENVIRONMENT != 0 || ThreadId::from_word(holder).is_some_and(|id| table.is_alive(id))
}

/// What a look at the word, with the table in hand, has come to.
enum Look {
    Taken,
    TakenFromEnded,
    Wait,
}

impl<T> Mutex<T> {
    /// Free.
    pub const fn new(value: T) -> Self {
        Self {
            word: AtomicU64::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, when it is the caller's turn.
    ///
    /// # Errors
    /// [`LockError::HolderEnded`], with the value; [`LockError::Deadlock`].
    pub fn lock(&self) -> Result<Guard<'_, T>, LockError<Guard<'_, T>>> {
        self.lock_until(None)
    }

    /// The value, when it is the caller's turn and the clock does not show `deadline` yet.
    ///
    /// # Errors
    /// Those of [`Mutex::lock`]; [`LockError::TimedOut`].
    pub fn lock_until(
        &self,
        deadline: Option<u64>,
    ) -> Result<Guard<'_, T>, LockError<Guard<'_, T>>> {
        arch::chance();
        let me = me();
        match self
            .word
            .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => Ok(self.guard()),
            Err(word) if word & !AWAITED == me => Err(LockError::Deadlock),
            Err(_) => self.wait(me, deadline),
        }
    }

    /// The value, if nobody has it.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        let free = self
            .word
            .compare_exchange(0, me(), Ordering::Acquire, Ordering::Relaxed);
        free.is_ok().then(|| self.guard())
    }

    /// The value of a mutex that nobody else knows.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    fn guard(&self) -> Guard<'_, T> {
        Guard {
            mutex: self,
            own: PhantomData,
        }
    }

    #[cold]
    fn wait(
        &self,
        me: u64,
        deadline: Option<u64>,
    ) -> Result<Guard<'_, T>, LockError<Guard<'_, T>>> {
        loop {
            let mut look = Look::Wait;
            let outcome = runtime::park_in(|table| {
                look = self.look(me, table);
                let holder = self.word.load(Ordering::Relaxed) & !AWAITED;
                let wait = Wait {
                    key: key_of(self),
                    deadline,
                    holder: ThreadId::from_word(holder).filter(|_| holder & ENVIRONMENT == 0),
                    watch: None,
                };
                (wait, matches!(look, Look::Wait))
            });
            match look {
                Look::Taken => return Ok(self.guard()),
                Look::TakenFromEnded => return Err(LockError::HolderEnded(self.guard())),
                // Handed over while it waited, perhaps just after its time had come.
                Look::Wait if self.is_mine(me) => return Ok(self.guard()),
                Look::Wait if outcome == Outcome::TimedOut => return Err(LockError::TimedOut),
                Look::Wait => {}
            }
        }
    }

    fn is_mine(&self, me: u64) -> bool {
        self.word.load(Ordering::Acquire) & !AWAITED == me
    }

    /// Takes it if nobody alive has it; else says that somebody waits. No holder hands it over meanwhile.
    fn look(&self, me: u64, table: Option<&Table<'_>>) -> Look {
        loop {
            let word = self.word.load(Ordering::Relaxed);
            let holder = word & !AWAITED;
            let ended = holder != 0 && table.is_some_and(|table| !is_there(table, holder));
            let (new, look) = match holder {
                0 => (me | word & AWAITED, Look::Taken),
                // Others that waited for the one that ended were woken, and come here too.
                _ if ended => (me | word & AWAITED, Look::TakenFromEnded),
                // Without a table there is nobody that could be handed it.
                _ if table.is_none() || me & ENVIRONMENT != 0 => return Look::Wait,
                _ => (word | AWAITED, Look::Wait),
            };
            let swapped =
                self.word
                    .compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed);
            if swapped.is_ok() {
                return look;
            }
        }
    }

    fn unlock(&self) {
        arch::chance();
        let me = me();
        let given = self
            .word
            .compare_exchange(me, 0, Ordering::Release, Ordering::Relaxed);
        if given.is_err() {
            self.hand_over();
        }
    }

    /// Gives it to the first one that waits.
    #[cold]
    fn hand_over(&self) {
        let key = key_of(self);
        let handed = runtime::wake(|table, now| {
            let next = table.wake_one(key, now).and_then(|next| table.id(next));
            let word = match next {
                None => 0,
                Some(next) if table.is_awaited(key) => {
                    table.hand_on(key, next);
                    next.word() | AWAITED
                }
                Some(next) => next.word(),
            };
            self.word.store(word, Ordering::Release);
        });
        if handed.is_none() {
            self.word.store(0, Ordering::Release);
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mutex is this guard's.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is this guard's, and the guard is borrowed for as long.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}

impl<'a, T> Guard<'a, T> {
    /// The mutex that it is of.
    pub const fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}
