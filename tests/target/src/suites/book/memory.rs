//! Memory with a policy of the program's: zeros on demand, copies on write, and a closure for what is refused.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::{Access, exposed, tables};
use exopi_vm::pager::OnRefused;
use exopi_vm::program::{self, Memory};
use exopi_vm::{Fault, Options, Verdict};

use crate::catch;
use crate::harness::{Failure, Outcome};

const READ: Access = Access::READ;
const BOTH: Access = Access::READ.union(Access::WRITE);

/// Pages that were stored to since the last checkpoint: a bit each.
static DIRTY: AtomicU64 = AtomicU64::new(0);

/// Stores to a page.
fn store(memory: &Memory, page: u64, byte: u8) -> Outcome {
    let at = memory.page(page).ok_or(Failure::new("no such page"))?;
    // SAFETY: it is the example's own memory, which appears when it is touched.
    unsafe { (at.get() as *mut u8).write_volatile(byte) };
    Ok(())
}

fn load(memory: &Memory, page: u64) -> Result<u8, Failure> {
    let at = memory.page(page).ok_or(Failure::new("no such page"))?;
    // SAFETY: as above.
    Ok(unsafe { (at.get() as *const u8).read_volatile() })
}

/// How many mappings the page at `page` has, of whomever. No call is made to find out.
fn sharers(memory: &Memory, page: u64) -> Option<u32> {
    let mapping = tables::mapping_of(memory.page(page)?.get())?;
    Some(exposed::page(mapping.page)?.references)
}

fn example() -> Outcome {
    // Pages that cost nothing before they are touched, and then are zeros.
    let memory = Memory::new(64, Options::default())?;
    check_eq!(sharers(&memory, 5), None);
    check_eq!(load(&memory, 5)?, 0);
    store(&memory, 5, 1)?;
    check_eq!(sharers(&memory, 5), Some(1));

    // A copy shares each page until one of the two stores to it.
    let copy = memory.copy()?;
    check_eq!((load(&copy, 5)?, sharers(&copy, 5)), (1, Some(2)));
    store(&copy, 5, 2)?;
    check_eq!((load(&memory, 5)?, sharers(&memory, 5)), (1, Some(1)));

    // A closure for what is refused: here it notes which pages change, as a collector of garbage does.
    let note = OnRefused(|fault: &mut Fault<'_>| match fault.protect(BOTH) {
        Ok(()) => {
            let page = fault.offset() as u64 / PAGE_SIZE;
            DIRTY.fetch_or(1 << page, Ordering::Relaxed);
            Verdict::Resume
        }
        Err(_) => Verdict::PassOn,
    });
    let options = Options {
        pager: Some(Box::leak(Box::new(note))),
        ..Options::default()
    };
    let heap = Memory::new(64, options)?;
    for page in 0..64 {
        store(&heap, page, 1)?;
    }
    // A checkpoint: one call for all of it.
    heap.protect(0, 64, READ)?;
    DIRTY.store(0, Ordering::Relaxed);
    for page in [3, 60, 3] {
        store(&heap, page, 2)?;
    }
    check_eq!(DIRTY.load(Ordering::Relaxed), 1 << 3 | 1 << 60);
    Ok(())
}

pub(super) fn memory_with_a_policy() -> Outcome {
    // The library's handler of faults, as `program::attach` makes it, and afterwards the suite's own again.
    catch::with_handler(program::handle, example)
}
