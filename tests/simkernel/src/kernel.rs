//! The kernel: what it keeps, who runs on which core, and how a call gets in and out.

use std::collections::{BTreeMap, VecDeque};

use exopi_abi::domain::ObjectName;
use exopi_abi::layout::USER_END;
use exopi_abi::uarea::UpcallClass;
use exopi_abi::{Error, PageNumber, Reply, calls, host};
use exopi_cap::Key;
use exopi_domains::{Domains, Left, Next, Subject};
use exopi_frames::Frames;
use exopi_pages::model::Machine;
use exopi_pages::pte;

use crate::user::{HostProcess, Translated, UserMemory};

mod boot;
mod check;
mod saved;
mod state;
mod transfer;

pub use boot::First;
pub use check::{Seen, Snapshot};
pub use saved::Saved;

/// Root entry for the exposed region: a table of the kernel's, frame 1, with nothing in it. What there would be
/// to read, tests read in the records.
pub(crate) const EXPOSED: u64 = pte::kernel_table(4096);

/// What addresses in arguments are addresses of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryMode {
    /// The running environment's space.
    Translated,
    /// The test's own process.
    HostProcess,
}

/// How the machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerOff {
    /// Off, with this status.
    Exit(u64),
    /// To begin anew.
    Reset,
    /// The first environment was suspended, and nobody keeps it.
    FirstSuspended,
}

/// A test's handler of upcalls: it gets the kernel, on the core and with the environment that the upcall is
/// for, and the class. The frame in the u-area says the rest; it is the handler's to release (`resume`).
pub trait Serve: FnMut(&mut Kernel<'_>, UpcallClass) {}

impl<F: FnMut(&mut Kernel<'_>, UpcallClass)> Serve for F {}

/// A simulated kernel with all that runs on it.
pub struct Kernel<'m> {
    domains: Domains<'m>,
    /// No interface, and so nothing of what calls on them are about.
    pub(crate) frames: Frames<'m>,
    machine: Machine,
    key: Key,
    /// Whole seconds since boot: what capabilities end by.
    pub seconds: u64,
    /// The time in ticks of which slices are made: it passes by [`Kernel::advance`] alone.
    now: u64,
    mode: MemoryMode,
    /// Who runs on each core.
    subjects: Vec<Option<Subject>>,
    /// The core that makes the calls now.
    core: u8,
    /// Places in the tables of accounts, spaces and environments.
    accounts: u16,
    spaces: u16,
    environments: u16,
    /// Roots of the spaces that the machine walks, by ASID.
    attached: BTreeMap<u16, PageNumber>,
    first: First,
    console: ObjectName,
    /// What was written to the console.
    pub printed: Vec<u8>,
    /// What the console will give.
    pub typed: VecDeque<u8>,
    power: Option<PowerOff>,
    handler: Option<Box<dyn Serve>>,
}

impl core::fmt::Debug for Kernel<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut fields = f.debug_struct("Kernel");
        fields
            .field("core", &self.core)
            .field("subjects", &self.subjects);
        fields.finish_non_exhaustive()
    }
}

