//! Every state that two owners can bring a few frames into.
//!
//! Breadth first from a start, all calls by both owners from each state, each on its own space and some on the
//! other's. States that differ in less than a call could tell count as one:
//!
//! * the order of the free lists: which frame it gives is all that it decides, and every frame can be had by its
//!   number;
//! * the values of epochs: which frames have the same is all that counts, since an older one is never good again;
//! * counters of barriers.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::vec::Vec;

use exopi_abi::capability::PageRights;
use exopi_abi::page::FrameType;
use exopi_abi::{Note, PageNumber, PageSelect, TableLevel};

use super::examples::cap;
use super::{By, FIRST_FREE, Op, READ, WRITE, World, at, page};
use crate::Index;

/// Two pages below one level-3 table: the smallest scope in which a list and an order matter.
const PLACES: [u64; 2] = [0x1f_e000, 0x1f_f000];

/// A number for a state, the same for those that count as one.
fn canonical(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut epochs = HashMap::new();
    for (number, record) in world.records.iter().enumerate() {
        let words = match record.kind {
            FrameType::Free => (0, 0),
            _ => (record.first, record.second),
        };
        let next = epochs.len();
        let epoch = *epochs.entry(record.stamp.epoch().bits()).or_insert(next);
        (record.kind, record.owner, epoch, record.stamp.limit()).hash(&mut hasher);
        (record.references, record.foreign, record.marks, words).hash(&mut hasher);
        world.hw.contents(page(number as u32)).hash(&mut hasher);
    }
    world.spaces.map(|space| space.is_some()).hash(&mut hasher);
    hasher.finish()
}

