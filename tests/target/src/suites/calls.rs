//! Calls in general: what they leave in registers, and what numbers that are no calls give.

use core::sync::atomic::Ordering;

use exopi_rt::calls::ROWS;
use exopi_rt::{Call, Error, Reply, VERSION, exposed};

use crate::harness::{Failure, Outcome, Suite};
use crate::machine::{self, Registers, STUBS};

pub(crate) const SUITE: Suite = Suite {
    name: "calls",
    cases: &[
        ("null_gives_the_version", null_gives_the_version),
        ("refusals_scrub_registers", refusals_scrub_registers),
        ("unknown_numbers", unknown_numbers),
        ("fp_control_is_kept", fp_control_is_kept),
    ],
};

fn null_gives_the_version() -> Outcome {
    machine::write_stub(0, Call::null.number())?;
    machine::publish_stubs()?;
    let before = Registers::marked();
    let mut after = before;
    // SAFETY: the call does nothing.
    unsafe { machine::run_stub(0, &mut after) };
    check_eq!(after.reply(), Reply::success(VERSION));
    machine::check_scrubbed(&before, &after)
}

/// Arguments that are nonsense for each call but those that take none of them, and are never refused or
/// end the machine.
fn refusals_scrub_registers() -> Outcome {
    for row in ROWS {
        let takes_none = row.arguments.is_empty();
        // What moves a message has its arguments elsewhere.
        if takes_none || row.first_register != 0 || row.call == Call::board_exit {
            continue;
        }
        machine::write_stub(0, row.call.number())?;
        machine::publish_stubs()?;
        let before = Registers::of_call(row, [u64::MAX; 6]);
        let mut after = before;
        // SAFETY: no address of the program's is among the arguments.
        unsafe { machine::run_stub(0, &mut after) };
        let error = after.reply_of(row).error();
        check!(error.is_some(), "{}", row.call.name());
        machine::check_refused(row, &before, &after)?;
    }
    Ok(())
}

fn unknown_calls() -> Result<u64, Failure> {
    let counters = exposed::counters(0).ok_or_else(|| Failure::new("no counters"))?;
    Ok(counters.unknown_calls.load(Ordering::Relaxed))
}

/// Every number that is neither a call nor 0.
fn unknown_numbers() -> Outcome {
    let first = Call::ALL.len() as u64 + 1;
    let counted = unknown_calls()?;
    let calls: u64 = Call::ALL.iter().map(|call| exposed::calls(0, *call)).sum();
    let free_pages = exposed::free_pages();
    let before = Registers::marked();
    for begin in (first..0x1_0000).step_by(STUBS as usize) {
        let numbers = begin..(begin + STUBS).min(0x1_0000);
        for number in numbers.clone() {
            machine::write_stub(number - begin, number as u16)?;
        }
        machine::publish_stubs()?;
        for number in numbers {
            let mut after = before;
            // SAFETY: the number is no call's.
            unsafe { machine::run_stub(number - begin, &mut after) };
            check_eq!(
                after.reply(),
                Reply::refusal(Error::NoSuchCall),
                "call {number:#x}"
            );
            machine::check_scrubbed(&before, &after)?;
        }
    }
    check_eq!(
        unknown_calls()? - counted,
        0x1_0000 - first,
        "unknown calls counted"
    );
    let now: u64 = Call::ALL.iter().map(|call| exposed::calls(0, *call)).sum();
    check_eq!(now, calls, "known calls counted");
    check_eq!(exposed::free_pages(), free_pages);
    Ok(())
}

/// Rounding mode and exception flags of floating point outlast a call.
fn fp_control_is_kept() -> Outcome {
    const CONTROL: u64 = 0x00c0_0000;
    const STATUS: u64 = 0x0800_001f;
    let (control, status): (u64, u64);
    // SAFETY: FPCR and FPSR are put back as Rust expects them; between, nothing computes.
    unsafe {
        core::arch::asm!(
            "msr fpcr, {control}",
            "msr fpsr, {status}",
            "svc #1",
            "mrs {control_after}, fpcr",
            "mrs {status_after}, fpsr",
            "msr fpcr, xzr",
            "msr fpsr, xzr",
            control = in(reg) CONTROL,
            status = in(reg) STATUS,
            control_after = out(reg) control,
            status_after = out(reg) status,
            out("x0") _, out("x1") _, out("x2") _, out("x3") _, out("x4") _, out("x5") _,
            out("x6") _, out("x7") _, out("x8") _, out("x9") _, out("x10") _, out("x11") _,
            out("x12") _, out("x13") _, out("x14") _, out("x15") _, out("x16") _,
            out("x17") _, out("x18") _, out("x30") _,
        );
    }
    check_eq!((control, status), (CONTROL, STATUS));
    Ok(())
}
