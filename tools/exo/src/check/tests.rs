//! The checker on memories made by hand: one in which nothing is wrong, and each law broken in it.

use core::mem::offset_of;

use exopi_abi::domain::{AccountRecord, EnvironmentRecord, SpaceRecord};
use exopi_abi::exposed::{Header, Machine};
use exopi_abi::page::{NONE, PageRecord};

use super::Law;

mod census;
pub(crate) mod world;

use world::{
    CODE, CONSTANTS, DEVICE_2, EXPOSED_2, EXPOSED_3, HEADER, IMAGE_3, KERNEL_ROOT, LINEAR_2,
    LINEAR_3, OWN, OWNERS, ROOTS, RO, RW, RX, SHARED, SPARE, SUPER, SUPERPAGE, TABLE, TABLES_2,
    TABLES_3, UAREAS, World, slot,
};

#[test]
fn nothing_is_wrong_with_a_good_world() {
    let findings = World::new().check(&[]);
    assert!(findings.report.is_clean(), "{}", findings.report);
    assert_eq!(findings.frames as u64, world::FRAMES);
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

/// Ways to break what the header and the page array say.
const FRAMES: &[Damage] = &[
    (Law::Region, |w| w.set(World::header_field(0), 0)),
    (Law::Region, |w| {
        w.set(World::header_field(offset_of!(Header, version)), 9999);
    }),
    (Law::Region, |w| {
        let cores = offset_of!(Header, machine) + offset_of!(Machine, cores);
        w.set(World::header_field(cores), 5);
    }),
    (Law::Region, |w| {
        let colours = offset_of!(Header, machine) + offset_of!(Machine, colours);
        w.set(World::header_field(colours), 3);
    }),
    (Law::Region, |w| {
        w.set(World::header_field(offset_of!(Header, pages) + 8), u64::MAX);
    }),
    (Law::Region, |w| w.entry(KERNEL_ROOT, 511, 0)),
    (Law::Region, |w| w.entry(EXPOSED_3, 2, 0)),
    (Law::Record, |w| byte(w, World::frame(SPARE, KIND), 9)),
    (Law::Record, |w| {
        byte(w, World::frame(SPARE, offset_of!(PageRecord, leaving)), 2);
    }),
    (Law::Record, |w| {
        byte(w, World::frame(ROOTS[0], offset_of!(PageRecord, references)), 1);
    }),
    (Law::Leaving, |w| {
        byte(w, World::frame(SPARE, offset_of!(PageRecord, leaving)), 1);
    }),
    (Law::Stamp, |w| {
        w.set(World::frame(SPARE, offset_of!(PageRecord, stamp)), 64 << 48);
    }),
    (Law::Stamp, |w| {
        w.set(World::frame(1, offset_of!(PageRecord, stamp)), 5);
    }),
    (Law::KernelFrame, |w| w.set(World::frame(0x90, OWNER), 1 << 16)),
    (Law::KernelFrame, |w| w.record(0x90, 2, OWNERS[0], NONE, NONE)),
    (Law::KernelFrame, |w| byte(w, World::frame(0, KIND), 1)),
    (Law::Owner, |w| w.set(World::frame(SPARE, OWNER), 0)),
    (Law::Owner, |w| w.set(World::frame(SPARE, OWNER), 2 << 16)),
    (Law::Owner, |w| w.set(World::frame(SPARE, OWNER), 1 << 16 | 5)),
    (Law::FreeList, |w| byte(w, World::frame(9, FIRST), 14)),
    (Law::FreeList, |w| byte(w, World::frame(9, SECOND), 1)),
    (Law::FreeList, |w| none(w, World::frame(9, FIRST))),
    (Law::FreeList, |w| none(w, World::frame(9, SECOND))),
    (Law::FreeList, |w| byte(w, World::frame(1, SECOND), 9)),
    (Law::FreeCount, |w| {
        let at = World::header_field(offset_of!(Header, free_pages));
        w.set(at, w.word(at) - 1);
    }),
    // A page that is on no list and nobody's.
    (Law::FreeList, |w| w.record(SPARE, 1, OWNERS[0], NONE, NONE)),
];

/// Ways to break what accounts, spaces and environments say.
const OBJECTS: &[Damage] = &[
    (Law::Record, |w| {
        w.set(World::account(3, offset_of!(AccountRecord, cursor)), 1);
    }),
    (Law::Record, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, dying)), 2);
    }),
    (Law::Record, |w| {
        byte(w, World::space(0, offset_of!(SpaceRecord, reserved)), 1);
    }),
    (Law::Record, |w| {
        byte(w, World::environment(5, offset_of!(EnvironmentRecord, notices)), 1);
    }),
    (Law::Charge, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, used)), 7);
    }),
    (Law::Charge, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, used) + 4), 1);
    }),
    (Law::Charge, |w| {
        byte(w, World::account(0, offset_of!(AccountRecord, used) + 12), 1);
    }),
    (Law::Charge, |w| w.set(World::frame(SPARE, OWNER), OWNERS[1].word())),
    (Law::Allowance, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, allowance)), 7);
    }),
    (Law::Tree, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, parent)), 1);
    }),
    (Law::Tree, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, parent)), 4);
    }),
    (Law::Tree, |w| {
        byte(w, World::account(0, offset_of!(AccountRecord, parent)), 1);
    }),
    (Law::Epoch, |w| {
        w.set(World::space(1, offset_of!(SpaceRecord, epoch)), 20);
    }),
    (Law::Epoch, |w| {
        w.set(World::space(1, offset_of!(SpaceRecord, epoch)), 1 << 50);
    }),
    (Law::Space, |w| {
        w.set(World::space(1, offset_of!(SpaceRecord, owner)), OWNERS[0].word());
    }),
    (Law::Space, |w| {
        w.set(World::space(1, offset_of!(SpaceRecord, owner)), 77 << 16);
    }),
    (Law::Space, |w| {
        byte(w, World::space(1, offset_of!(SpaceRecord, asid)), 1);
    }),
    (Law::Space, |w| {
        byte(w, World::space(1, offset_of!(SpaceRecord, asid)), 0);
    }),
    (Law::Space, |w| {
        byte(w, World::space(1, offset_of!(SpaceRecord, root)), 0);
    }),
    (Law::Members, |w| {
        byte(w, World::space(1, offset_of!(SpaceRecord, members)), 1);
    }),
    (Law::Environment, |w| {
        byte(w, World::environment(1, offset_of!(EnvironmentRecord, space)), 6);
    }),
    (Law::Environment, |w| {
        w.set(World::environment(1, offset_of!(EnvironmentRecord, account)), 1);
    }),
    (Law::Environment, |w| {
        byte(w, World::environment(1, offset_of!(EnvironmentRecord, state)), 6);
    }),
    (Law::Environment, |w| {
        byte(w, World::environment(1, offset_of!(EnvironmentRecord, core)), 2);
    }),
    (Law::Environment, |w| {
        byte(w, World::environment(0, offset_of!(EnvironmentRecord, state)), 1);
    }),
    (Law::Environment, |w| {
        byte(w, World::environment(0, offset_of!(EnvironmentRecord, uarea)), SHARED as u8);
    }),
    (Law::Environment, |w| {
        w.set(World::environment(0, offset_of!(EnvironmentRecord, uarea_at)), 8);
    }),
    (Law::Queue, |w| {
        byte(w, World::environment(2, offset_of!(EnvironmentRecord, core)), 0);
    }),
    (Law::Queue, |w| {
        w.write(World::environment(2, offset_of!(EnvironmentRecord, next)), &[1, 0]);
    }),
    (Law::Queue, |w| {
        w.write(World::environment(1, offset_of!(EnvironmentRecord, next)), &[0xff, 0xff]);
    }),
    (Law::Queue, |w| {
        w.write(World::environment(0, offset_of!(EnvironmentRecord, next)), &[1, 0]);
    }),
    (Law::Queue, |w| {
        for index in 0..2 {
            byte(w, World::environment(index, offset_of!(EnvironmentRecord, state)), 3);
            byte(w, World::environment(index, offset_of!(EnvironmentRecord, core)), 0);
        }
    }),
    (Law::Keeper, |w| {
        byte(w, World::environment(1, offset_of!(EnvironmentRecord, keeper_bit)), 32);
    }),
    (Law::Keeper, |w| {
        w.set(World::environment(1, offset_of!(EnvironmentRecord, keeper)), 30 << 16 | 9);
    }),
];