/// Explores from `start` to `depth` calls, or until nothing new is found. `calls` are by whom, on whose space, and
/// what. Gives how many states there were, how many of them with a page mapped, and whether these are all that
/// there are.
fn explore(start: World, calls: &[(usize, usize, Op)], depth: usize) -> (usize, usize, bool) {
    let mut seen = HashSet::from([canonical(&start)]);
    let mut mapped = 0;
    let mut level = Vec::from([start]);
    for _ in 0..depth {
        let mut next = Vec::new();
        for state in &level {
            let mut world = state.clone();
            for (who, place, op) in calls.iter().copied() {
                let reply = world.apply(who, place, op);
                if reply.status >> 16 == 0 && reply.error().is_some() {
                    assert!(
                        world == *state,
                        "refused, and something has changed: {who} {place} {op:?}"
                    );
                    continue;
                }
                // Caches do not make a state new: they must always hold what the tables say.
                assert_eq!(world.hw.settled(), Ok(()), "{who} {place} {op:?}");
                if seen.insert(canonical(&world)) {
                    let checked = world.check();
                    assert_eq!(checked, Ok(()), "{who} {place} {op:?}");
                    let refers = |record: &exopi_abi::page::PageRecord| record.references > 0;
                    mapped += usize::from(world.records.iter().any(refers));
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

/// What changes the type or the owner of each of `frames` frames from `first` on.
fn calls_on_frames(first: u32, frames: u32) -> Vec<Op> {
    let mut calls = Vec::new();
    for one in (first..first + frames).map(page) {
        calls.extend([
            Op::Alloc(PageSelect::Exact(one), 1, 1),
            Op::Free(By::Owner, one, 1),
            Op::Give(one, 1, 0, 1),
            Op::Give(one, 1, 1, 1),
            Op::MakeUArea(at(PLACES[0]), one),
            Op::RemoveUArea(one),
        ]);
    }
    calls
}

/// The calls by both owners, each on its own space.
fn by_both(calls: &[Op]) -> impl Iterator<Item = (usize, usize, Op)> {
    (0..2).flat_map(|who| calls.iter().map(move |op| (who, who, *op)))
}

/// What builds tables from any two of `frames` free frames, takes them out and takes the space apart.
fn calls_on_tables(frames: u32) -> Vec<Op> {
    let pages = || (FIRST_FREE - 1..FIRST_FREE + frames).map(page);
    let place = at(PLACES[0]);
    let mut calls = calls_on_frames(FIRST_FREE, frames);
    for one in pages() {
        let links: Vec<PageNumber> = pages().filter(|other| *other != one).collect();
        for level in [TableLevel::Two, TableLevel::Three] {
            let insert = |links: &PageNumber| Op::InsertTable(place, level, one, *links);
            calls.extend(links.iter().map(insert));
        }
        calls.push(Op::Insert(place, one, By::Owner, 1, WRITE));
        // An entry that would make the first root writable, where the tables would use it.
        let word = crate::pte::page(page(1), WRITE);
        calls.push(Op::Write(one, Index::in_table3(place), word));
        calls.push(Op::MakeRoot(one));
    }
    calls.extend([
        // All at once, or the depth would not reach a mapping.
        Op::Alloc(
            PageSelect::Exact(page(FIRST_FREE)),
            frames.into(),
            frames.into(),
        ),
        Op::Remove(place, 1),
        Op::RemoveTable(place, TableLevel::Two),
        Op::RemoveTable(place, TableLevel::Three),
        Op::Clear(1),
        Op::Reclaim,
    ]);
    calls
}

/// What maps each of `frames` frames from `first` on, shares and changes them.
fn calls_on_pages(first: u32, frames: u32) -> Vec<Op> {
    let mut calls = calls_on_frames(first, frames);
    let places = PLACES.map(at);
    for one in (first..first + frames).map(page) {
        for place in places {
            calls.push(Op::Insert(place, one, By::Owner, 1, READ));
            calls.push(Op::Insert(place, one, cap(PageRights::all()), 1, WRITE));
        }
        calls.extend([
            Op::Retire(By::Owner, one, 1),
            Op::Break(By::Owner, one, 1),
            Op::Break(cap(PageRights::RETIRE), one, 1),
            Op::Limit(one, 1, 1),
        ]);
    }
    calls.extend([
        Op::Insert(places[0], page(first), cap(PageRights::all()), 2, READ),
        Op::InsertNew(places[0], PageSelect::Exact(page(first)), 2, 2, WRITE),
        Op::Remove(places[0], 2),
        Op::Remove(places[1], 1),
        Op::Protect(places[0], 2, READ),
        Op::Protect(places[0], 1, WRITE),
        Op::Note(places[1], Note::new(3).expect("63 bits")),
    ]);
    calls
}

/// Both owners have tables for [`PLACES`]; the `free` frames behind them are free. Gives the first of those.
fn with_tables_for_both(free: u32) -> (World, u32) {
    let mut world = World::new(8 + free);
    for who in 0..2 {
        let first = FIRST_FREE + 4 * who as u32;
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| page(first + i));
        for op in [
            Op::Alloc(PageSelect::Exact(a), 4, 4),
            Op::InsertTable(at(PLACES[0]), TableLevel::Two, a, b),
            Op::InsertTable(at(PLACES[0]), TableLevel::Three, c, d),
        ] {
            assert_eq!(world.apply(who, who, op).error(), None);
        }
    }
    (world, FIRST_FREE + 8)
}

#[test]
fn five_frames_do_not_get_into_a_bad_state_by_five_calls() {
    let calls: Vec<_> = by_both(&calls_on_tables(5)).collect();
    let (states, mapped, _) = explore(World::new(5), &calls, 5);
    assert!(mapped > 100, "{mapped} of {states} states map something");
}

#[test]
fn three_frames_never_get_into_a_bad_state() {
    let calls: Vec<_> = by_both(&calls_on_tables(3)).collect();
    let (states, _, complete) = explore(World::new(3), &calls, 40);
    assert!(complete, "{states} states and still new ones");
}

/// Calls that map and share, on both spaces.
fn calls_on_both_spaces(first: u32, frames: u32) -> Vec<(usize, usize, Op)> {
    let calls = calls_on_pages(first, frames);
    let abroad = calls
        .iter()
        .filter(|op| matches!(op, Op::Insert(..) | Op::MakeUArea(..)));
    let abroad = abroad.flat_map(|op| [(0, 1, *op), (1, 0, *op)]);
    by_both(&calls).chain(abroad).collect()
}

#[test]
fn one_page_of_two_owners_never_gets_into_a_bad_state() {
    let (world, first) = with_tables_for_both(1);
    let calls = calls_on_both_spaces(first, 1);
    let (states, _, complete) = explore(world, &calls, 60);
    assert!(complete, "{states} states and still new ones");
}

#[test]
fn two_pages_of_two_owners_do_not_get_into_a_bad_state_by_six_calls() {
    let (world, first) = with_tables_for_both(2);
    let calls = calls_on_both_spaces(first, 2);
    let (states, mapped, _) = explore(world, &calls, 6);
    assert!(mapped > 10_000, "{mapped} of {states} states map something");
}
