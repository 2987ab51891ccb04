//! Each transaction fails in each way, at any time: nothing panics, every call is bounded, no memory is used
//! that the controller has (the memory's model sees to it), and afterwards the interface works again or says
//! that it is absent.

use proptest::prelude::*;

use super::{World, behind_hub, frame};
use crate::drivers::dwc2::model::adapter::{Adapter, Cable};
use crate::drivers::dwc2::model::chips::{Chip, Lan};
use crate::drivers::dwc2::model::hub::Hub;
use crate::drivers::dwc2::model::unit::Unit;
use crate::drivers::dwc2::model::{Character, Fault};
use crate::drivers::ethernet::nic::Kind;
use crate::drivers::usb::Speed;
use crate::traits::{Ethernet, Link};

fn faults() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Stall),
        Just(Fault::Halt),
        Just(Fault::Error),
        Just(Fault::Babble),
        Just(Fault::BusError),
        Just(Fault::Mute),
        Just(Fault::NeverReady),
        Just(Fault::Unplug),
        any::<u8>().prop_map(Fault::Garbage),
        Just(Fault::Short),
        Just(Fault::Long),
    ]
}

const ALL: [Fault; 11] = [
    Fault::Stall,
    Fault::Halt,
    Fault::Error,
    Fault::Babble,
    Fault::BusError,
    Fault::Mute,
    Fault::NeverReady,
    Fault::Unplug,
    Fault::Garbage(7),
    Fault::Short,
    Fault::Long,
];

/// Which hardware.
fn hardware(which: u8) -> (Character, Unit, Cable) {
    let (character, (unit, cable)) = match which {
        0 => (Character::Emulator, behind_hub(Speed::Full, true)),
        1 => (Character::Emulator, Adapter::unit(Speed::Full, true)),
        2 => (Character::Board, behind_hub(Speed::High, false)),
        3 => (Character::Board, Lan::unit(Chip::Lan9514)),
        _ => (Character::Board, Lan::unit(Chip::Lan7800)),
    };
    (character, unit, cable)
}

/// Sends and receives for a while, whatever comes of it.
fn traffic(world: &mut World, cable: &Cable, count: u32) {
    for number in 0..count {
        let sent = frame(60 + (number as usize * 97) % 1455, number);
        cable.borrow_mut().inward.push_back(sent.clone());
        let now = world.now();
        let _ = world.interface.try_send(&[&sent], now);
        world.run(700);
        while world.interface.try_receive(|_| ()) {}
    }
}

/// After everything, the same device is plugged in again, and must work.
fn recovers(mut world: World, cable: &Cable) {
    world.model.0.borrow_mut().faults.clear();
    let root = world.model.0.borrow_mut().root.take();
    world.model.0.borrow_mut().unplug();
    world.run(200_000);
    if let Some(mut root) = root {
        root.reset();
        world.model.0.borrow_mut().plug(root);
    } else {
        // It was pulled out by the fault: nothing is left to plug in.
        assert_eq!(world.interface.link(), Link::Absent);
        return;
    }
    assert!(world.up(), "does not come up again");
    cable.borrow_mut().inward.clear();
    // What was on its way before.
    world.run(1_500_000);
    while world.interface.try_receive(|_| ()) {}
    cable.borrow_mut().outward.clear();
    let last = frame(777, 4_242);
    assert!(world.send(&last), "does not send");
    world.run(20_000);
    assert!(cable.borrow().outward.contains(&last), "did not send");
    cable.borrow_mut().inward.push_back(last.clone());
    assert_eq!(world.receive(100_000), Some(last), "does not receive");
    keeps_all_places(&mut world, cable);
}

/// As many frames can be on their way as ever, both ways: no place was lost.
fn keeps_all_places(world: &mut World, cable: &Cable) {
    let most = world.interface.in_flight();
    cable.borrow_mut().outward.clear();
    cable.borrow_mut().blocked = true;
    let out: Vec<_> = (0..most.sending_most as u32)
        .map(|number| frame(200, number))
        .collect();
    let now = world.now();
    let taken = out
        .iter()
        .take_while(|frame| world.interface.try_send(&[frame], now).is_ok());
    assert_eq!(taken.count(), out.len(), "a place for sending is lost");
    cable.borrow_mut().blocked = false;
    cable.borrow_mut().inward.extend(out.clone());
    let more = most.received_most as u32 - out.len() as u32 + 3;
    cable
        .borrow_mut()
        .inward
        .extend((0..more).map(|n| frame(300, n)));
    world.run(100_000);
    assert!(cable.borrow().outward == out, "does not send all");
    let flight = world.interface.in_flight();
    assert_eq!(flight.received, most.received_most, "a place is lost");
    for expected in out {
        assert_eq!(world.receive(100_000), Some(expected));
    }
}

