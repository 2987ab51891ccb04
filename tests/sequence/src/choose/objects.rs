//! Words of the calls that are about accounts, spaces, environments and capabilities for them.

use exopi_abi::Call;
use exopi_abi::capability::Kind;
use exopi_abi::domain::ObjectName;

use super::{BORDERS, Chooser, Purpose};
use crate::stage::{BYTES, PLACES, SLOTS, bytes_address, slot_address};
use crate::{Names, World};

/// The bits of a word below its form.
const FORMLESS: u64 = (1 << 56) - 1;

impl Chooser {
    /// The word of an `Object`.
    pub(super) fn object<W: World>(&mut self, kind: Kind, world: &W, names: &Names) -> u64 {
        let own = match kind {
            Kind::Space => 60,
            _ => 15,
        };
        match self.random.below(100) {
            share if share < own => 0,
            share if share < own + (100 - own) * 6 / 10 => {
                1 << 56 | self.named(kind, world, names).word() & FORMLESS
            }
            0..97 => slot_address(self.slot(kind, world)),
            _ => {
                let other =
                    self.random
                        .pick(&[Kind::Account, Kind::Space, Kind::Environment, Kind::Slice]);
                1 << 56 | self.named(other, world, names).word() & FORMLESS
            }
        }
    }

    /// Mostly one that there still is.
    fn named<W: World>(&mut self, kind: Kind, world: &W, names: &Names) -> ObjectName {
        let known = names.objects(kind);
        if known.is_empty() {
            return world.me();
        }
        let start = self.random.below(known.len() as u64) as usize;
        let mut turned = known.iter().skip(start).chain(known.iter().take(start));
        let found = turned.find(|name| world.is_alive(kind, **name));
        match found {
            Some(name) if self.random.chance(92) => *name,
            _ => known[start],
        }
    }

    /// An account as whoever gives it something names it.
    pub(super) fn account_word(&mut self, names: &Names) -> u64 {
        let known = names.objects(Kind::Account);
        match self.random.below(12) {
            0 => 0,
            1 => self.random.word(),
            _ if known.is_empty() => 0,
            _ => self.random.pick(known).word(),
        }
    }

    pub(super) fn mint<W: World>(&mut self, world: &W, names: &Names) -> [u64; 6] {
        let kinds = [
            Kind::Page,
            Kind::Page,
            Kind::Page,
            Kind::Space,
            Kind::Environment,
            Kind::Account,
            Kind::Slice,
        ];
        let kind = self.random.pick(&kinds);
        let (index, count) = match kind {
            Kind::Page => (self.own_page(world, names), self.count()),
            _ => (self.named(kind, world, names).index.into(), 1),
        };
        let all = u64::from(kind.rights().bits());
        let rights = match self.random.below(8) {
            0..4 => all,
            4..7 => all & self.random.word(),
            _ => self.random.word() & 0x1_ffff,
        };
        let code = if self.random.chance(97) {
            kind as u64
        } else {
            self.random.below(12)
        };
        [code, index, count, rights, self.place_for_capability(), 0]
    }

    pub(super) fn narrow<W: World>(&mut self, world: &W, names: &Names) -> [u64; 6] {
        let kinds = [
            Kind::Page,
            Kind::Page,
            Kind::Page,
            Kind::Space,
            Kind::Environment,
            Kind::Account,
            Kind::Slice,
        ];
        let kind = self.random.pick(&kinds);
        let slot = self.slot(kind, world);
        let (index, count) = match world.capability(slot) {
            Some(capability) if self.random.chance(85) => {
                let body = capability.body();
                let offset = self.random.below(u64::from(body.count()).min(600));
                let left = u64::from(body.count()).saturating_sub(offset);
                (
                    u64::from(body.index()) + offset,
                    1 + self.random.below(left.min(4)),
                )
            }
            _ => (self.any_page(names), self.count()),
        };
        let rights = match self.random.below(3) {
            0 => 0xffff,
            1 => kind.rights().bits().into(),
            _ => self.random.below(0x1_0000),
        };
        let into = self.place_for_capability();
        [slot_address(slot), index, count, rights, into, 0]
    }

    fn place_for_capability(&mut self) -> u64 {
        match self.random.below(40) {
            0 => self
                .random
                .pick(&[0, slot_address(1) + 4, slot_address(SLOTS), 1 << 39]),
            // Two pages at once, one of which is not there; and a page that is perhaps read-only.
            1 => self
                .random
                .pick(&[PLACES[0] - 24, PLACES[0], PLACES[1] - 24, PLACES[1]]),
            _ => slot_address(self.any_slot()),
        }
    }

    /// A gate; a few most, so that they are found bound.
    fn gate(&mut self) -> u64 {
        match self.random.below(20) {
            0 => self.random.pick(&[14, 15, 16, 1 << 32, u64::MAX]),
            _ => self.random.below(3),
        }
    }

    /// Bytes that a call reads or writes: address and length.
    fn bytes(&mut self) -> [u64; 2] {
        let length = self.random.pick(&[0, 1, 8, 64, 511, 512, 513, BYTES]);
        let at = match self.random.below(12) {
            0 => self
                .random
                .pick(&[PLACES[0], PLACES[1] - 16, PLACES[4] + 8]),
            _ => bytes_address() + self.random.below(BYTES - length + 1),
        };
        [at, length]
    }

