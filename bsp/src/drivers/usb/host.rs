//! The bus: its root port, the devices on it, and one run of requests at a time.
//!
//! ```text
//!   Stopping -> Resetting -> Unplugged -> Debounce -> PortReset -> Enabling -> Recovery -> Up
//!      ^            | late       ^ '------- unplugged --'             | late                |
//!      |          Dead           '------------------------------------'                     |
//!      '---------------------------- unplugged, or the controller is stuck -----------------'
//! ```
//!
//! With the bus up, runs take turns on the control pipe: first devices that are new, then hubs to be set up,
//! ports to be looked at, and the class driver's requests. One device at a time is at address 0, since a run
//! that brings one there is followed by the one that gives it an address.
//!
//! A device that fails is tried three times, then its port is left alone until something is plugged in there.

mod runs;
mod watch;

use super::Class;
use super::control::{self, Control};
use super::enumeration::Enumeration;
use super::hub::{self, Hub, Look, SetUp};
use super::request::{Speed, Target};
use crate::bus::Bus;
use crate::dma::{DmaMemory, LINE};
use crate::drivers::dwc2::Dwc2;

/// Most devices on the bus, hubs included.
pub const MOST_DEVICES: usize = 15;
/// Bytes of the driver's memory that the bus takes, from its start.
pub const MEMORY_BYTES: usize = CHANGES + LINE;
/// Where hubs put which of their ports have changed.
const CHANGES: usize = control::BYTES;
/// The channel that asks them.
const HUB_CHANNEL: usize = 1;
/// Channels that the bus uses, from 0. The others are the class driver's.
pub const OWN_CHANNELS: usize = 2;

/// Microseconds from one question of hubs what has changed to the next.
const WATCH: u64 = 2_000_000;
/// How long such a question may take.
const WATCH_PATIENCE: u64 = 100_000;
/// How long the controller may take for its reset.
const RESET_PATIENCE: u64 = 200_000;
/// How long a reset of the root port lasts (USB 2.0, 7.1.7.5), and until the port then is on.
const PORT_RESET: u64 = 50_000;
const PORT_PATIENCE: u64 = 100_000;
/// How soon a state is looked at again that nothing interrupts for.
const LOOK: u64 = 1_000;
/// How soon a broken bus is tried again.
const PAUSE: u64 = 1_000_000;
/// How often a device is tried.
const TRIES: u8 = 3;
/// Most that is done at a time. What is left is done at the next look, which is then due at once.
const MOST_ROUNDS: usize = 64;

/// How far the bus has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Stopping,
    Resetting { until: u64 },
    Dead { until: u64 },
    Unplugged,
    Debounce { until: u64 },
    PortReset { until: u64 },
    Enabling { until: u64 },
    Recovery { until: u64 },
    Up,
    GivenUp,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    /// At address 0.
    New,
    Hub(Hub),
    /// The class driver has it.
    Function,
    /// Nobody knows what to do with it.
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Device {
    /// The hub that it is on and the port; none on the root port.
    parent: Option<(usize, u8)>,
    target: Target,
    role: Role,
}

/// What the control pipe is used for, and for which device.
#[derive(Clone, Copy, Debug)]
enum Run {
    Enumerate(usize, Enumeration),
    SetUp(usize, SetUp),
    Look(usize, Look),
    /// A port of a hub is turned off, with whatever is at address 0 there.
    Off(usize, u8),
    Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pipe {
    Free,
    /// The run has not begun.
    Begin,
    Asked,
    Waiting {
        until: u64,
    },
}

/// The bus behind a controller, with memory for its transfers and a driver for one class of devices.
#[derive(Debug)]
pub struct Host<B, D, C> {
    /// The controller; channels from [`OWN_CHANNELS`] on are for the class driver's owner.
    pub controller: Dwc2<B>,
    /// The memory; what is behind [`MEMORY_BYTES`] is for the class driver's owner.
    pub memory: D,
    /// The class driver.
    pub class: C,
    root: Root,
    root_failures: u8,
    devices: [Option<Device>; MOST_DEVICES],
    control: Control,
    run: Option<Run>,
    pipe: Pipe,
    watch_at: u64,
    watched: usize,
    watching: bool,
    /// The last look ended because it had done enough.
    more: bool,
}

impl<B: Bus, D: DmaMemory, C: Class> Host<B, D, C> {
    /// A bus that begins with the reset of its controller, at the first look. `memory` has at least
    /// [`MEMORY_BYTES`].
    pub const fn new(controller: Dwc2<B>, memory: D, class: C) -> Self {
        Self {
            controller,
            memory,
            class,
            root: Root::Stopping,
            root_failures: 0,
            devices: [const { None }; MOST_DEVICES],
            control: Control::IDLE,
            run: None,
            pipe: Pipe::Free,
            watch_at: 0,
            watched: 0,
            watching: false,
            more: true,
        }
    }

