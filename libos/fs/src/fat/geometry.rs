//! Where everything is on a volume, from its boot sector, checked before anything else is read.
//!
//! ```text
//!   0        reserved      FAT  [FAT]     root (FAT16)      data: clusters 2, 3, ...
//!   boot sector, FSInfo    fat_start      root_start        data_start
//! ```
//!
//! Source: Microsoft, "FAT32 File System Specification", 1.03 (2000): fields by their names there, and the rule that the
//! number of clusters alone tells FAT12, 16 and 32 apart.

use crate::VolumeError;
use crate::mbr::SECTOR_SIZE;

/// Bytes in a sector, for sums in 32 bits.
pub(super) const SECTOR: u32 = SECTOR_SIZE as u32;
/// Bytes in a directory entry.
pub(super) const SLOT: usize = 32;
/// Clusters are numbered from here.
pub(super) const FIRST_CLUSTER: u32 = 2;
/// From so many clusters on it is FAT16, and FAT32.
const FAT16_FROM: u64 = 4085;
const FAT32_FROM: u64 = 65_525;
/// Numbers from here on are no clusters of FAT32.
const FAT32_END: u64 = 0x0fff_fff6;

/// Which FAT it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Entries of 16 bits, and a root directory of fixed size.
    Fat16,
    /// Entries of 28 bits in 32.
    Fat32,
}

/// A volume's layout, in sectors from its begin. Every sum of what is in here stays below 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) width: Width,
    pub(super) sectors: u32,
    pub(super) sectors_per_cluster: u32,
    pub(super) fat_start: u32,
    pub(super) fat_sectors: u32,
    /// One or two.
    pub(super) fats: u32,
    /// FAT16 alone: where the root directory is.
    pub(super) root_start: u32,
    pub(super) root_sectors: u32,
    /// FAT32 alone: where it begins; 0 on FAT16, which no cluster is.
    pub(super) root_cluster: u32,
    pub(super) data_start: u32,
    /// How many clusters there are.
    pub(super) clusters: u32,
    /// FAT32 alone: where the free clusters are counted, if anywhere.
    pub(super) info: Option<u32>,
}

fn half(sector: &[u8; SECTOR_SIZE], at: usize) -> u32 {
    u16::from_le_bytes([sector[at], sector[at + 1]]).into()
}

fn word(sector: &[u8; SECTOR_SIZE], at: usize) -> u32 {
    half(sector, at) | half(sector, at + 2) << 16
}

/// The first that is not 0: FAT16 keeps some numbers in 16 bits where FAT32 has 32.
fn either(short: u32, long: u32) -> u32 {
    if short == 0 { long } else { short }
}

impl Geometry {
    /// What a boot sector says, on a device of `available` sectors.
    pub(super) fn parse(boot: &[u8; SECTOR_SIZE], available: u64) -> Result<Self, VolumeError> {
        if boot[510..] != [0x55, 0xaa] {
            return Err(VolumeError::Signature);
        }
        if half(boot, 11) != SECTOR {
            return Err(VolumeError::SectorSize);
        }
        let sectors_per_cluster = u32::from(boot[13]);
        if !sectors_per_cluster.is_power_of_two() {
            return Err(VolumeError::ClusterSize);
        }
        let (reserved, fats, root_entries) = (half(boot, 14), u32::from(boot[16]), half(boot, 17));
        let fat_sectors = either(half(boot, 22), word(boot, 36));
        if !(1..=2).contains(&fats) || fat_sectors == 0 {
            return Err(VolumeError::TableCount);
        }
        let sectors = either(half(boot, 19), word(boot, 32));
        let root_sectors = (root_entries * SLOT as u32).div_ceil(SECTOR);
        let root_start = u64::from(reserved) + u64::from(fats) * u64::from(fat_sectors);
        let data_start = root_start + u64::from(root_sectors);
        let data = u64::from(sectors).checked_sub(data_start);
        let data = data.ok_or(VolumeError::Layout)?;
        if reserved == 0 {
            return Err(VolumeError::Layout);
        }
        if u64::from(sectors) > available {
            return Err(VolumeError::Truncated);
        }
        let clusters = data / u64::from(sectors_per_cluster);
        let width = match clusters {
            0..FAT16_FROM => return Err(VolumeError::Fat12),
            FAT16_FROM..FAT32_FROM => Width::Fat16,
            _ => Width::Fat32,
        };
        if clusters + u64::from(FIRST_CLUSTER) > FAT32_END {
            return Err(VolumeError::Layout);
        }
        let geometry = Self {
            width,
            sectors,
            sectors_per_cluster,
            fat_start: reserved,
            fat_sectors,
            fats,
            // Both are at most `sectors`.
            root_start: root_start as u32,
            root_sectors,
            root_cluster: if width == Width::Fat32 {
                word(boot, 44)
            } else {
                0
            },
            data_start: data_start as u32,
            clusters: clusters as u32,
            info: Some(half(boot, 48)).filter(|info| (1..reserved).contains(info)),
        };
        let room = u64::from(fat_sectors) * u64::from(SECTOR) / u64::from(geometry.entry_bytes());
        if room < clusters + u64::from(FIRST_CLUSTER) {
            return Err(VolumeError::TableSize);
        }
        geometry.check_width(boot, root_entries)?;
        Ok(geometry)
    }

