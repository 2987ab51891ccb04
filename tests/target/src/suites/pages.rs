//! Allocating and freeing pages: by name, within bounds, only what is free and only one's own.

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::{ALLOC_BOUND, FREE_BOUND, FrameType, Owner};
use exopi_rt::{
    Access, Allocation, Error, PageNumber, PageRun, PageSelect, Progress, args, exposed, memory,
    stubs,
};

use crate::area::{Area, RW, all_pages, free_run, give_run, give_stamped, owner, record, take_run};
use crate::catch;
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "pages",
    cases: &[
        ("any_page", any_page),
        ("exact_pages", exact_pages),
        ("taken_pages_stop_a_run", taken_pages_stop_a_run),
        ("counts_are_bounded", counts_are_bounded),
        ("pages_that_do_not_exist", pages_that_do_not_exist),
        ("free_twice", free_twice),
        ("free_while_mapped", free_while_mapped),
        ("free_what_is_not_plain", free_what_is_not_plain),
        ("kernel_pages_are_nobodys", kernel_pages_are_nobodys),
        ("own_contents_stay", own_contents_stay),
        ("foreign_pages_change_hands", foreign_pages_change_hands),
        ("foreign_contents_are_zeroed", foreign_contents_are_zeroed),
        ("exhaustion", exhaustion),
    ],
};

/// Takes `count` pages from `first` on.
fn exact(first: PageNumber, count: u64) -> Allocation {
    stubs::page_alloc(PageSelect::Exact(first), count)
}

/// Gives pages back.
fn free(first: PageNumber, count: u64) -> Progress {
    stubs::page_free(PageRun::Owned(first), count)
}

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

/// The page `count` after another.
fn plus(page: PageNumber, count: u64) -> Result<PageNumber, Failure> {
    page.plus(count)
        .ok_or_else(|| Failure::new("no such page number"))
}

fn any_page() -> Outcome {
    let [one, two] = [memory::take_page()?, memory::take_page()?];
    check!(one != two);
    check_eq!(record(one)?.kind, FrameType::Plain);
    let none = stubs::page_alloc(PageSelect::Any, 0).progress;
    check_eq!(none, Progress::refused(Error::BadCount), "no page at all");
    // More than one: they have one stamp, by which the page array tells them.
    for count in [2, u64::MAX] {
        let some = stubs::page_alloc(PageSelect::Any, count);
        check_eq!(
            some.progress,
            done(count.min(ALLOC_BOUND)),
            "any {count} pages"
        );
        give_stamped(some.first, some.progress.done)?;
    }
    memory::give_page(one)?;
    memory::give_page(two)?;
    Ok(())
}

fn exact_pages() -> Outcome {
    let first = free_run(ALLOC_BOUND)?;
    let me = owner()?;
    let allocation = exact(first, ALLOC_BOUND);
    check_eq!(allocation.progress, done(ALLOC_BOUND));
    check_eq!(allocation.first, first);
    for offset in 0..ALLOC_BOUND {
        let record = record(plus(first, offset)?)?;
        check_eq!(
            (record.kind, record.owner),
            (FrameType::Plain, me),
            "page {offset}"
        );
    }
    check_eq!(free(first, ALLOC_BOUND), done(ALLOC_BOUND));
    Ok(())
}

fn taken_pages_stop_a_run() -> Outcome {
    let first = free_run(4)?;
    let third = plus(first, 2)?;
    check_eq!(exact(third, 1).progress, done(1));
    check_eq!(exact(third, 1).progress, Progress::refused(Error::Taken));
    check_eq!(exact(first, 4).progress, stopped(2, Error::Taken));
    check_eq!(record(plus(first, 3)?)?.kind, FrameType::Free);
    check_eq!(free(first, 4), stopped(3, Error::NotYours));
    Ok(())
}

fn counts_are_bounded() -> Outcome {
    let many = FREE_BOUND + 6;
    let first = free_run(many)?;
    let free_pages = exposed::free_pages();
    check_eq!(exact(first, 0).progress, Progress::refused(Error::BadCount));
    check_eq!(free(first, 0), Progress::refused(Error::BadCount));
    check_eq!(exposed::free_pages(), free_pages);
    let allocation = exact(first, ALLOC_BOUND + 1);
    check_eq!(allocation.progress, done(ALLOC_BOUND));
    check_eq!(free(first, ALLOC_BOUND), done(ALLOC_BOUND));
    check_eq!(take_run(many)?, first);
    check_eq!(free(first, many), done(FREE_BOUND));
    give_run(plus(first, FREE_BOUND)?, many - FREE_BOUND)
}

fn pages_that_do_not_exist() -> Outcome {
    let end = exposed::page_count() as u32;
    for number in [end, end + 1, 0x8000_0000, u32::MAX] {
        let page = PageNumber::new(number);
        let refused = Progress::refused(Error::OutOfRange);
        check_eq!(exact(page, 1).progress, refused, "taking {page:?}");
        check_eq!(exact(page, 16).progress, refused, "taking 16 from {page:?}");
        check_eq!(free(page, 1), refused, "freeing {page:?}");
    }
    Ok(())
}

fn free_twice() -> Outcome {
    let page = memory::take_page()?;
    check_eq!(free(page, 1), done(1));
    check_eq!(free(page, 1), Progress::refused(Error::NotYours));
    Ok(())
}

