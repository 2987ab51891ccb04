//! Making an empty volume.
//!
//! Data begins at a multiple of 4 KiB and of a cluster, so that pages of files are blocks of the device; clusters are
//! 4 KiB where the number of them allows. The same input gives the same bytes.

use super::blocks::{Blocks, Rank};
use super::geometry::{Geometry, Link, SECTOR, Width};
use super::slot::Facts;
use super::table::Volume;
use crate::device::BlockDevice;
use crate::filesystem::Stamp;
use crate::mbr::{SECTOR_SIZE, SECTORS_PER_BLOCK};
use crate::{Error, VolumeError};

/// Entries of FAT16's root directory.
const ROOT_ENTRIES: u32 = 512;
const ROOT_SECTORS: u32 = ROOT_ENTRIES * 32 / SECTOR;
/// From so many sectors on a volume becomes FAT32: 512 MiB.
const FAT32_FROM: u32 = 1 << 20;
/// Sectors before the FATs, at least: on FAT32 for FSInfo and copies, by custom 32.
const RESERVED16: u32 = 1;
const RESERVED32: u32 = 32;
/// Where FAT32 has FSInfo, and copies of it and of the boot sector.
const INFO: u32 = 1;
const COPY: u32 = 6;
/// Most sectors in a cluster.
const LARGEST: u32 = 64;

/// What a new volume is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Format<'a> {
    /// Its name: at most 11 capital letters, digits and blanks; others become `_`.
    pub label: &'a str,
    /// By which systems know it again.
    pub serial: u32,
    /// Which FAT; by its size if none.
    pub width: Option<Width>,
    /// Sectors in a cluster, a power of two up to 64; by its size if none.
    pub sectors_per_cluster: Option<u32>,
    /// Sectors before it on the card.
    pub hidden: u32,
}

impl Default for Format<'_> {
    fn default() -> Self {
        Self {
            label: "EXOPI",
            serial: 0x4558_4f50,
            width: None,
            sectors_per_cluster: None,
            hidden: 0,
        }
    }
}

/// Where things go.
struct Plan {
    width: Width,
    sectors: u32,
    sectors_per_cluster: u32,
    reserved: u32,
    fat_sectors: u32,
}

impl Plan {
    fn new(sectors: u32, width: Width, sectors_per_cluster: u32) -> Self {
        let (bytes, least, root) = match width {
            Width::Fat16 => (2, RESERVED16, ROOT_SECTORS),
            Width::Fat32 => (4, RESERVED32, 0),
        };
        // For some more clusters than there will be.
        let entries = u64::from(sectors / sectors_per_cluster) + 2;
        let fat_sectors = (entries * bytes).div_ceil(SECTOR.into()) as u32;
        let before = least + 2 * fat_sectors + root;
        let unit = sectors_per_cluster.max(SECTORS_PER_BLOCK);
        Self {
            width,
            sectors,
            sectors_per_cluster,
            reserved: least + (before.next_multiple_of(unit) - before),
            fat_sectors,
        }
    }

    /// The boot sector.
    fn boot(&self, format: &Format<'_>) -> [u8; SECTOR_SIZE] {
        let mut boot = [0; SECTOR_SIZE];
        let mut put = |at: usize, bytes: &[u8]| boot[at..at + bytes.len()].copy_from_slice(bytes);
        put(3, b"EXOPI   ");
        put(11, &(SECTOR as u16).to_le_bytes());
        put(13, &[self.sectors_per_cluster as u8]);
        put(14, &(self.reserved as u16).to_le_bytes());
        put(16, &[2]);
        // A fixed disk, by 63 sectors and 255 heads, as everybody says.
        put(21, &[0xf8]);
        put(24, &63u16.to_le_bytes());
        put(26, &255u16.to_le_bytes());
        put(28, &format.hidden.to_le_bytes());
        match u16::try_from(self.sectors) {
            Ok(sectors) if self.width == Width::Fat16 => put(19, &sectors.to_le_bytes()),
            _ => put(32, &self.sectors.to_le_bytes()),
        }
        let (extra, kind): (usize, &[u8; 8]) = match self.width {
            Width::Fat16 => {
                // A jump to code that is not there: systems look at the jump.
                put(0, &[0xeb, 0x3c, 0x90]);
                put(17, &(ROOT_ENTRIES as u16).to_le_bytes());
                put(22, &(self.fat_sectors as u16).to_le_bytes());
                (36, b"FAT16   ")
            }
            Width::Fat32 => {
                put(0, &[0xeb, 0x58, 0x90]);
                put(36, &self.fat_sectors.to_le_bytes());
                put(44, &2u32.to_le_bytes());
                put(48, &(INFO as u16).to_le_bytes());
                put(50, &(COPY as u16).to_le_bytes());
                (64, b"FAT32   ")
            }
        };
        put(extra, &[0x80, 0, 0x29]);
        put(extra + 3, &format.serial.to_le_bytes());
        put(extra + 7, &label(format.label));
        put(extra + 18, kind);
        put(510, &[0x55, 0xaa]);
        boot
    }
}

