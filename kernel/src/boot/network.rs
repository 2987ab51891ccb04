//! The network interface alone, before anything else runs, in builds with feature `selftest` alone. Boot arguments:
//!
//! * `selftest=echo`: what arrives goes back ([`echo`]);
//! * `selftest=frames`: what a frame costs the driver, each way ([`frames`]). The interface then becomes programs', so that
//!   one of them can do the same in the same run.
//!
//! With `-cdc` behind it, the same by CDC Ethernet, where a device has both.

mod echo;
mod frames;

use exopi_bsp::boards::{FirmwareMailbox, Network, UsbController};
use exopi_bsp::drivers::ethernet::nic::Kind;
use exopi_bsp::traits::{Clock, Ethernet, Firmware};

use super::firmware::Message;
use super::selftest;
use crate::arch::timer;
use crate::console::log;
use crate::interrupts;
use crate::network::memory::Memory;
pub use echo::serve;

/// How long the interface may take to come up, and how long frames may fail to come, in microseconds.
const PATIENCE: u64 = 15_000_000;

struct Counter;

impl Clock for Counter {
    fn microseconds(&self) -> u64 {
        timer::microseconds(timer::now())
    }
}

/// Does what the boot arguments ask for. If that is nothing, the controller is given back.
// Its large frame is gone from the boot's stack when it returns.
#[inline(never)]
pub(super) fn run(
    arguments: &[u8],
    usb: UsbController,
    firmware: &mut FirmwareMailbox<Message>,
    memory: Memory,
) -> Option<(UsbController, Memory)> {
    let (test, best) = match selftest::asked(arguments) {
        Some(b"echo") => (echo::run as fn(_) -> _, Kind::Rndis),
        Some(b"echo-cdc") => (echo::run as fn(_) -> _, Kind::Cdc),
        Some(b"frames") => (frames::run as fn(_) -> _, Kind::Rndis),
        Some(b"frames-cdc") => (frames::run as fn(_) -> _, Kind::Cdc),
        _ => return Some((usb, memory)),
    };
    if let Err(error) = firmware.power_usb() {
        log!("network: the USB controller gets no power: {error:?}");
        return None;
    }
    let mut interface = Network::new(usb, memory, firmware.mac_address().ok(), best);
    let begin = Counter.microseconds();
    let started = interface.start(&Counter, PATIENCE);
    let took = Counter.microseconds() - begin;
    let (Ok(()), Some(address), Some(kind)) = (started, interface.address(), interface.kind())
    else {
        log!("network: no interface");
        return None;
    };
    log!("network: {kind:?} {address}, up after {took} us");
    if let Some(interface) = test(interface) {
        crate::network::adopt(interface);
        interrupts::enable(crate::network::INTERRUPT);
    }
    None
}
