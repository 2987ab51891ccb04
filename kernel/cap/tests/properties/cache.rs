//! A cache answers as verification does, whatever it has seen before.

use exopi_abi::Capability;
use exopi_abi::capability::{Identity, Restriction};
use exopi_cap::{Cache, verify};
use proptest::prelude::*;

use crate::model::{Grant, KEY, TIMES, a_grant, a_time, an_identity, identities, second};

/// A genuine capability, or one that looks like it.
fn presented(grants: &[Grant], which: usize, flip: Option<usize>) -> Option<Capability> {
    let mut words = grants[which % grants.len()].capability().words();
    if let Some(bit) = flip {
        words[bit / 64] ^= 1 << (bit % 64);
    }
    Capability::from_words(words).ok()
}

type Step = (usize, Option<usize>, Identity, u64);

/// Mostly genuine and mostly one presenter, so that there are hits.
fn a_step() -> impl Strategy<Value = Step> {
    let flip = prop_oneof![2 => Just(None), 1 => (0usize..384).prop_map(Some)];
    let presenter = prop_oneof![2 => Just(identities()[0]), 1 => an_identity()];
    (0usize..3, flip, presenter, a_time())
}

fn same_as_verification<const N: usize>(grants: &[Grant], steps: &[Step]) {
    let mut cache = Cache::<N>::new(&KEY);
    for (which, flip, presenter, now) in steps {
        let Some(capability) = presented(grants, *which, *flip) else {
            continue;
        };
        let answer = cache.verify(&capability, *presenter, *now);
        assert_eq!(answer, verify(&capability, &KEY, *presenter, *now));
    }
}

proptest! {
    #[test]
    fn answers_are_those_of_verification(
        grants in prop::collection::vec(a_grant(), 3),
        steps in prop::collection::vec(a_step(), 0..40),
    ) {
        same_as_verification::<2>(&grants, &steps);
        if !cfg!(miri) {
            same_as_verification::<0>(&grants, &steps);
            same_as_verification::<1>(&grants, &steps);
            same_as_verification::<4>(&grants, &steps);
        }
    }
}

/// Every look-alike of what is in the cache, for everybody, and the genuine one after its time.
#[test]
fn nothing_near_an_entry_is_taken_for_it() {
    let me = identities()[0];
    for chain in [
        vec![],
        vec![Restriction::Holder(me), Restriction::Until(second(3))],
    ] {
        let body = exopi_abi::capability::Body::new(
            exopi_abi::capability::PageRights::READ,
            1,
            1,
            crate::model::epoch(1),
        );
        let grant = Grant {
            body: body.unwrap(),
            chain,
        };
        let capability = grant.capability();
        let mut cache = Cache::<2>::new(&KEY);
        for now in [0, 2] {
            assert!(cache.verify(&capability, me, now).is_ok());
        }
        for bit in (0..384).step_by(if cfg!(miri) { 11 } else { 1 }) {
            if let Some(other) = presented(std::slice::from_ref(&grant), 0, Some(bit)) {
                assert!(cache.verify(&other, me, 0).is_err(), "bit {bit}");
            }
        }
        for presenter in identities() {
            for now in TIMES {
                let answer = cache.verify(&capability, presenter, now);
                assert_eq!(answer, verify(&capability, &KEY, presenter, now));
            }
        }
    }
}
