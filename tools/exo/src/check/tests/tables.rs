//! Ways to break the tables of spaces and of the kernel, and what tells of them.

use core::mem::offset_of;

use exopi_abi::domain::EnvironmentRecord;
use exopi_abi::page::{NONE, PageRecord};

use super::super::Law;
use super::world::{
    CODE, CONSTANTS, DEVICE_2, EXPOSED_2, EXPOSED_3, HEADER, IMAGE_3, LINEAR_2, LINEAR_3, NETWORK,
    OWN, OWNERS, RO, ROOTS, RW, RX, SHARED, SPARE, SUPER, SUPERPAGE, TABLE, TABLES_2, TABLES_3,
    UAREAS, World, slot,
};
use super::{Damage, FIRST, OWNER, SECOND, byte, none};

/// Ways to break user tables and what tells of them.
pub(super) const SPACES: &[Damage] = &[
    (Law::SelfEntry, |w| w.entry(ROOTS[0], 510, 0)),
    (Law::SelfEntry, |w| {
        w.entry(ROOTS[0], 510, ROOTS[1] << 12 | TABLE)
    }),
    // Writable at EL0, where it is read as a page.
    (Law::SelfEntry, |w| {
        w.entry(ROOTS[0], 510, ROOTS[0] << 12 | TABLE & !0x80)
    }),
    (Law::ExposedEntry, |w| w.entry(ROOTS[0], 511, 0)),
    (Law::ExposedEntry, |w| {
        w.entry(ROOTS[0], 511, EXPOSED_3 << 12 | 3)
    }),
    (Law::ExposedEntry, |w| {
        w.entry(ROOTS[0], 511, EXPOSED_2 << 12 | TABLE)
    }),
    (Law::Entry, |w| w.entry(ROOTS[0], 7, 2)),
    (Law::Entry, |w| w.entry(TABLES_2[0], 7, 4)),
    (Law::Entry, |w| {
        w.entry(ROOTS[0], 7, SUPERPAGE << 12 | SUPER)
    }),
    (Law::Entry, |w| {
        w.entry(TABLES_3[0], 7, SPARE << 12 | RW & !2)
    }),
    (Law::Entry, |w| w.entry(ROOTS[0], 0, SHARED << 12 | TABLE)),
    (Law::Entry, |w| w.entry(ROOTS[0], 0, 0xf_ffff << 12 | TABLE)),
    // Without PXNTable.
    (Law::Entry, |w| {
        w.entry(ROOTS[0], 0, TABLES_2[0] << 12 | TABLE & !(1 << 59))
    }),
    (Law::Table, |w| byte(w, World::frame(TABLES_3[0], FIRST), 4)),
    (Law::Table, |w| byte(w, World::frame(ROOTS[0], FIRST), 2)),
    (Law::Table, |w| {
        w.entry(ROOTS[0], 3, TABLES_2[0] << 12 | TABLE)
    }),
    (Law::Table, |w| w.entry(ROOTS[0], 0, 0)),
    (Law::Table, |w| {
        w.entry(ROOTS[0], 0, TABLES_2[1] << 12 | TABLE)
    }),
    (Law::Table, |w| {
        w.set(World::frame(TABLES_2[1], OWNER), OWNERS[0].word())
    }),
    (Law::Links, |w| {
        byte(w, World::frame(TABLES_3[0], SECOND), SPARE as u8)
    }),
    (Law::Links, |w| {
        byte(w, World::frame(TABLES_3[0] + 1, FIRST), 0)
    }),
    (Law::Links, |w| {
        byte(w, World::frame(TABLES_3[0] + 1, SECOND), 0)
    }),
    (Law::Links, |w| w.entry(TABLES_3[0] + 1, 2, 1)),
    (Law::Links, |w| w.entry(TABLES_2[0] + 1, 1, 1)),
    (Law::Links, |w| w.record(SPARE, 5, OWNERS[0], 0, 0)),
    // Global, with other shareability, another memory type, without PXN, with a bit that means nothing.
    (Law::Attributes, |w| {
        w.entry(TABLES_3[0], 0, SHARED << 12 | RW & !(1 << 11))
    }),
    (Law::Attributes, |w| {
        w.entry(TABLES_3[0], 0, SHARED << 12 | RW & !(3 << 8))
    }),
    (Law::Attributes, |w| {
        w.entry(TABLES_3[0], 0, SHARED << 12 | RW | 1 << 2)
    }),
    (Law::Attributes, |w| {
        w.entry(TABLES_3[0], 0, SHARED << 12 | RW & !(1 << 53))
    }),
    (Law::Attributes, |w| {
        w.entry(TABLES_3[0], 0, SHARED << 12 | RW | 1 << 58)
    }),
    // More than it was bound with.
    (Law::Attributes, |w| {
        w.entry(TABLES_3[0], 1, CODE << 12 | RX & !0x80)
    }),
    (Law::Attributes, |w| {
        w.entry(TABLES_3[0], 0, SHARED << 12 | RW & !(1 << 54))
    }),
    (Law::Attributes, |w| {
        w.entry(
            TABLES_2[0],
            2,
            SUPERPAGE << 12 | SUPER & !(1 << 54) | 7 << 55,
        )
    }),
    (Law::Attributes, |w| {
        w.entry(TABLES_2[0], 2, (SUPERPAGE + 1) << 12 | SUPER)
    }),
    (Law::Attributes, |w| {
        w.entry(TABLES_3[0], 255, UAREAS[0] << 12 | RW)
    }),
    (Law::Mapped, |w| {
        w.entry(TABLES_3[0], 0, ROOTS[1] << 12 | RO)
    }),
    (Law::Mapped, |w| {
        w.entry(TABLES_3[0], 0, 0xf_ffff << 12 | RO)
    }),
    (Law::Mapped, |w| {
        w.entry(TABLES_3[0], 9, UAREAS[1] << 12 | 0x0060_0000_0000_0f43)
    }),
    (Law::Mapped, |w| {
        w.record(SUPERPAGE + 5, 1, OWNERS[0], NONE, NONE)
    }),
    (Law::Mapped, |w| {
        byte(
            w,
            World::environment(1, offset_of!(EnvironmentRecord, uarea)),
            UAREAS[2] as u8,
        );
    }),
    (Law::References, |w| {
        byte(
            w,
            World::frame(SHARED, offset_of!(PageRecord, references)),
            3,
        );
    }),
    (Law::References, |w| {
        byte(w, World::frame(SHARED, offset_of!(PageRecord, foreign)), 0);
    }),
    (Law::References, |w| w.entry(TABLES_3[1], 5, OWN << 12 | RO)),
    (Law::References, |w| {
        byte(
            w,
            World::frame(SUPERPAGE, offset_of!(PageRecord, references)),
            0,
        );
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
        w.entry(
            TABLES_3[1] + 1,
            0,
            u64::from(!first) << 32 | u64::from(!first),
        );
    }),
    (Law::Reach, |w| w.entry(TABLES_3[0], 0, 0x90 << 12 | RO)),
    (Law::Reach, |w| {
        w.entry(TABLES_3[0], 0, (TABLES_3[0] + 1) << 12 | RO)
    }),
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
    (Law::Reach, |w| {
        w.entry(TABLES_3[0], 255, UAREAS[0] << 12 | RX)
    }),
    // Another space's table, by the entry that shows this one's.
    (Law::Reach, |w| {
        w.entry(ROOTS[0], 510, ROOTS[1] << 12 | TABLE)
    }),
    (Law::Reach, |w| {
        w.entry(ROOTS[0], 0, TABLES_2[0] << 12 | TABLE & !0x80)
    }),
    (Law::Reach, |w| {
        w.entry(ROOTS[0], 0, TABLES_2[0] << 12 | TABLE & !(1 << 54))
    }),
];

