//! Examples: slices, turns, what is used and owed.

use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::capability::{EnvironmentRights, Kind, SliceRights};
use exopi_abi::domain::{EnvironmentState, LifeWord, ObjectName, Resource};
use exopi_abi::slice::MAX_SLICES;

use super::{Call, Cap, NEVER, Named, Storage, World, done};

const ANY: u64 = u64::MAX;

fn slices(world: &World<'_>, account: u16) -> u32 {
    let record = world.domains.account(account).expect("it is there");
    record.used[Resource::Slices as usize]
}

/// A slice of the caller's, for `environment` on core 1.
fn slice(world: &mut World<'_>, environment: ObjectName) -> ObjectName {
    let reply = world.call(0, Call::SliceAlloc(1, ANY, Named::Name(environment)));
    assert_eq!(reply.error(), None);
    ObjectName::from_word(reply.value)
}

fn debt(world: &World<'_>, name: ObjectName) -> u64 {
    world.domains.words().debt(name.index)
}

#[test]
fn slices_are_charged_and_counted() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let [one, other] = [1, 2].map(|place| world.environment(0, Named::Own, place));
    let counts = |world: &World<'_>, name: ObjectName| {
        let record = world.domains.environment(name.index);
        record.expect("it is there").slices
    };
    assert_eq!(slices(&world, 0), 1);
    let first = slice(&mut world, one);
    let reply = world.call(0, Call::SliceAlloc(0, 77, Named::Name(one)));
    let second = ObjectName::from_word(reply.value);
    assert_eq!((first.index, second.index), (128, 77));
    assert_eq!(slices(&world, 0), 3);
    assert_eq!(counts(&world, one), [1, 1, 0, 0]);
    let bind = Call::SliceBind(Named::Name(first), Named::Name(other));
    assert_eq!(world.call(0, bind).error(), None);
    assert_eq!(counts(&world, one), [1, 0, 0, 0]);
    assert_eq!(counts(&world, other), [0, 1, 0, 0]);
    let reply = world.call(0, Call::SliceMove(Named::Name(second), 1, 9));
    assert_eq!(reply.error(), None);
    let moved = ObjectName::from_word(reply.value);
    assert_eq!(moved.index, 137);
    assert_eq!(counts(&world, one), [0, 1, 0, 0]);
    let stale = world.call(0, Call::SliceFree(Named::Name(second)));
    assert_eq!(stale.error(), Some(Error::NotYours));
    assert_eq!(world.check(), Ok(()));
    for name in [first, moved] {
        let reply = world.call(0, Call::SliceFree(Named::Name(name)));
        assert_eq!(reply.error(), None);
    }
    assert_eq!(slices(&world, 0), 1);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    let named = Named::Name(name);
    let own = slice(&mut world, name);
    let timed = |kind, name| {
        Named::Cap(Cap {
            timed: true,
            ..Cap::of(kind, name)
        })
    };
    let without = |rights: SliceRights| Named::Cap(Cap::of(Kind::Slice, own).with(rights));
    let blind = Cap::of(Kind::Environment, name).with(EnvironmentRights::SCHEDULE.complement());
    let before = (world.counters(), world.domains.epochs.last());
    for (call, outcome) in [
        (Call::SliceAlloc(2, ANY, named), Error::OutOfRange),
        (Call::SliceAlloc(1 << 40, ANY, named), Error::OutOfRange),
        (Call::SliceAlloc(0, 128, named), Error::OutOfRange),
        (Call::SliceAlloc(0, 0, named), Error::Taken),
        (Call::SliceAlloc(0, 1, Named::Name(NEVER)), Error::NotYours),
        (
            Call::SliceAlloc(0, 1, Named::Cap(blind)),
            Error::MissingRight,
        ),
        (
            Call::SliceAlloc(0, 1, timed(Kind::Environment, name)),
            Error::TimeLimited,
        ),
        (
            Call::SliceBind(timed(Kind::Slice, own), named),
            Error::TimeLimited,
        ),
        (
            Call::SliceBind(without(SliceRights::USE.complement()), named),
            Error::MissingRight,
        ),
        (
            Call::SliceBind(Named::Name(own), Named::Cap(blind)),
            Error::MissingRight,
        ),
        (
            Call::SliceMove(without(SliceRights::MOVE.complement()), 0, ANY),
            Error::MissingRight,
        ),
        (
            Call::SliceFree(without(SliceRights::FREE.complement())),
            Error::MissingRight,
        ),
        (Call::SliceMove(Named::Name(own), 1, 0), Error::Taken),
        (Call::SliceMove(Named::Name(own), 9, 0), Error::OutOfRange),
        (Call::SliceFree(Named::Name(NEVER)), Error::NotYours),
        (
            Call::SliceFree(Named::Cap(Cap::of(Kind::Space, own))),
            Error::WrongKind,
        ),
        (
            Call::SliceFree(Named::Cap(Cap::of(Kind::Slice, NEVER))),
            Error::Stale,
        ),
    ] {
        assert_eq!(world.call(0, call).error(), Some(outcome), "{call:?}");
        assert_eq!(world.check(), Ok(()));
        assert_eq!((world.counters(), world.domains.epochs.last()), before);
    }
}

