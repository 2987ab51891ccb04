//! Accounts, spaces and environments ended by several cores at once, while their members run, map, allocate and make
//! accounts of their own.

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::account::Allowance;
use exopi_rt::cap::AccountCap;
use exopi_rt::capability::AccountRights;
use exopi_rt::domain::ObjectName;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::uarea::{Frame, UArea};
use exopi_rt::{
    Account, Environment, Error, Object, PageSelect, PageSource, Space, VirtAddr, environment,
    memory, space, stubs,
};

use crate::area::{RW, insert, place, remove};
use crate::counters::{Purse, space_with_code, take_low_pages_next};
use crate::crew::{self, Crew, Draws, Random, Tally};
use crate::harness::{Failure, Outcome, say};
use crate::other::{code, stop};

/// Accounts at a time, and environments that each has places for.
const ACCOUNTS: u64 = 5;
const MEMBERS: u64 = 4;
/// What each core does, in acts.
const ACTS: u64 = 1200;
/// Where members have their u-area, and behind it a page to map: 2 MiB with tables of the program's.
const AT: u64 = 0x2d_0000_0000;
/// Behind them, where each core looks into a page before it becomes a u-area.
const SCRATCH: u64 = AT + 2 * ACCOUNTS * MEMBERS * PAGE_SIZE;

/// What an account may use: less than its members ask for.
const ALLOWANCE: Allowance = Allowance {
    pages: 24,
    environments: 3,
    spaces: 1,
    accounts: 2,
};

/// Names of accounts that there are or were, and of their members; 0 for none.
static NAMES: [AtomicU64; ACCOUNTS as usize] = [const { AtomicU64::new(0) }; _];
static MEMBERS_NAMES: [AtomicU64; (ACCOUNTS * MEMBERS) as usize] = [const { AtomicU64::new(0) }; _];

/// What was done.
static TALLY: Tally<8> = Tally::new();
const MADE: usize = 0;
const BORN: usize = 1;
const RUN: usize = 2;
const STOPPED: usize = 3;
const ENDED: usize = 4;
const BUSY: usize = 5;
const GONE: usize = 6;
const SPACES: usize = 7;

/// What any call may say of an account that somebody else may end at any time, and what of what was in it.
const ENDING: &[Error] = &[Error::NotYours, Error::Stale];

/// Tells of a refusal that no race with an end explains, and counts those that one does.
#[track_caller]
fn lost(error: Error, also: &[Error]) {
    if ENDING.contains(&error) {
        TALLY.count(GONE);
    } else {
        if error == Error::Busy {
            TALLY.count(BUSY);
        }
        crew::known(error, also);
    }
}

fn name_in(place: &AtomicU64) -> Option<ObjectName> {
    match place.load(Ordering::Acquire) {
        0 => None,
        word => Some(ObjectName::from_word(word)),
    }
}

/// Makes an account for a place that has none.
fn make_account(place: &AtomicU64) {
    let Ok(account) = Account::create(ALLOWANCE).map_err(|error| crew::known(error, &[])) else {
        return;
    };
    TALLY.count(MADE);
    let word = account.name().map_or(0, ObjectName::word);
    let placed = place.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed);
    if placed.is_err()
        && let Err(error) = account.destroy()
    {
        crew::known(error, &[]);
    }
}

/// Fills in the state that a member begins with, drawing on its account, which may go at any moment.
fn born(core: u64, at: VirtAddr) -> Result<ObjectName, Error> {
    let page = memory::take_page()?;
    let scratch = VirtAddr::new(SCRATCH + core * PAGE_SIZE).ok_or(Error::BadAddress)?;
    let filled = insert(scratch, page, 1, RW).unless_stopped();
    if filled.is_ok() {
        fill(scratch.get(), at.get() + PAGE_SIZE);
        match remove(scratch, 1).unless_stopped() {
            Ok(_) | Err(Error::Vacant) => {}
            Err(error) => return Err(error),
        }
    }
    let made = filled.and_then(|_| stubs::env_create(Object::Own, page, at));
    if made.is_err() {
        // Refused if the account has gone, and the page with it.
        let _ = memory::give_page(page);
    }
    made
}

/// Writes the state of a member that maps pages at `map`. The page at `to` may vanish under it.
fn fill(to: u64, map: u64) {
    for word in 0..PAGE_SIZE / 8 {
        // SAFETY: the page is this core's scratch page.
        unsafe { crew::store(to + word * 8, 0) };
    }
    let mut source = Arguments::new([0; 6]);
    PageSource::New(PageSelect::Any).encode(&mut source);
    let [source, ..] = source.words();
    let saved = to + core::mem::offset_of!(UArea, saved) as u64;
    let x = |n: u64| saved + 8 * n;
    let pc = saved + core::mem::offset_of!(Frame, pc) as u64;
    for (at, word) in [
        (x(19), map),
        (x(20), source),
        (pc, code::live as *const () as u64),
    ] {
        // SAFETY: as above.
        unsafe { crew::store(at, word) };
    }
}

