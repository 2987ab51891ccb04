//! A tree with its pools and code, the naive model beside it, and what builds both.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::model::Model;
use crate::emulated::Arena;
use crate::{
    Atom, Chunk, Error, Filter, FilterId, KeyId, KeyRecord, Operation, Pools, Program, Secrets,
    Trie, Width, oracle, slots_for,
};

/// The memory of a tree.
pub struct Memory {
    filters: Vec<Filter>,
    slots: Vec<u32>,
    chunks: Vec<Chunk>,
    keys: Vec<KeyRecord>,
}

impl Memory {
    pub fn new(filters: usize, chunks: usize, keys: usize) -> Self {
        Self {
            filters: vec![Filter::default(); filters],
            slots: vec![0xdddd; slots_for(filters)],
            chunks: vec![Chunk::default(); chunks],
            keys: vec![KeyRecord::default(); keys],
        }
    }

    pub fn trie(&mut self, secrets: Secrets) -> Trie<'_> {
        let pools = Pools {
            filters: &mut self.filters,
            slots: &mut self.slots,
            chunks: &mut self.chunks,
            keys: &mut self.keys,
        };
        Trie::new(pools, secrets).unwrap()
    }
}

pub const SECRETS: Secrets = Secrets {
    first: 0x5bd1_e995_7b7d_159c,
    second: 0x9fb2_1c65_1e98_df25,
};

pub fn encode(operations: &[Operation]) -> Vec<Atom> {
    operations
        .iter()
        .map(|operation| operation.encode())
        .collect()
}

pub fn asked(operations: &[Operation]) -> Vec<Operation> {
    operations
        .iter()
        .map(|operation| operation.asked())
        .collect()
}

pub fn equal(offset: u16, width: Width, mask: u64, value: u64) -> Operation {
    Operation::Equal {
        offset,
        width,
        mask,
        value,
    }
}

/// A tree, its code and its model.
pub struct World<'m> {
    pub trie: Trie<'m>,
    pub arena: Arena,
    pub model: Model,
}

impl<'m> World<'m> {
    pub fn new(trie: Trie<'m>) -> Self {
        Self {
            arena: Arena::new(&trie).unwrap(),
            model: Model::new(),
            trie,
        }
    }

    /// The key that asks what `operations` ask, with code.
    pub fn key(&mut self, operations: &[Operation]) -> Result<KeyId, Error> {
        let atoms = encode(&asked(operations));
        let key = self.trie.intern(Program::new(&atoms)?)?;
        if self.trie.key(key).unwrap().code().is_none() {
            self.arena.place(&mut self.trie, key)?;
        }
        Ok(key)
    }

    pub fn declare(&mut self, filter: FilterId, operations: &[Operation]) -> Result<usize, Error> {
        let key = self.key(operations)?;
        let position = self.trie.declare(filter, key)?;
        self.model.declare(filter, position);
        Ok(position)
    }

    pub fn insert(
        &mut self,
        parent: FilterId,
        key: usize,
        operations: &[Operation],
    ) -> Result<FilterId, Error> {
        let atoms = encode(operations);
        let id = self.trie.insert(parent, key, Program::new(&atoms)?, 7)?;
        self.model.insert(parent, key, id, operations);
        Ok(id)
    }

    /// The three forms, and the model, give this frame to the same filter.
    pub fn agree(&self, frames: &[Vec<u8>]) -> Result<(), TestCaseError> {
        let mut machine = self.arena.machine(&self.trie);
        for frame in frames {
            let expected = self.model.classify(frame);
            prop_assert_eq!(self.trie.classify(frame), expected, "{:02x?}", frame);
            let ran = self.arena.run(&mut machine, frame, self.trie.secrets);
            prop_assert_eq!(ran.map(|(id, _)| id), Ok(expected), "{:02x?}", frame);
            for (id, node) in &self.model.nodes {
                let all = oracle::matches(node.chain.iter().copied(), frame);
                prop_assert_eq!(self.trie.satisfies(*id, frame), all);
            }
            let receiver = self.model.receiver(expected);
            prop_assert_eq!(self.trie.receiver(expected), receiver);
        }
        Ok(())
    }
}
