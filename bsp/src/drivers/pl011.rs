//! PL011, the ARM PrimeCell UART: a serial port with two FIFOs of 16 bytes.
//!
//! Sources: ARM PrimeCell UART (PL011) Technical Reference Manual (DDI 0183), below "TRM";
//! BCM2835 ARM Peripherals, section 13, for what Broadcom left out (infrared, modem lines, DMA).
//!
//! What decides the settings is that no received byte may be lost while interrupts are masked:
//!
//! ```text
//!  byte 1       R      R+1               16      17
//!  --|----...---|-------|------ ... ------|-------|-->   one byte each 87 µs at 115,200 baud
//!          interrupt                    full    lost unless the processor has read by now
//!               |<------ 17 - R bytes of grace ------>|
//! ```
//!
//! With the trigger R at a quarter (4 bytes) the grace is 13 bytes, 1.1 ms, more than five times the
//! longest time that the kernel masks interrupts (20,000 instructions, 200 µs at a slow
//! 100 million instructions each second). A trigger of half a FIFO would leave 781 µs and save half of the
//! interrupts; a console is not busy enough for that to matter. Fewer than R bytes raise the receive
//! time-out interrupt once the line has been silent for 32 bits, so the last bytes are not stranded.
//!
//! Both receive interrupts are *latches*: clearing one while bytes lie in the FIFO is not followed by
//! another until more arrive. So an interrupt is always served in the order *clear, then read until
//! empty*; the other order can strand a byte that arrives in between.

#[cfg(test)]
mod tests;

use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::register_bitfields;

use crate::bus::{Bus, ReadOnly, ReadWrite, RegisterAt, WriteOnly};
use crate::traits::{DeviceError, Received, Serial};

register_bitfields! {
    u32,
    /// TRM 3.3.1. Reading takes a received character with its errors; writing sends one.
    DR [
        DATA OFFSET(0) NUMBITS(8) [],
        FRAMING OFFSET(8) NUMBITS(1) [],
        PARITY OFFSET(9) NUMBITS(1) [],
        BREAK OFFSET(10) NUMBITS(1) [],
        /// Characters were lost before this one because the FIFO was full.
        OVERRUN OFFSET(11) NUMBITS(1) [],
    ],
    /// TRM 3.3.3.
    FR [
        /// A character is being sent, or waits in the FIFO.
        BUSY OFFSET(3) NUMBITS(1) [],
        RECEIVE_EMPTY OFFSET(4) NUMBITS(1) [],
        TRANSMIT_FULL OFFSET(5) NUMBITS(1) [],
    ],
    /// TRM 3.3.5.
    IBRD [ DIVISOR OFFSET(0) NUMBITS(16) [] ],
    /// TRM 3.3.6.
    FBRD [ SIXTY_FOURTHS OFFSET(0) NUMBITS(6) [] ],
    /// TRM 3.3.7.
    LCR_H [
        FIFOS OFFSET(4) NUMBITS(1) [],
        WORD OFFSET(5) NUMBITS(2) [ Bits8 = 3 ],
    ],
    /// TRM 3.3.8.
    CR [
        UART OFFSET(0) NUMBITS(1) [],
        TRANSMIT OFFSET(8) NUMBITS(1) [],
        RECEIVE OFFSET(9) NUMBITS(1) [],
    ],
    /// TRM 3.3.9. Transmit interrupts when it has fallen to the level, receive when it has risen to it.
    IFLS [
        TRANSMIT OFFSET(0) NUMBITS(3) [ Eighth = 0, Quarter = 1, Half = 2 ],
        RECEIVE OFFSET(3) NUMBITS(3) [ Eighth = 0, Quarter = 1, Half = 2 ],
    ],
    /// TRM 3.3.10 to 3.3.13: mask, raw status, masked status and clear have the same bits.
    INTERRUPTS [
        RECEIVE OFFSET(4) NUMBITS(1) [],
        TRANSMIT OFFSET(5) NUMBITS(1) [],
        RECEIVE_TIMEOUT OFFSET(6) NUMBITS(1) [],
        ALL OFFSET(0) NUMBITS(11) [],
    ],
}

const DR: RegisterAt<ReadWrite, DR::Register> = RegisterAt::new(0x00);
const FR: RegisterAt<ReadOnly, FR::Register> = RegisterAt::new(0x18);
const IBRD: RegisterAt<ReadWrite, IBRD::Register> = RegisterAt::new(0x24);
const FBRD: RegisterAt<ReadWrite, FBRD::Register> = RegisterAt::new(0x28);
const LCR_H: RegisterAt<ReadWrite, LCR_H::Register> = RegisterAt::new(0x2c);
const CR: RegisterAt<ReadWrite, CR::Register> = RegisterAt::new(0x30);
const IFLS: RegisterAt<ReadWrite, IFLS::Register> = RegisterAt::new(0x34);
const IMSC: RegisterAt<ReadWrite, INTERRUPTS::Register> = RegisterAt::new(0x38);
const ICR: RegisterAt<WriteOnly, INTERRUPTS::Register> = RegisterAt::new(0x44);

