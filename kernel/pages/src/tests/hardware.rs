//! The model of the machine catches what the tests rely on it to catch: each operation is carried out on
//! hardware that leaves one step out, and something must be seen to be stale.

use exopi_abi::page::SUPERPAGE_PAGES;
use exopi_abi::{Access, PageNumber, TableLevel, VirtAddr};
use exopi_cap::Epochs;

use super::{By, FIRST_FREE, Op, READ, WRITE, World, at, page};
use crate::model::Machine;
use crate::{Hardware, Index, Link, Pages, Space, UserPage};

/// A step of a break or a make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Omitted {
    /// None.
    Nothing,
    /// The invalidation of pages that programs map.
    Page,
    /// The invalidation of pages where a space sees its tables.
    Window,
    /// The invalidation of what leads to an address that programs map.
    Table,
    /// The invalidation of what leads to where a space sees its tables.
    WindowTable,
    /// The invalidation of a whole space.
    Space,
    /// The barrier after invalidations.
    Completion,
    /// The barrier before invalidations.
    Order,
    /// The barrier after new entries.
    Publication,
    /// The maintenance of instruction lines.
    Code,
}

/// A machine whose kernel forgets one step.
struct Careless<'m> {
    machine: &'m mut Machine,
    omitted: Omitted,
}

impl Careless<'_> {
    fn unless(&mut self, omitted: Omitted, step: impl FnOnce(&mut Machine)) {
        if self.omitted != omitted {
            step(self.machine);
        }
    }
}

fn of_programs(at: UserPage) -> bool {
    VirtAddr::new(at.get()).is_some()
}

impl Hardware for Careless<'_> {
    fn entry(&self, table: PageNumber, index: Index) -> u64 {
        self.machine.entry(table, index)
    }

    fn set_entry(&mut self, table: PageNumber, index: Index, value: u64) {
        self.machine.set_entry(table, index, value);
    }

    fn link(&self, links: PageNumber, index: Index) -> Link {
        self.machine.link(links, index)
    }

    fn set_link(&mut self, links: PageNumber, index: Index, value: Link) {
        self.machine.set_link(links, index, value);
    }

    fn word(&self, page: PageNumber, index: Index) -> u64 {
        self.machine.word(page, index)
    }

    fn set_word(&mut self, page: PageNumber, index: Index, value: u64) {
        self.machine.set_word(page, index, value);
    }

    fn zero(&mut self, page: PageNumber) {
        self.machine.zero(page);
    }

    fn sync_code(&mut self, page: PageNumber) {
        self.unless(Omitted::Code, |machine| machine.sync_code(page));
    }

    fn publish(&mut self) {
        self.unless(Omitted::Publication, Machine::publish);
    }

    fn fence(&mut self) {
        self.machine.fence();
    }

    fn before_invalidate(&mut self) {
        self.unless(Omitted::Order, Machine::before_invalidate);
    }

    fn invalidate_page(&mut self, asid: u16, at: UserPage) {
        let step = if of_programs(at) {
            Omitted::Page
        } else {
            Omitted::Window
        };
        self.unless(step, |machine| machine.invalidate_page(asid, at));
    }

    fn invalidate_table(&mut self, asid: u16, at: UserPage) {
        let step = if of_programs(at) {
            Omitted::Table
        } else {
            Omitted::WindowTable
        };
        self.unless(step, |machine| machine.invalidate_table(asid, at));
    }

    fn invalidate_space(&mut self, asid: u16) {
        self.unless(Omitted::Space, |machine| machine.invalidate_space(asid));
    }

    fn complete(&mut self) {
        self.unless(Omitted::Completion, Machine::complete);
    }
}

/// What a call on careless hardware does.
type Call = fn(&mut Pages<'_>, &mut Careless<'_>, &mut Epochs, &Space);

