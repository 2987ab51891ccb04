//! Mappings of pages, made and removed.
//!
//! Each call has a path for the usual case, one page, which decides all with as few questions as there are, and does
//! nothing if an answer is no; the general one then finds out what is the matter.

use exopi_abi::page::{ALLOC_BOUND, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, REMOVE_BOUND};
use exopi_abi::{Access, Error, PageNumber, PageSelect, Progress, VirtAddr};
use exopi_cap::Epochs;

use crate::binding::Bind;
use crate::flush::Touched;
use crate::ranges::{ONE, Part, after, by_mapping, by_table, run};
use crate::right::{Claim, Credit, Drawn, Packed, Right, Source};
use crate::space::Table;
use crate::{Hardware, Index, Pages, Space, pte};

impl Pages<'_> {
    /// Makes mappings as the row `insert_pte` of the call table says: [`INSERT_BOUND`] at most, or
    /// [`INSERT_EXECUTABLE_BOUND`] if they are executable, or [`ALLOC_BOUND`] if the pages are new; those are
    /// charged to `credit`, each that is done.
    ///
    /// # Errors
    /// In the order in which they are looked for. By capability: [`Error::WrongKind`], [`Error::MissingRight`],
    /// [`Error::TimeLimited`]. Then [`Error::BadCount`]; of a page [`Error::BadAddress`] beyond what programs
    /// map, [`Error::NoTable`], [`Error::Occupied`] by a superpage; [`Error::OutOfRange`],
    /// [`Error::NotYours`] or [`Error::Stale`], [`Error::WrongType`], [`Error::Leaving`],
    /// [`Error::LimitReached`], or of a new page those of [`Pages::alloc`]; [`Error::Occupied`].
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    pub fn insert_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        credit: Credit,
        space: &Space,
        at: VirtAddr,
        source: Source,
        count: u64,
        access: Access,
    ) -> Progress {
        match source {
            Source::Run(first, right) => {
                // What a capability says is looked at here, so that nothing else needs it in memory.
                let claim = match Claim::to_map(right, access) {
                    Ok(claim) => claim,
                    Err(error) => return Progress::refused(error),
                };
                if count == 1 && self.insert_one(hw, space, at, first, claim, access) {
                    return ONE;
                }
                self.insert_many(hw, *space, at, first, claim.pack(), count, access)
            }
            Source::New(which) => {
                self.insert_new(hw, epochs, credit, space, at, which, count, access)
            }
        }
    }

    /// Maps one page, if nothing stands in the way and it is not to be executable: the usual case, without a loop.
    /// Whether it has; if not, nothing is done, and [`Pages::insert_pte`] tells why.
    #[inline(always)]
    pub fn insert_page<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        page: PageNumber,
        right: Right,
        access: Access,
    ) -> bool {
        match Claim::to_map(right, access) {
            Ok(claim) => self.insert_one(hw, space, at, page, claim, access),
            Err(_) => false,
        }
    }

    /// The same by what the right comes to.
    #[inline(always)]
    fn insert_one<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        page: PageNumber,
        claim: Claim,
        access: Access,
    ) -> bool {
        if access.contains(Access::EXECUTE) {
            return false;
        }
        let Ok(found) = self.table3(hw, space, at) else {
            return false;
        };
        let index = Index::in_table3(at);
        let Ok(bind) = self.check_bind(hw, &found, index, page, claim, space) else {
            return false;
        };
        self.commit_bind(hw, bind, pte::page(page, access));
        self.count_entries(found.table, 1);
        hw.publish();
        true
    }

    /// Every case of pages that there are.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    fn insert_many<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: Space,
        at: VirtAddr,
        first: PageNumber,
        claim: Packed,
        count: u64,
        access: Access,
    ) -> Progress {
        let space = &space;
        let claim = claim.unpack();
        let blank = pte::page(PageNumber::new(0), access);
        // The same twice, so that the inner loop of the usual case is one without a call in it.
        let progress = if access.contains(Access::EXECUTE) {
            let count = count.min(INSERT_EXECUTABLE_BOUND);
            self.insert_runs(hw, space, at, count, |pages, hw, found, index, offset| {
                let page = after(first, offset);
                let bind = pages.check_bind(hw, found, index, page, claim, space)?;
                hw.sync_code(page);
                pages.commit_bind(hw, bind, blank | page.address());
                Ok(())
            })
        } else {
            let count = count.min(INSERT_BOUND);
            self.insert_runs(hw, space, at, count, |pages, hw, found, index, offset| {
                let page = after(first, offset);
                let bind = pages.check_bind(hw, found, index, page, claim, space)?;
                pages.commit_bind(hw, bind, blank | page.address());
                Ok(())
            })
        };
        if progress.done > 0 {
            hw.publish();
        }
        progress
    }

    /// The same for pages that are allocated on the way.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    fn insert_new<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        credit: Credit,
        space: &Space,
        at: VirtAddr,
        which: PageSelect,
        count: u64,
        access: Access,
    ) -> Progress {
        let mut drawn = Drawn::new(epochs);
        let foreign = credit.owner != space.owner();
        let count = count.min(ALLOC_BOUND);
        let progress = self.insert_runs(hw, space, at, count, |pages, hw, found, index, offset| {
            let alloc = pages.check_alloc(credit, which, offset)?;
            if pte::is_valid(hw.entry(found.table, index)) {
                return Err(Error::Occupied);
            }
            let stamp = drawn.stamp()?;
            let (page, zero) = (alloc.page, alloc.zero);
            let bind = Bind {
                found: *found,
                index,
                page,
                foreign,
            };
            pages.commit_alloc(hw, alloc, credit.owner, stamp);
            if access.contains(Access::EXECUTE) {
                hw.sync_code(page);
            }
            if zero {
                // Nobody may see what was there before.
                hw.publish();
            }
            pages.commit_bind(hw, bind, pte::page(page, access));
            Ok(())
        });
        if progress.done > 0 {
            hw.publish();
        }
        progress
    }

    /// Removes mappings as the row `remove_pte` of the call table says: [`REMOVE_BOUND`] at most.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::BadAddress`]
    /// beyond what programs map, [`Error::NoTable`], [`Error::Misaligned`] for a part of a superpage,
    /// [`Error::Vacant`], [`Error::WrongType`] for a u-area.
    #[inline(always)]
    pub fn remove_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        count: u64,
    ) -> Progress {
        if count == 1 && self.remove_page(hw, space, at) {
            return ONE;
        }
        self.remove_many(hw, *space, at, count)
    }

    /// Removes the mapping of one page, if there is one: the usual case, without a loop. Whether it has; if not,
    /// nothing is done, and [`Pages::remove_pte`] tells why.
    #[inline(always)]
    pub fn remove_page<H: Hardware>(&mut self, hw: &mut H, space: &Space, at: VirtAddr) -> bool {
        let Ok(found) = self.table3(hw, space, at) else {
            return false;
        };
        let index = Index::in_table3(at);
        let Ok(unbind) = self.check_unbind(hw, &found, index, space.owner()) else {
            return false;
        };
        hw.set_entry(found.table, index, pte::INVALID);
        self.commit_unbind(hw, unbind);
        self.discount_entries(found.table, 1);
        hw.before_invalidate();
        hw.invalidate_page(space.asid(), at.into());
        hw.complete();
        true
    }

    /// Every case.
    #[inline(never)]
    fn remove_many<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: Space,
        at: VirtAddr,
        count: u64,
    ) -> Progress {
        let space = &space;
        let mut touched = Touched::from(at);
        let progress =
            by_mapping(
                at,
                count,
                REMOVE_BOUND,
                &mut touched,
                |at, length, left| match self.table3(hw, space, at) {
                    Ok(found) => Part::Pages(self.remove_run(hw, space, found, at, length)),
                    Err(Error::Occupied) => {
                        Part::Superpage(self.remove_superpage(hw, space, at, left))
                    }
                    Err(error) => Part::Pages(Progress::refused(error)),
                },
            );
        // Records say already that the frames are not mapped; whoever holds `self` next finds it true.
        touched.forget(hw, space);
        progress
    }

    /// Makes `count` entries from `at` on by `insert`, without a barrier behind them. `insert` gets the place, and how
    /// many came before.
    #[inline(always)]
    fn insert_runs<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        count: u64,
        mut insert: impl FnMut(&mut Self, &mut H, &Table, Index, u64) -> Result<(), Error>,
    ) -> Progress {
        by_table(
            at,
            count,
            #[inline(always)]
            |at, done, length| {
                let found = match self.table3(hw, space, at) {
                    Ok(found) => found,
                    Err(error) => return Progress::refused(error),
                };
                let progress = run(
                    at,
                    length,
                    #[inline(always)]
                    |index, offset| insert(self, hw, &found, index, done + offset),
                );
                self.count_entries(found.table, progress.done as u32);
                progress
            },
        )
    }

    /// Clears `length` entries from `at` on, all in one level-3 table, without invalidating anything.
    #[inline(always)]
    fn remove_run<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        found: Table,
        at: VirtAddr,
        length: u64,
    ) -> Progress {
        let progress = run(
            at,
            length,
            #[inline(always)]
            |index, _| {
                let unbind = self.check_unbind(hw, &found, index, space.owner())?;
                hw.set_entry(found.table, index, pte::INVALID);
                self.commit_unbind(hw, unbind);
                Ok(())
            },
        );
        self.discount_entries(found.table, progress.done as u32);
        progress
    }
}
