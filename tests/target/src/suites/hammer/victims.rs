//! Environments that are stopped, run, read, written and given turns by all cores at once.
//!
//! A victim sums up its registers for ever. Whatever is done to it, it goes on where it was, with what it had, but for
//! one register, in which the others leave each other mails.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::{EnvironmentState, ObjectName};
use exopi_rt::uarea::Frame;
use exopi_rt::{Environment, Error, Object, environment, stubs};

use crate::area::Area;
use crate::crew::{self, Crew, Draws, Random, Tally};
use crate::harness::{Failure, Outcome, say};
use crate::other::{
    Other, SAVED, code, mark, marked_vectors, marked_x, stop, wait, write_state, yield_to,
};

/// Victims: one less than cores on which they are run, so that there is always somebody to run.
const VICTIMS: usize = 2;
/// What the case itself does to them, in acts.
const ACTS: u64 = 6000;
/// What a mail begins with.
const MAIL: u64 = 0x3a11;
/// Which register is one.
const MAILBOX: usize = 28;

static NAMES: [AtomicU64; VICTIMS] = [const { AtomicU64::new(0) }; VICTIMS];
static PADS: [AtomicU64; VICTIMS] = [const { AtomicU64::new(0) }; VICTIMS];

/// What was done.
static TALLY: Tally<8> = Tally::new();
const STOPPED: usize = 0;
const STOP_BUSY: usize = 1;
const RUN: usize = 2;
const NOT_READY: usize = 3;
const READ: usize = 4;
const STATE_BUSY: usize = 5;
const WRITTEN: usize = 6;
const GIVEN: usize = 7;

/// What of a victim's registers it has from its begin: its seed.
fn seed(which: usize) -> u64 {
    0x700 + which as u64
}

/// Counts what has succeeded or was refused as it may be, and tells of any other refusal.
fn count(outcome: Result<(), Error>, done: usize, refused: usize, known: Error) {
    match outcome {
        Ok(()) => TALLY.count(done),
        Err(error) => {
            TALLY.count(refused);
            crew::known(error, &[known]);
        }
    }
}

/// One act on one of the victims.
fn act(core: u64, number: u64, random: &mut Random) {
    let which = random.below(VICTIMS as u64) as usize;
    let Some(name) = NAMES.get(which) else {
        return crew::broken(which as u64, 0);
    };
    let name = ObjectName::from_word(name.load(Ordering::Acquire));
    let victim = Object::Owned(name);
    match random.below(7) {
        0 | 1 => count(stop(victim), STOPPED, STOP_BUSY, Error::Busy),
        2 | 3 => {
            // Not where the case runs: the victim never gives its core away.
            let cores = crew::other_cores();
            let to = cores.start + random.below(cores.end - cores.start);
            let run = stubs::env_run(victim, to);
            count(run, RUN, NOT_READY, Error::NotReady);
        }
        4 => match Environment::Owned(name).saved() {
            Ok(frame) => {
                TALLY.count(READ);
                check_frame(&frame, which);
            }
            Err(error) => {
                TALLY.count(STATE_BUSY);
                crew::known(error, &[Error::Busy]);
            }
        },
        5 => {
            let mail = MAIL << 32 | core << 24 | number & 0xff_ffff;
            let written = write_state(victim, SAVED + MAILBOX * 8, &mail.to_le_bytes());
            let written = written.unless_stopped().map(drop);
            count(written, WRITTEN, STATE_BUSY, Error::Busy);
        }
        _ if core != 0 => count(yield_to(victim), GIVEN, NOT_READY, Error::NotReady),
        _ => {}
    }
}

/// What an environment that is on no core goes on with.
fn check_frame(frame: &Frame, which: usize) {
    let expected = marked_x(seed(which));
    let kept = 2..MAILBOX;
    for (found, expected) in frame.x[kept.clone()].iter().zip(&expected[kept]) {
        if found != expected {
            crew::broken(*found, *expected);
        }
    }
    let mail = frame.x[MAILBOX] >> 32;
    if mail != MAIL {
        crew::broken(mail, MAIL);
    }
    let pad = PADS.get(which).map_or(0, |pad| pad.load(Ordering::Relaxed));
    if frame.sp != pad {
        crew::broken(frame.sp, pad);
    }
    let begin = code::watch as *const () as u64;
    if !(begin..begin + 0x1000).contains(&frame.pc) {
        crew::broken(frame.pc, begin);
    }
    if frame.held != 1 {
        crew::broken(frame.held, 1);
    }
    if frame.esr != 0 {
        crew::broken(frame.esr, 0);
    }
}

fn hand(core: u64) {
    crew::arrive();
    let mut random = Random::new(core);
    let mut number = 0;
    while !crew::is_over() {
        number += 1;
        act(core, number, &mut random);
        crew::pause(&mut random);
        if random.below(4) == 0 {
            environment::yield_now();
        }
    }
}

fn victims(area: &Area) -> Result<Vec<Other>, Failure> {
    let mut victims = Vec::new();
    for which in 0..VICTIMS {
        let victim = Other::new(area, which as u64, code::watch)?;
        victim.change(|uarea| {
            mark(uarea, seed(which));
            uarea.saved.x[MAILBOX] = MAIL << 32;
            // As the kernel leaves it.
            uarea.saved.held = 1;
        });
        victim.change_pad(|pad| pad.word = MAIL);
        NAMES[which].store(victim.name.word(), Ordering::Release);
        PADS[which].store(victim.pad_address(), Ordering::Relaxed);
        victims.push(victim);
    }
    Ok(victims)
}

/// Every one has been run, stopped and not damaged, and can be run on each core still.
fn check_victim(victim: &Other, which: usize) -> Outcome {
    for core in crew::other_cores() {
        let before = victim.count();
        victim.run(core)?;
        victim.wait_for_count(before + 1)?;
        victim.stop()?;
        check_eq!(victim.state(), EnvironmentState::Stopped);
    }
    check_frame(&victim.uarea().saved, which);
    crew::check_whole()?;
    check!(
        victim.uarea().vectors == marked_vectors(seed(which)),
        "{:x?}",
        victim.uarea().vectors
    );
    check_eq!(victim.uarea().thread, seed(which) << 32 | 0x7d);
    Ok(())
}

pub(super) fn stopped_and_run_by_all() -> Outcome {
    let area = Area::new()?;
    let victims = victims(&area)?;
    let mut crew = Crew::new();
    crew.add_each(hand, Draws::Program)?;
    crew.start()?;
    let mut random = Random::new(0);
    for number in crew::rounds(ACTS) {
        act(0, number, &mut random);
        crew::pause(&mut random);
        crew::check_whole()?;
    }
    crew::finish();
    // A victim is where one of the others would end.
    let ended = wait(
        || {
            for victim in &victims {
                victim.stop()?;
            }
            Ok(crew.has_left())
        },
        || "somebody does not leave".into(),
    );
    crew::check_whole()?;
    ended?;
    crew.join()?;
    let counts: Vec<u64> = victims.iter().map(Other::count).collect();
    for (which, victim) in victims.into_iter().enumerate() {
        check_victim(&victim, which)?;
        victim.destroy()?;
    }
    let [
        stopped,
        stop_busy,
        run,
        not_ready,
        read,
        state_busy,
        written,
        given,
    ] = TALLY.take();
    say(format!(
        "{stopped} stopped, {stop_busy} busy, {run} run, {not_ready} not ready, {read} read, {written} written, \
         {state_busy} busy, {given} given the core, {counts:?} rounds"
    ));
    area.close()
}
