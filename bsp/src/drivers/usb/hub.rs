//! Hubs: set up once, and then a look at each port that has changed (USB 2.0, chapter 11).
//!
//! A look at a port, as a run of requests:
//!
//! ```text
//!   status -> clear what has changed -> gone?  tell
//!                                    -> somebody new? -> wait until it stays -> status -> reset
//!                                         -> status, until the reset is over -> clear -> (it settles) -> tell
//! ```

use super::descriptors::{Endpoint, HubDescriptor, word};
use super::request::{Answer, Request, Speed, Step, Target};

/// Most ports of a hub; a port beyond is never given power.
pub(super) const MOST_PORTS: u8 = 15;

/// Features of a port (USB 2.0, table 11-17).
mod feature {
    pub const ENABLE: u16 = 1;
    pub const RESET: u16 = 4;
    pub const POWER: u16 = 8;
    /// The change with bit 0 in the second word of the status; the others follow it.
    pub const FIRST_CHANGE: u16 = 16;
}

/// State of a port (USB 2.0, table 11-21).
mod state {
    pub const CONNECTED: u16 = 1 << 0;
    pub const ENABLED: u16 = 1 << 1;
    pub const RESETTING: u16 = 1 << 4;
    pub const LOW_SPEED: u16 = 1 << 9;
    pub const HIGH_SPEED: u16 = 1 << 10;
}

/// Changes of a port (USB 2.0, table 11-22).
mod change {
    pub const CONNECTION: u16 = 1 << 0;
    pub const ALL: u16 = 0x1f;
}

/// Microseconds that a connection must last before it is believed (USB 2.0, 7.1.7.3).
pub(super) const DEBOUNCE: u64 = 100_000;
/// Microseconds from one look at a reset to the next, and how many looks. A hub resets for 10 to 20 ms
/// (USB 2.0, 7.1.7.5); an emulated one may be late.
const RESET_LOOK: u64 = 10_000;
const RESET_LOOKS: u8 = 50;
/// Microseconds of rest that a device has after its reset (USB 2.0, 7.1.7.5).
pub(super) const RECOVERY: u64 = 10_000;

/// A hub that is set up, or about to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hub {
    /// The configuration to choose.
    pub configuration: u8,
    /// The endpoint that tells which ports have changed.
    pub changes: Option<Endpoint>,
    /// Mark of its next packet.
    pub next: crate::drivers::dwc2::channel::Pid,
    /// How many ports it has; 0 until it is set up.
    pub ports: u8,
    /// Ports to be looked at, bit n for port n.
    pub unseen: u16,
    /// How often the device at a port did not do what it must, since it was plugged in.
    pub failures: [u8; 1 + MOST_PORTS as usize],
    /// How often in a row the hub itself did not.
    pub own_failures: u8,
}

impl Hub {
    pub(super) fn new(configuration: u8, changes: Option<Endpoint>) -> Self {
        Self {
            configuration,
            changes,
            next: crate::drivers::dwc2::channel::Pid::Data0,
            ports: 0,
            unseen: 0,
            failures: [0; _],
            own_failures: 0,
        }
    }

    /// All its ports, bit n for port n.
    pub(super) fn all_ports(&self) -> u16 {
        let most = self.ports.min(MOST_PORTS);
        (u16::MAX >> (15 - most)) & !1
    }
}

/// Chooses the hub's configuration and gives its ports power.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetUp {
    target: Target,
    phase: SetUpPhase,
    /// What it says of itself, once it was asked.
    pub hub: Option<HubDescriptor>,
}

#[derive(Clone, Copy, Debug)]
enum SetUpPhase {
    Configuration,
    Descriptor,
    /// Power for this port.
    Power(u8),
    PowerGood,
}

impl SetUp {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            phase: SetUpPhase::Configuration,
            hub: None,
        }
    }

    pub(super) fn step(&mut self, answer: Answer<'_>, configuration: u8) -> Step {
        if matches!(answer, Answer::Begin) {
            return Step::Ask(self.target, Request::set_configuration(configuration));
        }
        let Ok(bytes) = answer.data() else {
            return Step::Failed;
        };
        match self.phase {
            SetUpPhase::Configuration => {
                self.phase = SetUpPhase::Descriptor;
                Step::Ask(self.target, Request::hub_descriptor())
            }
            SetUpPhase::Descriptor => {
                self.hub = HubDescriptor::parse(bytes);
                match self.hub {
                    Some(_) => self.power(1),
                    None => Step::Failed,
                }
            }
            SetUpPhase::Power(port) => self.power(port.saturating_add(1)),
            SetUpPhase::PowerGood => Step::Done,
        }
    }

    fn power(&mut self, port: u8) -> Step {
        let Some(hub) = self.hub else {
            return Step::Failed;
        };
        if port > hub.ports.min(MOST_PORTS) {
            self.phase = SetUpPhase::PowerGood;
            return Step::Wait(hub.power_good);
        }
        self.phase = SetUpPhase::Power(port);
        Step::Ask(self.target, Request::set_port(feature::POWER, port))
    }
}

#[derive(Clone, Copy, Debug)]
enum LookPhase {
    Status,
    /// These changes are left to be cleared.
    Clear(u16),
    Debounce,
    Again,
    Reset,
    /// So many looks are left.
    ResetLook(u8),
    ResetStatus(u8),
    ClearReset,
    Recovery,
    Off,
}

