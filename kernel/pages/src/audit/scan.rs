//! A walk through all tables of all spaces: the auditor's own, with the manual's bits written out.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use exopi_abi::PageNumber;
use exopi_abi::page::{FrameType, NONE, Owner, SUPERPAGE_PAGES};

use super::Violation;
use crate::model::Machine;
use crate::{Hardware, Index, Pages, Slot, Space};

/// Where an entry's frame is.
const FRAME: u64 = 0x0000_ffff_ffff_f000;
/// All other bits of an entry that names a table: valid, table, AP = EL0 and EL1 read, inner shareable,
/// accessed, not global, PXN, UXN, PXNTable.
const TABLE: u64 = 0x0860_0000_0000_0fc3;

/// A leaf entry that was found.
#[derive(Clone, Copy)]
pub(super) struct Leaf {
    pub(super) slot: Slot,
    /// Whose space it is in.
    pub(super) owner: Owner,
}

/// What a scan of all tables has found.
#[derive(Default)]
pub(super) struct Scan {
    /// Tables, links and roots.
    pub(super) tables: BTreeSet<PageNumber>,
    /// Entries by the frame that they name as a page.
    pub(super) pages: BTreeMap<PageNumber, Vec<Leaf>>,
    /// Entries by the first frame that they name as a superpage.
    pub(super) superpages: BTreeMap<PageNumber, Vec<Leaf>>,
    /// Links by table.
    pub(super) links: BTreeMap<PageNumber, PageNumber>,
}

/// What an entry is, by its lowest bits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Invalid,
    Block,
    TableOrPage,
}

const fn form(entry: u64) -> Form {
    match entry & 0b11 {
        0b01 => Form::Block,
        0b11 => Form::TableOrPage,
        _ => Form::Invalid,
    }
}

const fn frame(entry: u64) -> PageNumber {
    PageNumber::new(((entry & FRAME) >> 12) as u32)
}

/// Where a table or its links hold anything. All other entries are zeros, and so are their links: tests scan too
/// often to look at each of 512.
fn occupied(hw: &Machine, table: PageNumber, links: PageNumber) -> impl Iterator<Item = Index> {
    let [entries, links] = [table, links].map(|page| hw.contents(page).keys().copied());
    let places: BTreeSet<usize> = entries.chain(links).collect();
    places
        .into_iter()
        .map(|place| Index::truncate(place as u64))
}

