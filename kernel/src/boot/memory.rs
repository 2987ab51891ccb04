//! Memory at boot: which frames there are, and which the kernel keeps.
//!
//! ```text
//!   0        page 0: spin table, ATAGs             kernel's
//!            free
//!   image    the kernel                            kernel's
//!   archive  the programs behind it                the first account's
//!   domains  records of accounts and the like      kernel's, exposed
//!   private  filters, and frames that wait         kernel's
//!            free, up to a multiple of 2 MiB
//!   arena    generated code, one block             kernel's, absent from the linear window
//!   array    the page array, whole blocks          kernel's, exposed
//!            free, to the end of RAM
//! ```
#![expect(unsafe_code, reason = "turns raw memory into records")]

use core::ops::Range;

use exopi_abi::PageNumber;
use exopi_abi::boot::{ARCHIVE_HEADER_BYTES, ArchiveHeader, BootError};
use exopi_abi::domain::{AccountRecord, EnvironmentRecord, Life, SpaceRecord};
use exopi_abi::exposed::File;
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::page::PageRecord;
use exopi_abi::revocation::RevocationRecord;
use exopi_abi::slice::SliceRecord;
use exopi_bsp::traits::MemoryRange;
use exopi_pages::Pages;

use super::first::Refusal;
use crate::arch::{arena, cache, mmu};
use crate::{exposed, network};

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
    // or the archive, which nobody can write before the kernel has read it for the last time, and the first
    // environment runs.
    unsafe { core::slice::from_raw_parts(mmu::linear(image_end()) as *const u8, length as usize) }
}

/// Zeroes whole pages that nothing uses yet.
fn zero(range: &Range<u64>) {
    for page in range.clone().step_by(PAGE_SIZE as usize) {
        // SAFETY: RAM that nothing uses yet, in the linear window.
        unsafe { cache::zero_page(mmu::linear(page)) };
    }
}

/// What memory was made into.
#[derive(Debug)]
pub(super) struct Memory {
    /// All frames of RAM, those on the free lists that the kernel has no use for.
    pub pages: Pages<'static>,
    /// Where the archive lies, whose frames are the kernel's so far.
    pub archive: File,
    /// Records of no account.
    pub accounts: &'static mut [AccountRecord],
    /// Records of no space.
    pub spaces: &'static mut [SpaceRecord],
    /// Records of no environment.
    pub environments: &'static mut [EnvironmentRecord],
    /// Words of no environment.
    pub lives: &'static [Life],
    /// Records of no request.
    pub revocations: &'static mut [RevocationRecord],
    /// Records of no slice.
    pub slices: &'static mut [SliceRecord],
    /// Records of no ring.
    pub message_rings: &'static mut [MessageRingRecord],
    /// What there is for frames of a network.
    pub network: network::Room,
}

/// Makes the page array and the records of domains, and shows them, and sets memory for generated code apart. The archive behind the image is
/// `archive_bytes` long; frames have this many colours.
///
/// # Errors
/// [`Refusal::TooLarge`] if there is no room for the array.
pub(super) fn describe(
    memory: &MemoryRange,
    archive_bytes: u64,
    colours: u8,
) -> Result<Memory, Refusal> {
    let ram_end = mmu::mapped_end(end(memory)) / PAGE_SIZE * PAGE_SIZE;
    let frames = (ram_end / PAGE_SIZE) as usize;
    let domains_start = (image_end() + archive_bytes).next_multiple_of(PAGE_SIZE);
    let domains = domains_start..domains_start + exposed::DOMAINS_BYTES;
    let private = domains.end..domains.end + network::BYTES.next_multiple_of(PAGE_SIZE);
    let code_start = private.end.next_multiple_of(exposed::BLOCK);
    let code = code_start..code_start + arena::BYTES;
    let array_start = code.end.next_multiple_of(exposed::BLOCK);
    let array_bytes = ((frames * size_of::<PageRecord>()) as u64).next_multiple_of(exposed::BLOCK);
    let array = array_start..array_start + array_bytes;
    if array.end > ram_end {
        return Err(Refusal::TooLarge);
    }
    zero(&domains);
    zero(&code);
    zero(&array);
    arena::init(code.start);
    let archive = File {
        first_page: image_end() / PAGE_SIZE,
        bytes: archive_bytes,
    };
    let places = exposed::Places {
        domains,
        pages: array,
        frames,
    };
    // SAFETY: both places are RAM in the linear window, zeroed just now, page-aligned, and nobody else's: their
    // frames are the kernel's for good.
    let records = unsafe { exposed::init(&places, archive) };
    let mut pages = Pages::new(records.pages, colours);
    let image_start = mmu::physical_of_image(mmu::image().start);
    // Page 0 stays: the spin table is there.
    add_free(&mut pages, memory.start.max(PAGE_SIZE)..image_start);
    add_free(&mut pages, private.end..code.start);
    add_free(&mut pages, code.end..places.pages.start);
    add_free(&mut pages, places.pages.end..ram_end);
    Ok(Memory {
        pages,
        archive,
        accounts: records.accounts,
        spaces: records.spaces,
        environments: records.environments,
        lives: records.lives,
        revocations: records.revocations,
        slices: records.slices,
        message_rings: records.message_rings,
        network: network::Room {
            interfaces: records.interfaces,
            filters: records.filters,
            rings: records.rings,
            ring_pages: records.ring_pages,
            sends: records.sends,
            private,
        },
    })
}

fn add_free(pages: &mut Pages<'static>, range: Range<u64>) {
    let first = range.start.div_ceil(PAGE_SIZE);
    let count = (range.end / PAGE_SIZE).saturating_sub(first);
    // The ranges are disjoint parts of the array, so nothing is refused.
    let added = pages.add_free(PageNumber::new(first as u32), count);
    debug_assert_eq!(added.done, count);
}
