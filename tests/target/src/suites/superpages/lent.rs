//! A superpage lent by capability, in use on all cores at once, and taken back through one of its pages.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::capability::{CAPABILITY_WORDS, Kind, PageRights, Restriction};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::{NONE, RECORD_BOUND};
use exopi_rt::{
    Access, Error, Object, PageNumber, PageRun, PageSelect, Progress, TableLevel, VirtAddr,
    environment, memory, stubs,
};

use super::{PAGES, take_superpage};
use crate::area::{AREA, Area, RW, give_run, place, record};
use crate::catch;
use crate::crew::{self, Crew, Draws, other_cores};
use crate::granted::{ALL, Words, attenuate, mint, run};
use crate::harness::{Outcome, say};
use crate::other::wait;

/// One range of 512 pages takes one stamp: as many as one call goes through.
const _: () = assert!(RECORD_BOUND == PAGES);

/// Where core n has it: the entry behind that for core n - 1, of the area's level-2 table.
fn at(core: u64) -> u64 {
    AREA + (1 + core) * TableLevel::Three.span()
}

fn map(at: VirtAddr, first: PageNumber, words: &Words, access: Access) -> Progress {
    match run(first, words) {
        // SAFETY: the kernel maps over nothing.
        Ok(run) => unsafe { stubs::insert_superpage(Object::Own, at, run, 1, access) },
        Err(error) => Progress::refused(error),
    }
}

fn mint_all(first: PageNumber, rights: PageRights) -> Result<Words, Error> {
    mint(Kind::Page, first.get().into(), PAGES, rights.bits().into())
}

/// The page of the middle, through which all of it is broken.
fn middle(first: PageNumber) -> Result<PageNumber, Error> {
    first.plus(PAGES / 2 + 1).ok_or(Error::OutOfRange)
}

/// Each right counts, as for pages; and no right makes it executable.
pub(super) fn rights() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let here = place(at(0))?;
    let retired = stubs::page_retire(PageRun::Owned(first), PAGES);
    check_eq!(retired.unless_stopped(), Ok(PAGES));
    let all = mint_all(first, ALL)?;
    let read = mint_all(first, PageRights::READ)?;
    let write_only = mint_all(first, PageRights::WRITE)?;
    let refused = |cap: &Words, access, error| {
        check_eq!(map(here, first, cap, access), Progress::refused(error));
        check_eq!(record(first)?.references, 0);
        Ok(())
    };
    for cap in [&all, &read, &write_only] {
        let executable = [RW | Access::EXECUTE, Access::READ | Access::EXECUTE];
        for access in executable {
            refused(cap, access, Error::Malformed)?;
        }
    }
    refused(&read, RW, Error::MissingRight)?;
    refused(&write_only, RW, Error::MissingRight)?;
    let masked = attenuate(&all, Restriction::Rights(PageRights::READ.into()))?;
    refused(&masked, RW, Error::MissingRight)?;
    map(here, first, &masked, Access::READ).unless_stopped()?;
    check!(catch::read(here.get() + PAGES * PAGE_SIZE - 1).is_ok());
    // SAFETY: the kernel must make it fault.
    check!(unsafe { catch::write(here.get(), 1) }.is_err());
    // Nor does anything make it executable, or writable, afterwards.
    for access in [RW, Access::READ | Access::EXECUTE] {
        // SAFETY: nothing in use is there.
        let protected = unsafe { stubs::protect_pte(Object::Own, here, PAGES, access) };
        check_eq!(protected, Progress::refused(Error::MissingRight));
    }
    crate::area::remove(here, PAGES).unless_stopped()?;
    give_run(first, PAGES)?;
    area.close()
}

