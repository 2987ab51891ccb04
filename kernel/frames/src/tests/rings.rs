//! Rings: what they hold, and owners that write into them whatever they like.

use std::vec;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::net::{EntryFlags, KERNEL, MAX_RING_PAGES, NO_NOTICE, PROGRAM};
use proptest::prelude::*;

use super::world::{Room, WIRE, by, no_flags};
use crate::{Claim, Memory};

fn frame(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|at| (at as u8).wrapping_mul(31) ^ seed)
        .collect()
}

#[test]
fn frames_come_as_they_were_until_the_ring_is_full() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let root = by(0, 0);
    let ring = world.ring(&root, 2);
    let filter = world.attached[WIRE].filter;
    let bound = world
        .frames
        .dpf_pktring(&root, Claim::Owned(filter), ring, &mut world.book);
    assert_eq!(bound, Ok(()));
    let mut cursor = 0;
    for round in 0..50u8 {
        let lengths = [14, 60, 64, 1000, 1513, 1514];
        let sent: Vec<Vec<u8>> = lengths.iter().map(|&length| frame(length, round)).collect();
        for (number, frame) in sent.iter().enumerate() {
            let delivered = world.receive(frame);
            // Two pages of two entries each.
            assert_eq!(
                (delivered.copies, delivered.full),
                (u8::from(number < 4), u8::from(number >= 4))
            );
        }
        let got = world.drain(ring, &mut cursor);
        assert_eq!(got.len(), 4);
        for ((header, got), sent) in got.iter().zip(&sent) {
            assert_eq!(got, sent);
            assert_eq!(usize::from(header.length), sent.len());
            assert_eq!(
                (header.time, header.flags, header.interface),
                (77, no_flags(), 0)
            );
            assert_eq!(header.filter, filter.word());
            assert_eq!(header.lost, u32::from(round) * 2);
        }
    }
    let record = world.frames.rings()[usize::from(ring.index)];
    assert_eq!((record.frames, record.lost), (200, 100));
    let record = world.frames.interfaces()[WIRE];
    assert_eq!(
        (
            record.received,
            record.copies,
            record.no_room,
            record.unclaimed
        ),
        (300, 200, 100, 0)
    );
    for length in [0, 13, 1515, 9000] {
        assert_eq!(world.receive(&frame(length, 0)).copies, 0);
    }
    assert_eq!(world.frames.interfaces()[WIRE].misshapen, 4);
    world.audit();
}

#[test]
fn small_entries_hold_the_begin_of_a_frame() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let root = by(0, 0);
    let pages = [world.page(root.owner)];
    let ring = world
        .frames
        .pktring_setring(&root, 7, &pages, NO_NOTICE, &mut world.book)
        .unwrap();
    let filter = Claim::Owned(world.attached[WIRE].filter);
    world.frames.nettap(&root, filter, ring).unwrap();
    let sent = frame(500, 3);
    assert_eq!(world.receive(&sent).copies, 1);
    let got = world.drain(ring, &mut 0);
    assert_eq!((got[0].0.length, got[0].0.stored), (500, 96));
    assert_eq!(got[0].1, sent[..96]);
    assert_eq!((got[0].0.flags, got[0].0.filter), (EntryFlags::TAP, 0));
    world.audit();
}

#[test]
fn owners_are_told_of_frames_that_have_room_as_they_asked() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let root = by(0, 0);
    let filter = world.attached[WIRE].filter;
    let mut ring = |notice| {
        let pages = [world.page(root.owner)];
        let made = world
            .frames
            .pktring_setring(&root, 11, &pages, notice, &mut world.book)?;
        world
            .frames
            .dpf_ref(&root, Claim::Owned(filter), made, &mut world.book)?;
        Ok(made)
    };
    ring(NO_NOTICE).unwrap();
    for notice in [0, 31] {
        ring(notice).unwrap();
    }
    assert_eq!(ring(NO_NOTICE + 1), Err(Error::Malformed));
    assert_eq!(ring(u64::MAX), Err(Error::Malformed));
    // Two entries each, and then there is nothing to be told of.
    for told in [2, 4, 4] {
        world.receive(&frame(64, 1));
        assert_eq!(world.ram.1.len(), told);
    }
    assert_eq!(world.ram.1[..2], [(root.name, 0), (root.name, 31)]);
    world.audit();
}

