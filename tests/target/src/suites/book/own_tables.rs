//! A program reads its own page tables, and keeps notes in entries that map nothing.

use exopi_rt::tables::{self, Entry};
use exopi_rt::{Access, Note, Space, TableLevel, memory};

use crate::area::{AREA, RW, place};
use crate::harness::{Failure, Outcome};

pub(super) fn entries_are_read_and_annotated() -> Outcome {
    let at = place(AREA)?;
    // The tables are memory that the program reads with plain loads; no call is made here.
    check_eq!(tables::entry_of(at.get()), Entry::NoTable(TableLevel::Two));
    let page = memory::map_new(at, RW)?;
    let mapping = tables::mapping_of(at.get()).ok_or(Failure::new("nothing is mapped"))?;
    check_eq!((mapping.page, mapping.access), (page, RW));

    // Less access needs no right, and the way back is open: the entry knows what it was bound with.
    // SAFETY: nothing is stored there meanwhile.
    unsafe { Space::Own.protect(at, 1, Access::READ) }.unless_stopped()?;
    let mapping = tables::mapping_of(at.get()).ok_or(Failure::new("nothing is mapped"))?;
    check_eq!((mapping.access, mapping.bound), (Access::READ, RW));

    // Where nothing is mapped an entry holds 63 bits of the program's own: where a page was put aside, say.
    // SAFETY: nothing is in use there.
    unsafe { memory::unmap_and_give(at, page) }?;
    let note = Note::new(0x5eed).ok_or(Failure::new("a note has 63 bits"))?;
    Space::Own.note(at, note)?;
    check_eq!(tables::note_of(at.get()), Some(note));
    Ok(memory::remove_tables(at)?)
}
