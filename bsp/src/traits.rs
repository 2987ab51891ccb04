//! What the kernel asks of a board, one trait for each kind of device.
//!
//! Methods take `&mut self`: whoever holds the driver decides who may use it at a time. None waits
//! without a bound, none allocates.

use core::fmt;

/// A device did not answer within its driver's bound, or answered what its manual rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// No answer within the bound.
    TimedOut,
    /// The device reports that it refused or failed.
    Refused,
    /// The answer is not one that the manual allows.
    Malformed,
    /// The board has no such device or property.
    Absent,
}

/// A serial port.
pub trait Serial {
    /// Sets line speed and format (8N1) and turns on both directions and the receive interrupt.
    ///
    /// `clock_hz` is the clock that feeds the port, `baud` the speed wanted.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] if no divisor gives `baud` within 2 %.
    fn init(&mut self, clock_hz: u32, baud: u32) -> Result<(), DeviceError>;
    /// Puts one byte in the transmitter, or says that it is full.
    fn try_send(&mut self, byte: u8) -> bool;
    /// Takes one received byte, if there is one.
    fn try_receive(&mut self) -> Option<Received>;
    /// Turns the interrupt that says "transmitter has room" on or off.
    ///
    /// It need not come for a transmitter that has room already: turn it on after
    /// [`Serial::try_send`] has said "full".
    fn want_room(&mut self, on: bool);
    /// Clears what made the port interrupt; the caller *then* receives and sends until it cannot.
    ///
    /// In the other order, or with less than all received, bytes may lie unseen until more arrive.
    fn acknowledge(&mut self);
    /// Whether everything sent has left the wire.
    fn is_drained(&mut self) -> bool;
}

/// What a serial port received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A byte without error.
    Byte(u8),
    /// A byte that the line damaged (framing, parity), or a break.
    Damaged,
    /// A byte without error, before which at least one was lost because the FIFO was full.
    AfterOverrun(u8),
}

/// A numbered interrupt source of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The generic timer's EL1 physical timer of the core that asks.
    Timer,
    /// An inter-processor interrupt to the core that asks.
    Ipi,
    /// Peripheral interrupt 0..64 of the BCM2835 controller.
    Peripheral(u8),
}

/// Delivers interrupts. One instance serves all cores; core numbers are 0..[`InterruptController::CORES`].
pub trait InterruptController {
    /// How many cores it serves.
    const CORES: usize;
    /// Masks every source and routes peripherals to core 0.
    fn init(&mut self);
    /// Turns `source` on or off for `core`. Peripheral sources are delivered to core 0 alone.
    fn set_enabled(&mut self, core: usize, source: Source, on: bool);
    /// The pending enabled source to serve next on `core`, if there is one.
    fn next_pending(&mut self, core: usize) -> Option<Source>;
    /// Raises an inter-processor interrupt on `core`; raising it twice before it is served is once.
    ///
    /// The caller makes what the other core is to see visible first (DSB); the one served acknowledges
    /// *before* it looks, so that what comes later raises it again.
    fn send_ipi(&mut self, core: usize);
    /// Acknowledges the inter-processor interrupt of `core`.
    fn acknowledge_ipi(&mut self, core: usize);
}

/// Ways to stop the machine.
pub trait Power {
    /// Starts the machine anew. Returns only if the hardware did not obey at once; the caller waits.
    fn reset(&mut self);
    /// Turns the machine off, as far as the board can. Returns like [`Power::reset`].
    fn power_off(&mut self);
}

/// A hardware random generator.
pub trait Random {
    /// Starts the generator and its warm-up.
    fn init(&mut self);
    /// A random word, or an error while the generator is not warmed up or has run dry.
    ///
    /// # Errors
    /// [`DeviceError::TimedOut`] if no word is ready now.
    fn try_next(&mut self) -> Result<u32, DeviceError>;
}

/// A range of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

/// What the firmware knows about the board.
pub trait Firmware {
    /// Memory that belongs to the ARM side.
    ///
    /// # Errors
    /// [`DeviceError`] as the mailbox answered.
    fn arm_memory(&mut self) -> Result<MemoryRange, DeviceError>;
    /// Board revision code.
    ///
    /// # Errors
    /// [`DeviceError`] as the mailbox answered.
    fn board_revision(&mut self) -> Result<u32, DeviceError>;
    /// Rate of the clock that feeds the serial port, in hertz.
    ///
    /// # Errors
    /// [`DeviceError`] as the mailbox answered.
    fn serial_clock(&mut self) -> Result<u32, DeviceError>;
    /// Boot arguments without a terminating zero, copied to `into`; returns how many bytes there was
    /// room for.
    ///
    /// # Errors
    /// [`DeviceError`] as the mailbox answered; [`DeviceError::Absent`] if it knows none.
    fn command_line(&mut self, into: &mut [u8]) -> Result<usize, DeviceError>;
    /// Gives the USB controller power, and returns when it has it.
    ///
    /// # Errors
    /// [`DeviceError`] as the mailbox answered; [`DeviceError::Absent`] if there is no such controller.
    fn power_usb(&mut self) -> Result<(), DeviceError>;
    /// Rate of the clock that feeds the SD card's controller, in hertz.
    ///
    /// # Errors
    /// [`DeviceError`] as the mailbox answered.
    fn card_clock(&mut self) -> Result<u32, DeviceError>;
    /// Channels of the DMA engine that the firmware does not use itself, bit n for channel n.
    ///
    /// # Errors
    /// [`DeviceError`] as the mailbox answered.
    fn dma_channels(&mut self) -> Result<u32, DeviceError>;
    /// The address that the board's maker has given to its Ethernet interface.
    ///
    /// # Errors
    /// [`DeviceError`] as the mailbox answered; [`DeviceError::Malformed`] if no interface may have it.
    fn mac_address(&mut self) -> Result<MacAddress, DeviceError>;
}

