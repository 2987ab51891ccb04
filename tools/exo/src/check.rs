//! `exo check`: the kernel's invariants, recomputed from the memory of a running machine.
//!
//! ```text
//!   memory   the guest's RAM, a file that the emulator shares with this command
//!   kernel   what the kernel's ELF file tells: where its image, its tables and its key lie
//!      |
//!   state    the exposed region, and the records in it
//!      |
//!   frames   types, free lists, charges         objects   accounts, spaces, environments
//!   spaces   user tables, links, references     image     the kernel's own tables
//!   reach    what EL0 and EL1 can do, as the processor's walk has it
//!   census   who holds capabilities that are worth something
//!      |
//!   report   what is wrong, by law
//! ```
//!
//! This is no second copy of the kernel's decisions: it shares nothing with the crates that make them but the
//! layout of records and the form of a capability (`exopi-abi`), and asks of a state not how it came about but
//! whether it can be. What it knows of descriptors it has from the architecture manual. It believes no word of
//! the memory that it reads: whatever is there, it ends with a report.
//!
//! What it needs of the machine is that it does not change while it is read, and that no core is in the middle
//! of a change: [`guest`] sees to that.

pub mod census;
pub mod command;
pub mod descriptor;
mod frames;
pub mod guest;
mod image;
pub mod kernel;
pub mod memory;
mod message_rings;
mod network;
mod objects;
pub mod qmp;
mod reach;
pub mod report;
mod revocations;
mod spaces;
pub mod state;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use census::{Census, Grant};
pub use command::{Args, run};
pub use kernel::Kernel;
pub use memory::Memory;
pub use report::{Law, Report, Violation};
pub use state::State;

/// What a check found.
#[derive(Debug)]
pub struct Findings {
    /// What is wrong.
    pub report: Report,
    /// Who holds what. None if the state could not be read, or the kernel has no key.
    pub census: Option<Census>,
    /// Frames that were looked at.
    pub frames: usize,
    /// How long it took.
    pub time: Duration,
}

/// Checks a machine that stands still, whose kernel was built as `kernel` tells, and in which nobody may hold
/// a capability beyond `grants`.
pub fn check(memory: &Memory, kernel: &Kernel, grants: &[Grant]) -> Findings {
    let start = Instant::now();
    let mut report = Report::default();
    let read = State::read(memory, kernel, &mut report);
    let mut census = None;
    let mut frames = 0;
    if let Some(state) = read {
        frames = state.frames.len();
        frames::check(&state, &mut report);
        objects::check(&state, &mut report);
        revocations::check(&state, &mut report);
        message_rings::check(&state, &mut report);
        network::check(&state, &mut report);
        let mappings = spaces::check(memory, &state, &mut report);
        image::check(memory, kernel, &state, &mut report);
        reach::check(memory, &state, &mut report);
        census = Census::take(memory, kernel, &state, &mappings);
        match &census {
            Some(census) => census.compare(grants, &mut report),
            None => report.add(Law::Capability, || {
                let key = kernel::KEY;
                format!("no census: the kernel has no key where {key} says")
            }),
        }
    }
    Findings {
        report,
        census,
        frames,
        time: start.elapsed(),
    }
}
