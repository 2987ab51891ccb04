//! A thousand environments that come, are in every state there is, and go: every counter is as before. And a program that
//! makes as many of itself as it can: it ends at its allowance, and nobody else notices.

mod bomb;
mod states;
mod waiting;

use alloc::format;
use alloc::vec::Vec;

use exopi_rt::domain::EnvironmentState;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::uarea::Frame;
use exopi_rt::{Environment, Error, PageNumber, TableLevel, exposed, memory, stubs, time};

use crate::area::{RW, give_run, insert, place, remove, take_run};
use crate::counters::conserving;
use crate::crew::other_cores;
use crate::harness::{Outcome, Suite, say};
use crate::other::{code, wait};

pub(crate) const SUITE: Suite = Suite {
    name: "thousand",
    cases: &[
        ("at_once", || conserving(at_once)),
        ("one_after_the_other", || conserving(one_after_the_other)),
        ("ready", || conserving(states::ready)),
        ("running", || conserving(states::running)),
        ("suspended", || conserving(states::suspended)),
        ("dying", || conserving(states::dying)),
        ("asleep", || conserving(waiting::asleep)),
        ("calling", || conserving(waiting::calling)),
        ("with_vectors", || conserving(states::with_vectors)),
        ("with_keepers", || conserving(states::with_keepers)),
        ("in_shared_spaces", || conserving(states::in_shared_spaces)),
        ("with_their_account", || {
            conserving(states::with_their_account)
        }),
        ("fork_bomb", || conserving(bomb::out_of_environments)),
        ("fork_bomb_of_pages", || conserving(bomb::out_of_pages)),
        ("fork_bomb_of_everything", || {
            conserving(bomb::out_of_everything)
        }),
    ],
};

/// How many.
const ALL: u64 = 1000;
/// How many of those that never stop have slices.
const TAKE_TURNS: usize = 12;
/// Where their u-areas are, with tables of the program's.
const AT: u64 = 0x2e_0000_0000;

/// Environments with nothing but a u-area each, one behind the other from [`AT`] on.
struct Many {
    first: PageNumber,
    all: Vec<Environment<'static>>,
}

impl Many {
    /// So many, each to begin at `code` with what `begin` changes.
    fn new(
        count: u64,
        code: unsafe extern "C" fn(),
        begin: impl Fn(u64, &mut Frame),
    ) -> Result<Self, crate::harness::Failure> {
        let span = TableLevel::Three.span() / PAGE_SIZE;
        for page in (0..count).step_by(span as usize) {
            memory::supply_tables(place(AT + page * PAGE_SIZE)?)?;
        }
        let first = take_run(count)?;
        insert_all(first, count)?;
        let mut all = Vec::new();
        for index in 0..count {
            let mut frame = Frame {
                pc: code as *const () as u64,
                ..Frame::default()
            };
            begin(index, &mut frame);
            let at = place(AT + index * PAGE_SIZE)?;
            let uarea = at.get() as *mut exopi_rt::uarea::UArea;
            // SAFETY: the page is mapped there, and nobody else's.
            unsafe { uarea.write_bytes(0, 1) };
            // SAFETY: as above; all zeros are a u-area.
            unsafe { (*uarea).saved = frame };
            remove(at, 1).unless_stopped()?;
            let page = first.plus(index).ok_or(Error::OutOfRange)?;
            all.push(Environment::create(exopi_rt::Space::Own, page, at)?);
        }
        Ok(Self { first, all })
    }

    /// Destroys all, in this order by their places, and gives back what was theirs.
    fn end(self, order: impl Iterator<Item = usize>) -> Outcome {
        for index in order {
            if let Some(environment) = self.all.get(index) {
                environment.destroy()?;
                check!(environment.record().is_none(), "{index} is there");
            }
        }
        let count = self.all.len() as u64;
        give_run(self.first, count)?;
        let span = TableLevel::Three.span() / PAGE_SIZE;
        for page in (0..count).step_by(span as usize) {
            memory::remove_tables(place(AT + page * PAGE_SIZE)?)?;
        }
        Ok(())
    }

    /// Waits until all of them are in `state` and have left their cores.
    fn wait_for(&self, state: EnvironmentState) -> Outcome {
        let there = |one: &&Environment| one.state() == state && one.life().core().is_none();
        let left = || self.all.len() - self.all.iter().filter(there).count();
        wait(
            || Ok(left() == 0),
            || format!("{} are not {state:?}", left()),
        )
    }
}

