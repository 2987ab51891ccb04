//! From one environment to another: how its whole state is saved, and how it is entered again.
//!
//! Three ways lead away from an environment. Each leaves its registers in the u-area's `saved` before Rust
//! code uses them for its own ends, and ends in one of [`crate::environment`]'s functions with an empty
//! stack below it:
//!
//! ```text
//!   a call that may give    interrupt, and Rust has said      fault that cannot
//!   the core away           that the environment is wanted    be delivered
//!         |                          |                             |
//!   __saving_call             __attend                      __no_handler, __suspend
//!     as after success          as interrupted                as at the fault, with esr and far
//!         |                          |                             |
//!     the call's own code     __environment_interrupted     __environment_suspended
//!       |         |                  |        |                    |
//!    returns    settle --------------|--------+--> leave <---------+
//!                                    |               | put_away: vectors, thread, `held`
//!                                    |               v
//!                                    |         next environment, or idle
//!                                    v               |
//!                                 __resume <---------+ take: space, u-area, thread
//!                                   31 registers, SP, PC, flags out of `saved`
//! ```
//!
//! What the compiler calls callee-saved registers are as the environment left them on all three ways in; a call
//! that returns has not touched them, and one that does not return needs what `__saving_call` stored.
//!
//! **Vector registers** stay in the core until somebody else needs them there or the environment leaves.
//! After it was entered, `CPACR_EL1` traps EL0's first use; `__guarded` then loads them from the u-area and
//! goes on. When it leaves, they are stored if they were loaded. So no environment ever finds another's.
//!
//! **Single steps** (ARM DDI 0487, D2.11): `MDSCR_EL1.SS` is set while an environment runs whose state had
//! SS set, and cleared before anything else of it, or of another one, is entered.
//!
//! A fault looks at both by one word of the core's record, [`guard`], that is zero when neither matters.
#![expect(unsafe_code, reason = "saves and loads the processor's state")]

use core::arch::{asm, global_asm};
use core::mem::offset_of;

use aarch64_cpu::registers::{Readable, TPIDR_EL0, TPIDRRO_EL0, Writeable};
use exopi_abi::calls::Entry;
use exopi_abi::exposed::{CoreCounters, Event};
use exopi_abi::uarea::{Frame, UArea, UpcallClass, Vectors};
use exopi_abi::{Call, Reply};

use super::barrier;
use super::context;
use super::core_data::{Core, CoreAddress, offset};
use super::macros::{count_exception, macros, purge};
use super::pct;
use super::uarea::OwnUArea;
use super::vectors::{CALLS, HANDLERS, SAVED_BYTES};

/// Bits of the word in the core's record that a fault looks at.
pub mod guard {
    /// EL0 has not used the vector registers since it was entered, and must not until they are its own.
    pub const VECTORS: u64 = 1;
    /// `MDSCR_EL1.SS` is set.
    pub const STEPS: u64 = 2;
}

/// `CPACR_EL1.FPEN`: EL0 traps, EL1 may.
pub const VECTORS_TRAP: u64 = 1 << 20;
/// `CPACR_EL1.FPEN`: nobody traps.
const VECTORS_FREE: u64 = 3 << 20;
/// `MDSCR_EL1` without steps: EL0 has nothing of the debug communications channel (TDCC).
const MDSCR: u64 = 1 << 12;
/// Exception class of a use of vector registers that traps (ARM DDI 0487, D24.2.40).
const CLASS_VECTORS: u64 = 0x07;
/// The condition flags in a processor state.
const FLAGS: u64 = 0xf000_0000;
/// Single step in a processor state.
pub const SS: u64 = 1 << 21;

/// The calls that may give their caller's core away, or need its whole state.
const MAY_LEAVE: [Call; 5] = [
    Call::account_destroy,
    Call::env_stop,
    Call::env_yield,
    Call::env_destroy,
    Call::upcall_deliver,
];

unsafe extern "C" {
    /// Saves the caller's state as it will be after the call has succeeded, and makes the call.
    safe fn __saving_call(x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64) -> Reply;
    /// Goes on with the state in the frame of faults, if that is asked for and it is held, and makes the call if
    /// not.
    safe fn __resume_call(x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64) -> Reply;
    /// Goes on with the state in `frame`, which is released, leaving the kernel's stack empty.
    fn __resume(frame: *mut Frame, core: CoreAddress) -> !;
    /// Stores the vector registers.
    fn __store_vectors(to: *mut Vectors);
}

