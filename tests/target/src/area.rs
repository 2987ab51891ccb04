//! Pages and tables for one case, all with known numbers, and given back after it.
//!
//! ```text
//!   AREA  a GiB with a level-2 table of its own
//!     +0       2 MiB with a level-3 table: pages are mapped here
//!     +2 MiB   free for the case
//! ```

use alloc::format;
use alloc::vec::Vec;

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::{FrameType, Owner, PageRecord};
use exopi_rt::{
    Access, Error, Object, PageNumber, PageRun, PageSelect, PageSource, Progress, TableLevel,
    VirtAddr, exposed, memory, stubs,
};

use crate::harness::{Failure, Outcome};

/// Where the area begins.
pub(crate) const AREA: u64 = 0x30_0000_0000;
/// Readable and writable.
pub(crate) const RW: Access = Access::READ.union(Access::WRITE);

/// The page of address space at an address that is known to be good.
pub(crate) fn place(address: u64) -> Result<VirtAddr, Failure> {
    VirtAddr::new(address).ok_or_else(|| Failure::new(format!("{address:#x} cannot be mapped")))
}

/// The record of a page, which must be there.
pub(crate) fn record(page: PageNumber) -> Result<PageRecord, Failure> {
    exposed::page(page).ok_or_else(|| Failure::new(format!("no record of {page:?}")))
}

/// Whom this program's pages are charged to.
pub(crate) fn owner() -> Result<Owner, Failure> {
    let page = memory::take_page()?;
    let owner = record(page)?.owner;
    memory::give_page(page)?;
    Ok(owner)
}

/// All pages, with their records.
pub(crate) fn all_pages() -> impl Iterator<Item = (PageNumber, PageRecord)> {
    let count = u32::try_from(exposed::page_count()).unwrap_or(u32::MAX);
    (0..count)
        .map(PageNumber::new)
        .filter_map(|page| Some((page, exposed::page(page)?)))
}

/// The first of `count` free pages in a row; the highest such, which nobody else comes near.
pub(crate) fn free_run(count: u64) -> Result<PageNumber, Failure> {
    let mut length = 0;
    for number in (0..exposed::page_count() as u32).rev().map(PageNumber::new) {
        match exposed::page(number) {
            Some(record) if record.kind == FrameType::Free => length += 1,
            _ => length = 0,
        }
        if length == count {
            return Ok(number);
        }
    }
    Err(Failure::new(format!("no {count} free pages in a row")))
}

/// Takes `count` pages in a row, however many calls that needs.
pub(crate) fn take_run(count: u64) -> Result<PageNumber, Failure> {
    let first = free_run(count)?;
    let mut done = 0;
    while done < count {
        let next = first.plus(done).ok_or(Error::OutOfRange)?;
        let allocation = stubs::page_alloc(PageSelect::Exact(next), (count - done).min(16));
        done += allocation.progress.unless_stopped()?;
    }
    Ok(first)
}

/// Gives `count` pages in a row back.
pub(crate) fn give_run(first: PageNumber, count: u64) -> Outcome {
    let mut done = 0;
    while done < count {
        let next = first.plus(done).ok_or(Error::OutOfRange)?;
        done += stubs::page_free(PageRun::Owned(next), (count - done).min(64)).unless_stopped()?;
    }
    Ok(())
}

/// Gives back the `count` pages that one call has taken, of which the first is `first`: what has its stamp.
pub(crate) fn give_stamped(first: PageNumber, count: u64) -> Outcome {
    let stamp = record(first)?.stamp;
    let mut given = 0;
    for (page, _) in all_pages().filter(|(_, record)| record.stamp == stamp) {
        memory::give_page(page)?;
        given += 1;
    }
    check_eq!(given, count, "pages of one stamp");
    Ok(())
}

/// Maps pages. Nothing else of the program uses the addresses that cases map at.
pub(crate) fn insert(at: VirtAddr, page: PageNumber, count: u64, access: Access) -> Progress {
    // SAFETY: the kernel maps over nothing.
    unsafe { stubs::insert_pte(Object::Own, at, PageSource::owned(page), count, access) }
}

/// Removes mappings that a case has made.
pub(crate) fn remove(at: VirtAddr, count: u64) -> Progress {
    // SAFETY: cases pass addresses that they have mapped, or that the kernel must refuse.
    unsafe { stubs::remove_pte(Object::Own, at, count) }
}

