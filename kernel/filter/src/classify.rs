//! The merged tree, interpreted.

use crate::MAX_CHAIN;
use crate::keys::put;
use crate::records::{FilterId, KeyRecord, MAX_WORDS, Part, State, Step};
use crate::trie::Trie;

impl Trie<'_> {
    /// The filter that a frame comes to. [`Trie::receiver`] tells whose that is.
    ///
    /// The cost depends on the fields of the keys on the way, and not on the number of filters.
    pub fn classify(&self, frame: &[u8]) -> FilterId {
        let mut at = FilterId::ROOT;
        let mut base = 0;
        // Ends, for a child's chain is longer than its parent's, and none is longer than `MAX_CHAIN`.
        while let Some((child, moved)) = self.child(at, base, frame) {
            at = child;
            base = moved;
        }
        at
    }

    /// Whether a frame satisfies all that a filter and those above it ask, whoever gets it: what a frame
    /// that is to be sent must do for a send capability with these atoms.
    ///
    /// A filter that is being removed, or is not there, is satisfied by nothing.
    pub fn satisfies(&self, filter: FilterId, frame: &[u8]) -> bool {
        let mut path = [FilterId::ROOT; MAX_CHAIN];
        let mut count = 0;
        let mut at = filter;
        while at != FilterId::ROOT {
            let record = self
                .filter(at)
                .filter(|record| record.state != State::Leaving);
            let (Some(record), Some(place)) = (record, path.get_mut(count)) else {
                return false;
            };
            *place = at;
            count += 1;
            at = record.parent();
        }
        let path = path.iter().take(count).rev();
        let mut base = 0;
        for step in path {
            match self.moved(*step, base, frame) {
                Some(moved) => base = moved,
                None => return false,
            }
        }
        true
    }

    /// The base behind a filter's own atoms, if the frame has the filter's values there.
    fn moved(&self, filter: FilterId, base: u64, frame: &[u8]) -> Option<u64> {
        let record = self.filter(filter)?;
        let key = self.parent_key(record)?;
        let mut words = [0; MAX_WORDS];
        words[0] = record.place().into();
        let moved = look(key, base, frame, &mut words)?;
        let words = words.get(..key.words.into())?;
        self.has_words(filter, words).then_some(moved)
    }

    /// The child that takes the frame, and the base behind its key.
    fn child(&self, at: FilterId, base: u64, frame: &[u8]) -> Option<(FilterId, u64)> {
        let record = self.filter(at)?;
        record.keys().zip(0u32..).find_map(|(key, position)| {
            let key = self.key(key)?;
            let mut words = [0; MAX_WORDS];
            words[0] = u64::from(at.place() | position << 2);
            let moved = look(key, base, frame, &mut words)?;
            let words = words.get(..key.words.into())?;
            Some((self.find(words, self.home(words))?, moved))
        })
    }
}

/// Packs what the frame has in the fields of a key and gives the base behind it, if all are there.
fn look(key: &KeyRecord, mut base: u64, frame: &[u8], words: &mut [u64; MAX_WORDS]) -> Option<u64> {
    for step in key.steps() {
        match step.part {
            Part::Field => put(words, step, load(step, base, frame)? & step.mask),
            Part::Advance => base += u64::from(step.offset),
            Part::AdvanceBy => base += step.distance(load(step, base, frame)?),
        }
    }
    Some(base)
}

/// A field with its octets in the order in which A64 loads them.
fn load(step: &Step, base: u64, frame: &[u8]) -> Option<u64> {
    // No overflow: a chain moves the base by less than 2^24.
    let start = usize::try_from(base + u64::from(step.offset)).ok()?;
    let octets = frame.get(start..)?.get(..step.width().octets() as usize)?;
    Some(
        octets
            .iter()
            .rev()
            .fold(0, |number, &octet| number << 8 | u64::from(octet)),
    )
}
