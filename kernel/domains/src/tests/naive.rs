//! What the call table says of accounts, spaces and environments, done the obvious way: maps, recounted each
//! time, and no steps. Of pages it knows whose they are; what else calls on them may refuse, it believes.
//!
//! What is being taken apart goes in whatever order and at whatever pace: the model says what may be gone, and
//! [`Naive::sync`] takes note of what is.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use exopi_abi::capability::{Epoch, Kind};
use exopi_abi::domain::{EnvironmentState, ObjectName, Resource};
use exopi_abi::page::Owner;
use exopi_abi::{Error, PageNumber};

use super::{Named, World};
use crate::Subject;

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) epoch: Epoch,
    pub(super) parent: Option<u16>,
    pub(super) allowance: [u32; Resource::COUNT],
    pub(super) accepts: u32,
    pub(super) dying: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Space {
    epoch: Epoch,
    pub(super) owner: Owner,
    pub(super) dying: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) epoch: Epoch,
    pub(super) account: Owner,
    pub(super) bound: Owner,
    pub(super) space: u16,
    pub(super) state: EnvironmentState,
    pub(super) core: Option<u8>,
    pub(super) keeper: Option<(ObjectName, u8)>,
    pub(super) notices: u32,
    pub(super) debugged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) epoch: Epoch,
    pub(super) environment: ObjectName,
    pub(super) account: Owner,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Naive {
    pub(super) accounts: BTreeMap<u16, Account>,
    pub(super) spaces: BTreeMap<u16, Space>,
    pub(super) environments: BTreeMap<u16, Environment>,
    /// Whom each frame is charged to; nobody for those that are free.
    pub(super) frames: Vec<Owner>,
    pub(super) slices: BTreeMap<u16, Slice>,
    /// In which slice each core runs, as the world says.
    pub(super) turns: Vec<Option<ObjectName>>,
}

fn epoch(word: u64) -> Epoch {
    Epoch::from_low_bits(word)
}

impl Naive {
    /// What a new world is.
    pub(super) fn of(world: &World<'_>) -> Self {
        let mut naive = Self {
            frames: charged(world),
            ..Self::default()
        };
        let record = world.domains.account(0).expect("it is there");
        naive.put_account(0, epoch(record.epoch), None, record.allowance);
        let slice = world.domains.slice_records()[0];
        naive.slices.insert(
            0,
            Slice {
                epoch: epoch(slice.epoch),
                environment: world.domains.first(),
                account: Owner::new(0, epoch(record.epoch)),
            },
        );
        naive.look(world);
        let record = world.domains.space(0).expect("it is there");
        naive.put_space(0, epoch(record.epoch), record.owner);
        let name = world.domains.first();
        naive.put_environment(name, record.owner, 0);
        naive.set(0, EnvironmentState::Running, Some(0));
        naive
    }

    pub(super) fn put_account(
        &mut self,
        index: u16,
        epoch: Epoch,
        parent: Option<u16>,
        allowance: [u32; Resource::COUNT],
    ) {
        let account = Account {
            epoch,
            parent,
            allowance,
            accepts: 0,
            dying: false,
        };
        assert!(self.accounts.insert(index, account).is_none());
    }

    pub(super) fn put_space(&mut self, index: u16, epoch: Epoch, owner: Owner) {
        let space = Space {
            epoch,
            owner,
            dying: false,
        };
        assert!(self.spaces.insert(index, space).is_none());
    }

    pub(super) fn put_environment(&mut self, name: ObjectName, owner: Owner, space: u16) {
        let environment = Environment {
            epoch: name.epoch,
            account: owner,
            bound: owner,
            space,
            state: EnvironmentState::Stopped,
            core: None,
            keeper: None,
            notices: 0,
            debugged: false,
        };
        assert!(self.environments.insert(name.index, environment).is_none());
    }

    /// Puts an environment into a state on a core.
    pub(super) fn set(&mut self, index: u16, state: EnvironmentState, core: Option<u8>) {
        if let Some(environment) = self.environments.get_mut(&index) {
            environment.state = state;
            environment.core = core;
        }
    }