    /// A core and a position: mostly ones that there are.
    fn position(&mut self) -> [u64; 2] {
        let core = self.random.pick(&[0, 0, 0, 1, 2, 3, 4, u64::MAX]);
        let position = self
            .random
            .pick(&[u64::MAX, u64::MAX, u64::MAX, 0, 1, 2, 3, 127, 128]);
        [core, position]
    }

    pub(super) fn domain_words<W: World>(
        &mut self,
        call: Call,
        world: &W,
        names: &Names,
    ) -> [u64; 6] {
        use Call::*;
        match call {
            account_create => {
                let few = [0, 1, 2, 4, 8, 1 << 31];
                let pages = self.random.pick(&[0, 1, 4, 8, 8, 12, 1 << 31]);
                let [environments, spaces, accounts] = [0; 3].map(|_| self.random.pick(&few));
                [pages, environments, spaces, accounts, 0, 0]
            }
            account_bind | account_destroy => {
                [self.object(Kind::Account, world, names), 0, 0, 0, 0, 0]
            }
            space_create => [self.spare_page(world, names), 0, 0, 0, 0, 0],
            space_destroy => [self.object(Kind::Space, world, names), 0, 0, 0, 0, 0],
            env_create => {
                let space = self.object(Kind::Space, world, names);
                [space, self.spare_page(world, names), self.place(), 0, 0, 0]
            }
            account_allow => {
                let object = self.object(Kind::Account, world, names);
                let resource = self.random.pick(&[0, 0, 1, 2, 3, 4, 4, 4, 5]);
                let amount = self.random.pick(&[0, 1, 2, 4, 16, 1 << 31, 1 << 32]);
                [object, resource, amount, 0, 0, 0]
            }
            slice_alloc => {
                let [core, position] = self.position();
                let object = self.object(Kind::Environment, world, names);
                [core, position, object, 0, 0, 0]
            }
            slice_bind => {
                let slice = self.object(Kind::Slice, world, names);
                [
                    slice,
                    self.object(Kind::Environment, world, names),
                    0,
                    0,
                    0,
                    0,
                ]
            }
            slice_move => {
                let slice = self.object(Kind::Slice, world, names);
                let [core, position] = self.position();
                [slice, core, position, 0, 0, 0]
            }
            slice_free => [self.object(Kind::Slice, world, names), 0, 0, 0, 0, 0],
            env_keep => {
                let object = self.object(Kind::Environment, world, names);
                let few = self.random.pick(&[0, 0, 0, 1, 2, 31, 32, 255, 256]);
                [object, few, 0, 0, 0, 0]
            }
            env_debug => {
                let object = self.object(Kind::Environment, world, names);
                [object, self.random.pick(&[0, 1, 1, 2]), 0, 0, 0, 0]
            }
            env_run | env_stop | env_yield | env_destroy | console_give => {
                [self.object(Kind::Environment, world, names), 0, 0, 0, 0, 0]
            }
            env_read | env_write => {
                let object = self.object(Kind::Environment, world, names);
                let offset = self
                    .random
                    .pick(&[0, 0, 8, 1000, 3584, 4095, 4096, u64::MAX]);
                let [at, length] = self.bytes();
                [object, offset, at, length, 0, 0]
            }
            console_write | console_read => {
                let [at, length] = self.bytes();
                [at, length, 0, 0, 0, 0]
            }
            revoke_answer => [
                self.random.pick(&[0, 1, 2]),
                self.random.pick(&[0, 1, 2]),
                0,
                0,
                0,
                0,
            ],
            revoke_setup => {
                let count = self.random.pick(&[0, 1, 1, 2, 4, 5]);
                let order = self.random.pick(&[0, 1]) * self.spare_page(world, names);
                [self.spare_page(world, names), count, order, 0, 0, 0]
            }
            msgring_set => {
                let count = self.random.pick(&[0, 1, 1, 2, 16, 17]);
                let bit = self.random.pick(&[0, 5, 31, 32]);
                [self.spare_page(world, names), count, bit, 0, 0, 0]
            }
            msgring_send => {
                let [at, length] = self.bytes();
                [self.gate(), at, length, 0, 0, 0]
            }
            resume => [self.random.pick(&[0, 1, 4, 5]), 0, 0, 0, 0, 0],
            gate_bind => {
                let gate = self.gate();
                let object = self.object(Kind::Environment, world, names);
                [gate, object, 0, 0, 0, 0]
            }
            gate_unbind | gate_yield | pct_send => [self.gate(), 0, 0, 0, 0, 0],
            pct_call => {
                let deadline = self.random.pick(&[0, 0, 0, 1, u64::MAX]);
                [self.gate(), deadline, 0, 0, 0, 0]
            }
            board_exit if self.purpose == Purpose::Search => {
                [self.random.pick(&BORDERS), 0, 0, 0, 0, 0]
            }
            _ => [0; 6],
        }
    }
}
