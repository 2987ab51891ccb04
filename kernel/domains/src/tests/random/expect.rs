//! The model's side of each call: what it must give, and what it has done then.

use exopi_abi::capability::{AccountRights, EnvironmentRights, Kind, SliceRights, SpaceRights};
use exopi_abi::domain::{EnvironmentState, ObjectName, Resource};
use exopi_abi::page::{FREE_BOUND, Owner, RECORD_BOUND};
use exopi_abi::{Error, Reply};

use super::super::naive::{Environment, Naive, Slice, charged};
use super::super::{Call, Named, Run, World};
use super::CORES;
use crate::Subject;

/// What a call must give.
pub(super) enum Expected {
    /// This, and nothing has changed.
    Refused(Error),
    /// It is done, or refused because of pages or tables.
    Perhaps,
    /// It is done.
    Done,
    /// It is busy, and nobody else is told the difference.
    Busy,
    /// So many items, and then this.
    Items(u64, Option<Error>),
}

impl From<Result<Expected, Error>> for Expected {
    fn from(result: Result<Expected, Error>) -> Self {
        result.unwrap_or_else(Expected::Refused)
    }
}

/// Refuses a capability with a time.
fn lasting(named: Named) -> Result<(), Error> {
    match named {
        Named::Cap(cap) if cap.timed => Err(Error::TimeLimited),
        _ => Ok(()),
    }
}

impl Naive {
    fn environment(
        &self,
        by: &Subject,
        named: Named,
        right: EnvironmentRights,
    ) -> Result<u16, Error> {
        let index = self.named(by, named, Kind::Environment, right.bits())?;
        match self.environments[&index].state {
            EnvironmentState::Dying => Err(Error::Stale),
            _ => Ok(index),
        }
    }

    fn space(&self, by: &Subject, named: Named, right: SpaceRights) -> Result<u16, Error> {
        let index = self.named(by, named, Kind::Space, right.bits())?;
        match self.spaces[&index].dying && named != Named::Own {
            true => Err(Error::Stale),
            false => Ok(index),
        }
    }

    fn has_core(&self, index: u16) -> bool {
        self.environments[&index].core.is_some()
    }

