//! Every state that small worlds can be in, each step of each tried, against the naive model.
//!
//! A world has three positions, two environments, and slices of two ticks. Placing and time are explored
//! in one world each, since their product would be too large: in the first one turns end after no time or a whole
//! slice, in the second one slices stay where they are.

use std::collections::{HashSet, VecDeque};
use std::vec::Vec;

use exopi_abi::slice::SliceRecord;

use super::naive::Naive;
use super::world::{Step, World};
use super::{Environments, environment};
use crate::{Core, Lengths, Pass};

const LENGTHS: Lengths = Lengths::of_ticks(2, 1);
const POSITIONS: u8 = 3;
const WHO: [u16; 2] = [1, 2];

type Key = (Vec<(u64, u64, u32)>, Core, Naive, Environments);

fn key(world: &World) -> Key {
    let seen = |record: &SliceRecord| (record.epoch, record.environment, record.carry);
    let records = world.records.iter().take(POSITIONS.into()).map(seen);
    (
        records.collect(),
        world.kept[0],
        world.naive.clone(),
        world.environments.clone(),
    )
}

/// All states from `first` on, by steps that `tries` gives for each. Steps are done one after the other, as one.
fn close(first: World, tries: impl Fn(&World) -> Vec<Vec<Step>>) -> usize {
    let first = first.normal();
    let mut known = HashSet::from([key(&first)]);
    let mut waiting = VecDeque::from([first]);
    while let Some(world) = waiting.pop_front() {
        for steps in tries(&world) {
            let mut next = world.clone();
            for step in steps {
                next.step(step);
            }
            let next = next.normal();
            if known.insert(key(&next)) {
                waiting.push_back(next);
            }
        }
        somebody_runs(&world);
    }
    known.len()
}

/// If nothing changes any more and nobody uses its turns up or overruns, then each that is ready and has a slice
/// has a turn before long, debts are paid, and the core is idle if there is nobody.
fn somebody_runs(world: &World) {
    let mut world = world.clone();
    let vector = &world.naive.cores[0].vector;
    let mut wait: HashSet<u64> = vector.values().map(|slice| slice.environment).collect();
    let debts: u64 = wait.iter().map(|word| world.environments.debt(*word)).sum();
    wait.retain(|word| world.environments.look(*word).ready);
    // A way to its end, one for each slice length that somebody owes, and one.
    for _ in 0..u64::from(POSITIONS) * (debts + 3) {
        match world.step(Step::Pass(0)) {
            Some(Pass::Run { environment, .. }) => {
                wait.remove(&environment);
            }
            Some(Pass::Idle) => {
                assert!(wait.is_empty(), "idle, but {wait:?} could run");
                return;
            }
            _ => {}
        }
        world.step(Step::Declined(0));
    }
    assert!(wait.is_empty(), "{wait:?} had no turn");
}

fn small(audited: bool) -> World {
    let mut world = World::new(1, LENGTHS, audited);
    for who in WHO {
        world.environments.set_ready(environment(who), true);
        world.environments.set_debt(environment(who).word(), 0);
    }
    world
}

fn ready(tries: &mut Vec<Vec<Step>>) {
    for who in WHO {
        for ready in [false, true] {
            tries.push(Vec::from([Step::Ready(who, ready)]));
        }
    }
}

#[test]
fn placing_is_right_in_every_small_state() {
    let states = close(small(false), |world| {
        let mut tries = Vec::new();
        for at in (0..POSITIONS).map(|position| (0, position)) {
            if !world.is_used(at) {
                tries.extend(WHO.map(|who| Vec::from([Step::Alloc(at, who)])));
                continue;
            }
            tries.push(Vec::from([Step::Free(at)]));
            tries.extend(WHO.map(|who| Vec::from([Step::Bind(at, who)])));
            for to in (0..POSITIONS).map(|position| (0, position)) {
                tries.push(Vec::from([Step::Move(at, to)]));
            }
        }
        ready(&mut tries);
        if world.is_open(0) {
            tries.push(Vec::from([Step::Ended(0)]));
            tries.push(Vec::from([Step::Time(2), Step::Ended(0), Step::Time(-2)]));
        } else {
            tries.push(Vec::from([Step::Pass(0), Step::Began(0)]));
        }
        tries
    });
    std::println!("{states} states");
}

#[test]
fn time_is_right_in_every_small_state() {
    let mut world = small(false);
    for (position, who) in [(0, 1), (1, 2), (2, 1)] {
        world.step(Step::Alloc((0, position), who));
    }
    let states = close(world, |world| {
        let mut tries = Vec::new();
        ready(&mut tries);
        if world.is_open(0) {
            tries.push(Vec::from([Step::Declined(0)]));
            for ticks in 0..=6 {
                let (on, back) = (Step::Time(ticks), Step::Time(-ticks));
                tries.push(Vec::from([on, Step::Ended(0), back]));
                tries.extend(WHO.map(|who| Vec::from([on, Step::Deadline(0, who), back])));
            }
        } else {
            tries.push(Vec::from([Step::Pass(0)]));
            tries.push(Vec::from([Step::Pass(0), Step::Began(0)]));
        }
        tries
    });
    std::println!("{states} states");
}
