//! Much data with a call: pages that are lent for as long as it takes.
//!
//! A call passes words. Bulk stays where it is, and the callee maps it:
//!
//! ```text
//!   caller                                             callee
//!     Loan::new: a capability, for the callee alone
//!     call, the capability's six words in the request --> Borrowed::map ... the work ... drop: unmapped
//!     Loan::end: a new stamp, no capability is good  <-- answer
//!                any more; does anybody still map them?
//! ```
//!
//! Who borrows can keep its mapping; the lender sees that at the end ([`Ended::Kept`]) and can break it off
//! ([`Run::break_all`]). Who lends can take its pages away at any time, and the borrower's next load faults. So a
//! server that must not fault for its clients' sake lends pages of its own to them, instead: those stay.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::cap::PageCap;
use exopi_rt::capability::PageRights;
use exopi_rt::domain::ObjectName;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::pages::Run;
use exopi_rt::{Access, Error, PageSource, Space, VirtAddr, exposed};

/// Pages that are lent. Dropped, no capability for them is good any more.
#[derive(Debug)]
#[must_use = "they are lent until it is dropped"]
pub struct Loan {
    run: Run<'static>,
    cap: PageCap,
    references: u64,
}

/// What came of a loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody refers to the pages who did not before.
    Returned,
    /// Somebody still does.
    Kept,
}

/// References to pages that there are.
fn references(run: Run<'_>) -> u64 {
    run.numbers()
        .filter_map(exposed::page)
        .map(|record| u64::from(record.references))
        .sum()
}

impl Loan {
    /// Lends `run`, which one capability can be for, to `borrower` and nobody else, with these rights.
    ///
    /// # Errors
    /// Those of [`Run::grant_rights_to`].
    pub fn new(run: Run<'static>, rights: PageRights, borrower: ObjectName) -> Result<Self, Error> {
        Ok(Self {
            run,
            cap: run.grant_rights_to(rights, borrower)?,
            references: references(run),
        })
    }

    /// What the borrower presents.
    pub const fn cap(&self) -> &PageCap {
        &self.cap
    }

    /// Ends it.
    ///
    /// # Errors
    /// Those of `page_retire`.
    pub fn end(self) -> Result<Ended, Error> {
        self.run.retire().unless_stopped()?;
        // In this order: from now on nobody comes to refer to them by the capability.
        let ended = if references(self.run) > self.references {
            Ended::Kept
        } else {
            Ended::Returned
        };
        core::mem::forget(self);
        Ok(ended)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // They are the caller's: that is refused only if they are no more, and then the capability is void.
        let _retired = self.run.retire();
    }
}

/// Pages of somebody else that are mapped. Dropped, they are not.
#[derive(Debug)]
pub struct Borrowed {
    at: VirtAddr,
    count: u64,
    writable: bool,
}

impl Borrowed {
    /// Maps all pages of a capability at `at`, where nothing is, to be read and, if it says so, written. There may
    /// be `most` of them, since whoever sends a capability chooses how many it is for.
    ///
    /// # Errors
    /// [`Error::BadCount`] if there are more; those of `insert_pte` and, for the tables, of `page_alloc`. Nothing
    /// is mapped then; tables that were supplied stay.
    pub fn map(cap: &PageCap, at: VirtAddr, most: u64, writable: bool) -> Result<Self, Error> {
        let count = u64::from(cap.count());
        if count > most {
            return Err(Error::BadCount);
        }
        let access = if writable {
            Access::READ | Access::WRITE
        } else {
            Access::READ
        };
        let run = cap.run(0).ok_or(Error::BadCount)?;
        let mapped = Space::Own.map(at, PageSource::Run(run), count, access);
        let borrowed = Self {
            at,
            count: mapped.done,
            writable,
        };
        // What was mapped is unmapped by its drop.
        mapped.unless_stopped().map(|_| borrowed)
    }

    /// How many pages there are.
    pub const fn pages(&self) -> u64 {
        self.count
    }

