//! Packet rings: what comes into them, what a full one loses, and what their owners may do to themselves.

use core::sync::atomic::{AtomicU32, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::net::{EntryFlags, EntrySize, Filter, KERNEL, MAX_TAPS, NO_NOTICE, PROGRAM};
use exopi_rt::uarea::{Entry, UpcallClass};
use exopi_rt::{Error, Object, PageNumber, PageRun, UserBytes, exposed, memory, stubs, upcall};

use super::{RINGS, Wire, expect, expect_none, filter, frame, interface, root, settle, used};
use crate::area::record;
use crate::domain::own_name;
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "rings",
    cases: &[
        ("full_rings_lose_and_count", full_rings_lose_and_count),
        (
            "garbage_harms_its_writer_alone",
            garbage_harms_its_writer_alone,
        ),
        ("small_entries_hold_the_begin", small_entries_hold_the_begin),
        ("pages_stay_until_the_end", pages_stay_until_the_end),
        ("pages_of_others_are_refused", pages_of_others_are_refused),
        ("a_notice_tells_of_frames", || {
            deaf(a_notice_tells_of_frames)
        }),
        ("taps_see_both_ways", taps_see_both_ways),
        ("a_flood_of_nobodys_frames", a_flood_of_nobodys_frames),
    ],
};

/// Runs a case in which this program takes no notices, so that they can be seen to wait.
fn deaf(case: fn() -> Outcome) -> Outcome {
    let before = upcall::entry(UpcallClass::Notice);
    // SAFETY: there is no handler.
    unsafe { upcall::set_entry(UpcallClass::Notice, Entry { pc: 0, sp: 0 }) };
    let outcome = case();
    // SAFETY: it was in force before.
    unsafe { upcall::set_entry(UpcallClass::Notice, before) };
    outcome
}

fn full_rings_lose_and_count() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let (mut small, mut large) = (wire.ring(1)?, wire.ring(4)?);
    let name = filter(0x8801, Some(&small))?;
    Filter::Owned(name).share(large.name())?;
    let no_room = interface()?.no_room;
    for number in 0..5 {
        wire.send(&frame(0x8801, 90, number))?;
    }
    check_eq!(interface()?.no_room, no_room + 3);
    let told = exposed::ring_at(small.name().index).ok_or_else(|| Failure::new("no record"))?;
    check_eq!((told.frames, told.lost), (2, 3));
    for number in 0..5 {
        expect(&mut large, &frame(0x8801, 90, number))?;
    }
    expect(&mut small, &frame(0x8801, 90, 0))?;
    expect(&mut small, &frame(0x8801, 90, 1))?;
    expect_none(&small)?;
    wire.send(&frame(0x8801, 90, 9))?;
    let Some(entry) = small.take() else {
        return Err(Failure::new("an entry that was returned stays empty"));
    };
    check_eq!(entry.header.lost, 3);
    drop(entry);
    for ring in [small, large] {
        ring.close()?;
    }
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

fn garbage_harms_its_writer_alone() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let hostile = wire.ring(2)?;
    let mut innocent = wire.ring(4)?;
    let name = filter(0x8801, Some(&hostile))?;
    Filter::Owned(name).share(innocent.name())?;
    let words = 2 * PAGE_SIZE as usize / 4;
    for round in 0..32_u32 {
        for index in 0..words {
            // SAFETY: the ring's two pages are mapped there.
            let word = unsafe { &*((RINGS as usize + 4 * index) as *const AtomicU32) };
            word.store(
                round.wrapping_mul(0x9e37_79b9) ^ index as u32,
                Ordering::Relaxed,
            );
        }
        // One entry is the kernel's now and then, in the middle of what is not.
        // SAFETY: as above.
        let state =
            unsafe { &*((RINGS as usize + 2048 * (round as usize % 4)) as *const AtomicU32) };
        state.store(KERNEL, Ordering::Release);
        wire.send(&frame(0x8801, 1514, round as u8))?;
        expect(&mut innocent, &frame(0x8801, 1514, round as u8))?;
    }
    let told = exposed::ring_at(hostile.name().index).ok_or_else(|| Failure::new("no record"))?;
    check_eq!(told.frames + told.lost, 32);
    check!(told.next < 4, "the cursor has left the ring: {}", told.next);
    hostile.close()?;
    innocent.close()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

fn small_entries_hold_the_begin() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring_of(1, EntrySize::new(6)?, None)?;
    let name = filter(0x8801, Some(&ring))?;
    for number in 0..70 {
        let sent = frame(0x8801, 500, number);
        wire.send(&sent)?;
        let Some(entry) = ring.take() else {
            return Err(Failure::new("no frame has come"));
        };
        check_eq!((entry.header.length, entry.header.stored), (500, 32));
        check!(entry.frame() == &sent[..32], "another begin");
    }
    ring.close()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

