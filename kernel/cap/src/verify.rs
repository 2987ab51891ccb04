//! Verification: from 48 bytes of anybody's to a proof.
//!
//! One hash for the body and one for each caveat, and branches only on what can be read in the capability.

use exopi_abi::Error;
use exopi_abi::capability::siphash::Initial;
use exopi_abi::capability::{
    Badge, Body, CAPABILITY_WORDS, Capability, Chain, Epoch, Identity, Kind, KindRights,
    Restriction, Rights, Second,
};

use crate::Key;

/// Proof that a capability is genuine and that its presenter may present it, and all that it says.
///
/// It proves nothing of the objects, which may have been retired since: [`Verified::covers`] is to be
/// asked for each object at each use. Nor of later times: what is bound by a capability with a time
/// ends with it ([`Verified::until`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its caveats are kept, to be sealed in again when something is issued from it.
    pub(crate) capability: Capability,
    pub(crate) presenter: Identity,
    left: Left,
}

/// What caveats have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    rights: Rights,
    badge: Option<Badge>,
    until: Option<Second>,
    held: bool,
}

impl Left {
    /// Nothing is taken away yet.
    const fn all(rights: Rights) -> Self {
        Self {
            rights,
            badge: None,
            until: None,
            held: false,
        }
    }

    #[inline(always)]
    fn restrict(&mut self, restriction: Restriction) {
        match restriction {
            Restriction::Rights(mask) => self.rights = self.rights.intersection(mask),
            Restriction::Holder(_) => self.held = true,
            Restriction::Badge(badge) => self.badge = self.badge.or(Some(badge)),
            Restriction::Until(second) => {
                self.until = Some(self.until.map_or(second, |until| until.min(second)));
            }
        }
    }
}

/// Decides what `capability` is worth in the hands of `presenter`, `now` whole seconds after boot.
///
/// The seal is computed anew: from the body, then from each caveat with its position, and for a holder caveat
/// with `presenter`'s index and epoch.
///
/// # Errors
/// In the order in which they are looked for:
///
/// * [`Error::WrongHolder`]: a holder caveat hints at an index that is not the presenter's. This can be read
///   in the capability, so it is told before the seal is known to be right.
/// * [`Error::WrongSeal`]: the seal does not fit. That is all that can be known of a holder caveat whose hint
///   fits and whose environment is another one: without its epoch nobody can tell it from a forgery.
/// * [`Error::Expired`]: it is genuine, and its time is over.
#[inline(always)]
pub fn verify(
    capability: &Capability,
    key: &Key,
    presenter: Identity,
    now: u64,
) -> Result<Verified, Error> {
    let body = capability.body();
    let mut seal = body.seal(key.0);
    let mut left = Left::all(body.rights());
    let mut caveats = capability.caveats();
    if !caveats.is_empty() {
        let initial = Initial::in_memory();
        while let Some((next, restriction)) = caveats.follow(seal, presenter, initial)? {
            seal = next;
            left.restrict(restriction);
        }
    }
    if seal != capability.seal() {
        return Err(Error::WrongSeal);
    }
    let verified = Verified {
        capability: *capability,
        presenter,
        left,
    };
    verified.in_time(now)?;
    Ok(verified)
}

/// What words prove that are a genuine capability for pages without caveats: the usual one. Of all others
/// [`verify_words`] tells.
#[inline(always)]
pub fn verify_plain(
    words: [u64; CAPABILITY_WORDS],
    key: &Key,
    presenter: Identity,
) -> Option<Verified> {
    if !Chain::is_plain(&words) {
        return None;
    }
    let chain = Chain::of_pages(words, key.0)?;
    let left = Left::all(chain.rights());
    Some(Verified {
        capability: chain.genuine()?,
        presenter,
        left,
    })
}

/// The same as [`verify`] of words as they were presented; `now` is asked for if the answer depends on it.
///
/// # Errors
/// [`Error::Malformed`]: they are no capability. Otherwise those of [`verify`].
#[inline(always)]
pub fn verify_words(
    words: [u64; CAPABILITY_WORDS],
    key: &Key,
    presenter: Identity,
    now: impl FnOnce() -> u64,
) -> Result<Verified, Error> {
    match of_pages(words, key, presenter) {
        Some(verified) => {
            if verified.left.until.is_some() {
                verified.in_time(now())?;
            }
            Ok(verified)
        }
        None => by_the_rules(words, key, presenter, now()),
    }
}

