//! What must be refused, limits, and frames that lie about themselves.

use std::vec;
use std::vec::Vec;

use exopi_a64::emulator::Fault;

use super::costs::tcp_frame;
use super::world::{Memory, SECRETS, World, asked, encode, equal};
use crate::{Atom, Error, FilterId, KeyId, MAX_CODE_WORDS, Operation, Pools, Program, Trie, Width};
use crate::{MAX_RUN, slots_for};

const ROOT: FilterId = FilterId::ROOT;

fn octet(offset: u16, value: u64) -> Operation {
    equal(offset, Width::Bits8, 0xff, value)
}

/// IPv4 and TCP whatever the options, then the destination port.
fn port_behind_options(port: u64) -> Vec<Operation> {
    vec![
        equal(12, Width::Bits16, 0xffff, 0x0800),
        equal(14, Width::Bits8, 0xf0, 0x40),
        equal(20, Width::Bits16, 0x3fff, 0),
        octet(23, 6),
        Operation::AdvanceBy {
            offset: 14,
            width: Width::Bits8,
            mask: 0x0f,
            shift: 2,
        },
        equal(16, Width::Bits16, 0xffff, port),
    ]
}

#[test]
fn ports_are_found_behind_options_and_not_in_fragments() {
    let mut memory = Memory::new(8, 2, 4);
    let mut world = World::new(memory.trie(SECRETS));
    world.declare(ROOT, &port_behind_options(0)).unwrap();
    let http = world.insert(ROOT, 0, &port_behind_options(80)).unwrap();
    let plain = tcp_frame([10, 0, 2, 2], [10, 0, 2, 15], 1234, 80);
    let mut frames: Vec<Vec<u8>> = (0..=60)
        .map(|length| plain[..length.min(54)].to_vec())
        .collect();
    for words in 0..16u8 {
        // Header lengths from none to 60 octets, with the ports where they say.
        let mut frame = plain.clone();
        frame.resize(14 + 60 + 8, 0);
        frame[14] = 0x40 | words;
        frame[36..38].fill(0);
        let at = 14 + usize::from(words) * 4 + 2;
        frame[at..at + 2].copy_from_slice(&80u16.to_be_bytes());
        let fits = frame[23] == 6 && frame[12..14] == [8, 0] && frame[14] == 0x40 | words;
        assert!(
            !fits || world.trie.classify(&frame) == http || words < 3,
            "{words}"
        );
        for length in at..at + 4 {
            frames.push(frame[..length].to_vec());
        }
        frames.push(frame);
    }
    for (flags, taken) in [
        (0x4000u16, true),
        (0x2000, false),
        (0x2001, false),
        (0x0007, false),
    ] {
        let mut frame = plain.clone();
        frame[20..22].copy_from_slice(&flags.to_be_bytes());
        assert_eq!(world.trie.classify(&frame) == http, taken);
        frames.push(frame);
    }
    world.agree(&frames).unwrap();
    assert_eq!(world.trie.classify(&plain[..38]), http);
    assert_eq!(world.trie.classify(&plain[..37]), ROOT);
}

#[test]
fn nobody_steals_from_a_sibling() {
    let mut memory = Memory::new(16, 2, 8);
    let mut world = World::new(memory.trie(SECRETS));
    world.declare(ROOT, &[octet(0, 0)]).unwrap();
    world
        .declare(ROOT, &[octet(0, 0), octet(1, 0), octet(2, 0)])
        .unwrap();
    let owner = world.insert(ROOT, 0, &[octet(0, 5)]).unwrap();
    // More atoms, but under a later key: it gets only what the owner does not.
    let specific = [octet(0, 5), octet(1, 6), octet(2, 7)];
    world.insert(ROOT, 1, &specific).unwrap();
    assert_eq!(world.trie.classify(&[5, 6, 7]), owner);
    let same = encode(&[octet(0, 5)]);
    let again = world.trie.insert(ROOT, 0, Program::new(&same).unwrap(), 0);
    assert_eq!(again, Err(Error::Overlap));
    // Only the owner splits what is the owner's, and what its children leave stays its own.
    world.declare(owner, &[octet(1, 0)]).unwrap();
    let part = world.insert(owner, 0, &[octet(1, 6)]).unwrap();
    assert_eq!(world.trie.classify(&[5, 6, 7]), part);
    assert_eq!(world.trie.classify(&[5, 0, 7]), owner);
    world
        .agree(&[vec![5, 6, 7], vec![5], vec![], vec![6, 6, 7]])
        .unwrap();
}

