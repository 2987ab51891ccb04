//! The definition of who gets a frame, written down naively.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use crate::{FilterId, Operation, oracle};

#[derive(Clone, Debug)]
pub struct Node {
    pub parent: FilterId,
    pub key: usize,
    pub keys: usize,
    /// All atoms from the root on.
    pub chain: Vec<Operation>,
    pub retired: bool,
}

/// Filters by number.
pub struct Model {
    pub nodes: BTreeMap<FilterId, Node>,
}

impl Model {
    pub fn new() -> Self {
        let root = Node {
            parent: FilterId::ROOT,
            key: 0,
            keys: 0,
            chain: vec![],
            retired: false,
        };
        Self {
            nodes: BTreeMap::from([(FilterId::ROOT, root)]),
        }
    }

    pub fn declare(&mut self, filter: FilterId, position: usize) {
        let node = self.nodes.get_mut(&filter).unwrap();
        assert_eq!(node.keys, position);
        node.keys += 1;
    }

    pub fn insert(&mut self, parent: FilterId, key: usize, id: FilterId, operations: &[Operation]) {
        let mut chain = self.nodes[&parent].chain.clone();
        chain.extend_from_slice(operations);
        let node = Node {
            parent,
            key,
            keys: 0,
            chain,
            retired: false,
        };
        assert!(
            self.nodes.insert(id, node).is_none(),
            "a number in use was given"
        );
    }

    pub fn children(&self, of: FilterId) -> impl Iterator<Item = (FilterId, &Node)> {
        let child =
            move |(id, node): &(&FilterId, &Node)| **id != FilterId::ROOT && node.parent == of;
        self.nodes
            .iter()
            .filter(child)
            .map(|(id, node)| (*id, node))
    }

    /// Whether `id` is `of` or below it.
    pub fn is_within(&self, mut id: FilterId, of: FilterId) -> bool {
        while id != of && id != FilterId::ROOT {
            id = self.nodes[&id].parent;
        }
        id == of
    }

    pub fn delete(&mut self, id: FilterId) {
        let below: Vec<_> = self
            .nodes
            .keys()
            .copied()
            .filter(|&other| self.is_within(other, id))
            .collect();
        let parent = self.nodes[&id].parent;
        for other in below {
            self.nodes.remove(&other);
        }
        self.hollow(parent);
    }

    pub fn retire(&mut self, id: FilterId) {
        if self.children(id).next().is_some() {
            self.nodes.get_mut(&id).unwrap().retired = true;
        } else {
            self.delete(id);
        }
    }

    fn hollow(&mut self, id: FilterId) {
        if self.nodes[&id].retired && self.children(id).next().is_none() {
            self.delete(id);
        }
    }

    /// From the root: to a child under the first key under which one matches, and on from there.
    pub fn classify(&self, frame: &[u8]) -> FilterId {
        let mut at = FilterId::ROOT;
        while let Some(child) = self.child(at, frame) {
            at = child;
        }
        at
    }

    fn child(&self, at: FilterId, frame: &[u8]) -> Option<FilterId> {
        (0..self.nodes[&at].keys).find_map(|key| {
            let matches = |(_, node): &(FilterId, &Node)| {
                node.key == key && oracle::matches(node.chain.iter().copied(), frame)
            };
            let mut takers = self.children(at).filter(matches);
            let taker = takers.next();
            assert!(takers.next().is_none(), "two siblings take one frame");
            taker.map(|(id, _)| id)
        })
    }

    pub fn receiver(&self, mut id: FilterId) -> FilterId {
        while self.nodes[&id].retired {
            id = self.nodes[&id].parent;
        }
        id
    }
}
