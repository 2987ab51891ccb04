//! Descriptors: what a device says of itself (USB 2.0, chapter 9.5 and 9.6).
//!
//! A configuration comes as one run of descriptors, each with its length and type in front:
//!
//! ```text
//!   configuration | interface 0 alt 0 | (class's own ...) | endpoint ... | interface 1 alt 0 | ...
//! ```
//!
//! Parsers here are total: a value or none. Lengths are checked once, when a [`Configuration`] is made,
//! and the iterators then end where the bytes do.

/// Descriptor types (USB 2.0, table 9-5; CDC 1.2, table 12; USB 2.0, 11.23.2.1).
pub(crate) mod kind {
    pub const DEVICE: u8 = 1;
    pub const CONFIGURATION: u8 = 2;
    pub const STRING: u8 = 3;
    pub const INTERFACE: u8 = 4;
    pub const ENDPOINT: u8 = 5;
    pub const CLASS_INTERFACE: u8 = 0x24;
    pub const HUB: u8 = 0x29;
}

/// Reads a little-endian number of two bytes, if it is there.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    Some(u16::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// Reads a little-endian number of four bytes, if it is there.
pub(crate) fn double_word(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// A device descriptor (USB 2.0, table 9-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceDescriptor {
    /// Class of the whole device; 0 if its interfaces have their own.
    pub class: u8,
    /// Largest packet of endpoint 0: 8, 16, 32 or 64.
    pub max_packet: u8,
    /// Who made it.
    pub vendor: u16,
    /// Which of the maker's products it is.
    pub product: u16,
    /// Number of the string that names the maker; 0 for none.
    pub maker_string: u8,
    /// How many configurations it has.
    pub configurations: u8,
}

impl DeviceDescriptor {
    /// Bytes of the descriptor.
    pub const BYTES: usize = 18;
    /// Bytes of the part that tells the size of endpoint 0's packets.
    pub const FIRST_BYTES: usize = 8;

    /// The size of endpoint 0's packets, out of the descriptor's first [`Self::FIRST_BYTES`].
    pub fn max_packet(bytes: &[u8]) -> Option<u8> {
        let &[length, kind::DEVICE, _, _, _, _, _, max_packet, ..] = bytes else {
            return None;
        };
        let sane = usize::from(length) >= Self::BYTES && matches!(max_packet, 8 | 16 | 32 | 64);
        sane.then_some(max_packet)
    }

    /// The descriptor.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let max_packet = Self::max_packet(bytes)?;
        Some(Self {
            class: *bytes.get(4)?,
            max_packet,
            vendor: word(bytes, 8)?,
            product: word(bytes, 10)?,
            maker_string: *bytes.get(14)?,
            configurations: *bytes.get(17)?,
        })
    }
}

/// A descriptor within a configuration: its type, and all its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// What it describes.
    pub kind: u8,
    /// The whole descriptor, length and type included.
    pub bytes: &'a [u8],
}

/// The descriptors in a run of bytes, up to the first that does not fit.
#[derive(Clone, Copy, Debug)]
struct Descriptors<'a>(&'a [u8]);

impl<'a> Iterator for Descriptors<'a> {
    type Item = Descriptor<'a>;

    fn next(&mut self) -> Option<Descriptor<'a>> {
        let &[length, kind, ..] = self.0 else {
            return None;
        };
        if length < 2 {
            return None;
        }
        let (bytes, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(Descriptor { kind, bytes })
    }
}

/// A configuration with all that belongs to it (USB 2.0, table 9-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration<'a> {
    /// What `SET_CONFIGURATION` chooses it by.
    pub value: u8,
    bytes: &'a [u8],
}

impl<'a> Configuration<'a> {
    /// Bytes of the descriptor in front.
    pub const HEAD_BYTES: usize = 9;

    /// How many bytes all of it takes, out of its first [`Self::HEAD_BYTES`].
    pub fn total_bytes(head: &[u8]) -> Option<u16> {
        let &[length, kind::CONFIGURATION, ..] = head else {
            return None;
        };
        let total = word(head, 2)?;
        let sane = usize::from(length) >= Self::HEAD_BYTES && total >= u16::from(length);
        sane.then_some(total)
    }

    /// The configuration in `bytes`, which hold all of it.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.get(..Self::total_bytes(bytes)?.into())?;
        let lengths = Descriptors(bytes).map(|descriptor| descriptor.bytes.len());
        // 0 means "not configured" and cannot be chosen.
        let value = *bytes.get(5).filter(|value| **value != 0)?;
        (lengths.sum::<usize>() == bytes.len()).then_some(Self { value, bytes })
    }

    /// The interfaces, one for each alternate setting, in order.
    pub fn interfaces(&self) -> impl Iterator<Item = Interface<'a>> + use<'a> {
        let mut rest = Descriptors(self.bytes);
        core::iter::from_fn(move || {
            let head = rest.find(|descriptor| descriptor.kind == kind::INTERFACE)?;
            Some((head, rest.0))
        })
        .filter_map(|(head, rest)| Interface::parse(head.bytes, rest))
    }
}

