//! What is encoded is decoded again; what cannot be meant is refused.

use proptest::prelude::*;

use super::user::memory_end;
use super::*;
use crate::capability::{CAPABILITY_BYTES, Capability, Epoch, Kind};
use crate::domain::{ObjectName, Resource};
use crate::layout::USER_END;
use crate::page::MAX_COLOURS;
use crate::page::Owner;
use crate::uarea::UpcallClass;

fn through<T: Argument>(value: T) -> Result<T, Error> {
    let mut into = Arguments::new([0; 6]);
    value.encode(&mut into);
    T::decode(&mut Arguments::new(into.words()))
}

fn decode<T: Argument>(word: u64) -> Result<T, Error> {
    T::decode(&mut Arguments::new([word; 6]))
}

/// A word as a hostile program would choose it: any, or near to what some argument could mean.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(0),
        (any::<u64>(), 0..64u32).prop_map(|(word, shift)| word >> shift),
        (0..8u64, any::<u64>(), 0..64u32)
            .prop_map(|(form, word, shift)| form << FORM_SHIFT | word >> shift >> 8),
        (0..16u64).prop_map(|word| word),
        (layout::USER_START / PAGE_SIZE..USER_END / PAGE_SIZE).prop_map(|page| page * PAGE_SIZE),
        (0..64u64).prop_map(|back| memory_end() - back),
    ]
}

/// Argument registers, each as [`word`] has them.
pub(crate) fn words() -> impl Strategy<Value = [u64; 6]> {
    prop::array::uniform6(word())
}

/// Whether words decode to a value that encodes to the same words, or are refused with an error that the
/// type names. Either way no more registers are looked at than the type says.
fn law<T: Argument>(words: [u64; 6]) -> Result<(), TestCaseError> {
    let mut from = Arguments::new(words);
    match T::decode(&mut from) {
        Ok(value) => {
            prop_assert_eq!(from.consumed(), T::WORDS);
            let mut into = Arguments::new([0; 6]);
            value.encode(&mut into);
            prop_assert_eq!(into.consumed(), T::WORDS);
            prop_assert_eq!(&into.words()[..T::WORDS], &words[..T::WORDS]);
        }
        Err(error) => {
            prop_assert!(T::REFUSALS.contains(&error), "{}", error);
            prop_assert!(from.consumed() <= T::WORDS);
        }
    }
    Ok(())
}

#[test]
fn small_types_accept_their_values_alone() {
    for word in 0..256u64 {
        assert_eq!(decode::<Access>(word).is_ok(), word < 8 && word & 1 == 1);
        assert_eq!(decode::<TableLevel>(word).is_ok(), word == 2 || word == 3);
        assert_eq!(decode::<OnRefusal>(word).is_ok(), word < 2);
        assert_eq!(decode::<UpcallClass>(word).is_ok(), word < 5);
        assert_eq!(decode::<Resource>(word).is_ok(), word < 7);
        let kind = Kind::from_code(word as u8);
        assert_eq!(decode::<Kind>(word).ok(), kind);
        assert_eq!(decode::<Kind>(word | 0x100), Err(Error::Malformed));
    }
    for access in Access::POSSIBLE {
        assert_eq!(through(access), Ok(access));
    }
}

