//! Blocks of the disk: extents, requests and what becomes of them.
//!
//! A *block* is 4 KiB, as long as a page; block n begins n * 4 KiB from the medium's begin. An *extent* is a run of
//! blocks. Its record is exposed: everybody sees which blocks have been granted to which account, and by which extent.
//!
//! ```text
//!   completion word    63          32 31         16 15      0
//!                     | blocks done  | zero        | status |     0 while the request is under way
//! ```

use crate::domain::ObjectName;
use crate::page::Owner;

/// Bytes of a block.
pub const BLOCK_SIZE: u64 = 4096;
/// Most blocks of one request.
pub const MOST_BLOCKS: usize = 32;
/// Most requests of one environment that have not ended.
pub const MOST_REQUESTS: usize = 16;

/// A run of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct BlockRange {
    /// The first one's number.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl BlockRange {
    /// The number behind the last one.
    #[inline(always)]
    pub const fn end(self) -> u64 {
        self.first as u64 + self.count as u64
    }

    /// Whether all of `other`, which has some, is in this range.
    #[inline(always)]
    pub const fn contains(self, other: Self) -> bool {
        other.count > 0 && self.first <= other.first && other.end() <= self.end()
    }

    /// Whether some block is in both.
    #[inline(always)]
    pub const fn overlaps(self, other: Self) -> bool {
        (self.first as u64) < other.end() && (other.first as u64) < self.end()
    }
}

/// An extent, as everybody may know it. A record whose epoch is 0 is free, and all its other fields are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExtentRecord {
    /// Epoch, in the lowest 48 bits.
    pub epoch: u64,
    /// The [`ObjectName::word`] of the extent that this one is a part of; 0 for a whole medium.
    pub parent: u64,
    /// The account that it is charged to.
    pub account: Owner,
    /// Its blocks.
    pub blocks: BlockRange,
    /// How many extents there are above it.
    pub depth: u32,
    /// Zero.
    pub reserved: u32,
}

impl ExtentRecord {
    /// A record of no extent.
    pub const FREE: ExtentRecord = ExtentRecord {
        epoch: 0,
        parent: 0,
        account: Owner::NOBODY,
        blocks: BlockRange { first: 0, count: 0 },
        depth: 0,
        reserved: 0,
    };

    /// Whether there is no extent here.
    #[inline(always)]
    pub const fn is_free(&self) -> bool {
        self.epoch == 0
    }

    /// The extent that it is a part of.
    #[inline(always)]
    pub const fn parent(&self) -> Option<ObjectName> {
        match self.parent {
            0 => None,
            word => Some(ObjectName::from_word(word)),
        }
    }
}

const _: () = {
    assert!(size_of::<BlockRange>() == 8);
    assert!(size_of::<ExtentRecord>() == 40);
    assert!(core::mem::offset_of!(ExtentRecord, blocks) == 24);
};

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum DiskStatus {
    /// Under way.
    Pending = 0,
    /// All its blocks were read, or written.
    Done = 1,
    /// It was given up before it had begun.
    Cancelled = 2,
    /// The extent was gone before it began.
    Stale = 3,
    /// The medium was removed, or is another one.
    Removed = 4,
    /// The device did not do it in time.
    TimedOut = 5,
    /// The data was damaged on its way, each time.
    Damaged = 6,
    /// The medium says that the blocks are protected.
    Protected = 7,
    /// The medium says that there are no such blocks.
    OutOfRange = 8,
    /// The medium says that it could not.
    Failed = 9,
}

impl DiskStatus {
    /// Every status, in the order of the codes.
    pub const ALL: [DiskStatus; 10] = [
        Self::Pending,
        Self::Done,
        Self::Cancelled,
        Self::Stale,
        Self::Removed,
        Self::TimedOut,
        Self::Damaged,
        Self::Protected,
        Self::OutOfRange,
        Self::Failed,
    ];

    /// The completion word that says so of a request of which so many blocks are done.
    #[inline(always)]
    pub const fn word(self, blocks: u32) -> u64 {
        self as u64 | (blocks as u64) << 32
    }

    /// What a completion word says; `None` if no kernel has written it.
    pub fn of_word(word: u64) -> Option<(Self, u32)> {
        let code = u32::try_from(word & 0xffff_ffff).ok()?;
        let status = Self::ALL.into_iter().find(|it| *it as u32 == code)?;
        Some((status, (word >> 32) as u32))
    }
}

/// What the disk has done since boot. Counts wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DiskCounters {
    /// Requests taken.
    pub taken: u64,
    /// Requests that ended well.
    pub done: u64,
    /// Requests that failed at the device.
    pub failed: u64,
    /// Requests that were given up before they began, by their owner's end or their extent's.
    pub dropped: u64,
    /// Commands to the device.
    pub commands: u64,
    /// Requests that went along with another one in the same command.
    pub merged: u64,
    /// Times that a request was taken out of the order of blocks because it had waited long enough.
    pub overdue: u64,
    /// Blocks read and written.
    pub blocks: u64,
    /// Requests that have not ended.
    pub waiting: u64,
    /// Longest time from a request to its end, in microseconds.
    pub longest_wait: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_was_put_in() {
        for (code, status) in DiskStatus::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, code);
            for blocks in [0, 1, 32, u32::MAX] {
                assert_eq!(
                    DiskStatus::of_word(status.word(blocks)),
                    Some((status, blocks))
                );
            }
        }
        assert_eq!(DiskStatus::Pending.word(0), 0);
        for strange in [10, 1 << 16 | 1, u64::MAX] {
            assert_eq!(DiskStatus::of_word(strange), None);
        }
    }

    #[test]
    fn ranges_know_what_they_share() {
        let range = |first, count| BlockRange { first, count };
        let all = range(10, 10);
        assert!(all.contains(range(10, 10)) && all.contains(range(19, 1)));
        for outside in [
            range(9, 2),
            range(19, 2),
            range(10, 0),
            range(u32::MAX, u32::MAX),
        ] {
            assert!(!all.contains(outside), "{outside:?}");
        }
        assert!(all.overlaps(range(0, 11)) && all.overlaps(range(19, 5)));
        assert!(!all.overlaps(range(0, 10)) && !all.overlaps(range(20, 5)));
        assert_eq!(range(u32::MAX, u32::MAX).end(), 2 * u64::from(u32::MAX));
    }
}
