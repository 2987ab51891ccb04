//! Talking to other programs: typed calls, message rings, pipes. A library without any privilege.
//!
//! The kernel moves eight words in registers from one environment to another, vouches for who sent them, and
//! lets programs share pages. All else is agreed between them:
//!
//! ```text
//!   one core, an answer is wanted      Client --Gate--> Server      eight words, typed        [`call`], [`server`]
//!     ... with much data               Loan --capability--> Borrowed pages                    [`loan`]
//!   several cores, many to one         Sender... --shared words--> Receiver                   [`ring`]
//!     ... who share nothing            Sender... --kernel--> MessageRing  240 bytes each       [`messages`]
//!   a stream of bytes                  pipe::Writer --shared words--> pipe::Reader            [`pipe`]
//! ```
//!
//! * [`wire`]: how typed values become words, and words from anybody become values or an error.
//! * [`gate`]: the sixteen places through which an environment names others to call.
//! * [`wait`]: what is done while there is nothing to do: give the core to anybody, or to the one waited for.
//!
//! # What is trusted
//!
//! Nothing that the other side can write. Words of a message are decoded by total functions; a word of shared memory
//! is loaded once, checked, and the copy is used; positions that decide where this side reads or writes are kept in
//! its own memory. A hostile peer can withhold, repeat, forge or tear *its own* messages, and can make a call that
//! waits for it wait until its deadline. It cannot make this side panic, loop without end or touch other memory.
//!
//! # Registers
//!
//! A call leaves x0..x9 to the callee and nothing else of the caller: [`call`] zeroes x19..x29 before, and the kernel
//! x10..x18 and x30. An answer leaves the callee's x0..x7 alone: a handler keeps x19..x28 as functions do, so that
//! they come back as the caller's zeros, and the caller believes none of them. Vector registers are each side's own,
//! by the kernel. See [`server`] for what a handler may use.
#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]

pub mod call;
pub mod gate;
pub mod loan;
pub mod messages;
pub mod pipe;
pub mod ring;
pub mod server;
pub mod wait;
pub mod wire;

pub use call::{CallError, Client, Service, Transfer};
pub use gate::Gate;
pub use messages::MessageRing;
pub use server::{Handler, Server};
pub use wait::Wait;
pub use wire::{Malformed, Wire};
