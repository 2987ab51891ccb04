//! The boards' chips, behind hubs as on the boards.

use super::{BOARD, World, frame};
use crate::drivers::dwc2::model::Character;
use crate::drivers::dwc2::model::adapter::{Adapter, Cable};
use crate::drivers::dwc2::model::chips::{Chip, Lan};
use crate::drivers::dwc2::model::hub::Hub;
use crate::drivers::dwc2::model::unit::Unit;
use crate::drivers::ethernet::nic::Kind;
use crate::drivers::usb::Speed;
use crate::traits::{Ethernet, Link};

/// The chip where its board has it.
fn board(chip: Chip) -> (Unit, Cable) {
    let (unit, cable) = Lan::unit(chip);
    let none = || (0..4).map(|_| None);
    let inner = std::iter::once(Some(unit)).chain(none()).collect();
    let hub = Hub::unit(Speed::High, inner);
    match chip {
        Chip::Lan9514 => (hub, cable),
        // Two hubs in series.
        Chip::Lan7800 => {
            let outer = std::iter::once(Some(hub)).chain(none()).collect();
            (Hub::unit(Speed::High, outer), cable)
        }
    }
}

fn up(chip: Chip) -> (World, Cable) {
    let (unit, cable) = board(chip);
    let mut world = World::new(Character::Board, unit, Kind::Rndis);
    assert!(world.up(), "{chip:?}");
    (world, cable)
}

const CHIPS: [(Chip, Kind); 2] = [
    (Chip::Lan9514, Kind::Lan9514),
    (Chip::Lan7800, Kind::Lan7800),
];

#[test]
fn frames_of_every_length_pass_both_ways() {
    for (chip, kind) in CHIPS {
        let (mut world, cable) = up(chip);
        assert_eq!(world.interface.kind(), Some(kind));
        assert_eq!(world.interface.address(), Some(BOARD));
        // The duplex is told by the second look at the latest.
        world.run(1_500_000);
        for length in (14..1515)
            .step_by(7)
            .chain([504, 498, 500, 508, 1016, 1010, 1012, 1514])
        {
            let sent = frame(length, length as u32);
            assert!(world.send(&sent));
            world.run(2_000);
            let arrived = std::mem::take(&mut cable.borrow_mut().outward);
            assert!(arrived == [sent.clone()], "{chip:?} out {length}");
            cable.borrow_mut().inward.push_back(sent.clone());
            assert!(world.receive(5_000) == Some(sent), "{chip:?} in {length}");
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
        assert_eq!(cable.borrow().misused, 0);
    }
}

#[test]
fn the_link_is_followed() {
    for (chip, _) in CHIPS {
        let (mut world, cable) = up(chip);
        cable.borrow_mut().unplugged = true;
        assert!(world.until(6_000_000, |world| world.interface.link() == Link::Down));
        cable.borrow_mut().unplugged = false;
        assert!(world.until(6_000_000, |world| world.interface.link() == Link::Up));
    }
}

#[test]
fn lying_headers_cost_frames_and_nothing_else() {
    for (chip, _) in CHIPS {
        let (mut world, cable) = up(chip);
        for bit in 0..32 {
            cable.borrow_mut().lie = Some((bit, 1));
            cable.borrow_mut().inward.push_back(frame(300, bit as u32));
            let lied = world.receive(3_000);
            // Bits that mean nothing change nothing; a wrong length is another frame or none.
            assert!(lied.is_none_or(|bytes| bytes.len() <= 1514));
            let good = frame(301, bit as u32);
            cable.borrow_mut().inward.push_back(good.clone());
            let mut next = world.receive(5_000);
            while next.as_ref().is_some_and(|bytes| *bytes != good) {
                next = world.receive(5_000);
            }
            assert!(next == Some(good), "{chip:?} {bit}");
        }
    }
}

/// Places that had one adapter's frames are made ready for the next one's.
#[test]
fn another_kind_of_adapter_may_follow() {
    let (unit, _) = Lan::unit(Chip::Lan9514);
    let mut world = World::new(Character::Board, unit, Kind::Rndis);
    let (next, cable) = Adapter::unit(Speed::High, false);
    assert!(world.up());
    for number in 0..20 {
        assert!(world.send(&frame(1514, number)));
    }
    world.run(50_000);
    world.model.0.borrow_mut().unplug();
    world.run(200_000);
    world.model.0.borrow_mut().plug(next);
    assert!(world.up());
    assert_eq!(world.interface.kind(), Some(Kind::Rndis));
    let frames: Vec<_> = (0..20).map(|number| frame(900, number)).collect();
    for frame in &frames {
        assert!(world.send(frame));
    }
    world.run(50_000);
    assert!(cable.borrow().outward == frames);
}

/// A transfer full of pieces that are no frames costs one look: what is behind the first is dropped with it.
#[test]
fn a_transfer_of_many_damaged_pieces_is_dropped_whole() {
    let (mut world, cable) = up(Chip::Lan9514);
    // The first status says four bytes instead of 1,518, which is the check sequence and no frame; so do all words of
    // the frame.
    const EMPTY: u32 = 4 << 16;
    let frame = EMPTY.to_le_bytes().repeat(378);
    let change = ((frame.len() as u32 + 4) << 16) ^ EMPTY;
    cable.borrow_mut().lie = Some((0, change));
    cable.borrow_mut().inward.push_back(frame);
    assert_eq!(world.receive(10_000), None);
    assert_eq!(world.interface.counters().malformed, 1);
}