    /// What a call must give, before it is made.
    pub(super) fn expect(&self, by: &Subject, call: Call, free: u64) -> Result<Expected, Error> {
        let one = |result: Result<u64, Error>| match result? {
            0 => Err(Error::OverAllowance),
            _ => Ok(Expected::Perhaps),
        };
        Ok(match call {
            Call::Alloc(_, count) => {
                let room = self.room(by.owner, Resource::Pages)?;
                if count == 0 {
                    return Err(Error::BadCount);
                }
                let done = count.min(16).min(room).min(free);
                let stopped = match done {
                    done if done == count.min(16) => None,
                    done if done == room => Some(Error::OverAllowance),
                    _ => Some(Error::Exhausted),
                };
                Expected::Items(done, stopped)
            }
            Call::Accept(_) => {
                self.room(by.owner, Resource::Pages)?;
                Expected::Done
            }
            Call::Give(_, _, to) => {
                self.room(to, Resource::Pages)?;
                Expected::Perhaps
            }
            Call::AccountCreate(wanted) => {
                for (resource, wanted) in Resource::ALL.into_iter().zip(wanted) {
                    let more = u64::from(resource == Resource::Accounts);
                    if u64::from(wanted) + more > self.room(by.owner, resource)? {
                        return Err(Error::OverAllowance);
                    }
                }
                Expected::Done
            }
            Call::AccountBind(named) => {
                lasting(named)?;
                let to = match named {
                    Named::Own => self.environments[&by.name.index].account,
                    _ => self.owner(self.named(
                        by,
                        named,
                        Kind::Account,
                        AccountRights::DRAW.bits(),
                    )?),
                };
                self.room(to, Resource::Pages)?;
                Expected::Done
            }
            Call::AccountDestroy(named) => {
                let index = self.named(by, named, Kind::Account, AccountRights::DESTROY.bits())?;
                match index {
                    0 => return Err(Error::MissingRight),
                    _ => Expected::Busy,
                }
            }
            Call::SpaceCreate(_) => one(self.room(by.owner, Resource::Spaces))?,
            Call::SpaceDestroy(named) => {
                if let Named::Cap(cap) = named {
                    let right = cap.kind == Kind::Space;
                    return Err(if right {
                        Error::MissingRight
                    } else {
                        Error::WrongKind
                    });
                }
                let index = self.named(by, named, Kind::Space, 0)?;
                if self.spaces[&index].owner != by.owner {
                    return Err(Error::NotYours);
                }
                match self.environments.values().any(|one| one.space == index) {
                    true => return Err(Error::NotEmpty),
                    false => Expected::Done,
                }
            }
            Call::EnvCreate(named, ..) => {
                lasting(named)?;
                let index = self.space(by, named, SpaceRights::JOIN)?;
                self.room(self.spaces[&index].owner, Resource::Pages)?;
                one(self.room(by.owner, Resource::Environments))?
            }
            Call::TableInsert(named, ..) => {
                let index = self.space(by, named, SpaceRights::MAP)?;
                match self.spaces[&index].owner == by.owner {
                    true => Expected::Perhaps,
                    false => return Err(Error::NotYours),
                }
            }
            Call::InsertNew(named, ..) => {
                self.space(by, named, SpaceRights::MAP)?;
                self.room(by.owner, Resource::Pages)?;
                Expected::Perhaps
            }
            Call::TableRemove(named, ..)
            | Call::Insert(named, ..)
            | Call::Remove(named, ..)
            | Call::Protect(named, ..) => {
                self.space(by, named, SpaceRights::MAP)?;
                Expected::Perhaps
            }
            Call::Free(..) | Call::Retire(..) | Call::Break(..) | Call::Limit(..) => {
                Expected::Perhaps
            }
            Call::Mint(Kind::Page, ..) => Expected::Perhaps,
            Call::Mint(kind, index, count, _) => {
                if count != 1 {
                    return Err(Error::BadCount);
                }
                let index = self.named(by, Named::Index(index as u16), kind, 0)?;
                let dying = match kind {
                    Kind::Account => self.accounts[&index].dying,
                    Kind::Space => self.spaces[&index].dying,
                    Kind::Slice => false,
                    _ => self.environments[&index].state == EnvironmentState::Dying,
                };
                if dying {
                    return Err(Error::Stale);
                }
                Expected::Done
            }
            Call::Allow(named, resource, amount) => {
                let right = AccountRights::DESTROY.bits();
                let index = self.named(by, named, Kind::Account, right)?;
                let account = &self.accounts[&index];
                if self.account(by.owner).is_none() || account.parent != Some(by.owner.index()) {
                    return Err(Error::NotYours);
                }
                if account.dying {
                    return Err(Error::Stale);
                }
                let more = amount.saturating_sub(account.allowance[resource as usize]);
                if u64::from(more) > self.room(by.owner, resource)? {
                    return Err(Error::OverAllowance);
                }
                Expected::Done
            }
            Call::SliceAlloc(..)
            | Call::SliceBind(..)
            | Call::SliceMove(..)
            | Call::SliceFree(_) => self.expect_of_slice(by, call)?,
            _ => self.expect_of_environment(by, call)?,
        })
    }

    fn expect_of_slice(&self, by: &Subject, call: Call) -> Result<Expected, Error> {
        let place = |core: u64, position: u64| {
            if core >= CORES.into() || position != u64::MAX && position > 127 {
                return Err(Error::OutOfRange);
            }
            let taken = self
                .slices
                .contains_key(&((core * 128 + position % 128) as u16));
            match position != u64::MAX && taken {
                true => Err(Error::Taken),
                false => Ok(Expected::Done),
            }
        };
        match call {
            Call::SliceAlloc(core, position, named) => {
                lasting(named)?;
                self.environment(by, named, EnvironmentRights::SCHEDULE)?;
                if self.room(by.owner, Resource::Slices)? == 0 {
                    return Err(Error::OverAllowance);
                }
                place(core, position)
            }
            Call::SliceBind(slice, environment) => {
                lasting(slice)?;
                self.named(by, slice, Kind::Slice, SliceRights::USE.bits())?;
                lasting(environment)?;
                self.environment(by, environment, EnvironmentRights::SCHEDULE)?;
                Ok(Expected::Done)
            }
            Call::SliceMove(slice, core, position) => {
                let slice = self.named(by, slice, Kind::Slice, SliceRights::MOVE.bits())?;
                let slice = &self.slices[&slice];
                self.room(slice.account, Resource::Slices)?;
                let environment = self.environments.get(&slice.environment.index);
                let lives = |one: &Environment| {
                    one.epoch == slice.environment.epoch && one.state != EnvironmentState::Dying
                };
                if !environment.is_some_and(lives) {
                    return Err(Error::Stale);
                }
                place(core, position)
            }
            Call::SliceFree(slice) => {
                self.named(by, slice, Kind::Slice, SliceRights::FREE.bits())?;
                Ok(Expected::Done)
            }
            _ => unreachable!("{call:?} is not about a slice"),
        }
    }

