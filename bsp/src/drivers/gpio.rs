//! The BCM2835 pin controller: what each pin does, and its pull resistor.
//!
//! Source: BCM2835 ARM Peripherals, section 6. The board uses it to put the serial port on its pins by
//! itself: firmware does so only when its configuration asks for it. Levels, edges and events are left
//! out until something owns pins.
//!
//! Pull resistors cannot be read back on this chip, and are set by a clocked sequence (section 6.1,
//! GPPUDCLKn) with two waits of 150 cycles.

#[cfg(test)]
mod tests;

use tock_registers::fields::Field;
use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::register_bitfields;

use crate::bus::{Bus, ReadOnly, ReadWrite, RegisterAt};

register_bitfields! {
    u32,
    /// Function of ten pins, three bits each.
    GPFSEL [
        PIN0 OFFSET(0) NUMBITS(3) [],
        PIN1 OFFSET(3) NUMBITS(3) [],
        PIN2 OFFSET(6) NUMBITS(3) [],
        PIN3 OFFSET(9) NUMBITS(3) [],
        PIN4 OFFSET(12) NUMBITS(3) [],
        PIN5 OFFSET(15) NUMBITS(3) [],
        PIN6 OFFSET(18) NUMBITS(3) [],
        PIN7 OFFSET(21) NUMBITS(3) [],
        PIN8 OFFSET(24) NUMBITS(3) [],
        PIN9 OFFSET(27) NUMBITS(3) [],
    ],
    GPPUD [ PULL OFFSET(0) NUMBITS(2) [] ],
}

const GPFSEL: [RegisterAt<ReadWrite, GPFSEL::Register>; 6] = [
    RegisterAt::new(0x00),
    RegisterAt::new(0x04),
    RegisterAt::new(0x08),
    RegisterAt::new(0x0c),
    RegisterAt::new(0x10),
    RegisterAt::new(0x14),
];
const PINS: [Field<u32, GPFSEL::Register>; 10] = [
    GPFSEL::PIN0,
    GPFSEL::PIN1,
    GPFSEL::PIN2,
    GPFSEL::PIN3,
    GPFSEL::PIN4,
    GPFSEL::PIN5,
    GPFSEL::PIN6,
    GPFSEL::PIN7,
    GPFSEL::PIN8,
    GPFSEL::PIN9,
];
const GPLEV0: RegisterAt<ReadOnly> = RegisterAt::new(0x34);
const GPPUD: RegisterAt<ReadWrite, GPPUD::Register> = RegisterAt::new(0x94);
const GPPUDCLK: [RegisterAt<ReadWrite>; 2] = [RegisterAt::new(0x98), RegisterAt::new(0x9c)];

/// Cycles that the pull control needs to settle, before and after its clock (section 6.1).
const SETTLE_CYCLES: u32 = 150;

/// One of the 54 pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(u8);

impl Pin {
    /// Pins are numbered from 0 to one less than this.
    pub const COUNT: u8 = 54;

    /// Pin `number`, if there is such a pin.
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a pin does. Which block an alternate function means is in the table of section 6.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Function {
    /// Input, the state after reset.
    Input = 0,
    /// Output.
    Output = 1,
    /// Alternate function 0.
    Alt0 = 4,
    /// Alternate function 1.
    Alt1 = 5,
    /// Alternate function 2.
    Alt2 = 6,
    /// Alternate function 3.
    Alt3 = 7,
    /// Alternate function 4.
    Alt4 = 3,
    /// Alternate function 5.
    Alt5 = 2,
}

/// Where the resistor of a pin pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Pull {
    /// Nowhere.
    Off = 0,
    /// To ground.
    Down = 1,
    /// To the supply.
    Up = 2,
}

/// The pin controller behind `bus`, whose window begins at GPFSEL0.
#[derive(Debug)]
pub struct Gpio<B> {
    bus: B,
}

impl<B: Bus> Gpio<B> {
    /// Takes the pins over, as they are.
    pub const fn new(bus: B) -> Self {
        Self { bus }
    }

    /// Gives `pin` a function; the other pins keep theirs.
    pub fn set_function(&mut self, pin: Pin, function: Function) {
        // `Pin` keeps both indices in range; `get` keeps this free of panics without relying on it.
        let (register, field) = (GPFSEL.get(pin.index() / 10), PINS.get(pin.index() % 10));
        if let (Some(register), Some(field)) = (register, field) {
            register.on(&self.bus).modify(field.val(function as u32));
        }
    }

    /// Sets the resistors of `pins`; the other pins keep theirs. Takes a few microseconds.
    pub fn set_pull(&mut self, pins: &[Pin], pull: Pull) {
        let mut clocks = [0u32; 2];
        for pin in pins {
            if let Some(word) = clocks.get_mut(pin.index() / 32) {
                *word |= 1 << (pin.index() % 32);
            }
        }
        GPPUD.on(&self.bus).write(GPPUD::PULL.val(pull as u32));
        self.settle();
        for (register, pins) in GPPUDCLK.iter().zip(clocks) {
            register.on(&self.bus).set(pins);
        }
        self.settle();
        GPPUD.on(&self.bus).set(0);
        for register in &GPPUDCLK {
            register.on(&self.bus).set(0);
        }
    }

    /// Waits for [`SETTLE_CYCLES`] by as many reads of a register that nothing happens to: a read
    /// keeps this very block's bus busy for at least a cycle, at any clock rate of the processor.
    fn settle(&self) {
        for _ in 0..SETTLE_CYCLES {
            let _level = GPLEV0.on(&self.bus).get();
        }
    }
}
