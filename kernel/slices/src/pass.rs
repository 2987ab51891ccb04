//! Choosing: who has the next turn, and whether anybody else could.
//!
//! ```text
//!   what a turn is worth:     slice length + carry
//!   - what is paid of a debt: |###########|          left      |
//!                             ready, left >= least: Run        not: left carries over (Paid, or the next one is looked at)
//! ```
//!
//! An environment that sleeps while its turn comes by has not used it: it pays, and what is left carries over. If
//! sleeping did not count like giving the core back at once, then staying awake to do so would be an advantage.
//!
//! A way through the vector goes from position 0 to 127. A core is idle after a whole one in which nobody ran,
//! paid, or came.
//!
//! Where all that could run are in debt, turns go by without any time, until one of them has paid: nobody is kept
//! waiting for them. After a way that was all payments it is known how many more like it there would be, and **the next
//! one stands for them all**. So the core is had after three ways at most, however much everybody owes.

use exopi_abi::domain::ObjectName;
use exopi_abi::slice::Place;

use crate::Slices;
use crate::turn::Open;

/// Most slices that one pass looks at, and the most environments that one [`Slices::others_runnable`] does, before
/// interrupts are taken.
pub const LOOKS: usize = 16;

/// What the kernel says of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runnable {
    /// It would run if it were given the core now. Debts do not count.
    pub ready: bool,
    /// What it owes, in ticks.
    pub debt: u64,
    /// How many slices it has on the core. Without a meaning for one that owes nothing.
    pub slices: u8,
}

impl Runnable {
    /// It does not run, and owes nothing: what there is to say of one that is gone.
    pub const NO: Runnable = Runnable {
        ready: false,
        debt: 0,
        slices: 0,
    };
    /// It would run, and owes nothing.
    pub const YES: Runnable = Runnable {
        ready: true,
        debt: 0,
        slices: 0,
    };

    /// Whether a turn would make a difference: it would run, or pay.
    const fn wants_turns(self) -> bool {
        self.ready || self.debt != 0
    }
}

/// What a pass has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// This environment has a turn: [`Slices::began`] or [`Slices::declined`] is next.
    Run {
        /// The slice; its index is the slice number.
        slice: ObjectName,
        /// The [`ObjectName::word`] of the environment.
        environment: u64,
        /// The turn's length, in ticks: at least [`Lengths::least`](crate::Lengths::least) and at most two slices.
        length: u64,
        /// Ticks that it has paid before: to be taken off its debt.
        paid: u64,
    },
    /// A turn, or as many as come in a row when nobody can run, went by to pay a debt with. The pass is to be
    /// repeated after that.
    Paid {
        /// The [`ObjectName::word`] of the environment.
        environment: u64,
        /// Ticks to be taken off its debt: at least 1.
        paid: u64,
    },
    /// Nobody yet. The pass is to be repeated after interrupts were taken.
    Continue,
    /// Nobody at all: the core may sleep.
    Idle,
}

/// What came of a look at one slice.
enum Seen {
    Run(Pass),
    Paid(Pass),
    Nothing,
}

