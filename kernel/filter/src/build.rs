//! Filters from what people know: endpoints, and expressions as `tcpdump` takes them.
//!
//! Everything goes through [`Facts`]: which bits of which octets of a frame must be what. They are
//! gathered in any order and written down as atoms in one way, with fields as wide as makes code short;
//! facts about the same bits have the same key, whatever the values.
//!
//! Of link layers there is Ethernet (IEEE 802.3, without tags), of networks ARP (RFC 826) and IPv4
//! (RFC 791), with the ports of TCP and UDP (RFC 9293, RFC 768).

use crate::{Atom, Error, MAX_ATOMS, Operation, Program, Width};

mod endpoint;
mod expression;

pub use endpoint::{Endpoint, Header, arp, ether_type};
pub use expression::{Expression, Refusal};

/// Octets of a frame, from its begin, about which facts can be known: Ethernet, IPv4 and TCP headers
/// without options are 54.
pub const HEAD: usize = 64;
/// Octets from the end of an IPv4 header of whatever length about which facts can be known.
pub const TAIL: usize = 16;

/// Where an IPv4 header begins: behind the Ethernet header.
const IP: usize = 14;

/// Bits that octets must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Octets<const N: usize> {
    masks: [u8; N],
    values: [u8; N],
}

impl<const N: usize> Octets<N> {
    const NONE: Self = Self {
        masks: [0; N],
        values: [0; N],
    };

    /// Adds that from `offset` on, masked, the octets are `values`.
    fn learn(&mut self, offset: usize, masks: &[u8], values: &[u8]) -> Result<(), Error> {
        let end = offset.saturating_add(masks.len());
        let range = offset..end;
        let known = self
            .masks
            .get_mut(range.clone())
            .zip(self.values.get_mut(range));
        let (known_masks, known_values) = known.ok_or(Error::BadCount)?;
        let both = || masks.iter().zip(values);
        let known = known_masks.iter_mut().zip(known_values);
        for ((known_mask, known_value), (&mask, &value)) in known.zip(both()) {
            if (*known_value ^ value) & *known_mask & mask != 0 {
                return Err(Error::Contradiction);
            }
            *known_mask |= mask;
            *known_value |= value & mask;
        }
        Ok(())
    }

    /// What is known here and not there.
    ///
    /// # Errors
    /// [`Error::Contradiction`] unless all that is known there is known here.
    fn beyond(&self, other: &Self) -> Result<Self, Error> {
        let mut rest = *self;
        for at in 0..N {
            let known = other.masks[at];
            if known & !self.masks[at] != 0 || (self.values[at] ^ other.values[at]) & known != 0 {
                return Err(Error::Contradiction);
            }
            rest.masks[at] &= !known;
            rest.values[at] &= !known;
        }
        Ok(rest)
    }

    fn is_empty(&self) -> bool {
        self.masks == [0; N]
    }

    /// Appends fields, as few as leave at most one octet in each unused, and none at the end: a longer
    /// field there would refuse frames that end with the last octet that counts.
    fn fields(&self, base: usize, list: &mut List) -> Result<(), Error> {
        let mut at = 0;
        while at < N {
            if self.masks[at] == 0 {
                at += 1;
                continue;
            }
            let used = |from: usize, count: usize| {
                let masks = self.masks.get(from..from + count)?;
                Some(masks.iter().filter(|&&mask| mask != 0).count())
            };
            let mut width = Width::Bits8;
            for wider in [Width::Bits16, Width::Bits32, Width::Bits64] {
                let (half, octets) = (width.octets() as usize, wider.octets() as usize);
                let more = used(at + half, half).is_some_and(|used| used > 0);
                if !more || used(at, octets).is_none_or(|used| used + 1 < octets) {
                    break;
                }
                let ends = used(at + octets - 1, 1) == Some(1) || self.goes_on(at + octets);
                if !ends {
                    break;
                }
                width = wider;
            }
            let octets = width.octets() as usize;
            let number = |of: &[u8; N]| {
                of.iter()
                    .skip(at)
                    .take(octets)
                    .fold(0, |number, &octet| number << 8 | u64::from(octet))
            };
            list.push(Operation::Equal {
                offset: (base + at) as u16,
                width,
                mask: number(&self.masks),
                value: number(&self.values),
            })?;
            at += octets;
        }
        Ok(())
    }

