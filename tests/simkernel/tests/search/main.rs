//! Searches, by random sequences of calls and by all short ones, for a way to reach what was not given.
//!
//! Several environments on a tiny board make calls with what they have and with what they have not. After each
//! step everything is counted again by the audits of the logic crates, no core may be able to use anything
//! stale, a refused call must have changed nothing, and a naive account of who was given what ([`oracle`])
//! says whether somebody has or can reach more.
//!
//! Two environments with next to nothing are taken through every state that they can reach ([`explore`]), as far as
//! that ends or time allows.
//!
//! `EXOPI_SEED` sets the seed and `EXOPI_STEPS` the steps of each search; a failure prints what to set.

mod explore;
mod judge;
mod oracle;
mod search;

use explore::{Scope, explore};
use search::{Scenario, search};

/// No call at all.
const NOTHING: [&str; 0] = [];

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

/// One page, mapped, given and shared in every way: these are all states that there are.
#[test]
fn one_page_in_all_states() {
    let found = explore(&Scope::one_page());
    assert!(found.complete && found.idle.is_empty(), "{found:?}");
}

/// The same with all that holders can leave of capabilities.
#[test]
fn holders_of_capabilities_in_few_calls() {
    let found = explore(&Scope::holders());
    assert_eq!(found.idle, NOTHING);
    assert!(found.states > 1_000, "{found:?}");
}

/// Three pages of two environments.
#[test]
fn three_pages_in_few_calls() {
    let found = explore(&Scope::three_pages());
    assert_eq!(found.idle, NOTHING);
    assert!(found.states > 20_000, "{found:?}");
}

/// To exchange frames that all moves name alike leads to the same states.
#[test]
fn frames_can_be_exchanged() {
    for scope in [Scope::three_pages, Scope::tables] {
        let [apart, alike] = [false, true].map(|alike| explore(&scope().with(alike, 3)));
        assert!(apart.states > 2 * alike.states, "{apart:?} {alike:?}");
        let differ = apart.numbers.symmetric_difference(&alike.numbers).count();
        assert_eq!(
            differ,
            0,
            "of {} and {}",
            apart.numbers.len(),
            alike.numbers.len()
        );
    }
}

/// What tables, roots and u-areas are made of three pages.
#[test]
fn tables_in_few_calls() {
    let found = explore(&Scope::tables());
    assert_eq!(found.idle, NOTHING);
    assert!(found.states > 10_000, "{found:?}");
}

/// What becomes of accounts, spaces and environments.
#[test]
fn domains_in_few_calls() {
    let found = explore(&Scope::domains());
    // Nobody has a handler to resume from.
    assert_eq!(found.idle, ["resume"]);
    assert!(found.states > 10_000, "{found:?}");
}

/// Every call on every kind of argument.
#[test]
fn everything_in_three_calls() {
    let found = explore(&Scope::everything());
    assert_eq!(found.idle, ["insert_superpage", "resume"]);
    assert!(found.states > 20_000, "{found:?}");
}
