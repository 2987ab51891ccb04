//! The records of the exposed region's sections, field by field.

use core::mem::{offset_of, size_of};

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{AccountRecord, EnvironmentRecord, Life, LifeWord, Resource, SpaceRecord};
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::page::{FrameType, Owner, PageRecord, Stamp};
use exopi_abi::revocation::{RevocationRecord, RevocationState};
use exopi_abi::slice::SliceRecord;

use super::Fields;

/// The record of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Whom it is charged to.
    pub owner: Owner,
    /// Epoch and limit.
    pub stamp: Stamp,
    /// Entries that map it.
    pub references: u32,
    /// Those of them that are in spaces of other accounts.
    pub foreign: u16,
    /// Its type, if its code is one.
    pub kind: Option<FrameType>,
    /// Whether its bindings are being broken, and its pins.
    pub marks: u8,
    /// By type.
    pub first: u32,
    /// By type.
    pub second: u32,
}

impl Frame {
    pub(super) fn read(from: Fields<'_>) -> Self {
        Self {
            owner: Owner::from_word(from.u64(offset_of!(PageRecord, owner))),
            stamp: Stamp::new(
                Epoch::from_low_bits(from.u64(offset_of!(PageRecord, stamp))),
                from.u16(offset_of!(PageRecord, stamp) + 6),
            ),
            references: from.u32(offset_of!(PageRecord, references)),
            foreign: from.u16(offset_of!(PageRecord, foreign)),
            kind: FrameType::from_code(from.u8(offset_of!(PageRecord, kind))),
            marks: from.u8(offset_of!(PageRecord, marks)),
            first: from.u32(offset_of!(PageRecord, first)),
            second: from.u32(offset_of!(PageRecord, second)),
        }
    }

    /// Whether it has this type.
    pub fn is(&self, kind: FrameType) -> bool {
        self.kind == Some(kind)
    }

    /// Whom it is charged to, if it is anybody's.
    pub fn charged_to(&self) -> Option<Owner> {
        match self.kind {
            None | Some(FrameType::Free | FrameType::Kernel) => None,
            Some(_) => Some(self.owner),
        }
    }
}

/// The record of an account.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// 0 if there is none.
    pub epoch: u64,
    /// Its parent's index.
    pub parent: u16,
    /// 1 while it is being destroyed.
    pub dying: u8,
    /// By [`Resource`].
    pub allowance: [u32; Resource::COUNT],
    /// By [`Resource`].
    pub used: [u32; Resource::COUNT],
    /// Of which resource some is asked for, as its number plus one.
    pub asked: u8,
    /// Of which resource it gets no more meanwhile, likewise.
    pub frozen: u8,
    /// How much of what is asked for it may use meanwhile.
    pub ceiling: u32,
    /// How many plain pages revocation leaves it.
    pub guaranteed: u32,
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Account {
    pub(super) fn read(from: Fields<'_>) -> Self {
        let four = |at: usize| core::array::from_fn(|which| from.u32(at + 4 * which));
        let reserved = offset_of!(AccountRecord, reserved);
        let more = offset_of!(AccountRecord, reserved_more);
        let mut padding = (reserved..reserved + 3).chain(more..size_of::<AccountRecord>());
        let padding = padding.all(|at| from.u8(at) == 0);
        let epoch = from.u64(offset_of!(AccountRecord, epoch));
        Self {
            epoch,
            parent: from.u16(offset_of!(AccountRecord, parent)),
            dying: from.u8(offset_of!(AccountRecord, dying)),
            allowance: four(offset_of!(AccountRecord, allowance)),
            used: four(offset_of!(AccountRecord, used)),
            asked: from.u8(offset_of!(AccountRecord, asked)),
            frozen: from.u8(offset_of!(AccountRecord, frozen)),
            ceiling: from.u32(offset_of!(AccountRecord, ceiling)),
            guaranteed: from.u32(offset_of!(AccountRecord, guaranteed)),
            tidy: padding && (epoch != 0 || is_zero(from)),
        }
    }
}

/// The record of a space.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// 0 if there is none.
    pub epoch: u64,
    /// Whom it and its tables are charged to.
    pub owner: Owner,
    /// The frame of its root.
    pub root: u32,
    /// Its ASID.
    pub asid: u16,
    /// Environments in it.
    pub members: u16,
    /// 1 while it is being destroyed.
    pub dying: u8,
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Space {
    pub(super) fn read(from: Fields<'_>) -> Self {
        let reserved = offset_of!(SpaceRecord, reserved);
        let epoch = from.u64(offset_of!(SpaceRecord, epoch));
        Self {
            epoch,
            owner: Owner::from_word(from.u64(offset_of!(SpaceRecord, owner))),
            root: from.u32(offset_of!(SpaceRecord, root)),
            asid: from.u16(offset_of!(SpaceRecord, asid)),
            members: from.u16(offset_of!(SpaceRecord, members)),
            dying: from.u8(offset_of!(SpaceRecord, dying)),
            tidy: (reserved..reserved + 3).all(|at| from.u8(at) == 0)
                && (epoch != 0 || is_zero(from)),
        }
    }
}

