//! Changes that no holder could make: refused, whatever they are and whoever presents them.

use exopi_abi::Capability;
use exopi_abi::capability::{
    Body, CAPABILITY_WORDS, Epoch, Identity, PageRights, Restriction, Rights, Seal, SpaceRights,
};
use exopi_cap::{verify, verify_into, verify_words};
use proptest::prelude::*;

use crate::model::{
    Grant, KEY, TIMES, a_grant, a_restriction, an_identity, badge, epoch, identities, second,
};

type Words = [u64; CAPABILITY_WORDS];

/// Caveats with their words in place.
fn caveat(words: &Words, at: usize) -> u32 {
    (words[2 + at.div_ceil(2)] >> (32 * ((at + 1) % 2))) as u32
}

fn set_caveat(words: &mut Words, at: usize, word: u32) {
    let shift = 32 * ((at + 1) % 2);
    let place = &mut words[2 + at.div_ceil(2)];
    *place = *place & !(0xffff_ffff << shift) | u64::from(word) << shift;
}

/// How many caveats the words say that there are; those that are no capability may say anything.
fn used(words: &Words) -> usize {
    ((words[2] >> 8 & 0xff) as usize).min(3)
}

fn set_used(words: &mut Words, used: usize) {
    words[2] = words[2] & !0xff00 | (used as u64) << 8;
}

/// The words with these caveats and the same body and seal.
fn with_caveats(words: &Words, caveats: &[u32]) -> Words {
    let mut words = *words;
    for at in 0..3 {
        set_caveat(&mut words, at, caveats.get(at).copied().unwrap_or(0));
    }
    set_used(&mut words, caveats.len());
    words
}

/// Whether anybody gets anything by these words at any time. Under Miri, which is slow and looks for other
/// things, one presenter at one time stands for all.
fn opens(words: Words) -> bool {
    let (presenters, times) = if cfg!(miri) {
        (vec![identities()[3]], &TIMES[..1])
    } else {
        (identities(), &TIMES[..])
    };
    presenters.into_iter().any(|presenter| {
        times.iter().any(|now| {
            let slowly = Capability::from_words(words)
                .and_then(|capability| verify(&capability, &KEY, presenter, *now));
            let quickly = verify_words(words, &KEY, presenter, || *now);
            let mut place = None;
            let placed = verify_into(&mut place, words, &KEY, presenter, || *now).copied();
            assert_eq!(placed, quickly, "{words:x?}");
            assert_eq!(quickly, slowly, "{words:x?}");
            quickly.is_ok()
        })
    })
}

/// Capabilities of different form: no caveat to three, each sort, a range and a single object.
fn samples() -> Vec<Grant> {
    let holder = Restriction::Holder(identities()[3]);
    let mask = Restriction::Rights(PageRights::READ.into());
    let first = Restriction::Badge(badge(0xabcdef));
    let time = Restriction::Until(second(2));
    let pages = Body::new(
        PageRights::all(),
        0x0123_4567,
        0x89ab,
        epoch(0x1234_5678_9abc),
    );
    let pages = pages.unwrap();
    let space = Body::new(SpaceRights::MAP, 0, 1, Epoch::LAST).unwrap();
    let grant = |body, chain: &[Restriction]| Grant {
        body,
        chain: chain.to_vec(),
    };
    vec![
        grant(pages, &[]),
        grant(space, &[]),
        grant(pages, &[mask]),
        grant(pages, &[holder]),
        grant(space, &[first, time]),
        grant(pages, &[holder, mask, time]),
        grant(space, &[time, first, holder]),
        grant(pages, &[mask, mask, mask]),
    ]
}

#[test]
fn every_single_bit_change_is_refused() {
    for grant in samples() {
        let words = grant.capability().words();
        assert!(opens(words), "{grant:?}");
        for bit in (0..384).step_by(if cfg!(miri) { 11 } else { 1 }) {
            let mut other = words;
            other[bit / 64] ^= 1 << (bit % 64);
            assert!(!opens(other), "bit {bit} of {grant:?}");
        }
    }
}