#[test]
fn the_same_word_is_no_object_and_a_page_or_the_other_way_round() {
    assert_eq!(decode::<Object<'_>>(0), Ok(Object::Own));
    // Null is nobody's capability: it is what an object that is one's own travels as.
    let name = ObjectName::from_word(0);
    assert_eq!(through(Object::Owned(name)), Ok(Object::Owned(name)));
    assert_eq!(decode::<Object<'_>>(4), Err(Error::BadAddress));
    let place = Capability::from_words([1 << 32, 1, 1, 0, 0, 0]).unwrap();
    let presented = Object::Presented((&place).into());
    assert_eq!(through(presented), Ok(presented));
    assert_ne!(through(presented), Ok(Object::Own));
}

proptest! {
    #[test]
    fn words_decode_to_what_encodes_to_them(words in words()) {
        law::<u64>(words)?;
        law::<u32>(words)?;
        law::<u16>(words)?;
        law::<Access>(words)?;
        law::<Kind>(words)?;
        law::<Note>(words)?;
        law::<Object<'_>>(words)?;
        law::<OnRefusal>(words)?;
        law::<Owner>(words)?;
        law::<PageNumber>(words)?;
        law::<PageRun<'_>>(words)?;
        law::<PageSelect>(words)?;
        law::<PageSource<'_>>(words)?;
        law::<TableLevel>(words)?;
        law::<UpcallClass>(words)?;
        law::<UserBytes<'_>>(words)?;
        law::<UserBytesMut<'_>>(words)?;
        law::<UserCapability<'_>>(words)?;
        law::<UserCapabilityMut<'_>>(words)?;
        law::<UserOperations<'_>>(words)?;
        law::<VirtAddr>(words)?;
    }

    #[test]
    fn pages_survive(number: u32, colour in 0..MAX_COLOURS as u8) {
        let page = PageNumber::new(number);
        let place = Capability::from_words([1 << 32, 1, 1, 0, 0, 0]).unwrap();
        prop_assert_eq!(through(page), Ok(page));
        for select in [PageSelect::Exact(page), PageSelect::Any, PageSelect::Colour(colour)] {
            prop_assert_eq!(through(select), Ok(select));
            prop_assert_eq!(through(PageSource::New(select)), Ok(PageSource::New(select)));
        }
        for run in [PageRun::Owned(page), PageRun::Presented(page, (&place).into())] {
            prop_assert_eq!(through(run), Ok(run));
            prop_assert_eq!(through(PageSource::Run(run)), Ok(PageSource::Run(run)));
        }
        prop_assert_eq!(PageSource::owned(page), PageSource::Run(PageRun::Owned(page)));
    }

    #[test]
    fn words_that_are_no_page_are_refused(word in 1u64 << 32..1 << FORM_SHIFT) {
        prop_assert_eq!(decode::<PageNumber>(word), Err(Error::OutOfRange));
        let second_zero = |word| Arguments::new([word, 0, 0, 0, 0, 0]);
        let refused = Err(Error::OutOfRange);
        prop_assert_eq!(PageSource::decode(&mut second_zero(word)), refused);
        prop_assert_eq!(PageRun::decode(&mut second_zero(word)), Err(Error::OutOfRange));
        prop_assert_eq!(decode::<PageSelect>(word), Err(Error::OutOfRange));
    }

    #[test]
    fn colours_are_those_that_frames_can_have(colour: u64, small in 0..2 * MAX_COLOURS as u64) {
        for colour in [colour, small, MAX_COLOURS as u64] {
            let word = 2 << FORM_SHIFT | formless(colour);
            let good = formless(colour) < MAX_COLOURS as u64;
            prop_assert_eq!(decode::<PageSelect>(word).is_ok(), good);
        }
    }

    #[test]
    fn addresses_are_of_the_user_space_that_programs_map(word: u64) {
        for word in [word, word % USER_END, word % USER_END / PAGE_SIZE * PAGE_SIZE] {
            let mappable = (layout::USER_START..layout::TABLES_BASE).contains(&word);
            let good = mappable && word % PAGE_SIZE == 0;
            prop_assert_eq!(decode::<VirtAddr>(word).is_ok(), good);
        }
    }

    #[test]
    fn ranges_lie_in_user_space(
        address in prop_oneof![any::<u64>(), 0..memory_end(), (0..256u64).prop_map(|back| memory_end() - back)],
        length in prop_oneof![any::<u64>(), 0..8u64],
    ) {
        let ends = |bytes: u64| u128::from(address) + u128::from(bytes) * u128::from(length);
        let registers = &Arguments::new([address, length, 0, 0, 0, 0]);
        let bytes = UserBytes::decode(&mut registers.clone());
        prop_assert_eq!(bytes.is_ok(), ends(1) <= u128::from(memory_end()));
        let operations = UserOperations::decode(&mut registers.clone());
        let good = ends(size_of::<Operation>() as u64) <= u128::from(memory_end());
        prop_assert_eq!(operations.is_ok(), good && address % 8 == 0);
    }

    #[test]
    fn capabilities_lie_in_user_space_to_the_last_byte(address: u64, back in 0..128u64) {
        for address in [address, address % memory_end(), memory_end() - back] {
            let inside = address <= memory_end() - CAPABILITY_BYTES as u64;
            let good = inside && address % 8 == 0;
            prop_assert_eq!(decode::<UserCapability<'_>>(address).is_ok(), good);
            prop_assert_eq!(decode::<UserCapabilityMut<'_>>(address).is_ok(), good);
        }
    }

    /// An owned object travels with less of its epoch than it has: what arrives is told by the record.
    #[test]
    fn owned_objects_are_known_by_what_travels(index: u16, epoch: u64, other: u64) {
        let of = |epoch| ObjectName { index, epoch: Epoch::from_low_bits(epoch) };
        let (name, other) = (of(epoch), of(other));
        let Ok(Object::Owned(told)) = through(Object::Owned(name)) else {
            return Err(TestCaseError::fail("another form"));
        };
        prop_assert!(name.is_told(told));
        let travels = |name: ObjectName| name.epoch.bits() & ((1 << Object::EPOCH_BITS) - 1);
        prop_assert_eq!(other.is_told(told), travels(other) == travels(name));
        let neighbour = ObjectName { index: index ^ 1, ..name };
        prop_assert!(!neighbour.is_told(told));
    }

    #[test]
    fn notes_come_back_from_their_entries(value: u64) {
        let note = Note::new(value);
        prop_assert_eq!(note.is_some(), value >> 63 == 0);
        if let Some(note) = note {
            prop_assert_eq!(note.entry() & 1, 0);
            prop_assert_eq!(Note::of_entry(note.entry()), note);
            prop_assert_eq!(note.get(), value);
        }
    }

    #[test]
    fn page_arithmetic_never_wraps(number: u32, count: u64) {
        let sum = u128::from(number) + u128::from(count);
        let plus = PageNumber::new(number).plus(count).map(|page| u128::from(page.get()));
        prop_assert_eq!(plus, (sum <= u128::from(u32::MAX)).then_some(sum));
    }
}

#[test]
fn a_batch_is_bounded_by_what_its_operations_cost() {
    use crate::Call;
    use crate::page::{ALLOC_BOUND, BATCH_MAPPINGS, SUPERPAGE_BOUND};

    let new = 3 << 56;
    let weight =
        |call, source, count, done| Operation::weight(Some(call), [0, source, 0, count, 0], done);
    assert_eq!(weight(Call::insert_pte, 5, 9, 9), 9);
    assert_eq!(
        weight(Call::insert_pte, new, ALLOC_BOUND, ALLOC_BOUND),
        BATCH_MAPPINGS
    );
    let access = u64::from(Access::EXECUTE.bits() | Access::READ.bits());
    let executable = |call, arguments| Operation::weight(Some(call), arguments, 32);
    let owned = [0, 5, 0, 32, access];
    assert_eq!(executable(Call::insert_pte, owned), BATCH_MAPPINGS);
    let protected = [0, 32, access, 0, 0];
    assert_eq!(executable(Call::protect_pte, protected), BATCH_MAPPINGS);
    let new_ones = [0, new, 0, 32, access];
    assert_eq!(executable(Call::insert_pte, new_ones), 32 * 8);
    // A capability is verified whatever becomes of the pages.
    let presented = 1 << 56 | 5;
    assert_eq!(weight(Call::insert_pte, presented, 9, 0), 16 + 1);
    assert_eq!(weight(Call::insert_superpage, presented, 1, 1), 16 + 64);
    // Superpages cost what was asked for, even if the last page is the one that is refused.
    assert_eq!(
        weight(Call::insert_superpage, 5, SUPERPAGE_BOUND, 0),
        BATCH_MAPPINGS
    );
    assert_eq!(
        weight(Call::insert_superpage, 5, u64::MAX, 0),
        BATCH_MAPPINGS
    );
    // What is refused at once has been looked at.
    assert_eq!(weight(Call::remove_pte, 0, 0, 0), 1);
    assert_eq!(Operation::weight(None, [0; 5], 0), 1);
}
