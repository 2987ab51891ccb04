//! User-level threads, policies for them, what they wait for, and an executor.
//!
//! The kernel knows environments and gives them cores. What an environment does with its core is the program's
//! affair; this is one way, linked into the program and without any privilege.
//!
//! ```text
//!   thread::spawn, Mutex, Channel ...  --> runtime: the lock, the switch
//!                                             |  Table: who is ready, who waits for what, until when
//!                                             |  Policy: who of the ready ones is next
//!   environments, one for each core   --> Scheduler::run, Scheduler::work: nobody ready? Sleep
//!   upcalls that interrupt            --> preempt
//! ```
//!
//! * [`Scheduler`]: a static with room for so many threads, and the policy that they run by.
//! * [`thread`]: threads begun, joined, named, asleep.
//! * [`sync`]: mutex, condition variable, semaphore, channel.
//! * [`policy`]: round robin, stride, earliest deadline, and the trait for others.
//! * [`executor`]: tasks, wakers and timers without a heap.
//! * [`sleep`]: what happens when nobody can run, and add-ons that are served beside threads.
//! * [`fault`]: whose fault it was, and how one thread ends and the others go on.
//! * `preempt` (on the target): asynchronous upcalls that switch threads.
//!
//! ```
//! use exopi_sched::{RoundRobin, Scheduler, sync::Channel, thread};
//!
//! static THREADS: Scheduler<RoundRobin<4>, 4> = Scheduler::new(RoundRobin::new());
//! static WORDS: Channel<u64, 2> = Channel::new();
//!
//! let sum = THREADS.run(|| {
//!     let sender = thread::spawn(|| (1..=10).all(|word| WORDS.send(word).is_ok()))?;
//!     let sum: u64 = (1..=10).filter_map(|_| WORDS.receive().ok()).sum();
//!     assert_eq!(sender.join(), Ok(true));
//!     Ok::<u64, exopi_sched::Error>(sum)
//! });
//! assert_eq!(sum, Ok(Ok(Ok(55))));
//! ```
#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]

mod arch;
mod error;
pub mod executor;
pub mod fault;
mod heap;
mod lock;
pub mod policy;
#[cfg(target_os = "none")]
pub mod preempt;
mod runtime;
mod scheduler;
pub mod sleep;
pub mod stack;
pub mod sync;
mod table;
#[cfg(test)]
mod tests;
pub mod thread;

pub use error::Error;
pub use policy::{EarliestDeadline, Policy, RoundRobin, Share, Stride};
pub use scheduler::{ADD_ONS, Scheduler};
pub use stack::Stack;
pub use table::{Ended, ThreadId, WORKERS};
