//! Environments: how they come to be, and what is done to them while they live.
//!
//! ```text
//!   env_create --> Stopped --env_run--> Ready --next--> Running --env_yield, preempt--> Ready
//!                    ^                    |                |
//!                    +----- env_stop -----+--- env_stop ---+---- suspended --> Suspended --env_stop--> Stopped
//! ```
//!
//! [`cores`](crate::cores) tells what it means to stop one that runs, and [`ends`](crate::ends) how one dies.

use exopi_abi::capability::{EnvironmentRights, SpaceRights};
use exopi_abi::domain::{EnvironmentRecord, EnvironmentState, ObjectName, Resource};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::{Error, PageNumber, VirtAddr};
use exopi_cap::Epochs;
use exopi_pages::Hardware;

use crate::subject::{epoch_of, lasting};
use crate::{Domains, Subject, Target};

/// Most bytes of a u-area that one `env_read` or `env_write` moves.
pub const STATE_BOUND: u64 = 512;

/// A part of a u-area that may be read or written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The u-area's frame.
    pub page: PageNumber,
    /// The first byte of it.
    pub offset: u64,
    /// How many bytes: at most [`STATE_BOUND`], and none beyond the page.
    pub length: u64,
}

impl Domains<'_> {
    /// Makes an environment as the row `env_create` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::TimeLimited`]; of a capability
    /// [`Error::WrongKind`], [`Error::MissingRight`]; of a space that is named [`Error::NotYours`];
    /// [`Error::Stale`] of a space or account at its end, [`Error::OverAllowance`], [`Error::Exhausted`]; of the
    /// place [`Error::NoTable`], [`Error::Occupied`]; of the page [`Error::OutOfRange`],
    /// [`Error::NotYours`], [`Error::WrongType`], [`Error::InUse`].
    pub fn env_create<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
        uarea: PageNumber,
        at: VirtAddr,
    ) -> Result<ObjectName, Error> {
        lasting(space)?;
        let (place, space) = self.other_space(by, space, SpaceRights::JOIN)?;
        // Nobody joins what its account's end will take away.
        self.drawable(space.owner())?;
        self.has_room(by.owner, Resource::Environments)?;
        let index = self.free_environments.first().ok_or(Error::Exhausted)?;
        let last = self.epochs.last();
        let epoch = self.epochs.stamp().ok_or(Error::Exhausted)?;
        if let Err(error) = self.pages.make_uarea(hw, by.owner, &space, at, uarea) {
            // Refused, and nothing has changed: the next one gets this epoch.
            self.epochs = Epochs::after(last);
            return Err(error);
        }
        self.free_environments.remove(index);
        self.charge(by.owner, Resource::Environments, 1);
        // There are no more members than environments, and those are fewer than 2^16.
        self.update_space(place, |record| record.members += 1);
        self.update_environment(index, |record| {
            *record = EnvironmentRecord {
                epoch: epoch.bits(),
                account: by.owner,
                bound: by.owner,
                space: place,
                uarea: uarea.get(),
                uarea_at: at.get(),
                ..EnvironmentRecord::FREE
            }
        });
        let name = ObjectName { index, epoch };
        self.begin_links(index);
        self.lives.begin(name);
        Ok(name)
    }

    /// Lets an environment run in its slices as the row `env_run` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`], [`Error::NotReady`].
    pub fn env_run(&mut self, by: &Subject, environment: Target<'_>) -> Result<(), Error> {
        let (index, _) = self.live_environment(by, environment, EnvironmentRights::SCHEDULE)?;
        self.lives.run(index).map_err(|_| Error::NotReady)?;
        self.tell_cores(index, u8::MAX);
        Ok(())
    }

    /// Stops an environment as the row `env_stop` of the call table says. The caller itself is stopped once it has
    /// [`left`](Domains::left).
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`]; [`Error::Busy`] of one that has another
    /// core, which is interrupted.
    pub fn env_stop(&mut self, by: &Subject, environment: Target<'_>) -> Result<(), Error> {
        let (index, _) = self.live_environment(by, environment, EnvironmentRights::SCHEDULE)?;
        let before = self.lives.stop(index).map_err(|_| Error::Stale)?;
        if before.state() == EnvironmentState::Calling {
            self.fail_call(index, Error::Interrupted);
        }
        match before.core() {
            Some(core) if index != by.name.index => {
                self.interrupt(core);
                Err(Error::Busy)
            }
            _ => Ok(()),
        }
    }

    /// Gives the caller's core away as the row `env_yield` of the call table says: the rest of the turn to the one
    /// named, or the core to whoever is next. The caller goes on if nobody else could run; [`Domains::runs`] tells.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`]; [`Error::NotReady`] of one that is not
    /// ready, has a core, or owes too much at the time `now`, in ticks.
    pub fn env_yield(&mut self, by: &Subject, to: Target<'_>, now: u64) -> Result<(), Error> {
        let to = match to {
            Target::Own if !self.waits(by) => return Ok(()),
            Target::Own => None,
            _ => {
                let (index, _) = self.live_environment(by, to, EnvironmentRights::SCHEDULE)?;
                Some(index)
            }
        };
        self.yield_core(by, to, now)
    }

    /// Gives the rest of the caller's turn to the environment at `to`, or its core to whoever is next.
    ///
    /// # Errors
    /// [`Error::NotReady`] of one that is not ready, has a core, or owes too much at the time `now`.
    pub(crate) fn yield_core(
        &mut self,
        by: &Subject,
        to: Option<u16>,
        now: u64,
    ) -> Result<(), Error> {
        if let Some(to) = to {
            self.forgive(to, now);
            let claimed = self.lives.claim(to, by.core);
            let before = claimed.map_err(|_| Error::NotReady)?;
            self.update_core(by.core, |place| {
                place.gift = to;
                place.gift_before = before;
            });
        }
        // One that was to stop or to die does that instead of waiting.
        self.preempt(by);
        Ok(())
    }

    /// The caller took an upcall that could not be delivered: it is suspended, and its keeper told. It still has
    /// to leave ([`Domains::left`]). `false` says that nobody is left to mend anything: it is the first
    /// environment, and nobody keeps it.
    pub fn suspended(&mut self, by: &Subject) -> bool {
        let index = by.name.index;
        if self.lives.suspend(index).is_err() {
            return true;
        }
        self.tell_keeper(index) || by.name != self.first
    }

    /// Makes the caller a keeper as the row `env_keep` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::TimeLimited`]; of a capability
    /// [`Error::WrongKind`], [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`],
    /// [`Error::OutOfRange`].
    pub fn env_keep(
        &mut self,
        by: &Subject,
        environment: Target<'_>,
        bit: u64,
    ) -> Result<(), Error> {
        lasting(environment)?;
        let (index, _) = self.live_environment(by, environment, EnvironmentRights::KEEP)?;
        let bit = match u8::try_from(bit) {
            Ok(bit) if u32::from(bit) < u32::BITS => bit,
            _ => return Err(Error::OutOfRange),
        };
        self.update_environment(index, |record| {
            record.keeper = by.name.word();
            record.keeper_bit = bit;
        });
        Ok(())
    }

    /// Lets an environment be debugged or not as the row `env_debug` of the call table says; gives its name.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`], [`Error::Malformed`],
    /// [`Error::Busy`].
    pub fn env_debug(
        &mut self,
        by: &Subject,
        environment: Target<'_>,
        on: u64,
    ) -> Result<ObjectName, Error> {
        let rights = EnvironmentRights::WRITE_STATE;
        let (index, record) = self.live_environment(by, environment, rights)?;
        let epoch = epoch_of(record.epoch);
        if on > 1 {
            return Err(Error::Malformed);
        }
        if self.life(index).core().is_some() && index != by.name.index {
            return Err(Error::Busy);
        }
        self.update_environment(index, |record| record.debugged = on as u8);
        Ok(ObjectName { index, epoch })
    }

    /// What of a u-area the row `env_read` of the call table lets `by` read, into room for `length` bytes.
    ///
    /// # Errors
    /// As of [`Domains::env_write`].
    pub fn env_read(
        &self,
        by: &Subject,
        environment: Target<'_>,
        offset: u64,
        length: u64,
    ) -> Result<Window, Error> {
        self.window(
            by,
            environment,
            EnvironmentRights::READ_STATE,
            offset,
            length,
        )
    }

    /// What of a u-area the row `env_write` of the call table lets `by` write, with `length` bytes at hand.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`], [`Error::Busy`],
    /// [`Error::OutOfRange`].
    pub fn env_write(
        &self,
        by: &Subject,
        environment: Target<'_>,
        offset: u64,
        length: u64,
    ) -> Result<Window, Error> {
        self.window(
            by,
            environment,
            EnvironmentRights::WRITE_STATE,
            offset,
            length,
        )
    }

    fn window(
        &self,
        by: &Subject,
        environment: Target<'_>,
        rights: EnvironmentRights,
        offset: u64,
        length: u64,
    ) -> Result<Window, Error> {
        let (index, record) = self.live_environment(by, environment, rights)?;
        if self.life(index).core().is_some() {
            return Err(Error::Busy);
        }
        if offset >= PAGE_SIZE {
            return Err(Error::OutOfRange);
        }
        Ok(Window {
            page: PageNumber::new(record.uarea),
            offset,
            length: length.min(STATE_BOUND).min(PAGE_SIZE - offset),
        })
    }

    /// Whom the row `console_give` of the call table makes the console's owner; that the caller owns it, the
    /// kernel has made sure.
    ///
    /// # Errors
    /// Of a capability [`Error::WrongKind`], [`Error::MissingRight`]; [`Error::NotYours`],
    /// [`Error::Stale`].
    pub fn console_give(&self, by: &Subject, to: Target<'_>) -> Result<ObjectName, Error> {
        let (index, record) = self.live_environment(by, to, EnvironmentRights::WRITE_STATE)?;
        Ok(ObjectName {
            index,
            epoch: epoch_of(record.epoch),
        })
    }

    pub(crate) fn update_environment(
        &mut self,
        index: u16,
        change: impl FnOnce(&mut EnvironmentRecord),
    ) {
        if let Some(record) = self.environments.get_mut(usize::from(index)) {
            change(record);
        }
    }
}
