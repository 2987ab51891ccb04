//! The boot image: the kernel, and behind it an archive of the first programs.
//!
//! One file, `kernel8.img`, is all that the firmware loads:
//!
//! ```text
//!   0                branch over the kernel's header
//!   8                kernel's header: magic, length of the kernel = where the archive begins
//!   ...              kernel, its zeroed memory and stacks included
//!   kernel length    ArchiveHeader: magic, version, number of programs, length, two checksums
//!   + 32             one ArchiveEntry for each program: name, where, how long
//!   ...              the programs, ELF files, each at a multiple of 8
//! ```
//!
//! All numbers are little-endian. The firmware does not say how much it loaded, so the kernel trusts
//! the archive's length no further than the memory that there is, and then checks its CRC-32, which
//! a cut-off file fails. The first program is the first environment.

use core::fmt;

use crc::Crc;

/// Where the kernel's header lies in the file.
pub const KERNEL_HEADER_OFFSET: usize = 8;
/// First bytes of the kernel's header; eight bytes follow, its length.
pub const KERNEL_MAGIC: [u8; 8] = *b"EXOPIKRN";
/// First bytes of an archive.
pub const ARCHIVE_MAGIC: [u8; 8] = *b"EXOPIPRG";
/// Version of this form.
pub const ARCHIVE_VERSION: u32 = 1;
/// Bytes of an [`ArchiveHeader`].
pub const ARCHIVE_HEADER_BYTES: usize = 32;
/// Bytes of an archive's entry.
pub const ARCHIVE_ENTRY_BYTES: usize = 48;
/// Bytes of a program's name, padded with zeros.
pub const NAME_BYTES: usize = 32;
/// Most programs in an archive.
pub const MAX_PROGRAMS: u32 = 64;

/// CRC-32 as in IEEE 802.3, Ethernet and zip, over both parts of a boot image.
pub fn checksum(bytes: &[u8]) -> u32 {
    /// One table: sixteen are faster, and 16 KiB.
    static CRC: Crc<u32> = Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

/// Why a boot image or its archive was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// No kernel header where it should be.
    NotAKernel,
    /// No archive behind the kernel.
    NoArchive,
    /// The archive is of a version that this build does not know.
    WrongVersion(u32),
    /// The archive says that it is longer than what there is.
    Truncated,
    /// The kernel's bytes do not fit their checksum.
    KernelChecksum,
    /// The archive's bytes do not fit their checksum.
    ArchiveChecksum,
    /// The archive has no program.
    NoFirstProgram,
    /// An entry points outside the archive, or the table of entries does not fit.
    BadEntry,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKernel => f.write_str("not an Exopi kernel"),
            Self::NoArchive => f.write_str("no programs behind the kernel"),
            Self::WrongVersion(version) => write!(f, "archive version {version} is not known"),
            Self::Truncated => f.write_str("the archive is cut off"),
            Self::KernelChecksum => f.write_str("the kernel's checksum is wrong"),
            Self::ArchiveChecksum => f.write_str("the archive's checksum is wrong"),
            Self::NoFirstProgram => f.write_str("no first program"),
            Self::BadEntry => f.write_str("an archive entry points outside the archive"),
        }
    }
}

impl core::error::Error for BootError {}

fn bytes<const N: usize>(of: &[u8], at: usize) -> Option<[u8; N]> {
    of.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn word32(of: &[u8], at: usize) -> Option<u32> {
    bytes(of, at).map(u32::from_le_bytes)
}

fn word64(of: &[u8], at: usize) -> Option<u64> {
    bytes(of, at).map(u64::from_le_bytes)
}

/// Length of the kernel in a boot image, out of its header: where the archive begins.
///
/// # Errors
/// [`BootError::NotAKernel`] without the magic, [`BootError::Truncated`] if the image ends before.
pub fn kernel_length(image: &[u8]) -> Result<usize, BootError> {
    if bytes(image, KERNEL_HEADER_OFFSET) != Some(KERNEL_MAGIC) {
        return Err(BootError::NotAKernel);
    }
    word64(image, KERNEL_HEADER_OFFSET + 8)
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= image.len())
        .ok_or(BootError::Truncated)
}

/// Checks a whole boot image file, both checksums included, and gives its archive.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_image(image: &[u8]) -> Result<Archive<'_>, BootError> {
    let (kernel, rest) = image.split_at(kernel_length(image)?);
    let archive = Archive::parse(rest)?;
    if checksum(kernel) != archive.header.kernel_checksum {
        return Err(BootError::KernelChecksum);
    }
    Ok(archive)
}

