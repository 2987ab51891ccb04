//! What is known of a vector without a look at its records: sets of positions, one bit for each.

use exopi_abi::slice::SLICES_PER_CORE;

/// Positions of one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Marks(u128);

const _: () = assert!(SLICES_PER_CORE == u128::BITS as usize);

impl Marks {
    pub(crate) const NONE: Marks = Marks(0);

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn contains(self, position: u8) -> bool {
        self.0 & Self::bit(position) != 0
    }

    pub(crate) fn set(&mut self, position: u8, marked: bool) {
        if marked {
            self.0 |= Self::bit(position);
        } else {
            self.0 &= !Self::bit(position);
        }
    }

    pub(crate) const fn without(self, others: Marks) -> Marks {
        Marks(self.0 & !others.0)
    }

    /// The first marked position that is not below `from`.
    pub(crate) fn next(self, from: u8) -> Option<u8> {
        let above = self.0 & u128::MAX.checked_shl(from.into()).unwrap_or(0);
        (above != 0).then(|| above.trailing_zeros() as u8)
    }

    /// The first marked position after `position`, going round: `position` itself if it is the only one.
    pub(crate) fn after(self, position: u8) -> Option<u8> {
        self.next(position.saturating_add(1))
            .or_else(|| self.next(0))
    }

    /// The last marked position before `position`, going round.
    pub(crate) fn before(self, position: u8) -> Option<u8> {
        let last = |marks: u128| marks.checked_ilog2().map(|bit| bit as u8);
        last(self.0 & Self::bit(position).wrapping_sub(1)).or_else(|| last(self.0))
    }

    /// Only the first marked position, if there is one.
    pub(crate) const fn first(self) -> Marks {
        Marks(self.0 & self.0.wrapping_neg())
    }

    pub(crate) const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The lowest position that is not marked.
    pub(crate) fn lowest_gap(self) -> Option<u8> {
        Marks(!self.0).next(0)
    }

    /// The bit of a position. There are no positions beyond the vector ([`exopi_abi::slice::Place`]).
    const fn bit(position: u8) -> u128 {
        1 << (position % SLICES_PER_CORE as u8)
    }
}
