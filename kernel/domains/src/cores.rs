//! Cores: who runs on each, who waits for it, and whom it tells to come out of user mode.
//!
//! ```text
//!            head                    tail
//!   core ---> Ready --next--> Ready --next--> Ready          FIFO, threaded through the records
//!     |
//!     +-- running: the environment that has the core until `left`, whatever its record says by then
//! ```
//!
//! An environment that runs is taken off its core by its own kernel entry alone. So who wants it stopped or
//! dead changes its *state* and leaves its *core*: "Stopped, on core 2" is one that has still to come out of user
//! mode there, and [`Domains::left`] makes it "Stopped, nowhere". Meanwhile it can make calls as before, nobody
//! else can have it, and who asks is told that it is busy.

use exopi_abi::domain::{EnvironmentRecord, EnvironmentState};
use exopi_abi::exposed::MAX_CORES;
use exopi_pages::Hardware;

use crate::{Domains, Subject};

/// No environment.
pub(crate) const NOBODY: u16 = u16::MAX;

/// What is kept of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Core {
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

/// Whether an environment has a core and must come out of user mode before anything is done with it.
pub(crate) fn has_core(record: &EnvironmentRecord) -> bool {
    record.state != EnvironmentState::Ready && record.core != EnvironmentRecord::NOWHERE
}

impl Domains<'_> {
    /// Gives `core`, which nobody has, to the one that has waited for it longest. `None` if nobody waits, or if
    /// somebody still has it.
    pub fn next(&mut self, core: u8) -> Option<Subject> {
        let place = self.core(core)?;
        if place.running != NOBODY {
            return None;
        }
        let index = place.head;
        let next = self.environment(index)?.next;
        self.update_core(core, |place| {
            place.running = index;
            place.head = next;
            if next == NOBODY {
                place.tail = NOBODY;
            }
        });
        self.update_environment(index, |record| {
            record.state = EnvironmentState::Running;
            record.next = NOBODY;
            record.dispatches = record.dispatches.wrapping_add(1);
        });
        self.subject(index, core)
    }

    /// The environment that had `core` has come out of user mode, its registers are in its u-area, and the core
    /// is in no space any more or goes to the next one at once. Nothing happens if nobody had it.
    ///
    /// One that was to stop is stopped from now on; one that was to die is gone, and if it was the last in its
    /// space, a first step is made to take that apart.
    pub fn left<H: Hardware>(&mut self, hw: &mut H, core: u8) {
        let Some(index) = self.core(core).map(|place| place.running) else {
            return;
        };
        self.update_core(core, |place| place.running = NOBODY);
        match self.environment(index).map(|record| record.state) {
            Some(EnvironmentState::Dying) => {
                let _ = self.end_environment(hw, index);
                // Whoever had to wait for this goes on.
                if self.is_ending() {
                    self.interrupt_idle();
                }
            }
            Some(EnvironmentState::Ready) | None => {}
            Some(_) => self.update_environment(index, |record| {
                record.core = EnvironmentRecord::NOWHERE;
            }),
        }
    }

    /// Whether `by` still runs, as far as records say: nobody has stopped or destroyed it, and it has not
    /// given its core away. If not, the kernel saves its state, and tells [`Domains::left`].
    #[inline]
    pub fn runs(&self, by: &Subject) -> bool {
        self.environment(by.name.index)
            .is_some_and(|record| record.state == EnvironmentState::Running)
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
        core::mem::take(&mut self.interrupts)
    }

    /// Whether [`Domains::take_interrupts`] has any to tell.
    #[inline(always)]
    pub const fn has_interrupts(&self) -> bool {
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

    /// Lets an environment wait for `core` behind all others.
    pub(crate) fn wait_last(&mut self, core: u8, index: u16) {
        self.ready(core, index, NOBODY);
        let tail = self.core(core).map_or(NOBODY, |place| place.tail);
        self.update_environment(tail, |record| record.next = index);
        self.update_core(core, |place| {
            if place.tail == NOBODY {
                place.head = index;
            }
            place.tail = index;
        });
    }

    /// Lets an environment wait for `core` before all others.
    pub(crate) fn wait_first(&mut self, core: u8, index: u16) {
        let head = self.core(core).map_or(NOBODY, |place| place.head);
        self.ready(core, index, head);
        self.update_core(core, |place| {
            if place.head == NOBODY {
                place.tail = index;
            }
            place.head = index;
        });
    }

    fn ready(&mut self, core: u8, index: u16, next: u16) {
        self.update_environment(index, |record| {
            record.state = EnvironmentState::Ready;
            record.core = core;
            record.next = next;
        });
    }

    /// Takes an environment that waits out of its core's queue. Its state is the caller's to change.
    pub(crate) fn wait_no_more(&mut self, index: u16) {
        let Some(record) = self.environment(index).copied() else {
            return;
        };
        let mut previous = NOBODY;
        let mut at = self.core(record.core).map_or(NOBODY, |place| place.head);
        // No queue is longer than the table, whatever it looks like.
        for _ in 0..self.environments.len() {
            if at == index || at == NOBODY {
                break;
            }
            previous = at;
            at = self.environment(at).map_or(NOBODY, |record| record.next);
        }
        let next = record.next;
        self.update_environment(previous, |before| before.next = next);
        self.update_core(record.core, |place| {
            if place.head == index {
                place.head = next;
            }
            if place.tail == index {
                place.tail = previous;
            }
        });
        self.update_environment(index, |record| record.next = NOBODY);
    }
}
