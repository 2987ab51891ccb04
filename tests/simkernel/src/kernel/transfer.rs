//! Control transfers: whom the core goes to. Messages are in registers, which there are none of here.

use core::mem::offset_of;

use exopi_abi::uarea::{Frame, UArea, UpcallClass};
use exopi_abi::{Error, PageNumber};
use exopi_domains::{Answered, Behind};
use exopi_pages::Index;

use super::Kernel;
use crate::el0::{entry_of, word};

/// Words of the state to go on with, from its beginning.
const FRAME_WORDS: u64 = size_of::<Frame>() as u64 / 8;
const X8: u64 = 8;
const SP: u64 = offset_of!(Frame, sp) as u64 / 8;
const PC: u64 = offset_of!(Frame, pc) as u64 / 8;
const HELD: u64 = offset_of!(Frame, held) as u64 / 8;
/// Where callers go on: nowhere, since what they do is the test's to know.
const BEHIND: Behind = Behind {
    pc: 0,
    sp: 0,
    steps: false,
};
/// Where it lies in the u-area.
const SAVED: u64 = offset_of!(UArea, saved) as u64 / 8;

impl Kernel<'_> {
    /// Calls through a gate, until a deadline; or sends, if there is no question of one.
    pub(crate) fn transfer(&mut self, gate: u64, deadline: Option<u64>) -> Result<(), Error> {
        let by = *self.subject();
        let begun = self.domains.pct_begin(&by, gate)?;
        if !self.takes_calls(begun.callee.name.index) {
            self.domains.pct_abandon(&begun);
            return Err(Error::NotAccepting);
        }
        match deadline {
            Some(deadline) => {
                let machine = &mut self.machine;
                let domains = &mut self.domains;
                domains.pct_link(machine, &by, &begun, BEHIND, deadline)?;
            }
            None => {
                self.save();
                self.domains.pct_link_one_way(&begun);
                self.domains.pct_sent(&mut self.machine, &by);
            }
        }
        self.subjects[usize::from(self.core)] = Some(begun.callee);
        self.attach();
        Ok(())
    }

    /// Answers the call that who runs here serves.
    pub(crate) fn answer(&mut self) -> Result<(), Error> {
        let by = *self.subject();
        let now = self.seconds;
        let masked = self.masked();
        let machine = &mut self.machine;
        let answered = self.domains.pct_reply(machine, &by, masked, now);
        self.subjects[usize::from(self.core)] = match answered? {
            Answered::Caller {
                subject, departs, ..
            } => {
                if departs {
                    self.domains.departed(machine, by.name.index);
                }
                Some(subject)
            }
            Answered::Nobody { departs: true } => {
                self.domains.left(machine, &by);
                None
            }
            Answered::Nobody { departs: false } => {
                self.domains.vacated(by.core);
                None
            }
        };
        self.attach();
        Ok(())
    }

    /// Whether who runs here has masked asynchronous upcalls.
    fn masked(&self) -> bool {
        const MASKED: usize = offset_of!(UArea, masked) / 8;
        let page = self.uarea();
        page.is_some_and(|page| word(&self.machine, page, Index::truncate(MASKED as u64)) != 0)
    }

    /// Whether an environment has an entry for calls.
    fn takes_calls(&self, index: u16) -> bool {
        let record = self.domains.environment(index);
        record.is_some_and(|record| {
            let entry = Index::truncate(entry_of(UpcallClass::Pct));
            word(&self.machine, PageNumber::new(record.uarea), entry) != 0
        })
    }

    /// Writes the states of environments whose calls have failed.
    pub(crate) fn write_failed(&mut self) {
        while let Some(failed) = self.domains.take_failed() {
            for index in 0..FRAME_WORDS {
                let value = match index {
                    X8 => failed.code,
                    SP => failed.sp,
                    PC => failed.pc,
                    HELD => 1,
                    _ => 0,
                };
                let at = Index::truncate(SAVED + index);
                self.machine.write(failed.uarea, at, value);
            }
        }
    }
}