impl<'m> Kernel<'m> {
    /// Its accounts, spaces, environments and pages.
    pub fn domains(&self) -> &Domains<'m> {
        &self.domains
    }

    /// Its machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(crate) fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// What was made at boot.
    pub fn first(&self) -> First {
        self.first
    }

    /// How the machine ended, if it did.
    pub fn power(&self) -> Option<PowerOff> {
        self.power
    }

    /// From now on addresses in arguments are addresses of this.
    pub fn set_memory_mode(&mut self, mode: MemoryMode) {
        self.mode = mode;
    }

    /// From now on `handler` hears of every upcall that is delivered.
    pub fn set_handler(&mut self, handler: Box<dyn Serve>) {
        self.handler = Some(handler);
    }

    /// Cores.
    pub fn cores(&self) -> u8 {
        self.subjects.len() as u8
    }

    /// The core that makes the calls now.
    pub fn core(&self) -> u8 {
        self.core
    }

    /// Whether somebody runs on a core.
    pub fn is_busy(&self, core: u8) -> bool {
        let subject = self.subjects.get(usize::from(core));
        subject.is_some_and(Option::is_some)
    }

    /// From now on calls and accesses are made by whoever runs on `core`.
    ///
    /// # Panics
    /// If there is no such core.
    pub fn select(&mut self, core: u8) {
        assert!(core < self.cores(), "core {core} of {}", self.cores());
        self.core = core;
    }

    /// Who runs here.
    ///
    /// # Panics
    /// If nobody does: who plays an environment asks [`Kernel::is_busy`] after everything that may end it.
    pub fn running(&self) -> ObjectName {
        self.subject().name
    }

    pub(crate) fn subject(&self) -> &Subject {
        let subject = self.subjects[usize::from(self.core)].as_ref();
        subject.unwrap_or_else(|| panic!("nobody runs on core {}", self.core))
    }

    pub(crate) fn asid(&self) -> u16 {
        self.subject().space.asid()
    }

    /// The u-area of who runs here.
    pub(crate) fn uarea(&self) -> Option<PageNumber> {
        let record = self.domains.environment(self.subject().name.index)?;
        Some(PageNumber::new(record.uarea))
    }

    /// Makes a call from registers.
    pub fn call(&mut self, number: u16, words: [u64; 6]) -> Reply {
        let reply = self.dispatch(number, words);
        self.leave();
        reply
    }

    /// The call itself, without what the kernel does on its way out ([`Kernel::leave`]). Between the two nothing
    /// else may be done.
    pub fn dispatch(&mut self, number: u16, words: [u64; 6]) -> Reply {
        let reply = if self.mode == MemoryMode::HostProcess {
            calls::dispatch(self, number, words)
        } else {
            let before = host::end_memory(USER_END);
            let reply = calls::dispatch(self, number, words);
            host::end_memory(before);
            reply
        };
        self.write_failed();
        reply
    }

    /// The kernel's state and the machine, for a call of who runs here.
    pub(crate) fn enter<R>(
        &mut self,
        call: impl FnOnce(&mut Domains<'m>, &mut Machine, &Subject) -> R,
    ) -> R {
        let by = *self.subject();
        let result = call(&mut self.domains, &mut self.machine, &by);
        // A call may have changed on whose account it draws, and the tables that are walked.
        if let Some(subject) = self.domains.subject(by.name.index, by.core) {
            self.subjects[usize::from(self.core)] = Some(subject);
        }
        self.attach();
        result
    }

    /// The memory of who runs here.
    pub(crate) fn user<R>(&mut self, work: impl FnOnce(&mut dyn UserMemory) -> R) -> R {
        let asid = self.asid();
        match self.mode {
            MemoryMode::HostProcess => work(&mut HostProcess),
            MemoryMode::Translated => work(&mut Translated {
                machine: &mut self.machine,
                asid,
            }),
        }
    }

    /// The machine walks the tables of the spaces that there are.
    fn attach(&mut self) {
        let domains = &self.domains;
        let present = |asid: u16, root: PageNumber| {
            let record = asid.checked_sub(1).and_then(|index| domains.space(index));
            let space = domains.pages.space(root);
            record.is_some_and(|record| record.root == root.get()) && space.is_some()
        };
        let machine = &mut self.machine;
        self.attached.retain(|asid, root| {
            let stays = present(*asid, *root);
            if !stays {
                machine.detach(*asid);
            }
            stays
        });
        for index in 0..self.spaces {
            let Some(record) = domains.space(index) else {
                continue;
            };
            let root = PageNumber::new(record.root);
            if present(record.asid, root) && self.attached.insert(record.asid, root).is_none() {
                machine.attach(record.asid, root);
            }
        }
    }

    /// What the real kernel does on its way out: whoever is to leave its core leaves it, cores that are
    /// idle take the next one, and cores that were interrupted deliver notices.
    pub fn leave(&mut self) {
        let here = self.core;
        self.look_again();
        loop {
            let cores = self.domains.take_interrupts();
            if cores == 0 {
                break;
            }
            for core in (0..self.cores()).filter(|core| cores >> core & 1 == 1) {
                self.core = core;
                self.look_again();
                if self.is_busy(core) {
                    self.deliver_notices();
                }
            }
        }
        self.core = here;
    }

    /// The core looks again at what it runs.
    fn look_again(&mut self) {
        if let Some(subject) = self.subjects[usize::from(self.core)] {
            if self.domains.runs(&subject) {
                if !self.domains.is_over(&subject, self.now) {
                    return;
                }
                self.domains.preempt(&subject);
            }
            self.save();
            self.subjects[usize::from(self.core)] = None;
            let how = Left {
                now: self.now,
                flags: 0,
            };
            self.domains.left(&mut self.machine, &subject, how);
            self.write_failed();
            self.attach();
        }
        self.schedule_here();
    }

    /// The next one gets the core, if nobody has it.
    fn schedule_here(&mut self) {
        let core = usize::from(self.core);
        if self.subjects[core].is_some() {
            return;
        }
        let next = loop {
            match self.domains.next(self.core, self.now) {
                Next::Run(next) => break next.subject,
                Next::Again => {}
                Next::Idle => return,
            }
        };
        self.subjects[core] = Some(next);
        let _ = self.domains.deadline(&next, self.now);
        self.restore();
        self.deliver_notices();
    }

    /// The time in ticks.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// So many ticks go by: turns that have come to their end by then are over.
    pub fn advance(&mut self, ticks: u64) {
        self.now += ticks;
        let here = self.core;
        for core in 0..self.cores() {
            self.core = core;
            self.look_again();
        }
        self.core = here;
        self.leave();
    }

    /// Every core that is idle takes the next one.
    pub fn schedule(&mut self) {
        self.leave();
    }

    /// One step of what idle cores do: what is due, and clearing up after what was destroyed.
    pub fn sweep(&mut self) -> bool {
        let more = if self.domains.is_due(self.now) {
            let _ = self.domains.due(&mut self.machine, self.now);
            true
        } else {
            self.domains.sweep(&mut self.machine)
        };
        self.write_failed();
        self.attach();
        self.leave();
        more
    }

    /// The running environment is suspended: an upcall could not be delivered.
    pub(crate) fn suspend(&mut self) {
        let by = *self.subject();
        if !self.domains.suspended(&by) {
            self.power = Some(PowerOff::FirstSuspended);
        }
        self.leave();
    }

    /// Lets the test's handler run.
    pub(crate) fn handle(&mut self, class: UpcallClass) {
        if let Some(mut handler) = self.handler.take() {
            handler(self, class);
            // One that it has installed meanwhile stays.
            self.handler.get_or_insert(handler);
        }
    }

    /// Whether who runs here owns the console: when its owner dies, the first environment owns it again.
    pub(crate) fn has_console(&self) -> bool {
        let owner = if self.domains.lives(self.console) {
            self.console
        } else {
            self.domains.first()
        };
        owner == self.running()
    }

    /// Who owned the console when somebody was given it last.
    pub fn console(&self) -> ObjectName {
        self.console
    }

    pub(crate) fn set_console(&mut self, to: ObjectName) {
        self.console = to;
    }

    pub(crate) fn power_off(&mut self, how: PowerOff) -> Result<(), Error> {
        if self.domains.is_first(self.running()) {
            self.power = Some(how);
            Ok(())
        } else {
            Err(Error::MissingRight)
        }
    }
}
