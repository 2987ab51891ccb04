//! The one counter from which every stamp comes.

use exopi_abi::capability::Epoch;

/// Gives each epoch once, in ascending order.
///
/// One counter serves all kinds of object on all cores. If each object had its own, a program could bring one back
/// to an old value by having it freed often enough; 48 bits of one counter would take ten million stamps in
/// each second of 325 days.
#[derive(Debug)]
pub struct Epochs {
    last: Epoch,
}

impl Epochs {
    /// None given yet: what a kernel boots with.
    pub const fn new() -> Self {
        Self::after(Epoch::NONE)
    }

    /// All up to `last` given: how a simulated kernel goes on from a snapshot.
    pub const fn after(last: Epoch) -> Self {
        Self { last }
    }

    /// The epoch given last; [`Epoch::NONE`] at first.
    pub const fn last(&self) -> Epoch {
        self.last
    }

    /// The next one. `None`, once and for all, when all have been given: the object that should be
    /// stamped must be withdrawn from use, since no stamp would tell it from what it was.
    #[inline]
    pub fn stamp(&mut self) -> Option<Epoch> {
        let next = Epoch::from_bits(self.last.bits() + 1)?;
        self.last = next;
        Some(next)
    }
}

impl Default for Epochs {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_ascend_and_none_is_none() {
        let mut epochs = Epochs::new();
        let mut last = Epoch::NONE;
        assert_eq!(epochs.last(), last);
        for count in 1..1000 {
            let next = epochs.stamp().unwrap();
            assert!(next > last && next.bits() == count);
            assert_eq!(epochs.last(), next);
            last = next;
        }
    }

    #[test]
    fn the_end_is_final() {
        let near = Epoch::from_bits(Epoch::LAST.bits() - 2).unwrap();
        let mut epochs = Epochs::after(near);
        let given = [epochs.stamp(), epochs.stamp()];
        assert_eq!(given[0].map(Epoch::bits), Some(near.bits() + 1));
        assert_eq!(given[1], Some(Epoch::LAST));
        for _ in 0..1000 {
            assert_eq!(epochs.stamp(), None);
            assert_eq!(epochs.last(), Epoch::LAST);
        }
    }
}
