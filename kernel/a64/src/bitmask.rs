//! Immediates of logical instructions.
//!
//! 13 bits stand for a value of 32 or 64: an element of 2, 4, ... or 64 bits that holds a rotated run of
//! ones, repeated over the width. Neither zero nor all ones can be said. DDI 0487, "Logical (immediate)"
//! and the function DecodeBitMasks of J1.1.

use crate::{Error, Register};

/// An encoded immediate of a logical instruction, for the width that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitmask {
    /// N, immr and imms, in place.
    field: u32,
}

impl Bitmask {
    /// Encodes `value` for registers of type `R`.
    ///
    /// # Errors
    /// [`Error::Immediate`] if it is no repeated, rotated run of ones, or does not fit the width.
    pub fn new<R: Register>(value: u64) -> Result<Self, Error> {
        let value = match R::BITS {
            64 => value,
            _ if value >> 32 == 0 => value | value << 32,
            _ => return Err(Error::Immediate),
        };
        if value == 0 || value == u64::MAX {
            return Err(Error::Immediate);
        }
        let size = element_size(value);
        let element = value & ones(size);
        let count = element.count_ones();
        // Where the run begins: after the zeros below it, or, if it goes on from the top at bit 0, where
        // its upper part begins.
        let wraps = element & 1 != 0 && element >> (size - 1) & 1 != 0;
        let start = if wraps {
            size - (element << (64 - size)).leading_ones()
        } else {
            element.trailing_zeros()
        };
        let rotation = (size - start) % size;
        if rotate_right(ones(count), rotation, size) != element {
            return Err(Error::Immediate);
        }
        let n = u32::from(size == 64);
        let imms = (!(size - 1) << 1 & 0x3f) | (count - 1);
        Ok(Self {
            field: n << 22 | rotation << 16 | imms << 10,
        })
    }

    pub(crate) const fn field(self) -> u32 {
        self.field
    }
}

/// Bits of the smallest element that `value` repeats.
const fn element_size(value: u64) -> u32 {
    let mut size = 64;
    while size > 2 && value.rotate_right(size / 2) == value {
        size /= 2;
    }
    size
}

/// The low `count` bits, 1 to 64.
const fn ones(count: u32) -> u64 {
    u64::MAX >> (64 - count)
}

/// An element of `size` bits rotated right by less than `size`.
const fn rotate_right(element: u64, by: u32, size: u32) -> u64 {
    if by == 0 {
        element
    } else {
        (element >> by | element << (size - by)) & ones(size)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{W, X};

    /// Every value that has an encoding, by going through the encodings as the manual decodes them.
    fn decoded(width: u32) -> BTreeMap<u64, u32> {
        let mut values = BTreeMap::new();
        // Miri takes minutes for all.
        for field in (0..1u32 << 13).step_by(if cfg!(miri) { 101 } else { 1 }) {
            let (n, immr, imms) = (field >> 12, field >> 6 & 0x3f, field & 0x3f);
            let combined = n << 6 | (!imms & 0x3f);
            // HighestSetBit(N:NOT(imms)) gives the element's size; below 1 it is reserved.
            let Some(length) = combined.checked_ilog2().filter(|&length| length >= 1) else {
                continue;
            };
            let size = 1 << length;
            let levels = size - 1;
            let (s, r) = (imms & levels, immr & levels);
            if size > width || s == levels || immr > levels {
                continue;
            }
            let element: Vec<bool> = (0..size).map(|bit| (bit + r) % size <= s).collect();
            let value = (0..width).fold(0u64, |value, bit| {
                value | u64::from(element[(bit % size) as usize]) << bit
            });
            assert_eq!(values.insert(value, field << 10), None);
        }
        values
    }

    use std::vec::Vec;

    #[test]
    fn every_value_that_has_an_encoding_gets_it() {
        let (wide, narrow) = (decoded(64), decoded(32));
        assert!((wide.len(), narrow.len()) == (5334, 1302) || cfg!(miri));
        for (value, field) in wide {
            assert_eq!(
                Bitmask::new::<X>(value),
                Ok(Bitmask { field }),
                "{value:#x}"
            );
        }
        for (value, field) in narrow {
            assert_eq!(
                Bitmask::new::<W>(value),
                Ok(Bitmask { field }),
                "{value:#x}"
            );
        }
    }

    #[test]
    fn no_other_value_gets_one() {
        if cfg!(miri) {
            // Needs all that have one.
            return;
        }
        let (wide, narrow) = (decoded(64), decoded(32));
        // Each encodable value with one bit changed, which is where a lax encoder goes wrong.
        for value in wide.keys() {
            for bit in 0..64 {
                let near = value ^ 1 << bit;
                assert_eq!(Bitmask::new::<X>(near).is_ok(), wide.contains_key(&near));
                let near = near & 0xffff_ffff;
                assert_eq!(Bitmask::new::<W>(near).is_ok(), narrow.contains_key(&near));
            }
        }
        assert_eq!(Bitmask::new::<W>(0x1_0000_0001), Err(Error::Immediate));
        assert_eq!(Bitmask::new::<W>(0xffff_ffff), Err(Error::Immediate));
    }
}
