//! What may be sent: random search with the plain meaning of atoms beside it.

use std::vec;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::PageNumber;
use exopi_abi::capability::{Kind, SendRights};
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{
    CHECKED, Completion, EntryFlags, InterfaceState, MAX_IN_FLIGHT, Operation, Piece, Width,
};
use exopi_filter::oracle;
use proptest::prelude::*;

use super::world::{LOOP, Room, WIRE, World, by, finish, octet, program};
use crate::{By, Claim, Holding, MAX_SEND_DEPTH, Memory, Went};

/// Puts a frame into new pages, cut into pieces of these lengths, and gives their words.
pub fn describe(world: &mut World<'_>, by: &By, frame: &[u8], cuts: &[usize]) -> Vec<u64> {
    let mut words = vec![];
    let mut rest = frame;
    for (number, cut) in cuts.iter().copied().chain([usize::MAX]).enumerate() {
        let (now, later) = rest.split_at(cut.min(rest.len()));
        if now.is_empty() {
            continue;
        }
        let page = world.page(by.owner);
        let offset = (number * 333) as u16;
        world.ram.write(page, offset.into(), now);
        let length = now.len() as u16;
        words.push(
            Piece {
                page,
                offset,
                length,
                last: later.is_empty(),
            }
            .into_word(),
        );
        rest = later;
    }
    words
}

/// Sends one frame.
pub fn send(
    world: &mut World<'_>,
    by: &By,
    claim: Claim<'_>,
    words: &[u64],
    done: Completion,
) -> Result<usize, Error> {
    world
        .frames
        .net_xmit(by, claim, words, done, &world.ram, &mut world.book)
}

/// What the device gets next, and its token.
pub fn taken(world: &mut World<'_>, interface: usize) -> Option<(u16, Vec<u8>)> {
    let out = world.frames.next(interface)?;
    let mut frame = out.head.to_vec();
    for piece in out.pieces {
        let mut part = vec![0; piece.length.into()];
        world.ram.read(piece.page, piece.offset.into(), &mut part);
        frame.extend(part);
    }
    assert_eq!(frame.len(), out.length);
    Some((out.token, frame))
}

fn went(world: &mut World<'_>, token: u16, went: Went) {
    world
        .frames
        .went(token, went, 5, &mut world.ram, &mut world.book);
}

