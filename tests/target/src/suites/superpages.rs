//! Superpages: 512 pages by one entry, all or none.

mod lent;

use exopi_rt::capability::Kind;
use exopi_rt::layout::{PAGE_SIZE, table2_entry};
use exopi_rt::page::{NONE, SUPERPAGE_PAGES};
use exopi_rt::{
    Access, Error, Object, PageNumber, PageRun, Progress, TableLevel, VirtAddr, exposed, memory,
    stubs,
};

use crate::area::{AREA, Area, RW, give_run, insert, insert_table, place, record, remove};
use crate::catch;
use crate::counters::conserving;
use crate::granted::{ALL, mint, run};
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "superpages",
    cases: &[
        ("maps_all_of_it", maps_all_of_it),
        ("goes_as_a_whole", goes_as_a_whole),
        ("borders", borders),
        ("every_page_must_do", every_page_must_do),
        ("occupies_its_place", occupies_its_place),
        (
            "permissions_change_as_a_whole",
            permissions_change_as_a_whole,
        ),
        ("breaking_one_page", breaking_one_page),
        ("by_capability", by_capability),
        ("rights_of_a_capability", lent::rights),
        ("broken_on_all_cores", || {
            conserving(lent::broken_on_all_cores)
        }),
    ],
};

/// Pages of a superpage.
const PAGES: u64 = SUPERPAGE_PAGES;

/// Takes the 512 pages of a superpage, the highest that are free.
pub(super) fn take_superpage() -> Result<PageNumber, Failure> {
    let last = exposed::page_count() / PAGES;
    for number in (1..last).rev() {
        let first = PageNumber::new((number * PAGES) as u32);
        let free = (0..PAGES).all(|offset| {
            let record = first.plus(offset).and_then(exposed::page);
            record.is_some_and(|record| record.kind == exopi_rt::page::FrameType::Free)
        });
        if !free {
            continue;
        }
        for offset in (0..PAGES).step_by(16) {
            let page = first.plus(offset).ok_or(Error::OutOfRange)?;
            let which = exopi_rt::PageSelect::Exact(page);
            stubs::page_alloc(which, 16).progress.unless_stopped()?;
        }
        return Ok(first);
    }
    Err(Failure::new("no 512 free pages"))
}

/// Where superpages go: the first one behind the area's table.
fn at() -> Result<VirtAddr, Failure> {
    place(Area::address(PAGES))
}

fn map_super(at: VirtAddr, first: PageNumber, count: u64, access: Access) -> Progress {
    // SAFETY: the kernel maps over nothing.
    unsafe { stubs::insert_superpage(Object::Own, at, PageRun::Owned(first), count, access) }
}

fn refused(error: Error) -> Progress {
    Progress::refused(error)
}

fn maps_all_of_it() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let at = at()?;
    check_eq!(map_super(at, first, 1, RW).unless_stopped(), Ok(1));
    for offset in [0, 1, 255, 511] {
        let address = at.get() + offset * PAGE_SIZE + 8;
        // SAFETY: the pages are the case's own.
        unsafe { catch::write(address, offset as u8) }?;
    }
    let head = record(first)?;
    check_eq!((head.references, head.first), (1, NONE));
    check_eq!(head.second, area.level2.get() << 9 | 1, "the slot");
    // SAFETY: the kernel's, read-only, and there as long as the table.
    let entry = unsafe { (table2_entry(at.get()) as *const u64).read_volatile() };
    check_eq!(entry & 3, 1, "a block's entry");
    check_eq!(entry & 0xffff_ffe0_0000, first.address());
    check_eq!(remove(at, PAGES).unless_stopped(), Ok(PAGES));
    check!(catch::read(at.get()).is_err());
    check_eq!(record(first)?.references, 0);
    // What was written is in the pages.
    let page = first.plus(511).ok_or(Error::OutOfRange)?;
    insert(place(AREA)?, page, 1, RW).unless_stopped()?;
    check_eq!(catch::read(AREA + 8)?, 511_u64 as u8);
    remove(place(AREA)?, 1).unless_stopped()?;
    give_run(first, PAGES)?;
    area.close()
}

fn goes_as_a_whole() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let at = at()?;
    map_super(at, first, 1, RW).unless_stopped()?;
    let inside = place(at.get() + PAGE_SIZE)?;
    for (from, count) in [(at, 1), (at, PAGES - 1), (inside, 1), (inside, PAGES - 1)] {
        check_eq!(
            remove(from, count),
            refused(Error::Misaligned),
            "{count} from {from:?}"
        );
    }
    check!(catch::read(inside.get()).is_ok());
    for page in [first, first.plus(100).ok_or(Error::OutOfRange)?] {
        check_eq!(
            stubs::page_free(PageRun::Owned(page), 1),
            refused(Error::InUse)
        );
    }
    check_eq!(
        crate::area::remove_table(at, TableLevel::Two),
        Err(Error::NotEmpty)
    );
    remove(at, PAGES).unless_stopped()?;
    give_run(first, PAGES)?;
    area.close()
}

