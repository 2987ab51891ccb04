//! Capabilities: good for what they say, and for nothing once a bit is changed, a stamp or a caveat added.

use exopi_rt::capability::siphash::{Initial, Start};
use exopi_rt::capability::{
    Body, CAPABILITY_WORDS, Capability, Kind, PageRights, Seal, SpaceRights,
};
use exopi_rt::layout::{PAGE_SIZE, TABLES_BASE, USER_END};
use exopi_rt::page::FrameType;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::{
    Access, Error, Object, PageNumber, PageSource, Progress, UserCapabilityMut, memory, stubs,
};

use crate::area::{Area, RW, give_run, insert, place, record, remove, take_run};
use crate::catch;
use crate::domain::own_space;
use crate::granted::{
    ALL, READ_WRITE, check_maps, insert_by, masked, mint, mint_lasting, mint_pages, present,
    present_at, run,
};
use crate::harness::{Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "capabilities",
    cases: &[
        ("maps_what_it_says", maps_what_it_says),
        ("each_flipped_bit_is_refused", each_flipped_bit_is_refused),
        ("forged_seals", forged_seals),
        ("stale_after_retire", stale_after_retire),
        ("stale_after_free", stale_after_free),
        ("stale_after_being_a_table", stale_after_being_a_table),
        ("wrong_kinds", wrong_kinds),
        ("ranges_end", ranges_end),
        ("rights_of_each_call", rights_of_each_call),
        ("unreadable_places", unreadable_places),
        ("minting_is_for_owners", minting_is_for_owners),
        ("unwritable_places", unwritable_places),
        ("own_space_by_capability", own_space_by_capability),
    ],
};

/// Readable.
const R: Access = Access::READ;

fn refused(error: Error) -> Progress {
    Progress::refused(error)
}

fn maps_what_it_says() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let words = mint_pages(page, 1, READ_WRITE)?;
    let body = Capability::from_words(words)?;
    check_eq!(body.words(), words, "the words");
    insert_by(at, page, &words, 1, RW).unless_stopped()?;
    // SAFETY: the page is the case's own.
    unsafe { catch::write(at.get(), 7) }?;
    check_eq!(catch::read(at.get())?, 7);
    check_eq!(record(page)?.references, 1);
    remove(at, 1).unless_stopped()?;
    // Execution was not granted.
    check_eq!(
        insert_by(at, page, &words, 1, R | Access::EXECUTE),
        refused(Error::MissingRight)
    );
    memory::give_page(page)?;
    area.close()
}

/// All 384 of them, one at a time.
fn each_flipped_bit_is_refused() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let good = mint_pages(page, 1, READ_WRITE)?;
    // With a caveat all words mean something.
    for genuine in [good, masked(&good, READ_WRITE)?] {
        for bit in 0..CAPABILITY_WORDS * 64 {
            let mut words = genuine;
            words[bit / 64] ^= 1 << (bit % 64);
            let outcome = insert_by(at, page, &words, 1, R);
            let expected = matches!(
                outcome,
                Progress {
                    done: 0,
                    stopped: Some(Error::WrongSeal | Error::Malformed | Error::WrongHolder)
                }
            );
            check!(expected, "with bit {bit} flipped it gives {outcome:?}");
        }
        check_maps(at, page, &genuine, RW)?;
    }
    check_eq!(record(page)?.references, 0);
    memory::give_page(page)?;
    area.close()
}

fn forged_seals() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let epoch = record(page)?.stamp.epoch();
    let good = mint_pages(page, 1, READ_WRITE)?;
    let body = Body::new(READ_WRITE, page.get(), 1, epoch)?;
    let [.., low, high] = good;
    let mut guesses = [
        [0, 0],
        [u64::MAX, u64::MAX],
        [high, low],
        [low, 0],
        [0, high],
        // What a kernel would seal whose key is known: zeros.
        body.seal(Start::under([0, 0], Initial::KNOWN)).words(),
    ];
    for guess in &mut guesses {
        let forged = Capability::new(&body, Seal::from_words(*guess)).words();
        check_eq!(
            insert_by(at, page, &forged, 1, R),
            refused(Error::WrongSeal)
        );
    }
    // A genuine seal under another body: more rights, another page, more pages.
    for body in [
        Body::new(ALL, page.get(), 1, epoch)?,
        Body::new(READ_WRITE, page.get(), 2, epoch)?,
        Body::new(READ_WRITE, page.get() ^ 1, 1, epoch)?,
    ] {
        let forged = Capability::new(&body, Seal::from_words([low, high])).words();
        check_eq!(
            insert_by(at, page, &forged, 1, R),
            refused(Error::WrongSeal)
        );
    }
    memory::give_page(page)?;
    area.close()
}

