//! Filters from the helper: what they take, and what their code costs.

use std::println;
use std::vec;
use std::vec::Vec;

use super::costs::tcp_frame;
use super::world::{Memory, SECRETS, World};
use proptest::prelude::*;

use crate::build::{Endpoint, Facts, Header, List, arp, ether_type};
use crate::{Error, FilterId, Operation, oracle};

const US: [u8; 4] = [10, 0, 2, 15];
const PEER: [u8; 4] = [10, 0, 2, 2];

fn operations(list: &List) -> Vec<Operation> {
    list.program().unwrap().operations().collect()
}

fn takes(facts: &Facts, frame: &[u8]) -> bool {
    oracle::matches(operations(&facts.atoms().unwrap()), frame)
}

#[test]
fn what_is_open_matches_anything() {
    let frame = tcp_frame(PEER, US, 1234, 80);
    for open in 0..16 {
        for header in [Header::Plain, Header::Options] {
            let some = |bit: u32| open >> bit & 1 == 0;
            let end = Endpoint {
                local_address: some(0).then_some(US),
                local_port: some(1).then_some(80),
                remote_address: some(2).then_some(PEER),
                remote_port: some(3).then_some(1234),
                header,
                ..Endpoint::TCP
            };
            let facts = end.received().unwrap();
            assert!(takes(&facts, &frame));
            let back = tcp_frame(US, PEER, 80, 1234);
            assert!(takes(&end.sent().unwrap(), &back));
            for (bit, other) in [
                (0, tcp_frame(PEER, [10, 0, 2, 16], 1234, 80)),
                (1, tcp_frame(PEER, US, 1234, 81)),
                (2, tcp_frame([10, 0, 3, 2], US, 1234, 80)),
                (3, tcp_frame(PEER, US, 1235, 80)),
            ] {
                assert_eq!(takes(&facts, &other), !some(bit), "{end:?}");
            }
            for (at, value) in [(23, 17), (12, 0x86), (21, 1), (20, 0x01), (14, 0x65)] {
                let mut other = frame.clone();
                other[at] = value;
                assert!(!takes(&facts, &other), "{at}");
            }
            let mut options = frame.clone();
            options[14] = 0x46;
            assert!(!takes(&facts, &options) || header == Header::Options);
            // No octet more is needed than the last that counts.
            let last = match (header, some(1), some(3)) {
                (_, true, _) => 38,
                (_, false, true) => 36,
                _ if some(0) => 34,
                _ if some(2) => 30,
                _ => 24,
            };
            assert!(takes(&facts, &frame[..last]) && !takes(&facts, &frame[..last - 1]));
        }
    }
}

#[test]
fn facts_add_up_or_contradict() {
    let facts = arp().octets(28, &PEER).unwrap().octets(28, &PEER).unwrap();
    assert_eq!(facts.octets(28, &US), Err(Error::Contradiction));
    assert_eq!(facts.bits(12, 0x80, 0x80), Err(Error::Contradiction));
    assert_eq!(facts.octets(61, &PEER), Err(Error::BadCount));
    assert_eq!(facts.octets(usize::MAX, &[1]), Err(Error::BadCount));
    assert_eq!(facts.behind_ip(15, &[1, 2]), Err(Error::BadCount));
    assert!(Facts::ANY.atoms().is_err());
    assert_eq!(arp(), ether_type(0x0806));
}

