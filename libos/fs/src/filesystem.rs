//! What every file system does: one trait, by paths for names and by numbers for what is open.
//!
//! Rules that all keep, so that a program need not know which one it talks to:
//!
//! * A file that is open is neither removed nor replaced ([`Error::Busy`]); it may be renamed.
//! * What a file gains by a write or a length beyond its end reads as zeros.
//! * What was written is read at once by everybody who has it open, and is on the medium after `sync`, or after the file's
//!   last `close`.
//! * A name is looked for without regard to case where the format says so (FAT), else byte by byte.

use alloc::string::String;
use core::ops::ControlFlow;

use crate::Error;
use crate::path::Path;

/// An open file, by the number that its file system gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes with positions.
    File,
    /// Names.
    Directory,
    /// Bytes without positions: a console, a pipe.
    Stream,
}

/// A moment by the calendar, as FAT keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// 1980 to 2107.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59; FAT keeps even ones.
    pub second: u8,
}

impl Stamp {
    /// The first moment that FAT knows: what a machine without a clock says.
    pub const EPOCH: Self = Self {
        year: 1980,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
    };
}

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Bytes in it; 0 for what is no file.
    pub size: u64,
    /// When it was written last.
    pub modified: Stamp,
    /// Whether it is not to be written.
    pub read_only: bool,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub metadata: Metadata,
}

/// How much room there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// For files and directories, used and not.
    pub total: u64,
    /// Of that, what is not used.
    pub free: u64,
    /// What is given out at once.
    pub unit: u32,
}

/// A file system.
pub trait FileSystem {
    /// Opens the file at `path`, as often as wanted.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], [`Error::IsDirectory`], [`Error::TooManyOpen`], what the medium says.
    fn open(&mut self, path: Path<'_>) -> Result<FileId, Error>;

    /// Makes an empty file, and opens it.
    ///
    /// # Errors
    /// As for [`FileSystem::open`], [`Error::Exists`], [`Error::BadName`], [`Error::NameTooLong`], [`Error::NoSpace`],
    /// [`Error::DirectoryFull`], [`Error::ReadOnly`].
    fn create(&mut self, path: Path<'_>) -> Result<FileId, Error>;

    /// Closes it once. It is closed even if an error is told.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], and what the medium said to what was not written yet.
    fn close(&mut self, file: FileId) -> Result<(), Error>;

    /// Reads from `offset` on; 0 at the end and beyond.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], [`Error::Corrupt`], what the medium says.
    fn read_at(&mut self, file: FileId, offset: u64, into: &mut [u8]) -> Result<usize, Error>;

    /// Writes from `offset` on; returns how many bytes, which are fewer only if there was no room for all.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], [`Error::NoSpace`] if there is room for none, [`Error::FileTooLarge`],
    /// [`Error::ReadOnly`], [`Error::Corrupt`], what the medium says.
    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<usize, Error>;

    /// Makes it `size` bytes long.
    ///
    /// # Errors
    /// As for [`FileSystem::write_at`].
    fn truncate(&mut self, file: FileId, size: u64) -> Result<(), Error>;

    /// What is known of an open file.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`].
    fn stat_open(&mut self, file: FileId) -> Result<Metadata, Error>;

    /// Has what was written to an open file on the medium.
    ///
    /// # Errors
    /// [`Error::BadDescriptor`], what the medium says.
    fn sync_file(&mut self, file: FileId) -> Result<(), Error>;

    /// What is known of what is at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], what the medium says.
    fn stat(&mut self, path: Path<'_>) -> Result<Metadata, Error>;

    /// Calls `with` for each name in the directory at `path`, until it says otherwise.
    ///
    /// # Errors
    /// As for [`FileSystem::stat`].
    fn list(
        &mut self,
        path: Path<'_>,
        with: &mut dyn FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// Removes the file at `path`.
    ///
    /// # Errors
    /// As for [`FileSystem::stat`], [`Error::IsDirectory`], [`Error::Busy`], [`Error::ReadOnly`].
    fn remove(&mut self, path: Path<'_>) -> Result<(), Error>;

    /// Makes a directory.
    ///
    /// # Errors
    /// As for [`FileSystem::create`].
    fn mkdir(&mut self, path: Path<'_>) -> Result<(), Error>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As for [`FileSystem::stat`], [`Error::NotEmpty`], [`Error::Busy`] for the root, [`Error::ReadOnly`].
    fn rmdir(&mut self, path: Path<'_>) -> Result<(), Error>;

    /// Gives what is at `from` the name `to`, in another directory if need be. A file there, or an empty directory if
    /// `from` is one, is replaced.
    ///
    /// # Errors
    /// As for [`FileSystem::create`] and [`FileSystem::remove`], [`Error::IntoItself`], [`Error::NotEmpty`],
    /// [`Error::NotDirectory`] and [`Error::IsDirectory`] if `to` is of the other kind.
    fn rename(&mut self, from: Path<'_>, to: Path<'_>) -> Result<(), Error>;

    /// Has all that was written on the medium.
    ///
    /// # Errors
    /// What the medium says.
    fn sync(&mut self) -> Result<(), Error>;

    /// How much room there is.
    ///
    /// # Errors
    /// What the medium says.
    fn statfs(&mut self) -> Result<Space, Error>;
}
