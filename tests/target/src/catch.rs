//! Faults: those that a case provokes, and those that end it.
//!
//! Two ways out of a fault lead elsewhere than to the instruction:
//!
//! * `attempt!` runs instructions that may fault. A fault skips the rest of them, and is the result.
//! * [`protected`] runs a whole case. A fault that nobody attempted takes the stack back to where
//!   the case was called, as if it had returned.
//!
//! Cases that need a handler of their own borrow the place of this one with [`with_handler`].

use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::upcall::{self, Action, Fault, FaultCause, Handler};

use crate::harness::Outcome;

/// A fault that was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caught {
    /// Syndrome.
    pub(crate) esr: u64,
    /// Fault address.
    pub(crate) far: u64,
    /// Where it happened.
    pub(crate) pc: u64,
    /// The processor state that was interrupted.
    pub(crate) pstate: u64,
}

impl Caught {
    /// What happened.
    pub(crate) fn cause(&self) -> FaultCause {
        FaultCause::decode(self.esr, self.far)
    }
}

/// Where the instruction after an attempt is, while one runs; 0 else.
static ATTEMPT: AtomicU64 = AtomicU64::new(0);
/// SP and PC to go back to when a case faults; PC is 0 while none runs.
static RETURN: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// How many faults were caught so far.
static CAUGHT: AtomicU64 = AtomicU64::new(0);
/// The last one: syndrome, address, PC, state.
static LAST: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// The handler of the whole suite.
pub(crate) fn handler(fault: &mut Fault<'_>) -> Action {
    let pstate = fault.frame().pstate;
    let words = [fault.syndrome(), fault.address(), fault.pc(), pstate];
    for (place, word) in LAST.iter().zip(words) {
        place.store(word, Ordering::Relaxed);
    }
    CAUGHT.fetch_add(1, Ordering::Relaxed);
    let attempt = ATTEMPT.swap(0, Ordering::Relaxed);
    if attempt != 0 {
        fault.set_pc(attempt);
        return Action::Resume;
    }
    let [sp, pc] = [0, 1].map(|index: usize| RETURN[index].load(Ordering::Relaxed));
    if pc == 0 {
        return Action::Abort;
    }
    fault.set_sp(sp);
    fault.set_pc(pc);
    fault.registers()[0] = 1;
    Action::Resume
}

/// Puts the handler in force.
pub(crate) fn install() {
    upcall::on_fault(handler);
}

/// Runs `work` with faults going to `own`, which may pass on to [`handler`] what it does not expect.
pub(crate) fn with_handler<T>(own: Handler, work: impl FnOnce() -> T) -> T {
    upcall::on_fault(own);
    let outcome = work();
    install();
    outcome
}

/// The last fault that was caught.
pub(crate) fn last() -> Caught {
    let [esr, far, pc, pstate] =
        [0, 1, 2, 3].map(|index: usize| LAST[index].load(Ordering::Relaxed));
    Caught {
        esr,
        far,
        pc,
        pstate,
    }
}

/// How many faults were caught so far.
pub(crate) fn count() -> u64 {
    CAUGHT.load(Ordering::Relaxed)
}

/// Where an attempt leaves its end. For `attempt!`.
pub(crate) fn attempt_place() -> *mut u64 {
    ATTEMPT.as_ptr()
}

/// Runs instructions, with operands behind a semicolon as `asm!` has them; the first fault among them
/// skips the rest and is the error. x9 is used; what else they change the operands must say.
macro_rules! attempt {
    ($($line:literal),+ ; $($operand:tt)*) => {{
        let before = $crate::catch::count();
        core::arch::asm!(
            "adr x9, 2f",
            "str x9, [{place}]",
            $($line,)+
            "2:",
            "str xzr, [{place}]",
            place = in(reg) $crate::catch::attempt_place(),
            out("x9") _,
            $($operand)*
        );
        if $crate::catch::count() == before {
            Ok(())
        } else {
            Err($crate::catch::last())
        }
    }};
}

/// Loads a byte.
pub(crate) fn read(address: u64) -> Result<u8, Caught> {
    let mut byte: u64 = 0;
    // SAFETY: a load changes nothing, and may fault.
    unsafe {
        attempt!("ldrb {byte:w}, [{address}]"; byte = inout(reg) byte, address = in(reg) address)
    }?;
    Ok(byte as u8)
}

/// Stores a byte.
///
/// # Safety
/// Where it does not fault, nothing may depend on the byte.
pub(crate) unsafe fn write(address: u64, byte: u8) -> Result<(), Caught> {
    // SAFETY: it may fault; else the caller says that the byte may change.
    unsafe {
        attempt!("strb {byte:w}, [{address}]"; byte = in(reg) u64::from(byte), address = in(reg) address)
    }
}

/// Calls what is at an address.
///
/// # Safety
/// Where it does not fault, it must be a function of the C calling convention.
pub(crate) unsafe fn execute(address: u64) -> Result<(), Caught> {
    let before = count();
    // SAFETY: it may fault; else the caller says what it is. Not `attempt!`, whose registers a call
    // does not keep.
    unsafe {
        asm!(
            "adr x9, 2f",
            "str x9, [x20]",
            "blr x21",
            "2:",
            "str xzr, [x20]",
            in("x20") attempt_place(),
            in("x21") address,
            clobber_abi("C"),
        );
    }
    if count() == before {
        Ok(())
    } else {
        Err(last())
    }
}

/// Runs a case; a fault in it is the error.
///
/// After a fault nothing that the case had on its stack is dropped, so what it took is lost; the
/// case has failed anyway.
pub(crate) fn protected(case: fn() -> Outcome) -> Result<Outcome, Caught> {
    /// What the assembly calls, with no unwinding or layout in between.
    extern "C" fn run(job: *mut Job) {
        // SAFETY: it points to the one below, which lives longer than this call.
        let job = unsafe { &mut *job };
        job.outcome = Some((job.case)());
    }
    struct Job {
        case: fn() -> Outcome,
        outcome: Option<Outcome>,
    }
    let mut job = Job {
        case,
        outcome: None,
    };
    // SAFETY: `run` gets what it expects. After a fault the registers that functions keep are put
    // back from the stack, which the handler has reset.
    unsafe {
        call_guarded(
            (&raw mut job).cast(),
            run as *const (),
            RETURN.as_ptr().cast_mut().cast(),
        )
    };
    RETURN[1].store(0, Ordering::Relaxed);
    install();
    job.outcome.ok_or_else(last)
}

/// Calls `function(argument)`, having left in `place` the SP and PC to go back to if it faults.
#[unsafe(naked)]
unsafe extern "C" fn call_guarded(argument: *mut (), function: *const (), place: *mut u64) -> u64 {
    naked_asm!(
        "stp x29, x30, [sp, #-160]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mov x9, sp",
        "adr x10, 2f",
        "stp x9, x10, [x2]",
        "blr x1",
        "mov x0, xzr",
        "2:",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #160",
        "ret",
    )
}
