//! The code gives what the oracle gives.

use std::vec::Vec;

use exopi_abi::predicate::{Comparison, Exposed, Predicate, Tag, Term, Terms, Width, Word};
use proptest::prelude::*;

use super::world::{World, page, program, tag, wide};
use crate::{MAX_CODE_WORDS, Program};

/// Values at which something changes: for a comparison, an immediate, or a half-word of a constant.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    0xfff,
    0x1000,
    0x1001,
    0xff_f000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1234_5678_9abc_def0,
    1 << 63,
    u64::MAX,
];

#[derive(Clone, Debug)]
enum Where {
    /// One of ten pages, of which eight at most can be in one predicate; one of four words.
    Page(u32, u16, Width),
    Time,
    State(u16),
    Epoch(u16),
}

#[derive(Clone, Debug)]
struct Case {
    place: Where,
    comparison: Comparison,
    value: u64,
    /// Begins a product.
    first: bool,
    /// What is in the word: the value and this, or something else.
    off: Option<i64>,
    other: u64,
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        (prop::sample::select(&EDGES[..]), -1i64..=1)
            .prop_map(|(edge, off)| edge.wrapping_add_signed(off)),
        any::<u64>(),
    ]
}

fn place() -> impl Strategy<Value = Where> {
    let width = prop_oneof![Just(Width::Four), Just(Width::Eight)];
    let slot = prop_oneof![Just(0u16), Just(8), Just(2048), Just(4088)];
    prop_oneof![
        6 => (0u32..10, slot, width).prop_map(|(page, slot, width)| Where::Page(page, slot, width)),
        1 => Just(Where::Time),
        1 => (0u16..8).prop_map(Where::State),
        1 => (0u16..8).prop_map(Where::Epoch),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let comparison = prop::sample::select(&Comparison::ALL[..]);
    let off = prop_oneof![3 => (-1i64..=1).prop_map(Some), 1 => Just(None)];
    (
        place(),
        comparison,
        value(),
        prop::bool::weighted(0.4),
        off,
        value(),
    )
        .prop_map(|(place, comparison, value, first, off, other)| Case {
            place,
            comparison,
            value,
            first,
            off,
            other,
        })
}

/// Puts a word, and gives the term about it.
fn term(case: &Case, number: u32, world: &mut World) -> Term {
    let mut value = case.value;
    let word = case
        .off
        .map_or(case.other, |off| value.wrapping_add_signed(off));
    let place = match case.place {
        Where::Page(at, offset, width) => {
            value &= width.largest();
            // Pages far apart, and adjacent ones.
            let at = at % 5 * 0x1_0403 + at / 5;
            world.write(at, offset, width, word & width.largest());
            Word::owned(page(at), offset, width)
        }
        Where::Time => {
            world.now = word;
            Word::TIME
        }
        Where::State(index) => {
            value &= 15;
            let life = &mut world.lives[usize::from(index)];
            *life = *life & !15 | word & 15;
            Word::exposed(Exposed::State(index))
        }
        Where::Epoch(index) => {
            value &= (1 << 48) - 1;
            let life = &mut world.lives[usize::from(index)];
            *life = *life & 0xffff | word << 16 | 0xff50;
            Word::exposed(Exposed::Epoch(index))
        }
    };
    let built = Predicate::any()
        .product(tag(number))
        .and(place, Comparison::Less, value);
    let mut term = built.terms().unwrap()[0];
    term.comparison = case.comparison as u8;
    if !case.first {
        (term.flags, term.tag) = (0, 0);
    }
    term
}

/// The predicate of those cases that can be in one, and the world in which it is looked at.
fn build(cases: &[Case]) -> (Program, World) {
    let mut world = World::new();
    let mut terms = Terms::EMPTY;
    for (number, case) in cases.iter().enumerate() {
        // Tags of one half-word and of two.
        let number = (number as u32 + 1) << (16 * (number % 2));
        let term = term(case, number, &mut world);
        // Refused are a ninth page, time compared for equality, and a beginning that is none.
        let _ = terms.push(&term);
    }
    (Program::new(terms), world)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 20_000 }))]

    #[test]
    fn code_gives_what_the_oracle_gives(cases in prop::collection::vec(case(), 1..=40)) {
        let (program, mut world) = build(&cases);
        let expected = program.evaluate(|operand| world.read(operand));
        let (found, executed) = world.value(&program);
        prop_assert_eq!(found, expected);
        prop_assert!(executed <= MAX_CODE_WORDS as u64);
        if program.tests().next().is_none() {
            prop_assert_eq!(found, None);
        }
    }
}

