//! Random calls by two owners, hostile ones among them, beside the naive model.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::vec::Vec;

use exopi_abi::capability::{Epoch, PageRights};
use exopi_abi::page::FrameType;
use exopi_abi::{Access, Error, Note, PageNumber, PageSelect, TableLevel, VirtAddr};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::naive::Naive;
use super::{By, COLOURS, Cap, FIRST_FREE, OWNERS, Op, READ, WRITE, World, at, page};
use crate::{Index, pte};

mod outcomes;

/// Frames of a world without superpages: enough for what [`furnish`] puts there and a few more.
const FREE: u32 = 32;
/// Frames that [`furnish`] gives to each.
const FURNISHED: u32 = 14;
/// Frames of a world with superpages: two blocks of 512, and what [`furnish`] puts before and behind them.
const FREE_WITH_BLOCKS: u32 = 1536 + 8 - FIRST_FREE;

/// Addresses where something begins or ends: of all, of a level-3 table, of a level-2 table.
const PLACES: [u64; 10] = [
    0x1_0000,
    0x1f_f000,
    0x20_0000,
    0x20_1000,
    0x40_0000,
    0x60_0000,
    0x3fff_f000,
    0x4000_0000,
    0x7f_7fff_e000,
    0x7f_7fff_f000,
];

/// What is in the world, as far as random calls should know to meet it.
#[derive(Clone, Copy, Debug)]
struct Scope {
    free: u32,
    /// First frames of blocks of 512.
    blocks: &'static [u32],
}

const SMALL: Scope = Scope {
    free: FREE,
    blocks: &[],
};
const LARGE: Scope = Scope {
    free: FREE_WITH_BLOCKS,
    blocks: &[512, 1024],
};

/// The frames that [`furnish`] gives to `who`.
fn furnished(who: usize) -> Range<u32> {
    let first = FIRST_FREE + FURNISHED * who as u32;
    first..first + FURNISHED
}

/// Mostly frames that `who` is likely to own, and plain ones among them.
fn any_page(who: usize, scope: Scope) -> BoxedStrategy<PageNumber> {
    let own = furnished(who);
    let plain = own.end - 4..own.end;
    let others = furnished(1 - who);
    let small = prop_oneof![
        12 => plain.prop_map(page),
        6 => own.prop_map(page),
        3 => (others.end - 4..others.end).prop_map(page),
        6 => (0..FIRST_FREE + FREE + 2).prop_map(page),
        1 => prop_oneof![Just(u32::MAX), Just(1 << 23), any::<u32>()].prop_map(page),
    ];
    match scope.blocks {
        [] => small.boxed(),
        blocks => {
            let in_blocks = (0..blocks.len(), prop_oneof![Just(0), Just(1), Just(511)]);
            let in_blocks = in_blocks.prop_map(|(i, offset)| page(blocks[i] + offset));
            prop_oneof![1 => small, 1 => in_blocks].boxed()
        }
    }
}

fn any_place() -> impl Strategy<Value = VirtAddr> {
    prop_oneof![
        // Most where tables are likely to be, so that something happens there.
        6 => (0usize..4).prop_map(|i| at(PLACES[i])),
        2 => (8usize..10).prop_map(|i| at(PLACES[i])),
        3 => (0usize..PLACES.len()).prop_map(|i| at(PLACES[i])),
    ]
}

/// Where superpages can begin, for the most part.
fn any_superpage_place() -> impl Strategy<Value = VirtAddr> {
    prop_oneof![
        8 => prop_oneof![Just(0x40_0000), Just(0x60_0000)].prop_map(at),
        1 => prop_oneof![Just(0x4000_0000), Just(0x7f_7fe0_0000)].prop_map(at),
        1 => any_place(),
    ]
}

fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => 1u64..4,
        3 => 4u64..20,
        1 => prop_oneof![Just(0), Just(64), Just(129), Just(1 << 52), Just(u64::MAX)],
    ]
}

