//! Address spaces: tables and mappings of one's own space and of others.
//!
//! What [`memory`] does for a program's own space in short words is here for any. Calls over
//! ranges stop at a bound; what is here asks again for the rest, so that a [`Progress`] without an error
//! has done everything.

use crate::capability::SpaceRights;
use crate::domain::{ObjectName, SpaceRecord};
use crate::handle::{Owns, Space};
use crate::layout::PAGE_SIZE;
use crate::page::{FrameType, PageRecord};
use crate::pages::{self, over};
use crate::{
    Access, Error, Note, OnRefusal, Operation, PageNumber, PageRun, PageSelect, PageSource,
    Progress, TableLevel, VirtAddr, environment, exposed, memory, stubs, tables, wait,
};

impl Owns for SpaceRights {
    fn own() -> Option<ObjectName> {
        let index = environment::own_record()?.space;
        let record = exposed::space_at(index)?;
        let epoch = crate::capability::Epoch::from_low_bits(record.epoch);
        Some(ObjectName { index, epoch })
    }
}

impl Space<'static> {
    /// Makes a space with nothing in it, of which `root`, a page that nothing refers to, becomes the root.
    ///
    /// # Errors
    /// Those of `space_create`.
    pub fn create(root: PageNumber) -> Result<Self, Error> {
        stubs::space_create(root).map(Self::Owned)
    }
}

