//! Revocation: asking for what somebody has, and taking it when the time is over.
//!
//! ```text
//!   revoke_request     Asked: ceiling on what the account uses; notice to the holder; a deadline in its alarms
//!     revoke_answer      Done, and use is at the target       -> Given
//!                        MoreTime, once                       -> Extended, the deadline moves
//!     deadline, death    Taking: nothing new is charged for
//!       steps              until use is at the target, or nothing is left that may be taken
//!                                                             -> Given | Taken | Died
//!   outcome            what was given and taken leaves the allowance and flows to the parent;
//!                      notices to the holder, its keeper and who asked
//! ```
//!
//! Nothing of this waits for the holder: whatever it does or does not do, the deadline comes, and
//! [`Domains::due`] makes bounded steps, on whichever core comes by. A holder that dies is taken from like one that
//! does nothing. Its place in the table of environments is not given to another before there is an outcome.
//!
//! What is asked for belongs to the account that the holder is *charged* to, not to the one that it draws on at
//! present: so no change of that is a way out. An account answers one request at a time.
//!
//! How things of one resource are taken, a [`Revocable`] knows; the machine here only counts.

mod below;
mod budget;
mod pages;
mod setup;
mod vector;

use exopi_abi::capability::EnvironmentRights;
use exopi_abi::domain::{ObjectName, Resource};
use exopi_abi::page::Owner;
use exopi_abi::revocation::{
    Answer, LEAST_MICROSECONDS, MAX_NAMED, MOST_MICROSECONDS, NOTICE_BIT, RevocationRecord,
    RevocationState, Wanted,
};
use exopi_abi::{Error, PageNumber};
use exopi_pages::{Hardware, Step};

use crate::cores::NOBODY;
use crate::subject::epoch_of;
use crate::{Alarms, Domains, Subject, Target};

/// Deadlines that one step turns into work: each is a few steps in a heap.
const DEADLINES: u32 = 4;

/// The heap of [`Alarms`] that all deadlines of requests are in: they are no core's.
const EVERYBODY: u8 = 0;

/// The time, and what a tick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Ticks of the counter.
    pub now: u64,
    /// Ticks in a second.
    pub second: u64,
}

impl Clock {
    /// How many ticks so many microseconds are, rounded up.
    fn ticks(self, microseconds: u64) -> u64 {
        (u128::from(microseconds) * u128::from(self.second)).div_ceil(1_000_000) as u64
    }
}

/// One resource that can be asked back.
///
/// What is used of it the accounts say, and the machine here knows requests, times and who is told what. Another
/// resource joins by saying how a bounded number of its things is taken: it is named to
/// [`Revocations::and`], and whoever has its table hands this to [`Domains::due_with`].
pub trait Revocable<H: Hardware> {
    /// Which one.
    fn resource(&self) -> Resource;

    /// One bounded step towards the target of the request at `index`, which is in [`RevocationState::Taking`]:
    /// takes things of its account (see [`Domains::missing`]), and tells [`Domains::took`] of each.
    /// [`Step::Done`]: the target is reached, or there is nothing more to take.
    fn take(&mut self, domains: &mut Domains<'_>, hw: &mut H, index: u16) -> Step;
}

/// What revocation keeps.
#[derive(Debug)]
pub struct Revocations<'m> {
    pub(crate) records: &'m mut [RevocationRecord],
    deadlines: Alarms<'m>,
    /// Requests in [`RevocationState::Taking`].
    pub(crate) taking: crate::bits::Bits,
    /// Where the next step is made.
    turn: u16,
    /// The request for which accounts are frozen; [`NOBODY`] if there is none.
    pub(crate) family: u16,
    /// Where its cursor was when it has frozen one last.
    family_since: u32,
    /// What is taken from the family and still charged to the account that was asked.
    pub(crate) sinking: Option<below::Sinking>,
    /// Parts of the table that is taken now. One at a time is, as only a family's are.
    parts: u32,
    /// What can be asked for, by [`Resource`].
    kinds: [bool; Resource::COUNT],
}

