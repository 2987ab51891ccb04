//! A checked predicate, made from whatever terms came.
//!
//! What always holds of one:
//!
//! * at most [`MAX_TERMS`] tests over at most [`MAX_PAGES`] pages, each page in the list once;
//! * the first test begins a product, if there is any test;
//! * a word of a page lies in it wholly, and is aligned;
//! * no value is larger than its word can be, and time is compared by order.

use super::{Comparison, Exposed, MAX_PAGES, MAX_TERMS, Tag, Term, Width, source};
use crate::layout::PAGE_SIZE;
use crate::registers::{Argument, Arguments};
use crate::{Error, PageNumber, UserCapability};

/// A page that a predicate reads, and by what right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The page.
    pub page: PageNumber,
    /// The capability for it, or none: it belongs to the account that the caller draws on.
    pub capability: Option<UserCapability<'a>>,
}

/// The word that a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// In memory.
    Memory {
        /// The page.
        page: PageNumber,
        /// Bytes from the page's begin: a multiple of the width.
        offset: u16,
        /// How wide it is.
        width: Width,
    },
    /// Kept by the kernel.
    Exposed(Exposed),
}

/// A comparison that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// What is compared.
    pub operand: Operand,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
    /// The tag of the product that begins with this test; none if it goes on with the one before.
    pub first: Option<Tag>,
}

impl Test {
    /// Whether it holds for a word.
    #[inline(always)]
    pub const fn holds(&self, word: u64) -> bool {
        self.comparison.holds(word, self.value)
    }
}

/// What [`Packed::place`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Place {
    /// Index in the list of pages << 12 | offset of a word of 32 bits.
    Four,
    /// The same of one of 64 bits.
    Eight,
    /// Nothing.
    Time,
    /// Index of an environment.
    State,
    /// The same.
    Epoch,
}

/// A [`Test`] in 16 bytes: the kernel keeps them by the thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed {
    value: u64,
    /// Zero: it goes on with the product before.
    tag: u32,
    place: u16,
    kind: Place,
    comparison: Comparison,
}

const _: () = {
    assert!(size_of::<Packed>() == 16);
    assert!(PAGE_SIZE == 1 << OFFSET_BITS && MAX_PAGES <= 1 << (16 - OFFSET_BITS));
};

/// Bits of an offset in a page.
const OFFSET_BITS: u32 = 12;

/// Where nothing was put yet.
const EMPTY: Packed = Packed {
    value: 0,
    tag: 0,
    place: 0,
    kind: Place::Time,
    comparison: Comparison::AtLeast,
};

/// A predicate that has been checked: of the form that this module's text says.
///
/// Nothing is said of the pages themselves: whether there are such, and whether the capabilities are genuine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    tests: [Packed; MAX_TERMS],
    pages: [PageNumber; MAX_PAGES],
    /// Addresses of capabilities; zero: by ownership.
    capabilities: [u64; MAX_PAGES],
    test_count: u8,
    page_count: u8,
}

impl Terms {
    /// Without a test. It is never true.
    pub const EMPTY: Terms = Terms {
        tests: [EMPTY; MAX_TERMS],
        pages: [PageNumber::new(0); MAX_PAGES],
        capabilities: [0; MAX_PAGES],
        test_count: 0,
        page_count: 0,
    };

    /// The predicate that these terms are.
    ///
    /// # Errors
    /// Those of [`Terms::push`], for the first term that has one.
    pub fn decode(terms: &[Term]) -> Result<Self, Error> {
        let mut checked = Self::EMPTY;
        for term in terms {
            checked.push(term)?;
        }
        Ok(checked)
    }

    /// Adds a term, which may be anything. A refused one changes nothing.
    ///
    /// # Errors
    /// * [`Error::BadCount`]: more than [`MAX_TERMS`] terms or [`MAX_PAGES`] pages.
    /// * [`Error::Malformed`]: an unknown code, something set that this source does not have, the first term
    ///   does not begin a product, a tag where there must be none or none where there must be one, a
    ///   value that the word cannot have, time compared for equality, or a page that an earlier
    ///   term names by another right.
    /// * [`Error::BadAddress`]: a word that is not aligned or not in the page, or a capability
    ///   that cannot be where it is said to be.
    /// * [`Error::OutOfRange`]: an index beyond all environments.
    pub fn push(&mut self, term: &Term) -> Result<(), Error> {
        let at = usize::from(self.test_count);
        if at >= MAX_TERMS {
            return Err(Error::BadCount);
        }
        let comparison = Comparison::from_code(term.comparison).ok_or(Error::Malformed)?;
        let width = Width::from_code(term.width).ok_or(Error::Malformed)?;
        let first = match term.flags {
            0 if at > 0 && term.tag == 0 => None,
            Term::FIRST_OF_PRODUCT => Some(Tag::new(term.tag).ok_or(Error::Malformed)?),
            _ => return Err(Error::Malformed),
        };
        if term.reserved != 0 || term.value > width.largest() {
            return Err(Error::Malformed);
        }
        let (kind, place) = match term.source {
            source::OWNED | source::PRESENTED => self.memory(term, width)?,
            source::EXPOSED => exposed(term, width, comparison)?,
            _ => return Err(Error::Malformed),
        };
        let test = Packed {
            value: term.value,
            tag: first.map_or(0, Tag::get),
            place,
            kind,
            comparison,
        };
        *self.tests.get_mut(at).ok_or(Error::BadCount)? = test;
        self.test_count += 1;
        Ok(())
    }