/// The record of an environment.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// 0 if there is none.
    pub epoch: u64,
    /// Whom it is charged to.
    pub account: Owner,
    /// Whom it draws on.
    pub bound: Owner,
    /// Its space's index.
    pub space: u16,
    /// 1 if it may be debugged.
    pub debugged: u8,
    /// Which notice tells its keeper.
    pub keeper_bit: u8,
    /// Its keeper's name; 0 for none.
    pub keeper: u64,
    /// The frame of its u-area.
    pub uarea: u32,
    /// Where it sees its u-area.
    pub uarea_at: u64,
    /// Slices that are bound to it, by core.
    pub slices: [u8; MAX_CORES],
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Environment {
    pub(super) fn read(from: Fields<'_>) -> Self {
        let epoch = from.u64(offset_of!(EnvironmentRecord, epoch));
        Self {
            epoch,
            account: Owner::from_word(from.u64(offset_of!(EnvironmentRecord, account))),
            bound: Owner::from_word(from.u64(offset_of!(EnvironmentRecord, bound))),
            space: from.u16(offset_of!(EnvironmentRecord, space)),
            debugged: from.u8(offset_of!(EnvironmentRecord, debugged)),
            keeper_bit: from.u8(offset_of!(EnvironmentRecord, keeper_bit)),
            keeper: from.u64(offset_of!(EnvironmentRecord, keeper)),
            uarea: from.u32(offset_of!(EnvironmentRecord, uarea)),
            uarea_at: from.u64(offset_of!(EnvironmentRecord, uarea_at)),
            slices: core::array::from_fn(|core| {
                from.u8(offset_of!(EnvironmentRecord, slices) + core)
            }),
            tidy: epoch != 0 || is_zero(from),
        }
    }
}

/// The record of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// 0 if there is none.
    pub epoch: u64,
    /// The name of the environment that runs in it.
    pub environment: u64,
    /// Whom it is charged to.
    pub account: Owner,
    /// Ticks that were carried over.
    pub carry: u32,
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Slice {
    pub(super) fn read(from: Fields<'_>) -> Self {
        let epoch = from.u64(offset_of!(SliceRecord, epoch));
        Self {
            epoch,
            environment: from.u64(offset_of!(SliceRecord, environment)),
            account: Owner::from_word(from.u64(offset_of!(SliceRecord, account))),
            carry: from.u32(offset_of!(SliceRecord, carry)),
            tidy: from.u32(offset_of!(SliceRecord, reserved)) == 0 && (epoch != 0 || is_zero(from)),
        }
    }
}

/// What changes of an environment as it runs.
#[derive(Clone, Copy, Debug)]
pub struct Living {
    /// Its word.
    pub word: LifeWord,
    /// Whether all that must be zero is.
    pub tidy: bool,
}

impl Living {
    pub(super) fn read(from: Fields<'_>) -> Self {
        let word = LifeWord::from_bits(from.u64(offset_of!(Life, word)));
        Self {
            word,
            tidy: !word.is_free() || is_zero(from),
        }
    }
}

/// The last request to an environment, and what that has set up.
#[derive(Clone, Copy, Debug)]
pub struct Revocation {
    /// The account that gives.
    pub account: Owner,
    /// How many were asked for.
    pub asked: u32,
    /// The most that the account may use in the end.
    pub target: u32,
    /// How many were given back.
    pub given: u32,
    /// How many were taken.
    pub taken: u32,
    /// How many of those nobody is told of.
    pub missed: u32,
    /// First page of the vector.
    pub vector: u32,
    /// The order page.
    pub order: u32,
    /// How many were taken and not told of yet.
    pub pending: u32,
    /// Pages of the vector.
    pub vector_pages: u8,
    /// The state's code.
    pub code: u8,
    /// The resource's number.
    pub resource: u8,
    /// Which notice tells who asked.
    pub bit: u8,
    /// Pages that stay.
    pub kept_count: u8,
}

impl Revocation {
    pub(super) fn read(from: Fields<'_>) -> Self {
        Self {
            account: Owner::from_word(from.u64(offset_of!(RevocationRecord, account))),
            asked: from.u32(offset_of!(RevocationRecord, asked)),
            target: from.u32(offset_of!(RevocationRecord, target)),
            given: from.u32(offset_of!(RevocationRecord, given)),
            taken: from.u32(offset_of!(RevocationRecord, taken)),
            missed: from.u32(offset_of!(RevocationRecord, missed)),
            vector: from.u32(offset_of!(RevocationRecord, vector)),
            order: from.u32(offset_of!(RevocationRecord, order)),
            pending: from.u32(offset_of!(RevocationRecord, pending) + 4),
            vector_pages: from.u8(offset_of!(RevocationRecord, vector_pages)),
            code: from.u8(offset_of!(RevocationRecord, state)),
            resource: from.u8(offset_of!(RevocationRecord, resource)),
            bit: from.u8(offset_of!(RevocationRecord, bit)),
            kept_count: from.u8(offset_of!(RevocationRecord, kept_count)),
        }
    }

    /// What becomes of it, if its code is a state's.
    pub fn state(&self) -> Option<RevocationState> {
        RevocationState::from_code(self.code)
    }

    /// Whether there is no outcome yet.
    pub fn is_open(&self) -> bool {
        self.state().is_some_and(RevocationState::is_open)
    }

    /// The frames that are set up, each as often as it is named.
    pub fn set_up(&self) -> impl Iterator<Item = u64> + use<> {
        let vector = u64::from(self.vector);
        let order = Some(u64::from(self.order)).filter(|order| *order != 0);
        (vector..vector + u64::from(self.vector_pages)).chain(order)
    }
}

fn is_zero(from: Fields<'_>) -> bool {
    from.0.iter().all(|byte| *byte == 0)
}
