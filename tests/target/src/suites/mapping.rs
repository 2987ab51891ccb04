//! Mappings: only one's own plain pages, only where nothing is, with the access that was asked for,
//! and gone when they are removed.

use exopi_rt::layout::{FIRST_UAREA, PAGE_SIZE};
use exopi_rt::page::{FrameType, INSERT_BOUND, REMOVE_BOUND};
use exopi_rt::upcall::{AbortKind, FaultCause};
use exopi_rt::{Access, Error, PageNumber, Progress, TableLevel, exposed, memory};

use crate::area::{
    AREA, Area, RW, all_pages, give_run, insert, insert_table, owner, place, record, remove,
    remove_table, take_run,
};
use crate::catch::{self, Caught};
use crate::harness::{Failure, Outcome, Suite};
use crate::machine;

pub(crate) const SUITE: Suite = Suite {
    name: "mapping",
    cases: &[
        ("map_and_unmap", map_and_unmap),
        ("read_only_faults_on_store", read_only_faults_on_store),
        ("no_execute_faults_on_fetch", no_execute_faults_on_fetch),
        ("executable_pages_run", executable_pages_run),
        ("occupied_places", occupied_places),
        ("two_mappings_of_a_page", two_mappings_of_a_page),
        ("remapped_elsewhere", remapped_elsewhere),
        ("no_stale_translation", no_stale_translation),
        ("only_own_plain_pages", only_own_plain_pages),
        ("counts_are_bounded", counts_are_bounded),
        ("ranges_stop_and_resume", ranges_stop_and_resume),
        ("ranges_cross_tables", ranges_cross_tables),
        ("uarea_stays_mapped", uarea_stays_mapped),
        ("null_is_never_mapped", null_is_never_mapped),
    ],
};

const R: Access = Access::READ;
const RX: Access = Access::READ.union(Access::EXECUTE);

const fn done(done: u64) -> Progress {
    Progress {
        done,
        stopped: None,
    }
}

const fn stopped(done: u64, error: Error) -> Progress {
    Progress {
        done,
        stopped: Some(error),
    }
}

/// Checks that an access faulted as a load or store of `address`.
fn check_data_abort<T>(
    outcome: Result<T, Caught>,
    address: u64,
    write: bool,
    kind: AbortKind,
) -> Outcome {
    let expected = FaultCause::DataAbort {
        address,
        write,
        kind,
    };
    match outcome {
        Ok(_) => Err(Failure::new(alloc::format!("{address:#x} did not fault"))),
        Err(caught) => {
            check_eq!(caught.cause(), expected);
            Ok(())
        }
    }
}

/// Stores a byte in the area.
fn write(address: u64, byte: u8) -> Result<(), Caught> {
    // SAFETY: addresses of the area, where only the case's own pages are.
    unsafe { catch::write(address, byte) }
}

fn map_and_unmap() -> Outcome {
    let mut area = Area::new()?;
    let at = Area::address(0);
    check_data_abort(catch::read(at), at, false, AbortKind::Translation(3))?;
    let page = area.map(0, RW)?;
    write(at + 77, 5)?;
    check_eq!(catch::read(at + 77)?, 5);
    let entry = area.level3.get() << 9;
    check_eq!(record(page)?.first, entry, "the entry in the page's record");
    check_eq!(record(area.level3)?.first, 1, "entries in use");
    area.unmap(0)?;
    let last = at + PAGE_SIZE - 1;
    check_data_abort(catch::read(last), last, false, AbortKind::Translation(3))?;
    check_data_abort(write(at + 77, 6), at + 77, true, AbortKind::Translation(3))?;
    check_eq!(record(area.level3)?.first, 0, "entries in use");
    check_eq!(remove(place(at)?, 1), Progress::refused(Error::Vacant));
    memory::give_page(page)?;
    area.close()
}

fn read_only_faults_on_store() -> Outcome {
    let mut area = Area::new()?;
    area.map(0, R)?;
    let at = Area::address(0) + 0x123;
    let before = catch::read(at)?;
    check_data_abort(write(at, !before), at, true, AbortKind::Permission(3))?;
    check_eq!(catch::read(at)?, before);
    area.close()
}

