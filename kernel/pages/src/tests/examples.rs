//! Single cases: bounds, borders, the order of the free list, and what a range costs.

use std::vec::Vec;

use exopi_abi::page::{
    ALLOC_BOUND, FREE_BOUND, FrameType, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, Owner, PageRecord,
    REMOVE_BOUND,
};
use exopi_abi::{Access, Error, PageNumber, PageSelect, PageSource, Progress, TableLevel};

use super::{EXPOSED, FIRST_FREE, OWNERS, Op, READ, ROOTS, WRITE, World, at, page};
use crate::audit::Violation;
use crate::{Hardware, Index, Pages, Slot, Space, pte};

const EXECUTE: Access = Access::READ.union(Access::EXECUTE);

fn stopped(done: u64, error: Error) -> Progress {
    Progress {
        done,
        stopped: Some(error),
    }
}

fn complete(done: u64) -> Progress {
    Progress {
        done,
        stopped: None,
    }
}

/// A world where owner 0 has `plain` plain pages, the first of which is returned, and the tables for
/// the 4 MiB from 0 on.
fn with_tables(plain: u32) -> (World, [Space; 2], u32) {
    let (mut world, spaces) = World::new(plain + 5);
    let mut call = |op| assert_eq!(world.apply(&spaces, 0, op).error(), None, "{op:?}");
    for number in 0..plain + 5 {
        call(Op::Alloc(PageSelect::Exact(page(FIRST_FREE + number)), 1));
    }
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|i| page(FIRST_FREE + i));
    call(Op::InsertTable(at(0x1_0000), TableLevel::Two, a, None));
    call(Op::InsertTable(at(0x1_0000), TableLevel::Three, b, Some(c)));
    call(Op::InsertTable(
        at(0x20_0000),
        TableLevel::Three,
        d,
        Some(e),
    ));
    (world, spaces, FIRST_FREE + 5)
}

#[test]
fn boot_frees_lowest_first_and_stops_at_what_is_not_its_own() {
    let mut records = std::vec![PageRecord::KERNEL; 16];
    let mut pages = Pages::new(&mut records);
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
    let mut hw = crate::model::Machine::new(16);
    assert_eq!(pages.check_invariants(&hw, &[]), Ok(()));
    let mut order = Vec::new();
    while pages.free_pages() > 0 {
        order.push(
            pages
                .alloc(&mut hw, OWNERS[0], PageSelect::Any, 1)
                .first
                .get(),
        );
    }
    assert_eq!(order, [4, 5, 6, 10, 11, 8, 9, 14, 15]);
    let empty = pages.alloc(&mut hw, OWNERS[0], PageSelect::Any, 1);
    assert_eq!(empty.progress, Progress::refused(Error::Exhausted));
    assert_eq!(pages.add_free(page(7), 1), complete(1));
    assert_eq!(pages.check_invariants(&hw, &[]), Ok(()));
}