fn operation() -> impl Strategy<Value = Operation> {
    let by = Operation::AdvanceBy {
        offset: 14,
        width: Width::Bits8,
        mask: 1,
        shift: 2,
    };
    prop_oneof![
        8 => (6..20u16, 0..2u64).prop_map(|(offset, value)| octet(offset, value)),
        1 => (120..130u16, 0..2u64).prop_map(|(offset, value)| octet(offset, value)),
        1 => Just(by),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(800) })]

    /// Programs narrow what they have, hand it on, and send what they like in any pieces: what goes out satisfies every
    /// atom from the first send capability on, and is what was sent.
    #[test]
    fn nothing_goes_out_that_a_send_capability_does_not_allow(
        levels in proptest::collection::vec((0..20usize, proptest::collection::vec(operation(), 1..3)), 1..20),
        tries in proptest::collection::vec((0..20usize, any::<u64>(), 14..200usize, proptest::collection::vec(1..80usize, 0..8)), 1..40),
    ) {
        let mut room = Room::new(8);
        let mut world = room.world();
        let mut known: Vec<(ObjectName, Vec<Operation>, By)> = vec![(world.attached[WIRE].send, vec![], by(0, 0))];
        for (at, operations) in levels {
            let (parent, chain, owner) = known[at % known.len()].clone();
            let mut own: Vec<Operation> = vec![];
            for operation in operations {
                own.push(operation);
                if exopi_abi::net::Program::new(&super::world::atoms(&own)).is_err() {
                    own.pop();
                }
            }
            // By a capability, in the hands of another environment.
            let who = by(1 + (known.len() % 4) as u16, 1 + (known.len() % 3) as u16);
            let rights = (SendRights::REFINE | SendRights::SEND).into();
            let capability = world.verified(&owner, Kind::Send, parent.index.into(), rights).unwrap();
            let made = program(&own, |own| world.frames.send_refine(&who, Claim::Verified(&capability), own, &mut world.book));
            match made {
                Ok(name) => known.push((name, [chain, own].concat(), who)),
                Err(Error::LimitReached) => prop_assert_eq!(world.frames.sends()[usize::from(parent.index)].depth, MAX_SEND_DEPTH),
                Err(error) => prop_assert!(matches!(error, Error::OutOfRange | Error::Malformed)),
            }
            let forged = program(&[octet(0, 0)], |own| world.frames.send_refine(&by(5, 5), Claim::Owned(parent), own, &mut world.book));
            prop_assert_eq!(forged, Err(Error::NotYours));
        }
        world.audit();
        for (at, mut seed, length, cuts) in tries {
            let (name, chain, owner) = known[at % known.len()].clone();
            let mut frame: Vec<u8> = (0..length).map(|_| {
                seed = seed.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (seed >> 63) as u8
            }).collect();
            // Half of them are made so that they fit, as far as they can.
            if seed & 1 == 0 {
                for operation in &chain {
                    if let Operation::Equal { offset, value, .. } = *operation
                        && let Some(octet) = frame.get_mut(usize::from(offset))
                    {
                        *octet = value as u8;
                    }
                }
            }
            let words = describe(&mut world, &owner, &frame, &cuts);
            let checked = &frame[..frame.len().min(CHECKED)];
            let allowed = oracle::matches(chain.iter().copied(), checked);
            let sent = send(&mut world, &owner, Claim::Owned(name), &words, Completion::Nowhere);
            if words.len() > 8 {
                prop_assert_eq!(sent, Err(Error::BadCount));
                continue;
            }
            prop_assert_eq!(sent, if allowed { Ok(words.len()) } else { Err(Error::MissingRight) });
            // It changes its mind: what was checked goes out as it was.
            for word in &words {
                let piece = Piece::from_word(*word).unwrap();
                let scribble = vec![0xee; piece.length.into()];
                world.ram.write(piece.page, piece.offset.into(), &scribble);
            }
            let out = taken(&mut world, WIRE);
            prop_assert_eq!(out.is_some(), allowed);
            if let Some((token, out)) = out {
                prop_assert_eq!(&out[..checked.len()], checked);
                prop_assert!(oracle::matches(chain.iter().copied(), &out[..checked.len()]));
                went(&mut world, token, Went::Copied);
            }
            world.audit();
        }
    }
}

#[test]
fn frames_go_out_as_they_were_and_are_counted() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let root = by(0, 0);
    let claim = Claim::Owned(world.attached[WIRE].send);
    let page = world.page(root.owner);
    let done = Completion::Word { page, index: 17 };
    for (number, length) in [14, 127, 128, 129, 1000, 1514].into_iter().enumerate() {
        let frame: Vec<u8> = (0..length).map(|at| (at * 7 + number) as u8).collect();
        let words = describe(&mut world, &root, &frame, &[3, 100, 30]);
        assert_eq!(
            send(&mut world, &root, claim, &words, done),
            Ok(words.len())
        );
        let (token, out) = taken(&mut world, WIRE).unwrap();
        assert_eq!(out, frame);
        world.audit();
        went(
            &mut world,
            token,
            if number % 2 == 0 {
                Went::Copied
            } else {
                Went::Kept
            },
        );
        assert_eq!(
            world.ram.word(page, 17),
            number as u64 + u64::from(number % 2 == 0)
        );
        world.audit();
        assert!(taken(&mut world, WIRE).is_none());
        world
            .frames
            .completed(token, &mut world.ram, &mut world.book);
        world
            .frames
            .completed(token, &mut world.ram, &mut world.book);
        assert_eq!(world.ram.word(page, 17), number as u64 + 1);
        world.audit();
    }
    assert_eq!(world.frames.interfaces()[WIRE].sent, 6);
}

