//! What is asked back, from holders that cooperate, are slow, lie, die, do nothing or turn in circles.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::{ObjectName, Resource};
use exopi_rt::page::FrameType;
use exopi_rt::revocation::{
    Answer, Loss, NOTICE_BIT, RevocationRecord, RevocationState, Wanted, order, vector,
};
use exopi_rt::uarea::{Entry, UpcallClass};
use exopi_rt::{
    Account, Call, Environment, Error, Object, PageNumber, PageSelect, exposed, memory, stubs,
    time, upcall,
};

use crate::area::{Area, RW, free_run, insert, place, record, remove};
use crate::catch;
use crate::domain::own_name;
use crate::harness::{Failure, Outcome, Suite};
use crate::other::wait;
use crate::second::Second;

mod turning;

pub(crate) const SUITE: Suite = Suite {
    name: "revocation",
    cases: &[
        ("gives_what_was_asked_for", || {
            deaf(gives_what_was_asked_for)
        }),
        ("has_more_time_once", has_more_time_once),
        ("a_lie_is_no_answer", a_lie_is_no_answer),
        ("frees_something_else", frees_something_else),
        ("losses_are_told_exactly", losses_are_told_exactly),
        ("what_has_no_room_is_counted", what_has_no_room_is_counted),
        ("takes_from_one_that_turns", || {
            deaf(turning::takes_from_one_that_turns)
        }),
        ("takes_when_every_core_is_held", || {
            deaf(turning::takes_when_every_core_is_held)
        }),
        ("takes_from_one_that_makes_calls", || {
            deaf(turning::takes_from_one_that_makes_calls)
        }),
        ("takes_superpages_apart", || {
            deaf(turning::takes_superpages_apart)
        }),
        ("takes_from_the_dead", || deaf(takes_from_the_dead)),
        ("leaves_the_guaranteed", turning::leaves_the_guaranteed),
        (
            "an_innocent_keeps_its_own",
            turning::an_innocent_keeps_its_own,
        ),
        ("a_child_is_no_hiding_place", || {
            deaf(turning::a_child_is_no_hiding_place)
        }),
        ("an_order_that_changes_all_the_time", || {
            an_order_that_changes_all_the_time(0x5eed)
        }),
        ("set_up_pages_stay", set_up_pages_stay),
    ],
};

const PAGES: Wanted = Wanted::Any(Resource::Pages);
/// Notices of outcomes: each request has one of its own, from this one on.
const FIRST_BIT: u64 = 8;
/// Requests so far.
static REQUESTS: AtomicU64 = AtomicU64::new(0);
/// Pages that a holder has for what is asked.
const HELD: u64 = 12;

fn ticks(microseconds: u64) -> u64 {
    time::ticks_per_second() * microseconds / 1_000_000
}

/// Long enough for whatever a case does before it.
fn long() -> u64 {
    ticks(40_000_000)
}

fn nth(first: PageNumber, n: u64) -> PageNumber {
    PageNumber::new(first.get() + n as u32)
}

/// Does `work` while this program draws on `account`.
fn bound<T>(account: Account<'_>, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    account.bind()?;
    let done = work();
    Account::Own.bind()?;
    done
}

/// Takes `count` pages in a row for whoever is drawn on.
fn take(count: u64) -> Result<PageNumber, Failure> {
    let first = free_run(count)?;
    let taken = stubs::page_alloc(PageSelect::Exact(first), count).progress;
    check_eq!(taken.unless_stopped(), Ok(count));
    Ok(first)
}

/// The notice of the next request.
fn next_bit() -> u64 {
    FIRST_BIT + REQUESTS.fetch_add(1, Ordering::Relaxed) % 20
}

/// That of the last one.
fn last_bit() -> u64 {
    FIRST_BIT + (REQUESTS.load(Ordering::Relaxed) + 19) % 20
}

/// Runs a case in which this program takes no notices, so that they can be seen to wait.
fn deaf(case: fn() -> Outcome) -> Outcome {
    let before = upcall::entry(UpcallClass::Notice);
    // SAFETY: there is no handler.
    unsafe { upcall::set_entry(UpcallClass::Notice, Entry { pc: 0, sp: 0 }) };
    let outcome = case();
    // SAFETY: it was in force before.
    unsafe { upcall::set_entry(UpcallClass::Notice, before) };
    outcome
}

fn ask(of: Object<'_>, wanted: Wanted, count: u32, after: u64, more: u64) -> Result<u64, Error> {
    // SAFETY: what the holders of these cases lose is theirs, and nothing of this program lies in it.
    unsafe { stubs::revoke_request(of, wanted, count, after, more, next_bit()) }
}