/// Ways to break user tables and what tells of them.
const SPACES: &[Damage] = &[
    (Law::SelfEntry, |w| w.entry(ROOTS[0], 510, 0)),
    (Law::SelfEntry, |w| w.entry(ROOTS[0], 510, ROOTS[1] << 12 | TABLE)),
    // Writable at EL0, where it is read as a page.
    (Law::SelfEntry, |w| w.entry(ROOTS[0], 510, ROOTS[0] << 12 | TABLE & !0x80)),
    (Law::ExposedEntry, |w| w.entry(ROOTS[0], 511, 0)),
    (Law::ExposedEntry, |w| w.entry(ROOTS[0], 511, EXPOSED_3 << 12 | 3)),
    (Law::ExposedEntry, |w| w.entry(ROOTS[0], 511, EXPOSED_2 << 12 | TABLE)),
    (Law::Entry, |w| w.entry(ROOTS[0], 7, 2)),
    (Law::Entry, |w| w.entry(TABLES_2[0], 7, 4)),
    (Law::Entry, |w| w.entry(ROOTS[0], 7, SUPERPAGE << 12 | SUPER)),
    (Law::Entry, |w| w.entry(TABLES_3[0], 7, SPARE << 12 | RW & !2)),
    (Law::Entry, |w| w.entry(ROOTS[0], 0, SHARED << 12 | TABLE)),
    (Law::Entry, |w| w.entry(ROOTS[0], 0, 0xf_ffff << 12 | TABLE)),
    // Without PXNTable.
    (Law::Entry, |w| w.entry(ROOTS[0], 0, TABLES_2[0] << 12 | TABLE & !(1 << 59))),
    (Law::Table, |w| byte(w, World::frame(TABLES_3[0], FIRST), 4)),
    (Law::Table, |w| byte(w, World::frame(ROOTS[0], FIRST), 2)),
    (Law::Table, |w| w.entry(ROOTS[0], 3, TABLES_2[0] << 12 | TABLE)),
    (Law::Table, |w| w.entry(ROOTS[0], 0, 0)),
    (Law::Table, |w| w.entry(ROOTS[0], 0, TABLES_2[1] << 12 | TABLE)),
    (Law::Table, |w| w.set(World::frame(TABLES_2[1], OWNER), OWNERS[0].word())),
    (Law::Links, |w| byte(w, World::frame(TABLES_3[0], SECOND), SPARE as u8)),
    (Law::Links, |w| byte(w, World::frame(TABLES_3[0] + 1, FIRST), 0)),
    (Law::Links, |w| byte(w, World::frame(TABLES_3[0] + 1, SECOND), 0)),
    (Law::Links, |w| w.entry(TABLES_3[0] + 1, 2, 1)),
    (Law::Links, |w| w.entry(TABLES_2[0] + 1, 1, 1)),
    (Law::Links, |w| w.record(SPARE, 5, OWNERS[0], 0, 0)),
    // Global, with other shareability, another memory type, without PXN, with a bit that means nothing.
    (Law::Attributes, |w| w.entry(TABLES_3[0], 0, SHARED << 12 | RW & !(1 << 11))),
    (Law::Attributes, |w| w.entry(TABLES_3[0], 0, SHARED << 12 | RW & !(3 << 8))),
    (Law::Attributes, |w| w.entry(TABLES_3[0], 0, SHARED << 12 | RW | 1 << 2)),
    (Law::Attributes, |w| w.entry(TABLES_3[0], 0, SHARED << 12 | RW & !(1 << 53))),
    (Law::Attributes, |w| w.entry(TABLES_3[0], 0, SHARED << 12 | RW | 1 << 58)),
    // More than it was bound with.
    (Law::Attributes, |w| w.entry(TABLES_3[0], 1, CODE << 12 | RX & !0x80)),
    (Law::Attributes, |w| w.entry(TABLES_3[0], 0, SHARED << 12 | RW & !(1 << 54))),
    (Law::Attributes, |w| w.entry(TABLES_2[0], 2, SUPERPAGE << 12 | SUPER & !(1 << 54) | 7 << 55)),
    (Law::Attributes, |w| w.entry(TABLES_2[0], 2, (SUPERPAGE + 1) << 12 | SUPER)),
    (Law::Attributes, |w| w.entry(TABLES_3[0], 255, UAREAS[0] << 12 | RW)),
    (Law::Mapped, |w| w.entry(TABLES_3[0], 0, ROOTS[1] << 12 | RO)),
    (Law::Mapped, |w| w.entry(TABLES_3[0], 0, 0xf_ffff << 12 | RO)),
    (Law::Mapped, |w| w.entry(TABLES_3[0], 9, UAREAS[1] << 12 | 0x0060_0000_0000_0f43)),
    (Law::Mapped, |w| w.record(SUPERPAGE + 5, 1, OWNERS[0], NONE, NONE)),
    (Law::Mapped, |w| {
        byte(w, World::environment(1, offset_of!(EnvironmentRecord, uarea)), UAREAS[2] as u8);
    }),
    (Law::References, |w| {
        byte(w, World::frame(SHARED, offset_of!(PageRecord, references)), 3);
    }),
    (Law::References, |w| {
        byte(w, World::frame(SHARED, offset_of!(PageRecord, foreign)), 0);
    }),
    (Law::References, |w| w.entry(TABLES_3[1], 5, OWN << 12 | RO)),
    (Law::References, |w| {
        byte(w, World::frame(SUPERPAGE, offset_of!(PageRecord, references)), 0);
    }),
    (Law::List, |w| none(w, World::frame(SHARED, FIRST))),
    (Law::List, |w| none(w, World::frame(SUPERPAGE, SECOND))),
    (Law::List, |w| w.entry(TABLES_3[0] + 1, 0, 0)),
    (Law::List, |w| w.entry(TABLES_3[1] + 1, 0, 0)),
    (Law::List, |w| {
        let slot = slot(TABLES_3[0], 1);
        w.write(World::frame(SPARE, FIRST), &slot.to_le_bytes());
    }),
    // In a circle.
    (Law::List, |w| {
        let first = slot(TABLES_3[0], 0);
        w.entry(TABLES_3[1] + 1, 0, u64::from(!first) << 32 | u64::from(!first));
    }),
    (Law::Reach, |w| w.entry(TABLES_3[0], 0, 0x90 << 12 | RO)),
    (Law::Reach, |w| w.entry(TABLES_3[0], 0, (TABLES_3[0] + 1) << 12 | RO)),
    (Law::Reach, |w| w.entry(TABLES_3[0], 0, ROOTS[0] << 12 | RO)),
    (Law::Reach, |w| w.entry(TABLES_3[0], 0, 1 << 12 | RW)),
    // EL1 executes it only if neither the page's entry nor a table's forbids it.
    (Law::Reach, |w| {
        for (table, index) in [(ROOTS[0], 0), (TABLES_2[0], 1)] {
            let entry = w.word(table * 4096 + index * 8);
            w.entry(table, index, entry & !(1 << 59));
        }
        w.entry(TABLES_3[0], 0, SHARED << 12 | RO & !(1 << 53));
    }),
    (Law::Reach, |w| w.entry(TABLES_3[0], 255, UAREAS[0] << 12 | RX)),
    // Another space's table, by the entry that shows this one's.
    (Law::Reach, |w| w.entry(ROOTS[0], 510, ROOTS[1] << 12 | TABLE)),
    (Law::Reach, |w| w.entry(ROOTS[0], 0, TABLES_2[0] << 12 | TABLE & !0x80)),
    (Law::Reach, |w| w.entry(ROOTS[0], 0, TABLES_2[0] << 12 | TABLE & !(1 << 54))),
];