#[test]
fn what_is_wrong_with_a_frame_is_said() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let (root, other) = (by(0, 0), by(1, 1));
    let name = world.attached[WIRE].send;
    let claim = Claim::Owned(name);
    let nowhere = Completion::Nowhere;
    let words = describe(&mut world, &root, &[0; 60], &[20]);
    assert_eq!(
        send(&mut world, &other, claim, &words, nowhere),
        Err(Error::NotYours)
    );
    let refine = world
        .verified(&root, Kind::Send, 0, SendRights::REFINE.into())
        .unwrap();
    assert_eq!(
        send(
            &mut world,
            &other,
            Claim::Verified(&refine),
            &words,
            nowhere
        ),
        Err(Error::MissingRight)
    );
    let right = world
        .verified(&root, Kind::Send, 0, SendRights::SEND.into())
        .unwrap();
    let right = Claim::Verified(&right);
    assert_eq!(
        send(&mut world, &other, right, &words, nowhere),
        Err(Error::NotYours),
        "of the pages"
    );
    let narrowed = program(&[octet(0, 1)], |own| {
        world
            .frames
            .send_refine(&other, right, own, &mut world.book)
    });
    assert_eq!(narrowed, Err(Error::MissingRight));
    assert_eq!(
        send(&mut world, &root, claim, &words[..1], nowhere),
        Err(Error::BadCount),
        "no last piece"
    );
    assert_eq!(
        send(&mut world, &root, claim, &[], nowhere),
        Err(Error::BadCount)
    );
    assert_eq!(
        send(&mut world, &root, claim, &[words[1] | 1 << 60, 0], nowhere),
        Err(Error::Malformed)
    );
    for length in [1, 13, 1515, 4000] {
        let words = describe(&mut world, &root, &vec![0; length], &[]);
        assert_eq!(
            send(&mut world, &root, claim, &words, nowhere),
            Err(Error::BadCount)
        );
    }
    let page = world.page(other.owner);
    let theirs = Completion::Word { page, index: 0 };
    assert_eq!(
        send(&mut world, &root, claim, &words, theirs),
        Err(Error::NotYours)
    );
    let far = Completion::Word {
        page: PageNumber::new(1 << 30),
        index: 0,
    };
    assert_eq!(
        send(&mut world, &root, claim, &words, far),
        Err(Error::OutOfRange)
    );
    for state in [InterfaceState::Down, InterfaceState::Absent] {
        world.frames.set_state(WIRE, state, [0; 6]);
        assert_eq!(
            send(&mut world, &root, claim, &words, nowhere),
            Err(Error::NotReady)
        );
    }
    world.frames.set_state(WIRE, InterfaceState::Up, [0; 6]);
    world
        .book
        .most
        .insert((root.owner.word(), Holding::Frame), 1);
    assert_eq!(send(&mut world, &root, claim, &words, nowhere), Ok(2));
    assert_eq!(
        send(&mut world, &root, claim, &words, nowhere),
        Err(Error::OverAllowance)
    );
    world.book.most.clear();
    for _ in 1..MAX_IN_FLIGHT {
        assert_eq!(send(&mut world, &root, claim, &words, nowhere), Ok(2));
    }
    assert_eq!(
        send(&mut world, &root, claim, &words, nowhere),
        Err(Error::LimitReached)
    );
    assert_eq!(world.frames.interfaces()[WIRE].refused_many, 1);
    world.audit();
}

