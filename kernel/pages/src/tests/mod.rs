//! What the tests share: calls as data, a world to make them in, and what must hold after each.

mod examples;
// Under Miri it would take hours, and there is nothing unsafe to look at.
#[cfg(not(miri))]
mod exhaustive;
mod naive;
mod random;

use std::vec::Vec;

use exopi_abi::page::{FrameType, Owner, PageRecord};
use exopi_abi::registers::Outcome;
use exopi_abi::{Access, PageNumber, PageSelect, PageSource, Reply, TableLevel, VirtAddr};

use crate::model::Machine;
use crate::{Index, Pages, Space, pte};

/// Two owners, with one space each.
pub(super) const OWNERS: [Owner; 2] = [Owner::new(1, 1), Owner::new(1, 2)];
/// The frames of their roots; frame 0 is the kernel's.
pub(super) const ROOTS: [u32; 2] = [1, 2];
/// The first frame that is free at the start.
pub(super) const FIRST_FREE: u32 = 3;
/// What the kernel puts in a root's last entry: a table in frame 0, which is empty here.
pub(super) const EXPOSED: u64 = 0b11;

/// What is in the first word of every frame at the start: a table entry that names a root.
pub(super) const FIRMWARE: u64 = pte::table(page(ROOTS[0]));

/// A call by owner `who` on its own space, or a store by it to its own memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Alloc(PageSelect, u64),
    Free(PageNumber, u64),
    InsertTable(VirtAddr, TableLevel, PageNumber, Option<PageNumber>),
    RemoveTable(VirtAddr, TableLevel),
    Insert(VirtAddr, PageNumber, u64, Access),
    Remove(VirtAddr, u64),
    MakeUArea(VirtAddr, PageNumber),
    Write(PageNumber, Index, u64),
}

impl Op {
    fn name(&self) -> &'static str {
        match self {
            Self::Alloc(..) => "alloc",
            Self::Free(..) => "free",
            Self::InsertTable(..) => "insert_table",
            Self::RemoveTable(..) => "remove_table",
            Self::Insert(..) => "insert",
            Self::Remove(..) => "remove",
            Self::MakeUArea(..) => "make_uarea",
            Self::Write(..) => "write",
        }
    }
}

/// All state, as data: [`Pages`] is put together for each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) hw: Machine,
    pub(super) records: Vec<PageRecord>,
    free_list: (u32, u32, u32),
}

impl World {
    /// `free` free frames, and the two spaces.
    pub(super) fn new(free: u32) -> (Self, [Space; 2]) {
        let frames = FIRST_FREE + free;
        let mut hw = Machine::new(frames);
        for number in 1..frames {
            hw.write(page(number), Index::truncate(0), FIRMWARE);
        }
        let mut records = std::vec![PageRecord::KERNEL; frames as usize];
        let mut pages = Pages::new(&mut records);
        let added = pages.add_free(PageNumber::new(1), u64::from(frames) - 1);
        assert_eq!(added.unless_stopped(), Ok(u64::from(frames) - 1));
        let spaces = [0, 1].map(|who| {
            let page = PageNumber::new(ROOTS[who]);
            let which = PageSelect::Exact(page);
            let allocation = pages.alloc(&mut hw, OWNERS[who], which, 1);
            assert_eq!(allocation.progress.done, 1);
            hw.write(page, Index::truncate(1), FIRMWARE);
            let asid = who as u16 + 1;
            let space = pages.make_root(&mut hw, OWNERS[who], page, asid, EXPOSED);
            let space = space.expect("the page is fresh");
            hw.attach(asid, space.root());
            space
        });
        let free_list = (pages.head, pages.tail, pages.free);
        let world = Self {
            hw,
            records,
            free_list,
        };
        (world, spaces)
    }

    /// Runs `f` on the pages and the hardware.
    pub(super) fn with<R>(&mut self, f: impl FnOnce(&mut Pages<'_>, &mut Machine) -> R) -> R {
        let (head, tail, free) = self.free_list;
        let mut pages = Pages {
            records: &mut self.records,
            head,
            tail,
            free,
        };
        let result = f(&mut pages, &mut self.hw);
        self.free_list = (pages.head, pages.tail, pages.free);
        result
    }

    /// Makes a call; what it returns as it would travel.
    pub(super) fn apply(&mut self, spaces: &[Space; 2], who: usize, op: Op) -> Reply {
        let (owner, space) = (OWNERS[who], &spaces[who]);
        self.with(|pages, hw| match op {
            Op::Alloc(which, count) => pages.alloc(hw, owner, which, count).into_reply(),
            Op::Free(first, count) => pages.free(owner, first, count).into_reply(),
            Op::InsertTable(at, level, table, links) => pages
                .insert_table(hw, space, at, level, table, links)
                .into_reply(),
            Op::RemoveTable(at, level) => pages.remove_table(hw, space, at, level).into_reply(),
            Op::Insert(at, first, count, access) => pages
                .insert_pte(hw, space, at, PageSource::Owned(first), count, access)
                .into_reply(),
            Op::Remove(at, count) => pages.remove_pte(hw, space, at, count).into_reply(),
            Op::MakeUArea(at, page) => pages.make_uarea(hw, space, at, page).into_reply(),
            Op::Write(page, index, word) => {
                let record = pages.record(page);
                if record.is_some_and(|r| r.owner == owner && r.kind == FrameType::Plain) {
                    hw.write(page, index, word);
                }
                Ok(()).into_reply()
            }
        })
    }

    /// What must hold whenever no operation is under way.
    ///
    /// # Errors
    /// What does not.
    pub(super) fn check(&mut self, spaces: &[Space; 2]) -> Result<(), std::string::String> {
        self.hw.settled()?;
        let all = [&spaces[0], &spaces[1]];
        let invariants = self.with(|pages, hw| pages.check_invariants(hw, &all));
        invariants.map_err(|violation| std::format!("{violation:?}"))?;
        // What EL0 can reach, through whatever some core remembers.
        for (asid, at, reached) in self.hw.translations() {
            let record = self.records[reached.frame.index()];
            let space = spaces.iter().find(|space| space.asid() == asid);
            let own = space.is_some_and(|space| space.owner() == record.owner);
            let uarea = record.kind == FrameType::UArea && reached.write && !reached.execute;
            if !own || !(record.kind == FrameType::Plain || uarea) {
                return Err(std::format!(
                    "{asid}:{at:x} reaches {reached:?}, {record:?}"
                ));
            }
        }
        Ok(())
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
