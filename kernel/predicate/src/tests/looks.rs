//! Looks over whole tables, which change meanwhile.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use exopi_abi::predicate::{Comparison, Width};

use super::world::{Random, World, one, program, tag, wide};
use crate::{Entry, POSITIONS, Step, Table, entries_for};

/// Sleepers that there can be: their numbers are up to 96, and so many fit.
const ROOM: usize = 70;
const NUMBERS: u64 = 96;

struct Model<'m> {
    world: World,
    table: Table<'m>,
    entries: Vec<Entry>,
    there: BTreeSet<u16>,
    random: Random,
}

impl Model<'_> {
    fn word(&self, sleeper: u16) -> u8 {
        self.world.pages[&1][usize::from(sleeper) * 8]
    }

    fn set(&mut self, sleeper: u16, value: u64) {
        self.world.write(1, sleeper * 8, Width::Eight, value);
    }

    fn remove(&mut self, sleeper: u16) {
        let was_there = self.there.remove(&sleeper);
        assert_eq!(self.table.remove(sleeper), was_there);
    }

    /// Comings and goings between two stretches.
    fn disturb(&mut self, seen: &mut BTreeSet<u16>) {
        for _ in 0..self.random.below(5) {
            let sleeper = self.random.below(NUMBERS) as u16;
            if self.random.below(2) == 0 {
                self.remove(sleeper);
                seen.remove(&sleeper);
            } else {
                let entry = self.entries[usize::from(sleeper)];
                let fits = self.there.contains(&sleeper) || self.there.len() < ROOM;
                assert_eq!(self.table.insert(sleeper, entry), fits);
                if fits {
                    self.there.insert(sleeper);
                }
            }
        }
        assert_eq!(self.table.len(), self.there.len());
        assert_eq!(self.table.is_empty(), self.there.is_empty());
    }

    /// A whole look. Gives back how many stretches it had.
    fn look(&mut self) -> usize {
        // Who is there from the begin to the end, and true, must be found.
        let mut due = self.there.clone();
        due.retain(|&sleeper| self.word(sleeper) != 0);
        let mut stretches = 0;
        self.table.begin();
        while let Some(slot) = self.table.next_slot() {
            stretches += 1;
            let mut machine = self.world.machine(self.table.entries());
            let stretch = self.world.stretch(&mut machine, slot).unwrap();
            let passed = stretch.behind - slot;
            assert!((1..=POSITIONS + 1).contains(&passed), "{passed}");
            match self.table.came(stretch.behind, stretch.told) {
                Step::Done => assert_eq!(self.table.next_slot(), None),
                Step::Pause => {}
                Step::Woken(sleeper, told) => {
                    assert_eq!(told, tag(u32::from(sleeper) + 1));
                    assert!(self.there.contains(&sleeper) && self.word(sleeper) != 0);
                    due.remove(&sleeper);
                    self.remove(sleeper);
                }
            }
            self.disturb(&mut due);
        }
        assert_eq!(due, BTreeSet::new(), "missed");
        stretches
    }
}

#[test]
fn a_look_misses_nobody_however_the_table_changes() {
    let seed = 0x100c_0001;
    std::println!("seed {seed:#x}");
    let mut world = World::new();
    let entries: Vec<Entry> = (0..NUMBERS as u16)
        .map(|sleeper| {
            let word = wide(1, sleeper * 8);
            world.place(&program(&one(
                u32::from(sleeper) + 1,
                word,
                Comparison::NotEqual,
                0,
            )))
        })
        .collect();
    world.write(1, 0, Width::Eight, 0);
    let mut memory = vec![Entry::default(); entries_for(ROOM)];
    let (mut sleepers, mut positions) = (vec![0; ROOM], vec![0; NUMBERS as usize]);
    let table = world.table(&mut memory, &mut sleepers, &mut positions);
    // The world is the model's, and the table has taken of it what it needs.
    let mut model = Model {
        table,
        world,
        entries,
        there: BTreeSet::new(),
        random: Random(seed),
    };
    let mut stretches = 0;
    for round in 0..3000 {
        for _ in 0..model.random.below(12) {
            let sleeper = model.random.below(NUMBERS) as u16;
            let value = model.random.below(4) / 2;
            model.set(sleeper, value);
        }
        // Mostly full, at times nearly empty.
        if round % 100 == 99 {
            for sleeper in 0..80 {
                model.remove(sleeper);
            }
        }
        model.disturb(&mut BTreeSet::new());
        stretches += model.look();
    }
    assert!(stretches > 6000, "{stretches}");
    assert!(!model.table.insert(NUMBERS as u16, Entry::default()));
    assert!(!model.table.remove(NUMBERS as u16) && !model.table.contains(u16::MAX));
}

/// What never comes from code is no panic, and ends the look.
#[test]
fn nonsense_ends_a_look() {
    let mut world = World::new();
    let entry = world.place(&program(&one(1, wide(1, 0), Comparison::Less, 1)));
    for (behind, told) in [
        (0, 1),
        (2, 1),
        (usize::MAX, 1),
        (1, 0),
        (1, u64::MAX),
        (0, 0),
    ] {
        let mut memory = [Entry::default(); entries_for(4)];
        let (mut sleepers, mut positions) = ([0; 4], [0; 4]);
        let mut table = world.table(&mut memory, &mut sleepers, &mut positions);
        assert_eq!(table.next_slot(), None);
        assert!(table.insert(2, entry));
        table.begin();
        assert_eq!(table.next_slot(), Some(0));
        let step = table.came(behind, told);
        assert_eq!(
            (step, table.next_slot()),
            match (behind, told) {
                (0, 1) => (Step::Woken(2, tag(1)), None),
                _ => (Step::Done, None),
            }
        );
    }
}
