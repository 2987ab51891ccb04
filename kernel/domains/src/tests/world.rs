//! A machine whose cores run environments: what a kernel does around [`Domains`], done the simplest way.

use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use exopi_abi::capability::{Epoch, Kind};
use exopi_abi::domain::{
    AccountRecord, EnvironmentRecord, Life, ObjectName, Resource, SpaceRecord,
};
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::page::{FrameType, Owner, PageRecord};
use exopi_abi::revocation::RevocationRecord;
use exopi_abi::slice::{MAX_SLICES, SliceRecord};
use exopi_abi::{PageNumber, PageSelect, Reply, TableLevel};
use exopi_cap::Verified;
use exopi_pages::Pages;
use exopi_pages::model::Machine;
use exopi_slices::Lengths;

use super::{Call, EXPOSED, FIRST_AT, Named, at, page};
use crate::links::Table;
use crate::{Alarm, Alarms, Domains, Left, Next, Revocations, Subject, Tables, Target};

/// Slices of 100 ticks, and 5 to leave in.
pub(super) const LENGTHS: Lengths = Lengths::of_ticks(100, 5);
/// A resource that tests pretend can be asked back.
pub(super) const PRETENDED: Resource = Resource::Environments;

/// Memory of the tables.
#[derive(Clone)]
pub(super) struct Storage {
    pub(super) pages: Vec<PageRecord>,
    pub(super) accounts: Vec<AccountRecord>,
    pub(super) spaces: Vec<SpaceRecord>,
    pub(super) environments: Vec<EnvironmentRecord>,
    pub(super) lives: Vec<Life>,
    pub(super) revocations: Vec<RevocationRecord>,
    pub(super) message_rings: Vec<MessageRingRecord>,
    pub(super) deadlines: Vec<Alarm>,
    pub(super) order: Vec<u16>,
    pub(super) slices: Vec<SliceRecord>,
}

impl Storage {
    /// Tables over it, with the frames that `pages` has, requests, and rings.
    pub(super) fn tables<'m>(
        &'m mut self,
        pages: impl FnOnce(&'m mut [PageRecord]) -> Pages<'m>,
    ) -> (Tables<'m>, Revocations<'m>, &'m mut [MessageRingRecord]) {
        let tables = Tables {
            pages: pages(&mut self.pages),
            accounts: &mut self.accounts,
            spaces: &mut self.spaces,
            environments: &mut self.environments,
            lives: &self.lives,
            slices: &mut self.slices,
        };
        let deadlines = Alarms::new(&mut self.deadlines, &mut self.order);
        let revocations = Revocations::new(&mut self.revocations, deadlines);
        (tables, revocations, &mut self.message_rings)
    }

    pub(super) fn new(frames: u32, accounts: usize, spaces: usize, environments: usize) -> Self {
        Self {
            pages: vec![PageRecord::KERNEL; frames as usize],
            accounts: vec![AccountRecord::default(); accounts],
            spaces: vec![SpaceRecord::FREE; spaces],
            environments: vec![EnvironmentRecord::FREE; environments],
            lives: vec![Life::default(); environments],
            revocations: vec![RevocationRecord::default(); environments],
            message_rings: vec![MessageRingRecord::NONE; environments],
            deadlines: vec![Alarm::NONE; environments],
            order: vec![0; Alarms::order_length(environments)],
            slices: vec![SliceRecord::FREE; MAX_SLICES],
        }
    }
}

/// A machine with its cores, and what its kernel keeps besides [`Domains`].
pub(super) struct World<'m> {
    pub(super) hw: Machine,
    pub(super) domains: Domains<'m>,
    /// Who runs on each core, as the kernel has it.
    pub(super) on: [Option<Subject>; 4],
    /// Cores that were told to look again, and have not yet.
    pub(super) told: u8,
    /// For when each core's timer is set to end a turn.
    pub(super) armed: [Option<u64>; 4],
    pub(super) cores: u8,
    /// Spaces that the machine walks: ASID and epoch.
    pub(super) attached: BTreeMap<u16, u64>,
    pub(super) frames: u32,
    /// The time, in ticks.
    pub(super) now: u64,
    /// Cores that were left or interrupted, and have not looked who is next.
    pub(super) left: u8,
}

impl<'m> World<'m> {
    /// So many cores, and the first environment on core 0, with tables around its u-area.
    pub(super) fn new(storage: &'m mut Storage, cores: u8) -> Self {
        Self::linked(storage, cores, None)
    }