fn pages_stay_until_the_end() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring(2)?;
    let name = filter(0x8801, Some(&ring))?;
    let page = ring.pages()[1];
    let freed = stubs::page_free(PageRun::Owned(page), 1);
    check_eq!((freed.done, freed.stopped), (0, Some(Error::InUse)));
    check_eq!(
        record(page)?.marks & exopi_rt::page::PageRecord::MAX_PINS,
        1
    );
    // Another one in its place, and it is free to go; and one more behind.
    let more = [memory::take_page()?, memory::take_page()?];
    let named = Object::Owned(ring.name());
    check_eq!(
        stubs::pktring_modring(named, 3, more[0]),
        Err(Error::OutOfRange)
    );
    stubs::pktring_modring(named, 1, more[0])?;
    stubs::pktring_modring(named, 2, more[1])?;
    check_eq!(
        record(page)?.marks & exopi_rt::page::PageRecord::MAX_PINS,
        0
    );
    wire.send(&frame(0x8801, 64, 1))?;
    expect(&mut ring, &frame(0x8801, 64, 1))?;
    ring.close()?;
    for page in more {
        memory::give_page(page)?;
    }
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

/// Asks for a ring of these pages.
fn ask(entry: u64, pages: &[u64], notice: u64) -> Result<exopi_rt::domain::ObjectName, Error> {
    let bytes = alloc::vec::Vec::from_iter(pages.iter().flat_map(|page| page.to_le_bytes()));
    stubs::pktring_setring(entry, UserBytes::from(&bytes[..]), notice)
}

fn pages_of_others_are_refused() -> Outcome {
    let before = used()?;
    let mine = memory::take_page()?;
    let number = u64::from(mine.get());
    let table = exopi_rt::environment::own()
        .and_then(exposed::environment)
        .ok_or_else(|| Failure::new("no record"))?
        .uarea;
    let free = (0..exposed::page_count() as u32)
        .map(PageNumber::new)
        .find(|page| {
            exposed::page(*page).is_some_and(|it| it.kind == exopi_rt::page::FrameType::Free)
        })
        .ok_or_else(|| Failure::new("no page is free"))?;
    for (pages, error) in [
        (&[number, 0][..], Error::NotYours),
        (&[number, u64::from(table)], Error::WrongType),
        (&[number, free.get().into()], Error::NotYours),
        (&[number, exposed::page_count()], Error::OutOfRange),
        (&[number, 1 << 32], Error::OutOfRange),
        (&[number, u64::MAX], Error::OutOfRange),
        (&[], Error::BadCount),
        (&[number; 65], Error::BadCount),
    ] {
        check_eq!(ask(11, pages, NO_NOTICE), Err(error), "{pages:x?}");
    }
    for entry in [0, 5, 13, u64::MAX] {
        check_eq!(ask(entry, &[number], NO_NOTICE), Err(Error::Malformed));
    }
    check_eq!(ask(11, &[number], NO_NOTICE + 1), Err(Error::Malformed));
    check_eq!(record(mine)?.references, 0, "a refused call has pinned it");
    memory::give_page(mine)?;
    check_eq!(used()?, before);
    Ok(())
}

/// The notice of the case, which nobody else uses.
const BIT: u8 = 29;

fn a_notice_tells_of_frames() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring_of(1, EntrySize::WHOLE, Some(BIT))?;
    let name = filter(0x8801, Some(&ring))?;
    let waits = || -> Result<bool, Failure> {
        let record = exposed::environment(own_name()?);
        let record = record.ok_or_else(|| Failure::new("no record of this environment"))?;
        Ok(record.notices >> BIT & 1 != 0)
    };
    check!(!waits()?, "a notice of nothing");
    wire.send(&frame(0x8802, 64, 1))?;
    check!(!waits()?, "a notice of somebody else's frame");
    wire.send(&frame(0x8801, 64, 1))?;
    check!(waits()?, "no notice");
    expect(&mut ring, &frame(0x8801, 64, 1))?;
    ring.close()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

fn taps_see_both_ways() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring(4)?;
    let name = filter(0x8801, None)?;
    check_eq!(
        Filter::Owned(name).tap(ring.name()),
        Err(Error::MissingRight)
    );
    let root = Filter::Owned(root()?);
    root.tap(ring.name())?;
    check_eq!(root.tap(ring.name()), Err(Error::Occupied));
    wire.send(&frame(0x8801, 111, 1))?;
    for flags in [EntryFlags::TAP | EntryFlags::SENT, EntryFlags::TAP] {
        let Some(entry) = ring.take() else {
            return Err(Failure::new("no frame has come"));
        };
        check_eq!((entry.header.flags, entry.header.filter), (flags, 0));
        check!(entry.frame() == &frame(0x8801, 111, 1)[..], "another frame");
    }
    let mut more = alloc::vec::Vec::new();
    for _ in 1..MAX_TAPS {
        let ring = wire.ring(1)?;
        root.tap(ring.name())?;
        more.push(ring);
    }
    let last = wire.ring(1)?;
    check_eq!(root.tap(last.name()), Err(Error::LimitReached));
    more.push(last);
    for ring in more {
        ring.close()?;
    }
    ring.close()?;
    check_eq!(interface()?.taps, 0);
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

fn a_flood_of_nobodys_frames() -> Outcome {
    const FRAMES: u64 = 2000;
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring(1)?;
    let name = filter(0x8801, Some(&ring))?;
    let unclaimed = interface()?.unclaimed;
    for number in 0..FRAMES {
        wire.send(&frame(0x9000 + (number % 1000) as u16, 64, number as u8))?;
        if number % 100 == 0 {
            wire.send(&frame(0x8801, 64, number as u8))?;
            expect(&mut ring, &frame(0x8801, 64, number as u8))?;
        }
    }
    check_eq!(interface()?.unclaimed, unclaimed + FRAMES);
    expect_none(&ring)?;
    check_eq!(PROGRAM, 1);
    ring.close()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}