/// What the others need to know.
static FIRST: AtomicU64 = AtomicU64::new(0);
static CAP: [AtomicU64; CAPABILITY_WORDS] = [const { AtomicU64::new(0) }; CAPABILITY_WORDS];
/// Who has it, has lost it, and has been refused afterwards: counts of cores.
static HAVE: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Not 0 as soon as it has been taken back for good.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Maps it, stores to all of its pages over and over until that fails, and tries to have it again when it must not.
fn borrow(core: u64) {
    crew::arrive();
    let words = CAP.each_ref().map(|word| word.load(Ordering::Acquire));
    let first = PageNumber::new(FIRST.load(Ordering::Acquire) as u32);
    let Some(here) = VirtAddr::new(at(core)) else {
        return crew::broken(core, 0);
    };
    if let Err(error) = map(here, first, &words, RW).unless_stopped() {
        return crew::broken(error as u64, 0);
    }
    HAVE.fetch_add(1, Ordering::AcqRel);
    let word = |page: u64| here.get() + page % PAGES * PAGE_SIZE + core * 8;
    let mut page = 0;
    // SAFETY: the pages are the case's, and each core has a word of its own in each.
    while unsafe { crew::store(word(page), core) } {
        page += 1;
        if crew::is_over() {
            return;
        }
    }
    LOST.fetch_add(1, Ordering::AcqRel);
    while TAKEN.load(Ordering::Acquire) == 0 {
        if crew::is_over() {
            return;
        }
        environment::yield_now();
    }
    for page in 0..PAGES {
        // SAFETY: the kernel must make it fault.
        if unsafe { crew::store(word(page), !core) } {
            return crew::broken(page, core);
        }
    }
    match map(here, first, &words, RW).unless_stopped() {
        Err(Error::Stale) => {}
        Err(error) => return crew::broken(error as u64, Error::Stale as u64),
        Ok(_) => return crew::broken(0, Error::Stale as u64),
    }
    REFUSED.fetch_add(1, Ordering::AcqRel);
}

fn wait_for(counter: &AtomicU64, count: u64) -> Outcome {
    wait(
        || {
            crew::check_whole()?;
            Ok(counter.load(Ordering::Acquire) == count)
        },
        || alloc::format!("{} of {count}", counter.load(Ordering::Acquire)),
    )
}

/// All cores have it mapped, each at its own place, and store to it while one page of it is broken.
pub(super) fn broken_on_all_cores() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    stubs::page_retire(PageRun::Owned(first), PAGES).unless_stopped()?;
    let cap = mint_all(first, ALL)?;
    for (place, word) in CAP.iter().zip(cap) {
        place.store(word, Ordering::Release);
    }
    FIRST.store(first.get().into(), Ordering::Release);
    for counter in [&HAVE, &LOST, &REFUSED, &TAKEN] {
        counter.store(0, Ordering::Release);
    }
    let mut crew = Crew::new();
    // Of other accounts: theirs are references by others.
    crew.add_each(borrow, Draws::Own(Default::default()))?;
    crew.start()?;
    let others = other_cores().count() as u64;
    wait_for(&HAVE, others)?;
    let here = place(at(0))?;
    map(here, first, &cap, RW).unless_stopped()?;
    check_eq!(u64::from(record(first)?.references), others + 1);
    // SAFETY: the case's own alone, and the others' places, where they expect it.
    let broken = unsafe { stubs::page_break(PageRun::Owned(middle(first)?), 1) };
    check_eq!(broken.progress.unless_stopped(), Ok(1));
    check_eq!(broken.superpages, others + 1);
    check!(catch::read(here.get()).is_err());
    let head = record(first)?;
    check_eq!((head.references, head.foreign, head.second), (0, 0, NONE));
    check_eq!(record(middle(first)?)?.marks, 0);
    wait_for(&LOST, others)?;
    // Not retired: whoever has the capability may have it again, and so it goes once more.
    map(here, first, &cap, RW).unless_stopped()?;
    let retired = stubs::page_retire(PageRun::Owned(middle(first)?), 1);
    check_eq!(retired.unless_stopped(), Ok(1));
    // One page that is stale makes all of it stale, and leaves what is mapped.
    check!(catch::read(here.get()).is_ok());
    let again = map(
        place(at(0) + (1 + others) * TableLevel::Three.span())?,
        first,
        &cap,
        RW,
    );
    check_eq!(again, Progress::refused(Error::Stale));
    crate::area::remove(here, PAGES).unless_stopped()?;
    TAKEN.store(1, Ordering::Release);
    wait_for(&REFUSED, others)?;
    crew.join()?;
    free_and_take(first)?;
    give_run(first, PAGES)?;
    say(alloc::format!("{} mappings broken at once", others + 1));
    area.close()
}

/// Frees the page in the middle and takes it again: the rest can still be had page by page, all of it no more.
fn free_and_take(first: PageNumber) -> Outcome {
    let page = middle(first)?;
    memory::give_page(page)?;
    let taken = stubs::page_alloc(PageSelect::Exact(page), 1);
    check_eq!(taken.progress.unless_stopped(), Ok(1));
    check_eq!(mint_all(first, ALL), Err(Error::Stale));
    Ok(())
}
