//! What the page tables need of the machine: their memory, the TLBs and the caches.
//!
//! The kernel implements [`Hardware`] over its linear window; tests and the simulated kernel by a
//! model that forgets nothing which the architecture lets a core remember.
//!
//! The order of things, for a walker is an observer like any other and sees stores late, and a TLB may
//! hold anything that was ever valid and not invalidated since (ARM DDI 0487, chapter D8, "TLB
//! maintenance" with "Using break-before-make when updating translation table entries"; chapter B2,
//! "Data Synchronization Barrier"):
//!
//! ```text
//!   make     zero / sync_code ... publish   contents are there
//!            set_entry (0 -> valid) ...     any number of them
//!            publish                        DSB ISHST: every walk from now on sees them
//!
//!   break    set_entry (valid -> 0) ...     any number of them
//!            before_invalidate              DSB ISHST: no walk sees the old entries any more
//!            invalidate_page / _table ...   TLBI VAE1IS: what walks have left behind
//!            complete                       DSB ISH: gone on all cores, and their uses have finished
//!            ... the frames may change their type or owner
//!
//!   change   set_entry (valid -> valid) ... permissions alone
//!            as for a break                 from then on no core uses the old ones
//! ```
//!
//! An entry that faults is never cached, so making one needs no invalidation. An entry never goes from one
//! frame, type or size to another without a break; a change of permissions needs none (D8, "Using
//! break-before-make", lists what does). A range of n pages costs two barriers, not 2n.

use exopi_abi::layout::{self, PAGE_SIZE};
use exopi_abi::{PageNumber, VirtAddr};

use crate::links::Link;

/// Position of an entry in a table or of a link in a page of links: 0..512.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(usize);

impl Index {
    /// How many there are.
    pub const COUNT: usize = 512;
    /// The last one: in a root, the kernel's exposed region.
    pub const LAST: Index = Index(511);
    /// Of a root: the entry that names the root itself.
    pub const OWN: Index = Index::truncate(layout::TABLES_BASE >> 30);

    /// The lowest nine bits of `bits`.
    #[inline(always)]
    pub const fn truncate(bits: u64) -> Self {
        Self((bits % Self::COUNT as u64) as usize)
    }

    /// The entry of a root for `at`.
    #[inline(always)]
    pub const fn in_root(at: VirtAddr) -> Self {
        Self::truncate(at.get() >> 30)
    }

    /// The entry of a level-2 table for `at`.
    #[inline(always)]
    pub const fn in_table2(at: VirtAddr) -> Self {
        Self::truncate(at.get() >> 21)
    }

    /// The entry of a level-3 table for `at`.
    #[inline(always)]
    pub const fn in_table3(at: VirtAddr) -> Self {
        Self::truncate(at.get() >> 12)
    }

    /// The entries of one level-3 table for `length` pages from `at` on, as far as the table goes.
    #[inline(always)]
    pub(crate) fn run(at: VirtAddr, length: u64) -> impl Iterator<Item = Self> {
        let start = Self::in_table3(at).0;
        let room = Self::COUNT - start;
        (0..room.min(length as usize)).map(move |offset| Self(start + offset))
    }

    /// The same without the first `done` of them, each with its place among them.
    #[inline(always)]
    pub(crate) fn rest(at: VirtAddr, done: u64, length: u64) -> impl Iterator<Item = (Self, u64)> {
        let start = Self::in_table3(at).0;
        let room = (Self::COUNT - start) as u64;
        (done..room.min(length)).map(move |done| (Self(start + done as usize), done))
    }

    /// The entries of such a run four at a time, as long as there are four.
    #[inline(always)]
    pub(crate) fn fours(at: VirtAddr, length: u64) -> impl ExactSizeIterator<Item = [Self; 4]> {
        let start = Self::in_table3(at).0;
        let room = Self::COUNT - start;
        (0..room.min(length as usize) / 4).map(move |group| {
            let first = start + 4 * group;
            [first, first + 1, first + 2, first + 3].map(Self)
        })
    }

