//! What the call table says, done the obvious way: maps, one page at a time, no tables.

use std::collections::{BTreeMap, VecDeque};

use exopi_abi::page::{
    ALLOC_BOUND, FREE_BOUND, FrameType, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, REMOVE_BOUND,
};
use exopi_abi::registers::Outcome;
use exopi_abi::{
    Access, Allocation, Error, PageNumber, PageSelect, Progress, Reply, TableLevel, VirtAddr,
};

use super::{FIRMWARE, FIRST_FREE, Op, ROOTS, page};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) owner: Option<usize>,
    pub(super) user: Option<usize>,
    pub(super) kind: FrameType,
    /// Words that are not zero, of a plain, free or u-area frame.
    pub(super) contents: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Mappings {
    /// By number of the GiB.
    tables2: BTreeMap<u64, u32>,
    /// By number of the 2 MiB: table and links.
    tables3: BTreeMap<u64, (u32, u32)>,
    /// By address: frame, and what was asked for.
    pub(super) pages: BTreeMap<VirtAddr, (u32, Access)>,
}

#[derive(Clone, Debug)]
pub(super) struct Naive {
    pub(super) frames: BTreeMap<u32, Frame>,
    pub(super) free: VecDeque<u32>,
    pub(super) spaces: [Mappings; 2],
}

impl Naive {
    pub(super) fn new(free: u32) -> Self {
        let frame = |number| {
            let root = ROOTS.iter().position(|root| *root == number);
            let kind = match number {
                0 => FrameType::Kernel,
                _ if root.is_some() => FrameType::Root,
                _ => FrameType::Free,
            };
            Frame {
                owner: root,
                user: root,
                kind,
                contents: BTreeMap::from([(0, FIRMWARE)]),
            }
        };
        Self {
            frames: (0..FIRST_FREE + free).map(|n| (n, frame(n))).collect(),
            free: (FIRST_FREE..FIRST_FREE + free).collect(),
            spaces: Default::default(),
        }
    }

    pub(super) fn apply(&mut self, who: usize, op: Op) -> Reply {
        match op {
            Op::Alloc(which, count) => self.alloc(who, which, count).into_reply(),
            Op::Free(first, count) => {
                items(count, FREE_BOUND, |i| self.free(who, number(first, i)?)).into_reply()
            }
            Op::InsertTable(at, level, table, links) => self
                .insert_table(who, at, level, table.get(), links.map(PageNumber::get))
                .into_reply(),
            Op::RemoveTable(at, level) => self.remove_table(who, at, level).into_reply(),
            Op::Insert(at, first, count, access) => {
                let bound = if access.contains(Access::EXECUTE) {
                    INSERT_EXECUTABLE_BOUND
                } else {
                    INSERT_BOUND
                };
                items(count, bound, |i| {
                    let at = at.plus(i).ok_or(Error::BadAddress)?;
                    self.insert(who, at, number(first, i), access)
                })
                .into_reply()
            }
            Op::Remove(at, count) => items(count, REMOVE_BOUND, |i| {
                self.remove(who, at.plus(i).ok_or(Error::BadAddress)?)
            })
            .into_reply(),
            Op::MakeUArea(at, page) => self.make_uarea(who, at, page.get()).into_reply(),
            Op::Write(page, index, word) => {
                if let Some(frame) = self.frames.get_mut(&page.get())
                    && frame.owner == Some(who)
                    && frame.kind == FrameType::Plain
                {
                    frame.contents.insert(index.get(), word);
                    frame.contents.retain(|_, word| *word != 0);
                }
                Ok(()).into_reply()
            }
        }
    }

    fn alloc(&mut self, who: usize, which: PageSelect, count: u64) -> Allocation {
        let refused = |error| Allocation {
            first: page(0),
            progress: Progress::refused(error),
        };
        let first = match (which, self.free.front()) {
            (PageSelect::Exact(first), _) => first,
            (PageSelect::Any, _) if count != 1 => return refused(Error::BadCount),
            (PageSelect::Any, None) => return refused(Error::Exhausted),
            (PageSelect::Any, Some(head)) => page(*head),
        };
        let progress = items(count, ALLOC_BOUND, |i| {
            let number = number(first, i)?;
            let frame = self.frames.get_mut(&number).ok_or(Error::OutOfRange)?;
            if frame.kind != FrameType::Free {
                return Err(Error::Taken);
            }
            if frame.user != Some(who) {
                frame.contents.clear();
            }
            frame.owner = Some(who);
            frame.user = Some(who);
            frame.kind = FrameType::Plain;
            self.free.retain(|free| *free != number);
            Ok(())
        });
        Allocation { first, progress }
    }

    fn free(&mut self, who: usize, number: u32) -> Result<(), Error> {
        self.spare(who, number)?;
        let frame = self.frame(number);
        frame.owner = None;
        frame.kind = FrameType::Free;
        self.free.push_front(number);
        Ok(())
    }

