//! Accounts, spaces, environments and slices by name, with the right by which they are named.
//!
//! A handle is what a call takes for an object ([`Object`]), with the kind in its type: one's own, one that
//! belongs to the account one draws on, or one that a capability is for. It owns nothing and ends nothing
//! when it is dropped: what objects there are the records tell.

use crate::cap::{self, Cap};
use crate::capability::{AccountRights, EnvironmentRights, KindRights, SliceRights, SpaceRights};
use crate::domain::ObjectName;
use crate::{Error, Object};

/// An object whose capabilities have rights of type `R`.
#[derive(Debug)]
pub enum Handle<'a, R> {
    /// The caller itself, the space that it runs in, the account that it is charged to, the slice that runs.
    Own,
    /// One that is charged to the account that the caller draws on.
    Owned(ObjectName),
    /// One that a capability is for.
    Presented(&'a Cap<R>),
}

/// An account: see [`account`](crate::account).
pub type Account<'a> = Handle<'a, AccountRights>;
/// An address space: see [`space`](crate::space).
pub type Space<'a> = Handle<'a, SpaceRights>;
/// An environment: see [`environment`](crate::environment).
pub type Environment<'a> = Handle<'a, EnvironmentRights>;
/// A slice of processor time: see [`slice`](crate::slice).
pub type Slice<'a> = Handle<'a, SliceRights>;

// By hand, since derived ones would ask the same of `R`.
impl<R> Clone for Handle<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Handle<'_, R> {}

impl<'a, R> From<&'a Cap<R>> for Handle<'a, R> {
    fn from(cap: &'a Cap<R>) -> Self {
        Self::Presented(cap)
    }
}

impl<R> From<ObjectName> for Handle<'_, R> {
    fn from(name: ObjectName) -> Self {
        Self::Owned(name)
    }
}

impl<'a, R> Handle<'a, R> {
    /// As calls take it.
    pub fn object(self) -> Object<'a> {
        match self {
            Self::Own => Object::Own,
            Self::Owned(name) => Object::Owned(name),
            Self::Presented(cap) => Object::Presented(cap.into()),
        }
    }
}

/// The kinds of which there are handles, and where the calling environment's own is named.
pub trait Owns: KindRights {
    /// The name of the caller's own, as the records tell it.
    fn own() -> Option<ObjectName>;
}

impl<R: Owns> Handle<'_, R> {
    /// Index and epoch. `None` only if the records do not tell the caller's own: its slice, or off target.
    pub fn name(self) -> Option<ObjectName> {
        match self {
            Self::Own => R::own(),
            Self::Owned(name) => Some(name),
            Self::Presented(cap) => Some(ObjectName {
                // Of these kinds the kernel makes no larger index.
                index: cap.index() as u16,
                epoch: cap.epoch(),
            }),
        }
    }

    /// Mints a capability for it with exactly these rights. It must belong to the account that the caller draws on.
    ///
    /// # Errors
    /// Those of `cap_mint`; [`Error::NotYours`] if it is named by a capability, which is narrowed instead.
    pub fn mint(self, rights: R) -> Result<Cap<R>, Error> {
        let name = match self {
            Self::Presented(_) => None,
            named => named.name(),
        };
        let index = name.ok_or(Error::NotYours)?.index;
        Cap::mint(index.into(), 1, rights)
    }

    /// Mints a capability for `holder`, an environment: all rights but those by which a holder ends the object
    /// for others, and nobody else may present it.
    ///
    /// # Errors
    /// As for [`Handle::mint`].
    pub fn grant_to(self, holder: ObjectName) -> Result<Cap<R>, Error> {
        self.mint(cap::lent())?.only_for(holder)
    }
}
