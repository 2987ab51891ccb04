//! What the kernel shows to everybody: one region, read-only, at [`layout::EXPOSED_BASE`] in each space.
//!
//! ```text
//!   EXPOSED_BASE  header: magic, version, machine, where the sections are
//!   + counters    one CoreCounters for each core
//!   + accounts    the records of accounts, by index
//!   + spaces      the records of spaces, by index
//!   + environments  the records of environments, by index
//!   + lives       what becomes of environments, by index
//!   + revocations   what environments are asked to give back, by index
//!   + slices      the slices of processor time, by number
//!   + message_rings  the rings for messages of environments, by index
//!   + pages       the page array: one PageRecord for each frame, from frame 0 on
//! ```
//!
//! It is read with plain loads and no system call. Words that change while they can be read are
//! atomic; a record of several words may be seen half changed, and a reader who minds reads twice.
//! Secrets and contents of pages are never here.

use core::sync::atomic::AtomicU64;

use crate::calls::Call;
use crate::page::PageRecord;
use crate::{VERSION, layout};

/// First word of the region.
pub const MAGIC: u64 = u64::from_le_bytes(*b"EXOPIEXP");

/// Most cores that a board may have.
pub const MAX_CORES: usize = 4;

/// Where a section of the region lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Section {
    /// Bytes from the region's begin.
    pub offset: u64,
    /// Number of records.
    pub count: u64,
    /// Bytes from one record to the next.
    pub stride: u64,
}

/// Whole pages of memory that hold a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct File {
    /// The first page's number; the others follow it.
    pub first_page: u64,
    /// Bytes of the file, from the first page's begin on.
    pub bytes: u64,
}

/// The machine, as found at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Machine {
    /// Cores that came up.
    pub cores: u64,
    /// The board's revision code; 0 if the firmware does not tell.
    pub board_revision: u64,
    /// Colours of pages: pages whose numbers differ by a multiple of it compete for the same lines of the last
    /// level of cache. A power of two, at most [`MAX_COLOURS`](crate::page::MAX_COLOURS).
    pub colours: u64,
    /// Bytes of the last level of cache that all cores share.
    pub cache_bytes: u64,
    /// Bytes of a line of the data caches.
    pub cache_line: u64,
    /// 64 bits that no other boot has.
    pub boot_id: u64,
    /// Rate of `CNTVCT_EL0` and of every tick count here, in hertz.
    pub ticks_per_second: u64,
    /// `CNTVCT_EL0` at the kernel's first instruction.
    pub entry_ticks: u64,
    /// `CNTVCT_EL0` just before the first instruction at EL0.
    pub first_el0_ticks: u64,
    /// Length of a slice, in ticks. Also the most that one carries over, and the most that an environment may owe and
    /// be run.
    pub slice_ticks: u64,
    /// How long an environment keeps the core after its slice's end at most, in ticks.
    pub epilogue_ticks: u64,
}

