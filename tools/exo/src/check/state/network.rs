//! Records of a network, as they are shown: interfaces, filters, packet rings, send capabilities.

use core::mem::offset_of;

use exopi_abi::exposed::{Header, Section};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::net::{
    FilterRecord, InterfaceRecord, MAX_FILTERS, MAX_INTERFACES, MAX_RING_PAGES, RingRecord,
    SendRecord, filter_place,
};
use exopi_abi::page::Owner;

use super::{Fields, Memory, Place, Region};

/// An interface.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// How many filters it says that it has.
    pub filters: u32,
    /// How many taps.
    pub taps: u32,
}

/// A packet filter.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// 0 if there is none.
    pub epoch: u64,
    /// Whom it is charged to.
    pub account: Owner,
    /// Number of the one that it refines.
    pub parent: u16,
    /// Which of the parent's keys it gives values to.
    pub key: u8,
    /// The code of its state.
    pub state: u8,
    /// Its own keys.
    pub keys: u8,
    /// Rings that its frames are copied to.
    pub references: u8,
    /// Filters above it.
    pub depth: u8,
}

/// A packet ring.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// 0 if there is none.
    pub epoch: u64,
    /// Whom it is charged to, whose pages it has.
    pub account: Owner,
    /// Its pages, as far as it has some.
    pub count: u8,
    /// The interface that it is a tap of, plus one.
    pub tap: u8,
    /// Filters whose frames are copied to it.
    pub references: u16,
}

/// A send capability's record.
#[derive(Clone, Copy, Debug)]
pub struct Send {
    /// 0 if there is none.
    pub epoch: u64,
    /// Whom it is charged to.
    pub account: Owner,
    /// The one that it narrows.
    pub parent: u16,
    /// How many are above it.
    pub depth: u8,
    /// The interface that frames go out by.
    pub interface: u8,
}

/// Numbers of the pages of a ring.
type PagesOfRing = [u32; MAX_RING_PAGES];

/// What there is of a network.
#[derive(Debug, Default)]
pub struct Network {
    /// Interfaces, by number.
    pub interfaces: Vec<Interface>,
    /// Filters of all interfaces, as many places for each.
    pub filters: Vec<Filter>,
    /// Rings, by index.
    pub rings: Vec<Ring>,
    /// Send capabilities, by index.
    pub sends: Vec<Send>,
    pages: Vec<PagesOfRing>,
}

impl Network {
    /// How many places for filters each interface has.
    pub fn filters_each(&self) -> usize {
        self.filters.len() / self.interfaces.len().max(1)
    }

    /// The filter with this index, if there can be one: above it, a capability's index has a key.
    pub fn filter(&self, index: u16) -> Option<&Filter> {
        let (interface, number) = filter_place(index);
        let each = self.filters_each();
        self.filters
            .get(interface.checked_mul(each)?.checked_add(number)?)
            .filter(|_| number < each)
    }

    /// Rings that there are, by index, with the frames that they have pinned.
    pub fn live_rings(&self) -> impl Iterator<Item = (usize, &Ring, Vec<u64>)> {
        let rings = self.rings.iter().zip(&self.pages).enumerate();
        rings
            .filter(|(_, (ring, _))| ring.epoch != 0)
            .map(|(index, (ring, pages))| {
                let pages = pages.iter().take(ring.count.into());
                (index, ring, pages.copied().map(u64::from).collect())
            })
    }
}

impl Interface {
    fn read(from: Fields<'_>) -> Self {
        Self {
            filters: from.u32(offset_of!(InterfaceRecord, filters)),
            taps: from.u32(offset_of!(InterfaceRecord, taps)),
        }
    }
}

impl Filter {
    fn read(from: Fields<'_>) -> Self {
        Self {
            epoch: from.u64(offset_of!(FilterRecord, epoch)),
            account: Owner::from_word(from.u64(offset_of!(FilterRecord, account))),
            parent: from.u16(offset_of!(FilterRecord, parent)),
            key: from.u8(offset_of!(FilterRecord, key)),
            state: from.u8(offset_of!(FilterRecord, state)),
            keys: from.u8(offset_of!(FilterRecord, keys)),
            references: from.u8(offset_of!(FilterRecord, references)),
            depth: from.u8(offset_of!(FilterRecord, depth)),
        }
    }
}

impl Ring {
    fn read(from: Fields<'_>) -> Self {
        Self {
            epoch: from.u64(offset_of!(RingRecord, epoch)),
            account: Owner::from_word(from.u64(offset_of!(RingRecord, account))),
            count: from.u8(offset_of!(RingRecord, pages)),
            tap: from.u8(offset_of!(RingRecord, tap)),
            references: from.u16(offset_of!(RingRecord, references)),
        }
    }
}

impl Send {
    fn read(from: Fields<'_>) -> Self {
        Self {
            epoch: from.u64(offset_of!(SendRecord, epoch)),
            account: Owner::from_word(from.u64(offset_of!(SendRecord, account))),
            parent: from.u16(offset_of!(SendRecord, parent)),
            depth: from.u8(offset_of!(SendRecord, depth)),
            interface: from.u8(offset_of!(SendRecord, interface)),
        }
    }
}

fn pages_of_ring(from: Fields<'_>) -> PagesOfRing {
    core::array::from_fn(|page| from.u32(4 * page))
}

impl Region {
    /// What there is of a network, and where its sections are.
    pub(super) fn network(&self, memory: &Memory) -> Result<(Network, Vec<Place>), String> {
        let interfaces = self.optional::<InterfaceRecord>(
            "interfaces",
            offset_of!(Header, interfaces),
            MAX_INTERFACES as u64,
        )?;
        let most = (MAX_INTERFACES * MAX_FILTERS) as u64;
        let filters =
            self.optional::<FilterRecord>("filters", offset_of!(Header, filters), most)?;
        let most = u16::MAX.into();
        let rings = self.optional::<RingRecord>("rings", offset_of!(Header, rings), most)?;
        let pages =
            self.optional::<PagesOfRing>("ring pages", offset_of!(Header, ring_pages), most)?;
        let sends = self.optional::<SendRecord>("sends", offset_of!(Header, sends), most)?;
        let network = Network {
            interfaces: self.records(memory, interfaces, Interface::read)?,
            filters: self.records(memory, filters, Filter::read)?,
            rings: self.records(memory, rings, Ring::read)?,
            sends: self.records(memory, sends, Send::read)?,
            pages: self.records(memory, pages, pages_of_ring)?,
        };
        let mut places = vec![interfaces, filters, rings, pages, sends];
        places.retain(|place| place.bytes > 0);
        Ok((network, places))
    }

    /// The same of a section that may have no records at all, of whatever form.
    fn optional<T>(&self, name: &str, at: usize, most: u64) -> Result<Place, String> {
        if Fields(&self.header).u64(at + offset_of!(Section, count)) > 0 {
            return self.section::<T>(name, at, most);
        }
        Ok(Place {
            offset: PAGE_SIZE,
            bytes: 0,
            stride: 1,
        })
    }
}
