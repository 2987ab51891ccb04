//! Ethernet interfaces.
//!
//! * [`usb`]: any of the adapters below, on the USB host: rings of frames, transfers, recovery.
//! * [`nic`]: which adapter a device is, its set-up, its link.
//! * [`rndis`], [`cdc`], [`lan`]: what each must be asked.
//! * `format`: what each puts around a frame.
//! * [`loopback`]: an interface whose cable leads back to it.

pub mod cdc;
mod format;
pub mod lan;
pub mod loopback;
pub mod nic;
mod rings;
pub mod rndis;
#[cfg(test)]
mod tests;
pub mod usb;
