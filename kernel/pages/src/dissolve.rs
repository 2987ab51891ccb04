//! Dissolving: tables of a space that goes on are made plain pages again, for somebody who takes them from their
//! owner.
//!
//! ```text
//!   Table3, or Table2 with superpages at most --clear--> (some entries are left) --clear--> empty
//!                                                          two plain pages <--unname, invalidate--'
//! ```
//!
//! A table with a u-area below it stays, and so do those on the way to it: the kernel made that mapping, and an
//! environment ends by calls, not by what is taken from it.

use exopi_abi::PageNumber;
use exopi_abi::page::{FrameType, Owner};
use exopi_cap::Epochs;

use crate::right::Drawn;
use crate::space::Table;
use crate::{Hardware, Index, Pages, Slot, pte};

/// Most mappings that one call of [`Pages::dissolve`] removes.
pub const DISSOLVE_BOUND: u64 = 64;

/// What became of a table that was to be dissolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "plain pages may have come of it"]
pub enum Dissolved {
    /// Its frame and that of its links are plain pages.
    Pages([PageNumber; 2]),
    /// Some of its mappings are gone, and others are left.
    Later,
    /// It is no table of that owner, or something in it stays.
    No,
}

impl Pages<'_> {
    /// Removes mappings from a table of `owner`, [`DISSOLVE_BOUND`] at most, and takes it out of its space when it has
    /// none any more. `stays` says of a frame, and of how many that follow it, whether mappings of one of them are to
    /// stay.
    pub fn dissolve<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        owner: Owner,
        table: PageNumber,
        stays: impl Fn(PageNumber, u64) -> bool,
    ) -> Dissolved {
        let Some(record) = self.record(table).filter(|record| record.owner == owner) else {
            return Dissolved::No;
        };
        let last = record.kind == FrameType::Table3;
        let found = self.with_links(table);
        let way = self.place(Slot::new(table, Index::truncate(0)));
        let (Ok(found), Some(way), Some(parent)) = (found, way, self.parent_of(table)) else {
            return Dissolved::No;
        };
        if !(last || record.kind == FrameType::Table2) || self.holds(hw, &found, last, stays) {
            return Dissolved::No;
        }
        let asid = way.mapping.asid;
        let mut left = DISSOLVE_BOUND;
        let mut from = 0;
        while left > 0
            && let Some(index) = self.first_used(hw, table, from, Index::COUNT)
        {
            if last {
                let Ok(unbind) = self.check_unbind(hw, &found, index, way.owner) else {
                    break;
                };
                hw.set_entry(table, index, pte::INVALID);
                self.commit_unbind(hw, unbind);
                self.discount_entries(table, 1);
            } else {
                self.take_superpage(hw, &found, index, way.owner);
            }
            left -= 1;
            from = index.get() + 1;
        }
        let empty = self.is_unused(table);
        if empty {
            self.unname(hw, parent);
        }
        hw.before_invalidate();
        hw.invalidate_space(asid);
        hw.complete();
        if !empty {
            return Dissolved::Later;
        }
        self.end_table(&found, Drawn::new(epochs).stamp_or_none());
        Dissolved::Pages([found.table, found.links])
    }

    /// Whether a table leads to another one, to a u-area, or to a frame that `stays`.
    fn holds<H: Hardware>(
        &self,
        hw: &H,
        found: &Table,
        last: bool,
        stays: impl Fn(PageNumber, u64) -> bool,
    ) -> bool {
        let mut from = 0;
        while let Some(index) = self.first_used(hw, found.table, from, Index::COUNT) {
            let entry = hw.entry(found.table, index);
            let uarea = pte::bound_access(entry).is_empty();
            let count = if last {
                1
            } else {
                exopi_abi::page::SUPERPAGE_PAGES
            };
            let leads = !last && pte::is_table(entry);
            if leads || uarea || stays(pte::frame(entry), count) {
                return true;
            }
            from = index.get() + 1;
        }
        false
    }
}
