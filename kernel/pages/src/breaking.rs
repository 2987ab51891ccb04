//! Breaking: taking away every mapping of a frame, whoever made it.
//!
//! ```text
//!   plain --break_all--> leaving  (some are gone; nothing may be bound)  --break_all--> plain, unreferenced
//!     |                                                                     ^
//!     +------------------------ few enough for one call --------------------+
//! ```

use core::ops::Range;

use exopi_abi::capability::PageRights;
use exopi_abi::page::{BREAK_BOUND, FREE_BOUND, FrameType, Owner, PageRecord, RECORD_BOUND};
use exopi_abi::{Breaking, Error, PageNumber, Progress};

use crate::binding::Unbind;
use crate::right::{Claim, Right};
use crate::space::superpage_of;
use crate::teardown::Step;
use crate::{Hardware, Pages, Slot, batch, pte};

/// Most records that one step of [`Pages::reclaim`] looks at.
pub(crate) const RECLAIM_RECORDS: u32 = 512;

/// What a step of [`Pages::reclaim`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "there may be more to do, and the freed pages are to be credited"]
pub struct Reclaimed {
    /// Pages that went to the free lists.
    pub freed: u64,
    /// [`Step::Done`] when the whole array has been looked at.
    pub step: Step,
}

/// What became of a page that was to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a page that was not taken is still there"]
pub enum Taken {
    /// It is free.
    Page,
    /// The step's bound has come before it; some of its mappings may be gone, and then it is leaving.
    Later,
    /// It is not a plain page of that owner, or pinned.
    NoPage,
}

/// How much a call may still break, and what it has broken.
#[derive(Debug)]
pub struct Broken {
    bound: u64,
    /// Mappings that it may still remove.
    left: u64,
    superpages: u64,
}

