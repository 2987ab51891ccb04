//! The partition table in a card's first sector (the "MBR" of PCs).
//!
//! ```text
//!   446  four entries of 16 bytes:  0 status  1 begin as CHS  4 type  5 end as CHS  8 first sector  12 sectors
//!   510  0x55 0xaa
//! ```
//!
//! Sectors are 512 bytes, numbers 32 bits. Extended partitions and GPT are not understood: a card with one of these shows
//! an entry of a type that is neither FAT nor ours.

use crate::device::{BLOCK_SIZE, Block, BlockDevice, Window};
use crate::{Error, VolumeError};

/// Bytes in a sector.
pub const SECTOR_SIZE: usize = 512;
/// Sectors in a block.
pub const SECTORS_PER_BLOCK: u32 = (BLOCK_SIZE / SECTOR_SIZE) as u32;
/// FAT32, addressed by sector numbers.
pub const TYPE_FAT32: u8 = 0x0c;
/// FAT16, addressed by sector numbers.
pub const TYPE_FAT16: u8 = 0x0e;
/// What we take for XN. The "Alt-OS-Development Partition Standard" keeps 0x7f for uses that are local, temporary or
/// experimental, and no system mounts or formats it unasked.
pub const TYPE_XN: u8 = 0x7f;

/// Types that mean FAT16 or FAT32: by CHS below 32 MiB and above, and by sector numbers.
const FAT_TYPES: [u8; 5] = [0x04, 0x06, 0x0b, TYPE_FAT32, TYPE_FAT16];

const TABLE: usize = 446;
const ENTRY: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub kind: u8,
    /// Whether PCs start from it. Boards do not look.
    pub active: bool,
    /// First sector.
    pub first: u32,
    /// Sectors; never 0.
    pub sectors: u32,
}

impl Partition {
    /// Whether its type says that it holds FAT.
    pub fn is_fat(&self) -> bool {
        FAT_TYPES.contains(&self.kind)
    }

    const fn end(&self) -> u64 {
        self.first as u64 + self.sectors as u64
    }

    /// The part of `card` that it is. What does not fill a last block is left out.
    ///
    /// # Errors
    /// [`VolumeError::Unaligned`], [`VolumeError::Partition`].
    pub fn window<D: BlockDevice>(&self, card: D) -> Result<Window<D>, VolumeError> {
        if !self.first.is_multiple_of(SECTORS_PER_BLOCK) {
            return Err(VolumeError::Unaligned);
        }
        let blocks = self.sectors / SECTORS_PER_BLOCK;
        let first = u64::from(self.first / SECTORS_PER_BLOCK);
        Window::new(card, first, blocks.into()).map_err(|_| VolumeError::Partition)
    }
}

/// The four places of a table.
pub type Table = [Option<Partition>; 4];

/// Reads the table of a card of `sectors` sectors from its first sector.
///
/// # Errors
/// [`VolumeError::NoTable`]; [`VolumeError::Partition`] if one lies outside, over the table or over another one.
pub fn parse(first: &[u8; SECTOR_SIZE], sectors: u64) -> Result<Table, VolumeError> {
    let Some((rest, &SIGNATURE)) = first.split_last_chunk() else {
        return Err(VolumeError::NoTable);
    };
    let mut table = Table::default();
    let (_, entries) = rest.split_at(TABLE);
    let (entries, _) = entries.as_chunks::<ENTRY>();
    for (place, entry) in table.iter_mut().zip(entries) {
        *place = read(entry)?;
    }
    for (number, partition) in table.iter().enumerate() {
        let Some(partition) = partition else { continue };
        let others = table.iter().skip(number + 1).flatten();
        let over = |other: &Partition| {
            u64::from(partition.first) < other.end() && u64::from(other.first) < partition.end()
        };
        if partition.first == 0 || partition.end() > sectors || others.into_iter().any(over) {
            return Err(VolumeError::Partition);
        }
    }
    Ok(table)
}

fn read(entry: &[u8; ENTRY]) -> Result<Option<Partition>, VolumeError> {
    let [status, _, _, _, kind, _, _, _, rest @ ..] = entry;
    let (words, _) = rest.as_chunks::<4>();
    let [first, sectors] = words else {
        return Err(VolumeError::NoTable);
    };
    let partition = Partition {
        kind: *kind,
        active: *status == 0x80,
        first: u32::from_le_bytes(*first),
        sectors: u32::from_le_bytes(*sectors),
    };
    match (partition.kind, partition.sectors, status) {
        (0, ..) => Ok(None),
        // In place of a table, a boot sector of FAT may be there, whose code is no status.
        (_, _, 1..=0x7f | 0x81..) => Err(VolumeError::NoTable),
        (_, 0, _) => Err(VolumeError::Partition),
        _ => Ok(Some(partition)),
    }
}

