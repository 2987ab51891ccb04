//! Kernels and programs that are none, for tests of what is done with them.

use exopi_abi::boot;

use crate::elf::LOAD_ADDRESS;

/// A segment to be loaded.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Physical and virtual address.
    pub address: u64,
    /// What the file holds of it.
    pub bytes: Vec<u8>,
    /// How long it is in memory.
    pub memory: u64,
}

/// A 64-bit little-endian executable for `machine` with these segments, and no sections.
pub fn elf_file(machine: u16, segments: &[Segment]) -> Vec<u8> {
    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let entry = segments.first().map_or(0, |segment| segment.address);
    elf.extend(2u16.to_le_bytes());
    elf.extend(machine.to_le_bytes());
    elf.extend(1u32.to_le_bytes());
    for word in [entry, HEADER as u64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [HEADER, PROGRAM_HEADER, segments.len(), 0, 0, 0] {
        elf.extend((half as u16).to_le_bytes());
    }
    let mut at = HEADER + segments.len() * PROGRAM_HEADER;
    for segment in segments {
        let length = segment.bytes.len() as u64;
        // Loaded, and all of read, write and execute.
        elf.extend(1u32.to_le_bytes());
        elf.extend(7u32.to_le_bytes());
        let (place, memory) = (segment.address, segment.memory);
        for word in [at as u64, place, place, length, memory, 1] {
            elf.extend(word.to_le_bytes());
        }
        at += segment.bytes.len();
    }
    for segment in segments {
        elf.extend_from_slice(&segment.bytes);
    }
    elf
}

/// An ELF file with the kernel's header and little else.
pub fn kernel() -> Vec<u8> {
    let mut bytes = vec![0; boot::KERNEL_HEADER_OFFSET];
    bytes.extend(boot::KERNEL_MAGIC);
    bytes.extend([0; 8]);
    bytes.extend(b"kernel");
    let segment = Segment {
        address: LOAD_ADDRESS,
        bytes,
        memory: 0x1800,
    };
    elf_file(183, &[segment])
}

/// A program that can be loaded.
pub fn program() -> Vec<u8> {
    let segment = Segment {
        address: 0x20_0000,
        bytes: b"program".to_vec(),
        memory: 0x1000,
    };
    elf_file(183, &[segment])
}
