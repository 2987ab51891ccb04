//! Where the environments of a sequence keep their arguments, and where they map.
//!
//! ```text
//!   STORE   one page, mapped for good; what follows it is not mapped
//!     +0     slots for capabilities, 48 bytes each
//!     +1024  operations of a batch, 64 bytes each
//!     +2048  bytes that calls read or write
//!   AREA    a GiB in which calls map and unmap
//! ```
//!
//! The page of the store is not among a sequence's names, so that no call of it takes the store away from
//! the one who makes the calls.

use exopi_abi::Operation;
use exopi_abi::capability::{CAPABILITY_BYTES, CAPABILITY_WORDS};
use exopi_abi::layout::{FIRST_UAREA, PAGE_SIZE, USER_START};

/// The store of each environment, in its own space.
pub const STORE: u64 = 0x2a_0000_0000;
/// Slots for capabilities in it.
pub const SLOTS: usize = 16;
/// Operations that it has room for.
pub const OPERATIONS: usize = 4;
/// Bytes that it has room for, for calls that read or write user memory.
pub const BYTES: u64 = 1024;

/// Where sequences map.
pub const AREA: u64 = 0x30_0000_0000;

const _: () = {
    assert!(SLOTS * CAPABILITY_BYTES <= 1024);
    assert!(OPERATIONS * size_of::<Operation>() <= 1024);
    assert!(2048 + BYTES <= PAGE_SIZE);
};

/// Address of a slot.
pub const fn slot_address(slot: usize) -> u64 {
    STORE + (slot * CAPABILITY_BYTES) as u64
}

/// Address of word `word` of a slot.
pub const fn slot_word(slot: usize, word: usize) -> u64 {
    slot_address(slot) + 8 * (word % CAPABILITY_WORDS) as u64
}

/// The slot that begins at `address`, if one does.
pub const fn slot_at(address: u64) -> Option<usize> {
    let offset = address.wrapping_sub(STORE);
    let slot = (offset / CAPABILITY_BYTES as u64) as usize;
    if offset.is_multiple_of(CAPABILITY_BYTES as u64) && slot < SLOTS {
        Some(slot)
    } else {
        None
    }
}

/// Address of the operations.
pub const fn operations_address() -> u64 {
    STORE + 1024
}

/// Address of the status that operation `index` of a batch leaves.
pub const fn operation_status(index: usize) -> u64 {
    operations_address()
        + (index * size_of::<Operation>() + core::mem::offset_of!(Operation, status)) as u64
}

/// Address of the bytes.
pub const fn bytes_address() -> u64 {
    STORE + 2048
}

/// Pages of address space to map at: beginning, middle and borders of what tables cover. The ones in front are
/// drawn most.
pub const PLACES: [u64; 16] = [
    AREA,
    AREA + PAGE_SIZE,
    AREA + 2 * PAGE_SIZE,
    AREA + 3 * PAGE_SIZE,
    AREA + SPAN3 - PAGE_SIZE,
    AREA + SPAN3,
    AREA + SPAN3 + PAGE_SIZE,
    AREA + 2 * SPAN3,
    AREA + 3 * SPAN3,
    AREA + SPAN2 - PAGE_SIZE,
    AREA + SPAN2,
    AREA + SPAN2 + 5 * PAGE_SIZE,
    USER_START,
    FIRST_UAREA,
    AREA + 3 * SPAN3 + PAGE_SIZE,
    AREA + 8 * PAGE_SIZE,
];

/// Addresses at which nothing can be mapped, or nothing well.
pub const BAD_PLACES: [u64; 10] = [
    0,
    AREA + 8,
    USER_START - PAGE_SIZE,
    exopi_abi::layout::TABLES_BASE,
    exopi_abi::layout::table_entry(AREA),
    exopi_abi::layout::EXPOSED_BASE,
    exopi_abi::layout::USER_END - PAGE_SIZE,
    exopi_abi::layout::USER_END,
    0xffff_ff80_0000_0000,
    u64::MAX,
];

const SPAN3: u64 = exopi_abi::TableLevel::Three.span();
const SPAN2: u64 = exopi_abi::TableLevel::Two.span();
