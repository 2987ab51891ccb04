//! Ways to break the header, the page array, and the records of objects.

use core::mem::offset_of;

use exopi_abi::domain::{AccountRecord, EnvironmentRecord, SpaceRecord};
use exopi_abi::exposed::{Header, Machine};
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::net::{FilterRecord, InterfaceRecord, RingRecord, SendRecord};
use exopi_abi::page::{NONE, PageRecord};
use exopi_abi::revocation::RevocationRecord;
use exopi_abi::slice::SliceRecord;

use super::super::Law;
use super::world::{
    EXPOSED_3, FILTERS_AT, INTERFACE_AT, KERNEL_ROOT, OWNERS, RING_PAGES_AT, RINGS_AT, ROOTS,
    SENDS_AT, SHARED, SPARE, World,
};
use super::{Damage, FIRST, KIND, OWNER, SECOND, byte, none};

/// Ways to break what the header and the page array say.
pub(super) const FRAMES: &[Damage] = &[
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
        byte(w, World::frame(SPARE, offset_of!(PageRecord, marks)), 2);
    }),
    (Law::Record, |w| {
        byte(
            w,
            World::frame(ROOTS[0], offset_of!(PageRecord, references)),
            1,
        );
    }),
    (Law::Leaving, |w| {
        byte(w, World::frame(SPARE, offset_of!(PageRecord, marks)), 0x80);
    }),
    (Law::Stamp, |w| {
        w.set(World::frame(SPARE, offset_of!(PageRecord, stamp)), 64 << 48);
    }),
    (Law::Stamp, |w| {
        w.set(World::frame(1, offset_of!(PageRecord, stamp)), 5);
    }),
    (Law::KernelFrame, |w| {
        w.set(World::frame(0x90, OWNER), 1 << 16)
    }),
    (Law::KernelFrame, |w| {
        w.record(0x90, 2, OWNERS[0], NONE, NONE)
    }),
    (Law::KernelFrame, |w| byte(w, World::frame(0, KIND), 1)),
    (Law::Owner, |w| w.set(World::frame(SPARE, OWNER), 0)),
    (Law::Owner, |w| w.set(World::frame(SPARE, OWNER), 2 << 16)),
    (Law::Owner, |w| {
        w.set(World::frame(SPARE, OWNER), 1 << 16 | 5)
    }),
    (Law::FreeList, |w| byte(w, World::frame(9, FIRST), 14)),
    (Law::FreeList, |w| byte(w, World::frame(9, SECOND), 1)),
    (Law::FreeList, |w| none(w, World::frame(9, FIRST))),
    (Law::FreeList, |w| none(w, World::frame(9, SECOND))),
    (Law::FreeList, |w| byte(w, World::frame(1, SECOND), 9)),
    // The last of a list leads back to the first.
    (Law::FreeList, |w| {
        w.write(World::frame(0x1fd, FIRST), &1_u32.to_le_bytes());
    }),
    (Law::FreeCount, |w| {
        let at = World::header_field(offset_of!(Header, free_pages));
        w.set(at, w.word(at) - 1);
    }),
    // A page that is on no list and nobody's.
    (Law::FreeList, |w| w.record(SPARE, 1, OWNERS[0], NONE, NONE)),
];

