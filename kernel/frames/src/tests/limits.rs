//! Bounds, and what one call must not leave to the next.

use exopi_abi::Error;
use exopi_abi::capability::{Epoch, FilterRights, Kind, SendRights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{Completion, Program};

use super::sending::{describe, send, taken};
use super::world::{Room, WIRE, World, asked, by, octet, program};
use crate::{By, Claim, KEY_SHIFT, MAX_DEPTH, Step};

fn split(world: &mut World<'_>, by: &By, filter: ObjectName) -> Result<usize, Error> {
    let list = asked(&[octet(12, 0)]);
    let key = Program::new(&list).unwrap();
    let claim = Claim::Owned(filter);
    world
        .frames
        .dpf_split(by, claim, key, &mut world.book, &mut world.arena)
}

fn insert(
    world: &mut World<'_>,
    by: &By,
    parent: Claim<'_>,
    key: usize,
    value: u64,
    ring: Option<ObjectName>,
) -> Result<ObjectName, Error> {
    program(&[octet(12, value)], |own| {
        world
            .frames
            .dpf_insert(by, parent, key, own, ring, &mut world.book)
    })
}

#[test]
fn lines_of_filters_are_short() {
    let mut room = Room::new(16);
    let mut world = room.world();
    let root = by(0, 0);
    let mut at = world.attached[WIRE].filter;
    for depth in 0..=MAX_DEPTH {
        split(&mut world, &root, at).unwrap();
        let made = insert(&mut world, &root, Claim::Owned(at), 0, 1, None);
        match made {
            Ok(name) => at = name,
            Err(error) => assert_eq!((error, depth), (Error::LimitReached, MAX_DEPTH)),
        }
    }
    assert_eq!(
        world.frames.interfaces()[WIRE].filters,
        1 + u32::from(MAX_DEPTH)
    );
    world.audit();
}

#[test]
fn a_capability_for_one_key_is_for_that_alone() {
    let mut room = Room::new(16);
    let mut world = room.world();
    let (root, other) = (by(0, 0), by(1, 1));
    let filter = world.attached[WIRE].filter;
    split(&mut world, &root, filter).unwrap();
    split(&mut world, &root, filter).unwrap();
    let index = |key: u64| u64::from(filter.index) | key << KEY_SHIFT;
    let mint = |world: &World<'_>, index, rights: FilterRights| {
        let body = world
            .frames
            .cap_mint(&root, Kind::Filter, index, rights.into());
        body.map(|_| ())
    };
    assert_eq!(
        mint(&world, index(2), FilterRights::all()),
        Err(Error::Malformed)
    );
    assert_eq!(
        mint(&world, index(2), FilterRights::RECEIVE),
        Err(Error::Malformed)
    );
    assert_eq!(
        mint(&world, index(3), FilterRights::REFINE),
        Err(Error::OutOfRange)
    );
    assert_eq!(
        mint(&world, index(5), FilterRights::REFINE),
        Err(Error::OutOfRange)
    );
    assert_eq!(
        mint(&world, 1 << 32, FilterRights::REFINE),
        Err(Error::OutOfRange)
    );
    assert_eq!(
        mint(&world, index(2) + 1, FilterRights::REFINE),
        Err(Error::NotYours)
    );
    let rights = FilterRights::REFINE.into();
    let second = world
        .verified(&root, Kind::Filter, index(2), rights)
        .unwrap();
    let second = Claim::Verified(&second);
    assert_eq!(
        insert(&mut world, &other, second, 0, 1, None),
        Err(Error::MissingRight)
    );
    assert!(insert(&mut world, &other, second, 1, 1, None).is_ok());
    world.audit();
}

/// A ring ends between two steps of the end of a filter that it was bound to.
#[test]
fn ends_in_each_others_midst() {
    let mut room = Room::new(64);
    let mut world = room.world();
    let root = by(0, 0);
    let wire = world.attached[WIRE].filter;
    split(&mut world, &root, wire).unwrap();
    let ring = world.ring(&root, 1);
    let top = insert(&mut world, &root, Claim::Owned(wire), 0, 1, Some(ring)).unwrap();
    split(&mut world, &root, top).unwrap();
    for value in 0..20 {
        insert(&mut world, &root, Claim::Owned(top), 0, value, Some(ring)).unwrap();
    }
    let delete = |world: &mut World<'_>| {
        let claim = Claim::Owned(top);
        world
            .frames
            .dpf_delete(&root, claim, false, &mut world.book)
    };
    assert_eq!(delete(&mut world), Ok(Step::More));
    world.audit();
    let kept = world
        .frames
        .dpf_delete(&root, Claim::Owned(top), true, &mut world.book);
    assert_eq!(kept, Err(Error::Stale));
    assert_eq!(
        insert(&mut world, &root, Claim::Owned(top), 0, 30, None),
        Err(Error::Stale)
    );
    let ended = world.frames.pktring_delring(&root, ring, &mut world.book);
    assert_eq!(ended, Ok(Step::Done));
    world.audit();
    let next = world.ring(&root, 1);
    let bound = world
        .frames
        .dpf_pktring(&root, Claim::Owned(wire), next, &mut world.book);
    assert_eq!(bound, Ok(()));
    world.audit();
    assert_eq!(delete(&mut world), Ok(Step::More));
    assert_eq!(delete(&mut world), Ok(Step::Done));
    world.audit();
    assert_eq!(world.receive(&[0; 60]).copies, 1);
}

/// Another environment sends from a dead one's place before anybody has said that it is dead.
#[test]
fn a_dead_ones_frames_are_nobodys_turn() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let (root, dead) = (by(0, 0), by(1, 1));
    let mut next = dead;
    next.name.epoch = Epoch::from_low_bits(9999);
    let right = world
        .verified(&root, Kind::Send, 0, SendRights::SEND.into())
        .unwrap();
    let right = Claim::Verified(&right);
    for (who, octet) in [(dead, 1), (dead, 2), (next, 3)] {
        let words = describe(&mut world, &who, &[octet; 300], &[]);
        assert_eq!(
            send(&mut world, &who, right, &words, Completion::Nowhere),
            Ok(1)
        );
        world.audit();
    }
    let (_, frame) = taken(&mut world, WIRE).unwrap();
    assert_eq!(frame, [3; 300]);
    assert_eq!(world.frames.in_flight(WIRE, dead.name.index), 1);
    assert_eq!(world.frames.interfaces()[WIRE].lost, 2);
}
