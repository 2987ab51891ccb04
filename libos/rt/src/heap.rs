//! The program's heap: a first-fit list of holes that grows page by page, as it is used.
//!
//! It lies at a fixed place of the address space, which is the program's to choose: from
//! [`START`] up, at most [`LIMIT`] bytes. Pages that it took it keeps.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use linked_list_allocator::Heap;
use spin::Mutex;

use crate::layout::PAGE_SIZE;
use crate::{Access, Error, VirtAddr, exposed, local, memory, upcall, wait};

/// Where the heap begins: far above any program, far below the first environment's stack.
pub const START: u64 = 0x10_0000_0000;
/// Most bytes that it can grow to: more than a board has.
pub const LIMIT: u64 = 1 << 30;

/// Maps so many pages from an address on, readable and writable, where nothing is mapped; returns how many
/// of them there are now. It must not use the heap.
pub type Source = fn(VirtAddr, u64) -> u64;

/// Where more pages come from; null for [`map_new`].
static SOURCE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// From now on the heap's pages come from `source`. Without one they are any that are free.
pub fn set_source(source: Source) {
    SOURCE.store(source as *mut (), Ordering::Release);
}

/// Maps pages by the bare calls.
fn map_new(at: VirtAddr, pages: u64) -> u64 {
    let access = Access::READ | Access::WRITE;
    let came = |page| {
        at.plus(page)
            .is_some_and(|at| memory::map_new(at, access).is_ok())
    };
    (0..pages)
        .position(|page| !came(page))
        .map_or(pages, |count| count as u64)
}

/// The source in force.
#[expect(unsafe_code, reason = "a function from an atomic word")]
fn source() -> Source {
    let source = SOURCE.load(Ordering::Acquire);
    if source.is_null() {
        return map_new;
    }
    // SAFETY: only `set_source` stores here, and what it stores is a `Source`.
    unsafe { core::mem::transmute::<*mut (), Source>(source) }
}

/// Bytes that a hole needs for its own list entry, and the allocator for rounding.
const SLACK: usize = 4 * size_of::<usize>();

/// The heap, and how far it has grown.
struct Growing {
    heap: Heap,
    pages: u64,
}

/// The allocator behind `alloc`.
///
/// Environments of one space share it, and wait for each other. An allocation by an upcall handler that has
/// interrupted the allocator is refused: it would wait for itself. So is one that no page is left for;
/// `alloc` makes a panic of both.
#[derive(Debug)]
pub struct Allocator {
    /// Address of the u-area of the environment that is inside; 0 for none. Who gets in here finds the state
    /// unlocked.
    inside: AtomicU64,
    state: Mutex<Growing>,
}

impl core::fmt::Debug for Growing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Growing")
            .field("pages", &self.pages)
            .finish_non_exhaustive()
    }
}

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: Allocator = Allocator {
    inside: AtomicU64::new(0),
    state: Mutex::new(Growing {
        heap: Heap::empty(),
        pages: 0,
    }),
};

/// Pages that the heap has taken so far, without the tables over them.
pub fn pages() -> u64 {
    HEAP.with(|state| state.pages).unwrap_or(0)
}

impl Allocator {
    /// Works on the state when it is this environment's turn; not at all if this environment is inside already, as an
    /// upcall's handler finds it.
    fn with<T>(&self, work: impl FnOnce(&mut Growing) -> T) -> Option<T> {
        // A thread of this environment that interrupts another one would be refused.
        let _masked = upcall::mask();
        let me = local::uarea() as u64;
        let mut turn = 0;
        while let Err(holder) =
            self.inside
                .compare_exchange_weak(0, me, Ordering::Acquire, Ordering::Relaxed)
        {
            if holder == me {
                return None;
            }
            turn += 1;
            wait::pause(turn);
        }
        let done = work(&mut self.state.lock());
        self.inside.store(0, Ordering::Release);
        Some(done)
    }
}

impl Growing {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if let Ok(found) = self.heap.allocate_first_fit(layout) {
            return Some(found);
        }
        let more = layout.size().checked_add(layout.align())?;
        self.grow(more.checked_add(SLACK)?).ok()?;
        self.heap.allocate_first_fit(layout).ok()
    }

    /// Adds pages for `bytes` more. If they run out on the way, those that came stay in the heap.
    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let wanted = (bytes as u64).div_ceil(PAGE_SIZE);
        // What cannot succeed should not take all that is left on the way to its refusal.
        if wanted > exposed::free_pages() || self.pages + wanted > LIMIT / PAGE_SIZE {
            return Err(Error::Exhausted);
        }
        let at = VirtAddr::new(START + self.pages * PAGE_SIZE).ok_or(Error::BadAddress)?;
        let came = source()(at, wanted).min(wanted);
        if came > 0 {
            self.add_pages(at, came);
        }
        if came < wanted {
            return Err(Error::Exhausted);
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "fresh memory is handed to the allocator")]
    fn add_pages(&mut self, at: VirtAddr, count: u64) {
        let bytes = (count * PAGE_SIZE) as usize;
        if self.pages == 0 {
            // SAFETY: the pages were just mapped, writable, and nothing else of the program knows them.
            unsafe { self.heap.init(at.get() as *mut u8, bytes) };
        } else {
            // SAFETY: the pages were just mapped, writable, right behind the ones before them.
            unsafe { self.heap.extend(bytes) };
        }
        self.pages += count;
    }
}

#[expect(unsafe_code, reason = "the trait of allocators is unsafe")]
// SAFETY: memory comes from one list of holes under a lock; the list gives each byte out once. A
// refusal is a null pointer, never a panic.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.with(|state| state.allocate(layout)).flatten() {
            Some(found) => found.as_ptr(),
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // A handler that frees while it interrupts the allocator loses the memory, which is better
        // than waiting for ever.
        if let Some(memory) = NonNull::new(memory) {
            // SAFETY: the caller says that it came from here with this layout.
            let _lost = self.with(|state| unsafe { state.heap.deallocate(memory, layout) });
        }
    }
}
