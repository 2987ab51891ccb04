//! A kernel behind the stubs of a thread: what a libOS crate needs to run under plain `cargo test`.
//!
//! Calls go to the kernel's first environment, with addresses of the test's own process; the exposed region is a
//! copy in the test's memory that is brought up to date after each call; the window on tables is that of the
//! simulated space. What the program maps it can look up there, and not touch: a load at an address of the
//! simulated space is none of the test's process.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use exopi_abi::domain::{AccountRecord, EnvironmentRecord, Life, SpaceRecord};
use exopi_abi::exposed::{CoreCounters, File, Header, MAGIC, MAX_CORES, Machine, Section};
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::page::PageRecord;
use exopi_abi::revocation::RevocationRecord;
use exopi_abi::slice::{MAX_SLICES, SLICES_PER_CORE, SliceRecord};
use exopi_abi::{Calls, PageNumber, VERSION, host};

use crate::board::{EPILOGUE_TICKS, SLICE_TICKS, TICKS_PER_SECOND};
use crate::{Board, Kernel, MemoryMode, Storage};

/// Most accounts, spaces and environments each that are shown.
const OBJECTS: usize = 64;
/// Most pages that are shown.
const PAGES: usize = 4096;

/// What there is of a network.
const NOTHING: Section = Section {
    offset: 0,
    count: 0,
    stride: 0,
};

/// The exposed region.
#[repr(C)]
struct Region {
    header: Header,
    counters: [CoreCounters; MAX_CORES],
    accounts: [AccountRecord; OBJECTS],
    spaces: [SpaceRecord; OBJECTS],
    environments: [EnvironmentRecord; OBJECTS],
    lives: [Life; OBJECTS],
    revocations: [RevocationRecord; OBJECTS],
    slices: [SliceRecord; MAX_SLICES],
    message_rings: [MessageRingRecord; OBJECTS],
    pages: [PageRecord; PAGES],
}

/// A kernel that serves this thread's stubs for as long as this lives.
pub struct Installed {
    kernel: Rc<RefCell<Kernel<'static>>>,
    before: Option<Box<dyn Calls>>,
    tables: Option<Box<host::Tables>>,
    exposed: u64,
    /// Read by the thread's programs, through its address.
    _region: Rc<RefCell<Box<Region>>>,
}

impl core::fmt::Debug for Installed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.kernel.borrow().fmt(f)
    }
}

impl Installed {
    /// Boots a kernel on `board` and lets it serve this thread's stubs. Of larger boards than
    /// [`Board::ROOMY`] the rest is not shown. Its records are never given back.
    pub fn new(board: &Board) -> Self {
        let storage = Box::leak(Box::new(Storage::new(board)));
        let mut kernel = Kernel::boot(board, storage);
        kernel.set_memory_mode(MemoryMode::HostProcess);
        let region = Rc::new(RefCell::new(Region::new(board)));
        region.borrow_mut().update(&kernel);
        let exposed = core::ptr::from_ref::<Region>(&region.borrow()) as u64;
        let kernel = Rc::new(RefCell::new(kernel));
        let (serving, shown) = (Rc::clone(&kernel), Rc::clone(&region));
        let before = host::serve(move |call, words| {
            let mut kernel = serving.borrow_mut();
            let reply = kernel.call(call.number(), words);
            shown.borrow_mut().update(&kernel);
            reply
        });
        let walked = Rc::clone(&kernel);
        Self {
            before,
            tables: host::show_tables(Some(Box::new(move |at| walked.borrow().load(at).ok()))),
            exposed: host::expose(exposed),
            kernel,
            _region: region,
        }
    }

