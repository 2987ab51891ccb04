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

/// A frame as its sender described it: words of pieces, which are good.
pub(super) struct Described<'w> {
    words: &'w [u64],
    pub(super) length: usize,
}

impl<'w> Described<'w> {
    /// Takes the pieces of one frame from the begin of a list.
    pub(super) fn take(words: &'w [u64]) -> Result<Self, Error> {
        let mut length = 0;
        for (index, word) in words.iter().take(MAX_PIECES).enumerate() {
            let piece = Piece::from_word(*word)?;
            length += usize::from(piece.length);
            if piece.last {
                let words = words.get(..=index).unwrap_or_default();
                return Ok(Self { words, length });
            }
        }
        Err(Error::BadCount)
    }

    /// How many pieces it has.
    pub(super) fn count(&self) -> usize {
        self.words.len()
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece> {
        self.words
            .iter()
            .filter_map(|word| Piece::from_word(*word).ok())
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
            if done == CHECKED {
                break;
            }
        }
        done
    }

    /// Writes down what is left without the first `head` octets, and gives how many pieces that is.
    pub(super) fn behind(&self, mut head: usize, rest: &mut [Piece; MAX_PIECES]) -> u8 {
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
                    ..piece
                };
                count += 1;
            }
        }
        count
    }

    /// Pins all that it needs, or nothing.
    pub(super) fn pin(
        &self,
        owner: Owner,
        completion: Completion,
        ledger: &mut impl Ledger,
    ) -> Result<(), Error> {
        for (done, piece) in self.pieces().enumerate() {
            if let Err(error) = ledger.pin(owner, piece.page) {
                let done = self.pieces().take(done);
                done.for_each(|piece| ledger.unpin(piece.page));
                return Err(error);
            }
        }
        if let Completion::Word { page, .. } = completion
            && let Err(error) = ledger.pin(owner, page)
        {
            self.pieces().for_each(|piece| ledger.unpin(piece.page));
            return Err(error);
        }
        Ok(())
    }
}

/// Counts a frame that is needed no more where its sender wants that.
pub(super) fn tell(completion: Completion, memory: &mut impl Memory) {
    if let Completion::Word { page, index } = completion {
        memory.count(page, usize::from(index) * size_of::<u64>());
    }
}

/// Takes those pins away.
pub(super) fn unpin(
    pieces: impl Iterator<Item = Piece>,
    completion: Completion,
    ledger: &mut impl Ledger,
) {
    pieces.for_each(|piece| ledger.unpin(piece.page));
    if let Completion::Word { page, .. } = completion {
        ledger.unpin(page);
    }
}