#[test]
fn what_is_narrowed_ends_with_what_it_was_narrowed_from() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let (root, other) = (by(0, 0), by(1, 1));
    let first = world.attached[WIRE].send;
    let refine = |world: &mut World<'_>, by: &By, claim: Claim<'_>, value| {
        program(&[octet(6, value)], |own| {
            world.frames.send_refine(by, claim, own, &mut world.book)
        })
        .unwrap()
    };
    let middle = refine(&mut world, &root, Claim::Owned(first), 1);
    let rights = SendRights::all().into();
    let lent = world
        .verified(&root, Kind::Send, middle.index.into(), rights)
        .unwrap();
    let below: Vec<ObjectName> = (0..20)
        .map(|_| refine(&mut world, &other, Claim::Verified(&lent), 1))
        .collect();
    world.audit();
    let frame = [1; 60];
    let words = describe(&mut world, &other, &frame, &[]);
    assert_eq!(
        send(
            &mut world,
            &other,
            Claim::Owned(below[3]),
            &words,
            Completion::Nowhere
        ),
        Ok(1)
    );
    assert_eq!(
        world.frames.send_delete(&root, first, &mut world.book),
        Err(Error::MissingRight)
    );
    assert_eq!(
        world.frames.send_delete(&other, middle, &mut world.book),
        Err(Error::NotYours)
    );
    // After the first step already.
    assert_eq!(
        world.frames.send_delete(&root, middle, &mut world.book),
        Ok(crate::Step::More)
    );
    let left = below
        .iter()
        .filter(|name| world.frames.send(name.index).is_some());
    let left: Vec<ObjectName> = left.copied().collect();
    assert_eq!(left.len(), 12);
    for name in left {
        let sent = send(
            &mut world,
            &other,
            Claim::Owned(name),
            &words,
            Completion::Nowhere,
        );
        assert_eq!(sent, Err(Error::Stale));
    }
    let lent = Claim::Verified(&lent);
    assert_eq!(
        send(&mut world, &other, lent, &words, Completion::Nowhere),
        Err(Error::Stale)
    );
    finish(|| {
        world
            .frames
            .send_delete(&root, middle, &mut world.book)
            .unwrap()
    });
    world.audit();
    assert_eq!(world.book.used(other.owner, Holding::Send), 0);
    // What was checked and waits goes.
    assert!(taken(&mut world, WIRE).is_some());
    let root_send = world.verified(&root, Kind::Send, 0, rights).unwrap();
    let again = refine(&mut world, &other, Claim::Verified(&root_send), 9);
    assert!(
        !below.contains(&again) && again != middle,
        "names do not come back"
    );
}

#[test]
fn what_is_sent_on_a_loopback_interface_comes_in_there() {
    let mut room = Room::new(8);
    let mut world = room.world();
    let root = by(0, 0);
    let ring = world.ring(&root, 1);
    let tap = world.ring(&root, 2);
    let filter = Claim::Owned(world.attached[LOOP].filter);
    assert_eq!(
        world
            .frames
            .dpf_pktring(&root, filter, ring, &mut world.book),
        Ok(())
    );
    assert_eq!(world.frames.nettap(&root, filter, tap), Ok(()));
    let frame: Vec<u8> = (0..1514).map(|at| (at * 13) as u8).collect();
    let words = describe(&mut world, &root, &frame, &[5, 600, 700]);
    let claim = Claim::Owned(world.attached[LOOP].send);
    let page = world.page(root.owner);
    assert_eq!(
        send(
            &mut world,
            &root,
            claim,
            &words,
            Completion::Word { page, index: 0 }
        ),
        Ok(4)
    );
    let mut back = || {
        world.frames.loop_back(
            LOOP,
            9,
            |trie, frame| trie.classify(frame),
            &mut world.ram,
            &mut world.book,
        )
    };
    assert!(back() && !back());
    assert_eq!(world.ram.word(page, 0), 1);
    let got = world.drain(ring, &mut 0);
    assert_eq!((got.len(), &got[0].1, got[0].0.time), (1, &frame, 9));
    let seen = world.drain(tap, &mut 0);
    let flags: Vec<EntryFlags> = seen.iter().map(|(header, _)| header.flags).collect();
    assert_eq!(flags, [EntryFlags::TAP | EntryFlags::SENT, EntryFlags::TAP]);
    assert!(
        seen.iter()
            .all(|(header, got)| *got == frame && header.filter == 0)
    );
    world.audit();
}
