//! Clocks that EL0 can read without a call.

use aarch64_cpu::registers::{CNTFRQ_EL0, CNTVCT_EL0, Readable};

/// The virtual counter, in ticks since the machine was started.
pub fn ticks() -> u64 {
    CNTVCT_EL0.get()
}

/// Ticks in a second.
pub fn ticks_per_second() -> u64 {
    CNTFRQ_EL0.get()
}

/// How many whole microseconds `ticks` are.
pub fn microseconds(ticks: u64) -> u64 {
    convert(ticks, ticks_per_second())
}

/// `ticks` of a clock of `rate` hertz in microseconds; 0 if there is no such clock.
fn convert(ticks: u64, rate: u64) -> u64 {
    let scaled = u128::from(ticks) * 1_000_000;
    let whole = scaled.checked_div(rate.into()).unwrap_or(0);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

/// The cycle counter. In the emulator under `-icount shift=0` it counts instructions, one each, at
/// every exception level; on a board it counts processor cycles.
#[inline(always)]
pub fn cycles() -> u64 {
    counter::cycles()
}

/// Event counter 0, which the kernel sets to count retired instructions (event 0x08). 32 bits wide:
/// it wraps.
#[inline(always)]
pub fn instructions() -> u32 {
    counter::instructions()
}

/// One turn of a loop that waits for something outside the program. It tells the processor, and an
/// emulator that runs all cores in one thread, that others may go first.
#[inline(always)]
pub fn relax() {
    counter::relax();
}

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "the counters are read by instructions")]
mod counter {
    use core::arch::asm;

    #[inline(always)]
    pub(super) fn cycles() -> u64 {
        let count;
        // SAFETY: the kernel lets EL0 read the counter; nothing else is touched.
        unsafe { asm!("mrs {}, pmccntr_el0", out(reg) count, options(nomem, nostack)) };
        count
    }

    #[inline(always)]
    pub(super) fn instructions() -> u32 {
        let count: u64;
        // SAFETY: the kernel lets EL0 read the counter; nothing else is touched.
        unsafe { asm!("mrs {}, pmevcntr0_el0", out(reg) count, options(nomem, nostack)) };
        count as u32
    }

    /// Not `core::hint::spin_loop`, which is an ISB: that says nothing to the emulator.
    #[inline(always)]
    pub(super) fn relax() {
        // SAFETY: a hint.
        unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
    }
}

/// Off target there is nothing to count.
#[cfg(not(target_os = "none"))]
mod counter {
    pub(super) fn cycles() -> u64 {
        0
    }

    pub(super) fn instructions() -> u32 {
        0
    }

    pub(super) fn relax() {
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::convert;

    #[test]
    fn ticks_become_microseconds_without_overflow() {
        assert_eq!(convert(62_500_000, 62_500_000), 1_000_000);
        assert_eq!(convert(61, 62_500_000), 0);
        assert_eq!(convert(u64::MAX, 1_000_000), u64::MAX);
        assert_eq!(convert(u64::MAX, 1), u64::MAX);
        assert_eq!(convert(5, 0), 0);
    }
}
