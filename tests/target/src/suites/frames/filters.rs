//! Filters: who gets a frame, and that nobody takes it from there.

use alloc::vec::Vec;

use exopi_rt::account::Allowance;
use exopi_rt::domain::Resource;
use exopi_rt::net::{Filter, MAX_REFERENCES};
use exopi_rt::{Account, Error, exposed, stubs};

use super::{
    BY_TYPE, Wire, byte_at, expect, expect_none, filter, frame, interface, of_type, root, settle,
    used,
};
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "filters",
    cases: &[
        (
            "a_frame_comes_to_the_filter_that_takes_it",
            a_frame_comes_to_the_filter_that_takes_it,
        ),
        ("siblings_do_not_overlap", siblings_do_not_overlap),
        (
            "refinement_takes_from_its_parent_alone",
            refinement_takes_from_its_parent_alone,
        ),
        ("shared_by_eight", shared_by_eight),
        ("routed_while_frames_come", routed_while_frames_come),
        ("all_below_goes_with_one", all_below_goes_with_one),
        (
            "what_is_kept_is_the_next_ones_above",
            what_is_kept_is_the_next_ones_above,
        ),
        ("a_thousand", a_thousand),
        ("allowances_are_carved_out", allowances_are_carved_out),
    ],
};

fn a_frame_comes_to_the_filter_that_takes_it() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let (mut one, mut other) = (wire.ring(4)?, wire.ring(4)?);
    let filters = [filter(0x8801, Some(&one))?, filter(0x8802, Some(&other))?];
    let unclaimed = interface()?.unclaimed;
    for (number, length) in [14, 15, 60, 64, 65, 127, 128, 129, 1000, 1513, 1514]
        .into_iter()
        .enumerate()
    {
        let number = number as u8;
        for kind in [0x8801, 0x8802, 0x8803] {
            wire.send(&frame(kind, length, number))?;
        }
        expect(&mut one, &frame(0x8801, length, number))?;
        expect(&mut other, &frame(0x8802, length, number))?;
        expect_none(&one)?;
        expect_none(&other)?;
    }
    check_eq!(interface()?.unclaimed, unclaimed + 11, "frames of nobody");
    for name in filters {
        let record = exposed::filter_at(name.index).ok_or_else(|| Failure::new("no record"))?;
        check_eq!((record.frames, record.references), (11, 1));
        Filter::Owned(name).delete()?;
    }
    one.close()?;
    other.close()?;
    settle(before)?;
    wire.close()
}

fn siblings_do_not_overlap() -> Outcome {
    let before = used()?;
    let first = filter(0x8801, None)?;
    check_eq!(filter(0x8801, None), Err(Error::Overlap));
    // Nor by a field that the key has not, or with less of it.
    let root = Filter::Owned(root()?);
    for atoms in [
        &[of_type(0x8802), byte_at(20, 1)][..],
        &[byte_at(12, 0x88)],
        &[byte_at(13, 2)],
    ] {
        check_eq!(root.insert(BY_TYPE, atoms, None), Err(Error::Malformed));
    }
    check_eq!(
        root.insert(BY_TYPE + 1, &[of_type(1)], None),
        Err(Error::OutOfRange)
    );
    check_eq!(used()?, [before[0] + 1, before[1]]);
    Filter::Owned(first).delete()?;
    settle(before)
}

