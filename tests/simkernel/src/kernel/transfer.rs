//! Control transfers: whom the core goes to. Messages are in registers, which there are none of here.

use core::mem::offset_of;

use exopi_abi::uarea::{Frame, UArea, UpcallClass};
use exopi_abi::{Error, PageNumber};
use exopi_domains::Answered;
use exopi_pages::Index;

use super::Kernel;
use crate::el0::entry_of;

/// Words of the state to go on with, from its beginning.
const FRAME_WORDS: u64 = size_of::<Frame>() as u64 / 8;
const X8: u64 = 8;
const SP: u64 = offset_of!(Frame, sp) as u64 / 8;
const PC: u64 = offset_of!(Frame, pc) as u64 / 8;
const HELD: u64 = offset_of!(Frame, held) as u64 / 8;
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
                self.domains
                    .pct_link(machine, &by, &begun, [0; 2], deadline)?;
            }
            None => {
                self.save();
                self.domains.pct_link_one_way(&begun);
                self.domains.pct_sent(&mut self.machine, &by);
            }
        }
        self.subjects[usize::from(self.core)] = Some(begun.callee);
        self.write_failed();
        self.attach();
        Ok(())
    }

    /// Answers the call that who runs here serves.
    pub(crate) fn answer(&mut self) -> Result<(), Error> {
        let by = *self.subject();
        let now = self.seconds;
        let answered = self.domains.pct_reply(&mut self.machine, &by, now);
        self.subjects[usize::from(self.core)] = match answered? {
            Answered::Caller { subject, .. } => {
                self.domains.pct_answered(&mut self.machine, &by);
                Some(subject)
            }
            Answered::Nobody => {
                self.domains.left(&mut self.machine, &by);
                None
            }
        };
        self.write_failed();
        self.attach();
        Ok(())
    }

    /// Whether an environment has an entry for calls.
    fn takes_calls(&self, index: u16) -> bool {
        let record = self.domains.environment(index);
        record.is_some_and(|record| {
            let uarea = PageNumber::new(record.uarea);
            self.uarea_word(uarea, entry_of(UpcallClass::Pct)) != 0
        })
    }

    /// Writes the states of environments whose calls have failed.
    pub(crate) fn write_failed(&mut self) {
        while let Some(failed) = self.domains.take_failed() {
            for word in 0..FRAME_WORDS {
                let value = match word {
                    X8 => failed.code,
                    SP => failed.sp,
                    PC => failed.pc,
                    HELD => 1,
                    _ => 0,
                };
                let at = Index::truncate(SAVED + word);
                self.machine.write(failed.uarea, at, value);
            }
        }
    }
}
