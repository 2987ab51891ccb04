//! Protection: what the program allows, beside what the entries do.
//!
//! An entry may allow less than the program: a page that is shared to be copied is read-only until somebody
//! writes. So the program's word has to be kept elsewhere. For a whole region it is the region's `access`. Once
//! the pages of a region differ, it is *shadowed*: each page has a byte at
//! `layout.shadow + page of the address`, in pages that are mapped as long as the region is. Most regions
//! never are, and changing what one page of a hundred may be used for costs a byte and a call, where
//! cutting a region in three would cost two places in the table and joining them again.
//!
//! ```text
//!   byte   0           as the region says
//!          0x80 | set  this set of accesses, which may be empty
//! ```
//!
//! The kernel maps no page without the right to read it. A page that the program allows nothing on is
//! *hidden*: taken out of its entry, which holds a note with the page's number instead.

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::{
    Access, Error as Refusal, Note, Object, PageNumber, PageSelect, PageSource, TableLevel,
    VirtAddr,
};

use crate::error::Error;
use crate::machine::{self, Machine};
use crate::region::{Region, page_at};
use crate::space::{AddressSpace, Layout, mapping};
use exopi_rt::tables::{Entry, Mapping};

/// In a byte: it says something.
const SAID: u8 = 0x80;
/// In a note: it is the library's, and a page's number. Pagers' notes are smaller.
pub(crate) const HIDDEN: u64 = 1 << 62;

/// The page that is hidden behind a note.
pub(crate) fn hidden(note: Note) -> Option<PageNumber> {
    (note.get() & HIDDEN != 0).then(|| PageNumber::new(note.get() as u32))
}

/// The note that hides a page.
pub(crate) fn hiding(page: PageNumber) -> Result<Note, Error> {
    Note::new(HIDDEN | u64::from(page.get())).ok_or(Error::BadRange)
}

/// How many pages it is from `at` to the next multiple of a table's span.
pub(crate) const fn to_next(at: VirtAddr, level: TableLevel) -> u64 {
    (level.span() - at.get() % level.span()) / PAGE_SIZE
}

/// What the program may do with `at`, a page of a region.
#[inline(always)]
pub(crate) fn allowed_in<M: Machine>(
    region: &Region<M>,
    machine: &M,
    layout: &Layout,
    at: VirtAddr,
) -> Access {
    if region.shadowed {
        let byte = machine.byte(layout.shadow_of(at));
        if byte & SAID != 0 {
            return Access::from_bits_truncate(byte);
        }
    }
    region.access
}

impl<M: Machine> AddressSpace<M> {
    /// What the program may do with `at`, a page of the region in `place`.
    #[inline(always)]
    pub(crate) fn allowed(&self, place: usize, at: VirtAddr) -> Access {
        let region = self.regions.get(place);
        region.map_or(Access::empty(), |region| {
            allowed_in(region, &self.machine, &self.layout, at)
        })
    }

    /// What was said of `at`, a page of a shadowed region.
    pub(crate) fn said(&self, at: VirtAddr) -> Option<Access> {
        let byte = self.machine.byte(self.layout.shadow_of(at));
        (byte & SAID != 0).then(|| Access::from_bits_truncate(byte))
    }

    /// Says the same of `pages` pages of a shadowed region from `at` on.
    #[inline(always)]
    pub(crate) fn say(&mut self, at: VirtAddr, pages: u64, access: Option<Access>) {
        let byte = access.map_or(0, |access| SAID | access.bits());
        self.machine.fill(self.layout.shadow_of(at), pages, byte);
    }

    /// Gives the region in `place` its bytes, all zero.
    pub(crate) fn shade(&mut self, place: usize) -> Result<(), Error> {
        let region = self.regions.get(place).ok_or(Error::NoRegion)?;
        if region.shadowed {
            return Ok(());
        }
        let (start, pages) = (region.start, region.pages);
        for page in self.shadow_pages(start, pages) {
            if mapping(self.machine.entry(page)).is_none()
                && let Err(error) = self.wire(page)
            {
                self.unshade(start, pages)?;
                return Err(error);
            }
        }
        if let Some(region) = self.regions.get_mut(place) {
            region.shadowed = true;
        }
        Ok(())
    }

    /// The pages of bytes of a region.
    fn shadow_pages(&self, start: VirtAddr, pages: u64) -> impl Iterator<Item = VirtAddr> + use<M> {
        let first = self.layout.shadow + start.get() / PAGE_SIZE;
        let from = first / PAGE_SIZE * PAGE_SIZE;
        (from..first + pages)
            .step_by(PAGE_SIZE as usize)
            .filter_map(VirtAddr::new)
    }

    /// Maps a page of zeros for the library itself.
    fn wire(&mut self, at: VirtAddr) -> Result<(), Error> {
        self.supply_tables(at, TableLevel::Three)?;
        let source = PageSource::New(PageSelect::Any);
        let access = Access::READ | Access::WRITE;
        self.machine
            .insert_pte(Object::Own, at, source, 1, access)
            .unless_stopped()?;
        self.machine.zero_page(at);
        Ok(())
    }

