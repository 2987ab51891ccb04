//! Damages that break a law in more than one way: each way is told, and names what is wrong.

use core::mem::offset_of;

use exopi_abi::domain::{EnvironmentRecord, SpaceRecord};
use exopi_abi::page::NONE;

use super::world::{
    CONSTANTS, IMAGE_2, IMAGE_3, KERNEL_ROOT, LINEAR_2, LINEAR_3, OWNERS, ROOTS, TABLE, TABLES_2,
    TABLES_3, UAREAS, World,
};
use super::{SECOND, byte, none};

/// A change of one thing, and what is told of it.
type Damage = (&'static str, fn(&mut World));

fn space(world: &mut World, field: usize, value: u8) {
    byte(world, World::space(1, field), value);
}

fn environment(world: &mut World, index: u64, field: usize, value: u8) {
    byte(world, World::environment(index, field), value);
}

/// State and core in a word.
fn life(world: &mut World, index: u64, state: u8, core: u8) {
    world.write(World::life(index, 0), &[state, core]);
}

const DAMAGES: &[Damage] = &[
    ("frames 0x1 and 0x9 both begin the list of colour 1", |w| {
        none(w, World::frame(9, SECOND));
    }),
    ("frame 0x9 does not belong behind 0x5", |w| {
        byte(w, World::frame(9, SECOND), 1);
    }),
    ("spaces 0 and 1 have the same root, 0x100", |w| {
        space(w, offset_of!(SpaceRecord, root), 0);
    }),
    ("frame 0x110 is a root, but of no space", |w| {
        space(w, offset_of!(SpaceRecord, root), 0);
    }),
    ("spaces 0 and 1 have the same ASID, 1", |w| {
        space(w, offset_of!(SpaceRecord, asid), 1);
    }),
    ("space 1 has ASID 0", |w| {
        space(w, offset_of!(SpaceRecord, asid), 0)
    }),
    (
        "space 1 belongs to account 0 of epoch 77, which there is not",
        |w| {
            w.set(World::space(1, offset_of!(SpaceRecord, owner)), 77 << 16);
        },
    ),
    (
        "environment 1: charged to account 1 of epoch 0, which",
        |w| {
            w.set(
                World::environment(1, offset_of!(EnvironmentRecord, account)),
                1,
            );
        },
    ),
    ("environment 1: in space 6, which", |w| {
        environment(w, 1, offset_of!(EnvironmentRecord, space), 6);
    }),
    ("environment 1: state 8", |w| life(w, 1, 8, 255)),
    ("environment 1: state 0", |w| life(w, 1, 0, 255)),
    ("state: Running, core: None, flags: 0 } with 2 cores", |w| {
        life(w, 0, 4, 255)
    }),
    ("environment 1 has epoch 31, but its word is", |w| {
        byte(w, World::life(1, 2), 30);
    }),
    ("environment 1: its u-area 0x105 is", |w| {
        environment(w, 1, offset_of!(EnvironmentRecord, uarea), 5);
    }),
    ("several environments have core 1: [1, 2]", |w| {
        life(w, 1, 4, 1);
        life(w, 2, 4, 1);
    }),
    (
        "table 0x101 at 0xc0000000: it is named by the entries 0x20000 and 0x20003",
        |w| {
            w.entry(ROOTS[0], 3, TABLES_2[0] << 12 | TABLE);
        },
    ),
    (
        "frame 0x118 is the u-area of 0 environments, and mapped 1 times",
        |w| {
            environment(w, 1, offset_of!(EnvironmentRecord, uarea), UAREAS[2] as u8);
        },
    ),
    (
        "frame 0x107 is Some(Links), but no space leads to it",
        |w| {
            w.record(0x107, 5, OWNERS[0], NONE, NONE);
        },
    ),
    (
        "the kernel executes 0xffffffffc0002000, frame 0x82, which is no code",
        |w| {
            w.entry(IMAGE_3, 2, CONSTANTS << 12 | 0x0040_0000_0000_0783);
        },
    ),
    (
        "frame 0x80 is executed at 0xffffffffc0000000 and written at 0xffffff8000080000",
        |w| {
            w.entry(LINEAR_3, 0x80, 0x8_0000 | 0x0060_0000_0000_0703);
        },
    ),
    ("generated code has another name, 0xffffff8000600000", |w| {
        w.entry(LINEAR_2, 3, 0x60_0000 | 0x0060_0000_0000_0781);
    }),
    ("generated code is Can { read: true, write: true,", |w| {
        w.entry(IMAGE_2, 1, 0x60_0000 | 0x0040_0000_0000_0701);
    }),
    (
        "generated code lies in frame 0x655, which is not the kernel's",
        |w| {
            w.record(0x655, 1, OWNERS[0], NONE, NONE);
        },
    ),
    ("the kernel executes 0xffffffffc0600000, frame 0x600", |w| {
        w.entry(IMAGE_2, 3, 0x60_0000 | 0x0040_0000_0000_0781);
    }),
    ("the image at 0xffffffffc0005000 leads to 0x86000", |w| {
        w.entry(IMAGE_3, 5, 0x8_6000 | 0x0060_0000_0000_0703);
    }),
    // Tables whose entries all lead to the same next one.
    ("space 0: there are more than 65536 ways to tables", |w| {
        for index in 0..510 {
            w.entry(ROOTS[0], index, TABLES_2[0] << 12 | TABLE);
            w.entry(TABLES_2[0], index, TABLES_3[0] << 12 | TABLE);
        }
    }),
    ("the kernel's half has more entries than any kernel", |w| {
        for index in 0..512 {
            w.entry(LINEAR_2, index, LINEAR_3 << 12 | 3);
        }
    }),
    ("no kernel of this ELF file lies in the memory", |w| {
        w.entry(KERNEL_ROOT, 511, 0)
    }),
];

#[test]
fn each_way_to_break_a_law_is_told() {
    for (text, damage) in DAMAGES {
        let mut world = World::new();
        damage(&mut world);
        let report = world.check(&[]).report;
        assert!(
            report.to_string().contains(text),
            "not \"{text}\":\n{report}"
        );
    }
}
