//! The volume as the crate sees it: what it needs to follow chains and to move contents, and nothing else.
//!
//! `embedded-sdmmc` believes what a volume says. It was made for cards that nobody has damaged on purpose, and it panics,
//! loops or leaves the volume on others: a cluster's number below 2 wraps, a chain in a circle is walked for ever, a free
//! entry in the last sector of the FAT is taken though there is no such cluster, a half of a surrogate pair overflows a
//! buffer. So it gets a volume that has none of that:
//!
//! ```text
//!   sector  0           a partition table with one partition           made here
//!           1           the boot sector, checked before                as it is; FAT32's FSInfo at a place of ours
//!           FSInfo      "nothing is known of free clusters"            made here; writes are dropped
//!           FATs        each entry leads to a cluster, or is the end   mended; writes are refused
//!           root        F0 F1 ...: the files that are open             made here; writes are dropped
//!           data        contents                                       as they are
//! ```
//!
//! An open file is as long as a file can be: it ends where its chain does, and [`Fat`](super::Fat) asks for no more than
//! there is. So the crate allocates nothing, and has no name, size or count that could be out of date: all that changes
//! chains or directories is our own code, by `VolumeManager::device`, which makes the crate forget its one sector.

use core::cell::RefCell;
use core::fmt;

use embedded_sdmmc::{Block as Sector, BlockCount, BlockDevice as Sectors, BlockIdx};

use super::blocks::Rank;
use super::geometry::{Geometry, Link, Width};
use super::slot::{ARCHIVE, Facts};
use super::table::Volume;
use crate::DeviceError;
use crate::device::BlockDevice;
use crate::filesystem::Stamp;
use crate::mbr::{self, Partition, SECTOR_SIZE};

/// Files that the crate has open at most.
pub(super) const HANDLES: usize = 8;
/// Where the crate finds FSInfo if there is no place for it: in the reserved sectors, of which FAT32 has two.
const INFO: u32 = 1;

/// Why the crate got no sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ViewError {
    /// The device says so.
    Device(DeviceError),
    /// There is nothing for it there.
    Refused,
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Refused => f.write_str("not a sector to be touched"),
        }
    }
}

impl core::error::Error for ViewError {}

impl From<DeviceError> for ViewError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

/// A volume, as the crate sees it.
pub(super) struct View<D> {
    volume: RefCell<Volume<D>>,
    /// First clusters of the files that are open.
    open: [Option<u32>; HANDLES],
}

/// What a sector is to the crate.
enum Part {
    Table,
    Boot,
    Info,
    /// Which sector of the volume, and the number of the first cluster in it.
    Fat(u32, u32),
    Root,
    Data(u32),
}

impl<D: BlockDevice> View<D> {
    pub(super) fn new(volume: Volume<D>) -> Self {
        Self {
            volume: RefCell::new(volume),
            open: [None; HANDLES],
        }
    }

    /// The volume, for our own code.
    pub(super) fn volume(&mut self) -> &mut Volume<D> {
        self.volume.get_mut()
    }

    pub(super) fn into_volume(self) -> Volume<D> {
        self.volume.into_inner()
    }