/// One fault at each step of set-up and traffic, in turn: of each kind, on each hardware.
#[test]
fn each_fault_at_each_step() {
    const STEPS: u64 = 160;
    const STRIDE: u64 = 11;
    for which in 0..5 {
        for (kind, fault) in ALL.into_iter().enumerate() {
            // The kinds take turns, so that together they are at every step.
            for step in (1 + kind as u64..STEPS).step_by(STRIDE as usize) {
                let (character, unit, cable) = hardware(which);
                let best = if step % 3 == 0 {
                    Kind::Cdc
                } else {
                    Kind::Rndis
                };
                let mut world = World::new(character, unit, best);
                world.model.0.borrow_mut().faults.insert(step, fault);
                world.run(700_000);
                traffic(&mut world, &cable, 8);
                assert!(world.model.0.borrow().faults.is_empty(), "no step {step}");
                recovers(world, &cable);
            }
        }
    }
}

/// A transfer that is late on a channel that never halts: the controller is reset, and no place is lost nor used before.
#[test]
fn halts_that_never_come_cost_a_reset() {
    for which in 2..5 {
        let (character, unit, cable) = hardware(which);
        let mut world = World::new(character, unit, Kind::Rndis);
        assert!(world.up());
        world.run(1_500_000);
        let state = world.model.0.clone();
        state.borrow_mut().never_halts = true;
        cable.borrow_mut().blocked = true;
        assert!(world.send(&frame(600, 1)));
        let absent = |world: &mut World| world.interface.link() == Link::Absent;
        assert!(world.until(9_000_000, absent), "{which}");
        state.borrow_mut().never_halts = false;
        cable.borrow_mut().blocked = false;
        assert_eq!(world.interface.counters().lost, 1);
        recovers(world, &cable);
    }
}

proptest! {
    /// A few faults while the device is set up and while frames pass.
    #[test]
    fn faults_are_survived(
        which in 0..5_u8,
        cdc in any::<bool>(),
        at in prop::collection::btree_map(1..900_u64, faults(), 0..6),
    ) {
        let (character, unit, cable) = hardware(which);
        let best = if cdc { Kind::Cdc } else { Kind::Rndis };
        let mut world = World::new(character, unit, best);
        world.model.0.borrow_mut().faults = at.into_iter().collect();
        world.run(700_000);
        traffic(&mut world, &cable, 60);
        world.run(3_000_000);
        traffic(&mut world, &cable, 10);
        recovers(world, &cable);
    }

    /// Faults without end: the interface need not work, but each call stays bounded.
    #[test]
    fn a_device_that_always_fails_costs_a_bounded_time(
        which in 0..5_u8,
        fault in faults(),
        first in 1..400_u64,
        step in 1..4_u64,
    ) {
        let (character, unit, cable) = hardware(which);
        let mut world = World::new(character, unit, Kind::Rndis);
        let at = (first..first + 3_000).step_by(step as usize).map(|at| (at, fault));
        world.model.0.borrow_mut().faults = at.collect();
        world.run(700_000);
        traffic(&mut world, &cable, 40);
        world.run(2_000_000);
        recovers(world, &cable);
    }

    /// Descriptors that are something else.
    #[test]
    fn garbage_descriptors_are_survived(
        which in 0..5_u8,
        kind in 1..4_u8,
        number in 0..4_u8,
        at in 0..80_usize,
        bytes in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        let (character, mut unit, _cable) = hardware(which);
        let descriptor = unit.descriptors.entry((kind, number)).or_default();
        for (place, byte) in bytes.into_iter().enumerate() {
            if let Some(to) = descriptor.get_mut(at + place) {
                *to = byte;
            }
        }
        // What endpoints are said to have, they have.
        unit.packets.clear();
        let mut world = World::new(character, unit, Kind::Rndis);
        world.run(3_000_000);
    }
}

/// Unplugged and plugged in again at each moment of the first while.
#[test]
fn unplugged_at_every_step() {
    for which in 0..5 {
        for moment in (0..700).step_by(23) {
            let (character, unit, cable) = hardware(which);
            let mut world = World::new(character, unit, Kind::Rndis);
            world.run(moment * 1_000);
            traffic(&mut world, &cable, 3);
            recovers(world, &cable);
        }
    }
}

