//! What is left when environments and accounts end, and what is taken from an account: everything that is there is
//! looked at, in one order and in bounded steps.
//!
//! ```text
//!   place   0 ..        filters of interface 0, 1, ...
//!           .. then     rings, send capabilities, and frames that wait or are in a device
//! ```

use exopi_abi::capability::Epoch;
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{FilterState, MAX_INTERFACES};
use exopi_abi::page::Owner;
use exopi_filter::FilterId;

use crate::removal::Step;
use crate::{Frames, Holding, Ledger};

/// Most places that one step looks at.
const LOOKS: u32 = 64;

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Filter(usize, FilterId),
    Ring(u16),
    Send(u16),
    Slot(u16),
}

/// What became of a thing that was to be taken from an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seized {
    /// The one with this index is gone.
    One(u16),
    /// The step's bound came first.
    Later,
    /// There is none any more.
    Nothing,
}

impl Frames<'_> {
    /// What is at a place; [`None`] behind the last.
    fn thing(&self, place: u32) -> Option<Thing> {
        let mut place = place as usize;
        for interface in 0..MAX_INTERFACES {
            let count = self.filters(interface).len();
            if place < count {
                return Some(Thing::Filter(interface, FilterId(place as u32)));
            }
            place -= count;
        }
        type Make = fn(u16) -> Thing;
        let tables = [
            (self.rings.len(), Thing::Ring as Make),
            (self.sends.len(), Thing::Send),
            (self.slots.len(), Thing::Slot),
        ];
        for (count, make) in tables {
            if place < count {
                return Some(make(place as u16));
            }
            place -= count;
        }
        None
    }

    fn places(&self) -> u32 {
        let filters: usize = (0..MAX_INTERFACES).map(|n| self.filters(n).len()).sum();
        let others = self.rings.len() + self.sends.len() + self.slots.len();
        (filters + others) as u32
    }

    /// There may be something to do for the background, anywhere.
    pub(crate) fn tidy_up(&mut self) {
        self.untidy = self.places();
    }

    /// The environment at this index has ended. Its frames that wait are not sent; what it has made goes in the background
    /// ([`Frames::sweep`]).
    pub fn environment_ended(&mut self, index: u16, ledger: &mut impl Ledger) {
        self.cancel_all(index, ledger);
        if self
            .makers
            .get(usize::from(index))
            .is_none_or(|count| *count > 0)
        {
            self.tidy_up();
        }
    }

    /// Whether the background has something to do.
    #[inline]
    pub const fn is_untidy(&self) -> bool {
        self.untidy > 0
    }

    /// An account has begun to end: what is charged to it goes in the background ([`Frames::sweep`]).
    pub fn account_closed(&mut self) {
        self.tidy_up();
    }

    /// One bounded step of what is left to do: ends that have begun, what environments have made that live no more, and
    /// what is charged to accounts that `pays` knows no more. Whether there may be more.
    pub fn sweep<L: Ledger>(
        &mut self,
        lives: impl Fn(&L, ObjectName) -> bool,
        pays: impl Fn(&L, Owner) -> bool,
        ledger: &mut L,
    ) -> bool {
        let mut looks = LOOKS;
        while self.untidy > 0 && looks > 0 {
            (self.untidy, looks) = (self.untidy - 1, looks - 1);
            let place = self.turn;
            let Some(thing) = self.thing(place) else {
                self.turn = 0;
                // Behind the last one nothing was looked at.
                self.untidy += 1;
                continue;
            };
            self.turn = place + 1;
            let step = self.tidy(thing, &lives, &pays, ledger);
            if step != Step::Done {
                self.turn = place;
            }
            if self.is_heavy(thing) {
                break;
            }
        }
        self.is_untidy()
    }

    /// Whether a step that came by a thing is long enough; those that had nothing to do for it are not counted here.
    fn is_heavy(&self, thing: Thing) -> bool {
        match thing {
            Thing::Filter(interface, id) => {
                let record = self.filter_at(interface, id);
                record.is_some_and(|record| record.state == FilterState::Leaving)
            }
            Thing::Ring(index) => self.ring(index).is_some_and(|record| record.leaving != 0),
            Thing::Send(index) => self.send(index).is_some_and(|record| record.leaving != 0),
            Thing::Slot(_) => false,
        }
    }

    fn tidy<L: Ledger>(
        &mut self,
        thing: Thing,
        lives: &impl Fn(&L, ObjectName) -> bool,
        pays: &impl Fn(&L, Owner) -> bool,
        ledger: &mut L,
    ) -> Step {
        let dead = |ledger: &L, word: u64| !lives(ledger, ObjectName::from_word(word));
        let doomed =
            |ledger: &L, maker: u64, owner: Owner| dead(ledger, maker) || !pays(ledger, owner);
        match thing {
            Thing::Filter(_, FilterId::ROOT) => Step::Done,
            Thing::Filter(interface, id) => {
                let Some(record) = self.filter_at(interface, id).copied() else {
                    return Step::Done;
                };
                let orphan = record.environment == 0 || dead(ledger, record.environment);
                if orphan {
                    self.orphan(interface, id);
                }
                let unused = orphan && record.references == 0;
                match record.state {
                    FilterState::Live if !unused && pays(ledger, record.account) => Step::Done,
                    FilterState::Retired if pays(ledger, record.account) => Step::Done,
                    _ => self.end_filter(interface, id, ledger),
                }
            }
            Thing::Ring(index) => match self.ring(index) {
                Some(record)
                    if record.leaving != 0
                        || doomed(ledger, record.environment, record.account) =>
                {
                    self.end_ring(index, ledger)
                }
                _ => Step::Done,
            },
            Thing::Send(index) => match self.send(index) {
                Some(record)
                    if record.depth > 0
                        && (record.leaving != 0
                            || doomed(ledger, record.environment, record.account)) =>
                {
                    self.end_send(index, ledger)
                }
                _ => Step::Done,
            },
            // Those that wait of an environment that ended were taken back; those in a device go when that is done.
            Thing::Slot(token) => match self.frame_at(token) {
                Some((owner, Some(_))) if !pays(ledger, owner) => self.end(thing, ledger),
                _ => Step::Done,
            },
        }
    }

    /// A filter's maker is dead.
    fn orphan(&mut self, interface: usize, id: FilterId) {
        let found = self.interface_mut(interface);
        let record = found.and_then(|found| found.filters.get_mut(id.0 as usize));
        let maker = record.map(|record| core::mem::take(&mut record.environment));
        self.note_gone(maker.unwrap_or_default());
    }

    /// A bounded part of the end of all that is charged to an account, from `place` on, which is 0 at first and then what
    /// was left there. Roots of interfaces stay: their account never ends.
    pub fn reclaim(&mut self, owner: Owner, place: &mut u32, ledger: &mut impl Ledger) -> Step {
        for _ in 0..LOOKS {
            let Some(thing) = self.thing(*place) else {
                return Step::Done;
            };
            if self.charged(thing, owner).is_some() {
                match self.end(thing, ledger) {
                    Step::Done => *place += 1,
                    step => return step,
                }
                return Step::More;
            }
            *place += 1;
        }
        Step::More
    }

    /// The account's holding that a thing is, if it is one.
    fn charged(&self, thing: Thing, owner: Owner) -> Option<Holding> {
        let (holding, account) = match thing {
            Thing::Filter(_, FilterId::ROOT) => return None,
            Thing::Filter(interface, id) => {
                (Holding::Filter, self.filter_at(interface, id)?.account)
            }
            Thing::Ring(index) => (Holding::Ring, self.ring(index)?.account),
            Thing::Send(index) => {
                let record = self.send(index).filter(|record| record.depth > 0)?;
                (Holding::Send, record.account)
            }
            Thing::Slot(token) => (Holding::Frame, self.frame_at(token)?.0),
        };
        (account == owner).then_some(holding)
    }

    /// A bounded part of a thing's end.
    fn end(&mut self, thing: Thing, ledger: &mut impl Ledger) -> Step {
        match thing {
            Thing::Filter(interface, id) => self.end_filter(interface, id, ledger),
            Thing::Ring(index) => self.end_ring(index, ledger),
            Thing::Send(index) => self.end_send(index, ledger),
            Thing::Slot(token) => match self.frame_at(token) {
                // All of a lane's: they are in a list that goes one way.
                Some((_, Some(lane))) => {
                    self.cancel(lane, ledger);
                    Step::Done
                }
                Some((_, None)) => Step::Blocked,
                None => Step::Done,
            },
        }
    }

    /// One bounded step of taking one thing of a kind from an account whose deadline has passed: the next from `place` on,
    /// which is 0 at first and then what was left there. With a filter goes all that is below it.
    pub fn seize(
        &mut self,
        owner: Owner,
        holding: Holding,
        place: &mut u32,
        ledger: &mut impl Ledger,
    ) -> Seized {
        for _ in 0..LOOKS {
            let Some(thing) = self.thing(*place) else {
                return Seized::Nothing;
            };
            if self.charged(thing, owner) == Some(holding) {
                return match (self.end(thing, ledger), thing) {
                    (Step::Done, Thing::Filter(interface, id)) => {
                        let index = exopi_abi::net::filter_index(interface, id.0 as usize);
                        Seized::One(index.unwrap_or_default())
                    }
                    (Step::Done, Thing::Ring(index) | Thing::Send(index) | Thing::Slot(index)) => {
                        Seized::One(index)
                    }
                    _ => Seized::Later,
                };
            }
            *place += 1;
        }
        Seized::Later
    }

    /// The name of a filter, if there is one at this index.
    pub fn filter_name(&self, index: u16) -> Option<ObjectName> {
        let (interface, number) = exopi_abi::net::filter_place(index);
        let record = self.filter_at(interface, FilterId(number as u32))?;
        let epoch = Epoch::from_low_bits(record.epoch);
        Some(ObjectName { index, epoch })
    }
}
