//! Owners that die, step by step, in full traffic: all that is theirs goes, and nobody else notices.

use std::vec;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::capability::{FilterRights, Kind, SendRights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{Completion, FilterState};

use super::sending::{describe, send, taken};
use super::world::{Room, WIRE, World, asked, by, octet, program};
use crate::{By, Claim, Holding, Seized, Step, Went};

/// What one program has: filters by the octets 12 and 13, rings, a send capability.
struct Program {
    by: By,
    filters: Vec<ObjectName>,
    rings: Vec<ObjectName>,
    cursors: Vec<usize>,
}

/// Splits the root by octet 12 and gives a program the right to values of it; those it splits by octet 13.
fn start(world: &mut World<'_>, who: By, value: u64, filters: u64, rings: usize) -> Program {
    let root = by(0, 0);
    let wire = world.attached[WIRE];
    let split = |world: &mut World<'_>, by: &By, claim: Claim<'_>, offset| {
        let list = asked(&[octet(offset, 0)]);
        let key = exopi_abi::net::Program::new(&list).unwrap();
        let made = world
            .frames
            .dpf_split(by, claim, key, &mut world.book, &mut world.arena);
        made.unwrap()
    };
    if world.frames.filters(WIRE)[0].keys == 0 {
        split(world, &root, Claim::Owned(wire.filter), 12);
    }
    let rights = FilterRights::REFINE.into();
    let refine = world
        .verified(&root, Kind::Filter, 1 << 16, rights)
        .unwrap();
    let rings: Vec<ObjectName> = (0..rings).map(|_| world.ring(&who, 2)).collect();
    let insert = |world: &mut World<'_>, claim: Claim<'_>, own, ring| {
        let made = program(&[own], |own| {
            world
                .frames
                .dpf_insert(&who, claim, 0, own, ring, &mut world.book)
        });
        made.unwrap()
    };
    let top = insert(world, Claim::Verified(&refine), octet(12, value), None);
    split(world, &who, Claim::Owned(top), 13);
    let mut all = vec![top];
    for number in 1..filters {
        let ring = rings[number as usize % rings.len()];
        all.push(insert(
            world,
            Claim::Owned(top),
            octet(13, number),
            Some(ring),
        ));
    }
    Program {
        by: who,
        cursors: vec![0; rings.len()],
        filters: all,
        rings,
    }
}

fn frame(first: u64, second: u64) -> Vec<u8> {
    let mut frame = vec![0; 60];
    (frame[12], frame[13]) = (first as u8, second as u8);
    frame
}

/// Frames for every filter of a program come; gives how many it got.
fn traffic(world: &mut World<'_>, program: &mut Program, value: u64) -> usize {
    let mut got = 0;
    for number in 1..program.filters.len() as u64 {
        world.receive(&frame(value, number));
        for (ring, cursor) in program.rings.iter().zip(&mut program.cursors) {
            if world
                .frames
                .ring(ring.index)
                .is_some_and(|record| record.epoch == ring.epoch.bits())
            {
                got += world.drain(*ring, cursor).len();
            }
        }
    }
    got
}

/// Two programs with a hundred filters and ten rings each; one ends by `end`, which is asked for steps.
fn one_ends(mut end: impl FnMut(&mut World<'_>, &By) -> Step) {
    let mut room = Room::new(220);
    let mut world = room.world();
    let mut dying = start(&mut world, by(1, 1), 1, 100, 10);
    let mut staying = start(&mut world, by(2, 2), 2, 100, 10);
    assert_eq!(traffic(&mut world, &mut dying, 1), 99);
    assert_eq!(traffic(&mut world, &mut staying, 2), 99);
    let before = world.book.used(staying.by.owner, Holding::Reference);
    let mut last = 99;
    let mut steps = 0;
    loop {
        let step = end(&mut world, &dying.by);
        steps += 1;
        world.audit();
        // What has gone does not come back, and who stays has everything.
        let got = traffic(&mut world, &mut dying, 1);
        assert!(got <= last, "{got} after {last}");
        last = got;
        assert_eq!(traffic(&mut world, &mut staying, 2), 99);
        if step == Step::Done {
            break;
        }
        assert!(steps < 1000);
    }
    assert!(steps > 5, "in steps");
    assert_eq!(last, 0);
    assert!(world.book.is_empty(dying.by.owner));
    assert_eq!(world.book.used(staying.by.owner, Holding::Filter), 100);
    assert_eq!(
        world.book.used(staying.by.owner, Holding::Reference),
        before
    );
    assert_eq!(world.frames.interfaces()[WIRE].filters, 101);
    let no_room = world.frames.interfaces()[WIRE].no_room;
    assert_eq!(no_room, 0);
    // All there was can be had again.
    let mut again = start(&mut world, by(3, 3), 1, 100, 10);
    assert_eq!(traffic(&mut world, &mut again, 1), 99);
}

#[test]
fn an_environment_dies_in_full_traffic() {
    let mut begun = false;
    one_ends(|world, dying| {
        if !core::mem::replace(&mut begun, true) {
            world
                .frames
                .environment_ended(dying.name.index, &mut world.book);
        }
        let lives = |name: ObjectName| name != dying.name;
        if world
            .frames
            .sweep(|_, name| lives(name), |_, _| true, &mut world.book)
        {
            Step::More
        } else {
            Step::Done
        }
    });
}

#[test]
fn an_account_ends_in_full_traffic() {
    let mut place = 0;
    one_ends(|world, dying| {
        world
            .frames
            .reclaim(dying.owner, &mut place, &mut world.book)
    });
}

#[test]
fn an_account_ends_in_the_background() {
    let mut begun = false;
    one_ends(|world, dying| {
        if !core::mem::replace(&mut begun, true) {
            world.frames.account_closed();
        }
        let pays = |owner| owner != dying.owner;
        let more = world
            .frames
            .sweep(|_, _| true, |_, owner| pays(owner), &mut world.book);
        if more { Step::More } else { Step::Done }
    });
}

#[test]
fn an_account_that_gives_nothing_is_taken_from() {
    let mut room = Room::new(220);
    let mut world = room.world();
    let mut program = start(&mut world, by(1, 1), 1, 100, 10);
    let owner = program.by.owner;
    let take = |world: &mut World<'_>, holding, count| {
        let (mut place, mut taken) = (0, vec![]);
        while taken.len() < count {
            match world
                .frames
                .seize(owner, holding, &mut place, &mut world.book)
            {
                Seized::One(index) => taken.push(index),
                Seized::Later => {}
                Seized::Nothing => break,
            }
            world.audit();
        }
        taken
    };
    let taken = take(&mut world, Holding::Ring, 3);
    let first: Vec<u16> = program
        .rings
        .iter()
        .take(3)
        .map(|ring| ring.index)
        .collect();
    assert_eq!(taken, first);
    assert_eq!(world.book.used(program.by.owner, Holding::Ring), 7);
    assert_eq!(
        world.book.used(program.by.owner, Holding::Filter),
        100,
        "filters stay: their maker lives"
    );
    let taken = take(&mut world, Holding::Filter, 200);
    // The first one takes all below it along.
    assert_eq!(taken, [program.filters[0].index]);
    assert_eq!(world.book.used(program.by.owner, Holding::Filter), 0);
    assert_eq!(traffic(&mut world, &mut program, 1), 0);
    assert_eq!(take(&mut world, Holding::Send, 1), []);
}

#[test]
fn frames_in_a_device_keep_their_pages_until_it_is_done() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let root = by(0, 0);
    let sender = by(1, 1);
    let right = world
        .verified(&root, Kind::Send, 0, SendRights::SEND.into())
        .unwrap();
    let right = Claim::Verified(&right);
    let page = world.page(sender.owner);
    let done = Completion::Word { page, index: 0 };
    for _ in 0..5 {
        let words = describe(&mut world, &sender, &[7; 1000], &[200, 200]);
        assert_eq!(send(&mut world, &sender, right, &words, done), Ok(3));
    }
    let (token, _) = taken(&mut world, WIRE).unwrap();
    world
        .frames
        .went(token, Went::Kept, 0, &mut world.ram, &mut world.book);
    world
        .frames
        .environment_ended(sender.name.index, &mut world.book);
    world.audit();
    assert_eq!(
        world.book.used(sender.owner, Holding::Frame),
        1,
        "what waited was taken back"
    );
    assert!(taken(&mut world, WIRE).is_none());
    let mut place = 0;
    let step = (0..50).map(|_| {
        world
            .frames
            .reclaim(sender.owner, &mut place, &mut world.book)
    });
    assert_eq!(step.last(), Some(Step::Blocked));
    world.sweep(|name| name != sender.name);
    assert!(
        !world.book.is_empty(sender.owner),
        "the device reads its pages"
    );
    // Another one at the same place is not mistaken for it.
    let mut next = sender;
    next.name.epoch = exopi_abi::capability::Epoch::from_low_bits(4711);
    let words = describe(&mut world, &next, &[8; 1000], &[]);
    assert_eq!(
        send(&mut world, &next, right, &words, Completion::Nowhere),
        Ok(1)
    );
    world
        .frames
        .completed(token, &mut world.ram, &mut world.book);
    world.audit();
    let (token, frame) = taken(&mut world, WIRE).unwrap();
    assert_eq!(frame, [8; 1000]);
    world
        .frames
        .went(token, Went::Copied, 0, &mut world.ram, &mut world.book);
    while world
        .frames
        .reclaim(sender.owner, &mut place, &mut world.book)
        != Step::Done
    {}
    assert!(world.book.is_empty(sender.owner));
    world.audit();
}

