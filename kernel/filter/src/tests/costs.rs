//! What classification costs, in instructions of the generated code, call and return counted.
//!
//! The emulator counts what the processor would execute; a figure on the target adds nothing to it but
//! the caller's own loads of arguments.

use std::println;
use std::vec::Vec;

use super::world::{Memory, SECRETS, World, equal};
use crate::{FilterId, Operation, Secrets, Width};

/// Filters among which a frame is classified; Miri gets fewer.
const COUNTS: [u32; 4] = if cfg!(miri) {
    [1, 2, 4, 16]
} else {
    [1, 10, 100, 1000]
};

/// The call itself.
const CALL: u64 = 1;

/// A TCP segment without data: Ethernet, IPv4 without options, addresses and ports as given.
pub fn tcp_frame(source: [u8; 4], destination: [u8; 4], from: u16, to: u16) -> Vec<u8> {
    let mut frame = Vec::from([0x02; 12]);
    frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.resize(54, 0);
    frame
}

const US: [u8; 4] = [10, 0, 2, 15];

/// IPv4 of 20 octets, not fragmented, TCP.
fn tcp() -> [Operation; 2] {
    [
        equal(12, Width::Bits32, 0xffff_ff00, 0x0800_4500),
        equal(20, Width::Bits32, 0x3fff_00ff, 6),
    ]
}

fn peer(number: u32) -> ([u8; 4], u16) {
    (
        [10, 1, (number >> 8) as u8, number as u8],
        40000 + (number * 7 % 1000) as u16,
    )
}

/// A filter on all of protocol, addresses and ports.
fn five_tuple(number: u32) -> [Operation; 4] {
    let (source, port) = peer(number);
    let addresses = u64::from(u32::from_be_bytes(source)) << 32 | u64::from(u32::from_be_bytes(US));
    let [ip, tcp] = tcp();
    [
        ip,
        tcp,
        equal(26, Width::Bits64, u64::MAX, addresses),
        equal(34, Width::Bits32, 0xffff_ffff, u64::from(port) << 16 | 80),
    ]
}

/// Instructions for a frame of the last of `count` filters below the root.
fn flat(count: u32, secrets: Secrets) -> u64 {
    let mut memory = Memory::new(if cfg!(miri) { 24 } else { 1024 }, 2, 4);
    let mut world = World::new(memory.trie(secrets));
    world.declare(FilterId::ROOT, &five_tuple(0)).unwrap();
    let mut last = FilterId::ROOT;
    for number in 0..count {
        last = world
            .insert(FilterId::ROOT, 0, &five_tuple(number))
            .unwrap();
    }
    let (source, port) = peer(count - 1);
    let mut machine = world.arena.machine(&world.trie);
    let frame = tcp_frame(source, US, port, 80);
    let (id, executed) = world.arena.run(&mut machine, &frame, secrets).unwrap();
    assert_eq!(id, last);
    CALL + executed
}

#[test]
fn a_five_tuple_costs_the_same_among_a_thousand() {
    let costs = COUNTS.map(|count| flat(count, SECRETS));
    println!("dpf_1 dpf_10 dpf_100 dpf_1000: {costs:?} instructions");
    assert!(costs.iter().all(|&cost| cost <= 60), "{costs:?}");
    assert!(costs[3] - costs[0] <= 15, "{costs:?}");
}

/// Where the last filter lies depends on the secrets: the bar must not be a matter of luck.
#[test]
fn the_secrets_hardly_matter() {
    let seeds = if cfg!(miri) { 1..3 } else { 1..200u64 };
    let mut costs: Vec<u64> = seeds
        .map(|seed| Secrets {
            first: seed.wrapping_mul(0xd6e8_feb8_6659_fd93),
            second: seed.wrapping_mul(0xa076_1d64_78bd_642f) | 1,
        })
        .map(|secrets| flat(COUNTS[3], secrets))
        .collect();
    costs.sort();
    let (least, most) = (costs[0], costs[costs.len() - 1]);
    let within = costs.iter().filter(|&&cost| cost <= least + 15).count();
    println!(
        "dpf_1000 with {} secrets: {least} to {most}, {within} within 15 of the least",
        costs.len()
    );
    assert!(within * 20 >= costs.len() * 19 && most <= 100);
}

/// The way in which programs split filters: protocol and address, port, connection.
#[test]
fn three_levels_cost_three_times_a_level() {
    let connections = if cfg!(miri) { 3 } else { 90 };
    let mut memory = Memory::new(12 + 10 * connections as usize, 2, 8);
    let mut world = World::new(memory.trie(SECRETS));
    let [ip, tcp] = tcp();
    let address = u32::from_be_bytes(US).into();
    let ours = [ip, tcp, equal(30, Width::Bits32, 0xffff_ffff, address)];
    world.declare(FilterId::ROOT, &ours).unwrap();
    let ours = world.insert(FilterId::ROOT, 0, &ours).unwrap();
    let port = |port| [equal(36, Width::Bits16, 0xffff, port)];
    world.declare(ours, &port(0)).unwrap();
    let connection = |number| {
        let (source, port) = peer(number);
        [
            equal(
                26,
                Width::Bits32,
                0xffff_ffff,
                u32::from_be_bytes(source).into(),
            ),
            equal(34, Width::Bits16, 0xffff, port.into()),
        ]
    };
    let mut last = FilterId::ROOT;
    for number in 0..10 {
        let listener = world.insert(ours, 0, &port(80 + number)).unwrap();
        world.declare(listener, &connection(0)).unwrap();
        for number in 0..connections {
            last = world.insert(listener, 0, &connection(number)).unwrap();
        }
    }
    let words = world.arena.words.len();
    let mut machine = world.arena.machine(&world.trie);
    let (source, port) = peer(connections - 1);
    let frame = tcp_frame(source, US, port, 89);
    let (id, executed) = world.arena.run(&mut machine, &frame, SECRETS).unwrap();
    assert_eq!(id, last);
    println!(
        "three levels, 911 filters: {} instructions, {words} words of code",
        CALL + executed
    );
    assert!(CALL + executed <= 95);
    let (id, executed) = world.arena.run(&mut machine, &[0; 60], SECRETS).unwrap();
    assert_eq!(id, FilterId::ROOT);
    println!("a frame for nobody: {} instructions", CALL + executed);
}
