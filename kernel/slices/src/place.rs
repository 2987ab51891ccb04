//! Placing slices: alloc, bind, move, free.
//!
//! ```text
//!   (free) --alloc--> at a place, bound, charged --free--> (free)
//!                        |  ^          |  ^
//!                        `--'          `--'
//!                        move          bind
//! ```
//!
//! A slice that comes to a place, by alloc or by move, has its first turn when the cursor has been at the
//! vector's end. If it had it before, then one environment could keep a core for itself: by moving its one slice to
//! just before the cursor, in each of its turns.
//!
//! While a slice runs, its turn goes on to its end, whatever becomes of the slice. What is left of the turn
//! follows the slice to its new place, or goes to whom it was bound to, or is lost if it was freed. So no turn grows,
//! nobody waits longer than before, and no timer need be set anew; who must leave at once is stopped, not moved.

use exopi_abi::Error;
use exopi_abi::domain::ObjectName;
use exopi_abi::page::Owner;
use exopi_abi::slice::{Place, SLICES_PER_CORE, SliceRecord};
use exopi_cap::Epochs;

use crate::Slices;

/// Most slices that [`Slices::free_of`] looks at in one call.
pub const FREE_LOOKS: usize = 64;

/// Whose slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Those bound to the environment of this name.
    Environment(ObjectName),
    /// Those charged to this account.
    Account(Owner),
}

impl Of {
    pub(crate) fn is(self, record: &SliceRecord) -> bool {
        match self {
            Self::Environment(name) => record.environment == name.word(),
            Self::Account(owner) => record.account == owner,
        }
    }
}

impl Slices<'_> {
    /// A new slice for `environment` on `core`, at `position` or, if that is `None`, at the lowest free one. It is
    /// charged to `account`. Whether the account may have one more is the caller's to see.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]: no such core or position. [`Error::Taken`]: there is a slice at this position.
    /// [`Error::Exhausted`]: no position is free, or no epoch is left.
    pub fn alloc(
        &mut self,
        epochs: &mut Epochs,
        core: u64,
        position: Option<u64>,
        environment: ObjectName,
        account: Owner,
    ) -> Result<ObjectName, Error> {
        let place = self.free_place(core, position)?;
        let epoch = epochs.stamp().ok_or(Error::Exhausted)?;
        self.put(
            place,
            SliceRecord {
                epoch: epoch.bits(),
                environment: environment.word(),
                account,
                ..SliceRecord::FREE
            },
        );
        Ok(place.name(epoch))
    }

    /// Gives the turns of a slice to `environment` from the next one on, with what was carried over.
    ///
    /// # Errors
    /// [`Error::Stale`]: there is no slice of this name.
    pub fn bind(&mut self, slice: ObjectName, environment: ObjectName) -> Result<(), Error> {
        let place = self.place(slice)?;
        if let Some(record) = self.at_mut(place) {
            record.environment = environment.word();
        }
        self.mark(place, true);
        if let Some(core) = self.core_mut(place.core()) {
            core.stir();
        }
        Ok(())
    }

    /// Moves a slice, with what it has carried over, to another place. It has another name there: a name that has
    /// gone stale stays so, also if the slice comes back.
    ///
    /// # Errors
    /// [`Error::Stale`]: there is no slice of this name. [`Error::OutOfRange`], [`Error::Taken`],
    /// [`Error::Exhausted`]: as of [`Slices::alloc`]; its own place is taken too.
    pub fn move_to(
        &mut self,
        epochs: &mut Epochs,
        slice: ObjectName,
        core: u64,
        position: Option<u64>,
    ) -> Result<ObjectName, Error> {
        let from = self.place(slice)?;
        let to = self.free_place(core, position)?;
        let record = self.at(from).copied().ok_or(Error::Stale)?;
        let epoch = epochs.stamp().ok_or(Error::Exhausted)?;
        let name = to.name(epoch);
        self.take(from);
        self.put(
            to,
            SliceRecord {
                epoch: epoch.bits(),
                ..record
            },
        );
        for open in self.cores.iter_mut().filter_map(|core| core.open.as_mut()) {
            if open.slice == slice {
                open.slice = name;
            }
        }
        Ok(name)
    }

    /// Frees a slice, and gives its last record, which says to whom it was charged.
    ///
    /// # Errors
    /// [`Error::Stale`]: there is no slice of this name.
    pub fn free(&mut self, slice: ObjectName) -> Result<SliceRecord, Error> {
        let place = self.place(slice)?;
        Ok(self.take(place))
    }

    /// Frees slices of an environment or account that is dying, and tells `freed` the place and last record of each. Looks at
    /// [`FREE_LOOKS`] slices at most, from the number `from` on, and gives the number to go on from, or `None`
    /// when all have been looked at.
    ///
    /// The caller sees to it that there are no new ones meanwhile.
    pub fn free_of(
        &mut self,
        of: Of,
        from: u16,
        mut freed: impl FnMut(Place, SliceRecord),
    ) -> Option<u16> {
        let mut from = from;
        for _ in 0..FREE_LOOKS {
            let place = self.next_used(from)?;
            if self.at(place).is_some_and(|record| of.is(record)) {
                freed(place, self.take(place));
            }
            from = place.number() + 1;
        }
        self.next_used(from).map(Place::number)
    }

    /// How many slices there are on a core.
    pub fn count(&self, core: u8) -> usize {
        self.core(core).map_or(0, |core| core.used.count())
    }

    /// The first slice whose number is not below `from`.
    fn next_used(&self, from: u16) -> Option<Place> {
        let from = Place::of_number(from)?;
        let in_core = |core: u8, first: u8| {
            let position = self.core(core)?.used.next(first)?;
            Place::new(core.into(), position.into())
        };
        let after = from.core() + 1..self.cores.len() as u8;
        in_core(from.core(), from.position())
            .or_else(|| after.into_iter().find_map(|core| in_core(core, 0)))
    }

    fn place(&self, slice: ObjectName) -> Result<Place, Error> {
        self.get(slice)
            .and_then(|_| Place::of_number(slice.index))
            .ok_or(Error::Stale)
    }

    /// Where a slice that comes would be, if it may.
    fn free_place(&self, core: u64, position: Option<u64>) -> Result<Place, Error> {
        // A position that is possible, if the lowest free one is asked for.
        let place = Place::new(core, position.unwrap_or(0)).ok_or(Error::OutOfRange)?;
        let marks = self.core(place.core()).ok_or(Error::OutOfRange)?.used;
        match position {
            Some(_) if marks.contains(place.position()) => Err(Error::Taken),
            Some(_) => Ok(place),
            None => {
                let lowest = marks.lowest_gap().ok_or(Error::Exhausted)?;
                Place::new(core, lowest.into()).ok_or(Error::Exhausted)
            }
        }
    }

    fn put(&mut self, place: Place, record: SliceRecord) {
        if let Some(at) = self.at_mut(place) {
            *at = record;
        }
        self.mark(place, true);
        if let Some(core) = self.core_mut(place.core()) {
            core.fresh.set(place.position(), true);
            core.stir();
        }
    }

    fn take(&mut self, place: Place) -> SliceRecord {
        let record = match self.at_mut(place) {
            Some(at) => core::mem::replace(at, SliceRecord::FREE),
            None => SliceRecord::FREE,
        };
        self.mark(place, false);
        record
    }
}

const _: () = assert!(FREE_LOOKS <= SLICES_PER_CORE);
