//! Extents: runs of blocks that were granted.
//!
//! ```text
//!   whole medium  0..2048  ---+-- partition 1    8..512 ---- files   64..128
//!                             `-- partition 2  512..2048
//! ```
//!
//! A part is a record of its own, charged to whoever made it, and good for as long as everything above it is. So to take
//! an extent away is to forget one record: each look at a part goes up to the medium, at most [`MOST_DEPTH`] steps, and
//! finds that the way is broken. The records of such parts are found later, some at a time ([`Extents::sweep`]).
//!
//! Two parts may share blocks: whoever has blocks may lend them twice.

use exopi_abi::Error;
use exopi_abi::capability::Epoch;
use exopi_abi::disk::{BlockRange, ExtentRecord};
use exopi_abi::domain::ObjectName;
use exopi_abi::page::Owner;
use exopi_cap::Epochs;

/// Most extents above one.
pub const MOST_DEPTH: u32 = 8;
/// Most records that [`Extents::sweep`] looks at in one call.
pub const SWEEP_LOOKS: usize = 64;

/// The extents of all media.
#[derive(Debug)]
pub struct Extents<'m> {
    records: &'m mut [ExtentRecord],
    /// For each free record the next one; [`END`] behind the last.
    links: &'m mut [u16],
    free: u16,
}

const END: u16 = u16::MAX;

impl<'m> Extents<'m> {
    /// Extents in these records, which are all free, with a link for each. What one has more than the other is left
    /// out, and what a name's 16 bits cannot tell apart.
    pub fn new(records: &'m mut [ExtentRecord], links: &'m mut [u16]) -> Self {
        let most = records.len().min(links.len()).min(usize::from(END));
        let (records, _) = records.split_at_mut(most);
        let (links, _) = links.split_at_mut(most);
        records.fill(ExtentRecord::FREE);
        for (index, link) in links.iter_mut().enumerate() {
            *link = match index + 1 < most {
                true => index as u16 + 1,
                false => END,
            };
        }
        Self {
            records,
            links,
            free: if most > 0 { 0 } else { END },
        }
    }

    /// All records, by index.
    pub fn records(&self) -> &[ExtentRecord] {
        self.records
    }

    fn record(&self, name: ObjectName) -> Option<&ExtentRecord> {
        let record = self.records.get(usize::from(name.index))?;
        let same = !record.is_free() && record.epoch == name.epoch.bits();
        same.then_some(record)
    }

    /// The extent of this name, if it and all above it are still there.
    pub fn get(&self, name: ObjectName) -> Option<&ExtentRecord> {
        let found = self.record(name)?;
        let mut above = found.parent();
        // Depths descend on the way up, so this ends.
        for _ in 0..=MOST_DEPTH {
            match above {
                None => return Some(found),
                Some(parent) => above = self.record(parent)?.parent(),
            }
        }
        None
    }

    /// The extent of a whole medium.
    ///
    /// # Errors
    /// [`Error::BadCount`]: it has no block. [`Error::Exhausted`]: no record or epoch is left.
    pub fn add_medium(
        &mut self,
        epochs: &mut Epochs,
        blocks: u32,
        account: Owner,
    ) -> Result<ObjectName, Error> {
        let blocks = BlockRange {
            first: 0,
            count: blocks,
        };
        if blocks.count == 0 {
            return Err(Error::BadCount);
        }
        self.add(
            epochs,
            ExtentRecord {
                account,
                blocks,
                ..ExtentRecord::FREE
            },
        )
    }

    /// A part of an extent, charged to `account`. Whether that may have one more is the caller's to see.
    ///
    /// # Errors
    /// [`Error::Stale`]: the extent is gone. [`Error::BadCount`]: no block. [`Error::OutOfRange`]: blocks outside the
    /// extent. [`Error::LimitReached`]: [`MOST_DEPTH`] extents are above it. [`Error::Exhausted`]: no record or epoch is
    /// left.
    pub fn narrow(
        &mut self,
        epochs: &mut Epochs,
        parent: ObjectName,
        blocks: BlockRange,
        account: Owner,
    ) -> Result<ObjectName, Error> {
        let above = *self.get(parent).ok_or(Error::Stale)?;
        if blocks.count == 0 {
            return Err(Error::BadCount);
        }
        if !above.blocks.contains(blocks) {
            return Err(Error::OutOfRange);
        }
        if above.depth >= MOST_DEPTH {
            return Err(Error::LimitReached);
        }
        self.add(
            epochs,
            ExtentRecord {
                parent: parent.word(),
                account,
                blocks,
                depth: above.depth + 1,
                ..ExtentRecord::FREE
            },
        )
    }

    fn add(&mut self, epochs: &mut Epochs, record: ExtentRecord) -> Result<ObjectName, Error> {
        let index = self.free;
        let place = self.records.get_mut(usize::from(index));
        let place = place.ok_or(Error::Exhausted)?;
        let epoch = epochs.stamp().ok_or(Error::Exhausted)?;
        *place = ExtentRecord {
            epoch: epoch.bits(),
            ..record
        };
        self.free = self.links.get(usize::from(index)).copied().unwrap_or(END);
        Ok(ObjectName { index, epoch })
    }

    /// Takes an extent away, and with it all of its parts, whose records [`Extents::sweep`] finds. Gives its last record,
    /// which says to whom it was charged.
    ///
    /// # Errors
    /// [`Error::Stale`]: there is none of this name, or one above it is gone.
    pub fn remove(&mut self, name: ObjectName) -> Result<ExtentRecord, Error> {
        self.get(name).ok_or(Error::Stale)?;
        Ok(self.forget(name.index))
    }

    fn forget(&mut self, index: u16) -> ExtentRecord {
        let free = self.free;
        let place = self.records.get_mut(usize::from(index));
        let (Some(record), Some(link)) = (place, self.links.get_mut(usize::from(index))) else {
            return ExtentRecord::FREE;
        };
        *link = free;
        self.free = index;
        core::mem::replace(record, ExtentRecord::FREE)
    }

    /// Forgets extents above which one is gone, and those charged to `account`, and tells `gone` the last record of each.
    /// Looks at [`SWEEP_LOOKS`] records at most, from the number `from` on, and gives the number to go on from, or `None`
    /// when all have been looked at.
    pub fn sweep(
        &mut self,
        account: Option<Owner>,
        from: u16,
        mut gone: impl FnMut(ExtentRecord),
    ) -> Option<u16> {
        let end = usize::from(from)
            .saturating_add(SWEEP_LOOKS)
            .min(self.records.len());
        for index in usize::from(from)..end {
            let index = index as u16;
            let Some(record) = self.records.get(usize::from(index)) else {
                break;
            };
            let name = ObjectName {
                index,
                epoch: Epoch::from_low_bits(record.epoch),
            };
            let owned = account == Some(record.account);
            if !record.is_free() && (owned || self.get(name).is_none()) {
                gone(self.forget(index));
            }
        }
        (end < self.records.len()).then_some(end as u16)
    }
}
