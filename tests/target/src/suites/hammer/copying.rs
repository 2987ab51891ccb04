//! Copy-on-write (`exopi-vm`) with writers on all cores: each sees its own memory, and no store is lost.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::uarea::Frame;
use exopi_rt::{Environment, Space, VirtAddr, environment, memory, time};
use exopi_vm::Options;
use exopi_vm::program::{self as vm, Memory};

use crate::area::{Area, RW, insert, place, remove};
use crate::catch;
use crate::counters::{self, space_with_code};
use crate::crew::{self, Crew, Draws, Random, Tally};
use crate::harness::{Failure, Outcome, say};
use crate::other::{code, wait};

/// Pages of a region.
const PAGES: u64 = 8;
/// Stores of each core.
const STORES: u64 = 6000;
/// How often what all write is copied.
const COPIES: u64 = 40;
/// Most cores.
const CORES: usize = 4;
/// Bytes between the words of two cores in a page: they share no cache line.
const APART: u64 = 128;

/// Where each core's memory is.
static MEMORY: [AtomicU64; CORES] = [const { AtomicU64::new(0) }; CORES];
/// What each core has counted to, by pages.
static COUNTED: [[AtomicU64; PAGES as usize]; CORES] =
    [const { [const { AtomicU64::new(0) }; PAGES as usize] }; CORES];
/// Who has come to the end.
static TALLY: Tally<1> = Tally::new();

fn word(start: u64, page: u64, core: u64) -> u64 {
    start + page * PAGE_SIZE + core * APART
}

fn get(at: u64) -> u64 {
    // SAFETY: the regions of these cases are mapped by the library when they are touched.
    unsafe { (at as *const u64).read_volatile() }
}

fn set(at: u64, to: u64) {
    // SAFETY: as above, and what is in them is the cases' alone.
    unsafe { (at as *mut u64).write_volatile(to) };
}

/// What a word holds before anybody stores to it.
fn original(page: u64, core: u64) -> u64 {
    page << 8 | core
}

fn filled() -> Result<Memory, Failure> {
    let memory = Memory::new(PAGES, Options::default())?;
    for page in 0..PAGES {
        for core in 0..CORES as u64 {
            set(word(memory.start().get(), page, core), original(page, core));
        }
    }
    Ok(memory)
}

/// Runs a case with the library's handler in front of the suite's.
fn on_vm(case: fn() -> Outcome) -> Outcome {
    catch::with_handler(vm::handle, case)
}

pub(super) fn one_for_each_core() -> Outcome {
    on_vm(own_copies)
}

pub(super) fn of_what_all_write() -> Outcome {
    on_vm(snapshots)
}

/// Stores to all words of all pages of its own copy, in any order, and looks each time what is there.
fn scribble(core: u64) {
    let mut random = Random::new(core);
    let start = MEMORY
        .get(core as usize)
        .map_or(0, |start| start.load(Ordering::Acquire));
    let mut stored = [[0; CORES]; PAGES as usize];
    for round in crew::rounds(STORES) {
        let (page, place) = (random.below(PAGES), random.below(CORES as u64));
        let at = word(start, page, place);
        let Some(mine) = stored
            .get_mut(page as usize)
            .and_then(|page| page.get_mut(place as usize))
        else {
            return crew::broken(page, place);
        };
        let expected = match *mine {
            0 => original(page, place),
            stored => stored,
        };
        if get(at) != expected {
            return crew::broken(get(at), expected);
        }
        if round % 4 == 0 {
            *mine = core << 48 | (round + 1) << 16;
            set(at, *mine);
        }
    }
    TALLY.count(0);
}

fn scribbler(core: u64) {
    crew::arrive();
    vm::attach();
    scribble(core);
}

fn own_copies() -> Outcome {
    let memory = filled()?;
    let mut copies = Vec::new();
    for core in crew::other_cores() {
        // Some are copies of copies.
        let from = if core % 2 == 0 {
            copies.last().unwrap_or(&memory)
        } else {
            &memory
        };
        copies.push(from.copy()?);
    }
    for (place, memory) in MEMORY.iter().zip([&memory].into_iter().chain(&copies)) {
        place.store(memory.start().get(), Ordering::Release);
    }
    let mut crew = Crew::new();
    crew.add_each(scribbler, Draws::Program)?;
    crew.start()?;
    scribble(0);
    crew.join()?;
    let finished = TALLY.take();
    check_eq!(finished, [1 + copies.len() as u64]);
    Ok(())
}

/// Counts in its own word of each page of what all write, for as long as the case lasts.
fn count(core: u64) {
    crew::arrive();
    vm::attach();
    let mut random = Random::new(core);
    let start = MEMORY[0].load(Ordering::Acquire);
    while !crew::is_over() {
        let page = random.below(PAGES);
        let Some(counted) = COUNTED
            .get(core as usize)
            .and_then(|pages| pages.get(page as usize))
        else {
            return crew::broken(page, core);
        };
        let before = counted.load(Ordering::Relaxed);
        let at = word(start, page, core);
        if get(at) != original(page, core) + (before << 16) {
            return crew::broken(get(at), original(page, core) + (before << 16));
        }
        set(at, get(at) + (1 << 16));
        counted.store(before + 1, Ordering::Relaxed);
        if random.below(64) == 0 {
            environment::yield_now();
        }
    }
}

