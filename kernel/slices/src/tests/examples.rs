//! Examples: one page of what slices do.

use exopi_abi::Error;
use exopi_abi::domain::ObjectName;
use exopi_abi::slice::{Place, SLICES_PER_CORE, SliceRecord};
use exopi_cap::Epochs;

use super::{Board, LENGTHS, LIMIT, SLICE, account, environment, records};
use crate::{DEBT_CAP_SLICES, LOOKS, Lengths, Of, Pass, Runnable, Slices, decayed};

const A: u16 = 1;
const B: u16 = 2;
const C: u16 = 3;

#[test]
fn positions_are_the_order_and_numbers_the_share() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    for (position, who) in [(90, C), (7, B), (0, A), (1, A)] {
        board.place(position, who);
    }
    assert_eq!(board.order(8), [A, A, B, C, A, A, B, C]);
    assert_eq!(board.now, 8 * SLICE);
}

#[test]
fn what_is_left_carries_over_up_to_one_slice() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    board.place(0, A);
    board.place(1, B);
    for (length, used) in [(100, 70), (130, 0), (200, 150), (150, 150), (100, 100)] {
        assert_eq!(board.next().unwrap().length, length);
        board.run(used);
        assert_eq!(board.order(1), [B]);
    }
}

#[test]
fn sleeping_is_as_good_as_yielding_at_once() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    let slice = board.place(0, A);
    board.place(1, B);
    board.environments.set_ready(environment(A), false);
    assert_eq!(board.order(3), [B, B, B]);
    let carry = |board: &Board<'_>| board.slices.get(slice).unwrap().carry;
    assert_eq!(u64::from(carry(&board)), SLICE);
    board.environments.set_ready(environment(A), true);
    assert_eq!(board.next().unwrap().length, 2 * SLICE);
    assert_eq!(carry(&board), 0);
}

#[test]
fn each_tick_of_excess_is_paid_back() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    board.place(0, A);
    board.place(1, B);
    board.next();
    assert_eq!(board.run(SLICE + LIMIT), LIMIT);
    assert_eq!(board.order(1), [B]);
    let given = board.next().unwrap();
    assert_eq!(given.length, SLICE - LIMIT);
    assert_eq!(board.environments.debt(given.environment), 0);
}

#[test]
fn slices_wholly_eaten_are_skipped_and_pay() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    let slice = board.place(0, A);
    board.place(1, B);
    let debt = 2 * SLICE + SLICE / 2;
    board.environments.set_debt(environment(A).word(), debt);
    assert!(LENGTHS.is_indebted(debt) && !LENGTHS.is_indebted(SLICE));
    assert_eq!(board.order(2), [B, B]);
    let given = board.next().unwrap();
    assert_eq!((given.slice, given.length), (slice, SLICE / 2));
}

#[test]
fn what_is_too_short_to_run_in_carries_over() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    board.place(0, A);
    board.place(1, B);
    let debt = SLICE - (LENGTHS.least() - 1);
    board.environments.set_debt(environment(A).word(), debt);
    assert_eq!(board.order(1), [B]);
    assert_eq!(board.next().unwrap().length, SLICE + LENGTHS.least() - 1);
}

#[test]
fn sleepers_pay_with_their_turns() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    board.place(0, A);
    board.place(1, B);
    let word = environment(A).word();
    board.environments.set_debt(word, 3 * SLICE);
    board.environments.set_ready(environment(A), false);
    assert_eq!(board.order(1), [B]);
    assert_eq!(board.environments.debt(word), 2 * SLICE);
    // Nobody wants the core: the rest is paid at once.
    board.environments.set_ready(environment(B), false);
    assert_eq!(board.next(), None);
    assert_eq!(board.environments.debt(word), 0);
}

/// Where everybody is in debt, the core is not kept from them for as many looks as they owe turns.
#[test]
fn debts_of_all_are_paid_in_three_ways() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    for position in 0..8 {
        board.place(position, position as u16);
    }
    // The last one that could run owes the least.
    let owed = |index: u64| LENGTHS.debt_cap() - index * SLICE;
    for index in 0..8_u64 {
        let word = environment(index as u16).word();
        board.environments.set_debt(word, owed(index));
    }
    board.environments.set_ready(environment(7), false);
    let mut payments = 0;
    let run = loop {
        let environments = &board.environments;
        match board.slices.pass(0, |word| environments.look(word)) {
            Pass::Run { environment, .. } => break environment,
            Pass::Paid { environment, paid } => board.environments.pay(environment, paid),
            Pass::Continue => {}
            Pass::Idle => panic!("somebody is ready"),
        }
        payments += 1;
    };
    assert_eq!(run, environment(6).word());
    assert!(payments <= 3 * 8, "{payments} payments");
    // Each has paid as many turns as that one, whose next one it is, and the last one too.
    for index in 0..6_u64 {
        let debt = board.environments.debt(environment(index as u16).word());
        assert_eq!(debt, (5 - index) * SLICE, "{index}");
    }
}

