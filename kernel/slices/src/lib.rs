//! Who runs next, for how long, and what is owed: slices of processor time.
//!
//! Each core has a circular vector of 128 positions. A slice is at one of them, is bound to one environment,
//! and gives it one turn each time that the core comes by: *position decides latency, number decides share*.
//!
//! ```text
//!             cursor
//!               v
//!   | A | A |   | B |   | C | ...       core: pass ----> Run A ----> began, deadline, ended ---> pass
//!     0   1   2   3   4   5                     `-> Paid, Continue: take interrupts, pass again
//!                                               `-> Idle: sleep until something happens
//! ```
//!
//! A turn is worth one slice length, and what the slice has carried over; less what the environment owes. What
//! is not used of a turn carries over to the slice's next one; what was used beyond its end is owed.
//!
//! # What always holds between two calls
//!
//! * For each slice, turns had * slice length = ticks run within them + debts paid + ticks forfeited + carry. Ticks
//!   are forfeited only beyond a carry of one slice length.
//! * A slice has one turn at most each time that the vector is gone through from its first position to
//!   its last, wherever it was moved meanwhile, and however often. So nobody takes turns from others by moving about.
//! * A turn is at most two slice lengths, but for those that follow each other while nobody else could run. Between
//!   two turns of a slice there is at most one of each other position: who is always ready and owes nothing waits
//!   for a turn and a limit of each other slice on its core, or of each position if slices are moved meanwhile.
//! * A refused call has changed nothing.
//!
//! # What the kernel owes
//!
//! * All methods are called under one lock, and [`Slices::ended`] after each [`Slices::began`], when the core goes to
//!   somebody else than by a gift of the rest of the turn. A turn is the slice's; who runs in it is the kernel's to
//!   know, and so is who owes the excess.
//! * What [`Pass::Run`] and [`Pass::Paid`] say was paid is taken off the environment's debt before the next look.
//! * [`Slices::deadline`] is asked after each turn's beginning, and again when an environment with a slice on the
//!   core has become ready, when a slice has come to the core, or when another environment runs in the turn.
//! * [`Slices::look_again`] is called when an environment has become ready, for each core where it has slices, or
//!   for a core that has taken interrupts between two passes.
//!
//! Times are arguments, in ticks, and need not make sense: one that ran backwards has stood still.
//!
//! # Absent on purpose
//!
//! Priorities, fairness between programs, real-time guarantees, threads: policies of whoever places slices.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "model"))]
extern crate std;

mod debt;
mod marks;
mod pass;
mod place;
#[cfg(any(test, feature = "model"))]
pub mod saved;
#[cfg(test)]
mod tests;
mod turn;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::ObjectName;
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::slice::{Place, SLICES_PER_CORE, SliceRecord};

pub use debt::{DEBT_CAP_SLICES, Lengths, decayed};
pub use pass::{LOOKS, Pass, Runnable};
pub use place::{FREE_LOOKS, Of};
pub use turn::{Ended, Turn};

use marks::Marks;
use turn::Open;

/// What is kept of a core besides its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Core {
    /// Where there are slices.
    used: Marks,
    /// Of these, the last ones of runs: the next slice is another environment's. Empty if there is only one
    /// environment.
    borders: Marks,
    /// Where slices came while the cursor was on its present way through: they wait for the next.
    fresh: Marks,
    /// Where the next pass begins to look.
    cursor: u8,
    /// Something has happened on the present way through that gives reason for another.
    stirred: bool,
    /// How many ways through the present one stands for, in which turns go by for debts alone: at least 1.
    ways: u32,
    /// How many more ways like the present one there would be, as far as was looked: nobody could run on any of
    /// them. 0 if somebody ran on it, or something else has happened.
    spare: u32,
    /// The turn that was given and has not ended.
    open: Option<Open>,
}

impl Core {
    const EMPTY: Core = Core {
        used: Marks::NONE,
        borders: Marks::NONE,
        fresh: Marks::NONE,
        cursor: 0,
        stirred: false,
        ways: 1,
        spare: u32::MAX,
        open: None,
    };

    /// Something gives reason for another way through, which may go differently.
    fn stir(&mut self) {
        self.stirred = true;
        self.spare = 0;
    }

