//! An address space: regions, and their pages from the first touch on.
//!
//! ```text
//!   Regions   who answers for which addresses                  (in memory that is given at the beginning)
//!   Tables    four pages at hand for page tables
//!   Supply    which frames
//!   Machine   the calls; page tables and page array say what is where
//! ```
//!
//! Of every page that it has mapped in a region the space knows by the page tables alone. A page goes back
//! when the last entry that names it goes, so regions, and other spaces of the account, may share pages as
//! they like and none is lost.

use exopi_rt::page::{ALLOC_BOUND, Owner, PageRecord};
use exopi_rt::{
    Access, Error as Refusal, Object, Operation, PageNumber, PageSelect, PageSource, Progress,
    TableLevel, VirtAddr,
};

use crate::colours::Colours;
use crate::error::Error;
use crate::machine::{self, Machine};
use crate::region::{Options, Place, Region, RegionInfo, page_at};
use crate::regions::{Regions, Slot};
use crate::revoke::Policy;
use crate::supply::{Choice, Supply};
use crate::tables::Tables;
use exopi_rt::tables::{Entry, Mapping};

/// Which parts of the address space are the library's to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where [`Place::Any`] begins to look for room: a multiple of 2 MiB.
    pub arena: u64,
    /// And where it stops.
    pub arena_end: u64,
    /// Two pages of address space in which pages are filled before they are mapped where they belong. Nothing
    /// else uses the 2 MiB that they are in, so that their tables stay.
    pub scratch: VirtAddr,
    /// A byte for each page of user space, of which only the parts that are used are mapped:
    /// [`Layout::SHADOW_BYTES`].
    pub shadow: u64,
}

impl Layout {
    /// Bytes from [`Layout::shadow`] on that must be left to the library.
    pub const SHADOW_BYTES: u64 = exopi_rt::layout::USER_END / exopi_rt::layout::PAGE_SIZE;

    /// Address of the byte of a page.
    #[inline(always)]
    pub(crate) const fn shadow_of(&self, at: VirtAddr) -> u64 {
        self.shadow + at.get() / exopi_rt::layout::PAGE_SIZE
    }
}

/// An address space of regions.
pub struct AddressSpace<M: Machine> {
    pub(crate) machine: M,
    pub(crate) regions: Regions<M>,
    pub(crate) tables: Tables,
    pub(crate) layout: Layout,
    pub(crate) supply: Option<&'static mut dyn Supply>,
    pub(crate) policy: Option<&'static mut dyn Policy<M>>,
    /// Whose the pages are that the space takes.
    pub(crate) owner: Owner,
    /// Where the last search for a superpage ended.
    pub(crate) superpage_cursor: u32,
}

impl<M: Machine> core::fmt::Debug for AddressSpace<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let infos = self.regions.iter().map(Region::info);
        f.debug_list().entries(infos).finish()
    }
}

impl<M: Machine> AddressSpace<M> {
    /// An address space without regions, whose table of regions is in `slots`.
    ///
    /// # Errors
    /// There are no pages for the reserve of tables and the tables of the scratch pages.
    pub fn new(machine: M, slots: &'static mut [Slot<M>], layout: Layout) -> Result<Self, Error> {
        let mut space = Self {
            machine,
            regions: Regions::new(slots),
            tables: Tables::new(),
            layout,
            supply: None,
            policy: None,
            owner: Owner::NOBODY,
            superpage_cursor: 0,
        };
        let first = space.machine.page_alloc(PageSelect::Any, 1);
        first.progress.unless_stopped()?;
        let record = space.machine.record(first.first);
        space.owner = record.map_or(Owner::NOBODY, |record| record.owner);
        space.tables.put(&mut space.machine, first.first);
        let scratch = layout.scratch;
        space.supply_tables(scratch, TableLevel::Three)?;
        space.tables.refill(&mut space.machine)?;
        Ok(space)
    }

