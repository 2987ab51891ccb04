//! All state as data, to which one can come back. For tests that explore.

use core::hash::{Hash, Hasher};
use std::vec::Vec;

use exopi_abi::domain::ObjectName;
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::slice::SliceRecord;

use crate::{Core, Slices};

/// A [`Slices`] as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Those that there were, by number.
    records: Vec<(u16, SliceRecord)>,
    cores: [Core; MAX_CORES],
}

impl Slices<'_> {
    /// What there is now.
    pub fn saved(&self) -> Saved {
        let records = (0..).zip(self.records.iter().copied());
        Saved {
            records: records.filter(|(_, record)| !record.is_free()).collect(),
            cores: self.cores,
        }
    }

    /// Back to what there was, in as many positions.
    pub fn return_to(&mut self, saved: &Saved) {
        self.records.fill(SliceRecord::FREE);
        for (number, record) in &saved.records {
            if let Some(place) = self.records.get_mut(usize::from(*number)) {
                *place = *record;
            }
        }
        self.cores = saved.cores;
    }

    /// Adds what is kept of cores besides the records to a hash, but for epochs and times.
    pub fn hash_places(&self, state: &mut impl Hasher) {
        for core in self.cores {
            (core.used, core.fresh, core.cursor, core.stirred).hash(state);
            let open = core.open.map(|open| {
                let environment = ObjectName::from_word(open.environment).index;
                let began = open.began.is_some();
                (open.slice.index, environment, began, open.alone)
            });
            open.hash(state);
        }
    }
}
