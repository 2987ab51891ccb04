//! What is left of the core that serves the network while frames come that nobody wants.
//!
//! The program executes instructions whose number it knows, and reads the counter before and after: what it did not execute
//! itself, interrupts and the kernel's work on frames did. There is no other environment, so nothing else takes the core.
//! Somebody at the other end of the cable sends from when it says so.

use core::arch::asm;

use exopi_rt::net::InterfaceRecord;
use exopi_rt::{Error, ExitCode, exposed, println, time};

use crate::wire::{ADAPTER, come_up};

/// Rounds of the loop: about a tenth of a second of the emulator's time.
const ROUNDS: u64 = 50_000_000;
/// How long frames may take to come, in microseconds.
const PATIENCE: u64 = 60_000_000;
/// Frames after which it is a flood.
const BEGUN: u64 = 50;

pub(crate) fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("flood: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Error> {
    come_up()?;
    println!("flood: {} permille without frames", share());
    println!("flood: begin");
    let first = record()?;
    let begin = time::ticks();
    while record()?.received - first.received < BEGUN {
        if time::microseconds(time::ticks() - begin) > PATIENCE {
            return Err(Error::Vacant);
        }
        time::relax();
    }
    let before = record()?;
    let left = share();
    let after = record()?;
    let came = after.received - before.received;
    let unclaimed = after.unclaimed - before.unclaimed;
    println!("flood: {left} permille while {came} frames came, {unclaimed} for nobody");
    Ok(())
}

fn record() -> Result<InterfaceRecord, Error> {
    exposed::interface_at(ADAPTER).ok_or(Error::OutOfRange)
}

/// How many of a thousand instructions are this program's.
fn share() -> u64 {
    let (begin, end): (u64, u64);
    // SAFETY: counts down, and reads the counter.
    unsafe {
        asm!(
            "mrs {begin}, pmccntr_el0",
            "2: subs {left}, {left}, #1",
            "b.ne 2b",
            "mrs {end}, pmccntr_el0",
            begin = out(reg) begin,
            end = out(reg) end,
            left = inout(reg) ROUNDS => _,
            options(nomem, nostack),
        );
    }
    2_000 * ROUNDS / (end - begin).max(1)
}
