//! Memory that appears when it is touched: a program handles its own page faults.

use core::sync::atomic::{AtomicU32, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::pages::Run;
use exopi_rt::upcall::{Action, Fault, FaultCause};
use exopi_rt::{PageSelect, PageSource, Space, VirtAddr, memory, tables};

use crate::area::{AREA, RW, place};
use crate::catch;
use crate::harness::Outcome;

/// How many pages there may be.
const PAGES: u64 = 64;
/// Pages that have appeared.
static APPEARED: AtomicU32 = AtomicU32::new(0);

/// Called with the interrupted state for each exception that the kernel has no use for.
fn on_fault(fault: &mut Fault<'_>) -> Action {
    let FaultCause::DataAbort { address, .. } = fault.cause() else {
        return Action::Abort;
    };
    let ours = (AREA..AREA + PAGES * PAGE_SIZE).contains(&address);
    let page = VirtAddr::new(address & !(PAGE_SIZE - 1)).filter(|_| ours);
    let Some(at) = page else {
        return Action::Abort;
    };
    // One call allocates and maps. The faulting instruction is tried again.
    let new = PageSource::New(PageSelect::Any);
    match Space::Own.insert(at, new, 1, RW).stopped {
        None => {
            APPEARED.fetch_add(1, Ordering::Relaxed);
            Action::Resume
        }
        Some(_) => Action::Abort,
    }
}

pub(super) fn memory_appears_when_it_is_touched() -> Outcome {
    memory::supply_tables(place(AREA)?)?;
    // As `upcall::on_fault`, and afterwards the suite's own handler again.
    catch::with_handler(on_fault, || {
        for page in [0, 7, 0, 63, 7] {
            let at = (AREA + page * PAGE_SIZE) as *mut u64;
            // SAFETY: it is nobody's memory but this function's, and the handler makes it be there.
            unsafe { at.write_volatile(page) };
        }
    });
    check_eq!(APPEARED.load(Ordering::Relaxed), 3);

    // The tables tell which pages it got.
    for (at, mapping) in tables::mappings(AREA, AREA + PAGES * PAGE_SIZE) {
        // SAFETY: nothing refers to it any more.
        unsafe { memory::unmap(at) }?;
        Run::owned(mapping.page, 1).free().unless_stopped()?;
    }
    Ok(memory::remove_tables(place(AREA)?)?)
}
