//! Pagers: what a fault on a region does.
//!
//! Each has three occasions and an emergency, and a default for all four, so that a pager says only what it
//! does otherwise. It gets the [`Fault`], by which it reaches the whole address space; the region's own place
//! for it is empty meanwhile. It is called from the handler of faults: it must not fault itself, and what it
//! allocates from the heap it may not get.
//!
//! Paging to some medium is a pager, too: [`AddressSpace::evict`](crate::AddressSpace::evict) takes a page out
//! and leaves a note of the pager's own, [`Fault::note`] finds it, [`Pager::dropped`] tells that it is not
//! needed any more.

use exopi_rt::{Note, VirtAddr};

use crate::bare::Bare;
use crate::error::Error;
use crate::fault::{Fault, Verdict};
use crate::machine::{Machine, PageBytes};

/// What a fault on a region does.
pub trait Pager<M: Machine = Bare>: Send {
    /// The program does not allow the access, or it is of a guard page.
    fn refused(&mut self, fault: &mut Fault<'_, M>) -> Verdict {
        let _ = fault;
        Verdict::PassOn
    }

    /// No page is there yet, or none any more.
    ///
    /// # Errors
    /// What [`Pager::exhausted`] is to be told.
    fn missing(&mut self, fault: &mut Fault<'_, M>) -> Result<Verdict, Error> {
        fault.zero_fill()?;
        Ok(Verdict::Resume)
    }

    /// The mapping allows less than the program does, because the page is shared.
    ///
    /// # Errors
    /// What [`Pager::exhausted`] is to be told.
    fn shared(&mut self, fault: &mut Fault<'_, M>) -> Result<Verdict, Error> {
        fault.unshare()?;
        Ok(Verdict::Resume)
    }

    /// There was no page, or another reason why nothing could be done. Who finds a page somewhere and
    /// resumes will be asked again.
    fn exhausted(&mut self, fault: &mut Fault<'_, M>, error: Error) -> Verdict {
        let _ = (fault, error);
        Verdict::PassOn
    }

    /// The page at `at` will not be asked for again, and this was the pager's note in its place.
    fn dropped(&mut self, at: VirtAddr, note: Note) {
        let _ = (at, note);
    }
}

/// A closure for accesses that the program does not allow.
#[derive(Clone, Copy, Debug)]
pub struct OnRefused<F>(pub F);

impl<M: Machine, F> Pager<M> for OnRefused<F>
where
    F: FnMut(&mut Fault<'_, M>) -> Verdict + Send,
{
    #[inline]
    fn refused(&mut self, fault: &mut Fault<'_, M>) -> Verdict {
        (self.0)(fault)
    }
}

/// A closure for everything. [`Fault::kind`] tells what it is about.
#[derive(Clone, Copy, Debug)]
pub struct OnFault<F>(pub F);

impl<M: Machine, F> Pager<M> for OnFault<F>
where
    F: FnMut(&mut Fault<'_, M>) -> Result<Verdict, Error> + Send,
{
    #[inline]
    fn refused(&mut self, fault: &mut Fault<'_, M>) -> Verdict {
        (self.0)(fault).unwrap_or(Verdict::PassOn)
    }

    #[inline]
    fn missing(&mut self, fault: &mut Fault<'_, M>) -> Result<Verdict, Error> {
        (self.0)(fault)
    }

    #[inline]
    fn shared(&mut self, fault: &mut Fault<'_, M>) -> Result<Verdict, Error> {
        (self.0)(fault)
    }
}

/// A source like a file: the closure writes the page of the region that is so many bytes from its begin.
#[derive(Clone, Copy, Debug)]
pub struct Source<F>(pub F);

impl<M: Machine, F> Pager<M> for Source<F>
where
    F: FnMut(u64, &mut PageBytes) -> Result<(), Error> + Send,
{
    fn missing(&mut self, fault: &mut Fault<'_, M>) -> Result<Verdict, Error> {
        let offset = fault.page().get() - fault.region().get();
        fault.fill(|bytes| (self.0)(offset, bytes))?;
        Ok(Verdict::Resume)
    }
}