/// The strategy is of use only if it finds both values, and products beyond the first.
#[test]
fn random_predicates_are_true_and_false() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(case(), 1..=40);
    let (mut no, mut first, mut later, mut full) = (0, 0, 0, 0);
    for _ in 0..400 {
        let (program, world) = build(&strategy.new_tree(&mut runner).unwrap().current());
        let begun = program.tests().next().and_then(|test| test.first);
        full += u32::from(program.pins().pages().len() == 8);
        match program.evaluate(|operand| world.read(operand)) {
            None => no += 1,
            found if found == begun => first += 1,
            Some(_) => later += 1,
        }
    }
    assert!(
        no > 20 && first > 20 && later > 20 && full > 20,
        "{no} {first} {later} {full}"
    );
}

/// Each comparison, width and edge, with words below, at and above it.
#[test]
fn edges_of_words() {
    let mut world = World::new();
    for width in [Width::Four, Width::Eight] {
        for value in EDGES.into_iter().filter(|&value| value <= width.largest()) {
            for comparison in Comparison::ALL {
                let word = Word::owned(page(3), 4096 - width as u16, width);
                let built = Predicate::any()
                    .product(tag(9))
                    .and(word, comparison, value);
                let program = program(&built);
                for off in [-1, 0, 1] {
                    let word = value.wrapping_add_signed(off) & width.largest();
                    world.write(3, 4096 - width as u16, width, word);
                    let holds = comparison.holds(word, value).then(|| tag(9));
                    assert_eq!(program.evaluate(|operand| world.read(operand)), holds);
                    let (found, _) = world.value(&program);
                    assert_eq!(found, holds, "{word:#x} {comparison:?} {value:#x}");
                }
            }
        }
    }
}

/// A word of 32 bits is read without its neighbour, and a field of a life word without the other fields.
#[test]
fn nothing_beside_a_word_is_seen() {
    let mut world = World::new();
    world.write(1, 8, Width::Eight, 0xffff_ffff_0000_0000);
    let narrow = Word::owned(page(1), 8, Width::Four);
    world.lives[5] = 0x1234_5678_9abc_ff73;
    for (word, value) in [
        (narrow, 0),
        (Word::exposed(Exposed::State(5)), 3),
        (Word::exposed(Exposed::Epoch(5)), 0x1234_5678_9abc),
    ] {
        let built = Predicate::any()
            .product(tag(1))
            .and(word, Comparison::Equal, value);
        assert_eq!(world.value(&program(&built)).0, Some(tag(1)));
    }
}

/// What need not be known is not read: the page of the second test is not mapped.
#[test]
fn products_are_left_at_the_first_test_that_fails() {
    let mut world = World::new();
    world.write(1, 0, Width::Eight, 5);
    let nowhere = wide(2, 0);
    let built = Predicate::any()
        .product(tag(1))
        .and(wide(1, 0), Comparison::Equal, 6)
        .and(nowhere, Comparison::Equal, 0)
        .product(tag(2))
        .and(wide(1, 0), Comparison::Equal, 5)
        .product(tag(3))
        .and(nowhere, Comparison::Equal, 0);
    let program = program(&built);
    assert_eq!(world.value(&program).0, Some(tag(2)));
    let mut reads = Vec::new();
    let found = program.evaluate(|operand| {
        reads.push(operand);
        world.read(operand)
    });
    assert_eq!((found, reads.len()), (Some(tag(2)), 2));
}

/// The base register of other pages is known where all ways agree on it, and only there.
#[test]
fn a_base_that_one_way_changes_is_loaded_anew() {
    for (second, third) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = World::new();
        for number in 1..=3 {
            world.write(number, 0, Width::Eight, u64::from(number));
        }
        // Page 1 has most words and so the argument; the others share a register.
        let mut built = Predicate::any();
        for _ in 0..4 {
            built = built.product(tag(1)).and(wide(1, 0), Comparison::Equal, 9);
        }
        let built = built
            .product(tag(2))
            .and(wide(2, 0), Comparison::AtLeast, 2 + second)
            .and(wide(3, 0), Comparison::AtLeast, 3 + third)
            .and(wide(2, 0), Comparison::Equal, 9)
            .product(tag(3))
            .and(wide(2, 0), Comparison::Equal, 2);
        assert_eq!(world.value(&program(&built)).0, Some(tag(3)));
    }
}

#[test]
fn no_predicate_is_never_true() {
    let mut world = World::new();
    assert_eq!(world.value(&Program::NONE).0, None);
    assert_eq!(Program::NONE.evaluate(|_| 0), None);
    assert_eq!(Tag::told(0), None);
}
