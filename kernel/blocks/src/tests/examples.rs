//! The queue, one rule after the other.

use std::vec;
use std::vec::Vec;

use exopi_abi::Error;
use exopi_abi::disk::{BlockRange, DiskStatus, MOST_BLOCKS, MOST_REQUESTS};

use super::{Pools, end, environment, extent, keep, next, order};
use crate::Direction::{Read, Write};
use crate::{LOOKS, MOST_PASSED, MOST_WAIT, Order};

fn firsts(queue: &mut crate::Queue<'_>, count: usize) -> Vec<u32> {
    let mut firsts = Vec::new();
    for _ in 0..count {
        firsts.push(next(queue, 0).unwrap().blocks.first);
        end(queue, DiskStatus::Done, 0);
    }
    firsts
}

#[test]
fn what_is_no_request_is_refused_and_changes_nothing() {
    let mut pools = Pools::new(2, 2);
    let mut queue = pools.queue();
    let many = [7; MOST_BLOCKS + 1];
    for (wrong, error) in [
        (order(0, Read, 0, &[], 1), Error::BadCount),
        (order(0, Read, 0, &many, 1), Error::BadCount),
        (order(0, Read, u32::MAX, &[1], 1), Error::OutOfRange),
        (order(2, Read, 0, &[1], 1), Error::OutOfRange),
    ] {
        assert_eq!(queue.submit(&wrong, 0), Err(error));
    }
    assert!(queue.is_idle());
    assert_eq!(queue.counters().taken, 0);
    queue
        .submit(&order(0, Read, u32::MAX - 1, &[1], 1), 0)
        .unwrap();
    queue.submit(&order(1, Read, 0, &[1], 2), 0).unwrap();
    let more = queue.submit(&order(1, Read, 0, &[1], 3), 0);
    assert_eq!(more, Err(Error::Exhausted));
}

#[test]
fn an_environment_has_so_many_and_no_more() {
    let mut pools = Pools::new(64, 2);
    let mut queue = pools.queue();
    for token in 0..MOST_REQUESTS as u64 {
        let order = order(1, Read, 10 * token as u32, &[1], token);
        queue.submit(&order, 0).unwrap();
    }
    let more = order(1, Read, 0, &[1], 99);
    assert_eq!(queue.submit(&more, 0), Err(Error::OverAllowance));
    // Also while the device has one.
    next(&mut queue, 0).unwrap();
    assert_eq!(queue.submit(&more, 0), Err(Error::OverAllowance));
    assert_eq!(end(&mut queue, DiskStatus::Done, 0).len(), 1);
    queue.submit(&more, 0).unwrap();
    // Others are not touched by it.
    queue.submit(&order(0, Read, 0, &[1], 99), 0).unwrap();
}

#[test]
fn the_device_goes_upwards_and_begins_anew() {
    let mut pools = Pools::new(16, 1);
    let mut queue = pools.queue();
    for first in [50, 10, 90, 30] {
        queue.submit(&order(0, Read, first, &[1], 0), 0).unwrap();
    }
    assert_eq!(firsts(&mut queue, 2), [10, 30]);
    queue.submit(&order(0, Read, 20, &[1], 0), 0).unwrap();
    assert_eq!(firsts(&mut queue, 3), [50, 90, 20]);
    assert!(queue.is_idle());
}

#[test]
fn neighbours_go_together_up_to_a_limit() {
    let mut pools = Pools::new(16, 2);
    let mut queue = pools.queue();
    let pages: Vec<u32> = (0..MOST_BLOCKS as u32).collect();
    queue.submit(&order(0, Write, 14, &[3, 4], 2), 0).unwrap();
    queue
        .submit(&order(0, Write, 10, &pages[..4], 1), 0)
        .unwrap();
    // Not these: another direction, another requester, too long, not a neighbour.
    queue.submit(&order(0, Read, 16, &[9], 3), 0).unwrap();
    queue.submit(&order(1, Write, 16, &[9], 4), 0).unwrap();
    queue
        .submit(&order(0, Write, 16, &pages[..27], 5), 0)
        .unwrap();
    queue.submit(&order(0, Write, 8, &[9], 6), 0).unwrap();
    let command = next(&mut queue, 0).unwrap();
    assert_eq!(command.blocks, BlockRange { first: 8, count: 1 });
    end(&mut queue, DiskStatus::Done, 0);
    // The other one's turn.
    assert_eq!(next(&mut queue, 0).unwrap().pages(), [9]);
    end(&mut queue, DiskStatus::Done, 0);
    let command = next(&mut queue, 0).unwrap();
    assert_eq!(
        command.blocks,
        BlockRange {
            first: 10,
            count: 6
        }
    );
    assert_eq!(command.pages(), [0, 1, 2, 3, 3, 4]);
    assert_eq!(command.direction, Write);
    let ends = end(&mut queue, DiskStatus::Done, 0);
    let told: Vec<_> = ends.iter().map(|end| (end.token, end.blocks)).collect();
    assert_eq!(told, [(1, 4), (2, 2)]);
    assert_eq!(queue.counters().merged, 1);
    // With five blocks fewer it would have fitted.
    let command = next(&mut queue, 0).unwrap();
    assert!(command.blocks.first == 16);
}

