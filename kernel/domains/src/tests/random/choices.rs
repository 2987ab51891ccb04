//! What random bytes stand for.

use std::vec::Vec;

use exopi_abi::capability::Kind;
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::page::Owner;
use exopi_abi::{PageNumber, PageSelect, TableLevel, VirtAddr};

use super::super::{Call, Cap, FIRST_AT, Named, READ, Run, WRITE, at, page};
use super::{CORES, FRAMES, PLACES};

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(in crate::tests) enum Step {
    /// Whoever runs on the core makes a call.
    Call(u8, Call),
    Interrupt(u8),
    Dispatch(u8),
    Suspend(u8),
    Sweep,
}

/// What the bytes of a step mean in a world in which there have been these `names`.
pub(in crate::tests) struct Choices<'c> {
    pub(in crate::tests) bytes: [u8; 10],
    pub(in crate::tests) names: &'c [(Kind, ObjectName)],
    /// Plain frames of the caller's that nothing refers to.
    pub(in crate::tests) spare: Vec<PageNumber>,
}

impl Choices<'_> {
    fn named(&self, kind: Kind) -> Named {
        let [.., how, which, rights] = self.bytes;
        let any = self
            .names
            .get(usize::from(which) % self.names.len().max(1))
            .copied();
        let latest = self.latest(kind, which).map(|name| (kind, name));
        match (how % 12, latest, any) {
            (0..3, ..) => Named::Own,
            (5..8, Some((_, name)), _) | (8, _, Some((_, name))) => Named::Name(name),
            (9, _, Some((of, name))) | (10.., Some((of, name)), _) => Named::Cap(Cap {
                // Some lack rights, and now and then it is of the wrong kind.
                rights: match rights % 4 {
                    0 => u16::from(rights) & of.rights().bits(),
                    _ => of.rights().bits(),
                },
                timed: rights % 16 == 1,
                ..Cap::of(of, name)
            }),
            _ => Named::Index(u16::from(which % PLACES)),
        }
    }

    /// One of the last few of a kind.
    fn latest(&self, kind: Kind, which: u8) -> Option<ObjectName> {
        let names = self.names.iter().rev().filter(|(of, _)| *of == kind);
        names.map(|(_, name)| *name).nth(usize::from(which % 4))
    }

    /// A frame: mostly a spare one.
    fn page(&self, byte: usize) -> PageNumber {
        let number = self.bytes[byte];
        let spare = self
            .spare
            .get(usize::from(number) % self.spare.len().max(1));
        match spare {
            Some(page) if number < 240 => *page,
            _ => page(u32::from(number) % (FRAMES + 2)),
        }
    }

    /// One of the few places in the tables that each space has.
    fn place(&self) -> VirtAddr {
        at(FIRST_AT + u64::from(self.bytes[4] % 7) * 4096)
    }

    fn few(&self) -> u32 {
        u32::from(self.bytes[5] % 14)
    }

    pub(in crate::tests) fn step(&self) -> Step {
        let core = self.bytes[1] % CORES;
        match self.bytes[0] % 64 {
            0..4 => Step::Interrupt(core),
            4..12 => Step::Dispatch(core),
            12 => Step::Suspend(core),
            13..16 => Step::Sweep,
            16..30 => Step::Call(core, self.of_environments()),
            30..36 => Step::Call(core, self.of_slices()),
            36..50 => Step::Call(core, self.of_accounts_and_spaces()),
            _ => Step::Call(core, self.of_pages()),
        }
    }

    fn of_environments(&self) -> Call {
        let named = self.named(Kind::Environment);
        let number = u64::from(self.bytes[5]);
        match self.bytes[2] % 18 {
            0..5 => Call::EnvCreate(self.named(Kind::Space), self.page(3), self.place()),
            5..9 => Call::Run(named),
            9 => Call::Stop(named),
            10..12 => Call::Yield(named),
            12 => Call::Keep(named, number % 33),
            13 => Call::Debug(named, number % 3),
            14 => Call::Read(named, number * 32),
            15 => Call::Write(named, number * 32),
            16 => Call::ConsoleGive(named),
            _ => Call::Destroy(named),
        }
    }

    fn of_slices(&self) -> Call {
        let slice = self.named(Kind::Slice);
        let environment = self.named(Kind::Environment);
        let core = u64::from(self.bytes[5] % (CORES + 1));
        let position = match self.bytes[4] % 8 {
            0..5 => u64::MAX,
            5 => 128,
            position => position.into(),
        };
        match self.bytes[2] % 12 {
            0..6 => Call::SliceAlloc(core, position, environment),
            6..8 => Call::SliceBind(slice, environment),
            8..10 => Call::SliceMove(slice, core, position),
            10 => Call::SliceFree(slice),
            _ => Call::Yield(environment),
        }
    }

    fn of_accounts_and_spaces(&self) -> Call {
        let account = self.named(Kind::Account);
        let few = self.few();
        match self.bytes[2] % 16 {
            14.. => {
                let resource = Resource::ALL[usize::from(self.bytes[3]) % Resource::COUNT];
                Call::Allow(account, resource, few)
            }
            0..3 => Call::AccountCreate([few * 3, few % 4, few % 3, few % 3]),
            3..5 => Call::AccountBind(account),
            5..7 => Call::AccountBind(Named::Own),
            7 => Call::AccountDestroy(account),
            8..11 => Call::SpaceCreate(self.page(3)),
            11 => Call::SpaceDestroy(self.named(Kind::Space)),
            12 => Call::Accept(few),
            _ => {
                let kinds = [
                    Kind::Page,
                    Kind::Space,
                    Kind::Environment,
                    Kind::Account,
                    Kind::Slice,
                ];
                let kind = kinds[usize::from(self.bytes[4] % 5)];
                Call::Mint(kind, u64::from(self.bytes[3] % PLACES), few.into(), 1)
            }
        }
    }

    fn of_pages(&self) -> Call {
        let space = self.named(Kind::Space);
        let few = u64::from(self.few());
        let run = Run::Owned(self.page(3));
        let level = match self.bytes[4] % 3 {
            0 => TableLevel::Two,
            _ => TableLevel::Three,
        };
        // Some where there is nothing else.
        let for_table = match self.bytes[4] % 2 {
            0 => at(1 << 30),
            _ => self.place(),
        };
        match self.bytes[2] % 24 {
            0..4 => Call::Alloc(PageSelect::Any, few),
            4 => Call::Free(run, few),
            5..7 => {
                let owner = self.latest(Kind::Account, self.bytes[6]);
                let owner = owner.map_or(Owner::NOBODY, |name| Owner::new(name.index, name.epoch));
                Call::Give(self.page(3), few, owner)
            }
            7 => Call::Retire(run, few),
            8 => Call::Break(run, few),
            9..13 => {
                let links = self.page(6);
                Call::TableInsert(space, for_table, level, self.page(3), links)
            }
            13 | 20..22 => Call::TableRemove(space, for_table, level),
            14..16 => Call::Insert(space, self.place(), run, 1 + few % 3, WRITE),
            16..18 => Call::InsertNew(space, self.place(), few, READ),
            18 => Call::Remove(space, self.place(), 1 + few % 3),
            19 => Call::Limit(self.page(3), few, 3),
            _ => Call::Protect(space, self.place(), 1 + few % 3, READ),
        }
    }
}