    /// The name under which the crate finds an open file.
    pub(super) fn name(handle: usize) -> &'static str {
        const NAMES: [&str; HANDLES] = ["F0", "F1", "F2", "F3", "F4", "F5", "F6", "F7"];
        NAMES.get(handle).copied().unwrap_or_default()
    }

    /// Has a file there, from this cluster on, or none.
    pub(super) fn set_open(&mut self, handle: usize, first: Option<u32>) {
        if let Some(place) = self.open.get_mut(handle) {
            *place = first;
        }
    }

    fn part(geometry: &Geometry, sector: u32) -> Result<Part, ViewError> {
        let Some(sector) = sector.checked_sub(1) else {
            return Ok(Part::Table);
        };
        let root = match geometry.width {
            Width::Fat16 => geometry.root_start,
            Width::Fat32 => geometry.sector_of(geometry.root_cluster),
        };
        let fats = geometry.fats * geometry.fat_sectors;
        Ok(match sector {
            0 => Part::Boot,
            sector if sector == root => Part::Root,
            sector if sector >= geometry.sectors => return Err(ViewError::Refused),
            sector if sector >= geometry.data_start => Part::Data(sector),
            sector if (geometry.fat_start..geometry.fat_start + fats).contains(&sector) => {
                let number = (sector - geometry.fat_start) % geometry.fat_sectors;
                Part::Fat(sector, number * geometry.entries_per_sector())
            }
            sector if sector == geometry.info.unwrap_or(INFO) => Part::Info,
            _ => return Err(ViewError::Refused),
        })
    }

    fn show(&self, sector: u32, to: &mut [u8; SECTOR_SIZE]) -> Result<(), ViewError> {
        let volume = &mut *self.volume.borrow_mut();
        let geometry = volume.geometry;
        match Self::part(&geometry, sector)? {
            Part::Table => *to = table(&geometry),
            Part::Boot => {
                *to = *volume.blocks.sector(0)?;
                if geometry.width == Width::Fat32 {
                    let info = geometry.info.unwrap_or(INFO) as u16;
                    to[48..50].copy_from_slice(&info.to_le_bytes());
                }
            }
            Part::Info => *to = unknown(),
            Part::Fat(sector, first) => {
                *to = *volume.blocks.sector(sector)?;
                for index in 0..geometry.entries_per_sector() {
                    let place = index as usize;
                    let link = match geometry.link(to, place) {
                        // Where there is no cluster, none is free.
                        _ if !geometry.is_cluster(first + index) => Link::Bad,
                        Link::Next(next) => Link::Next(next),
                        Link::Bad => Link::Bad,
                        Link::Free | Link::End | Link::Nonsense => Link::End,
                    };
                    geometry.set_link(to, place, link);
                }
            }
            Part::Root => self.show_root(to),
            Part::Data(sector) => *to = *volume.blocks.sector(sector)?,
        }
        Ok(())
    }

    fn show_root(&self, to: &mut [u8; SECTOR_SIZE]) {
        to.fill(0);
        let (slots, _) = to.as_chunks_mut::<32>();
        for ((slot, first), number) in slots.iter_mut().zip(&self.open).zip(b'0'..) {
            // A place without a file is not the end of the directory.
            let mut name = *b"-          ";
            if first.is_some() {
                (name[0], name[1]) = (b'F', number);
            }
            let facts = Facts {
                attributes: ARCHIVE,
                cluster: first.unwrap_or(0),
                size: u32::MAX,
                modified: Stamp::EPOCH,
            };
            *slot = facts.slot(&name);
        }
    }
}

/// A table with one partition: the volume, behind the table's sector.
fn table(geometry: &Geometry) -> [u8; SECTOR_SIZE] {
    let partition = Partition {
        kind: mbr::TYPE_FAT32,
        active: false,
        first: 1,
        sectors: geometry.sectors,
    };
    mbr::sector(&[Some(partition), None, None, None], 0)
}

