//! Boot images: what was built is found again, and no bytes make the parser panic.

use proptest::prelude::*;

use super::*;

/// A boot image with a kernel of `kernel` bytes after its header.
fn image(kernel: usize, programs: &[(&str, &[u8])]) -> Vec<u8> {
    let length = KERNEL_HEADER_OFFSET + 16 + kernel;
    let mut image = vec![0xaa; length];
    image[8..16].copy_from_slice(&KERNEL_MAGIC);
    image[16..24].copy_from_slice(&(length as u64).to_le_bytes());
    let mut body = Vec::new();
    let mut offset = ARCHIVE_HEADER_BYTES + programs.len() * ARCHIVE_ENTRY_BYTES;
    for (name, elf) in programs {
        body.extend(entry_bytes(name, offset as u64, elf.len() as u64));
        offset += elf.len();
    }
    for (_, elf) in programs {
        body.extend_from_slice(elf);
    }
    let header = ArchiveHeader {
        count: programs.len() as u32,
        length: (ARCHIVE_HEADER_BYTES + body.len()) as u64,
        checksum: checksum(&body),
        kernel_checksum: checksum(&image),
    };
    image.extend(header.to_bytes());
    image.extend(body);
    image
}

#[test]
fn checksum_is_the_usual_crc32() {
    assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
}

#[test]
fn programs_are_found_again() {
    let image = image(100, &[("first", b"\x7fELF..."), ("second", b"xyz")]);
    let archive = check_image(&image).unwrap();
    let found: Vec<_> = archive.programs().map(|p| (p.name, p.elf)).collect();
    assert_eq!(
        found,
        [("first", &b"\x7fELF..."[..]), ("second", &b"xyz"[..])]
    );
    assert_eq!(archive.first().unwrap().name, "first");
}

#[test]
fn each_damage_is_named() {
    let good = image(100, &[("first", b"program")]);
    let archive_at = kernel_length(&good).unwrap();
    let check = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        check_image(&bad).unwrap_err()
    };
    assert_eq!(check(&|image| image[9] ^= 1), BootError::NotAKernel);
    assert_eq!(check(&|image| image[50] ^= 1), BootError::KernelChecksum);
    assert_eq!(check(&|image| image[archive_at] ^= 1), BootError::NoArchive);
    assert_eq!(
        check(&|image| image[archive_at + 8] = 9),
        BootError::WrongVersion(9)
    );
    assert_eq!(
        check(&|image| *image.last_mut().unwrap() ^= 1),
        BootError::ArchiveChecksum
    );
    assert_eq!(
        check(&|image| image.truncate(archive_at + 50)),
        BootError::Truncated
    );
    assert_eq!(check(&|image| image.truncate(60)), BootError::Truncated);
    assert_eq!(
        check_image(&image(10, &[])).unwrap_err(),
        BootError::NoFirstProgram
    );
}

#[test]
fn an_entry_outside_the_archive_is_refused() {
    let good = image(0, &[("first", b"program")]);
    let at = kernel_length(&good).unwrap();
    let mut bad = good;
    bad[at + ARCHIVE_HEADER_BYTES + 40] = 0xff;
    let sum = checksum(&bad[at + ARCHIVE_HEADER_BYTES..]);
    bad[at + 24..at + 28].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(check_image(&bad).unwrap_err(), BootError::BadEntry);
}

proptest! {
    #[test]
    fn any_single_bit_change_is_refused(bit in 0..8 * 200usize) {
        let mut image = image(40, &[("first", &[7; 80])]);
        let bit = bit % (image.len() * 8);
        // The branch at the very begin is the kernel's, and covered by its checksum.
        image[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(check_image(&image).is_err());
    }

    #[test]
    fn no_bytes_make_the_parser_panic(mut bytes: Vec<u8>, magic: bool) {
        if magic && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(&ARCHIVE_MAGIC);
        }
        let _ = Archive::parse(&bytes);
        let _ = check_image(&bytes);
    }
}