/// What the machine says after a call without one step: as a panic at once, or when it should have settled.
fn outcome(world: &World, omitted: Omitted, call: Call) -> Result<(), std::string::String> {
    let mut world = world.clone();
    let space = world.spaces[0].expect("there from the start");
    let run = std::panic::AssertUnwindSafe(|| {
        world.with(|pages, machine, epochs| {
            call(pages, &mut Careless { machine, omitted }, epochs, &space);
            machine.settled()
        })
    });
    std::panic::catch_unwind(run).unwrap_or_else(|_| Err("at once".into()))
}

const PLACE: u64 = 0x1_0000;
const SUPERPAGE: u64 = 0x40_0000;
/// The first frame of a block of 512.
const BLOCK: u32 = 512;

/// A world with a table of each level that is empty but for a page and a superpage, and more pages.
fn world() -> World {
    let mut world = World::new(2 * BLOCK - FIRST_FREE);
    let mut call = |op| assert_eq!(world.apply(0, 0, op).error(), None, "{op:?}");
    call(Op::Alloc(exopi_abi::PageSelect::Exact(page(8)), 16, 16));
    for first in (BLOCK..2 * BLOCK).step_by(16) {
        let which = exopi_abi::PageSelect::Exact(page(first));
        call(Op::Alloc(which, 16, 16));
    }
    call(Op::InsertTable(
        at(PLACE),
        TableLevel::Two,
        page(8),
        page(9),
    ));
    call(Op::InsertTable(
        at(PLACE),
        TableLevel::Three,
        page(10),
        page(11),
    ));
    call(Op::Insert(at(PLACE), page(12), By::Owner, 1, Access::all()));
    call(Op::InsertSuper(
        at(SUPERPAGE),
        page(BLOCK),
        By::Owner,
        1,
        WRITE,
    ));
    assert_eq!(world.recount(), Ok(()));
    world
}

/// The same with nothing in the tables, and the last level gone if `level` is 2.
fn emptied(level: TableLevel) -> World {
    let mut world = world();
    let mut call = |op| assert_eq!(world.apply(0, 0, op).error(), None, "{op:?}");
    call(Op::Remove(at(PLACE), 1));
    call(Op::Remove(at(SUPERPAGE), SUPERPAGE_PAGES));
    if level == TableLevel::Two {
        call(Op::RemoveTable(at(PLACE), TableLevel::Three));
    }
    world
}

fn remove_table2(pages: &mut Pages<'_>, hw: &mut Careless<'_>, epochs: &mut Epochs, space: &Space) {
    let gone = pages.remove_table(hw, epochs, space, at(PLACE), TableLevel::Two);
    assert_eq!(gone, Ok(page(8)));
}

fn remove_table3(pages: &mut Pages<'_>, hw: &mut Careless<'_>, epochs: &mut Epochs, space: &Space) {
    let gone = pages.remove_table(hw, epochs, space, at(PLACE), TableLevel::Three);
    assert_eq!(gone, Ok(page(10)));
}

fn owned(first: u32) -> crate::Source<'static> {
    crate::Source::Run(page(first), crate::Right::Owner(super::OWNERS[0]))
}

