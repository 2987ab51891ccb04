//! Processor time by deadlines: so many ticks in each period, whatever others do.
//!
//! Earliest deadline first (Liu and Layland, JACM 20, 1973), each thread inside a constant bandwidth server
//! (Abeni and Buttazzo, RTSS 1998), so that one that wants more than its budget delays nobody but itself:
//!
//! ```text
//!   wakes up at t    t >= deadline, or left / (deadline - t) > budget / period
//!                      --> deadline := t + period, left := budget
//!   uses its budget  left = 0 --> deadline += period, left := budget
//! ```
//!
//! Whoever has the earliest deadline runs. If the budgets that were admitted are together no more than the
//! processor has, each thread gets its budget in each of its periods; one that needs no more for its work
//! has it done by its deadline. That is exact if a thread that becomes ready gets the core at once
//! ([`Policy::outranks`]); where it must wait for the end of a slice, it is late by at most that.
//!
//! Threads without a deadline run when no other one wants to, in turn.

use super::{Policy, Refused, Share, ThreadIndex};
use crate::heap::{Cell, Heap};

/// What is kept of a thread. Without a deadline `period` is 0 and `deadline` the end of time.
#[derive(Clone, Copy, Debug)]
struct Server {
    period: u64,
    budget: u64,
    left: u64,
    deadline: u64,
    asleep: bool,
}

impl Server {
    const BACKGROUND: Self = Self {
        period: 0,
        budget: 0,
        left: 0,
        deadline: u64::MAX,
        asleep: true,
    };

    /// A period begins.
    fn begin(&mut self, now: u64) {
        self.deadline = now.saturating_add(self.period);
        self.left = self.budget;
    }

    /// Whether what is left, used until the deadline, would be more than its share.
    fn is_too_much(&self, now: u64) -> bool {
        let Some(until) = self.deadline.checked_sub(now).filter(|until| *until > 0) else {
            return true;
        };
        u128::from(self.left) * u128::from(self.period)
            > u128::from(until) * u128::from(self.budget)
    }

    /// Its share of a processor in units of 2^-64, rounded down: all `N` together are admitted with less
    /// than N units too many, which is no tick in any time that the counter counts.
    fn share(&self) -> u128 {
        (u128::from(self.budget) << 64)
            .checked_div(self.period.into())
            .unwrap_or(0)
    }
}

/// Earliest deadline first, of at most `N` threads.
#[derive(Clone, Debug)]
pub struct EarliestDeadline<const N: usize> {
    servers: [Server; N],
    /// Ready threads by deadline, then by the order in which they became ready.
    ready: Heap<[Cell<(u64, u64)>; N]>,
    serial: u64,
    /// What has been promised, and what there is, in units of 2^-64 processors.
    promised: u128,
    available: u128,
}

impl<const N: usize> EarliestDeadline<N> {
    /// Without threads, for one environment that has a core of its own.
    pub const fn new() -> Self {
        Self::of(1, 1)
    }

    /// The same for less: `ticks` of each `of` ticks are the environment's. An `of` of 0 is no time at all.
    pub const fn of(ticks: u64, of: u64) -> Self {
        let available = match (of, ticks < of) {
            (0, _) => 0,
            (of, true) => ((ticks as u128) << 64) / of as u128,
            (_, false) => 1 << 64,
        };
        Self {
            servers: [Server::BACKGROUND; N],
            ready: Heap::new([Cell::empty((0, 0)); N]),
            serial: 0,
            promised: 0,
            available,
        }
    }

    /// The tick until which a thread is to have its budget; `None` if it has no deadline.
    pub fn deadline(&self, thread: ThreadIndex) -> Option<u64> {
        let server = self.servers.get(thread.get())?;
        (server.period != 0).then_some(server.deadline)
    }
}

impl<const N: usize> Default for EarliestDeadline<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Policy for EarliestDeadline<N> {
    fn admit(&mut self, thread: ThreadIndex, share: Share, _: u64) -> Result<(), Refused> {
        let place = self.servers.get_mut(thread.get()).ok_or(Refused::Full)?;
        let mut server = Server::BACKGROUND;
        if let Share::Deadline { period, budget } = share {
            if budget == 0 || budget > period {
                return Err(Refused::Malformed);
            }
            server = Server {
                period,
                budget,
                left: 0,
                deadline: 0,
                asleep: true,
            };
            if self.promised + server.share() > self.available {
                return Err(Refused::Overload);
            }
        }
        self.promised += server.share();
        *place = server;
        Ok(())
    }

    fn clear(&mut self) {
        *self = Self {
            available: self.available,
            ..Self::new()
        };
    }

    fn leave(&mut self, thread: ThreadIndex) {
        if let Some(server) = self.servers.get_mut(thread.get()) {
            let gone = core::mem::replace(server, Server::BACKGROUND);
            self.promised = self.promised.saturating_sub(gone.share());
        }
    }

    fn ready(&mut self, thread: ThreadIndex, now: u64) {
        let Some(server) = self.servers.get_mut(thread.get()) else {
            return;
        };
        let woken = core::mem::replace(&mut server.asleep, false);
        if woken && server.period != 0 && server.is_too_much(now) {
            server.begin(now);
        }
        self.serial += 1;
        self.ready.insert(thread, (server.deadline, self.serial));
    }

    fn block(&mut self, thread: ThreadIndex, _: u64) {
        if let Some(server) = self.servers.get_mut(thread.get()) {
            server.asleep = true;
        }
    }

    fn pick(&mut self, _: u64, may: &mut dyn FnMut(ThreadIndex) -> bool) -> Option<ThreadIndex> {
        let thread = self.ready.first_that(may)?;
        self.ready.remove(thread);
        Some(thread)
    }

    fn charge(&mut self, thread: ThreadIndex, ticks: u64, _: u64) {
        let Some(server) = self.servers.get_mut(thread.get()) else {
            return;
        };
        if ticks < server.left || server.period == 0 {
            server.left = server.left.saturating_sub(ticks);
            return;
        }
        // So many budgets are used up, the one that was begun included; the rest is of the next one.
        let beyond = ticks - server.left;
        let whole = beyond.checked_div(server.budget).unwrap_or(0);
        let part = beyond.checked_rem(server.budget).unwrap_or(0);
        let periods = server.period.saturating_mul(whole.saturating_add(1));
        server.deadline = server.deadline.saturating_add(periods);
        server.left = server.budget - part;
    }

    fn outranks(&self, running: ThreadIndex) -> bool {
        let Some(server) = self.servers.get(running.get()) else {
            return false;
        };
        self.ready
            .first()
            .is_some_and(|(_, (deadline, _))| deadline < server.deadline)
    }
}
