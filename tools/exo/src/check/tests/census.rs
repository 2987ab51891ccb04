//! The census: what is found, what is told from it, and what is not taken for a capability.

use core::mem::offset_of;

use exopi_abi::capability::siphash::{Initial, Start};
use exopi_abi::capability::{Body, Capability, Epoch, Identity, Kind, Restriction, Rights, Second};
use exopi_abi::domain::SpaceRecord;

use super::super::census::Holder;
use super::super::{Census, Grant, Law, check};
use super::world::{CODE, KEY, OWN, SHARED, SPARE, UAREAS, World};

const ALL_OF_A_PAGE: u16 = 0x3f;

/// What the kernel says of a page: all rights, with the epoch that it has.
fn page(number: u64) -> Capability {
    sealed(Kind::Page, ALL_OF_A_PAGE, number as u32, 100 + number)
}

fn sealed(kind: Kind, rights: u16, index: u32, epoch: u64) -> Capability {
    let epoch = Epoch::from_low_bits(epoch);
    let body = Body::of_kind(kind, Rights::from_bits(rights), index, 1, epoch).unwrap();
    Capability::new(&body, body.seal(Start::under(KEY, Initial::KNOWN)))
}

fn grant(kind: Kind, index: u64, count: u32, rights: u16) -> Grant {
    Grant {
        kind,
        index: index as u32,
        count,
        rights: Rights::from_bits(rights),
    }
}

/// What is found, with what was granted.
fn taken(world: &World, grants: &[Grant]) -> (Census, bool) {
    let findings = world.check(grants);
    let broken = findings.report.breaks(Law::Capability);
    assert_eq!(findings.report.is_clean(), !broken, "{}", findings.report);
    (findings.census.unwrap(), broken)
}

#[test]
fn good_world_holds_nothing() {
    let (census, broken) = taken(&World::new(), &[]);
    assert!(census.held.is_empty() && !broken);
    let told = census.to_string();
    assert!(
        told.contains("space 0: 1 environments; 521 pages owned; 515 mapped, 0 of them"),
        "{told}"
    );
    assert!(
        told.contains("space 1: 2 environments; 9 pages owned; 4 mapped, 1 of them"),
        "{told}"
    );
    assert!(
        told.ends_with("capabilities: 0 live, 0 worth nothing any more\n"),
        "{told}"
    );
}

#[test]
fn dying_spaces_are_told() {
    let mut world = World::new();
    world.write(World::space(1, offset_of!(SpaceRecord, dying)), &[1]);
    let told = taken(&world, &[]).0.to_string();
    assert!(told.contains("space 1 (dying): 2 environments;"), "{told}");
}

#[test]
fn undeclared_capability_is_named() {
    let mut world = World::new();
    world.capability(CODE * 4096 + 0x128, &page(SPARE));
    let findings = world.check(&[]);
    assert_eq!(
        findings.report.lines(),
        [
            "capability: space 0 has at 0x201128 a capability that no suite declared: page 0x107+1 rights 0x3f"
        ]
    );
}

#[test]
fn grants_cover_what_they_contain() {
    let mut world = World::new();
    world.capability(OWN * 4096, &page(SPARE));
    for (grant, broken) in [
        (grant(Kind::Page, SPARE, 1, ALL_OF_A_PAGE), false),
        (grant(Kind::Page, SPARE - 3, 9, ALL_OF_A_PAGE), false),
        (grant(Kind::Page, SPARE, 1, 0x1f), true),
        (grant(Kind::Page, SPARE + 1, 1, ALL_OF_A_PAGE), true),
        (grant(Kind::Page, SPARE - 1, 1, ALL_OF_A_PAGE), true),
        (grant(Kind::Space, SPARE, 1, ALL_OF_A_PAGE), true),
    ] {
        assert_eq!(taken(&world, &[grant]).1, broken, "{grant}");
    }
}

#[test]
fn mapped_pages_are_looked_at_as_they_are_seen() {
    // Space 1 has the shared page before its own, so that this lies across the two; space 0 has another
    // page behind it.
    let mut world = World::new();
    let bytes = page(SPARE).to_bytes();
    world.write(SHARED * 4096 + 4096 - 24, &bytes[..24]);
    world.write(OWN * 4096, &bytes[24..]);
    let (census, broken) = taken(&world, &[]);
    assert!(broken);
    let [held] = census.held.as_slice() else {
        panic!("{census}");
    };
    assert_eq!((held.holder, held.at), (Holder::Space(1), 0x20_0fe8));
}