#[test]
fn rings_are_their_owners_and_change_as_these_say() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let (mine, theirs) = (by(1, 1), by(2, 2));
    let page = world.page(mine.owner);
    let other = world.page(theirs.owner);
    let frames = &mut world.frames;
    let book = &mut world.book;
    assert_eq!(
        frames.pktring_setring(&mine, 11, &[page, other], NO_NOTICE, book),
        Err(Error::NotYours)
    );
    assert_eq!(
        frames.pktring_setring(&mine, 5, &[page], NO_NOTICE, book),
        Err(Error::Malformed)
    );
    assert_eq!(
        frames.pktring_setring(&mine, 13, &[page], NO_NOTICE, book),
        Err(Error::Malformed)
    );
    assert_eq!(
        frames.pktring_setring(&mine, 11, &[], NO_NOTICE, book),
        Err(Error::BadCount)
    );
    assert_eq!(
        frames.pktring_setring(&mine, 11, &[page; 65], NO_NOTICE, book),
        Err(Error::BadCount)
    );
    let ring = frames
        .pktring_setring(&mine, 11, &[page], NO_NOTICE, book)
        .unwrap();
    assert_eq!(
        frames.pktring_modring(&theirs, ring, 0, other, book),
        Err(Error::NotYours)
    );
    assert_eq!(
        frames.pktring_modring(&mine, ring, 0, other, book),
        Err(Error::NotYours)
    );
    assert_eq!(
        frames.pktring_modring(&mine, ring, 2, page, book),
        Err(Error::OutOfRange)
    );
    assert_eq!(
        frames.pktring_modring(&mine, ring, 256, page, book),
        Err(Error::OutOfRange)
    );
    assert_eq!(
        frames.pktring_delring(&theirs, ring, book),
        Err(Error::NotYours)
    );
    for at in 1..MAX_RING_PAGES as u64 {
        assert_eq!(frames.pktring_modring(&mine, ring, at, page, book), Ok(()));
    }
    assert_eq!(
        frames.pktring_modring(&mine, ring, 64, page, book),
        Err(Error::LimitReached)
    );
    world.audit();
    let page = world.page(mine.owner);
    let frames = &mut world.frames;
    assert_eq!(
        frames.pktring_modring(&mine, ring, 63, page, &mut world.book),
        Ok(())
    );
    world.audit();
    let frames = &mut world.frames;
    assert_eq!(
        frames.pktring_delring(&mine, ring, &mut world.book),
        Ok(crate::Step::Done)
    );
    assert_eq!(
        frames.pktring_delring(&mine, ring, &mut world.book),
        Err(Error::NotYours)
    );
    world.audit();
    assert!(world.book.is_empty(mine.owner));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// An owner writes anything anywhere into its ring, between any two frames, and makes it longer meanwhile. Nothing but
    /// the ring's pages changes, another ring has every frame, and a state word that is the kernel's is where
    /// the next frame goes.
    #[test]
    fn a_hostile_owner_harms_itself_alone(
        logarithm in 6..=12u64,
        actions in proptest::collection::vec((0..6u8, any::<u16>(), any::<u64>()), 1..120),
    ) {
        let mut room = Room::new(8);
        let mut world = room.world();
        let (root, hostile) = (by(0, 0), by(1, 1));
        let honest = world.ring(&root, 4);
        let filter = world.attached[WIRE].filter;
        let claim = Claim::Owned(filter);
        prop_assert_eq!(world.frames.dpf_pktring(&root, claim, honest, &mut world.book), Ok(()));
        let mut pages = vec![world.page(hostile.owner), world.page(hostile.owner)];
        let ring = world.frames.pktring_setring(&hostile, logarithm, &pages, NO_NOTICE, &mut world.book).unwrap();
        let rights = exopi_abi::capability::FilterRights::SHARE.into();
        let share = world.verified(&root, exopi_abi::capability::Kind::Filter, filter.index.into(), rights).unwrap();
        prop_assert_eq!(world.frames.dpf_ref(&hostile, Claim::Verified(&share), ring, &mut world.book), Ok(()));
        let mut cursor = 0;
        for (action, place, value) in actions {
            let page = pages[usize::from(place) % pages.len()];
            let offset = usize::from(place) * 4 % 4096;
            match action {
                0 => world.ram.store(page, offset, value as u32),
                1 => world.ram.store(page, offset, KERNEL),
                2 => world.ram.write(page, 0, &value.to_le_bytes().repeat(512)),
                3 if pages.len() < 8 => {
                    let more = world.page(hostile.owner);
                    let at = pages.len() as u64;
                    prop_assert_eq!(world.frames.pktring_modring(&hostile, ring, at, more, &mut world.book), Ok(()));
                    pages.push(more);
                }
                _ => {
                    let record = world.frames.rings()[usize::from(ring.index)];
                    let shape = crate::rings::shape_of(&record).unwrap();
                    let (at, offset) = shape.place(record.next as usize);
                    let empty = world.ram.load(pages[at], offset) == KERNEL;
                    let sent = frame(14 + usize::from(place) % 1500, value as u8);
                    let delivered = world.receive(&sent);
                    prop_assert_eq!((delivered.copies, delivered.full), (1 + u8::from(empty), u8::from(!empty)));
                    if empty {
                        prop_assert_eq!(world.ram.load(pages[at], offset), PROGRAM);
                    }
                    let got = world.drain(honest, &mut cursor);
                    prop_assert_eq!(got.len(), 1);
                    prop_assert_eq!(&got[0].1, &sent);
                }
            }
            world.audit();
        }
    }
}
