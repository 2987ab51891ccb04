//! A page is taken back by its owner while others, on other cores, map it, write to it and protect it by
//! capability: from then on nobody has it.
//!
//! ```text
//!   owner   offer --> ... --> retire, break (or the other way round) --> free --> take again --> canary stays?
//!   others            insert, store, load, protect, remove, over and over, and whatever they are told
//! ```

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::capability::{CAPABILITY_WORDS, Restriction};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::{
    Access, Error, Object, PageNumber, PageRun, PageSelect, Progress, memory, stubs, time,
};

use crate::area::{RW, insert, place, record, remove, take_run};
use crate::crew::{self, Crew, Draws, Random, Tally};
use crate::granted::{self, READ_WRITE, Words, attenuate, mint_pages};
use crate::harness::{Failure, Outcome, say};

/// Pages that are fought for.
const PAGES: u64 = 8;
/// How often they are taken back.
const ROUNDS: u64 = 400;
/// Most cores.
const CORES: usize = 4;
/// Where each core maps them: a window of as many pages, in 2 MiB with one table. The owner's is the first.
const WINDOWS: u64 = 0x2b_0000_0000;
/// What is in the pages while they are the owner's alone.
const CANARY: u64 = 0xca9a_77ca_9a77_0000;
/// What the others write, with their core.
const GRAFFITI: u64 = 0x6aff_1713_0000_0000;

/// What is offered: even while it is so.
static OFFER: AtomicU64 = AtomicU64::new(1);
static FIRST: AtomicU64 = AtomicU64::new(0);
static CAPS: [[AtomicU64; CAPABILITY_WORDS]; CORES] =
    [const { [const { AtomicU64::new(0) }; CAPABILITY_WORDS] }; CORES];

/// What happened to the others.
static TALLY: Tally<6> = Tally::new();
const MAPPED: usize = 0;
const STORED: usize = 1;
const FAULTED: usize = 2;
const STALE: usize = 3;
const LEAVING: usize = 4;
const VANISHED: usize = 5;

fn address(core: u64, page: u64) -> u64 {
    WINDOWS + (core * PAGES + page) * PAGE_SIZE
}

/// Offers the pages to these, who alone may present what they get.
fn offer(first: PageNumber, crew: &Crew) -> Outcome {
    let cap = mint_pages(first, PAGES, READ_WRITE)?;
    for (core, name) in crew.names().enumerate() {
        let cap: Words = attenuate(&cap, Restriction::Holder(name.identity()))?;
        for (place, word) in CAPS[core + 1].iter().zip(cap) {
            place.store(word, Ordering::Relaxed);
        }
    }
    FIRST.store(first.get().into(), Ordering::Relaxed);
    OFFER.fetch_add(1, Ordering::AcqRel);
    Ok(())
}

/// Who offers has begun to change it.
fn withdraw() {
    OFFER.fetch_add(1, Ordering::AcqRel);
}

/// What is offered to `core`, and its number; nothing if it is being changed just now.
fn offered(core: usize) -> Option<(u64, PageNumber, Words)> {
    let before = OFFER.load(Ordering::Acquire);
    let first = PageNumber::new(FIRST.load(Ordering::Relaxed) as u32);
    let cap = CAPS
        .get(core)?
        .each_ref()
        .map(|word| word.load(Ordering::Relaxed));
    core::sync::atomic::fence(Ordering::Acquire);
    let is_whole = before.is_multiple_of(2) && OFFER.load(Ordering::Relaxed) == before;
    is_whole.then_some((before, first, cap))
}

/// What one of the others does until it is told that it is over: it keeps what it was offered once for long after that.
fn write(core: u64) {
    crew::arrive();
    let mut random = Random::new(core);
    let mut known = None;
    while !crew::is_over() {
        if known.is_none() || random.below(16) == 0 {
            known = offered(core as usize).or(known);
        }
        if let Some((_, first, cap)) = &known {
            let page = random.below(PAGES);
            touch(core, page, *first, cap, &mut random);
        }
    }
    for page in 0..PAGES {
        let _ = unmap(core, page);
    }
}