/// Daemon, listener and connection, as programs split them, by the helper alone.
#[test]
fn children_are_built_from_what_their_parents_know() {
    let mut memory = Memory::new(16, 2, 8);
    let mut world = World::new(memory.trie(SECRETS));
    for header in [Header::Plain, Header::Options] {
        let ours = Endpoint {
            local_address: Some(US),
            header,
            ..Endpoint::TCP
        };
        let listener = Endpoint {
            local_port: Some(80),
            ..ours
        };
        let connection = Endpoint {
            remote_address: Some(PEER),
            remote_port: Some(1234),
            ..listener
        };
        let facts = [ours, listener, connection].map(|end| end.received().unwrap());
        let mut at = FilterId::ROOT;
        let mut above = Facts::ANY;
        let mut made = vec![];
        for facts in facts {
            let Ok(list) = facts.atoms_beyond(&above) else {
                // The listener's atoms have left the addresses behind.
                assert!(header == Header::Options && made.len() == 2);
                break;
            };
            let key = world.declare(at, &operations(&list)).unwrap();
            at = world.insert(at, key, &operations(&list)).unwrap();
            made.push(at);
            above = facts;
        }
        assert_eq!(
            facts[0].atoms_beyond(&facts[0]).err(),
            Some(Error::BadCount)
        );
        if header == Header::Plain {
            assert_eq!(world.trie.classify(&tcp_frame(PEER, US, 1234, 80)), made[2]);
            assert_eq!(world.trie.classify(&tcp_frame(PEER, US, 1235, 80)), made[1]);
            assert_eq!(world.trie.classify(&tcp_frame(PEER, US, 1234, 81)), made[0]);
        } else {
            assert_eq!(made.len(), 2);
        }
    }
    let frame = tcp_frame(PEER, US, 1234, 80);
    let mut machine = world.arena.machine(&world.trie);
    let (_, executed) = world.arena.run(&mut machine, &frame, SECRETS).unwrap();
    println!("three levels by the helper: {} instructions", executed + 1);
    let mut options = frame.clone();
    options[14] = 0x46;
    options.splice(34..34, [0; 4]);
    let frames: Vec<Vec<u8>> = (0..=frame.len())
        .map(|length| frame[..length].to_vec())
        .collect();
    let more: Vec<Vec<u8>> = (0..=options.len())
        .map(|length| options[..length].to_vec())
        .collect();
    world.agree(&frames).unwrap();
    world.agree(&more).unwrap();
}

/// The key that `costs` measures is the one that the helper makes.
#[test]
fn a_connection_has_four_fields() {
    let end = Endpoint {
        local_address: Some(US),
        local_port: Some(80),
        remote_address: Some(PEER),
        remote_port: Some(1234),
        ..Endpoint::TCP
    };
    let list = end.received().unwrap().atoms().unwrap();
    let fields: Vec<_> = list
        .atoms()
        .iter()
        .map(|atom| (atom.offset, atom.width, atom.mask))
        .collect();
    let expected = [
        (12, 2, 0xffff_ff00),
        (20, 2, 0x3fff_00ff),
        (26, 3, u64::MAX),
        (34, 2, 0xffff_ffff),
    ];
    assert_eq!(fields, expected);
}

/// Octets of which some bits are known, by offset.
type Known = Vec<(usize, u8, u8)>;

fn gather(known: &[(usize, u8, u8)]) -> Result<Facts, Error> {
    let add = |facts: Facts, &(at, mask, value): &(usize, u8, u8)| facts.bits(at, mask, value);
    known.iter().try_fold(Facts::ANY, add)
}

fn known() -> impl Strategy<Value = Known> {
    let mask = prop_oneof![3 => Just(0xffu8), 1 => 1..=255u8];
    let octet = (0..24usize, mask, prop_oneof![Just(0u8), Just(0x45)]);
    proptest::collection::vec(octet, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A parent and its child together ask what was said, of frames of every length.
    #[test]
    fn atoms_say_what_was_said(known in known(), split in 0..16usize, octets in any::<[bool; 24]>()) {
        let split = split.min(known.len());
        let (Ok(above), Ok(all)) = (gather(&known[..split]), gather(&known)) else {
            return Ok(());
        };
        let mut chain = above.atoms().map_or(vec![], |list| operations(&list));
        match all.atoms_beyond(&above) {
            Ok(list) => chain.extend(operations(&list)),
            Err(error) => prop_assert_eq!((error, above), (Error::BadCount, all)),
        }
        let direct = operations(&all.atoms().unwrap());
        let mut frame: Vec<u8> = octets.iter().map(|&set| if set { 0x45 } else { 0 }).collect();
        for (at, mask, value) in &known {
            // Mostly what is asked for: else hardly a frame would do.
            if octets[(at + 7) % 24] || octets[(at + 11) % 24] || octets[(at + 13) % 24] {
                frame[*at] = frame[*at] & !mask | value & mask;
            }
        }
        for length in 0..=frame.len() {
            let frame = &frame[..length];
            let has = |&(at, mask, value): &(usize, u8, u8)| frame.get(at).is_some_and(|octet| (octet ^ value) & mask == 0);
            let expected = known.iter().all(has);
            prop_assert_eq!(oracle::matches(direct.iter().copied(), frame), expected);
            prop_assert_eq!(oracle::matches(chain.iter().copied(), frame), expected);
        }
    }
}
