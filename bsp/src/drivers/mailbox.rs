//! The BCM2835 mailbox and its property channel, by which the firmware answers questions.
//!
//! Sources: the Raspberry Pi firmware's "Mailboxes", "Accessing mailboxes" and "Mailbox property
//! interface" pages. A question is a message in memory; what goes through the mailbox is its address
//! (a multiple of 16) with the channel in the low four bits, and the same word comes back:
//!
//! ```text
//!  word  0       1         2     3             4                       5...        last
//!       size | request | tag | room in bytes | request / 2^31+length | values ... | 0
//!                0 -> 0x80000000 or 0x80000001
//! ```
//!
//! The firmware is not trusted further than necessary: waits are bounded, words that answer somebody
//! else are dropped, and an answer counts only if the message says "done", still has our tag, and
//! the tag says that it was answered, with a length that fits the room it was given.

#[cfg(test)]
mod tests;

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_bitfields;

use crate::bus::{Bus, DmaBuffer, ReadOnly, RegisterAt, WriteOnly};
use crate::traits::{DeviceError, Firmware, MacAddress, MemoryRange};

register_bitfields! {
    u32,
    STATUS [
        EMPTY OFFSET(30) NUMBITS(1) [],
        FULL OFFSET(31) NUMBITS(1) [],
    ],
}

/// Mailbox 0 brings words from the firmware, mailbox 1 takes words to it.
const READ: RegisterAt<ReadOnly> = RegisterAt::new(0x00);
const READ_STATUS: RegisterAt<ReadOnly, STATUS::Register> = RegisterAt::new(0x18);
const WRITE: RegisterAt<WriteOnly> = RegisterAt::new(0x20);
const WRITE_STATUS: RegisterAt<ReadOnly, STATUS::Register> = RegisterAt::new(0x38);

const PROPERTY_CHANNEL: u32 = 8;
const CHANNEL_MASK: u32 = 0xf;

/// Looks at a mailbox before the firmware is given up. It answers within milliseconds, but may be
/// busy starting other things; a look takes no less than 10 ns, so this is 10 ms or more.
const TRIES: u32 = 1_000_000;

/// Second word of a message.
const REQUEST: u32 = 0;
const DONE: u32 = 0x8000_0000;
const FAILED: u32 = 0x8000_0001;

/// Set by the firmware in the length word of a tag that it knows.
const ANSWERED: u32 = 0x8000_0000;

/// Words of a message before the values of its one tag, and the end tag after them.
const VALUES: usize = 5;
const FRAME: usize = VALUES + 1;

/// What can be asked: tags of the property interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Tag {
    BoardRevision = 0x1_0002,
    MacAddress = 0x1_0003,
    ArmMemory = 0x1_0005,
    SetPower = 0x2_8001,
    ClockRate = 0x3_0002,
    CommandLine = 0x5_0001,
    DmaChannels = 0x6_0001,
}

/// The clocks of the card's controller and of the PL011, among those that [`Tag::ClockRate`] knows.
const CARD_CLOCK: u32 = 1;
const UART_CLOCK: u32 = 2;

/// The USB controller, among the devices that [`Tag::SetPower`] knows.
const USB_POWER: u32 = 3;
/// Power on; and the answer is to come when it is. In the answer the second says that there is no such
/// device.
const POWER_ON: u32 = 1;
const POWER_WAIT: u32 = 2;

/// The mailbox behind `bus`, whose window begins at mailbox 0, with `buffer` for its messages.
///
/// A buffer of at least 8 words carries every question but the command line, for which it limits the
/// length: 6 words are overhead.
#[derive(Debug)]
pub struct Mailbox<B, D> {
    bus: B,
    buffer: D,
}

impl<B: Bus, D: DmaBuffer> Mailbox<B, D> {
    /// Takes the mailbox over, as it is.
    pub const fn new(bus: B, buffer: D) -> Self {
        Self { bus, buffer }
    }

    /// Asks for `tag` with `request` as its first values and room for `room` words of values, which
    /// are then in the buffer from word [`VALUES`]. Returns how many bytes of them count.
    ///
    /// # Errors
    /// [`DeviceError::Absent`] for a tag that the firmware does not know, [`DeviceError::Refused`] if
    /// it failed or the answer does not fit, [`DeviceError::Malformed`] for an answer to something
    /// else, [`DeviceError::TimedOut`] for none.
    fn ask(&mut self, tag: Tag, request: &[u32], room: usize) -> Result<usize, DeviceError> {
        let address = self.buffer.bus_address();
        let room = room.max(request.len());
        let (Some(words), Some(room_bytes)) = (room.checked_add(FRAME), room.checked_mul(4)) else {
            return Err(DeviceError::Refused);
        };
        if words > self.buffer.len() || address & CHANNEL_MASK != 0 {
            return Err(DeviceError::Refused);
        }
        let header = [
            (words * 4) as u32,
            REQUEST,
            tag as u32,
            room_bytes as u32,
            0,
        ];
        let values = request.iter().chain(core::iter::repeat(&0)).take(room);
        for (index, word) in header.iter().chain(values).chain([&0]).enumerate() {
            self.buffer.write(index, *word);
        }
        self.exchange(address | PROPERTY_CHANNEL)?;
        self.check(tag, room_bytes)
    }

