//! Predicates as A64 code, threaded: the code of a sleeper whose predicate is false enters the next one's.
//!
//! Looking at many sleepers must cost little for each, so there is no loop that calls them: a table holds for each
//! the address of its code and one more word, and the code goes along it.
//!
//! ```text
//!   x0 --> | code | argument |      code of a predicate:
//!          | code | argument |        for each product: load, compare, branch; for each test
//!          |   ...           |        all false:   ldp x9, x10, [x0], #16;  br x9
//!          | pause           |        product n:   x1 = its tag;  ret
//!          |   ...           |
//!          | nobody          |      x0 is then one entry beyond the one that is meant
//! ```
//!
//! # Convention
//! A look is a call of [`Stubs::enter`] by AAPCS64 with the address of an entry in x0 and the time in ticks in
//! x1. It returns with the address behind the entry that ended it in x0, and in x1 what [`Table::came`] is told.
//! It changes x0, x1, x9 to x12 and the flags.
//!
//! | register | holds |
//! | --- | --- |
//! | x0 | address of the next entry |
//! | x1 | time, until a tag replaces it |
//! | x9 | address of code, then the word that is compared |
//! | x10 | the entry's argument: address of the 4 KiB in which most of the predicate's words lie |
//! | x11 | address of 4 KiB in which another one lies |
//! | x12 | a value that is no immediate |
//!
//! Addresses are in the code, so it is good while its pages are pinned. Code refers to itself by offsets alone, and lies
//! anywhere.
//!
//! [`Table::came`]: crate::Table::came

use core::fmt;

use exopi_a64::{
    Assembler, Condition, Error as CodeError, Label, Register, W1, W9, W12, X0, X1, X9, X10, X11,
    X12, and_immediate, br, cmp, cmp_immediate, constant, ldp_post, ldr, lsr, ret,
};
use exopi_abi::predicate::{Comparison, Exposed, MAX_TERMS, Operand, Tag, Test, Width};

use crate::program::{Place, Program};
use crate::table::{PAUSED, POSITIONS};

/// Most words of a test: an address of four, a load, a field out of it, a value of four, a comparison, a branch.
const TEST_WORDS: usize = 4 + 1 + 1 + 4 + 1 + 1;
/// Words behind the last test: on to the next entry.
const NEXT_WORDS: usize = 2;
/// Most words at the end of a product that is true: a tag of two, and back.
const FOUND_WORDS: usize = 3;

/// Words of a buffer that is large enough for the code of any predicate.
pub const MAX_CODE_WORDS: usize = MAX_TERMS * (TEST_WORDS + FOUND_WORDS) + NEXT_WORDS;
/// Most instructions from the call of a look to its return: [`POSITIONS`] predicates and two stubs.
pub const MAX_STRETCH: usize = POSITIONS * (MAX_TERMS * TEST_WORDS + FOUND_WORDS) + STUB_WORDS;
/// Words of the stubs.
pub const STUB_WORDS: usize = NEXT_WORDS + 3 * 2;

/// Bytes from one entry to the next.
const ENTRY_BYTES: i32 = size_of::<crate::Entry>() as i32;
/// Words within these many bytes have one base register.
const BASE_BYTES: u64 = 4096;

/// Why no code was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// An address that the caller gave is not aligned: a page's to 4 KiB, a life word's to 8 bytes.
    Misaligned,
    /// The code could not be written: the buffer is too small.
    Code(CodeError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misaligned => f.write_str("misaligned address"),
            Self::Code(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<CodeError> for Error {
    fn from(error: CodeError) -> Self {
        Self::Code(error)
    }
}

/// The code of a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code<'b> {
    /// Its instructions.
    pub words: &'b [u32],
    /// What stands beside its address in each entry that leads to it.
    pub argument: u64,
}

/// Where the stubs are, in bytes from where their words lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stubs {
    /// Begins a look: the function that is called.
    pub enter: u32,
    /// Code of the last entry.
    pub nobody: u32,
    /// Code of an entry that ends a stretch.
    pub pause: u32,
    /// Code for a sleeper whose predicate lost a page ([`Program::without`]).
    pub broken: u32,
}

