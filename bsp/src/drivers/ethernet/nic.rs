//! Which Ethernet adapter a USB device is, how it is set up, and how its link stands.
//!
//! ```text
//!   offered -> taken -> set up -> works: the link is asked for now and then
//!                          '- refused, late -> the bus resets it and offers it anew
//! ```
//!
//! Of a device with both, RNDIS is taken before CDC Ethernet: it alone lets a frame go to the emulated
//! device in one step by legal means (see [`rndis`](super::rndis)).
//!
//! # The emulator's long packets
//!
//! What the emulated device sends ends with a packet that is not full, except an RNDIS message of whole
//! packets, which ends with nothing: the transfer would stay open until the next frame. Its controller does
//! not compare the packet size that a transfer names with the endpoint's. So for the emulator, told by its
//! controller's version ([`Dwc2::is_emulated`](crate::drivers::dwc2::Dwc2::is_emulated)), which no board
//! has, receive transfers name a packet size that no message reaches, and each ends where its message does.
//! On a board that would be wrong, and it is never done there.

use super::cdc::{self, Cdc};
use super::format::{Format, MOST_SENT};
use super::lan::{Chip, Lan};
use super::rings::ROOM;
use super::rndis::Rndis;
use crate::drivers::dwc2::pipe::Pipe;
use crate::drivers::dwc2::stream::{Inlet, Outlet};
use crate::drivers::usb::Class;
use crate::drivers::usb::descriptors::{
    Configuration, DeviceDescriptor, Direction, Endpoint, EndpointKind, Interface,
};
use crate::drivers::usb::request::{Answer, Request, Step, Target};
use crate::traits::{Link, MacAddress};

/// Microseconds from one question for the link to the next: while it is up, and while it is not.
const WATCH_UP: u64 = 4_000_000;
const WATCH_DOWN: u64 = 500_000;
/// The packet size that the emulator is told.
const LONG_PACKET: u16 = 2047;

/// Which kind of adapter, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// CDC Ethernet.
    Cdc,
    /// RNDIS.
    Rndis,
    /// LAN9514: Raspberry Pi 3 Model B.
    Lan9514,
    /// LAN7515, LAN7800: Raspberry Pi 3 Model B+.
    Lan7800,
}

/// A device's configuration that can be driven.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub kind: Kind,
    pub configuration: u8,
    pub control_interface: u8,
    pub data_interface: u8,
    pub alternate: u8,
    pub address_string: u8,
    pub input: Endpoint,
    pub output: Endpoint,
}

/// Class, subclass and protocol of interfaces that talk RNDIS: the original, "wireless", "miscellaneous".
const RNDIS: [[u8; 3]; 3] = [[0x02, 0x02, 0xff], [0xe0, 0x01, 0x03], [0xef, 0x04, 0x01]];
/// Class and subclass of CDC Ethernet (CDC 1.2, table 4).
const ECM: [u8; 2] = [0x02, 0x06];
/// Class of interfaces for data.
const DATA: u8 = 0x0a;
/// Microchip's vendor number, and the two chips.
const MICROCHIP: u16 = 0x0424;
const LAN9514: u16 = 0xec00;
const LAN7800: u16 = 0x7800;

impl Offer {
    /// The bulk endpoints of an interface.
    fn pair(interface: &Interface<'_>) -> Option<(Endpoint, Endpoint)> {
        let input = interface.endpoint(EndpointKind::Bulk, Direction::In)?;
        let output = interface.endpoint(EndpointKind::Bulk, Direction::Out)?;
        // The longest of high speed; a longer one is a lie.
        (input.max_packet <= 512 && output.max_packet <= 512).then_some((input, output))
    }

    fn chip(kind: Kind, configuration: &Configuration<'_>) -> Option<Self> {
        let mut interfaces = configuration.interfaces();
        let (interface, (input, output)) =
            interfaces.find_map(|interface| Some((interface, Self::pair(&interface)?)))?;
        Some(Self {
            kind,
            configuration: configuration.value,
            control_interface: interface.number,
            data_interface: interface.number,
            alternate: interface.alternate,
            address_string: 0,
            input,
            output,
        })
    }

