//! FAT16 and FAT32, on the crate `embedded-sdmmc`, for volumes that somebody else may have written.
//!
//! ```text
//!   names, chains, sizes     directory, table: our own        |  pages of files, by file and offset   pages
//!            |                                                |     | on a miss, and to write
//!            |                                                |  embedded-sdmmc: along a chain, sector by sector
//!            |                                                |     | sees what `view` shows
//!            `--------------------- blocks: 4 KiB in memory, back in an order -------'
//! ```
//!
//! # What is refused
//!
//! FAT12, sectors that are not 512 bytes, FATs that are not kept alike, volumes that do not fit into their extent
//! ([`VolumeError`]); a chain in a circle or out of the volume ([`Error::Corrupt`]), when it is
//! used.
//!
//! # What is on the medium when
//!
//! Changes of names are there when the call returns. Contents stay in memory until a file's last `close`, `sync`, or more
//! than [`Limits::changed`] pages wait. At each cut between two writes of blocks, what was there and is not
//! being changed stays as it was; besides, there may be clusters that nobody has, a chain longer than its file, a file
//! that has two names in the middle of a `rename`, and on FAT32 a wrong count of free clusters. `fsck.vfat -a` mends
//! that. The flag "not unmounted" is not used.
//!
//! # Time
//!
//! What one call does is bounded by the size of the volume, whatever is on it: chains are walked to their end or until
//! they meet themselves, directories end at 65,536 entries.

mod blocks;
mod directory;
mod file;
mod format;
mod geometry;
mod names;
mod pages;
mod slot;
mod table;
mod view;

use alloc::vec::Vec;
use core::ops::ControlFlow;

use embedded_sdmmc::{RawDirectory, TimeSource, Timestamp, VolumeIdx, VolumeManager};

use crate::device::BlockDevice;
use crate::filesystem::{Entry, FileId, FileSystem, Kind, Metadata, Space, Stamp};
use crate::mbr::SECTORS_PER_BLOCK;
use crate::path::Path;
use crate::{DeviceError, Error, VolumeError};

use blocks::Blocks;
use directory::{Folder, Item, Place};
use file::Node;
pub use format::{Format, format};
use geometry::Geometry;
pub use geometry::Width;
use pages::Pages;
use slot::{ARCHIVE, DIRECTORY, Facts, READ_ONLY};
use table::Volume;
use view::{HANDLES, View, ViewError};

/// How much memory a volume takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pages of files, of 4 KiB.
    pub pages: usize,
    /// Of these, how many may wait to be written.
    pub changed: usize,
    /// Blocks of the volume, of 4 KiB: FATs, directories, and what is on its way. At least 32.
    pub blocks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pages: 512,
            changed: 128,
            blocks: 128,
        }
    }
}

/// The times that the crate writes are in entries that nobody keeps.
struct NoClock;

impl TimeSource for NoClock {
    fn get_timestamp(&self) -> Timestamp {
        Timestamp::from_fat(0, 0)
    }
}

type Manager<D> = VolumeManager<View<D>, NoClock, 1, HANDLES, 1>;

/// A mounted FAT volume.
pub struct Fat<D: BlockDevice> {
    manager: Manager<D>,
    /// The directory of the open files, as the crate sees it.
    root: RawDirectory,
    nodes: Vec<Option<Node>>,
    pages: Pages,
    limits: Limits,
    clock: fn() -> Stamp,
    /// Counts uses of handles and nodes.
    now: u64,
}

impl<D: BlockDevice> core::fmt::Debug for Fat<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Fat")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What the crate says, in our words. What it should never say means that the volume is not what was checked.
fn told(error: embedded_sdmmc::Error<ViewError>) -> Error {
    match error {
        embedded_sdmmc::Error::DeviceError(ViewError::Device(error)) => error.into(),
        _ => Error::Corrupt,
    }
}

impl<D: BlockDevice> Fat<D> {
    /// Mounts the volume that begins at the device's first block.
    ///
    /// # Errors
    /// [`Error::Volume`] tells what is wrong with it; what the device says.
    pub fn mount(device: D) -> Result<Self, Error> {
        Self::mount_with(device, Limits::default(), || Stamp::EPOCH)
    }

