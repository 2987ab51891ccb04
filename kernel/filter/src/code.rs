//! The merged tree as A64 code: code for keys, tables for values.
//!
//! A key's code is the same for all filters that declare it and never changes; a new filter is written
//! into the tables that it reads. Every piece is independent of its position and of the others: they
//! find each other by offsets in [`Filter`](crate::Filter) records.
//!
//! ```text
//!   entry        w8 = place of the root's first key; go there
//!   key's code   fields wholly in the frame? else MISS     (x0 base, x1 octets from there to the end)
//!                load and pack them with the place, hash, probe
//!                  empty slot: MISS    equal: FOUND    else next slot
//!   FOUND        w8 = place of the child's first key; base moves; go there
//!   MISS         w8 += 4, the next key's place; go there
//!   go there     code[key]: 0 returns w8 >> 7, the filter; else branch to arena + code[key]
//! ```
//!
//! # Convention
//! A function by AAPCS64 with the arguments of [`Arguments`], in that order. It reads the frame and the
//! pools, writes nothing, uses no stack, and changes x0, x1, x7 to x17 and the flags. Loads need not be
//! aligned, so alignment checking must be off. The entry ([`emit_entry`](Trie::emit_entry)) lies where
//! the arena begins and each key's code at a multiple of 4 in it.
//!
//! | register | holds |
//! | --- | --- |
//! | x0, x1 | address of the base; octets from there to the frame's end, negative beyond it |
//! | x2 to x6 | pools and secrets, as given |
//! | x7, x8 | arena; place |
//! | x9 | scratch |
//! | x10, x11, x12 | hash, then slot; filter found; its record |
//! | x13 to x15 | packed words |
//! | x16, x17 | as x0 and x1, within a key that moves the base by a field |

use exopi_a64::{
    Assembler, Condition, Error as CodeError, Index, Label, Shift, W8, W9, W11, X, X0, X1, X2, X3,
    X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15, X16, X17, add, add_immediate, add_shifted,
    adr, and, and_immediate, br, ccmp, cmp, cmp_immediate, constant, eor, ldp, ldr, ldr_index,
    ldrb, ldrb_index, ldrh, ldrh_index, ldur, ldurb, ldurh, lsl, lsr, mov, movz, mul, orr_shifted,
    ret, rev16, sub, sub_immediate, umulh,
};

use crate::keys::REGISTER_WORDS;
use crate::records::{KeyId, KeyRecord, PLACE_SHIFT, Part, Step, WORDS_OFFSET};
use crate::trie::Trie;
use crate::{Error, MAX_ATOMS, Secrets};
use exopi_abi::net::Width;

mod spilled;

/// Words of a buffer that is large enough for the code of any key: less than 24 for each atom.
pub const MAX_CODE_WORDS: usize = 64 + 24 * MAX_ATOMS;

const WORDS: [X; REGISTER_WORDS] = [X13, X14, X15];

/// What the generated function is called with, x0 to x6.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// Address of the frame.
    pub frame: u64,
    /// Its octets, less than 2^62.
    pub length: u64,
    /// Address of [`Pools::filters`](crate::Pools::filters).
    pub filters: u64,
    /// Address of [`Pools::slots`](crate::Pools::slots).
    pub slots: u64,
    /// Address of [`Pools::chunks`](crate::Pools::chunks).
    pub chunks: u64,
    /// What the tree was made with.
    pub secrets: Secrets,
}

impl Arguments {
    /// As registers, x0 first.
    pub const fn registers(self) -> [u64; 7] {
        let Secrets { first, second } = self.secrets;
        let Self {
            frame,
            length,
            filters,
            slots,
            chunks,
            ..
        } = self;
        [frame, length, filters, slots, chunks, first, second]
    }
}

impl From<CodeError> for Error {
    fn from(error: CodeError) -> Self {
        Self::Code(error)
    }
}

/// Where a field is loaded from and what is free meanwhile.
#[derive(Clone, Copy)]
struct Base {
    /// Address of the base.
    address: X,
    /// Octets to the frame's end, if they are still to be compared.
    left: Option<X>,
}

