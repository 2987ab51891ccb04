//! What boot reads: what firmware leaves, boot images, archives and programs.

use exopi_abi::boot::{self, ARCHIVE_HEADER_BYTES, Archive, ArchiveHeader};
use exopi_bsp::handover::{Handover, atag_list, device_tree, device_tree_size};

/// Where ELF files begin to differ: magic, 64 bits, little-endian, version (System V ABI, "ELF Identification").
const ELF_BEGIN: [u8; 7] = [0x7f, b'E', b'L', b'F', 2, 1, 1];

/// ATAG lists and device trees, as they are and behind the beginning that each must have.
///
/// # Panics
/// Something is wrong.
pub fn handover(bytes: &[u8]) {
    let core = [2u32, 0x5441_0001].map(u32::to_le_bytes).concat();
    let magic = [0xd00d_feedu32, bytes.len() as u32 + 8]
        .map(u32::to_be_bytes)
        .concat();
    for begin in [&[][..], &core, &magic] {
        let whole = [begin, bytes].concat();
        look(&atag_list(&whole), &whole);
        look(&device_tree(&whole), &whole);
        if let Some(size) = device_tree_size(&whole) {
            assert!(size <= exopi_bsp::handover::MAX_DEVICE_TREE);
        }
    }
}

/// What was found lies in what was read, and is something.
fn look(found: &Handover<'_>, within: &[u8]) {
    if let Some(line) = found.command_line {
        let range = within.as_ptr_range();
        assert!(range.start <= line.as_ptr() && line.as_ptr_range().end <= range.end);
        assert!(!line.is_empty() && !line.contains(&0));
    }
    if let Some(memory) = found.memory {
        assert!(memory.length > 0, "{found:?}");
    }
}

/// Boot images, archives and ELF files.
///
/// # Panics
/// Something is wrong.
pub fn images(bytes: &[u8]) {
    let _ = boot::kernel_length(bytes);
    if let Ok(archive) = boot::check_image(bytes) {
        look_into(&archive, bytes);
    }
    if let Ok(archive) = Archive::parse(bytes) {
        look_into(&archive, bytes);
    }
    let mended = mended(bytes);
    if let Ok(archive) = Archive::parse(&mended) {
        look_into(&archive, &mended);
    }
    elf(bytes);
    let mut behind = bytes.to_vec();
    for (byte, begin) in behind.iter_mut().zip(ELF_BEGIN) {
        *byte = begin;
    }
    elf(&behind);
}

/// An archive whose header says what is there: no fuzzer finds a checksum.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let (count, body) = bytes
        .split_first()
        .map_or((0, bytes), |(count, body)| (*count, body));
    let header = ArchiveHeader {
        count: count.into(),
        length: (ARCHIVE_HEADER_BYTES + body.len()) as u64,
        checksum: boot::checksum(body),
        kernel_checksum: 0,
    };
    assert_eq!(ArchiveHeader::parse(&header.to_bytes()), Ok(header));
    [&header.to_bytes()[..], body].concat()
}

fn look_into(archive: &Archive<'_>, within: &[u8]) {
    assert!(archive.length() <= within.len() as u64);
    let first = archive.programs().next();
    assert_eq!(archive.first().ok(), first);
    for program in archive.programs() {
        assert!(program.name.len() <= boot::NAME_BYTES && program.elf.len() <= within.len());
    }
}

fn elf(bytes: &[u8]) {
    let checked = exo::elf::check_program(bytes).is_ok();
    let _ = exo::elf::flatten(bytes);
    if let Ok(stripped) = exo::elf::strip(bytes) {
        assert!(checked && stripped.len() <= bytes.len());
        let again = exo::elf::strip(&stripped);
        assert_eq!(
            again.ok(),
            Some(stripped),
            "stripping twice is stripping once"
        );
    }
}
