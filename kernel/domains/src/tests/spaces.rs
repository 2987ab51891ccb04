//! Examples: spaces, from their root to their last page.

use exopi_abi::capability::{Kind, SpaceRights};
use exopi_abi::domain::ObjectName;
use exopi_abi::page::FrameType;
use exopi_abi::{Error, PageSelect, TableLevel};

use super::{
    Call, Cap, FIRST_AT, NEVER, Named, READ, Run, Storage, WRITE, World, at, done, page, progress,
};

const PLACE: u64 = FIRST_AT + 0x1_0000;

#[test]
fn a_space_is_made_of_a_page_and_gives_it_back() {
    let mut storage = Storage::new(32, 3, 4, 4);
    let mut world = World::new(&mut storage, 1);
    let root = world.alloc(0);
    let before = world.counters();
    let reply = world.call(0, Call::SpaceCreate(root));
    let space = ObjectName::from_word(reply.value);
    let record = *world.domains.space(space.index).expect("it is there");
    assert_eq!((record.root, record.asid), (root.get(), space.index + 1));
    assert_eq!(record.owner, world.owner(0));
    assert_eq!(
        world.domains.account(0).map(|record| record.used[2]),
        Some(2)
    );
    assert_eq!(world.check(), Ok(()));
    // What is one already cannot be one again.
    assert_eq!(
        world.call(0, Call::SpaceCreate(root)).error(),
        Some(Error::WrongType)
    );
    assert_eq!(
        done(world.call(0, Call::SpaceDestroy(Named::Name(space)))),
        Ok(true)
    );
    assert_eq!(world.counters(), before);
    let record = world.domains.pages.record(root).expect("it is there");
    assert_eq!(record.kind, FrameType::Plain);
    assert_eq!(
        world
            .call(0, Call::SpaceDestroy(Named::Name(space)))
            .error(),
        Some(Error::NotYours)
    );
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn a_refused_space_changes_nothing_not_even_the_counter_of_epochs() {
    let mut storage = Storage::new(32, 3, 2, 4);
    let mut world = World::new(&mut storage, 1);
    let root = world.alloc(0);
    let last = world.domains.epochs.last();
    for (page, outcome) in [
        (page(0), Error::NotYours),
        (page(31), Error::NotYours),
        (page(32), Error::OutOfRange),
    ] {
        assert_eq!(
            world.call(0, Call::SpaceCreate(page)).error(),
            Some(outcome)
        );
    }
    assert_eq!(world.domains.epochs.last(), last);
    assert_eq!(world.call(0, Call::SpaceCreate(root)).error(), None);
    let root = world.alloc(0);
    assert_eq!(
        world.call(0, Call::SpaceCreate(root)).error(),
        Some(Error::OverAllowance)
    );
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn a_space_with_much_in_it_is_destroyed_in_steps() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 1);
    let before = world.counters();
    let space = world.space(0);
    let named = Named::Name(space);
    let own = world.alloc(0);
    for place in 0..200 {
        let at = at(PLACE + place * 4096);
        assert_eq!(
            world
                .call(0, Call::Insert(named, at, Run::Owned(own), 1, READ))
                .error(),
            None
        );
    }
    assert_eq!(world.check(), Ok(()));
    let destroy = Call::SpaceDestroy(named);
    assert_eq!(done(world.call(0, destroy)), Ok(false));
    assert_eq!(world.check(), Ok(()));
    // Nothing is mapped in it, nobody joins it, and the background leaves it to whoever asked.
    let (pages, at) = (Run::Owned(own), at(PLACE));
    for call in [
        Call::Insert(named, at, pages, 1, READ),
        Call::Remove(named, at, 1),
        Call::EnvCreate(named, own, at),
        Call::TableRemove(named, at, TableLevel::Three),
    ] {
        assert_eq!(world.call(0, call).error(), Some(Error::Stale), "{call:?}");
    }
    assert!(!world.sweep());
    while done(world.call(0, destroy)) != Ok(true) {
        assert_eq!(world.check(), Ok(()));
    }
    assert_eq!(
        world
            .domains
            .pages
            .record(own)
            .map(|record| record.references),
        Some(0)
    );
    // All pages are plain again, and the caller's.
    let mine = world.owner(0);
    for number in 0..64 {
        let record = *world
            .domains
            .pages
            .record(page(number))
            .expect("it is there");
        if record.charged_to() == mine && record.kind == FrameType::Plain {
            assert_eq!(
                world
                    .call(0, Call::Free(Run::Owned(page(number)), 1))
                    .error(),
                None
            );
        }
    }
    assert_eq!(world.counters(), before);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn only_an_empty_space_of_the_callers_account_is_destroyed() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let (_, environment) = world.tenant([12, 1, 1, 0], 1);
    let place = world
        .domains
        .environment(environment.index)
        .expect("it is there")
        .space;
    let theirs = world.domains.space(place).expect("it is there").epoch;
    let theirs = ObjectName::from_word(theirs << 16 | u64::from(place));
    let mine = world.space(0);
    let _ = world.environment(0, Named::Name(mine), 0);
    let capability = Cap::of(Kind::Space, mine);
    for (named, outcome) in [
        (Named::Own, Error::NotEmpty),
        (Named::Name(mine), Error::NotEmpty),
        (Named::Name(theirs), Error::NotYours),
        (Named::Name(NEVER), Error::NotYours),
        (Named::Cap(capability), Error::MissingRight),
        (
            Named::Cap(Cap::of(Kind::Environment, mine)),
            Error::WrongKind,
        ),
    ] {
        let reply = world.call(0, Call::SpaceDestroy(named));
        assert_eq!(reply.error(), Some(outcome), "{named:?}");
        assert_eq!(world.check(), Ok(()));
    }
}

