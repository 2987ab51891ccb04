//! The processor: everything that names one of its registers or instructions.
//!
//! Generic code says `arch::...`; a port to another architecture defines the same names.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub use aarch64::*;

#[cfg(not(target_arch = "aarch64"))]
compile_error!("the kernel knows AArch64 alone");