    /// Sends `word` and waits until it comes back with the message answered.
    fn exchange(&mut self, word: u32) -> Result<(), DeviceError> {
        self.buffer.hand_over();
        self.poll(|mailbox| {
            // A firmware that waits for room for its own words would not take ours.
            mailbox.next_word();
            !WRITE_STATUS.on(&mailbox.bus).is_set(STATUS::FULL)
        })?;
        WRITE.on(&self.bus).set(word);
        self.poll(|mailbox| {
            if mailbox.next_word() != Some(word) {
                return false;
            }
            mailbox.buffer.take_back();
            // Unanswered, it was the late answer to a question that was given up.
            mailbox.buffer.read(1) != REQUEST
        })
    }

    /// Tries until `done`, or gives up.
    fn poll(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), DeviceError> {
        for _ in 0..TRIES {
            if done(self) {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(DeviceError::TimedOut)
    }

    /// A word from the firmware, if there is one.
    fn next_word(&mut self) -> Option<u32> {
        if READ_STATUS.on(&self.bus).is_set(STATUS::EMPTY) {
            return None;
        }
        Some(READ.on(&self.bus).get())
    }

    /// Judges the answer in the buffer.
    fn check(&self, tag: Tag, room_bytes: usize) -> Result<usize, DeviceError> {
        match self.buffer.read(1) {
            DONE => {}
            FAILED => return Err(DeviceError::Refused),
            _ => return Err(DeviceError::Malformed),
        }
        if self.buffer.read(2) != tag as u32 {
            return Err(DeviceError::Malformed);
        }
        let length = self.buffer.read(4);
        if length & ANSWERED == 0 {
            return Err(DeviceError::Absent);
        }
        // A longer answer is one that the firmware had no room to write.
        let length = (length & !ANSWERED) as usize;
        if length > room_bytes {
            return Err(DeviceError::Refused);
        }
        Ok(length)
    }

    fn clock_rate(&mut self, clock: u32) -> Result<u32, DeviceError> {
        match self.ask_words(Tag::ClockRate, &[clock])? {
            // A clock that does not exist is said to stand still.
            [answered, 0] if answered == clock => Err(DeviceError::Absent),
            [answered, hertz] if answered == clock => Ok(hertz),
            _ => Err(DeviceError::Malformed),
        }
    }

    /// Asks for a tag whose answer is `N` words.
    fn ask_words<const N: usize>(
        &mut self,
        tag: Tag,
        request: &[u32],
    ) -> Result<[u32; N], DeviceError> {
        if self.ask(tag, request, N)? != N * 4 {
            return Err(DeviceError::Malformed);
        }
        Ok(core::array::from_fn(|i| self.buffer.read(VALUES + i)))
    }
}

impl<B: Bus, D: DmaBuffer> Firmware for Mailbox<B, D> {
    fn arm_memory(&mut self) -> Result<MemoryRange, DeviceError> {
        let [start, length] = self.ask_words(Tag::ArmMemory, &[])?;
        Ok(MemoryRange {
            start: start.into(),
            length: length.into(),
        })
    }

    fn board_revision(&mut self) -> Result<u32, DeviceError> {
        let [revision] = self.ask_words(Tag::BoardRevision, &[])?;
        Ok(revision)
    }

    fn serial_clock(&mut self) -> Result<u32, DeviceError> {
        self.clock_rate(UART_CLOCK)
    }

    fn card_clock(&mut self) -> Result<u32, DeviceError> {
        self.clock_rate(CARD_CLOCK)
    }

    fn dma_channels(&mut self) -> Result<u32, DeviceError> {
        let [mask] = self.ask_words(Tag::DmaChannels, &[])?;
        Ok(mask)
    }

    /// [`DeviceError::Refused`] also if the line is longer than the buffer: the firmware then gives
    /// none of it.
    fn command_line(&mut self, into: &mut [u8]) -> Result<usize, DeviceError> {
        let room = self.buffer.len().saturating_sub(FRAME);
        let length = self.ask(Tag::CommandLine, &[], room)?;
        let text = (0..length)
            .map(|i| self.buffer.read(VALUES + i / 4).to_le_bytes()[i % 4])
            .take_while(|byte| *byte != 0);
        let mut copied = 0;
        for (to, byte) in into.iter_mut().zip(text) {
            *to = byte;
            copied += 1;
        }
        // Whether the line is empty is seen in the buffer, since `into` may be.
        if length == 0 || self.buffer.read(VALUES).to_le_bytes()[0] == 0 {
            return Err(DeviceError::Absent);
        }
        Ok(copied)
    }

    fn power_usb(&mut self) -> Result<(), DeviceError> {
        match self.ask_words(Tag::SetPower, &[USB_POWER, POWER_ON | POWER_WAIT])? {
            [USB_POWER, state] if state & POWER_WAIT != 0 => Err(DeviceError::Absent),
            [USB_POWER, state] if state & POWER_ON != 0 => Ok(()),
            [USB_POWER, _] => Err(DeviceError::Refused),
            _ => Err(DeviceError::Malformed),
        }
    }

    fn mac_address(&mut self) -> Result<MacAddress, DeviceError> {
        // Six bytes, in a buffer of whole words.
        if self.ask(Tag::MacAddress, &[], 2)? != 6 {
            return Err(DeviceError::Malformed);
        }
        let [a, b, c, d] = self.buffer.read(VALUES).to_le_bytes();
        let [e, f, ..] = self.buffer.read(VALUES + 1).to_le_bytes();
        let address = MacAddress([a, b, c, d, e, f]);
        if !address.is_usable() {
            return Err(DeviceError::Malformed);
        }
        Ok(address)
    }
}
