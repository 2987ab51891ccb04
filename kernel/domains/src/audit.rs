//! Recounts everything from the records, sharing nothing with the operations. For tests.

mod revocations;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::vec::Vec;

use exopi_abi::PageNumber;
use exopi_abi::capability::Epoch;
use exopi_abi::domain::{
    AccountRecord, EnvironmentRecord, EnvironmentState, LifeWord, ObjectName, Resource, SpaceRecord,
};
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::page::{FrameType, Owner};
use exopi_abi::slice::SLICES_PER_CORE;
use exopi_pages::audit;
use exopi_pages::model::Machine;

use crate::Domains;
use crate::cores::{Core, NOBODY};
use crate::links::Link;
use crate::spaces::{ASKED_FOR, asid_of};

/// What was found wrong, and where: mostly the index of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Of frames, tables and mappings.
    Pages(audit::Violation),
    /// A frame is charged to an account that there is not.
    Frame(PageNumber),
    /// What an account has used is not what is charged to it, or more than it may use.
    Used(u16, Resource),
    /// An account's parent is none, or its line does not end at the first account.
    Parent(u16),
    /// A free record is not empty.
    Residue(u16),
    /// A record is not in the sets that it belongs in, or in others.
    Set(u16),
    /// Two objects have one epoch, or one that was not given.
    Epoch(u64),
    /// A space's root, owner or members are not what its record says.
    Space(u16),
    /// An environment's links are not those of who waits for it, and of whom it waits for.
    Links(u16),
    /// An environment's account, space, u-area or place is not what its record says.
    Environment(u16),
    /// A request, or what is set up for it, is not what the records say.
    Revocation(u16),
    /// An environment's ring for messages is in pages that are not its account's, or makes no sense.
    MessageRing(u16),
    /// A core does not run what it should, or has not been told of who could run.
    Core(u8),
    /// A slice is bound to nobody or charged to nobody.
    Slice(u16),
}

/// What is charged to each account, by its index.
type Charges = BTreeMap<u16, [u64; Resource::COUNT]>;

