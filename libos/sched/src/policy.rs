//! Policies: who of those that could run does.
//!
//! ```text
//!              admit                       pick
//!   (nobody) --------> asleep --ready--> ready ----> running --charge, ready--> ready
//!      ^                  ^                              |
//!      '------leave-------+----------charge, block-------'
//! ```
//!
//! A policy is told of every step in this picture and decides one thing: whom [`Policy::pick`] names. It
//! knows threads by number only, has no clock, waits for nothing, and is therefore tested without a
//! machine. It is called with the scheduler's lock held: each call must be short, and must not panic.
//!
//! Here each policy has its threads in arrays of a capacity that is part of its type. Lists through the
//! threads themselves would need no capacity, but pinned threads and `unsafe` in every policy that
//! somebody writes; and threads are bounded in any case, by the memory of their stacks.

mod deadline;
mod round_robin;
mod stride;

pub use deadline::EarliestDeadline;
pub use round_robin::RoundRobin;
pub use stride::Stride;

pub use crate::table::ThreadIndex;

/// What a thread asks for. A policy looks at what it understands and takes the rest for [`Share::Equal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// As much as any other.
    #[default]
    Equal,
    /// In proportion to this number; 0 counts as 1. [`Share::Equal`] is [`TICKETS`].
    Tickets(u32),
    /// `budget` ticks in each `period` ticks, by the end of the period. Both are at least 1 tick, and the
    /// budget is at most the period.
    Deadline {
        /// Ticks of the counter between two begins.
        period: u64,
        /// Ticks of processor time in each of them.
        budget: u64,
    },
}

/// What [`Share::Equal`] is in tickets.
pub const TICKETS: u32 = 100;

/// Why a policy does not take a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its number is beyond the policy's capacity.
    Full,
    /// More processor time would be promised than there is.
    Overload,
    /// A period or a budget of 0, or a budget longer than its period.
    Malformed,
}

/// Who runs. Times are ticks of one clock that never goes back.
pub trait Policy: Send {
    /// A new thread, asleep.
    ///
    /// # Errors
    /// It is not taken, and nothing has changed.
    fn admit(&mut self, thread: ThreadIndex, share: Share, now: u64) -> Result<(), Refused>;

    /// Forgets all threads, in whatever state it is: an environment may have died in one of its calls.
    fn clear(&mut self);

    /// A thread ends; it was asleep.
    fn leave(&mut self, thread: ThreadIndex);

    /// A thread that was asleep, or has been running, wants to run.
    fn ready(&mut self, thread: ThreadIndex, now: u64);

    /// A running thread wants nothing until it is ready again.
    fn block(&mut self, thread: ThreadIndex, now: u64);

    /// The thread to run next of those that are ready and `may`; from now on it is running. `may` says no to
    /// threads that go on in another environment only.
    fn pick(&mut self, now: u64, may: &mut dyn FnMut(ThreadIndex) -> bool) -> Option<ThreadIndex>;

    /// A running thread has used so many ticks, at least 1, since it was picked or charged last.
    fn charge(&mut self, thread: ThreadIndex, ticks: u64, now: u64);

    /// Whether a ready thread should have the core of a running one now, and not only when that gives it up
    /// or its slice ends.
    fn outranks(&self, running: ThreadIndex) -> bool {
        let _ = running;
        false
    }
}
