//! What an environment does when none of its threads can go on: it describes what would change that, and
//! sleeps.
//!
//! ```text
//!   nobody is ready --> Terms: the earliest deadline of a thread, words that threads watch,
//!                              what each add-on adds
//!                   --> Sleep::until
//! ```
//!
//! How it sleeps is a trait, so that the same scheduler gives its core away in turn ([`Yielding`]), or
//! installs a wakeup predicate where the kernel has them.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::{environment, time};

use crate::arch;
pub use crate::table::Watch;

/// Most words that one sleep watches. The kernel evaluates a predicate of so many terms, one of them for
/// the clock.
pub const WATCHES: usize = 31;

/// Gives the core away until something happens.
pub trait Sleep {
    /// Returns when the clock shows `deadline`, if there is one, or when one of the words holds something else.
    /// It may return earlier at any time, but must give the core to others if it returns early for ever.
    fn until(&mut self, deadline: Option<u64>, words: &[Watch]);
}

/// How often [`Yielding`] looks before it gives the core away once: a call of the kernel's takes its lock.
const LOOKS: u32 = 64;

/// Looks for a while, then gives the core to whoever waits for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Yielding;

impl Sleep for Yielding {
    fn until(&mut self, deadline: Option<u64>, words: &[Watch]) {
        for _ in 0..LOOKS {
            let over = deadline.is_some_and(|deadline| deadline <= arch::now());
            if over || words.iter().any(|watch| watch.has_changed()) {
                return;
            }
            time::relax();
        }
        environment::yield_now();
    }
}

/// What would end a sleep: one deadline, and words.
#[derive(Debug)]
pub struct Terms {
    deadline: Option<u64>,
    words: [Option<Watch>; WATCHES],
    count: usize,
}

impl Terms {
    pub(crate) const fn new() -> Self {
        Self {
            deadline: None,
            words: [None; WATCHES],
            count: 0,
        }
    }

    /// The sleep ends when the clock shows `tick`, or earlier.
    pub fn wake_at(&mut self, tick: u64) {
        self.deadline = Some(self.deadline.map_or(tick, |deadline| deadline.min(tick)));
    }

    /// The sleep ends when the word holds something else. If there is no room for it, there is no sleep.
    pub fn watch(&mut self, word: &'static AtomicU64, holds: u64) {
        match self.words.get_mut(self.count) {
            Some(place) => {
                *place = Some(Watch { word, holds });
                self.count += 1;
            }
            None => self.wake_at(0),
        }
    }

    /// When the sleep ends.
    pub const fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// The words that end it.
    pub fn words(&self) -> impl Iterator<Item = Watch> {
        self.words.iter().map_while(|word| *word)
    }

    /// Sleeps by them.
    pub(crate) fn sleep(&self, sleep: &mut dyn Sleep) {
        static NEVER: AtomicU64 = AtomicU64::new(0);
        let none = Watch {
            word: &NEVER,
            holds: NEVER.load(Ordering::Relaxed),
        };
        let mut words = [none; WATCHES];
        for (to, word) in words.iter_mut().zip(self.words()) {
            *to = word;
        }
        sleep.until(self.deadline, words.get(..self.count).unwrap_or(&[]));
    }
}

/// Something that is done beside the threads: a device polled, a log flushed, a clock advanced. Registered
/// with [`Scheduler::add`](crate::Scheduler::add).
///
/// Both functions run on no thread, so they must not wait. They may wake threads. At a slice's begin they
/// may have interrupted a thread between any two instructions, so they must not take what threads hold.
pub trait AddOn: Sync {
    /// A slice begins, or a worker looks for a thread.
    fn at_slice_begin(&self, now: u64) {
        let _ = now;
    }

    /// The environment is about to sleep: what should end that?
    fn before_sleep(&self, now: u64, terms: &mut Terms) {
        let _ = (now, terms);
    }
}
