//! What looking costs, in instructions of the generated code, the stubs and the return counted.
//!
//! The emulator counts what the processor would execute; on the target the caller's own instructions come to it. The
//! figures are exact, so that none gets worse unseen; whoever makes one better writes the new one here.

use std::println;
use std::vec;
use std::vec::Vec;

use exopi_abi::predicate::{Comparison, Exposed, Predicate, Tag, Width, Word};

use super::world::{World, one, page, program, tag, wide};
use crate::{Entry, MAX_CODE_WORDS, MAX_STRETCH, POSITIONS, Step, entries_for};

/// A look: instructions executed, and who was found by it.
struct Look {
    executed: u64,
    /// The most of a stretch.
    longest: u64,
    found: Option<(u16, Tag)>,
}

/// A look at so many sleepers with these entries, up to the first that is true.
fn look(world: &World, entries: &[Entry]) -> Look {
    let count = entries.len();
    let mut memory = vec![Entry::default(); entries_for(count)];
    let (mut sleepers, mut positions) = (vec![0; count], vec![0; count]);
    let mut table = world.table(&mut memory, &mut sleepers, &mut positions);
    for (sleeper, entry) in entries.iter().enumerate() {
        assert!(table.insert(sleeper as u16, *entry));
    }
    let mut machine = world.machine(table.entries());
    let mut look = Look {
        executed: 0,
        longest: 0,
        found: None,
    };
    table.begin();
    while let Some(slot) = table.next_slot() {
        let stretch = world.stretch(&mut machine, slot).unwrap();
        look.executed += stretch.executed;
        look.longest = look.longest.max(stretch.executed);
        match table.came(stretch.behind, stretch.told) {
            Step::Woken(sleeper, tag) => {
                look.found = Some((sleeper, tag));
                break;
            }
            Step::Pause | Step::Done => {}
        }
    }
    look
}

/// What a look at so many false sleepers of a kind costs, and the last of one more that is true.
fn last_of(predicate: &Predicate<'static>, others: usize) -> Look {
    let mut world = World::new();
    world.write(1, 0, Width::Eight, 0);
    world.write(2, 0, Width::Eight, 5);
    world.write(3, 0, Width::Eight, 0);
    let mut entries: Vec<Entry> = (0..others)
        .map(|_| world.place(&program(predicate)))
        .collect();
    entries.push(world.place(&program(&one(9, wide(2, 0), Comparison::NotEqual, 0))));
    let look = look(&world, &entries);
    assert_eq!(look.found, Some((others as u16, tag(9))));
    look
}

/// Terms that are false, and how many instructions a sleeper with each costs when nothing else is in its predicate.
fn kinds() -> Vec<(&'static str, Predicate<'static>, u64)> {
    let word = wide(1, 0);
    let narrow = Word::owned(page(1), 0, Width::Four);
    let of = |word, comparison, value| one(1, word, comparison, value);
    let state = Word::exposed(Exposed::State(0));
    let epoch = Word::exposed(Exposed::Epoch(0));
    vec![
        ("word != 0", of(word, Comparison::NotEqual, 0), 4),
        ("word > 0", of(word, Comparison::Greater, 0), 4),
        ("word >= 1", of(narrow, Comparison::AtLeast, 1), 4),
        ("word == 7", of(word, Comparison::Equal, 7), 5),
        (
            "word >= 0xfff000",
            of(narrow, Comparison::AtLeast, 0xff_f000),
            5,
        ),
        (
            "word == 0x12345",
            of(narrow, Comparison::Equal, 0x1_2345),
            7,
        ),
        (
            "word == four half-words",
            of(word, Comparison::Equal, 0x1234_5678_9abc_def0),
            9,
        ),
        (
            "time >= 62.5 MHz for a day",
            of(Word::TIME, Comparison::AtLeast, 5_400_000_000_000),
            7,
        ),
        ("state == 7", of(state, Comparison::Equal, 7), 6),
        ("epoch > 0", of(epoch, Comparison::Greater, 0), 5),
        (
            "word != 0 or time >= T",
            of(word, Comparison::NotEqual, 0).or(&of(
                Word::TIME,
                Comparison::AtLeast,
                5_400_000_000_000,
            )),
            9,
        ),
        (
            "two words of a page and a third",
            of(word, Comparison::NotEqual, 0)
                .or(&of(wide(1, 8), Comparison::NotEqual, 0))
                .or(&of(wide(1, 16), Comparison::NotEqual, 0)),
            8,
        ),
        (
            "words of two pages",
            of(word, Comparison::NotEqual, 0).or(&of(wide(2, 0), Comparison::Equal, 7)),
            10,
        ),
        (
            "the first of a product",
            of(word, Comparison::NotEqual, 0).and(wide(2, 0), Comparison::Equal, 7),
            4,
        ),
    ]
}

#[test]
fn a_false_term_costs_this() {
    println!("{:28} {:>9}", "false predicate", "a sleeper");
    for (name, predicate, expected) in kinds() {
        let (none, one) = (last_of(&predicate, 0), last_of(&predicate, 1));
        let each = one.executed - none.executed;
        println!("{name:28} {each:9}");
        assert_eq!(each, expected, "{name}");
    }
}

/// `wake_64_word` is the last of 65: this is the part of it that is generated code.
#[test]
fn the_last_of_65_costs_this() {
    let (fastest, usual) = (&kinds()[0].1, &kinds()[3].1);
    for (predicate, expected) in [(fastest, 278), (usual, 342)] {
        let look = last_of(predicate, 64);
        println!("last of 65: {}", look.executed);
        assert_eq!(look.executed, expected);
    }
}

/// However many they are: each costs the same, and each stretch its stubs.
#[test]
fn each_sleeper_costs_the_same() {
    println!("{:>8} {:>8} {:>8}", "sleepers", "all", "longest");
    let predicate = &kinds()[3].1;
    for others in [0, 1, 15, 16, 17, 64, 100, 256, 999] {
        let look = last_of(predicate, others);
        let pauses = others as u64 / POSITIONS as u64;
        println!("{:8} {:8} {:8}", others + 1, look.executed, look.longest);
        // To enter and to pause 4 for each stretch; the last one enters, tests and returns.
        assert_eq!(look.executed, 5 * others as u64 + 4 * pauses + 6);
        assert!(look.longest <= 5 * POSITIONS as u64 + 4);
    }
}

/// The longest time between two interrupts, and it is bounded whatever sleepers ask for.
#[test]
fn a_stretch_is_bounded() {
    let mut predicate = Predicate::any();
    for number in 0..32u32 {
        let far = number % 3 + 1;
        predicate = predicate.product(tag(0x1234_5678)).and(
            wide(far, 8),
            Comparison::Equal,
            0x1234_5678_9abc_def0,
        );
    }
    let look = last_of(&predicate, 3 * POSITIONS);
    println!(
        "longest stretch: {} of {MAX_STRETCH} instructions",
        look.longest
    );
    assert!(look.longest > 4000 && look.longest <= MAX_STRETCH as u64);
    // Of the most that the kernel may do with interrupts masked, less than a third.
    const { assert!(MAX_STRETCH < 20_000 / 3 && MAX_CODE_WORDS < 500) };
}
