//! What a keeper does for an environment, and to it: mends it, steps through it, ends it, wherever it runs.

use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::EnvironmentState;
use exopi_rt::page::FrameType;
use exopi_rt::uarea::{Frame, UArea};
use exopi_rt::upcall::{Action, Fault};
use exopi_rt::{Error, Object, exposed, stubs};

use crate::area::{Area, record};
use crate::catch::with_handler;
use crate::harness::{Failure, Outcome, Suite};
use crate::other::{Other, SAVED, code, read_state, stop, write_state};

pub(crate) const SUITE: Suite = Suite {
    name: "keeping",
    cases: &[
        (
            "a_fault_without_a_handler_suspends",
            a_fault_without_a_handler_suspends,
        ),
        (
            "a_fault_in_the_handler_suspends",
            a_fault_in_the_handler_suspends,
        ),
        ("a_keeper_mends", a_keeper_mends),
        (
            "state_of_one_that_runs_is_not_to_be_had",
            state_of_one_that_runs_is_not_to_be_had,
        ),
        ("stops_what_runs_elsewhere", stops_what_runs_elsewhere),
        ("destroys_what_runs_elsewhere", destroys_what_runs_elsewhere),
        (
            "cores_serve_others_afterwards",
            cores_serve_others_afterwards,
        ),
        ("steps_from_outside", steps_from_outside),
        ("steps_over_a_yield", steps_over_a_yield),
        ("steps_only_where_allowed", steps_only_where_allowed),
        ("steps_through_itself", steps_through_itself),
    ],
};

/// Cores that this program does not run on.
fn other_cores() -> core::ops::Range<u64> {
    1..exposed::machine().cores
}

/// Exception class of a single step at EL0.
const STEP: u64 = 0x32;
/// PSTATE.SS.
const SS: u64 = 1 << 21;

fn class(frame: &Frame) -> u64 {
    frame.esr >> 26
}

fn a_fault_without_a_handler_suspends() -> Outcome {
    let area = Area::new()?;
    for core in 0..exposed::machine().cores {
        let other = Other::new(&area, core, code::undefined)?;
        other.change(|uarea| uarea.saved.x = crate::other::marked_x(3));
        other.run(core)?;
        other.wait_for(EnvironmentState::Suspended)?;
        let saved = other.uarea().saved;
        check_eq!(class(&saved), 0);
        check_eq!(saved.pc, code::undefined as *const () as u64);
        check_eq!(saved.x, crate::other::marked_x(3));
        check_eq!(saved.sp, other.pad_address());
        check_eq!(saved.held, 1);
        check_eq!(other.uarea().frames[0].held, 0);
        check_eq!(stubs::env_run(other.object()), Err(Error::NotReady));
        other.destroy()?;
    }
    area.close()
}

/// The frame is held: what it holds is the first fault's, and `saved` is the second's.
fn a_fault_in_the_handler_suspends() -> Outcome {
    let area = Area::new()?;
    let other = Other::new(&area, 0, code::undefined)?;
    other.change(|uarea| {
        uarea.entries[0].pc = code::undefined as *const () as u64;
        uarea.entries[0].sp = 0x4440;
        uarea.saved.pc = code::load as *const () as u64;
        uarea.saved.x = crate::other::marked_x(5);
        uarea.saved.x[1] = 0x8;
    });
    other.run(1)?;
    other.wait_for(EnvironmentState::Suspended)?;
    let uarea = other.uarea();
    check_eq!(class(&uarea.frames[0]), 0x24);
    check_eq!(uarea.frames[0].far, 8);
    check_eq!(uarea.frames[0].held, 1);
    check_eq!(class(&uarea.saved), 0);
    check_eq!(uarea.saved.pc, code::undefined as *const () as u64);
    check_eq!(uarea.saved.sp, 0x4440);
    check_eq!(uarea.saved.x[0], uarea.frames[0].esr);
    check_eq!(uarea.saved.x[1], 8);
    check_eq!(uarea.saved.x[2], code::load as *const () as u64);
    check_eq!(uarea.saved.x[6..16], crate::other::marked_x(5)[6..16]);
    check_eq!(uarea.saved.x[18..], crate::other::marked_x(5)[18..]);
    other.destroy()?;
    area.close()
}

fn read_word(other: &Other, offset: usize) -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    let read = read_state(other.object(), offset, &mut bytes).unless_stopped()?;
    check_is(read == 8)?;
    Ok(u64::from_le_bytes(bytes))
}

fn check_is(holds: bool) -> Outcome {
    check!(holds);
    Ok(())
}

