//! What a frame must have to be sent: the atoms of a send capability and of all above it, in one piece.
//!
//! Nearly all atoms look at fields of which it is known where they lie. These become words with masks over the first 128
//! octets, so that a check compares a few words, however many atoms they came from:
//!
//! ```text
//!   octets  0       8       16      24      32      ...  120
//!           | mask  | mask  | mask  | mask  |           |        used: a bit for each that is not 0
//!           | value | value | value | value |           |        least: where the last field ends
//! ```
//!
//! From the first advance by a field on, atoms are kept as they are, and looked at one by one.
//!
//! A narrower rule has the words of the one above it with more bits, and its atoms behind that one's: so whatever
//! satisfies it satisfies that one.

use exopi_abi::net::{Atom, CHECKED, Operation, Program};
use exopi_filter::oracle;

use crate::transmit::Head;

/// Why a rule cannot be narrowed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A field lies beyond what is checked, or more than [`MAX_TAIL`] atoms are behind an advance by a field.
    TooFar,
    /// Bits are to have two values.
    Contradiction,
}

/// Most atoms from the first advance by a field on.
pub const MAX_TAIL: usize = 8;
const WORDS: usize = CHECKED / 8;
const NO_ATOM: Atom = Atom::from_words([0; 3]);

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    masks: [u64; WORDS],
    values: [u64; WORDS],
    used: u16,
    /// Octets that a frame has at least.
    least: u16,
    /// How far constant advances have moved the base.
    base: u32,
    tail_count: u8,
    tail: [Atom; MAX_TAIL],
}

impl Rule {
    /// Whatever it is, it may be sent.
    pub const ANY: Rule = Rule {
        masks: [0; WORDS],
        values: [0; WORDS],
        used: 0,
        least: 0,
        base: 0,
        tail_count: 0,
        tail: [NO_ATOM; MAX_TAIL],
    };

    /// This rule and `program`.
    pub(crate) fn and(&self, program: Program<'_>) -> Result<Self, Refusal> {
        let mut rule = *self;
        for operation in program.operations() {
            match operation {
                _ if rule.tail_count > 0 => rule.push(operation)?,
                Operation::AdvanceBy { .. } => rule.push(operation)?,
                Operation::Advance { by } => rule.base = rule.base.saturating_add(by.into()),
                Operation::Equal {
                    offset,
                    width,
                    mask,
                    value,
                } => {
                    let start = rule.base.saturating_add(offset.into()) as usize;
                    let octets = width.octets() as usize;
                    let shift = 64 - width.bits();
                    let masks = (mask << shift).to_be_bytes();
                    let values = (value << shift).to_be_bytes();
                    let octets = masks.into_iter().zip(values).take(octets);
                    for (at, (mask, value)) in (start..).zip(octets) {
                        rule.learn(at, mask, value)?;
                    }
                }
            }
        }
        Ok(rule)
    }

    /// One octet of a field.
    fn learn(&mut self, at: usize, mask: u8, value: u8) -> Result<(), Refusal> {
        let word = at / 8;
        let (Some(masks), Some(values)) = (self.masks.get_mut(word), self.values.get_mut(word))
        else {
            return Err(Refusal::TooFar);
        };
        let shift = at % 8 * 8;
        let (mask, value) = (u64::from(mask) << shift, u64::from(value) << shift);
        if (*values ^ value) & *masks & mask != 0 {
            return Err(Refusal::Contradiction);
        }
        *masks |= mask;
        *values |= value;
        if *masks != 0 {
            self.used |= 1 << word;
        }
        self.least = self.least.max(at as u16 + 1);
        Ok(())
    }

    fn push(&mut self, operation: Operation) -> Result<(), Refusal> {
        let place = self.tail.get_mut(usize::from(self.tail_count));
        *place.ok_or(Refusal::TooFar)? = operation.encode();
        self.tail_count += 1;
        Ok(())
    }

