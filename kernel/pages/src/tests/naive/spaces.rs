//! The naive model's spaces: what is mapped where.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use exopi_abi::capability::Epoch;
use exopi_abi::layout::{PAGE_SIZE, table_entry, table2_entry};
use exopi_abi::page::{
    ALLOC_BOUND, FrameType, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, PROTECT_BOUND, REMOVE_BOUND,
    SUPERPAGE_BOUND,
};
use exopi_abi::registers::Outcome;
use exopi_abi::{Access, Error, PageNumber, PageSelect, Progress, Reply, TableLevel, VirtAddr};

use super::{By, Naive, Op, allows_mapping, items, next, number, page};
use crate::Index;
use crate::model::Translation;

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) struct Mapped {
    /// The first frame.
    pub(in crate::tests) frame: u32,
    bound: Access,
    now: Access,
}

#[derive(Clone, Debug, Default)]
pub(in crate::tests) struct Mappings {
    root: u32,
    /// By number of the GiB: table and links.
    tables2: BTreeMap<u64, (u32, u32)>,
    /// By number of the 2 MiB: table and links.
    tables3: BTreeMap<u64, (u32, u32)>,
    pub(in crate::tests) pages: BTreeMap<VirtAddr, Mapped>,
    /// By number of the 2 MiB.
    pub(in crate::tests) superpages: BTreeMap<u64, Mapped>,
    /// Of a table, by index in it.
    notes: BTreeMap<VirtAddr, u64>,
}

impl Mapped {
    fn translation(&self, superpage: bool) -> Translation {
        Translation {
            frame: page(self.frame),
            write: self.now.contains(Access::WRITE),
            execute: self.now.contains(Access::EXECUTE),
            superpage,
        }
    }
}

impl Mappings {
    pub(super) fn new(root: u32) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    /// Everything that EL0 can reach: what is mapped, and the tables where they are shown.
    pub(in crate::tests) fn reached(&self) -> BTreeSet<(u64, Translation)> {
        let pages = self.pages.iter();
        let pages = pages.map(|(at, mapped)| (at.get(), mapped.translation(false)));
        let superpages = self.superpages.iter();
        let superpages = superpages.map(|(mib2, mapped)| (mib2 << 21, mapped.translation(true)));
        let table = |address: u64, frame| {
            let translation = Translation {
                frame: page(frame),
                write: false,
                execute: false,
                superpage: false,
            };
            (address & !(PAGE_SIZE - 1), translation)
        };
        let tables3 = self.tables3.iter();
        let tables3 = tables3.map(|(mib2, (frame, _))| table(table_entry(mib2 << 21), *frame));
        let tables2 = self.tables2.iter();
        let tables2 = tables2.map(|(gib, (frame, _))| table(table2_entry(gib << 30), *frame));
        let root = table(table_entry(table2_entry(0)), self.root);
        let tables = tables3.chain(tables2).chain([root]);
        pages.chain(superpages).chain(tables).collect()
    }

    fn has_table3(&self, at: VirtAddr) -> Result<(), Error> {
        let mib2 = at.get() >> 21;
        match self.superpages.contains_key(&mib2) {
            true => Err(Error::Occupied),
            false if self.tables3.contains_key(&mib2) => Ok(()),
            false => Err(Error::NoTable),
        }
    }
}

