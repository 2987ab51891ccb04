//! Frames as senders describe them: pieces of pages, which are pinned as long as they are needed.

use exopi_abi::net::{CHECKED, Completion, MAX_PIECES, Piece};
use exopi_abi::page::Owner;
use exopi_abi::{Error, PageNumber};

use crate::{Ledger, Memory};

pub(super) const NO_PIECE: Piece = Piece {
    page: PageNumber::new(0),
    offset: 0,
    length: 0,
    last: true,
};

/// A frame as its sender described it.
pub(super) struct Described {
    pieces: [Piece; MAX_PIECES],
    pub(super) count: usize,
    pub(super) length: usize,
}

impl Described {
    /// Takes the pieces of one frame from the begin of a list.
    pub(super) fn take(words: &[u64]) -> Result<Self, Error> {
        let mut frame = Self {
            pieces: [NO_PIECE; MAX_PIECES],
            count: 0,
            length: 0,
        };
        for (place, word) in frame.pieces.iter_mut().zip(words) {
            *place = Piece::from_word(*word)?;
            frame.count += 1;
            frame.length += usize::from(place.length);
            if place.last {
                return Ok(frame);
            }
        }
        Err(Error::BadCount)
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        self.pieces.get(..self.count).unwrap_or_default()
    }

    /// Copies the begin of the frame, and tells how much.
    pub(super) fn copy_head(&self, head: &mut [u8; CHECKED], memory: &impl Memory) -> usize {
        let mut done = 0;
        for piece in self.pieces() {
            let count = usize::from(piece.length).min(CHECKED - done);
            if let Some(place) = head.get_mut(done..done + count) {
                memory.read(piece.page, piece.offset.into(), place);
            }
            done += count;
        }
        done
    }

    /// What is left without the first `head` octets.
    pub(super) fn behind(&self, mut head: usize) -> ([Piece; MAX_PIECES], u8) {
        let mut rest = [NO_PIECE; MAX_PIECES];
        let mut count = 0;
        for piece in self.pieces() {
            let skip = head.min(piece.length.into());
            head -= skip;
            if skip == usize::from(piece.length) {
                continue;
            }
            if let Some(place) = rest.get_mut(usize::from(count)) {
                *place = Piece {
                    offset: piece.offset + skip as u16,
                    length: piece.length - skip as u16,
                    ..*piece
                };
                count += 1;
            }
        }
        (rest, count)
    }
}

/// Pins all that a frame needs, or nothing.
pub(super) fn pin(
    owner: Owner,
    pieces: &[Piece],
    completion: Completion,
    ledger: &mut impl Ledger,
) -> Result<(), Error> {
    for (done, piece) in pieces.iter().enumerate() {
        if let Err(error) = ledger.pin(owner, piece.page) {
            let done = pieces.iter().take(done);
            done.for_each(|piece| ledger.unpin(piece.page));
            return Err(error);
        }
    }
    if let Completion::Word { page, .. } = completion
        && let Err(error) = ledger.pin(owner, page)
    {
        pieces.iter().for_each(|piece| ledger.unpin(piece.page));
        return Err(error);
    }
    Ok(())
}

/// Counts a frame that is needed no more where its sender wants that.
pub(super) fn tell(completion: Completion, memory: &mut impl Memory) {
    if let Completion::Word { page, index } = completion {
        memory.count(page, usize::from(index) * size_of::<u64>());
    }
}

/// Takes those pins away.
pub(super) fn unpin(pieces: &[Piece], completion: Completion, ledger: &mut impl Ledger) {
    pieces.iter().for_each(|piece| ledger.unpin(piece.page));
    if let Completion::Word { page, .. } = completion {
        ledger.unpin(page);
    }
}
