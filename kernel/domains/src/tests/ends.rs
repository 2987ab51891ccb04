//! Examples: ends, at any moment, of whatever there is by then.

use std::vec::Vec;

#[cfg(not(miri))]
use exopi_abi::capability::EnvironmentRights;
use exopi_abi::capability::{AccountRights, Kind, SpaceRights};
#[cfg(not(miri))]
use exopi_abi::domain::EnvironmentState;
use exopi_abi::domain::ObjectName;
use exopi_abi::{Error, PageSelect};

use super::{Call, Cap, FIRST_AT, Named, READ, Run, Storage, WRITE, World, at, done, page};

const PLACE: u64 = FIRST_AT + 0x1_0000;

/// Asks for the end of an account until it has come, and checks after each step. Gives how many it took.
fn destroy(world: &mut World<'_>, account: ObjectName) -> usize {
    for steps in 1..10_000 {
        let reply = world.call(0, Call::AccountDestroy(Named::Name(account)));
        assert_eq!(world.check(), Ok(()));
        match done(reply) {
            Ok(true) => return steps,
            Ok(false) => {}
            Err(error) => {
                assert_eq!(error, Error::Busy);
                assert_ne!(world.told, 0, "busy, and nobody was told");
                (0..world.cores).for_each(|core| world.interrupt(core));
                assert_eq!(world.check(), Ok(()));
            }
        }
    }
    panic!("it has no end");
}

/// What a tenant does, one after the other, by itself on core 1 and with what others have.
fn life() -> Vec<(u8, Call)> {
    let mut life = Vec::new();
    let mine = |index| Named::Index(index);
    let alloc = |first, count| Call::Alloc(PageSelect::Exact(page(first)), count);
    life.push((1, alloc(40, 9)));
    life.push((
        1,
        Call::Insert(Named::Own, at(PLACE), Run::Owned(page(40)), 2, WRITE),
    ));
    life.push((1, Call::InsertNew(Named::Own, at(PLACE + 0x4000), 3, READ)));
    life.push((1, Call::EnvCreate(Named::Own, page(42), at(PLACE + 0x8000))));
    life.push((1, Call::Keep(mine(2), 4)));
    life.push((1, Call::SliceAlloc(2, u64::MAX, mine(2))));
    life.push((1, Call::Run(mine(2))));
    life.push((1, Call::SpaceCreate(page(43))));
    life.push((1, Call::Run(mine(2))));
    life.push((1, Call::SliceMove(mine(256), 2, 5)));
    life.push((1, Call::AccountCreate([9, 2, 1, 1])));
    life.push((1, Call::AccountBind(mine(2))));
    life.push((1, alloc(50, 8)));
    life.push((1, Call::SpaceCreate(page(50))));
    life.push((1, Call::EnvCreate(Named::Own, page(51), at(PLACE + 0x9000))));
    life.push((1, Call::Run(mine(3))));
    life.push((1, Call::AccountCreate([2, 1, 0, 0])));
    life.push((1, Call::InsertNew(Named::Own, at(PLACE + 0xa000), 1, WRITE)));
    life.push((1, Call::SliceAlloc(1, 9, mine(2))));
    life.push((1, Call::Yield(Named::Own)));
    life.push((1, Call::AccountBind(Named::Own)));
    life
}

