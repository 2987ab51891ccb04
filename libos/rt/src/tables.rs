//! Reading one's own page tables: what is mapped where, with no call.
//!
//! A space sees its tables at [`TABLES_BASE`], read-only. Where a table is missing, so
//! is that part of the window; levels are therefore looked at from the top, and an entry is only read after
//! the one above has named its table. So nothing here faults, unless another environment of the space takes
//! tables out in between: who shares a space agrees on that.

use crate::layout::{PAGE_SIZE, TABLES_BASE, USER_START, table_entry, table2_entry};
use crate::page::SUPERPAGE_PAGES;
use crate::{Access, Note, PageNumber, TableLevel, VirtAddr};

/// Bits of a descriptor (ARM DDI 0487, D8.3).
mod bits {
    /// It is one.
    pub(super) const VALID: u64 = 1;
    /// Of level 3: a page. Of the levels above: a table, and not a block.
    pub(super) const TABLE_OR_PAGE: u64 = 1 << 1;
    /// AP[1]: EL0 may access it.
    pub(super) const USER: u64 = 1 << 6;
    /// AP[2]: nobody may store to it.
    pub(super) const READ_ONLY: u64 = 1 << 7;
    /// UXN: EL0 may not execute it.
    pub(super) const NO_EXECUTE: u64 = 1 << 54;
    /// Where the address is.
    pub(super) const ADDRESS: u64 = ((1 << 48) - 1) & !0xfff;
    /// Where the kernel keeps what it was bound with, as an `Access`.
    pub(super) const BOUND_SHIFT: u32 = 55;
}

/// What is mapped at a page of address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The page.
    pub page: PageNumber,
    /// What it may be used for now.
    pub access: Access,
    /// What it may be used for at most: `protect_pte` moves within this.
    pub bound: Access,
    /// It is one of the 512 pages of a superpage.
    pub superpage: bool,
}

/// What the tables say of a page of address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// There is no table of this level.
    NoTable(TableLevel),
    /// Nothing is mapped; the libOS may have noted something. Note 0 is an empty entry.
    Note(Note),
    /// A page is mapped.
    Mapped(Mapping),
}

/// The word at an address of the window.
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "a word of the window, which no reference names")]
fn word(address: u64) -> u64 {
    // SAFETY: only addresses of entries are passed whose tables the entries above them name, so it is mapped
    // and aligned. Volatile, since calls change it.
    unsafe { (address as *const u64).read_volatile() }
}

#[cfg(not(target_os = "none"))]
use crate::host::table_word as word;

/// Where a space reads the root's entry of `address`.
const fn root_entry(address: u64) -> u64 {
    table_entry(table2_entry(address))
}

/// What the tables say of the page at `address`, which may lie inside it.
pub fn entry_of(address: u64) -> Entry {
    if !(USER_START..TABLES_BASE).contains(&address) {
        return Entry::NoTable(TableLevel::Two);
    }
    let root = word(root_entry(address));
    if root & bits::VALID == 0 {
        return Entry::NoTable(TableLevel::Two);
    }
    let second = word(table2_entry(address));
    if second & bits::VALID == 0 {
        return Entry::NoTable(TableLevel::Three);
    }
    if second & bits::TABLE_OR_PAGE == 0 {
        let within = address / PAGE_SIZE % SUPERPAGE_PAGES;
        return Entry::Mapped(mapping(second, within as u32, true));
    }
    let third = word(table_entry(address));
    if third & bits::VALID == 0 {
        return Entry::Note(Note::of_entry(third));
    }
    Entry::Mapped(mapping(third, 0, false))
}

/// The table of `level` that covers `address`, if there is one. Its record names its links' page.
pub fn table_of(address: u64, level: TableLevel) -> Option<PageNumber> {
    if !(USER_START..TABLES_BASE).contains(&address) {
        return None;
    }
    let named_by = |entry: u64| {
        let wanted = bits::VALID | bits::TABLE_OR_PAGE;
        (entry & wanted == wanted).then(|| page_in(entry))
    };
    let second = named_by(word(root_entry(address)))?;
    match level {
        TableLevel::Two => Some(second),
        TableLevel::Three => named_by(word(table2_entry(address))),
    }
}

/// What is mapped at `address`, which may lie inside the page.
pub fn mapping_of(address: u64) -> Option<Mapping> {
    match entry_of(address) {
        Entry::Mapped(mapping) => Some(mapping),
        _ => None,
    }
}

/// What the libOS has noted at `address`, where nothing is mapped. `None` where a page is or no table is.
pub fn note_of(address: u64) -> Option<Note> {
    match entry_of(address) {
        Entry::Note(note) => Some(note),
        _ => None,
    }
}

/// The frame that a valid descriptor names.
fn page_in(entry: u64) -> PageNumber {
    // Addresses of 44 bits have numbers of 32: no frame has a larger one.
    PageNumber::new(((entry & bits::ADDRESS) / PAGE_SIZE) as u32)
}

/// A valid descriptor's mapping, of the page `within` it.
fn mapping(entry: u64, within: u32, superpage: bool) -> Mapping {
    let mut access = Access::empty();
    access.set(Access::READ, entry & bits::USER != 0);
    let writable = entry & (bits::USER | bits::READ_ONLY) == bits::USER;
    access.set(Access::WRITE, writable);
    access.set(Access::EXECUTE, entry & bits::NO_EXECUTE == 0);
    Mapping {
        page: PageNumber::new(page_in(entry).get() | within),
        access,
        bound: Access::from_bits_truncate((entry >> bits::BOUND_SHIFT) as u8),
        superpage,
    }
}

/// Everything that is mapped from `start` up to below `end`, page by page. What has no table is passed over as
/// a whole, so that a walk over an empty space is short.
pub fn mappings(start: u64, end: u64) -> impl Iterator<Item = (VirtAddr, Mapping)> {
    let mut next = start.max(USER_START) / PAGE_SIZE * PAGE_SIZE;
    let end = end.min(TABLES_BASE);
    core::iter::from_fn(move || {
        while next < end {
            let at = next;
            let entry = entry_of(at);
            next = match entry {
                Entry::NoTable(level) => (at / level.span() + 1) * level.span(),
                _ => at + PAGE_SIZE,
            };
            if let Entry::Mapped(mapping) = entry {
                return Some((VirtAddr::new(at)?, mapping));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests;
