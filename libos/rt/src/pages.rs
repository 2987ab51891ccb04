//! Runs of pages: picked, taken, lent, given away, taken back.
//!
//! A [`Run`] says which pages and by what right; it owns nothing and frees nothing when it is dropped. Whose the
//! pages are the page array tells ([`exposed::page`]), and pages outlive any value that names them.
//!
//! Calls over pages stop at a bound; what is here asks again for the rest. So a [`Progress`] from here that
//! has no error has done everything.

use crate::cap::{self, PageCap};
use crate::capability::PageRights;
use crate::domain::ObjectName;
use crate::page::{FrameType, Owner};
use crate::{Breaking, Error, PageNumber, PageRun, PageSelect, Progress, exposed, stubs};

/// Pages from a first one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    first: PageNumber,
    count: u64,
    by: Option<&'a PageCap>,
}

/// The first of `count` free pages in a row, from below. Somebody else may take it before the caller does.
pub fn find_free(count: u64) -> Option<PageNumber> {
    let mut length = 0;
    let mut first = None;
    for (page, record) in exposed::pages() {
        if record.kind != FrameType::Free {
            length = 0;
            continue;
        }
        if length == 0 {
            first = Some(page);
        }
        length += 1;
        if length >= count {
            return first;
        }
    }
    None
}

/// The colour of a page: pages of different colours do not compete for lines of the cache that all cores
/// share.
pub fn colour_of(page: PageNumber) -> u8 {
    // At most 32 colours, and a power of two: a mask.
    (u64::from(page.get()) & exposed::machine().colours.wrapping_sub(1)) as u8
}

/// Takes one page: this one, any, or one of a colour.
///
/// # Errors
/// Those of `page_alloc`.
pub fn take(which: PageSelect) -> Result<PageNumber, Error> {
    let allocation = stubs::page_alloc(which, 1);
    allocation.progress.unless_stopped()?;
    Ok(allocation.first)
}

impl Run<'static> {
    /// Pages that belong to the account that the caller draws on. That they do is seen when they are used.
    pub const fn owned(first: PageNumber, count: u64) -> Self {
        Self {
            first,
            count,
            by: None,
        }
    }

    /// Takes exactly these pages, all or none.
    ///
    /// # Errors
    /// Those of `page_alloc`; those that were taken are given back then.
    pub fn take(first: PageNumber, count: u64) -> Result<Self, Error> {
        let taken = over(count, |done, left| match first.plus(done) {
            Some(next) => stubs::page_alloc(PageSelect::Exact(next), left).progress,
            None => Progress::refused(Error::OutOfRange),
        });
        match taken.stopped {
            None => Ok(Self::owned(first, count)),
            Some(error) => {
                // They are fresh and nothing refers to them: it is not refused.
                let _freed = Self::owned(first, taken.done).free();
                Err(error)
            }
        }
    }

    /// Takes `count` pages in a row, wherever there are as many.
    ///
    /// # Errors
    /// [`Error::Exhausted`]: there is no such row; those of `page_alloc`.
    pub fn take_row(count: u64) -> Result<Self, Error> {
        /// How often somebody else may come first.
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let first = find_free(count).ok_or(Error::Exhausted)?;
            match Self::take(first, count) {
                Err(Error::Taken) => {}
                outcome => return outcome,
            }
        }
        Err(Error::Taken)
    }

    /// Gives the pages to another account, as they are: contents and charge move. It must accept as many
    /// ([`account::accept_pages`](crate::account::accept_pages)).
    pub fn give(self, to: Owner) -> Progress {
        self.each(|first, count| stubs::page_give(first, count, to))
    }

    /// Sets how many references others may have to each.
    pub fn limit(self, limit: u16) -> Progress {
        self.each(|first, count| stubs::page_limit(first, count, limit))
    }

    /// Mints a capability for them with exactly these rights.
    ///
    /// # Errors
    /// Those of `cap_mint`: they were not taken or stamped together, for instance ([`Run::retire`] does that).
    pub fn mint(self, rights: PageRights) -> Result<PageCap, Error> {
        PageCap::mint(self.first.get().into(), self.count, rights)
    }

    /// Mints a capability for `holder`, an environment: with these rights, whatever they are, and nobody else may
    /// present it.
    ///
    /// # Errors
    /// As for [`Run::mint`].
    pub fn grant_rights_to(self, rights: PageRights, holder: ObjectName) -> Result<PageCap, Error> {
        self.mint(rights)?.only_for(holder)
    }

    /// The same with all rights but those by which a holder ends the pages for others.
    ///
    /// # Errors
    /// As for [`Run::mint`].
    pub fn grant_to(self, holder: ObjectName) -> Result<PageCap, Error> {
        self.grant_rights_to(cap::lent(), holder)
    }
}

