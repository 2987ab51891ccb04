//! What the library is for, case by case.

use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use exopi_rt::capability::Epoch;
use exopi_rt::domain::ObjectName;
use exopi_rt::page::FrameType;
use exopi_rt::{Error as Refusal, Note, Object, VirtAddr};

use super::model::{COLOURS, Model};
use super::{NOTHING, R, RW, Space, nth, space};
use crate::colours::Colours;
use crate::error::Error;
use crate::fault::{Fault, Kind, Verdict};
use crate::pager::{OnFault, OnRefused, Pager, Source};
use crate::region::{Options, Place};
use crate::supply::Pool;

const FRAMES: u32 = 400;

fn pager(pager: impl Pager<Model> + 'static) -> Option<&'static mut dyn Pager<Model>> {
    Some(Box::leak(Box::new(pager)))
}

fn reserve(space: &mut Space, pages: u64, options: Options<Model>) -> VirtAddr {
    space.reserve(Place::Any, pages, options).unwrap()
}

#[test]
fn memory_begins_as_zeros_and_nothing_is_mapped_before_it_is_touched() {
    let mut space = space(FRAMES);
    let start = reserve(&mut space, 10, Options::default());
    assert_eq!(space.machine.count(FrameType::Plain), 4, "the reserve");
    for page in [3, 7] {
        let at = nth(start, page).get();
        assert_eq!(space.load(at + 4095), Ok(0));
        assert_eq!(space.store(at, 9), Ok(()));
        assert_eq!(space.load(at), Ok(9));
    }
    assert_eq!(space.page_of(nth(start, 4)), None);
    space.end(start);
    space.check_nothing_lost();
}

#[test]
fn a_first_touch_takes_one_call_once_the_tables_are_there() {
    let mut space = space(FRAMES);
    let start = reserve(&mut space, 10, Options::default());
    assert_eq!(space.load(start.get()), Ok(0));
    let before = space.machine.calls;
    assert_eq!(space.store(nth(start, 1).get(), 1), Ok(()));
    assert_eq!(space.machine.calls - before, 1);
}

#[test]
fn guard_pages_and_what_lies_beyond_are_refused() {
    let mut space = space(FRAMES);
    let options = || Options {
        guards: 1,
        ..Options::default()
    };
    let first = reserve(&mut space, 2, options());
    let second = reserve(&mut space, 2, options());
    assert_eq!(second.get() - first.get(), 4 * 4096);
    for at in [first.get() - 1, first.get() + 2 * 4096, second.get() - 1] {
        assert_eq!(space.load(at), Err(Verdict::PassOn), "{at:#x}");
    }
    assert_eq!(
        space.region(first.get() - 1).map(|info| info.start),
        Some(first)
    );
    assert_eq!(space.region(second.get() + 3 * 4096), None);
    let here = space.reserve(Place::At(nth(first, 3)), 1, Options::default());
    assert_eq!(here, Err(Error::Overlap));
}

#[test]
fn a_closure_hears_of_what_is_refused() {
    let mut space = space(FRAMES);
    let heard = Arc::new(AtomicU64::new(0));
    let count = heard.clone();
    let handler = OnRefused(move |fault: &mut Fault<'_, Model>| {
        count.fetch_add(1, Ordering::Relaxed);
        assert_eq!(
            (fault.kind(), fault.wanted()),
            (Kind::Refused, exopi_rt::Access::WRITE)
        );
        match fault.offset() / 4096 {
            0 => Verdict::StepOver,
            1 => {
                fault.protect(RW).unwrap();
                Verdict::Resume
            }
            _ => Verdict::PassOn,
        }
    });
    let options = Options {
        access: R,
        pager: pager(handler),
        ..Options::default()
    };
    let start = reserve(&mut space, 3, options);
    assert_eq!(space.store(start.get(), 1), Err(Verdict::StepOver));
    assert_eq!(space.store(nth(start, 1).get(), 1), Ok(()));
    assert_eq!(space.store(nth(start, 1).get(), 2), Ok(()));
    assert_eq!(space.store(nth(start, 2).get(), 1), Err(Verdict::PassOn));
    assert_eq!(space.store(start.get(), 1), Err(Verdict::StepOver));
    assert_eq!(heard.load(Ordering::Relaxed), 4);
    space.end(start);
    space.check_nothing_lost();
}

#[test]
fn a_pager_may_end_its_own_region() {
    let mut space = space(FRAMES);
    let handler = OnRefused(|fault: &mut Fault<'_, Model>| {
        let start = fault.region();
        fault.space().end(start);
        Verdict::PassOn
    });
    let options = Options {
        access: R,
        pager: pager(handler),
        ..Options::default()
    };
    let start = reserve(&mut space, 3, options);
    assert_eq!(space.load(start.get()), Ok(0));
    assert_eq!(space.store(start.get(), 1), Err(Verdict::PassOn));
    assert_eq!(space.region(start.get()), None);
    space.check_nothing_lost();
}

