//! Calls that do as much as one call may: what the rows that are a maximum since boot are to have seen.
//!
//! Nothing here is measured by itself. A call that is not made here, and not by another row, is in no maximum.

mod revoked;

use exopi_rt::cap::PageCap;
use exopi_rt::capability::{Badge, PageRights};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::{
    ALLOC_BOUND, BATCH_BOUND, BATCH_MAPPINGS, FrameType, INSERT_BOUND, INSERT_EXECUTABLE_BOUND,
    PROTECT_BOUND, RECORD_BOUND,
};
use exopi_rt::pages::Run;
use exopi_rt::{
    Access, Call, Error, OnRefusal, Operation, PageSource, Space, VirtAddr, environment, exposed,
};

use crate::authority::{Words, window, with_pages};
use crate::frames;
use crate::rows::owner;

const R: Access = Access::READ;
const RW: Access = R.union(Access::WRITE);
const RX: Access = R.union(Access::EXECUTE);

/// Makes them.
///
/// # Errors
/// One was refused.
pub(crate) fn make() -> Result<(), Error> {
    with_pages(RECORD_BOUND, |run| {
        run.retire().unless_stopped()?;
        run.mint(PageRights::all())?;
        run.limit(1).unless_stopped()?;
        let some = run.part(0, PROTECT_BOUND).ok_or(Error::OutOfRange)?;
        mappings(some)?;
        batches(some)
    })?;
    with_pages(1, revoked::make)?;
    frames::longest()?;
    foreign_pages()
}

/// As many pages as are zeroed for one call.
fn foreign_pages() -> Result<(), Error> {
    let me = owner()?;
    let mut first = None;
    let mut length = 0;
    for (page, record) in exposed::pages() {
        if record.kind != FrameType::Free || record.owner == me {
            length = 0;
            continue;
        }
        if length == 0 {
            first = Some(page);
        }
        length += 1;
        if length == ALLOC_BOUND {
            break;
        }
    }
    let run = Run::take(first.ok_or(Error::Exhausted)?, ALLOC_BOUND)?;
    run.free().unless_stopped()?;
    Ok(())
}

/// Mappings that are made, changed, removed and broken, readable first and then executable.
fn mappings(run: Run<'static>) -> Result<(), Error> {
    let (at, count) = (window()?, PROTECT_BOUND);
    for access in [RW, RX] {
        let source = PageSource::Run(run.run());
        Space::Own.map(at, source, count, access).unless_stopped()?;
        // SAFETY: nobody uses the window.
        unsafe { Space::Own.protect(at, count, R) }.unless_stopped()?;
        // SAFETY: as above.
        unsafe { Space::Own.protect(at, count, access) }.unless_stopped()?;
        // SAFETY: as above.
        unsafe { Space::Own.remove(at, count) }.unless_stopped()?;
    }
    let source = PageSource::Run(run.run());
    Space::Own.map(at, source, count, RW).unless_stopped()?;
    // SAFETY: as above.
    unsafe { run.break_all() }.progress.unless_stopped()?;
    Ok(())
}

/// Batches of mappings by a capability with as many caveats as there can be: of a page each, the last one of as many as
/// an operation maps; and of executable pages. Each ends where the kernel says that it has cost enough.
fn batches(run: Run<'static>) -> Result<(), Error> {
    let me = environment::own().ok_or(Error::NotYours)?;
    let badge = Badge::new(1).ok_or(Error::Malformed)?;
    run.retire().unless_stopped()?;
    let cap = run.mint(PageRights::all())?.badge(badge)?;
    let cap = cap.only_for(me)?.only_for(me)?;
    for (pages, last, access) in [(1, INSERT_BOUND, RW), (INSERT_EXECUTABLE_BOUND, 0, RX)] {
        batch(&cap, pages, last, access)?;
    }
    Ok(())
}

/// One of them: operations of `pages` pages, and where the next one would be the last that is begun, of `last` more.
fn batch(cap: &PageCap, pages: u64, last: u64, access: Access) -> Result<(), Error> {
    let at = window()?;
    let mut operations = [Operation::default(); BATCH_BOUND as usize];
    let (mut page, mut weight) = (0, 0);
    for operation in &mut operations {
        let each = Operation::CAPABILITY + pages;
        let count = if weight + each >= BATCH_MAPPINGS {
            pages.max(last - page.min(last))
        } else {
            pages
        };
        let source = PageSource::Run(cap.run(page).ok_or(Error::OutOfRange)?);
        let place = VirtAddr::new(at.get() + page * PAGE_SIZE).ok_or(Error::BadAddress)?;
        let words = Words::new().with(place).with(source);
        let [x0, x1, x2, x3, x4, _] = words.with(count).with(access).words();
        operation.call = Call::insert_pte.number().into();
        operation.arguments = [x0, x1, x2, x3, x4];
        page = (page + count).min(PROTECT_BOUND - pages);
        weight += each;
    }
    // SAFETY: nothing is mapped there, and nobody uses the window.
    let done = unsafe { Space::Own.batch(&mut operations, OnRefusal::Stop) };
    let mapped = operations.iter().take(done.unless_stopped()? as usize);
    let mapped: u64 = mapped.map(|operation| operation.arguments[3]).sum();
    // SAFETY: as above.
    unsafe { Space::Own.remove(at, mapped) }.unless_stopped()?;
    Ok(())
}
