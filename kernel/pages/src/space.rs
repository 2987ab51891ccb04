//! Address spaces: how one is made, and the way through its tables.
//!
//! ```text
//!   38        30 29        21 20        12 11      0
//!   | root      | level 2    | level 3    | offset  |
//!     512 GiB     1 GiB        2 MiB, each with a page of links
//!
//!   root[0..510]  level-2 tables      root[510]  the root itself      root[511]  the exposed region
//! ```
//!
//! A space is no more than its root, its ASID and the owner of its tables. The last two entries of the root are
//! the kernel's: no [`VirtAddr`] reaches them.

use exopi_abi::page::{FrameType, NONE, Owner, PageRecord, SUPERPAGE_PAGES};
use exopi_abi::{Error, PageNumber, VirtAddr};

use crate::right::Claim;
use crate::{Hardware, Index, Pages, Slot, pte};

/// An address space. Made by [`Pages::make_root`] and told by [`Pages::space`] alone, and so names a root: as long as
/// [`Pages::clear_space`] has not taken that away. Who keeps one keeps it no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// To whom its tables belong.
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
    /// The entry that names it, or the first frame of the superpage that it is in.
    pub slot: Slot,
    /// ASID of the space.
    pub asid: u16,
    /// The address there of the page or of the superpage.
    pub at: VirtAddr,
    /// Whether it is a superpage.
    pub superpage: bool,
}

/// All that is known of a leaf entry from its slot.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) mapping: Mapping,
    /// Whose space it is in.
    pub(crate) owner: Owner,
}

/// A table that a walk has found.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) table: PageNumber,
    pub(crate) links: PageNumber,
}

/// Whether leaf entries may be made that name a frame at EL0: the one place that decides it from the frame's type
/// and state, for pages, superpages and u-areas.
#[inline(always)]
pub(crate) const fn bindable(record: &PageRecord) -> bool {
    // One load and one comparison for both.
    let state = record.kind as u16 | ((record.marks & PageRecord::LEAVING) as u16) << 8;
    state == FrameType::Plain as u16
}

impl Pages<'_> {
    /// Makes `page`, a plain page of `who` that nothing refers to, the root of a new space of `who`, empty
    /// but for `exposed`, the descriptor that leads to the kernel's exposed region, and for itself. No other
    /// space may have `asid`, and no TLB hold anything of it.
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
        self.spare(page, Claim::Owner(who))?;
        hw.zero(page);
        self.retype(page, FrameType::Root, 0, u32::from(asid));
        // A walk that sees an entry must see the zeros around it.
        hw.publish();
        hw.set_entry(page, Index::OWN, pte::table(page));
        hw.set_entry(page, Index::LAST, exposed);
        hw.publish();
        Ok(Space {
            root: page,
            asid,
            owner: who,
        })
    }

    /// The space whose root is in `root`, if there is one.
    #[inline]
    pub fn space(&self, root: PageNumber) -> Option<Space> {
        match self.record(root) {
            Some(record) if record.kind == FrameType::Root => Some(Space {
                root,
                asid: record.second as u16,
                owner: record.owner,
            }),
            _ => None,
        }
    }

    /// Every mapping of a frame, found through the links: those as a page first, the latest first, and then
    /// those of superpages that it is in.
    pub fn mappings<H: Hardware>(&self, hw: &H, page: PageNumber) -> impl Iterator<Item = Mapping> {
        let lists = [self.slots(page), self.superpages(page)];
        lists.into_iter().flat_map(move |mut slot| {
            core::iter::from_fn(move || {
                let place = self.place(slot)?;
                let links = self.links_of(slot.table())?;
                slot = hw.link(links, slot.index()).next;
                Some(place.mapping)
            })
        })
    }

    /// The first entry that maps a frame as a page.
    #[inline(always)]
    pub(crate) fn slots(&self, page: PageNumber) -> Slot {
        match self.record(page) {
            Some(record) if is_memory(record) => Slot::from_word(record.first),
            _ => Slot::NONE,
        }
    }

    /// The first entry that maps a superpage that a frame is in.
    #[inline(always)]
    pub(crate) fn superpages(&self, page: PageNumber) -> Slot {
        match self.record(superpage_of(page)) {
            Some(record) if is_memory(record) => Slot::from_word(record.second),
            _ => Slot::NONE,
        }
    }

    /// Where a leaf entry is, found upwards through the records; `None` for no slot.
    pub(crate) fn place(&self, slot: Slot) -> Option<Place> {
        if slot.is_none() {
            return None;
        }
        let superpage = self.record(slot.table())?.kind == FrameType::Table2;
        let in_table2 = if superpage {
            slot
        } else {
            self.parent_of(slot.table())?
        };
        let in_root = self.parent_of(in_table2.table())?;
        let root = self.record(in_root.table())?;
        let last = if superpage { 0 } else { slot.index().get() };
        let number = (in_root.index().get() << 9 | in_table2.index().get()) << 9 | last;
        Some(Place {
            mapping: Mapping {
                slot,
                asid: root.second as u16,
                at: VirtAddr::new((number as u64) << 12)?,
                superpage,
            },
            owner: root.owner,
        })
    }

    /// The entry that names a table.
    pub(crate) fn parent_of(&self, table: PageNumber) -> Option<Slot> {
        let links = self.record(self.links_of(table)?)?;
        Some(Slot::from_word(links.second))
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
    /// [`Error::NoTable`]; [`Error::Occupied`] if there is a superpage instead.
    #[inline(always)]
    pub(crate) fn table3<H: Hardware>(
        &self,
        hw: &H,
        space: &Space,
        at: VirtAddr,
    ) -> Result<Table, Error> {
        let entry = hw.entry(self.table2(hw, space, at)?, Index::in_table2(at));
        if pte::is_table(entry) {
            self.with_links(pte::frame(entry))
        } else if pte::is_valid(entry) {
            Err(Error::Occupied)
        } else {
            Err(Error::NoTable)
        }
    }

    /// A table and its links, which every table has.
    ///
    /// # Errors
    /// [`Error::NoTable`] for a frame beyond the array, which no entry names.
    #[inline(always)]
    pub(crate) fn with_links(&self, table: PageNumber) -> Result<Table, Error> {
        let links = self.links_of(table).ok_or(Error::NoTable)?;
        Ok(Table { table, links })
    }

    /// The links of a table.
    #[inline(always)]
    pub(crate) fn links_of(&self, table: PageNumber) -> Option<PageNumber> {
        self.record(table)
            .map(|record| PageNumber::new(record.second))
    }
}

/// Whether `first` and `second` of a record lead to mappings.
const fn is_memory(record: &PageRecord) -> bool {
    matches!(record.kind, FrameType::Plain | FrameType::UArea)
}

/// The first frame of the 512 that a superpage with `page` in it maps.
#[inline(always)]
pub(crate) const fn superpage_of(page: PageNumber) -> PageNumber {
    PageNumber::new(page.get() & !(SUPERPAGE_PAGES as u32 - 1))
}

const _: () = assert!(Slot::NONE.word() == NONE);