impl<'m> Revocations<'m> {
    /// Nobody can be asked for anything.
    pub const fn none() -> Self {
        Self {
            records: &mut [],
            deadlines: Alarms::none(),
            taking: crate::bits::Bits::EMPTY,
            turn: 0,
            family: NOBODY,
            family_since: 0,
            sinking: None,
            parts: 0,
            kinds: [false; Resource::COUNT],
        }
    }

    /// A place for each environment in `records`, which are [`RevocationRecord::default`], with as many alarms.
    pub fn new(records: &'m mut [RevocationRecord], deadlines: Alarms<'m>) -> Self {
        Self {
            records,
            deadlines,
            ..Self::none()
        }
        .and(Resource::Pages)
    }

    /// The same, and `resource` can be asked for, too.
    #[must_use]
    pub fn and(mut self, resource: Resource) -> Self {
        if let Some(kind) = self.kinds.get_mut(resource as usize) {
            *kind = true;
        }
        self
    }

    /// Whether a resource can be asked for.
    fn knows(&self, resource: Resource) -> bool {
        self.kinds.get(resource as usize) == Some(&true)
    }

    /// Back to what there was, which the records tell.
    #[cfg(any(test, feature = "model"))]
    pub(crate) fn return_to(&mut self, records: &[RevocationRecord]) {
        self.records.copy_from_slice(records);
        self.taking = crate::bits::Bits::EMPTY;
        self.family = NOBODY;
        self.sinking = None;
        for (index, record) in (0..).zip(records) {
            self.deadlines.cancel(index);
            match record.state() {
                RevocationState::Asked | RevocationState::Extended => {
                    self.deadlines.set(index, EVERYBODY, record.deadline);
                }
                RevocationState::Taking => {
                    self.taking.insert(index);
                    if pages::has_family(record) {
                        self.family = index;
                        // As if the last one had been found just now: a round more.
                        self.family_since = record.cursor;
                    }
                }
                _ => {}
            }
        }
    }

    /// When the time of the request at `index` is over, if it is not yet.
    #[cfg(any(test, feature = "model"))]
    pub(crate) fn deadline_of(&self, index: u16) -> Option<u64> {
        self.deadlines.of(index)
    }
}