/// Writes the stubs into `buffer` ([`STUB_WORDS`] are enough) and tells where they are.
///
/// # Errors
/// [`Error::Code`] if the buffer is too small.
pub fn stubs(buffer: &mut [u32]) -> Result<(&[u32], Stubs), Error> {
    let mut code = Assembler::new(buffer);
    let enter = offset(&code);
    next(&mut code)?;
    let nobody = offset(&code);
    code.put_all(constant(X1, 0).words())?;
    code.put(ret())?;
    let pause = offset(&code);
    code.put_all(constant(X1, PAUSED).words())?;
    code.put(ret())?;
    let broken = offset(&code);
    found(&mut code, Tag::BROKEN)?;
    let stubs = Stubs {
        enter,
        nobody,
        pause,
        broken,
    };
    Ok((code.finish()?, stubs))
}

fn offset(code: &Assembler<'_>) -> u32 {
    code.len() as u32 * 4
}

/// On to the next entry.
fn next(code: &mut Assembler<'_>) -> Result<(), CodeError> {
    code.put(ldp_post(X9, X10, X0, ENTRY_BYTES)?)?;
    code.put(br(X9))
}

/// Returns with a tag.
fn found(code: &mut Assembler<'_>, tag: Tag) -> Result<(), CodeError> {
    code.put_all(constant(W1, tag.get().into()).words())?;
    code.put(ret())
}

impl Program {
    /// Writes the predicate's code into `buffer` ([`MAX_CODE_WORDS`] are enough). `address` tells where the kernel
    /// reads a page or a life word, and must go on to be right as long as the code is used.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn compile<'b>(
        &self,
        address: impl Fn(Place) -> u64,
        buffer: &'b mut [u32],
    ) -> Result<Code<'b>, Error> {
        let argument = self.usual_base(&address)?;
        let mut code = Assembler::new(buffer);
        let mut bases = Bases {
            argument,
            other: None,
            after_first: None,
        };
        let mut products: [Product; MAX_TERMS] = core::array::from_fn(|_| Product::default());
        let mut free = products.iter_mut();
        let mut product: Option<&mut Product> = None;
        let mut go_on = Label::new();
        let mut tests = self.tests().peekable();
        while let Some(test) = tests.next() {
            if test.first.is_some() {
                code.bind(&mut go_on)?;
                go_on = Label::new();
                product = free.next();
                bases.begin_product();
            }
            let Some(product) = product.as_mut() else {
                break;
            };
            product.tag = product.tag.or(test.first);
            let word = locate(test.operand, &address)?;
            bases.load(&mut code, test.operand, word, test.first.is_some())?;
            let last = tests.peek().is_none_or(|next| next.first.is_some());
            if last {
                branch(&mut code, &test, test.comparison, &mut product.found)?;
            } else {
                branch(&mut code, &test, opposite(test.comparison), &mut go_on)?;
            }
        }
        code.bind(&mut go_on)?;
        next(&mut code)?;
        for product in &mut products {
            if let Some(tag) = product.tag {
                code.bind(&mut product.found)?;
                found(&mut code, tag)?;
            }
        }
        let words = code.finish()?;
        Ok(Code { words, argument })
    }

    /// The base of most words, the first of those that are used as often; zero if there are no words in memory.
    fn usual_base(&self, address: &impl Fn(Place) -> u64) -> Result<u64, Error> {
        let mut uses = [(0, 0u32); MAX_TERMS];
        let mut count = 0;
        for test in self.tests() {
            let Some(word) = locate(test.operand, address)? else {
                continue;
            };
            let known = uses.iter().take(count).position(|use_| use_.0 == word.base);
            if let Some(use_) = uses.get_mut(known.unwrap_or(count)) {
                *use_ = (word.base, use_.1 + 1);
                count += usize::from(known.is_none());
            }
        }
        // Of several maxima `max_by_key` takes the last.
        let usual = uses.iter().take(count).rev().max_by_key(|use_| use_.1);
        Ok(usual.map_or(0, |use_| use_.0))
    }
}

/// A product that has been begun.
#[derive(Default)]
struct Product {
    found: Label,
    tag: Option<Tag>,
}

/// Where a word lies.
#[derive(Clone, Copy)]
struct Location {
    /// A multiple of [`BASE_BYTES`].
    base: u64,
    offset: u32,
}

/// Where an operand lies; none for the time.
fn locate(operand: Operand, address: &impl Fn(Place) -> u64) -> Result<Option<Location>, Error> {
    let (begin, alignment, offset) = match operand {
        Operand::Memory { page, offset, .. } => {
            (address(Place::Page(page)), BASE_BYTES, u64::from(offset))
        }
        Operand::Exposed(Exposed::State(index) | Exposed::Epoch(index)) => {
            (address(Place::Life(index)), 8, 0)
        }
        Operand::Exposed(Exposed::Time) => return Ok(None),
    };
    if !begin.is_multiple_of(alignment) {
        return Err(Error::Misaligned);
    }
    // Less than 4 KiB into an aligned page: no carry.
    let address = begin | offset;
    Ok(Some(Location {
        base: address & !(BASE_BYTES - 1),
        offset: (address % BASE_BYTES) as u32,
    }))
}

