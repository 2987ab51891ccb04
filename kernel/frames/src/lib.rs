//! Whose frames are whose: filters as capabilities, packet rings, taps, and sending in turn.
//!
//! ```text
//!   frame --classify--> filter --bindings--> rings, 8 at most        filters, delivery
//!     |                   ^
//!     `--> taps           | refined, shared, re-routed, deleted
//!
//!   net_xmit --rule--> slots of the sender --in turn--> device       rule, sends, transmit
//! ```
//!
//! Which filter a frame comes to, `exopi-filter` decides; whose that filter is, who may split, refine, share or delete
//! it, where its frames go, and what may be sent, is decided here, for the real kernel and for tests on a
//! host alike. What is left to the caller is the device, the copying ([`Memory`]), pages and allowances
//! ([`Ledger`]), and placing generated code ([`Code`]).
//!
//! # What always holds between two calls
//!
//! * A frame is copied to the rings that are bound to the one filter that it comes to, and to the interface's taps.
//!   A ring is bound only by who owns it, with a right to that very filter.
//! * A frame goes out only if its first [`CHECKED`](exopi_abi::net::CHECKED) octets, as they were copied, satisfy all
//!   atoms of a send capability and of those that it was narrowed from.
//! * What a program writes into its rings and frames changes what it gets and sends, and nothing else: places of entries
//!   come from the kernel's own cursor and page list.
//! * Each object is charged to one account, and goes at the latest with that. A page is pinned once for each place in a
//!   ring, and once for each piece and completion word that waits; pins go when the kernel and the device
//!   are done.
//! * A filter lives as long as its account, its parent, and one reference to it do: the environment that made it, or
//!   a ring that is bound to it. What is to go, goes in bounded steps ([`Frames::sweep`]), and nothing
//!   comes through it from the first step on.
//! * No call depends on how many filters, rings, senders or frames there are.
//! * A refused call has changed nothing but counters, that of stamps among them.
//!
//! # Absent on purpose
//!
//! Protocols: a frame is octets. Times: who calls says what time it is. Waking: a ring's state words are words of pages,
//! and predicates name them.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod accounts;
mod bindings;
mod budget;
mod claim;
mod delivery;
mod ends;
mod filters;
mod host;
mod interfaces;
mod removal;
mod rings;
mod rule;
mod sends;
mod taps;
#[cfg(test)]
mod tests;
mod transmit;

use exopi_abi::domain::ObjectName;
use exopi_abi::net::{
    FilterRecord, InterfaceRecord, MAX_INTERFACES, MAX_TAPS, RingRecord, SendRecord,
};
use exopi_filter::Trie;

pub use accounts::Books;
pub use bindings::Binding;
pub use budget::Budget;
pub use claim::{By, Claim};
pub use delivery::{Arrival, Delivered};
pub use ends::Seized;
pub use filters::{KEY_SHIFT, MAX_DEPTH, MAX_KEY_ATOMS};
pub use host::{Code, Holding, Ledger, Memory};
pub use interfaces::Attached;
pub use removal::{REMOVED_AT_ONCE, Step};
pub use rings::RingPages;
pub use rule::{MAX_TAIL, Rule};
pub use sends::MAX_SEND_DEPTH;
pub use transmit::{Lane, Outgoing, Slot, Went};

/// The memory of [`Frames`]. What is in it does not matter.
#[derive(Debug)]
pub struct Pools<'m> {
    /// One for each interface, [`MAX_INTERFACES`] at most.
    pub interfaces: &'m mut [InterfaceRecord],
    /// One for each reference of a filter to a ring, the first not used; 65,535 at most.
    pub bindings: &'m mut [Binding],
    /// Rings; 65,535 at most.
    pub rings: &'m mut [RingRecord],
    /// As many as rings.
    pub ring_pages: &'m mut [RingPages],
    /// Send capabilities, those of interfaces first; 65,535 at most.
    pub sends: &'m mut [SendRecord],
    /// As many as send capabilities.
    pub rules: &'m mut [Rule],
    /// Frames that wait or are in a device, the first not used; 65,535 at most.
    pub slots: &'m mut [Slot],
    /// One for each interface and environment: [`MAX_INTERFACES`] times as many as environments.
    pub lanes: &'m mut [Lane],
    /// One for each environment.
    pub makers: &'m mut [u32],
    /// Where code is made: [`exopi_filter::MAX_CODE_WORDS`].
    pub scratch: &'m mut [u32],
}

/// What is kept of an interface besides its record.
#[derive(Debug)]
struct Interface<'m> {
    trie: Trie<'m>,
    filters: &'m mut [FilterRecord],
    /// Rings, plus one; 0 for none.
    taps: [u16; MAX_TAPS],
    rotation: transmit::Rotation,
}

