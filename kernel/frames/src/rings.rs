//! Packet rings: pages that are pinned once, and a cursor of the kernel's.

use exopi_abi::domain::ObjectName;
use exopi_abi::net::{EntrySize, MAX_RING_PAGES, NO_NOTICE, RingRecord, RingShape};
use exopi_abi::{Error, PageNumber};

use crate::bindings::NONE;
use crate::removal::Step;
use crate::{By, Frames, Holding, Ledger};

/// References that one step of a ring's end takes away.
const CUT_AT_ONCE: usize = 16;

/// The pages of a ring.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct RingPages([PageNumber; MAX_RING_PAGES]);

impl RingPages {
    /// None.
    pub const NONE: RingPages = RingPages([PageNumber::new(0); MAX_RING_PAGES]);
}

/// The geometry that a record tells.
pub(crate) fn shape_of(record: &RingRecord) -> Option<RingShape> {
    let entry = EntrySize::new(record.entry.into()).ok()?;
    RingShape::new(entry, record.pages.into()).ok()
}

impl Frames<'_> {
    /// Where the pages of a ring are kept.
    fn pages_mut(&mut self, ring: u16) -> Option<&mut [PageNumber; MAX_RING_PAGES]> {
        let pages = self.ring_pages.get_mut(usize::from(ring))?;
        Some(&mut pages.0)
    }

    /// All rings are free.
    pub(crate) fn link_rings(&mut self) {
        for index in (0..self.rings.len()).rev() {
            self.free(index as u16);
        }
    }

    /// There is no ring at `index`.
    fn free(&mut self, index: u16) {
        if let Some(record) = self.rings.get_mut(usize::from(index)) {
            *record = RingRecord {
                first: self.free_ring.map_or(0, |next| next + 1),
                ..RingRecord::FREE
            };
            self.free_ring = Some(index);
        }
    }

    /// Page number `at` of a ring.
    pub(crate) fn ring_page(&self, ring: u16, at: usize) -> Option<PageNumber> {
        self.ring_pages.get(usize::from(ring))?.0.get(at).copied()
    }

    /// Makes a ring in pages of the caller's account, as the row `pktring_setring` of the call table says. Their contents
    /// are left as they are: entries whose state word is not zero are full. Of frames tells `notice`, 0 to 31, or nothing.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Malformed`] of the notice; that and [`Error::BadCount`] of the geometry;
    /// [`Error::Stale`], [`Error::OverAllowance`]; [`Error::Exhausted`]; of the pages those of [`Ledger::pin`].
    pub fn pktring_setring(
        &mut self,
        by: &By,
        entry: u64,
        pages: &[PageNumber],
        notice: u64,
        ledger: &mut impl Ledger,
    ) -> Result<ObjectName, Error> {
        if notice > NO_NOTICE {
            return Err(Error::Malformed);
        }
        let shape = RingShape::new(EntrySize::new(entry)?, pages.len() as u64)?;
        ledger.room(by.owner, Holding::Ring)?;
        let index = self.free_ring.ok_or(Error::Exhausted)?;
        for (done, page) in pages.iter().enumerate() {
            if let Err(error) = ledger.pin(by.owner, *page) {
                pages.iter().take(done).for_each(|page| ledger.unpin(*page));
                return Err(error);
            }
        }
        let Some(epoch) = ledger.stamp() else {
            pages.iter().for_each(|page| ledger.unpin(*page));
            return Err(Error::Exhausted);
        };
        self.note_made(by.name);
        ledger.charge(by.owner, Holding::Ring);
        if let Some(places) = self.pages_mut(index) {
            let places = places.iter_mut().zip(pages);
            places.for_each(|(place, page)| *place = *page);
        }
        if let Some(record) = self.rings.get_mut(usize::from(index)) {
            self.free_ring = record.first.checked_sub(1);
            *record = RingRecord {
                epoch: epoch.bits(),
                account: by.owner,
                environment: by.name.word(),
                entry: shape.entry().logarithm(),
                pages: shape.pages() as u8,
                first: NONE,
                notice: ((notice + 1) % (NO_NOTICE + 1)) as u8,
                ..RingRecord::FREE
            };
        }
        Ok(ObjectName { index, epoch })
    }

    /// Puts another page in place of the ring's page number `at`, or one behind its last, as the row `pktring_modring` of
    /// the call table says. The cursor stays where it is.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NotYours`], [`Error::Stale`]; [`Error::OutOfRange`] beyond
    /// the place behind the last page, [`Error::LimitReached`] beyond the last that there can be; those of [`Ledger::pin`].
    pub fn pktring_modring(
        &mut self,
        by: &By,
        ring: ObjectName,
        at: u64,
        page: PageNumber,
        ledger: &mut impl Ledger,
    ) -> Result<(), Error> {
        let index = self.live_ring(by, ring)?;
        let pages = self.ring(index).map_or(0, |record| record.pages);
        let at = u8::try_from(at).map_err(|_| Error::OutOfRange)?;
        if at > pages {
            return Err(Error::OutOfRange);
        }
        if usize::from(at) >= MAX_RING_PAGES {
            return Err(Error::LimitReached);
        }
        ledger.pin(by.owner, page)?;
        let place = self
            .pages_mut(index)
            .and_then(|places| places.get_mut(usize::from(at)));
        let old = place.map(|place| core::mem::replace(place, page));
        if at < pages {
            old.into_iter().for_each(|old| ledger.unpin(old));
        } else if let Some(record) = self.rings.get_mut(usize::from(index)) {
            record.pages += 1;
        }
        Ok(())
    }

    /// Ends a ring, as the row `pktring_delring` of the call table says: no frame is put into it from the first step on,
    /// references to it go, and in the last one its pages are free again. To one who asks again,
    /// [`Error::NotYours`] says that it is gone.
    ///
    /// # Errors
    /// [`Error::NotYours`].
    pub fn pktring_delring(
        &mut self,
        by: &By,
        ring: ObjectName,
        ledger: &mut impl Ledger,
    ) -> Result<Step, Error> {
        let index = self.any_ring(by, ring)?;
        Ok(self.end_ring(index, ledger))
    }

    /// A bounded part of a ring's end. What is left, the background does if nobody else.
    pub(crate) fn end_ring(&mut self, index: u16, ledger: &mut impl Ledger) -> Step {
        let Some(record) = self.rings.get_mut(usize::from(index)) else {
            return Step::Done;
        };
        record.leaving = 1;
        for _ in 0..CUT_AT_ONCE {
            match self.ring(index).map_or(NONE, |record| record.first) {
                NONE => break,
                first => self.cut(first, ledger),
            }
        }
        let Some(record) = self.ring(index).copied() else {
            return Step::Done;
        };
        if record.first != NONE {
            self.tidy_up();
            return Step::More;
        }
        self.untap(index, record.tap);
        for at in 0..record.pages.into() {
            if let Some(page) = self.ring_page(index, at) {
                ledger.unpin(page);
            }
        }
        self.note_gone(record.environment);
        ledger.release(record.account, Holding::Ring);
        self.free(index);
        Step::Done
    }
}
