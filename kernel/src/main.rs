//! The Exopi kernel: protects what the machine has, and gives it no shape.
//!
//! Control comes in by four doors, and each leads through one room:
//!
//! ```text
//!   firmware  -> arch::boot -> kernel_main below -> the first environment
//!   svc #n    -> arch::vectors -> exopi_abi's decoder -> syscall::*: check, commit -> registers
//!   fault     -> arch::vectors -> the environment's own handler
//!   interrupt -> arch::vectors -> interrupts::serve -> its device
//! ```
//!
//! Who may do what is decided in crates of their own (`exopi-cap`, `exopi-pages`, `exopi-domains`), which know
//! nothing of this machine and are tested on the host; here is how it is done. All state that cores share is
//! behind `kernel::lock`. Nothing is allocated once the first environment runs.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]
#![deny(unsafe_code)]

// Off target there is nothing to run: the logic is in crates that are tested there.
#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod arch;
#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod card;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod environment;
#[cfg(target_os = "none")]
mod exposed;
#[cfg(target_os = "none")]
mod failure;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod kernel;
#[cfg(target_os = "none")]
mod network;
#[cfg(target_os = "none")]
mod power;
#[cfg(target_os = "none")]
mod seals;
#[cfg(target_os = "none")]
mod syscall;
