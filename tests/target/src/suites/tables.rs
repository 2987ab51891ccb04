//! Page tables are built from the program's pages, in their order, and come back as they went.

use exopi_rt::capability::Epoch;
use exopi_rt::layout::{EXPOSED_BASE, FIRST_UAREA, PAGE_SIZE};
use exopi_rt::page::FrameType;
use exopi_rt::{Error, PageNumber, Progress, TableLevel, memory};

use crate::area::{
    AREA, Area, RW, all_pages, insert, insert_table, owner, place, record, remove, remove_table,
};
use crate::catch;
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "tables",
    cases: &[
        ("levels_in_order", levels_in_order),
        ("records_tell_tables", records_tell_tables),
        ("links_are_another_page", links_are_another_page),
        ("occupied_and_vacant_places", occupied_and_vacant_places),
        ("tables_in_use_stay", tables_in_use_stay),
        ("only_own_unused_plain_pages", only_own_unused_plain_pages),
        ("pages_come_back_zeroed", pages_come_back_zeroed),
        ("kernels_tables_stay", kernels_tables_stay),
    ],
};

/// Covers the whole area.
const TWO: TableLevel = TableLevel::Two;
/// Covers 2 MiB of it.
const THREE: TableLevel = TableLevel::Three;

fn levels_in_order() -> Outcome {
    let at = place(AREA)?;
    let pages = [
        memory::take_page()?,
        memory::take_page()?,
        memory::take_page()?,
        memory::take_page()?,
    ];
    let [level2, links2, level3, links] = pages;
    let no_table = Progress::refused(Error::NoTable);
    check_eq!(insert(at, links, 1, RW), no_table);
    check_eq!(remove(at, 1), no_table);
    check_eq!(insert_table(at, THREE, level3, links), Err(Error::NoTable));
    check_eq!(remove_table(at, THREE), Err(Error::NoTable));
    check_eq!(remove_table(at, TWO), Err(Error::Vacant));
    for page in pages {
        check_eq!(record(page)?.kind, FrameType::Plain);
    }
    insert_table(at, TWO, level2, links2)?;
    check_eq!(insert(at, links, 1, RW), no_table);
    check_eq!(remove_table(at, THREE), Err(Error::Vacant));
    insert_table(at, THREE, level3, links)?;
    check_eq!(remove_table(at, TWO), Err(Error::NotEmpty));
    check_eq!(remove_table(at, THREE), Ok(level3));
    check_eq!(remove_table(at, TWO), Ok(level2));
    for page in pages {
        memory::give_page(page)?;
    }
    Ok(())
}

fn records_tell_tables() -> Outcome {
    let area = Area::new()?;
    let me = owner()?;
    let [level2, links2, level3, links] = [
        record(area.level2)?,
        record(area.links2)?,
        record(area.level3)?,
        record(area.links)?,
    ];
    check_eq!(
        (level2.kind, level2.owner, level2.first),
        (FrameType::Table2, me, 1)
    );
    check_eq!(
        (level3.kind, level3.owner, level3.first),
        (FrameType::Table3, me, 0)
    );
    check_eq!(level2.second, area.links2.get());
    check_eq!(level3.second, area.links.get());
    for (links, table) in [(links2, area.level2), (links, area.level3)] {
        check_eq!(
            (links.kind, links.owner, links.first),
            (FrameType::Links, me, table.get())
        );
        check_eq!(links.stamp.epoch(), Epoch::NONE, "a capability for links");
    }
    // The entries that name the tables, as slots.
    let parent =
        all_pages().find(|(_, record)| record.kind == FrameType::Root && record.owner == me);
    let root = parent.ok_or_else(|| Failure::new("no root"))?.0;
    let slot = |table: PageNumber, index: u64| table.get() << 9 | index as u32;
    check_eq!(links2.second, slot(root, AREA / TWO.span()));
    check_eq!(links.second, slot(area.level2, 0));
    area.close()
}

/// A table and its links are two pages.
fn links_are_another_page() -> Outcome {
    let area = Area::new()?;
    let one = memory::take_page()?;
    for (address, level) in [(Area::address(512), THREE), (AREA + TWO.span(), TWO)] {
        let outcome = insert_table(place(address)?, level, one, one);
        check!(outcome.is_err(), "level {level:?} with itself as links");
        check_eq!(record(one)?.kind, FrameType::Plain);
        check_eq!(record(one)?.references, 0);
    }
    memory::give_page(one)?;
    area.close()
}