#[test]
fn debts_are_capped_and_decay() {
    let most = DEBT_CAP_SLICES * SLICE;
    assert_eq!(LENGTHS.charged(most - 1, 1), most);
    assert_eq!(LENGTHS.charged(most, 1), most);
    assert_eq!(decayed(10, 3), 7);
    assert_eq!(decayed(10, 30), 0);
}

#[test]
fn one_that_could_run_alone_needs_no_timer() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    board.place(0, A);
    board.place(1, A);
    board.place(2, B);
    board.environments.set_ready(environment(B), false);
    let first = board.next().unwrap();
    assert_eq!(board.deadline(environment(A)), None);

    // Long after its end B wakes up: A has what is left of the turn that it is in by then.
    board.now = 7 * SLICE + 30;
    board.environments.set_ready(environment(B), true);
    assert_eq!(board.deadline(environment(A)), Some(8 * SLICE));
    assert_eq!(board.deadline(environment(A)), Some(8 * SLICE));
    assert_eq!(board.run(SLICE - 30 + 2), 2);
    let record = board.slices.get(first.slice).unwrap();
    assert_eq!(record.carry, 0);
    assert_eq!(board.order(2), [A, B]);
}

#[test]
fn who_leaves_of_itself_when_alone_owes_nothing() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    let slice = board.place(0, A);
    board.next();
    assert_eq!(board.deadline(environment(A)), None);
    assert_eq!(board.run(5 * SLICE + 40), 0);
    assert_eq!(u64::from(board.slices.get(slice).unwrap().carry), 60);
}

#[test]
fn who_is_to_pay_is_reason_for_turns() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    board.place(0, A);
    board.place(1, B);
    board.environments.set_ready(environment(B), false);
    board.environments.set_debt(environment(B).word(), 1);
    board.next();
    assert_eq!(board.deadline(environment(A)), Some(SLICE));
}

#[test]
fn one_environment_is_told_by_one_comparison() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    for position in 0..SLICES_PER_CORE as u64 {
        board.place(position, A);
    }
    let looks = core::cell::Cell::new(0);
    let look = |_| {
        looks.set(looks.get() + 1);
        Runnable::YES
    };
    let slices = &mut board.slices;
    assert!(!slices.others_runnable(0, environment(A).word(), look));
    assert_eq!(looks.get(), 0);
    assert!(slices.others_runnable(0, environment(B).word(), look));
    assert_eq!(looks.get(), 1);
}

#[test]
fn too_many_runs_to_look_at_count_as_yes() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    let name = environment(A);
    for position in 0..LOOKS as u64 {
        board.place(position, 10 + position as u16);
    }
    let none = |_| Runnable::NO;
    assert!(!board.slices.others_runnable(0, name.word(), none));
    board.place(100, A);
    assert!(board.slices.others_runnable(0, name.word(), none));
}

#[test]
fn moving_ahead_of_the_cursor_gains_no_turn() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    let mut slice = board.place(0, A);
    board.place(100, B);
    let mut turns = [0; 2];
    for step in 0..60_u64 {
        let given = board.next().unwrap();
        if given.environment == environment(A).word() {
            turns[0] += 1;
            assert_eq!(given.slice, slice);
            // Just before the cursor would come by, if it went on from here.
            let to = 1 + (u64::from(slice.index) + 1 + step) % 99;
            let moved = board.slices.move_to(&mut board.epochs, slice, 0, Some(to));
            slice = moved.unwrap_or(slice);
        } else {
            turns[1] += 1;
        }
        board.run(given.length);
    }
    assert_eq!(turns, [30, 30]);
}

#[test]
fn allocating_anew_ahead_of_the_cursor_gains_no_turn() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    let mut slice = board.place(0, A);
    board.place(100, B);
    for turn in 0..40 {
        let given = board.next().unwrap();
        let mine = given.environment == environment(A).word();
        assert_eq!(mine, turn % 2 == 0);
        if mine {
            board.slices.free(slice).unwrap();
            slice = board.place(u64::from(slice.index + 1), A);
        }
        board.run(given.length);
    }
}

