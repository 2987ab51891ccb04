//! Reading the exposed region: what the kernel shows to everybody, without a call.

use core::sync::atomic::{AtomicU64, Ordering};

pub use exopi_abi::exposed::{CoreCounters, Event, Header, MAGIC, Machine, Section};

use crate::page::PageRecord;
use crate::{Call, PageNumber, layout};

/// The region's header.
///
/// Off target there is no such region: nothing of this module may be called there.
#[expect(unsafe_code, reason = "the region is at a fixed address")]
pub fn header() -> &'static Header {
    // SAFETY: the kernel maps the region in every space at this address, read-only and for ever;
    // `abi` gives its form. What changes is atomic.
    unsafe { &*(layout::EXPOSED_BASE as *const Header) }
}

/// The machine, as found at boot.
pub fn machine() -> Machine {
    header().machine
}

/// Pages on the free list.
pub fn free_pages() -> u64 {
    header().free_pages.load(Ordering::Relaxed)
}

/// How many pages there are, the kernel's own included: their numbers are 0 up to here.
pub fn page_count() -> u64 {
    header().pages.count
}

/// Address of record `index` of a section, if there is such a record.
fn record(section: Section, index: u64) -> Option<u64> {
    (index < section.count).then(|| layout::EXPOSED_BASE + section.offset + index * section.stride)
}

/// What the kernel knows of a page. It may be half changed if another core changes it just now.
#[expect(
    unsafe_code,
    reason = "a raw read of a record that the kernel may change meanwhile"
)]
pub fn page(number: PageNumber) -> Option<PageRecord> {
    let at = record(header().pages, number.get().into())? as *const PageRecord;
    // SAFETY: the record is inside the region, and the kernel writes only valid types and words to
    // it. Volatile, because it changes under the reader.
    Some(unsafe { at.read_volatile() })
}

/// The counters of a core.
#[expect(unsafe_code, reason = "a place in the region becomes a reference")]
pub fn counters(core: usize) -> Option<&'static CoreCounters> {
    let at = record(header().counters, core as u64)? as *const CoreCounters;
    // SAFETY: the record is inside the region; all its words are atomic.
    Some(unsafe { &*at })
}

fn count(core: usize, word: impl FnOnce(&CoreCounters) -> &AtomicU64) -> u64 {
    counters(core).map_or(0, |counters| word(counters).load(Ordering::Relaxed))
}

/// How often `call` was made on a core; 0 for a core that there is not.
pub fn calls(core: usize, call: Call) -> u64 {
    count(core, |counters| {
        &counters.calls[usize::from(call.number()) - 1]
    })
}

/// How often `event` happened on a core: 0 in kernels without the feature `count`.
pub fn events(core: usize, event: Event) -> u64 {
    count(core, |counters| &counters.events[event as usize])
}
