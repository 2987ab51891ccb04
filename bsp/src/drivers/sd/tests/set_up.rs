//! Cards are set up, whatever they are; and what cannot be is told.

use super::{CHARACTERS, LARGE, SMALL, World, cards};
use crate::block::Direction;
use crate::block::{BlockDevice, MediumKind, Request, Segment, StartError};
use crate::drivers::sd::model::card::Card;
use crate::drivers::sd::model::memory::BASE;
use crate::drivers::sd::model::{Character, Fault};

#[test]
fn each_kind_of_card_is_recognised() {
    for character in CHARACTERS {
        for (card, kind) in [
            (Card::new(SMALL, false), MediumKind::Sdsc),
            // By blocks of 1,024 bytes.
            (Card::new(1 << 22, false), MediumKind::Sdsc),
            (Card::new(LARGE, true), MediumKind::Sdhc),
            (Card::new(1 << 27, true), MediumKind::Sdxc),
        ] {
            let sectors = card.sectors;
            let world = World::ready(character, card, true);
            let medium = world.device.medium().unwrap();
            assert_eq!((medium.kind, medium.sectors), (kind, sectors));
            assert_eq!((medium.read_only, medium.generation), (false, 1));
            let details = world.device.details().unwrap();
            assert_eq!((details.lines, details.hertz), (4, 50_000_000));
        }
    }
}

#[test]
fn old_and_poor_cards_work_as_they_can() {
    for change in [
        (|card| card.version_2 = false) as fn(&mut Card),
        |card| card.high_speed = false,
        |card| card.four_lines = false,
        |card| card.slow = 100,
    ] {
        let mut card = Card::new(SMALL, false);
        change(&mut card);
        let (fast, wide) = (card.high_speed, card.four_lines);
        let mut world = World::ready(Character::Board, card, true);
        let details = world.device.details().unwrap();
        assert_eq!(details.hertz, if fast { 50_000_000 } else { 25_000_000 });
        assert_eq!(details.lines, if wide { 4 } else { 1 });
        assert_eq!(world.write(5, &[8, 8]).result, Ok(()));
        assert_eq!(world.read(4, &[16, 3]).result, Ok(()));
    }
}

#[test]
fn without_a_card_that_is_known_soon() {
    for character in CHARACTERS {
        let mut world = World::new(character, None, true);
        let begun = world.model.now();
        world.set_up();
        assert_eq!(world.device.medium(), None);
        // Power-up time, and three commands at the slow clock.
        assert!(world.model.now() - begun < 10_000);
        assert_eq!(world.model.0.borrow().commands, [0, 8, 55]);
        assert_eq!(world.device.next_look(), None);
    }
}

#[test]
fn a_card_that_never_gets_ready_is_given_up() {
    let mut card = Card::new(LARGE, true);
    card.slow = u32::MAX;
    let mut world = World::new(Character::Board, Some(card), true);
    let begun = world.model.now();
    world.set_up();
    assert_eq!(world.device.medium(), None);
    assert!(world.model.now() - begun < 4_000_000);
}

#[test]
fn a_locked_card_is_no_medium() {
    let mut card = Card::new(SMALL, false);
    card.locked = true;
    let mut world = World::new(Character::Board, Some(card), true);
    world.set_up();
    assert_eq!(world.device.medium(), None);
}

#[test]
fn protected_cards_are_read_only() {
    for bits in 1..4 {
        let mut card = Card::new(LARGE, true);
        card.write_protect = bits;
        let mut world = World::ready(Character::Board, card, true);
        assert!(world.device.medium().unwrap().read_only);
        let segment = Segment {
            at: BASE,
            sectors: 8,
        };
        let refused = world.start(Direction::Write, 0, &[segment]);
        assert_eq!(refused, Err(StartError::ReadOnly));
        assert_eq!(world.read(0, &[8]).result, Ok(()));
    }
}

#[test]
fn a_damaged_set_up_is_begun_anew() {
    let commands = {
        let world = World::ready(Character::Board, Card::new(SMALL, false), true);
        world.model.0.borrow().commands.len() as u32
    };
    for character in CHARACTERS {
        for fault in [
            Fault::Answer(1 << 16, false),
            Fault::Answer(1 << 17, true),
            Fault::Answer(1 << 18, true),
            Fault::Answer(1 << 19, false),
            Fault::Silent,
            Fault::Glitch,
            Fault::Status(1 << 19),
            Fault::Data(0, 1 << 21),
            Fault::Data(0, 1 << 20),
            Fault::Data(0, 0),
        ] {
            for wait in 0..commands {
                for card in cards() {
                    let mut world = World::new(character, Some(card), true);
                    world.model.0.borrow_mut().faults = vec![(wait, fault)];
                    world.set_up();
                    // That nobody answers the first questions is the same as nobody being there.
                    if world.device.medium().is_none() {
                        let questions = wait < 5;
                        assert!(questions, "{fault:?} after {wait} commands");
                        world.set_up();
                    }
                    assert_eq!(world.write(1, &[8]).result, Ok(()), "{fault:?} {wait}");
                    assert_eq!(world.read(0, &[10]).result, Ok(()));
                }
            }
        }
    }
}

#[test]
fn a_controller_that_does_not_reset_is_given_up() {
    let mut world = World::new(Character::Board, Some(Card::new(SMALL, false)), true);
    world.model.0.borrow_mut().slow_reset = u64::MAX;
    world.set_up();
    assert_eq!(world.device.medium(), None);
    world.model.0.borrow_mut().slow_reset = 20_000;
    world.set_up();
    assert!(world.device.medium().is_some());
}

#[test]
fn another_card_is_another_generation() {
    let mut world = World::ready(Character::Board, Card::new(LARGE, true), true);
    let segment = Segment {
        at: BASE,
        sectors: 8,
    };
    let request = Request {
        direction: Direction::Write,
        first: 0,
        segments: &[segment],
        generation: 1,
    };
    let mut other = Card::new(LARGE, true);
    other.number = 0x4321;
    let contents = other.contents.clone();
    world.model.0.borrow_mut().other = Some(other);
    world.model.0.borrow_mut().faults = vec![(0, Fault::Swap)];
    let failed = world.write(0, &[8]);
    assert_eq!(failed.result, Err(crate::block::BlockError::Removed));
    assert!(
        contents.borrow().is_empty(),
        "nothing reaches the other card"
    );
    assert_eq!(world.device.medium().unwrap().generation, 2);
    let now = world.model.now();
    assert_eq!(world.device.start(&request, now), Err(StartError::Changed));
}
