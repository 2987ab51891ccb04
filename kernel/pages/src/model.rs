//! A machine that forgets nothing which the architecture lets a core remember, and that is late with
//! everything that it may be late with. For tests and for the simulated kernel.
//!
//! Whenever something changes, all spaces are walked through memory *and* through what is cached, and
//! what is found is cached: every translation that was ever possible stays until it is invalidated, and
//! an invalidation happens when [`Hardware::complete`] waits for it and no sooner. A walk-cache entry
//! leads to whatever its frame holds now. So a missing or early step shows as a translation that the
//! tables do not give ([`Machine::settled`]), or at once, as a panic:
//!
//! * an entry becomes valid while stores to the frame that it names are not ordered before it;
//! * an entry goes from one valid value to another without a break;
//! * an invalidation is begun while cleared entries are not ordered before it;
//! * a page is zeroed that a TLB or a walk cache remembers;
//! * an executable entry names a page of which there may be stale instruction lines.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use exopi_abi::{PageNumber, VirtAddr};

use crate::{Hardware, Index, Link};

/// What EL0 may do through a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Translation {
    /// The frame.
    pub frame: PageNumber,
    /// Stores are allowed.
    pub write: bool,
    /// Instructions may be fetched.
    pub execute: bool,
}

impl Translation {
    /// What a level-3 entry allows, worked out here anew from the manual's tables.
    fn of(entry: u64) -> Self {
        let field = |low: u32, bits: u32| (entry >> low) & ((1 << bits) - 1);
        Self {
            frame: PageNumber::new(field(12, 36) as u32),
            write: field(6, 2) == 0b01,
            execute: field(54, 1) == 0,
        }
    }
}

/// Whether a level-3 entry has the form that all of EL0's must have: valid page, write-back, readable by
/// EL0, inner shareable, accessed, of one ASID, never executed at EL1.
fn well_formed(entry: u64) -> bool {
    let bit = |bit: u32| (entry >> bit) & 1 == 1;
    let readable = (entry >> 6) & 0b01 == 0b01;
    let memory = (entry >> 2) & 0b111 == 0 && (entry >> 8) & 0b11 == 0b11;
    entry & 0b11 == 0b11 && readable && memory && bit(10) && bit(11) && bit(53)
}

/// What TLBs and walk caches hold of all spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Caches {
    /// ASID, level of the entry (1 or 2), first address that it covers, frame of the table that it names.
    walks: BTreeSet<(u16, u8, u64, u64)>,
    /// ASID, address, entry.
    leaves: BTreeSet<(u16, u64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Invalidation {
    asid: u16,
    at: u64,
    walks: bool,
}

/// Memory, TLBs, walk caches and instruction caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Words that are not zero, by frame and index.
    frames: Vec<BTreeMap<usize, u64>>,
    /// Roots by ASID.
    spaces: BTreeMap<u16, PageNumber>,
    caches: Caches,
    /// Frames with stores that no barrier has ordered yet.
    unordered: BTreeSet<PageNumber>,
    /// Entries were cleared and no barrier has come since.
    cleared: bool,
    pending: Vec<Invalidation>,
    /// Frames that instruction caches may hold old lines of.
    stale_code: BTreeSet<PageNumber>,
    /// Barriers so far.
    pub barriers: u64,
    /// Invalidations so far.
    pub invalidations: u64,
}

impl Machine {
    /// A machine with this many frames, all zeros, and instruction caches full of firmware.
    pub fn new(frames: u32) -> Self {
        Self {
            frames: std::vec![BTreeMap::new(); frames as usize],
            spaces: BTreeMap::new(),
            caches: Caches::default(),
            unordered: BTreeSet::new(),
            cleared: false,
            pending: Vec::new(),
            stale_code: (0..frames).map(PageNumber::new).collect(),
            barriers: 0,
            invalidations: 0,
        }
    }