/// What an archive says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveHeader {
    /// Number of programs.
    pub count: u32,
    /// Bytes from the header's begin to the archive's end.
    pub length: u64,
    /// [`checksum`] of what follows the header.
    pub checksum: u32,
    /// [`checksum`] of the kernel before the archive.
    pub kernel_checksum: u32,
}

impl ArchiveHeader {
    /// Reads the header at the begin of `from`.
    ///
    /// # Errors
    /// [`BootError::NoArchive`] or [`BootError::WrongVersion`].
    pub fn parse(from: &[u8]) -> Result<Self, BootError> {
        if bytes(from, 0) != Some(ARCHIVE_MAGIC) {
            return Err(BootError::NoArchive);
        }
        let version = word32(from, 8).ok_or(BootError::Truncated)?;
        if version != ARCHIVE_VERSION {
            return Err(BootError::WrongVersion(version));
        }
        let field32 = |at| word32(from, at).ok_or(BootError::Truncated);
        Ok(Self {
            count: field32(12)?,
            length: word64(from, 16).ok_or(BootError::Truncated)?,
            checksum: field32(24)?,
            kernel_checksum: field32(28)?,
        })
    }

    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; ARCHIVE_HEADER_BYTES] {
        let mut out = [0; ARCHIVE_HEADER_BYTES];
        out[..8].copy_from_slice(&ARCHIVE_MAGIC);
        out[8..12].copy_from_slice(&ARCHIVE_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.count.to_le_bytes());
        out[16..24].copy_from_slice(&self.length.to_le_bytes());
        out[24..28].copy_from_slice(&self.checksum.to_le_bytes());
        out[28..].copy_from_slice(&self.kernel_checksum.to_le_bytes());
        out
    }
}

/// A program of the boot image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its ELF file, not looked at yet.
    pub elf: &'a [u8],
}

/// An entry as bytes. Names longer than [`NAME_BYTES`] are cut at a character.
pub fn entry_bytes(name: &str, offset: u64, length: u64) -> [u8; ARCHIVE_ENTRY_BYTES] {
    let mut out = [0; ARCHIVE_ENTRY_BYTES];
    let end = name.floor_char_boundary(NAME_BYTES);
    out[..end].copy_from_slice(&name.as_bytes()[..end]);
    out[32..40].copy_from_slice(&offset.to_le_bytes());
    out[40..].copy_from_slice(&length.to_le_bytes());
    out
}

/// An archive whose checksum and table of entries are right.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    header: ArchiveHeader,
    bytes: &'a [u8],
}

impl<'a> Archive<'a> {
    /// Checks the archive at the begin of `from`, which may go on beyond it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(from: &'a [u8]) -> Result<Self, BootError> {
        let header = ArchiveHeader::parse(from)?;
        let bytes = usize::try_from(header.length)
            .ok()
            .and_then(|length| from.get(..length))
            .ok_or(BootError::Truncated)?;
        let body = bytes
            .get(ARCHIVE_HEADER_BYTES..)
            .ok_or(BootError::Truncated)?;
        if checksum(body) != header.checksum {
            return Err(BootError::ArchiveChecksum);
        }
        let archive = Self { header, bytes };
        if header.count == 0 {
            return Err(BootError::NoFirstProgram);
        }
        if header.count > MAX_PROGRAMS
            || (0..header.count).any(|index| archive.program(index).is_none())
        {
            return Err(BootError::BadEntry);
        }
        Ok(archive)
    }

    /// Bytes from the header's begin to the archive's end.
    pub const fn length(&self) -> u64 {
        self.header.length
    }

    /// The programs, the first one first.
    pub fn programs(&self) -> impl Iterator<Item = Program<'a>> + use<'a> {
        let archive = *self;
        (0..archive.header.count).filter_map(move |index| archive.program(index))
    }

    /// The first program, which becomes the first environment.
    ///
    /// # Errors
    /// [`BootError::NoFirstProgram`], which [`Archive::parse`] has ruled out.
    pub fn first(&self) -> Result<Program<'a>, BootError> {
        self.program(0).ok_or(BootError::NoFirstProgram)
    }

    fn program(&self, index: u32) -> Option<Program<'a>> {
        let entry = ARCHIVE_HEADER_BYTES + index as usize * ARCHIVE_ENTRY_BYTES;
        let name: &[u8] = self.bytes.get(entry..entry + NAME_BYTES)?;
        let used = name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.len());
        let offset = usize::try_from(word64(self.bytes, entry + 32)?).ok()?;
        let length = usize::try_from(word64(self.bytes, entry + 40)?).ok()?;
        Some(Program {
            name: core::str::from_utf8(&name[..used]).ok()?,
            elf: self.bytes.get(offset..offset.checked_add(length)?)?,
        })
    }
}

#[cfg(test)]
mod tests;
