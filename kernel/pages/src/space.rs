//! Address spaces: how one is made, and the way through its tables.
//!
//! ```text
//!   38        30 29        21 20        12 11      0
//!   | root      | level 2    | level 3    | offset  |
//!     512 GiB     1 GiB        2 MiB, with a page of links
//! ```
//!
//! A space is no more than its root, its ASID and the owner of its tables. The last entry of the root is
//! the kernel's: no [`VirtAddr`] reaches it.

use exopi_abi::page::{FrameType, NONE, Owner, PageRecord};
use exopi_abi::{Access, Error, PageNumber, VirtAddr};

use crate::mappings::Leaf;
use crate::{Hardware, Index, Pages, Slot, pte};

/// An address space. Made by [`Pages::make_root`] alone, and so names a root.
#[derive(Debug, PartialEq, Eq)]
pub struct Space {
    root: PageNumber,
    asid: u16,
    owner: Owner,
}

impl Space {
    /// The frame of its level-1 table.
    #[inline(always)]
    pub const fn root(&self) -> PageNumber {
        self.root
    }

    /// Its ASID.
    #[inline(always)]
    pub const fn asid(&self) -> u16 {
        self.asid
    }

    /// To whom its tables belong, and whose pages are mapped by ownership.
    #[inline(always)]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// TTBR0_EL1 for it, with 16-bit ASIDs (TCR_EL1.AS = 1, A1 = 0).
    #[inline(always)]
    pub const fn ttbr0(&self) -> u64 {
        (self.asid as u64) << 48 | self.root.address()
    }
}

/// Where a frame is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// The entry that names it.
    pub slot: Slot,
    /// ASID of the space.
    pub asid: u16,
    /// The address there.
    pub at: VirtAddr,
}

/// What a leaf entry is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A program's memory.
    Memory,
    /// An environment's u-area: the page becomes one, with this entry as the only one.
    UArea,
}

/// Whether an entry may name a frame at EL0: the one place that decides it from the frame's type.
///
/// # Errors
/// [`Error::WrongType`], [`Error::InUse`].
#[inline(always)]
pub(crate) const fn mappable(record: &PageRecord, purpose: Purpose) -> Result<(), Error> {
    match (record.kind, purpose) {
        (FrameType::Plain, Purpose::Memory) => Ok(()),
        (FrameType::Plain, Purpose::UArea) if record.references == 0 => Ok(()),
        (FrameType::Plain, Purpose::UArea) => Err(Error::InUse),
        _ => Err(Error::WrongType),
    }
}

/// Proof that a page may become a root.
struct MakeRoot {
    page: PageNumber,
}