/// First page of the region.
#[derive(Debug)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`crate::VERSION`] of the kernel.
    pub version: u64,
    /// The machine.
    pub machine: Machine,
    /// Records of [`CoreCounters`].
    pub counters: Section,
    /// Records of [`AccountRecord`](crate::domain::AccountRecord).
    pub accounts: Section,
    /// Records of [`SpaceRecord`](crate::domain::SpaceRecord).
    pub spaces: Section,
    /// Records of [`EnvironmentRecord`](crate::domain::EnvironmentRecord).
    pub environments: Section,
    /// Records of [`Life`](crate::domain::Life), one for each environment.
    pub lives: Section,
    /// Records of [`RevocationRecord`](crate::revocation::RevocationRecord), one for each environment.
    pub revocations: Section,
    /// Records of [`SliceRecord`](crate::slice::SliceRecord): as many as the machine's cores have positions.
    pub slices: Section,
    /// Records of [`MessageRingRecord`](crate::msgring::MessageRingRecord), one for each environment.
    pub message_rings: Section,
    /// Records of [`InterfaceRecord`](crate::net::InterfaceRecord).
    pub interfaces: Section,
    /// Records of [`FilterRecord`](crate::net::FilterRecord): as many for each interface, in their order.
    pub filters: Section,
    /// Records of [`RingRecord`](crate::net::RingRecord).
    pub rings: Section,
    /// For each ring, the numbers of its pages, each in 32 bits.
    pub ring_pages: Section,
    /// Records of [`SendRecord`](crate::net::SendRecord), those of interfaces first.
    pub sends: Section,
    /// Records of [`PageRecord`].
    pub pages: Section,
    /// The boot image's archive of programs ([`boot`](crate::boot)). At boot its pages are the first account's,
    /// which may map them, and free them when it has read them.
    pub archive: File,
    /// Pages on the free list.
    pub free_pages: AtomicU64,
    /// Longest time that the kernel lock was held, in ticks.
    pub longest_hold_ticks: AtomicU64,
    /// Longest time that interrupts were masked while an environment's call, its turn or a device was attended to, in
    /// ticks: how much later than asked an interrupt may be taken.
    ///
    /// Of a call it goes from when its registers are seen to when its reply is there; of a change of environments from
    /// before the kernel lock is waited for to its end; of the console's interrupt from when it is told from others to
    /// when it is served. What comes before and after, and is left out of it, is of a length that depends on nothing:
    /// the way in and out. So are whole faults, `null`, `resume`, and the mapping, removal, protection and minting of
    /// one page of the caller's own, but for their wait for the kernel lock: a hold of each other core at most. A core
    /// that sleeps or boots is not masked in this sense.
    pub longest_masked_ticks: AtomicU64,
    /// How often the console lost input: a damaged byte, one that came while the queue was full, or any
    /// number of them that the port itself had no room for.
    pub console_losses: AtomicU64,
}

/// Things that a core counts only in builds with the kernel's feature `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Event {
    /// Exceptions taken from EL0.
    Exception = 0,
    /// TLB invalidations of one page or table, broadcast.
    TlbiPage = 1,
    /// Data and instruction barriers.
    Barrier = 2,
    /// Changes of TTBR0.
    SpaceSwitch = 3,
    /// Device register accesses.
    DeviceAccess = 4,
    /// TLB invalidations of a whole space, broadcast.
    TlbiSpace = 5,
}

impl Event {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All, with names as the benchmark table prints them.
    pub const ALL: [(Event, &'static str); Event::COUNT] = [
        (Event::Exception, "exceptions"),
        (Event::TlbiPage, "tlbi"),
        (Event::Barrier, "barriers"),
        (Event::SpaceSwitch, "ttbr"),
        (Event::DeviceAccess, "mmio"),
        (Event::TlbiSpace, "tlbi_space"),
    ];
}

/// What a core has counted since boot.
#[derive(Debug)]
#[repr(C, align(1024))]
pub struct CoreCounters {
    /// Entries by call: element n is call number n + 1.
    pub calls: [AtomicU64; CoreCounters::CALLS],
    /// Calls with a number that names none.
    pub unknown_calls: AtomicU64,
    /// Upcalls delivered.
    pub upcalls: AtomicU64,
    /// Interrupts taken.
    pub interrupts: AtomicU64,
    /// Inter-processor interrupts served.
    pub ipis: AtomicU64,
    /// Events by [`Event`]; zero in builds without feature `count`.
    pub events: [AtomicU64; Event::COUNT],
}

impl CoreCounters {
    /// Room for this many calls.
    pub const CALLS: usize = 96;
}

const _: () = {
    assert!(size_of::<CoreCounters>() == 1024);
    assert!(size_of::<CoreCounters>() * MAX_CORES == layout::PAGE_SIZE as usize);
    assert!(size_of::<Header>() <= layout::PAGE_SIZE as usize);
    assert!(Call::ALL.len() <= CoreCounters::CALLS);
    assert!(VERSION != 0);
    // Records never straddle a page.
    assert!((layout::PAGE_SIZE as usize).is_multiple_of(size_of::<PageRecord>()));
};
