//! Cache maintenance by address. The emulator has no caches and forgives everything; a board does not.
#![expect(unsafe_code, reason = "cache maintenance instructions")]

use core::arch::asm;

use super::barrier;

/// Bytes of a cache line of the Cortex-A53, first and second level (TRM, 6.1 and 7.1).
pub const LINE: usize = 64;

fn by_line(start: usize, length: usize, mut each: impl FnMut(usize)) {
    let mut line = start & !(LINE - 1);
    while line < start + length {
        each(line);
        line += LINE;
    }
}

/// Writes back and drops what the caches hold of memory that a device is about to use, or has used.
pub fn clean_and_invalidate(start: usize, length: usize) {
    by_line(start, length, |line| {
        // SAFETY: writing a line back and dropping it changes no content that this core can see.
        unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) }
    });
    barrier::complete_system();
}

/// Writes back what the data cache holds of new code, and lets every core fetch it anew. The
/// instruction cache is dropped as a whole: it is looked up by virtual address, and the code will run
/// at another one than it was written at.
pub fn publish_code(start: usize, length: usize) {
    by_line(start, length, |line| {
        // SAFETY: writing a line back changes no content.
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) }
    });
    barrier::complete();
    // SAFETY: dropping the instruction caches loses nothing.
    unsafe { asm!("ic ialluis", options(nostack, preserves_flags)) };
    barrier::complete();
    barrier::instructions();
}

/// Zeroes the 4 KiB page at `page`, a page-aligned address of Normal memory.
///
/// # Safety
/// The page is mapped writable and nothing holds a reference into it.
#[inline(always)]
pub unsafe fn zero_page(page: usize) {
    // `DC ZVA` zeroes DCZID_EL0.BS = 64 bytes here; four in a round, 16 rounds.
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "2: dc zva, {line}",
            "add {next}, {line}, #64",
            "dc zva, {next}",
            "add {next}, {line}, #128",
            "dc zva, {next}",
            "add {next}, {line}, #192",
            "dc zva, {next}",
            "add {line}, {line}, #256",
            "cmp {line}, {end}",
            "b.ne 2b",
            line = inout(reg) page => _,
            next = out(reg) _,
            end = in(reg) page + 4096,
            options(nostack),
        );
    }
}
