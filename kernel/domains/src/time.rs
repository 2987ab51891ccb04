//! Processor time: slices, and what environments have used and owe of it.
//!
//! ```text
//!   account <-- charged -- slice -- bound --> environment        slices of either die with it
//!                            |
//!                            `-- core, position                  when it has its turn: exopi_slices
//! ```
//!
//! An environment can have slices on several cores; how many on which is in its record, so that whoever makes it
//! ready knows whom to tell, and its end need not look for slices that there are not.
//!
//! What one owes that leaves its core late, its next turns pay. One that has no slices pays with time: whatever goes
//! by was others'.

use core::sync::atomic::{Ordering, fence};

use exopi_abi::Error;
use exopi_abi::capability::{EnvironmentRights, Epoch, SliceRights};
use exopi_abi::domain::{EnvironmentRecord, LifeWord, ObjectName, Resource};
use exopi_abi::slice::{Place, SliceRecord};
use exopi_slices::{Of, decayed};

use crate::subject::lasting;
use crate::{Domains, Subject, Target};

/// A position that means any.
const ANY: u64 = u64::MAX;

/// Cores where the environment of `record` has slices, by bit.
pub(crate) fn homes(record: &EnvironmentRecord) -> u64 {
    let counts = (0..).zip(record.slices);
    counts.fold(0, |homes, (core, count)| {
        homes | u64::from(count != 0) << core
    })
}

