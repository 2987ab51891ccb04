//! Stacks: where they come from, and where their guards are.
#![expect(unsafe_code, reason = "memory by its address")]

use core::mem::MaybeUninit;
use core::ops::Range;

use exopi_rt::layout::PAGE_SIZE;
use exopi_vm::program::Memory;

use crate::error::Error;

/// Pages of a stack, unless one says otherwise: 32 KiB.
pub const STACK_PAGES: u64 = 8;

/// Sixteen bytes at an address that stack pointers may have.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Unit(pub [MaybeUninit<u8>; 16]);

/// Memory of a program's own for a stack, in a static for instance.
pub type Given = &'static mut [Unit];

/// A thread's stack.
#[derive(Debug)]
pub enum Stack {
    /// A region of the address space, with a page on each side in which nothing is ever mapped.
    Guarded(Memory),
    /// Memory without guards.
    Given(Given),
    /// Off target: room for what a thread begins with. The stack is the host's.
    #[cfg(not(target_os = "none"))]
    Host(Box<[Unit]>),
}

impl Stack {
    /// A stack of so many pages between guards. All its pages are mapped now: a thread may hold the lock of the
    /// address space, or have masked upcalls, when it touches one for the first time.
    ///
    /// # Errors
    /// Those of the address space.
    #[cfg(target_os = "none")]
    pub fn guarded(pages: u64) -> Result<Self, Error> {
        use exopi_vm::{Options, program};
        let options = Options {
            name: "stack",
            guards: 1,
            zeroed: false,
            ..Options::default()
        };
        let memory = Memory::new(pages, options)?;
        program::with(|space| space.populate(memory.start(), pages))??;
        Ok(Self::Guarded(memory))
    }

    /// Off target it holds no more than what a thread begins with.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "none"))]
    pub fn guarded(pages: u64) -> Result<Self, Error> {
        let units = (pages * PAGE_SIZE) as usize / size_of::<Unit>();
        let units = std::vec![Unit([MaybeUninit::uninit(); 16]); units];
        Ok(Self::Host(units.into_boxed_slice()))
    }

    /// Its addresses, from the lowest to the first above it.
    pub fn range(&self) -> Range<u64> {
        let (at, bytes) = match self {
            Self::Guarded(memory) => (memory.start().get(), memory.len() as u64),
            Self::Given(units) => (units.as_ptr() as u64, size_of_val(&**units) as u64),
            #[cfg(not(target_os = "none"))]
            Self::Host(units) => (units.as_ptr() as u64, size_of_val(&**units) as u64),
        };
        at..at + bytes
    }

    /// Whether an address is in a guard of it.
    pub fn is_guard(&self, address: u64) -> bool {
        let Range { start, end } = self.range();
        matches!(self, Self::Guarded(_))
            && ((start - PAGE_SIZE..start).contains(&address)
                || (end..end + PAGE_SIZE).contains(&address))
    }

    /// Its first byte, to write with.
    fn base(&mut self) -> *mut u8 {
        match self {
            Self::Guarded(memory) => memory.as_ptr(),
            Self::Given(units) => units.as_mut_ptr().cast(),
            #[cfg(not(target_os = "none"))]
            Self::Host(units) => units.as_mut_ptr().cast(),
        }
    }

    /// Puts a value at its upper end, and returns where it is: below begins the stack.
    pub(crate) fn place<T>(&mut self, value: T) -> Result<*mut T, Error> {
        let range = self.range();
        let below = (range.end - size_of::<T>() as u64).min(range.end);
        let align = (align_of::<T>() as u64).max(16);
        let at = below - below % align;
        // Room for what a function keeps, and a few calls.
        let least = range.start.checked_add(MINIMUM).ok_or(Error::NoRoom)?;
        if size_of::<T>() as u64 > range.end - range.start || at < least {
            return Err(Error::NoRoom);
        }
        let place = self
            .base()
            .wrapping_add((at - range.start) as usize)
            .cast::<T>();
        // SAFETY: it is inside the stack, aligned, and nothing else uses that yet.
        unsafe { place.write(value) };
        Ok(place)
    }
}

/// The least that must be left of a stack: bytes.
const MINIMUM: u64 = 2048;