/// A look at a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    hub: Target,
    port: u8,
    phase: LookPhase,
    /// Whether somebody is known to be there.
    child: bool,
    /// Whether a device there may be tried.
    willing: bool,
    state: u16,
    /// Somebody was there and is not any more: to be taken by who runs this.
    pub lost: bool,
    /// Something was plugged in or out.
    pub replugged: bool,
    /// The device there does not come out of its reset. That is no failure of the hub.
    pub unusable: bool,
    /// The device there was turned off, and is not to be tried again.
    pub refused: bool,
    /// How fast the device is that answers at address 0, when the run is done.
    pub new: Option<Speed>,
}

impl Look {
    /// At `port` of `hub`, where somebody is known to be or not; `willing` to try a device there, which has not
    /// failed too often.
    pub(super) fn new(hub: Target, port: u8, child: bool, willing: bool) -> Self {
        Self {
            hub,
            port,
            phase: LookPhase::Status,
            child,
            willing,
            state: 0,
            lost: false,
            replugged: false,
            unusable: false,
            refused: false,
            new: None,
        }
    }

    /// Which port.
    pub(super) fn port(&self) -> u8 {
        self.port
    }

    fn ask(&mut self, phase: LookPhase, request: Request) -> Step {
        self.phase = phase;
        Step::Ask(self.hub, request)
    }

    fn wait(&mut self, phase: LookPhase, time: u64) -> Step {
        self.phase = phase;
        Step::Wait(time)
    }

    pub(super) fn step(&mut self, answer: Answer<'_>) -> Step {
        if matches!(answer, Answer::Begin) {
            return self.ask(LookPhase::Status, Request::port_status(self.port));
        }
        let Ok(bytes) = answer.data() else {
            return Step::Failed;
        };
        match self.phase {
            LookPhase::Status => {
                let (Some(state), Some(changes)) = (word(bytes, 0), word(bytes, 2)) else {
                    return Step::Failed;
                };
                self.state = state;
                self.replugged = changes & change::CONNECTION != 0;
                self.clear(changes & change::ALL)
            }
            LookPhase::Clear(left) => self.clear(left),
            LookPhase::Debounce => self.ask(LookPhase::Again, Request::port_status(self.port)),
            LookPhase::Again => self.is_stable(bytes),
            LookPhase::Reset => self.wait(LookPhase::ResetLook(RESET_LOOKS), RESET_LOOK),
            LookPhase::ResetLook(left) => self.ask(
                LookPhase::ResetStatus(left),
                Request::port_status(self.port),
            ),
            LookPhase::ResetStatus(left) => self.is_reset(bytes, left),
            LookPhase::Off => self.clear_reset(),
            LookPhase::ClearReset if self.refused => Step::Done,
            LookPhase::ClearReset => self.wait(LookPhase::Recovery, RECOVERY),
            LookPhase::Recovery => {
                self.new = Some(self.speed());
                Step::Done
            }
        }
    }

    /// Clears one of these changes, or judges the port if there is none.
    fn clear(&mut self, changes: u16) -> Step {
        if changes != 0 {
            let feature = feature::FIRST_CHANGE + changes.trailing_zeros() as u16;
            let request = Request::clear_port(feature, self.port);
            return self.ask(LookPhase::Clear(changes & (changes - 1)), request);
        }
        let both = state::CONNECTED | state::ENABLED;
        let stays = self.state & both == both && !self.replugged;
        if self.child && stays {
            return Step::Done;
        }
        self.lost = self.child;
        let connected = self.state & state::CONNECTED != 0;
        if connected && (self.willing || self.replugged) {
            return self.wait(LookPhase::Debounce, DEBOUNCE);
        }
        Step::Done
    }

    fn is_stable(&mut self, bytes: &[u8]) -> Step {
        let (Some(state), Some(changes)) = (word(bytes, 0), word(bytes, 2)) else {
            return Step::Failed;
        };
        if state & state::CONNECTED == 0 || changes & change::CONNECTION != 0 {
            // The hub will tell of it.
            return Step::Done;
        }
        let request = Request::set_port(feature::RESET, self.port);
        self.ask(LookPhase::Reset, request)
    }

    fn is_reset(&mut self, bytes: &[u8], left: u8) -> Step {
        let Some(state) = word(bytes, 0) else {
            return Step::Failed;
        };
        self.state = state;
        if state & state::CONNECTED == 0 {
            return Step::Done;
        }
        let over = state & state::RESETTING == 0 && state & state::ENABLED != 0;
        match (over, left) {
            (true, _) if self.hub.speed == Speed::High && self.speed() != Speed::High => {
                // It would need split transactions. Left on, it would answer at address 0.
                self.refused = true;
                self.ask(LookPhase::Off, off(self.port))
            }
            (true, _) => self.clear_reset(),
            (false, 0) => {
                self.unusable = true;
                Step::Done
            }
            (false, _) => self.wait(LookPhase::ResetLook(left - 1), RESET_LOOK),
        }
    }

    fn clear_reset(&mut self) -> Step {
        let request = Request::clear_port(feature::FIRST_CHANGE + feature::RESET, self.port);
        self.ask(LookPhase::ClearReset, request)
    }

    fn speed(&self) -> Speed {
        if self.state & state::LOW_SPEED != 0 {
            Speed::Low
        } else if self.state & state::HIGH_SPEED != 0 {
            Speed::High
        } else {
            Speed::Full
        }
    }
}

/// A request that turns a port off.
pub(super) fn off(port: u8) -> Request {
    Request::clear_port(feature::ENABLE, port)
}
