//! Examples: capabilities that the kernel issues.

use exopi_abi::Error;
use exopi_abi::capability::{EnvironmentRights, Kind, PageRights, Rights};
use exopi_abi::domain::ObjectName;

use super::{Call, Cap, KEY, Named, Storage, World, page};
use crate::cap_narrow;

#[test]
fn what_an_account_owns_it_mints_for() {
    let mut storage = Storage::new(64, 4, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let (account, environment) = world.tenant([12, 1, 1, 0], 1);
    let space = world
        .domains
        .environment(environment.index)
        .expect("it is there")
        .space;
    let own = world.alloc(1);
    let by = world.on[1].expect("somebody runs");
    let mint = |world: &World<'_>, kind, index: u64, count, rights| {
        world.domains.cap_mint(&by, kind, index, count, rights)
    };
    let body = mint(&world, Kind::Page, own.get().into(), 1, 3).expect("it is the tenant's");
    assert_eq!(
        (body.index(), body.count(), body.rights()),
        (own.get(), 1, Rights::from_bits(3))
    );
    assert_eq!(
        Some(body.epoch()),
        world.domains.pages.record(own).map(|r| r.stamp.epoch())
    );
    let body = mint(&world, Kind::Environment, environment.index.into(), 1, 0xff);
    assert_eq!(body.map(|body| body.epoch()), Ok(environment.epoch));
    let body = mint(&world, Kind::Space, space.into(), 1, 3);
    assert!(body.is_ok());
    let child = account.index.into();
    assert_eq!(
        mint(&world, Kind::Account, child, 1, 3).err(),
        Some(Error::NotYours)
    );
    let parent = world.on[0].expect("somebody runs");
    let body = world.domains.cap_mint(&parent, Kind::Account, child, 1, 3);
    assert_eq!(body.map(|body| body.epoch()), Ok(account.epoch));
    for (kind, index, count, rights, outcome) in [
        (Kind::Page, 0, 1, 1 << 16, Error::Malformed),
        (Kind::Page, 0, 1, 1 << 6, Error::Malformed),
        (
            Kind::Environment,
            environment.index.into(),
            1,
            1 << 8,
            Error::Malformed,
        ),
        (Kind::Filter, 0, 1, 1, Error::MissingRight),
        (Kind::Page, 1 << 32, 1, 1, Error::OutOfRange),
        (Kind::Page, own.get().into(), 0, 1, Error::BadCount),
        (Kind::Page, own.get().into(), 1 << 20, 1, Error::BadCount),
        (Kind::Page, own.get().into(), 2, 1, Error::NotYours),
        (Kind::Page, 64, 1, 1, Error::OutOfRange),
        (Kind::Space, space.into(), 0, 1, Error::BadCount),
        (Kind::Space, space.into(), 2, 1, Error::BadCount),
        (Kind::Space, 4, 1, 1, Error::OutOfRange),
        (Kind::Space, 70_000, 1, 1, Error::OutOfRange),
        (Kind::Space, 0, 1, 1, Error::NotYours),
        (Kind::Environment, 0, 1, 1, Error::NotYours),
        (Kind::Environment, 5, 1, 1, Error::NotYours),
        (Kind::Account, 0, 1, 1, Error::NotYours),
    ] {
        let refused = mint(&world, kind, index, count, rights);
        assert_eq!(
            refused.err(),
            Some(outcome),
            "{kind:?} {index} {count} {rights:#x}"
        );
    }
}

#[test]
fn nobody_mints_for_what_is_at_its_end_or_has_no_stamp() {
    let mut storage = Storage::new(64, 4, 4, 6);
    let mut world = World::new(&mut storage, 2);
    let name = world.environment(0, Named::Own, 1);
    assert_eq!(world.run(0, Named::Name(name), 1).error(), None);
    world.dispatch(1);
    assert_eq!(
        world.call(0, Call::Destroy(Named::Name(name))).error(),
        Some(Error::Busy)
    );
    let mint =
        |world: &mut World<'_>, kind, index: u64| world.call(0, Call::Mint(kind, index, 1, 1));
    let reply = mint(&mut world, Kind::Environment, name.index.into());
    assert_eq!(reply.error(), Some(Error::Stale));
    let root = world.domains.space(0).expect("it is there").root;
    assert_eq!(
        mint(&mut world, Kind::Page, root.into()).error(),
        Some(Error::WrongType)
    );
}

#[test]
fn a_narrowed_capability_is_not_more() {
    let mut storage = Storage::new(64, 4, 4, 6);
    let world = World::new(&mut storage, 2);
    let presenter = world.domains.first().identity();
    let cap = Cap {
        kind: Kind::Page,
        index: 10,
        count: 5,
        epoch: super::NEVER.epoch,
        rights: PageRights::READ.bits() | PageRights::FREE.bits(),
        timed: true,
    };
    let from = cap.verified(presenter);
    let issued = cap_narrow(&from, &KEY, 11, 2, 0xffff).expect("a part of it");
    let verified = exopi_cap::verify(&issued, &KEY, presenter, 0).expect("genuine");
    assert_eq!((verified.index(), verified.count()), (page(11).get(), 2));
    assert_eq!(verified.all_rights(), from.all_rights());
    assert_eq!(verified.until(), from.until());
    for (index, count, rights, outcome) in [
        (10, 5, 1 << 16, Error::Malformed),
        (1 << 32, 1, 1, Error::OutOfRange),
        (10, 1 << 32, 1, Error::OutOfRange),
        (10, 0, 1, Error::BadCount),
        (9, 2, 1, Error::OutOfRange),
        (14, 2, 1, Error::OutOfRange),
    ] {
        let refused = cap_narrow(&from, &KEY, index, count, rights);
        assert_eq!(refused.err(), Some(outcome), "{index} {count} {rights:#x}");
    }
    let name = ObjectName {
        index: 2,
        ..super::NEVER
    };
    let from = Cap::of(Kind::Environment, name)
        .with(EnvironmentRights::KEEP)
        .verified(presenter);
    let issued = cap_narrow(&from, &KEY, 2, 1, 0).expect("all of it");
    let verified = exopi_cap::verify(&issued, &KEY, presenter, 0).expect("genuine");
    assert_eq!(verified.all_rights(), Rights::NONE);
}
