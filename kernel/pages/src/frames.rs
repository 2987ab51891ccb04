//! From free to plain and back, and what an owner does with plain frames.
//!
//! ```text
//!            alloc (stamped; zeroed unless `owner` had it)
//!   free -----------------------------------------------> plain --give--> plain, another's (stamped)
//!     ^                                                   |   |
//!     +------------------------ free ---------------------+   +--retire--> plain (stamped)
//! ```
//!
//! A free frame's `owner` is the one whose contents it still holds; it carries no stamp.

use exopi_abi::capability::{Epoch, PageRights};
use exopi_abi::page::{
    ALLOC_BOUND, FREE_BOUND, FrameType, MINT_BOUND, NONE, Owner, PageRecord, RECORD_BOUND, Stamp,
};
use exopi_abi::{Allocation, Error, PageNumber, PageSelect, Progress};
use exopi_cap::Epochs;

use crate::right::{Claim, Credit, Drawn, Right};
use crate::{Hardware, Pages, batch};

/// Proof that a frame is free, and how it is to be taken.
pub(crate) struct Alloc {
    pub(crate) page: PageNumber,
    /// Somebody else's contents are in it.
    pub(crate) zero: bool,
    /// Of which frame "any" goes on.
    any: bool,
}

/// The record of a plain frame that nothing refers to.
#[inline(always)]
const fn plain(owner: Owner, stamp: Stamp) -> PageRecord {
    PageRecord {
        owner,
        stamp,
        references: 0,
        foreign: 0,
        kind: FrameType::Plain,
        marks: 0,
        first: NONE,
        second: NONE,
    }
}

