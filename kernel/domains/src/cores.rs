//! Cores: who runs on each, in whose turn, and whom a core tells to come out of user mode.
//!
//! ```text
//!          pass: a slice whose environment is ready            left, by its own kernel entry
//!   idle ------------------------------------------> running -------------------------------> idle
//!                                                       |  ^
//!                                                       `--'  gift: the rest of the turn is another's
//! ```
//!
//! An environment that runs is taken off its core by its own kernel entry alone. So who wants it stopped or
//! dead changes the *state* in its word ([`Lives`](crate::Lives)) and leaves the *core*: "Stopped, on core 2" is one
//! that has still to come out of user mode there, and [`Domains::left`] makes it "Stopped, nowhere". Meanwhile it can
//! make calls as before, nobody else can have it, and who asks is told that it is busy.
//!
//! Who waits for an answer does not run, but its turns go by for it all the same: whoever works on the answer has them.
//!
//! A core on which nobody else could run has no timer: it is *alone*. Whoever makes an environment ready that has
//! slices there interrupts it, so that it looks again ([`Domains::deadline`]); likewise one that is idle.

use exopi_abi::Error;
use exopi_abi::domain::{EnvironmentState, LifeWord, ObjectName};
use exopi_abi::exposed::MAX_CORES;
use exopi_pages::Hardware;
use exopi_slices::{LOOKS, Pass, Runnable};

use crate::links::{Link, Links, Places};
use crate::{Domains, Lives, Subject};

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
    /// Who has been claimed for it, to run in the rest of the turn.
    pub(crate) gift: u16,
    /// Its word before.
    pub(crate) gift_before: LifeWord,
    /// Nobody else could run when that was last asked: there is no timer.
    pub(crate) alone: bool,
}

impl Core {
    pub(crate) const IDLE: Core = Core {
        running: NOBODY,
        gift: NOBODY,
        gift_before: LifeWord::FREE,
        alone: false,
    };
}

/// Who has a core next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This environment, which has it by now.
    Run(Entering),
    /// Not known yet: interrupts are to be taken, and this is to be asked again.
    Again,
    /// Nobody: the core may sleep.
    Idle,
}

/// How an environment leaves its core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Left {
    /// The time, in ticks.
    pub now: u64,
    /// Flags that its word has from now on: [`LifeWord::LIGHT`], or none.
    pub flags: u64,
}

/// An environment that is given a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entering {
    /// Who it is.
    pub subject: Subject,
    /// Whether its registers are in no frame, because it gave its core away itself.
    pub light: bool,
    /// How long it may run, in ticks.
    pub length: u64,
    /// The number of the slice that it runs in.
    pub slice: u16,
}

/// Most calls that are followed from a caller to who is at work for it. Who serves a call that is nested deeper runs in
/// its own slices alone once its turn is over.
const NESTING: usize = 16;

/// After so many looks at slices, one [`Domains::next`] leaves debts for the next one: it ends with the pass that it is in.
/// Enough for all three ways through a vector in which a few environments owe ([`exopi_slices::Pass`]).
const MOST_LOOKS: usize = 3 * LOOKS;

/// What the schedule is told of environments.
#[derive(Clone, Copy)]
struct View<'m> {
    lives: Lives<'m>,
    places: &'m dyn Places,
}

impl View<'_> {
    /// Who runs in the turns of the environment at `index`: while that waits for an answer, whoever works on it.
    fn runner(self, index: u16) -> u16 {
        let mut at = index;
        for _ in 0..NESTING {
            if self.lives.word(at).state() != EnvironmentState::Calling {
                break;
            }
            let callee = self.places.links(at).map(Links::callee);
            let callee = callee.and_then(Link::place);
            match callee.and_then(|place| self.places.index(place)) {
                Some(callee) => at = callee,
                None => break,
            }
        }
        at
    }

    /// Of the environment whose [`ObjectName::word`] is in a slice.
    fn look(self, environment: u64) -> Runnable {
        let name = ObjectName::from_word(environment);
        let word = self.lives.word(name.index);
        if word.is_free() || word.epoch() != name.epoch {
            return Runnable::NO;
        }
        let runner = self.lives.word(self.runner(name.index));
        Runnable {
            ready: runner.state() == EnvironmentState::Ready && runner.core().is_none(),
            debt: self.lives.debt(name.index),
            slices: 0,
        }
    }
}