/// Does something to a member of the account that is drawn on.
fn act_on_member(core: u64, index: u64, random: &mut Random) {
    let (Some(place), Some(at)) = (
        MEMBERS_NAMES.get(index as usize),
        VirtAddr::new(AT + 2 * index * PAGE_SIZE),
    ) else {
        return crew::broken(index, 0);
    };
    let Some(name) = name_in(place).filter(|_| random.below(4) != 0) else {
        match born(core, at) {
            Ok(name) => {
                TALLY.count(BORN);
                place.store(name.word(), Ordering::Release);
            }
            Err(error) => lost(error, &[Error::OverAllowance, Error::Occupied]),
        }
        return;
    };
    let object = Object::Owned(name);
    match random.below(6) {
        0..3 => match stubs::env_run(object, 1 + random.below(3)) {
            Ok(()) => TALLY.count(RUN),
            Err(error) => lost(error, &[Error::NotReady]),
        },
        3 => match stop(object) {
            Ok(()) => TALLY.count(STOPPED),
            Err(error) => lost(error, &[Error::Busy]),
        },
        4 => make_space(),
        // SAFETY: nobody refers to its u-area.
        _ => match unsafe { stubs::env_destroy(object) }.unless_stopped() {
            Ok(_) => TALLY.count(ENDED),
            Err(error) => lost(error, &[Error::Busy]),
        },
    }
}

/// Makes a space of the account that is drawn on, which nobody joins.
fn make_space() {
    match space::create() {
        Ok(_) => TALLY.count(SPACES),
        Err(error) => lost(error, &[Error::OverAllowance]),
    }
}

/// Ends an account, as far as a few calls do that.
fn end_account(place: &AtomicU64, name: ObjectName, random: &mut Random) {
    for _ in 0..1 + random.below(20) {
        match stubs::account_destroy(Object::Owned(name)).unless_stopped() {
            Ok(0) => {}
            Err(Error::Busy) => TALLY.count(BUSY),
            Ok(_) | Err(Error::NotYours | Error::Stale) => {
                let _ = place.compare_exchange(name.word(), 0, Ordering::AcqRel, Ordering::Relaxed);
                TALLY.count(ENDED);
                return;
            }
            Err(error) => {
                crew::known(error, &[]);
            }
        }
        crew::pause(random);
    }
}

fn act(core: u64, random: &mut Random) {
    let which = random.below(ACCOUNTS);
    let Some(place) = NAMES.get(which as usize) else {
        return crew::broken(which, 0);
    };
    let Some(name) = name_in(place) else {
        return make_account(place);
    };
    if random.below(24) == 0 {
        return end_account(place, name, random);
    }
    match Account::Owned(name).bind() {
        Ok(()) => act_on_member(core, which * MEMBERS + random.below(MEMBERS), random),
        Err(error) => lost(error, &[]),
    }
    if let Err(error) = Account::Own.bind() {
        crew::known(error, &[]);
    }
}

fn work(core: u64) {
    let mut random = Random::new(core);
    for _ in crew::rounds(ACTS) {
        act(core, &mut random);
        crew::pause(&mut random);
        if random.below(4) == 0 {
            environment::yield_now();
        }
    }
}

fn hand(core: u64) {
    crew::arrive();
    work(core);
}

