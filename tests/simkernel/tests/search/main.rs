//! Searches, by random sequences of calls, for a way to reach what was not given.
//!
//! Several environments on a tiny board make calls with what they have and with what they have not. After each
//! step everything is counted again by the audits of the logic crates, no core may be able to use anything
//! stale, a refused call must have changed nothing, and a naive account of who was given what ([`oracle`])
//! says whether somebody has or can reach more.
//!
//! `EXOPI_SEED` sets the seed and `EXOPI_STEPS` the steps of each search; a failure prints what to set.

mod judge;
mod oracle;
mod search;

use search::{Scenario, search};

/// An environment with one page of memory beside what it needs to live, and two that have more.
#[test]
fn one_page_reaches_no_other() {
    search(Scenario::ONE_PAGE);
}

/// Three environments alike that hand capabilities around.
#[test]
fn three_that_share() {
    search(Scenario::SHARING);
}

/// Two environments in accounts of their own, with nothing handed around.
#[test]
fn two_strangers() {
    search(Scenario::STRANGERS);
}

/// Four environments and few frames, so that what one lets go another takes at once.
#[test]
fn four_in_want() {
    search(Scenario::WANT);
}

/// Pages of superpages.
#[test]
fn superpages() {
    search(Scenario::SUPERPAGES);
}
