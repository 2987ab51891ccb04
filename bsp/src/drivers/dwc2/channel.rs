//! Channels: transfers, their errors, and the proof that they are over.
//!
//! ```text
//!            start                    halted
//!    Idle ----------> Running --------------------------> (ended) -> Idle
//!                      |   ^  |  transaction error, and
//!                      |   '--'  less than three in a row
//!         late, or stop|
//!                      v       halted
//!                   Halting ----------------------------> (ended) -> Idle
//!                      | not halted in time
//!                      v
//!                    Stuck: only a reset of the controller helps
//! ```
//!
//! **A buffer is the controller's until the transfer has ended, and after a stop for longer.** Telling a
//! channel to stop is a request: it may be in the middle of a packet, and says "halted" when it is not.
//! The emulator says "halted" at once and still goes on trying a transfer whose device had nothing to say,
//! with the channel's memory register as it stands then. So a transfer that was stopped leaves its channel
//! [`unsettled`](super::Dwc2::is_unsettled) until another one on the same channel has gone well or failed by
//! itself; until then its memory must not be given to anybody, and may be used for the channel's next
//! transfer.
//!
//! Data toggles are the controller's: what a transfer left is in [`Ending::next`], for the next one of the
//! same endpoint. In this mode the controller itself repeats what a device was not ready for (NAK), but for
//! interrupt endpoints, where that ends the transfer.

use tock_registers::LocalRegisterCopy;
use tock_registers::interfaces::{Readable, Writeable};

use super::pipe::{self, Pipe, Run};
use super::registers::{ChannelRegisters, HCCHAR, HCINT, HCTSIZ, HFNUM};
use super::{CHANNELS, Dwc2};
use crate::bus::Bus;
use crate::drivers::usb::descriptors::{Direction, EndpointKind};

/// Most bytes of one transfer.
pub const MOST_BYTES: u32 = 65_536;
/// Most packets of one transfer.
pub const MOST_PACKETS: u32 = 1023;
/// How often a packet may fail on the wire, in a row, before the transfer has (USB 2.0, 10.2.6).
const TRIES: u8 = 3;
/// How long a channel may take to halt, in microseconds. It ends the packet that it is at, which is less
/// than a frame.
pub const HALT_PATIENCE: u64 = 20_000;

/// Which data packet comes next, so that one that was repeated is known for it (USB 2.0, 8.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pid {
    /// Even.
    #[default]
    Data0,
    /// Odd.
    Data1,
    /// The packet that begins a control transfer.
    Setup,
}

/// A transfer to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Address of the device, at most 127.
    pub device: u8,
    /// Number of its endpoint, at most 15.
    pub endpoint: u8,
    /// Kind of the endpoint; isochronous ones are refused.
    pub kind: EndpointKind,
    /// Which way.
    pub direction: Direction,
    /// Whether the device is a low-speed one.
    pub low_speed: bool,
    /// Most bytes of a packet, 1 to 2047.
    pub max_packet: u16,
    /// The first packet's mark.
    pub pid: Pid,
    /// Where the controller sees the memory: a multiple of 4.
    pub memory: u32,
    /// Bytes to send, or to receive at most. To receive, a multiple of `max_packet`: the controller takes
    /// whole packets.
    pub length: u32,
    /// When to give up, in microseconds; none for a transfer that may wait for ever.
    pub deadline: Option<u64>,
}

/// Why a transfer did not go well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// The endpoint refuses until its halt is cleared; endpoint 0 refuses this one request.
    Stall,
    /// An interrupt endpoint has nothing to say.
    Nothing,
    /// Packets were damaged or unanswered, each time that they were tried.
    Transaction,
    /// The device sent more than there was room for.
    Babble,
    /// The controller could not reach memory.
    Bus,
    /// It was not over in time and was stopped.
    TimedOut,
    /// Somebody stopped it.
    Stopped,
    /// The channel does not halt: the controller must be reset.
    Stuck,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether it went well: all sent; or all received, or as much as the device had.
    pub result: Result<(), TransferError>,
    /// Bytes that arrived, on whichever side.
    pub bytes: u32,
    /// The mark of the endpoint's next packet.
    pub next: Pid,
}

/// What a channel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing.
    Idle,
    /// A transfer.
    Running,
    /// This transfer has ended; told once.
    Ended(Ending),
}

/// A request that the channel cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Running,
    Halting { until: u64, why: TransferError },
    Stuck,
}

/// A channel as its driver knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) state: State,
    pipe: Pipe,
    run: Run,
    /// Bytes done by earlier tries of this transfer.
    done: u32,
    /// The first packet's mark of this try.
    pid: Pid,
    /// Bytes and packets that this try was told to do.
    bytes: u32,
    packets: u32,
    failures: u8,
    pub(super) unsettled: bool,
}

