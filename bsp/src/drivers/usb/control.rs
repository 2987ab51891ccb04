//! Control transfers: one request at a time, in three stages (USB 2.0, 8.5.3).
//!
//! ```text
//!   Idle -> Setup -> Data (if there is any) -> Status -> Idle
//!             '--------'-----------------------'-- refused, failed, late: Idle
//! ```
//!
//! The memory of requests is this file's for good, so what a stopped transfer may still do to it (see
//! [`channel`](crate::drivers::dwc2::channel)) hurts the next answer at most, which is checked as all are.

use core::ops::Range;

use super::descriptors::{Direction, EndpointKind};
use super::request::{MOST_IN, Request, Speed, Target};
use crate::bus::Bus;
use crate::dma::{DmaMemory, LINE};
use crate::drivers::dwc2::Dwc2;
use crate::drivers::dwc2::channel::{Ending, Pid, Progress, Transfer, TransferError};

/// The channel that requests go by.
const CHANNEL: usize = 0;
/// How long a stage may take, in microseconds. A device has half a second for data and 50 ms for the rest
/// (USB 2.0, 9.2.6.4); an emulated one runs as its host lets it.
const PATIENCE: u64 = 1_000_000;

/// Where the eight bytes of a request are in the driver's memory, and where its data: of whole packets.
const SETUP: Range<usize> = 0..8;
const DATA: Range<usize> = LINE..LINE + MOST_IN;
/// Bytes of the driver's memory that requests take, from its start.
pub(crate) const BYTES: usize = DATA.end;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Setup,
    Data,
    Status,
}

/// The request under way.
#[derive(Clone, Copy, Debug)]
struct Current {
    target: Target,
    request: Request,
    stage: Stage,
    /// Bytes that the device sent.
    received: usize,
}

/// Control transfers on channel 0.
#[derive(Debug)]
pub(super) struct Control {
    current: Option<Current>,
}

impl Control {
    /// Nothing asked.
    pub(super) const IDLE: Self = Self { current: None };

    /// Forgets what was asked, after the controller was reset.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }

    /// Begins a request; none may be under way. [`Control::poll`] tells what came of it.
    pub(super) fn start<B: Bus, D: DmaMemory>(
        &mut self,
        target: Target,
        request: Request,
        controller: &mut Dwc2<B>,
        memory: &mut D,
        now: u64,
    ) {
        fill(memory, SETUP, &request.setup());
        memory.clean(0..LINE);
        let current = Current {
            target,
            request,
            stage: Stage::Setup,
            received: 0,
        };
        self.current = Some(current);
        begin(&current, controller, memory, now);
    }

    /// Goes on with the request; tells what came of it, once it is over: how many bytes have arrived, which
    /// are in [`Control::answer`].
    pub(super) fn poll<B: Bus, D: DmaMemory>(
        &mut self,
        controller: &mut Dwc2<B>,
        memory: &mut D,
        now: u64,
    ) -> Option<Result<usize, TransferError>> {
        // Each stage may be over as soon as it has begun, and there are three.
        for _ in 0..3 {
            let current = self.current.as_mut()?;
            let ending = match controller.poll(CHANNEL, now) {
                Progress::Running => return None,
                Progress::Ended(ending) => ending,
                // It never began, or the controller was reset.
                Progress::Idle => Ending {
                    result: Err(TransferError::Stopped),
                    bytes: 0,
                    next: Pid::Data0,
                },
            };
            if let Err(error) = ending.result {
                self.current = None;
                return Some(Err(error));
            }
            match current.next(ending.bytes) {
                Some(stage) => current.stage = stage,
                None => {
                    let received = current.received;
                    self.current = None;
                    return Some(Ok(received));
                }
            }
            begin(&*current, controller, memory, now);
        }
        None
    }

    /// The first `bytes` of the data that the last request has brought.
    pub(super) fn answer<D: DmaMemory>(memory: &mut D, bytes: usize) -> &[u8] {
        memory.invalidate(DATA);
        memory.bytes(DATA.start..DATA.start + bytes.min(MOST_IN))
    }
}

impl Current {
    /// The stage after this one, of which so many bytes have arrived.
    fn next(&mut self, bytes: u32) -> Option<Stage> {
        match self.stage {
            Stage::Setup if self.request.length != 0 => Some(Stage::Data),
            Stage::Setup => Some(Stage::Status),
            Stage::Data => {
                if self.request.is_read() {
                    self.received = (bytes as usize).min(self.request.length.into());
                }
                Some(Stage::Status)
            }
            Stage::Status => None,
        }
    }
}

/// Copies into the driver's memory.
fn fill<D: DmaMemory>(memory: &mut D, to: Range<usize>, from: &[u8]) {
    for (to, from) in memory.bytes_mut(to).iter_mut().zip(from) {
        *to = *from;
    }
}

/// Sets the controller to a stage. What it refuses, `poll` sees as a channel that does nothing.
fn begin<B: Bus, D: DmaMemory>(
    current: &Current,
    controller: &mut Dwc2<B>,
    memory: &mut D,
    now: u64,
) {
    let Current {
        target, request, ..
    } = current;
    let read = request.is_read();
    let packet = u32::from(target.max_packet.max(1));
    let (direction, pid, at, length) = match current.stage {
        Stage::Setup => (Direction::Out, Pid::Setup, SETUP.start, 8),
        Stage::Data if read => {
            memory.invalidate(DATA);
            let length = u32::from(request.length).next_multiple_of(packet);
            (Direction::In, Pid::Data1, DATA.start, length)
        }
        Stage::Data => {
            fill(memory, DATA, request.data());
            memory.clean(DATA.start..DATA.start + super::request::MOST_OUT);
            let length = u32::from(request.length);
            (Direction::Out, Pid::Data1, DATA.start, length)
        }
        // The other way than the data, and empty. Room for a packet, which a device may not use.
        Stage::Status if read && request.length != 0 => (Direction::Out, Pid::Data1, DATA.start, 0),
        Stage::Status => {
            memory.invalidate(DATA);
            (Direction::In, Pid::Data1, DATA.start, packet)
        }
    };
    let transfer = Transfer {
        device: target.address,
        endpoint: 0,
        kind: EndpointKind::Control,
        direction,
        low_speed: target.speed == Speed::Low,
        max_packet: target.max_packet.into(),
        pid,
        memory: memory.bus_address().wrapping_add(at as u32),
        length,
        deadline: Some(now.saturating_add(PATIENCE)),
    };
    // A refusal leaves the channel idle.
    let _ = controller.start(CHANNEL, transfer);
}
