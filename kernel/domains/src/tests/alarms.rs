//! Alarms against a map from environment to time and core, which is looked through for the earliest.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use exopi_abi::exposed::MAX_CORES;
use proptest::prelude::*;

use crate::alarms::{Alarm, Alarms};

#[derive(Clone, Debug)]
enum Step {
    Set(u16, u8, u64),
    Cancel(u16),
    Due(u8, u64),
}

const ENVIRONMENTS: u16 = 24;

fn step() -> impl Strategy<Value = Step> {
    let environment = 0..ENVIRONMENTS + 2;
    let core = 0..MAX_CORES as u8 + 1;
    // Few times, so that many are equal, and the ends of the range.
    let time = prop_oneof![0..20u64, Just(u64::MAX), Just(u64::MAX - 1)];
    prop_oneof![
        4 => (environment.clone(), core.clone(), time.clone()).prop_map(|(e, c, t)| Step::Set(e, c, t)),
        2 => environment.prop_map(Step::Cancel),
        3 => (core, time).prop_map(|(c, t)| Step::Due(c, t)),
    ]
}

/// What alarms mean.
#[derive(Default)]
struct Naive {
    set: BTreeMap<u16, (u8, u64)>,
}

impl Naive {
    fn earliest(&self, core: u8) -> Option<u64> {
        let of_core = self.set.values().filter(|(at, _)| *at == core);
        of_core.map(|(_, time)| *time).min()
    }

    fn is_possible(environment: u16, core: u8) -> bool {
        environment < ENVIRONMENTS && usize::from(core) < MAX_CORES
    }
}

fn apply(naive: &mut Naive, alarms: &mut Alarms<'_>, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Set(environment, core, time) => {
            naive.set.remove(&environment);
            let before = naive.earliest(core);
            let first = alarms.set(environment, core, time);
            if Naive::is_possible(environment, core) {
                naive.set.insert(environment, (core, time));
                prop_assert_eq!(first, before.is_none_or(|before| time < before));
            } else {
                prop_assert!(!first);
            }
        }
        Step::Cancel(environment) => {
            let was = naive.set.remove(&environment).is_some();
            prop_assert_eq!(alarms.cancel(environment), was);
        }
        Step::Due(core, now) => {
            let earliest = naive.earliest(core).filter(|time| *time <= now);
            match alarms.take_due(core, now) {
                Some(environment) => {
                    let (at, time) = naive.set.remove(&environment).unwrap_or((u8::MAX, 0));
                    prop_assert_eq!((at, Some(time)), (core, earliest));
                }
                None => prop_assert_eq!(earliest, None),
            }
        }
    }
    Ok(())
}

/// So many steps, and no more than a few under Miri, where each takes long.
const MOST: usize = if cfg!(miri) { 8 } else { 200 };

proptest! {
    #[test]
    fn alarms_are_those_of_the_map(steps in prop::collection::vec(step(), 1..MOST)) {
        let mut storage = vec![Alarm::NONE; usize::from(ENVIRONMENTS)];
        let mut order = vec![0; Alarms::order_length(storage.len())];
        let mut alarms = Alarms::new(&mut storage, &mut order);
        let mut naive = Naive::default();
        for step in steps {
            apply(&mut naive, &mut alarms, step)?;
            for core in 0..MAX_CORES as u8 {
                prop_assert_eq!(alarms.earliest(core), naive.earliest(core));
            }
            for environment in 0..ENVIRONMENTS {
                let time = naive.set.get(&environment).map(|(_, time)| *time);
                prop_assert_eq!(alarms.of(environment), time);
            }
        }
    }
}

#[test]
fn alarms_come_in_the_order_of_their_times() {
    let mut storage = vec![Alarm::NONE; 1024];
    let mut order = vec![0; Alarms::order_length(storage.len())];
    let mut alarms = Alarms::new(&mut storage, &mut order);
    for environment in 0..1024u16 {
        // Every residue once, in no order.
        alarms.set(environment, 1, u64::from(environment) * 389 % 1024);
    }
    let taken: Vec<u64> = core::iter::from_fn(|| alarms.take_due(1, 1023))
        .map(|environment| u64::from(environment) * 389 % 1024)
        .collect();
    assert_eq!(taken, (0..1024).collect::<Vec<u64>>());
    assert_eq!(alarms.earliest(1), None);
}
