//! A machine's memory, made by hand: a kernel without code, two accounts, two spaces, three environments.
//!
//! ```text
//!   frame 0             the spin table                       kernel
//!   0x80 .. 0xc0        the image, loaded at 0x80000         kernel
//!   0x100 .. 0x120      tables, u-areas and plain pages      account 0, or account 1
//!   0x200 .. 0x400      the page array's block               kernel
//!   0x400 .. 0x600      a superpage                          account 0
//!   0x600 .. 0x800      generated code                       kernel
//!   all others          free
//! ```
//!
//! Numbers of descriptors are written out here, and not taken from the checker.

use core::mem::{offset_of, size_of};
use std::ops::Range;

use exopi_abi::VERSION;
use exopi_abi::boot::KERNEL_MAGIC;
use exopi_abi::capability::{Capability, Epoch};
use exopi_abi::domain::{AccountRecord, EnvironmentRecord, Life, Resource, SpaceRecord};
use exopi_abi::exposed::{CoreCounters, Header, MAGIC, Machine};
use exopi_abi::net::{FilterRecord, InterfaceRecord, RingRecord, SendRecord};
use exopi_abi::page::{NONE, Owner, PageRecord};
use exopi_abi::slice::SliceRecord;

use super::super::kernel::Kernel;
use super::super::memory::Memory;
use super::super::{Findings, Grant, check};

/// Frames of RAM: 8 MiB.
pub(crate) const FRAMES: u64 = 0x800;
/// Colours of pages.
pub(crate) const COLOURS: u64 = 4;
/// The key of all seals.
pub(crate) const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

const LINKED: u64 = 0xffff_ffff_c000_0000;
/// Frames of the image.
const IMAGE: Range<u64> = 0x80..0xc0;
const STACKS: u64 = 0xa0;
pub(crate) const CONSTANTS: u64 = 0x82;
pub(crate) const KERNEL_ROOT: u64 = 0x84;
pub(crate) const IMAGE_2: u64 = 0x85;
pub(crate) const IMAGE_3: u64 = 0x86;
pub(crate) const LINEAR_2: u64 = 0x87;
pub(crate) const LINEAR_3: u64 = 0x88;
pub(crate) const DEVICE_2: u64 = 0x89;
pub(crate) const EXPOSED_2: u64 = 0x8a;
pub(crate) const EXPOSED_3: u64 = 0x8b;
/// The header's frame, and those behind it: counters, accounts, spaces, environments, lives,
/// revocations, slices, message rings, network.
pub(crate) const HEADER: u64 = 0x8c;
const COUNTERS: u64 = 0x8d;
const ACCOUNTS: u64 = 0x8e;
const SPACES: u64 = 0x8f;
const ENVIRONMENTS: u64 = 0x90;
const LIVES: u64 = 0x91;
pub(crate) const REVOCATIONS: u64 = 0x92;
const SLICES: u64 = 0x93;
pub(crate) const MESSAGE_RINGS: u64 = 0x94;
/// Records of a network.
pub(crate) const NETWORK: u64 = 0x95;
const KEY_PAGE: u64 = 0x96;
const ARRAY: u64 = 0x200;
/// Frames of generated code: a block.
const ARENA: Range<u64> = 0x600..0x800;

