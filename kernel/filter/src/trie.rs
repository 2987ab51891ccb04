//! The filters of an interface: pools, and what all operations on them share.

use crate::hash::{Secrets, slots_for};
use crate::records::{CHUNK_WORDS, Chunk, Filter, FilterId, KeyId, KeyRecord};
use crate::records::{MAX_FILTERS, NO_KEY, NO_TARGET, OWN_WORDS, State};
use crate::{Error, MAX_KEYS, MAX_TARGETS};

/// The memory of a [`Trie`]. What is in it does not matter.
#[derive(Debug)]
pub struct Pools<'m> {
    /// One for each filter, the root included; at most 2^24.
    pub filters: &'m mut [Filter],
    /// [`slots_for`] the filters, at least.
    pub slots: &'m mut [u32],
    /// For filters with more than 28 octets of values, seven words in each; the first is not used.
    pub chunks: &'m mut [Chunk],
    /// One for each key that differs from all others; at most 65,535.
    pub keys: &'m mut [KeyRecord],
}

/// All filters of an interface.
#[derive(Debug)]
pub struct Trie<'m> {
    pub(crate) filters: &'m mut [Filter],
    pub(crate) slots: &'m mut [u32],
    pub(crate) chunks: &'m mut [Chunk],
    pub(crate) keys: &'m mut [KeyRecord],
    pub(crate) secrets: Secrets,
    /// Heads of the free lists; 0 ends them.
    pub(crate) free_filter: u32,
    pub(crate) free_chunk: u32,
}

impl<'m> Trie<'m> {
    /// A tree with nothing but the root, which has no target.
    ///
    /// # Errors
    /// [`Error::BadPool`].
    pub fn new(pools: Pools<'m>, secrets: Secrets) -> Result<Self, Error> {
        let Pools {
            filters,
            slots,
            chunks,
            keys,
        } = pools;
        if filters.is_empty()
            || filters.len() > MAX_FILTERS
            || slots.len() < slots_for(filters.len())
            || chunks.len() > MAX_FILTERS
            || keys.len() >= NO_KEY.into()
        {
            return Err(Error::BadPool);
        }
        slots.fill(0);
        keys.fill(KeyRecord::default());
        let count = filters.len() as u32;
        for (filter, next) in filters.iter_mut().zip(1..) {
            *filter = Filter {
                next: if next == count { 0 } else { next },
                ..EMPTY
            };
        }
        filters[0] = Filter {
            state: State::Live,
            ..EMPTY
        };
        let count = chunks.len() as u64;
        for (chunk, next) in chunks.iter_mut().zip(1..) {
            *chunk = Chunk::default();
            chunk.0[0] = if next == count { 0 } else { next };
        }
        Ok(Self {
            free_filter: u32::from(filters.len() > 1),
            free_chunk: u32::from(chunks.len() > 1),
            filters,
            slots,
            chunks,
            keys,
            secrets,
        })
    }

    /// The record of a filter, if there is such a filter.
    pub fn filter(&self, id: FilterId) -> Option<&Filter> {
        let record = self.filters.get(id.index());
        record.filter(|record| record.state != State::Free)
    }

    /// The record of a key, if there is such a key.
    pub fn key(&self, id: KeyId) -> Option<&KeyRecord> {
        let record = self.keys.get(usize::from(id.0));
        record.filter(|record| record.count > 0)
    }

    /// The key under which `filter` is its parent's child; the root has none.
    pub(crate) fn parent_key(&self, filter: &Filter) -> Option<&KeyRecord> {
        let parent = self.filter(filter.parent())?;
        self.key(KeyId(*parent.keys.get(filter.key())?))
    }

    /// Changes a record that a check has found.
    pub(crate) fn update(&mut self, id: FilterId, change: impl FnOnce(&mut Filter)) {
        if let Some(record) = self.filters.get_mut(id.index()) {
            change(record);
        }
    }

    /// The record of a live filter.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Leaving`].
    pub(crate) fn live(&self, id: FilterId) -> Result<&Filter, Error> {
        match self.filter(id) {
            None => Err(Error::Unknown),
            Some(record) if record.state != State::Live => Err(Error::Leaving),
            Some(record) => Ok(record),
        }
    }

    /// The record of a live filter no ancestor of which is being removed.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Leaving`].
    pub(crate) fn growing(&self, id: FilterId) -> Result<&Filter, Error> {
        let record = self.live(id)?;
        let mut above = record;
        // Every filter has an atom at least, so the chain ends within `MAX_CHAIN` steps.
        while above.atoms > 0 {
            above = self.filter(above.parent()).ok_or(Error::Unknown)?;
            if above.state == State::Leaving {
                return Err(Error::Leaving);
            }
        }
        Ok(record)
    }

    /// Word `index` of a filter's values.
    pub(crate) fn words<'a>(&'a self, record: &'a Filter) -> impl Iterator<Item = u64> + 'a {
        let chunk = |number: u64| self.chunks.get(number as usize).map(|chunk| &chunk.0);
        let first = chunk(record.more.into()).filter(|_| record.more != 0);
        let chunks = core::iter::successors(first, move |words| {
            chunk(words[0]).filter(|_| words[0] != 0)
        });
        let more = chunks.flat_map(|words| words[1..].iter());
        let all = record.words.iter().chain(more).copied();
        all.take(record.used_words.into())
    }

    /// Whether a filter's values are these.
    pub(crate) fn has_words(&self, id: FilterId, words: &[u64]) -> bool {
        let record = self.filters.get(id.index());
        record.is_some_and(|record| {
            usize::from(record.used_words) == words.len()
                && self.words(record).eq(words.iter().copied())
        })
    }
}

/// Chunks that this many words need.
pub(crate) const fn chunks_for(words: usize) -> usize {
    words.saturating_sub(OWN_WORDS).div_ceil(CHUNK_WORDS)
}

/// A record of nothing.
pub(crate) const EMPTY: Filter = Filter {
    code: [0; MAX_KEYS + 1],
    more: 0,
    words: [0; OWN_WORDS],
    epoch: 0,
    targets: [NO_TARGET; MAX_TARGETS],
    first_child: 0,
    next: 0,
    previous: 0,
    home: 0,
    keys: [NO_KEY; MAX_KEYS],
    atoms: 0,
    used_words: 0,
    state: State::Free,
    key_count: 0,
    reserved: [0; 3],
};