/// The call table with `__saving_call` in front of those calls that need it, `__resume_call` in front of
/// `resume`, and [`pct`] in front of transfers.
pub const fn in_front(mut table: [Entry; CALLS]) -> [Entry; CALLS] {
    let mut which = 0;
    while which < MAY_LEAVE.len() {
        table[MAY_LEAVE[which] as usize - 1] = __saving_call;
        which += 1;
    }
    table[Call::resume as usize - 1] = __resume_call;
    pct::in_front(table)
}

global_asm!(
    macros!(),
    count_exception!(),
    r#"
// Stores x30, SP, PC and processor state in the frame at \base, using x0 and x1.
.macro STORE_REST base
    mrs x0, sp_el0
    stp x30, x0, [\base, #240]
    mrs x0, elr_el1
    mrs x1, spsr_el1
    stp x0, x1, [\base, #{PC}]
.endm

.text
// x16 = call number - 1, x0..x5 = arguments, x30 = the way back to the vectors; the rest is the caller's.
// After the call x0 and x1 are zero if it succeeds, and the caller-saved registers always.
.global __saving_call
__saving_call:
    ldr x17, [sp, #{UAREA}]
    add x17, x17, #{SAVED}
    SAVE_AFTER_SUCCESS {PC}
__handler:
    adrp x6, {HANDLERS}
    add x6, x6, :lo12:{HANDLERS}
    ldr x6, [x6, x16, lsl #3]
    br x6

// x16 = call number - 1, x0 = class of upcalls. A frame that is held goes on from here, faults first, with nothing else
// touched on the way; the rest is the Rust code's.
.global __resume_call
__resume_call:
    cbnz x0, 1f
    ldr x1, [sp, #{UAREA}]
    ldr x2, [x1, #{FAULT} + {HELD}]
    cbz x2, __handler
    add x0, x1, #{FAULT}
    b __resume_here
1:  cmp x0, #{CLASSES}
    b.hs __handler
    ldr x1, [sp, #{UAREA}]
    mov x2, #{FRAME_BYTES}
    madd x1, x0, x2, x1
    ldr x2, [x1, #{FAULT} + {HELD}]
    cbz x2, __handler
    add x0, x1, #{FAULT}
    b __resume_here

// From the vectors' interrupt path: caller-saved registers are on the stack, the others in place.
.global __attend
__attend:
    ldr x16, [sp, #{SAVED_BYTES} + {UAREA}]
    add x16, x16, #{SAVED}
    X2_TO_X15 ldp, sp
    X2_TO_X15 stp, x16
    ldp x0, x1, [sp, #0]
    stp x0, x1, [x16, #0]
    ldp x0, x1, [sp, #128]
    stp x0, x1, [x16, #128]
    ldp x18, x30, [sp, #144]
    X18_TO_X29 stp, x16
    STORE_REST x16
    add sp, sp, #{SAVED_BYTES}
    b __environment_interrupted

// From the vectors' fault path: x16 = u-area; x0..x5 are in the frame of faults, x16 and x17 in the
// record, the others in place.
.global __no_handler
__no_handler:
    ldp x0, x1, [x16, #{FAULT} + 0]
    ldp x2, x3, [x16, #{FAULT} + 16]
    ldp x4, x5, [x16, #{FAULT} + 32]
// The same with x0..x5 in place.
.global __suspend
__suspend:
    add x16, x16, #{SAVED}
    stp x0, x1, [x16, #0]
    X2_TO_X15 stp, x16
    ldp x0, x1, [sp, #{SCRATCH}]
    stp x0, x1, [x16, #128]
    X18_TO_X29 stp, x16
    STORE_REST x16
    mrs x0, esr_el1
    mrs x1, far_el1
    stp x0, x1, [x16, #{ESR}]
    b __environment_suspended

// From the vectors' fault path: x16 = u-area, x17 = guards, which are not zero; x16 and x17 are in the
// record, the others in place. Goes on there if it is a fault after all.
.global __guarded
__guarded:
    tbnz x17, #{STEPS_BIT}, 1f
    mrs x17, esr_el1
    lsr x17, x17, #26
    cmp x17, #{CLASS_VECTORS}
    b.ne __unguarded_upcall
    b __load_vectors
1:  mrs x17, esr_el1
    lsr x17, x17, #26
    cmp x17, #{CLASS_VECTORS}
    b.eq __load_vectors
    // The handler is not stepped through.
    ldr x17, [sp, #{GUARDS}]
    and x17, x17, #~{STEPS}
    str x17, [sp, #{GUARDS}]
    mov x17, #{MDSCR}
    msr mdscr_el1, x17
    b __unguarded_upcall

// The same for the first use of vector registers. EL1 may use them already; the return makes the change
// visible to EL0.
.arch_extension simd
__load_vectors:
    add x16, x16, #{VECTORS}
    VECTOR_REGISTERS ldp, x16
    ldr x17, [x16, #{FPCR}]
    msr fpcr, x17
    ldr x17, [x16, #{FPSR}]
    msr fpsr, x17
    mov x17, #{VECTORS_FREE}
    msr cpacr_el1, x17
    ldr x17, [sp, #{GUARDS}]
    and x17, x17, #~{VECTORS_GUARD}
    str x17, [sp, #{GUARDS}]
    COUNT_EXCEPTION x16
    ldp x16, x17, [sp, #{SCRATCH}]
    eret

// x0 = where to.
.global __store_vectors
__store_vectors:
    VECTOR_REGISTERS stp, x0
    mrs x1, fpcr
    str x1, [x0, #{FPCR}]
    mrs x1, fpsr
    str x1, [x0, #{FPSR}]
    ret
.arch_extension nosimd

// x0 = frame in the u-area, x1 = this core's record. Never returns to its caller: the stack is empty
// again, as an exception from EL0 expects it. Of the frame's processor state it takes what the record says.
.global __resume
__resume:
    mov sp, x1
.global __resume_here
__resume_here:
    ldr x4, [sp, #{CURRENT}]
    ldp x2, x3, [x0, #{PC}]
    ldr x4, [x4, #{PSTATE}]
    and x3, x3, x4
    tbnz x3, #{SS_BIT}, 2f
1:  msr elr_el1, x2
    msr spsr_el1, x3
    str xzr, [x0, #{HELD}]
    ldp x30, x3, [x0, #240]
    msr sp_el0, x3
    X18_TO_X29 ldp, x0
    ldp x16, x17, [x0, #128]
    X2_TO_X15 ldp, x0
    ldp x0, x1, [x0, #0]
    eret
2:  // Take one step: the return makes the change visible.
    mov x4, #{MDSCR} + 1
    msr mdscr_el1, x4
    ldr x4, [sp, #{GUARDS}]
    orr x4, x4, #{STEPS}
    str x4, [sp, #{GUARDS}]
    b 1b
"#,
    purge!(),
    ".purgem STORE_REST",
    SCRATCH = const offset::SCRATCH,
    COUNTERS = const offset::COUNTERS,
    UAREA = const offset::UAREA_AND_GUARDS,
    GUARDS = const offset::UAREA_AND_GUARDS + 8,
    CURRENT = const offset::CURRENT,
    PSTATE = const context::offset::PSTATE,
    SAVED_BYTES = const SAVED_BYTES,
    HANDLERS = sym HANDLERS,
    EXCEPTIONS = const offset_of!(CoreCounters, events) + 8 * Event::Exception as usize,
    FAULT = const offset_of!(UArea, frames),
    CLASSES = const UpcallClass::COUNT,
    FRAME_BYTES = const size_of::<Frame>(),
    SAVED = const offset_of!(UArea, saved),
    PC = const offset_of!(Frame, pc),
    ESR = const offset_of!(Frame, esr),
    HELD = const offset_of!(Frame, held),
    VECTORS = const offset_of!(UArea, vectors),
    FPCR = const offset_of!(Vectors, fpcr),
    FPSR = const offset_of!(Vectors, fpsr),
    CLASS_VECTORS = const CLASS_VECTORS,
    VECTORS_FREE = const VECTORS_FREE,
    VECTORS_GUARD = const guard::VECTORS,
    STEPS = const guard::STEPS,
    STEPS_BIT = const guard::STEPS.ilog2(),
    MDSCR = const MDSCR,
    SS_BIT = const SS.ilog2(),
);

/// Puts this core's debug registers and vector trap into the state in which environments are entered.
pub fn init() {
    // SAFETY: EL0's first use of a vector register traps; the debug registers (ARM DDI 0487, D24.3) lead to
    // exceptions that the vectors take. The OS lock, set at reset, would keep steps from being taken.
    unsafe {
        asm!(
            "msr cpacr_el1, {trap}",
            "msr mdscr_el1, {mdscr}",
            "msr oslar_el1, xzr",
            "isb",
            trap = in(reg) VECTORS_TRAP,
            mdscr = in(reg) MDSCR,
            options(nostack, preserves_flags),
        );
    }
}

/// Which bits of the processor state count in a frame.
pub const fn pstate_mask(debugged: bool) -> u64 {
    if debugged { FLAGS | SS } else { FLAGS }
}

/// Takes no further step here, if one is due; the state in `saved` says then that one is to be taken.
pub fn stop_stepping() {
    if Core::lower_guard(guard::STEPS) {
        steps_off();
        let area = Core::uarea();
        area.write(
            OwnUArea::SAVED_PSTATE,
            area.read(OwnUArea::SAVED_PSTATE) | SS,
        );
    }
}

fn steps_off() {
    // SAFETY: without SS there are no debug exceptions that EL0 has not asked for by `brk`.
    unsafe { asm!("msr mdscr_el1, {}", in(reg) MDSCR, options(nostack, preserves_flags)) };
}

/// Whether the environment that runs here takes single steps.
pub fn steps() -> bool {
    Core::has_guard(guard::STEPS)
}

/// Takes a single step as soon as this core is at EL0: the environment that goes on there has made a call by one.
pub fn step_on() {
    let _ = Core::raise_guard(guard::STEPS);
    // SAFETY: the return makes the change visible; the vectors take what comes of it.
    unsafe { asm!("msr mdscr_el1, {}", in(reg) MDSCR + 1, options(nostack, preserves_flags)) };
}

/// Takes no further step here: the environment is not debugged any more, or makes room for another one.
pub fn forget_steps() {
    if Core::lower_guard(guard::STEPS) {
        steps_off();
    }
}

/// Completes the state in `saved` of the environment that leaves this core, with why (`esr` and `far`, zero
/// if it was nothing of its own), and stores the vector registers if they are its own. Under the kernel lock:
/// once that is given back, the u-area may be anybody's.
pub fn put_away(why: [u64; 2]) {
    let area = Core::uarea();
    stop_stepping();
    area.write(OwnUArea::SAVED_ESR, why[0]);
    area.write(OwnUArea::SAVED_FAR, why[1]);
    area.write(OwnUArea::SAVED_HELD, 1);
    put_registers_away();
}

/// Stores what an environment that leaves this core has in registers that are in no frame.
pub fn put_registers_away() {
    let area = Core::uarea();
    area.write(OwnUArea::THREAD, TPIDR_EL0.get());
    // What EL0 has begun of cache maintenance is complete before it goes on elsewhere, where its own barrier would
    // not wait for this core.
    barrier::complete();
    if Core::raise_guard(guard::VECTORS) {
        // SAFETY: the u-area of the environment that runs here is a page of the linear window, and EL1 may
        // use the vector registers, which nobody at EL1 does otherwise.
        unsafe { __store_vectors(area.vectors()) };
        trap_vectors();
    }
}

/// Forgets the state of the environment that leaves this core and will never run again.
pub fn drop_state() {
    forget_steps();
    if Core::raise_guard(guard::VECTORS) {
        trap_vectors();
    }
}

fn trap_vectors() {
    // SAFETY: the kernel does not use what traps, and EL0 finds its own state when it does. The change
    // is visible to EL0 after the exception return.
    unsafe {
        asm!("msr cpacr_el1, {}", in(reg) VECTORS_TRAP, options(nostack, preserves_flags));
    }
}

/// Loads what is an environment's own and in no frame, for the one whose u-area is this core's by now.
pub fn take_registers() {
    TPIDRRO_EL0.set(Core::uarea_user());
    TPIDR_EL0.set(Core::uarea().read(OwnUArea::THREAD));
    // PMUSERENR_EL0 lets EL0 read counters, and so choose one: not to be read as somebody else's choice.
    // SAFETY: the register chooses what another one shows.
    unsafe {
        asm!(
            "msr pmselr_el0, xzr",
            options(nomem, nostack, preserves_flags)
        )
    };
}

/// Enters the environment whose u-area is this core's with the state in `saved`.
pub fn enter() -> ! {
    let area = Core::uarea();
    // SAFETY: the frame is readable and writable; what it holds is the environment's own registers. The
    // stack frames below are given up: nothing in them has a destructor to run.
    unsafe { __resume(area.saved(), Core::address()) }
}

/// The same with the state in `frame`, one of the u-area's own.
///
/// # Safety
/// `frame` must be a frame in the u-area of the environment that runs here, and no destructor may be
/// left to run.
#[inline(always)]
pub unsafe fn resume(frame: *mut Frame, core: CoreAddress) -> ! {
    // SAFETY: the caller's.
    unsafe { __resume(frame, core) }
}
