//! Data processing with an immediate operand: DDI 0487 C4.1, "Data Processing -- Immediate".

use crate::{Bitmask, Error, Register, Word, X, signed, unsigned};

/// The number 31, which here always means zero: the instructions that get it have no form with the
/// stack pointer in that place.
pub(crate) const ZERO: u32 = 31;

/// `value` in an "Add/subtract (immediate)": 12 bits, or 12 bits shifted left by 12.
fn arithmetic(value: u32) -> Result<u32, Error> {
    match unsigned(value, 12) {
        Ok(field) => Ok(field << 10),
        Err(error) if value & 0xfff != 0 => Err(error),
        Err(_) => Ok(1 << 22 | unsigned(value >> 12, 12)? << 10),
    }
}

fn add_subtract<R: Register>(base: u32, d: u32, n: R, value: u32) -> Result<Word, Error> {
    Ok(Word(
        base | R::SF | arithmetic(value)? | n.number() << 5 | d,
    ))
}

/// `add d, n, #value`. "Add/subtract (immediate)".
///
/// # Errors
/// [`Error::Immediate`] unless `value` has 12 significant bits, in place or shifted left by 12.
pub fn add_immediate<R: Register>(d: R, n: R, value: u32) -> Result<Word, Error> {
    add_subtract(0x1100_0000, d.number(), n, value)
}

/// `sub d, n, #value`. "Add/subtract (immediate)".
///
/// # Errors
/// As [`add_immediate`].
pub fn sub_immediate<R: Register>(d: R, n: R, value: u32) -> Result<Word, Error> {
    add_subtract(0x5100_0000, d.number(), n, value)
}

/// `subs d, n, #value`: subtracts and sets the flags. "Add/subtract (immediate)".
///
/// # Errors
/// As [`add_immediate`].
pub fn subs_immediate<R: Register>(d: R, n: R, value: u32) -> Result<Word, Error> {
    add_subtract(0x7100_0000, d.number(), n, value)
}

/// `cmp n, #value`: sets the flags for `n - value`. "Add/subtract (immediate)".
///
/// # Errors
/// As [`add_immediate`].
pub fn cmp_immediate<R: Register>(n: R, value: u32) -> Result<Word, Error> {
    // SUBS is one of the forms whose destination 31 is zero and not the stack pointer.
    add_subtract(0x7100_0000, ZERO, n, value)
}

fn logical<R: Register>(base: u32, d: u32, n: R, value: u64) -> Result<Word, Error> {
    let mask = Bitmask::new::<R>(value)?;
    Ok(Word(base | R::SF | mask.field() | n.number() << 5 | d))
}

/// `and d, n, #value`. "Logical (immediate)".
///
/// # Errors
/// [`Error::Immediate`] if `value` is no [`Bitmask`].
pub fn and_immediate<R: Register>(d: R, n: R, value: u64) -> Result<Word, Error> {
    logical(0x1200_0000, d.number(), n, value)
}

/// `orr d, n, #value`. "Logical (immediate)".
///
/// # Errors
/// As [`and_immediate`].
pub fn orr_immediate<R: Register>(d: R, n: R, value: u64) -> Result<Word, Error> {
    logical(0x3200_0000, d.number(), n, value)
}

/// `eor d, n, #value`. "Logical (immediate)".
///
/// # Errors
/// As [`and_immediate`].
pub fn eor_immediate<R: Register>(d: R, n: R, value: u64) -> Result<Word, Error> {
    logical(0x5200_0000, d.number(), n, value)
}

/// `tst n, #value`: sets the flags for `n & value`. "Logical (immediate)".
///
/// # Errors
/// As [`and_immediate`].
pub fn tst_immediate<R: Register>(n: R, value: u64) -> Result<Word, Error> {
    logical(0x7200_0000, ZERO, n, value)
}

fn move_wide<R: Register>(base: u32, d: R, value: u16, shift: u32) -> Result<Word, Error> {
    if shift >= R::BITS || !shift.is_multiple_of(16) {
        return Err(Error::Immediate);
    }
    let value = u32::from(value);
    Ok(Word(
        base | R::SF | (shift / 16) << 21 | value << 5 | d.number(),
    ))
}

/// `movz d, #value, lsl #shift`: the rest becomes zero. "Move wide (immediate)".
///
/// # Errors
/// [`Error::Immediate`] unless `shift` is a multiple of 16 less than the width.
pub fn movz<R: Register>(d: R, value: u16, shift: u32) -> Result<Word, Error> {
    move_wide(0x5280_0000, d, value, shift)
}

/// `movk d, #value, lsl #shift`: the rest stays. "Move wide (immediate)".
///
/// # Errors
/// As [`movz`].
pub fn movk<R: Register>(d: R, value: u16, shift: u32) -> Result<Word, Error> {
    move_wide(0x7280_0000, d, value, shift)
}

/// `movn d, #value, lsl #shift`: the complement of what `movz` gives. "Move wide (immediate)".
///
/// # Errors
/// As [`movz`].
pub fn movn<R: Register>(d: R, value: u16, shift: u32) -> Result<Word, Error> {
    move_wide(0x1280_0000, d, value, shift)
}

/// `orr d, zero, mask`, that is, `mov d, #value` for a bitmask.
pub(crate) fn mov_bitmask<R: Register>(d: R, mask: Bitmask) -> Word {
    Word(0x3200_0000 | R::SF | mask.field() | ZERO << 5 | d.number())
}

/// UBFM, of which shifts by a constant and bit field extraction are forms.
fn ubfm<R: Register>(d: R, n: R, immr: u32, imms: u32) -> Word {
    let size = R::SF >> 9; // N = sf
    Word(0x5300_0000 | R::SF | size | immr << 16 | imms << 10 | n.number() << 5 | d.number())
}

/// `lsl d, n, #shift`. "Bitfield" (UBFM).
///
/// # Errors
/// [`Error::Immediate`] unless `shift` is less than the width.
pub fn lsl<R: Register>(d: R, n: R, shift: u32) -> Result<Word, Error> {
    if shift >= R::BITS {
        return Err(Error::Immediate);
    }
    Ok(ubfm(d, n, (R::BITS - shift) % R::BITS, R::BITS - 1 - shift))
}

/// `lsr d, n, #shift`. "Bitfield" (UBFM).
///
/// # Errors
/// As [`lsl`].
pub fn lsr<R: Register>(d: R, n: R, shift: u32) -> Result<Word, Error> {
    if shift >= R::BITS {
        return Err(Error::Immediate);
    }
    Ok(ubfm(d, n, shift, R::BITS - 1))
}

/// `ubfx d, n, #low, #width`: `width` bits of `n` from bit `low` on. "Bitfield" (UBFM).
///
/// # Errors
/// [`Error::Immediate`] if `width` is zero or the field goes beyond the register.
pub fn ubfx<R: Register>(d: R, n: R, low: u32, width: u32) -> Result<Word, Error> {
    match low.checked_add(width) {
        Some(end) if width > 0 && end <= R::BITS => Ok(ubfm(d, n, low, end - 1)),
        _ => Err(Error::Immediate),
    }
}

/// `adr d, . + offset`: an address up to 1 MiB from the instruction's own. "PC-rel. addressing".
///
/// # Errors
/// [`Error::Distance`] unless -2^20 <= `offset` < 2^20.
pub fn adr(d: X, offset: i32) -> Result<Word, Error> {
    let field = signed(offset, 21).map_err(|_| Error::Distance)?;
    Ok(Word(
        0x1000_0000 | (field & 3) << 29 | (field >> 2) << 5 | d.number(),
    ))
}