impl Channel {
    pub(super) const IDLE: Self = Self {
        state: State::Idle,
        pipe: Pipe::NONE,
        run: Run {
            pid: Pid::Data0,
            memory: 0,
            length: 0,
            deadline: u64::MAX,
        },
        pid: Pid::Data0,
        done: 0,
        bytes: 0,
        packets: 0,
        failures: 0,
        unsettled: false,
    };

    /// It works on a transfer from now on.
    #[inline]
    pub(super) fn started(&mut self, pipe: Pipe, run: Run) {
        self.state = State::Running;
        self.pipe = pipe;
        self.run = run;
        self.done = 0;
        self.failures = 0;
    }

    /// A transfer in is over, with `left` as the controller counts; what has arrived in all, and the mark that comes next.
    #[inline(always)]
    pub(super) fn ended_well(
        &mut self,
        left: LocalRegisterCopy<u32, HCTSIZ::Register>,
    ) -> (u32, Pid) {
        self.state = State::Idle;
        self.unsettled = false;
        let bytes = self.bytes.saturating_sub(left.read(HCTSIZ::BYTES));
        (self.done + bytes, next_mark(left))
    }

    /// It tries to move so many bytes, which are so many packets.
    #[inline]
    pub(super) fn tries(&mut self, bytes: u32, packets: u32, pid: Pid) {
        self.bytes = bytes;
        self.packets = packets;
        self.pid = pid;
    }

    /// What a reset of the controller does to it. Its last transfer's memory stays in doubt if it did not
    /// end by itself.
    pub(super) fn forget(&mut self) {
        self.unsettled |= self.state != State::Idle;
        self.state = State::Idle;
    }
}

impl<B: Bus> Dwc2<B> {
    /// Begins a transfer on a channel. Its end interrupts, and [`Dwc2::poll`] tells of it; small ones may
    /// have ended already.
    ///
    /// # Errors
    /// [`Refused`]: the channel is not idle, or there is no such transfer.
    pub fn start(&mut self, channel: usize, transfer: Transfer) -> Result<(), Refused> {
        let pipe = Pipe::of(&transfer).ok_or(Refused)?;
        let run = Run {
            pid: transfer.pid,
            memory: transfer.memory,
            length: transfer.length,
            deadline: transfer.deadline.unwrap_or(u64::MAX),
        };
        self.begin(channel, pipe, run)
    }

    /// The same over a pipe that was made before.
    ///
    /// # Errors
    /// As [`Dwc2::start`].
    #[inline]
    pub fn begin(&mut self, channel: usize, pipe: Pipe, run: Run) -> Result<(), Refused> {
        let Some(own) = self.channels.get_mut(channel) else {
            return Err(Refused);
        };
        if own.state != State::Idle || !pipe.can(&run) {
            return Err(Refused);
        }
        own.started(pipe, run);
        if own.unsettled {
            // What was stopped may have said something since.
            self.acknowledge(channel);
        }
        self.program(channel, run.pid);
        Ok(())
    }

    /// Sets a channel going with what is left of its transfer.
    #[inline]
    fn program(&mut self, number: usize, pid: Pid) {
        let Some(channel) = self.channels.get_mut(number) else {
            return;
        };
        let pipe = channel.pipe;
        let bytes = channel.run.length.saturating_sub(channel.done);
        let packets = pipe.packets(bytes);
        channel.tries(bytes, packets, pid);
        let bus = &self.bus;
        let mut character = pipe.character();
        if pipe.is_periodic() {
            // A periodic transaction goes out in the next frame, so it is for the other parity than this one's.
            let odd = HFNUM.on(bus).read(HFNUM::FRAME) & 1 == 0;
            character = HCCHAR::ODD_FRAME.val(odd.into()).modify(character);
        }
        let registers = ChannelRegisters::of(number);
        registers
            .size()
            .on(bus)
            .set(pipe::size(bytes, packets, pid));
        let memory = channel.run.memory.wrapping_add(channel.done);
        registers.memory().on(bus).set(memory);
        registers.character().on(bus).set(character);
    }

    /// Looks at a channel, once. Tells the end of a transfer, repeats what may be repeated, and stops what is
    /// late.
    #[inline(always)]
    pub fn poll(&mut self, channel: usize, now: u64) -> Progress {
        let Some(own) = self.channels.get_mut(channel) else {
            return Progress::Idle;
        };
        match own.state {
            State::Idle => Progress::Idle,
            State::Running => self.poll_running(channel, now),
            State::Halting { until, why } => self.poll_halting(channel, now, until, why),
            State::Stuck => Progress::Running,
        }
    }

