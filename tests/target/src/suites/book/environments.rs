//! A child in a space of its own, made of what its parent is made of.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use exopi_rt::environment::{self, Builder};
use exopi_rt::layout::USER_START;
use exopi_rt::upcall;
use exopi_rt::{PageNumber, PageSource, memory, space};

use crate::area::{AREA, RW, place};
use crate::harness::Outcome;

/// The notice that tells of the child's end.
const ENDED: u8 = 3;
/// Notices that came.
static NOTICES: AtomicU32 = AtomicU32::new(0);
/// A word of the program's data, of which the child has a copy.
static WORD: AtomicU64 = AtomicU64::new(1);

/// What the child runs, in its own space.
fn child(shared: u64) {
    // Its own copy of the word, which nobody else sees.
    WORD.store(2, Ordering::Relaxed);
    // SAFETY: the page is mapped here, as its parent has arranged.
    unsafe { (shared as *mut u64).write_volatile(7) };
}

pub(super) fn a_child_of_one_s_own() -> Outcome {
    let [shared, scratch, stacks] = [
        place(AREA)?,
        place(AREA + 0x1000)?,
        place(AREA + 0x10_0000)?,
    ];

    // The child's space: the same text, copies of the data, and at the same address one page of both.
    let its_space = space::create()?;
    its_space.copy_own(USER_START, AREA, scratch)?;
    let page = memory::map_new(shared, RW)?;
    let source = PageSource::owned(page);
    its_space.map(shared, source, 1, RW).unless_stopped()?;

    // The child itself. It is stopped; its keeper will hear of its end; then it waits for its turn.
    upcall::on_notice(|notice| {
        NOTICES.fetch_or(notice.bits(), Ordering::Relaxed);
    });
    let made = Builder::new(child, shared.get(), stacks)
        .in_space(its_space)
        .build()?;
    let its_pages = its_space
        .record()
        .map(|record| PageNumber::new(record.root));
    let its_pages: Vec<_> = its_pages.into_iter().flat_map(space::pages_of).collect();
    made.environment().keep(ENDED)?;
    made.environment().run(0)?;
    made.environment().wait();
    while NOTICES.load(Ordering::Relaxed) & 1 << ENDED == 0 {
        environment::yield_now();
    }

    // It wrote to the page of both, and to its own copy of the word.
    // SAFETY: the page is mapped.
    check_eq!(unsafe { (shared.get() as *const u64).read_volatile() }, 7);
    check_eq!(WORD.load(Ordering::Relaxed), 1);

    // With its last environment the space has gone. What was in it are plain pages again, and ours.
    while its_space.record().is_some() {
        environment::yield_now();
    }
    for page in its_pages {
        memory::give_page(page)?;
    }
    // SAFETY: nothing refers to it any more.
    unsafe { memory::unmap_and_give(shared, page) }?;
    Ok(memory::remove_tables(shared)?)
}
