//! Recounts everything from the tables, sharing nothing with the operations. For tests.

use std::collections::{BTreeMap, BTreeSet};

use exopi_abi::page::{FrameType, NONE, Owner, PageRecord, Stamp};
use exopi_abi::{PageNumber, VirtAddr};

use crate::model::Machine;
use crate::{Hardware, Index, Pages, Slot, Space};

mod scan;

use scan::{Leaf, Scan};

/// What was found wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The free lists are not one list of all free frames of each colour, linked both ways, with the count and
    /// the set of colours that are kept.
    FreeList(PageNumber),
    /// A record has fields that its type does not allow.
    Record(PageNumber),
    /// A frame that is not plain has a stamp, or two owners' frames have the same epoch.
    Stamp(PageNumber),
    /// Frames are not free + the kernel's + the sum over owners.
    Frames,
    /// An entry names a frame of a type that it must not name, or allows what it must not allow.
    Entry(Slot),
    /// A link that is not in use is not zero.
    Residue(Slot),
    /// A table's count of entries is wrong.
    EntryCount(PageNumber),
    /// A table, its links or a root is not named exactly once, or by another than its record says.
    Table(PageNumber),
    /// References, or those of others among them, are not the entries that name the frame.
    References(PageNumber),
    /// A frame's pins are not those that were said to be.
    Pins(PageNumber),
    /// A frame's lists are not the entries that name it.
    List(PageNumber),
}

