//! Holders that turn in one place and never answer, on cores of their own.

use alloc::vec::Vec;
use core::mem::offset_of;

use exopi_rt::account::Allowance;
use exopi_rt::domain::{EnvironmentState, ObjectName};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::{FrameType, PageRecord, SUPERPAGE_PAGES};
use exopi_rt::revocation::{RevocationState, Wanted};
use exopi_rt::uarea::{UArea, UpcallClass};
use exopi_rt::{
    Account, Environment, Error, Object, PageNumber, PageRun, PageSelect, exposed, stubs, time,
};

use super::{
    HELD, PAGES, allowed, ask, bound, last_bit, long, nth, outcome, state, take, ticks, told,
};
use crate::area::{Area, RW, place, record};
use crate::catch;
use crate::harness::{Failure, Outcome};
use crate::other::{code, stop, wait};
use crate::suites::superpages::take_superpage;

/// Pages that a holder can put away with a child.
const CHILDS: u32 = 6;
/// The notice of a keeper of one that is masked; the next one is that of another's.
const KEEPER_BIT: u64 = 4;

/// One that turns in one place, with upcalls masked or in its handler of notices, on another core.
struct Turning {
    account: Account<'static>,
    name: ObjectName,
    first: PageNumber,
    gone: bool,
}

/// For cases that end early: they have failed, and the next one is to find the place empty.
impl Drop for Turning {
    fn drop(&mut self) {
        if !self.gone {
            let _ = self.account.destroy();
        }
    }
}

impl Turning {
    fn new(index: u64, guaranteed: u32, masked: bool, core: u64) -> Result<Self, Failure> {
        Self::running(code::spin, index, guaranteed, masked, core)
    }

    /// The same with other code than turning in one place. Its x19 is the address that follows that of its u-area, x20
    /// and x21 are its first page and how many there are, and x22 is half of that.
    fn running(
        code: unsafe extern "C" fn(),
        index: u64,
        guaranteed: u32,
        masked: bool,
        core: u64,
    ) -> Result<Self, Failure> {
        let account = Account::create_guaranteed(
            Allowance {
                pages: HELD as u32 + 1 + CHILDS + SUPERPAGE_PAGES as u32,
                environments: 1,
                slices: 1,
                accounts: 1,
                ..Allowance::default()
            },
            guaranteed,
        )?;
        let at = Area::address(index);
        let (name, first) = bound(account, || {
            let first = take(HELD)?;
            let uarea = stubs::page_alloc(PageSelect::Any, 1);
            uarea.progress.unless_stopped()?;
            let name = stubs::env_create(Object::Own, uarea.first, place(at)?)?;
            let put = |offset: usize, word: u64| {
                let place = (at as *mut u64).wrapping_byte_add(offset);
                // SAFETY: the u-area is mapped there, and the environment does not run.
                unsafe { place.write_volatile(word) };
            };
            let turn = code::spin as *const () as u64;
            put(offset_of!(UArea, saved) + 32 * 8, code as *const () as u64);
            let words = [Area::address(index + 1), first.get().into(), HELD, HELD / 2];
            for (n, word) in (19..).zip(words) {
                put(offset_of!(UArea, saved) + n * 8, word);
            }
            put(offset_of!(UArea, masked), masked.into());
            put(
                offset_of!(UArea, entries) + 16 * UpcallClass::Notice as usize,
                turn,
            );
            stubs::env_keep(Object::Owned(name), KEEPER_BIT + u64::from(!masked))?;
            Environment::Owned(name).run(core)?;
            Ok((name, first))
        })?;
        Ok(Self {
            account,
            name,
            first,
            gone: false,
        })
    }

    fn ask(&self, count: u32) -> Outcome {
        bound(self.account, || {
            ask(Object::Owned(self.name), PAGES, count, ticks(100_000), 0)?;
            Ok(())
        })
    }

    /// Its x28, when it is on no core any more.
    fn count(&self, index: u64) -> Result<u64, Failure> {
        bound(self.account, || match stop(Object::Owned(self.name)) {
            // It leaves its core at its next interrupt.
            Ok(()) | Err(Error::Busy) => Ok(()),
            Err(error) => Err(error.into()),
        })?;
        wait(
            || Ok(exposed::life(self.name).core().is_none()),
            || "it does not leave its core".into(),
        )?;
        let place = Area::address(index) + (offset_of!(UArea, saved) + 28 * 8) as u64;
        // SAFETY: the u-area is mapped there.
        Ok(unsafe { (place as *const u64).read_volatile() })
    }

