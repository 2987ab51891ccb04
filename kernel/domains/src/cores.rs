//! Cores: who runs on each, who waits for it, and whom it tells to come out of user mode.
//!
//! ```text
//!            head                    tail
//!   core ---> Ready --next--> Ready --next--> Ready          FIFO, threaded through the records
//!     |
//!     +-- running: the environment that has the core until `left`, whatever its word says by then
//! ```
//!
//! An environment that runs is taken off its core by its own kernel entry alone. So who wants it stopped or
//! dead changes the *state* in its word ([`Lives`](crate::Lives)) and leaves the *core*: "Stopped, on core 2" is one
//! that has still to come out of user mode there, and [`Domains::left`] makes it "Stopped, nowhere". Meanwhile it can
//! make calls as before, nobody else can have it, and who asks is told that it is busy.

use exopi_abi::Error;
use exopi_abi::domain::EnvironmentState;
use exopi_abi::exposed::MAX_CORES;
use exopi_pages::Hardware;

use crate::{Domains, Subject};

/// No environment.
pub(crate) const NOBODY: u16 = u16::MAX;

/// In the set of cores that are to be interrupted: a call has failed, too.
pub(crate) const FAILED: u8 = 1 << 7;

const _: () = assert!(FAILED >> MAX_CORES != 0);

/// What is kept of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Core {
    /// Whom [`Domains::next`] gave it to. Without the lock, that one may have handed it on.
    pub(crate) running: u16,
    pub(crate) head: u16,
    pub(crate) tail: u16,
}

impl Core {
    pub(crate) const IDLE: Core = Core {
        running: NOBODY,
        head: NOBODY,
        tail: NOBODY,
    };
}

/// `queue` of a record: the core that it waits for, and who comes after it.
///
/// ```text
///   31      16 15     0
///   | core + 1 | next  |     0: it waits for none
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) core: u8,
    pub(crate) next: u16,
}

impl Waiting {
    const fn word(self) -> u32 {
        (self.core as u32 + 1) << 16 | self.next as u32
    }
}

