//! What is issued from a capability is not more than that capability, for anybody.

use exopi_abi::Error;
use exopi_abi::capability::{Body, Identity, Kind, PageRights, Restriction, Rights, SliceRights};
use exopi_cap::{Verified, seal, verify};
use proptest::prelude::*;

use crate::model::{
    Grant, KEY, TIMES, a_good_grant, a_restriction, epoch, identities, said, some_rights,
};

fn presented(grant: &Grant, presenter: Identity) -> Verified {
    verify(&grant.capability(), &KEY, presenter, 0).unwrap()
}

/// Whether what `less` allows `presenter` at `now` is allowed by `more` too.
fn at_most(less: &Verified, more: &Verified) -> bool {
    more.all_rights().contains(less.all_rights())
        && (more.badge().is_none() || less.badge() == more.badge())
        && (more.until().is_none() || less.until().is_some_and(|end| Some(end) <= more.until()))
        && (less.is_held() || !more.is_held())
}

fn objects(verified: &Verified) -> Vec<u32> {
    (0..verified.count())
        .map(|item| verified.index() + item)
        .collect()
}

proptest! {
    #[test]
    fn issued_is_at_most_what_was_presented(
        (grant, presenter) in a_good_grant(),
        (skipped, count) in (0u32..3, 0u32..4),
        rights in some_rights(),
        further in prop::collection::vec(a_restriction(), 0..2),
    ) {
        let from = presented(&grant, presenter);
        // Mostly inside, or beyond the end, or one before the begin.
        let index = (from.index() + skipped).saturating_sub(u32::from(count == 1));
        let issued = from.issue(&KEY, index, count, rights, &further);
        let covered = (0..count).all(|item| objects(&from).contains(&(index + item)));
        let expected = if count == 0 {
            Some(Error::BadCount)
        } else if !covered {
            Some(Error::OutOfRange)
        } else if grant.chain.len() + further.len() > 3 {
            Some(Error::CaveatsFull)
        } else {
            None
        };
        prop_assert_eq!(issued.err(), expected);
        let Ok(issued) = issued else {
            return Ok(());
        };
        // It says what was asked for, of what there was.
        let model = Grant {
            body: Body::of_kind(
                grant.body.kind(),
                from.all_rights().intersection(rights),
                index,
                count,
                grant.body.epoch(),
            ).unwrap(),
            chain: [grant.chain.as_slice(), &further].concat(),
        };
        prop_assert_eq!(issued, model.capability());
        // And that is no more, before anybody and at any time.
        for presenter in identities() {
            for now in TIMES {
                let Ok(after) = verify(&issued, &KEY, presenter, now) else {
                    continue;
                };
                prop_assert_eq!(said(after), model.allows(presenter, now).unwrap());
                let before = verify(&grant.capability(), &KEY, presenter, now);
                let before = before.unwrap();
                prop_assert!(at_most(&after, &before));
                prop_assert_eq!(after.kind(), before.kind());
                for object in objects(&after) {
                    prop_assert_eq!(before.covers(object, after.epoch()), Ok(()));
                }
            }
        }
    }

    #[test]
    fn a_child_is_as_bound_as_its_parent(
        (grant, presenter) in a_good_grant(),
        index: u32,
        rights in some_rights(),
        further in prop::collection::vec(a_restriction(), 0..2),
    ) {
        let from = presented(&grant, presenter);
        let issued = from.issue_child(&KEY, index, epoch(77), rights, &further);
        prop_assert_eq!(issued.is_ok(), grant.chain.len() + further.len() <= 3);
        let Ok(issued) = issued else {
            return Ok(());
        };
        for presenter in identities() {
            for now in TIMES {
                let Ok(after) = verify(&issued, &KEY, presenter, now) else {
                    continue;
                };
                let before = verify(&grant.capability(), &KEY, presenter, now).unwrap();
                prop_assert!(at_most(&after, &before));
                prop_assert!(rights.contains(after.all_rights()));
                prop_assert_eq!(after.kind(), before.kind());
                prop_assert_eq!((after.index(), after.count()), (index, 1));
                prop_assert_eq!(after.epoch(), epoch(77));
            }
        }
    }
}

#[test]
fn rights_that_end_an_object_are_named_or_absent() {
    let body = Body::new(PageRights::all(), 0, 9, epoch(1)).unwrap();
    let presenter = identities()[0];
    let from = verify(&seal(&body, &KEY), &KEY, presenter, 0).unwrap();
    let issued = |rights| {
        let capability = from.issue(&KEY, 2, 3, rights, &[]).unwrap();
        let verified = verify(&capability, &KEY, presenter, 0).unwrap();
        verified.rights::<PageRights>().unwrap()
    };
    let ending = PageRights::RETIRE | PageRights::FREE;
    assert_eq!(issued(from.lendable()), PageRights::all() - ending);
    assert_eq!(issued(PageRights::FREE.into()), PageRights::FREE);
    assert_eq!(issued(Kind::Page.rights()), PageRights::all());
}

#[test]
fn ranges_at_the_end_of_numbers() {
    let body = Body::new(PageRights::READ, u32::MAX - 2, 3, epoch(1)).unwrap();
    let from = verify(&seal(&body, &KEY), &KEY, identities()[0], 0).unwrap();
    let issue = |index, count| from.issue(&KEY, index, count, Rights::NONE, &[]).err();
    assert_eq!(issue(u32::MAX, 1), None);
    assert_eq!(issue(u32::MAX - 2, 3), None);
    for (index, count) in [
        (u32::MAX, 2),
        (u32::MAX - 2, 4),
        (u32::MAX - 3, 1),
        (u32::MAX - 2, u32::MAX),
        (0, 1),
        (0, u32::MAX),
    ] {
        assert_eq!(issue(index, count), Some(Error::OutOfRange));
    }
}

/// A copy for somebody else cannot be had through the kernel from what one environment holds.
#[test]
fn what_one_holds_is_not_passed_on() {
    let (me, other) = (identities()[0], identities()[2]);
    let grant = Grant {
        body: Body::new(SliceRights::all(), 4, 1, epoch(1)).unwrap(),
        chain: vec![Restriction::Holder(me)],
    };
    let from = presented(&grant, me);
    let plain = from.issue(&KEY, 4, 1, from.all_rights(), &[]).unwrap();
    assert!(verify(&plain, &KEY, me, 0).is_ok());
    assert!(verify(&plain, &KEY, other, 0).is_err());
    let holder = [Restriction::Holder(other)];
    let passed = from.issue(&KEY, 4, 1, from.all_rights(), &holder).unwrap();
    for presenter in [me, other] {
        assert!(verify(&passed, &KEY, presenter, 0).is_err());
    }
}