fn no_execute_faults_on_fetch() -> Outcome {
    let mut area = Area::new()?;
    for (index, access) in [(0, R), (1, RW)] {
        area.map(index, access)?;
        let address = Area::address(index);
        // SAFETY: the kernel must make it fault.
        let outcome = unsafe { catch::execute(address) };
        let expected = FaultCause::InstructionAbort {
            address,
            kind: AbortKind::Permission(3),
        };
        let caught = outcome.err().ok_or_else(|| Failure::new("it ran"))?;
        check_eq!(caught.cause(), expected);
        check_eq!(caught.pc, address);
    }
    area.close()
}

fn executable_pages_run() -> Outcome {
    const RET: u32 = 0xd65f_03c0;
    let mut area = Area::new()?;
    let page = area.map(0, RW)?;
    let at = Area::address(0);
    // SAFETY: the page is mapped, and the case's own.
    unsafe { (at as *mut u32).write_volatile(RET) };
    machine::publish(at, 64)?;
    insert(place(Area::address(1))?, page, 1, RX).unless_stopped()?;
    // SAFETY: a function that returns at once.
    unsafe { catch::execute(Area::address(1)) }?;
    let at = Area::address(1);
    check_data_abort(write(at, 0), at, true, AbortKind::Permission(3))?;
    remove(place(at)?, 1).unless_stopped()?;
    // SAFETY: the kernel must make it fault.
    check!(unsafe { catch::execute(at) }.is_err());
    area.close()
}

fn occupied_places() -> Outcome {
    let mut area = Area::new()?;
    let page = area.map(0, RW)?;
    let other = memory::take_page()?;
    let at = place(Area::address(0))?;
    for again in [page, other] {
        check_eq!(insert(at, again, 1, RW), Progress::refused(Error::Occupied));
    }
    check_eq!(record(page)?.references, 1);
    check_eq!(record(other)?.references, 0);
    memory::give_page(other)?;
    area.close()
}

fn two_mappings_of_a_page() -> Outcome {
    let mut area = Area::new()?;
    let page = area.map(0, RW)?;
    let second = place(Area::address(9))?;
    insert(second, page, 1, R).unless_stopped()?;
    check_eq!(record(page)?.references, 2);
    write(Area::address(0) + 8, 99)?;
    check_eq!(catch::read(second.get() + 8)?, 99);
    let at = second.get();
    check_data_abort(write(at, 1), at, true, AbortKind::Permission(3))?;
    area.unmap(0)?;
    check_eq!(record(page)?.references, 1);
    check_eq!(memory::give_page(page), Err(Error::InUse));
    check_eq!(catch::read(at + 8)?, 99);
    remove(second, 1).unless_stopped()?;
    check_eq!(record(page)?.references, 0);
    memory::give_page(page)?;
    area.close()
}

fn remapped_elsewhere() -> Outcome {
    let mut area = Area::new()?;
    area.map(0, RW)?;
    write(Area::address(0), 41)?;
    let page = area.unmap(0)?;
    area.map_page(511, page, R)?;
    check_eq!(catch::read(Area::address(511))?, 41);
    check!(catch::read(Area::address(0)).is_err());
    area.close()
}

/// One address, many pages in turn, read each time: a translation left behind would show.
fn no_stale_translation() -> Outcome {
    let mut area = Area::new()?;
    let at = Area::address(3);
    let count = 32;
    let first = take_run(count)?;
    for round in 0..2 * count {
        let page = PageNumber::new(first.get() + (round % count) as u32);
        area.map_page(3, page, RW)?;
        if round >= count {
            check_eq!(catch::read(at)?, (round - count) as u8, "round {round}");
        }
        write(at, round as u8)?;
        area.unmap(3)?;
        check_data_abort(catch::read(at), at, false, AbortKind::Translation(3))?;
    }
    give_run(first, count)?;
    area.close()
}

/// Tables, links, root, u-area, free and kernel pages, pages that there are not.
fn only_own_plain_pages() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let me = owner()?;
    let mut seen = [false; 8];
    for (page, record) in all_pages() {
        let kind = record.kind as usize;
        // Of free and kernel pages, of which there are many, some.
        let many = matches!(record.kind, FrameType::Free | FrameType::Kernel);
        if record.kind == FrameType::Plain || (many && seen[kind] && page.get() % 997 != 0) {
            continue;
        }
        seen[kind] = true;
        let expected = if record.charged_to() == me {
            Error::WrongType
        } else {
            Error::NotYours
        };
        for access in Access::POSSIBLE {
            let refused = insert(at, page, 1, access);
            check_eq!(
                refused,
                Progress::refused(expected),
                "mapping {page:?}, a {:?},",
                record.kind
            );
        }
    }
    let all_but_plain = [0, 1, 3, 4, 5, 6, 7].iter().all(|kind: &usize| seen[*kind]);
    check!(all_but_plain, "types seen: {seen:?}");
    let none = PageNumber::new(exposed::page_count() as u32);
    check!(insert(at, none, 1, RW).stopped.is_some());
    check!(catch::read(at.get()).is_err());
    area.close()
}

