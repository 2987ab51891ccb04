//! The generic timer: the clock, and one deadline for each core. There is no tick: without a deadline
//! the timer stays silent.

use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTKCTL_EL1, CNTP_CTL_EL0, CNTP_CVAL_EL0, CNTVCT_EL0, Readable, Writeable,
};

/// What `CNTP_CTL_EL0` reads when a deadline has come: enabled, not masked, and met (ARM DDI 0487, D24.10.16).
pub const DUE: u64 = 1 | 1 << 2;

/// The counter, in ticks of [`frequency`]. The same clock as EL0 reads.
#[inline(always)]
pub fn now() -> u64 {
    CNTVCT_EL0.get()
}

/// Ticks each second.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// `ticks` in microseconds.
#[inline]
pub fn microseconds(ticks: u64) -> u64 {
    // Whole seconds apart, so that nothing is longer than a word: a division of two words is a loop.
    let frequency = frequency().max(1);
    let rest = ticks % frequency;
    (ticks / frequency)
        .wrapping_mul(1_000_000)
        .wrapping_add(rest.wrapping_mul(1_000_000) / frequency)
}

/// Lets EL0 read the virtual counter and touch nothing else of the timer, on this core.
pub fn init() {
    CNTKCTL_EL1.write(CNTKCTL_EL1::EL0VCTEN.val(1));
    cancel();
}

/// Interrupts this core when the clock reaches `deadline`; at once if it has passed.
pub fn set_deadline(deadline: u64) {
    CNTP_CVAL_EL0.set(deadline);
    CNTP_CTL_EL0.write(CNTP_CTL_EL0::ENABLE::SET);
}

/// Takes this core's deadline back. The interrupt is level-triggered: it ends with this.
pub fn cancel() {
    CNTP_CTL_EL0.write(CNTP_CTL_EL0::ENABLE::CLEAR);
}
