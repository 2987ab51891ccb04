//! What is encoded is decoded again; what cannot be meant is refused.

use proptest::prelude::*;

use super::*;

fn through<T: Argument>(value: T) -> Result<T, Error> {
    let mut into = Arguments::new([0; 6]);
    value.encode(&mut into);
    T::decode(&mut Arguments::new(into.words()))
}

fn decode<T: Argument>(word: u64) -> Result<T, Error> {
    T::decode(&mut Arguments::new([word; 6]))
}

#[test]
fn small_types_accept_their_values_alone() {
    for word in 0..256u64 {
        assert_eq!(decode::<Access>(word).is_ok(), word < 8 && word & 1 == 1);
        assert_eq!(decode::<TableLevel>(word).is_ok(), word == 2 || word == 3);
        assert_eq!(decode::<Space>(word).is_ok(), word == 0);
    }
    for access in Access::POSSIBLE {
        assert_eq!(through(access), Ok(access));
    }
}

/// Whether a word, or two, are decoded or refused with an error that the type names.
fn refused_as_named<T: Argument>(words: [u64; 6]) -> bool {
    match T::decode(&mut Arguments::new(words)) {
        Ok(_) => true,
        Err(error) => T::REFUSALS.contains(&error),
    }
}

proptest! {
    #[test]
    fn refusals_are_those_that_the_type_names(words: [u64; 6], shift in 0..64u32) {
        let words = words.map(|word| word >> shift);
        prop_assert!(refused_as_named::<Access>(words));
        prop_assert!(refused_as_named::<Option<PageNumber>>(words));
        prop_assert!(refused_as_named::<PageSelect>(words));
        prop_assert!(refused_as_named::<PageSource>(words));
        prop_assert!(refused_as_named::<Space>(words));
        prop_assert!(refused_as_named::<TableLevel>(words));
        prop_assert!(refused_as_named::<UserBytes<'_>>(words));
        prop_assert!(refused_as_named::<VirtAddr>(words));
    }

    #[test]
    fn pages_survive(number: u32) {
        let page = PageNumber::new(number);
        prop_assert_eq!(through(page), Ok(page));
        prop_assert_eq!(through(PageSelect::Exact(page)), Ok(PageSelect::Exact(page)));
        prop_assert_eq!(through(PageSource::Owned(page)), Ok(PageSource::Owned(page)));
        prop_assert_eq!(through(Some(page)), Ok((number != 0).then_some(page)));
    }

    #[test]
    fn words_that_are_no_page_are_refused(word in 1u64 << 32..) {
        prop_assert_eq!(decode::<PageNumber>(word), Err(Error::OutOfRange));
        prop_assert!(decode::<PageSource>(word).is_err());
        let any = word == 1 << FORM_SHIFT;
        prop_assert_eq!(decode::<PageSelect>(word).is_ok(), any);
    }

    #[test]
    fn addresses_are_of_user_space(word: u64) {
        for word in [word, word % USER_END, word % USER_END / PAGE_SIZE * PAGE_SIZE] {
            let mappable = (layout::USER_START..layout::EXPOSED_BASE).contains(&word);
            let good = mappable && word % PAGE_SIZE == 0;
            prop_assert_eq!(decode::<VirtAddr>(word).is_ok(), good);
        }
    }

    #[test]
    fn byte_ranges_lie_in_user_space(address: u64, length: u64) {
        let decoded = UserBytes::decode(&mut Arguments::new([address, length, 0, 0, 0, 0]));
        let good = u128::from(address) + u128::from(length) <= u128::from(MEMORY_END);
        prop_assert_eq!(decoded.is_ok(), good);
    }

    #[test]
    fn page_arithmetic_never_wraps(number: u32, count: u64) {
        let sum = u128::from(number) + u128::from(count);
        let plus = PageNumber::new(number).plus(count).map(|page| u128::from(page.get()));
        prop_assert_eq!(plus, (sum <= u128::from(u32::MAX)).then_some(sum));
    }
}