impl Space<'_> {
    /// Its record, if it is there still.
    pub fn record(self) -> Option<SpaceRecord> {
        exposed::space(self.name()?)
    }

    /// Puts the tables in place that a mapping at `at` needs. Those that are there stay.
    ///
    /// # Errors
    /// Those of `page_alloc` and `table_insert`.
    pub fn supply_tables(self, at: VirtAddr) -> Result<(), Error> {
        match self.supply_table(at, TableLevel::Three) {
            Err(Error::NoTable) => {
                self.supply_table(at, TableLevel::Two)?;
                self.supply_table(at, TableLevel::Three)
            }
            outcome => outcome,
        }
    }

    /// Supplies one table; that it is there already is fine.
    fn supply_table(self, at: VirtAddr, level: TableLevel) -> Result<(), Error> {
        let inserted = memory::with_page(|table| {
            memory::with_page(|links| self.insert_table(at, level, table, links))
        });
        match inserted {
            Err(Error::Occupied) => Ok(()),
            outcome => outcome,
        }
    }

    /// Makes `table` the table of `level` that covers `at`, and `links` the page that goes with it.
    ///
    /// # Errors
    /// Those of `table_insert`.
    #[expect(unsafe_code, reason = "a table takes a page away from the program")]
    pub fn insert_table(
        self,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<(), Error> {
        // SAFETY: a page becomes a table only while nothing refers to it, so no memory changes that the
        // program could have in use.
        unsafe { stubs::table_insert(self.object(), at, level, table, links) }
    }

    /// Takes an empty table out; gives its page, which is plain again, as is that of its links.
    ///
    /// # Errors
    /// Those of `table_remove`.
    #[expect(unsafe_code, reason = "notes in the table are gone, no memory is")]
    pub fn remove_table(self, at: VirtAddr, level: TableLevel) -> Result<PageNumber, Error> {
        // SAFETY: an empty table maps nothing.
        unsafe { stubs::table_remove(self.object(), at, level) }
    }

    /// Maps `count` pages from `source` on at `at` and behind it, where nothing is mapped. The tables
    /// must be there.
    #[expect(unsafe_code, reason = "memory appears")]
    pub fn insert(
        self,
        at: VirtAddr,
        source: PageSource<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        over(count, |done, left| {
            match (at.plus(done), later(source, done)) {
                // SAFETY: nothing is mapped over an existing mapping, so nothing in use changes.
                (Some(at), Some(source)) => unsafe {
                    stubs::insert_pte(self.object(), at, source, left, access)
                },
                (None, _) => Progress::refused(Error::BadAddress),
                (_, None) => Progress::refused(Error::OutOfRange),
            }
        })
    }

    /// The same, with the tables that are missing supplied.
    pub fn map(self, at: VirtAddr, source: PageSource<'_>, count: u64, access: Access) -> Progress {
        let mut supplied = None;
        over(count, |done, left| {
            let Some(next) = at.plus(done) else {
                return Progress::refused(Error::BadAddress);
            };
            let Some(source) = later(source, done) else {
                return Progress::refused(Error::OutOfRange);
            };
            match self.insert(next, source, left, access) {
                Progress {
                    done: some,
                    stopped: Some(Error::NoTable),
                } => {
                    let Some(place) = next.plus(some).filter(|place| supplied != Some(*place))
                    else {
                        return Progress::refused(Error::NoTable);
                    };
                    supplied = Some(place);
                    Progress {
                        done: some,
                        stopped: self.supply_tables(place).err(),
                    }
                }
                progress => progress,
            }
        })
    }

    /// Maps `count` superpages of pages that there are.
    #[expect(unsafe_code, reason = "memory appears")]
    pub fn insert_superpages(
        self,
        at: VirtAddr,
        pages: PageRun<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        const PAGES: u64 = crate::page::SUPERPAGE_PAGES;
        over(count, |done, left| {
            match (
                at.plus(done * PAGES),
                later(PageSource::Run(pages), done * PAGES),
            ) {
                (Some(at), Some(PageSource::Run(pages))) => {
                    // SAFETY: nothing is mapped over an existing mapping, so nothing in use changes.
                    unsafe { stubs::insert_superpage(self.object(), at, pages, left, access) }
                }
                (None, _) => Progress::refused(Error::BadAddress),
                _ => Progress::refused(Error::OutOfRange),
            }
        })
    }

    /// Removes the mappings of `count` pages of address space from `at` on.
    ///
    /// # Safety
    /// No reference or pointer in use, and no code that will run, may depend on what is there.
    #[expect(unsafe_code, reason = "memory disappears")]
    pub unsafe fn remove(self, at: VirtAddr, count: u64) -> Progress {
        over(count, |done, left| match at.plus(done) {
            // SAFETY: passed on to the caller.
            Some(at) => unsafe { stubs::remove_pte(self.object(), at, left) },
            None => Progress::refused(Error::BadAddress),
        })
    }

    /// Changes what `count` pages of address space from `at` on may be used for, within what they were bound with.
    ///
    /// # Safety
    /// Nothing that the program does later may need what is taken away, unless it handles the fault.
    #[expect(unsafe_code, reason = "memory becomes less than it was")]
    pub unsafe fn protect(self, at: VirtAddr, count: u64, access: Access) -> Progress {
        over(count, |done, left| match at.plus(done) {
            // SAFETY: passed on to the caller.
            Some(at) => unsafe { stubs::protect_pte(self.object(), at, left, access) },
            None => Progress::refused(Error::BadAddress),
        })
    }

    /// Notes something where nothing is mapped: see [`tables::note_of`].
    ///
    /// # Errors
    /// Those of `pte_note`.
    pub fn note(self, at: VirtAddr, note: Note) -> Result<(), Error> {
        stubs::pte_note(self.object(), at, note)
    }

    /// Carries operations out, as far as one call goes. Each one's result is in it afterwards.
    ///
    /// # Safety
    /// As for each of the operations.
    #[expect(unsafe_code, reason = "memory changes")]
    pub unsafe fn batch(self, operations: &mut [Operation], on_refusal: OnRefusal) -> Progress {
        // SAFETY: passed on to the caller.
        unsafe { stubs::pte_batch(self.object(), operations.into(), on_refusal) }
    }

    /// Destroys a space in which no environment is, however many calls that takes. What was in it are
    /// plain pages of its account again.
    ///
    /// # Errors
    /// Those of `space_destroy`.
    pub fn destroy(self) -> Result<(), Error> {
        wait::until_gone(|| stubs::space_destroy(self.object()))
    }

    /// Waits until it is gone, giving the core to others meanwhile. With its last environment a space begins to
    /// go, and what is left of it the kernel takes apart in idle time; here that is done at once, if the
    /// caller may.
    pub fn wait(self) {
        while let Some(record) = self.record() {
            if record.dying == 0 || self.destroy().is_err() {
                wait::yield_core();
                crate::time::relax();
            }
        }
    }

    /// Maps here, at the same addresses, what is mapped in the caller's own space from `start` up to below `end`:
    /// pages that cannot be written are shared, the others are copied, one at a time through the page of the caller's
    /// own address space at `scratch`, where nothing is. Tables are supplied.
    ///
    /// All must be plain pages of the account that the caller draws on, as the copies are.
    ///
    /// # Errors
    /// Those of `page_alloc`, `insert_pte` and, for the tables, of `table_insert`. What was done stays.
    pub fn copy_own(self, start: u64, end: u64, scratch: VirtAddr) -> Result<(), Error> {
        for (at, mapping) in tables::mappings(start, end) {
            let page = if mapping.bound.contains(Access::WRITE) {
                copy_page(at, scratch)?
            } else {
                mapping.page
            };
            let source = PageSource::owned(page);
            self.map(at, source, 1, mapping.access).unless_stopped()?;
        }
        Ok(())
    }
}

