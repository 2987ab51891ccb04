//! The crate and the naive model side by side: each step is done with both, and all that can be seen is compared.

use core::cell::Cell;
use std::vec::Vec;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::ObjectName;
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::slice::{Place, SLICES_PER_CORE, SliceRecord};
use exopi_cap::Epochs;

use super::naive::Naive;
use super::{Environments, account, environment};
use crate::{Core, LOOKS, Lengths, Pass, Runnable, Slices};

/// What can be done. Places are pairs of core and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Alloc((u8, u8), u16),
    /// At the lowest free position.
    AllocAny(u8, u16),
    Bind((u8, u8), u16),
    Move((u8, u8), (u8, u8)),
    Free((u8, u8)),
    /// An environment becomes ready or does not want to run any more.
    Ready(u16, bool),
    Pass(u8),
    Began(u8),
    Declined(u8),
    Ended(u8),
    /// For an environment that runs.
    Deadline(u8, u16),
    /// Time goes on, or back.
    Time(i64),
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) records: Vec<SliceRecord>,
    pub(super) kept: [Core; MAX_CORES],
    pub(super) naive: Naive,
    pub(super) environments: Environments,
    lengths: Lengths,
    last: Epoch,
    pub(super) now: u64,
}

impl World {
    pub(super) fn new(cores: usize, lengths: Lengths, audited: bool) -> Self {
        Self {
            records: super::records(cores),
            kept: [Core::EMPTY; MAX_CORES],
            naive: Naive::new(lengths, audited),
            environments: Environments::default(),
            lengths,
            last: Epoch::NONE,
            now: 1 << 40,
        }
    }

