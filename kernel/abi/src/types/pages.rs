//! Which pages a call is about, by what right, and how far it came.

use super::user::PRESENTED;
use super::{FORM_SHIFT, PageNumber, UserCapability, formless, page_in};
use crate::Error;
use crate::page::MAX_COLOURS;
use crate::registers::{Argument, Arguments, Outcome, Progress, Reply, Value};

/// Which page an allocation should take.
///
/// ```text
///   63      56 55            32 31              0
///   | form 0  |  zero          |  page number    |  exactly this one, and those after it
///   | form 1  |  zero                            |  the head of a free list
///   | form 2  |  zero          |  colour         |  the head of this colour's free list
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSelect {
    /// This page, and the ones that follow it.
    Exact(PageNumber),
    /// Whichever heads a free list, one after the other.
    Any,
    /// Whichever heads the free list of this colour, one after the other. The colour of a page is its number
    /// modulo the machine's number of colours.
    Colour(u8),
}

impl PageSelect {
    const FORMS: u64 = 3;

    #[inline(always)]
    fn from_word(word: u64) -> Result<Self, Error> {
        match (word >> FORM_SHIFT, formless(word)) {
            (0, _) => Ok(Self::Exact(page_in(word)?)),
            (1, 0) => Ok(Self::Any),
            (2, colour) if colour < MAX_COLOURS as u64 => Ok(Self::Colour(colour as u8)),
            (2, _) => Err(Error::OutOfRange),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn word(self) -> u64 {
        match self {
            Self::Exact(page) => page.0.into(),
            Self::Any => 1 << FORM_SHIFT,
            Self::Colour(colour) => 2 << FORM_SHIFT | u64::from(colour),
        }
    }
}

impl Argument for PageSelect {
    const REFUSALS: &'static [Error] = &[Error::Malformed, Error::OutOfRange];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        Self::from_word(from.take())
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.word());
    }
}

/// Pages, from a first one on, and the right by which they are named.
///
/// ```text
///   63      56 55            32 31              0      second word
///   | form 0  |  zero          |  page number    |     zero
///   | form 1  |  zero          |  page number    |     address of a capability
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRun<'a> {
    /// Pages of the account that the caller draws on.
    Owned(PageNumber),
    /// Pages that a capability is good for.
    Presented(PageNumber, UserCapability<'a>),
}

impl Argument for PageRun<'_> {
    const WORDS: usize = 2;
    const REFUSALS: &'static [Error] = PRESENTED;

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.take();
        match word >> FORM_SHIFT {
            0 => {
                let page = page_in(word)?;
                if from.take() == 0 {
                    Ok(Self::Owned(page))
                } else {
                    Err(Error::Malformed)
                }
            }
            1 => Ok(Self::Presented(
                page_in(word)?,
                UserCapability::decode(from)?,
            )),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        match self {
            Self::Owned(page) => {
                into.put(page.0.into());
                into.put(0);
            }
            Self::Presented(page, capability) => {
                into.put(1 << FORM_SHIFT | u64::from(page.0));
                capability.encode(into);
            }
        }
    }
}

/// Where the pages of a mapping come from, and by what right: a [`PageRun`], or pages that are allocated on
/// the way, whose form is that of a [`PageSelect`] and 2 (second word zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSource<'a> {
    /// Pages that there are.
    Run(PageRun<'a>),
    /// Pages that the caller gets by this call, as by `page_alloc`.
    New(PageSelect),
}

impl PageSource<'_> {
    const NEW: u64 = 2;

    /// Whether the first word of a source, if it is one, says that the pages are new.
    #[inline(always)]
    pub(super) const fn is_new(word: u64) -> bool {
        word >> FORM_SHIFT >= Self::NEW
    }

    /// Whether the first word of a source or of a run, if it is one, says that a capability follows.
    #[inline(always)]
    pub(super) const fn is_presented(word: u64) -> bool {
        word >> FORM_SHIFT == 1
    }

    /// This page and the ones that follow it, owned by the account that the caller draws on.
    #[inline(always)]
    pub const fn owned(first: PageNumber) -> Self {
        Self::Run(PageRun::Owned(first))
    }
}

impl Argument for PageSource<'_> {
    const WORDS: usize = 2;
    const REFUSALS: &'static [Error] = PageRun::REFUSALS;

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.peek();
        let new = (word >> FORM_SHIFT).wrapping_sub(Self::NEW);
        if new >= PageSelect::FORMS {
            return PageRun::decode(from).map(Self::Run);
        }
        from.take();
        let select = PageSelect::from_word(new << FORM_SHIFT | formless(word))?;
        if from.take() == 0 {
            Ok(Self::New(select))
        } else {
            Err(Error::Malformed)
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        match self {
            Self::Run(run) => run.encode(into),
            Self::New(select) => {
                into.put(select.word() + (Self::NEW << FORM_SHIFT));
                into.put(0);
            }
        }
    }
}

/// How far the breaking of bindings came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "bindings may be left"]
pub struct Breaking {
    /// Pages to which nothing refers any more, from the first on. A call that reached its bound has broken
    /// something of the next page, too, and is asked again for the rest.
    pub progress: Progress,
    /// Superpage mappings that were removed as a whole, because the pages were in them.
    pub superpages: u64,
}

impl Outcome for Breaking {
    #[inline(always)]
    fn into_reply(self) -> Reply {
        Reply {
            value: self.superpages,
            ..self.progress.into_reply()
        }
    }

    #[inline(always)]
    fn from_reply(reply: Reply) -> Self {
        Self {
            progress: Progress::from_reply(reply),
            superpages: reply.value,
        }
    }

    #[inline(always)]
    fn refused(error: Error) -> Self {
        Self {
            progress: Progress::refused(error),
            superpages: 0,
        }
    }
}

/// What an allocation gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the pages are charged to the caller now"]
pub struct Allocation {
    /// The first page, meaningful if any was allocated.
    pub first: PageNumber,
    /// How many were allocated, from the first on, and why no more.
    pub progress: Progress,
}

impl Outcome for Allocation {
    #[inline(always)]
    fn into_reply(self) -> Reply {
        Reply {
            value: self.first.into_word(),
            ..self.progress.into_reply()
        }
    }

    #[inline(always)]
    fn from_reply(reply: Reply) -> Self {
        Self {
            first: PageNumber::from_word(reply.value),
            progress: Progress::from_reply(reply),
        }
    }

    #[inline(always)]
    fn refused(error: Error) -> Self {
        Self {
            first: PageNumber::new(0),
            progress: Progress::refused(error),
        }
    }
}
