//! What is written is read again; each capability has one form; a chain is what its picture says.

use proptest::prelude::*;
use siphasher::sip128::SipHasher24;

use super::siphash::{Initial, Start};

use super::*;

fn rights_of(kind: Kind) -> impl Strategy<Value = Rights> {
    any::<u16>().prop_map(move |bits| Rights::from_bits(bits).intersection(kind.rights()))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (1..=Epoch::LAST.bits()).prop_map(Epoch::from_low_bits)
}

fn body() -> impl Strategy<Value = Body> {
    let parts = kind().prop_flat_map(|kind| (Just(kind), rights_of(kind), any::<u32>(), epoch()));
    (parts, any::<u32>()).prop_map(|((kind, rights, index, epoch), count)| {
        // As many as there is room for, or any smaller number.
        let most = (1u64 << 32) - u64::from(index);
        let count = 1 + u64::from(count) % most.min(u64::from(u32::MAX));
        let count = if kind.is_range() { count as u32 } else { 1 };
        Body::of_kind(kind, rights, index, count, epoch).unwrap()
    })
}

fn restriction() -> impl Strategy<Value = Restriction> {
    let value = 0..1u32 << 24;
    prop_oneof![
        any::<u16>().prop_map(|bits| Restriction::Rights(Rights::from_bits(bits))),
        (any::<u32>(), epoch())
            .prop_map(|(index, epoch)| Restriction::Holder(Identity { index, epoch })),
        value
            .clone()
            .prop_map(|value| Restriction::Badge(Badge::new(value).unwrap())),
        value.prop_map(|value| Restriction::Until(Second::new(value).unwrap())),
    ]
}

fn capability() -> impl Strategy<Value = (Body, Vec<Restriction>, Capability)> {
    let chain = prop::collection::vec(restriction(), 0..=MAX_CAVEATS);
    (body(), chain, any::<[u64; 2]>()).prop_map(|(body, chain, key)| {
        let capability = Capability::new(&body, body.seal(Start::under(key, Initial::KNOWN)));
        let narrowed = chain.iter().fold(capability, |capability, restriction| {
            capability.attenuate(*restriction).unwrap()
        });
        (body, chain, narrowed)
    })
}

#[test]
fn kinds_have_codes_and_rights_of_their_own() {
    for code in 0..=u8::MAX {
        let known = Kind::ALL.iter().find(|kind| **kind as u8 == code);
        assert_eq!(Kind::from_code(code), known.copied());
    }
    for kind in Kind::ALL {
        assert!(kind.rights().contains(kind.withheld()));
        // No gaps, so that a missing bit is a missing row.
        assert!(kind.rights().bits().wrapping_add(1).is_power_of_two());
    }
    assert_eq!(PageRights::all().bits(), Kind::Page.rights().bits());
    let withheld = PageRights::RETIRE | PageRights::FREE;
    assert_eq!(Kind::Page.withheld(), withheld.into());
    assert_eq!(Kind::Slice.withheld(), SliceRights::FREE.into());
    assert_eq!(Kind::Block.withheld(), Rights::NONE);
}

#[test]
fn bodies_are_checked() {
    let page = |index, count| Body::new(PageRights::READ, index, count, Epoch::LAST);
    assert!(page(0, 1).is_ok());
    assert!(page(0, u32::MAX).is_ok());
    assert!(page(u32::MAX, 1).is_ok());
    assert_eq!(page(0, 0), Err(Error::Malformed));
    assert_eq!(page(u32::MAX, 2), Err(Error::Malformed));
    assert_eq!(page(2, u32::MAX), Err(Error::Malformed));
    let space = |count| Body::new(SpaceRights::MAP, 1, count, Epoch::LAST);
    assert!(space(1).is_ok());
    assert_eq!(space(0), Err(Error::Malformed));
    assert_eq!(space(2), Err(Error::Malformed));
    let none = Body::new(PageRights::READ, 0, 1, Epoch::NONE);
    assert_eq!(none, Err(Error::Malformed));
    let odd = Body::new(SpaceRights::from_bits_retain(4), 0, 1, Epoch::LAST);
    assert_eq!(odd, Err(Error::Malformed));
}

#[test]
fn values_have_24_bits() {
    assert_eq!(Badge::new(1 << 24), None);
    assert_eq!(Badge::new((1 << 24) - 1), Some(Badge::MAX));
    assert_eq!(Epoch::from_bits(1 << 48), None);
    assert_eq!(Epoch::from_bits((1 << 48) - 1), Some(Epoch::LAST));
}

#[test]
fn seconds_begin() {
    let second = Second::new(7).unwrap();
    assert!(!second.has_begun(6) && second.has_begun(7) && second.has_begun(u64::MAX));
}

