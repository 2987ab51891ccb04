//! Sectors come and go, by engine and by processor, in all shapes.

use proptest::prelude::*;

use super::{CHARACTERS, LARGE, SMALL, World, cards};
use crate::block::{BlockDevice, Direction, MOST_SECTORS, Segment, StartError};
use crate::drivers::sd::model::Character;
use crate::drivers::sd::model::card::Card;
use crate::drivers::sd::model::memory::BASE;

#[test]
fn what_was_written_is_read() {
    for character in CHARACTERS {
        for with_engine in [true, false] {
            for card in cards() {
                let end = card.sectors;
                let mut world = World::ready(character, card, with_engine);
                for (first, lengths) in [
                    (0, vec![1]),
                    (3, vec![8]),
                    (11, vec![1, 2, 3, 5]),
                    (100, vec![8; 32]),
                    (1_000, vec![MOST_SECTORS]),
                    (end - 1, vec![1]),
                    (end - 40, vec![16, 24]),
                ] {
                    assert_eq!(world.write(first, &lengths).result, Ok(()));
                    assert_eq!(world.read(first.saturating_sub(1), &[1]).result, Ok(()));
                    assert_eq!(world.read(first, &lengths).result, Ok(()));
                }
                assert_eq!(world.device.counters().retries, 0);
                assert_eq!(world.device.counters().set_up, 1);
            }
        }
    }
}

#[test]
fn the_engine_moves_what_is_long_enough() {
    let mut world = World::ready(Character::Board, Card::new(LARGE, true), true);
    world.write(0, &[8]);
    world.read(0, &[4, 4]);
    assert_eq!(world.device.counters().by_processor, 0);
    world.read(0, &[7]);
    assert_eq!(world.device.counters().by_processor, 1);
    // Memory that devices do not reach.
    world.ram.borrow_mut().reached = false;
    assert_eq!(world.read(0, &[8]).result, Ok(()));
    assert_eq!(world.device.counters().by_processor, 2);
    world.ram.borrow_mut().reached = true;
    world.read(0, &[8]);
    assert_eq!(world.device.counters().by_processor, 2);
}

#[test]
fn one_sector_goes_by_its_own_command_and_more_by_one_for_all() {
    let mut world = World::ready(Character::Board, Card::new(LARGE, true), true);
    world.model.0.borrow_mut().commands.clear();
    world.read(0, &[1]);
    world.read(0, &[2]);
    world.write(0, &[1]);
    world.write(0, &[8, 8]);
    // A write is asked after.
    let commands = world.model.0.borrow().commands.clone();
    let asked: Vec<_> = commands.iter().filter(|index| **index != 13).collect();
    assert_eq!(asked, [&17, &18, &24, &25]);
    let last = commands.iter().rev().take_while(|index| **index == 13);
    assert!(last.count() >= 1);
}

#[test]
fn a_card_that_looks_ahead_beyond_its_end_is_forgiven() {
    for character in CHARACTERS {
        let mut card = Card::new(SMALL, false);
        card.eager = true;
        let mut world = World::ready(character, card, true);
        assert_eq!(world.read(SMALL - 16, &[16]).result, Ok(()));
        assert_eq!(world.device.counters().retries, 0);
    }
}

#[test]
fn what_is_no_request_is_not_begun() {
    let mut world = World::ready(Character::Board, Card::new(SMALL, false), true);
    let segment = Segment {
        at: BASE,
        sectors: 8,
    };
    let mut refusal = |first, segments: &[Segment]| world.start(Direction::Read, first, segments);
    assert_eq!(refusal(SMALL - 7, &[segment]), Err(StartError::OutOfRange));
    assert_eq!(refusal(SMALL, &[segment]), Err(StartError::OutOfRange));
    assert_eq!(refusal(u64::MAX, &[segment]), Err(StartError::OutOfRange));
    assert_eq!(refusal(0, &[]), Err(StartError::Malformed));
    let odd = Segment {
        at: BASE + 64,
        sectors: 8,
    };
    assert_eq!(refusal(0, &[odd]), Err(StartError::Malformed));
    let commands = world.model.0.borrow().commands.len();
    assert_eq!(world.start(Direction::Read, SMALL - 8, &[segment]), Ok(()));
    let now = world.model.now();
    let request = crate::block::Request {
        direction: Direction::Read,
        first: 0,
        segments: &[segment],
        generation: 1,
    };
    assert_eq!(world.device.start(&request, now), Err(StartError::Busy));
    assert_eq!(world.finish().result, Ok(()));
    assert_eq!(world.model.0.borrow().commands.len(), commands + 1);
}

#[test]
fn at_rest_the_device_wants_nothing() {
    for character in CHARACTERS {
        let mut world = World::ready(character, Card::new(SMALL, false), true);
        world.write(0, &[8]);
        assert_eq!(world.device.next_look(), None);
        assert!(!world.model.interrupts());
        let accesses = world.model.0.borrow().accesses;
        world.device.serve(world.model.now());
        // It looks whether it was meant, and touches nothing.
        assert_eq!(world.model.0.borrow().accesses, accesses + 1);
    }
}

fn shape() -> impl Strategy<Value = (bool, u64, Vec<u32>)> {
    let lengths = prop::collection::vec(1..20u32, 1..12);
    (any::<bool>(), 0..200u64, lengths)
}

proptest! {
    #[test]
    fn any_order_of_requests_gives_the_same_contents(
        shapes in prop::collection::vec(shape(), 1..20),
        which in 0..8usize,
    ) {
        let card = cards()[which & 1].clone();
        let mut world = World::ready(CHARACTERS[which >> 1 & 1], card, which >> 2 == 0);
        for (writes, first, lengths) in shapes {
            let completion = match writes {
                true => world.write(first, &lengths),
                false => world.read(first, &lengths),
            };
            prop_assert_eq!(completion.result, Ok(()));
            prop_assert_eq!(completion.sectors, lengths.iter().sum::<u32>());
        }
    }
}
