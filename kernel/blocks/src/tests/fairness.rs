//! Nobody waits for more than the bound, whatever the others do.

use std::collections::BTreeMap;

use exopi_abi::disk::{DiskStatus, MOST_REQUESTS};
use proptest::prelude::*;

use super::{Pools, end, next, order};
use crate::{Direction, MOST_PASSED};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 300 }))]
    #[test]
    fn a_request_waits_for_so_many_commands_at_most(
        requesters in 1..6u16,
        submits in prop::collection::vec((0..6u16, any::<bool>(), 0..60u32, 1..5u32), 200..600),
        each in 1..4usize,
    ) {
        let mut pools = Pools::new(96, 6);
        let mut queue = pools.queue();
        // For each request how many of its own were before it, and the commands since.
        let mut waiting: BTreeMap<u64, (u16, u64, u64)> = BTreeMap::new();
        let mut token = 0;
        let mut submits = submits.into_iter();
        loop {
            // More come all the time.
            let before = token;
            for (who, writes, first, count) in submits.by_ref().take(each) {
                let who = who % requesters;
                let direction = if writes { Direction::Write } else { Direction::Read };
                let pages: std::vec::Vec<u32> = (0..count).collect();
                if queue.submit(&order(who, direction, first, &pages, token), 0).is_ok() {
                    let own = waiting.values().filter(|(other, ..)| *other == who).count();
                    waiting.insert(token, (who, own as u64, 0));
                }
                token += 1;
            }
            if next(&mut queue, 0).is_none() {
                if token == before {
                    break;
                }
                continue;
            }
            for (_, own, commands) in waiting.values_mut() {
                *commands += 1;
                let bound = (*own + 1) * (u64::from(MOST_PASSED) + 1) * u64::from(requesters);
                prop_assert!(*commands <= bound, "{} > {}", commands, bound);
            }
            for ended in end(&mut queue, DiskStatus::Done, 0) {
                prop_assert!(waiting.remove(&ended.token).is_some());
            }
        }
        prop_assert!(waiting.is_empty());
    }
}

#[test]
fn one_who_asks_little_is_not_kept_by_one_who_asks_all_the_time() {
    let mut pools = Pools::new(64, 2);
    let mut queue = pools.queue();
    let mut waits = 0;
    for round in 0..500u32 {
        // One has its allowance full at all times, with neighbours that make commands as long as can be.
        while queue
            .submit(
                &order(0, Direction::Write, round * 64 % 4_000, &[1; 16], 0),
                0,
            )
            .is_ok()
        {}
        if round % 10 == 0 {
            queue
                .submit(&order(1, Direction::Read, 9, &[1], 1), 0)
                .unwrap();
            waits = 0;
        }
        next(&mut queue, 0).unwrap();
        waits += 1;
        if end(&mut queue, DiskStatus::Done, 0)
            .iter()
            .any(|it| it.token == 1)
        {
            assert!(waits <= 2, "{waits}");
        }
    }
    assert_eq!(queue.counters().waiting as usize, MOST_REQUESTS - 1);
}