#[test]
fn a_filter_that_is_being_removed_gets_nothing_and_grows_no_more() {
    let mut memory = Memory::new(16, 2, 8);
    let mut world = World::new(memory.trie(SECRETS));
    world.declare(ROOT, &[octet(0, 0)]).unwrap();
    let top = world.insert(ROOT, 0, &[octet(0, 1)]).unwrap();
    world.declare(top, &[octet(1, 0)]).unwrap();
    let middle = world.insert(top, 0, &[octet(1, 1)]).unwrap();
    world.declare(middle, &[octet(2, 0)]).unwrap();
    for value in 0..5 {
        world.insert(middle, 0, &[octet(2, value)]).unwrap();
    }
    let part = world.trie.delete(top, 2, |_, _| {}).unwrap();
    assert!(!part.done && part.removed == 2);
    assert_eq!(world.trie.classify(&[1, 1, 0]), ROOT);
    assert!(!world.trie.satisfies(middle, &[1, 1, 0]) && world.trie.satisfies(ROOT, &[]));
    assert!(!world.trie.satisfies(FilterId(u32::MAX), &[1, 1, 0]));
    let atoms = encode(&[octet(2, 9)]);
    let program = Program::new(&atoms).unwrap();
    for id in [top, middle] {
        assert_eq!(world.trie.insert(id, 0, program, 0), Err(Error::Leaving));
        assert_eq!(world.trie.declare(id, KeyId(0)), Err(Error::Leaving));
    }
    assert_eq!(world.trie.add_target(top, 1), Err(Error::Leaving));
    // The values are free at once, and the rest goes when it is asked for again.
    let again = world
        .trie
        .insert(ROOT, 0, Program::new(&encode(&[octet(0, 1)])).unwrap(), 0);
    assert!(again.is_ok());
    let rest = world.trie.delete(top, 100, |_, _| {}).unwrap();
    assert!(rest.done && rest.removed == 5);
    assert_eq!(world.trie.delete(top, 1, |_, _| {}), Err(Error::Unknown));
    assert_eq!(world.trie.delete(ROOT, 1, |_, _| {}), Err(Error::Root));
    assert_eq!(world.trie.retire(ROOT, |_, _| {}), Err(Error::Root));
    assert_eq!(world.trie.classify(&[1, 1, 0]), again.unwrap());
}

#[test]
fn targets_are_eight_at_most_and_differ() {
    let mut memory = Memory::new(4, 2, 2);
    let mut trie = memory.trie(SECRETS);
    for target in 0..8 {
        trie.add_target(ROOT, target).unwrap();
        assert_eq!(trie.add_target(ROOT, target), Err(Error::Present));
    }
    assert_eq!(trie.add_target(ROOT, 8), Err(Error::TooManyTargets));
    assert_eq!(trie.add_target(ROOT, u32::MAX), Err(Error::Malformed));
    assert_eq!(trie.replace_target(ROOT, 3, 4), Err(Error::Present));
    assert_eq!(trie.replace_target(ROOT, 9, 10), Err(Error::Absent));
    trie.replace_target(ROOT, 3, 9).unwrap();
    let targets: Vec<u32> = trie.filter(ROOT).unwrap().targets().collect();
    assert_eq!(targets, [0, 1, 2, 9, 4, 5, 6, 7]);
    assert_eq!(trie.remove_target(ROOT, 9), Ok(7));
    assert_eq!(trie.remove_target(ROOT, 9), Err(Error::Absent));
    assert_eq!(trie.remove_target(ROOT, u32::MAX), Err(Error::Absent));
    assert_eq!(trie.replace_target(ROOT, u32::MAX, 11), Err(Error::Absent));
    assert_eq!(trie.add_target(FilterId(3), 1), Err(Error::Unknown));
    assert_eq!(trie.add_target(FilterId(u32::MAX), 1), Err(Error::Unknown));
}

#[test]
fn pools_run_out_without_harm() {
    let mut memory = Memory::new(4, 3, 2);
    let mut world = World::new(memory.trie(SECRETS));
    // 13 words: nine in two chunks.
    let long: Vec<Operation> = (0..12)
        .map(|at| equal(at * 8, Width::Bits64, u64::MAX, 0))
        .collect();
    world.declare(ROOT, &long).unwrap();
    world.declare(ROOT, &[octet(0, 0)]).unwrap();
    let with = |value: u64| {
        let mut long = long.clone();
        long[11] = equal(88, Width::Bits64, u64::MAX, value);
        long
    };
    assert_eq!(world.key(&[octet(1, 0)]), Err(Error::NoKey));
    assert_eq!(world.trie.reclaim(), None);
    let first = world.insert(ROOT, 0, &with(1)).unwrap();
    assert_eq!(world.insert(ROOT, 0, &with(2)), Err(Error::NoChunk));
    world.insert(ROOT, 1, &[octet(0, 1)]).unwrap();
    world.insert(ROOT, 1, &[octet(0, 2)]).unwrap();
    assert_eq!(world.insert(ROOT, 1, &[octet(0, 3)]), Err(Error::NoFilter));
    world.trie.delete(first, 1, |_, _| {}).unwrap();
    world.model.delete(first);
    assert_eq!(world.insert(ROOT, 0, &with(2)), Ok(first));
    let mut frame = vec![0; 96];
    frame[95] = 2;
    assert_eq!(world.trie.classify(&frame), first);
    world
        .agree(&[frame.clone(), frame[..95].to_vec(), vec![1], vec![2, 0]])
        .unwrap();
}

