//! The language: atoms as they travel, what they mean, and lists of them that have been checked.
//!
//! Octets of a frame are numbered from the *base*, which is 0 where the frame begins and moves forward as
//! atoms say. A field is a big-endian number, as fields of network headers are (RFC 791, appendix B).

use core::fmt;

/// Most atoms in one list.
pub const MAX_ATOMS: usize = 64;

/// Why atoms were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomError {
    /// An atom has an unknown form, or something set that its kind does not have.
    Malformed,
    /// The same list would be written in another way.
    NotCanonical,
    /// No atoms, or more than [`MAX_ATOMS`].
    BadCount,
}

impl fmt::Display for AtomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl core::error::Error for AtomError {}

impl AtomError {
    /// What a call tells of it.
    pub const fn told(self) -> crate::Error {
        match self {
            Self::BadCount => crate::Error::BadCount,
            Self::Malformed | Self::NotCanonical => crate::Error::Malformed,
        }
    }
}

/// Size of a field, as the logarithm of its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    Bits8 = 0,
    /// 16 bits.
    Bits16 = 1,
    /// 32 bits.
    Bits32 = 2,
    /// 64 bits.
    Bits64 = 3,
}

impl Width {
    /// The width with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Bits8,
            1 => Self::Bits16,
            2 => Self::Bits32,
            3 => Self::Bits64,
            _ => return None,
        })
    }

    /// Octets.
    pub const fn octets(self) -> u32 {
        1 << self as u32
    }

    /// Bits.
    pub const fn bits(self) -> u32 {
        8 << self as u32
    }

    /// A field of ones.
    pub const fn ones(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The number of a field with its octets in reverse order.
    pub const fn swap(self, value: u64) -> u64 {
        value.swap_bytes() >> (64 - self.bits())
    }
}

/// One step of a filter, as it crosses the line. [`Operation`] is what it says.
///
/// | kind | `width` | `shift` | `offset` | `mask` | `value` |
/// | --- | --- | --- | --- | --- | --- |
/// | 1, field equals value | logarithm of octets | 0 | from the base | not 0 | within the mask |
/// | 2, advance | 0 | 0 | how far, not 0 | 0 | 0 |
/// | 3, advance by field | 0 or 1 | left; right if negative | from the base | not 0 | 0 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Atom {
    /// What it does.
    pub kind: u8,
    /// Size of the field: logarithm of its octets.
    pub width: u8,
    /// Bits by which the field is shifted left.
    pub shift: i8,
    /// Zero.
    pub reserved: u8,
    /// Octets from the base to the field, or by which the base advances.
    pub offset: u16,
    /// Zero.
    pub reserved2: u16,
    /// Bits of the field that count.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
}

const _: () = assert!(size_of::<Atom>() == Atom::OCTETS);

impl Atom {
    /// Octets of an atom in memory.
    pub const OCTETS: usize = 24;

    /// The atom in three words of memory.
    pub const fn from_words([head, mask, value]: [u64; 3]) -> Self {
        let [kind, width, shift, reserved, o0, o1, r0, r1] = head.to_le_bytes();
        Self {
            kind,
            width,
            shift: shift as i8,
            reserved,
            offset: u16::from_le_bytes([o0, o1]),
            reserved2: u16::from_le_bytes([r0, r1]),
            mask,
            value,
        }
    }

    /// As three words of memory.
    pub const fn into_words(self) -> [u64; 3] {
        let [o0, o1] = self.offset.to_le_bytes();
        let [r0, r1] = self.reserved2.to_le_bytes();
        let (kind, width, shift) = (self.kind, self.width, self.shift as u8);
        let head = [kind, width, shift, self.reserved, o0, o1, r0, r1];
        [u64::from_le_bytes(head), self.mask, self.value]
    }
}

/// What an [`Atom`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `field & mask == value`, or the filter does not take the frame. Nor does it if the field is not
    /// wholly in the frame.
    Equal {
        /// Octets from the base to the field.
        offset: u16,
        /// Size of the field.
        width: Width,
        /// Bits that count; not 0.
        mask: u64,
        /// What they must be; within the mask.
        value: u64,
    },
    /// Moves the base, whether or not the frame goes so far.
    Advance {
        /// Octets, not 0.
        by: u16,
    },
    /// Moves the base by `(field & mask) << shift` octets. A filter does not take a frame in which the
    /// field is not wholly there.
    AdvanceBy {
        /// Octets from the base to the field.
        offset: u16,
        /// Size of the field: 8 or 16 bits.
        width: Width,
        /// Bits that count; not 0, and as shifted within 16 bits.
        mask: u64,
        /// Bits by which what is masked is shifted left, or right if it is negative: -15 to 15.
        shift: i8,
    },
}

