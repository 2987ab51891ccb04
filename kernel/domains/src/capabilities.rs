//! Capabilities that are issued: for what the caller's account owns, or for a part of what one is good for.

use exopi_abi::capability::{Body, Capability, Kind, Rights};
use exopi_abi::domain::EnvironmentState;
use exopi_abi::{Error, PageNumber};
use exopi_cap::{Key, Verified};

use crate::subject::epoch_of;
use crate::{Domains, Subject};

/// Issues from `from` as the row `cap_narrow` of the call table says.
///
/// # Errors
/// In the order in which they are looked for: [`Error::Malformed`] for rights that no kind has,
/// [`Error::OutOfRange`] for numbers beyond 32 bits, those of [`Verified::issue`].
pub fn cap_narrow(
    from: &Verified,
    key: &Key,
    index: u64,
    count: u64,
    rights: u64,
) -> Result<Capability, Error> {
    let rights = rights_in(rights)?;
    from.issue(key, number(index)?, number(count)?, rights, &[])
}

impl Domains<'_> {
    /// What the row `cap_mint` of the call table says shall be sealed ([`exopi_cap::seal`]): the lock need not
    /// be held for that.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Malformed`] for rights that the kind does not have,
    /// [`Error::MissingRight`] for a kind of which nobody owns any; [`Error::OutOfRange`] for numbers beyond
    /// 32 bits; of pages those of [`exopi_pages::Pages::mintable`]; of others [`Error::BadCount`] for more or
    /// less than one, [`Error::OutOfRange`] beyond the table, [`Error::NotYours`], [`Error::Stale`] for one at
    /// its end.
    pub fn cap_mint(
        &self,
        by: &Subject,
        kind: Kind,
        index: u64,
        count: u64,
        rights: u64,
    ) -> Result<Body, Error> {
        let rights = rights_in(rights)?;
        if !kind.rights().contains(rights) {
            return Err(Error::Malformed);
        }
        let table = match kind {
            Kind::Page => {
                let first = PageNumber::new(number(index)?);
                let epoch = self.pages.mintable(by.owner, first, count)?;
                return Body::of_kind(kind, rights, first.get(), number(count)?, epoch);
            }
            Kind::Space => self.spaces.len(),
            Kind::Environment => self.environments.len(),
            Kind::Account => self.accounts.len(),
            Kind::Slice => self.slices.records().len(),
            _ => return Err(Error::MissingRight),
        };
        let index = number(index)?;
        if count != 1 {
            return Err(Error::BadCount);
        }
        let place = u16::try_from(index).map_err(|_| Error::OutOfRange)?;
        if usize::from(place) >= table {
            return Err(Error::OutOfRange);
        }
        let (epoch, lives) = self.owned(by, kind, place).ok_or(Error::NotYours)?;
        if !lives {
            return Err(Error::Stale);
        }
        Body::of_kind(kind, rights, index, 1, epoch_of(epoch))
    }

    /// The epoch of an object that is charged to the account that `by` draws on, and whether it is not at its end.
    fn owned(&self, by: &Subject, kind: Kind, index: u16) -> Option<(u64, bool)> {
        match kind {
            Kind::Space => {
                let record = self.space(index)?;
                (record.owner == by.owner).then_some((record.epoch, record.dying == 0))
            }
            Kind::Environment => {
                let record = self.environment(index)?;
                let lives = self.life(index).state() != EnvironmentState::Dying;
                (record.account == by.owner).then_some((record.epoch, lives))
            }
            Kind::Slice => {
                let record = self.slices.records().get(usize::from(index))?;
                let is_owned = !record.is_free() && record.account == by.owner;
                is_owned.then_some((record.epoch, true))
            }
            _ => {
                let record = self.account(index)?;
                self.is_child(index, by.owner)
                    .then_some((record.epoch, record.dying == 0))
            }
        }
    }
}

/// A set of rights as it travels.
fn rights_in(word: u64) -> Result<Rights, Error> {
    let bits = u16::try_from(word).map_err(|_| Error::Malformed)?;
    Ok(Rights::from_bits(bits))
}

/// An index or a count as a capability holds it.
fn number(word: u64) -> Result<u32, Error> {
    u32::try_from(word).map_err(|_| Error::OutOfRange)
}
