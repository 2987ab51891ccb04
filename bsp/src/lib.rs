//! Board layer: what a board is made of, and how its parts are driven.
//!
//! * [`bus`]: registers generic over a bus, which is volatile memory on target and a model in tests.
//! * [`dma`]: memory that devices read and write themselves.
//! * [`block`]: what the kernel asks of a device that stores blocks.
//! * [`traits`]: what the kernel asks of a serial port, an interrupt controller, a generator, ...
//! * [`drivers`]: one file for each hardware block, generic over the bus.
//! * [`handover`]: what the boot firmware leaves in memory.
//! * [`boards`]: addresses, interrupt numbers, and which driver serves which trait.
//!
//! Nothing here knows the kernel. A driver never allocates, never blocks without a bound, and never
//! trusts a value that it reads from a device as an index or a length without a check. `unsafe` is in
//! [`bus::Mmio`] and in the constructors of boards, which say where device memory is, and nowhere else.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod block;
pub mod boards;
pub mod bus;
pub mod dma;
pub mod drivers;
pub mod handover;
pub mod traits;
