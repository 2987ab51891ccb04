//! Extents: parts lie inside, die with what is above them, and nothing is lost.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::disk::{BlockRange, ExtentRecord};
use exopi_abi::domain::ObjectName;
use exopi_cap::Epochs;
use proptest::prelude::*;

use super::account;
use crate::{Extents, MOST_DEPTH, SWEEP_LOOKS};

fn range(first: u32, count: u32) -> BlockRange {
    BlockRange { first, count }
}

fn sweep(extents: &mut Extents<'_>, whose: Option<u16>) -> Vec<ExtentRecord> {
    let mut gone = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        from = extents.sweep(whose.map(account), at, |record| gone.push(record));
    }
    gone
}

#[test]
fn a_part_is_inside_and_dies_with_the_whole() {
    let (mut records, mut links) = ([ExtentRecord::FREE; 8], [0; 8]);
    let mut extents = Extents::new(&mut records, &mut links);
    let mut epochs = Epochs::new();
    assert_eq!(
        extents.add_medium(&mut epochs, 0, account(0)),
        Err(Error::BadCount)
    );
    let medium = extents.add_medium(&mut epochs, 100, account(0)).unwrap();
    let mut narrow = |extents: &mut Extents<'_>, from, blocks| {
        extents.narrow(&mut epochs, from, blocks, account(1))
    };
    let part = narrow(&mut extents, medium, range(10, 50)).unwrap();
    for outside in [range(9, 2), range(59, 2), range(u32::MAX, 2)] {
        assert_eq!(narrow(&mut extents, part, outside), Err(Error::OutOfRange));
    }
    assert_eq!(
        narrow(&mut extents, part, range(10, 0)),
        Err(Error::BadCount)
    );
    let inner = narrow(&mut extents, part, range(59, 1)).unwrap();
    let beside = narrow(&mut extents, medium, range(10, 50)).unwrap();
    assert_eq!(extents.get(inner).unwrap().blocks, range(59, 1));
    assert_eq!(extents.remove(part).unwrap().blocks, range(10, 50));
    assert!(extents.get(inner).is_none());
    assert_eq!(extents.remove(inner), Err(Error::Stale));
    assert_eq!(narrow(&mut extents, inner, range(59, 1)), Err(Error::Stale));
    assert!(extents.get(beside).is_some());
    // In the place of the part there is another extent now, which is not the inner one's parent.
    let other = narrow(&mut extents, medium, range(0, 100)).unwrap();
    assert_eq!(other.index, part.index);
    assert!(extents.get(inner).is_none());
    let gone = sweep(&mut extents, None);
    assert_eq!(gone.len(), 1);
    assert_eq!(
        (gone[0].blocks, gone[0].account),
        (range(59, 1), account(1))
    );
    assert!(sweep(&mut extents, None).is_empty());
}

#[test]
fn there_are_only_so_many_and_so_deep() {
    let (mut records, mut links) = ([ExtentRecord::FREE; 12], [0; 12]);
    let mut extents = Extents::new(&mut records, &mut links);
    let mut epochs = Epochs::new();
    let mut last = extents.add_medium(&mut epochs, 9, account(0)).unwrap();
    let first = last;
    for _ in 0..MOST_DEPTH {
        last = extents
            .narrow(&mut epochs, last, range(0, 9), account(0))
            .unwrap();
    }
    assert!(extents.get(last).is_some());
    let deeper = extents.narrow(&mut epochs, last, range(0, 9), account(0));
    assert_eq!(deeper, Err(Error::LimitReached));
    for _ in 0..3 {
        extents
            .narrow(&mut epochs, first, range(0, 1), account(0))
            .unwrap();
    }
    let more = extents.narrow(&mut epochs, first, range(0, 1), account(0));
    assert_eq!(more, Err(Error::Exhausted));
    extents.remove(first).unwrap();
    assert!(extents.get(last).is_none());
    // All levels go in one sweep or in the next ones.
    let mut count = 0;
    while count < 11 {
        let gone = sweep(&mut extents, None).len();
        assert!(gone > 0);
        count += gone;
    }
    assert!(extents.records().iter().all(ExtentRecord::is_free));
}

#[test]
fn a_sweep_looks_at_so_many_and_goes_on() {
    let count = SWEEP_LOOKS + 10;
    let (mut records, mut links) = (vec![ExtentRecord::FREE; count], vec![0; count]);
    let mut extents = Extents::new(&mut records, &mut links);
    assert_eq!(extents.sweep(None, 0, |_| ()), Some(SWEEP_LOOKS as u16));
    assert_eq!(extents.sweep(None, SWEEP_LOOKS as u16, |_| ()), None);
    assert_eq!(extents.sweep(None, u16::MAX, |_| ()), None);
}

