//! Who makes a call, and what a call is about: from names and capabilities to records.
//!
//! An object is named in one of three ways, and each is checked against its record at the time of the call:
//!
//! | named | good if |
//! | --- | --- |
//! | as the caller's own | always: the caller is there |
//! | by index and epoch | the record has that epoch and is charged to the account that the caller draws on |
//! | by a capability | it is of the kind, has the right, and the record has its epoch |
//!
//! An object that is being taken apart is [`Error::Stale`] to all but who takes it apart.

use exopi_abi::Error;
use exopi_abi::PageNumber;
use exopi_abi::capability::{AccountRights, EnvironmentRights, Epoch, KindRights, SpaceRights};
use exopi_abi::domain::{
    AccountRecord, EnvironmentRecord, EnvironmentState, ObjectName, SpaceRecord,
};
use exopi_abi::page::Owner;
use exopi_cap::Verified;
use exopi_pages::Space;

use crate::Domains;

/// Who makes a call: what a kernel keeps for the environment that runs on a core. Made by [`Domains::subject`]
/// and [`Domains::next`], and out of date after [`Domains::account_bind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The environment.
    pub name: ObjectName,
    /// The account that it draws on.
    pub owner: Owner,
    /// The space that it runs in.
    pub space: Space,
    /// The core that it runs on.
    pub core: u8,
}

/// What a call is about. A capability has been found genuine, and no more.
#[derive(Clone, Copy, Debug)]
pub enum Target<'v> {
    /// The caller itself, the space that it runs in, the account that it is charged to.
    Own,
    /// One that is charged to the account that the caller draws on.
    Owned(ObjectName),
    /// One that a capability is good for.
    Verified(&'v Verified),
}

/// Refuses a capability with a time for what would not end with it.
pub(crate) fn lasting(target: Target<'_>) -> Result<(), Error> {
    match target {
        Target::Verified(verified) if verified.until().is_some() => Err(Error::TimeLimited),
        _ => Ok(()),
    }
}

/// The index that a capability is for, if it is of the kind of `rights` and has them all.
fn presented<R: KindRights>(verified: &Verified, rights: R) -> Result<u16, Error> {
    verified.require(rights)?;
    // No object ever had another index.
    u16::try_from(verified.index()).map_err(|_| Error::Stale)
}

/// The epoch in a record; [`Epoch::NONE`] if it is free.
pub(crate) const fn epoch_of(word: u64) -> Epoch {
    Epoch::from_low_bits(word)
}

/// Whether the record at `told.index` with this epoch is what `told` means.
fn is_named(epoch: Epoch, told: ObjectName) -> bool {
    let name = ObjectName {
        index: told.index,
        epoch,
    };
    epoch != Epoch::NONE && name.is_told(told)
}

