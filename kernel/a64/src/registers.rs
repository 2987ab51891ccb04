//! General-purpose registers and conditions as types.

use core::fmt;

/// A general-purpose register in one of its two widths.
pub trait Register: Copy + sealed::Sealed {
    /// Width in bits: 32 or 64.
    const BITS: u32;
    /// The bit `sf` (31) of most encodings: set for 64 bits.
    const SF: u32;

    /// Number, 0 to 30.
    fn number(self) -> u32;
}

mod sealed {
    pub trait Sealed {}
}

/// A register, all 64 bits of it: x0 to x30.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct X(u8);

/// The low 32 bits of a register, w0 to w30. Writing them clears the high ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct W(u8);

impl X {
    /// Register `number`, if there is one: 0 to 30.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 31 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its low half.
    pub const fn w(self) -> W {
        W(self.0)
    }
}

impl W {
    /// Register `number`, if there is one: 0 to 30.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 31 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The whole register.
    pub const fn x(self) -> X {
        X(self.0)
    }
}

impl sealed::Sealed for X {}
impl sealed::Sealed for W {}

impl Register for X {
    const BITS: u32 = 64;
    const SF: u32 = 1 << 31;

    fn number(self) -> u32 {
        self.0.into()
    }
}

impl Register for W {
    const BITS: u32 = 32;
    const SF: u32 = 0;

    fn number(self) -> u32 {
        self.0.into()
    }
}

impl fmt::Debug for X {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}", self.0)
    }
}

impl fmt::Debug for W {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

macro_rules! registers {
    ($($x:ident $w:ident $number:literal)*) => {
        $(
            #[doc = concat!("Register ", $number, ", 64 bits.")]
            pub const $x: X = X($number);
            #[doc = concat!("Register ", $number, ", 32 bits.")]
            pub const $w: W = W($number);
        )*
    };
}

registers! {
    X0 W0 0 X1 W1 1 X2 W2 2 X3 W3 3 X4 W4 4 X5 W5 5 X6 W6 6 X7 W7 7 X8 W8 8 X9 W9 9 X10 W10 10
    X11 W11 11 X12 W12 12 X13 W13 13 X14 W14 14 X15 W15 15 X16 W16 16 X17 W17 17 X18 W18 18
    X19 W19 19 X20 W20 20 X21 W21 21 X22 W22 22 X23 W23 23 X24 W24 24 X25 W25 25 X26 W26 26
    X27 W27 27 X28 W28 28 X29 W29 29 X30 W30 30
}

/// What a conditional instruction asks of the flags ("Condition code", C1.2.4). The always-true
/// codes are left out: an unconditional instruction says that better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Condition {
    /// Equal.
    Eq = 0,
    /// Not equal.
    Ne = 1,
    /// Unsigned higher or same; carry set.
    Hs = 2,
    /// Unsigned lower; carry clear.
    Lo = 3,
    /// Negative.
    Mi = 4,
    /// Not negative.
    Pl = 5,
    /// Overflow.
    Vs = 6,
    /// No overflow.
    Vc = 7,
    /// Unsigned higher.
    Hi = 8,
    /// Unsigned lower or same.
    Ls = 9,
    /// Signed greater or equal.
    Ge = 10,
    /// Signed less.
    Lt = 11,
    /// Signed greater.
    Gt = 12,
    /// Signed less or equal.
    Le = 13,
}

impl Condition {
    /// Every condition, by code.
    pub const ALL: [Condition; 14] = [
        Self::Eq,
        Self::Ne,
        Self::Hs,
        Self::Lo,
        Self::Mi,
        Self::Pl,
        Self::Vs,
        Self::Vc,
        Self::Hi,
        Self::Ls,
        Self::Ge,
        Self::Lt,
        Self::Gt,
        Self::Le,
    ];

    /// Code in an instruction.
    pub(crate) const fn code(self) -> u32 {
        self as u32
    }

    /// Code of the opposite.
    pub(crate) const fn opposite_code(self) -> u32 {
        self as u32 ^ 1
    }
}
