//! The one hash table: from a key's place and a frame's fields to the child that takes it.
//!
//! Open addressing with linear probing. A slot holds a filter's number, 0 being empty (the root is
//! nobody's child). It is never more than an eighth full, does not wrap (behind the last home there is
//! room for a run), and removal moves later entries back, so that there are no tombstones.
//!
//! Where values hash to depends on [`Secrets`], so that programs cannot choose values that collide. Each
//! two words are multiplied to 128 bits of which both halves count, as in wyhash and foldhash.

use crate::records::{Filter, MAX_FILTERS};
use crate::trie::Trie;
use crate::{Error, FilterId};

/// Most occupied slots in a row. At an eighth full, a longer one never comes by chance; an insertion that
/// would make one is refused, so that this bounds every look-up.
pub const MAX_RUN: usize = 64;

/// Random numbers, drawn at boot and told to nobody.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Mixed into the first word.
    pub first: u64,
    /// Multiplier.
    pub second: u64,
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secrets")
    }
}

/// Slots that a table for `filters` filters needs: a power of two eight times as large, and room behind.
pub const fn slots_for(filters: usize) -> usize {
    homes_for(filters) + MAX_RUN
}

/// Slots that values hash to.
const fn homes_for(filters: usize) -> usize {
    let filters = if filters > MAX_FILTERS {
        MAX_FILTERS
    } else {
        filters
    };
    let homes = (filters * 8).next_power_of_two();
    // Two at least: a mask of none is no immediate of an instruction.
    if homes < 2 { 2 } else { homes }
}

/// Both halves of the product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Secrets {
    /// What `words` hash to. The low bits are good.
    pub(crate) fn hash(&self, words: &[u64]) -> u64 {
        match words {
            [] => 0,
            [word] => fold(*word, self.second),
            [first, second, rest @ ..] => {
                let start = fold(first ^ self.first, second ^ self.second);
                rest.iter()
                    .fold(start, |hash, word| fold(hash ^ word, self.second))
            }
        }
    }
}

impl Trie<'_> {
    /// Mask of a home slot's number.
    pub(crate) fn home_mask(&self) -> u64 {
        homes_for(self.filters.len()) as u64 - 1
    }

    fn slot(&self, at: usize) -> u32 {
        self.slots.get(at).copied().unwrap_or(0)
    }

    /// Where `words` hash to.
    pub(crate) fn home(&self, words: &[u64]) -> u32 {
        (self.secrets.hash(words) & self.home_mask()) as u32
    }

    /// The filter with these words whose home this is.
    pub(crate) fn find(&self, words: &[u64], home: u32) -> Option<FilterId> {
        let slots = self.slots.get(home as usize..)?;
        let run = slots.iter().take(MAX_RUN).take_while(|&&slot| slot != 0);
        run.map(|&slot| FilterId(slot))
            .find(|&filter| self.has_words(filter, words))
    }

    /// A slot for an entry with this home.
    ///
    /// # Errors
    /// [`Error::Crowded`].
    pub(crate) fn free_slot(&self, home: u32) -> Result<usize, Error> {
        let home = home as usize;
        let occupied = |at: &usize| self.slot(*at) != 0;
        let at = (home..=home + MAX_RUN)
            .find(|at| !occupied(at))
            .ok_or(Error::Crowded)?;
        let before = (0..at).rev().take(MAX_RUN).take_while(occupied).count();
        let after = (at + 1..).take(MAX_RUN).take_while(occupied).count();
        if before + 1 + after > MAX_RUN || at + 1 >= self.slots.len() {
            return Err(Error::Crowded);
        }
        Ok(at)
    }

    pub(crate) fn set_slot(&mut self, at: usize, filter: FilterId) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = filter.0;
        }
    }

    /// Takes `filter` out of the table, if it is in it, and moves back those behind it in the run that
    /// may lie nearer to their home.
    pub(crate) fn remove_slot(&mut self, filter: FilterId) {
        let home = self.filter(filter).map_or(0, |record| record.home) as usize;
        let Some(mut hole) = (home..home + MAX_RUN).find(|&at| self.slot(at) == filter.0) else {
            return;
        };
        for at in hole + 1..hole + 1 + MAX_RUN {
            let entry = self.slot(at);
            if entry == 0 {
                break;
            }
            let home = self
                .filter(FilterId(entry))
                .map_or(at, |record: &Filter| record.home as usize);
            if home <= hole {
                self.set_slot(hole, FilterId(entry));
                hole = at;
            }
        }
        self.set_slot(hole, FilterId(0));
    }
}