    /// Whether a frame may be sent that begins with `head`. `length` octets of it are there, and the rule sees no others.
    pub(crate) fn allows(&self, head: &Head, length: usize) -> bool {
        if length < usize::from(self.least) {
            return false;
        }
        let (words, _) = head.0.as_chunks::<8>();
        let mut left = self.used;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let (Some(word), Some(mask), Some(value)) =
                (words.get(at), self.masks.get(at), self.values.get(at))
            else {
                return false;
            };
            if u64::from_le_bytes(*word) & mask != *value {
                return false;
            }
        }
        self.tail_count == 0 || self.tail_allows(head.0.get(..length).unwrap_or(&head.0))
    }

    /// The same of what is behind an advance by a field.
    #[inline(never)]
    fn tail_allows(&self, head: &[u8]) -> bool {
        let Some(frame) = head.get(self.base as usize..) else {
            return false;
        };
        let tail = self.tail.iter().take(self.tail_count.into());
        oracle::matches(tail.flat_map(Operation::decode), frame)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use exopi_abi::net::Width;
    use proptest::prelude::*;

    use super::*;

    fn operation() -> impl Strategy<Value = Operation> {
        let width = prop_oneof![
            Just(Width::Bits8),
            Just(Width::Bits16),
            Just(Width::Bits32),
            Just(Width::Bits64)
        ];
        let equal = (0..140u16, width, any::<[u8; 8]>(), any::<u64>()).prop_map(
            |(offset, width, mask, value)| {
                // Few values, so that frames satisfy them.
                let mask = mask.map(|octet| [0, 1, 0x81, 0xff][usize::from(octet % 4)]);
                let mask = (u64::from_be_bytes(mask) & width.ones()).max(1);
                let value = value & mask & 0x8101_0181_0181_8101;
                Operation::Equal {
                    offset,
                    width,
                    mask,
                    value,
                }
            },
        );
        let by = (0..120u16, 0..3i8).prop_map(|(offset, shift)| Operation::AdvanceBy {
            offset,
            width: Width::Bits8,
            mask: 0x81,
            shift: shift - 1,
        });
        prop_oneof![12 => equal, 2 => by, 1 => (1..30u16).prop_map(|by| Operation::Advance { by })]
    }

    /// A list in canonical order, as far as `operations` allow.
    fn canonical(operations: &[Operation]) -> Vec<Atom> {
        let mut list: Vec<Atom> = vec![];
        for operation in operations {
            list.push(operation.encode());
            if Program::new(&list).is_err() {
                list.pop();
            }
        }
        list
    }

    /// A frame that satisfies what can be satisfied.
    fn frame_for(chain: &[Operation], mut frame: Vec<u8>) -> Vec<u8> {
        let mut base = 0usize;
        for operation in chain {
            match *operation {
                Operation::Equal {
                    offset,
                    width,
                    mask,
                    value,
                } => {
                    let octets = width.octets() as usize;
                    for at in 0..octets {
                        let shift = 8 * (octets - 1 - at);
                        if let Some(octet) = frame.get_mut(base + usize::from(offset) + at) {
                            *octet = *octet & !(mask >> shift) as u8 | (value >> shift) as u8;
                        }
                    }
                }
                Operation::Advance { by } => base += usize::from(by),
                Operation::AdvanceBy {
                    offset,
                    mask,
                    shift,
                    ..
                } => {
                    let octet = frame.get(base + usize::from(offset)).copied();
                    let field = u64::from(octet.unwrap_or(0)) & mask;
                    base += exopi_abi::net::shifted(field, shift) as usize;
                }
            }
        }
        frame
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

        /// A rule is what its atoms say, one behind the other, of the first octets of a frame.
        #[test]
        fn a_rule_is_its_atoms(
            levels in proptest::collection::vec(proptest::collection::vec(operation(), 1..7), 1..4),
            octets in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x81), any::<u8>()], 0..200),
            cut in 0..4usize,
        ) {
            let mut rule = Rule::ANY;
            let mut chain: Vec<Operation> = vec![];
            let mut rules = vec![rule];
            for level in &levels {
                let atoms = canonical(level);
                let Ok(program) = Program::new(&atoms) else { continue };
                match rule.and(program) {
                    Ok(narrower) => rule = narrower,
                    Err(_) => continue,
                }
                chain.extend(program.operations());
                rules.push(rule);
            }
            let mut frames = vec![octets.clone(), frame_for(&chain, octets.clone()), frame_for(&chain, vec![0; 128])];
            let mut short = frame_for(&chain, vec![1; 200]);
            short.truncate(usize::from(rule.least) + cut - usize::from(cut > 0 && rule.least > 0));
            frames.push(short);
            for frame in frames {
                let length = frame.len().min(CHECKED);
                // Behind it is what an earlier frame has left.
                let mut head = Head([0xa5; CHECKED]);
                head.0[..length].copy_from_slice(&frame[..length]);
                let said = oracle::matches(chain.iter().copied(), &frame[..length]);
                prop_assert_eq!(rule.allows(&head, length), said, "{:?} {:02x?}", chain, frame);
                if said {
                    prop_assert!(rules.iter().all(|above| above.allows(&head, length)));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let equal = |offset, value| Operation::Equal {
            offset,
            width: Width::Bits8,
            mask: 0xff,
            value,
        };
        let and = |rule: &Rule, operations: &[Operation]| {
            let atoms: Vec<Atom> = operations
                .iter()
                .map(|operation| operation.encode())
                .collect();
            rule.and(Program::new(&atoms).unwrap())
        };
        let rule = and(&Rule::ANY, &[equal(127, 1)]).unwrap();
        assert_eq!(and(&rule, &[equal(127, 2)]), Err(Refusal::Contradiction));
        assert_eq!(and(&rule, &[equal(127, 1)]), Ok(rule));
        assert_eq!(and(&rule, &[equal(128, 1)]), Err(Refusal::TooFar));
        let far = and(&rule, &[Operation::Advance { by: 128 }]).unwrap();
        assert_eq!(and(&far, &[equal(0, 1)]), Err(Refusal::TooFar));
        let by = Operation::AdvanceBy {
            offset: 0,
            width: Width::Bits8,
            mask: 1,
            shift: 0,
        };
        let mut long = and(&rule, &[by]).unwrap();
        for _ in 1..MAX_TAIL {
            long = and(&long, &[equal(3, 0)]).unwrap();
        }
        assert_eq!(and(&long, &[equal(3, 0)]), Err(Refusal::TooFar));
    }
}
