//! One channel of the BCM2835 DMA engine, moving data between memory and a peripheral that paces it.
//!
//! Source: BCM2835 ARM Peripherals, section 4. A channel follows a chain of *control blocks* in memory, one for
//! each run of memory, and does nothing that is not in one:
//!
//! ```text
//!   word   0      1        2             3        4        5       6, 7
//!        | TI | source | destination | length | stride | next | reserved |     32 bytes, aligned to 32
//! ```
//!
//! # Whose memory it is
//! From [`DmaChannel::start`] on, until [`DmaChannel::look`] says that the channel is done or [`DmaChannel::stop`]
//! says that it has stopped, control blocks and runs are the channel's. A stop is three steps, each of which the
//! hardware has to answer: no further transfers; the last write has been received by memory; reset.
//!
//! Only channels 0 to 6 are used: the others are *lite*, with a length of 16 bits (section 4.5).

use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::register_bitfields;

use crate::block::{Direction, MOST_SEGMENTS};
use crate::bus::{Bus, ReadOnly, ReadWrite, RegisterAt};
use crate::dma::DmaMemory;

register_bitfields! {
    u32,
    CS [
        ACTIVE OFFSET(0) NUMBITS(1) [],
        /// The last control block is done. Cleared by writing 1, as is the next.
        END OFFSET(1) NUMBITS(1) [],
        INTERRUPT OFFSET(2) NUMBITS(1) [],
        /// The last write is on its way to memory.
        WRITES_OUTSTANDING OFFSET(6) NUMBITS(1) [],
        ERROR OFFSET(8) NUMBITS(1) [],
        PRIORITY OFFSET(16) NUMBITS(4) [],
        PANIC_PRIORITY OFFSET(20) NUMBITS(4) [],
        /// END only when memory has answered all writes.
        WAIT_FOR_WRITES OFFSET(28) NUMBITS(1) [],
        RESET OFFSET(31) NUMBITS(1) [],
    ],
    TI [
        /// A write is answered before the next one.
        WAIT_RESPONSE OFFSET(3) NUMBITS(1) [],
        DESTINATION_INCREMENT OFFSET(4) NUMBITS(1) [],
        DESTINATION_DREQ OFFSET(6) NUMBITS(1) [],
        SOURCE_INCREMENT OFFSET(8) NUMBITS(1) [],
        SOURCE_DREQ OFFSET(10) NUMBITS(1) [],
        /// Which peripheral paces the transfer.
        PERIPHERAL OFFSET(16) NUMBITS(5) [],
        NO_WIDE_BURSTS OFFSET(26) NUMBITS(1) [],
    ],
    DEBUG [
        /// Cleared by writing 1, all three.
        LAST_NOT_SET OFFSET(0) NUMBITS(1) [],
        FIFO OFFSET(1) NUMBITS(1) [],
        READ OFFSET(2) NUMBITS(1) [],
    ],
}

/// Lets channel n work, bit n.
const ENABLE: RegisterAt<ReadWrite> = RegisterAt::new(0xff0);
/// Bytes of registers from one channel to the next.
const CHANNEL_BYTES: usize = 0x100;
/// How urgent transfers are: as usual for devices that wait.
const PRIORITY: u32 = 8;

/// Bytes of a control block.
const BLOCK: usize = 32;
/// Bytes of memory that a channel needs for its control blocks.
pub const MEMORY_BYTES: usize = MOST_SEGMENTS * BLOCK;

/// A channel that moves memory to any place and has lengths of 30 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelNumber(u8);

impl ChannelNumber {
    /// How many such channels there are.
    pub const COUNT: u8 = 7;

    /// The lowest of these that is in a set, bit n for channel n, of channels that the firmware leaves to us.
    pub fn lowest_of(mask: u32) -> Option<Self> {
        let lowest = mask.trailing_zeros() as u8;
        (lowest < Self::COUNT).then_some(Self(lowest))
    }

    /// Its number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// What paces the data and where it comes out.
#[derive(Clone, Copy, Debug)]
pub struct Peripheral {
    /// Bus address of its data register.
    pub data: u32,
    /// Its number among requests (section 4.2.1.3).
    pub request: u8,
}

/// How a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// It goes on.
    Active,
    /// All is moved, and memory has answered.
    Done,
    /// The channel says that something is wrong. It must be stopped.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    Paused,
    Reset,
}

/// A channel of the engine behind `bus`, whose window begins at channel 0.
#[derive(Debug)]
pub struct DmaChannel<B, D> {
    bus: B,
    number: u8,
    blocks: D,
    stopping: Stopping,
}

impl<B: Bus, D: DmaMemory> DmaChannel<B, D> {
    /// Takes a channel over, with memory for its control blocks: none if that is less than [`MEMORY_BYTES`].
    /// Whatever the channel did before is stopped by the first [`DmaChannel::stop`].
    pub fn new(bus: B, number: ChannelNumber, blocks: D) -> Option<Self> {
        (blocks.len() >= MEMORY_BYTES).then_some(Self {
            bus,
            number: number.get(),
            blocks,
            stopping: Stopping::No,
        })
    }

    const fn at(&self, offset: usize) -> usize {
        self.number as usize * CHANNEL_BYTES + offset
    }