fn state(name: ObjectName) -> Result<RevocationRecord, Failure> {
    exposed::revocation_at(name.index).ok_or_else(|| Failure::new("no record"))
}

/// Waits until there is an outcome.
fn outcome(name: ObjectName) -> Result<RevocationRecord, Failure> {
    wait(
        || Ok(!state(name)?.state().is_open()),
        || alloc::format!("{:?}", exposed::revocation_at(name.index)),
    )?;
    state(name)
}

/// Whether notice `bit` waits for this program, which takes none in these cases.
fn told(bit: u64) -> Result<bool, Failure> {
    let record = exposed::environment(own_name()?);
    let record = record.ok_or_else(|| Failure::new("no record of this environment"))?;
    Ok(record.notices & 1 << bit != 0)
}

fn allowed(account: Account<'_>) -> Result<[u32; 2], Failure> {
    let record = account.record().ok_or_else(|| Failure::new("no account"))?;
    Ok([record.allowance[0], record.used[0]])
}

/// A holder that does what it is told, with pages of its account at [`Area`]'s begin.
struct Holder {
    second: Second,
    first: PageNumber,
}

impl Holder {
    fn new(guaranteed: u32) -> Result<Self, Failure> {
        let second = Second::with_pages(HELD as u32, guaranteed)?;
        let first = bound(second.account(), || take(HELD))?;
        Ok(Self { second, first })
    }

    fn name(&self) -> ObjectName {
        self.second.name()
    }

    fn ask(&self, count: u32, after: u64, more: u64) -> Result<u64, Failure> {
        Ok(ask(
            self.second.environment().object(),
            PAGES,
            count,
            after,
            more,
        )?)
    }

    fn answer(&self, serial: u64, answer: Answer) -> Result<Option<Error>, Failure> {
        let words = [serial, answer as u64, 0, 0, 0, 0];
        Ok(self.second.call(Call::revoke_answer, words)?.error())
    }

    fn free(&self, n: u64, count: u64) -> Outcome {
        let words = [nth(self.first, n).get().into(), 0, count, 0, 0, 0];
        let reply = self.second.call(Call::page_free, words)?;
        check_eq!((reply.error(), reply.status >> 16), (None, count));
        Ok(())
    }

    fn set_up(&self, first: u64, count: u64, order: u64) -> Result<Option<Error>, Failure> {
        let vector = nth(self.first, first).get().into();
        let order = nth(self.first, order).get().into();
        let words = [vector, count, order, 0, 0, 0];
        Ok(self.second.call(Call::revoke_setup, words)?.error())
    }

    /// Maps its page `n` here, to be read and written.
    fn show(&self, at: u64, n: u64) -> Outcome {
        bound(self.second.account(), || {
            insert(place(Area::address(at))?, nth(self.first, n), 1, RW).unless_stopped()?;
            Ok(())
        })
    }

    /// What this says is kept and what goes first, in the page at `at`.
    fn write_order(&self, at: u64, numbers: &[(u32, u64)]) {
        let base = Area::address(at) as *mut u64;
        for (n, page) in numbers {
            let place = base.wrapping_add(order::place(*n) as usize);
            // SAFETY: the page is mapped there.
            let word = unsafe { place.read_volatile() };
            let word = order::with_number(*n, word, nth(self.first, *page));
            // SAFETY: as above.
            unsafe { place.write_volatile(word) };
        }
    }
}

/// A word of a vector that is mapped at `at`.
fn word(at: u64, n: u64) -> u64 {
    // SAFETY: the page is mapped there.
    unsafe {
        (Area::address(at) as *const u64)
            .wrapping_add(n as usize)
            .read_volatile()
    }
}

fn gives_what_was_asked_for() -> Outcome {
    let mut holder = Holder::new(0)?;
    let [allowance, used] = allowed(holder.second.account())?;
    let own = allowed(Account::Own)?;
    let serial = holder.ask(3, long(), 0)?;
    wait(
        || Ok(holder.second.is_told(NOTICE_BIT)),
        || "it hears nothing".into(),
    )?;
    let asked = state(holder.name())?;
    check_eq!(asked.state(), RevocationState::Asked);
    check_eq!((asked.asked, asked.target), (3, used - 3));
    let bit = last_bit();
    let twice = ask(holder.second.environment().object(), PAGES, 1, long(), 0);
    check_eq!(twice, Err(Error::Busy));
    check!(!told(bit)?);
    holder.free(4, 3)?;
    check_eq!(holder.answer(serial, Answer::Done)?, None);
    let given = state(holder.name())?;
    check_eq!(given.state(), RevocationState::Given);
    check_eq!((given.given, given.taken), (3, 0));
    check_eq!(allowed(holder.second.account())?, [allowance - 3, used - 3]);
    // It has flowed back.
    check_eq!(allowed(Account::Own)?, [own[0], own[1] - 3]);
    check!(told(bit)?);
    holder.second.close()
}