impl Naive {
    pub(super) fn apply_to_space(&mut self, who: usize, place: usize, op: Op) -> Reply {
        match op {
            Op::InsertTable(at, level, table, links) => self
                .insert_table(place, at, level, table.get(), links.get())
                .into_reply(),
            Op::RemoveTable(at, level) => self.remove_table(place, at, level).into_reply(),
            Op::Insert(at, first, by, count, access) => {
                let bound = executable(access, INSERT_BOUND);
                let allowed = allows_mapping(by, access);
                let insert = items(count, bound, |i| {
                    allowed?;
                    let at = at.plus(i).ok_or(Error::BadAddress)?;
                    self.space(place).has_table3(at)?;
                    let number = number(first, i)?;
                    self.plain(who, by, number)?;
                    self.has_room(place, number)?;
                    self.map(place, at, number, access)
                });
                match allowed {
                    Ok(()) => insert,
                    Err(error) => Progress::refused(error),
                }
                .into_reply()
            }
            Op::InsertNew(at, which, count, allowed, access) => self
                .insert_new(who, place, at, which, count, allowed, access)
                .into_reply(),
            Op::InsertSuper(at, first, by, count, access) => self
                .insert_superpages(who, place, at, first, by, count, access)
                .into_reply(),
            Op::Remove(at, count) => self
                .ranged(at, count, REMOVE_BOUND, place, |this, at, superpage| {
                    this.remove(place, at, superpage)
                })
                .into_reply(),
            Op::Protect(at, count, access) => self
                .ranged(
                    at,
                    count,
                    executable(access, PROTECT_BOUND),
                    place,
                    |this, at, superpage| this.protect(place, at, superpage, access),
                )
                .into_reply(),
            Op::Note(at, note) => {
                let space = self.space(place);
                let vacant =
                    space
                        .has_table3(at)
                        .and_then(|()| match space.pages.contains_key(&at) {
                            true => Err(Error::Occupied),
                            false => Ok(()),
                        });
                if vacant.is_ok() {
                    space.notes.insert(at, note.get());
                }
                vacant.into_reply()
            }
            Op::MakeUArea(at, page) => self.make_uarea(who, place, at, page.get()).into_reply(),
            Op::Clear(_) => self.clear(place).into_reply(),
            _ => unreachable!("{op:?} is not about a space"),
        }
    }

    pub(super) fn make_root(&mut self, who: usize, root: u32) -> Result<(), Error> {
        if self.spaces[who].is_some() {
            return Err(Error::Occupied);
        }
        self.spare(who, By::Owner, root)?;
        self.retype(root, FrameType::Root, Epoch::NONE);
        self.spaces[who] = Some(Mappings::new(root));
        Ok(())
    }

    fn insert_table(
        &mut self,
        place: usize,
        at: VirtAddr,
        level: TableLevel,
        table: u32,
        links: u32,
    ) -> Result<(), Error> {
        let (gib, mib2) = (at.get() >> 30, at.get() >> 21);
        if links == table {
            return Err(Error::Malformed);
        }
        self.spare(place, By::Owner, table)?;
        self.spare(place, By::Owner, links)?;
        let space = self.space(place);
        let (occupied, kind) = match level {
            TableLevel::Two => (space.tables2.contains_key(&gib), FrameType::Table2),
            _ if !space.tables2.contains_key(&gib) => return Err(Error::NoTable),
            TableLevel::Three => (
                space.tables3.contains_key(&mib2) || space.superpages.contains_key(&mib2),
                FrameType::Table3,
            ),
        };
        if occupied {
            return Err(Error::Occupied);
        }
        match level {
            TableLevel::Two => space.tables2.insert(gib, (table, links)),
            TableLevel::Three => space.tables3.insert(mib2, (table, links)),
        };
        self.retype(table, kind, Epoch::NONE);
        self.retype(links, FrameType::Links, Epoch::NONE);
        Ok(())
    }

    fn remove_table(
        &mut self,
        place: usize,
        at: VirtAddr,
        level: TableLevel,
    ) -> Result<PageNumber, Error> {
        let (gib, mib2) = (at.get() >> 30, at.get() >> 21);
        let space = self.space(place);
        let (table, links) = if level == TableLevel::Two {
            let table = *space.tables2.get(&gib).ok_or(Error::Vacant)?;
            let mut inside = space.tables3.keys().chain(space.superpages.keys());
            if inside.any(|mib2| mib2 >> 9 == gib) {
                return Err(Error::NotEmpty);
            }
            space.tables2.remove(&gib);
            table
        } else {
            if !space.tables2.contains_key(&gib) {
                return Err(Error::NoTable);
            }
            let table = *space.tables3.get(&mib2).ok_or(Error::Vacant)?;
            if space.pages.keys().any(|at| at.get() >> 21 == mib2) {
                return Err(Error::NotEmpty);
            }
            space.tables3.remove(&mib2);
            table
        };
        let epoch = next(self.epoch);
        self.epoch = epoch;
        self.retype(links, FrameType::Plain, epoch);
        self.retype(table, FrameType::Plain, epoch);
        if level == TableLevel::Three {
            self.leave_notes(place, mib2, table);
        }
        Ok(page(table))
    }

