//! Mappings of pages: leaf entries, and what leads from a frame to them.

use exopi_abi::page::{INSERT_BOUND, INSERT_EXECUTABLE_BOUND, Owner, REMOVE_BOUND};
use exopi_abi::{Access, Error, PageNumber, PageSource, Progress, VirtAddr};

use crate::space::{Purpose, mappable};
use crate::{Hardware, Index, Link, Pages, Slot, Space, pte};

/// A level-3 table that a walk has found.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    pub(crate) table: PageNumber,
    pub(crate) links: PageNumber,
}

/// Proof that an entry may name a frame.
pub(crate) struct Bind {
    slot: Slot,
    links: PageNumber,
    page: PageNumber,
}

/// Proof that an entry may be cleared.
struct Unbind {
    slot: Slot,
    links: PageNumber,
    page: PageNumber,
}

impl Pages<'_> {
    /// Makes mappings as the row `insert_pte` of the call table says: [`INSERT_BOUND`] at most, or
    /// [`INSERT_EXECUTABLE_BOUND`] if they are executable. Pages are the space's owner's.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::BadAddress`]
    /// beyond what programs map, [`Error::NoTable`], [`Error::OutOfRange`], [`Error::NotYours`],
    /// [`Error::WrongType`], [`Error::Occupied`].
    pub fn insert_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        source: PageSource,
        count: u64,
        access: Access,
    ) -> Progress {
        let PageSource::Owned(first) = source;
        // The same twice, so that the inner loop of the usual case is one without a call in it.
        let progress = if access.contains(Access::EXECUTE) {
            by_table(
                at,
                count.min(INSERT_EXECUTABLE_BOUND),
                |at, done, length| {
                    self.insert_run(hw, space, at, after(first, done), length, access)
                },
            )
        } else {
            by_table(at, count.min(INSERT_BOUND), |at, done, length| {
                self.insert_run(hw, space, at, after(first, done), length, access)
            })
        };
        if progress.done > 0 {
            hw.publish();
        }
        progress
    }

    /// Removes mappings as the row `remove_pte` of the call table says: [`REMOVE_BOUND`] at most.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::BadAddress`]
    /// beyond what programs map, [`Error::NoTable`], [`Error::Vacant`], [`Error::WrongType`] for a
    /// u-area.
    pub fn remove_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        count: u64,
    ) -> Progress {
        let progress = by_table(at, count.min(REMOVE_BOUND), |at, _, length| {
            self.remove_run(hw, space, at, length)
        });
        // Records say already that the frames are not mapped; whoever holds `self` next finds it true.
        if progress.done > 0 {
            hw.before_invalidate();
            for offset in 0..progress.done {
                if let Some(at) = at.plus(offset) {
                    hw.invalidate_page(space.asid(), at);
                }
            }
            hw.complete();
        }
        progress
    }

    /// Maps `length` pages at `at`, all below one level-3 table.
    #[inline(always)]
    fn insert_run<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        first: PageNumber,
        length: u64,
        access: Access,
    ) -> Progress {
        let leaf = match self.leaf(hw, space, at) {
            Ok(leaf) => leaf,
            Err(error) => return Progress::refused(error),
        };
        let start = Index::in_table3(at).get() as u64;
        let progress = run(
            length,
            #[inline(always)]
            |offset| {
                let index = Index::truncate(start + offset);
                let page = after(first, offset);
                let bind =
                    self.check_bind(hw, &leaf, index, page, space.owner(), Purpose::Memory)?;
                self.commit_bind(hw, bind, access);
                Ok(())
            },
        );
        self.count_entries(leaf.table, progress.done as u32);
        progress
    }

    /// Clears `length` entries from `at` on, all in one level-3 table, without invalidating anything.
    #[inline(always)]
    fn remove_run<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        length: u64,
    ) -> Progress {
        let leaf = match self.leaf(hw, space, at) {
            Ok(leaf) => leaf,
            Err(error) => return Progress::refused(error),
        };
        let start = Index::in_table3(at).get() as u64;
        let progress = run(
            length,
            #[inline(always)]
            |offset| {
                let unbind = self.check_unbind(hw, &leaf, Index::truncate(start + offset))?;
                self.commit_unbind(hw, unbind);
                Ok(())
            },
        );
        self.discount_entries(leaf.table, progress.done as u32);
        progress
    }

    /// Whether the entry `index` of `leaf` may name `page` for `purpose`, by `who` owning it.
    #[inline(always)]
    pub(crate) fn check_bind<H: Hardware>(
        &self,
        hw: &H,
        leaf: &Leaf,
        index: Index,
        page: PageNumber,
        who: Owner,
        purpose: Purpose,
    ) -> Result<Bind, Error> {
        mappable(self.owned(page, who)?, purpose)?;
        if pte::is_valid(hw.entry(leaf.table, index)) {
            return Err(Error::Occupied);
        }
        Ok(Bind {
            slot: Slot::new(leaf.table, index),
            links: leaf.links,
            page,
        })
    }

    /// Makes the entry and puts it at the head of the frame's list. Its table's count is the caller's.
    ///
    /// A frame's references cannot overflow: fewer than 2^22 level-3 tables with 512 entries each make
    /// fewer than 2^31.
    #[inline(always)]
    pub(crate) fn commit_bind<H: Hardware>(&mut self, hw: &mut H, bind: Bind, access: Access) {
        let Some(record) = self.records.get_mut(bind.page.index()) else {
            return;
        };
        let next = Slot::from_word(record.first);
        record.first = bind.slot.word();
        record.references += 1;
        let link = Link {
            next,
            previous: Slot::NONE,
        };
        hw.set_link(bind.links, bind.slot.index(), link);
        if !next.is_none() {
            self.relink(hw, next, |link| link.previous = bind.slot);
        }
        if access.contains(Access::EXECUTE) {
            hw.sync_code(bind.page);
        }
        let entry = pte::page(bind.page, access);
        hw.set_entry(bind.slot.table(), bind.slot.index(), entry);
    }

    #[inline(always)]
    fn check_unbind<H: Hardware>(
        &self,
        hw: &H,
        leaf: &Leaf,
        index: Index,
    ) -> Result<Unbind, Error> {
        let entry = hw.entry(leaf.table, index);
        if !pte::is_valid(entry) {
            return Err(Error::Vacant);
        }
        let page = pte::frame(entry);
        let record = self.record(page).ok_or(Error::WrongType)?;
        // What a program could not have mapped it cannot unmap: the u-area.
        mappable(record, Purpose::Memory)?;
        Ok(Unbind {
            slot: Slot::new(leaf.table, index),
            links: leaf.links,
            page,
        })
    }

    /// Clears the entry and takes it off the frame's list. Its table's count is the caller's.
    #[inline(always)]
    fn commit_unbind<H: Hardware>(&mut self, hw: &mut H, unbind: Unbind) {
        let index = unbind.slot.index();
        hw.set_entry(unbind.slot.table(), index, pte::INVALID);
        let Link { next, previous } = hw.link(unbind.links, index);
        self.update(unbind.page, |record| {
            record.references -= 1;
            if previous.is_none() {
                record.first = next.word();
            }
        });
        if !previous.is_none() {
            self.relink(hw, previous, |link| link.next = next);
        }
        if !next.is_none() {
            self.relink(hw, next, |link| link.previous = previous);
        }
        hw.set_link(unbind.links, index, Link::EMPTY);
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
    let mut done = 0;
    while done < count {
        let Some(at) = at.plus(done) else {
            return Progress {
                done,
                stopped: Some(Error::BadAddress),
            };
        };
        let length = (Index::COUNT - Index::in_table3(at).get()) as u64;
        let part = run(at, done, length.min(count - done));
        done += part.done;
        if part.stopped.is_some() {
            return Progress {
                done,
                stopped: part.stopped,
            };
        }
    }
    Progress {
        done,
        stopped: None,
    }
}

/// The frame `offset` after `first`. Where numbers end it would go on with 0, but a range never gets
/// there: it stops at the first frame beyond the array.
#[inline(always)]
const fn after(first: PageNumber, offset: u64) -> PageNumber {
    PageNumber::new(first.get().wrapping_add(offset as u32))
}

/// Carries out `item` for 0, 1, ... up to `length` or the first refusal.
#[inline(always)]
fn run(length: u64, item: impl FnMut(u64) -> Result<(), Error>) -> Progress {
    crate::batch(length, length, item)
}
