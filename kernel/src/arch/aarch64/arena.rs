//! Where generated code lies: one block of memory that runs at EL1 and cannot be written where it runs.
//!
//! ```text
//!   ARENA         the block             read, execute    from boot on
//!   linear window the same memory       absent           from boot on
//!   ALIASES       a page for each core  read, write      while that core writes code, one page of it
//! ```
//!
//! Code is written through a page of the writing core's own, never where it runs, and in lines that nobody runs:
//! whoever replaces code writes the new one elsewhere, and then changes one pointer. So a stray store of the
//! kernel's finds no name by which it could reach code, but for one page while that is written. What has not been
//! written is zeros, which are no instruction (UDF, ARM DDI 0487, C6.2).
//!
//! The second half is for packet filters.

use exopi_pages::pte::{self, KernelAccess, Memory};

use super::{barrier, cache, mmu};

mod write;

pub use write::{ARENA, write};
#[cfg(feature = "selftest")]
pub use write::{alias, physical};

/// Bytes of the arena: one level-2 entry, so that the linear window does without it as a whole.
pub const BYTES: u64 = 1 << 21;

/// Makes the block of RAM at `physical`, zeroed in the linear window, the arena, which takes it out of there. Once, while
/// core 0 boots.
pub fn init(physical: u64) {
    // Instruction fetches see zeros, too.
    cache::publish_code(mmu::linear(physical), BYTES as usize);
    mmu::withdraw_linear_block(physical);
    let block = pte::kernel_block(physical, Memory::Normal, KernelAccess::ReadExecute);
    mmu::set_beside_image(1, block);
    write::init(physical);
    barrier::after_table_stores();
    barrier::instructions();
}
