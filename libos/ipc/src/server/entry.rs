//! Where the kernel enters a server for a call: from there to Rust, and back to rest.
#![expect(unsafe_code, reason = "an entry without a caller, in assembly")]

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

use exopi_rt::Call as Number;
use exopi_rt::transfer::{Call, Message};
use exopi_rt::uarea::{Entry, Frame, UArea, UpcallClass};

use super::{Handler, Server};
use crate::call::Service;

/// Where the u-area has the entry of calls.
const ENTRY: usize = offset_of!(UArea, entries) + UpcallClass::Pct as usize * size_of::<Entry>();

/// Where it has the stack pointer to go on with, and the PC after it.
const SAVED: usize = offset_of!(UArea, saved) + offset_of!(Frame, sp);

const _: () = assert!(offset_of!(Frame, pc) == offset_of!(Frame, sp) + 8);

/// Sets the entry and rests. The stack pointer of the entry is this function's, so that handlers run below all that
/// the environment has on its stack, which stays: nothing returns there.
pub(super) fn serve<S: Service, H: Handler<S>>(server: &mut Server<S, H>) -> ! {
    let enter = enter::<S, H> as *const () as u64;
    // SAFETY: the entry is this module's, with the stack pointer and the word on the stack that it needs. The
    // server is borrowed until this returns, which it does not: the trampoline alone refers to it. After a reply
    // without a call the environment rests; should it come back, it rests again.
    unsafe {
        asm!(
            "mov x29, xzr",
            "stp x0, xzr, [sp, #-16]!",
            "mov x9, sp",
            "mrs x10, tpidrro_el0",
            "stp x1, x9, [x10, #{entry}]",
            "2:",
            // Nothing of the environment's is anybody else's to see.
            "mov x0, xzr",
            "mov x1, xzr",
            "mov x2, xzr",
            "mov x3, xzr",
            "mov x4, xzr",
            "mov x5, xzr",
            "mov x6, xzr",
            "mov x7, xzr",
            "svc #{reply}",
            "b 2b",
            entry = const ENTRY,
            reply = const Number::pct_reply as u16,
            in("x0") &raw mut *server,
            in("x1") enter,
            options(noreturn),
        )
    }
}

/// The trampoline: x0..x7 are the message, x8 and x9 who calls, and the word at SP is the server. Every register of
/// the caller's that a function may use without setting it first is zero: x29 here, x30 by the kernel.
///
/// ```text
///   entry's sp       the server
///   - 64 .. - 1      the message, which becomes the answer
/// ```
#[unsafe(naked)]
unsafe extern "C" fn enter<S: Service, H: Handler<S>>() {
    naked_asm!(
        "ldr x10, [sp]",
        "stp x0, x1, [sp, #-64]!",
        "stp x2, x3, [sp, #16]",
        "stp x4, x5, [sp, #32]",
        "stp x6, x7, [sp, #48]",
        "mov x29, xzr",
        "mov x0, sp",
        "mov x1, x10",
        "mov x2, x8",
        "mov x3, x9",
        "bl {answer}",
        "ldp x2, x3, [sp, #16]",
        "ldp x4, x5, [sp, #32]",
        "ldp x6, x7, [sp, #48]",
        "ldp x0, x1, [sp]",
        // Should it be stopped at rest and run, it goes on with what is in `saved`: rest again, and not a
        // handler that was interrupted some time ago.
        "mrs x9, tpidrro_el0",
        "add x9, x9, #{saved}",
        "adr x10, 2f",
        "mov x11, sp",
        "stp x11, x10, [x9]",
        "2:",
        "svc #{reply}",
        // Refused: who called waits no more. The next one is without a call, and rests.
        "b 2b",
        answer = sym answer::<S, H>,
        saved = const SAVED,
        reply = const Number::pct_reply as u16,
    )
}

/// The trampoline's Rust.
extern "C" fn answer<S: Service, H: Handler<S>>(
    message: &mut Message,
    server: &mut Server<S, H>,
    x8: u64,
    x9: u64,
) {
    server.answer(message, &Call::from_registers(x8, x9));
}