    fn real<R>(&mut self, call: impl FnOnce(&mut Slices<'_>, &mut Epochs) -> R) -> R {
        let mut epochs = Epochs::after(self.last);
        let mut slices = Slices {
            records: &mut self.records,
            cores: self.kept,
            lengths: self.lengths,
        };
        let result = call(&mut slices, &mut epochs);
        self.kept = slices.cores;
        self.last = epochs.last();
        result
    }

    /// The name of what is at a place, or one that nothing has.
    fn name(&self, at: (u8, u8)) -> ObjectName {
        let place = Place::new(at.0.into(), at.1.into()).unwrap();
        let record = &self.records[usize::from(place.number())];
        let epoch = if record.is_free() {
            Epoch::LAST
        } else {
            Epoch::from_low_bits(record.epoch)
        };
        place.name(epoch)
    }

    pub(super) fn is_used(&self, at: (u8, u8)) -> bool {
        self.naive.cores[usize::from(at.0)]
            .vector
            .contains_key(&at.1)
    }

    pub(super) fn is_open(&self, core: u8) -> bool {
        self.naive.cores[usize::from(core)].open.is_some()
    }

    /// Does a step with both, and compares everything. Gives what a pass said.
    pub(super) fn step(&mut self, step: Step) -> Option<Pass> {
        let mut said = None;
        match step {
            Step::Alloc(at, who) => self.alloc(at.0, Some(at.1), who),
            Step::AllocAny(core, who) => self.alloc(core, None, who),
            Step::Bind(at, who) => {
                let (name, used) = (self.name(at), self.is_used(at));
                let done = self.real(|slices, _| slices.bind(name, environment(who)));
                assert_eq!(done.is_ok(), used);
                if used {
                    self.naive.bind(at.0, at.1, environment(who).word());
                }
            }
            Step::Move(from, to) => self.move_to(from, to),
            Step::Free(at) => {
                let (name, used) = (self.name(at), self.is_used(at));
                let done = self.real(|slices, _| slices.free(name));
                assert_eq!(done.is_ok(), used);
                if used {
                    self.naive.free(at);
                }
            }
            Step::Ready(who, ready) => {
                self.environments.set_ready(environment(who), ready);
                for core in 0..(self.records.len() / SLICES_PER_CORE) as u8 {
                    self.real(|slices, _| slices.look_again(core));
                    self.naive.look_again(core);
                }
            }
            Step::Pass(core) => said = Some(self.pass(core)),
            Step::Began(core) => {
                let now = self.now;
                self.real(|slices, _| slices.began(core, now));
                self.naive.began(core, now);
            }
            Step::Declined(core) => {
                self.real(|slices, _| slices.declined(core));
                self.naive.declined(core);
            }
            Step::Ended(core) => self.ended(core),
            Step::Deadline(core, who) => self.deadline(core, who),
            Step::Time(by) => self.now = self.now.saturating_add_signed(by),
        }
        self.compare();
        said
    }

    fn alloc(&mut self, core: u8, position: Option<u8>, who: u16) {
        let lowest = (0..SLICES_PER_CORE as u8).find(|at| !self.is_used((core, *at)));
        let wanted = match position {
            Some(position) => (!self.is_used((core, position))).then_some(position),
            None => lowest,
        };
        let name = environment(who);
        let made = self.real(|slices, epochs| {
            let position = position.map(u64::from);
            slices.alloc(epochs, core.into(), position, name, account(who))
        });
        let expected = wanted.and_then(|at| Place::new(core.into(), at.into()));
        assert_eq!(
            made.ok().map(|name| name.index),
            expected.map(Place::number)
        );
        if let Some(at) = wanted {
            self.naive.alloc(core, at, name.word());
        }
    }

    fn move_to(&mut self, from: (u8, u8), to: (u8, u8)) {
        let (name, core, position) = (self.name(from), to.0.into(), Some(to.1.into()));
        let moved = self.real(|slices, epochs| slices.move_to(epochs, name, core, position));
        assert_eq!(moved.is_ok(), self.is_used(from) && !self.is_used(to));
        if moved.is_ok() {
            self.naive.move_to(from, to);
        }
    }

    /// Passes until somebody runs or the core is idle. The naive model pays turn by turn: what comes of it is the
    /// same.
    fn pass(&mut self, core: u8) -> Pass {
        let mut naive = self.environments.clone();
        let (expected, position) = loop {
            match self.naive.pass(core, &naive) {
                (Pass::Paid { environment, paid }, _) => naive.pay(environment, paid),
                said => break said,
            }
        };
        let mut payments = 0;
        let pass = loop {
            match self.pass_once(core) {
                Pass::Paid { environment, paid } => self.environments.pay(environment, paid),
                Pass::Continue => {}
                said => break said,
            }
            payments += 1;
            assert!(payments < 4 * 2 * SLICES_PER_CORE, "turn by turn");
        };
        match (pass, expected) {
            (
                Pass::Run {
                    slice,
                    environment,
                    length,
                    paid,
                },
                Pass::Run {
                    environment: naive_environment,
                    length: naive_length,
                    paid: naive_paid,
                    ..
                },
            ) => {
                let expected = (naive_environment, naive_length, naive_paid);
                assert_eq!((environment, length, paid), expected);
                assert_eq!(Some(slice), position.map(|at| self.name((core, at))));
                self.environments.pay(environment, paid);
                naive.pay(environment, paid);
            }
            _ => assert_eq!(pass, expected),
        }
        assert_eq!(self.environments, naive);
        pass
    }

    fn pass_once(&mut self, core: u8) -> Pass {
        let environments = self.environments.clone();
        let vector = self.naive.cores[usize::from(core)].vector.values();
        let bound: Vec<u64> = vector.map(|slice| slice.environment).collect();
        let looks = Cell::new(0);
        let pass = self.real(|slices, _| {
            slices.pass(core, |word| {
                looks.set(looks.get() + 1);
                let slices = bound.iter().filter(|one| **one == word).count() as u8;
                Runnable {
                    slices,
                    ..environments.look(word)
                }
            })
        });
        assert!(looks.get() <= LOOKS);
        pass
    }

    fn ended(&mut self, core: u8) {
        let now = self.now;
        let who = self.naive.cores[usize::from(core)].open.clone();
        let ended = self.real(|slices, _| slices.ended(core, now));
        let expected = self.naive.ended(core, now);
        let real = ended.map(|ended| [ended.used, ended.unused, ended.excess].map(i128::from));
        assert_eq!(real, expected);
        if let (Some(who), Some(ended)) = (who, ended) {
            let debt = self.environments.debt(who.environment);
            let debt = self.lengths.charged(debt, ended.excess);
            self.environments.set_debt(who.environment, debt);
        }
    }

    fn deadline(&mut self, core: u8, who: u16) {
        let (environments, now) = (self.environments.clone(), self.now);
        let (word, looks) = (environment(who).word(), Cell::new(0));
        let mut look = |word| {
            looks.set(looks.get() + 1);
            environments.look(word)
        };
        let real = self.real(|slices, _| {
            let others = slices.others_runnable(core, word, &mut look);
            (others, slices.deadline(core, word, now, &mut look))
        });
        assert!(looks.get() <= 2 * LOOKS);
        let others = self.naive.others(core, word, &environments);
        // One that cannot be sure may say yes, if there are so many runs.
        let runs = self.runs(core);
        assert!(real.0 == others || (real.0 && runs > LOOKS));
        let expected = self.naive.deadline(core, real.0, now);
        assert_eq!(real.1.map(i128::from), expected);
    }

    /// Slices after which comes another environment's.
    fn runs(&self, core: u8) -> usize {
        let vector = &self.naive.cores[usize::from(core)].vector;
        let words = vector.values().map(|slice| slice.environment);
        let next = words.clone().cycle().skip(1);
        words.zip(next).filter(|(one, other)| one != other).count()
    }

    fn compare(&self) {
        for (number, record) in self.records.iter().enumerate() {
            let (core, position) = (number / SLICES_PER_CORE, (number % SLICES_PER_CORE) as u8);
            match self.naive.cores[core].vector.get(&position) {
                Some(slice) => {
                    assert!(!record.is_free());
                    assert_eq!(record.environment, slice.environment);
                    assert_eq!(i128::from(record.carry), slice.carry);
                }
                None => assert_eq!(*record, SliceRecord::FREE),
            }
        }
        for (naive, kept) in self.naive.cores.iter().zip(&self.kept) {
            let open = kept.open.map(|open| (i128::from(open.length), open.alone));
            let expected = naive.open.as_ref().map(|open| (open.length, open.alone));
            assert_eq!(open, expected);
        }
        self.naive.audit();
    }

    /// The same state with the smallest epochs that it can have, now at time 0, and ways counted from now on.
    pub(super) fn normal(mut self) -> Self {
        let began = self.kept[0].open.and_then(|open| open.began);
        assert!(began.is_none_or(|began| began == self.now));
        let old = self.records.clone();
        for (number, record) in self.records.iter_mut().enumerate() {
            if !record.is_free() {
                record.epoch = number as u64 + 1;
            }
        }
        for open in self.kept.iter_mut().filter_map(|core| core.open.as_mut()) {
            let index = usize::from(open.slice.index);
            let there = old[index].epoch == open.slice.epoch.bits();
            open.slice.epoch = if there {
                Epoch::from_low_bits(index as u64 + 1)
            } else {
                open.slice.index = 0;
                Epoch::LAST
            };
        }
        self.last = Epoch::from_low_bits(1 << 20);
        self.naive = self.naive.count_ways_anew();
        self
    }
}