impl Pages<'_> {
    /// Breaks mappings as the row `page_break` of the call table says: [`BREAK_BOUND`] mappings and
    /// [`RECORD_BOUND`] pages at most. By capability: the right to retire.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::WrongKind`], [`Error::MissingRight`];
    /// [`Error::BadCount`]; of a page [`Error::OutOfRange`], [`Error::NotYours`] or [`Error::Stale`],
    /// [`Error::WrongType`].
    pub fn break_all<H: Hardware>(
        &mut self,
        hw: &mut H,
        right: Right,
        first: PageNumber,
        count: u64,
    ) -> Breaking {
        let claim = match Claim::new(right, PageRights::RETIRE) {
            Ok(claim) => claim,
            Err(error) => {
                return Breaking {
                    progress: Progress::refused(error),
                    superpages: 0,
                };
            }
        };
        let mut broken = Broken::up_to(BREAK_BOUND);
        let mut half_done = false;
        let mut progress = batch(count, RECORD_BOUND, |done| {
            let page = first.plus(done).ok_or(Error::OutOfRange)?;
            self.plain(page, claim)?;
            let ended = self.break_page(hw, page, &mut broken);
            half_done = ended.is_err();
            ended
        });
        if half_done {
            // The call's bound, not a refusal.
            progress.stopped = None;
        }
        broken.complete(hw);
        Breaking {
            progress,
            superpages: broken.superpages,
        }
    }

    /// Frees, from frame `cursor` on, every plain page of `owner`, whose account is at its end, after breaking
    /// all its mappings: a bounded step, after which `cursor` is where the next goes on. Pages of other types are
    /// left: spaces and environments are to be gone before it starts.
    pub fn reclaim<H: Hardware>(
        &mut self,
        hw: &mut H,
        owner: Owner,
        cursor: &mut u32,
    ) -> Reclaimed {
        let mut broken = Broken::up_to(BREAK_BOUND);
        let mut freed = 0;
        let end = (self.records.len() as u32).min(cursor.saturating_add(RECLAIM_RECORDS));
        while freed < FREE_BOUND {
            let Some(page) = self.first_plain(owner, *cursor..end) else {
                *cursor = end;
                break;
            };
            *cursor = page.get();
            if self.break_page(hw, page, &mut broken).is_err() {
                break;
            }
            // Pages that are free but remembered somewhere are nobody's until this returns.
            self.commit_free(page);
            freed += 1;
            *cursor += 1;
        }
        broken.complete(hw);
        let step = if *cursor as usize >= self.records.len() {
            Step::Done
        } else {
            Step::More
        };
        Reclaimed { freed, step }
    }

    /// The number of the first frame from `from` on, among at most `most`, that is `wanted`; or where the search
    /// ended: at the last frame if there are no more.
    pub fn find(
        &self,
        from: u32,
        most: u32,
        wanted: impl Fn(&PageRecord) -> bool,
    ) -> Result<u32, u32> {
        let records = self.records.iter().skip(from as usize).take(most as usize);
        let end = from.saturating_add(most).min(self.records.len() as u32);
        let found = (from..).zip(records).find(|(_, record)| wanted(record));
        found.map(|(number, _)| number).ok_or(end)
    }

    /// How many mappings of a page there may be to break: no fewer than there are.
    pub fn breakable(&self, page: PageNumber) -> u64 {
        let references = |page| self.record(page).map_or(0, |r| u64::from(r.references));
        let first = superpage_of(page);
        references(page) + if first == page { 0 } else { references(first) }
    }

    /// Frees a plain page of `owner` that nobody has pinned, after breaking all its mappings, as far as `broken`
    /// allows. What is free may be remembered by some core until [`Broken::complete`].
    pub fn take<H: Hardware>(
        &mut self,
        hw: &mut H,
        owner: Owner,
        page: PageNumber,
        broken: &mut Broken,
    ) -> Taken {
        match self.plain(page, Claim::Owner(owner)) {
            Ok(record) if record.pins() == 0 => {}
            _ => return Taken::NoPage,
        }
        if self.break_page(hw, page, broken).is_err() {
            return Taken::Later;
        }
        self.commit_free(page);
        Taken::Page
    }

    /// The first plain frame of `owner` in a range of frames.
    #[inline(always)]
    fn first_plain(&self, owner: Owner, range: Range<u32>) -> Option<PageNumber> {
        let records = self.records.get(range.start as usize..range.end as usize)?;
        // The owner first, which few of them have: most of an account's end is this loop.
        let wanted = |record: &PageRecord| record.owner == owner && record.kind == FrameType::Plain;
        let offset = records.iter().position(wanted)?;
        Some(PageNumber::new(range.start + offset as u32))
    }

    /// Takes away mappings of a plain frame, up to what `broken` allows. Whoever called waits for the
    /// invalidations.
    ///
    /// # Errors
    /// [`Error::Leaving`]: some are left, and the frame is marked.
    fn break_page<H: Hardware>(
        &mut self,
        hw: &mut H,
        page: PageNumber,
        broken: &mut Broken,
    ) -> Result<(), Error> {
        let slots = self.slots(page);
        let pages = self.break_list(hw, slots, page, broken.left);
        broken.left -= pages;
        let first = superpage_of(page);
        let slots = self.superpages(page);
        let superpages = self.break_list(hw, slots, first, broken.left);
        broken.left -= superpages;
        broken.superpages += superpages;
        let done = self.slots(page).is_none() && self.superpages(page).is_none();
        self.update(page, |record| {
            record.marks &= PageRecord::MAX_PINS;
            if !done {
                record.marks |= PageRecord::LEAVING;
            }
        });
        if done { Ok(()) } else { Err(Error::Leaving) }
    }

    /// Takes away up to `most` entries from the begin of a list of those that name `page`, and tells how many.
    fn break_list<H: Hardware>(
        &mut self,
        hw: &mut H,
        list: Slot,
        page: PageNumber,
        most: u64,
    ) -> u64 {
        let cleared = self.clear_list(hw, list, most);
        if cleared == 0 {
            return 0;
        }
        hw.before_invalidate();
        let mut slot = list;
        for _ in 0..cleared {
            let (Some(place), Ok(found)) = (self.place(slot), self.with_links(slot.table())) else {
                break;
            };
            let mapping = place.mapping;
            hw.invalidate_page(mapping.asid, mapping.at.into());
            let owner = self.record(page).map(|record| record.owner);
            let unbind = Unbind {
                found,
                index: slot.index(),
                page,
                foreign: owner != Some(place.owner),
            };
            let next = hw.link(found.links, slot.index()).next;
            if mapping.superpage {
                self.commit_unbind_superpage(hw, unbind);
            } else {
                self.commit_unbind(hw, unbind);
            }
            self.discount_entries(slot.table(), 1);
            slot = next;
        }
        cleared
    }

    /// Clears up to `most` entries from the begin of a list, which stays as it is, and tells how many.
    fn clear_list<H: Hardware>(&self, hw: &mut H, list: Slot, most: u64) -> u64 {
        let mut slot = list;
        let mut cleared = 0;
        while cleared < most && !slot.is_none() {
            let Some(links) = self.links_of(slot.table()) else {
                break;
            };
            hw.set_entry(slot.table(), slot.index(), pte::INVALID);
            slot = hw.link(links, slot.index()).next;
            cleared += 1;
        }
        cleared
    }
}

impl Broken {
    /// Nothing yet, and at most [`BREAK_BOUND`] mappings.
    pub const fn nothing() -> Self {
        Self::up_to(BREAK_BOUND)
    }

    /// How many mappings may still be broken.
    pub const fn left(&self) -> u64 {
        self.left
    }

    const fn up_to(bound: u64) -> Self {
        Self {
            bound,
            left: bound,
            superpages: 0,
        }
    }

    /// Waits until every core has forgotten what was removed.
    pub fn complete<H: Hardware>(&self, hw: &mut H) {
        if self.left < self.bound {
            hw.complete();
        }
    }
}
