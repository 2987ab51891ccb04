//! Calls on pages.

use exopi_abi::{Allocation, PageNumber, PageSelect, Progress};

use crate::arch::tables::Processor;
use crate::environment::FIRST_OWNER;
use crate::{exposed, kernel};

pub(super) fn alloc(which: PageSelect, count: u64) -> Allocation {
    let mut kernel = kernel::lock();
    let allocation = kernel
        .pages
        .alloc(&mut Processor, FIRST_OWNER, which, count);
    exposed::set_free_pages(kernel.pages.free_pages());
    allocation
}

pub(super) fn free(first: PageNumber, count: u64) -> Progress {
    let mut kernel = kernel::lock();
    let progress = kernel.pages.free(FIRST_OWNER, first, count);
    exposed::set_free_pages(kernel.pages.free_pages());
    progress
}
