//! Giving pages back in an order, and going on with fewer.

use std::boxed::Box;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use exopi_rt::giver::Giver;
use exopi_rt::revocation::RevocationRecord;
use exopi_rt::{Note, VirtAddr};
use proptest::prelude::*;

use super::examples::{FRAMES, filled, pager, reserve};
use super::model::Model;
use super::{R, Space, nth, space};
use crate::error::Error;
use crate::fault::{Fault, Verdict};
use crate::machine::PageBytes;
use crate::pager::{Pager, Source};
use crate::region::Options;
use crate::revoke::{Answering, Candidate, Cheapest, Policy};
use crate::supply::Pool;

/// Pages that went to some medium: what they held, by their notes.
type Medium = Arc<Mutex<Vec<PageBytes>>>;

/// Saves what it must, and orders pages by a function of their places in their region.
struct Saving<F> {
    medium: Medium,
    cost: F,
}

#[expect(unsafe_code, reason = "says that nothing is lost")]
// SAFETY: `Loading` brings back what was saved.
unsafe impl<F: FnMut(u64) -> Option<u32> + Send> Policy<Model> for Saving<F> {
    fn cost(&mut self, page: &Candidate) -> Option<u32> {
        (self.cost)((page.at.get() - page.region.start.get()) / 4096)
    }

    fn save(&mut self, _: &Candidate, read: &dyn Fn(usize) -> u8) -> Result<Option<Note>, Error> {
        let mut medium = self.medium.lock().unwrap();
        medium.push(core::array::from_fn(read));
        Ok(Note::new(medium.len() as u64))
    }
}

/// Brings back what was saved.
struct Loading(Medium);

impl Pager<Model> for Loading {
    fn missing(&mut self, fault: &mut Fault<'_, Model>) -> Result<Verdict, Error> {
        match fault.note() {
            None => fault.zero_fill()?,
            Some(note) => {
                let saved = self.0.lock().unwrap()[note as usize - 1];
                fault.fill(|bytes| {
                    *bytes = saved;
                    Ok(())
                })?;
            }
        }
        Ok(Verdict::Resume)
    }
}

fn mapped(space: &Space, start: VirtAddr, pages: u64) -> Vec<u64> {
    (0..pages)
        .filter(|page| space.page_of(nth(start, *page)).is_some())
        .collect()
}

#[test]
fn zeros_go_first_then_what_a_pager_makes_and_the_rest_stays() {
    let mut space = space(FRAMES);
    let dirty = filled(&mut space, 3);
    let zeros = reserve(&mut space, 3, Options::default());
    let file = Options {
        access: R,
        pager: pager(Source(|offset: u64, bytes: &mut PageBytes| {
            bytes.fill(offset as u8 / 16 + 7);
            Ok(())
        })),
        ..Options::default()
    };
    let file = reserve(&mut space, 3, file);
    for page in 0..3 {
        assert_eq!(space.load(nth(zeros, page).get()), Ok(0));
        assert_eq!(space.load(nth(file, page).get()), Ok(7));
    }
    let free = space.machine.free_pages();
    assert_eq!(space.shrink(&mut Cheapest, 2), 2);
    assert_eq!(space.machine.free_pages(), free + 2);
    assert_eq!(
        (
            mapped(&space, zeros, 3).len(),
            mapped(&space, file, 3).len()
        ),
        (1, 3)
    );
    assert_eq!(space.shrink(&mut Cheapest, 100), 4);
    assert!(mapped(&space, zeros, 3).is_empty() && mapped(&space, file, 3).is_empty());
    assert_eq!(space.machine.free_pages(), free + 6);
    for page in 0..3 {
        assert_eq!(space.load(nth(dirty, page).get()), Ok(page as u8 + 1));
        assert_eq!(space.load(nth(zeros, page).get()), Ok(0));
        assert_eq!(space.load(nth(file, page).get()), Ok(7));
        assert_eq!(space.store(nth(zeros, page).get(), 1), Ok(()));
    }
    for start in [dirty, zeros, file] {
        space.end(start);
    }
    space.check_nothing_lost();
}

#[test]
fn zeros_in_a_region_with_a_pager_are_no_zeros() {
    let mut space = space(FRAMES);
    let options = Options {
        pager: pager(Source(|_, bytes: &mut PageBytes| {
            bytes.fill(5);
            Ok(())
        })),
        ..Options::default()
    };
    let start = reserve(&mut space, 1, options);
    for byte in start.get()..start.get() + 4096 {
        assert_eq!(space.store(byte, 0), Ok(()));
    }
    assert_eq!(space.shrink(&mut Cheapest, 1), 0);
    assert_eq!(space.load(start.get()), Ok(0));
    // What was to go and did not may be written as before.
    assert_eq!(space.store(start.get(), 1), Ok(()));
}

