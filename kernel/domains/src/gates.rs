//! Gates: whom an environment has bound, by capability or as its own, to call it or to give it the core.
//!
//! A gate is made once and used by its number: who it leads to, and for what, is compared with the callee's life word
//! each time, so that one that leads to an environment that is gone leads nowhere.

use core::sync::atomic::Ordering;

use exopi_abi::Error;
use exopi_abi::capability::EnvironmentRights;
use exopi_abi::domain::{EnvironmentState, LifeWord};
use exopi_abi::transfer::GATES;
use exopi_pages::Hardware;

use crate::links::Gate;
use crate::subject::{epoch_of, lasting};
use crate::{Domains, Subject, Target};

/// A gate as it was bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) index: u16,
    /// The life word that its callee has when it rests and takes calls.
    pub(crate) life: LifeWord,
    pub(crate) tail: u64,
}

impl Domains<'_> {
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
        self.gate(by, gate)?;
        lasting(environment)?;
        let both = EnvironmentRights::CALL | EnvironmentRights::SCHEDULE;
        let (rights, badge) = match environment {
            Target::Verified(verified) => {
                let rights: EnvironmentRights = verified.rights()?;
                let badge = verified.badge().map_or(0, |badge| badge.get().into());
                (rights & both, badge)
            }
            _ => (both, 0),
        };
        if rights.is_empty() {
            return Err(Error::MissingRight);
        }
        let (index, record) = self.live_environment(by, environment, EnvironmentRights::empty())?;
        let epoch = epoch_of(record.epoch);
        let accepts = LifeWord::new(epoch, EnvironmentState::Asleep, LifeWord::NOWHERE);
        let offset = self.places.place(index) - self.places.place(0);
        let bit = |right, bit: u32| u64::from(rights.contains(right)) << bit;
        let tail = offset << Gate::OFFSET_SHIFT
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

    /// Gives the caller's core away as the row `gate_yield` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoGate`], [`Error::MissingRight`], [`Error::Stale`],
    /// [`Error::Indebted`] at the time `now`, in ticks, [`Error::NotReady`].
    pub fn gate_yield(&mut self, by: &Subject, gate: u64, now: u64) -> Result<(), Error> {
        let bound = self.through(by, gate, Gate::SCHEDULE_BIT)?;
        self.forgive(bound.index, now);
        let word = self.life(bound.index);
        if word.epoch() != bound.life.epoch() || word.state() == EnvironmentState::Dying {
            return Err(Error::Stale);
        }
        if word.has(LifeWord::DEBT) {
            return Err(Error::Indebted);
        }
        self.yield_core(by, Some(bound.index), now)
    }

    /// What is left to do when `core` went, without the lock, from the environment at `index` to another one that it
    /// claimed. It has put away all that is kept of the first one, charged its time, and made it ready, unless it was
    /// to stop, to die or to hear something: then it has the core by its word still, and leaves it now, with `flags`.
    /// If it is ready, other cores where it has slices are told.
    pub fn yielded<H: Hardware>(&mut self, hw: &mut H, index: u16, flags: u64, core: u8) {
        if self.life(index).core() != Some(core) {
            return self.tell_cores(index, core);
        }
        let _ = self.lives.give_up(index, EnvironmentState::Ready);
        self.depart(hw, index, flags, core);
    }

    fn gate(&self, by: &Subject, gate: u64) -> Result<&Gate, Error> {
        let place = usize::try_from(gate).ok().filter(|place| *place < GATES);
        let links = self.links(by.name.index);
        let gate = place.and_then(|place| links?.gates.get(place));
        gate.ok_or(Error::NoGate)
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
        let place = self.places.place(0) + (tail >> Gate::OFFSET_SHIFT);
        let index = self.places.index(place).ok_or(Error::NoGate)?;
        Ok(Bound { index, life, tail })
    }

    /// Whom the caller's gate leads to, for one of the uses that it was bound for: name and badge.
    pub(crate) fn through(&self, by: &Subject, gate: u64, bit: u32) -> Result<Bound, Error> {
        let bound = self.bound(by, gate)?;
        match bound.tail >> bit & 1 {
            0 => Err(Error::MissingRight),
            _ => Ok(bound),
        }
    }
}
