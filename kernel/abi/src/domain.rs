//! Records of accounts, spaces and environments: who pays, where, and who runs. They are exposed.
//! What changes of an environment as it runs is in its [`Life`], beside its record.
//!
//! ```text
//!   account  <-- parent -- account            what may be used; carved out of the parent's
//!      ^                      ^
//!      | owner                | account (charged), bound (drawn on)
//!    space  <-- space -- environment          tables and mappings; what runs in them
//! ```
//!
//! A record's place in its table is the object's index. A record whose epoch is [`Epoch::NONE`] is free, and
//! all its other fields are zero.

mod life;

use crate::Error;
use crate::capability::{Epoch, Identity};
use crate::exposed::MAX_CORES;
use crate::page::Owner;
use crate::registers::{Argument, Arguments, Value};
use crate::slice::SLICES_PER_CORE;

pub use life::{EnvironmentState, Life, LifeWord};

/// Most accounts at a time.
pub const MAX_ACCOUNTS: usize = 1024;
/// Most spaces at a time.
pub const MAX_SPACES: usize = 1024;
/// Most environments at a time.
pub const MAX_ENVIRONMENTS: usize = 1024;

/// What an account has allowances of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Resource {
    /// Page frames.
    Pages = 0,
    /// Environments.
    Environments = 1,
    /// Spaces.
    Spaces = 2,
    /// Accounts.
    Accounts = 3,
    /// Time slices.
    Slices = 4,
    /// Filters and what goes with them: each filter and each send capability counts 1, each key [`KEY_WEIGHT`].
    Filters = 5,
    /// Packet rings and what goes with them: each reference of a filter and each frame in flight counts 1, each
    /// ring [`RING_WEIGHT`].
    Frames = 6,
}

/// What a key of a filter counts for among [`Resource::Filters`].
pub const KEY_WEIGHT: u32 = 16;
/// What a packet ring counts for among [`Resource::Frames`].
pub const RING_WEIGHT: u32 = 8;

impl Resource {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// Every one, in the order of the numbers.
    pub const ALL: [Resource; Resource::COUNT] = [
        Self::Pages,
        Self::Environments,
        Self::Spaces,
        Self::Accounts,
        Self::Slices,
        Self::Filters,
        Self::Frames,
    ];
}

impl Argument for Resource {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let number = usize::try_from(from.take()).ok();
        let resource = number.and_then(|number| Self::ALL.get(number).copied());
        resource.ok_or(Error::Malformed)
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self as u64);
    }
}

/// An account. Its parent is charged with its whole allowance from its beginning to its end, and with one
/// account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct AccountRecord {
    /// Epoch, in the lowest 48 bits.
    pub epoch: u64,
    /// The account that it was carved out of. The first one has none: itself.
    pub parent: u16,
    /// 1 while it is being destroyed, and nothing new is charged to it.
    pub dying: u8,
    /// Of which resource an environment of its has been asked for some, as its number plus one; 0 for none.
    pub asked: u8,
    /// Of which resource it gets no more, because the kernel takes that from an account above it, as its number plus
    /// one; 0 for none.
    pub frozen: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// How much it may use, by [`Resource`].
    pub allowance: [u32; Resource::COUNT],
    /// How much of it is in use or was carved out for children.
    pub used: [u32; Resource::COUNT],
    /// How many pages it takes from others (`page_give`).
    pub accepts: u32,
    /// For the kernel's use.
    pub cursor: u32,
    /// How many plain pages revocation leaves it.
    pub guaranteed: u32,
    /// How much it may use of what it is `asked` for: what it used when that was asked.
    pub ceiling: u32,
    /// Zero.
    pub reserved_more: [u32; 10],
}

/// An address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SpaceRecord {
    /// Epoch, in the lowest 48 bits.
    pub epoch: u64,
    /// The account that it and its tables are charged to.
    pub owner: Owner,
    /// The frame of its root.
    pub root: u32,
    /// Its ASID.
    pub asid: u16,
    /// Environments in it.
    pub members: u16,
    /// 1 while it is being destroyed, and nothing is mapped in it any more.
    pub dying: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// For the kernel's use.
    pub cursor: u32,
}

impl SpaceRecord {
    /// A record of no space.
    pub const FREE: SpaceRecord = SpaceRecord {
        epoch: 0,
        owner: Owner::NOBODY,
        root: 0,
        asid: 0,
        members: 0,
        dying: 0,
        reserved: [0; 3],
        cursor: 0,
    };
}

/// An environment, as far as everybody may know. What becomes of it is in its [`Life`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EnvironmentRecord {
    /// Epoch, in the lowest 48 bits.
    pub epoch: u64,
    /// The account that it is charged to, for as long as it lives.
    pub account: Owner,
    /// The account that it draws on at present.
    pub bound: Owner,
    /// Index of its space.
    pub space: u16,
    /// 1 if it may be debugged: single steps are delivered to it.
    pub debugged: u8,
    /// Which notice tells its keeper, 0 to 31.
    pub keeper_bit: u8,
    /// How many slices are bound to it, by core.
    pub slices: [u8; MAX_CORES],
    /// The [`ObjectName::word`] of its keeper; 0 for none.
    pub keeper: u64,
    /// The frame of its u-area.
    pub uarea: u32,
    /// Notices that wait to be delivered to it.
    pub notices: u32,
    /// Where it sees its u-area.
    pub uarea_at: u64,
    /// Since when what it owes has been as its life says, in ticks: without slices it owes less as time goes by. For the
    /// kernel's use while it is being destroyed.
    pub owed_since: u64,
}

impl EnvironmentRecord {
    /// A record of no environment.
    pub const FREE: EnvironmentRecord = EnvironmentRecord {
        epoch: 0,
        account: Owner::NOBODY,
        bound: Owner::NOBODY,
        space: 0,
        debugged: 0,
        keeper_bit: 0,
        slices: [0; MAX_CORES],
        keeper: 0,
        uarea: 0,
        notices: 0,
        uarea_at: 0,
        owed_since: 0,
    };
}

const _: () = {
    assert!(size_of::<AccountRecord>() == 128);
    assert!(size_of::<SpaceRecord>() == 32);
    assert!(size_of::<EnvironmentRecord>() == 64);
    assert!(SLICES_PER_CORE <= u8::MAX as usize);
};

/// An account, space or environment by index and epoch: all that its owner needs to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// Place in its table.
    pub index: u16,
    /// Its epoch.
    pub epoch: Epoch,
}

impl ObjectName {
    /// As one word: epoch << 16 | index.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.index as u64 | self.epoch.bits() << 16
    }

    /// The name in a word. Each word is one.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            index: word as u16,
            epoch: Epoch::from_low_bits(word >> 16),
        }
    }

    /// An environment of this name as presenter and holder of capabilities.
    #[inline(always)]
    pub const fn identity(self) -> Identity {
        Identity {
            index: self.index as u32,
            epoch: self.epoch,
        }
    }
}

impl Value for ObjectName {
    #[inline(always)]
    fn into_word(self) -> u64 {
        self.word()
    }

    #[inline(always)]
    fn from_word(word: u64) -> Self {
        Self::from_word(word)
    }
}

/// An account is named by whoever gives it something, which needs no right to it.
impl Argument for Owner {
    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        Ok(Self::from_word(from.take()))
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self.word());
    }
}
