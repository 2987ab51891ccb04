//! Ends: of environments, and of accounts with all that is charged to them.
//!
//! ```text
//!   an account:  Children -----> Environments ----> Slices --> Spaces --------> Pages -------> gone
//!                one after the   its own, and all   freed      one after the    broken, and    the allowance
//!                other, first    in its spaces                 other, and what  freed          flows back
//!                                                              is kept elsewhere
//! ```
//!
//! Each call does a bounded part. Where it stopped is in the record's `cursor`, phase and place, so that
//! whoever comes next goes on there: the one who asks again, another who asks for an account further up, or
//! [`Domains::sweep`] in idle time. What has been passed does not come back, since nothing new is charged to an
//! account that is dying, nobody joins a space of such an account, and a phase begins when the one before it
//! has left nothing.
//!
//! An account with children waits in `Children` with its cursor on the one that is dying. So the way from any
//! account to the one where there is work is a walk from cursor to cursor, and only those that wait for
//! no other are in the set from which the background takes its work. So does a call for which that walk is too long:
//! each of the set has its turn, and what is below the account that the call is for is among them.
//!
//! An environment on another core is marked and interrupted, and its end is [`Error::Busy`] until it has
//! [`left`](Domains::left), which is its end.

mod phases;

use exopi_abi::capability::{AccountRights, EnvironmentRights};
use exopi_abi::domain::{EnvironmentRecord, LifeWord, ObjectName, Resource};
use exopi_abi::{Error, PageNumber, Progress};
use exopi_pages::{Hardware, Step};
use exopi_slices::Of;

use crate::holdings::ELSEWHERE;
use crate::spaces::progress;
use crate::subject::epoch_of;
use crate::{Domains, Subject, Target};
use phases::{Cursor, Next, Phase};

/// What one call may do, in records that it looks at.
const BUDGET: u32 = 768;
/// Most accounts on the way from one to where there is work.
const WAY: u32 = 64;
/// What the end of an account counts for that has nothing any more, and what the begin of one.
const GONE_COST: u32 = 32;
const BEGIN_COST: u32 = 16;
/// Most accounts that a sweep tries. One is blocked only while an environment has a core that is charged to it
/// or in its space, so that there are at most two for each core.
const TRIALS: u32 = 9;

/// How a bounded part of an end left things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is gone.
    Done,
    /// There is more to do.
    More,
    /// Somebody has to leave a core first, and was told.
    Blocked,
}

