//! Raspberry Pi 3 Model B and B+, and the emulator's `raspi3b`: BCM2837.
//!
//! ```text
//!  0x0000_0000   RAM: spin table (0xd8..0x100), firmware's ATAG list, its device tree, the kernel
//!  (asked for)   RAM of the graphics processor
//!  0x3f00_0000   peripherals: DMA 00_7000, interrupts 00_b200, mailbox 00_b880, power 10_0000,
//!                             random 10_4000, pins 20_0000, PL011 20_1000, card 30_0000, USB 98_0000
//!  0x4000_0000   per-core block
//! ```
//!
//! Sources: BCM2835 ARM Peripherals, section 1.2 (the manual's 0x7e00_0000 is 0x3f00_0000 here); QA7
//! rev 3.4; the boot code that the firmware puts at address 0, for the spin table.

#[cfg(test)]
mod tests;

use core::fmt;

use crate::block::SegmentMemory;
use crate::bus::{Bus, DmaBuffer, Mmio};
use crate::dma::DmaMemory;
use crate::drivers::bcm2835_dma::{self, ChannelNumber, DmaChannel};
use crate::drivers::bcm2835_ic::PeripheralInterrupts;
use crate::drivers::bcm2836;
use crate::drivers::dwc2::Dwc2;
use crate::drivers::ethernet;
use crate::drivers::ethernet::usb::UsbEthernet;
use crate::drivers::gpio::{Function, Gpio, Pin, Pull};
use crate::drivers::mailbox::Mailbox;
use crate::drivers::pl011::Pl011;
use crate::drivers::pm::PowerManager;
use crate::drivers::rng::Rng;
use crate::drivers::sd::card::SdCard;
use crate::drivers::sd::emmc::Emmc;
use crate::traits::{DeviceError, Firmware, MemoryRange, Serial, Source};

/// The serial port that is the console.
pub type Console<B = Mmio> = Pl011<B>;
/// The interrupt controllers.
pub type Interrupts<B = Mmio> = bcm2836::Interrupts<B, B>;
/// What resets the machine and turns it off.
pub type PowerSwitch<B = Mmio> = PowerManager<B>;
/// The hardware random generator.
pub type Generator<B = Mmio> = Rng<B>;
/// What answers for the firmware.
pub type FirmwareMailbox<D, B = Mmio> = Mailbox<B, D>;
/// The pin controller.
pub type Pins<B = Mmio> = Gpio<B>;

/// The USB controller.
pub type UsbController<B = Mmio> = Dwc2<B>;
/// The Ethernet interface: the chip on the board, or the emulator's adapter, either on USB.
pub type Network<D, B = Mmio> = UsbEthernet<B, D>;

/// The card's slot: `D` holds what the DMA engine is told, `M` is the memory of requests.
pub type CardSlot<D, M, B = Mmio> = SdCard<Emmc<B, D, M>>;

/// Physical memory with device registers, to be mapped as Device memory. Beyond them lie holes whose
/// access aborts.
pub const DEVICE_WINDOWS: [MemoryRange; 2] = [
    MemoryRange {
        start: PERIPHERALS,
        length: 0x0100_0000,
    },
    MemoryRange {
        start: LOCAL,
        length: 0x1000,
    },
];

/// Where cores 1, 2 and 3 find the physical address to enter at. They wait in WFE with caches off:
/// clean what was written to the point of coherency, then DSB and SEV.
pub const SPIN_TABLE: [u64; 3] = [0xe0, 0xe8, 0xf0];

/// Physical address of the firmware's ATAG list, if it says nothing else or gives no device tree.
pub const ATAG_LIST: u64 = 0x100;

/// The interrupt of [`Console`] (BCM2835 ARM Peripherals, section 7.5, table).
pub const CONSOLE_INTERRUPT: Source = Source::Peripheral(57);

/// The interrupt of the USB controller (section 7.5).
pub const USB_INTERRUPT: Source = Source::Peripheral(9);

/// The interrupt of the card's controller (section 7.5).
pub const CARD_INTERRUPT: Source = Source::Peripheral(62);

