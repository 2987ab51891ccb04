//! Memory at boot: which frames there are, and which the kernel keeps.
//!
//! ```text
//!   0        page 0: spin table, ATAGs             kernel's
//!            free
//!   image    the kernel, and its archive behind    kernel's
//!            free, up to a multiple of 2 MiB
//!   array    the page array, whole blocks          kernel's, exposed
//!            free, to the end of RAM
//! ```
#![expect(unsafe_code, reason = "turns raw memory into records")]

use core::ops::Range;

use exopi_abi::PageNumber;
use exopi_abi::boot::{ARCHIVE_HEADER_BYTES, ArchiveHeader, BootError};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::PageRecord;
use exopi_bsp::traits::MemoryRange;
use exopi_pages::Pages;

use super::first::Refusal;
use crate::arch::{cache, mmu};
use crate::exposed;

fn end(memory: &MemoryRange) -> u64 {
    memory.start.saturating_add(memory.length)
}

/// Makes all of RAM appear in the linear window.
pub(super) fn map(memory: &MemoryRange) {
    mmu::map_linear(memory.start..end(memory), false);
}

/// Physical address of the first byte behind the image.
fn image_end() -> u64 {
    mmu::physical_of_image(mmu::image().end)
}

/// The archive of programs behind the image, as long as it says that it is, not looked at otherwise.
///
/// # Errors
/// There is none, or it would end beyond RAM: it was cut off.
pub(super) fn archive(memory: &MemoryRange) -> Result<&'static [u8], BootError> {
    let room = mmu::mapped_end(end(memory)).saturating_sub(image_end());
    let header = behind_image(room.min(ARCHIVE_HEADER_BYTES as u64));
    let length = ArchiveHeader::parse(header)?.length;
    if length > room {
        return Err(BootError::Truncated);
    }
    Ok(behind_image(length))
}

/// The first bytes behind the image.
fn behind_image(length: u64) -> &'static [u8] {
    // SAFETY: RAM, mapped by `map`. It is a header that is looked at once, before anything is written;
    // or the archive, whose frames stay the kernel's and are never written.
    unsafe { core::slice::from_raw_parts(mmu::linear(image_end()) as *const u8, length as usize) }
}

/// Makes the page array: all frames of RAM, those that the kernel has no use for on the free list. The
/// archive behind the image is `archive_bytes` long.
///
/// # Errors
/// [`Refusal::TooLarge`] if there is no room for the array.
pub(super) fn describe(
    memory: &MemoryRange,
    archive_bytes: u64,
) -> Result<Pages<'static>, Refusal> {
    let ram_end = mmu::mapped_end(end(memory)) / PAGE_SIZE * PAGE_SIZE;
    let frames = (ram_end / PAGE_SIZE) as usize;
    let kept_end = (image_end() + archive_bytes).next_multiple_of(PAGE_SIZE);
    let array_start = kept_end.next_multiple_of(exposed::BLOCK);
    let array_bytes = ((frames * size_of::<PageRecord>()) as u64).next_multiple_of(exposed::BLOCK);
    let array = array_start..array_start + array_bytes;
    if array.end > ram_end {
        return Err(Refusal::TooLarge);
    }
    for page in array.clone().step_by(PAGE_SIZE as usize) {
        // SAFETY: RAM that nothing uses yet, in the linear window.
        unsafe { cache::zero_page(mmu::linear(page)) };
    }
    let records = mmu::linear(array.start) as *mut PageRecord;
    // SAFETY: the array is RAM in the linear window, page-aligned, long enough, and nobody else's: its
    // frames are the kernel's for good. Zeros are `PageRecord::KERNEL`. EL0 sees it read-only.
    let records = unsafe { core::slice::from_raw_parts_mut(records, frames) };
    let mut pages = Pages::new(records);
    let image_start = mmu::physical_of_image(mmu::image().start);
    // Page 0 stays: see `PageNumber`'s `Option`, and the spin table.
    add_free(&mut pages, memory.start.max(PAGE_SIZE)..image_start);
    add_free(&mut pages, kept_end..array.start);
    add_free(&mut pages, array.end..ram_end);
    exposed::init(array, frames);
    Ok(pages)
}

fn add_free(pages: &mut Pages<'static>, range: Range<u64>) {
    let first = range.start.div_ceil(PAGE_SIZE);
    let count = (range.end / PAGE_SIZE).saturating_sub(first);
    // The ranges are disjoint parts of the array, so nothing is refused.
    let added = pages.add_free(PageNumber::new(first as u32), count);
    debug_assert_eq!(added.done, count);
}