    /// An interface for requests and one for data.
    fn two(configuration: &Configuration<'_>) -> Option<Self> {
        let is_ecm = |class: [u8; 3]| class.starts_with(&ECM);
        let control = configuration
            .interfaces()
            .find(|interface| RNDIS.contains(&interface.class) || is_ecm(interface.class))?;
        let address = control.functional(cdc::FUNCTIONAL).and_then(|it| it.get(3));
        let (kind, address_string) = match is_ecm(control.class) {
            true => (Kind::Cdc, *address?),
            false => (Kind::Rndis, 0),
        };
        let named = control.functional(cdc::UNION).and_then(|it| it.get(4));
        let mut data = configuration.interfaces().filter(|interface| {
            let [class, ..] = interface.class;
            class == DATA && named.is_none_or(|number| *number == interface.number)
        });
        let (data, (input, output)) =
            data.find_map(|interface| Some((interface, Self::pair(&interface)?)))?;
        Some(Self {
            kind,
            configuration: configuration.value,
            control_interface: control.number,
            data_interface: data.number,
            alternate: data.alternate,
            address_string,
            input,
            output,
        })
    }

    fn of(device: &DeviceDescriptor, configuration: &Configuration<'_>) -> Option<Self> {
        match (device.vendor, device.product) {
            (MICROCHIP, LAN9514) => Self::chip(Kind::Lan9514, configuration),
            (MICROCHIP, LAN7800) => Self::chip(Kind::Lan7800, configuration),
            _ => Self::two(configuration),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Cdc(Cdc),
    Rndis(Rndis),
    Lan(Lan),
}

/// What is asked of the device next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    SetUp,
    Watch,
    /// An endpoint refuses, and is to work again.
    ClearHalt(Direction),
}

/// The device that is driven.
#[derive(Clone, Copy, Debug)]
struct Device {
    target: Target,
    offer: Offer,
    protocol: Protocol,
    works: bool,
    task: Task,
    due: u64,
    halted_input: bool,
    halted_output: bool,
}

/// How frames go to a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub outlet: Outlet,
    /// One transfer for each packet, since the emulator lets time pass between the packets of one.
    pub by_packet: bool,
}

/// The driver for adapters, of which it drives one.
#[derive(Debug)]
pub struct Nic {
    /// Address for a chip that has none of its own.
    board_address: Option<MacAddress>,
    /// No better kind is taken.
    best: Kind,
    emulated: bool,
    offer: Option<Offer>,
    device: Option<Device>,
}

impl Nic {
    /// A driver without a device. A chip without an address of its own gets `board_address`; a device that
    /// can be driven in several ways is driven in the best that is not better than `best`; `emulated` if the
    /// controller is the emulator's.
    pub const fn new(board_address: Option<MacAddress>, best: Kind, emulated: bool) -> Self {
        Self {
            board_address,
            best,
            emulated,
            offer: None,
            device: None,
        }
    }

    /// The kind of the device that works.
    pub fn kind(&self) -> Option<Kind> {
        self.working().map(|device| device.offer.kind)
    }

    fn working(&self) -> Option<&Device> {
        self.device.as_ref().filter(|device| device.works)
    }

    pub(super) fn address(&self) -> Option<MacAddress> {
        match &self.working()?.protocol {
            Protocol::Cdc(it) => it.address,
            Protocol::Rndis(it) => it.address,
            Protocol::Lan(it) => Some(it.address()),
        }
    }

    pub(super) fn link(&self) -> Link {
        match self.working().map(|device| &device.protocol) {
            None => Link::Absent,
            Some(Protocol::Cdc(it)) => it.link(),
            Some(Protocol::Rndis(it)) => it.link(),
            Some(Protocol::Lan(it)) => it.link(),
        }
    }

    /// How to receive, if the device can be asked now.
    pub(super) fn input(&self) -> Option<Inlet> {
        let device = self.working().filter(|device| !device.halted_input)?;
        let long =
            self.emulated && matches!(device.protocol, Protocol::Cdc(_) | Protocol::Rndis(_));
        let Endpoint {
            number, max_packet, ..
        } = device.offer.input;
        let max_packet = if long { LONG_PACKET } else { max_packet };
        let pipe = Pipe::bulk(device.target.address, number, Direction::In, max_packet)?;
        Inlet::new(pipe, ROOM as u32)
    }

    /// How to send, if the device can be given something now.
    pub(super) fn output(&self) -> Option<Way> {
        let device = self.working().filter(|device| !device.halted_output)?;
        let Endpoint {
            number, max_packet, ..
        } = device.offer.output;
        let pipe = Pipe::bulk(device.target.address, number, Direction::Out, max_packet)?;
        Some(Way {
            outlet: Outlet::new(pipe, MOST_SENT as u32)?,
            by_packet: self.emulated && matches!(device.protocol, Protocol::Cdc(_)),
        })
    }