impl Trie<'_> {
    /// Writes the function's entry into `buffer` and gives its words.
    ///
    /// # Errors
    /// [`Error::Code`] if the buffer is too small.
    pub fn emit_entry<'b>(&self, buffer: &'b mut [u32]) -> Result<&'b [u32], Error> {
        let mut code = Assembler::new(buffer);
        code.put(adr(X7, 0)?)?;
        code.put(movz(W8, 0, 0)?)?;
        go(&mut code)?;
        Ok(code.finish()?)
    }

    /// Writes the code of a key into `buffer` ([`MAX_CODE_WORDS`] are enough) and gives its words.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::Code`] if the buffer is too small.
    pub fn emit<'b>(&self, key: KeyId, buffer: &'b mut [u32]) -> Result<&'b [u32], Error> {
        let key = self.key(key).ok_or(Error::Unknown)?;
        let mut code = Assembler::new(buffer);
        let mut labels = Labels::default();
        if usize::from(key.words) <= REGISTER_WORDS {
            let base = load_words(&mut code, key, &mut labels)?;
            hash_words(&mut code, key.words.into())?;
            self.probe(&mut code, &mut labels)?;
            compare_words(&mut code, key.words.into(), &mut labels)?;
            found(&mut code, key, base)?;
        } else {
            spilled::hash(&mut code, key, &mut labels)?;
            self.probe(&mut code, &mut labels)?;
            spilled::compare(&mut code, key, &mut labels)?;
            let base = Base {
                address: if moves(key) { X16 } else { X0 },
                left: None,
            };
            found(&mut code, key, base)?;
        }
        code.bind(&mut labels.next)?;
        code.put(add_immediate(X10, X10, 1)?)?;
        code.b(&mut labels.probe)?;
        code.bind(&mut labels.miss)?;
        code.put(add_immediate(W8, W8, 4)?)?;
        go(&mut code)?;
        Ok(code.finish()?)
    }

    /// From the hash in x10 to the record in x12 of the filter in the next slot.
    fn probe(&self, code: &mut Assembler<'_>, labels: &mut Labels) -> Result<(), CodeError> {
        code.put(and_immediate(X10, X10, self.home_mask())?)?;
        code.bind(&mut labels.probe)?;
        code.put(ldr_index(W11, X3, Index::Units(X10)))?;
        code.cbz(W11, &mut labels.miss)?;
        code.put(add_shifted(X12, X2, X11, Shift::Lsl, PLACE_SHIFT)?)
    }
}

/// Places in a key's code.
#[derive(Debug, Default)]
struct Labels {
    probe: Label,
    next: Label,
    miss: Label,
}

/// Goes to the code of the key whose place is in w8, or returns the filter if there is no such key.
fn go(code: &mut Assembler<'_>) -> Result<(), CodeError> {
    let mut done = Label::new();
    code.put(ldr_index(W9, X2, Index::WordBytes(W8)))?;
    code.cbz(W9, &mut done)?;
    code.put(add(X9, X7, X9))?;
    code.put(br(X9))?;
    code.bind(&mut done)?;
    code.put(lsr(exopi_a64::W0, W8, PLACE_SHIFT)?)?;
    code.put(ret())
}

/// Whether a key moves the base by a field.
fn moves(key: &KeyRecord) -> bool {
    key.steps().iter().any(|step| step.part == Part::AdvanceBy)
}

/// Loads and packs the fields of a key whose words all have a register.
fn load_words(
    code: &mut Assembler<'_>,
    key: &KeyRecord,
    labels: &mut Labels,
) -> Result<Base, CodeError> {
    let mut begun = [false; REGISTER_WORDS];
    let base = walk(code, key, labels, |code, step, base| {
        let (Some(begun), Some(&word)) = (
            begun.get_mut(usize::from(step.word)),
            WORDS.get(usize::from(step.word)),
        ) else {
            return Err(CodeError::Immediate);
        };
        // Word 0 begins with the place.
        let to = if step.word == 0 { X8 } else { word };
        if step.bit == 0 {
            load_field(code, step, word, base)?;
        } else {
            load_field(code, step, X11, base)?;
            let onto = if *begun { word } else { to };
            code.put(orr_shifted(word, onto, X11, Shift::Lsl, step.bit.into())?)?;
        }
        *begun = true;
        Ok(())
    })?;
    if !begun[0] {
        code.put(mov(X13, X8))?;
    }
    Ok(base)
}

