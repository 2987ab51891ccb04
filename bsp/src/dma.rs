//! Memory that a device reads and writes by itself while the processor goes on.
//!
//! One piece is given to a driver for good. The driver divides it and keeps, for each part, who has it:
//!
//! ```text
//!   processor's --clean--> device's (OUT: it reads)  --transfer over-->              processor's
//!   processor's --invalidate--> device's (IN: it writes) --transfer over, invalidate--> processor's
//! ```
//!
//! Cleaning and invalidating work on whole cache lines, so parts begin and end at multiples of [`LINE`]:
//! a line that two parts shared would bring what one has written over what a device has.
//!
//! An IN part is invalidated twice. Before, because a dirty line of it could be written back over what
//! the device writes; after, because the processor may have fetched lines of it meanwhile on its own
//! (ARM DDI 0487, B2.8.1: speculative reads).

use core::ops::Range;

/// What parts begin and end at multiples of, in bytes: the longest cache line of any board's processor
/// (Cortex-A53 TRM, 6.1).
pub const LINE: usize = 64;

/// Memory shared with devices that are not coherent with the processor's caches.
///
/// Ranges are in bytes from its start. One that is not inside names an empty range.
///
/// An implementation makes a reference to the range that is asked for and never to more: a device may be
/// writing to the rest.
pub trait DmaMemory {
    /// Size in bytes.
    fn len(&self) -> usize;
    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Where devices see byte 0: a multiple of [`LINE`], with all bytes below 4 GiB.
    fn bus_address(&self) -> u32;
    /// What the processor sees. No device may have any of `range`.
    fn bytes(&self, range: Range<usize>) -> &[u8];
    /// The same, to be written.
    fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8];
    /// Makes what the processor wrote to `range`, whole lines, visible to devices, and ends only when it
    /// is: the driver's next register write may set the device going (DSB).
    fn clean(&mut self, range: Range<usize>);
    /// Drops what the caches hold of `range`, whole lines, and ends only when it is done. What the
    /// processor has written there and not cleaned may be lost or not.
    fn invalidate(&mut self, range: Range<usize>);
}
