//! Tables that all cores put in and take out at the same places, and what is mapped by them meanwhile.

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::{Error, PageNumber, TableLevel, VirtAddr, exposed};

use crate::area::{RW, give_run, insert, insert_table, place, remove, remove_table, take_run};
use crate::crew::{self, Crew, Draws, Random, Tally};
use crate::harness::{Outcome, say};

/// Where: a GiB with no table yet, of which a few times 2 MiB are used.
const AT: u64 = 0x2c_0000_0000;
/// How many.
const SPOTS: u64 = 3;
/// What each core does, in acts.
const ACTS: u64 = 4000;
/// Pages for tables: each is used once.
const POOL: u64 = 4096;
/// Most cores.
const CORES: u64 = 4;

/// First page of those for tables, and how many have been used; behind them one for each core to map.
static FIRST: AtomicU64 = AtomicU64::new(0);
static USED: AtomicU64 = AtomicU64::new(0);

/// What happened.
static TALLY: Tally<6> = Tally::new();
const INSERTED: usize = 0;
const OCCUPIED: usize = 1;
const REMOVED: usize = 2;
const NOT_EMPTY: usize = 3;
const MAPPED: usize = 4;
const NO_TABLE: usize = 5;

fn page(offset: u64) -> Option<PageNumber> {
    PageNumber::new(FIRST.load(Ordering::Relaxed) as u32).plus(offset)
}

/// Two pages that nobody has used yet.
fn fresh() -> Option<[PageNumber; 2]> {
    let used = USED.fetch_add(2, Ordering::Relaxed);
    if used + 2 > POOL {
        return None;
    }
    Some([page(used)?, page(used + 1)?])
}

fn act(core: u64) {
    let mut random = Random::new(core);
    let mut spare = fresh();
    for _ in crew::rounds(ACTS) {
        let spot = AT + random.below(SPOTS) * TableLevel::Three.span();
        let Some(at) = VirtAddr::new(spot + core * PAGE_SIZE) else {
            return crew::broken(spot, core);
        };
        match random.below(8) {
            0 => supply(at, TableLevel::Two, &mut spare),
            1 | 2 => supply(at, TableLevel::Three, &mut spare),
            3 => take_out(at, TableLevel::Two),
            4 => take_out(at, TableLevel::Three),
            _ => use_it(at, core),
        }
        crew::pause(&mut random);
    }
}

fn supply(at: VirtAddr, level: TableLevel, spare: &mut Option<[PageNumber; 2]>) {
    let Some([table, links]) = *spare else {
        return;
    };
    match insert_table(at, level, table, links) {
        Ok(()) => {
            TALLY.count(INSERTED);
            *spare = fresh();
        }
        Err(Error::Occupied) => TALLY.count(OCCUPIED),
        Err(error) => {
            crew::known(error, &[Error::NoTable]);
        }
    }
}

fn take_out(at: VirtAddr, level: TableLevel) {
    match remove_table(at, level) {
        Ok(_) => TALLY.count(REMOVED),
        Err(Error::NotEmpty) => TALLY.count(NOT_EMPTY),
        Err(error) => {
            crew::known(error, &[Error::Vacant, Error::NoTable]);
        }
    }
}

/// Maps this core's page at its own place, where nobody else maps or unmaps anything: a table that maps something
/// stays, whatever the others do.
fn use_it(at: VirtAddr, core: u64) {
    let Some(own) = page(POOL + core) else {
        return crew::broken(core, POOL);
    };
    match insert(at, own, 1, RW).unless_stopped() {
        Ok(_) => TALLY.count(MAPPED),
        Err(Error::NoTable) => return TALLY.count(NO_TABLE),
        Err(error) => return crew::broken(error as u64, 0),
    }
    let mark = at.get() ^ TALLY_MARK ^ core << 48;
    // SAFETY: the page is this core's.
    let stored = unsafe { crew::store(at.get(), mark) };
    if !stored || crew::load(at.get()) != Some(mark) {
        crew::broken(at.get(), mark);
    }
    let references = exposed::page(own).map(|record| record.references);
    if references != Some(1) {
        crew::broken(references.unwrap_or(0).into(), 1);
    }
    if let Err(error) = remove(at, 1).unless_stopped() {
        crew::broken(error as u64, 0);
    }
    if crew::load(at.get()).is_some() {
        crew::broken(at.get(), 0);
    }
}

/// Part of what is stored.
const TALLY_MARK: u64 = 0x7ab1_e000_0000;

fn hand(core: u64) {
    crew::arrive();
    act(core);
}

pub(super) fn come_and_go() -> Outcome {
    let first = take_run(POOL + CORES)?;
    FIRST.store(first.get().into(), Ordering::Relaxed);
    USED.store(0, Ordering::Relaxed);
    let mut crew = Crew::new();
    crew.add_each(hand, Draws::Program)?;
    crew.start()?;
    crate::catch::with_handler(crew::handler, || act(0));
    crew.join()?;
    for spot in 0..SPOTS {
        let at = place(AT + spot * TableLevel::Three.span())?;
        match remove_table(at, TableLevel::Three) {
            Ok(_) | Err(Error::Vacant | Error::NoTable) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match remove_table(place(AT)?, TableLevel::Two) {
        Ok(_) | Err(Error::Vacant) => {}
        Err(error) => return Err(error.into()),
    }
    check_eq!(
        exposed::page(first).map(|record| record.references),
        Some(0)
    );
    give_run(first, POOL + CORES)?;
    let [inserted, occupied, removed, not_empty, mapped, no_table] = TALLY.take();
    say(format!(
        "{inserted} tables inserted, {occupied} occupied, {removed} removed, {not_empty} in use, {mapped} pages mapped, \
         {no_table} without a table"
    ));
    Ok(())
}
