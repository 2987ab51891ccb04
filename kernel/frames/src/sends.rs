//! Send capabilities: narrower ones from wider ones, each charged to whoever made it.

use exopi_abi::Error;
use exopi_abi::capability::SendRights;
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{Program, SendRecord};

use crate::removal::Step;
use crate::rule::{Refusal, Rule};
use crate::{By, Claim, Frames, Holding, Ledger, REMOVED_AT_ONCE};

/// Most send capabilities above one.
pub const MAX_SEND_DEPTH: u8 = 8;

/// Links of a record: indices plus one, 0 for none.
const CHILD: usize = 0;
const NEXT: usize = 1;
const PREVIOUS: usize = 2;

fn link(record: &SendRecord, which: usize) -> Option<u16> {
    record.links.get(which)?.checked_sub(1)
}

impl Frames<'_> {
    fn update_send(&mut self, index: u16, change: impl FnOnce(&mut SendRecord)) {
        if let Some(record) = self.sends.get_mut(usize::from(index)) {
            change(record);
        }
    }

    fn set_link(&mut self, index: u16, which: usize, to: Option<u16>) {
        self.update_send(index, |record| {
            if let Some(place) = record.links.get_mut(which) {
                *place = to.map_or(0, |to| to + 1);
            }
        });
    }

    /// All send capabilities behind those of interfaces are free.
    pub(crate) fn link_sends(&mut self) {
        for index in (self.records.len()..self.sends.len()).rev() {
            let index = index as u16;
            self.set_link(index, NEXT, self.free_send);
            self.free_send = Some(index);
        }
    }

    pub(crate) fn put_send(&mut self, index: u16, record: SendRecord, rule: Rule) {
        self.update_send(index, |place| *place = record);
        if let Some(place) = self.rules.get_mut(usize::from(index)) {
            *place = rule;
        }
    }

    /// Makes a send capability that allows what `from` does and `atoms` do, as the row `send_refine` of the call table
    /// says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::TimeLimited`]; of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`], of a name [`Error::NotYours`]; [`Error::Stale`]; [`Error::LimitReached`] for too
    /// long a line; [`Error::OutOfRange`] for fields beyond what is checked, or too many behind an advance by a
    /// field; [`Error::Malformed`] if nothing would be allowed; of the account [`Error::Stale`],
    /// [`Error::OverAllowance`]; [`Error::Exhausted`].
    pub fn send_refine(
        &mut self,
        by: &By,
        from: Claim<'_>,
        atoms: Program<'_>,
        ledger: &mut impl Ledger,
    ) -> Result<ObjectName, Error> {
        let parent = self.lasting_send(by, from, SendRights::REFINE)?;
        let above = *self.send(parent).ok_or(Error::Stale)?;
        if above.depth >= MAX_SEND_DEPTH {
            return Err(Error::LimitReached);
        }
        let rule = self.rules.get(usize::from(parent)).ok_or(Error::Stale)?;
        let rule = rule.and(atoms).map_err(|refusal| match refusal {
            Refusal::TooFar => Error::OutOfRange,
            Refusal::Contradiction => Error::Malformed,
        })?;
        ledger.room(by.owner, Holding::Send)?;
        let index = self.free_send.ok_or(Error::Exhausted)?;
        let epoch = ledger.stamp().ok_or(Error::Exhausted)?;
        let free = self.sends.get(usize::from(index));
        self.free_send = free.and_then(|free| link(free, NEXT));
        let record = SendRecord {
            epoch: epoch.bits(),
            account: by.owner,
            environment: by.name.word(),
            parent,
            depth: above.depth + 1,
            interface: above.interface,
            ..SendRecord::FREE
        };
        self.put_send(index, record, rule);
        let sibling = link(&above, CHILD);
        self.set_link(index, NEXT, sibling);
        if let Some(sibling) = sibling {
            self.set_link(sibling, PREVIOUS, Some(index));
        }
        self.set_link(parent, CHILD, Some(index));
        self.note_made(by.name);
        ledger.charge(by.owner, Holding::Send);
        Ok(ObjectName { index, epoch })
    }

    /// Ends a send capability of the caller's account and all that were narrowed from it, as the row `send_delete` of the
    /// call table says. None of them is good from the first step on; frames that wait have been checked and go.
    ///
    /// # Errors
    /// [`Error::NotYours`]; [`Error::MissingRight`] for an interface's first.
    pub fn send_delete(
        &mut self,
        by: &By,
        send: ObjectName,
        ledger: &mut impl Ledger,
    ) -> Result<Step, Error> {
        let index = self.any_send(by, Claim::Owned(send), SendRights::empty())?;
        if self.send(index).is_some_and(|record| record.depth == 0) {
            return Err(Error::MissingRight);
        }
        Ok(self.end_send(index, ledger))
    }

    /// A bounded part of the end of a send capability and of those below it, leaves first.
    pub(crate) fn end_send(&mut self, index: u16, ledger: &mut impl Ledger) -> Step {
        self.update_send(index, |record| record.leaving = 1);
        let mut at = index;
        let mut removed = 0;
        while removed < REMOVED_AT_ONCE {
            let Some(record) = self.send(at).copied() else {
                return Step::Done;
            };
            // No line is longer than `MAX_SEND_DEPTH`.
            if let Some(child) = link(&record, CHILD) {
                at = child;
                continue;
            }
            self.remove_send(at, &record, ledger);
            removed += 1;
            if at == index {
                return Step::Done;
            }
            at = record.parent;
        }
        self.tidy_up();
        Step::More
    }

    /// Removes one that has none below it.
    fn remove_send(&mut self, index: u16, record: &SendRecord, ledger: &mut impl Ledger) {
        let (next, previous) = (link(record, NEXT), link(record, PREVIOUS));
        match previous {
            Some(previous) => self.set_link(previous, NEXT, next),
            None => self.set_link(record.parent, CHILD, next),
        }
        if let Some(next) = next {
            self.set_link(next, PREVIOUS, previous);
        }
        self.note_gone(record.environment);
        ledger.release(record.account, Holding::Send);
        self.update_send(index, |record| *record = SendRecord::FREE);
        self.set_link(index, NEXT, self.free_send);
        self.free_send = Some(index);
    }
}
