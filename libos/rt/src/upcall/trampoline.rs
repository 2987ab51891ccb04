//! Where the kernel enters the program for a fault: from there to Rust and back.
#![expect(unsafe_code, reason = "an entry without a caller, in assembly")]

use core::arch::naked_asm;
use core::cell::UnsafeCell;

use crate::Call;
use crate::uarea::{Entry, UpcallClass};

use super::{STACK_BYTES, handle};

/// The handlers' stack.
#[repr(C, align(16))]
struct Stack(UnsafeCell<[u8; STACK_BYTES]>);

// SAFETY: Rust code never refers to its contents; it is only ever a stack pointer's.
unsafe impl Sync for Stack {}

static STACK: Stack = Stack(UnsafeCell::new([0; STACK_BYTES]));

/// The trampoline as the kernel wants to know it.
pub(super) fn entry() -> Entry {
    Entry {
        pc: trampoline as *const () as u64,
        sp: STACK.0.get() as u64 + STACK_BYTES as u64,
    }
}

/// Saves what the frame does not hold and Rust may change (v0..v31, FPCR, FPSR), handles the fault,
/// and goes on. The general registers are all in the frame.
#[unsafe(naked)]
unsafe extern "C" fn trampoline() {
    naked_asm!(
        "sub sp, sp, #(33 * 16)",
        "stp q0, q1, [sp, #16]",
        "stp q2, q3, [sp, #48]",
        "stp q4, q5, [sp, #80]",
        "stp q6, q7, [sp, #112]",
        "stp q8, q9, [sp, #144]",
        "stp q10, q11, [sp, #176]",
        "stp q12, q13, [sp, #208]",
        "stp q14, q15, [sp, #240]",
        "stp q16, q17, [sp, #272]",
        "stp q18, q19, [sp, #304]",
        "stp q20, q21, [sp, #336]",
        "stp q22, q23, [sp, #368]",
        "stp q24, q25, [sp, #400]",
        "stp q26, q27, [sp, #432]",
        "stp q28, q29, [sp, #464]",
        "stp q30, q31, [sp, #496]",
        "mrs x0, fpcr",
        "mrs x1, fpsr",
        "stp x0, x1, [sp]",
        // Rust expects the default rounding; the chain of frames ends here.
        "msr fpcr, xzr",
        "mov x29, xzr",
        "mov x30, xzr",
        "bl {handle}",
        "ldp x0, x1, [sp]",
        "msr fpcr, x0",
        "msr fpsr, x1",
        "ldp q0, q1, [sp, #16]",
        "ldp q2, q3, [sp, #48]",
        "ldp q4, q5, [sp, #80]",
        "ldp q6, q7, [sp, #112]",
        "ldp q8, q9, [sp, #144]",
        "ldp q10, q11, [sp, #176]",
        "ldp q12, q13, [sp, #208]",
        "ldp q14, q15, [sp, #240]",
        "ldp q16, q17, [sp, #272]",
        "ldp q18, q19, [sp, #304]",
        "ldp q20, q21, [sp, #336]",
        "ldp q22, q23, [sp, #368]",
        "ldp q24, q25, [sp, #400]",
        "ldp q26, q27, [sp, #432]",
        "ldp q28, q29, [sp, #464]",
        "ldp q30, q31, [sp, #496]",
        "mov x0, #{class}",
        "svc #{resume}",
        // Back here only if the frame was not held: somebody jumped to this entry.
        "udf #0",
        handle = sym handle,
        class = const UpcallClass::Fault as u64,
        resume = const Call::resume as u16,
    )
}
