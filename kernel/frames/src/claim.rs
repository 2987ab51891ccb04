//! Who makes a call, and what gives a right to what it names.
//!
//! A filter or send capability is named in one of two ways, each checked against the record: by index and epoch, good if
//! the account that the caller draws on pays for it, with all rights; or by a capability, good for
//! the rights that it has. Rings are named by who owns them alone.

use exopi_abi::Error;
use exopi_abi::capability::{Epoch, FilterRights, SendRights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{FilterRecord, FilterState, MAX_KEYS, RingRecord, SendRecord, filter_place};
use exopi_abi::page::Owner;
use exopi_cap::Verified;
use exopi_filter::FilterId;

use crate::filters::KEY_SHIFT;
use crate::{Frames, MAX_SEND_DEPTH};

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// The environment.
    pub name: ObjectName,
    /// The account that it draws on.
    pub owner: Owner,
}

/// What a call names. A capability has been found genuine, and no more.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'v> {
    /// What is charged to the caller's account.
    Owned(ObjectName),
    /// What a capability is good for.
    Verified(&'v Verified),
}

/// A filter that a call may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) interface: usize,
    pub(crate) id: FilterId,
    /// The only key by which it may be refined, if not all.
    pub(crate) key: Option<usize>,
}

impl Place {
    pub(crate) fn number(self) -> usize {
        self.id.0 as usize
    }
}

/// Refuses a capability with a time for what would not end with it.
fn lasting(claim: Claim<'_>) -> Result<(), Error> {
    match claim {
        Claim::Verified(verified) if verified.until().is_some() => Err(Error::TimeLimited),
        _ => Ok(()),
    }
}

/// Whether the record at `told.index` with this epoch is what is named, as far as the epoch has travelled.
pub(crate) fn is_named(epoch: u64, told: ObjectName) -> bool {
    let name = ObjectName {
        epoch: Epoch::from_low_bits(epoch),
        ..told
    };
    epoch != 0 && name.is_told(told)
}