    fn expect_of_environment(&self, by: &Subject, call: Call) -> Result<Expected, Error> {
        use EnvironmentRights as Right;
        let refused_if = |refused: bool, error: Error| match refused {
            true => Err(error),
            false => Ok(Expected::Done),
        };
        match call {
            Call::Run(named) => {
                let index = self.environment(by, named, Right::SCHEDULE)?;
                let stopped = self.environments[&index].state == EnvironmentState::Stopped;
                refused_if(!stopped || self.has_core(index), Error::NotReady)
            }
            Call::Stop(named) => {
                let index = self.environment(by, named, Right::SCHEDULE)?;
                match self.has_core(index) && index != by.name.index {
                    true => Ok(Expected::Busy),
                    false => Ok(Expected::Done),
                }
            }
            Call::Yield(Named::Own) => Ok(Expected::Done),
            Call::Yield(named) => {
                let index = self.environment(by, named, Right::SCHEDULE)?;
                let to = &self.environments[&index];
                let waits = to.state == EnvironmentState::Ready && to.core.is_none();
                match waits {
                    // It can owe too much for that.
                    true => Ok(Expected::Perhaps),
                    false => Err(Error::NotReady),
                }
            }
            Call::Keep(named, bit) => {
                lasting(named)?;
                self.environment(by, named, Right::KEEP)?;
                refused_if(bit > 31, Error::OutOfRange)
            }
            Call::Debug(named, on) => {
                let index = self.environment(by, named, Right::WRITE_STATE)?;
                if on > 1 {
                    return Err(Error::Malformed);
                }
                refused_if(self.has_core(index) && index != by.name.index, Error::Busy)
            }
            Call::Read(named, offset) | Call::Write(named, offset) => {
                let right = match call {
                    Call::Read(..) => Right::READ_STATE,
                    _ => Right::WRITE_STATE,
                };
                let index = self.environment(by, named, right)?;
                if self.has_core(index) {
                    return Err(Error::Busy);
                }
                refused_if(offset >= 4096, Error::OutOfRange)
            }
            Call::ConsoleGive(named) => {
                self.environment(by, named, Right::WRITE_STATE)?;
                Ok(Expected::Done)
            }
            Call::Destroy(named) => {
                let right = Right::DESTROY.bits();
                let index = self.named(by, named, Kind::Environment, right)?;
                match self.has_core(index) && index != by.name.index {
                    true => Ok(Expected::Busy),
                    false => Ok(Expected::Done),
                }
            }
            _ => unreachable!("{call:?} is not about an environment"),
        }
    }

    fn owner(&self, index: u16) -> Owner {
        Owner::new(index, self.accounts[&index].epoch)
    }

    /// Does what a call that was not refused has done; `world` tells what came of it.
    pub(super) fn commit(&mut self, by: &Subject, call: Call, reply: Reply, world: &World<'_>) {
        let me = by.name.index;
        let name = ObjectName::from_word(reply.value);
        let done = reply.status >> 16;
        let named =
            |naive: &Self, named, kind| naive.named(by, named, kind, 0).expect("it was found");
        match call {
            Call::Alloc(..) | Call::InsertNew(..) => self.note_drawn(by.owner, done, world),
            Call::Free(Run::Owned(first), _) => {
                let first = first.index();
                let freed = first..first + done.min(FREE_BOUND) as usize;
                freed.for_each(|frame| self.frames[frame] = Owner::NOBODY);
            }
            Call::Give(first, _, to) => {
                let first = first.index();
                let given = first..first + done.min(RECORD_BOUND) as usize;
                given.for_each(|frame| self.frames[frame] = to);
                let account = self.accounts.get_mut(&to.index()).expect("it took them");
                account.accepts -= done as u32;
            }
            Call::Accept(count) => {
                self.accounts
                    .get_mut(&by.owner.index())
                    .expect("it lives")
                    .accepts = count;
            }
            Call::AccountCreate([pages, environments, spaces, accounts]) => {
                let all = [pages, environments, spaces, accounts, 0, 0, 0];
                self.put_account(name.index, name.epoch, Some(by.owner.index()), all);
            }
            Call::AccountBind(to) => {
                let bound = match to {
                    Named::Own => self.environments[&me].account,
                    _ => self.owner(named(self, to, Kind::Account)),
                };
                self.environments.get_mut(&me).expect("it runs").bound = bound;
            }
            Call::AccountDestroy(account) => {
                let index = named(self, account, Kind::Account);
                self.accounts.get_mut(&index).expect("it was found").dying = true;
            }
            Call::SpaceCreate(_) => self.put_space(name.index, name.epoch, by.owner),
            Call::SpaceDestroy(space) => {
                let index = named(self, space, Kind::Space);
                self.spaces.get_mut(&index).expect("it was found").dying = true;
            }
            Call::EnvCreate(space, ..) => {
                let space = named(self, space, Kind::Space);
                self.put_environment(name, by.owner, space);
            }
            Call::Allow(account, resource, amount) => {
                let index = named(self, account, Kind::Account);
                let used = self.used(index)[resource as usize] as u32;
                let account = self.accounts.get_mut(&index).expect("it was found");
                account.allowance[resource as usize] = amount.max(used);
            }
            Call::SliceAlloc(..)
            | Call::SliceBind(..)
            | Call::SliceMove(..)
            | Call::SliceFree(_) => self.commit_of_slice(by, call, name),
            _ => self.commit_of_environment(by, call, world),
        }
    }