/// In a ring's record, its first page; the word has pages and notice, too.
const FIRST_PAGE: usize = offset_of!(MessageRingRecord, first);
/// Ways to break what filters, rings and send capabilities say.
pub(super) const NETWORKS: &[Damage] = &[
    (Law::Network, |w| {
        byte(
            w,
            INTERFACE_AT + offset_of!(InterfaceRecord, filters) as u64,
            3,
        );
    }),
    (Law::Network, |w| {
        byte(
            w,
            INTERFACE_AT + offset_of!(InterfaceRecord, taps) as u64,
            0,
        );
    }),
    (Law::Network, |w| {
        byte(
            w,
            FILTERS_AT + 64 + offset_of!(FilterRecord, parent) as u64,
            2,
        );
    }),
    (Law::Network, |w| {
        byte(w, FILTERS_AT + 64 + offset_of!(FilterRecord, key) as u64, 1);
    }),
    (Law::Network, |w| {
        byte(
            w,
            FILTERS_AT + 64 + offset_of!(FilterRecord, state) as u64,
            4,
        );
    }),
    (Law::Network, |w| {
        byte(
            w,
            FILTERS_AT + 64 + offset_of!(FilterRecord, references) as u64,
            2,
        );
    }),
    (Law::Charge, |w| {
        byte(
            w,
            FILTERS_AT + 64 + offset_of!(FilterRecord, keys) as u64,
            1,
        );
    }),
    (Law::Charge, |w| w.set(RINGS_AT + 8, OWNERS[0].word())),
    (Law::Pins, |w| w.set(RINGS_AT + 8, OWNERS[0].word())),
    (Law::Pins, |w| byte(w, RING_PAGES_AT, SPARE as u8)),
    (Law::Network, |w| {
        byte(w, RINGS_AT + offset_of!(RingRecord, pages) as u64, 0);
    }),
    (Law::Network, |w| {
        byte(w, RINGS_AT + offset_of!(RingRecord, tap) as u64, 2);
    }),
    (Law::Network, |w| {
        byte(w, SENDS_AT + 128 + offset_of!(SendRecord, parent) as u64, 1);
    }),
    (Law::Network, |w| {
        byte(w, SENDS_AT + 128 + offset_of!(SendRecord, depth) as u64, 2);
    }),
    (Law::Network, |w| {
        byte(w, SENDS_AT + offset_of!(SendRecord, interface) as u64, 1);
    }),
    (Law::Epoch, |w| w.set(SENDS_AT + 128, 43)),
    (Law::Region, |w| {
        w.set(
            World::header_field(offset_of!(Header, filters) + 8),
            u64::MAX,
        );
    }),
];

