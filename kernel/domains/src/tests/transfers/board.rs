//! A machine that makes transfers as the kernel does: under the lock, and by the steps that `arch::pct` makes without it.
//!
//! Beside it a naive account: who waits for whom, and who has given its core away itself. Each transfer is checked
//! against it as it is made.

mod calls;
mod yields;

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use core::sync::atomic::Ordering;

use exopi_abi::capability::Kind;
use exopi_abi::domain::{EnvironmentState, LifeWord, ObjectName};
use exopi_abi::{Error, PageNumber};

use crate::links::{Places, Table};
use crate::tests::{Call, Named, Storage, World};
use crate::{Alarm, Alarms, Answered, Behind, Failed, Left, Links, Subject, Target};

/// Memory of all tables.
pub(super) struct Memory {
    storage: Storage,
    links: Table,
    alarms: Vec<Alarm>,
    order: Vec<u16>,
}

impl Memory {
    pub(super) fn new(environments: usize) -> Self {
        Self {
            storage: Storage::new(32, 2, 2, environments),
            links: Table::of(environments),
            alarms: vec![Alarm::NONE; environments],
            order: vec![0; Alarms::order_length(environments)],
        }
    }
}

/// Where the core goes with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Caller(u16),
    Nobody,
}

/// Where a core is between two steps that it makes without the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// At EL0, or idle.
    El0,
    /// It has read the gate.
    Claim { gate: u64, index: u16, life: u64 },
    /// It has claimed the callee, whose word was this.
    Link { index: u16, found: u64 },
    /// It has seen that the caller waits here.
    Unlink { caller: u16 },
    /// It has unlinked the two, and is in the caller's space.
    Part { me: u16, caller: u16 },
    /// It has read the gate by which it is given away.
    Take { gate: u64, index: u16, life: u64 },
    /// It has claimed whom it is given to, and is in that one's space.
    Yield { me: u16, index: u16 },
    /// The one that yields is ready, but for who is to be told.
    Tell { me: u16 },
}

pub(super) struct Board<'m> {
    pub(super) world: World<'m>,
    pub(super) table: &'m Table,
    pub(super) names: Vec<ObjectName>,
    pub(super) at: [At; 4],
    pub(super) failed: Vec<Failed>,
    /// Whom each one waits for.
    waits: BTreeMap<u16, u16>,
    /// Who has given its core away itself, and was not entered since.
    light: Vec<bool>,
    pub(super) now: u64,
    pub(super) masked: bool,
    pub(super) steps: bool,
    /// Whether the last answer said that a step is due.
    pub(super) stepped: bool,
}

/// Where an environment goes on behind a call.
pub(super) fn behind(index: u16) -> (u64, u64) {
    (0x1000 + u64::from(index), 0x2000 + u64::from(index))
}

impl<'m> Board<'m> {
    /// The first environment on core 0, and others in its space that are stopped.
    pub(super) fn new(memory: &'m mut Memory, cores: u8, environments: u16) -> Self {
        let alarms = Alarms::new(&mut memory.alarms, &mut memory.order);
        let links = &memory.links;
        let world = World::linked(&mut memory.storage, cores, Some((links, alarms)));
        let first = world.on[0].expect("it runs").name;
        let mut board = Self {
            world,
            table: links,
            names: vec![first],
            at: [At::El0; 4],
            failed: Vec::new(),
            waits: BTreeMap::new(),
            light: vec![false; usize::from(environments)],
            now: 0,
            masked: false,
            steps: false,
            stepped: false,
        };
        for index in 1..environments {
            let name = board.world.environment(0, Named::Own, index.into());
            assert_eq!(name.index, index);
            board.names.push(name);
        }
        board
    }

    pub(super) fn by(&self, core: u8) -> Subject {
        self.world.on[usize::from(core)].expect("somebody runs")
    }

    pub(super) fn on(&self, core: u8) -> Option<u16> {
        self.world.on[usize::from(core)].map(|by| by.name.index)
    }

    pub(super) fn life(&self, index: u16) -> LifeWord {
        self.world.domains.life(index)
    }

    pub(super) fn told(&self) -> u8 {
        self.world.told
    }

