//! What a holder sets up for revocation: pages of its own that the kernel reads and writes, pinned meanwhile.

use exopi_abi::page::Owner;
use exopi_abi::revocation::{MAX_VECTOR_PAGES, RevocationRecord, RevocationState, vector};
use exopi_abi::{Error, PageNumber};
use exopi_pages::{Hardware, Index};

use crate::{Domains, Subject};

/// A record with what `old` has set up, and nothing else.
pub(super) fn kept_of(old: &RevocationRecord) -> RevocationRecord {
    RevocationRecord {
        vector: old.vector,
        vector_pages: old.vector_pages,
        order: old.order,
        written: old.written,
        ..RevocationRecord::default()
    }
}

/// The pages that are set up in a record, in order.
pub(super) fn pinned(record: &RevocationRecord) -> impl Iterator<Item = PageNumber> + use<> {
    let vector = record.vector;
    let pages = (0..u32::from(record.vector_pages)).map(move |n| vector.wrapping_add(n));
    let order = (record.order != 0).then_some(record.order);
    pages.chain(order).map(PageNumber::new)
}

impl Domains<'_> {
    /// Sets pages up as the row `revoke_setup` of the call table says, instead of those that were.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Stale`]; [`Error::Busy`] while the kernel takes
    /// from the environment or its account;
    /// [`Error::BadCount`]; of a page [`Error::OutOfRange`], [`Error::NotYours`], [`Error::WrongType`],
    /// [`Error::Leaving`], [`Error::LimitReached`].
    pub fn revoke_setup<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        first: PageNumber,
        pages: u64,
        order: PageNumber,
    ) -> Result<(), Error> {
        let index = by.name.index;
        let owner = self.environment(index).ok_or(Error::Stale)?.account;
        let old = *self.revocation(index).ok_or(Error::Exhausted)?;
        if old.state() == RevocationState::Taking || self.is_taken_from(owner) {
            return Err(Error::Busy);
        }
        if pages > MAX_VECTOR_PAGES {
            return Err(Error::BadCount);
        }
        let last = first.plus(pages.saturating_sub(1));
        let new = RevocationRecord {
            vector: if pages == 0 { 0 } else { first.get() },
            vector_pages: pages as u8,
            order: order.get(),
            written: 0,
            ..old
        };
        last.ok_or(Error::OutOfRange)?;
        self.check_setup(owner, &new)?;
        pinned(&new).for_each(|page| self.pages.pin(page));
        self.end_setup(index);
        self.update_revocation(index, |record| *record = new);
        for word in 0..vector::HEADER {
            self.set_vector_word(hw, &new, word, 0);
        }
        hw.publish();
        Ok(())
    }

    /// Whether each page can be pinned, as often as it is named.
    fn check_setup(&self, owner: Owner, new: &RevocationRecord) -> Result<(), Error> {
        for page in pinned(new) {
            let times = pinned(new).filter(|other| *other == page).count();
            self.pages.pinnable(owner, page, times as u8)?;
        }
        Ok(())
    }

    /// What the environment at `index` has set up is its pages' no more.
    pub(super) fn end_setup(&mut self, index: u16) {
        let Some(old) = self.revocation(index).copied() else {
            return;
        };
        pinned(&old).for_each(|page| self.pages.unpin(page));
        self.update_revocation(index, |record| {
            record.vector = 0;
            record.vector_pages = 0;
            record.order = 0;
            record.written = 0;
        });
    }

    /// A word of a record's vector.
    pub(super) fn vector_word<H: Hardware>(
        &self,
        hw: &H,
        record: &RevocationRecord,
        word: u64,
    ) -> u64 {
        let (page, index) = place(record, word);
        page.map_or(0, |page| self.pages.pinned_word(hw, page, index))
    }

    /// Stores a word of a record's vector.
    pub(super) fn set_vector_word<H: Hardware>(
        &mut self,
        hw: &mut H,
        record: &RevocationRecord,
        word: u64,
        value: u64,
    ) {
        if let (Some(page), index) = place(record, word) {
            self.pages.set_pinned_word(hw, page, index, value);
        }
    }

    /// A word of a record's order page.
    pub(super) fn order_word<H: Hardware>(
        &self,
        hw: &H,
        record: &RevocationRecord,
        word: u64,
    ) -> u64 {
        let page = PageNumber::new(record.order);
        self.pages.pinned_word(hw, page, Index::truncate(word))
    }
}

/// The page of a vector that a word is in, if there is one, and where.
fn place(record: &RevocationRecord, word: u64) -> (Option<PageNumber>, Index) {
    let number = word / vector::PAGE_WORDS;
    let page = PageNumber::new(record.vector).plus(number);
    (
        page.filter(|_| number < record.vector_pages.into()),
        Index::truncate(word),
    )
}
