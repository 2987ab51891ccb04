//! The checker on memories made by hand: one in which nothing is wrong, and each law broken in it.

use core::mem::offset_of;

use exopi_abi::page::{NONE, PageRecord};

use super::Law;

mod census;
mod named;
mod records;
mod tables;
pub(crate) mod world;

use records::{FRAMES, NETWORKS, OBJECTS};
use tables::{KERNEL, SPACES};
use world::{SUPERPAGE, World};

#[test]
fn nothing_is_wrong_with_a_good_world() {
    let findings = World::new().check(&[]);
    assert!(findings.report.is_clean(), "{}", findings.report);
    assert_eq!(findings.frames as u64, world::FRAMES);
}

#[test]
fn environments_that_have_still_to_leave_a_core_are_fine() {
    let mut world = World::new();
    let at = World::life(0, 0);
    for state in [1, 2, 3, 5, 6, 7] {
        byte(&mut world, at, state);
        let report = world.check(&[]).report;
        assert!(report.is_clean(), "{state}: {report}");
    }
}

/// A change of one thing.
type Damage = (Law, fn(&mut World));

const FIRST: usize = offset_of!(PageRecord, first);
const SECOND: usize = offset_of!(PageRecord, second);
const KIND: usize = offset_of!(PageRecord, kind);
const OWNER: usize = offset_of!(PageRecord, owner);

fn none(world: &mut World, at: u64) {
    world.write(at, &NONE.to_le_bytes());
}

fn byte(world: &mut World, at: u64, byte: u8) {
    world.write(at, &[byte]);
}

#[test]
fn each_damage_is_found_and_named() {
    for damages in [FRAMES, OBJECTS, NETWORKS, SPACES, KERNEL] {
        for (number, (law, damage)) in damages.iter().enumerate() {
            let mut world = World::new();
            damage(&mut world);
            let report = world.check(&[]).report;
            let name = law.name();
            assert!(report.breaks(*law), "{number}: not \"{name}\":\n{report}");
            assert!(report.to_string().contains(&format!("{name}: ")));
        }
    }
}

#[test]
fn each_law_is_broken_once() {
    let damages = [FRAMES, OBJECTS, NETWORKS, SPACES, KERNEL].concat();
    for law in Law::ALL {
        // Those on capabilities are broken in the census.
        let broken = *law == Law::Capability || damages.iter().any(|(broken, _)| broken == law);
        assert!(broken, "{}", law.name());
    }
}

#[test]
fn every_violation_is_counted_and_the_first_are_told() {
    let mut world = World::new();
    for number in SUPERPAGE..SUPERPAGE + 100 {
        world.set(World::frame(number, offset_of!(PageRecord, stamp)), 0);
    }
    let report = world.check(&[]).report;
    assert_eq!(report.count(), 100);
    let lines = report.lines();
    assert_eq!(lines[0], "stamp: frame 0x400 is Plain with epoch 0");
    assert_eq!(lines.last().unwrap(), "stamp: and 88 more");
    assert_eq!(lines.len(), 13);
}

#[test]
fn kernel_is_found_wherever_it_was_loaded() {
    let world = World::new();
    let located = world.kernel().locate(&world.memory()).unwrap();
    assert_eq!(located.physical, 0x8_0000..0xc_0000);
    // An image of another kernel, that says that it lies elsewhere.
    let mut kernel = world.kernel();
    kernel.root += 0x1000;
    assert_eq!(kernel.locate(&world.memory()), None);
}

mod random {
    use super::world::World;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is in memory, a check ends, and says something of what it was.
        #[test]
        fn any_memory_ends_with_a_report(
            changes in prop::collection::vec((0..0x8_0000u64, any::<u64>(), 0..64u32), 1..40),
        ) {
            let mut world = World::new();
            for (at, word, shift) in changes {
                let places = [at * 8 % 0x12_0000, 0x20_0000 + at * 8 % 0x1_0000, 0x8_4000 + at * 8 % 0xe000];
                let at = places[word as usize % 3];
                let old = world.word(at);
                world.set(at, old ^ word >> shift);
            }
            let findings = world.check(&[]);
            prop_assert_eq!(findings.report.is_clean(), findings.report.count() == 0);
        }
    }
}
