//! Data processing on registers: DDI 0487 C4.1, "Data Processing -- Register".

use crate::immediates::ZERO;
use crate::{Condition, Error, Register, Word, X, unsigned};

/// How the second operand of an instruction is shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Shift {
    /// Left.
    Lsl = 0,
    /// Right, zeros coming in.
    Lsr = 1,
    /// Right, copies of the sign coming in.
    Asr = 2,
    /// Rotated right: logical instructions only.
    Ror = 3,
}

fn three<R: Register>(base: u32, d: u32, n: R, m: R) -> Word {
    Word(base | R::SF | m.number() << 16 | n.number() << 5 | d)
}

fn shifted<R: Register>(word: Word, shift: Shift, amount: u32) -> Result<Word, Error> {
    if amount >= R::BITS {
        return Err(Error::Immediate);
    }
    Ok(Word(word.0 | (shift as u32) << 22 | amount << 10))
}

/// An "Add/subtract (shifted register)", for which the rotation is a reserved encoding.
fn arithmetic<R: Register>(word: Word, shift: Shift, amount: u32) -> Result<Word, Error> {
    match shift {
        Shift::Ror => Err(Error::Immediate),
        _ => shifted::<R>(word, shift, amount),
    }
}

/// `add d, n, m`. "Add/subtract (shifted register)".
pub fn add<R: Register>(d: R, n: R, m: R) -> Word {
    three(0x0b00_0000, d.number(), n, m)
}

/// `sub d, n, m`. "Add/subtract (shifted register)".
pub fn sub<R: Register>(d: R, n: R, m: R) -> Word {
    three(0x4b00_0000, d.number(), n, m)
}

/// `subs d, n, m`: subtracts and sets the flags. "Add/subtract (shifted register)".
pub fn subs<R: Register>(d: R, n: R, m: R) -> Word {
    three(0x6b00_0000, d.number(), n, m)
}

/// `cmp n, m`: sets the flags for `n - m`. "Add/subtract (shifted register)".
pub fn cmp<R: Register>(n: R, m: R) -> Word {
    three(0x6b00_0000, ZERO, n, m)
}

/// `add d, n, m, shift #amount`. "Add/subtract (shifted register)".
///
/// # Errors
/// [`Error::Immediate`] unless `amount` is less than the width, and for [`Shift::Ror`].
pub fn add_shifted<R: Register>(d: R, n: R, m: R, by: Shift, amount: u32) -> Result<Word, Error> {
    arithmetic::<R>(add(d, n, m), by, amount)
}

/// `sub d, n, m, shift #amount`. "Add/subtract (shifted register)".
///
/// # Errors
/// As [`add_shifted`].
pub fn sub_shifted<R: Register>(d: R, n: R, m: R, by: Shift, amount: u32) -> Result<Word, Error> {
    arithmetic::<R>(sub(d, n, m), by, amount)
}

/// `subs d, n, m, shift #amount`. "Add/subtract (shifted register)".
///
/// # Errors
/// As [`add_shifted`].
pub fn subs_shifted<R: Register>(d: R, n: R, m: R, by: Shift, amount: u32) -> Result<Word, Error> {
    arithmetic::<R>(subs(d, n, m), by, amount)
}

/// `cmp n, m, shift #amount`. "Add/subtract (shifted register)".
///
/// # Errors
/// As [`add_shifted`].
pub fn cmp_shifted<R: Register>(n: R, m: R, by: Shift, amount: u32) -> Result<Word, Error> {
    arithmetic::<R>(cmp(n, m), by, amount)
}

/// `and d, n, m`. "Logical (shifted register)".
pub fn and<R: Register>(d: R, n: R, m: R) -> Word {
    three(0x0a00_0000, d.number(), n, m)
}

/// `orr d, n, m`. "Logical (shifted register)".
pub fn orr<R: Register>(d: R, n: R, m: R) -> Word {
    three(0x2a00_0000, d.number(), n, m)
}

/// `eor d, n, m`. "Logical (shifted register)".
pub fn eor<R: Register>(d: R, n: R, m: R) -> Word {
    three(0x4a00_0000, d.number(), n, m)
}

/// `tst n, m`: sets the flags for `n & m`. "Logical (shifted register)".
pub fn tst<R: Register>(n: R, m: R) -> Word {
    three(0x6a00_0000, ZERO, n, m)
}

/// `mov d, m`. "Logical (shifted register)": `orr` with zero.
pub fn mov<R: Register>(d: R, m: R) -> Word {
    Word(0x2a00_0000 | R::SF | m.number() << 16 | ZERO << 5 | d.number())
}

/// `and d, n, m, shift #amount`. "Logical (shifted register)".
///
/// # Errors
/// [`Error::Immediate`] unless `amount` is less than the width.
pub fn and_shifted<R: Register>(d: R, n: R, m: R, by: Shift, amount: u32) -> Result<Word, Error> {
    shifted::<R>(and(d, n, m), by, amount)
}