#[test]
fn requesters_take_turns() {
    let mut pools = Pools::new(64, 4);
    let mut queue = pools.queue();
    for count in 0..6 {
        queue
            .submit(&order(2, Read, 1_000 + 10 * count, &[1], 2), 0)
            .unwrap();
    }
    for who in [0, 3] {
        for count in 0..2 {
            queue
                .submit(&order(who, Read, 10 * count, &[1], who.into()), 0)
                .unwrap();
        }
    }
    let mut turns = Vec::new();
    while next(&mut queue, 0).is_some() {
        turns.push(end(&mut queue, DiskStatus::Done, 0)[0].token);
    }
    assert_eq!(turns, [2, 0, 3, 2, 0, 3, 2, 2, 2, 2]);
}

#[test]
fn nobody_is_passed_over_for_ever() {
    let mut pools = Pools::new(64, 1);
    let mut queue = pools.queue();
    queue.submit(&order(0, Read, 5, &[1], 1), 0).unwrap();
    queue.submit(&order(0, Read, 4, &[1], 0), 0).unwrap();
    // The head has gone past block 4, and there is always something above it.
    let mut passed = 0;
    assert_eq!(next(&mut queue, 0).unwrap().blocks.first, 4);
    end(&mut queue, DiskStatus::Done, 0);
    let mut first = 100;
    queue.submit(&order(0, Read, 2, &[1], 7), 0).unwrap();
    loop {
        // Never a neighbour.
        first += 2;
        queue.submit(&order(0, Read, first, &[1], 0), 0).unwrap();
        queue
            .submit(&order(0, Read, first + 500, &[1], 0), 0)
            .unwrap();
        next(&mut queue, 0).unwrap();
        let ends = end(&mut queue, DiskStatus::Done, 0);
        if ends[0].token == 7 {
            break;
        }
        passed += 1;
        assert!(passed <= 2 * u32::from(MOST_PASSED) + 2);
    }
    assert!(queue.counters().overdue > 0);
}

#[test]
fn who_has_waited_long_goes_first() {
    let mut pools = Pools::new(16, 1);
    let mut queue = pools.queue();
    queue.submit(&order(0, Read, 500, &[1], 0), 10).unwrap();
    queue
        .submit(&order(0, Read, 100, &[1], 0), MOST_WAIT)
        .unwrap();
    let early = next(&mut queue, 10 + MOST_WAIT - 1).unwrap();
    assert_eq!(early.blocks.first, 100);
    end(&mut queue, DiskStatus::Done, 10 + MOST_WAIT - 1);
    queue
        .submit(&order(0, Read, 200, &[1], 0), MOST_WAIT)
        .unwrap();
    let late = next(&mut queue, 10 + MOST_WAIT).unwrap();
    assert_eq!(late.blocks.first, 500);
    end(&mut queue, DiskStatus::Done, 3 * MOST_WAIT);
    assert_eq!(queue.counters().longest_wait, 3 * MOST_WAIT - 10);
}

#[test]
fn a_write_and_what_it_touches_keep_their_order() {
    for (one, other, kept) in [
        (Write, Read, true),
        (Read, Write, true),
        (Write, Write, true),
        (Read, Read, false),
    ] {
        let mut pools = Pools::new(16, 1);
        let mut queue = pools.queue();
        queue.submit(&order(0, one, 10, &[1, 2, 3], 1), 0).unwrap();
        queue.submit(&order(0, other, 8, &[4, 5, 6], 2), 0).unwrap();
        let first = next(&mut queue, 0).unwrap().blocks.first;
        assert_eq!(first, if kept { 10 } else { 8 });
        // What comes while the first is at the device waits for it too.
        queue.submit(&order(0, Write, 12, &[7], 3), 0).unwrap();
        let ends = end(&mut queue, DiskStatus::Done, 0);
        assert_eq!(ends[0].token, if kept { 1 } else { 2 });
    }
}

