//! Places for frames that are being sent, each used again when as many have gone.
#![expect(unsafe_code, reason = "memory that the kernel and a device read")]

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::net::MAX_IN_FLIGHT;
use exopi_rt::{Access, PageNumber};

use super::{Completion, Error, Piece, Send, VirtAddr, memory, time};

/// Pages of places, two in each, and one more for the count.
const PAGES: usize = MAX_IN_FLIGHT as usize / 4;
const PLACES: u64 = 2 * PAGES as u64;
/// Bytes of a place.
const PLACE: u64 = PAGE_SIZE / 2;

/// The places.
pub struct Out {
    at: VirtAddr,
    pages: [PageNumber; PAGES + 1],
    sent: u64,
}

impl Out {
    /// Places from `at` on, where nothing is mapped.
    ///
    /// # Errors
    /// Those of the calls that it takes.
    pub fn new(at: VirtAddr) -> Result<Self, Error> {
        let mut pages = [PageNumber::new(0); PAGES + 1];
        for (index, page) in pages.iter_mut().enumerate() {
            let place = at.plus(index as u64).ok_or(Error::BadAddress)?;
            *page = memory::map_new(place, Access::READ | Access::WRITE)?;
        }
        let out = Self { at, pages, sent: 0 };
        out.count().store(0, Ordering::Relaxed);
        Ok(out)
    }

    /// How many have gone.
    fn count(&self) -> &AtomicU64 {
        let at = self.at.get() + PAGES as u64 * PAGE_SIZE;
        // SAFETY: the last page is mapped there until this is closed.
        unsafe { &*(at as *const AtomicU64) }
    }

    /// Sends a frame, once there is a place for it.
    ///
    /// # Errors
    /// Those of `net_xmit`.
    pub fn send(&mut self, send: Send<'_>, frame: &[u8]) -> Result<(), Error> {
        while self.sent - self.count().load(Ordering::Acquire) >= PLACES {
            time::relax();
        }
        let place = self.sent % PLACES;
        let length = frame.len().min(PLACE as usize);
        let at = (self.at.get() + place * PLACE) as *mut u8;
        // SAFETY: the place is mapped, and what was sent from it has gone.
        unsafe { core::ptr::copy_nonoverlapping(frame.as_ptr(), at, length) };
        let [.., counter] = self.pages;
        let piece = Piece {
            page: self.pages[(place / 2) as usize],
            offset: (place % 2 * PLACE) as u16,
            length: length as u16,
            last: true,
        };
        let completion = Completion::Word {
            page: counter,
            index: 0,
        };
        send.transmit(&[piece], completion).unless_stopped()?;
        self.sent += 1;
        Ok(())
    }

    /// Gives the pages back, once all has gone.
    ///
    /// # Errors
    /// Those of the calls that it takes.
    pub fn close(self) -> Result<(), Error> {
        while self.count().load(Ordering::Acquire) < self.sent {
            time::relax();
        }
        for (index, page) in self.pages.iter().enumerate() {
            let place = self.at.plus(index as u64).ok_or(Error::BadAddress)?;
            // SAFETY: nothing refers to it any more.
            unsafe { memory::unmap_and_give(place, *page) }?;
        }
        Ok(())
    }
}
