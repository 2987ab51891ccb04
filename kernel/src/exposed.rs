//! The exposed region: where its records lie, and how every space sees them.
//!
//! ```text
//!   EXPOSED_BASE + 0x00_0000   header        a page of the image
//!                + 0x00_1000   counters      a page of the image
//!                + 0x00_2000   accounts      pages of RAM
//!                + 0x02_2000   spaces        pages of RAM
//!                + 0x02_a000   environments  pages of RAM
//!                + 0x03_a000   lives         pages of RAM
//!                + 0x04_2000   revocations   pages of RAM
//!                + 0x06_2000   slices        pages of RAM
//!                + 0x06_6000   message rings pages of RAM
//!                ...           interfaces, filters, packet rings, send capabilities: pages of RAM
//!                + 0x20_0000   pages         the page array, 2 MiB blocks of RAM
//! ```
//!
//! What lies in RAM is zero at boot, which describes what belongs to the kernel, or nothing.
#![expect(
    unsafe_code,
    reason = "records that the kernel writes while EL0 reads them"
)]

use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_abi::VERSION;
use exopi_abi::domain::{
    AccountRecord, EnvironmentRecord, Life, MAX_ACCOUNTS, MAX_ENVIRONMENTS, MAX_SPACES, SpaceRecord,
};
use exopi_abi::exposed::{CoreCounters, File, Header, MAGIC, Machine, Section};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::net::{FilterRecord, InterfaceRecord, RingRecord, SendRecord};
use exopi_abi::page::PageRecord;
use exopi_abi::revocation::RevocationRecord;
use exopi_abi::slice::{MAX_SLICES, SliceRecord};
use exopi_frames::RingPages;
use exopi_pages::pte::{self, KernelAccess, Memory};

#[cfg(feature = "count")]
use crate::arch::core_data::Core;
use crate::arch::core_data::{CoreNumber, count};
use crate::arch::mmu::{self, Table};
use crate::network;

pub use exopi_abi::exposed::MAX_CORES;

/// The section of `count` records of type `T` from `offset` on.
const fn section<T>(offset: u64, count: usize) -> Section {
    Section {
        offset,
        count: count as u64,
        stride: size_of::<T>() as u64,
    }
}

/// Where a section ends, and the next one may begin.
const fn end(section: Section) -> u64 {
    (section.offset + section.count * section.stride).next_multiple_of(PAGE_SIZE)
}

const COUNTERS_SECTION: Section = section::<CoreCounters>(PAGE_SIZE, MAX_CORES);
/// What the domains' records take begins here in the region, page for page as it lies in RAM.
const DOMAINS_OFFSET: u64 = end(COUNTERS_SECTION);
const ACCOUNTS: Section = section::<AccountRecord>(DOMAINS_OFFSET, MAX_ACCOUNTS);
const SPACES: Section = section::<SpaceRecord>(end(ACCOUNTS), MAX_SPACES);
const ENVIRONMENTS: Section = section::<EnvironmentRecord>(end(SPACES), MAX_ENVIRONMENTS);
const LIVES: Section = section::<Life>(end(ENVIRONMENTS), MAX_ENVIRONMENTS);
const REVOCATIONS: Section = section::<RevocationRecord>(end(LIVES), MAX_ENVIRONMENTS);
const SLICES: Section = section::<SliceRecord>(end(REVOCATIONS), MAX_SLICES);
const MESSAGE_RINGS: Section = section::<MessageRingRecord>(end(SLICES), MAX_ENVIRONMENTS);
const INTERFACES: Section = section::<InterfaceRecord>(end(MESSAGE_RINGS), network::INTERFACES);
const FILTERS: Section =
    section::<FilterRecord>(end(INTERFACES), network::INTERFACES * network::FILTERS);
const RINGS: Section = section::<RingRecord>(end(FILTERS), network::RINGS);
const RING_PAGES: Section = section::<RingPages>(end(RINGS), network::RINGS);
const SENDS: Section = section::<SendRecord>(end(RING_PAGES), network::SENDS);
/// Bytes of RAM that the records of accounts, spaces, environments and slices take: whole pages.
pub const DOMAINS_BYTES: u64 = end(SENDS) - DOMAINS_OFFSET;
/// Where the page array begins in the region.
const PAGES_OFFSET: u64 = BLOCK;
const _: () = assert!(DOMAINS_OFFSET + DOMAINS_BYTES <= PAGES_OFFSET);
/// Bytes of a block: the page array is mapped, and so allocated, in whole ones.
pub const BLOCK: u64 = 1 << 21;

/// A page that EL0 reads.
#[repr(C, align(4096))]
struct Page<T>(UnsafeCell<T>);

// SAFETY: what changes after boot are atomics; the rest is written by core 0 while it boots.
unsafe impl<T> Sync for Page<T> {}

