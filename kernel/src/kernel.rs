//! The kernel's state, behind its one lock.
//!
//! Calls decode their arguments, read user memory and verify seals first, then take the lock: the guard *is* the
//! right to change anything that is shared. The lock is fair, so no core waits for more than the others
//! before it; how long it was ever held is exposed.

use core::ops::{Deref, DerefMut};

use exopi_domains::Domains;
use exopi_pages::Pages;
use spin::mutex::ticket::TicketMutexGuard;

use crate::arch::smp::{Lock, Relax};
use crate::arch::{timer, uarea};
use crate::{exposed, interrupts};

static DOMAINS: Lock<Domains<'static>> = Lock::new(Domains::none());

/// Lets boot fill in, in its place, what has nothing in it: it is large for a stack.
pub fn init<T>(fill: impl FnOnce(&mut Domains<'static>) -> T) -> T {
    fill(&mut DOMAINS.lock())
}

/// The kernel's state, for as long as this lives.
///
/// What others are to hear of a change they hear when it ends, whatever the change was: cores are interrupted that
/// have somebody else to run, or something to deliver.
#[derive(Debug)]
pub struct Guard {
    domains: TicketMutexGuard<'static, Domains<'static>, Relax>,
    /// When the lock was asked for, and when it was had.
    asked: u64,
    since: u64,
}

/// Waits for the lock.
#[inline(always)]
pub fn lock() -> Guard {
    let asked = timer::now();
    let domains = DOMAINS.lock();
    Guard {
        domains,
        asked,
        since: timer::now(),
    }
}

/// Takes the lock unless somebody has it or waits for it.
pub fn try_lock() -> Option<Guard> {
    let asked = timer::now();
    let domains = DOMAINS.try_lock()?;
    Some(Guard {
        domains,
        asked,
        since: asked,
    })
}

/// Does `work` on the kernel's state and shows how many pages are free then, in a hold that ends with the work. Within a
/// call, whose time is noted around it; and what ends the hold is in one function with the work, with all in registers,
/// where a [`Guard`] lies in memory.
#[inline(always)]
pub fn with_free_pages<R>(work: impl FnOnce(&mut Domains<'static>) -> R) -> R {
    let mut domains = DOMAINS.lock();
    let since = timer::now();
    let outcome = work(&mut domains);
    exposed::set_free_pages(domains.pages.free_pages());
    end(&mut domains, since);
    outcome
}

/// What is due at the end of a hold; now, which is the last that it sees.
#[inline(always)]
fn end(domains: &mut Domains<'static>, since: u64) -> u64 {
    if domains.has_news() {
        tell(domains);
    }
    let now = timer::now();
    exposed::note_hold(now - since);
    now
}

/// Does `work` on the pages alone, in a hold of its own. Nobody is told of anything when it ends: what cores are to hear
/// of lies elsewhere. Nor is anything kept for that, which is why the calls that are made most use this.
#[inline(always)]
pub fn with_pages<R>(work: impl FnOnce(&mut Pages<'static>) -> R) -> R {
    let mut domains = DOMAINS.lock();
    let since = timer::now();
    let outcome = work(&mut domains.pages);
    exposed::note_hold(timer::now() - since);
    outcome
}

impl Guard {
    /// When the lock was asked for: how long that took is no environment's fault, and ends nobody's turn late.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Writes what the states of environments are to say whose calls have failed, before one of them is entered in this
    /// hold.
    pub fn write_failed(&mut self) {
        write_failed(&mut self.domains);
    }

    /// Shows how many pages are free: after whatever may have taken some, or given them back.
    #[inline(always)]
    pub fn show_free_pages(&self) {
        exposed::set_free_pages(self.domains.pages.free_pages());
    }
}

impl Deref for Guard {
    type Target = Domains<'static>;

    #[inline(always)]
    fn deref(&self) -> &Domains<'static> {
        &self.domains
    }
}

impl DerefMut for Guard {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Domains<'static> {
        &mut self.domains
    }
}

impl Drop for Guard {
    #[inline(always)]
    fn drop(&mut self) {
        let now = end(&mut self.domains, self.since);
        // Whoever leaves a core does so in one hold; a call's own time is noted around it (`masked`).
        exposed::note_masked(now - self.asked);
    }
}

/// Does `work`, and notes how long interrupts were masked for it. They are, in all of the kernel: see
/// [`exopi_abi::exposed::Header::longest_masked_ticks`] for what is worth noting.
#[inline(always)]
pub fn masked<R>(work: impl FnOnce() -> R) -> R {
    let since = timer::now();
    let outcome = work();
    exposed::note_masked(timer::now() - since);
    outcome
}

/// Interrupts cores, and writes states that nobody may see before: not what calls usually end with.
#[cold]
fn tell(domains: &mut Domains<'static>) {
    write_failed(domains);
    interrupts::reschedule(domains.take_interrupts());
}

fn write_failed(domains: &mut Domains<'static>) {
    while let Some(failed) = domains.take_failed() {
        uarea::write_failed(&failed);
    }
}
