//! One leaf entry for a page: whether it may be made or cleared, and its place on the list of the frame that it
//! names.

use exopi_abi::page::{Owner, PageRecord};
use exopi_abi::{Error, PageNumber};

use crate::right::{Claim, refusal};
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
    /// Whether the entry `index` of a table may name `page`, by `claim`.
    #[inline(always)]
    pub(crate) fn check_bind<H: Hardware>(
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