#[test]
fn a_shared_filter_lives_as_long_as_one_reference() {
    let mut room = Room::new(16);
    let mut world = room.world();
    let root = by(0, 0);
    // Charged to an account that stays, made by an environment that does not.
    let maker = by(1, 0);
    let sharer = by(2, 2);
    let made = start(&mut world, maker, 1, 2, 1);
    let filter = made.filters[1];
    let rights = (FilterRights::SHARE | FilterRights::RECEIVE).into();
    let share = world
        .verified(&root, Kind::Filter, filter.index.into(), rights)
        .unwrap();
    let ring = world.ring(&sharer, 1);
    assert_eq!(
        world
            .frames
            .dpf_ref(&sharer, Claim::Verified(&share), ring, &mut world.book),
        Ok(())
    );
    assert_eq!(world.receive(&frame(1, 1)).copies, 2);
    world
        .frames
        .environment_ended(maker.name.index, &mut world.book);
    world.sweep(|name| name != maker.name);
    // The filter above it had no ring, and its maker is gone; so all below it went.
    assert_eq!(world.frames.filter_name(filter.index), None);
    assert_eq!(world.receive(&frame(1, 1)).copies, 0);
    world.audit();

    let mut room = Room::new(16);
    let mut world = room.world();
    let made = start(&mut world, root, 1, 1, 1);
    let refine = Claim::Owned(made.filters[0]);
    let own = world.ring(&maker, 1);
    let insert = program(&[octet(13, 5)], |key| {
        world
            .frames
            .dpf_insert(&maker, refine, 0, key, Some(own), &mut world.book)
    });
    let filter = insert.unwrap();
    let share = world
        .verified(&root, Kind::Filter, filter.index.into(), rights)
        .unwrap();
    let ring = world.ring(&sharer, 1);
    assert_eq!(
        world
            .frames
            .dpf_ref(&sharer, Claim::Verified(&share), ring, &mut world.book),
        Ok(())
    );
    world
        .frames
        .environment_ended(maker.name.index, &mut world.book);
    world.sweep(|name| name != maker.name);
    world.audit();
    assert_eq!(
        world.receive(&frame(1, 5)).copies,
        1,
        "one reference is left"
    );
    assert_eq!(
        world
            .frames
            .dpf_unref(&sharer, filter, ring, &mut world.book),
        Ok(())
    );
    world.sweep(|name| name != maker.name);
    assert_eq!(world.frames.filter_name(filter.index), None);
    let again = world
        .frames
        .dpf_ref(&sharer, Claim::Verified(&share), ring, &mut world.book);
    assert_eq!(again, Err(Error::Stale));
    world.audit();
}

#[test]
fn kept_descendants_go_on_and_the_last_takes_the_retired_along() {
    let mut room = Room::new(32);
    let mut world = room.world();
    let mut program = start(&mut world, by(1, 1), 1, 20, 2);
    let top = program.filters[0];
    let deleted = world
        .frames
        .dpf_delete(&program.by, Claim::Owned(top), true, &mut world.book);
    assert_eq!(deleted, Ok(Step::Done));
    world.audit();
    assert_eq!(traffic(&mut world, &mut program, 1), 19);
    let state = world.frames.filters(WIRE)[usize::from(top.index)].state;
    assert_eq!(state, FilterState::Retired);
    for filter in program.filters.iter().skip(1) {
        let claim = Claim::Owned(*filter);
        let deleted = world
            .frames
            .dpf_delete(&program.by, claim, false, &mut world.book);
        assert_eq!(deleted, Ok(Step::Done));
        world.audit();
    }
    assert_eq!(world.book.used(program.by.owner, Holding::Filter), 0);
    assert_eq!(world.frames.interfaces()[WIRE].filters, 1);
}