    pub(super) fn account(&self, owner: Owner) -> Option<&Account> {
        let account = self.accounts.get(&owner.index())?;
        (account.epoch == owner.epoch()).then_some(account)
    }

    /// Whether an account, or one above it, is being taken apart.
    pub(super) fn is_going(&self, owner: Owner) -> bool {
        let Some(account) = self.account(owner) else {
            return true;
        };
        account.dying
            || account.parent.is_some_and(|index| {
                // Gone in the same call, if it is gone.
                let parent = self.accounts.get(&index);
                parent.is_none_or(|parent| self.is_going(Owner::new(index, parent.epoch)))
            })
    }

    /// Whether an environment, or what it cannot live without, is being taken apart.
    fn may_go(&self, environment: &Environment) -> bool {
        let space = self.spaces.get(&environment.space);
        self.is_going(environment.account)
            || space.is_none_or(|space| self.is_going(space.owner))
            || environment.state == EnvironmentState::Dying
    }

    /// What is charged to the account at `index`.
    pub(super) fn used(&self, index: u16) -> [u64; Resource::COUNT] {
        let account = &self.accounts[&index];
        let owner = Owner::new(index, account.epoch);
        let children: Vec<_> = self
            .accounts
            .values()
            .filter(|child| child.parent == Some(index))
            .collect();
        let carved = |resource: Resource| -> u64 {
            children
                .iter()
                .map(|child| u64::from(child.allowance[resource as usize]))
                .sum()
        };
        let own = [
            self.frames.iter().filter(|frame| **frame == owner).count(),
            self.environments
                .values()
                .filter(|one| one.account == owner)
                .count(),
            self.spaces
                .values()
                .filter(|space| space.owner == owner)
                .count(),
            children.len(),
            self.slices
                .values()
                .filter(|slice| slice.account == owner)
                .count(),
            // Nobody here has what is kept elsewhere.
            0,
            0,
        ];
        Resource::ALL.map(|resource| carved(resource) + own[resource as usize] as u64)
    }