/// Ways to break the kernel's half.
pub(super) const KERNEL: &[Damage] = &[
    // Code that can be written, under its own name and another.
    (Law::KernelMap, |w| {
        w.entry(IMAGE_3, 0, 0x8_0000 | 0x0040_0000_0000_0703)
    }),
    (Law::KernelMap, |w| {
        w.entry(LINEAR_3, 0x80, 0x8_0000 | 0x0060_0000_0000_0703)
    }),
    // Data that is executed, constants that are written, a guard that is there, a page that is not.
    (Law::KernelMap, |w| {
        w.entry(IMAGE_3, 5, 0x8_5000 | 0x0040_0000_0000_0703)
    }),
    (Law::KernelMap, |w| {
        w.entry(IMAGE_3, 2, CONSTANTS << 12 | 0x0060_0000_0000_0703)
    }),
    (Law::KernelMap, |w| {
        w.entry(IMAGE_3, 0x20, 0xa_0000 | 0x0060_0000_0000_0703)
    }),
    (Law::KernelMap, |w| w.entry(IMAGE_3, 5, 0)),
    (Law::KernelMap, |w| {
        w.entry(IMAGE_3, 5, 0x8_6000 | 0x0060_0000_0000_0703)
    }),
    // For EL0.
    (Law::KernelMap, |w| {
        w.entry(LINEAR_2, 2, 0x40_0000 | 0x0060_0000_0000_0741)
    }),
    (Law::KernelMap, |w| {
        w.entry(LINEAR_2, 2, 0x40_0000 | 0x0020_0000_0000_0701)
    }),
    // Executable RAM, RAM as Device, a device as RAM, not shared.
    (Law::KernelMap, |w| {
        w.entry(LINEAR_2, 2, 0x40_0000 | 0x0040_0000_0000_0701)
    }),
    (Law::KernelMap, |w| {
        w.entry(LINEAR_2, 2, 0x40_0000 | 0x0060_0000_0000_0705)
    }),
    (Law::KernelMap, |w| {
        w.entry(DEVICE_2, 0x1f8, 0x3f00_0000 | 0x0060_0000_0000_0701)
    }),
    (Law::KernelMap, |w| {
        w.entry(LINEAR_2, 2, 0x40_0000 | 0x0060_0000_0000_0401)
    }),
    // A table out of somebody's page.
    (Law::KernelMap, |w| w.entry(LINEAR_2, 2, SPARE << 12 | 3)),
    (Law::Exposed, |w| {
        w.entry(EXPOSED_3, 1, (HEADER + 1) << 12 | 0x0060_0000_0000_0743)
    }),
    (Law::Exposed, |w| {
        w.entry(EXPOSED_3, 1, (HEADER + 1) << 12 | 0x0020_0000_0000_07c3)
    }),
    (Law::Exposed, |w| {
        w.entry(
            EXPOSED_3,
            NETWORK - HEADER + 1,
            0x9_1000 | 0x0060_0000_0000_07c3,
        )
    }),
    (Law::Exposed, |w| {
        w.entry(EXPOSED_3, 1, SPARE << 12 | 0x0060_0000_0000_07c3)
    }),
];
