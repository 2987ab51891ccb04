//! Why something about files was refused: one reason for each cause, so that a caller can act on it.

use core::fmt;

use embedded_io::ErrorKind;

/// Why a block device did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// No such block.
    OutOfRange,
    /// It is write-protected.
    ReadOnly,
    /// It is there no more.
    Removed,
    /// It did not answer within its deadline.
    TimedOut,
    /// It reports an error of its own.
    Failed,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "no such block",
            Self::ReadOnly => "the device is write-protected",
            Self::Removed => "the device is gone",
            Self::TimedOut => "the device does not answer",
            Self::Failed => "the device reports an error",
        })
    }
}

impl core::error::Error for DeviceError {}

/// Why a volume is not mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeError {
    /// The boot sector does not end in 0x55, 0xAA.
    Signature,
    /// Sectors have another size than 512 bytes.
    SectorSize,
    /// Sectors in a cluster are no power of two.
    ClusterSize,
    /// There is not one FAT or two, or they have no sectors.
    TableCount,
    /// The FATs are too short for the clusters that there are.
    TableSize,
    /// No place for data, or more of it than the numbers of FAT can name.
    Layout,
    /// The volume is larger than what it lies on.
    Truncated,
    /// Too few clusters for FAT16: FAT12 is not supported.
    Fat12,
    /// A version of FAT32 that does not exist yet.
    Version,
    /// The FATs are not kept alike (FAT32's flag for that is set).
    Unmirrored,
    /// The root directory's first cluster is none, or its fixed size is.
    Root,
    /// A field contradicts the others.
    Contradiction,
    /// No partition table: the first sector does not end in 0x55, 0xAA.
    NoTable,
    /// A partition lies outside the card, or over another one.
    Partition,
    /// There is no such partition, or none with FAT.
    NoPartition,
    /// A partition begins within a block of 4 KiB.
    Unaligned,
}

impl fmt::Display for VolumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "the boot sector has no signature",
            Self::SectorSize => "sectors are not 512 bytes long",
            Self::ClusterSize => "the size of clusters is no power of two",
            Self::TableCount => "there is not one FAT, and not two",
            Self::TableSize => "the FATs are too short",
            Self::Layout => "the parts of the volume do not fit together",
            Self::Truncated => "the volume is larger than what it lies on",
            Self::Fat12 => "FAT12 is not supported",
            Self::Version => "an unknown version of FAT32",
            Self::Unmirrored => "FATs that are not alike are not supported",
            Self::Root => "the root directory is nowhere",
            Self::Contradiction => "a field of the boot sector contradicts the others",
            Self::NoTable => "there is no partition table",
            Self::Partition => "a partition lies outside the card or over another one",
            Self::NoPartition => "there is no such partition",
            Self::Unaligned => "the partition does not begin at a multiple of 4 KiB",
        })
    }
}

/// Why something about files was refused. What is refused has changed nothing, unless it says that a device failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nothing has that name.
    NotFound,
    /// Something has that name already.
    Exists,
    /// A directory was wanted, or is needed in the middle of a path.
    NotDirectory,
    /// A file was wanted.
    IsDirectory,
    /// The directory has something in it.
    NotEmpty,
    /// The name has a character that is not allowed, or ends in a blank or a full stop.
    BadName,
    /// The name is too long.
    NameTooLong,
    /// The path is too long.
    PathTooLong,
    /// The path has too many parts.
    PathTooDeep,
    /// There is no room left.
    NoSpace,
    /// The directory cannot become larger.
    DirectoryFull,
    /// The file would become larger than the file system allows.
    FileTooLarge,
    /// The file, the volume or what it lies on is not to be written.
    ReadOnly,
    /// It is open, or a mount is there.
    Busy,
    /// A directory cannot go into itself.
    IntoItself,
    /// Both names are not on one mount.
    CrossMount,
    /// Nothing is open under that number.
    BadDescriptor,
    /// It is not open for reading.
    NotForReading,
    /// It is not open for writing.
    NotForWriting,
    /// A position before the begin or beyond the largest there is.
    BadOffset,
    /// It has no positions: it is a stream.
    NotSeekable,
    /// As many as can be are open.
    TooManyOpen,
    /// The flags contradict each other.
    BadFlags,
    /// This file system cannot do that.
    Unsupported,
    /// The volume contradicts itself there.
    Corrupt,
    /// The volume cannot be mounted.
    Volume(VolumeError),
    /// What is below failed.
    Device(DeviceError),
    /// The other side of a stream, or the stream itself, failed.
    Stream(ErrorKind),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::Exists => "exists already",
            Self::NotDirectory => "is no directory",
            Self::IsDirectory => "is a directory",
            Self::NotEmpty => "the directory is not empty",
            Self::BadName => "the name is not allowed",
            Self::NameTooLong => "the name is too long",
            Self::PathTooLong => "the path is too long",
            Self::PathTooDeep => "the path has too many parts",
            Self::NoSpace => "no space left",
            Self::DirectoryFull => "the directory is full",
            Self::FileTooLarge => "the file would be too large",
            Self::ReadOnly => "is not to be written",
            Self::Busy => "is in use",
            Self::IntoItself => "a directory cannot go into itself",
            Self::CrossMount => "both names are not on one mount",
            Self::BadDescriptor => "nothing is open under that number",
            Self::NotForReading => "is not open for reading",
            Self::NotForWriting => "is not open for writing",
            Self::BadOffset => "no such position",
            Self::NotSeekable => "has no positions",
            Self::TooManyOpen => "too many are open",
            Self::BadFlags => "the flags contradict each other",
            Self::Unsupported => "this file system cannot do that",
            Self::Corrupt => "the volume is damaged",
            Self::Volume(error) => return error.fmt(f),
            Self::Device(error) => return error.fmt(f),
            Self::Stream(kind) => return write!(f, "the stream failed: {kind:?}"),
        })
    }
}

impl core::error::Error for Error {}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::ReadOnly => Self::ReadOnly,
            other => Self::Device(other),
        }
    }
}

impl From<VolumeError> for Error {
    fn from(error: VolumeError) -> Self {
        Self::Volume(error)
    }
}

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Exists => ErrorKind::AlreadyExists,
            Self::NoSpace | Self::DirectoryFull | Self::TooManyOpen => ErrorKind::OutOfMemory,
            Self::ReadOnly | Self::NotForReading | Self::NotForWriting => {
                ErrorKind::PermissionDenied
            }
            Self::Corrupt | Self::Volume(_) => ErrorKind::InvalidData,
            Self::Unsupported | Self::NotSeekable => ErrorKind::Unsupported,
            Self::Device(DeviceError::TimedOut) => ErrorKind::TimedOut,
            Self::Stream(kind) => *kind,
            Self::Busy | Self::NotEmpty | Self::Device(_) => ErrorKind::Other,
            _ => ErrorKind::InvalidInput,
        }
    }
}