impl Domains<'_> {
    /// Makes a slice as the row `slice_alloc` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::TimeLimited`]; of a capability
    /// [`Error::WrongKind`], [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`];
    /// [`Error::OverAllowance`], [`Error::OutOfRange`], [`Error::Taken`], [`Error::Exhausted`].
    pub fn slice_alloc(
        &mut self,
        by: &Subject,
        core: u64,
        position: u64,
        environment: Target<'_>,
    ) -> Result<ObjectName, Error> {
        let environment = self.scheduled(by, environment)?;
        self.has_room(by.owner, Resource::Slices)?;
        let position = (position != ANY).then_some(position);
        let (slices, epochs) = (&mut self.slices, &mut self.epochs);
        let name = slices.alloc(epochs, core, position, environment, by.owner)?;
        self.charge(by.owner, Resource::Slices, 1);
        self.count_slice(environment, name, 1);
        Ok(name)
    }

    /// Binds a slice to another environment as the row `slice_bind` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for, first of the slice, then of the environment:
    /// [`Error::TimeLimited`]; of a capability [`Error::WrongKind`], [`Error::MissingRight`];
    /// [`Error::NotYours`], [`Error::Stale`].
    pub fn slice_bind(
        &mut self,
        by: &Subject,
        slice: Target<'_>,
        environment: Target<'_>,
    ) -> Result<(), Error> {
        lasting(slice)?;
        let slice = self.any_slice(by, slice, SliceRights::USE)?;
        let environment = self.scheduled(by, environment)?;
        let before = self.slices.get(slice).copied().ok_or(Error::Stale)?;
        self.slices.bind(slice, environment)?;
        self.uncount_slice(&before, slice);
        self.count_slice(environment, slice, 1);
        Ok(())
    }

    /// Moves a slice as the row `slice_move` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`], [`Error::Stale`]; [`Error::NotYours`]; [`Error::Stale`] if its environment or its
    /// account is being destroyed; [`Error::OutOfRange`],
    /// [`Error::Taken`], [`Error::Exhausted`].
    pub fn slice_move(
        &mut self,
        by: &Subject,
        slice: Target<'_>,
        core: u64,
        position: u64,
    ) -> Result<ObjectName, Error> {
        let slice = self.any_slice(by, slice, SliceRights::MOVE)?;
        let record = self.slices.get(slice).copied().ok_or(Error::Stale)?;
        let environment = ObjectName::from_word(record.environment);
        // What is looked for slice by slice, to be freed, stays where it is.
        if !self.lives(environment) || self.drawable(record.account).is_err() {
            return Err(Error::Stale);
        }
        let position = (position != ANY).then_some(position);
        let name = self
            .slices
            .move_to(&mut self.epochs, slice, core, position)?;
        self.uncount_slice(&record, slice);
        self.count_slice(environment, name, 1);
        Ok(name)
    }

    /// Gives a slice back as the row `slice_free` of the call table says. Whoever does it, it goes off the account
    /// that it is charged to.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`], [`Error::Stale`]; [`Error::NotYours`].
    pub fn slice_free(&mut self, by: &Subject, slice: Target<'_>) -> Result<(), Error> {
        let slice = self.any_slice(by, slice, SliceRights::FREE)?;
        let record = self.slices.free(slice)?;
        self.uncount_slice(&record, slice);
        self.release(record.account, Resource::Slices, 1);
        Ok(())
    }

    /// The slice whose turn it is on `core`, by the name that it has now. It may have been freed meanwhile.
    pub fn turn(&self, core: u8) -> Option<ObjectName> {
        self.slices.turn(core).map(|turn| turn.slice)
    }

    /// The records of slices, by number.
    #[inline]
    pub fn slice_records(&self) -> &[SliceRecord] {
        self.slices.records()
    }

    /// The name of an environment that is to be given time for good.
    fn scheduled(&self, by: &Subject, environment: Target<'_>) -> Result<ObjectName, Error> {
        lasting(environment)?;
        let rights = EnvironmentRights::SCHEDULE;
        let (index, record) = self.live_environment(by, environment, rights)?;
        let epoch = Epoch::from_low_bits(record.epoch);
        Ok(ObjectName { index, epoch })
    }

    /// The name of a slice. The caller's own is the one that runs, if it is charged to its account.
    fn any_slice(
        &self,
        by: &Subject,
        target: Target<'_>,
        rights: SliceRights,
    ) -> Result<ObjectName, Error> {
        let named = match target {
            Target::Verified(verified) => {
                verified.require(rights)?;
                let index = u16::try_from(verified.index()).map_err(|_| Error::Stale)?;
                let found = Place::of_number(index).and_then(|place| self.slices.name_at(place));
                let name = found.ok_or(Error::Stale)?;
                verified.covers(index.into(), name.epoch)?;
                return Ok(name);
            }
            Target::Own => self.slices.turn(by.core).map(|turn| turn.slice),
            Target::Owned(told) => Place::of_number(told.index)
                .and_then(|place| self.slices.name_at(place))
                .filter(|name| name.is_told(told)),
        };
        let name = named.ok_or(Error::NotYours)?;
        match self.slices.get(name) {
            Some(record) if record.account == by.owner => Ok(name),
            _ => Err(Error::NotYours),
        }
    }

    /// A slice is bound to `environment` from now on, whose place in the schedule may be new.
    pub(crate) fn count_slice(&mut self, environment: ObjectName, slice: ObjectName, by: u8) {
        self.update_slices(environment, slice, |count| count.saturating_add(by));
        // Whoever gives it up without the lock makes it ready and then looks at its homes: one of both sees the other.
        fence(Ordering::SeqCst);
        if self.lives.is_ready(environment.index) {
            self.tell_cores(environment.index, u8::MAX);
        }
    }

    /// It is not any more.
    fn uncount_slice(&mut self, record: &SliceRecord, slice: ObjectName) {
        let environment = ObjectName::from_word(record.environment);
        self.update_slices(environment, slice, |count| count.saturating_sub(1));
    }

    fn update_slices(
        &mut self,
        environment: ObjectName,
        slice: ObjectName,
        change: impl FnOnce(u8) -> u8,
    ) {
        let Some(place) = Place::of_number(slice.index) else {
            return;
        };
        self.update_environment(environment.index, |record| {
            if record.epoch == environment.epoch.bits()
                && let Some(count) = record.slices.get_mut(usize::from(place.core()))
            {
                *count = change(*count);
            }
        });
        self.note_homes(environment.index);
    }

    /// Notes on which cores the environment at `index` has slices, for those that do not take the lock.
    fn note_homes(&self, index: u16) {
        if let (Some(record), Some(links)) = (self.environment(index), self.links(index)) {
            links.homes.store(homes(record), Ordering::Relaxed);
        }
    }

    /// Frees some of the slices of an environment or account that is dying. Goes on from number `from`; gives the
    /// number to go on from next time, `None` for the end.
    pub(crate) fn end_slices(&mut self, of: Of, from: u16) -> Option<u16> {
        let (accounts, environments) = (&mut self.accounts, &mut self.environments);
        let places = self.places;
        self.slices.free_of(of, from, |place, record| {
            let account = accounts.get_mut(usize::from(record.account.index()));
            if let Some(account) = account
                && account.epoch == record.account.epoch().bits()
            {
                account.used[Resource::Slices as usize] -= 1;
            }
            let name = ObjectName::from_word(record.environment);
            let environment = environments.get_mut(usize::from(name.index));
            if let Some(environment) = environment
                && environment.epoch == name.epoch.bits()
                && let Some(count) = environment.slices.get_mut(usize::from(place.core()))
            {
                *count -= 1;
                if let Some(links) = places.links(name.index) {
                    links.homes.store(homes(environment), Ordering::Relaxed);
                }
            }
        })
    }

    /// The environment at `index` owes `excess` ticks more.
    pub(crate) fn owe(&mut self, index: u16, excess: u64, now: u64) {
        if excess == 0 {
            return;
        }
        self.forgive(index, now);
        let lengths = self.slices.lengths();
        let debt = lengths.charged(self.lives.debt(index), excess);
        self.set_debt(index, debt);
        self.update_environment(index, |record| record.owed_since = now);
    }

    /// The environment at `index` has paid.
    pub(crate) fn pay(&mut self, index: u16, paid: u64) {
        if paid != 0 {
            let debt = self.lives.debt(index).saturating_sub(paid);
            self.set_debt(index, debt);
        }
    }

    /// The environment at `index` owes less if it has no slices and time has gone by. To be called before anybody
    /// is refused for a debt.
    pub fn forgive(&mut self, index: u16, now: u64) {
        let debt = self.lives.debt(index);
        let Some(record) = self.environment(index).filter(|_| debt != 0) else {
            return;
        };
        if record.slices.iter().all(|count| *count == 0) {
            let elapsed = now.saturating_sub(record.owed_since);
            self.set_debt(index, decayed(debt, elapsed));
        }
        self.update_environment(index, |record| record.owed_since = now);
    }

    fn set_debt(&mut self, index: u16, debt: u64) {
        let indebted = self.slices.lengths().is_indebted(debt);
        self.lives.set_debt(index, debt);
        if self.life(index).has(LifeWord::DEBT) != indebted {
            let _ = self.lives.mark_debt(index, indebted);
        }
    }
}