pub(super) fn everybody_ends_everything() -> Outcome {
    memory::supply_tables(place(AT)?)?;
    take_low_pages_next(512)?;
    let mut crew = Crew::new();
    crew.add_each(hand, Draws::Program)?;
    crew.start()?;
    crate::catch::with_handler(crew::handler, || work(0));
    crew.join()?;
    for place in &NAMES {
        if let Some(name) = name_in(place) {
            place.store(0, Ordering::Relaxed);
            match Account::Owned(name).destroy() {
                Ok(()) | Err(Error::NotYours) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    for place in &MEMBERS_NAMES {
        place.store(0, Ordering::Relaxed);
    }
    memory::remove_tables(place(AT)?)?;
    let [made, born, run, stopped, ended, busy, gone, spaces] = TALLY.take();
    say(format!(
        "{made} accounts, {born} environments, {spaces} spaces; {run} run, {stopped} stopped, {ended} ended; {busy} busy, \
         {gone} gone under the call"
    ));
    Ok(())
}

/// Rounds of the case below.
const ROUNDS: u64 = 12;
/// Which round it is, and the account of it.
static ROUND: AtomicU64 = AtomicU64::new(0);
static CAP: [AtomicU64; exopi_rt::capability::CAPABILITY_WORDS] = [const { AtomicU64::new(0) }; _];
/// Who has seen the account's end, how often a call was the one that ended it, and how often one was busy.
static SEEN: Tally<3> = Tally::new();

/// Asks for the end of the account until there is none.
fn end_it(cap: &AccountCap, random: &mut Random) {
    for _ in 0..1_000_000 {
        match stubs::account_destroy(Object::Presented(cap.into())).unless_stopped() {
            Ok(0) => {}
            Ok(_) => {
                SEEN.count(1);
                break;
            }
            Err(Error::Stale) => break,
            Err(Error::Busy) => SEEN.count(2),
            Err(error) => {
                crew::known(error, &[]);
                break;
            }
        }
        // It may be a member of it that waits for this core.
        environment::yield_now();
        crew::pause(random);
    }
    SEEN.count(0);
}

fn ender(core: u64) {
    crew::arrive();
    let mut random = Random::new(core);
    let mut done = 0;
    while !crew::is_over() {
        let round = ROUND.load(Ordering::Acquire);
        if round == done {
            environment::yield_now();
            crew::pause(&mut random);
            continue;
        }
        done = round;
        let words = CAP.each_ref().map(|word| word.load(Ordering::Relaxed));
        match exopi_rt::Capability::from_words(words).and_then(AccountCap::new) {
            Ok(cap) => end_it(&cap, &mut random),
            Err(error) => return crew::broken(error as u64, 0),
        }
    }
}

/// What the accounts of the second case have.
const LARGE: Allowance = Allowance {
    pages: 90,
    environments: 4,
    spaces: 1,
    accounts: 4,
};

/// Fills an account: spaces with several members each, on all other cores and on none; accounts in it.
fn furnish(purse: &Purse) -> Outcome {
    let uareas = place(AT + TABLES)?;
    purse.bound(|| {
        Account::create(Allowance {
            pages: 5,
            ..Allowance::default()
        })?;
        for _ in 0..LARGE.spaces {
            let code = code::steady as *const () as u64;
            let space = space_with_code(code, uareas)?;
            for member in 0..4 {
                join(space, uareas.plus(member).ok_or(Error::BadAddress)?, member)?;
            }
        }
        Ok(())
    })
}

/// How far from the members of the first case.
const TABLES: u64 = 0x10_0000;

/// Puts a member in a space. It runs for ever on core `member`, giving its turns away; the case's own core has none.
fn join(space: Space<'_>, at: VirtAddr, member: u64) -> Outcome {
    let uarea = memory::take_page()?;
    let environment = Environment::create(space, uarea, at)?;
    let mut frame = Frame {
        pc: code::steady as *const () as u64,
        ..Frame::default()
    };
    // What it looks at is its code, which nobody changes.
    frame.x[19] = frame.pc / 8 * 8;
    frame.x[20] = 5000;
    frame.x[22] = u64::MAX;
    environment.set_saved(&frame)?;
    if crew::other_cores().contains(&member) {
        environment.run(member)?;
    }
    Ok(())
}

/// All cores ask for the end of one account at once; one of them or none, the kernel in idle time, brings it about.
pub(super) fn one_end_for_all_who_ask() -> Outcome {
    let _ = SEEN.take();
    ROUND.store(0, Ordering::Release);
    let mut crew = Crew::new();
    crew.add_each(ender, Draws::Own(Allowance::default()))?;
    crew.start()?;
    let mut random = Random::new(0);
    let cores = crew::other_cores().end;
    let mut last = [0; 3];
    for round in crew::rounds(ROUNDS) {
        let round = round + 1;
        take_low_pages_next(LARGE.pages as usize)?;
        let purse = Purse(Account::create(LARGE)?);
        furnish(&purse)?;
        let cap = purse.0.mint(AccountRights::DESTROY)?;
        let words = cap.capability().words();
        for (place, word) in CAP.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        ROUND.store(round, Ordering::Release);
        end_it(&cap, &mut random);
        wait_for_all(cores)?;
        let [seen, ended, busy] = SEEN.take();
        check_eq!(seen, cores);
        check!(ended <= 1, "round {round}: {ended} calls have ended it");
        check!(purse.0.record().is_none(), "round {round}: it is there");
        last = [last[0] + 1, last[1] + ended, last[2] + busy];
        crew::check_whole()?;
    }
    crew::finish();
    crew.join()?;
    let [rounds, ended, busy] = last;
    say(format!(
        "{rounds} accounts, {ended} ended by a call, {busy} busy"
    ));
    Ok(())
}

fn wait_for_all(cores: u64) -> Result<(), Failure> {
    crate::other::wait(
        || {
            crew::check_whole()?;
            Ok(SEEN.peek(0) == cores)
        },
        || format!("{} of {cores} have seen the end", SEEN.peek(0)),
    )
}
