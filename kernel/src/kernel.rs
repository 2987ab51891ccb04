//! The kernel's state, behind its one lock.
//!
//! Calls decode their arguments, read user memory and verify seals first, then take the lock: the guard *is* the
//! right to change anything that is shared. The lock is fair, so no core waits for more than the others
//! before it; how long it was ever held is exposed.

use core::ops::{Deref, DerefMut};

use exopi_domains::Domains;
use exopi_pages::Pages;
use spin::RelaxStrategy;
use spin::mutex::TicketMutex;
use spin::mutex::ticket::TicketMutexGuard;

use crate::arch::{smp, timer};
use crate::{exposed, interrupts};

/// How a core waits for the lock.
struct Relax;

impl RelaxStrategy for Relax {
    fn relax() {
        smp::relax();
    }
}

static DOMAINS: TicketMutex<Domains<'static>, Relax> = TicketMutex::new(Domains::none());

/// Puts in what boot has made.
pub fn init(domains: Domains<'static>) {
    *DOMAINS.lock() = domains;
}

/// The kernel's state, for as long as this lives.
///
/// What others are to hear of a change they hear when it ends, whatever the change was: cores are interrupted that
/// have somebody else to run, or something to deliver.
#[derive(Debug)]
pub struct Guard {
    domains: TicketMutexGuard<'static, Domains<'static>, Relax>,
    since: u64,
}

/// Waits for the lock.
#[inline(always)]
pub fn lock() -> Guard {
    let domains = DOMAINS.lock();
    Guard {
        domains,
        since: timer::now(),
    }
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
        if self.domains.has_interrupts() {
            tell(&mut self.domains);
        }
        exposed::note_hold(timer::now() - self.since);
    }
}

/// Interrupts cores: not what calls usually end with.
#[cold]
fn tell(domains: &mut Domains<'static>) {
    interrupts::reschedule(domains.take_interrupts());
}
