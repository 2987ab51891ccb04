//! What a program has open: descriptors, offsets, mounts.
//!
//! ```text
//!   descriptor 0, 1, 2 ...  -->  open file: offset, flags, how many descriptors  -->  mount, file
//!        (a duplicate names the same open file, and shares its offset)          `-->  stream
//! ```
//!
//! A path goes to the mount with the longest prefix of whole names. Mounts are the table's alone: nothing below knows
//! them, so that a name that a mount lies over is hidden, not touched.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bitflags::bitflags;

use crate::Error;
use crate::filesystem::{Entry, FileId, FileSystem, Kind, Metadata, Space, Stamp};
use crate::path::{Location, Path};
use crate::stream::Stream;

/// Most descriptors of a table.
pub const MAX_DESCRIPTORS: usize = 256;

/// An open file, by its number in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descriptor(pub u32);

impl Descriptor {
    /// By custom, where a program reads from.
    pub const INPUT: Self = Self(0);
    /// By custom, where a program writes to.
    pub const OUTPUT: Self = Self(1);
    /// By custom, where a program complains.
    pub const ERRORS: Self = Self(2);
}

bitflags! {
    /// How a file is opened.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// To be read.
        const READ = 1;
        /// To be written.
        const WRITE = 1 << 1;
        /// Made if it is not there.
        const CREATE = 1 << 2;
        /// With `CREATE`: refused if it is there.
        const EXCLUSIVE = 1 << 3;
        /// With `WRITE`: emptied.
        const TRUNCATE = 1 << 4;
        /// With `WRITE`: each write goes to the end.
        const APPEND = 1 << 5;
    }
}

impl OpenFlags {
    /// Whether they make sense together.
    fn check(self) -> Result<(), Error> {
        let needs_write = Self::TRUNCATE | Self::APPEND | Self::CREATE;
        let good = self.intersects(Self::READ | Self::WRITE)
            && (self.contains(Self::WRITE) || !self.intersects(needs_write))
            && (self.contains(Self::CREATE) || !self.contains(Self::EXCLUSIVE))
            && !self.contains(Self::APPEND | Self::TRUNCATE);
        good.then_some(()).ok_or(Error::BadFlags)
    }
}

/// Where an offset is set from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFrom {
    /// The begin.
    Start(u64),
    /// Where it is.
    Current(i64),
    /// The end.
    End(i64),
}

/// What an open file leads to.
enum Target {
    File { mount: usize, file: FileId },
    Stream(Box<dyn Stream>),
}

/// An open file, for all descriptors that name it.
struct Open {
    target: Target,
    flags: OpenFlags,
    offset: u64,
    descriptors: u32,
}

struct Mount {
    at: Location,
    system: Box<dyn FileSystem>,
}

/// A program's descriptors and mounts.
#[derive(Default)]
pub struct Files {
    /// A place stays until its mount goes, so that open files can name it.
    mounts: Vec<Option<Mount>>,
    open: Vec<Option<Open>>,
    descriptors: Vec<Option<usize>>,
    here: Option<Location>,
}

impl core::fmt::Debug for Files {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mounts = self.mounts.iter().flatten().map(|mount| mount.at.as_str());
        f.debug_struct("Files")
            .field("mounts", &mounts.collect::<Vec<_>>())
            .field("open", &self.open.iter().flatten().count())
            .finish_non_exhaustive()
    }
}

/// Puts `value` in the first free place, or a new one up to `most`.
fn place<T>(places: &mut Vec<Option<T>>, value: T, most: usize) -> Result<usize, Error> {
    if let Some(free) = places.iter().position(Option::is_none) {
        places[free] = Some(value);
        return Ok(free);
    }
    if places.len() >= most {
        return Err(Error::TooManyOpen);
    }
    places.push(Some(value));
    Ok(places.len() - 1)
}

impl Files {
    /// Without mounts, and with nothing open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where paths without a slash at their begin start.
    pub fn here(&self) -> Location {
        self.here.clone().unwrap_or_else(Location::root)
    }

    /// Has paths without a slash at their begin start at `path`.
    ///
    /// # Errors
    /// As for [`Files::stat`], [`Error::NotDirectory`].
    pub fn set_here(&mut self, path: &str) -> Result<(), Error> {
        let location = self.here().join(path)?;
        if self.stat(location.as_str())?.kind != Kind::Directory {
            return Err(Error::NotDirectory);
        }
        self.here = Some(location);
        Ok(())
    }

    /// Puts a file system at `path`. Nothing needs to be there: what is there is hidden.
    ///
    /// # Errors
    /// [`Error::Busy`]: there is a mount. What is wrong with the path.
    pub fn mount(&mut self, path: &str, system: Box<dyn FileSystem>) -> Result<(), Error> {
        let at = self.here().join(path)?;
        if self.mounts.iter().flatten().any(|mount| mount.at == at) {
            return Err(Error::Busy);
        }
        place(&mut self.mounts, Mount { at, system }, usize::MAX)?;
        Ok(())
    }

