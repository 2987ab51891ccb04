//! The pages that the interface's controller reads and writes.

use core::cell::UnsafeCell;
use core::ops::Range;

use exopi_bsp::boards::{BUS_ALIAS, NETWORK_MEMORY};
use exopi_bsp::dma::DmaMemory;

use crate::arch::{cache, mmu};

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

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        let (start, length) = Self::place(&range);
        // SAFETY: the place is inside the pages, to which this borrowed value is the only way; the driver asks for no
        // range that the device has.
        unsafe { core::slice::from_raw_parts(start, length) }
    }

    fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        let (start, length) = Self::place(&range);
        // SAFETY: as above, and this value is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(start, length) }
    }

    fn clean(&mut self, range: Range<usize>) {
        let (start, length) = Self::place(&range);
        cache::clean_and_invalidate(start as usize, length);
    }

    fn invalidate(&mut self, range: Range<usize>) {
        // Dropping what was never written back could lose it; cleaning it first cannot: it is done before the
        // device writes, and after that there is nothing to be written back.
        let (start, length) = Self::place(&range);
        cache::clean_and_invalidate(start as usize, length);
    }
}
