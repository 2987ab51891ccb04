//! The BCM2835 power manager's watchdog, which resets the machine and turns it off.
//!
//! Sources: no public manual describes this block; the registers are those that operating systems
//! for this chip agree on. A write counts only with the password in its top byte. The watchdog's
//! time is in units of 1/65536 s; when it runs out, the chip does what RSTC says. The boot code finds
//! in RSTS from which partition to start; 63 means "stay off", the nearest that the board has to a
//! power switch.

#[cfg(test)]
mod tests;

use tock_registers::fields::FieldValue;
use tock_registers::interfaces::{ReadWriteable, Writeable};
use tock_registers::register_bitfields;

use crate::bus::{Bus, ReadWrite, RegisterAt};
use crate::traits::Power;

register_bitfields! {
    u32,
    RSTC [
        /// What happens when the watchdog's time is over.
        ON_TIMEOUT OFFSET(4) NUMBITS(2) [ FullReset = 2 ],
        PASSWORD OFFSET(24) NUMBITS(8) [ Given = 0x5a ],
    ],
    /// The partition's six bits are every other bit from 0 to 10.
    RSTS [
        PARTITION0 OFFSET(0) NUMBITS(1) [],
        PARTITION1 OFFSET(2) NUMBITS(1) [],
        PARTITION2 OFFSET(4) NUMBITS(1) [],
        PARTITION3 OFFSET(6) NUMBITS(1) [],
        PARTITION4 OFFSET(8) NUMBITS(1) [],
        PARTITION5 OFFSET(10) NUMBITS(1) [],
        PASSWORD OFFSET(24) NUMBITS(8) [ Given = 0x5a ],
    ],
    WDOG [
        /// In 1/65536 s.
        TIME OFFSET(0) NUMBITS(20) [],
        PASSWORD OFFSET(24) NUMBITS(8) [ Given = 0x5a ],
    ],
}

const RSTC: RegisterAt<ReadWrite, RSTC::Register> = RegisterAt::new(0x1c);
const RSTS: RegisterAt<ReadWrite, RSTS::Register> = RegisterAt::new(0x20);
const WDOG: RegisterAt<ReadWrite, WDOG::Register> = RegisterAt::new(0x24);

/// Time from the request to the reset: 150 µs, long enough for these writes to arrive in order.
const RESET_TIME: u32 = 10;

/// The power manager behind `bus`. Other parts of the block (clocks, power domains) are not touched.
#[derive(Debug)]
pub struct PowerManager<B> {
    bus: B,
}

impl<B: Bus> PowerManager<B> {
    /// Takes the watchdog over, as it is.
    pub const fn new(bus: B) -> Self {
        Self { bus }
    }

    fn reset_into(&mut self, partition: FieldValue<u32, RSTS::Register>) {
        RSTS.on(&self.bus).modify(partition + RSTS::PASSWORD::Given);
        WDOG.on(&self.bus)
            .write(WDOG::TIME.val(RESET_TIME) + WDOG::PASSWORD::Given);
        RSTC.on(&self.bus)
            .modify(RSTC::ON_TIMEOUT::FullReset + RSTC::PASSWORD::Given);
    }
}

impl<B: Bus> Power for PowerManager<B> {
    /// Starts from the default partition, also after an earlier [`Power::power_off`] left its mark.
    fn reset(&mut self) {
        self.reset_into(
            RSTS::PARTITION0::CLEAR
                + RSTS::PARTITION1::CLEAR
                + RSTS::PARTITION2::CLEAR
                + RSTS::PARTITION3::CLEAR
                + RSTS::PARTITION4::CLEAR
                + RSTS::PARTITION5::CLEAR,
        );
    }

    /// Resets into partition 63, where the boot code stops.
    fn power_off(&mut self) {
        self.reset_into(
            RSTS::PARTITION0::SET
                + RSTS::PARTITION1::SET
                + RSTS::PARTITION2::SET
                + RSTS::PARTITION3::SET
                + RSTS::PARTITION4::SET
                + RSTS::PARTITION5::SET,
        );
    }
}