    fn insert_table(
        &mut self,
        who: usize,
        at: VirtAddr,
        level: TableLevel,
        table: u32,
        links: Option<u32>,
    ) -> Result<(), Error> {
        let (gib, mib2) = (at.get() >> 30, at.get() >> 21);
        if links.is_some() != (level == TableLevel::Three) || links == Some(table) {
            return Err(Error::Malformed);
        }
        self.spare(who, table)?;
        if let Some(links) = links {
            self.spare(who, links)?;
        }
        let space = &mut self.spaces[who];
        let occupied = match links {
            None => space.tables2.contains_key(&gib),
            Some(_) if !space.tables2.contains_key(&gib) => return Err(Error::NoTable),
            Some(_) => space.tables3.contains_key(&mib2),
        };
        if occupied {
            return Err(Error::Occupied);
        }
        let kind = if let Some(links) = links {
            space.tables3.insert(mib2, (table, links));
            self.retype(links, FrameType::Links);
            FrameType::Table3
        } else {
            space.tables2.insert(gib, table);
            FrameType::Table2
        };
        self.retype(table, kind);
        Ok(())
    }

    fn remove_table(
        &mut self,
        who: usize,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<PageNumber, Error> {
        let (gib, mib2) = (at.get() >> 30, at.get() >> 21);
        let space = &mut self.spaces[who];
        let table = if level == TableLevel::Two {
            let table = *space.tables2.get(&gib).ok_or(Error::Vacant)?;
            if space.tables3.keys().any(|mib2| mib2 >> 9 == gib) {
                return Err(Error::NotEmpty);
            }
            space.tables2.remove(&gib);
            table
        } else {
            if !space.tables2.contains_key(&gib) {
                return Err(Error::NoTable);
            }
            let (table, links) = *space.tables3.get(&mib2).ok_or(Error::Vacant)?;
            if space.pages.keys().any(|at| at.get() >> 21 == mib2) {
                return Err(Error::NotEmpty);
            }
            space.tables3.remove(&mib2);
            self.retype(links, FrameType::Plain);
            table
        };
        self.retype(table, FrameType::Plain);
        Ok(page(table))
    }

    fn insert(
        &mut self,
        who: usize,
        at: VirtAddr,
        number: Result<u32, Error>,
        access: Access,
    ) -> Result<(), Error> {
        self.has_table(who, at)?;
        let number = number?;
        let frame = self.frames.get(&number).ok_or(Error::OutOfRange)?;
        if frame.owner != Some(who) {
            return Err(Error::NotYours);
        }
        if frame.kind != FrameType::Plain {
            return Err(Error::WrongType);
        }
        self.map(who, at, number, access)
    }

    fn make_uarea(&mut self, who: usize, at: VirtAddr, number: u32) -> Result<(), Error> {
        self.has_table(who, at)?;
        self.spare(who, number)?;
        self.map(who, at, number, Access::READ | Access::WRITE)?;
        self.frame(number).kind = FrameType::UArea;
        Ok(())
    }

    fn map(&mut self, who: usize, at: VirtAddr, number: u32, access: Access) -> Result<(), Error> {
        if self.spaces[who].pages.contains_key(&at) {
            return Err(Error::Occupied);
        }
        self.spaces[who].pages.insert(at, (number, access));
        Ok(())
    }

    fn remove(&mut self, who: usize, at: VirtAddr) -> Result<(), Error> {
        self.has_table(who, at)?;
        let (number, _) = *self.spaces[who].pages.get(&at).ok_or(Error::Vacant)?;
        if self.frame(number).kind == FrameType::UArea {
            return Err(Error::WrongType);
        }
        self.spaces[who].pages.remove(&at);
        Ok(())
    }

    fn has_table(&self, who: usize, at: VirtAddr) -> Result<(), Error> {
        match self.spaces[who].tables3.contains_key(&(at.get() >> 21)) {
            true => Ok(()),
            false => Err(Error::NoTable),
        }
    }

    fn spare(&self, who: usize, number: u32) -> Result<(), Error> {
        let frame = self.frames.get(&number).ok_or(Error::OutOfRange)?;
        if frame.owner != Some(who) {
            Err(Error::NotYours)
        } else if frame.kind != FrameType::Plain {
            Err(Error::WrongType)
        } else if self.references(number) != 0 {
            Err(Error::InUse)
        } else {
            Ok(())
        }
    }

    pub(super) fn references(&self, number: u32) -> usize {
        let mapped = self.spaces.iter().flat_map(|space| space.pages.values());
        mapped.filter(|(frame, _)| *frame == number).count()
    }

    fn retype(&mut self, number: u32, kind: FrameType) {
        let frame = self.frame(number);
        frame.kind = kind;
        frame.contents.clear();
    }

    fn frame(&mut self, number: u32) -> &mut Frame {
        self.frames.get_mut(&number).expect("found before")
    }
}

fn number(first: PageNumber, offset: u64) -> Result<u32, Error> {
    let number = u64::from(first.get()) + offset;
    u32::try_from(number).map_err(|_| Error::OutOfRange)
}

fn items(count: u64, bound: u64, mut item: impl FnMut(u64) -> Result<(), Error>) -> Progress {
    if count == 0 {
        return Progress::refused(Error::BadCount);
    }
    for i in 0..count.min(bound) {
        if let Err(error) = item(i) {
            return Progress {
                done: i,
                stopped: Some(error),
            };
        }
    }
    Progress {
        done: count.min(bound),
        stopped: None,
    }
}