#[test]
fn capabilities_for_slices_are_minted_and_good() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    let own = slice(&mut world, name);
    let number = u64::from(own.index);
    let all = u64::from(Kind::Slice.rights().bits());
    let reply = world.call(0, Call::Mint(Kind::Slice, number, 1, all));
    assert_eq!((reply.error(), reply.value), (None, own.epoch.bits()));
    for (index, outcome) in [(number + 1, Error::NotYours), (256, Error::OutOfRange)] {
        let reply = world.call(0, Call::Mint(Kind::Slice, index, 1, all));
        assert_eq!(reply.error(), Some(outcome));
    }
    let (_, tenant) = world.tenant([12, 2, 1, 0], 1);
    let used = slices(&world, 0);
    let cap = Named::Cap(Cap::of(Kind::Slice, own));
    // Somebody else's to use.
    let bind = Call::SliceBind(cap, Named::Own);
    assert_eq!(world.call(1, bind).error(), None);
    let bound = world.domains.slice_records()[usize::from(own.index)].environment;
    assert_eq!(bound, tenant.word());
    assert_eq!(slices(&world, 0), used);
    let reply = world.call(1, Call::SliceFree(Named::Name(own)));
    assert_eq!(reply.error(), Some(Error::NotYours));
    assert_eq!(world.call(1, Call::SliceFree(cap)).error(), None);
    assert_eq!(slices(&world, 0), used - 1);
    assert_eq!(world.check(), Ok(()));
}

/// Who runs in a slice that somebody else pays for cannot dispose of it.
#[test]
fn the_slice_that_runs_is_its_payers() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let (_, tenant) = world.tenant([12, 2, 1, 0], 1);
    let cap = Named::Cap(Cap::of(Kind::Environment, tenant));
    let free = Call::SliceFree(Named::Own);
    assert_eq!(world.call(1, free).error(), None);
    assert_eq!(world.call(1, free).error(), Some(Error::NotYours));
    // It goes on to its turn's end, and is alone.
    assert_eq!(world.call(1, Call::Yield(Named::Own)).error(), None);
    assert!(world.on[1].is_some());
    let reply = world.call(0, Call::SliceAlloc(1, ANY, cap));
    assert_eq!(reply.error(), None);
    assert_eq!(world.call(0, Call::Stop(cap)).error(), Some(Error::Busy));
    world.interrupt(1);
    assert_eq!(world.call(0, Call::Run(cap)).error(), None);
    world.dispatch(1);
    assert_eq!(world.on[1].map(|by| by.name), Some(tenant));
    assert_eq!(world.call(1, free).error(), Some(Error::NotYours));
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn an_allowance_grows_and_shrinks() {
    let mut storage = Storage::new(64, 5, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let child = world.account(0, [5, 0, 0, 0]);
    let named = Named::Name(child);
    let mut allow = |amount| {
        let reply = world.call(0, Call::Allow(named, Resource::Pages, amount));
        assert_eq!(world.check(), Ok(()));
        reply.error().map_or(Ok(reply.value), Err)
    };
    assert_eq!(allow(9), Ok(9));
    assert_eq!(allow(2), Ok(2));
    assert_eq!(allow(u32::MAX), Err(Error::OverAllowance));
    assert_eq!(allow(4), Ok(4));
    assert_eq!(world.call(0, Call::AccountBind(named)).error(), None);
    let _ = [world.alloc(0), world.alloc(0), world.alloc(0)];
    // Nobody allows himself more.
    let reply = world.call(0, Call::Allow(named, Resource::Pages, 9));
    assert_eq!(reply.error(), Some(Error::NotYours));
    let reply = world.call(0, Call::Allow(Named::Own, Resource::Pages, 9));
    assert_eq!(reply.error(), Some(Error::MissingRight));
    assert_eq!(world.call(0, Call::AccountBind(Named::Own)).error(), None);
    let reply = world.call(0, Call::Allow(named, Resource::Pages, 0));
    assert_eq!((reply.error(), reply.value), (None, 3));
    assert_eq!(world.check(), Ok(()));
    let before = world.domains.account(0).expect("it is there").used;
    assert_eq!(done(world.call(0, Call::AccountDestroy(named))), Ok(true));
    let after = world.domains.account(0).expect("it is there").used;
    assert_eq!(after[0] + 3, before[0]);
}

#[test]
fn time_is_shared_by_the_number_of_slices() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let names = [1, 2, 3].map(|place| world.environment(0, Named::Own, place));
    for (name, count) in names.into_iter().zip([1, 2, 5]) {
        for _ in 0..count {
            let _ = slice(&mut world, name);
        }
        let run = world.call(0, Call::Run(Named::Name(name)));
        assert_eq!(run.error(), None);
    }
    let mut turns = [0; 3];
    let (mut entered, mut ran) = (0, [0; 3]);
    for _ in 0..80 {
        world.dispatch(1);
        let by = world.on[1].expect("somebody runs");
        let which = names.iter().position(|name| *name == by.name);
        let which = which.expect("it is one of them");
        turns[which] += 1;
        entered += 1;
        let end = world.domains.slices.turn(1).expect("a turn").end;
        ran[which] += end - world.now;
        world.now = end;
        world.interrupt(1);
    }
    assert_eq!(turns, [10, 20, 50]);
    assert_eq!(ran, [1000, 2000, 5000]);
    assert_eq!(entered, 80);
    assert_eq!(world.check(), Ok(()));
}

