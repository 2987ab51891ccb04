//! What the cases on frames have in common: an interface whose cable leads back to it, its one key, and frames.
//!
//! ```text
//!   AREA           tables of a case
//!   + 64 pages     the page that frames are sent from; its last word counts them
//!   + 80 pages ..  rings, 16 pages apart
//! ```

pub(crate) mod ending;
pub(crate) mod filters;
pub(crate) mod rings;
pub(crate) mod sending;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::domain::{ObjectName, Resource};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::net::{
    self, Atom, Completion, EntrySize, Filter, InterfaceRecord, Operation, Piece, Ring, Send, Width,
};
use exopi_rt::{Error, PageNumber, Progress, exposed, memory, println};

use crate::area::{AREA, Area, RW, place};
use crate::domain;
use crate::harness::{Failure, Outcome};

/// The interface whose cable leads back to it.
pub(crate) const LOOPBACK: usize = 0;
/// Its key by types of frames, split off before any case runs: it stays.
pub(crate) const BY_TYPE: u64 = 0;
/// Bytes before what a frame carries.
const HEADER: usize = 14;
/// Where frames are sent from.
const OUT: u64 = AREA + 64 * PAGE_SIZE;
/// The word of that page that counts frames that have gone.
const COUNT: u16 = 511;
/// Where rings are.
const RINGS: u64 = AREA + 80 * PAGE_SIZE;
/// Addresses of the frames: to anybody's, from ours.
const TO: [u8; 6] = [2, 0, 0, 0, 0, 9];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 8];

/// The type of a frame, as an atom.
pub(crate) fn of_type(kind: u16) -> Atom {
    Operation::Equal {
        offset: 12,
        width: Width::Bits16,
        mask: 0xffff,
        value: kind.into(),
    }
    .encode()
}

/// One byte, likewise.
pub(crate) fn byte_at(offset: u16, value: u8) -> Atom {
    Operation::Equal {
        offset,
        width: Width::Bits8,
        mask: 0xff,
        value: value.into(),
    }
    .encode()
}

/// Splits the interface by types, which lasts.
pub(crate) fn prepare() {
    let split = root().map(|root| Filter::Owned(root).split(&[of_type(0)]));
    if !matches!(split, Ok(Ok(BY_TYPE))) {
        println!("no key of types: {split:?}");
    }
}

/// The interface's first filter.
pub(crate) fn root() -> Result<ObjectName, Failure> {
    net::root(LOOPBACK).ok_or_else(|| Failure::new("no first filter"))
}

/// Its first send capability.
pub(crate) fn first_send() -> Result<ObjectName, Failure> {
    net::first_send(LOOPBACK).ok_or_else(|| Failure::new("no first send capability"))
}

/// Its record.
fn interface() -> Result<InterfaceRecord, Failure> {
    exposed::interface_at(LOOPBACK).ok_or_else(|| Failure::new("no interface"))
}

/// What the account of this program has used of filters and frames.
pub(crate) fn used() -> Result<[u32; 2], Failure> {
    let used = domain::account(domain::own_account()?.index())?.used;
    Ok([Resource::Filters, Resource::Frames].map(|resource| used[resource as usize]))
}

/// A frame of this type and length, whose contents tell its number.
fn frame(kind: u16, length: usize, number: u8) -> Vec<u8> {
    let mut frame: Vec<u8> = TO
        .into_iter()
        .chain(FROM)
        .chain(kind.to_be_bytes())
        .collect();
    frame.extend((HEADER..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(number)));
    frame
}

/// A case's area, and what it sends from.
pub(crate) struct Wire {
    area: Option<Area>,
    out: PageNumber,
    rings: u64,
}

impl Wire {
    fn new() -> Result<Self, Failure> {
        let area = Area::new()?;
        let out = memory::map_new(place(OUT)?, RW)?;
        let wire = Self {
            area: Some(area),
            out,
            rings: 0,
        };
        wire.count()?.store(0, Ordering::Relaxed);
        Ok(wire)
    }

