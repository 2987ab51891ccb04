//! USB: devices found, given addresses, and handed to the driver of their class (USB 2.0, chapters 9, 11).
//!
//! * [`descriptors`]: what devices say of themselves.
//! * [`request`]: requests, and runs of them.
//! * [`host`]: the bus: root port, enumeration, hubs, who is where.
//!
//! Everything is a state that is looked at, and never a wait: [`host::Host::advance`] goes on as far as it
//! can at this time and returns. Tables are fixed. Full- and low-speed devices behind a high-speed hub would
//! need split transactions, which are not here: their ports are left off.

mod control;
pub mod descriptors;
mod enumeration;
pub mod host;
mod hub;
pub mod request;
#[cfg(test)]
mod tests;

pub use request::{Answer, Speed, Step, Target};

use descriptors::{Configuration, DeviceDescriptor};

/// A driver for a class of devices, as the bus calls it. It drives one device at a time.
pub trait Class {
    /// A device that was found has this configuration. The best one offered is remembered.
    fn offer(&mut self, device: &DeviceDescriptor, configuration: &Configuration<'_>);
    /// All configurations of a device were offered: whether it is taken. Offers are forgotten.
    fn accept(&mut self, target: Target) -> bool;
    /// The device is gone, or is about to be reset.
    fn detach(&mut self);
    /// When it wants to ask its device something, in microseconds.
    fn due(&self) -> Option<u64>;
    /// Goes on with what it asks. [`Step::Failed`] makes the bus reset the device and offer it anew, a few
    /// times.
    fn step(&mut self, answer: Answer<'_>, now: u64) -> Step;
}