#[test]
fn a_turn_goes_on_when_its_slice_is_moved_bound_or_freed() {
    let mut records = records(2);
    let mut board = Board::new(&mut records);
    let slice = board.place(0, A);
    board.next();
    let moved = board
        .slices
        .move_to(&mut board.epochs, slice, 1, Some(9))
        .unwrap();
    assert_eq!(moved.index, Place::new(1, 9).unwrap().number());
    assert_eq!(board.slices.get(slice), None);
    assert_eq!(board.slices.turn(0).unwrap().slice, moved);
    assert_eq!(board.slices.turn(0).unwrap().end, SLICE);
    board.slices.bind(moved, environment(B)).unwrap();
    board.run(60);
    let record = *board.slices.get(moved).unwrap();
    assert_eq!(
        (record.environment, record.carry),
        (environment(B).word(), 40)
    );

    let slice = board.place(3, A);
    board.next();
    assert_eq!(board.slices.free(slice).unwrap().account, account(0));
    // Another one at the same place is another one.
    let other = board.place(3, A);
    board.run(60);
    assert_eq!(board.slices.get(other).unwrap().carry, 0);
}

#[test]
fn a_turn_that_could_not_begin_carries_over() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    let slice = board.place(0, A);
    let pass = board.slices.pass(0, |_| Runnable::YES);
    assert!(matches!(pass, Pass::Run { length: SLICE, .. }));
    assert_eq!(board.slices.turn(0), None);
    assert_eq!(board.slices.ended(0, 3), None);
    board.slices.declined(0);
    assert_eq!(u64::from(board.slices.get(slice).unwrap().carry), SLICE);
}

#[test]
fn refusals_say_why_and_change_nothing() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    let slice = board.place(5, A);
    let before = board.slices.records().to_vec();
    let last = board.epochs.last();
    let (slices, epochs) = (&mut board.slices, &mut board.epochs);
    let mut alloc =
        |core, position| slices.alloc(epochs, core, position, environment(A), account(0));
    assert_eq!(alloc(1, None), Err(Error::OutOfRange));
    assert_eq!(alloc(u64::MAX, Some(0)), Err(Error::OutOfRange));
    assert_eq!(alloc(0, Some(128)), Err(Error::OutOfRange));
    assert_eq!(alloc(0, Some(5)), Err(Error::Taken));
    let moved = slices.move_to(epochs, slice, 0, Some(5));
    assert_eq!(moved, Err(Error::Taken));
    let stale = ObjectName {
        index: slice.index,
        epoch: environment(A).epoch,
    };
    assert_eq!(slices.move_to(epochs, stale, 0, None), Err(Error::Stale));
    assert_eq!(slices.bind(stale, environment(B)), Err(Error::Stale));
    assert_eq!(slices.free(stale), Err(Error::Stale));
    let mut spent = Epochs::after(exopi_abi::capability::Epoch::LAST);
    let full = slices.alloc(&mut spent, 0, None, environment(A), account(0));
    assert_eq!(full, Err(Error::Exhausted));
    assert_eq!(slices.move_to(&mut spent, slice, 0, None), full);
    assert_eq!(slices.records(), before);
    assert_eq!(board.epochs.last(), last);
}

#[test]
fn the_lowest_free_position_is_any() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    board.place(0, A);
    board.place(2, A);
    let name = environment(B);
    for expected in core::iter::once(1).chain(3..SLICES_PER_CORE as u16) {
        let made = board
            .slices
            .alloc(&mut board.epochs, 0, None, name, account(0));
        assert_eq!(made.unwrap().index, expected);
    }
    let made = board
        .slices
        .alloc(&mut board.epochs, 0, None, name, account(0));
    assert_eq!(made, Err(Error::Exhausted));
    assert_eq!(board.slices.count(0), SLICES_PER_CORE);
}

