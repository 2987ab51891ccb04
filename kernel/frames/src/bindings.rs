//! Bindings: references of filters to rings. A filter's targets are numbers of bindings, and each ring has a list of its
//! own, so that neither end has to be looked for.
//!
//! ```text
//!   filter --targets[8]--> binding --ring--> ring
//!                            ^  next, previous |
//!                            `------ first ----'
//! ```

use exopi_abi::net::{FilterState, filter_index, filter_place};
use exopi_filter::FilterId;

use crate::{Frames, Holding, Ledger};

/// No binding: the first place is not used.
pub(crate) const NONE: u16 = 0;

/// A reference of a filter to a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Index of the filter.
    pub(crate) filter: u16,
    pub(crate) ring: u16,
    /// Others of the ring, or the next free one.
    pub(crate) next: u16,
    pub(crate) previous: u16,
}

/// The pool of bindings.
#[derive(Debug)]
pub(crate) struct Bindings<'m> {
    places: &'m mut [Binding],
    free: u16,
}

impl<'m> Bindings<'m> {
    pub(crate) const fn none() -> Self {
        Self {
            places: &mut [],
            free: NONE,
        }
    }

    pub(crate) fn new(places: &'m mut [Binding]) -> Self {
        let count = places.len() as u16;
        for (place, next) in places.iter_mut().zip(1..=count) {
            *place = Binding {
                next: if next == count { NONE } else { next },
                ..Binding::default()
            };
        }
        Self {
            places,
            free: u16::from(count > 1),
        }
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Binding> {
        self.places
            .get(usize::from(number))
            .filter(|_| number != NONE)
    }

    fn update(&mut self, number: u16, change: impl FnOnce(&mut Binding)) {
        if number != NONE
            && let Some(place) = self.places.get_mut(usize::from(number))
        {
            change(place);
        }
    }

    /// The number that the next binding will have; [`None`] if there is no place.
    pub(crate) const fn vacant(&self) -> Option<u16> {
        if self.free == NONE {
            None
        } else {
            Some(self.free)
        }
    }

    /// Puts a binding at the begin of a ring's list and gives its number.
    fn put(&mut self, filter: u16, ring: u16, first: u16) -> u16 {
        let number = self.free;
        self.free = self.get(number).map_or(NONE, |place| place.next);
        self.update(number, |place| {
            *place = Binding {
                filter,
                ring,
                next: first,
                previous: NONE,
            }
        });
        self.update(first, |place| place.previous = number);
        number
    }

    /// Takes a binding away and gives what it was; the caller changes the list's begin if it was that.
    fn take(&mut self, number: u16) -> Option<Binding> {
        let binding = *self.get(number)?;
        self.update(binding.previous, |place| place.next = binding.next);
        self.update(binding.next, |place| place.previous = binding.previous);
        let next = self.free;
        self.update(number, |place| {
            *place = Binding {
                next,
                ..Binding::default()
            }
        });
        self.free = number;
        Some(binding)
    }
}

impl Frames<'_> {
    /// Binds a filter to a ring, for which there is a place and room, and gives the binding's number.
    pub(crate) fn bind(
        &mut self,
        interface: usize,
        id: FilterId,
        ring: u16,
        ledger: &mut impl Ledger,
    ) -> u16 {
        let filter = filter_index(interface, id.0 as usize).unwrap_or_default();
        let Some(record) = self.rings.get_mut(usize::from(ring)) else {
            return NONE;
        };
        let number = self.bindings.put(filter, ring, record.first);
        record.first = number;
        record.references += 1;
        ledger.charge(record.account, Holding::Reference);
        number
    }

    /// Takes a binding away from its ring. The filter's side is the caller's.
    pub(crate) fn unbind(&mut self, number: u16, ledger: &mut impl Ledger) -> Option<Binding> {
        let binding = self.bindings.take(number)?;
        let record = self.rings.get_mut(usize::from(binding.ring))?;
        if record.first == number {
            record.first = binding.next;
        }
        record.references -= 1;
        ledger.release(record.account, Holding::Reference);
        Some(binding)
    }

    /// Takes a binding away, from its filter as well. The filter goes, in the background, if that was the last reference.
    pub(crate) fn cut(&mut self, number: u16, ledger: &mut impl Ledger) {
        let Some(binding) = self.unbind(number, ledger) else {
            return;
        };
        let (interface, filter) = filter_place(binding.filter);
        let id = FilterId(filter as u32);
        let Some(found) = self.interface_mut(interface) else {
            return;
        };
        // One that is leaving has no targets of its own any more.
        let _ = found.trie.remove_target(id, number.into());
        let Some(record) = found.filters.get_mut(filter) else {
            return;
        };
        record.references = record.references.saturating_sub(1);
        if record.route == number {
            record.route = NONE;
        }
        let last = record.references == 0 && record.environment == 0;
        if last && record.state == FilterState::Live && id != FilterId::ROOT {
            self.tidy_up();
        }
    }

    /// The binding of a filter to a ring, if there is one.
    pub(crate) fn binding_of(&self, interface: usize, id: FilterId, ring: u16) -> Option<u16> {
        let record = self.interface(interface)?.trie.filter(id)?;
        record
            .targets()
            .map(|target| target as u16)
            .find(|number| self.bindings.get(*number).map(|found| found.ring) == Some(ring))
    }
}
