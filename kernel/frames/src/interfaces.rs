//! Interfaces, and the objects that each begins with: a root filter that takes every frame, and a send capability that
//! allows every one.

use exopi_abi::Error;
use exopi_abi::capability::{Body, Epoch, FilterRights, Kind, Rights, SendRights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{
    FilterRecord, FilterState, InterfaceRecord, InterfaceState, MAX_FILTERS, MAX_KEYS, MAX_TAPS,
    SendRecord, filter_index,
};
use exopi_filter::{FilterId, Trie};

use crate::filters::KEY_SHIFT;
use crate::rule::Rule;
use crate::transmit::Rotation;
use crate::{By, Claim, Frames, Holding, Interface, Ledger};

/// What comes with a new interface: all of it, in other words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its root filter.
    pub filter: ObjectName,
    /// The send capability that allows every frame.
    pub send: ObjectName,
}

impl<'m> Frames<'m> {
    /// Makes interface `number`, at boot. Its filters are in `trie`, which has none but the root, and `filters`, one
    /// for each of those; what it begins with is `by`'s. Chunks of the tree should be nine for each
    /// filter: then nobody's values take the place of another's.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there can be no such interface, or it has no place among records or
    /// send capabilities; [`Error::Occupied`] if there is one; [`Error::BadCount`] if `filters` are none or more than
    /// an interface can have, [`Error::Exhausted`] without a stamp.
    pub fn attach(
        &mut self,
        number: usize,
        (trie, filters): (Trie<'m>, &'m mut [FilterRecord]),
        loopback: bool,
        by: &By,
        ledger: &mut impl Ledger,
    ) -> Result<Attached, Error> {
        let index = filter_index(number, 0).ok_or(Error::OutOfRange)?;
        if self.records.get(number).is_none() || self.sends.get(number).is_none() {
            return Err(Error::OutOfRange);
        }
        if self.interface(number).is_some() {
            return Err(Error::Occupied);
        }
        if filters.is_empty() || filters.len() > MAX_FILTERS {
            return Err(Error::BadCount);
        }
        let filter = ledger.stamp().ok_or(Error::Exhausted)?;
        let send = ledger.stamp().ok_or(Error::Exhausted)?;
        filters.fill(FilterRecord::FREE);
        filters[0] = FilterRecord {
            epoch: filter.bits(),
            account: by.owner,
            environment: by.name.word(),
            state: FilterState::Live,
            ..FilterRecord::FREE
        };
        ledger.charge(by.owner, Holding::Filter);
        ledger.charge(by.owner, Holding::Send);
        self.put_send(
            number as u16,
            SendRecord {
                epoch: send.bits(),
                account: by.owner,
                environment: by.name.word(),
                parent: number as u16,
                interface: number as u8,
                ..SendRecord::FREE
            },
            Rule::ANY,
        );
        self.count(number, |record| {
            *record = InterfaceRecord {
                state: InterfaceState::Down,
                loopback: loopback.into(),
                filters: 1,
                ..InterfaceRecord::default()
            }
        });
        if let Some(place) = self.interfaces.get_mut(number) {
            *place = Some(Interface {
                trie,
                filters,
                taps: [0; MAX_TAPS],
                rotation: Rotation::EMPTY,
            });
        }
        let name = |index, epoch| ObjectName { index, epoch };
        Ok(Attached {
            filter: name(index, filter),
            send: name(number as u16, send),
        })
    }

    /// Tells how an interface stands, and its address.
    pub fn set_state(&mut self, number: usize, state: InterfaceState, address: [u8; 6]) {
        if self.interface(number).is_some() {
            self.count(number, |record| {
                record.state = state;
                record.address = address;
            });
        }
    }

    /// What shall be sealed for the holder of what is named, as the row `cap_mint` of the call table says of filters and
    /// send capabilities. A filter's index is its own, with the number of a key plus one, or 0 for all, in the
    /// bits from [`KEY_SHIFT`] on; for one key alone there is the right to refine alone.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Malformed`] for rights that the kind does not have, or one key
    /// does not give; [`Error::MissingRight`] for another kind; [`Error::OutOfRange`] for no such index or key;
    /// [`Error::NotYours`]; [`Error::Stale`] at its end.
    pub fn cap_mint(&self, by: &By, kind: Kind, index: u64, rights: Rights) -> Result<Body, Error> {
        if !kind.rights().contains(rights) {
            return Err(Error::Malformed);
        }
        let wide = u32::try_from(index).map_err(|_| Error::OutOfRange)?;
        let named = |epoch: u64| ObjectName {
            index: wide as u16,
            epoch: Epoch::from_low_bits(epoch),
        };
        let epoch = match kind {
            Kind::Filter => {
                let key = (wide >> KEY_SHIFT) as usize;
                if key > MAX_KEYS {
                    return Err(Error::OutOfRange);
                }
                if key > 0 && rights != FilterRights::REFINE.into() {
                    return Err(Error::Malformed);
                }
                let (interface, number) = exopi_abi::net::filter_place(wide as u16);
                let record = self.filter_at(interface, FilterId(number as u32));
                let name = named(record.ok_or(Error::NotYours)?.epoch);
                let (_, record) =
                    self.live_filter(by, Claim::Owned(name), FilterRights::empty())?;
                if key > usize::from(record.keys) {
                    return Err(Error::OutOfRange);
                }
                record.epoch
            }
            Kind::Send => {
                let index = u16::try_from(wide).map_err(|_| Error::OutOfRange)?;
                let name = named(self.send(index).ok_or(Error::NotYours)?.epoch);
                self.live_send(by, Claim::Owned(name), SendRights::empty())?;
                name.epoch.bits()
            }
            _ => return Err(Error::MissingRight),
        };
        Body::of_kind(kind, rights, wide, 1, Epoch::from_low_bits(epoch))
    }
}
