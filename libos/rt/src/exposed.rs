//! Reading the exposed region: what the kernel shows to everybody, without a call.

use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

pub use exopi_abi::exposed::{CoreCounters, Event, Header, MAGIC, Machine, Section};

use crate::domain::{AccountRecord, EnvironmentRecord, Life, LifeWord, ObjectName, SpaceRecord};
use crate::msgring::MessageRingRecord;
use crate::net::{FilterRecord, InterfaceRecord, RingRecord, SendRecord, filter_place};
use crate::page::PageRecord;
use crate::revocation::RevocationRecord;
use crate::slice::SliceRecord;
use crate::{Call, PageNumber};

/// Where the region begins.
#[cfg(target_os = "none")]
const fn base() -> Option<u64> {
    Some(crate::layout::EXPOSED_BASE)
}

/// Where a test has put a region.
#[cfg(not(target_os = "none"))]
fn base() -> Option<u64> {
    Some(crate::host::exposed()).filter(|at| *at != 0)
}

/// The region's header.
///
/// # Panics
/// Off target, if no test shows this thread a region (`host::expose`).
#[expect(unsafe_code, reason = "the region is at a fixed address")]
pub fn header() -> &'static Header {
    let at = base().expect("no region is shown to this thread");
    // SAFETY: the kernel maps the region in every space at this address, read-only and for ever;
    // `abi` gives its form. What changes is atomic.
    unsafe { &*(at as *const Header) }
}

/// The machine, as found at boot.
pub fn machine() -> Machine {
    header().machine
}

/// Pages on the free lists.
pub fn free_pages() -> u64 {
    header().free_pages.load(Ordering::Relaxed)
}

/// How many pages there are, the kernel's own included: their numbers are 0 up to here.
pub fn page_count() -> u64 {
    header().pages.count
}

/// Address of record `index` of a section, if there is such a record.
fn place(section: Section, index: u64) -> Option<u64> {
    (index < section.count).then(|| base().unwrap_or(0) + section.offset + index * section.stride)
}

/// How often a record is read again that is just being changed, before it is taken as it is.
const TRIES: usize = 16;

/// Record `index` of a section as it was at one moment: read until two readings in a row agree. A record that
/// keeps changing for a long time is given as it was read last.
///
/// # Safety
/// The section's records must be of type `T`.
#[expect(
    unsafe_code,
    reason = "a raw read of a record that the kernel may change meanwhile"
)]
unsafe fn record<T: Copy + PartialEq>(section: Section, index: u64) -> Option<T> {
    let at = place(section, index)? as *const T;
    let read = || {
        // SAFETY: the record is inside the region, of this type, and the kernel writes only valid
        // values to it. Volatile, because it changes under the reader.
        let record = unsafe { at.read_volatile() };
        compiler_fence(Ordering::SeqCst);
        record
    };
    let mut last = read();
    for _ in 0..TRIES {
        let again = read();
        if again == last {
            break;
        }
        last = again;
    }
    Some(last)
}

/// What the kernel knows of a page.
#[expect(unsafe_code, reason = "the type of a section's records is promised")]
pub fn page(number: PageNumber) -> Option<PageRecord> {
    // SAFETY: they are what `abi` says of the section.
    unsafe { record(header().pages, number.get().into()) }
}

/// All pages, with their records.
pub fn pages() -> impl Iterator<Item = (PageNumber, PageRecord)> {
    let count = u32::try_from(page_count()).unwrap_or(u32::MAX);
    (0..count)
        .map(PageNumber::new)
        .filter_map(|number| Some((number, page(number)?)))
}

