//! The program's heap, on a region.
//!
//! `exopi-rt` grows the heap by whatever source it is given. Here that is the address space, so that the heap
//! has its tables from the reserve, its pages from the same supply and colours as all else, and is found by
//! its address like any region. Pages still come before they are used: an allocation that there is no page
//! for is refused, and does not fault later.

use exopi_rt::heap::{LIMIT, START};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::ALLOC_BOUND;
use exopi_rt::{VirtAddr, heap};

use crate::error::Error;
use crate::program;
use crate::region::{Options, Place};

/// Puts the heap on a region from now on. Pages that it has stay where they are.
///
/// # Errors
/// Those of [`AddressSpace::reserve`](crate::AddressSpace::reserve), or there is no address space yet.
pub fn init() -> Result<(), Error> {
    let start = VirtAddr::new(START).ok_or(Error::BadRange)?;
    let options = Options {
        name: "heap",
        zeroed: false,
        ..Options::default()
    };
    program::with(|space| space.reserve(Place::At(start), LIMIT / PAGE_SIZE, options))??;
    heap::set_source(grow);
    Ok(())
}

/// Maps pages at the heap's end. Returns how many came.
fn grow(at: VirtAddr, pages: u64) -> u64 {
    let mut done = 0;
    while done < pages {
        let count = (pages - done).min(ALLOC_BOUND);
        let Some(here) = at.plus(done) else { break };
        match program::with(|space| space.populate(here, count)) {
            Ok(Ok(())) => done += count,
            // Those of them that came are found there the next time.
            _ => break,
        }
    }
    done
}