    /// What is around frames of the device that works.
    pub(super) fn format(&self) -> Option<Format> {
        let device = self.working()?;
        Some(match &device.protocol {
            Protocol::Cdc(_) => Format::Cdc,
            Protocol::Rndis(it) => it.format(device.offer.output.max_packet.into()),
            Protocol::Lan(it) => it.format(),
        })
    }

    /// An endpoint refuses: it is not used until that was mended, with the first request that can be made.
    pub(super) fn halted(&mut self, direction: Direction) {
        if let Some(device) = &mut self.device {
            match direction {
                Direction::In => device.halted_input = true,
                Direction::Out => device.halted_output = true,
            }
            device.due = 0;
        }
    }
}

impl Class for Nic {
    fn offer(&mut self, device: &DeviceDescriptor, configuration: &Configuration<'_>) {
        let new = Offer::of(device, configuration);
        let new = new.filter(|new| new.kind <= self.best || new.kind > Kind::Rndis);
        if new.map(|new| new.kind) > self.offer.map(|old| old.kind) {
            self.offer = new;
        }
    }

    fn accept(&mut self, target: Target) -> bool {
        let Some(offer) = self.offer.take() else {
            return false;
        };
        if self.device.is_some() {
            return false;
        }
        let protocol = match offer.kind {
            Kind::Cdc => Protocol::Cdc(Cdc::new()),
            Kind::Rndis => Protocol::Rndis(Rndis::new(self.emulated)),
            Kind::Lan9514 => Protocol::Lan(Lan::new(Chip::Lan9514, self.board_address)),
            Kind::Lan7800 => Protocol::Lan(Lan::new(Chip::Lan7800, self.board_address)),
        };
        self.device = Some(Device {
            target,
            offer,
            protocol,
            works: false,
            task: Task::SetUp,
            due: 0,
            halted_input: false,
            halted_output: false,
        });
        true
    }

    fn detach(&mut self) {
        self.device = None;
    }

    fn due(&self) -> Option<u64> {
        self.device.map(|device| device.due)
    }

    fn step(&mut self, answer: Answer<'_>, now: u64) -> Step {
        let Some(device) = &mut self.device else {
            return Step::Failed;
        };
        if matches!(answer, Answer::Begin) {
            device.task = match device {
                Device { works: false, .. } => Task::SetUp,
                Device {
                    halted_input: true, ..
                } => Task::ClearHalt(Direction::In),
                Device {
                    halted_output: true,
                    ..
                } => Task::ClearHalt(Direction::Out),
                _ => Task::Watch,
            };
        }
        let step = device.step(answer);
        if matches!(step, Step::Done) {
            device.done(now);
        }
        step
    }
}

impl Device {
    fn step(&mut self, answer: Answer<'_>) -> Step {
        let Self { target, offer, .. } = *self;
        match (self.task, &mut self.protocol) {
            (Task::SetUp, Protocol::Cdc(it)) => it.set_up(target, &offer, answer),
            (Task::SetUp, Protocol::Rndis(it)) => it.set_up(target, &offer, answer),
            (Task::SetUp, Protocol::Lan(it)) => it.set_up(target, &offer, answer),
            (Task::Watch, Protocol::Cdc(_)) => Step::Done,
            (Task::Watch, Protocol::Rndis(it)) => it.watch(target, &offer, answer),
            (Task::Watch, Protocol::Lan(it)) => it.watch(target, answer),
            (Task::ClearHalt(direction), _) => {
                let endpoint = match direction {
                    Direction::In => offer.input,
                    Direction::Out => offer.output,
                };
                match answer {
                    Answer::Begin => Step::Ask(target, Request::clear_halt(endpoint.address())),
                    Answer::Data(_) => Step::Done,
                    _ => Step::Failed,
                }
            }
        }
    }

    fn done(&mut self, now: u64) {
        match self.task {
            Task::SetUp => self.works = true,
            Task::ClearHalt(Direction::In) => self.halted_input = false,
            Task::ClearHalt(Direction::Out) => self.halted_output = false,
            Task::Watch => {}
        }
        let up = match &self.protocol {
            Protocol::Cdc(_) => true,
            Protocol::Rndis(it) => it.link() == Link::Up,
            Protocol::Lan(it) => it.link() == Link::Up,
        };
        self.due = match () {
            () if self.halted_input || self.halted_output => 0,
            () if up => now + WATCH_UP,
            () => now + WATCH_DOWN,
        };
    }
}
