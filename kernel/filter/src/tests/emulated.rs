//! Generated code in an emulator, with the frame mapped to the octet.

use std::vec;
use std::vec::Vec;

use exopi_a64::emulator::{Fault, Machine};

use crate::{Arguments, Filter, FilterId, KeyId, MAX_CODE_WORDS, Trie};

const CODE: u64 = 0xffff_0000_4000_0000;
const FILTERS: u64 = 0xffff_0000_5000_0000;
const SLOTS: u64 = 0xffff_0000_6000_0000;
const CHUNKS: u64 = 0xffff_0000_7000_0000;
// At the very end of a 32-bit range, and odd.
const FRAME: u64 = 0xffff_0000_ffff_f001;

/// All code of a tree.
pub struct Arena {
    pub words: Vec<u32>,
}

impl Arena {
    pub fn new(trie: &Trie<'_>) -> Self {
        let mut buffer = [0; 16];
        Self {
            words: trie.emit_entry(&mut buffer).unwrap().to_vec(),
        }
    }

    /// Makes the code of a key and tells the tree where it is.
    pub fn place(&mut self, trie: &mut Trie<'_>, key: KeyId) {
        let mut buffer = vec![0; MAX_CODE_WORDS];
        let code = trie.emit(key, &mut buffer).unwrap();
        let offset = self.words.len() as u32 * 4;
        self.words.extend_from_slice(code);
        trie.set_code(key, offset).unwrap();
    }

    /// A core with code and pools as they are now.
    pub fn machine(&self, trie: &Trie<'_>) -> Machine {
        let mut machine = Machine::new(&self.words, CODE);
        let filters: Vec<u8> = trie.filters.iter().flat_map(octets).collect();
        let slots: Vec<u8> = trie
            .slots
            .iter()
            .flat_map(|slot| slot.to_le_bytes())
            .collect();
        let words = trie.chunks.iter().flat_map(|chunk| chunk.0);
        let chunks: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        machine.map(FILTERS, &filters, false);
        machine.map(SLOTS, &slots, false);
        machine.map(CHUNKS, &chunks, false);
        machine.registers[0] = 0;
        machine
    }

    /// The filter that a frame comes to, and the instructions that it took.
    pub fn run(&self, machine: &mut Machine, frame: &[u8]) -> Result<(FilterId, u64), Fault> {
        self.run_with(machine, frame, crate::tests::world::SECRETS)
    }

    pub fn run_with(
        &self,
        machine: &mut Machine,
        frame: &[u8],
        secrets: crate::Secrets,
    ) -> Result<(FilterId, u64), Fault> {
        machine.map(FRAME, frame, false);
        let arguments = Arguments {
            frame: FRAME,
            length: frame.len() as u64,
            filters: FILTERS,
            slots: SLOTS,
            chunks: CHUNKS,
            secrets,
        };
        let before = machine.executed;
        let result = machine.call(CODE, &arguments.registers(), 1_000_000);
        machine.unmap(FRAME);
        Ok((FilterId(result? as u32), machine.executed - before))
    }
}

/// A record as it lies in memory.
fn octets(filter: &Filter) -> Vec<u8> {
    let mut octets = Vec::new();
    filter
        .code
        .iter()
        .for_each(|code| octets.extend(code.to_le_bytes()));
    octets.extend(filter.more.to_le_bytes());
    filter
        .words
        .iter()
        .for_each(|word| octets.extend(word.to_le_bytes()));
    // Nothing behind these is read by code: whatever is there must not matter.
    octets.resize(size_of::<Filter>(), 0xbb);
    octets
}