/// A number shifted left, or right by a negative shift: how far [`Operation::AdvanceBy`] goes, of a field as
/// masked. The shift is -15 to 15.
pub const fn shifted(value: u64, shift: i8) -> u64 {
    if shift < 0 {
        value >> shift.unsigned_abs()
    } else {
        value << shift
    }
}

const EQUAL: u8 = 1;
const ADVANCE: u8 = 2;
const ADVANCE_BY: u8 = 3;

impl Operation {
    /// What `atom` says.
    ///
    /// # Errors
    /// [`AtomError::Malformed`] for all that the table of [`Atom`] does not have.
    pub fn decode(atom: &Atom) -> Result<Self, AtomError> {
        let Atom {
            kind,
            width,
            shift,
            offset,
            mask,
            value,
            ..
        } = *atom;
        let width = Width::from_code(width).ok_or(AtomError::Malformed)?;
        let operation = match kind {
            EQUAL => Self::Equal {
                offset,
                width,
                mask,
                value,
            },
            ADVANCE => Self::Advance { by: offset },
            ADVANCE_BY => Self::AdvanceBy {
                offset,
                width,
                mask,
                shift,
            },
            _ => return Err(AtomError::Malformed),
        };
        let good = match operation {
            Self::Equal { .. } => mask != 0 && mask & !width.ones() == 0 && value & !mask == 0,
            Self::Advance { by } => by != 0,
            Self::AdvanceBy { .. } => {
                width <= Width::Bits16
                    && mask != 0
                    && mask & !width.ones() == 0
                    && (-15..=15).contains(&shift)
                    && shifted(mask, shift) <= u16::MAX.into()
            }
        };
        // What encoding does not give back was not the form of this kind.
        if good && operation.encode() == *atom {
            Ok(operation)
        } else {
            Err(AtomError::Malformed)
        }
    }

    /// As an atom. Decoding gives it back, if it is within the ranges of its fields.
    pub const fn encode(self) -> Atom {
        let (kind, width, shift, offset, mask, value) = match self {
            Self::Equal {
                offset,
                width,
                mask,
                value,
            } => (EQUAL, width, 0, offset, mask, value),
            Self::Advance { by } => (ADVANCE, Width::Bits8, 0, by, 0, 0),
            Self::AdvanceBy {
                offset,
                width,
                mask,
                shift,
            } => (ADVANCE_BY, width, shift, offset, mask, 0),
        };
        Atom {
            kind,
            width: width as u8,
            shift,
            reserved: 0,
            offset,
            reserved2: 0,
            mask,
            value,
        }
    }

    /// The same without a value: what it asks, and not what the answer must be.
    pub const fn asked(self) -> Self {
        match self {
            Self::Equal {
                offset,
                width,
                mask,
                ..
            } => Self::Equal {
                offset,
                width,
                mask,
                value: 0,
            },
            other => other,
        }
    }
}

/// A list of atoms that has been checked: well-formed, and written in the one way that there is.
///
/// Of the ways to write a filter one is canonical: between two advances by a field, fields follow each
/// other by offset and share no octet; an advance by a constant is added to the offsets behind it, and
/// so remains only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    atoms: &'a [Atom],
}

impl<'a> Program<'a> {
    /// Checks `atoms`.
    ///
    /// # Errors
    /// [`AtomError::BadCount`], [`AtomError::Malformed`], [`AtomError::NotCanonical`].
    pub fn new(atoms: &'a [Atom]) -> Result<Self, AtomError> {
        if atoms.is_empty() || atoms.len() > MAX_ATOMS {
            return Err(AtomError::BadCount);
        }
        let mut free = 0;
        let mut ended = false;
        for atom in atoms {
            let operation = Operation::decode(atom)?;
            if ended {
                return Err(AtomError::NotCanonical);
            }
            match operation {
                Operation::Equal { offset, width, .. } => {
                    if u32::from(offset) < free {
                        return Err(AtomError::NotCanonical);
                    }
                    free = u32::from(offset) + width.octets();
                }
                Operation::Advance { .. } => ended = true,
                Operation::AdvanceBy { .. } => free = 0,
            }
        }
        Ok(Self { atoms })
    }

