//! Volumes to try things on, and a device that notes what is written.

use std::sync::{Arc, Mutex};

use exopi_fs::device::Memory;
use exopi_fs::fat::{Format, Limits, Width, format};
use exopi_fs::{Block, BlockDevice, DeviceError, Error, Fat, FileSystem, Location, Stamp};

/// A volume's size in blocks, and how it is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub blocks: usize,
    pub width: Width,
    pub sectors_per_cluster: u32,
}

impl Shape {
    /// About 2 MiB in clusters of one sector: FAT16 with as few clusters as can be.
    pub const SMALL: Self = Self {
        blocks: 540,
        width: Width::Fat16,
        sectors_per_cluster: 1,
    };
    /// Clusters that are pages.
    pub const PAGES: Self = Self {
        blocks: 4300,
        width: Width::Fat16,
        sectors_per_cluster: 8,
    };
    /// Clusters larger than pages.
    pub const LARGE: Self = Self {
        blocks: 17_000,
        width: Width::Fat16,
        sectors_per_cluster: 32,
    };
    /// FAT32 with as few clusters as can be.
    pub const FAT32: Self = Self {
        blocks: 8400,
        width: Width::Fat32,
        sectors_per_cluster: 1,
    };
    pub const ALL: [Self; 4] = [Self::SMALL, Self::PAGES, Self::LARGE, Self::FAT32];

    pub fn cluster(&self) -> usize {
        self.sectors_per_cluster as usize * 512
    }

    /// An empty volume.
    pub fn make(&self) -> Memory {
        let mut memory = Memory::new(self.blocks);
        let wanted = Format {
            width: Some(self.width),
            sectors_per_cluster: Some(self.sectors_per_cluster),
            ..Format::default()
        };
        format(&mut memory, &wanted).unwrap();
        memory
    }
}

/// Little memory, so that all of it is used up often.
pub const TIGHT: Limits = Limits {
    pages: 24,
    changed: 6,
    blocks: 32,
};

pub const CLOCK: fn() -> Stamp = || Stamp {
    year: 2026,
    month: 11,
    day: 22,
    hour: 12,
    minute: 30,
    second: 14,
};

pub fn mount<D: BlockDevice>(device: D) -> Fat<D> {
    Fat::mount_with(device, TIGHT, CLOCK).unwrap()
}

/// A path's location; what a test names is one.
pub fn at(path: &str) -> Location {
    Location::root().join(path).unwrap()
}

/// Makes or replaces a file with this in it.
pub fn write(system: &mut dyn FileSystem, path: &str, bytes: &[u8]) -> Result<(), Error> {
    let location = at(path);
    let file = match system.open(location.path()) {
        Err(Error::NotFound) => system.create(location.path())?,
        file => file?,
    };
    let done = put(system, file, bytes);
    done.and(system.close(file))
}

fn put(system: &mut dyn FileSystem, file: exopi_fs::FileId, bytes: &[u8]) -> Result<(), Error> {
    system.truncate(file, 0)?;
    let mut done = 0;
    while done < bytes.len() {
        done += system.write_at(file, done as u64, &bytes[done..])?;
    }
    Ok(())
}

/// All that is in a file.
pub fn read(system: &mut dyn FileSystem, path: &str) -> Result<Vec<u8>, Error> {
    let location = at(path);
    let file = system.open(location.path())?;
    let size = system.stat_open(file)?.size;
    // A hostile volume may say anything.
    let mut bytes = vec![0; size.min(1 << 26) as usize];
    let count = system.read_at(file, 0, &mut bytes);
    system.close(file)?;
    bytes.truncate(count?);
    Ok(bytes)
}

/// Bytes that tell where they belong.
pub fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.word() as u8).collect()
}

/// Numbers out of a seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.word() % end.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

/// A block that was written, and in which request.
pub type Written = (u64, Box<Block>);

/// A device that notes each block that is written, in order.
#[derive(Clone)]
pub struct Noted {
    pub memory: Memory,
    pub written: Arc<Mutex<Vec<Written>>>,
}

impl Noted {
    pub fn new(memory: Memory) -> Self {
        Self {
            memory,
            written: Arc::default(),
        }
    }
}

impl BlockDevice for Noted {
    fn blocks(&self) -> u64 {
        self.memory.blocks()
    }

    fn is_read_only(&self) -> bool {
        self.memory.is_read_only()
    }

    fn read(&mut self, first: u64, into: &mut [&mut Block]) -> Result<(), DeviceError> {
        self.memory.read(first, into)
    }

    fn write(&mut self, first: u64, from: &[&Block]) -> Result<(), DeviceError> {
        let mut written = self.written.lock().unwrap();
        for (number, block) in (first..).zip(from) {
            written.push((number, Box::new((*block).clone())));
        }
        self.memory.write(first, from)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        self.memory.flush()
    }
}
