//! A region: a range of address space, what the program allows there, and who answers for its faults.
//!
//! ```text
//!   from      start                            end       to
//!    | guards  | pages ...                      | guards |
//! ```

use exopi_rt::layout::{PAGE_SIZE, USER_START};
use exopi_rt::{Access, VirtAddr};

use crate::bare::Bare;
use crate::colours::Colours;
use crate::error::Error;
use crate::machine::Machine;
use crate::pager::Pager;

/// Where a region is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the lowest gap of the arena that is large enough, at its own size's alignment if it may have
    /// superpages.
    Any,
    /// Its first page here, guard pages before it. What is mapped there becomes the region's.
    At(VirtAddr),
}

/// How a region is to be. The default is readable and writable memory that begins as zeros.
pub struct Options<M: Machine = Bare> {
    /// For people who look at the table of regions.
    pub name: &'static str,
    /// What the program may do with its pages; empty for nothing at all.
    pub access: Access,
    /// Guard pages on each side: address space in which nothing is ever mapped.
    pub guards: u64,
    /// Whether pages begin as zeros. If not, they begin with anything that this program once wrote.
    pub zeroed: bool,
    /// Which colours its pages are to have.
    pub colours: Colours,
    /// Whether 2 MiB at a multiple of as much may come as one superpage when one of its pages is touched.
    pub superpages: bool,
    /// What its faults do; none for zeros and copies.
    pub pager: Option<&'static mut dyn Pager<M>>,
}

impl<M: Machine> Default for Options<M> {
    fn default() -> Self {
        Self {
            name: "",
            access: Access::READ | Access::WRITE,
            guards: 0,
            zeroed: true,
            colours: Colours::ALL,
            superpages: false,
            pager: None,
        }
    }
}

impl<M: Machine> core::fmt::Debug for Options<M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("access", &self.access)
            .field("guards", &self.guards)
            .field("superpages", &self.superpages)
            .finish_non_exhaustive()
    }
}

/// A region, as the table has it. Its size is a power of two, which an index is quickly multiplied by.
#[repr(align(128))]
pub struct Region<M: Machine> {
    /// First address, guard pages included.
    pub(crate) from: u64,
    /// Bytes, guard pages included; 0 for no region.
    pub(crate) size: u64,
    /// Its first page, by which it is named.
    pub(crate) start: VirtAddr,
    /// Its pages.
    pub(crate) pages: u64,
    /// What the program may do where nothing else was said of a page.
    pub(crate) access: Access,
    /// See [`Options::zeroed`].
    pub(crate) zeroed: bool,
    /// See [`Options::superpages`].
    pub(crate) superpages: bool,
    /// Whether pages have a byte each that may say another access; see `protect`.
    pub(crate) shadowed: bool,
    /// Whether it has a pager, though that may be at work now.
    pub(crate) paged: bool,
    /// Whether some of its pages may be mapped elsewhere too, to be copied at the first write.
    pub(crate) shared: bool,
    /// See [`Options::colours`].
    pub(crate) colours: Colours,
    /// See [`Options::pager`].
    pub(crate) pager: Option<&'static mut dyn Pager<M>>,
    /// See [`Options::name`].
    pub(crate) name: &'static str,
}

impl<M: Machine> Region<M> {
    /// No region: no address is in it.
    pub(crate) const NONE: Self = Self {
        from: 0,
        size: 0,
        start: match VirtAddr::new(USER_START) {
            Some(at) => at,
            None => panic!("the lowest address that programs map"),
        },
        pages: 0,
        access: Access::empty(),
        zeroed: false,
        superpages: false,
        shadowed: false,
        paged: false,
        shared: false,
        colours: Colours::ALL,
        pager: None,
        name: "",
    };

    /// A region of `pages` pages from `start` on.
    pub(crate) fn new(start: VirtAddr, pages: u64, options: Options<M>) -> Result<Self, Error> {
        let guards = bytes(options.guards)?;
        let from = start.get().checked_sub(guards).ok_or(Error::BadRange)?;
        let end = end_of(start, pages)?;
        let to = end.checked_add(guards).ok_or(Error::BadRange)?;
        // Guard pages are nothing that could be mapped, but they must be address space.
        let last = to.checked_sub(PAGE_SIZE).and_then(VirtAddr::new);
        if pages == 0 || last.is_none() || VirtAddr::new(from).is_none() {
            return Err(Error::BadRange);
        }
        Ok(Self {
            from,
            size: to - from,
            start,
            pages,
            access: options.access,
            zeroed: options.zeroed,
            superpages: options.superpages,
            shadowed: false,
            paged: options.pager.is_some(),
            shared: false,
            colours: options.colours,
            pager: options.pager,
            name: options.name,
        })
    }

    /// Whether `address` is in it or in one of its guard pages.
    #[inline(always)]
    pub(crate) const fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.from) < self.size
    }

    /// First address beyond it, guard pages included.
    pub(crate) const fn to(&self) -> u64 {
        self.from + self.size
    }

    /// First address beyond its pages.
    pub(crate) const fn end(&self) -> u64 {
        self.start.get() + self.pages * PAGE_SIZE
    }

    /// Whether `at` and the pages that follow it, `pages` in all, are its own.
    #[inline(always)]
    pub(crate) fn covers(&self, at: VirtAddr, pages: u64) -> bool {
        let inside = at.get().wrapping_sub(self.start.get()) / PAGE_SIZE;
        inside < self.pages && pages <= self.pages - inside && pages != 0
    }

    /// What everybody may know of it.
    pub(crate) fn info(&self) -> RegionInfo {
        RegionInfo {
            name: self.name,
            start: self.start,
            pages: self.pages,
            guards: (self.start.get() - self.from) / PAGE_SIZE,
            access: self.access,
        }
    }
}

/// What is known of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// For people.
    pub name: &'static str,
    /// Its first page.
    pub start: VirtAddr,
    /// Its pages.
    pub pages: u64,
    /// Guard pages on each side.
    pub guards: u64,
    /// What the program may do with pages of which nothing else was said.
    pub access: Access,
}

/// Bytes of `pages` pages.
pub(crate) fn bytes(pages: u64) -> Result<u64, Error> {
    pages.checked_mul(PAGE_SIZE).ok_or(Error::BadRange)
}

/// First address beyond `pages` pages from `at` on.
pub(crate) fn end_of(at: VirtAddr, pages: u64) -> Result<u64, Error> {
    at.get().checked_add(bytes(pages)?).ok_or(Error::BadRange)
}

/// The page `pages` pages on from `at`.
pub(crate) fn page_at(at: VirtAddr, pages: u64) -> Result<VirtAddr, Error> {
    at.plus(pages).ok_or(Error::BadRange)
}