/// Finds out why, by calls alone, puts the pointer right, and lets it go on where it was.
fn a_keeper_mends() -> Outcome {
    let area = Area::new()?;
    for (index, core) in (0..exposed::machine().cores).enumerate() {
        let other = Other::new(&area, index as u64, code::load)?;
        other.change(|uarea| uarea.saved.x[1] = 0x18);
        other.run(core)?;
        other.wait_for(EnvironmentState::Suspended)?;
        check_eq!(read_word(&other, SAVED + offset_of!(Frame, far))?, 0x18);
        check_eq!(
            read_word(&other, SAVED + offset_of!(Frame, esr))? >> 26,
            0x24
        );
        let pc = read_word(&other, SAVED + offset_of!(Frame, pc))?;
        check_eq!(pc, code::load as *const () as u64);
        other.change_pad(|pad| pad.x[7] = 0xfeed_f00d);
        let good = other.pad_address() + 7 * 8;
        let written = write_state(other.object(), SAVED + 8, &good.to_le_bytes());
        check_eq!(written.unless_stopped(), Ok(8));
        stop(other.object())?;
        // It never ends by itself: where it goes on must not be where this program runs.
        other.run(core.max(1))?;
        crate::other::wait(
            || Ok(other.word().load(Ordering::Acquire) == 0xfeed_f00d),
            || "it did not go on".into(),
        )?;
        other.destroy()?;
    }
    area.close()
}

fn state_of_one_that_runs_is_not_to_be_had() -> Outcome {
    let area = Area::new()?;
    let other = Other::new(&area, 0, code::spin)?;
    other.run(1)?;
    other.wait_for(EnvironmentState::Running)?;
    let mut bytes = [0; 8];
    let read = read_state(other.object(), 0, &mut bytes).unless_stopped();
    check_eq!(read, Err(Error::Busy));
    let written = write_state(other.object(), 0, &bytes).unless_stopped();
    check_eq!(written, Err(Error::Busy));
    check_eq!(stubs::env_debug(other.object(), 1), Err(Error::Busy));
    check_eq!(stubs::env_run(other.object()), Err(Error::NotReady));
    other.stop()?;
    check_eq!(
        read_state(other.object(), 0, &mut bytes).unless_stopped(),
        Ok(8)
    );
    other.destroy()?;
    area.close()
}

fn stops_what_runs_elsewhere() -> Outcome {
    let area = Area::new()?;
    let other = Other::new(&area, 0, code::spin)?;
    for core in other_cores().cycle().take(60) {
        other.run(core)?;
        if core % 2 == 1 {
            other.wait_for(EnvironmentState::Running)?;
        }
        other.stop()?;
        check_eq!(other.state(), EnvironmentState::Stopped);
        check_eq!(other.uarea().saved.pc, code::spin as *const () as u64);
    }
    other.destroy()?;
    area.close()
}

fn destroys_what_runs_elsewhere() -> Outcome {
    let area = Area::new()?;
    for (round, core) in other_cores().cycle().take(60).enumerate() {
        let other = Other::new(&area, 0, code::dump)?;
        other.change_pad(|pad| pad.word = 1);
        let page = other.page();
        other.run(core)?;
        if round % 2 == 0 {
            other.wait_for_count(1)?;
        }
        check_eq!(record(page)?.kind, FrameType::UArea);
        let name = other.name;
        other.destroy()?;
        check!(exposed::environment(name).is_none());
        check_eq!(record(page)?.kind, FrameType::Free);
    }
    area.close()
}

fn cores_serve_others_afterwards() -> Outcome {
    let area = Area::new()?;
    for core in other_cores() {
        let spins = Other::new(&area, 0, code::spin)?;
        let counts = Other::new(&area, 1, code::count)?;
        counts.change_pad(|pad| pad.word = 10);
        spins.run(core)?;
        spins.wait_for(EnvironmentState::Running)?;
        // It has its turns beside one that never gives the core away.
        counts.run(core)?;
        counts.wait_for(EnvironmentState::Stopped)?;
        check_eq!(counts.count(), 10);
        if core % 2 == 0 {
            spins.destroy()?;
        } else {
            spins.stop()?;
        }
        counts.run(core)?;
        counts.wait_for(EnvironmentState::Stopped)?;
        counts.destroy()?;
    }
    area.close()
}

/// One step: from the state that it is suspended or stopped in to the next one.
fn step(other: &Other, core: u64) -> Result<UArea, Failure> {
    if other.state() == EnvironmentState::Suspended {
        stop(other.object())?;
    }
    other.change(|uarea| uarea.saved.pstate |= SS);
    other.run(core)?;
    other.wait_for(EnvironmentState::Suspended)?;
    Ok(other.uarea())
}

fn steps_from_outside() -> Outcome {
    let area = Area::new()?;
    let code = code::steps as *const () as u64;
    for (index, core) in (0..exposed::machine().cores).enumerate() {
        let other = Other::new(&area, index as u64, code::steps)?;
        stubs::env_debug(other.object(), 1)?;
        // Where nobody waits, the call that would give the core away returns at once, with registers cleared. This
        // program waits for core 0.
        let expected = [
            (1, 1),
            (2, 3),
            (3, 3),
            (4, 0),
            (5, 4),
            (6, 4),
            (7, 0),
            (8, 8),
            (9, 24),
            (9, 24),
        ];
        for (done, sum) in expected.into_iter().take(if core == 0 { 6 } else { 10 }) {
            let uarea = step(&other, core)?;
            check_eq!(class(&uarea.saved), STEP);
            check_eq!(uarea.saved.pc, code + done * 4, "core {core}");
            check_eq!(uarea.saved.x[9], sum);
            check_eq!(uarea.saved.pstate & SS, 0);
        }
        check_eq!(other.uarea().vectors.v[0], 3);
        other.destroy()?;
    }
    area.close()
}