/// `orr d, n, m, shift #amount`. "Logical (shifted register)".
///
/// # Errors
/// As [`and_shifted`].
pub fn orr_shifted<R: Register>(d: R, n: R, m: R, by: Shift, amount: u32) -> Result<Word, Error> {
    shifted::<R>(orr(d, n, m), by, amount)
}

/// `eor d, n, m, shift #amount`. "Logical (shifted register)".
///
/// # Errors
/// As [`and_shifted`].
pub fn eor_shifted<R: Register>(d: R, n: R, m: R, by: Shift, amount: u32) -> Result<Word, Error> {
    shifted::<R>(eor(d, n, m), by, amount)
}

/// `lsl d, n, m`: by `m` modulo the width. "Data-processing (2 source)" (LSLV).
pub fn lsl_register<R: Register>(d: R, n: R, m: R) -> Word {
    three(0x1ac0_2000, d.number(), n, m)
}

/// `lsr d, n, m`: by `m` modulo the width. "Data-processing (2 source)" (LSRV).
pub fn lsr_register<R: Register>(d: R, n: R, m: R) -> Word {
    three(0x1ac0_2400, d.number(), n, m)
}

fn one<R: Register>(base: u32, d: R, n: R) -> Word {
    Word(base | R::SF | n.number() << 5 | d.number())
}

/// `rev d, n`: all bytes in reverse order. "Data-processing (1 source)".
pub fn rev<R: Register>(d: R, n: R) -> Word {
    // The code says how much is reversed at a time, so it depends on the width.
    one(
        if R::BITS == 64 {
            0x5ac0_0c00
        } else {
            0x5ac0_0800
        },
        d,
        n,
    )
}

/// `rev16 d, n`: the two bytes of each half-word. "Data-processing (1 source)".
pub fn rev16<R: Register>(d: R, n: R) -> Word {
    one(0x5ac0_0400, d, n)
}

/// `rev32 d, n`: the four bytes of each word. "Data-processing (1 source)".
pub fn rev32(d: X, n: X) -> Word {
    one(0x5ac0_0800, d, n)
}

/// `mul d, n, m`: the low half of the product. "Data-processing (3 source)" (MADD).
pub fn mul<R: Register>(d: R, n: R, m: R) -> Word {
    Word(three(0x1b00_0000, d.number(), n, m).0 | ZERO << 10)
}

/// `madd d, n, m, a`: `a + n * m`, its low half. "Data-processing (3 source)".
///
/// Of 64 bits and right behind a load or store it may give a wrong result on a Cortex-A53 (erratum
/// 835769), and nothing here keeps the two apart. [`mul`] and [`umulh`] are not affected.
pub fn madd<R: Register>(d: R, n: R, m: R, a: R) -> Word {
    Word(three(0x1b00_0000, d.number(), n, m).0 | a.number() << 10)
}

/// `umulh d, n, m`: the high half of the product of 128 bits. "Data-processing (3 source)".
pub fn umulh(d: X, n: X, m: X) -> Word {
    // The third source is fixed: "should be ones".
    Word(three(0x1bc0_0000, d.number(), n, m).0 | ZERO << 10)
}

/// `csel d, n, m, condition`: `n` if it holds, else `m`. "Conditional select".
pub fn csel<R: Register>(d: R, n: R, m: R, condition: Condition) -> Word {
    Word(three(0x1a80_0000, d.number(), n, m).0 | condition.code() << 12)
}

/// `cset d, condition`: 1 if it holds, else 0. "Conditional select" (CSINC of zero and zero, which
/// increments where its condition does *not* hold).
pub fn cset<R: Register>(d: R, condition: Condition) -> Word {
    let code = condition.opposite_code() << 12;
    Word(0x1a80_0400 | R::SF | ZERO << 16 | code | ZERO << 5 | d.number())
}

/// `ccmp n, m, #flags, condition`: as [`cmp`] if the condition holds, else the flags become `flags`
/// (N, Z, C, V from bit 3 down). "Conditional compare (register)".
///
/// # Errors
/// [`Error::Immediate`] if `flags` has more than 4 bits.
pub fn ccmp<R: Register>(n: R, m: R, flags: u32, condition: Condition) -> Result<Word, Error> {
    let word = three(0x7a40_0000, unsigned(flags, 4)?, n, m);
    Ok(Word(word.0 | condition.code() << 12))
}

/// `ccmp n, #value, #flags, condition`, as [`ccmp`]. "Conditional compare (immediate)".
///
/// # Errors
/// [`Error::Immediate`] if `value` has more than 5 bits or `flags` more than 4.
pub fn ccmp_immediate<R: Register>(
    n: R,
    value: u32,
    flags: u32,
    condition: Condition,
) -> Result<Word, Error> {
    let (value, flags) = (unsigned(value, 5)?, unsigned(flags, 4)?);
    let fields = value << 16 | condition.code() << 12 | n.number() << 5 | flags;
    Ok(Word(0x7a40_0800 | R::SF | fields))
}
