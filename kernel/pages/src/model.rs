//! A machine that forgets nothing which the architecture lets a core remember, and that is late with
//! everything that it may be late with. For tests and for the simulated kernel.
//!
//! Whenever something changes, all spaces are walked through memory *and* through what is cached, and
//! what is found is cached: every translation that was ever possible stays until it is invalidated, and
//! an invalidation happens when [`Hardware::complete`] waits for it and no sooner. A walk-cache entry
//! leads to whatever its frame holds now, through the entry by which a root names itself like through any
//! other. So a missing or early step shows as a translation that the
//! tables do not give ([`Machine::settled`]), or at once, as a panic:
//!
//! * an entry becomes valid while stores to the frame that it names are not ordered before it;
//! * an entry goes from one valid value to another without a break, unless permissions alone change;
//! * an invalidation is begun while cleared entries are not ordered before it;
//! * a page is zeroed that a TLB or a walk cache remembers;
//! * an executable entry names a page of which there may be stale instruction lines.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use exopi_abi::{PageNumber, VirtAddr};

use crate::{Hardware, Index, Link, UserPage};

mod caches;

pub use caches::Translation;
use caches::{Caches, frame_of};

/// Bits of a leaf entry that may change without a break: AP[2] and UXN.
const PERMISSIONS: u64 = 1 << 7 | 1 << 54;

/// What is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalidation {
    Page(u16, u64),
    Table(u16, u64),
    Space(u16),
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
    /// Entries were cleared or changed and no barrier has come since.
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

    /// No core walks anything for `asid` any more: the space is gone. What is remembered of it stays.
    pub fn detach(&mut self, asid: u16) {
        self.spaces.remove(&asid);
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

    /// Whether instruction caches may hold lines of a frame that are older than what it holds.
    pub fn has_stale_code(&self, page: PageNumber) -> bool {
        self.stale_code.contains(&page)
    }

    /// Every translation that some core may use at `at`: more than one if something is stale.
    pub fn translate(&self, asid: u16, at: VirtAddr) -> BTreeSet<Translation> {
        let leaves = self.caches.leaves.iter();
        let leaves = leaves.filter(|leaf| leaf.covers(asid, at.get()));
        leaves.map(Translation::of).collect()
    }

    /// Every translation that some core may use: ASID, first address, what it allows.
    pub fn translations(&self) -> impl Iterator<Item = (u16, u64, Translation)> {
        let leaves = self.caches.leaves.iter();
        leaves.map(|leaf| (leaf.asid, leaf.base, Translation::of(leaf)))
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
        if cfg!(miri) {
            return Ok(());
        }
        let tables = Caches::default().reach(&self.frames, &self.spaces);
        if let Some(walk) = self.caches.walks.difference(&tables.walks).next() {
            return Err(format!("stale walk-cache entry {walk:x?}"));
        }
        if let Some(leaf) = self.caches.leaves.difference(&tables.leaves).next() {
            return Err(format!("stale TLB entry {leaf:x?}"));
        }
        match tables.leaves.iter().find(|leaf| !leaf.is_well_formed()) {
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

    /// Caches all that may be cached. Under Miri nothing is: walking all spaces after each store takes minutes there,
    /// and no test of what is stale runs.
    fn speculate(&mut self) {
        if cfg!(miri) {
            return;
        }
        let caches = core::mem::take(&mut self.caches);
        self.caches = caches.reach(&self.frames, &self.spaces);
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
        assert!(
            old & 1 == 0 || (old ^ value) & !PERMISSIONS == 0,
            "{old:x} became {value:x} without a break"
        );
        self.cleared |= old & 1 == 1;
        let frame = PageNumber::new(frame_of(value) as u32);
        assert!(
            !self.unordered.contains(&frame) || frame == table,
            "{frame:?} is named before what it holds is visible"
        );
        let executable = value >> 54 & 1 == 0 && value >> 10 & 1 == 1;
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

    fn word(&self, page: PageNumber, index: Index) -> u64 {
        self.entry(page, index)
    }

    fn set_word(&mut self, page: PageNumber, index: Index, value: u64) {
        self.write(page, index, value);
    }

    fn zero(&mut self, page: PageNumber) {
        let frame = u64::from(page.get());
        let walk = self.caches.walks.iter().find(|walk| walk.table == frame);
        let leaf = self.caches.leaves.iter().find(|leaf| leaf.reaches(frame));
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

    fn fence(&mut self) {
        // What programs see is in order here, and for walks this one does nothing.
    }

    fn before_invalidate(&mut self) {
        self.barrier();
    }

    fn invalidate_page(&mut self, asid: u16, at: UserPage) {
        self.invalidate(Invalidation::Page(asid, at.get()));
    }

    fn invalidate_table(&mut self, asid: u16, at: UserPage) {
        self.invalidate(Invalidation::Table(asid, at.get()));
    }

    fn invalidate_space(&mut self, asid: u16) {
        self.invalidate(Invalidation::Space(asid));
    }

    fn complete(&mut self) {
        self.barrier();
        let Caches { walks, leaves } = &mut self.caches;
        for gone in core::mem::take(&mut self.pending) {
            match gone {
                Invalidation::Page(asid, at) => leaves.retain(|leaf| !leaf.covers(asid, at)),
                Invalidation::Table(asid, at) => {
                    leaves.retain(|leaf| !leaf.covers(asid, at));
                    walks.retain(|walk| !walk.covers(asid, at));
                }
                Invalidation::Space(asid) => {
                    leaves.retain(|leaf| leaf.asid != asid);
                    walks.retain(|walk| walk.asid != asid);
                }
            }
        }
        // Entries that are still in the tables may be back at once.
        self.speculate();
    }
}
