//! Copy-on-write: pages with several mappings, all read-only, until somebody writes.
//!
//! ```text
//!   before            copy / lend            a write here            a write there, the last one
//!   A --RW--> p       A --R--> p <--R-- B    A --RW--> p'            B --RW--> p
//!                                            B --R---> p
//! ```
//!
//! Nobody keeps a count: the page array has one for each page, exact at every moment and whoever the
//! others are. Who faults and finds it to be 1 has no one left to share with and takes the page as it is.

use exopi_rt::page::{INSERT_BOUND, INSERT_EXECUTABLE_BOUND};
use exopi_rt::{Access, Error as Refusal, Object, PageNumber, PageSource, TableLevel, VirtAddr};

use crate::error::Error;
use crate::machine::{self, Machine};
use crate::protect::{hidden, hiding, to_next};
use crate::region::{Options, Place, page_at};
use crate::space::AddressSpace;
use exopi_rt::tables::{Entry, Mapping};

/// Pages in a row, in address space and in memory.
struct Run {
    mapping: Mapping,
    count: u64,
    /// Whether some of them can be written to as they are.
    writable: bool,
}

impl<M: Machine> AddressSpace<M> {
    /// Makes a region with the contents and protection of the one that begins at `start`: both share their
    /// pages until one of them writes.
    ///
    /// # Errors
    /// Those of [`AddressSpace::reserve`]; no pages for tables; [`Error::Unsuitable`] for a region that has a
    /// pager, or pages that are not the program's own. There is no new region then.
    pub fn copy(&mut self, start: VirtAddr, place: Place) -> Result<VirtAddr, Error> {
        let from = self.regions.starting(start)?;
        let region = self.regions.get(from).ok_or(Error::NoRegion)?;
        if region.pager.is_some() {
            return Err(Error::Unsuitable);
        }
        let pages = region.pages;
        let options = Options {
            name: region.name,
            access: region.access,
            guards: region.info().guards,
            zeroed: region.zeroed,
            colours: region.colours,
            superpages: region.superpages,
            pager: None,
        };
        let to = self.reserve(place, pages, options)?;
        let copied = self.copy_region(start, to, pages);
        if copied.is_err() {
            #[expect(unsafe_code, reason = "memory disappears")]
            // SAFETY: nobody has heard of the region yet.
            unsafe { self.release(to) }?;
        }
        copied.map(|()| to)
    }

    fn copy_region(&mut self, from: VirtAddr, to: VirtAddr, pages: u64) -> Result<(), Error> {
        let there = self.regions.starting(to)?;
        if let Some(region) = self.regions.get_mut(there) {
            region.shared = true;
        }
        let here = self.regions.starting(from)?;
        if self.regions.get(here).is_some_and(|region| region.shadowed) {
            self.shade(there)?;
            for page in 0..pages {
                let said = self.said(page_at(from, page)?);
                self.say(page_at(to, page)?, 1, said);
            }
        }
        self.lend(from, pages, Object::Own, to)
    }

    /// Maps pages of a region at `to` and behind in `space` as well, read-only, as far as they are there
    /// yet; here too they are read-only until they are written to and copied. Tables that are missing there are
    /// supplied. What is at `to` and what is done about writes is the affair of whoever that space belongs
    /// to, which must be charged to the same account: who removes the last mapping gives the page back.
    ///
    /// # Errors
    /// [`Error::NoRegion`] unless one region covers them; no pages for tables; what the kernel says of
    /// `space` and `to`; [`Error::Unsuitable`] for pages that are not the program's own. Those before are
    /// lent.
    pub fn lend(
        &mut self,
        at: VirtAddr,
        pages: u64,
        space: Object<'_>,
        to: VirtAddr,
    ) -> Result<(), Error> {
        let (_, region) = self.regions.covering(at, pages)?;
        region.shared = true;
        let mut page = 0;
        while page < pages {
            let (here, there) = (page_at(at, page)?, page_at(to, page)?);
            page += match self.machine.entry(here) {
                Entry::NoTable(level) => to_next(here, level),
                Entry::Mapped(Mapping {
                    superpage: true, ..
                }) => {
                    self.split(here)?;
                    0
                }
                Entry::Note(note) => {
                    match hidden(note) {
                        Some(hidden) if space == Object::Own => {
                            self.copy_hidden(hidden, there)?;
                        }
                        _ if note.get() == 0 => {}
                        _ => return Err(Error::Unsuitable),
                    }
                    1
                }
                Entry::Mapped(mapping) => {
                    let run = self.run_from(here, mapping, pages - page);
                    self.lend_run(here, &run, space, there)?
                }
            };
        }
        Ok(())
    }