/// Of pages of address space in which there may be superpages.
fn any_long_count() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(512), 1 => Just(511), 2 => Just(1024), 3 => any_count()]
}

fn any_level() -> impl Strategy<Value = TableLevel> {
    prop_oneof![Just(TableLevel::Two), Just(TableLevel::Three)]
}

fn any_access() -> impl Strategy<Value = Access> {
    (0usize..4).prop_map(|i| Access::POSSIBLE[i])
}

fn any_select(who: usize, scope: Scope) -> impl Strategy<Value = PageSelect> {
    prop_oneof![
        4 => any_page(who, scope).prop_map(PageSelect::Exact),
        2 => Just(PageSelect::Any),
        2 => (0..=COLOURS).prop_map(PageSelect::Colour),
    ]
}

fn any_allowance() -> impl Strategy<Value = u64> {
    prop_oneof![6 => Just(u64::MAX), 1 => 0u64..3]
}

/// Ownership, or a capability that is mostly good for pages around `first`.
fn any_right(first: PageNumber) -> impl Strategy<Value = By> {
    let first = first.get();
    let epoch = prop_oneof![
        12 => Just(None),
        1 => (1u64..40).prop_map(|bits| Some(Epoch::from_low_bits(bits))),
    ];
    let rights = prop_oneof![
        3 => Just(PageRights::all()),
        1 => any::<u16>().prop_map(PageRights::from_bits_truncate),
    ];
    let range = prop_oneof![5 => Just((0, 1 << 23)), 2 => Just((first, 1)), 1 => Just((3, 9))];
    let rare = (0..12u8).prop_map(|n| n == 0);
    let cap = (range, epoch, rights, rare.clone(), rare);
    let cap = cap.prop_map(|((first, count), epoch, rights, timed, wrong)| {
        By::Cap(Cap {
            first,
            count,
            epoch,
            rights,
            timed,
            for_pages: !wrong,
        })
    });
    prop_oneof![3 => Just(By::Owner), 2 => cap]
}

fn any_run(who: usize, scope: Scope) -> impl Strategy<Value = (PageNumber, By)> {
    any_page(who, scope).prop_flat_map(|page| (Just(page), any_right(page)))
}

/// What a program would put in a page that it hopes will be believed: entries that name any frame.
fn any_word() -> impl Strategy<Value = u64> {
    let frame = || (0..FIRST_FREE + FREE).prop_map(page);
    prop_oneof![
        3 => frame().prop_map(|page| pte::page(page, WRITE)),
        3 => frame().prop_map(pte::table),
        1 => any::<u64>(),
        1 => Just(0),
    ]
}

fn any_index() -> impl Strategy<Value = Index> {
    prop_oneof![Just(0), Just(1), Just(16), Just(510), Just(511), 0u64..512]
        .prop_map(Index::truncate)
}

fn any_note() -> impl Strategy<Value = Note> {
    any::<u64>().prop_map(|bits| Note::new(bits >> 1).expect("63 bits"))
}

fn any_op_on_frames(who: usize, scope: Scope) -> impl Strategy<Value = Op> {
    let pages = move || any_page(who, scope);
    let run = move || any_run(who, scope);
    prop_oneof![
        4 => (any_select(who, scope), any_count(), any_allowance())
            .prop_map(|(which, n, allowed)| Op::Alloc(which, n, allowed)),
        3 => (run(), any_count()).prop_map(|((p, by), n)| Op::Free(by, p, n)),
        1 => (run(), any_count()).prop_map(|((p, by), n)| Op::Retire(by, p, n)),
        2 => (run(), any_count()).prop_map(|((p, by), n)| Op::Break(by, p, n)),
        2 => (pages(), any_count(), 0..2usize, any_allowance())
            .prop_map(|(p, n, to, takes)| Op::Give(p, n, to, takes)),
        1 => (pages(), any_count(), prop_oneof![Just(0), Just(1), Just(64)])
            .prop_map(|(p, n, limit)| Op::Limit(p, n, limit)),
        1 => (pages(), prop_oneof![4 => any_count(), 1 => Just(1025)])
            .prop_map(|(p, n)| Op::Mintable(p, n)),
        4 => (pages(), any_index(), any_word()).prop_map(|(p, i, w)| Op::Write(p, i, w)),
    ]
}