/// What may be done at random: on the nth extent that there ever was.
#[derive(Clone, Debug)]
enum Step {
    Medium(u32),
    Narrow(usize, u32, u32, u16),
    Remove(usize),
    Sweep(Option<u16>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..40u32).prop_map(Step::Medium),
        8 => (0..30usize, 0..40u32, 0..40u32, 0..3u16)
            .prop_map(|(of, first, count, whose)| Step::Narrow(of, first, count, whose)),
        3 => (0..30usize).prop_map(Step::Remove),
        1 => prop::option::of(0..3u16).prop_map(Step::Sweep),
    ]
}

/// An extent as the naive model knows it: whole chain of names above it, blocks, whose.
type Known = (Vec<u64>, BlockRange, u16);

proptest! {
    #[test]
    fn at_random_as_a_naive_model_says(steps in prop::collection::vec(step(), 1..80)) {
        let (mut records, mut links) = ([ExtentRecord::FREE; 16], [0; 16]);
        let mut extents = Extents::new(&mut records, &mut links);
        let mut epochs = Epochs::new();
        let mut names: Vec<ObjectName> = Vec::new();
        // Records that are there, and of these the ones that are good.
        let mut known: BTreeMap<u64, Known> = BTreeMap::new();
        for step in steps {
            let good = |known: &BTreeMap<u64, Known>, name: ObjectName| {
                let found = known.get(&name.word())?;
                let whole = found.0.iter().all(|above| known.contains_key(above));
                whole.then(|| found.clone())
            };
            match step {
                Step::Medium(count) => {
                    let made = extents.add_medium(&mut epochs, count, account(0));
                    prop_assert_eq!(made.is_ok(), count > 0 && known.len() < 16);
                    if let Ok(name) = made {
                        names.push(name);
                        known.insert(name.word(), (Vec::new(), range(0, count), 0));
                    }
                }
                Step::Narrow(of, first, count, whose) => {
                    let Some(&parent) = names.get(of) else { continue };
                    let blocks = range(first, count);
                    let made = extents.narrow(&mut epochs, parent, blocks, account(whose));
                    let expected = match good(&known, parent) {
                        None => Err(Error::Stale),
                        Some(_) if count == 0 => Err(Error::BadCount),
                        Some((_, above, _)) if first < above.first
                            || first + count > above.first + above.count => Err(Error::OutOfRange),
                        Some((chain, ..)) if chain.len() == 8 => Err(Error::LimitReached),
                        Some(_) if known.len() == 16 => Err(Error::Exhausted),
                        Some((chain, ..)) => Ok(chain),
                    };
                    prop_assert_eq!(made.is_ok(), expected.is_ok());
                    match (made, expected) {
                        (Ok(name), Ok(mut chain)) => {
                            chain.push(parent.word());
                            names.push(name);
                            known.insert(name.word(), (chain, blocks, whose));
                        }
                        (Err(error), Err(expected)) => prop_assert_eq!(error, expected),
                        _ => {}
                    }
                }
                Step::Remove(of) => {
                    let Some(&name) = names.get(of) else { continue };
                    let expected = good(&known, name).map(|(_, blocks, _)| blocks);
                    let removed = extents.remove(name).ok().map(|record| record.blocks);
                    prop_assert_eq!(removed, expected);
                    if removed.is_some() {
                        known.remove(&name.word());
                    }
                }
                Step::Sweep(whose) => {
                    let mut gone = sweep(&mut extents, whose);
                    while !sweep(&mut extents, whose).is_empty() {}
                    gone.clear();
                    known.retain(|_, (_, _, owner)| Some(*owner) != whose);
                    loop {
                        let before = known.len();
                        let all = known.clone();
                        known.retain(|_, (chain, ..)| chain.iter().all(|it| all.contains_key(it)));
                        if known.len() == before { break }
                    }
                }
            }
            for name in &names {
                let expected = good(&known, *name).map(|(_, blocks, _)| blocks);
                prop_assert_eq!(extents.get(*name).map(|record| record.blocks), expected);
            }
            let used = extents.records().iter().filter(|record| !record.is_free()).count();
            prop_assert_eq!(used, known.len());
        }
    }
}
