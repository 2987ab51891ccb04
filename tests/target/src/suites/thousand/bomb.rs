//! A program that makes as many of itself as it can.
//!
//! It runs Rust code in this program's space, by an account of its own. Each one makes others until it is refused, on all
//! cores at once; what refuses it must be its allowance. Meanwhile an environment beside it, and this program, go on.

use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::account::Allowance;
use exopi_rt::domain::Resource;
use exopi_rt::environment::{self, Builder};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::{Account, Error, Object, TableLevel, exposed, memory, space};

use crate::area::{Area, place};
use crate::counters::{Purse, take_low_pages_next};
use crate::crew::{self, Tally};
use crate::harness::{Failure, Outcome, say};
use crate::other::{Other, code, stop, wait};

/// Where the bombs have their stacks, and how far they are apart.
const AT: u64 = 0x2f_0000_0000;
const APART: u64 = 0x2_0000;
/// Pages that one takes: a stack, those of two handlers and a u-area.
const STACK_PAGES: u64 = 1;
/// More than there can be: tables for so many are there.
const PLACES: u64 = 96;

/// Next place for one.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// How many were made, have come to be refused, and have been refused by something else than their allowance.
static TALLY: Tally<3> = Tally::new();
const MADE: usize = 0;
const REFUSED: usize = 1;
const WRONGLY: usize = 2;
/// Not 0 if each makes accounts and spaces as well.
static GREEDY: AtomicU64 = AtomicU64::new(0);

const fn builder(number: u64, at: exopi_rt::VirtAddr) -> Builder<'static> {
    Builder::new(bomb, number, at).stack_pages(STACK_PAGES)
}

/// What each does.
fn bomb(number: u64) {
    crew::arrive();
    let refused = loop {
        if GREEDY.load(Ordering::Relaxed) != 0 {
            while Account::create(Allowance::default()).map_err(judge).is_ok() {}
            while space::create().map_err(judge).is_ok() {}
        }
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let at = exopi_rt::VirtAddr::new(AT + next * APART);
        let Some(at) = at.filter(|_| next < PLACES) else {
            break Error::OutOfRange;
        };
        match builder(next, at).start((number + next) % exposed::machine().cores) {
            Ok(_) => TALLY.count(MADE),
            Err(error) => break error,
        }
        environment::yield_now();
    };
    judge(refused);
    TALLY.count(REFUSED);
    // There it stays, with all it has: one that gives its turns away for ever, others asleep.
    loop {
        if number == 0 {
            environment::yield_now();
        } else {
            let _ = stop(Object::Own);
        }
    }
}

fn judge(refused: Error) {
    if refused != Error::OverAllowance {
        TALLY.count(WRONGLY);
        crew::broken(refused as u64, Error::OverAllowance as u64);
    }
}

/// Tables for all that there can be, from the program's account: the space is its.
fn tables(supply: bool) -> Outcome {
    let each = (TableLevel::Three.span() / APART) as usize;
    for number in (0..PLACES).step_by(each) {
        let at = place(AT + number * APART)?;
        if supply {
            memory::supply_tables(at)?;
        } else {
            memory::remove_tables(at)?;
        }
    }
    Ok(())
}

fn used(purse: &Purse, resource: Resource) -> Result<(u32, u32), Failure> {
    let record = purse.0.record().ok_or_else(|| Failure::new("no account"))?;
    let at = resource as usize;
    Ok((record.used[at], record.allowance[at]))
}

/// Sets one off within `allowance`, and waits until all have been refused. How many there are then.
fn explode(purse: &Purse) -> Result<u64, Failure> {
    let _ = TALLY.take();
    NEXT.store(1, Ordering::Release);
    let made = purse.bound(|| {
        let made = builder(0, place(AT)?).build()?;
        made.environment().run(1)?;
        Ok(made)
    })?;
    wait(
        || {
            crew::check_whole()?;
            Ok(TALLY.peek(REFUSED) == TALLY.peek(MADE) + 1)
        },
        || {
            format!(
                "{} of {} refused, the first is {:?}",
                TALLY.peek(REFUSED),
                TALLY.peek(MADE) + 1,
                made.environment().state()
            )
        },
    )?;
    let [made, _, wrongly] = TALLY.take();
    check_eq!(wrongly, 0);
    Ok(made + 1)
}

