//! Superpages, in a world with two blocks of 512 frames.

use exopi_abi::page::{SUPERPAGE_BOUND, SUPERPAGE_PAGES};
use exopi_abi::registers::Outcome;
use exopi_abi::{Breaking, Error, PageSelect, TableLevel};

use super::EXECUTE;
use crate::tests::{By, FIRST_FREE, Op, READ, WRITE, World, at, page};

const FREE: u32 = 1536 - FIRST_FREE;
const PLACES: [u64; 4] = [0x40_0000, 0x60_0000, 0x80_0000, 0x7f_7fe0_0000];

/// Owner 0 has two blocks, and level-2 tables where they can be mapped.
fn with_blocks() -> World {
    let mut world = World::new(FREE);
    let mut call = |op| assert_eq!(world.apply(0, 0, op).error(), None, "{op:?}");
    call(Op::Alloc(PageSelect::Exact(page(8)), 8, 8));
    for (i, place) in [PLACES[0], PLACES[3]].into_iter().enumerate() {
        let table = 8 + 2 * i as u32;
        call(Op::InsertTable(
            at(place),
            TableLevel::Two,
            page(table),
            page(table + 1),
        ));
    }
    for first in (512..1536).step_by(16) {
        call(Op::Alloc(PageSelect::Exact(page(first)), 16, 16));
    }
    world
}

fn map(place: u64, first: u32, count: u64) -> Op {
    Op::InsertSuper(at(place), page(first), By::Owner, count, WRITE)
}

#[test]
#[cfg(not(miri))]
fn a_superpage_keeps_all_its_pages_as_they_are() {
    let mut world = with_blocks();
    assert_eq!(world.apply(0, 0, map(PLACES[0], 512, 1)).error(), None);
    assert_eq!(world.check(), Ok(()));
    for number in [512, 513, 1023] {
        let one = page(number);
        for (op, error) in [
            (Op::Free(By::Owner, one, 1), Error::InUse),
            (Op::Give(one, 1, 1, 1), Error::InUse),
            (
                Op::InsertTable(at(0xa0_0000), TableLevel::Three, one, page(13)),
                Error::InUse,
            ),
            (map(PLACES[0], 512, 1), Error::Occupied),
            (
                Op::InsertTable(at(PLACES[0]), TableLevel::Three, page(12), page(13)),
                Error::Occupied,
            ),
            (
                Op::RemoveTable(at(PLACES[0]), TableLevel::Three),
                Error::Vacant,
            ),
            (
                Op::RemoveTable(at(PLACES[0]), TableLevel::Two),
                Error::NotEmpty,
            ),
        ] {
            assert_eq!(world.apply(0, 0, op).error(), Some(error), "{op:?}");
        }
    }
    // The next block's pages are free to go.
    let free = Op::Free(By::Owner, page(1024), 1);
    assert_eq!(world.apply(0, 0, free).error(), None);
    let hole = map(PLACES[1], 1024, 1);
    assert_eq!(world.apply(0, 0, hole).error(), Some(Error::NotYours));
}

#[test]
#[cfg(not(miri))]
fn a_superpage_changes_as_a_whole_or_not_at_all() {
    let mut world = with_blocks();
    let both = world.apply(0, 0, map(PLACES[0], 512, SUPERPAGE_BOUND));
    assert_eq!((both.error(), both.status >> 16), (None, SUPERPAGE_BOUND));
    let all = SUPERPAGE_PAGES * SUPERPAGE_BOUND;
    for (place, count, done) in [
        (PLACES[0] + 0x1000, all, 0),
        (PLACES[0], 511, 0),
        (PLACES[0], all - 1, 512),
    ] {
        let op = Op::Protect(at(place), count, READ);
        let expected = done << 16 | Error::Misaligned as u64;
        assert_eq!(world.apply(0, 0, op).status, expected);
    }
    let more = Op::Protect(at(PLACES[0]), all, EXECUTE);
    assert_eq!(world.apply(0, 0, more).error(), Some(Error::MissingRight));
    let before = (world.hw.barriers, world.hw.invalidations);
    let gone = world.apply(0, 0, Op::Remove(at(PLACES[0]), all + 1));
    assert_eq!(gone.status, all << 16 | Error::NoTable as u64);
    let cost = (world.hw.barriers, world.hw.invalidations);
    assert_eq!((cost.0 - before.0, cost.1 - before.1), (2, 2));
    assert_eq!(world.check(), Ok(()));
    let free = Op::Free(By::Owner, page(512), 64);
    assert_eq!(world.apply(0, 0, free).error(), None);
}

#[test]
#[cfg(not(miri))]
fn a_superpage_is_refused_for_one_of_its_pages() {
    let mut world = with_blocks();
    let mut call = |op| world.apply(0, 0, op).error();
    let code = Op::InsertSuper(at(PLACES[0]), page(512), By::Owner, 1, EXECUTE);
    assert_eq!(call(code), Some(Error::Malformed));
    assert_eq!(
        call(map(PLACES[0] + 0x1000, 512, 1)),
        Some(Error::Misaligned)
    );
    assert_eq!(call(map(PLACES[0], 513, 1)), Some(Error::Misaligned));
    assert_eq!(call(map(PLACES[0], 512, 0)), Some(Error::BadCount));
    assert_eq!(call(map(PLACES[0], 1536, 1)), Some(Error::OutOfRange));
    assert_eq!(call(map(0x4000_0000, 512, 1)), Some(Error::NoTable));
    // Of the second of two nothing can be mapped any more.
    let reply = world.apply(0, 0, map(PLACES[3], 512, 2));
    assert_eq!(reply.status, 1 << 16 | Error::BadAddress as u64);
    let mut call = |op| world.apply(0, 0, op).error();
    let table = Op::InsertTable(at(0xa0_0000), TableLevel::Three, page(1030), page(1031));
    assert_eq!(call(table), None);
    assert_eq!(call(map(PLACES[1], 1024, 1)), Some(Error::WrongType));
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))]
fn breaking_one_page_takes_every_superpage_that_it_is_in() {
    let mut world = with_blocks();
    for place in [PLACES[0], PLACES[1], PLACES[3]] {
        assert_eq!(world.apply(0, 0, map(place, 512, 1)).error(), None);
    }
    let found: std::vec::Vec<u64> = world.with(|pages, hw, _| {
        let mappings = pages.mappings(hw, page(700));
        mappings
            .inspect(|m| assert!(m.superpage))
            .map(|m| m.at.get())
            .collect()
    });
    assert_eq!(found, [PLACES[3], PLACES[1], PLACES[0]]);
    let broken = world.apply(0, 0, Op::Break(By::Owner, page(700), 2));
    let broken = Breaking::from_reply(broken);
    assert_eq!((broken.progress.done, broken.superpages), (2, 3));
    assert_eq!(world.records[512].references, 0);
    assert_eq!(world.check(), Ok(()));
}
