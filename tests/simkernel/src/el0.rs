//! What environments do by themselves: loads, stores, fetches, and the upcalls that come of them.
//!
//! An access goes through whatever the model's TLBs may hold, which at EL0 must be one answer: if there are
//! two, some core still uses what was taken away, and the test has found a fault of the kernel's.

use exopi_abi::PageNumber;
use exopi_abi::layout::{PAGE_SIZE, USER_END};
use exopi_abi::page::SUPERPAGE_PAGES;
use exopi_abi::uarea::{Entry, Frame, UArea, UpcallClass};
use exopi_pages::Index;
use exopi_pages::model::Machine;

use crate::Kernel;

/// What an access is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A load.
    Load,
    /// A store.
    Store,
    /// A fetch of an instruction.
    Fetch,
}

/// An exception that an environment has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Exception syndrome, as the real kernel hands it on.
    pub esr: u64,
    /// The address.
    pub far: u64,
}

/// What became of an upcall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Its handler has run.
    Handled,
    /// There was none, or its frame was held: the environment is suspended.
    Suspended,
}

/// Instruction or data abort from EL0 (ARM DDI 0487, ESR_EL1.EC).
const INSTRUCTION_ABORT: u64 = 0x20;
const DATA_ABORT: u64 = 0x24;
/// ESR_EL1.IL: a 32-bit instruction.
const LONG: u64 = 1 << 25;
/// ESR_EL1.ISS.WnR: a store.
const WRITE: u64 = 1 << 6;
/// Fault status codes of level 3; of level 0 for an address that no space reaches.
const TRANSLATION: u64 = 0b00_0111;
const OUTSIDE: u64 = 0b00_0100;
const PERMISSION: u64 = 0b00_1111;

impl Fault {
    fn new(at: u64, what: Use, status: u64) -> Self {
        let (class, write) = match what {
            Use::Load => (DATA_ABORT, 0),
            Use::Store => (DATA_ABORT, WRITE),
            Use::Fetch => (INSTRUCTION_ABORT, 0),
        };
        Self {
            esr: class << 26 | LONG | write | status,
            far: at,
        }
    }
}

/// The frame that an access at `at` reaches.
///
/// # Errors
/// The fault.
///
/// # Panics
/// If cores may use more than one translation.
pub fn translate(machine: &Machine, asid: u16, at: u64, what: Use) -> Result<PageNumber, Fault> {
    if at >= USER_END {
        return Err(Fault::new(at, what, OUTSIDE));
    }
    let mut found = machine.translations().filter(|(space, base, translation)| {
        let pages = if translation.superpage {
            SUPERPAGE_PAGES
        } else {
            1
        };
        *space == asid && *base <= at && at - *base < pages * PAGE_SIZE
    });
    let Some((_, base, translation)) = found.next() else {
        return Err(Fault::new(at, what, TRANSLATION));
    };
    if let Some(other) = found.next() {
        panic!("at {at:#x} of ASID {asid} cores may use {translation:?} and {other:?}");
    }
    let allowed = match what {
        Use::Load => true,
        Use::Store => translation.write,
        Use::Fetch => translation.execute,
    };
    if allowed {
        let offset = (at - base) / PAGE_SIZE;
        Ok(PageNumber::new(translation.frame.get() + offset as u32))
    } else {
        Err(Fault::new(at, what, PERMISSION))
    }
}

/// A word of a frame.
pub fn word(machine: &Machine, page: PageNumber, index: Index) -> u64 {
    let words = machine.contents(page);
    words.get(&index.get()).copied().unwrap_or_default()
}

/// Index of a word of the u-area.
const fn uarea_word(offset: usize) -> u64 {
    (offset / 8) as u64
}

/// Where the words of a frame in the u-area begin.
const fn frame_of(class: UpcallClass) -> u64 {
    let first = core::mem::offset_of!(UArea, frames);
    uarea_word(first + class as usize * size_of::<Frame>())
}

/// Where the words of an entry in the u-area begin.
pub(crate) const fn entry_of(class: UpcallClass) -> u64 {
    uarea_word(class as usize * size_of::<Entry>())
}

