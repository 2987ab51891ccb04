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
}

impl Allowance {
    /// The allowance in a record.
    pub const fn of(record: &AccountRecord) -> Self {
        let [pages, environments, spaces, accounts, ..] = record.allowance;
        Self {
            pages,
            environments,
            spaces,
            accounts,
        }
    }
}

const _: () = assert!(
    Resource::COUNT == 6,
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
    /// Those of `account_create`.
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
        } = allowance;
        stubs::account_create(pages, environments, spaces, accounts, guaranteed).map(Self::Owned)
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
