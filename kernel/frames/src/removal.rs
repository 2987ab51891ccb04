//! Ends of filters: with all below them in bounded steps, or alone.
//!
//! In the first step a filter leaves the merged tree, so that no frame comes to it or to anything below; what goes then,
//! goes leaves first. What one call leaves undone, the next one goes on with, or the background.

use exopi_abi::Error;
use exopi_abi::capability::FilterRights;
use exopi_abi::net::{FilterRecord, FilterState};
use exopi_filter::{Filter, FilterId, State};

use crate::bindings::NONE;
use crate::claim::Place;
use crate::{By, Claim, Frames, Holding, Ledger};

/// Most filters that one step removes, but for retired ones above that were kept for the last of them.
pub const REMOVED_AT_ONCE: usize = 8;

/// How a bounded part left things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is not done has to be gone on with"]
pub enum Step {
    /// It is done.
    Done,
    /// There is more to do.
    More,
    /// A device has to be done with a frame first.
    Blocked,
}

impl Frames<'_> {
    /// Deletes a filter and all below it, or with `keep` it alone, as the row `dpf_delete` of the call table says. To one
    /// who asks again, [`Error::NotYours`] or [`Error::Stale`] says that it is gone.
    ///
    /// # Errors
    /// Those of a claim with the right to delete; [`Error::MissingRight`] for a root; with `keep`
    /// [`Error::Stale`] for one that is being deleted or was kept for those below it.
    pub fn dpf_delete(
        &mut self,
        by: &By,
        filter: Claim<'_>,
        keep: bool,
        ledger: &mut impl Ledger,
    ) -> Result<Step, Error> {
        let place = self.any_filter(by, filter, FilterRights::DELETE)?;
        if place.id == FilterId::ROOT || place.key.is_some() {
            return Err(Error::MissingRight);
        }
        if !keep {
            return Ok(self.end_filter(place.interface, place.id, ledger));
        }
        let (place, _) = self.live_filter(by, filter, FilterRights::DELETE)?;
        self.retire(place, ledger);
        Ok(Step::Done)
    }

    /// Takes away all references of a filter to rings.
    fn cut_all(&mut self, interface: usize, id: FilterId, ledger: &mut impl Ledger) {
        loop {
            let filter = self.interface(interface);
            let record = filter.and_then(|found| found.trie.filter(id));
            let Some(target) = record.and_then(|record| record.targets().next()) else {
                return;
            };
            // Each has one target less.
            self.cut(target as u16, ledger);
        }
    }

    /// Deletes a live filter alone.
    fn retire(&mut self, place: Place, ledger: &mut impl Ledger) {
        self.cut_all(place.interface, place.id, ledger);
        let mut gone = Gone::default();
        let Some(found) = self.interface_mut(place.interface) else {
            return;
        };
        let retired = found
            .trie
            .retire(place.id, |id, record| gone.push(id, record));
        if retired.is_ok_and(|removal| removal.removed == 0)
            && let Some(record) = found.filters.get_mut(place.number())
        {
            record.state = FilterState::Retired;
        }
        self.forget(place.interface, &gone, ledger);
    }

    /// A bounded part of a filter's end, with all below it.
    pub(crate) fn end_filter(
        &mut self,
        interface: usize,
        id: FilterId,
        ledger: &mut impl Ledger,
    ) -> Step {
        let state = |frames: &Self| frames.filter_at(interface, id).map(|record| record.state);
        if state(self) == Some(FilterState::Live) {
            self.cut_all(interface, id, ledger);
        }
        let mut gone = Gone::default();
        let Some(found) = self.interface_mut(interface) else {
            return Step::Done;
        };
        let removal = found
            .trie
            .delete(id, REMOVED_AT_ONCE, |id, record| gone.push(id, record));
        if let Some(record) = found.filters.get_mut(id.0 as usize)
            && record.state != FilterState::Free
        {
            record.state = FilterState::Leaving;
        }
        self.forget(interface, &gone, ledger);
        match removal {
            Ok(removal) if !removal.done => {
                self.tidy_up();
                Step::More
            }
            _ => Step::Done,
        }
    }

    /// Settles what filters that have gone from the tree leave behind.
    fn forget(&mut self, interface: usize, gone: &Gone, ledger: &mut impl Ledger) {
        for (id, targets) in gone.all() {
            for number in targets.iter().filter(|number| **number != NONE) {
                self.unbind(*number, ledger);
            }
            let Some(found) = self.interface_mut(interface) else {
                return;
            };
            let Some(record) = found.filters.get_mut(id.0 as usize) else {
                continue;
            };
            let old = core::mem::replace(record, FilterRecord::FREE);
            self.note_gone(old.environment);
            ledger.release(old.account, Holding::Filter);
            for _ in 0..old.keys {
                ledger.release(old.account, Holding::Key);
            }
            self.count(interface, |record| record.filters -= 1);
        }
    }
}

/// Filters that one step of removal has taken out of the tree, with the bindings that they had: as many as it may
/// take, and the retired ones above that waited for the last.
struct Gone {
    filters: [(FilterId, [u16; 8]); Gone::MOST],
    count: usize,
}

impl Default for Gone {
    fn default() -> Self {
        Self {
            filters: [(FilterId::ROOT, [NONE; 8]); Self::MOST],
            count: 0,
        }
    }
}

impl Gone {
    const MOST: usize = REMOVED_AT_ONCE + crate::filters::MAX_DEPTH as usize;

    fn push(&mut self, id: FilterId, record: &Filter) {
        debug_assert!(record.state() != State::Free && self.count < Self::MOST);
        let mut targets = [NONE; 8];
        let kept = targets.iter_mut().zip(record.targets());
        kept.for_each(|(place, target)| *place = target as u16);
        if let Some(place) = self.filters.get_mut(self.count) {
            *place = (id, targets);
            self.count += 1;
        }
    }

    fn all(&self) -> &[(FilterId, [u16; 8])] {
        self.filters.get(..self.count).unwrap_or_default()
    }
}
