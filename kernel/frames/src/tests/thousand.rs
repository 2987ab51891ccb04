//! A thousand filters: each has its own frames, in any order of coming and going.

use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{Operation, Width};

use super::world::{Room, WIRE, World, asked, by, octet, program};
use crate::{By, Claim, Holding, MAX_KEY_ATOMS, Step};

fn tuple(number: u64) -> Operation {
    Operation::Equal {
        offset: 26,
        width: Width::Bits32,
        mask: 0xffff_ffff,
        value: (number * 0x0101_0107) & 0xffff_ffff,
    }
}

fn frame(number: u64) -> Vec<u8> {
    let Operation::Equal { value, .. } = tuple(number) else {
        unreachable!()
    };
    let mut frame = std::vec![0; 64];
    frame[26..30].copy_from_slice(&(value as u32).to_be_bytes());
    frame
}

fn insert(
    world: &mut World<'_>,
    by: &By,
    number: u64,
    ring: ObjectName,
) -> Result<ObjectName, Error> {
    let root = Claim::Owned(world.attached[WIRE].filter);
    program(&[tuple(number)], |own| {
        world
            .frames
            .dpf_insert(by, root, 0, own, Some(ring), &mut world.book)
    })
}

#[test]
fn a_thousand_filters_have_their_own_frames() {
    const COUNT: u64 = if cfg!(miri) { 30 } else { 1000 };
    let mut room = Room::new(COUNT as usize + 1);
    room.more_bindings(COUNT as usize + 1);
    let mut world = room.world();
    let root = by(0, 0);
    let list = asked(&[tuple(0)]);
    let key = exopi_abi::net::Program::new(&list).unwrap();
    let claim = Claim::Owned(world.attached[WIRE].filter);
    let split = world
        .frames
        .dpf_split(&root, claim, key, &mut world.book, &mut world.arena);
    assert_eq!(split, Ok(0));
    let ring = world.ring(&root, 2);
    let names: Vec<ObjectName> = (0..COUNT)
        .map(|number| insert(&mut world, &root, number, ring).unwrap())
        .collect();
    world.audit();
    assert_eq!(
        insert(&mut world, &root, COUNT, ring),
        Err(Error::Exhausted)
    );
    let mut cursor = 0;
    let mut all = |world: &mut World<'_>, there: &dyn Fn(u64) -> bool| {
        for number in 0..COUNT {
            let delivered = world.receive(&frame(number));
            assert_eq!(delivered.copies, u8::from(there(number)));
            let got = world.drain(ring, &mut cursor);
            if there(number) {
                assert_eq!(got[0].0.filter, names[number as usize].word());
            }
        }
    };
    all(&mut world, &|_| true);
    for number in 0..COUNT {
        assert!(matches!(
            insert(&mut world, &root, number, ring),
            Err(Error::Overlap | Error::Exhausted)
        ));
        if number % 3 == 1 {
            let name = Claim::Owned(names[number as usize]);
            let deleted = world.frames.dpf_delete(&root, name, false, &mut world.book);
            assert_eq!(deleted, Ok(Step::Done));
        }
    }
    world.audit();
    all(&mut world, &|number| number % 3 != 1);
    assert_eq!(world.frames.interfaces()[WIRE].unclaimed, COUNT / 3);
}

/// Keys are made room for by those that nobody declares any more; how many atoms classification looks at is bounded.
#[test]
fn keys_are_bounded_and_come_back() {
    let mut room = Room::new(40);
    let mut world = room.world();
    let root = by(0, 0);
    let wire = Claim::Owned(world.attached[WIRE].filter);
    let split = |world: &mut World<'_>, claim: Claim<'_>, fields: &[Operation]| {
        let list = asked(fields);
        let key = exopi_abi::net::Program::new(&list).unwrap();
        world
            .frames
            .dpf_split(&root, claim, key, &mut world.book, &mut world.arena)
    };
    assert_eq!(split(&mut world, wire, &[tuple(0)]), Ok(0));
    let ring = world.ring(&root, 1);
    // Far more keys than there is room for, one after the other.
    for number in 0..200u16 {
        let name = insert(&mut world, &root, 1, ring).unwrap();
        for more in 0..4 {
            let fields = [octet(number, 0), octet(1000 + more, 0)];
            assert_eq!(
                split(&mut world, Claim::Owned(name), &fields),
                Ok(more.into())
            );
        }
        let fifth = split(&mut world, Claim::Owned(name), &[octet(7, 0)]);
        assert_eq!(fifth, Err(Error::LimitReached));
        assert_eq!(world.book.used(root.owner, Holding::Key), 5);
        let deleted = world
            .frames
            .dpf_delete(&root, Claim::Owned(name), false, &mut world.book);
        assert_eq!(deleted, Ok(Step::Done));
        world.audit();
    }
    let name = Claim::Owned(insert(&mut world, &root, 1, ring).unwrap());
    let long: Vec<Operation> = (0..MAX_KEY_ATOMS as u16).map(|at| octet(at, 0)).collect();
    assert_eq!(split(&mut world, name, &long[..40]), Ok(0));
    assert_eq!(
        split(&mut world, name, &long[..25]),
        Err(Error::LimitReached)
    );
    assert_eq!(split(&mut world, name, &long[..24]), Ok(1));
    // A key asks, and gives no values.
    let list = [octet(3, 1).encode()];
    let valued = exopi_abi::net::Program::new(&list).unwrap();
    let refused = world
        .frames
        .dpf_split(&root, wire, valued, &mut world.book, &mut world.arena);
    assert_eq!(refused, Err(Error::Malformed));
    world.audit();
}