    #[inline(always)]
    fn poll_running(&mut self, number: usize, now: u64) -> Progress {
        let events = ChannelRegisters::of(number)
            .events()
            .on(&self.bus)
            .extract();
        if events.matches_all(HCINT::HALTED::SET + HCINT::COMPLETE::SET) {
            return self.went_well(number);
        }
        let deadline = self.channels.get(number).map(|own| own.run.deadline);
        if !events.is_set(HCINT::HALTED) && deadline.is_none_or(|deadline| now < deadline) {
            return Progress::Running;
        }
        self.failed_or_late(number, events.get(), now)
    }

    /// A channel has halted before its transfer was complete, or has not halted in time.
    #[cold]
    #[inline(never)]
    fn failed_or_late(&mut self, number: usize, events: u32, now: u64) -> Progress {
        if HCINT::HALTED.is_set(events) {
            return self.halted(number, events);
        }
        self.halt(number, now, TransferError::TimedOut);
        // It may have halted at once.
        self.poll_halting(number, now, now + HALT_PATIENCE, TransferError::TimedOut)
    }

    /// Asks a channel to stop. Its transfer ends with [`TransferError::Stopped`], or as it does by itself
    /// before.
    pub fn stop(&mut self, channel: usize, now: u64) {
        let running = self.channels.get(channel).map(|own| own.state) == Some(State::Running);
        let events = ChannelRegisters::of(channel).events();
        // One that has halted by itself must not be told to, and its end is as good.
        if running && !events.on(&self.bus).is_set(HCINT::HALTED) {
            self.halt(channel, now, TransferError::Stopped);
        }
    }

    fn halt(&mut self, number: usize, now: u64, why: TransferError) {
        let Some(channel) = self.channels.get_mut(number) else {
            return;
        };
        let until = now.saturating_add(HALT_PATIENCE);
        channel.state = State::Halting { until, why };
        let character = ChannelRegisters::of(number).character().on(&self.bus);
        // Enable and disable in one: that is how a channel that works is told.
        let told = HCCHAR::DISABLE::SET + HCCHAR::ENABLE::SET;
        character.set(told.modify(character.get()));
    }

    #[cold]
    #[inline(never)]
    fn poll_halting(
        &mut self,
        number: usize,
        now: u64,
        until: u64,
        why: TransferError,
    ) -> Progress {
        let registers = ChannelRegisters::of(number);
        let events = registers.events().on(&self.bus).extract();
        let over = HCINT::HALTED::SET + HCINT::COMPLETE::SET;
        if events.matches_all(over) {
            // It was faster than the stop.
            return self.went_well(number);
        }
        if events.is_set(HCINT::HALTED) {
            let (bytes, next) = self.moved(number);
            return self.ended(number, Err(why), bytes, next);
        }
        if now < until {
            return Progress::Running;
        }
        let Some(channel) = self.channels.get_mut(number) else {
            return Progress::Idle;
        };
        channel.state = State::Stuck;
        let next = channel.run.pid;
        Progress::Ended(Ending {
            result: Err(TransferError::Stuck),
            bytes: 0,
            next,
        })
    }

    /// What this try has moved, and the mark that comes next. The counts are the controller's own, but what
    /// they give is never more than was asked for.
    #[inline(always)]
    fn moved(&self, number: usize) -> (u32, Pid) {
        let Some(channel) = self.channels.get(number) else {
            return (0, Pid::Data0);
        };
        let left = ChannelRegisters::of(number).size().on(&self.bus).extract();
        let bytes = match channel.pipe.direction() {
            Direction::In => channel.bytes.saturating_sub(left.read(HCTSIZ::BYTES)),
            // The count of bytes runs ahead of what the device has taken; that of packets does not.
            Direction::Out => {
                let packets = channel.packets.saturating_sub(left.read(HCTSIZ::PACKETS));
                let max_packet = channel.pipe.max_packet();
                packets.saturating_mul(max_packet).min(channel.bytes)
            }
        };
        (bytes, next_mark(left))
    }

    /// Ends a transfer of which all has arrived: what was sent, or what the device had. What was sent needs no
    /// counting, and its marks follow from that (USB 2.0, 8.6.1).
    #[inline(always)]
    fn went_well(&mut self, number: usize) -> Progress {
        let Some(channel) = self.channels.get(number) else {
            return Progress::Idle;
        };
        let (bytes, next) = match channel.pipe.direction() {
            Direction::Out => (channel.bytes, channel.pid.after(channel.packets)),
            Direction::In => self.moved(number),
        };
        self.ended(number, Ok(()), bytes, next)
    }

