//! The addresses of user space that kernel and programs agree on.
//!
//! ```text
//!   0x00_0000_0000  never mapped, so that a null pointer faults, the kernel's own included
//!   0x00_0001_0000  USER_START: what a program maps where is its own affair
//!        ...
//!   0x7f_bffe_0000  the first environment's stack, FIRST_STACK_PAGES down from here (guard below)
//!   0x7f_bfff_e000  the first environment's boot arguments, one page
//!   0x7f_bfff_f000  the first environment's u-area
//!   0x7f_c000_0000  EXPOSED_BASE: what the kernel shows, read-only, the same in every space
//!   0x80_0000_0000  USER_END
//! ```
//!
//! Only the first environment's places are fixed here, since nobody but the kernel can lay it out;
//! others are placed by whoever creates them.

/// Bytes in a page: the 4 KiB granule.
pub const PAGE_SIZE: u64 = 4096;
/// Lowest address that can be mapped: 64 KiB, as far as small offsets from a null pointer reach.
pub const USER_START: u64 = 0x1_0000;
/// First address beyond user space: 39 bits under TTBR0.
pub const USER_END: u64 = 1 << 39;
/// Where the exposed region begins, in every space: the last entry of the root.
pub const EXPOSED_BASE: u64 = USER_END - (1 << 30);
/// The first environment's u-area.
pub const FIRST_UAREA: u64 = EXPOSED_BASE - PAGE_SIZE;
/// The page with the first environment's boot arguments.
pub const FIRST_ARGUMENTS: u64 = FIRST_UAREA - PAGE_SIZE;
/// First address above the first environment's stack.
pub const FIRST_STACK_TOP: u64 = EXPOSED_BASE - 0x2_0000;
/// Pages of the first environment's stack: 64 KiB. The page below it stays unmapped.
pub const FIRST_STACK_PAGES: u64 = 16;

const _: () = {
    assert!(FIRST_UAREA == 0x7f_bfff_f000);
    assert!(FIRST_ARGUMENTS == 0x7f_bfff_e000);
    assert!(FIRST_STACK_TOP == 0x7f_bffe_0000);
};
