//! Changes to entries that are there: what EL0 may do through them, and notes where nothing is mapped.

use exopi_abi::page::{INSERT_EXECUTABLE_BOUND, PROTECT_BOUND};
use exopi_abi::{Access, Error, Note, Progress, VirtAddr};

use crate::flush::Touched;
use crate::pte::Change;
use crate::ranges::{ONE, Part, by_mapping, run};
use crate::space::Table;
use crate::{Hardware, Index, Pages, Space, pte};

impl Pages<'_> {
    /// Changes permissions as the row `protect_pte` of the call table says: of [`PROTECT_BOUND`] mappings at
    /// most, or [`INSERT_EXECUTABLE_BOUND`] if they are to be executable.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`]; of a page [`Error::BadAddress`]
    /// beyond what programs map, [`Error::NoTable`], [`Error::Misaligned`] for a part of a superpage,
    /// [`Error::Vacant`], [`Error::WrongType`] for a u-area, [`Error::MissingRight`] beyond what it was bound
    /// with.
    #[inline(always)]
    pub fn protect_pte<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        count: u64,
        access: Access,
    ) -> Progress {
        if count == 1 && self.protect_page(hw, space, at, access) {
            return ONE;
        }
        self.protect_many(hw, *space, at, count, access)
    }

    /// Changes the permissions of one page, if it is mapped and does not become executable: the usual case, without
    /// a loop. Whether it has; if not, nothing is done, and [`Pages::protect_pte`] tells why.
    #[inline(always)]
    pub fn protect_page<H: Hardware>(
        &self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        access: Access,
    ) -> bool {
        let Ok(found) = self.table3(hw, space, at) else {
            return false;
        };
        let index = Index::in_table3(at);
        let entry = hw.entry(found.table, index);
        let change = Change::to(access);
        if access.contains(Access::EXECUTE) || !change.is_within(entry) {
            return false;
        }
        hw.set_entry(found.table, index, change.apply(entry));
        hw.before_invalidate();
        hw.invalidate_page(space.asid(), at.into());
        hw.complete();
        true
    }

    /// Every case.
    #[inline(never)]
    fn protect_many<H: Hardware>(
        &self,
        hw: &mut H,
        space: Space,
        at: VirtAddr,
        count: u64,
        access: Access,
    ) -> Progress {
        let space = &space;
        let executable = access.contains(Access::EXECUTE);
        let bound = if executable {
            INSERT_EXECUTABLE_BOUND
        } else {
            PROTECT_BOUND
        };
        let change = Change::to(access);
        let mut touched = Touched::from(at);
        let progress = by_mapping(
            at,
            count,
            bound,
            &mut touched,
            |at, length, left| match self.table3(hw, space, at) {
                Ok(found) => Part::Pages(protect_run(hw, &found, at, length, change, executable)),
                Err(Error::Occupied) => {
                    Part::Superpage(self.protect_superpage(hw, space, at, left, change))
                }
                Err(error) => Part::Pages(Progress::refused(error)),
            },
        );
        touched.forget(hw, space);
        progress
    }

    /// Writes a note as the row `pte_note` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoTable`], [`Error::Occupied`].
    pub fn note<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        note: Note,
    ) -> Result<(), Error> {
        let found = self.table3(hw, space, at)?;
        let index = Index::in_table3(at);
        if pte::is_valid(hw.entry(found.table, index)) {
            return Err(Error::Occupied);
        }
        hw.set_entry(found.table, index, note.entry());
        // Nothing caches it; the space's other cores read it in their tables when they do.
        hw.publish();
        Ok(())
    }
}

/// Changes `length` entries from `at` on, all in one level-3 table, without invalidating anything.
#[inline(always)]
fn protect_run<H: Hardware>(
    hw: &mut H,
    found: &Table,
    at: VirtAddr,
    length: u64,
    change: Change,
    executable: bool,
) -> Progress {
    if executable {
        return run(at, length, |index, _| {
            let entry = hw.entry(found.table, index);
            check_protect(entry, change)?;
            hw.sync_code(pte::frame(entry));
            hw.set_entry(found.table, index, change.apply(entry));
            Ok(())
        });
    }
    let done = protect_fours(hw, found, at, length, change);
    for (index, done) in Index::rest(at, done, length) {
        let entry = hw.entry(found.table, index);
        if let Err(error) = check_protect(entry, change) {
            return Progress {
                done,
                stopped: Some(error),
            };
        }
        hw.set_entry(found.table, index, change.apply(entry));
    }
    Progress {
        done: length,
        stopped: None,
    }
}

/// Changes entries four at a time, up to four of which one may not be: a question for four, where one for each would be
/// a fifth of the loop. Returns how many it has changed.
#[inline(always)]
fn protect_fours<H: Hardware>(
    hw: &mut H,
    found: &Table,
    at: VirtAddr,
    length: u64,
    change: Change,
) -> u64 {
    let mut done = 0;
    for four in Index::fours(at, length) {
        let entries = four.map(|index| hw.entry(found.table, index));
        let [a, b, c, d] = entries;
        // What all four have.
        if !change.is_within(a & b & c & d) {
            break;
        }
        for (index, entry) in four.into_iter().zip(entries) {
            hw.set_entry(found.table, index, change.apply(entry));
        }
        done += 4;
    }
    done
}

/// Whether an entry was bound with what it is to be changed to.
#[inline(always)]
pub(crate) fn check_protect(entry: u64, change: Change) -> Result<(), Error> {
    if change.is_within(entry) {
        Ok(())
    } else {
        Err(unprotectable(entry))
    }
}

#[cold]
fn unprotectable(entry: u64) -> Error {
    if !pte::is_valid(entry) {
        Error::Vacant
    } else if pte::bound_access(entry).is_empty() {
        Error::WrongType
    } else {
        Error::MissingRight
    }
}