fn any_op_on_spaces(who: usize, scope: Scope) -> impl Strategy<Value = Op> {
    let pages = move || any_page(who, scope);
    let run = move || any_run(who, scope);
    prop_oneof![
        4 => (any_place(), any_level(), pages(), pages())
            .prop_map(|(at, level, t, l)| Op::InsertTable(at, level, t, l)),
        4 => (any_place(), any_level()).prop_map(|(at, level)| Op::RemoveTable(at, level)),
        9 => (any_place(), run(), any_count(), any_access())
            .prop_map(|(at, (p, by), n, access)| Op::Insert(at, p, by, n, access)),
        3 => (any_place(), any_select(who, scope), any_count(), any_allowance(), any_access())
            .prop_map(|(at, which, n, allowed, access)| {
                Op::InsertNew(at, which, n, allowed, access)
            }),
        8 => (any_place(), any_count()).prop_map(|(at, n)| Op::Remove(at, n)),
        4 => (any_place(), any_count(), any_access())
            .prop_map(|(at, n, access)| Op::Protect(at, n, access)),
        2 => (any_place(), any_note()).prop_map(|(at, note)| Op::Note(at, note)),
        1 => (any_place(), pages()).prop_map(|(at, p)| Op::MakeUArea(at, p)),
        1 => pages().prop_map(Op::RemoveUArea),
        1 => any_op_on_superpages(who, scope),
    ]
}

/// Mostly where a superpage can begin.
fn any_superpage(who: usize, scope: Scope) -> BoxedStrategy<PageNumber> {
    let any = any_page(who, scope);
    match scope.blocks {
        [] => any,
        blocks => {
            let heads = (0..blocks.len()).prop_map(|i| page(blocks[i]));
            prop_oneof![8 => heads, 1 => any].boxed()
        }
    }
}

fn any_op_on_superpages(who: usize, scope: Scope) -> impl Strategy<Value = Op> {
    let access = prop_oneof![9 => prop_oneof![Just(READ), Just(WRITE)], 1 => any_access()];
    let access = access.boxed();
    let run = any_superpage(who, scope).prop_flat_map(|page| (Just(page), any_right(page)));
    prop_oneof![
        3 => (any_superpage_place(), run, 1u64..4, access.clone())
            .prop_map(|(at, (p, by), n, access)| Op::InsertSuper(at, p, by, n, access)),
        2 => (any_superpage_place(), any_long_count()).prop_map(|(at, n)| Op::Remove(at, n)),
        2 => (any_superpage_place(), any_long_count(), access)
            .prop_map(|(at, n, access)| Op::Protect(at, n, access)),
    ]
}

/// The end of a space or of all that an account has, and a new beginning.
fn any_end(who: usize, scope: Scope) -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => prop_oneof![Just(1), Just(2), Just(u64::MAX)].prop_map(Op::Clear),
        4 => any_page(who, scope).prop_map(Op::MakeRoot),
        1 => Just(Op::Reclaim),
    ]
}

fn any_op(who: usize, scope: Scope) -> BoxedStrategy<Op> {
    match scope.blocks {
        [] => prop_oneof![
            18 => any_op_on_frames(who, scope),
            36 => any_op_on_spaces(who, scope),
            2 => any_end(who, scope),
        ]
        .boxed(),
        _ => prop_oneof![
            8 => any_op_on_frames(who, scope),
            8 => any_op_on_spaces(who, scope),
            16 => any_op_on_superpages(who, scope),
            1 => any_end(who, scope),
        ]
        .boxed(),
    }
}

