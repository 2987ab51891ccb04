//! Examples: environments, in each of their states.

use core::sync::atomic::Ordering;

use exopi_abi::Error;
use exopi_abi::capability::{EnvironmentRights, Kind, KindRights, SpaceRights};
use exopi_abi::domain::{EnvironmentRecord, EnvironmentState, ObjectName};

use super::{Call, Cap, FIRST_AT, NEVER, Named, Storage, World, at, page};

fn record(world: &World<'_>, name: ObjectName) -> EnvironmentRecord {
    *world.domains.environment(name.index).expect("it is there")
}

fn state(world: &World<'_>, name: ObjectName) -> (EnvironmentState, Option<u8>) {
    let word = world.domains.life(name.index);
    (word.state(), word.core())
}

const NOWHERE: Option<u8> = None;

#[test]
fn one_is_made_and_stopped() {
    let mut storage = Storage::new(32, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let uarea = world.alloc(0);
    let place = at(FIRST_AT + 4096);
    let last = world.domains.epochs.last();
    for (call, outcome) in [
        (
            Call::EnvCreate(Named::Own, uarea, at(FIRST_AT)),
            Error::Occupied,
        ),
        (
            Call::EnvCreate(Named::Own, uarea, at(1 << 30)),
            Error::NoTable,
        ),
        (
            Call::EnvCreate(Named::Own, page(31), place),
            Error::NotYours,
        ),
        (
            Call::EnvCreate(Named::Own, page(999), place),
            Error::OutOfRange,
        ),
        (
            Call::EnvCreate(Named::Name(NEVER), uarea, place),
            Error::NotYours,
        ),
    ] {
        assert_eq!(world.call(0, call).error(), Some(outcome), "{call:?}");
    }
    assert_eq!(world.domains.epochs.last(), last);
    let reply = world.call(0, Call::EnvCreate(Named::Own, uarea, place));
    let name = ObjectName::from_word(reply.value);
    let made = record(&world, name);
    assert_eq!(state(&world, name), (EnvironmentState::Stopped, NOWHERE));
    assert_eq!((made.uarea, made.uarea_at), (uarea.get(), place.get()));
    assert_eq!((made.account, made.bound), (world.owner(0), world.owner(0)));
    assert_eq!(world.domains.space(0).map(|space| space.members), Some(2));
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn joining_anothers_space_takes_the_right_to() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let (account, _) = world.tenant([12, 3, 1, 0], 1);
    let mine = world.space(0);
    let uarea = world.alloc(1);
    let join = Cap::of(Kind::Space, mine).with(SpaceRights::JOIN);
    let create = |named| Call::EnvCreate(named, uarea, at(FIRST_AT));
    for (named, outcome) in [
        (Named::Name(mine), Some(Error::NotYours)),
        (
            Named::Cap(join.with(SpaceRights::MAP)),
            Some(Error::MissingRight),
        ),
        (
            Named::Cap(Cap {
                timed: true,
                ..join
            }),
            Some(Error::TimeLimited),
        ),
        (Named::Cap(join), None),
    ] {
        assert_eq!(world.call(1, create(named)).error(), outcome, "{named:?}");
    }
    // The space is the first account's; the environment and its u-area are the tenant's.
    assert_eq!(
        world
            .domains
            .account(account.index)
            .map(|record| record.used[1]),
        Some(2)
    );
    assert_eq!(
        world
            .domains
            .pages
            .record(uarea)
            .map(|record| record.foreign),
        Some(1)
    );
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn run_stop_and_run_again() {
    let mut storage = Storage::new(32, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    let named = Named::Name(name);
    assert_eq!(
        world.call(0, Call::Run(named, 2)).error(),
        Some(Error::OutOfRange)
    );
    assert_eq!(
        world.call(0, Call::Run(named, 1 << 32)).error(),
        Some(Error::OutOfRange)
    );
    assert_eq!(
        world.call(0, Call::Stop(named)).error(),
        None,
        "it is stopped already"
    );
    assert_eq!(world.call(0, Call::Run(named, 1)).error(), None);
    assert_eq!(state(&world, name), (EnvironmentState::Ready, NOWHERE));
    // Core 1 idles, and was told.
    assert_eq!(world.told, 0b10);
    assert_eq!(
        world.call(0, Call::Run(named, 0)).error(),
        Some(Error::NotReady)
    );
    assert_eq!(world.call(0, Call::Stop(named)).error(), None);
    assert_eq!(state(&world, name), (EnvironmentState::Stopped, NOWHERE));
    world.dispatch(1);
    assert_eq!(world.on[1], None);
    assert_eq!(world.call(0, Call::Run(named, 1)).error(), None);
    world.dispatch(1);
    assert_eq!(state(&world, name), (EnvironmentState::Running, Some(1)));
    let life = world.domains.words().get(name.index).expect("it is there");
    assert_eq!(life.dispatches.load(Ordering::Relaxed), 1);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn one_that_runs_elsewhere_is_busy_until_it_has_left() {
    let mut storage = Storage::new(32, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    let named = Named::Name(name);
    assert_eq!(world.call(0, Call::Run(named, 1)).error(), None);
    world.dispatch(1);
    for (call, outcome) in [
        (Call::Run(named, 0), Error::NotReady),
        (Call::Read(named, 0), Error::Busy),
        (Call::Write(named, 0), Error::Busy),
        (Call::Debug(named, 1), Error::Busy),
        (Call::Yield(named), Error::NotReady),
        (Call::Stop(named), Error::Busy),
        (Call::Stop(named), Error::Busy),
        (Call::Run(named, 0), Error::NotReady),
        (Call::Read(named, 0), Error::Busy),
    ] {
        assert_eq!(world.call(0, call).error(), Some(outcome), "{call:?}");
        assert_eq!(world.check(), Ok(()));
    }
    // Until it comes out of user mode it makes calls as before.
    let _ = world.alloc(1);
    assert_eq!(world.told, 0b10);
    world.interrupt(1);
    assert_eq!(state(&world, name), (EnvironmentState::Stopped, NOWHERE));
    assert_eq!(world.call(0, Call::Stop(named)).error(), None);
    assert_eq!(world.call(0, Call::Read(named, 0)).error(), None);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn one_that_was_to_stop_stops_whatever_it_does_first() {
    let mut storage = Storage::new(32, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    let next = world.environment(0, Named::Own, 2);
    let named = Named::Name(name);
    for first in [
        Call::Yield(Named::Own),
        Call::Yield(Named::Name(next)),
        Call::Stop(Named::Own),
    ] {
        assert_eq!(world.call(0, Call::Run(named, 1)).error(), None);
        world.dispatch(1);
        assert_eq!(world.call(0, Call::Run(Named::Name(next), 1)).error(), None);
        assert_eq!(world.call(0, Call::Stop(named)).error(), Some(Error::Busy));
        assert_eq!(world.call(1, first).error(), None);
        assert_eq!(
            state(&world, name),
            (EnvironmentState::Stopped, NOWHERE),
            "{first:?}"
        );
        assert_eq!(world.call(0, Call::Stop(Named::Name(next))).error(), None);
        assert_eq!(world.check(), Ok(()));
    }
}

#[test]
fn stopping_oneself_gives_the_core_away() {
    let mut storage = Storage::new(32, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    assert_eq!(world.call(0, Call::Run(Named::Name(name), 1)).error(), None);
    world.dispatch(1);
    assert_eq!(world.call(1, Call::Stop(Named::Own)).error(), None);
    assert_eq!(world.on[1], None);
    assert_eq!(state(&world, name), (EnvironmentState::Stopped, NOWHERE));
    assert_eq!(world.check(), Ok(()));
}

#[test]
#[cfg(not(miri))] // It would take minutes there.
fn what_is_named_and_what_rights_it_takes() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let (_, tenant) = world.tenant([12, 2, 1, 0], 1);
    let mine = world.environment(0, Named::Own, 1);
    let cap = Cap::of(Kind::Environment, mine);
    type Make = fn(Named) -> Call;
    let calls: [(Make, EnvironmentRights); 7] = [
        (|named| Call::Run(named, 0), EnvironmentRights::SCHEDULE),
        (Call::Stop, EnvironmentRights::SCHEDULE),
        (|named| Call::Keep(named, 1), EnvironmentRights::KEEP),
        (
            |named| Call::Debug(named, 1),
            EnvironmentRights::WRITE_STATE,
        ),
        (|named| Call::Read(named, 8), EnvironmentRights::READ_STATE),
        (
            |named| Call::Write(named, 8),
            EnvironmentRights::WRITE_STATE,
        ),
        (Call::ConsoleGive, EnvironmentRights::WRITE_STATE),
    ];
    let refused = |world: &mut World<'_>, call: Call, outcome| {
        assert_eq!(world.call(1, call).error(), Some(outcome), "{call:?}");
    };
    for (make, rights) in calls {
        refused(&mut world, make(Named::Name(mine)), Error::NotYours);
        refused(&mut world, make(Named::Name(NEVER)), Error::NotYours);
        refused(
            &mut world,
            make(Named::Cap(cap.with(rights.complement()))),
            Error::MissingRight,
        );
        refused(
            &mut world,
            make(Named::Cap(Cap::of(Kind::Space, mine))),
            Error::WrongKind,
        );
        let stale = Cap {
            epoch: NEVER.epoch,
            ..cap
        };
        refused(&mut world, make(Named::Cap(stale)), Error::Stale);
        let call = make(Named::Cap(cap.with(rights)));
        assert_eq!(world.call(1, call).error(), None, "{call:?}");
        assert_eq!(world.check(), Ok(()));
    }
    let all = EnvironmentRights::all() & !EnvironmentRights::SCHEDULE;
    refused(
        &mut world,
        Call::Yield(Named::Cap(cap.with(all))),
        Error::MissingRight,
    );
    let all = EnvironmentRights::all() & !EnvironmentRights::DESTROY;
    refused(
        &mut world,
        Call::Destroy(Named::Cap(cap.with(all))),
        Error::MissingRight,
    );
    // The tenant's account owns it: its own name is good, and the parent's account does not own it.
    assert_eq!(
        world.call(1, Call::Keep(Named::Name(tenant), 3)).error(),
        None
    );
    assert_eq!(
        world.call(0, Call::Keep(Named::Name(tenant), 3)).error(),
        Some(Error::NotYours)
    );
}

#[test]
fn state_is_read_and_written_within_the_page() {
    let mut storage = Storage::new(32, 3, 4, 4);
    let mut world = World::new(&mut storage, 2);
    let named = Named::Name(world.environment(0, Named::Own, 1));
    for (offset, outcome) in [
        (0, Ok(512)),
        (4000, Ok(96)),
        (4095, Ok(1)),
        (4096, Err(())),
        (u64::MAX, Err(())),
    ] {
        for call in [Call::Read(named, offset), Call::Write(named, offset)] {
            let reply = world.call(0, call);
            match outcome {
                Ok(length) => assert_eq!((reply.error(), reply.value), (None, length)),
                Err(()) => assert_eq!(reply.error(), Some(Error::OutOfRange)),
            }
        }
    }
    assert_eq!(
        world.call(0, Call::Read(Named::Own, 0)).error(),
        Some(Error::Busy)
    );
    assert_eq!(
        world.call(0, Call::Debug(named, 2)).error(),
        Some(Error::Malformed)
    );
    assert_eq!(world.call(0, Call::Debug(Named::Own, 1)).error(), None);
    assert_eq!(
        world.domains.environment(0).map(|record| record.debugged),
        Some(1)
    );
    assert_eq!(
        world.call(0, Call::Keep(named, 32)).error(),
        Some(Error::OutOfRange)
    );
    assert_eq!(
        world.call(0, Call::Keep(named, 1 << 40)).error(),
        Some(Error::OutOfRange)
    );
    let cap = Cap::of(
        Kind::Environment,
        ObjectName {
            index: 0,
            ..world.domains.first()
        },
    );
    let timed = Named::Cap(Cap { timed: true, ..cap });
    assert_eq!(
        world.call(0, Call::Keep(timed, 1)).error(),
        Some(Error::TimeLimited)
    );
    assert_eq!(EnvironmentRights::KIND, Kind::Environment);
}

#[test]
fn a_keeper_hears_of_suspension_and_death() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let kept = world.environment(0, Named::Own, 1);
    assert_eq!(
        world.call(0, Call::Keep(Named::Name(kept), 5)).error(),
        None
    );
    assert_eq!(world.call(0, Call::Run(Named::Name(kept), 1)).error(), None);
    world.dispatch(1);
    world.told = 0;
    assert!(world.suspend(1));
    assert_eq!(state(&world, kept), (EnvironmentState::Suspended, NOWHERE));
    // The keeper runs, and is told at once.
    assert_eq!(world.told, 0b1);
    assert_eq!(world.domains.take_notices(0), 1 << 5);
    assert_eq!(world.domains.take_notices(0), 0);
    // Suspended, it goes nowhere before somebody stops it.
    assert_eq!(
        world.call(0, Call::Run(Named::Name(kept), 1)).error(),
        Some(Error::NotReady)
    );
    assert_eq!(world.call(0, Call::Stop(Named::Name(kept))).error(), None);
    assert_eq!(world.call(0, Call::Run(Named::Name(kept), 1)).error(), None);
    assert_eq!(
        world.call(0, Call::Destroy(Named::Name(kept))).error(),
        None
    );
    assert_eq!(world.domains.take_notices(0), 1 << 5);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn a_keeper_that_is_gone_is_none() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let keeper = world.environment(0, Named::Own, 1);
    let kept = world.environment(0, Named::Own, 2);
    for name in [keeper, kept] {
        assert_eq!(world.call(0, Call::Run(Named::Name(name), 1)).error(), None);
    }
    world.dispatch(1);
    assert_eq!(
        world.call(1, Call::Keep(Named::Name(kept), 0)).error(),
        None
    );
    assert_eq!(world.call(1, Call::Destroy(Named::Own)).error(), None);
    // Another one takes the keeper's place, and hears nothing.
    let successor = world.environment(0, Named::Own, 1);
    assert_eq!(successor.index, keeper.index);
    world.dispatch(1);
    assert!(world.suspend(1), "it is not the first");
    assert_eq!(record(&world, successor).notices, 0);
    assert_eq!(
        world.call(0, Call::Destroy(Named::Name(kept))).error(),
        None
    );
    assert_eq!(record(&world, successor).notices, 0);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn when_the_first_is_suspended_unkept_nobody_is_left() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let keeper = world.environment(0, Named::Own, 1);
    assert_eq!(
        world.call(0, Call::Run(Named::Name(keeper), 1)).error(),
        None
    );
    world.dispatch(1);
    let first = world.domains.first();
    assert!(world.domains.is_first(first) && !world.domains.is_first(keeper));
    assert_eq!(
        world.call(1, Call::Keep(Named::Name(first), 9)).error(),
        None
    );
    assert!(world.suspend(0));
    assert_eq!(record(&world, keeper).notices, 1 << 9);
    assert_eq!(world.call(1, Call::Stop(Named::Name(first))).error(), None);
    assert_eq!(
        world.call(1, Call::Run(Named::Name(first), 0)).error(),
        None
    );
    world.dispatch(0);
    assert_eq!(world.call(1, Call::Destroy(Named::Own)).error(), None);
    assert!(!world.suspend(0));
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn the_console_goes_to_somebody_who_lives() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    let reply = world.call(0, Call::ConsoleGive(Named::Name(name)));
    assert_eq!((reply.error(), reply.value), (None, name.word()));
    assert!(world.domains.lives(name) && !world.domains.lives(NEVER));
    assert_eq!(world.call(0, Call::Run(Named::Name(name), 1)).error(), None);
    world.dispatch(1);
    // Dying is as good as dead.
    assert_eq!(
        world.call(0, Call::Destroy(Named::Name(name))).error(),
        Some(Error::Busy)
    );
    assert!(!world.domains.lives(name));
    let reply = world.call(0, Call::ConsoleGive(Named::Name(name)));
    assert_eq!(reply.error(), Some(Error::Stale));
}