/// Lives through the first `steps` of a tenant's life; gives its account.
fn live(world: &mut World<'_>, steps: usize) -> ObjectName {
    let (account, _) = world.tenant([34, 4, 3, 2], 1);
    // The first environment maps a page of the tenant's, the tenant one of its.
    for (core, call) in life().into_iter().take(steps) {
        world.dispatch(1);
        world.dispatch(2);
        let _ = world.call(core, call);
        assert_eq!(world.check(), Ok(()), "{call:?}");
    }
    account
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn a_tenants_life_is_what_it_says() {
    let mut storage = Storage::new(96, 8, 8, 8);
    let mut world = World::new(&mut storage, 3);
    let account = live(&mut world, usize::MAX);
    world.dispatch(1);
    world.dispatch(2);
    let used = world
        .domains
        .account(account.index)
        .map(|record| record.used);
    // 3 environments are in one space; the grandchild has one of them and a space.
    assert_eq!(used, Some([34 - 7, 4, 3, 2, 2, 0, 0]));
    assert!(world.on[1].is_some() && world.on[2].is_some());
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn an_account_ends_at_any_moment_and_every_counter_is_as_it_was() {
    let mut storage = Storage::new(96, 8, 8, 8);
    let mut world = World::new(&mut storage, 3);
    let before = world.counters();
    for steps in 0..=life().len() {
        let account = live(&mut world, steps);
        let _ = destroy(&mut world, account);
        world.settle();
        assert_eq!(world.counters(), before, "after {steps} steps");
        assert!(world.on[1].is_none() && world.on[2].is_none());
        assert_eq!(world.check(), Ok(()));
    }
}

#[test]
fn what_was_asked_for_once_the_background_ends() {
    let mut storage = Storage::new(96, 8, 8, 8);
    let mut world = World::new(&mut storage, 3);
    let before = world.counters();
    for steps in 0..=life().len() {
        let account = live(&mut world, steps);
        let reply = world.call(0, Call::AccountDestroy(Named::Name(account)));
        let runs = world.told != 0;
        assert_eq!(reply.error(), runs.then_some(Error::Busy));
        assert_eq!(world.check(), Ok(()));
        world.settle();
        assert_eq!(world.counters(), before, "after {steps} steps");
        assert_eq!(world.check(), Ok(()));
    }
}

#[test]
fn what_others_have_of_an_account_ends_with_it() {
    let mut storage = Storage::new(96, 8, 8, 8);
    let mut world = World::new(&mut storage, 3);
    let (host, _) = world.tenant([30, 3, 2, 0], 1);
    let before = world.counters();
    let (guest, _) = world.tenant([30, 4, 2, 0], 2);
    // The guest puts an environment into a space of the host's, and maps a page of it.
    let space = world.space(1);
    let join = Cap::of(Kind::Space, space).with(SpaceRights::JOIN | SpaceRights::MAP);
    let visitor = world.environment(2, Named::Cap(join), 1);
    assert_eq!(
        world
            .call(2, Call::InsertNew(Named::Cap(join), at(PLACE), 2, WRITE))
            .error(),
        None
    );
    let shared = world.alloc(1);
    let minted = world.call(1, Call::Mint(Kind::Page, shared.get().into(), 1, 3));
    let cap = Cap {
        kind: Kind::Page,
        index: shared.get(),
        count: 1,
        epoch: exopi_abi::capability::Epoch::from_low_bits(minted.value),
        rights: 3,
        timed: false,
    };
    let map = Call::Insert(Named::Own, at(PLACE), Run::Cap(shared, cap), 1, WRITE);
    assert_eq!(world.call(2, map).error(), None);
    assert_eq!(world.run(2, Named::Name(visitor), 0).error(), None);
    assert_eq!(world.check(), Ok(()));
    let used = |world: &World<'_>| world.domains.account(guest.index).expect("it lives").used;
    let guests = used(&world);
    let _ = destroy(&mut world, host);
    // Its visitor is gone, and the u-area's page is the guest's again, as are the mapped ones.
    assert!(!world.domains.lives(visitor));
    assert_eq!(
        used(&world),
        [
            guests[0],
            guests[1] - 1,
            guests[2],
            guests[3],
            guests[4] - 1,
            0,
            0
        ]
    );
    assert_eq!(world.domains.pages.mappings(&world.hw, shared).count(), 0);
    assert_eq!(world.call(2, map).error(), Some(Error::Stale));
    let _ = destroy(&mut world, guest);
    world.settle();
    let (_, free) = world.counters();
    assert_eq!(free, before.1 + 6, "the host's pages are free, too");
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn a_caller_may_end_what_it_is_charged_to() {
    let mut storage = Storage::new(96, 8, 8, 8);
    let mut world = World::new(&mut storage, 2);
    let before = world.counters();
    let (account, environment) = world.tenant([30, 3, 2, 0], 1);
    let cap = Cap::of(Kind::Account, account);
    let few = cap.with(AccountRights::DRAW);
    let refused = world.call(1, Call::AccountDestroy(Named::Cap(few)));
    assert_eq!(refused.error(), Some(Error::MissingRight));
    let reply = world.call(1, Call::AccountDestroy(Named::Cap(cap)));
    assert_eq!(reply.error(), Some(Error::Busy));
    assert!(world.on[1].is_none() && !world.domains.lives(environment));
    assert_eq!(world.check(), Ok(()));
    world.settle();
    assert_eq!(world.counters(), before);
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn an_environment_dies_in_every_state_of_life() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let before = world.counters();
    let destroy = EnvironmentRights::DESTROY;
    for round in 0..if cfg!(miri) { 12 } else { 1000 } {
        // With every second one goes its space.
        let name = match round % 2 {
            0 => world.alone(0),
            _ => world.environment(0, Named::Own, 1),
        };
        let named = match round % 3 {
            0 => Named::Name(name),
            _ => Named::Cap(Cap::of(Kind::Environment, name).with(destroy)),
        };
        assert_eq!(
            world.call(0, Call::Keep(Named::Name(name), 7)).error(),
            None
        );
        let state = round / 2 % 6;
        if state > 0 {
            assert_eq!(world.run(0, Named::Name(name), 1).error(), None);
        }
        if state > 1 {
            world.dispatch(1);
        }
        match state {
            3 => assert!(world.suspend(1)),
            4 => assert_eq!(
                world.call(0, Call::Stop(Named::Name(name))).error(),
                Some(Error::Busy)
            ),
            _ => {}
        }
        if state == 5 {
            // By itself.
            let _ = world.call(1, Call::Destroy(Named::Own));
        } else {
            let reply = world.call(0, Call::Destroy(named));
            if state == 2 || state == 4 {
                assert_eq!(reply.error(), Some(Error::Busy));
                let again = world.call(0, Call::Destroy(named));
                assert_eq!(again.error(), Some(Error::Busy));
                assert_eq!(
                    world.domains.life(name.index).state(),
                    EnvironmentState::Dying
                );
                world.interrupt(1);
            } else {
                assert_eq!(reply.error(), None);
            }
        }
        let again = world.call(0, Call::Destroy(named));
        assert!(matches!(
            again.error(),
            Some(Error::NotYours | Error::Stale)
        ));
        assert_eq!(world.domains.take_notices(0), 1 << 7);
        world.settle();
        // Its pages are plain again, and the account's.
        let mine = world.owner(0);
        for number in 0..world.frames {
            let record = *world
                .domains
                .pages
                .record(page(number))
                .expect("it is there");
            if record.charged_to() == mine {
                let _ = world.call(0, Call::Free(Run::Owned(page(number)), 1));
            }
        }
        assert_eq!(world.counters(), before, "round {round}");
        if round < 24 || round % 97 == 0 {
            assert_eq!(world.check(), Ok(()));
        }
        world.dispatch(1);
    }
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn a_line_of_accounts_ends_from_its_far_end() {
    // More than a call goes along.
    let length = 400;
    let mut storage = Storage::new(32, length + 2, 2, 2);
    let mut world = World::new(&mut storage, 1);
    let before = world.counters();
    let mut line = Vec::new();
    for depth in 0..length {
        let left = (length - depth - 1) as u32;
        let account = world.account(0, [0, 0, 0, left]);
        line.push(account);
        assert_eq!(
            world
                .call(0, Call::AccountBind(Named::Name(account)))
                .error(),
            None
        );
    }
    assert_eq!(world.call(0, Call::AccountBind(Named::Own)).error(), None);
    assert_eq!(world.check(), Ok(()));
    // Somebody further down asks, too, and in the middle.
    for place in [length / 2, length / 4] {
        let cap = Named::Cap(Cap::of(Kind::Account, line[place]));
        let _ = world.call(0, Call::AccountDestroy(cap));
        assert_eq!(world.check(), Ok(()));
    }
    let _ = destroy(&mut world, line[0]);
    assert_eq!(world.counters(), before);
    assert!(!world.sweep());
}

/// Beside each other, and each below the one before: none has anything, so that only their number counts.
#[test]
#[cfg(not(miri))] // It would take minutes there.
fn many_accounts_end_in_steps_of_a_few() {
    const MANY: u32 = 150;
    for deep in [false, true] {
        let mut storage = Storage::new(32, MANY as usize + 2, 1, 1);
        let mut world = World::new(&mut storage, 1);
        let before = world.counters();
        let first = world.account(0, [0, 0, 0, MANY - 1]);
        let bind = |world: &mut World<'_>, to| {
            assert_eq!(world.call(0, Call::AccountBind(to)).error(), None);
        };
        bind(&mut world, Named::Name(first));
        for left in (0..MANY - 1).rev() {
            let account = world.account(0, [0, 0, 0, if deep { left } else { 0 }]);
            if deep {
                bind(&mut world, Named::Name(account));
            }
        }
        bind(&mut world, Named::Own);
        let there = |world: &World<'_>| {
            let places = 0..=MANY as u16;
            places
                .filter(|n| world.domains.account(*n).is_some())
                .count()
        };
        let mut left = there(&world);
        let destroy = Call::AccountDestroy(Named::Name(first));
        while !done(world.call(0, destroy)).expect("nobody has to leave") {
            let now = there(&world);
            assert!(left - now <= 32, "{left} to {now}, deep: {deep}");
            left = now;
            assert_eq!(world.check(), Ok(()));
        }
        assert!(left <= 32);
        assert_eq!(world.counters(), before);
    }
}

/// A call that has to go too far does what it can elsewhere, and nothing beyond that.
#[test]
#[cfg(not(miri))] // It would take minutes there.
fn a_long_line_ends_and_others_live() {
    const LONG: u32 = 120;
    let mut storage = Storage::new(64, LONG as usize + 60, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let (bystander, _) = world.tenant([20, 1, 1, 0], 1);
    let before = world.counters();
    let bind = |world: &mut World<'_>, to| {
        assert_eq!(world.call(0, Call::AccountBind(to)).error(), None);
    };
    let first = world.account(0, [1, 0, 0, LONG]);
    bind(&mut world, Named::Name(first));
    for left in (0..LONG).rev() {
        let next = world.account(0, [1, 0, 0, left]);
        bind(&mut world, Named::Name(next));
    }
    world.alloc(0);
    bind(&mut world, Named::Own);
    let line = Named::Name(first);
    let waits = |world: &World<'_>| world.domains.ending_accounts.first();
    while !done(world.call(0, Call::AccountDestroy(line))).expect("nobody has to leave") {
        assert_eq!(world.check(), Ok(()));
        // Somebody else's, which is dying, too, and whose parent lives.
        let other = world.account(0, [0; 4]);
        world.domains.begin_end(other.index);
        world.told = 0;
        assert!(waits(&world).is_some());
        assert!(
            world
                .domains
                .account(bystander.index)
                .is_some_and(|it| it.dying == 0)
        );
        assert!(world.domains.account(0).is_some_and(|it| it.dying == 0));
    }
    while world.sweep() {}
    assert_eq!(world.counters(), before);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn pages_with_many_mappings_end_in_steps() {
    let mut storage = Storage::new(128, 4, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let before = world.counters();
    let (account, _) = world.tenant([60, 1, 1, 0], 1);
    let reply = world.call(1, Call::Alloc(PageSelect::Any, 8));
    let first = page(reply.value as u32);
    let cap = world.call(1, Call::Mint(Kind::Page, first.get().into(), 1, 1));
    let cap = Cap {
        kind: Kind::Page,
        index: first.get(),
        count: 1,
        epoch: exopi_abi::capability::Epoch::from_low_bits(cap.value),
        rights: 1,
        timed: false,
    };
    assert_eq!(world.call(1, Call::Limit(first, 1, 500)).error(), None);
    for place in 0..200 {
        let at = at(PLACE + place * 4096);
        let map = Call::Insert(Named::Own, at, Run::Cap(first, cap), 1, READ);
        assert_eq!(world.call(0, map).error(), None);
    }
    assert_eq!(world.check(), Ok(()));
    assert!(destroy(&mut world, account) > 3);
    assert_eq!(world.domains.pages.mappings(&world.hw, first).count(), 0);
    world.settle();
    assert_eq!(world.counters(), before);
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn a_fork_bomb_ends_at_its_allowance() {
    let mut storage = Storage::new(128, 10, 8, 10);
    let mut world = World::new(&mut storage, 2);
    let before = world.counters();
    let (account, _) = world.tenant([60, 6, 4, 5], 1);
    let around = world.counters().0[0];
    // Everything that makes something, until nothing goes any more, at home and in each account below.
    let mut refused = 0;
    while refused < 8 {
        let one = world.call(1, Call::Alloc(PageSelect::Any, 1));
        let uarea = page(one.value as u32);
        let refusals = [
            one.error().is_some(),
            world.call(1, Call::SpaceCreate(uarea)).error().is_some(),
            world
                .call(1, Call::Alloc(PageSelect::Any, 1))
                .error()
                .is_some(),
            world
                .call(1, Call::AccountCreate([2, 1, 0, 1]))
                .error()
                .is_some(),
        ];
        let own = world.call(1, Call::Alloc(PageSelect::Any, 1));
        let place = at(PLACE + u64::from(own.value as u32) * 4096);
        let child = Call::EnvCreate(Named::Own, page(own.value as u32), place);
        let made = world.call(1, child);
        if let (None, name) = (made.error(), ObjectName::from_word(made.value)) {
            assert_eq!(world.run(1, Named::Name(name), 1).error(), None);
        }
        let _ = world.call(1, Call::Yield(Named::Own));
        world.dispatch(1);
        refused = match refusals.iter().all(|refusal| *refusal) && made.error().is_some() {
            true => refused + 1,
            false => 0,
        };
        assert_eq!(world.check(), Ok(()));
        // Nobody around feels any of it.
        assert_eq!(world.counters().0[0], around);
    }
    let record = *world.domains.account(account.index).expect("it is there");
    assert_eq!(record.used[0], record.allowance[0]);
    let _ = world.alloc(0);
    let _ = world.environment(0, Named::Own, 1);
    let _ = destroy(&mut world, account);
    world.settle();
    assert_eq!(world.counters().0.len(), before.0.len());
    assert_eq!(world.counters().1, before.1 - 2);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn a_core_that_sleeps_is_told_of_what_is_dying() {
    // More frames than one step looks at.
    let mut storage = Storage::new(1200, 3, 4, 8);
    let mut world = World::new(&mut storage, 4);
    let account = world.account(0, [9, 2, 1, 1]);
    for call in [
        Call::AccountBind(Named::Name(account)),
        Call::Alloc(PageSelect::Exact(page(1100)), 1),
        Call::AccountBind(Named::Own),
    ] {
        assert_eq!(world.call(0, call).error(), None);
    }
    world.told = 0;
    let reply = world.call(0, Call::AccountDestroy(Named::Name(account)));
    assert_eq!(done(reply), Ok(false));
    assert_ne!(world.told & 0b1110, 0);
    assert_eq!(world.check(), Ok(()));
}
