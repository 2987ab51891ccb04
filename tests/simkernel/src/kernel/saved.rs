//! A simulated kernel as data, to which one can come back. For tests that explore.

use std::collections::{BTreeMap, VecDeque};

use exopi_abi::PageNumber;
use exopi_abi::domain::ObjectName;
use exopi_domains::Subject;
use exopi_domains::saved::Saved as SavedDomains;
use exopi_pages::model::Machine;

use super::{Kernel, PowerOff};

/// A [`Kernel`] and its machine as they were, but for the test's handler.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    domains: SavedDomains,
    machine: Machine,
    seconds: u64,
    subjects: Vec<Option<Subject>>,
    core: u8,
    attached: BTreeMap<u16, PageNumber>,
    console: ObjectName,
    printed: Vec<u8>,
    typed: VecDeque<u8>,
    power: Option<PowerOff>,
}

impl Kernel<'_> {
    /// What there is now.
    pub fn saved(&self) -> Saved {
        Saved {
            domains: self.domains.saved(),
            machine: self.machine.clone(),
            seconds: self.seconds,
            subjects: self.subjects.clone(),
            core: self.core,
            attached: self.attached.clone(),
            console: self.console,
            printed: self.printed.clone(),
            typed: self.typed.clone(),
            power: self.power,
        }
    }

    /// Back to what there was. The handler stays.
    ///
    /// # Panics
    /// It was on another board.
    pub fn return_to(&mut self, saved: &Saved) {
        self.domains.return_to(&saved.domains);
        self.machine.clone_from(&saved.machine);
        self.seconds = saved.seconds;
        self.subjects.clone_from(&saved.subjects);
        self.core = saved.core;
        self.attached.clone_from(&saved.attached);
        self.console = saved.console;
        self.printed.clone_from(&saved.printed);
        self.typed.clone_from(&saved.typed);
        self.power = saved.power;
    }
}