#[test]
fn every_change_of_two_bits_is_refused() {
    let step = if cfg!(miri) { 37 } else { 1 };
    for grant in [&samples()[0], &samples()[5]] {
        let words = grant.capability().words();
        for one in (0..384).step_by(step) {
            for two in (one + 1..384).step_by(step) {
                let mut other = words;
                other[one / 64] ^= 1 << (one % 64);
                other[two / 64] ^= 1 << (two % 64);
                let presenter = identities()[3];
                let answer = Capability::from_words(other)
                    .and_then(|capability| verify(&capability, &KEY, presenter, 0));
                assert!(answer.is_err(), "bits {one} and {two}");
            }
        }
    }
}

/// All ways to take some of the caveats in some order, but for the one that was sealed.
#[test]
fn dropping_and_reordering_are_refused() {
    for grant in samples() {
        let words = grant.capability().words();
        let sealed: Vec<_> = (0..used(&words)).map(|at| caveat(&words, at)).collect();
        let mut orders = vec![Vec::new()];
        for _ in 0..3 {
            let longer: Vec<_> = orders
                .iter()
                .flat_map(|order: &Vec<u32>| {
                    sealed
                        .iter()
                        .map(|word| [order.as_slice(), &[*word]].concat())
                })
                .collect();
            orders.extend(longer);
        }
        for order in orders {
            if order != sealed {
                assert!(
                    !opens(with_caveats(&words, &order)),
                    "{order:x?} of {grant:?}"
                );
            }
        }
    }
}

#[test]
fn widening_is_refused() {
    for grant in samples() {
        let words = grant.capability().words();
        for at in 0..used(&words) {
            let word = caveat(&words, at);
            for wider in [
                1 << 24 | 0xffff,
                4 << 24 | 0xff_ffff,
                3 << 24,
                word + 1,
                word | 0xfff,
            ] {
                let mut other = words;
                set_caveat(&mut other, at, wider);
                assert!(other == words || !opens(other), "{wider:x} of {grant:?}");
            }
        }
        // The body's rights, its range to both sides, its epoch.
        for (at, more) in [(1, 0xffff << 48), (0, 1 << 63), (0, 1 << 40), (1, 1)] {
            let mut other = words;
            other[at] |= more;
            assert!(other == words || !opens(other), "{grant:?}");
            let mut other = words;
            other[at] = other[at].wrapping_sub(1);
            assert!(!opens(other), "{grant:?}");
        }
    }
}

/// What a program can do with the bytes that it has.
#[derive(Clone, Debug)]
enum Move {
    /// What it may.
    Attenuate(Restriction),
    /// One step by hand, as if the caveat stood in another place or were the only one.
    ChainAt(u8, Restriction),
    /// A step whose caveat says one environment and whose seal was made for another.
    ChainFor(Identity, Identity),
    Drop(usize),
    Exchange(usize, usize),
    CaveatFrom(usize, usize),
    WordFrom(usize),
    BodyFrom,
    SealFrom,
    Widen(Rights),
    Flip(usize),
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => a_restriction().prop_map(Move::Attenuate),
        2 => (0u8..4, a_restriction()).prop_map(|(at, what)| Move::ChainAt(at, what)),
        1 => (an_identity(), an_identity()).prop_map(|(said, meant)| Move::ChainFor(said, meant)),
        2 => (0usize..3).prop_map(Move::Drop),
        1 => (0usize..3, 0usize..3).prop_map(|(one, two)| Move::Exchange(one, two)),
        1 => (0usize..3, 0usize..3).prop_map(|(to, from)| Move::CaveatFrom(to, from)),
        1 => (0usize..6).prop_map(Move::WordFrom),
        1 => Just(Move::BodyFrom),
        1 => Just(Move::SealFrom),
        1 => any::<u16>().prop_map(|bits| Move::Widen(Rights::from_bits(bits))),
        1 => (0usize..384).prop_map(Move::Flip),
    ]
}

