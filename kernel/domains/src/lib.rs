//! Who pays, where, and who runs: accounts, spaces and environments over pages.
//!
//! Everything that a kernel decides about them is decided here, for the real kernel and for the simulated
//! one. There is a method for each call of the table that needs no device; what is left to the caller is
//! decoding, reading and verifying capabilities, copying user memory, saving and restoring registers.
//!
//! ```text
//!   account  <-- parent -- account            what may be used; carved out of the parent's       accounts
//!      ^                      ^
//!      | owner                | account (home), bound (drawn on)
//!    space  <-- space -- environment          tables and mappings; what runs in them             spaces, environments
//!                             ^
//!                             | running
//!                           core              who has it, in whose turn                           cores, life
//!                             ^
//!                           slice             when, and for how long                              time
//! ```
//!
//! # What always holds between two calls
//!
//! * Frames = free + the kernel's + the sum over accounts. What an account has *used* of each resource is what is
//!   charged to it by records, and the whole allowances of its children, and it is no more than it is
//!   allowed. So nobody's spending can be felt outside the account that it is drawn from.
//! * A space has as many members as there are environments in it. It is dying if that number has come back to
//!   zero, or somebody asked for its end; then nothing is mapped in it any more.
//! * What is done with an environment is claimed by its word first ([`Lives`]), and one that has a core is taken
//!   apart by nobody. Who is ready and has slices on a core that is idle, or has no timer, has had that core told.
//! * What an account pays for lives no longer than the account. What others have of it (mappings of its pages,
//!   environments in its spaces, the right to draw on it) ends with it.
//! * A call that was refused has changed nothing, but for [`Error::Busy`](exopi_abi::Error::Busy), whose point is
//!   the interrupt.
//!
//! # What the kernel owes
//!
//! * All methods are called under one lock, and an environment that does not run any more ([`Domains::runs`])
//!   has its registers saved, and leaves ([`Domains::left`]), before the lock is given back. From then on
//!   another core may run, read or destroy it.
//! * A core that nobody has is in no space: the space of the one that left may be gone with its tables at any
//!   time, and is before `left` returns if it died.
//! * [`Domains::take_interrupts`] is asked after each call, and those cores told.
//! * What is kept of a subject is asked for again after [`Domains::account_bind`].
//!
//! # Absent on purpose
//!
//! Priorities, parents and exit statuses of environments, names: policy. Lists of who holds what:
//! capabilities need none. Any wait: what cannot be done at once is refused as busy, or is done in parts.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "model"))]
extern crate std;

mod accounts;
mod alarms;
#[cfg(any(test, feature = "model"))]
pub mod audit;
mod bits;
mod capabilities;
mod cores;
mod ends;
mod environments;
mod first;
mod gates;
mod holdings;
mod life;
mod links;
mod memory;
mod msgrings;
mod notices;
mod revocation;
#[cfg(any(test, feature = "model"))]
pub mod saved;
mod spaces;
mod subject;
#[cfg(test)]
mod tests;
mod time;
mod transfers;

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{
    AccountRecord, EnvironmentRecord, Life, LifeWord, MAX_ACCOUNTS, MAX_ENVIRONMENTS, MAX_SPACES,
    ObjectName, SpaceRecord,
};
use exopi_abi::exposed::MAX_CORES;
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::slice::{SLICES_PER_CORE, SliceRecord};
use exopi_cap::Epochs;
use exopi_pages::Pages;
use exopi_slices::{Lengths, Slices};

use bits::Bits;
use cores::Core;
use links::Nowhere;

pub use alarms::{Alarm, Alarms};
pub use capabilities::cap_narrow;
pub use cores::{Entering, Left, Next};
pub use environments::{STATE_BOUND, Window};
pub use life::Lives;
#[cfg(any(test, feature = "model"))]
pub use links::Table;
pub use links::{Gate, Link, Links, Places};
pub use revocation::{Clock, Revocable, Revocations};
pub use subject::{Subject, Target};
pub use transfers::{Answered, Begun, Behind, Failed};

/// Pages, accounts, spaces, environments and cores.
#[derive(Debug)]
pub struct Domains<'m> {
    /// All frames.
    pub pages: Pages<'m>,
    /// Where every stamp comes from.
    pub epochs: Epochs,
    accounts: &'m mut [AccountRecord],
    spaces: &'m mut [SpaceRecord],
    environments: &'m mut [EnvironmentRecord],
    lives: Lives<'m>,
    places: &'m dyn Places,
    /// When whoever waits for a time is to hear of it.
    pub alarms: Alarms<'m>,
    /// What environments are asked for.
    revocations: Revocations<'m>,
    /// Rings for messages, by environment.
    message_rings: &'m mut [MessageRingRecord],
    /// Environments whose calls have failed and whose states say nothing of it yet.
    failed: Bits,
    free_accounts: Bits,
    free_spaces: Bits,
    free_environments: Bits,
    /// Places of environments that have ended, and whether an account has begun to: for those who keep things of theirs.
    ended: Bits,
    closing: bool,
    /// Accounts that are dying and wait for no child.
    ending_accounts: Bits,
    /// Dying spaces that the background takes apart.
    ending_spaces: Bits,
    /// Environments on no core that are dying and still have slices.
    ending_environments: Bits,
    /// Where the background looks next.
    turn_accounts: u16,
    turn_spaces: u16,
    slices: Slices<'m>,
    cores: [Core; MAX_CORES],
    core_count: u8,
    /// Cores that are to be told, by bit, and [`cores::FAILED`].
    interrupts: u8,
    first: ObjectName,
}

