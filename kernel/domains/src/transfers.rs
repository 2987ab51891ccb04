//! Protected control transfer: calls, one-way messages and answers, as the kernel carries them out under its lock.
//!
//! ```text
//!                     pct_begin                  pct_wait
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
//! * the caller is stopped or dies, the callee dies, the deadline passes: [`Domains::fail_call`].
//!
//! A caller whose call fails goes on behind it, by the state in its u-area's `saved`, which says why.

use core::sync::atomic::Ordering;

use exopi_abi::Error;
use exopi_abi::capability::EnvironmentRights;
use exopi_abi::domain::{EnvironmentState, LifeWord};
use exopi_abi::transfer::{Call, GATES, ONE_WAY};
use exopi_abi::{PageNumber, domain::ObjectName};

use crate::life::Lives;
use crate::links::{Gate, Link, Links};
use crate::subject::{epoch_of, lasting};
use crate::{Domains, Subject, Target};

/// Most alarms that are seen to in one go.
const ALARMS_AT_ONCE: usize = 16;

/// Where the state of a caller is written whose call has failed: the kernel's memory, or a simulated one.
pub trait Frames {
    /// Lets the environment with this u-area, which has no core, go on at `pc` with stack pointer `sp` and `error` in
    /// x8, all other registers being zero: in `saved`, which is held.
    fn fail(&mut self, uarea: PageNumber, pc: u64, sp: u64, error: Error);
}

/// A callee that was claimed for the core of whoever calls, and is not linked yet.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// As one that runs.
    pub callee: Subject,
    /// Its life word before.
    rest: LifeWord,
    badge: u64,
}

