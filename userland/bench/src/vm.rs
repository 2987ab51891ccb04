//! The rows of `exopi-vm`: what a program pays to be its own virtual memory system.
//!
//! A row here goes from before an operation, or before an instruction that faults, to the first instruction
//! after it: kernel, trampoline, library and closure together. The operations are those of Appel and Li
//! ("Virtual memory primitives for user programs", 1991), on a hundred pages of a larger region.
//!
//! A store that faults counts 0 each time that it does; the one that succeeds counts 1.

use alloc::boxed::Box;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::{Access, Error, VirtAddr, time};
use exopi_vm::pager::OnRefused;
use exopi_vm::program::{self, Memory};
use exopi_vm::{Fault, Options, Pager, Verdict};

use crate::measure::{self, Sample};
use crate::rows::Row;

/// Pages that the operations are on.
const PAGES: u64 = 100;
const R: Access = Access::READ;
const RW: Access = Access::READ.union(Access::WRITE);

/// Gives the program its address space, which it keeps.
pub(crate) fn prepare() -> Result<(), Error> {
    plain(program::init(1))
}

/// The kernel's part of an error. Others mean that a row is wrong.
fn plain<T>(outcome: Result<T, exopi_vm::Error>) -> Result<T, Error> {
    outcome.map_err(|error| match error {
        exopi_vm::Error::Refused(refusal) => refusal,
        _ => Error::NotReady,
    })
}

/// More pages than are measured, all there, which `closure` answers for.
fn touched(
    closure: impl FnMut(&mut Fault<'_>) -> Verdict + Send + 'static,
) -> Result<Memory, Error> {
    let pager: &'static mut dyn Pager = Box::leak(Box::new(OnRefused(closure)));
    let options = Options {
        pager: Some(pager),
        ..Options::default()
    };
    let memory = plain(Memory::new(PAGES + 1, options))?;
    plain(plain(program::with(|space| {
        space.populate(memory.start(), PAGES + 1)
    }))?)?;
    Ok(memory)
}

/// Flattens what [`program::with`] gives.
fn on_space(
    work: impl FnOnce(&mut exopi_vm::AddressSpace<exopi_vm::Bare>) -> Result<(), exopi_vm::Error>,
) -> Result<(), Error> {
    plain(program::with(work).and_then(|done| done))
}

/// What `work` takes between two readings.
#[inline(always)]
fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<Sample, Error> {
    let before = measure::events();
    let begin = time::cycles();
    let outcome = work();
    let end = time::cycles();
    let events = measure::between(before, measure::events());
    outcome?;
    Ok(Sample {
        instructions: end - begin - measure::overhead(),
        events,
    })
}

/// Stores a byte in a page.
#[inline(always)]
fn store(at: VirtAddr) {
    // SAFETY: a page of a region of the row's own. It may fault; the handler maps, protects or steps over.
    unsafe { asm!("strb wzr, [{at}]", at = in(reg) at.get(), options(nostack)) };
}

/// The page `index` of the memory, over and over.
fn nth(memory: &Memory, index: u64) -> Result<VirtAddr, Error> {
    memory.page(index % PAGES).ok_or(Error::OutOfRange)
}

/// A store to a protected page; the closure steps over it.
pub(crate) fn trap(name: &'static str) -> Result<Row, Error> {
    let memory = touched(|_| Verdict::StepOver)?;
    plain(memory.protect(0, PAGES, R))?;
    let mut turn = 0;
    Row::measured(name, || {
        turn += 1;
        let at = nth(&memory, turn)?;
        timed(|| {
            store(at);
            Ok(())
        })
    })
}

/// A closure that makes the page writable again.
fn unprotect(fault: &mut Fault<'_>) -> Verdict {
    match fault.protect(RW) {
        Ok(()) => Verdict::Resume,
        Err(_) => Verdict::PassOn,
    }
}

/// Protect one of a hundred pages, store to it, and the closure makes it writable.
pub(crate) fn prot1(name: &'static str) -> Result<Row, Error> {
    let memory = touched(unprotect)?;
    let mut turn = 0;
    Row::measured(name, || {
        turn += 37;
        let at = nth(&memory, turn)?;
        timed(|| {
            on_space(|space| space.protect(at, 1, R))?;
            store(at);
            Ok(())
        })
    })
}

/// A hundred pages with one operation, there and back; `pick` takes one of the two.
fn hundred(name: &'static str, pick: fn([Sample; 2]) -> Sample) -> Result<Row, Error> {
    let memory = touched(unprotect)?;
    Row::measured(name, || {
        let change = |access| timed(|| plain(memory.protect(0, PAGES, access)));
        Ok(pick([change(R)?, change(RW)?]))
    })
}

/// Protect a hundred pages.
pub(crate) fn prot100(name: &'static str) -> Result<Row, Error> {
    hundred(name, |[protect, _]| protect)
}

/// Make a hundred pages writable.
pub(crate) fn unprot100(name: &'static str) -> Result<Row, Error> {
    hundred(name, |[_, unprotect]| unprotect)
}

/// All pages but one are protected; store to one of them, and the closure protects the one that is not and
/// makes this one writable.
pub(crate) fn appel1(name: &'static str) -> Result<Row, Error> {
    /// The page that is writable.
    static WRITABLE: AtomicU64 = AtomicU64::new(0);
    let memory = touched(|fault| {
        let before = WRITABLE.swap(fault.page().get(), Ordering::Relaxed);
        match VirtAddr::new(before) {
            Some(before) if fault.space().protect(before, 1, R).is_ok() => unprotect(fault),
            _ => Verdict::PassOn,
        }
    })?;
    plain(memory.protect(1, PAGES - 1, R))?;
    WRITABLE.store(memory.start().get(), Ordering::Relaxed);
    let mut turn = 0;
    Row::measured(name, || {
        turn += 37;
        let at = nth(&memory, turn)?;
        timed(|| {
            store(at);
            Ok(())
        })
    })
}

/// Protect a hundred pages, then store to each, and the closure makes it writable: of all that, a hundredth.
pub(crate) fn appel2(name: &'static str) -> Result<Row, Error> {
    let memory = touched(unprotect)?;
    Row::measured(name, || {
        let mut sample = timed(|| {
            plain(memory.protect(0, PAGES, R))?;
            for turn in 0..PAGES {
                store(nth(&memory, turn * 37)?);
            }
            Ok(())
        })?;
        sample.instructions = sample.instructions.div_ceil(PAGES);
        sample.events = sample.events.map(|count| count.div_ceil(PAGES));
        Ok(sample)
    })
}

/// The first touch of a page, where there are tables.
pub(crate) fn demand_zero(name: &'static str) -> Result<Row, Error> {
    let memory = plain(Memory::new(PAGES + 1, Options::default()))?;
    // One page stays, and so do the tables.
    store(memory.page(PAGES).ok_or(Error::OutOfRange)?);
    let mut turn = 0;
    Row::measured(name, || {
        let at = nth(&memory, turn)?;
        turn += 1;
        let sample = timed(|| {
            store(at);
            Ok(())
        })?;
        if turn % PAGES == 0 {
            // SAFETY: the row's own pages, in which there is nothing.
            on_space(|space| unsafe { space.discard(memory.start(), PAGES) })?;
        }
        Ok(sample)
    })
}
