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
//! What each frame needs to know of the device (link, pipes, what is around a frame) is asked for when it may have
//! changed, which is after the bus was looked after and after a failure, and not for each frame.
//!
//! # Recovery
//!
//! An endpoint that refuses (STALL) gets its halt cleared by the driver of the adapter. After other failures in
//! the next transfer waits a little, twice as long each time; after eight in a row the whole bus is reset, and
//! the device found anew. A transfer in that failed within a frame leaves the rest to the next one, which is
//! dropped. A transfer out that failed, but for a refusal of its first packet, may have left a piece of a frame
//! in the device, to which the next would be glued: the bus is reset at once. Lost frames are counted.

mod lanes;

use core::ops::Range;

use super::format::{Format, Frame, Header, MOST_SENT};
use super::loopback::total;
use super::nic::{Kind, Nic, Way};
use super::rings::{Outgoing, PLACE, RECEIVING, ROOM, Receiving, SENDING, Sending};
use crate::bus::Bus;
use crate::dma::{DmaMemory, LINE};
use crate::drivers::dwc2::Dwc2;
use crate::drivers::dwc2::channel::Pid;
use crate::drivers::dwc2::stream::Inlet;
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

/// How long a transfer waits after the first failure in a row, in microseconds.
const PAUSE: u64 = 1_000;

const _: () = assert!(MOST_SENT <= ROOM);

/// One direction.
#[derive(Debug)]
struct Lane<W> {
    busy: bool,
    /// How to go; none while the device cannot.
    way: Option<W>,
    next: Pid,
    /// Failures in a row.
    failures: u32,
    /// Not before this.
    not_before: u64,
}

impl<W> Lane<W> {
    const IDLE: Self = Self {
        busy: false,
        way: None,
        next: Pid::Data0,
        failures: 0,
        not_before: 0,
    };

    /// As it is with a device that was just set up; the channel does what it does.
    fn renew(&mut self) {
        *self = Self {
            busy: self.busy,
            ..Self::IDLE
        };
    }
}

/// The interface.
#[derive(Debug)]
pub struct UsbEthernet<B, D> {
    host: Host<B, D, Nic>,
    receiving: Receiving,
    sending: Sending,
    input: Lane<Inlet>,
    output: Lane<Way>,
    /// Where the device sees the memory.
    bus_address: u32,
    /// The link is up.
    up: bool,
    /// What is around frames, while a device works.
    format: Option<Format>,
    /// Places for sending that have what is the same in front of all frames, bit n for place n.
    prepared: u32,
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
            bus_address: memory.bus_address(),
            host: Host::new(controller, memory, nic),
            receiving: Receiving::new(),
            sending: Sending::new(),
            input: Lane::IDLE,
            output: Lane::IDLE,
            up: false,
            format: None,
            prepared: 0,
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
        self.prepared = 0;
        // A device just set up begins with even packets (USB 2.0, 9.1.1.5).
        self.input.renew();
        self.output.renew();
    }

    /// Asks anew what frames need to know of the device.
    fn follow_ways(&mut self) {
        let nic = &self.host.class;
        self.up = nic.link() == Link::Up;
        self.format = nic.format();
        self.output.way = nic.output();
        self.input.way = nic.input();
        if let Some(format) = self.format {
            self.lead = format.lead_in();
        }
    }

    /// Sets everything up anew, from the controller on.
    fn restart(&mut self, now: u64) {
        self.host.restart();
        self.host_due = now;
        self.follow_ways();
    }

    /// Goes on with the bus, and with frames: what was set up or mended may be used at once.
    #[cold]
    #[inline(never)]
    fn advance(&mut self, port: bool, now: u64) {
        self.host.advance(port, now);
        self.follow_device(now);
        self.follow_ways();
        self.host_due = self.host.next_look(now);
        self.receive(now);
        self.send(now);
    }
}

impl<B: Bus, D: DmaMemory> UsbEthernet<B, D> {
    /// Takes the oldest received frame off; where it is in the memory.
    #[inline(always)]
    fn next_frame(&mut self) -> Option<Range<usize>> {
        while let Some((place, range, whole)) = self.receiving.oldest() {
            let at = RECEIVING_AT + place * PLACE + self.lead + range.start;
            let memory = &self.host.memory;
            let piece = self
                .format
                .as_ref()?
                .next_frame(range.len(), || memory.words(at));
            if !self.input.busy {
                // There may be a free place again.
                self.lane_due = Some(0);
            }
            if let Some(Frame {
                range: Some(frame),
                used,
            }) = piece
            {
                // Never nothing, so that this ends.
                self.receiving.take(used.max(1));
                self.counters.received = self.counters.received.wrapping_add(1);
                return Some(at + frame.start..at + frame.end);
            }
            // Padding behind the last frame; or no frame, and the rest is dropped with it: a device that sends many pieces
            // that are none must not keep the processor.
            self.receiving.take(usize::MAX);
            let malformed = u64::from(whole || piece.is_some());
            self.counters.malformed = self.counters.malformed.wrapping_add(malformed);
        }
        None
    }
}

impl<B: Bus, D: DmaMemory> Ethernet for UsbEthernet<B, D> {
    fn address(&self) -> Option<MacAddress> {
        self.host.class.address()
    }

    fn link(&self) -> Link {
        self.host.class.link()
    }

    #[inline]
    fn try_send(&mut self, pieces: &[&[u8]], now: u64) -> Result<(), SendError> {
        let length = total(pieces).ok_or(SendError::Length)?;
        let format = self.format.as_ref().filter(|_| self.up);
        let format = format.ok_or(SendError::Down)?;
        let place = self.sending.free().ok_or(SendError::Full)?;
        let start = SENDING_AT + place * PLACE;
        let memory = &mut self.host.memory;
        if self.prepared >> place & 1 == 0 {
            self.prepared |= 1 << place;
            format.prepare(memory, start);
        }
        let Header {
            at,
            frame: mut end,
            bytes,
        } = format.write_header(memory, start, length);
        for piece in pieces {
            memory.copy_in(end, piece);
            end += piece.len();
        }
        // What is behind the frame is padding: what it holds, the device has had before.
        memory.clean(start..end.next_multiple_of(LINE));
        let frame = Outgoing { at, bytes };
        if !self.send_alone(frame, now) {
            self.sending.add(frame);
            self.send(now);
        }
        Ok(())
    }

    #[inline(always)]
    fn try_receive(&mut self, take: impl FnOnce(&[u8])) -> bool {
        let Some(range) = self.next_frame() else {
            return false;
        };
        // Its place is free from now on, but not armed before the next look.
        take(self.host.memory.bytes(range));
        true
    }

    #[inline]
    fn serve(&mut self, now: u64) {
        let pending = self.host.controller.pending();
        let says = |channel: usize| pending.channels >> channel & 1 != 0;
        self.lane_due = None;
        // A channel at work that says nothing need not be asked, which is an access to a slow bus.
        if says(RECEIVE) || !self.input.busy || !self.attached {
            self.receive(now);
        }
        if self.output.busy && self.attached && !says(SEND) && now < self.send_until {
            self.look_at(self.send_until);
        } else if self.output.busy || self.sending.waiting() > 0 {
            self.send(now);
        }
        let own = (1 << host::OWN_CHANNELS) - 1;
        if pending.port || pending.channels & own != 0 || now >= self.host_due {
            self.advance(pending.port, now);
        }
        let busy = u32::from(self.input.busy) << RECEIVE | u32::from(self.output.busy) << SEND;
        if pending.channels & !busy != 0 {
            self.host.controller.hush(pending.channels);
        }
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
        self.restart(now);
    }
}
