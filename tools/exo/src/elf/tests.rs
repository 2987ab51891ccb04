//! Kernels and programs made by hand: what is kept, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::image::fake::{Segment, elf_file};

fn segment(address: u64, bytes: &[u8], memory: u64) -> Segment {
    Segment {
        address,
        bytes: bytes.to_vec(),
        memory,
    }
}

#[test]
fn kernel_is_flattened_by_physical_address() {
    let elf = elf_file(
        EM_AARCH64.0,
        &[
            segment(LOAD_ADDRESS + 0x2000, b"data", 0x3008),
            segment(LOAD_ADDRESS, b"text", 4),
        ],
    );
    let flat = flatten(&elf).unwrap();
    assert_eq!(flat.len(), 0x6000);
    assert_eq!(&flat[..5], b"text\0");
    assert_eq!(&flat[0x2000..0x2005], b"data\0");
    assert!(flat[0x2004..].iter().all(|byte| *byte == 0));
}

#[test]
fn kernels_that_cannot_be_flattened_are_refused() {
    let refusal = |segments: &[Segment]| {
        let error = flatten(&elf_file(EM_AARCH64.0, segments)).unwrap_err();
        format!("{error:#}")
    };
    assert!(refusal(&[segment(0, b"text", 4)]).contains("linked for 0x0"));
    assert!(refusal(&[]).contains("nothing to load"));
    let overlap = [
        segment(LOAD_ADDRESS, b"text", 0x1000),
        segment(LOAD_ADDRESS + 0xfff, b"data", 4),
    ];
    assert!(refusal(&overlap).contains("overlap"));
    let far = [
        segment(LOAD_ADDRESS, b"text", 4),
        segment(u64::MAX - 2, b"data", 4),
    ];
    assert!(refusal(&far).contains("too far"));
    assert!(refusal(&[segment(LOAD_ADDRESS, b"text", 2)]).contains("longer in the file"));
}

#[test]
fn stripping_keeps_segments_and_nothing_else() {
    let elf = elf_file(EM_AARCH64.0, &[segment(0x20_0000, b"program", 0x2000)]);
    let mut long = elf.clone();
    long.extend_from_slice(b"symbols and debug information");
    long[SECTION_TABLE].fill(0x40);
    long[SECTION_COUNTS].fill(0x40);
    let stripped = strip(&long).unwrap();
    assert_eq!(stripped, elf);
    assert_eq!(strip(&stripped).unwrap(), elf);
}

#[test]
fn what_is_no_program_is_refused() {
    let good = elf_file(EM_AARCH64.0, &[segment(0x20_0000, b"program", 0x2000)]);
    check_program(&good).unwrap();
    let refusal = |elf: &[u8]| format!("{:#}", check_program(elf).unwrap_err());
    assert_eq!(refusal(b""), "not an ELF file");
    assert!(refusal(&good[..40]).contains("cut off"));
    assert!(refusal(&good[..good.len() - 1]).contains("beyond the file's end"));
    let amd64 = elf_file(62, &[segment(0x20_0000, b"program", 0x2000)]);
    assert!(refusal(&amd64).contains("another architecture (ELF machine 62"));
    assert!(refusal(&elf_file(EM_AARCH64.0, &[])).contains("nothing to load"));
    let mut shared = good.clone();
    shared[16] = 3;
    assert!(refusal(&shared).contains("not a static executable"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        flips in prop::collection::vec((0..300usize, any::<u8>()), 1..8),
        length in 0..300usize,
    ) {
        let mut elf = elf_file(EM_AARCH64.0, &[segment(LOAD_ADDRESS, b"program", 0x2000)]);
        for (at, byte) in flips {
            if let Some(place) = elf.get_mut(at) {
                *place = byte;
            }
        }
        elf.truncate(length);
        let _ = check_program(&elf);
        let _ = strip(&elf);
        let _ = flatten(&elf);
    }
}
