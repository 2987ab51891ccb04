//! Images of whole cards: made by `exo image`, looked into by `exo ls`, `exo cat` and `exo cp`.
//!
//! ```text
//!   0        partition table
//!   1 MiB    FAT: kernel8.img, config.txt, and what firmware a board needs
//!   ...      XN's partition, empty, to the end
//! ```
//!
//! Files get in and out by the same library that programs use, `libos/fs`. The same input gives the same bytes: times are
//! the first that FAT knows, and serial numbers are fixed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use exopi_fs::device::Window;
use exopi_fs::mbr::{self, Partition, SECTOR_SIZE};
use exopi_fs::{BLOCK_SIZE, Block, BlockDevice, DeviceError, Fat, FileSystem, Location, fat};
use exopi_fs::{Error, VolumeError};
use indicatif::{ProgressBar, ProgressStyle};

pub mod commands;
#[cfg(test)]
mod tests;

/// Where the first partition begins: 1 MiB, which is a multiple of what cards erase at once.
const FIRST: u32 = (1 << 20) / SECTOR_SIZE as u32;
/// By which systems know the card and the volume again: "EXOP".
const SERIAL: u32 = 0x4558_4f50;
/// The least that the emulator takes as a card and that has room for both partitions.
pub const SMALLEST: u64 = 16 << 20;
/// Bytes that a bar moves on by.
const CHUNK: usize = 1 << 20;

/// What a board's firmware reads first, if nobody gives another: a 64-bit kernel, where the kernel expects to lie, and the
/// serial console's clock as it must be.
pub const CONFIG: &str = "\
arm_64bit=1
kernel=kernel8.img
kernel_address=0x80000
enable_uart=1
init_uart_clock=48000000
gpu_mem=64
";

/// A card's image, or a card: a file of blocks.
#[derive(Debug)]
pub struct CardFile {
    file: File,
    bytes: u64,
    read_only: bool,
}

impl CardFile {
    /// Opens the image at `path`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, write: bool) -> anyhow::Result<Self> {
        let file = OpenOptions::new().read(true).write(write).open(path);
        let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
        // A device tells its size in this way, too.
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            bytes,
            read_only: !write,
        })
    }

    fn at(&mut self, block: u64, count: usize) -> Result<(), DeviceError> {
        let size = BLOCK_SIZE as u64;
        let end = block.checked_add(count as u64);
        match end.and_then(|end| end.checked_mul(size)) {
            Some(end) if end <= self.bytes.next_multiple_of(size) => {}
            _ => return Err(DeviceError::OutOfRange),
        }
        let sought = self.file.seek(SeekFrom::Start(block * size));
        sought.map(|_| ()).map_err(|_| DeviceError::Failed)
    }
}

impl BlockDevice for CardFile {
    fn blocks(&self) -> u64 {
        self.bytes.div_ceil(BLOCK_SIZE as u64)
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn read(&mut self, first: u64, into: &mut [&mut Block]) -> Result<(), DeviceError> {
        self.at(first, into.len())?;
        for block in into {
            let mut done = 0;
            // An image may end within its last block.
            while let Some(rest) = block.0.get_mut(done..).filter(|rest| !rest.is_empty()) {
                match self.file.read(rest) {
                    Ok(0) => {
                        rest.fill(0);
                        break;
                    }
                    Ok(count) => done += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return Err(DeviceError::Failed),
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, first: u64, from: &[&Block]) -> Result<(), DeviceError> {
        if self.read_only {
            return Err(DeviceError::ReadOnly);
        }
        self.at(first, from.len())?;
        for block in from {
            let written = self.file.write_all(&block.0);
            written.map_err(|_| DeviceError::Failed)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        self.file.flush().map_err(|_| DeviceError::Failed)
    }
}

/// The volume on a card.
pub type CardVolume = Fat<Window<CardFile>>;

/// Mounts a FAT volume of the image at `path`: the partition of that number from 1 on, the first one with FAT, or, if
/// there is no partition table, the image itself.
///
/// # Errors
/// There is none, or it cannot be mounted.
pub fn mount(path: &Path, partition: Option<usize>, write: bool) -> anyhow::Result<CardVolume> {
    let mut card = CardFile::open(path, write)?;
    let name = path.display();
    let window = match (mbr::of(&mut card), partition) {
        (Ok(table), _) => {
            let chosen = match partition {
                Some(number) => number.checked_sub(1).and_then(|place| *table.get(place)?),
                None => table.into_iter().flatten().find(Partition::is_fat),
            };
            let chosen = chosen.with_context(|| match partition {
                Some(number) => format!("{name} has no partition {number}"),
                None => format!("{name} has no partition with FAT"),
            })?;
            chosen.window(card).map_err(Error::Volume)
        }
        (Err(Error::Volume(VolumeError::NoTable)), None) => {
            let blocks = card.blocks();
            Window::new(card, 0, blocks).map_err(Error::Device)
        }
        (Err(error), _) => Err(error),
    };
    let mounted = window.and_then(Fat::mount);
    mounted.with_context(|| format!("cannot mount {name}"))
}

/// Something that goes onto the card.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its name in the FAT volume's root.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Files that were given for the boot partition: each file, and those directly in each folder, by their names.
///
/// # Errors
/// One cannot be read.
pub fn contents(paths: &[PathBuf]) -> anyhow::Result<Vec<Content>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = path.read_dir()?.collect::<Result<Vec<_>, _>>()?;
            let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
            // Folders tell in any order.
            files.sort();
            found.extend(files.into_iter().filter(|path| path.is_file()));
        } else {
            found.push(path.clone());
        }
    }
    let content = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is no name for FAT", path.display()))?;
        let bytes = std::fs::read(path);
        Ok(Content {
            name: name.to_owned(),
            bytes: bytes.with_context(|| format!("cannot read {}", path.display()))?,
        })
    };
    found.iter().map(content).collect()
}

/// Sizes of a card and of its first partition, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// All of it: a power of two, since the emulator takes no other.
    pub card: u64,
    /// The FAT partition.
    pub boot: u64,
}

