//! The addresses of user space that kernel and programs agree on.
//!
//! ```text
//!   0x00_0000_0000  never mapped, so that a null pointer faults, the kernel's own included
//!   0x00_0001_0000  USER_START: what a program maps where is its own affair
//!        ...
//!   0x7f_7ffe_0000  the first environment's stack, FIRST_STACK_PAGES down from here (guard below)
//!   0x7f_7fff_e000  the first environment's boot arguments, one page
//!   0x7f_7fff_f000  the first environment's u-area
//!   0x7f_8000_0000  TABLES_BASE: the space's own page tables, read-only
//!   0x7f_c000_0000  EXPOSED_BASE: what the kernel shows, read-only, the same in every space
//!   0x80_0000_0000  USER_END
//! ```
//!
//! At [`TABLES_BASE`] the root names itself, so that a walk there comes out one level early and finds a
//! table where it looks for a page: see [`table_entry`]. Links are not to be seen there.
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
/// Where a space sees its own tables: the last entry but one of the root. What programs map lies below.
pub const TABLES_BASE: u64 = EXPOSED_BASE - (1 << 30);
/// The first environment's u-area.
pub const FIRST_UAREA: u64 = TABLES_BASE - PAGE_SIZE;
/// The page with the first environment's boot arguments.
pub const FIRST_ARGUMENTS: u64 = FIRST_UAREA - PAGE_SIZE;
/// First address above the first environment's stack.
pub const FIRST_STACK_TOP: u64 = TABLES_BASE - 0x2_0000;
/// Pages of the first environment's stack: 64 KiB. The page below it stays unmapped.
pub const FIRST_STACK_PAGES: u64 = 16;

/// Where a space reads the level-3 entry of `address`. What lies there faults if there is no level-3 table.
pub const fn table_entry(address: u64) -> u64 {
    TABLES_BASE + (address >> 12) * 8
}

/// The same for the level-2 entry, which names a level-3 table or a superpage.
pub const fn table2_entry(address: u64) -> u64 {
    table_entry(table_entry(address))
}

const _: () = {
    // Each level up is another walk through the root's own entry.
    assert!(table_entry(TABLES_BASE) == TABLES_BASE + (TABLES_BASE >> 9));
    assert!(table2_entry(0) == table_entry(TABLES_BASE));
    assert!(FIRST_UAREA == 0x7f_7fff_f000);
    assert!(FIRST_ARGUMENTS == 0x7f_7fff_e000);
    assert!(FIRST_STACK_TOP == 0x7f_7ffe_0000);
};