#[test]
fn a_source_fills_pages_before_anybody_sees_them() {
    let mut space = space(FRAMES);
    let source = Source(|offset: u64, bytes: &mut [u8; 4096]| {
        if offset == 2 * 4096 {
            return Err(Error::Unsuitable);
        }
        bytes.fill(offset as u8 >> 4 | (offset >> 12) as u8 | 0x40);
        Ok(())
    });
    let options = Options {
        access: R,
        pager: pager(source),
        ..Options::default()
    };
    let start = reserve(&mut space, 4, options);
    assert_eq!(space.load(nth(start, 1).get() + 99), Ok(0x41));
    assert_eq!(space.load(nth(start, 3).get()), Ok(0x43));
    assert_eq!(space.load(nth(start, 2).get()), Err(Verdict::PassOn));
    assert_eq!(space.store(nth(start, 1).get(), 1), Err(Verdict::PassOn));
    space.end(start);
    space.check_nothing_lost();
}

/// Writes bytes 1, 2, ... to the pages of a new region.
fn filled(space: &mut Space, pages: u64) -> VirtAddr {
    let start = reserve(space, pages, Options::default());
    for page in 0..pages {
        space.store(nth(start, page).get(), page as u8 + 1).unwrap();
    }
    start
}

#[test]
fn copies_share_until_one_writes_and_the_last_one_takes_the_page() {
    for writer_is_copy in [false, true] {
        let mut space = space(FRAMES);
        let first = filled(&mut space, 3);
        let second = space.copy(first, Place::Any).unwrap();
        let (writer, other) = if writer_is_copy {
            (second, first)
        } else {
            (first, second)
        };
        let page = space.page_of(first).unwrap();
        assert_eq!(space.page_of(second), Some(page));
        assert_eq!(space.load(second.get()), Ok(1));

        space.store(writer.get(), 77).unwrap();
        assert_ne!(space.page_of(writer), Some(page));
        assert_eq!(space.load(other.get()), Ok(1));

        // The other one is alone with the page now, and takes it as it is.
        let free = space.machine.free_pages();
        space.store(other.get() + 1, 88).unwrap();
        assert_eq!(space.page_of(other), Some(page));
        assert_eq!(space.machine.free_pages(), free);
        assert_eq!(space.load(other.get()), Ok(1));
        assert_eq!(space.load(writer.get() + 1), Ok(0));
        space.machine.audit();

        for start in [writer, other] {
            space.end(start);
        }
        space.check_nothing_lost();
    }
}

#[test]
fn whoever_is_left_of_many_sharers_takes_the_page() {
    let mut space = space(FRAMES);
    let first = filled(&mut space, 1);
    let page = space.page_of(first).unwrap();
    let copies: Vec<_> = (0..5)
        .map(|_| space.copy(first, Place::Any).unwrap())
        .collect();
    space.end(first);
    for copy in &copies[1..] {
        space.end(*copy);
    }
    space.store(copies[0].get(), 5).unwrap();
    assert_eq!(space.page_of(copies[0]), Some(page));
    space.end(copies[0]);
    space.check_nothing_lost();
}

#[test]
fn protection_is_copied_and_protects_shared_pages_too() {
    let mut space = space(FRAMES);
    let first = filled(&mut space, 4);
    space.protect(nth(first, 1), 1, R).unwrap();
    space.protect(nth(first, 2), 1, NOTHING).unwrap();
    let second = space.copy(first, Place::Any).unwrap();
    for start in [first, second] {
        assert_eq!(space.store(nth(start, 1).get(), 1), Err(Verdict::PassOn));
        assert_eq!(space.load(nth(start, 1).get()), Ok(2));
        assert_eq!(space.load(nth(start, 2).get()), Err(Verdict::PassOn));
    }
    space.protect(first, 4, RW).unwrap();
    space.store(nth(first, 2).get() + 1, 99).unwrap();
    space.store(nth(first, 1).get(), 98).unwrap();
    assert_eq!(space.load(nth(second, 1).get()), Ok(2));
    space.protect(nth(second, 2), 1, R).unwrap();
    assert_eq!(space.load(nth(second, 2).get()), Ok(3));
    assert_eq!(space.load(nth(second, 2).get() + 1), Ok(0));
    space.end(second);
    space.end(first);
    space.check_nothing_lost();
}

