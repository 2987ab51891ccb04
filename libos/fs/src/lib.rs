//! Files as a library: paths, descriptors, mounts, and file systems behind one trait. Without any privilege.
//!
//! ```text
//!   Files          descriptors, offsets, mounts                       [`files`], [`path`]
//!     |  dyn FileSystem                                               [`filesystem`]
//!     |-- Ram      files in memory                                    [`ram`]
//!     |-- Fat      page cache, own code for names and chains          [`fat`]
//!     |     `-- embedded-sdmmc: follows chains, moves data
//!     |           `-- blocks of 4 KiB  <->  dyn BlockDevice           [`device`], [`mbr`]
//!     `-- streams  console, pipes                                     [`stream`]
//! ```
//!
//! # What is trusted
//!
//! Nothing that comes from a volume. What a block says is checked before it is used as a place or a count; a
//! damaged or hostile volume gives errors, in a time that its size bounds, and no panic. See [`fat`] for how that is kept
//! although the crate below was not made for it.
//!
//! # Who may do what
//!
//! FAT and the RAM file system know no owners: who has a `Files` has all that is mounted there. Protection is that
//! of the extent below, which the kernel checks.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod device;
pub mod error;
pub mod fat;
pub mod files;
pub mod filesystem;
pub mod mbr;
pub mod path;
pub mod ram;
pub mod stream;

pub use device::{BLOCK_SIZE, Block, BlockDevice};
pub use error::{DeviceError, Error, VolumeError};
pub use fat::Fat;
pub use files::{Descriptor, Files, OpenFlags, SeekFrom};
pub use filesystem::{Entry, FileId, FileSystem, Kind, Metadata, Space, Stamp};
pub use path::{Location, Path};
pub use ram::Ram;
pub use stream::Stream;
