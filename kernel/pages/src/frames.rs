//! The free list, allocation and release.

use exopi_abi::page::{ALLOC_BOUND, FREE_BOUND, FrameType, NONE, Owner, PageRecord};
use exopi_abi::{Allocation, Error, PageNumber, PageSelect, Progress};

use crate::{Hardware, Pages, batch};

/// Proof that a frame is free.
struct Alloc {
    page: PageNumber,
    zero: bool,
}

/// Proof that a frame is its owner's to give back.
struct Free {
    page: PageNumber,
}

impl Pages<'_> {
    /// Hands RAM that boot has no use for to the free list, behind what is there: `count` frames from
    /// `first` on, in ascending order. Their contents count as used by nobody.
    ///
    /// Stops at the first frame that is not the kernel's ([`Error::Taken`]) or that does not exist
    /// ([`Error::OutOfRange`]). Has no bound: for boot alone.
    pub fn add_free(&mut self, first: PageNumber, count: u64) -> Progress {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let run = self.records.get_mut(first.index()..).unwrap_or_default();
        let end = wanted.min(run.len());
        let run = run.get_mut(..end).unwrap_or_default();
        let done = leading_kernel(run);
        link_run(run.get_mut(..done).unwrap_or_default(), first.get());
        if let Some(last) = first.plus(done as u64).filter(|_| done > 0) {
            let last = last.get() - 1;
            let tail = self.tail;
            self.update(first, |record| record.second = tail);
            self.update(PageNumber::new(last), |record| record.first = NONE);
            self.follow(tail, first.get());
            self.tail = last;
            self.free += done as u32;
        }
        let stopped = match (done < end, end < wanted) {
            (true, _) => Some(Error::Taken),
            (false, true) => Some(Error::OutOfRange),
            (false, false) => None,
        };
        Progress {
            done: done as u64,
            stopped,
        }
    }

    /// Allocates as the row `page_alloc` of the call table says: [`ALLOC_BOUND`] pages at most, zeroed if
    /// their last user was not `who`, who is an account's owner and not nobody.
    ///
    /// # Errors
    /// In the order in which they are looked for. Of the whole: [`Error::BadCount`],
    /// [`Error::Exhausted`]. Of a page: [`Error::OutOfRange`], [`Error::Taken`].
    pub fn alloc<H: Hardware>(
        &mut self,
        hw: &mut H,
        who: Owner,
        which: PageSelect,
        count: u64,
    ) -> Allocation {
        let refused = |error| Allocation {
            first: PageNumber::new(0),
            progress: Progress::refused(error),
        };
        let first = match which {
            PageSelect::Exact(page) => page,
            PageSelect::Any if count != 1 => return refused(Error::BadCount),
            PageSelect::Any if self.head == NONE => return refused(Error::Exhausted),
            PageSelect::Any => PageNumber::new(self.head),
        };
        let mut zeroed = false;
        let progress = batch(count, ALLOC_BOUND, |done| {
            let page = first.plus(done).ok_or(Error::OutOfRange)?;
            let alloc = self.check_alloc(who, page)?;
            zeroed |= alloc.zero;
            self.commit_alloc(hw, who, alloc);
            Ok(())
        });
        if zeroed {
            // Whatever entry names the page later: nobody can see it and still see what was there before.
            hw.publish();
        }
        Allocation { first, progress }
    }

    /// Gives pages back as the row `page_free` of the call table says: [`FREE_BOUND`] pages at most.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::OutOfRange`],
    /// [`Error::NotYours`], [`Error::WrongType`], [`Error::InUse`].
    pub fn free(&mut self, who: Owner, first: PageNumber, count: u64) -> Progress {
        batch(count, FREE_BOUND, |done| {
            let page = first.plus(done).ok_or(Error::OutOfRange)?;
            let free = self.check_free(who, page)?;
            self.commit_free(free);
            Ok(())
        })
    }

    #[inline(always)]
    fn check_alloc(&self, who: Owner, page: PageNumber) -> Result<Alloc, Error> {
        match self.record(page) {
            None => Err(Error::OutOfRange),
            Some(record) if record.kind != FrameType::Free => Err(Error::Taken),
            Some(record) => Ok(Alloc {
                page,
                zero: record.user != who,
            }),
        }
    }

    #[inline(always)]
    fn commit_alloc<H: Hardware>(&mut self, hw: &mut H, who: Owner, alloc: Alloc) {
        let Some(record) = self.records.get_mut(alloc.page.index()) else {
            return;
        };
        let (next, previous) = (record.first, record.second);
        *record = PageRecord {
            owner: who,
            user: who,
            kind: FrameType::Plain,
            first: NONE,
            ..PageRecord::KERNEL
        };
        self.follow(previous, next);
        self.precede(next, previous);
        self.free -= 1;
        if alloc.zero {
            hw.zero(alloc.page);
        }
    }

    #[inline(always)]
    fn check_free(&self, who: Owner, page: PageNumber) -> Result<Free, Error> {
        self.spare(page, who).map(|()| Free { page })
    }

    #[inline(always)]
    fn commit_free(&mut self, free: Free) {
        let head = self.head;
        self.update(free.page, |record| {
            record.owner = Owner::NOBODY;
            record.kind = FrameType::Free;
            record.first = head;
            record.second = NONE;
        });
        self.precede(head, free.page.get());
        self.head = free.page.get();
        self.free += 1;
    }

    /// Makes `next` the one after `place` on the free list, or its head if there is no `place`.
    #[inline(always)]
    fn follow(&mut self, place: u32, next: u32) {
        if place == NONE {
            self.head = next;
        } else {
            self.update(PageNumber::new(place), |record| record.first = next);
        }
    }

    /// Makes `previous` the one before `place` on the free list, or its tail if there is no `place`.
    #[inline(always)]
    fn precede(&mut self, place: u32, previous: u32) {
        if place == NONE {
            self.tail = previous;
        } else {
            self.update(PageNumber::new(place), |record| record.second = previous);
        }
    }
}

/// Records that boot's loops handle at a time: there are a quarter of a million.
const CHUNK: usize = 8;

/// How many records at the begin of `run` are the kernel's.
fn leading_kernel(run: &[PageRecord]) -> usize {
    let kernel = |record: &&PageRecord| record.kind == FrameType::Kernel;
    let (chunks, _) = run.as_chunks::<CHUNK>();
    let all = |chunk: &&[PageRecord; CHUNK]| chunk.iter().all(|record| kernel(&record));
    let whole = CHUNK * chunks.iter().take_while(all).count();
    whole + run.iter().skip(whole).take_while(kernel).count()
}

/// Makes the kernel's frames from number `first` on free, each linked to its neighbours, which the ends
/// of the run need not have.
fn link_run(run: &mut [PageRecord], first: u32) {
    let link = |record: &mut PageRecord, number: u32| {
        record.kind = FrameType::Free;
        record.first = number.wrapping_add(1);
        record.second = number.wrapping_sub(1);
    };
    let (chunks, rest) = run.as_chunks_mut::<CHUNK>();
    let mut number = first;
    for chunk in chunks {
        for (record, offset) in chunk.iter_mut().zip(0..) {
            link(record, number.wrapping_add(offset));
        }
        number = number.wrapping_add(CHUNK as u32);
    }
    for (record, offset) in rest.iter_mut().zip(0..) {
        link(record, number.wrapping_add(offset));
    }
}
