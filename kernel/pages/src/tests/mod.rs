//! What the tests share: calls as data, a world to make them in, and what must hold after each.

mod examples;
// Under Miri it would take hours, and there is nothing unsafe to look at.
#[cfg(not(miri))]
mod exhaustive;
// About what the model remembers, which is nothing there.
#[cfg(not(miri))]
mod hardware;
mod naive;
mod random;

use std::vec::Vec;

use exopi_abi::capability::{Body, Epoch, Identity, PageRights, Restriction, Second, SpaceRights};
use exopi_abi::layout::TABLES_BASE;
use exopi_abi::page::{FrameType, Owner, PageRecord};
use exopi_abi::registers::Outcome;
use exopi_abi::{
    Access, Error, Note, PageNumber, PageSelect, Progress, Reply, TableLevel, VirtAddr,
};
use exopi_cap::{Epochs, Key, Verified};

use crate::free::FreeLists;
use crate::model::Machine;
use crate::{Credit, Index, Pages, Right, Source, Space, Step, pte};

const fn owner(index: u16) -> Owner {
    Owner::new(index, Epoch::from_low_bits(index as u64 + 100))
}

/// Two owners, with one space each.
pub(super) const OWNERS: [Owner; 2] = [owner(1), owner(2)];
/// The frames of their roots; frame 0 is the kernel's.
pub(super) const ROOTS: [u32; 2] = [1, 2];
/// The first frame that is free at the start.
pub(super) const FIRST_FREE: u32 = 3;
/// What the kernel puts in a root's last entry: a table in frame 0, which is empty here.
pub(super) const EXPOSED: u64 = pte::kernel_table(0);
/// Colours of every world.
pub(super) const COLOURS: u8 = 2;

/// What is in the first word of every frame at the start: a table entry that names a root.
pub(super) const FIRMWARE: u64 = pte::table(page(ROOTS[0]));

/// A capability that is presented: genuine, and otherwise whatever somebody may have been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cap {
    pub(super) first: u32,
    pub(super) count: u32,
    /// `None` stands for that of the first page that the call names; told by [`World::resolve`].
    pub(super) epoch: Option<Epoch>,
    pub(super) rights: PageRights,
    /// It ends with a time.
    pub(super) timed: bool,
    /// It is for pages.
    pub(super) for_pages: bool,
}

impl Cap {
    fn verified(self) -> Verified {
        let key = Key::new([1, 2]);
        let (first, epoch) = (self.first, self.epoch.expect("resolved"));
        let body = match self.for_pages {
            true => Body::new(self.rights, first, self.count, epoch),
            false => Body::new(SpaceRights::MAP, first, 1, epoch),
        };
        let mut capability = exopi_cap::seal(&body.expect("well-formed"), &key);
        if self.timed {
            let until = Restriction::Until(Second::new(1000).expect("in range"));
            capability = capability.attenuate(until).expect("room for one");
        }
        let presenter = Identity {
            index: 1,
            epoch: Epoch::LAST,
        };
        exopi_cap::verify(&capability, &key, presenter, 0).expect("genuine")
    }
}

/// By what right pages are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The caller owns them.
    Owner,
    Cap(Cap),
}

/// A call by owner `who`, on one of the spaces, or a store by it to its own memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Which, how many, and how many the caller may still take.
    Alloc(PageSelect, u64, u64),
    Free(By, PageNumber, u64),
    Retire(By, PageNumber, u64),
    Break(By, PageNumber, u64),
    /// First page and count; to whom, and how many that one takes.
    Give(PageNumber, u64, usize, u64),
    Limit(PageNumber, u64, u16),
    Mintable(PageNumber, u64),
    InsertTable(VirtAddr, TableLevel, PageNumber, PageNumber),
    RemoveTable(VirtAddr, TableLevel),
    Insert(VirtAddr, PageNumber, By, u64, Access),
    InsertNew(VirtAddr, PageSelect, u64, u64, Access),
    InsertSuper(VirtAddr, PageNumber, By, u64, Access),
    Remove(VirtAddr, u64),
    Protect(VirtAddr, u64, Access),
    Note(VirtAddr, Note),
    MakeUArea(VirtAddr, PageNumber),
    RemoveUArea(PageNumber),
    /// All steps, of this budget each. Not with a u-area in the space.
    Clear(u64),
    MakeRoot(PageNumber),
    /// All steps, for the caller's account. Not while it has a space or u-area.
    Reclaim,
    Write(PageNumber, Index, u64),
}

