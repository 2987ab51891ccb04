//! Constants in registers, in the fewest instructions.

use crate::immediates::mov_bitmask;
use crate::{Bitmask, Register, Word, movk, movn, movz};

/// One to four instructions that load a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    words: [Word; 4],
    count: usize,
}

impl Constant {
    /// The instructions, in order.
    pub fn words(&self) -> &[Word] {
        self.words.get(..self.count).unwrap_or_default()
    }
}

/// Loads `value` into `d`; for a W register its low 32 bits.
///
/// The fewest instructions of these: `movz` or `movn` and a `movk` for each further half-word that is
/// neither zeros nor, after `movn`, ones; or a single `orr` of a bitmask.
pub fn constant<R: Register>(d: R, value: u64) -> Constant {
    let value = value & (u64::MAX >> (64 - R::BITS));
    let halves = R::BITS / 16;
    let half = |index: u32| (value >> (16 * index)) as u16;
    let count = |of: u16| (0..halves).filter(|&index| half(index) == of).count();
    let inverted = count(u16::MAX) > count(0);
    let background = if inverted { u16::MAX } else { 0 };
    let mut result = Constant {
        words: [Word(0); 4],
        count: 0,
    };
    let mut push = |word| {
        if let (Ok(word), Some(place)) = (word, result.words.get_mut(result.count)) {
            *place = word;
            result.count += 1;
        }
    };
    let mut significant = (0..halves).filter(|&index| half(index) != background);
    let first = significant.next().unwrap_or(0);
    push(if inverted {
        movn(d, !half(first), 16 * first)
    } else {
        movz(d, half(first), 16 * first)
    });
    for index in significant {
        push(movk(d, half(index), 16 * index));
    }
    if result.count > 1
        && let Ok(mask) = Bitmask::new::<R>(value)
    {
        result.words[0] = mov_bitmask(d, mask);
        result.count = 1;
    }
    result
}
