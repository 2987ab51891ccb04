//! Examples: who is next on a core.

use core::sync::atomic::Ordering;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::domain::ObjectName;

use super::{Call, Named, Storage, World};

/// A world with `count` environments in the first space, that all wait for core 1.
fn waiting(storage: &mut Storage, count: u64) -> (World<'_>, Vec<ObjectName>) {
    let mut world = World::new(storage, 2);
    let make = |place| {
        let name = world.environment(0, Named::Own, place);
        assert_eq!(world.call(0, Call::Run(Named::Name(name), 1)).error(), None);
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

#[test]
fn who_waits_longest_is_next() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 5);
    assert!(world.domains.waits(1) && !world.domains.waits(0));
    assert_eq!(order(&mut world), names);
    assert!(!world.domains.waits(1));
}

#[test]
fn nobody_is_next_before_the_last_has_left() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 2);
    world.dispatch(1);
    assert_eq!(world.domains.next(1), None);
    assert_eq!(world.domains.next(7), None);
    assert_eq!(world.on[1].map(|by| by.name), Some(names[0]));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn one_may_leave_the_queue_from_any_place() {
    for gone in 0..5 {
        let mut storage = Storage::new(64, 3, 4, 8);
        let (mut world, mut names) = waiting(&mut storage, 5);
        let name = names.remove(gone);
        assert_eq!(world.call(0, Call::Stop(Named::Name(name))).error(), None);
        assert_eq!(world.check(), Ok(()));
        assert_eq!(order(&mut world), names);
        for name in &names {
            assert_eq!(
                world.call(0, Call::Run(Named::Name(*name), 1)).error(),
                None
            );
        }
        let name = names.remove(gone % 4);
        assert_eq!(
            world.call(0, Call::Destroy(Named::Name(name))).error(),
            None
        );
        assert_eq!(world.check(), Ok(()));
        assert_eq!(order(&mut world), names);
    }
}

#[test]
fn yielding_puts_one_behind_all_others() {
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
    assert_eq!(
        world
            .domains
            .words()
            .get(names[0].index)
            .map(|life| life.dispatches.load(Ordering::Relaxed)),
        Some(1)
    );
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn yielding_to_one_puts_it_before_all_others() {
    for to in 1..4 {
        let mut storage = Storage::new(64, 3, 4, 8);
        let (mut world, names) = waiting(&mut storage, 4);
        world.dispatch(1);
        assert_eq!(
            world.call(1, Call::Yield(Named::Name(names[to]))).error(),
            None
        );
        assert_eq!(world.check(), Ok(()));
        let mut expected = Vec::from([names[to]]);
        expected.extend(
            (1..4)
                .filter(|place| *place != to)
                .map(|place| names[place]),
        );
        expected.push(names[0]);
        assert_eq!(order(&mut world), expected);
    }
}

#[test]
fn one_yields_to_who_waits_for_the_same_core() {
    let mut storage = Storage::new(64, 3, 4, 8);
    let (mut world, names) = waiting(&mut storage, 2);
    let stopped = world.environment(0, Named::Own, 9);
    // Core 0 runs the first environment: who waits for core 1 is not ready for it.
    for name in [names[0], stopped, world.domains.first()] {
        let reply = world.call(0, Call::Yield(Named::Name(name)));
        assert_eq!(reply.error(), Some(Error::NotReady));
        assert!(world.on[0].is_some());
    }
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