/// Looks at the flag register before initialisation no longer waits for what the firmware is sending:
/// 17 characters at 115,200 baud take 1.5 ms, a look takes no less than 10 ns.
const DRAIN_TRIES: u32 = 1_000_000;

/// Baud rate divisor, 16.6 bits fixed point: the clock is divided by 16 times this (TRM 3.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Divisor {
    integer: u32,
    sixty_fourths: u32,
}

impl Divisor {
    /// The nearest divisor, if the port can hold it.
    ///
    /// One that it can hold is at least 64 of its steps, so rounding misses `baud` by at most half a
    /// step in 64, 0.8 %. The last bit of a 10-bit character is safe up to about 2 % on each side.
    fn nearest(clock_hz: u32, baud: u32) -> Option<Self> {
        // In 64ths, rounded: clock * 64 / (16 * baud) + 1/2.
        let doubled = (u64::from(clock_hz) * 8).checked_div(u64::from(baud))?;
        let fixed = doubled.div_ceil(2);
        // The integer part is 1..=65535, and the greatest one has no fraction (TRM 3.3.6).
        if !(1 << 6..=0xffff << 6).contains(&fixed) {
            return None;
        }
        Some(Self {
            integer: (fixed >> 6) as u32,
            sixty_fourths: (fixed & 0x3f) as u32,
        })
    }
}

/// A PL011 behind `bus`, whose window begins at the data register.
///
/// Its pins and its clock are the board's business.
#[derive(Debug)]
pub struct Pl011<B> {
    bus: B,
    /// Bytes were lost, which the next undamaged one has to tell.
    lost: bool,
}

impl<B: Bus> Pl011<B> {
    /// Takes the port over. Nothing is touched until [`Serial::init`].
    pub const fn new(bus: B) -> Self {
        Self { bus, lost: false }
    }

    /// Turns the port off with empty FIFOs, letting what is being sent end first (TRM 3.3.8: the
    /// control register must not change under a character).
    fn stop(&mut self) {
        for _ in 0..DRAIN_TRIES {
            if self.is_drained() {
                break;
            }
            core::hint::spin_loop();
        }
        CR.on(&self.bus).set(0);
        IMSC.on(&self.bus).set(0);
        // Turning the FIFOs off empties them.
        LCR_H.on(&self.bus).set(0);
        self.acknowledge();
        self.lost = false;
    }
}

impl<B: Bus> Serial for Pl011<B> {
    fn init(&mut self, clock_hz: u32, baud: u32) -> Result<(), DeviceError> {
        let divisor = Divisor::nearest(clock_hz, baud).ok_or(DeviceError::Refused)?;
        self.stop();
        IBRD.on(&self.bus).write(IBRD::DIVISOR.val(divisor.integer));
        FBRD.on(&self.bus)
            .write(FBRD::SIXTY_FOURTHS.val(divisor.sixty_fourths));
        // Must follow the divisor, which takes effect with this write (TRM 3.3.6).
        LCR_H
            .on(&self.bus)
            .write(LCR_H::WORD::Bits8 + LCR_H::FIFOS::SET);
        // Transmit at a quarter: the 4 bytes left last 347 µs, so the line does not fall idle while
        // interrupts are masked.
        IFLS.on(&self.bus)
            .write(IFLS::RECEIVE::Quarter + IFLS::TRANSMIT::Quarter);
        IMSC.on(&self.bus)
            .write(INTERRUPTS::RECEIVE::SET + INTERRUPTS::RECEIVE_TIMEOUT::SET);
        CR.on(&self.bus)
            .write(CR::UART::SET + CR::TRANSMIT::SET + CR::RECEIVE::SET);
        Ok(())
    }

    fn try_send(&mut self, byte: u8) -> bool {
        if FR.on(&self.bus).is_set(FR::TRANSMIT_FULL) {
            return false;
        }
        DR.on(&self.bus).write(DR::DATA.val(u32::from(byte)));
        true
    }

    fn try_receive(&mut self) -> Option<Received> {
        if FR.on(&self.bus).is_set(FR::RECEIVE_EMPTY) {
            return None;
        }
        let character = DR.on(&self.bus).extract();
        self.lost |= character.is_set(DR::OVERRUN);
        if (DR::FRAMING::SET + DR::PARITY::SET + DR::BREAK::SET)
            .any_matching_bits_set(character.get())
        {
            return Some(Received::Damaged);
        }
        let byte = character.read(DR::DATA) as u8;
        Some(if core::mem::take(&mut self.lost) {
            Received::AfterOverrun(byte)
        } else {
            Received::Byte(byte)
        })
    }

    /// The interrupt comes when the FIFO *falls* to a quarter (TRM 2.8, UARTTXINTR), not because
    /// it is empty: turn it on after [`Serial::try_send`] has said that the transmitter is full.
    fn want_room(&mut self, on: bool) {
        IMSC.on(&self.bus)
            .modify(INTERRUPTS::TRANSMIT.val(u32::from(on)));
    }

    fn acknowledge(&mut self) {
        ICR.on(&self.bus).write(INTERRUPTS::ALL::SET);
    }

    fn is_drained(&mut self) -> bool {
        !FR.on(&self.bus).is_set(FR::BUSY)
    }
}
