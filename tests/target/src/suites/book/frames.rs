//! A program takes one type of frames for itself, may send as nobody but itself, and hears its own words.

use exopi_rt::net::{
    self, Atom, Completion, EntrySize, Filter, Operation, Piece, Ring, Send, Width,
};
use exopi_rt::{Error, VirtAddr, memory, println};

use crate::area::{AREA, Area, RW, place};
use crate::harness::{Failure, Outcome};

/// "The field at `offset` is `value`": of frames that come, and of those that are sent.
fn field(offset: u16, width: Width, value: u64) -> Atom {
    let mask = width.ones();
    Operation::Equal {
        offset,
        width,
        mask,
        value,
    }
    .encode()
}

/// Ethernet: to, from, type.
const FROM: u16 = 6;
const TYPE: u16 = 12;
const OURS: u64 = 0x88b5;

fn talk(ring_at: VirtAddr, out_at: VirtAddr) -> Result<(), Error> {
    // Interface 0's cable leads back to it. What it begins with is the first environment's, which is this program.
    let root = Filter::Owned(net::root(0).ok_or(Error::Stale)?);
    let any = Send::Owned(net::first_send(0).ok_or(Error::Stale)?);

    // Frames of our type go to our ring. Whoever else asks for that type is refused: nobody steals.
    let mut ring = Ring::create(ring_at, 1, EntrySize::WHOLE, None)?;
    let ours = [field(TYPE, Width::Bits16, OURS)];
    let filter = root.insert(super::super::frames::BY_TYPE, &ours, Some(ring.name()))?;
    let again = root.insert(super::super::frames::BY_TYPE, &ours, None);
    assert_eq!(again, Err(Error::Overlap));

    // What we send is ours: the kernel compares the first bytes of each frame.
    let mine = any.refine(&[field(FROM, Width::Bits32, 0x0200_0000)])?;

    let page = memory::map_new(out_at, RW)?;
    let frame = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5hello";
    // SAFETY: the page was mapped just now.
    unsafe { core::ptr::copy_nonoverlapping(frame.as_ptr(), out_at.get() as *mut u8, frame.len()) };
    let piece = Piece {
        page,
        offset: 0,
        length: frame.len() as u16,
        last: true,
    };
    Send::Owned(mine)
        .transmit(&[piece], Completion::Nowhere)
        .unless_stopped()?;

    // No call: the frame is in our memory, and the entry goes back to the kernel when it is dropped.
    let entry = ring.take().ok_or(Error::Vacant)?;
    println!("heard {:?}", core::str::from_utf8(&entry.frame()[14..]));
    assert_eq!(entry.frame(), frame);
    drop(entry);

    // With another's address it goes nowhere.
    // SAFETY: as above.
    unsafe { ((out_at.get() + u64::from(FROM)) as *mut u8).write(4) };
    let forged = Send::Owned(mine).transmit(&[piece], Completion::Nowhere);
    assert_eq!(forged.unless_stopped(), Err(Error::MissingRight));
    assert!(ring.take().is_none());

    Send::Owned(mine).delete()?;
    Filter::Owned(filter).delete()?;
    ring.close()?;
    // SAFETY: nothing refers to it any more.
    unsafe { memory::unmap_and_give(out_at, page) }
}

pub(super) fn a_word_to_oneself() -> Outcome {
    let area = Area::new()?;
    talk(place(AREA)?, place(AREA + 0x1_0000)?).map_err(Failure::from)?;
    area.close()
}
