//! Owners that die: at each step of what they do, and with much of it, while others' frames come.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::net::{Completion, EntrySize, Filter, Piece, Ring, Send};
use exopi_rt::{Error, PageNumber, environment, memory};

use super::{
    RINGS, Wire, byte_at, expect, expect_none, filter, first_send, frame, root, settle, used,
};
use crate::area::place;
use crate::harness::{Failure, Outcome, Suite};
use crate::peer::{self, Peer};

pub(crate) const SUITE: Suite = Suite {
    name: "frame_owners",
    cases: &[
        ("die_at_each_step", die_at_each_step),
        ("die_with_a_hundred_filters", die_with_a_hundred_filters),
    ],
};

/// How far the owner has come, how far it may, and the pages that it has taken.
static REACHED: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(0);
static PAGES: [AtomicU64; 12] = [const { AtomicU64::new(0) }; 12];

/// Rings of owners are behind those of the case.
const THEIRS: u64 = RINGS + 256 * PAGE_SIZE;
/// What the owner says if something is refused.
const REFUSED: u64 = 1 << 32;

/// Waits here for its end, once it has come as far as it may.
fn reach(step: u64) {
    REACHED.store(step, Ordering::Release);
    while step >= LIMIT.load(Ordering::Acquire) {
        environment::yield_now();
    }
}

fn ring(index: u64) -> Result<Ring, Error> {
    let at = exopi_rt::VirtAddr::new(THEIRS + index * PAGE_SIZE).ok_or(Error::BadAddress)?;
    let ring = Ring::create(at, 1, EntrySize::WHOLE, Some(3))?;
    let [page, ..] = ring.pages() else {
        return Err(Error::BadCount);
    };
    PAGES[index as usize].store(u64::from(page.get()), Ordering::Relaxed);
    Ok(ring)
}

/// One step after the other.
fn steps() -> Result<(), Error> {
    let all = Send::Owned(exopi_rt::net::first_send(super::LOOPBACK).ok_or(Error::Stale)?);
    reach(1);
    let one = ring(0)?;
    reach(2);
    let name = filter(0x8901, Some(&one))?;
    reach(3);
    let other = ring(1)?;
    Filter::Owned(name).share(other.name())?;
    reach(4);
    Filter::Owned(name).split(&[byte_at(14, 0)])?;
    reach(5);
    for value in 0..10 {
        Filter::Owned(name).insert(0, &[byte_at(14, value)], Some(one.name()))?;
    }
    reach(6);
    Filter::Owned(exopi_rt::net::root(super::LOOPBACK).ok_or(Error::Stale)?).tap(other.name())?;
    reach(7);
    let narrow = all.refine(&[byte_at(0, 2)])?;
    reach(8);
    Send::Owned(narrow).refine(&[byte_at(1, 0)])?;
    reach(9);
    let piece = Piece {
        page: one.pages()[0],
        offset: 0,
        length: 60,
        last: true,
    };
    all.transmit(&[piece; 8], Completion::Nowhere)
        .unless_stopped()?;
    reach(10);
    Filter::Owned(name).route(other.name()).err();
    Filter::Owned(name).retire()?;
    reach(11);
    one.close()?;
    reach(LAST);
    Ok(())
}

/// The last step.
const LAST: u64 = 12;

fn owner(_: u64) {
    peer::begin();
    if let Err(error) = steps() {
        REACHED.store(REFUSED | error as u64, Ordering::Release);
    }
    loop {
        environment::yield_now();
    }
}

/// Waits until the owner has come to this step.
fn wait_for(step: u64) -> Outcome {
    crate::other::wait(
        || Ok(REACHED.load(Ordering::Acquire) >= step),
        || alloc::format!("it has come to step {:#x}", REACHED.load(Ordering::Relaxed)),
    )?;
    let reached = REACHED.load(Ordering::Acquire);
    check!(reached < REFUSED, "a call was refused: {:#x}", reached);
    Ok(())
}

/// Gives back the pages that a dead owner's rings were in.
fn give_back() -> Outcome {
    for (index, place_of) in PAGES.iter().enumerate() {
        let page = place_of.swap(0, Ordering::Relaxed);
        if page == 0 {
            continue;
        }
        let at = place(THEIRS + index as u64 * PAGE_SIZE)?;
        let page = PageNumber::new(page as u32);
        if exopi_rt::tables::mapping_of(at.get()).is_some() {
            // SAFETY: whoever used it is dead.
            unsafe { memory::unmap_and_give(at, page) }?;
        }
    }
    Ok(())
}

fn die_at_each_step() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut innocent = wire.ring(2)?;
    let name = filter(0x8801, Some(&innocent))?;
    let mine = used()?;
    for step in 1..=LAST {
        REACHED.store(0, Ordering::Relaxed);
        LIMIT.store(step, Ordering::Relaxed);
        let core = step % exopi_rt::exposed::machine().cores;
        let peer = Peer::here(0, core, owner, 0)?;
        wait_for(step)?;
        for kind in [0x8901, 0x8801] {
            wire.send(&frame(kind, 120, step as u8))?;
        }
        peer.end()?;
        wire.send(&frame(0x8901, 121, step as u8))?;
        wire.send(&frame(0x8801, 121, step as u8))?;
        settle(mine)?;
        give_back()?;
        expect(&mut innocent, &frame(0x8801, 120, step as u8))?;
        expect(&mut innocent, &frame(0x8801, 121, step as u8))?;
        expect_none(&innocent)?;
    }
    innocent.close()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

/// Filters and rings of one owner.
const FILTERS: u16 = 100;
const OWNED_RINGS: u64 = 10;

fn rich() -> Result<(), Error> {
    let mut rings = Vec::new();
    for index in 0..OWNED_RINGS {
        rings.push(ring(index)?);
    }
    for number in 0..FILTERS {
        let ring = rings.get(usize::from(number) % rings.len());
        filter(0xa000 + number, ring)?;
    }
    reach(1);
    Ok(())
}

fn rich_owner(_: u64) {
    peer::begin();
    if let Err(error) = rich() {
        REACHED.store(REFUSED | error as u64, Ordering::Release);
    }
    loop {
        environment::yield_now();
    }
}

fn die_with_a_hundred_filters() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut innocent = wire.ring(4)?;
    let name = filter(0x8801, Some(&innocent))?;
    let mine = used()?;
    root()?;
    first_send()?;
    REACHED.store(0, Ordering::Relaxed);
    LIMIT.store(1, Ordering::Relaxed);
    let core = 1 % exopi_rt::exposed::machine().cores;
    let mut peer = Some(Peer::here(0, core, rich_owner, 0)?);
    wait_for(1)?;
    check_eq!(used()?[0], mine[0] + u32::from(FILTERS));
    // In full traffic: theirs and ours by turns, and somewhere in the middle it dies.
    for number in 0..400_u32 {
        wire.send(&frame(
            0xa000 + (number % u32::from(FILTERS)) as u16,
            1514,
            number as u8,
        ))?;
        wire.send(&frame(0x8801, 300, number as u8))?;
        expect(&mut innocent, &frame(0x8801, 300, number as u8))?;
        if number == 200 {
            peer.take()
                .map_or(Err(Failure::new("no peer")), Peer::end)?;
        }
    }
    expect_none(&innocent)?;
    settle(mine)?;
    give_back()?;
    innocent.close()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}
