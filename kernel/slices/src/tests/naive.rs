//! Slices once more, as simply as can be: no marks, no cursor, no caps on the way; balances that are exact.
//!
//! A slice knows the *way* through the vector in which it is due. Who is next is the lowest position that is
//! due; if there is none, the way is over.

use std::collections::BTreeMap;

use exopi_abi::domain::ObjectName;

use super::Environments;
use crate::{Lengths, Pass};

/// A slice, and all that ever happened to its ticks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slice {
    pub(super) environment: u64,
    pub(super) carry: i128,
    /// The way in which it may have a turn.
    due: i128,
    ledger: Ledger,
}

/// Where the ticks of turns went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Ledger {
    turns: i128,
    within: i128,
    paid: i128,
    forfeited: i128,
    /// Of a turn that has not ended.
    out: i128,
}

/// A turn that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Open {
    /// Where the slice is by now; `None` if it was freed.
    pub(super) at: Option<(u8, u8)>,
    pub(super) environment: u64,
    pub(super) length: i128,
    pub(super) began: Option<i128>,
    pub(super) alone: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Core {
    pub(super) vector: BTreeMap<u8, Slice>,
    way: i128,
    stirred: bool,
    pub(super) open: Option<Open>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Naive {
    pub(super) cores: [Core; 2],
    slice: i128,
    least: i128,
    /// Whether ledgers are kept: they make states differ that are the same otherwise.
    audited: bool,
}

impl Naive {
    pub(super) fn new(lengths: Lengths, audited: bool) -> Self {
        Self {
            cores: [Core::default(), Core::default()],
            slice: lengths.slice().into(),
            least: lengths.least().into(),
            audited,
        }
    }

    fn core(&mut self, core: u8) -> &mut Core {
        &mut self.cores[usize::from(core)]
    }

    pub(super) fn alloc(&mut self, core: u8, position: u8, environment: u64) {
        let slice = Slice {
            environment,
            carry: 0,
            due: 0,
            ledger: Ledger::default(),
        };
        self.put(core, position, slice);
    }

    fn put(&mut self, core: u8, position: u8, mut slice: Slice) {
        let core = self.core(core);
        slice.due = core.way + 1;
        core.stirred = true;
        assert!(core.vector.insert(position, slice).is_none());
    }

    pub(super) fn bind(&mut self, core: u8, position: u8, environment: u64) {
        let core = self.core(core);
        core.stirred = true;
        core.vector.get_mut(&position).unwrap().environment = environment;
    }

    pub(super) fn move_to(&mut self, from: (u8, u8), to: (u8, u8)) {
        let slice = self.core(from.0).vector.remove(&from.1).unwrap();
        self.put(to.0, to.1, slice);
        self.follow(from, Some(to));
    }

    pub(super) fn free(&mut self, at: (u8, u8)) {
        self.core(at.0).vector.remove(&at.1).unwrap();
        self.follow(at, None);
    }

    fn follow(&mut self, from: (u8, u8), to: Option<(u8, u8)>) {
        for open in self.cores.iter_mut().filter_map(|core| core.open.as_mut()) {
            if open.at == Some(from) {
                open.at = to;
            }
        }
    }

    /// Looks without any bound on looks, up to the first event. The slice is named by its place.
    pub(super) fn pass(&mut self, index: u8, environments: &Environments) -> (Pass, Option<u8>) {
        self.declined(index);
        let (nominal, least, audited) = (self.slice, self.least, self.audited);
        loop {
            let core = self.core(index);
            let way = core.way;
            let due = core.vector.iter_mut().find(|(_, slice)| slice.due <= way);
            let Some((&position, slice)) = due else {
                core.way += 1;
                if !core::mem::take(&mut core.stirred) || core.vector.is_empty() {
                    return (Pass::Idle, None);
                }
                continue;
            };
            slice.due = way + 1;
            let seen = environments.look(slice.environment);
            let worth = nominal + slice.carry;
            let paid = worth.min(seen.debt.into());
            let left = worth - paid;
            let runs = seen.ready && left >= least;
            slice.carry = if runs { 0 } else { left.min(nominal) };
            if audited {
                slice.ledger.turns += 1;
                slice.ledger.paid += paid;
                slice.ledger.out += if runs { left } else { 0 };
                slice.ledger.forfeited += if runs { 0 } else { left - slice.carry };
            }
            let (environment, paid) = (slice.environment, paid as u64);
            if !runs && paid == 0 {
                continue;
            }
            core.stirred = true;
            if !runs {
                return (Pass::Paid { environment, paid }, None);
            }
            core.open = Some(Open {
                at: Some((index, position)),
                environment,
                length: left,
                began: None,
                alone: false,
            });
            let pass = Pass::Run {
                slice: ObjectName::from_word(0),
                environment,
                length: left as u64,
                paid,
            };
            return (pass, Some(position));
        }
    }

    pub(super) fn declined(&mut self, core: u8) {
        if let Some(open) = self.core(core).open.take() {
            let left = match open.began {
                None => open.length,
                Some(_) => 0,
            };
            self.close(&open, left, open.length - left);
        }
    }

    pub(super) fn began(&mut self, core: u8, now: u64) {
        if let Some(open) = &mut self.core(core).open {
            open.began = Some(now.into());
        }
    }

    fn renew(&mut self, core: u8, now: u64) {
        let (nominal, audited) = (self.slice, self.audited);
        let Some(open) = self.core(core).open.as_mut().filter(|open| open.alone) else {
            return;
        };
        let Some(began) = open.began else {
            return;
        };
        let mut turns = 0;
        while began + open.length <= now.into() {
            open.length += nominal;
            turns += 1;
        }
        let at = open.at;
        if let Some(slice) = self.slice_at(at).filter(|_| audited) {
            slice.ledger.turns += turns;
            slice.ledger.out += turns * nominal;
        }
    }

    fn slice_at(&mut self, at: Option<(u8, u8)>) -> Option<&mut Slice> {
        let (core, position) = at?;
        self.core(core).vector.get_mut(&position)
    }

    /// Whether there is anybody else who wants turns.
    pub(super) fn others(&self, core: u8, running: u64, environments: &Environments) -> bool {
        self.cores[usize::from(core)].vector.values().any(|slice| {
            let seen = environments.look(slice.environment);
            slice.environment != running && (seen.ready || seen.debt > 0)
        })
    }

    pub(super) fn deadline(&mut self, core: u8, others: bool, now: u64) -> Option<i128> {
        self.renew(core, now);
        let open = self.core(core).open.as_mut()?;
        open.alone = !others;
        let end = open.began.map_or(u64::MAX.into(), |at| at + open.length);
        others.then_some(end)
    }

    /// Used, unused, excess.
    pub(super) fn ended(&mut self, core: u8, now: u64) -> Option<[i128; 3]> {
        self.core(core).open.as_ref()?.began?;
        self.renew(core, now);
        let open = self.core(core).open.take()?;
        let used = (i128::from(now) - open.began?).max(0);
        let within = used.min(open.length);
        let unused = open.length - within;
        self.close(&open, unused, within);
        Some([used, unused, used - within])
    }

    fn close(&mut self, open: &Open, unused: i128, within: i128) {
        let (nominal, audited) = (self.slice, self.audited);
        let Some(slice) = self.slice_at(open.at) else {
            return;
        };
        let carry = (slice.carry + unused).min(nominal);
        if audited {
            slice.ledger.out -= open.length;
            slice.ledger.within += within;
            slice.ledger.forfeited += slice.carry + unused - carry;
        }
        slice.carry = carry;
    }

    pub(super) fn look_again(&mut self, core: u8) {
        self.core(core).stirred = true;
    }

    /// No tick was lost or made.
    pub(super) fn audit(&self) {
        if !self.audited {
            return;
        }
        for slice in self.cores.iter().flat_map(|core| core.vector.values()) {
            let Ledger {
                turns,
                within,
                paid,
                forfeited,
                out,
            } = slice.ledger;
            let went = within + paid + forfeited + out + slice.carry;
            assert_eq!(turns * self.slice, went, "{slice:?}");
        }
    }

    /// The same state with ways counted from now on: what happens next does not depend on how many there were.
    pub(super) fn count_ways_anew(mut self) -> Self {
        for core in &mut self.cores {
            for slice in core.vector.values_mut() {
                slice.due = (slice.due - core.way).max(0);
            }
            core.way = 0;
        }
        self
    }
}
