//! Random trees, changed at random, and frames that mean something to them.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::world::{Memory, World};
use crate::{Error, FilterId, MAX_ATOMS, MAX_CHAIN, Operation, Secrets, Width};
use exopi_abi::net::shifted;

/// Octets that frames and values are made of: few, so that they meet.
const OCTETS: [u8; 4] = [0, 1, 0x45, 0xff];

#[derive(Clone, Debug)]
enum Action {
    Declare(usize, Vec<Operation>),
    Insert(usize, usize, u64),
    Delete(usize, usize),
    Retire(usize),
}

fn width() -> impl Strategy<Value = Width> {
    (0..4u8).prop_map(|code| Width::from_code(code).unwrap())
}

fn mask(width: Width) -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => Just(width.ones()),
        1 => any::<u64>().prop_map(move |mask| (mask & width.ones()).max(1)),
        1 => (0..width.bits()).prop_map(|bit| 1 << bit),
    ]
}

/// Distance of a field from the one before it.
fn gap() -> impl Strategy<Value = u16> {
    prop_oneof![6 => Just(0u16), 6 => 0..6u16, 1 => 200..300u16, 1 => Just(5000)]
}

fn field() -> impl Strategy<Value = (u16, Operation)> {
    let field =
        (gap(), width()).prop_flat_map(|(gap, width)| (Just(gap), Just(width), mask(width)));
    field.prop_map(|(gap, width, mask)| (gap, super::world::equal(0, width, mask, 0)))
}

fn advance_by() -> impl Strategy<Value = (u16, Operation)> {
    let form = prop_oneof![
        Just((Width::Bits8, 0x0f, 2)),
        Just((Width::Bits8, 0xf0, -2)),
        Just((Width::Bits8, 0xff, 0)),
        Just((Width::Bits16, 0x0101, 1)),
        Just((Width::Bits16, 0xffff, -3)),
    ];
    (0..6u16, form).prop_map(|(offset, (width, mask, shift))| {
        let operation = Operation::AdvanceBy {
            offset,
            width,
            mask,
            shift,
        };
        (0, operation)
    })
}

/// A canonical key of up to `most` fields and advances.
fn key(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let part = prop_oneof![5 => field().boxed(), 1 => advance_by().boxed()];
    let end = prop_oneof![3 => Just(0u16), 2 => 1..20u16, 1 => Just(40000)];
    (proptest::collection::vec(part, 1..most), end).prop_map(|(parts, end)| {
        let mut at = 0u16;
        let mut operations = vec![];
        for (gap, part) in parts {
            match part {
                Operation::Equal {
                    width, mask, value, ..
                } => {
                    let offset = at.saturating_add(gap).min(60000);
                    at = offset + width.octets() as u16;
                    operations.push(super::world::equal(offset, width, mask, value));
                }
                other => {
                    at = 0;
                    operations.push(other);
                }
            }
        }
        operations.extend((end > 0).then_some(Operation::Advance { by: end }));
        operations
    })
}

fn action() -> impl Strategy<Value = Action> {
    let any_key = prop_oneof![8 => key(5), 1 => key(30)];
    prop_oneof![
        3 => (0..100usize, any_key).prop_map(|(at, key)| Action::Declare(at, key)),
        9 => (0..100usize, 0..4usize, any::<u64>()).prop_map(|(at, key, seed)| Action::Insert(at, key, seed)),
        1 => (0..100usize, 1..4usize).prop_map(|(at, bound)| Action::Delete(at, bound)),
        1 => (0..100usize).prop_map(Action::Retire),
    ]
}

/// Octets from the few, by a seed that is used up.
fn draw(seed: &mut u64) -> u8 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    OCTETS[(*seed >> 60) as usize % 4]
}

/// `key` with values from the few octets.
fn with_values(key: &[Operation], mut seed: u64) -> Vec<Operation> {
    let valued = |operation: &Operation| match *operation {
        Operation::Equal {
            offset,
            width,
            mask,
            ..
        } => {
            let value =
                (0..width.octets()).fold(0, |value, _| value << 8 | u64::from(draw(&mut seed)));
            super::world::equal(offset, width, mask, value & mask)
        }
        other => other,
    };
    key.iter().map(valued).collect()
}

