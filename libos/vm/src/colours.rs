//! Colours of pages: which ones may compete for the same lines of cache.
//!
//! Pages whose numbers are equal modulo the machine's number of colours share lines of the last level of
//! cache. Consecutive pages of a region get colours in turn, so that they spread over all that it may have;
//! two regions with disjoint sets never push each other out.

use exopi_rt::page::MAX_COLOURS;
use exopi_rt::{PageSelect, VirtAddr};

use exopi_rt::layout::PAGE_SIZE;

/// A set of colours. Colours that the machine does not have are of no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colours(u32);

const _: () = assert!(MAX_COLOURS <= 32);

impl Colours {
    /// All, which means that it does not matter: pages come from whichever list has some.
    pub const ALL: Colours = Colours(u32::MAX);

    /// Those of `colours`; numbers that no machine has are left out.
    pub fn of(colours: impl IntoIterator<Item = u8>) -> Self {
        let bits = colours.into_iter().map(|colour| {
            let one: u32 = 1;
            one.checked_shl(colour.into()).unwrap_or(0)
        });
        Self(bits.fold(0, |set, bit| set | bit))
    }

    /// The first `count` colours of a machine.
    pub fn first(count: u8) -> Self {
        Self::of(0..count)
    }

    /// All but these.
    pub const fn others(self) -> Self {
        Self(!self.0)
    }

    /// Whether `colour` is in it.
    pub const fn contains(self, colour: u8) -> bool {
        colour < 32 && self.0 >> colour & 1 == 1
    }

    /// Which page an allocation for the page at `at` should take, on a machine with `colours` of them; and
    /// after `refusals` times that no page of the last one was left, the next one's. `None`: all were asked.
    ///
    /// A set in which the machine has no colour is taken for [`Colours::ALL`].
    #[inline]
    pub fn select(self, at: VirtAddr, colours: u32, refusals: u32) -> Option<PageSelect> {
        if self == Self::ALL {
            return (refusals == 0).then_some(PageSelect::Any);
        }
        let machine = u32::try_from((1u64 << colours.min(32)) - 1).unwrap_or(u32::MAX);
        let usable = self.0 & machine;
        let count = usable.count_ones();
        if count == 0 {
            return (refusals == 0).then_some(PageSelect::Any);
        }
        if refusals >= count {
            return None;
        }
        let turn = (at.get() / PAGE_SIZE).wrapping_add(refusals.into()) % u64::from(count);
        let mut left = usable;
        for _ in 0..turn {
            left &= left - 1;
        }
        Some(PageSelect::Colour(left.trailing_zeros() as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(page: u64) -> VirtAddr {
        VirtAddr::new(0x50_0000_0000 + page * PAGE_SIZE).unwrap()
    }

    #[test]
    fn consecutive_pages_take_turns() {
        let set = Colours::of([1, 3, 6, 200]);
        let turns: Vec<_> = (0..6)
            .map(|page| set.select(at(page), 16, 0).unwrap())
            .collect();
        let colours: Vec<_> = turns.iter().map(|select| format!("{select:?}")).collect();
        assert_eq!(colours[..3], colours[3..]);
        for colour in [1, 3, 6] {
            assert!(turns.contains(&PageSelect::Colour(colour)));
        }
    }

    #[test]
    fn every_colour_is_asked_once() {
        let set = Colours::of([0, 5, 9]);
        let asked: Vec<_> = (0..10).map_while(|n| set.select(at(7), 8, n)).collect();
        assert_eq!(asked.len(), 2, "colour 9 is not the machine's");
        assert_ne!(asked[0], asked[1]);
        assert_eq!(Colours::ALL.select(at(7), 8, 0), Some(PageSelect::Any));
        assert_eq!(Colours::ALL.select(at(7), 8, 1), None);
        assert_eq!(Colours::of([30]).select(at(7), 8, 0), Some(PageSelect::Any));
    }

    #[test]
    fn others_share_none() {
        let set = Colours::first(4);
        for colour in 0..40 {
            assert_eq!(set.contains(colour), colour < 4);
            assert_eq!(set.others().contains(colour), (4..32).contains(&colour));
        }
    }
}