    /// As a number below [`Index::COUNT`].
    #[inline(always)]
    pub const fn get(self) -> usize {
        self.0
    }
}

/// A page of user space: one that programs map, or one where a space sees a table of its own.
///
/// ```text
///   for the table that covers `at`     the space sees it at      and through it, where it is walked as the last
///   of level 3                         table_entry(at)           level, at the pages of
///   of level 2                         table2_entry(at)          table_entry(at)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserPage(u64);

impl UserPage {
    /// Where a space sees the level-3 table that covers `at`.
    #[inline(always)]
    pub const fn of_table3(at: VirtAddr) -> Self {
        Self::containing(layout::table_entry(at.get()))
    }

    /// Where a space sees the level-2 table that covers `at`.
    #[inline(always)]
    pub const fn of_table2(at: VirtAddr) -> Self {
        Self::containing(layout::table2_entry(at.get()))
    }

    /// Its address.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The page `pages` on, which is in user space, too.
    #[inline(always)]
    pub(crate) const fn after(self, pages: u64) -> Self {
        Self(self.0 + pages * PAGE_SIZE)
    }

    const fn containing(address: u64) -> Self {
        Self(address & !(PAGE_SIZE - 1))
    }
}

impl From<VirtAddr> for UserPage {
    #[inline(always)]
    fn from(at: VirtAddr) -> Self {
        Self(at.get())
    }
}

/// Memory of tables and links, TLBs and caches. See the module for the order.
///
/// Frames that are passed in are ones that [`Pages`](crate::Pages) has a record of, with the type that
/// the method names.
pub trait Hardware {
    /// The entry at `index` of the table in `table`.
    fn entry(&self, table: PageNumber, index: Index) -> u64;

    /// Stores an entry, as one 64-bit access that a walker never sees half of.
    fn set_entry(&mut self, table: PageNumber, index: Index, value: u64);

    /// The link at `index` of the page of links in `links`.
    fn link(&self, links: PageNumber, index: Index) -> Link;

    /// Stores a link.
    fn set_link(&mut self, links: PageNumber, index: Index, value: Link);

    /// A word of a page that programs write, as one 64-bit access.
    fn word(&self, page: PageNumber, index: Index) -> u64;

    /// Stores a word of a page that programs read, as one 64-bit access. [`Hardware::publish`] orders it before
    /// what is stored later.
    fn set_word(&mut self, page: PageNumber, index: Index, value: u64);

    /// Fills a page with zeros.
    fn zero(&mut self, page: PageNumber);

    /// Makes what `page` holds now visible to instruction fetches of all cores, and drops instruction
    /// lines of what it held before: those may be another owner's, from before it was zeroed. (Clean to
    /// the point of unification, DSB, invalidate instruction lines, DSB: ARM DDI 0487, chapter B2,
    /// "Ordering and completion of data and instruction cache instructions".)
    fn sync_code(&mut self, page: PageNumber);

    /// Orders all stores made so far before all later stores and walks, on every core: DSB ISHST.
    fn publish(&mut self);

    /// Orders all loads and stores made so far before all later ones, as programs on every core see them: DMB ISH.
    fn fence(&mut self);

    /// Orders cleared entries before the invalidations that follow: DSB ISHST.
    fn before_invalidate(&mut self);

    /// Begins to drop what TLBs hold of the page or superpage at `at` in the space of `asid`, on all cores,
    /// without waiting for it. Walk caches may keep what led to it (TLBI VALE1IS).
    fn invalidate_page(&mut self, asid: u16, at: UserPage);

    /// Begins to drop all that TLBs and walk caches hold of every level that led to `at` in the space
    /// of `asid`, on all cores, without waiting for it (TLBI VAE1IS).
    fn invalidate_table(&mut self, asid: u16, at: UserPage);

    /// Begins to drop all that TLBs and walk caches hold of the space of `asid`, on all cores, without waiting
    /// for it (TLBI ASIDE1IS).
    fn invalidate_space(&mut self, asid: u16);

    /// Waits until invalidations that were begun have happened on all cores, and accesses through what
    /// they dropped have finished: DSB ISH.
    fn complete(&mut self);
}