/// By whom, on whose space, and what.
fn any_call(scope: Scope) -> impl Strategy<Value = (usize, usize, Op)> {
    let abroad = prop_oneof![5 => Just(false), 1 => Just(true)];
    (0usize..2, abroad).prop_flat_map(move |(who, abroad)| {
        let place = if abroad { 1 - who } else { who };
        (Just(who), Just(place), any_op(who, scope))
    })
}

/// Pages, tables at both ends of the address space and two mappings for both owners, so that random
/// calls meet something. Of blocks each owner has one.
fn furnish(scope: Scope) -> Vec<(usize, usize, Op)> {
    let mut ops = Vec::new();
    for who in 0..2 {
        let first = furnished(who).start;
        let table = |level| {
            move |at, table| {
                Op::InsertTable(at, level, page(first + table), page(first + table + 1))
            }
        };
        let (two, three) = (table(TableLevel::Two), table(TableLevel::Three));
        let write = |frame, index, word| Op::Write(page(frame), Index::truncate(index), word);
        let furniture = [
            Op::Alloc(PageSelect::Exact(page(first)), FURNISHED.into(), u64::MAX),
            // Hostile contents that must not survive in a table, nor in links.
            write(first, 0, pte::table(page(1))),
            write(first + 1, 16, u64::MAX),
            write(first + 2, 16, pte::page(page(0), WRITE)),
            write(first + 3, 16, u64::MAX),
            two(at(0x1_0000), 0),
            three(at(0x1_0000), 2),
            three(at(0x20_0000), 4),
            two(at(0x7f_7fff_f000), 6),
            three(at(0x7f_7fff_f000), 8),
            Op::Insert(at(0x1f_f000), page(first + 10), By::Owner, 2, WRITE),
        ];
        ops.extend(furniture.map(|op| (who, who, op)));
    }
    for (who, block) in scope.blocks.iter().enumerate() {
        for first in (*block..block + 512).step_by(16) {
            let which = PageSelect::Exact(page(first));
            ops.push((who, who, Op::Alloc(which, 16, 16)));
        }
        ops.extend([0, 256].map(|half| (who, who, Op::Limit(page(block + half), 256, 1))));
    }
    ops
}

/// Stamps each block alike, so that one capability is good for all of it: the calls that could are bounded, and
/// two of them give two epochs.
fn stamp_blocks(world: &mut World, naive: &mut Naive, scope: Scope) {
    for block in scope.blocks {
        let epoch = Epoch::from_low_bits(world.epoch.bits() + 1);
        world.epoch = epoch;
        naive.epoch = epoch;
        for number in *block..block + 512 {
            let record = &mut world.records[number as usize];
            record.stamp = exopi_abi::page::Stamp::new(epoch, record.stamp.limit());
            naive.frames.get_mut(&number).expect("there").epoch = epoch;
        }
    }
}

/// Whether the world is as the model says.
fn compare(world: &World, naive: &Naive) -> Result<(), TestCaseError> {
    prop_assert_eq!(world.epoch, naive.epoch);
    for (number, frame) in &naive.frames {
        let record = world.records[*number as usize];
        let owner = frame.owner.map(|who| OWNERS[who].word());
        prop_assert_eq!(record.kind, frame.kind, "frame {}", number);
        prop_assert_eq!(record.owner.word(), owner.unwrap_or(0), "frame {}", number);
        let stamp = (record.stamp.epoch(), record.stamp.limit());
        prop_assert_eq!(stamp, (frame.epoch, frame.limit), "frame {}", number);
        let kind = frame.kind;
        if matches!(kind, FrameType::Plain | FrameType::UArea) {
            let counts = (record.references as usize, usize::from(record.foreign));
            let expected = (naive.references(*number), naive.foreign(*number));
            prop_assert_eq!(counts, expected, "frame {}", number);
        }
        if matches!(kind, FrameType::Plain | FrameType::Free | FrameType::UArea) {
            let contents = world.hw.contents(page(*number));
            prop_assert_eq!(contents, &frame.contents, "frame {}", number);
        }
    }
    if cfg!(miri) {
        // The model of the machine remembers nothing there.
        return Ok(());
    }
    for (place, model) in naive.spaces.iter().enumerate() {
        let asid = place as u16 + 1;
        let reached = world.hw.translations().filter(|(of, ..)| *of == asid);
        let reached: BTreeSet<_> = reached.map(|(_, at, what)| (at, what)).collect();
        let expected = model.as_ref().map(|model| model.reached());
        prop_assert_eq!(reached, expected.unwrap_or_default());
    }
    Ok(())
}

