//! What walks find and cores remember: the model's side of the architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use exopi_abi::page::SUPERPAGE_PAGES;
use exopi_abi::{PageNumber, layout};

/// What EL0 may do through a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Translation {
    /// The frame; of a superpage the first of 512.
    pub frame: PageNumber,
    /// Stores are allowed.
    pub write: bool,
    /// Instructions may be fetched.
    pub execute: bool,
    /// Whether it is a superpage.
    pub superpage: bool,
}

/// A leaf entry that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leaf {
    pub(super) asid: u16,
    /// First address that it covers.
    pub(super) base: u64,
    pub(super) superpage: bool,
    pub(super) entry: u64,
}

/// An entry above the leaves that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Walk {
    pub(super) asid: u16,
    /// Level of the entry: 1 or 2.
    pub(super) level: u8,
    /// First address that it covers.
    pub(super) base: u64,
    /// Frame of the table that it names.
    pub(super) table: u64,
}

/// What TLBs and walk caches hold of all spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Caches {
    pub(super) walks: BTreeSet<Walk>,
    pub(super) leaves: BTreeSet<Leaf>,
}

/// Words of memory that are not zero, by frame and index.
pub(super) type Memory = [BTreeMap<usize, u64>];

/// Bits `low` and the `bits - 1` above it.
const fn field(entry: u64, low: u32, bits: u32) -> u64 {
    (entry >> low) & ((1 << bits) - 1)
}

/// The frame that an entry names.
pub(super) const fn frame_of(entry: u64) -> u64 {
    field(entry, 12, 36)
}

impl Translation {
    /// What a leaf entry allows, worked out here anew from the manual's tables.
    pub(super) const fn of(leaf: &Leaf) -> Self {
        Self {
            frame: PageNumber::new(frame_of(leaf.entry) as u32),
            write: field(leaf.entry, 6, 2) == 0b01,
            execute: field(leaf.entry, 54, 1) == 0,
            superpage: leaf.superpage,
        }
    }
}

impl Leaf {
    /// Bytes that it covers.
    pub(super) const fn span(&self) -> u64 {
        if self.superpage {
            SUPERPAGE_PAGES * layout::PAGE_SIZE
        } else {
            layout::PAGE_SIZE
        }
    }

    /// Whether it translates `address`.
    pub(super) const fn covers(&self, asid: u16, address: u64) -> bool {
        self.asid == asid && self.base <= address && address - self.base < self.span()
    }

    /// Whether it lets somebody reach `frame`.
    pub(super) const fn reaches(&self, frame: u64) -> bool {
        let first = frame_of(self.entry);
        first <= frame && frame - first < self.span() / layout::PAGE_SIZE
    }

    /// Whether it has the form that all of EL0's must have: write-back, readable by EL0, inner shareable, of one
    /// ASID, never executed at EL1; in the window of the tables neither writable nor executable.
    pub(super) const fn is_well_formed(&self) -> bool {
        let entry = self.entry;
        let readable = field(entry, 6, 1) == 1;
        let memory = field(entry, 2, 3) == 0 && field(entry, 8, 2) == 0b11;
        let translation = Translation::of(self);
        let window = self.base >= layout::TABLES_BASE;
        let quiet = !window || (!translation.write && !translation.execute && !self.superpage);
        let aligned = !self.superpage || frame_of(entry).is_multiple_of(SUPERPAGE_PAGES);
        readable
            && memory
            && field(entry, 11, 1) == 1
            && field(entry, 53, 1) == 1
            && quiet
            && aligned
    }
}

impl Walk {
    /// Whether it is on the way to `address`.
    pub(super) const fn covers(&self, asid: u16, address: u64) -> bool {
        let span = if self.level == 1 { 1 << 30 } else { 1 << 21 };
        self.asid == asid && self.base <= address && address - self.base < span
    }
}

impl Caches {
    /// These, and all that walks can find from there on and from the roots.
    pub(super) fn reach(self, memory: &Memory, roots: &BTreeMap<u16, PageNumber>) -> Self {
        let mut found = self;
        for (&asid, root) in roots {
            found.walk(memory, asid, 1, &[(0, root.get().into())]);
            let tables2 = found.tables(asid, 1);
            found.walk(memory, asid, 2, &tables2);
            for (base, table) in found.tables(asid, 2) {
                for (index, entry) in valid(memory, table) {
                    // At level 3 the other type is reserved, and faults.
                    if field(entry, 0, 2) == 0b11 {
                        found.remember(asid, base + (index << 12), false, entry);
                    }
                }
            }
        }
        found
    }

    /// All entries of tables of `level`, which are given with the first address that they cover.
    fn walk(&mut self, memory: &Memory, asid: u16, level: u8, tables: &[(u64, u64)]) {
        let shift = if level == 1 { 30 } else { 21 };
        for (base, table) in tables {
            for (index, entry) in valid(memory, *table) {
                let base = base + (index << shift);
                if field(entry, 0, 2) == 0b11 {
                    let table = frame_of(entry);
                    self.walks.insert(Walk {
                        asid,
                        level,
                        base,
                        table,
                    });
                } else if level == 2 {
                    self.remember(asid, base, true, entry);
                }
            }
        }
    }

    /// Tables that entries of `level` name, with the first address that they cover.
    fn tables(&self, asid: u16, level: u8) -> Vec<(u64, u64)> {
        let walks = self.walks.iter();
        let walks = walks.filter(|walk| walk.asid == asid && walk.level == level);
        walks.map(|walk| (walk.base, walk.table)).collect()
    }

    /// An entry without the access flag faults, and what faults is not remembered.
    fn remember(&mut self, asid: u16, base: u64, superpage: bool, entry: u64) {
        if field(entry, 10, 1) == 1 {
            self.leaves.insert(Leaf {
                asid,
                base,
                superpage,
                entry,
            });
        }
    }
}

/// Valid entries of a table: index and entry. Nothing for a frame that does not exist.
fn valid(memory: &Memory, table: u64) -> impl Iterator<Item = (u64, u64)> {
    let frame = memory.get(table as usize).into_iter().flatten();
    frame
        .filter(|(_, entry)| *entry & 1 == 1)
        .map(|(index, entry)| (*index as u64, *entry))
}
