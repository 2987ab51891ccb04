//! The first account, space and environment: what the kernel makes at boot, by the same operations as everybody.
//!
//! ```text
//!   Pages with all frames --Domains::set_tables--> nobody --make_first_space--> account 0 with everything, space 0
//!     --page_alloc, table_insert, insert_pte ... as that subject--> its memory
//!     --make_first_environment--> environment 0, which runs on core 0
//! ```

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::page::Owner;
use exopi_abi::{Error, PageNumber, PageSelect, VirtAddr};
use exopi_pages::{Credit, Hardware};

use crate::spaces::asid_of;
use crate::subject::epoch_of;
use crate::{Domains, Next, Subject, Target};

impl Domains<'_> {
    /// Makes the first account, whose allowance is all frames that are free now, all places in the tables and all slices, and
    /// the first space, charged to it. The subject that comes back can call whatever concerns pages, tables and
    /// mappings; there is no environment of its name yet.
    ///
    /// # Errors
    /// [`Error::Exhausted`]: there is no free frame or no record. [`Error::Taken`]: they have been made.
    pub fn make_first_space<H: Hardware>(
        &mut self,
        hw: &mut H,
        exposed: u64,
    ) -> Result<Subject, Error> {
        if self.account(0).is_some() {
            return Err(Error::Taken);
        }
        if self.accounts.is_empty() || self.spaces.is_empty() || self.environments.is_empty() {
            return Err(Error::Exhausted);
        }
        let allowance = [
            self.pages.free_pages() as u32,
            self.environments.len() as u32,
            self.spaces.len() as u32,
            // One is itself.
            self.accounts.len() as u32 - 1,
            self.slices.records().len() as u32,
            0,
            0,
        ];
        let epoch = self.epochs.stamp().ok_or(Error::Exhausted)?;
        let _ = self.put_account(0, epoch, 0, allowance);
        let owner = Owner::new(0, epoch);
        let credit = Credit { owner, pages: 1 };
        let found = self
            .pages
            .alloc(hw, &mut self.epochs, credit, PageSelect::Any, 1);
        found.progress.unless_stopped()?;
        self.charge(owner, Resource::Pages, 1);
        let root = found.first;
        let asid = asid_of(0);
        let space = self.pages.make_root(hw, owner, root, asid, exposed)?;
        let epoch = self.epochs.stamp().ok_or(Error::Exhausted)?;
        self.put_space(0, epoch, owner, root);
        Ok(Subject {
            name: ObjectName {
                index: 0,
                epoch: Epoch::NONE,
            },
            owner,
            space,
            core: 0,
        })
    }

    /// Makes the first environment, in the first space, as `env_create` does, and the first slice of core 0 for it,
    /// in which it runs from `now` on, in ticks. `by` is what [`Domains::make_first_space`] gave.
    ///
    /// # Errors
    /// Those of [`Domains::env_create`] and of [`Domains::slice_alloc`].
    pub fn make_first_environment<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        uarea: PageNumber,
        at: VirtAddr,
        now: u64,
    ) -> Result<Subject, Error> {
        let space = self.space(0).ok_or(Error::Stale)?;
        let name = ObjectName {
            index: 0,
            epoch: epoch_of(space.epoch),
        };
        let first = self.env_create(hw, by, Target::Owned(name), uarea, at)?;
        self.first = first;
        let _ = self.slice_alloc(by, 0, 0, Target::Owned(first))?;
        let _ = self.lives.run(first.index);
        match self.next(0, now) {
            Next::Run(entering) => Ok(entering.subject),
            Next::Again | Next::Idle => Err(Error::NotReady),
        }
    }

    /// Hands `count` frames to the first account that boot has made plain pages of it since
    /// [`Domains::make_first_space`]: its allowance grows, and they are charged to it.
    pub fn endow(&mut self, count: u64) {
        self.update_account(0, |record| {
            record.allowance[Resource::Pages as usize] += count as u32;
            record.used[Resource::Pages as usize] += count as u32;
        });
    }

    /// Gives the first account all that there is of a resource which somebody else keeps the tables of.
    pub fn endow_with(&mut self, resource: Resource, count: u32) {
        self.update_account(0, |record| record.allowance[resource as usize] += count);
    }

    /// The first environment: the board's holder, and the console's owner when nobody else is. It may have died.
    pub const fn first(&self) -> ObjectName {
        self.first
    }

    /// Whether `name` is the first environment, and lives.
    pub fn is_first(&self, name: ObjectName) -> bool {
        name == self.first && self.lives(name)
    }
}
