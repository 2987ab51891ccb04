//! Random calls by two owners, hostile ones among them, beside the naive model.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::vec::Vec;

use exopi_abi::page::{FrameType, Owner};
use exopi_abi::{Access, Error, PageNumber, PageSelect, TableLevel, VirtAddr};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::naive::Naive;
use super::{FIRST_FREE, OWNERS, Op, WRITE, World, at, page};
use crate::model::Translation;
use crate::{Index, Space, pte};

const FREE: u32 = 24;
const SMALL: u32 = FIRST_FREE + FREE;

/// Addresses where something begins or ends: of all, of a level-3 table, of a level-2 table.
const PLACES: [u64; 8] = [
    0x1_0000,
    0x1f_f000,
    0x20_0000,
    0x20_1000,
    0x3fff_f000,
    0x4000_0000,
    0x7f_bfff_e000,
    0x7f_bfff_f000,
];

/// The frames that [`furnish`] gives to `who`.
fn furnished(who: usize) -> Range<u32> {
    let first = FIRST_FREE + 11 * who as u32;
    first..first + 11
}

/// Mostly frames that `who` is likely to own, and plain ones among them.
fn any_page(who: usize) -> impl Strategy<Value = PageNumber> {
    let own = furnished(who);
    let plain = own.end - 3..own.end;
    prop_oneof![
        12 => plain.prop_map(page),
        6 => own.prop_map(page),
        6 => (0..SMALL + 2).prop_map(page),
        1 => prop_oneof![Just(u32::MAX), Just(1 << 23), any::<u32>()].prop_map(page),
    ]
}

fn any_place() -> impl Strategy<Value = VirtAddr> {
    prop_oneof![
        // Most where tables are likely to be, so that something happens there.
        6 => (0usize..4).prop_map(|i| at(PLACES[i])),
        2 => (6usize..8).prop_map(|i| at(PLACES[i])),
        2 => (0usize..PLACES.len()).prop_map(|i| at(PLACES[i])),
    ]
}

fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => 1u64..4,
        3 => 4u64..20,
        1 => prop_oneof![Just(0), Just(64), Just(129), Just(1 << 52), Just(u64::MAX)],
    ]
}

fn any_level() -> impl Strategy<Value = TableLevel> {
    prop_oneof![Just(TableLevel::Two), Just(TableLevel::Three)]
}

fn any_access() -> impl Strategy<Value = Access> {
    (0usize..4).prop_map(|i| Access::POSSIBLE[i])
}

/// What a program would put in a page that it hopes will be believed: entries that name any frame.
fn any_word() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => (0..SMALL).prop_map(|n| pte::page(page(n), WRITE)),
        3 => (0..SMALL).prop_map(|n| pte::table(page(n))),
        1 => any::<u64>(),
        1 => Just(0),
    ]
}

fn any_index() -> impl Strategy<Value = Index> {
    prop_oneof![Just(0), Just(1), Just(16), Just(511), 0u64..512].prop_map(Index::truncate)
}

fn any_insert_table(who: usize) -> impl Strategy<Value = Op> {
    (any_place(), any_page(who), any_page(who), 0..10u8).prop_map(|(at, table, links, form)| {
        match form {
            0 => Op::InsertTable(at, TableLevel::Two, table, Some(links)),
            1 => Op::InsertTable(at, TableLevel::Three, table, None),
            2..4 => Op::InsertTable(at, TableLevel::Two, table, None),
            _ => Op::InsertTable(at, TableLevel::Three, table, Some(links)),
        }
    })
}

fn any_op(who: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any_page(who), any_count()).prop_map(|(p, n)| Op::Alloc(PageSelect::Exact(p), n)),
        1 => prop_oneof![9 => Just(1), 1 => any_count()].prop_map(|n| Op::Alloc(PageSelect::Any, n)),
        3 => (any_page(who), any_count()).prop_map(|(p, n)| Op::Free(p, n)),
        4 => any_insert_table(who),
        4 => (any_place(), any_level()).prop_map(|(at, level)| Op::RemoveTable(at, level)),
        9 => (any_place(), any_page(who), any_count(), any_access())
            .prop_map(|(at, p, n, access)| Op::Insert(at, p, n, access)),
        8 => (any_place(), any_count()).prop_map(|(at, n)| Op::Remove(at, n)),
        1 => (any_place(), any_page(who)).prop_map(|(at, p)| Op::MakeUArea(at, p)),
        4 => (any_page(who), any_index(), any_word()).prop_map(|(p, i, w)| Op::Write(p, i, w)),
    ]
}

/// Pages, tables at both ends of the address space and two mappings for both owners, so that random
/// calls meet something.
fn furnish() -> Vec<(usize, Op)> {
    let mut ops = Vec::new();
    for who in 0..2 {
        let first = furnished(who).start;
        let table2 = |at, table| Op::InsertTable(at, TableLevel::Two, page(table), None);
        let table3 = |at, table, links| {
            Op::InsertTable(at, TableLevel::Three, page(table), Some(page(links)))
        };
        let write = |frame, index, word| Op::Write(page(frame), Index::truncate(index), word);
        let furniture = [
            Op::Alloc(PageSelect::Exact(page(first)), 11),
            // Hostile contents that must not survive in a table, nor in links.
            write(first, 0, pte::table(page(1))),
            write(first + 1, 16, pte::page(page(0), WRITE)),
            write(first + 2, 16, u64::MAX),
            table2(at(0x1_0000), first),
            table3(at(0x1_0000), first + 1, first + 2),
            table3(at(0x20_0000), first + 3, first + 4),
            table2(at(0x7f_bfff_f000), first + 5),
            table3(at(0x7f_bfff_f000), first + 6, first + 7),
            Op::Insert(at(0x1f_f000), page(first + 8), 2, WRITE),
        ];
        ops.extend(furniture.map(|op| (who, op)));
    }
    ops
}

