//! What a thread keeps across a switch: all that a function keeps, and what is the thread's own.

use alloc::vec::Vec;
use core::arch::naked_asm;

use exopi_sched::thread;

use crate::harness::Outcome;

/// Fills x19..x28, d8..d15 with words that begin at `seed`, calls `between`, and returns a bit for each that
/// has changed.
#[unsafe(naked)]
extern "C" fn keeps(seed: u64, between: extern "C" fn()) -> u64 {
    naked_asm!(
        "stp x29, x30, [sp, #-176]!",
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
        "str x0, [sp, #160]",
        "str x29, [sp, #168]",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "add x\\n, x0, #\\n",
        ".endr",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
        "add x9, x0, #(\\n + 100)",
        "fmov d\\n, x9",
        ".endr",
        "blr x1",
        "ldr x9, [sp, #160]",
        "mov x0, xzr",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28",
        "add x10, x9, #\\n",
        "cmp x10, x\\n",
        "cset x11, ne",
        "orr x0, x0, x11, lsl #\\n",
        ".endr",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
        "add x10, x9, #(\\n + 100)",
        "fmov x11, d\\n",
        "cmp x10, x11",
        "cset x11, ne",
        "orr x0, x0, x11, lsl #\\n",
        ".endr",
        "ldr x9, [sp, #168]",
        "cmp x9, x29",
        "cset x11, ne",
        "orr x0, x0, x11, lsl #29",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #176",
        "ret",
    )
}

extern "C" fn switch() {
    thread::yield_now();
}

/// The rounding mode.
fn fpcr() -> u64 {
    let word;
    // SAFETY: it reads a register.
    unsafe { core::arch::asm!("mrs {}, fpcr", out(reg) word) };
    word
}

fn set_fpcr(word: u64) {
    // SAFETY: Rust expects the default; who calls this puts it back, and computes nothing meanwhile.
    unsafe { core::arch::asm!("msr fpcr, {}", in(reg) word) };
}

pub(super) fn across_switches() -> Outcome {
    let mut handles = Vec::new();
    for name in 1..=4_u64 {
        handles.push(thread::spawn(move || {
            // The rounding mode is one of the four, in bits 22 and 23.
            let mode = (name - 1) << 22;
            let mut changed = 0;
            for round in 0..50 {
                set_fpcr(mode);
                changed |= keeps(name << 32 | round << 16, switch);
                changed |= u64::from(fpcr() != mode) << 63;
                set_fpcr(0);
            }
            changed
        })?);
    }
    for handle in handles {
        check_eq!(handle.join()?, 0, "registers that have changed");
    }
    Ok(())
}

pub(super) fn thread_pointers() -> Outcome {
    thread::set_pointer(77);
    let mut handles = Vec::new();
    for name in 1..=3 {
        handles.push(thread::spawn(move || {
            let first = thread::pointer();
            thread::set_pointer(name);
            thread::yield_now();
            (first, thread::pointer() == name)
        })?);
    }
    for handle in handles {
        check_eq!(handle.join()?, (0, true));
    }
    check_eq!(thread::pointer(), 77);
    thread::set_pointer(0);
    Ok(())
}
