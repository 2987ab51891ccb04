//! Single cases: bounds, borders, the order of the free lists, and what a range costs.

use std::vec::Vec;

use exopi_abi::capability::PageRights;
use exopi_abi::page::{
    ALLOC_BOUND, FREE_BOUND, FrameType, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, MINT_BOUND,
    PROTECT_BOUND, REMOVE_BOUND,
};
use exopi_abi::{Error, Note, PageSelect, TableLevel};

use super::{
    By, Cap, EXECUTE, EXPOSED, FIRST_FREE, OWNERS, Op, READ, ROOTS, WRITE, World, at, complete,
    credit, page, stopped,
};
use crate::flush::WHOLE_SPACE_FROM;
use crate::pte::Change;
use crate::{Hardware, Index, Right, Source, Space, pte};

mod audit;
mod breaking;
mod ends;
mod free_lists;
mod sharing;
mod superpages;

/// A world where owner 0 has `plain` plain pages, the first of which is returned, and the tables for
/// the 4 MiB from 0 on: the first six pages.
pub(super) fn with_tables(plain: u32) -> (World, Space, u32) {
    let mut world = World::new(plain + 6);
    let mut call = |op| assert_eq!(world.apply(0, 0, op).error(), None, "{op:?}");
    for number in (0..plain + 6).step_by(16) {
        let which = PageSelect::Exact(page(FIRST_FREE + number));
        call(Op::Alloc(which, u64::from(plain + 6 - number).min(16), 16));
    }
    let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|i| page(FIRST_FREE + i));
    call(Op::InsertTable(at(0x1_0000), TableLevel::Two, a, b));
    call(Op::InsertTable(at(0x1_0000), TableLevel::Three, c, d));
    call(Op::InsertTable(at(0x20_0000), TableLevel::Three, e, f));
    let space = world.spaces[0].expect("there from the start");
    (world, space, FIRST_FREE + 6)
}