#[test]
fn keys_are_shared_and_come_back() {
    let mut memory = Memory::new(8, 2, 2);
    let mut world = World::new(memory.trie(SECRETS));
    world.declare(ROOT, &[octet(0, 0)]).unwrap();
    let words = world.arena.words.len();
    let (one, two) = (
        world.insert(ROOT, 0, &[octet(0, 1)]).unwrap(),
        world.insert(ROOT, 0, &[octet(0, 2)]).unwrap(),
    );
    // The same key again, for others: no code more.
    world.declare(one, &[octet(0, 0)]).unwrap();
    assert_eq!(world.arena.words.len(), words);
    world.declare(two, &[octet(1, 0)]).unwrap();
    assert!(world.arena.words.len() > words);
    assert_eq!(world.trie.key(KeyId(0)).unwrap().users(), 2);
    let offset = world.trie.key(KeyId(1)).unwrap().code();
    world.trie.delete(two, 1, |_, _| {}).unwrap();
    assert_eq!(world.trie.reclaim(), Some(offset));
    assert_eq!(world.trie.reclaim(), None);
    assert!(world.trie.key(KeyId(1)).is_none());
    assert_eq!(world.trie.declare(one, KeyId(1)), Err(Error::Unknown));
    let atoms = encode(&[octet(3, 0)]);
    let key = world.trie.intern(Program::new(&atoms).unwrap()).unwrap();
    assert_eq!(world.trie.declare(one, key), Err(Error::NoCode));
    assert_eq!(world.trie.set_code(key, 0), Err(Error::Malformed));
    assert_eq!(world.trie.set_code(key, 6), Err(Error::Malformed));
    world.trie.set_code(key, 8).unwrap();
    assert_eq!(world.trie.set_code(key, 8), Err(Error::Present));
    let valued = encode(&[octet(3, 1)]);
    assert_eq!(
        world.trie.intern(Program::new(&valued).unwrap()),
        Err(Error::NotCanonical)
    );
}

#[test]
fn only_the_atoms_of_the_key_make_a_child() {
    let mut memory = Memory::new(8, 2, 2);
    let mut world = World::new(memory.trie(SECRETS));
    world.declare(ROOT, &port_behind_options(0)).unwrap();
    let good = encode(&port_behind_options(80));
    let insert = |world: &mut World<'_>, atoms: &[Atom]| {
        let program = Program::new(atoms)?;
        world.trie.insert(ROOT, 0, program, 0)
    };
    for at in 0..good.len() {
        let mut fewer = good.clone();
        fewer.remove(at);
        assert!(insert(&mut world, &fewer).is_err());
        let mut other = good.clone();
        other[at].offset ^= 1;
        assert!(insert(&mut world, &other).is_err());
        let mut other = good.clone();
        (other[at].mask, other[at].value) = (1, 0);
        assert_eq!(insert(&mut world, &other), Err(Error::WrongKey));
    }
    let program = Program::new(&good).unwrap();
    assert_eq!(world.trie.insert(ROOT, 1, program, 0), Err(Error::Unknown));
    assert_eq!(world.trie.insert(ROOT, 4, program, 0), Err(Error::Unknown));
    assert_eq!(
        world.trie.insert(FilterId(1), 0, program, 0),
        Err(Error::Unknown)
    );
    assert!(insert(&mut world, &good).is_ok());
}