fn stale_after_retire() -> Outcome {
    let area = Area::new()?;
    let [at, other] = [place(Area::address(0))?, place(Area::address(1))?];
    let page = memory::take_page()?;
    let words = mint_pages(page, 1, ALL)?;
    insert_by(at, page, &words, 1, R).unless_stopped()?;
    stubs::page_retire(run(page, &words)?, 1).unless_stopped()?;
    let outcomes = [
        insert_by(other, page, &words, 1, R),
        stubs::page_retire(run(page, &words)?, 1),
        stubs::page_free(run(page, &words)?, 1),
        // SAFETY: nothing in use is mapped there.
        unsafe { stubs::page_break(run(page, &words)?, 1) }.progress,
    ];
    for outcome in outcomes {
        check_eq!(outcome, refused(Error::Stale));
    }
    // What was bound stays, until it is broken.
    check!(catch::read(at.get()).is_ok());
    let fresh = mint_pages(page, 1, ALL)?;
    check_maps(other, page, &fresh, R)?;
    // SAFETY: nothing in use is mapped there.
    let broken = unsafe { stubs::page_break(run(page, &fresh)?, 1) };
    check_eq!(broken.progress.unless_stopped(), Ok(1));
    check!(catch::read(at.get()).is_err());
    stubs::page_free(run(page, &fresh)?, 1).unless_stopped()?;
    check_eq!(record(page)?.kind, FrameType::Free);
    area.close()
}

fn stale_after_free() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = take_run(1)?;
    let words = mint_pages(page, 1, ALL)?;
    give_run(page, 1)?;
    check_eq!(insert_by(at, page, &words, 1, R), refused(Error::Stale));
    check_eq!(take_run(1)?, page);
    check_eq!(insert_by(at, page, &words, 1, R), refused(Error::Stale));
    give_run(page, 1)?;
    area.close()
}

fn stale_after_being_a_table() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let [table, links] = [memory::take_page()?, memory::take_page()?];
    let words = [mint_pages(table, 1, ALL)?, mint_pages(links, 1, ALL)?];
    let level = exopi_rt::TableLevel::Three;
    let border = place(Area::address(512))?;
    crate::area::insert_table(border, level, table, links)?;
    for (page, words) in [table, links].into_iter().zip(&words) {
        check_eq!(
            insert_by(at, page, words, 1, R),
            refused(Error::Stale),
            "as a table"
        );
    }
    check_eq!(crate::area::remove_table(border, level)?, table);
    for (page, words) in [table, links].into_iter().zip(&words) {
        check_eq!(
            insert_by(at, page, words, 1, R),
            refused(Error::Stale),
            "after that"
        );
        memory::give_page(page)?;
    }
    area.close()
}

fn wrong_kinds() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let of_page = mint_pages(page, 1, ALL)?;
    let space = own_space()?;
    let of_space = mint(
        Kind::Space,
        space.index.into(),
        1,
        SpaceRights::all().bits().into(),
    )?;
    check_eq!(
        insert_by(at, page, &of_space, 1, R),
        refused(Error::WrongKind)
    );
    check_eq!(
        stubs::page_free(run(page, &of_space)?, 1),
        refused(Error::WrongKind)
    );
    // SAFETY: the kernel must refuse it.
    let mapped = unsafe {
        stubs::insert_pte(
            Object::Presented(present(&of_page)?),
            at,
            PageSource::owned(page),
            1,
            R,
        )
    };
    check_eq!(mapped, refused(Error::WrongKind));
    // SAFETY: the kernel must refuse it.
    let stopped = unsafe { stubs::env_stop(Object::Presented(present(&of_space)?)) };
    check_eq!(stopped, Err(Error::WrongKind));
    check_eq!(
        stubs::account_bind(Object::Presented(present(&of_page)?)),
        Err(Error::WrongKind)
    );
    memory::give_page(page)?;
    area.close()
}

fn ranges_end() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let first = take_run(6)?;
    let page = |offset: u32| PageNumber::new(first.get() + offset);
    // The middle four of six, which are stamped alike.
    stubs::page_retire(exopi_rt::PageRun::Owned(first), 6).unless_stopped()?;
    let words = mint_pages(page(1), 4, READ_WRITE)?;
    check_eq!(
        insert_by(at, page(0), &words, 1, R),
        refused(Error::OutOfRange)
    );
    check_eq!(
        insert_by(at, page(5), &words, 1, R),
        refused(Error::OutOfRange)
    );
    check_eq!(
        insert_by(at, page(3), &words, 4, R),
        Progress {
            done: 2,
            stopped: Some(Error::OutOfRange)
        }
    );
    remove(at, 2).unless_stopped()?;
    // One of them is stamped anew: the range has a hole.
    stubs::page_retire(exopi_rt::PageRun::Owned(page(3)), 1).unless_stopped()?;
    check_eq!(
        insert_by(at, page(1), &words, 4, R),
        Progress {
            done: 2,
            stopped: Some(Error::Stale)
        }
    );
    remove(at, 2).unless_stopped()?;
    check_eq!(mint_pages(page(1), 4, READ_WRITE), Err(Error::Stale));
    give_run(first, 6)?;
    area.close()
}