    fn end(mut self) -> Outcome {
        self.gone = true;
        Ok(self.account.destroy()?)
    }

    /// How many of its pages are still its own.
    fn left(&self) -> Result<u64, Failure> {
        let mut left = 0;
        for n in 0..HELD {
            left += u64::from(record(nth(self.first, n))?.kind == FrameType::Plain);
        }
        Ok(left)
    }
}

pub(super) fn takes_from_one_that_turns() -> Outcome {
    let area = Area::new()?;
    for masked in [true, false] {
        let turning = Turning::new(0, 0, masked, 1)?;
        wait(
            || Ok(exposed::life(turning.name).state() == EnvironmentState::Running),
            || "it does not run".into(),
        )?;
        turning.ask(5)?;
        let taken = outcome(turning.name)?;
        check_eq!(taken.state(), RevocationState::Taken);
        check_eq!((taken.taken, taken.missed), (5, 5));
        check_eq!(turning.left()?, HELD - 5);
        check_eq!(
            exposed::life(turning.name).state(),
            EnvironmentState::Running
        );
        check!(told(KEEPER_BIT + u64::from(!masked))? && told(last_bit())?);
        turning.end()?;
    }
    area.close()
}

/// Nobody makes a call, and no core is idle.
pub(super) fn takes_when_every_core_is_held() -> Outcome {
    let area = Area::new()?;
    let cores = 1..exposed::machine().cores;
    let turning: Vec<Turning> = cores
        .map(|core| Turning::new(core, 0, true, core))
        .collect::<Result<_, _>>()?;
    for one in &turning {
        wait(
            || Ok(exposed::life(one.name).state() == EnvironmentState::Running),
            || "it does not run".into(),
        )?;
    }
    let victim = turning.first().ok_or_else(|| Failure::new("one core"))?;
    let cases = exposed::revocation_at(victim.name.index).map_or(0, |record| record.serial);
    victim.ask(HELD as u32)?;
    let limit = time::ticks() + long();
    let taken = loop {
        let record = state(victim.name)?;
        if !record.state().is_open() || time::ticks() > limit {
            break record;
        }
        core::hint::spin_loop();
    };
    check_eq!(taken.state(), RevocationState::Taken);
    check_eq!((taken.serial, u64::from(taken.taken)), (cases + 1, HELD));
    for one in turning {
        one.end()?;
    }
    area.close()
}

/// It maps all of its pages and unmaps some, over and over, on a core of its own: whichever of its calls waits for the
/// kernel meanwhile, its pages go, and what it says of them afterwards is refused.
pub(super) fn takes_from_one_that_makes_calls() -> Outcome {
    let area = Area::new()?;
    let turning = Turning::running(code::hoard, 0, 0, true, 1)?;
    wait(
        || Ok(exposed::life(turning.name).state() == EnvironmentState::Running),
        || "it does not run".into(),
    )?;
    let mut left = HELD;
    for count in [3, 2, u32::MAX] {
        let goes = left.min(count.into());
        turning.ask(count)?;
        let taken = outcome(turning.name)?;
        check_eq!(taken.state(), RevocationState::Taken);
        check_eq!(u64::from(taken.taken), goes);
        left -= goes;
        check_eq!(turning.left()?, left);
    }
    check!(turning.count(0)? > 0, "it made no calls");
    for n in 0..HELD {
        let at = Area::address(1 + n);
        check!(catch::read(at).is_err(), "page {n} is mapped");
        check_eq!(record(nth(turning.first, n))?.references, 0);
    }
    turning.end()?;
    area.close()
}

