//! Frames, tables, colours, superpages: where they come from, and what happens when there are none.

use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use exopi_rt::page::FrameType;
use exopi_rt::{Error as Refusal, VirtAddr};

use super::model::{COLOURS, Model};
use super::{NOTHING, R, RW, nth, space};
use crate::colours::Colours;
use crate::error::Error;
use crate::fault::{Fault, Verdict};
use crate::pager::Pager;
use crate::region::{Options, Place};
use crate::supply::Pool;

use super::examples::{FRAMES, filled, pager, reserve};

#[test]
fn exhaustion_is_told_to_the_pager_and_does_not_hang() {
    let mut space = space(FRAMES);
    let told = Arc::new(AtomicU64::new(0));
    struct Teller(Arc<AtomicU64>);
    impl Pager<Model> for Teller {
        fn exhausted(&mut self, _: &mut Fault<'_, Model>, error: Error) -> Verdict {
            assert!(error.is_exhaustion());
            self.0.fetch_add(1, Ordering::Relaxed);
            Verdict::StepOver
        }
    }
    let options = Options {
        pager: pager(Teller(told.clone())),
        ..Options::default()
    };
    let with = reserve(&mut space, 100, options);
    let without = reserve(&mut space, 100, Options::default());
    space.machine.allowance = 3;
    let stored: Vec<_> = (0..5)
        .map(|page| space.store(nth(with, page).get(), 1))
        .collect();
    assert_eq!(stored.iter().filter(|stored| stored.is_ok()).count(), 3);
    assert_eq!(stored[4], Err(Verdict::StepOver));
    assert_eq!(told.load(Ordering::Relaxed), 2);
    assert_eq!(space.load(without.get()), Err(Verdict::PassOn));
    assert_eq!(
        space.populate(without, 4),
        Err(Error::Refused(Refusal::OverAllowance))
    );
    space.machine.allowance = 10;
    assert_eq!(space.load(without.get()), Ok(0));
    space.end(with);
    space.end(without);
    space.check_nothing_lost();
}

#[test]
fn copying_without_pages_leaves_both_as_they_were() {
    let mut space = space(FRAMES);
    let first = filled(&mut space, 2);
    let second = space.copy(first, Place::Any).unwrap();
    space.machine.allowance = 0;
    assert_eq!(space.store(first.get(), 9), Err(Verdict::PassOn));
    assert_eq!(space.load(first.get()), Ok(1));
    assert_eq!(space.load(second.get()), Ok(1));
    space.machine.allowance = 100;
    assert_eq!(space.store(first.get(), 9), Ok(()));
    space.end(first);
    space.end(second);
    space.check_nothing_lost();
}

#[test]
fn populating_again_leaves_hidden_pages_where_they_are() {
    let mut space = space(FRAMES);
    let start = reserve(
        &mut space,
        3,
        Options {
            access: NOTHING,
            ..Options::default()
        },
    );
    for (from, count) in [(1, 1), (0, 3), (0, 3)] {
        space.populate(nth(start, from), count).unwrap();
        let plain = space.machine.count(FrameType::Plain);
        space.populate(nth(start, from), count).unwrap();
        assert_eq!(space.machine.count(FrameType::Plain), plain, "{from}");
    }
    space.end(start);
    space.check_nothing_lost();
}

#[test]
fn colours_are_kept_apart_and_spread() {
    let mut space = space(FRAMES);
    let mine = Colours::of([0, 1, 2]);
    let sets = [mine, mine.others()];
    let starts = sets.map(|colours| {
        let start = reserve(
            &mut space,
            30,
            Options {
                colours,
                ..Options::default()
            },
        );
        space.populate(start, 30).unwrap();
        start
    });
    for (start, set) in starts.into_iter().zip(sets) {
        let mut used = [0; COLOURS as usize];
        for page in 0..30 {
            let colour = space.page_of(nth(start, page)).unwrap().get() % COLOURS;
            assert!(set.contains(colour as u8));
            used[colour as usize] += 1;
        }
        let share = 30 / used.iter().filter(|count| **count > 0).count();
        assert!(used.iter().all(|count| *count == 0 || *count >= share));
        space.end(start);
    }
    space.check_nothing_lost();
}

