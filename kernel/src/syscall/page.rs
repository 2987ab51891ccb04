//! Calls on page frames.

use exopi_abi::page::Owner;
use exopi_abi::{Allocation, Breaking, Error, PageNumber, PageRun, PageSelect, Progress};
use exopi_domains::Subject;

use super::presented::with_run;
use crate::arch::tables::Processor;
use crate::kernel::{lock, with_free_pages};

pub(super) fn alloc(by: &Subject, which: PageSelect, count: u64) -> Allocation {
    with_free_pages(|kernel| kernel.page_alloc(&mut Processor, by, which, count))
}

pub(super) fn free(by: &Subject, pages: PageRun<'_>, count: u64) -> Progress {
    with_run(by, pages, |first, right| {
        with_free_pages(|kernel| kernel.page_free(by, right, first, count))
    })
}

pub(super) fn give(by: &Subject, first: PageNumber, count: u64, to: Owner) -> Progress {
    lock().page_give(by, first, count, to)
}

pub(super) fn accept(by: &Subject, count: u32) -> Result<(), Error> {
    lock().page_accept(by, count)
}

pub(super) fn retire(by: &Subject, pages: PageRun<'_>, count: u64) -> Progress {
    with_run(by, pages, |first, right| {
        lock().page_retire(by, right, first, count)
    })
}

pub(super) fn break_all(by: &Subject, pages: PageRun<'_>, count: u64) -> Breaking {
    with_run(by, pages, |first, right| {
        lock().page_break(&mut Processor, by, right, first, count)
    })
}

pub(super) fn limit(by: &Subject, first: PageNumber, count: u64, limit: u16) -> Progress {
    lock().page_limit(by, first, count, limit)
}
