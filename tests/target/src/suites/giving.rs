//! Pages that change hands, limits on what others may refer to, and breaking what they have bound.

use exopi_rt::page::{BREAK_BOUND, DEFAULT_LIMIT, FrameType, Owner, RECORD_BOUND};
use exopi_rt::{Access, Error, PageNumber, PageRun, Progress, memory, stubs};

use super::accounts::Child;
use crate::area::{Area, RW, give_run, insert, place, record, remove, take_run};
use crate::catch;
use crate::domain::own_account;
use crate::granted::{ALL, insert_by, mint_pages};
use crate::harness::{Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "giving",
    cases: &[
        ("what_was_accepted", what_was_accepted),
        ("no_more_than_accepted", no_more_than_accepted),
        ("only_spare_pages", only_spare_pages),
        ("capabilities_end", capabilities_end),
        ("allowance_of_the_receiver", allowance_of_the_receiver),
        ("retired_pages_are_alike", retired_pages_are_alike),
        ("limits_on_others", limits_on_others),
        ("own_references_are_free", own_references_are_free),
        ("breaking_resumes", breaking_resumes),
        ("leaving_pages_are_not_bound", leaving_pages_are_not_bound),
        ("counts_are_bounded", counts_are_bounded),
    ],
};

fn give(first: PageNumber, count: u64, to: Owner) -> Progress {
    stubs::page_give(first, count, to)
}

fn break_all(first: PageNumber, count: u64) -> exopi_rt::Breaking {
    // SAFETY: cases break what they have mapped in their area, and nothing else.
    unsafe { stubs::page_break(PageRun::Owned(first), count) }
}

/// The page `offset` after another.
fn nth(first: PageNumber, offset: u64) -> PageNumber {
    PageNumber::new(first.get() + offset as u32)
}

fn what_was_accepted() -> Outcome {
    let mut area = Area::new()?;
    let child = Child::with_pages(2)?;
    let page = area.map(0, RW)?;
    // SAFETY: the page is the case's own.
    unsafe { catch::write(Area::address(0) + 9, 123) }?;
    area.unmap(0)?;
    child.bound(|| Ok(stubs::page_accept(2)?))?;
    check_eq!(child.record()?.accepts, 2);
    give(page, 1, child.owner()).unless_stopped()?;
    check_eq!(child.record()?.accepts, 1);
    check_eq!(child.record()?.used[0], 1);
    check_eq!(record(page)?.owner, child.owner());
    check_eq!(memory::give_page(page), Err(Error::NotYours));
    // The contents came with it.
    let at = place(Area::address(0))?;
    child.bound(|| {
        insert(at, page, 1, Access::READ).unless_stopped()?;
        check_eq!(catch::read(at.get() + 9)?, 123);
        remove(at, 1).unless_stopped()?;
        Ok(memory::give_page(page)?)
    })?;
    child.end()?;
    area.close()
}

fn no_more_than_accepted() -> Outcome {
    let child = Child::with_pages(10)?;
    let first = take_run(4)?;
    let over = |done| Progress {
        done,
        stopped: Some(Error::OverAllowance),
    };
    check_eq!(give(first, 4, child.owner()), over(0));
    child.bound(|| Ok(stubs::page_accept(3)?))?;
    check_eq!(give(first, 4, child.owner()), over(3));
    check_eq!(give(nth(first, 3), 1, child.owner()), over(0));
    give_run(nth(first, 3), 1)?;
    child.end()
}

fn only_spare_pages() -> Outcome {
    let mut area = Area::new()?;
    let child = Child::with_pages(10)?;
    child.bound(|| Ok(stubs::page_accept(10)?))?;
    let mapped = area.map(0, RW)?;
    let kernel = PageNumber::new(0);
    let none = PageNumber::new(exopi_rt::exposed::page_count() as u32);
    for (page, error) in [
        (mapped, Error::InUse),
        (area.level3, Error::WrongType),
        (kernel, Error::NotYours),
        (none, Error::OutOfRange),
    ] {
        check_eq!(
            give(page, 1, child.owner()),
            Progress::refused(error),
            "{page:?}"
        );
    }
    let page = memory::take_page()?;
    check_eq!(
        give(page, 1, Owner::NOBODY),
        Progress::refused(Error::Stale)
    );
    check_eq!(
        give(page, 1, Owner::from_word(u64::MAX)),
        Progress::refused(Error::Stale)
    );
    memory::give_page(page)?;
    child.end()?;
    area.close()
}

