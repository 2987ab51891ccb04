//! Pages, tables and mappings: the bare calls put together in their usual order.
//!
//! The kernel allocates nothing behind a program's back, tables included. To map a page it takes up to
//! five: the page, and tables of two levels, each with its page of links. [`map_new`] is the
//! short way for a program that does not mind which pages it gets.

use crate::handle::Space;
use crate::{
    Access, Error, PageNumber, PageRun, PageSelect, PageSource, TableLevel, VirtAddr, exposed,
    pages, stubs, tables,
};

/// Takes any free page.
///
/// # Errors
/// That of `page_alloc`: none is left.
pub fn take_page() -> Result<PageNumber, Error> {
    pages::take(PageSelect::Any)
}

/// Gives a page back that nothing refers to.
///
/// # Errors
/// That of `page_free`.
pub fn give_page(page: PageNumber) -> Result<(), Error> {
    stubs::page_free(PageRun::Owned(page), 1)
        .unless_stopped()
        .map(drop)
}

/// Runs `work` with a fresh page, which is given back if the work fails.
pub(crate) fn with_page<T>(work: impl FnOnce(PageNumber) -> Result<T, Error>) -> Result<T, Error> {
    let page = take_page()?;
    work(page).inspect_err(|_| {
        // The work has failed already; a page that cannot be given back now is a lost page, which
        // the page array shows, and no reason to fail differently.
        let _ = give_page(page);
    })
}

/// Puts the tables in place that a mapping at `at` needs. Those that are there stay.
///
/// # Errors
/// No pages are left for them.
pub fn supply_tables(at: VirtAddr) -> Result<(), Error> {
    Space::Own.supply_tables(at)
}

/// Takes the tables over `at` out, as far as they are empty, and gives their pages back.
///
/// # Errors
/// Those of `table_remove` and `page_free`; not that a table is missing or in use.
pub fn remove_tables(at: VirtAddr) -> Result<(), Error> {
    for level in [TableLevel::Three, TableLevel::Two] {
        let Some(table) = tables::table_of(at.get(), level) else {
            continue;
        };
        let links = exposed::page(table).ok_or(Error::OutOfRange)?.second;
        match Space::Own.remove_table(at, level) {
            Err(Error::NotEmpty) => return Ok(()),
            outcome => outcome?,
        };
        give_page(table)?;
        give_page(PageNumber::new(links))?;
    }
    Ok(())
}

/// Maps a page of the program's own at `at`, with the tables that it needs.
///
/// Where something is mapped already the kernel refuses, so this changes no memory that is in use.
///
/// # Errors
/// Those of `insert_pte` and, for the tables, of `page_alloc`.
pub fn map_page(at: VirtAddr, page: PageNumber, access: Access) -> Result<(), Error> {
    Space::Own
        .map(at, PageSource::owned(page), 1, access)
        .unless_stopped()
        .map(drop)
}

/// Takes a page and maps it at `at`. Its contents are zeros or what this program left in it.
///
/// # Errors
/// Those of [`map_page`]; the page is given back then, tables that were supplied stay.
pub fn map_new(at: VirtAddr, access: Access) -> Result<PageNumber, Error> {
    with_page(|page| map_page(at, page, access).map(|()| page))
}

/// Removes the mapping at `at`.
///
/// # Errors
/// That of `remove_pte`.
///
/// # Safety
/// No reference or pointer in use, and no code that will run, may depend on what is there.
#[expect(unsafe_code, reason = "memory disappears")]
pub unsafe fn unmap(at: VirtAddr) -> Result<(), Error> {
    // SAFETY: passed on to the caller.
    unsafe { Space::Own.remove(at, 1) }
        .unless_stopped()
        .map(drop)
}

/// Removes the mapping of `page` at `at` and gives the page back.
///
/// # Errors
/// That of `remove_pte`, or that of `page_free` with the mapping gone.
///
/// # Safety
/// As for [`unmap`].
#[expect(unsafe_code, reason = "memory disappears")]
pub unsafe fn unmap_and_give(at: VirtAddr, page: PageNumber) -> Result<(), Error> {
    // SAFETY: passed on to the caller.
    unsafe { unmap(at) }?;
    give_page(page)
}