/// The least sectors in a cluster with which the clusters can be numbered: 4 KiB if there are enough of these.
fn cluster_size(sectors: u32, width: Width) -> u32 {
    let (fewest, most) = match width {
        // With room for what the FATs take.
        Width::Fat16 => (4200, 65_000),
        Width::Fat32 => (66_000, 1 << 22),
    };
    let mut size = SECTORS_PER_BLOCK;
    while size > 1 && sectors / size < fewest {
        size /= 2;
    }
    while size < LARGEST && sectors / size > most {
        size *= 2;
    }
    size
}

fn label(text: &str) -> [u8; 11] {
    let mut label = [b' '; 11];
    for (to, c) in label.iter_mut().zip(text.chars()) {
        let c = c.to_ascii_uppercase();
        *to = if c.is_ascii_alphanumeric() || c == ' ' {
            c as u8
        } else {
            b'_'
        };
    }
    label
}

/// Makes an empty volume of all of a device. What was there is lost.
///
/// # Errors
/// [`Error::Volume`]: the device is too small or too large for it; what the device says.
pub fn format<D: BlockDevice>(device: D, format: &Format<'_>) -> Result<(), Error> {
    if device.is_read_only() {
        return Err(Error::ReadOnly);
    }
    let available = device.blocks().saturating_mul(SECTORS_PER_BLOCK.into());
    let sectors = u32::try_from(available).map_err(|_| VolumeError::Layout)?;
    let by_size = if sectors < FAT32_FROM {
        Width::Fat16
    } else {
        Width::Fat32
    };
    let width = format.width.unwrap_or(by_size);
    let each = format.sectors_per_cluster;
    let each = each.unwrap_or_else(|| cluster_size(sectors, width));
    if !each.is_power_of_two() || each > LARGEST {
        return Err(VolumeError::ClusterSize.into());
    }
    let plan = Plan::new(sectors, width, each);
    let boot = plan.boot(format);
    let geometry = Geometry::parse(&boot, available)?;
    if geometry.width != width {
        return Err(VolumeError::Contradiction.into());
    }
    let mut blocks = Blocks::new(device, 64);
    for sector in 0..geometry.data_start {
        *blocks.sector_mut(sector, Rank::Contents)? = [0; SECTOR_SIZE];
    }
    let mut volume = Volume::new(geometry, blocks);
    fill(&mut volume, &plan, format)?;
    // Last: before that it is no volume.
    volume.blocks.flush()?;
    *volume.blocks.sector_mut(0, Rank::Contents)? = boot;
    if width == Width::Fat32 {
        *volume.blocks.sector_mut(COPY, Rank::Contents)? = boot;
    }
    volume.blocks.sync()?;
    Ok(())
}

/// The first entries of the FATs, the root directory with the volume's name, and FSInfo.
fn fill<D: BlockDevice>(
    volume: &mut Volume<D>,
    plan: &Plan,
    format: &Format<'_>,
) -> Result<(), Error> {
    let geometry = volume.geometry;
    for copy in 0..geometry.fats {
        let sector = plan.reserved + copy * plan.fat_sectors;
        let bytes = volume.blocks.sector_mut(sector, Rank::Contents)?;
        match geometry.width {
            Width::Fat16 => bytes[..4].copy_from_slice(&[0xf8, 0xff, 0xff, 0xff]),
            Width::Fat32 => {
                bytes[..8].copy_from_slice(&[0xf8, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0x0f]);
            }
        }
    }
    let root = match geometry.width {
        Width::Fat16 => geometry.root_start,
        Width::Fat32 => {
            volume.set_link(geometry.root_cluster, Link::End)?;
            volume.clear(geometry.root_cluster)?;
            geometry.sector_of(geometry.root_cluster)
        }
    };
    if !format.label.is_empty() {
        let facts = Facts {
            attributes: 0x08,
            cluster: 0,
            size: 0,
            modified: Stamp::EPOCH,
        };
        let slot = facts.slot(&label(format.label));
        volume.blocks.sector_mut(root, Rank::Contents)?[..32].copy_from_slice(&slot);
    }
    if geometry.width == Width::Fat32 {
        for sector in [INFO, COPY + INFO] {
            let bytes = volume.blocks.sector_mut(sector, Rank::Contents)?;
            bytes[..4].copy_from_slice(b"RRaA");
            bytes[484..488].copy_from_slice(b"rrAa");
            // All but the root directory's one.
            bytes[488..492].copy_from_slice(&(geometry.clusters - 1).to_le_bytes());
            bytes[492..496].copy_from_slice(&3u32.to_le_bytes());
            bytes[510..].copy_from_slice(&[0x55, 0xaa]);
        }
    }
    Ok(())
}
