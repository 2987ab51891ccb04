//! How large a simulated machine is, and the records that its kernel keeps.

use exopi_abi::domain::{AccountRecord, EnvironmentRecord, Life, SpaceRecord};
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::page::PageRecord;
use exopi_abi::revocation::RevocationRecord;
use exopi_abi::slice::{SLICES_PER_CORE, SliceRecord};
use exopi_domains::{Alarm, Alarms, Table};

/// Ticks of its clock in a second.
pub const TICKS_PER_SECOND: u64 = 1_000_000;
/// Ticks of a slice.
pub const SLICE_TICKS: u64 = 1_000;
/// Ticks that an environment may keep its core after its slice's end.
pub const EPILOGUE_TICKS: u64 = 50;

/// A simulated machine, as it is at boot.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Page frames.
    pub frames: u32,
    /// Frames from number 0 on that are the kernel's own; at least 2.
    pub kernel_frames: u32,
    /// Colours of frames: a power of two.
    pub colours: u8,
    /// Cores, at most [`MAX_CORES`](exopi_abi::exposed::MAX_CORES).
    pub cores: u8,
    /// Accounts that there can be.
    pub accounts: usize,
    /// Spaces that there can be.
    pub spaces: usize,
    /// Environments that there can be.
    pub environments: usize,
    /// The key of all seals.
    pub key: [u64; 2],
    /// Whole seconds since boot.
    pub seconds: u64,
}

impl Board {
    /// Tiny: what random calls do to each other matters most where there is little.
    pub const SMALL: Self = Self {
        frames: 48,
        kernel_frames: 2,
        colours: 2,
        cores: 4,
        accounts: 8,
        spaces: 8,
        environments: 8,
        key: [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908],
        seconds: 5,
    };

    /// Room enough for a libOS: 16 MiB.
    pub const ROOMY: Self = Self {
        frames: 4096,
        colours: 8,
        accounts: 64,
        spaces: 64,
        environments: 64,
        ..Self::SMALL
    };
}

/// Memory for a kernel's records, which outlives the kernel.
///
/// A kernel that is to be installed for stubs must live as long as the thread does: leak its storage.
#[derive(Debug)]
pub struct Storage {
    pub(crate) pages: Vec<PageRecord>,
    pub(crate) accounts: Vec<AccountRecord>,
    pub(crate) spaces: Vec<SpaceRecord>,
    pub(crate) environments: Vec<EnvironmentRecord>,
    pub(crate) lives: Vec<Life>,
    pub(crate) slices: Vec<SliceRecord>,
    pub(crate) links: Table,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) order: Vec<u16>,
    pub(crate) revocations: Vec<RevocationRecord>,
    pub(crate) message_rings: Vec<MessageRingRecord>,
    pub(crate) deadlines: Vec<Alarm>,
    pub(crate) deadline_order: Vec<u16>,
}

impl Storage {
    /// Records for a board, all of nothing.
    pub fn new(board: &Board) -> Self {
        Self {
            pages: vec![PageRecord::KERNEL; board.frames as usize],
            accounts: vec![AccountRecord::default(); board.accounts],
            spaces: vec![SpaceRecord::FREE; board.spaces],
            environments: vec![EnvironmentRecord::FREE; board.environments],
            lives: vec![Life::default(); board.environments],
            slices: vec![SliceRecord::FREE; usize::from(board.cores) * SLICES_PER_CORE],
            links: Table::of(board.environments),
            alarms: vec![Alarm::NONE; board.environments],
            order: vec![0; Alarms::order_length(board.environments)],
            revocations: vec![RevocationRecord::default(); board.environments],
            message_rings: vec![MessageRingRecord::NONE; board.environments],
            deadlines: vec![Alarm::NONE; board.environments],
            deadline_order: vec![0; Alarms::order_length(board.environments)],
        }
    }
}