    /// Takes the pages of bytes away that no shadowed region needs any more. The region of these pages does not
    /// count.
    pub(crate) fn unshade(&mut self, start: VirtAddr, pages: u64) -> Result<(), Error> {
        let first = self.layout.shadow;
        for page in self.shadow_pages(start, pages) {
            let Some(mapping) = mapping(self.machine.entry(page)) else {
                continue;
            };
            let from = (page.get() - first) * PAGE_SIZE;
            let to = from + PAGE_SIZE * PAGE_SIZE;
            let needs = |region: &Region<M>| {
                region.shadowed
                    && region.start != start
                    && region.start.get() < to
                    && region.end() > from
            };
            if self.regions.iter().any(needs) {
                continue;
            }
            self.unmap_run(page, 1)?;
            self.give_back(mapping.page);
            self.withdraw_tables(page.get(), page.get() + PAGE_SIZE)?;
        }
        Ok(())
    }

    /// From now on the program may use `pages` pages of a region from `at` on for `access`, and no more; empty
    /// means not at all. In one call of the kernel's over a range of the usual kind.
    ///
    /// # Errors
    /// [`Error::NoRegion`] unless one region covers them; no page for what has to be kept of them, or to
    /// cut a superpage.
    pub fn protect(&mut self, at: VirtAddr, pages: u64, access: Access) -> Result<(), Error> {
        let (place, region) = self.regions.covering(at, pages)?;
        let singly = access.is_empty() || region.shared && access.contains(Access::WRITE);
        if !region.shadowed || region.superpages || singly {
            return self.protect_any(place, at, pages, access);
        }
        self.say(at, pages, Some(access));
        self.apply(false, at, pages, access)
    }

    /// The same, whatever region it is.
    #[inline(never)]
    fn protect_any(
        &mut self,
        place: usize,
        at: VirtAddr,
        pages: u64,
        access: Access,
    ) -> Result<(), Error> {
        let region = self.regions.get(place).ok_or(Error::NoRegion)?;
        let singly = access.is_empty() || region.shared && access.contains(Access::WRITE);
        let whole = region.pages == pages && !region.shadowed;
        let (superpages, shared) = (region.superpages, region.shared);
        if !whole {
            self.shade(place)?;
        }
        if superpages || shared && access.is_empty() {
            self.cut(place, at, pages, access)?;
        }
        if !whole {
            self.say(at, pages, Some(access));
        } else if let Some(region) = self.regions.get_mut(place) {
            region.access = access;
        }
        self.apply(singly, at, pages, access)
    }

    /// The same for single pages of any regions, sixteen of them with each call.
    ///
    /// # Errors
    /// As for [`AddressSpace::protect`]; the pages before the one that was refused are changed.
    pub fn protect_each(&mut self, pages: &[VirtAddr], access: Access) -> Result<(), Error> {
        /// Most operations that one call carries out.
        const BATCH: usize = 16;
        let plain = !access.is_empty() && !access.contains(Access::EXECUTE);
        for chunk in pages.chunks(BATCH) {
            let mut operations = [exopi_rt::Operation::default(); BATCH];
            let mut count = 0;
            for at in chunk {
                let (place, region) = self.regions.covering(*at, 1)?;
                if !plain || region.shared || region.superpages {
                    self.protect(*at, 1, access)?;
                    continue;
                }
                self.shade(place)?;
                self.say(*at, 1, Some(access));
                if let Some(free) = operations.get_mut(count) {
                    *free = machine::protect(*at, 1, access);
                    count += 1;
                }
            }
            self.apply_each(operations.get_mut(..count).unwrap_or(&mut []), access)?;
        }
        Ok(())
    }

    /// Carries out operations that protect a page each. One that is refused, since there is no page, is seen to
    /// by itself.
    fn apply_each(
        &mut self,
        mut operations: &mut [exopi_rt::Operation],
        access: Access,
    ) -> Result<(), Error> {
        while !operations.is_empty() {
            let progress = self.machine.pte_batch(operations);
            let done = usize::try_from(progress.done).unwrap_or(usize::MAX);
            if machine::refusal(progress, operations).is_some() {
                // The refused one is the last that was carried out.
                let last = operations.get(done.wrapping_sub(1));
                let at = last.and_then(|operation| VirtAddr::new(operation.arguments[0]));
                self.apply_one(at.ok_or(Error::BadRange)?, access)?;
            }
            operations = operations.get_mut(done.max(1)..).unwrap_or(&mut []);
        }
        Ok(())
    }

