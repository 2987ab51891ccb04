//! Copy-on-write, in every order.

use std::vec::Vec;

use exopi_rt::capability::Epoch;
use exopi_rt::domain::ObjectName;
use exopi_rt::page::FrameType;
use exopi_rt::{Object, VirtAddr};

use super::{NOTHING, R, RW, nth, space};
use crate::fault::Verdict;
use crate::region::Place;

use super::examples::{FRAMES, filled};

#[test]
fn copies_share_until_one_writes_and_the_last_one_takes_the_page() {
    for writer_is_copy in [false, true] {
        let mut space = space(FRAMES);
        let first = filled(&mut space, 3);
        let second = space.copy(first, Place::Any).unwrap();
        let (writer, other) = if writer_is_copy {
            (second, first)
        } else {
            (first, second)
        };
        let page = space.page_of(first).unwrap();
        assert_eq!(space.page_of(second), Some(page));
        assert_eq!(space.load(second.get()), Ok(1));

        space.store(writer.get(), 77).unwrap();
        assert_ne!(space.page_of(writer), Some(page));
        assert_eq!(space.load(other.get()), Ok(1));

        // The other one is alone with the page now, and takes it as it is.
        let free = space.machine.free_pages();
        space.store(other.get() + 1, 88).unwrap();
        assert_eq!(space.page_of(other), Some(page));
        assert_eq!(space.machine.free_pages(), free);
        assert_eq!(space.load(other.get()), Ok(1));
        assert_eq!(space.load(writer.get() + 1), Ok(0));
        space.machine.audit();

        for start in [writer, other] {
            space.end(start);
        }
        space.check_nothing_lost();
    }
}

#[test]
fn whoever_is_left_of_many_sharers_takes_the_page() {
    let mut space = space(FRAMES);
    let first = filled(&mut space, 1);
    let page = space.page_of(first).unwrap();
    let copies: Vec<_> = (0..5)
        .map(|_| space.copy(first, Place::Any).unwrap())
        .collect();
    space.end(first);
    for copy in &copies[1..] {
        space.end(*copy);
    }
    space.store(copies[0].get(), 5).unwrap();
    assert_eq!(space.page_of(copies[0]), Some(page));
    space.end(copies[0]);
    space.check_nothing_lost();
}

#[test]
fn protection_is_copied_and_protects_shared_pages_too() {
    let mut space = space(FRAMES);
    let first = filled(&mut space, 4);
    space.protect(nth(first, 1), 1, R).unwrap();
    space.protect(nth(first, 2), 1, NOTHING).unwrap();
    let second = space.copy(first, Place::Any).unwrap();
    for start in [first, second] {
        assert_eq!(space.store(nth(start, 1).get(), 1), Err(Verdict::PassOn));
        assert_eq!(space.load(nth(start, 1).get()), Ok(2));
        assert_eq!(space.load(nth(start, 2).get()), Err(Verdict::PassOn));
    }
    space.protect(first, 4, RW).unwrap();
    space.store(nth(first, 2).get() + 1, 99).unwrap();
    space.store(nth(first, 1).get(), 98).unwrap();
    assert_eq!(space.load(nth(second, 1).get()), Ok(2));
    space.protect(nth(second, 2), 1, R).unwrap();
    assert_eq!(space.load(nth(second, 2).get()), Ok(3));
    assert_eq!(space.load(nth(second, 2).get() + 1), Ok(0));
    space.end(second);
    space.end(first);
    space.check_nothing_lost();
}

#[test]
fn pages_lent_to_another_space_come_back_with_the_last_mapping() {
    let mut space = space(FRAMES);
    let other = Object::Owned(ObjectName {
        index: 1,
        epoch: Epoch::from_low_bits(9),
    });
    let first = filled(&mut space, 5);
    let there = VirtAddr::new(0x10_0000_0000).unwrap();
    space.lend(first, 5, other, there).unwrap();
    let page = space.page_of(first).unwrap();
    assert_eq!(space.machine.elsewhere(1, there), Some((page, R)));

    // We write: they keep the page, and give it back when they leave.
    space.store(first.get(), 42).unwrap();
    assert_ne!(space.page_of(first), Some(page));
    let free = space.machine.free_pages();
    space.machine.leave(1, there);
    assert_eq!(space.machine.free_pages(), free + 1);

    // They leave first: no copy.
    let page = space.page_of(nth(first, 1));
    space.machine.leave(1, nth(there, 1));
    space.store(nth(first, 1).get(), 43).unwrap();
    assert_eq!(space.page_of(nth(first, 1)), page);

    // We are gone first: what is theirs stays.
    space.end(first);
    for page in 2..5 {
        assert!(space.machine.elsewhere(1, nth(there, page)).is_some());
        space.machine.leave(1, nth(there, page));
    }
    space.machine.audit();
    assert_eq!(space.machine.count(FrameType::Plain), 4, "the reserve");
}
