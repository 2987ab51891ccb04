//! Tables: from two plain pages to a table with its links, and back.
//!
//! ```text
//!   plain, unreferenced --insert_table--> table and links      zeroed, then named by its parent
//!         ^                                    |
//!         +------------remove_table------------+               empty, unnamed, gone from walk caches and
//!                                                              from the window in which EL0 reads it;
//!                                                              only then does the type change
//! ```

use exopi_abi::page::{FrameType, Stamp};
use exopi_abi::{Error, PageNumber, TableLevel, VirtAddr};
use exopi_cap::Epochs;

use crate::right::{Claim, Drawn};
use crate::space::Table;
use crate::{Hardware, Index, Pages, Slot, Space, UserPage, pte};

/// Proof that a table may be put in a place.
struct InsertTable {
    parent: Slot,
    kind: FrameType,
    table: PageNumber,
    links: PageNumber,
}

impl Pages<'_> {
    /// Inserts a table as the row `table_insert` of the call table says. Pages are the space's owner's.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Malformed`] for the same page twice; of the table
    /// and then of the links [`Error::OutOfRange`], [`Error::NotYours`], [`Error::WrongType`],
    /// [`Error::InUse`]; [`Error::NoTable`], [`Error::Occupied`].
    pub fn insert_table<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<(), Error> {
        let token = self.check_insert_table(hw, space, at, level, table, links)?;
        self.commit_insert_table(hw, token);
        Ok(())
    }

    /// Removes a table as the row `table_remove` of the call table says, and gives its frame. Table and links
    /// get one epoch.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoTable`], [`Error::Vacant`], also for a
    /// superpage, [`Error::NotEmpty`], [`Error::Exhausted`] when there is no epoch left.
    pub fn remove_table<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        space: &Space,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<PageNumber, Error> {
        let (parent, found) = self.check_remove_table(hw, space, at, level)?;
        let stamp = Drawn::new(epochs).stamp()?;
        self.unname(hw, parent);
        hw.before_invalidate();
        hw.invalidate_table(space.asid(), at.into());
        match level {
            TableLevel::Two => {
                // It was the last level where EL0 reads the tables below it, and a page where it reads this one.
                hw.invalidate_table(space.asid(), UserPage::of_table3(at));
                hw.invalidate_page(space.asid(), UserPage::of_table2(at));
            }
            TableLevel::Three => hw.invalidate_page(space.asid(), UserPage::of_table3(at)),
        }
        hw.complete();
        self.end_table(&found, stamp);
        Ok(found.table)
    }

    /// Clears the entry that names a table, without invalidating anything.
    pub(crate) fn unname<H: Hardware>(&mut self, hw: &mut H, parent: Slot) {
        hw.set_entry(parent.table(), parent.index(), pte::INVALID);
        self.discount_entries(parent.table(), 1);
    }

    /// Makes plain pages of a table that nothing names or remembers, and of its links.
    pub(crate) fn end_table(&mut self, found: &Table, stamp: Stamp) {
        self.make_plain(found.table, stamp);
        self.make_plain(found.links, stamp);
    }

    /// The entry for the table of `level` that covers `at`.
    fn parent<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<Slot, Error> {
        Ok(match level {
            TableLevel::Two => Slot::new(space.root(), Index::in_root(at)),
            TableLevel::Three => Slot::new(self.table2(hw, space, at)?, Index::in_table2(at)),
        })
    }

    fn check_insert_table<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<InsertTable, Error> {
        if table == links {
            return Err(Error::Malformed);
        }
        let claim = Claim::Owner(space.owner());
        self.spare(table, claim)?;
        self.spare(links, claim)?;
        let parent = self.parent(hw, space, at, level)?;
        if pte::is_valid(hw.entry(parent.table(), parent.index())) {
            return Err(Error::Occupied);
        }
        let kind = match level {
            TableLevel::Two => FrameType::Table2,
            TableLevel::Three => FrameType::Table3,
        };
        Ok(InsertTable {
            parent,
            kind,
            table,
            links,
        })
    }

    fn commit_insert_table<H: Hardware>(&mut self, hw: &mut H, token: InsertTable) {
        let (table, links) = (token.table, token.links);
        // What pages hold before they become a table and its links is their owner's choice.
        hw.zero(table);
        hw.zero(links);
        self.retype(table, token.kind, 0, links.get());
        self.retype(links, FrameType::Links, table.get(), token.parent.word());
        // The space may be active on other cores: a walk that sees the entry must see the zeros.
        hw.publish();
        hw.set_entry(
            token.parent.table(),
            token.parent.index(),
            pte::table(table),
        );
        self.count_entries(token.parent.table(), 1);
        hw.publish();
    }

    fn check_remove_table<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<(Slot, Table), Error> {
        let parent = self.parent(hw, space, at, level)?;
        let entry = hw.entry(parent.table(), parent.index());
        if !pte::is_table(entry) {
            return Err(Error::Vacant);
        }
        let found = self.with_links(pte::frame(entry))?;
        match self.record(found.table) {
            Some(record) if record.first == 0 => Ok((parent, found)),
            _ => Err(Error::NotEmpty),
        }
    }
}
