//! Writing code into the arena, page by page.
#![expect(unsafe_code, reason = "writes what is going to be executed")]

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_abi::layout::PAGE_SIZE;
use exopi_pages::pte::{self, KernelAccess, Memory};

use super::BYTES;
use crate::arch::core_data::CoreNumber;
use crate::arch::mmu::{self, Table};
use crate::arch::{barrier, cache};

/// Where the arena runs: behind the block of addresses that the image has.
pub const ARENA: usize = 0xffff_ffff_c020_0000;
/// Where it is written: each core has a page, with a hole behind it. The block behind the arena.
const ALIASES: usize = 0xffff_ffff_c040_0000;

/// The entries for [`ALIASES`].
static ALIASES_3: Table = Table::empty();

/// Physical address of the arena.
static PLACE: AtomicU64 = AtomicU64::new(0);

/// Takes note of where the arena is, and gives the cores their pages, unmapped. Once, while core 0 boots.
pub(super) fn init(physical: u64) {
    PLACE.store(physical, Ordering::Relaxed);
    mmu::set_beside_image(2, ALIASES_3.descriptor());
}

/// Physical address of the arena.
pub fn physical() -> u64 {
    PLACE.load(Ordering::Relaxed)
}

/// Where a core writes: the page of its own.
pub fn alias(core: CoreNumber) -> usize {
    ALIASES + entry(core) * PAGE_SIZE as usize
}

/// The entry of a core's page.
const fn entry(core: CoreNumber) -> usize {
    2 * core.index()
}

/// Writes code from `offset` on, which must be a multiple of the cache line. When this returns, every core that has passed
/// a context synchronisation event since then (an exception, say) executes it. Gives back where it runs; none, and
/// nothing is written, if it would not lie in the arena.
///
/// # Safety
/// Nobody executes what lies there, or will before this returns; nobody else writes there; and interrupts are masked,
/// so that the core's page is this writing's alone.
pub unsafe fn write(offset: usize, words: &[u32]) -> Option<usize> {
    let end = offset.checked_add(size_of_val(words))?;
    if !offset.is_multiple_of(cache::LINE) || end > BYTES as usize {
        return None;
    }
    let mut at = offset;
    let mut left = words;
    while !left.is_empty() {
        let room = (PAGE_SIZE as usize - at % PAGE_SIZE as usize) / size_of::<u32>();
        let (now, later) = left.split_at(room.min(left.len()));
        // SAFETY: of who else uses the memory the caller says that there is nobody; it is of one page.
        unsafe { write_in_page(at, now) };
        at += size_of_val(now);
        left = later;
    }
    Some(ARENA + offset)
}

/// The part of [`write()`] that lies in one page.
///
/// # Safety
/// As there, and all words lie in the arena, in the page that `at` is in.
unsafe fn write_in_page(at: usize, words: &[u32]) {
    let core = CoreNumber::current();
    let within = at % PAGE_SIZE as usize;
    let page = physical() + (at - within) as u64;
    let descriptor = pte::kernel_page(page, Memory::Normal, KernelAccess::ReadWrite);
    ALIASES_3.set(entry(core), descriptor);
    barrier::after_table_stores();
    barrier::instructions();
    let start = alias(core) + within;
    for (index, word) in words.iter().enumerate() {
        let to = (start as *mut u32).wrapping_add(index);
        // SAFETY: in the page that was mapped just now, which is this core's alone; the caller says the rest.
        unsafe { to.write_volatile(*word) };
    }
    cache::publish_code(start, size_of_val(words));
    ALIASES_3.set(entry(core), 0);
    mmu::forget_kernel_page(alias(core));
}