/// Reads the table of a card.
///
/// # Errors
/// As for [`parse`], and what the card says.
pub fn of<D: BlockDevice>(card: &mut D) -> Result<Table, Error> {
    let mut block = Block::zeroed();
    card.read(0, &mut [&mut block])?;
    let Some((sector, _)) = block.0.split_first_chunk() else {
        return Err(Error::Corrupt);
    };
    let sectors = card.blocks() * u64::from(SECTORS_PER_BLOCK);
    Ok(parse(sector, sectors)?)
}

/// A first sector with this table, and nothing that a PC would run.
pub fn sector(table: &Table, signature: u32) -> [u8; SECTOR_SIZE] {
    let mut sector = [0; SECTOR_SIZE];
    // The number by which systems know a card again.
    sector[440..444].copy_from_slice(&signature.to_le_bytes());
    let (entries, _) = sector[TABLE..].as_chunks_mut::<ENTRY>();
    for (entry, partition) in entries.iter_mut().zip(table) {
        let Some(partition) = partition else { continue };
        let last = partition.first.saturating_add(partition.sectors - 1);
        entry[0] = if partition.active { 0x80 } else { 0 };
        entry[1..4].copy_from_slice(&chs(partition.first));
        entry[4] = partition.kind;
        entry[5..8].copy_from_slice(&chs(last));
        entry[8..12].copy_from_slice(&partition.first.to_le_bytes());
        entry[12..16].copy_from_slice(&partition.sectors.to_le_bytes());
    }
    sector[510..].copy_from_slice(&SIGNATURE);
    sector
}

/// A sector's number as cylinder, head and sector, for 255 heads of 63 sectors: all ones beyond what these can name.
fn chs(sector: u32) -> [u8; 3] {
    let (track, place) = (sector / 63, sector % 63 + 1);
    let (cylinder, head) = (track / 255, track % 255);
    if cylinder > 1023 {
        return [0xfe, 0xff, 0xff];
    }
    [
        head as u8,
        place as u8 | (cylinder >> 2) as u8 & 0xc0,
        cylinder as u8,
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAT: Partition = Partition {
        kind: TYPE_FAT16,
        active: true,
        first: 2048,
        sectors: 4096,
    };
    const XN: Partition = Partition {
        kind: TYPE_XN,
        active: false,
        first: 6144,
        sectors: 2048,
    };

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let table = [Some(FAT), Some(XN), None, None];
        let first = sector(&table, 7);
        assert_eq!(parse(&first, 8192), Ok(table));
        assert_eq!(parse(&first, 8191), Err(VolumeError::Partition));
        assert!(FAT.is_fat() && !XN.is_fat());
    }

    #[test]
    fn what_is_no_table_is_told() {
        let good = sector(&[Some(FAT), Some(XN), None, None], 7);
        let with = |change: fn(&mut [u8; SECTOR_SIZE])| {
            let mut first = good;
            change(&mut first);
            parse(&first, 8192).unwrap_err()
        };
        assert_eq!(with(|first| first[511] = 0), VolumeError::NoTable);
        assert_eq!(with(|first| first[446] = 1), VolumeError::NoTable);
        // Sector 0, none, and one that lies over the other.
        assert_eq!(with(|first| first[455] = 0), VolumeError::Partition);
        assert_eq!(with(|first| first[459] = 0), VolumeError::Partition);
        assert_eq!(with(|first| first[459] = 0x20), VolumeError::Partition);
        let mut memory = crate::device::Memory::new(1024);
        let odd = Partition { first: 63, ..FAT };
        assert_eq!(odd.window(&mut memory).err(), Some(VolumeError::Unaligned));
        assert!(FAT.window(&mut memory).is_ok());
    }

    #[test]
    fn places_beyond_1024_cylinders_are_all_ones() {
        assert_eq!(chs(0), [0, 1, 0]);
        assert_eq!(chs(62), [0, 63, 0]);
        assert_eq!(chs(63), [1, 1, 0]);
        assert_eq!(chs(1024 * 255 * 63 - 1), [254, 0xff, 0xff]);
        assert_eq!(chs(1024 * 255 * 63), [0xfe, 0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn any_sector_is_a_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 66), sectors: u64) {
            let mut first = [0; SECTOR_SIZE];
            first[446..].copy_from_slice(&bytes);
            first[510..].copy_from_slice(&SIGNATURE);
            if let Ok(table) = parse(&first, sectors) {
                let inside = |partition: &Partition| partition.end() <= sectors;
                prop_assert!(table.iter().flatten().all(inside));
            }
        }
    }
}