impl<'a> Run<'a> {
    /// All pages of a capability.
    pub const fn presented(cap: &'a PageCap) -> Self {
        Self {
            first: cap.first(),
            count: cap.count() as u64,
            by: Some(cap),
        }
    }

    /// The first page.
    pub const fn first(self) -> PageNumber {
        self.first
    }

    /// How many there are.
    pub const fn count(self) -> u64 {
        self.count
    }

    /// `count` of them from the one after `offset` others on, if there are as many.
    pub fn part(self, offset: u64, count: u64) -> Option<Self> {
        let first = self.first.plus(offset)?;
        (offset.checked_add(count)? <= self.count).then_some(Self {
            first,
            count,
            ..self
        })
    }

    /// The pages' numbers.
    pub fn numbers(self) -> impl Iterator<Item = PageNumber> {
        (0..self.count).map_while(move |offset| self.first.plus(offset))
    }

    /// As calls take them, from `page` on.
    fn named(self, page: PageNumber) -> PageRun<'a> {
        match self.by {
            None => PageRun::Owned(page),
            Some(cap) => PageRun::Presented(page, cap.into()),
        }
    }

    /// As calls take them.
    pub fn run(self) -> PageRun<'a> {
        self.named(self.first)
    }

    /// Makes a call over all of them, as often as it takes.
    fn each(self, mut call: impl FnMut(PageNumber, u64) -> Progress) -> Progress {
        over(self.count, |done, left| match self.first.plus(done) {
            Some(next) => call(next, left),
            None => Progress::refused(Error::OutOfRange),
        })
    }

    /// Gives them back. Nothing may refer to them.
    pub fn free(self) -> Progress {
        self.each(|first, count| stubs::page_free(self.named(first), count))
    }

    /// Ends all capabilities for them, and makes them one range that a capability can be minted for, if one
    /// call does it (at most [`RECORD_BOUND`](crate::page::RECORD_BOUND) pages). Mappings stay.
    pub fn retire(self) -> Progress {
        self.each(|first, count| stubs::page_retire(self.named(first), count))
    }

    /// Removes every mapping of them, whoever has it.
    ///
    /// # Safety
    /// No reference, pointer in use or running code of the program may depend on what is mapped where they
    /// are, superpages around them included.
    #[expect(unsafe_code, reason = "memory disappears")]
    pub unsafe fn break_all(self) -> Breaking {
        let mut superpages = 0;
        let progress = self.each(|first, count| {
            // SAFETY: passed on to the caller.
            let broken = unsafe { stubs::page_break(self.named(first), count) };
            superpages += broken.superpages;
            broken.progress
        });
        Breaking {
            progress,
            superpages,
        }
    }
}

/// Makes a call over `count` items until all are done or one is refused: it gets how many are done and how many are
/// left.
pub(crate) fn over(count: u64, mut call: impl FnMut(u64, u64) -> Progress) -> Progress {
    let mut done = 0;
    while done < count {
        let progress = call(done, count - done);
        done += progress.done;
        if progress.stopped.is_some() {
            return Progress {
                done,
                stopped: progress.stopped,
            };
        }
    }
    Progress {
        done,
        stopped: None,
    }
}

#[cfg(test)]
mod tests;
