//! Mappings of pages: leaf entries, and what leads from a frame to them.

use exopi_abi::page::{
    ALLOC_BOUND, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, Owner, PageRecord, REMOVE_BOUND,
    SUPERPAGE_PAGES,
};
use exopi_abi::{Access, Error, PageNumber, PageSelect, Progress, VirtAddr};
use exopi_cap::Epochs;

use crate::flush::Touched;
use crate::right::{Claim, Credit, Drawn, Right, Source, refusal};
use crate::space::{Table, bindable};
use crate::{Hardware, Index, Link, Pages, Slot, Space, pte};

/// Proof that an entry may name a frame.
pub(crate) struct Bind {
    pub(crate) found: Table,
    pub(crate) index: Index,
    pub(crate) page: PageNumber,
    /// The frame is not of the space's owner.
    pub(crate) foreign: bool,
}

/// Proof that an entry may be cleared.
pub(crate) struct Unbind {
    pub(crate) found: Table,
    pub(crate) index: Index,
    pub(crate) page: PageNumber,
    /// The frame is not of the space's owner.
    pub(crate) foreign: bool,
}

impl Bind {
    /// The place of the entry.
    #[inline(always)]
    pub(crate) const fn slot(&self) -> Slot {
        Slot::new(self.found.table, self.index)
    }
}

