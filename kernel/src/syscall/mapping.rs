//! Calls on tables and mappings. The space is resolved already: a batch does that once for all of its
//! operations.

use exopi_abi::{
    Access, Error, Note, PageNumber, PageRun, PageSource, Progress, TableLevel, VirtAddr,
};
use exopi_domains::{Subject, Target};

use super::presented::{with_run, with_source};
use crate::arch::tables::Processor;
use crate::kernel::lock;

pub(super) fn table_insert(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    level: TableLevel,
    table: PageNumber,
    links: PageNumber,
) -> Result<(), Error> {
    lock().table_insert(&mut Processor, by, space, at, level, table, links)
}

pub(super) fn table_remove(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    level: TableLevel,
) -> Result<PageNumber, Error> {
    lock().table_remove(&mut Processor, by, space, at, level)
}

#[inline(always)]
pub(super) fn insert_pte(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    source: PageSource<'_>,
    count: u64,
    access: Access,
) -> Progress {
    with_source(
        by,
        source,
        #[inline(always)]
        |source| lock().insert_pte(&mut Processor, by, space, at, source, count, access),
    )
}

pub(super) fn insert_superpage(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    pages: PageRun<'_>,
    count: u64,
    access: Access,
) -> Progress {
    with_run(by, pages, |first, right| {
        lock().insert_superpage(&mut Processor, by, space, at, first, right, count, access)
    })
}

#[inline(always)]
pub(super) fn remove_pte(by: &Subject, space: Target<'_>, at: VirtAddr, count: u64) -> Progress {
    lock().remove_pte(&mut Processor, by, space, at, count)
}

#[inline(always)]
pub(super) fn protect_pte(
    by: &Subject,
    space: Target<'_>,
    at: VirtAddr,
    count: u64,
    access: Access,
) -> Progress {
    lock().protect_pte(&mut Processor, by, space, at, count, access)
}

pub(super) fn note(by: &Subject, space: Target<'_>, at: VirtAddr, note: Note) -> Result<(), Error> {
    lock().pte_note(&mut Processor, by, space, at, note)
}
