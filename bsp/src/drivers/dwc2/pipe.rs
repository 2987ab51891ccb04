//! A pipe: an endpoint of a device as a channel is told of it (USB 2.0, 5.3.2).
//!
//! What a channel's register says of the endpoint is worked out and checked once, when the device is set up. A transfer
//! over it is then three register writes and a look ([`stream`](super::stream)).

use tock_registers::fields::Field;

use super::channel::{MOST_BYTES, MOST_PACKETS, Pid, Transfer};
use super::registers::{HCCHAR, HCTSIZ};
use crate::drivers::usb::descriptors::{Direction, EndpointKind};

/// An endpoint that transfers go to or come from: the channel's register for it, with the bit that sets the channel
/// going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipe(u32);

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
    pub(super) const NONE: Self = Self(1);

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
        let sane = device < 128 && number < 16 && (1..=2047).contains(&max_packet);
        let fields = HCCHAR::MAX_PACKET.val(max_packet.into())
            + HCCHAR::ENDPOINT.val(number.into())
            + HCCHAR::IN.val((direction == Direction::In).into())
            + HCCHAR::LOW_SPEED.val(low_speed.into())
            + register
            + HCCHAR::COUNT.val(1)
            + HCCHAR::DEVICE.val(device.into())
            + HCCHAR::ENABLE::SET;
        sane.then_some(Self(fields.value))
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

    /// What the channel's register is to be.
    #[inline(always)]
    pub(super) fn character(self) -> u32 {
        self.0
    }

    #[inline(always)]
    fn read(self, field: Field<u32, HCCHAR::Register>) -> u32 {
        field.read(self.0)
    }

    /// Most bytes of a packet; not 0.
    #[inline(always)]
    pub fn max_packet(self) -> u32 {
        self.read(HCCHAR::MAX_PACKET)
    }

    /// Which way data goes.
    #[inline(always)]
    pub fn direction(self) -> Direction {
        match self.read(HCCHAR::IN) {
            0 => Direction::Out,
            _ => Direction::In,
        }
    }

    /// Whether the endpoint is asked at reserved times.
    #[inline(always)]
    pub(super) fn is_periodic(self) -> bool {
        HCCHAR::KIND::Interrupt.matches_all(self.0)
    }

    /// Whether so many bytes end with a packet that is full, so that they do not tell their end.
    #[inline(always)]
    pub fn ends_full(self, bytes: u32) -> bool {
        bytes != 0 && bytes.checked_rem(self.max_packet()) == Some(0)
    }

    /// How many packets so many bytes are; an empty transfer is one.
    #[inline(always)]
    pub(super) fn packets(self, bytes: u32) -> u32 {
        let max_packet = self.max_packet();
        let all = bytes.saturating_add(max_packet).saturating_sub(1);
        all.checked_div(max_packet).unwrap_or(0).max(1)
    }

    /// Whether a channel can do this at once. The controller receives whole packets.
    #[inline(always)]
    pub(super) fn can(self, run: &Run) -> bool {
        run.memory.is_multiple_of(4)
            && run.length <= MOST_BYTES
            && self.packets(run.length) <= MOST_PACKETS
            && (self.direction() == Direction::Out
                || run.length.checked_rem(self.max_packet()) == Some(0))
    }
}

/// What the channel's register of sizes is to be for so many bytes and packets, with this mark on the first one.
#[inline(always)]
pub(super) fn size(bytes: u32, packets: u32, pid: Pid) -> u32 {
    let mark = match pid {
        Pid::Data0 => HCTSIZ::PID::Data0,
        Pid::Data1 => HCTSIZ::PID::Data1,
        Pid::Setup => HCTSIZ::PID::Setup,
    };
    (HCTSIZ::BYTES.val(bytes) + HCTSIZ::PACKETS.val(packets) + mark).value
}

impl Pid {
    /// The mark that comes after so many packets that went well, of which the first had this one.
    #[inline(always)]
    pub(super) fn after(self, packets: u32) -> Self {
        match (self, packets & 1) {
            (Self::Data1, 0) | (Self::Data0 | Self::Setup, 1) => Self::Data1,
            _ => Self::Data0,
        }
    }
}