static HEADER: Page<Header> = Page(UnsafeCell::new(Header {
    magic: MAGIC,
    version: VERSION,
    machine: Machine {
        cores: 0,
        board_revision: 0,
        colours: 0,
        cache_bytes: 0,
        cache_line: 0,
        boot_id: 0,
        ticks_per_second: 0,
        entry_ticks: 0,
        first_el0_ticks: 0,
        slice_ticks: 0,
        epilogue_ticks: 0,
    },
    counters: COUNTERS_SECTION,
    accounts: ACCOUNTS,
    spaces: SPACES,
    environments: ENVIRONMENTS,
    lives: LIVES,
    revocations: REVOCATIONS,
    slices: SLICES,
    message_rings: MESSAGE_RINGS,
    interfaces: INTERFACES,
    filters: FILTERS,
    rings: RINGS,
    ring_pages: RING_PAGES,
    sends: SENDS,
    pages: section::<PageRecord>(PAGES_OFFSET, 0),
    archive: File {
        first_page: 0,
        bytes: 0,
    },
    free_pages: AtomicU64::new(0),
    longest_hold_ticks: AtomicU64::new(0),
    longest_masked_ticks: AtomicU64::new(0),
    console_losses: AtomicU64::new(0),
}));

static COUNTERS: Page<[CoreCounters; MAX_CORES]> = Page(UnsafeCell::new(
    [const {
        CoreCounters {
            calls: [const { AtomicU64::new(0) }; CoreCounters::CALLS],
            unknown_calls: AtomicU64::new(0),
            upcalls: AtomicU64::new(0),
            interrupts: AtomicU64::new(0),
            ipis: AtomicU64::new(0),
            events: [const { AtomicU64::new(0) }; exopi_abi::exposed::Event::COUNT],
        }
    }; MAX_CORES],
));

static LEVEL_2: Table = Table::empty();
static LEVEL_3: Table = Table::empty();

/// The counters of `core`.
pub fn counters(core: CoreNumber) -> *const CoreCounters {
    COUNTERS
        .0
        .get()
        .cast::<CoreCounters>()
        .wrapping_add(core.index())
}

/// The header, for reading and for its atomics.
fn header() -> &'static Header {
    // SAFETY: the plain fields are written by `describe` alone, while no such reference is in use.
    unsafe { &*HEADER.0.get() }
}

/// Changes the description of the machine. Only while core 0 boots.
pub fn describe(change: impl FnOnce(&mut Machine)) {
    // SAFETY: only core 0 runs this, at boot; `header`'s references are never kept.
    change(unsafe { &mut (*HEADER.0.get()).machine });
}

/// `CNTVCT_EL0` at the kernel's first instruction.
pub fn entry_ticks() -> u64 {
    header().machine.entry_ticks
}

/// How many cores came up.
pub fn cores() -> u8 {
    header().machine.cores as u8
}

/// The interface's version, as everybody reads it.
#[inline(always)]
pub fn version() -> u64 {
    header().version
}

/// Shows how often the board layer, which counts for itself, has accessed a device.
#[cfg(feature = "count")]
pub fn show_device_accesses() {
    use exopi_abi::exposed::Event;
    let count = exopi_bsp::bus::ACCESSES.load(Ordering::Relaxed);
    Core::counters().events[Event::DeviceAccess as usize].store(count, Ordering::Relaxed);
}

/// Shows how many pages are free.
pub fn set_free_pages(count: u64) {
    header().free_pages.store(count, Ordering::Relaxed);
}

/// Counts a loss of console input. Only under the console's lock.
pub fn count_console_loss() {
    count(&header().console_losses);
}

/// Notes that the kernel lock was held for `ticks`. Only under that lock.
pub fn note_hold(ticks: u64) {
    let longest = &header().longest_hold_ticks;
    if ticks > longest.load(Ordering::Relaxed) {
        longest.store(ticks, Ordering::Relaxed);
    }
}

/// Notes that interrupts were masked for `ticks`.
#[inline(always)]
pub fn note_masked(ticks: u64) {
    let longest = &header().longest_masked_ticks;
    if ticks > longest.load(Ordering::Relaxed) {
        // Another core may be about to say more.
        longest.fetch_max(ticks, Ordering::Relaxed);
    }
}

/// Where the records in RAM lie: physical addresses, whole pages and whole blocks, all zero.
#[derive(Clone, Debug)]
pub struct Places {
    /// [`DOMAINS_BYTES`].
    pub domains: Range<u64>,
    /// The page array.
    pub pages: Range<u64>,
    /// How many frames it describes.
    pub frames: usize,
}

