//! Measures the kernel from EL0, in guest instructions: the rows of the benchmark table.
//!
//! The cycle counter counts instructions in the emulator under `-icount shift=0`, at EL0 and EL1, so a
//! row is one reading taken from another, less what two readings in a row differ by. Each round is
//! measured by itself; rounds of one thing must agree, the minimum is the row's figure, and where they
//! do not agree the result line says so. Nothing is printed while something is measured.
//!
//! Boot argument `rows=network` has those rows measured that need a network adapter, and no others; `rows=flood`, how
//! much of the core is left while frames come that nobody wants; `rows=rate`, how many frames go and come in a second.
//!
//! A kernel with the feature `count` executes more instructions. Whoever runs both takes figures (`B`)
//! from the one without and event counts (`V`) from the one with it; the two are never mixed.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod authority;
#[cfg(target_os = "none")]
mod flood;
#[cfg(target_os = "none")]
mod frames;
#[cfg(target_os = "none")]
mod handing;
#[cfg(target_os = "none")]
mod longest;
#[cfg(target_os = "none")]
mod measure;
#[cfg(target_os = "none")]
mod messages;
#[cfg(target_os = "none")]
mod pipe;
#[cfg(target_os = "none")]
mod report;
#[cfg(target_os = "none")]
mod rows;
#[cfg(target_os = "none")]
mod slices;
#[cfg(target_os = "none")]
mod transfer;
#[cfg(target_os = "none")]
mod vm;
#[cfg(target_os = "none")]
mod wire;

#[cfg(target_os = "none")]
exopi_rt::entry!(main);

#[cfg(target_os = "none")]
use report::main;

/// Off target there is nothing to measure.
#[cfg(not(target_os = "none"))]
fn main() {}
