//! Exit statuses that the kernel itself gives the emulator. Programs use 0..=63 as they like.

/// The boot image was refused (`EX_DATAERR` of `sysexits.h`).
pub const BAD_IMAGE: u64 = 65;
/// The random generator gave no key for the seals of capabilities (`EX_UNAVAILABLE`).
pub const NO_KEY: u64 = 69;
/// The kernel took an exception that it has no use for, or found itself wrong (`EX_SOFTWARE`).
pub const KERNEL_FAILURE: u64 = 70;
/// The first environment was suspended by a fault, and nobody is left to run (`EX_OSERR`).
pub const FIRST_ENVIRONMENT_DIED: u64 = 71;