/// Whether the world is as the model says.
fn compare(world: &World, spaces: &[Space; 2], naive: &Naive) -> Result<(), TestCaseError> {
    for (number, frame) in &naive.frames {
        let record = world.records[*number as usize];
        let owner = frame.owner.map_or(Owner::NOBODY, |who| OWNERS[who]);
        let user = frame.user.map_or(Owner::NOBODY, |who| OWNERS[who]);
        prop_assert_eq!(record.kind, frame.kind, "frame {}", number);
        prop_assert_eq!(
            (record.owner, record.user),
            (owner, user),
            "frame {}",
            number
        );
        prop_assert_eq!(record.references as usize, naive.references(*number));
        if matches!(
            frame.kind,
            FrameType::Plain | FrameType::Free | FrameType::UArea
        ) {
            prop_assert_eq!(
                world.hw.contents(page(*number)),
                &frame.contents,
                "frame {}",
                number
            );
        }
    }
    for (space, model) in spaces.iter().zip(&naive.spaces) {
        let mapped = |(at, (frame, access)): (&VirtAddr, &(u32, Access))| {
            let translation = Translation {
                frame: page(*frame),
                write: access.contains(Access::WRITE),
                execute: access.contains(Access::EXECUTE),
            };
            (at.get(), translation)
        };
        let expected: BTreeSet<_> = model.pages.iter().map(mapped).collect();
        let reached = world
            .hw
            .translations()
            .filter(|(asid, ..)| *asid == space.asid());
        let reached: BTreeSet<_> = reached
            .map(|(_, at, translation)| (at, translation))
            .collect();
        prop_assert_eq!(reached, expected);
    }
    Ok(())
}

/// Runs calls on both, comparing after each. Notes which calls had which outcome.
fn run(
    furniture: Vec<(usize, Op)>,
    random: Vec<(usize, Op)>,
    outcomes: &mut BTreeSet<(&'static str, Option<Error>)>,
) -> Result<(), TestCaseError> {
    let (mut world, spaces) = World::new(FREE);
    let mut naive = Naive::new(FREE);
    let fixed = furniture.len();
    for (step, (who, op)) in furniture.into_iter().chain(random).enumerate() {
        let reply = world.apply(&spaces, who, op);
        prop_assert_eq!(
            reply,
            naive.apply(who, op),
            "step {}: {} {:?}",
            step,
            who,
            op
        );
        prop_assert!(step >= fixed || reply.error().is_none(), "{:?}", op);
        let checked = world.check(&spaces);
        prop_assert_eq!(checked, Ok(()), "step {}: {} {:?}", step, who, op);
        compare(&world, &spaces, &naive)?;
        outcomes.insert((op.name(), reply.error()));
    }
    // The free list is in the order of the model's, to the end.
    while let Some(head) = naive.free.front().copied() {
        let op = Op::Alloc(PageSelect::Any, 1);
        prop_assert_eq!(world.apply(&spaces, 0, op).value, u64::from(head));
        naive.apply(0, op);
    }
    Ok(())
}

/// Every refusal that a row of the call table lists, besides success.
const OUTCOMES: [(&str, &[Error]); 7] = [
    (
        "alloc",
        &[
            Error::BadCount,
            Error::Taken,
            Error::Exhausted,
            Error::OutOfRange,
        ],
    ),
    (
        "free",
        &[
            Error::BadCount,
            Error::NotYours,
            Error::WrongType,
            Error::InUse,
            Error::OutOfRange,
        ],
    ),
    (
        "insert_table",
        &[
            Error::NotYours,
            Error::WrongType,
            Error::InUse,
            Error::NoTable,
            Error::Occupied,
            Error::Malformed,
            Error::OutOfRange,
        ],
    ),
    (
        "remove_table",
        &[Error::Vacant, Error::NoTable, Error::NotEmpty],
    ),
    (
        "insert",
        &[
            Error::BadCount,
            Error::NotYours,
            Error::WrongType,
            Error::NoTable,
            Error::Occupied,
            Error::BadAddress,
            Error::OutOfRange,
        ],
    ),
    (
        "remove",
        &[
            Error::BadCount,
            Error::Vacant,
            Error::NoTable,
            Error::WrongType,
            Error::BadAddress,
        ],
    ),
    (
        "make_uarea",
        &[
            Error::NotYours,
            Error::WrongType,
            Error::InUse,
            Error::NoTable,
            Error::Occupied,
            Error::OutOfRange,
        ],
    ),
];

#[test]
fn calls_do_what_the_naive_model_does() {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 1500 })
    };
    let length = if cfg!(miri) { 8 } else { 120 };
    let call = (0usize..2).prop_flat_map(|who| (Just(who), any_op(who)));
    let calls = (any::<bool>(), prop::collection::vec(call, 1..length));
    let outcomes = RefCell::new(BTreeSet::new());
    TestRunner::new(config)
        .run(&calls, |(empty, random)| {
            let furniture = if empty || cfg!(miri) {
                Vec::new()
            } else {
                furnish()
            };
            run(furniture, random, &mut outcomes.borrow_mut())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    for (name, errors) in OUTCOMES {
        let seen = |error| cfg!(miri) || outcomes.borrow().contains(&(name, error));
        assert!(seen(None), "{name} never succeeded");
        for error in errors {
            assert!(seen(Some(*error)), "{name} never gave {error}");
        }
    }
}
