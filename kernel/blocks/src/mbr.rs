//! The partition table in a medium's first sector.
//!
//! ```text
//!   446      462      478      494      510
//!    | entry | entry | entry | entry | 55 aa |      512 bytes
//!
//!    entry:  0 status (0 or 0x80)   4 type   8 first sector   12 sectors
//! ```
//!
//! The form is that of the original PC; its addresses by cylinder are ignored, as everybody does. Four primary
//! partitions, or none. What is hostile or from another scheme is refused as a whole: of a table of which one entry
//! lies, no other is believed.

use exopi_abi::disk::{BLOCK_SIZE, BlockRange};

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Most partitions.
pub const MOST: usize = 4;
/// Sectors of a block.
pub const SECTORS_PER_BLOCK: u64 = BLOCK_SIZE / SECTOR as u64;

const TABLE: usize = 446;
const ENTRY: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// Why a table is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The sector does not end as such a table does.
    NoTable,
    /// An entry's status is none, or it has a place and no type, or a type and no place.
    Malformed,
    /// A partition that contains others, or a table of another scheme (GPT) behind this one.
    Unsupported,
    /// A partition begins with the table itself, or ends beyond the medium.
    OutOfRange,
    /// Two partitions share a sector.
    Overlap,
}

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What is in it, by the usual codes: 0x0c is FAT32.
    pub kind: u8,
    /// Marked as the one to boot from.
    pub boots: bool,
    /// First sector.
    pub first: u32,
    /// Sectors, not 0.
    pub sectors: u32,
}

impl Partition {
    /// The sector behind the last one.
    pub const fn end(&self) -> u64 {
        self.first as u64 + self.sectors as u64
    }

    /// Its blocks, as far as they are whole; `None` if it does not begin with one, or has none.
    pub fn blocks(&self) -> Option<BlockRange> {
        let first = u64::from(self.first);
        let count = u64::from(self.sectors) / SECTORS_PER_BLOCK;
        if !first.is_multiple_of(SECTORS_PER_BLOCK) || count == 0 {
            return None;
        }
        Some(BlockRange {
            first: u32::try_from(first / SECTORS_PER_BLOCK).ok()?,
            count: u32::try_from(count).ok()?,
        })
    }
}

/// Types that are boxes of other partitions, and the one that a GPT hides behind.
const UNSUPPORTED: [u8; 4] = [0x05, 0x0f, 0x85, 0xee];

/// The partitions of a medium of so many sectors, by its first sector; in the table's order, with its gaps.
///
/// # Errors
/// [`Error`] for what is not such a table, or does not make sense.
pub fn parse(
    sector: &[u8; SECTOR],
    medium_sectors: u64,
) -> Result<[Option<Partition>; MOST], Error> {
    if !sector.ends_with(&SIGNATURE) {
        return Err(Error::NoTable);
    }
    let mut partitions = [None; MOST];
    let entries = sector.get(TABLE..).unwrap_or(&[]).chunks_exact(ENTRY);
    for (place, entry) in partitions.iter_mut().zip(entries) {
        *place = self::entry(entry)?;
    }
    let all = || partitions.iter().flatten();
    for one in all() {
        if one.first == 0 || one.end() > medium_sectors {
            return Err(Error::OutOfRange);
        }
    }
    let shares =
        |a: &Partition, b: &Partition| u64::from(a.first) < b.end() && u64::from(b.first) < a.end();
    for (index, one) in all().enumerate() {
        if all().skip(index + 1).any(|other| shares(one, other)) {
            return Err(Error::Overlap);
        }
    }
    Ok(partitions)
}

fn entry(bytes: &[u8]) -> Result<Option<Partition>, Error> {
    let &[
        status,
        _,
        _,
        _,
        kind,
        _,
        _,
        _,
        f0,
        f1,
        f2,
        f3,
        s0,
        s1,
        s2,
        s3,
    ] = bytes
    else {
        return Err(Error::Malformed);
    };
    let first = u32::from_le_bytes([f0, f1, f2, f3]);
    let sectors = u32::from_le_bytes([s0, s1, s2, s3]);
    match (status, kind, first, sectors) {
        (0, 0, 0, 0) => Ok(None),
        (_, kind, _, _) if UNSUPPORTED.contains(&kind) => Err(Error::Unsupported),
        (0 | 0x80, 1.., _, 1..) => Ok(Some(Partition {
            kind,
            boots: status != 0,
            first,
            sectors,
        })),
        _ => Err(Error::Malformed),
    }
}