impl Begun {
    /// What the callee is told in x8 and x9.
    pub const fn told(&self, caller: ObjectName, one_way: bool) -> [u64; 2] {
        let call = Call {
            caller,
            badge: self.badge as u32,
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
    },
    /// Nobody waits: the core is free.
    Nobody,
}

/// A gate as it was bound.
#[derive(Clone, Copy, Debug)]
struct Bound {
    index: u16,
    /// The life word that its callee has when it takes calls.
    life: LifeWord,
    tail: u64,
}

/// Why an environment whose word is this is not entered through a gate.
fn refusal(word: LifeWord, bound: &Bound) -> Error {
    use EnvironmentState::{Asleep, Calling, Dying, Free, Ready, Running, Stopped, Suspended};
    if word.epoch() != bound.life.epoch() {
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
    /// The links of the environment at `index`.
    fn links(&self, index: u16) -> Option<&Links> {
        self.places.links(index)
    }

    /// The index of the environment at the other end of `link`.
    fn end_of(&self, link: Link) -> Option<u16> {
        link.place().and_then(|place| self.places.index(place))
    }

    /// Binds a gate as the row `gate_bind` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoGate`], [`Error::TimeLimited`]; of a capability
    /// [`Error::WrongKind`], [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`].
    pub fn gate_bind(
        &mut self,
        by: &Subject,
        gate: u64,
        environment: Target<'_>,
    ) -> Result<(), Error> {
        if gate >= GATES as u64 {
            return Err(Error::NoGate);
        }
        lasting(environment)?;
        let both = EnvironmentRights::CALL | EnvironmentRights::SCHEDULE;
        let (rights, badge) = match environment {
            Target::Verified(verified) => {
                let rights: EnvironmentRights = verified.rights()?;
                let badge = verified.badge().map_or(0, |badge| badge.value().into());
                (rights & both, badge)
            }
            _ => (both, 0),
        };
        if rights.is_empty() {
            return Err(Error::MissingRight);
        }
        let (index, record) = self.live_environment(by, environment, EnvironmentRights::empty())?;
        let accepts = LifeWord::new(
            epoch_of(record.epoch),
            EnvironmentState::Ready,
            LifeWord::NOWHERE,
        );
        let bit = |right, bit: u32| u64::from(rights.contains(right)) << bit;
        let tail = self.places.offset(index) << Gate::PLACE_SHIFT
            | bit(EnvironmentRights::CALL, Gate::CALL_BIT)
            | bit(EnvironmentRights::SCHEDULE, Gate::SCHEDULE_BIT)
            | badge & Gate::BADGE;
        self.set_gate(by, gate, accepts.with(LifeWord::LIGHT).bits(), tail)
    }

    /// Unbinds a gate as the row `gate_unbind` of the call table says.
    ///
    /// # Errors
    /// [`Error::NoGate`].
    pub fn gate_unbind(&mut self, by: &Subject, gate: u64) -> Result<(), Error> {
        self.bound(by, gate)?;
        self.set_gate(by, gate, 0, 0)
    }

    fn gate(&self, by: &Subject, gate: u64) -> Result<&Gate, Error> {
        let gates = self.links(by.name.index).map(|links| &links.gates);
        let place = usize::try_from(gate).map_err(|_| Error::NoGate)?;
        gates
            .and_then(|gates| gates.get(place))
            .ok_or(Error::NoGate)
    }

    fn set_gate(&self, by: &Subject, gate: u64, life: u64, tail: u64) -> Result<(), Error> {
        let gate = self.gate(by, gate)?;
        gate.life.store(life, Ordering::Relaxed);
        gate.tail.store(tail, Ordering::Relaxed);
        Ok(())
    }

    fn bound(&self, by: &Subject, gate: u64) -> Result<Bound, Error> {
        let gate = self.gate(by, gate)?;
        let life = LifeWord::from_bits(gate.life.load(Ordering::Relaxed));
        let tail = gate.tail.load(Ordering::Relaxed);
        if life.is_free() {
            return Err(Error::NoGate);
        }
        let index = self.places.at_offset(tail >> Gate::PLACE_SHIFT);
        Ok(Bound {
            index: index.ok_or(Error::NoGate)?,
            life,
            tail,
        })
    }

    fn bound_for(&self, by: &Subject, gate: u64, bit: u32) -> Result<Bound, Error> {
        let bound = self.bound(by, gate)?;
        match bound.tail >> bit & 1 {
            0 => Err(Error::MissingRight),
            _ => Ok(bound),
        }
    }

    /// Claims the environment behind a gate for the caller's core, to be entered with a message. Either
    /// [`Domains::pct_link`] or [`Domains::pct_abandon`] follows.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoGate`], [`Error::MissingRight`]; of a caller that
    /// is to stop or to die [`Error::Busy`]; of the callee [`Error::Stale`], [`Error::NotReady`],
    /// [`Error::Busy`], [`Error::Indebted`], [`Error::NotAccepting`].
    pub fn pct_begin(&mut self, by: &Subject, gate: u64) -> Result<Begun, Error> {
        let bound = self.bound_for(by, gate, Gate::CALL_BIT)?;
        if !self.runs(by) {
            return Err(Error::Busy);
        }
        let rest = self
            .lives
            .serve(bound.index, bound.life.epoch(), by.core)
            .map_err(|word| refusal(word, &bound))?;
        match self.subject(bound.index, by.core) {
            Some(callee) => Ok(Begun {
                callee,
                rest,
                badge: bound.tail & Gate::BADGE,
            }),
            None => Err(Error::Stale),
        }
    }

    /// Gives back what [`Domains::pct_begin`] has claimed: it has no entry for calls.
    pub fn pct_abandon(&mut self, begun: &Begun) {
        self.lives.rest(begun.callee.name.index, begun.rest);
    }

    /// Links `by`, which waits from now on and goes on at `pc` with `sp`, to the callee that was claimed. `by` still
    /// has to leave its core.
    pub fn pct_link(&mut self, by: &Subject, begun: &Begun, pc: u64, sp: u64, deadline: u64) {
        let index = begun.callee.name.index;
        self.link(index, begun.rest, Link::slow(self.places.place(by.name.index)));
        if let Some(links) = self.links(index) {
            links.caller_pc.store(pc, Ordering::Relaxed);
            links.caller_sp.store(sp, Ordering::Relaxed);
        }
        if let Some(links) = self.links(by.name.index) {
            let callee = Link::slow(self.places.place(index));
            links.callee.store(callee.word(), Ordering::Relaxed);
        }
        if deadline != 0 {
            self.alarms.set(by.name.index, by.core, deadline);
        }
    }

    /// Lets the callee that was claimed serve a message that nobody waits for.
    pub fn pct_link_one_way(&mut self, begun: &Begun) {
        self.link(begun.callee.name.index, begun.rest, Link::ONE_WAY);
    }

    fn link(&self, callee: u16, rest: LifeWord, caller: Link) {
        if let Some(links) = self.links(callee) {
            links.rest.store(rest.bits(), Ordering::Relaxed);
            links.caller.store(caller.word(), Ordering::Relaxed);
        }
    }

    /// Answers as the row `pct_reply` of the call table says. All that is kept of `by` has been put away; it has
    /// no core from now on, unless this is refused.
    ///
    /// # Errors
    /// [`Error::NotWaiting`], [`Error::TimedOut`]: the call is over, and `by` goes on.
    pub fn pct_reply<F: Frames>(
        &mut self,
        frames: &mut F,
        by: &Subject,
        now: u64,
    ) -> Result<Answered, Error> {
        let own = self.links(by.name.index).ok_or(Error::NotWaiting)?;
        let link = own.caller();
        let rest = LifeWord::from_bits(own.rest.load(Ordering::Relaxed));
        let [pc, sp] = [&own.caller_pc, &own.caller_sp].map(|word| word.load(Ordering::Relaxed));
        if link == Link::NOBODY {
            return Err(Error::NotWaiting);
        }
        let Some(caller) = self.end_of(link) else {
            self.finish(by, rest);
            return Ok(Answered::Nobody);
        };
        if self.alarms.of(caller).is_some_and(|time| time <= now) {
            self.time_out(frames, caller);
            return Err(Error::TimedOut);
        }
        let claimed = self.lives.answered(caller, by.core);
        let subject = self.subject(caller, by.core);
        let (Ok(_), Some(subject)) = (claimed, subject) else {
            self.fail_call(frames, caller, Error::Interrupted);
            return Err(Error::NotWaiting);
        };
        self.alarms.cancel(caller);
        self.unlink_callee(caller);
        self.finish(by, rest);
        Ok(Answered::Caller { subject, pc, sp })
    }

    /// `by` has served its call, and is what it was before.
    fn finish(&mut self, by: &Subject, rest: LifeWord) {
        self.unlink_caller(by.name.index);
        self.lives.rest(by.name.index, rest);
    }

    fn unlink_caller(&self, index: u16) {
        if let Some(links) = self.links(index) {
            links.caller.store(Link::NOBODY.word(), Ordering::Relaxed);
        }
    }

    fn unlink_callee(&self, index: u16) {
        if let Some(links) = self.links(index) {
            links.callee.store(Link::NOBODY.word(), Ordering::Relaxed);
        }
    }

    /// Makes a fast link to `index`, which is about to leave its core without having answered, a slow one: its
    /// caller waits by its life word, too. What became of the caller meanwhile is left to it: gives its index if
    /// it is to stop or to die.
    pub fn untangle(&mut self, index: u16) -> Option<u16> {
        let links = self.links(index)?;
        let link = links.caller();
        if !link.is_fast() {
            return None;
        }
        let slow = Link::slow(link.word());
        links.caller.store(slow.word(), Ordering::Relaxed);
        let caller = self.end_of(slow)?;
        self.lives.waits(caller).err().map(|_| caller)
    }

    /// Ends the call that `index` waits in, which goes on behind it with `error`, if it does.
    pub(crate) fn fail_call<F: Frames>(&mut self, frames: &mut F, index: u16, error: Error) {
        let Some(callee) = self.links(index).and_then(|links| self.end_of(links.callee())) else {
            return;
        };
        self.alarms.cancel(index);
        self.unlink_callee(index);
        let Some(links) = self.links(callee) else {
            return;
        };
        let [pc, sp] = [&links.caller_pc, &links.caller_sp].map(|word| word.load(Ordering::Relaxed));
        self.unlink_caller(callee);
        if let Some(record) = self.environment(index) {
            frames.fail(PageNumber::new(record.uarea), pc, sp, error);
        }
        self.lives.burdened(index);
    }

    fn time_out<F: Frames>(&mut self, frames: &mut F, index: u16) {
        self.fail_call(frames, index, Error::TimedOut);
        self.lives.answered_by_nobody(index);
    }
}

/// What transfers do to life words, beside what [`Lives`] has for all.
impl Lives<'_> {
    /// Gives `core` to one with `epoch` that takes calls. Its flags stay, but for [`LifeWord::LIGHT`].
    ///
    /// # Errors
    /// The word of one that takes none.
    fn serve(
        self,
        index: u16,
        epoch: exopi_abi::capability::Epoch,
        core: u8,
    ) -> Result<LifeWord, LifeWord> {
        let takes = |word: LifeWord| {
            word.epoch() == epoch
                && matches!(word.state(), EnvironmentState::Ready | EnvironmentState::Asleep)
                && word.core().is_none()
                && word.has(LifeWord::LIGHT)
                && !word.has(LifeWord::DEBT | LifeWord::CLOSED)
        };
        self.change(index, |word| {
            takes(word).then(|| {
                word.to(EnvironmentState::Running)
                    .on(core)
                    .without(LifeWord::LIGHT)
            })
        })
    }
}