fn has_more_time_once() -> Outcome {
    let mut holder = Holder::new(0)?;
    let serial = holder.ask(2, long(), long())?;
    check_eq!(holder.answer(serial, Answer::MoreTime)?, None);
    let extended = state(holder.name())?;
    check_eq!(extended.state(), RevocationState::Extended);
    check_eq!(extended.deadline, extended.limit);
    check_eq!(
        holder.answer(serial, Answer::MoreTime)?,
        Some(Error::MissingRight)
    );
    holder.free(0, 2)?;
    check_eq!(holder.answer(serial, Answer::Done)?, None);
    check_eq!(state(holder.name())?.given, 2);
    check_eq!(holder.answer(serial, Answer::Done)?, Some(Error::Stale));
    holder.second.close()
}

/// Its stacks are what it has most mappings of: it is told what may go.
fn offer(holder: &Holder, area: u64, pages: core::ops::Range<u64>) -> Outcome {
    holder.show(area, 0)?;
    check_eq!(holder.set_up(1, 1, 0)?, None);
    let numbers: Vec<(u32, u64)> = pages
        .enumerate()
        .map(|(n, page)| (8 + n as u32, page))
        .collect();
    holder.write_order(area, &numbers);
    Ok(())
}

fn a_lie_is_no_answer() -> Outcome {
    let area = Area::new()?;
    let mut holder = Holder::new(0)?;
    offer(&holder, 0, 4..8)?;
    let serial = holder.ask(2, ticks(500_000), 0)?;
    check_eq!(
        holder.answer(serial, Answer::Done)?,
        Some(Error::OverAllowance)
    );
    check_eq!(state(holder.name())?.state(), RevocationState::Asked);
    let taken = outcome(holder.name())?;
    check_eq!(taken.state(), RevocationState::Taken);
    check_eq!((taken.given, taken.taken, taken.missed), (0, 2, 0));
    check!(time::ticks() >= taken.deadline);
    check_eq!(record(nth(holder.first, 4))?.kind, FrameType::Free);
    check_eq!(record(nth(holder.first, 6))?.kind, FrameType::Plain);
    remove(place(Area::address(0))?, 1).unless_stopped()?;
    holder.second.close()?;
    area.close()
}

/// What it frees counts, whatever it is; the rest is taken.
fn frees_something_else() -> Outcome {
    let area = Area::new()?;
    let mut holder = Holder::new(0)?;
    offer(&holder, 0, 4..8)?;
    let of = holder.second.environment().object();
    let wanted = Wanted::Pages(nth(holder.first, 8));
    let serial = ask(of, wanted, 2, ticks(500_000), 0)?;
    holder.free(10, 2)?;
    check_eq!(
        holder.answer(serial, Answer::Done)?,
        Some(Error::OverAllowance)
    );
    let taken = outcome(holder.name())?;
    check_eq!((taken.asked, taken.taken), (2, 2));
    for n in 8..12 {
        check_eq!(record(nth(holder.first, n))?.kind, FrameType::Free);
    }
    check_eq!(record(nth(holder.first, 4))?.kind, FrameType::Plain);
    remove(place(Area::address(0))?, 1).unless_stopped()?;
    holder.second.close()?;
    area.close()
}

fn losses_are_told_exactly() -> Outcome {
    let area = Area::new()?;
    let mut holder = Holder::new(1)?;
    holder.show(0, 0)?;
    holder.show(1, 1)?;
    holder.show(2, 5)?;
    check_eq!(holder.set_up(1, 1, 0)?, None);
    check_eq!(word(1, vector::WRITTEN), 0);
    // 7 stays; 4, 5, 6 follow each other; 5 twice.
    holder.write_order(
        0,
        &[
            (0, 7),
            (8, 9),
            (9, 4),
            (10, 5),
            (11, 5),
            (12, 6),
            (13, 7),
            (14, 2),
        ],
    );
    let serial = holder.ask(5, ticks(300_000), 0)?;
    check_eq!(outcome(holder.name())?.taken, 5);
    let found: Vec<Loss> = vector::unread(1, |n| word(1, n)).collect();
    let loss = |n: u64, count| Loss {
        serial,
        resource: Resource::Pages,
        first: nth(holder.first, n).get().into(),
        count,
    };
    check_eq!(found, [loss(9, 1), loss(4, 3), loss(2, 1)]);
    check_eq!(record(nth(holder.first, 7))?.kind, FrameType::Plain);
    // What was mapped is not.
    check!(catch::read(Area::address(2)).is_err());
    for at in 0..2 {
        remove(place(Area::address(at))?, 1).unless_stopped()?;
    }
    holder.second.close()?;
    area.close()
}