    fn commit_of_slice(&mut self, by: &Subject, call: Call, name: ObjectName) {
        let find =
            |naive: &Self, named, kind| naive.named(by, named, kind, 0).expect("it was found");
        match call {
            Call::SliceAlloc(.., environment) => {
                let index = find(self, environment, Kind::Environment);
                let environment = ObjectName {
                    index,
                    epoch: self.environments[&index].epoch,
                };
                let slice = Slice {
                    epoch: name.epoch,
                    environment,
                    account: by.owner,
                };
                assert!(self.slices.insert(name.index, slice).is_none());
            }
            Call::SliceBind(slice, environment) => {
                let slice = find(self, slice, Kind::Slice);
                let index = find(self, environment, Kind::Environment);
                let epoch = self.environments[&index].epoch;
                let slice = self.slices.get_mut(&slice).expect("it was found");
                slice.environment = ObjectName { index, epoch };
            }
            Call::SliceMove(slice, ..) => {
                let from = find(self, slice, Kind::Slice);
                let mut slice = self.slices.remove(&from).expect("it was found");
                slice.epoch = name.epoch;
                assert!(self.slices.insert(name.index, slice).is_none());
            }
            Call::SliceFree(slice) => {
                let slice = find(self, slice, Kind::Slice);
                self.slices.remove(&slice);
            }
            _ => unreachable!("{call:?} is not about a slice"),
        }
    }

    fn commit_of_environment(&mut self, by: &Subject, call: Call, world: &World<'_>) {
        let me = by.name.index;
        let find = |naive: &Self, named| {
            naive
                .named(by, named, Kind::Environment, 0)
                .expect("it was found")
        };
        match call {
            Call::Run(named) => {
                let index = find(self, named);
                self.set(index, EnvironmentState::Ready, None);
            }
            Call::Stop(named) => {
                let index = find(self, named);
                let core = self.environments[&index].core;
                self.set(index, EnvironmentState::Stopped, core);
            }
            Call::Yield(named) => {
                // Who was given the rest of the turn has the core by now, if the turn was not over.
                let gift = (named != Named::Own).then(|| find(self, named));
                let gift = gift.filter(|index| world.domains.life(*index).core().is_some());
                if let Some(index) = gift {
                    self.set(index, EnvironmentState::Running, Some(by.core));
                }
                // Nobody else could run, or it is to stop.
                let left = world.on[usize::from(by.core)].is_none();
                if left && self.environments[&me].state == EnvironmentState::Running {
                    self.set(me, EnvironmentState::Ready, Some(by.core));
                }
            }
            Call::Keep(named, bit) => {
                let index = find(self, named);
                let kept = self.environments.get_mut(&index).expect("it was found");
                kept.keeper = Some((by.name, bit as u8));
            }
            Call::Debug(named, on) => {
                let index = find(self, named);
                self.environments
                    .get_mut(&index)
                    .expect("it was found")
                    .debugged = on == 1;
            }
            Call::Destroy(named) => {
                let index = find(self, named);
                self.set(
                    index,
                    EnvironmentState::Dying,
                    self.environments[&index].core,
                );
            }
            _ => {}
        }
    }

    /// Takes note of `count` frames that were free and are `owner`'s now.
    fn note_drawn(&mut self, owner: Owner, count: u64, world: &World<'_>) {
        let now = charged(world);
        let mut drawn = 0;
        for (frame, now) in self.frames.iter_mut().zip(now) {
            if *frame == Owner::NOBODY && now == owner {
                *frame = owner;
                drawn += 1;
            }
        }
        assert_eq!(drawn, count, "frames that were drawn");
    }

    /// An environment has left its core.
    pub(super) fn leave(&mut self, index: u16) {
        if let Some(environment) = self.environments.get_mut(&index)
            && environment.state != EnvironmentState::Dying
        {
            environment.core = None;
        }
    }
}
