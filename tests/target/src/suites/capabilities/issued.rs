//! Capabilities that the kernel makes: for owners, and narrower ones for holders.

use exopi_rt::capability::{CAPABILITY_WORDS, Kind, PageRights, Rights};
use exopi_rt::layout::{PAGE_SIZE, TABLES_BASE, USER_END};
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::{Error, PageNumber, UserCapabilityMut, memory, stubs};

use super::{R, refused};
use crate::area::{Area, RW, give_run, place, take_run};
use crate::domain::own_space;
use crate::granted::{
    ALL, READ_WRITE, Words, check_maps, insert_by, masked, mint, mint_pages, present, run,
};
use crate::harness::Outcome;

pub(super) fn minting_is_for_owners() -> Outcome {
    let [page, other] = [memory::take_page()?, memory::take_page()?];
    let number = |page: PageNumber| u64::from(page.get());
    let all = u64::from(ALL.bits());
    let mint_page = |index, count, rights| mint(Kind::Page, index, count, rights).err();
    check_eq!(mint_page(number(page), 0, all), Some(Error::BadCount));
    check_eq!(
        mint_page(number(page), 1, all | 1 << 6),
        Some(Error::Malformed)
    );
    check_eq!(
        mint_page(number(page), 1, all | 1 << 16),
        Some(Error::Malformed)
    );
    check_eq!(mint_page(1 << 32, 1, all), Some(Error::OutOfRange));
    check_eq!(
        mint_page(exopi_rt::exposed::page_count(), 1, all),
        Some(Error::OutOfRange)
    );
    // Page 0 is the kernel's.
    check_eq!(mint_page(0, 1, all), Some(Error::NotYours));
    memory::give_page(other)?;
    check_eq!(mint_page(number(other), 1, all), Some(Error::NotYours));
    // Kinds of which there is nothing yet.
    for kind in [Kind::Filter, Kind::Block, Kind::Slice] {
        let refused = mint(kind, 0, 1, 0);
        check!(refused.is_err(), "{kind:?} gives {refused:?}");
    }
    let space = own_space()?;
    check_eq!(
        mint(Kind::Space, space.index.into(), 2, 0),
        Err(Error::BadCount)
    );
    memory::give_page(page)?;
    Ok(())
}

/// Nothing is written where not everything can be.
pub(super) fn unwritable_places() -> Outcome {
    const MARK: u64 = 0x5555_aaaa_5555_aaaa;
    let mut area = Area::new()?;
    let page = area.map(1, RW)?;
    let [before, behind] = [Area::address(1), Area::address(2)];
    for word in (before..behind).step_by(8) {
        // SAFETY: the page is mapped, and the case's own.
        unsafe { (word as *mut u64).write_volatile(MARK) };
    }
    let into = |address| UserCapabilityMut::decode(&mut Arguments::new([address, 0, 0, 0, 0, 0]));
    let mint_at = |address| {
        let rights = ALL.bits().into();
        stubs::cap_mint(Kind::Page, page.get().into(), 1, rights, into(address)?)
    };
    // Each way in which it can lie across a border, on one side of which nothing is mapped.
    for words in 1..CAPABILITY_WORDS as u64 {
        for address in [before - 8 * words, behind - 8 * words] {
            check_eq!(mint_at(address), Err(Error::BadAddress), "at {address:#x}");
        }
    }
    for address in [TABLES_BASE, USER_END - PAGE_SIZE, USER_END - 48] {
        check_eq!(mint_at(address), Err(Error::BadAddress), "at {address:#x}");
    }
    for word in (before..behind).step_by(8) {
        // SAFETY: the page is mapped.
        let held = unsafe { (word as *const u64).read_volatile() };
        check_eq!(held, MARK, "at {word:#x}");
    }
    mint_at(behind - 48)?;
    area.close()
}

pub(super) fn narrowed_by_the_kernel() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let first = take_run(4)?;
    stubs::page_retire(exopi_rt::PageRun::Owned(first), 4).unless_stopped()?;
    let whole = masked(&mint_pages(first, 4, ALL)?, READ_WRITE)?;
    let narrow = |from: &Words, index: u32, count: u64, rights: PageRights| {
        let mut words = [0; CAPABILITY_WORDS];
        let into = UserCapabilityMut::from(&mut words);
        let rights = u64::from(Rights::from(rights).bits());
        stubs::cap_narrow(present(from)?, index.into(), count, rights, into).map(|()| words)
    };
    let second = first.get() + 1;
    let part = narrow(&whole, second, 2, ALL)?;
    check_maps(at, PageNumber::new(second), &part, RW)?;
    check_eq!(
        insert_by(at, first, &part, 1, R),
        refused(Error::OutOfRange)
    );
    // The mask was taken along.
    check_eq!(
        stubs::page_free(run(PageNumber::new(second), &part)?, 1),
        refused(Error::MissingRight)
    );
    let readable = narrow(&part, second, 1, PageRights::READ)?;
    check_eq!(
        insert_by(at, PageNumber::new(second), &readable, 1, RW),
        refused(Error::MissingRight)
    );
    check_eq!(narrow(&part, second, 0, ALL), Err(Error::BadCount));
    check_eq!(narrow(&part, second, 3, ALL), Err(Error::OutOfRange));
    check_eq!(narrow(&part, first.get(), 1, ALL), Err(Error::OutOfRange));
    let mut forged = part;
    forged[5] ^= 1;
    check_eq!(narrow(&forged, second, 1, ALL), Err(Error::WrongSeal));
    give_run(first, 4)?;
    area.close()
}
