//! Breaking in more than one call.

use exopi_abi::page::BREAK_BOUND;
use exopi_abi::registers::Outcome;
use exopi_abi::{Breaking, Error, TableLevel};

use super::with_tables;
use crate::tests::{By, Op, READ, WRITE, World, at, complete, page};

/// Breaks `count` pages from `first` on.
fn break_all(world: &mut World, first: u32, count: u64) -> Breaking {
    Breaking::from_reply(world.apply(0, 0, Op::Break(By::Owner, page(first), count)))
}

#[test]
fn a_page_half_broken_is_leaving() {
    let (mut world, _, first) = with_tables(3);
    let twice = 2 * BREAK_BOUND + 1;
    for i in 0..twice {
        let op = Op::Insert(at(0x1_0000 + i * 4096), page(first), By::Owner, 1, WRITE);
        assert_eq!(world.apply(0, 0, op).error(), None);
    }
    let other = Op::Insert(at(0x20_0000), page(first + 1), By::Owner, 1, READ);
    assert_eq!(world.apply(0, 0, other).error(), None);
    for left in [twice - BREAK_BOUND, 1] {
        let broken = break_all(&mut world, first, 3);
        assert_eq!((broken.progress, broken.superpages), (complete(0), 0));
        let record = world.records[first as usize];
        assert_eq!(
            (record.is_leaving(), u64::from(record.references)),
            (true, left)
        );
        assert_eq!(world.check(), Ok(()));
        for (op, error) in [
            (
                Op::Insert(at(0x21_0000), page(first), By::Owner, 1, READ),
                Error::Leaving,
            ),
            (Op::Free(By::Owner, page(first), 1), Error::InUse),
            (Op::Give(page(first), 1, 1, 1), Error::InUse),
            (Op::MakeUArea(at(0x21_0000), page(first)), Error::InUse),
            (Op::MakeRoot(page(first)), Error::Occupied),
            (
                Op::InsertTable(
                    at(0x40_0000),
                    TableLevel::Three,
                    page(first),
                    page(first + 2),
                ),
                Error::InUse,
            ),
        ] {
            assert_eq!(world.apply(0, 0, op).error(), Some(error), "{op:?}");
        }
        // The libOS may still take mappings away itself, and change them.
        let protect = Op::Protect(at(0x1_0000), 1, READ);
        assert_eq!(world.apply(0, 0, protect).error(), None);
    }
    let broken = break_all(&mut world, first, 3);
    assert_eq!(broken.progress, complete(3));
    for number in first..first + 3 {
        let record = world.records[number as usize];
        assert_eq!((record.marks, record.references), (0, 0));
    }
    assert_eq!(world.check(), Ok(()));
    let free = Op::Free(By::Owner, page(first), 3);
    assert_eq!(world.apply(0, 0, free).error(), None);
}

#[test]
fn a_page_whose_last_mappings_were_removed_meanwhile_is_done_by_one_more_call() {
    let (mut world, _, first) = with_tables(1);
    for i in 0..BREAK_BOUND + 1 {
        let op = Op::Insert(at(0x1_0000 + i * 4096), page(first), By::Owner, 1, WRITE);
        assert_eq!(world.apply(0, 0, op).error(), None);
    }
    assert_eq!(break_all(&mut world, first, 1).progress, complete(0));
    assert_eq!(world.apply(0, 0, Op::Remove(at(0x1_0000), 1)).error(), None);
    let free = Op::Free(By::Owner, page(first), 1);
    assert_eq!(world.apply(0, 0, free).error(), Some(Error::InUse));
    assert_eq!(break_all(&mut world, first, 1).progress, complete(1));
    assert_eq!(world.apply(0, 0, free).error(), None);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn exactly_as_many_as_the_bound_are_done_in_one_call() {
    let (mut world, _, first) = with_tables(BREAK_BOUND as u32 + 1);
    let map = |count| Op::Insert(at(0x1_0000), page(first), By::Owner, count, READ);
    assert_eq!(world.apply(0, 0, map(BREAK_BOUND + 1)).error(), None);
    let broken = break_all(&mut world, first, BREAK_BOUND);
    assert_eq!(broken.progress, complete(BREAK_BOUND));
    let broken = break_all(&mut world, first, BREAK_BOUND + 1);
    assert_eq!(broken.progress, complete(BREAK_BOUND + 1));
    assert_eq!(world.check(), Ok(()));
}