    /// Resets everything from the controller on, which is what makes sure that channels are quiet. Devices are
    /// found and set up anew.
    pub fn restart(&mut self) {
        self.remove_all();
        self.root_failures = 0;
        self.root = Root::Stopping;
        self.more = true;
    }

    /// Goes on with all that is due, and does not wait. `port_changed` as the controller said it.
    pub fn advance(&mut self, port_changed: bool, now: u64) {
        if port_changed {
            self.port_changed();
        }
        for _ in 0..MOST_ROUNDS {
            if !self.round(now) {
                self.more = false;
                return;
            }
        }
        self.more = true;
    }

    /// When [`Host::advance`] is due at the latest, without an interrupt.
    pub fn next_look(&self, now: u64) -> u64 {
        if self.more {
            return now;
        }
        match self.root {
            Root::Stopping | Root::Resetting { .. } | Root::Enabling { .. } => now + LOOK,
            Root::Dead { until }
            | Root::Debounce { until }
            | Root::PortReset { until }
            | Root::Recovery { until } => until,
            // The port interrupts; this is for one that has done so before anybody listened.
            Root::Unplugged | Root::GivenUp => now + PAUSE,
            Root::Up => match self.pipe {
                Pipe::Waiting { until } => until,
                // The channel interrupts; this is for a device that does not answer.
                Pipe::Asked | Pipe::Begin => now + PAUSE,
                Pipe::Free => {
                    let class = self.class.due().unwrap_or(u64::MAX);
                    self.watch_at.min(class).max(now)
                }
            },
        }
    }

    /// The root port says that it has changed: plugged in, unplugged, or turned off.
    fn port_changed(&mut self) {
        let port = self.controller.port();
        self.controller.forget_port_changes();
        let works = port.connected && port.enabled;
        if self.root == Root::Up && !works {
            // Channels at work do not end by themselves when their devices are gone.
            self.restart();
        } else if self.root == Root::GivenUp {
            self.root_failures = 0;
            self.root = Root::Unplugged;
        }
    }

    /// One thing that is due; whether there was one.
    fn round(&mut self, now: u64) -> bool {
        let next = match self.root {
            Root::Up => return self.pipe_round(now) || self.watch(now),
            root => self.root_round(root, now),
        };
        let moved = next.is_some();
        self.root = next.unwrap_or(self.root);
        moved
    }

    /// The state after this one, if this one is over.
    fn root_round(&mut self, root: Root, now: u64) -> Option<Root> {
        match root {
            Root::Stopping => self.controller.stop_all(now).then(|| {
                self.controller.begin_reset();
                Root::Resetting {
                    until: now + RESET_PATIENCE,
                }
            }),
            Root::Resetting { until } => {
                if self.controller.continue_reset() {
                    self.forget_pipe();
                    self.controller.power_port();
                    return Some(Root::Unplugged);
                }
                (now >= until).then_some(Root::Dead { until: now + PAUSE })
            }
            Root::Dead { until } => (now >= until).then(|| {
                self.controller.begin_reset();
                Root::Resetting {
                    until: now + RESET_PATIENCE,
                }
            }),
            Root::Unplugged => self.controller.port().connected.then_some(Root::Debounce {
                until: now + hub::DEBOUNCE,
            }),
            Root::Debounce { until } => {
                if !self.controller.port().connected {
                    return Some(Root::Unplugged);
                }
                (now >= until).then(|| {
                    self.controller.set_port_reset(true);
                    Root::PortReset {
                        until: now + PORT_RESET,
                    }
                })
            }
            Root::PortReset { until } => (now >= until).then(|| {
                self.controller.set_port_reset(false);
                Root::Enabling {
                    until: now + PORT_PATIENCE,
                }
            }),
            Root::Enabling { until } => {
                let port = self.controller.port();
                if port.enabled {
                    self.controller.forget_port_changes();
                    return Some(Root::Recovery {
                        until: now + hub::RECOVERY,
                    });
                }
                (now >= until || !port.connected).then(|| self.root_failed())
            }
            Root::Recovery { until } => (now >= until).then(|| self.root_works(now)),
            Root::Up | Root::GivenUp => None,
        }
    }

