//! Laws of packet filters, rings and send capabilities, counted again from what each record says.

use exopi_abi::domain::{KEY_WEIGHT, RING_WEIGHT, Resource};
use exopi_abi::net::{FilterState, MAX_KEYS, MAX_REFERENCES, MAX_RING_PAGES, MAX_TAPS};
use exopi_abi::page::{FrameType, Owner};

use super::report::{Law, Report};
use super::state::{Network, State};

/// The code of the highest state of a filter.
const LAST_STATE: u8 = FilterState::Leaving as u8;

/// What each object is charged as. No frame waits at a quiet point.
pub(super) fn charges(network: &Network) -> impl Iterator<Item = (Owner, Resource, u64)> {
    let filters = network.filters.iter().filter(|filter| filter.epoch != 0);
    let filters = filters.map(|filter| {
        let keys = u64::from(filter.keys) * u64::from(KEY_WEIGHT);
        (filter.account, Resource::Filters, 1 + keys)
    });
    let sends = network.sends.iter().filter(|send| send.epoch != 0);
    let sends = sends.map(|send| (send.account, Resource::Filters, 1));
    let rings = network.live_rings().map(|(_, ring, _)| {
        let count = u64::from(ring.references) + u64::from(RING_WEIGHT);
        (ring.account, Resource::Frames, count)
    });
    filters.chain(sends).chain(rings)
}

/// Checks all of it.
pub(super) fn check(state: &State, report: &mut Report) {
    let network = &state.network;
    filters(network, report);
    rings(state, report);
    sends(network, report);
    let of_filters: u64 = network
        .filters
        .iter()
        .filter(|filter| filter.epoch != 0)
        .map(|filter| u64::from(filter.references))
        .sum();
    let of_rings: u64 = network
        .live_rings()
        .map(|(_, ring, _)| u64::from(ring.references))
        .sum();
    report.require(of_filters == of_rings, Law::Network, || {
        format!("filters have {of_filters} references to rings, and rings {of_rings} to filters")
    });
}

/// Filters of an interface are a tree, and as many as it says.
fn filters(network: &Network, report: &mut Report) {
    let each = network.filters_each().max(1);
    let chunks = network.filters.chunks(each);
    for (number, (interface, filters)) in network.interfaces.iter().zip(chunks).enumerate() {
        let live = filters.iter().filter(|filter| filter.epoch != 0).count();
        report.require(live as u32 == interface.filters, Law::Network, || {
            format!(
                "interface {number} has {live} filters, and says {}",
                interface.filters
            )
        });
        for (index, filter) in filters.iter().enumerate() {
            let fits = if filter.epoch == 0 {
                filter.state == FilterState::Free as u8 && filter.references == 0
            } else {
                let parent = filters.get(usize::from(filter.parent));
                let below = parent.is_some_and(|parent| {
                    let root = index == 0 && filter.parent == 0 && filter.depth == 0;
                    let child = parent.epoch != 0
                        && filter.key < parent.keys
                        && filter.depth == parent.depth.wrapping_add(1);
                    root || child
                });
                below
                    && (1..=LAST_STATE).contains(&filter.state)
                    && usize::from(filter.keys) <= MAX_KEYS
                    && usize::from(filter.references) <= MAX_REFERENCES
            };
            report.require(fits, Law::Network, || {
                format!("filter {index} of interface {number} is {filter:?}")
            });
        }
    }
}

/// Pages of rings are plain ones of their accounts, and taps as many as interfaces say.
fn rings(state: &State, report: &mut Report) {
    let network = &state.network;
    for (index, ring, pages) in network.live_rings() {
        let known = (1..=MAX_RING_PAGES).contains(&usize::from(ring.count))
            && usize::from(ring.tap) <= network.interfaces.len();
        report.require(known, Law::Network, || format!("ring {index} is {ring:?}"));
        for page in pages {
            let frame = state.frame(page);
            let fits = frame
                .is_some_and(|frame| frame.is(FrameType::Plain) && frame.owner == ring.account);
            report.require(fits, Law::Pins, || {
                format!("ring {index} has frame {page:#x}, which is none of its account's pages")
            });
        }
    }
    for (number, interface) in network.interfaces.iter().enumerate() {
        let taps = network
            .live_rings()
            .filter(|(_, ring, _)| usize::from(ring.tap) == number + 1)
            .count();
        let fits = taps as u32 == interface.taps && taps <= MAX_TAPS;
        report.require(fits, Law::Network, || {
            format!(
                "interface {number} has {taps} taps, and says {}",
                interface.taps
            )
        });
    }
}

/// Send capabilities narrow one that is there, for the same interface.
fn sends(network: &Network, report: &mut Report) {
    for (index, send) in network.sends.iter().enumerate() {
        if send.epoch == 0 {
            continue;
        }
        let parent = network.sends.get(usize::from(send.parent));
        let fits = usize::from(send.interface) < network.interfaces.len()
            && parent.is_some_and(|parent| {
                let first = send.depth == 0 && usize::from(send.parent) == index;
                let narrower = parent.epoch != 0 && send.depth == parent.depth.wrapping_add(1);
                parent.interface == send.interface && (first || narrower)
            });
        report.require(fits, Law::Network, || {
            format!("send capability {index} is {send:?}")
        });
    }
}
