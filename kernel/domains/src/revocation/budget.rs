//! What one step of taking may do.
//!
//! Steps are made under the kernel's lock, so each is to be about as long as the longest calls. Costs are in units of
//! about one instruction, as the benchmark measures them (row `max_lock_hold`); what matters is that their sum is
//! bounded, not that they are exact.

use exopi_pages::Broken;

/// A step begins nothing more when this is used up. What it has begun, it ends.
const STEP: u32 = 6000;

/// What an item of a phase costs at least.
pub(super) const ITEM: u32 = 200;
/// A frame that is passed by.
pub(super) const FRAME: u32 = 8;
/// A record of a request or of an account that is passed by.
pub(super) const RECORD: u32 = 16;
/// An account on the way up to the one that was asked.
pub(super) const HOP: u32 = 32;
/// An account whose unused part goes, beyond what an item costs.
pub(super) const UNUSED: u32 = 300;
/// A page that is taken, and told of.
pub(super) const PAGE: u32 = 400;
/// A mapping that is broken.
pub(super) const MAPPING: u32 = 80;
/// What a table may cost, all of whose entries are looked at: a step of its own.
pub(super) const TABLE: u32 = STEP;

/// What is left of a step.
pub(super) struct Budget {
    left: u32,
    pub(super) broken: Broken,
}

impl Budget {
    /// That of a whole step.
    pub(super) const fn new() -> Self {
        Self {
            left: STEP,
            broken: Broken::nothing(),
        }
    }

    pub(super) const fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// Whether not much was done yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.left >= STEP / 4 * 3
    }

    pub(super) const fn spend(&mut self, count: u32, each: u32) {
        self.left = self.left.saturating_sub(count.saturating_mul(each));
    }

    /// How many of a kind there may be still; one at least.
    pub(super) const fn most(&self, each: u32) -> u32 {
        1 + self.left / each
    }
}