impl Pages<'_> {
    /// Makes `page`, a plain page of `who` that nothing refers to, the root of a new space of `who`, empty
    /// but for `exposed`: the descriptor that leads to the kernel's exposed region. No other space may
    /// have `asid`, and no TLB hold anything of it.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::OutOfRange`], [`Error::NotYours`],
    /// [`Error::WrongType`], [`Error::InUse`].
    pub fn make_root<H: Hardware>(
        &mut self,
        hw: &mut H,
        who: Owner,
        page: PageNumber,
        asid: u16,
        exposed: u64,
    ) -> Result<Space, Error> {
        let token = self.check_make_root(who, page)?;
        Ok(self.commit_make_root(hw, who, token, asid, exposed))
    }

    /// Makes `page`, a plain page of the space's owner that nothing refers to, a u-area, readable and
    /// writable at `at`, with the contents that it has. It stays there: no `remove_pte` takes it away.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoTable`], [`Error::OutOfRange`],
    /// [`Error::NotYours`], [`Error::WrongType`], [`Error::InUse`], [`Error::Occupied`].
    pub fn make_uarea<H: Hardware>(
        &mut self,
        hw: &mut H,
        space: &Space,
        at: VirtAddr,
        page: PageNumber,
    ) -> Result<(), Error> {
        let leaf = self.leaf(hw, space, at)?;
        let index = Index::in_table3(at);
        let bind = self.check_bind(hw, &leaf, index, page, space.owner, Purpose::UArea)?;
        self.update(page, |record| record.kind = FrameType::UArea);
        self.commit_bind(hw, bind, Access::READ | Access::WRITE);
        self.count_entries(leaf.table, 1);
        hw.publish();
        Ok(())
    }

    /// Every mapping of a frame, found through the links: the latest first. At most as many as the
    /// record has references.
    pub fn mappings<H: Hardware>(&self, hw: &H, page: PageNumber) -> impl Iterator<Item = Mapping> {
        let head = self.record(page).filter(|record| record.references > 0);
        let mut slot = head.map_or(Slot::NONE, |record| Slot::from_word(record.first));
        let mut left = head.map_or(0, |record| record.references);
        core::iter::from_fn(move || {
            if slot.is_none() || left == 0 {
                return None;
            }
            let mapping = self.place(slot)?;
            let links = self.links_of(slot.table())?;
            slot = hw.link(links, slot.index()).next;
            left -= 1;
            Some(mapping)
        })
    }

    /// Where a level-3 entry is, found upwards through the records.
    fn place(&self, slot: Slot) -> Option<Mapping> {
        let links = self.record(self.links_of(slot.table())?)?;
        let in_table2 = Slot::from_word(links.second);
        let in_root = Slot::from_word(self.record(in_table2.table())?.second);
        let root = self.record(in_root.table())?;
        let number =
            (in_root.index().get() << 9 | in_table2.index().get()) << 9 | slot.index().get();
        Some(Mapping {
            slot,
            asid: root.second as u16,
            at: VirtAddr::new((number as u64) << 12)?,
        })
    }

    fn check_make_root(&self, who: Owner, page: PageNumber) -> Result<MakeRoot, Error> {
        self.spare(page, who).map(|()| MakeRoot { page })
    }

    fn commit_make_root<H: Hardware>(
        &mut self,
        hw: &mut H,
        who: Owner,
        token: MakeRoot,
        asid: u16,
        exposed: u64,
    ) -> Space {
        hw.zero(token.page);
        self.update(token.page, |record| {
            record.kind = FrameType::Root;
            record.first = 0;
            record.second = u32::from(asid);
        });
        hw.set_entry(token.page, Index::LAST, exposed);
        hw.publish();
        Space {
            root: token.page,
            asid,
            owner: who,
        }
    }

    /// The level-2 table that covers `at`.
    ///
    /// # Errors
    /// [`Error::NoTable`].
    #[inline(always)]
    pub(crate) fn table2<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        at: VirtAddr,
    ) -> Result<PageNumber, Error> {
        match hw.entry(space.root, Index::in_root(at)) {
            entry if pte::is_valid(entry) => Ok(pte::frame(entry)),
            _ => Err(Error::NoTable),
        }
    }

    /// The level-3 table that covers `at`.
    ///
    /// # Errors
    /// [`Error::NoTable`].
    #[inline(always)]
    pub(crate) fn leaf<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        at: VirtAddr,
    ) -> Result<Leaf, Error> {
        let entry = hw.entry(self.table2(hw, space, at)?, Index::in_table2(at));
        if !pte::is_valid(entry) {
            return Err(Error::NoTable);
        }
        let table = pte::frame(entry);
        // A level-3 table always has links.
        let links = self.links_of(table).ok_or(Error::NoTable)?;
        Ok(Leaf { table, links })
    }

    /// The links of a level-3 table.
    #[inline(always)]
    pub(crate) fn links_of(&self, table: PageNumber) -> Option<PageNumber> {
        self.record(table)
            .map(|record| PageNumber::new(record.second))
    }

    /// Makes a frame that nothing refers to any more plain again.
    #[inline(always)]
    pub(crate) fn make_plain(&mut self, page: PageNumber) {
        self.update(page, |record| {
            record.kind = FrameType::Plain;
            record.first = NONE;
            record.second = 0;
        });
    }
}