impl Pages<'_> {
    /// Makes mappings as the row `insert_pte` of the call table says: [`INSERT_BOUND`] at most, or
    /// [`INSERT_EXECUTABLE_BOUND`] if they are executable, or [`ALLOC_BOUND`] if the pages are new; those are
    /// charged to `credit`, each that is done.
    ///
    /// # Errors
    /// In the order in which they are looked for. By capability: [`Error::WrongKind`], [`Error::MissingRight`],
    /// [`Error::TimeLimited`]. Then [`Error::BadCount`]; of a page [`Error::BadAddress`] beyond what programs
    /// map, [`Error::NoTable`], [`Error::Occupied`] by a superpage; [`Error::OutOfRange`],
    /// [`Error::NotYours`] or [`Error::Stale`], [`Error::WrongType`], [`Error::Leaving`],
    /// [`Error::LimitReached`], or of a new page those of [`Pages::alloc`]; [`Error::Occupied`].
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    pub fn insert_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        credit: Credit,
        space: &Space,
        at: VirtAddr,
        source: Source,
        count: u64,
        access: Access,
    ) -> Progress {
        match source {
            Source::Run(first, right) => {
                // What a capability says is looked at here, so that nothing else needs it in memory.
                let claim = match Claim::to_map(right, access) {
                    Ok(claim) => claim,
                    Err(error) => return Progress::refused(error),
                };
                if count == 1 && self.insert_one(hw, space, at, first, claim, access) {
                    return ONE;
                }
                self.insert_many(hw, space, at, first, claim, count, access)
            }
            Source::New(which) => {
                self.insert_new(hw, epochs, credit, space, at, which, count, access)
            }
        }
    }

    /// The usual case without a loop: one page, to which nothing stands in the way, and that is not executable. In
    /// any other case nothing is done.
    #[inline(always)]
    fn insert_one<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        page: PageNumber,
        claim: Claim,
        access: Access,
    ) -> bool {
        if access.contains(Access::EXECUTE) {
            return false;
        }
        let Ok(found) = self.table3(hw, space, at) else {
            return false;
        };
        let index = Index::in_table3(at);
        let Ok(bind) = self.check_bind(hw, &found, index, page, claim, space) else {
            return false;
        };
        self.commit_bind(hw, bind, pte::page(page, access));
        self.count_entries(found.table, 1);
        hw.publish();
        true
    }

    /// Every case of pages that there are.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    fn insert_many<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        first: PageNumber,
        claim: Claim,
        count: u64,
        access: Access,
    ) -> Progress {
        let blank = pte::page(PageNumber::new(0), access);
        // The same twice, so that the inner loop of the usual case is one without a call in it.
        let progress = if access.contains(Access::EXECUTE) {
            let count = count.min(INSERT_EXECUTABLE_BOUND);
            self.insert_runs(hw, space, at, count, |pages, hw, found, index, offset| {
                let page = after(first, offset);
                let bind = pages.check_bind(hw, found, index, page, claim, space)?;
                hw.sync_code(page);
                pages.commit_bind(hw, bind, blank | page.address());
                Ok(())
            })
        } else {
            let count = count.min(INSERT_BOUND);
            self.insert_runs(hw, space, at, count, |pages, hw, found, index, offset| {
                let page = after(first, offset);
                let bind = pages.check_bind(hw, found, index, page, claim, space)?;
                pages.commit_bind(hw, bind, blank | page.address());
                Ok(())
            })
        };
        if progress.done > 0 {
            hw.publish();
        }
        progress
    }

    /// The same for pages that are allocated on the way.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "they are the row's")]
    fn insert_new<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        credit: Credit,
        space: &Space,
        at: VirtAddr,
        which: PageSelect,
        count: u64,
        access: Access,
    ) -> Progress {
        let mut drawn = Drawn::new(epochs);
        let foreign = credit.owner != space.owner();
        let count = count.min(ALLOC_BOUND);
        let progress = self.insert_runs(hw, space, at, count, |pages, hw, found, index, offset| {
            let alloc = pages.check_alloc(credit, which, offset)?;
            if pte::is_valid(hw.entry(found.table, index)) {
                return Err(Error::Occupied);
            }
            let stamp = drawn.stamp()?;
            let (page, zero) = (alloc.page, alloc.zero);
            let bind = Bind {
                found: *found,
                index,
                page,
                foreign,
            };
            pages.commit_alloc(hw, alloc, credit.owner, stamp);
            if access.contains(Access::EXECUTE) {
                hw.sync_code(page);
            }
            if zero {
                // Nobody may see what was there before.
                hw.publish();
            }
            pages.commit_bind(hw, bind, pte::page(page, access));
            Ok(())
        });
        if progress.done > 0 {
            hw.publish();
        }
        progress
    }

    /// Removes mappings as the row `remove_pte` of the call table says: [`REMOVE_BOUND`] at most.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::BadAddress`]
    /// beyond what programs map, [`Error::NoTable`], [`Error::Misaligned`] for a part of a superpage,
    /// [`Error::Vacant`], [`Error::WrongType`] for a u-area.
    #[inline(always)]
    pub fn remove_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        count: u64,
    ) -> Progress {
        if count == 1 && self.remove_one(hw, space, at) {
            return ONE;
        }
        self.remove_many(hw, space, at, count)
    }

    /// The usual case without a loop: one page that is mapped. In any other case nothing is done.
    #[inline(always)]
    fn remove_one<H: Hardware>(&mut self, hw: &mut H, space: &Space, at: VirtAddr) -> bool {
        let Ok(found) = self.table3(hw, space, at) else {
            return false;
        };
        let index = Index::in_table3(at);
        let Ok(unbind) = self.check_unbind(hw, &found, index, space.owner()) else {
            return false;
        };
        hw.set_entry(found.table, index, pte::INVALID);
        self.commit_unbind(hw, unbind);
        self.discount_entries(found.table, 1);
        hw.before_invalidate();
        hw.invalidate_page(space.asid(), at.into());
        hw.complete();
        true
    }

    /// Every case.
    #[inline(never)]
    fn remove_many<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        count: u64,
    ) -> Progress {
        let mut touched = Touched::from(at);
        let progress =
            by_mapping(
                at,
                count,
                REMOVE_BOUND,
                &mut touched,
                |at, length, left| match self.table3(hw, space, at) {
                    Ok(found) => Part::Pages(self.remove_run(hw, space, found, at, length)),
                    Err(Error::Occupied) => {
                        Part::Superpage(self.remove_superpage(hw, space, at, left))
                    }
                    Err(error) => Part::Pages(Progress::refused(error)),
                },
            );
        // Records say already that the frames are not mapped; whoever holds `self` next finds it true.
        touched.forget(hw, space);
        progress
    }

    /// Makes `count` entries from `at` on by `insert`, without a barrier behind them. `insert` gets the place, and how
    /// many came before.
    #[inline(always)]
    fn insert_runs<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        count: u64,
        mut insert: impl FnMut(&mut Self, &mut H, &Table, Index, u64) -> Result<(), Error>,
    ) -> Progress {
        by_table(
            at,
            count,
            #[inline(always)]
            |at, done, length| {
                let found = match self.table3(hw, space, at) {
                    Ok(found) => found,
                    Err(error) => return Progress::refused(error),
                };
                let progress = run(
                    at,
                    length,
                    #[inline(always)]
                    |index, offset| insert(self, hw, &found, index, done + offset),
                );
                self.count_entries(found.table, progress.done as u32);
                progress
            },
        )
    }

    /// Clears `length` entries from `at` on, all in one level-3 table, without invalidating anything.
    #[inline(always)]
    fn remove_run<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        found: Table,
        at: VirtAddr,
        length: u64,
    ) -> Progress {
        let progress = run(
            at,
            length,
            #[inline(always)]
            |index, _| {
                let unbind = self.check_unbind(hw, &found, index, space.owner())?;
                hw.set_entry(found.table, index, pte::INVALID);
                self.commit_unbind(hw, unbind);
                Ok(())
            },
        );
        self.discount_entries(found.table, progress.done as u32);
        progress
    }

    /// Whether the entry `index` of a table may name `page`, by `claim`.
    #[inline(always)]
    fn check_bind<H: Hardware>(
        &self,
        hw: &H,
        found: &Table,
        index: Index,
        page: PageNumber,
        claim: Claim,
        space: &Space,
    ) -> Result<Bind, Error> {
        let vacant = !pte::is_valid(hw.entry(found.table, index));
        match self.record(page) {
            Some(record) if bindable(record) && vacant && claim.covers(page, record) => {
                let foreign = record.owner != space.owner();
                if foreign && !has_room(record) {
                    return Err(Error::LimitReached);
                }
                Ok(Bind {
                    found: *found,
                    index,
                    page,
                    foreign,
                })
            }
            record => Err(unbindable(page, record, claim, space)),
        }
    }

    /// Makes the entry and puts it at the head of the frame's list. Its table's count is the caller's.
    ///
    /// A frame's references cannot overflow: fewer than 2^23 tables with 512 entries each make fewer than
    /// 2^32. Nor can others' do, which its owner's limit bounds.
    #[inline(always)]
    pub(crate) fn commit_bind<H: Hardware>(&mut self, hw: &mut H, bind: Bind, entry: u64) {
        let Some(record) = self.records.get_mut(bind.page.index()) else {
            return;
        };
        let next = Slot::from_word(record.first);
        record.first = bind.slot().word();
        record.references += 1;
        if bind.foreign {
            record.foreign += 1;
        }
        self.link_first(hw, &bind, next);
        hw.set_entry(bind.found.table, bind.index, entry);
    }

    /// Puts a new entry before `next`, the first on its list so far.
    #[inline(always)]
    pub(crate) fn link_first<H: Hardware>(&self, hw: &mut H, bind: &Bind, next: Slot) {
        let link = Link {
            next,
            previous: Slot::NONE,
        };
        hw.set_link(bind.found.links, bind.index, link);
        if !next.is_none() {
            self.relink(hw, next, |link| link.previous = bind.slot());
        }
    }

    #[inline(always)]
    pub(crate) fn check_unbind<H: Hardware>(
        &self,
        hw: &H,
        found: &Table,
        index: Index,
        owner: Owner,
    ) -> Result<Unbind, Error> {
        let entry = hw.entry(found.table, index);
        if !pte::is_valid(entry) {
            return Err(Error::Vacant);
        }
        let page = pte::frame(entry);
        // What a program could not have mapped it cannot unmap: the u-area.
        match self.record(page) {
            Some(record) if !pte::bound_access(entry).is_empty() => Ok(Unbind {
                found: *found,
                index,
                page,
                foreign: record.owner != owner,
            }),
            _ => Err(Error::WrongType),
        }
    }

    /// Takes an entry that was cleared off the list of the frame that it named. Its table's count is the caller's.
    #[inline(always)]
    pub(crate) fn commit_unbind<H: Hardware>(&mut self, hw: &mut H, unbind: Unbind) {
        let Link { next, previous } = self.unlink(hw, &unbind);
        self.update(unbind.page, |record| {
            record.references -= 1;
            if unbind.foreign {
                record.foreign -= 1;
            }
            if previous.is_none() {
                record.first = next.word();
            }
        });
    }

    /// Takes an entry out of its list, and tells what its neighbours were. If it was the first, the record is the
    /// caller's.
    #[inline(always)]
    pub(crate) fn unlink<H: Hardware>(&self, hw: &mut H, unbind: &Unbind) -> Link {
        let Unbind { found, index, .. } = *unbind;
        let link = hw.link(found.links, index);
        if !link.previous.is_none() {
            self.relink(hw, link.previous, |other| other.next = link.next);
        }
        if !link.next.is_none() {
            self.relink(hw, link.next, |other| other.previous = link.previous);
        }
        hw.set_link(found.links, index, Link::EMPTY);
        link
    }

    /// Changes the link of an entry in whatever table.
    #[inline(always)]
    fn relink<H: Hardware>(&self, hw: &mut H, slot: Slot, change: impl FnOnce(&mut Link)) {
        if let Some(links) = self.links_of(slot.table()) {
            let mut link = hw.link(links, slot.index());
            change(&mut link);
            hw.set_link(links, slot.index(), link);
        }
    }

    /// `count` more entries of a table are in use: at most 512 are.
    #[inline(always)]
    pub(crate) fn count_entries(&mut self, table: PageNumber, count: u32) {
        self.update(table, |record| record.first += count);
    }

    /// `count` fewer entries of a table are in use.
    #[inline(always)]
    pub(crate) fn discount_entries(&mut self, table: PageNumber, count: u32) {
        self.update(table, |record| record.first -= count);
    }
}

