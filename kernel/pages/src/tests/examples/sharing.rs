//! Capabilities, epochs and limits.

use exopi_abi::capability::{Epoch, PageRights};
use exopi_abi::page::{DEFAULT_LIMIT, FrameType, Stamp};
use exopi_abi::{Error, PageSelect, TableLevel};

use super::{cap, with_tables};
use crate::Step;
use crate::tests::{By, Cap, FIRST_FREE, OWNERS, Op, READ, WRITE, World, at, page};

/// The capability that [`cap`] means now.
fn minted(world: &World, first: u32, rights: PageRights) -> By {
    match world.resolve(Op::Free(cap(rights), page(first), 1)) {
        Op::Free(by, ..) => by,
        _ => unreachable!("it resolves to itself"),
    }
}

/// Owner 1 gets tables of its own, by capability from owner 0's pages: gives them and inserts.
fn with_two_spaces() -> (World, u32) {
    let (mut world, _, first) = with_tables(8);
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| page(first + i));
    assert_eq!(world.apply(0, 0, Op::Give(a, 4, 1, 4)).error(), None);
    for op in [
        Op::InsertTable(at(0x1_0000), TableLevel::Two, a, b),
        Op::InsertTable(at(0x1_0000), TableLevel::Three, c, d),
    ] {
        assert_eq!(world.apply(1, 1, op).error(), None);
    }
    (world, first + 4)
}

