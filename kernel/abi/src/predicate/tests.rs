//! Decoding of good and hostile terms, the builder, and comparisons at their edges.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::registers::{Argument, Arguments};
use crate::{PageNumber, UserCapability};

fn tag(number: u32) -> Tag {
    Tag::new(number).unwrap()
}

/// A page of the caller's with a good comparison, first of a product.
fn good() -> Term {
    Term {
        place: 7,
        offset: 16,
        flags: Term::FIRST_OF_PRODUCT,
        value: 5,
        tag: 1,
        comparison: Comparison::Equal as u8,
        width: 8,
        ..Term::default()
    }
}

fn exposed(word: Exposed, comparison: Comparison) -> Term {
    let (offset, place) = word.encode();
    Term {
        place,
        offset,
        source: source::EXPOSED,
        comparison: comparison as u8,
        ..good()
    }
}

#[test]
fn comparisons_hold_as_numbers_do() {
    let edges = [
        0,
        1,
        2,
        u64::from(u32::MAX),
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    for word in edges {
        for value in edges {
            let all = Comparison::ALL.map(|comparison| comparison.holds(word, value));
            let expected = [
                word < value,
                word <= value,
                word == value,
                word != value,
                word >= value,
                word > value,
            ];
            assert_eq!(all, expected, "{word} {value}");
        }
    }
    for (at, comparison) in Comparison::ALL.into_iter().enumerate() {
        assert_eq!(comparison as usize, at + 1);
        assert_eq!(Comparison::from_code(at as u8 + 1), Some(comparison));
    }
    assert_eq!(Comparison::from_code(0), None);
    assert_eq!(Comparison::from_code(7), None);
}

#[test]
fn tags_leave_room_for_the_kernels() {
    assert_eq!(Tag::new(0), None);
    assert_eq!(Tag::new(Tag::LAST + 1), None);
    assert_eq!(tag(Tag::LAST).get(), Tag::LAST);
    assert_eq!(Tag::new(Tag::BROKEN.get()), None);
    assert_eq!(Tag::told(Tag::BROKEN.get().into()), Some(Tag::BROKEN));
    assert_eq!(Tag::told(0), None);
    assert_eq!(Tag::told(1 << 32 | 1), None);
}

#[test]
fn a_term_travels_as_four_words() {
    let term = Term {
        place: 0x0102_0304,
        offset: 0x0506,
        source: 7,
        flags: 8,
        value: 0x1112_1314_1516_1718,
        capability: 0x2122_2324_2526_2728,
        tag: 0x3132_3334,
        comparison: 0x35,
        width: 0x36,
        reserved: 0x3738,
    };
    let words = term.to_words();
    assert_eq!(Term::from_words(words), term);
    // As the record lies in memory.
    assert_eq!(
        words,
        [
            0x0807_0506_0102_0304,
            0x1112_1314_1516_1718,
            0x2122_2324_2526_2728,
            0x3738_3635_3132_3334
        ]
    );
}

#[test]
fn what_was_decoded_is_what_was_said() {
    let mut at = Arguments::new([0x1_0040, 0, 0, 0, 0, 0]);
    let capability = UserCapability::decode(&mut at).unwrap();
    let page = PageNumber::new;
    let built = Predicate::any()
        .product(tag(3))
        .and(
            Word::owned(page(9), 4092, Width::Four),
            Comparison::Less,
            u32::MAX.into(),
        )
        .and(
            Word::presented(capability, page(u32::MAX), 4088, Width::Eight),
            Comparison::AtMost,
            u64::MAX,
        )
        .product(tag(4))
        .and(Word::TIME, Comparison::AtLeast, 77)
        .product(tag(5))
        .and(Word::exposed(Exposed::State(1023)), Comparison::NotEqual, 3)
        .and(Word::exposed(Exposed::Epoch(0)), Comparison::Greater, 8)
        .and(Word::owned(page(9), 0, Width::Eight), Comparison::Equal, 1);
    let terms = Terms::decode(built.terms().unwrap()).unwrap();
    assert_eq!(terms.page_list(), [page(9), page(u32::MAX)]);
    let named: Vec<_> = terms.named().map(|named| named.capability).collect();
    assert_eq!(named, [None, Some(capability)]);
    let tests: Vec<_> = terms.tests().collect();
    let memory = |page, offset, width| Operand::Memory {
        page: PageNumber::new(page),
        offset,
        width,
    };
    let expected = [
        (
            memory(9, 4092, Width::Four),
            Comparison::Less,
            u32::MAX.into(),
            Some(tag(3)),
        ),
        (
            memory(u32::MAX, 4088, Width::Eight),
            Comparison::AtMost,
            u64::MAX,
            None,
        ),
        (
            Operand::Exposed(Exposed::Time),
            Comparison::AtLeast,
            77,
            Some(tag(4)),
        ),
        (
            Operand::Exposed(Exposed::State(1023)),
            Comparison::NotEqual,
            3,
            Some(tag(5)),
        ),
        (
            Operand::Exposed(Exposed::Epoch(0)),
            Comparison::Greater,
            8,
            None,
        ),
        (memory(9, 0, Width::Eight), Comparison::Equal, 1, None),
    ];
    let expected = expected.map(|(operand, comparison, value, first)| Test {
        operand,
        comparison,
        value,
        first,
    });
    assert_eq!(tests, expected);
    assert_eq!(terms.len(), 6);
    assert!(!terms.is_empty() && Terms::EMPTY.is_empty());
}

/// Each way in which a good term can be spoiled, as a second term behind a good one.
#[test]
fn hostile_terms_are_refused_and_change_nothing() {
    use Error::{BadAddress, Malformed, OutOfRange};
    let good = good();
    let time = |comparison| exposed(Exposed::Time, comparison);
    let cases = [
        (
            Term {
                comparison: 0,
                ..good
            },
            Malformed,
        ),
        (
            Term {
                comparison: 7,
                ..good
            },
            Malformed,
        ),
        (Term { width: 0, ..good }, Malformed),
        (Term { width: 2, ..good }, Malformed),
        (Term { width: 16, ..good }, Malformed),
        (Term { source: 3, ..good }, Malformed),
        (
            Term {
                reserved: 1,
                ..good
            },
            Malformed,
        ),
        (Term { flags: 2, ..good }, Malformed),
        (Term { flags: 3, ..good }, Malformed),
        (Term { flags: 0, ..good }, Malformed),
        (Term { tag: 0, ..good }, Malformed),
        (
            Term {
                tag: Tag::LAST + 1,
                ..good
            },
            Malformed,
        ),
        (
            Term {
                tag: u32::MAX,
                ..good
            },
            Malformed,
        ),
        (
            Term {
                width: 4,
                value: 1 << 32,
                ..good
            },
            Malformed,
        ),
        (
            Term {
                capability: 8,
                ..good
            },
            Malformed,
        ),
        (
            Term {
                offset: 4096,
                ..good
            },
            BadAddress,
        ),
        (
            Term {
                offset: u16::MAX - 7,
                ..good
            },
            BadAddress,
        ),
        (Term { offset: 4, ..good }, BadAddress),
        (
            Term {
                offset: 4092,
                ..good
            },
            BadAddress,
        ),
        (
            Term {
                offset: 4094,
                width: 4,
                ..good
            },
            BadAddress,
        ),
        // By another right than the page was named before.
        (
            Term {
                source: source::PRESENTED,
                capability: 64,
                ..good
            },
            Malformed,
        ),
        (
            Term {
                source: source::PRESENTED,
                place: 8,
                ..good
            },
            BadAddress,
        ),
        (
            Term {
                source: source::PRESENTED,
                place: 8,
                capability: 4,
                ..good
            },
            BadAddress,
        ),
        (
            Term {
                source: source::PRESENTED,
                place: 8,
                capability: u64::MAX - 7,
                ..good
            },
            BadAddress,
        ),
        (time(Comparison::Equal), Malformed),
        (time(Comparison::NotEqual), Malformed),
        (
            Term {
                place: 1,
                ..time(Comparison::Less)
            },
            Malformed,
        ),
        (
            Term {
                width: 4,
                ..time(Comparison::Less)
            },
            Malformed,
        ),
        (
            Term {
                capability: 64,
                ..time(Comparison::Less)
            },
            Malformed,
        ),
        (
            Term {
                offset: 0,
                ..time(Comparison::Less)
            },
            Malformed,
        ),
        (
            Term {
                offset: 4,
                ..time(Comparison::Less)
            },
            Malformed,
        ),
        (
            Term {
                place: 1024,
                ..exposed(Exposed::State(0), Comparison::Less)
            },
            OutOfRange,
        ),
        (
            Term {
                place: u32::MAX,
                ..exposed(Exposed::Epoch(0), Comparison::Less)
            },
            OutOfRange,
        ),
    ];
    let mut terms = Terms::decode(&[good]).unwrap();
    let before = terms.clone();
    for (term, error) in cases {
        assert_eq!(terms.push(&term), Err(error), "{term:?}");
        assert_eq!(terms, before, "{term:?}");
    }
    // As the first term one cannot go on with a product.
    let next = Term {
        flags: 0,
        tag: 0,
        ..good
    };
    assert_eq!(Terms::decode(&[next]), Err(Malformed));
    assert_eq!(Terms::decode(&[good, next]).map(|terms| terms.len()), Ok(2));
}

#[test]
fn terms_and_pages_are_counted() {
    let on_page = |place| Term { place, ..good() };
    let most: Vec<Term> = (0..MAX_TERMS as u32).map(|n| on_page(n % 8)).collect();
    let terms = Terms::decode(&most).unwrap();
    assert_eq!((terms.len(), terms.page_list().len()), (32, 8));
    let mut more = most.clone();
    more.push(on_page(0));
    assert_eq!(Terms::decode(&more), Err(Error::BadCount));
    let nine: Vec<Term> = (0..9).map(on_page).collect();
    assert_eq!(Terms::decode(&nine), Err(Error::BadCount));
    // The ninth page is refused, and the eight before stay.
    let mut terms = Terms::decode(&nine[..8]).unwrap();
    let before = terms.clone();
    assert_eq!(terms.push(&nine[8]), Err(Error::BadCount));
    assert_eq!(terms, before);
    terms.push(&nine[7]).unwrap();
}

/// A generator without state of its own (splitmix64), so that a failure is one number.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[test]
fn whatever_words_hold_what_is_taken_keeps_the_rules() {
    let seed = 0x5eed_0001;
    std::println!("seed {seed:#x}");
    let mut state = seed;
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut terms = Terms::EMPTY;
        for _ in 0..40 {
            // A good term with up to three bytes replaced, or noise altogether.
            let mut words = good().to_words();
            match random(&mut state) % 8 {
                0 => words = [0; 4].map(|_| random(&mut state)),
                damaged => {
                    for _ in 0..damaged % 4 {
                        let at = random(&mut state) % 32;
                        let byte = random(&mut state) % 9 * 8 % 251;
                        let (word, shift) = ((at / 8) as usize, at % 8 * 8);
                        words[word] = words[word] & !(0xff << shift) | byte << shift;
                    }
                }
            }
            let before = terms.clone();
            match terms.push(&Term::from_words(words)) {
                Ok(()) => assert_eq!(terms.len(), before.len() + 1),
                Err(_) => assert_eq!(terms, before),
            }
        }
        taken += terms.len();
        check(&terms);
    }
    // The test is of no use if nothing, or everything, is taken.
    assert!(taken > 20_000 && taken < 20_000 * 31, "{taken}");
}

