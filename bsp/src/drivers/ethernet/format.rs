//! What is around a frame in a transfer, for each kind of adapter.
//!
//! ```text
//!   CDC      both: nothing
//!   RNDIS    both: a message of little-endian words:
//!             0: type = 1         4: length of it all, padding included
//!             8: where the frame is, counted from here     12: its length
//!            16..44: nothing that is used here (other data, its place)
//!   LAN9514  out: length | first | last, length       in: status (length, error), frame, check sequence
//!   LAN7800  out: length | add check sequence, 0      in: status (length, error), 6 more bytes, frame,
//!                                                         check sequence
//! ```
//!
//! A transfer ends with a packet that is not full. Where an RNDIS message would fill its last packet, padding makes it
//! longer; with the others an empty packet comes after it. RNDIS and the chips may put several frames in a transfer.
//!
//! Headers are words at multiples of four: the kernel's compiler makes no unaligned accesses, and a word taken out of
//! bytes is four loads. Which format it is, is known from when the device was set up.

use core::ops::Range;

use crate::dma::DmaMemory;
use crate::traits::{LEAST_FRAME, MOST_FRAME};

/// Bytes of an RNDIS message before its frame.
pub(super) const RNDIS_HEADER: usize = 44;
/// How far into its place one begins.
const RNDIS_LEAD: usize = 4;
/// Its type ([MS-RNDIS] 2.2.14).
const PACKET: u32 = 1;
/// Where the frame's place is counted from.
const PLACE_FROM: usize = 8;
/// Bytes of the two words in front of a frame to a chip.
const CHIP_HEADER: usize = 8;
/// Bytes of the frame check sequence at a received frame's end.
const CHECK: usize = 4;

/// Most bytes of a transfer that sends a frame: an RNDIS message with a word of padding.
pub(super) const MOST_SENT: usize = RNDIS_HEADER + MOST_FRAME + 4;
/// Words of a received piece that [`Format::next_frame`] is shown.
pub(super) const HEAD_WORDS: usize = 4;

/// What is around frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Cdc,
    Rndis {
        /// Messages that are shorter are padded to so many bytes.
        padded: u32,
        /// Most bytes of a packet.
        max_packet: u32,
    },
    Lan9514,
    Lan7800,
}

/// Where a frame goes in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Where the transfer begins: a multiple of four.
    pub at: usize,
    /// Where the frame begins: a multiple of eight, so that copies go by words.
    pub frame: usize,
    /// Bytes of the transfer. Those behind the frame do not matter.
    pub bytes: usize,
}

/// The first piece of what was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where the frame is; none if the piece is damaged.
    pub range: Option<Range<usize>>,
    /// Bytes of the piece, not 0.
    pub used: usize,
}

impl Frame {
    /// A frame in a piece; damaged if it is none.
    #[inline]
    fn new(start: usize, length: usize, good: bool, used: usize) -> Self {
        let sane = good && (LEAST_FRAME..=MOST_FRAME).contains(&length);
        Self {
            range: sane.then_some(start..start.saturating_add(length)),
            used,
        }
    }
}

impl Format {
    /// How far into its place a transfer in begins, so that frames are aligned: a multiple of four.
    #[inline]
    pub(super) fn lead_in(&self) -> usize {
        match *self {
            Self::Rndis { .. } => RNDIS_LEAD,
            Self::Lan9514 => 4,
            // The chip's ten bytes put its frames at odd words whatever is done.
            Self::Cdc | Self::Lan7800 => 0,
        }
    }

    /// Writes what is in front of a frame of so many bytes to the place at `place`, where [`Format::prepare`] was.
    #[inline]
    pub(super) fn write_header(
        &self,
        memory: &mut impl DmaMemory,
        place: usize,
        length: usize,
    ) -> Header {
        const FIRST_AND_LAST: u32 = 1 << 13 | 1 << 12;
        const ADD_CHECK: u32 = 1 << 22;
        let word = length as u32;
        match *self {
            Self::Cdc => Header {
                at: place,
                frame: place,
                bytes: length,
            },
            Self::Rndis { padded, max_packet } => {
                let plain = RNDIS_HEADER as u32 + word;
                let bytes = if plain < padded {
                    padded
                } else if plain.checked_rem(max_packet) == Some(0) {
                    plain + 4
                } else {
                    plain
                };
                let at = place + RNDIS_LEAD;
                let from = (RNDIS_HEADER - PLACE_FROM) as u32;
                memory.set_words(at, [PACKET, bytes, from, word]);
                Header {
                    at,
                    frame: at + RNDIS_HEADER,
                    bytes: bytes as usize,
                }
            }
            Self::Lan9514 => chip_header(memory, place, [word | FIRST_AND_LAST, word]),
            Self::Lan7800 => chip_header(memory, place, [word | ADD_CHECK, 0]),
        }
    }

    /// Writes what is the same in front of all frames of a place.
    pub(super) fn prepare(&self, memory: &mut impl DmaMemory, place: usize) {
        if matches!(*self, Self::Rndis { .. }) {
            memory.set_words(place + RNDIS_LEAD, [0; RNDIS_HEADER / 4]);
        }
    }

    /// The first piece of `length` bytes that were received, of which `head` gives the first words; it is asked only if
    /// there are so many. None if they are no piece.
    #[inline]
    pub(super) fn next_frame(
        &self,
        length: usize,
        head: impl FnOnce() -> [u32; HEAD_WORDS],
    ) -> Option<Frame> {
        if *self == Self::Cdc {
            let sane = (LEAST_FRAME..=MOST_FRAME).contains(&length);
            return sane.then(|| Frame::new(0, length, true, length));
        }
        // The shortest frame with what is around it is longer with all of them.
        if length < 4 * HEAD_WORDS {
            return None;
        }
        let [first, second, third, fourth] = head();
        match *self {
            Self::Cdc | Self::Rndis { .. } => {
                let used = second as usize;
                if used < RNDIS_HEADER || used > length {
                    return None;
                }
                let start = PLACE_FROM.checked_add(third as usize)?;
                let end = start.checked_add(fourth as usize)?;
                let good = first == PACKET && start >= RNDIS_HEADER && end <= used;
                Some(Frame::new(start, fourth as usize, good, used))
            }
            Self::Lan9514 => chip_frame(length, 4, first >> 16 & 0x3fff, first & 1 << 15 == 0),
            Self::Lan7800 => chip_frame(length, 10, first & 0x3fff, first & 1 << 22 == 0),
        }
    }
}

/// Writes a chip's two words in front of a frame of as many bytes as the first says, flags apart.
#[inline]
fn chip_header(memory: &mut impl DmaMemory, at: usize, words: [u32; 2]) -> Header {
    const LENGTH: u32 = 0x7ff;
    let [first, _] = words;
    memory.set_words(at, words);
    Header {
        at,
        frame: at + CHIP_HEADER,
        bytes: CHIP_HEADER + (first & LENGTH) as usize,
    }
}

/// A chip's frame behind `head` bytes of status, which say its length and whether it is good.
#[inline]
fn chip_frame(length: usize, head: usize, bytes: u32, good: bool) -> Option<Frame> {
    let end = head + bytes as usize;
    if end > length {
        return None;
    }
    let frame = (bytes as usize).checked_sub(CHECK)?;
    // Frames begin at multiples of four.
    let used = end.next_multiple_of(4).min(length);
    Some(Frame::new(head, frame, good, used))
}
