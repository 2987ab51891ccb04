//! Where the kernel enters the program for an upcall: from there to Rust and back.
#![expect(unsafe_code, reason = "an entry without a caller, in assembly")]

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::Ordering;

use crate::Call;
use crate::local;
use crate::uarea::{Entry, UpcallClass};

use super::{STACK_BYTES, handle};

/// The handlers' stacks of the program's first environment, by class. Others bring their own.
#[repr(C, align(16))]
struct Stacks(UnsafeCell<[[u8; STACK_BYTES]; UpcallClass::COUNT]>);

// SAFETY: Rust code never refers to its contents; it is only ever stack pointers'.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks(UnsafeCell::new([[0; STACK_BYTES]; UpcallClass::COUNT]));

/// The trampoline of a class as the kernel wants to know it, for the calling environment.
pub(super) fn entry(class: UpcallClass) -> Entry {
    let sp = match local::own().stacks[class as usize].load(Ordering::Relaxed) {
        0 => STACKS.0.get() as u64 + (class as u64 + 1) * STACK_BYTES as u64,
        sp => sp,
    };
    Entry { pc: pc(class), sp }
}

/// First instruction of a class's trampoline.
pub(crate) fn pc(class: UpcallClass) -> u64 {
    let entry = match class {
        UpcallClass::Fault => fault,
        UpcallClass::Notice => notice,
    };
    entry as *const () as u64
}

#[unsafe(naked)]
unsafe extern "C" fn fault() {
    naked_asm!(
        "mov x19, #{class}",
        "b {upcall}",
        class = const UpcallClass::Fault as u64,
        upcall = sym upcall,
    )
}

#[unsafe(naked)]
unsafe extern "C" fn notice() {
    naked_asm!(
        "mov x19, #{class}",
        "b {upcall}",
        class = const UpcallClass::Notice as u64,
        upcall = sym upcall,
    )
}

/// Saves what the frame does not hold and Rust may change (v0..v31, FPCR, FPSR), handles the upcall of the
/// class in x19, and goes on. The general registers are all in the frame, so x19 is free to carry it through.
#[unsafe(naked)]
unsafe extern "C" fn upcall() {
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
        "mov x0, x19",
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
        "mov x0, x19",
        "svc #{resume}",
        // Back here only if the frame was not held: somebody jumped to this entry.
        "udf #0",
        handle = sym handle,
        resume = const Call::resume as u16,
    )
}