/// What comes late is paid for, to the tick.
#[test]
fn an_excess_is_taken_from_the_next_turn() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let names = [1, 2].map(|place| world.environment(0, Named::Own, place));
    for name in names {
        assert_eq!(world.run(0, Named::Name(name), 1).error(), None);
    }
    world.dispatch(1);
    world.now += 104;
    world.interrupt(1);
    assert_eq!(debt(&world, names[0]), 4);
    world.dispatch(1);
    world.now += 100;
    world.interrupt(1);
    world.dispatch(1);
    assert_eq!(world.on[1].map(|by| by.name), Some(names[0]));
    assert_eq!(debt(&world, names[0]), 0);
    let turn = world.domains.slices.turn(1).expect("a turn");
    assert_eq!(turn.end - turn.began, 96);
    assert_eq!(world.check(), Ok(()));
}

#[test]
fn who_owes_too_much_is_not_run() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let names = [1, 2].map(|place| world.environment(0, Named::Own, place));
    for name in names {
        assert_eq!(world.run(0, Named::Name(name), 1).error(), None);
    }
    world.dispatch(1);
    world.now += 100 + 250;
    world.interrupt(1);
    let word = world.domains.life(names[0].index);
    assert!(word.has(LifeWord::DEBT), "{word:?}");
    assert_eq!(world.check(), Ok(()));
    let reply = world.call(0, Call::Yield(Named::Name(names[0])));
    assert_eq!(reply.error(), Some(Error::NotReady));
    // Two turns go by for its debt, the third is short.
    let mut order = Vec::new();
    for _ in 0..4 {
        world.dispatch(1);
        let by = world.on[1].expect("somebody runs");
        let turn = world.domains.slices.turn(1).expect("a turn");
        order.push((by.name == names[0], turn.end - turn.began));
        world.now = turn.end;
        world.interrupt(1);
    }
    assert_eq!(
        order,
        [(false, 100), (false, 100), (false, 100), (true, 50)]
    );
    assert_eq!(world.check(), Ok(()));
}

/// Without slices, time pays: it goes by for others.
#[test]
fn a_debt_without_slices_decays() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let [one, other] = [1, 2].map(|place| world.environment(0, Named::Own, place));
    assert_eq!(world.run(0, Named::Name(one), 1).error(), None);
    assert_eq!(world.run(0, Named::Name(other), 1).error(), None);
    world.dispatch(1);
    world.now += 100 + 150;
    world.interrupt(1);
    let own = world
        .domains
        .slices
        .name_at(exopi_abi::slice::Place::new(1, 0).expect("a place"));
    let free = Call::SliceFree(Named::Name(own.expect("a slice")));
    assert_eq!(world.call(0, free).error(), None);
    let to = Call::Yield(Named::Name(one));
    assert_eq!(world.call(0, to).error(), Some(Error::NotReady));
    world.now += 49;
    assert_eq!(world.call(0, to).error(), Some(Error::NotReady));
    assert_eq!(debt(&world, one), 101);
    world.now += 1;
    assert_eq!(world.check(), Ok(()));
    assert_eq!(world.call(0, to).error(), None);
    world.dispatch(0);
    assert_eq!(world.on[0].map(|by| by.name), Some(one));
    assert_eq!(world.check(), Ok(()));
}