type Outcomes = BTreeSet<(&'static str, Option<Error>)>;

/// Runs calls on both, comparing after each. Notes which calls had which outcome.
fn run(
    scope: Scope,
    furniture: Vec<(usize, usize, Op)>,
    random: Vec<(usize, usize, Op)>,
    outcomes: &mut Outcomes,
) -> Result<(), TestCaseError> {
    let mut world = World::new(scope.free);
    let mut naive = Naive::new(scope.free);
    let furnished = !furniture.is_empty();
    for (who, place, op) in furniture {
        let reply = world.apply(who, place, op);
        prop_assert_eq!(reply, naive.apply(who, place, op), "{:?}", op);
        prop_assert!(reply.error().is_none(), "{:?}", op);
    }
    if furnished {
        stamp_blocks(&mut world, &mut naive, scope);
    }
    for (step, (who, place, op)) in random.into_iter().enumerate() {
        let op = world.resolve(op);
        let reply = world.apply(who, place, op);
        let expected = naive.apply(who, place, op);
        prop_assert_eq!(reply, expected, "step {}: {} {} {:?}", step, who, place, op);
        if matches!(op, Op::Clear(_)) && reply.error().is_none() {
            naive.adopt(&world);
        }
        let checked = world.check();
        prop_assert_eq!(checked, Ok(()), "step {}: {} {} {:?}", step, who, place, op);
        compare(&world, &naive)?;
        outcomes.insert((op.name(), reply.error()));
    }
    // The free lists are in the order of the model's, to the end.
    for colour in 0..COLOURS {
        let op = Op::Alloc(PageSelect::Colour(colour), 1, 1);
        while let Some(head) = naive.free[usize::from(colour)].front().copied() {
            prop_assert_eq!(world.apply(0, 0, op).value, u64::from(head));
            naive.apply(0, 0, op);
        }
        prop_assert_eq!(world.apply(0, 0, op).error(), Some(Error::Exhausted));
    }
    Ok(())
}

/// Runs that many random cases of up to `length` calls each, and gives the outcomes.
fn cases(scope: Scope, cases: u32, length: usize) -> Outcomes {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { cases })
    };
    let length = if cfg!(miri) { 8 } else { length };
    let calls = prop::collection::vec(any_call(scope), 1..length);
    let calls = (0..8u8, calls);
    let outcomes = RefCell::new(BTreeSet::new());
    TestRunner::new(config)
        .run(&calls, |(empty, random)| {
            let furniture = if empty == 0 || cfg!(miri) {
                Vec::new()
            } else {
                furnish(scope)
            };
            run(scope, furniture, random, &mut outcomes.borrow_mut())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    outcomes.into_inner()
}

#[test]
fn calls_do_what_the_naive_model_does() {
    let seen = cases(SMALL, 1500, 120);
    outcomes::check(outcomes::OF_PAGES, &seen);
}

#[test]
#[cfg(not(miri))] // It would take hours there.
fn superpages_do_what_the_naive_model_does() {
    let seen = cases(LARGE, 250, 60);
    outcomes::check(outcomes::OF_SUPERPAGES, &seen);
}