impl Domains<'_> {
    /// Whether every invariant holds, which is so after each call and after the `left` that it may ask for.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check_invariants(&self, hw: &Machine) -> Result<(), Violation> {
        let spaces: Vec<_> = (0..self.spaces.len() as u16)
            .filter_map(|index| self.pages.space(PageNumber::new(self.space(index)?.root)))
            .collect();
        let all: Vec<_> = spaces.iter().collect();
        let pages = self.pages.check_pinned(hw, &all, &self.pins());
        pages.map_err(Violation::Pages)?;
        self.check_epochs()?;
        self.check_charges()?;
        self.check_accounts()?;
        self.check_spaces()?;
        self.check_environments()?;
        self.check_revocations()?;
        self.check_slices()?;
        self.check_message_rings()?;
        self.check_links()?;
        for core in 0..self.cores.len() as u8 {
            self.check_core(core)?;
        }
        Ok(())
    }

    fn owners(&self) -> HashMap<Owner, u16> {
        let indices = 0..self.accounts.len() as u16;
        let named = indices.filter_map(|index| {
            let epoch = Epoch::from_low_bits(self.account(index)?.epoch);
            Some((Owner::new(index, epoch), index))
        });
        named.collect()
    }

    fn check_epochs(&self) -> Result<(), Violation> {
        let accounts = self.accounts.iter().map(|record| record.epoch);
        let spaces = self.spaces.iter().map(|record| record.epoch);
        let environments = self.environments.iter().map(|record| record.epoch);
        let slices = self.slices.records().iter().map(|record| record.epoch);
        let mut seen = BTreeSet::new();
        for epoch in accounts.chain(spaces).chain(environments).chain(slices) {
            let given = epoch <= self.epochs.last().bits();
            if epoch != 0 && !(given && seen.insert(epoch)) {
                return Err(Violation::Epoch(epoch));
            }
        }
        Ok(())
    }

    /// Everything that is charged to somebody, from the records of what is charged.
    fn recount(&self) -> Result<Charges, Violation> {
        let owners = self.owners();
        let mut charges = Charges::new();
        let mut charge = |owner: u16, resource: Resource, count: u64| {
            charges.entry(owner).or_default()[resource as usize] += count;
        };
        for number in 0..self.pages.len() as u32 {
            let page = PageNumber::new(number);
            let owner = self.pages.record(page).map(|record| record.charged_to());
            match owner.filter(|owner| *owner != Owner::NOBODY) {
                Some(owner) => match owners.get(&owner) {
                    Some(index) => charge(*index, Resource::Pages, 1),
                    None => return Err(Violation::Frame(page)),
                },
                None => continue,
            }
        }
        for (index, record) in (0..).zip(self.spaces.iter()).filter(|(_, r)| r.epoch != 0) {
            let owner = owners.get(&record.owner);
            charge(*owner.ok_or(Violation::Space(index))?, Resource::Spaces, 1);
        }
        let slices = (0..).zip(self.slices.records());
        for (number, record) in slices.filter(|(_, record)| !record.is_free()) {
            let owner = owners.get(&record.account);
            charge(*owner.ok_or(Violation::Slice(number))?, Resource::Slices, 1);
        }
        let environments = (0..).zip(self.environments.iter());
        for (index, record) in environments.filter(|(_, r)| r.epoch != 0) {
            let owner = *owners
                .get(&record.account)
                .ok_or(Violation::Environment(index))?;
            charge(owner, Resource::Environments, 1);
        }
        let accounts = (0..).zip(self.accounts.iter());
        for (index, record) in accounts.filter(|(index, r)| r.epoch != 0 && r.parent != *index) {
            if self.account(record.parent).is_none() {
                return Err(Violation::Parent(index));
            }
            charge(record.parent, Resource::Accounts, 1);
            for resource in Resource::ALL {
                let allowed = record.allowance[resource as usize];
                charge(record.parent, resource, allowed.into());
            }
        }
        Ok(charges)
    }

    fn check_charges(&self) -> Result<(), Violation> {
        let charges = self.recount()?;
        for (index, record) in (0..)
            .zip(self.accounts.iter())
            .filter(|(_, r)| r.epoch != 0)
        {
            for resource in Resource::ALL {
                let (used, allowed) = (
                    record.used[resource as usize],
                    record.allowance[resource as usize],
                );
                let counted = charges.get(&index).map_or(0, |all| all[resource as usize]);
                if counted != u64::from(used) || used > allowed {
                    return Err(Violation::Used(index, resource));
                }
            }
        }
        Ok(())
    }

    fn check_accounts(&self) -> Result<(), Violation> {
        for (index, record) in (0u16..).zip(self.accounts.iter()) {
            let free = record.epoch == 0;
            if free && *record != AccountRecord::default() {
                return Err(Violation::Residue(index));
            }
            // Whoever dies is in the set from which the work is taken, or waits for a child who dies.
            let children = self.accounts.iter().enumerate();
            let waits = children
                .filter(|(child, r)| r.epoch != 0 && r.parent == index && *child != index.into())
                .any(|(_, r)| r.dying == 1);
            let ending = self.ending_accounts.contains(index);
            let dying = record.dying == 1;
            let forgotten = dying && !ending && !waits;
            let early = ending && !dying;
            if free != self.free_accounts.contains(index) || early || forgotten {
                return Err(Violation::Set(index));
            }
            let (mut at, mut steps) = (index, 0);
            while !free && at != 0 {
                let parent = self.account(at).ok_or(Violation::Parent(index))?.parent;
                steps += 1;
                if parent == at || steps > self.accounts.len() {
                    return Err(Violation::Parent(index));
                }
                at = parent;
            }
        }
        Ok(())
    }

    fn check_spaces(&self) -> Result<(), Violation> {
        for (index, record) in (0..).zip(self.spaces.iter()) {
            let free = record.epoch == 0;
            if free && *record != SpaceRecord::FREE {
                return Err(Violation::Residue(index));
            }
            let ending = record.dying == 1 && record.cursor != ASKED_FOR;
            if free != self.free_spaces.contains(index)
                || ending != self.ending_spaces.contains(index)
            {
                return Err(Violation::Set(index));
            }
            if free {
                continue;
            }
            let live = self.environments.iter().filter(|r| r.epoch != 0);
            let members = live.filter(|r| r.space == index).count();
            let root = self.pages.space(PageNumber::new(record.root));
            let tells = root
                .is_some_and(|space| space.owner() == record.owner && space.asid() == record.asid);
            let empty = record.dying == 0 || members == 0;
            if members != record.members.into() || !tells || record.asid != asid_of(index) || !empty
            {
                return Err(Violation::Space(index));
            }
        }
        Ok(())
    }

    fn check_environments(&self) -> Result<(), Violation> {
        for (index, record) in (0..).zip(self.environments.iter()) {
            let free = record.epoch == 0;
            let word = self.life(index);
            let names = word.epoch().bits() == record.epoch && word.is_free() == free;
            if !names || free && *record != EnvironmentRecord::FREE {
                return Err(Violation::Residue(index));
            }
            // The place of one that has died stays until what it was asked for is taken.
            let open = self.revocation(index).is_some_and(|r| r.state().is_open());
            if (free && !open) != self.free_environments.contains(index) {
                return Err(Violation::Set(index));
            }
            if free {
                continue;
            }
            let uarea = self.pages.record(PageNumber::new(record.uarea));
            let uarea = uarea.is_some_and(|frame| {
                frame.kind == FrameType::UArea && frame.owner == record.account
            });
            use EnvironmentState::{
                Asleep, Calling, Dying, Free, Ready, Running, Stopped, Suspended,
            };
            let has = |core: &Core| core.running != NOBODY || core.gift == index;
            let there = |core| self.core(core).is_some_and(has);
            let placed = word.core().is_none_or(there);
            let placed = placed
                && match word.state() {
                    Free => false,
                    Running => word.core().is_some(),
                    Dying => word.core().is_some() || self.ending_environments.contains(index),
                    Ready | Asleep | Calling | Stopped | Suspended => true,
                };
            let debt = self.lives.debt(index);
            let indebted = self.slices.lengths().is_indebted(debt);
            let placed = placed && word.has(LifeWord::DEBT) == indebted;
            let told = word.has(LifeWord::ATTENTION) == (record.notices != 0);
            if !uarea || !placed || !told || record.keeper_bit > 31 || record.debugged > 1 {
                return Err(Violation::Environment(index));
            }
        }
        Ok(())
    }

    /// Whether the environment at `index` waits for an answer by a link that is not slow.
    fn waits_on_its_core(&self, index: u16) -> bool {
        let callee = self
            .callee_of(index)
            .and_then(|callee| self.places.links(callee));
        callee.is_some_and(|links| links.caller().is_fast())
    }

    /// Whoever waits for an answer waits for one who knows of it, lives, and has nobody else to answer; and nobody has
    /// somebody to answer who does not wait.
    fn check_links(&self) -> Result<(), Violation> {
        for index in 0..self.environments.len() as u16 {
            let word = self.life(index);
            let Some(links) = self.places.links(index).filter(|_| !word.is_free()) else {
                continue;
            };
            let other = |link: Link| link.place().and_then(|place| self.places.index(place));
            let (caller, callee) = (other(links.caller()), other(links.callee()));
            let back = |end: Option<u16>| end.and_then(|end| self.places.links(end));
            let called = callee.is_none_or(|callee| {
                let knows = back(Some(callee)).and_then(|links| other(links.caller()));
                knows == Some(index) && !self.life(callee).is_free()
            });
            let waited = caller.is_none_or(|caller| {
                let knows = back(Some(caller)).and_then(|links| other(links.callee()));
                knows == Some(index) && !self.life(caller).is_free()
            });
            let state = word.state();
            let fast = self.waits_on_its_core(index);
            // By its word it waits if and only if somebody is to answer it, unless that is on its own core.
            let waits = (state == EnvironmentState::Calling) == (callee.is_some() && !fast);
            let timed = self.alarms.of(index).is_none() || state == EnvironmentState::Calling;
            // Nobody takes calls who serves one.
            let open = word.has(LifeWord::LIGHT) && !word.has(LifeWord::CLOSED);
            let serves = links.caller() != Link::NOBODY;
            if !(called && waited && waits && timed) || open && serves {
                return Err(Violation::Links(index));
            }
        }
        Ok(())
    }

    fn check_slices(&self) -> Result<(), Violation> {
        let mut bound: BTreeMap<u16, [u8; MAX_CORES]> = BTreeMap::new();
        let slices = (0u16..).zip(self.slices.records());
        for (number, record) in slices.filter(|(_, record)| !record.is_free()) {
            let name = ObjectName::from_word(record.environment);
            let environment = self.environment(name.index);
            let there = environment.is_some_and(|one| one.epoch == name.epoch.bits());
            if !there || record.reserved != 0 {
                return Err(Violation::Slice(number));
            }
            bound.entry(name.index).or_default()[usize::from(number) / SLICES_PER_CORE] += 1;
        }
        for (index, record) in (0..).zip(self.environments.iter()) {
            if record.slices != bound.remove(&index).unwrap_or_default() {
                return Err(Violation::Environment(index));
            }
        }
        Ok(())
    }

    fn check_core(&self, core: u8) -> Result<(), Violation> {
        let place = self.core(core).ok_or(Violation::Core(core))?;
        if core >= self.core_count && *place != Core::IDLE {
            return Err(Violation::Core(core));
        }
        // Whoever was given the core may have handed it on: one has it, beside those who wait for that one's answer
        // on it, and who has been claimed for the rest of the turn.
        let holds = |index: &u16| {
            self.life(*index).core() == Some(core)
                && place.gift != *index
                && !self.waits_on_its_core(*index)
        };
        let holders = (0..self.environments.len() as u16).filter(holds).count();
        if holders != usize::from(place.running != NOBODY) {
            return Err(Violation::Core(core));
        }
        Ok(())
    }
}
