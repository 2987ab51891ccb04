//! The per-core block of the BCM2836 and BCM2837: timer, mailbox and peripheral interrupts of each core.
//!
//! Source: "ARM Quad A7 core", QA7 rev 3.4, section 4 (the BCM2837 has the same block beside its
//! newer cores). Each core has a source register with a bit for each kind of interrupt:
//!
//! ```text
//!   11 local timer   9 PMU   8 peripherals   7..4 mailboxes 3..0   3..0 core timers (1 = CNTP at EL1)
//! ```
//!
//! Peripherals go to one core, core 0. Inter-processor interrupts are bit 0 of mailbox 0 of the core
//! they go to: setting a bit that is set changes nothing, so a burst of them is one.

#[cfg(test)]
mod tests;

use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::register_bitfields;

use super::bcm2835_ic::PeripheralInterrupts;
use crate::bus::{Bus, ReadOnly, ReadWrite, RegisterAt, WriteOnly};
use crate::traits::{InterruptController, Source};

register_bitfields! {
    u32,
    CONTROL [
        /// The core timers count the crystal's clock, not the peripheral bus's.
        CLOCK OFFSET(8) NUMBITS(1) [ Crystal = 0 ],
        STEP OFFSET(9) NUMBITS(1) [ One = 0 ],
    ],
    /// The core timers run at crystal * this / 2^31.
    PRESCALER [ FACTOR OFFSET(0) NUMBITS(32) [ One = 0x8000_0000 ] ],
    PERIPHERAL_ROUTING [
        INTERRUPT_CORE OFFSET(0) NUMBITS(2) [],
        FAST_CORE OFFSET(2) NUMBITS(2) [],
    ],
    /// For each core, whether its PMU raises its interrupt (bits 0..3) or fast interrupt (4..7).
    PMU_ROUTING [ ALL OFFSET(0) NUMBITS(8) [] ],
    LOCAL_TIMER [
        RELOAD OFFSET(0) NUMBITS(28) [],
        ENABLE OFFSET(28) NUMBITS(1) [],
        INTERRUPT OFFSET(29) NUMBITS(1) [],
    ],
    /// Which core timers interrupt; bits 4..7 make it the fast interrupt instead.
    TIMER_CONTROL [ CNTPNS OFFSET(1) NUMBITS(1) [] ],
    /// Which mailboxes interrupt; bits 4..7 make it the fast interrupt instead.
    MAILBOX_CONTROL [ MAILBOX0 OFFSET(0) NUMBITS(1) [] ],
    SOURCE [
        CNTPNS OFFSET(1) NUMBITS(1) [],
        MAILBOX0 OFFSET(4) NUMBITS(1) [],
        PERIPHERALS OFFSET(8) NUMBITS(1) [],
    ],
    MAILBOX [
        IPI OFFSET(0) NUMBITS(1) [],
        ALL OFFSET(0) NUMBITS(32) [],
    ],
}

const CONTROL: RegisterAt<ReadWrite, CONTROL::Register> = RegisterAt::new(0x00);
const PRESCALER: RegisterAt<ReadWrite, PRESCALER::Register> = RegisterAt::new(0x08);
const PERIPHERAL_ROUTING: RegisterAt<ReadWrite, PERIPHERAL_ROUTING::Register> =
    RegisterAt::new(0x0c);
const PMU_ROUTING_CLEAR: RegisterAt<WriteOnly, PMU_ROUTING::Register> = RegisterAt::new(0x14);
const LOCAL_TIMER: RegisterAt<ReadWrite, LOCAL_TIMER::Register> = RegisterAt::new(0x34);

/// The registers of one core. Writing ones to `mailbox_set` sets them, to `mailbox_clear` clears them.
struct Core {
    timer_control: RegisterAt<ReadWrite, TIMER_CONTROL::Register>,
    mailbox_control: RegisterAt<ReadWrite, MAILBOX_CONTROL::Register>,
    source: RegisterAt<ReadOnly, SOURCE::Register>,
    mailbox_set: RegisterAt<WriteOnly, MAILBOX::Register>,
    mailbox_clear: RegisterAt<ReadWrite, MAILBOX::Register>,
}