/// Ways to break what accounts, spaces and environments say.
pub(super) const OBJECTS: &[Damage] = &[
    // A pin that nobody has set up, one that is not counted, and one of what is not plain.
    (Law::Pins, |w| {
        byte(w, World::frame(SPARE, offset_of!(PageRecord, marks)), 1);
        byte(
            w,
            World::frame(SPARE, offset_of!(PageRecord, references)),
            1,
        );
    }),
    (Law::Pins, |w| {
        byte(
            w,
            World::revocation(0, offset_of!(RevocationRecord, order)),
            7,
        );
    }),
    (Law::Pins, |w| {
        w.set(
            World::revocation(0, offset_of!(RevocationRecord, vector)),
            ROOTS[0],
        );
        byte(
            w,
            World::revocation(0, offset_of!(RevocationRecord, vector_pages)),
            1,
        );
    }),
    // A ring in pages that are not pinned, one that is too long, one in what is not plain, one of nobody, and one that is
    // none and has been written to.
    (Law::Pins, |w| {
        w.set(World::message_ring(0, FIRST_PAGE), 1 << 32 | SPARE);
    }),
    (Law::MessageRings, |w| {
        w.set(World::message_ring(0, FIRST_PAGE), 17 << 32 | SPARE);
    }),
    (Law::MessageRings, |w| {
        w.set(World::message_ring(0, FIRST_PAGE), 1 << 32 | ROOTS[0]);
    }),
    (Law::MessageRings, |w| {
        w.set(World::message_ring(7, FIRST_PAGE), 1 << 32 | SPARE);
    }),
    (Law::MessageRings, |w| byte(w, World::message_ring(0, 0), 1)),
    (Law::MessageRings, |w| {
        w.set(
            World::message_ring(0, FIRST_PAGE),
            32 << 40 | 1 << 32 | SPARE,
        );
    }),
    (Law::Revocation, |w| {
        byte(
            w,
            World::revocation(0, offset_of!(RevocationRecord, state)),
            7,
        );
    }),
    // An open request of which the account knows nothing.
    (Law::Revocation, |w| {
        let account = offset_of!(RevocationRecord, account);
        w.set(World::revocation(0, account), OWNERS[0].word());
        byte(
            w,
            World::revocation(0, offset_of!(RevocationRecord, state)),
            1,
        );
    }),
    (Law::Revocation, |w| {
        byte(
            w,
            World::revocation(0, offset_of!(RevocationRecord, missed)),
            1,
        );
    }),
    (Law::Revocation, |w| {
        byte(
            w,
            World::revocation(0, offset_of!(RevocationRecord, bit)),
            32,
        );
    }),
    (Law::Revocation, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, asked)), 1);
    }),
    (Law::Revocation, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, frozen)), 1);
    }),
    (Law::Revocation, |w| {
        byte(
            w,
            World::account(1, offset_of!(AccountRecord, guaranteed)),
            9,
        );
    }),
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
        byte(
            w,
            World::environment(5, offset_of!(EnvironmentRecord, notices)),
            1,
        );
    }),
    (Law::Charge, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, used)), 7);
    }),
    (Law::Charge, |w| {
        byte(w, World::account(1, offset_of!(AccountRecord, used) + 4), 1);
    }),
    (Law::Charge, |w| {
        byte(
            w,
            World::account(0, offset_of!(AccountRecord, used) + 12),
            1,
        );
    }),
    (Law::Charge, |w| {
        w.set(World::frame(SPARE, OWNER), OWNERS[1].word())
    }),
    (Law::Allowance, |w| {
        byte(
            w,
            World::account(1, offset_of!(AccountRecord, allowance)),
            7,
        );
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
        w.set(
            World::space(1, offset_of!(SpaceRecord, owner)),
            OWNERS[0].word(),
        );
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
        byte(
            w,
            World::environment(1, offset_of!(EnvironmentRecord, space)),
            6,
        );
    }),
    (Law::Environment, |w| {
        w.set(
            World::environment(1, offset_of!(EnvironmentRecord, account)),
            1,
        );
    }),
    (Law::Record, |w| {
        byte(w, World::slice(1, offset_of!(SliceRecord, reserved)), 1);
    }),
    (Law::Record, |w| {
        byte(w, World::slice(70, offset_of!(SliceRecord, carry)), 1);
    }),
    (Law::Charge, |w| {
        byte(
            w,
            World::account(1, offset_of!(AccountRecord, used) + 16),
            1,
        );
    }),
    (Law::Epoch, |w| {
        w.set(World::slice(1, offset_of!(SliceRecord, epoch)), 42);
    }),
    (Law::Slice, |w| {
        w.set(World::slice(0, offset_of!(SliceRecord, account)), 77 << 16);
    }),
    (Law::Slice, |w| {
        w.set(
            World::slice(0, offset_of!(SliceRecord, environment)),
            31 << 16,
        );
    }),
    (Law::Slice, |w| {
        byte(w, World::slice(2, offset_of!(SliceRecord, carry)), 101);
    }),
    (Law::Slice, |w| {
        byte(
            w,
            World::environment(1, offset_of!(EnvironmentRecord, slices) + 1),
            1,
        );
    }),
    (Law::Record, |w| w.set(World::life(5, 8), 1)),
    (Law::Life, |w| byte(w, World::life(1, 0), 9)),
    (Law::Life, |w| byte(w, World::life(1, 1), 2)),
    (Law::Life, |w| byte(w, World::life(1, 2), 9)),
    (Law::Life, |w| byte(w, World::life(5, 2), 9)),
    (Law::Life, |w| w.set(World::life(0, 0), 0)),
    // Stopped on a core that there is not; dying, and on none.
    (Law::Life, |w| w.write(World::life(0, 0), &[1, 9])),
    (Law::Life, |w| w.write(World::life(0, 0), &[7, 255])),
    // Two on one core.
    (Law::Life, |w| w.write(World::life(1, 0), &[4, 0])),
    (Law::Environment, |w| {
        byte(
            w,
            World::environment(0, offset_of!(EnvironmentRecord, uarea)),
            SHARED as u8,
        );
    }),
    (Law::Environment, |w| {
        w.set(
            World::environment(0, offset_of!(EnvironmentRecord, uarea_at)),
            8,
        );
    }),
    (Law::Keeper, |w| {
        byte(
            w,
            World::environment(1, offset_of!(EnvironmentRecord, keeper_bit)),
            32,
        );
    }),
    (Law::Keeper, |w| {
        w.set(
            World::environment(1, offset_of!(EnvironmentRecord, keeper)),
            30 << 16 | 9,
        );
    }),
];
