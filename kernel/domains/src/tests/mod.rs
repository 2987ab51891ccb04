//! What the tests share: calls as data, a machine whose cores run environments, and what must hold after each call.

mod accounts;
mod alarms;
mod calls;
mod capabilities;
mod cores;
mod environments;
mod holdings;
mod life;
// Under Miri they would take hours, and there is nothing unsafe to look at.
#[cfg(not(miri))]
mod ends;
#[cfg(not(miri))]
mod exhaustive;
mod memory;
mod msgrings;
mod naive;
#[cfg(not(miri))]
mod oracle;
#[cfg(not(miri))]
mod random;
mod revocation;
#[cfg(not(miri))]
mod snapshot;
mod spaces;
#[cfg(not(miri))]
mod sweeps;
mod time;
mod transfers;
mod world;

use exopi_abi::capability::{Body, Epoch, Identity, Kind, KindRights, Restriction, Rights, Second};
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::page::Owner;
use exopi_abi::registers::Outcome;
use exopi_abi::{Access, Error, PageNumber, PageSelect, Progress, Reply, TableLevel, VirtAddr};
use exopi_cap::{Key, Verified};
use exopi_pages::pte;

use world::{Storage, World};

/// What the kernel puts in a root's last entry: a table in frame 0, which is empty here.
pub(super) const EXPOSED: u64 = pte::kernel_table(0);
pub(super) const KEY: Key = Key::new([3, 5]);
pub(super) const READ: Access = Access::READ;
pub(super) const WRITE: Access = Access::READ.union(Access::WRITE);

/// Where the first environment's u-area is, below tables that the world inserts.
pub(super) const FIRST_AT: u64 = 0x20_0000;

/// How an object is named, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Own,
    /// By its index, with its present epoch.
    Index(u16),
    /// By index and an epoch.
    Name(ObjectName),
    /// By a capability.
    Cap(Cap),
}

/// A capability that is presented: genuine, and otherwise whatever somebody may have been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cap {
    pub(super) kind: Kind,
    pub(super) index: u32,
    pub(super) count: u32,
    pub(super) epoch: Epoch,
    pub(super) rights: u16,
    /// It ends with a time.
    pub(super) timed: bool,
}

impl Cap {
    /// For an object, with all rights.
    pub(super) fn of(kind: Kind, name: ObjectName) -> Self {
        Self {
            kind,
            index: name.index.into(),
            count: 1,
            epoch: name.epoch,
            rights: kind.rights().bits(),
            timed: false,
        }
    }

    pub(super) fn with(self, rights: impl KindRights) -> Self {
        Self {
            rights: rights.bits(),
            ..self
        }
    }

    pub(super) fn verified(self, presenter: Identity) -> Verified {
        let rights = Rights::from_bits(self.rights);
        let body = Body::of_kind(self.kind, rights, self.index, self.count, self.epoch);
        let mut capability = exopi_cap::seal(&body.expect("well-formed"), &KEY);
        if self.timed {
            let until = Restriction::Until(Second::new(1000).expect("in range"));
            capability = capability.attenuate(until).expect("room for one");
        }
        exopi_cap::verify(&capability, &KEY, presenter, 0).expect("genuine")
    }
}

/// By what right pages are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Owned(PageNumber),
    Cap(PageNumber, Cap),
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Alloc(PageSelect, u64),
    Free(Run, u64),
    Give(PageNumber, u64, Owner),
    Accept(u32),
    Retire(Run, u64),
    Break(Run, u64),
    Limit(PageNumber, u64, u16),
    TableInsert(Named, VirtAddr, TableLevel, PageNumber, PageNumber),
    TableRemove(Named, VirtAddr, TableLevel),
    Insert(Named, VirtAddr, Run, u64, Access),
    InsertNew(Named, VirtAddr, u64, Access),
    Remove(Named, VirtAddr, u64),
    Protect(Named, VirtAddr, u64, Access),
    Mint(Kind, u64, u64, u64),
    AccountCreate([u32; 4]),
    Allow(Named, Resource, u32),
    AccountBind(Named),
    AccountDestroy(Named),
    SpaceCreate(PageNumber),
    SpaceDestroy(Named),
    EnvCreate(Named, PageNumber, VirtAddr),
    SliceAlloc(u64, u64, Named),
    SliceBind(Named, Named),
    SliceMove(Named, u64, u64),
    SliceFree(Named),
    Run(Named),
    Stop(Named),
    Yield(Named),
    Keep(Named, u64),
    Debug(Named, u64),
    Read(Named, u64),
    Write(Named, u64),
    ConsoleGive(Named),
    Destroy(Named),
}

/// A page number.
pub(super) const fn page(number: u32) -> PageNumber {
    PageNumber::new(number)
}

/// An address that can be mapped.
pub(super) fn at(address: u64) -> VirtAddr {
    VirtAddr::new(address).expect("a test's address can be mapped")
}

/// A call's progress.
pub(super) fn progress(reply: Reply) -> Progress {
    Progress::from_reply(reply)
}

/// Progress of one item: done, or more to do.
pub(super) fn done(reply: Reply) -> Result<bool, Error> {
    progress(reply).unless_stopped().map(|count| count == 1)
}

/// A name that stands for an object, and one that never will.
pub(super) const NEVER: ObjectName = ObjectName {
    index: 3,
    epoch: Epoch::LAST,
};
