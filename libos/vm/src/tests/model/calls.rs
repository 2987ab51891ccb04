//! The model as the machine below the library: each call with its bound and its refusals.

use super::*;

/// Runs `one` for each item up to the bound.
pub(super) fn each(
    count: u64,
    bound: u64,
    mut one: impl FnMut(u64) -> Result<u64, Error>,
) -> Progress {
    if count == 0 {
        return Progress::refused(Error::BadCount);
    }
    let (mut done, mut steps) = (0, 0);
    while done < count && steps < bound {
        match one(done) {
            Ok(items) => done += items,
            Err(error) => {
                return Progress {
                    done,
                    stopped: Some(error),
                };
            }
        }
        steps += 1;
    }
    Progress {
        done,
        stopped: None,
    }
}

impl Machine for Model {
    fn insert_pte(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        source: PageSource<'_>,
        count: u64,
        access: Access,
    ) -> Progress {
        self.calls += 1;
        assert!(access.contains(Access::READ));
        let bound = match source {
            PageSource::New(_) => ALLOC_BOUND,
            _ if access.contains(Access::EXECUTE) => INSERT_EXECUTABLE_BOUND,
            _ => INSERT_BOUND,
        };
        let (space, first) = (Self::space(space), at.get() / PAGE);
        each(count, bound, |turn| {
            self.insert_one(space, first + turn, source, turn, access)?;
            Ok(1)
        })
    }

    fn remove_pte(&mut self, at: VirtAddr, count: u64) -> Progress {
        self.calls += 1;
        let first = at.get() / PAGE;
        each(count, REMOVE_BOUND, |turn| {
            let page = first + turn;
            if let Some(leaf) = self.superpages.get(&(OWN, page >> 9)).copied() {
                if !page.is_multiple_of(SUPERPAGE) || count - turn < SUPERPAGE {
                    return Err(Error::Misaligned);
                }
                self.superpages.remove(&(OWN, page >> 9));
                self.frames[leaf.page as usize].references -= 1;
                self.recount(OWN, page);
                return Ok(SUPERPAGE);
            }
            if !self
                .tables
                .contains_key(&(OWN, TableLevel::Three, page >> 9))
            {
                return Err(Error::NoTable);
            }
            let leaf = self.leaves.remove(&(OWN, page)).ok_or(Error::Vacant)?;
            self.frames[leaf.page as usize].references -= 1;
            self.recount(OWN, page);
            Ok(1)
        })
    }

    fn protect_pte(&mut self, at: VirtAddr, count: u64, access: Access) -> Progress {
        self.calls += 1;
        assert!(access.contains(Access::READ));
        let first = at.get() / PAGE;
        each(count, PROTECT_BOUND, |turn| {
            let page = first + turn;
            let block = self.superpages.get_mut(&(OWN, page >> 9));
            let (leaf, items) = match block {
                Some(_) if !page.is_multiple_of(SUPERPAGE) || count - turn < SUPERPAGE => {
                    return Err(Error::Misaligned);
                }
                Some(leaf) => (leaf, SUPERPAGE),
                None if !self
                    .tables
                    .contains_key(&(OWN, TableLevel::Three, page >> 9)) =>
                {
                    return Err(Error::NoTable);
                }
                None => (self.leaves.get_mut(&(OWN, page)).ok_or(Error::Vacant)?, 1),
            };
            if !leaf.bound.contains(access) {
                return Err(Error::MissingRight);
            }
            leaf.access = access;
            Ok(items)
        })
    }

    fn insert_superpage(&mut self, at: VirtAddr, first: PageNumber, access: Access) -> Progress {
        self.calls += 1;
        let page = at.get() / PAGE;
        each(1, 1, |_| {
            if !page.is_multiple_of(SUPERPAGE) || !u64::from(first.get()).is_multiple_of(SUPERPAGE)
            {
                return Err(Error::Misaligned);
            }
            if !self
                .tables
                .contains_key(&(OWN, TableLevel::Two, page >> 18))
            {
                return Err(Error::NoTable);
            }
            let taken = self.superpages.contains_key(&(OWN, page >> 9));
            if taken
                || self
                    .tables
                    .contains_key(&(OWN, TableLevel::Three, page >> 9))
            {
                return Err(Error::Occupied);
            }
            assert!(!access.contains(Access::EXECUTE));
            for frame in 0..SUPERPAGE as u32 {
                self.plain(first.get() + frame)?;
            }
            self.frames[first.index()].references += 1;
            let leaf = Leaf {
                page: first.get(),
                access,
                bound: access,
            };
            self.superpages.insert((OWN, page >> 9), leaf);
            self.recount(OWN, page);
            Ok(1)
        })
    }

    fn pte_note(&mut self, at: VirtAddr, note: Note) -> Result<(), Error> {
        self.calls += 1;
        let page = at.get() / PAGE;
        if self.leaf(page).is_some() {
            return Err(Error::Occupied);
        }
        if !self
            .tables
            .contains_key(&(OWN, TableLevel::Three, page >> 9))
        {
            return Err(Error::NoTable);
        }
        self.notes.insert(page, note);
        Ok(())
    }

    fn pte_batch(&mut self, operations: &mut [Operation]) -> Progress {
        let before = self.calls;
        let mut done = 0;
        for operation in operations.iter_mut().take(16) {
            let reply = self.carry_out(operation.call, operation.arguments);
            (operation.status, operation.value) = (reply.status, reply.value);
            done += 1;
            if reply.error().is_some() {
                break;
            }
        }
        self.calls = before + 1;
        Progress {
            done,
            stopped: None,
        }
    }

