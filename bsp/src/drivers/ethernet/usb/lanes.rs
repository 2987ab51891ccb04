//! Transfers of frames, begun and ended: the way of each frame first, then what happens when one fails.

use super::{Lane, PAUSE, RECEIVE, RECEIVING_AT, SEND, UsbEthernet};
use crate::bus::Bus;
use crate::dma::{DmaMemory, LINE};
use crate::drivers::dwc2::channel::{Ending, Pid, Progress, Refused, TransferError};
use crate::drivers::dwc2::pipe::Run;
use crate::drivers::dwc2::stream::{Received, Sent};
use crate::drivers::ethernet::rings::{Outgoing, PLACE, ROOM};
use crate::drivers::usb::descriptors::Direction;

/// How long a frame may take to be sent, in microseconds: a partner may stop us for a while.
const SEND_PATIENCE: u64 = 2_000_000;
/// How soon a channel is looked at again that was stopped.
const LOOK: u64 = 1_000;
/// Failures in a row after which the device is set up anew.
const MOST_FAILURES: u32 = 8;
/// Most transfers that are ended and begun in one go, each way; a device that is always ready must not keep
/// the processor.
const MOST_AT_ONCE: usize = 64;

impl<W: Copy> Lane<W> {
    /// How many failures there were in a row, with this one.
    fn failed(&mut self, error: TransferError, now: u64) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(PAUSE << self.failures.min(MOST_FAILURES));
        if error == TransferError::Stall {
            // Clearing the halt makes the next packet an even one (USB 2.0, 9.4.5).
            self.next = Pid::Data0;
        }
        self.failures
    }

    /// How to go, unless this lane waits after a failure; until when it does.
    #[inline]
    fn way(&self, now: u64) -> Result<W, Option<u64>> {
        let way = self.way.ok_or(None)?;
        match now < self.not_before {
            true => Err(Some(self.not_before)),
            false => Ok(way),
        }
    }
}

impl<B: Bus, D: DmaMemory> UsbEthernet<B, D> {
    /// Takes what was received and arms the next transfer, for as long as there is more.
    #[inline(always)]
    pub(super) fn receive(&mut self, now: u64) {
        for _ in 0..MOST_AT_ONCE {
            if !self.input.busy && !self.arm(now) {
                return;
            }
            match self.host.controller.received(RECEIVE) {
                Received::Well(bytes, next) => self.received(bytes, next),
                Received::Goes if self.attached => return,
                _ if self.still_receives(now) => return,
                _ => {}
            }
        }
        // There may be more: look again at once.
        self.lane_due = Some(now);
    }

    /// Looks at a transfer in that has not gone well; whether it goes on.
    #[cold]
    #[inline(never)]
    fn still_receives(&mut self, now: u64) -> bool {
        match self.host.controller.poll(RECEIVE, now) {
            Progress::Running => {
                if !self.attached {
                    self.look_at(now + LOOK);
                }
                return true;
            }
            // The controller was reset.
            Progress::Idle => self.input.busy = false,
            Progress::Ended(Ending {
                result: Ok(()),
                bytes,
                next,
            }) => self.received(bytes, next),
            Progress::Ended(Ending {
                result: Err(error),
                bytes,
                next,
            }) => {
                self.input.busy = false;
                self.input.next = next;
                self.cut |= bytes > 0;
                self.failed(error, Direction::In, now);
            }
        }
        false
    }

    /// Arms a transfer in; whether there is one now.
    #[inline(always)]
    fn arm(&mut self, now: u64) -> bool {
        let Some(place) = self.receiving.head().filter(|_| self.wants_frames) else {
            return false;
        };
        let inlet = match self.input.way(now) {
            Ok(inlet) => inlet,
            Err(later) => {
                later.into_iter().for_each(|time| self.look_at(time));
                return false;
            }
        };
        let at = RECEIVING_AT + place * PLACE + self.lead;
        let memory = self.bus_address.wrapping_add(at as u32);
        let armed = self
            .host
            .controller
            .arm(RECEIVE, &inlet, self.input.next, memory);
        self.input.busy = armed.is_ok();
        self.input.busy
    }

    /// Takes what a transfer has brought.
    #[inline(always)]
    fn received(&mut self, bytes: u32, next: Pid) {
        self.input.busy = false;
        self.input.next = next;
        self.input.failures = 0;
        if core::mem::take(&mut self.cut) {
            self.counters.malformed = self.counters.malformed.wrapping_add(1);
            return;
        }
        if let Some(place) = self.receiving.head()
            && self.attached
        {
            let at = RECEIVING_AT + place * PLACE;
            let bytes = (bytes as usize).min(ROOM);
            let lines = (self.lead + bytes).next_multiple_of(LINE);
            self.host.memory.invalidate(at..at + lines);
            self.receiving.filled(bytes);
        }
    }

