//! The exposed region: where its records lie, and how every space sees them.
//!
//! ```text
//!   EXPOSED_BASE + 0x00_0000   header      a page of the image
//!                + 0x00_1000   counters    a page of the image
//!                + 0x20_0000   pages       the page array, 2 MiB blocks of RAM
//! ```
#![expect(
    unsafe_code,
    reason = "records that the kernel writes while EL0 reads them"
)]

use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_abi::exposed::{CoreCounters, Header, MAGIC, Machine, Section};
use exopi_abi::page::PageRecord;
use exopi_abi::{VERSION, layout};
use exopi_pages::pte::{self, KernelAccess, Memory};

#[cfg(feature = "count")]
use crate::arch::core_data::Core;
use crate::arch::core_data::{CoreNumber, count};
use crate::arch::mmu::{self, Table};

pub use exopi_abi::exposed::MAX_CORES;

/// Where the page array begins in the region.
const PAGES_OFFSET: u64 = 0x20_0000;
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
        ticks_per_second: 0,
        entry_ticks: 0,
        first_el0_ticks: 0,
    },
    counters: Section {
        offset: layout::PAGE_SIZE,
        count: MAX_CORES as u64,
        stride: size_of::<CoreCounters>() as u64,
    },
    pages: Section {
        offset: PAGES_OFFSET,
        count: 0,
        stride: size_of::<PageRecord>() as u64,
    },
    free_pages: AtomicU64::new(0),
    longest_hold_ticks: AtomicU64::new(0),
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

/// Lays the region out over the page array at physical `array`, whole blocks, for `count` frames. Only
/// while core 0 boots.
pub fn init(array: Range<u64>, count: usize) {
    // SAFETY: as in `describe`.
    unsafe { (*HEADER.0.get()).pages.count = count as u64 };
    let of_image = |address: usize| {
        let physical = mmu::physical_of_image(address);
        pte::kernel_page(physical, Memory::Normal, KernelAccess::Exposed)
    };
    LEVEL_3.set(0, of_image(HEADER.0.get() as usize));
    LEVEL_3.set(1, of_image(COUNTERS.0.get() as usize));
    LEVEL_2.set(0, LEVEL_3.descriptor());
    let first = (PAGES_OFFSET / BLOCK) as usize;
    for (index, block) in array.step_by(BLOCK as usize).enumerate() {
        let descriptor = pte::kernel_block(block, Memory::Normal, KernelAccess::Exposed);
        LEVEL_2.set(first + index, descriptor);
    }
}

/// What the last entry of every root holds.
pub fn root_entry() -> u64 {
    LEVEL_2.descriptor()
}