    const fn control(&self) -> RegisterAt<ReadWrite, CS::Register> {
        RegisterAt::new(self.at(0x00))
    }

    const fn block_address(&self) -> RegisterAt<ReadWrite> {
        RegisterAt::new(self.at(0x04))
    }

    const fn length(&self) -> RegisterAt<ReadOnly> {
        RegisterAt::new(self.at(0x14))
    }

    const fn debug(&self) -> RegisterAt<ReadWrite, DEBUG::Register> {
        RegisterAt::new(self.at(0x20))
    }

    /// Writes the chain for these runs of memory, by bus address and length in bytes. The channel must not be at
    /// work. Whether there was room for all, and any.
    pub fn prepare(
        &mut self,
        direction: Direction,
        peripheral: Peripheral,
        runs: impl ExactSizeIterator<Item = (u32, u32)>,
    ) -> bool {
        let count = runs.len();
        if count == 0 || count > MOST_SEGMENTS {
            return false;
        }
        let base = self.blocks.bus_address();
        let pace = TI::WAIT_RESPONSE::SET
            + TI::NO_WIDE_BURSTS::SET
            + TI::PERIPHERAL.val(peripheral.request.into());
        let to = self.blocks.bytes_mut(0..count * BLOCK);
        for (index, ((address, bytes), block)) in runs.zip(to.chunks_exact_mut(BLOCK)).enumerate() {
            let (ti, source, destination) = match direction {
                Direction::Read => (
                    pace + TI::SOURCE_DREQ::SET + TI::DESTINATION_INCREMENT::SET,
                    peripheral.data,
                    address,
                ),
                Direction::Write => (
                    pace + TI::DESTINATION_DREQ::SET + TI::SOURCE_INCREMENT::SET,
                    address,
                    peripheral.data,
                ),
            };
            let next = match index + 1 < count {
                true => base.wrapping_add(((index + 1) * BLOCK) as u32),
                false => 0,
            };
            let words = [ti.value, source, destination, bytes, 0, next, 0, 0];
            for (word, place) in words.iter().zip(block.chunks_exact_mut(4)) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        }
        let lines = (count * BLOCK).next_multiple_of(crate::dma::LINE);
        self.blocks.clean(0..lines);
        true
    }

    /// Sets the channel going on the chain that was prepared.
    pub fn start(&mut self) {
        self.stopping = Stopping::No;
        let enabled = ENABLE.on(&self.bus).get();
        if enabled >> self.number & 1 == 0 {
            ENABLE.on(&self.bus).set(enabled | 1 << self.number);
        }
        let first = self.blocks.bus_address();
        self.block_address().on(&self.bus).set(first);
        self.control().on(&self.bus).write(
            CS::ACTIVE::SET
                + CS::END::SET
                + CS::INTERRUPT::SET
                + CS::WAIT_FOR_WRITES::SET
                + CS::PRIORITY.val(PRIORITY)
                + CS::PANIC_PRIORITY.val(PRIORITY),
        );
    }

    /// How the transfer stands.
    pub fn look(&self) -> Transfer {
        let state = self.control().on(&self.bus).extract();
        match state.is_set(CS::ERROR) {
            true => Transfer::Failed,
            false if state.is_set(CS::ACTIVE) || state.is_set(CS::WRITES_OUTSTANDING) => {
                Transfer::Active
            }
            // Neither at work nor at the end: somebody has taken it away.
            false if !state.is_set(CS::END) => Transfer::Failed,
            false => Transfer::Done,
        }
    }

    /// Something that changes while data moves.
    pub fn progress(&self) -> u64 {
        let block = u64::from(self.block_address().on(&self.bus).get());
        block << 32 | u64::from(self.length().on(&self.bus).get())
    }

    /// Stops the channel by as many steps as the hardware has answered; whether it has stopped. Goes on with the
    /// next call.
    pub fn stop(&mut self) -> bool {
        if self.stopping == Stopping::No {
            self.control().on(&self.bus).modify(CS::ACTIVE::CLEAR);
            self.stopping = Stopping::Paused;
        }
        if self.stopping == Stopping::Paused {
            let state = self.control().on(&self.bus).extract();
            if state.is_set(CS::ACTIVE) || state.is_set(CS::WRITES_OUTSTANDING) {
                return false;
            }
            self.control().on(&self.bus).write(CS::RESET::SET);
            self.stopping = Stopping::Reset;
        }
        let state = self.control().on(&self.bus).extract();
        if state.is_set(CS::RESET) || state.is_set(CS::ACTIVE) {
            return false;
        }
        self.debug()
            .on(&self.bus)
            .write(DEBUG::LAST_NOT_SET::SET + DEBUG::FIFO::SET + DEBUG::READ::SET);
        self.stopping = Stopping::No;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_channels_are_chosen() {
        let lowest = |mask| ChannelNumber::lowest_of(mask).map(ChannelNumber::get);
        // What the emulator leaves, and what the board's firmware does.
        assert_eq!(lowest(0x3c), Some(2));
        assert_eq!(lowest(0x7f35), Some(0));
        assert_eq!(lowest(0x40), Some(6));
        assert_eq!(lowest(0x7f80), None);
        assert_eq!(lowest(0), None);
    }
}