impl Pages<'_> {
    pub(super) fn scan_space(
        &self,
        hw: &Machine,
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
        let itself = hw.entry(root, Index::truncate(510));
        let exposed = hw.entry(root, Index::truncate(511));
        // As a page the kernel's table must not be EL0's: no access for it, or an access fault.
        let hidden = exposed >> 6 & 1 == 0 || exposed >> 10 & 1 == 0;
        if itself != (u64::from(root.get()) << 12 | TABLE) || !hidden {
            return Err(Violation::Entry(Slot::new(root, Index::truncate(510))));
        }
        let mut used = 0;
        let own = [510, 511].map(Index::truncate);
        let others = occupied(hw, root, root).filter(|index| !own.contains(index));
        for index in others {
            let slot = Slot::new(root, index);
            match hw.entry(root, index) {
                0 => {}
                entry if entry & !FRAME == TABLE => {
                    used += 1;
                    self.named_once(slot, frame(entry), FrameType::Table2, scan)?;
                    self.scan_table2(hw, space, frame(entry), scan)?;
                }
                _ => return Err(Violation::Entry(slot)),
            }
        }
        self.counted(root, used)
    }

    fn scan_table2(
        &self,
        hw: &Machine,
        space: &Space,
        table: PageNumber,
        scan: &mut Scan,
    ) -> Result<(), Violation> {
        let mut used = 0;
        let links = scan.links.get(&table).copied().unwrap_or(table);
        for index in occupied(hw, table, links) {
            let slot = Slot::new(table, index);
            let entry = hw.entry(table, index);
            match form(entry) {
                Form::Invalid if entry == 0 => self.unlinked(hw, slot, scan)?,
                Form::TableOrPage if entry & !FRAME == TABLE => {
                    used += 1;
                    self.unlinked(hw, slot, scan)?;
                    self.named_once(slot, frame(entry), FrameType::Table3, scan)?;
                    self.scan_table3(hw, space, frame(entry), scan)?;
                }
                Form::Block => {
                    used += 1;
                    self.check_superpage_entry(slot, entry)?;
                    let owner = space.owner();
                    let leaves = scan.superpages.entry(frame(entry)).or_default();
                    leaves.push(Leaf { slot, owner });
                }
                _ => return Err(Violation::Entry(slot)),
            }
        }
        self.counted(table, used)
    }

    fn scan_table3(
        &self,
        hw: &Machine,
        space: &Space,
        table: PageNumber,
        scan: &mut Scan,
    ) -> Result<(), Violation> {
        let mut used = 0;
        let links = scan.links.get(&table).copied().unwrap_or(table);
        for index in occupied(hw, table, links) {
            let slot = Slot::new(table, index);
            let entry = hw.entry(table, index);
            match form(entry) {
                // Nothing, or a note.
                Form::Invalid => self.unlinked(hw, slot, scan)?,
                Form::Block => return Err(Violation::Entry(slot)),
                Form::TableOrPage => {
                    used += 1;
                    self.check_page_entry(slot, entry)?;
                    let owner = space.owner();
                    let leaves = scan.pages.entry(frame(entry)).or_default();
                    leaves.push(Leaf { slot, owner });
                }
            }
        }
        self.counted(table, used)
    }

    /// A page of EL0's: a plain frame within the access that it was bound with, or a u-area.
    fn check_page_entry(&self, slot: Slot, entry: u64) -> Result<(), Violation> {
        let (write, execute, bound) = permissions(entry);
        let within = (!write || bound & 2 != 0) && (!execute || bound & 4 != 0);
        let fine = match self.record(frame(entry)).map(|record| record.kind) {
            Some(FrameType::Plain) => bound & 1 != 0 && within,
            Some(FrameType::UArea) => bound == 0 && write && !execute,
            _ => false,
        };
        if fine {
            Ok(())
        } else {
            Err(Violation::Entry(slot))
        }
    }

    /// A superpage of EL0's: 512 plain frames, never executable.
    fn check_superpage_entry(&self, slot: Slot, entry: u64) -> Result<(), Violation> {
        let (write, execute, bound) = permissions(entry);
        let first = frame(entry).get();
        let plain = |number| {
            let record = self.record(PageNumber::new(number));
            record.is_some_and(|record| record.kind == FrameType::Plain)
        };
        let within = bound & 1 != 0 && bound & 4 == 0 && (!write || bound & 2 != 0) && !execute;
        let whole = first.is_multiple_of(512) && (first..first + SUPERPAGE_PAGES as u32).all(plain);
        if within && whole {
            Ok(())
        } else {
            Err(Violation::Entry(slot))
        }
    }

    fn counted(&self, table: PageNumber, used: u32) -> Result<(), Violation> {
        match self.record(table) {
            Some(record) if record.first == used => Ok(()),
            _ => Err(Violation::EntryCount(table)),
        }
    }

    /// The link of an entry that maps nothing is zero.
    fn unlinked(&self, hw: &Machine, slot: Slot, scan: &Scan) -> Result<(), Violation> {
        match scan.links.get(&slot.table()) {
            Some(links) if hw.link(*links, slot.index()).word() == 0 => Ok(()),
            _ => Err(Violation::Residue(slot)),
        }
    }

    /// A table and its links are named by `parent`, say so, and by nothing else.
    fn named_once(
        &self,
        parent: Slot,
        table: PageNumber,
        kind: FrameType,
        scan: &mut Scan,
    ) -> Result<(), Violation> {
        let links = self.record(table).map_or(NONE, |record| record.second);
        let links = PageNumber::new(links);
        let is_table = self.record(table).is_some_and(|record| record.kind == kind);
        if !is_table || !scan.tables.insert(table) {
            return Err(Violation::Table(table));
        }
        let leads_back = self.record(links).is_some_and(|record| {
            record.kind == FrameType::Links
                && record.first == table.get()
                && record.second == parent.word()
        });
        if !leads_back || !scan.tables.insert(links) {
            return Err(Violation::Table(links));
        }
        scan.links.insert(table, links);
        Ok(())
    }
}

/// Whether an entry lets EL0 write and execute, and what it was bound with.
const fn permissions(entry: u64) -> (bool, bool, u64) {
    let write = entry >> 7 & 1 == 0;
    let execute = entry >> 54 & 1 == 0;
    (write, execute, entry >> 55 & 0b1111)
}
