//! Holders that turn in one place and never answer, on cores of their own.

use alloc::vec::Vec;
use core::mem::offset_of;

use exopi_rt::account::Allowance;
use exopi_rt::domain::{EnvironmentState, ObjectName};
use exopi_rt::page::{FrameType, PageRecord};
use exopi_rt::revocation::RevocationState;
use exopi_rt::uarea::{UArea, UpcallClass};
use exopi_rt::{Account, Error, Object, PageNumber, PageSelect, exposed, stubs, time};

use super::{
    HELD, PAGES, allowed, ask, bound, last_bit, long, nth, outcome, state, take, ticks, told,
};
use crate::area::{Area, place, record};
use crate::harness::{Failure, Outcome};
use crate::other::{code, wait};

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
        let account = Account::create_guaranteed(
            Allowance {
                pages: HELD as u32 + 1,
                environments: 1,
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
            put(offset_of!(UArea, saved) + 32 * 8, turn);
            put(offset_of!(UArea, masked), masked.into());
            put(
                offset_of!(UArea, entries) + 16 * UpcallClass::Notice as usize,
                turn,
            );
            stubs::env_keep(Object::Owned(name), KEEPER_BIT + u64::from(!masked))?;
            stubs::env_run(Object::Owned(name), core)?;
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
