//! Ends the emulator with a status. Used for that alone, and never reachable from EL0.
#![expect(unsafe_code, reason = "the semihosting trap")]

use core::arch::global_asm;

/// `SYS_EXIT_EXTENDED` (Arm semihosting 2.0, 6.11).
const SYS_EXIT_EXTENDED: u64 = 0x20;
/// `ADP_Stopped_ApplicationExit`.
const APPLICATION_EXIT: u64 = 0x2_0026;

unsafe extern "C" {
    /// The trap: an operation and its parameter block.
    fn __semihosting_trap(operation: u64, block: *const [u64; 2]) -> u64;
}

global_asm!(
    ".text",
    ".global __semihosting_trap",
    "__semihosting_trap: hlt #0xf000",
    "ret",
);

/// The trapping instruction.
pub fn trap() -> u64 {
    __semihosting_trap as *const () as u64
}

/// Asks the emulator to end with `status`. Returns where nobody listens: on a board, or in an emulator
/// without semihosting, the trap is an undefined instruction, which [`super::exception`] steps over.
pub fn exit(status: u64) {
    let block = [APPLICATION_EXIT, status & 0xff];
    // SAFETY: the emulator reads the block and ends, or the instruction is undefined and nothing
    // happens.
    unsafe { __semihosting_trap(SYS_EXIT_EXTENDED, &raw const block) };
}
