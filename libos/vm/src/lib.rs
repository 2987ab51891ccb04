//! Virtual memory of a program's own: regions, demand-zero, copy-on-write, guard pages, handlers of faults.
//!
//! The kernel knows pages, tables and entries, and what a program makes of them is the program's affair.
//! This is one way, linked into the program and without any privilege; whoever wants another one writes it.
//!
//! ```text
//!   store --fault--> kernel --upcall--> rt's trampoline --> program::handle --> AddressSpace::fault
//!                                                                                |  whose region?
//!                                                                                v
//!     goes on <--resume-- Verdict <-- default (zeros, copy) or the region's Pager, a closure for instance
//! ```
//!
//! * [`AddressSpace`]: regions and all that can be done with them.
//! * [`Pager`]: what a fault on a region does. [`pager`] has those for closures and file-like sources.
//! * [`Supply`]: which frames are taken, and what becomes of those that come back.
//! * [`Policy`]: which pages go first when somebody needs them back; see [`revoke`].
//! * [`Machine`]: what all this needs of the kernel; [`Bare`] is the kernel itself.
//! * [`program`]: the one address space that the program runs in, and its fault handler.
//! * [`heap`]: the program's heap on a region of it.
//!
//! # What holds the truth
//!
//! Nothing is written down twice. Which page is where, and what it may be used for, is in the page tables,
//! which a program reads like any memory. How many entries name a page is in the page array, so the last
//! one that shares a page knows that it is alone, whoever the others were. Beside that the library keeps a
//! sorted table of regions, and for regions whose pages differ in what the *program* allows, a byte for each
//! page (see [`AddressSpace::protect`]). Table and bytes lie in pages that are always mapped, so that
//! the handler of faults cannot fault.
#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]

mod bare;
mod colours;
mod error;
mod fault;
pub mod heap;
mod lock;
mod machine;
pub mod pager;
pub mod program;
mod protect;
mod region;
mod regions;
mod release;
pub mod revoke;
mod share;
mod space;
mod superpage;
pub mod supply;
mod tables;
#[cfg(test)]
mod tests;

pub use bare::Bare;
pub use colours::Colours;
pub use error::Error;
pub use fault::{Fault, Kind, Verdict};
pub use machine::Machine;
pub use pager::Pager;
pub use region::{Options, Place, RegionInfo};
pub use regions::Slot;
pub use revoke::Policy;
pub use space::{AddressSpace, Layout};
pub use supply::Supply;