#[test]
fn what_the_supply_keeps_goes_before_anything_is_taken_out() {
    let mut space = space(FRAMES);
    let pool: &'static mut Pool<4> = Box::leak(Box::default());
    space.set_supply(Some(pool));
    let kept = filled(&mut space, 3);
    let zeros = reserve(&mut space, 1, Options::default());
    assert_eq!(space.load(zeros.get()), Ok(0));
    space.end(kept);
    assert_eq!(space.shrink(&mut Cheapest, 3), 3);
    assert_eq!(mapped(&space, zeros, 1), [0]);
    assert_eq!(space.shrink(&mut Cheapest, 3), 1);
}

#[test]
fn a_program_goes_on_with_less_than_it_has_written() {
    let mut space = space(60);
    let medium = Medium::default();
    let policy = Saving {
        medium: medium.clone(),
        cost: |page| Some(page as u32),
    };
    space.set_policy(Some(Box::leak(Box::new(policy))));
    let options = Options {
        pager: pager(Loading(medium.clone())),
        ..Options::default()
    };
    let start = reserve(&mut space, 200, options);
    for round in 0..3 {
        for page in 0..200 {
            let at = nth(start, page).get() + page;
            assert_eq!(
                space.load(at),
                Ok(if round == 0 {
                    0
                } else {
                    page as u8 ^ (round - 1)
                })
            );
            assert_eq!(space.store(at, page as u8 ^ round), Ok(()));
        }
    }
    assert!(medium.lock().unwrap().len() > 200);
    space.end(start);
    let freed = space.set_policy(None).is_some();
    assert!(freed);
    space.check_nothing_lost();
}

#[test]
fn without_a_policy_nothing_goes() {
    let mut space = space(40);
    let start = reserve(&mut space, 100, Options::default());
    let refused = (0..100).find_map(|page| space.load(nth(start, page).get()).err());
    assert_eq!(refused, Some(Verdict::PassOn));
    space.set_policy(Some(Box::leak(Box::new(Cheapest))));
    for page in 0..100 {
        assert_eq!(space.load(nth(start, page).get()), Ok(0));
    }
}

#[test]
fn a_page_that_cannot_be_saved_stays() {
    struct Full;
    #[expect(unsafe_code, reason = "for a test")]
    // SAFETY: nothing goes.
    unsafe impl Policy<Model> for Full {
        fn cost(&mut self, _: &Candidate) -> Option<u32> {
            Some(1)
        }
        fn save(&mut self, _: &Candidate, _: &dyn Fn(usize) -> u8) -> Result<Option<Note>, Error> {
            Err(Error::NoRoom)
        }
    }
    let mut space = space(FRAMES);
    let start = filled(&mut space, 3);
    assert_eq!(space.shrink(&mut Full, 3), 0);
    for page in 0..3 {
        let at = nth(start, page).get();
        assert_eq!(space.load(at), Ok(page as u8 + 1));
        let before = space.machine.calls;
        assert_eq!(space.store(at, 9), Ok(()));
        assert_eq!(space.machine.calls, before, "no fault");
    }
}

#[test]
fn pages_that_are_asked_for_by_number_go() {
    let mut space = space(FRAMES);
    let start = reserve(&mut space, 6, Options::default());
    for page in 0..6 {
        assert_eq!(space.load(nth(start, page).get()), Ok(0));
    }
    let wanted = space.page_of(nth(start, 4)).unwrap();
    let asked = RevocationRecord {
        first: wanted.get(),
        named: 1,
        asked: 1,
        ..RevocationRecord::default()
    };
    let mut answering = Answering {
        space: &mut space,
        policy: &mut Cheapest,
    };
    assert_eq!(answering.give(&asked, 0), 1);
    assert_eq!(mapped(&space, start, 6), [0, 1, 2, 3, 5]);
}

proptest! {
    /// The pages that go are those that cost least, however many there are and whatever costs the same.
    #[test]
    fn the_least_go_first(costs in prop::collection::vec(prop::option::weighted(0.8, 0..20u32), 1..120), count in 0..130u32) {
        let mut space = space(FRAMES);
        let start = filled(&mut space, costs.len() as u64);
        let by_page = costs.clone();
        let mut policy = Saving {
            medium: Medium::default(),
            cost: move |page: u64| by_page[page as usize],
        };
        let gone = space.shrink(&mut policy, count);
        let there = mapped(&space, start, costs.len() as u64);
        let mut offered: Vec<u32> = costs.iter().flatten().copied().collect();
        offered.sort();
        prop_assert_eq!(gone as usize, offered.len().min(count as usize));
        let mut went: Vec<u32> = (0..costs.len() as u64)
            .filter(|page| !there.contains(page))
            .map(|page| costs[page as usize].expect("only what may go"))
            .collect();
        went.sort();
        prop_assert_eq!(went.as_slice(), &offered[..gone as usize]);
    }
}
