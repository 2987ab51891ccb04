//! Building a predicate, on the side of the program that will sleep.

use core::marker::PhantomData;

use super::{Comparison, Exposed, MAX_TERMS, Tag, Term, Terms, Width, source};
use crate::{Error, PageNumber, UserCapability};

/// A word that a term can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// A term with the place alone.
    term: Term,
    capability: PhantomData<UserCapability<'a>>,
}

impl<'a> Word<'a> {
    /// The ticks that have passed.
    pub const TIME: Word<'static> = Word::exposed(Exposed::Time);

    const fn of(term: Term) -> Self {
        Self {
            term,
            capability: PhantomData,
        }
    }

    /// The word at `offset` (in bytes, a multiple of the width) in a page of the account that the caller draws on.
    pub const fn owned(page: PageNumber, offset: u16, width: Width) -> Self {
        Self::of(Term {
            place: page.get(),
            offset,
            width: width as u8,
            source: source::OWNED,
            ..NOTHING
        })
    }

    /// The same in a page that a capability lets the caller read.
    pub const fn presented(
        capability: UserCapability<'a>,
        page: PageNumber,
        offset: u16,
        width: Width,
    ) -> Self {
        Self::of(Term {
            place: page.get(),
            offset,
            width: width as u8,
            source: source::PRESENTED,
            capability: capability.address(),
            ..NOTHING
        })
    }

    /// A word that the kernel keeps.
    pub const fn exposed(word: Exposed) -> Self {
        let (offset, place) = word.encode();
        Self::of(Term {
            place,
            offset,
            width: Width::Eight as u8,
            source: source::EXPOSED,
            ..NOTHING
        })
    }
}

/// What is in a term that says nothing.
const NOTHING: Term = Term {
    place: 0,
    offset: 0,
    source: 0,
    flags: 0,
    value: 0,
    capability: 0,
    tag: 0,
    comparison: 0,
    width: 0,
    reserved: 0,
};

/// A predicate that is being built: any of its products.
///
/// ```
/// use exopi_abi::PageNumber;
/// use exopi_abi::predicate::{Comparison, Predicate, Tag, Width, Word};
///
/// let [ready, late] = [1, 2].map(|tag| Tag::new(tag).unwrap());
/// let owner = Word::owned(PageNumber::new(0x1234), 0x40, Width::Eight);
/// let wait = Predicate::any()
///     .product(ready)
///     .and(owner, Comparison::NotEqual, 0)
///     .product(late)
///     .and(Word::TIME, Comparison::AtLeast, 5_000_000);
/// assert_eq!(wait.terms()?.len(), 2);
/// # Ok::<(), exopi_abi::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate<'a> {
    terms: [Term; MAX_TERMS],
    count: usize,
    /// The tag of the product that the next comparison begins.
    begun: Option<Tag>,
    /// There were more comparisons than there is room for.
    full: bool,
    capabilities: PhantomData<UserCapability<'a>>,
}

impl<'a> Predicate<'a> {
    /// Without a product. It is never true.
    pub const fn any() -> Self {
        Self {
            terms: [NOTHING; MAX_TERMS],
            count: 0,
            begun: None,
            full: false,
            capabilities: PhantomData,
        }
    }

    /// Begins a product. A product to which nothing is added is left out.
    #[must_use]
    pub const fn product(mut self, tag: Tag) -> Self {
        self.begun = Some(tag);
        self
    }

    /// Adds a comparison to the product.
    #[must_use]
    pub fn and(mut self, word: Word<'a>, comparison: Comparison, value: u64) -> Self {
        let begun = self.begun.take();
        self.put(Term {
            value,
            flags: if begun.is_some() {
                Term::FIRST_OF_PRODUCT
            } else {
                0
            },
            tag: begun.map_or(0, Tag::get),
            comparison: comparison as u8,
            ..word.term
        });
        self
    }

    /// Adds the products of another predicate: a wait for either.
    #[must_use]
    pub fn or(mut self, other: &Predicate<'a>) -> Self {
        for &term in other.list() {
            self.put(term);
        }
        self.begun = None;
        self.full |= other.full;
        self
    }

    fn put(&mut self, term: Term) {
        match self.terms.get_mut(self.count) {
            Some(place) => {
                *place = term;
                self.count += 1;
            }
            None => self.full = true,
        }
    }

    fn list(&self) -> &[Term] {
        self.terms.get(..self.count).unwrap_or_default()
    }

    /// The terms, found good by the same rules that the kernel has.
    ///
    /// # Errors
    /// Those of [`Terms::push`]: [`Error::BadCount`] if there are too many terms or pages,
    /// [`Error::Malformed`] if the first comparison is of no product, and so on.
    pub fn terms(&self) -> Result<&[Term], Error> {
        if self.full {
            return Err(Error::BadCount);
        }
        Terms::decode(self.list())?;
        Ok(self.list())
    }
}