    fn table_insert(
        &mut self,
        space: Object<'_>,
        at: VirtAddr,
        level: TableLevel,
        table: PageNumber,
        links: PageNumber,
    ) -> Result<(), Error> {
        self.calls += 1;
        let space = Self::space(space);
        for page in [table, links] {
            self.plain(page.get())?;
            if self.frames[page.index()].references != 0 {
                return Err(Error::InUse);
            }
        }
        let above = (space, TableLevel::Two, at.get() / TableLevel::Two.span());
        if level == TableLevel::Three && !self.tables.contains_key(&above) {
            return Err(Error::NoTable);
        }
        let number = at.get() / level.span();
        let block = level == TableLevel::Three && self.superpages.contains_key(&(space, number));
        if block || self.tables.contains_key(&(space, level, number)) {
            return Err(Error::Occupied);
        }
        let kind = match level {
            TableLevel::Two => FrameType::Table2,
            TableLevel::Three => FrameType::Table3,
        };
        self.tables.insert((space, level, number), table.get());
        let frame = &mut self.frames[table.index()];
        (frame.kind, frame.first, frame.second) = (kind, 0, links.get());
        self.frames[links.index()].kind = FrameType::Links;
        self.recount(space, at.get() / PAGE);
        Ok(())
    }

    fn table_remove(&mut self, at: VirtAddr, level: TableLevel) -> Result<PageNumber, Error> {
        self.calls += 1;
        let key = (OWN, level, at.get() / level.span());
        let table = *self.tables.get(&key).ok_or(Error::Vacant)?;
        let frame = self.frames[table as usize];
        if frame.first != 0 {
            return Err(Error::NotEmpty);
        }
        self.tables.remove(&key);
        for page in [table, frame.second] {
            self.frames[page as usize].kind = FrameType::Plain;
        }
        let pages = at.get() / level.span() * (level.span() / PAGE);
        let covered = pages..pages + level.span() / PAGE;
        self.notes.retain(|page, _| !covered.contains(page));
        self.recount(OWN, at.get() / PAGE);
        Ok(PageNumber::new(table))
    }

    fn page_alloc(&mut self, which: PageSelect, count: u64) -> Allocation {
        self.calls += 1;
        let mut first = None;
        let progress = each(count, ALLOC_BOUND, |turn| {
            let which = match which {
                PageSelect::Exact(page) => PageSelect::Exact(page.plus(turn).unwrap()),
                other => other,
            };
            let page = self.take(which)?;
            first.get_or_insert(page);
            Ok(1)
        });
        Allocation {
            first: PageNumber::new(first.unwrap_or(0)),
            progress,
        }
    }

    fn page_free(&mut self, first: PageNumber, count: u64) -> Progress {
        self.calls += 1;
        each(count, FREE_BOUND, |turn| {
            let page = first.get() + turn as u32;
            self.plain(page)?;
            let frame = &mut self.frames[page as usize];
            if frame.references != 0 {
                return Err(Error::InUse);
            }
            frame.kind = FrameType::Free;
            self.free.insert(page);
            self.allowance = self.allowance.saturating_add(1);
            Ok(1)
        })
    }

    fn entry(&self, at: VirtAddr) -> Entry {
        let page = at.get() / PAGE;
        if let Some(leaf) = self.leaf(page) {
            return Entry::Mapped(Mapping {
                page: PageNumber::new(leaf.page),
                access: leaf.access,
                bound: leaf.bound,
                superpage: !self.leaves.contains_key(&(OWN, page)),
            });
        }
        for (level, number) in [
            (TableLevel::Two, page >> 18),
            (TableLevel::Three, page >> 9),
        ] {
            if !self.tables.contains_key(&(OWN, level, number)) {
                return Entry::NoTable(level);
            }
        }
        Entry::Note(self.notes.get(&page).copied().unwrap_or_default())
    }

    fn table(&self, at: VirtAddr, level: TableLevel) -> Option<PageNumber> {
        let key = (OWN, level, at.get() / level.span());
        self.tables.get(&key).copied().map(PageNumber::new)
    }

    fn record(&self, page: PageNumber) -> Option<PageRecord> {
        let frame = self.frames.get(page.index())?;
        Some(PageRecord {
            owner: frame.owner,
            stamp: Stamp::NONE,
            references: frame.references,
            foreign: 0,
            kind: frame.kind,
            marks: 0,
            first: frame.first,
            second: frame.second,
        })
    }

    fn page_count(&self) -> u32 {
        self.frames.len() as u32
    }

    fn colours(&self) -> u32 {
        COLOURS
    }

    fn is_alone(&self) -> bool {
        self.alone
    }

    fn is_zero(&self, at: VirtAddr) -> bool {
        (at.get()..at.get() + PAGE).all(|address| self.byte(address) == 0)
    }

    fn byte(&self, address: u64) -> u8 {
        let page = self.translate(address, Access::READ);
        let page = page.unwrap_or_else(|_| panic!("the library faults at {address:#x}"));
        self.stored(page, address % PAGE)
    }

    fn fill(&mut self, address: u64, count: u64, byte: u8) {
        for address in address..address + count {
            let page = self.translate(address, Access::READ | Access::WRITE);
            let page = page.unwrap_or_else(|_| panic!("the library faults at {address:#x}"));
            self.set_byte(page, address % PAGE, byte);
        }
    }

    fn page_mut(&mut self, at: VirtAddr) -> &mut PageBytes {
        let page = self.mapped(at, Access::READ | Access::WRITE);
        self.bytes(page)
    }

    fn zero_page(&mut self, at: VirtAddr) {
        *self.page_mut(at) = [0; 4096];
    }

    fn copy_page(&mut self, from: VirtAddr, to: VirtAddr) {
        let page = self.mapped(from, Access::READ);
        *self.page_mut(to) = *self.bytes(page);
    }
}