/// Whether others may refer to a frame once more.
#[inline(always)]
pub(crate) const fn has_room(record: &PageRecord) -> bool {
    record.foreign < record.stamp.limit()
}

/// Why an entry may not name a frame, if it is not for the limit alone.
#[cold]
fn unbindable(page: PageNumber, record: Option<&PageRecord>, claim: Claim, space: &Space) -> Error {
    match (refusal(page, record, claim), record) {
        (Some(error), _) => error,
        (None, Some(record)) => occupied(record, record.owner != space.owner()),
        (None, None) => Error::OutOfRange,
    }
}

/// Why an entry may not name a plain frame that was asked for with right: [`Error::Occupied`] if the reason is not
/// the frame's.
#[cold]
pub(crate) fn occupied(record: &PageRecord, foreign: bool) -> Error {
    if !bindable(record) {
        Error::Leaving
    } else if foreign && !has_room(record) {
        Error::LimitReached
    } else {
        Error::Occupied
    }
}

/// One item, and nothing refused.
pub(crate) const ONE: Progress = Progress {
    done: 1,
    stopped: None,
};

/// What was done of a stretch of address space below one entry of a level-2 table.
pub(crate) enum Part {
    /// So many pages, and why no more.
    Pages(Progress),
    /// All of it, one superpage, unless that was refused.
    Superpage(Result<(), Error>),
}