impl Pages<'_> {
    /// Hands frames of the kernel's to `owner` as they are, contents and all: what boot has loaded for somebody.
    /// `count` frames from `first` on, in ascending order, with one epoch for all.
    ///
    /// Stops at the first frame that is not the kernel's ([`Error::Taken`]) or that does not exist
    /// ([`Error::OutOfRange`]), or when there is no epoch left ([`Error::Exhausted`]). Has no bound: for boot
    /// alone, which charges them to the account.
    pub fn adopt(
        &mut self,
        epochs: &mut Epochs,
        owner: Owner,
        first: PageNumber,
        count: u64,
    ) -> Progress {
        let mut drawn = Drawn::new(epochs);
        batch(count, count, |done| {
            let page = first.plus(done).ok_or(Error::OutOfRange)?;
            match self.record(page) {
                None => return Err(Error::OutOfRange),
                Some(record) if record.kind != FrameType::Kernel => return Err(Error::Taken),
                Some(_) => {}
            }
            let stamp = drawn.stamp()?;
            self.update(page, |record| *record = plain(owner, stamp));
            Ok(())
        })
    }

    /// Allocates as the row `page_alloc` of the call table says: [`ALLOC_BOUND`] pages at most, charged to
    /// `credit`, and zeroed if they hold what another owner has left.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::OverAllowance`],
    /// [`Error::OutOfRange`], then [`Error::Taken`] of an exact one and [`Error::Exhausted`] of another;
    /// [`Error::Exhausted`] also when there is no epoch left.
    pub fn alloc<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        credit: Credit,
        which: PageSelect,
        count: u64,
    ) -> Allocation {
        let mut drawn = Drawn::new(epochs);
        let mut first = match which {
            PageSelect::Exact(page) => page,
            _ => PageNumber::new(0),
        };
        let mut zeroed = false;
        let progress = batch(
            count,
            ALLOC_BOUND,
            #[inline(always)]
            |done| {
                let alloc = self.check_alloc(credit, which, done)?;
                let stamp = drawn.stamp()?;
                if done == 0 {
                    first = alloc.page;
                }
                zeroed |= alloc.zero;
                self.commit_alloc(hw, alloc, credit.owner, stamp);
                Ok(())
            },
        );
        if zeroed {
            // Whatever entry names the page later: nobody can see it and still see what was there before.
            hw.publish();
        }
        Allocation { first, progress }
    }

    /// Gives pages back as the row `page_free` of the call table says: [`FREE_BOUND`] pages at most. By
    /// capability: the right to free.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::WrongKind`], [`Error::MissingRight`];
    /// [`Error::BadCount`]; of a page [`Error::OutOfRange`], [`Error::NotYours`] or [`Error::Stale`],
    /// [`Error::WrongType`], [`Error::InUse`].
    pub fn free(&mut self, right: Right, first: PageNumber, count: u64) -> Progress {
        let claim = match Claim::new(right, PageRights::FREE) {
            Ok(claim) => claim,
            Err(error) => return Progress::refused(error),
        };
        batch(
            count,
            FREE_BOUND,
            #[inline(always)]
            |done| {
                let page = first.plus(done).ok_or(Error::OutOfRange)?;
                self.spare(page, claim)?;
                self.commit_free(page);
                Ok(())
            },
        )
    }

    /// Stamps pages anew as the row `page_retire` of the call table says: [`RECORD_BOUND`] pages at most, one
    /// epoch for all. By capability: the right to retire. Limits stay.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::WrongKind`], [`Error::MissingRight`];
    /// [`Error::BadCount`]; of a page [`Error::OutOfRange`], [`Error::NotYours`] or [`Error::Stale`],
    /// [`Error::WrongType`]; [`Error::Exhausted`] when there is no epoch left.
    pub fn retire(
        &mut self,
        epochs: &mut Epochs,
        right: Right,
        first: PageNumber,
        count: u64,
    ) -> Progress {
        let claim = match Claim::new(right, PageRights::RETIRE) {
            Ok(claim) => claim,
            Err(error) => return Progress::refused(error),
        };
        let mut drawn = Drawn::new(epochs);
        batch(count, RECORD_BOUND, |done| {
            let page = first.plus(done).ok_or(Error::OutOfRange)?;
            let limit = self.plain(page, claim)?.stamp.limit();
            let stamp = Stamp::new(drawn.epoch()?, limit);
            self.update(page, |record| record.stamp = stamp);
            Ok(())
        })
    }

    /// Gives pages of `who` to another account as the row `page_give` of the call table says:
    /// [`RECORD_BOUND`] pages at most, no more than `to` takes, one epoch for all.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::OutOfRange`],
    /// [`Error::NotYours`], [`Error::WrongType`], [`Error::InUse`], [`Error::OverAllowance`];
    /// [`Error::Exhausted`] when there is no epoch left.
    pub fn give(
        &mut self,
        epochs: &mut Epochs,
        who: Owner,
        first: PageNumber,
        count: u64,
        to: Credit,
    ) -> Progress {
        let mut drawn = Drawn::new(epochs);
        batch(count, RECORD_BOUND, |done| {
            let page = first.plus(done).ok_or(Error::OutOfRange)?;
            self.spare(page, Claim::Owner(who))?;
            if done >= to.pages {
                return Err(Error::OverAllowance);
            }
            let stamp = drawn.stamp()?;
            self.update(page, |record| {
                record.owner = to.owner;
                record.stamp = stamp;
            });
            Ok(())
        })
    }

    /// Sets how many references others may have, as the row `page_limit` of the call table says:
    /// [`RECORD_BOUND`] pages at most.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::OutOfRange`],
    /// [`Error::NotYours`], [`Error::WrongType`].
    pub fn set_limit(&mut self, who: Owner, first: PageNumber, count: u64, limit: u16) -> Progress {
        batch(count, RECORD_BOUND, |done| {
            let page = first.plus(done).ok_or(Error::OutOfRange)?;
            let epoch = self.plain(page, Claim::Owner(who))?.stamp.epoch();
            self.update(page, |record| record.stamp = Stamp::new(epoch, limit));
            Ok(())
        })
    }

    /// The epoch of a capability for `count` pages of `who` from `first` on, which one capability can be good
    /// for: plain pages that are stamped alike.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`] for none or more than [`MINT_BOUND`];
    /// of a page [`Error::OutOfRange`], [`Error::NotYours`], [`Error::WrongType`], [`Error::Stale`] if it
    /// is stamped otherwise than the first, or not at all.
    pub fn mintable(&self, who: Owner, first: PageNumber, count: u64) -> Result<Epoch, Error> {
        if count == 0 || count > MINT_BOUND {
            return Err(Error::BadCount);
        }
        let mut epoch = Epoch::NONE;
        for done in 0..count {
            let page = first.plus(done).ok_or(Error::OutOfRange)?;
            let found = self.plain(page, Claim::Owner(who))?.stamp.epoch();
            if done == 0 {
                epoch = found;
            }
            if found != epoch || found == Epoch::NONE {
                return Err(Error::Stale);
            }
        }
        Ok(epoch)
    }

    /// The epoch of a capability for one page of `who`, if there can be one: the usual case, without a loop.
    /// [`Pages::mintable`] tells why not.
    #[inline(always)]
    pub fn mintable_page(&self, who: Owner, page: PageNumber) -> Option<Epoch> {
        let record = self.record(page)?;
        let epoch = record.stamp.epoch();
        let plain = record.kind == FrameType::Plain && record.owner == who;
        (plain && epoch != Epoch::NONE).then_some(epoch)
    }

    /// Whether a frame, the next after `done` others, may be had on `credit`.
    #[inline(always)]
    pub(crate) fn check_alloc(
        &self,
        credit: Credit,
        which: PageSelect,
        done: u64,
    ) -> Result<Alloc, Error> {
        if done >= credit.pages {
            return Err(Error::OverAllowance);
        }
        let page = self.free.select(which, done)?;
        match self.record(page) {
            None => Err(Error::OutOfRange),
            Some(record) if record.kind != FrameType::Free => Err(Error::Taken),
            Some(record) => Ok(Alloc {
                page,
                zero: record.owner != credit.owner,
                any: which == PageSelect::Any,
            }),
        }
    }

    /// Takes the frame. One that was zeroed is to be published before anybody can reach it.
    #[inline(always)]
    pub(crate) fn commit_alloc<H: Hardware>(
        &mut self,
        hw: &mut H,
        alloc: Alloc,
        owner: Owner,
        stamp: Stamp,
    ) {
        let Some(record) = self.records.get_mut(alloc.page.index()) else {
            return;
        };
        let (next, previous) = (record.first, record.second);
        *record = plain(owner, stamp);
        self.take_free(alloc.page, next, previous);
        if alloc.any {
            self.free.turn = (self.free.colour(alloc.page) + 1) & self.free.mask;
        }
        if alloc.zero {
            hw.zero(alloc.page);
        }
    }

    /// Puts a spare frame on its free list.
    #[inline(always)]
    pub(crate) fn commit_free(&mut self, page: PageNumber) {
        self.update(page, |record| {
            record.kind = FrameType::Free;
            record.stamp = Stamp::NONE;
        });
        self.push_free(page);
    }

    /// Makes a frame that nothing refers to any more plain again, with whatever is in it.
    #[inline(always)]
    pub(crate) fn make_plain(&mut self, page: PageNumber, stamp: Stamp) {
        self.update(page, |record| {
            record.kind = FrameType::Plain;
            record.stamp = stamp;
            record.first = NONE;
            record.second = NONE;
        });
    }

    /// Makes a spare frame something that no capability is good for and nothing else may name.
    #[inline(always)]
    pub(crate) fn retype(&mut self, page: PageNumber, kind: FrameType, first: u32, second: u32) {
        self.update(page, |record| {
            record.kind = kind;
            record.stamp = Stamp::NONE;
            record.first = first;
            record.second = second;
        });
    }
}
