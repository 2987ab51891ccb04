//! What environments run that hear of their slices' ends and begins: a few instructions, on stacks of 64 bytes.
//!
//! ```text
//!   stack pointer of an entry --> count, x0, x1, x2      as it was entered last
//! ```

use core::arch::naked_asm;

use exopi_rt::Call;
use exopi_rt::uarea::UpcallClass;

/// Notes how it was entered, at the stack pointer. Changes x3 and x4.
macro_rules! note {
    () => {
        "ldr x3, [sp]\nadd x3, x3, #1\nstp x3, x0, [sp]\nstp x1, x2, [sp, #16]\n"
    };
}

/// An epilogue that notes and gives the core away. If nobody else could run it goes on at once.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn epilogue() {
    naked_asm!(
        note!(),
        "mov x0, #0",
        "svc #{env_yield}",
        "mov x0, #{end}",
        "svc #{resume}",
        "udf #0",
        env_yield = const Call::env_yield as u16,
        resume = const Call::resume as u16,
        end = const UpcallClass::SliceEnd as u64,
    )
}

/// A prologue that notes and goes on: with what the epilogue was given, if the environment gave its core away itself.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn prologue() {
    naked_asm!(
        note!(),
        "mov x4, #{end}",
        "cmp x0, #0",
        "mov x0, #{begin}",
        "csel x0, x4, x0, eq",
        "svc #{resume}",
        "udf #0",
        resume = const Call::resume as u16,
        begin = const UpcallClass::SliceBegin as u64,
        end = const UpcallClass::SliceEnd as u64,
    )
}

/// An epilogue that does not leave: it notes, lets its time pass and more, and goes on.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn burn() {
    naked_asm!(
        note!(),
        "mrs x3, cntvct_el0",
        "add x3, x3, x0",
        "1: mrs x4, cntvct_el0",
        "cmp x4, x3",
        "b.lo 1b",
        "mov x0, #{end}",
        "svc #{resume}",
        "udf #0",
        resume = const Call::resume as u16,
        end = const UpcallClass::SliceEnd as u64,
    )
}

/// Asks for what waits, again and again, with a mask around a short stretch of each turn: x19 is the u-area's `masked`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn mask_and_unmask() {
    naked_asm!(
        "1: mov x1, #1",
        "str x1, [x19]",
        "mov x2, #200",
        "2: subs x2, x2, #1",
        "b.ne 2b",
        "str xzr, [x19]",
        "ldr x1, [x19, #8]",
        "cbz x1, 1b",
        "svc #{deliver}",
        "b 1b",
        deliver = const Call::upcall_deliver as u16,
    )
}
