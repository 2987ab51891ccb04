//! The checker of the invariants sees what it is there to see.

use exopi_abi::PageNumber;
use exopi_abi::page::{FrameType, Owner, PageRecord, Stamp};

use super::with_tables;
use crate::audit::Violation;
use crate::tests::{By, FIRST_FREE, OWNERS, Op, READ, ROOTS, WRITE, World, at, page};
use crate::{Index, Slot, Space, pte};

/// A sound world with one of everything: a page of owner 0 mapped in two places, another that is free
/// again, tables.
fn one_of_everything() -> (World, u32) {
    let (mut world, _, first) = with_tables(3);
    for op in [
        Op::Insert(at(0x1_0000), page(first), By::Owner, 1, WRITE),
        Op::Insert(at(0x20_0000), page(first), By::Owner, 1, WRITE),
        Op::Free(By::Owner, page(first + 2), 1),
    ] {
        assert_eq!(world.apply(0, 0, op).error(), None);
    }
    assert_eq!(world.recount(), Ok(()));
    (world, first)
}

fn violation(world: &mut World) -> Result<(), Violation> {
    let spaces = world.spaces.map(|space| space.expect("both are there"));
    let spaces: [&Space; 2] = [&spaces[0], &spaces[1]];
    world.with(|pages, hw, _| pages.check_invariants(hw, &spaces))
}

#[test]
fn the_checker_sees_a_wrong_record() {
    let (world, first) = one_of_everything();
    let broken = |page: PageNumber, change: fn(&mut PageRecord)| {
        let mut world = world.clone();
        change(&mut world.records[page.index()]);
        violation(&mut world)
    };
    let [table2, links2, table3, links3] = [0, 1, 2, 3].map(|i| page(FIRST_FREE + i));
    let (plain, other, free) = (page(first), page(first + 1), page(first + 2));
    let stamp = world.records[table2.index() + 6].stamp;
    assert_ne!(stamp, Stamp::NONE);
    for (found, expected) in [
        (
            broken(free, |r| r.kind = FrameType::Plain),
            Violation::FreeList(free),
        ),
        (
            broken(free, |r| r.marks = PageRecord::LEAVING),
            Violation::Record(free),
        ),
        (broken(plain, |r| r.marks = 1), Violation::Pins(plain)),
        (
            broken(plain, |r| r.owner = Owner::NOBODY),
            Violation::Record(plain),
        ),
        (
            broken(plain, |r| r.references = 1),
            Violation::References(plain),
        ),
        (
            broken(plain, |r| r.foreign = 1),
            Violation::References(plain),
        ),
        (broken(plain, |r| r.second = 7), Violation::Record(plain)),
        (
            broken(plain, |r| r.kind = FrameType::Table2),
            Violation::Record(plain),
        ),
        (
            broken(other, |r| r.owner = OWNERS[1]),
            Violation::Stamp(other),
        ),
        (
            broken(table3, |r| r.stamp = Stamp::new(r.owner.epoch(), 1)),
            Violation::Stamp(table3),
        ),
        (
            broken(table2, |r| r.first = 3),
            Violation::EntryCount(table2),
        ),
        (
            broken(table3, |r| r.second += 1),
            Violation::Table(page(FIRST_FREE + 4)),
        ),
        (broken(links2, |r| r.second += 1), Violation::Table(links2)),
        (broken(links3, |r| r.first += 1), Violation::Table(links3)),
    ] {
        assert_eq!(found, Err(expected));
    }
}

#[test]
fn the_checker_sees_a_wrong_entry_or_link() {
    let (world, first) = one_of_everything();
    let broken = |page, index, word| {
        let mut world = world.clone();
        world.hw.write(page, index, word);
        violation(&mut world)
    };
    let [table2, table3, links3] = [0, 2, 3].map(|i| page(FIRST_FREE + i));
    let root = page(ROOTS[0]);
    let index = Index::in_table3(at(0x1_0000));
    let last = Index::LAST;
    let (plain, other) = (page(first), page(first + 1));
    let writable = |table: PageNumber| pte::table(table) & !(1 << 7);
    for (found, expected) in [
        (broken(links3, index, 0), Violation::List(plain)),
        (
            broken(links3, last, 1),
            Violation::Residue(Slot::new(table3, last)),
        ),
        // A table that a program could write, by a mapping or where it reads its own.
        (
            broken(table3, index, pte::page(table2, WRITE)),
            Violation::Entry(Slot::new(table3, index)),
        ),
        (
            broken(table3, index, pte::page(links3, READ)),
            Violation::Entry(Slot::new(table3, index)),
        ),
        (
            broken(table2, Index::truncate(0), writable(table3)),
            Violation::Entry(Slot::new(table2, Index::truncate(0))),
        ),
        (
            broken(root, Index::OWN, writable(root)),
            Violation::Entry(Slot::new(root, Index::OWN)),
        ),
        (
            broken(root, Index::LAST, pte::table(page(0))),
            Violation::Entry(Slot::new(root, Index::OWN)),
        ),
        // More than it was bound with.
        (
            broken(table3, index, pte::page(plain, READ) & !(1 << 7)),
            Violation::Entry(Slot::new(table3, index)),
        ),
        // Executable, and only the u-area may have no bound.
        (
            broken(table3, index, pte::uarea(plain)),
            Violation::Entry(Slot::new(table3, index)),
        ),
        (
            broken(table3, index, pte::page(other, READ)),
            Violation::References(plain),
        ),
        (
            broken(table3, index, 0),
            Violation::Residue(Slot::new(table3, index)),
        ),
        (
            broken(table3, last, 0b01),
            Violation::Entry(Slot::new(table3, last)),
        ),
    ] {
        assert_eq!(found, Err(expected));
    }
    // A note is no entry.
    assert_eq!(broken(table3, last, 0b10), Ok(()));
}
