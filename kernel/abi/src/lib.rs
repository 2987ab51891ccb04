//! All that crosses the line between EL0 and EL1, written once for both sides.
//!
//! * [`calls`]: the call table. One row gives a call its number, typed decoding, dispatcher entry,
//!   EL0 stub, trace name and reference page.
//! * [`error`], [`registers`], [`types`]: what the rows are made of, and how it travels in registers.
//! * [`uarea`]: the page in which the kernel leaves upcalls for an environment.
//! * [`transfer`]: how messages travel in registers from one environment to another.
//! * [`page`]: the record of a page frame.
//! * [`domain`]: the records of accounts, spaces and environments.
//! * [`msgring`]: rings of messages that the kernel copies.
//! * [`revocation`]: requests for what somebody has, answers, and what was taken.
//! * [`mod@slice`]: the record of a slice of processor time.
//! * [`disk`]: extents and requests for blocks.
//! * [`exposed`]: what the kernel shows to everybody, read-only.
//! * [`capability`]: the form of a capability, and how a holder narrows it.
//! * [`net`]: packet filters, packet rings, and what it takes to send a frame.
//! * [`predicate`]: what would wake a sleeper.
//! * [`boot`]: the form of the boot image behind the kernel.
//! * [`exit`]: exit statuses of the kernel in the emulator.
//! * [`layout`]: the addresses of user space that both sides must agree on.
//!
//! Records are `#[repr(C)]` with their size checked at compile time. Everything that is decoded comes
//! from a hostile place, so every decoder is total: a value or an [`Error`], never a panic.
#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]

pub mod boot;
pub mod calls;
pub mod capability;
pub mod disk;
pub mod domain;
pub mod error;
pub mod exit;
pub mod exposed;
#[cfg(not(target_os = "none"))]
pub mod host;
pub mod layout;
pub mod msgring;
pub mod net;
pub mod page;
pub mod predicate;
pub mod registers;
pub mod revocation;
pub mod slice;
#[cfg(target_os = "none")]
mod svc;
pub mod transfer;
pub mod types;
pub mod uarea;

pub use calls::{Call, Calls, stubs};
pub use capability::Capability;
pub use error::Error;
pub use registers::{Progress, Reply};
pub use types::{
    Access, Allocation, Breaking, Note, Object, OnRefusal, Operation, PageNumber, PageRun,
    PageSelect, PageSource, TableLevel, UserBytes, UserBytesMut, UserCapability, UserCapabilityMut,
    UserOperations, VirtAddr,
};

/// Version of everything in this crate; raised with every change that a program could notice.
pub const VERSION: u64 = 3;