/// An interface in one of its alternate settings (USB 2.0, table 9-12).
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// Its number.
    pub number: u8,
    /// The alternate setting.
    pub alternate: u8,
    /// Class, subclass, protocol.
    pub class: [u8; 3],
    rest: &'a [u8],
}

impl<'a> Interface<'a> {
    fn parse(head: &[u8], rest: &'a [u8]) -> Option<Self> {
        let &[_, _, number, alternate, _, a, b, c, ..] = head else {
            return None;
        };
        Some(Self {
            number,
            alternate,
            class: [a, b, c],
            rest,
        })
    }

    /// What follows until the next interface.
    fn own(&self) -> impl Iterator<Item = Descriptor<'a>> + use<'a> {
        Descriptors(self.rest).take_while(|descriptor| descriptor.kind != kind::INTERFACE)
    }

    /// The first endpoint of this kind.
    pub fn endpoint(&self, kind: EndpointKind, direction: Direction) -> Option<Endpoint> {
        self.own()
            .filter_map(|descriptor| Endpoint::parse(&descriptor))
            .find(|endpoint| endpoint.kind == kind && endpoint.direction == direction)
    }

    /// The first of the class's own descriptors that has this subtype, all its bytes.
    pub fn functional(&self, subtype: u8) -> Option<&'a [u8]> {
        self.own()
            .filter(|descriptor| descriptor.kind == kind::CLASS_INTERFACE)
            .find(|descriptor| descriptor.bytes.get(2) == Some(&subtype))
            .map(|descriptor| descriptor.bytes)
    }
}

/// Which way data goes, seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the device.
    Out,
    /// To the host.
    In,
}

/// How data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// Questions and answers.
    Control,
    /// At reserved times. No driver here uses it.
    Isochronous,
    /// As fast as there is room.
    Bulk,
    /// Asked for now and then.
    Interrupt,
}

/// An endpoint (USB 2.0, table 9-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its number, 1 to 15.
    pub number: u8,
    /// Which way.
    pub direction: Direction,
    /// How.
    pub kind: EndpointKind,
    /// Most bytes of a packet, 1 to 1024.
    pub max_packet: u16,
}

impl Endpoint {
    fn parse(descriptor: &Descriptor<'_>) -> Option<Self> {
        if descriptor.kind != kind::ENDPOINT {
            return None;
        }
        let address = *descriptor.bytes.get(2)?;
        let attributes = *descriptor.bytes.get(3)?;
        // Bits 11 and 12 are for periodic endpoints of high bandwidth.
        let max_packet = word(descriptor.bytes, 4)? & 0x7ff;
        let number = address & 0xf;
        let direction = match address >> 7 {
            0 => Direction::Out,
            _ => Direction::In,
        };
        let kind = match attributes & 3 {
            0 => EndpointKind::Control,
            1 => EndpointKind::Isochronous,
            2 => EndpointKind::Bulk,
            _ => EndpointKind::Interrupt,
        };
        let sane = number != 0 && (1..=1024).contains(&max_packet);
        sane.then_some(Self {
            number,
            direction,
            kind,
            max_packet,
        })
    }

    /// As requests name it: number and direction in one.
    pub fn address(&self) -> u8 {
        match self.direction {
            Direction::Out => self.number,
            Direction::In => self.number | 0x80,
        }
    }
}

/// A hub's own descriptor (USB 2.0, table 11-13), as far as it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubDescriptor {
    /// How many ports it has, from 1.
    pub ports: u8,
    /// Microseconds from turning a port's power on until it is good.
    pub power_good: u64,
}

impl HubDescriptor {
    /// Bytes of it that are looked at.
    pub const BYTES: usize = 7;

    /// The descriptor.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[length, kind::HUB, ports, _, _, power_good, _, ..] = bytes else {
            return None;
        };
        let sane = usize::from(length) >= Self::BYTES && ports != 0;
        sane.then_some(Self {
            ports,
            // In units of 2 ms.
            power_good: u64::from(power_good) * 2_000,
        })
    }
}

/// The characters of a string descriptor, those that are ASCII (USB 2.0, table 9-16: UTF-16).
pub fn ascii(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let text = match bytes {
        &[length, kind::STRING, ..] => bytes.get(2..length.into()).unwrap_or(&[]),
        _ => &[],
    };
    text.chunks_exact(2).map_while(|unit| match unit {
        [character, 0] if character.is_ascii() => Some(*character),
        _ => None,
    })
}