#[test]
fn a_port_of_a_hub_is_unplugged() {
    for (character, speed) in [
        (Character::Emulator, Speed::Full),
        (Character::Board, Speed::High),
    ] {
        let (unit, cable) = behind_hub(speed, character == Character::Emulator);
        let mut world = World::new(character, unit, Kind::Rndis);
        assert!(world.up());
        traffic(&mut world, &cable, 5);
        for number in 0..5 {
            let state = world.model.0.clone();
            let pulled = state.borrow_mut().root.as_mut().unwrap().function.unplug(0);
            let absent = |world: &mut World| world.interface.link() == Link::Absent;
            assert!(world.until(9_000_000, absent));
            world.run(100_000);
            cable.borrow_mut().inward.clear();
            let mut unit = pulled.unwrap();
            unit.reset();
            state
                .borrow_mut()
                .root
                .as_mut()
                .unwrap()
                .function
                .plug(0, unit);
            assert!(world.up(), "{character:?}");
            while world.interface.try_receive(|_| ()) {}
            let last = frame(700, number);
            assert!(world.send(&last));
            world.run(10_000);
            assert!(cable.borrow().outward.contains(&last));
            cable.borrow_mut().inward.push_back(last.clone());
            assert_eq!(world.receive(100_000), Some(last));
        }
    }
}

/// A device that fails now and then is set up anew each time: what counts is how often in a row.
#[test]
fn a_device_that_recovers_may_fail_again() {
    for (character, speed) in [
        (Character::Emulator, Speed::Full),
        (Character::Board, Speed::High),
    ] {
        for hub in [false, true] {
            let flawed = character == Character::Emulator;
            let (unit, cable) = match hub {
                true => behind_hub(speed, flawed),
                false => Adapter::unit(speed, flawed),
            };
            let mut world = World::new(character, unit, Kind::Rndis);
            for _ in 0..6 {
                assert!(world.up());
                cable.borrow_mut().nonsense = Some(Vec::new());
                let absent = |world: &mut World| world.interface.link() == Link::Absent;
                assert!(world.until(9_000_000, absent));
                cable.borrow_mut().nonsense = None;
            }
        }
    }
}

/// A device that takes nothing: frames are lost in time, the device is set up anew, and no place is used again
/// that a stopped transfer may still be read from.
#[test]
fn a_device_that_takes_no_frames_is_reset() {
    for which in 0..5 {
        let (character, unit, cable) = hardware(which);
        let mut world = World::new(character, unit, Kind::Rndis);
        for round in 0..4 {
            assert!(world.up());
            cable.borrow_mut().blocked = true;
            let mut taken = 0;
            let now = world.now();
            while world.interface.try_send(&[&frame(600, taken)], now).is_ok() {
                taken += 1;
            }
            assert!(taken >= 4, "{taken} in round {round}");
            let absent = |world: &mut World| world.interface.link() == Link::Absent;
            assert!(world.until(9_000_000, absent), "{character:?}");
            world.run(1_000);
            assert_eq!(world.interface.in_flight().sending, 0);
        }
        cable.borrow_mut().blocked = false;
        cable.borrow_mut().outward.clear();
        assert!(world.up());
        world.run(1_500_000);
        let frames: Vec<_> = (0..20).map(|number| frame(100, number)).collect();
        for frame in &frames {
            assert!(world.send(frame));
        }
        world.run(20_000);
        // Before them may be a frame that was counted as lost: in the emulator a stopped transfer goes on.
        assert!(cable.borrow().outward.ends_with(&frames), "{character:?}");
    }
}

/// The rest of a frame whose transfer failed is no frame.
#[test]
fn a_cut_frame_is_dropped_whole() {
    let (unit, cable) = Adapter::unit(Speed::High, false);
    let mut world = World::new(Character::Board, unit, Kind::Cdc);
    assert!(world.up());
    world.run(100_000);
    let state = world.model.0.clone();
    // The second of three packets is damaged, each time that it is tried.
    let next = state.borrow().transactions + 1;
    state.borrow_mut().faults = (1..4).map(|more| (next + more, Fault::Error)).collect();
    cable.borrow_mut().inward.push_back(frame(1_400, 1));
    world.run(100_000);
    assert!(state.borrow().faults.is_empty());
    let good = frame(300, 2);
    cable.borrow_mut().inward.push_back(good.clone());
    assert_eq!(world.receive(100_000), Some(good));
    let counters = world.interface.counters();
    assert_eq!((counters.received, counters.malformed), (1, 1));
    assert_eq!((counters.failed_transfers, counters.restarts), (1, 1));
}

