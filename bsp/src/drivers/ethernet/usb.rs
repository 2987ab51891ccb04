//! An Ethernet interface on a USB adapter.
//!
//! ```text
//!   try_send    -> one copy -> place -> transfers out, in order         channel SEND
//!   try_receive <- lent     <- place <- a transfer in, always armed     channel RECEIVE
//!                                       while there is a free place
//! ```
//!
//! After a transfer was begun the channel is looked at once: the emulator has done it by then, and no
//! interrupt comes. On a board the interrupt tells.
//!
//! # Recovery
//!
//! An endpoint that refuses (STALL) gets its halt cleared by the driver of the adapter. After other failures in
//! the next transfer waits a little, twice as long each time; after eight in a row the whole bus is reset, and
//! the device found anew. A transfer in that failed within a frame leaves the rest to the next one, which is
//! dropped. A transfer out that failed, but for a refusal of its first packet, may have left a piece of a frame
//! in the device, to which the next would be glued: the bus is reset at once. Lost frames are counted.

use super::loopback::{gather, total};
use super::nic::{Kind, Nic, Pipe};
use super::rings::{ALIGNED, Outgoing, PLACE, RECEIVING, ROOM, Receiving, SENDING, Sending};
use crate::bus::Bus;
use crate::dma::{DmaMemory, LINE};
use crate::drivers::dwc2::Dwc2;
use crate::drivers::dwc2::channel::{Ending, Pid, Progress, Transfer, TransferError};
use crate::drivers::usb::descriptors::{Direction, EndpointKind};
use crate::drivers::usb::host::{self, Host};
use crate::traits::{
    Clock, DeviceError, Ethernet, FrameCounters, InFlight, Link, MacAddress, SendError,
};

/// The channels of frames.
const RECEIVE: usize = host::OWN_CHANNELS;
const SEND: usize = host::OWN_CHANNELS + 1;
/// Where the places are in the memory.
const RECEIVING_AT: usize = host::MEMORY_BYTES.next_multiple_of(LINE);
const SENDING_AT: usize = RECEIVING_AT + RECEIVING * PLACE;
/// Bytes of memory that the interface needs.
pub const MEMORY_BYTES: usize = SENDING_AT + SENDING * PLACE;

/// How long a frame may take to be sent, in microseconds: a partner may stop us for a while.
const SEND_PATIENCE: u64 = 2_000_000;
/// How soon a channel is looked at again that was stopped.
const LOOK: u64 = 1_000;
/// How long a transfer waits after the first failure in a row.
const PAUSE: u64 = 1_000;
/// Failures in a row after which the device is set up anew.
const MOST_FAILURES: u32 = 8;
/// Most transfers that are ended and begun in one go, each way; a device that is always ready must not keep
/// the processor.
const MOST_AT_ONCE: usize = 64;

/// One direction.
#[derive(Debug)]
struct Lane {
    busy: bool,
    next: Pid,
    /// Failures in a row.
    failures: u32,
    /// Not before this.
    not_before: u64,
}

impl Lane {
    const IDLE: Self = Self {
        busy: false,
        next: Pid::Data0,
        failures: 0,
        not_before: 0,
    };

    fn failed(&mut self, now: u64) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(PAUSE << self.failures.min(MOST_FAILURES));
    }
}

/// The interface.
#[derive(Debug)]
pub struct UsbEthernet<B, D> {
    host: Host<B, D, Nic>,
    receiving: Receiving,
    sending: Sending,
    input: Lane,
    output: Lane,
    /// How far into their places transfers in begin.
    lead: usize,
    /// Bytes of the first frame that are sent.
    sent: usize,
    /// Bytes that its transfer under way sends.
    under_way: usize,
    /// When it is given up.
    send_until: u64,
    /// The last transfer in failed within a frame, of which the next brings the rest.
    cut: bool,
    wants_frames: bool,
    attached: bool,
    counters: FrameCounters,
    host_due: u64,
    lane_due: Option<u64>,
}

impl<B: Bus, D: DmaMemory> UsbEthernet<B, D> {
    /// An interface behind a controller that has power, with at least [`MEMORY_BYTES`] of memory. A chip
    /// without an address gets `board_address`; of the ways to drive a device the best is taken that is not
    /// better than `best`.
    pub fn new(
        controller: Dwc2<B>,
        mut memory: D,
        board_address: Option<MacAddress>,
        best: Kind,
    ) -> Self {
        let nic = Nic::new(board_address, best, controller.is_emulated());
        // Nothing of what it was made with may be written back later. The processor never writes to places for
        // receiving, so that this need not be done again for them.
        memory.invalidate(0..MEMORY_BYTES);
        Self {
            host: Host::new(controller, memory, nic),
            receiving: Receiving::new(),
            sending: Sending::new(),
            input: Lane::IDLE,
            output: Lane::IDLE,
            lead: 0,
            sent: 0,
            under_way: 0,
            send_until: 0,
            cut: false,
            wants_frames: true,
            attached: false,
            counters: FrameCounters::default(),
            host_due: 0,
            lane_due: None,
        }
    }