    fn close(mut self) -> Outcome {
        self.clear()
    }

    fn clear(&mut self) -> Outcome {
        let Some(area) = self.area.take() else {
            return Ok(());
        };
        // SAFETY: nothing borrows from it, and no frame waits: the cable leads back.
        unsafe { memory::unmap_and_give(place(OUT)?, self.out) }?;
        area.close()
    }

    /// The word that counts what has gone.
    fn count(&self) -> Result<&AtomicU64, Failure> {
        let at = place(OUT)?.get() + u64::from(COUNT) * 8;
        // SAFETY: the page is mapped there while this lives, and the word is aligned.
        Ok(unsafe { &*(at as *const AtomicU64) })
    }

    /// Puts bytes into the page that is sent from.
    fn write(&self, offset: usize, bytes: &[u8]) {
        let at = (OUT as usize + offset) as *mut u8;
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: the page is mapped there while this lives; cases stay inside. The kernel reads it, too.
            unsafe { at.wrapping_add(index).write_volatile(*byte) };
        }
    }

    /// Bytes of that page, as a whole frame.
    fn piece(&self, offset: u16, length: u16) -> Piece {
        Piece {
            page: self.out,
            offset,
            length,
            last: true,
        }
    }

    const fn completion(&self) -> Completion {
        Completion::Word {
            page: self.out,
            index: COUNT,
        }
    }

    /// Sends a frame by a send capability.
    fn send_by(&self, send: Send<'_>, frame: &[u8]) -> Progress {
        self.write(0, frame);
        let piece = self.piece(0, frame.len() as u16);
        send.transmit(&[piece], self.completion())
    }

    /// Sends a frame.
    fn send(&self, frame: &[u8]) -> Result<u64, Failure> {
        let sent = self.send_by(Send::Owned(first_send()?), frame);
        Ok(sent.unless_stopped()?)
    }

    /// Makes a ring of entries for whole frames.
    fn ring(&mut self, pages: usize) -> Result<Ring, Failure> {
        self.ring_of(pages, EntrySize::WHOLE, None)
    }

    /// Makes a ring.
    fn ring_of(
        &mut self,
        pages: usize,
        entry: EntrySize,
        notice: Option<u8>,
    ) -> Result<Ring, Failure> {
        let at = place(RINGS + self.rings * 16 * PAGE_SIZE)?;
        self.rings += 1;
        Ok(Ring::create(at, pages, entry, notice)?)
    }
}

/// For cases that end early: they have failed, and the next one is to find the place empty.
impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// A filter below the root for frames of this type.
fn filter(kind: u16, ring: Option<&Ring>) -> Result<ObjectName, Error> {
    let root = net::root(LOOPBACK).ok_or(Error::Stale)?;
    let ring = ring.map(Ring::name);
    Filter::Owned(root).insert(BY_TYPE, &[of_type(kind)], ring)
}

/// Takes what is next out of a ring: it must be this frame.
fn expect(ring: &mut Ring, frame: &[u8]) -> Outcome {
    let Some(entry) = ring.take() else {
        return Err(Failure::new("no frame has come"));
    };
    check_eq!(usize::from(entry.header.length), frame.len(), "its length");
    check!(entry.frame() == frame, "another frame has come");
    check_eq!(
        usize::from(entry.header.interface),
        LOOPBACK,
        "its interface"
    );
    Ok(())
}

/// There must be nothing in a ring.
fn expect_none(ring: &Ring) -> Outcome {
    check!(!ring.has_some(), "a frame has come that is not due");
    Ok(())
}

/// Waits until the background has done what ends have left to it.
fn settle(before: [u32; 2]) -> Outcome {
    crate::other::wait(
        || Ok(used()? == before),
        || alloc::format!("{:?} are used, and {before:?} were", used()),
    )
}