    /// The same with links between environments, and alarms.
    pub(super) fn linked(
        storage: &'m mut Storage,
        cores: u8,
        links: Option<(&'m Table, Alarms<'m>)>,
    ) -> Self {
        let frames = storage.pages.len() as u32;
        let mut hw = Machine::new(frames);
        let (tables, revocations, rings) = storage.tables(|records| {
            let mut pages = Pages::new(records, 2);
            let added = pages.add_free(page(1), u64::from(frames) - 1);
            assert_eq!(added.unless_stopped(), Ok(u64::from(frames) - 1));
            pages
        });
        let mut domains = Domains::none();
        domains.set_tables(tables, LENGTHS, cores);
        domains.set_revocations(revocations.and(PRETENDED));
        domains.set_message_rings(rings);
        if let Some((places, alarms)) = links {
            domains.set_links(places, alarms);
        }
        let first = domains.make_first_space(&mut hw, EXPOSED);
        let first = first.expect("there is room");
        let mut world = Self {
            hw,
            domains,
            on: [Some(first), None, None, None],
            told: 0,
            armed: [None; 4],
            cores,
            attached: BTreeMap::new(),
            frames,
            now: 0,
            left: 0,
        };
        world.attach();
        world.furnish(0, Named::Own, FIRST_AT);
        let uarea = world.alloc(0);
        let (domains, hw) = (&mut world.domains, &mut world.hw);
        let first = domains.make_first_environment(hw, &first, uarea, at(FIRST_AT), 0);
        let first = first.expect("the place is free");
        world.on[0] = Some(first);
        assert_eq!(world.domains.deadline(&first, 0), None);
        assert_eq!(world.check(), Ok(()));
        world
    }

    /// Inserts the tables for what is around `address`.
    pub(super) fn furnish(&mut self, core: u8, space: Named, address: u64) {
        for level in [TableLevel::Two, TableLevel::Three] {
            let (table, links) = (self.alloc(core), self.alloc(core));
            let reply = self.call(
                core,
                Call::TableInsert(space, at(address), level, table, links),
            );
            assert_eq!(reply.error(), None);
        }
    }

    /// A page for whoever runs on `core`.
    pub(super) fn alloc(&mut self, core: u8) -> PageNumber {
        let reply = self.call(core, Call::Alloc(PageSelect::Any, 1));
        assert_eq!(reply.error(), None);
        page(reply.value as u32)
    }

    /// An account of the caller's with this allowance, and up to 8 slices.
    pub(super) fn account(&mut self, core: u8, allowance: [u32; 4]) -> ObjectName {
        let reply = self.call(core, Call::AccountCreate(allowance));
        assert_eq!(reply.error(), None);
        let name = ObjectName::from_word(reply.value);
        let parent = self.domains.account(name.index).expect("it is new").parent;
        let parent = self.domains.account(parent).expect("it is there");
        let [allowed, used] =
            [parent.allowance, parent.used].map(|it| it[Resource::Slices as usize]);
        let slices = (allowed - used).min(8);
        let allow = Call::Allow(Named::Name(name), Resource::Slices, slices);
        assert_eq!(self.call(core, allow).error(), None);
        name
    }

    /// Lets an environment run on core `on`, in a slice that it has there or in a new one.
    pub(super) fn run(&mut self, core: u8, environment: Named, on: u64) -> Reply {
        let by = self.on[usize::from(core)].expect("somebody runs");
        let index = match environment {
            Named::Own => by.name.index,
            Named::Index(index) => index,
            Named::Name(name) => name.index,
            Named::Cap(cap) => cap.index as u16,
        };
        let record = self.domains.environment(index);
        if record.is_none_or(|record| record.slices[on as usize % 4] == 0) {
            let reply = self.call(core, Call::SliceAlloc(on, u64::MAX, environment));
            if reply.error().is_some() {
                return reply;
            }
        }
        self.call(core, Call::Run(environment))
    }

    /// A space of the caller's, with tables around [`FIRST_AT`].
    pub(super) fn space(&mut self, core: u8) -> ObjectName {
        let root = self.alloc(core);
        let reply = self.call(core, Call::SpaceCreate(root));
        assert_eq!(reply.error(), None);
        let name = ObjectName::from_word(reply.value);
        self.furnish(core, Named::Name(name), FIRST_AT);
        name
    }

    /// An environment of the caller's in `space`, with its u-area in place `place` after [`FIRST_AT`].
    pub(super) fn environment(&mut self, core: u8, space: Named, place: u64) -> ObjectName {
        let uarea = self.alloc(core);
        let address = at(FIRST_AT + place * 4096);
        let reply = self.call(core, Call::EnvCreate(space, uarea, address));
        assert_eq!(reply.error(), None);
        ObjectName::from_word(reply.value)
    }

