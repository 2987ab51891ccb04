//! Pages of files in memory, by file and offset: what the crate is not asked for again.
//!
//! Clean pages go when there is no room, those first that were used longest ago. Changed ones stay until they are
//! written; how many there may be is bounded, and who goes beyond writes first.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::device::Block;

/// A page: which file by its number, which of its pages.
pub(super) type Key = (u32, u32);

struct Page {
    bytes: Box<Block>,
    changed: bool,
    used: u64,
}

/// Pages in memory.
pub(super) struct Pages {
    pages: BTreeMap<Key, Page>,
    /// By when they were used last.
    ages: BTreeMap<u64, Key>,
    capacity: usize,
    changed: usize,
    now: u64,
}

impl Pages {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            pages: BTreeMap::new(),
            ages: BTreeMap::new(),
            capacity: capacity.max(1),
            changed: 0,
            now: 0,
        }
    }

    /// How many have changed.
    pub(super) const fn changed(&self) -> usize {
        self.changed
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.pages.contains_key(&key)
    }

    fn touch(&mut self, key: Key) -> Option<&mut Page> {
        let page = self.pages.get_mut(&key)?;
        self.now += 1;
        self.ages.remove(&page.used);
        page.used = self.now;
        self.ages.insert(self.now, key);
        Some(page)
    }

    /// A page's bytes.
    pub(super) fn get(&mut self, key: Key) -> Option<&Block> {
        self.touch(key).map(|page| &*page.bytes)
    }

    /// A page's bytes, to be changed.
    pub(super) fn change(&mut self, key: Key) -> Option<&mut Block> {
        let was = self.touch(key)?.changed;
        if !was {
            self.changed += 1;
        }
        let page = self.pages.get_mut(&key)?;
        page.changed = true;
        Some(&mut page.bytes)
    }

    /// A page's bytes, to be changed where nobody will see it.
    pub(super) fn quietly(&mut self, key: Key) -> Option<&mut Block> {
        self.pages.get_mut(&key).map(|page| &mut *page.bytes)
    }

    /// Puts a page in; clean ones make room.
    pub(super) fn insert(&mut self, key: Key, bytes: Box<Block>) {
        self.forget(key);
        while self.pages.len() >= self.capacity {
            let is_clean = |key: &&Key| self.pages.get(key).is_some_and(|page| !page.changed);
            let Some(oldest) = self.ages.values().find(is_clean).copied() else {
                break;
            };
            self.forget(oldest);
        }
        self.now += 1;
        let page = Page {
            bytes,
            changed: false,
            used: self.now,
        };
        self.pages.insert(key, page);
        self.ages.insert(self.now, key);
    }

    /// Notes that a page is written.
    pub(super) fn written(&mut self, key: Key) {
        if let Some(page) = self.pages.get_mut(&key)
            && page.changed
        {
            page.changed = false;
            self.changed -= 1;
        }
    }

    fn forget(&mut self, key: Key) {
        if let Some(page) = self.pages.remove(&key) {
            self.ages.remove(&page.used);
            self.changed -= usize::from(page.changed);
        }
    }

    /// Lets a file's pages from `first` on go, changed or not.
    pub(super) fn cut(&mut self, file: u32, first: u32) {
        let gone = self.pages.range((file, first)..=(file, u32::MAX));
        for key in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.forget(key);
        }
    }

    /// A file's changed pages, first ones first.
    pub(super) fn changed_of(&self, file: u32) -> Vec<u32> {
        let pages = self.pages.range((file, 0)..=(file, u32::MAX));
        let changed = pages.filter(|(_, page)| page.changed);
        changed.map(|((_, number), _)| *number).collect()
    }
}