    /// Brings the interface up by looking again and again: for the boot, where nobody else has anything to
    /// do. Interrupts, if they come, are served by this too.
    ///
    /// # Errors
    /// [`DeviceError::TimedOut`] if there is no interface with its link up after `patience` microseconds.
    /// It may still come.
    pub fn start(&mut self, clock: &impl Clock, patience: u64) -> Result<(), DeviceError> {
        let begin = clock.microseconds();
        loop {
            let now = clock.microseconds();
            self.serve(now);
            if self.link() == Link::Up {
                return Ok(());
            }
            if now.saturating_sub(begin) >= patience {
                return Err(DeviceError::TimedOut);
            }
            core::hint::spin_loop();
        }
    }

    /// The kind of adapter, once it is set up.
    pub fn kind(&self) -> Option<Kind> {
        self.host.class.kind()
    }

    /// Notices that the adapter came or went.
    fn follow_device(&mut self, now: u64) {
        let attached = self.kind().is_some();
        if attached == self.attached {
            return;
        }
        self.attached = attached;
        if attached {
            self.counters.restarts = self.counters.restarts.wrapping_add(1);
        } else {
            let lost = self.sending.clear(self.output.busy) as u64;
            self.counters.lost = self.counters.lost.wrapping_add(lost);
            self.receiving.clear();
            // They would wait for ever for somebody who is gone.
            self.host.controller.stop(RECEIVE, now);
            self.host.controller.stop(SEND, now);
        }
        self.cut = false;
        // A device just set up begins with even packets (USB 2.0, 9.1.1.5).
        self.input = Lane {
            busy: self.input.busy,
            ..Lane::IDLE
        };
        self.output = Lane {
            busy: self.output.busy,
            ..Lane::IDLE
        };
    }

    fn transfer(&self, pipe: &Pipe, direction: Direction, at: usize, length: usize) -> Transfer {
        let lane = match direction {
            Direction::In => &self.input,
            Direction::Out => &self.output,
        };
        Transfer {
            device: pipe.device,
            endpoint: pipe.endpoint,
            kind: EndpointKind::Bulk,
            direction,
            low_speed: false,
            max_packet: pipe.max_packet,
            pid: lane.next,
            memory: self.host.memory.bus_address().wrapping_add(at as u32),
            length: length as u32,
            deadline: None,
        }
    }

    /// Takes what was received and arms the next transfer, for as long as there is more.
    #[inline]
    fn receive(&mut self, now: u64) {
        for _ in 0..MOST_AT_ONCE {
            if !self.input.busy && !self.arm(now) {
                return;
            }
            match self.host.controller.poll(RECEIVE, now) {
                Progress::Running => {
                    if !self.attached {
                        self.look_at(now + LOOK);
                    }
                    return;
                }
                // The controller was reset.
                Progress::Idle => self.input.busy = false,
                Progress::Ended(ending) => self.received(&ending, now),
            }
        }
        // There may be more: look again at once.
        self.lane_due = Some(now);
    }

    /// Arms a transfer in; whether there is one now.
    fn arm(&mut self, now: u64) -> bool {
        let place = self.receiving.head().filter(|_| self.wants_frames);
        let (Some(place), Some(pipe)) = (place, self.host.class.input()) else {
            return false;
        };
        if now < self.input.not_before {
            self.look_at(self.input.not_before);
            return false;
        }
        self.lead = pipe.lead;
        let at = RECEIVING_AT + place * PLACE + self.lead;
        // Whole packets, as many as there is room for.
        let packet = usize::from(pipe.max_packet.max(1));
        let length = ROOM / packet * packet;
        let transfer = self.transfer(&pipe, Direction::In, at, length);
        self.input.busy = self.host.controller.start(RECEIVE, transfer).is_ok();
        self.input.busy
    }

