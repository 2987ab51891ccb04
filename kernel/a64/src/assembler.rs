//! Words in a buffer, and labels.
//!
//! No memory beside the buffer is needed. Branches to a label that has no place yet form a list inside
//! the code: the offset field of each holds how many words before it the one before it lies, and the
//! label knows the last.
//!
//! ```text
//!   word 3   cbz x1, [0]    <---+     first use: 0 ends the list
//!   word 7   b.ne [4]  ---------+ <-+
//!   word 9   b [2]  ----------------+  <-- label.last
//!   word 12  bind: offsets 9, 5 and 3 replace the links
//! ```

use crate::{
    Condition, Error, Register, Word, X, adr, b, b_cond, bl, cbnz, cbz, signed, tbnz, tbz, unsigned,
};

/// Most words of a buffer that are used: the distance between any two fits an `i32` of bytes, and `b`.
const MAX_WORDS: usize = 1 << 25;

/// A place in the code that branches lead to. It belongs to the [`Assembler`] that first sees it.
#[derive(Debug, Default)]
pub struct Label {
    /// Index of the word that it is in front of.
    place: Option<u32>,
    /// The last branch to it before it had a place.
    last: Option<u32>,
}

impl Label {
    /// Without a place.
    pub const fn new() -> Self {
        Self {
            place: None,
            last: None,
        }
    }
}

/// Writes instructions one after the other into a buffer.
///
/// After an error, what is in the buffer is of no use, and [`Assembler::finish`] may refuse it.
#[derive(Debug)]
pub struct Assembler<'b> {
    words: &'b mut [u32],
    length: u32,
    /// Labels with branches to them and no place.
    pending: u32,
}

impl<'b> Assembler<'b> {
    /// Begins at the start of `buffer`, of which no more than 128 MiB are used.
    pub fn new(buffer: &'b mut [u32]) -> Self {
        let length = buffer.len().min(MAX_WORDS);
        Self {
            words: buffer.get_mut(..length).unwrap_or_default(),
            length: 0,
            pending: 0,
        }
    }