    /// Word `index` of them, as it is now; `None` behind the end.
    ///
    /// # Safety
    /// As for [`Borrowed::words`].
    #[expect(unsafe_code, reason = "somebody else's memory")]
    pub unsafe fn load(&self, index: u64) -> Option<u64> {
        let words = self.count * (PAGE_SIZE / 8);
        let word = (self.at.get() as *const AtomicU64).wrapping_add(index as usize);
        // SAFETY: it is inside the pages, which are mapped to be read until this is dropped unless their owner
        // takes them away, for which the caller answers. An atomic load needs no right to write.
        (index < words).then(|| unsafe { &*word }.load(Ordering::Relaxed))
    }

    /// Their words, which the lender may change at any time. `None` if they are mapped to be read only.
    ///
    /// # Safety
    /// The lender may take the pages away; the next access faults then. The environment's handler of faults must be one
    /// for which that is no surprise: one that ends the environment, for instance.
    #[expect(unsafe_code, reason = "somebody else's memory")]
    pub unsafe fn words(&self) -> Option<&[AtomicU64]> {
        // SAFETY: they are mapped to be written until this is dropped unless their owner takes them away, for
        // which the caller answers; the kernel maps over nothing, so they are nothing else of the program's.
        self.writable
            .then(|| unsafe { words_at(self.at, self.count) })
    }
}

impl Drop for Borrowed {
    #[expect(unsafe_code, reason = "memory disappears")]
    fn drop(&mut self) {
        if self.count > 0 {
            // SAFETY: what refers to them borrows this.
            let _removed = unsafe { Space::Own.remove(self.at, self.count) };
        }
    }
}

/// The words of `pages` pages from `at` on, for rings, pipes and what else both sides of a sharing write.
///
/// # Safety
/// They must be mapped to be read and written for as long as `'a`, and be used by nothing of the program's but atomic
/// words.
#[expect(unsafe_code, reason = "memory by its address")]
pub unsafe fn words_at<'a>(at: VirtAddr, pages: u64) -> &'a [AtomicU64] {
    let count = (pages * PAGE_SIZE) as usize / size_of::<AtomicU64>();
    // SAFETY: passed on to the caller; a page is aligned for words, and every word is an atomic one.
    unsafe { core::slice::from_raw_parts(at.get() as *const AtomicU64, count) }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::vec::Vec;

    use exopi_rt::{Call, Capability, Reply, host};

    use super::*;

    /// A capability for `count` pages.
    fn cap(count: u64) -> PageCap {
        let words = [8 | count << 32, 77 | 0x3f << 48, 1, 0, 0, 0];
        PageCap::new(Capability::from_words(words).unwrap()).unwrap()
    }

    /// A kernel that maps `room` pages and no more, and notes the calls.
    fn kernel(room: u64) -> Rc<RefCell<Vec<(Call, u64)>>> {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let log = calls.clone();
        host::serve(move |call, words| {
            let (done, error) = match call {
                Call::insert_pte if words[4] > room => (room, Some(Error::Occupied)),
                Call::insert_pte => (words[4], None),
                Call::remove_pte => (words[2], None),
                other => panic!("{other:?}"),
            };
            log.borrow_mut().push((call, done));
            Reply {
                status: done << 16 | error.map_or(0, |error| error as u64),
                value: 0,
            }
        });
        calls
    }

    #[test]
    fn what_is_borrowed_is_unmapped_again() {
        let at = VirtAddr::new(0x40_0000_0000).unwrap();
        let calls = kernel(4);
        let borrowed = Borrowed::map(&cap(3), at, 4, false).unwrap();
        assert_eq!(borrowed.pages(), 3);
        drop(borrowed);
        assert_eq!(
            Borrowed::map(&cap(5), at, 4, true).err(),
            Some(Error::BadCount)
        );
        assert_eq!(
            Borrowed::map(&cap(5), at, 9, true).err(),
            Some(Error::Occupied)
        );
        assert_eq!(
            *calls.borrow(),
            [
                (Call::insert_pte, 3),
                (Call::remove_pte, 3),
                (Call::insert_pte, 4),
                (Call::remove_pte, 4),
            ]
        );
        host::install(None);
    }
}
