//! What refers to a frame, counted anew each time it is asked.

use exopi_abi::Error;

use super::{Mapped, Naive};

impl Naive {
    /// Takes away all mappings of a frame, and tells how many superpages went.
    pub(super) fn break_page(&mut self, number: u32) -> u64 {
        let superpages = self.superpages(number);
        for space in self.spaces.iter_mut().flatten() {
            space.pages.retain(|_, mapped| mapped.frame != number);
            let of_it = |mapped: &Mapped| mapped.frame == number & !511;
            space.superpages.retain(|_, mapped| !of_it(mapped));
        }
        superpages as u64
    }

    /// Entries that are counted on a frame.
    pub(in crate::tests) fn references(&self, number: u32) -> usize {
        (0..2)
            .map(|place| self.references_from(place, number))
            .sum()
    }

    /// Those of them that are in a space of somebody else.
    pub(in crate::tests) fn foreign(&self, number: u32) -> usize {
        let others = (0..2).filter(|place| self.frames[&number].owner != Some(*place));
        others
            .map(|place| self.references_from(place, number))
            .sum()
    }

    fn references_from(&self, place: usize, number: u32) -> usize {
        let Some(space) = &self.spaces[place] else {
            return 0;
        };
        let mapped = space.pages.values().chain(space.superpages.values());
        mapped.filter(|mapped| mapped.frame == number).count()
    }

    /// Superpages that a frame is in.
    pub(super) fn superpages(&self, number: u32) -> usize {
        let spaces = self.spaces.iter().flatten();
        let superpages = spaces.flat_map(|space| space.superpages.values());
        superpages
            .filter(|mapped| mapped.frame == number & !511)
            .count()
    }

    pub(super) fn has_room(&self, place: usize, number: u32) -> Result<(), Error> {
        let frame = &self.frames[&number];
        let full = self.foreign(number) >= usize::from(frame.limit);
        match frame.owner != Some(place) && full {
            true => Err(Error::LimitReached),
            false => Ok(()),
        }
    }
}
