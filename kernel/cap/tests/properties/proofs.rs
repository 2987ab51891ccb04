//! What a proof says yes and no to.

use exopi_abi::Error;
use exopi_abi::capability::{
    AccountRights, BlockRights, Body, Capability, EnvironmentRights, Epoch, ExtentRights,
    FilterRights, Kind, KindRights, PageRights, PrincipalRights, Rights, SendRights, SliceRights,
    SpaceRights,
};
use exopi_cap::{Verified, seal, verify};
use proptest::prelude::*;

use crate::model::{KEY, a_good_grant, a_grant, epoch, identities};

fn verified(body: &Body) -> Verified {
    verify(&seal(body, &KEY), &KEY, identities()[0], 0).unwrap()
}

/// Asks for each right of `R`, and for all, of a capability of each kind.
fn ask<R: KindRights>() {
    for kind in Kind::ALL {
        let body = Body::of_kind(*kind, kind.rights(), 3, 1, epoch(1)).unwrap();
        let full = verified(&body);
        let right = *kind == R::KIND;
        let expected = if right { Ok(()) } else { Err(Error::WrongKind) };
        assert_eq!(full.require(R::all()), expected);
        assert_eq!(full.require(R::empty()), expected);
        assert_eq!(full.rights::<R>().is_ok(), right);
        // The same bits under another kind's code are not the same capability.
        let mut words = seal(&body, &KEY).words();
        words[2] = words[2] & !0xff | R::KIND as u64;
        let other = Capability::from_words(words)
            .and_then(|capability| verify(&capability, &KEY, identities()[0], 0));
        assert_eq!(other.is_ok(), right);
    }
    for given in 0..16 {
        let given = Rights::from_bits(1 << given);
        if !R::KIND.rights().contains(given) {
            continue;
        }
        let body = Body::of_kind(R::KIND, given, 3, 1, epoch(1)).unwrap();
        let verified = verified(&body);
        // One right at a time, and with another one that is missing.
        for asked in 0..16 {
            for asked in [1 << asked, 1 << asked | given.bits()] {
                let answer = verified.require(R::from_bits_retain(asked));
                let good = asked == given.bits();
                let expected = if good {
                    Ok(())
                } else {
                    Err(Error::MissingRight)
                };
                assert_eq!(answer, expected);
            }
        }
    }
}

#[test]
fn kinds_and_rights_are_not_confused() {
    ask::<PageRights>();
    ask::<SpaceRights>();
    ask::<EnvironmentRights>();
    ask::<AccountRights>();
    ask::<FilterRights>();
    ask::<SendRights>();
    ask::<ExtentRights>();
    ask::<BlockRights>();
    ask::<SliceRights>();
    ask::<PrincipalRights>();
}

#[test]
fn ranges_end_where_they_end() {
    for (first, count) in [
        (0, 1),
        (0, u32::MAX),
        (u32::MAX, 1),
        (u32::MAX - 4, 5),
        (9, 3),
    ] {
        let body = Body::new(PageRights::READ, first, count, epoch(6)).unwrap();
        let verified = verified(&body);
        let last = first + (count - 1);
        for index in [0, 1, 8, 9, 10, 11, 12, u32::MAX - 5, u32::MAX - 4, u32::MAX] {
            let inside = (first..=last).contains(&index);
            let expected = if inside {
                Ok(())
            } else {
                Err(Error::OutOfRange)
            };
            assert_eq!(verified.covers(index, epoch(6)), expected);
            for other in [Epoch::NONE, epoch(5), epoch(7), Epoch::LAST] {
                let expected = if inside {
                    Err(Error::Stale)
                } else {
                    Err(Error::OutOfRange)
                };
                assert_eq!(verified.covers(index, other), expected);
            }
        }
    }
}

proptest! {
    #[test]
    fn coverage_is_item_by_item(
        grant in a_grant(),
        index in 0u32..10,
        stamp in 0u64..4,
    ) {
        let verified = verified(&grant.body);
        let body = grant.body;
        let objects: Vec<_> = (0..body.count()).map(|item| body.index() + item).collect();
        let expected = match (objects.contains(&index), stamp == body.epoch().bits()) {
            (false, _) => Err(Error::OutOfRange),
            (true, false) => Err(Error::Stale),
            (true, true) => Ok(()),
        };
        prop_assert_eq!(verified.covers(index, epoch(stamp)), expected);
    }

    #[test]
    fn what_is_lent_ends_nothing((grant, presenter) in a_good_grant()) {
        let verified = verify(&grant.capability(), &KEY, presenter, 0).unwrap();
        let ends = verified.kind().withheld();
        let lent = verified.lendable();
        prop_assert_eq!(lent.intersection(ends), Rights::NONE);
        prop_assert!(verified.all_rights().contains(lent));
        let kept = verified.all_rights().difference(lent);
        prop_assert!(ends.contains(kept));
    }
}