    /// From now on cores may walk the tables below `root` for `asid`.
    pub fn attach(&mut self, asid: u16, root: PageNumber) {
        self.spaces.insert(asid, root);
        self.speculate();
    }

    /// A store by a program to its own memory, through whatever mapping.
    pub fn write(&mut self, page: PageNumber, index: Index, word: u64) {
        self.put(page, index, word);
        self.stale_code.insert(page);
        self.speculate();
    }

    /// The words of a frame that are not zero.
    ///
    /// # Panics
    /// If there is no such frame.
    pub fn contents(&self, page: PageNumber) -> &BTreeMap<usize, u64> {
        &self.frames[page.index()]
    }

    /// Every translation that some core may use at `at`: more than one if something is stale.
    pub fn translate(&self, asid: u16, at: VirtAddr) -> BTreeSet<Translation> {
        self.caches
            .leaves
            .range((asid, at.get(), 0)..=(asid, at.get(), u64::MAX))
            .map(|(_, _, entry)| Translation::of(*entry))
            .collect()
    }

    /// Every translation that some core may use: ASID, address, what it allows.
    pub fn translations(&self) -> impl Iterator<Item = (u16, u64, Translation)> {
        let leaves = self.caches.leaves.iter();
        leaves.map(|(asid, at, entry)| (*asid, *at, Translation::of(*entry)))
    }

    /// Whether all is as the tables say, as it must be when an operation has returned.
    ///
    /// # Errors
    /// What is stale, unordered or incomplete.
    pub fn settled(&self) -> Result<(), String> {
        if !self.pending.is_empty() {
            return Err(format!("nobody waited for {:x?}", self.pending));
        }
        if !self.unordered.is_empty() {
            return Err(format!("unordered stores to {:?}", self.unordered));
        }
        let tables = self.reach(&Caches::default());
        if let Some(walk) = self.caches.walks.difference(&tables.walks).next() {
            return Err(format!("stale walk-cache entry {walk:x?}"));
        }
        if let Some(leaf) = self.caches.leaves.difference(&tables.leaves).next() {
            return Err(format!("stale TLB entry {leaf:x?}"));
        }
        match tables.leaves.iter().find(|leaf| !well_formed(leaf.2)) {
            Some(leaf) => Err(format!("no entry of EL0's: {leaf:x?}")),
            None => Ok(()),
        }
    }

    fn put(&mut self, page: PageNumber, index: Index, word: u64) {
        let frame = &mut self.frames[page.index()];
        if word == 0 {
            frame.remove(&index.get());
        } else {
            frame.insert(index.get(), word);
        }
    }

    /// Valid entries of a table: index and entry. Nothing for a frame that does not exist.
    fn valid(&self, table: u64) -> impl Iterator<Item = (u64, u64)> {
        let frame = self.frames.get(table as usize).into_iter().flatten();
        frame
            .filter(|(_, entry)| *entry & 1 == 1)
            .map(|(index, entry)| (*index as u64, *entry))
    }

    /// All that walks can find now, starting with what is in `caches`.
    fn reach(&self, caches: &Caches) -> Caches {
        let mut found = caches.clone();
        for (&asid, root) in &self.spaces {
            for (level, span) in [(1, 1 << 30), (2, 1 << 21)] {
                // The tables of this level, by the first address that they cover.
                let tables: Vec<(u64, u64)> = match level {
                    1 => std::vec![(0, root.get().into())],
                    _ => Self::walks(&found, asid, level - 1).collect(),
                };
                for (base, table) in tables {
                    for (index, entry) in self.valid(table) {
                        let walk = (asid, level, base + index * span, frame_of(entry));
                        found.walks.insert(walk);
                    }
                }
            }
            let tables: Vec<(u64, u64)> = Self::walks(&found, asid, 2).collect();
            for (base, table) in tables {
                for (index, entry) in self.valid(table) {
                    found.leaves.insert((asid, base + (index << 12), entry));
                }
            }
        }
        found
    }