/// One act on one of the pages.
fn touch(core: u64, page: u64, first: PageNumber, cap: &Words, random: &mut Random) {
    let at = address(core, page);
    match random.below(16) {
        0..3 => map(core, page, first, cap),
        3 => {
            let access = if random.below(3) == 0 {
                Access::READ
            } else {
                RW
            };
            if let Ok(at) = place(at) {
                // SAFETY: nothing depends on what is mapped in a window.
                let done = unsafe { stubs::protect_pte(Object::Own, at, 1, access) };
                expect(done, &[Error::Vacant]);
            }
        }
        4 => expect(unmap(core, page), &[Error::Vacant]),
        _ => {
            let word = at + random.below(PAGE_SIZE / 8) * 8;
            for _ in 0..32 {
                // SAFETY: the window is this core's, and what is in it is this case's.
                let stored = unsafe { crew::store(word, GRAFFITI | core) };
                TALLY.count(if stored { STORED } else { FAULTED });
            }
        }
    }
}

fn map(core: u64, page: u64, first: PageNumber, cap: &Words) {
    let (Ok(at), Some(number)) = (place(address(core, page)), first.plus(page)) else {
        return crew::broken(page, core);
    };
    match granted::insert_by(at, number, cap, 1, RW).unless_stopped() {
        Ok(_) => TALLY.count(MAPPED),
        Err(Error::Stale) => TALLY.count(STALE),
        Err(Error::Leaving) => TALLY.count(LEAVING),
        Err(error) => {
            crew::known(error, &[Error::Occupied]);
        }
    }
}

fn unmap(core: u64, page: u64) -> Progress {
    place(address(core, page)).map_or(Progress::refused(Error::BadAddress), |at| remove(at, 1))
}

fn expect(progress: Progress, known: &[Error]) {
    if let Err(error) = progress.unless_stopped() {
        TALLY.count(VANISHED);
        crew::known(error, known);
    }
}

/// Removes all mappings of the pages, however many calls that takes.
fn break_all(first: PageNumber) -> Outcome {
    let mut done = 0;
    while done < PAGES {
        let next = first.plus(done).ok_or(Error::OutOfRange)?;
        // SAFETY: the pages are mapped in windows alone.
        let broken = unsafe { stubs::page_break(PageRun::Owned(next), PAGES - done) };
        done += broken.progress.unless_stopped()?;
    }
    Ok(())
}

fn references(first: PageNumber) -> Result<u64, Failure> {
    let mut sum = 0;
    for page in 0..PAGES {
        let number = first.plus(page).ok_or(Error::OutOfRange)?;
        let record = record(number)?;
        check_eq!(
            record.references,
            u32::from(record.foreign),
            "all are others'"
        );
        sum += u64::from(record.references);
    }
    Ok(sum)
}

/// Takes the pages back from everybody. How many mappings there were just before.
fn take_back(first: PageNumber, round: u64) -> Result<u64, Failure> {
    let retire = || stubs::page_retire(PageRun::Owned(first), PAGES).unless_stopped();
    if round.is_multiple_of(2) {
        // Nobody new comes in, then those who are in go.
        check_eq!(retire(), Ok(PAGES));
        let before = references_now(first)?;
        break_all(first)?;
        return Ok(before);
    }
    let before = references_now(first)?;
    // Those who were driven out come back until they are told that it is over.
    break_all(first)?;
    check_eq!(retire(), Ok(PAGES));
    break_all(first)?;
    Ok(before)
}

/// The references while others change them: none of the sums that hold at a quiet time are looked for.
fn references_now(first: PageNumber) -> Result<u64, Failure> {
    let mut sum = 0;
    for page in 0..PAGES {
        let number = first.plus(page).ok_or(Error::OutOfRange)?;
        sum += u64::from(record(number)?.references);
    }
    Ok(sum)
}