/// Prints with `core::fmt` on a serial port by waiting for room: for the boot log and for last words.
#[derive(Debug)]
pub struct Polled<'s, S>(pub &'s mut S);

impl<S: Serial> Polled<'_, S> {
    /// Tries for room before a byte is dropped: more than one character time at 115,200 baud
    /// (87 µs) on a core that polls a device register in no less than 10 ns.
    const TRIES: u32 = 1_000_000;

    fn send(&mut self, byte: u8) {
        for _ in 0..Self::TRIES {
            if self.0.try_send(byte) {
                return;
            }
            core::hint::spin_loop();
        }
    }
}

impl<S: Serial> fmt::Write for Polled<'_, S> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.send(b'\r');
            }
            self.send(byte);
        }
        Ok(())
    }
}

/// A clock for drivers that wait for hardware without stopping the processor.
pub trait Clock {
    /// Microseconds since some moment that stays the same; never goes back.
    fn microseconds(&self) -> u64;
}

/// The address of an Ethernet interface, first byte on the wire first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Whether it may be one interface's address: not a group's, and not zero.
    pub fn is_usable(&self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Bytes of the shortest frame that may be sent: two addresses and a type. What is shorter on the wire
/// than Ethernet allows, the device fills up.
pub const LEAST_FRAME: usize = 14;
/// Bytes of the longest frame, without its check sequence (IEEE 802.3, 3.2.7).
pub const MOST_FRAME: usize = 1514;

/// How an interface stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is no device, or it is not set up.
    Absent,
    /// The device works, its cable has no partner.
    Down,
    /// Frames can go out and come in.
    Up,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// All places for frames are in use. One is free after a transfer ends.
    Full,
    /// The frame is shorter than [`LEAST_FRAME`] or longer than [`MOST_FRAME`].
    Length,
    /// The link is not up.
    Down,
}

/// Frames on their way through an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Taken and not sent.
    pub sending: usize,
    /// How many may be, at most.
    pub sending_most: usize,
    /// Transfers that have arrived and hold frames that nobody has taken.
    pub received: usize,
    /// How many may be; with all in use nothing is received.
    pub received_most: usize,
}

/// What became of frames since the interface was made. Counts wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounters {
    /// Frames that the device took.
    pub sent: u64,
    /// Frames that were given to somebody.
    pub received: u64,
    /// Frames to be sent that were lost with a failed transfer, or with the device.
    pub lost: u64,
    /// Received pieces that were no frames: damaged, or a header that lies.
    pub malformed: u64,
    /// Transfers that failed.
    pub failed_transfers: u64,
    /// Times that the device was set up anew.
    pub restarts: u64,
}

/// An Ethernet interface: frames out, frames in, in the order in which they came.
///
/// Nothing here waits, allocates or locks. Whoever holds it calls [`Ethernet::serve`] when the interface interrupts,
/// and at the time that [`Ethernet::next_look`] names; between the two the processor has nothing to do for it.
///
/// A batch is a loop: over [`Ethernet::try_send`] until it says that there is no place, over [`Ethernet::try_receive`] until
/// it has nothing. One call of `serve` receives no more than [`InFlight::received_most`] allows, and what is received
/// afterwards can be held back with [`Ethernet::set_receiving`]: so whoever calls decides what share of a processor it gets.
pub trait Ethernet {
    /// The interface's own address; none while there is no device.
    fn address(&self) -> Option<MacAddress>;
    /// How it stands.
    fn link(&self) -> Link;
    /// Takes a frame for sending: the pieces one behind the other, copied once, into the device's memory. They may lie
    /// anywhere, and are not looked at again afterwards.
    ///
    /// # Errors
    /// [`SendError`], with which nothing was taken.
    fn try_send(&mut self, pieces: &[&[u8]], now: u64) -> Result<(), SendError>;
    /// Lends the oldest received frame, where the device has put it, and takes it off; whether there was
    /// one. What is to be kept is copied from there: with the call's end the place is the device's again.
    fn try_receive(&mut self, take: impl FnOnce(&[u8])) -> bool;
    /// Acknowledges the interface's interrupt and moves on all that waits for the device or for a time.
    /// `now` is in microseconds.
    fn serve(&mut self, now: u64);
    /// When to call [`Ethernet::serve`] again at the latest, in microseconds, without an interrupt. It may have passed:
    /// places that were taken off can then be armed.
    fn next_look(&self) -> Option<u64>;
    /// Arms transfers in, or arms no more. Off, what arrives waits in the device, or is dropped there; the one transfer that
    /// has been asked of it already still comes.
    fn set_receiving(&mut self, on: bool, now: u64);
    /// What is on its way.
    fn in_flight(&self) -> InFlight;
    /// What became of frames.
    fn counters(&self) -> FrameCounters;
    /// Sets the device up anew. Frames on their way may be lost.
    fn reset(&mut self, now: u64);
}
