//! Giving back: pages, then the tables over them.

use exopi_rt::page::REMOVE_BOUND;
use exopi_rt::{Note, PageNumber, TableLevel, VirtAddr};

use crate::error::Error;
use crate::machine::Machine;
use crate::protect::{hidden, to_next};
use crate::region::page_at;
use crate::space::AddressSpace;
use crate::superpage::SUPERPAGE;
use exopi_rt::tables::{Entry, Mapping};

/// Pages that one call unmaps.
const RUN: usize = REMOVE_BOUND as usize;

impl<M: Machine> AddressSpace<M> {
    /// Ends the region that begins at `start`. Its pages go back, those that are mapped elsewhere too excepted:
    /// they go with the last mapping. So do tables that nothing is left in, unless another region reaches
    /// into what they cover.
    ///
    /// # Errors
    /// [`Error::NoRegion`]. No page to cut a superpage that reaches beyond the region, which happens only to
    /// what was mapped there before.
    ///
    /// # Safety
    /// No reference or pointer in use, and no code that will run, may depend on what is there.
    #[expect(unsafe_code, reason = "memory disappears")]
    pub unsafe fn release(&mut self, start: VirtAddr) -> Result<(), Error> {
        let place = self.regions.starting(start)?;
        let region = self.regions.get(place).ok_or(Error::NoRegion)?;
        let (pages, from, to) = (region.pages, region.from, region.to());
        self.take_out(place, start, pages)?;
        let Some(region) = self.regions.remove(place) else {
            return Err(Error::NoRegion);
        };
        if region.shadowed {
            self.say(start, pages, None);
            self.unshade(start, pages)?;
        }
        self.withdraw_tables(from, to)?;
        // What the tables gave back has filled the reserve; if it is not full, then for want of pages.
        let _ = self.tables.refill(&mut self.machine);
        Ok(())
    }

    /// Gives the pages of a part of a region back; at the next touch they begin anew. What was said of their
    /// protection stays.
    ///
    /// # Errors
    /// As for [`AddressSpace::release`].
    ///
    /// # Safety
    /// No reference or pointer in use, and no code that will run, may depend on what is there.
    #[expect(unsafe_code, reason = "memory disappears")]
    pub unsafe fn discard(&mut self, at: VirtAddr, pages: u64) -> Result<(), Error> {
        let (place, _) = self.regions.covering(at, pages)?;
        self.take_out(place, at, pages)
    }

    /// Takes the page at `at` out, leaves `note` there for the region's pager, and hands the page over: the first
    /// half of paging, whatever the medium. The pager's `missing` finds the note.
    ///
    /// # Errors
    /// [`Error::BadRange`] for a note that is 0 or not less than 2^62; [`Error::Unsuitable`] if no page is
    /// there, or one that is mapped elsewhere too.
    ///
    /// # Safety
    /// What the page holds must come back before it is read: nothing else keeps it.
    #[expect(unsafe_code, reason = "memory disappears")]
    pub unsafe fn evict(&mut self, at: VirtAddr, note: u64) -> Result<PageNumber, Error> {
        let _ = self.regions.covering(at, 1)?;
        if note == 0 || note >= crate::protect::HIDDEN {
            return Err(Error::BadRange);
        }
        let note = Note::new(note).ok_or(Error::BadRange)?;
        match self.machine.entry(at) {
            Entry::Mapped(mapping) if self.is_sole(mapping) => {
                self.batch([
                    crate::machine::remove(at, 1),
                    crate::machine::note(at, note),
                ])?;
                Ok(mapping.page)
            }
            _ => Err(Error::Unsuitable),
        }
    }

    /// Gives back what the library keeps at hand: the supply's pages and the reserve for tables. The next
    /// operation that needs some takes them anew.
    pub fn trim(&mut self) {
        while let Some(page) = self.supply.as_mut().and_then(|supply| supply.drain()) {
            self.free_run(page, 1);
        }
        self.tables.empty(&mut self.machine);
    }

