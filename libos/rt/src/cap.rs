//! Capabilities, typed by what they are for: minted, narrowed, handed on.
//!
//! A capability is plain data, and what it allows is in its bytes. So most of this needs no call:
//!
//! ```text
//!   what one owns --mint--> Cap --keep, only_for, badge, until--> Cap --to_bytes--> wherever
//!                            |                                     |
//!                            +--narrow (a call: another range)     +--grant_to: what is usually meant
//! ```
//!
//! Two things are easy to forget when something is lent, and are done unless one says otherwise
//! ([`Cap::grant_to`]): that only the one it is meant for may present it, and that the rights by which a
//! holder ends the object for everybody stay with the owner.
//!
//! Whether a capability is genuine and still good the kernel tells when it is presented, not before.

use core::fmt;
use core::marker::PhantomData;

use crate::capability::{
    AccountRights, Badge, CAPABILITY_BYTES, CAPABILITY_WORDS, Caveat, EnvironmentRights, Epoch,
    KindRights, PageRights, Restriction, Rights, Second, SpaceRights,
};
use crate::domain::ObjectName;
use crate::{Capability, Error, PageNumber, PageRun, UserCapability, stubs};

/// A capability of one kind: `R` is the type of its rights.
///
/// ```
/// use exopi_rt::cap::Cap;
/// use exopi_rt::capability::{Capability, PageRights};
///
/// # fn send(_: [u8; 48]) {}
/// # let words = [8 | 4 << 32, 77 | 0x3f << 48, 1, 0, 0, 0];
/// # let pages = Cap::<PageRights>::new(Capability::from_words(words)?)?;
/// let for_reading = pages.keep(PageRights::READ)?;
/// assert_eq!(for_reading.rights(), PageRights::READ);
/// send(for_reading.to_bytes());
/// # Ok::<(), exopi_rt::Error>(())
/// ```
#[repr(transparent)]
pub struct Cap<R> {
    capability: Capability,
    kind: PhantomData<R>,
}

/// A capability for page frames.
pub type PageCap = Cap<PageRights>;
/// A capability for an address space.
pub type SpaceCap = Cap<SpaceRights>;
/// A capability for an environment.
pub type EnvironmentCap = Cap<EnvironmentRights>;
/// A capability for an account.
pub type AccountCap = Cap<AccountRights>;

// By hand, since derived ones would ask the same of `R`.
impl<R> Clone for Cap<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Cap<R> {}

impl<R> PartialEq for Cap<R> {
    fn eq(&self, other: &Self) -> bool {
        self.capability == other.capability
    }
}

impl<R> Eq for Cap<R> {}

impl<R> fmt::Debug for Cap<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.capability.fmt(f)
    }
}

impl<R: KindRights> Cap<R> {
    /// The capability, if it is of this kind.
    ///
    /// # Errors
    /// [`Error::WrongKind`].
    pub fn new(capability: Capability) -> Result<Self, Error> {
        if capability.body().kind() == R::KIND {
            Ok(Self {
                capability,
                kind: PhantomData,
            })
        } else {
            Err(Error::WrongKind)
        }
    }

    /// Parses what came from [`Cap::to_bytes`], or from anywhere.
    ///
    /// # Errors
    /// [`Error::Malformed`]: no capability; [`Error::WrongKind`]: one for something else.
    pub fn from_bytes(bytes: &[u8; CAPABILITY_BYTES]) -> Result<Self, Error> {
        Self::new(Capability::from_bytes(bytes)?)
    }

    /// Its bytes, to be stored or sent. Who has them has it, unless it says for whom it is.
    pub fn to_bytes(&self) -> [u8; CAPABILITY_BYTES] {
        self.capability.to_bytes()
    }

    /// Mints a capability with exactly these rights for `count` objects from `index` on, which the account
    /// that the caller draws on owns.
    ///
    /// # Errors
    /// Those of `cap_mint`.
    pub fn mint(index: u64, count: u64, rights: R) -> Result<Self, Error> {
        let mut words = [0; CAPABILITY_WORDS];
        let bits = rights.bits().into();
        stubs::cap_mint(R::KIND, index, count, bits, (&mut words).into())?;
        Self::new(Capability::from_words(words)?)
    }

    /// A capability for a part of what this one is for, `count` objects from `index` on, with those of
    /// `rights` that it has and all its caveats. The kernel makes it.
    ///
    /// # Errors
    /// Those of `cap_narrow`.
    pub fn narrow(&self, index: u64, count: u64, rights: R) -> Result<Self, Error> {
        let mut words = [0; CAPABILITY_WORDS];
        let bits = rights.bits().into();
        stubs::cap_narrow(self.into(), index, count, bits, (&mut words).into())?;
        Self::new(Capability::from_words(words)?)
    }

