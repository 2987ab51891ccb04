//! Cache maintenance by address. The emulator has no caches and forgives everything; a board does not.
#![expect(unsafe_code, reason = "cache maintenance instructions")]

use core::arch::asm;

use aarch64_cpu::registers::{CCSIDR_EL1, CLIDR_EL1, CSSELR_EL1, Readable, Writeable};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::MAX_COLOURS;

use super::barrier;

/// Bytes of a cache line of the Cortex-A53, first and second level (TRM, 6.1 and 7.1).
pub const LINE: usize = 64;

/// What the processor says of its caches.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Bytes of the shortest line of any data cache.
    pub line: u64,
    /// Bytes of the last level.
    pub bytes: u64,
    /// How many pages lie side by side in a way of the last level, which all cores share: two pages compete for
    /// its lines if their numbers are equal modulo this. A power of two, at most [`MAX_COLOURS`].
    pub colours: u8,
}

impl Geometry {
    /// Asks the core that runs this. On these boards all are alike.
    pub fn find() -> Self {
        let ctr: u64;
        // SAFETY: `CTR_EL0` tells of the caches, and reading it has no other effect.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
        // Its DminLine, bits 16 to 19: binary logarithm of words of four bytes (ARM DDI 0487, D24.2.34).
        let line = 4 << (ctr >> 16 & 0xf);
        // Three bits for each level, the first one lowest; 0 means that there is no such level (D24.2.27).
        let levels = CLIDR_EL1.get();
        let last = (0..7).rev().find(|level| levels >> (3 * level) & 7 != 0);
        CSSELR_EL1.write(CSSELR_EL1::InD::Data + CSSELR_EL1::Level.val(last.unwrap_or(0)));
        barrier::instructions();
        let sets = CCSIDR_EL1.get_num_sets() + 1;
        let ways = CCSIDR_EL1.get_associativity() + 1;
        let way = sets << (CCSIDR_EL1.read(CCSIDR_EL1::LineSize) + 4);
        let colours = (way / PAGE_SIZE).clamp(1, MAX_COLOURS as u64);
        Self {
            line,
            bytes: way * ways,
            // Rounded down: with sets that are no power of two, pages compete more than they need to.
            colours: 1 << colours.ilog2(),
        }
    }
}

fn by_line(start: usize, length: usize, mut each: impl FnMut(usize)) {
    let mut line = start & !(LINE - 1);
    while line < start + length {
        each(line);
        line += LINE;
    }
}

/// Writes back and drops what the caches hold of memory that a device is about to use, or has used.
#[inline]
pub fn clean_and_invalidate(start: usize, length: usize) {
    const AT_ONCE: usize = 8 * LINE;
    let end = start + length;
    let mut line = start & !(LINE - 1);
    // A frame is two dozen lines: eight at a time saves half of the instructions.
    while line + AT_ONCE <= end {
        // SAFETY: writing lines back and dropping them changes no content that this core can see.
        unsafe {
            asm!(
                "dc civac, {line}",
                "add {next}, {line}, #64",
                "dc civac, {next}",
                "add {next}, {line}, #128",
                "dc civac, {next}",
                "add {next}, {line}, #192",
                "dc civac, {next}",
                "add {next}, {line}, #256",
                "dc civac, {next}",
                "add {next}, {line}, #320",
                "dc civac, {next}",
                "add {next}, {line}, #384",
                "dc civac, {next}",
                "add {next}, {line}, #448",
                "dc civac, {next}",
                line = in(reg) line,
                next = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
        line += AT_ONCE;
    }
    by_line(line, end.saturating_sub(line), |line| {
        // SAFETY: as above.
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
