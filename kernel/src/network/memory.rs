//! The pages that the interface's controller reads and writes.
#![expect(unsafe_code, reason = "memory that a device writes to")]

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
pub struct Memory(());

impl Memory {
    /// The one way to the pages.
    ///
    /// # Safety
    /// It is called once.
    pub unsafe fn take() -> Self {
        Self(())
    }

    /// Where so many bytes are, if they are inside.
    #[inline(always)]
    fn place(at: usize, length: usize) -> Option<*mut u8> {
        let inside = NETWORK_MEMORY
            .checked_sub(at)
            .is_some_and(|room| length <= room);
        inside.then(|| PAGES.0.get().cast::<u8>().wrapping_add(at))
    }

    /// Where a range is, if it is inside; or else an empty one.
    #[inline(always)]
    fn range(range: &Range<usize>) -> (*mut u8, usize) {
        let length = range.end.wrapping_sub(range.start);
        match Self::place(range.start, length) {
            Some(start) => (start, length),
            None => (PAGES.0.get().cast(), 0),
        }
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
        let (start, length) = Self::range(&range);
        // SAFETY: the place is inside the pages, to which this borrowed value is the only way; the driver asks for no
        // range that the device has.
        unsafe { core::slice::from_raw_parts(start, length) }
    }

    #[inline]
    fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        let (start, length) = Self::range(&range);
        // SAFETY: as above, and this value is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(start, length) }
    }

    #[inline]
    fn words<const N: usize>(&self, at: usize) -> [u32; N] {
        let start = Self::place(at, 4 * N).map(<*mut u8>::cast::<[u32; N]>);
        match start.filter(|start| start.is_aligned()) {
            // SAFETY: the words are inside the pages and aligned, and any bytes are words; for the rest, as in `bytes`.
            Some(start) => unsafe { start.read() },
            None => array::from_fn(|word| {
                let at = at.saturating_add(4 * word);
                let bytes = self.bytes(at..at.saturating_add(4));
                bytes.try_into().map_or(0, u32::from_le_bytes)
            }),
        }
    }

    #[inline]
    fn set_words<const N: usize>(&mut self, at: usize, words: [u32; N]) {
        let start = Self::place(at, 4 * N).map(<*mut u8>::cast::<[u32; N]>);
        if let Some(start) = start.filter(|start| start.is_aligned()) {
            // SAFETY: as above, and this value is borrowed alone.
            unsafe { start.write(words) }
        }
    }

    #[inline]
    fn copy_in(&mut self, at: usize, from: &[u8]) {
        if let Some(start) = Self::place(at, from.len()) {
            // SAFETY: as in `bytes_mut`.
            copy::copy(
                unsafe { core::slice::from_raw_parts_mut(start, from.len()) },
                from,
            );
        }
    }

    #[inline]
    fn clean(&mut self, range: Range<usize>) {
        if let Some(start) = Self::place(range.start, range.end.wrapping_sub(range.start)) {
            cache::clean_and_invalidate(start as usize, range.end.wrapping_sub(range.start));
        }
    }

    #[inline]
    fn invalidate(&mut self, range: Range<usize>) {
        // Dropping what was never written back could lose it; cleaning it first cannot: it is done before the
        // device writes, and after that there is nothing to be written back.
        self.clean(range);
    }
}
