//! What the table keeps of each thread.

use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::policy::Share;

/// The number of a thread's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadIndex(u16);

impl ThreadIndex {
    /// The slot of this number, which must be less than 65,535.
    pub const fn new(index: usize) -> Option<Self> {
        if index < u16::MAX as usize {
            Some(Self(index as u16))
        } else {
            None
        }
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// The name of a thread: its slot, and a serial that tells it from those that had the slot before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId(NonZeroU64);

impl ThreadId {
    /// Bits of the slot's number plus one; the serial is above.
    const INDEX_BITS: u32 = 16;

    pub(crate) const fn new(thread: ThreadIndex, serial: u32) -> Self {
        let word = (serial as u64) << Self::INDEX_BITS | (thread.0 as u64 + 1);
        match NonZeroU64::new(word) {
            Some(word) => Self(word),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// As a word that is never 0 and less than 2^48.
    pub const fn word(self) -> u64 {
        self.0.get()
    }

    pub(crate) const fn from_word(word: u64) -> Option<Self> {
        match NonZeroU64::new(word) {
            Some(word) if word.get() & 0xffff != 0 => Some(Self(word)),
            _ => None,
        }
    }

    /// Its slot.
    pub const fn index(self) -> ThreadIndex {
        ThreadIndex((self.0.get() & 0xffff) as u16 - 1)
    }

    pub(crate) const fn serial(self) -> u32 {
        (self.0.get() >> Self::INDEX_BITS) as u32
    }

    /// What those wait for who join it. Addresses of things that are waited for are even.
    pub(crate) const fn end_key(self) -> u64 {
        self.word() << 1 | 1
    }
}

/// How a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its function returned.
    Returned,
    /// It called [`thread::exit`](crate::thread::exit).
    Exited,
    /// It faulted, and [`fault::contain`](crate::fault::contain) ended it.
    Faulted {
        /// Where.
        pc: u64,
        /// On an access to this address, as far as the syndrome says that there is one.
        address: u64,
        /// The exception syndrome.
        syndrome: u64,
        /// The address was in a guard of its stack.
        overflow: bool,
    },
    /// The environment that ran it is gone.
    Lost,
}

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Waiting,
    Ready,
    Running,
    Ended,
}

/// Why a thread waits no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It does still.
    Waits,
    /// It was woken.
    Woken,
    /// Its deadline has passed.
    TimedOut,
    /// Who holds what it waits for has ended.
    HolderEnded,
}

/// A word that a thread waits on, as long as it holds a value.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// The word. For ever, since an environment may be looking at it while the thread is woken otherwise.
    pub word: &'static AtomicU64,
    /// What it holds.
    pub holds: u64,
}

impl Watch {
    /// Whether it holds something else by now.
    pub fn has_changed(self) -> bool {
        self.word.load(Ordering::Acquire) != self.holds
    }
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// The number of the thing; 0 for nothing that others could wake it by.
    pub(crate) key: u64,
    /// The tick at which it waits no longer.
    pub(crate) deadline: Option<u64>,
    /// Who holds the thing, if its end would matter.
    pub(crate) holder: Option<ThreadId>,
    /// A word whose change ends the waiting.
    pub(crate) watch: Option<Watch>,
}

impl Wait {
    /// For nothing.
    pub(crate) const NONE: Self = Self {
        key: 0,
        deadline: None,
        holder: None,
        watch: None,
    };
}

/// A thread, or room for one.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub(crate) state: State,
    pub(crate) serial: u32,
    pub(crate) name: &'static str,
    pub(crate) share: Share,
    pub(crate) wait: Wait,
    /// Grows in the order in which threads began to wait.
    pub(crate) order: u64,
    pub(crate) outcome: Outcome,
    /// Nobody will join it.
    pub(crate) detached: bool,
    pub(crate) ended: Ended,
    /// The worker that it was interrupted on, and goes on at.
    pub(crate) pinned: Option<u8>,
    /// Ticks of processor time that it has had.
    pub(crate) used: u64,
    /// Neighbours in its list of waiting threads.
    pub(super) next: Option<ThreadIndex>,
    pub(super) previous: Option<ThreadIndex>,
}

impl Slot {
    /// Room for a thread.
    pub const FREE: Self = Self {
        state: State::Free,
        serial: 0,
        name: "",
        share: Share::Equal,
        wait: Wait::NONE,
        order: 0,
        outcome: Outcome::Waits,
        detached: false,
        ended: Ended::Returned,
        pinned: None,
        used: 0,
        next: None,
        previous: None,
    };
}
