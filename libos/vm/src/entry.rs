//! Reading the program's own page tables (VMSAv8-64 stage 1, 4 KiB granule: ARM DDI 0487, D8.3).
//!
//! The kernel lets every space see its tables below [`layout::TABLES_BASE`]. What lies there for an address
//! faults if a table is missing on the way, so a walk starts at the root, which is always there.

use exopi_rt::layout::{self, PAGE_SIZE};
use exopi_rt::{Access, Note, PageNumber, TableLevel, VirtAddr};

const VALID: u64 = 1;
/// At level 2: a table, not a superpage.
const TABLE: u64 = 1 << 1;
/// AP[1]: EL0 has access.
const EL0: u64 = 1 << 6;
/// AP[2]: nobody writes.
const READ_ONLY: u64 = 1 << 7;
const FRAME: u64 = 0x0000_ffff_ffff_f000;
const NO_EXECUTE: u64 = 1 << 54;
/// What the entry was bound with: three bits of [`Access`].
const BOUND_SHIFT: u32 = 55;

/// What a mapping says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The page.
    pub page: PageNumber,
    /// What it may be used for.
    pub access: Access,
    /// What it was bound with; `protect_pte` moves within this.
    pub bound: Access,
}

/// What there is for a page of address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The table of this level is missing, so nothing is mapped.
    NoTable(TableLevel),
    /// Nothing is mapped; the entry holds this.
    Vacant(Note),
    /// A page.
    Page(Mapping),
    /// A part of a superpage; the mapping's page is the one at this address.
    Superpage(Mapping),
}

impl Entry {
    /// The entry for `at`; `read` loads a word of the tables at an address that is mapped.
    pub fn walk(at: VirtAddr, read: impl Fn(u64) -> u64) -> Self {
        let leaf = layout::table_entry(at.get());
        let middle = layout::table_entry(leaf);
        if read(layout::table_entry(middle)) & VALID == 0 {
            return Self::NoTable(TableLevel::Two);
        }
        let word = read(middle);
        match word & (VALID | TABLE) {
            VALID => {
                let mut mapping = Mapping::decode(word);
                let inside = (at.get() % TableLevel::Three.span()) / PAGE_SIZE;
                // Its address is that of 512 pages at a multiple of 512, so nothing carries.
                mapping.page = PageNumber::new(mapping.page.get() | inside as u32);
                Self::Superpage(mapping)
            }
            word if word & VALID != 0 => Self::of_leaf(read(leaf)),
            _ => Self::NoTable(TableLevel::Three),
        }
    }

    /// The entry in a word of a level-3 table.
    pub fn of_leaf(word: u64) -> Self {
        if word & VALID == 0 {
            Self::Vacant(Note::of_entry(word))
        } else {
            Self::Page(Mapping::decode(word))
        }
    }

    /// What is mapped, of whatever size.
    pub const fn mapping(self) -> Option<Mapping> {
        match self {
            Self::Page(mapping) | Self::Superpage(mapping) => Some(mapping),
            Self::NoTable(_) | Self::Vacant(_) => None,
        }
    }
}

impl Mapping {
    /// What a valid entry says.
    fn decode(word: u64) -> Self {
        let mut access = Access::empty();
        access.set(Access::READ, word & EL0 != 0);
        access.set(Access::WRITE, word & (EL0 | READ_ONLY) == EL0);
        access.set(Access::EXECUTE, word & NO_EXECUTE == 0);
        Self {
            page: table_in(word),
            access,
            bound: Access::from_bits_truncate((word >> BOUND_SHIFT) as u8),
        }
    }
}

/// The frame that a valid entry names: a page, the first page of a superpage, or a table.
pub(crate) fn table_in(word: u64) -> PageNumber {
    PageNumber::new(((word & FRAME) / PAGE_SIZE) as u32)
}

/// The table of `level` that covers `at`, if there is one; `read` as for [`Entry::walk`].
pub(crate) fn table_of(
    at: VirtAddr,
    level: TableLevel,
    read: impl Fn(u64) -> u64,
) -> Option<PageNumber> {
    let middle = layout::table2_entry(at.get());
    let root = read(layout::table_entry(middle));
    let word = match level {
        _ if root & VALID == 0 => 0,
        TableLevel::Two => root,
        TableLevel::Three => read(middle),
    };
    (word & (VALID | TABLE) == VALID | TABLE).then(|| table_in(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: VirtAddr = VirtAddr::new(0x50_1234_5000).unwrap();
    const PAGE: u64 = 0x60_0000_0123_4f43 | 0b111 << BOUND_SHIFT;

    fn tables(root: u64, middle: u64, leaf: u64) -> impl Fn(u64) -> u64 {
        let leaf_at = layout::table_entry(AT.get());
        let middle_at = layout::table2_entry(AT.get());
        move |address| match address {
            _ if address == leaf_at => {
                assert!(middle & 3 == 3 && root & 1 == 1, "faults");
                leaf
            }
            _ if address == middle_at => {
                assert!(root & 1 == 1, "faults");
                middle
            }
            _ => {
                assert_eq!(address, layout::table_entry(middle_at));
                root
            }
        }
    }

    #[test]
    fn a_walk_ends_where_a_table_is_missing() {
        let entry = |root, middle, leaf| Entry::walk(AT, tables(root, middle, leaf));
        assert_eq!(entry(0, 9, 9), Entry::NoTable(TableLevel::Two));
        assert_eq!(entry(3, 0, 9), Entry::NoTable(TableLevel::Three));
        let note = Note::new(21).unwrap();
        assert_eq!(entry(3, 3, 42), Entry::Vacant(note));
        assert_eq!(table_of(AT, TableLevel::Two, tables(0, 9, 9)), None);
        assert_eq!(table_of(AT, TableLevel::Three, tables(3, 1, 9)), None);
        assert_eq!(
            table_of(AT, TableLevel::Three, tables(3, 0x7003, 9)),
            Some(PageNumber::new(7))
        );
    }

    #[test]
    fn a_page_tells_access_and_bound() {
        let mapping = Entry::walk(AT, tables(3, 3, PAGE)).mapping().unwrap();
        assert_eq!(mapping.page, PageNumber::new(0x1234));
        assert_eq!(mapping.access, Access::READ | Access::WRITE);
        assert_eq!(mapping.bound, Access::all());
        let read_only = Mapping::decode(PAGE | READ_ONLY).access;
        assert_eq!(read_only, Access::READ);
        let executable = Mapping::decode((PAGE | READ_ONLY) & !NO_EXECUTE).access;
        assert_eq!(executable, Access::READ | Access::EXECUTE);
    }

    #[test]
    fn a_part_of_a_superpage_is_a_page_of_its_own() {
        let word = PAGE & !FRAME & !TABLE | 0x4000_0000;
        let entry = Entry::walk(AT, tables(3, word, 0));
        let Entry::Superpage(mapping) = entry else {
            panic!("{entry:?}");
        };
        assert_eq!(mapping.page, PageNumber::new(0x4_0000 + 0x145));
    }
}