    /// Begins a way through. Whether there is reason for it.
    fn turn_round(&mut self) -> bool {
        let again = self.stirred && !self.used.is_empty();
        self.cursor = 0;
        self.fresh = Marks::NONE;
        self.stirred = false;
        self.ways = if again { self.spare.max(1) } else { 1 };
        self.spare = u32::MAX;
        again
    }
}

/// The vectors of all cores.
#[derive(Debug)]
pub struct Slices<'m> {
    records: &'m mut [SliceRecord],
    cores: [Core; MAX_CORES],
    lengths: Lengths,
}

impl<'m> Slices<'m> {
    /// No cores at all: what a kernel has before it knows its board.
    pub const fn none() -> Self {
        Self {
            records: &mut [],
            cores: [Core::EMPTY; MAX_CORES],
            lengths: Lengths::of_ticks(1, 0),
        }
    }

    /// Vectors over these records: 128 for each core of the machine, from core 0 on. Records that are left over, or
    /// for more than [`MAX_CORES`] cores, are left out. Slices that are in them already are kept, and no turn is
    /// open.
    pub fn new(records: &'m mut [SliceRecord], lengths: Lengths) -> Self {
        let cores = (records.len() / SLICES_PER_CORE).min(MAX_CORES);
        let (records, _) = records.split_at_mut(cores * SLICES_PER_CORE);
        let mut slices = Self {
            records,
            cores: [Core::EMPTY; MAX_CORES],
            lengths,
        };
        for place in slices.places() {
            if slices.at(place).is_some_and(|record| !record.is_free()) {
                slices.mark(place, true);
            }
        }
        slices
    }

    /// The lengths that the schedule works with.
    #[inline(always)]
    pub const fn lengths(&self) -> Lengths {
        self.lengths
    }

    /// The slice of this name.
    ///
    /// ```text
    ///   number beyond the machine's: None     no slice there, or another epoch: None
    /// ```
    #[inline]
    pub fn get(&self, name: ObjectName) -> Option<&SliceRecord> {
        let record = self.records.get(usize::from(name.index))?;
        let same = !record.is_free() && record.epoch == name.epoch.bits();
        same.then_some(record)
    }

    /// The name of the slice at a place.
    #[inline]
    pub fn name_at(&self, place: Place) -> Option<ObjectName> {
        let record = self.at(place)?;
        let epoch = Epoch::from_low_bits(record.epoch);
        (!record.is_free()).then(|| place.name(epoch))
    }

    /// All records, by slice number.
    #[inline(always)]
    pub fn records(&self) -> &[SliceRecord] {
        self.records
    }

    fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.records.len() as u16).filter_map(Place::of_number)
    }

    fn at(&self, place: Place) -> Option<&SliceRecord> {
        self.records.get(usize::from(place.number()))
    }

    fn at_mut(&mut self, place: Place) -> Option<&mut SliceRecord> {
        self.records.get_mut(usize::from(place.number()))
    }

    fn core(&self, core: u8) -> Option<&Core> {
        let exists = usize::from(core) * SLICES_PER_CORE < self.records.len();
        self.cores.get(usize::from(core)).filter(|_| exists)
    }

    fn core_mut(&mut self, core: u8) -> Option<&mut Core> {
        let exists = usize::from(core) * SLICES_PER_CORE < self.records.len();
        self.cores.get_mut(usize::from(core)).filter(|_| exists)
    }

    /// Notes that there is a slice at a place from now on, or none, or another environment's.
    fn mark(&mut self, place: Place, used: bool) {
        let position = place.position();
        let Some(core) = self.core_mut(place.core()) else {
            return;
        };
        core.used.set(position, used);
        if !used {
            core.borders.set(position, false);
        }
        let before = core.used.before(position);
        if let Some(before) = before {
            self.mark_border(place.core(), before);
        }
        if used {
            self.mark_border(place.core(), position);
        }
    }

    /// Compares the slice at `position` with the one that comes after it.
    fn mark_border(&mut self, core: u8, position: u8) {
        let environment = |position: u8| {
            let place = Place::new(core.into(), position.into())?;
            self.at(place).map(|record| record.environment)
        };
        let after = self.core(core).and_then(|core| core.used.after(position));
        let border = after.and_then(environment) != environment(position);
        if let Some(core) = self.core_mut(core) {
            core.borders.set(position, border);
        }
    }
}
