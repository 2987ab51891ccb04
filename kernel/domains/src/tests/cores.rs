//! Examples: who is next on a core.

use core::sync::atomic::Ordering;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::domain::ObjectName;

use super::{Call, Named, Storage, World};
use crate::Next;

/// A world with `count` environments in the first space, each with a slice on core 1, in order.
fn waiting(storage: &mut Storage, count: u64) -> (World<'_>, Vec<ObjectName>) {
    let mut world = World::new(storage, 2);
    let make = |place| {
        let name = world.environment(0, Named::Own, place);
        assert_eq!(world.run(0, Named::Name(name), 1).error(), None);
        name
    };
    let names = (1..=count).map(make).collect();
    (world, names)
}

/// Who gets core 1, one after the other, if each stops at once.
fn order(world: &mut World<'_>) -> Vec<ObjectName> {
    let mut order = Vec::new();
    loop {
        world.dispatch(1);
        let Some(by) = world.on[1] else {
            return order;
        };
        order.push(by.name);
        assert_eq!(world.call(1, Call::Stop(Named::Own)).error(), None);
        assert_eq!(world.check(), Ok(()));
    }
}

fn dispatches(world: &World<'_>, name: ObjectName) -> u64 {
    let life = world.domains.words().get(name.index).expect("it is there");
    life.dispatches.load(Ordering::Relaxed)
}

#[test]
fn positions_say_who_is_next() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 5);
    let first = world.on[0].expect("it runs");
    assert!(!world.domains.waits(&first));
    assert_eq!(order(&mut world), names);
}

#[test]
fn nobody_is_next_before_the_last_has_left() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 2);
    world.dispatch(1);
    assert_eq!(world.domains.next(1, 0), Next::Idle);
    assert_eq!(world.domains.next(7, 0), Next::Idle);
    assert_eq!(world.on[1].map(|by| by.name), Some(names[0]));
    let by = world.on[1].expect("it runs");
    assert!(world.domains.waits(&by));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn one_may_go_from_any_place() {
    for gone in 0..5 {
        let mut storage = Storage::new(64, 3, 4, 8);
        let (mut world, mut names) = waiting(&mut storage, 5);
        let name = names.remove(gone);
        assert_eq!(world.call(0, Call::Stop(Named::Name(name))).error(), None);
        assert_eq!(world.check(), Ok(()));
        assert_eq!(order(&mut world), names);
        for name in &names {
            assert_eq!(world.run(0, Named::Name(*name), 1).error(), None);
        }
        let name = names.remove(gone % 4);
        assert_eq!(
            world.call(0, Call::Destroy(Named::Name(name))).error(),
            None
        );
        assert_eq!(world.check(), Ok(()));
        let mut order = order(&mut world);
        order.sort_unstable_by_key(|name| name.index);
        assert_eq!(order, names);
    }
}

#[test]
fn a_yield_ends_the_turn() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 3);
    world.dispatch(1);
    assert_eq!(world.call(1, Call::Yield(Named::Own)).error(), None);
    assert_eq!(world.on[1], None);
    assert_eq!(world.check(), Ok(()));
    assert_eq!(order(&mut world), [names[1], names[2], names[0]]);
}

#[test]
fn yielding_to_nobody_goes_on() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 1);
    world.dispatch(1);
    assert_eq!(world.call(1, Call::Yield(Named::Own)).error(), None);
    assert_eq!(world.on[1].map(|by| by.name), Some(names[0]));
    assert_eq!(dispatches(&world, names[0]), 1);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn yielding_to_one_gives_it_the_rest_of_the_turn() {
    for to in 1..4 {
        let mut storage = Storage::new(64, 3, 4, 8);
        let (mut world, names) = waiting(&mut storage, 4);
        world.dispatch(1);
        let turn = world.domains.slices.turn(1).expect("there is one");
        world.now += 40;
        let named = Named::Name(names[to]);
        assert_eq!(world.call(1, Call::Yield(named)).error(), None);
        world.dispatch(1);
        assert_eq!(world.on[1].map(|by| by.name), Some(names[to]));
        assert_eq!(world.domains.slices.turn(1), Some(turn));
        assert_eq!(world.check(), Ok(()));
        // The turn goes on where it was: its end is the first one's.
        world.now = turn.end - 1;
        world.interrupt(1);
        assert!(world.on[1].is_some());
        world.now += 1;
        world.interrupt(1);
        assert_eq!(world.on[1], None);
        world.dispatch(1);
        assert_eq!(world.on[1].map(|by| by.name), Some(names[1]));
    }
}

/// What comes after the turn's end is nobody's to give.
#[test]
fn one_that_yields_too_late_gives_nothing() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 3);
    world.dispatch(1);
    world.now += 103;
    let named = Named::Name(names[2]);
    assert_eq!(world.call(1, Call::Yield(named)).error(), None);
    assert_eq!(world.check(), Ok(()));
    world.dispatch(1);
    assert_eq!(world.on[1].map(|by| by.name), Some(names[1]));
    assert_eq!(world.domains.words().debt(names[0].index), 3);
    assert_eq!(world.domains.words().debt(names[2].index), 0);
}

#[test]
fn one_yields_to_who_is_ready_and_on_no_core() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 2);
    let stopped = world.environment(0, Named::Own, 9);
    for name in [stopped, world.domains.first()] {
        let reply = world.call(0, Call::Yield(Named::Name(name)));
        assert_eq!(reply.error(), Some(Error::NotReady));
        assert!(world.on[0].is_some());
    }
    // Wherever its own slices are.
    let named = Named::Name(names[0]);
    assert_eq!(world.call(0, Call::Yield(named)).error(), None);
    world.dispatch(0);
    assert_eq!(world.on[0].map(|by| by.name), Some(names[0]));
    let reply = world.call(0, Call::Yield(Named::Name(names[0])));
    assert_eq!(reply.error(), Some(Error::NotReady));
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn a_notice_interrupts_who_runs_and_waits_for_who_does_not() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 2);
    world.dispatch(1);
    let (domains, gone) = (&mut world.domains, super::NEVER);
    assert!(!domains.post(gone, 1));
    assert_eq!(domains.take_interrupts(), 0);
    assert!(domains.post(names[1], 2) && domains.post(names[1], 4));
    assert_eq!(domains.take_interrupts(), 0);
    assert!(domains.post(names[0], 8));
    assert_eq!(domains.take_interrupts(), 0b10);
    assert_eq!(domains.take_notices(names[1].index), 6);
    assert_eq!(domains.take_notices(names[0].index), 8);
    assert_eq!(domains.take_notices(u16::MAX), 0);
}