    /// Whether anything is known from `at` on.
    fn goes_on(&self, at: usize) -> bool {
        self.masks.iter().skip(at).any(|&mask| mask != 0)
    }
}

/// What must be so in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    head: Octets<HEAD>,
    tail: Octets<TAIL>,
}

impl Facts {
    /// Nothing: any frame will do.
    pub const ANY: Facts = Facts {
        head: Octets::NONE,
        tail: Octets::NONE,
    };

    /// Adds that the octets from `offset` on, counted from the frame's begin, are `values`.
    ///
    /// # Errors
    /// [`Error::Contradiction`]; [`Error::BadCount`] beyond [`HEAD`]. So for all that follow.
    pub fn octets(mut self, offset: usize, values: &[u8]) -> Result<Self, Error> {
        for (at, value) in values.iter().enumerate() {
            self.head.learn(offset + at, &[0xff], &[*value])?;
        }
        Ok(self)
    }

    /// The same for the bits of one octet that are in `mask`.
    ///
    /// # Errors
    /// As [`Self::octets`].
    pub fn bits(mut self, offset: usize, mask: u8, value: u8) -> Result<Self, Error> {
        self.head.learn(offset, &[mask], &[value])?;
        Ok(self)
    }

    /// The same for octets from the end of the IPv4 header on, wherever it ends: up to [`TAIL`].
    ///
    /// # Errors
    /// As [`Self::octets`].
    pub fn behind_ip(mut self, offset: usize, values: &[u8]) -> Result<Self, Error> {
        for (at, value) in values.iter().enumerate() {
            self.tail.learn(offset + at, &[0xff], &[*value])?;
        }
        Ok(self)
    }

    /// All as atoms: a filter right below the root.
    ///
    /// # Errors
    /// [`Error::BadCount`] if nothing is known or it takes more than [`MAX_ATOMS`] atoms.
    pub fn atoms(&self) -> Result<List, Error> {
        self.atoms_beyond(&Self::ANY)
    }

    /// What is known here and not of a filter made from `parent`: a child of it.
    ///
    /// # Errors
    /// As [`Self::atoms`]. [`Error::Contradiction`] if the parent knows something else or more, or knows
    /// something behind the IPv4 header and this something new before it: the parent's atoms have left
    /// the base behind.
    pub fn atoms_beyond(&self, parent: &Self) -> Result<List, Error> {
        let (head, tail) = (
            self.head.beyond(&parent.head)?,
            self.tail.beyond(&parent.tail)?,
        );
        let mut list = List::EMPTY;
        let moved = !parent.tail.is_empty();
        if moved && !head.is_empty() {
            return Err(Error::Contradiction);
        }
        head.fields(0, &mut list)?;
        if !tail.is_empty() {
            if !moved {
                // The low half of the header's first octet is its length in words of 4 octets.
                list.push(Operation::AdvanceBy {
                    offset: IP as u16,
                    width: Width::Bits8,
                    mask: 0x0f,
                    shift: 2,
                })?;
            }
            tail.fields(IP, &mut list)?;
        }
        if list.count == 0 {
            return Err(Error::BadCount);
        }
        Ok(list)
    }
}

/// Atoms that were built.
#[derive(Clone, Copy, Debug)]
pub struct List {
    atoms: [Atom; MAX_ATOMS],
    count: usize,
}

impl List {
    const EMPTY: List = List {
        atoms: [Atom {
            kind: 0,
            width: 0,
            shift: 0,
            reserved: 0,
            offset: 0,
            reserved2: 0,
            mask: 0,
            value: 0,
        }; MAX_ATOMS],
        count: 0,
    };

    fn push(&mut self, operation: Operation) -> Result<(), Error> {
        *self.atoms.get_mut(self.count).ok_or(Error::BadCount)? = operation.encode();
        self.count += 1;
        Ok(())
    }

    /// The atoms.
    pub fn atoms(&self) -> &[Atom] {
        self.atoms.get(..self.count).unwrap_or_default()
    }

    /// Checked, as [`Trie::insert`](crate::Trie::insert) takes them.
    ///
    /// # Errors
    /// None: what was built is canonical. The check is made all the same.
    pub fn program(&self) -> Result<Program<'_>, Error> {
        Ok(Program::new(self.atoms())?)
    }

    /// The key of which this has values: the same with zeros.
    pub fn key(mut self) -> Self {
        for atom in &mut self.atoms {
            atom.value = 0;
        }
        self
    }
}
