//! The policies: against naive models, and against what theory promises.

use std::collections::VecDeque;

use proptest::prelude::{any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::thread;
use crate::policy::{EarliestDeadline, Policy, Refused, RoundRobin, Share, Stride};

const N: usize = 6;

fn anybody(_: crate::table::ThreadIndex) -> bool {
    true
}

proptest! {
    /// Round robin is a queue. Some threads may not run for a while, and keep their places.
    #[test]
    fn round_robin_is_a_queue(steps in prop::collection::vec((0..3_u8, 0..N, any::<u8>()), 0..100)) {
        let mut policy = RoundRobin::<N>::new();
        let mut queue = VecDeque::new();
        let mut running = None;
        for (kind, index, mask) in steps {
            match kind {
                0 if !queue.contains(&index) && running != Some(index) => {
                    policy.ready(thread(index), 0);
                    queue.push_back(index);
                }
                1 => {
                    if let Some(index) = running.take() {
                        policy.ready(thread(index), 0);
                        queue.push_back(index);
                    }
                }
                _ if running.is_none() => {
                    let may = |index: usize| mask & 1 << index == 0;
                    let picked = policy.pick(0, &mut |it| may(it.get())).map(|it| it.get());
                    let place = queue.iter().position(|index| may(*index));
                    prop_assert_eq!(picked, place.and_then(|place| queue.remove(place)));
                    running = picked;
                }
                _ => {}
            }
        }
    }

    /// Threads that want to run all the time: no two are further apart than one charge of the one that is
    /// ahead, and so each is within the bounds that are written down at the policy. Exactly, after each step,
    /// with charges of any size up to the quantum.
    #[test]
    fn stride_is_never_beyond_its_lag(
        tickets in prop::collection::vec(1..1000_u32, 2..=N),
        charges in prop::collection::vec(1..=1000_u64, 1..400),
    ) {
        let quantum = 1000;
        let mut policy = Stride::<N>::new();
        for (index, share) in tickets.iter().enumerate() {
            policy.admit(thread(index), Share::Tickets(*share), 0).unwrap();
            policy.ready(thread(index), 0);
        }
        let mut used = vec![0_i128; tickets.len()];
        let total: i128 = tickets.iter().map(|it| i128::from(*it)).sum();
        for charge in charges {
            let picked = policy.pick(0, &mut anybody).unwrap();
            policy.charge(picked, charge, 0);
            used[picked.get()] += i128::from(charge);
            policy.ready(picked, 0);
            let sum: i128 = used.iter().sum();
            let others = tickets.len() as i128 - 1;
            for (mine, share) in used.iter().zip(&tickets) {
                let share = i128::from(*share);
                // Times the sum of tickets, so that all numbers are whole. A pass is rounded down by less than
                // 2^-32 of a tick for each ticket: not a tick of slack is needed.
                let ahead = mine * total - sum * share;
                prop_assert!(ahead <= quantum * (total - share), "ahead {ahead}");
                prop_assert!(-ahead <= quantum * others * share, "behind {}", -ahead);
            }
        }
    }

    /// The same against a model with fractions: the least used / tickets is picked, by cross multiplication.
    #[test]
    fn stride_picks_the_least(
        tickets in prop::collection::vec(1..50_u32, 2..=N),
        charges in prop::collection::vec(1..=60_u64, 1..200),
    ) {
        let mut policy = Stride::<N>::new();
        for (index, share) in tickets.iter().enumerate() {
            policy.admit(thread(index), Share::Tickets(*share), 0).unwrap();
            policy.ready(thread(index), 0);
        }
        let mut used = vec![0_u64; tickets.len()];
        for charge in charges {
            let picked = policy.pick(0, &mut anybody).unwrap().get();
            for (other, share) in tickets.iter().enumerate() {
                let mine = used[picked] * u64::from(*share);
                prop_assert!(mine <= used[other] * u64::from(tickets[picked]));
            }
            policy.charge(thread(picked), charge, 0);
            used[picked] += charge;
            policy.ready(thread(picked), 0);
        }
    }

    /// Who sleeps earns nothing: awake again, it is not ahead of one that ran all the time by more than a charge.
    #[test]
    fn stride_sleepers_earn_nothing(before in 1..200_u32, asleep in 1..200_u32) {
        let mut policy = Stride::<2>::new();
        for index in 0..2 {
            policy.admit(thread(index), Share::Equal, 0).unwrap();
            policy.ready(thread(index), 0);
        }
        let turn = |policy: &mut Stride<2>, sleeps: bool| {
            let picked = policy.pick(0, &mut anybody).unwrap();
            policy.charge(picked, 10, 0);
            if sleeps && picked.get() == 1 {
                policy.block(picked, 0);
            } else {
                policy.ready(picked, 0);
            }
            picked.get()
        };
        for _ in 0..before {
            turn(&mut policy, false);
        }
        while turn(&mut policy, true) != 1 {}
        for _ in 0..asleep {
            prop_assert_eq!(turn(&mut policy, true), 0);
        }
        policy.ready(thread(1), 0);
        let turns: Vec<usize> = (0..20).map(|_| turn(&mut policy, false)).collect();
        let mine = turns.iter().filter(|it| **it == 1).count();
        prop_assert!((9..=11).contains(&mine), "{turns:?}");
    }

    /// Periodic threads whose budgets fill the processor at most: each job is done by its deadline, the end of
    /// its period, though others overrun, come at odd times, or want to run all the time.
    #[test]
    fn deadlines_are_met(
        wanted in prop::collection::vec((2..40_u64, 1..20_u64, 0..50_u64, any::<bool>()), 1..=N - 1),
        length in 200..1500_u64,
    ) {
        let mut policy = EarliestDeadline::<N>::new();
        // One without a deadline that always wants to run.
        policy.admit(thread(N - 1), Share::Equal, 0).unwrap();
        policy.ready(thread(N - 1), 0);
        let mut jobs = Vec::new();
        for (period, budget, first, overruns) in wanted {
            let budget = budget.min(period);
            let index = thread(jobs.len());
            let share = Share::Deadline { period, budget };
            match policy.admit(index, share, 0) {
                Ok(()) => jobs.push((index, period, budget, first, overruns, 0_u64, u64::MAX)),
                Err(refused) => prop_assert_eq!(refused, Refused::Overload),
            }
        }
        let mut running: Option<crate::table::ThreadIndex> = None;
        for now in 0..length {
            for (index, period, budget, first, overruns, left, deadline) in &mut jobs {
                if now < *first || (now - *first) % *period != 0 {
                    continue;
                }
                // One that overruns wants twice its budget, and is never done in time.
                let wants = if *overruns { *budget * 2 } else { *budget };
                prop_assert!(*overruns || *left == 0, "{left} left at {now}, due at {deadline}");
                if *left == 0 {
                    policy.ready(*index, now);
                }
                *left += wants;
                *deadline = now + *period;
            }
            if let Some(index) = running.filter(|it| policy.outranks(*it)) {
                policy.ready(index, now);
                running = None;
            }
            let Some(index) = running.or_else(|| policy.pick(now, &mut anybody)) else {
                continue;
            };
            running = Some(index);
            policy.charge(index, 1, now + 1);
            if let Some(job) = jobs.iter_mut().find(|job| job.0 == index) {
                job.5 -= 1;
                if job.5 == 0 {
                    policy.block(index, now + 1);
                    running = None;
                }
            }
        }
    }

    /// Admission is exact: fractions of any kind that add up to 1 are taken, and one tick more is not.
    #[test]
    fn a_full_processor_is_taken_and_no_more(parts in 1..=N as u64, scale in 1..1_000_000_u64) {
        let mut policy = EarliestDeadline::<{ N + 1 }>::new();
        for index in 0..parts {
            let share = Share::Deadline { period: parts * scale, budget: scale };
            prop_assert_eq!(policy.admit(thread(index as usize), share, 0), Ok(()));
        }
        let more = Share::Deadline { period: 1_000_000_000, budget: 1 };
        prop_assert_eq!(policy.admit(thread(N), more, 0), Err(Refused::Overload));
        policy.leave(thread(0));
        prop_assert_eq!(policy.admit(thread(N), more, 0), Ok(()));
    }
}

#[test]
fn shares_that_are_none_are_refused() {
    let mut policy = EarliestDeadline::<2>::new();
    for (period, budget) in [(0, 0), (5, 0), (5, 6), (0, 1)] {
        let share = Share::Deadline { period, budget };
        assert_eq!(policy.admit(thread(0), share, 0), Err(Refused::Malformed));
    }
    assert_eq!(policy.admit(thread(2), Share::Equal, 0), Err(Refused::Full));
    assert_eq!(
        Stride::<2>::new().admit(thread(2), Share::Equal, 0),
        Err(Refused::Full)
    );
    assert_eq!(
        RoundRobin::<2>::new().admit(thread(2), Share::Equal, 0),
        Err(Refused::Full)
    );
}

/// Many small charges are as much as a large one: what divisions leave over is not lost. By the order in
/// which the two are picked, as equal passes go by the order of coming.
#[test]
fn stride_loses_nothing_to_rounding() {
    let mut policy = Stride::<2>::new();
    for index in 0..2 {
        policy.admit(thread(index), Share::Tickets(3), 0).unwrap();
        policy.ready(thread(index), 0);
        policy.pick(0, &mut anybody).unwrap();
    }
    for _ in 0..3000 {
        policy.charge(thread(0), 1, 0);
    }
    policy.charge(thread(1), 3000, 0);
    policy.ready(thread(1), 0);
    policy.ready(thread(0), 0);
    assert_eq!(policy.pick(0, &mut anybody), Some(thread(1)));
}

/// What was left of a budget when a thread fell asleep is good until the deadline, as far as it is no more
/// than the thread's share of that time; else a new period begins, so that it does not get two budgets at once.
#[test]
fn a_late_riser_gets_no_more_than_its_share() {
    let mut policy = EarliestDeadline::<1>::new();
    let share = Share::Deadline {
        period: 10,
        budget: 5,
    };
    policy.admit(thread(0), share, 0).unwrap();
    let wake = |policy: &mut EarliestDeadline<1>, now| {
        policy.ready(thread(0), now);
        policy.pick(now, &mut anybody).unwrap();
    };
    wake(&mut policy, 0);
    assert_eq!(policy.deadline(thread(0)), Some(10));
    policy.charge(thread(0), 4, 4);
    policy.block(thread(0), 4);
    // One tick left, and two would be its share until then.
    wake(&mut policy, 6);
    assert_eq!(policy.deadline(thread(0)), Some(10));
    policy.block(thread(0), 6);
    // One tick left, and half of one would be its share.
    wake(&mut policy, 9);
    assert_eq!(policy.deadline(thread(0)), Some(19));
    // Two budgets and a half at once are two deadlines later.
    policy.charge(thread(0), 13, 22);
    assert_eq!(policy.deadline(thread(0)), Some(39));
}