impl Domains<'_> {
    /// Destroys an environment as the row `env_destroy` of the call table says. The caller itself dies once it has
    /// [`left`](Domains::left). To one who asks again, [`Error::NotYours`] or [`Error::Stale`] says that it is
    /// gone.
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`],
    /// [`Error::MissingRight`]; [`Error::NotYours`], [`Error::Stale`]; [`Error::Busy`] of one that has another
    /// core, which is interrupted.
    pub fn env_destroy<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        environment: Target<'_>,
    ) -> Progress {
        let index = match self.any_environment(by, environment, EnvironmentRights::DESTROY) {
            Ok(index) => index,
            Err(error) => return Progress::refused(error),
        };
        match self.doom(index) {
            Some(_) if index == by.name.index => return progress(Step::Done),
            Some(core) => {
                self.interrupt(core);
                return Progress::refused(Error::Busy);
            }
            None => {}
        }
        progress(self.end_environment(hw, index).unwrap_or(Step::Done))
    }

    /// Destroys an account as the row `account_destroy` of the call table says. If the caller is among what it
    /// takes away, it dies, too, once it has [`left`](Domains::left). To one who asks again,
    /// [`Error::NotYours`] or [`Error::Stale`] says that it is gone.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::MissingRight`] for the caller's own or the first;
    /// of a capability [`Error::WrongKind`], [`Error::MissingRight`]; [`Error::NotYours`],
    /// [`Error::Stale`]; [`Error::Busy`] if an environment has to leave a core first, which is interrupted.
    pub fn account_destroy<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        account: Target<'_>,
    ) -> Progress {
        let index = match self.any_account(by, account, AccountRights::DESTROY) {
            Ok(index) => index,
            Err(error) => return Progress::refused(error),
        };
        if self
            .account(index)
            .is_some_and(|record| record.parent == index)
        {
            return Progress::refused(Error::MissingRight);
        }
        self.begin_end(index);
        match self.end_account(hw, index) {
            End::Done => progress(Step::Done),
            End::More => progress(Step::More),
            End::Blocked => Progress::refused(Error::Busy),
        }
    }

    /// Whether something is being taken apart.
    #[inline(always)]
    pub const fn is_ending(&self) -> bool {
        !(self.ending_spaces.is_empty()
            && self.ending_accounts.is_empty()
            && self.ending_environments.is_empty())
    }

    /// One bounded step of taking apart whatever is dying: for cores that have nothing else to do, and on the way
    /// of those that yield. `false` if there is nothing to do, or nothing before somebody has left a core.
    pub fn sweep<H: Hardware>(&mut self, hw: &mut H) -> bool {
        if let Some(index) = self.ending_environments.first() {
            let _ = self.end_environment(hw, index);
            return true;
        }
        let from = self.turn_spaces;
        let waiting = self.ending_spaces.from(from);
        if let Some(index) = waiting.or_else(|| self.ending_spaces.first()) {
            self.turn_spaces = index + 1;
            let _ = self.clear(hw, index);
            return true;
        }
        for _ in 0..TRIALS {
            let Some(index) = self.next_ending() else {
                return false;
            };
            if self.end_account(hw, index) != End::Blocked {
                return true;
            }
        }
        false
    }

    /// Marks an environment: if a core has it, which is told, it dies when it leaves that, and if none has, it is
    /// the caller's to end.
    fn doom(&self, index: u16) -> Option<u8> {
        let before = self.lives.doom(index);
        before.ok().and_then(LifeWord::core)
    }

    /// Ends an environment that is doomed and has no core any more, tells its keeper, and if it was the last in its
    /// space, begins to take that apart; gives how far that came. One with many slices is there until those are
    /// freed, and [`Step::More`] says that somebody has to go on: the background does.
    pub(crate) fn end_environment<H: Hardware>(&mut self, hw: &mut H, index: u16) -> Option<Step> {
        if !self.end_slices_of(index) {
            self.ending_environments.insert(index);
            self.interrupt_idle();
            return Some(Step::More);
        }
        self.ending_environments.remove(index);
        let record = self.environment(index).copied()?;
        self.cut_links(index);
        let _ = self.tell_keeper(index);
        let uarea = PageNumber::new(record.uarea);
        // It is one as long as its environment lives, so that nothing is refused.
        let _ = self.pages.remove_uarea(hw, &mut self.epochs, uarea);
        self.update_environment(index, |record| *record = EnvironmentRecord::FREE);
        self.lives.end(index);
        self.ended.insert(index);
        if self.end_revocation(index) {
            self.free_environments.insert(index);
        }
        self.release(record.account, Resource::Environments, 1);
        let mut last = false;
        self.update_space(record.space, |space| {
            space.members -= 1;
            last = space.members == 0;
        });
        if !last {
            return None;
        }
        self.begin_end_of_space(record.space);
        Some(self.clear(hw, record.space))
    }

    /// Frees slices of an environment that is dying. Whether there are none any more.
    fn end_slices_of(&mut self, index: u16) -> bool {
        let Some(record) = self.environment(index) else {
            return true;
        };
        let has_none = |slices: &[u8]| slices.iter().all(|count| *count == 0);
        if has_none(&record.slices) {
            return true;
        }
        let name = ObjectName {
            index,
            epoch: epoch_of(record.epoch),
        };
        // Where this has come to: nobody asks since when it owes.
        let from = match self.ending_environments.contains(index) {
            true => record.owed_since as u16,
            false => 0,
        };
        let next = self.end_slices(Of::Environment(name), from);
        self.update_environment(index, |record| {
            record.owed_since = next.unwrap_or(0).into();
        });
        self.environment(index)
            .is_none_or(|record| has_none(&record.slices))
    }

    /// From now on nothing is mapped in a space, and the background takes it apart.
    fn begin_end_of_space(&mut self, index: u16) {
        self.update_space(index, |record| {
            record.dying = 1;
            record.cursor = 0;
        });
        self.ending_spaces.insert(index);
        self.interrupt_idle();
    }

    /// From now on nothing new is charged to an account.
    pub(crate) fn begin_end(&mut self, index: u16) {
        if self.account(index).is_some_and(|record| record.dying == 0) {
            self.update_account(index, |record| {
                record.dying = 1;
                record.accepts = 0;
                record.cursor = Cursor::start(Phase::Children).word();
            });
            self.ending_accounts.insert(index);
            // Who keeps nothing that is charged to it has nothing to do.
            let uses = |resource| {
                let record = self.account(index);
                record.is_some_and(|record| record.used[resource as usize] > 0)
            };
            self.closing |= ELSEWHERE.into_iter().any(uses);
            self.interrupt_idle();
        }
    }

    /// A bounded part of the end of an account, which has begun.
    fn end_account<H: Hardware>(&mut self, hw: &mut H, index: u16) -> End {
        let found = self.waits_for(index);
        let elsewhere = found.is_none().then(|| self.next_ending()).flatten();
        let Some((mut at, way)) = found.or(elsewhere.map(|at| (at, WAY))) else {
            return End::More;
        };
        let mut budget = BUDGET.saturating_sub(2 * way);
        loop {
            let Some(parent) = self.account(at).map(|record| record.parent) else {
                return End::Done;
            };
            match self.end_step(hw, at, &mut budget) {
                Next::Phase(phase) => self.set_cursor(at, Cursor::start(phase)),
                Next::Child(child) => {
                    self.begin_end(child);
                    self.ending_accounts.remove(at);
                    let Some((found, way)) = self.waits_for(child) else {
                        return End::More;
                    };
                    at = found;
                    budget = budget.saturating_sub(BEGIN_COST + way);
                }
                Next::Gone => {
                    self.drop_dying(at, parent);
                    if at == index {
                        return End::Done;
                    }
                    at = parent;
                    budget = budget.saturating_sub(GONE_COST);
                    // What was found elsewhere may be all that is dying there.
                    let dying = self.account(at).is_some_and(|record| record.dying != 0);
                    if budget == 0 || !dying {
                        return End::More;
                    }
                }
                // Of the one that was asked for, nobody has to leave.
                Next::Later(End::Blocked) if elsewhere.is_some() => return End::More,
                Next::Later(end) => return end,
            }
        }
    }

    /// The account below `index`, or that one itself, at which its end has come to, and how many are on the way there;
    /// `None` if those are more than [`WAY`].
    fn waits_for(&self, index: u16) -> Option<(u16, u32)> {
        let mut at = index;
        for way in 0..WAY {
            match self.dying_child(at) {
                Some(child) => at = child,
                None => return Some((at, way)),
            }
        }
        None
    }

    /// The next in turn of the accounts that are dying and wait for no other.
    fn next_ending(&mut self) -> Option<u16> {
        let waiting = self.ending_accounts.from(self.turn_accounts);
        let index = waiting.or_else(|| self.ending_accounts.first())?;
        self.turn_accounts = index + 1;
        Some(index)
    }

    /// The child whose end an account waits for.
    fn dying_child(&self, index: u16) -> Option<u16> {
        let cursor = Cursor::of(self.account(index)?.cursor);
        let child = cursor.place as u16;
        let record = self.account(child)?;
        let waits = cursor.phase == Phase::Children && record.dying != 0;
        // The first account, which is its own parent, never dies.
        (waits && record.parent == index).then_some(child)
    }

    fn set_cursor(&mut self, index: u16, cursor: Cursor) {
        self.update_account(index, |record| record.cursor = cursor.word());
    }

    /// An account has come to its end; who waited for it goes on.
    fn drop_dying(&mut self, index: u16, parent: u16) {
        let waited = self.dying_child(parent) == Some(index);
        self.ending_accounts.remove(index);
        self.drop_account(index);
        if waited {
            self.ending_accounts.insert(parent);
        }
    }
}
