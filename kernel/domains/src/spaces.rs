//! Spaces: how they come to be and end, and the calls on their tables and mappings.
//!
//! ```text
//!   space_create --> empty --env_create--> with members --the last one dies--> dying --> gone
//!                      |                                                         ^
//!                      +------------------- space_destroy -----------------------+
//! ```
//!
//! A space's tables and root are charged to its account to the end. Nothing is mapped in a space that is
//! dying, and nobody joins it. It is taken apart in steps: by the kernel when it had members, by whoever asks
//! for it otherwise, and by the end of its account in any case.

use exopi_abi::capability::{Epoch, SpaceRights};
use exopi_abi::domain::{ObjectName, Resource, SpaceRecord};
use exopi_abi::page::Owner;
use exopi_abi::{Access, Error, Note, PageNumber, Progress, TableLevel, VirtAddr};
use exopi_cap::Epochs;
use exopi_pages::{Credit, Hardware, Right, Source, Step};

use crate::{Domains, Subject, Target};

/// `cursor` of a dying space that the background leaves alone, because somebody asks for its end.
pub(crate) const ASKED_FOR: u32 = 1;

/// A step of taking a space apart breaks so many mappings.
const CLEAR_BUDGET: u64 = exopi_pages::CLEAR_BOUND;

impl Domains<'_> {
    /// Makes a space as the row `space_create` of the call table says. `exposed` is the descriptor in every
    /// root that leads to the exposed region.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Stale`], [`Error::OverAllowance`],
    /// [`Error::Exhausted`]; of the page [`Error::OutOfRange`], [`Error::NotYours`], [`Error::WrongType`],
    /// [`Error::InUse`].
    pub fn space_create<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        root: PageNumber,
        exposed: u64,
    ) -> Result<ObjectName, Error> {
        self.has_room(by.owner, Resource::Spaces)?;
        let index = self.free_spaces.first().ok_or(Error::Exhausted)?;
        let last = self.epochs.last();
        let epoch = self.epochs.stamp().ok_or(Error::Exhausted)?;
        let asid = asid_of(index);
        if let Err(error) = self.pages.make_root(hw, by.owner, root, asid, exposed) {
            // Refused, and nothing has changed: the next one gets this epoch.
            self.epochs = Epochs::after(last);
            return Err(error);
        }
        self.put_space(index, epoch, by.owner, root);
        Ok(ObjectName { index, epoch })
    }

    /// Puts a new space into a free place.
    pub(crate) fn put_space(&mut self, index: u16, epoch: Epoch, owner: Owner, root: PageNumber) {
        self.free_spaces.remove(index);
        self.charge(owner, Resource::Spaces, 1);
        self.update_space(index, |record| {
            *record = SpaceRecord {
                epoch: epoch.bits(),
                owner,
                root: root.get(),
                asid: asid_of(index),
                ..SpaceRecord::FREE
            }
        });
    }

    /// Takes an empty space apart as the row `space_destroy` of the call table says. What has begun is done by
    /// whoever asks again, and by the end of the account.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::WrongKind`], [`Error::MissingRight`] of any
    /// capability, since there is no such right; [`Error::NotYours`], [`Error::NotEmpty`].
    pub fn space_destroy<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
    ) -> Progress {
        let index = match self.emptied(by, space) {
            Ok(index) => index,
            Err(error) => return Progress::refused(error),
        };
        self.update_space(index, |record| {
            if record.dying == 0 {
                record.dying = 1;
                record.cursor = ASKED_FOR;
            }
        });
        progress(self.clear(hw, index))
    }

    /// The index of a space of the caller's account with no environment in it.
    fn emptied(&self, by: &Subject, space: Target<'_>) -> Result<u16, Error> {
        if let Target::Verified(verified) = space {
            verified.require(SpaceRights::empty())?;
            return Err(Error::MissingRight);
        }
        let index = self.any_space(by, space, SpaceRights::empty())?;
        match self.space(index) {
            Some(record) if record.owner != by.owner => Err(Error::NotYours),
            Some(record) if record.members != 0 => Err(Error::NotEmpty),
            Some(_) => Ok(index),
            None => Err(Error::NotYours),
        }
    }

    /// One step of taking a dying space apart.
    pub(crate) fn clear<H: Hardware>(&mut self, hw: &mut H, index: u16) -> Step {
        let Some(record) = self.space(index).copied() else {
            return Step::Done;
        };
        if let Some(space) = self.pages.space(PageNumber::new(record.root)) {
            let epochs = &mut self.epochs;
            // A u-area alone could refuse it, and without members there is none.
            let step = self.pages.clear_space(hw, epochs, &space, CLEAR_BUDGET);
            if step != Ok(Step::Done) {
                return Step::More;
            }
        }
        self.update_space(index, |record| *record = SpaceRecord::FREE);
        self.ending_spaces.remove(index);
        self.free_spaces.insert(index);
        self.release(record.owner, Resource::Spaces, 1);
        Step::Done
    }

    pub(crate) fn update_space(&mut self, index: u16, change: impl FnOnce(&mut SpaceRecord)) {
        if let Some(record) = self.spaces.get_mut(usize::from(index)) {
            change(record);
        }
    }

    /// Inserts a table as the row `table_insert` of the call table says. Its pages are the caller's, and
    /// the space's: who may map in another's space may not take that one's pages for it.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::Stale`]; [`Error::NotYours`]; those of
    /// [`exopi_pages::Pages::insert_table`].
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    pub fn table_insert<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<(), Error> {
        let space = self.mapped(by, space)?;
        if space.owner() != by.owner {
            return Err(Error::NotYours);
        }
        self.pages.insert_table(hw, &space, at, level, table, links)
    }

    /// Removes a table as the row `table_remove` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`]; those of
    /// [`exopi_pages::Pages::remove_table`].
    pub fn table_remove<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<PageNumber, Error> {
        let space = self.mapped(by, space)?;
        let epochs = &mut self.epochs;
        self.pages.remove_table(hw, epochs, &space, at, level)
    }

    /// Maps pages as the row `insert_pte` of the call table says. New ones are charged to the caller's account,
    /// whosever the space is.
    ///
    /// # Errors
    /// In the order in which they are looked for: of the space [`Error::WrongKind`],
    /// [`Error::MissingRight`], [`Error::NotYours`], [`Error::Stale`]; [`Error::Stale`] if pages are to be new
    /// and the account has gone; those of [`exopi_pages::Pages::insert_pte`].
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    #[inline(always)]
    pub fn insert_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
        at: VirtAddr,
        source: Source<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        let space = match self.mapped(by, space) {
            Ok(space) => space,
            Err(error) => return Progress::refused(error),
        };
        let is_new = matches!(source, Source::New(_));
        let credit = if is_new {
            match self.credit(by.owner) {
                Ok(credit) => credit,
                Err(error) => return Progress::refused(error),
            }
        } else {
            Credit {
                owner: by.owner,
                pages: 0,
            }
        };
        let (pages, epochs) = (&mut self.pages, &mut self.epochs);
        let progress = pages.insert_pte(hw, epochs, credit, &space, at, source, count, access);
        if is_new {
            self.charge(by.owner, Resource::Pages, progress.done);
        }
        progress
    }

    /// Maps superpages as the row `insert_superpage` of the call table says.
    ///
    /// # Errors
    /// As of [`Domains::remove_pte`], and those of [`exopi_pages::Pages::insert_superpage`].
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    pub fn insert_superpage<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
        at: VirtAddr,
        first: PageNumber,
        right: Right<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        match self.mapped(by, space) {
            Ok(space) => {
                let pages = &mut self.pages;
                pages.insert_superpage(hw, &space, at, first, right, count, access)
            }
            Err(error) => Progress::refused(error),
        }
    }

    /// Removes mappings as the row `remove_pte` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`]; those of
    /// [`exopi_pages::Pages::remove_pte`].
    #[inline(always)]
    pub fn remove_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
        at: VirtAddr,
        count: u64,
    ) -> Progress {
        match self.mapped(by, space) {
            Ok(space) => self.pages.remove_pte(hw, &space, at, count),
            Err(error) => Progress::refused(error),
        }
    }

    /// Changes what mappings allow as the row `protect_pte` of the call table says.
    ///
    /// # Errors
    /// As of [`Domains::remove_pte`], and those of [`exopi_pages::Pages::protect_pte`].
    #[inline(always)]
    pub fn protect_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
        at: VirtAddr,
        count: u64,
        access: Access,
    ) -> Progress {
        match self.mapped(by, space) {
            Ok(space) => self.pages.protect_pte(hw, &space, at, count, access),
            Err(error) => Progress::refused(error),
        }
    }

    /// Leaves a note as the row `pte_note` of the call table says.
    ///
    /// # Errors
    /// As of [`Domains::remove_pte`], and those of [`exopi_pages::Pages::note`].
    pub fn pte_note<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        space: Target<'_>,
        at: VirtAddr,
        note: Note,
    ) -> Result<(), Error> {
        let space = self.mapped(by, space)?;
        self.pages.note(hw, &space, at, note)
    }
}

/// The ASID of the space at `index`. ASID 0 is for cores without a space.
pub(crate) const fn asid_of(index: u16) -> u16 {
    index + 1
}

/// A step of something that is one item, as progress.
pub(crate) const fn progress(step: Step) -> Progress {
    Progress {
        done: matches!(step, Step::Done) as u64,
        stopped: None,
    }
}