    fn walks(caches: &Caches, asid: u16, level: u8) -> impl Iterator<Item = (u64, u64)> {
        let of_level = (asid, level, 0, 0)..(asid, level + 1, 0, 0);
        let walks = caches.walks.range(of_level);
        walks.map(|(_, _, base, table)| (*base, *table))
    }

    /// Caches all that may be cached.
    fn speculate(&mut self) {
        self.caches = self.reach(&self.caches);
    }

    fn barrier(&mut self) {
        self.unordered.clear();
        self.cleared = false;
        self.barriers += 1;
    }

    fn invalidate(&mut self, invalidation: Invalidation) {
        assert!(
            !self.cleared,
            "{invalidation:x?} begun, and a walk may still see the old entry"
        );
        self.pending.push(invalidation);
        self.invalidations += 1;
    }
}

fn frame_of(entry: u64) -> u64 {
    (entry >> 12) & ((1 << 36) - 1)
}

impl Hardware for Machine {
    fn entry(&self, table: PageNumber, index: Index) -> u64 {
        let word = self.frames[table.index()].get(&index.get());
        word.copied().unwrap_or_default()
    }

    fn set_entry(&mut self, table: PageNumber, index: Index, value: u64) {
        let old = self.entry(table, index);
        self.put(table, index, value);
        self.unordered.insert(table);
        if value & 1 == 0 {
            self.cleared |= old & 1 == 1;
            return;
        }
        assert!(old & 1 == 0, "{old:x} became {value:x} without a break");
        let frame = PageNumber::new(frame_of(value) as u32);
        assert!(
            !self.unordered.contains(&frame),
            "{frame:?} is named before what it holds is visible"
        );
        let executable = well_formed(value) && Translation::of(value).execute;
        assert!(
            !(executable && self.stale_code.contains(&frame)),
            "{frame:?} becomes executable with stale instruction lines"
        );
        self.speculate();
    }

    fn link(&self, links: PageNumber, index: Index) -> Link {
        Link::from_word(self.entry(links, index))
    }

    fn set_link(&mut self, links: PageNumber, index: Index, value: Link) {
        self.put(links, index, value.word());
    }

    fn zero(&mut self, page: PageNumber) {
        let frame = u64::from(page.get());
        let walk = self.caches.walks.iter().find(|walk| walk.3 == frame);
        let leaf = self.caches.leaves.iter();
        let leaf = leaf.clone().find(|leaf| frame_of(leaf.2) == frame);
        assert!(
            walk.is_none() && leaf.is_none(),
            "{page:?} is zeroed and still remembered: {walk:x?} {leaf:x?}"
        );
        self.frames[page.index()].clear();
        self.unordered.insert(page);
        self.stale_code.insert(page);
    }

    fn sync_code(&mut self, page: PageNumber) {
        self.stale_code.remove(&page);
    }

    fn publish(&mut self) {
        self.barrier();
    }

    fn before_invalidate(&mut self) {
        self.barrier();
    }

    fn invalidate_page(&mut self, asid: u16, at: VirtAddr) {
        self.invalidate(Invalidation {
            asid,
            at: at.get(),
            walks: false,
        });
    }

    fn invalidate_table(&mut self, asid: u16, at: VirtAddr) {
        self.invalidate(Invalidation {
            asid,
            at: at.get(),
            walks: true,
        });
    }

    fn complete(&mut self) {
        self.barrier();
        for gone in core::mem::take(&mut self.pending) {
            let caches = &mut self.caches;
            let leaf = |(asid, at, _): &(u16, u64, u64)| *asid != gone.asid || *at != gone.at;
            caches.leaves.retain(leaf);
            caches.walks.retain(|(asid, level, base, _)| {
                let span = if *level == 1 { 1 << 30 } else { 1 << 21 };
                !gone.walks || *asid != gone.asid || gone.at & !(span - 1) != *base
            });
        }
        // Entries that are still in the tables may be back at once.
        self.speculate();
    }
}