impl Op {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Alloc(..) => "alloc",
            Self::Free(..) => "free",
            Self::Retire(..) => "retire",
            Self::Break(..) => "break",
            Self::Give(..) => "give",
            Self::Limit(..) => "limit",
            Self::Mintable(..) => "mintable",
            Self::InsertTable(..) => "insert_table",
            Self::RemoveTable(..) => "remove_table",
            Self::Insert(..) => "insert",
            Self::InsertNew(..) => "insert_new",
            Self::InsertSuper(..) => "insert_superpage",
            Self::Remove(..) => "remove",
            Self::Protect(..) => "protect",
            Self::Note(..) => "note",
            Self::MakeUArea(..) => "make_uarea",
            Self::RemoveUArea(..) => "remove_uarea",
            Self::Clear(..) => "clear",
            Self::MakeRoot(..) => "make_root",
            Self::Reclaim => "reclaim",
            Self::Write(..) => "write",
        }
    }

    /// The right that it names pages by, and the first of them.
    fn by(&mut self) -> Option<(&mut By, PageNumber)> {
        match self {
            Self::Free(by, page, _)
            | Self::Retire(by, page, _)
            | Self::Break(by, page, _)
            | Self::Insert(_, page, by, ..)
            | Self::InsertSuper(_, page, by, ..) => Some((by, *page)),
            _ => None,
        }
    }
}

/// All state, as data: [`Pages`] is put together for each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) hw: Machine,
    pub(super) records: Vec<PageRecord>,
    pub(super) spaces: [Option<Space>; 2],
    /// The last epoch given.
    pub(super) epoch: Epoch,
    free: FreeLists,
}

impl World {
    /// `free` free frames, and the two spaces.
    pub(super) fn new(free: u32) -> Self {
        let frames = FIRST_FREE + free;
        let mut hw = Machine::new(frames);
        for number in 1..frames {
            hw.write(page(number), Index::truncate(0), FIRMWARE);
        }
        let mut records = std::vec![PageRecord::KERNEL; frames as usize];
        let mut pages = Pages::new(&mut records, COLOURS);
        let added = pages.add_free(page(1), u64::from(frames) - 1);
        assert_eq!(added.unless_stopped(), Ok(u64::from(frames) - 1));
        let mut world = Self {
            hw,
            free: pages.free,
            records,
            spaces: [None; 2],
            epoch: Epoch::NONE,
        };
        for (who, root) in ROOTS.map(page).into_iter().enumerate() {
            for op in [
                Op::Alloc(PageSelect::Exact(root), 1, 1),
                Op::Write(root, Index::truncate(1), FIRMWARE),
                Op::MakeRoot(root),
            ] {
                assert_eq!(world.apply(who, who, op).error(), None);
            }
        }
        world
    }

