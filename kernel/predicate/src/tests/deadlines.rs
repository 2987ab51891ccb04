//! For which time the timer is armed.

use exopi_abi::predicate::{Comparison, Predicate, Terms, Word};

use super::world::{Random, one, program, tag, wide};
use crate::Program;

fn time(comparison: Comparison, value: u64) -> Program {
    program(&one(1, Word::TIME, comparison, value))
}

#[test]
fn a_bound_is_the_first_tick_at_which_it_holds() {
    use Comparison::{AtLeast, AtMost, Greater, Less};
    assert_eq!(time(AtLeast, 50).deadline(49), Some(50));
    assert_eq!(time(AtLeast, 50).deadline(50), None);
    assert_eq!(time(Greater, 50).deadline(50), Some(51));
    assert_eq!(time(Greater, 50).deadline(51), None);
    assert_eq!(time(Greater, u64::MAX).deadline(0), None);
    assert_eq!(time(AtLeast, u64::MAX).deadline(0), Some(u64::MAX));
    // What holds until a time holds already or never will.
    for comparison in [Less, AtMost] {
        assert_eq!(time(comparison, 50).deadline(10), None);
        assert_eq!(time(comparison, 50).deadline(90), None);
        assert_eq!(time(comparison, 0).deadline(0), None);
    }
    assert_eq!(Program::NONE.deadline(0), None);
}

#[test]
fn a_product_that_time_forbids_arms_nothing() {
    let window = |from, last| {
        let built = one(1, Word::TIME, Comparison::AtLeast, from);
        program(&built.and(Word::TIME, Comparison::AtMost, last))
    };
    assert_eq!(window(50, 50).deadline(0), Some(50));
    assert_eq!(window(50, 49).deadline(0), None);
    let built = one(1, Word::TIME, Comparison::Greater, u64::MAX);
    let never = built.and(Word::TIME, Comparison::AtLeast, 7);
    assert_eq!(program(&never).deadline(0), None);
}

/// The earliest over all products, and by trying each tick.
#[test]
fn the_deadline_is_when_the_oracle_changes() {
    let seed = 0xdead_0001;
    std::println!("seed {seed:#x}");
    let mut random = Random(seed);
    let mut armed = 0;
    for _ in 0..20_000 {
        let mut built = Predicate::any();
        for number in 0..1 + random.below(5) {
            if number == 0 || random.below(2) == 0 {
                built = built.product(tag(number as u32 + 1));
            }
            let comparison = [
                Comparison::Less,
                Comparison::AtMost,
                Comparison::AtLeast,
                Comparison::Greater,
            ][random.below(4) as usize];
            built = built.and(Word::TIME, comparison, random.below(20));
        }
        let program = program(&built);
        let now = random.below(20);
        let holds = |time| program.evaluate(|_| time).is_some();
        if holds(now) {
            continue;
        }
        let expected = (now + 1..30).find(|&time| holds(time));
        assert_eq!(program.deadline(now), expected, "{built:?} at {now}");
        armed += u32::from(expected.is_some());
    }
    assert!(armed > 1000, "{armed}");
}

/// Other words do not hide a time: at it the product may become true.
#[test]
fn other_words_do_not_hide_a_time() {
    let built = one(1, wide(1, 0), Comparison::Equal, 4)
        .and(Word::TIME, Comparison::AtLeast, 60)
        .or(&one(2, Word::TIME, Comparison::AtLeast, 90));
    let program = program(&built);
    let deadlines = [0, 59, 60, 89, 90].map(|now| program.deadline(now));
    assert_eq!(deadlines, [Some(60), Some(60), Some(90), Some(90), None]);
    assert_eq!(Program::new(Terms::EMPTY), Program::NONE);
}