    /// Cuts superpages that the range has a part of only or that cannot have the access as a whole; copies
    /// pages that are to be hidden and are not the region's alone.
    fn cut(&mut self, place: usize, at: VirtAddr, pages: u64, access: Access) -> Result<(), Error> {
        let fits = !access.is_empty() && !access.contains(Access::EXECUTE);
        let mut page = 0;
        while page < pages {
            let here = page_at(at, page)?;
            let rest = to_next(here, TableLevel::Three);
            page += match self.machine.entry(here) {
                Entry::NoTable(level) => to_next(here, level),
                Entry::Mapped(Mapping {
                    superpage: true, ..
                }) if fits && rest == 512 && pages - page >= 512 => rest,
                Entry::Mapped(Mapping {
                    superpage: true, ..
                }) => {
                    self.split(here)?;
                    0
                }
                Entry::Mapped(mapping) if access.is_empty() && !self.is_sole(mapping) => {
                    self.copy_page(place, here, mapping)?;
                    1
                }
                Entry::Mapped(_) | Entry::Note(_) => 1,
            };
        }
        Ok(())
    }

    /// Makes the entries fit what was said; `singly` where pages may differ in what that is.
    #[inline(always)]
    fn apply(
        &mut self,
        singly: bool,
        at: VirtAddr,
        pages: u64,
        access: Access,
    ) -> Result<(), Error> {
        let mut done = 0;
        if !singly {
            // The usual case, in one call.
            let progress = self.machine.protect_pte(at, pages, access);
            done = progress.done;
            if done == pages {
                return Ok(());
            }
        }
        self.apply_rest(singly, at, (done, pages), access)
    }

    /// The same from the page at which the first call has stopped.
    #[inline(never)]
    fn apply_rest(
        &mut self,
        singly: bool,
        at: VirtAddr,
        (mut done, pages): (u64, u64),
        access: Access,
    ) -> Result<(), Error> {
        while done < pages {
            if !singly {
                let here = page_at(at, done)?;
                let progress = self.machine.protect_pte(here, pages - done, access);
                done += progress.done;
                if progress.stopped.is_none() {
                    continue;
                }
            }
            done += self.apply_one(page_at(at, done)?, access)?;
        }
        Ok(())
    }

    /// The same for the page at `at`, whatever is there. Returns how many pages were seen to.
    fn apply_one(&mut self, at: VirtAddr, access: Access) -> Result<u64, Error> {
        match self.machine.entry(at) {
            Entry::NoTable(level) => return Ok(to_next(at, level)),
            Entry::Mapped(Mapping {
                superpage: true, ..
            }) => return Err(Error::Unsuitable),
            Entry::Note(note) => {
                if let Some(page) = hidden(note).filter(|_| !access.is_empty()) {
                    self.show(at, page, access)?;
                }
            }
            Entry::Mapped(_) if access.is_empty() => self.hide(at)?,
            Entry::Mapped(mapping) => self.grant(at, mapping, access)?,
        }
        Ok(1)
    }

    /// Makes a page usable for as much of `access` as it may have without being copied.
    fn grant(&mut self, at: VirtAddr, mapping: Mapping, access: Access) -> Result<(), Error> {
        let own = self.own_record(mapping.page).is_some();
        let mut wanted = access;
        if access.contains(Access::WRITE) && !self.is_sole(mapping) {
            wanted.remove(Access::WRITE);
        }
        if own && !mapping.bound.contains(wanted) {
            return self.bind_again(at, mapping, wanted);
        }
        // What somebody else has granted is used as far as it goes; the rest is copied when it is wanted.
        let within = wanted & mapping.bound;
        self.restrict(at, within | Access::READ)
    }

    /// Maps a page of the space's own anew, with another bound.
    pub(crate) fn bind_again(
        &mut self,
        at: VirtAddr,
        mapping: Mapping,
        access: Access,
    ) -> Result<(), Error> {
        self.batch([
            machine::remove(at, 1),
            machine::insert(at, PageSource::owned(mapping.page), 1, access),
        ])
    }

    /// Hides the page at `at`, the only mapping of a page of the space's own.
    pub(crate) fn hide(&mut self, at: VirtAddr) -> Result<(), Error> {
        match self.machine.entry(at) {
            Entry::Mapped(mapping) if self.is_sole(mapping) => self.batch([
                machine::remove(at, 1),
                machine::note(at, hiding(mapping.page)?),
            ]),
            _ => Err(Error::Unsuitable),
        }
    }

    /// Maps a hidden page again.
    fn show(&mut self, at: VirtAddr, page: PageNumber, access: Access) -> Result<(), Error> {
        let bound = access | Access::WRITE;
        let source = PageSource::owned(page);
        self.machine
            .insert_pte(Object::Own, at, source, 1, bound)
            .unless_stopped()?;
        if access == bound {
            return Ok(());
        }
        self.restrict(at, access)
    }

    /// Removes `count` mappings from `at` on, all of which are there.
    pub(crate) fn unmap_run(&mut self, at: VirtAddr, count: u64) -> Result<(), Error> {
        let mut done = 0;
        while done < count {
            let here = page_at(at, done)?;
            let progress = self.machine.remove_pte(here, count - done);
            done += progress.done;
            match progress.stopped {
                Some(error) => return Err(error.into()),
                None if progress.done == 0 => return Err(Refusal::BadCount.into()),
                None => {}
            }
        }
        Ok(())
    }
}