impl Domains<'_> {
    /// The last request to the environment at `index`, and what that has set up; `None` if there is no such place.
    #[inline]
    pub fn revocation(&self, index: u16) -> Option<&RevocationRecord> {
        self.revocations.records.get(usize::from(index))
    }

    /// Asks for something as the row `revoke_request` of the call table says; gives the request's serial.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`]; [`Error::OutOfRange`] of the notice and the
    /// times; [`Error::Malformed`] of a resource that is not asked back; [`Error::OutOfRange`] of the pages; [`Error::BadCount`]; [`Error::Busy`] while there is a request to the account.
    #[expect(clippy::too_many_arguments, reason = "the row's, and the time")]
    pub fn revoke_request(
        &mut self,
        by: &Subject,
        environment: Target<'_>,
        wanted: Wanted,
        count: u32,
        after: u64,
        extension: u64,
        bit: u64,
        clock: Clock,
    ) -> Result<u64, Error> {
        let rights = EnvironmentRights::REVOKE;
        let (index, record) = self.live_environment(by, environment, rights)?;
        let owner = record.account;
        let name = ObjectName {
            index,
            epoch: epoch_of(record.epoch),
        };
        let account = *self.drawable(owner)?;
        let least = clock.ticks(LEAST_MICROSECONDS);
        let most = clock.ticks(MOST_MICROSECONDS);
        let in_time = (least..=most).contains(&after) && extension <= most;
        let bit = u8::try_from(bit).ok().filter(|bit| *bit < 32 && in_time);
        let bit = bit.ok_or(Error::OutOfRange)?;
        let resource = wanted.resource();
        if !self.revocations.knows(resource) {
            return Err(Error::Malformed);
        }
        let used = account.used.get(resource as usize).copied().unwrap_or(0);
        let (first, named, asked) = self.asked(owner, wanted, count, used)?;
        let old = *self.revocation(index).ok_or(Error::Exhausted)?;
        if account.asked != 0 || old.state().is_open() {
            return Err(Error::Busy);
        }
        let deadline = clock.now.saturating_add(after);
        let serial = old.serial.wrapping_add(1);
        self.update_revocation(index, |record| {
            *record = RevocationRecord {
                serial,
                by: by.name.word(),
                account: owner.word(),
                deadline,
                limit: deadline.saturating_add(extension),
                asked,
                target: used.saturating_sub(asked),
                first,
                named,
                resource: resource as u8,
                state: RevocationState::Asked as u8,
                bit,
                ..setup::kept_of(&old)
            };
        });
        self.update_account(owner.index(), |record| {
            record.asked = resource as u8 + 1;
            record.ceiling = used;
        });
        self.revocations.deadlines.set(index, EVERYBODY, deadline);
        let _ = self.post(name, 1 << NOTICE_BIT);
        // One that sleeps is to know for how long.
        self.interrupt_idle();
        Ok(serial)
    }

    /// What a request is for: the first page and how many by number, and how many in all.
    fn asked(
        &self,
        owner: Owner,
        wanted: Wanted,
        count: u32,
        used: u32,
    ) -> Result<(u32, u16, u32), Error> {
        let first = match wanted {
            Wanted::Any(_) if count == 0 => return Err(Error::BadCount),
            Wanted::Any(_) => return Ok((0, 0, count.min(used))),
            Wanted::Pages(_) if count == 0 || count > MAX_NAMED => return Err(Error::BadCount),
            Wanted::Pages(first) => first,
        };
        let last = first.plus(u64::from(count) - 1);
        if last.and_then(|last| self.pages.record(last)).is_none() {
            return Err(Error::OutOfRange);
        }
        let held = self.held_of(owner, first, count);
        Ok((first.get(), count as u16, held))
    }

    /// How many of `count` pages from `first` on are charged to `owner`.
    fn held_of(&self, owner: Owner, first: PageNumber, count: u32) -> u32 {
        let pages = (0..u64::from(count)).filter_map(|n| self.pages.record(first.plus(n)?));
        pages.filter(|page| page.charged_to() == owner).count() as u32
    }

    /// Answers a request as the row `revoke_answer` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Stale`] if it is not the open one;
    /// [`Error::TimedOut`]; of [`Answer::Done`] [`Error::OverAllowance`] while the target is not reached; of
    /// [`Answer::MoreTime`] [`Error::MissingRight`] if there is none to be had.
    pub fn revoke_answer(
        &mut self,
        by: &Subject,
        serial: u64,
        answer: Answer,
        now: u64,
    ) -> Result<(), Error> {
        let index = by.name.index;
        let record = *self.revocation(index).ok_or(Error::Stale)?;
        if record.serial != serial || !record.state().is_open() {
            return Err(Error::Stale);
        }
        if record.state() == RevocationState::Taking || now >= record.deadline {
            return Err(Error::TimedOut);
        }
        match answer {
            Answer::Done if self.is_met(&record) => {
                self.conclude(index);
                Ok(())
            }
            Answer::Done => Err(Error::OverAllowance),
            Answer::MoreTime
                if record.state() == RevocationState::Asked && record.limit > record.deadline =>
            {
                self.update_revocation(index, |record| {
                    record.deadline = record.limit;
                    record.state = RevocationState::Extended as u8;
                });
                let deadlines = &mut self.revocations.deadlines;
                deadlines.set(index, EVERYBODY, record.limit);
                Ok(())
            }
            Answer::MoreTime => Err(Error::MissingRight),
        }
    }

    /// How much more than its target the account of a request uses, without what is on its way; 0 if there is no such
    /// account any more.
    fn excess(&self, record: &RevocationRecord) -> u32 {
        let used = self.charged(record.owner()).map_or(0, |account| {
            let resource = usize::from(record.resource);
            account.used.get(resource).copied().unwrap_or(0)
        });
        used.saturating_sub(self.sinks(record))
            .saturating_sub(record.target)
    }

    /// What is missing of the request at `index`, and whose account it is. For [`Revocable`].
    pub fn missing(&self, index: u16) -> Option<(Owner, u32)> {
        let record = self.revocation(index)?;
        Some((record.owner(), self.excess(record)))
    }

    /// The thing of number `number` was taken from the account that the request at `index` was for: it is charged to
    /// nobody any more, and the holder is told. For [`Revocable`].
    pub fn took<H: Hardware>(&mut self, hw: &mut H, index: u16, number: u32) {
        if let Some(owner) = self.revocation(index).map(RevocationRecord::owner) {
            self.lost(hw, index, owner, number);
        }
    }

    /// Whether what a request asks for is there.
    fn is_met(&self, record: &RevocationRecord) -> bool {
        let first = PageNumber::new(record.first);
        self.excess(record) == 0 && self.held_of(record.owner(), first, record.named.into()) == 0
    }

    /// When the next request's time is over, if there is one; a time that has passed if there is work to do now.
    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.revocations.taking.is_empty() {
            return Some(0);
        }
        self.revocations.deadlines.earliest(EVERYBODY)
    }

    /// Whether [`Domains::due`] has something to do at `now`.
    #[inline]
    pub fn is_due(&self, now: u64) -> bool {
        self.next_deadline().is_some_and(|time| time <= now)
    }

    /// One bounded step of what is due at `now`: requests whose time is over are taken up, and for one of them
    /// something is taken. Whether there is more to do at once. To be called soon after
    /// [`Domains::next_deadline`], and right whenever it is.
    pub fn due<H: Hardware>(&mut self, hw: &mut H, now: u64) -> bool {
        self.due_with(hw, now, &mut [])
    }

    /// The same where `others` take what is no page.
    pub fn due_with<H: Hardware>(
        &mut self,
        hw: &mut H,
        now: u64,
        others: &mut [&mut dyn Revocable<H>],
    ) -> bool {
        for _ in 0..DEADLINES {
            match self.revocations.deadlines.take_due(EVERYBODY, now) {
                Some(index) => self.begin_taking(index),
                None => break,
            }
        }
        let taking = &self.revocations.taking;
        let waiting = taking.from(self.revocations.turn);
        if let Some(index) = waiting.or_else(|| taking.first()) {
            self.revocations.turn = index + 1;
            self.take_step(hw, index, others);
        }
        self.is_due(now)
    }

    /// The time of a request is over.
    fn begin_taking(&mut self, index: u16) {
        self.revocations.deadlines.cancel(index);
        self.end_family(index);
        self.update_revocation(index, |record| {
            record.state = RevocationState::Taking as u8;
            record.phase = 0;
            record.cursor = 0;
            record.kept_count = 0;
        });
        let owner = self.revocation(index).map(RevocationRecord::owner);
        if let Some(owner) = owner.filter(|owner| self.charged(*owner).is_some()) {
            self.update_account(owner.index(), |account| account.ceiling = 0);
        }
        self.revocations.taking.insert(index);
    }

    /// One bounded step of a request in [`RevocationState::Taking`].
    fn take_step<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        others: &mut [&mut dyn Revocable<H>],
    ) {
        let Some(record) = self.revocation(index).copied() else {
            return;
        };
        // At its end an account's own is taken apart anyway, and all of it flows back.
        let lasts = self.drawable(record.owner()).is_ok();
        let step = if !lasts {
            Step::Done
        } else if record.resource != Resource::Pages as u8 {
            let mut others = others.iter_mut();
            let other = others.find(|other| other.resource() as u8 == record.resource);
            other.map_or(Step::Done, |other| other.take(self, hw, index))
        } else if let Some(space) = self.ending_space_of(index, &record) {
            // Its tables are plain pages of the account when it is gone.
            let _ = self.clear(hw, space);
            Step::More
        } else {
            pages::PlainPages.take(self, hw, index)
        };
        if step == Step::Done {
            self.tell_losses(hw, index);
            self.conclude(index);
        }
    }

    /// A space of who gives that is being taken apart. Looks at one record for each that is.
    fn ending_space_of(&self, asked: u16, record: &RevocationRecord) -> Option<u16> {
        let mut next = self.ending_spaces.first();
        while let Some(index) = next {
            let owner = self.space(index).map(|space| space.owner);
            if owner.is_some_and(|owner| self.gives(asked, record, owner)) {
                return Some(index);
            }
            next = self.ending_spaces.from(index + 1);
        }
        None
    }

    /// A request has come to its end: settles the accounts and tells everybody.
    fn conclude(&mut self, index: u16) {
        self.revocations.deadlines.cancel(index);
        self.revocations.taking.remove(index);
        self.end_family(index);
        let Some(record) = self.revocation(index).copied() else {
            return;
        };
        let owner = record.owner();
        // The account used target + asked when it was asked, and never more since.
        let back = record.asked.saturating_sub(self.excess(&record));
        let given = back.saturating_sub(record.taken);
        let holder = self.environment(index).map(|record| ObjectName {
            index,
            epoch: epoch_of(record.epoch),
        });
        let state = if holder.is_none() {
            RevocationState::Died
        } else if record.taken == 0 && self.is_met(&record) {
            RevocationState::Given
        } else {
            RevocationState::Taken
        };
        self.update_revocation(index, |record| {
            record.given = given;
            record.state = state as u8;
        });
        if self.charged(owner).is_some() {
            self.update_account(owner.index(), |account| {
                account.asked = 0;
                account.ceiling = 0;
            });
            self.shrink(owner, usize::from(record.resource), back);
        }
        match holder {
            Some(holder) => {
                let _ = self.post(holder, 1 << NOTICE_BIT);
                let _ = self.tell_keeper(index);
            }
            // Its place was kept for this.
            None => self.free_environments.insert(index),
        }
        let by = ObjectName::from_word(record.by);
        let _ = self.post(by, 1 << (record.bit % 32));
    }

    /// Takes `count` of an allowance away from an account, as far as it does not use it, and gives it to its parent.
    /// The first account keeps what it has: there is nobody to give it to.
    fn shrink(&mut self, owner: Owner, resource: usize, count: u32) {
        let Some(account) = self.charged(owner).copied() else {
            return;
        };
        let (Some(kind), Some(allowed), Some(used)) = (
            Resource::ALL.get(resource),
            account.allowance.get(resource),
            account.used.get(resource),
        ) else {
            return;
        };
        let Some(parent) = self.account(account.parent) else {
            return;
        };
        let parent = Owner::new(account.parent, epoch_of(parent.epoch));
        let count = count.min(allowed.saturating_sub(*used));
        if parent != owner {
            self.update_account(owner.index(), |account| {
                if let Some(allowed) = account.allowance.get_mut(resource) {
                    *allowed -= count;
                }
            });
            self.release(parent, *kind, count.into());
        }
    }

    /// Whether pages are being taken, or about to be, from the account `owner`, so that nothing of it is set up anew:
    /// whoever pinned again what was unpinned to be taken would keep it for good.
    pub(crate) fn is_taken_from(&self, owner: Owner) -> bool {
        let pages = Resource::Pages as u8 + 1;
        self.charged(owner).is_some_and(|account| {
            account.frozen == pages || (account.asked == pages && account.ceiling == 0)
        })
    }

    /// The environment at `index` is dying, and what it has set up ends. If it was asked for something, that is
    /// taken from now on, and its place is not free before there is an outcome. Whether it is free.
    pub(crate) fn end_revocation(&mut self, index: u16) -> bool {
        self.end_setup(index);
        self.end_message_ring(index);
        let state = self.revocation(index).map(RevocationRecord::state);
        let open = state.is_some_and(RevocationState::is_open);
        if open {
            // From the begin, if it has begun: there is more now that may be taken.
            self.begin_taking(index);
            self.interrupt_idle();
        }
        !open
    }

    pub(crate) fn update_revocation(
        &mut self,
        index: u16,
        change: impl FnOnce(&mut RevocationRecord),
    ) {
        if let Some(record) = self.revocations.records.get_mut(usize::from(index)) {
            change(record);
        }
    }
}
