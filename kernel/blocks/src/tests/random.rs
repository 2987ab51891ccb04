//! Random requests: the contents of disk and memory are those of a vector that is served in order, and each request is told
//! once.

use std::collections::BTreeMap;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::disk::{DiskStatus, MOST_REQUESTS};
use proptest::prelude::*;

use super::model::{Contents, Made, serve, transfer};
use super::{Pools, end, next, order};
use crate::Direction;

#[derive(Clone, Debug)]
enum Step {
    Submit(u16, bool, u32, u32),
    Next,
    End(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u16, any::<bool>(), 0..24u32, 1..9u32)
            .prop_map(|(who, writes, first, count)| Step::Submit(who, writes, first, count)),
        2 => Just(Step::Next),
        2 => prop::bool::weighted(0.9).prop_map(Step::End),
    ]
}

/// Blocks of each environment, so that no two of them write the same: between environments there is no order.
const EACH: u32 = 100;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 1_000 }))]
    #[test]
    fn as_if_served_in_order(steps in prop::collection::vec(step(), 1..120)) {
        const POOL: usize = 40;
        let mut pools = Pools::new(POOL, 4);
        let mut queue = pools.queue();
        let (mut disk, mut memory) = (Contents::new(), Contents::new());
        let mut made: BTreeMap<u64, Made> = BTreeMap::new();
        let mut waiting: BTreeMap<u64, u16> = BTreeMap::new();
        let mut served = Vec::new();
        let (mut token, mut page, mut now) = (0, 0, 0);
        let mut command = None;
        let end_it = [Step::Next, Step::End(true)];
        let all = steps.into_iter().chain(end_it.into_iter().cycle().take(2_000));
        for step in all {
            now += 1;
            match step {
                Step::Submit(who, writes, first, count) => {
                    let direction = if writes { Direction::Write } else { Direction::Read };
                    let first = u32::from(who) * EACH + first;
                    // Pages of its own for each request, which hold what nothing else does.
                    let pages: Vec<u32> = (page..page + count).collect();
                    for number in &pages {
                        memory.insert(*number, 1_000_000 + u64::from(*number));
                    }
                    let taken = queue.submit(&order(who, direction, first, &pages, token), now);
                    let own = waiting.values().filter(|other| **other == who).count();
                    let expected = match (own, waiting.len()) {
                        (MOST_REQUESTS, _) => Err(Error::OverAllowance),
                        (_, POOL) => Err(Error::Exhausted),
                        _ => Ok(()),
                    };
                    prop_assert_eq!(taken, expected);
                    if taken.is_ok() {
                        waiting.insert(token, who);
                        made.insert(token, Made { who, direction, first, pages });
                    }
                    token += 1;
                    page += count;
                }
                Step::Next => {
                    let given = next(&mut queue, now);
                    prop_assert_eq!(given.is_some(), command.is_none() && !waiting.is_empty());
                    if given.is_some() {
                        command = given;
                    }
                }
                Step::End(good) => {
                    let Some(done) = command.take() else { continue };
                    if good {
                        serve(&done, &mut disk, &mut memory);
                    }
                    let status = if good { DiskStatus::Done } else { DiskStatus::Failed };
                    for ended in end(&mut queue, status, now) {
                        prop_assert!(waiting.remove(&ended.token).is_some(), "told twice");
                        let request = &made[&ended.token];
                        prop_assert_eq!(ended.status, status);
                        prop_assert_eq!(ended.requester, super::environment(request.who));
                        prop_assert_eq!(&ended.pages, &request.pages);
                        let blocks = if good { request.pages.len() as u32 } else { 0 };
                        prop_assert_eq!(ended.blocks, blocks);
                        if good {
                            served.push(ended.token);
                        }
                    }
                }
            }
            prop_assert_eq!(queue.counters().waiting, waiting.len() as u64);
        }
        prop_assert!(waiting.is_empty(), "something is lost");
        prop_assert!(queue.is_idle() && !queue.is_busy());
        // The same requests, those that did not fail, in the order in which they were made.
        let (mut naive_disk, mut naive_memory) = (Contents::new(), Contents::new());
        for number in 0..page {
            naive_memory.insert(number, 1_000_000 + u64::from(number));
        }
        served.sort_unstable();
        for token in served {
            let Made { direction, first, pages, .. } = &made[&token];
            transfer(*direction, *first, pages, &mut naive_disk, &mut naive_memory);
        }
        prop_assert_eq!(disk, naive_disk);
        prop_assert_eq!(memory, naive_memory);
    }
}