    /// The pages from `at` on that one operation can map elsewhere.
    fn run_from(&self, at: VirtAddr, mapping: Mapping, most: u64) -> Run {
        let bound = if mapping.access.contains(Access::EXECUTE) {
            INSERT_EXECUTABLE_BOUND
        } else {
            INSERT_BOUND
        };
        let readable = |mapping: Mapping| mapping.access - Access::WRITE;
        let mut run = Run {
            mapping,
            count: 1,
            writable: mapping.access.contains(Access::WRITE),
        };
        while run.count < most.min(bound) {
            let next = at.plus(run.count).map(|at| self.machine.entry(at));
            match next {
                Some(Entry::Mapped(next))
                    if !next.superpage
                        && Some(next.page) == mapping.page.plus(run.count)
                        && readable(next) == readable(mapping) =>
                {
                    run.writable |= next.access.contains(Access::WRITE);
                    run.count += 1;
                }
                _ => break,
            }
        }
        run
    }

    /// Maps a run elsewhere. Returns its length.
    fn lend_run(
        &mut self,
        at: VirtAddr,
        run: &Run,
        space: Object<'_>,
        to: VirtAddr,
    ) -> Result<u64, Error> {
        if self.own_record(run.mapping.page).is_none() {
            return Err(Error::Unsuitable);
        }
        let access = run.mapping.access - Access::WRITE;
        if run.writable {
            let progress = self.machine.protect_pte(at, run.count, access);
            progress.unless_stopped()?;
        }
        let mut done = 0;
        while done < run.count {
            let there = page_at(to, done)?;
            let first = run.mapping.page.plus(done).ok_or(Error::BadRange)?;
            let source = PageSource::owned(first);
            let progress = self
                .machine
                .insert_pte(space, there, source, run.count - done, access);
            done += progress.done;
            match progress.stopped {
                None => {}
                Some(Refusal::NoTable) => {
                    let there = page_at(to, done)?;
                    let machine = &mut self.machine;
                    let level = TableLevel::Three;
                    self.tables.supply(machine, space, there, level)?;
                }
                Some(error) => return Err(error.into()),
            }
        }
        Ok(run.count)
    }

    /// Hides a copy of a hidden page at `to`. A hidden page has no mapping by which it could be counted as
    /// shared, so it never is.
    fn copy_hidden(&mut self, page: PageNumber, to: VirtAddr) -> Result<(), Error> {
        let (place, _) = self.regions.covering(to, 1)?;
        self.supply_tables(to, TableLevel::Three)?;
        let from = page_at(self.layout.scratch, 1)?;
        let source = PageSource::owned(page);
        self.machine
            .insert_pte(Object::Own, from, source, 1, Access::READ)
            .unless_stopped()?;
        let copied = self.copy_aside(place, to, from);
        self.unmap_run(from, 1)?;
        let copy = copied?;
        let noted = self.machine.pte_note(to, hiding(copy)?);
        if noted.is_err() {
            self.clear_scratch()?;
            return Ok(noted?);
        }
        self.unmap_run(self.layout.scratch, 1)
    }

    /// Maps a fresh page for `belongs` at the scratch address and copies what is at `from` to it.
    fn copy_aside(
        &mut self,
        place: usize,
        belongs: VirtAddr,
        from: VirtAddr,
    ) -> Result<PageNumber, Error> {
        let scratch = self.layout.scratch;
        self.map_fresh(place, belongs, scratch, Access::READ | Access::WRITE)?;
        self.machine.copy_page(from, scratch);
        self.page_at_scratch(scratch)
    }

    /// Sees to it that `at`, a page of the region in `place` that is mapped, may be used for all that the
    /// program allows: by taking it if nobody else has it, by a copy if not.
    pub(crate) fn unshare(&mut self, place: usize, at: VirtAddr) -> Result<(), Error> {
        self.split(at)?;
        let access = self.allowed(place, at);
        match self.machine.entry(at) {
            Entry::Mapped(mapping) if mapping.access.contains(access) => Ok(()),
            Entry::Mapped(mapping) if !self.is_sole(mapping) => self.copy_page(place, at, mapping),
            Entry::Mapped(mapping) if mapping.bound.contains(access) => self.restrict(at, access),
            Entry::Mapped(mapping) => self.bind_again(at, mapping, access),
            _ => Err(Error::Unsuitable),
        }
    }

    /// Puts a copy of the page that is mapped at `at` in its place.
    pub(crate) fn copy_page(
        &mut self,
        place: usize,
        at: VirtAddr,
        mapping: Mapping,
    ) -> Result<(), Error> {
        let access = self.allowed(place, at) | Access::READ | Access::WRITE;
        let copy = self.copy_aside(place, at, at)?;
        let replaced = self.batch([
            machine::remove(at, 1),
            machine::insert(at, PageSource::owned(copy), 1, access),
            machine::remove(self.layout.scratch, 1),
        ]);
        if replaced.is_err() {
            self.clear_scratch()?;
        }
        replaced?;
        // The last one may have gone since we looked.
        if self.is_unused(mapping.page) {
            self.give_back(mapping.page);
        }
        Ok(())
    }
}