impl Domains<'_> {
    /// The environment at `index` as one that runs on `core`; `None` if there is none.
    pub fn subject(&self, index: u16, core: u8) -> Option<Subject> {
        let record = self.environment(index)?;
        let space = self.space(record.space)?;
        Some(Subject {
            name: ObjectName {
                index,
                epoch: epoch_of(record.epoch),
            },
            owner: record.bound,
            space: self.pages.space(PageNumber::new(space.root))?,
            core,
        })
    }

    /// The record of the account at `index`, if there is one.
    #[inline]
    pub fn account(&self, index: u16) -> Option<&AccountRecord> {
        let record = self.accounts.get(usize::from(index))?;
        (record.epoch != 0).then_some(record)
    }

    /// The record of the space at `index`, if there is one.
    #[inline]
    pub fn space(&self, index: u16) -> Option<&SpaceRecord> {
        let record = self.spaces.get(usize::from(index))?;
        (record.epoch != 0).then_some(record)
    }

    /// The record of the environment at `index`, if there is one.
    #[inline]
    pub fn environment(&self, index: u16) -> Option<&EnvironmentRecord> {
        let record = self.environments.get(usize::from(index))?;
        (record.epoch != 0).then_some(record)
    }

    /// Whether there is an environment of this name, and it is not at its end. Who keeps a name, of the console's
    /// owner for instance, asks this before each use.
    pub fn lives(&self, name: ObjectName) -> bool {
        self.lives.lives(name)
    }

    /// The index of an environment, which may be at its end.
    pub(crate) fn any_environment(
        &self,
        by: &Subject,
        target: Target<'_>,
        rights: EnvironmentRights,
    ) -> Result<u16, Error> {
        match target {
            Target::Own => Ok(by.name.index),
            Target::Owned(told) => match self.environment(told.index) {
                Some(record)
                    if record.account == by.owner && is_named(epoch_of(record.epoch), told) =>
                {
                    Ok(told.index)
                }
                _ => Err(Error::NotYours),
            },
            Target::Verified(verified) => {
                let index = presented(verified, rights)?;
                let record = self.environment(index).ok_or(Error::Stale)?;
                verified.covers(index.into(), epoch_of(record.epoch))?;
                Ok(index)
            }
        }
    }

    /// The index of an environment that is not at its end, and its record.
    ///
    /// # Errors
    /// [`Error::NotYours`] of one that is named; [`Error::WrongKind`], [`Error::MissingRight`] of a
    /// capability; [`Error::Stale`].
    pub(crate) fn live_environment(
        &self,
        by: &Subject,
        target: Target<'_>,
        rights: EnvironmentRights,
    ) -> Result<(u16, &EnvironmentRecord), Error> {
        let index = self.any_environment(by, target, rights)?;
        match self.environment(index) {
            Some(record) if self.life(index).state() != EnvironmentState::Dying => {
                Ok((index, record))
            }
            _ => Err(Error::Stale),
        }
    }

    /// The index of a space other than the caller's own, which may be at its end.
    pub(crate) fn any_space(
        &self,
        by: &Subject,
        target: Target<'_>,
        rights: SpaceRights,
    ) -> Result<u16, Error> {
        match target {
            Target::Own => match self.environment(by.name.index) {
                Some(record) => Ok(record.space),
                None => Err(Error::Stale),
            },
            Target::Owned(told) => match self.space(told.index) {
                Some(record)
                    if record.owner == by.owner && is_named(epoch_of(record.epoch), told) =>
                {
                    Ok(told.index)
                }
                _ => Err(Error::NotYours),
            },
            Target::Verified(verified) => {
                let index = presented(verified, rights)?;
                let record = self.space(index).ok_or(Error::Stale)?;
                verified.covers(index.into(), epoch_of(record.epoch))?;
                Ok(index)
            }
        }
    }

    /// A space in which mappings are made and taken away.
    ///
    /// # Errors
    /// As of [`Domains::live_environment`].
    #[inline(always)]
    pub(crate) fn mapped(&self, by: &Subject, target: Target<'_>) -> Result<Space, Error> {
        match target {
            // Its caller is in it, so that it is not at its end.
            Target::Own => Ok(by.space),
            _ => self
                .other_space(by, target, SpaceRights::MAP)
                .map(|found| found.1),
        }
    }

    /// The index of a space that is not at its end, and where its tables are.
    pub(crate) fn other_space(
        &self,
        by: &Subject,
        target: Target<'_>,
        rights: SpaceRights,
    ) -> Result<(u16, Space), Error> {
        let index = self.any_space(by, target, rights)?;
        let record = self.space(index).filter(|record| record.dying == 0);
        let root = record.map(|record| PageNumber::new(record.root));
        let space = root.and_then(|root| self.pages.space(root));
        Ok((index, space.ok_or(Error::Stale)?))
    }

    /// The index of an account below the caller's, which may be at its end. The caller's own is none.
    pub(crate) fn any_account(
        &self,
        by: &Subject,
        target: Target<'_>,
        rights: AccountRights,
    ) -> Result<u16, Error> {
        match target {
            Target::Own => Err(Error::MissingRight),
            Target::Owned(told) => match self.account(told.index) {
                Some(record)
                    if self.is_child(told.index, by.owner)
                        && is_named(epoch_of(record.epoch), told) =>
                {
                    Ok(told.index)
                }
                _ => Err(Error::NotYours),
            },
            Target::Verified(verified) => {
                let index = presented(verified, rights)?;
                let record = self.account(index).ok_or(Error::Stale)?;
                verified.covers(index.into(), epoch_of(record.epoch))?;
                Ok(index)
            }
        }
    }

    /// Whether the account at `index` was carved out of `owner`'s. The first account was carved out of none.
    pub(crate) fn is_child(&self, index: u16, owner: Owner) -> bool {
        let parent = self.account(index).map(|record| record.parent);
        parent == Some(owner.index()) && index != owner.index() && self.charged(owner).is_some()
    }
}
