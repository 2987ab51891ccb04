//! Whatever bytes arrive, what is taken out of them lies inside.

use proptest::prelude::*;

use crate::drivers::ethernet::cdc::address;
use crate::drivers::ethernet::lan::{Chip, Lan};
use crate::drivers::ethernet::nic::Frame;
use crate::drivers::ethernet::rndis::Rndis;

/// Takes all pieces out of `bytes`, which must end.
fn pieces(bytes: &[u8], next: impl Fn(&[u8]) -> Option<Frame>) {
    let mut at = 0;
    while let Some(frame) = next(&bytes[at..]) {
        assert!(frame.used > 0 && at + frame.used <= bytes.len());
        if let Some(range) = frame.range {
            assert!(range.end <= frame.used);
            assert!((14..=1514).contains(&range.len()));
        }
        at += frame.used;
    }
}

proptest! {
    #[test]
    fn any_bytes_are_cut_into_pieces_that_lie_inside(
        mut bytes in prop::collection::vec(any::<u8>(), 0..2049),
        head in prop::collection::vec(0..100_u32, 4),
        sane in any::<bool>(),
    ) {
        if sane && bytes.len() >= 16 {
            for (at, word) in head.iter().enumerate() {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
            }
            bytes[0] = 1;
        }
        pieces(&bytes, |bytes| Rndis::new(true).next_frame(bytes));
        for chip in [Chip::Lan9514, Chip::Lan7800] {
            pieces(&bytes, |bytes| Lan::new(chip, None).next_frame(bytes));
        }
        let _ = address(&bytes);
    }
}
