//! Boot: a kernel on a board, with the first environment and its store.

use std::collections::{BTreeMap, VecDeque};

use exopi_abi::domain::ObjectName;
use exopi_abi::layout::FIRST_UAREA;
use exopi_abi::{Access, PageNumber, PageSelect, TableLevel, VirtAddr};
use exopi_cap::Key;
use exopi_domains::{Alarms, Domains, Revocations, Subject, Tables, Target};
use exopi_frames::Frames;
use exopi_pages::model::Machine;
use exopi_pages::{Index, Pages, Right, Source};
use exopi_sequence::stage::STORE;
use exopi_slices::Lengths;

use super::{EXPOSED, Kernel, MemoryMode};
use crate::board::{EPILOGUE_TICKS, SLICE_TICKS};
use crate::{Board, Storage};

/// What was made at boot.
#[derive(Clone, Copy, Debug)]
pub struct First {
    /// The account with everything.
    pub account: ObjectName,
    /// The first space.
    pub space: ObjectName,
    /// The first environment, on core 0.
    pub environment: ObjectName,
    /// Its slice, the first of core 0.
    pub slice: ObjectName,
    /// Root, and the tables of store and u-area with their links.
    pub tables: [PageNumber; 9],
    /// The page at [`STORE`], where it keeps its arguments.
    pub store: PageNumber,
    /// Its u-area, at [`FIRST_UAREA`].
    pub uarea: PageNumber,
}

/// What lies in memory before a kernel comes: nobody at EL0 may ever see it.
pub const FIRMWARE: u64 = 0xf1f2_f3f4_f5f6_f7f8;

impl<'m> Kernel<'m> {
    /// A kernel that has just booted on `board`, whose records are in `storage`. The first environment runs on
    /// core 0.
    ///
    /// # Panics
    /// If the board is too small for a first environment.
    pub fn boot(board: &Board, storage: &'m mut Storage) -> Self {
        let mut machine = Machine::new(board.frames);
        let mut pages = Pages::new(&mut storage.pages, board.colours);
        let free = board.frames - board.kernel_frames;
        let _ = pages.add_free(PageNumber::new(board.kernel_frames), free.into());
        for frame in (0..board.frames)
            .map(PageNumber::new)
            .filter(|frame| frame.get() != 1)
        {
            machine.write(frame, Index::truncate(3), FIRMWARE);
        }
        let tables = Tables {
            pages,
            accounts: &mut storage.accounts,
            spaces: &mut storage.spaces,
            environments: &mut storage.environments,
            lives: &storage.lives,
            slices: &mut storage.slices,
        };
        let lengths = Lengths::of_ticks(SLICE_TICKS, EPILOGUE_TICKS);
        let mut domains = Domains::none();
        domains.set_tables(tables, lengths, board.cores);
        let calls = Alarms::new(&mut storage.alarms, &mut storage.order);
        domains.set_links(&storage.links, calls);
        let requests = Alarms::new(&mut storage.deadlines, &mut storage.deadline_order);
        domains.set_revocations(Revocations::new(&mut storage.revocations, requests));
        domains.set_message_rings(&mut storage.message_rings);
        let by = domains
            .make_first_space(&mut machine, EXPOSED)
            .expect("a first space");
        machine.attach(by.space.asid(), by.space.root());
        let mut maker = Maker {
            domains: &mut domains,
            machine: &mut machine,
            by,
        };
        let (first, subject) = maker.first_environment();
        Self {
            accounts: board.accounts as u16,
            spaces: board.spaces as u16,
            environments: board.environments as u16,
            domains,
            frames: Frames::none(),
            machine,
            key: Key::new(board.key),
            seconds: board.seconds,
            now: 1,
            mode: MemoryMode::Translated,
            subjects: (0..board.cores)
                .map(|core| (core == 0).then_some(subject))
                .collect(),
            core: 0,
            attached: BTreeMap::from([(by.space.asid(), by.space.root())]),
            first,
            console: subject.name,
            printed: Vec::new(),
            typed: VecDeque::new(),
            power: None,
            handler: None,
        }
    }
}

/// Makes the first environment, by the same operations as everybody.
struct Maker<'k, 'm> {
    domains: &'k mut Domains<'m>,
    machine: &'k mut Machine,
    by: Subject,
}

impl Maker<'_, '_> {
    fn page(&mut self) -> PageNumber {
        let allocation = self
            .domains
            .page_alloc(self.machine, &self.by, PageSelect::Any, 1);
        assert_eq!(allocation.progress.done, 1, "a board without pages");
        allocation.first
    }

    fn first_environment(&mut self) -> (First, Subject) {
        let mut tables = [self.by.space.root(); 9];
        let mut next = 1;
        let [store_at, uarea_at] =
            [STORE, FIRST_UAREA].map(|at| VirtAddr::new(at).expect("a place"));
        for at in [store_at, uarea_at] {
            for level in [TableLevel::Two, TableLevel::Three] {
                let [table, links] = [0; 2].map(|_| self.page());
                let (domains, machine) = (&mut self.domains, &mut *self.machine);
                domains
                    .table_insert(machine, &self.by, Target::Own, at, level, table, links)
                    .expect("a table");
                tables[next..next + 2].copy_from_slice(&[table, links]);
                next += 2;
            }
        }
        let store = self.page();
        let source = Source::Run(store, Right::Owner(self.by.owner));
        let access = Access::READ | Access::WRITE;
        let (domains, machine) = (&mut self.domains, &mut *self.machine);
        let mapped =
            domains.insert_pte(machine, &self.by, Target::Own, store_at, source, 1, access);
        assert_eq!(mapped.done, 1, "a store");
        let uarea = self.page();
        let (domains, machine) = (&mut self.domains, &mut *self.machine);
        let subject = domains
            .make_first_environment(machine, &self.by, uarea, uarea_at, 0)
            .expect("an environment");
        let space = domains.space(0).map_or(0, |record| record.epoch);
        let name = |epoch| ObjectName { index: 0, epoch };
        let first = First {
            account: name(subject.owner.epoch()),
            space: name(exopi_abi::capability::Epoch::from_low_bits(space)),
            environment: subject.name,
            slice: domains.turn(0).expect("it runs in it"),
            tables,
            store,
            uarea,
        };
        (first, subject)
    }
}
