//! Taking a space apart, in bounded steps that need no memory but the counts in the records.
//!
//! ```text
//!   a step:  down from the root, always to the first entry in use
//!              superpages of the level-2 table, and pages of one level-3 table      cleared
//!              each table that has become empty, at last the root's own entries     cleared
//!            one invalidation of the whole space
//!              tables, links, at last the root                                      plain again
//! ```

use exopi_abi::{Error, PageNumber};
use exopi_cap::Epochs;

use crate::right::Drawn;
use crate::space::Table;
use crate::{Hardware, Index, Pages, Slot, Space, pte};

/// Most mappings that a step of [`Pages::clear_space`] removes. It reads at most three whole tables besides.
pub const CLEAR_BOUND: u64 = 128;

/// How a bounded step left things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "there may be more to do"]
pub enum Step {
    /// There is more to do.
    More,
    /// That was the last.
    Done,
}

/// What a step has unlinked: plain pages again once no core remembers it.
#[derive(Default)]
struct Ended {
    table3: Option<Table>,
    table2: Option<Table>,
}

impl Pages<'_> {
    /// Takes a space apart: a bounded step, of at most `budget` mappings and never more than
    /// [`CLEAR_BOUND`]. After the last one the tables' pages and the root's are plain pages of its owner, the
    /// ASID is free, and no [`Space`] that names the root may be used any more. Nothing may run in it from the
    /// first step on, and its u-areas must have been removed.
    ///
    /// Tables and root are stamped anew, unless no epoch is left: this is the end of something, and does not
    /// fail for that.
    ///
    /// # Errors
    /// [`Error::NotEmpty`]: there is a u-area, and the step came no further.
    pub fn clear_space<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        space: &Space,
        budget: u64,
    ) -> Result<Step, Error> {
        let root = space.root();
        let mut ended = Ended::default();
        let mut left = budget.clamp(1, CLEAR_BOUND);
        let mut outcome = Ok(());
        if let Some(index) = self.first_used(hw, root, 0, Index::OWN.get()) {
            let found = self.with_links(pte::frame(hw.entry(root, index)))?;
            outcome = self.clear_table2(hw, space, &found, &mut left, &mut ended);
            if self.is_unused(found.table) {
                self.unname(hw, Slot::new(root, index));
                ended.table2 = Some(found);
            }
        }
        let last = self.is_unused(root);
        if last {
            hw.set_entry(root, Index::OWN, pte::INVALID);
            hw.set_entry(root, Index::LAST, pte::INVALID);
        }
        hw.before_invalidate();
        hw.invalidate_space(space.asid());
        hw.complete();
        self.commit_ended(Drawn::new(epochs), ended, last.then_some(root));
        outcome.map(|()| if last { Step::Done } else { Step::More })
    }

    /// Clears what it can of a level-2 table: superpages up to the first table below it, and that table.
    ///
    /// # Errors
    /// [`Error::NotEmpty`]: a u-area is left.
    fn clear_table2<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        found: &Table,
        left: &mut u64,
        ended: &mut Ended,
    ) -> Result<(), Error> {
        let mut from = 0;
        while *left > 0 {
            let Some(index) = self.first_used(hw, found.table, from, Index::COUNT) else {
                return Ok(());
            };
            let entry = hw.entry(found.table, index);
            if pte::is_table(entry) {
                let table3 = self.with_links(pte::frame(entry))?;
                let outcome = self.clear_table3(hw, space, &table3, left);
                if self.is_unused(table3.table) {
                    self.unname(hw, Slot::new(found.table, index));
                    ended.table3 = Some(table3);
                }
                return outcome;
            }
            self.take_superpage(hw, found, index, space.owner());
            *left -= 1;
            from = index.get() + 1;
        }
        Ok(())
    }

    /// Clears what it can of a level-3 table.
    ///
    /// # Errors
    /// [`Error::NotEmpty`]: a u-area is left.
    fn clear_table3<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        found: &Table,
        left: &mut u64,
    ) -> Result<(), Error> {
        let mut from = 0;
        while *left > 0 {
            let Some(index) = self.first_used(hw, found.table, from, Index::COUNT) else {
                return Ok(());
            };
            let unbind = self.check_unbind(hw, found, index, space.owner());
            let unbind = unbind.map_err(|_| Error::NotEmpty)?;
            hw.set_entry(found.table, index, pte::INVALID);
            self.commit_unbind(hw, unbind);
            self.discount_entries(found.table, 1);
            *left -= 1;
            from = index.get() + 1;
        }
        Ok(())
    }

    /// Makes plain pages of what no core remembers any more, with one epoch.
    fn commit_ended(&mut self, mut drawn: Drawn<'_>, ended: Ended, root: Option<PageNumber>) {
        for found in [ended.table3, ended.table2].into_iter().flatten() {
            self.end_table(&found, drawn.stamp_or_none());
        }
        if let Some(root) = root {
            self.make_plain(root, drawn.stamp_or_none());
        }
    }

    /// Whether a table or root has no entry in use but the kernel's own.
    pub(crate) fn is_unused(&self, table: PageNumber) -> bool {
        self.record(table).is_none_or(|record| record.first == 0)
    }

    /// The first valid entry of a table from `from` on and before `end`. Looks at nothing if the table has none.
    pub(crate) fn first_used<H: Hardware>(
        &self,
        hw: &H,
        table: PageNumber,
        from: usize,
        end: usize,
    ) -> Option<Index> {
        if self.is_unused(table) {
            return None;
        }
        (from..end)
            .map(|index| Index::truncate(index as u64))
            .find(|index| pte::is_valid(hw.entry(table, *index)))
    }
}
