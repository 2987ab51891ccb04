//! Calls on address spaces: tables and mappings.

use exopi_abi::{Access, Error, PageNumber, PageSource, Progress, Space, TableLevel, VirtAddr};

use exopi_pages::Pages;

use crate::arch::tables::Processor;
use crate::kernel::{self, Kernel};

/// The state, and in it the space that a call is about.
///
/// # Errors
/// [`Error::NotYours`] if there is no such space.
#[inline(always)]
fn find(
    kernel: &mut Kernel,
    space: Space,
) -> Result<(&mut Pages<'static>, &exopi_pages::Space), Error> {
    let Space::Own = space;
    match &kernel.first {
        Some(caller) => Ok((&mut kernel.pages, &caller.space)),
        None => Err(Error::NotYours),
    }
}

pub(super) fn table_insert(
    space: Space,
    at: VirtAddr,
    level: TableLevel,
    table: PageNumber,
    links: Option<PageNumber>,
) -> Result<(), Error> {
    let mut kernel = kernel::lock();
    let (pages, space) = find(&mut kernel, space)?;
    pages.insert_table(&mut Processor, space, at, level, table, links)
}

pub(super) fn table_remove(
    space: Space,
    at: VirtAddr,
    level: TableLevel,
) -> Result<PageNumber, Error> {
    let mut kernel = kernel::lock();
    let (pages, space) = find(&mut kernel, space)?;
    pages.remove_table(&mut Processor, space, at, level)
}

pub(super) fn insert_pte(
    space: Space,
    at: VirtAddr,
    source: PageSource,
    count: u64,
    access: Access,
) -> Progress {
    let mut kernel = kernel::lock();
    match find(&mut kernel, space) {
        Ok((pages, space)) => pages.insert_pte(&mut Processor, space, at, source, count, access),
        Err(error) => Progress::refused(error),
    }
}

pub(super) fn remove_pte(space: Space, at: VirtAddr, count: u64) -> Progress {
    let mut kernel = kernel::lock();
    match find(&mut kernel, space) {
        Ok((pages, space)) => pages.remove_pte(&mut Processor, space, at, count),
        Err(error) => Progress::refused(error),
    }
}
