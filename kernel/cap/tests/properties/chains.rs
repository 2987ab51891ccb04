//! Chains that were made as they should be: they allow what a naive reading allows, and to nobody else.

use exopi_abi::Error;
use exopi_abi::capability::{Body, Identity, PageRights, Restriction};
use exopi_cap::{Key, verify};
use proptest::prelude::*;

use crate::model::{
    Grant, KEY, TIMES, a_grant, a_restriction, badge, epoch, identities, said, second,
};

const ME: Identity = Identity {
    index: 7,
    epoch: exopi_abi::capability::Epoch::LAST,
};

fn pages(chain: &[Restriction]) -> Grant {
    let rights = PageRights::READ | PageRights::WRITE;
    Grant {
        body: Body::new(rights, 100, 8, epoch(42)).unwrap(),
        chain: chain.to_vec(),
    }
}

proptest! {
    /// Random chains, before every presenter and at every time.
    #[test]
    fn a_chain_allows_what_it_says(grant in a_grant()) {
        let capability = grant.capability();
        for presenter in identities() {
            for now in TIMES {
                let answer = verify(&capability, &KEY, presenter, now);
                prop_assert_eq!(answer.map(said), grant.allows(presenter, now));
                if let Ok(verified) = answer {
                    let body = grant.body;
                    prop_assert_eq!(verified.kind(), body.kind());
                    prop_assert_eq!(verified.index(), body.index());
                    prop_assert_eq!(verified.count(), body.count());
                    prop_assert_eq!(verified.epoch(), body.epoch());
                    prop_assert_eq!(verified.presenter(), presenter);
                }
            }
        }
    }

    /// One caveat more never gives anybody anything.
    #[test]
    fn attenuation_only_takes_away(grant in a_grant(), more in a_restriction()) {
        let capability = grant.capability();
        let Ok(narrowed) = capability.attenuate(more) else {
            prop_assert_eq!(grant.chain.len(), 3);
            return Ok(());
        };
        for presenter in identities() {
            for now in TIMES {
                let before = verify(&capability, &KEY, presenter, now);
                if let Ok(after) = verify(&narrowed, &KEY, presenter, now) {
                    let before = before.unwrap();
                    prop_assert!(before.all_rights().contains(after.all_rights()));
                    prop_assert!(before.badge().is_none() || after.badge() == before.badge());
                    prop_assert!(before.until().is_none() || after.until() <= before.until());
                    prop_assert!(after.is_held() || !before.is_held());
                }
            }
        }
    }

    #[test]
    fn another_boots_key_opens_nothing(grant in a_grant(), key: [u64; 2]) {
        let now = 0;
        for presenter in identities() {
            prop_assert!(verify(&grant.capability(), &Key::new(key), presenter, now).is_err());
        }
    }
}

#[test]
fn the_first_badge_sealed_counts() {
    let chain = [3, 9, 0].map(|value| Restriction::Badge(badge(value)));
    for length in 1..=3 {
        let capability = pages(&chain[..length]).capability();
        let verified = verify(&capability, &KEY, ME, 0).unwrap();
        assert_eq!(verified.badge(), Some(badge(3)));
    }
    // Badge 0 is a badge, and not the lack of one.
    let zero = [badge(0), badge(5)].map(Restriction::Badge);
    let verified = verify(&pages(&zero).capability(), &KEY, ME, 0).unwrap();
    assert_eq!(verified.badge(), Some(badge(0)));
    let verified = verify(&pages(&[]).capability(), &KEY, ME, 0).unwrap();
    assert_eq!(verified.badge(), None);
}

#[test]
fn the_earliest_time_counts() {
    let at = |value| Restriction::Until(second(value));
    let last = (1 << 24) - 1;
    for (chain, end) in [
        (vec![at(10)], 10),
        (vec![at(10), at(20)], 10),
        (vec![at(20), at(10), at(15)], 10),
        (vec![at(last)], u64::from(last)),
    ] {
        let capability = pages(&chain).capability();
        let ok = verify(&capability, &KEY, ME, end - 1).unwrap();
        assert_eq!(ok.until().map(|second| u64::from(second.get())), Some(end));
        assert_eq!(ok.in_time(end - 1), Ok(()));
        assert_eq!(ok.in_time(end), Err(Error::Expired));
        for now in [end, end + 1, end + (1 << 24), u64::MAX] {
            let late = verify(&capability, &KEY, ME, now);
            assert_eq!(late.err(), Some(Error::Expired));
        }
    }
    let never = pages(&[at(0)]).capability();
    assert_eq!(verify(&never, &KEY, ME, 0).err(), Some(Error::Expired));
}

#[test]
fn a_holder_is_an_index_and_an_epoch() {
    let capability = pages(&[Restriction::Holder(ME)]).capability();
    let verified = verify(&capability, &KEY, ME, 0).unwrap();
    assert!(verified.is_held());
    let answer = |index, bits| {
        let presenter = Identity {
            index,
            epoch: epoch(bits),
        };
        verify(&capability, &KEY, presenter, 0).err()
    };
    let mine = ME.epoch.bits();
    // A hint that does not fit is told, and nothing else is looked at.
    for bit in 0..24 {
        assert_eq!(answer(7 ^ 1 << bit, mine), Some(Error::WrongHolder));
        assert_eq!(answer(7 ^ 1 << bit, 3), Some(Error::WrongHolder));
    }
    // The same hint, and another environment.
    for bit in 24..32 {
        assert_eq!(answer(7 ^ 1 << bit, mine), Some(Error::WrongSeal));
    }
    for bit in 0..48 {
        assert_eq!(answer(7, mine ^ 1 << bit), Some(Error::WrongSeal));
    }
}

#[test]
fn two_holders_are_nobody() {
    let other = Identity {
        index: 8,
        epoch: epoch(1),
    };
    let capability = pages(&[Restriction::Holder(ME), Restriction::Holder(other)]).capability();
    for presenter in [ME, other] {
        let answer = verify(&capability, &KEY, presenter, 0);
        assert_eq!(answer.err(), Some(Error::WrongHolder));
    }
}

/// Nobody learns from `Expired` or a mask that a forged capability would otherwise be good.
#[test]
fn a_wrong_seal_is_told_before_the_time() {
    let mut words = pages(&[Restriction::Until(second(5))]).capability().words();
    words[4] ^= 1;
    let forged = exopi_abi::Capability::from_words(words).unwrap();
    let answer = verify(&forged, &KEY, ME, 9);
    assert_eq!(answer.err(), Some(Error::WrongSeal));
}
