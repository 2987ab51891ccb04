//! What servers and their callers run: a few instructions, SP at their pad, no stack.

use core::arch::naked_asm;

use exopi_rt::{Call, Error};

use super::{COUNT, WORD};

/// Waits for calls.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn rest() {
    naked_asm!("1: svc #{reply}", "b 1b", reply = const Call::pct_reply as u16)
}

/// Binds gate 0 to the object in x1, and waits for calls.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn bind_and_rest() {
    naked_asm!(
        "mov x0, #0",
        "svc #{bind}",
        "cbz x0, 1f",
        "brk #1",
        "1: svc #{reply}",
        "b 1b",
        bind = const Call::gate_bind as u16,
        reply = const Call::pct_reply as u16,
    )
}

/// Serves a call: all registers to the pad, and counts; the answer is the message, each word and one more, with other
/// registers full of what is nobody's business.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn dump_and_answer() {
    naked_asm!(
        "stp x0, x1, [sp, #0]",
        "stp x2, x3, [sp, #16]",
        "stp x4, x5, [sp, #32]",
        "stp x6, x7, [sp, #48]",
        "stp x8, x9, [sp, #64]",
        "stp x10, x11, [sp, #80]",
        "stp x12, x13, [sp, #96]",
        "stp x14, x15, [sp, #112]",
        "stp x16, x17, [sp, #128]",
        "stp x18, x19, [sp, #144]",
        "stp x20, x21, [sp, #160]",
        "stp x22, x23, [sp, #176]",
        "stp x24, x25, [sp, #192]",
        "stp x26, x27, [sp, #208]",
        "stp x28, x29, [sp, #224]",
        "mrs x9, nzcv",
        "stp x30, x9, [sp, #240]",
        "mrs x9, tpidr_el0",
        "mrs x10, tpidrro_el0",
        "stp x9, x10, [sp, #256]",
        "add x9, sp, #{vectors}",
        "stp q0, q1, [x9, #0]",
        "stp q2, q3, [x9, #32]",
        "stp q4, q5, [x9, #64]",
        "stp q6, q7, [x9, #96]",
        "stp q8, q9, [x9, #128]",
        "stp q10, q11, [x9, #160]",
        "stp q12, q13, [x9, #192]",
        "stp q14, q15, [x9, #224]",
        "stp q16, q17, [x9, #256]",
        "stp q18, q19, [x9, #288]",
        "stp q20, q21, [x9, #320]",
        "stp q22, q23, [x9, #352]",
        "stp q24, q25, [x9, #384]",
        "stp q26, q27, [x9, #416]",
        "stp q28, q29, [x9, #448]",
        "stp q30, q31, [x9, #480]",
        "mrs x10, fpcr",
        "str x10, [x9, #512]",
        "mrs x10, fpsr",
        "str x10, [x9, #520]",
        "ldr x9, [sp, #{count}]",
        "add x9, x9, #1",
        "str x9, [sp, #{count}]",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
        "add x\\n, x\\n, #1",
        ".endr",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 30",
        "mov x\\n, #0x5ec",
        ".endr",
        "mov x11, #0xf0000000",
        "msr nzcv, x11",
        "1: svc #{reply}",
        "b 1b",
        vectors = const core::mem::offset_of!(super::Pad, vectors),
        count = const COUNT,
        reply = const Call::pct_reply as u16,
    )
}

/// Serves a call: one more in x0.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn answer() {
    naked_asm!("add x0, x0, #1", "1: svc #{reply}", "b 1b", reply = const Call::pct_reply as u16)
}

/// Serves a call by one through gate 0, and adds one to x0 of its answer, or of the message if it was refused.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn forward() {
    naked_asm!(
        "mov x8, #0",
        "mov x9, #0",
        "stp x0, x1, [sp, #0]",
        "svc #{call}",
        "cbz x8, 1f",
        "ldp x0, x1, [sp, #0]",
        "add x0, x0, #1",
        "1: add x0, x0, #1",
        "2: svc #{reply}",
        "b 2b",
        call = const Call::pct_call as u16,
        reply = const Call::pct_reply as u16,
    )
}

/// Serves a call after a turn of the core for everybody: one more in x0.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn yield_and_answer() {
    naked_asm!(
        "mov x19, x0",
        "mov x0, #0",
        "svc #{env_yield}",
        "add x0, x19, #1",
        "1: svc #{reply}",
        "b 1b",
        env_yield = const Call::env_yield as u16,
        reply = const Call::pct_reply as u16,
    )
}

/// Serves a call that it counts, as soon as the pad's word is not zero, with turns of the core for everybody until
/// then. What the answer gives is left in the pad.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn hold() {
    naked_asm!(
        "add x20, sp, #{count}",
        "mov x21, #1",
        "stlr x21, [x20]",
        "1: mov x0, #0",
        "svc #{env_yield}",
        "ldr x21, [sp, #{word}]",
        "cbz x21, 1b",
        "svc #{reply}",
        "str x8, [sp, #0]",
        "2: svc #{reply}",
        "b 2b",
        count = const COUNT,
        word = const WORD,
        env_yield = const Call::env_yield as u16,
        reply = const Call::pct_reply as u16,
    )
}

/// Calls the object in x1 once, leaves in the pad what that gives, counts, and stops.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_once() {
    naked_asm!(
        "mov x0, #0",
        "svc #{bind}",
        "cbz x0, 1f",
        "brk #1",
        "1: mov x8, #0",
        "mov x9, #0",
        "svc #{call}",
        "str x8, [sp, #0]",
        "add x20, sp, #{count}",
        "mov x21, #1",
        "stlr x21, [x20]",
        "2: mov x0, #0",
        "svc #{env_stop}",
        "b 2b",
        count = const COUNT,
        bind = const Call::gate_bind as u16,
        call = const Call::pct_call as u16,
        env_stop = const Call::env_stop as u16,
    )
}

/// Calls the object in x1 as often as the pad's word says, again when it is busy or owes time, checks and counts each
/// answer, and stops. An answer that is another one's, and a refusal for another reason, is told by a breakpoint.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn hammer() {
    naked_asm!(
        "mov x0, #0",
        "svc #{bind}",
        "cbz x0, 1f",
        "brk #1",
        "1: ldr x10, [sp, #{count}]",
        "mov x11, sp",
        "add x0, x11, x10, lsl #32",
        "str x0, [sp, #0]",
        "mov x8, #0",
        "mov x9, #0",
        "svc #{call}",
        "cmp x8, #{busy}",
        "b.eq 1b",
        "cmp x8, #{closed}",
        "b.eq 1b",
        "cmp x8, #{indebted}",
        "b.eq 1b",
        "cbnz x8, 9f",
        "ldr x10, [sp, #0]",
        "sub x10, x0, x10",
        "cmp x10, #1",
        "b.ne 9f",
        "add x11, sp, #{count}",
        "ldr x10, [x11]",
        "add x10, x10, #1",
        "stlr x10, [x11]",
        "ldr x11, [sp, #{word}]",
        "cmp x10, x11",
        "b.lo 1b",
        "2: mov x0, #0",
        "svc #{env_stop}",
        "b 2b",
        "9: brk #9",
        count = const COUNT,
        word = const WORD,
        busy = const Error::Busy as u16,
        closed = const Error::NotAccepting as u16,
        indebted = const Error::Indebted as u16,
        bind = const Call::gate_bind as u16,
        call = const Call::pct_call as u16,
        env_stop = const Call::env_stop as u16,
    )
}