    /// Runs `f` on the pages, the hardware and the epochs.
    pub(super) fn with<R>(
        &mut self,
        f: impl FnOnce(&mut Pages<'_>, &mut Machine, &mut Epochs) -> R,
    ) -> R {
        let mut epochs = Epochs::after(self.epoch);
        let mut pages = Pages {
            records: &mut self.records,
            free: self.free,
        };
        let result = f(&mut pages, &mut self.hw, &mut epochs);
        self.free = pages.free;
        self.epoch = epochs.last();
        result
    }

    /// The call with the epoch that its capability left open.
    pub(super) fn resolve(&self, mut op: Op) -> Op {
        if let Some((By::Cap(cap), page)) = op.by()
            && cap.epoch.is_none()
        {
            let record = self.records.get(page.index());
            let epoch = record.map_or(Epoch::NONE, |record| record.stamp.epoch());
            // No capability has none.
            cap.epoch = Some(if epoch == Epoch::NONE {
                Epoch::LAST
            } else {
                epoch
            });
        }
        op
    }

    /// Makes a call on the space at `place`; what it returns as it would travel.
    pub(super) fn apply(&mut self, who: usize, place: usize, op: Op) -> Reply {
        let op = self.resolve(op);
        match op {
            Op::MakeRoot(root) => self.make_root(who, root).into_reply(),
            Op::Clear(budget) => self.clear(place, budget).into_reply(),
            Op::Reclaim => self.reclaim(who).into_reply(),
            Op::Write(page, index, word) => {
                let record = self.records.get(page.index());
                let owns = |r: &PageRecord| r.kind == FrameType::Plain && r.owner == OWNERS[who];
                if record.is_some_and(owns) {
                    self.hw.write(page, index, word);
                }
                Ok(()).into_reply()
            }
            _ => self
                .apply_to_pages(who, op)
                .unwrap_or_else(|| match self.spaces[place] {
                    Some(space) => self.apply_to_space(who, &space, op),
                    None => Err::<(), _>(Error::NotYours).into_reply(),
                }),
        }
    }

    fn apply_to_pages(&mut self, who: usize, op: Op) -> Option<Reply> {
        let me = OWNERS[who];
        self.with(|pages, hw, epochs| {
            Some(match op {
                Op::Alloc(which, count, allowed) => pages
                    .alloc(hw, epochs, credit(who, allowed), which, count)
                    .into_reply(),
                Op::Free(by, first, count) => {
                    with_right(me, by, |right| pages.free(right, first, count)).into_reply()
                }
                Op::Retire(by, first, count) => {
                    with_right(me, by, |right| pages.retire(epochs, right, first, count))
                        .into_reply()
                }
                Op::Break(by, first, count) => {
                    with_right(me, by, |right| pages.break_all(hw, right, first, count))
                        .into_reply()
                }
                Op::Give(first, count, to, accepted) => pages
                    .give(epochs, me, first, count, credit(to, accepted))
                    .into_reply(),
                Op::Limit(first, count, limit) => {
                    pages.set_limit(me, first, count, limit).into_reply()
                }
                Op::Mintable(first, count) => {
                    let epoch = pages.mintable(me, first, count);
                    let of_one = pages.mintable(me, first, 1).ok();
                    assert_eq!(pages.mintable_page(me, first), of_one, "{first:?}");
                    epoch.map(Epoch::bits).into_reply()
                }
                Op::RemoveUArea(page) => {
                    let mine = pages.record(page).is_some_and(|r| r.owner == me);
                    let removed = match mine {
                        true => pages.remove_uarea(hw, epochs, page),
                        false => Err(Error::NotYours),
                    };
                    removed.into_reply()
                }
                _ => return None,
            })
        })
    }

    fn apply_to_space(&mut self, who: usize, space: &Space, op: Op) -> Reply {
        let me = OWNERS[who];
        self.with(|pages, hw, epochs| match op {
            Op::InsertTable(at, level, table, links) => pages
                .insert_table(hw, space, at, level, table, links)
                .into_reply(),
            Op::RemoveTable(at, level) => pages
                .remove_table(hw, epochs, space, at, level)
                .into_reply(),
            Op::Insert(at, first, by, count, access) => with_right(me, by, |right| {
                // As the kernel does it.
                if count == 1 && pages.insert_page(hw, space, at, first, right, access) {
                    return complete(1);
                }
                let source = Source::Run(first, right);
                pages.insert_pte(hw, epochs, credit(who, 0), space, at, source, count, access)
            })
            .into_reply(),
            Op::InsertNew(at, which, count, allowed, access) => {
                let source = Source::New(which);
                let credit = credit(who, allowed);
                pages
                    .insert_pte(hw, epochs, credit, space, at, source, count, access)
                    .into_reply()
            }
            Op::InsertSuper(at, first, by, count, access) => with_right(me, by, |right| {
                pages.insert_superpage(hw, space, at, first, right, count, access)
            })
            .into_reply(),
            Op::Remove(at, count) => pages.remove_pte(hw, space, at, count).into_reply(),
            Op::Protect(at, count, access) => {
                pages.protect_pte(hw, space, at, count, access).into_reply()
            }
            Op::Note(at, note) => pages.note(hw, space, at, note).into_reply(),
            Op::MakeUArea(at, page) => pages.make_uarea(hw, me, space, at, page).into_reply(),
            _ => unreachable!("{op:?} is not about a space"),
        })
    }

    fn make_root(&mut self, who: usize, root: PageNumber) -> Result<(), Error> {
        if self.spaces[who].is_some() {
            return Err(Error::Occupied);
        }
        let asid = who as u16 + 1;
        let made = |pages: &mut Pages<'_>, hw: &mut Machine, _: &mut Epochs| {
            let space = pages.make_root(hw, OWNERS[who], root, asid, EXPOSED)?;
            assert_eq!(pages.space(root), Some(space));
            Ok(space)
        };
        let space = self.with(made)?;
        self.hw.attach(asid, root);
        self.spaces[who] = Some(space);
        Ok(())
    }

