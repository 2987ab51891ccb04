//! The table of regions against a list that is searched from end to end.

use std::vec::Vec;

use exopi_rt::VirtAddr;
use exopi_rt::layout::PAGE_SIZE;
use proptest::prelude::*;

use super::model::Model;
use super::slots;
use crate::error::Error;
use crate::region::{Options, Region};
use crate::regions::Regions;

const BASE: u64 = 0x50_0000_0000;
const SLOTS: usize = 12;

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert { at: u64, pages: u64, guards: u64 },
    Remove { which: usize },
    Find { at: u64 },
    Gap { pages: u64, guards: u64, align: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (4..64u64, 1..6u64, 0..3u64)
            .prop_map(|(at, pages, guards)| Step::Insert { at, pages, guards }),
        1 => any::<usize>().prop_map(|which| Step::Remove { which }),
        4 => (0..80u64).prop_map(|at| Step::Find { at }),
        1 => (1..8u64, 0..3u64, 0..4u32)
            .prop_map(|(pages, guards, align)| Step::Gap { pages, guards, align: PAGE_SIZE << align }),
    ]
}

fn address(page: u64) -> u64 {
    BASE + page * PAGE_SIZE
}

/// From, to and start of a region.
type Naive = (u64, u64, u64);

fn naive_gap(list: &[Naive], (offset, size): (u64, u64), align: u64, end: u64) -> Option<u64> {
    (0..).map(address).take_while(|at| *at < end).find(|start| {
        let (from, to) = (start.wrapping_sub(offset), start + size);
        let free = |(f, t, _): &Naive| to <= *f || from >= *t;
        start % align == 0 && from >= BASE && to <= end && list.iter().all(free)
    })
}

fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut table = Regions::<Model>::new(slots(SLOTS));
    let mut list: Vec<Naive> = Vec::new();
    for step in steps {
        match step {
            Step::Insert { at, pages, guards } => {
                let start = VirtAddr::new(address(at)).unwrap();
                let options = Options {
                    guards,
                    ..Options::default()
                };
                let region = Region::new(start, pages, options).unwrap();
                let (from, to) = (address(at - guards), address(at + pages + guards));
                let expected = if list.iter().any(|(f, t, _)| from < *t && *f < to) {
                    Err(Error::Overlap)
                } else if list.len() == SLOTS {
                    Err(Error::TooManyRegions)
                } else {
                    list.push((from, to, start.get()));
                    Ok(())
                };
                prop_assert_eq!(table.insert(region), expected);
            }
            Step::Remove { which } if !list.is_empty() => {
                let (_, _, start) = list.remove(which % list.len());
                let place = table.starting(VirtAddr::new(start).unwrap()).unwrap();
                let region = table.remove(place).unwrap();
                prop_assert_eq!(region.start.get(), start);
            }
            Step::Remove { .. } => {}
            Step::Find { at } => {
                let address = address(at) + 7;
                let expected = list.iter().find(|(f, t, _)| (*f..*t).contains(&address));
                let place = table.find(address);
                let found = place.and_then(|place| table.get(place));
                prop_assert_eq!(
                    found.map(|region| region.start.get()),
                    expected.map(|(_, _, s)| *s)
                );
            }
            Step::Gap {
                pages,
                guards,
                align,
            } => {
                let sizes = (guards * PAGE_SIZE, (pages + guards) * PAGE_SIZE);
                let end = address(70);
                let expected = naive_gap(&list, sizes, align, end);
                prop_assert_eq!(table.gap(BASE, end, sizes, align), expected);
            }
        }
        list.sort_unstable();
        let starts: Vec<_> = table.iter().map(|region| region.start.get()).collect();
        let expected: Vec<_> = list.iter().map(|(_, _, start)| *start).collect();
        prop_assert_eq!(starts, expected);
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_table_is_a_sorted_list(steps in prop::collection::vec(step(), 1..80)) {
        check(steps)?;
    }
}
