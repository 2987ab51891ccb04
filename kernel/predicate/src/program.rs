//! A predicate as the kernel keeps it, and its value by the plainest means.

use exopi_abi::PageNumber;
use exopi_abi::predicate::{Comparison, Exposed, MAX_PAGES, Operand, Tag, Terms, Test};

/// Codes of the states that an environment passes through as it runs, from Ready to Calling: cores change them without
/// the kernel lock, and tell nobody.
const UNTOLD: core::ops::RangeInclusive<u64> = 2..=5;

/// Where words lie, for whoever knows addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A page.
    Page(PageNumber),
    /// The life word of the environment at this index.
    Life(u16),
}

/// The pages that a predicate reads. They are pinned while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pins {
    pages: [PageNumber; MAX_PAGES],
    count: usize,
}

impl Pins {
    /// The pages, each once.
    pub fn pages(&self) -> &[PageNumber] {
        self.pages.get(..self.count).unwrap_or_default()
    }
}

/// A predicate: a sum of products, or none, or one that lost a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    terms: Terms,
    broken: bool,
}

impl Program {
    /// None: never true.
    pub const NONE: Program = Program {
        terms: Terms::EMPTY,
        broken: false,
    };

    /// The predicate that these terms are. The caller may read their pages, and pins them.
    pub const fn new(terms: Terms) -> Self {
        Self {
            terms,
            broken: false,
        }
    }

    /// Its tests, in order.
    pub fn tests(&self) -> impl Iterator<Item = Test> {
        self.terms.tests()
    }

    /// The pages that are pinned for it.
    pub fn pins(&self) -> Pins {
        let mut pins = Pins {
            pages: [PageNumber::new(0); MAX_PAGES],
            count: 0,
        };
        for (place, &page) in pins.pages.iter_mut().zip(self.terms.page_list()) {
            *place = page;
            pins.count += 1;
        }
        pins
    }

    /// Disables it if it reads `page`, which is being taken away. Then its value is [`Tag::BROKEN`] from now on, its
    /// sleeper's entry leads to [`Stubs::broken`](crate::Stubs), and the pages that are told need no pin any
    /// more.
    pub fn without(&mut self, page: PageNumber) -> Option<Pins> {
        if !self.terms.page_list().contains(&page) {
            return None;
        }
        let pins = self.pins();
        *self = Self {
            terms: Terms::EMPTY,
            broken: true,
        };
        Some(pins)
    }

    /// Whether it lost a page.
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Its value: the tag of the first product that is true. `read` gives words: for a state or an epoch the whole
    /// life word. What need not be known is not read.
    pub fn evaluate(&self, mut read: impl FnMut(Operand) -> u64) -> Option<Tag> {
        if self.broken {
            return Some(Tag::BROKEN);
        }
        let mut product = None;
        let mut holds = false;
        for test in self.tests() {
            if test.first.is_some() {
                if holds {
                    break;
                }
                (product, holds) = (test.first, true);
            }
            holds = holds && test.holds(field(test.operand, read(test.operand)));
        }
        product.filter(|_| holds)
    }

    /// The next time after `now`, in ticks, at which a product may become true by the time alone: for this the timer
    /// is armed.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        let mut earliest: Option<u64> = None;
        let mut window = Window::NEVER;
        let mut consider = |window: Window| {
            if window.from > now && window.from <= window.last {
                earliest = Some(earliest.map_or(window.from, |time| time.min(window.from)));
            }
        };
        for test in self.tests() {
            if test.first.is_some() {
                consider(window);
                window = Window::ALWAYS;
            }
            if test.operand == Operand::Exposed(Exposed::Time) {
                window.narrow(test);
            }
        }
        consider(window);
        earliest
    }

    /// Whether its value can change with nobody telling: it has to be looked at while environments run.
    pub fn polls(&self) -> bool {
        self.tests().any(|test| match test.operand {
            Operand::Memory { .. } => true,
            Operand::Exposed(Exposed::State(_)) => {
                let holding = UNTOLD.filter(|&state| test.holds(state)).count();
                holding != 0 && holding != UNTOLD.count()
            }
            Operand::Exposed(Exposed::Time | Exposed::Epoch(_)) => false,
        })
    }

    /// Indices of the environments whose state or epoch it mentions, some perhaps more than once.
    pub fn environments(&self) -> impl Iterator<Item = u16> {
        self.tests().filter_map(|test| match test.operand {
            Operand::Exposed(Exposed::State(index) | Exposed::Epoch(index)) => Some(index),
            Operand::Exposed(Exposed::Time) | Operand::Memory { .. } => None,
        })
    }
}

/// The word that a test is about, in what was loaded for it.
const fn field(operand: Operand, word: u64) -> u64 {
    let (low, width) = match operand {
        Operand::Exposed(Exposed::State(_)) => Exposed::STATE_FIELD,
        Operand::Exposed(Exposed::Epoch(_)) => Exposed::EPOCH_FIELD,
        Operand::Exposed(Exposed::Time) | Operand::Memory { .. } => return word,
    };
    word >> low & (u64::MAX >> (u64::BITS - width))
}

/// The times, from one to another, at which all comparisons of a product with the time hold.
#[derive(Clone, Copy)]
struct Window {
    from: u64,
    /// The last one; less than `from` if there is none.
    last: u64,
}

impl Window {
    const ALWAYS: Window = Window {
        from: 0,
        last: u64::MAX,
    };
    const NEVER: Window = Window { from: 1, last: 0 };

    fn narrow(&mut self, test: Test) {
        let never = Self::NEVER;
        let (from, last) = match test.comparison {
            Comparison::AtLeast => (Some(test.value), Some(u64::MAX)),
            Comparison::Greater => (test.value.checked_add(1), Some(u64::MAX)),
            Comparison::AtMost => (Some(0), Some(test.value)),
            Comparison::Less => (Some(0), test.value.checked_sub(1)),
            Comparison::Equal | Comparison::NotEqual => (None, None),
        };
        // An empty window stays one: of two bounds neither gets wider.
        *self = match (from, last) {
            (Some(from), Some(last)) => Self {
                from: self.from.max(from),
                last: self.last.min(last),
            },
            _ => never,
        };
    }
}