    /// How much more of a resource may be charged to an account.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub(super) fn room(&self, owner: Owner, resource: Resource) -> Result<u64, Error> {
        let account = self
            .account(owner)
            .filter(|account| !account.dying)
            .ok_or(Error::Stale)?;
        let used = self.used(owner.index())[resource as usize];
        Ok(u64::from(account.allowance[resource as usize]) - used)
    }

    fn epoch_of(&self, kind: Kind, index: u16) -> Option<Epoch> {
        match kind {
            Kind::Account => self.accounts.get(&index).map(|one| one.epoch),
            Kind::Space => self.spaces.get(&index).map(|one| one.epoch),
            Kind::Slice => self.slices.get(&index).map(|one| one.epoch),
            _ => self.environments.get(&index).map(|one| one.epoch),
        }
    }

    fn is_owned(&self, by: &Subject, kind: Kind, index: u16) -> bool {
        match kind {
            Kind::Account => {
                self.account(by.owner).is_some()
                    && self.accounts[&index].parent == Some(by.owner.index())
            }
            Kind::Space => self.spaces[&index].owner == by.owner,
            Kind::Slice => self.slices[&index].account == by.owner,
            _ => self.environments[&index].account == by.owner,
        }
    }

    /// The index of what is named.
    ///
    /// # Errors
    /// As the calls say of their object.
    pub(super) fn named(
        &self,
        by: &Subject,
        named: Named,
        kind: Kind,
        right: u16,
    ) -> Result<u16, Error> {
        let (index, epoch) = match named {
            Named::Own if kind == Kind::Account => return Err(Error::MissingRight),
            Named::Own if kind == Kind::Space => {
                return Ok(self.environments[&by.name.index].space);
            }
            Named::Own if kind == Kind::Slice => match self.turns[usize::from(by.core)] {
                Some(name) => (name.index, Some(name.epoch)),
                None => return Err(Error::NotYours),
            },
            Named::Own => return Ok(by.name.index),
            Named::Index(index) => (index, self.epoch_of(kind, index)),
            Named::Name(name) => (name.index, Some(name.epoch)),
            Named::Cap(cap) => {
                if cap.kind != kind {
                    return Err(Error::WrongKind);
                }
                if cap.rights & right != right {
                    return Err(Error::MissingRight);
                }
                let index = u16::try_from(cap.index).map_err(|_| Error::Stale)?;
                return match self.epoch_of(kind, index) == Some(cap.epoch) {
                    true => Ok(index),
                    false => Err(Error::Stale),
                };
            }
        };
        match self.epoch_of(kind, index) {
            Some(now) if Some(now) == epoch && self.is_owned(by, kind, index) => Ok(index),
            _ => Err(Error::NotYours),
        }
    }

    /// Tells the keeper of an environment, if that lives.
    pub(super) fn tell_keeper(&mut self, environment: &Environment) -> bool {
        let Some((keeper, bit)) = environment.keeper else {
            return false;
        };
        match self.environments.get_mut(&keeper.index) {
            Some(one) if one.epoch == keeper.epoch && one.state != EnvironmentState::Dying => {
                one.notices |= 1 << bit;
                true
            }
            _ => false,
        }
    }

    /// Takes note of what is gone by now, and compares the rest.
    ///
    /// # Errors
    /// What is not as it should be.
    pub(super) fn sync(&mut self, world: &World<'_>) -> Result<(), String> {
        self.sync_environments(world)?;
        self.sync_slices(world)?;
        self.sync_spaces(world)?;
        self.sync_frames(world)?;
        self.sync_accounts(world)?;
        self.look(world);
        Ok(())
    }

    fn sync_environments(&mut self, world: &World<'_>) -> Result<(), String> {
        let mut gone = Vec::new();
        for (&index, environment) in &self.environments {
            let record = world.domains.environment(index);
            let record = record.filter(|record| epoch(record.epoch) == environment.epoch);
            let dying = world.domains.life(index).state() == EnvironmentState::Dying;
            let doomed = record.is_none() || dying;
            if doomed && !self.may_go(environment) {
                return Err(format!("environment {index} is gone: {environment:?}"));
            }
            if doomed {
                gone.push((index, record.is_some()));
            }
        }
        let mut dead = Vec::new();
        for (index, there) in gone {
            if there {
                let core = self.environments[&index].core;
                self.set(index, EnvironmentState::Dying, core);
            } else {
                self.set(index, EnvironmentState::Dying, None);
                dead.extend(self.environments.remove(&index));
            }
        }
        for environment in dead {
            self.tell_keeper(&environment);
            let alone = self
                .environments
                .values()
                .all(|one| one.space != environment.space);
            if let Some(space) = self.spaces.get_mut(&environment.space).filter(|_| alone) {
                space.dying = true;
            }
        }
        for index in 0..64 {
            let record = world.domains.environment(index);
            let now = record.map(|record| Environment {
                epoch: epoch(record.epoch),
                account: record.account,
                bound: record.bound,
                space: record.space,
                state: world.domains.life(index).state(),
                core: world.domains.life(index).core(),
                keeper: (record.keeper != 0)
                    .then(|| (ObjectName::from_word(record.keeper), record.keeper_bit)),
                notices: record.notices,
                debugged: record.debugged == 1,
            });
            let mut expected = self.environments.get(&index).cloned();
            if let (Some(expected), Some(now)) = (&mut expected, &now)
                && now.state == EnvironmentState::Dying
            {
                // Nobody hears what it was told.
                expected.notices = now.notices;
            }
            if now != expected {
                return Err(format!("environment {index}: {now:?}, not {expected:?}"));
            }
        }
        Ok(())
    }

    /// Takes note of who runs in which slice.
    fn look(&mut self, world: &World<'_>) {
        self.turns = (0..world.cores)
            .map(|core| world.domains.slices.turn(core).map(|turn| turn.slice))
            .collect();
    }

    fn sync_slices(&mut self, world: &World<'_>) -> Result<(), String> {
        for (number, record) in (0..).zip(world.domains.slice_records()) {
            let now = (!record.is_free()).then(|| Slice {
                epoch: epoch(record.epoch),
                environment: ObjectName::from_word(record.environment),
                account: record.account,
            });
            let Some(slice) = self.slices.get(&number) else {
                match now {
                    None => continue,
                    Some(now) => return Err(format!("slice {number}: {now:?}")),
                }
            };
            let environment = self.environments.get(&slice.environment.index);
            let bound = environment.filter(|one| one.epoch == slice.environment.epoch);
            let going =
                self.is_going(slice.account) || bound.is_none_or(|bound| self.may_go(bound));
            match now {
                None if going => drop(self.slices.remove(&number)),
                Some(now) if now == *slice => {}
                now => return Err(format!("slice {number}: {now:?}, not {slice:?}")),
            }
        }
        Ok(())
    }

    fn sync_spaces(&mut self, world: &World<'_>) -> Result<(), String> {
        for index in 0..64 {
            let now = world.domains.space(index);
            let Some(space) = self.spaces.get(&index) else {
                match now {
                    None => continue,
                    Some(record) => return Err(format!("space {index}: {record:?}")),
                }
            };
            let going = space.dying || self.is_going(space.owner);
            match now.filter(|record| epoch(record.epoch) == space.epoch) {
                None if going => drop(self.spaces.remove(&index)),
                Some(record) if record.owner == space.owner => {
                    let dying = record.dying == 1;
                    if space.dying && !dying || dying && !going {
                        return Err(format!("space {index}: {record:?}, not {space:?}"));
                    }
                }
                _ => return Err(format!("space {index}: {now:?}, not {space:?}")),
            }
        }
        Ok(())
    }

    fn sync_frames(&mut self, world: &World<'_>) -> Result<(), String> {
        let now = charged(world);
        for (number, (now, before)) in now.iter().zip(&self.frames).enumerate() {
            let reclaimed = *now == Owner::NOBODY && self.is_going(*before);
            if now != before && !reclaimed {
                return Err(format!("frame {number} is {now:?}'s, not {before:?}'s"));
            }
        }
        self.frames = now;
        Ok(())
    }

    fn sync_accounts(&mut self, world: &World<'_>) -> Result<(), String> {
        for index in 0..64 {
            let now = world.domains.account(index);
            let Some(account) = self.accounts.get(&index) else {
                match now {
                    None => continue,
                    Some(record) => return Err(format!("account {index}: {record:?}")),
                }
            };
            let going = self.is_going(Owner::new(index, account.epoch));
            match now.filter(|record| epoch(record.epoch) == account.epoch) {
                None if going => drop(self.accounts.remove(&index)),
                Some(record) => {
                    let dying = record.dying == 1;
                    if account.dying && !dying || dying && !going {
                        return Err(format!("account {index}: {record:?}, not {account:?}"));
                    }
                    let parent = account.parent.unwrap_or(index);
                    let accepts = if dying { 0 } else { account.accepts };
                    if (record.parent, record.accepts) != (parent, accepts)
                        || record.allowance != account.allowance
                    {
                        return Err(format!("account {index}: {record:?}, not {account:?}"));
                    }
                    if dying && let Some(account) = self.accounts.get_mut(&index) {
                        account.dying = true;
                    }
                }
                _ => return Err(format!("account {index} is gone: {account:?}")),
            }
        }
        for index in self.accounts.keys() {
            let used = self.used(*index);
            let now = world
                .domains
                .account(*index)
                .map(|record| record.used.map(u64::from));
            if now != Some(used) {
                return Err(format!("account {index} has used {now:?}, not {used:?}"));
            }
        }
        Ok(())
    }
}

/// Whom each frame is charged to.
pub(super) fn charged(world: &World<'_>) -> Vec<Owner> {
    let frames = (0..world.frames).map(PageNumber::new);
    let records = frames.filter_map(|page| world.domains.pages.record(page));
    records.map(|record| record.charged_to()).collect()
}
