//! The DWC2 USB controller as a host, moving data by itself (buffer DMA).
//!
//! Sources: no manual of this block is public for this chip. The registers are those that operating
//! systems for it agree on; what a host must do on the wire is in USB 2.0 (chapters 7.1.7, 8, 10).
//!
//! A *channel* does one transfer at a time: up to a thousand packets to or from one endpoint, to or from
//! one run of memory. See [`channel`] for its states. This file resets the controller, drives the root
//! port, and says what has interrupted:
//!
//! ```text
//!   AwaitIdle -> CoreReset -> FlushSend -> FlushReceive -> AwaitHost -> Ready
//! ```
//!
//! Nothing here waits: each step looks once, and whoever calls keeps the time. Start-of-frame interrupts
//! stay masked: a thousand a second (eight thousand at high speed) would say nothing that is needed.

pub mod channel;
#[cfg(test)]
pub(crate) mod model;
pub mod pipe;
mod registers;
pub mod stream;
#[cfg(test)]
mod tests;

use tock_registers::fields::FieldValue;
use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};

use crate::bus::Bus;
use crate::drivers::usb::Speed;
use channel::Channel;
use registers::{
    ChannelRegisters, FIFO, GAHBCFG, GINTMSK, GINTSTS, GNPTXFSIZ, GRSTCTL, GRXFSIZ, GSNPSID,
    GUSBCFG, HAINT, HAINTMSK, HCFG, HCINT, HPRT, HPTXFSIZ, PCGCTL,
};

/// Channels of the controller on these boards.
pub const CHANNELS: usize = 8;

/// Words of each FIFO. The chip has room for more than the three together; a high-speed packet is 128.
const FIFO_WORDS: u32 = 1024;

/// The version that the emulator's controller says it has, and that no board's controller has: theirs is
/// 2.80a.
const EMULATOR_VERSION: u32 = 0x4f54_294a;

/// How far the reset has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AwaitIdle,
    CoreReset,
    FlushSend,
    FlushReceive,
    AwaitHost,
    Ready,
}

/// What the root port says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Something is plugged in.
    pub connected: bool,
    /// It was reset and may be talked to.
    pub enabled: bool,
    /// Something was plugged in, or the port was turned on or off, since [`Dwc2::forget_port_changes`].
    pub changed: bool,
    /// How fast it is. Means something while the port is enabled.
    pub speed: Speed,
}

/// What waits to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The root port has changed.
    pub port: bool,
    /// Channels that have halted, bit n for channel n.
    pub channels: u32,
}

/// The controller behind `bus`.
#[derive(Debug)]
pub struct Dwc2<B> {
    bus: B,
    phase: Phase,
    channels: [Channel; CHANNELS],
}

impl<B: Bus> Dwc2<B> {
    /// Takes the controller over, which must have power. Nothing is touched until [`Dwc2::begin_reset`].
    pub const fn new(bus: B) -> Self {
        Self {
            bus,
            phase: Phase::AwaitIdle,
            channels: [Channel::IDLE; CHANNELS],
        }
    }

    /// Whether this is the emulator's controller. Only speed may depend on it, never what is correct.
    pub fn is_emulated(&self) -> bool {
        GSNPSID.on(&self.bus).get() == EMULATOR_VERSION
    }

    /// Begins to reset the controller: its interrupt goes off now, the rest is done by
    /// [`Dwc2::continue_reset`]. All channels must have been stopped.
    pub fn begin_reset(&mut self) {
        GAHBCFG.on(&self.bus).modify(GAHBCFG::INTERRUPT::CLEAR);
        self.phase = Phase::AwaitIdle;
    }

    /// Goes on with the reset by as many steps as are due; whether it is done. The root port then has no
    /// power, and channels are idle: the controller has forgotten what they did.
    pub fn continue_reset(&mut self) -> bool {
        while self.phase != Phase::Ready {
            let Some(next) = self.reset_step() else {
                return false;
            };
            self.phase = next;
        }
        true
    }

    /// The phase after this one, if this one is over.
    fn reset_step(&mut self) -> Option<Phase> {
        let state = GRSTCTL.on(&self.bus).extract();
        match self.phase {
            Phase::AwaitIdle => {
                if !state.is_set(GRSTCTL::BUS_IDLE) {
                    return None;
                }
                GRSTCTL.on(&self.bus).write(GRSTCTL::CORE_RESET::SET);
                Some(Phase::CoreReset)
            }
            Phase::CoreReset => {
                if state.is_set(GRSTCTL::CORE_RESET) || !state.is_set(GRSTCTL::BUS_IDLE) {
                    return None;
                }
                self.set_up();
                GRSTCTL
                    .on(&self.bus)
                    .write(GRSTCTL::FLUSH_SEND::SET + GRSTCTL::SEND_FIFO::All);
                Some(Phase::FlushSend)
            }
            Phase::FlushSend => {
                if state.is_set(GRSTCTL::FLUSH_SEND) {
                    return None;
                }
                GRSTCTL.on(&self.bus).write(GRSTCTL::FLUSH_RECEIVE::SET);
                Some(Phase::FlushReceive)
            }
            Phase::FlushReceive => {
                (!state.is_set(GRSTCTL::FLUSH_RECEIVE)).then_some(Phase::AwaitHost)
            }
            Phase::AwaitHost => {
                // Forcing takes the controller up to 25 ms.
                if !GINTSTS.on(&self.bus).is_set(GINTSTS::HOST) {
                    GUSBCFG.on(&self.bus).modify(GUSBCFG::FORCE_HOST::SET);
                    return None;
                }
                self.turn_on();
                Some(Phase::Ready)
            }
            Phase::Ready => None,
        }
    }

