//! Keeping notices away for a moment.
//!
//! ```text
//!   mask:     masked := 1                         a notice that comes now sets `waiting`
//!   unmask:   masked := 0;  waiting? --> upcall_deliver
//! ```
//!
//! In this order nothing is lost: one that comes after `masked` is 0 is delivered by itself, one that
//! came before has set `waiting`.

use core::marker::PhantomData;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use crate::local::uarea;
use crate::stubs;
use crate::uarea::UArea;

/// Keeps notices from the environment that made it for as long as it lives. May be nested.
#[derive(Debug)]
#[must_use = "notices are kept away until it is dropped"]
pub struct Masked {
    /// What was there before: not zero inside another one.
    before: u64,
    /// It is one environment's: no other one may drop it.
    own: PhantomData<*mut ()>,
}

impl Masked {
    /// For code that goes on where other code has masked notices and gone elsewhere, as a thread that begins
    /// where another one has given its core away. Dropped, it lets them come.
    pub const fn taken_over() -> Self {
        Self {
            before: 0,
            own: PhantomData,
        }
    }
}

/// Keeps notices away until what it returns is dropped.
pub fn mask() -> Masked {
    let masked = word(offset_of!(UArea, masked));
    // In two steps, since a notice that comes between them leaves the word as it found it.
    let before = masked.load(Ordering::Relaxed);
    masked.store(1, Ordering::Relaxed);
    // The kernel acts on this core, between two instructions: what must not be moved, the compiler moves.
    compiler_fence(Ordering::SeqCst);
    Masked {
        before,
        own: PhantomData,
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        word(offset_of!(UArea, masked)).store(self.before, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        if self.before == 0 && word(offset_of!(UArea, waiting)).load(Ordering::Relaxed) != 0 {
            deliver();
        }
    }
}

/// Runs `work` with notices kept away; those that came meanwhile come at its end.
pub fn masked<T>(work: impl FnOnce() -> T) -> T {
    let _masked = mask();
    work()
}

#[expect(unsafe_code, reason = "a handler runs, with any effect")]
fn deliver() {
    // SAFETY: the handler is the program's own, and runs as if the notice had come after this
    // instruction, where any may come.
    let delivered = unsafe { stubs::upcall_deliver() };
    // The call has no refusals.
    debug_assert_eq!(delivered, Ok(()));
}

/// A word of the u-area that the kernel looks at, or sets, while the environment runs.
#[expect(
    unsafe_code,
    reason = "the u-area is at an address that a register tells"
)]
fn word(offset: usize) -> &'static AtomicU64 {
    // SAFETY: the page is mapped, writable and aligned for as long as the environment runs, and nothing but
    // atomic accesses of the program's own ever reaches these words besides the kernel's.
    unsafe { AtomicU64::from_ptr(uarea().wrapping_byte_add(offset).cast()) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::{Call, Reply, host};

    /// Counts deliveries, each of which does what the kernel does to `waiting`.
    fn kernel() -> Rc<Cell<u32>> {
        let delivered = Rc::new(Cell::new(0));
        let count = delivered.clone();
        host::serve(move |call, _| {
            assert_eq!(call, Call::upcall_deliver);
            assert_eq!(word(offset_of!(UArea, masked)).load(Ordering::Relaxed), 0);
            word(offset_of!(UArea, waiting)).store(0, Ordering::Relaxed);
            count.set(count.get() + 1);
            Reply::success(0)
        });
        delivered
    }

    #[test]
    fn what_waited_is_delivered_once_when_the_outermost_mask_goes() {
        let delivered = kernel();
        masked(|| {
            masked(|| word(offset_of!(UArea, waiting)).store(1, Ordering::Relaxed));
            assert_eq!(delivered.get(), 0);
            assert_ne!(word(offset_of!(UArea, masked)).load(Ordering::Relaxed), 0);
        });
        assert_eq!(delivered.get(), 1);
        host::install(None);
    }

    #[test]
    fn nothing_is_asked_when_nothing_waited() {
        let delivered = kernel();
        assert_eq!(masked(|| 7), 7);
        assert_eq!(delivered.get(), 0);
        host::install(None);
    }
}