    /// An environment of the caller's in a space of its own.
    pub(super) fn alone(&mut self, core: u8) -> ObjectName {
        let space = self.space(core);
        self.environment(core, Named::Name(space), 0)
    }

    /// A child account with an environment in a space of its own, which runs on `core`, where nobody does.
    pub(super) fn tenant(&mut self, allowance: [u32; 4], core: u8) -> (ObjectName, ObjectName) {
        let account = self.account(0, allowance);
        assert_eq!(
            self.call(0, Call::AccountBind(Named::Name(account)))
                .error(),
            None
        );
        let environment = self.alone(0);
        let reply = self.run(0, Named::Name(environment), core.into());
        assert_eq!(reply.error(), None);
        assert_eq!(self.call(0, Call::AccountBind(Named::Own)).error(), None);
        self.dispatch(core);
        assert_eq!(
            self.on[usize::from(core)].map(|by| by.name),
            Some(environment)
        );
        (account, environment)
    }

    /// Makes a call by whoever runs on `core`, and does what the kernel does at its end.
    pub(super) fn call(&mut self, core: u8, call: Call) -> Reply {
        let by = self.on[usize::from(core)].expect("somebody runs");
        let reply = self.make(&by, call);
        self.attach();
        let told = self.domains.take_interrupts();
        self.told |= told;
        if matches!(call, Call::AccountBind(_)) {
            self.on[usize::from(core)] = self.domains.subject(by.name.index, core).or(Some(by));
        }
        let may_leave = matches!(call, Call::Stop(_) | Call::Yield(_) | Call::Destroy(_));
        if may_leave && reply.error().is_none() || told & 1 << core != 0 {
            self.interrupt(core);
        }
        reply
    }

    /// The kernel looks at `core` again.
    pub(super) fn interrupt(&mut self, core: u8) {
        self.told &= !(1 << core);
        let Some(by) = self.on[usize::from(core)] else {
            self.left |= 1 << core;
            return;
        };
        if self.domains.caller_is_wanted(by.name.index) {
            self.domains.untangle(&mut self.hw, by.name.index);
        }
        if self.domains.runs(&by) {
            let end = self.domains.deadline(&by, self.now);
            self.armed[usize::from(core)] = end;
            if end.is_none_or(|end| end > self.now) {
                return;
            }
            self.domains.preempt(&by);
        }
        self.leave(by);
    }

    fn leave(&mut self, by: Subject) {
        self.on[usize::from(by.core)] = None;
        self.left |= 1 << by.core;
        let how = Left {
            now: self.now,
            flags: 0,
        };
        self.domains.untangle(&mut self.hw, by.name.index);
        self.domains.left(&mut self.hw, &by, how);
        self.attach();
        self.told |= self.domains.take_interrupts();
    }

    /// A core that nobody has takes the next one.
    pub(super) fn dispatch(&mut self, core: u8) {
        if self.on[usize::from(core)].is_none() {
            self.told &= !(1 << core);
            self.left &= !(1 << core);
            self.on[usize::from(core)] = loop {
                match self.domains.next(core, self.now) {
                    Next::Run(next) => break Some(next.subject),
                    Next::Again => {}
                    Next::Idle => break None,
                }
            };
            if let Some(by) = self.on[usize::from(core)] {
                // The rest of a turn may go to one that is to leave by now; the interrupt is under way.
                self.told |= u8::from(!self.domains.runs(&by)) << core;
                self.armed[usize::from(core)] = self.domains.deadline(&by, self.now);
            }
        }
    }

    /// Whether somebody runs on `core`, and its timer is set to end the turn.
    pub(super) fn is_armed(&self, core: u8) -> bool {
        let place = usize::from(core);
        self.on[place].is_some() && self.armed[place].is_some()
    }

    /// Whoever runs on `core` takes an upcall that cannot be delivered.
    pub(super) fn suspend(&mut self, core: u8) -> bool {
        let by = self.on[usize::from(core)].expect("somebody runs");
        let told = self.domains.suspended(&by);
        self.leave(by);
        told
    }

    /// An idle core takes something apart.
    pub(super) fn sweep(&mut self) -> bool {
        let swept = self.domains.sweep(&mut self.hw);
        self.attach();
        self.told |= self.domains.take_interrupts();
        swept
    }

