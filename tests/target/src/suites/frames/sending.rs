//! Sending: what a send capability allows, what pieces may be, and what is counted.

use core::sync::atomic::{AtomicBool, Ordering};

use exopi_rt::net::{Atom, Completion, Filter, MAX_PIECES, Operation, Piece, Send, Width};
use exopi_rt::{Error, PageNumber, exposed, memory};

use super::{
    COUNT, FROM, OUT, Wire, byte_at, expect, expect_none, filter, first_send, frame, interface,
    settle, used,
};
use crate::harness::{Failure, Outcome, Suite};
use crate::peer::{self, Peer};

pub(crate) const SUITE: Suite = Suite {
    name: "sending",
    cases: &[
        ("frames_have_a_length", frames_have_a_length),
        ("pieces_come_together", pieces_come_together),
        ("forgeries_are_refused", forgeries_are_refused),
        ("narrower_goes_with_wider", narrower_goes_with_wider),
        (
            "what_is_sent_is_what_was_checked",
            what_is_sent_is_what_was_checked,
        ),
        ("pages_of_others_are_refused", pages_of_others_are_refused),
    ],
};

/// Six bytes of a frame from `offset` on, as atoms.
fn address_at(offset: u16, address: [u8; 6]) -> [Atom; 2] {
    let [a, b, c, d, e, f] = address;
    let field = |offset, width, value| {
        let mask = u64::MAX >> (64 - (8_u32 << width as u32));
        Operation::Equal {
            offset,
            width,
            mask,
            value,
        }
        .encode()
    };
    [
        field(
            offset,
            Width::Bits32,
            u32::from_be_bytes([a, b, c, d]).into(),
        ),
        field(offset + 4, Width::Bits16, u16::from_be_bytes([e, f]).into()),
    ]
}

fn frames_have_a_length() -> Outcome {
    let before = used()?;
    let wire = Wire::new()?;
    let all = Send::Owned(first_send()?);
    let refused = interface()?.refused_length;
    for length in [1, 13, 1515, 4096] {
        let sent = all.transmit(&[wire.piece(0, length)], wire.completion());
        check_eq!(
            (sent.done, sent.stopped),
            (0, Some(Error::BadCount)),
            "{length} bytes"
        );
    }
    check_eq!(interface()?.refused_length, refused + 4);
    check_eq!(wire.count()?.load(Ordering::Relaxed), 0);
    for length in [14, 1514] {
        let sent = all.transmit(&[wire.piece(0, length)], wire.completion());
        check_eq!(sent.unless_stopped(), Ok(1));
    }
    check_eq!(wire.count()?.load(Ordering::Acquire), 2);
    // Four of them at once, and no more.
    let many = [wire.piece(0, 60); 9];
    check_eq!(
        all.transmit(&many, wire.completion()).unless_stopped(),
        Ok(4)
    );
    check_eq!(wire.count()?.load(Ordering::Acquire), 6);
    check_eq!(
        all.transmit(&[], wire.completion()).stopped,
        Some(Error::BadCount)
    );
    settle(before)?;
    wire.close()
}

fn pieces_come_together() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring(2)?;
    let name = filter(0x8801, Some(&ring))?;
    let all = Send::Owned(first_send()?);
    for length in [14, 100, 128, 129, 700, 1514] {
        let sent = frame(0x8801, length, length as u8);
        wire.write(0, &sent);
        for count in [1, 2, 3, MAX_PIECES] {
            let each = length / count;
            let pieces = alloc::vec::Vec::from_iter((0..count).map(|index| Piece {
                last: index + 1 == count,
                length: if index + 1 == count {
                    (length - each * index) as u16
                } else {
                    each as u16
                },
                ..wire.piece((each * index) as u16, 0)
            }));
            let done = all.transmit(&pieces, Completion::Nowhere);
            check_eq!(
                done.unless_stopped(),
                Ok(count as u64),
                "{length} in {count}"
            );
            expect(&mut ring, &sent)?;
        }
    }
    let endless = Piece {
        last: false,
        ..wire.piece(0, 60)
    };
    let done = all.transmit(&[endless; MAX_PIECES + 1], Completion::Nowhere);
    check_eq!((done.done, done.stopped), (0, Some(Error::BadCount)));
    // What was taken before the refusal has gone.
    let done = all.transmit(&[wire.piece(0, 60), endless], Completion::Nowhere);
    check_eq!((done.done, done.stopped), (1, Some(Error::BadCount)));
    check!(ring.take().is_some(), "the first of two is not there");
    expect_none(&ring)?;
    ring.close()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

fn forgeries_are_refused() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring(2)?;
    let name = filter(0x8801, Some(&ring))?;
    let mine = Send::Owned(first_send()?).refine(&address_at(6, FROM))?;
    let refused = interface()?.refused_rule;
    let good = frame(0x8801, 80, 1);
    check_eq!(
        wire.send_by(Send::Owned(mine), &good).unless_stopped(),
        Ok(1)
    );
    expect(&mut ring, &good)?;
    for at in 6..12 {
        for bit in 0..8 {
            let mut forged = good.clone();
            forged[at] ^= 1 << bit;
            let sent = wire.send_by(Send::Owned(mine), &forged);
            check_eq!((sent.done, sent.stopped), (0, Some(Error::MissingRight)));
        }
    }
    check_eq!(interface()?.refused_rule, refused + 48);
    expect_none(&ring)?;
    // It cannot be made wider: an atom that asks for another address allows nothing.
    let wider = Send::Owned(mine).refine(&address_at(6, [2, 0, 0, 0, 0, 7]));
    check_eq!(wider, Err(Error::Malformed));
    // Nor does it say anything of what is not checked.
    check_eq!(
        Send::Owned(mine).refine(&[byte_at(128, 0)]),
        Err(Error::OutOfRange)
    );
    Send::Owned(mine).delete()?;
    let sent = wire.send_by(Send::Owned(mine), &good);
    check_eq!((sent.done, sent.stopped), (0, Some(Error::NotYours)));
    ring.close()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

