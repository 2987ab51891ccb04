//! Loads and stores: DDI 0487 C4.1, "Loads and Stores".
//!
//! Only with a general register as base. Of the forms with write-back there is one, [`ldp_post`], for code that
//! goes along a table; nothing else here changes an address.

use crate::{Error, Register, W, Word, X, signed, unsigned};

/// Log2 of the bytes that a register of type `R` holds.
fn scale<R: Register>() -> u32 {
    R::BITS.ilog2() - 3
}

/// An offset of bytes, divided by the size of the access: "Load/store register (unsigned immediate)".
fn scaled(base: u32, t: u32, n: X, offset: u32, scale: u32) -> Result<Word, Error> {
    if offset & ((1 << scale) - 1) != 0 {
        return Err(Error::Immediate);
    }
    let field = unsigned(offset >> scale, 12)?;
    Ok(Word(base | scale << 30 | field << 10 | n.number() << 5 | t))
}

/// `ldr t, [n, #offset]`. "Load/store register (unsigned immediate)".
///
/// # Errors
/// [`Error::Immediate`] unless `offset` is a multiple of the register's size up to 4095 times it.
pub fn ldr<R: Register>(t: R, n: X, offset: u32) -> Result<Word, Error> {
    scaled(0x3940_0000, t.number(), n, offset, scale::<R>())
}

/// `ldrh t, [n, #offset]`: 16 bits, zero-extended. "Load/store register (unsigned immediate)".
///
/// # Errors
/// [`Error::Immediate`] unless `offset` is even and up to 8190.
pub fn ldrh(t: W, n: X, offset: u32) -> Result<Word, Error> {
    scaled(0x3940_0000, t.number(), n, offset, 1)
}

/// `ldrb t, [n, #offset]`: 8 bits, zero-extended. "Load/store register (unsigned immediate)".
///
/// # Errors
/// [`Error::Immediate`] unless `offset` is up to 4095.
pub fn ldrb(t: W, n: X, offset: u32) -> Result<Word, Error> {
    scaled(0x3940_0000, t.number(), n, offset, 0)
}

/// `str t, [n, #offset]`. "Load/store register (unsigned immediate)".
///
/// # Errors
/// As [`ldr`].
pub fn str<R: Register>(t: R, n: X, offset: u32) -> Result<Word, Error> {
    scaled(0x3900_0000, t.number(), n, offset, scale::<R>())
}

fn unscaled(t: u32, n: X, offset: i32, scale: u32) -> Result<Word, Error> {
    let field = signed(offset, 9)?;
    Ok(Word(
        0x3840_0000 | scale << 30 | field << 12 | n.number() << 5 | t,
    ))
}

/// `ldur t, [n, #offset]`: at any offset of bytes. "Load/store register (unscaled immediate)".
///
/// # Errors
/// [`Error::Immediate`] unless -256 <= `offset` < 256.
pub fn ldur<R: Register>(t: R, n: X, offset: i32) -> Result<Word, Error> {
    unscaled(t.number(), n, offset, scale::<R>())
}

/// `ldurh t, [n, #offset]`: 16 bits, zero-extended. "Load/store register (unscaled immediate)".
///
/// # Errors
/// As [`ldur`].
pub fn ldurh(t: W, n: X, offset: i32) -> Result<Word, Error> {
    unscaled(t.number(), n, offset, 1)
}

/// `ldurb t, [n, #offset]`: 8 bits, zero-extended. "Load/store register (unscaled immediate)".
///
/// # Errors
/// As [`ldur`].
pub fn ldurb(t: W, n: X, offset: i32) -> Result<Word, Error> {
    unscaled(t.number(), n, offset, 0)
}

/// A register that is added to the base of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// All 64 bits, counted in bytes.
    Bytes(X),
    /// All 64 bits, counted in units of the access's size.
    Units(X),
    /// 32 bits, zero-extended, counted in bytes.
    WordBytes(W),
    /// 32 bits, zero-extended, counted in units of the access's size.
    WordUnits(W),
}

/// "Load/store register (register offset)".
fn indexed(t: u32, n: X, index: Index, scale: u32) -> Word {
    const UXTW: u32 = 2 << 13;
    const LSL: u32 = 3 << 13;
    const SCALED: u32 = 1 << 12;
    let (m, option) = match index {
        Index::Bytes(m) => (m.number(), LSL),
        Index::Units(m) => (m.number(), LSL | SCALED),
        Index::WordBytes(m) => (m.number(), UXTW),
        Index::WordUnits(m) => (m.number(), UXTW | SCALED),
    };
    Word(0x3860_0800 | scale << 30 | m << 16 | option | n.number() << 5 | t)
}

/// `ldr t, [n, index]`. "Load/store register (register offset)".
pub fn ldr_index<R: Register>(t: R, n: X, index: Index) -> Word {
    indexed(t.number(), n, index, scale::<R>())
}

/// `ldrh t, [n, index]`: 16 bits, zero-extended. "Load/store register (register offset)".
pub fn ldrh_index(t: W, n: X, index: Index) -> Word {
    indexed(t.number(), n, index, 1)
}

/// `ldrb t, [n, index]`: 8 bits, zero-extended. "Load/store register (register offset)".
pub fn ldrb_index(t: W, n: X, index: Index) -> Word {
    indexed(t.number(), n, index, 0)
}

/// Two neighbours, `offset` in units of their size.
fn pair<R: Register>(base: u32, t: R, u: R, n: X, offset: i32) -> Result<Word, Error> {
    if t.number() == u.number() {
        return Err(Error::Unpredictable);
    }
    let size = R::BITS as i32 / 8;
    if offset % size != 0 {
        return Err(Error::Immediate);
    }
    let field = signed(offset / size, 7)? << 15;
    // Here bit 31 is the width, as elsewhere, though the manual calls it part of `opc`.
    let registers = u.number() << 10 | n.number() << 5 | t.number();
    Ok(Word(base | R::SF | field | registers))
}

/// `ldp t, u, [n, #offset]`: two neighbours. "Load/store register pair (offset)".
///
/// # Errors
/// [`Error::Immediate`] unless `offset` is a multiple of the register's size, from -64 to 63 times it;
/// [`Error::Unpredictable`] if both registers are the same.
pub fn ldp<R: Register>(t: R, u: R, n: X, offset: i32) -> Result<Word, Error> {
    pair(0x2940_0000, t, u, n, offset)
}

/// `ldp t, u, [n], #offset`: two neighbours, and then `n += offset`. "Load/store register pair
/// (post-indexed)".
///
/// # Errors
/// As [`ldp`]; [`Error::Unpredictable`] also if one of them is the base.
pub fn ldp_post<R: Register>(t: R, u: R, n: X, offset: i32) -> Result<Word, Error> {
    if t.number() == n.number() || u.number() == n.number() {
        return Err(Error::Unpredictable);
    }
    pair(0x28c0_0000, t, u, n, offset)
}
