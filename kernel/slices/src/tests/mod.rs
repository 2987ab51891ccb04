//! What the tests share: environments with debts, and a small board.

mod examples;
// Under Miri it would take hours, and there is nothing unsafe to look at.
#[cfg(not(miri))]
mod exhaustive;
mod hostile;
mod model;
mod naive;
mod shares;
mod world;

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::ObjectName;
use exopi_abi::page::Owner;
use exopi_abi::slice::{SLICES_PER_CORE, SliceRecord};
use exopi_cap::Epochs;

use crate::{Lengths, Pass, Runnable, Slices};

/// Length of a slice, and the limit, in most tests.
pub(super) const SLICE: u64 = 100;
pub(super) const LIMIT: u64 = 5;
pub(super) const LENGTHS: Lengths = Lengths::of_ticks(SLICE, LIMIT);

/// So many steps of a random test; under Miri, where each takes long, a few.
pub(super) const fn steps(usual: usize) -> usize {
    if cfg!(miri) { usual / 20 } else { usual }
}

pub(super) fn environment(index: u16) -> ObjectName {
    ObjectName {
        index,
        epoch: Epoch::from_low_bits(1000 + u64::from(index)),
    }
}

pub(super) fn account(index: u16) -> Owner {
    Owner::new(index, Epoch::from_low_bits(2000 + u64::from(index)))
}

pub(super) fn records(cores: usize) -> Vec<SliceRecord> {
    vec![SliceRecord::FREE; cores * SLICES_PER_CORE]
}

/// What a kernel knows of its environments, by the words of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Environments(BTreeMap<u64, (bool, u64)>);

impl Environments {
    pub(super) fn look(&self, word: u64) -> Runnable {
        match self.0.get(&word) {
            Some(&(ready, debt)) => Runnable {
                ready,
                debt,
                slices: 1,
            },
            None => Runnable::NO,
        }
    }

    pub(super) fn set_ready(&mut self, name: ObjectName, ready: bool) {
        self.0.entry(name.word()).or_default().0 = ready;
    }

    pub(super) fn debt(&self, word: u64) -> u64 {
        self.look(word).debt
    }

    pub(super) fn set_debt(&mut self, word: u64, debt: u64) {
        self.0.entry(word).or_default().1 = debt;
    }

    pub(super) fn pay(&mut self, word: u64, paid: u64) {
        let debt = self.debt(word);
        assert!(paid <= debt, "pays {paid} of {debt}");
        self.set_debt(word, debt - paid);
    }
}

/// A turn, as a test sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) slice: ObjectName,
    pub(super) environment: u64,
    pub(super) length: u64,
}

/// Core 0 with a clock, as a kernel would drive it.
pub(super) struct Board<'m> {
    pub(super) slices: Slices<'m>,
    pub(super) epochs: Epochs,
    pub(super) environments: Environments,
    pub(super) now: u64,
}

impl<'m> Board<'m> {
    pub(super) fn new(records: &'m mut [SliceRecord]) -> Self {
        Self {
            slices: Slices::new(records, LENGTHS),
            epochs: Epochs::new(),
            environments: Environments::default(),
            now: 0,
        }
    }

    /// A slice on core 0 for an environment, which is ready.
    pub(super) fn place(&mut self, position: u64, index: u16) -> ObjectName {
        self.environments.set_ready(environment(index), true);
        let (epochs, name) = (&mut self.epochs, environment(index));
        let made = self
            .slices
            .alloc(epochs, 0, Some(position), name, account(0));
        made.unwrap()
    }

    /// Who is next, until there is somebody or the core is idle.
    pub(super) fn next(&mut self) -> Option<Given> {
        loop {
            let environments = &self.environments;
            match self.slices.pass(0, |word| environments.look(word)) {
                Pass::Run {
                    slice,
                    environment,
                    length,
                    paid,
                } => {
                    self.environments.pay(environment, paid);
                    self.slices.began(0, self.now);
                    return Some(Given {
                        slice,
                        environment,
                        length,
                    });
                }
                Pass::Paid { environment, paid } => self.environments.pay(environment, paid),
                Pass::Continue => {}
                Pass::Idle => return None,
            }
        }
    }

    /// Lets whoever has the core keep it for so many ticks, and then charges it.
    pub(super) fn run(&mut self, ticks: u64) -> u64 {
        self.now += ticks;
        let environment = self.slices.turn(0).unwrap().environment;
        let ended = self.slices.ended(0, self.now).unwrap();
        let debt = self.environments.debt(environment);
        self.environments
            .set_debt(environment, LENGTHS.charged(debt, ended.excess));
        ended.excess
    }

    /// Asks whether the timer is needed.
    pub(super) fn deadline(&mut self, running: ObjectName) -> Option<u64> {
        let environments = &self.environments;
        self.slices
            .deadline(0, running.word(), self.now, |word| environments.look(word))
    }

    /// The next `count` turns, each used as far as it goes: indices of environments.
    pub(super) fn order(&mut self, count: usize) -> Vec<u16> {
        let mut order = Vec::new();
        for _ in 0..count {
            let given = self.next().unwrap();
            self.run(given.length);
            order.push(ObjectName::from_word(given.environment).index);
        }
        order
    }
}