fn borders() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let at = at()?;
    let beside = place(at.get() + PAGE_SIZE)?;
    let second = first.plus(1).ok_or(Error::OutOfRange)?;
    check_eq!(map_super(beside, first, 1, RW), refused(Error::Misaligned));
    check_eq!(map_super(at, second, 1, RW), refused(Error::Misaligned));
    check_eq!(map_super(at, first, 0, RW), refused(Error::BadCount));
    check_eq!(
        map_super(at, first, 1, RW | Access::EXECUTE),
        refused(Error::Malformed)
    );
    let elsewhere = place(AREA + TableLevel::Two.span())?;
    check_eq!(map_super(elsewhere, first, 1, RW), refused(Error::NoTable));
    give_run(first, PAGES)?;
    area.close()
}

fn every_page_must_do() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let at = at()?;
    for offset in [0, 17, 511] {
        let page = first.plus(offset).ok_or(Error::OutOfRange)?;
        memory::give_page(page)?;
        check_eq!(
            map_super(at, first, 1, RW),
            refused(Error::NotYours),
            "without {offset}"
        );
        stubs::page_alloc(exopi_rt::PageSelect::Exact(page), 1)
            .progress
            .unless_stopped()?;
    }
    // One of them is a table.
    let [table, links] = [511, 510].map(|offset| first.plus(offset).unwrap_or(first));
    let behind = place(Area::address(2 * PAGES))?;
    insert_table(behind, TableLevel::Three, table, links)?;
    check_eq!(map_super(at, first, 1, RW), refused(Error::WrongType));
    check_eq!(crate::area::remove_table(behind, TableLevel::Three)?, table);
    check_eq!(record(first)?.references, 0);
    give_run(first, PAGES)?;
    area.close()
}

fn occupies_its_place() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let at = at()?;
    // Where there is a table already.
    check_eq!(
        map_super(place(AREA)?, first, 1, RW),
        refused(Error::Occupied)
    );
    map_super(at, first, 1, RW).unless_stopped()?;
    check_eq!(map_super(at, first, 1, RW), refused(Error::Occupied));
    let [one, two] = [memory::take_page()?, memory::take_page()?];
    let inside = place(at.get() + 9 * PAGE_SIZE)?;
    check_eq!(
        insert_table(inside, TableLevel::Three, one, two),
        Err(Error::Occupied)
    );
    check!(insert(inside, one, 1, RW).stopped.is_some());
    memory::give_page(one)?;
    memory::give_page(two)?;
    remove(at, PAGES).unless_stopped()?;
    give_run(first, PAGES)?;
    area.close()
}

fn permissions_change_as_a_whole() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let at = at()?;
    map_super(at, first, 1, RW).unless_stopped()?;
    // SAFETY: nothing in use is there.
    let protect = |at, count, access| unsafe { stubs::protect_pte(Object::Own, at, count, access) };
    check_eq!(protect(at, 1, Access::READ), refused(Error::Misaligned));
    protect(at, PAGES, Access::READ).unless_stopped()?;
    let last = at.get() + PAGES * PAGE_SIZE - 1;
    // SAFETY: the kernel must make it fault.
    check!(unsafe { catch::write(last, 1) }.is_err());
    check!(catch::read(last).is_ok());
    protect(at, PAGES, RW).unless_stopped()?;
    // SAFETY: the page is the case's own.
    unsafe { catch::write(last, 1) }?;
    let grown = protect(at, PAGES, RW | Access::EXECUTE);
    check_eq!(grown, refused(Error::MissingRight));
    remove(at, PAGES).unless_stopped()?;
    give_run(first, PAGES)?;
    area.close()
}

fn breaking_one_page() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let at = at()?;
    map_super(at, first, 1, RW).unless_stopped()?;
    let page = first.plus(300).ok_or(Error::OutOfRange)?;
    insert(place(AREA)?, page, 1, RW).unless_stopped()?;
    check_eq!(record(page)?.references, 1);
    // SAFETY: nothing in use is mapped from them.
    let broken = unsafe { stubs::page_break(PageRun::Owned(page), 1) };
    check_eq!(broken.progress.unless_stopped(), Ok(1));
    check_eq!(broken.superpages, 1);
    check!(catch::read(at.get()).is_err());
    check!(catch::read(AREA).is_err());
    check_eq!(
        (record(first)?.references, record(page)?.references),
        (0, 0)
    );
    check_eq!(record(page)?.marks, 0);
    give_run(first, PAGES)?;
    area.close()
}

fn by_capability() -> Outcome {
    let area = Area::new()?;
    let first = take_superpage()?;
    let at = at()?;
    for offset in [0, 256] {
        let from = first.plus(offset).ok_or(Error::OutOfRange)?;
        stubs::page_retire(PageRun::Owned(from), 256).unless_stopped()?;
    }
    // The two halves are stamped apart: no capability is good for both.
    let all = ALL.bits().into();
    let whole = mint(Kind::Page, first.get().into(), PAGES, all);
    check_eq!(whole, Err(Error::Stale));
    let half = mint(Kind::Page, first.get().into(), 256, all)?;
    // SAFETY: the kernel must refuse it.
    let outcome = unsafe { stubs::insert_superpage(Object::Own, at, run(first, &half)?, 1, RW) };
    check_eq!(outcome, refused(Error::OutOfRange));
    give_run(first, PAGES)?;
    area.close()
}
