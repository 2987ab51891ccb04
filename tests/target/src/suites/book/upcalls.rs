//! A program is the kernel of code that it runs: `svc #0` never is the kernel's.

use core::arch::asm;

use exopi_rt::upcall::{Action, Fault, FaultCause};

use crate::catch;
use crate::harness::Outcome;

/// Calls of the other system, told by x8 as its programs do.
const ADD: u64 = 1;
const WHERE: u64 = 2;
/// What it answers to all others.
const NO_SUCH_CALL: u64 = u64::MAX;

/// Called with the interrupted state for each exception that the kernel has no use for.
fn on_fault(fault: &mut Fault<'_>) -> Action {
    match fault.cause() {
        FaultCause::Svc(0) => {
            let pc = fault.pc();
            let x = fault.registers();
            x[0] = match x[8] {
                ADD => x[0].wrapping_add(x[1]),
                WHERE => pc,
                _ => NO_SUCH_CALL,
            };
        }
        // The PC is the faulting instruction's own; of `svc` it is the next one's.
        FaultCause::Breakpoint(_) => fault.step_over(),
        _ => return Action::Abort,
    }
    // One cheap call: the interrupted code goes on with what is in the frame.
    Action::Resume
}

/// A call as code of the other system makes it.
fn other_call(number: u64, first: u64, second: u64) -> u64 {
    let result;
    // SAFETY: the handler changes x0 and nothing else.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") first => result, in("x1") second);
    }
    result
}

pub(super) fn another_systems_calls() -> Outcome {
    // As `upcall::on_fault`, and afterwards the suite's own handler again.
    catch::with_handler(on_fault, || {
        check_eq!(other_call(ADD, 40, 2), 42);
        check_eq!(other_call(77, 0, 0), NO_SUCH_CALL);
        let here = another_systems_calls as *const () as u64;
        check!(other_call(WHERE, 0, 0).abs_diff(here) < 1 << 20);
        // SAFETY: the handler steps over it.
        unsafe { asm!("brk #3") };
        Ok(())
    })
}