/// Words of a [`Frame`] from its beginning.
const PC: u64 = uarea_word(core::mem::offset_of!(Frame, pc));
const ESR: u64 = uarea_word(core::mem::offset_of!(Frame, esr));
const FAR: u64 = uarea_word(core::mem::offset_of!(Frame, far));
const HELD: u64 = uarea_word(core::mem::offset_of!(Frame, held));

impl Kernel<'_> {
    /// A load of 8 bytes by the running environment, at a multiple of 8.
    ///
    /// # Errors
    /// The fault.
    pub fn load(&self, at: u64) -> Result<u64, Fault> {
        let page = translate(self.machine(), self.asid(), at, Use::Load)?;
        Ok(word(self.machine(), page, Index::truncate(at / 8)))
    }

    /// A store of 8 bytes by the running environment, at a multiple of 8.
    ///
    /// # Errors
    /// The fault.
    pub fn store(&mut self, at: u64, value: u64) -> Result<(), Fault> {
        let page = translate(self.machine(), self.asid(), at, Use::Store)?;
        self.machine_mut()
            .write(page, Index::truncate(at / 8), value);
        Ok(())
    }

    /// A fetch of an instruction by the running environment: the word that it lies in.
    ///
    /// # Errors
    /// The fault.
    pub fn fetch(&self, at: u64) -> Result<u64, Fault> {
        let page = translate(self.machine(), self.asid(), at, Use::Fetch)?;
        Ok(word(self.machine(), page, Index::truncate(at / 8)))
    }

    /// Takes an exception of the running environment to its fault upcall, as the real kernel does, and runs the
    /// handler that the test has installed. `pc` is where it happened.
    pub fn fault(&mut self, fault: Fault, pc: u64) -> Delivery {
        self.upcall(UpcallClass::Fault, pc, fault.esr, fault.far)
    }

    /// What becomes of an environment that has no code: its first instruction faults.
    pub(crate) fn fault_at_once(&mut self) -> Delivery {
        self.fault(Fault::new(0, Use::Fetch, TRANSLATION), 0)
    }

    /// Delivers an upcall of `class`.
    pub(crate) fn upcall(&mut self, class: UpcallClass, pc: u64, esr: u64, far: u64) -> Delivery {
        let Some(page) = self.uarea() else {
            return Delivery::Suspended;
        };
        let frame = frame_of(class);
        let held = self.uarea_word(page, frame + HELD) != 0;
        if held || self.uarea_word(page, entry_of(class)) == 0 {
            self.suspend();
            return Delivery::Suspended;
        }
        for (index, value) in [(PC, pc), (ESR, esr), (FAR, far), (HELD, 1)] {
            let index = Index::truncate(frame + index);
            self.machine_mut().write(page, index, value);
        }
        self.handle(class);
        Delivery::Handled
    }

    /// Releases the frame of `class`; whether it was held.
    pub(crate) fn release(&mut self, class: UpcallClass) -> bool {
        let Some(page) = self.uarea() else {
            return false;
        };
        let held = frame_of(class) + HELD;
        let was_held = self.uarea_word(page, held) != 0;
        if was_held {
            self.machine_mut().write(page, Index::truncate(held), 0);
        }
        was_held
    }

    /// Whether asynchronous upcalls must wait: they are masked, or the frame is held.
    pub(crate) fn must_wait(&self) -> bool {
        let Some(page) = self.uarea() else {
            return true;
        };
        let masked = uarea_word(core::mem::offset_of!(UArea, masked));
        let held = frame_of(UpcallClass::Notice) + HELD;
        [masked, held]
            .iter()
            .any(|index| self.uarea_word(page, *index) != 0)
    }

    /// Tells the running environment whether an asynchronous upcall waits.
    pub(crate) fn set_waiting(&mut self, waits: bool) {
        if let Some(page) = self.uarea() {
            let index = uarea_word(core::mem::offset_of!(UArea, waiting));
            let index = Index::truncate(index);
            if word(self.machine(), page, index) != u64::from(waits) {
                self.machine_mut().write(page, index, waits.into());
            }
        }
    }

    pub(crate) fn uarea_word(&self, page: PageNumber, index: u64) -> u64 {
        word(self.machine(), page, Index::truncate(index))
    }
}