#[test]
fn every_step_of_a_break_is_needed() {
    let full = world();
    let remove: Call = |pages, hw, _, space| {
        let _ = pages.remove_pte(hw, space, at(PLACE), 1);
    };
    let remove_superpage: Call = |pages, hw, _, space| {
        let _ = pages.remove_pte(hw, space, at(SUPERPAGE), SUPERPAGE_PAGES);
    };
    let protect: Call = |pages, hw, _, space| {
        let _ = pages.protect_pte(hw, space, at(PLACE), 1, READ);
    };
    let break_both: Call = |pages, hw, _, _| {
        let right = crate::Right::Owner(super::OWNERS[0]);
        let _ = pages.break_all(hw, right, page(BLOCK + 1), 1);
        let _ = pages.break_all(hw, right, page(12), 1);
    };
    let clear: Call = |pages, hw, epochs, space| {
        assert!(pages.clear_space(hw, epochs, space, 64).is_ok());
    };
    let two = emptied(TableLevel::Two);
    let three = emptied(TableLevel::Three);
    let broken = [Omitted::Completion, Omitted::Order];
    for (world, call, steps) in [
        (&full, remove, &[Omitted::Page][..]),
        (&full, remove_superpage, &[Omitted::Page]),
        (&full, protect, &[Omitted::Page]),
        (&full, break_both, &[Omitted::Page]),
        (&full, clear, &[Omitted::Space]),
        (&three, remove_table3, &[Omitted::Table, Omitted::Window]),
        (
            &two,
            remove_table2,
            &[Omitted::Table, Omitted::Window, Omitted::WindowTable],
        ),
    ] {
        assert_eq!(outcome(world, Omitted::Nothing, call), Ok(()));
        for step in steps.iter().chain(&broken) {
            let seen = outcome(world, *step, call);
            assert!(seen.is_err(), "{step:?} is not missed");
        }
    }
}

#[test]
fn a_stale_alias_of_a_table_is_seen() {
    let seen = outcome(&emptied(TableLevel::Three), Omitted::Window, remove_table3);
    let alias = std::format!("{:x}", UserPage::of_table3(at(PLACE)).get());
    let error = seen.expect_err("the window shows what is no table any more");
    assert!(
        error.contains("stale TLB entry") && error.contains(&alias),
        "{error}"
    );
}

#[test]
fn every_step_of_a_make_is_needed() {
    let full = world();
    let insert: Call = |pages, hw, epochs, space| {
        let credit = super::credit(0, 0);
        let access = Access::READ | Access::EXECUTE;
        let place = at(PLACE + 0x1000);
        let _ = pages.insert_pte(hw, epochs, credit, space, place, owned(13), 1, access);
    };
    let insert_new: Call = |pages, hw, epochs, space| {
        let new = crate::Source::New(exopi_abi::PageSelect::Any);
        let place = at(PLACE + 0x1000);
        let _ = pages.insert_pte(hw, epochs, super::credit(0, 1), space, place, new, 1, READ);
    };
    let insert_table: Call = |pages, hw, _, space| {
        let place = at(SUPERPAGE + 0x20_0000);
        let [table, links] = [page(14), page(15)];
        let made = pages.insert_table(hw, space, place, TableLevel::Three, table, links);
        assert_eq!(made, Ok(()));
    };
    let alloc: Call = |pages, hw, epochs, _| {
        let credit = super::credit(0, 1);
        let _ = pages.alloc(hw, epochs, credit, exopi_abi::PageSelect::Any, 1);
    };
    let note: Call = |pages, hw, _, space| {
        let note = exopi_abi::Note::new(7).expect("63 bits");
        assert_eq!(pages.note(hw, space, at(PLACE + 0x2000), note), Ok(()));
    };
    let both = [Omitted::Publication, Omitted::Code];
    for (call, steps) in [
        (insert, &both[..]),
        (insert_new, &both[..1]),
        (insert_table, &both[..1]),
        (alloc, &both[..1]),
        (note, &both[..1]),
    ] {
        assert_eq!(outcome(&full, Omitted::Nothing, call), Ok(()));
        for step in steps {
            assert!(
                outcome(&full, *step, call).is_err(),
                "{step:?} is not missed"
            );
        }
    }
}

#[test]
fn a_table_that_could_be_written_is_seen() {
    let mut world = world();
    // As if the kernel had made the mapping: the machine finds nothing wrong with it, the check must.
    let index = Index::in_table3(at(PLACE + 0x1000));
    world
        .hw
        .set_entry(page(10), index, crate::pte::page(page(8), WRITE));
    world.hw.publish();
    assert_eq!(world.hw.settled(), Ok(()));
    assert!(world.recount().is_err());
    let reached = world.hw.translate(1, at(PLACE + 0x1000));
    assert!(reached.iter().all(|to| to.frame == page(8) && to.write));
}
