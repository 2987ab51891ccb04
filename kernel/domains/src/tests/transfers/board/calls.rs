//! Calls and answers by the steps that `arch::pct` makes without the lock.

use core::sync::atomic::Ordering;

use exopi_abi::domain::{EnvironmentState, LifeWord};

use super::{At, Board, behind};
use crate::Link;
use crate::links::{Gate, Places};

impl Board<'_> {
    /// A call without the lock, all of its steps; `None` if it would go the other way.
    pub(in super::super) fn call_fast(&mut self, core: u8, gate: u64) -> Option<()> {
        self.begin_call(core, gate)?;
        let At::Claim { index, life, .. } = self.at[usize::from(core)] else {
            return None;
        };
        self.at[usize::from(core)] = At::El0;
        let found = self.claim(core, index, life)?;
        self.link(core, index, found);
        Some(())
    }

    /// The gate is read, and may call; whoever serves a fast call makes no other.
    pub(in super::super) fn begin_call(&mut self, core: u8, gate: u64) -> Option<()> {
        let own = self.ends(self.by(core).name.index);
        let gate_at = own.gates.get(gate as usize)?;
        let tail = gate_at.tail.load(Ordering::Relaxed);
        let life = gate_at.life.load(Ordering::Relaxed);
        if tail >> Gate::CALL_BIT & 1 == 0 || own.caller().is_fast() {
            return None;
        }
        let place = self.table.place(0) + (tail >> Gate::OFFSET_SHIFT);
        let index = self.table.index(place)?;
        self.at[usize::from(core)] = At::Claim { gate, index, life };
        Some(())
    }

    pub(super) fn claim(&mut self, core: u8, index: u16, life: u64) -> Option<LifeWord> {
        let word = &self.world.domains.words().get(index)?.word;
        let found = word.load(Ordering::Acquire);
        if found != life {
            return None;
        }
        let epoch = LifeWord::from_bits(life).epoch();
        let runs = LifeWord::new(epoch, EnvironmentState::Running, core);
        word.store(runs.bits(), Ordering::Release);
        Some(LifeWord::from_bits(found))
    }

    pub(super) fn link(&mut self, core: u8, index: u16, found: LifeWord) {
        let me = self.by(core).name.index;
        let (mine, its) = (self.ends(me), self.ends(index));
        let (pc, sp) = behind(me);
        its.caller.store(self.table.place(me), Ordering::Relaxed);
        its.rest.store(found.bits(), Ordering::Relaxed);
        its.caller_pc.store(pc, Ordering::Relaxed);
        its.caller_sp.store(sp, Ordering::Relaxed);
        mine.callee
            .store(self.table.place(index), Ordering::Relaxed);
        let callee = self.world.domains.subject(index, core);
        self.enters(core, Some(me), callee.expect("it was claimed"));
    }

    /// The caller is seen to wait here, with nothing that waits for it.
    pub(in super::super) fn begin_reply(&mut self, core: u8) -> Option<()> {
        let link = self.ends(self.by(core).name.index).caller();
        if !link.is_fast() || self.masked {
            return None;
        }
        let caller = self.table.index(link.place()?)?;
        let runs = LifeWord::new(self.life(caller).epoch(), EnvironmentState::Running, core);
        if self.life(caller) != runs {
            return None;
        }
        self.at[usize::from(core)] = At::Unlink { caller };
        Some(())
    }

    pub(super) fn unlink(&mut self, core: u8, caller: u16) -> u16 {
        let me = self.by(core).name.index;
        let nobody = Link::NOBODY.word();
        self.ends(me).caller.store(nobody, Ordering::Relaxed);
        self.ends(caller).callee.store(nobody, Ordering::Relaxed);
        me
    }

    /// Whether the callee was still as it was; if not, the two are linked again.
    pub(super) fn part(&mut self, core: u8, me: u16, caller: u16) -> bool {
        let own = self.ends(me);
        let rest = own.rest.load(Ordering::Relaxed);
        let epoch = LifeWord::from_bits(rest).epoch();
        let runs = LifeWord::new(epoch, EnvironmentState::Running, core);
        let word = &self
            .world
            .domains
            .words()
            .get(me)
            .expect("it is there")
            .word;
        if word.load(Ordering::Acquire) != runs.bits() {
            own.caller
                .store(self.table.place(caller), Ordering::Relaxed);
            self.ends(caller)
                .callee
                .store(self.table.place(me), Ordering::Relaxed);
            return false;
        }
        let at = (
            own.caller_pc.load(Ordering::Relaxed),
            own.caller_sp.load(Ordering::Relaxed),
        );
        self.light[usize::from(me)] = true;
        let subject = self.world.domains.subject(caller, core);
        self.returns(core, me, subject.expect("it waits here"), at);
        word.store(rest, Ordering::Release);
        true
    }
}