fn free_while_mapped() -> Outcome {
    let mut area = Area::new()?;
    let page = area.map(0, RW)?;
    check_eq!(record(page)?.references, 1);
    check_eq!(free(page, 1), Progress::refused(Error::InUse));
    check!(catch::read(Area::address(0)).is_ok());
    check_eq!(area.unmap(0)?, page);
    check_eq!(record(page)?.references, 0);
    check_eq!(free(page, 1), done(1));
    area.close()
}

/// Tables, links, root and u-area are charged to the program, and are not pages that it can free.
fn free_what_is_not_plain() -> Outcome {
    let area = Area::new()?;
    let me = owner()?;
    let mut found = 0;
    for (page, record) in all_pages().filter(|(_, record)| record.charged_to() == me) {
        if record.kind == FrameType::Plain {
            continue;
        }
        found += 1;
        let stopped = free(page, 1).stopped;
        check!(
            matches!(stopped, Some(Error::WrongType | Error::InUse)),
            "freeing {page:?}, a {:?}, gives {stopped:?}",
            record.kind
        );
    }
    check!(found >= 8, "only {found} pages that are not plain");
    area.close()
}

fn kernel_pages_are_nobodys() -> Outcome {
    let kernel = all_pages().filter(|(_, record)| record.kind == FrameType::Kernel);
    for (page, _) in kernel.step_by(7) {
        check_eq!(
            exact(page, 1).progress,
            Progress::refused(Error::Taken),
            "{page:?}"
        );
        check_eq!(
            free(page, 1),
            Progress::refused(Error::NotYours),
            "{page:?}"
        );
    }
    Ok(())
}

/// First and last word of page 0 of the area.
fn ends() -> [*mut u64; 2] {
    [0, PAGE_SIZE - 8].map(|offset| (Area::address(0) + offset) as *mut u64)
}

fn own_contents_stay() -> Outcome {
    const MARK: u64 = 0x1234_5678_9abc_def0;
    let mut area = Area::new()?;
    let page = area.map(0, RW)?;
    for place in ends() {
        // SAFETY: the page is mapped, and the case's own.
        unsafe { place.write_volatile(MARK) };
    }
    area.unmap(0)?;
    check_eq!(free(page, 1), done(1));
    check_eq!(exact(page, 1).progress, done(1));
    area.map_page(0, page, RW)?;
    for place in ends() {
        // SAFETY: the page is mapped.
        let word = unsafe { place.read_volatile() };
        check_eq!(word, MARK, "what was there before");
    }
    area.close()
}

/// Pages that this program has never had become its own, and hold zeros.
fn foreign_pages_change_hands() -> Outcome {
    let me = owner()?;
    let pages = all_pages()
        .filter(|(_, record)| record.kind == FrameType::Free && record.owner == Owner::NOBODY);
    for (page, _) in pages.step_by(1000).take(100) {
        check_zeroed(page)?;
        check_eq!(record(page)?.owner, me);
    }
    Ok(())
}

/// A page that somebody else has written. There is nobody else yet, and RAM is zero when the emulator
/// starts: who runs the suite has to put something there, and to say in which page.
fn foreign_contents_are_zeroed() -> Outcome {
    let Some(number) = args().parsed("dirty") else {
        return Err(Failure::skip(
            "needs dirty=PAGE, a free page with something in it",
        ));
    };
    let page = PageNumber::new(number);
    check_eq!(record(page)?.kind, FrameType::Free);
    check_eq!(record(page)?.owner, Owner::NOBODY);
    check_zeroed(page)
}

/// Takes a page, checks that it holds zeros, gives it back.
fn check_zeroed(page: PageNumber) -> Outcome {
    let mut area = Area::new()?;
    check_eq!(exact(page, 1).progress, done(1));
    area.map_page(0, page, Access::READ)?;
    let words = Area::address(0) as *const [u64; PAGE_SIZE as usize / 8];
    // SAFETY: the page is mapped, and nobody writes it.
    let words = unsafe { &*words };
    check!(
        words.iter().all(|word| *word == 0),
        "{page:?} is not zeroed"
    );
    area.close()
}

/// All pages that there are, then none, then all of them back.
fn exhaustion() -> Outcome {
    let me = owner()?;
    let ours = |record: &exopi_rt::page::PageRecord| {
        record.owner == me && record.kind == FrameType::Plain && record.references == 0
    };
    // What the program had from the beginning it keeps.
    let kept: alloc::vec::Vec<_> = all_pages()
        .filter(|(_, record)| ours(record))
        .map(|(page, _)| page)
        .collect();
    let mut taken = 0;
    let stopped = loop {
        match memory::take_page() {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    let left = exposed::free_pages();
    // The heap has no page to grow by, and says so.
    let refused = alloc::vec::Vec::<u8>::new().try_reserve_exact(64 << 20);
    let mut given = 0;
    let loose = all_pages().filter(|(_, record)| ours(record));
    for (page, _) in loose.filter(|(page, _)| kept.binary_search(page).is_err()) {
        given += free(page, 1).done;
    }
    // The first account may have every page that there is, so both have come to their end.
    check!(
        matches!(stopped, Error::Exhausted | Error::OverAllowance),
        "stopped is {stopped}"
    );
    check_eq!(left, 0, "free pages at the end");
    check!(refused.is_err(), "the heap grew all the same");
    check_eq!(given, taken, "pages given back");
    Ok(())
}