    /// The same, with bounds on memory and a clock for the times of files.
    ///
    /// # Errors
    /// As for [`Fat::mount`].
    pub fn mount_with(device: D, limits: Limits, clock: fn() -> Stamp) -> Result<Self, Error> {
        let available = device.blocks().saturating_mul(SECTORS_PER_BLOCK.into());
        let mut blocks = Blocks::new(device, limits.blocks);
        let boot = match blocks.sector(0) {
            Err(DeviceError::OutOfRange) => return Err(VolumeError::Truncated.into()),
            boot => *boot?,
        };
        let geometry = Geometry::parse(&boot, available)?;
        let view = View::new(Volume::new(geometry, blocks));
        let manager = Manager::new_with_limits(view, NoClock, 0);
        let volume = manager.open_raw_volume(VolumeIdx(0)).map_err(told)?;
        let root = manager.open_root_dir(volume).map_err(told)?;
        Ok(Self {
            manager,
            root,
            nodes: Vec::new(),
            pages: Pages::new(limits.pages.max(limits.changed.saturating_add(1))),
            limits,
            clock,
            now: 0,
        })
    }

    /// Writes what there is to be written, and gives the device back.
    ///
    /// # Errors
    /// What the device says: then what was not written is lost.
    pub fn unmount(mut self) -> Result<D, Error> {
        FileSystem::sync(&mut self)?;
        Ok(self.into_device())
    }

    /// The device. What was not written is lost, as when a machine stops.
    pub fn into_device(self) -> D {
        let (view, _) = self.manager.free();
        view.into_volume().blocks.into_device()
    }

    /// Which FAT it is.
    pub fn width(&mut self) -> Width {
        self.volume(|volume| volume.geometry.width)
    }

    /// Works on the volume; the crate forgets what it read.
    fn volume<R>(&mut self, work: impl FnOnce(&mut Volume<D>) -> R) -> R {
        self.manager.device(|view| work(view.volume()))
    }

    /// The directory at `path`, with all that lead there, the root first.
    fn folders(&mut self, path: Path<'_>) -> Result<(Folder, Vec<Folder>), Error> {
        self.volume(|volume| {
            let mut at = volume.root();
            let mut trail = alloc::vec![at];
            for name in path.names() {
                let item = volume.find(at, name)?;
                at = volume.folder(&item.facts)?;
                trail.push(at);
            }
            Ok((at, trail))
        })
    }

    /// What is at `path`, and the directory that it is in. The root is in none: [`Error::Busy`].
    fn lookup(&mut self, path: Path<'_>) -> Result<(Folder, Item), Error> {
        let (parent, name) = path.split().ok_or(Error::Busy)?;
        let (folder, _) = self.folders(parent)?;
        let item = self.volume(|volume| volume.find(folder, name))?;
        Ok((folder, item))
    }

