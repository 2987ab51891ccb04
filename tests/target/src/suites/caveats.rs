//! Caveats: what a holder takes away stays away, and what the kernel issues from a capability allows no more.

use exopi_rt::capability::{
    Badge, CAPABILITY_WORDS, Capability, Epoch, Identity, PageRights, Restriction, Rights, Second,
};
use exopi_rt::{
    Access, Error, Object, PageNumber, Progress, UserCapabilityMut, memory, stubs, time,
};

use crate::area::{Area, RW, give_run, place, remove, take_run};
use crate::catch;
use crate::domain::own_name;
use crate::granted::{
    ALL, READ_WRITE, Words, attenuate, check_maps, insert_by, masked, mint_pages, present, run,
};
use crate::harness::{Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "caveats",
    cases: &[
        ("masks_take_rights_away", masks_take_rights_away),
        ("caveats_stay", caveats_stay),
        ("holders_alone", holders_alone),
        ("times_end", times_end),
        ("narrowed_by_the_kernel", narrowed_by_the_kernel),
    ],
};

/// Readable.
const R: Access = Access::READ;

fn refused(error: Error) -> Progress {
    Progress::refused(error)
}

fn masks_take_rights_away() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let good = mint_pages(page, 1, ALL)?;
    let readable = masked(&good, PageRights::READ)?;
    // A wider mask gives nothing back.
    let wide = masked(&readable, ALL)?;
    for words in [readable, wide] {
        check_eq!(
            insert_by(at, page, &words, 1, RW),
            refused(Error::MissingRight)
        );
        check_eq!(
            stubs::page_free(run(page, &words)?, 1),
            refused(Error::MissingRight)
        );
        insert_by(at, page, &words, 1, R).unless_stopped()?;
        // SAFETY: the kernel must refuse it.
        let grown = unsafe { stubs::protect_pte(Object::Own, at, 1, RW) };
        check_eq!(grown, refused(Error::MissingRight));
        // SAFETY: the kernel must make it fault.
        check!(unsafe { catch::write(at.get(), 1) }.is_err());
        remove(at, 1).unless_stopped()?;
    }
    let nothing = masked(&good, PageRights::empty())?;
    check_eq!(
        insert_by(at, page, &nothing, 1, R),
        refused(Error::MissingRight)
    );
    memory::give_page(page)?;
    area.close()
}

/// What was sealed in cannot be taken out, changed or put in another order.
fn caveats_stay() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let good = mint_pages(page, 1, READ_WRITE)?;
    let badge = |value| {
        Badge::new(value)
            .map(Restriction::Badge)
            .ok_or(Error::OutOfRange)
    };
    let once = masked(&good, PageRights::READ)?;
    let twice = attenuate(&once, badge(5)?)?;
    let thrice = attenuate(&twice, badge(6)?)?;
    check_maps(at, page, &thrice, R)?;
    check_eq!(
        Capability::from_words(thrice)?.attenuate(badge(7)?),
        Err(Error::CaveatsFull)
    );
    // Word 2: caveat << 32 | used << 8 | kind; word 3: two caveats.
    let mut without_last = thrice;
    without_last[2] -= 1 << 8;
    without_last[3] &= 0xffff_ffff;
    let mut without_any = once;
    without_any[2] &= 0xff;
    let mut other_order = thrice;
    other_order[3] = thrice[3].rotate_left(32);
    let mut wider = once;
    wider[2] |= u64::from(PageRights::WRITE.bits()) << 32;
    for words in [without_last, without_any, other_order, wider] {
        check_eq!(insert_by(at, page, &words, 1, R), refused(Error::WrongSeal));
    }
    let mut miscounted = thrice;
    miscounted[2] -= 1 << 8;
    check_eq!(
        insert_by(at, page, &miscounted, 1, R),
        refused(Error::Malformed)
    );
    memory::give_page(page)?;
    area.close()
}

fn holders_alone() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let good = mint_pages(page, 1, READ_WRITE)?;
    let me = own_name()?.identity();
    check_maps(at, page, &attenuate(&good, Restriction::Holder(me))?, RW)?;
    let neighbour = Identity {
        index: me.index ^ 1,
        epoch: me.epoch,
    };
    let words = attenuate(&good, Restriction::Holder(neighbour))?;
    check_eq!(
        insert_by(at, page, &words, 1, R),
        refused(Error::WrongHolder)
    );
    // The hint looks right: the one before at the same index, and one whose index has more bits.
    let epoch = Epoch::from_bits(me.epoch.bits() + 1).ok_or(Error::Exhausted)?;
    let index = me.index | 1 << 24;
    for other in [Identity { epoch, ..me }, Identity { index, ..me }] {
        let words = attenuate(&good, Restriction::Holder(other))?;
        check_eq!(insert_by(at, page, &words, 1, R), refused(Error::WrongSeal));
    }
    memory::give_page(page)?;
    area.close()
}

fn times_end() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let page = memory::take_page()?;
    let good = mint_pages(page, 1, ALL)?;
    let until = |second| {
        let second = Second::new(second).ok_or(Error::OutOfRange)?;
        attenuate(&good, Restriction::Until(second))
    };
    check_eq!(
        insert_by(at, page, &until(0)?, 1, R),
        refused(Error::Expired)
    );
    // A mapping would not end with it; a call that binds nothing is fine.
    let late = until(Second::MAX.get())?;
    check_eq!(
        insert_by(at, page, &late, 1, R),
        refused(Error::TimeLimited)
    );
    stubs::page_retire(run(page, &late)?, 1).unless_stopped()?;
    memory::give_page(page)?;
    // It ends when its second begins, counted from boot.
    let page = memory::take_page()?;
    let machine = exopi_rt::exposed::machine();
    let now = || (time::ticks() - machine.entry_ticks) / machine.ticks_per_second;
    let good = mint_pages(page, 1, ALL)?;
    let second = Second::new(now() as u32 + 1).ok_or(Error::OutOfRange)?;
    let words = attenuate(&good, Restriction::Until(second))?;
    let before = insert_by(at, page, &words, 1, R);
    let still = now() < u64::from(second.get());
    check!(
        !still || before == refused(Error::TimeLimited),
        "in time it gives {before:?}"
    );
    while now() < u64::from(second.get()) {}
    check_eq!(insert_by(at, page, &words, 1, R), refused(Error::Expired));
    memory::give_page(page)?;
    area.close()
}

fn narrowed_by_the_kernel() -> Outcome {
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