    fn ends(&self, index: u16) -> &'m Links {
        self.table.links(index).expect("it has links")
    }

    /// What the kernel does at the end of each hold; and what has become of calls is noted.
    pub(super) fn end_hold(&mut self) {
        while let Some(failed) = self.world.domains.take_failed() {
            let index = self.index_of(failed.uarea);
            assert!(self.waits.remove(&index).is_some(), "{index} hears twice");
            let (pc, sp) = behind(index);
            assert_eq!(
                (failed.pc, failed.sp),
                (pc, sp),
                "{index} goes on elsewhere"
            );
            self.failed.push(failed);
        }
        self.world.told |= self.world.domains.take_interrupts();
        let gone = |index: &u16| self.world.domains.life(*index).is_free();
        let gone: Vec<u16> = self.waits.keys().copied().filter(gone).collect();
        for index in gone {
            self.waits.remove(&index);
        }
    }

    fn index_of(&self, uarea: PageNumber) -> u16 {
        let has = |index: &u16| {
            let record = self.world.domains.environment(*index);
            record.is_some_and(|record| record.uarea == uarea.get())
        };
        let found = (0..self.names.len() as u16).find(has);
        found.expect("who hears of a failure is there")
    }

    pub(super) fn bind(&mut self, core: u8, gate: u64, named: Named) -> Result<(), Error> {
        let by = self.by(core);
        let (target, proof) = self.world.named(&by, named, Kind::Environment);
        let target = proof.as_ref().map_or(target, Target::Verified);
        self.world.domains.gate_bind(&by, gate, target)
    }

    pub(super) fn unbind(&mut self, core: u8, gate: u64) -> Result<(), Error> {
        let by = self.by(core);
        self.world.domains.gate_unbind(&by, gate)
    }

    /// Gives the core away through a gate.
    pub(super) fn give(&mut self, core: u8, gate: u64) -> Result<(), Error> {
        let by = self.by(core);
        self.world.domains.gate_yield(&by, gate, self.now)?;
        self.interrupt(core);
        Ok(())
    }

    /// Runs one that is stopped on a core that is free, and has it wait for calls.
    pub(super) fn rest(&mut self, index: u16) {
        self.run(index, 1);
        assert_eq!(self.reply(1), Ok(Outcome::Nobody));
    }

    pub(super) fn run(&mut self, index: u16, core: u8) {
        let name = Named::Name(self.names[usize::from(index)]);
        assert_eq!(self.world.run(0, name, core.into()).error(), None);
        self.dispatch(core);
        assert_eq!(self.on(core), Some(index));
    }

    pub(super) fn dispatch(&mut self, core: u8) {
        self.world.dispatch(core);
        if let Some(index) = self.on(core) {
            assert!(!self.waits.contains_key(&index), "{index} waits and runs");
            self.light[usize::from(index)] = false;
        }
    }

    /// One that is ready has its turn on a core that is free.
    pub(super) fn enter(&mut self, core: u8, index: u16) {
        self.slice(index, core);
        self.dispatch(core);
        assert_eq!(self.on(core), Some(index));
    }

    /// One that is stopped or suspended is ready.
    pub(super) fn revive(&mut self, index: u16) {
        let words = self.world.domains.words();
        let _ = words.stop(index);
        assert!(words.run(index).is_ok());
        self.slice(index, 0);
    }

    /// Everybody has a slice on each core.
    pub(super) fn spread(&mut self) {
        for index in 0..self.names.len() as u16 {
            for core in 0..self.world.cores {
                self.slice(index, core);
            }
        }
    }

    /// One that is ready has a slice on `core`, which is told.
    fn slice(&mut self, index: u16, core: u8) {
        let domains = &mut self.world.domains;
        let record = domains.environment(index).expect("it is there");
        if record.slices[usize::from(core)] == 0 {
            let by = domains.subject(index, core).expect("it is there");
            let made = domains.slice_alloc(&by, core.into(), u64::MAX, Target::Own);
            assert!(made.is_ok(), "{made:?}");
        } else {
            domains.tell_cores(index, u8::MAX);
        }
        self.world.told |= self.world.domains.take_interrupts();
    }

    pub(super) fn interrupt(&mut self, core: u8) {
        self.world.interrupt(core);
        self.end_hold();
    }

    /// Waits for its next turn.
    pub(super) fn give_up(&mut self, core: u8) {
        let by = self.by(core);
        assert_eq!(self.world.domains.yield_core(&by, None, self.now), Ok(()));
        self.interrupt(core);
    }

    pub(super) fn stop(&mut self, core: u8, index: u16) -> Result<(), Error> {
        let name = Named::Name(self.names[usize::from(index)]);
        let reply = self.world.call(core, Call::Stop(name));
        self.end_hold();
        reply.error().map_or(Ok(()), Err)
    }

    pub(super) fn stop_own(&mut self, core: u8) {
        self.world.call(core, Call::Stop(Named::Own));
        self.end_hold();
    }

    pub(super) fn destroy(&mut self, core: u8, index: u16) {
        let name = Named::Name(self.names[usize::from(index)]);
        self.world.call(core, Call::Destroy(name));
        self.end_hold();
    }

    pub(super) fn destroy_own(&mut self, core: u8) {
        self.world.call(core, Call::Destroy(Named::Own));
        self.end_hold();
    }

    pub(super) fn suspend(&mut self, core: u8) -> bool {
        let told = self.world.suspend(core);
        self.end_hold();
        told
    }

    /// A new one in the place of one that is gone.
    pub(super) fn create(&mut self, index: u16) -> ObjectName {
        self.dispatch(0);
        let name = self.world.environment(0, Named::Own, index.into());
        assert_eq!(name.index, index);
        self.names[usize::from(index)] = name;
        self.light[usize::from(index)] = false;
        name
    }

    pub(super) fn post(&mut self, index: u16) {
        self.world.domains.post(self.names[usize::from(index)], 1);
        self.end_hold();
    }

    pub(super) fn set_flag(&mut self, index: u16, flag: u64) {
        let life = self.world.domains.words().get(index).expect("it is there");
        life.word.fetch_or(flag, Ordering::Relaxed);
    }

    pub(super) fn clear_flag(&mut self, index: u16, flag: u64) {
        let life = self.world.domains.words().get(index).expect("it is there");
        life.word.fetch_and(!flag, Ordering::Relaxed);
    }

    /// What the environment at `index` was told of a call that has failed.
    pub(super) fn failure(&mut self, index: u16) -> Option<Error> {
        let uarea = self.world.domains.environment(index)?.uarea;
        let found = self
            .failed
            .iter()
            .position(|one| one.uarea.get() == uarea)?;
        Error::from_code(self.failed.remove(found).code as u16)
    }

    /// A message enters `callee`.
    fn enters(&mut self, core: u8, caller: Option<u16>, callee: Subject) {
        let index = callee.name.index;
        let light = core::mem::take(&mut self.light[usize::from(index)]);
        assert!(light, "{index} has not given its core away itself");
        if let Some(caller) = caller {
            let other = self.waits.insert(caller, index);
            assert_eq!(other, None, "{caller} waits twice");
        }
        self.world.on[usize::from(core)] = Some(callee);
    }

    /// An answer reaches `caller`.
    fn returns(&mut self, core: u8, me: u16, caller: Subject, at: (u64, u64)) {
        let index = caller.name.index;
        assert_eq!(self.waits.remove(&index), Some(me), "{index} hears of {me}");
        assert_eq!(at, behind(index), "{index} goes on elsewhere");
        self.world.on[usize::from(core)] = Some(caller);
    }

    /// The core has another environment: it looks again who else could run.
    fn set_timer(&mut self, core: u8) {
        let by = self.by(core);
        self.world.armed[usize::from(core)] = self.world.domains.deadline(&by, self.now);
    }

    /// A call under the lock.
    pub(super) fn call(&mut self, core: u8, gate: u64, deadline: u64) -> Result<(), Error> {
        let by = self.by(core);
        let begun = self.world.domains.pct_begin(&by, gate, self.now)?;
        let (pc, sp) = behind(by.name.index);
        let behind = Behind {
            pc,
            sp,
            steps: self.steps,
        };
        let World { domains, hw, .. } = &mut self.world;
        let linked = domains.pct_link(hw, &by, &begun, behind, deadline);
        if linked.is_ok() {
            self.enters(core, Some(by.name.index), begun.callee);
        }
        self.set_timer(core);
        self.end_hold();
        linked
    }

    /// A one-way message under the lock.
    pub(super) fn send(&mut self, core: u8, gate: u64) -> Result<(), Error> {
        let by = self.by(core);
        let begun = self.world.domains.pct_begin(&by, gate, self.now)?;
        self.world.domains.pct_link_one_way(&begun);
        self.enters(core, None, begun.callee);
        let World { domains, hw, .. } = &mut self.world;
        domains.pct_sent(hw, &by);
        self.set_timer(core);
        self.end_hold();
        Ok(())
    }

    /// An answer under the lock.
    pub(super) fn reply(&mut self, core: u8) -> Result<Outcome, Error> {
        let by = self.by(core);
        let me = by.name.index;
        let World { domains, hw, .. } = &mut self.world;
        let answered = domains.pct_reply(hw, &by, self.masked, self.now);
        let outcome = match answered {
            Err(error) => Err(error),
            Ok(Answered::Caller {
                subject,
                pc,
                sp,
                steps,
                departs,
            }) => {
                self.stepped = steps;
                self.light[usize::from(me)] = true;
                self.returns(core, me, subject, (pc, sp));
                if departs {
                    let World { domains, hw, .. } = &mut self.world;
                    domains.departed(hw, me);
                }
                self.set_timer(core);
                Ok(Outcome::Caller(subject.name.index))
            }
            Ok(Answered::Nobody { departs }) => {
                self.light[usize::from(me)] = true;
                self.world.on[usize::from(core)] = None;
                let World { domains, hw, .. } = &mut self.world;
                if departs {
                    let how = Left {
                        now: self.now,
                        flags: 0,
                    };
                    domains.left(hw, &by, how);
                } else {
                    domains.vacated(&by, self.now);
                }
                self.world.left |= 1 << core;
                Ok(Outcome::Nobody)
            }
        };
        self.end_hold();
        outcome
    }

    /// The next step of a core that is between two.
    pub(super) fn advance(&mut self, core: u8) {
        let place = usize::from(core);
        let at = core::mem::replace(&mut self.at[place], At::El0);
        match at {
            At::El0 => {}
            At::Claim { gate, index, life } => match self.claim(core, index, life) {
                Some(found) => {
                    self.at[place] = At::Link {
                        index,
                        found: found.bits(),
                    };
                }
                None => {
                    let _ = self.call(core, gate, 0);
                }
            },
            At::Link { index, found } => self.link(core, index, LifeWord::from_bits(found)),
            At::Unlink { caller } => {
                let me = self.unlink(core, caller);
                self.at[place] = At::Part { me, caller };
            }
            At::Part { me, caller } => {
                if !self.part(core, me, caller) {
                    let _ = self.reply(core);
                }
            }
            At::Take { gate, index, life } => {
                let me = self.by(core).name.index;
                if self.take(core, index, life) {
                    self.at[place] = At::Yield { me, index };
                } else {
                    let _ = self.give(core, gate);
                }
            }
            At::Yield { me, index } => {
                if self.leave(core, me, index) {
                    self.at[place] = At::Tell { me };
                } else {
                    self.yielded(core, me);
                }
            }
            At::Tell { me } => {
                let homes = self.ends(me).homes.load(Ordering::Relaxed);
                if homes & !(1 << core) != 0 {
                    self.yielded(core, me);
                }
            }
        }
    }

    /// What must hold: all that the kernel's records say, if no core is between two steps; and always, that nobody
    /// runs on two cores, or runs and waits.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn check(&self) -> Result<(), std::string::String> {
        let on: Vec<u16> = (0..4).filter_map(|core| self.on(core)).collect();
        for index in &on {
            if on.iter().filter(|other| *other == index).count() != 1 {
                return Err(std::format!("{index} runs twice"));
            }
            if self.waits.contains_key(index) {
                return Err(std::format!("{index} runs and waits"));
            }
        }
        if self.at != [At::El0; 4] {
            return Ok(());
        }
        for index in 0..self.names.len() as u16 {
            let waits = self.world.domains.callee_of(index);
            if waits != self.waits.get(&index).copied() {
                return Err(std::format!(
                    "{index} waits for {waits:?}: {:?}",
                    self.waits
                ));
            }
            // Whoever waits on a core and is wanted, the core knows.
            let word = self.life(index);
            // Whoever could run, the cores know of where it has slices.
            let ready = self.world.domains.words().is_ready(index);
            let record = self.world.domains.environment(index);
            let homes = record.filter(|_| ready).map_or([0; 4], |it| it.slices);
            for (core, _) in (0..4).zip(homes).filter(|(_, count)| *count != 0) {
                let knows = (self.world.told | self.world.left) >> core & 1 != 0;
                if !knows && !self.world.is_armed(core) {
                    return Err(std::format!("core {core} has no timer for {index}"));
                }
            }
            let wanted = waits.is_some() && word.core().is_some();
            let wanted = wanted && word.state() != EnvironmentState::Running;
            if let Some(core) = word.core().filter(|_| wanted)
                && self.world.told >> core & 1 == 0
            {
                return Err(std::format!("core {core} does not know of {index}"));
            }
        }
        self.world.check()
    }
}
