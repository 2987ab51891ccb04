//! A kernel and a processor small enough to be read: frames, one page table for each space, and nothing cached.
//!
//! It refuses what the call table says is refused, counts references, keeps the contents of pages that their
//! last owner gets back, and stops the test where the library touches memory that is not mapped for it.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::vec;
use std::vec::Vec;

use exopi_rt::capability::Epoch;
use exopi_rt::page::{
    ALLOC_BOUND, FREE_BOUND, FrameType, INSERT_BOUND, INSERT_EXECUTABLE_BOUND, NONE, Owner,
    PROTECT_BOUND, PageRecord, REMOVE_BOUND, Stamp,
};
use exopi_rt::registers::{Argument, Arguments, Outcome};
use exopi_rt::tables::{Entry, Mapping};
use exopi_rt::{
    Access, Allocation, Call, Error, Note, Object, Operation, PageNumber, PageRun, PageSelect,
    PageSource, Progress, Reply, TableLevel, VirtAddr,
};

use crate::machine::{Machine, PageBytes};
use crate::superpage::SUPERPAGE;

pub(crate) const COLOURS: u32 = 8;
const PAGE: u64 = exopi_rt::layout::PAGE_SIZE;
/// Whose the program's pages are.
pub(crate) const ME: Owner = Owner::new(1, Epoch::from_low_bits(7));
/// Who had the memory before.
const BEFORE: Owner = Owner::new(2, Epoch::from_low_bits(3));

/// Which space: the program's or another one of its account.
type SpaceNumber = u8;
const OWN: SpaceNumber = 0;

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: FrameType,
    owner: Owner,
    references: u32,
    first: u32,
    second: u32,
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    page: u32,
    access: Access,
    bound: Access,
}

/// The model.
pub(crate) struct Model {
    frames: Vec<Frame>,
    /// What pages hold that somebody has written to; the others are all `untouched`.
    contents: HashMap<u32, Box<PageBytes>>,
    untouched: &'static PageBytes,
    free: BTreeSet<u32>,
    leaves: BTreeMap<(SpaceNumber, u64), Leaf>,
    superpages: BTreeMap<(SpaceNumber, u64), Leaf>,
    notes: HashMap<u64, Note>,
    tables: BTreeMap<(SpaceNumber, TableLevel, u64), u32>,
    /// How many pages the account may still take.
    pub(crate) allowance: u64,
    /// Whether other environments run in the space.
    pub(crate) alone: bool,
    /// How many calls were made.
    pub(crate) calls: u64,
}

impl Model {
    pub(crate) fn new(frames: u32) -> Self {
        let frame = Frame {
            kind: FrameType::Free,
            owner: BEFORE,
            references: 0,
            first: NONE,
            second: NONE,
        };
        Self {
            frames: vec![frame; frames as usize],
            contents: HashMap::new(),
            untouched: &[0; 4096],
            free: (0..frames).collect(),
            leaves: BTreeMap::new(),
            superpages: BTreeMap::new(),
            notes: HashMap::new(),
            tables: BTreeMap::new(),
            allowance: u64::MAX,
            alone: true,
            calls: 0,
        }
    }

    /// Fills all memory with something, as if the program had used it before.
    pub(crate) fn soil(&mut self) {
        for frame in &mut self.frames {
            frame.owner = ME;
        }
        self.untouched = &[0x5a; 4096];
    }

    pub(crate) fn free_pages(&self) -> usize {
        self.free.len()
    }

    /// Frames of a type that are the program's.
    pub(crate) fn count(&self, kind: FrameType) -> usize {
        let frames = self.frames.iter();
        frames.filter(|frame| frame.kind == kind).count()
    }

