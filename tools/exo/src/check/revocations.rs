//! Laws of revocation: pins, and what accounts are asked for, both counted again.

use std::collections::HashMap;

use exopi_abi::domain::Resource;
use exopi_abi::page::{FrameType, PageRecord};
use exopi_abi::revocation::{MAX_GUARANTEED, MAX_VECTOR_PAGES, RevocationState};

use super::frames::name;
use super::message_rings::MessageRing;
use super::report::{Law, Report};
use super::state::{Revocation, State};

/// Checks all of it.
pub(super) fn check(state: &State, report: &mut Report) {
    let mut pins: HashMap<u64, u64> = HashMap::new();
    let mut open: HashMap<u16, Vec<&Revocation>> = HashMap::new();
    for (index, record) in state.revocations.iter().enumerate() {
        one(state, index, record, report);
        for page in record.set_up() {
            *pins.entry(page).or_default() += 1;
        }
        if record.is_open() {
            open.entry(record.account.index()).or_default().push(record);
        }
    }
    let network = state.network.live_rings().flat_map(|(_, _, pages)| pages);
    for page in state
        .message_rings
        .iter()
        .flat_map(MessageRing::set_up)
        .chain(network)
    {
        *pins.entry(page).or_default() += 1;
    }
    for (number, frame) in state.numbered() {
        let told = u64::from(frame.marks & PageRecord::MAX_PINS);
        let counted = pins.get(&number).copied().unwrap_or_default();
        report.require(told == counted, Law::Pins, || {
            format!("frame {number:#x} says that it has {told} pins, and it has {counted}")
        });
    }
    for (index, account) in (0u16..).zip(&state.accounts) {
        let of = open.get(&index).map_or(&[][..], Vec::as_slice);
        let live: Vec<_> = of
            .iter()
            .filter(|record| record.account.epoch().bits() == account.epoch)
            .collect();
        let fits = match live.as_slice() {
            [] => (account.asked, account.ceiling) == (0, 0),
            [one] => {
                let most = one.target.checked_add(one.asked);
                let taking = one.state() == Some(RevocationState::Taking);
                let used = account.used.get(usize::from(one.resource)).copied();
                account.asked.checked_sub(1) == Some(one.resource)
                    && Some(account.ceiling) == if taking { Some(0) } else { most }
                    && used <= most
            }
            _ => false,
        };
        report.require(fits, Law::Revocation, || {
            format!(
                "account {index} is asked for {} up to {}, and the requests are {live:?}",
                account.asked, account.ceiling
            )
        });
        report.require(is_frozen_for_one(state, index), Law::Revocation, || {
            format!("account {index} is frozen, and nothing is taken from one above it")
        });
        let guaranteed = account.guaranteed as usize;
        report.require(guaranteed <= MAX_GUARANTEED, Law::Revocation, || {
            format!("account {index} is guaranteed {guaranteed} pages")
        });
    }
}

/// Whether an account is frozen, if it is, because something is taken from one above it.
fn is_frozen_for_one(state: &State, index: u16) -> bool {
    let account = |index: u16| state.accounts.get(usize::from(index));
    let Some(frozen) = account(index).map(|it| it.frozen).filter(|it| *it != 0) else {
        return true;
    };
    let mut at = index;
    for _ in 0..state.accounts.len() {
        let Some(parent) = account(at).map(|it| it.parent) else {
            return false;
        };
        let taken = state.revocations.iter().any(|record| {
            record.state() == Some(RevocationState::Taking)
                && record.account.index() == parent
                && record.resource.checked_add(1) == Some(frozen)
        });
        if taken {
            return true;
        }
        at = parent;
    }
    false
}

/// What can be told of one record.
fn one(state: &State, index: usize, record: &Revocation, report: &mut Report) {
    let environment = state
        .environments
        .get(index)
        .filter(|environment| environment.epoch != 0);
    for page in record.set_up() {
        let frame = state.frame(page);
        let fits = frame.is_some_and(|frame| {
            frame.is(FrameType::Plain)
                && environment.map(|environment| environment.account) == Some(frame.owner)
        });
        report.require(fits, Law::Pins, || {
            format!("environment {index} has set up frame {page:#x}, which is none of its pages")
        });
    }
    let known = record.state().is_some()
        && usize::from(record.resource) < Resource::COUNT
        && record.bit < 32
        && u64::from(record.vector_pages) <= MAX_VECTOR_PAGES
        && usize::from(record.kept_count) <= MAX_GUARANTEED;
    let open = record.is_open();
    let taking = record.state() == Some(RevocationState::Taking);
    let counts = record.missed <= record.taken
        && (taking || record.pending == 0)
        && (!open || record.given == 0)
        && (open || record.given <= record.asked);
    report.require(known && counts, Law::Revocation, || {
        let owner = name(record.account);
        format!("the request to environment {index}, of {owner}, is {record:?}")
    });
}
