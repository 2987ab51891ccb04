//! Boot's part of the free lists, and whose turn it is.

use std::vec::Vec;

use exopi_abi::page::PageRecord;
use exopi_abi::{Error, PageSelect, Progress};
use exopi_cap::Epochs;

use crate::Pages;
use crate::model::Machine;
use crate::tests::{complete, credit, page, stopped};

/// Allocates what `which` selects until nothing is left.
fn drain(pages: &mut Pages<'_>, which: PageSelect) -> Vec<u32> {
    let (mut hw, mut epochs) = (Machine::new(64), Epochs::new());
    let mut order = Vec::new();
    loop {
        let one = pages.alloc(&mut hw, &mut epochs, credit(0, 1), which, 1);
        match one.progress {
            Progress { done: 1, .. } => order.push(one.first.get()),
            refused => {
                assert_eq!(refused, Progress::refused(Error::Exhausted));
                return order;
            }
        }
    }
}

#[test]
fn boot_frees_lowest_first_and_stops_at_what_is_not_its_own() {
    for colours in [1, 0, 3, 64] {
        let mut records = std::vec![PageRecord::KERNEL; 16];
        let mut pages = Pages::new(&mut records, colours);
        assert_eq!(pages.add_free(page(4), 3), complete(3));
        assert_eq!(pages.add_free(page(10), 2), complete(2));
        assert_eq!(pages.add_free(page(8), 9), stopped(2, Error::Taken));
        assert_eq!(pages.add_free(page(5), 1), stopped(0, Error::Taken));
        assert_eq!(pages.add_free(page(14), 9), stopped(2, Error::OutOfRange));
        assert_eq!(
            pages.add_free(page(u32::MAX), u64::MAX),
            stopped(0, Error::OutOfRange)
        );
        assert_eq!(pages.add_free(page(1), 0), complete(0));
        assert_eq!(pages.free_pages(), 9);
        let hw = Machine::new(16);
        assert_eq!(pages.check_invariants(&hw, &[]), Ok(()));
        let order = drain(&mut pages, PageSelect::Any);
        assert_eq!(order, [4, 5, 6, 10, 11, 8, 9, 14, 15]);
        assert_eq!(pages.add_free(page(7), 1), complete(1));
        assert_eq!(pages.check_invariants(&hw, &[]), Ok(()));
    }
}

#[test]
fn boot_frees_runs_of_any_length() {
    // Every length on both sides of a loop over eight, or a few.
    let step = if cfg!(miri) { 17 } else { 1 };
    for colours in [1, 4, 32] {
        for length in (0..40).step_by(step) {
            for taken in (0..40).step_by(step) {
                let mut records = std::vec![PageRecord::KERNEL; 42];
                let mut pages = Pages::new(&mut records, colours);
                assert_eq!(pages.add_free(page(1 + taken), 1), complete(1));
                let first = pages.add_free(page(1), u64::from(length));
                if length <= taken {
                    assert_eq!(first, complete(u64::from(length)));
                } else {
                    assert_eq!(first, stopped(u64::from(taken), Error::Taken));
                }
                let hw = Machine::new(42);
                assert_eq!(pages.check_invariants(&hw, &[]), Ok(()));
            }
        }
    }
}

#[test]
fn any_goes_round_the_colours_that_have_something() {
    let mut records = std::vec![PageRecord::KERNEL; 32];
    let mut pages = Pages::new(&mut records, 4);
    assert_eq!(pages.add_free(page(4), 6), complete(6));
    assert_eq!(pages.add_free(page(16), 1), complete(1));
    assert_eq!(pages.add_free(page(20), 1), complete(1));
    // Colours 0: 4, 8, 16, 20; 1: 5, 9; 2: 6; 3: 7.
    let order = drain(&mut pages, PageSelect::Any);
    assert_eq!(order, [4, 5, 6, 7, 8, 9, 16, 20]);
    assert_eq!(pages.free_pages(), 0);
}

#[test]
fn a_colour_gives_its_own_and_no_other() {
    let mut records = std::vec![PageRecord::KERNEL; 32];
    let mut pages = Pages::new(&mut records, 4);
    assert_eq!(pages.add_free(page(3), 12), complete(12));
    assert_eq!(drain(&mut pages, PageSelect::Colour(3)), [3, 7, 11]);
    let (mut hw, mut epochs) = (Machine::new(32), Epochs::new());
    let which = PageSelect::Colour(4);
    let none = pages.alloc(&mut hw, &mut epochs, credit(0, 1), which, 1);
    assert_eq!(none.progress, Progress::refused(Error::OutOfRange));
    assert_eq!(pages.free_pages(), 9);
    // What was refused has drawn no epoch.
    assert_eq!(epochs.last(), Epochs::new().last());
}
