//! What a list of atoms means, for one frame and one list, in the plainest way.
//!
//! The other forms are tested against this one.

use exopi_abi::net::{Operation, Width, shifted};

/// Whether all of `chain`, from a frame's begin, is so in `frame`.
pub fn matches(chain: impl IntoIterator<Item = Operation>, frame: &[u8]) -> bool {
    let mut base = 0u64;
    for operation in chain {
        match operation {
            Operation::Equal {
                offset,
                width,
                mask,
                value,
            } => {
                let field = field(frame, base.saturating_add(offset.into()), width);
                if field.is_none_or(|field| field & mask != value) {
                    return false;
                }
            }
            Operation::Advance { by } => base = base.saturating_add(by.into()),
            Operation::AdvanceBy {
                offset,
                width,
                mask,
                shift,
            } => {
                let Some(field) = field(frame, base.saturating_add(offset.into()), width) else {
                    return false;
                };
                base = base.saturating_add(shifted(field & mask, shift));
            }
        }
    }
    true
}

/// The field at octet `start`, if it is wholly in the frame.
fn field(frame: &[u8], start: u64, width: Width) -> Option<u64> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(width.octets() as usize)?;
    let octets = frame.get(start..end)?;
    Some(
        octets
            .iter()
            .fold(0, |number, &octet| number << 8 | u64::from(octet)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_must_be_wholly_in_the_frame() {
        for width in [Width::Bits8, Width::Bits16, Width::Bits32, Width::Bits64] {
            let equal = Operation::Equal {
                offset: 3,
                width,
                mask: 1,
                value: 1,
            };
            let end = 3 + width.octets() as usize;
            let mut frame = [0xff; 12];
            for length in 0..=12 {
                assert_eq!(matches([equal], &frame[..length]), length >= end);
            }
            frame[end - 1] = 0xfe;
            assert!(!matches([equal], &frame));
        }
    }

    #[test]
    fn the_base_moves() {
        let frame = [1, 0x42, 3, 4, 5, 6, 7, 8, 9, 10];
        let at = |offset, value| Operation::Equal {
            offset,
            width: Width::Bits8,
            mask: 0xff,
            value,
        };
        let by = |mask, shift| Operation::AdvanceBy {
            offset: 1,
            width: Width::Bits8,
            mask,
            shift,
        };
        assert!(matches(
            [at(0, 1), Operation::Advance { by: 2 }, at(0, 3)],
            &frame
        ));
        assert!(matches([by(0x0f, 1), at(0, 5), at(1, 6)], &frame));
        assert!(matches([by(0xf0, -4), by(0x0f, 0), at(0, 10)], &frame[..]) == (frame[4 + 5] == 9));
        // Beyond the frame nothing matches, and moving there is no harm.
        assert!(matches([Operation::Advance { by: 9999 }], &frame));
        assert!(!matches(
            [Operation::Advance { by: 9999 }, at(0, 0)],
            &frame
        ));
        assert!(!matches([Operation::Advance { by: 9 }, by(1, 0)], &frame));
        assert!(matches([], &[]));
    }
}