#[test]
fn all_of_a_programs_memory_is_looked_at() {
    for (frame, holder) in [
        (SHARED, Holder::Space(0)),
        (UAREAS[2], Holder::Space(1)),
        (0x5ff, Holder::Space(0)),
        (SPARE, Holder::Account(0)),
    ] {
        let mut world = World::new();
        world.capability(frame * 4096 + 4096 - 48, &page(SPARE));
        let (census, broken) = taken(&world, &[]);
        assert!(broken && census.held.iter().any(|held| held.holder == holder));
    }
    // What is free is nobody's: it is zeroed before somebody else has it.
    let mut world = World::new();
    world.capability(0x700 * 4096, &page(SPARE));
    assert!(taken(&world, &[]).0.held.is_empty());
}

#[test]
fn what_is_worth_nothing_is_counted_only() {
    let mut world = World::new();
    // Of a page that has another epoch now, of a page that is free, of a space that there is not.
    world.capability(CODE * 4096, &sealed(Kind::Page, 1, SPARE as u32, 99));
    world.capability(CODE * 4096 + 64, &sealed(Kind::Page, 1, 0x700, 5));
    world.capability(CODE * 4096 + 128, &sealed(Kind::Space, 1, 5, 20));
    let (census, broken) = taken(&world, &[]);
    assert_eq!((census.held.len(), census.live(), broken), (3, 0, false));
}

#[test]
fn objects_of_each_kind_are_live_by_their_records() {
    for (kind, index, epoch) in [
        (Kind::Space, 1, 21),
        (Kind::Environment, 2, 32),
        (Kind::Account, 1, 10),
    ] {
        let mut world = World::new();
        world.capability(CODE * 4096, &sealed(kind, 1, index, epoch));
        assert!(taken(&world, &[]).1, "{kind:?}");
        assert!(
            !taken(&world, &[grant(kind, index.into(), 1, 1)]).1,
            "{kind:?}"
        );
    }
}

#[test]
fn forgeries_are_none() {
    let good = page(SPARE).words();
    for (word, bit) in [(0, 0), (0, 33), (1, 0), (1, 48), (2, 0), (4, 7), (5, 63)] {
        let mut words = good;
        words[word] ^= 1 << bit;
        let mut world = World::new();
        for (at, word) in (0..).zip(words) {
            world.set(CODE * 4096 + 8 * at, word);
        }
        assert!(taken(&world, &[]).0.held.is_empty(), "{word} {bit}");
    }
    // Not where words begin.
    let mut world = World::new();
    world.capability(CODE * 4096 + 4, &page(SPARE));
    assert!(taken(&world, &[]).0.held.is_empty());
}

#[test]
fn caveats_narrow_what_is_found() {
    let narrowed = page(SPARE)
        .attenuate(Restriction::Rights(Rights::from_bits(1)))
        .unwrap()
        .attenuate(Restriction::Until(Second::new(60).unwrap()))
        .unwrap();
    let mut world = World::new();
    world.capability(CODE * 4096, &narrowed);
    let grants = [grant(Kind::Page, SPARE, 1, 1)];
    let (census, broken) = taken(&world, &grants);
    assert!(!broken && census.held[0].caveats == 2);
    // Who took the caveat off has what was not granted.
    world.capability(CODE * 4096, &page(SPARE));
    assert!(taken(&world, &grants).1);
}

#[test]
fn holders_are_environments_that_there_are() {
    let held = |index, epoch| {
        let epoch = Epoch::from_low_bits(epoch);
        let holder = Restriction::Holder(Identity { index, epoch });
        let mut world = World::new();
        world.capability(CODE * 4096, &page(SPARE).attenuate(holder).unwrap());
        taken(&world, &[]).0.held.len()
    };
    assert_eq!(held(2, 32), 1);
    // One that has gone, and one that never was.
    assert_eq!(held(2, 31), 0);
    assert_eq!(held(7, 32), 0);
}

#[test]
fn without_a_key_there_is_no_census() {
    let world = World::new();
    let mut kernel = world.kernel();
    let nowhere = kernel.image().end;
    // None, and one that is not in the image. That nobody looked must not pass for a good result.
    for key in [None, Some(nowhere..nowhere + 16)] {
        kernel.key = key;
        let findings = check(&world.memory(), &kernel, &[]);
        assert!(findings.census.is_none());
        let told = findings.report.lines();
        assert!(told[0].starts_with("capability: no census: "), "{told:?}");
        assert_eq!(told.len(), 1);
    }
}