    /// Notes stay in a page that was a table.
    fn leave_notes(&mut self, place: usize, mib2: u64, table: u32) {
        let notes = &mut self.space(place).notes;
        let inside = |at: &VirtAddr| at.get() >> 21 == mib2;
        let left: Vec<(usize, u64)> = notes
            .iter()
            .filter(|(at, note)| inside(at) && **note != 0)
            .map(|(at, note)| (Index::in_table3(*at).get(), note << 1))
            .collect();
        notes.retain(|at, _| !inside(at));
        self.frame(table).contents.extend(left);
    }

    #[expect(clippy::too_many_arguments, reason = "they are the call's")]
    fn insert_new(
        &mut self,
        who: usize,
        place: usize,
        at: VirtAddr,
        which: PageSelect,
        count: u64,
        allowed: u64,
        access: Access,
    ) -> Progress {
        let epoch = next(self.epoch);
        items(count, ALLOC_BOUND, |i| {
            let at = at.plus(i).ok_or(Error::BadAddress)?;
            self.space(place).has_table3(at)?;
            let number = self.check_alloc(which, i, allowed)?;
            self.map(place, at, number, access)?;
            self.take(who, number, which, epoch);
            Ok(())
        })
    }

    #[expect(clippy::too_many_arguments, reason = "they are the call's")]
    fn insert_superpages(
        &mut self,
        who: usize,
        place: usize,
        at: VirtAddr,
        first: PageNumber,
        by: By,
        count: u64,
        access: Access,
    ) -> Progress {
        if access.contains(Access::EXECUTE) {
            return Progress::refused(Error::Malformed);
        }
        if let Err(error) = allows_mapping(by, access) {
            return Progress::refused(error);
        }
        if !at.get().is_multiple_of(1 << 21) || !first.get().is_multiple_of(512) {
            return Progress::refused(Error::Misaligned);
        }
        items(count, SUPERPAGE_BOUND, |i| {
            let mib2 = at.plus(512 * i).ok_or(Error::BadAddress)?.get() >> 21;
            let first = number(first, 512 * i)?;
            for number in first..first + 512 {
                self.plain(who, by, number)?;
                self.has_room(place, number)?;
            }
            let space = self.space(place);
            if !space.tables2.contains_key(&(mib2 >> 9)) {
                return Err(Error::NoTable);
            }
            if space.tables3.contains_key(&mib2) || space.superpages.contains_key(&mib2) {
                return Err(Error::Occupied);
            }
            let mapped = Mapped {
                frame: first,
                bound: access,
                now: access,
            };
            space.superpages.insert(mib2, mapped);
            Ok(())
        })
    }

