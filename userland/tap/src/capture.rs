//! The form of captures: pcap, version 2.4, little-endian, microseconds (draft-ietf-opsawg-pcap).

use core::fmt;

/// Says that it is one, and its byte order.
const MAGIC: u32 = 0xa1b2_c3d4;
/// Version 2.4, by 16 bits each.
const VERSION: u32 = 4 << 16 | 2;
/// Frames are Ethernet's.
const ETHERNET: u32 = 1;
/// Most bytes of a line.
pub const WIDTH: usize = 64;

fn words<const N: usize, const BYTES: usize>(words: [u32; N]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// How a capture begins in which no packet has more than `most` bytes.
pub fn start(most: u32) -> [u8; 24] {
    words([MAGIC, VERSION, 0, 0, most, ETHERNET])
}

/// What stands before a packet of `length` bytes, of which `shown` follow.
pub fn packet(microseconds: u64, shown: usize, length: usize) -> [u8; 16] {
    let seconds = microseconds / 1_000_000;
    let rest = microseconds % 1_000_000;
    words([seconds as u32, rest as u32, shown as u32, length as u32])
}

/// Bytes as two digits each.
pub struct Line<'a>(pub &'a [u8]);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_has_its_form() {
        // Magic number, version, two zero words, most bytes, link type.
        let begin = "d4c3b2a1020004000000000000000000ea05000001000000";
        assert_eq!(Line(&start(1514)).to_string(), begin);
        let packet = packet(3_000_007, 60, 1514);
        let known = "03000000070000003c000000ea050000";
        assert_eq!(Line(&packet).to_string(), known);
    }
}
