//! What a new device is asked (USB 2.0, 9.1.2), as a run of requests:
//!
//! ```text
//!   first 8 bytes of its descriptor -> address -> (it settles) -> descriptor
//!     -> for each configuration: its head -> all of it -> over
//! ```
//!
//! It begins at address 0, where no other device may be.

use super::Class;
use super::descriptors::{
    Configuration, DeviceDescriptor, Direction, Endpoint, EndpointKind, kind,
};
use super::request::{Answer, MOST_IN, Request, Speed, Step, Target};

/// How long a device may take to answer by its new address, in microseconds: five times what it is allowed
/// (USB 2.0, 9.2.6.3).
const SETTLE: u64 = 10_000;
/// Most configurations that are looked at.
const MOST_CONFIGURATIONS: u8 = 4;
/// Class of hubs.
const HUB: u8 = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    First,
    Address,
    Settle,
    Device,
    Head,
    Whole,
}

/// What a device turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A hub, with the configuration to choose and the endpoint that tells of changes.
    Hub {
        configuration: u8,
        changes: Option<Endpoint>,
    },
    /// Anything else.
    Function,
}

/// The run for one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enumeration {
    /// How the device is reached now.
    pub target: Target,
    /// What it is, when the run is done.
    pub found: Found,
    address: u8,
    phase: Phase,
    device: Option<DeviceDescriptor>,
    configuration: u8,
}

impl Enumeration {
    /// Of a device that answers at address 0, to have `address`.
    pub(super) fn new(address: u8, speed: Speed) -> Self {
        // A high-speed device has packets of 64 bytes; of any other 8 may be expected (USB 2.0, 5.5.3).
        let max_packet = match speed {
            Speed::High => 64,
            _ => 8,
        };
        Self {
            target: Target {
                address: 0,
                max_packet,
                speed,
            },
            found: Found::Function,
            address,
            phase: Phase::First,
            device: None,
            configuration: 0,
        }
    }

    /// The next step. Configurations are offered to `class`.
    pub(super) fn step<C: Class>(&mut self, answer: Answer<'_>, class: &mut C) -> Step {
        if matches!(answer, Answer::Begin) {
            let length = DeviceDescriptor::FIRST_BYTES as u16;
            return self.ask(Request::descriptor(kind::DEVICE, 0, length));
        }
        let Ok(bytes) = answer.data() else {
            // A configuration that cannot be read is passed over.
            return match self.phase {
                Phase::Head | Phase::Whole => self.next_configuration(),
                _ => Step::Failed,
            };
        };
        self.answered(bytes, class).unwrap_or(Step::Failed)
    }

    fn ask(&self, request: Request) -> Step {
        Step::Ask(self.target, request)
    }

    fn answered<C: Class>(&mut self, bytes: &[u8], class: &mut C) -> Option<Step> {
        match self.phase {
            Phase::First => {
                self.target.max_packet = DeviceDescriptor::max_packet(bytes)?;
                self.phase = Phase::Address;
                Some(self.ask(Request::set_address(self.address)))
            }
            Phase::Address => {
                self.target.address = self.address;
                self.phase = Phase::Settle;
                Some(Step::Wait(SETTLE))
            }
            Phase::Settle => {
                self.phase = Phase::Device;
                let length = DeviceDescriptor::BYTES as u16;
                Some(self.ask(Request::descriptor(kind::DEVICE, 0, length)))
            }
            Phase::Device => {
                self.device = Some(DeviceDescriptor::parse(bytes)?);
                Some(self.head())
            }
            Phase::Head => {
                let total = Configuration::total_bytes(bytes);
                let Some(total) = total.filter(|total| usize::from(*total) <= MOST_IN) else {
                    return Some(self.next_configuration());
                };
                self.phase = Phase::Whole;
                Some(self.ask(Request::descriptor(
                    kind::CONFIGURATION,
                    self.configuration,
                    total,
                )))
            }
            Phase::Whole => {
                if let Some(configuration) = Configuration::parse(bytes) {
                    self.judge(&configuration, class);
                }
                Some(self.next_configuration())
            }
        }
    }

    fn judge<C: Class>(&mut self, configuration: &Configuration<'_>, class: &mut C) {
        let Some(device) = &self.device else {
            return;
        };
        if device.class != HUB {
            class.offer(device, configuration);
        } else if self.found == Found::Function {
            let mut interfaces = configuration.interfaces();
            let changes = interfaces
                .find_map(|interface| interface.endpoint(EndpointKind::Interrupt, Direction::In));
            self.found = Found::Hub {
                configuration: configuration.value,
                changes,
            };
        }
    }

    fn head(&mut self) -> Step {
        self.phase = Phase::Head;
        let length = Configuration::HEAD_BYTES as u16;
        self.ask(Request::descriptor(
            kind::CONFIGURATION,
            self.configuration,
            length,
        ))
    }

    fn next_configuration(&mut self) -> Step {
        self.configuration = self.configuration.saturating_add(1);
        let has = self.device.map_or(0, |device| device.configurations);
        match self.configuration < has.min(MOST_CONFIGURATIONS) {
            true => self.head(),
            false => Step::Done,
        }
    }
}
