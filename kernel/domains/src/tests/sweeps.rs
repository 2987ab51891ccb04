//! Examples: what the background does, and what happens while something is on its way out.

use exopi_abi::capability::{Kind, SpaceRights};
use exopi_abi::domain::EnvironmentState;
use exopi_abi::{Error, PageSelect};

use super::{Call, Cap, FIRST_AT, Named, READ, Run, Storage, World, at, done};

const PLACE: u64 = FIRST_AT + 0x1_0000;

#[test]
fn a_space_whose_last_environment_died_is_taken_apart() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let space = world.space(0);
    let named = Named::Name(space);
    let environment = world.environment(0, named, 0);
    // Much in one table, and something far away.
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
    world.furnish(0, named, 3 << 30);
    world.told = 0;
    let destroy = Call::Destroy(Named::Name(environment));
    assert_eq!(done(world.call(0, destroy)), Ok(false));
    assert_eq!(world.told, 0b10, "core 1 has nothing else to do");
    assert!(!world.domains.lives(environment) && world.domains.is_ending());
    assert_eq!(
        world.domains.space(space.index).map(|record| record.dying),
        Some(1)
    );
    assert_eq!(world.check(), Ok(()));
    let mut steps = 0;
    while world.sweep() {
        assert_eq!(world.check(), Ok(()));
        steps += 1;
    }
    assert!(steps > 1);
    assert!(world.domains.space(space.index).is_none() && !world.domains.is_ending());
}

#[test]
fn who_was_to_die_dies_though_it_was_suspended_first() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    assert_eq!(world.run(0, Named::Name(name), 1).error(), None);
    world.dispatch(1);
    assert_eq!(
        world.call(0, Call::Destroy(Named::Name(name))).error(),
        Some(Error::Busy)
    );
    assert!(world.suspend(1));
    assert!(world.domains.environment(name.index).is_none());
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn who_was_to_stop_is_suspended_all_the_same() {
    let mut storage = Storage::new(64, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    assert_eq!(world.run(0, Named::Name(name), 1).error(), None);
    world.dispatch(1);
    assert_eq!(
        world.call(0, Call::Stop(Named::Name(name))).error(),
        Some(Error::Busy)
    );
    assert!(world.suspend(1));
    let state = world.domains.life(name.index).state();
    assert_eq!(state, EnvironmentState::Suspended);
    assert_eq!(world.call(0, Call::Stop(Named::Name(name))).error(), None);
    assert_eq!(world.run(0, Named::Name(name), 1).error(), None);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn nobody_joins_the_space_of_an_account_at_its_end() {
    let mut storage = Storage::new(96, 4, 5, 8);
    let mut world = World::new(&mut storage, 3);
    let (host, _) = world.tenant([30, 3, 2, 0], 1);
    let _ = world.tenant([30, 3, 2, 0], 2);
    let space = world.space(1);
    let join = Named::Cap(Cap::of(Kind::Space, space).with(SpaceRights::JOIN));
    let uarea = world.alloc(2);
    let create = Call::EnvCreate(join, uarea, at(FIRST_AT));
    let destroy = Call::AccountDestroy(Named::Name(host));
    assert_eq!(world.call(0, destroy).error(), Some(Error::Busy));
    assert_eq!(
        world.domains.space(space.index).map(|record| record.dying),
        Some(0)
    );
    assert_eq!(world.call(2, create).error(), Some(Error::Stale));
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn what_waits_for_a_core_holds_up_nothing_else() {
    let length = 20;
    let mut storage = Storage::new(2200, length + 6, 4, 4);
    let mut world = World::new(&mut storage, 2);
    // A line of accounts, with an environment on a core at its far end.
    let mut line = std::vec::Vec::new();
    for depth in 0..length {
        let left = (length - depth - 1) as u32;
        let account = world.account(0, [8, 1, 1, left]);
        line.push(account);
        assert_eq!(
            world
                .call(0, Call::AccountBind(Named::Name(account)))
                .error(),
            None
        );
    }
    let environment = world.alone(0);
    assert_eq!(world.run(0, Named::Name(environment), 1).error(), None);
    assert_eq!(world.call(0, Call::AccountBind(Named::Own)).error(), None);
    world.dispatch(1);
    // Another one, behind it in the table, with a page that is found late.
    let other = world.account(0, [1, 0, 0, 0]);
    assert_eq!(
        world.call(0, Call::AccountBind(Named::Name(other))).error(),
        None
    );
    let late = Call::Alloc(PageSelect::Exact(super::page(2100)), 1);
    assert_eq!(world.call(0, late).error(), None);
    assert_eq!(world.call(0, Call::AccountBind(Named::Own)).error(), None);
    let blocked = world.call(0, Call::AccountDestroy(Named::Name(line[0])));
    assert_eq!(blocked.error(), Some(Error::Busy));
    assert_eq!(
        done(world.call(0, Call::AccountDestroy(Named::Name(other)))),
        Ok(false)
    );
    for _ in 0..4 {
        let _ = world.sweep();
        assert_eq!(world.check(), Ok(()));
    }
    assert!(world.domains.account(other.index).is_none());
    // What is left waits for core 1, which was told.
    assert!(!world.sweep() && world.told & 0b10 != 0);
    assert!(world.domains.lives(world.domains.first()) && !world.domains.lives(environment));
    world.settle();
    assert!(
        line.iter()
            .all(|account| world.domains.account(account.index).is_none())
    );
    assert_eq!(world.check(), Ok(()));
}
