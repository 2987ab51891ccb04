//! ELF files on their way into a boot image: the kernel flattened, programs stripped.

use anyhow::{Context, bail, ensure};
use object::Endianness;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, EM_AARCH64, ET_EXEC, FileHeader64, PT_DYNAMIC, PT_INTERP, PT_LOAD,
};
use object::read::elf::{FileHeader, ProgramHeader};

type Header = FileHeader64<Endianness>;

/// Where the firmware puts `kernel8.img`, and thus the lowest physical address of the kernel.
pub const LOAD_ADDRESS: u64 = 0x8_0000;
/// Flattened kernels are a multiple of this long.
const PAGE: usize = 4096;
/// No kernel is larger: a wrong address in a segment must not fill the disk.
const LARGEST: u64 = 64 << 20;

/// Places in [`FileHeader64`] that tell of section headers: offset, then size, number and names.
const SECTION_TABLE: core::ops::Range<usize> = 0x28..0x30;
const SECTION_COUNTS: core::ops::Range<usize> = 0x3a..0x40;

fn parse(elf: &[u8]) -> anyhow::Result<(&Header, Endianness)> {
    ensure!(elf.starts_with(b"\x7fELF"), "not an ELF file");
    let header = Header::parse(elf).map_err(|_| anyhow::anyhow!("the ELF header is cut off"))?;
    ensure!(
        header.e_ident.class == ELFCLASS64 && header.e_ident.data == ELFDATA2LSB,
        "not a 64-bit little-endian ELF file"
    );
    let endian = header.endian()?;
    let machine = header.e_machine(endian);
    ensure!(
        machine == EM_AARCH64,
        "built for another architecture (ELF machine {}, AArch64 is {})",
        machine.0,
        EM_AARCH64.0
    );
    Ok((header, endian))
}

/// Bytes of a file that a segment names.
fn range(offset: u64, length: u64, within: usize) -> anyhow::Result<core::ops::Range<usize>> {
    let end = offset
        .checked_add(length)
        .context("a segment wraps round")?;
    ensure!(end <= within as u64, "a segment lies beyond the file's end");
    Ok(offset as usize..end as usize)
}

/// Checks that `elf` is a program that the kernel can load: AArch64, static, at fixed addresses.
///
/// # Errors
/// What it is instead.
pub fn check_program(elf: &[u8]) -> anyhow::Result<()> {
    let (header, endian) = parse(elf)?;
    ensure!(
        header.e_type(endian) == ET_EXEC,
        "not a static executable at fixed addresses: see rustflags in .cargo/config.toml"
    );
    let mut loaded = 0;
    for segment in header.program_headers(endian, elf)? {
        match segment.p_type(endian) {
            PT_DYNAMIC | PT_INTERP => bail!("wants a dynamic linker"),
            PT_LOAD => loaded += 1,
            _ => {}
        }
        range(
            segment.p_offset(endian),
            segment.p_filesz(endian),
            elf.len(),
        )?;
    }
    ensure!(loaded > 0, "has nothing to load");
    Ok(())
}

/// The kernel as it lies in memory, from its lowest physical address on: zeroed memory included,
/// a whole number of pages.
///
/// # Errors
/// It is no AArch64 ELF file, its segments overlap, or it is not linked for [`LOAD_ADDRESS`].
pub fn flatten(elf: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (header, endian) = parse(elf)?;
    let mut segments: Vec<_> = header
        .program_headers(endian, elf)?
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD && segment.p_memsz(endian) > 0)
        .map(|segment| (segment.p_paddr(endian), segment))
        .collect();
    segments.sort_by_key(|(address, _)| *address);
    let (base, _) = *segments.first().context("the kernel has nothing to load")?;
    ensure!(
        base == LOAD_ADDRESS,
        "the kernel is linked for {base:#x}, but the firmware loads it at {LOAD_ADDRESS:#x}"
    );
    let mut flat = Vec::new();
    for (address, segment) in segments {
        let at = address - base;
        let size = segment.p_memsz(endian);
        let end = at.checked_add(size).filter(|end| *end <= LARGEST);
        let end =
            end.with_context(|| format!("the segment at {address:#x} is too far or too large"))?;
        ensure!(
            flat.len() as u64 <= at,
            "segments of the kernel overlap at {address:#x}"
        );
        let bytes = &elf[range(
            segment.p_offset(endian),
            segment.p_filesz(endian),
            elf.len(),
        )?];
        ensure!(
            bytes.len() as u64 <= size,
            "the segment at {address:#x} is longer in the file than in memory"
        );
        flat.resize(at as usize, 0);
        flat.extend_from_slice(bytes);
        flat.resize(end as usize, 0);
    }
    flat.resize(flat.len().next_multiple_of(PAGE), 0);
    Ok(flat)
}

/// The program without symbols, debug information and section headers.
///
/// Linkers put what is not loaded behind what is, so that the file is cut behind the last segment.
///
/// # Errors
/// As for [`check_program`], or the program headers lie behind the segments.
pub fn strip(elf: &[u8]) -> anyhow::Result<Vec<u8>> {
    check_program(elf)?;
    let (header, endian) = parse(elf)?;
    let table = header.e_phoff(endian)
        + u64::from(header.e_phentsize(endian)) * u64::from(header.e_phnum(endian));
    let mut end = 0;
    for segment in header.program_headers(endian, elf)? {
        let range = range(
            segment.p_offset(endian),
            segment.p_filesz(endian),
            elf.len(),
        )?;
        end = end.max(range.end);
    }
    ensure!(
        table <= end as u64,
        "program headers behind the segments are not supported"
    );
    let mut stripped = elf[..end].to_vec();
    stripped[SECTION_TABLE].fill(0);
    stripped[SECTION_COUNTS].fill(0);
    Ok(stripped)
}

#[cfg(test)]
mod tests;
