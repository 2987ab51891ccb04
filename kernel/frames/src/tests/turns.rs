//! Senders in turn: whoever floods, whatever the device does, nobody waits for more than one frame of each other.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use exopi_abi::net::{Completion, MAX_IN_FLIGHT};
use proptest::prelude::*;

use super::sending::{describe, send, taken};
use super::world::{ENVIRONMENTS, Room, WIRE, by};
use crate::{Claim, Went};

#[derive(Clone, Debug)]
enum Event {
    /// An environment sends so many frames.
    Send(u16, usize),
    /// The device takes so many, and keeps them or not.
    Take(usize, bool),
    /// It is done with so many.
    Complete(usize),
    /// An environment dies, and another one comes in its place.
    Die(u16),
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..ENVIRONMENTS as u16;
    prop_oneof![
        8 => (who.clone(), 1..6usize).prop_map(|(who, count)| Event::Send(who, count)),
        // One that floods.
        4 => (1..60usize).prop_map(|count| Event::Send(3, count)),
        6 => (1..10usize, any::<bool>()).prop_map(|(count, kept)| Event::Take(count, kept)),
        4 => (1..10usize).prop_map(Event::Complete),
        1 => who.prop_map(Event::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn each_sender_has_its_turn(events in proptest::collection::vec(event(), 1..80)) {
        let mut room = Room::new(8);
        let mut world = room.world();
        let root = by(0, 0);
        let rights = exopi_abi::capability::SendRights::SEND.into();
        let lent = world.verified(&root, exopi_abi::capability::Kind::Send, 0, rights).unwrap();
        let claim = Claim::Verified(&lent);
        // By sender: numbers of frames that wait. And in the device: tokens, with their senders.
        let mut waiting: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        let mut device: Vec<(u16, u16)> = vec![];
        // How many frames of others went since each sender's last turn, or since it began to wait.
        let mut passed: BTreeMap<u16, BTreeMap<u16, u32>> = BTreeMap::new();
        let mut lives = [0u16; ENVIRONMENTS];
        let mut number = 0u32;
        for event in events {
            match event {
                Event::Send(who, count) => for _ in 0..count {
                    let mut sender = by(who, 1 + who);
                    let epoch = sender.name.epoch.bits() + 500 * u64::from(lives[usize::from(who)]);
                    sender.name.epoch = exopi_abi::capability::Epoch::from_low_bits(epoch);
                    let mut frame = [0; 200];
                    frame[..2].copy_from_slice(&who.to_le_bytes());
                    frame[2..6].copy_from_slice(&number.to_le_bytes());
                    let words = describe(&mut world, &sender, &frame, &[50, 100]);
                    let sent = send(&mut world, &sender, claim, &words, Completion::Nowhere);
                    let own = waiting.entry(who).or_default();
                    let flying = own.len() + device.iter().filter(|(_, of)| *of == who).count();
                    prop_assert_eq!(sent.is_ok(), flying < MAX_IN_FLIGHT.into() , "{:?}", sent);
                    if sent.is_ok() {
                        if own.is_empty() {
                            passed.insert(who, BTreeMap::new());
                        }
                        own.push(number);
                        number += 1;
                    }
                },
                Event::Take(count, kept) => for _ in 0..count {
                    let Some((token, frame)) = taken(&mut world, WIRE) else {
                        prop_assert!(waiting.values().all(Vec::is_empty), "somebody waits");
                        break;
                    };
                    let who = u16::from_le_bytes([frame[0], frame[1]]);
                    let number = u32::from_le_bytes([frame[2], frame[3], frame[4], frame[5]]);
                    prop_assert_eq!(waiting.get_mut(&who).unwrap().remove(0), number, "in order");
                    let went = if kept { Went::Kept } else { Went::Copied };
                    world.frames.went(token, went, 0, &mut world.ram, &mut world.book);
                    if kept {
                        device.push((token, who));
                    }
                    for (other, own) in waiting.iter().filter(|(other, own)| **other != who && !own.is_empty()) {
                        let turns = passed.get_mut(other).unwrap().entry(who).or_default();
                        *turns += 1;
                        prop_assert!(*turns <= 1, "{} before {} with {}", who, other, own.len());
                    }
                    passed.insert(who, BTreeMap::new());
                },
                Event::Complete(count) => for _ in 0..count.min(device.len()) {
                    let (token, _) = device.remove(number as usize % device.len());
                    world.frames.completed(token, &mut world.ram, &mut world.book);
                },
                Event::Die(who) => {
                    lives[usize::from(who)] += 1;
                    waiting.remove(&who);
                    world.frames.environment_ended(who, &mut world.book);
                }
            }
            world.audit();
        }
    }
}
