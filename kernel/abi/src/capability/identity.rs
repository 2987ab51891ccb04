//! Epochs, and who an environment is.

use core::fmt;

/// A value of the kernel's one counter that never repeats: less than 2^48.
///
/// What is created, freed, retired or changed in type is stamped with the next one. An index says which
/// object is meant; index and epoch say that it is still the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// How many bits it has.
    pub const BITS: u32 = 48;
    /// Never stamped. Nothing that exists has it, and no capability.
    pub const NONE: Epoch = Epoch(0);
    /// The last one.
    pub const LAST: Epoch = Epoch((1 << Self::BITS) - 1);

    /// The epoch with these bits; 0 is [`Epoch::NONE`].
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits <= Self::LAST.0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The epoch in the lowest 48 bits of a word that holds other things above them.
    #[inline(always)]
    pub const fn from_low_bits(word: u64) -> Self {
        Self(word & Self::LAST.0)
    }

    /// Its bits, of which the upper 16 are zero.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}", self.0)
    }
}

/// Which environment, now and for ever: its successor at the same index has another epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its index in the table of environments.
    pub index: u32,
    /// Its epoch.
    pub epoch: Epoch,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "environment {} of {:?}", self.index, self.epoch)
    }
}
