//! Tables: from a plain page to a table and back.
//!
//! ```text
//!   plain, unreferenced --insert_table--> table (and links)      zeroed, then named by its parent
//!         ^                                     |
//!         +------------remove_table-------------+                empty, unnamed, and gone from walk
//!                                                                caches before the type changes
//! ```

use exopi_abi::page::FrameType;
use exopi_abi::{Error, PageNumber, TableLevel, VirtAddr};

use crate::{Hardware, Index, Pages, Slot, Space, pte};

/// Proof that a table may be put in a place.
struct InsertTable {
    parent: Slot,
    table: PageNumber,
    /// At level 3.
    links: Option<PageNumber>,
}

/// Proof that a table may be taken out of a place.
struct RemoveTable {
    parent: Slot,
    table: PageNumber,
    /// At level 3.
    links: Option<PageNumber>,
}

impl Pages<'_> {
    /// Inserts a table as the row `table_insert` of the call table says. Pages are the space's owner's.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Malformed`] for links at level 2, none at
    /// level 3, or the same page twice; of the table and then of the links [`Error::OutOfRange`],
    /// [`Error::NotYours`], [`Error::WrongType`], [`Error::InUse`]; [`Error::NoTable`],
    /// [`Error::Occupied`].
    pub fn insert_table<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: Option<PageNumber>,
    ) -> Result<(), Error> {
        let token = self.check_insert_table(hw, space, at, level, table, links)?;
        self.commit_insert_table(hw, token);
        Ok(())
    }

    /// Removes a table as the row `table_remove` of the call table says, and gives its frame.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoTable`], [`Error::Vacant`],
    /// [`Error::NotYours`], [`Error::NotEmpty`].
    pub fn remove_table<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<PageNumber, Error> {
        let token = self.check_remove_table(hw, space, at, level)?;
        Ok(self.commit_remove_table(hw, space, at, token))
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
        links: Option<PageNumber>,
    ) -> Result<InsertTable, Error> {
        match (level, links) {
            (TableLevel::Two, None) => {}
            (TableLevel::Three, Some(links)) if links != table => {}
            _ => return Err(Error::Malformed),
        }
        self.spare(table, space.owner())?;
        if let Some(links) = links {
            self.spare(links, space.owner())?;
        }
        let parent = self.parent(hw, space, at, level)?;
        if pte::is_valid(hw.entry(parent.table(), parent.index())) {
            return Err(Error::Occupied);
        }
        Ok(InsertTable {
            parent,
            table,
            links,
        })
    }

    fn commit_insert_table<H: Hardware>(&mut self, hw: &mut H, token: InsertTable) {
        // What a page holds before it becomes a table is its owner's choice.
        hw.zero(token.table);
        match token.links {
            None => self.update(token.table, |record| {
                record.kind = FrameType::Table2;
                record.first = 0;
                record.second = token.parent.word();
            }),
            Some(links) => {
                hw.zero(links);
                self.update(token.table, |record| {
                    record.kind = FrameType::Table3;
                    record.first = 0;
                    record.second = links.get();
                });
                self.update(links, |record| {
                    record.kind = FrameType::Links;
                    record.first = token.table.get();
                    record.second = token.parent.word();
                });
            }
        }
        // The space may be active on other cores: a walk that sees the entry must see the zeros.
        hw.publish();
        hw.set_entry(
            token.parent.table(),
            token.parent.index(),
            pte::table(token.table),
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
    ) -> Result<RemoveTable, Error> {
        let parent = self.parent(hw, space, at, level)?;
        let entry = hw.entry(parent.table(), parent.index());
        if !pte::is_valid(entry) {
            return Err(Error::Vacant);
        }
        let table = pte::frame(entry);
        let record = self.owned(table, space.owner())?;
        if record.first != 0 {
            return Err(Error::NotEmpty);
        }
        let links = match level {
            TableLevel::Two => None,
            TableLevel::Three => Some(PageNumber::new(record.second)),
        };
        Ok(RemoveTable {
            parent,
            table,
            links,
        })
    }

    fn commit_remove_table<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        token: RemoveTable,
    ) -> PageNumber {
        hw.set_entry(token.parent.table(), token.parent.index(), pte::INVALID);
        hw.before_invalidate();
        hw.invalidate_table(space.asid(), at);
        hw.complete();
        self.discount_entries(token.parent.table(), 1);
        self.make_plain(token.table);
        if let Some(links) = token.links {
            self.make_plain(links);
        }
        token.table
    }
}
