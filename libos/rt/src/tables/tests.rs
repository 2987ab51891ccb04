//! A walk finds what tables say, and never looks where no table is.

use std::boxed::Box;
use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::host;
use crate::layout::FIRST_UAREA;

/// Where the tests' mappings are: the last page below the window, and a GiB of their own.
const AT: u64 = 0x30_0000_0000;
const RW: Access = Access::READ.union(Access::WRITE);

/// Tables as memory: frame number to entries. Frame 1 is the root.
#[derive(Default)]
struct Memory(HashMap<u64, [u64; 512]>);

impl Memory {
    fn new() -> Self {
        let mut memory = Self::default();
        memory.0.insert(1, [0; 512]);
        // The root names itself; the last entry is the exposed region's.
        memory.set(1, 510, 1 << 12 | 3);
        memory.set(1, 511, 99 << 12 | 3);
        memory
    }

    fn set(&mut self, frame: u64, index: usize, entry: u64) {
        self.0.entry(frame).or_insert([0; 512])[index] = entry;
    }

    /// What the processor finds at an address: a walk of three levels from the root, a fault if one is missing.
    fn load(&self, address: u64) -> Option<u64> {
        let mut frame = 1;
        for shift in [30, 21, 12] {
            let entry = self.0.get(&frame)?[(address >> shift & 511) as usize];
            if entry & 3 != 3 {
                return None;
            }
            frame = (entry & bits::ADDRESS) >> 12;
        }
        Some(self.0.get(&frame)?[(address >> 3 & 511) as usize])
    }

    fn show(self) {
        host::show_tables(Some(Box::new(move |address| self.load(address))));
    }
}

fn page(number: u64, access: Access, bound: Access) -> u64 {
    let mut entry = number << 12 | 3 | bits::USER | u64::from(bound.bits()) << bits::BOUND_SHIFT;
    if !access.contains(Access::WRITE) {
        entry |= bits::READ_ONLY;
    }
    if !access.contains(Access::EXECUTE) {
        entry |= bits::NO_EXECUTE;
    }
    entry
}

/// A level-2 table in frame 2 and a level-3 table in frame 3, both for `AT`.
fn with_tables() -> Memory {
    let mut memory = Memory::new();
    memory.set(1, (AT >> 30) as usize, 2 << 12 | 3);
    memory.set(2, 0, 3 << 12 | 3);
    memory
}

#[test]
fn missing_tables_are_told_by_level_and_not_looked_into() {
    Memory::new().show();
    assert_eq!(entry_of(AT), Entry::NoTable(TableLevel::Two));
    assert_eq!(entry_of(FIRST_UAREA), Entry::NoTable(TableLevel::Two));
    let mut memory = with_tables();
    memory.set(2, 0, 0);
    memory.show();
    assert_eq!(entry_of(AT), Entry::NoTable(TableLevel::Three));
}

#[test]
fn what_programs_cannot_map_is_not_looked_at() {
    Memory::new().show();
    for address in [0, USER_START - 1, TABLES_BASE, u64::MAX] {
        assert_eq!(mapping_of(address), None, "{address:#x}");
    }
}

#[test]
fn pages_are_found_with_access_and_bound() {
    let mut memory = with_tables();
    let mut expected = Vec::new();
    for (index, access) in Access::POSSIBLE.into_iter().enumerate() {
        memory.set(3, index, page(0x123 + index as u64, access, Access::all()));
        expected.push(Mapping {
            page: PageNumber::new(0x123 + index as u32),
            access,
            bound: Access::all(),
            superpage: false,
        });
    }
    memory.show();
    for (index, mapping) in expected.into_iter().enumerate() {
        let address = AT + index as u64 * PAGE_SIZE;
        assert_eq!(mapping_of(address + 0xabc), Some(mapping));
        assert_eq!(note_of(address), None);
    }
}

#[test]
fn notes_are_read_where_nothing_is_mapped() {
    let note = Note::new((1 << 63) - 1).unwrap();
    let mut memory = with_tables();
    memory.set(3, 7, note.entry());
    memory.show();
    assert_eq!(note_of(AT + 7 * PAGE_SIZE), Some(note));
    assert_eq!(note_of(AT), Note::new(0));
    assert_eq!(mapping_of(AT + 7 * PAGE_SIZE), None);
}

#[test]
fn superpages_are_found_page_by_page() {
    let mut memory = with_tables();
    memory.set(2, 1, page(0x400, RW, RW) & !bits::TABLE_OR_PAGE);
    memory.show();
    let found = mapping_of(AT + TableLevel::Three.span() + 5 * PAGE_SIZE + 1);
    let expected = Mapping {
        page: PageNumber::new(0x405),
        access: RW,
        bound: RW,
        superpage: true,
    };
    assert_eq!(found, Some(expected));
}

#[test]
fn tables_are_told_from_superpages() {
    let mut memory = with_tables();
    memory.set(2, 1, page(0x400, RW, RW) & !bits::TABLE_OR_PAGE);
    memory.show();
    let table = |address, level| table_of(address, level).map(PageNumber::get);
    assert_eq!(table(AT, TableLevel::Two), Some(2));
    assert_eq!(table(AT, TableLevel::Three), Some(3));
    let next = AT + TableLevel::Three.span();
    assert_eq!(table(next, TableLevel::Three), None, "a superpage");
    assert_eq!(
        table(next + TableLevel::Three.span(), TableLevel::Three),
        None
    );
    assert_eq!(table(AT + TableLevel::Two.span(), TableLevel::Three), None);
    assert_eq!(table(TABLES_BASE, TableLevel::Two), None);
}

#[test]
fn a_walk_passes_over_what_has_no_tables() {
    let mut memory = with_tables();
    for index in [0, 3, 511] {
        memory.set(3, index, page(index as u64 + 1, RW, RW));
    }
    memory.set(3, 4, Note::new(9).unwrap().entry());
    memory.show();
    let all: Vec<_> = mappings(0, u64::MAX).collect();
    let places: Vec<_> = all
        .iter()
        .map(|(at, _)| (at.get() - AT) / PAGE_SIZE)
        .collect();
    assert_eq!(places, vec![0, 3, 511]);
    let part: Vec<_> = mappings(AT + PAGE_SIZE + 5, AT + 511 * PAGE_SIZE).collect();
    assert_eq!(part, all[1..2]);
}