/// Memory for the records of everything. All of them must be of nothing, and `lives` as many as `environments`.
#[derive(Debug)]
pub struct Tables<'m> {
    /// All frames.
    pub pages: Pages<'m>,
    /// Accounts, by index.
    pub accounts: &'m mut [AccountRecord],
    /// Spaces, by index.
    pub spaces: &'m mut [SpaceRecord],
    /// Environments, by index.
    pub environments: &'m mut [EnvironmentRecord],
    /// What becomes of environments, likewise.
    pub lives: &'m [Life],
    /// Slices, by number.
    pub slices: &'m mut [SliceRecord],
}

impl<'m> Domains<'m> {
    /// Nothing at all: what a kernel has before it knows its board.
    pub const fn none() -> Self {
        Self {
            pages: Pages::none(),
            epochs: Epochs::new(),
            accounts: &mut [],
            spaces: &mut [],
            environments: &mut [],
            lives: Lives::new(&[]),
            places: &Nowhere,
            alarms: Alarms::none(),
            revocations: Revocations::none(),
            message_rings: &mut [],
            failed: Bits::EMPTY,
            free_accounts: Bits::EMPTY,
            free_spaces: Bits::EMPTY,
            free_environments: Bits::EMPTY,
            ended: Bits::EMPTY,
            closing: false,
            ending_accounts: Bits::EMPTY,
            ending_spaces: Bits::EMPTY,
            ending_environments: Bits::EMPTY,
            turn_accounts: 0,
            turn_spaces: 0,
            slices: Slices::none(),
            cores: [Core::IDLE; MAX_CORES],
            core_count: 0,
            interrupts: 0,
            first: ObjectName {
                index: 0,
                epoch: Epoch::NONE,
            },
        }
    }

    /// Puts tables into [`Domains::none`] in which there is nobody yet, for a machine with `cores` cores, whose slices are as long as `lengths`
    /// says. What is beyond [`MAX_ACCOUNTS`], [`MAX_SPACES`], [`MAX_ENVIRONMENTS`] or [`MAX_CORES`] is left out.
    pub fn set_tables(&mut self, tables: Tables<'m>, lengths: Lengths, cores: u8) {
        let Tables {
            pages,
            accounts,
            spaces,
            environments,
            lives,
            slices,
        } = tables;
        let cores = cores.min(MAX_CORES as u8);
        let (accounts, _) = accounts.split_at_mut(accounts.len().min(MAX_ACCOUNTS));
        let (spaces, _) = spaces.split_at_mut(spaces.len().min(MAX_SPACES));
        let most = environments.len().min(lives.len()).min(MAX_ENVIRONMENTS);
        let (environments, _) = environments.split_at_mut(most);
        let (lives, _) = lives.split_at(most);
        let most = slices.len().min(usize::from(cores) * SLICES_PER_CORE);
        let (slices, _) = slices.split_at_mut(most);
        self.pages = pages;
        self.free_accounts = Bits::below(accounts.len());
        self.free_spaces = Bits::below(spaces.len());
        self.free_environments = Bits::below(environments.len());
        self.accounts = accounts;
        self.spaces = spaces;
        self.environments = environments;
        self.lives = Lives::new(lives);
        self.slices = Slices::new(slices, lengths);
        self.core_count = cores;
    }

    /// Puts in links between environments, which are in `places`, and alarms.
    pub fn set_links(&mut self, places: &'m dyn Places, alarms: Alarms<'m>) {
        self.places = places;
        self.alarms = alarms;
    }

    /// Puts in what environments are asked for.
    pub fn set_revocations(&mut self, revocations: Revocations<'m>) {
        self.revocations = revocations;
    }

    /// Puts in rings for messages: records of none, one for each environment.
    pub fn set_message_rings(&mut self, rings: &'m mut [MessageRingRecord]) {
        self.message_rings = rings;
    }

    /// The words of environments.
    #[inline(always)]
    pub const fn words(&self) -> Lives<'m> {
        self.lives
    }

    /// What becomes of the environment at `index`; [`LifeWord::FREE`] if there is none.
    #[inline(always)]
    pub fn life(&self, index: u16) -> LifeWord {
        self.lives.word(index)
    }
}