fn insert_all(first: PageNumber, count: u64) -> Outcome {
    let mut done = 0;
    while done < count {
        let at = place(AT + done * PAGE_SIZE)?;
        let page = first.plus(done).ok_or(Error::OutOfRange)?;
        done += insert(at, page, (count - done).min(128), RW).unless_stopped()?;
    }
    Ok(())
}

/// Every place once, in an order that has little to do with theirs.
fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    // 7 is no divisor of any count that is used here.
    (0..count).map(move |index| index * 7 % count)
}

/// All there at the same time, in all states that last by themselves.
fn at_once() -> Outcome {
    let begin = time::ticks();
    let many = Many::new(ALL, code::spin, |index, frame| {
        if index % 8 == 7 {
            frame.pc = code::undefined as *const () as u64;
        }
    })?;
    check_eq!(exposed::environments().count() as u64, ALL + 1);
    let cores = other_cores();
    let core = |index: usize| cores.start + index as u64 / 8 % (cores.end - cores.start);
    // Those that fault go first, and are suspended one after the other; then a few have slices beside others on their
    // cores, and the rest wait for one.
    for (index, one) in many.all.iter().enumerate() {
        if index % 8 == 7 {
            one.run(core(index))?;
        }
    }
    wait(
        || Ok(many.all.iter().skip(7).step_by(8).all(suspended)),
        || "some do not fault".into(),
    )?;
    for (index, one) in many.all.iter().enumerate() {
        match index % 8 {
            0 if index < 8 * TAKE_TURNS => one.run(core(index))?,
            0 | 2 | 4 | 6 => one.run_in_slices()?,
            _ => {}
        }
    }
    let states = wait_for_runners(&many)?;
    let beyond = stubs::env_create(exopi_rt::Object::Own, many.first, place(AT)?);
    check!(beyond.is_err(), "a u-area that is one becomes one again");
    // Those that take turns go first. Whoever does asks for the kernel's lock each time, and in an emulator whose host has
    // fewer cores than the machine, the others wait for it each time that the host lets another one go on.
    let takes_turns = |index: &usize| index.is_multiple_of(8) && *index < 8 * TAKE_TURNS;
    let all = || shuffled(ALL as usize);
    let rest = all().filter(|index| !takes_turns(index));
    many.end(all().filter(takes_turns).chain(rest))?;
    say(format!(
        "{states}, {} us",
        time::microseconds(time::ticks() - begin)
    ));
    Ok(())
}

fn suspended(one: &Environment<'static>) -> bool {
    one.state() == EnvironmentState::Suspended
}

/// Waits until each of the other cores has run one, and tells how many are in each state.
fn wait_for_runners(many: &Many) -> Result<alloc::string::String, crate::harness::Failure> {
    let count = |state| many.all.iter().filter(|one| one.state() == state).count() as u64;
    // Not necessarily at the same moment: between two turns nobody runs.
    let mut waited: Vec<u64> = other_cores().collect();
    let left = core::cell::Cell::new(waited.len());
    wait(
        || {
            for one in &many.all {
                let life = one.life();
                if life.state() == EnvironmentState::Running {
                    waited.retain(|core| life.core().map(u64::from) != Some(*core));
                }
            }
            left.set(waited.len());
            Ok(waited.is_empty())
        },
        || format!("{} cores run nobody", left.get()),
    )?;
    Ok(format!(
        "{} stopped, {} ready, {} running, {} suspended",
        count(EnvironmentState::Stopped),
        count(EnvironmentState::Ready),
        count(EnvironmentState::Running),
        count(EnvironmentState::Suspended)
    ))
}

/// The same place, page and index over and over, each time another environment.
fn one_after_the_other() -> Outcome {
    let mut names = Vec::new();
    for round in 0..ALL / 10 {
        let many = Many::new(10, code::undefined, |_, _| {})?;
        names.extend(many.all.iter().filter_map(|one| one.name()));
        if round % 2 == 0 {
            for one in &many.all {
                one.run(round % other_cores().end)?;
            }
            many.wait_for(EnvironmentState::Suspended)?;
        }
        many.end(shuffled(10))?;
    }
    let mut words: Vec<u64> = names.iter().map(|name| name.word()).collect();
    words.sort_unstable();
    words.dedup();
    check_eq!(words.len() as u64, ALL, "names that never come again");
    Ok(())
}