    /// The laws: references are what the tables say; what is free is nobody's.
    pub(crate) fn audit(&self) {
        let mut references = vec![0; self.frames.len()];
        for leaf in self.leaves.values().chain(self.superpages.values()) {
            references[leaf.page as usize] += 1;
        }
        for (number, frame) in self.frames.iter().enumerate() {
            assert_eq!(frame.references, references[number], "page {number:#x}");
            let free = self.free.contains(&(number as u32));
            assert_eq!(frame.kind == FrameType::Free, free, "page {number:#x}");
        }
        for ((space, level, number), table) in &self.tables {
            let inside = self.inside(*space, *level, *number);
            assert_eq!(self.frames[*table as usize].first, inside);
        }
    }

    fn inside(&self, space: SpaceNumber, level: TableLevel, number: u64) -> u32 {
        match level {
            TableLevel::Two => {
                let below = number << 9..(number + 1) << 9;
                let tables = self.tables.keys().filter(|(other, level, number)| {
                    *other == space && *level == TableLevel::Three && below.contains(number)
                });
                let blocks = self
                    .superpages
                    .range((space, below.start)..(space, below.end));
                (tables.count() + blocks.count()) as u32
            }
            TableLevel::Three => {
                let below = (space, number << 9)..(space, (number + 1) << 9);
                self.leaves.range(below).count() as u32
            }
        }
    }

    fn recount(&mut self, space: SpaceNumber, page: u64) {
        for (level, number) in [
            (TableLevel::Two, page >> 18),
            (TableLevel::Three, page >> 9),
        ] {
            if let Some(table) = self.tables.get(&(space, level, number)).copied() {
                self.frames[table as usize].first = self.inside(space, level, number);
            }
        }
    }

    fn space(object: Object<'_>) -> SpaceNumber {
        match object {
            Object::Own => OWN,
            Object::Owned(name) => name.index as u8,
            Object::Presented(_) => panic!("no capabilities here"),
        }
    }

    /// Takes a free frame for the program.
    fn take(&mut self, which: PageSelect) -> Result<u32, Error> {
        let found = match which {
            PageSelect::Exact(page) => Some(page.get()).filter(|page| self.free.contains(page)),
            PageSelect::Any => self.free.first().copied(),
            PageSelect::Colour(colour) => {
                let mut free = self.free.iter().copied();
                free.find(|page| page % COLOURS == u32::from(colour))
            }
        };
        let page = found.ok_or(match which {
            PageSelect::Exact(_) => Error::Taken,
            _ => Error::Exhausted,
        })?;
        if self.allowance == 0 {
            return Err(Error::OverAllowance);
        }
        self.allowance -= 1;
        self.free.remove(&page);
        let frame = &mut self.frames[page as usize];
        if frame.owner != ME {
            self.contents.insert(page, Box::new([0; 4096]));
        }
        frame.owner = ME;
        frame.kind = FrameType::Plain;
        Ok(page)
    }

    fn plain(&self, page: u32) -> Result<(), Error> {
        let frame = self.frames.get(page as usize).ok_or(Error::OutOfRange)?;
        match frame.kind {
            FrameType::Plain if frame.owner == ME => Ok(()),
            FrameType::Free => Err(Error::NotYours),
            _ => Err(Error::WrongType),
        }
    }

    fn insert_one(
        &mut self,
        space: SpaceNumber,
        page: u64,
        source: PageSource<'_>,
        turn: u64,
        access: Access,
    ) -> Result<(), Error> {
        if !self
            .tables
            .contains_key(&(space, TableLevel::Three, page >> 9))
        {
            let block = self.superpages.contains_key(&(space, page >> 9));
            return Err(if block {
                Error::Occupied
            } else {
                Error::NoTable
            });
        }
        if self.leaves.contains_key(&(space, page)) {
            return Err(Error::Occupied);
        }
        let frame = match source {
            PageSource::Run(PageRun::Owned(first)) => first.get() + turn as u32,
            PageSource::Run(PageRun::Presented(..)) => panic!("no capabilities here"),
            PageSource::New(PageSelect::Exact(first)) => {
                self.take(PageSelect::Exact(first.plus(turn).unwrap()))?
            }
            PageSource::New(which) => self.take(which)?,
        };
        self.plain(frame)?;
        self.frames[frame as usize].references += 1;
        let leaf = Leaf {
            page: frame,
            access,
            bound: access,
        };
        self.leaves.insert((space, page), leaf);
        if space == OWN {
            self.notes.remove(&page);
        }
        self.recount(space, page);
        Ok(())
    }