impl Domains<'_> {
    /// Gives `core`, which nobody has, to the one that has waited for it longest. `None` if nobody waits, or if
    /// somebody still has it.
    pub fn next(&mut self, core: u8) -> Option<Subject> {
        if self.core(core)?.running != NOBODY {
            return None;
        }
        // Each turn makes the queue shorter.
        loop {
            let index = self.core(core)?.head;
            let waiting = self.waiting(index)?;
            self.update_core(core, |place| {
                place.head = waiting.next;
                if waiting.next == NOBODY {
                    place.tail = NOBODY;
                }
            });
            self.update_environment(index, |record| record.queue = 0);
            if self.lives.claim(index, core).is_ok() {
                self.update_core(core, |place| place.running = index);
                return self.subject(index, core);
            }
        }
    }

    /// `by`, which had its core, has come out of user mode, its registers are in its u-area, and the core
    /// is in no space any more or goes to the next one at once.
    ///
    /// One that was to stop is stopped from now on; one that was to die is gone, and if it was the last in its
    /// space, a first step is made to take that apart.
    pub fn left<H: Hardware>(&mut self, hw: &mut H, by: &Subject) {
        self.vacated(by.core);
        self.departed(hw, by.name.index);
    }

    /// Nobody has `core` any more: whoever had it gave it back by its word, and another core may have it by now.
    pub fn vacated(&mut self, core: u8) {
        self.update_core(core, |place| place.running = NOBODY);
    }

    /// The environment at `index`, which had a core and was to stop, to die or to wait its turn, is on none any more,
    /// and what is kept of it was put away: the same without a word about the core. A call that it waits in is
    /// given up.
    pub fn departed<H: Hardware>(&mut self, hw: &mut H, index: u16) {
        self.fail_call(index, Error::Interrupted);
        if self.life(index).state() != EnvironmentState::Dying {
            let _ = self.lives.left(index);
            return;
        }
        let _ = self.end_environment(hw, index);
        // Whoever had to wait for this goes on.
        if self.is_ending() {
            self.interrupt_idle();
        }
    }

    /// The environment at `index` can run from now on.
    pub(crate) fn became_ready(&mut self, index: u16) {
        self.wait_last(0, index);
        if self.core(0).is_some_and(|place| place.running == NOBODY) {
            self.interrupt(0);
        }
    }

    /// Whether `by` still runs, as far as records say: nobody has stopped or destroyed it, and it has not
    /// given its core away. If not, the kernel saves its state, and tells [`Domains::left`].
    #[inline]
    pub fn runs(&self, by: &Subject) -> bool {
        self.lives.runs(by.name)
    }

    /// Whether somebody waits for `core`.
    #[inline]
    pub fn waits(&self, core: u8) -> bool {
        self.core(core).is_some_and(|place| place.head != NOBODY)
    }

    /// The cores, by bit, that are to look again at what they run, which has changed since this was last asked:
    /// the one they run is to leave or has a notice, or they are idle and somebody waits. The core of whoever
    /// made the call can be among them.
    #[inline]
    pub fn take_interrupts(&mut self) -> u8 {
        core::mem::take(&mut self.interrupts) & !FAILED
    }

    /// Whether [`Domains::take_interrupts`] or [`Domains::take_failed`] has any to tell.
    #[inline(always)]
    pub const fn has_news(&self) -> bool {
        self.interrupts != 0
    }

    pub(crate) fn interrupt(&mut self, core: u8) {
        self.interrupts |= 1 << (usize::from(core) % MAX_CORES);
    }

    /// Something is dying from now on: a core that has nothing to do, if there is one, is to see to it
    /// ([`Domains::sweep`]).
    pub(crate) fn interrupt_idle(&mut self) {
        let idle = |core: &u8| self.core(*core) == Some(&Core::IDLE);
        if let Some(core) = (0..self.core_count).find(idle) {
            self.interrupt(core);
        }
    }

    pub(crate) fn core(&self, core: u8) -> Option<&Core> {
        self.cores.get(usize::from(core))
    }

    pub(crate) fn update_core(&mut self, core: u8, change: impl FnOnce(&mut Core)) {
        if let Some(place) = self.cores.get_mut(usize::from(core)) {
            change(place);
        }
    }

    /// The place in a queue of the environment at `index`, if it has one.
    pub(crate) fn waiting(&self, index: u16) -> Option<Waiting> {
        let word = self.environment(index)?.queue;
        let core = (word >> 16).checked_sub(1)?;
        Some(Waiting {
            core: core as u8,
            next: word as u16,
        })
    }

    fn set_waiting(&mut self, index: u16, waiting: Waiting) {
        self.update_environment(index, |record| record.queue = waiting.word());
    }

    fn set_next(&mut self, index: u16, next: u16) {
        if let Some(waiting) = self.waiting(index) {
            self.set_waiting(index, Waiting { next, ..waiting });
        }
    }

    /// Lets an environment wait for `core` behind all others.
    pub(crate) fn wait_last(&mut self, core: u8, index: u16) {
        // One that was entered without the lock may be in a queue still.
        self.wait_no_more(index);
        self.set_waiting(index, Waiting { core, next: NOBODY });
        let tail = self.core(core).map_or(NOBODY, |place| place.tail);
        self.set_next(tail, index);
        self.update_core(core, |place| {
            if place.tail == NOBODY {
                place.head = index;
            }
            place.tail = index;
        });
    }

    /// Lets an environment wait for `core` before all others.
    pub(crate) fn wait_first(&mut self, core: u8, index: u16) {
        self.wait_no_more(index);
        let next = self.core(core).map_or(NOBODY, |place| place.head);
        self.set_waiting(index, Waiting { core, next });
        self.update_core(core, |place| {
            if place.head == NOBODY {
                place.tail = index;
            }
            place.head = index;
        });
    }

    /// Takes an environment out of its queue, if it is in one.
    pub(crate) fn wait_no_more(&mut self, index: u16) {
        let Some(Waiting { core, next }) = self.waiting(index) else {
            return;
        };
        let mut previous = NOBODY;
        let mut at = self.core(core).map_or(NOBODY, |place| place.head);
        // No queue is longer than the table, whatever it looks like.
        for _ in 0..self.environments.len() {
            if at == index || at == NOBODY {
                break;
            }
            previous = at;
            at = self.waiting(at).map_or(NOBODY, |waiting| waiting.next);
        }
        self.set_next(previous, next);
        self.update_core(core, |place| {
            if place.head == index {
                place.head = next;
            }
            if place.tail == index {
                place.tail = previous;
            }
        });
        self.update_environment(index, |record| record.queue = 0);
    }
}
