//! Superpages: 2 MiB by one entry, where 512 free frames in a row are to be found.
//!
//! The kernel never searches; the page array shows what is free, so the search is the library's. It goes round
//! from where the last one ended, and gives up a run at its first frame that is taken.

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::{ALLOC_BOUND, FrameType, SUPERPAGE_PAGES};
use exopi_rt::{Access, Object, PageNumber, PageSelect, PageSource, TableLevel, VirtAddr};

use crate::colours::Colours;
use crate::error::Error;
use crate::machine::Machine;
use crate::region::page_at;
use crate::space::AddressSpace;
use exopi_rt::tables::{Entry, Mapping};

/// Pages in a superpage.
pub(crate) const SUPERPAGE: u64 = SUPERPAGE_PAGES;

/// 512 frames that were taken.
struct Run {
    first: PageNumber,
    /// Whether some of them may hold what this program once wrote.
    dirty: bool,
}

impl<M: Machine> AddressSpace<M> {
    /// Maps a superpage over the 2 MiB around `at` if they are the region's, nothing is there yet, the access is
    /// one that a superpage can have, and frames are found. Returns whether it did.
    pub(crate) fn fill_superpage(&mut self, place: usize, at: VirtAddr) -> Result<bool, Error> {
        let span = TableLevel::Three.span();
        let Some(begin) = VirtAddr::new(at.get() / span * span) else {
            return Ok(false);
        };
        let region = self.regions.get(place).ok_or(Error::NoRegion)?;
        let access = region.access;
        let fits = region.covers(begin, SUPERPAGE)
            && !region.shadowed
            && region.colours == Colours::ALL
            && access.contains(Access::READ)
            && !access.contains(Access::EXECUTE);
        if !fits || !matches!(self.machine.entry(begin), Entry::NoTable(_)) {
            return Ok(false);
        }
        // Nobody may see the pages before they are zeroed, and a superpage has no other place to be zeroed in.
        if !self.machine.is_alone() {
            return Ok(false);
        }
        let zeroed = region.zeroed;
        let Some(run) = self.take_superpage() else {
            return Ok(false);
        };
        let mapped = self
            .supply_tables(begin, TableLevel::Two)
            .and_then(|()| self.map_superpage(begin, &run, zeroed, access));
        if mapped.is_err() {
            self.free_superpage(run.first);
        }
        // Small pages will do if there are no tables.
        Ok(mapped.is_ok())
    }

    fn map_superpage(
        &mut self,
        begin: VirtAddr,
        run: &Run,
        zeroed: bool,
        access: Access,
    ) -> Result<(), Error> {
        let bound = access | Access::WRITE;
        self.machine
            .insert_superpage(begin, run.first, bound)
            .unless_stopped()?;
        if zeroed && run.dirty {
            for page in 0..SUPERPAGE {
                self.machine.zero_page(page_at(begin, page)?);
            }
        }
        if access != bound {
            self.machine
                .protect_pte(begin, SUPERPAGE, access)
                .unless_stopped()?;
        }
        Ok(())
    }

    /// Looks for 512 free frames and takes them.
    fn take_superpage(&mut self) -> Option<Run> {
        let runs = self.machine.page_count() / SUPERPAGE as u32;
        for turn in 0..runs {
            let number = (self.superpage_cursor + turn) % runs;
            let first = PageNumber::new(number * SUPERPAGE as u32);
            if let Some(dirty) = self.is_free(first) {
                self.superpage_cursor = number;
                return self.take_frames(first).then_some(Run { first, dirty });
            }
        }
        None
    }

    /// Whether 512 frames are free; if so, whether some of them were this program's last.
    fn is_free(&self, first: PageNumber) -> Option<bool> {
        let mut dirty = false;
        for frame in 0..SUPERPAGE {
            let record = self.machine.record(first.plus(frame)?)?;
            if record.kind != FrameType::Free {
                return None;
            }
            dirty |= record.owner == self.owner;
        }
        Some(dirty)
    }

    /// Takes 512 frames, or none.
    fn take_frames(&mut self, first: PageNumber) -> bool {
        let mut done = 0;
        while done < SUPERPAGE {
            let Some(next) = first.plus(done) else {
                break;
            };
            let count = (SUPERPAGE - done).min(ALLOC_BOUND);
            let allocation = self.machine.page_alloc(PageSelect::Exact(next), count);
            done += allocation.progress.done;
            if allocation.progress.stopped.is_some() {
                self.free_run(first, done);
                return false;
            }
        }
        true
    }

    /// Gives the frames of a superpage to the kernel, those that are shared excepted.
    pub(crate) fn free_superpage(&mut self, first: PageNumber) {
        self.free_run(first, SUPERPAGE);
    }

    /// Maps the superpage that `at` is in page by page instead.
    pub(crate) fn split(&mut self, at: VirtAddr) -> Result<(), Error> {
        let span = TableLevel::Three.span();
        let begin = VirtAddr::new(at.get() / span * span).ok_or(Error::BadRange)?;
        let Entry::Mapped(
            mapping @ Mapping {
                superpage: true, ..
            },
        ) = self.machine.entry(begin)
        else {
            return Ok(());
        };
        // The table must be at hand before the mapping goes: there is no way back to it but this.
        self.tables.refill(&mut self.machine)?;
        self.unmap_run(begin, SUPERPAGE)?;
        self.supply_tables(begin, TableLevel::Three)?;
        let mut done = 0;
        while done < SUPERPAGE {
            let here = page_at(begin, done)?;
            let first = mapping.page.plus(done).ok_or(Error::BadRange)?;
            let source = PageSource::owned(first);
            let left = SUPERPAGE - done;
            let progress = self
                .machine
                .insert_pte(Object::Own, here, source, left, mapping.bound);
            done += progress.unless_stopped()?;
        }
        if mapping.access == mapping.bound {
            return Ok(());
        }
        let mut done = 0;
        while done < SUPERPAGE {
            let here = page_at(begin, done)?;
            let progress = self
                .machine
                .protect_pte(here, SUPERPAGE - done, mapping.access);
            done += progress.unless_stopped()?;
        }
        Ok(())
    }
}

const _: () = assert!(SUPERPAGE * PAGE_SIZE == TableLevel::Three.span());