fn counts_are_bounded() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let many = INSERT_BOUND + 2;
    let first = take_run(many)?;
    check_eq!(insert(at, first, 0, RW), Progress::refused(Error::BadCount));
    check_eq!(remove(at, 0), Progress::refused(Error::BadCount));
    check_eq!(insert(at, first, many, RW), done(INSERT_BOUND));
    let rest = PageNumber::new(first.get() + INSERT_BOUND as u32);
    check_eq!(
        insert(place(Area::address(INSERT_BOUND))?, rest, 2, RW),
        done(2)
    );
    check_eq!(record(area.level3)?.first, many as u32, "entries in use");
    check_eq!(remove(at, many), done(REMOVE_BOUND));
    let mut next = REMOVE_BOUND;
    while next < many {
        next += remove(place(Area::address(next))?, many - next).unless_stopped()?;
    }
    give_run(first, many)?;
    area.close()
}

fn ranges_stop_and_resume() -> Outcome {
    let mut area = Area::new()?;
    area.map(5, RW)?;
    let first = take_run(8)?;
    let at = place(Area::address(2))?;
    check_eq!(insert(at, first, 8, RW), stopped(3, Error::Occupied));
    let fourth = PageNumber::new(first.get() + 3);
    check_eq!(insert(place(Area::address(6))?, fourth, 5, RW), done(5));
    // All of 2..=10 is mapped now, and 11 is not.
    memory::give_page(area.unmap(5)?)?;
    check_eq!(remove(at, 9), stopped(3, Error::Vacant));
    check_eq!(
        remove(place(Area::address(6))?, 9),
        stopped(5, Error::Vacant)
    );
    // A page that is not the program's stops a range as well.
    check_eq!(memory::give_page(fourth), Ok(()));
    check_eq!(insert(at, first, 8, RW), stopped(3, Error::NotYours));
    check_eq!(remove(at, 3), done(3));
    give_run(first, 3)?;
    give_run(PageNumber::new(first.get() + 4), 4)?;
    area.close()
}

fn ranges_cross_tables() -> Outcome {
    let area = Area::new()?;
    let first = take_run(6)?;
    let at = place(Area::address(509))?;
    let border = place(Area::address(512))?;
    check_eq!(insert(at, first, 6, RW), stopped(3, Error::NoTable));
    check_eq!(remove(at, 6), stopped(3, Error::NoTable));
    let [table, links] = [memory::take_page()?, memory::take_page()?];
    insert_table(border, TableLevel::Three, table, links)?;
    check_eq!(insert(at, first, 6, RW), done(6));
    for index in 509..515 {
        write(Area::address(index), index as u8)?;
    }
    check_eq!(catch::read(Area::address(514))?, 514_u64 as u8);
    check_eq!(record(table)?.first, 3, "entries in use");
    check_eq!(remove(at, 6), done(6));
    check_eq!(remove_table(border, TableLevel::Three)?, table);
    memory::give_page(table)?;
    memory::give_page(links)?;
    give_run(first, 6)?;
    area.close()
}

fn uarea_stays_mapped() -> Outcome {
    let at = place(FIRST_UAREA)?;
    check_eq!(remove(at, 1), Progress::refused(Error::WrongType));
    check!(catch::read(FIRST_UAREA).is_ok());
    let page = memory::take_page()?;
    check_eq!(insert(at, page, 1, RW), Progress::refused(Error::Occupied));
    memory::give_page(page)?;
    // SAFETY: the kernel must make it fault.
    check!(unsafe { catch::execute(FIRST_UAREA) }.is_err());
    Ok(())
}

/// The first 64 KiB fault, and cannot even be named.
fn null_is_never_mapped() -> Outcome {
    for address in [0, 8, 0xfff, 0x1000, 0xffff] {
        check!(catch::read(address).is_err(), "{address:#x} is readable");
        check!(write(address, 0).is_err(), "{address:#x} is writable");
    }
    check!(exopi_rt::VirtAddr::new(0).is_none());
    check!(exopi_rt::VirtAddr::new(0xf000).is_none());
    check!(place(AREA).is_ok());
    Ok(())
}
