//! A simulated kernel: the call table on the host, served by the logic crates of the real one.
//!
//! ```text
//!   a test, or a libOS through its stubs
//!        |  exopi_abi::Calls, typed or from registers
//!     Kernel  -- decodes, reads user memory, verifies: what the real kernel's `syscall` does
//!        |
//!     exopi-domains, exopi-pages, exopi-cap: the same code as in the real kernel
//!        |
//!     the hardware model of exopi-pages: stale TLBs, walk caches and instruction lines
//! ```
//!
//! * [`Board`], [`Storage`]: how large the machine is, its key and clock; and the records that it keeps.
//! * [`Kernel`]: the kernel, and what runs on it: environments, one of them running on each core.
//! * [`user`]: the memory that calls are given addresses of: that of the simulated space, or the test's own.
//! * [`el0`]: loads, stores and fetches of environments, through the model's TLBs, and upcalls.
//! * [`found`]: one more environment, with all that it needs.
//! * [`Installed`]: a kernel behind the stubs of a thread, for libOS crates under `cargo test`.
//! * [`SimulatedWorld`]: what an environment sees of it, for random sequences.
//! * [`replay`]: a sequence from its seed, told line by line as the target tells it.
//!
//! What it has not: devices, a network interface among them, time that passes by itself, and preemption. A test says what the time is, and
//! who runs when.
#![deny(unsafe_code)]

mod board;
mod calls;
pub mod el0;
mod found;
mod installed;
mod kernel;
pub mod replay;
pub mod user;
mod world;

pub use board::{Board, Storage, TICKS_PER_SECOND};
pub use found::{Founded, found, owned};
pub use installed::Installed;
pub use kernel::{First, Kernel, MemoryMode, PowerOff, Saved, Seen, Serve, Snapshot};
pub use world::SimulatedWorld;
