//! Mappings of pages: leaf entries, and what leads from a frame to them.

use exopi_abi::page::{
    ALLOC_BOUND, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, Owner, PageRecord, REMOVE_BOUND,
    SUPERPAGE_PAGES,
};
use exopi_abi::{Access, Error, PageNumber, PageSelect, Progress, VirtAddr};
use exopi_cap::Epochs;

use crate::flush::Touched;
use crate::right::{Claim, Credit, Drawn, Source};
use crate::space::{Table, bindable};
use crate::{Hardware, Index, Link, Pages, Slot, Space, pte};

/// Proof that an entry may name a frame.
pub(crate) struct Bind {
    pub(crate) slot: Slot,
    pub(crate) links: PageNumber,
    pub(crate) page: PageNumber,
    /// The frame is not of the space's owner.
    pub(crate) foreign: bool,
}

/// Proof that an entry may be cleared.
pub(crate) struct Unbind {
    pub(crate) slot: Slot,
    pub(crate) links: PageNumber,
    pub(crate) page: PageNumber,
    /// The frame is not of the space's owner.
    pub(crate) foreign: bool,
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
        let (first, right) = match source {
            Source::Run(first, right) => (first, right),
            Source::New(which) => {
                return self.insert_new(hw, epochs, credit, space, at, which, count, access);
            }
        };
        let claim = match Claim::to_map(right, access) {
            Ok(claim) => claim,
            Err(error) => return Progress::refused(error),
        };
        let executable = access.contains(Access::EXECUTE);
        let bound = if executable {
            INSERT_EXECUTABLE_BOUND
        } else {
            INSERT_BOUND
        };
        let blank = pte::page(PageNumber::new(0), access);
        let progress = by_table(at, count.min(bound), |at, done, length| {
            self.insert_run(hw, space, at, length, |pages, hw, table, offset, index| {
                let page = after(first, done + offset);
                let bind = pages.check_bind(hw, table, index, page, claim, space)?;
                if executable {
                    hw.sync_code(page);
                }
                pages.commit_bind(hw, bind, blank | page.address());
                Ok(())
            })
        });
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
        let progress = by_table(at, count.min(ALLOC_BOUND), |at, done, length| {
            self.insert_run(hw, space, at, length, |pages, hw, found, offset, index| {
                let alloc = pages.check_alloc(credit, which, done + offset)?;
                if pte::is_valid(hw.entry(found.table, index)) {
                    return Err(Error::Occupied);
                }
                let stamp = drawn.stamp()?;
                let (page, zero) = (alloc.page, alloc.zero);
                let bind = Bind {
                    slot: Slot::new(found.table, index),
                    links: found.links,
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
            })
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
    pub fn remove_pte<H: Hardware>(
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

    /// Makes up to `length` entries from `at` on by `insert`, all in one level-3 table, without a barrier. `insert`
    /// gets how many came before, and the place.
    #[inline(always)]
    fn insert_run<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        length: u64,
        mut insert: impl FnMut(&mut Self, &mut H, &Table, u64, Index) -> Result<(), Error>,
    ) -> Progress {
        let found = match self.table3(hw, space, at) {
            Ok(found) => found,
            Err(error) => return Progress::refused(error),
        };
        let start = Index::in_table3(at).get() as u64;
        let progress = run(
            length,
            #[inline(always)]
            |offset| insert(self, hw, &found, offset, Index::truncate(start + offset)),
        );
        self.count_entries(found.table, progress.done as u32);
        progress
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
        let start = Index::in_table3(at).get() as u64;
        let progress = run(
            length,
            #[inline(always)]
            |offset| {
                let index = Index::truncate(start + offset);
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
        let record = self.plain(page, claim)?;
        let foreign = record.owner != space.owner();
        let vacant = !pte::is_valid(hw.entry(found.table, index));
        if bindable(record) && (!foreign || has_room(record)) && vacant {
            Ok(Bind {
                slot: Slot::new(found.table, index),
                links: found.links,
                page,
                foreign,
            })
        } else {
            Err(unbindable(record, foreign))
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
        record.first = bind.slot.word();
        record.references += 1;
        record.foreign += u16::from(bind.foreign);
        self.link_first(hw, &bind, next);
        hw.set_entry(bind.slot.table(), bind.slot.index(), entry);
    }

    /// Puts a new entry before `next`, the first on its list so far.
    #[inline(always)]
    pub(crate) fn link_first<H: Hardware>(&self, hw: &mut H, bind: &Bind, next: Slot) {
        let link = Link {
            next,
            previous: Slot::NONE,
        };
        hw.set_link(bind.links, bind.slot.index(), link);
        if !next.is_none() {
            self.relink(hw, next, |link| link.previous = bind.slot);
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
                slot: Slot::new(found.table, index),
                links: found.links,
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
            record.foreign -= u16::from(unbind.foreign);
            if previous.is_none() {
                record.first = next.word();
            }
        });
    }

    /// Takes an entry out of its list, and tells what its neighbours were. If it was the first, the record is the
    /// caller's.
    #[inline(always)]
    pub(crate) fn unlink<H: Hardware>(&self, hw: &mut H, unbind: &Unbind) -> Link {
        let index = unbind.slot.index();
        let link = hw.link(unbind.links, index);
        if !link.previous.is_none() {
            self.relink(hw, link.previous, |other| other.next = link.next);
        }
        if !link.next.is_none() {
            self.relink(hw, link.next, |other| other.previous = link.previous);
        }
        hw.set_link(unbind.links, index, Link::EMPTY);
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

/// Why an entry may not name a plain frame that it was asked for with right.
#[cold]
pub(crate) fn unbindable(record: &PageRecord, foreign: bool) -> Error {
    if !bindable(record) {
        Error::Leaving
    } else if foreign && !has_room(record) {
        Error::LimitReached
    } else {
        Error::Occupied
    }
}

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

/// Carries out `item` for 0, 1, ... up to `length` or the first refusal.
#[inline(always)]
pub(crate) fn run(length: u64, item: impl FnMut(u64) -> Result<(), Error>) -> Progress {
    crate::batch(length, length, item)
}
