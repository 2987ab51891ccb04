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
use exopi_abi::{PageNumber, PageSelect, Reply, TableLevel};
use exopi_cap::Verified;
use exopi_pages::Pages;
use exopi_pages::model::Machine;

use super::{Call, EXPOSED, FIRST_AT, Named, at, page};
use crate::links::Table;
use crate::{Alarm, Alarms, Domains, Revocations, Subject, Tables, Target};

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
}

impl Storage {
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
    pub(super) cores: u8,
    /// Spaces that the machine walks: ASID and epoch.
    pub(super) attached: BTreeMap<u16, u64>,
    pub(super) frames: u32,
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
        let mut pages = Pages::new(&mut storage.pages, 2);
        let added = pages.add_free(page(1), u64::from(frames) - 1);
        assert_eq!(added.unless_stopped(), Ok(u64::from(frames) - 1));
        let tables = Tables {
            pages,
            accounts: &mut storage.accounts,
            spaces: &mut storage.spaces,
            environments: &mut storage.environments,
            lives: &storage.lives,
        };
        let deadlines = Alarms::new(&mut storage.deadlines, &mut storage.order);
        let revocations = Revocations::new(&mut storage.revocations, deadlines);
        let mut domains = Domains::none();
        domains.set_tables(tables, cores);
        domains.set_revocations(revocations.and(PRETENDED));
        domains.set_message_rings(&mut storage.message_rings);
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
            cores,
            attached: BTreeMap::new(),
            frames,
        };
        world.attach();
        world.furnish(0, Named::Own, FIRST_AT);
        let uarea = world.alloc(0);
        let (domains, hw) = (&mut world.domains, &mut world.hw);
        let first = domains.make_first_environment(hw, &first, uarea, at(FIRST_AT));
        world.on[0] = Some(first.expect("the place is free"));
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

    /// An account of the caller's with this allowance.
    pub(super) fn account(&mut self, core: u8, allowance: [u32; 4]) -> ObjectName {
        let reply = self.call(core, Call::AccountCreate(allowance));
        assert_eq!(reply.error(), None);
        ObjectName::from_word(reply.value)
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
        assert_eq!(
            self.call(0, Call::Run(Named::Name(environment), core.into()))
                .error(),
            None
        );
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
        if let Some(by) = self.on[usize::from(core)] {
            if self.domains.caller_is_wanted(by.name.index) {
                self.domains.untangle(&mut self.hw, by.name.index);
            }
            if !self.domains.runs(&by) {
                self.leave(by);
            }
        }
    }

    fn leave(&mut self, by: Subject) {
        self.on[usize::from(by.core)] = None;
        self.domains.untangle(&mut self.hw, by.name.index);
        self.domains.left(&mut self.hw, &by);
        self.attach();
        self.told |= self.domains.take_interrupts();
    }

    /// A core that nobody has takes the next one.
    pub(super) fn dispatch(&mut self, core: u8) {
        if self.on[usize::from(core)].is_none() {
            self.told &= !(1 << core);
            self.on[usize::from(core)] = self.domains.next(core);
        }
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