fn occupied_and_vacant_places() -> Outcome {
    let area = Area::new()?;
    let [one, two] = [memory::take_page()?, memory::take_page()?];
    // Anywhere in what the tables cover.
    for address in [AREA, Area::address(511)] {
        let at = place(address)?;
        check_eq!(insert_table(at, THREE, one, two), Err(Error::Occupied));
        check_eq!(insert_table(at, TWO, one, two), Err(Error::Occupied));
    }
    check_eq!(
        remove_table(place(Area::address(512))?, THREE),
        Err(Error::Vacant)
    );
    check_eq!(
        remove_table(place(AREA + TWO.span())?, TWO),
        Err(Error::Vacant)
    );
    memory::give_page(one)?;
    memory::give_page(two)?;
    area.close()
}

fn tables_in_use_stay() -> Outcome {
    let mut area = Area::new()?;
    area.map(511, RW)?;
    let at = place(AREA)?;
    check_eq!(remove_table(at, THREE), Err(Error::NotEmpty));
    check_eq!(remove_table(at, TWO), Err(Error::NotEmpty));
    check!(catch::read(Area::address(511)).is_ok());
    area.close()
}

/// Not the kernel's, not mapped ones, not tables, not the u-area, not one page for both.
fn only_own_unused_plain_pages() -> Outcome {
    let mut area = Area::new()?;
    let mapped = area.map(0, RW)?;
    let good = memory::take_page()?;
    let freed = memory::take_page()?;
    memory::give_page(freed)?;
    let other = |kind| {
        all_pages()
            .find(|(_, record)| record.kind == kind)
            .map_or(PageNumber::MAX, |(page, _)| page)
    };
    let at = place(Area::address(512))?;
    let next = place(AREA + TWO.span())?;
    for (bad, errors) in [
        (other(FrameType::Kernel), &[Error::NotYours][..]),
        (freed, &[Error::NotYours]),
        (PageNumber::MAX, &[Error::OutOfRange]),
        (mapped, &[Error::InUse]),
        (area.level2, &[Error::WrongType]),
        (area.links, &[Error::WrongType]),
        (other(FrameType::UArea), &[Error::WrongType]),
        (other(FrameType::Root), &[Error::WrongType]),
    ] {
        for outcome in [
            insert_table(at, THREE, bad, good),
            insert_table(at, THREE, good, bad),
            insert_table(next, TWO, bad, good),
            insert_table(next, TWO, good, bad),
        ] {
            let refused = outcome.is_err_and(|error| errors.contains(&error));
            check!(refused, "{bad:?} as a table gives {outcome:?}");
        }
        check_eq!(record(good)?.kind, FrameType::Plain);
    }
    memory::give_page(good)?;
    area.close()
}

/// What a page held as a table, or before it was one, is not there any more.
fn pages_come_back_zeroed() -> Outcome {
    let mut area = Area::new()?;
    let pages = [area.map(0, RW)?, area.map(1, RW)?];
    for index in [0, 1] {
        for offset in (0..PAGE_SIZE).step_by(8) {
            // SAFETY: the page is the case's own.
            unsafe { catch::write(Area::address(index) + offset, 0xff) }?;
        }
        area.unmap(index)?;
    }
    let at = place(Area::address(512))?;
    insert_table(at, THREE, pages[0], pages[1])?;
    // Nothing that was in the page counts as an entry.
    check!(catch::read(at.get()).is_err());
    let other = memory::take_page()?;
    for offset in [0, 7, 511] {
        let at = place(Area::address(512 + offset))?;
        insert(at, other, 1, RW).unless_stopped()?;
        remove(at, 1).unless_stopped()?;
    }
    memory::give_page(other)?;
    check_eq!(remove_table(at, THREE), Ok(pages[0]));
    for (index, page) in (0..).zip(pages) {
        area.map_page(index, page, RW)?;
        let words = Area::address(index) as *const [u64; PAGE_SIZE as usize / 8];
        // SAFETY: the page is mapped, and nobody writes it.
        let words = unsafe { &*words };
        check!(
            words.iter().all(|word| *word == 0),
            "page {index} is not zeroed"
        );
    }
    area.close()
}

/// The tables over the u-area and over the exposed region are not the program's to take out.
fn kernels_tables_stay() -> Outcome {
    for level in [TWO, THREE] {
        check!(remove_table(place(FIRST_UAREA)?, level).is_err());
    }
    check!(catch::read(FIRST_UAREA).is_ok());
    check!(catch::read(EXPOSED_BASE).is_ok());
    Ok(())
}