fn refinement_takes_from_its_parent_alone() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let (mut whole, mut part) = (wire.ring(2)?, wire.ring(2)?);
    let mut other = wire.ring(2)?;
    let parent = filter(0x8801, Some(&whole))?;
    filter(0x8802, Some(&other))?;
    check_eq!(Filter::Owned(parent).split(&[byte_at(14, 0)]), Ok(0));
    Filter::Owned(parent).insert(0, &[byte_at(14, 7)], Some(part.name()))?;
    let marked = |kind, mark| {
        let mut frame = frame(kind, 100, 1);
        frame[14] = mark;
        frame
    };
    for (kind, mark) in [(0x8801, 7), (0x8801, 8), (0x8802, 7)] {
        wire.send(&marked(kind, mark))?;
    }
    // Too short to have the field: the parent's.
    wire.send(&frame(0x8801, 14, 0))?;
    expect(&mut part, &marked(0x8801, 7))?;
    expect(&mut whole, &marked(0x8801, 8))?;
    expect(&mut whole, &frame(0x8801, 14, 0))?;
    expect(&mut other, &marked(0x8802, 7))?;
    for ring in [whole, part, other] {
        expect_none(&ring)?;
        ring.close()?;
    }
    // They live as long as who made them, which is this program.
    for index in 0..16 {
        let record = exposed::filter_at(index).filter(|record| record.depth == 1);
        if let Some(record) = record {
            let epoch = exopi_rt::capability::Epoch::from_low_bits(record.epoch);
            let name = exopi_rt::domain::ObjectName { index, epoch };
            Filter::Owned(name).delete()?;
        }
    }
    settle(before)?;
    wire.close()
}

fn shared_by_eight() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut rings = Vec::new();
    for _ in 0..=MAX_REFERENCES {
        rings.push(wire.ring(1)?);
    }
    let name = filter(0x8801, None)?;
    let shared = Filter::Owned(name);
    for ring in rings.iter().take(MAX_REFERENCES) {
        shared.share(ring.name())?;
        check_eq!(shared.share(ring.name()), Err(Error::Occupied));
    }
    let last = rings[MAX_REFERENCES].name();
    check_eq!(shared.share(last), Err(Error::LimitReached));
    check_eq!(shared.unshare(last), Err(Error::Vacant));
    let copies = interface()?.copies;
    wire.send(&frame(0x8801, 200, 3))?;
    check_eq!(interface()?.copies, copies + MAX_REFERENCES as u64);
    for ring in rings.iter_mut().take(MAX_REFERENCES) {
        expect(ring, &frame(0x8801, 200, 3))?;
    }
    shared.unshare(rings[0].name())?;
    wire.send(&frame(0x8801, 201, 4))?;
    expect_none(&rings[0])?;
    expect(&mut rings[1], &frame(0x8801, 201, 4))?;
    for ring in rings {
        ring.close()?;
    }
    shared.delete()?;
    settle(before)?;
    wire.close()
}

fn routed_while_frames_come() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let (mut one, mut other) = (wire.ring(1)?, wire.ring(1)?);
    let name = filter(0x8801, Some(&one))?;
    for number in 0..50 {
        let (here, there) = if number % 2 == 0 {
            (&mut one, &mut other)
        } else {
            (&mut other, &mut one)
        };
        wire.send(&frame(0x8801, 300, number))?;
        expect(here, &frame(0x8801, 300, number))?;
        expect_none(there)?;
        Filter::Owned(name).route(there.name())?;
        check_eq!(
            Filter::Owned(name).route(there.name()),
            Err(Error::Occupied)
        );
    }
    one.close()?;
    other.close()?;
    // It was made by this program, so it stays without a ring.
    let unclaimed = interface()?.unclaimed;
    wire.send(&frame(0x8801, 300, 0))?;
    check_eq!(interface()?.unclaimed, unclaimed + 1);
    Filter::Owned(name).delete()?;
    settle(before)?;
    wire.close()
}

/// A filter with 20 below it, and two rings.
fn family(
    wire: &mut Wire,
) -> Result<(exopi_rt::domain::ObjectName, [exopi_rt::net::Ring; 2]), Failure> {
    let rings = [wire.ring(1)?, wire.ring(1)?];
    let parent = filter(0x8801, Some(&rings[0]))?;
    Filter::Owned(parent).split(&[byte_at(14, 0)])?;
    for value in 0..20 {
        Filter::Owned(parent).insert(0, &[byte_at(14, value)], Some(rings[1].name()))?;
    }
    Ok((parent, rings))
}