/// One with more slices than are freed at once is there until they are.
#[test]
fn the_end_of_one_with_many_slices_takes_steps() {
    for own in [false, true] {
        let mut storage = Storage::new(64, 3, 4, 6);
        let mut world = World::new(&mut storage, 2);
        let [name, other] = [1, 2].map(|place| world.environment(0, Named::Own, place));
        // Others' are in between.
        for number in 0..128 {
            let bound = if number % 3 == 0 { other } else { name };
            let _ = slice(&mut world, bound);
        }
        let before = world.counters();
        assert_eq!(world.call(0, Call::Run(Named::Name(name))).error(), None);
        if own {
            world.dispatch(1);
            assert_eq!(world.call(1, Call::Destroy(Named::Own)).error(), None);
        } else {
            let reply = world.call(0, Call::Destroy(Named::Name(name)));
            assert_eq!(done(reply), Ok(false));
        }
        let word = world.domains.life(name.index);
        assert_eq!((word.state(), word.core()), (EnvironmentState::Dying, None));
        assert!(world.domains.is_ending());
        assert_eq!(world.check(), Ok(()));
        let reply = world.call(0, Call::SliceAlloc(0, 5, Named::Name(name)));
        assert_eq!(reply.error(), Some(Error::Stale));
        world.settle();
        assert!(world.domains.life(name.index).is_free());
        assert_eq!(slices(&world, 0), 1 + 43);
        let left = world.domains.slice_records();
        assert!(left.iter().all(|one| one.environment != name.word()));
        assert_eq!(left.len(), MAX_SLICES / 2);
        assert_ne!(world.counters(), before);
        assert_eq!(world.check(), Ok(()));
    }
}

/// An account's slices end with it, whomever they are bound to.
#[test]
fn slices_die_with_their_account() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let before = world.counters();
    let account = world.account(0, [0; 4]);
    let bind = Call::AccountBind(Named::Name(account));
    assert_eq!(world.call(0, bind).error(), None);
    let me = Cap::of(Kind::Environment, world.domains.first());
    for position in [3, 4, 5, 6, 50, 51, 90, 127] {
        let reply = world.call(0, Call::SliceAlloc(0, position, Named::Cap(me)));
        assert_eq!(reply.error(), None);
    }
    let full = world.call(0, Call::SliceAlloc(0, 9, Named::Own));
    assert_eq!(full.error(), Some(Error::OverAllowance));
    assert_eq!(world.call(0, Call::AccountBind(Named::Own)).error(), None);
    let destroy = Call::AccountDestroy(Named::Name(account));
    let _ = world.call(0, destroy);
    world.settle();
    assert_eq!(world.counters(), before);
    assert_eq!(world.check(), Ok(()));
}

/// One that becomes ready on a core that runs another one alone has its timer set; likewise one that idles.
#[test]
fn cores_are_told_of_who_could_run() {
    let mut storage = Storage::new(64, 3, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let [one, other] = [1, 2].map(|place| world.environment(0, Named::Own, place));
    assert_eq!(world.run(0, Named::Name(one), 1).error(), None);
    assert_eq!(world.told, 0b10);
    world.dispatch(1);
    let by = world.on[1].expect("it runs");
    assert_eq!(world.domains.deadline(&by, world.now), None);
    let own = slice(&mut world, other);
    assert_eq!(world.told, 0, "nobody is ready yet");
    assert_eq!(world.call(0, Call::Run(Named::Name(other))).error(), None);
    assert_eq!(world.told, 0b10);
    world.interrupt(1);
    assert_eq!(world.domains.deadline(&by, world.now), Some(100));
    // It is told once.
    let more = slice(&mut world, other);
    assert_eq!(world.told, 0);
    for name in [own, more] {
        let free = Call::SliceFree(Named::Name(name));
        assert_eq!(world.call(0, free).error(), None);
    }
    assert_eq!(world.domains.deadline(&by, world.now), None);
    let _ = slice(&mut world, other);
    assert_eq!(world.told, 0b10, "a slice came for one that is ready");
    assert_eq!(world.check(), Ok(()));
}