impl<'m> Domains<'m> {
    fn view(&self) -> View<'m> {
        View {
            lives: self.lives,
            places: self.places,
        }
    }

    /// Gives `core`, which nobody has, to whoever is next by its slices at the time `now`, in ticks; or to whom the
    /// rest of a turn was given.
    pub fn next(&mut self, core: u8, now: u64) -> Next {
        match self.core(core) {
            Some(place) if place.gift != NOBODY => {
                let Core {
                    gift, gift_before, ..
                } = *place;
                self.update_core(core, |place| place.gift = NOBODY);
                return self.give(core, gift, gift_before, now);
            }
            Some(place) if place.running == NOBODY => {}
            _ => return Next::Idle,
        }
        let view = self.view();
        // What is paid is paid in one hold of the lock as far as it goes: idle cores would come by for each turn of it.
        let mut looks = 0;
        while looks < MOST_LOOKS {
            let (environment, paid, runs) = match self.pass(core, &mut looks) {
                Pass::Run {
                    environment, paid, ..
                } => (environment, paid, true),
                Pass::Paid { environment, paid } => (environment, paid, false),
                Pass::Continue => return Next::Again,
                Pass::Idle => return Next::Idle,
            };
            let charged = ObjectName::from_word(environment).index;
            self.pay(charged, paid);
            if runs {
                return self.begin_turn(core, view.runner(charged), now);
            }
        }
        Next::Again
    }

    /// Looks who is next on `core` by its slices, and counts the `looks`.
    fn pass(&mut self, core: u8, looks: &mut usize) -> Pass {
        let view = self.view();
        let environments = &*self.environments;
        let count = |index: u16| {
            let slices = environments.get(usize::from(index))?.slices;
            slices.get(usize::from(core)).copied()
        };
        self.slices.pass(core, |word| {
            *looks += 1;
            let seen = view.look(word);
            if seen.debt == 0 {
                return seen;
            }
            let slices = count(ObjectName::from_word(word).index).unwrap_or(0);
            Runnable { slices, ..seen }
        })
    }

    /// The environment at `index` has the turn that was given, unless another core was faster.
    fn begin_turn(&mut self, core: u8, index: u16, now: u64) -> Next {
        match self.lives.claim(index, core) {
            Ok(before) => {
                let _ = self.slices.began(core, now);
                self.give(core, index, before, now)
            }
            Err(_) => {
                self.slices.declined(core);
                Next::Again
            }
        }
    }

    /// `index`, whose word was `before` and which was claimed for `core`, runs there in the turn.
    fn give(&mut self, core: u8, index: u16, before: LifeWord, now: u64) -> Next {
        self.update_core(core, |place| place.running = index);
        let (slice, end) = match self.slices.turn(core) {
            Some(turn) => (turn.slice.index, turn.end),
            None => (u16::MAX, now),
        };
        match self.subject(index, core) {
            Some(subject) => Next::Run(Entering {
                subject,
                light: before.has(LifeWord::LIGHT),
                length: end.saturating_sub(now),
                slice,
            }),
            None => Next::Again,
        }
    }

    /// When the timer must take `by`'s core from it, or `None` if nobody else could run there. To be asked after
    /// [`Domains::next`], and whenever the core was interrupted.
    pub fn deadline(&mut self, by: &Subject, now: u64) -> Option<u64> {
        let (view, running) = (self.view(), by.name.word());
        let look = |word| view.look(word);
        let deadline = self.slices.deadline(by.core, running, now, look);
        self.update_core(by.core, |place| place.alone = deadline.is_none());
        deadline
    }

    /// How long an environment may keep its core after its turn's end, in ticks.
    pub const fn leaving_ticks(&self) -> u64 {
        self.slices.lengths().limit()
    }

    /// The turn in which `by` runs is at its end. Whether it is to leave its core for that: somebody else could run.
    #[cfg(feature = "model")]
    pub fn is_over(&mut self, by: &Subject, now: u64) -> bool {
        self.deadline(by, now).is_some_and(|end| end <= now)
    }

    /// `by` runs no more for now, and is ready to: its turn is over. It still has to leave ([`Domains::left`]).
    pub fn preempt(&mut self, by: &Subject) {
        let _ = self.lives.give_up(by.name.index, EnvironmentState::Ready);
    }

    /// `by`, which had its core, has come out of user mode, its registers are in its u-area or are not kept, and the
    /// core is in no space any more or goes to the next one at once.
    ///
    /// One that was to stop is stopped from now on; one that was to die is gone, and if it was the last in its
    /// space, a first step is made to take that apart.
    pub fn left<H: Hardware>(&mut self, hw: &mut H, by: &Subject, how: Left) {
        self.vacated(by, how.now);
        self.depart(hw, by.name.index, how.flags, by.core);
    }

    /// Nobody has `by`'s core any more: `by` gave it back by its word, and another core may have entered it by now.
    pub fn vacated(&mut self, by: &Subject, now: u64) {
        self.end_turn(by, now);
        self.update_core(by.core, |place| place.running = NOBODY);
    }

    /// The environment at `index`, which had a core and was to stop, to die or to wait its turn, is on none any more,
    /// and what is kept of it was put away: the same without a word about the core. A call that it waits in is
    /// given up.
    pub fn departed<H: Hardware>(&mut self, hw: &mut H, index: u16) {
        self.depart(hw, index, 0, u8::MAX);
    }

    /// The same; its word has `flags` from now on, and `except` is a core that looks for itself who is next.
    pub(crate) fn depart<H: Hardware>(&mut self, hw: &mut H, index: u16, flags: u64, except: u8) {
        self.fail_call(index, Error::Interrupted);
        match self.lives.left(index, flags).map(LifeWord::state) {
            Ok(EnvironmentState::Dying) => {}
            Ok(EnvironmentState::Ready) => return self.tell_cores(index, except),
            _ => return,
        }
        let _ = self.end_environment(hw, index);
        // Whoever had to wait for this goes on.
        if self.is_ending() {
            self.interrupt_idle();
        }
    }

    /// Ends the turn of `by`'s core unless the rest of it goes to somebody else. Who leaves late owes the excess; then
    /// there is no rest.
    fn end_turn(&mut self, by: &Subject, now: u64) {
        let (gift, before) = self
            .core(by.core)
            .map_or((NOBODY, LifeWord::FREE), |place| {
                (place.gift, place.gift_before)
            });
        if gift != NOBODY {
            if self.slices.turn(by.core).is_some_and(|turn| now < turn.end)
                || self.is_alone(by.core)
            {
                return;
            }
            self.update_core(by.core, |place| place.gift = NOBODY);
            let _ = self.lives.decline(gift, by.core, before);
            self.tell_cores(gift, by.core);
        }
        if let Some(ended) = self.slices.ended(by.core, now) {
            self.owe(by.name.index, ended.excess, now);
        }
    }

    fn is_alone(&self, core: u8) -> bool {
        self.core(core).is_some_and(|place| place.alone)
    }

    /// The environment at `index`, which is ready, could run from now on: cores where it has slices, or who waits for
    /// its answer, are told, but for `except`, whose business it is at present.
    pub(crate) fn tell_cores(&mut self, index: u16, except: u8) {
        let mut at = Some(index);
        for _ in 0..=NESTING {
            let Some(one) = at else {
                return;
            };
            self.tell_cores_of(one, except);
            at = self.caller_of(one);
        }
    }

    fn tell_cores_of(&mut self, index: u16, except: u8) {
        let Some(slices) = self.environment(index).map(|record| record.slices) else {
            return;
        };
        for (core, _) in (0..).zip(slices).filter(|(_, count)| *count != 0) {
            self.slices.look_again(core);
            let waits = self
                .core(core)
                .is_some_and(|place| place.running == NOBODY || place.alone);
            if waits && core != except {
                self.update_core(core, |place| place.alone = false);
                self.interrupt(core);
            }
        }
    }

    /// Whether `by` still runs, as far as words say: nobody has stopped or destroyed it, and it has not
    /// given its core away. If not, the kernel saves its state, and tells [`Domains::left`].
    #[inline]
    pub fn runs(&self, by: &Subject) -> bool {
        self.lives.runs(by.name)
    }

    /// Whether somebody besides `by` could run on its core.
    pub(crate) fn waits(&self, by: &Subject) -> bool {
        let (view, running) = (self.view(), by.name.word());
        self.slices
            .others_runnable(by.core, running, |word| view.look(word))
    }

    /// The cores, by bit, that are to look again at what they run, which has changed since this was last asked:
    /// the one they run is to leave, or has a notice, or is not alone any more; or they are idle and somebody could
    /// run. The core of whoever made the call can be among them.
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
        let idle = |core: &u8| {
            self.core(*core)
                .is_some_and(|place| place.running == NOBODY)
        };
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
}