    /// Sends a frame that is alone and ready; whether it is sent or on its way, so that nothing else is to be done now.
    #[inline(always)]
    pub(super) fn send_alone(&mut self, frame: Outgoing, now: u64) -> bool {
        let idle = !self.output.busy && self.output.failures == 0 && self.sending.is_empty();
        let Some(way) = self.output.way.as_ref().filter(|_| idle) else {
            return false;
        };
        let length = frame.bytes as u32;
        let memory = self.bus_address.wrapping_add(frame.at as u32);
        let data = (self.output.next, memory, length);
        let time = (now, SEND_PATIENCE);
        let controller = &mut self.host.controller;
        let done = if way.by_packet {
            controller.send_by_packet(SEND, &way.outlet, data, time)
        } else if way.outlet.pipe().ends_full(length) {
            Err(Refused)
        } else {
            let sent = controller.send(SEND, &way.outlet, data, time);
            sent.map(|sent| (0, length, sent))
        };
        match done {
            Ok((_, _, Sent::Well(next))) => {
                self.output.next = next;
                self.counters.sent = self.counters.sent.wrapping_add(1);
            }
            Ok((sent, under_way, Sent::Begun)) => {
                self.sending.add(frame);
                self.output.busy = true;
                self.sent = sent as usize;
                self.under_way = under_way as usize;
                self.send_until = now.saturating_add(SEND_PATIENCE);
                self.look_at(self.send_until);
            }
            Err(Refused) => return false,
        }
        true
    }

    /// Sends what waits, for as long as the device takes it.
    #[inline(never)]
    pub(super) fn send(&mut self, now: u64) {
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
    #[inline]
    fn send_next(&mut self, now: u64) -> bool {
        let Some(frame) = self.sending.first() else {
            return false;
        };
        let way = match self.output.way(now) {
            Ok(way) => way,
            Err(later) => {
                later.into_iter().for_each(|time| self.look_at(time));
                return false;
            }
        };
        let left = frame.bytes.saturating_sub(self.sent);
        let length = match way.by_packet {
            true => left.min(way.outlet.pipe().max_packet() as usize),
            false => left,
        };
        self.send_until = now.saturating_add(SEND_PATIENCE);
        self.under_way = length;
        let run = Run {
            pid: self.output.next,
            memory: self.bus_address.wrapping_add((frame.at + self.sent) as u32),
            length: length as u32,
            deadline: self.send_until,
        };
        self.output.busy = self
            .host
            .controller
            .begin(SEND, way.outlet.pipe(), run)
            .is_ok();
        self.output.busy
    }

    #[inline]
    fn sent(&mut self, ending: &Ending, now: u64) {
        self.output.next = ending.next;
        if let Err(error) = ending.result {
            return self.failed_to_send(error, ending.bytes, now);
        }
        self.output.busy = false;
        self.output.failures = 0;
        self.sent += self.under_way;
        let Some(frame) = self.sending.first() else {
            return;
        };
        // Without a device the frame ends here, whatever its last packet is.
        let way = self.output.way;
        let full = way.is_some_and(|way| way.outlet.pipe().ends_full(self.under_way as u32));
        if self.sent < frame.bytes || full {
            // More of it, or the empty packet that tells its end.
            return;
        }
        self.sent = 0;
        self.sending.done();
        self.counters.sent = self.counters.sent.wrapping_add(1);
    }

    #[cold]
    #[inline(never)]
    fn failed_to_send(&mut self, error: TransferError, bytes: u32, now: u64) {
        // A packet may have arrived of which we were not told.
        let nothing = self.sent == 0 && bytes == 0;
        let cut = self.attached && !(nothing && error == TransferError::Stall);
        self.not_sent(error);
        self.failed(error, Direction::Out, now);
        if cut {
            // What the device has of it would be glued to the next frame.
            self.restart(now);
        }
    }

    /// The first frame is lost. Its place may still be read if its transfer was stopped.
    #[cold]
    #[inline(never)]
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
        let failures = match direction {
            Direction::In => self.input.failed(error, now),
            Direction::Out => self.output.failed(error, now),
        };
        if error == TransferError::Stall {
            self.host.class.halted(direction);
            self.follow_ways();
            self.host_due = now;
        }
        if error == TransferError::Stuck || failures >= MOST_FAILURES {
            self.restart(now);
        }
    }

    pub(super) fn look_at(&mut self, time: u64) {
        self.lane_due = Some(self.lane_due.map_or(time, |due| due.min(time)));
    }
}