    /// Words so far.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether nothing has been written.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends an instruction.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn put(&mut self, word: Word) -> Result<(), Error> {
        let place = self.words.get_mut(self.length as usize);
        *place.ok_or(Error::Full)? = word.get();
        self.length += 1;
        Ok(())
    }

    /// Appends several instructions.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn put_all(&mut self, words: &[Word]) -> Result<(), Error> {
        words.iter().try_for_each(|&word| self.put(word))
    }

    /// Gives `label` its place: before the next instruction.
    ///
    /// # Errors
    /// [`Error::Bound`] if it has one; [`Error::Distance`] if a branch to it cannot reach so far.
    pub fn bind(&mut self, label: &mut Label) -> Result<(), Error> {
        if label.place.is_some() {
            return Err(Error::Bound);
        }
        label.place = Some(self.length);
        let Some(mut at) = label.last else {
            return Ok(());
        };
        loop {
            let Some(word) = self.words.get_mut(at as usize) else {
                return Err(Error::Distance);
            };
            let field = Field::of(*word);
            let link = field.get(*word);
            *word = field.with(*word, field.distance(self.length - at)?);
            if link == 0 {
                break;
            }
            at -= link;
        }
        self.pending -= 1;
        Ok(())
    }

    /// A branch to `label`, which `make` encodes for a distance in bytes.
    fn branch(
        &mut self,
        label: &mut Label,
        make: impl FnOnce(i32) -> Result<Word, Error>,
    ) -> Result<(), Error> {
        let here = self.length;
        if let Some(place) = label.place {
            return self.put(make((place as i32 - here as i32) * 4)?);
        }
        let word = make(0)?.get();
        let field = Field::of(word);
        let link = label.last.map_or(0, |last| here.wrapping_sub(last));
        let link = unsigned(link, field.bits()).map_err(|_| Error::Distance)?;
        self.put(Word(field.with(word, link)))?;
        if label.last.replace(here).is_none() {
            self.pending += 1;
        }
        Ok(())
    }

    /// `b label`.
    ///
    /// # Errors
    /// [`Error::Full`]; [`Error::Distance`] if the label, or the last branch to it, is too far away. So
    /// for all that follow.
    pub fn b(&mut self, label: &mut Label) -> Result<(), Error> {
        self.branch(label, b)
    }

    /// `bl label`.
    ///
    /// # Errors
    /// As [`Self::b`].
    pub fn bl(&mut self, label: &mut Label) -> Result<(), Error> {
        self.branch(label, bl)
    }

    /// `b.condition label`.
    ///
    /// # Errors
    /// As [`Self::b`].
    pub fn b_cond(&mut self, condition: Condition, label: &mut Label) -> Result<(), Error> {
        self.branch(label, |offset| b_cond(condition, offset))
    }

    /// `cbz t, label`.
    ///
    /// # Errors
    /// As [`Self::b`].
    pub fn cbz<R: Register>(&mut self, t: R, label: &mut Label) -> Result<(), Error> {
        self.branch(label, |offset| cbz(t, offset))
    }

    /// `cbnz t, label`.
    ///
    /// # Errors
    /// As [`Self::b`].
    pub fn cbnz<R: Register>(&mut self, t: R, label: &mut Label) -> Result<(), Error> {
        self.branch(label, |offset| cbnz(t, offset))
    }

    /// `tbz t, #bit, label`.
    ///
    /// # Errors
    /// As [`Self::b`], and [`Error::Immediate`] if the register has no such bit.
    pub fn tbz<R: Register>(&mut self, t: R, bit: u32, label: &mut Label) -> Result<(), Error> {
        self.branch(label, |offset| tbz(t, bit, offset))
    }

    /// `tbnz t, #bit, label`.
    ///
    /// # Errors
    /// As [`Self::tbz`].
    pub fn tbnz<R: Register>(&mut self, t: R, bit: u32, label: &mut Label) -> Result<(), Error> {
        self.branch(label, |offset| tbnz(t, bit, offset))
    }

    /// `adr d, label`.
    ///
    /// # Errors
    /// As [`Self::b`].
    pub fn adr(&mut self, d: X, label: &mut Label) -> Result<(), Error> {
        self.branch(label, |offset| adr(d, offset))
    }

    /// The code.
    ///
    /// # Errors
    /// [`Error::Unbound`] if a branch leads to a label without a place.
    pub fn finish(self) -> Result<&'b [u32], Error> {
        if self.pending != 0 {
            return Err(Error::Unbound);
        }
        let words: &'b [u32] = self.words;
        Ok(words.get(..self.length as usize).unwrap_or_default())
    }
}

/// Where an instruction that refers to a label has its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// `b`, `bl`: 26 bits at 0.
    Branch,
    /// `b.cond`, `cbz`, `cbnz`: 19 bits at 5.
    Condition,
    /// `tbz`, `tbnz`: 14 bits at 5.
    Bit,
    /// `adr`: 19 bits at 5, below them 2 bits at 29; in bytes.
    Address,
}

impl Field {
    /// Of one of the instructions above.
    const fn of(word: u32) -> Self {
        if word & 0x7c00_0000 == 0x1400_0000 {
            Self::Branch
        } else if word & 0x1f00_0000 == 0x1000_0000 {
            Self::Address
        } else if word & 0x7e00_0000 == 0x3600_0000 {
            Self::Bit
        } else {
            Self::Condition
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Branch => 26,
            Self::Condition => 19,
            Self::Bit => 14,
            Self::Address => 21,
        }
    }

    /// The field for a label that lies `words` ahead.
    fn distance(self, words: u32) -> Result<u32, Error> {
        let units = match self {
            Self::Address => words as i32 * 4,
            _ => words as i32,
        };
        signed(units, self.bits()).map_err(|_| Error::Distance)
    }