    fn received(&mut self, ending: &Ending, now: u64) {
        self.input.busy = false;
        self.input.next = ending.next;
        match ending.result {
            Ok(()) => {
                self.input.failures = 0;
                if core::mem::take(&mut self.cut) {
                    self.counters.malformed = self.counters.malformed.wrapping_add(1);
                    return;
                }
                if let Some(place) = self.receiving.head()
                    && self.attached
                {
                    let at = RECEIVING_AT + place * PLACE;
                    let bytes = (ending.bytes as usize).min(ROOM);
                    let lines = (self.lead + bytes).next_multiple_of(LINE);
                    self.host.memory.invalidate(at..at + lines);
                    self.receiving.filled(bytes);
                }
            }
            Err(error) => {
                self.cut |= ending.bytes > 0;
                self.failed(error, Direction::In, now);
            }
        }
    }

    /// Sends what waits, for as long as the device takes it.
    #[inline]
    fn send(&mut self, now: u64) {
        for _ in 0..MOST_AT_ONCE {
            if !self.output.busy && !self.send_next(now) {
                return;
            }
            match self.host.controller.poll(SEND, now) {
                Progress::Running => {
                    let late = now >= self.send_until || !self.attached;
                    self.look_at(if late { now + LOOK } else { self.send_until });
                    return;
                }
                // The controller was reset; it forgot the frame.
                Progress::Idle => self.not_sent(TransferError::Stopped),
                Progress::Ended(ending) => self.sent(&ending, now),
            }
        }
        self.lane_due = Some(now);
    }

    /// Begins the first frame's next transfer; whether there is one now.
    fn send_next(&mut self, now: u64) -> bool {
        let (Some((place, frame)), Some(pipe)) = (self.sending.first(), self.host.class.output())
        else {
            return false;
        };
        if now < self.output.not_before {
            self.look_at(self.output.not_before);
            return false;
        }
        let left = frame.bytes.saturating_sub(self.sent);
        let length = match pipe.by_packet {
            true => left.min(pipe.max_packet.into()),
            false => left,
        };
        let at = SENDING_AT + place * PLACE + frame.lead + self.sent;
        let mut transfer = self.transfer(&pipe, Direction::Out, at, length);
        self.send_until = now.saturating_add(SEND_PATIENCE);
        transfer.deadline = Some(self.send_until);
        self.under_way = length;
        self.output.busy = self.host.controller.start(SEND, transfer).is_ok();
        self.output.busy
    }

    fn sent(&mut self, ending: &Ending, now: u64) {
        self.output.next = ending.next;
        if let Err(error) = ending.result {
            // A packet may have arrived of which we were not told.
            let nothing = self.sent == 0 && ending.bytes == 0;
            let cut = self.attached && !(nothing && error == TransferError::Stall);
            self.not_sent(error);
            self.failed(error, Direction::Out, now);
            if cut {
                // What the device has of it would be glued to the next frame.
                self.host.restart();
                self.host_due = now;
            }
            return;
        }
        self.output.busy = false;
        self.output.failures = 0;
        self.sent += self.under_way;
        let Some((_, frame)) = self.sending.first() else {
            return;
        };
        let packet = self.host.class.output().map_or(1, |pipe| pipe.max_packet);
        let full = self.under_way.is_multiple_of(packet.max(1).into()) && self.under_way != 0;
        if self.sent < frame.bytes || full && frame.ends_short {
            // More of it, or the empty packet that tells its end.
            return;
        }
        self.sent = 0;
        self.sending.done();
        self.counters.sent = self.counters.sent.wrapping_add(1);
    }

    /// The first frame is lost. Its place may still be read if its transfer was stopped.
    fn not_sent(&mut self, error: TransferError) {
        self.output.busy = false;
        self.sent = 0;
        if self.sending.waiting() == 0 {
            return;
        }
        self.counters.lost = self.counters.lost.wrapping_add(1);
        match error {
            TransferError::Stopped | TransferError::TimedOut | TransferError::Stuck => {
                self.sending.doubt();
            }
            _ => self.sending.done(),
        }
    }

    fn failed(&mut self, error: TransferError, direction: Direction, now: u64) {
        if !self.attached {
            return;
        }
        self.counters.failed_transfers = self.counters.failed_transfers.wrapping_add(1);
        let lane = match direction {
            Direction::In => &mut self.input,
            Direction::Out => &mut self.output,
        };
        lane.failed(now);
        if error == TransferError::Stall {
            // Clearing the halt makes the next packet an even one (USB 2.0, 9.4.5).
            lane.next = Pid::Data0;
            self.host.class.halted(direction);
            self.host_due = now;
        }
        if error == TransferError::Stuck || lane.failures >= MOST_FAILURES {
            self.host.restart();
            self.host_due = now;
        }
    }