impl Pages<'_> {
    /// Whether every invariant holds. `spaces` are all that exist.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check_invariants(&self, hw: &Machine, spaces: &[&Space]) -> Result<(), Violation> {
        self.check_pinned(hw, spaces, &BTreeMap::new())
    }

    /// The same where there are `pins`, so many of each page.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check_pinned(
        &self,
        hw: &Machine,
        spaces: &[&Space],
        pins: &BTreeMap<PageNumber, u8>,
    ) -> Result<(), Violation> {
        for (page, record) in self.numbered() {
            if record.pins() != pins.get(&page).copied().unwrap_or_default() {
                return Err(Violation::Pins(page));
            }
        }
        self.check_free_lists()?;
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
            if matches!(record.kind, FrameType::Plain | FrameType::UArea) {
                self.check_references(hw, page, record, &scan)?;
            }
        }
        Ok(())
    }

    fn numbered(&self) -> impl Iterator<Item = (PageNumber, &PageRecord)> {
        (0..).map(PageNumber::new).zip(self.records.iter())
    }

    fn check_free_lists(&self) -> Result<(), Violation> {
        let mut seen = BTreeSet::new();
        for (colour, list) in (0u32..).zip(self.free.lists) {
            let (mut at, mut previous) = (list.head, NONE);
            while at != NONE {
                let page = PageNumber::new(at);
                match self.record(page) {
                    Some(record)
                        if record.kind == FrameType::Free
                            && record.second == previous
                            && at % (self.free.mask + 1) == colour
                            && seen.insert(page) =>
                    {
                        (previous, at) = (at, record.first);
                    }
                    _ => return Err(Violation::FreeList(page)),
                }
            }
            let filled = self.free.filled >> colour & 1 == 1;
            if previous != list.tail || filled != (list.head != NONE) {
                return Err(Violation::FreeList(PageNumber::new(previous)));
            }
        }
        let free = self.numbered().filter(|(_, r)| r.kind == FrameType::Free);
        if seen.len() != self.free.count as usize || free.count() != seen.len() {
            return Err(Violation::FreeList(PageNumber::new(NONE)));
        }
        Ok(())
    }

    fn check_records(&self) -> Result<(), Violation> {
        let mut owned: BTreeMap<u64, usize> = BTreeMap::new();
        let mut stamped: BTreeMap<u64, Owner> = BTreeMap::new();
        let (mut kernel, mut free) = (0, 0);
        for (page, record) in self.numbered() {
            let bare = record.references == 0 && record.foreign == 0 && record.marks == 0;
            let fine = match record.kind {
                FrameType::Kernel => *record == PageRecord::KERNEL,
                FrameType::Plain => {
                    let head = page.get().is_multiple_of(512);
                    head || record.second == NONE
                }
                FrameType::UArea => {
                    record.references == 1 && record.marks == 0 && record.second == NONE
                }
                _ => bare,
            };
            if !fine {
                return Err(Violation::Record(page));
            }
            match record.kind {
                FrameType::Kernel => kernel += 1,
                FrameType::Free => free += 1,
                _ if record.owner == Owner::NOBODY => return Err(Violation::Record(page)),
                _ => *owned.entry(record.charged_to().word()).or_default() += 1,
            }
            if record.kind != FrameType::Plain {
                if record.stamp != Stamp::NONE {
                    return Err(Violation::Stamp(page));
                }
            } else if record.stamp.epoch() != Stamp::NONE.epoch() {
                let epoch = record.stamp.epoch().bits();
                if *stamped.entry(epoch).or_insert(record.owner) != record.owner {
                    return Err(Violation::Stamp(page));
                }
            }
        }
        if kernel + free + owned.values().sum::<usize>() != self.len()
            || free as u64 != self.free_pages()
        {
            return Err(Violation::Frames);
        }
        Ok(())
    }

    fn check_references(
        &self,
        hw: &Machine,
        page: PageNumber,
        record: &PageRecord,
        scan: &Scan,
    ) -> Result<(), Violation> {
        let pages = scan.pages.get(&page).map_or(&[][..], |leaves| leaves);
        let superpages = scan.superpages.get(&page).map_or(&[][..], |leaves| leaves);
        let all = || pages.iter().chain(superpages);
        let foreign = all().filter(|leaf| leaf.owner != record.owner).count();
        let pins = usize::from(record.pins());
        if record.references as usize != all().count() + pins
            || usize::from(record.foreign) != foreign
        {
            return Err(Violation::References(page));
        }
        self.check_list(hw, page, record.first, pages, scan)?;
        self.check_list(hw, page, record.second, superpages, scan)?;
        let block = PageNumber::new(page.get() & !511);
        let over = scan.superpages.get(&block).map_or(&[][..], |leaves| leaves);
        self.check_places(hw, page, pages.iter().chain(over), scan)
    }

    /// Whether a list holds these entries and no others.
    fn check_list(
        &self,
        hw: &Machine,
        page: PageNumber,
        head: u32,
        leaves: &[Leaf],
        scan: &Scan,
    ) -> Result<(), Violation> {
        let mut listed = BTreeSet::new();
        let (mut slot, mut previous) = (Slot::from_word(head), Slot::NONE);
        while slot != Slot::NONE {
            let links = scan.links.get(&slot.table());
            let link = hw.link(*links.ok_or(Violation::List(page))?, slot.index());
            if link.previous != previous || !listed.insert(slot) {
                return Err(Violation::List(page));
            }
            (previous, slot) = (slot, link.next);
        }
        if leaves.iter().map(|leaf| leaf.slot).collect::<BTreeSet<_>>() == listed {
            Ok(())
        } else {
            Err(Violation::List(page))
        }
    }

    /// Whether [`Pages::mappings`] tells an address and ASID that lead to each of these entries, and no others.
    fn check_places<'l>(
        &self,
        hw: &Machine,
        page: PageNumber,
        leaves: impl Iterator<Item = &'l Leaf>,
        scan: &Scan,
    ) -> Result<(), Violation> {
        let mut places = BTreeSet::new();
        for mapping in self.mappings(hw, page) {
            let root = scan.tables.iter().find(|page| {
                let record = self.record(**page);
                record.is_some_and(|record| {
                    record.kind == FrameType::Root && record.second == u32::from(mapping.asid)
                })
            });
            let mut table = *root.ok_or(Violation::List(page))?;
            let at: VirtAddr = mapping.at;
            let shifts: &[u32] = if mapping.superpage { &[30] } else { &[30, 21] };
            for shift in shifts {
                let entry = hw.entry(table, Index::truncate(at.get() >> shift));
                table = PageNumber::new((entry >> 12) as u32);
            }
            let shift = if mapping.superpage { 21 } else { 12 };
            if mapping.slot != Slot::new(table, Index::truncate(at.get() >> shift)) {
                return Err(Violation::List(page));
            }
            places.insert(mapping.slot);
        }
        if places == leaves.map(|leaf| leaf.slot).collect() {
            Ok(())
        } else {
            Err(Violation::List(page))
        }
    }
}
