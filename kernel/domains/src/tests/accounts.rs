//! Examples: accounts, what is carved out of them, who draws on them.

use exopi_abi::Error;
use exopi_abi::capability::{AccountRights, Epoch, Kind};
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::page::Owner;
use exopi_abi::{PageSelect, Reply};

use super::{Call, Cap, NEVER, Named, Storage, World, done, page};

/// Without slices and what is kept elsewhere.
fn used(world: &World<'_>, account: u16) -> [u32; 4] {
    let [used @ .., _, _, _] = world.domains.account(account).expect("it is there").used;
    used
}

fn error(reply: Reply) -> Option<Error> {
    reply.error()
}

#[test]
fn the_first_account_has_everything() {
    let mut storage = Storage::new(32, 5, 4, 6);
    let world = World::new(&mut storage, 2);
    let first = world.domains.account(0).expect("it is there");
    // 128 slices for each of two cores.
    assert_eq!(first.allowance, [31, 6, 4, 4, 256, 0, 0]);
    // A root, two tables with links, a u-area.
    assert_eq!(first.used, [6, 1, 1, 0, 1, 0, 0]);
    assert_eq!(world.on[0].map(|by| by.owner), Some(world.owner(0)));
}

#[test]
fn a_child_is_carved_out_and_flows_back() {
    let mut storage = Storage::new(32, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let before = world.counters();
    let child = world.account(0, [10, 2, 1, 1]);
    assert_eq!(used(&world, 0), [16, 3, 2, 2]);
    assert_eq!(used(&world, child.index), [0; 4]);
    assert_eq!(world.check(), Ok(()));
    let reply = world.call(0, Call::AccountDestroy(Named::Name(child)));
    assert_eq!(done(reply), Ok(true));
    assert_eq!(world.counters(), before);
    assert_eq!(world.check(), Ok(()));
    // Its name is nobody's now.
    let reply = world.call(0, Call::AccountDestroy(Named::Name(child)));
    assert_eq!(error(reply), Some(Error::NotYours));
    let cap = Cap::of(Kind::Account, child);
    let reply = world.call(0, Call::AccountDestroy(Named::Cap(cap)));
    assert_eq!(error(reply), Some(Error::Stale));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn nobody_carves_more_than_there_is() {
    let mut storage = Storage::new(32, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    // 25 pages are left, 5 environments, 3 spaces, 4 accounts.
    for (resource, most) in Resource::ALL.into_iter().zip([25, 5, 3, 3]) {
        for (wanted, outcome) in [
            (most + 1, Some(Error::OverAllowance)),
            (u32::MAX, Some(Error::OverAllowance)),
            (most, None),
        ] {
            let before = world.counters();
            let mut allowance = [0; 4];
            allowance[resource as usize] = wanted;
            let reply = world.call(0, Call::AccountCreate(allowance));
            assert_eq!(error(reply), outcome, "{resource:?} {wanted}");
            if outcome.is_none() {
                let child = Named::Name(ObjectName::from_word(reply.value));
                assert_eq!(done(world.call(0, Call::AccountDestroy(child))), Ok(true));
            }
            assert_eq!(world.counters(), before);
        }
    }
}

#[test]
fn what_is_drawn_is_charged_to_the_bound_account() {
    let mut storage = Storage::new(32, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let child = world.account(0, [3, 0, 0, 0]);
    let at_home = world.alloc(0);
    assert_eq!(
        world.call(0, Call::AccountBind(Named::Name(child))).error(),
        None
    );
    let drawn = [world.alloc(0), world.alloc(0), world.alloc(0)];
    assert_eq!(used(&world, child.index), [3, 0, 0, 0]);
    let refused = Call::Alloc(PageSelect::Any, 1);
    assert_eq!(world.call(0, refused).error(), Some(Error::OverAllowance));
    // What belongs to home is not named as owned now.
    let free = |page| Call::Free(super::Run::Owned(page), 1);
    assert_eq!(world.call(0, free(at_home)).error(), Some(Error::NotYours));
    assert_eq!(world.call(0, free(drawn[0])).error(), None);
    assert_eq!(used(&world, child.index), [2, 0, 0, 0]);
    assert_eq!(world.call(0, Call::AccountBind(Named::Own)).error(), None);
    assert_eq!(world.call(0, free(drawn[1])).error(), Some(Error::NotYours));
    assert_eq!(world.call(0, free(at_home)).error(), None);
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn an_account_is_bound_by_right_alone() {
    let mut storage = Storage::new(64, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let (account, environment) = world.tenant([12, 2, 1, 2], 1);
    let bind = |named| Call::AccountBind(named);
    let first = ObjectName {
        index: 0,
        epoch: world.owner(0).epoch(),
    };
    let cap = Cap::of(Kind::Account, first);
    // It is nobody's child of the tenant: neither its own account, nor its parent, nor what never was.
    for name in [account, first, NEVER] {
        assert_eq!(
            world.call(1, bind(Named::Name(name))).error(),
            Some(Error::NotYours)
        );
    }
    for (cap, outcome) in [
        (
            Cap::of(Kind::Environment, environment),
            Some(Error::WrongKind),
        ),
        (cap.with(AccountRights::DESTROY), Some(Error::MissingRight)),
        (
            Cap {
                epoch: Epoch::LAST,
                ..cap
            },
            Some(Error::Stale),
        ),
        (
            Cap {
                index: u32::MAX,
                ..cap
            },
            Some(Error::Stale),
        ),
        (Cap { timed: true, ..cap }, Some(Error::TimeLimited)),
        (cap.with(AccountRights::DRAW), None),
    ] {
        assert_eq!(
            world.call(1, bind(Named::Cap(cap))).error(),
            outcome,
            "{cap:?}"
        );
    }
    assert_eq!(world.on[1].map(|by| by.owner), Some(world.owner(0)));
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn a_bound_account_that_is_gone_gives_stale_and_home_can_be_bound_again() {
    let mut storage = Storage::new(64, 6, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let (_, environment) = world.tenant([14, 2, 2, 1], 1);
    let other = world.account(0, [9, 2, 1, 2]);
    let draw = Cap::of(Kind::Account, other).with(AccountRights::DRAW);
    assert_eq!(
        world.call(1, Call::AccountBind(Named::Cap(draw))).error(),
        None
    );
    let mine = world.alloc(1);
    let destroy = Call::AccountDestroy(Named::Name(other));
    while done(world.call(0, destroy)) != Ok(true) {}
    // The next account takes the place, and is another one.
    let successor = world.account(0, [9, 2, 1, 2]);
    assert_eq!(successor.index, other.index);
    assert_eq!(
        world
            .call(0, Call::AccountBind(Named::Name(successor)))
            .error(),
        None
    );
    let child = world.account(0, [0; 4]);
    assert_eq!(world.call(0, Call::AccountBind(Named::Own)).error(), None);
    for (call, outcome) in [
        (Call::AccountDestroy(Named::Name(child)), Error::NotYours),
        (Call::Alloc(PageSelect::Any, 1), Error::Stale),
        (Call::Accept(3), Error::Stale),
        (Call::AccountCreate([0; 4]), Error::Stale),
        (Call::SpaceCreate(mine), Error::Stale),
        (
            Call::EnvCreate(Named::Own, mine, super::at(0x21_0000)),
            Error::Stale,
        ),
        (
            Call::InsertNew(Named::Own, super::at(0x21_0000), 1, super::READ),
            Error::Stale,
        ),
        (Call::Free(super::Run::Owned(mine), 1), Error::NotYours),
        (Call::Give(mine, 1, world.owner(0)), Error::NotYours),
        (
            Call::Mint(Kind::Page, mine.get().into(), 1, 1),
            Error::NotYours,
        ),
        (Call::Run(Named::Name(environment)), Error::NotYours),
        (Call::SliceAlloc(1, u64::MAX, Named::Own), Error::Stale),
        (
            Call::AccountDestroy(Named::Name(successor)),
            Error::NotYours,
        ),
    ] {
        assert_eq!(world.call(1, call).error(), Some(outcome), "{call:?}");
        assert_eq!(world.check(), Ok(()));
    }
    assert_eq!(world.call(1, Call::AccountBind(Named::Own)).error(), None);
    let _ = world.alloc(1);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn pages_are_given_to_who_accepts_and_has_room() {
    let mut storage = Storage::new(64, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let (account, _) = world.tenant([9, 1, 1, 0], 1);
    // Of 9 pages the tenant has used 6.
    let to = world.owner(account.index);
    let first = world.call(0, Call::Alloc(PageSelect::Exact(page(30)), 5));
    assert_eq!(first.error(), None);
    let before = used(&world, 0)[0];
    let give = |count| Call::Give(page(30), count, to);
    assert_eq!(world.call(0, give(1)).error(), Some(Error::OverAllowance));
    assert_eq!(world.call(1, Call::Accept(100)).error(), None);
    let reply = world.call(0, give(5));
    assert_eq!(
        (reply.error(), reply.status >> 16),
        (Some(Error::OverAllowance), 3)
    );
    assert_eq!(used(&world, 0)[0], before - 3);
    assert_eq!(used(&world, account.index)[0], 9);
    assert_eq!(
        world.domains.account(account.index).map(|r| r.accepts),
        Some(97)
    );
    assert_eq!(
        world
            .call(0, Call::Free(super::Run::Owned(page(30)), 1))
            .error(),
        Some(Error::NotYours)
    );
    let gone = Owner::new(account.index, Epoch::LAST);
    assert_eq!(
        world.call(0, Call::Give(page(33), 1, gone)).error(),
        Some(Error::Stale)
    );
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn the_first_account_cannot_be_destroyed() {
    let mut storage = Storage::new(32, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let first = ObjectName {
        index: 0,
        epoch: world.owner(0).epoch(),
    };
    for (named, outcome) in [
        (Named::Own, Error::MissingRight),
        (Named::Name(first), Error::NotYours),
        (
            Named::Cap(Cap::of(Kind::Account, first)),
            Error::MissingRight,
        ),
    ] {
        assert_eq!(
            world.call(0, Call::AccountDestroy(named)).error(),
            Some(outcome)
        );
        assert_eq!(world.check(), Ok(()));
    }
}