fn capabilities_end() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let child = Child::with_pages(1)?;
    child.bound(|| Ok(stubs::page_accept(1)?))?;
    let page = memory::take_page()?;
    let words = mint_pages(page, 1, ALL)?;
    give(page, 1, child.owner()).unless_stopped()?;
    check_eq!(
        insert_by(at, page, &words, 1, Access::READ),
        Progress::refused(Error::Stale)
    );
    child.end()?;
    area.close()
}

fn allowance_of_the_receiver() -> Outcome {
    let child = Child::with_pages(1)?;
    child.bound(|| Ok(stubs::page_accept(u32::MAX)?))?;
    let first = take_run(2)?;
    check_eq!(
        give(first, 2, child.owner()),
        Progress {
            done: 1,
            stopped: Some(Error::OverAllowance)
        }
    );
    give_run(nth(first, 1), 1)?;
    child.end()
}

/// Runs that were stamped apart become one, for which a capability can be minted.
fn retired_pages_are_alike() -> Outcome {
    let first = take_run(1)?;
    give_run(first, 1)?;
    let pages = take_run(3)?;
    stubs::page_retire(PageRun::Owned(nth(pages, 1)), 1).unless_stopped()?;
    check_eq!(mint_pages(pages, 3, ALL), Err(Error::Stale));
    stubs::page_retire(PageRun::Owned(pages), 3).unless_stopped()?;
    mint_pages(pages, 3, ALL)?;
    let epochs = [0, 1, 2].map(|offset| record(nth(pages, offset)).map(|record| record.stamp));
    let [one, two, three] = epochs;
    let one = one?;
    check_eq!((two?, three?), (one, one));
    give_run(pages, 3)
}

fn limits_on_others() -> Outcome {
    let area = Area::new()?;
    let child = Child::with_pages(1)?;
    let full = Progress::refused(Error::LimitReached);
    let page = child.bound(|| {
        let page = memory::take_page()?;
        check_eq!(record(page)?.stamp.limit(), DEFAULT_LIMIT);
        stubs::page_limit(page, 1, 2).unless_stopped()?;
        // This space is another account's.
        for index in 0..2 {
            insert(place(Area::address(index))?, page, 1, RW).unless_stopped()?;
        }
        check_eq!(insert(place(Area::address(2))?, page, 1, RW), full);
        check_eq!((record(page)?.references, record(page)?.foreign), (2, 2));
        // Those that there are stay when it is lowered.
        stubs::page_limit(page, 1, 0).unless_stopped()?;
        check!(catch::read(Area::address(1)).is_ok());
        Ok(page)
    })?;
    remove(place(Area::address(0))?, 2).unless_stopped()?;
    child.bound(|| {
        check_eq!(insert(place(Area::address(0))?, page, 1, RW), full);
        stubs::page_limit(page, 1, 1).unless_stopped()?;
        insert(place(Area::address(0))?, page, 1, RW).unless_stopped()?;
        Ok(())
    })?;
    remove(place(Area::address(0))?, 1).unless_stopped()?;
    child.end()?;
    area.close()
}

fn own_references_are_free() -> Outcome {
    let area = Area::new()?;
    let page = memory::take_page()?;
    stubs::page_limit(page, 1, 0).unless_stopped()?;
    for index in 0..100 {
        insert(place(Area::address(index))?, page, 1, RW).unless_stopped()?;
    }
    check_eq!((record(page)?.references, record(page)?.foreign), (100, 0));
    remove(place(Area::address(0))?, 64).unless_stopped()?;
    remove(place(Area::address(64))?, 36).unless_stopped()?;
    memory::give_page(page)?;
    area.close()
}