    /// Writes what there is to be written, and gives the file system at `path` back.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is no mount. [`Error::Busy`]: a file of it is open, or a mount lies below. What the
    /// medium says: then it stays.
    pub fn unmount(&mut self, path: &str) -> Result<Box<dyn FileSystem>, Error> {
        let at = self.here().join(path)?;
        let is_there = |mount: &Option<Mount>| mount.as_ref().is_some_and(|mount| mount.at == at);
        let number = self
            .mounts
            .iter()
            .position(is_there)
            .ok_or(Error::NotFound)?;
        let uses =
            |open: &Open| matches!(open.target, Target::File { mount, .. } if mount == number);
        let below = |mount: &Mount| mount.at != at && mount.at.below(&at).is_some();
        if self.open.iter().flatten().any(uses) || self.mounts.iter().flatten().any(below) {
            return Err(Error::Busy);
        }
        let place = self.mounts.get_mut(number).ok_or(Error::NotFound)?;
        if let Some(mount) = place {
            mount.system.sync()?;
        }
        Ok(place.take().ok_or(Error::NotFound)?.system)
    }

    /// The mounts: where, and how much room there is.
    pub fn mounts(&mut self) -> impl Iterator<Item = (&Location, Result<Space, Error>)> {
        let mounts = self.mounts.iter_mut().flatten();
        mounts.map(|mount| (&mount.at, mount.system.statfs()))
    }

    /// Where a path leads: the mount's number, and the location.
    fn resolve(&self, path: &str) -> Result<(usize, Location), Error> {
        let location = self.here().join(path)?;
        let fits = |(number, mount): (usize, &Option<Mount>)| {
            let mount = mount.as_ref()?;
            location.below(&mount.at)?;
            Some((mount.at.as_str().len(), number))
        };
        let mounts = self.mounts.iter().enumerate();
        let (_, number) = mounts.filter_map(fits).max().ok_or(Error::NotFound)?;
        Ok((number, location))
    }

