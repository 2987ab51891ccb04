//! Examples: what calls on pages do to accounts.

use exopi_abi::capability::{Kind, PageRights};
use exopi_abi::{Error, PageSelect};

use super::{Call, Cap, FIRST_AT, Named, READ, Run, Storage, World, at, page, progress};

#[test]
fn pages_are_charged_and_credited() {
    let mut storage = Storage::new(32, 3, 4, 4);
    let mut world = World::new(&mut storage, 1);
    let before = world.counters();
    let reply = world.call(0, Call::Alloc(PageSelect::Exact(page(20)), 4));
    assert_eq!(progress(reply).done, 4);
    assert_eq!(world.counters().0[0].1[0], before.0[0].1[0] + 4);
    assert_eq!(world.counters().1, before.1 - 4);
    // Stops at the first that is not free, and what came before is charged.
    let reply = world.call(0, Call::Alloc(PageSelect::Exact(page(18)), 4));
    assert_eq!(
        (reply.error(), progress(reply).done),
        (Some(Error::Taken), 2)
    );
    let reply = world.call(0, Call::Free(Run::Owned(page(18)), 6));
    assert_eq!(progress(reply).done, 6);
    assert_eq!(world.counters(), before);
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn who_frees_anothers_pages_credits_that_one() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let (account, _) = world.tenant([12, 1, 1, 0], 1);
    let before = world.counters();
    let reply = world.call(1, Call::Alloc(PageSelect::Exact(page(50)), 3));
    assert_eq!(progress(reply).done, 3);
    let minted = world.call(1, Call::Mint(Kind::Page, 50, 3, 0b11_1111));
    assert_eq!(minted.error(), None);
    let record = *world.domains.pages.record(page(50)).expect("it is there");
    let cap = Cap {
        kind: Kind::Page,
        index: 50,
        count: 3,
        epoch: record.stamp.epoch(),
        rights: PageRights::all().bits(),
        timed: false,
    };
    let few = cap.with(PageRights::all() & !PageRights::FREE);
    let reply = world.call(0, Call::Free(Run::Cap(page(50), few), 3));
    assert_eq!(reply.error(), Some(Error::MissingRight));
    let mapped = Call::Insert(
        Named::Own,
        at(FIRST_AT + 0x1000),
        Run::Cap(page(51), cap),
        1,
        READ,
    );
    assert_eq!(world.call(0, mapped).error(), None);
    let reply = world.call(0, Call::Free(Run::Cap(page(50), cap), 3));
    assert_eq!(
        (reply.error(), progress(reply).done),
        (Some(Error::InUse), 1)
    );
    assert_eq!(
        world
            .domains
            .account(account.index)
            .map(|record| record.used[0]),
        Some(8)
    );
    // Who owns a page takes it back from whoever maps it.
    assert_eq!(
        world.call(1, Call::Retire(Run::Owned(page(51)), 2)).error(),
        None
    );
    assert_eq!(
        world.call(1, Call::Break(Run::Owned(page(51)), 2)).error(),
        None
    );
    assert_eq!(world.call(0, mapped).error(), Some(Error::Stale));
    assert_eq!(
        world.call(1, Call::Free(Run::Owned(page(51)), 2)).error(),
        None
    );
    assert_eq!(world.counters(), before);
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn limits_are_the_owners() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let _ = world.tenant([12, 1, 1, 0], 1);
    let own = world.alloc(0);
    assert_eq!(
        world.call(1, Call::Limit(own, 1, 9)).error(),
        Some(Error::NotYours)
    );
    assert_eq!(world.call(0, Call::Limit(own, 1, 9)).error(), None);
    let limit = world
        .domains
        .pages
        .record(own)
        .map(|record| record.stamp.limit());
    assert_eq!(limit, Some(9));
}