/// The same, with what is proved put where it stays: a capability's worth of memory is moved no second time.
///
/// # Errors
/// As [`verify_words`]; what is in `place` then is good for nothing.
#[inline(always)]
pub fn verify_into<'p>(
    place: &'p mut Option<Verified>,
    words: [u64; CAPABILITY_WORDS],
    key: &Key,
    presenter: Identity,
    now: impl FnOnce() -> u64,
) -> Result<&'p Verified, Error> {
    match of_pages(words, key, presenter) {
        Some(verified) => {
            let verified = place.insert(verified);
            if verified.left.until.is_some() {
                verified.in_time(now())?;
            }
            Ok(verified)
        }
        None => Ok(place.insert(by_the_rules(words, key, presenter, now())?)),
    }
}

/// What the words prove, their time aside, if they are a genuine capability for pages.
#[inline(always)]
fn of_pages(words: [u64; CAPABILITY_WORDS], key: &Key, presenter: Identity) -> Option<Verified> {
    let mut chain = Chain::of_pages(words, key.0)?;
    let mut left = Left::all(chain.rights());
    let initial = Initial::in_memory();
    while !chain.is_followed() {
        chain.follow(presenter, initial, |restriction| left.restrict(restriction))?;
    }
    Some(Verified {
        capability: chain.genuine()?,
        presenter,
        left,
    })
}

/// The long way: for other kinds, and for what is refused, to tell why.
#[inline(never)]
fn by_the_rules(
    words: [u64; CAPABILITY_WORDS],
    key: &Key,
    presenter: Identity,
    now: u64,
) -> Result<Verified, Error> {
    verify(&Capability::from_words(words)?, key, presenter, now)
}

impl Verified {
    #[inline(always)]
    pub(crate) const fn body(&self) -> Body {
        self.capability.body()
    }

    /// What it is for.
    #[inline(always)]
    pub const fn kind(&self) -> Kind {
        self.body().kind()
    }

    /// The first object that it covers.
    #[inline(always)]
    pub const fn index(&self) -> u32 {
        self.body().index()
    }

    /// How many objects it covers, at least 1.
    #[inline(always)]
    pub const fn count(&self) -> u32 {
        self.body().count()
    }

    /// The stamp that an object must carry for it to be good.
    #[inline(always)]
    pub const fn epoch(&self) -> Epoch {
        self.body().epoch()
    }

    /// Everything that it allows: the body's rights, less what caveats took away.
    #[inline(always)]
    pub const fn all_rights(&self) -> Rights {
        self.left.rights
    }

    /// What is given when something is issued from it and nobody has named rights: all but those that end the
    /// object or other holders' use of it ([`Kind::withheld`]).
    #[inline(always)]
    pub const fn lendable(&self) -> Rights {
        self.left.rights.difference(self.kind().withheld())
    }

    /// The badge of calls that are made by it: the first one sealed.
    #[inline(always)]
    pub const fn badge(&self) -> Option<Badge> {
        self.left.badge
    }

    /// The second when what is bound by it must end: the earliest sealed.
    #[inline(always)]
    pub const fn until(&self) -> Option<Second> {
        self.left.until
    }

    /// Who presented it.
    #[inline(always)]
    pub const fn presenter(&self) -> Identity {
        self.presenter
    }

    /// Whether the presenter alone may present it.
    #[inline(always)]
    pub const fn is_held(&self) -> bool {
        self.left.held
    }

    /// What it allows, as rights of the kind that the caller expects.
    ///
    /// # Errors
    /// [`Error::WrongKind`].
    #[inline(always)]
    pub fn rights<R: KindRights>(&self) -> Result<R, Error> {
        if self.kind() == R::KIND {
            Ok(R::from_bits_truncate(self.left.rights.bits()))
        } else {
            Err(Error::WrongKind)
        }
    }

    /// Whether it allows all of `rights`.
    ///
    /// # Errors
    /// [`Error::WrongKind`], [`Error::MissingRight`].
    #[inline(always)]
    pub fn require<R: KindRights>(&self, rights: R) -> Result<(), Error> {
        if self.rights::<R>()?.contains(rights) {
            Ok(())
        } else {
            Err(Error::MissingRight)
        }
    }

    /// Whether it is good for the object at `index`, whose record carries the stamp `epoch` now.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]: it does not cover that index. [`Error::Stale`]: it does, but the object was freed,
    /// retired or changed since.
    #[inline(always)]
    pub fn covers(&self, index: u32, epoch: Epoch) -> Result<(), Error> {
        // Below the first one the difference wraps to more than any count: a range ends below 2^32.
        if index.wrapping_sub(self.index()) >= self.count() {
            Err(Error::OutOfRange)
        } else if epoch != self.epoch() {
            Err(Error::Stale)
        } else {
            Ok(())
        }
    }

    /// Whether its time is not over, `now` whole seconds after boot.
    ///
    /// # Errors
    /// [`Error::Expired`].
    #[inline(always)]
    pub fn in_time(&self, now: u64) -> Result<(), Error> {
        match self.left.until {
            Some(second) if second.has_begun(now) => Err(Error::Expired),
            _ => Ok(()),
        }
    }
}
