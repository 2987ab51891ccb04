//! Accounts: what may be used, and who is charged.
//!
//! An account is carved out of the one that the caller draws on, and what it leaves flows back when it is
//! destroyed. Whoever may draw on several says which one it means with [`Account::bind`].

use crate::capability::AccountRights;
use crate::domain::{AccountRecord, ObjectName, Resource};
use crate::handle::{Account, Owns};
use crate::page::Owner;
use crate::{Error, environment, exposed, stubs, wait};

impl Owns for AccountRights {
    fn own() -> Option<ObjectName> {
        let owner = environment::own_record()?.account;
        Some(ObjectName::from_word(owner.word()))
    }
}

/// What an account may use when it is made, by [`Resource`]. Filters and frames are given to it afterwards
/// ([`stubs::account_allow`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Page frames.
    pub pages: u32,
    /// Environments.
    pub environments: u32,
    /// Address spaces.
    pub spaces: u32,
    /// Accounts.
    pub accounts: u32,
    /// Slices of processor time.
    pub slices: u32,
}

impl Allowance {
    /// The allowance in a record.
    pub const fn of(record: &AccountRecord) -> Self {
        let [pages, environments, spaces, accounts, slices, ..] = record.allowance;
        Self {
            pages,
            environments,
            spaces,
            accounts,
            slices,
        }
    }
}

const _: () = assert!(
    Resource::COUNT == 7,
    "`Allowance` names all, but for filters and frames"
);

/// The account that the calling environment draws on now.
pub fn drawn_on() -> Option<Owner> {
    Some(environment::own_record()?.bound)
}

/// From now on the account that the caller draws on takes up to `count` pages from whoever gives some.
///
/// # Errors
/// Those of `page_accept`.
pub fn accept_pages(count: u32) -> Result<(), Error> {
    stubs::page_accept(count)
}

impl Account<'static> {
    /// Carves an account out of the one that the caller draws on.
    ///
    /// # Errors
    /// Those of `account_create` and `account_allow`; there is no account then.
    pub fn create(allowance: Allowance) -> Result<Self, Error> {
        Self::create_guaranteed(allowance, 0)
    }

    /// The same, of whose plain pages revocation leaves `guaranteed`, at most
    /// [`MAX_GUARANTEED`](crate::revocation::MAX_GUARANTEED), to it.
    ///
    /// # Errors
    /// Those of `account_create`.
    pub fn create_guaranteed(allowance: Allowance, guaranteed: u32) -> Result<Self, Error> {
        let Allowance {
            pages,
            environments,
            spaces,
            accounts,
            slices,
        } = allowance;
        let name = stubs::account_create(pages, environments, spaces, accounts, guaranteed)?;
        let account = Self::Owned(name);
        if slices != 0 {
            account.allow(Resource::Slices, slices).inspect_err(|_| {
                // It is new and empty: nothing can refuse to end it.
                let _destroyed = account.destroy();
            })?;
        }
        Ok(account)
    }
}

impl Account<'_> {
    /// As others name it, who give it something.
    pub fn owner(self) -> Option<Owner> {
        self.name().map(|name| Owner::new(name.index, name.epoch))
    }

    /// Its record, if it is there still.
    pub fn record(self) -> Option<AccountRecord> {
        exposed::account(self.name()?)
    }

    /// Sets how much of a resource it may use; gives how much that is now.
    ///
    /// # Errors
    /// Those of `account_allow`.
    pub fn allow(self, resource: Resource, amount: u32) -> Result<u64, Error> {
        stubs::account_allow(self.object(), resource, amount)
    }

    /// From now on the caller draws on it, and what belongs to it is the caller's to use.
    ///
    /// # Errors
    /// Those of `account_bind`.
    pub fn bind(self) -> Result<(), Error> {
        stubs::account_bind(self.object())
    }

    /// Destroys it with all that is charged to it, however many calls that takes.
    ///
    /// # Errors
    /// Those of `account_destroy`; [`Error::Busy`] if something of it keeps running on another core.
    pub fn destroy(self) -> Result<(), Error> {
        wait::until_gone(|| stubs::account_destroy(self.object()))
    }
}
