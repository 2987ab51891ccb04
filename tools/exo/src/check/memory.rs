//! The guest's RAM: a file whose byte n is at physical address n, or the same in a vector.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};
use exopi_abi::layout::PAGE_SIZE;

/// Entries of a table.
pub const ENTRIES: usize = 512;

/// The guest's RAM.
#[derive(Debug)]
pub struct Memory {
    bytes: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(File),
    Held(Vec<u8>),
}

impl Memory {
    /// The RAM in a file: one that a running emulator shares, or a copy. Holes count as zeros.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a whole number of pages.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let bytes = file.metadata()?.len();
        ensure!(
            bytes > 0 && bytes.is_multiple_of(PAGE_SIZE),
            "{} is no memory: it has {bytes} bytes, not a whole number of pages",
            path.display()
        );
        Ok(Self {
            bytes,
            source: Source::File(file),
        })
    }

    /// These bytes as RAM.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.len() as u64,
            source: Source::Held(bytes),
        }
    }

    /// Frames of RAM.
    pub fn frames(&self) -> u64 {
        self.bytes / PAGE_SIZE
    }

    /// `length` bytes from physical address `at` on, if all of them are RAM.
    pub fn read(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let end = at.checked_add(length as u64)?;
        if end > self.bytes {
            return None;
        }
        match &self.source {
            Source::Held(bytes) => bytes.get(at as usize..end as usize).map(<[u8]>::to_vec),
            Source::File(file) => {
                let mut bytes = vec![0; length];
                // A file that was cut off meanwhile has no such memory any more.
                read_whole(file, &mut bytes, at).ok()?;
                Some(bytes)
            }
        }
    }

    /// Writes it to a file, with holes where it is zero.
    ///
    /// # Errors
    /// Those of the file.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        /// Bytes that are looked at together.
        const PIECE: u64 = 1 << 16;
        let what = || format!("cannot save the memory to {}", path.display());
        let to = File::create(path).with_context(what)?;
        to.set_len(self.bytes).with_context(what)?;
        for at in (0..self.bytes).step_by(PIECE as usize) {
            let length = PIECE.min(self.bytes - at);
            let piece = self.read(at, length as usize).unwrap_or_default();
            if piece.iter().any(|byte| *byte != 0) {
                to.write_all_at(&piece, at).with_context(what)?;
            }
        }
        Ok(())
    }

    /// The word at physical address `at`.
    pub fn word(&self, at: u64) -> Option<u64> {
        words(&self.read(at, 8)?).first().copied()
    }

    /// A frame as a table.
    pub fn table(&self, frame: u64) -> Option<Vec<u64>> {
        let at = frame.checked_mul(PAGE_SIZE)?;
        Some(words(&self.read(at, ENTRIES * 8)?))
    }
}

fn read_whole(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    file.read_exact_at(bytes, at)
}

/// Bytes as words, as the guest's processors have them; an incomplete last one is left out.
pub fn words(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.as_chunks().0.iter();
    words.map(|word| u64::from_le_bytes(*word)).collect()
}

/// A record's bytes, read by field. What lies beyond their end is zero.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        let field = self.0.get(at..).and_then(|rest| rest.first_chunk());
        field.copied().unwrap_or([0; N])
    }

    /// The byte at this offset.
    pub fn u8(self, at: usize) -> u8 {
        u8::from_le_bytes(self.bytes(at))
    }

    /// The 16 bits at this offset.
    pub fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    /// The 32 bits at this offset.
    pub fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    /// The 64 bits at this offset.
    pub fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}