    /// From now on frames are chosen by `supply`; returns who chose them before. What that one keeps stays
    /// in its keeping.
    pub fn set_supply(
        &mut self,
        supply: Option<&'static mut dyn Supply>,
    ) -> Option<&'static mut dyn Supply> {
        core::mem::replace(&mut self.supply, supply)
    }

    /// The region that `address` is in, guard pages included.
    pub fn region(&mut self, address: u64) -> Option<RegionInfo> {
        let place = self.regions.find(address)?;
        self.regions.get(place).map(Region::info)
    }

    /// All regions, in the order of their addresses.
    pub fn regions(&self) -> impl Iterator<Item = RegionInfo> {
        self.regions.iter().map(Region::info)
    }

    /// Makes a region of `pages` pages, in which nothing is mapped before it is touched. Returns its first
    /// page, by which it is named from now on.
    ///
    /// # Errors
    /// [`Error::BadRange`], [`Error::Overlap`], [`Error::NoRoom`], [`Error::TooManyRegions`].
    pub fn reserve(
        &mut self,
        place: Place,
        pages: u64,
        options: Options<M>,
    ) -> Result<VirtAddr, Error> {
        let start = match place {
            Place::At(start) => start,
            Place::Any => self.gap(pages, &options)?,
        };
        self.regions.insert(Region::new(start, pages, options)?)?;
        Ok(start)
    }

    /// Where a region of this size has room.
    fn gap(&self, pages: u64, options: &Options<M>) -> Result<VirtAddr, Error> {
        let guards = crate::region::bytes(options.guards)?;
        let inside = crate::region::bytes(pages)?;
        let size = inside.checked_add(guards).ok_or(Error::BadRange)?;
        let span = TableLevel::Three.span();
        let align = if options.superpages && inside >= span {
            span
        } else {
            exopi_rt::layout::PAGE_SIZE
        };
        let (from, to) = (self.layout.arena, self.layout.arena_end);
        let start = self.regions.gap(from, to, (guards, size), align);
        start.and_then(VirtAddr::new).ok_or(Error::NoRoom)
    }

    /// Maps pages now that would come at their first touch. Stops at the first page that is not to be had;
    /// those before it stay.
    ///
    /// # Errors
    /// [`Error::NoRegion`] unless one region covers all of them; no page.
    pub fn populate(&mut self, at: VirtAddr, pages: u64) -> Result<(), Error> {
        let (place, region) = self.regions.covering(at, pages)?;
        let plain = !region.shadowed && !region.superpages && region.colours == Colours::ALL;
        let plain = plain && self.supply.is_none() && self.machine.is_alone();
        let mut done = 0;
        while done < pages {
            let here = page_at(at, done)?;
            done += if plain {
                self.populate_run(place, here, pages - done)?
            } else {
                if is_absent(self.machine.entry(here)) {
                    self.zero_fill(place, here)?;
                }
                1
            };
        }
        Ok(())
    }

    /// Maps as many of `pages` pages from `at` on as one call does, where there is nothing special about
    /// them. Returns how many need no more.
    fn populate_run(&mut self, place: usize, at: VirtAddr, pages: u64) -> Result<u64, Error> {
        let pages = self.absent_from(at, pages.min(ALLOC_BOUND))?;
        if pages == 0 {
            return Ok(1);
        }
        let region = self.regions.get(place).ok_or(Error::NoRegion)?;
        let (access, zeroed) = (region.access, region.zeroed);
        let bound = access | Access::READ | Access::WRITE;
        let source = PageSource::New(PageSelect::Any);
        let progress = self
            .machine
            .insert_pte(Object::Own, at, source, pages, bound);
        for page in 0..progress.done {
            let at = page_at(at, page)?;
            if zeroed {
                self.machine.zero_page(at);
            }
            if access != bound {
                self.restrict(at, access)?;
            }
        }
        match progress.stopped {
            None => Ok(progress.done),
            Some(Refusal::NoTable) => {
                let at = page_at(at, progress.done)?;
                self.supply_tables(at, TableLevel::Three)?;
                Ok(progress.done)
            }
            Some(Refusal::Occupied) => Ok(progress.done + 1),
            Some(error) => Err(error.into()),
        }
    }

    /// How many of `pages` pages from `at` on are absent, up to the first that is not: a mapping would overwrite
    /// the note by which one is hidden, or of which a pager knows.
    fn absent_from(&self, at: VirtAddr, pages: u64) -> Result<u64, Error> {
        let mut count = 0;
        while count < pages && is_absent(self.machine.entry(page_at(at, count)?)) {
            count += 1;
        }
        Ok(count)
    }

    /// Puts the tables in place for a mapping at `at`.
    pub(crate) fn supply_tables(&mut self, at: VirtAddr, level: TableLevel) -> Result<(), Error> {
        let supplied = self
            .tables
            .supply(&mut self.machine, Object::Own, at, level)
            .map_err(Error::from);
        match supplied {
            Err(error) if error.is_exhaustion() && self.make_room() => {
                Ok(self
                    .tables
                    .supply(&mut self.machine, Object::Own, at, level)?)
            }
            supplied => supplied,
        }
    }

    /// The page for `at` after so many refusals.
    fn choose(&mut self, place: usize, at: VirtAddr, refusals: u32) -> Option<Choice> {
        let region = self.regions.get(place)?;
        let colours = self.machine.colours();
        match &mut self.supply {
            None => region
                .colours
                .select(at, colours, refusals)
                .map(Choice::New),
            Some(supply) => supply.choose(at, region.colours, colours, refusals),
        }
    }

    /// Maps a page for the page `belongs` of the region in `place`, at `at`, where nothing is mapped. It
    /// may hold anything unless it says that it does not: returns whether it is to be zeroed.
    #[inline(always)]
    pub(crate) fn map_fresh(
        &mut self,
        place: usize,
        belongs: VirtAddr,
        at: VirtAddr,
        access: Access,
    ) -> Result<bool, Error> {
        let region = self.regions.get(place).ok_or(Error::NoRegion)?;
        if self.supply.is_none() && region.colours == Colours::ALL {
            let any = Choice::New(PageSelect::Any);
            let progress = self.insert(any, at, access);
            if progress.stopped.is_none() {
                return Ok(any.is_dirty());
            }
        }
        self.map_chosen(place, belongs, at, access)
    }

    /// The same, whatever it takes.
    #[inline(never)]
    fn map_chosen(
        &mut self,
        place: usize,
        belongs: VirtAddr,
        at: VirtAddr,
        access: Access,
    ) -> Result<bool, Error> {
        let mut refusals = 0;
        let mut refusal = Refusal::Exhausted;
        loop {
            let Some(choice) = self.choose(place, belongs, refusals) else {
                if !self.make_room() {
                    return Err(refusal.into());
                }
                refusals = 0;
                continue;
            };
            let mut progress = self.insert(choice, at, access);
            if progress.stopped == Some(Refusal::NoTable) {
                if let Err(error) = self.supply_tables(at, TableLevel::Three) {
                    self.not_used(choice);
                    return Err(error);
                }
                progress = self.insert(choice, at, access);
            }
            match progress.stopped {
                None => return Ok(choice.is_dirty()),
                Some(error @ (Refusal::Exhausted | Refusal::OverAllowance | Refusal::Taken)) => {
                    refusal = error;
                    refusals += 1;
                }
                Some(error) => {
                    self.not_used(choice);
                    return Err(error.into());
                }
            }
        }
    }

    /// Maps a chosen page.
    #[inline(always)]
    fn insert(&mut self, choice: Choice, at: VirtAddr, access: Access) -> Progress {
        let source = choice.source();
        self.machine.insert_pte(Object::Own, at, source, 1, access)
    }

    /// A chosen page that could not be mapped.
    fn not_used(&mut self, choice: Choice) {
        if let Choice::Owned { page, .. } = choice {
            self.give_back(page);
        }
    }

    /// Maps a page of zeros at `at`, a page of the region in `place` in which nothing is mapped.
    #[inline(always)]
    pub(crate) fn zero_fill(&mut self, place: usize, at: VirtAddr) -> Result<(), Error> {
        let region = self.regions.get(place).ok_or(Error::NoRegion)?;
        let (zeroed, superpages) = (region.zeroed, region.superpages);
        let access = self.allowed(place, at);
        if superpages && self.fill_superpage(place, at)? {
            return Ok(());
        }
        let bound = access | Access::READ | Access::WRITE;
        if zeroed && !self.machine.is_alone() {
            return self.fill_aside(place, at, |machine, scratch| {
                machine.zero_page(scratch);
                Ok(())
            });
        }
        if self.map_fresh(place, at, at, bound)? && zeroed {
            self.machine.zero_page(at);
        }
        if access == bound {
            return Ok(());
        }
        self.restrict(at, access)
    }

    /// Maps a page at `at`, a page of the region in `place`, after `fill` has seen to its contents at another
    /// address. Before that nobody sees it.
    pub(crate) fn fill_aside(
        &mut self,
        place: usize,
        at: VirtAddr,
        fill: impl FnOnce(&mut M, VirtAddr) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let scratch = self.layout.scratch;
        let access = self.allowed(place, at);
        let bound = access | Access::READ | Access::WRITE;
        self.map_fresh(place, at, scratch, Access::READ | Access::WRITE)?;
        let page = self.page_at_scratch(scratch)?;
        let moved = fill(&mut self.machine, scratch).and_then(|()| {
            self.supply_tables(at, TableLevel::Three)?;
            let operations = [
                machine::insert(at, PageSource::owned(page), 1, bound),
                machine::protect(at, 1, if access.is_empty() { bound } else { access }),
                machine::remove(scratch, 1),
            ];
            self.batch(operations)
        });
        if moved.is_err() {
            // The page was never seen: it goes back, and the place is as it was.
            self.clear_scratch()?;
        }
        moved?;
        if access.is_empty() {
            return self.hide(at);
        }
        Ok(())
    }

    /// Gives the page back that something has left at the scratch address.
    pub(crate) fn clear_scratch(&mut self) -> Result<(), Error> {
        let scratch = self.layout.scratch;
        let Some(mapping) = mapping(self.machine.entry(scratch)) else {
            return Ok(());
        };
        self.unmap_run(scratch, 1)?;
        if self.is_unused(mapping.page) {
            self.give_back(mapping.page);
        }
        Ok(())
    }

    /// Whether a page is the space's own and nothing refers to it.
    pub(crate) fn is_unused(&self, page: PageNumber) -> bool {
        self.own_record(page)
            .is_some_and(|record| record.references == 0)
    }

    /// Which page is mapped at a scratch address.
    pub(crate) fn page_at_scratch(&self, scratch: VirtAddr) -> Result<PageNumber, Error> {
        let mapping = mapping(self.machine.entry(scratch));
        mapping.map(|mapping| mapping.page).ok_or(Error::Unsuitable)
    }

    /// Narrows a page of the space's own that was just mapped to `access`.
    pub(crate) fn restrict(&mut self, at: VirtAddr, access: Access) -> Result<(), Error> {
        if access.is_empty() {
            return self.hide(at);
        }
        let progress = self.machine.protect_pte(at, 1, access);
        Ok(progress.unless_stopped().map(drop)?)
    }

    /// Carries out operations in one call; none of them may be refused.
    pub(crate) fn batch<const N: usize>(
        &mut self,
        mut operations: [Operation; N],
    ) -> Result<(), Error> {
        const { assert!(N <= 16, "more than a call carries out") };
        let progress = self.machine.pte_batch(&mut operations);
        match machine::refusal(progress, &operations) {
            None => Ok(()),
            Some(refusal) => Err(refusal.into()),
        }
    }

    /// What the kernel knows of a page, if it is one of the space's own.
    pub(crate) fn own_record(&self, page: PageNumber) -> Option<PageRecord> {
        let record = self.machine.record(page)?;
        (record.charged_to() == self.owner).then_some(record)
    }

    /// Whether a page is the space's own and this mapping is the only one.
    pub(crate) fn is_sole(&self, mapping: Mapping) -> bool {
        self.own_record(mapping.page)
            .is_some_and(|record| record.references == 1)
    }

    /// Gives a page back to which nothing refers: to the supply, or to the kernel.
    pub(crate) fn give_back(&mut self, page: PageNumber) {
        let refused = match &mut self.supply {
            None => Some(page),
            Some(supply) => supply.accept(page),
        };
        if let Some(page) = refused {
            self.free_run(page, 1);
        }
    }
}

/// Which page is mapped, if one is.
pub(crate) fn mapping(entry: Entry) -> Option<Mapping> {
    match entry {
        Entry::Mapped(mapping) => Some(mapping),
        Entry::NoTable(_) | Entry::Note(_) => None,
    }
}

/// Whether nothing is there, no page that was hidden either.
fn is_absent(entry: Entry) -> bool {
    match entry {
        Entry::NoTable(_) => true,
        Entry::Note(note) => note.get() == 0,
        Entry::Mapped(_) => false,
    }
}