/// An FSInfo that knows nothing.
fn unknown() -> [u8; SECTOR_SIZE] {
    let mut sector = [0; SECTOR_SIZE];
    sector[..4].copy_from_slice(b"RRaA");
    sector[484..488].copy_from_slice(b"rrAa");
    sector[488..496].fill(0xff);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

impl<D: BlockDevice> Sectors for View<D> {
    type Error = ViewError;

    fn read(&self, sectors: &mut [Sector], first: BlockIdx) -> Result<(), ViewError> {
        for (sector, number) in sectors.iter_mut().zip(first.0..) {
            self.show(number, &mut sector.contents)?;
        }
        Ok(())
    }

    fn write(&self, sectors: &[Sector], first: BlockIdx) -> Result<(), ViewError> {
        for (sector, number) in sectors.iter().zip(first.0..) {
            let volume = &mut *self.volume.borrow_mut();
            match Self::part(&volume.geometry, number)? {
                Part::Data(at) => {
                    *volume.blocks.sector_mut(at, Rank::Contents)? = sector.contents;
                }
                Part::Root | Part::Info => {}
                Part::Table | Part::Boot | Part::Fat(..) => return Err(ViewError::Refused),
            }
        }
        Ok(())
    }

    fn num_blocks(&self) -> Result<BlockCount, ViewError> {
        // One more is the table's. No volume has 2^32 - 1 sectors: its data would need that many numbers.
        let sectors = self.volume.borrow().geometry.sectors;
        Ok(BlockCount(sectors.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::blocks::Blocks;
    use super::super::format::{Format, format};
    use super::*;
    use crate::device::Memory;

    /// A view of a volume whose first FAT is these numbers, again and again.
    fn view(width: Width, links: &[u32]) -> View<Memory> {
        let (blocks, each) = match width {
            Width::Fat16 => (540, 1),
            Width::Fat32 => (8400, 1),
        };
        let mut memory = Memory::new(blocks);
        let wanted = Format {
            width: Some(width),
            sectors_per_cluster: Some(each),
            ..Format::default()
        };
        format(&mut memory, &wanted).unwrap();
        let mut blocks = Blocks::new(memory, 64);
        let geometry = Geometry::parse(blocks.sector(0).unwrap(), 8 * 8400).unwrap();
        for sector in geometry.fat_start..geometry.fat_start + geometry.fat_sectors {
            let bytes = blocks.sector_mut(sector, Rank::Contents).unwrap();
            let size = geometry.entry_bytes() as usize;
            for (entry, link) in bytes.chunks_exact_mut(size).zip(links.iter().cycle()) {
                entry.copy_from_slice(&link.to_le_bytes()[..size]);
            }
        }
        View::new(Volume::new(geometry, blocks))
    }

    fn read(view: &View<Memory>, sector: u32) -> Result<Sector, ViewError> {
        let mut sectors = [Sector::new()];
        view.read(&mut sectors, BlockIdx(sector))?;
        let [sector] = sectors;
        Ok(sector)
    }

    proptest! {
        #[test]
        fn every_entry_leads_to_a_cluster_or_is_the_end(
            wide in any::<bool>(),
            links in prop::collection::vec(prop_oneof![any::<u32>(), 0..8u32, 4200..4300u32, 66_000..67_500u32], 1..50),
        ) {
            let width = if wide { Width::Fat32 } else { Width::Fat16 };
            let mut view = view(width, &links);
            let geometry = view.volume().geometry;
            for number in 0..geometry.fat_sectors {
                let shown = read(&view, 1 + geometry.fat_start + number).unwrap();
                for index in 0..geometry.entries_per_sector() {
                    let cluster = number * geometry.entries_per_sector() + index;
                    let link = geometry.link(&shown.contents, index as usize);
                    match link {
                        Link::Next(next) => prop_assert!(geometry.is_cluster(next)),
                        Link::End | Link::Bad => {}
                        Link::Free | Link::Nonsense => prop_assert!(false, "{cluster}: {link:?}"),
                    }
                    // Beyond the last one, nothing is to be had.
                    prop_assert!(geometry.is_cluster(cluster) || link == Link::Bad);
                }
            }
        }
    }

    #[test]
    fn the_crate_writes_contents_alone() {
        for width in [Width::Fat16, Width::Fat32] {
            let mut view = view(width, &[u32::MAX]);
            let geometry = view.volume().geometry;
            let root = match width {
                Width::Fat16 => geometry.root_start,
                Width::Fat32 => geometry.sector_of(geometry.root_cluster),
            };
            let sector = Sector {
                contents: [0x5a; 512],
            };
            let sectors = [sector];
            let refused = |view: &View<Memory>, number: u32| {
                view.write(&sectors, BlockIdx(number)) == Err(ViewError::Refused)
            };
            let fats = geometry.fat_start..geometry.fat_start + 2 * geometry.fat_sectors;
            assert!(
                [0, 1, 1 + geometry.sectors]
                    .into_iter()
                    .all(|number| refused(&view, number))
            );
            assert!(fats.into_iter().all(|number| refused(&view, 1 + number)));
            assert_eq!(
                read(&view, 1 + geometry.sectors).err(),
                Some(ViewError::Refused)
            );
            // Dropped, and shown as it was.
            let before = read(&view, 1 + root).unwrap().contents;
            view.write(&sectors, BlockIdx(1 + root)).unwrap();
            assert!(read(&view, 1 + root).unwrap().contents == before);
            let data = geometry.sector_of(geometry.end() - 1);
            view.write(&sectors, BlockIdx(1 + data)).unwrap();
            assert_eq!(view.volume().blocks.sector(data), Ok(&[0x5a; 512]));
        }
    }
}