    /// The plain capability.
    pub const fn capability(&self) -> &Capability {
        &self.capability
    }

    /// The first object that it is for.
    pub const fn index(&self) -> u32 {
        self.capability.body().index()
    }

    /// How many objects it is for.
    pub const fn count(&self) -> u32 {
        self.capability.body().count()
    }

    /// The stamp that the objects must still carry.
    pub const fn epoch(&self) -> Epoch {
        self.capability.body().epoch()
    }

    /// The rights that are left of it, caveats counted, whoever may use them.
    pub fn rights(&self) -> R {
        let body = self.capability.body().rights();
        let left = self.capability.caveats().fold(body, |left, caveat| {
            if let Caveat::Rights(mask) = caveat {
                left.intersection(mask)
            } else {
                left
            }
        });
        R::from_bits_truncate(left.bits())
    }

    /// Keeps of its rights only these. A caveat, if that takes any away.
    ///
    /// # Errors
    /// [`Error::CaveatsFull`].
    pub fn keep(&self, rights: R) -> Result<Self, Error> {
        let mask: Rights = rights.into();
        if mask.contains(self.rights().into()) {
            Ok(*self)
        } else {
            self.restrict(Restriction::Rights(mask))
        }
    }

    /// Only `holder`, an environment, may present it from now on.
    ///
    /// # Errors
    /// [`Error::CaveatsFull`].
    pub fn only_for(&self, holder: ObjectName) -> Result<Self, Error> {
        self.restrict(Restriction::Holder(holder.identity()))
    }

    /// Calls by it carry this badge, unless they carry one already.
    ///
    /// # Errors
    /// [`Error::CaveatsFull`].
    pub fn badge(&self, badge: Badge) -> Result<Self, Error> {
        self.restrict(Restriction::Badge(badge))
    }

    /// It is good only until this second since boot begins. Pages cannot be mapped by it then.
    ///
    /// # Errors
    /// [`Error::CaveatsFull`].
    pub fn until(&self, second: Second) -> Result<Self, Error> {
        self.restrict(Restriction::Until(second))
    }

    fn restrict(&self, restriction: Restriction) -> Result<Self, Error> {
        Ok(Self {
            capability: self.capability.attenuate(restriction)?,
            kind: PhantomData,
        })
    }

    /// What is usually meant by lending it to `holder`: all rights but those by which a holder ends the
    /// object for others, and nobody else may present it.
    ///
    /// # Errors
    /// [`Error::CaveatsFull`].
    pub fn grant_to(&self, holder: ObjectName) -> Result<Self, Error> {
        self.keep(lent::<R>())?.only_for(holder)
    }

    /// Lends `holder` exactly these of its rights, whatever they are; nobody else may present it.
    ///
    /// # Errors
    /// [`Error::CaveatsFull`].
    pub fn grant_rights_to(&self, rights: R, holder: ObjectName) -> Result<Self, Error> {
        self.keep(rights)?.only_for(holder)
    }

    /// Lends it to whoever comes to have the bytes, without the rights by which a holder ends the object for
    /// others. Who wants to lend those as well says [`Cap::keep`].
    ///
    /// # Errors
    /// [`Error::CaveatsFull`].
    pub fn grant_to_anyone(&self) -> Result<Self, Error> {
        self.keep(lent::<R>())
    }
}

/// The rights of a kind that are lent unless one names others.
pub(crate) fn lent<R: KindRights>() -> R {
    let all = R::KIND.rights();
    R::from_bits_truncate(all.difference(R::KIND.withheld()).bits())
}

impl PageCap {
    /// The first page.
    pub const fn first(&self) -> PageNumber {
        PageNumber::new(self.index())
    }

    /// The pages from the one after `offset` others on, as calls name them. Nothing if there are not as many.
    pub fn run(&self, offset: u64) -> Option<PageRun<'_>> {
        let page = self.first().plus(offset)?;
        (offset < self.count().into()).then(|| PageRun::Presented(page, self.into()))
    }
}

impl<'a, R> From<&'a Cap<R>> for UserCapability<'a> {
    #[inline(always)]
    fn from(cap: &'a Cap<R>) -> Self {
        (&cap.capability).into()
    }
}

#[cfg(test)]
mod tests;
