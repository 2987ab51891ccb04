//! Requests on endpoint 0 (USB 2.0, 9.3), and how a run of them is written down.
//!
//! Setting up a device is a run of requests, each made out of the answers so far. A run is a value with a
//! function from the last [`Answer`] to the next [`Step`], so that it can stop at every request and go on
//! when the answer is there, without a stack of its own.

use crate::drivers::dwc2::channel::TransferError;

/// How fast a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// 1.5 Mbit/s.
    Low,
    /// 12 Mbit/s.
    Full,
    /// 480 Mbit/s.
    High,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address of the device; 0 before it has one.
    pub address: u8,
    /// Most bytes of a packet of endpoint 0.
    pub max_packet: u8,
    /// How fast it is.
    pub speed: Speed,
}

/// Most bytes that are sent with a request.
pub const MOST_OUT: usize = 64;
/// Most bytes that are asked for.
pub const MOST_IN: usize = 1024;

/// A request with what is sent along.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// `bmRequestType`: bit 7 is set if the device is to send.
    pub kind: u8,
    /// `bRequest`.
    pub number: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
    /// `wLength`.
    pub length: u16,
    data: [u8; MOST_OUT],
}

/// Standard requests (USB 2.0, table 9-4) and those of hubs (table 11-16).
mod number {
    pub const GET_STATUS: u8 = 0;
    pub const CLEAR_FEATURE: u8 = 1;
    pub const SET_FEATURE: u8 = 3;
    pub const SET_ADDRESS: u8 = 5;
    pub const GET_DESCRIPTOR: u8 = 6;
    pub const SET_CONFIGURATION: u8 = 9;
    pub const SET_INTERFACE: u8 = 11;
}

impl Request {
    /// Asks for at most `length` bytes, of which more than [`MOST_IN`] are never asked.
    pub const fn read(kind: u8, number: u8, value: u16, index: u16, length: u16) -> Self {
        let length = if length as usize > MOST_IN {
            MOST_IN as u16
        } else {
            length
        };
        Self {
            kind: kind | 0x80,
            number,
            value,
            index,
            length,
            data: [0; MOST_OUT],
        }
    }

    /// Sends `data`, of which bytes beyond [`MOST_OUT`] are left out.
    pub fn write(kind: u8, number: u8, value: u16, index: u16, data: &[u8]) -> Self {
        let mut request = Self::read(kind, number, value, index, 0);
        request.kind = kind & 0x7f;
        for (to, from) in request.data.iter_mut().zip(data) {
            *to = *from;
        }
        request.length = data.len().min(MOST_OUT) as u16;
        request
    }

    /// `SET_ADDRESS`.
    pub fn set_address(address: u8) -> Self {
        Self::write(0x00, number::SET_ADDRESS, address.into(), 0, &[])
    }

    /// `GET_DESCRIPTOR` for descriptor `which` of a type; strings in English.
    pub fn descriptor(kind: u8, which: u8, length: u16) -> Self {
        const ENGLISH: u16 = 0x0409;
        let language = match kind {
            super::descriptors::kind::STRING => ENGLISH,
            _ => 0,
        };
        let value = u16::from(kind) << 8 | u16::from(which);
        Self::read(0x80, number::GET_DESCRIPTOR, value, language, length)
    }

    /// `SET_CONFIGURATION`.
    pub fn set_configuration(value: u8) -> Self {
        Self::write(0x00, number::SET_CONFIGURATION, value.into(), 0, &[])
    }

    /// `SET_INTERFACE`: an alternate setting.
    pub fn set_interface(interface: u8, alternate: u8) -> Self {
        Self::write(
            0x01,
            number::SET_INTERFACE,
            alternate.into(),
            interface.into(),
            &[],
        )
    }

    /// `CLEAR_FEATURE(ENDPOINT_HALT)`: lets an endpoint work again that refuses.
    pub fn clear_halt(endpoint: u8) -> Self {
        Self::write(0x02, number::CLEAR_FEATURE, 0, endpoint.into(), &[])
    }

    /// The hub's own descriptor.
    pub fn hub_descriptor() -> Self {
        let value = u16::from(super::descriptors::kind::HUB) << 8;
        let length = super::descriptors::HubDescriptor::BYTES as u16;
        Self::read(0xa0, number::GET_DESCRIPTOR, value, 0, length)
    }

    /// How a hub's port stands: two words, state and changes.
    pub fn port_status(port: u8) -> Self {
        Self::read(0xa3, number::GET_STATUS, 0, port.into(), 4)
    }

    /// Turns something of a hub's port on.
    pub fn set_port(feature: u16, port: u8) -> Self {
        Self::write(0x23, number::SET_FEATURE, feature, port.into(), &[])
    }

    /// Turns something of a hub's port off.
    pub fn clear_port(feature: u16, port: u8) -> Self {
        Self::write(0x23, number::CLEAR_FEATURE, feature, port.into(), &[])
    }

    /// Whether the device is to send.
    pub fn is_read(&self) -> bool {
        self.kind & 0x80 != 0
    }

    /// What is sent along.
    pub fn data(&self) -> &[u8] {
        let length = match self.is_read() {
            true => 0,
            false => self.length.into(),
        };
        self.data.get(..length).unwrap_or(&[])
    }

    /// The eight bytes that begin the transfer (USB 2.0, table 9-2).
    pub fn setup(&self) -> [u8; 8] {
        let [a, b] = self.value.to_le_bytes();
        let [c, d] = self.index.to_le_bytes();
        let [e, f] = self.length.to_le_bytes();
        [self.kind, self.number, a, b, c, d, e, f]
    }
}

/// What came of the last step.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// There was none: this is the beginning.
    Begin,
    /// The request went well; what the device sent, which is nothing for one that sent data to it.
    Data(&'a [u8]),
    /// The request failed.
    Failed(TransferError),
    /// The time is over.
    Waited,
}

impl<'a> Answer<'a> {
    /// What the device sent, or why it did not; nothing for what was no request.
    ///
    /// # Errors
    /// [`TransferError`], of the request.
    pub fn data(self) -> Result<&'a [u8], TransferError> {
        match self {
            Self::Data(bytes) => Ok(bytes),
            Self::Failed(error) => Err(error),
            Self::Begin | Self::Waited => Ok(&[]),
        }
    }
}

/// What a run does next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Asks the device.
    Ask(Target, Request),
    /// Lets so many microseconds pass.
    Wait(u64),
    /// The run is over, and all is as it should be.
    Done,
    /// The run is over: the device does not do what it must.
    Failed,
}