    fn leaf(&self, page: u64) -> Option<Leaf> {
        let block = self.superpages.get(&(OWN, page >> 9)).map(|leaf| Leaf {
            page: leaf.page + (page % SUPERPAGE) as u32,
            ..*leaf
        });
        self.leaves.get(&(OWN, page)).copied().or(block)
    }

    /// What the processor makes of an access: the frame, or whether something is mapped.
    pub(crate) fn translate(&self, address: u64, wanted: Access) -> Result<u32, bool> {
        match self.leaf(address / PAGE) {
            None => Err(false),
            Some(leaf) if leaf.access.contains(wanted) => Ok(leaf.page),
            Some(_) => Err(true),
        }
    }

    /// The page that is mapped in another space.
    pub(crate) fn elsewhere(&self, space: u8, at: VirtAddr) -> Option<(PageNumber, Access)> {
        let leaf = self.leaves.get(&(space, at.get() / PAGE))?;
        Some((PageNumber::new(leaf.page), leaf.access))
    }

    /// Unmaps a page in another space, and gives it back if that was the last mapping.
    pub(crate) fn leave(&mut self, space: u8, at: VirtAddr) {
        let leaf = self.leaves.remove(&(space, at.get() / PAGE)).unwrap();
        self.frames[leaf.page as usize].references -= 1;
        self.recount(space, at.get() / PAGE);
        if self.frames[leaf.page as usize].references == 0 {
            let progress = self.page_free(PageNumber::new(leaf.page), 1);
            assert_eq!(progress.stopped, None);
        }
    }

    pub(crate) fn stored(&self, page: u32, offset: u64) -> u8 {
        let contents = self.contents.get(&page);
        contents.map_or(self.untouched, |bytes| bytes)[offset as usize]
    }

    pub(crate) fn set_byte(&mut self, page: u32, offset: u64, byte: u8) {
        self.bytes(page)[offset as usize] = byte;
    }

    fn bytes(&mut self, page: u32) -> &mut PageBytes {
        let contents = self.contents.entry(page);
        contents.or_insert_with(|| Box::new(*self.untouched))
    }

    fn mapped(&self, at: VirtAddr, wanted: Access) -> u32 {
        self.translate(at.get(), wanted)
            .unwrap_or_else(|_| panic!("the library faults at {at:?}"))
    }

    /// A whole operation of a batch.
    fn carry_out(&mut self, call: u64, words: [u64; 5]) -> Reply {
        let [a, b, c, d, e] = words;
        let from = &mut Arguments::new([a, b, c, d, e, 0]);
        let at = VirtAddr::decode(from).unwrap();
        if call == Call::insert_pte as u64 {
            let source = PageSource::decode(from).unwrap();
            let count = u64::decode(from).unwrap();
            let access = Access::decode(from).unwrap();
            self.insert_pte(Object::Own, at, source, count, access)
                .into_reply()
        } else if call == Call::remove_pte as u64 {
            let count = u64::decode(from).unwrap();
            self.remove_pte(at, count).into_reply()
        } else if call == Call::protect_pte as u64 {
            let count = u64::decode(from).unwrap();
            let access = Access::decode(from).unwrap();
            self.protect_pte(at, count, access).into_reply()
        } else {
            assert_eq!(call, Call::pte_note as u64);
            self.pte_note(at, Note::decode(from).unwrap()).into_reply()
        }
    }
}

/// Runs `one` for each item up to the bound.
fn each(count: u64, bound: u64, mut one: impl FnMut(u64) -> Result<u64, Error>) -> Progress {
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
            leaving: 0,
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
