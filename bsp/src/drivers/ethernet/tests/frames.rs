//! Frames both ways through each adapter, on both characters of controller.

use super::{World, behind_hub, frame};
use crate::drivers::dwc2::model::Character;
use crate::drivers::dwc2::model::adapter::{ADDRESS, Adapter, STRING_ADDRESS};
use crate::drivers::ethernet::nic::Kind;
use crate::drivers::usb::Speed;
use crate::traits::{Ethernet, Link, MacAddress, SendError};

/// Every character with every way to talk to the adapter.
fn each(test: impl Fn(World, crate::drivers::dwc2::model::adapter::Cable, Character, Kind)) {
    for kind in [Kind::Rndis, Kind::Cdc] {
        for (character, speed) in [
            (Character::Emulator, Speed::Full),
            (Character::Board, Speed::High),
            (Character::Board, Speed::Full),
        ] {
            for hub in [false, true] {
                let flawed = character == Character::Emulator;
                let (unit, cable) = match hub {
                    true => behind_hub(speed, flawed),
                    false => Adapter::unit(speed, flawed),
                };
                let mut world = World::new(character, unit, kind);
                assert!(world.up(), "{character:?} {kind:?} hub {hub}");
                assert_eq!(world.interface.kind(), Some(kind));
                test(world, cable, character, kind);
            }
        }
    }
}

#[test]
fn addresses_are_the_devices() {
    each(|world, _, _, kind| {
        let expected = match kind {
            Kind::Cdc => STRING_ADDRESS,
            _ => ADDRESS,
        };
        assert_eq!(world.interface.address(), Some(MacAddress(expected)));
    });
}

#[test]
fn frames_of_every_length_go_out() {
    each(|mut world, cable, character, _| {
        for length in (14..1515)
            .step_by(13)
            .chain([64, 84, 128, 468, 512, 1024, 1492, 1514])
        {
            let sent = frame(length, length as u32);
            let (a, rest) = sent.split_at(6);
            let (b, c) = rest.split_at(5);
            let now = world.now();
            world.interface.try_send(&[a, b, &[], c], now).unwrap();
            if character == Character::Board {
                assert!(world.until(20_000, |world| world.interface.in_flight().sending == 0));
            }
            // The emulator's device has had it when the call is over.
            assert_eq!(world.interface.in_flight().sending, 0, "{length}");
            let arrived = std::mem::take(&mut cable.borrow_mut().outward);
            assert!(arrived == [sent], "{length}");
        }
        assert_eq!(
            world
                .model
                .0
                .borrow_mut()
                .root
                .as_mut()
                .unwrap()
                .out_of_step(),
            0
        );
    });
}

#[test]
fn frames_of_every_length_come_in() {
    each(|mut world, cable, _, _| {
        for length in (14..1515)
            .step_by(13)
            .chain([64, 84, 128, 148, 468, 512, 1024, 1492, 1514])
        {
            let sent = frame(length, length as u32);
            cable.borrow_mut().inward.push_back(sent.clone());
            assert!(world.receive(20_000) == Some(sent), "{length}");
        }
        assert_eq!(world.interface.counters().malformed, 0);
        assert_eq!(
            world
                .model
                .0
                .borrow_mut()
                .root
                .as_mut()
                .unwrap()
                .out_of_step(),
            0
        );
    });
}

#[test]
fn a_flood_is_held_back_and_nothing_is_lost_or_out_of_order() {
    each(|mut world, cable, _, _| {
        let frames: Vec<_> = (0..200)
            .map(|n| frame(60 + (n * 61 % 1455) as usize, n))
            .collect();
        cable.borrow_mut().inward.extend(frames.clone());
        world.run(100_000);
        let flight = world.interface.in_flight();
        assert_eq!(flight.received, flight.received_most);
        for expected in frames {
            assert!(world.receive(50_000) == Some(expected));
        }
        assert_eq!(world.interface.counters().received, 200);
    });
}

#[test]
fn a_full_ring_of_frames_goes_out_in_order() {
    each(|mut world, cable, _, _| {
        cable.borrow_mut().blocked = true;
        let most = world.interface.in_flight().sending_most as u32;
        let frames: Vec<_> = (0..most)
            .map(|n| frame(100 + n as usize * 200, n))
            .collect();
        let now = world.now();
        for frame in &frames {
            world.interface.try_send(&[frame], now).unwrap();
        }
        let one_more = world.interface.try_send(&[&frames[0]], now);
        assert_eq!(one_more, Err(SendError::Full));
        world.run(10_000);
        cable.borrow_mut().blocked = false;
        world.run(100_000);
        assert!(cable.borrow().outward == frames);
        assert_eq!(world.interface.counters().sent, u64::from(most));
    });
}

#[test]
fn lengths_that_are_no_frames_are_refused() {
    each(|mut world, cable, _, _| {
        for length in [0, 13, 1515, 5000] {
            let now = world.now();
            let result = world.interface.try_send(&[&vec![0; length]], now);
            assert_eq!(result, Err(SendError::Length));
        }
        world.run(10_000);
        assert!(cable.borrow().outward.is_empty());
    });
}

#[test]
fn the_link_is_followed() {
    let (unit, cable) = behind_hub(Speed::Full, true);
    let mut world = World::new(Character::Emulator, unit, Kind::Rndis);
    assert_eq!(world.interface.link(), Link::Absent);
    let now = world.now();
    assert_eq!(
        world.interface.try_send(&[&[0; 60]], now),
        Err(SendError::Down)
    );
    assert!(world.up());
    cable.borrow_mut().unplugged = true;
    assert!(world.until(6_000_000, |world| world.interface.link() == Link::Down));
    let now = world.now();
    assert_eq!(
        world.interface.try_send(&[&[0; 60]], now),
        Err(SendError::Down)
    );
    cable.borrow_mut().unplugged = false;
    assert!(world.until(6_000_000, |world| world.interface.link() == Link::Up));
}

#[test]
fn late_answers_are_waited_for() {
    let (unit, cable) = behind_hub(Speed::Full, true);
    cable.borrow_mut().late = 30;
    let mut world = World::new(Character::Emulator, unit, Kind::Rndis);
    assert!(world.up());
}

#[test]
fn nothing_is_received_while_nobody_wants_it() {
    each(|mut world, cable, _, _| {
        let now = world.now();
        world.interface.set_receiving(false, now);
        let frames: Vec<_> = (0..4).map(|n| frame(200, n)).collect();
        cable.borrow_mut().inward.extend(frames.clone());
        world.run(50_000);
        // The transfer that was armed still ends.
        assert_eq!(world.interface.in_flight().received, 1);
        let now = world.now();
        world.interface.set_receiving(true, now);
        for expected in frames {
            assert!(world.receive(20_000) == Some(expected));
        }
    });
}

#[test]
fn an_idle_interface_is_left_alone() {
    each(|mut world, _, _, _| {
        world.run(1_100_000);
        let before = world.serves;
        world.run(4_000_000);
        // A question for the link and some for hubs, each of some steps.
        assert!(world.serves - before < 50, "{}", world.serves - before);
    });
}
