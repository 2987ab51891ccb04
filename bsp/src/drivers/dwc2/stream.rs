//! Frames' way over a channel: bulk pipes that are used again and again, for as much each time.
//!
//! Whatever can be checked once is checked when an [`Inlet`] or [`Outlet`] is made. What is left for each transfer is
//! three register writes, and for one that sends a look: the emulator's controller has done it by then. All else, failures
//! above all, is [`channel`](super::channel)'s.

use tock_registers::interfaces::{Readable, Writeable};

use super::Dwc2;
use super::channel::{MOST_BYTES, MOST_PACKETS, Pid, Refused, State};
use super::pipe::{self, Pipe, Run};
use super::registers::{ChannelRegisters, HCINT};
use crate::bus::Bus;
use crate::drivers::usb::descriptors::Direction;

/// A pipe that receives as much each time.
#[derive(Clone, Copy, Debug)]
pub struct Inlet {
    pipe: Pipe,
    length: u32,
    packets: u32,
}

/// A pipe that sends at most so much each time.
#[derive(Clone, Copy, Debug)]
pub struct Outlet {
    pipe: Pipe,
    most: u32,
}

/// What has become of a transfer out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It has gone well and is over; the endpoint's next packet has this mark.
    Well(Pid),
    /// It goes on, or has failed: [`Dwc2::poll`] will tell.
    Begun,
}

/// What has become of a transfer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It has gone well and is over: so many bytes; the endpoint's next packet has this mark.
    Well(u32, Pid),
    /// It goes on.
    Goes,
    /// Something else: [`Dwc2::poll`] will tell.
    Other,
}

impl Inlet {
    /// Receives as many whole packets as `room` bytes have room for; none if that is none or too many.
    pub fn new(pipe: Pipe, room: u32) -> Option<Self> {
        let packets = room.checked_div(pipe.max_packet())?;
        let length = packets * pipe.max_packet();
        let sane = pipe.direction() == Direction::In
            && !pipe.is_periodic()
            && (1..=MOST_PACKETS).contains(&packets)
            && length <= MOST_BYTES;
        sane.then_some(Self {
            pipe,
            length,
            packets,
        })
    }
}

impl Outlet {
    /// Sends up to `most` bytes at a time; none if that is too many.
    pub fn new(pipe: Pipe, most: u32) -> Option<Self> {
        let sane = pipe.direction() == Direction::Out
            && !pipe.is_periodic()
            && most <= MOST_BYTES
            && pipe.packets(most) <= MOST_PACKETS;
        sane.then_some(Self { pipe, most })
    }

    /// The pipe.
    #[inline(always)]
    pub fn pipe(&self) -> Pipe {
        self.pipe
    }
}

impl<B: Bus> Dwc2<B> {
    /// Begins to receive, to `memory`, a multiple of 4 as the controller sees it, for as long as it takes.
    /// [`Dwc2::poll`] tells of the end.
    ///
    /// # Errors
    /// [`Refused`]: the channel is not idle, or `memory` is no such multiple.
    #[inline(always)]
    pub fn arm(
        &mut self,
        channel: usize,
        inlet: &Inlet,
        pid: Pid,
        memory: u32,
    ) -> Result<(), Refused> {
        let Some(own) = self.channels.get_mut(channel) else {
            return Err(Refused);
        };
        if own.state != State::Idle || !memory.is_multiple_of(4) {
            return Err(Refused);
        }
        let Inlet {
            pipe,
            length,
            packets,
        } = *inlet;
        let run = Run {
            pid,
            memory,
            length,
            deadline: u64::MAX,
        };
        own.started(pipe, run);
        own.tries(length, packets, pid);
        if own.unsettled {
            // What was stopped may have said something since.
            self.acknowledge(channel);
        }
        let registers = ChannelRegisters::of(channel);
        let size = pipe::size(length, packets, pid);
        registers.size().on(&self.bus).set(size);
        registers.memory().on(&self.bus).set(memory);
        registers.character().on(&self.bus).set(pipe.character());
        Ok(())
    }

    /// Looks once at a transfer in, as [`Dwc2::poll`] does, and ends it if it has gone well.
    #[inline(always)]
    pub fn received(&mut self, channel: usize) -> Received {
        let bus = &self.bus;
        let Some(own) = self.channels.get_mut(channel) else {
            return Received::Other;
        };
        if own.state != State::Running {
            return Received::Other;
        }
        let registers = ChannelRegisters::of(channel);
        let events = registers.events().on(bus).extract();
        if !events.is_set(HCINT::HALTED) {
            return Received::Goes;
        }
        if !events.is_set(HCINT::COMPLETE) {
            return Received::Other;
        }
        let left = registers.size().on(bus).extract();
        registers.events().on(bus).set(u32::MAX);
        let (bytes, next) = own.ended_well(left);
        Received::Well(bytes, next)
    }

    /// Begins to send, and looks once. `patience` is how long it may take from `now` on, both in microseconds.
    ///
    /// # Errors
    /// [`Refused`]: the channel is not idle or [unsettled](Dwc2::is_unsettled), or there is no such transfer.
    #[inline(always)]
    pub fn send(
        &mut self,
        channel: usize,
        outlet: &Outlet,
        (pid, memory, length): (Pid, u32, u32),
        (now, patience): (u64, u64),
    ) -> Result<Sent, Refused> {
        let bus = &self.bus;
        let Some(own) = self.channels.get_mut(channel) else {
            return Err(Refused);
        };
        let free = own.state == State::Idle && !own.unsettled;
        if !free || !memory.is_multiple_of(4) || length > outlet.most {
            return Err(Refused);
        }
        let pipe = outlet.pipe;
        let packets = pipe.packets(length);
        let registers = ChannelRegisters::of(channel);
        registers
            .size()
            .on(bus)
            .set(pipe::size(length, packets, pid));
        registers.memory().on(bus).set(memory);
        registers.character().on(bus).set(pipe.character());
        let events = registers.events().on(bus).extract();
        if events.matches_all(HCINT::HALTED::SET + HCINT::COMPLETE::SET) {
            registers.events().on(bus).set(u32::MAX);
            return Ok(Sent::Well(pid.after(packets)));
        }
        // It has been at work since; what is known of it only has to be written down before anybody asks.
        let run = Run {
            pid,
            memory,
            length,
            deadline: now.saturating_add(patience),
        };
        own.started(pipe, run);
        own.tries(length, packets, pid);
        Ok(Sent::Begun)
    }

    /// Sends with a transfer for each packet, up to the first that is not full and may be empty, or that has not gone well
    /// at once: bytes of those before it, its bytes, and what has become of it. There are no more packets than `length`
    /// bytes have, and one.
    ///
    /// # Errors
    /// As [`Dwc2::send`], with which nothing was sent; also for packets that are no multiple of 4.
    #[inline]
    pub fn send_by_packet(
        &mut self,
        channel: usize,
        outlet: &Outlet,
        (mut pid, memory, length): (Pid, u32, u32),
        time: (u64, u64),
    ) -> Result<(u32, u32, Sent), Refused> {
        let packet = outlet.pipe.max_packet();
        if !packet.is_multiple_of(4) || packet > outlet.most {
            return Err(Refused);
        }
        let mut done = 0;
        loop {
            let bytes = length.saturating_sub(done).min(packet);
            let data = (pid, memory.wrapping_add(done), bytes);
            match self.send(channel, outlet, data, time)? {
                Sent::Well(next) if bytes == packet => pid = next,
                sent => return Ok((done, bytes, sent)),
            }
            done += bytes;
        }
    }
}