fn all_below_goes_with_one() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let (parent, rings) = family(&mut wire)?;
    let unclaimed = interface()?.unclaimed;
    // In several steps; from the first on, no frame comes to any.
    let step = stubs::dpf_delete(Filter::Owned(parent).object(), 0);
    check_eq!((step.done, step.stopped), (0, None));
    for value in 0..20 {
        let mut frame = frame(0x8801, 60, 0);
        frame[14] = value;
        wire.send(&frame)?;
    }
    check_eq!(interface()?.unclaimed, unclaimed + 20);
    // The background may have come first.
    match Filter::Owned(parent).delete() {
        Ok(()) | Err(Error::NotYours | Error::Stale) => {}
        Err(error) => return Err(error.into()),
    }
    for ring in rings {
        expect_none(&ring)?;
        ring.close()?;
    }
    settle(before)?;
    wire.close()
}

fn what_is_kept_is_the_next_ones_above() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let (parent, [mut of_parent, mut below]) = family(&mut wire)?;
    Filter::Owned(parent).retire()?;
    let unclaimed = interface()?.unclaimed;
    for value in [3, 30] {
        let mut frame = frame(0x8801, 60, 0);
        frame[14] = value;
        wire.send(&frame)?;
        if value == 3 {
            expect(&mut below, &frame)?;
        }
    }
    check_eq!(interface()?.unclaimed, unclaimed + 1);
    expect_none(&of_parent)?;
    check!(of_parent.take().is_none());
    check!(
        matches!(
            Filter::Owned(parent).split(&[byte_at(15, 0)]),
            Err(Error::Stale)
        ),
        "what was deleted is split"
    );
    match Filter::Owned(parent).delete() {
        Ok(()) | Err(Error::NotYours | Error::Stale) => {}
        Err(error) => return Err(error.into()),
    }
    of_parent.close()?;
    below.close()?;
    settle(before)?;
    wire.close()
}

/// The number of filters that tell of their number.
const MANY: u16 = 1000;

fn a_thousand() -> Outcome {
    let before = used()?;
    let mut wire = Wire::new()?;
    let mut ring = wire.ring(1)?;
    let mut names = Vec::new();
    for number in 0..MANY {
        let last = number + 1 == MANY;
        names.push(filter(0x4000 + number, last.then_some(&ring))?);
    }
    let frames = |index: usize| {
        let record = exposed::filter_at(names[index].index);
        record.map_or(u64::MAX, |record| record.frames)
    };
    for number in [0, 1, 499, MANY - 1] {
        wire.send(&frame(0x4000 + number, 77, 5))?;
        check_eq!(frames(number.into()), 1, "frames of filter {number}");
    }
    check_eq!(frames(2), 0);
    expect(&mut ring, &frame(0x4000 + MANY - 1, 77, 5))?;
    // What is over the allowance is refused, and the rest works.
    let mut more = Vec::new();
    let refused = loop {
        match filter(0x5000 + more.len() as u16, None) {
            Ok(name) => more.push(name),
            Err(error) => break error,
        }
        check!(more.len() < 100, "there is no end");
    };
    check_eq!(refused, Error::OverAllowance);
    wire.send(&frame(0x4000, 78, 5))?;
    check_eq!(frames(0), 2);
    for name in names.into_iter().chain(more) {
        Filter::Owned(name).delete()?;
    }
    ring.close()?;
    settle(before)?;
    wire.close()
}

fn allowances_are_carved_out() -> Outcome {
    let before = used()?;
    let child = Account::create(Allowance::default())?;
    let refused = stubs::account_allow(child.object(), Resource::Filters, 100_000);
    check_eq!(refused, Err(Error::OverAllowance));
    stubs::account_allow(child.object(), Resource::Filters, 2)?;
    stubs::account_allow(child.object(), Resource::Frames, 8)?;
    check_eq!(used()?, [before[0] + 2, before[1] + 8]);
    let record = child.record().ok_or_else(|| Failure::new("no account"))?;
    check_eq!(record.allowance[Resource::Filters as usize..], [2, 8]);
    let of_own = stubs::account_allow(Account::Own.object(), Resource::Filters, 1);
    check!(of_own.is_err(), "one's own allowance grows");
    child.destroy()?;
    settle(before)
}
