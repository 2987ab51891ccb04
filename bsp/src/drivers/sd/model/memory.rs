//! RAM of which processor and devices each see what they have been shown, and of which only what is lent may be touched.

use std::cell::RefCell;
use std::rc::Rc;

use crate::block::{SECTOR, Segment, SegmentMemory};
use crate::dma::LINE;

/// Physical address of the first byte, and where devices see it.
pub(crate) const BASE: u64 = 0x0020_0000;
pub(crate) const ALIAS: u32 = 0xc000_0000;
/// Bytes.
pub(crate) const BYTES: usize = 512 << 10;

#[derive(Debug)]
pub(crate) struct Ram {
    /// What the processor sees, and what devices do.
    seen: Vec<u8>,
    bytes: Vec<u8>,
    dirty: Vec<bool>,
    /// What a request has lent to the driver.
    pub(crate) lent: Vec<Segment>,
    /// Devices reach it.
    pub(crate) reached: bool,
}

pub(crate) type Shared = Rc<RefCell<Ram>>;

impl Ram {
    pub(crate) fn new() -> Shared {
        Rc::new(RefCell::new(Self {
            seen: vec![0x5a; BYTES],
            bytes: vec![0xa5; BYTES],
            dirty: vec![true; BYTES / LINE],
            lent: Vec::new(),
            reached: true,
        }))
    }

    #[track_caller]
    fn offset(&self, at: u64, length: usize) -> usize {
        let inside = |segment: &Segment| {
            segment.at <= at && at + length as u64 <= segment.at + segment.bytes() as u64
        };
        assert!(self.lent.iter().any(inside), "{at:#x} is not lent");
        (at - BASE) as usize
    }

    /// A device reads a word.
    #[track_caller]
    pub(crate) fn device_read(&self, bus: u32) -> u32 {
        let at = self.offset((bus - ALIAS).into(), 4);
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// A device writes a word.
    #[track_caller]
    pub(crate) fn device_write(&mut self, bus: u32, word: u32) {
        let at = self.offset((bus - ALIAS).into(), 4);
        assert!(
            !self.dirty[at / LINE],
            "a dirty line may be written over what the device writes"
        );
        self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    /// The requester reads and writes what is its own.
    pub(crate) fn get(&self, at: u64, length: usize) -> Vec<u8> {
        assert!(self.lent.is_empty());
        let at = (at - BASE) as usize;
        self.seen[at..at + length].to_vec()
    }

    pub(crate) fn put(&mut self, at: u64, bytes: &[u8]) {
        assert!(self.lent.is_empty());
        let at = (at - BASE) as usize;
        self.seen[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty[at / LINE..(at + bytes.len()).div_ceil(LINE)].fill(true);
    }
}

/// The driver's side.
#[derive(Debug)]
pub(crate) struct Memory(pub(crate) Shared);

impl SegmentMemory for Memory {
    fn bus_address(&self, segment: &Segment) -> Option<u32> {
        self.0.borrow().reached.then_some(segment.at as u32 | ALIAS)
    }

    fn clean(&mut self, segment: &Segment) {
        let mut ram = self.0.borrow_mut();
        let start = ram.offset(segment.at, segment.bytes());
        for line in start / LINE..(start + segment.bytes()) / LINE {
            if std::mem::take(&mut ram.dirty[line]) {
                let line = line * LINE..(line + 1) * LINE;
                let seen = ram.seen[line.clone()].to_vec();
                ram.bytes[line].copy_from_slice(&seen);
            }
        }
    }

    fn invalidate(&mut self, segment: &Segment) {
        let mut ram = self.0.borrow_mut();
        let start = ram.offset(segment.at, segment.bytes());
        let range = start..start + segment.bytes();
        ram.dirty[range.start / LINE..range.end / LINE].fill(false);
        let bytes = ram.bytes[range.clone()].to_vec();
        ram.seen[range].copy_from_slice(&bytes);
    }

    fn load(&self, at: u64, words: &mut [u32; SECTOR / 4]) {
        let ram = self.0.borrow();
        let start = ram.offset(at, SECTOR);
        for (word, bytes) in words.iter_mut().zip(ram.seen[start..].chunks(4)) {
            *word = u32::from_le_bytes(bytes.try_into().unwrap());
        }
    }

    fn store(&mut self, at: u64, words: &[u32; SECTOR / 4]) {
        let mut ram = self.0.borrow_mut();
        let start = ram.offset(at, SECTOR);
        for (word, bytes) in words.iter().zip(ram.seen[start..].chunks_mut(4)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        ram.dirty[start / LINE..(start + SECTOR) / LINE].fill(true);
    }
}