/// Inserts a table.
pub(crate) fn insert_table(
    at: VirtAddr,
    level: TableLevel,
    table: PageNumber,
    links: PageNumber,
) -> Result<(), Error> {
    // SAFETY: a table page is mapped nowhere, so no memory changes.
    unsafe { stubs::table_insert(Object::Own, at, level, table, links) }
}

/// Removes a table, which the kernel does only if it is empty.
pub(crate) fn remove_table(at: VirtAddr, level: TableLevel) -> Result<PageNumber, Error> {
    // SAFETY: an empty table maps nothing, so no memory changes.
    unsafe { stubs::table_remove(Object::Own, at, level) }
}

/// The area, with its tables and what is mapped in it.
#[derive(Debug)]
pub(crate) struct Area {
    /// Its level-2 table.
    pub(crate) level2: PageNumber,
    /// The links of that.
    pub(crate) links2: PageNumber,
    /// The level-3 table of its first 2 MiB.
    pub(crate) level3: PageNumber,
    /// The links of that.
    pub(crate) links: PageNumber,
    /// What is mapped where, to be given back.
    mapped: Vec<(VirtAddr, PageNumber)>,
}

impl Area {
    /// Puts the tables in place.
    pub(crate) fn new() -> Result<Self, Failure> {
        let at = place(AREA)?;
        let [level2, links2, level3, links] = [
            memory::take_page()?,
            memory::take_page()?,
            memory::take_page()?,
            memory::take_page()?,
        ];
        insert_table(at, TableLevel::Two, level2, links2)?;
        insert_table(at, TableLevel::Three, level3, links)?;
        Ok(Self {
            level2,
            links2,
            level3,
            links,
            mapped: Vec::new(),
        })
    }

    /// Address of page `index` of the area.
    pub(crate) const fn address(index: u64) -> u64 {
        AREA + index * PAGE_SIZE
    }

    /// Takes a page and maps it as page `index`.
    pub(crate) fn map(&mut self, index: u64, access: Access) -> Result<PageNumber, Failure> {
        let page = memory::take_page()?;
        self.map_page(index, page, access)?;
        Ok(page)
    }

    /// Maps `page`, which becomes the area's, as page `index`.
    pub(crate) fn map_page(&mut self, index: u64, page: PageNumber, access: Access) -> Outcome {
        let at = place(Self::address(index))?;
        insert(at, page, 1, access).unless_stopped()?;
        self.mapped.push((at, page));
        Ok(())
    }

    /// Page `index` is mapped no more, and becomes the case's to give back.
    pub(crate) fn forget(&mut self, index: u64) -> Result<PageNumber, Failure> {
        let at = place(Self::address(index))?;
        let position = self.mapped.iter().position(|(mapped, _)| *mapped == at);
        let position = position.ok_or_else(|| Failure::new("forgetting what is not mapped"))?;
        Ok(self.mapped.swap_remove(position).1)
    }

    /// Removes the mapping of page `index`, which is the case's to give back then.
    pub(crate) fn unmap(&mut self, index: u64) -> Result<PageNumber, Failure> {
        let at = place(Self::address(index))?;
        let position = self.mapped.iter().position(|(mapped, _)| *mapped == at);
        let position = position.ok_or_else(|| Failure::new("unmapping what is not mapped"))?;
        remove(at, 1).unless_stopped()?;
        Ok(self.mapped.swap_remove(position).1)
    }

    /// Gives everything back, and says whether that went well.
    pub(crate) fn close(mut self) -> Outcome {
        self.clear()
    }

    fn clear(&mut self) -> Outcome {
        for (at, page) in core::mem::take(&mut self.mapped) {
            remove(at, 1).unless_stopped()?;
            if record(page)?.references == 0 {
                memory::give_page(page)?;
            }
        }
        let at = place(AREA)?;
        if record(self.level3)?.kind == FrameType::Table3 {
            remove_table(at, TableLevel::Three)?;
            remove_table(at, TableLevel::Two)?;
            for page in [self.level2, self.links2, self.level3, self.links] {
                memory::give_page(page)?;
            }
        }
        Ok(())
    }
}

/// For cases that end early: they have failed, and the next one is to find the place empty.
impl Drop for Area {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}
