//! Protected control transfer: calls, one-way messages and answers, as the kernel carries them out under its lock.
//!
//! ```text
//!                     pct_begin, pct_link
//!   caller  Running ------------------------------------> Calling ---------------+
//!              ^                                                                 |
//!              +------------------------- pct_reply -----------------------------+
//!   callee  Ready or Asleep --> Running (serves) --> what it was before
//! ```
//!
//! Most calls and answers never come here: a core that has claimed the callee's life word by itself enters it at once
//! (the kernel's `pct`). What is decided there in a few instructions is decided here in full, with a reason for each
//! refusal; and here links become slow, and calls fail:
//!
//! * the callee leaves its core before it has answered: [`Domains::untangle`];
//! * the caller is stopped or dies, the callee dies, the deadline passes: `fail_call`.
//!
//! A caller whose call fails goes on behind it, with the reason in x8. The kernel writes that state
//! ([`Domains::take_failed`]) before the lock is given back.

mod words;

use core::sync::atomic::Ordering;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{EnvironmentState, LifeWord, ObjectName};
use exopi_abi::transfer::Call;
use exopi_abi::{Error, PageNumber};
use exopi_pages::Hardware;

use crate::cores::FAILED;
use crate::links::{Gate, Link, Links};
use crate::{Domains, Subject};
use words::roused;

/// Most calls that fail in one [`Domains::expire`].
pub const EXPIRED: usize = 16;

/// A callee that was claimed for the core of whoever calls, and is not linked yet.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// As one that runs.
    pub callee: Subject,
    /// Its life word before.
    rest: LifeWord,
    badge: u32,
}

impl Begun {
    /// What the callee is told in x8 and x9.
    pub const fn told(&self, caller: ObjectName, one_way: bool) -> [u64; 2] {
        let call = Call {
            caller,
            badge: self.badge,
            one_way,
        };
        call.into_registers()
    }
}

/// Whom an answer goes to.
#[derive(Clone, Copy, Debug)]
pub enum Answered {
    /// This one, which has the core now, and goes on at `pc` with `sp`.
    Caller {
        /// As one that runs.
        subject: Subject,
        /// Where it goes on.
        pc: u64,
        /// Its stack pointer.
        sp: u64,
        /// It takes single steps, and one is due.
        steps: bool,
        /// Who has answered still has the core by its word, being to stop or to die: as soon as the core is in the
        /// caller's space, [`Domains::departed`] follows. If not, nothing of it may be touched any more: another
        /// core may have entered it.
        departs: bool,
    },
    /// Nobody: the core is free.
    Nobody {
        /// The same of a core that is in no space. [`Domains::left`] follows, or [`Domains::vacated`] if not.
        departs: bool,
    },
}

/// The state of an environment that goes on behind a call that has failed, to be written into its u-area's `saved`:
/// this PC and SP, the error's code in x8, and zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The u-area's frame.
    pub uarea: PageNumber,
    /// Where it goes on.
    pub pc: u64,
    /// Its stack pointer.
    pub sp: u64,
    /// The error's code.
    pub code: u64,
    /// It takes single steps.
    pub steps: bool,
}

/// Where a caller goes on when its call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The instruction behind the call.
    pub pc: u64,
    /// The stack pointer there.
    pub sp: u64,
    /// It takes single steps: one is due then.
    pub steps: bool,
}

/// Why an environment whose word is this does not take calls from who has bound a gate to that of `epoch`.
fn refusal(word: LifeWord, epoch: Epoch) -> Error {
    use EnvironmentState::{Asleep, Calling, Dying, Free, Ready, Running, Stopped, Suspended};
    if word.epoch() != epoch {
        return Error::Stale;
    }
    match word.state() {
        Free | Dying => Error::Stale,
        Stopped | Suspended => Error::NotReady,
        Running | Calling => Error::Busy,
        Ready | Asleep if word.core().is_some() => Error::Busy,
        Ready | Asleep if word.has(LifeWord::DEBT) => Error::Indebted,
        Ready | Asleep => Error::NotAccepting,
    }
}