#[test]
fn others_map_by_capability_and_spend_their_own() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let (account, _) = world.tenant([14, 1, 1, 0], 1);
    let mine = world.space(0);
    let map = Cap::of(Kind::Space, mine).with(SpaceRights::MAP);
    let used =
        |world: &World<'_>, index| world.domains.account(index).expect("it is there").used[0];
    let before = (used(&world, 0), used(&world, account.index));
    let new = |named| Call::InsertNew(named, at(PLACE), 2, WRITE);
    for (cap, outcome) in [
        (
            Cap::of(Kind::Space, mine).with(SpaceRights::JOIN),
            Some(Error::MissingRight),
        ),
        (Cap::of(Kind::Account, mine), Some(Error::WrongKind)),
        (
            Cap {
                epoch: NEVER.epoch,
                ..map
            },
            Some(Error::Stale),
        ),
        (
            Cap {
                index: 70_000,
                ..map
            },
            Some(Error::Stale),
        ),
        (map, None),
    ] {
        assert_eq!(
            world.call(1, new(Named::Cap(cap))).error(),
            outcome,
            "{cap:?}"
        );
        assert_eq!(world.check(), Ok(()));
    }
    assert_eq!(
        (used(&world, 0), used(&world, account.index)),
        (before.0, before.1 + 2)
    );
    // The space's account supplies its tables itself: who may map may not take its pages for them.
    let (table, links) = (world.alloc(0), world.alloc(0));
    for level in [TableLevel::Two, TableLevel::Three] {
        let insert = Call::TableInsert(Named::Cap(map), at(1 << 30), level, table, links);
        assert_eq!(world.call(1, insert).error(), Some(Error::NotYours));
    }
    // Without the capability, nothing: the names alone are not the tenant's.
    assert_eq!(
        world.call(1, new(Named::Name(mine))).error(),
        Some(Error::NotYours)
    );
    assert_eq!(
        progress(world.call(1, Call::Remove(Named::Cap(map), at(PLACE), 2))).done,
        2
    );
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn new_pages_stop_at_the_allowance() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let (account, _) = world.tenant([9, 1, 1, 0], 1);
    let reply = world.call(1, Call::InsertNew(Named::Own, at(PLACE), 5, WRITE));
    assert_eq!(
        (reply.error(), reply.status >> 16),
        (Some(Error::OverAllowance), 3)
    );
    let reply = world.call(1, Call::Alloc(PageSelect::Any, 1));
    assert_eq!(reply.error(), Some(Error::OverAllowance));
    assert_eq!(
        world
            .domains
            .account(account.index)
            .map(|record| record.used[0]),
        Some(9)
    );
    assert_eq!(world.check(), Ok(()));
}
