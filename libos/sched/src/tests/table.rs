//! The table under random steps: its lists, heap and policy always follow from its slots, and can be made
//! anew from them at any time.

use proptest::prelude::{any, prop};
use proptest::{prop_assert_eq, proptest};

use super::thread;
use crate::policy::{RoundRobin, Share};
use crate::table::{Ended, Outcome, Slot, State, Table, TimerCell, Wait};

const N: usize = 5;
const WORKERS: usize = 2;

/// What the table must be by a look at its slots alone.
fn check(table: &Table<'_>) {
    let slots = table.slots();
    for key in 1..4 {
        // The first of those that wait is the one that has waited longest.
        let waiting = slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.state == State::Waiting && slot.wait.key == key);
        let first = waiting
            .min_by_key(|(_, slot)| slot.order)
            .map(|(index, _)| index);
        assert_eq!(table.is_awaited(key), first.is_some());
    }
    let deadline = slots
        .iter()
        .filter(|slot| slot.state == State::Waiting)
        .filter_map(|slot| slot.wait.deadline)
        .min();
    assert_eq!(table.next_deadline(), deadline);
    let living = |slot: &&Slot| !matches!(slot.state, State::Free | State::Ended);
    assert_eq!(table.living(), slots.iter().filter(living).count());
    for (index, slot) in slots.iter().enumerate() {
        let runs = table
            .workers
            .iter()
            .filter(|it| it.current == Some(thread(index)))
            .count();
        assert_eq!(
            runs,
            usize::from(slot.state == State::Running),
            "thread {index}"
        );
    }
}

proptest! {
    #[test]
    fn lists_follow_from_slots(
        steps in prop::collection::vec((0..9_u8, 0..WORKERS, 1..4_u64, any::<u8>()), 0..120),
    ) {
        let (mut slots, mut timers) = ([Slot::FREE; N], [TimerCell::empty((0, 0)); N]);
        let mut policy = RoundRobin::<N>::new();
        let mut table = Table::new(&mut slots, &mut timers, &mut policy);
        for (index, worker) in table.workers.iter_mut().enumerate().take(WORKERS) {
            (worker.present, worker.name) = (true, index as u64 + 1);
        }
        for (now, (kind, worker, key, byte)) in (0_u64..).zip(steps) {
            let busy = table.current(worker).is_some();
            match kind {
                0 => {
                    if let Ok(id) = table.admit("", Share::Equal, now) {
                        table.start(id.index(), now);
                    }
                }
                1 if !busy => {
                    let _ = table.pick(worker, now);
                }
                2 => table.put_back(worker, byte & 1 != 0, now),
                3 | 4 => {
                    let wait = Wait {
                        key: key * u64::from(byte & 1),
                        deadline: (byte & 2 != 0).then(|| now + u64::from(byte >> 4)),
                        ..Wait::NONE
                    };
                    table.park(worker, wait, now);
                }
                5 => {
                    let waiting = |slot: &&Slot| slot.state == State::Waiting && slot.wait.key == key;
                    let first = table.slots().iter().filter(waiting).map(|slot| slot.order).min();
                    let woken = table.wake_one(key, now);
                    let order = woken.and_then(|it| table.slot(it)).map(|slot| slot.order);
                    prop_assert_eq!(order, first, "not the one that has waited longest");
                }
                6 => table.fire(now),
                7 => {
                    let ending = table.current(worker);
                    table.end(worker, Ended::Returned, now);
                    if let Some(ending) = ending.filter(|_| byte & 1 != 0) {
                        table.free(ending);
                    }
                }
                // Whatever lists there were, these are the same.
                _ => table.repair(&mut |_| false, now),
            }
            check(&table);
        }
        // One of the workers dies: what it ran, and what it had interrupted, is lost; all else goes on.
        let lost: Vec<bool> = table.slots().iter().enumerate().map(|(index, slot)| {
            table.current(0) == Some(thread(index)) || slot.pinned == Some(0) && slot.state == State::Ready
        }).collect();
        let before: Vec<State> = table.slots().iter().map(|slot| slot.state).collect();
        table.repair(&mut |worker| worker.name == 1, 1000);
        check(&table);
        for ((slot, lost), before) in table.slots().iter().zip(lost).zip(before) {
            if lost {
                prop_assert_eq!((slot.state, slot.ended), (State::Ended, Ended::Lost));
            } else {
                prop_assert_eq!(slot.state, before);
            }
        }
    }
}

#[test]
fn waiters_of_a_holder_that_ends_are_told() {
    let (mut slots, mut timers) = ([Slot::FREE; 3], [TimerCell::empty((0, 0)); 3]);
    let mut policy = RoundRobin::<3>::new();
    let mut table = Table::new(&mut slots, &mut timers, &mut policy);
    let ids = [0; 3].map(|_| table.admit("", Share::Equal, 0).unwrap());
    table.start(ids[1].index(), 0);
    table.start(ids[2].index(), 0);
    for holder in [Some(ids[0]), None] {
        let waiter = table.pick(0, 0).unwrap();
        let wait = Wait {
            key: 2,
            holder,
            ..Wait::NONE
        };
        table.park(0, wait, 0);
        assert_eq!(table.slot(waiter).unwrap().outcome, Outcome::Waits);
    }
    table.start(ids[0].index(), 0);
    assert_eq!(table.pick(0, 0), Some(ids[0].index()));
    table.end(0, Ended::Exited, 0);
    assert!(!table.is_alive(ids[0]));
    let outcome = |index: usize| table.slot(ids[index].index()).unwrap().outcome;
    assert_eq!(outcome(1), Outcome::HolderEnded);
    assert_eq!(outcome(2), Outcome::Waits);
}
