//! What is to be sent: pieces of pages, one behind the other, and where is counted what has gone.

use crate::layout::PAGE_SIZE;
use crate::registers::{Argument, Arguments};
use crate::{Error, PageNumber};

/// Octets of a page.
const PAGE: usize = PAGE_SIZE as usize;

/// Most pieces of a frame.
pub const MAX_PIECES: usize = 8;

/// A part of a page that is a part of a frame.
///
/// ```text
///   63     62..57 56    44 43   32 31    0
///   | last | 0   | length | offset | page |
/// ```
///
/// The last piece of a frame says so; what follows it in a list begins the next frame. A piece has one octet at least,
/// and lies within its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The page.
    pub page: PageNumber,
    /// Where it begins there.
    pub offset: u16,
    /// Its octets.
    pub length: u16,
    /// Whether the frame ends with it.
    pub last: bool,
}

impl Piece {
    const OFFSET: u32 = 32;
    const LENGTH: u32 = 44;
    const LAST: u64 = 1 << 63;
    const UNUSED: u64 = 0x3f << 57;

    /// The piece in a word.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub const fn from_word(word: u64) -> Result<Self, Error> {
        let offset = (word >> Self::OFFSET & 0xfff) as u16;
        let length = (word >> Self::LENGTH & 0x1fff) as u16;
        let end = offset as usize + length as usize;
        if word & Self::UNUSED != 0 || length == 0 || end > PAGE {
            return Err(Error::Malformed);
        }
        Ok(Self {
            page: PageNumber::new(word as u32),
            offset,
            length,
            last: word & Self::LAST != 0,
        })
    }

    /// As a word.
    pub const fn into_word(self) -> u64 {
        let last = if self.last { Self::LAST } else { 0 };
        self.page.get() as u64
            | (self.offset as u64) << Self::OFFSET
            | (self.length as u64) << Self::LENGTH
            | last
    }
}

/// Where the frames are counted that the kernel and the device need no more: a 64-bit word in a page of the
/// sender, to which 1 is added for each. Nobody else may write it meanwhile.
///
/// ```text
///   63           41 40  32 31    0
///   | 0            | index | page |       all ones: nowhere
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Nobody wants to know.
    Nowhere,
    /// In a word of a page.
    Word {
        /// The page.
        page: PageNumber,
        /// Which of its words, 0 to 511.
        index: u16,
    },
}

impl Completion {
    /// What a word says.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub const fn from_word(word: u64) -> Result<Self, Error> {
        if word == u64::MAX {
            return Ok(Self::Nowhere);
        }
        let index = word >> 32;
        if index >= PAGE_SIZE / 8 {
            return Err(Error::Malformed);
        }
        Ok(Self::Word {
            page: PageNumber::new(word as u32),
            index: index as u16,
        })
    }

    /// As a word.
    pub const fn into_word(self) -> u64 {
        match self {
            Self::Nowhere => u64::MAX,
            Self::Word { page, index } => page.get() as u64 | (index as u64) << 32,
        }
    }
}

impl Argument for Completion {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        Self::from_word(from.take())
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.into_word());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_within_a_page() {
        let piece = |offset, length, last| Piece {
            page: PageNumber::new(0xfedc_ba98),
            offset,
            length,
            last,
        };
        for good in [
            piece(0, 4096, true),
            piece(4095, 1, false),
            piece(7, 1514, true),
        ] {
            assert_eq!(Piece::from_word(good.into_word()), Ok(good));
        }
        for bad in [
            piece(0, 0, true),
            piece(1, 4096, false),
            piece(4095, 2, true),
            piece(0, 4097, true),
        ] {
            assert_eq!(Piece::from_word(bad.into_word()), Err(Error::Malformed));
        }
        for bit in 57..63 {
            let word = piece(0, 1, false).into_word() | 1 << bit;
            assert_eq!(Piece::from_word(word), Err(Error::Malformed), "{bit}");
        }
    }

    #[test]
    fn completions_are_words_of_a_page_or_nowhere() {
        let page = PageNumber::new(u32::MAX);
        for good in [Completion::Nowhere, Completion::Word { page, index: 511 }] {
            assert_eq!(Completion::from_word(good.into_word()), Ok(good));
        }
        for bad in [512 << 32, u64::MAX - 1, 1 << 63] {
            assert_eq!(Completion::from_word(bad), Err(Error::Malformed), "{bad:x}");
        }
    }
}
