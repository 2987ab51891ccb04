//! A set of indices of one table, of which the first one from a given place on is found in a few steps.
//!
//! The tables are small enough that sixteen words hold a bit for each record. So what is free, or being taken
//! apart, is found without a look at the records, and without a field of theirs.

use exopi_abi::domain::{MAX_ACCOUNTS, MAX_ENVIRONMENTS, MAX_SPACES};

const WORD: usize = 64;
const WORDS: usize = 16;

const _: () = {
    assert!(MAX_ACCOUNTS <= WORDS * WORD);
    assert!(MAX_SPACES <= WORDS * WORD);
    assert!(MAX_ENVIRONMENTS <= WORDS * WORD);
};

/// A set of numbers below 1,024.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    words: [u64; WORDS],
    /// How many numbers are in it.
    count: u16,
}

impl Bits {
    pub(crate) const EMPTY: Bits = Bits {
        words: [0; WORDS],
        count: 0,
    };

    /// All numbers below `count`.
    pub(crate) fn below(count: usize) -> Self {
        let mut bits = Self::EMPTY;
        for index in 0..count.min(WORDS * WORD) {
            bits.insert(index as u16);
        }
        bits
    }

    pub(crate) fn insert(&mut self, index: u16) {
        if let Some(word) = self.words.get_mut(usize::from(index) / WORD) {
            let bit = 1 << (usize::from(index) % WORD);
            self.count += u16::from(*word & bit == 0);
            *word |= bit;
        }
    }

    pub(crate) fn remove(&mut self, index: u16) {
        if let Some(word) = self.words.get_mut(usize::from(index) / WORD) {
            let bit = 1 << (usize::from(index) % WORD);
            self.count -= u16::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    pub(crate) fn contains(&self, index: u16) -> bool {
        let word = self.words.get(usize::from(index) / WORD);
        word.is_some_and(|word| word >> (usize::from(index) % WORD) & 1 == 1)
    }

    /// Whether it is empty.
    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The least number in the set.
    pub(crate) fn first(&self) -> Option<u16> {
        self.from(0)
    }

    /// The least number in the set from `index` on.
    pub(crate) fn from(&self, index: u16) -> Option<u16> {
        let start = usize::from(index) / WORD;
        let mut mask = u64::MAX << (usize::from(index) % WORD);
        for (number, word) in self.words.iter().enumerate().skip(start) {
            let found = word & mask;
            if found != 0 {
                return Some((number * WORD) as u16 + found.trailing_zeros() as u16);
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Bits;

    proptest! {
        #[test]
        fn a_set_is_a_set(numbers in prop::collection::btree_set(0..1024u16, 0..64), from: u16) {
            let mut bits = Bits::EMPTY;
            numbers.iter().for_each(|number| bits.insert(*number));
            prop_assert_eq!(bits.first(), numbers.first().copied());
            prop_assert_eq!(bits.from(from), numbers.range(from..).next().copied());
            let kept: BTreeSet<u16> = numbers.iter().copied().filter(|n| n % 2 == 0).collect();
            numbers.difference(&kept).for_each(|number| bits.remove(*number));
            numbers.difference(&kept).for_each(|number| bits.remove(*number));
            prop_assert_eq!(bits.is_empty(), kept.is_empty());
            prop_assert!((0..1024).all(|number| bits.contains(number) == kept.contains(&number)));
        }

        #[test]
        fn all_below_a_count_are_in(count in 0..2000usize) {
            let bits = Bits::below(count);
            prop_assert!((0..1024).all(|number| bits.contains(number) == (usize::from(number) < count)));
        }
    }
}
