//! Slices: places in the vector of a core, at which an environment runs for a while. Their records are exposed.
//!
//! ```text
//!   core 0    | 0 | 1 | 2 | ... | 127 |      taken in turn from 0 to 127, and again
//!   core 1    | 0 | 1 | 2 | ... | 127 |
//!
//!   number of a slice = core * 128 + position = its record's place in the table = the index in its name
//! ```
//!
//! A record whose epoch is [`Epoch::NONE`](crate::capability::Epoch::NONE) is free, and all its other fields are
//! zero.

use crate::capability::Epoch;
use crate::domain::ObjectName;
use crate::exposed::MAX_CORES;
use crate::page::Owner;

/// Positions in the vector of each core.
pub const SLICES_PER_CORE: usize = 128;
/// Most slices at a time, on all cores.
pub const MAX_SLICES: usize = SLICES_PER_CORE * MAX_CORES;

/// The shortest length that slices may have, in microseconds. Below it the core would be busy with changing hands.
pub const LEAST_SLICE_US: u32 = 100;
/// The length of slices if nobody says anything else at boot, in microseconds.
pub const DEFAULT_SLICE_US: u32 = 1_000;
/// How long an environment may take to leave by itself after its slice's end, in microseconds. It owes what it
/// takes.
pub const EPILOGUE_LIMIT_US: u32 = 50;

const _: () = {
    assert!(EPILOGUE_LIMIT_US < LEAST_SLICE_US);
    assert!(LEAST_SLICE_US <= DEFAULT_SLICE_US);
};

/// A slice of processor time, as everybody may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SliceRecord {
    /// Epoch, in the lowest 48 bits. Another one after each move.
    pub epoch: u64,
    /// The [`ObjectName::word`] of the environment that runs in it; 0 for none.
    pub environment: u64,
    /// The account that it is charged to.
    pub account: Owner,
    /// Ticks that it had left at its last turns and has more at its next one: at most one slice length. Zero
    /// while it runs.
    pub carry: u32,
    /// Zero.
    pub reserved: u32,
}

impl SliceRecord {
    /// A record of no slice.
    pub const FREE: SliceRecord = SliceRecord {
        epoch: 0,
        environment: 0,
        account: Owner::NOBODY,
        carry: 0,
        reserved: 0,
    };

    /// Whether there is no slice here.
    #[inline(always)]
    pub const fn is_free(&self) -> bool {
        self.epoch == 0
    }
}

const _: () = {
    assert!(size_of::<SliceRecord>() == 32);
    assert!(core::mem::offset_of!(SliceRecord, epoch) == 0);
    assert!(core::mem::offset_of!(SliceRecord, environment) == 8);
    assert!(core::mem::offset_of!(SliceRecord, account) == 16);
    assert!(core::mem::offset_of!(SliceRecord, carry) == 24);
    assert!(core::mem::offset_of!(SliceRecord, reserved) == 28);
    assert!(MAX_SLICES <= 1 << u16::BITS);
};

/// Where a slice is: a core, and a position in its vector. There is one for each slice number.
///
/// ```
/// use exopi_abi::slice::Place;
///
/// let place = Place::new(2, 5).unwrap();
/// assert_eq!(place.number(), 2 * 128 + 5);
/// assert_eq!(Place::of_number(261), Some(place));
/// assert_eq!(Place::new(0, 128), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    core: u8,
    position: u8,
}

impl Place {
    /// This position of this core; `None` if no board has such a core or no core has such a position.
    #[inline]
    pub const fn new(core: u64, position: u64) -> Option<Self> {
        if core < MAX_CORES as u64 && position < SLICES_PER_CORE as u64 {
            Some(Self {
                core: core as u8,
                position: position as u8,
            })
        } else {
            None
        }
    }

    /// Where the slice of this number is; `None` from [`MAX_SLICES`] on.
    #[inline]
    pub const fn of_number(number: u16) -> Option<Self> {
        let per_core = SLICES_PER_CORE as u64;
        Self::new(number as u64 / per_core, number as u64 % per_core)
    }

    /// The core: below [`MAX_CORES`].
    #[inline(always)]
    pub const fn core(self) -> u8 {
        self.core
    }

    /// The position: below [`SLICES_PER_CORE`].
    #[inline(always)]
    pub const fn position(self) -> u8 {
        self.position
    }

    /// The slice's number: below [`MAX_SLICES`].
    #[inline(always)]
    pub const fn number(self) -> u16 {
        self.core as u16 * SLICES_PER_CORE as u16 + self.position as u16
    }

    /// The name of the slice of `epoch` that is here.
    #[inline(always)]
    pub const fn name(self, epoch: Epoch) -> ObjectName {
        ObjectName {
            index: self.number(),
            epoch,
        }
    }
}

/// How many ticks of a counter with `ticks_per_second` are `microseconds`, rounded up, so that a time that must
/// have passed has.
///
/// ```
/// use exopi_abi::slice::ticks;
///
/// assert_eq!(ticks(1_000, 19_200_000), 19_200);
/// assert_eq!(ticks(1, 1), 1);
/// ```
pub const fn ticks(microseconds: u32, ticks_per_second: u64) -> u64 {
    let ticks = (microseconds as u128 * ticks_per_second as u128).div_ceil(1_000_000);
    if ticks > u64::MAX as u128 {
        u64::MAX
    } else {
        ticks as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_places_are_one_to_one() {
        let mut expected = 0;
        for core in 0..MAX_CORES as u64 {
            for position in 0..SLICES_PER_CORE as u64 {
                let place = Place::new(core, position).unwrap();
                assert_eq!(place.number(), expected);
                assert_eq!(Place::of_number(expected), Some(place));
                expected += 1;
            }
        }
        assert_eq!(usize::from(expected), MAX_SLICES);
        assert!((expected..=u16::MAX).all(|number| Place::of_number(number).is_none()));
        assert_eq!(Place::new(MAX_CORES as u64, 0), None);
        assert_eq!(Place::new(0, u64::MAX), None);
        assert_eq!(Place::new(1 << 32, 0), None);
    }

    #[test]
    fn ticks_are_rounded_up_and_never_wrap() {
        assert_eq!(ticks(100, 62_500_000), 6_250);
        assert_eq!(ticks(1, 1_500_000), 2);
        assert_eq!(ticks(0, u64::MAX), 0);
        assert_eq!(ticks(u32::MAX, u64::MAX), u64::MAX);
    }
}