    /// What must be so for this width alone.
    fn check_width(&self, boot: &[u8; SECTOR_SIZE], root_entries: u32) -> Result<(), VolumeError> {
        match self.width {
            // A volume with the fields of FAT32 and too few clusters for it is neither.
            Width::Fat16 if half(boot, 22) == 0 => Err(VolumeError::Contradiction),
            Width::Fat16 if root_entries == 0 || !root_entries.is_multiple_of(16) => {
                Err(VolumeError::Root)
            }
            Width::Fat16 => Ok(()),
            Width::Fat32 if half(boot, 22) != 0 || root_entries != 0 || self.fat_start < 2 => {
                Err(VolumeError::Contradiction)
            }
            Width::Fat32 if half(boot, 42) != 0 => Err(VolumeError::Version),
            Width::Fat32 if half(boot, 40) & 0x80 != 0 => Err(VolumeError::Unmirrored),
            Width::Fat32 if !self.is_cluster(self.root_cluster) => Err(VolumeError::Root),
            Width::Fat32 => Ok(()),
        }
    }

    /// Bytes of an entry of the FAT.
    pub(super) const fn entry_bytes(&self) -> u32 {
        match self.width {
            Width::Fat16 => 2,
            Width::Fat32 => 4,
        }
    }

    /// Entries of the FAT in a sector.
    pub(super) const fn entries_per_sector(&self) -> u32 {
        SECTOR / self.entry_bytes()
    }

    /// Whether there is a cluster of that number.
    pub(super) const fn is_cluster(&self, cluster: u32) -> bool {
        cluster >= FIRST_CLUSTER && cluster - FIRST_CLUSTER < self.clusters
    }

    /// Behind the last cluster.
    pub(super) const fn end(&self) -> u32 {
        FIRST_CLUSTER + self.clusters
    }

    /// First sector of a cluster that there is.
    pub(super) const fn sector_of(&self, cluster: u32) -> u32 {
        self.data_start + (cluster - FIRST_CLUSTER) * self.sectors_per_cluster
    }

    /// Bytes in a cluster: at most 64 KiB.
    pub(super) const fn cluster_bytes(&self) -> u32 {
        self.sectors_per_cluster * SECTOR
    }

    /// How many clusters so many bytes take.
    pub(super) const fn clusters_for(&self, bytes: u32) -> u32 {
        bytes.div_ceil(self.cluster_bytes())
    }

    /// What the sector of the FAT says of the cluster whose entry is the `index`-th in it.
    pub(super) fn link(&self, sector: &[u8; SECTOR_SIZE], index: usize) -> Link {
        let value = match self.width {
            Width::Fat16 => half(sector, index * 2),
            Width::Fat32 => word(sector, index * 4) & 0x0fff_ffff,
        };
        let (bad, end) = match self.width {
            Width::Fat16 => (0xfff7, 0xfff8),
            Width::Fat32 => (0x0fff_fff7, 0x0fff_fff8),
        };
        match value {
            0 => Link::Free,
            next if self.is_cluster(next) => Link::Next(next),
            value if value >= end => Link::End,
            value if value == bad => Link::Bad,
            _ => Link::Nonsense,
        }
    }

    /// Sets the `index`-th entry of a sector of the FAT. The highest four bits of FAT32's are not ours.
    pub(super) fn set_link(&self, sector: &mut [u8; SECTOR_SIZE], index: usize, link: Link) {
        match self.width {
            Width::Fat16 => {
                let value = match link {
                    Link::Free => 0,
                    Link::Next(next) => next as u16,
                    Link::Bad => 0xfff7,
                    Link::End | Link::Nonsense => 0xffff,
                };
                sector[index * 2..index * 2 + 2].copy_from_slice(&value.to_le_bytes());
            }
            Width::Fat32 => {
                let value = match link {
                    Link::Free => 0,
                    Link::Next(next) => next,
                    Link::Bad => 0x0fff_fff7,
                    Link::End | Link::Nonsense => 0x0fff_ffff,
                };
                let value = word(sector, index * 4) & 0xf000_0000 | value & 0x0fff_ffff;
                sector[index * 4..index * 4 + 4].copy_from_slice(&value.to_le_bytes());
            }
        }
    }
}

/// What the FAT says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// It is free.
    Free,
    /// It is followed by that one, which there is.
    Next(u32),
    /// It is the last.
    End,
    /// It is damaged, and not used.
    Bad,
    /// Nothing that has a meaning.
    Nonsense,
}