    /// The place of a word in a page, which is put on the list if it is new. It is the last check.
    fn memory(&mut self, term: &Term, width: Width) -> Result<(Place, u16), Error> {
        let capability = match (term.source, term.capability) {
            (source::OWNED, 0) => 0,
            (source::OWNED, _) => return Err(Error::Malformed),
            // Nothing is ever mapped at 0, which says "by ownership" here.
            (_, 0) => return Err(Error::BadAddress),
            (_, address) => user_capability(address)?.address(),
        };
        if u64::from(term.offset) >= PAGE_SIZE || !term.offset.is_multiple_of(width as u16) {
            return Err(Error::BadAddress);
        }
        let kind = match width {
            Width::Four => Place::Four,
            Width::Eight => Place::Eight,
        };
        let index = self.page(PageNumber::new(term.place), capability)?;
        Ok((kind, index << OFFSET_BITS | term.offset))
    }

    /// The index of a page in the list.
    fn page(&mut self, page: PageNumber, capability: u64) -> Result<u16, Error> {
        let known = self.page_list().iter().position(|&other| other == page);
        if let Some(index) = known {
            return match self.capabilities.get(index) {
                Some(&other) if other == capability => Ok(index as u16),
                _ => Err(Error::Malformed),
            };
        }
        let index = usize::from(self.page_count);
        match (self.pages.get_mut(index), self.capabilities.get_mut(index)) {
            (Some(place), Some(right)) => (*place, *right) = (page, capability),
            _ => return Err(Error::BadCount),
        }
        self.page_count += 1;
        Ok(index as u16)
    }

    /// How many tests there are.
    pub const fn len(&self) -> usize {
        self.test_count as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.test_count == 0
    }

    /// The pages that it reads, each once, in the order in which they were first named.
    pub fn page_list(&self) -> &[PageNumber] {
        let count = usize::from(self.page_count);
        self.pages.get(..count).unwrap_or_default()
    }

    /// The same with the right by which each is named.
    pub fn named(&self) -> impl Iterator<Item = Named<'_>> {
        let rights = self.capabilities.iter().map(|&address| match address {
            0 => None,
            // It was decoded once, so it is decoded again.
            _ => user_capability(address).ok(),
        });
        let pages = self.page_list().iter().zip(rights);
        pages.map(|(&page, capability)| Named { page, capability })
    }

    /// Its tests, in order.
    pub fn tests(&self) -> impl Iterator<Item = Test> {
        let tests = self.tests.iter().take(self.len());
        tests.map(|packed| self.unpack(packed))
    }

    fn unpack(&self, packed: &Packed) -> Test {
        let Packed {
            value,
            tag,
            place,
            kind,
            comparison,
        } = *packed;
        let memory = |width| {
            let page = self.pages.get(usize::from(place >> OFFSET_BITS));
            Operand::Memory {
                page: page.copied().unwrap_or(PageNumber::MAX),
                offset: place & (PAGE_SIZE - 1) as u16,
                width,
            }
        };
        let operand = match kind {
            Place::Four => memory(Width::Four),
            Place::Eight => memory(Width::Eight),
            Place::Time => Operand::Exposed(Exposed::Time),
            Place::State => Operand::Exposed(Exposed::State(place)),
            Place::Epoch => Operand::Exposed(Exposed::Epoch(place)),
        };
        Test {
            operand,
            comparison,
            value,
            first: Tag::new(tag),
        }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The capability at an address that came from a program.
fn user_capability<'a>(address: u64) -> Result<UserCapability<'a>, Error> {
    UserCapability::decode(&mut Arguments::new([address, 0, 0, 0, 0, 0]))
}

/// The place of a word that the kernel keeps.
fn exposed(term: &Term, width: Width, comparison: Comparison) -> Result<(Place, u16), Error> {
    if term.capability != 0 || width != Width::Eight {
        return Err(Error::Malformed);
    }
    Ok(match Exposed::decode(term.offset, term.place)? {
        // Between two looks it may pass any one value.
        Exposed::Time if matches!(comparison, Comparison::Equal | Comparison::NotEqual) => {
            return Err(Error::Malformed);
        }
        Exposed::Time => (Place::Time, 0),
        Exposed::State(environment) => (Place::State, environment),
        Exposed::Epoch(environment) => (Place::Epoch, environment),
    })
}