#[test]
fn who_dies_loses_all_in_bounded_steps() {
    for of in [Of::Environment(environment(A)), Of::Account(account(A))] {
        let mut records = records(4);
        let mut slices = Slices::new(&mut records, LENGTHS);
        let mut epochs = Epochs::new();
        for number in 0..512_u64 {
            let who = if number % 3 == 0 { A } else { B };
            let (core, name) = (number / 128, environment(who));
            let made = slices.alloc(&mut epochs, core, None, name, account(who));
            assert_eq!(u64::from(made.unwrap().index), number);
        }
        let (mut from, mut freed, mut steps) = (Some(0), 0, 0);
        while let Some(at) = from {
            from = slices.free_of(of, at, |_, record| {
                assert!(of.is(&record));
                freed += 1;
            });
            steps += 1;
        }
        assert_eq!((freed, steps), (171, 512 / crate::FREE_LOOKS));
        assert!(slices.records().iter().all(|record| !of.is(record)));
        assert_eq!((0..4).map(|core| slices.count(core)).sum::<usize>(), 341);
    }
}

#[test]
fn slices_are_found_again_in_their_records() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    board.place(3, A);
    board.place(4, B);
    let Board {
        environments, now, ..
    } = board;
    let slices = Slices::new(&mut records, LENGTHS);
    assert_eq!(slices.count(0), 2);
    let mut board = Board {
        slices,
        epochs: Epochs::new(),
        environments,
        now,
    };
    assert_eq!(board.order(3), [A, B, A]);
    assert!(board.deadline(environment(A)).is_none());
}

/// A full vector of environments that sleep, on the way that is the last before the core is idle; all but its end
/// has been looked at.
fn about_to_be_idle(board: &mut Board<'_>) {
    for position in 0..SLICES_PER_CORE as u64 {
        board.place(position, position as u16);
    }
    let none = |_| Runnable::NO;
    while board.slices.pass(0, none) != Pass::Idle {}
    for _ in 0..SLICES_PER_CORE / LOOKS {
        assert_eq!(board.slices.pass(0, none), Pass::Continue);
    }
}

fn only(index: u16) -> impl Fn(u64) -> Runnable {
    move |word| Runnable {
        ready: word == environment(index).word(),
        ..Runnable::NO
    }
}

#[test]
fn a_wake_up_between_two_passes_is_seen() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    about_to_be_idle(&mut board);
    board.slices.look_again(0);
    let pass = board.slices.pass(0, only(0));
    assert!(matches!(pass, Pass::Run { slice, .. } if slice.index == 0));
}

#[test]
fn a_binding_between_two_passes_is_seen() {
    let mut records = records(1);
    let mut board = Board::new(&mut records);
    about_to_be_idle(&mut board);
    let slice = board.slices.name_at(Place::new(0, 3).unwrap()).unwrap();
    board.slices.bind(slice, environment(300)).unwrap();
    let pass = board.slices.pass(0, only(300));
    assert!(matches!(pass, Pass::Run { slice, .. } if slice.index == 3));
}

#[test]
fn a_slice_that_sleeps_elsewhere_keeps_that_when_its_turn_here_ends() {
    let mut records = records(2);
    let mut board = Board::new(&mut records);
    let slice = board.place(0, A);
    board.next();
    let moved = board.slices.move_to(&mut board.epochs, slice, 1, None);
    // It cannot run there while it runs here, so the turn there is for later.
    assert_eq!(board.slices.pass(1, |_| Runnable::NO), Pass::Idle);
    board.run(SLICE);
    let carry = board.slices.get(moved.unwrap()).unwrap().carry;
    assert_eq!(u64::from(carry), SLICE);
}

#[test]
fn a_machine_without_records_is_idle() {
    let mut slices = Slices::none();
    assert_eq!(slices.pass(0, |_| Runnable::YES), Pass::Idle);
    assert!(!slices.others_runnable(0, 0, |_| Runnable::YES));
    assert_eq!(slices.began(0, 7), u64::MAX);
    assert_eq!(slices.ended(0, 7), None);
    let mut records = [SliceRecord::FREE; SLICES_PER_CORE - 1];
    assert_eq!(Slices::new(&mut records, LENGTHS).records().len(), 0);
}

#[test]
fn lengths_are_within_reason() {
    let usual = Lengths::new(1_000, 19_200_000);
    assert_eq!(
        (usual.slice(), usual.least(), usual.limit()),
        (19_200, 960, 960)
    );
    assert_eq!(Lengths::new(1, 1_000_000).slice(), 100);
    assert_eq!(Lengths::of_ticks(0, 0).slice(), 1);
    assert_eq!(Lengths::of_ticks(0, 0).least(), 1);
    assert_eq!(
        Lengths::of_ticks(u64::MAX, u64::MAX).slice(),
        u64::from(u32::MAX)
    );
    assert_eq!(Lengths::of_ticks(10, 50).least(), 10);
}
