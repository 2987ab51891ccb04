//! The one address space that the program runs in, and the handler of its faults.
//!
//! ```text
//!   0x40_0000_0000  LAYOUT.scratch  two pages to fill pages in
//!   0x40_0020_0000  the table of regions
//!   0x40_4000_0000  LAYOUT.shadow   a byte for each page of shadowed regions
//!   0x48_0000_0000  LAYOUT.arena    regions that may be anywhere
//!   0x68_0000_0000  end of it
//! ```
//!
//! Nothing below the table of regions is mapped before it is needed; that itself takes as many pages as
//! [`init`] is told, for good, and is then never moved.

use core::hint::black_box;
use core::sync::atomic::{AtomicPtr, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::upcall::{self, Action, Handler};
use exopi_rt::{Access, VirtAddr, memory};

use crate::bare::Bare;
use crate::error::Error;
use crate::fault::Verdict;
use crate::lock::Lock;
use crate::region::{Options, Place};
use crate::regions::Slot;
use crate::space::{AddressSpace, Layout};

/// Where all this is.
pub const LAYOUT: Layout = Layout {
    arena: 0x48_0000_0000,
    arena_end: 0x68_0000_0000,
    scratch: match VirtAddr::new(0x40_0000_0000) {
        Some(at) => at,
        None => panic!("not an address that programs map"),
    },
    shadow: 0x40_4000_0000,
};

/// Where the table of regions begins.
const SLOTS: u64 = 0x40_0020_0000;

/// Regions that fit in a page of their table.
pub const REGIONS_IN_PAGE: usize = PAGE_SIZE as usize / size_of::<Slot<Bare>>();

static SPACE: Lock<Option<AddressSpace<Bare>>> = Lock::new(None);
/// Who handles faults that are none of the library's: a [`Handler`], or null.
static NEXT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Makes the address space, with a table of regions of `pages` pages, and handles the calling environment's
/// faults from now on. If there is one already, it stays as it is.
///
/// # Errors
/// No pages; those that were taken until then are lost to the program.
pub fn init(pages: u64) -> Result<(), Error> {
    SPACE.with(|space| -> Result<(), Error> {
        if space.is_none() {
            #[expect(
                unsafe_code,
                reason = "from here on the library has the program's memory"
            )]
            // SAFETY: it takes away only what its regions have mapped, and what takes those away is unsafe.
            let machine = unsafe { Bare::new() };
            *space = Some(AddressSpace::new(machine, slots(pages)?, LAYOUT)?);
        }
        Ok(())
    })??;
    attach();
    Ok(())
}

/// Handles the calling environment's faults from now on. For environments that come later to the space, unless
/// they inherit it from their maker.
pub fn attach() {
    upcall::on_fault_call(called);
}

/// What the trampoline calls.
extern "C" fn called(fault: &mut upcall::Fault<'_>) -> Action {
    handle(fault)
}

/// From now on faults that are none of the library's go to `next`; without one they end the program.
pub fn pass_on_to(next: Handler) {
    NEXT.store(next as *mut (), Ordering::Release);
}

/// Runs `work` on the address space.
///
/// # Errors
/// [`Error::Busy`] in the handler of a fault, where the fault itself has the space, and as long as there is
/// none.
pub fn with<R>(work: impl FnOnce(&mut AddressSpace<Bare>) -> R) -> Result<R, Error> {
    SPACE.with(|space| space.as_mut().map(work).ok_or(Error::Busy))?
}

/// The library's handler of faults, for programs that install one of their own and call this from it.
#[inline(always)]
pub fn handle(fault: &mut upcall::Fault<'_>) -> Action {
    // The compiler is not to know where it is: it would work out the address of each part anew.
    let verdict = black_box(&SPACE).with(|space| match space {
        Some(space) => space.fault(fault.frame()),
        None => Verdict::PassOn,
    });
    match verdict {
        Ok(Verdict::Resume | Verdict::StepOver) => Action::Resume,
        Ok(Verdict::PassOn) | Err(_) => pass_on(fault),
    }
}

#[cold]
fn pass_on(fault: &mut upcall::Fault<'_>) -> Action {
    let next = NEXT.load(Ordering::Acquire);
    if next.is_null() {
        return Action::Abort;
    }
    #[expect(unsafe_code, reason = "a function from an atomic word")]
    // SAFETY: only `pass_on_to` stores here, and what it stores is a `Handler`.
    let next = unsafe { core::mem::transmute::<*mut (), Handler>(next) };
    next(fault)
}

/// Maps `pages` pages for the table of regions.
fn slots(pages: u64) -> Result<&'static mut [Slot<Bare>], Error> {
    let first = SLOTS as *mut Slot<Bare>;
    for page in 0..pages {
        let at = VirtAddr::new(SLOTS + page * PAGE_SIZE).ok_or(Error::BadRange)?;
        memory::map_new(at, Access::READ | Access::WRITE)?;
    }
    let count = usize::try_from(pages * PAGE_SIZE).unwrap_or(0) / size_of::<Slot<Bare>>();
    for slot in 0..count {
        #[expect(unsafe_code, reason = "memory becomes a table")]
        // SAFETY: the pages were just mapped, and nothing else of the program knows them.
        unsafe {
            first.wrapping_add(slot).write(Slot::EMPTY);
        }
    }
    #[expect(unsafe_code, reason = "memory becomes a table")]
    // SAFETY: as many were just written, and they stay mapped for good.
    Ok(unsafe { core::slice::from_raw_parts_mut(first, count) })
}

/// A region of the program's address space that ends with this value.
#[derive(Debug, PartialEq, Eq)]
pub struct Memory {
    start: VirtAddr,
    pages: u64,
}

impl Memory {
    /// Memory of `pages` pages somewhere.
    ///
    /// # Errors
    /// Those of [`AddressSpace::reserve`].
    pub fn new(pages: u64, options: Options) -> Result<Self, Error> {
        let start = with(|space| space.reserve(Place::Any, pages, options))??;
        Ok(Self { start, pages })
    }

    /// Memory with the same contents; each page is shared until one of the two writes to it.
    ///
    /// # Errors
    /// Those of [`AddressSpace::copy`].
    pub fn copy(&self) -> Result<Self, Error> {
        let start = with(|space| space.copy(self.start, Place::Any))??;
        Ok(Self { start, ..*self })
    }

    /// Its first page.
    pub const fn start(&self) -> VirtAddr {
        self.start
    }

    /// How many pages it has.
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Its page `index`, if it has so many.
    pub fn page(&self, index: u64) -> Option<VirtAddr> {
        (index < self.pages).then(|| self.start.plus(index))?
    }

    /// Its first byte. Not a reference: an access may fault, and what comes of that is for its pager to say.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.get() as *mut u8
    }

    /// Its bytes.
    pub const fn len(&self) -> usize {
        (self.pages * PAGE_SIZE) as usize
    }

    /// Whether it has none, which is never so.
    pub const fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// From now on `pages` of its pages from `index` on may be used for `access`.
    ///
    /// # Errors
    /// Those of [`AddressSpace::protect`].
    pub fn protect(&self, index: u64, pages: u64, access: Access) -> Result<(), Error> {
        let at = self.page(index).ok_or(Error::NoRegion)?;
        with(|space| space.protect(at, pages, access))?
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "memory disappears")]
        // SAFETY: of these addresses only raw pointers were given away, whose users answer for the value's
        // living as long as they do.
        let released = with(|space| unsafe { space.release(self.start) });
        // It can fail only inside a handler of faults that this value does not belong to: the region stays.
        debug_assert_eq!(released, Ok(Ok(())));
    }
}
