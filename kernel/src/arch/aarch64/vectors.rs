//! The exception table, and the paths whose instructions are counted.
//!
//! From EL0, SP is the address of this core's [`Core`](super::core_data::Core) and the stack below it
//! is empty. There are three ways in and three ways out; what leads to another environment is in
//! [`super::switch`]:
//!
//! ```text
//!   svc #n, n known   --> count, call table[n - 1], scrub --> eret      null_call
//!                         a call that may give the core away --> switch::__saving_call
//!   svc #n, n unknown --> count, NoSuchCall, scrub --> eret
//!   anything else     --> state to the u-area's frame, count --> eret to the handler
//!                         guards are up --> switch::__guarded: vector registers, single steps
//!                         frame held, or no handler --> switch::__suspend
//!   interrupt         --> a turn's end --> state to the u-area's frame --> eret to the epilogue
//!                         anything else: caller-saved registers to the stack, Rust, back, eret
//!                         the environment is asked for --> switch::__attend
//! ```
//!
//! `svc #0` is "anything else": it has no number. What leaves the kernel in registers:
//!
//! * after a call, x0 and x1 are its result, x2..x18 and x30 are zero, the rest is as it was;
//! * in a handler, x0..x2 are what the frame has too, x3..x5 come from the environment or its exposed
//!   counters, x16 and x17 are zero;
//! * in an epilogue, x0..x2 are its arguments, x3..x11, x16 and x17 are zero, and the rest is as it was;
//! * after any other interrupt, everything is as it was.
//!
//! At EL1 all interrupts are masked, always: an idle core wakes from WFI by a masked one and asks the
//! controller. So every exception from EL1 is a fault of the kernel's, but for two expected ones that
//! `kernel_exception` knows: user memory that is not there, and the semihosting trap.
#![expect(unsafe_code, reason = "the exception table is assembly")]

use aarch64_cpu::registers::{VBAR_EL1, Writeable};
use core::arch::global_asm;
use core::mem::offset_of;
use exopi_abi::calls::{Entry, entries};
use exopi_abi::exposed::{CoreCounters, Event};
use exopi_abi::uarea::{self, Frame, UArea, UpcallClass};
use exopi_abi::{Call, Error};

use super::context;
use super::core_data::{STACK_BOTTOM, offset};
use super::exception::Record;
use super::macros::{count_exception, macros, purge};
use super::{mmu, switch, timer};
use crate::syscall::Caller;

/// How many calls there are.
pub const CALLS: usize = Call::ALL.len();

/// The call table: element n serves `svc #n+1`.
static TABLE: [Entry; CALLS] = switch::in_front(entries::<Caller>());

/// What serves each call in Rust, likewise.
pub static HANDLERS: [Entry; CALLS] = entries::<Caller>();

/// The call table's address, for the cores' records.
pub fn table() -> *const Entry {
    TABLE.as_ptr()
}

/// Takes exceptions by this table on this core from now on.
pub fn init() {
    VBAR_EL1.set(mmu::vectors() as u64);
}

/// Bytes of the caller-saved registers, and of room for x18 and x30, on the stack.
pub const SAVED_BYTES: usize = 20 * 8;

