//! What the libOS keeps of each environment: words in its u-area's page, behind what the kernel uses.
//!
//! ```text
//!   TPIDRRO_EL0 --> UArea    entries, frames, saved state: shared with the kernel
//!                   Local    handlers, their stacks, the environment's name, words for libraries
//! ```
//!
//! Environments of one space share everything else, statics included. This page is the one thing that
//! each has of its own and that a register tells it, with no call and no lock.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::layout::PAGE_SIZE;
use crate::uarea::UArea;

/// How many classes of upcalls have handlers here: faults and notices, the first ones.
pub(crate) const HANDLED: usize = 2;

/// How many words there are for libraries and programs.
pub const WORDS: usize = 16;

/// All of it. Atomic, because an upcall's handler comes between any two instructions; never shared with
/// another core.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Local {
    /// What the trampolines call, by class; null for none.
    pub(crate) functions: [AtomicPtr<()>; HANDLED],
    /// Rust handlers by class, which this crate's own functions call.
    pub(crate) handlers: [AtomicPtr<()>; HANDLED],
    /// First addresses above the handlers' stacks, by class; 0 for those of the program's first environment.
    pub(crate) stacks: [AtomicU64; HANDLED],
    /// The environment's name as a word; 0 if it has not been found out yet.
    pub(crate) name: AtomicU64,
    /// Not 0 while a panic is being told.
    pub(crate) panicking: AtomicU64,
    /// For libraries and programs.
    words: [AtomicU64; WORDS],
}

/// Where it is in the page.
pub(crate) const OFFSET: usize = size_of::<UArea>().next_multiple_of(align_of::<Local>());

const _: () = assert!(OFFSET + size_of::<Local>() <= PAGE_SIZE as usize);

/// One of the words that each environment has for itself, 0 when it begins.
///
/// Who uses which is agreed within a program: the lower half is for libraries of this tree, in the order
/// in which they came, the upper half for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(usize);

impl Word {
    /// Word `index`, less than [`WORDS`].
    pub const fn new(index: usize) -> Option<Self> {
        if index < WORDS {
            Some(Self(index))
        } else {
            None
        }
    }

    fn place(self) -> Option<&'static AtomicU64> {
        own().words.get(self.0)
    }

    /// The calling environment's.
    pub fn get(self) -> u64 {
        self.place().map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Sets the calling environment's.
    pub fn set(self, value: u64) {
        if let Some(word) = self.place() {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// The calling environment's u-area.
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "a register is read by an instruction")]
#[inline(always)]
pub fn uarea() -> *mut UArea {
    let at: *mut UArea;
    // SAFETY: it changes nothing. `pure` and `readonly`, so that it is read once between two stores or calls
    // and again after them: for an environment the register never changes, but a thread of a library may
    // have gone on in another environment when a call returns.
    unsafe {
        core::arch::asm!(
            "mrs {}, tpidrro_el0",
            out(reg) at,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    at
}

/// The calling thread's page that stands for a u-area: off target nobody delivers upcalls, but what is
/// kept there is kept.
#[cfg(not(target_os = "none"))]
pub fn uarea() -> *mut UArea {
    use std::boxed::Box;

    #[repr(C, align(4096))]
    struct Page([u64; PAGE_SIZE as usize / 8]);

    std::thread_local! {
        static PAGE: *mut UArea = Box::into_raw(Box::new(Page([0; _]))).cast();
    }
    PAGE.with(|page| *page)
}

/// What is kept of the calling environment. It must not be handed to another one.
#[expect(
    unsafe_code,
    reason = "the page is at an address that a register tells"
)]
pub(crate) fn own() -> &'static Local {
    let at = uarea().wrapping_byte_add(OFFSET).cast::<Local>();
    // SAFETY: the page is mapped and writable for as long as the environment runs; the kernel touches
    // nothing of it behind its own part, and all words here are atomic, for which every value is good.
    unsafe { &*at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_environment_has_words_of_its_own() {
        let word = Word::new(WORDS - 1).unwrap();
        assert_eq!(Word::new(WORDS), None);
        word.set(5);
        let other = std::thread::spawn(move || {
            let before = word.get();
            word.set(6);
            before
        });
        assert_eq!(other.join().unwrap(), 0);
        assert_eq!(word.get(), 5);
    }
}