impl Core {
    const fn new(number: usize) -> Self {
        Self {
            timer_control: RegisterAt::new(0x40 + 4 * number),
            mailbox_control: RegisterAt::new(0x50 + 4 * number),
            source: RegisterAt::new(0x60 + 4 * number),
            mailbox_set: RegisterAt::new(0x80 + 0x10 * number),
            mailbox_clear: RegisterAt::new(0xc0 + 0x10 * number),
        }
    }
}

const CORES: [Core; 4] = [Core::new(0), Core::new(1), Core::new(2), Core::new(3)];

/// The core that peripherals interrupt.
const PERIPHERAL_CORE: usize = 0;

/// Both controllers of the chip: the per-core block behind `local`, whose window begins at the
/// control register, and the peripheral controller ([`PeripheralInterrupts`]) behind `P`.
///
/// Calls that name a core that does not exist do nothing.
#[derive(Debug)]
pub struct Interrupts<L, P> {
    local: L,
    peripherals: PeripheralInterrupts<P>,
}

impl<L: Bus, P: Bus> Interrupts<L, P> {
    /// Takes both controllers over. Nothing is touched until [`InterruptController::init`].
    pub const fn new(local: L, peripherals: PeripheralInterrupts<P>) -> Self {
        Self { local, peripherals }
    }
}

impl<L: Bus, P: Bus> InterruptController for Interrupts<L, P> {
    const CORES: usize = CORES.len();

    /// Also has the core timers count the crystal's clock undivided, which is what `CNTFRQ_EL0` says;
    /// the boards' boot code does the same, unless it is replaced.
    fn init(&mut self) {
        self.peripherals.init();
        CONTROL
            .on(&self.local)
            .write(CONTROL::CLOCK::Crystal + CONTROL::STEP::One);
        PRESCALER.on(&self.local).write(PRESCALER::FACTOR::One);
        PERIPHERAL_ROUTING.on(&self.local).write(
            PERIPHERAL_ROUTING::INTERRUPT_CORE.val(PERIPHERAL_CORE as u32)
                + PERIPHERAL_ROUTING::FAST_CORE.val(PERIPHERAL_CORE as u32),
        );
        PMU_ROUTING_CLEAR
            .on(&self.local)
            .write(PMU_ROUTING::ALL::SET);
        LOCAL_TIMER
            .on(&self.local)
            .write(LOCAL_TIMER::ENABLE::CLEAR + LOCAL_TIMER::INTERRUPT::CLEAR);
        for core in &CORES {
            core.timer_control.on(&self.local).set(0);
            core.mailbox_control.on(&self.local).set(0);
            core.mailbox_clear.on(&self.local).write(MAILBOX::ALL::SET);
        }
    }

    fn set_enabled(&mut self, core: usize, source: Source, on: bool) {
        let Some(registers) = CORES.get(core) else {
            return;
        };
        match source {
            Source::Timer => registers
                .timer_control
                .on(&self.local)
                .modify(TIMER_CONTROL::CNTPNS.val(u32::from(on))),
            Source::Ipi => registers
                .mailbox_control
                .on(&self.local)
                .modify(MAILBOX_CONTROL::MAILBOX0.val(u32::from(on))),
            Source::Peripheral(line) if core == PERIPHERAL_CORE => {
                self.peripherals.set_enabled(line, on);
            }
            Source::Peripheral(_) => {}
        }
    }

    /// Inter-processor interrupts come first, since another core may be waiting; then the timer, which
    /// must be on time; then peripherals in turn.
    fn next_pending(&mut self, core: usize) -> Option<Source> {
        let source = CORES.get(core)?.source.on(&self.local).extract();
        if source.is_set(SOURCE::MAILBOX0) {
            Some(Source::Ipi)
        } else if source.is_set(SOURCE::CNTPNS) {
            Some(Source::Timer)
        } else if source.is_set(SOURCE::PERIPHERALS) {
            self.peripherals.next_pending().map(Source::Peripheral)
        } else {
            None
        }
    }

    fn send_ipi(&mut self, core: usize) {
        if let Some(registers) = CORES.get(core) {
            registers
                .mailbox_set
                .on(&self.local)
                .write(MAILBOX::IPI::SET);
        }
    }

    fn acknowledge_ipi(&mut self, core: usize) {
        if let Some(registers) = CORES.get(core) {
            registers
                .mailbox_clear
                .on(&self.local)
                .write(MAILBOX::IPI::SET);
        }
    }
}