#[test]
fn a_merged_command_that_fails_is_tried_in_parts() {
    let mut pools = Pools::new(16, 1);
    let mut queue = pools.queue();
    for token in 0..3 {
        let first = 10 + token as u32;
        queue
            .submit(&order(0, Read, first, &[token as u32], token), 0)
            .unwrap();
    }
    assert_eq!(next(&mut queue, 0).unwrap().blocks.count, 3);
    assert!(end(&mut queue, DiskStatus::Damaged, 0).is_empty());
    let mut told = Vec::new();
    for status in [DiskStatus::Done, DiskStatus::Damaged, DiskStatus::Done] {
        assert_eq!(next(&mut queue, 0).unwrap().blocks.count, 1);
        told.extend(end(&mut queue, status, 0));
    }
    told.sort_by_key(|end| end.token);
    let statuses: Vec<_> = told.iter().map(|end| end.status).collect();
    assert_eq!(
        statuses
            .iter()
            .filter(|it| **it == DiskStatus::Damaged)
            .count(),
        1
    );
    assert_eq!(told.iter().map(|end| end.blocks).sum::<u32>(), 2);
    assert!(queue.is_idle() && !queue.is_busy());
    let counters = queue.counters();
    assert_eq!(
        (counters.done, counters.failed, counters.waiting),
        (2, 1, 0)
    );
}

#[test]
fn an_extent_that_is_gone_gives_nothing() {
    let mut pools = Pools::new(100, 1024);
    let mut queue = pools.queue();
    for who in 0..80 {
        let mut order = order(who, Read, 7, &[1], who.into());
        order.extent = extent(who % 2);
        queue.submit(&order, 0).unwrap();
    }
    let good = |name, _: BlockRange| name == extent(1);
    let mut ends = Vec::new();
    let command = queue.next(0, good, keep(&mut ends)).unwrap();
    assert_eq!(command.blocks.first, 7);
    assert_eq!(ends.len(), 1);
    assert_eq!((ends[0].token, ends[0].status), (0, DiskStatus::Stale));
    // The others are found some at a time.
    let mut from = Some(0);
    let mut calls = 0;
    while let Some(at) = from {
        from = queue.refuse(at, 0, good, keep(&mut ends));
        calls += 1;
    }
    assert_eq!(calls, 100usize.div_ceil(LOOKS));
    assert_eq!(ends.len(), 40);
    // The one at the device goes to its end, whatever becomes of its extent.
    assert_eq!(
        queue.refuse(0, 0, |_, _| false, keep(&mut ends)),
        Some(LOOKS as u16)
    );
    assert_eq!(end(&mut queue, DiskStatus::Done, 0)[0].token, 1);
}

#[test]
fn a_neighbour_whose_extent_is_gone_does_not_go_along() {
    let mut pools = Pools::new(4, 1);
    let mut queue = pools.queue();
    queue.submit(&order(0, Read, 3, &[1], 1), 0).unwrap();
    let mut other = order(0, Read, 4, &[2], 2);
    other.extent = extent(1);
    queue.submit(&other, 0).unwrap();
    let good = |name, _: BlockRange| name == extent(0);
    let mut ends = Vec::new();
    let command = queue.next(0, good, keep(&mut ends)).unwrap();
    assert_eq!(command.pages(), [1]);
    end(&mut queue, DiskStatus::Done, 0);
    assert_eq!(queue.next(0, good, keep(&mut ends)), None);
    assert_eq!((ends.len(), ends[0].token), (1, 2));
    assert!(queue.is_idle());
}

#[test]
fn a_successor_waits_until_the_device_is_done() {
    let mut pools = Pools::new(16, 2);
    let mut queue = pools.queue();
    queue.submit(&order(0, Write, 7, &[1], 1), 0).unwrap();
    queue.submit(&order(0, Write, 9, &[2], 2), 0).unwrap();
    next(&mut queue, 0).unwrap();
    let mut ends = Vec::new();
    assert!(queue.cancel(environment(0), keep(&mut ends)));
    assert_eq!(ends.len(), 1);
    assert_eq!((ends[0].token, ends[0].status), (2, DiskStatus::Cancelled));
    let mut successor = environment(0);
    successor.epoch = environment(900).epoch;
    let pages = vec![5];
    let successors = Order {
        requester: successor,
        ..order(0, Write, 7, &pages, 3)
    };
    assert_eq!(queue.submit(&successors, 0), Err(Error::Busy));
    let ends = end(&mut queue, DiskStatus::Done, 0);
    assert!(ends[0].orphan && ends[0].requester == environment(0));
    queue.submit(&successors, 0).unwrap();
    assert!(!queue.cancel(environment(0), |_| panic!("it is another's")));
}
