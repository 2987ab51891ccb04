//! The BCM2835 interrupt controller: 64 peripheral lines onto one output, without priorities.
//!
//! Source: BCM2835 ARM Peripherals, section 7.5. On later chips its output is the "GPU" source of the
//! per-core block ([`bcm2836`](super::bcm2836)).
//!
//! ```text
//!   basic pending   20 ... 15   14 ... 10   9   8   7..0
//!                    |      |    |      |   |   |    the ARM timer and others, not used
//!            62, 57..53   19,18,10,9,7      |   something in pending 1 (lines 0..31)
//!                                           something in pending 2 (lines 32..63)
//! ```
//!
//! Eleven busy lines can be told from the basic pending register alone. The manual leaves them out of
//! the two summary bits, the emulator does not; so the pending registers are read only if the summary
//! bit is set *and* a line is enabled that the basic register does not show itself.
//!
//! Lines are levels. There being no priorities, pending lines are served in turn: one that is always
//! pending again when it has been served (a flooded network device) must not keep the serial port
//! waiting until bytes are lost.

#[cfg(test)]
pub(super) mod tests;

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_bitfields;

use crate::bus::{Bus, ReadOnly, ReadWrite, RegisterAt, WriteOnly};

register_bitfields! {
    u32,
    BASIC_PENDING [
        SOME_IN_1 OFFSET(8) NUMBITS(1) [],
        SOME_IN_2 OFFSET(9) NUMBITS(1) [],
        /// One bit for each of [`FAST`], in that order.
        FAST OFFSET(10) NUMBITS(11) [],
    ],
    /// One bit for each of the eight sources of the processor's own: ARM timer, errors, ...
    BASIC_LINES [ ALL OFFSET(0) NUMBITS(8) [] ],
    /// Which source raises the fast interrupt.
    FIQ_CONTROL [ ENABLE OFFSET(7) NUMBITS(1) [] ],
}

const BASIC_PENDING: RegisterAt<ReadOnly, BASIC_PENDING::Register> = RegisterAt::new(0x00);
const PENDING_1: RegisterAt<ReadOnly> = RegisterAt::new(0x04);
const PENDING_2: RegisterAt<ReadOnly> = RegisterAt::new(0x08);
const FIQ_CONTROL: RegisterAt<ReadWrite, FIQ_CONTROL::Register> = RegisterAt::new(0x0c);
/// Enabling and disabling are writes of ones to registers of their own, so no write disturbs another line.
const ENABLE: [RegisterAt<WriteOnly>; 2] = [RegisterAt::new(0x10), RegisterAt::new(0x14)];
const DISABLE: [RegisterAt<WriteOnly>; 2] = [RegisterAt::new(0x1c), RegisterAt::new(0x20)];
const DISABLE_BASIC: RegisterAt<WriteOnly, BASIC_LINES::Register> = RegisterAt::new(0x24);

/// The lines that bits 10 to 20 of the basic pending register show (section 7.5, table).
const FAST: [u8; 11] = [7, 9, 10, 18, 19, 53, 54, 55, 56, 57, 62];

/// [`FAST`] as a set.
const FAST_LINES: u64 = {
    let mut lines = 0;
    let mut i = 0;
    while i < FAST.len() {
        lines |= 1 << FAST[i];
        i += 1;
    }
    lines
};
const LINES_1: u64 = 0xffff_ffff;
const LINES_2: u64 = LINES_1 << 32;

/// The controller behind `bus`, whose window begins at the basic pending register.
#[derive(Debug)]
pub struct PeripheralInterrupts<B> {
    bus: B,
    /// Lines that are enabled. What the hardware reports beside them is not passed on.
    enabled: u64,
    /// The line served last: the turn is with those above it.
    last: u32,
}

impl<B: Bus> PeripheralInterrupts<B> {
    /// Lines are numbered from 0 to one less than this.
    pub const LINES: u8 = 64;

    /// Takes the controller over. Nothing is touched until [`PeripheralInterrupts::init`].
    pub const fn new(bus: B) -> Self {
        Self {
            bus,
            enabled: 0,
            last: 0,
        }
    }

    /// Masks every line, the processor's own sources, and the fast interrupt.
    pub fn init(&mut self) {
        FIQ_CONTROL.on(&self.bus).write(FIQ_CONTROL::ENABLE::CLEAR);
        for register in &DISABLE {
            register.on(&self.bus).set(u32::MAX);
        }
        DISABLE_BASIC.on(&self.bus).write(BASIC_LINES::ALL::SET);
        self.enabled = 0;
    }

    /// Turns `line` on or off. A line that does not exist stays off.
    pub fn set_enabled(&mut self, line: u8, on: bool) {
        let registers = if on { &ENABLE } else { &DISABLE };
        let Some(register) = registers.get(usize::from(line / 32)) else {
            return;
        };
        if on {
            self.enabled |= 1 << line;
        } else {
            self.enabled &= !(1 << line);
        }
        register.on(&self.bus).set(1 << (line % 32));
    }

    /// The pending enabled line whose turn it is. At most three reads; one if no line is on but those
    /// that the basic pending register shows.
    pub fn next_pending(&mut self) -> Option<u8> {
        let pending = self.pending();
        // The lines above the last one served come first.
        let above = pending & u64::MAX.checked_shl(self.last + 1).unwrap_or(0);
        let candidates = if above == 0 { pending } else { above };
        if candidates == 0 {
            return None;
        }
        self.last = candidates.trailing_zeros();
        Some(self.last as u8)
    }

    /// Every pending enabled line, as a set.
    fn pending(&self) -> u64 {
        let basic = BASIC_PENDING.on(&self.bus).extract();
        let fast = basic.read(BASIC_PENDING::FAST);
        let mut pending = FAST
            .iter()
            .enumerate()
            .filter(|(bit, _)| (fast >> bit) & 1 == 1)
            .fold(0, |lines, (_, line)| lines | 1 << line);
        let slow = self.enabled & !FAST_LINES;
        if basic.is_set(BASIC_PENDING::SOME_IN_1) && slow & LINES_1 != 0 {
            pending |= u64::from(PENDING_1.on(&self.bus).get());
        }
        if basic.is_set(BASIC_PENDING::SOME_IN_2) && slow & LINES_2 != 0 {
            pending |= u64::from(PENDING_2.on(&self.bus).get()) << 32;
        }
        pending & self.enabled
    }
}
