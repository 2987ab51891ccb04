//! Whatever bytes arrive, what is taken out of them lies inside.

use proptest::prelude::*;

use crate::drivers::ethernet::cdc::address;
use crate::drivers::ethernet::format::{Format, Frame};
use crate::drivers::usb::descriptors::double_word;

const RNDIS: Format = Format::Rndis {
    padded: 0,
    max_packet: 64,
};

/// The first piece of `bytes`. Words beyond them must not matter.
fn first(format: Format, bytes: &[u8]) -> Option<Frame> {
    let head =
        || std::array::from_fn(|at| double_word(bytes, 4 * at).expect("a word of the piece"));
    format.next_frame(bytes.len(), head)
}

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

/// Each chip's and each message's way to put several frames in one transfer.
#[test]
fn several_frames_in_a_transfer_are_found() {
    let lengths = [60_usize, 61, 62, 63, 1514, 14];
    let frames: Vec<Vec<u8>> = lengths
        .iter()
        .map(|length| vec![*length as u8; *length])
        .collect();
    let all = |next: &dyn Fn(&[u8]) -> Option<Frame>, bytes: &[u8]| {
        let (mut at, mut found) = (0, Vec::new());
        while let Some(frame) = next(&bytes[at..]) {
            let piece = &bytes[at..at + frame.used];
            found.push(piece[frame.range.unwrap()].to_vec());
            at += frame.used;
        }
        found
    };
    let (mut slow, mut fast, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for frame in &frames {
        let length = frame.len() as u32 + 4;
        slow.extend((length << 16).to_le_bytes());
        fast.extend(length.to_le_bytes().iter().chain(&[0; 6]));
        for bytes in [&mut slow, &mut fast] {
            bytes.extend(frame);
            bytes.extend([0xcc; 4]);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        // With some padding.
        let words = [1, 44 + frame.len() as u32 + 5, 36, frame.len() as u32];
        messages.extend(words.into_iter().chain([0; 7]).flat_map(u32::to_le_bytes));
        messages.extend(frame);
        messages.extend([0; 5]);
    }
    assert_eq!(all(&|b| first(Format::Lan9514, b), &slow), frames);
    assert_eq!(all(&|b| first(Format::Lan7800, b), &fast), frames);
    assert_eq!(all(&|b| first(RNDIS, b), &messages), frames);
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
        pieces(&bytes, |bytes| first(RNDIS, bytes));
        for chip in [Format::Lan9514, Format::Lan7800] {
            pieces(&bytes, |bytes| first(chip, bytes));
        }
        pieces(&bytes, |bytes| first(Format::Cdc, bytes));
        let _ = address(&bytes);
    }
}