#[test]
fn chains_and_keys_have_limits() {
    let mut memory = Memory::new(300, 200, 8);
    let mut world = World::new(memory.trie(SECRETS));
    let wide: Vec<Operation> = (0..64)
        .map(|at| equal(at * 8, Width::Bits64, u64::MAX, 0))
        .collect();
    let narrow: Vec<Operation> = (0..64)
        .map(|at| equal(at * 300, Width::Bits64, u64::MAX - 4, 0))
        .collect();
    let mut at = ROOT;
    for level in 0..4 {
        let key = if level % 2 == 0 { &wide } else { &narrow };
        world.declare(at, key).unwrap();
        at = world.insert(at, 0, key).unwrap();
    }
    world.declare(at, &[octet(0, 0)]).unwrap();
    assert_eq!(world.insert(at, 0, &[octet(0, 0)]), Err(Error::BadCount));
    let zeros = vec![0; 63 * 300 + 8];
    let mut last = zeros.clone();
    *last.last_mut().unwrap() = 1;
    world
        .agree(&[
            zeros.clone(),
            zeros[1..].to_vec(),
            last,
            vec![0; 512],
            vec![0; 511],
        ])
        .unwrap();
    for _ in 0..3 {
        world.declare(ROOT, &[octet(0, 0)]).unwrap();
    }
    assert_eq!(world.declare(ROOT, &[octet(0, 0)]), Err(Error::TooManyKeys));
}

/// The largest code that any key of 64 atoms has: everything far away, and masks that are no immediates.
#[test]
fn every_key_fits_the_buffer() {
    let mut largest = 0;
    let far = |width, mask| (0..63).map(move |at| equal(40000 + at * 8, width, mask, 0));
    let mut all_moves: Vec<Operation> = (0..63)
        .map(|_| Operation::AdvanceBy {
            offset: 65535,
            width: Width::Bits16,
            mask: 0x5a5,
            shift: 1,
        })
        .collect();
    all_moves.push(equal(65535, Width::Bits64, 0x1234_5678_9abc_def1, 0));
    let mut mixed = vec![];
    for _ in 0..32 {
        mixed.push(equal(65527, Width::Bits64, 0x1234_5678_9abc_def1, 0));
        mixed.push(all_moves[0]);
    }
    let masks = far(Width::Bits64, 0x1234_5678_9abc_def1).collect();
    let bytes = far(Width::Bits8, 0x5a).collect();
    for key in [masks, bytes, all_moves, mixed] {
        let mut memory = Memory::new(4, 40, 2);
        let mut trie = memory.trie(SECRETS);
        let atoms = encode(&asked(&key));
        let id = trie.intern(Program::new(&atoms).unwrap()).unwrap();
        let mut buffer = vec![0; MAX_CODE_WORDS];
        let words = trie.emit(id, &mut buffer).unwrap().len();
        largest = largest.max(words);
        for length in [0, 1, words / 2, words - 1] {
            let short = trie.emit(id, &mut buffer[..length]);
            assert_eq!(short, Err(Error::Code(exopi_a64::Error::Full)));
        }
    }
    std::println!("largest code of a key: {largest} words");
    assert!(largest > 1000 && largest <= MAX_CODE_WORDS);
}

#[test]
fn pools_that_do_not_fit_are_refused() {
    for (filters, slots) in [(0, 100), (4, slots_for(4) - 1)] {
        let mut filters = vec![crate::Filter::default(); filters];
        let pools = Pools {
            filters: &mut filters,
            slots: &mut vec![0; slots],
            chunks: &mut [],
            keys: &mut [],
        };
        assert_eq!(Trie::new(pools, SECRETS).err(), Some(Error::BadPool));
    }
}

/// With a multiplier of zero all values collide: runs stay bounded, and nothing is found or lost wrongly.
#[test]
fn collisions_are_bounded() {
    let secrets = crate::Secrets {
        first: 0,
        second: 0,
    };
    let mut memory = Memory::new(200, 2, 2);
    let mut world = World::new(memory.trie(secrets));
    world.declare(ROOT, &[octet(0, 0)]).unwrap();
    let mut made = vec![];
    for value in 0..100 {
        match world.insert(ROOT, 0, &[octet(0, value)]) {
            Ok(id) => made.push((value as u8, id)),
            Err(error) => assert_eq!(error, Error::Crowded),
        }
    }
    assert_eq!(made.len(), MAX_RUN);
    let mut machine = world.arena.machine(&world.trie);
    for value in 0..100u8 {
        let expected = made
            .iter()
            .find(|(of, _)| *of == value)
            .map_or(ROOT, |(_, id)| *id);
        assert_eq!(world.trie.classify(&[value]), expected);
        let ran: Result<_, Fault> = world.arena.run(&mut machine, &[value], secrets);
        let (id, executed) = ran.unwrap();
        assert_eq!(id, expected);
        assert!(executed < 40 + 8 * MAX_RUN as u64);
    }
    // From the middle, so that those behind it move.
    for (value, id) in made.drain(20..40).collect::<Vec<_>>() {
        world.trie.delete(id, 1, |_, _| {}).unwrap();
        assert_eq!(world.trie.classify(&[value]), ROOT);
    }
    for (value, id) in made {
        assert_eq!(world.trie.classify(&[value]), id);
    }
}