impl Slices<'_> {
    /// Looks who is next on `core`: at most [`LOOKS`] slices. `look` tells of each environment, named by its
    /// [`ObjectName::word`], whether it is ready and what it owes.
    ///
    /// A turn that is open still ends as if it had been declined.
    pub fn pass(&mut self, core: u8, mut look: impl FnMut(u64) -> Runnable) -> Pass {
        self.declined(core);
        // Each step is a look, or the vector's end, after which there is a look or no further step.
        for _ in 0..LOOKS {
            let Some(state) = self.core_mut(core) else {
                return Pass::Idle;
            };
            let Some(position) = state.used.without(state.fresh).next(state.cursor) else {
                if state.turn_round() {
                    continue;
                }
                return Pass::Idle;
            };
            state.cursor = position.saturating_add(1);
            let Some(place) = Place::new(core.into(), position.into()) else {
                return Pass::Idle;
            };
            let seen = self.look_at(place, &mut look);
            let (Seen::Run(pass) | Seen::Paid(pass)) = seen else {
                continue;
            };
            if let Some(state) = self.core_mut(core) {
                state.stirred = true;
            }
            return pass;
        }
        Pass::Continue
    }

    /// Gives the slice at `place` its turn.
    fn look_at(&mut self, place: Place, look: &mut impl FnMut(u64) -> Runnable) -> Seen {
        let lengths = self.lengths;
        let ways = self.core(place.core()).map_or(1, |state| state.ways);
        let Some(slice) = self.name_at(place) else {
            return Seen::Nothing;
        };
        let Some(record) = self.at_mut(place) else {
            return Seen::Nothing;
        };
        let environment = record.environment;
        let Runnable {
            ready,
            debt,
            slices,
        } = look(environment);
        let one = lengths.slice() + u64::from(record.carry);
        // Below 2^64: both factors are below 2^32, and so are two slice lengths.
        let worth = lengths.slice() * u64::from(ways - 1) + one;
        let paid = debt.min(worth);
        let left = (worth - paid).min(one);
        let runs = ready && left >= lengths.least();
        let carry = if runs { 0 } else { left.min(lengths.slice()) };
        // Not written unless it changes: the line is in the caches of whoever reads the exposed region.
        let carry = u32::try_from(carry).unwrap_or(u32::MAX);
        if record.carry != carry {
            record.carry = carry;
        }
        if let Some(state) = self.core_mut(place.core())
            && ready
        {
            // Ways on which each turn of this one would be wholly eaten, too.
            let each = lengths.slice() * u64::from(slices.max(1));
            let more = if runs { 0 } else { (debt - paid) / each };
            state.spare = state.spare.min(u32::try_from(more).unwrap_or(u32::MAX));
        }
        if runs {
            if let Some(state) = self.core_mut(place.core()) {
                state.open = Some(Open {
                    slice,
                    environment,
                    length: left,
                    began: None,
                    alone: false,
                });
            }
            Seen::Run(Pass::Run {
                slice,
                environment,
                length: left,
                paid,
            })
        } else if paid != 0 {
            Seen::Paid(Pass::Paid { environment, paid })
        } else {
            Seen::Nothing
        }
    }

    /// Lets the pass that is under way go round once more before it says [`Pass::Idle`]: an environment has become
    /// ready whose slice it may have looked at already.
    #[inline]
    pub fn look_again(&mut self, core: u8) {
        if let Some(state) = self.core_mut(core) {
            state.stir();
        }
    }

    /// Whether, besides `running` (an [`ObjectName::word`]; 0 for nobody), an environment with a slice on
    /// `core` could run, or owes something that its turns would pay. If not, there is no need of turns.
    ///
    /// At most [`LOOKS`] runs of adjacent slices of one environment are looked at, and the answer is yes if there
    /// are more. So it is one comparison for a core with one environment, however many slices that has.
    pub fn others_runnable(
        &self,
        core: u8,
        running: u64,
        mut look: impl FnMut(u64) -> Runnable,
    ) -> bool {
        let Some(state) = self.core(core) else {
            return false;
        };
        let mut other = |position: u8| {
            let place = Place::new(core.into(), position.into());
            place
                .and_then(|place| self.at(place))
                .is_some_and(|record| {
                    record.environment != running && look(record.environment).wants_turns()
                })
        };
        // Without borders all slices are of one run.
        let ends = if state.borders.is_empty() {
            state.used.first()
        } else {
            state.borders
        };
        let mut from = 0;
        for _ in 0..LOOKS {
            let Some(position) = ends.next(from) else {
                return false;
            };
            if other(position) {
                return true;
            }
            from = position.saturating_add(1);
        }
        ends.next(from).is_some()
    }
}