fn seal_of(words: &Words) -> Seal {
    Seal::from_words([words[4], words[5]])
}

/// Writes a caveat behind the others, and a seal made by hand.
fn append(words: &mut Words, restriction: Restriction, seal: Seal) {
    let at = used(words);
    if at < 3 {
        set_caveat(words, at, restriction.caveat().word());
        set_used(words, at + 1);
        [words[4], words[5]] = seal.words();
    }
}

fn carry_out(what: &Move, of: &Words, other: &Words) -> Words {
    let mut words = *of;
    match what {
        Move::Attenuate(restriction) => {
            if let Ok(narrowed) =
                Capability::from_words(words).and_then(|it| it.attenuate(*restriction))
            {
                words = narrowed.words();
            }
        }
        Move::ChainAt(at, restriction) => {
            append(
                &mut words,
                *restriction,
                seal_of(of).chain(*at, *restriction),
            );
        }
        Move::ChainFor(said, meant) => {
            let at = used(of) as u8;
            let seal = seal_of(of).chain(at, Restriction::Holder(*meant));
            append(&mut words, Restriction::Holder(*said), seal);
        }
        Move::Drop(at) => {
            let mut caveats: Vec<_> = (0..used(of)).map(|at| caveat(of, at)).collect();
            if *at < caveats.len() {
                caveats.remove(*at);
            }
            words = with_caveats(of, &caveats);
        }
        Move::Exchange(one, two) => {
            set_caveat(&mut words, *one, caveat(of, *two));
            set_caveat(&mut words, *two, caveat(of, *one));
        }
        Move::CaveatFrom(to, from) => set_caveat(&mut words, *to, caveat(other, *from)),
        Move::WordFrom(at) => words[*at] = other[*at],
        Move::BodyFrom => {
            (words[0], words[1]) = (other[0], other[1]);
            words[2] = words[2] & !0xff | other[2] & 0xff;
        }
        Move::SealFrom => (words[4], words[5]) = (other[4], other[5]),
        Move::Widen(rights) => words[1] |= u64::from(rights.bits()) << 48,
        Move::Flip(bit) => words[bit / 64] ^= 1 << (bit % 64),
    }
    words
}

/// Whether what `capability` says before `presenter` follows from something that was granted.
fn follows(granted: &[Grant], capability: &Capability, presenter: Identity) -> bool {
    let chain: Vec<_> = capability
        .caveats()
        .map(|caveat| caveat.for_presenter(presenter).unwrap())
        .collect();
    granted
        .iter()
        .any(|grant| grant.body == capability.body() && chain.starts_with(&grant.chain))
}

proptest! {
    /// A program that was granted two capabilities, and tries what it likes. What opens anything must follow
    /// from one of them: the same body, and all its caveats first.
    #[test]
    fn nothing_is_gained_by_any_moves(
        granted in prop::collection::vec(a_grant(), 2),
        moves in prop::collection::vec((a_move(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..24),
    ) {
        let mut known: Vec<_> = granted.iter().map(|grant| grant.capability().words()).collect();
        for (what, of, other) in moves {
            let made = carry_out(&what, of.get(&known), other.get(&known));
            known.push(made);
            let Ok(capability) = Capability::from_words(made) else {
                continue;
            };
            for presenter in identities() {
                for now in TIMES {
                    if verify(&capability, &KEY, presenter, now).is_ok() {
                        prop_assert!(follows(&granted, &capability, presenter), "{:?}", what);
                    }
                }
            }
        }
    }

    #[test]
    fn random_seals_open_nothing(grant in a_grant(), seal: [u64; 2]) {
        let mut words = grant.capability().words();
        [words[4], words[5]] = seal;
        prop_assert!(!opens(words));
    }

    /// One genuine half of a seal is no better than none.
    #[test]
    fn half_a_seal_opens_nothing(grant in a_grant(), half: u64, which in 4usize..6) {
        let mut words = grant.capability().words();
        prop_assume!(words[which] != half);
        words[which] = half;
        prop_assert!(!opens(words));
    }
}