/// An endpoint that refuses works again when its halt was cleared, with marks from the start.
#[test]
fn halts_are_cleared() {
    for before in 0..4 {
        for (character, speed) in [
            (Character::Emulator, Speed::Full),
            (Character::Board, Speed::High),
        ] {
            let (unit, cable) = Adapter::unit(speed, character == Character::Emulator);
            let mut world = World::new(character, unit, Kind::Rndis);
            assert!(world.up());
            traffic(&mut world, &cable, before);
            let state = world.model.0.clone();
            state.borrow_mut().root.as_mut().unwrap().halt(0x82);
            state.borrow_mut().root.as_mut().unwrap().halt(0x02);
            assert!(world.send(&frame(60, 1)));
            world.run(50_000);
            cable.borrow_mut().outward.clear();
            traffic(&mut world, &cable, 5);
            assert_eq!(cable.borrow().outward.len(), 5, "{character:?}");
            let counters = world.interface.counters();
            assert_eq!((counters.restarts, counters.lost), (1, 1));
            assert_eq!(counters.received, u64::from(before) + 5);
            let steps = state.borrow_mut().root.as_mut().unwrap().out_of_step();
            assert_eq!(steps, 0);
        }
    }
}

/// Neighbours on a hub that are broken, of no use, too slow for it, or say nonsense, do not disturb.
#[test]
fn neighbours_do_not_disturb() {
    let (adapter, cable) = Adapter::unit(Speed::High, false);
    let (mut broken, _) = Adapter::unit(Speed::High, false);
    broken.broken = true;
    let (slow, _) = Adapter::unit(Speed::Full, false);
    let (second, second_cable) = Adapter::unit(Speed::High, false);
    let (mut nonsense, _) = Adapter::unit(Speed::High, false);
    nonsense.descriptors.insert((1, 0), vec![0; 18]);
    let (mut useless, _) = Adapter::unit(Speed::High, false);
    useless.descriptors.retain(|(kind, _), _| *kind == 1);
    let ports = [broken, slow, nonsense, useless, adapter, second].map(Some);
    let hub = Hub::unit(Speed::High, ports.into_iter().collect());
    let mut world = World::new(Character::Board, hub, Kind::Rndis);
    assert!(world.up());
    let sent = frame(500, 1);
    assert!(world.send(&sent));
    world.run(5_000_000);
    assert_eq!(world.interface.link(), Link::Up);
    assert_eq!(world.interface.counters().restarts, 1);
    assert_eq!(cable.borrow().outward, [sent]);
    // The first one found is the one that is driven.
    assert!(second_cable.borrow().outward.is_empty());
    // The others are given up in the end.
    let before = world.model.0.borrow().requests;
    world.run(5_000_000);
    let asked = world.model.0.borrow().requests - before;
    assert!(asked < 30, "{asked} requests");
}

#[test]
fn a_reset_brings_everything_back() {
    for which in 0..5 {
        let (character, unit, cable) = hardware(which);
        let mut world = World::new(character, unit, Kind::Rndis);
        assert!(world.up());
        traffic(&mut world, &cable, 5);
        let now = world.now();
        world.interface.reset(now);
        world.run(5_000);
        assert_eq!(world.interface.link(), Link::Absent);
        // It comes to a channel that was stopped, and goes on in the emulator.
        cable.borrow_mut().inward.push_back(frame(99, 9));
        world.run(20_000);
        recovers(world, &cable);
    }
}

#[test]
fn nonsense_instead_of_answers_is_given_up() {
    for bytes in [vec![], vec![0xff; 1024], vec![0; 64]] {
        let (unit, cable) = behind_hub(Speed::Full, true);
        cable.borrow_mut().nonsense = Some(bytes);
        let mut world = World::new(Character::Emulator, unit, Kind::Rndis);
        assert!(!world.until(10_000_000, |world| world.interface.link() == Link::Up));
        // Given up: nobody asks it any more.
        let before = world.model.0.borrow().requests;
        world.run(2_000_000);
        let asked = world.model.0.borrow().requests - before;
        assert!(asked < 10, "{asked} requests");
    }
}

#[test]
fn lying_messages_cost_frames_and_nothing_else() {
    let (unit, cable) = behind_hub(Speed::Full, true);
    let mut world = World::new(Character::Emulator, unit, Kind::Rndis);
    assert!(world.up());
    for at in 0..4 {
        for by in [
            1,
            2,
            44,
            64,
            2_000,
            0x7fff_ffff,
            0x8000_0000,
            u32::MAX,
            u32::MAX - 40,
        ] {
            cable.borrow_mut().lie = Some((at, by));
            cable.borrow_mut().inward.push_back(frame(300, by));
            let good = frame(301, by);
            cable.borrow_mut().inward.push_back(good.clone());
            let mut next = world.receive(5_000);
            while next.as_ref().is_some_and(|bytes| *bytes != good) {
                assert!(next.is_none_or(|bytes| bytes.len() <= 1514));
                next = world.receive(5_000);
            }
            assert!(next == Some(good), "{at} {by}");
        }
    }
}
