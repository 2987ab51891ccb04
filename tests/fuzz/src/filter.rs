//! Packet filters: what they mean, the tree that merges them, and its code.

use exopi_filter::build::Expression;
use exopi_filter::emulated::Arena;
use exopi_filter::{
    Atom, Chunk, Error, Filter, FilterId, KeyRecord, Operation, Pools, Program, Secrets, State,
    Trie, Width, oracle, slots_for,
};

use crate::input::Input;

/// Filters, the root included; chunks, keys.
const FILTERS: usize = 16;
const CHUNKS: usize = 8;
const KEYS: usize = 12;

/// A tree and what was put into it.
struct World<'m> {
    trie: Trie<'m>,
    arena: Arena,
    /// Every filter that was made, with all that it and those above it ask.
    made: Vec<(FilterId, Vec<Operation>)>,
    secrets: Secrets,
}

/// Filters are declared, inserted and removed, and frames come.
///
/// # Panics
/// Tree, code and meaning differ on a frame, or something was refused and has done harm.
pub fn filter(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut filters = vec![Filter::default(); FILTERS];
    let mut slots = vec![0; slots_for(FILTERS)];
    let mut chunks = vec![Chunk::default(); CHUNKS];
    let mut keys = vec![KeyRecord::default(); KEYS];
    let pools = Pools {
        filters: &mut filters,
        slots: &mut slots,
        chunks: &mut chunks,
        keys: &mut keys,
    };
    let secrets = Secrets {
        first: 0x5bd1_e995_7b7d_159c,
        second: 0x9fb2_1c65_1e98_df25,
    };
    let trie = Trie::new(pools, secrets).expect("pools of fitting sizes");
    let mut world = World {
        arena: Arena::new(&trie).expect("an entry is short"),
        trie,
        made: vec![(FilterId::ROOT, Vec::new())],
        secrets,
    };
    while !input.is_empty() {
        match input.below(8) {
            0..3 => {
                let atoms = atoms(&mut input);
                let parent = world.any(&mut input);
                let _ = world.add(parent, &atoms);
            }
            3 => world.expression(input.bytes(40)),
            4 => {
                let (id, _) = world.made[world.any(&mut input)];
                world.remove(id, input.byte() & 1 == 0);
            }
            _ => {
                let frame = input.bytes(64).to_vec();
                world.classify(&frame);
            }
        }
    }
    world.classify(&[]);
}

/// A list that may be well-formed.
fn atoms(input: &mut Input<'_>) -> Vec<Atom> {
    let widths = [Width::Bits8, Width::Bits16, Width::Bits32, Width::Bits64];
    (0..1 + input.below(4))
        .map(|_| {
            let (offset, width) = (input.byte().into(), widths[input.below(4)]);
            let mask = if input.byte() & 1 == 0 {
                width.ones()
            } else {
                input.word()
            };
            let operation = match input.below(8) {
                0 => Operation::Advance { by: offset },
                1 => Operation::AdvanceBy {
                    offset: offset % 40,
                    width,
                    mask,
                    shift: input.byte() as i8 % 16,
                },
                _ => Operation::Equal {
                    offset: offset % 40,
                    width,
                    mask,
                    value: input.word() & mask,
                },
            };
            let mut atom = operation.encode();
            // Now and then one that nobody would write.
            if input.byte() == 0 {
                (atom.kind, atom.reserved) = (input.byte(), input.byte());
                atom.value = input.word();
            }
            atom
        })
        .collect()
}

impl World<'_> {
    fn any(&self, input: &mut Input<'_>) -> usize {
        input.below(self.made.len().min(256))
    }

    /// A filter below the one at `parent`, by a key that that one gets if it has not got it yet.
    fn add(&mut self, parent: usize, atoms: &[Atom]) -> Result<(), Error> {
        let program = Program::new(atoms)?;
        let (id, above) = self.made[parent].clone();
        let asked: Vec<Atom> = program
            .operations()
            .map(|one| one.asked().encode())
            .collect();
        let key = self.trie.intern(Program::new(&asked)?)?;
        if self.trie.key(key).is_some_and(|key| key.code().is_none()) {
            self.arena.place(&mut self.trie, key)?;
        }
        let record = self.trie.filter(id).ok_or(Error::Unknown)?;
        let known = record.keys().position(|other| other == key);
        let position = match known {
            Some(position) => position,
            None => self.trie.declare(id, key)?,
        };
        let new = self.trie.insert(id, position, program, 7)?;
        self.made.retain(|(old, _)| *old != new);
        let chain = above.into_iter().chain(program.operations());
        self.made.push((new, chain.collect()));
        Ok(())
    }

    /// Filters in the words of tcpdump.
    fn expression(&mut self, text: &[u8]) {
        let Some(expression) = str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<Expression>().ok())
        else {
            return;
        };
        for facts in expression.alternatives() {
            if let Ok(list) = facts.atoms() {
                let _ = self.add(0, list.atoms());
            }
        }
    }

    fn remove(&mut self, id: FilterId, whole: bool) {
        if !whole {
            let _ = self.trie.retire(id, |_, _| {});
        } else {
            while self
                .trie
                .delete(id, 4, |_, _| {})
                .is_ok_and(|removal| !removal.done)
            {}
        }
        let trie = &self.trie;
        self.made.retain(|(id, _)| {
            let state = trie.filter(*id).map(|record| record.state());
            matches!(state, Some(State::Live | State::Retired))
        });
    }

    /// A frame comes to a filter whose conditions it meets, and to none below it; and the code says the same.
    fn classify(&self, frame: &[u8]) {
        let told = self.trie.classify(frame);
        let mut machine = self.arena.machine(&self.trie);
        let ran = self.arena.run(&mut machine, frame, self.secrets);
        assert_eq!(ran.map(|(id, _)| id), Ok(told), "{frame:02x?}");
        for (id, chain) in &self.made {
            let meets = oracle::matches(chain.iter().copied(), frame);
            assert_eq!(
                self.trie.satisfies(*id, frame),
                meets,
                "{id:?} {frame:02x?}"
            );
            let record = self.trie.filter(*id).expect("it was made");
            let below = *id != FilterId::ROOT && record.parent() == told;
            assert!(*id != told || meets, "{told:?} {frame:02x?}");
            assert!(!(below && meets), "{id:?} below {told:?} {frame:02x?}");
        }
    }
}
