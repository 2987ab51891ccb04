//! Page tables: where they come from and where they go.
//!
//! A table takes two pages, itself and its links, and a page of address space needs tables of two levels. So
//! four pages are kept at hand: a fault never has to look for more than the page itself.

use exopi_rt::{Error, Object, PageNumber, PageSelect, TableLevel, VirtAddr};

use crate::machine::Machine;

/// Pages for the tables that one mapping may need.
pub(crate) const RESERVE: usize = 4;

/// Pages at hand.
#[derive(Debug)]
pub(crate) struct Tables {
    spare: [PageNumber; RESERVE],
    count: usize,
}

impl Tables {
    /// None at hand yet.
    pub(crate) const fn new() -> Self {
        Self {
            spare: [PageNumber::new(0); RESERVE],
            count: 0,
        }
    }

    /// Takes pages until the reserve is full.
    pub(crate) fn refill(&mut self, machine: &mut impl Machine) -> Result<(), Error> {
        while let Some(free) = self.spare.get_mut(self.count) {
            let allocation = machine.page_alloc(PageSelect::Any, 1);
            allocation.progress.unless_stopped()?;
            *free = allocation.first;
            self.count += 1;
        }
        Ok(())
    }

    /// Takes a page that was a table's; gives it to the kernel if there are enough.
    pub(crate) fn put(&mut self, machine: &mut impl Machine, page: PageNumber) {
        match self.spare.get_mut(self.count) {
            Some(free) => {
                *free = page;
                self.count += 1;
            }
            None => free(machine, page),
        }
    }

    /// Gives all pages to the kernel.
    pub(crate) fn empty(&mut self, machine: &mut impl Machine) {
        for page in self.spare.iter().take(self.count) {
            free(machine, *page);
        }
        self.count = 0;
    }

    /// Puts the tables in place in `space` that a mapping at `at` needs, down to `level`.
    pub(crate) fn supply(
        &mut self,
        machine: &mut impl Machine,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<(), Error> {
        match self.insert(machine, space, at, level) {
            Err(Error::NoTable) => {
                self.insert(machine, space, at, TableLevel::Two)?;
                self.insert(machine, space, at, level)
            }
            outcome => outcome,
        }
    }

    /// Inserts one table; that there is one already is fine.
    fn insert(
        &mut self,
        machine: &mut impl Machine,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<(), Error> {
        if self.count < 2 {
            self.refill(machine)?;
        }
        let Some([table, links]) = self.spare.get(self.count - 2..self.count) else {
            return Err(Error::Exhausted);
        };
        match machine.table_insert(space, at, level, *table, *links) {
            Ok(()) => {
                self.count -= 2;
                Ok(())
            }
            Err(Error::Occupied) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes the table of `level` that covers `at` out of the program's space if nothing is in it. Returns
    /// whether it did.
    pub(crate) fn withdraw(
        &mut self,
        machine: &mut impl Machine,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<bool, Error> {
        let Some(table) = machine.table(at, level) else {
            return Ok(false);
        };
        let record = machine.record(table).ok_or(Error::OutOfRange)?;
        if record.first != 0 {
            return Ok(false);
        }
        machine.table_remove(at, level)?;
        self.put(machine, table);
        self.put(machine, PageNumber::new(record.second));
        Ok(true)
    }
}

/// Gives a page to the kernel, which takes it: it is ours, and nothing refers to it.
fn free(machine: &mut impl Machine, page: PageNumber) {
    let progress = machine.page_free(page, 1);
    debug_assert_eq!(progress.stopped, None);
}