    fn root_works(&mut self, now: u64) -> Root {
        let port = self.controller.port();
        if !port.enabled {
            return self.root_failed();
        }
        self.watch_at = now + WATCH;
        self.add(None, port.speed);
        Root::Up
    }

    fn root_failed(&mut self) -> Root {
        self.root_failures = self.root_failures.saturating_add(1);
        if self.root_failures >= TRIES {
            return Root::GivenUp;
        }
        Root::Unplugged
    }

    fn forget_pipe(&mut self) {
        self.control.forget();
        self.run = None;
        self.pipe = Pipe::Free;
        self.watching = false;
    }

    /// Notes a device that answers at address 0. With the table full it is turned off.
    fn add(&mut self, parent: Option<(usize, u8)>, speed: Speed) {
        let free = self.devices.iter_mut().enumerate();
        let free = free.into_iter().find(|(_, device)| device.is_none());
        let Some((index, place)) = free else {
            self.run = parent.map(|(hub, port)| Run::Off(hub, port));
            return;
        };
        let enumeration = Enumeration::new(index as u8 + 1, speed);
        *place = Some(Device {
            parent,
            target: enumeration.target,
            role: Role::New,
        });
        self.run = Some(Run::Enumerate(index, enumeration));
    }

    fn remove_all(&mut self) {
        if self.devices.iter().flatten().any(Device::is_function) {
            self.class.detach();
        }
        self.devices = [const { None }; MOST_DEVICES];
    }

    /// Forgets a device and all behind it.
    fn remove(&mut self, index: usize) {
        let Some(device) = self.devices.get_mut(index).and_then(Option::take) else {
            return;
        };
        if device.is_function() {
            self.class.detach();
        }
        // Each removal makes the table shorter, so this ends.
        while let Some(orphan) = self.orphan() {
            let device = self.devices.get_mut(orphan).and_then(Option::take);
            if device.is_some_and(|device| device.is_function()) {
                self.class.detach();
            }
        }
    }

    /// A device whose hub is gone.
    fn orphan(&self) -> Option<usize> {
        self.devices.iter().position(|device| {
            let parent = device.as_ref().and_then(|device| device.parent);
            parent.is_some_and(|(hub, _)| self.hub(hub).is_none())
        })
    }

    fn child(&self, hub: usize, port: u8) -> Option<usize> {
        let here = Some((hub, port));
        self.devices
            .iter()
            .position(|device| device.as_ref().is_some_and(|device| device.parent == here))
    }

    fn hub(&self, index: usize) -> Option<&Hub> {
        match self.devices.get(index)? {
            Some(Device {
                role: Role::Hub(hub),
                ..
            }) => Some(hub),
            _ => None,
        }
    }

    fn hub_mut(&mut self, index: usize) -> Option<&mut Hub> {
        match self.devices.get_mut(index)? {
            Some(Device {
                role: Role::Hub(hub),
                ..
            }) => Some(hub),
            _ => None,
        }
    }

    fn target(&self, index: usize) -> Option<Target> {
        let device = self.devices.get(index)?.as_ref()?;
        Some(device.target)
    }

    /// A device does not do what it must: it is forgotten, and tried again a few times.
    fn failed(&mut self, index: usize, now: u64) {
        let Some(Some(device)) = self.devices.get(index) else {
            return;
        };
        let parent = device.parent;
        self.remove(index);
        match parent {
            Some((hub, port)) => {
                if let Some(hub) = self.hub_mut(hub) {
                    hub.unseen |= 1 << (port & 15);
                    if let Some(failures) = hub.failures.get_mut(usize::from(port)) {
                        *failures = failures.saturating_add(1);
                    }
                }
                // It may be at address 0, where the next one is to be.
                self.run = Some(Run::Off(hub, port));
                self.pipe = Pipe::Begin;
            }
            None => {
                self.remove_all();
                self.root = match self.root_failed() {
                    Root::GivenUp => Root::GivenUp,
                    // What was stopped is over for certain when the controller was reset.
                    _ => Root::Stopping,
                };
                self.watch_at = now + WATCH;
            }
        }
    }
}

impl Device {
    fn is_function(&self) -> bool {
        matches!(self.role, Role::Function)
    }
}
