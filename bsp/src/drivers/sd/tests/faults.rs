//! Everything fails in every way: no memory is touched that is not lent, each request ends in time, what ended well is as
//! it was said, and afterwards the card works again.

use proptest::prelude::*;

use super::{CHARACTERS, LARGE, SMALL, World, cards};
use crate::block::{BlockDevice, BlockError};
use crate::drivers::sd::model::card::Card;
use crate::drivers::sd::model::engine::Ills;
use crate::drivers::sd::model::{Character, Fault};

/// One transfer with this fault, and what has become of it.
fn with_fault(
    character: Character,
    fault: Fault,
    wait: u32,
    writes: bool,
) -> (World, Result<(), BlockError>) {
    let mut world = World::ready(character, Card::new(LARGE, true), true);
    world.write(0, &[8, 8]);
    world.model.0.borrow_mut().faults = vec![(wait, fault)];
    let completion = match writes {
        true => world.write(2, &[8, 3]),
        false => world.read(2, &[8, 3]),
    };
    (world, completion.result)
}

/// Faults that pass.
const PASSING: [Fault; 22] = [
    Fault::Answer(1 << 16, false),
    Fault::Answer(1 << 16, true),
    Fault::Answer(1 << 17, true),
    Fault::Answer(1 << 16 | 1 << 17, false),
    Fault::Answer(1 << 18, true),
    Fault::Answer(1 << 19, true),
    Fault::Silent,
    Fault::Status(1 << 19),
    Fault::Status(1 << 21),
    Fault::Status(1 << 23),
    Fault::Data(0, 1 << 20),
    Fault::Data(3, 1 << 21),
    Fault::Data(10, 1 << 22),
    Fault::Data(11, 1 << 21),
    Fault::Data(5, 0),
    Fault::Later(1 << 20),
    Fault::Stop,
    Fault::Busy(400_000),
    Fault::Glitch,
    Fault::Engine(Ills {
        error: true,
        lost: false,
        stuck: false,
        slow_stop: 0,
    }),
    Fault::Engine(Ills {
        error: false,
        lost: true,
        stuck: false,
        slow_stop: 3,
    }),
    Fault::Engine(Ills {
        error: false,
        lost: false,
        stuck: true,
        slow_stop: 50,
    }),
];

#[test]
fn what_passes_is_not_seen_by_the_requester() {
    for character in CHARACTERS {
        for fault in PASSING {
            for writes in [false, true] {
                for wait in 0..3 {
                    let (mut world, result) = with_fault(character, fault, wait, writes);
                    assert_eq!(result, Ok(()), "{fault:?} {wait} {writes}");
                    world.model.0.borrow_mut().engine.ills = Ills::default();
                    assert_eq!(world.read(0, &[16]).result, Ok(()));
                    assert_eq!(world.write(0, &[16]).result, Ok(()));
                }
            }
        }
    }
}

#[test]
fn what_is_told_is_not_waited_for_and_needs_no_new_set_up() {
    for fault in [
        Fault::Data(3, 1 << 20),
        Fault::Data(3, 1 << 21),
        Fault::Data(10, 1 << 22),
        Fault::Answer(1 << 16, false),
        Fault::Answer(1 << 17, true),
        Fault::Status(1 << 19),
        Fault::Later(1 << 19),
    ] {
        for character in CHARACTERS {
            for writes in [false, true] {
                let mut world = World::ready(character, Card::new(LARGE, true), true);
                world.model.0.borrow_mut().faults = vec![(0, fault)];
                let before = world.model.now();
                let completion = match writes {
                    true => world.write(2, &[8, 3]),
                    false => world.read(2, &[8, 3]),
                };
                assert_eq!(completion.result, Ok(()));
                let counters = world.device.counters();
                assert_eq!((counters.retries, counters.set_up), (1, 1), "{fault:?}");
                assert!(world.model.now() - before < 50_000, "{fault:?} {writes}");
            }
        }
    }
}

#[test]
fn what_goes_on_is_not_late() {
    for with_engine in [true, false] {
        let mut world = World::ready(Character::Board, Card::new(LARGE, true), with_engine);
        // Longer in all than nothing may happen at all.
        world.model.0.borrow_mut().block_time = 10_000;
        assert_eq!(world.write(0, &[8; 32]).result, Ok(()));
        assert_eq!(world.read(0, &[8; 32]).result, Ok(()));
        assert_eq!(world.device.counters().retries, 0);
        // But there is an end to it.
        world.model.0.borrow_mut().block_time = 100_000;
        assert_eq!(world.read(0, &[8; 32]).result, Err(BlockError::TimedOut));
    }
}