/// Copies what all write, over and over: a copy has of each word a value that it had meanwhile, and keeps it.
fn snapshots() -> Outcome {
    for place in COUNTED.as_flattened() {
        place.store(0, Ordering::Relaxed);
    }
    let memory = filled()?;
    let start = memory.start().get();
    MEMORY[0].store(start, Ordering::Release);
    let mut crew = Crew::new();
    crew.add_each(count, Draws::Program)?;
    crew.start()?;
    let mut random = Random::new(99);
    let mut changed = 0;
    for round in crew::rounds(COPIES) {
        let before = counted();
        let copy = memory.copy()?;
        changed += check_copy(&copy, &before, round, &mut random)?;
        drop(copy);
        crew::check_whole()?;
    }
    let elsewhere = Elsewhere::new(&memory)?;
    elsewhere.watch()?;
    crew::finish();
    crew.join()?;
    elsewhere.end()?;
    for (at, counted) in words(start).zip(counted()) {
        check_eq!(get(at.0), at.1 + (counted << 16), "in the end");
    }
    say(format!(
        "{} stores, {changed} words stored to during a copy",
        counted().into_iter().sum::<u64>()
    ));
    Ok(())
}

/// All words, with what they held at first.
fn words(start: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..CORES as u64).flat_map(move |core| {
        (0..PAGES).map(move |page| (word(start, page, core), original(page, core)))
    })
}

/// What has been counted, in the order of [`words`].
fn counted() -> Vec<u64> {
    let places = COUNTED.as_flattened().iter();
    places.map(|place| place.load(Ordering::Relaxed)).collect()
}

/// Stores by others for which a copy is left alone, and how long at most.
const STORES_MEANWHILE: u64 = 60;
const MICROSECONDS: u64 = 20_000;

/// Lets the others store some more than `already`, to pages some of which are the copy's as well.
fn let_them(already: u64) {
    let begin = time::ticks();
    while counted().into_iter().sum::<u64>() < already + STORES_MEANWHILE
        && time::microseconds(time::ticks() - begin) < MICROSECONDS
        && !crew::is_over()
    {
        time::relax();
    }
}

/// Checks one copy, and stores to it. How many of its words had changed since `before`.
fn check_copy(
    copy: &Memory,
    before: &[u64],
    round: u64,
    random: &mut Random,
) -> Result<u64, Failure> {
    let start = copy.start().get();
    let found: Vec<u64> = words(start).map(|(at, _)| get(at)).collect();
    let after = counted();
    let mut changed = 0;
    for (((_, first), found), (before, after)) in
        words(start).zip(&found).zip(before.iter().zip(&after))
    {
        let count = found.wrapping_sub(first) >> 16;
        // A store may be in memory and not yet counted.
        check!(
            (*before..=after + 1).contains(&count) && found & 0xffff == first,
            "round {round}: {found:#x} in a copy, counted {before} before it and {after} after it"
        );
        changed += u64::from(count != *before);
    }
    let_them(after.iter().sum());
    for ((at, _), found) in words(start).zip(&found) {
        check_eq!(
            get(at),
            *found,
            "round {round}: a copy's word, a while later"
        );
    }
    // Some of it is written to, which is nobody else's affair.
    for _ in 0..random.below(PAGES) {
        let at = word(start, random.below(PAGES), random.below(CORES as u64));
        set(at, u64::MAX);
        check_eq!(get(at), u64::MAX);
    }
    Ok(changed)
}

/// Where another space has what was copied to it, and its environment's u-area.
const THERE: u64 = 0x50_0000_0000;
const UAREA: u64 = THERE + PAGES * PAGE_SIZE;
/// How often the environment there looks.
const LOOKS: u64 = 50;

/// What all write, copied to another space, and an environment there that sees that nothing of it changes.
struct Elsewhere {
    space: Space<'static>,
    environment: Environment<'static>,
}

impl Elsewhere {
    fn new(memory: &Memory) -> Result<Self, Failure> {
        let there = place(THERE)?;
        let code = code::steady as *const () as u64;
        let space = space_with_code(code, there)?;
        vm::with(|own| own.lend(memory.start(), PAGES, space.object(), there))??;
        let uarea = memory::take_page()?;
        clear(uarea, place(Area::address(0))?)?;
        let environment = Environment::create(space, uarea, place(UAREA)?)?;
        let mut frame = Frame {
            pc: code,
            ..Frame::default()
        };
        frame.x[19] = THERE;
        frame.x[20] = PAGES * PAGE_SIZE / APART;
        frame.x[21] = APART;
        frame.x[22] = LOOKS;
        environment.set_saved(&frame)?;
        Ok(Self { space, environment })
    }

    fn watch(&self) -> Outcome {
        use exopi_rt::domain::EnvironmentState::{Stopped, Suspended};

        let state = || self.environment.state();
        self.environment.run(2)?;
        wait(
            || Ok([Stopped, Suspended].contains(&state())),
            || format!("{:?}", state()),
        )?;
        check_eq!(state(), Stopped, "{:x?}", self.environment.saved());
        Ok(())
    }

    /// Nobody changes the memory any more.
    fn end(self) -> Outcome {
        let pages = counters::pages_of(self.space)?;
        self.environment.destroy()?;
        counters::give_back(self.space, &pages)
    }
}

/// Fills a page with zeros, by way of `at`, where nothing is.
fn clear(page: exopi_rt::PageNumber, at: VirtAddr) -> Outcome {
    memory::supply_tables(at)?;
    insert(at, page, 1, RW).unless_stopped()?;
    // SAFETY: the page is mapped there, and nobody else's.
    unsafe { core::ptr::write_bytes(at.get() as *mut u8, 0, PAGE_SIZE as usize) };
    remove(at, 1).unless_stopped()?;
    Ok(memory::remove_tables(at)?)
}
