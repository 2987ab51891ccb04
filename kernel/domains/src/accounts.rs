//! Accounts: what is charged to them, how one is carved out of another, who draws on them.
//!
//! ```text
//!   parent   allowance  |------------------------------------------------|
//!            used       |-- its own --|--- child's allowance ---|  +1 account
//!   child                             |-- used --|--- room -----|
//! ```
//!
//! What a child has not used is used of its parent: it is there whenever the child wants it, and nobody else
//! can have it. At the child's end all of it flows back at once, since by then nothing is charged to it.
//!
//! *Home* is the account that an environment is charged to for as long as it lives. *Bound* is the one that it
//! draws on at present; at first that is home. What is drawn, made or named as owned belongs to the bound one.
//! One that has gone, or is going, is [`Error::Stale`] for whatever needs it; home can always be bound again.

use exopi_abi::Error;
use exopi_abi::capability::{AccountRights, Epoch};
use exopi_abi::domain::{AccountRecord, ObjectName, Resource};
use exopi_abi::page::Owner;
use exopi_abi::revocation::MAX_GUARANTEED;
use exopi_pages::Credit;

use crate::subject::{epoch_of, lasting};
use crate::{Domains, Subject, Target};

impl Domains<'_> {
    /// Carves an account out of the caller's as the row `account_create` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::OutOfRange`], [`Error::Stale`],
    /// [`Error::OverAllowance`], [`Error::Exhausted`].
    pub fn account_create(
        &mut self,
        by: &Subject,
        pages: u32,
        environments: u32,
        spaces: u32,
        accounts: u32,
        guaranteed: u32,
    ) -> Result<ObjectName, Error> {
        if guaranteed as usize > MAX_GUARANTEED {
            return Err(Error::OutOfRange);
        }
        let parent = by.owner;
        let record = self.drawable(parent)?;
        // What else there is, is given afterwards (`account_allow`).
        let allowance = [pages, environments, spaces, accounts, 0, 0, 0];
        for (resource, wanted) in Resource::ALL.into_iter().zip(allowance) {
            if taken(resource, wanted) > room(record, resource) {
                return Err(Error::OverAllowance);
            }
        }
        let index = self.free_accounts.first().ok_or(Error::Exhausted)?;
        let epoch = self.epochs.stamp().ok_or(Error::Exhausted)?;
        for (resource, wanted) in Resource::ALL.into_iter().zip(allowance) {
            self.charge(parent, resource, taken(resource, wanted));
        }
        let name = self.put_account(index, epoch, parent.index(), allowance);
        self.update_account(index, |record| record.guaranteed = guaranteed);
        Ok(name)
    }

    /// Puts a new account into a free place.
    pub(crate) fn put_account(
        &mut self,
        index: u16,
        epoch: Epoch,
        parent: u16,
        allowance: [u32; Resource::COUNT],
    ) -> ObjectName {
        self.free_accounts.remove(index);
        self.update_account(index, |record| {
            *record = AccountRecord {
                epoch: epoch.bits(),
                parent,
                allowance,
                ..AccountRecord::default()
            }
        });
        ObjectName { index, epoch }
    }

    /// Ends an account to which nothing is charged any more: its allowance flows back.
    pub(crate) fn drop_account(&mut self, index: u16) {
        let Some(record) = self.account(index).copied() else {
            return;
        };
        self.update_account(index, |record| *record = AccountRecord::default());
        self.free_accounts.insert(index);
        if let Some(parent) = self.account(record.parent) {
            let parent = Owner::new(record.parent, epoch_of(parent.epoch));
            for (resource, allowed) in Resource::ALL.into_iter().zip(record.allowance) {
                self.release(parent, resource, taken(resource, allowed));
            }
        }
    }

    /// Sets an allowance as the row `account_allow` of the call table says; gives what it is now.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::MissingRight`] for the caller's own; of a capability
    /// [`Error::WrongKind`], [`Error::MissingRight`], [`Error::Stale`]; [`Error::NotYours`] of any that is not a
    /// child of the caller's account; [`Error::Stale`] of one at its end, [`Error::OverAllowance`].
    pub fn account_allow(
        &mut self,
        by: &Subject,
        account: Target<'_>,
        resource: Resource,
        amount: u32,
    ) -> Result<u64, Error> {
        let index = self.any_account(by, account, AccountRights::DESTROY)?;
        if !self.is_child(index, by.owner) {
            return Err(Error::NotYours);
        }
        let record = self.account(index).filter(|record| record.dying == 0);
        let record = record.ok_or(Error::Stale)?;
        let kind = resource as usize;
        let (before, used) = (record.allowance[kind], record.used[kind]);
        let now = amount.max(used);
        let parent = self.drawable(by.owner)?;
        if u64::from(now.saturating_sub(before)) > room(parent, resource) {
            return Err(Error::OverAllowance);
        }
        self.charge(by.owner, resource, now.saturating_sub(before).into());
        self.release(by.owner, resource, before.saturating_sub(now).into());
        self.update_account(index, |record| record.allowance[kind] = now);
        Ok(now.into())
    }

    /// Lets the caller draw on another account as the row `account_bind` of the call table says. What is kept
    /// of the caller is out of date then: [`Domains::subject`] tells anew.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::TimeLimited`]; of a capability
    /// [`Error::WrongKind`], [`Error::MissingRight`], of another account [`Error::NotYours`];
    /// [`Error::Stale`].
    pub fn account_bind(&mut self, by: &Subject, account: Target<'_>) -> Result<(), Error> {
        lasting(account)?;
        let caller = self.environment(by.name.index).ok_or(Error::Stale)?;
        let bound = match account {
            Target::Own => caller.account,
            _ => {
                let index = self.any_account(by, account, AccountRights::DRAW)?;
                let record = self.account(index).ok_or(Error::Stale)?;
                Owner::new(index, epoch_of(record.epoch))
            }
        };
        self.drawable(bound)?;
        self.update_environment(by.name.index, |record| record.bound = bound);
        Ok(())
    }

    /// Lets the caller's account take pages as the row `page_accept` of the call table says.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn page_accept(&mut self, by: &Subject, count: u32) -> Result<(), Error> {
        self.drawable(by.owner)?;
        self.update_account(by.owner.index(), |record| record.accepts = count);
        Ok(())
    }

    /// The record of an account as long as anything can be charged to it.
    pub(crate) fn charged(&self, owner: Owner) -> Option<&AccountRecord> {
        let record = self.account(owner.index())?;
        (epoch_of(record.epoch) == owner.epoch()).then_some(record)
    }

    /// The record of an account to which something new may be charged.
    ///
    /// # Errors
    /// [`Error::Stale`]: it has gone, or is at its end.
    pub(crate) fn drawable(&self, owner: Owner) -> Result<&AccountRecord, Error> {
        let record = self.charged(owner).filter(|record| record.dying == 0);
        record.ok_or(Error::Stale)
    }

    /// Whether one more of `resource` may be charged to `owner`.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::OverAllowance`].
    pub(crate) fn has_room(&self, owner: Owner, resource: Resource) -> Result<(), Error> {
        if room(self.drawable(owner)?, resource) == 0 {
            return Err(Error::OverAllowance);
        }
        Ok(())
    }

    /// How many pages `owner` may still take.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub(crate) fn credit(&self, owner: Owner) -> Result<Credit, Error> {
        let pages = room(self.drawable(owner)?, Resource::Pages);
        Ok(Credit { owner, pages })
    }

    /// Charges `count` of `resource`, for which there is room, to `owner`.
    pub(crate) fn charge(&mut self, owner: Owner, resource: Resource, count: u64) {
        self.update_account(owner.index(), |record| {
            record.used[resource as usize] += count as u32;
        });
    }

    /// Takes `count` of `resource`, which were charged to `owner`, off its account.
    pub(crate) fn release(&mut self, owner: Owner, resource: Resource, count: u64) {
        if self.charged(owner).is_some() {
            self.update_account(owner.index(), |record| {
                record.used[resource as usize] -= count as u32;
            });
        }
    }

    pub(crate) fn update_account(&mut self, index: u16, change: impl FnOnce(&mut AccountRecord)) {
        if let Some(record) = self.accounts.get_mut(usize::from(index)) {
            change(record);
        }
    }
}

/// How much of `resource` an account has left.
pub(crate) fn room(record: &AccountRecord, resource: Resource) -> u64 {
    let asked = usize::from(record.asked) == resource as usize + 1;
    let resource = resource as usize;
    let allowed = record.allowance[resource];
    // While it is asked for some, what it gives back is not its to take again.
    let most = if usize::from(record.frozen) == resource + 1 {
        0
    } else if asked {
        allowed.min(record.ceiling)
    } else {
        allowed
    };
    most.saturating_sub(record.used[resource]).into()
}

/// What a parent is charged for a child's allowance: one account more, for the child itself.
fn taken(resource: Resource, allowed: u32) -> u64 {
    u64::from(allowed) + u64::from(resource == Resource::Accounts)
}