impl Domains<'_> {
    pub(crate) fn links(&self, index: u16) -> Option<&Links> {
        self.places.links(index)
    }

    /// Claims the environment behind a gate for the caller's core, to be entered with a message. One of
    /// [`Domains::pct_link`], [`Domains::pct_link_one_way`], [`Domains::pct_abandon`] follows.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoGate`], [`Error::MissingRight`]; of the callee
    /// [`Error::Stale`], [`Error::NotReady`], [`Error::Busy`], [`Error::Indebted`] at the time `now`, in ticks,
    /// [`Error::NotAccepting`].
    pub fn pct_begin(&mut self, by: &Subject, gate: u64, now: u64) -> Result<Begun, Error> {
        let bound = self.through(by, gate, Gate::CALL_BIT)?;
        self.forgive(bound.index, now);
        let epoch = bound.life.epoch();
        let claimed = self.lives.serve(bound.index, epoch, by.core);
        let rest = claimed.map_err(|word| refusal(word, epoch))?;
        // It is there: its word has its epoch.
        let callee = self.subject(bound.index, by.core).ok_or(Error::Stale)?;
        Ok(Begun {
            callee,
            rest,
            badge: (bound.tail & Gate::BADGE) as u32,
        })
    }

    /// Gives back what [`Domains::pct_begin`] has claimed: it has no entry for calls.
    pub fn pct_abandon(&mut self, begun: &Begun) {
        // Under the lock nobody has changed it since it was claimed.
        let _ = self
            .lives
            .change(begun.callee.name.index, |_| Some(begun.rest));
    }

    /// Links `by`, which waits from now on and goes on at `behind`, to the callee that was claimed.
    ///
    /// # Errors
    /// [`Error::Busy`] of a caller that is to stop or to die; what was claimed is given back.
    pub fn pct_link<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        begun: &Begun,
        behind: Behind,
        deadline: u64,
    ) -> Result<(), Error> {
        let (me, index) = (by.name.index, begun.callee.name.index);
        self.untangle(hw, me);
        if self.lives.wait(me).is_err() {
            self.pct_abandon(begun);
            return Err(Error::Busy);
        }
        if let Some(links) = self.links(index) {
            links.caller_pc.store(behind.pc, Ordering::Relaxed);
            links.caller_sp.store(behind.sp, Ordering::Relaxed);
        }
        let link = Link::slow(self.places.place(me)).stepping(behind.steps);
        self.serve(begun, link);
        if let Some(links) = self.links(me) {
            let callee = Link::slow(self.places.place(index));
            links.callee.store(callee.word(), Ordering::Relaxed);
        }
        if deadline != exopi_abi::transfer::FOREVER {
            self.alarms.set(me, by.core, deadline);
        }
        Ok(())
    }

    /// Lets the callee that was claimed serve a message that nobody waits for.
    pub fn pct_link_one_way(&mut self, begun: &Begun) {
        self.serve(begun, Link::ONE_WAY);
    }

    /// `by` has sent a message, is ready, and on no core any more. Its state was saved.
    pub fn pct_sent<H: Hardware>(&mut self, hw: &mut H, by: &Subject) {
        let me = by.name.index;
        self.untangle(hw, me);
        self.preempt(by);
        self.departed(hw, me);
    }

    fn serve(&mut self, begun: &Begun, caller: Link) {
        let Subject { name, core, .. } = begun.callee;
        if let Some(links) = self.links(name.index) {
            links.rest.store(begun.rest.bits(), Ordering::Relaxed);
            links.caller.store(caller.word(), Ordering::Relaxed);
        }
        self.hear(begun.rest, core);
    }

    /// An environment that had this word was given `core` at once: if something waits for it, the core looks after that
    /// as soon as it is at EL0.
    fn hear(&mut self, word: LifeWord, core: u8) {
        if word.has(LifeWord::ATTENTION) {
            self.interrupt(core);
        }
    }

    /// Gives the core back that the environment at `index` has: it is as it was before it served, by `word`. Whether it
    /// still has the core, being to stop or to die.
    fn rest(&mut self, index: u16, word: LifeWord) -> bool {
        let before = self.lives.rest(index, word);
        let departs = before.state() != EnvironmentState::Running;
        if !departs && roused(word, before).state() == EnvironmentState::Ready {
            self.tell_cores(index, u8::MAX);
        }
        departs
    }

    /// Answers as the row `pct_reply` of the call table says: all that is kept of `by` has been put away and its time
    /// charged, and it has no core from now on, unless this is refused or it is to stop or to die. `masked`: it has
    /// asynchronous upcalls masked, and so takes no calls before it has run again.
    ///
    /// # Errors
    /// [`Error::NotWaiting`], [`Error::TimedOut`]: the call is over, and `by` goes on.
    pub fn pct_reply<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        masked: bool,
        now: u64,
    ) -> Result<Answered, Error> {
        let me = by.name.index;
        let own = self.links(me).ok_or(Error::NotWaiting)?;
        let link = own.caller();
        let served = LifeWord::from_bits(own.rest.load(Ordering::Relaxed));
        let closed = if masked { LifeWord::CLOSED } else { 0 };
        match link {
            Link::GONE => {
                self.set_caller(me, Link::NOBODY);
                return Err(Error::NotWaiting);
            }
            Link::ONE_WAY | Link::NOBODY => {
                let asleep =
                    LifeWord::new(by.name.epoch, EnvironmentState::Asleep, LifeWord::NOWHERE);
                let word = if link == Link::NOBODY { asleep } else { served };
                self.set_caller(me, Link::NOBODY);
                let departs = self.rest(me, word.with(LifeWord::LIGHT | closed));
                return Ok(Answered::Nobody { departs });
            }
            _ => {}
        }
        self.answer(hw, by, link, served.with(closed), now)
    }

    /// Answers whoever waits behind `link`; `by` is what `rest` says from then on.
    fn answer<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        link: Link,
        rest: LifeWord,
        now: u64,
    ) -> Result<Answered, Error> {
        let me = by.name.index;
        let own = self.links(me).ok_or(Error::NotWaiting)?;
        let [pc, sp] = [&own.caller_pc, &own.caller_sp].map(|word| word.load(Ordering::Relaxed));
        let caller = self.other_end(link).ok_or(Error::NotWaiting)?;
        if self.alarms.of(caller).is_some_and(|time| time <= now) {
            self.time_out(caller);
            self.set_caller(me, Link::NOBODY);
            return Err(Error::TimedOut);
        }
        let subject = self.subject(caller, by.core).ok_or(Error::NotWaiting)?;
        let Ok(waited) = self.lives.go_on(caller, by.core) else {
            // It is to stop or to die, and does.
            self.untangle(hw, me);
            self.set_caller(me, Link::NOBODY);
            return Err(Error::NotWaiting);
        };
        self.hear(waited, by.core);
        self.alarms.cancel(caller);
        self.set_callee(caller, Link::NOBODY);
        self.set_caller(me, Link::NOBODY);
        let departs = self.rest(me, rest);
        Ok(Answered::Caller {
            subject,
            pc,
            sp,
            steps: link.steps(),
            departs,
        })
    }

    fn other_end(&self, link: Link) -> Option<u16> {
        link.place().and_then(|place| self.places.index(place))
    }

    fn set_caller(&self, index: u16, link: Link) {
        if let Some(links) = self.links(index) {
            links.caller.store(link.word(), Ordering::Relaxed);
        }
    }

    fn set_callee(&self, index: u16, link: Link) {
        if let Some(links) = self.links(index) {
            links.callee.store(link.word(), Ordering::Relaxed);
        }
    }

    /// With what flags the environment at `index` leaves a core light, other than by an answer: it takes no calls if it
    /// serves one, or has asynchronous upcalls masked.
    pub fn flags_of_light(&self, index: u16, masked: bool) -> u64 {
        let closed = if self.serves(index) || masked {
            LifeWord::CLOSED
        } else {
            0
        };
        LifeWord::LIGHT | closed
    }

    /// Whether the environment at `index` serves a call, be it one whose caller waits no more.
    pub fn serves(&self, index: u16) -> bool {
        let caller = self.links(index).map(Links::caller);
        caller.is_some_and(|caller| caller != Link::NOBODY)
    }

    /// Whether the environment at `index` waits for an answer.
    pub fn waits_for_answer(&self, index: u16) -> bool {
        self.links(index)
            .is_some_and(|links| links.callee() != Link::NOBODY)
    }

    /// Who waits for the answer of the environment at `index`, if somebody does.
    pub(crate) fn caller_of(&self, index: u16) -> Option<u16> {
        let links = self.links(index)?;
        self.other_end(links.caller())
    }

    /// Whom the environment at `index` waits for, if it waits for an answer.
    pub fn callee_of(&self, index: u16) -> Option<u16> {
        let links = self.links(index)?;
        self.other_end(links.callee())
    }

    /// Makes the fast link to `index`, if there is one, a slow one: its callee is about to leave its core without
    /// having answered, or its caller is wanted. The caller waits by its life word from now on, and if it is to stop
    /// or to die, that is done.
    pub fn untangle<H: Hardware>(&mut self, hw: &mut H, index: u16) {
        let link = self.links(index).map(Links::caller);
        let Some(link) = link.filter(|link| link.is_fast()) else {
            return;
        };
        let slow = Link::slow(link.word());
        self.set_caller(index, slow);
        if let Some(caller) = self.other_end(slow)
            && self.lives.wait(caller).is_err()
        {
            self.departed(hw, caller);
        }
    }

    /// Whether the caller of a fast call that `index` serves is wanted: it is to stop, to die or to hear something.
    pub fn caller_is_wanted(&self, index: u16) -> bool {
        let link = self.links(index).map(Links::caller);
        let caller = link.filter(|link| link.is_fast());
        caller
            .and_then(|link| self.other_end(link))
            .is_some_and(|caller| self.life(caller).state() != EnvironmentState::Running)
    }

    /// Ends the call that the environment at `index` waits in, if it does: it goes on behind it with `error`.
    pub(crate) fn fail_call(&mut self, index: u16, error: Error) {
        let Some(callee) = self.callee_of(index) else {
            return;
        };
        self.alarms.cancel(index);
        self.set_callee(index, Link::NOBODY);
        let steps = self
            .links(callee)
            .is_some_and(|links| links.caller().steps());
        self.set_caller(callee, Link::GONE);
        if let (Some(served), Some(own)) = (self.links(callee), self.links(index)) {
            let [pc, sp] =
                [&served.caller_pc, &served.caller_sp].map(|word| word.load(Ordering::Relaxed));
            own.set_failure([pc, sp, error as u64, steps.into()]);
            self.failed.insert(index);
            self.interrupts |= FAILED;
        }
    }

    /// Calls fail whose deadlines, of those that `core` sees to, have passed by `now`: at most `EXPIRED` of them. The
    /// next deadline is then the earliest of [`Alarms`](crate::Alarms), and may have passed, too.
    pub fn expire(&mut self, core: u8, now: u64) {
        for _ in 0..EXPIRED {
            let Some(index) = self.alarms.take_due(core, now) else {
                return;
            };
            self.time_out(index);
        }
    }

    /// The deadline of the call that the environment at `index` waits in has passed, if it waits in one.
    pub(crate) fn time_out(&mut self, index: u16) {
        self.fail_call(index, Error::TimedOut);
        self.wake_failed(index);
    }

    /// One whose call has failed is ready.
    fn wake_failed(&mut self, index: u16) {
        if self.lives.give_up_waiting(index).is_ok() {
            self.tell_cores(index, u8::MAX);
        }
    }

    /// The environment at `index` begins.
    pub(crate) fn begin_links(&self, index: u16) {
        if let Some(links) = self.links(index) {
            links.clear();
        }
    }

    /// The environment at `index` is at its end: whoever waits for its answer waits no more, nor does it itself.
    pub(crate) fn cut_links(&mut self, index: u16) {
        self.fail_call(index, Error::Interrupted);
        self.failed.remove(index);
        let caller = self.links(index).map(Links::caller);
        if let Some(caller) = caller.and_then(|link| self.other_end(link)) {
            self.fail_call(caller, Error::Stale);
            self.wake_failed(caller);
        }
    }

    /// An environment whose call has failed, and the state that is to be written for it.
    pub fn take_failed(&mut self) -> Option<Failed> {
        let index = self.failed.first()?;
        self.failed.remove(index);
        let [pc, sp, code, steps] = self.links(index)?.failure();
        let record = self.environment(index)?;
        Some(Failed {
            uarea: PageNumber::new(record.uarea),
            pc,
            sp,
            code,
            steps: steps != 0,
        })
    }
}