#[test]
fn a_superpage_comes_whole_is_cut_when_a_part_differs_and_goes_whole() {
    let mut space = space(2048);
    let options = Options {
        superpages: true,
        ..Options::default()
    };
    let start = reserve(&mut space, 1100, options);
    assert_eq!(start.get() % (2 << 20), 0);
    let before = space.machine.free_pages();
    for page in [0, 1, 511] {
        assert_eq!(space.load(nth(start, page).get()), Ok(0));
    }
    assert_eq!(
        before - space.machine.free_pages(),
        512,
        "the table is from the reserve"
    );
    space.store(nth(start, 9).get(), 99).unwrap();
    // The last pages are not a whole superpage.
    assert_eq!(space.load(nth(start, 1099).get()), Ok(0));
    assert_eq!(space.load(nth(start, 600).get()), Ok(0));
    space.protect(start, 512, R).unwrap();
    assert_eq!(space.store(nth(start, 9).get(), 1), Err(Verdict::PassOn));
    space.protect(start, 512, RW).unwrap();
    space.protect(nth(start, 10), 1, R).unwrap();
    assert_eq!(space.load(nth(start, 9).get()), Ok(99));
    assert_eq!(space.store(nth(start, 10).get(), 1), Err(Verdict::PassOn));
    assert_eq!(space.store(nth(start, 11).get(), 1), Ok(()));
    // What is cut keeps the access that it has.
    space.protect(nth(start, 512), 512, R).unwrap();
    space.protect(nth(start, 520), 1, NOTHING).unwrap();
    assert_eq!(space.store(nth(start, 521).get(), 1), Err(Verdict::PassOn));
    space.machine.audit();
    space.end(start);
    space.check_nothing_lost();
}

#[test]
fn a_superpage_that_is_copied_is_cut() {
    let mut space = space(2048);
    let options = Options {
        superpages: true,
        ..Options::default()
    };
    let first = reserve(&mut space, 512, options);
    space.store(nth(first, 5).get(), 5).unwrap();
    let second = space.copy(first, Place::Any).unwrap();
    space.store(nth(first, 5).get(), 6).unwrap();
    assert_eq!(space.load(nth(second, 5).get()), Ok(5));
    space.end(first);
    space.end(second);
    space.check_nothing_lost();
}

#[test]
fn small_pages_do_where_no_superpage_is_to_be_found() {
    let mut space = space(511);
    let options = Options {
        superpages: true,
        ..Options::default()
    };
    let start = reserve(&mut space, 512, options);
    assert_eq!(space.store(nth(start, 3).get(), 1), Ok(()));
    assert_eq!(
        space.machine.count(FrameType::Plain),
        1,
        "the reserve is in use"
    );
    space.end(start);
    space.check_nothing_lost();
}

#[test]
fn a_pool_serves_again_what_came_back() {
    let mut space = space(FRAMES);
    let pool = Box::leak(Box::new(Pool::<8>::new()));
    space.set_supply(Some(pool));
    let options = || Options {
        zeroed: false,
        ..Options::default()
    };
    let start = filled(&mut space, 4);
    let page = space.page_of(nth(start, 3)).unwrap();
    space.end(start);
    let again = reserve(&mut space, 1, options());
    assert_eq!(space.load(again.get()), Ok(4), "as it was left");
    assert_eq!(space.page_of(again), Some(page));
    space.end(again);
    let zeros = reserve(&mut space, 1, Options::default());
    assert_eq!(space.load(zeros.get()), Ok(0));
    space.end(zeros);
    space.trim();
    space.machine.audit();
    assert_eq!(space.machine.count(FrameType::Plain), 0);
}

#[test]
fn what_is_not_a_range_is_refused() {
    let mut space = space(FRAMES);
    let none = space.reserve(Place::Any, 0, Options::default());
    assert_eq!(none, Err(Error::BadRange));
    let huge = space.reserve(Place::Any, u64::MAX / 4096 + 1, Options::default());
    assert_eq!(huge, Err(Error::BadRange));
    let large = space.reserve(Place::Any, 2 << 20, Options::default());
    assert_eq!(large, Err(Error::NoRoom));
    let low = VirtAddr::new(0x1_0000).unwrap();
    let options = Options {
        guards: 1,
        ..Options::default()
    };
    assert_eq!(
        space.reserve(Place::At(low), 1, options),
        Err(Error::BadRange)
    );
    let last = VirtAddr::new(exopi_rt::layout::TABLES_BASE - 4096).unwrap();
    assert_eq!(
        space.reserve(Place::At(last), 2, Options::default()),
        Err(Error::BadRange)
    );
    assert_eq!(
        space.reserve(Place::At(last), 1, Options::default()),
        Ok(last)
    );
    assert_eq!(space.protect(last, 2, R), Err(Error::NoRegion));
    for _ in 0..31 {
        reserve(&mut space, 1, Options::default());
    }
    let full = space.reserve(Place::Any, 1, Options::default());
    assert_eq!(full, Err(Error::TooManyRegions));
}

#[test]
fn tables_stay_while_a_neighbour_reaches_into_what_they_cover() {
    let mut space = space(FRAMES);
    let first = filled(&mut space, 3);
    let second = filled(&mut space, 3);
    let tables = space.machine.count(FrameType::Table3);
    space.end(first);
    assert_eq!(space.machine.count(FrameType::Table3), tables);
    assert_eq!(space.load(second.get()), Ok(1));
    space.end(second);
    assert_eq!(space.machine.count(FrameType::Table3), tables - 1);
    space.check_nothing_lost();
}