    /// Takes all pages from `at` on out of the region in `place`, hidden ones too.
    fn take_out(&mut self, place: usize, at: VirtAddr, pages: u64) -> Result<(), Error> {
        let mut page = 0;
        while page < pages {
            let here = page_at(at, page)?;
            let left = pages - page;
            page += match self.machine.entry(here) {
                Entry::NoTable(level) => to_next(here, level),
                Entry::Note(note) => {
                    self.forget(place, here, note)?;
                    1
                }
                Entry::Mapped(
                    mapping @ Mapping {
                        superpage: true, ..
                    },
                ) => {
                    if to_next(here, TableLevel::Three) == SUPERPAGE && left >= SUPERPAGE {
                        self.unmap_run(here, SUPERPAGE)?;
                        self.free_superpage(mapping.page);
                        SUPERPAGE
                    } else {
                        self.split(here)?;
                        0
                    }
                }
                Entry::Mapped(_) => self.take_run(here, left)?,
            };
        }
        Ok(())
    }

    /// Clears an entry that maps nothing: gives a hidden page back, tells the pager of a note of its own.
    fn forget(&mut self, place: usize, at: VirtAddr, note: Note) -> Result<(), Error> {
        if note.get() == 0 {
            return Ok(());
        }
        self.machine.pte_note(at, Note::default())?;
        match hidden(note) {
            Some(page) => self.give_back(page),
            None => {
                let region = self.regions.get_mut(place);
                if let Some(pager) = region.and_then(|region| region.pager.as_mut()) {
                    pager.dropped(at, note);
                }
            }
        }
        Ok(())
    }

    /// Takes out the pages that are mapped from `at` on, up to the first that is not. Returns how many.
    fn take_run(&mut self, at: VirtAddr, most: u64) -> Result<u64, Error> {
        let mut run = [PageNumber::new(0); RUN];
        let mut count = 0;
        for (page, place) in (0..most).zip(&mut run) {
            match self.machine.entry(page_at(at, page)?) {
                Entry::Mapped(mapping) if !mapping.superpage => *place = mapping.page,
                _ => break,
            }
            count += 1;
        }
        self.unmap_run(at, count)?;
        self.give_back_all(run.get(..count as usize).unwrap_or(&[]));
        Ok(count)
    }

    /// Gives those of these pages back to which nothing refers any more and which are the space's own. The
    /// others are for whoever else maps them.
    fn give_back_all(&mut self, pages: &[PageNumber]) {
        let mut first = PageNumber::new(0);
        let mut count = 0;
        for page in pages {
            if !self.is_unused(*page) {
                continue;
            }
            if let Some(supply) = &mut self.supply
                && supply.accept(*page).is_none()
            {
                continue;
            }
            if count > 0 && first.plus(count) == Some(*page) {
                count += 1;
                continue;
            }
            self.free_run(first, count);
            (first, count) = (*page, 1);
        }
        self.free_run(first, count);
    }

    /// Gives pages in a row to the kernel, past the supply.
    pub(crate) fn free_run(&mut self, first: PageNumber, count: u64) {
        let mut done = 0;
        while done < count {
            let Some(next) = first.plus(done) else {
                return;
            };
            let progress = self.machine.page_free(next, count - done);
            // One that is refused is somebody else's by now.
            done += progress.done + u64::from(progress.stopped.is_some());
        }
    }

    /// Takes out the tables over `from..end` that nothing is in and that no region reaches into.
    pub(crate) fn withdraw_tables(&mut self, from: u64, end: u64) -> Result<(), Error> {
        let (small, large) = (TableLevel::Three, TableLevel::Two);
        let mut next = from / small.span() * small.span();
        while next < end {
            // The very first 2 MiB begin below what programs map.
            let at = VirtAddr::new(next.max(exopi_rt::layout::USER_START));
            let at = at.ok_or(Error::BadRange)?;
            if self.machine.table(at, large).is_none() {
                next = at.get() / large.span() * large.span() + large.span();
                continue;
            }
            next += small.span();
            if !self.regions.overlaps(next - small.span(), next) {
                self.tables.withdraw(&mut self.machine, at, small)?;
            }
            let below = at.get() / large.span() * large.span();
            if (next >= end || next.is_multiple_of(large.span()))
                && !self.regions.overlaps(below, below + large.span())
            {
                self.tables.withdraw(&mut self.machine, at, large)?;
            }
        }
        Ok(())
    }
}