/// The step is not lost, and ends behind the instruction that comes after.
fn steps_over_a_yield() -> Outcome {
    let area = Area::new()?;
    let code = code::steps as *const () as u64;
    for core in 1..exposed::machine().cores {
        let counts = Other::new(&area, 2 * core, code::count)?;
        let other = Other::new(&area, 2 * core + 1, code::steps)?;
        stubs::env_debug(other.object(), 1)?;
        // From the call on, with somebody who waits behind it.
        other.change(|uarea| {
            uarea.saved.pc = code + 6 * 4;
            uarea.saved.pstate = SS;
        });
        counts.change_pad(|pad| pad.word = u64::MAX);
        counts.run(core)?;
        counts.wait_for_count(1)?;
        other.run(core)?;
        other.wait_for(EnvironmentState::Suspended)?;
        let saved = other.uarea().saved;
        check_eq!(class(&saved), STEP);
        check_eq!((saved.pc, saved.x[9]), (code + 8 * 4, 8));
        // Nobody else has stepped.
        let before = counts.count();
        counts.wait_for_count(before + 10)?;
        counts.destroy()?;
        other.destroy()?;
    }
    area.close()
}

fn steps_only_where_allowed() -> Outcome {
    let area = Area::new()?;
    let other = Other::new(&area, 0, code::dump)?;
    other.change(|uarea| uarea.saved.pstate = SS);
    other.run(1)?;
    other.wait_for(EnvironmentState::Stopped)?;
    stubs::env_debug(other.object(), 1)?;
    stubs::env_debug(other.object(), 0)?;
    other.change(|uarea| uarea.saved.pstate = SS);
    other.run(1)?;
    other.wait_for(EnvironmentState::Stopped)?;
    check_eq!(other.count(), 2);
    // One that steps, and one that does not, by turns on one core.
    let stepped = Other::new(&area, 1, code::steps)?;
    stubs::env_debug(stepped.object(), 1)?;
    for done in 1..=3 {
        let uarea = step(&stepped, 2)?;
        check_eq!(uarea.saved.pc, code::steps as *const () as u64 + 4 * done);
        other.run(2)?;
        other.wait_for(EnvironmentState::Stopped)?;
    }
    check_eq!(other.count(), 5);
    stepped.destroy()?;
    other.destroy()?;
    area.close()
}

/// Where the handler of steps has been, from the first on.
static STEPS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
/// How many.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Begins at a breakpoint, and takes steps until it has noted all that it has room for.
fn stepper(fault: &mut Fault<'_>) -> Action {
    let taken = TAKEN.fetch_add(1, Ordering::Relaxed) as usize;
    match STEPS.get(taken) {
        Some(place) => {
            place.store(fault.pc(), Ordering::Relaxed);
            if fault.syndrome() >> 26 == 0x3c {
                fault.step_over();
            }
            fault.frame().pstate |= SS;
        }
        None => fault.frame().pstate &= !SS,
    }
    Action::Resume
}

fn steps_through_itself() -> Outcome {
    stubs::env_debug(Object::Own, 1)?;
    TAKEN.store(0, Ordering::Relaxed);
    let (begin, sum) = with_handler(stepper, || {
        let (begin, sum): (u64, u64);
        // SAFETY: the breakpoint is stepped over, and the handler changes nothing else.
        unsafe {
            core::arch::asm!(
                "adr {begin}, 2f",
                "mov {sum}, #0",
                "2: brk #0",
                "add {sum}, {sum}, #1",
                "add {sum}, {sum}, #2",
                "add {sum}, {sum}, #4",
                "add {sum}, {sum}, #8",
                "add {sum}, {sum}, #16",
                "add {sum}, {sum}, #32",
                "add {sum}, {sum}, #64",
                "add {sum}, {sum}, #128",
                "add {sum}, {sum}, #256",
                begin = out(reg) begin,
                sum = out(reg) sum,
            );
        }
        (begin, sum)
    });
    stubs::env_debug(Object::Own, 0)?;
    check_eq!(sum, 511);
    check_eq!(TAKEN.load(Ordering::Relaxed), STEPS.len() as u64 + 1);
    for (index, place) in STEPS.iter().enumerate() {
        // The breakpoint itself; behind the instruction that follows it; and so on.
        let steps = if index == 0 { 0 } else { index as u64 + 1 };
        check_eq!(place.load(Ordering::Relaxed), begin + 4 * steps);
    }
    Ok(())
}