impl Frames<'_> {
    /// The record of a filter.
    pub(crate) fn filter_at(&self, interface: usize, id: FilterId) -> Option<&FilterRecord> {
        let record = self.interface(interface)?.filters.get(id.0 as usize)?;
        (record.state != FilterState::Free).then_some(record)
    }

    /// A filter for which the claim gives `rights`; it may be at its end.
    ///
    /// # Errors
    /// Of a capability [`Error::TimeLimited`], [`Error::WrongKind`], [`Error::MissingRight`], [`Error::Stale`]; of a
    /// name [`Error::NotYours`].
    pub(crate) fn any_filter(
        &self,
        by: &By,
        claim: Claim<'_>,
        rights: FilterRights,
    ) -> Result<Place, Error> {
        lasting(claim)?;
        let at = |index: u16| {
            let (interface, number) = filter_place(index);
            let id = FilterId(number as u32);
            let key = None;
            (Place { interface, id, key }, self.filter_at(interface, id))
        };
        match claim {
            Claim::Owned(told) => match at(told.index) {
                (place, Some(record))
                    if record.account == by.owner && is_named(record.epoch, told) =>
                {
                    Ok(place)
                }
                _ => Err(Error::NotYours),
            },
            Claim::Verified(verified) => {
                verified.require(rights)?;
                let key = (verified.index() >> KEY_SHIFT) as usize;
                let (mut place, record) = at(verified.index() as u16);
                let record = record.ok_or(Error::Stale)?;
                verified.covers(verified.index(), Epoch::from_low_bits(record.epoch))?;
                if key > MAX_KEYS {
                    return Err(Error::Stale);
                }
                place.key = key.checked_sub(1);
                Ok(place)
            }
        }
    }

    /// A filter that is not at its end, and its record.
    ///
    /// # Errors
    /// As of [`Frames::any_filter`], and [`Error::Stale`].
    pub(crate) fn live_filter(
        &self,
        by: &By,
        claim: Claim<'_>,
        rights: FilterRights,
    ) -> Result<(Place, FilterRecord), Error> {
        let place = self.any_filter(by, claim, rights)?;
        match self.filter_at(place.interface, place.id) {
            Some(record) if record.state == FilterState::Live => Ok((place, *record)),
            _ => Err(Error::Stale),
        }
    }

    /// The record of a ring.
    pub(crate) fn ring(&self, index: u16) -> Option<&RingRecord> {
        let record = self.rings.get(usize::from(index))?;
        (record.epoch != 0).then_some(record)
    }

    /// A ring of the caller's account; it may be at its end.
    ///
    /// # Errors
    /// [`Error::NotYours`].
    pub(crate) fn any_ring(&self, by: &By, told: ObjectName) -> Result<u16, Error> {
        match self.ring(told.index) {
            Some(record) if record.account == by.owner && is_named(record.epoch, told) => {
                Ok(told.index)
            }
            _ => Err(Error::NotYours),
        }
    }

    /// A ring of the caller's account that is not at its end.
    ///
    /// # Errors
    /// [`Error::NotYours`], [`Error::Stale`].
    pub(crate) fn live_ring(&self, by: &By, told: ObjectName) -> Result<u16, Error> {
        let index = self.any_ring(by, told)?;
        match self.ring(index) {
            Some(record) if record.leaving == 0 => Ok(index),
            _ => Err(Error::Stale),
        }
    }

    /// The record of a send capability.
    pub(crate) fn send(&self, index: u16) -> Option<&SendRecord> {
        let record = self.sends.get(usize::from(index))?;
        (record.epoch != 0).then_some(record)
    }

    /// A send capability for which the claim gives `rights`; it, or one above it, may be at its end. A time does no
    /// harm where nothing is bound.
    ///
    /// # Errors
    /// Of a capability [`Error::WrongKind`], [`Error::MissingRight`], [`Error::Stale`]; of a name
    /// [`Error::NotYours`].
    pub(crate) fn any_send(
        &self,
        by: &By,
        claim: Claim<'_>,
        rights: SendRights,
    ) -> Result<u16, Error> {
        match claim {
            Claim::Owned(told) => match self.send(told.index) {
                Some(record) if record.account == by.owner && is_named(record.epoch, told) => {
                    Ok(told.index)
                }
                _ => Err(Error::NotYours),
            },
            Claim::Verified(verified) => {
                verified.require(rights)?;
                let index = u16::try_from(verified.index()).map_err(|_| Error::Stale)?;
                let record = self.send(index).ok_or(Error::Stale)?;
                verified.covers(verified.index(), Epoch::from_low_bits(record.epoch))?;
                Ok(index)
            }
        }
    }

    /// A send capability of which neither itself nor one above it is at its end.
    ///
    /// # Errors
    /// As of [`Frames::any_send`], and [`Error::Stale`].
    pub(crate) fn live_send(
        &self,
        by: &By,
        claim: Claim<'_>,
        rights: SendRights,
    ) -> Result<u16, Error> {
        let index = self.any_send(by, claim, rights)?;
        let mut at = index;
        for _ in 0..=MAX_SEND_DEPTH {
            match self.send(at) {
                Some(record) if record.leaving == 0 => {
                    if record.depth == 0 {
                        return Ok(index);
                    }
                    at = record.parent;
                }
                _ => break,
            }
        }
        Err(Error::Stale)
    }

    /// The same for what lasts: a capability with a time is refused first.
    ///
    /// # Errors
    /// [`Error::TimeLimited`], and as of [`Frames::live_send`].
    pub(crate) fn lasting_send(
        &self,
        by: &By,
        claim: Claim<'_>,
        rights: SendRights,
    ) -> Result<u16, Error> {
        lasting(claim)?;
        self.live_send(by, claim, rights)
    }
}