/// Bytes of memory that [`CardSlot`] needs for itself.
pub const CARD_MEMORY: usize = bcm2835_dma::MEMORY_BYTES;

/// Bytes of memory that [`Network`] needs.
pub const NETWORK_MEMORY: usize = ethernet::usb::MEMORY_BYTES;

/// Where devices see RAM, past the graphics processor's cache: bits to be set in a physical address
/// (section 1.2.3).
pub const BUS_ALIAS: u32 = 0xc000_0000;

/// Speed of the console, 8N1.
pub const CONSOLE_BAUD: u32 = 115_200;

const PERIPHERALS: u64 = 0x3f00_0000;
const LOCAL: u64 = 0x4000_0000;
const DMA: u64 = PERIPHERALS + 0x00_7000;
const INTERRUPTS: u64 = PERIPHERALS + 0x00_b200;
const MAILBOX: u64 = PERIPHERALS + 0x00_b880;
const POWER: u64 = PERIPHERALS + 0x10_0000;
const RANDOM: u64 = PERIPHERALS + 0x10_4000;
const GPIO: u64 = PERIPHERALS + 0x20_0000;
const UART0: u64 = PERIPHERALS + 0x20_1000;
const CARD: u64 = PERIPHERALS + 0x30_0000;
const USB: u64 = PERIPHERALS + 0x98_0000;

/// Where the PL011 comes out, sending and receiving, as alternate function 0 (section 6.2).
const CONSOLE_PINS: [Pin; 2] = [Pin::new(14).unwrap(), Pin::new(15).unwrap()];

/// Where the card's six lines come out, clock, command and data, as alternate function 3 (section 6.2); and where the
/// same controller came out for the radio chip before, as the firmware leaves it.
const CARD_PINS: [Pin; 6] = [
    Pin::new(48).unwrap(),
    Pin::new(49).unwrap(),
    Pin::new(50).unwrap(),
    Pin::new(51).unwrap(),
    Pin::new(52).unwrap(),
    Pin::new(53).unwrap(),
];
const RADIO_PINS: [Pin; 6] = [
    Pin::new(34).unwrap(),
    Pin::new(35).unwrap(),
    Pin::new(36).unwrap(),
    Pin::new(37).unwrap(),
    Pin::new(38).unwrap(),
    Pin::new(39).unwrap(),
];

/// The clock of the card's controller unless the firmware says otherwise: the fastest that any sets, so that the
/// card's is not too fast.
const FASTEST_CARD_CLOCK: u32 = 250_000_000;

/// The PL011's clock unless the firmware says otherwise: what current firmware sets.
const USUAL_SERIAL_CLOCK: u32 = 48_000_000;

/// The board's devices, each with its driver. They are independent of each other: take them apart.
#[derive(Debug)]
pub struct Board<D, B = Mmio> {
    /// The serial console; see [`Board::start_console`].
    pub console: Console<B>,
    /// Interrupts of all cores.
    pub interrupts: Interrupts<B>,
    /// Reset and power-off.
    pub power: PowerSwitch<B>,
    /// The random generator.
    pub random: Generator<B>,
    /// The firmware, asked by way of `D`.
    pub firmware: FirmwareMailbox<D, B>,
    /// The pins.
    pub pins: Pins<B>,
    /// The USB controller, without power until [`Firmware::power_usb`].
    pub usb: UsbController<B>,
    /// What the card's slot is made of; see [`CardParts::assemble`].
    pub card: CardParts<B>,
}

/// The registers behind the card's slot.
#[derive(Debug)]
pub struct CardParts<B = Mmio> {
    controller: B,
    engine: B,
}