/// Runs the case with one beside it that counts, which must go on before, meanwhile and afterwards.
fn beside(work: impl FnOnce(&Other) -> Outcome) -> Outcome {
    let area = Area::new()?;
    let sibling = Other::new(&area, 0, code::count)?;
    sibling.change_pad(|pad| pad.word = u64::MAX);
    sibling.run(3)?;
    sibling.wait_for_count(1)?;
    let worked = work(&sibling);
    sibling.destroy()?;
    worked?;
    area.close()
}

fn ends_at(allowance: Allowance, used_up: &[Resource]) -> Result<u64, Failure> {
    crew::begin();
    tables(true)?;
    take_low_pages_next(allowance.pages as usize)?;
    let purse = Purse(Account::create(allowance)?);
    let mut count = 0;
    beside(|sibling| {
        let mine = crate::domain::account(crate::domain::own_account()?.index())?;
        let free = exposed::free_pages();
        let before = sibling.count();
        count = explode(&purse)?;
        // Nothing but its own allowance has been used.
        let now = crate::domain::account(crate::domain::own_account()?.index())?;
        check_eq!(now.used, mine.used, "this program's account");
        let (pages, _) = used(&purse, Resource::Pages)?;
        check_eq!(free - exposed::free_pages(), pages.into());
        for resource in Resource::ALL {
            let (used, all) = used(&purse, resource)?;
            check!(used <= all, "{used} of {all} of {resource:?} used");
            if used_up.contains(&resource) {
                check_eq!(used, all, "{resource:?} used");
            }
        }
        sibling.wait_for_count(before + 100)?;
        memory::give_page(memory::take_page()?)?;
        Ok(purse.0.destroy()?)
    })?;
    tables(false)?;
    Ok(count)
}

/// What one of them takes: its stack, two handlers' stacks of 32 KiB, its u-area.
const PAGES_OF_ONE: u64 = STACK_PAGES + 2 * 8 + 1;
const _: () = assert!(PAGES_OF_ONE + 4 < APART / PAGE_SIZE);

pub(super) fn out_of_environments() -> Outcome {
    let all = Allowance {
        // For all that there may be, and one that each of them is making.
        pages: 2 * 8 * PAGES_OF_ONE as u32,
        environments: 8,
        slices: 8,
        ..Allowance::default()
    };
    check_eq!(ends_at(all, &[Resource::Environments])?, 8);
    Ok(())
}

pub(super) fn out_of_pages() -> Outcome {
    let all = Allowance {
        pages: 5 * PAGES_OF_ONE as u32 + 5,
        environments: 30,
        slices: 30,
        ..Allowance::default()
    };
    let made = ends_at(all, &[])?;
    // Not all of them, if several were half made when there were no more.
    check!((1..=5).contains(&made), "{made} from the pages of 5");
    say(format!("{made} of them"));
    Ok(())
}

/// Each has accounts and spaces, too, as far as they go.
pub(super) fn out_of_everything() -> Outcome {
    GREEDY.store(1, Ordering::Release);
    let all = Allowance {
        pages: 9 * PAGES_OF_ONE as u32 + 30,
        environments: 6,
        spaces: 10,
        accounts: 10,
        slices: 10,
    };
    let used_up = [Resource::Environments, Resource::Spaces, Resource::Accounts];
    let made = ends_at(all, &used_up);
    GREEDY.store(0, Ordering::Release);
    check_eq!(made?, 6);
    Ok(())
}