    /// Judges a channel that has halted by itself before its transfer was complete.
    fn halted(&mut self, number: usize, events: u32) -> Progress {
        let is = |bit: FieldOfEvents| bit.is_set(events);
        let (bytes, next) = self.moved(number);
        let result = if is(HCINT::STALL) {
            Err(TransferError::Stall)
        } else if is(HCINT::BABBLE) {
            Err(TransferError::Babble)
        } else if is(HCINT::BUS_ERROR) {
            Err(TransferError::Bus)
        } else if is(HCINT::NAK) && !is(HCINT::TRANSACTION_ERROR) && self.is_periodic(number) {
            Err(TransferError::Nothing)
        } else {
            return self.try_again(number, bytes, next);
        };
        self.ended(number, result, bytes, next)
    }

    fn is_periodic(&self, number: usize) -> bool {
        let channel = self.channels.get(number);
        channel.is_some_and(|own| own.pipe.is_periodic())
    }

    /// Repeats what is left after a damaged packet, a few times.
    fn try_again(&mut self, number: usize, bytes: u32, next: Pid) -> Progress {
        let Some(channel) = self.channels.get_mut(number) else {
            return Progress::Idle;
        };
        channel.failures = match bytes {
            0 => channel.failures + 1,
            _ => 1,
        };
        let stopped = channel.state != State::Running;
        // A device that ends a packet early ends the transfer; a controller that counts otherwise lies.
        let whole = bytes.is_multiple_of(channel.pipe.max_packet());
        let aligned = (channel.done + bytes).is_multiple_of(4);
        if channel.failures >= TRIES || stopped || !whole || !aligned {
            return self.ended(number, Err(TransferError::Transaction), bytes, next);
        }
        channel.done += bytes;
        let pid = match channel.run.pid {
            Pid::Setup => Pid::Setup,
            _ => next,
        };
        self.acknowledge(number);
        self.program(number, pid);
        Progress::Running
    }

    #[inline]
    pub(super) fn acknowledge(&mut self, number: usize) {
        ChannelRegisters::of(number)
            .events()
            .on(&self.bus)
            .set(u32::MAX);
    }

    #[inline(always)]
    fn ended(
        &mut self,
        number: usize,
        result: Result<(), TransferError>,
        bytes: u32,
        next: Pid,
    ) -> Progress {
        self.acknowledge(number);
        let Some(channel) = self.channels.get_mut(number) else {
            return Progress::Idle;
        };
        channel.state = State::Idle;
        channel.unsettled = matches!(
            result,
            Err(TransferError::TimedOut | TransferError::Stopped)
        );
        Progress::Ended(Ending {
            result,
            bytes: channel.done + bytes,
            next,
        })
    }

    /// Whether the controller may still touch the memory of the channel's last transfer, though that has
    /// ended: it was stopped, and none has ended by itself since.
    pub fn is_unsettled(&self, channel: usize) -> bool {
        self.channels.get(channel).is_none_or(|own| own.unsettled)
    }

    /// Acknowledges what channels without a transfer say, of `channels` as in [`Pending`]: one that was
    /// stopped may speak again, and would interrupt for ever.
    ///
    /// [`Pending`]: super::Pending
    #[inline]
    pub fn hush(&mut self, channels: u32) {
        let mut left = channels & ((1 << CHANNELS) - 1);
        while left != 0 {
            let number = left.trailing_zeros() as usize;
            left &= left - 1;
            let state = self.channels.get(number).map(|own| own.state);
            if matches!(state, Some(State::Idle | State::Stuck)) {
                self.acknowledge(number);
            }
        }
    }

    /// Asks all channels to stop; whether none is at work any more. One that does not halt in time counts
    /// as stopped, since a reset of the controller, which this is for, is what helps it.
    pub fn stop_all(&mut self, now: u64) -> bool {
        let mut quiet = true;
        for channel in 0..CHANNELS {
            self.stop(channel, now);
            self.poll(channel, now);
            let state = self.channels.get(channel).map(|own| own.state);
            quiet &= matches!(state, Some(State::Idle | State::Stuck) | None);
        }
        quiet
    }
}

/// The mark that a channel was left with.
#[inline(always)]
fn next_mark(left: LocalRegisterCopy<u32, HCTSIZ::Register>) -> Pid {
    match left.matches_all(HCTSIZ::PID::Data1) {
        true => Pid::Data1,
        false => Pid::Data0,
    }
}

/// A bit of a channel's events.
type FieldOfEvents = tock_registers::fields::Field<u32, HCINT::Register>;