fn what_has_no_room_is_counted() -> Outcome {
    let area = Area::new()?;
    let mut holder = Holder::new(0)?;
    offer(&holder, 0, 4..8)?;
    holder.write_order(0, &[(8, 4), (9, 6), (10, 8), (11, 10)]);
    holder.show(1, 1)?;
    let room = u64::from(vector::capacity(1)) - 1;
    let read = (Area::address(1) as *mut u64).wrapping_add(vector::READ as usize);
    // SAFETY: the page is mapped there.
    unsafe { read.write_volatile(0_u64.wrapping_sub(room)) };
    holder.ask(4, ticks(300_000), 0)?;
    let taken = outcome(holder.name())?;
    check_eq!((taken.taken, taken.missed), (4, 3));
    check_eq!(word(1, vector::WRITTEN), 1);
    check_eq!(word(1, vector::MISSED), 3);
    for at in 0..2 {
        remove(place(Area::address(at))?, 1).unless_stopped()?;
    }
    holder.second.close()?;
    area.close()
}

fn takes_from_the_dead() -> Outcome {
    for step in 0..2 {
        let mut holder = Holder::new(0)?;
        let [allowance, used] = allowed(holder.second.account())?;
        let serial = holder.ask(4, long(), long())?;
        if step == 1 {
            check_eq!(holder.answer(serial, Answer::MoreTime)?, None);
        }
        let name = holder.name();
        bound(holder.second.account(), || {
            Ok(Environment::Owned(name).destroy()?)
        })?;
        let died = outcome(name)?;
        check_eq!((died.serial, died.state()), (serial, RevocationState::Died));
        check_eq!(died.given + died.taken, 4);
        check_eq!(allowed(holder.second.account())?, [allowance - 4, used - 4]);
        check!(told(last_bit())?);
        holder.second.close()?;
    }
    Ok(())
}

/// Whatever is in the order page, and whenever it changes, nobody else's pages go, and no more than was asked for.
fn an_order_that_changes_all_the_time(seed: u64) -> Outcome {
    let area = Area::new()?;
    let mut holder = Holder::new(2)?;
    offer(&holder, 0, 4..5)?;
    let innocent = take(4)?;
    let own: Vec<_> = (0..4).map(|n| record(nth(innocent, n))).collect();
    let words = Area::address(0) as *mut u64;
    let mut random = seed;
    holder.ask(8, ticks(50_000), 0)?;
    let limit = time::ticks() + long();
    while state(holder.name())?.state().is_open() && time::ticks() < limit {
        for place in 0..vector::PAGE_WORDS as usize {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Pages of the holder's and of this program's, and what is none.
            let near = random % 3;
            let base = if near == 0 { holder.first } else { innocent };
            let number = base.get().wrapping_add(random as u32 >> 8 & 15);
            let word = if near == 2 {
                random
            } else {
                u64::from(number) << 32 | u64::from(number)
            };
            // SAFETY: the order page is mapped there.
            unsafe { words.wrapping_add(place).write_volatile(word) };
        }
    }
    let taken = state(holder.name())?;
    check_eq!(
        (taken.state(), taken.taken),
        (RevocationState::Taken, 8),
        "seed {seed:#x}"
    );
    let now: Vec<_> = (0..4).map(|n| record(nth(innocent, n))).collect();
    check!(
        own.iter()
            .zip(&now)
            .all(|(own, now)| matches!((own, now), (Ok(own), Ok(now)) if own == now))
    );
    for n in 0..4 {
        memory::give_page(nth(innocent, n))?;
    }
    let _ = remove(place(Area::address(0))?, 1);
    holder.second.close()?;
    area.close()
}

fn set_up_pages_stay() -> Outcome {
    let mut holder = Holder::new(0)?;
    check_eq!(holder.set_up(2, 2, 4)?, None);
    for n in 2..5 {
        let pinned = record(nth(holder.first, n))?;
        check_eq!((pinned.pins(), pinned.references), (1, 1));
    }
    let free = [nth(holder.first, 3).get().into(), 0, 1, 0, 0, 0];
    let reply = holder.second.call(Call::page_free, free)?;
    check_eq!(reply.error(), Some(Error::InUse));
    check_eq!(holder.set_up(2, 5, 4)?, Some(Error::BadCount));
    check_eq!(holder.set_up(0, 1, 0)?, None);
    check_eq!(record(nth(holder.first, 3))?.references, 0);
    check_eq!(record(holder.first)?.pins(), 2);
    holder.free(3, 1)?;
    holder.second.close()?;
    check_eq!(record(holder.first)?.kind, FrameType::Free);
    Ok(())
}
