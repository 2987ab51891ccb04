//! Who owns which frame, what it is, and which table entries name it.
//!
//! State is the array of [`PageRecord`]s, the page tables and the links; what happens to them is
//! decided here and nowhere else, through [`Hardware`]. What always holds between two operations:
//!
//! * A frame has one type. It changes it only while no table entry names it and no TLB or walk cache
//!   on any core remembers one that did.
//! * Frames = free + kernel + the sum over owners. A frame's `references` = the leaf entries that name it.
//! * A leaf entry names a plain frame; or a u-area, by the one entry that the kernel made for it.
//!   One function decides it, for whatever path asks.
//! * A table is named by one entry of one table of the level above, a root by none.
//! * Every leaf entry is on the list of the frame that it names ([`links`]).
//! * Tables and links are zeros but for entries in use.
//!
//! Each operation checks an item against what is there, which gives a token, and then commits the
//! token, which cannot fail. Tokens are private: one that outlived another operation would prove
//! nothing. Nothing here panics, whatever arguments a program gave: a frame number beyond the array
//! is [`Error::OutOfRange`], and commits do nothing for one.
//!
//! Absent on purpose: any choice of its own. There is no search for a page, no table that
//! appears by itself, and no memory of the kernel's that grows with mappings: who maps supplies it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "model"))]
extern crate std;

#[cfg(any(test, feature = "model"))]
pub mod audit;
mod frames;
pub mod hardware;
pub mod links;
mod mappings;
#[cfg(any(test, feature = "model"))]
pub mod model;
pub mod pte;
pub mod space;
mod tables;
#[cfg(test)]
mod tests;

use exopi_abi::page::{FrameType, NONE, Owner, PageRecord};
use exopi_abi::{Error, PageNumber, Progress};

pub use hardware::{Hardware, Index};
pub use links::{Link, Slot};
pub use space::{Mapping, Space};

/// Most frames that there can be: a [`Slot`] has 23 bits for a frame number, and the last slot of the
/// last of them would read as "none".
pub const MAX_FRAMES: usize = (1 << 23) - 1;

/// All frames and the free list.
///
/// ```text
///   head --> record --first--> record --first--> ... record <-- tail
///            NONE <--second--  record <--second-- ...
/// ```
///
/// Freed frames go to the head, where their contents are likeliest to be in a cache; boot's go to the
/// tail, so that the lowest come first.
#[derive(Debug)]
pub struct Pages<'m> {
    records: &'m mut [PageRecord],
    head: u32,
    tail: u32,
    free: u32,
}

impl<'m> Pages<'m> {
    /// No frames at all: what a kernel has before it knows its board.
    pub const fn none() -> Self {
        Self {
            records: &mut [],
            head: NONE,
            tail: NONE,
            free: 0,
        }
    }

    /// All frames of a board, each the kernel's: `records` must all be [`PageRecord::KERNEL`], that is,
    /// zeros. What is beyond [`MAX_FRAMES`] is left out.
    pub fn new(records: &'m mut [PageRecord]) -> Self {
        let length = records.len().min(MAX_FRAMES);
        Self {
            records: records.get_mut(..length).unwrap_or_default(),
            head: NONE,
            tail: NONE,
            free: 0,
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

    /// Frames on the free list.
    #[inline]
    pub const fn free_pages(&self) -> u64 {
        self.free as u64
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

    /// The record of a frame that `who` owns.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::NotYours`].
    #[inline(always)]
    fn owned(&self, page: PageNumber, who: Owner) -> Result<&PageRecord, Error> {
        match self.record(page) {
            None => Err(Error::OutOfRange),
            Some(record) if record.owner != who => Err(Error::NotYours),
            Some(record) => Ok(record),
        }
    }

    /// Whether `page` may become something else: a plain frame of `who` that nothing refers to.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::NotYours`], [`Error::WrongType`], [`Error::InUse`].
    #[inline(always)]
    fn spare(&self, page: PageNumber, who: Owner) -> Result<(), Error> {
        let record = self.owned(page, who)?;
        match record.kind {
            FrameType::Plain if record.references == 0 => Ok(()),
            FrameType::Plain => Err(Error::InUse),
            _ => Err(Error::WrongType),
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