#[test]
fn what_does_not_pass_ends_in_its_own_error() {
    let always = |fault| (0..40).map(|_| (0, fault)).collect::<Vec<_>>();
    for (fault, errors) in [
        (Fault::Data(2, 1 << 21), &[BlockError::Damaged][..]),
        (Fault::Data(2, 1 << 20), &[BlockError::TimedOut]),
        (Fault::Data(2, 0), &[BlockError::TimedOut]),
        (Fault::Stop, &[BlockError::TimedOut]),
    ] {
        for character in CHARACTERS {
            let mut world = World::ready(character, Card::new(LARGE, true), true);
            world.model.0.borrow_mut().faults = always(fault);
            // The set-up's own data must come.
            world.model.0.borrow_mut().faults.truncate(2);
            let result = world.read(0, &[8, 8]).result;
            assert_eq!(result, Ok(()), "two of three");
            world.model.0.borrow_mut().faults = always(fault);
            let result = world.read(0, &[8, 8]).result.unwrap_err();
            // Or the card cannot even be set up any more.
            assert!(
                errors.contains(&result) || result == BlockError::Removed,
                "{fault:?} {result:?}"
            );
        }
    }
}

#[test]
fn sectors_that_only_the_card_knows_to_be_none_end_in_an_error() {
    for character in CHARACTERS {
        for with_engine in [true, false] {
            for by_sector in [true, false] {
                let sectors = if by_sector { LARGE } else { SMALL };
                let mut card = Card::new(sectors, by_sector);
                card.sectors -= 1024;
                let end = card.sectors;
                let mut world = World::ready(character, card, with_engine);
                let before = world.model.now();
                let beyond = [world.read(end, &[8]), world.read(end, &[1])];
                assert!(
                    beyond
                        .iter()
                        .all(|it| it.result == Err(BlockError::OutOfRange))
                );
                assert!(world.model.now() - before < 2_000_000);
                // Some are there: they are not enough.
                let across = world.read(end - 4, &[8]).result;
                assert!(across.is_err(), "{across:?}");
                assert_eq!(world.write(end, &[8]).result, Err(BlockError::OutOfRange));
                assert_eq!(world.write(end - 8, &[8]).result, Ok(()));
                assert_eq!(world.read(end - 8, &[8]).result, Ok(()));
            }
        }
    }
}

#[test]
fn protected_sectors_are_not_written() {
    for character in CHARACTERS {
        let mut card = Card::new(SMALL, false);
        card.protected = 100..200;
        let mut world = World::ready(character, card, true);
        assert_eq!(world.write(150, &[8]).result, Err(BlockError::Protected));
        assert_eq!(world.device.counters().retries, 0);
        // One that runs into it.
        assert_eq!(world.write(96, &[8]).result, Err(BlockError::Protected));
        assert_eq!(world.write(92, &[8]).result, Ok(()));
        assert_eq!(world.read(92, &[16]).result, Ok(()));
    }
}

#[test]
fn a_card_that_stays_busy_ends_in_an_error() {
    for character in CHARACTERS {
        let mut world = World::ready(character, Card::new(LARGE, true), true);
        world.model.0.borrow_mut().faults = vec![(0, Fault::Busy(u64::MAX))];
        let before = world.model.now();
        let result = world.write(0, &[8, 8]).result;
        assert!(result.is_err(), "{result:?}");
        assert!(world.model.now() - before < 30_000_000);
    }
}

#[test]
fn a_card_that_is_pulled_out_is_gone_at_once_and_works_when_it_is_back() {
    for character in CHARACTERS {
        for after in 0..12 {
            for (writes, with_engine) in
                [(true, true), (true, false), (false, true), (false, false)]
            {
                let card = Card::new(LARGE, true);
                let mut world = World::ready(character, card.clone(), with_engine);
                world.model.0.borrow_mut().faults = vec![(0, Fault::Remove(after))];
                let before = world.model.now();
                let result = match writes {
                    true => world.write(0, &[8, 3]).result,
                    false => world.read(0, &[8, 3]).result,
                };
                // All sectors were there before.
                let late = after == 11 && result == Ok(());
                assert!(
                    late || result == Err(BlockError::Removed),
                    "{after} {writes} {result:?}"
                );
                assert!(world.model.now() - before < 3_000_000);
                if !late {
                    assert_eq!(world.device.medium(), None);
                    assert_eq!(world.device.next_look(), None);
                }
                world.model.0.borrow_mut().card = Some(card);
                world.set_up();
                if late {
                    // It was not missed, and must be set up nevertheless.
                    assert!(world.read(0, &[8]).result.is_ok());
                } else {
                    assert_eq!(world.device.medium().unwrap().generation, 2);
                }
                assert_eq!(world.write(0, &[8, 8]).result, Ok(()));
                assert_eq!(world.read(0, &[8, 8]).result, Ok(()));
            }
        }
    }
}

