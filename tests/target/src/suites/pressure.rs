//! Memory pressure: a manager that needs pages gets them from two programs, one of which gives and one of which does not
//! even look.
//!
//! ```text
//!   manager (the suite)   needs n pages: asks each program for its share of them, waits for what comes of it
//!   giver                 own account and space; regions of `exopi-vm`, which answers in the order of a policy
//!   deaf                  own account and space; turns, and hears nothing
//! ```
//!
//! Lines that begin with `#` tell what was asked, what came, and how long that took.

mod programs;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::{EnvironmentState, Resource};
use exopi_rt::environment::yield_now;
use exopi_rt::revocation::{RevocationRecord, RevocationState, Wanted};
use exopi_rt::{Account, exposed, println, stubs, time};

use crate::area::Area;
use crate::harness::{Failure, Outcome, Suite};
use crate::other::wait;
use programs::{Figures, Program};

pub(crate) const SUITE: Suite = Suite {
    name: "pressure",
    cases: &[("a_manager_gets_what_it_needs", a_manager_gets_what_it_needs)],
};

/// Milliseconds that a program has.
const PATIENCE: u64 = 3000;
/// The notice of an outcome.
const BIT: u64 = 7;

fn ticks(milliseconds: u64) -> u64 {
    time::ticks_per_second() * milliseconds / 1000
}

fn pages_of(account: Account<'_>) -> Result<[u32; 2], Failure> {
    let record = account.record().ok_or_else(|| Failure::new("no account"))?;
    let pages = Resource::Pages as usize;
    Ok([record.allowance[pages], record.used[pages]])
}

/// What a program was asked for, and what came of it after how many ticks.
struct Answer {
    record: RevocationRecord,
    after: u64,
}

/// Gets `need` pages, from each program its share of what both use. Waits for the outcomes.
fn get(programs: &[&Program], need: u32) -> Result<Vec<Answer>, Failure> {
    let mut used = Vec::new();
    for program in programs {
        used.push(pages_of(program.account())?[1]);
    }
    let all: u32 = used.iter().sum();
    let begin = time::ticks();
    let mut left = need;
    for (place, (program, used)) in programs.iter().zip(&used).enumerate() {
        let share = if place + 1 == programs.len() {
            left
        } else {
            (u64::from(need) * u64::from(*used) / u64::from(all.max(1))) as u32
        };
        left -= share;
        let pages = Wanted::Any(Resource::Pages);
        let of = program.environment().object();
        // SAFETY: what the programs lose is theirs.
        unsafe { stubs::revoke_request(of, pages, share, ticks(PATIENCE), 0, BIT) }?;
    }
    let mut answers: Vec<Option<Answer>> = programs.iter().map(|_| None).collect();
    wait(
        || {
            for (program, answer) in programs.iter().zip(&mut answers) {
                let record = exposed::revocation_at(program.name().index);
                let record = record.ok_or_else(|| Failure::new("no record"))?;
                if answer.is_none() && !record.state().is_open() {
                    let after = time::ticks() - begin;
                    *answer = Some(Answer { record, after });
                }
            }
            Ok(answers.iter().all(Option::is_some))
        },
        || "no outcome".into(),
    )?;
    Ok(answers.into_iter().flatten().collect())
}

fn tell(who: &str, answer: &Answer) {
    let record = &answer.record;
    println!(
        "# pressure: {who} asked {} given {} taken {} missed {} after {} us",
        record.asked,
        record.given,
        record.taken,
        record.missed,
        time::microseconds(answer.after),
    );
}

/// Rounds that the giver makes from now on until it has made so many, and what they cost it.
fn rounds(figures: &Figures, count: u64) -> Result<[u64; 2], Failure> {
    let value = |word: &AtomicU64| word.load(Ordering::Acquire);
    let before = [value(&figures.rounds), value(&figures.faults)];
    let begin = time::ticks();
    wait(
        || Ok(value(&figures.rounds) >= before[0] + count),
        || alloc::format!("{figures:?}"),
    )?;
    check_eq!(value(&figures.wrong), 0, "what it holds is what it wrote");
    let made = value(&figures.rounds) - before[0];
    let faults = value(&figures.faults) - before[1];
    Ok([
        faults / made,
        time::microseconds(time::ticks() - begin) / made,
    ])
}

fn a_manager_gets_what_it_needs() -> Outcome {
    let area = Area::new()?;
    let before = pages_of(Account::Own)?;
    let giver = Program::begin(0, 1, programs::give)?;
    let deaf = Program::begin(1, 2, programs::hear_nothing)?;
    let figures = giver.figures();
    rounds(figures, 1)?;
    let [faults, took] = rounds(figures, 2)?;
    for (who, program) in [("giver", &giver), ("deaf", &deaf)] {
        let [allowed, used] = pages_of(program.account())?;
        println!("# pressure: {who} uses {used} pages of {allowed}");
    }
    println!("# pressure: before: {faults} faults and {took} us in a round of the giver");
    check_eq!(faults, 0);
    let own = pages_of(Account::Own)?;
    let mut gained = 0;
    for need in [160, 80] {
        let allowed = [pages_of(giver.account())?, pages_of(deaf.account())?];
        let answers = get(&[&giver, &deaf], need)?;
        let [given, taken] = answers.as_slice() else {
            return Err(Failure::new("not two answers"));
        };
        println!("# pressure: {need} pages are needed");
        tell("giver", given);
        tell("deaf", taken);
        check_eq!(given.record.state(), RevocationState::Given);
        check_eq!(given.record.given, given.record.asked);
        check!(given.after < ticks(PATIENCE), "it answered in time");
        check_eq!(taken.record.state(), RevocationState::Taken);
        check_eq!(
            (taken.record.given, taken.record.taken),
            (0, taken.record.asked)
        );
        check!(taken.after >= ticks(PATIENCE), "it had its time");
        for (program, (before, answer)) in [&giver, &deaf].iter().zip(allowed.iter().zip(&answers))
        {
            check_eq!(
                pages_of(program.account())?[0],
                before[0] - answer.record.asked
            );
        }
        gained += need;
        // All that was needed is the manager's now, and whoever gave goes on.
        check_eq!(pages_of(Account::Own)?, [own[0], own[1] - gained]);
        let [faults, took] = rounds(figures, 2)?;
        println!("# pressure: after: {faults} faults and {took} us in a round of the giver");
        check!(faults > 0, "it goes on with less than it touches");
    }
    check!(exposed::life(giver.name()).state() != EnvironmentState::Suspended);
    yield_now();
    giver.end()?;
    deaf.end()?;
    check_eq!(pages_of(Account::Own)?, before);
    area.close()
}
