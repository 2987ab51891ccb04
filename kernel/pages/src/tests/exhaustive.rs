//! Every state that two owners can bring a few frames into.
//!
//! Breadth first from the start, all calls by both owners from each state. States that differ in the
//! order of the free list alone count as one: which frame it gives is all that the order decides, and
//! every frame can be had by its number. Nor do counters of barriers make a difference.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::vec::Vec;

use exopi_abi::page::FrameType;
use exopi_abi::{PageSelect, TableLevel, VirtAddr};

use super::{FIRST_FREE, Op, READ, WRITE, World, at, page};
use crate::{Index, Space};

/// Two pages below one level-3 table: the smallest scope in which a list and an order matter.
const PLACES: [u64; 2] = [0x1f_e000, 0x1f_f000];

/// A number for a state, the same for those that count as one.
fn canonical(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (number, record) in world.records.iter().enumerate() {
        let list = record.kind == FrameType::Free;
        let words = if list {
            (0, 0)
        } else {
            (record.first, record.second)
        };
        (
            record.kind,
            record.owner,
            record.user,
            record.references,
            words,
        )
            .hash(&mut hasher);
        world.hw.contents(page(number as u32)).hash(&mut hasher);
    }
    hasher.finish()
}

/// Every call that could do something to `frames` free frames.
fn all_calls(frames: u32) -> Vec<Op> {
    let pages = || (FIRST_FREE - 1..FIRST_FREE + frames).map(page);
    let places = PLACES.map(at);
    let first: VirtAddr = places[0];
    let mut calls = Vec::new();
    for one in pages() {
        calls.push(Op::Alloc(PageSelect::Exact(one), 1));
        calls.push(Op::Free(one, 1));
        calls.push(Op::InsertTable(first, TableLevel::Two, one, None));
        let others = pages().filter(|other| *other != one);
        calls.extend(
            others.map(|other| Op::InsertTable(first, TableLevel::Three, one, Some(other))),
        );
        for place in places {
            calls.push(Op::Insert(place, one, 1, READ));
            calls.push(Op::Insert(place, one, 1, WRITE));
        }
        calls.push(Op::MakeUArea(first, one));
        // An entry that would make the first root writable, where the tables would use it.
        let word = crate::pte::page(page(1), WRITE);
        calls.push(Op::Write(one, Index::in_table3(first), word));
    }
    calls.push(Op::Alloc(
        PageSelect::Exact(page(FIRST_FREE)),
        u64::from(frames),
    ));
    calls.push(Op::Insert(first, page(FIRST_FREE), 2, WRITE));
    calls.push(Op::Remove(first, 2));
    calls.extend(places.map(|place| Op::Remove(place, 1)));
    calls.push(Op::RemoveTable(first, TableLevel::Two));
    calls.push(Op::RemoveTable(first, TableLevel::Three));
    calls
}

/// Explores to `depth` calls, or until nothing new is found. Gives how many states there were, how many
/// of them with a mapping, and whether these are all that there are.
fn explore(frames: u32, depth: usize) -> (usize, usize, bool) {
    let (start, spaces): (World, [Space; 2]) = World::new(frames);
    let calls = all_calls(frames);
    let mut seen = HashSet::from([canonical(&start)]);
    let mut mapped = 0;
    let mut level = Vec::from([start]);
    for _ in 0..depth {
        let mut next = Vec::new();
        for state in &level {
            let mut world = state.clone();
            for (who, op) in (0..2).flat_map(|who| calls.iter().map(move |op| (who, *op))) {
                let reply = world.apply(&spaces, who, op);
                if reply.status >> 16 == 0 && reply.error().is_some() {
                    assert!(
                        world == *state,
                        "refused, and something has changed: {who} {op:?}"
                    );
                    continue;
                }
                // Caches do not make a state new: they must always hold what the tables say.
                assert_eq!(world.hw.settled(), Ok(()), "{who} {op:?}");
                if seen.insert(canonical(&world)) {
                    let checked = world.check(&spaces);
                    assert_eq!(checked, Ok(()), "{who} {op:?}");
                    mapped += usize::from(world.hw.translations().next().is_some());
                    next.push(core::mem::replace(&mut world, state.clone()));
                } else {
                    world = state.clone();
                }
            }
        }
        level = next;
    }
    (seen.len(), mapped, level.is_empty())
}

#[test]
fn four_frames_never_get_into_a_bad_state() {
    let (states, mapped, complete) = explore(4, 20);
    assert!(complete, "{states} states and still new ones");
    assert!(mapped > 1000, "{mapped} of {states} states map something");
}

#[test]
fn five_frames_do_not_get_into_a_bad_state_by_six_calls() {
    let (states, mapped, _) = explore(5, 6);
    assert!(mapped > 20_000, "{mapped} of {states} states map something");
}
