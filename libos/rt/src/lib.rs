//! The smallest libOS: what a program needs to run on the bare kernel, and nothing it could replace.
//!
//! A program is a normal crate:
//!
//! ```no_run
//! #![cfg_attr(target_os = "none", no_std, no_main)]
//! use exopi_rt::{ExitCode, println};
//!
//! exopi_rt::entry!(main);
//!
//! fn main() -> ExitCode {
//!     println!("hello from EL0");
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! * [`entry!`], [`args()`], [`exit()`]: begin, boot arguments and end.
//! * [`print!`], [`println!`]: the console. A panic is printed there too.
//! * [`heap`]: the global allocator, so that `alloc` works.
//! * [`memory`]: pages, tables and mappings of one's own with the steps of the bare calls put together.
//! * [`pages`], [`space`], [`environment`], [`account`]: the same for whatever one may name, by typed handles.
//! * [`cap`]: capabilities, typed, narrowed and granted with no call.
//! * [`upcall`]: handling one's own faults, and what happens elsewhere, in Rust.
//! * [`exposed`], [`tables`], [`time`]: reading what kernel and processor show.
//! * [`net`]: packet filters, packet rings, and sending.
//! * [`giver`]: giving back what is asked for.
//! * [`local`]: what each environment has for itself.
//!
//! All of [`exopi_abi`] is here too, the bare calls as [`stubs`]. Off target everything compiles, so that
//! `cargo test` and `cargo clippy` work anywhere; calls go to a simulated kernel there, if one is
//! installed (`host::install`).
#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]

pub use exopi_abi::*;

pub mod account;
pub mod args;
#[cfg(target_os = "none")]
mod bytes;
pub mod cap;
pub mod console;
pub mod environment;
pub mod exposed;
pub mod giver;
pub mod handle;
pub mod heap;
pub mod local;
pub mod memory;
pub mod net;
pub mod pages;
pub mod slice;
pub mod space;
pub mod start;
pub mod tables;
pub mod time;
pub mod upcall;
mod wait;

pub use args::{Args, args};
pub use cap::Cap;
pub use handle::{Account, Environment, Slice, Space};
pub use start::{ExitCode, exit};

/// Makes a function `fn() -> ExitCode` the program's first.
///
/// Off target it makes nothing: there the function is named `main` and is an ordinary one.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// The program's first instruction: x0 and x1 are address and length of the boot arguments,
        /// and SP is the top of a mapped stack. Frame pointer and link register are 0, which ends
        /// the chain of frames here.
        #[unsafe(no_mangle)]
        extern "C" fn _start(arguments: *const u8, length: usize) -> ! {
            let main: fn() -> $crate::ExitCode = $main;
            // SAFETY: nobody but who started the program enters here, once, with these arguments.
            unsafe { $crate::start::run(arguments, length, main) }
        }
    };
}

/// Makes a function `fn() -> ExitCode` the program's first; nothing off target, where it is named
/// `main` and is an ordinary one.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! entry {
    ($main:path) => {};
}
