//! Superpages: 512 frames mapped by one entry of a level-2 table.
//!
//! ```text
//!   record of frame p      links of table2 a, index 7       links of table2 b, index 300
//!   (512 divides p)
//!   second = a << 9 | 7 --> next     = b << 9 | 300    -->  next     = none
//!   references += 2         previous = none            <--  previous = a << 9 | 7
//! ```
//!
//! Each of the frames may have mappings of its own besides. None of them changes its type or owner while it is
//! in one ([`Pages::spare`]).

use exopi_abi::page::{Owner, SUPERPAGE_BOUND, SUPERPAGE_PAGES};
use exopi_abi::{Access, Error, PageNumber, Progress, TableLevel, VirtAddr};

use crate::binding::{Bind, Unbind, has_room, occupied};
use crate::protect::check_protect;
use crate::pte::Change;
use crate::ranges::after;
use crate::right::{Claim, Right};
use crate::space::{Table, bindable};
use crate::{Hardware, Index, Link, Pages, Slot, Space, batch, pte};

impl Pages<'_> {
    /// Makes mappings as the row `insert_superpage` of the call table says: [`SUPERPAGE_BOUND`] at most. A
    /// superpage in another owner's space counts against the limit of its first page, and is refused if any of
    /// its pages has reached its own.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Malformed`] for executable ones. By capability:
    /// [`Error::WrongKind`], [`Error::MissingRight`], [`Error::TimeLimited`]. [`Error::Misaligned`];
    /// [`Error::BadCount`]; of a superpage [`Error::BadAddress`] beyond what programs map; of a page of it
    /// [`Error::OutOfRange`], [`Error::NotYours`] or [`Error::Stale`], [`Error::WrongType`],
    /// [`Error::Leaving`], [`Error::LimitReached`]; [`Error::NoTable`], [`Error::Occupied`].
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    pub fn insert_superpage<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        first: PageNumber,
        right: Right,
        count: u64,
        access: Access,
    ) -> Progress {
        if access.contains(Access::EXECUTE) {
            return Progress::refused(Error::Malformed);
        }
        let claim = match Claim::to_map(right, access) {
            Ok(claim) => claim,
            Err(error) => return Progress::refused(error),
        };
        if !is_aligned(at) || !u64::from(first.get()).is_multiple_of(SUPERPAGE_PAGES) {
            return Progress::refused(Error::Misaligned);
        }
        let progress = batch(count, SUPERPAGE_BOUND, |done| {
            let pages = done * SUPERPAGE_PAGES;
            let at = at.plus(pages).ok_or(Error::BadAddress)?;
            let first = first.plus(pages).ok_or(Error::OutOfRange)?;
            let bind = self.check_superpage(hw, space, at, first, claim)?;
            self.commit_superpage(hw, bind, access);
            Ok(())
        });
        if progress.done > 0 {
            hw.publish();
        }
        progress
    }

    fn check_superpage<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        at: VirtAddr,
        first: PageNumber,
        claim: Claim,
    ) -> Result<Bind, Error> {
        let mut foreign = false;
        for offset in 0..SUPERPAGE_PAGES {
            let record = self.plain(after(first, offset), claim)?;
            foreign = record.owner != space.owner();
            if !bindable(record) || (foreign && !has_room(record)) {
                return Err(occupied(record, foreign));
            }
        }
        let found = self.with_links(self.table2(hw, space, at)?)?;
        let index = Index::in_table2(at);
        if pte::is_valid(hw.entry(found.table, index)) {
            return Err(Error::Occupied);
        }
        Ok(Bind {
            found,
            index,
            page: first,
            foreign,
        })
    }

    /// Makes the entry and puts it at the head of the superpage's list.
    fn commit_superpage<H: Hardware>(&mut self, hw: &mut H, bind: Bind, access: Access) {
        let next = self.superpages(bind.page);
        self.update(bind.page, |record| {
            record.second = bind.slot().word();
            record.references += 1;
            record.foreign += u16::from(bind.foreign);
        });
        self.link_first(hw, &bind, next);
        let entry = pte::superpage(bind.page, access);
        hw.set_entry(bind.found.table, bind.index, entry);
        self.count_entries(bind.found.table, 1);
    }

    /// Clears the entry of the superpage at `at`, without invalidating anything.
    ///
    /// # Errors
    /// [`Error::Misaligned`] if it does not begin there or is longer than `left`.
    #[cold]
    pub(crate) fn remove_superpage<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        left: u64,
    ) -> Result<(), Error> {
        let slot = self.superpage_at(hw, space, at, left)?;
        let found = self.with_links(slot.table())?;
        self.take_superpage(hw, &found, slot.index(), space.owner());
        Ok(())
    }

    /// Clears a superpage's entry of a level-2 table in a space of `owner`'s, without invalidating anything.
    pub(crate) fn take_superpage<H: Hardware>(
        &mut self,
        hw: &mut H,
        found: &Table,
        index: Index,
        owner: Owner,
    ) {
        let page = pte::frame(hw.entry(found.table, index));
        let owned = self.record(page).map(|record| record.owner) == Some(owner);
        hw.set_entry(found.table, index, pte::INVALID);
        let unbind = Unbind {
            found: *found,
            index,
            page,
            foreign: !owned,
        };
        self.commit_unbind_superpage(hw, unbind);
        self.discount_entries(found.table, 1);
    }

    /// Takes a superpage's entry that was cleared off its list. Its table's count is the caller's.
    pub(crate) fn commit_unbind_superpage<H: Hardware>(&mut self, hw: &mut H, unbind: Unbind) {
        let Link { next, previous } = self.unlink(hw, &unbind);
        self.update(unbind.page, |record| {
            record.references -= 1;
            record.foreign -= u16::from(unbind.foreign);
            if previous.is_none() {
                record.second = next.word();
            }
        });
    }

    /// Changes what EL0 may do through the superpage at `at`, without invalidating anything.
    ///
    /// # Errors
    /// [`Error::Misaligned`] as [`Pages::remove_superpage`]; [`Error::MissingRight`] beyond what it was bound
    /// with.
    #[cold]
    pub(crate) fn protect_superpage<H: Hardware>(
        &self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        left: u64,
        change: Change,
    ) -> Result<(), Error> {
        let slot = self.superpage_at(hw, space, at, left)?;
        let entry = hw.entry(slot.table(), slot.index());
        check_protect(entry, change)?;
        hw.set_entry(slot.table(), slot.index(), change.apply(entry));
        Ok(())
    }

    /// The entry of the superpage that a walk has found at `at`.
    ///
    /// # Errors
    /// [`Error::Misaligned`].
    fn superpage_at<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        at: VirtAddr,
        left: u64,
    ) -> Result<Slot, Error> {
        if is_aligned(at) && left >= SUPERPAGE_PAGES {
            Ok(Slot::new(self.table2(hw, space, at)?, Index::in_table2(at)))
        } else {
            Err(Error::Misaligned)
        }
    }
}

const fn is_aligned(at: VirtAddr) -> bool {
    at.get().is_multiple_of(TableLevel::Three.span())
}
