//! The BCM2835 hardware random generator.
//!
//! Sources: no public manual describes this block; the registers are those that operating systems
//! for this chip agree on. The first words after power-on are of poor quality, so the generator is
//! told to discard some: the count written to the status register runs down, and only then does the
//! FIFO fill. The FIFO's fill in the top byte is therefore the one sign that a word is good, and the
//! data register is never read without it. (The emulator reports one word always.)

#[cfg(test)]
mod tests;

use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::register_bitfields;

use crate::bus::{Bus, ReadOnly, ReadWrite, RegisterAt};
use crate::traits::{DeviceError, Random};

register_bitfields! {
    u32,
    CTRL [ ENABLE OFFSET(0) NUMBITS(1) [] ],
    STATUS [
        /// Words still to be discarded.
        WARM_UP OFFSET(0) NUMBITS(20) [],
        /// Words in the FIFO.
        READY OFFSET(24) NUMBITS(8) [],
    ],
    INT_MASK [ OFF OFFSET(0) NUMBITS(1) [] ],
}

const CTRL: RegisterAt<ReadWrite, CTRL::Register> = RegisterAt::new(0x00);
const STATUS: RegisterAt<ReadWrite, STATUS::Register> = RegisterAt::new(0x04);
const DATA: RegisterAt<ReadOnly> = RegisterAt::new(0x08);
const INT_MASK: RegisterAt<ReadWrite, INT_MASK::Register> = RegisterAt::new(0x10);

/// Words to discard at the start, as usual for this block. How long that takes is not documented.
const WARM_UP_WORDS: u32 = 0x4_0000;

/// The generator behind `bus`.
#[derive(Debug)]
pub struct Rng<B> {
    bus: B,
}

impl<B: Bus> Rng<B> {
    /// Takes the generator over. Nothing is touched until [`Random::init`].
    pub const fn new(bus: B) -> Self {
        Self { bus }
    }
}

impl<B: Bus> Random for Rng<B> {
    fn init(&mut self) {
        STATUS
            .on(&self.bus)
            .write(STATUS::WARM_UP.val(WARM_UP_WORDS));
        INT_MASK.on(&self.bus).modify(INT_MASK::OFF::SET);
        CTRL.on(&self.bus).modify(CTRL::ENABLE::SET);
    }

    fn try_next(&mut self) -> Result<u32, DeviceError> {
        if STATUS.on(&self.bus).read(STATUS::READY) == 0 {
            return Err(DeviceError::TimedOut);
        }
        Ok(DATA.on(&self.bus).get())
    }
}