    const fn get(self, word: u32) -> u32 {
        match self {
            Self::Branch => word & 0x3ff_ffff,
            Self::Condition => word >> 5 & 0x7_ffff,
            Self::Bit => word >> 5 & 0x3fff,
            Self::Address => (word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3,
        }
    }

    const fn with(self, word: u32, field: u32) -> u32 {
        match self {
            Self::Branch => word & !0x3ff_ffff | field,
            Self::Condition => word & !(0x7_ffff << 5) | field << 5,
            Self::Bit => word & !(0x3fff << 5) | field << 5,
            Self::Address => {
                word & !(0x7_ffff << 5 | 3 << 29) | (field >> 2) << 5 | (field & 3) << 29
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::{W3, X0, X1, X2, ret};

    #[test]
    fn branches_lead_to_their_label_from_both_sides() {
        let mut buffer = [0; 32];
        let mut code = Assembler::new(&mut buffer);
        let mut label = Label::new();
        let all = |code: &mut Assembler<'_>, label: &mut Label| {
            code.b(label)?;
            code.cbz(X1, label)?;
            code.tbnz(W3, 7, label)?;
            code.adr(X2, label)?;
            code.b_cond(Condition::Ne, label)?;
            code.bl(label)?;
            code.cbnz(W3, label)?;
            code.tbz(X1, 63, label)
        };
        all(&mut code, &mut label).unwrap();
        code.bind(&mut label).unwrap();
        all(&mut code, &mut label).unwrap();
        let words = code.finish().unwrap();
        let expected = |at: i32| {
            let to = (8 - at) * 4;
            match at % 8 {
                0 => b(to),
                1 => cbz(X1, to),
                2 => tbnz(W3, 7, to),
                3 => adr(X2, to),
                4 => b_cond(Condition::Ne, to),
                5 => bl(to),
                6 => cbnz(W3, to),
                _ => tbz(X1, 63, to),
            }
        };
        let expected: Vec<u32> = (0..16).map(|at| expected(at).unwrap().get()).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn labels_do_not_mix() {
        let mut buffer = [0; 8];
        let mut code = Assembler::new(&mut buffer);
        let (mut near, mut far) = (Label::new(), Label::new());
        code.cbz(X0, &mut far).unwrap();
        code.cbz(X1, &mut near).unwrap();
        code.cbz(X2, &mut far).unwrap();
        code.bind(&mut near).unwrap();
        code.put(ret()).unwrap();
        code.bind(&mut far).unwrap();
        let expected = [cbz(X0, 16), cbz(X1, 8), cbz(X2, 8), Ok(ret())];
        assert_eq!(
            code.finish().unwrap(),
            expected.map(|word| word.unwrap().get())
        );
    }

    #[test]
    fn a_full_buffer_is_an_error() {
        let mut buffer = [0; 2];
        let mut code = Assembler::new(&mut buffer);
        let mut label = Label::new();
        code.put_all(&[ret(), ret()]).unwrap();
        assert_eq!(code.put(ret()), Err(Error::Full));
        assert_eq!(code.b(&mut label), Err(Error::Full));
        // A branch that was not written does not wait for its label.
        assert_eq!(code.finish().unwrap().len(), 2);
        assert_eq!(Assembler::new(&mut []).put(ret()), Err(Error::Full));
    }

    #[test]
    fn a_label_has_one_place() {
        let mut buffer = [0; 4];
        let mut code = Assembler::new(&mut buffer);
        let (mut label, mut missing) = (Label::new(), Label::new());
        code.bind(&mut label).unwrap();
        assert_eq!(code.bind(&mut label), Err(Error::Bound));
        code.b(&mut missing).unwrap();
        assert_eq!(code.finish(), Err(Error::Unbound));
    }

    #[test]
    fn what_a_branch_cannot_reach_is_an_error() {
        // `tbz` reaches 8191 words ahead and 8192 back.
        for (words, good) in [(8191, true), (8192, false)] {
            let mut buffer = vec![0; 9000];
            let mut code = Assembler::new(&mut buffer);
            let mut label = Label::new();
            code.tbz(X0, 1, &mut label).unwrap();
            (1..words).for_each(|_| code.put(ret()).unwrap());
            let bound = code.bind(&mut label);
            assert_eq!(bound, if good { Ok(()) } else { Err(Error::Distance) });
            assert_eq!(code.finish().is_ok(), good);
        }
        for (words, good) in [(8192, true), (8193, false)] {
            let mut buffer = vec![0; 9000];
            let mut code = Assembler::new(&mut buffer);
            let mut label = Label::new();
            code.bind(&mut label).unwrap();
            (0..words).for_each(|_| code.put(ret()).unwrap());
            let put = code.tbz(X0, 1, &mut label);
            assert_eq!(put, if good { Ok(()) } else { Err(Error::Distance) });
        }
    }
}