    /// Where something new is to be made, if nothing is there.
    fn vacant<'p>(&mut self, path: Path<'p>) -> Result<(Folder, &'p str), Error> {
        let (parent, name) = path.split().ok_or(Error::Exists)?;
        let (folder, _) = self.folders(parent)?;
        self.volume(|volume| match volume.find(folder, name) {
            Err(Error::NotFound) => volume.check_writable(),
            Err(error) => Err(error),
            Ok(_) => Err(Error::Exists),
        })?;
        Ok((folder, name))
    }

    /// The facts of something new.
    fn fresh(&self, attributes: u8) -> Facts {
        Facts {
            attributes,
            cluster: 0,
            size: 0,
            modified: (self.clock)(),
        }
    }

    /// What is known of an item; what is open may be longer than its entry says yet.
    fn metadata(&self, place: Place, facts: &Facts) -> Metadata {
        let node = self.nodes.iter().flatten().find(|node| node.place == place);
        let kind = if facts.is_directory() {
            Kind::Directory
        } else {
            Kind::File
        };
        let size = node.map_or(facts.size, |node| node.size);
        Metadata {
            kind,
            size: if kind == Kind::File { size.into() } else { 0 },
            modified: node.map_or(facts.modified, |node| node.modified),
            read_only: facts.attributes & READ_ONLY != 0,
        }
    }

    /// Checks that a file may go, and lets what is in memory of it go.
    fn let_go(&mut self, item: &Item) -> Result<(), Error> {
        if item.facts.attributes & READ_ONLY != 0 {
            return Err(Error::ReadOnly);
        }
        if let Some(node) = self.node_at(item.place) {
            if self.node(node)?.opened > 0 {
                return Err(Error::Busy);
            }
            self.forget(node)?;
        }
        Ok(())
    }

    /// Checks that a directory may go.
    fn check_empty(&mut self, item: &Item) -> Result<(), Error> {
        let folder = self.volume(|volume| volume.folder(&item.facts))?;
        if !self.volume(|volume| volume.is_empty(folder))? {
            return Err(Error::NotEmpty);
        }
        Ok(())
    }

    /// Takes an item's entries away, and then its clusters. What of a damaged chain cannot be freed is not.
    fn discard(&mut self, folder: Folder, item: &Item) -> Result<(), Error> {
        self.volume(|volume| {
            volume.erase(folder, item)?;
            volume.blocks.flush()?;
            release(volume, item.facts.cluster)
        })
    }

    /// Gives an item another name, in a directory where nothing has it but perhaps itself.
    fn relabel(&mut self, from: Folder, item: &Item, to: Folder, name: &str) -> Result<(), Error> {
        let leaving = (from == to).then_some(&item.short);
        let place = self.volume(|volume| {
            let facts = volume.facts(item.place)?;
            let place = volume.insert(to, name, &facts, leaving)?;
            // The new name goes first, unless both go with one block.
            if place.sector / SECTORS_PER_BLOCK != item.place.sector / SECTORS_PER_BLOCK {
                volume.blocks.flush()?;
            }
            volume.erase(from, item)?;
            if facts.is_directory() && from != to {
                let folder = volume.folder(&facts)?;
                volume.move_folder(folder, to)?;
            }
            volume.blocks.flush()?;
            Ok::<_, Error>(place)
        })?;
        self.moved(item.place, place);
        Ok(())
    }

    /// Puts a file in the place of another one.
    fn replace(&mut self, from: Folder, item: &Item, old: &Item) -> Result<(), Error> {
        self.let_go(old)?;
        self.volume(|volume| {
            let facts = volume.facts(item.place)?;
            volume.set_facts(old.place, &facts)?;
            volume.blocks.flush()?;
            volume.erase(from, item)?;
            volume.blocks.flush()?;
            release(volume, old.facts.cluster)
        })?;
        self.moved(item.place, old.place);
        Ok(())
    }

    /// Has what is in memory of a file know where its entry is now.
    fn moved(&mut self, from: Place, to: Place) {
        if let Some(node) = self
            .nodes
            .iter_mut()
            .flatten()
            .find(|node| node.place == from)
        {
            node.place = to;
        }
    }
}