impl Layout {
    /// The partitions.
    ///
    /// # Errors
    /// The sizes are none, or do not fit.
    pub fn table(&self) -> anyhow::Result<mbr::Table> {
        ensure!(
            self.card.is_power_of_two(),
            "a card of {} bytes: the emulator takes powers of two alone",
            self.card
        );
        ensure!(
            self.card >= SMALLEST,
            "a card has {} MiB at least",
            SMALLEST >> 20
        );
        ensure!(
            self.boot.is_multiple_of(1 << 20) && self.boot > 0,
            "the boot partition is no multiple of 1 MiB"
        );
        let sectors = |bytes: u64| u32::try_from(bytes / SECTOR_SIZE as u64);
        let (card, boot) = (
            sectors(self.card).context("a partition table ends at 2 TiB")?,
            sectors(self.boot).context("a partition table ends at 2 TiB")?,
        );
        let second = FIRST.checked_add(boot);
        let Some(second) = second.filter(|second| *second < card) else {
            bail!("the boot partition leaves no room for the second one");
        };
        // By what the volume becomes.
        let kind = if self.boot < 512 << 20 {
            mbr::TYPE_FAT16
        } else {
            mbr::TYPE_FAT32
        };
        let partition = |kind, first, sectors| Partition {
            kind,
            active: false,
            first,
            sectors,
        };
        Ok([
            Some(partition(kind, FIRST, boot)),
            Some(partition(mbr::TYPE_XN, second, card - second)),
            None,
            None,
        ])
    }
}

/// Makes a card's image at `path`. It appears there when it is whole.
///
/// # Errors
/// The sizes do not fit, there is no room, or a file cannot be written.
pub fn make(path: &Path, layout: Layout, contents: &[Content]) -> anyhow::Result<()> {
    let table = layout.table()?;
    let [Some(boot), ..] = table else {
        bail!("a card without partitions");
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the directory {}", folder.display()))?;
    let unfinished = tempfile::Builder::new().prefix(".exo-").tempfile_in(folder);
    let unfinished = unfinished.with_context(|| format!("cannot write in {}", folder.display()))?;
    // Zeros that nobody writes take no room on most file systems.
    unfinished.as_file().set_len(layout.card)?;
    let mut card = CardFile::open(unfinished.path(), true)?;
    let mut first = Block::zeroed();
    first.0[..SECTOR_SIZE].copy_from_slice(&mbr::sector(&table, SERIAL));
    card.write(0, &[&first])?;
    let wanted = fat::Format {
        serial: SERIAL,
        hidden: boot.first,
        ..fat::Format::default()
    };
    let mut window = boot.window(card).map_err(Error::Volume)?;
    fat::format(&mut window, &wanted).context("cannot make the FAT volume")?;
    let mut volume = Fat::mount(window)?;
    let bar = bar(contents.iter().map(|content| content.bytes.len()).sum());
    for content in contents {
        bar.set_message(content.name.clone());
        store(&mut volume, content, &bar)
            .with_context(|| format!("cannot put {} on the card", content.name))?;
    }
    bar.finish_and_clear();
    volume.unmount()?;
    // What is made for a moment is its maker's alone; an image is a file like others.
    readable(unfinished.as_file())?;
    let kept = unfinished.persist(path);
    kept.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Has everybody read it.
fn readable(file: &File) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = file.metadata()?.permissions();
    permissions.set_mode(0o644);
    Ok(file.set_permissions(permissions)?)
}

fn store(volume: &mut CardVolume, content: &Content, bar: &ProgressBar) -> Result<(), Error> {
    let location = Location::root().join(&content.name)?;
    let file = volume.create(location.path())?;
    let mut offset = 0;
    for chunk in content.bytes.chunks(CHUNK) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let count = volume.write_at(file, offset, rest)?;
            rest = rest.get(count..).unwrap_or_default();
            offset += count as u64;
        }
        bar.inc(chunk.len() as u64);
    }
    volume.close(file)
}

/// A bar for so many bytes, on a terminal alone.
fn bar(bytes: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes as u64);
    let form = "{bar:30} {bytes}/{total_bytes} {msg}";
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// How many bytes `text` says: a number, with K, M or G for powers of 1,024 behind it.
///
/// # Errors
/// It is none.
pub fn size(text: &str) -> anyhow::Result<u64> {
    let (digits, shift) = match text.as_bytes().split_last() {
        Some((b'K' | b'k', digits)) => (digits, 10),
        Some((b'M' | b'm', digits)) => (digits, 20),
        Some((b'G' | b'g', digits)) => (digits, 30),
        _ => (text.as_bytes(), 0),
    };
    let number = str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.with_context(|| format!("{text:?} is no size, as 4096, 64M and 4G are"))
}

/// Everything in a directory, by name.
///
/// # Errors
/// It cannot be read.
pub fn list(volume: &mut CardVolume, path: &str) -> Result<Vec<exopi_fs::Entry>, Error> {
    let location = Location::root().join(path)?;
    let mut entries = Vec::new();
    volume.list(location.path(), &mut |entry| {
        entries.push(entry.clone());
        ControlFlow::Continue(())
    })?;
    Ok(entries)
}
