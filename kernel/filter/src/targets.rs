//! Who gets a filter's frames: up to eight targets, which are numbers of the caller's.

use crate::records::{FilterId, NO_TARGET, State};
use crate::trie::Trie;
use crate::{Error, Operation};

impl Trie<'_> {
    /// Adds a target, which must not be `u32::MAX`.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Leaving`], [`Error::Malformed`], [`Error::Present`],
    /// [`Error::TooManyTargets`].
    pub fn add_target(&mut self, filter: FilterId, target: u32) -> Result<(), Error> {
        let record = self.live(filter)?;
        if target == NO_TARGET {
            return Err(Error::Malformed);
        }
        if record.targets.contains(&target) {
            return Err(Error::Present);
        }
        let free = record.targets.iter().position(|&place| place == NO_TARGET);
        let at = free.ok_or(Error::TooManyTargets)?;
        self.update(filter, |record| record.targets[at] = target);
        Ok(())
    }

    /// Routes to `new` what went to `old`: the hand-over of a connection.
    ///
    /// # Errors
    /// As [`Self::add_target`], and [`Error::Absent`] if `old` is no target.
    pub fn replace_target(&mut self, filter: FilterId, old: u32, new: u32) -> Result<(), Error> {
        let record = self.live(filter)?;
        if new == NO_TARGET {
            return Err(Error::Malformed);
        }
        if record.targets.contains(&new) {
            return Err(Error::Present);
        }
        let found = record.targets.iter().position(|&place| place == old);
        let at = found.filter(|_| old != NO_TARGET).ok_or(Error::Absent)?;
        self.update(filter, |record| record.targets[at] = new);
        Ok(())
    }

    /// Takes a target away and tells how many are left. A filter without any stays: who wants it gone
    /// with its last reference deletes it.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Leaving`], [`Error::Absent`].
    pub fn remove_target(&mut self, filter: FilterId, target: u32) -> Result<usize, Error> {
        let record = self.live(filter)?;
        let found = record.targets.iter().position(|&place| place == target);
        let at = found.filter(|_| target != NO_TARGET).ok_or(Error::Absent)?;
        let left = record.targets().count() - 1;
        self.update(filter, |record| record.targets[at] = NO_TARGET);
        Ok(left)
    }

    /// Whose the frames are that classification gives to `filter`: its own, unless only its descendants
    /// were kept.
    pub fn receiver(&self, mut filter: FilterId) -> FilterId {
        while let Some(record) = self.filter(filter)
            && record.state == State::Retired
        {
            filter = record.parent();
        }
        filter
    }

    /// What a filter asks beyond its parent, as it was inserted.
    pub fn operations(&self, filter: FilterId) -> impl Iterator<Item = Operation> + '_ {
        let record = self.filter(filter);
        let key = record.and_then(|record| self.parent_key(record));
        let child = record.filter(|record| record.atoms > 0);
        let steps = key
            .filter(|_| child.is_some())
            .map_or(&[][..], |key| key.steps());
        steps.iter().filter_map(move |step| {
            let word = self.words(record?).nth(step.word.into())?;
            Some(step.operation(word >> step.bit & step.width().ones()))
        })
    }
}