#[test]
fn a_capability_is_good_until_the_page_is_stamped_anew() {
    let (mut world, first) = with_two_spaces();
    let shared = page(first);
    let by = minted(&world, first, PageRights::READ | PageRights::WRITE);
    let map = |place, access| Op::Insert(at(place), shared, by, 1, access);
    let mut call = |who, op| world.apply(who, who, op).error();
    assert_eq!(call(1, map(0x1_0000, WRITE)), None);
    assert_eq!(
        call(1, map(0x1_1000, super::EXECUTE)),
        Some(Error::MissingRight)
    );
    // Neither the right to free nor that to retire was given.
    assert_eq!(call(1, Op::Free(by, shared, 1)), Some(Error::MissingRight));
    assert_eq!(call(1, Op::Break(by, shared, 1)), Some(Error::MissingRight));
    assert_eq!(call(0, Op::Free(By::Owner, shared, 1)), Some(Error::InUse));
    assert_eq!(call(0, Op::Retire(By::Owner, shared, 1)), None);
    assert_eq!(call(1, map(0x1_1000, READ)), Some(Error::Stale));
    // The mapping stays, and moves within what it was bound with, until it is broken.
    assert_eq!(call(1, Op::Protect(at(0x1_0000), 1, READ)), None);
    assert_eq!(call(1, Op::Protect(at(0x1_0000), 1, WRITE)), None);
    assert_eq!(call(0, Op::Break(By::Owner, shared, 1)), None);
    assert_eq!(
        call(1, Op::Protect(at(0x1_0000), 1, READ)),
        Some(Error::Vacant)
    );
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn every_change_of_hands_or_type_ends_a_capability() {
    let (mut world, first) = with_two_spaces();
    let [one, two] = [page(first), page(first + 1)];
    let table = Op::InsertTable(at(0x20_0000), TableLevel::Three, one, two);
    let vacate = Op::RemoveTable(at(0x20_0000), TableLevel::Three);
    assert_eq!(world.apply(0, 0, vacate).error(), None);
    let ways: [&[(usize, Op)]; 4] = [
        &[
            (0, Op::Free(By::Owner, one, 1)),
            (0, Op::Alloc(PageSelect::Exact(one), 1, 1)),
        ],
        &[(0, Op::Give(one, 1, 1, 1)), (1, Op::Give(one, 1, 0, 1))],
        &[(0, table), (0, vacate)],
        &[
            (0, Op::MakeUArea(at(0x1_0000), one)),
            (0, Op::RemoveUArea(one)),
        ],
    ];
    for way in ways {
        let by = minted(&world, first, PageRights::all());
        for (who, op) in way {
            assert_eq!(world.apply(*who, *who, *op).error(), None, "{op:?}");
            let map = Op::Insert(at(0x1_0000), one, by, 1, READ);
            assert_eq!(world.apply(1, 1, map).error(), Some(Error::Stale), "{op:?}");
        }
    }
}

#[test]
fn others_refer_to_a_page_as_often_as_its_owner_lets_them() {
    let (mut world, first) = with_two_spaces();
    let by = minted(&world, first, PageRights::READ);
    let map = |i: u64| Op::Insert(at(0x1_0000 + i * 4096), page(first), by, 1, READ);
    let limit = u64::from(DEFAULT_LIMIT);
    for i in 0..limit {
        assert_eq!(world.apply(1, 1, map(i)).error(), None);
    }
    let mut call = |who, op| world.apply(who, who, op).error();
    assert_eq!(call(1, map(limit)), Some(Error::LimitReached));
    // The owner's own do not count.
    let own = Op::Insert(at(0x1_0000), page(first), By::Owner, 1, READ);
    assert_eq!(call(0, own), None);
    // Those that there are stay, whatever the limit becomes.
    assert_eq!(call(0, Op::Limit(page(first), 1, 1)), None);
    assert_eq!(call(1, Op::Remove(at(0x1_0000), 1)), None);
    assert_eq!(call(1, map(0)), Some(Error::LimitReached));
    assert_eq!(call(0, Op::Limit(page(first), 1, u16::MAX)), None);
    assert_eq!(call(1, map(0)), None);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn a_capability_with_a_time_maps_nothing() {
    let (mut world, first) = with_two_spaces();
    let timed = |by| match by {
        By::Cap(cap) => By::Cap(Cap { timed: true, ..cap }),
        By::Owner => by,
    };
    let by = timed(cap(PageRights::all()));
    let op = Op::Insert(at(0x1_0000), page(first), by, 1, READ);
    assert_eq!(world.apply(1, 1, op).error(), Some(Error::TimeLimited));
    // It does what ends with the call.
    let op = Op::Retire(by, page(first), 1);
    assert_eq!(world.apply(1, 1, op).error(), None);
}

#[test]
fn at_the_end_of_epochs_nothing_is_begun_and_all_can_end() {
    let (mut world, space, first) = with_tables(4);
    let uarea = Op::MakeUArea(at(0x1_0000), page(first));
    assert_eq!(world.apply(0, 0, uarea).error(), None);
    let free = Op::Free(By::Owner, page(first + 1), 1);
    assert_eq!(world.apply(0, 0, free).error(), None);
    world.epoch = Epoch::LAST;
    let before = world.clone();
    for op in [
        Op::Alloc(PageSelect::Any, 1, 1),
        Op::Retire(By::Owner, page(first + 2), 1),
        Op::Give(page(first + 2), 1, 1, 1),
        Op::InsertNew(at(0x1_1000), PageSelect::Any, 1, 1, READ),
        Op::RemoveTable(at(0x20_0000), TableLevel::Three),
    ] {
        let error = world.apply(0, 0, op).error();
        assert_eq!(error, Some(Error::Exhausted), "{op:?}");
        assert!(world == before, "{op:?}");
    }
    assert_eq!(
        world.apply(0, 0, Op::RemoveUArea(page(first))).error(),
        None
    );
    while world.with(|pages, hw, epochs| pages.clear_space(hw, epochs, &space, 1)) == Ok(Step::More)
    {
    }
    world.hw.detach(space.asid());
    world.spaces[0] = None;
    assert_eq!(world.check(), Ok(()));
    for number in [space.root().get(), FIRST_FREE, first] {
        let record = world.records[number as usize];
        assert_eq!((record.kind, record.stamp), (FrameType::Plain, Stamp::NONE));
        assert_eq!(record.owner, OWNERS[0]);
    }
    // It is its owner's like any other page, but no capability for it can be made.
    let minted = world.apply(0, 0, Op::Mintable(page(first), 1));
    assert_eq!(minted.error(), Some(Error::Stale));
    let free = Op::Free(By::Owner, page(first), 1);
    assert_eq!(world.apply(0, 0, free).error(), None);
}
