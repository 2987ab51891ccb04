//! Wrong arguments, limits, and pages that are taken away.

use exopi_a64::Error as CodeError;
use exopi_abi::predicate::{Comparison, Exposed, MAX_TERMS, Predicate, Tag, Terms, Width, Word};

use super::world::{World, address, one, page, program, tag, wide};
use crate::{Entry, Error, MAX_CODE_WORDS, Place, STUB_WORDS, Table, entries_for, stubs};

/// The predicate with the most code: as many products as can be, values and addresses that take four instructions.
fn largest() -> Predicate<'static> {
    let mut built = Predicate::any();
    for number in 0..MAX_TERMS as u32 {
        let word = match number % 16 {
            near @ 0..8 => Word::exposed(Exposed::Epoch(near as u16 * 128)),
            far => wide(far * 0x1_0101, 8),
        };
        built = built.product(tag(0x1234_5670 + number)).and(
            word,
            Comparison::Equal,
            0x1234_5678_9abc_def0,
        );
    }
    built
}

#[test]
fn all_code_fits_the_buffer() {
    let scattered = |place| match place {
        Place::Page(page) => 0x1234_5678_0000_0000 + page.address(),
        Place::Life(index) => 0x1234_5678_9abc_0000 + u64::from(index) * 32,
    };
    let program = program(&largest());
    let mut buffer = [0; MAX_CODE_WORDS];
    let words = program.compile(scattered, &mut buffer).unwrap().words.len();
    std::println!("largest code of a predicate: {words} words");
    assert!(words > MAX_CODE_WORDS * 9 / 10);
    for length in [0, 1, words / 2, words - 1] {
        let short = program.compile(scattered, &mut buffer[..length]);
        assert_eq!(short, Err(Error::Code(CodeError::Full)));
    }
    for length in 0..STUB_WORDS {
        let short = stubs(&mut buffer[..length]).map(|_| ());
        assert_eq!(short, Err(Error::Code(CodeError::Full)));
    }
}

#[test]
fn misaligned_addresses_are_refused() {
    let mut buffer = [0; MAX_CODE_WORDS];
    let memory = program(&one(1, wide(1, 0), Comparison::Less, 1));
    let life = program(&one(
        1,
        Word::exposed(Exposed::State(1)),
        Comparison::Less,
        1,
    ));
    for off in [1, 4, 8, 0x800] {
        let askew = |place| address(place) + off;
        assert_eq!(memory.compile(askew, &mut buffer), Err(Error::Misaligned));
        let refused = life.compile(askew, &mut buffer).is_err();
        assert_eq!(refused, off < 8);
    }
}

#[test]
fn a_predicate_that_loses_a_page_is_disabled() {
    let built = one(1, wide(1, 0), Comparison::Equal, 9)
        .or(&one(2, wide(5, 8), Comparison::Equal, 9))
        .or(&one(3, Word::TIME, Comparison::AtLeast, 9));
    let mut program = program(&built);
    let before = program.clone();
    assert_eq!(program.pins().pages(), [page(1), page(5)]);
    assert_eq!(program.without(page(2)), None);
    assert_eq!(program, before);
    let pins = program.without(page(5)).unwrap();
    assert_eq!(pins.pages(), [page(1), page(5)]);
    // Nothing of it is left but what its sleeper is told.
    assert!(program.is_broken() && !before.is_broken());
    assert!(program.pins().pages().is_empty() && !program.polls());
    assert_eq!(program.deadline(0), None);
    assert_eq!(program.without(page(1)), None);
    assert_eq!(program.evaluate(|_| 9), Some(Tag::BROKEN));
}

#[test]
fn who_lost_a_page_is_told_at_the_next_look() {
    let mut world = World::new();
    world.write(1, 0, Width::Eight, 5);
    let entry = world.place(&program(&one(1, wide(1, 0), Comparison::Equal, 9)));
    let mut entries = [Entry::default(); entries_for(2)];
    let (mut sleepers, mut positions) = ([0; 2], [0; 8]);
    let mut table = world.table(&mut entries, &mut sleepers, &mut positions);
    assert!(table.insert(4, entry) && table.insert(7, entry));
    assert!(!table.break_sleeper(3) && table.break_sleeper(7));
    // Its page is gone: the code that reads it would fault.
    let mut machine = world.machine(table.entries());
    table.begin();
    let stretch = world.stretch(&mut machine, 0).unwrap();
    let step = table.came(stretch.behind, stretch.told);
    assert_eq!(step, crate::Step::Woken(7, Tag::BROKEN));
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let world = World::new();
    let new = |entries: usize, sleepers: usize, positions: usize| {
        let mut entries = std::vec![Entry::default(); entries];
        let mut sleepers = std::vec![0; sleepers];
        let mut positions = std::vec![0; positions];
        Table::new(&mut entries, &mut sleepers, &mut positions, 0, world.stubs).is_some()
    };
    assert!(!new(0, 0, 0) && new(1, 0, 0));
    for sleepers in [1, 2, 15, 16, 17, 32, 33, 100] {
        let entries = entries_for(sleepers);
        assert!(new(entries, sleepers, sleepers) && !new(entries - 1, sleepers, sleepers));
    }
    assert!(!new(80_000, 65_536, 10) && !new(10, 1, 65_536));
}

#[test]
fn no_more_terms_than_there_may_be() {
    let mut terms = Terms::decode(largest().terms().unwrap()).unwrap();
    assert_eq!(terms.len(), MAX_TERMS);
    let more = largest().terms().unwrap()[0];
    assert_eq!(terms.push(&more), Err(exopi_abi::Error::BadCount));
}
