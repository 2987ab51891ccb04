//! What a call over a range of addresses has changed, and how it makes every core forget it.

use exopi_abi::VirtAddr;
use exopi_abi::page::{PROTECT_BOUND, REMOVE_BOUND, SUPERPAGE_PAGES};

use crate::{Hardware, Space, UserPage};

/// From this many mappings on, one invalidation of the whole space takes the place of one for each.
///
/// An invalidation by address is a broadcast that every core answers, and they add up; what one of the whole
/// space costs is that its other translations are walked anew, of which a core holds a few hundred at most
/// (512 in Cortex-A53's TLB: its Technical Reference Manual, "Memory Management Unit", "TLB organization")
/// and mostly has the entries in its caches. From this many on the broadcasts are the larger part; below it, what
/// has nothing to do with the call is left alone.
pub(crate) const WHOLE_SPACE_FROM: u64 = 64;

/// Mappings that were removed or changed, side by side from `at` on.
pub(crate) struct Touched {
    at: VirtAddr,
    /// How many.
    pub(crate) mappings: u64,
    /// Bit n: the n-th of them is a superpage.
    superpages: u128,
}

// A bit for each.
const _: () = assert!(REMOVE_BOUND <= 128 && PROTECT_BOUND <= 128);

impl Touched {
    /// None so far, and the first will be at `at`.
    #[inline(always)]
    pub(crate) const fn from(at: VirtAddr) -> Self {
        Self {
            at,
            mappings: 0,
            superpages: 0,
        }
    }

    /// The next one is a superpage.
    #[inline(always)]
    pub(crate) const fn add_superpage(&mut self) {
        self.superpages |= 1 << (self.mappings % u128::BITS as u64);
        self.mappings += 1;
    }

    /// Returns when no core uses any of them any more as it was.
    #[inline(always)]
    pub(crate) fn forget<H: Hardware>(self, hw: &mut H, space: &Space) {
        if self.mappings == 0 {
            return;
        }
        hw.before_invalidate();
        if self.mappings >= WHOLE_SPACE_FROM {
            hw.invalidate_space(space.asid());
        } else {
            let mut at = UserPage::from(self.at);
            for number in 0..self.mappings {
                hw.invalidate_page(space.asid(), at);
                let superpage = self.superpages >> number & 1 == 1;
                at = at.after(if superpage { SUPERPAGE_PAGES } else { 1 });
            }
        }
        hw.complete();
    }
}