fn narrower_goes_with_wider() -> Outcome {
    let before = used()?;
    let wire = Wire::new()?;
    let mine = Send::Owned(first_send()?).refine(&address_at(6, FROM))?;
    let mut names = alloc::vec![mine];
    for depth in 1..8 {
        let above = names[depth - 1];
        names.push(Send::Owned(above).refine(&[byte_at(20 + depth as u16, 0)])?);
    }
    let deepest = Send::Owned(names[7]);
    check_eq!(deepest.refine(&[byte_at(40, 0)]), Err(Error::LimitReached));
    let mut quiet = frame(0x8801, 64, 0);
    quiet[14..].fill(0);
    check_eq!(wire.send_by(deepest, &quiet).unless_stopped(), Ok(1));
    for offset in 21..28 {
        let mut loud = quiet.clone();
        loud[offset] = 1;
        check_eq!(
            wire.send_by(deepest, &loud).stopped,
            Some(Error::MissingRight),
            "{offset}"
        );
    }
    Send::Owned(mine).delete()?;
    for name in names {
        let sent = wire.send_by(Send::Owned(name), &quiet);
        check!(
            matches!(sent.stopped, Some(Error::NotYours | Error::Stale)),
            "{sent:?}"
        );
    }
    settle(before)?;
    wire.close()
}

/// Whether the writer of the next case is to end.
static OVER: AtomicBool = AtomicBool::new(false);

/// Changes the sender's address all the time.
fn forge(_: u64) {
    peer::begin();
    let at = (OUT as usize + 11) as *mut u8;
    while !OVER.load(Ordering::Relaxed) {
        for value in [FROM[5], 0x77] {
            // SAFETY: the case keeps the page mapped until this has ended; it is there to be raced for.
            unsafe { at.write_volatile(value) };
        }
    }
}

fn what_is_sent_is_what_was_checked() -> Outcome {
    const TRIES: u32 = 3000;
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring(2)?;
    let name = filter(0x8801, Some(&ring))?;
    let mine = Send::Owned(first_send()?).refine(&address_at(6, FROM))?;
    wire.write(0, &frame(0x8801, 200, 1));
    let other = u64::from(exposed::machine().cores > 1);
    OVER.store(false, Ordering::Relaxed);
    let peer = Peer::here(0, other, forge, 0)?;
    let (mut sent, mut refused) = (0, 0);
    for _ in 0..TRIES {
        let done = Send::Owned(mine).transmit(&[wire.piece(0, 200)], Completion::Nowhere);
        match done.unless_stopped() {
            Ok(_) => sent += 1,
            Err(Error::MissingRight) => refused += 1,
            Err(error) => return Err(error.into()),
        }
        if let Some(entry) = ring.take() {
            check!(entry.frame()[6..12] == FROM, "a forged frame has come");
            continue;
        }
        exopi_rt::time::relax();
    }
    OVER.store(true, Ordering::Relaxed);
    peer.wait_for_end()?;
    peer.end()?;
    crate::harness::say(alloc::format!("{sent} sent, {refused} refused"));
    ring.close()?;
    Send::Owned(mine).delete()?;
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

fn pages_of_others_are_refused() -> Outcome {
    let before = used()?;
    let wire = Wire::new()?;
    let all = Send::Owned(first_send()?);
    let uarea = exopi_rt::environment::own()
        .and_then(exposed::environment)
        .ok_or_else(|| Failure::new("no record"))?
        .uarea;
    for (number, error) in [
        (0, Error::NotYours),
        (uarea, Error::WrongType),
        (exposed::page_count() as u32, Error::OutOfRange),
        (u32::MAX, Error::OutOfRange),
    ] {
        let page = PageNumber::new(number);
        let piece = Piece {
            page,
            ..wire.piece(0, 100)
        };
        let mine = Piece {
            last: false,
            ..wire.piece(0, 100)
        };
        let sent = all.transmit(&[mine, piece], Completion::Nowhere);
        check_eq!((sent.done, sent.stopped), (0, Some(error)), "{page:?}");
        let completion = Completion::Word { page, index: COUNT };
        let sent = all.transmit(&[wire.piece(0, 100)], completion);
        check_eq!((sent.done, sent.stopped), (0, Some(error)), "{page:?}");
    }
    check_eq!(used()?, before);
    let page = memory::take_page()?;
    let piece = Piece {
        page,
        ..wire.piece(4000, 96)
    };
    check_eq!(
        all.transmit(&[piece], Completion::Nowhere).unless_stopped(),
        Ok(1)
    );
    // It has gone, so nothing keeps the page.
    memory::give_page(page)?;
    wire.close()
}
