//! Arguments that make no sense: nothing panics, and no bound is passed.

use exopi_abi::capability::Epoch;
use exopi_abi::domain::ObjectName;
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::page::Owner;
use exopi_abi::slice::{MAX_SLICES, Place};
use exopi_cap::Epochs;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{records, steps};
use crate::{Lengths, Of, Pass, Runnable, Slices};

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        0..600_u64,
        (0..4_u64).prop_map(|below| u64::MAX - below),
        Just(1 << 63),
        any::<u64>(),
    ]
}

/// One call with whatever words.
fn call(slices: &mut Slices<'_>, epochs: &mut Epochs, number: u8, words: [u64; 4]) {
    let [one, two, three, four] = words;
    let core = one as u8;
    let environment = ObjectName::from_word(three);
    // Half of the names are right.
    let name = Place::new(one, two).and_then(|place| slices.name_at(place));
    let name = name.unwrap_or(ObjectName::from_word(two));
    let position = (two != 0).then_some(two);
    let look = |word: u64| Runnable {
        ready: (word ^ four) & 1 == 0,
        debt: four,
        slices: (word >> 8) as u8,
    };
    let slice = slices.lengths().slice();
    match number {
        0..3 => drop(slices.alloc(epochs, one, position, environment, Owner::from_word(four))),
        3 => drop(slices.bind(name, environment)),
        4 => drop(slices.move_to(epochs, name, three, Some(four))),
        5 => drop(slices.free(name)),
        6 => drop(slices.free_of(Of::Environment(environment), two as u16, |_, _| {})),
        7 => drop(slices.free_of(Of::Account(Owner::from_word(three)), two as u16, |_, _| {})),
        8..11 => match slices.pass(core, look) {
            Pass::Run { length, .. } => {
                assert!((slices.lengths().least()..=2 * slice).contains(&length));
            }
            Pass::Paid { paid, .. } => assert!((1..=four).contains(&paid)),
            Pass::Continue | Pass::Idle => {}
        },
        11..13 => drop(slices.began(core, two)),
        13 => slices.declined(core),
        14 => drop(slices.deadline(core, three, two, look)),
        15..17 => {
            if let Some(ended) = slices.ended(core, two) {
                assert!(ended.excess <= ended.used);
                assert!(ended.unused == 0 || ended.excess == 0);
            }
        }
        17 => drop(slices.others_runnable(core, three, look)),
        18 => slices.look_again(core),
        _ => drop(slices.turn(core)),
    }
    let carries = slices.records().iter().map(|record| record.carry);
    assert!(carries.max().is_none_or(|most| u64::from(most) <= slice));
    let used = slices.records().iter().filter(|record| !record.is_free());
    let counted: usize = (0..=u8::MAX).map(|core| slices.count(core)).sum();
    assert_eq!(used.count(), counted);
}

proptest! {
    #[test]
    fn nothing_panics(
        cores in 0..=MAX_CORES,
        lengths in (word(), word()),
        calls in vec((0..20_u8, (word(), word(), word(), word())), 1..steps(200)),
    ) {
        let mut records = records(cores);
        let lengths = Lengths::of_ticks(lengths.0, lengths.1);
        let mut slices = Slices::new(&mut records, lengths);
        let mut epochs = Epochs::after(Epoch::from_low_bits(Epoch::LAST.bits() - 60));
        for (number, (one, two, three, four)) in calls {
            // Most calls are for cores that there are.
            let one = if one % 3 == 0 { one } else { one % 4 };
            call(&mut slices, &mut epochs, number, [one, two, three, four]);
        }
    }

    #[test]
    fn debts_and_lengths_never_wrap(slice in word(), limit in word(), debt in word(), excess in word()) {
        let lengths = Lengths::of_ticks(slice, limit);
        prop_assert!((1..=lengths.slice()).contains(&lengths.least()));
        let charged = lengths.charged(debt, excess);
        prop_assert!(charged <= lengths.debt_cap());
        prop_assert!(charged >= debt.max(excess).min(lengths.debt_cap()));
        prop_assert!(crate::decayed(debt, excess) <= debt);
    }
}

#[test]
fn a_clock_that_ran_backwards_has_stood_still() {
    let mut records = records(1);
    let mut board = super::Board::new(&mut records);
    board.place(0, 1);
    board.now = 1 << 50;
    let given = board.next().unwrap();
    let ended = board.slices.ended(0, 3).unwrap();
    assert_eq!((ended.used, ended.excess), (0, 0));
    assert_eq!(ended.unused, given.length);
}

#[test]
fn numbers_from_outside_are_refused() {
    let mut records = records(MAX_CORES);
    let mut slices = Slices::new(&mut records, super::LENGTHS);
    for index in [MAX_SLICES as u16, u16::MAX] {
        let name = ObjectName {
            index,
            epoch: Epoch::LAST,
        };
        assert_eq!(slices.get(name), None);
        assert!(slices.free(name).is_err());
        assert_eq!(
            slices.free_of(Of::Environment(name), index, |_, _| {}),
            None
        );
    }
    assert_eq!(slices.pass(u8::MAX, |_| Runnable::YES), Pass::Idle);
}
