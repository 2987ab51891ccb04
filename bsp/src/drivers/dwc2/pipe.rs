//! A pipe: an endpoint of a device as a channel is told of it (USB 2.0, 5.3.2).
//!
//! What a channel's register says of the endpoint is worked out and checked once, when the device is set up. A transfer
//! over it is then three register writes and a look.

use core::num::NonZeroU32;

use super::channel::{MOST_BYTES, MOST_PACKETS, Pid, Transfer};
use super::registers::HCCHAR;
use crate::drivers::usb::descriptors::{Direction, EndpointKind};

/// An endpoint that transfers go to or come from.
#[derive(Clone, Copy, Debug)]
pub struct Pipe {
    /// The channel's register for it, with the bit that sets the channel going.
    pub(super) character: u32,
    pub(super) max_packet: NonZeroU32,
    pub(super) kind: EndpointKind,
    pub(super) direction: Direction,
}

/// What a transfer over a pipe moves.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The first packet's mark.
    pub pid: Pid,
    /// Where the controller sees the memory: a multiple of 4.
    pub memory: u32,
    /// Bytes, as in [`Transfer::length`].
    pub length: u32,
    /// When to give up, in microseconds; [`u64::MAX`] for a transfer that may wait for ever.
    pub deadline: u64,
}

impl Pipe {
    /// That of no endpoint, for channels that have not been used.
    pub(super) const NONE: Self = Self {
        character: 0,
        max_packet: NonZeroU32::MIN,
        kind: EndpointKind::Bulk,
        direction: Direction::Out,
    };

    /// The pipe to an endpoint with packets of at most `max_packet` bytes; none if there is no such endpoint. `device`
    /// and `low_speed` are the device's.
    pub fn new(
        device: u8,
        low_speed: bool,
        (number, kind, direction): (u8, EndpointKind, Direction),
        max_packet: u16,
    ) -> Option<Self> {
        let register = match kind {
            EndpointKind::Control => HCCHAR::KIND::Control,
            EndpointKind::Interrupt => HCCHAR::KIND::Interrupt,
            EndpointKind::Bulk => HCCHAR::KIND::Bulk,
            EndpointKind::Isochronous => return None,
        };
        let max = NonZeroU32::new(max_packet.into())?;
        let sane = device < 128 && number < 16 && max_packet <= 2047;
        let fields = HCCHAR::MAX_PACKET.val(max.get())
            + HCCHAR::ENDPOINT.val(number.into())
            + HCCHAR::IN.val((direction == Direction::In).into())
            + HCCHAR::LOW_SPEED.val(low_speed.into())
            + register
            + HCCHAR::COUNT.val(1)
            + HCCHAR::DEVICE.val(device.into())
            + HCCHAR::ENABLE::SET;
        sane.then_some(Self {
            character: fields.value,
            max_packet: max,
            kind,
            direction,
        })
    }

    /// A bulk pipe of a device that is not a low-speed one.
    pub fn bulk(device: u8, endpoint: u8, direction: Direction, max_packet: u16) -> Option<Self> {
        let endpoint = (endpoint, EndpointKind::Bulk, direction);
        Self::new(device, false, endpoint, max_packet)
    }

    pub(super) fn of(transfer: &Transfer) -> Option<Self> {
        let endpoint = (transfer.endpoint, transfer.kind, transfer.direction);
        Self::new(
            transfer.device,
            transfer.low_speed,
            endpoint,
            transfer.max_packet,
        )
    }

    /// Most bytes of a packet.
    #[inline]
    pub fn max_packet(&self) -> u32 {
        self.max_packet.get()
    }

    /// How many packets so many bytes are; an empty transfer is one.
    #[inline]
    pub(super) fn packets(&self, bytes: u32) -> u32 {
        let all = bytes.saturating_add(self.max_packet() - 1) / self.max_packet;
        all.max(1)
    }

    /// Whether a channel can do this at once. The controller receives whole packets.
    #[inline]
    pub(super) fn can(&self, run: &Run) -> bool {
        run.memory.is_multiple_of(4)
            && run.length <= MOST_BYTES
            && self.packets(run.length) <= MOST_PACKETS
            && (self.direction == Direction::Out || run.length % self.max_packet == 0)
    }
}

impl Pid {
    /// The mark that comes after so many packets that went well, of which the first had this one.
    #[inline]
    pub(super) fn after(self, packets: u32) -> Self {
        match (self, packets & 1) {
            (Self::Data1, 0) | (Self::Data0 | Self::Setup, 1) => Self::Data1,
            _ => Self::Data0,
        }
    }
}