/// One page of a superpage goes, and the mapping of all; then the others.
pub(super) fn takes_superpages_apart() -> Outcome {
    let area = Area::new()?;
    let turning = Turning::new(0, 0, true, 1)?;
    let at = Area::address(SUPERPAGE_PAGES);
    let first = bound(turning.account, || {
        let first = take_superpage()?;
        let run = PageRun::Owned(first);
        // SAFETY: the kernel maps over nothing.
        let mapped = unsafe { stubs::insert_superpage(Object::Own, place(at)?, run, 1, RW) };
        check_eq!(mapped.unless_stopped(), Ok(1));
        Ok(first)
    })?;
    let ends = [0, SUPERPAGE_PAGES / 2 + 1, SUPERPAGE_PAGES - 1];
    for n in ends {
        check!(catch::read(at + n * PAGE_SIZE).is_ok());
    }
    let one = nth(first, SUPERPAGE_PAGES / 2 + 1);
    bound(turning.account, || {
        let name = Object::Owned(turning.name);
        ask(name, Wanted::Pages(one), 1, ticks(100_000), 0)?;
        Ok(())
    })?;
    let taken = outcome(turning.name)?;
    check_eq!((taken.state(), taken.taken), (RevocationState::Taken, 1));
    for n in ends {
        check!(
            catch::read(at + n * PAGE_SIZE).is_err(),
            "page {n} is mapped"
        );
    }
    check_eq!(record(one)?.kind, FrameType::Free);
    let head = record(first)?;
    check_eq!((head.kind, head.references), (FrameType::Plain, 0));
    turning.ask(u32::MAX)?;
    let taken = outcome(turning.name)?;
    check_eq!(u64::from(taken.taken), HELD + SUPERPAGE_PAGES - 1);
    for n in 0..SUPERPAGE_PAGES {
        check_eq!(record(nth(first, n))?.kind, FrameType::Free);
    }
    turning.end()?;
    area.close()
}

pub(super) fn leaves_the_guaranteed() -> Outcome {
    let area = Area::new()?;
    for guaranteed in [1, 8] {
        let turning = Turning::new(0, guaranteed, true, 2)?;
        turning.ask(u32::MAX)?;
        let taken = outcome(turning.name)?;
        check_eq!(turning.left()?, u64::from(guaranteed));
        check_eq!(u64::from(taken.taken), HELD - u64::from(guaranteed));
        turning.end()?;
    }
    let refused = Account::create_guaranteed(Allowance::default(), 9).map(drop);
    check_eq!(refused, Err(Error::OutOfRange));
    area.close()
}

/// What can be told of pages.
fn records(first: PageNumber) -> Result<Vec<PageRecord>, Failure> {
    (0..HELD).map(|n| record(nth(first, n))).collect()
}

pub(super) fn an_innocent_keeps_its_own() -> Outcome {
    let area = Area::new()?;
    let innocent = Turning::new(0, 0, false, 1)?;
    let guilty = Turning::new(1, 0, true, 2)?;
    let before = (records(innocent.first)?, allowed(innocent.account)?);
    guilty.ask(u32::MAX)?;
    check_eq!(u64::from(outcome(guilty.name)?.taken), HELD);
    check_eq!(
        (records(innocent.first)?, allowed(innocent.account)?),
        before
    );
    guilty.end()?;
    innocent.end()?;
    area.close()
}

/// What a child has not used goes, and then its pages; whoever made it is told of both.
pub(super) fn a_child_is_no_hiding_place() -> Outcome {
    let area = Area::new()?;
    let turning = Turning::new(0, 0, true, 1)?;
    let child = bound(turning.account, || {
        Ok(Account::create(Allowance {
            pages: CHILDS,
            ..Allowance::default()
        })?)
    })?;
    // It is the turning one's, and so is named by who draws on that one's account.
    let put_away = CHILDS - 2;
    turning.account.bind()?;
    let first = child
        .bind()
        .map_err(Failure::from)
        .and_then(|()| take(put_away.into()));
    Account::Own.bind()?;
    let first = first?;
    let [allowance, used] = allowed(turning.account)?;
    turning.ask(u32::MAX)?;
    let taken = outcome(turning.name)?;
    check_eq!((taken.taken, taken.given), (HELD as u32 + put_away, 2));
    check_eq!(turning.left()?, 0);
    for n in 0..u64::from(put_away) {
        check_eq!(record(nth(first, n))?.kind, FrameType::Free);
    }
    check_eq!(allowed(child)?, [0, 0]);
    let back = HELD as u32 + CHILDS;
    check_eq!(allowed(turning.account)?, [allowance - back, used - back]);
    turning.end()?;
    area.close()
}
