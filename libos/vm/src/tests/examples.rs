//! What the library is for, case by case.

use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use exopi_rt::capability::Epoch;
use exopi_rt::domain::ObjectName;
use exopi_rt::page::FrameType;
use exopi_rt::{Note, Object, VirtAddr};

use super::model::Model;
use super::{R, RW, Space, nth, space};
use crate::error::Error;
use crate::fault::{Fault, Kind, Verdict};
use crate::pager::{OnFault, OnRefused, Pager, Source};
use crate::region::{Options, Place};

pub(super) const FRAMES: u32 = 400;

pub(super) fn pager(pager: impl Pager<Model> + 'static) -> Option<&'static mut dyn Pager<Model>> {
    Some(Box::leak(Box::new(pager)))
}

pub(super) fn reserve(space: &mut Space, pages: u64, options: Options<Model>) -> VirtAddr {
    space.reserve(Place::Any, pages, options).unwrap()
}

/// Writes bytes 1, 2, ... to the pages of a new region.
pub(super) fn filled(space: &mut Space, pages: u64) -> VirtAddr {
    let start = reserve(space, pages, Options::default());
    for page in 0..pages {
        space.store(nth(start, page).get(), page as u8 + 1).unwrap();
    }
    start
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