/// A frame that `chain` takes, if fields and advances do not contradict each other, of the shortest
/// length that it may have; what no atom names is random.
fn frame_for(chain: &[Operation], seed: &mut u64) -> Vec<u8> {
    let mut frame: Vec<u8> = vec![];
    let mut base = 0usize;
    for operation in chain {
        match *operation {
            Operation::Equal {
                offset,
                width,
                mask,
                value,
            } => {
                let (start, octets) = (base + usize::from(offset), width.octets() as usize);
                while frame.len() < start + octets {
                    frame.push(draw(seed));
                }
                for (at, octet) in frame[start..start + octets].iter_mut().enumerate() {
                    let shift = 8 * (octets - 1 - at);
                    *octet = *octet & !(mask >> shift) as u8 | (value >> shift) as u8;
                }
            }
            Operation::Advance { by } => base += usize::from(by),
            Operation::AdvanceBy {
                offset,
                width,
                mask,
                shift,
            } => {
                let (start, octets) = (base + usize::from(offset), width.octets() as usize);
                while frame.len() < start + octets {
                    frame.push(draw(seed));
                }
                let octets = &frame[start..start + octets];
                let number = octets
                    .iter()
                    .fold(0, |number, &octet| number << 8 | u64::from(octet));
                base += shifted(number & mask, shift) as usize;
            }
        }
        // Chains with large advances would need frames that no network carries.
        if frame.len() > 70000 {
            break;
        }
    }
    frame
}

/// Frames for each filter: as short as may be, one octet less, and longer; and some for nobody.
fn frames(world: &World<'_>, mut seed: u64) -> Vec<Vec<u8>> {
    let mut frames = vec![vec![]];
    for node in world.model.nodes.values() {
        let frame = frame_for(&node.chain, &mut seed);
        if frame.len() > 70000 {
            continue;
        }
        let mut longer = frame.clone();
        (0..40).for_each(|_| longer.push(draw(&mut seed)));
        frames.push(frame[..frame.len().saturating_sub(1)].to_vec());
        frames.push(frame);
        frames.push(longer);
    }
    for length in 0..=60 {
        frames.push((0..length).map(|_| draw(&mut seed)).collect());
    }
    frames
}

fn apply(world: &mut World<'_>, keys: &mut Vec<(FilterId, Vec<Vec<Operation>>)>, action: Action) {
    let ids: Vec<FilterId> = world.model.nodes.keys().copied().collect();
    let pick = |at: usize| ids[at % ids.len()];
    let live = |world: &World<'_>, id: FilterId| !world.model.nodes[&id].retired;
    let known = |keys: &[(FilterId, Vec<Vec<Operation>>)], id| {
        keys.iter()
            .find(|(of, _)| *of == id)
            .map_or(vec![], |(_, keys)| keys.clone())
    };
    match action {
        Action::Declare(at, key) => {
            let id = pick(at);
            let mut all = known(keys, id);
            match world.declare(id, &key) {
                Ok(position) => {
                    assert_eq!(position, all.len());
                    all.push(key);
                    keys.retain(|(of, _)| *of != id);
                    keys.push((id, all));
                }
                Err(Error::TooManyKeys) => assert_eq!(all.len(), 4),
                Err(Error::Leaving) => assert!(!live(world, id)),
                Err(error) => assert!(error == Error::NoKey, "{error}"),
            }
        }
        Action::Insert(at, position, seed) => {
            let id = pick(at);
            insert(world, id, &known(keys, id), position, seed);
        }
        Action::Delete(at, bound) => {
            let gone = delete(world, pick(at), bound);
            keys.retain(|(of, _)| !gone.contains(of));
        }
        Action::Retire(at) => {
            let id = pick(at);
            match world
                .trie
                .retire(id, |gone, _| keys.retain(|(of, _)| *of != gone))
            {
                Ok(_) => world.model.retire(id),
                Err(error) => assert!(error == Error::Root || !live(world, id), "{error}"),
            }
        }
    }
}