macro_rules! objects {
    ($( $(#[doc = $doc:literal])+ $one:ident, $all:ident, $at:ident: $record:ty, $section:ident; )+) => { $(
        $(#[doc = $doc])+
        ///
        /// `None` if it is gone, or never was.
        pub fn $one(name: ObjectName) -> Option<$record> {
            $at(name.index).filter(|record| record.epoch == name.epoch.bits())
        }

        /// The record at an index, whatever lives there; all zero if nothing does.
        #[expect(unsafe_code, reason = "the type of a section's records is promised")]
        pub fn $at(index: u16) -> Option<$record> {
            // SAFETY: they are what `abi` says of the section.
            unsafe { record(header().$section, index.into()) }
        }

        /// All that there are now, with their names.
        pub fn $all() -> impl Iterator<Item = (ObjectName, $record)> {
            let count = u16::try_from(header().$section.count).unwrap_or(u16::MAX);
            (0..count).filter_map(|index| {
                let record = $at(index)?;
                let epoch = crate::capability::Epoch::from_low_bits(record.epoch);
                let name = ObjectName { index, epoch };
                (record.epoch != 0).then_some((name, record))
            })
        }
    )+ };
}

objects! {
    /// The record of an account.
    account, accounts, account_at: AccountRecord, accounts;
    /// The record of a space.
    space, spaces, space_at: SpaceRecord, spaces;
    /// The record of an environment.
    environment, environments, environment_at: EnvironmentRecord, environments;
    /// The record of a slice.
    slice, slices, slice_at: SliceRecord, slices;
}

macro_rules! tables {
    ($( $(#[doc = $doc:literal])+ $at:ident: $record:ty, $section:ident; )+) => { $(
        $(#[doc = $doc])+
        #[expect(unsafe_code, reason = "the type of a section's records is promised")]
        pub fn $at(index: u16) -> Option<$record> {
            // SAFETY: they are what `abi` says of the section.
            unsafe { record(header().$section, index.into()) }
        }
    )+ };
}

tables! {
    /// The packet ring at an index, if there can be one; its epoch is 0 if there is none.
    ring_at: RingRecord, rings;
    /// The send capability at an index, likewise.
    send_at: SendRecord, sends;
}

/// A network interface, by number.
#[expect(unsafe_code, reason = "the type of a section's records is promised")]
pub fn interface_at(number: usize) -> Option<InterfaceRecord> {
    // SAFETY: they are what `abi` says of the section.
    unsafe { record(header().interfaces, number as u64) }
}

/// The packet filter at an index ([`filter_index`](crate::net::filter_index)), if there can be one; its epoch is 0 if
/// there is none.
#[expect(unsafe_code, reason = "the type of a section's records is promised")]
pub fn filter_at(index: u16) -> Option<FilterRecord> {
    let (interface, number) = filter_place(index);
    let Header {
        interfaces,
        filters,
        ..
    } = header();
    let each = filters.count.checked_div(interfaces.count)?;
    let inside = (interface as u64) < interfaces.count && (number as u64) < each;
    let place = interface as u64 * each + number as u64;
    // SAFETY: they are what `abi` says of the section.
    inside.then(|| unsafe { record(*filters, place) }).flatten()
}

/// The last request to the environment at an index, whoever it is; `None` if there can be none.
#[expect(unsafe_code, reason = "the type of a section's records is promised")]
pub fn revocation_at(index: u16) -> Option<RevocationRecord> {
    // SAFETY: they are what `abi` says of the section.
    unsafe { record(header().revocations, index.into()) }
}

/// The ring for messages of the environment at an index, whoever it is; `None` if there can be none.
#[expect(unsafe_code, reason = "the type of a section's records is promised")]
pub fn message_ring_at(index: u16) -> Option<MessageRingRecord> {
    // SAFETY: they are what `abi` says of the section.
    unsafe { record(header().message_rings, index.into()) }
}

/// What changes of the environment at an index as it runs, whoever it is; `None` if there can be none.
#[expect(unsafe_code, reason = "a place in the region becomes a reference")]
pub fn live_at(index: u16) -> Option<&'static Life> {
    let at = place(header().lives, index.into())? as *const Life;
    // SAFETY: the record is inside the region; all its words are atomic.
    Some(unsafe { &*at })
}

/// What becomes of the environment at an index; [`LifeWord::FREE`] if there is none.
pub fn life_at(index: u16) -> LifeWord {
    live_at(index).map_or(LifeWord::FREE, Life::load)
}

/// What becomes of an environment; [`LifeWord::FREE`] if it is gone, or never was.
pub fn life(name: ObjectName) -> LifeWord {
    let word = life_at(name.index);
    if word.epoch() == name.epoch {
        word
    } else {
        LifeWord::FREE
    }
}

/// The counters of a core.
#[expect(unsafe_code, reason = "a place in the region becomes a reference")]
pub fn counters(core: usize) -> Option<&'static CoreCounters> {
    let at = place(header().counters, core as u64)? as *const CoreCounters;
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
