//! The whole stack against the controller's model: adapters, hubs, faults.

mod chips;
mod faults;
mod frames;
mod loopback;
mod parsers;

use crate::drivers::dwc2::Dwc2;
use crate::drivers::dwc2::model::adapter::{Adapter, Cable};
use crate::drivers::dwc2::model::hub::Hub;
use crate::drivers::dwc2::model::memory::Memory;
use crate::drivers::dwc2::model::unit::Unit;
use crate::drivers::dwc2::model::{Character, Model};
use crate::drivers::usb::Speed;
use crate::traits::{Ethernet, Link, MacAddress};

use super::nic::Kind;
use super::usb::{MEMORY_BYTES, UsbEthernet};

/// The board's own address.
const BOARD: MacAddress = MacAddress([0xb8, 0x27, 0xeb, 1, 2, 3]);
/// Register accesses that one call may take at most: what a bounded call is, in a number.
const MOST_ACCESSES: u64 = 20_000;

/// A driver with its hardware.
struct World {
    model: Model,
    interface: UsbEthernet<Model, Memory>,
    /// Calls of `serve` so far.
    serves: u64,
}

impl World {
    fn new(character: Character, root: Unit, best: Kind) -> Self {
        let (memory, shared) = Memory::new(MEMORY_BYTES);
        let model = Model::new(character, shared, root);
        let controller = Dwc2::new(model.clone());
        Self {
            interface: UsbEthernet::new(controller, memory, Some(BOARD), best),
            model,
            serves: 0,
        }
    }

    fn now(&self) -> u64 {
        self.model.now()
    }

    /// Serves once, within bounds.
    fn serve(&mut self) {
        let before = self.model.0.borrow().accesses;
        self.interface.serve(self.now());
        self.serves += 1;
        let taken = self.model.0.borrow().accesses - before;
        assert!(taken < MOST_ACCESSES, "{taken} accesses in one call");
    }

    /// Serves interrupts and times until the time is over or something holds; whether it does.
    fn until(&mut self, microseconds: u64, done: impl Fn(&mut Self) -> bool) -> bool {
        let end = self.now() + microseconds;
        while self.now() < end {
            if done(self) {
                return true;
            }
            self.model.run(50);
            let mut rounds = 0;
            while self.model.interrupts() {
                self.serve();
                rounds += 1;
                assert!(rounds < 20, "the interrupt does not end");
            }
            if self
                .interface
                .next_look()
                .is_some_and(|due| self.now() >= due)
            {
                self.serve();
            }
        }
        done(self)
    }

    fn run(&mut self, microseconds: u64) {
        self.until(microseconds, |_| false);
    }

    fn up(&mut self) -> bool {
        self.until(20_000_000, |world| world.interface.link() == Link::Up)
    }

    /// Sends when there is room; whether that was in time.
    fn send(&mut self, frame: &[u8]) -> bool {
        self.until(5_000_000, |world| {
            let now = world.now();
            world.interface.try_send(&[frame], now).is_ok()
        })
    }

    /// Takes a frame when there is one.
    fn receive(&mut self, microseconds: u64) -> Option<Vec<u8>> {
        let mut found = None;
        let end = self.now() + microseconds;
        while found.is_none() && self.now() < end {
            let some = self
                .interface
                .try_receive(|frame| found = Some(frame.to_vec()));
            if !some {
                self.run(100);
            }
        }
        found
    }
}

/// A frame of this length that no other number makes.
fn frame(length: usize, number: u32) -> Vec<u8> {
    let mut value = number.wrapping_mul(0x9e37_79b9) | 1;
    let bytes = (0..length).map(|_| {
        value ^= value << 13;
        value ^= value >> 17;
        value ^= value << 5;
        value as u8
    });
    bytes.collect()
}

/// The adapter behind a hub, as the emulator has it.
fn behind_hub(speed: Speed, flawed: bool) -> (Unit, Cable) {
    let (adapter, cable) = Adapter::unit(speed, flawed);
    let mut ports: Vec<Option<Unit>> = (0..7).map(|_| None).collect();
    ports.insert(0, Some(adapter));
    (Hub::unit(speed, ports), cable)
}