    /// Looks at the kernel, or does something to it, between two calls.
    pub fn with<R>(&self, work: impl FnOnce(&mut Kernel<'static>) -> R) -> R {
        work(&mut self.kernel.borrow_mut())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        host::install(self.before.take());
        host::show_tables(self.tables.take());
        host::expose(self.exposed);
    }
}

fn section<T>(offset: usize, count: usize) -> Section {
    Section {
        offset: offset as u64,
        count: count as u64,
        stride: size_of::<T>() as u64,
    }
}

impl Region {
    fn new(board: &Board) -> Box<Self> {
        use core::mem::offset_of;
        let counter = || AtomicU64::new(0);
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            machine: Machine {
                cores: board.cores.into(),
                board_revision: 0,
                colours: board.colours.into(),
                cache_bytes: 1 << 19,
                cache_line: 64,
                boot_id: board.key[0],
                ticks_per_second: TICKS_PER_SECOND,
                entry_ticks: 0,
                first_el0_ticks: 0,
                slice_ticks: SLICE_TICKS,
                epilogue_ticks: EPILOGUE_TICKS,
            },
            counters: section::<CoreCounters>(offset_of!(Self, counters), MAX_CORES),
            accounts: section::<AccountRecord>(
                offset_of!(Self, accounts),
                board.accounts.min(OBJECTS),
            ),
            spaces: section::<SpaceRecord>(offset_of!(Self, spaces), board.spaces.min(OBJECTS)),
            environments: section::<EnvironmentRecord>(
                offset_of!(Self, environments),
                board.environments.min(OBJECTS),
            ),
            lives: section::<Life>(offset_of!(Self, lives), board.environments.min(OBJECTS)),
            revocations: section::<RevocationRecord>(
                offset_of!(Self, revocations),
                board.environments.min(OBJECTS),
            ),
            slices: section::<SliceRecord>(
                offset_of!(Self, slices),
                usize::from(board.cores) * SLICES_PER_CORE,
            ),
            message_rings: section::<MessageRingRecord>(
                offset_of!(Self, message_rings),
                board.environments.min(OBJECTS),
            ),
            interfaces: NOTHING,
            filters: NOTHING,
            rings: NOTHING,
            ring_pages: NOTHING,
            sends: NOTHING,
            pages: section::<PageRecord>(
                offset_of!(Self, pages),
                (board.frames as usize).min(PAGES),
            ),
            archive: File {
                first_page: 0,
                bytes: 0,
            },
            free_pages: counter(),
            longest_hold_ticks: counter(),
            longest_masked_ticks: counter(),
            console_losses: counter(),
        };
        Box::new(Self {
            header,
            counters: core::array::from_fn(|_| CoreCounters {
                calls: core::array::from_fn(|_| counter()),
                unknown_calls: counter(),
                upcalls: counter(),
                interrupts: counter(),
                ipis: counter(),
                events: core::array::from_fn(|_| counter()),
            }),
            accounts: [AccountRecord::default(); OBJECTS],
            spaces: [SpaceRecord::FREE; OBJECTS],
            environments: [EnvironmentRecord::FREE; OBJECTS],
            lives: [const { Life::FREE }; OBJECTS],
            revocations: [RevocationRecord::default(); OBJECTS],
            slices: [SliceRecord::FREE; MAX_SLICES],
            message_rings: [MessageRingRecord::NONE; OBJECTS],
            pages: [PageRecord::KERNEL; PAGES],
        })
    }

    fn update(&mut self, kernel: &Kernel<'_>) {
        let domains = kernel.domains();
        for (record, index) in self.accounts.iter_mut().zip(0..) {
            *record = domains.account(index).copied().unwrap_or_default();
        }
        for (record, index) in self.spaces.iter_mut().zip(0..) {
            *record = domains.space(index).copied().unwrap_or(SpaceRecord::FREE);
        }
        for (record, index) in self.environments.iter_mut().zip(0..) {
            let found = domains.environment(index).copied();
            *record = found.unwrap_or(EnvironmentRecord::FREE);
        }
        for (life, index) in self.lives.iter_mut().zip(0..) {
            *life = domains.words().get(index).cloned().unwrap_or_default();
        }
        for (record, index) in self.revocations.iter_mut().zip(0..) {
            *record = domains.revocation(index).copied().unwrap_or_default();
        }
        for (to, from) in self.slices.iter_mut().zip(domains.slice_records()) {
            *to = *from;
        }
        for (record, index) in self.message_rings.iter_mut().zip(0..) {
            *record = domains.message_ring(index).copied().unwrap_or_default();
        }
        for (record, number) in self.pages.iter_mut().zip(0..) {
            let found = domains.pages.record(PageNumber::new(number)).copied();
            *record = found.unwrap_or(PageRecord::KERNEL);
        }
        let free = domains.pages.free_pages();
        self.header.free_pages.store(free, Ordering::Relaxed);
    }
}
