//! Frames by the interface whose cable leads back to it: rows, and calls that do as much as one call may.

use exopi_rt::domain::ObjectName;
use exopi_rt::net::{
    self, Atom, Completion, EntrySize, Filter, MAX_REFERENCES, MAX_RING_PAGES, MAX_TAPS,
    MOST_FRAME, Operation, Piece, Ring, Send, Width,
};
use exopi_rt::{Error, Object, PageNumber, UserBytes, VirtAddr, memory, stubs};

/// The interface.
const LOOPBACK: usize = 0;
/// Where rings are, a page each, far from all else.
const RINGS: u64 = 0x44_0000_0000;

fn at(offset: u16, value: u64) -> Atom {
    Operation::Equal {
        offset,
        width: Width::Bits16,
        mask: 0xffff,
        value,
    }
    .encode()
}

fn root() -> Result<Filter<'static>, Error> {
    Ok(Filter::Owned(net::root(LOOPBACK).ok_or(Error::Stale)?))
}

fn all() -> Result<Send<'static>, Error> {
    Ok(Send::Owned(net::first_send(LOOPBACK).ok_or(Error::Stale)?))
}

/// Makes calls that do as much as one may.
///
/// # Errors
/// One was refused.
pub(crate) fn longest() -> Result<(), Error> {
    let pages = take_pages()?;
    // As many fields in a key as there can be, far apart, so that each is code of its own.
    let asked: [Atom; 8] = core::array::from_fn(|index| at(12 + 4 * index as u16, 0));
    let values: [Atom; 8] = core::array::from_fn(|index| at(12 + 4 * index as u16, 0));
    let key = root()?.split(&asked)?;
    copies(key, &values, pages[0])?;
    whole_ring(&pages)?;
    family(key, &values)?;
    narrow()?;
    for page in pages {
        memory::give_page(page)?;
    }
    Ok(())
}

fn take_pages() -> Result<[PageNumber; MAX_RING_PAGES], Error> {
    let mut pages = [PageNumber::new(0); MAX_RING_PAGES];
    for page in &mut pages {
        *page = memory::take_page()?;
    }
    Ok(pages)
}

fn ring(index: u64) -> Result<Ring, Error> {
    let place = VirtAddr::new(RINGS).and_then(|at| at.plus(8 * index));
    Ring::create(
        place.ok_or(Error::BadAddress)?,
        8,
        EntrySize::WHOLE,
        Some(1),
    )
}

/// Frames of which as many copies are made as there can be, as many as a call sends.
fn copies(key: u64, values: &[Atom], page: PageNumber) -> Result<(), Error> {
    let filter = Filter::Owned(root()?.insert(key, values, None)?);
    let mut rings: [Option<Ring>; MAX_REFERENCES + MAX_TAPS] = [const { None }; _];
    for (index, place) in rings.iter_mut().enumerate() {
        let made = ring(index as u64)?;
        if index < MAX_REFERENCES {
            filter.share(made.name())?;
        } else {
            root()?.tap(made.name())?;
        }
        *place = Some(made);
    }
    // Zeros, as the filter wants them, in as many pieces as there can be.
    let pieces: [Piece; 16] = core::array::from_fn(|index| Piece {
        page,
        offset: 0,
        length: (MOST_FRAME / 8) as u16,
        last: index % 8 == 7,
    });
    let sent = all()?.transmit(&pieces, Completion::Word { page, index: 511 });
    sent.unless_stopped()?;
    for made in rings.into_iter().flatten() {
        made.close()?;
    }
    filter.delete()
}

/// A ring of as many pages as there can be, made and ended.
fn whole_ring(pages: &[PageNumber]) -> Result<(), Error> {
    let mut bytes = [0; 8 * MAX_RING_PAGES];
    for (place, page) in bytes.chunks_exact_mut(8).zip(pages) {
        place.copy_from_slice(&u64::from(page.get()).to_le_bytes());
    }
    let made = stubs::pktring_setring(11, UserBytes::from(&bytes[..]), net::NO_NOTICE)?;
    stubs::pktring_delring(Object::Owned(made))
        .unless_stopped()
        .map(drop)
}

/// A filter with some below it that have references, deleted in steps.
fn family(key: u64, values: &[Atom]) -> Result<(), Error> {
    let parent = Filter::Owned(root()?.insert(key, values, None)?);
    let below = parent.split(&[at(200, 0)])?;
    let ring = ring(0)?;
    let mut last: Option<ObjectName> = None;
    for value in 0..64 {
        last = Some(parent.insert(below, &[at(200, value)], Some(ring.name()))?);
    }
    if let Some(last) = last {
        Filter::Owned(last).retire()?;
    }
    ring.close()?;
    parent.delete()
}

/// A send capability that asks as much as one can, with some below it.
fn narrow() -> Result<(), Error> {
    let asked: [Atom; 40] = core::array::from_fn(|index| at(2 * index as u16, 0));
    let narrow = Send::Owned(all()?.refine(&asked)?);
    for _ in 0..20 {
        narrow.refine(&asked)?;
    }
    narrow.delete()
}
