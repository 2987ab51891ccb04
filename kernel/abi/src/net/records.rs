//! Records of interfaces, filters, rings and send capabilities. They are exposed.
//!
//! A record's place in its table is the object's index, for filters together with the interface:
//! [`filter_index`]. A record whose epoch is [`Epoch::NONE`](crate::capability::Epoch::NONE) is free.

use super::{FILTER_BITS, MAX_FILTERS, MAX_INTERFACES};
use crate::page::Owner;

/// How an interface stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum InterfaceState {
    /// There is none.
    #[default]
    Absent = 0,
    /// It has no partner.
    Down = 1,
    /// Frames can go out and come in.
    Up = 2,
}

/// An interface. Counts wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InterfaceRecord {
    /// How it stands.
    pub state: InterfaceState,
    /// 1 if what is sent on it comes back to it, and goes nowhere else.
    pub loopback: u8,
    /// Its address; zeros if it has none.
    pub address: [u8; 6],
    /// Its filters, the root counted.
    pub filters: u32,
    /// Its taps.
    pub taps: u32,
    /// Frames that came.
    pub received: u64,
    /// Of those, frames that no ring was bound to.
    pub unclaimed: u64,
    /// Of those, frames that were too short or too long.
    pub misshapen: u64,
    /// Copies that were put into rings.
    pub copies: u64,
    /// Copies for which the ring had no room.
    pub no_room: u64,
    /// Frames that the device took.
    pub sent: u64,
    /// Frames that were lost on their way to the device, or whose sender died before their turn.
    pub lost: u64,
    /// Frames that were refused as not within their send capability.
    pub refused_rule: u64,
    /// Frames that were refused for their length.
    pub refused_length: u64,
    /// Frames that were refused because as many of the sender's were in flight as may be.
    pub refused_many: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// What a filter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FilterState {
    /// None.
    #[default]
    Free = 0,
    /// A filter.
    Live = 1,
    /// It was deleted, and its descendants kept: what they leave is the next live filter's above.
    Retired = 2,
    /// It is being deleted with its descendants, and no frame comes here.
    Leaving = 3,
}

/// A packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FilterRecord {
    /// Epoch, in the lowest 48 bits.
    pub epoch: u64,
    /// The account that it is charged to.
    pub account: Owner,
    /// The [`ObjectName::word`](crate::domain::ObjectName::word) of the environment that made it; 0 after that one's
    /// death.
    pub environment: u64,
    /// Frames that came to it; wraps around.
    pub frames: u64,
    /// The number within its interface of the filter that it refines; the root's is its own.
    pub parent: u16,
    /// The parent's key, 0 to 3, that it gives values to.
    pub key: u8,
    /// What it is.
    pub state: FilterState,
    /// Its own keys.
    pub keys: u8,
    /// Rings that its frames are copied to.
    pub references: u8,
    /// Atoms from the root down to it.
    pub atoms: u16,
    /// Filters above it, the root counted.
    pub depth: u8,
    /// Atoms of its keys.
    pub key_atoms: u8,
    /// For the kernel's use.
    pub route: u16,
    /// Zero.
    pub reserved: [u16; 10],
}

impl FilterRecord {
    /// A record of no filter.
    pub const FREE: FilterRecord = FilterRecord {
        epoch: 0,
        account: Owner::NOBODY,
        environment: 0,
        frames: 0,
        parent: 0,
        key: 0,
        state: FilterState::Free,
        keys: 0,
        references: 0,
        atoms: 0,
        depth: 0,
        key_atoms: 0,
        route: 0,
        reserved: [0; 10],
    };
}

/// A packet ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RingRecord {
    /// Epoch, in the lowest 48 bits.
    pub epoch: u64,
    /// The account that it is charged to, and that owns its pages.
    pub account: Owner,
    /// The [`ObjectName::word`](crate::domain::ObjectName::word) of the environment that made it.
    pub environment: u64,
    /// Frames that were put into it; wraps around.
    pub frames: u64,
    /// Frames that it had no room for; wraps around.
    pub lost: u64,
    /// The entry that is filled next.
    pub next: u32,
    /// Size of an entry: logarithm of its octets.
    pub entry: u8,
    /// Its pages.
    pub pages: u8,
    /// 1 while it is being taken apart, and no frame is put into it.
    pub leaving: u8,
    /// The interface that it is a tap of, plus one; 0 for none.
    pub tap: u8,
    /// Filters whose frames are copied to it.
    pub references: u16,
    /// For the kernel's use.
    pub first: u16,
    /// The notice that tells the environment of frames, 0 to 31, plus one; 0 for none.
    pub notice: u8,
    /// Zero.
    pub reserved: [u8; 11],
}

impl RingRecord {
    /// A record of no ring.
    pub const FREE: RingRecord = RingRecord {
        epoch: 0,
        account: Owner::NOBODY,
        environment: 0,
        frames: 0,
        lost: 0,
        next: 0,
        entry: 0,
        pages: 0,
        leaving: 0,
        tap: 0,
        references: 0,
        first: 0,
        notice: 0,
        reserved: [0; 11],
    };
}

/// A send capability's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SendRecord {
    /// Epoch, in the lowest 48 bits.
    pub epoch: u64,
    /// The account that it is charged to.
    pub account: Owner,
    /// The [`ObjectName::word`](crate::domain::ObjectName::word) of the environment that made it.
    pub environment: u64,
    /// Frames that were taken under it; wraps around.
    pub frames: u64,
    /// The one that it narrows; an interface's first is its own.
    pub parent: u16,
    /// How many are above it.
    pub depth: u8,
    /// The interface that frames go out by.
    pub interface: u8,
    /// 1 while it is being taken apart.
    pub leaving: u8,
    /// Zero.
    pub reserved: u8,
    /// For the kernel's use.
    pub links: [u16; 3],
    /// Zero.
    pub reserved_more: [u32; 5],
}

impl SendRecord {
    /// A record of no send capability.
    pub const FREE: SendRecord = SendRecord {
        epoch: 0,
        account: Owner::NOBODY,
        environment: 0,
        frames: 0,
        parent: 0,
        depth: 0,
        interface: 0,
        leaving: 0,
        reserved: 0,
        links: [0; 3],
        reserved_more: [0; 5],
    };
}

const _: () = {
    assert!(size_of::<InterfaceRecord>() == 128);
    assert!(size_of::<FilterRecord>() == 64);
    assert!(size_of::<RingRecord>() == 64);
    assert!(size_of::<SendRecord>() == 64);
};

/// The index in the name of the filter of this number on this interface: 2 bits of interface, and 14 of number.
///
/// ```
/// use exopi_abi::net::{filter_index, filter_place};
///
/// assert_eq!(filter_index(1, 7), Some(0x4007));
/// assert_eq!(filter_place(0x4007), (1, 7));
/// assert_eq!(filter_index(4, 0), None);
/// ```
pub const fn filter_index(interface: usize, number: usize) -> Option<u16> {
    if interface < MAX_INTERFACES && number < MAX_FILTERS {
        Some((interface << FILTER_BITS | number) as u16)
    } else {
        None
    }
}

/// Interface and number of the filter with this index.
pub const fn filter_place(index: u16) -> (usize, usize) {
    let index = index as usize;
    (index >> FILTER_BITS, index & (MAX_FILTERS - 1))
}
