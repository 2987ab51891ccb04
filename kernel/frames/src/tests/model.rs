//! Filters, rings and rights as the design page puts them, in the plainest way: lists that are searched.

use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

use exopi_abi::domain::ObjectName;
use exopi_abi::net::Operation;
use exopi_filter::oracle;

use crate::By;

/// A filter.
#[derive(Clone, Debug)]
pub struct Node {
    pub parent: u64,
    pub key: usize,
    /// Its own atoms, behind its parent's.
    pub chain: Vec<Operation>,
    pub keys: Vec<Vec<Operation>>,
    pub account: u64,
    /// Who made it; nobody after that one's death.
    pub maker: Option<ObjectName>,
    pub references: BTreeSet<u64>,
    /// The reference that `dpf_pktring` changes.
    pub route: Option<u64>,
    pub retired: bool,
}

/// A ring.
#[derive(Clone, Debug)]
pub struct Ring {
    pub account: u64,
    pub maker: ObjectName,
    pub tap: bool,
}

/// All filters and rings, by the words of their names.
#[derive(Clone, Debug)]
pub struct Model {
    pub root: u64,
    pub nodes: BTreeMap<u64, Node>,
    pub rings: BTreeMap<u64, Ring>,
}

impl Model {
    pub fn new(root: u64, by: &By) -> Self {
        let node = Node {
            parent: root,
            key: 0,
            chain: vec![],
            keys: vec![],
            account: by.owner.word(),
            maker: Some(by.name),
            references: BTreeSet::new(),
            route: None,
            retired: false,
        };
        Self {
            root,
            nodes: BTreeMap::from([(root, node)]),
            rings: BTreeMap::new(),
        }
    }

    pub fn children(&self, of: u64) -> impl Iterator<Item = (u64, &Node)> {
        let nodes = self.nodes.iter().map(|(name, node)| (*name, node));
        nodes.filter(move |(name, node)| node.parent == of && *name != of)
    }

    pub fn depth(&self, mut at: u64) -> u8 {
        let mut depth = 0;
        while at != self.root {
            at = self.nodes[&at].parent;
            depth += 1;
        }
        depth
    }

    /// Down from the root: under each key in order, the child that takes the frame.
    fn comes_to(&self, frame: &[u8]) -> u64 {
        let mut at = self.root;
        'down: loop {
            for key in 0..self.nodes[&at].keys.len() {
                let takes = |node: &Node| oracle::matches(node.chain.iter().copied(), frame);
                let mut found = self
                    .children(at)
                    .filter(|(_, node)| node.key == key && takes(node));
                if let Some((child, _)) = found.next() {
                    assert!(found.next().is_none(), "siblings are disjoint");
                    at = child;
                    continue 'down;
                }
            }
            return at;
        }
    }

    /// The rings that a frame is due to, but for taps.
    pub fn due(&self, frame: &[u8]) -> &BTreeSet<u64> {
        let mut at = self.comes_to(frame);
        while self.nodes[&at].retired {
            at = self.nodes[&at].parent;
        }
        &self.nodes[&at].references
    }

    pub fn delete(&mut self, name: u64) {
        let below: Vec<u64> = self.children(name).map(|(child, _)| child).collect();
        below.into_iter().for_each(|child| self.delete(child));
        let parent = self.nodes.remove(&name).map(|node| node.parent);
        self.remove_hollow(parent);
    }

    pub fn retire(&mut self, name: u64) {
        let node = self.nodes.get_mut(&name).unwrap();
        node.retired = true;
        node.references.clear();
        self.remove_hollow(Some(name));
    }

    /// A retired filter goes with the last one below it.
    fn remove_hollow(&mut self, at: Option<u64>) {
        let Some(at) = at else { return };
        let hollow = self.nodes.get(&at).is_some_and(|node| node.retired);
        if hollow && self.children(at).next().is_none() {
            let parent = self.nodes.remove(&at).map(|node| node.parent);
            self.remove_hollow(parent);
        }
    }

    pub fn unrefer(&mut self, filter: u64, ring: u64) {
        if let Some(node) = self.nodes.get_mut(&filter) {
            node.references.remove(&ring);
            node.route = node.route.filter(|route| *route != ring);
        }
    }

    pub fn end_ring(&mut self, ring: u64) {
        self.rings.remove(&ring);
        let filters: Vec<u64> = self.nodes.keys().copied().collect();
        filters
            .into_iter()
            .for_each(|filter| self.unrefer(filter, ring));
    }

    /// Filters go with their last reference: maker or ring.
    pub fn collect(&mut self) {
        while let Some(name) = self.nodes.iter().find_map(|(name, node)| {
            let unused = node.maker.is_none() && node.references.is_empty();
            (unused && !node.retired && *name != self.root).then_some(*name)
        }) {
            self.delete(name);
        }
    }

    pub fn end_environment(&mut self, maker: ObjectName) {
        let rings: Vec<u64> = self
            .rings
            .iter()
            .filter(|(_, ring)| ring.maker == maker)
            .map(|(name, _)| *name)
            .collect();
        rings.into_iter().for_each(|ring| self.end_ring(ring));
        for node in self.nodes.values_mut() {
            node.maker = node.maker.filter(|name| *name != maker);
        }
        self.collect();
    }

    pub fn end_account(&mut self, account: u64) {
        let rings: Vec<u64> = self
            .rings
            .iter()
            .filter(|(_, ring)| ring.account == account)
            .map(|(name, _)| *name)
            .collect();
        rings.into_iter().for_each(|ring| self.end_ring(ring));
        while let Some(name) = self
            .nodes
            .iter()
            .find(|(name, node)| node.account == account && **name != self.root)
            .map(|(name, _)| *name)
        {
            self.delete(name);
        }
        self.collect();
    }
}
