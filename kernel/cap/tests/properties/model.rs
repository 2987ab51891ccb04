//! The naive model: a grant is a body and a list of restrictions, read one after the other. No seals.

use exopi_abi::Error;
use exopi_abi::capability::{
    Badge, Body, Capability, Epoch, Identity, Kind, MAX_CAVEATS, Restriction, Rights, Second,
};
use exopi_cap::{Key, Verified, seal};
use proptest::prelude::*;

/// The key of all tests.
pub const KEY: Key = Key::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);

/// What was said in words.
#[derive(Clone, Debug)]
pub struct Grant {
    pub body: Body,
    pub chain: Vec<Restriction>,
}

/// What somebody may do with it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub rights: Rights,
    pub badge: Option<Badge>,
    pub until: Option<Second>,
    pub held: bool,
}

impl Grant {
    /// The capability that should say it.
    pub fn capability(&self) -> Capability {
        let whole = seal(&self.body, &KEY);
        self.chain.iter().fold(whole, |capability, restriction| {
            capability.attenuate(*restriction).unwrap()
        })
    }

    /// What it allows, or the one reason why not.
    pub fn allows(&self, presenter: Identity, now: u64) -> Result<Allowed, Error> {
        let holders = self
            .chain
            .iter()
            .filter_map(|restriction| match restriction {
                Restriction::Holder(identity) => Some(*identity),
                _ => None,
            });
        let others: Vec<_> = holders.clone().filter(|one| *one != presenter).collect();
        let hint = |identity: &Identity| identity.index & 0xff_ffff;
        if others.iter().any(|one| hint(one) != hint(&presenter)) {
            return Err(Error::WrongHolder);
        }
        if !others.is_empty() {
            return Err(Error::WrongSeal);
        }
        let mut rights = self.body.rights().bits();
        let mut badges = Vec::new();
        let mut times = Vec::new();
        for restriction in &self.chain {
            match restriction {
                Restriction::Rights(mask) => rights &= mask.bits(),
                Restriction::Badge(badge) => badges.push(*badge),
                Restriction::Until(second) => times.push(*second),
                Restriction::Holder(_) => {}
            }
        }
        if times.iter().any(|second| now >= u64::from(second.get())) {
            return Err(Error::Expired);
        }
        Ok(Allowed {
            rights: Rights::from_bits(rights),
            badge: badges.first().copied(),
            until: times.into_iter().min(),
            held: holders.count() > 0,
        })
    }
}

/// What the crate says, in the model's words.
pub fn said(verified: Verified) -> Allowed {
    Allowed {
        rights: verified.all_rights(),
        badge: verified.badge(),
        until: verified.until(),
        held: verified.is_held(),
    }
}

pub fn epoch(bits: u64) -> Epoch {
    Epoch::from_bits(bits).unwrap()
}

pub fn second(value: u32) -> Second {
    Second::new(value).unwrap()
}

pub fn badge(value: u32) -> Badge {
    Badge::new(value).unwrap()
}

/// Two hints, each with two indices and two epochs.
pub fn identities() -> Vec<Identity> {
    let mut all = Vec::new();
    for index in [1, 2, 1 | 1 << 24, 2 | 1 << 31] {
        for bits in [5, 5 | 1 << 47] {
            all.push(Identity {
                index,
                epoch: epoch(bits),
            });
        }
    }
    all
}

/// Seconds that matter in these worlds, and one far away.
pub const TIMES: [u64; 5] = [0, 1, 2, 3, 1 << 40];

pub fn an_identity() -> impl Strategy<Value = Identity> {
    prop::sample::select(identities())
}

pub fn a_time() -> impl Strategy<Value = u64> {
    prop::sample::select(&TIMES[..])
}

pub fn some_rights() -> impl Strategy<Value = Rights> {
    any::<u16>().prop_map(Rights::from_bits)
}

pub fn a_restriction() -> impl Strategy<Value = Restriction> {
    prop_oneof![
        some_rights().prop_map(Restriction::Rights),
        an_identity().prop_map(Restriction::Holder),
        (0u32..3).prop_map(|value| Restriction::Badge(badge(value))),
        (0u32..4).prop_map(|value| Restriction::Until(second(value))),
    ]
}

pub fn a_body() -> impl Strategy<Value = Body> {
    let kind = prop::sample::select(Kind::ALL);
    (kind, some_rights(), 0u32..4, 1u32..5, 1u64..3).prop_map(
        |(kind, rights, index, count, stamp)| {
            let rights = rights.intersection(kind.rights());
            let count = if kind.is_range() { count } else { 1 };
            Body::of_kind(kind, rights, index, count, epoch(stamp)).unwrap()
        },
    )
}

pub fn a_grant() -> impl Strategy<Value = Grant> {
    let chain = prop::collection::vec(a_restriction(), 0..=MAX_CAVEATS);
    (a_body(), chain).prop_map(|(body, chain)| Grant { body, chain })
}

/// A grant and somebody who can present it at time 0.
pub fn a_good_grant() -> impl Strategy<Value = (Grant, Identity)> {
    (a_grant(), an_identity()).prop_map(|(mut grant, presenter)| {
        for restriction in &mut grant.chain {
            match restriction {
                Restriction::Holder(identity) => *identity = presenter,
                Restriction::Until(end) if *end == second(0) => *end = second(3),
                _ => {}
            }
        }
        (grant, presenter)
    })
}
