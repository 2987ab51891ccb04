//! When an idle core may stop looking at words.
//!
//! A word in a page changes only while some core runs an environment. So an idle core with sleepers on such words looks
//! once each slice length while any does, and rests without a tick when none does. What must not happen is that the last
//! store and the last look miss each other:
//!
//! ```text
//!   core 0                      core 1, idle
//!                               nobody runs; looks: the word is 0
//!   begins an environment
//!   it stores 1
//!   it ends
//!                               still nobody runs: rests, for ever
//! ```
//!
//! So a core rests only if nobody ran when its look *began* and nobody has begun since, which one word tells:
//!
//! ```text
//!   63             32 31        16 15       0
//!   | begun so often | resting    | running   |   a bit for each core
//! ```
//!
//! and whoever begins sees in the same step who rests, and interrupts them, so that they look again from then on.
//! The count returns to the same value after 2^32 beginnings, which do not fit between the two ends of one look.
//!
//! Stores and looks are ordered by the word: [`Activity::end`] releases what the environment stored,
//! [`Activity::before_look`] acquires it.

use core::sync::atomic::{AtomicU64, Ordering};

/// Most cores.
const CORES: u32 = 16;
/// Where the bits of resting cores begin.
const RESTING: u32 = 16;
/// Where the count begins.
const BEGUN: u32 = 32;
const RUNNING: u64 = (1 << CORES) - 1;

/// Which cores run environments, and which rest though they have sleepers. One for the machine. Cores are numbered from
/// 0 to 15.
#[derive(Debug, Default)]
pub struct Activity {
    word: AtomicU64,
}

/// How things stood before a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a look without it does not allow to rest"]
pub struct Seen(u64);

impl Activity {
    /// No core runs anything.
    pub const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// The bit of a core; none has a number of 16 or more.
    const fn bit(core: u8) -> u64 {
        match 1u64.checked_shl(core as u32) {
            Some(bit) => bit & RUNNING,
            None => 0,
        }
    }

    /// A core is about to enter an environment, having run none. Gives back a bit for each core that rested: they are
    /// to be interrupted, and to look once each slice length again.
    #[must_use = "who rests would not see what is stored from now on"]
    pub fn begin(&self, core: u8) -> u16 {
        let change = |word: u64| {
            let running = word & RUNNING | Self::bit(core);
            let begun = (word >> BEGUN).wrapping_add(1) << BEGUN;
            Some(begun | running)
        };
        // It cannot fail: the function always gives a word.
        let before = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, change);
        (before.unwrap_or_else(|word| word) >> RESTING) as u16 & !(Self::bit(core) as u16)
    }

    /// A core has left its last environment, and has none to go on with.
    pub fn end(&self, core: u8) {
        self.word.fetch_and(!Self::bit(core), Ordering::AcqRel);
    }

    /// How things stand: to be asked before an idle core's look begins.
    pub fn before_look(&self) -> Seen {
        Seen(self.word.load(Ordering::Acquire))
    }

    /// An idle core has looked at all its sleepers, and none was to be woken: whether it may rest without a tick until it
    /// is interrupted. If not, it looks again a slice length later.
    #[must_use = "a core that may not rest has to look again"]
    pub fn rest(&self, core: u8, seen: Seen) -> bool {
        let change = |word: u64| {
            let nobody = (word | seen.0) & RUNNING == 0;
            let same = word >> BEGUN == seen.0 >> BEGUN;
            (nobody && same).then_some(word | Self::bit(core) << RESTING)
        };
        let rested = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, change);
        rested.is_ok()
    }

    /// A core that rested was interrupted and is to look again: it got a sleeper, or does not rest for another reason.
    /// Harmless for one that did not rest.
    pub fn rouse(&self, core: u8) {
        let bit = Self::bit(core) << RESTING;
        self.word.fetch_and(!bit, Ordering::AcqRel);
    }
}