global_asm!(
    macros!(),
    count_exception!(),
    r#"
// Zeroes the caller-saved registers from x2 on. `zero` in the core's record is loaded in pairs: half
// the instructions of moving from xzr.
.macro SCRUB_CALLER_SAVED
    ldp x2, x3, [sp, #{ZERO}]
    ldp x4, x5, [sp, #{ZERO}]
    ldp x6, x7, [sp, #{ZERO}]
    ldp x8, x9, [sp, #{ZERO}]
    ldp x10, x11, [sp, #{ZERO}]
    ldp x12, x13, [sp, #{ZERO}]
    ldp x14, x15, [sp, #{ZERO}]
    ldp x16, x17, [sp, #{ZERO}]
    ldp x18, x30, [sp, #{ZERO}]
.endm

// An exception that finds the kernel itself running, or that nothing can be done about. x0 goes where
// EL0 sees its u-area's address, since SP cannot be trusted before it is looked at: below the stack
// lies an unmapped page, and a store there would bring us here again, for ever.
.macro FATAL kind
    .balign 128
    msr tpidrro_el0, x0
    mov x0, #\kind
    b __kernel_exception
.endm

.section .text.vectors, "ax"
.global __vectors
.balign 2048
__vectors:
    // From EL1 on SP_EL0, which the kernel never runs on.
    FATAL 0
    FATAL 1
    FATAL 2
    FATAL 3
    // From EL1 on SP_EL1.
    FATAL 4
    FATAL 5
    FATAL 6
    FATAL 7

    // From EL0: synchronous.
    .balign 128
    stp x16, x17, [sp, #{SCRATCH}]
    mrs x16, esr_el1
    ldr x17, [sp, #{FIRST_CALL}]
    sub x16, x16, x17
    cmp x16, #{CALLS}
    b.hs __not_a_call
    // x16 = call number - 1.
    ldp x17, x18, [sp, #{COUNTERS_AND_TABLE}]
    ldr x30, [x17, x16, lsl #3]
    add x30, x30, #1
    str x30, [x17, x16, lsl #3]
    COUNT_EXCEPTION x30
    ldr x17, [x18, x16, lsl #3]
    blr x17
    SCRUB_CALLER_SAVED
    eret

    // From EL0: interrupt.
    .balign 128
    b __interrupt
    // From EL0: FIQ, which nothing raises, and SError.
    FATAL 8
    FATAL 9
    // From AArch32, which no environment is ever in.
    FATAL 10
    FATAL 11
    FATAL 12
    FATAL 13
    .balign 128

__not_a_call:
    // x16 = syndrome of an svc with an unknown number - that of svc #1, or far outside of 16 bits.
    lsr x17, x16, #16
    cbz x17, __unknown_call

__upcall:
    ldp x16, x17, [sp, #{UAREA_AND_GUARDS}]
    cbnz x17, __guarded
// x16 = u-area.
__unguarded_upcall:
    ldr x17, [x16, #{HELD}]
    cbnz x17, __suspend
    stp x0, x1, [x16, #{FRAME} + 0]
    X2_TO_X15 stp, x16, {FRAME}
    ldp x0, x1, [sp, #{SCRATCH}]
    stp x0, x1, [x16, #{FRAME} + 128]
    X18_TO_X29 stp, x16, {FRAME}
    mrs x3, sp_el0
    stp x30, x3, [x16, #{FRAME} + 240]
    mrs x2, elr_el1
    mrs x3, spsr_el1
    stp x2, x3, [x16, #{PC}]
    mrs x0, esr_el1
    mrs x1, far_el1
    stp x0, x1, [x16, #{ESR}]
    ldp x4, x5, [x16, #{ENTRY}]
    cbz x4, __no_handler
    mov x17, #1
    str x17, [x16, #{HELD}]
    msr elr_el1, x4
    msr sp_el0, x5
    // EL0, AArch64, nothing masked, no flags.
    msr spsr_el1, xzr
    COUNT {UPCALLS}, x4
    COUNT_EXCEPTION x4
    ldp x16, x17, [sp, #{ZERO}]
    eret

__unknown_call:
    COUNT {UNKNOWN_CALLS}, x18
    COUNT_EXCEPTION x18
    mov x0, #{NO_SUCH_CALL}
    mov x1, #0
    SCRUB_CALLER_SAVED
    eret

// Is it the timer, and is the turn of who runs here at its end and nothing else due? Then that one is told, if it takes
// its epilogue now: no lock is needed for that. Other interrupts come as soon as it is entered.
__interrupt:
    stp x16, x17, [sp, #{SCRATCH}]
    mrs x16, cntp_ctl_el0
    cmp x16, #{TIMER_DUE}
    b.ne 1f
    ldp x16, x17, [sp, #{UAREA_AND_GUARDS}]
    tbnz x17, #{STEPS_BIT}, 1f
    ldr x17, [x16, #{MASKED}]
    cbnz x17, 1f
    ldr x17, [x16, #{SLICE_END} + {FRAME_HELD}]
    cbnz x17, 1f
    add x16, x16, #{SLICE_END}
    stp x0, x1, [x16, #0]
    X2_TO_X15 stp, x16
    // x0 = context, x2 and x3 = entry, x4 = the turn's end, x6 = what else is due, x8 = now.
    ldr x0, [sp, #{CURRENT}]
    ldr x1, [sp, #{UAREA_AND_GUARDS}]
    ldr x5, [x0, #{CALLER}]
    tbz x5, #0, 2f
    ldp x2, x3, [x1, #{SLICE_END_ENTRY}]
    cbz x2, 2f
    ldr x4, [sp, #{TURN_END}]
    cbz x4, 2f
    ldp x6, x7, [sp, #{ALARM_AND_LIMIT}]
    mrs x8, cntvct_el0
    cmp x8, x4
    b.lo 2f
    cmp x8, x6
    b.hs 2f
    // Until when it may stay, and how long that is.
    add x7, x4, x7
    subs x9, x7, x8
    b.ls 2f
    ldp x10, x11, [sp, #{SCRATCH}]
    stp x10, x11, [x16, #128]
    X18_TO_X29 stp, x16
    mrs x10, sp_el0
    stp x30, x10, [x16, #240]
    mrs x10, elr_el1
    mrs x11, spsr_el1
    stp x10, x11, [x16, #{FRAME_PC}]
    stp xzr, xzr, [x16, #{FRAME_ESR}]
    mov x11, #1
    str x11, [x16, #{FRAME_HELD}]
    ldr x11, [x0, #{NAME}]
    stp x7, x11, [sp, #{LEAVING_AND_TOLD}]
    str xzr, [sp, #{TURN_END}]
    cmp x7, x6
    csel x7, x7, x6, lo
    msr cntp_cval_el0, x7
    msr elr_el1, x2
    msr sp_el0, x3
    msr spsr_el1, xzr
    COUNT {INTERRUPTS}, x4
    COUNT {UPCALLS}, x4
    COUNT_EXCEPTION x4
    mov x0, x9
    mov x1, xzr
    mov x2, x10
    ldp x3, x4, [sp, #{ZERO}]
    ldp x5, x6, [sp, #{ZERO}]
    ldp x7, x8, [sp, #{ZERO}]
    ldp x9, x10, [sp, #{ZERO}]
    mov x11, xzr
    ldp x16, x17, [sp, #{ZERO}]
    eret
2:  ldp x0, x1, [x16, #0]
    ldp x2, x3, [x16, #16]
    ldp x4, x5, [x16, #32]
    ldp x6, x7, [x16, #48]
    ldp x8, x9, [x16, #64]
1:  ldp x16, x17, [sp, #{SCRATCH}]
    sub sp, sp, #{SAVED_BYTES}
    stp x0, x1, [sp, #0]
    X2_TO_X15 stp, sp
    stp x16, x17, [sp, #128]
    stp x18, x30, [sp, #144]
    bl __serve_interrupts
    cbnz x0, __attend
    ldp x0, x1, [sp, #0]
    X2_TO_X15 ldp, sp
    ldp x16, x17, [sp, #128]
    ldp x18, x30, [sp, #144]
    add sp, sp, #{SAVED_BYTES}
    eret

// x0 = kind, tpidrro_el0 = the old x0. Saves a Record on the stack and lets Rust look at it.
__kernel_exception:
    // Is there room, for the record and a page for who looks at it? The stack is the upper half of its slot:
    // see kernel.ld.
    msr par_el1, x1
    mov x1, sp
    sub x1, x1, #{RECORD_BYTES}
    sub x1, x1, #1, lsl #12
    tbz x1, #{STACK_BIT}, 2f
    mov x1, sp
    sub sp, sp, #{RECORD_BYTES}
    b 3f
2:  // No. On the emergency stack already? Its two pages are those of the lower half whose address bits
    // 12 and 13 differ; then there is room below.
    add x1, x1, #1, lsl #12
    eor x1, x1, x1, lsl #1
    tbz x1, #13, 4f
    mov x1, sp
    sub sp, sp, #{RECORD_BYTES}
    b 3f
4:  mrs x1, tpidr_el1
    ldr x1, [x1, #{EMERGENCY_STACK}]
    sub x1, x1, #{RECORD_BYTES}
    stp x2, x3, [x1, #16]
    mov x2, sp
    mov sp, x1
    mov x1, x2
    ldr x2, [sp, #16]
3:
    X2_TO_X15 stp, sp
    stp x16, x17, [sp, #128]
    X18_TO_X29 stp, sp
    stp x30, x1, [sp, #240]
    mrs x2, tpidrro_el0
    mrs x3, par_el1
    stp x2, x3, [sp, #0]
    mrs x2, elr_el1
    mrs x3, spsr_el1
    stp x2, x3, [sp, #256]
    mrs x2, esr_el1
    mrs x3, far_el1
    stp x2, x3, [sp, #272]
    str x0, [sp, #288]
    mrs x1, tpidr_el1
    ldr x1, [x1, #{CURRENT}]
    ldr x1, [x1, #{UAREA_USER}]
    msr tpidrro_el0, x1
    mov x0, sp
    bl __look_at_kernel_exception
    // An expected one: go on where Rust has put the record's PC.
    ldp x2, x3, [sp, #256]
    msr elr_el1, x2
    msr spsr_el1, x3
    ldp x0, x1, [sp, #0]
    X2_TO_X15 ldp, sp
    ldp x16, x17, [sp, #128]
    X18_TO_X29 ldp, sp
    ldr x30, [sp, #240]
    add sp, sp, #{RECORD_BYTES}
    eret
"#,
    purge!(),
    SCRATCH = const offset::SCRATCH,
    ZERO = const offset::ZERO,
    FIRST_CALL = const offset::FIRST_CALL,
    COUNTERS = const offset::COUNTERS,
    COUNTERS_AND_TABLE = const offset::COUNTERS_AND_TABLE,
    UAREA_AND_GUARDS = const offset::UAREA_AND_GUARDS,
    EMERGENCY_STACK = const offset::EMERGENCY_STACK,
    CURRENT = const offset::CURRENT,
    UAREA_USER = const context::offset::UAREA_USER,
    CALLS = const CALLS,
    NO_SUCH_CALL = const Error::NoSuchCall as u16,
    UPCALLS = const offset_of!(CoreCounters, upcalls),
    EXCEPTIONS = const offset_of!(CoreCounters, events) + 8 * Event::Exception as usize,
    UNKNOWN_CALLS = const offset_of!(CoreCounters, unknown_calls),
    ENTRY = const offset_of!(UArea, entries),
    FRAME = const offset_of!(UArea, frames),
    PC = const offset_of!(UArea, frames) + offset_of!(Frame, pc),
    ESR = const offset_of!(UArea, frames) + offset_of!(Frame, esr),
    HELD = const offset_of!(UArea, frames) + offset_of!(Frame, held),
    TIMER_DUE = const timer::DUE,
    STEPS_BIT = const switch::guard::STEPS.ilog2(),
    MASKED = const offset_of!(UArea, masked),
    SLICE_END = const offset_of!(UArea, frames)
        + UpcallClass::SliceEnd as usize * size_of::<Frame>(),
    SLICE_END_ENTRY = const offset_of!(UArea, entries)
        + UpcallClass::SliceEnd as usize * size_of::<uarea::Entry>(),
    FRAME_HELD = const offset_of!(Frame, held),
    FRAME_PC = const offset_of!(Frame, pc),
    FRAME_ESR = const offset_of!(Frame, esr),
    CALLER = const context::offset::CALLER_AND_REST,
    NAME = const context::offset::NAME,
    TURN_END = const offset::TURN_END_AND_SINCE,
    ALARM_AND_LIMIT = const offset::ALARM_AND_LIMIT,
    LEAVING_AND_TOLD = const offset::LEAVING_AND_TOLD,
    INTERRUPTS = const offset_of!(CoreCounters, interrupts),
    SAVED_BYTES = const SAVED_BYTES,
    RECORD_BYTES = const Record::BYTES,
    STACK_BIT = const STACK_BOTTOM.ilog2(),
);
