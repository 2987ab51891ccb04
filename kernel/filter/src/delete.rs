//! Deletion: a filter with all below it, in bounded steps, or a filter alone.
//!
//! The filter leaves the hash table at once, so all its frames are its parent's from then on, before a
//! single descendant has been removed. Those go leaves first, so that what is left is a tree after each.

use crate::records::{Filter, FilterId, NO_TARGET, State};
use crate::trie::{EMPTY, Trie};
use crate::{Error, MAX_TARGETS};

/// How far a deletion came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Filters removed by this call.
    pub removed: usize,
    /// Whether the filter itself has gone; else the same call goes on.
    pub done: bool,
}

impl Trie<'_> {
    /// Removes a filter and its descendants, `bound` of them at most in this call. `gone` hears of each,
    /// with what its record was.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Root`].
    pub fn delete(
        &mut self,
        id: FilterId,
        bound: usize,
        mut gone: impl FnMut(FilterId, &Filter),
    ) -> Result<Removal, Error> {
        let record = self.removable(id)?;
        let parent = record.parent();
        if record.state != State::Leaving {
            self.remove_slot(id);
            self.update(id, |record| record.state = State::Leaving);
        }
        let mut removed = 0;
        let mut at = id;
        // Going down as often as there are levels, and then once for each filter removed.
        while removed < bound {
            let Some(record) = self.filter(at) else { break };
            if record.first_child != 0 {
                at = FilterId(record.first_child);
                continue;
            }
            let above = record.parent();
            self.remove(at, &mut gone);
            removed += 1;
            if at == id {
                removed += self.remove_hollow(parent, &mut gone);
                return Ok(Removal {
                    removed,
                    done: true,
                });
            }
            at = above;
        }
        Ok(Removal {
            removed,
            done: false,
        })
    }

    /// Removes a filter and keeps its descendants: what they leave is from now on the nearest live
    /// filter's above. It takes no new children, and its record goes with the last one.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Root`]; [`Error::Leaving`] if it is being removed or was kept for
    /// its descendants before.
    pub fn retire(
        &mut self,
        id: FilterId,
        mut gone: impl FnMut(FilterId, &Filter),
    ) -> Result<Removal, Error> {
        self.removable(id)?;
        let record = self.live(id)?;
        let parent = record.parent();
        if record.first_child != 0 {
            self.update(id, |record| {
                record.state = State::Retired;
                record.targets = [NO_TARGET; MAX_TARGETS];
            });
            return Ok(Removal {
                removed: 0,
                done: true,
            });
        }
        self.remove(id, &mut gone);
        let removed = 1 + self.remove_hollow(parent, &mut gone);
        Ok(Removal {
            removed,
            done: true,
        })
    }

    fn removable(&self, id: FilterId) -> Result<&Filter, Error> {
        if id == FilterId::ROOT {
            return Err(Error::Root);
        }
        self.filter(id).ok_or(Error::Unknown)
    }

    /// Removes retired filters without children from `id` up.
    fn remove_hollow(
        &mut self,
        mut id: FilterId,
        gone: &mut impl FnMut(FilterId, &Filter),
    ) -> usize {
        let mut removed = 0;
        while let Some(record) = self.filter(id)
            && record.state == State::Retired
            && record.first_child == 0
        {
            let parent = record.parent();
            self.remove(id, gone);
            removed += 1;
            id = parent;
        }
        removed
    }

    /// Removes a filter without children.
    fn remove(&mut self, id: FilterId, gone: &mut impl FnMut(FilterId, &Filter)) {
        let Some(&record) = self.filter(id) else {
            return;
        };
        self.remove_slot(id);
        if record.previous != 0 {
            self.update(FilterId(record.previous), |sibling| {
                sibling.next = record.next
            });
        } else {
            self.update(record.parent(), |parent| parent.first_child = record.next);
        }
        if record.next != 0 {
            self.update(FilterId(record.next), |sibling| {
                sibling.previous = record.previous
            });
        }
        self.release_keys(record.keys);
        self.free_words(record.more);
        let free = Filter {
            next: self.free_filter,
            ..EMPTY
        };
        self.update(id, |record| *record = free);
        self.free_filter = id.0;
        gone(id, &record);
    }

    /// Puts a list of chunks back on the free list: ten at most.
    fn free_words(&mut self, first: u32) {
        let mut number = first;
        while number != 0 {
            let head = self.free_chunk;
            let Some(chunk) = self.chunks.get_mut(number as usize) else {
                return;
            };
            let next = chunk.0[0] as u32;
            chunk.0[0] = head.into();
            self.free_chunk = number;
            number = next;
        }
    }
}
