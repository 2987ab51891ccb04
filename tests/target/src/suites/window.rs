//! A space reads its own tables, and keeps notes in them where nothing is mapped.

use exopi_rt::layout::{PAGE_SIZE, TABLES_BASE, table_entry, table2_entry};
use exopi_rt::{Access, Error, Note, Object, TableLevel, memory, stubs};

use crate::area::{AREA, Area, RW, insert, insert_table, place, record, remove, remove_table};
use crate::catch;
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "window",
    cases: &[
        ("entries_name_frames", entries_name_frames),
        ("tables_are_read_only", tables_are_read_only),
        ("links_are_not_seen", links_are_not_seen),
        ("removed_tables_are_gone", removed_tables_are_gone),
        ("notes_are_read_back", notes_are_read_back),
        ("notes_give_way", notes_give_way),
        ("notes_have_their_place", notes_have_their_place),
        ("notes_go_with_their_table", notes_go_with_their_table),
    ],
};

/// Bits of an entry that name a frame.
const FRAME: u64 = 0x0000_ffff_ffff_f000;

/// The word at an address, if it can be read.
fn word(address: u64) -> Result<u64, Failure> {
    catch::read(address)?;
    // SAFETY: it could be read just now; the kernel changes it only by calls that this program makes.
    Ok(unsafe { (address as *const u64).read_volatile() })
}

fn note(index: u64, value: u64) -> Result<(), Failure> {
    let note = Note::new(value).ok_or(Error::Malformed)?;
    Ok(stubs::pte_note(
        Object::Own,
        place(Area::address(index))?,
        note,
    )?)
}

fn entries_name_frames() -> Outcome {
    let mut area = Area::new()?;
    let page = area.map(5, RW)?;
    let entry = word(table_entry(Area::address(5)))?;
    check_eq!(entry & 3, 3, "a page's entry");
    check_eq!(entry & FRAME, page.address());
    check_eq!(word(table_entry(Area::address(6)))?, 0);
    check_eq!(word(table2_entry(AREA))? & FRAME, area.level3.address());
    // One level further up, the root's entry for the area, and the root's own.
    let root_entry = table_entry(table2_entry(AREA));
    check_eq!(word(root_entry)? & FRAME, area.level2.address());
    let own = word(table_entry(table_entry(table_entry(TABLES_BASE))))?;
    let kind = record(exopi_rt::PageNumber::new(((own & FRAME) >> 12) as u32))?.kind;
    check_eq!(kind, exopi_rt::page::FrameType::Root);
    area.close()
}

fn tables_are_read_only() -> Outcome {
    let mut area = Area::new()?;
    area.map(0, RW)?;
    let at = [
        table_entry(AREA),
        table2_entry(AREA),
        table_entry(table2_entry(AREA)),
    ];
    for address in at {
        let before = word(address)?;
        // SAFETY: the kernel must make it fault.
        let written = unsafe { catch::write(address, 0) };
        check!(written.is_err(), "{address:#x} is written");
        // SAFETY: as above.
        let executed = unsafe { catch::execute(address) };
        check!(executed.is_err(), "{address:#x} is executed");
        check_eq!(word(address)?, before, "{address:#x}");
    }
    area.close()
}

/// Nothing that is seen in the window is a page of links.
fn links_are_not_seen() -> Outcome {
    let area = Area::new()?;
    // The window shows what entries of the root, of level-2 tables and of level-3 tables name, as far as these
    // are tables: those of the area are all.
    for address in [
        table_entry(AREA),
        table2_entry(AREA),
        table_entry(table2_entry(AREA)),
    ] {
        let shown = word(table_entry(address & !(PAGE_SIZE - 1)))? & FRAME;
        check!(shown != area.links.address() && shown != area.links2.address());
    }
    area.close()
}

fn removed_tables_are_gone() -> Outcome {
    let area = Area::new()?;
    let border = place(Area::address(512))?;
    let [table, links] = [memory::take_page()?, memory::take_page()?];
    for _ in 0..3 {
        insert_table(border, TableLevel::Three, table, links)?;
        check_eq!(word(table_entry(border.get()))?, 0);
        check_eq!(remove_table(border, TableLevel::Three)?, table);
        check!(catch::read(table_entry(border.get())).is_err());
    }
    memory::give_page(table)?;
    memory::give_page(links)?;
    area.close()?;
    check!(catch::read(table_entry(AREA)).is_err());
    check!(catch::read(table2_entry(AREA)).is_err());
    check_eq!(word(table_entry(table2_entry(AREA)))?, 0);
    Ok(())
}

fn notes_are_read_back() -> Outcome {
    let area = Area::new()?;
    for (index, value) in [(0, 1), (1, u64::MAX >> 1), (2, 1 << 62), (511, 0x1234_5678)] {
        note(index, value)?;
        let entry = word(table_entry(Area::address(index)))?;
        check_eq!(entry, value << 1);
        check_eq!(Note::of_entry(entry).get(), value);
        check!(
            catch::read(Area::address(index)).is_err(),
            "a note maps something"
        );
    }
    check_eq!(record(area.level3)?.first, 0, "entries in use");
    note(0, 0)?;
    check_eq!(word(table_entry(AREA))?, 0);
    check!(Note::new(1 << 63).is_none());
    area.close()
}

fn notes_give_way() -> Outcome {
    let mut area = Area::new()?;
    note(3, 77)?;
    let page = area.map(3, RW)?;
    check_eq!(word(table_entry(Area::address(3)))? & FRAME, page.address());
    let refused = stubs::pte_note(
        Object::Own,
        place(Area::address(3))?,
        Note::new(5).ok_or(Error::Malformed)?,
    );
    check_eq!(refused, Err(Error::Occupied));
    memory::give_page(area.unmap(3)?)?;
    check_eq!(word(table_entry(Area::address(3)))?, 0);
    // A mapping that is refused leaves the note.
    note(3, 78)?;
    let none = exopi_rt::PageNumber::new(0);
    check!(
        insert(place(Area::address(3))?, none, 1, Access::READ)
            .stopped
            .is_some()
    );
    check_eq!(word(table_entry(Area::address(3)))?, 78 << 1);
    // Nothing is mapped there for who removes.
    check_eq!(
        remove(place(Area::address(3))?, 1).stopped,
        Some(Error::Vacant)
    );
    check_eq!(word(table_entry(Area::address(3)))?, 78 << 1);
    area.close()
}

fn notes_have_their_place() -> Outcome {
    let area = Area::new()?;
    let value = Note::new(1).ok_or(Error::Malformed)?;
    let without_table = place(Area::address(512))?;
    check_eq!(
        stubs::pte_note(Object::Own, without_table, value),
        Err(Error::NoTable)
    );
    area.close()?;
    check_eq!(
        stubs::pte_note(Object::Own, place(AREA)?, value),
        Err(Error::NoTable)
    );
    Ok(())
}

fn notes_go_with_their_table() -> Outcome {
    let area = Area::new()?;
    note(9, 99)?;
    // The table counts as empty; the next one there has no notes.
    area.close()?;
    let area = Area::new()?;
    check_eq!(word(table_entry(Area::address(9)))?, 0);
    area.close()
}