/// Accounts, by index: the first, and its child.
pub(crate) const OWNERS: [Owner; 2] = [
    Owner::new(0, Epoch::from_low_bits(1)),
    Owner::new(1, Epoch::from_low_bits(10)),
];
/// Roots of the spaces.
pub(crate) const ROOTS: [u64; 2] = [0x100, 0x110];
/// Their level-2 tables, with links behind them.
pub(crate) const TABLES_2: [u64; 2] = [0x101, 0x111];
/// Their level-3 tables, with links behind them.
pub(crate) const TABLES_3: [u64; 2] = [0x103, 0x113];
/// A plain page of account 0, mapped in both spaces.
pub(crate) const SHARED: u64 = 0x105;
/// A plain page of account 0, mapped executable.
pub(crate) const CODE: u64 = 0x106;
/// A plain page of account 1, mapped behind the shared one in space 1.
pub(crate) const OWN: u64 = 0x116;
/// A plain page of account 0 that is mapped nowhere.
pub(crate) const SPARE: u64 = 0x107;
/// A plain page of account 1 that is a packet ring's.
pub(crate) const RING: u64 = 0x11a;
/// Where records of a network are in their page: an interface, filters, rings, send capabilities, pages of rings.
pub(crate) const INTERFACE_AT: u64 = NETWORK * 4096;
pub(crate) const FILTERS_AT: u64 = INTERFACE_AT + 0x100;
pub(crate) const RINGS_AT: u64 = INTERFACE_AT + 0x200;
pub(crate) const SENDS_AT: u64 = INTERFACE_AT + 0x300;
pub(crate) const RING_PAGES_AT: u64 = INTERFACE_AT + 0x400;
/// First frame of the superpage.
pub(crate) const SUPERPAGE: u64 = 0x400;
/// u-areas, by environment.
pub(crate) const UAREAS: [u64; 3] = [0x108, 0x118, 0x119];
/// Where environment n sees its u-area.
pub(crate) const UAREA_AT: [u64; 3] = [0x2f_f000, 0x2f_f000, 0x2f_e000];

/// A level-3 entry: read and write, bound with both.
pub(crate) const RW: u64 = 0x01e0_0000_0000_0f43;
/// Read only, bound with read and write.
pub(crate) const RO: u64 = 0x01e0_0000_0000_0fc3;
/// Read and execute, bound with both.
pub(crate) const RX: u64 = 0x02a0_0000_0000_0fc3;
const UAREA: u64 = 0x0060_0000_0000_0f43;
/// A level-2 entry of a superpage: read and write, bound with both.
pub(crate) const SUPER: u64 = 0x01e0_0000_0000_0f41;
/// An entry that names a table of a space.
pub(crate) const TABLE: u64 = 0x0860_0000_0000_0fc3;
const KERNEL_RW: u64 = 0x0060_0000_0000_0703;
const KERNEL_RO: u64 = 0x0060_0000_0000_0783;
const KERNEL_RX: u64 = 0x0040_0000_0000_0783;
const EXPOSED: u64 = 0x0060_0000_0000_07c3;
const DEVICE: u64 = 0x0060_0000_0000_0705;

const PLAIN: u8 = 2;

/// The memory, and what was put there.
pub(crate) struct World {
    bytes: Vec<u8>,
}