/// Puts the canary in all pages, lets time pass, and looks whether it is there still.
fn check_alone(first: PageNumber, round: u64, random: &mut Random) -> Outcome {
    let canary = |page: u64| CANARY ^ round << 8 ^ page;
    let words = |page: u64| (0..PAGE_SIZE / 8).map(move |word| address(0, page) + word * 8);
    insert(place(address(0, 0))?, first, PAGES, RW).unless_stopped()?;
    for page in 0..PAGES {
        for word in words(page) {
            // SAFETY: the page is mapped there, and this case's.
            unsafe { (word as *mut u64).write_volatile(canary(page)) };
        }
    }
    crew::pause(random);
    for page in 0..PAGES {
        for word in words(page) {
            // SAFETY: as above.
            let found = unsafe { (word as *const u64).read_volatile() };
            check_eq!(
                found,
                canary(page),
                "round {round}, page {page}: a page taken back"
            );
        }
    }
    remove(place(address(0, 0))?, PAGES).unless_stopped()?;
    Ok(())
}

/// Frees the pages and takes them again, so that in between they are anybody's.
fn free_and_take(first: PageNumber) -> Outcome {
    check_eq!(
        stubs::page_free(PageRun::Owned(first), PAGES).unless_stopped(),
        Ok(PAGES),
        "pages that nobody has are given back"
    );
    let taken = stubs::page_alloc(PageSelect::Exact(first), PAGES);
    check_eq!(taken.progress.unless_stopped(), Ok(PAGES));
    Ok(())
}

/// Stores by others for which the owner waits, and how long at most.
const BUSY_STORES: u64 = 200;
const BUSY_MICROSECONDS: u64 = 20_000;

/// Lets the others be at it for a while, at some point of which the pages are taken back.
fn let_them(random: &mut Random) {
    let stores = TALLY.peek(STORED) + random.below(BUSY_STORES);
    let begin = time::ticks();
    while TALLY.peek(STORED) < stores
        && time::microseconds(time::ticks() - begin) < BUSY_MICROSECONDS
        && !crew::is_over()
    {
        time::relax();
    }
    crew::pause(random);
}

pub(super) fn under_writers() -> Outcome {
    memory::supply_tables(place(WINDOWS)?)?;
    let first = take_run(PAGES)?;
    let mut crew = Crew::new();
    crew.add_each(write, Draws::Own(Default::default()))?;
    let mut random = Random::new(100);
    let mut refused = 0;
    let mut found = 0;
    crew.start()?;
    for round in crew::rounds(ROUNDS) {
        offer(first, &crew)?;
        let_them(&mut random);
        withdraw();
        // Whoever has it mapped keeps it from being freed.
        if round % 4 == 3 {
            let freed = stubs::page_free(PageRun::Owned(first), 1);
            match freed.unless_stopped() {
                Ok(_) => {
                    let taken = stubs::page_alloc(PageSelect::Exact(first), 1);
                    taken.progress.unless_stopped()?;
                }
                Err(Error::InUse) => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        found += take_back(first, round)?;
        check_eq!(references(first)?, 0, "round {round}: references");
        check_alone(first, round, &mut random)?;
        free_and_take(first)?;
        crew::check_whole()?;
    }
    crew::finish();
    crew.join()?;
    stubs::page_free(PageRun::Owned(first), PAGES).unless_stopped()?;
    memory::remove_tables(place(WINDOWS)?)?;
    let [mapped, stored, faulted, stale, leaving, vanished] = TALLY.take();
    say(format!(
        "{found} mappings broken, {refused} frees refused; {mapped} mapped, {stored} stored, {faulted} faulted, \
         {stale} stale, {leaving} leaving, {vanished} vanished"
    ));
    Ok(())
}
