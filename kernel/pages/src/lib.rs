//! Who owns which frame, what it is, and which table entries name it.
//!
//! State is the array of [`PageRecord`]s, the page tables and the links; what happens to them is
//! decided here and nowhere else, through [`Hardware`]. What always holds between two operations:
//!
//! * A frame has one type. It changes it, or its owner, only while no table entry names it and no TLB or walk
//!   cache on any core remembers one that did.
//! * Frames = free + kernel + the sum over owners. A frame's `references` = the leaf entries that name it, a
//!   superpage's being counted on its first frame, and its pins; its `foreign` = those of them in other owners' spaces.
//! * A leaf entry names a plain frame; or a u-area, by the one entry that the kernel made for it.
//!   One function decides it, for whatever path asks.
//! * A table is named by one entry of one table of the level above, a root by its own entry alone. What EL0
//!   sees of them through that one ([`UserPage`]) it may read and nothing else.
//! * Every leaf entry is on the list of the frame that it names ([`links`]).
//! * Links are zeros but for entries in use, and so are tables of levels 1 and 2. A level-3 table may hold
//!   notes besides, which the processor takes for no entries.
//! * A plain frame alone carries a [`Stamp`](exopi_abi::page::Stamp); no two calls ever give the same epoch.
//!   So all frames with one epoch have one owner, and what a capability was good for it is good for or stale.
//!
//! Each operation checks an item against what is there, which gives a token, and then commits the
//! token, which cannot fail. Tokens are private: one that outlived another operation would prove
//! nothing. Nothing here panics, whatever arguments a program gave: a frame number beyond the array
//! is [`Error::OutOfRange`], and commits do nothing for one.
//!
//! Hot paths ask one question of a record or an entry, and only when the answer is no a cold function finds
//! out, in the documented order, which error it is.
//!
//! Absent on purpose: any choice of its own. There is no search for a page, no table that
//! appears by itself, and no memory of the kernel's that grows with mappings: who maps supplies it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "model"))]
extern crate std;

#[cfg(any(test, feature = "model"))]
pub mod audit;
mod binding;
mod breaking;
mod dissolve;
mod flush;
mod frames;
mod free;
pub mod hardware;
pub mod links;
mod mappings;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod pins;
mod protect;
pub mod pte;
mod ranges;
mod right;
#[cfg(any(test, feature = "model"))]
pub mod saved;
pub mod space;
mod superpages;
mod tables;
mod teardown;
#[cfg(test)]
mod tests;
mod uarea;

use exopi_abi::page::PageRecord;
use exopi_abi::{Error, PageNumber, Progress};

pub use breaking::{Broken, Reclaimed, Taken};
pub use dissolve::{DISSOLVE_BOUND, Dissolved};
pub use hardware::{Hardware, Index, UserPage};
pub use links::{Link, Slot};
pub use right::{Credit, Right, Source};
pub use space::{Mapping, Space};
pub use teardown::{CLEAR_BOUND, Step};

/// Most frames that there can be: a [`Slot`] has 23 bits for a frame number, and the last slot of the
/// last of them would read as "none".
pub const MAX_FRAMES: usize = (1 << 23) - 1;

/// All frames and the lists of those that are free.
#[derive(Debug)]
pub struct Pages<'m> {
    records: &'m mut [PageRecord],
    free: free::FreeLists,
}

impl<'m> Pages<'m> {
    /// No frames at all: what a kernel has before it knows its board.
    pub const fn none() -> Self {
        Self {
            records: &mut [],
            free: free::FreeLists::new(1),
        }
    }

    /// All frames of a board, each the kernel's: `records` must all be [`PageRecord::KERNEL`], that is,
    /// zeros. What is beyond [`MAX_FRAMES`] is left out. `colours` is a power of two up to
    /// [`MAX_COLOURS`](exopi_abi::page::MAX_COLOURS); anything else counts as 1.
    pub fn new(records: &'m mut [PageRecord], colours: u8) -> Self {
        let length = records.len().min(MAX_FRAMES);
        Self {
            records: records.get_mut(..length).unwrap_or_default(),
            free: free::FreeLists::new(colours),
        }
    }

    /// Number of frames. They are numbered from 0 on.
    #[inline]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no frame at all.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Frames on the free lists.
    #[inline]
    pub const fn free_pages(&self) -> u64 {
        self.free.count as u64
    }

    /// What is known of a frame, if there is such a frame.
    #[inline]
    pub fn record(&self, page: PageNumber) -> Option<&PageRecord> {
        self.records.get(page.index())
    }

    /// Changes the record of a frame that a check has found. There is nothing to do for another.
    #[inline(always)]
    fn update(&mut self, page: PageNumber, change: impl FnOnce(&mut PageRecord)) {
        if let Some(record) = self.records.get_mut(page.index()) {
            change(record);
        }
    }
}

/// Carries out `item` for 0, 1, ... up to `count`, no more than `bound` times and up to the first refusal.
#[inline(always)]
fn batch(count: u64, bound: u64, mut item: impl FnMut(u64) -> Result<(), Error>) -> Progress {
    if count == 0 {
        return Progress::refused(Error::BadCount);
    }
    let count = count.min(bound);
    let mut done = 0;
    while done < count {
        if let Err(error) = item(done) {
            return Progress {
                done,
                stopped: Some(error),
            };
        }
        done += 1;
    }
    Progress {
        done,
        stopped: None,
    }
}