fn rights_of_each_call() -> Outcome {
    let page = memory::take_page()?;
    let missing = refused(Error::MissingRight);
    for (rights, retires, frees) in [
        (ALL.difference(PageRights::RETIRE), false, true),
        (ALL.difference(PageRights::FREE), true, false),
    ] {
        let words = mint_pages(page, 1, rights)?;
        if !retires {
            check_eq!(stubs::page_retire(run(page, &words)?, 1), missing);
            // SAFETY: the page is mapped nowhere.
            let broken = unsafe { stubs::page_break(run(page, &words)?, 1) };
            check_eq!(broken.progress, missing);
        }
        if !frees {
            check_eq!(stubs::page_free(run(page, &words)?, 1), missing);
        }
    }
    memory::give_page(page)?;
    Ok(())
}

/// Addresses that a capability cannot be read from: nothing mapped, misaligned, the kernel's, across a border.
fn unreadable_places() -> Outcome {
    let mut area = Area::new()?;
    let page = area.map(0, RW)?;
    let at = place(Area::address(8))?;
    let words = mint_pages(page, 1, READ_WRITE)?;
    let border = Area::address(1);
    // The first four words are there.
    let straddling = (border - 32) as *mut [u64; 4];
    // SAFETY: the page is mapped, and the case's own.
    unsafe { straddling.write_volatile([words[0], words[1], words[2], words[3]]) };
    for address in [border - 32, border, 8, USER_END - 48] {
        let run = exopi_rt::PageRun::Presented(page, present_at(address)?);
        // SAFETY: the kernel must refuse it.
        let outcome = unsafe { stubs::insert_pte(Object::Own, at, PageSource::Run(run), 1, R) };
        check_eq!(outcome, refused(Error::BadAddress), "at {address:#x}");
    }
    for address in [border - 31, USER_END - 40, USER_END, u64::MAX - 7, 1 << 63] {
        check_eq!(
            present_at(address).err(),
            Some(Error::BadAddress),
            "at {address:#x}"
        );
    }
    area.close()
}

fn minting_is_for_owners() -> Outcome {
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
    for kind in [Kind::Extent, Kind::Block] {
        let refused = mint(kind, 0, 1, 0);
        check!(refused.is_err(), "{kind:?} gives {refused:?}");
    }
    // The slice in which this program runs, and one that there is not.
    check!(mint(Kind::Slice, 0, 1, 0).is_ok());
    check_eq!(mint(Kind::Slice, 127, 1, 0), Err(Error::NotYours));
    check_eq!(mint(Kind::Slice, 512, 1, 0), Err(Error::OutOfRange));
    let space = own_space()?;
    check_eq!(
        mint(Kind::Space, space.index.into(), 2, 0),
        Err(Error::BadCount)
    );
    memory::give_page(page)?;
    Ok(())
}

/// Nothing is written where not everything can be.
fn unwritable_places() -> Outcome {
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

fn own_space_by_capability() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let space = u64::from(own_space()?.index);
    let map = mint_lasting(Kind::Space, space, 1, SpaceRights::MAP.bits().into())?;
    let join = mint_lasting(Kind::Space, space, 1, SpaceRights::JOIN.bits().into())?;
    // SAFETY: nothing is mapped there.
    let by_map = unsafe {
        let space = Object::Presented(present(&map)?);
        stubs::insert_pte(space, at, PageSource::owned(page), 1, RW)
    };
    check_eq!(by_map.unless_stopped(), Ok(1));
    check_eq!(insert(at, page, 1, R), refused(Error::Occupied));
    // SAFETY: the kernel must refuse it.
    let by_join = unsafe { stubs::remove_pte(Object::Presented(present(&join)?), at, 1) };
    check_eq!(by_join, refused(Error::MissingRight));
    // SAFETY: the case's own mapping.
    let removed = unsafe { stubs::remove_pte(Object::Presented(present(&map)?), at, 1) };
    check_eq!(removed.unless_stopped(), Ok(1));
    memory::give_page(page)?;
    area.close()
}
