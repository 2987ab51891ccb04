//! Pages, life words and code in an emulator, and terms in few words.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use exopi_a64::emulator::{Fault, Machine};
use exopi_abi::PageNumber;
use exopi_abi::predicate::{Comparison, Exposed, Operand, Predicate, Tag, Terms, Width, Word};

use crate::{Code, Entry, MAX_CODE_WORDS, Place, Program, STUB_WORDS, Stubs, Table, stubs};

const CODE: u64 = 0xffff_ff90_0000_0000;
const TABLE: u64 = 0xffff_ffff_c020_0400;
/// Where life words lie: in the middle of a page, and over its end.
const LIVES: u64 = 0xffff_ffff_c010_0f80;
const LINEAR: u64 = 0xffff_ff80_0000_0000;
const LIFE_BYTES: u64 = 32;
/// More instructions than any look has.
const ENDLESS: u64 = 1_000_000;

pub fn tag(number: u32) -> Tag {
    Tag::new(number).unwrap()
}

pub fn page(number: u32) -> PageNumber {
    PageNumber::new(number)
}

/// A word of 64 bits in a page.
pub fn wide(number: u32, offset: u16) -> Word<'static> {
    Word::owned(page(number), offset, Width::Eight)
}

/// A predicate of one comparison.
pub fn one(
    number: u32,
    word: Word<'static>,
    comparison: Comparison,
    value: u64,
) -> Predicate<'static> {
    Predicate::any()
        .product(tag(number))
        .and(word, comparison, value)
}

pub fn program(predicate: &Predicate<'_>) -> Program {
    Program::new(Terms::decode(predicate.terms().unwrap()).unwrap())
}

pub fn address(place: Place) -> u64 {
    match place {
        Place::Page(page) => LINEAR + page.address(),
        Place::Life(index) => LIVES + u64::from(index) * LIFE_BYTES,
    }
}

/// All that a look can see.
pub struct World {
    pub words: Vec<u32>,
    pub stubs: Stubs,
    pub pages: BTreeMap<u32, Vec<u8>>,
    pub lives: Vec<u64>,
    pub now: u64,
}

/// How a stretch ended: x0 as a slot, x1, and instructions from the first to the return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub behind: usize,
    pub told: u64,
    pub executed: u64,
}

impl World {
    pub fn new() -> Self {
        let mut buffer = [0; STUB_WORDS];
        let (words, stubs) = stubs(&mut buffer).unwrap();
        assert_eq!(words.len(), STUB_WORDS);
        Self {
            words: words.to_vec(),
            stubs,
            pages: BTreeMap::new(),
            lives: vec![0; 16],
            now: 0,
        }
    }

    /// The entry of a predicate, whose code is put behind all other.
    pub fn place(&mut self, program: &Program) -> Entry {
        let mut buffer = [0; MAX_CODE_WORDS];
        let Code { words, argument } = program.compile(address, &mut buffer).unwrap();
        let code = CODE + 4 * self.words.len() as u64;
        self.words.extend_from_slice(words);
        Entry { code, argument }
    }

    pub fn table<'m>(
        &self,
        entries: &'m mut [Entry],
        sleepers: &'m mut [u16],
        positions: &'m mut [u16],
    ) -> Table<'m> {
        Table::new(entries, sleepers, positions, CODE, self.stubs).unwrap()
    }

    pub fn write(&mut self, number: u32, offset: u16, width: Width, value: u64) {
        let bytes = self.pages.entry(number).or_insert_with(|| vec![0; 4096]);
        let at = usize::from(offset);
        let width = width as usize;
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    /// What the oracle reads.
    pub fn read(&self, operand: Operand) -> u64 {
        match operand {
            Operand::Memory {
                page,
                offset,
                width,
            } => {
                let (at, width) = (usize::from(offset), width as usize);
                let mut bytes = [0; 8];
                bytes[..width].copy_from_slice(&self.pages[&page.get()][at..at + width]);
                u64::from_le_bytes(bytes)
            }
            Operand::Exposed(Exposed::Time) => self.now,
            Operand::Exposed(Exposed::State(index) | Exposed::Epoch(index)) => {
                self.lives[usize::from(index)]
            }
        }
    }

    /// A core that sees all this, and `entries`. Nothing is writable.
    pub fn machine(&self, entries: &[Entry]) -> Machine {
        let mut machine = Machine::new(&self.words, CODE);
        for (number, bytes) in &self.pages {
            machine.map(LINEAR + page(*number).address(), bytes, false);
        }
        let lives = self.lives.iter().flat_map(|life| {
            let mut record = [0xee; LIFE_BYTES as usize];
            record[..8].copy_from_slice(&life.to_le_bytes());
            record
        });
        machine.map(LIVES, &lives.collect::<Vec<_>>(), false);
        let entry = |entry: &Entry| [entry.code, entry.argument].map(u64::to_le_bytes);
        let entries: Vec<u8> = entries.iter().flat_map(entry).flatten().collect();
        machine.map(TABLE, &entries, false);
        machine
    }

    /// A stretch from `slot` on.
    pub fn stretch(&self, machine: &mut Machine, slot: usize) -> Result<Stretch, Fault> {
        let begun = machine.executed;
        let enter = CODE + u64::from(self.stubs.enter);
        let x0 = TABLE + 16 * slot as u64;
        let x0 = machine.call(enter, &[x0, self.now], ENDLESS)?;
        assert_eq!((x0 - TABLE) % 16, 0);
        Ok(Stretch {
            behind: ((x0 - TABLE) / 16) as usize,
            told: machine.registers[1],
            executed: machine.executed - begun,
        })
    }

    /// The code's value of one predicate, and the instructions of the look.
    pub fn value(&mut self, program: &Program) -> (Option<Tag>, u64) {
        let length = self.words.len();
        let entry = self.place(program);
        let mut entries = [Entry::default(); 2];
        let (mut sleepers, mut positions) = ([0; 1], [0; 1]);
        let mut table = self.table(&mut entries, &mut sleepers, &mut positions);
        assert!(table.insert(0, entry));
        let mut machine = self.machine(table.entries());
        let stretch = self.stretch(&mut machine, 0).unwrap();
        self.words.truncate(length);
        let tag = Tag::told(stretch.told);
        assert_eq!(stretch.behind, if tag.is_some() { 1 } else { 2 });
        (tag, stretch.executed)
    }
}

/// A generator without state of its own (splitmix64), so that a failure is one number.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
