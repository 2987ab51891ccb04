//! AArch64: Cortex-A53 and its kind.
//!
//! * [`boot`]: from the firmware's hand-over to Rust, on each core.
//! * [`vectors`]: the exception table and the paths that are counted in instructions.
//! * [`switch`]: from one environment to another; [`macros`]: what both share.
//! * [`exception`]: what becomes of an exception that nobody expected.
//! * [`core_data`]: what each core has of its own.
//! * [`mmu`]: the kernel's own mappings; [`tables`]: those of spaces, behind one trait; [`arena`]: generated code.
//! * [`upcall`]: notices, and the way back from an upcall; [`uarea`]: the page that both use.
//! * [`user`]: the one way to user memory; `copy`: frames, from anywhere.
//! * [`timer`], [`smp`], [`pmu`], [`cache`], [`barrier`], [`memory`], [`semihosting`].

pub mod arena;
pub mod barrier;
pub mod boot;
pub mod cache;
pub mod context;
pub mod copy;
pub mod core_data;
pub mod exception;
mod macros;
pub mod memory;
pub mod mmu;
pub mod pct;
pub mod pmu;
pub mod semihosting;
pub mod smp;
pub mod switch;
pub mod tables;
pub mod timer;
pub mod uarea;
pub mod upcall;
pub mod user;
pub mod vectors;
