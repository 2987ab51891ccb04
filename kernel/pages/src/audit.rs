//! Recounts everything from the tables, sharing nothing with the operations. For tests.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use exopi_abi::page::{FrameType, NONE, Owner, PageRecord};
use exopi_abi::{PageNumber, VirtAddr};

use crate::{Hardware, Index, Pages, Slot, Space};

/// What was found wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The free list is not one list of all free frames, linked both ways, with the count that is kept.
    FreeList(PageNumber),
    /// A record has fields that its type does not allow.
    Record(PageNumber),
    /// Frames are not free + the kernel's + the sum over owners.
    Frames,
    /// An entry names a frame of a type that it must not name.
    Entry(Slot),
    /// An entry or link that is not in use is not zero.
    Residue(Slot),
    /// A table's count of entries is wrong.
    EntryCount(PageNumber),
    /// A table, its links or a root is not named exactly once, or by another than its record says.
    Table(PageNumber),
    /// References are not the entries that name the frame.
    References(PageNumber),
    /// A frame's list is not the entries that name it.
    List(PageNumber),
}

/// What a scan of all tables has found.
#[derive(Default)]
struct Scan {
    /// Tables, links and roots.
    tables: BTreeSet<PageNumber>,
    /// Leaf entries by the frame that they name.
    leaves: BTreeMap<PageNumber, Vec<Slot>>,
    /// Links by level-3 table.
    links: BTreeMap<PageNumber, PageNumber>,
}

