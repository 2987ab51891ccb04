//! What threads wait for each other by: mutexes, condition variables, semaphores, channels.
//!
//! Each is a word or two of `core::sync::atomic`, can be a `static`, and is used without the scheduler's lock
//! as long as nobody has to wait. Who must wait does so in the scheduler's table, by the address of the
//! thing, so that there is no list in it, and no limit to how many there are.
//!
//! All may be shared by threads of several environments of one space. Outside of threads they work too, by
//! giving the environment's core away until it is their turn.
//!
//! | | waiting ends in the order of coming | if a thread ends that has it |
//! | --- | --- | --- |
//! | [`Mutex`] | yes, it is handed over | the next one is told, and has it |
//! | [`Condvar`] | yes | - |
//! | [`Semaphore`] | woken in order; others may come between | its units are gone, unless it held a [`Permit`] that was dropped |
//! | [`Channel`] | woken in order; others may come between | nothing is held |

mod channel;
mod condvar;
mod mutex;
mod semaphore;

pub use channel::{Channel, Closed, Received, Refused, Sent};
pub use condvar::Condvar;
pub use mutex::{Guard, LockError, Mutex};
pub use semaphore::{Permit, Semaphore};

/// The number by which threads wait for something: its address, which nothing else has. Even, unlike those of
/// threads' ends.
fn key_of<T>(it: &T) -> u64 {
    (core::ptr::from_ref(it) as u64) << 1
}