    /// A call over mappings: what is at each address, superpages as a whole.
    fn ranged(
        &mut self,
        at: VirtAddr,
        count: u64,
        bound: u64,
        place: usize,
        mut change: impl FnMut(&mut Self, VirtAddr, bool) -> Result<(), Error>,
    ) -> Progress {
        let (mut done, mut mappings, mut stopped) = (0, 0, None);
        if count == 0 {
            stopped = Some(Error::BadCount);
        }
        while done < count && mappings < bound {
            let here = at.plus(done).ok_or(Error::BadAddress);
            let changed = here.and_then(|at| {
                let space = self.space(place);
                let superpage = space.superpages.contains_key(&(at.get() >> 21));
                if superpage && (at.get() % (1 << 21) != 0 || count - done < 512) {
                    return Err(Error::Misaligned);
                }
                if !superpage {
                    space.has_table3(at)?;
                }
                change(self, at, superpage)?;
                Ok(if superpage { 512 } else { 1 })
            });
            match changed {
                Ok(pages) => {
                    done += pages;
                    mappings += 1;
                }
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        Progress { done, stopped }
    }

    fn remove(&mut self, place: usize, at: VirtAddr, superpage: bool) -> Result<(), Error> {
        if superpage {
            self.space(place).superpages.remove(&(at.get() >> 21));
            return Ok(());
        }
        let mapped = *self.space(place).pages.get(&at).ok_or(Error::Vacant)?;
        if self.frame(mapped.frame).kind == FrameType::UArea {
            return Err(Error::WrongType);
        }
        self.space(place).pages.remove(&at);
        Ok(())
    }

    fn protect(
        &mut self,
        place: usize,
        at: VirtAddr,
        superpage: bool,
        access: Access,
    ) -> Result<(), Error> {
        let space = self.spaces[place].as_mut().expect("there is one");
        let mapped = match superpage {
            true => space.superpages.get_mut(&(at.get() >> 21)),
            false => space.pages.get_mut(&at),
        };
        let mapped = mapped.ok_or(Error::Vacant)?;
        if self.frames[&mapped.frame].kind == FrameType::UArea {
            return Err(Error::WrongType);
        }
        if !mapped.bound.contains(access) {
            return Err(Error::MissingRight);
        }
        mapped.now = access;
        Ok(())
    }

    fn make_uarea(
        &mut self,
        who: usize,
        place: usize,
        at: VirtAddr,
        number: u32,
    ) -> Result<(), Error> {
        self.space(place).has_table3(at)?;
        self.spare(who, By::Owner, number)?;
        self.map(place, at, number, Access::READ | Access::WRITE)?;
        let frame = self.frame(number);
        frame.kind = FrameType::UArea;
        frame.epoch = Epoch::NONE;
        frame.limit = 0;
        Ok(())
    }

    pub(super) fn remove_uarea(&mut self, who: usize, number: u32) -> Result<(), Error> {
        let frame = self.frames.get_mut(&number).ok_or(Error::NotYours)?;
        if frame.owner != Some(who) {
            return Err(Error::NotYours);
        }
        if frame.kind != FrameType::UArea {
            return Err(Error::WrongType);
        }
        self.epoch = next(self.epoch);
        frame.kind = FrameType::Plain;
        frame.epoch = self.epoch;
        frame.limit = exopi_abi::page::DEFAULT_LIMIT;
        self.break_page(number);
        Ok(())
    }

    fn clear(&mut self, place: usize) -> Result<(), Error> {
        let mut frames = self.frames.values();
        if frames.any(|frame| frame.kind == FrameType::UArea) {
            return Err(Error::NotEmpty);
        }
        let space = self.space(place).clone();
        // Which epochs they get is not said: see `adopt`.
        for (table, links) in space.tables2.values().chain(space.tables3.values()) {
            self.retype(*table, FrameType::Plain, Epoch::LAST);
            self.retype(*links, FrameType::Plain, Epoch::LAST);
        }
        self.retype(space.root, FrameType::Plain, Epoch::LAST);
        for (mib2, (table, _)) in space.tables3 {
            self.leave_notes(place, mib2, table);
        }
        self.spaces[place] = None;
        Ok(())
    }

    fn map(&mut self, place: usize, at: VirtAddr, frame: u32, access: Access) -> Result<(), Error> {
        let space = self.space(place);
        if space.pages.contains_key(&at) {
            return Err(Error::Occupied);
        }
        let mapped = Mapped {
            frame,
            bound: access,
            now: access,
        };
        space.pages.insert(at, mapped);
        space.notes.remove(&at);
        Ok(())
    }

    fn space(&mut self, place: usize) -> &mut Mappings {
        self.spaces[place].as_mut().expect("there is one")
    }
}

fn executable(access: Access, otherwise: u64) -> u64 {
    if access.contains(Access::EXECUTE) {
        INSERT_EXECUTABLE_BOUND
    } else {
        otherwise
    }
}