impl World {
    /// The whole machine, in which nothing is wrong.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            bytes: vec![0; (FRAMES * 4096) as usize],
        };
        world.kernel_map();
        world.header();
        world.users();
        world.network();
        world.free_lists();
        world.accounts();
        world.set(KEY_PAGE * 4096, KEY[0]);
        world.set(KEY_PAGE * 4096 + 8, KEY[1]);
        world
    }

    /// What its ELF file would tell.
    pub(crate) fn kernel(&self) -> Kernel {
        let at = |frame: u64| LINKED + (frame - IMAGE.start) * 4096;
        Kernel {
            text: at(IMAGE.start)..at(CONSTANTS),
            constants: at(CONSTANTS)..at(CONSTANTS + 1),
            variables: at(CONSTANTS + 1)..at(STACKS),
            stacks: at(STACKS)..at(IMAGE.end),
            root: at(KERNEL_ROOT),
            key: Some(at(KEY_PAGE)..at(KEY_PAGE) + 16),
        }
    }

    /// A copy of the memory.
    pub(crate) fn memory(&self) -> Memory {
        Memory::of(self.bytes.clone())
    }

    /// Checks it.
    pub(crate) fn check(&self, grants: &[Grant]) -> Findings {
        check(&self.memory(), &self.kernel(), grants)
    }

    /// The word at a physical address.
    pub(crate) fn word(&self, at: u64) -> u64 {
        let bytes = self.bytes[at as usize..].first_chunk();
        u64::from_le_bytes(*bytes.unwrap())
    }

    /// Writes bytes.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.bytes[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a word.
    pub(crate) fn set(&mut self, at: u64, word: u64) {
        self.write(at, &word.to_le_bytes());
    }

    /// Writes a word of the image, by the address that it is linked at.
    pub(crate) fn write_image(&mut self, linked: u64, word: u64) {
        self.set(linked - LINKED + IMAGE.start * 4096, word);
    }

    /// Writes an entry of a table.
    pub(crate) fn entry(&mut self, table: u64, index: u64, entry: u64) {
        self.set(table * 4096 + index * 8, entry);
    }

    /// Where a field of a frame's record is.
    pub(crate) fn frame(number: u64, field: usize) -> u64 {
        ARRAY * 4096 + number * size_of::<PageRecord>() as u64 + field as u64
    }

    /// Where a field of an account's record is.
    pub(crate) fn revocation(index: u64, field: usize) -> u64 {
        REVOCATIONS * 4096 + index * 128 + field as u64
    }

    /// Where a field of an environment's ring for messages is.
    pub(crate) fn message_ring(index: u64, field: usize) -> u64 {
        MESSAGE_RINGS * 4096 + index * 16 + field as u64
    }

    /// The address of an account's field.
    pub(crate) fn account(index: u64, field: usize) -> u64 {
        ACCOUNTS * 4096 + index * size_of::<AccountRecord>() as u64 + field as u64
    }

    /// Where a field of a space's record is.
    pub(crate) fn space(index: u64, field: usize) -> u64 {
        SPACES * 4096 + index * size_of::<SpaceRecord>() as u64 + field as u64
    }

    /// Where a byte of an environment's life is: state and flags, core, epoch.
    pub(crate) fn life(index: u64, byte: u64) -> u64 {
        LIVES * 4096 + index * size_of::<Life>() as u64 + byte
    }

    /// Where a field of a slice's record is.
    pub(crate) fn slice(number: u64, field: usize) -> u64 {
        SLICES * 4096 + number * size_of::<SliceRecord>() as u64 + field as u64
    }

    /// Where a field of an environment's record is.
    pub(crate) fn environment(index: u64, field: usize) -> u64 {
        ENVIRONMENTS * 4096 + index * size_of::<EnvironmentRecord>() as u64 + field as u64
    }

    /// Where a field of the header is.
    pub(crate) fn header_field(field: usize) -> u64 {
        HEADER * 4096 + field as u64
    }

    /// Writes a capability.
    pub(crate) fn capability(&mut self, at: u64, capability: &Capability) {
        self.write(at, &capability.to_bytes());
    }

    fn kernel_map(&mut self) {
        self.set(IMAGE.start * 4096 + 8, u64::from_le_bytes(KERNEL_MAGIC));
        for (root_index, table) in [(511, IMAGE_2), (0, LINEAR_2), (256, DEVICE_2)] {
            self.entry(KERNEL_ROOT, root_index, table << 12 | 3);
        }
        self.entry(IMAGE_2, 0, IMAGE_3 << 12 | 3);
        for frame in IMAGE {
            let slot = frame.wrapping_sub(STACKS) % 8;
            let rights = match frame {
                ..CONSTANTS => KERNEL_RX,
                CONSTANTS => KERNEL_RO,
                STACKS.. if slot == 0 || slot == 3 => continue,
                _ => KERNEL_RW,
            };
            self.entry(IMAGE_3, frame - IMAGE.start, frame << 12 | rights);
        }
        self.entry(LINEAR_2, 0, LINEAR_3 << 12 | 3);
        for frame in (0..512).filter(|frame| !IMAGE.contains(frame)) {
            self.entry(LINEAR_3, frame, frame << 12 | KERNEL_RW);
        }
        self.entry(IMAGE_2, 1, ARENA.start << 12 | (KERNEL_RX & !2));
        for block in 1..ARENA.start / 512 {
            self.entry(LINEAR_2, block, block << 21 | (KERNEL_RW & !2));
        }
        self.entry(DEVICE_2, 0x1f8, 0x3f00_0000 | DEVICE);
        self.entry(EXPOSED_2, 0, EXPOSED_3 << 12 | 3);
        self.entry(EXPOSED_2, 1, ARRAY << 12 | (EXPOSED & !2));
        for (index, page) in (HEADER..=NETWORK).enumerate() {
            self.entry(EXPOSED_3, index as u64, page << 12 | EXPOSED);
        }
    }

    fn header(&mut self) {
        self.set(Self::header_field(0), MAGIC);
        self.set(Self::header_field(offset_of!(Header, version)), VERSION);
        let machine = offset_of!(Header, machine);
        self.set(Self::header_field(machine + offset_of!(Machine, cores)), 2);
        let colours = machine + offset_of!(Machine, colours);
        self.set(Self::header_field(colours), COLOURS);
        let slice = machine + offset_of!(Machine, slice_ticks);
        self.set(Self::header_field(slice), 100);
        let page = |frame: u64| (frame - HEADER) * 4096;
        for (field, section) in [
            (
                offset_of!(Header, counters),
                [page(COUNTERS), 4, size_of::<CoreCounters>() as u64],
            ),
            (offset_of!(Header, accounts), [page(ACCOUNTS), 8, 128]),
            (offset_of!(Header, spaces), [page(SPACES), 8, 32]),
            (
                offset_of!(Header, environments),
                [page(ENVIRONMENTS), 8, 64],
            ),
            (offset_of!(Header, lives), [page(LIVES), 8, 32]),
            (offset_of!(Header, revocations), [page(REVOCATIONS), 8, 128]),
            (offset_of!(Header, slices), [page(SLICES), 128, 32]),
            (
                offset_of!(Header, message_rings),
                [page(MESSAGE_RINGS), 8, 16],
            ),
            (offset_of!(Header, interfaces), [page(NETWORK), 1, 128]),
            (offset_of!(Header, filters), [page(NETWORK) + 0x100, 4, 64]),
            (offset_of!(Header, rings), [page(NETWORK) + 0x200, 2, 64]),
            (offset_of!(Header, sends), [page(NETWORK) + 0x300, 3, 64]),
            (
                offset_of!(Header, ring_pages),
                [page(NETWORK) + 0x400, 2, 256],
            ),
            (offset_of!(Header, pages), [0x20_0000, FRAMES, 32]),
        ] {
            for (at, word) in section.into_iter().enumerate() {
                self.set(Self::header_field(field + 8 * at), word);
            }
        }
    }

    /// Writes a frame's record.
    pub(crate) fn record(&mut self, number: u64, kind: u8, owner: Owner, first: u32, second: u32) {
        let epoch = if kind == PLAIN { 100 + number } else { 0 };
        self.set(
            Self::frame(number, offset_of!(PageRecord, owner)),
            owner.word(),
        );
        let stamp = if kind == PLAIN { epoch | 64 << 48 } else { 0 };
        self.set(Self::frame(number, offset_of!(PageRecord, stamp)), stamp);
        self.write(Self::frame(number, offset_of!(PageRecord, kind)), &[kind]);
        let words = [first.to_le_bytes(), second.to_le_bytes()].concat();
        self.write(Self::frame(number, offset_of!(PageRecord, first)), &words);
    }

    fn references(&mut self, number: u64, references: u32, foreign: u16) {
        let at = Self::frame(number, offset_of!(PageRecord, references));
        self.write(at, &references.to_le_bytes());
        let at = Self::frame(number, offset_of!(PageRecord, foreign));
        self.write(at, &foreign.to_le_bytes());
    }

    /// A table with its links behind it, named by an entry.
    fn table(&mut self, number: u64, level: u8, owner: Owner, entries: u32, named: (u64, u64)) {
        let links = number + 1;
        let slot = slot(named.0, named.1);
        self.record(number, level + 1, owner, entries, links as u32);
        self.record(links, 5, owner, number as u32, slot);
        self.entry(named.0, named.1, number << 12 | TABLE);
    }

    fn users(&mut self) {
        for space in 0..2 {
            let (owner, root) = (OWNERS[space], ROOTS[space]);
            let index = space as u64;
            self.record(root, 6, owner, 1, 1 + space as u32);
            self.entry(root, 510, root << 12 | TABLE);
            self.entry(root, 511, EXPOSED_2 << 12 | 3);
            // Space 0 has a superpage besides.
            self.table(TABLES_2[space], 2, owner, 2 - space as u32, (root, 0));
            self.table(
                TABLES_3[space],
                3,
                owner,
                3 + space as u32,
                (TABLES_2[space], 1),
            );
            self.set(
                Self::space(index, offset_of!(SpaceRecord, epoch)),
                20 + index,
            );
            self.set(
                Self::space(index, offset_of!(SpaceRecord, owner)),
                owner.word(),
            );
            self.set(
                Self::space(index, offset_of!(SpaceRecord, root)),
                root | (1 + index) << 32,
            );
            let at = Self::space(index, offset_of!(SpaceRecord, members));
            self.write(at, &[1 + space as u8]);
        }
        let [table, other] = TABLES_3;
        for (table, index, entry) in [
            (table, 0, SHARED << 12 | RW),
            (table, 1, CODE << 12 | RX),
            // A note.
            (table, 2, 0x1234_5678_9abc_def0),
            (table, 255, UAREAS[0] << 12 | UAREA),
            (other, 0, SHARED << 12 | RO),
            (other, 1, OWN << 12 | RW),
            (other, 255, UAREAS[1] << 12 | UAREA),
            (other, 254, UAREAS[2] << 12 | UAREA),
            (TABLES_2[0], 2, SUPERPAGE << 12 | SUPER),
        ] {
            self.entry(table, index, entry);
        }
        // Both entries of the shared page are on its list: that of space 0, then that of space 1.
        let (first, second) = (slot(table, 0), slot(other, 0));
        self.record(SHARED, PLAIN, OWNERS[0], first, NONE);
        self.references(SHARED, 2, 1);
        self.entry(table + 1, 0, u64::from(!second));
        self.entry(other + 1, 0, u64::from(!first) << 32);
        for (number, owner, kind, slot) in [
            (CODE, OWNERS[0], PLAIN, slot(table, 1)),
            (OWN, OWNERS[1], PLAIN, slot(other, 1)),
            (UAREAS[0], OWNERS[0], 7, slot(table, 255)),
            (UAREAS[1], OWNERS[1], 7, slot(other, 255)),
            (UAREAS[2], OWNERS[1], 7, slot(other, 254)),
        ] {
            self.record(number, kind, owner, slot, NONE);
            self.references(number, 1, 0);
        }
        self.record(SPARE, PLAIN, OWNERS[0], NONE, NONE);
        for number in SUPERPAGE..SUPERPAGE + 512 {
            self.record(number, PLAIN, OWNERS[0], NONE, NONE);
        }
        self.record(SUPERPAGE, PLAIN, OWNERS[0], NONE, slot(TABLES_2[0], 2));
        self.references(SUPERPAGE, 1, 0);
        self.environments();
    }

    /// The first runs on core 0; the two of the other space are ready, and are kept by the first.
    fn environments(&mut self) {
        for (index, (state, core)) in [(4, 0), (2, 255), (2, 255)].into_iter().enumerate() {
            let space = u8::from(index > 0);
            let owner = OWNERS[usize::from(space)];
            let at = |field| Self::environment(index as u64, field);
            self.set(at(offset_of!(EnvironmentRecord, epoch)), 30 + index as u64);
            self.set(at(offset_of!(EnvironmentRecord, account)), owner.word());
            self.set(at(offset_of!(EnvironmentRecord, bound)), owner.word());
            self.write(at(offset_of!(EnvironmentRecord, space)), &[space]);
            let word = (30 + index as u64) << 16 | core << 8 | state;
            self.set(Self::life(index as u64, 0), word);
            if index > 0 {
                self.set(at(offset_of!(EnvironmentRecord, keeper)), 30 << 16);
            }
            let uarea = UAREAS[index] as u32;
            self.write(
                at(offset_of!(EnvironmentRecord, uarea)),
                &uarea.to_le_bytes(),
            );
            self.set(at(offset_of!(EnvironmentRecord, uarea_at)), UAREA_AT[index]);
            // One slice each, on core 0.
            self.write(at(offset_of!(EnvironmentRecord, slices)), &[1]);
            let at = |field| Self::slice(index as u64, field);
            self.set(at(offset_of!(SliceRecord, epoch)), 40 + index as u64);
            let name = (30 + index as u64) << 16 | index as u64;
            self.set(at(offset_of!(SliceRecord, environment)), name);
            self.set(at(offset_of!(SliceRecord, account)), owner.word());
        }
    }

    /// An interface with its root and a filter of account 1, which has a ring that is a tap, too, and a send
    /// capability.
    fn network(&mut self) {
        self.write(
            INTERFACE_AT + offset_of!(InterfaceRecord, filters) as u64,
            &[2],
        );
        self.write(
            INTERFACE_AT + offset_of!(InterfaceRecord, taps) as u64,
            &[1],
        );
        for (at, epoch, owner) in [
            (FILTERS_AT, 40, OWNERS[0]),
            (FILTERS_AT + 64, 41, OWNERS[1]),
            (RINGS_AT, 42, OWNERS[1]),
            (SENDS_AT, 43, OWNERS[0]),
            (SENDS_AT + 128, 44, OWNERS[1]),
        ] {
            self.set(at, epoch);
            self.set(at + 8, owner.word());
        }
        let filter = |field: usize| FILTERS_AT + field as u64;
        self.write(filter(offset_of!(FilterRecord, state)), &[1]);
        self.write(filter(offset_of!(FilterRecord, keys)), &[1]);
        let filter = |field: usize| FILTERS_AT + 64 + field as u64;
        self.write(filter(offset_of!(FilterRecord, state)), &[1]);
        self.write(filter(offset_of!(FilterRecord, depth)), &[1]);
        self.write(filter(offset_of!(FilterRecord, references)), &[1]);
        let ring = |field: usize| RINGS_AT + field as u64;
        self.write(ring(offset_of!(RingRecord, pages)), &[1]);
        self.write(ring(offset_of!(RingRecord, tap)), &[1]);
        self.write(ring(offset_of!(RingRecord, references)), &[1]);
        self.write(RING_PAGES_AT, &(RING as u32).to_le_bytes());
        let depth = offset_of!(SendRecord, depth) as u64;
        self.write(SENDS_AT + 128 + depth, &[1]);
        self.record(RING, PLAIN, OWNERS[1], NONE, NONE);
        self.references(RING, 1, 0);
        self.write(Self::frame(RING, offset_of!(PageRecord, marks)), &[1]);
    }

    /// Every frame whose record is zero and that the kernel does not use is on the list of its colour.
    fn free_lists(&mut self) {
        let kernel = |number: u64| {
            let blocks = [ARRAY..ARRAY + 0x200, ARENA];
            number == 0
                || IMAGE.contains(&number)
                || blocks.iter().any(|block| block.contains(&number))
        };
        let free: Vec<u64> = (0..FRAMES)
            .filter(|number| !kernel(*number))
            .filter(|number| self.word(Self::frame(*number, offset_of!(PageRecord, owner))) == 0)
            .collect();
        for colour in 0..COLOURS {
            let list: Vec<u64> = free
                .iter()
                .copied()
                .filter(|number| number % COLOURS == colour)
                .collect();
            let at = |index: Option<usize>| {
                index
                    .and_then(|index| list.get(index))
                    .map_or(NONE, |number| *number as u32)
            };
            for (index, number) in list.iter().enumerate() {
                let (next, previous) = (at(Some(index + 1)), at(index.checked_sub(1)));
                self.record(*number, 1, Owner::NOBODY, next, previous);
            }
        }
        let at = Self::header_field(offset_of!(Header, free_pages));
        self.set(at, free.len() as u64);
    }

    /// Account 0 has 517 plain pages, a u-area, a root and two tables with links, and gave account 1 20 pages of
    /// which it uses 9, and what it has of a network. Each environment has a slice on core 0.
    fn accounts(&mut self) {
        for (index, allowance, used) in [
            (
                0_u64,
                [2000, 8, 8, 8, 256, 100, 100],
                [
                    512 + 3 + 1 + 5 + 20,
                    1 + 3,
                    1 + 2,
                    1 + 1,
                    1 + 4,
                    1 + 16 + 1 + 9,
                    9,
                ],
            ),
            (
                1,
                [20, 3, 2, 1, 4, 9, 9],
                [1 + 2 + 5 + 1, 2, 1, 0, 2, 2, 9_u32],
            ),
        ] {
            let at = |field| Self::account(index, field);
            let epoch = OWNERS[index as usize].epoch().bits();
            self.set(at(offset_of!(AccountRecord, epoch)), epoch);
            let words = |words: [u32; Resource::COUNT]| words.map(u32::to_le_bytes).concat();
            self.write(at(offset_of!(AccountRecord, allowance)), &words(allowance));
            self.write(at(offset_of!(AccountRecord, used)), &words(used));
        }
    }
}

/// A table's frame << 9 | index.
pub(crate) fn slot(table: u64, index: u64) -> u32 {
    (table << 9 | index) as u32
}