/// Maps `page` as the first `count` pages of the area.
fn map_often(page: PageNumber, count: u64) -> Outcome {
    for index in 0..count {
        insert(place(Area::address(index))?, page, 1, RW).unless_stopped()?;
    }
    Ok(())
}

fn breaking_resumes() -> Outcome {
    let area = Area::new()?;
    let page = memory::take_page()?;
    let many = 2 * BREAK_BOUND + 10;
    map_often(page, many)?;
    let mut calls = 0;
    loop {
        calls += 1;
        let broken = break_all(page, 1);
        check_eq!(broken.superpages, 0);
        let left = record(page)?;
        if broken.progress.unless_stopped()? == 1 {
            check_eq!((left.references, left.marks), (0, 0));
            break;
        }
        check_eq!(u64::from(left.references), many - calls * BREAK_BOUND);
        check!(left.is_leaving());
    }
    check_eq!(calls, 3);
    for index in 0..many {
        check!(
            catch::read(Area::address(index)).is_err(),
            "page {index} is mapped"
        );
    }
    memory::give_page(page)?;
    area.close()
}

fn leaving_pages_are_not_bound() -> Outcome {
    let area = Area::new()?;
    let page = memory::take_page()?;
    map_often(page, BREAK_BOUND + 1)?;
    let words = mint_pages(page, 1, ALL)?;
    check_eq!(break_all(page, 1).progress.unless_stopped(), Ok(0));
    let at = place(Area::address(500))?;
    let leaving = Progress::refused(Error::Leaving);
    check_eq!(insert(at, page, 1, RW), leaving);
    check_eq!(insert_by(at, page, &words, 1, RW), leaving);
    check_eq!(memory::give_page(page), Err(Error::InUse));
    check_eq!(
        give(page, 1, own_account()?).stopped,
        Some(Error::InUse),
        "giving a page that is leaving"
    );
    check_eq!(break_all(page, 1).progress.unless_stopped(), Ok(1));
    insert_by(at, page, &words, 1, RW).unless_stopped()?;
    remove(at, 1).unless_stopped()?;
    memory::give_page(page)?;
    area.close()
}

fn counts_are_bounded() -> Outcome {
    let many = RECORD_BOUND + 4;
    let first = take_run(many)?;
    let bad = Progress::refused(Error::BadCount);
    check_eq!(break_all(first, 0).progress, bad);
    check_eq!(stubs::page_retire(PageRun::Owned(first), 0), bad);
    check_eq!(stubs::page_limit(first, 0, 1), bad);
    check_eq!(give(first, 0, own_account()?), bad);
    let done = |progress: Progress| progress.unless_stopped();
    check_eq!(done(break_all(first, many).progress), Ok(RECORD_BOUND));
    check_eq!(
        done(stubs::page_retire(PageRun::Owned(first), many)),
        Ok(RECORD_BOUND)
    );
    check_eq!(done(stubs::page_limit(first, many, 7)), Ok(RECORD_BOUND));
    check_eq!(record(nth(first, RECORD_BOUND - 1))?.stamp.limit(), 7);
    check_eq!(
        record(nth(first, RECORD_BOUND))?.stamp.limit(),
        DEFAULT_LIMIT
    );
    check_eq!(record(first)?.kind, FrameType::Plain);
    // A page that is not there any more stops them.
    memory::give_page(nth(first, 2))?;
    let stopped = Progress {
        done: 2,
        stopped: Some(Error::NotYours),
    };
    check_eq!(stubs::page_retire(PageRun::Owned(first), 9), stopped);
    check_eq!(break_all(first, 9).progress, stopped);
    check_eq!(stubs::page_limit(first, 9, 1), stopped);
    stubs::page_alloc(exopi_rt::PageSelect::Exact(nth(first, 2)), 1)
        .progress
        .unless_stopped()?;
    give_run(first, many)
}
