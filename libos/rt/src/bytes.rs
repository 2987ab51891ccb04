//! Copying and filling memory.
//!
//! The compiler calls these for every larger copy, and its own versions do not use the vector registers.
//! They are written in assembly because the compiler would turn a loop that copies back into a call of
//! what it is in.
//!
//! Up to 128 bytes, everything is loaded before anything is stored, in pairs of blocks that meet in
//! the middle. Beyond, a loop does 128 bytes a turn and one more block, loaded before the loop and
//! stored after it, does the ragged end. So overlap only decides the direction of the loop, and
//! `memcpy` and `memmove` are one function.
//!
//! ```text
//!   forward   |-- 128 --|-- 128 --|--   ...      |      stored in turn, from the begin
//!                                    |--  128  --|      loaded first, stored last
//! ```
#![expect(
    unsafe_code,
    reason = "raw memory in assembly, under names that the linker looks for"
)]

use core::arch::naked_asm;

/// Copies `length` bytes that do not overlap; returns `to`.
///
/// # Safety
/// Both ranges are valid for it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!("b {memmove}", memmove = sym memmove)
}

/// Copies `length` bytes that may overlap; returns `to`.
///
/// # Safety
/// Both ranges are valid for it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "   add  x4, x1, x2", // end of source
        "   add  x5, x0, x2", // end of destination
        "   cmp  x2, #16",
        "   b.lo 20f",
        "   cmp  x2, #64",
        "   b.hi 10f",
        "   cmp  x2, #32",
        "   b.hi 1f",
        // 16..=32
        "   ldr  q0, [x1]",
        "   ldr  q1, [x4, #-16]",
        "   str  q0, [x0]",
        "   str  q1, [x5, #-16]",
        "   ret",
        // 33..=64
        "1: ldp  q0, q1, [x1]",
        "   ldp  q2, q3, [x4, #-32]",
        "   stp  q0, q1, [x0]",
        "   stp  q2, q3, [x5, #-32]",
        "   ret",
        "10:",
        "   cmp  x2, #128",
        "   b.hi 11f",
        // 65..=128
        "   ldp  q0, q1, [x1]",
        "   ldp  q2, q3, [x1, #32]",
        "   ldp  q4, q5, [x4, #-64]",
        "   ldp  q6, q7, [x4, #-32]",
        "   stp  q0, q1, [x0]",
        "   stp  q2, q3, [x0, #32]",
        "   stp  q4, q5, [x5, #-64]",
        "   stp  q6, q7, [x5, #-32]",
        "   ret",
        // More: downwards if the destination begins inside the source, else upwards.
        "11:",
        "   sub  x6, x0, x1",
        "   cmp  x6, x2",
        "   b.lo 15f",
        "   ldp  q16, q17, [x4, #-128]",
        "   ldp  q18, q19, [x4, #-96]",
        "   ldp  q20, q21, [x4, #-64]",
        "   ldp  q22, q23, [x4, #-32]",
        "   mov  x3, x0",
        "   sub  x2, x2, #128", // the loop leaves 1..=128 to the end block
        "12:",
        "   ldp  q0, q1, [x1]",
        "   ldp  q2, q3, [x1, #32]",
        "   ldp  q4, q5, [x1, #64]",
        "   ldp  q6, q7, [x1, #96]",
        "   add  x1, x1, #128",
        "   stp  q0, q1, [x3]",
        "   stp  q2, q3, [x3, #32]",
        "   stp  q4, q5, [x3, #64]",
        "   stp  q6, q7, [x3, #96]",
        "   add  x3, x3, #128",
        "   subs x2, x2, #128",
        "   b.hi 12b",
        "   stp  q16, q17, [x5, #-128]",
        "   stp  q18, q19, [x5, #-96]",
        "   stp  q20, q21, [x5, #-64]",
        "   stp  q22, q23, [x5, #-32]",
        "   ret",
        // Downwards: the mirror image.
        "15:",
        "   cbz  x6, 17f", // onto itself
        "   ldp  q16, q17, [x1]",
        "   ldp  q18, q19, [x1, #32]",
        "   ldp  q20, q21, [x1, #64]",
        "   ldp  q22, q23, [x1, #96]",
        "   sub  x2, x2, #128",
        "16:",
        "   ldp  q0, q1, [x4, #-32]",
        "   ldp  q2, q3, [x4, #-64]",
        "   ldp  q4, q5, [x4, #-96]",
        "   ldp  q6, q7, [x4, #-128]",
        "   sub  x4, x4, #128",
        "   stp  q0, q1, [x5, #-32]",
        "   stp  q2, q3, [x5, #-64]",
        "   stp  q4, q5, [x5, #-96]",
        "   stp  q6, q7, [x5, #-128]",
        "   sub  x5, x5, #128",
        "   subs x2, x2, #128",
        "   b.hi 16b",
        "   stp  q16, q17, [x0]",
        "   stp  q18, q19, [x0, #32]",
        "   stp  q20, q21, [x0, #64]",
        "   stp  q22, q23, [x0, #96]",
        "17:",
        "   ret",
        // Below 16: two words of the largest size that fits.
        "20:",
        "   tbz  x2, #3, 21f",
        "   ldr  x6, [x1]",
        "   ldr  x7, [x4, #-8]",
        "   str  x6, [x0]",
        "   str  x7, [x5, #-8]",
        "   ret",
        "21:",
        "   tbz  x2, #2, 22f",
        "   ldr  w6, [x1]",
        "   ldr  w7, [x4, #-4]",
        "   str  w6, [x0]",
        "   str  w7, [x5, #-4]",
        "   ret",
        "22:",
        "   cbz  x2, 24f",
        "   ldrb w6, [x1]",
        "   tbz  x2, #1, 23f",
        "   ldrh w7, [x4, #-2]",
        "   strb w6, [x0]",
        "   strh w7, [x5, #-2]",
        "   ret",
        "23:",
        "   strb w6, [x0]",
        "24:",
        "   ret",
    )
}

/// Sets `length` bytes to the lowest byte of `value`; returns `to`.
///
/// # Safety
/// The range is valid for it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    naked_asm!(
        "   dup  v0.16b, w1",
        "   add  x5, x0, x2",
        "   cmp  x2, #16",
        "   b.lo 20f",
        "   cmp  x2, #64",
        "   b.hi 10f",
        "   str  q0, [x0]",
        "   str  q0, [x5, #-16]",
        "   cmp  x2, #32",
        "   b.ls 1f",
        "   str  q0, [x0, #16]",
        "   str  q0, [x5, #-32]",
        "1: ret",
        "10:",
        "   mov  x3, x0",
        "   sub  x2, x2, #64", // the loop leaves 1..=64 to the end block
        "11:",
        "   stp  q0, q0, [x3]",
        "   stp  q0, q0, [x3, #32]",
        "   add  x3, x3, #64",
        "   subs x2, x2, #64",
        "   b.hi 11b",
        "   stp  q0, q0, [x5, #-64]",
        "   stp  q0, q0, [x5, #-32]",
        "   ret",
        "20:",
        "   tbz  x2, #3, 21f",
        "   str  d0, [x0]",
        "   str  d0, [x5, #-8]",
        "   ret",
        "21:",
        "   tbz  x2, #2, 22f",
        "   str  s0, [x0]",
        "   str  s0, [x5, #-4]",
        "   ret",
        "22:",
        "   cbz  x2, 23f",
        "   strb w1, [x0]",
        "   tbz  x2, #1, 23f",
        "   str  h0, [x5, #-2]",
        "23:",
        "   ret",
    )
}