#[test]
fn pages_lent_to_another_space_come_back_with_the_last_mapping() {
    let mut space = space(FRAMES);
    let other = Object::Owned(ObjectName {
        index: 1,
        epoch: Epoch::from_low_bits(9),
    });
    let first = filled(&mut space, 5);
    let there = VirtAddr::new(0x10_0000_0000).unwrap();
    space.lend(first, 5, other, there).unwrap();
    let page = space.page_of(first).unwrap();
    assert_eq!(space.machine.elsewhere(1, there), Some((page, R)));

    // We write: they keep the page, and give it back when they leave.
    space.store(first.get(), 42).unwrap();
    assert_ne!(space.page_of(first), Some(page));
    let free = space.machine.free_pages();
    space.machine.leave(1, there);
    assert_eq!(space.machine.free_pages(), free + 1);

    // They leave first: no copy.
    let page = space.page_of(nth(first, 1));
    space.machine.leave(1, nth(there, 1));
    space.store(nth(first, 1).get(), 43).unwrap();
    assert_eq!(space.page_of(nth(first, 1)), page);

    // We are gone first: what is theirs stays.
    space.end(first);
    for page in 2..5 {
        assert!(space.machine.elsewhere(1, nth(there, page)).is_some());
        space.machine.leave(1, nth(there, page));
    }
    space.machine.audit();
    assert_eq!(space.machine.count(FrameType::Plain), 4, "the reserve");
}

#[test]
fn a_batch_protects_scattered_pages_with_one_call_for_sixteen() {
    let mut space = space(FRAMES);
    let start = filled(&mut space, 64);
    let odd: Vec<_> = (0..64).step_by(2).map(|page| nth(start, page)).collect();
    space.protect_each(&odd[..1], R).unwrap();
    let before = space.machine.calls;
    space.protect_each(&odd, R).unwrap();
    assert_eq!(space.machine.calls - before, 2);
    for page in 0..64 {
        let stored = space.store(nth(start, page).get(), 1);
        assert_eq!(stored.is_ok(), page % 2 == 1, "page {page}");
    }
}

#[test]
fn a_range_takes_one_call() {
    let mut space = space(FRAMES);
    let start = filled(&mut space, 101);
    space.protect(start, 1, RW).unwrap();
    for access in [R, RW] {
        let before = space.machine.calls;
        space.protect(start, 100, access).unwrap();
        assert_eq!(space.machine.calls - before, 1);
    }
}

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
fn what_is_evicted_leaves_a_note_for_its_pager() {
    let mut space = space(FRAMES);
    let dropped = Arc::new(AtomicU64::new(0));
    struct Store(Arc<AtomicU64>, u8);
    impl Pager<Model> for Store {
        fn missing(&mut self, fault: &mut Fault<'_, Model>) -> Result<Verdict, Error> {
            match fault.note() {
                Some(note) => fault.fill(|bytes| {
                    assert_eq!(note, 1234);
                    bytes.fill(self.1);
                    Ok(())
                })?,
                None => fault.zero_fill()?,
            }
            Ok(Verdict::Resume)
        }

        fn dropped(&mut self, _: VirtAddr, note: Note) {
            self.0.fetch_add(note.get(), Ordering::Relaxed);
        }
    }
    let options = Options {
        pager: pager(Store(dropped.clone(), 17)),
        ..Options::default()
    };
    let start = reserve(&mut space, 4, options);
    for page in 0..2 {
        space.store(nth(start, page).get(), 17).unwrap();
        #[expect(unsafe_code, reason = "memory disappears")]
        // SAFETY: the model's memory is not the test's.
        let evicted = unsafe { space.evict(nth(start, page), 1234) }.unwrap();
        space.give_back(evicted);
    }
    assert_eq!(space.load(start.get()), Ok(17));
    assert_eq!(space.load(nth(start, 2).get()), Ok(0));
    space.end(start);
    assert_eq!(
        dropped.load(Ordering::Relaxed),
        1234,
        "the one that was not read again"
    );
    space.check_nothing_lost();
}

#[test]
fn a_closure_for_everything_sees_every_kind() {
    let mut space = space(FRAMES);
    let seen = Arc::new(AtomicU64::new(0));
    let note = seen.clone();
    let handler = OnFault(move |fault: &mut Fault<'_, Model>| {
        note.fetch_or(1 << fault.kind() as u64, Ordering::Relaxed);
        match fault.kind() {
            Kind::Missing => fault.zero_fill()?,
            Kind::Shared => fault.unshare()?,
            Kind::Refused => return Ok(Verdict::StepOver),
        }
        Ok(Verdict::Resume)
    });
    let options = Options {
        guards: 1,
        pager: pager(handler),
        ..Options::default()
    };
    let start = reserve(&mut space, 2, options);
    space.store(start.get(), 3).unwrap();
    let other = Object::Owned(ObjectName {
        index: 1,
        epoch: Epoch::from_low_bits(9),
    });
    let there = VirtAddr::new(0x10_0000_0000).unwrap();
    space.lend(start, 1, other, there).unwrap();
    space.store(start.get(), 4).unwrap();
    assert_eq!(space.load(start.get() - 1), Err(Verdict::StepOver));
    assert_eq!(seen.load(Ordering::Relaxed), 0b111);
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