/// The form of a chain step as its picture shows it, byte by byte, under another implementation.
#[test]
fn a_chain_step_hashes_what_is_said() {
    let hash = |key: [u64; 2], bytes: &[u8]| {
        let hash = SipHasher24::new_with_keys(key[0], key[1]).hash(bytes);
        [hash.h1, hash.h2]
    };
    let seal = Seal::from_words([3, 4]);
    let badge = Restriction::Badge(Badge::new(0x00cc_bbaa).unwrap());
    let bytes = [0xaa, 0xbb, 0xcc, 3, 2];
    assert_eq!(seal.chain(2, badge).words(), hash([3, 4], &bytes));
    let holder = Restriction::Holder(Identity {
        index: 0x4433_2211,
        epoch: Epoch::from_bits(0xf6f5_f4f3_f2f1).unwrap(),
    });
    let bytes = [
        0x11, 0x22, 0x33, 2, 0x11, 0x22, 0x33, 0x44, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 1,
    ];
    assert_eq!(seal.chain(1, holder).words(), hash([3, 4], &bytes));
    let body = Body::new(
        PageRights::READ | PageRights::FREE,
        0x0403_0201,
        0x0807_0605,
        Epoch::from_bits(0x0e0d_0c0b_0a09).unwrap(),
    );
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0x21, 0, 1];
    assert_eq!(
        body.unwrap()
            .seal(Start::under([5, 6], Initial::KNOWN))
            .words(),
        hash([5, 6], &bytes)
    );
}

#[test]
fn a_step_depends_on_its_position() {
    let seal = Seal::from_words([1, 2]);
    let identity = Identity {
        index: 1,
        epoch: Epoch::LAST,
    };
    for restriction in [
        Restriction::Rights(Rights::NONE),
        Restriction::Holder(identity),
    ] {
        assert_ne!(seal.chain(0, restriction), seal.chain(1, restriction));
    }
}

#[test]
fn seals_are_not_printed() {
    let seal = Seal::from_words([0x0123_4567_89ab_cdef; 2]);
    let body = Body::new(SliceRights::USE, 1, 1, Epoch::LAST).unwrap();
    let badge = Restriction::Badge(Badge::MAX);
    let capability = Capability::new(&body, seal).attenuate(badge).unwrap();
    for text in [format!("{capability:?} {seal:x?}"), format!("{seal:?}")] {
        assert!(!text.contains("cdef") && !text.contains(&0x89ab_cdef_u32.to_string()));
        assert!(!text.contains(&0x0123_4567_89ab_cdef_u64.to_string()));
    }
    assert!(format!("{capability:?}").contains("Badge"));
}

/// Every difference counts, wherever it is and whatever the others are.
#[test]
fn comparison_looks_at_every_bit() {
    let words = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
    let seal = Seal::from_words(words);
    assert_eq!(seal, Seal::from_words(words));
    for one in 0..128 {
        for two in one..128 {
            let mut other = words;
            other[one / 64] ^= 1 << (one % 64);
            if two != one {
                other[two / 64] ^= 1 << (two % 64);
            }
            assert_ne!(seal, Seal::from_words(other));
        }
    }
    // The same difference in both halves does not cancel out.
    assert_ne!(seal, Seal::from_words(words.map(|word| word ^ 0xff)));
}