    /// Works on the file system that a path leads to.
    fn with<T>(
        &mut self,
        path: &str,
        work: impl FnOnce(&mut dyn FileSystem, Path<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (number, location) = self.resolve(path)?;
        let mount = self.mounts.get_mut(number).and_then(Option::as_mut);
        let mount = mount.ok_or(Error::NotFound)?;
        let below = location.below(&mount.at).ok_or(Error::NotFound)?;
        work(&mut *mount.system, below)
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::BadFlags`], [`Error::TooManyOpen`], and as for [`FileSystem::open`] and [`FileSystem::create`].
    pub fn open(&mut self, path: &str, flags: OpenFlags) -> Result<Descriptor, Error> {
        flags.check()?;
        if self.descriptors.iter().flatten().count() >= MAX_DESCRIPTORS {
            return Err(Error::TooManyOpen);
        }
        let (mount, _) = self.resolve(path)?;
        let file = self.with(path, |system, path| {
            let file = match system.open(path) {
                Err(Error::NotFound) if flags.contains(OpenFlags::CREATE) => {
                    return system.create(path);
                }
                opened => opened?,
            };
            let ready = if flags.contains(OpenFlags::EXCLUSIVE) {
                Err(Error::Exists)
            } else if flags.contains(OpenFlags::WRITE) && system.stat_open(file)?.read_only {
                Err(Error::ReadOnly)
            } else if flags.contains(OpenFlags::TRUNCATE) {
                system.truncate(file, 0)
            } else {
                Ok(())
            };
            if let Err(error) = ready {
                system.close(file)?;
                return Err(error);
            }
            Ok(file)
        })?;
        self.add(Target::File { mount, file }, flags)
    }

    /// Opens a stream that the caller has.
    ///
    /// # Errors
    /// [`Error::TooManyOpen`].
    pub fn attach(&mut self, stream: Box<dyn Stream>) -> Result<Descriptor, Error> {
        self.add(Target::Stream(stream), OpenFlags::READ | OpenFlags::WRITE)
    }

    fn add(&mut self, target: Target, flags: OpenFlags) -> Result<Descriptor, Error> {
        let open = Open {
            target,
            flags,
            offset: 0,
            descriptors: 1,
        };
        let number = place(&mut self.open, open, MAX_DESCRIPTORS)?;
        let descriptor = place(&mut self.descriptors, number, MAX_DESCRIPTORS)?;
        Ok(Descriptor(descriptor as u32))
    }

    fn number(&self, descriptor: Descriptor) -> Result<usize, Error> {
        let place = self.descriptors.get(descriptor.0 as usize);
        place.copied().flatten().ok_or(Error::BadDescriptor)
    }

    /// What a descriptor names, and the mounts.
    fn named(
        &mut self,
        descriptor: Descriptor,
    ) -> Result<(&mut Open, &mut [Option<Mount>]), Error> {
        let number = self.number(descriptor)?;
        let open = self.open.get_mut(number).and_then(Option::as_mut);
        Ok((open.ok_or(Error::BadDescriptor)?, &mut self.mounts))
    }

    /// Another descriptor for the same open file: they share its offset.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], [`Error::TooManyOpen`].
    pub fn duplicate(&mut self, descriptor: Descriptor) -> Result<Descriptor, Error> {
        let number = self.number(descriptor)?;
        let new = place(&mut self.descriptors, number, MAX_DESCRIPTORS)?;
        self.named(descriptor)?.0.descriptors += 1;
        Ok(Descriptor(new as u32))
    }

    /// Makes `to` name what `from` does; what `to` named before is closed.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`]: `from` names nothing, or `to` is beyond what a table holds. What closing says: then `to`
    /// names the same as `from` all the same.
    pub fn duplicate_to(&mut self, from: Descriptor, to: Descriptor) -> Result<(), Error> {
        let number = self.number(from)?;
        let index = to.0 as usize;
        if index >= MAX_DESCRIPTORS {
            return Err(Error::BadDescriptor);
        }
        if from == to {
            return Ok(());
        }
        let closed = match self.close(to) {
            Err(Error::BadDescriptor) => Ok(()),
            closed => closed,
        };
        if self.descriptors.len() <= index {
            self.descriptors.resize(index + 1, None);
        }
        self.descriptors[index] = Some(number);
        self.named(from)?.0.descriptors += 1;
        closed
    }

    /// Closes a descriptor. It is closed even if an error is told.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], and what the medium said to what was not written yet.
    pub fn close(&mut self, descriptor: Descriptor) -> Result<(), Error> {
        let number = self.number(descriptor)?;
        if let Some(place) = self.descriptors.get_mut(descriptor.0 as usize) {
            *place = None;
        }
        let place = self.open.get_mut(number).ok_or(Error::BadDescriptor)?;
        let open = place.as_mut().ok_or(Error::BadDescriptor)?;
        open.descriptors -= 1;
        if open.descriptors > 0 {
            return Ok(());
        }
        match place.take().map(|open| open.target) {
            Some(Target::File { mount, file }) => system(&mut self.mounts, mount)?.close(file),
            Some(Target::Stream(mut stream)) => match stream.flush() {
                Err(Error::NotForWriting) => Ok(()),
                flushed => flushed,
            },
            None => Err(Error::BadDescriptor),
        }
    }

    /// Reads on; 0 at the end.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], [`Error::NotForReading`], and as for [`FileSystem::read_at`].
    pub fn read(&mut self, descriptor: Descriptor, into: &mut [u8]) -> Result<usize, Error> {
        let (open, mounts) = self.named(descriptor)?;
        if !open.flags.contains(OpenFlags::READ) {
            return Err(Error::NotForReading);
        }
        match &mut open.target {
            Target::Stream(stream) => stream.read(into),
            Target::File { mount, file } => {
                let count = system(mounts, *mount)?.read_at(*file, open.offset, into)?;
                open.offset = open.offset.saturating_add(count as u64);
                Ok(count)
            }
        }
    }

    /// Writes on, or at the end if it was opened so; returns how many bytes.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], [`Error::NotForWriting`], and as for [`FileSystem::write_at`].
    pub fn write(&mut self, descriptor: Descriptor, bytes: &[u8]) -> Result<usize, Error> {
        let (open, mounts) = self.named(descriptor)?;
        if !open.flags.contains(OpenFlags::WRITE) {
            return Err(Error::NotForWriting);
        }
        match &mut open.target {
            Target::Stream(stream) => stream.write(bytes),
            Target::File { mount, file } => {
                let system = system(mounts, *mount)?;
                if open.flags.contains(OpenFlags::APPEND) {
                    open.offset = system.stat_open(*file)?.size;
                }
                let count = system.write_at(*file, open.offset, bytes)?;
                open.offset = open.offset.saturating_add(count as u64);
                Ok(count)
            }
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// As for [`Files::write`]; some of it may be written.
    pub fn write_all(&mut self, descriptor: Descriptor, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let count = self.write(descriptor, bytes)?;
            if count == 0 {
                return Err(Error::NoSpace);
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sets the offset, beyond the end if wanted; returns it.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], [`Error::NotSeekable`], [`Error::BadOffset`].
    pub fn seek(&mut self, descriptor: Descriptor, to: SeekFrom) -> Result<u64, Error> {
        let (open, mounts) = self.named(descriptor)?;
        let Target::File { mount, file } = &open.target else {
            return Err(Error::NotSeekable);
        };
        let offset = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => open.offset.checked_add_signed(by),
            SeekFrom::End(by) => {
                let size = system(mounts, *mount)?.stat_open(*file)?.size;
                size.checked_add_signed(by)
            }
        };
        open.offset = offset.ok_or(Error::BadOffset)?;
        Ok(open.offset)
    }

    /// Makes an open file `size` bytes long. Its offset stays.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], [`Error::NotForWriting`], [`Error::NotSeekable`], and as for [`FileSystem::truncate`].
    pub fn truncate(&mut self, descriptor: Descriptor, size: u64) -> Result<(), Error> {
        let (open, mounts) = self.named(descriptor)?;
        if !open.flags.contains(OpenFlags::WRITE) {
            return Err(Error::NotForWriting);
        }
        match &open.target {
            Target::File { mount, file } => system(mounts, *mount)?.truncate(*file, size),
            Target::Stream(_) => Err(Error::NotSeekable),
        }
    }

    /// What is known of what a descriptor names.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`].
    pub fn stat_open(&mut self, descriptor: Descriptor) -> Result<Metadata, Error> {
        let (open, mounts) = self.named(descriptor)?;
        match &open.target {
            Target::File { mount, file } => system(mounts, *mount)?.stat_open(*file),
            Target::Stream(_) => Ok(Metadata {
                kind: Kind::Stream,
                size: 0,
                modified: Stamp::EPOCH,
                read_only: false,
            }),
        }
    }

    /// Has what was written to it on the medium, or sent.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], and what the medium says.
    pub fn sync_file(&mut self, descriptor: Descriptor) -> Result<(), Error> {
        let (open, mounts) = self.named(descriptor)?;
        match &mut open.target {
            Target::File { mount, file } => system(mounts, *mount)?.sync_file(*file),
            Target::Stream(stream) => stream.flush(),
        }
    }

    /// What is known of what is at `path`.
    ///
    /// # Errors
    /// As for [`FileSystem::stat`].
    pub fn stat(&mut self, path: &str) -> Result<Metadata, Error> {
        self.with(path, |system, path| system.stat(path))
    }

    /// Calls `with` for each name in the directory at `path`, until it says otherwise. Mounts do not appear.
    ///
    /// # Errors
    /// As for [`FileSystem::list`].
    pub fn list(
        &mut self,
        path: &str,
        mut with: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.with(path, |system, path| system.list(path, &mut with))
    }

    /// Removes the file at `path`.
    ///
    /// # Errors
    /// As for [`FileSystem::remove`].
    pub fn remove(&mut self, path: &str) -> Result<(), Error> {
        self.with(path, |system, path| system.remove(path))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As for [`FileSystem::mkdir`].
    pub fn mkdir(&mut self, path: &str) -> Result<(), Error> {
        self.with(path, |system, path| system.mkdir(path))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As for [`FileSystem::rmdir`].
    pub fn rmdir(&mut self, path: &str) -> Result<(), Error> {
        self.with(path, |system, path| system.rmdir(path))
    }

    /// Gives what is at `from` the name `to`.
    ///
    /// # Errors
    /// [`Error::CrossMount`], and as for [`FileSystem::rename`].
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Error> {
        let (from_mount, _) = self.resolve(from)?;
        let (to_mount, target) = self.resolve(to)?;
        if from_mount != to_mount {
            return Err(Error::CrossMount);
        }
        let at = self.mounts.get(to_mount).and_then(Option::as_ref);
        let at = at.ok_or(Error::NotFound)?.at.clone();
        let target_path = target.below(&at).ok_or(Error::NotFound)?;
        self.with(from, |system, path| system.rename(path, target_path))
    }

    /// Has all that was written on its medium; goes on after an error, and tells the first.
    ///
    /// # Errors
    /// What a medium says.
    pub fn sync(&mut self) -> Result<(), Error> {
        let mut first = Ok(());
        for mount in self.mounts.iter_mut().flatten() {
            first = first.and(mount.system.sync());
        }
        first
    }

    /// How much room there is where `path` is.
    ///
    /// # Errors
    /// As for [`FileSystem::statfs`].
    pub fn statfs(&mut self, path: &str) -> Result<Space, Error> {
        self.with(path, |system, _| system.statfs())
    }
}

fn system(mounts: &mut [Option<Mount>], number: usize) -> Result<&mut dyn FileSystem, Error> {
    match mounts.get_mut(number) {
        Some(Some(mount)) => Ok(&mut *mount.system),
        _ => Err(Error::BadDescriptor),
    }
}