#[test]
fn boot_frees_runs_of_any_length() {
    // Every length on both sides of a loop over eight, or a few.
    let step = if cfg!(miri) { 17 } else { 1 };
    for length in (0..40).step_by(step) {
        for taken in (0..40).step_by(step) {
            let mut records = std::vec![PageRecord::KERNEL; 42];
            let mut pages = Pages::new(&mut records);
            assert_eq!(pages.add_free(page(1 + taken), 1), complete(1));
            let first = pages.add_free(page(1), u64::from(length));
            if length <= taken {
                assert_eq!(first, complete(u64::from(length)));
            } else {
                assert_eq!(first, stopped(u64::from(taken), Error::Taken));
            }
            let hw = crate::model::Machine::new(42);
            assert_eq!(pages.check_invariants(&hw, &[]), Ok(()));
        }
    }
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn ranged_calls_stop_at_their_bounds_and_can_go_on() {
    let (mut world, spaces, first) = with_tables(200);
    let space = &spaces[0];
    let owned = |i| PageSource::Owned(page(first + i));
    world.with(|pages, hw| {
        let many = u64::MAX;
        // The border between two level-3 tables is in the range.
        let start = at(0x20_0000 - 100 * 4096);
        assert_eq!(
            pages.insert_pte(hw, space, start, owned(0), many, WRITE),
            complete(INSERT_BOUND)
        );
        let code = pages.insert_pte(hw, space, at(0x10_0000), owned(0), many, EXECUTE);
        assert_eq!(code, complete(INSERT_EXECUTABLE_BOUND));
        let rest = start.plus(INSERT_BOUND).unwrap();
        let rest = pages.insert_pte(hw, space, rest, owned(INSERT_BOUND as u32), many, READ);
        assert_eq!(rest, stopped(72, Error::OutOfRange));
        assert_eq!(
            pages.check_invariants(hw, &[&spaces[0], &spaces[1]]),
            Ok(())
        );
        assert_eq!(
            pages.free(OWNERS[0], page(first), 1),
            stopped(0, Error::InUse)
        );
        let code = pages.remove_pte(hw, space, at(0x10_0000), many);
        assert_eq!(code, stopped(INSERT_EXECUTABLE_BOUND, Error::Vacant));
        let mut done = 0;
        for expected in [
            REMOVE_BOUND,
            REMOVE_BOUND,
            REMOVE_BOUND,
            200 - 3 * REMOVE_BOUND,
        ] {
            let progress = pages.remove_pte(hw, space, start.plus(done).unwrap(), 200 - done);
            assert_eq!(progress, complete(expected));
            done += progress.done;
        }
        assert_eq!(
            pages.free(OWNERS[0], page(first), many),
            complete(FREE_BOUND)
        );
        let again = pages.alloc(hw, OWNERS[0], PageSelect::Exact(page(first)), many);
        assert_eq!(again.progress, complete(ALLOC_BOUND));
    });
    assert_eq!(world.check(&spaces), Ok(()));
}

#[test]
fn a_range_costs_as_many_barriers_as_a_page() {
    let (mut world, spaces, first) = with_tables(64);
    let space = &spaces[0];
    let start = at(0x20_0000 - 7 * 4096);
    world.with(|pages, hw| {
        let source = PageSource::Owned(page(first));
        let before = hw.barriers;
        assert_eq!(
            pages.insert_pte(hw, space, start, source, 64, WRITE),
            complete(64)
        );
        assert_eq!((hw.barriers - before, hw.invalidations), (1, 0));
        assert_eq!(pages.remove_pte(hw, space, start, 64), complete(64));
        assert_eq!((hw.barriers - before, hw.invalidations), (3, 64));
        // A refusal costs none.
        assert_eq!(
            pages.remove_pte(hw, space, start, 64),
            stopped(0, Error::Vacant)
        );
        assert_eq!((hw.barriers - before, hw.invalidations), (3, 64));
    });
}

#[test]
fn a_range_stops_where_programs_may_map_no_more() {
    let (mut world, spaces, first) = with_tables(6);
    let last = at(0x7f_bfff_f000);
    let [a, b, c] = [0, 1, 2].map(|i| page(first + i));
    let mut call = |op| world.apply(&spaces, 0, op);
    assert_eq!(
        call(Op::InsertTable(last, TableLevel::Two, a, None)).error(),
        None
    );
    assert_eq!(
        call(Op::InsertTable(last, TableLevel::Three, b, Some(c))).error(),
        None
    );
    let inserted = call(Op::Insert(last, page(first + 3), 3, WRITE));
    assert_eq!(inserted.status, 1 << 16 | Error::BadAddress as u64);
    let removed = call(Op::Remove(last, 3));
    assert_eq!(removed.status, 1 << 16 | Error::BadAddress as u64);
    // The kernel's entry is where it was put, beyond all this.
    assert_eq!(world.hw.entry(page(ROOTS[0]), Index::LAST), EXPOSED);
}

#[test]
fn page_numbers_end_and_do_not_begin_again() {
    let (mut world, spaces, first) = with_tables(2);
    for start in [u32::MAX, u32::MAX - 1, (1 << 23) - 1, first + 2] {
        for op in [
            Op::Alloc(PageSelect::Exact(page(start)), 16),
            Op::Free(page(start), 64),
            Op::Insert(at(0x1_0000), page(start), 128, WRITE),
            Op::MakeUArea(at(0x1_0000), page(start)),
        ] {
            let reply = world.apply(&spaces, 0, op);
            assert_eq!(reply.status, Error::OutOfRange as u64, "{op:?}");
        }
    }
    assert_eq!(world.check(&spaces), Ok(()));
}

#[test]
fn every_mapping_of_a_frame_is_found_from_it() {
    let (mut world, spaces, first) = with_tables(2);
    let places = [0x1_0000, 0x1f_f000, 0x20_0000, 0x3f_f000];
    for place in places {
        let op = Op::Insert(at(place), page(first), 1, READ);
        assert_eq!(world.apply(&spaces, 0, op).error(), None);
    }
    let found = |world: &mut World| -> Vec<u64> {
        world.with(|pages, hw| {
            let mappings = pages.mappings(hw, page(first));
            mappings
                .inspect(|m| assert_eq!(m.asid, 1))
                .map(|m| m.at.get())
                .collect()
        })
    };
    assert_eq!(
        found(&mut world),
        [0x3f_f000, 0x20_0000, 0x1f_f000, 0x1_0000]
    );
    // From the middle, the end and the head of the list.
    for (gone, rest) in [
        (0x1f_f000, &[0x3f_f000, 0x20_0000, 0x1_0000][..]),
        (0x1_0000, &[0x3f_f000, 0x20_0000]),
        (0x3f_f000, &[0x20_0000]),
        (0x20_0000, &[]),
    ] {
        assert_eq!(
            world.apply(&spaces, 0, Op::Remove(at(gone), 1)).error(),
            None
        );
        assert_eq!(found(&mut world), rest);
        assert_eq!(world.check(&spaces), Ok(()));
    }
}

#[test]
fn a_uarea_has_the_kernels_mapping_and_no_other() {
    let (mut world, spaces, first) = with_tables(2);
    let mut call = |op| world.apply(&spaces, 0, op).error();
    let uarea = page(first);
    assert_eq!(call(Op::Write(uarea, Index::truncate(3), 7)), None);
    assert_eq!(call(Op::MakeUArea(at(0x1_0000), uarea)), None);
    assert_eq!(
        call(Op::MakeUArea(at(0x1_1000), uarea)),
        Some(Error::WrongType)
    );
    assert_eq!(
        call(Op::Insert(at(0x1_1000), uarea, 1, READ)),
        Some(Error::WrongType)
    );
    assert_eq!(call(Op::Remove(at(0x1_0000), 1)), Some(Error::WrongType));
    assert_eq!(call(Op::Free(uarea, 1)), Some(Error::WrongType));
    assert_eq!(
        call(Op::RemoveTable(at(0x1_0000), TableLevel::Three)),
        Some(Error::NotEmpty)
    );
    assert_eq!(world.hw.contents(uarea).get(&3), Some(&7));
    assert_eq!(world.check(&spaces), Ok(()));
}

#[test]
fn contents_stay_for_their_last_user_alone() {
    let (mut world, spaces) = World::new(1);
    let only = page(FIRST_FREE);
    let mut call = |who, op| assert_eq!(world.apply(&spaces, who, op).error(), None);
    let alloc = Op::Alloc(PageSelect::Any, 1);
    call(0, alloc);
    call(0, Op::Write(only, Index::truncate(9), 0x5ec2e7));
    call(0, Op::Free(only, 1));
    call(0, alloc);
    call(0, Op::Free(only, 1));
    assert_eq!(world.hw.contents(only).get(&9), Some(&0x5ec2e7));
    world.apply(&spaces, 1, alloc);
    assert!(world.hw.contents(only).is_empty());
}

/// A sound world with one of everything: a page of owner 0 mapped in two places, another that is free
/// again, tables.
fn one_of_everything() -> (World, [Space; 2], u32) {
    let (mut world, spaces, first) = with_tables(3);
    for op in [
        Op::Insert(at(0x1_0000), page(first), 1, WRITE),
        Op::Insert(at(0x20_0000), page(first), 1, WRITE),
        Op::Free(page(first + 2), 1),
    ] {
        assert_eq!(world.apply(&spaces, 0, op).error(), None);
    }
    assert_eq!(world.check(&spaces), Ok(()));
    (world, spaces, first)
}

#[test]
fn the_checker_sees_a_wrong_record() {
    let (world, spaces, first) = one_of_everything();
    let broken = |page: PageNumber, change: fn(&mut PageRecord)| {
        let mut world = world.clone();
        change(&mut world.records[page.index()]);
        world.with(|pages, hw| pages.check_invariants(hw, &[&spaces[0], &spaces[1]]))
    };
    let [table2, links] = [0, 2].map(|i| page(FIRST_FREE + i));
    let (plain, free) = (page(first), page(first + 2));
    for (found, expected) in [
        (
            broken(free, |r| r.kind = FrameType::Plain),
            Violation::FreeList(free),
        ),
        (
            broken(free, |r| r.owner = OWNERS[0]),
            Violation::Record(free),
        ),
        (
            broken(plain, |r| r.owner = Owner::NOBODY),
            Violation::Record(plain),
        ),
        (
            broken(plain, |r| r.references = 1),
            Violation::References(plain),
        ),
        (
            broken(plain, |r| r.kind = FrameType::Table2),
            Violation::Record(plain),
        ),
        (
            broken(table2, |r| r.first = 3),
            Violation::EntryCount(table2),
        ),
        (broken(table2, |r| r.second += 1), Violation::Table(table2)),
        (broken(links, |r| r.second += 1), Violation::Table(links)),
    ] {
        assert_eq!(found, Err(expected));
    }
}

#[test]
fn the_checker_sees_a_wrong_entry_or_link() {
    let (world, spaces, first) = one_of_everything();
    let broken = |page, index, word| {
        let mut world = world.clone();
        world.hw.write(page, index, word);
        world.with(|pages, hw| pages.check_invariants(hw, &[&spaces[0], &spaces[1]]))
    };
    let [table2, table3, links] = [0, 1, 2].map(|i| page(FIRST_FREE + i));
    let index = Index::in_table3(at(0x1_0000));
    let last = Index::LAST;
    let plain = page(first);
    for (found, expected) in [
        (broken(links, index, 0), Violation::List(plain)),
        (
            broken(links, last, 1),
            Violation::Residue(Slot::new(table3, last)),
        ),
        (
            broken(table3, index, pte::page(table2, READ)),
            Violation::Entry(Slot::new(table3, index)),
        ),
        (broken(table3, index, 0), Violation::EntryCount(table3)),
        (
            broken(table3, last, 0b10),
            Violation::Residue(Slot::new(table3, last)),
        ),
    ] {
        assert_eq!(found, Err(expected));
    }
}