    /// Everything that can be done without another call.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let told = self.told;
            (0..self.cores)
                .filter(|core| told & 1 << core != 0)
                .for_each(|core| self.interrupt(core));
            if !self.sweep() && self.told == 0 {
                return;
            }
        }
        panic!("it has no end");
    }

    /// What `named` stands for; if it is a capability, the proof takes its place.
    pub(super) fn named(
        &self,
        by: &Subject,
        named: Named,
        kind: Kind,
    ) -> (Target<'static>, Option<Verified>) {
        let epoch = |index| match kind {
            Kind::Account => self.domains.account(index).map(|record| record.epoch),
            Kind::Space => self.domains.space(index).map(|record| record.epoch),
            Kind::Slice => {
                let record = self.domains.slice_records().get(usize::from(index));
                record.map(|record| record.epoch)
            }
            _ => self.domains.environment(index).map(|record| record.epoch),
        };
        match named {
            Named::Own => (Target::Own, None),
            Named::Index(index) => {
                let epoch = Epoch::from_low_bits(epoch(index).unwrap_or_default());
                (Target::Owned(ObjectName { index, epoch }), None)
            }
            Named::Name(name) => (Target::Owned(name), None),
            Named::Cap(cap) => (Target::Own, Some(cap.verified(by.name.identity()))),
        }
    }

    /// Lets the machine walk the spaces that there are, and no others.
    fn attach(&mut self) {
        let spaces = (0..1024).filter_map(|index| self.domains.space(index));
        let now: BTreeMap<u16, (u64, u32)> = spaces
            .map(|record| (record.asid, (record.epoch, record.root)))
            .collect();
        let gone = |asid: &u16, epoch: &u64| now.get(asid).is_none_or(|space| space.0 != *epoch);
        let gone: Vec<u16> = self
            .attached
            .iter()
            .filter(|(a, e)| gone(a, e))
            .map(|(a, _)| *a)
            .collect();
        for asid in gone {
            self.hw.detach(asid);
            self.attached.remove(&asid);
        }
        for (asid, (epoch, root)) in now {
            if self.attached.insert(asid, epoch).is_none() {
                self.hw.attach(asid, page(root));
            }
        }
    }

    /// What must hold after each call.
    ///
    /// # Errors
    /// What does not.
    pub(super) fn check(&self) -> Result<(), String> {
        // Under Miri a recount takes seconds, and what it is there to look at is the operations.
        if cfg!(miri) {
            return Ok(());
        }
        self.hw.settled()?;
        let invariants = self.domains.check_invariants(&self.hw);
        invariants.map_err(|violation| format!("{violation:?}"))?;
        for core in 0..self.cores {
            let runs = self.on[usize::from(core)];
            let told = self.told & 1 << core != 0;
            // Nobody is asked to leave, or kept waiting, without its core being told.
            if let Some(by) = runs
                && !self.domains.runs(&by)
                && !told
            {
                return Err(format!("core {core} does not know that {by:?} must leave"));
            }
            if let Some(by) = runs
                && (self.domains.subject(by.name.index, core) != Some(by))
            {
                return Err(format!("core {core} keeps {by:?}"));
            }
        }
        self.check_told()?;
        // Whatever some core remembers, EL0 writes plain memory and u-areas alone.
        for (asid, at, reached) in self.hw.translations() {
            let kind = self
                .domains
                .pages
                .record(reached.frame)
                .map(|record| record.kind);
            let memory = matches!(kind, Some(FrameType::Plain | FrameType::UArea));
            if reached.write && !memory {
                return Err(format!("{asid}:{at:x} reaches {reached:?}, {kind:?}"));
            }
        }
        Ok(())
    }

    /// Who could run on a core that is idle, or has no timer, has had it told.
    fn check_told(&self) -> Result<(), String> {
        for core in 0..self.cores {
            let place = self.domains.core(core).ok_or("no core")?;
            let looks = self.told & 1 << core != 0;
            let waits = place.alone || self.on[usize::from(core)].is_none();
            let ready = (0..64).find(|index| {
                let record = self.domains.environment(*index);
                record.is_some_and(|record| record.slices[usize::from(core)] != 0)
                    && self.domains.words().is_ready(*index)
            });
            // One that has just left is followed by the next without anybody's being told.
            let left = self.left & 1 << core != 0;
            if let Some(index) = ready.filter(|_| waits && !looks && !left) {
                return Err(format!("core {core} was not told of {index}"));
            }
        }
        Ok(())
    }

    /// The account at `index`, as an owner.
    pub(super) fn owner(&self, index: u16) -> Owner {
        let epoch = self.domains.account(index).map_or(0, |record| record.epoch);
        Owner::new(index, Epoch::from_low_bits(epoch))
    }

    /// What each account has used, by index, and how many frames are free.
    pub(super) fn counters(&self) -> (Vec<(u16, [u32; Resource::COUNT])>, u64) {
        let used = |index| Some((index, self.domains.account(index)?.used));
        (
            (0..1024).filter_map(used).collect(),
            self.domains.pages.free_pages(),
        )
    }
}