/// Ways to break the kernel's half.
const KERNEL: &[Damage] = &[
    // Code that can be written, under its own name and another.
    (Law::KernelMap, |w| w.entry(IMAGE_3, 0, 0x8_0000 | 0x0040_0000_0000_0703)),
    (Law::KernelMap, |w| w.entry(LINEAR_3, 0x80, 0x8_0000 | 0x0060_0000_0000_0703)),
    // Data that is executed, constants that are written, a guard that is there, a page that is not.
    (Law::KernelMap, |w| w.entry(IMAGE_3, 5, 0x8_5000 | 0x0040_0000_0000_0703)),
    (Law::KernelMap, |w| w.entry(IMAGE_3, 2, CONSTANTS << 12 | 0x0060_0000_0000_0703)),
    (Law::KernelMap, |w| w.entry(IMAGE_3, 0x20, 0xa_0000 | 0x0060_0000_0000_0703)),
    (Law::KernelMap, |w| w.entry(IMAGE_3, 5, 0)),
    (Law::KernelMap, |w| w.entry(IMAGE_3, 5, 0x8_6000 | 0x0060_0000_0000_0703)),
    // For EL0.
    (Law::KernelMap, |w| w.entry(LINEAR_2, 2, 0x40_0000 | 0x0060_0000_0000_0741)),
    (Law::KernelMap, |w| w.entry(LINEAR_2, 2, 0x40_0000 | 0x0020_0000_0000_0701)),
    // Executable RAM, RAM as Device, a device as RAM, not shared.
    (Law::KernelMap, |w| w.entry(LINEAR_2, 2, 0x40_0000 | 0x0040_0000_0000_0701)),
    (Law::KernelMap, |w| w.entry(LINEAR_2, 2, 0x40_0000 | 0x0060_0000_0000_0705)),
    (Law::KernelMap, |w| w.entry(DEVICE_2, 0x1f8, 0x3f00_0000 | 0x0060_0000_0000_0701)),
    (Law::KernelMap, |w| w.entry(LINEAR_2, 2, 0x40_0000 | 0x0060_0000_0000_0401)),
    // A table out of somebody's page.
    (Law::KernelMap, |w| w.entry(LINEAR_2, 2, SPARE << 12 | 3)),
    (Law::Exposed, |w| w.entry(EXPOSED_3, 1, (HEADER + 1) << 12 | 0x0060_0000_0000_0743)),
    (Law::Exposed, |w| w.entry(EXPOSED_3, 1, (HEADER + 1) << 12 | 0x0020_0000_0000_07c3)),
    (Law::Exposed, |w| w.entry(EXPOSED_3, 6, 0x9_1000 | 0x0060_0000_0000_07c3)),
    (Law::Exposed, |w| w.entry(EXPOSED_3, 1, SPARE << 12 | 0x0060_0000_0000_07c3)),
];

#[test]
fn each_damage_is_found_and_named() {
    for damages in [FRAMES, OBJECTS, SPACES, KERNEL] {
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
    let damages = [FRAMES, OBJECTS, SPACES, KERNEL].concat();
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