    fn look_at(&mut self, time: u64) {
        self.lane_due = Some(self.lane_due.map_or(time, |due| due.min(time)));
    }

    /// Goes on with the bus.
    fn advance(&mut self, port: bool, now: u64) {
        self.host.advance(port, now);
        self.follow_device(now);
        self.host_due = self.host.next_look(now);
    }
}

impl<B: Bus, D: DmaMemory> Ethernet for UsbEthernet<B, D> {
    fn address(&self) -> Option<MacAddress> {
        self.host.class.address()
    }

    fn link(&self) -> Link {
        self.host.class.link()
    }

    fn try_send(&mut self, pieces: &[&[u8]], now: u64) -> Result<(), SendError> {
        let length = total(pieces).ok_or(SendError::Length)?;
        if self.link() != Link::Up {
            return Err(SendError::Down);
        }
        let framing = self.host.class.framing(length).ok_or(SendError::Down)?;
        let place = self.sending.free().ok_or(SendError::Full)?;
        let at = SENDING_AT + place * PLACE;
        let end = framing.header_bytes + length;
        if end > ROOM || framing.bytes > ROOM {
            return Err(SendError::Length);
        }
        let lead = framing.header_bytes.next_multiple_of(ALIGNED) - framing.header_bytes;
        let to = self.host.memory.bytes_mut(at + lead..at + lead + end);
        let (header, frame) = to.split_at_mut(framing.header_bytes.min(to.len()));
        gather(header, &[&framing.header]);
        gather(frame, pieces);
        // What is behind the frame is padding: what it holds, the device has had before.
        let lines = (lead + framing.bytes).next_multiple_of(LINE);
        self.host.memory.clean(at..at + lines);
        self.sending.add(Outgoing {
            lead,
            bytes: framing.bytes,
            ends_short: framing.ends_short,
        });
        self.send(now);
        Ok(())
    }

    fn try_receive(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        while let Some((place, range, whole)) = self.receiving.oldest() {
            let at = RECEIVING_AT + place * PLACE + self.lead;
            let bytes = self.host.memory.bytes(at + range.start..at + range.end);
            let Some(frame) = self.host.class.next_frame(bytes) else {
                // Padding behind the last frame; or no frame at all.
                self.receiving.take(usize::MAX);
                let malformed = u64::from(whole);
                self.counters.malformed = self.counters.malformed.wrapping_add(malformed);
                continue;
            };
            let lent = frame.range.and_then(|range| bytes.get(range));
            let taken = lent.is_some();
            match lent {
                Some(frame) => {
                    take(frame);
                    self.counters.received = self.counters.received.wrapping_add(1);
                }
                None => self.counters.malformed = self.counters.malformed.wrapping_add(1),
            }
            // Never nothing, so that this ends.
            self.receiving.take(frame.used.max(1));
            if !self.input.busy {
                // There may be a free place again.
                self.lane_due = Some(0);
            }
            if taken {
                return true;
            }
        }
        false
    }

    fn serve(&mut self, now: u64) {
        let pending = self.host.controller.pending();
        let says = |channel: usize| pending.channels >> channel & 1 != 0;
        self.lane_due = None;
        // A channel at work that says nothing need not be asked, which is an access to a slow bus.
        if says(RECEIVE) || !self.input.busy || !self.attached {
            self.receive(now);
        }
        if says(SEND) || !self.output.busy || !self.attached || now >= self.send_until {
            self.send(now);
        } else {
            self.look_at(self.send_until);
        }
        let own = (1 << host::OWN_CHANNELS) - 1;
        if pending.port || pending.channels & own != 0 || now >= self.host_due {
            self.advance(pending.port, now);
            // What was set up or mended may be used at once.
            self.receive(now);
            self.send(now);
        }
        self.host.controller.hush(pending.channels);
    }

    fn next_look(&self) -> Option<u64> {
        Some(
            self.lane_due
                .map_or(self.host_due, |due| due.min(self.host_due)),
        )
    }

    fn set_receiving(&mut self, on: bool, now: u64) {
        self.wants_frames = on;
        if on {
            self.receive(now);
        }
    }

    fn in_flight(&self) -> InFlight {
        InFlight {
            sending: self.sending.waiting(),
            sending_most: SENDING,
            received: self.receiving.held(),
            received_most: RECEIVING,
        }
    }

    fn counters(&self) -> FrameCounters {
        self.counters
    }

    fn reset(&mut self, now: u64) {
        self.host.restart();
        self.host_due = now;
    }
}