    /// Chooses PHY, DMA and FIFO sizes, which the core's reset has forgotten.
    fn set_up(&mut self) {
        let bus = &self.bus;
        // Clocks on, all of them.
        PCGCTL.on(bus).set(0);
        GUSBCFG.on(bus).modify(
            GUSBCFG::PHY_16_BITS::CLEAR
                + GUSBCFG::ULPI::CLEAR
                + GUSBCFG::FULL_SPEED_PHY::CLEAR
                + GUSBCFG::SESSION_REQUEST::CLEAR
                + GUSBCFG::HOST_NEGOTIATION::CLEAR,
        );
        HCFG.on(bus)
            .modify(HCFG::CLOCK.val(0) + HCFG::NO_HIGH_SPEED::CLEAR);
        GRXFSIZ.on(bus).set(FIFO_WORDS);
        GNPTXFSIZ
            .on(bus)
            .write(FIFO::START.val(FIFO_WORDS) + FIFO::DEPTH.val(FIFO_WORDS));
        HPTXFSIZ
            .on(bus)
            .write(FIFO::START.val(2 * FIFO_WORDS) + FIFO::DEPTH.val(FIFO_WORDS));
    }

    /// Forgets all channels, and turns on what interrupts.
    fn turn_on(&mut self) {
        let bus = &self.bus;
        for (number, channel) in self.channels.iter_mut().enumerate() {
            let registers = ChannelRegisters::of(number);
            registers.mask().on(bus).write(HCINT::HALTED::SET);
            registers.events().on(bus).set(u32::MAX);
            // No driver here talks to slow devices behind fast hubs.
            registers.split().on(bus).set(0);
            channel.forget();
        }
        HAINTMSK.on(bus).set((1 << CHANNELS) - 1);
        GINTSTS.on(bus).set(u32::MAX);
        GINTMSK
            .on(bus)
            .write(GINTSTS::PORT::SET + GINTSTS::CHANNELS::SET);
        GAHBCFG
            .on(bus)
            .write(GAHBCFG::DMA::SET + GAHBCFG::WAIT_FOR_WRITES::SET + GAHBCFG::INTERRUPT::SET);
    }

    /// Lets the controller interrupt or not. What happens meanwhile is not lost: it interrupts then.
    pub fn set_interrupts(&mut self, on: bool) {
        let on = if on {
            GAHBCFG::INTERRUPT::SET
        } else {
            GAHBCFG::INTERRUPT::CLEAR
        };
        GAHBCFG.on(&self.bus).modify(on);
    }

    /// What waits to be served. It goes on interrupting until [`Dwc2::poll`] has seen the channel's end,
    /// or [`Dwc2::forget_port_changes`] was called.
    #[inline]
    pub fn pending(&self) -> Pending {
        let state = GINTSTS.on(&self.bus).extract();
        Pending {
            port: state.is_set(GINTSTS::PORT),
            channels: match state.is_set(GINTSTS::CHANNELS) {
                true => HAINT.on(&self.bus).get(),
                false => 0,
            },
        }
    }

    /// How the root port stands.
    pub fn port(&self) -> Port {
        let port = HPRT.on(&self.bus).extract();
        Port {
            connected: port.is_set(HPRT::CONNECTED),
            enabled: port.is_set(HPRT::ENABLED),
            changed: port.is_set(HPRT::CONNECT_DETECTED)
                || port.is_set(HPRT::ENABLE_CHANGED)
                || port.is_set(HPRT::OVERCURRENT_CHANGED),
            speed: match port.read_as_enum(HPRT::SPEED) {
                Some(HPRT::SPEED::Value::High) => Speed::High,
                Some(HPRT::SPEED::Value::Full) => Speed::Full,
                _ => Speed::Low,
            },
        }
    }

    /// Changes the port's register without doing what writing its other bits back would do.
    fn change_port(&mut self, change: FieldValue<u32, HPRT::Register>) {
        let quiet = HPRT::CONNECT_DETECTED::CLEAR
            + HPRT::ENABLED::CLEAR
            + HPRT::ENABLE_CHANGED::CLEAR
            + HPRT::OVERCURRENT_CHANGED::CLEAR;
        let port = HPRT.on(&self.bus);
        let kept = quiet.modify(port.get());
        port.set(change.modify(kept));
    }

    /// Takes note of what has changed at the root port, which then no longer interrupts.
    pub fn forget_port_changes(&mut self) {
        self.change_port(
            HPRT::CONNECT_DETECTED::SET
                + HPRT::ENABLE_CHANGED::SET
                + HPRT::OVERCURRENT_CHANGED::SET,
        );
    }

    /// Gives the root port power.
    pub fn power_port(&mut self) {
        self.change_port(HPRT::POWER::SET);
    }

    /// Begins or ends a reset of what is plugged in. The caller keeps the time: 50 ms for a root port
    /// (USB 2.0, 7.1.7.5).
    pub fn set_port_reset(&mut self, on: bool) {
        self.change_port(if on {
            HPRT::RESET::SET
        } else {
            HPRT::RESET::CLEAR
        });
    }
}