/// What the base registers hold at the place that is being written.
struct Bases {
    /// x10, throughout.
    argument: u64,
    /// x11, if all ways here agree on it.
    other: Option<u64>,
    /// x11 behind the first test of this product, which all ways to the next product pass; none if a later test has
    /// changed it.
    after_first: Option<u64>,
}

impl Bases {
    fn begin_product(&mut self) {
        self.other = self.after_first;
    }

    /// Loads an operand into x9.
    fn load(
        &mut self,
        code: &mut Assembler<'_>,
        operand: Operand,
        location: Option<Location>,
        first: bool,
    ) -> Result<(), CodeError> {
        let Some(Location { base, offset }) = location else {
            if first {
                self.after_first = self.other;
            }
            return Ok(());
        };
        let register = if base == self.argument { X10 } else { X11 };
        if base != self.argument && self.other != Some(base) {
            code.put_all(constant(X11, base).words())?;
            self.other = Some(base);
        }
        if first || self.after_first != self.other {
            self.after_first = self.other.filter(|_| first);
        }
        match operand {
            Operand::Memory {
                width: Width::Four, ..
            } => code.put(ldr(W9, register, offset)?),
            Operand::Exposed(Exposed::State(_)) => {
                code.put(ldr(W9, register, offset)?)?;
                let (_, width) = Exposed::STATE_FIELD;
                code.put(and_immediate(X9, X9, (1 << width) - 1)?)
            }
            Operand::Exposed(Exposed::Epoch(_)) => {
                code.put(ldr(X9, register, offset)?)?;
                let (low, _) = Exposed::EPOCH_FIELD;
                code.put(lsr(X9, X9, low)?)
            }
            _ => code.put(ldr(X9, register, offset)?),
        }
    }
}

// The fields are where `load` takes them from: the lowest bits, and all from one on.
const _: () = {
    assert!(Exposed::STATE_FIELD.0 == 0 && Exposed::STATE_FIELD.1 < 32);
    assert!(Exposed::EPOCH_FIELD.0 + Exposed::EPOCH_FIELD.1 == 64);
};

/// Goes to `label` if `comparison` holds between the operand of `test`, which was loaded, and its value.
fn branch(
    code: &mut Assembler<'_>,
    test: &Test,
    comparison: Comparison,
    label: &mut Label,
) -> Result<(), CodeError> {
    match test.operand {
        Operand::Exposed(Exposed::Time) => compare(code, (X1, X12), comparison, test.value, label),
        Operand::Memory {
            width: Width::Four, ..
        } => compare(code, (W9, W12), comparison, test.value, label),
        _ => compare(code, (X9, X12), comparison, test.value, label),
    }
}

/// The same for a register of whatever width, with another one for the value.
fn compare<R: Register>(
    code: &mut Assembler<'_>,
    (word, scratch): (R, R),
    comparison: Comparison,
    value: u64,
    label: &mut Label,
) -> Result<(), CodeError> {
    match (comparison, value) {
        (Comparison::NotEqual | Comparison::Greater, 0) | (Comparison::AtLeast, 1) => {
            return code.cbnz(word, label);
        }
        (Comparison::Equal | Comparison::AtMost, 0) | (Comparison::Less, 1) => {
            return code.cbz(word, label);
        }
        _ => {}
    }
    let immediate = u32::try_from(value).map_err(|_| CodeError::Immediate);
    match immediate.and_then(|value| cmp_immediate(word, value)) {
        Ok(instruction) => code.put(instruction)?,
        Err(_) => {
            code.put_all(constant(scratch, value).words())?;
            code.put(cmp(word, scratch))?;
        }
    }
    let condition = match comparison {
        Comparison::Less => Condition::Lo,
        Comparison::AtMost => Condition::Ls,
        Comparison::Equal => Condition::Eq,
        Comparison::NotEqual => Condition::Ne,
        Comparison::AtLeast => Condition::Hs,
        Comparison::Greater => Condition::Hi,
    };
    code.b_cond(condition, label)
}

/// What holds when `comparison` does not.
const fn opposite(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::AtLeast,
        Comparison::AtMost => Comparison::Greater,
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::AtLeast => Comparison::Less,
        Comparison::Greater => Comparison::AtMost,
    }
}
