//! Drivers, one file for each hardware block.
//!
//! Each is generic over the [`Bus`](crate::bus::Bus) that reaches its registers, and is tested on the
//! host against a model of its block. Models give registers by the manual's offsets, not by the
//! driver's constants, so that a wrong constant is seen.

pub mod bcm2835_dma;
pub mod bcm2835_ic;
pub mod bcm2836;
pub mod dwc2;
pub mod ethernet;
pub mod gpio;
pub mod mailbox;
pub mod pl011;
pub mod pm;
pub mod rng;
pub mod sd;
pub mod usb;
