//! A packet ring with its pages, mapped.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{EntryHeader, EntrySize, KERNEL, MAX_RING_PAGES, NO_NOTICE, RingShape};
use crate::domain::ObjectName;
use crate::layout::PAGE_SIZE;
use crate::{Access, Error, Object, PageNumber, VirtAddr, memory, stubs, wait};

/// A ring, and where it is read.
///
/// Its pages are mapped from one address on, and its own until [`Ring::close`]; dropping it leaves all as it is.
#[derive(Debug)]
pub struct Ring {
    name: ObjectName,
    at: VirtAddr,
    pages: [PageNumber; MAX_RING_PAGES],
    shape: RingShape,
    /// The entry that comes next.
    next: usize,
}

/// A frame that has come, in its entry. Dropping it gives the entry back to the kernel.
#[derive(Debug)]
pub struct Entry<'r> {
    /// What stands before it.
    pub header: EntryHeader,
    frame: &'r [u8],
    state: &'r AtomicU32,
}

/// What [`Ring::take`] gives.
pub type Received<'r> = Option<Entry<'r>>;

impl Entry<'_> {
    /// As much of the frame as the entry holds.
    pub const fn frame(&self) -> &[u8] {
        self.frame
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.state.store(KERNEL, Ordering::Release);
    }
}

impl Ring {
    /// Makes a ring of `pages` new pages, mapped from `at` on, where there are tables and nothing else, with entries of
    /// this size, told of by `notice` (0 to 31), if any.
    ///
    /// # Errors
    /// Those of the calls that it takes.
    pub fn create(
        at: VirtAddr,
        pages: usize,
        entry: EntrySize,
        notice: Option<u8>,
    ) -> Result<Self, Error> {
        let shape = RingShape::new(entry, pages as u64)?;
        let mut ring = Self {
            name: ObjectName::from_word(0),
            at,
            pages: [PageNumber::new(0); MAX_RING_PAGES],
            shape,
            next: 0,
        };
        for index in 0..pages {
            let place = at.plus(index as u64).ok_or(Error::BadAddress)?;
            match memory::map_new(place, Access::READ | Access::WRITE) {
                Ok(page) => ring.pages[index] = page,
                Err(error) => {
                    ring.unmap(index)?;
                    return Err(error);
                }
            }
            // SAFETY: just mapped, and nothing of the program refers to it.
            #[expect(unsafe_code, reason = "entries must be the kernel's to begin with")]
            unsafe {
                core::ptr::write_bytes(place.get() as *mut u8, 0, PAGE_SIZE as usize);
            }
        }
        let mut words = [0; MAX_RING_PAGES];
        for (word, page) in words.iter_mut().zip(&ring.pages) {
            *word = page.get().into();
        }
        let logarithm = entry.logarithm().into();
        let notice = notice.map_or(NO_NOTICE, u64::from);
        let made =
            stubs::pktring_setring(logarithm, super::bytes_of_words(&words[..pages]), notice);
        match made {
            Ok(name) => ring.name = name,
            Err(error) => {
                ring.unmap(pages)?;
                return Err(error);
            }
        }
        Ok(ring)
    }

    /// Its name.
    pub const fn name(&self) -> ObjectName {
        self.name
    }

    /// Its geometry.
    pub const fn shape(&self) -> RingShape {
        self.shape
    }

    /// Its pages, in their order.
    pub fn pages(&self) -> &[PageNumber] {
        self.pages.get(..self.shape.pages()).unwrap_or_default()
    }

    /// The state word of the entry that comes next.
    fn state(&self) -> (&AtomicU32, u64) {
        let (page, offset) = self.shape.place(self.next);
        let at = self.at.get() + page as u64 * PAGE_SIZE + offset as u64;
        // SAFETY: the ring's own pages are mapped there, and the word is aligned; the kernel writes it, too.
        #[expect(unsafe_code, reason = "memory that the kernel writes")]
        let state = unsafe { &*(at as *const AtomicU32) };
        (state, at)
    }

    /// Whether a frame is there.
    pub fn has_some(&self) -> bool {
        self.state().0.load(Ordering::Acquire) != KERNEL
    }

    /// The next frame, if one is there: without a call.
    #[expect(unsafe_code, reason = "memory that the kernel has written")]
    pub fn take(&mut self) -> Received<'_> {
        if !self.has_some() {
            return None;
        }
        let entries = self.shape.entries();
        let (_, at) = self.state();
        self.next = (self.next + 1) % entries;
        // SAFETY: an entry that is the program's is left alone by the kernel, and lies in the ring's pages, which
        // stay mapped as long as this value, from which the reference borrows, is not closed.
        let octets = unsafe { &*(at as *const [u8; EntryHeader::OCTETS]) };
        // SAFETY: as above, and aligned.
        let state = unsafe { &*(at as *const AtomicU32) };
        let header = EntryHeader::from_octets(octets);
        let stored = usize::from(header.stored).min(self.shape.entry().room());
        let from = at + EntryHeader::OCTETS as u64;
        // SAFETY: as above, and no longer than the entry.
        let frame = unsafe { core::slice::from_raw_parts(from as *const u8, stored) };
        Some(Entry {
            header,
            frame,
            state,
        })
    }

    /// Ends it and gives its pages back.
    ///
    /// # Errors
    /// Those of the calls that it takes.
    pub fn close(self) -> Result<(), Error> {
        wait::until_gone(|| stubs::pktring_delring(Object::Owned(self.name)))?;
        self.unmap(self.shape.pages())
    }

    fn unmap(&self, count: usize) -> Result<(), Error> {
        for (index, page) in self.pages.iter().take(count).enumerate() {
            let place = self.at.plus(index as u64).ok_or(Error::BadAddress)?;
            // SAFETY: the ring is gone, and nothing borrows from it.
            #[expect(unsafe_code, reason = "memory goes away")]
            unsafe {
                memory::unmap_and_give(place, *page)?;
            }
        }
        Ok(())
    }
}