    fn clear(&mut self, place: usize, budget: u64) -> Result<(), Error> {
        let space = self.spaces[place].ok_or(Error::NotYours)?;
        let mut uareas = (0..).map(page).zip(&self.records);
        if uareas.any(|(_, record)| record.kind == FrameType::UArea) {
            return Err(Error::NotEmpty);
        }
        loop {
            let step = self.with(|pages, hw, epochs| pages.clear_space(hw, epochs, &space, budget));
            assert_eq!(self.hw.settled(), Ok(()));
            if step == Ok(Step::Done) {
                break;
            }
            assert_eq!(step, Ok(Step::More));
            assert_eq!(self.check(), Ok(()));
        }
        self.hw.detach(space.asid());
        self.spaces[place] = None;
        Ok(())
    }

    fn reclaim(&mut self, who: usize) -> Result<u64, Error> {
        let uarea = |r: &PageRecord| r.kind == FrameType::UArea;
        if self.spaces[who].is_some() || self.records.iter().any(uarea) {
            return Err(Error::NotEmpty);
        }
        let (mut cursor, mut freed) = (0, 0);
        loop {
            let reclaim = |pages: &mut Pages<'_>, hw: &mut Machine, _: &mut Epochs| {
                pages.reclaim(hw, OWNERS[who], &mut cursor)
            };
            let step = self.with(reclaim);
            freed += step.freed;
            assert_eq!(self.check(), Ok(()));
            if step.step == Step::Done {
                return Ok(freed);
            }
        }
    }

    /// What must hold whenever no operation is under way. Under Miri a recount takes seconds, and what it is there
    /// to look at is the operations.
    ///
    /// # Errors
    /// What does not.
    pub(super) fn check(&mut self) -> Result<(), std::string::String> {
        if cfg!(miri) { Ok(()) } else { self.recount() }
    }

    /// The same from the tables alone, and what EL0 can reach.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn recount(&mut self) -> Result<(), std::string::String> {
        self.hw.settled()?;
        let spaces = self.spaces;
        let all: Vec<&Space> = spaces.iter().flatten().collect();
        let invariants = self.with(|pages, hw, _| pages.check_invariants(hw, &all));
        invariants.map_err(|violation| std::format!("{violation:?}"))?;
        // What EL0 can reach, through whatever some core remembers.
        for (asid, at, reached) in self.hw.translations() {
            let record = self.records[reached.frame.index()];
            let space = all.iter().find(|space| space.asid() == asid);
            let own = space.is_some_and(|space| space.owner() == record.owner);
            let quiet = !reached.write && !reached.execute && !reached.superpage;
            let fine = match record.kind {
                FrameType::Plain => {
                    at < TABLES_BASE && (own || record.foreign > 0 || reached.superpage)
                }
                FrameType::UArea => at < TABLES_BASE && reached.write && !reached.execute,
                FrameType::Root | FrameType::Table2 | FrameType::Table3 => {
                    own && quiet && at >= TABLES_BASE
                }
                _ => false,
            };
            if !fine {
                return Err(std::format!(
                    "{asid}:{at:x} reaches {reached:?}, {record:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Makes a call by a right that lives as long as the call.
fn with_right<R>(me: Owner, by: By, call: impl FnOnce(Right<'_>) -> R) -> R {
    match by {
        By::Owner => call(Right::Owner(me)),
        By::Cap(cap) => call(Right::Verified(&cap.verified())),
    }
}

/// Of `who`'s account so many pages.
pub(super) const fn credit(who: usize, pages: u64) -> Credit {
    Credit {
        owner: OWNERS[who],
        pages,
    }
}

/// A page number.
pub(super) const fn page(number: u32) -> PageNumber {
    PageNumber::new(number)
}

/// An address that can be mapped.
pub(super) fn at(address: u64) -> VirtAddr {
    VirtAddr::new(address).expect("a test's address can be mapped")
}

pub(super) const READ: Access = Access::READ;
pub(super) const WRITE: Access = Access::READ.union(Access::WRITE);
pub(super) const EXECUTE: Access = Access::READ.union(Access::EXECUTE);

/// `done` items, and then this.
pub(super) const fn stopped(done: u64, error: Error) -> Progress {
    Progress {
        done,
        stopped: Some(error),
    }
}

/// All that was asked for, or as much as the bound allows.
pub(super) const fn complete(done: u64) -> Progress {
    Progress {
        done,
        stopped: None,
    }
}
