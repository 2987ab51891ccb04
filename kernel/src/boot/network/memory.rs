//! The pages that the interface's controller reads and writes.

use core::array;
use core::cell::UnsafeCell;
use core::ops::Range;

use exopi_bsp::boards::{BUS_ALIAS, NETWORK_MEMORY};
use exopi_bsp::dma::DmaMemory;

use crate::arch::{cache, copy, mmu};

/// Pages of the kernel's that the interface's controller reads and writes.
#[repr(C, align(4096))]
struct Pages(UnsafeCell<[u8; NETWORK_MEMORY]>);

// SAFETY: `Memory` is the only way to it, and there is one.
unsafe impl Sync for Pages {}

static PAGES: Pages = Pages(UnsafeCell::new([0; NETWORK_MEMORY]));

/// The memory of the interface.
pub(super) struct Memory(());

impl Memory {
    /// The one way to the pages.
    ///
    /// # Safety
    /// It is called once.
    pub(super) unsafe fn take() -> Self {
        Self(())
    }

    /// Where a range is, if it is inside; or else an empty one.
    #[inline]
    fn place(range: &Range<usize>) -> (*mut u8, usize) {
        let inside = range.start <= range.end && range.end <= NETWORK_MEMORY;
        let (start, length) = match inside {
            true => (range.start, range.end - range.start),
            false => (0, 0),
        };
        (PAGES.0.get().cast::<u8>().wrapping_add(start), length)
    }
}

impl DmaMemory for Memory {
    fn len(&self) -> usize {
        NETWORK_MEMORY
    }

    fn bus_address(&self) -> u32 {
        mmu::physical_of_image(PAGES.0.get() as usize) as u32 | BUS_ALIAS
    }

    #[inline]
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        let (start, length) = Self::place(&range);
        // SAFETY: the place is inside the pages, to which this borrowed value is the only way; the driver asks for no
        // range that the device has.
        unsafe { core::slice::from_raw_parts(start, length) }
    }

    #[inline]
    fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        let (start, length) = Self::place(&range);
        // SAFETY: as above, and this value is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(start, length) }
    }

    #[inline]
    fn words<const N: usize>(&self, at: usize) -> [u32; N] {
        let (start, length) = Self::place(&(at..at.saturating_add(4 * N)));
        let start = start.cast::<[u32; N]>();
        match start.is_aligned() && length != 0 {
            // SAFETY: the words are inside the pages and aligned; any bytes are a word. For the rest, as above.
            true => unsafe { start.read() },
            false => array::from_fn(|word| {
                let bytes =
                    self.bytes(at.saturating_add(4 * word)..at.saturating_add(4 * word + 4));
                bytes.try_into().map_or(0, u32::from_le_bytes)
            }),
        }
    }

    #[inline]
    fn set_words<const N: usize>(&mut self, at: usize, words: [u32; N]) {
        let (start, length) = Self::place(&(at..at.saturating_add(4 * N)));
        let start = start.cast::<[u32; N]>();
        if start.is_aligned() && length != 0 {
            // SAFETY: as above, and this value is borrowed alone.
            unsafe { start.write(words) }
        }
    }

    #[inline]
    fn copy_in(&mut self, at: usize, from: &[u8]) {
        copy::copy(self.bytes_mut(at..at.saturating_add(from.len())), from);
    }

    #[inline]
    fn clean(&mut self, range: Range<usize>) {
        let (start, length) = Self::place(&range);
        cache::clean_and_invalidate(start as usize, length);
    }

    #[inline]
    fn invalidate(&mut self, range: Range<usize>) {
        // Dropping what was never written back could lose it; cleaning it first cannot: it is done before the
        // device writes, and after that there is nothing to be written back.
        let (start, length) = Self::place(&range);
        cache::clean_and_invalidate(start as usize, length);
    }
}
