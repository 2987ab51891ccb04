//! Branches: DDI 0487 C4.1, "Branches, Exception Generating and System instructions".
//!
//! Offsets are in bytes from the branch itself.

use crate::{Condition, Error, Register, Word, X, signed};

/// An offset as a field of `bits` bits at bit `position`, in words.
fn offset(bytes: i32, bits: u32, position: u32) -> Result<u32, Error> {
    if bytes % 4 != 0 {
        return Err(Error::Distance);
    }
    let field = signed(bytes / 4, bits).map_err(|_| Error::Distance)?;
    Ok(field << position)
}

/// `b . + bytes`. "Unconditional branch (immediate)".
///
/// # Errors
/// [`Error::Distance`] unless `bytes` is a multiple of 4 within 128 MiB.
pub fn b(bytes: i32) -> Result<Word, Error> {
    Ok(Word(0x1400_0000 | offset(bytes, 26, 0)?))
}

/// `bl . + bytes`: leaves the return address in x30. "Unconditional branch (immediate)".
///
/// # Errors
/// As [`b`].
pub fn bl(bytes: i32) -> Result<Word, Error> {
    Ok(Word(0x9400_0000 | offset(bytes, 26, 0)?))
}

/// `b.condition . + bytes`. "Conditional branch (immediate)".
///
/// # Errors
/// [`Error::Distance`] unless `bytes` is a multiple of 4 within 1 MiB.
pub fn b_cond(condition: Condition, bytes: i32) -> Result<Word, Error> {
    Ok(Word(0x5400_0000 | offset(bytes, 19, 5)? | condition.code()))
}

/// `cbz t, . + bytes`: if the register is zero. "Compare and branch (immediate)".
///
/// # Errors
/// As [`b_cond`].
pub fn cbz<R: Register>(t: R, bytes: i32) -> Result<Word, Error> {
    Ok(Word(
        0x3400_0000 | R::SF | offset(bytes, 19, 5)? | t.number(),
    ))
}

/// `cbnz t, . + bytes`: if the register is not zero. "Compare and branch (immediate)".
///
/// # Errors
/// As [`b_cond`].
pub fn cbnz<R: Register>(t: R, bytes: i32) -> Result<Word, Error> {
    Ok(Word(
        0x3500_0000 | R::SF | offset(bytes, 19, 5)? | t.number(),
    ))
}

fn test_bit<R: Register>(base: u32, t: R, bit: u32, bytes: i32) -> Result<Word, Error> {
    if bit >= R::BITS {
        return Err(Error::Immediate);
    }
    let number = (bit >> 5) << 31 | (bit & 31) << 19;
    Ok(Word(base | number | offset(bytes, 14, 5)? | t.number()))
}

/// `tbz t, #bit, . + bytes`: if the bit is zero. "Test and branch (immediate)".
///
/// # Errors
/// [`Error::Immediate`] if the register has no such bit; [`Error::Distance`] unless `bytes` is a
/// multiple of 4 within 32 KiB.
pub fn tbz<R: Register>(t: R, bit: u32, bytes: i32) -> Result<Word, Error> {
    test_bit(0x3600_0000, t, bit, bytes)
}

/// `tbnz t, #bit, . + bytes`: if the bit is one. "Test and branch (immediate)".
///
/// # Errors
/// As [`tbz`].
pub fn tbnz<R: Register>(t: R, bit: u32, bytes: i32) -> Result<Word, Error> {
    test_bit(0x3700_0000, t, bit, bytes)
}

/// `br n`. "Unconditional branch (register)".
pub fn br(n: X) -> Word {
    Word(0xd61f_0000 | n.number() << 5)
}

/// `blr n`: leaves the return address in x30. "Unconditional branch (register)".
pub fn blr(n: X) -> Word {
    Word(0xd63f_0000 | n.number() << 5)
}

/// `ret`: to the address in x30. "Unconditional branch (register)".
pub fn ret() -> Word {
    Word(0xd65f_03c0)
}
