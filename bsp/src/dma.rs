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
    /// The words at `at`, which no device may have; zeros if they are not inside. A word is four bytes, lowest first.
    ///
    /// As [`Self::bytes`], but an implementation may load words where they are aligned.
    #[inline]
    fn words<const N: usize>(&self, at: usize) -> [u32; N] {
        let mut words = [0; N];
        let bytes = self.bytes(at..at.saturating_add(4 * N));
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = bytes.try_into().map_or(0, u32::from_le_bytes);
        }
        words
    }
    /// Writes words at `at`, nothing if they are not inside.
    #[inline]
    fn set_words<const N: usize>(&mut self, at: usize, words: [u32; N]) {
        let bytes = self.bytes_mut(at..at.saturating_add(4 * N));
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    /// Copies `from` to the bytes from `at` on, nothing if they are not inside.
    #[inline]
    fn copy_in(&mut self, at: usize, from: &[u8]) {
        let to = self.bytes_mut(at..at.saturating_add(from.len()));
        if to.len() == from.len() {
            to.copy_from_slice(from);
        }
    }
    /// Makes what the processor wrote to `range`, whole lines, visible to devices, and ends only when it
    /// is: the driver's next register write may set the device going (DSB).
    fn clean(&mut self, range: Range<usize>);
    /// Drops what the caches hold of `range`, whole lines, and ends only when it is done. What the
    /// processor has written there and not cleaned may be lost or not.
    fn invalidate(&mut self, range: Range<usize>);
}