proptest! {
    #[test]
    fn what_is_written_is_read_again((body, chain, capability) in capability()) {
        prop_assert_eq!(capability.body(), body);
        let caveats: Vec<_> = chain.iter().map(|restriction| restriction.caveat()).collect();
        prop_assert_eq!(capability.caveats().collect::<Vec<_>>(), caveats);
        prop_assert_eq!(Capability::from_words(capability.words()), Ok(capability));
        let bytes = capability.to_bytes();
        prop_assert_eq!(Capability::from_bytes(&bytes), Ok(capability));
        for (at, word) in capability.words().into_iter().enumerate() {
            prop_assert_eq!(&bytes[at * 8..at * 8 + 8], &word.to_le_bytes());
        }
    }

    /// Near misses: whatever is read is written as it was, so there is one form of each.
    #[test]
    fn there_is_one_form_of_each(
        (_, _, capability) in capability(),
        changes in prop::collection::vec((0usize..4, any::<u64>()), 0..3),
        shift in 0u32..64,
    ) {
        let mut words = capability.words();
        for (at, change) in changes {
            words[at] ^= change & (0xff << shift);
        }
        if let Ok(read) = Capability::from_words(words) {
            prop_assert_eq!(read.words(), words);
            let body = read.body();
            let index = u64::from(body.index());
            prop_assert!(body.count() > 0 && index + u64::from(body.count()) <= 1 << 32);
            prop_assert!(body.kind().rights().contains(body.rights()));
            prop_assert!(body.epoch() != Epoch::NONE);
            prop_assert_eq!(words[2] >> 16 & 0xffff, 0);
            prop_assert_eq!(read.caveats().count() as u64, words[2] >> 8 & 0xff);
        }
    }

    #[test]
    fn unused_places_and_reserved_bits_are_zero(
        (_, chain, capability) in capability(),
        bits in 1u32..,
        reserved in 1u64..1 << 16,
    ) {
        let words = capability.words();
        for at in chain.len()..MAX_CAVEATS {
            let mut other = words;
            other[2 + at.div_ceil(2)] |= u64::from(bits) << (32 * ((at + 1) % 2));
            prop_assert_eq!(Capability::from_words(other), Err(Error::Malformed));
        }
        let mut other = words;
        other[2] |= reserved << 16;
        prop_assert_eq!(Capability::from_words(other), Err(Error::Malformed));
        for used in 0..=u8::MAX {
            let mut other = words;
            other[2] = other[2] & !0xff00 | u64::from(used) << 8;
            let good = usize::from(used) == chain.len();
            prop_assert_eq!(Capability::from_words(other).is_ok(), good);
        }
    }

    /// What stands in a used place must be a caveat.
    #[test]
    fn words_that_are_no_caveat_are_refused(
        (_, chain, capability) in capability(),
        tag in prop_oneof![Just(0u32), 5u32..256],
        value in 0..1u32 << 24,
    ) {
        let words = capability.words();
        for at in 0..chain.len() {
            for wrong in [tag << 24 | value, 1 << 24 | 1 << 16 | value, 0] {
                let shift = 32 * ((at + 1) % 2);
                let mut other = words;
                other[2 + at.div_ceil(2)] &= !(0xffff_ffff << shift);
                other[2 + at.div_ceil(2)] |= u64::from(wrong) << shift;
                prop_assert_eq!(Capability::from_words(other), Err(Error::Malformed));
            }
        }
    }

    /// Wild words, and words of which some are capabilities without caveats.
    #[test]
    fn any_words_are_read_or_refused(words: [u64; CAPABILITY_WORDS]) {
        let [extent, stamp, head, _, low, high] = words;
        let tame = [extent, stamp & !(0xfffe << 48), head & 0xf, 0, low, high];
        for words in [words, tame] {
            if let Ok(capability) = Capability::from_words(words) {
                prop_assert_eq!(capability.words(), words);
            }
        }
        let kind = Kind::from_code(tame[2] as u8);
        let (index, count) = (extent & 0xffff_ffff, extent >> 32);
        let good = kind.is_some_and(Kind::is_range) && count > 0 && index + count <= 1 << 32;
        prop_assert_eq!(Capability::from_words(tame).is_ok(), good || count == 1 && kind.is_some());
    }

    #[test]
    fn each_caveat_has_one_word(tag in 0u32..8, value in 0..1u32 << 24, any: u32) {
        for word in [tag << 24 | value, tag << 24 | value & 0xffff, any] {
            let good = match word >> 24 {
                1 => word & 0xff_0000 == 0,
                tag => (2..=4).contains(&tag),
            };
            prop_assert_eq!(Caveat::from_word(word).is_some(), good);
            if let Some(caveat) = Caveat::from_word(word) {
                prop_assert_eq!(caveat.word(), word);
            }
        }
    }

    #[test]
    fn one_look_at_a_word_finds_what_two_find(
        tag in 0u32..8,
        value in 0..1u32 << 24,
        any: u32,
        index: u32,
        epoch in epoch(),
    ) {
        let presenter = Identity { index, epoch };
        let own = 2 << 24 | index & 0xff_ffff;
        for word in [tag << 24 | value, tag << 24 | value & 0xffff, own, any] {
            let caveat = Caveat::from_word(word);
            let found = caveat.and_then(|caveat| caveat.for_presenter(presenter).ok());
            prop_assert_eq!(Caveat::restriction(word, presenter), found);
        }
    }

    #[test]
    fn there_are_three_places((_, chain, capability) in capability(), more in restriction()) {
        let narrowed = capability.attenuate(more);
        prop_assert_eq!(narrowed.is_ok(), chain.len() < MAX_CAVEATS);
        if let Err(error) = narrowed {
            prop_assert_eq!(error, Error::CaveatsFull);
        }
    }

    #[test]
    fn a_hint_tells_who_it_cannot_be(index: u32, epoch in epoch(), other: u32) {
        let caveat = Restriction::Holder(Identity { index, epoch }).caveat();
        let presenter = Identity { index: other, epoch };
        let same = index << 8 == other << 8;
        prop_assert_eq!(caveat.for_presenter(presenter).is_ok(), same);
        let presenter = Identity { index, epoch };
        prop_assert_eq!(caveat.for_presenter(presenter), Ok(Restriction::Holder(presenter)));
    }

    #[test]
    fn equal_means_every_word((_, _, capability) in capability(), bit in 0usize..128) {
        let mut words = capability.words();
        words[4 + bit / 64] ^= 1 << (bit % 64);
        prop_assert_ne!(Capability::from_words(words).unwrap(), capability);
    }
}