/// What always holds of checked terms.
fn check(terms: &Terms) {
    let pages = terms.page_list();
    assert!(terms.len() <= MAX_TERMS && pages.len() <= MAX_PAGES);
    assert_eq!(terms.named().count(), pages.len());
    let mut sorted = vec![];
    sorted.extend(pages.iter().map(|page| page.get()));
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), pages.len());
    for (at, test) in terms.tests().enumerate() {
        assert!(at > 0 || test.first.is_some());
        assert!(test.first.is_none_or(|tag| tag.get() <= Tag::LAST));
        match test.operand {
            Operand::Memory {
                page,
                offset,
                width,
            } => {
                assert!(pages.contains(&page));
                assert!(offset % width as u16 == 0 && offset + width as u16 <= 4096);
                assert!(test.value <= width.largest());
            }
            Operand::Exposed(Exposed::Time) => {
                assert!(!matches!(
                    test.comparison,
                    Comparison::Equal | Comparison::NotEqual
                ));
            }
            Operand::Exposed(Exposed::State(index) | Exposed::Epoch(index)) => {
                assert!(usize::from(index) < MAX_ENVIRONMENTS);
            }
        }
    }
}

#[test]
fn the_builder_says_what_the_kernel_would() {
    let word = Word::owned(PageNumber::new(1), 8, Width::Eight);
    let one = Predicate::any()
        .product(tag(1))
        .and(word, Comparison::Equal, 1);
    assert_eq!(Predicate::any().terms().unwrap(), []);
    // A comparison of no product, and a product without comparisons.
    let stray = Predicate::any().and(word, Comparison::Equal, 1);
    assert_eq!(stray.terms(), Err(Error::Malformed));
    let empty = Predicate::any().product(tag(9)).product(tag(1));
    assert_eq!(empty.and(word, Comparison::Equal, 1), one);
    let odd = Word::owned(PageNumber::new(1), 9, Width::Eight);
    let odd = Predicate::any()
        .product(tag(1))
        .and(odd, Comparison::Equal, 1);
    assert_eq!(odd.terms(), Err(Error::BadAddress));
    // Either of two waits; what follows needs a product of its own.
    let two = Predicate::any()
        .product(tag(2))
        .and(word, Comparison::Less, 4)
        .and(word, Comparison::Greater, 2);
    let either = one.clone().product(tag(7)).or(&two);
    let tags: Vec<_> = either
        .terms()
        .unwrap()
        .iter()
        .map(|term| term.tag)
        .collect();
    assert_eq!(tags, [1, 2, 0]);
    let mut many = Predicate::any();
    for _ in 0..MAX_TERMS {
        many = many.or(&one);
    }
    assert_eq!(many.terms().map(<[Term]>::len), Ok(MAX_TERMS));
    let over = many.clone().or(&one);
    assert_eq!(over.terms(), Err(Error::BadCount));
    assert_eq!(Predicate::any().or(&over).terms(), Err(Error::BadCount));
    assert_eq!(
        many.and(word, Comparison::Less, 1).terms(),
        Err(Error::BadCount)
    );
}
