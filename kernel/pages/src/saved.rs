//! All that is kept of frames as data, to which one can come back. For tests that explore.

use std::vec::Vec;

use exopi_abi::page::PageRecord;

use crate::Pages;
use crate::free::FreeLists;

/// The records and the free lists of a [`Pages`] as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    records: Vec<PageRecord>,
    free: FreeLists,
}

impl Saved {
    /// The records, by frame.
    pub fn records(&self) -> &[PageRecord] {
        &self.records
    }
}

impl Pages<'_> {
    /// What there is now.
    pub fn saved(&self) -> Saved {
        Saved {
            records: self.records.to_vec(),
            free: self.free,
        }
    }

    /// Back to what there was.
    ///
    /// # Panics
    /// There was another number of frames.
    pub fn return_to(&mut self, saved: &Saved) {
        self.records.copy_from_slice(&saved.records);
        self.free = saved.free;
    }
}
