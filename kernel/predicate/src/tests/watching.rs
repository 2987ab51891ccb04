//! What a predicate mentions, and who is looked at for it.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use exopi_abi::predicate::{Comparison, Exposed, Predicate, Word};

use super::world::{Random, one, program, tag, wide};
use crate::{Program, WATCHER_WORDS, Watchers};

fn of(word: Word<'static>, comparison: Comparison, value: u64) -> Program {
    program(&one(1, word, comparison, value))
}

#[test]
fn what_changes_untold_is_polled() {
    use Comparison::{AtLeast, AtMost, Equal, Greater, Less, NotEqual};
    let state = |comparison, value| of(Word::exposed(Exposed::State(3)), comparison, value);
    assert!(of(wide(1, 0), Equal, 0).polls());
    assert!(!of(Word::TIME, AtLeast, 5).polls());
    assert!(!of(Word::exposed(Exposed::Epoch(3)), NotEqual, 5).polls());
    // Gone or stopped; suspended or dying; neither: told by events.
    for (comparison, value) in [
        (Less, 2),
        (AtMost, 1),
        (Equal, 0),
        (Equal, 1),
        (NotEqual, 1),
        (AtLeast, 6),
        (Greater, 5),
        (Equal, 7),
        (AtLeast, 2),
        (Less, 0),
        (AtMost, u64::MAX),
    ] {
        assert!(!state(comparison, value).polls(), "{comparison:?} {value}");
    }
    // Between Ready, Asleep, Running and Calling cores go without telling.
    for (comparison, value) in [
        (Equal, 2),
        (Equal, 5),
        (Less, 5),
        (Greater, 2),
        (NotEqual, 3),
    ] {
        assert!(state(comparison, value).polls(), "{comparison:?} {value}");
    }
    let both = one(1, Word::TIME, AtLeast, 5).and(wide(1, 0), Equal, 1);
    assert!(program(&both).polls());
    assert!(!Program::NONE.polls());
}

/// Against a set of pairs, with random comings and goings.
#[test]
fn watchers_are_those_who_mention_it() {
    let seed = 0x3a7c_0001;
    std::println!("seed {seed:#x}");
    let mut random = Random(seed);
    let mut memory = vec![u64::MAX; WATCHER_WORDS];
    let mut watchers = Watchers::new(memory.as_mut_slice().try_into().unwrap());
    let mut there: Vec<Option<Program>> = vec![None; 1024];
    let mut pairs = BTreeSet::new();
    // Neighbours of the edges between words, and the ends.
    let index = |random: &mut Random| {
        [0, 1, 62, 63, 64, 65, 511, 960, 1022, 1023][random.below(10) as usize]
    };
    for _ in 0..3000 {
        let sleeper = index(&mut random);
        let place = &mut there[usize::from(sleeper)];
        if let Some(program) = place.take() {
            watchers.remove(sleeper, &program);
            pairs.retain(|&(_, by)| by != sleeper);
        } else {
            let mut built = Predicate::any();
            for _ in 0..1 + random.below(4) {
                let watched: u16 = index(&mut random);
                let word = [Exposed::State(watched), Exposed::Epoch(watched)];
                let word = Word::exposed(word[random.below(2) as usize]);
                built = built.product(tag(1)).and(word, Comparison::Less, 9);
                pairs.insert((watched, sleeper));
            }
            let program = program(&built);
            watchers.add(sleeper, &program);
            *place = Some(program);
        }
        let watched = index(&mut random);
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(sleeper) = watchers.next(watched, from) {
            found.push(sleeper);
            from = sleeper + 1;
        }
        let expected: Vec<u16> = pairs
            .iter()
            .filter(|(of, _)| *of == watched)
            .map(|&(_, by)| by)
            .collect();
        assert_eq!(found, expected);
    }
    assert_eq!(watchers.next(1024, 0), None);
    assert_eq!(watchers.next(0, u16::MAX), None);
    watchers.add(
        u16::MAX,
        &of(Word::exposed(Exposed::State(9)), Comparison::Less, 1),
    );
    assert_eq!(watchers.next(9, 0), None);
}
