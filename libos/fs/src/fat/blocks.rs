//! The blocks of a volume that are in memory, by sectors, and the order in which they go back.
//!
//! What changes has a rank, and ranks go out one after the other: first what no name leads to yet (contents, and the
//! FAT's entries for it), then names. So a cut between two writes leaves clusters that nobody has, never a name
//! that leads to what was not written. Where the order must be the other way round (names go before their clusters
//! are free), the caller flushes in between.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::DeviceError;
use crate::device::{Block, BlockDevice};
use crate::mbr::{SECTOR_SIZE, SECTORS_PER_BLOCK};

/// Most blocks in one request.
const LONGEST: usize = 32;

/// When a change goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// First: contents and FAT.
    Contents,
    /// Then: directory entries.
    Names,
}

struct Cached {
    block: Box<Block>,
    changed: Option<Rank>,
    used: u64,
}

/// Blocks in memory, over a device.
pub(super) struct Blocks<D> {
    device: D,
    cached: BTreeMap<u64, Cached>,
    capacity: usize,
    now: u64,
}

/// The block that a sector is in, and its place there.
const fn place(sector: u32) -> (u64, usize) {
    let block = sector / SECTORS_PER_BLOCK;
    (
        block as u64,
        (sector % SECTORS_PER_BLOCK) as usize * SECTOR_SIZE,
    )
}

impl<D: BlockDevice> Blocks<D> {
    /// At most `capacity` blocks of `device`, and as many as a request has beyond that.
    pub(super) fn new(device: D, capacity: usize) -> Self {
        Self {
            device,
            cached: BTreeMap::new(),
            capacity: capacity.max(LONGEST),
            now: 0,
        }
    }

    pub(super) fn device(&self) -> &D {
        &self.device
    }

    /// The device. What was not flushed is lost.
    pub(super) fn into_device(self) -> D {
        self.device
    }

    /// A sector's bytes.
    pub(super) fn sector(&mut self, sector: u32) -> Result<&[u8; SECTOR_SIZE], DeviceError> {
        let (number, at) = place(sector);
        let cached = self.get(number)?;
        let bytes = cached.block.0.get(at..).and_then(|rest| rest.first_chunk());
        bytes.ok_or(DeviceError::OutOfRange)
    }

    /// A sector's bytes, to be changed; the block goes out with `rank`, or later if something in it has a later one.
    pub(super) fn sector_mut(
        &mut self,
        sector: u32,
        rank: Rank,
    ) -> Result<&mut [u8; SECTOR_SIZE], DeviceError> {
        let (number, at) = place(sector);
        let cached = self.get(number)?;
        cached.changed = cached.changed.max(Some(rank));
        let bytes = cached.block.0.get_mut(at..);
        let bytes = bytes.and_then(|rest| rest.first_chunk_mut());
        bytes.ok_or(DeviceError::OutOfRange)
    }

    fn get(&mut self, number: u64) -> Result<&mut Cached, DeviceError> {
        self.now += 1;
        if !self.cached.contains_key(&number) {
            self.make_room(1)?;
            let mut block = Block::zeroed();
            self.device.read(number, &mut [&mut block])?;
            self.insert(number, block);
        }
        let cached = self.cached.get_mut(&number);
        let cached = cached.ok_or(DeviceError::Failed)?;
        cached.used = self.now;
        Ok(cached)
    }

    fn insert(&mut self, number: u64, block: Box<Block>) {
        let cached = Cached {
            block,
            changed: None,
            used: self.now,
        };
        self.cached.insert(number, cached);
    }

    /// Has a block here, as zeros, that is about to be written as a whole: it is not read, and counts as changed.
    pub(super) fn claim(&mut self, number: u64) -> Result<(), DeviceError> {
        if number >= self.device.blocks() {
            return Err(DeviceError::OutOfRange);
        }
        if !self.cached.contains_key(&number) {
            self.make_room(1)?;
            self.now += 1;
            self.insert(number, Block::zeroed());
            if let Some(cached) = self.cached.get_mut(&number) {
                cached.changed = Some(Rank::Contents);
            }
        }
        Ok(())
    }

    /// Has `count` blocks here, by one request for those that are not.
    pub(super) fn prefetch(&mut self, first: u64, count: usize) -> Result<(), DeviceError> {
        let end = first + count.min(LONGEST) as u64;
        let is_missing = |number: &u64| !self.cached.contains_key(number);
        let missing: Vec<u64> = (first..end).filter(is_missing).collect();
        let (Some(&first), Some(&last)) = (missing.first(), missing.last()) else {
            return Ok(());
        };
        let count = (last - first + 1) as usize;
        self.make_room(count)?;
        let mut blocks: Vec<Box<Block>> = (0..count).map(|_| Block::zeroed()).collect();
        let mut list: Vec<&mut Block> = blocks.iter_mut().map(|block| &mut **block).collect();
        self.device.read(first, &mut list)?;
        self.now += 1;
        for (number, block) in (first..).zip(blocks) {
            // What is here may be newer than what was read.
            if missing.contains(&number) {
                self.insert(number, block);
            }
        }
        Ok(())
    }

    /// Lets blocks go until `more` fit in, those first that were used longest ago.
    fn make_room(&mut self, more: usize) -> Result<(), DeviceError> {
        while self.cached.len() + more > self.capacity {
            let clean = self
                .cached
                .iter()
                .filter(|(_, cached)| cached.changed.is_none());
            let oldest = clean
                .min_by_key(|(_, cached)| cached.used)
                .map(|(number, _)| *number);
            match oldest {
                Some(number) => {
                    self.cached.remove(&number);
                }
                None if self.cached.is_empty() => return Ok(()),
                // Contents may go at any time.
                None => {
                    self.write(Rank::Contents)?;
                    if self.cached.values().all(|cached| cached.changed.is_some()) {
                        self.write(Rank::Names)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what has changed, rank by rank.
    pub(super) fn flush(&mut self) -> Result<(), DeviceError> {
        self.write(Rank::Contents)?;
        self.write(Rank::Names)
    }

    fn write(&mut self, rank: Rank) -> Result<(), DeviceError> {
        let changed =
            |(number, cached): (&u64, &Cached)| (cached.changed == Some(rank)).then_some(*number);
        let numbers: Vec<u64> = self.cached.iter().filter_map(changed).collect();
        for run in numbers.chunk_by(|one, next| one + 1 == *next) {
            for part in run.chunks(LONGEST) {
                self.write_run(part)?;
            }
        }
        Ok(())
    }

    fn write_run(&mut self, numbers: &[u64]) -> Result<(), DeviceError> {
        let Some(&first) = numbers.first() else {
            return Ok(());
        };
        let blocks = numbers.iter().filter_map(|number| self.cached.get(number));
        let list: Vec<&Block> = blocks.map(|cached| &*cached.block).collect();
        self.device.write(first, &list)?;
        for number in numbers {
            if let Some(cached) = self.cached.get_mut(number) {
                cached.changed = None;
            }
        }
        Ok(())
    }

    /// Writes what has changed, and waits until it is on the medium.
    pub(super) fn sync(&mut self) -> Result<(), DeviceError> {
        self.flush()?;
        self.device.flush()
    }
}
