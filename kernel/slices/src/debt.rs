//! Lengths of slices, and the arithmetic of what environments owe. A debt is a plain number of ticks that the
//! caller keeps with the environment.
//!
//! ```text
//!   leaves late by e    debt + e, at most Lengths::debt_cap        charged
//!   a turn of its own   debt - what the turn pays                  Pass::Run, Pass::Paid
//!   no slice at all     debt - time that has gone by               decayed
//! ```

use exopi_abi::slice::{EPILOGUE_LIMIT_US, LEAST_SLICE_US, ticks};

/// How many slice lengths an environment owes at most.
///
/// What it can be blamed for is the epilogue's limit at each end of a slice, which is less than the next
/// slice's length. More than this was the machine's doing (a board that stood still under a debugger), and
/// would have the schedule go round for nothing once nobody else wants the core.
pub const DEBT_CAP_SLICES: u64 = 128;

/// The lengths that the schedule works with, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    slice: u32,
    least: u32,
    limit: u64,
}

impl Lengths {
    /// Slices of so many microseconds, but not less than [`LEAST_SLICE_US`], on a machine whose counter runs at
    /// `ticks_per_second`. A length is at least one tick and at most 2^32 - 1.
    pub const fn new(microseconds: u32, ticks_per_second: u64) -> Self {
        let microseconds = if microseconds < LEAST_SLICE_US {
            LEAST_SLICE_US
        } else {
            microseconds
        };
        Self::of_ticks(
            ticks(microseconds, ticks_per_second),
            ticks(EPILOGUE_LIMIT_US, ticks_per_second),
        )
    }

    /// Slices of `slice` ticks, and a limit of `limit` ticks for whoever leaves. The first is brought into
    /// 1 to 2^32 - 1.
    pub const fn of_ticks(slice: u64, limit: u64) -> Self {
        let slice = match slice {
            0 => 1,
            1..=0xffff_ffff => slice as u32,
            _ => u32::MAX,
        };
        let least = if limit < slice as u64 {
            limit as u32
        } else {
            slice
        };
        Self {
            slice,
            least: if least == 0 { 1 } else { least },
            limit,
        }
    }

    /// The nominal length of each slice. It is also the most that a slice carries over, and the most that an
    /// environment may owe and be called or run.
    #[inline(always)]
    pub const fn slice(self) -> u64 {
        self.slice as u64
    }

    /// The shortest run that is worth its two switches: the epilogue's limit, or a slice if that is shorter.
    /// A turn of which less is left is not taken, and what is left of it carries over.
    #[inline(always)]
    pub const fn least(self) -> u64 {
        self.least as u64
    }

    /// How long after its slice's end an environment keeps the core at most.
    #[inline(always)]
    pub const fn limit(self) -> u64 {
        self.limit
    }

    /// The most that an environment owes: [`DEBT_CAP_SLICES`] slices.
    #[inline(always)]
    pub const fn debt_cap(self) -> u64 {
        self.slice as u64 * DEBT_CAP_SLICES
    }

    /// What an environment owes that owed `debt` and has left its core `excess` ticks too late.
    ///
    /// ```
    /// use exopi_slices::Lengths;
    ///
    /// let lengths = Lengths::of_ticks(100, 5);
    /// assert_eq!(lengths.charged(3, 4), 7);
    /// assert_eq!(lengths.charged(u64::MAX, u64::MAX), lengths.debt_cap());
    /// ```
    #[inline]
    pub const fn charged(self, debt: u64, excess: u64) -> u64 {
        let debt = debt.saturating_add(excess);
        if debt < self.debt_cap() {
            debt
        } else {
            self.debt_cap()
        }
    }

    /// Whether who owes this is in debt: it is not called, and not run until it has paid.
    #[inline(always)]
    pub const fn is_indebted(self, debt: u64) -> bool {
        debt > self.slice()
    }
}

/// What is left of the `debt` of an environment that has no slices, `elapsed` ticks later. Time is all that it
/// has, and each tick in which it did not run was another's.
#[inline(always)]
pub const fn decayed(debt: u64, elapsed: u64) -> u64 {
    debt.saturating_sub(elapsed)
}
