//! Processor time in proportion to tickets, deterministically.
//!
//! Stride scheduling (Waldspurger and Weihl, MIT/LCS/TM-528, 1995): every thread has a *pass*, its time used
//! divided by its tickets, and the thread with the least pass is next. Here
//!
//! * a pass is exact. It counts in units of 2^-32 ticks for each ticket, and what a division leaves over is
//!   kept and divided with the next charge, so no error grows;
//! * who comes, or has slept, begins at the pass of the thread that was picked last, unless its own is
//!   beyond that (start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996). So sleeping earns nothing
//!   and hiding from a debt neither.
//!
//! Between threads i and j that both want to run all the time and are charged at most q ticks at once,
//!
//! ```text
//!   used(i) / tickets(i) - used(j) / tickets(j) <= q / tickets(i)
//! ```
//!
//! since i was picked with the least pass and has had q since. Summed over all j, with T the sum of n
//! threads' tickets and S the time that all have used:
//!
//! ```text
//!   used(i) - S * tickets(i) / T <=  q * (1 - tickets(i) / T)        never one slice ahead
//!   S * tickets(i) / T - used(i) <=  q * (n - 1) * tickets(i) / T    behind by no more than this
//! ```
//!
//! The property tests hold it to both, in whole numbers.

use super::{Policy, Refused, Share, TICKETS, ThreadIndex};
use crate::heap::{Cell, Heap};

/// Pass of one tick for one ticket, as a power of two.
const UNIT: u32 = 32;

/// What is kept of a thread.
#[derive(Clone, Copy, Debug)]
struct Account {
    tickets: u32,
    pass: u128,
    /// What the last division left over, less than the tickets.
    over: u128,
    asleep: bool,
}

/// Stride scheduling of at most `N` threads.
#[derive(Clone, Debug)]
pub struct Stride<const N: usize> {
    accounts: [Account; N],
    /// Ready threads by pass, then by the order in which they became ready.
    ready: Heap<[Cell<(u128, u64)>; N]>,
    serial: u64,
    /// The pass of the thread that was picked last.
    now: u128,
}

impl<const N: usize> Stride<N> {
    /// Without threads.
    pub const fn new() -> Self {
        let account = Account {
            tickets: 1,
            pass: 0,
            over: 0,
            asleep: true,
        };
        Self {
            accounts: [account; N],
            ready: Heap::new([Cell::empty((0, 0)); N]),
            serial: 0,
            now: 0,
        }
    }
}

impl<const N: usize> Default for Stride<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Policy for Stride<N> {
    fn admit(&mut self, thread: ThreadIndex, share: Share, _: u64) -> Result<(), Refused> {
        let account = self.accounts.get_mut(thread.get()).ok_or(Refused::Full)?;
        *account = Account {
            tickets: match share {
                Share::Tickets(tickets) => tickets.max(1),
                Share::Equal | Share::Deadline { .. } => TICKETS,
            },
            pass: self.now,
            over: 0,
            asleep: true,
        };
        Ok(())
    }

    fn clear(&mut self) {
        *self = Self::new();
    }

    fn leave(&mut self, _: ThreadIndex) {}

    fn ready(&mut self, thread: ThreadIndex, _: u64) {
        let Some(account) = self.accounts.get_mut(thread.get()) else {
            return;
        };
        if core::mem::replace(&mut account.asleep, false) && account.pass < self.now {
            account.pass = self.now;
            account.over = 0;
        }
        self.serial += 1;
        self.ready.insert(thread, (account.pass, self.serial));
    }

    fn block(&mut self, thread: ThreadIndex, _: u64) {
        if let Some(account) = self.accounts.get_mut(thread.get()) {
            account.asleep = true;
        }
    }

    fn pick(&mut self, _: u64, may: &mut dyn FnMut(ThreadIndex) -> bool) -> Option<ThreadIndex> {
        let thread = self.ready.first_that(may)?;
        let (pass, _) = self.ready.key(thread)?;
        self.ready.remove(thread);
        self.now = self.now.max(pass);
        Some(thread)
    }

    fn charge(&mut self, thread: ThreadIndex, ticks: u64, _: u64) {
        let Some(account) = self.accounts.get_mut(thread.get()) else {
            return;
        };
        let tickets = u128::from(account.tickets);
        // 64 + 32 bits and less than 32 more: far from the end of the type.
        let work = (u128::from(ticks) << UNIT) + account.over;
        account.pass += work.checked_div(tickets).unwrap_or(0);
        account.over = work.checked_rem(tickets).unwrap_or(0);
    }
}