impl<B: Bus> CardParts<B> {
    /// Puts the controller on the card's pins, and gives the slot, in which nothing has been looked for. Of the DMA
    /// engine it takes the lowest channel that the firmware leaves to us; with none, or with less than
    /// [`CARD_MEMORY`] bytes in `blocks`, the processor moves the data.
    pub fn assemble<D: DmaMemory, M: SegmentMemory>(
        self,
        pins: &mut Pins<B>,
        firmware: &mut impl Firmware,
        blocks: D,
        memory: M,
    ) -> CardSlot<D, M, B> {
        for pin in RADIO_PINS {
            pins.set_function(pin, Function::Input);
        }
        // The clock is ours alone; the other lines are held up while nobody drives them (PLSS 6.3).
        let [clock, lines @ ..] = CARD_PINS;
        pins.set_pull(&[clock], Pull::Off);
        pins.set_pull(&lines, Pull::Up);
        for pin in CARD_PINS {
            pins.set_function(pin, Function::Alt3);
        }
        let clock = firmware.card_clock().unwrap_or(FASTEST_CARD_CLOCK);
        let channel = firmware.dma_channels().ok();
        let channel = channel.and_then(ChannelNumber::lowest_of);
        let engine = channel.and_then(|number| DmaChannel::new(self.engine, number, blocks));
        SdCard::new(Emmc::new(self.controller, engine, memory, clock))
    }
}

impl<D: DmaBuffer> Board<D> {
    /// The board over device memory, where `window` gives the virtual address of a physical one within
    /// [`DEVICE_WINDOWS`]. `dma` carries messages to the firmware: 8 words, and room for a command line.
    ///
    /// # Safety
    /// From now on until the machine stops, all of [`DEVICE_WINDOWS`] is mapped as Device memory,
    /// readable and writable, at the addresses that `window` gives. Nothing else drives the devices
    /// named in [`Board`]; in particular it is made once.
    #[expect(unsafe_code, reason = "says where device memory is")]
    pub unsafe fn new(window: impl Fn(u64) -> usize, dma: D) -> Self {
        Self::over(
            // SAFETY: `over` asks for aligned addresses within `DEVICE_WINDOWS`, each once, and the
            // caller vouches for their mapping and for nobody else using them.
            |physical| unsafe { Mmio::new(window(physical)) },
            dma,
        )
    }
}

impl<D: DmaBuffer, B: Bus> Board<D, B> {
    /// The board over any bus: `bus` gives the one whose window begins at a physical address.
    pub fn over(bus: impl Fn(u64) -> B, dma: D) -> Self {
        let peripherals = PeripheralInterrupts::new(bus(INTERRUPTS));
        Self {
            console: Pl011::new(bus(UART0)),
            interrupts: bcm2836::Interrupts::new(bus(LOCAL), peripherals),
            power: PowerManager::new(bus(POWER)),
            random: Rng::new(bus(RANDOM)),
            firmware: Mailbox::new(bus(MAILBOX), dma),
            pins: Gpio::new(bus(GPIO)),
            usb: Dwc2::new(bus(USB)),
            card: CardParts {
                controller: bus(CARD),
                engine: bus(DMA),
            },
        }
    }

    /// Puts the console on its pins and turns it on at [`CONSOLE_BAUD`], with its receive interrupt.
    ///
    /// Does not need the firmware's answer: with none the usual clock is assumed, since a console at
    /// the wrong speed still tells more than none.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] if the clock that the firmware names cannot make the speed.
    pub fn start_console(&mut self) -> Result<(), DeviceError> {
        self.pins.set_pull(&CONSOLE_PINS, Pull::Off);
        for pin in CONSOLE_PINS {
            self.pins.set_function(pin, Function::Alt0);
        }
        let clock = self.firmware.serial_clock().unwrap_or(USUAL_SERIAL_CLOCK);
        self.console.init(clock, CONSOLE_BAUD)
    }
}

/// Name of the board with this revision code, as [`Firmware::board_revision`] gives it.
///
/// New-style codes have bit 23 set and the type of board in bits 4 to 11; the other bits are memory,
/// maker and revision (Raspberry Pi documentation, "Revision codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub u32);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new_style = self.0 & 1 << 23 != 0;
        match (new_style, (self.0 >> 4) & 0xff) {
            (true, 0x08) => f.write_str("Raspberry Pi 3 Model B"),
            (true, 0x0d) => f.write_str("Raspberry Pi 3 Model B+"),
            _ => write!(f, "unknown Raspberry Pi (revision {:#x})", self.0),
        }
    }
}
