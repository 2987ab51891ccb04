//! Encoder of the A64 instructions that generated code is made of.
//!
//! Packet filters and wakeup predicates become machine code that the kernel runs at EL1. What may be in
//! that code is decided by what can be said here: loads with a base register, integer arithmetic,
//! branches; nothing that reaches the stack, a system register or the floating-point registers.
//!
//! * A function for each instruction gives its [`Word`]. One that has an immediate operand refuses what
//!   the field cannot hold with [`Error::Immediate`]; nothing is ever cut off.
//! * [`X`] and [`W`] are distinct types, and neither has a number 31: whether that means the stack
//!   pointer or zero depends on the instruction, and here it can mean neither. Where zero is what makes an
//!   instruction useful ([`cmp`], [`mul`], [`cset`]) a function of that name supplies it.
//! * [`Assembler`] puts words in a buffer of the caller's and resolves labels in both directions.
//!
//! ```
//! use exopi_a64::{Assembler, Condition, Label, add_immediate, cmp_immediate, ret, X0};
//!
//! let mut buffer = [0; 4];
//! let mut code = Assembler::new(&mut buffer);
//! let mut small = Label::new();
//! code.put(cmp_immediate(X0, 9)?)?;
//! code.b_cond(Condition::Ls, &mut small)?;
//! code.put(add_immediate(X0, X0, 1)?)?;
//! code.bind(&mut small)?;
//! code.put(ret())?;
//! assert_eq!(code.finish()?, [0xf100_241f, 0x5400_0049, 0x9100_0400, 0xd65f_03c0]);
//! # Ok::<(), exopi_a64::Error>(())
//! ```
//!
//! Encodings are those of the Arm Architecture Reference Manual for A-profile (DDI 0487), part C4.1, "A64
//! instruction set encoding". Its tables are cited by title, which, unlike the numbers, stays from issue
//! to issue. All are in Armv8.0.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "emulator"))]
extern crate std;

mod assembler;
mod bitmask;
mod branches;
mod constant;
#[cfg(any(test, feature = "emulator"))]
pub mod emulator;
mod immediates;
mod memory;
mod registers;
mod shifted;

use core::fmt;

pub use assembler::{Assembler, Label};
pub use bitmask::Bitmask;
pub use branches::{b, b_cond, bl, blr, br, cbnz, cbz, ret, tbnz, tbz};
pub use constant::{Constant, constant};
pub use immediates::{
    add_immediate, adr, and_immediate, cmp_immediate, eor_immediate, lsl, lsr, movk, movn, movz,
    orr_immediate, sub_immediate, subs_immediate, tst_immediate, ubfx,
};
pub use memory::{Index, ldp, ldp_post, ldr, ldr_index, ldrb, ldrb_index, ldrh, ldrh_index};
pub use memory::{ldur, ldurb, ldurh, str};
pub use registers::{Condition, Register, W, X};
pub use registers::{
    W0, W1, W2, W3, W4, W5, W6, W7, W8, W9, W10, W11, W12, W13, W14, W15, W16, W17, W18, W19, W20,
    W21, W22, W23, W24, W25, W26, W27, W28, W29, W30, X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10,
    X11, X12, X13, X14, X15, X16, X17, X18, X19, X20, X21, X22, X23, X24, X25, X26, X27, X28, X29,
    X30,
};
pub use shifted::{
    Shift, add, add_shifted, and, and_shifted, ccmp, ccmp_immediate, cmp, cmp_shifted, csel, cset,
    eor, eor_shifted, lsl_register, lsr_register, madd, mov, mul, orr, orr_shifted, rev, rev16,
    rev32, sub, sub_shifted, subs, subs_shifted, tst, umulh,
};

/// One instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Word(u32);

impl Word {
    /// As it lies in memory (A64 instructions are little-endian whatever data are).
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Word({:#010x})", self.0)
    }
}

/// Why something was not encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The instruction has no encoding for this immediate, shift, width or offset.
    Immediate,
    /// A target is further away than the instruction reaches, or not on a word.
    Distance,
    /// The architecture leaves what this would do open.
    Unpredictable,
    /// The buffer is full.
    Full,
    /// The label has a place already.
    Bound,
    /// A branch leads to a label that never got a place.
    Unbound,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Immediate => "immediate not encodable",
            Self::Distance => "target out of reach",
            Self::Unpredictable => "constrained unpredictable",
            Self::Full => "buffer full",
            Self::Bound => "label bound twice",
            Self::Unbound => "label never bound",
        })
    }
}

impl core::error::Error for Error {}

/// `value` as an unsigned field of `bits` bits.
const fn unsigned(value: u32, bits: u32) -> Result<u32, Error> {
    if value >> bits == 0 {
        Ok(value)
    } else {
        Err(Error::Immediate)
    }
}

/// `value` as a two's complement field of `bits` bits (1 to 31), in place in the low bits.
const fn signed(value: i32, bits: u32) -> Result<u32, Error> {
    let unused = 32 - bits;
    if value << unused >> unused == value {
        Ok(value as u32 & (u32::MAX >> unused))
    } else {
        Err(Error::Immediate)
    }
}