/// Inserts a child under one of the keys `all` that `id` has.
fn insert(world: &mut World<'_>, id: FilterId, all: &[Vec<Operation>], position: usize, seed: u64) {
    let Some(key) = all.get(position % all.len().max(1)) else {
        return;
    };
    let position = position % all.len();
    let operations = with_values(key, seed);
    let mut chain = world.model.nodes[&id].chain.clone();
    chain.extend_from_slice(&operations);
    let same =
        |(_, node): (FilterId, &super::model::Node)| node.key == position && node.chain == chain;
    let taken = world.model.children(id).any(same);
    match world.insert(id, position, &operations) {
        Ok(_) => assert!(!taken && chain.len() <= MAX_CHAIN && !world.model.nodes[&id].retired),
        Err(Error::Overlap) => assert!(taken),
        Err(Error::BadCount) => {
            assert!(chain.len() > MAX_CHAIN || operations.len() > MAX_ATOMS)
        }
        Err(Error::Leaving) => assert!(world.model.nodes[&id].retired),
        Err(error) => assert!(matches!(error, Error::NoFilter | Error::NoChunk), "{error}"),
    }
}

/// Deletes in steps of `bound` and tells what went.
fn delete(world: &mut World<'_>, id: FilterId, bound: usize) -> Vec<FilterId> {
    let mut gone = vec![];
    if id == FilterId::ROOT {
        return gone;
    }
    let before: Vec<FilterId> = world.model.nodes.keys().copied().collect();
    loop {
        let part = world.trie.delete(id, bound, |id, _| gone.push(id)).unwrap();
        if part.done {
            break;
        }
        assert_eq!(part.removed, bound);
    }
    world.model.delete(id);
    let mut all: Vec<FilterId> = world.model.nodes.keys().copied().collect();
    all.extend(&gone);
    all.sort();
    assert_eq!(all, before);
    gone
}

/// Everything that must hold of the records.
fn invariants(world: &World<'_>) {
    let trie = &world.trie;
    let occupied: Vec<u32> = trie
        .slots
        .iter()
        .copied()
        .filter(|&slot| slot != 0)
        .collect();
    let mut sorted = occupied.clone();
    sorted.sort();
    let ids: Vec<u32> = world
        .model
        .nodes
        .keys()
        .map(|id| id.0)
        .filter(|&id| id != 0)
        .collect();
    assert_eq!(sorted, ids, "each filter but the root is in the table once");
    for (id, node) in &world.model.nodes {
        let record = trie.filter(*id).unwrap();
        assert_eq!((record.parent(), record.key()), (node.parent, node.key));
        assert_eq!(record.chain_length(), node.chain.len());
        // What is stored is what was inserted: the chain, read back from the records.
        let mut chain: Vec<Vec<Operation>> = vec![];
        let mut at = *id;
        while at != FilterId::ROOT {
            chain.push(trie.operations(at).collect());
            at = trie.filter(at).unwrap().parent();
        }
        chain.reverse();
        assert_eq!(chain.concat(), node.chain);
    }
    let users: u32 = trie.keys.iter().map(|key| key.users()).sum();
    let declared: usize = world.model.nodes.values().map(|node| node.keys).sum();
    assert_eq!(users as usize, declared);
    let needed = |record: &crate::Filter| crate::trie::chunks_for(record.used_words.into());
    let used: usize = trie.filters.iter().map(needed).sum();
    let mut free = 0;
    let mut at = trie.free_chunk;
    while at != 0 {
        free += 1;
        at = trie.chunks[at as usize].0[0] as u32;
    }
    assert_eq!(used + free, trie.chunks.len() - 1, "no chunk is lost");
}

/// Cases, more of them where somebody has the time (`FILTER_CASES`).
fn cases() -> u32 {
    let cases = std::env::var("FILTER_CASES").ok();
    cases
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(if cfg!(miri) { 2 } else { 192 })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_three_forms_agree(actions in proptest::collection::vec(action(), 1..80), seed in any::<u64>()) {
        let mut memory = Memory::new(40, 24, 24);
        let secrets = Secrets { first: seed, second: seed.rotate_left(17) | 1 };
        let mut world = World::new(memory.trie(secrets));
        let mut keys = vec![];
        let start = Action::Declare(0, with_values(&[super::world::equal(0, Width::Bits8, 0xff, 0)], 0));
        for (number, action) in core::iter::once(start).chain(actions).enumerate() {
            apply(&mut world, &mut keys, match action {
                Action::Declare(at, key) => Action::Declare(at, super::world::asked(&key)),
                other => other,
            });
            invariants(&world);
            if number % 16 == 15 {
                world.agree(&frames(&world, seed))?;
            }
        }
        world.agree(&frames(&world, seed))?;
    }
}