#[test]
fn an_engine_that_never_stops_keeps_its_memory() {
    let mut world = World::ready(Character::Board, Card::new(LARGE, true), true);
    let ills = Ills {
        stuck: true,
        slow_stop: u32::MAX,
        ..Ills::default()
    };
    world.model.0.borrow_mut().faults = vec![(0, Fault::Engine(ills))];
    let segment = crate::block::Segment {
        at: super::BASE,
        sectors: 8,
    };
    world
        .start(crate::block::Direction::Read, 0, &[segment])
        .unwrap();
    let end = world.model.now() + 20_000_000;
    while world.model.now() < end {
        let until = world.model.now() + 100_000;
        let model = world.model.clone();
        world.run(|_| model.now() >= until);
        assert_eq!(world.device.take_completion(), None);
    }
    // When it does stop, the request ends, and the processor moves the data.
    world.model.0.borrow_mut().engine.ills = Ills::default();
    world.model.0.borrow_mut().engine.lose();
    assert_eq!(world.finish().result, Ok(()));
}

#[test]
fn an_engine_that_keeps_failing_is_left_alone() {
    let mut world = World::ready(Character::Board, Card::new(LARGE, true), true);
    world.model.0.borrow_mut().engine.ills.error = true;
    for _ in 0..6 {
        assert_eq!(world.read(0, &[8]).result, Ok(()));
    }
    assert_eq!(world.device.counters().by_processor, 6);
    assert_eq!(world.device.counters().retries, 3);
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => prop::sample::select(&PASSING[..]),
        1 => (0..20u32, any::<u8>()).prop_map(|(after, bits)| Fault::Data(after, u32::from(bits & 7) << 20)),
        1 => (0..20u32).prop_map(Fault::Remove),
        1 => Just(Fault::Swap),
        1 => any::<u32>().prop_map(|bits| Fault::Status(bits & 0xfdf9_8000)),
        1 => any::<u32>().prop_map(|bits| Fault::Later(bits & 0xfdf9_8000)),
        1 => (0..2_000_000u64).prop_map(Fault::Busy),
        1 => (0..200_000u64).prop_map(Fault::SlowReset),
        1 => (any::<bool>(), any::<bool>(), any::<bool>(), 0..9u32).prop_map(|(error, lost, stuck, slow_stop)| {
            Fault::Engine(Ills { error, lost, stuck, slow_stop })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn at_random(
        faults in prop::collection::vec((0..40u32, fault()), 0..8),
        requests in prop::collection::vec((any::<bool>(), 0..40u64, prop::collection::vec(1..12u32, 1..5)), 1..12),
        which in 0..8usize,
    ) {
        let card = cards()[which & 1].clone();
        let mut other = card.clone();
        other.number += 1;
        other.contents = Default::default();
        let mut world = World::ready(CHARACTERS[which >> 1 & 1], card.clone(), which >> 2 == 0);
        world.model.0.borrow_mut().faults = faults;
        world.model.0.borrow_mut().other = Some(other.clone());
        for (writes, first, lengths) in requests {
            if world.device.medium().is_none_or(|medium| medium.generation > 1) {
                break;
            }
            match writes {
                true => world.write(first, &lengths),
                false => world.read(first, &lengths),
            };
        }
        // What was meant for one card has not reached the other.
        prop_assert!(other.contents.borrow().is_empty());
        {
            let mut state = world.model.0.borrow_mut();
            state.faults.clear();
            state.engine.ills = Ills::default();
            state.slow_reset = 0;
            let mut card = card;
            card.power_cycle();
            state.card = Some(card);
        }
        // Also a card that was changed unseen.
        let now = world.model.now();
        if world.device.medium().is_none() {
            world.device.look_for_medium(now);
            world.run(|device| !device.is_setting_up());
        }
        if world.read(0, &[8, 8]).result.is_err() {
            prop_assert!(world.device.medium().is_some());
        }
        prop_assert_eq!(world.read(0, &[64]).result, Ok(()));
        prop_assert_eq!(world.write(7, &[9]).result, Ok(()));
        prop_assert_eq!(world.read(0, &[64]).result, Ok(()));
    }
}
