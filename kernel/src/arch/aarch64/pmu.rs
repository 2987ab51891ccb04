//! The performance monitor: programs may read it, and only read it.
#![expect(
    unsafe_code,
    reason = "system registers that aarch64-cpu does not name"
)]

use core::arch::asm;

/// `INST_RETIRED` (ARM DDI 0487, D13.11.3).
const EVENT_INSTRUCTIONS: u64 = 0x08;

/// Starts the cycle counter and event counter 0 (instructions), for all exception levels, and lets EL0
/// read them: `PMUSERENR_EL0` with CR and ER, without EN, so that EL0 can configure nothing.
pub fn init() {
    // SAFETY: counters have no effect on anything but themselves.
    unsafe {
        asm!(
            "msr pmevtyper0_el0, {event}",
            "msr pmccfiltr_el0, xzr",
            "msr pmcntenset_el0, {which}",
            "msr pmcr_el0, {control}",
            "msr pmuserenr_el0, {user}",
            event = in(reg) EVENT_INSTRUCTIONS,
            which = in(reg) 1_u64 << 31 | 1,
            control = in(reg) 0b100_0111_u64,
            user = in(reg) 0b1100_u64,
            options(nostack, preserves_flags),
        );
    }
}

/// Instructions that this core has executed, modulo 2^32: event counter 0. In the emulator it stands still unless
/// that counts instructions itself (`-icount`).
#[cfg(feature = "selftest")]
#[inline(always)]
pub fn instructions() -> u32 {
    let count: u64;
    // SAFETY: reading a counter has no other effect. Nothing moves across, so that what is between two readings is
    // what is measured.
    unsafe { asm!("isb", "mrs {count}, pmevcntr0_el0", count = out(reg) count, options(nostack)) };
    count as u32
}
