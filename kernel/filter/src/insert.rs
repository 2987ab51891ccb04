//! Insertion: one filter more is a record, a slot and a link, whatever else there is.

use crate::records::{CHUNK_WORDS, Chunk, Filter, FilterId, MAX_WORDS, OWN_WORDS, State};
use crate::trie::{EMPTY, Trie, chunks_for};
use crate::{Error, MAX_CHAIN, Program};

impl Trie<'_> {
    /// Makes a child of `parent`: what satisfies `program` as well is the new filter's from now on.
    /// `program` gives values to the parent's key at position `key`; `epoch` is kept for the caller.
    ///
    /// # Errors
    /// [`Error::Unknown`] (filter, or position), [`Error::Leaving`], [`Error::WrongKey`],
    /// [`Error::BadCount`], [`Error::Overlap`], [`Error::NoFilter`], [`Error::NoChunk`],
    /// [`Error::Crowded`].
    pub fn insert(
        &mut self,
        parent: FilterId,
        key: usize,
        program: Program<'_>,
        epoch: u64,
    ) -> Result<FilterId, Error> {
        let above = self.growing(parent)?;
        let interned = above.keys().nth(key).ok_or(Error::Unknown)?;
        let record = self.key(interned).ok_or(Error::Unknown)?;
        let place = parent.place() | (key as u32) << 2;
        let mut words = [0; MAX_WORDS];
        Self::values(record, program, place, &mut words)?;
        let words = words.get(..record.words.into()).unwrap_or_default();
        let atoms = above.atoms + u16::from(record.count);
        if usize::from(atoms) > MAX_CHAIN {
            return Err(Error::BadCount);
        }
        let first_child = above.first_child;
        let home = self.home(words);
        if self.find(words, home).is_some() {
            return Err(Error::Overlap);
        }
        let slot = self.free_slot(home)?;
        let id = FilterId(self.free_filter);
        if id == FilterId::ROOT {
            return Err(Error::NoFilter);
        }
        let more = self.store_words(words)?;
        // Nothing fails from here on.
        self.free_filter = self.filters.get(id.index()).map_or(0, |free| free.next);
        let own = words.iter().take(OWN_WORDS);
        let mut filter = Filter {
            more,
            epoch,
            home,
            atoms,
            used_words: words.len() as u8,
            next: first_child,
            state: State::Live,
            ..EMPTY
        };
        filter
            .words
            .iter_mut()
            .zip(own)
            .for_each(|(word, value)| *word = *value);
        self.update(id, |record| *record = filter);
        if first_child != 0 {
            self.update(FilterId(first_child), |sibling| sibling.previous = id.0);
        }
        self.update(parent, |record| record.first_child = id.0);
        self.set_slot(slot, id);
        Ok(id)
    }

    /// Puts the words that do not fit into a filter's record in chunks and gives the first one's number.
    ///
    /// # Errors
    /// [`Error::NoChunk`].
    fn store_words(&mut self, words: &[u64]) -> Result<u32, Error> {
        let needed = chunks_for(words.len());
        if needed == 0 {
            return Ok(0);
        }
        let free = |number: &u64| *number != 0;
        let next = |number: u64| {
            self.chunks
                .get(number as usize)
                .map_or(0, |chunk| chunk.0[0])
        };
        let first = Some(u64::from(self.free_chunk)).filter(free);
        let list = core::iter::successors(first, |&number| Some(next(number)).filter(free));
        if list.take(needed).count() < needed {
            return Err(Error::NoChunk);
        }
        let first = self.free_chunk;
        let rest = words.get(OWN_WORDS..).unwrap_or_default();
        let mut number = first;
        let mut pieces = rest.chunks(CHUNK_WORDS).peekable();
        while let Some(piece) = pieces.next() {
            let Some(Chunk([next, places @ ..])) = self.chunks.get_mut(number as usize) else {
                return Err(Error::NoChunk);
            };
            *places = [0; CHUNK_WORDS];
            places
                .iter_mut()
                .zip(piece)
                .for_each(|(place, word)| *place = *word);
            number = *next as u32;
            if pieces.peek().is_none() {
                *next = 0;
            }
        }
        self.free_chunk = number;
        Ok(first)
    }
}