impl Pages<'_> {
    /// Whether every invariant holds. `spaces` are all that exist.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check_invariants<H: Hardware>(
        &self,
        hw: &H,
        spaces: &[&Space],
    ) -> Result<(), Violation> {
        self.check_free_list()?;
        self.check_records()?;
        let mut scan = Scan::default();
        for space in spaces {
            self.scan_space(hw, space, &mut scan)?;
        }
        for (page, record) in self.numbered() {
            let table = matches!(
                record.kind,
                FrameType::Table2 | FrameType::Table3 | FrameType::Links | FrameType::Root
            );
            if table != scan.tables.contains(&page) {
                return Err(Violation::Table(page));
            }
            self.check_references(hw, page, record, &scan)?;
        }
        Ok(())
    }

    fn numbered(&self) -> impl Iterator<Item = (PageNumber, &PageRecord)> {
        (0..).map(PageNumber::new).zip(self.records.iter())
    }

    fn check_free_list(&self) -> Result<(), Violation> {
        let mut seen = BTreeSet::new();
        let (mut at, mut previous) = (self.head, NONE);
        while at != NONE {
            let page = PageNumber::new(at);
            match self.record(page) {
                Some(record) if record.kind == FrameType::Free && record.second == previous => {
                    if !seen.insert(page) {
                        return Err(Violation::FreeList(page));
                    }
                    (previous, at) = (at, record.first);
                }
                _ => return Err(Violation::FreeList(page)),
            }
        }
        let free = self.numbered().filter(|(_, r)| r.kind == FrameType::Free);
        if previous != self.tail || seen.len() != self.free as usize || free.count() != seen.len() {
            return Err(Violation::FreeList(PageNumber::new(previous)));
        }
        Ok(())
    }

    fn check_records(&self) -> Result<(), Violation> {
        let mut owned: BTreeMap<u64, usize> = BTreeMap::new();
        let (mut kernel, mut free) = (0, 0);
        for (page, record) in self.numbered() {
            let nobody = record.owner == Owner::NOBODY;
            let unreferenced = record.references == 0;
            let fine = match record.kind {
                FrameType::Kernel => *record == PageRecord::KERNEL,
                FrameType::Free => nobody && unreferenced,
                FrameType::Plain => (record.first == NONE) == unreferenced && record.second == 0,
                FrameType::UArea => record.references == 1 && record.second == 0,
                _ => unreferenced,
            };
            match record.kind {
                FrameType::Kernel => kernel += 1,
                FrameType::Free => free += 1,
                // Whoever owns a frame has been its last user since it was allocated.
                _ if nobody || record.user != record.owner => return Err(Violation::Record(page)),
                _ => *owned.entry(record.owner.word()).or_default() += 1,
            }
            if !fine || record.reserved != [0; 3] {
                return Err(Violation::Record(page));
            }
        }
        if kernel + free + owned.values().sum::<usize>() != self.len()
            || free as u64 != self.free_pages()
        {
            return Err(Violation::Frames);
        }
        Ok(())
    }

    fn scan_space<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        scan: &mut Scan,
    ) -> Result<(), Violation> {
        let root = space.root();
        let record = self.record(root).ok_or(Violation::Table(root))?;
        let fits = record.kind == FrameType::Root
            && record.second == u32::from(space.asid())
            && record.owner == space.owner();
        if !fits || !scan.tables.insert(root) {
            return Err(Violation::Table(root));
        }
        let tables2 = self.scan_table(hw, root, 511)?;
        for (slot, table2) in tables2 {
            self.named_once(table2, FrameType::Table2, slot.word(), scan)?;
            for (slot, table3) in self.scan_table(hw, table2, 512)? {
                let links = self.record(table3).map_or(NONE, |record| record.second);
                self.named_once(table3, FrameType::Table3, links, scan)?;
                let links = PageNumber::new(links);
                self.named_once(links, FrameType::Links, slot.word(), scan)?;
                if self.record(links).map(|r| r.first) != Some(table3.get()) {
                    return Err(Violation::Table(links));
                }
                scan.links.insert(table3, links);
                self.scan_leaves(hw, table3, links, scan)?;
            }
        }
        Ok(())
    }

    /// The first `count` entries of a table: slots in use, and the frames that they name.
    fn scan_table<H: Hardware>(
        &self,
        hw: &H,
        table: PageNumber,
        count: u64,
    ) -> Result<Vec<(Slot, PageNumber)>, Violation> {
        let mut found = Vec::new();
        for index in (0..count).map(Index::truncate) {
            let slot = Slot::new(table, index);
            match hw.entry(table, index) {
                0 => {}
                entry if entry & 0b11 == 0b11 => {
                    let frame = (entry >> 12) & 0xf_ffff_ffff;
                    found.push((slot, PageNumber::new(frame as u32)));
                }
                _ => return Err(Violation::Residue(slot)),
            }
        }
        match self.record(table) {
            Some(record) if record.first as usize == found.len() => Ok(found),
            _ => Err(Violation::EntryCount(table)),
        }
    }

    fn scan_leaves<H: Hardware>(
        &self,
        hw: &H,
        table: PageNumber,
        links: PageNumber,
        scan: &mut Scan,
    ) -> Result<(), Violation> {
        for (slot, frame) in self.scan_table(hw, table, 512)? {
            let entry = hw.entry(table, slot.index());
            let (writable, executable) = (entry >> 7 & 1 == 0, entry >> 54 & 1 == 0);
            let fine = match self.record(frame).map(|record| record.kind) {
                Some(FrameType::Plain) => true,
                Some(FrameType::UArea) => writable && !executable,
                _ => false,
            };
            if !fine {
                return Err(Violation::Entry(slot));
            }
            scan.leaves.entry(frame).or_default().push(slot);
        }
        for index in (0..512).map(Index::truncate) {
            if hw.entry(table, index) == 0 && hw.link(links, index).word() != 0 {
                return Err(Violation::Residue(Slot::new(table, index)));
            }
        }
        Ok(())
    }

    fn named_once(
        &self,
        table: PageNumber,
        kind: FrameType,
        second: u32,
        scan: &mut Scan,
    ) -> Result<(), Violation> {
        match self.record(table) {
            Some(record)
                if record.kind == kind && record.second == second && scan.tables.insert(table) =>
            {
                Ok(())
            }
            _ => Err(Violation::Table(table)),
        }
    }

    fn check_references<H: Hardware>(
        &self,
        hw: &H,
        page: PageNumber,
        record: &PageRecord,
        scan: &Scan,
    ) -> Result<(), Violation> {
        let named = scan.leaves.get(&page).map_or(&[][..], Vec::as_slice);
        if record.references as usize != named.len() {
            return Err(Violation::References(page));
        }
        let mut listed = BTreeSet::new();
        let mut previous = Slot::NONE;
        let mut slot = if named.is_empty() {
            Slot::NONE
        } else {
            Slot::from_word(record.first)
        };
        while slot != Slot::NONE {
            let links = scan.links.get(&slot.table());
            let link = hw.link(*links.ok_or(Violation::List(page))?, slot.index());
            if link.previous != previous || !listed.insert(slot) {
                return Err(Violation::List(page));
            }
            (previous, slot) = (slot, link.next);
        }
        if named.iter().copied().collect::<BTreeSet<Slot>>() != listed {
            return Err(Violation::List(page));
        }
        self.check_places(hw, page, scan, &listed)
    }

    /// Whether [`Pages::mappings`] tells an address and ASID that lead to each entry.
    fn check_places<H: Hardware>(
        &self,
        hw: &H,
        page: PageNumber,
        scan: &Scan,
        listed: &BTreeSet<Slot>,
    ) -> Result<(), Violation> {
        let mut places = BTreeSet::new();
        for mapping in self.mappings(hw, page) {
            let root = self.numbered().find(|(page, record)| {
                record.kind == FrameType::Root
                    && record.second == u32::from(mapping.asid)
                    && scan.tables.contains(page)
            });
            let root = root.ok_or(Violation::List(page))?.0;
            let at: VirtAddr = mapping.at;
            let mut table = root;
            for shift in [30, 21] {
                let entry = hw.entry(table, Index::truncate(at.get() >> shift));
                table = PageNumber::new((entry >> 12) as u32);
            }
            if mapping.slot != Slot::new(table, Index::truncate(at.get() >> 12)) {
                return Err(Violation::List(page));
            }
            places.insert(mapping.slot);
        }
        if places == *listed {
            Ok(())
        } else {
            Err(Violation::List(page))
        }
    }
}