/// The records that lie in RAM, for the kernel to write.
#[derive(Debug)]
pub struct Records {
    /// Accounts.
    pub accounts: &'static mut [AccountRecord],
    /// Spaces.
    pub spaces: &'static mut [SpaceRecord],
    /// Environments.
    pub environments: &'static mut [EnvironmentRecord],
    /// What becomes of them.
    pub lives: &'static [Life],
    /// What they are asked for.
    pub revocations: &'static mut [RevocationRecord],
    /// Slices.
    pub slices: &'static mut [SliceRecord],
    /// Their rings for messages.
    pub message_rings: &'static mut [MessageRingRecord],
    /// Network interfaces.
    pub interfaces: &'static mut [InterfaceRecord],
    /// Packet filters of all interfaces.
    pub filters: &'static mut [FilterRecord],
    /// Packet rings.
    pub rings: &'static mut [RingRecord],
    /// Their pages.
    pub ring_pages: &'static mut [RingPages],
    /// Send capabilities.
    pub sends: &'static mut [SendRecord],
    /// Frames.
    pub pages: &'static mut [PageRecord],
}

/// Shows everybody what lies at `places`, and where `archive` is. Once, while core 0 boots.
///
/// # Safety
/// The places are RAM in the linear window, all zero, aligned and long enough, and nobody else's for good.
pub unsafe fn init(places: &Places, archive: File) -> Records {
    // SAFETY: as in `describe`.
    let header = unsafe { &mut *HEADER.0.get() };
    header.pages.count = places.frames as u64;
    header.archive = archive;
    let page = |physical| pte::kernel_page(physical, Memory::Normal, KernelAccess::Exposed);
    LEVEL_3.set(0, page(mmu::physical_of_image(HEADER.0.get() as usize)));
    LEVEL_3.set(1, page(mmu::physical_of_image(COUNTERS.0.get() as usize)));
    let first = (DOMAINS_OFFSET / PAGE_SIZE) as usize;
    for (index, physical) in places
        .domains
        .clone()
        .step_by(PAGE_SIZE as usize)
        .enumerate()
    {
        LEVEL_3.set(first + index, page(physical));
    }
    LEVEL_2.set(0, LEVEL_3.descriptor());
    let first = (PAGES_OFFSET / BLOCK) as usize;
    for (index, block) in places.pages.clone().step_by(BLOCK as usize).enumerate() {
        let descriptor = pte::kernel_block(block, Memory::Normal, KernelAccess::Exposed);
        LEVEL_2.set(first + index, descriptor);
    }
    let domain = |section: Section| places.domains.start + (section.offset - DOMAINS_OFFSET);
    // SAFETY: the caller's, here and below: each slice lies in its place, and none in another's. Zeros are records
    // of nothing, and `PageRecord::KERNEL`.
    let accounts = unsafe { records(domain(ACCOUNTS), MAX_ACCOUNTS) };
    // SAFETY: as above.
    let spaces = unsafe { records(domain(SPACES), MAX_SPACES) };
    // SAFETY: as above.
    let environments = unsafe { records(domain(ENVIRONMENTS), MAX_ENVIRONMENTS) };
    // SAFETY: as above.
    let lives = unsafe { records(domain(LIVES), MAX_ENVIRONMENTS) };
    // SAFETY: as above.
    let revocations = unsafe { records(domain(REVOCATIONS), MAX_ENVIRONMENTS) };
    let count = |section: Section| section.count as usize;
    // SAFETY: as above; zeros are records of nothing here, too.
    let interfaces = unsafe { records(domain(INTERFACES), count(INTERFACES)) };
    // SAFETY: as above.
    let filters = unsafe { records(domain(FILTERS), count(FILTERS)) };
    // SAFETY: as above.
    let rings = unsafe { records(domain(RINGS), count(RINGS)) };
    // SAFETY: as above.
    let ring_pages = unsafe { records(domain(RING_PAGES), count(RING_PAGES)) };
    // SAFETY: as above.
    let sends = unsafe { records(domain(SENDS), count(SENDS)) };
    // SAFETY: as above.
    let message_rings = unsafe { records(domain(MESSAGE_RINGS), MAX_ENVIRONMENTS) };
    // SAFETY: as above.
    let slices = unsafe { records(domain(SLICES), MAX_SLICES) };
    // SAFETY: as above.
    let pages = unsafe { records(places.pages.start, places.frames) };
    Records {
        accounts,
        spaces,
        environments,
        lives,
        revocations,
        slices,
        message_rings,
        interfaces,
        filters,
        rings,
        ring_pages,
        sends,
        pages,
    }
}

/// The `count` records at `physical`.
///
/// # Safety
/// They lie in RAM in the linear window, hold values of their type, and nobody else looks at them but EL0,
/// which reads.
unsafe fn records<T>(physical: u64, count: usize) -> &'static mut [T] {
    // SAFETY: the caller's.
    unsafe { core::slice::from_raw_parts_mut(mmu::linear(physical) as *mut T, count) }
}

/// What the last entry of every root holds.
pub fn root_entry() -> u64 {
    LEVEL_2.descriptor()
}
