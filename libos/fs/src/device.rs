//! What file systems lie on: blocks of 4 KiB, moved by scatter lists.
//!
//! A block is eight sectors of a card, and a page of memory. The trait is what a card's extent offers by
//! asynchronous requests, waited for; here it is also a piece of memory, for programs without a card and for tests.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::DeviceError;

/// Bytes in a block.
pub const BLOCK_SIZE: usize = 4096;

/// A block, where a page can be: devices move whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(4096))]
pub struct Block(pub [u8; BLOCK_SIZE]);

impl Block {
    /// Zeros.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self([0; BLOCK_SIZE]))
    }
}

/// Blocks, numbered from 0.
pub trait BlockDevice {
    /// How many there are.
    fn blocks(&self) -> u64;

    /// Whether nothing can be written.
    fn is_read_only(&self) -> bool;

    /// Reads `into.len()` blocks that follow each other, from `first` on.
    ///
    /// # Errors
    /// What went wrong; then the buffers hold anything.
    fn read(&mut self, first: u64, into: &mut [&mut Block]) -> Result<(), DeviceError>;

    /// Writes `from.len()` blocks that follow each other, from `first` on. What one call writes may reach the medium in
    /// any order; what a later call writes does not reach it before.
    ///
    /// # Errors
    /// What went wrong; then some of them are written.
    fn write(&mut self, first: u64, from: &[&Block]) -> Result<(), DeviceError>;

    /// Waits until all that was written is on the medium.
    ///
    /// # Errors
    /// What went wrong.
    fn flush(&mut self) -> Result<(), DeviceError>;
}

impl<D: BlockDevice + ?Sized> BlockDevice for &mut D {
    fn blocks(&self) -> u64 {
        (**self).blocks()
    }

    fn is_read_only(&self) -> bool {
        (**self).is_read_only()
    }

    fn read(&mut self, first: u64, into: &mut [&mut Block]) -> Result<(), DeviceError> {
        (**self).read(first, into)
    }

    fn write(&mut self, first: u64, from: &[&Block]) -> Result<(), DeviceError> {
        (**self).write(first, from)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        (**self).flush()
    }
}

/// Blocks in memory. Those that were never written take none, and are zeros.
#[derive(Clone, Debug)]
pub struct Memory {
    blocks: Vec<Option<Box<Block>>>,
    read_only: bool,
}

impl Memory {
    /// `blocks` blocks of zeros.
    pub fn new(blocks: usize) -> Self {
        Self {
            blocks: alloc::vec![None; blocks],
            read_only: false,
        }
    }

    /// The bytes of an image; the last block is filled up with zeros.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let blocks = bytes.chunks(BLOCK_SIZE).map(|chunk| {
            if chunk.iter().all(|byte| *byte == 0) {
                return None;
            }
            let mut block = Block::zeroed();
            block.0[..chunk.len()].copy_from_slice(chunk);
            Some(block)
        });
        Self {
            blocks: blocks.collect(),
            read_only: false,
        }
    }

    /// All bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.blocks.len() * BLOCK_SIZE);
        for block in &self.blocks {
            match block {
                Some(block) => bytes.extend_from_slice(&block.0),
                None => bytes.resize(bytes.len() + BLOCK_SIZE, 0),
            }
        }
        bytes
    }

    /// Has writes refused from now on, or not.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.read_only = read_only;
    }

    fn range(
        &mut self,
        first: u64,
        count: usize,
    ) -> Result<&mut [Option<Box<Block>>], DeviceError> {
        let first = usize::try_from(first).map_err(|_| DeviceError::OutOfRange)?;
        let end = first.checked_add(count).ok_or(DeviceError::OutOfRange)?;
        self.blocks
            .get_mut(first..end)
            .ok_or(DeviceError::OutOfRange)
    }
}

impl BlockDevice for Memory {
    fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn read(&mut self, first: u64, into: &mut [&mut Block]) -> Result<(), DeviceError> {
        let blocks = self.range(first, into.len())?;
        for (to, from) in into.iter_mut().zip(blocks) {
            match from {
                Some(from) => to.0.copy_from_slice(&from.0),
                None => to.0.fill(0),
            }
        }
        Ok(())
    }

    fn write(&mut self, first: u64, from: &[&Block]) -> Result<(), DeviceError> {
        if self.read_only {
            return Err(DeviceError::ReadOnly);
        }
        let blocks = self.range(first, from.len())?;
        for (to, from) in blocks.iter_mut().zip(from) {
            to.get_or_insert_with(Block::zeroed)
                .0
                .copy_from_slice(&from.0);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// A part of a device as a device: nothing outside is reached.
#[derive(Debug)]
pub struct Window<D> {
    device: D,
    first: u64,
    blocks: u64,
}

impl<D: BlockDevice> Window<D> {
    /// `blocks` blocks of `device` from `first` on.
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`]: it has not so many.
    pub fn new(device: D, first: u64, blocks: u64) -> Result<Self, DeviceError> {
        match first.checked_add(blocks) {
            Some(end) if end <= device.blocks() => Ok(Self {
                device,
                first,
                blocks,
            }),
            _ => Err(DeviceError::OutOfRange),
        }
    }

    /// The device, again whole.
    pub fn into_inner(self) -> D {
        self.device
    }

    fn place(&self, first: u64, count: usize) -> Result<u64, DeviceError> {
        match first.checked_add(count as u64) {
            Some(end) if end <= self.blocks => Ok(self.first + first),
            _ => Err(DeviceError::OutOfRange),
        }
    }
}

impl<D: BlockDevice> BlockDevice for Window<D> {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn is_read_only(&self) -> bool {
        self.device.is_read_only()
    }

    fn read(&mut self, first: u64, into: &mut [&mut Block]) -> Result<(), DeviceError> {
        let first = self.place(first, into.len())?;
        self.device.read(first, into)
    }

    fn write(&mut self, first: u64, from: &[&Block]) -> Result<(), DeviceError> {
        let first = self.place(first, from.len())?;
        self.device.write(first, from)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        self.device.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_its_part_alone() {
        let mut memory = Memory::new(8);
        let mut block = Block::zeroed();
        block.0[0] = 7;
        let mut window = Window::new(&mut memory, 2, 4).unwrap();
        window.write(3, &[&block]).unwrap();
        assert_eq!(window.write(4, &[&block]), Err(DeviceError::OutOfRange));
        assert_eq!(
            window.write(3, &[&block, &block]),
            Err(DeviceError::OutOfRange)
        );
        assert_eq!(
            window.read(u64::MAX, &mut [&mut block]),
            Err(DeviceError::OutOfRange)
        );
        let bytes = memory.to_bytes();
        assert_eq!(
            bytes.iter().position(|byte| *byte == 7),
            Some(5 * BLOCK_SIZE)
        );
        assert!(Window::new(&mut memory, 5, 4).is_err());
        assert!(Window::new(&mut memory, u64::MAX, 2).is_err());
    }

    #[test]
    fn what_is_not_to_be_written_is_not() {
        let mut memory = Memory::from_bytes(&[1, 2, 3]);
        memory.set_read_only(true);
        assert_eq!(
            memory.write(0, &[&Block::zeroed()]),
            Err(DeviceError::ReadOnly)
        );
        assert_eq!(memory.to_bytes()[..4], [1, 2, 3, 0]);
    }
}