/// Frees a chain as far as it is one.
fn release<D: BlockDevice>(volume: &mut Volume<D>, first: u32) -> Result<(), Error> {
    if first != 0 && first != volume.geometry.root_cluster {
        match volume.release(first) {
            Ok(()) | Err(Error::Corrupt) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(volume.blocks.flush()?)
}

impl<D: BlockDevice> FileSystem for Fat<D> {
    fn open(&mut self, path: Path<'_>) -> Result<FileId, Error> {
        if path.is_root() {
            return Err(Error::IsDirectory);
        }
        let (_, item) = self.lookup(path)?;
        if item.facts.is_directory() {
            return Err(Error::IsDirectory);
        }
        self.open_node(item.place, &item.facts)
    }

    fn create(&mut self, path: Path<'_>) -> Result<FileId, Error> {
        let (folder, name) = self.vacant(path)?;
        let facts = self.fresh(ARCHIVE);
        let place = self.volume(|volume| {
            let place = volume.insert(folder, name, &facts, None)?;
            volume.blocks.flush()?;
            Ok::<_, Error>(place)
        })?;
        self.open_node(place, &facts)
    }

    fn close(&mut self, file: FileId) -> Result<(), Error> {
        self.close_node(file)
    }

    fn read_at(&mut self, file: FileId, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        self.read(file, offset, into)
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<usize, Error> {
        self.write(file, offset, bytes)
    }

    fn truncate(&mut self, file: FileId, size: u64) -> Result<(), Error> {
        self.set_size(file, size)
    }

    fn stat_open(&mut self, file: FileId) -> Result<Metadata, Error> {
        let node = self.opened(file)?;
        Ok(Metadata {
            kind: Kind::File,
            size: node.size.into(),
            modified: node.modified,
            read_only: node.attributes & READ_ONLY != 0,
        })
    }

    fn sync_file(&mut self, file: FileId) -> Result<(), Error> {
        self.opened(file)?;
        self.write_back(file.0)?;
        Ok(self.volume(|volume| volume.blocks.sync())?)
    }

    fn stat(&mut self, path: Path<'_>) -> Result<Metadata, Error> {
        if path.is_root() {
            return Ok(Metadata {
                kind: Kind::Directory,
                size: 0,
                modified: Stamp::EPOCH,
                read_only: false,
            });
        }
        let (_, item) = self.lookup(path)?;
        Ok(self.metadata(item.place, &item.facts))
    }

    fn list(
        &mut self,
        path: Path<'_>,
        with: &mut dyn FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (folder, _) = self.folders(path)?;
        let mut items = Vec::new();
        self.volume(|volume| {
            volume.items(folder, |item| {
                items.push((item.name, item.place, item.facts));
                ControlFlow::Continue(())
            })
        })?;
        for (name, place, facts) in items {
            let metadata = self.metadata(place, &facts);
            if with(&Entry { name, metadata }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: Path<'_>) -> Result<(), Error> {
        if path.is_root() {
            return Err(Error::IsDirectory);
        }
        let (folder, item) = self.lookup(path)?;
        if item.facts.is_directory() {
            return Err(Error::IsDirectory);
        }
        self.volume(|volume| volume.check_writable())?;
        self.let_go(&item)?;
        self.discard(folder, &item)
    }

    fn mkdir(&mut self, path: Path<'_>) -> Result<(), Error> {
        let (folder, name) = self.vacant(path)?;
        let facts = self.fresh(DIRECTORY);
        self.volume(|volume| volume.make_folder(folder, name, &facts))
    }

    fn rmdir(&mut self, path: Path<'_>) -> Result<(), Error> {
        let (folder, item) = self.lookup(path)?;
        if !item.facts.is_directory() {
            return Err(Error::NotDirectory);
        }
        self.volume(|volume| volume.check_writable())?;
        self.check_empty(&item)?;
        self.discard(folder, &item)
    }

    fn rename(&mut self, from: Path<'_>, to: Path<'_>) -> Result<(), Error> {
        let (from_folder, item) = self.lookup(from)?;
        self.volume(|volume| volume.check_writable())?;
        let (to_parent, to_name) = to.split().ok_or(Error::Busy)?;
        let (to_folder, trail) = self.folders(to_parent)?;
        let is_directory = item.facts.is_directory();
        if is_directory {
            let folder = self.volume(|volume| volume.folder(&item.facts))?;
            if trail.contains(&folder) {
                return Err(Error::IntoItself);
            }
        }
        if let Some(node) = self.node_at(item.place) {
            self.write_back(node)?;
        }
        let old = self.volume(|volume| volume.find(to_folder, to_name));
        match old {
            Err(Error::NotFound) => {}
            Err(error) => return Err(error),
            Ok(old) if old.place == item.place => {
                if item.name == to_name {
                    return Ok(());
                }
                // In other letters, or its short name is to be all there is.
            }
            Ok(old) => match (is_directory, old.facts.is_directory()) {
                (true, false) => return Err(Error::NotDirectory),
                (false, true) => return Err(Error::IsDirectory),
                (false, false) => return self.replace(from_folder, &item, &old),
                (true, true) => {
                    names::Encoded::new(to_name)?;
                    self.check_empty(&old)?;
                    self.discard(to_folder, &old)?;
                }
            },
        }
        self.relabel(from_folder, &item, to_folder, to_name)
    }

    fn sync(&mut self) -> Result<(), Error> {
        for node in 0..self.nodes.len() {
            if self.nodes.get(node).is_some_and(Option::is_some) {
                self.write_back(node as u32)?;
            }
        }
        self.volume(|volume| {
            volume.note_free()?;
            Ok(volume.blocks.sync()?)
        })
    }

    fn statfs(&mut self) -> Result<Space, Error> {
        self.volume(|volume| {
            let unit = volume.geometry.cluster_bytes();
            let clusters = volume.geometry.clusters;
            Ok(Space {
                total: u64::from(clusters) * u64::from(unit),
                free: u64::from(volume.free()?) * u64::from(unit),
                unit,
            })
        })
    }
}