/// All that there is of frames.
#[derive(Debug)]
pub struct Frames<'m> {
    interfaces: [Option<Interface<'m>>; MAX_INTERFACES],
    records: &'m mut [InterfaceRecord],
    bindings: bindings::Bindings<'m>,
    rings: &'m mut [RingRecord],
    ring_pages: &'m mut [RingPages],
    sends: &'m mut [SendRecord],
    rules: &'m mut [Rule],
    slots: &'m mut [Slot],
    lanes: &'m mut [Lane],
    /// How many filters, rings and send capabilities there are that were made by who lives at each place, or did.
    makers: &'m mut [u32],
    scratch: &'m mut [u32],
    /// Heads of lists of what is free: rings through `first`, send capabilities through a link, each plus one.
    free_ring: Option<u16>,
    free_send: Option<u16>,
    /// The same of slots; 0 ends it.
    free_slot: u16,
    /// Where the background looks next, and at how many places it has still to look.
    turn: u32,
    untidy: u32,
}

impl<'m> Frames<'m> {
    /// Nothing at all: what a kernel has before it knows its board.
    pub const fn none() -> Self {
        Self {
            interfaces: [const { None }; MAX_INTERFACES],
            records: &mut [],
            bindings: bindings::Bindings::none(),
            rings: &mut [],
            ring_pages: &mut [],
            sends: &mut [],
            rules: &mut [],
            slots: &mut [],
            lanes: &mut [],
            makers: &mut [],
            scratch: &mut [],
            free_ring: None,
            free_send: None,
            free_slot: 0,
            turn: 0,
            untidy: 0,
        }
    }

    /// No interface yet, and nothing else. What is beyond the numbers that [`Pools`] names is left out.
    pub fn new(pools: Pools<'m>) -> Self {
        const MOST: usize = u16::MAX as usize;
        fn cut<T>(pool: &mut [T], most: usize) -> &mut [T] {
            let most = pool.len().min(most);
            pool.split_at_mut(most).0
        }
        let rings = pools.rings.len().min(pools.ring_pages.len()).min(MOST - 1);
        let sends = pools.sends.len().min(pools.rules.len()).min(MOST - 1);
        let mut frames = Self {
            records: cut(pools.interfaces, MAX_INTERFACES),
            bindings: bindings::Bindings::new(cut(pools.bindings, MOST)),
            rings: cut(pools.rings, rings),
            ring_pages: cut(pools.ring_pages, rings),
            sends: cut(pools.sends, sends),
            rules: cut(pools.rules, sends),
            slots: cut(pools.slots, MOST),
            lanes: cut(pools.lanes, MOST),
            makers: cut(pools.makers, MOST),
            scratch: pools.scratch,
            ..Self::none()
        };
        frames.records.fill(InterfaceRecord::default());
        frames.rings.fill(RingRecord::FREE);
        frames.sends.fill(SendRecord::FREE);
        frames.lanes.fill(Lane::EMPTY);
        frames.makers.fill(0);
        frames.link_rings();
        frames.link_sends();
        frames.link_slots();
        frames
    }

    /// The records of interfaces, by number.
    pub const fn interfaces(&self) -> &[InterfaceRecord] {
        self.records
    }

    /// The records of rings, by index.
    pub const fn rings(&self) -> &[RingRecord] {
        self.rings
    }

    /// The records of send capabilities, by index.
    pub const fn sends(&self) -> &[SendRecord] {
        self.sends
    }

    /// The records of an interface's filters, by number; none without such an interface.
    pub fn filters(&self, interface: usize) -> &[FilterRecord] {
        self.interface(interface).map_or(&[], |found| found.filters)
    }

    /// An interface's filters merged, for whoever runs their code; [`None`] without such an interface.
    pub fn trie(&self, interface: usize) -> Option<&Trie<'m>> {
        self.interface(interface).map(|found| &found.trie)
    }

    fn interface(&self, number: usize) -> Option<&Interface<'m>> {
        self.interfaces.get(number)?.as_ref()
    }

    fn interface_mut(&mut self, number: usize) -> Option<&mut Interface<'m>> {
        self.interfaces.get_mut(number)?.as_mut()
    }

    /// The environment of this name has made something.
    fn note_made(&mut self, maker: ObjectName) {
        if let Some(count) = self.makers.get_mut(usize::from(maker.index)) {
            *count += 1;
        }
    }

    /// Something that the environment of this word has made is gone, or nobody's; 0 for nobody.
    fn note_gone(&mut self, maker: u64) {
        let index = usize::from(ObjectName::from_word(maker).index);
        if let Some(count) = self.makers.get_mut(index).filter(|_| maker != 0) {
            *count = count.saturating_sub(1);
        }
    }

    /// Changes the record of an interface.
    fn count(&mut self, interface: usize, change: impl FnOnce(&mut InterfaceRecord)) {
        if let Some(record) = self.records.get_mut(interface) {
            change(record);
        }
    }
}