/// Splits `count` pages of address space from `at` on at the borders of level-3 tables. `run` gets the
/// address, how many pages came before and how many follow in the same table.
#[inline(always)]
fn by_table(
    at: VirtAddr,
    count: u64,
    mut run: impl FnMut(VirtAddr, u64, u64) -> Progress,
) -> Progress {
    if count == 0 {
        return Progress::refused(Error::BadCount);
    }
    let (mut at, mut done) = (at, 0);
    loop {
        let length = (Index::COUNT - Index::in_table3(at).get()) as u64;
        let part = run(at, done, length.min(count - done));
        done += part.done;
        if part.stopped.is_some() || done >= count {
            return Progress {
                done,
                stopped: part.stopped,
            };
        }
        at = match at.plus(part.done) {
            Some(at) => at,
            None => {
                return Progress {
                    done,
                    stopped: Some(Error::BadAddress),
                };
            }
        };
    }
}

/// Splits `count` pages of address space from `at` on at the borders of level-3 tables, up to `bound` mappings,
/// where a superpage is one. `part` gets the address, how many pages it may do in the same stretch, and how many
/// are left of the range.
#[inline(always)]
pub(crate) fn by_mapping(
    at: VirtAddr,
    count: u64,
    bound: u64,
    touched: &mut Touched,
    mut part: impl FnMut(VirtAddr, u64, u64) -> Part,
) -> Progress {
    if count == 0 {
        return Progress::refused(Error::BadCount);
    }
    let (mut at, mut done) = (at, 0);
    loop {
        let left = count - done;
        let stretch = (Index::COUNT - Index::in_table3(at).get()) as u64;
        let (pages, stopped) = match part(at, stretch.min(left).min(bound - touched.mappings), left)
        {
            Part::Pages(progress) => {
                touched.mappings += progress.done;
                (progress.done, progress.stopped)
            }
            Part::Superpage(Ok(())) => {
                touched.add_superpage();
                (SUPERPAGE_PAGES, None)
            }
            Part::Superpage(Err(error)) => (0, Some(error)),
        };
        done += pages;
        if stopped.is_some() || done >= count || touched.mappings >= bound {
            return Progress { done, stopped };
        }
        at = match at.plus(pages) {
            Some(at) => at,
            None => {
                return Progress {
                    done,
                    stopped: Some(Error::BadAddress),
                };
            }
        };
    }
}

/// The frame `offset` after `first`. Where numbers end it would go on with 0, but a range never gets
/// there: it stops at the first frame beyond the array.
#[inline(always)]
pub(crate) const fn after(first: PageNumber, offset: u64) -> PageNumber {
    PageNumber::new(first.get().wrapping_add(offset as u32))
}

/// Carries out `item` for the entries of one level-3 table from the one for `at` on, up to `length` of them or the first
/// refusal. `item` gets how many came before, too.
#[inline(always)]
pub(crate) fn run(
    at: VirtAddr,
    length: u64,
    mut item: impl FnMut(Index, u64) -> Result<(), Error>,
) -> Progress {
    let mut done = 0;
    for index in Index::run(at, length) {
        if let Err(error) = item(index, done) {
            return Progress {
                done,
                stopped: Some(error),
            };
        }
        done += 1;
    }
    Progress {
        done,
        stopped: None,
    }
}