/// Goes through the steps of a key: compares ends, moves the base, and has `field` load fields.
fn walk(
    code: &mut Assembler<'_>,
    key: &KeyRecord,
    labels: &mut Labels,
    mut field: impl FnMut(&mut Assembler<'_>, &Step, Base) -> Result<(), CodeError>,
) -> Result<Base, CodeError> {
    let mut base = Base {
        address: X0,
        left: Some(X1),
    };
    for segment in key
        .steps()
        .split_inclusive(|step| step.part == Part::AdvanceBy)
    {
        check_end(code, segment, base, labels)?;
        for step in segment {
            match step.part {
                Part::Field => field(code, step, base)?,
                Part::Advance => {}
                Part::AdvanceBy => base = move_base(code, step, X11, base)?,
            }
        }
    }
    Ok(base)
}

/// Misses unless all fields of a segment are wholly in the frame.
fn check_end(
    code: &mut Assembler<'_>,
    segment: &[Step],
    base: Base,
    labels: &mut Labels,
) -> Result<(), CodeError> {
    let fields = segment.iter().filter(|step| step.part != Part::Advance);
    let ends = fields.map(|step| u32::from(step.offset) + step.width().octets());
    let (Some(end), Some(left)) = (ends.max(), base.left) else {
        return Ok(());
    };
    match cmp_immediate(left, end) {
        Ok(word) => code.put(word)?,
        Err(_) => {
            code.put_all(constant(X9, end.into()).words())?;
            code.put(cmp(left, X9))?;
        }
    }
    // Signed: the base may be beyond the end.
    code.b_cond(Condition::Lt, &mut labels.miss)
}

/// Moves the base by a field into x16 and x17.
fn move_base(
    code: &mut Assembler<'_>,
    step: &Step,
    scratch: X,
    base: Base,
) -> Result<Base, CodeError> {
    load(code, step, scratch, base.address)?;
    let half = scratch.w();
    if step.width() == Width::Bits16 {
        code.put(rev16(half, half))?;
    }
    if step.mask != step.width().ones() {
        mask(code, half, step.mask)?;
    }
    let by = u32::from(step.shift.unsigned_abs());
    if step.shift > 0 {
        code.put(lsl(half, half, by)?)?;
    } else if step.shift < 0 {
        code.put(lsr(half, half, by)?)?;
    }
    code.put(add(X16, base.address, scratch))?;
    if let Some(left) = base.left {
        code.put(sub(X17, left, scratch))?;
    }
    Ok(Base {
        address: X16,
        left: base.left.map(|_| X17),
    })
}

/// Loads a field into `to`, masked.
fn load_field(code: &mut Assembler<'_>, step: &Step, to: X, base: Base) -> Result<(), CodeError> {
    load(code, step, to, base.address)?;
    if step.mask == step.width().ones() {
        return Ok(());
    }
    if step.width() == Width::Bits64 {
        mask(code, to, step.mask)
    } else {
        mask(code, to.w(), step.mask)
    }
}

/// `register &= mask`.
fn mask<R: Maskable>(code: &mut Assembler<'_>, register: R, mask: u64) -> Result<(), CodeError> {
    match and_immediate(register, register, mask) {
        Ok(word) => code.put(word),
        Err(_) => {
            code.put_all(constant(R::SCRATCH, mask).words())?;
            code.put(and(register, register, R::SCRATCH))
        }
    }
}

/// A width of registers, with the scratch register in it.
trait Maskable: exopi_a64::Register {
    const SCRATCH: Self;
}

impl Maskable for X {
    const SCRATCH: X = X9;
}

impl Maskable for exopi_a64::W {
    const SCRATCH: exopi_a64::W = W9;
}

/// Loads a field, zero-extended.
fn load(code: &mut Assembler<'_>, step: &Step, to: X, base: X) -> Result<(), CodeError> {
    let (offset, half) = (u32::from(step.offset), to.w());
    let scaled = match step.width() {
        Width::Bits8 => ldrb(half, base, offset),
        Width::Bits16 => ldrh(half, base, offset),
        Width::Bits32 => ldr(half, base, offset),
        Width::Bits64 => ldr(to, base, offset),
    };
    let near = i32::from(step.offset.min(256));
    let unscaled = || match step.width() {
        Width::Bits8 => ldurb(half, base, near),
        Width::Bits16 => ldurh(half, base, near),
        Width::Bits32 => ldur(half, base, near),
        Width::Bits64 => ldur(to, base, near),
    };
    if let Ok(word) = scaled.or_else(|_| unscaled()) {
        return code.put(word);
    }
    code.put_all(constant(X9, offset.into()).words())?;
    let index = Index::Bytes(X9);
    code.put(match step.width() {
        Width::Bits8 => ldrb_index(half, base, index),
        Width::Bits16 => ldrh_index(half, base, index),
        Width::Bits32 => ldr_index(half, base, index),
        Width::Bits64 => ldr_index(to, base, index),
    })
}

/// x10 = both halves of `a * b`, folded; x9 is scratch, and `a` may be x9 or x10.
fn fold(code: &mut Assembler<'_>, a: X, b: X) -> Result<(), CodeError> {
    code.put(mul(X11, a, b))?;
    code.put(umulh(X10, a, b))?;
    code.put(eor(X10, X10, X11))
}

/// Hashes the words in registers as [`Secrets::hash`] does.
fn hash_words(code: &mut Assembler<'_>, words: usize) -> Result<(), CodeError> {
    if words == 1 {
        return fold(code, X13, X6);
    }
    code.put(eor(X9, X13, X5))?;
    code.put(eor(X10, X14, X6))?;
    fold(code, X9, X10)?;
    if words == 3 {
        code.put(eor(X9, X10, X15))?;
        fold(code, X9, X6)?;
    }
    Ok(())
}

/// Goes to the next slot unless the record in x12 has the words in registers.
fn compare_words(
    code: &mut Assembler<'_>,
    words: usize,
    labels: &mut Labels,
) -> Result<(), CodeError> {
    if words == 3 {
        code.put(ldr(X9, X12, WORDS_OFFSET + 16)?)?;
        code.put(cmp(X9, X15))?;
        code.b_cond(Condition::Ne, &mut labels.next)?;
    }
    if words == 1 {
        code.put(ldr(X9, X12, WORDS_OFFSET)?)?;
        code.put(cmp(X9, X13))?;
    } else {
        code.put(ldp(X9, X12, X12, WORDS_OFFSET as i32)?)?;
        code.put(cmp(X9, X13))?;
        code.put(ccmp(X12, X14, 0, Condition::Eq)?)?;
    }
    code.b_cond(Condition::Ne, &mut labels.next)
}

/// On to the child in x11, with the base where the key has moved it.
fn found(code: &mut Assembler<'_>, key: &KeyRecord, base: Base) -> Result<(), CodeError> {
    code.put(lsl(W8, W11, PLACE_SHIFT)?)?;
    if base.address == X16 {
        match base.left {
            Some(left) => code.put(mov(X1, left))?,
            None => {
                code.put(sub(X9, X16, X0))?;
                code.put(sub(X1, X1, X9))?;
            }
        }
        code.put(mov(X0, X16))?;
    }
    let last = key.steps().last();
    if let Some(step) = last.filter(|step| step.part == Part::Advance) {
        let by = u32::from(step.offset);
        match (add_immediate(X0, X0, by), sub_immediate(X1, X1, by)) {
            (Ok(forward), Ok(less)) => code.put_all(&[forward, less])?,
            _ => {
                code.put_all(constant(X9, by.into()).words())?;
                code.put_all(&[add(X0, X0, X9), sub(X1, X1, X9)])?;
            }
        }
    }
    go(code)
}

/// Packs a field into the word that is being put together in x13, for the keys of [`spilled`].
fn gather(code: &mut Assembler<'_>, step: &Step, base: Base) -> Result<(), CodeError> {
    match (step.word, step.bit) {
        (_, 0) => load_field(code, step, X13, base),
        (word, bit) => {
            load_field(code, step, X14, base)?;
            // The place, whose other half is clear, begins word 0.
            let onto = if word == 0 && bit == 32 { X8 } else { X13 };
            code.put(orr_shifted(X13, onto, X14, Shift::Lsl, bit.into())?)
        }
    }
}