/// A page with the contents of the one that is mapped at `from`, which goes through `scratch`.
#[expect(unsafe_code, reason = "raw memory is copied, and a mapping removed")]
fn copy_page(from: VirtAddr, scratch: VirtAddr) -> Result<PageNumber, Error> {
    let to = memory::map_new(scratch, Access::READ | Access::WRITE)?;
    // SAFETY: both are mapped; the one that is written is new and nobody else's. What the program writes to
    // the other meanwhile is in the copy or not; no reference is made to either.
    unsafe {
        core::ptr::copy_nonoverlapping(
            from.get() as *const u8,
            scratch.get() as *mut u8,
            PAGE_SIZE as usize,
        );
    }
    // SAFETY: it was mapped here, and only this function knows of it.
    unsafe { memory::unmap(scratch) }?;
    Ok(to)
}

/// What comes `count` pages after a source's first one.
fn later(source: PageSource<'_>, count: u64) -> Option<PageSource<'_>> {
    Some(match source {
        PageSource::Run(PageRun::Owned(page)) => PageSource::owned(page.plus(count)?),
        PageSource::Run(PageRun::Presented(page, capability)) => {
            PageSource::Run(PageRun::Presented(page.plus(count)?, capability))
        }
        PageSource::New(PageSelect::Exact(page)) => {
            PageSource::New(PageSelect::Exact(page.plus(count)?))
        }
        PageSource::New(select) => PageSource::New(select),
    })
}

/// The root above a table, by the records: links name the entry of the table above.
fn root_above(table: PageNumber) -> Option<PageNumber> {
    let mut table = table;
    // A root, and two levels below it.
    for _ in 0..3 {
        let record = exposed::page(table)?;
        match record.kind {
            FrameType::Root => return Some(table),
            FrameType::Table2 | FrameType::Table3 => {
                let links = exposed::page(PageNumber::new(record.second))?;
                table = PageNumber::new(links.second >> 9);
            }
            _ => return None,
        }
    }
    None
}

/// The frame of the root to which a page belongs and no other: as a table of it, or mapped there and
/// nowhere else.
fn only_root(page: PageNumber, record: &PageRecord) -> Option<PageNumber> {
    match record.kind {
        FrameType::Root | FrameType::Table2 | FrameType::Table3 => root_above(page),
        FrameType::Links => root_above(PageNumber::new(record.first)),
        FrameType::Plain | FrameType::UArea if record.references == 1 => {
            // A superpage's reference is counted on its first page, which has no slot of its own then.
            let slot = if record.first == crate::page::NONE {
                record.second
            } else {
                record.first
            };
            root_above(PageNumber::new(slot >> 9))
        }
        _ => None,
    }
}

/// All pages that belong to the space with this root alone, by the records: its tables and links, the root, and what
/// is mapped there and nowhere else. What else runs must not change that space meanwhile.
///
/// Of a superpage it is the first page only.
pub fn pages_of(root: PageNumber) -> impl Iterator<Item = PageNumber> {
    exposed::pages()
        .filter(move |(page, record)| only_root(*page, record) == Some(root))
        .map(|(page, _)| page)
}

/// Takes a page for a root and makes a space of it.
///
/// # Errors
/// Those of `page_alloc` and `space_create`; the page is given back then.
pub fn create() -> Result<Space<'static>, Error> {
    let root = pages::take(PageSelect::Any)?;
    Space::create(root).inspect_err(|_| {
        // Nothing refers to it: it is not refused.
        let _freed = memory::give_page(root);
    })
}