    /// The atoms, one at least.
    pub const fn atoms(self) -> &'a [Atom] {
        self.atoms
    }

    /// What they say.
    pub fn operations(self) -> impl Iterator<Item = Operation> + 'a {
        self.atoms.iter().flat_map(Operation::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(offset: u16, width: Width) -> Atom {
        let (mask, value) = (width.ones(), 1);
        Operation::Equal {
            offset,
            width,
            mask,
            value,
        }
        .encode()
    }

    fn advance_by(mask: u64, shift: i8) -> Atom {
        Operation::AdvanceBy {
            offset: 14,
            width: Width::Bits8,
            mask,
            shift,
        }
        .encode()
    }

    fn check(atoms: &[Atom]) -> Result<(), AtomError> {
        Program::new(atoms).map(|_| ())
    }

    #[test]
    fn only_canonical_lists_are_programs() {
        let by = |by| Operation::Advance { by }.encode();
        let (eight, sixteen) = (equal(23, Width::Bits8), equal(12, Width::Bits16));
        assert_eq!(check(&[sixteen, eight]), Ok(()));
        assert_eq!(
            check(&[sixteen, advance_by(15, 2), sixteen, by(14)]),
            Ok(())
        );
        assert_eq!(check(&[eight, sixteen]), Err(AtomError::NotCanonical));
        assert_eq!(check(&[eight, eight]), Err(AtomError::NotCanonical));
        let within = equal(13, Width::Bits8);
        assert_eq!(check(&[sixteen, within]), Err(AtomError::NotCanonical));
        assert_eq!(check(&[by(14), sixteen]), Err(AtomError::NotCanonical));
        assert_eq!(check(&[by(14), by(1)]), Err(AtomError::NotCanonical));
        assert_eq!(check(&[]), Err(AtomError::BadCount));
        let long: [Atom; 65] = core::array::from_fn(|at| equal(at as u16, Width::Bits8));
        assert_eq!(check(&long), Err(AtomError::BadCount));
        assert_eq!(check(&long[..64]), Ok(()));
    }

    #[test]
    fn an_atom_is_its_words() {
        let words = [0xffee_ddcc_bbf1_0301, 2, 3];
        let atom = Atom::from_words(words);
        assert_eq!((atom.kind, atom.width, atom.shift), (1, 3, -15));
        assert_eq!((atom.reserved, atom.offset), (0xbb, 0xddcc));
        assert_eq!(atom.into_words(), words);
    }

    #[test]
    fn what_a_kind_does_not_have_is_refused() {
        let field = equal(12, Width::Bits16);
        let by = Operation::Advance { by: 14 }.encode();
        let good = [field, by, advance_by(15, 2), advance_by(0xf0, -2)];
        for atom in good {
            assert_eq!(Operation::decode(&atom).unwrap().encode(), atom);
        }
        let bad = [
            Atom { kind: 0, ..field },
            Atom { kind: 4, ..field },
            Atom { width: 4, ..field },
            Atom { shift: 1, ..field },
            Atom {
                reserved: 1,
                ..field
            },
            Atom {
                reserved2: 1,
                ..field
            },
            Atom {
                mask: 0,
                value: 0,
                ..field
            },
            Atom {
                mask: 0x1_ffff,
                ..field
            },
            Atom { mask: 2, ..field },
            Atom { offset: 0, ..by },
            Atom { width: 1, ..by },
            Atom { mask: 1, ..by },
            Atom { value: 1, ..by },
            Atom {
                value: 1,
                ..advance_by(15, 2)
            },
            Atom {
                width: 2,
                ..advance_by(15, 2)
            },
            advance_by(0, 2),
            advance_by(0x100, 2),
            advance_by(0xff, 9),
            advance_by(1, 16),
            advance_by(1, -16),
            advance_by(1, i8::MIN),
            advance_by(1, i8::MAX),
        ];
        for atom in bad {
            assert_eq!(
                Operation::decode(&atom),
                Err(AtomError::Malformed),
                "{atom:?}"
            );
        }
    }
}