/// A capability for every page there is, with these rights and the epoch of the first page that is named.
pub(super) fn cap(rights: PageRights) -> By {
    By::Cap(Cap {
        first: 0,
        count: 1 << 20,
        epoch: None,
        rights,
        timed: false,
        for_pages: true,
    })
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn ranged_calls_stop_at_their_bounds_and_can_go_on() {
    let (mut world, space, first) = with_tables(200);
    let space = &space;
    let mine = Right::Owner(OWNERS[0]);
    let run = |i: u64| Source::Run(page(first + i as u32), mine);
    world.with(|pages, hw, epochs| {
        let many = u64::MAX;
        let mut insert = |at, source, access| {
            pages.insert_pte(hw, epochs, credit(0, 0), space, at, source, many, access)
        };
        // The border between two level-3 tables is in the range.
        let start = at(0x20_0000 - 100 * 4096);
        assert_eq!(insert(start, run(0), WRITE), complete(INSERT_BOUND));
        let code = insert(at(0x10_0000), run(0), EXECUTE);
        assert_eq!(code, complete(INSERT_EXECUTABLE_BOUND));
        let rest = start.plus(INSERT_BOUND).unwrap();
        let rest = insert(rest, run(INSERT_BOUND), READ);
        assert_eq!(rest, stopped(72, Error::OutOfRange));
        assert_eq!(
            pages.protect_pte(hw, space, start, many, READ),
            complete(PROTECT_BOUND)
        );
        assert_eq!(
            pages.protect_pte(hw, space, at(0x10_0000), many, EXECUTE),
            complete(INSERT_EXECUTABLE_BOUND)
        );
        let code = pages.remove_pte(hw, space, at(0x10_0000), many);
        assert_eq!(code, stopped(INSERT_EXECUTABLE_BOUND, Error::Vacant));
        let mut done = 0;
        for expected in [REMOVE_BOUND, REMOVE_BOUND, REMOVE_BOUND, 8] {
            let progress = pages.remove_pte(hw, space, start.plus(done).unwrap(), 200 - done);
            assert_eq!(progress, complete(expected));
            done += progress.done;
        }
        assert_eq!(pages.free(mine, page(first), many), complete(FREE_BOUND));
        let which = PageSelect::Exact(page(first));
        let again = pages.alloc(hw, epochs, credit(0, many), which, many);
        assert_eq!(again.progress, complete(ALLOC_BOUND));
        let which = PageSelect::Any;
        let new = pages.insert_pte(
            hw,
            epochs,
            credit(0, many),
            space,
            start,
            Source::New(which),
            many,
            READ,
        );
        assert_eq!(new, complete(ALLOC_BOUND));
        let all = pages.retire(epochs, mine, page(first), ALLOC_BOUND);
        assert_eq!(all, complete(ALLOC_BOUND));
        let minted = |count| pages.mintable(OWNERS[0], page(first), count);
        assert_eq!(minted(ALLOC_BOUND), Ok(epochs.last()));
        assert_eq!(minted(MINT_BOUND + 1), Err(Error::BadCount));
    });
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn protecting_stops_at_the_entry_that_refuses_wherever_it_is() {
    const MOST: u64 = 11;
    let step = if cfg!(miri) { 5 } else { 1 };
    // The page that may only be read; none of them for the last.
    for refusing in (0..=MOST).step_by(step) {
        for length in (1..=MOST).step_by(step) {
            let (mut world, space, first) = with_tables(MOST as u32);
            let (space, start) = (&space, at(0x20_0000));
            world.with(|pages, hw, epochs| {
                for number in 0..MOST {
                    let access = if number == refusing { READ } else { WRITE };
                    let source = Source::Run(page(first + number as u32), Right::Owner(OWNERS[0]));
                    let place = start.plus(number).unwrap();
                    let credit = credit(0, 0);
                    let done =
                        pages.insert_pte(hw, epochs, credit, space, place, source, 1, access);
                    assert_eq!(done, complete(1));
                }
                let all = pages.protect_pte(hw, space, start, MOST, READ);
                assert_eq!(all, complete(MOST));
                let outcome = pages.protect_pte(hw, space, start, length, WRITE);
                let done = length.min(refusing);
                let expected = match refusing < length {
                    true => stopped(done, Error::MissingRight),
                    false => complete(length),
                };
                assert_eq!(outcome, expected, "{refusing} of {length}");
                let found = pages.table3(hw, space, start).unwrap();
                for number in 0..MOST {
                    let index = Index::in_table3(start.plus(number).unwrap());
                    let bound = if number == refusing { READ } else { WRITE };
                    let now = if number < done { WRITE } else { READ };
                    let frame = page(first + number as u32);
                    let to_be = Change::to(now).apply(pte::page(frame, bound));
                    assert_eq!(
                        hw.entry(found.table, index),
                        to_be,
                        "{refusing} of {length}"
                    );
                }
            });
            assert_eq!(world.check(), Ok(()));
        }
    }
}

#[test]
fn a_range_costs_as_many_barriers_as_a_page() {
    let few = WHOLE_SPACE_FROM - 1;
    let (mut world, space, first) = with_tables(few as u32 + 1);
    let space = &space;
    let start = at(0x20_0000 - 7 * 4096);
    world.with(|pages, hw, epochs| {
        let source = Source::Run(page(first), Right::Owner(OWNERS[0]));
        let mut cost = |expected, call: &mut dyn FnMut(&mut crate::model::Machine)| {
            let before = (hw.barriers, hw.invalidations);
            call(hw);
            let cost = (hw.barriers - before.0, hw.invalidations - before.1);
            assert_eq!(cost, expected);
        };
        for (count, invalidations) in [(few, few), (few + 1, 1), (1, 1)] {
            cost((1, 0), &mut |hw| {
                let credit = credit(0, 0);
                let done = pages.insert_pte(hw, epochs, credit, space, start, source, count, WRITE);
                assert_eq!(done, complete(count));
            });
            cost((2, invalidations), &mut |hw| {
                let done = pages.protect_pte(hw, space, start, count, READ);
                assert_eq!(done, complete(count));
            });
            cost((2, invalidations), &mut |hw| {
                let done = pages.remove_pte(hw, space, start, count);
                assert_eq!(done, complete(count));
            });
            // A refusal costs none.
            cost((0, 0), &mut |hw| {
                let done = pages.remove_pte(hw, space, start, count);
                assert_eq!(done, stopped(0, Error::Vacant));
            });
        }
    });
}

#[test]
fn a_range_stops_where_programs_may_map_no_more() {
    let (mut world, _, first) = with_tables(8);
    let last = at(0x7f_7fff_f000);
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| page(first + i));
    let mut call = |op| world.apply(0, 0, op);
    for op in [
        Op::InsertTable(last, TableLevel::Two, a, b),
        Op::InsertTable(last, TableLevel::Three, c, d),
    ] {
        assert_eq!(call(op).error(), None);
    }
    for op in [
        Op::Insert(last, page(first + 4), By::Owner, 3, WRITE),
        Op::Protect(last, 3, READ),
        Op::Remove(last, 3),
        Op::InsertNew(last, PageSelect::Any, 3, 0, WRITE),
    ] {
        let reply = call(op);
        let expected = match op {
            Op::InsertNew(..) => Error::OverAllowance as u64,
            _ => 1 << 16 | Error::BadAddress as u64,
        };
        assert_eq!(reply.status, expected, "{op:?}");
    }
    // The kernel's entries are where they were put, beyond all this.
    let root = page(ROOTS[0]);
    assert_eq!(world.hw.entry(root, Index::LAST), EXPOSED);
    assert_eq!(world.hw.entry(root, Index::OWN), pte::table(root));
}

#[test]
fn page_numbers_end_and_do_not_begin_again() {
    let (mut world, _, first) = with_tables(2);
    for start in [u32::MAX, u32::MAX - 1, (1 << 23) - 1, first + 2] {
        let start = page(start);
        for op in [
            Op::Alloc(PageSelect::Exact(start), 16, 16),
            Op::Free(By::Owner, start, 64),
            Op::Free(cap(PageRights::all()), start, 64),
            Op::Retire(By::Owner, start, 64),
            Op::Break(By::Owner, start, 64),
            Op::Give(start, 64, 1, 64),
            Op::Limit(start, 64, 1),
            Op::Mintable(start, 64),
            Op::Insert(at(0x1_0000), start, By::Owner, 128, WRITE),
            Op::MakeUArea(at(0x1_0000), start),
        ] {
            let reply = world.apply(0, 0, op);
            assert_eq!(reply.status, Error::OutOfRange as u64, "{op:?}");
        }
    }
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn every_mapping_of_a_frame_is_found_from_it() {
    let (mut world, _, first) = with_tables(2);
    let places = [0x1_0000, 0x1f_f000, 0x20_0000, 0x3f_f000];
    for place in places {
        let op = Op::Insert(at(place), page(first), By::Owner, 1, READ);
        assert_eq!(world.apply(0, 0, op).error(), None);
    }
    let found = |world: &mut World| -> Vec<u64> {
        world.with(|pages, hw, _| {
            let mappings = pages.mappings(hw, page(first));
            mappings
                .inspect(|m| assert_eq!((m.asid, m.superpage), (1, false)))
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
        assert_eq!(world.apply(0, 0, Op::Remove(at(gone), 1)).error(), None);
        assert_eq!(found(&mut world), rest);
        assert_eq!(world.check(), Ok(()));
    }
}

#[test]
fn a_uarea_has_the_kernels_mapping_and_no_other() {
    let (mut world, _, first) = with_tables(2);
    let mut call = |op| world.apply(0, 0, op).error();
    let uarea = page(first);
    assert_eq!(call(Op::Write(uarea, Index::truncate(3), 7)), None);
    assert_eq!(call(Op::MakeUArea(at(0x1_0000), uarea)), None);
    for (op, error) in [
        (Op::MakeUArea(at(0x1_1000), uarea), Error::WrongType),
        (
            Op::Insert(at(0x1_1000), uarea, By::Owner, 1, READ),
            Error::WrongType,
        ),
        (Op::Remove(at(0x1_0000), 1), Error::WrongType),
        (Op::Remove(at(0x1_0000), 2), Error::WrongType),
        (Op::Protect(at(0x1_0000), 1, READ), Error::WrongType),
        (
            Op::Note(at(0x1_0000), Note::new(1).unwrap()),
            Error::Occupied,
        ),
        (Op::Free(By::Owner, uarea, 1), Error::WrongType),
        (Op::Break(By::Owner, uarea, 1), Error::WrongType),
        (Op::Retire(By::Owner, uarea, 1), Error::WrongType),
        (Op::Give(uarea, 1, 1, 1), Error::WrongType),
        (
            Op::RemoveTable(at(0x1_0000), TableLevel::Three),
            Error::NotEmpty,
        ),
    ] {
        assert_eq!(call(op), Some(error), "{op:?}");
    }
    assert_eq!(call(Op::RemoveUArea(uarea)), None);
    assert_eq!(call(Op::RemoveUArea(uarea)), Some(Error::WrongType));
    assert_eq!(call(Op::Free(By::Owner, uarea, 1)), None);
    assert_eq!(world.hw.contents(uarea).get(&3), Some(&7));
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn contents_stay_for_their_last_user_alone() {
    let mut world = World::new(1);
    let only = page(FIRST_FREE);
    let mut call = |who, op| assert_eq!(world.apply(who, who, op).error(), None);
    let alloc = Op::Alloc(PageSelect::Any, 1, 1);
    call(0, alloc);
    call(0, Op::Write(only, Index::truncate(9), 0x5ec2e7));
    call(0, Op::Free(By::Owner, only, 1));
    call(0, alloc);
    call(0, Op::Free(By::Owner, only, 1));
    assert_eq!(world.hw.contents(only).get(&9), Some(&0x5ec2e7));
    assert_eq!(world.records[only.index()].kind, FrameType::Free);
    world.apply(1, 1, alloc);
    assert!(world.hw.contents(only).is_empty());
}

#[test]
fn notes_go_with_a_mapping_and_stay_in_a_page_that_was_a_table() {
    let (mut world, _, first) = with_tables(1);
    let table = page(FIRST_FREE + 2);
    let note = |bits| Note::new(bits).unwrap();
    let mut call = |op| assert_eq!(world.apply(0, 0, op).error(), None, "{op:?}");
    // One that looks like an entry that is in use, but for bit 0.
    call(Op::Note(at(0x1_0000), note(u64::MAX >> 1)));
    call(Op::Note(at(0x1_1000), note(5)));
    call(Op::Insert(at(0x1_0000), page(first), By::Owner, 1, READ));
    call(Op::Remove(at(0x1_0000), 1));
    assert_eq!(world.check(), Ok(()));
    let entry = |world: &World, index| world.hw.entry(table, Index::truncate(index));
    assert_eq!((entry(&world, 16), entry(&world, 17)), (0, 10));
    let op = Op::RemoveTable(at(0x1_0000), TableLevel::Three);
    assert_eq!(world.apply(0, 0, op).error(), None);
    assert_eq!(entry(&world, 17), 10);
    assert!(world.hw.contents(page(FIRST_FREE + 3)).is_empty());
}
