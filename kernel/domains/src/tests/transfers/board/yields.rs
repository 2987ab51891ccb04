//! Directed yields by the steps that `arch::pct` makes without the lock.

use core::sync::atomic::Ordering;

use exopi_abi::domain::{EnvironmentState, LifeWord};

use super::{At, Board};
use crate::Link;
use crate::links::{Gate, Places};
use crate::tests::World;

impl Board<'_> {
    /// The gate is read, and may give the core away; whoever serves does not do that so, nor one whose turn nobody's timer
    /// ends.
    pub(in super::super) fn begin_give(&mut self, core: u8, gate: u64) -> Option<()> {
        let own = self.ends(self.by(core).name.index);
        let gate_at = own.gates.get(gate as usize)?;
        let tail = gate_at.tail.load(Ordering::Relaxed);
        let life = gate_at.life.load(Ordering::Relaxed);
        let serves = own.caller() != Link::NOBODY;
        if tail >> Gate::SCHEDULE_BIT & 1 == 0 || serves || self.masked {
            return None;
        }
        self.world.armed[usize::from(core)].filter(|end| self.now < *end)?;
        let place = self.table.place(0) + (tail >> Gate::OFFSET_SHIFT);
        let index = self.table.index(place)?;
        self.at[usize::from(core)] = At::Take { gate, index, life };
        Some(())
    }

    /// Claims one that is ready, if nothing waits for it.
    pub(super) fn take(&mut self, core: u8, index: u16, life: u64) -> bool {
        let epoch = LifeWord::from_bits(life).epoch();
        let ready = LifeWord::new(epoch, EnvironmentState::Ready, LifeWord::NOWHERE);
        let light = ready.with(LifeWord::LIGHT);
        let Some(life) = self.world.domains.words().get(index) else {
            return false;
        };
        let found = LifeWord::from_bits(life.word.load(Ordering::Acquire));
        if found != ready && found != light {
            return false;
        }
        let runs = LifeWord::new(epoch, EnvironmentState::Running, core);
        life.word.store(runs.bits(), Ordering::Release);
        let gave = core::mem::take(&mut self.light[usize::from(index)]);
        assert!(gave || !found.has(LifeWord::LIGHT), "{index} is not light");
        self.world.on[usize::from(core)] = self.world.domains.subject(index, core);
        true
    }

    /// Whether the one that yields ran here by its word, and is ready now.
    pub(super) fn leave(&mut self, core: u8, me: u16, index: u16) -> bool {
        assert_eq!(self.on(core), Some(index));
        let word = &self
            .world
            .domains
            .words()
            .get(me)
            .expect("it has the core")
            .word;
        let found = LifeWord::from_bits(word.load(Ordering::Acquire));
        self.light[usize::from(me)] = true;
        if found != LifeWord::new(found.epoch(), EnvironmentState::Running, core) {
            return false;
        }
        let ready = LifeWord::new(found.epoch(), EnvironmentState::Ready, LifeWord::NOWHERE);
        word.store(ready.with(LifeWord::LIGHT).bits(), Ordering::Release);
        true
    }

    pub(super) fn yielded(&mut self, core: u8, me: u16) {
        let World { domains, hw, .. } = &mut self.world;
        domains.yielded(hw, me, LifeWord::LIGHT, core);
        self.end_hold();
    }
}
