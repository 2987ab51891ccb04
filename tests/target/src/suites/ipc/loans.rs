//! Pages that are lent for the time of a call.

use core::sync::atomic::Ordering;

use exopi_ipc::loan::{Borrowed, Ended, Loan};
use exopi_ipc::{Client, Server, Service};
use exopi_rt::cap::PageCap;
use exopi_rt::capability::PageRights;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::pages::Run;
use exopi_rt::transfer::Call;
use exopi_rt::{Error, PageSource, Space, VirtAddr, memory};

use super::paid;
use crate::area::{AREA, RW, place};
use crate::harness::{Failure, Outcome};
use crate::peer::{self, Peer, Shared};

/// Pages that are lent.
const PAGES: u64 = 3;
/// Words in them.
const WORDS: u64 = PAGES * PAGE_SIZE / 8;
/// Where the lender has them.
const MINE: u64 = AREA + 0x8_0000;
/// Where the borrower maps them.
const ITS: u64 = AREA + 0xc_0000;

exopi_ipc::messages! {
    /// What is done with lent pages.
    #[derive(Clone, Copy, Debug)]
    enum Work {
        /// Doubles every word, and sums up what they were.
        1 => Double { pages: PageCap },
        /// The same, and does not give them back.
        2 => Keep { pages: PageCap },
    }
}

/// Works on lent pages.
struct Worker;

impl Service for Worker {
    type Request = Work;
    type Answer = Result<u64, u32>;
}

fn work(request: Work, _: &Call) -> Result<u64, u32> {
    let (Work::Double { pages } | Work::Keep { pages }) = request;
    let at = VirtAddr::new(ITS).ok_or(0u32)?;
    let borrowed = Borrowed::map(&pages, at, PAGES, true).map_err(|error| error as u32)?;
    let mut sum = 0u64;
    // SAFETY: the lender waits, and takes nothing away.
    for word in unsafe { borrowed.words() }.unwrap_or_default() {
        let value = word.load(Ordering::Relaxed);
        sum = sum.wrapping_add(value);
        word.store(2 * value, Ordering::Relaxed);
    }
    if matches!(request, Work::Keep { .. }) {
        core::mem::forget(borrowed);
    }
    Ok(sum)
}

fn serve(_: u64) {
    peer::begin();
    Server::<Worker, _>::new(work).serve()
}

/// A case with pages to lend, numbered words in them, and a worker in a space of its own.
fn with_worker(case: impl FnOnce(Run<'static>, &Peer, &Client<Worker>) -> Outcome) -> Outcome {
    let shared = Shared::new(1)?;
    let run = Run::take_row(PAGES)?;
    let source = PageSource::owned(run.first());
    Space::Own
        .map(place(MINE)?, source, PAGES, RW)
        .unless_stopped()?;
    for n in 0..WORDS {
        // SAFETY: the pages are mapped there.
        unsafe { word(n).write_volatile(n) };
    }
    let peer = Peer::elsewhere(&shared, 0, serve, 0)?;
    peer.wait_for_rest()?;
    let client = Client::bind(peer.environment())?;
    case(run, &peer, &client)?;
    drop(client);
    peer.end()?;
    // SAFETY: nothing refers to them; who had to break them off has no mapping any more.
    let _ = unsafe { Space::Own.remove(place(MINE)?, PAGES) };
    run.free().unless_stopped()?;
    shared.close()
}

fn loan(run: Run<'static>, peer: &Peer) -> Result<Loan, Failure> {
    // All pages get one stamp, so that one capability can be for them.
    run.retire().unless_stopped()?;
    Ok(Loan::new(
        run,
        PageRights::READ | PageRights::WRITE,
        peer.name(),
    )?)
}

/// Where the lender has a word.
fn word(n: u64) -> *mut u64 {
    (MINE as *mut u64).wrapping_add(n as usize)
}

/// The lender's last word.
fn last_word() -> u64 {
    // SAFETY: the pages are mapped there.
    unsafe { word(WORDS - 1).read_volatile() }
}

pub(super) fn returned() -> Outcome {
    with_worker(|run, peer, client| {
        for round in 0..20 {
            let loan = loan(run, peer)?;
            let pages = *loan.cap();
            let sum = (WORDS * (WORDS - 1) / 2) << round;
            check_eq!(paid(|| client.call(&Work::Double { pages })), Ok(Ok(sum)));
            check_eq!(loan.end()?, Ended::Returned);
            check_eq!(last_word(), (WORDS - 1) << (round + 1));
            // It is over.
            let stale = Ok(Err(Error::Stale as u32));
            check_eq!(paid(|| client.call(&Work::Double { pages })), stale);
        }
        // What was dropped is over as well.
        let dropped = loan(run, peer)?;
        let pages = *dropped.cap();
        drop(dropped);
        let stale = Ok(Err(Error::Stale as u32));
        check_eq!(paid(|| client.call(&Work::Double { pages })), stale);
        // Nobody else may present it, not even the lender.
        let loan = loan(run, peer)?;
        let mine = Borrowed::map(loan.cap(), place(ITS)?, PAGES, true);
        check_eq!(mine.err(), Some(Error::WrongHolder));
        // More than the borrower takes.
        let whole = Borrowed::map(loan.cap(), place(ITS)?, PAGES - 1, true);
        check_eq!(whole.err(), Some(Error::BadCount));
        Ok(())
    })
}

pub(super) fn kept() -> Outcome {
    with_worker(|run, peer, client| {
        let loan = loan(run, peer)?;
        let pages = *loan.cap();
        let sum = WORDS * (WORDS - 1) / 2;
        check_eq!(paid(|| client.call(&Work::Keep { pages })), Ok(Ok(sum)));
        check_eq!(loan.end()?, Ended::Kept);
        // SAFETY: nothing in use is in the pages.
        let broken = unsafe { run.break_all() }.progress.unless_stopped()?;
        check_eq!(broken, PAGES);
        // Whoever lent them has them again, and nobody else.
        let source = PageSource::owned(run.first());
        Space::Own
            .map(place(MINE)?, source, PAGES, RW)
            .unless_stopped()?;
        check_eq!(last_word(), 2 * (WORDS - 1));
        let record = exopi_rt::exposed::page(run.first());
        check_eq!(record.map(|record| record.references), Some(1));
        Ok(memory::supply_tables(place(MINE)?)?)
    })
}
