//! Generated code in an emulator, with the frame mapped to the octet. For tests, here and of others.

use std::vec;
use std::vec::Vec;

use exopi_a64::emulator::{Fault, Machine};

use crate::{Arguments, Error, Filter, FilterId, KeyId, MAX_CODE_WORDS, Secrets, Trie};

const CODE: u64 = 0xffff_0000_4000_0000;
const FILTERS: u64 = 0xffff_0000_5000_0000;
const SLOTS: u64 = 0xffff_0000_6000_0000;
const CHUNKS: u64 = 0xffff_0000_7000_0000;
// At the very end of a 32-bit range, and odd.
const FRAME: u64 = 0xffff_0000_ffff_f001;

/// All code of a tree.
#[derive(Clone, Debug)]
pub struct Arena {
    /// The instructions: the entry, and behind it that of keys.
    pub words: Vec<u32>,
}

impl Arena {
    /// The entry of a tree, and nothing else.
    ///
    /// # Errors
    /// [`Error::Code`].
    pub fn new(trie: &Trie<'_>) -> Result<Self, Error> {
        let mut buffer = [0; 16];
        let words = trie.emit_entry(&mut buffer)?.to_vec();
        Ok(Self { words })
    }

    /// Makes the code of a key and tells the tree where it is.
    ///
    /// # Errors
    /// [`Error::Unknown`] key, [`Error::Code`].
    pub fn place(&mut self, trie: &mut Trie<'_>, key: KeyId) -> Result<(), Error> {
        let mut buffer = vec![0; MAX_CODE_WORDS];
        let code = trie.emit(key, &mut buffer)?;
        let offset = self.words.len() as u32 * 4;
        self.words.extend_from_slice(code);
        trie.set_code(key, offset)
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
    ///
    /// # Errors
    /// What the code did that it must not do.
    pub fn run(
        &self,
        machine: &mut Machine,
        frame: &[u8],
        secrets: Secrets,
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
