//! Pages: what the calls on them mean for accounts. What becomes of the frames is decided in [`exopi_pages`].

use exopi_abi::domain::Resource;
use exopi_abi::page::Owner;
use exopi_abi::{Allocation, Breaking, PageNumber, PageSelect, Progress};
use exopi_pages::{Credit, Hardware, Right};

use crate::accounts::room;
use crate::{Domains, Subject};

impl Domains<'_> {
    /// Allocates as the row `page_alloc` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Stale`](exopi_abi::Error::Stale); those of [`exopi_pages::Pages::alloc`].
    pub fn page_alloc<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        which: PageSelect,
        count: u64,
    ) -> Allocation {
        let credit = match self.credit(by.owner) {
            Ok(credit) => credit,
            Err(error) => {
                return Allocation {
                    first: PageNumber::new(0),
                    progress: Progress::refused(error),
                };
            }
        };
        let allocation = self.pages.alloc(hw, &mut self.epochs, credit, which, count);
        self.charge(by.owner, Resource::Pages, allocation.progress.done);
        allocation
    }

    /// Gives pages back as the row `page_free` of the call table says. Whoever does it, they go off the account
    /// that they are charged to.
    ///
    /// # Errors
    /// Those of [`exopi_pages::Pages::free`].
    pub fn page_free(
        &mut self,
        _by: &Subject,
        right: Right<'_>,
        first: PageNumber,
        count: u64,
    ) -> Progress {
        // Pages that one capability is good for have one owner.
        let owner = self.pages.record(first).map(|record| record.charged_to());
        let progress = self.pages.free(right, first, count);
        if let Some(owner) = owner {
            self.release(owner, Resource::Pages, progress.done);
        }
        progress
    }

    /// Stamps pages anew as the row `page_retire` of the call table says.
    ///
    /// # Errors
    /// Those of [`exopi_pages::Pages::retire`].
    pub fn page_retire(
        &mut self,
        _by: &Subject,
        right: Right<'_>,
        first: PageNumber,
        count: u64,
    ) -> Progress {
        self.pages.retire(&mut self.epochs, right, first, count)
    }

    /// Breaks mappings as the row `page_break` of the call table says.
    ///
    /// # Errors
    /// Those of [`exopi_pages::Pages::break_all`].
    pub fn page_break<H: Hardware>(
        &mut self,
        hw: &mut H,
        _by: &Subject,
        right: Right<'_>,
        first: PageNumber,
        count: u64,
    ) -> Breaking {
        self.pages.break_all(hw, right, first, count)
    }

    /// Sets limits as the row `page_limit` of the call table says.
    ///
    /// # Errors
    /// Those of [`exopi_pages::Pages::set_limit`].
    pub fn page_limit(
        &mut self,
        by: &Subject,
        first: PageNumber,
        count: u64,
        limit: u16,
    ) -> Progress {
        self.pages.set_limit(by.owner, first, count, limit)
    }

    /// Gives pages to another account as the row `page_give` of the call table says: no more than it accepts and
    /// has room for. Given to the account that they are charged to, they are stamped anew and no more.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Stale`](exopi_abi::Error::Stale); those of [`exopi_pages::Pages::give`].
    pub fn page_give(
        &mut self,
        by: &Subject,
        first: PageNumber,
        count: u64,
        to: Owner,
    ) -> Progress {
        let pages = match self.drawable(to) {
            Ok(record) => room(record, Resource::Pages).min(record.accepts.into()),
            Err(error) => return Progress::refused(error),
        };
        let credit = Credit { owner: to, pages };
        let epochs = &mut self.epochs;
        let progress = self.pages.give(epochs, by.owner, first, count, credit);
        self.charge(to, Resource::Pages, progress.done);
        self.update_account(to.index(), |record| record.accepts -= progress.done as u32);
        self.release(by.owner, Resource::Pages, progress.done);
        progress
    }
}
