//! What an account's end consists of: phases that go through a table each, in parts.

use exopi_abi::domain::Resource;
use exopi_abi::page::Owner;
use exopi_pages::{Hardware, Step};
use exopi_slices::Of;

use super::End;
use crate::Domains;
use crate::cores::NOBODY;
use crate::holdings::ELSEWHERE;
use crate::subject::epoch_of;

/// What the end of an environment counts for. With the end of a space a call ends.
const ENVIRONMENT_COST: u32 = 128;
/// What of an account is being taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Children = 0,
    Environments = 1,
    Slices = 2,
    Spaces = 3,
    Pages = 4,
}

/// Where the end of an account has come to: a phase, and a place in the table that it goes through.
///
/// ```text
///   31   24 23       0
///   | phase | place   |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) phase: Phase,
    pub(super) place: u32,
}

impl Cursor {
    const PLACE_BITS: u32 = 24;

    pub(super) const fn start(phase: Phase) -> Self {
        Self { phase, place: 0 }
    }

    pub(super) const fn of(word: u32) -> Self {
        let phase = match word >> Self::PLACE_BITS {
            0 => Phase::Children,
            1 => Phase::Environments,
            2 => Phase::Slices,
            3 => Phase::Spaces,
            _ => Phase::Pages,
        };
        Self {
            phase,
            place: word & ((1 << Self::PLACE_BITS) - 1),
        }
    }

    pub(super) const fn word(self) -> u32 {
        (self.phase as u32) << Self::PLACE_BITS | self.place
    }
}

// A frame's number fits.
const _: () = assert!(exopi_pages::MAX_FRAMES < 1 << Cursor::PLACE_BITS);

/// What comes next of an account's end.
pub(super) enum Next {
    /// The next phase.
    Phase(Phase),
    /// The end of this child.
    Child(u16),
    /// Nothing: it is gone.
    Gone,
    /// No more in this call.
    Later(End),
}

impl Domains<'_> {
    /// What comes next of the end of the account at `index`, or the next part of it.
    pub(super) fn end_step<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        budget: &mut u32,
    ) -> Next {
        let Some(record) = self.account(index).copied() else {
            return Next::Gone;
        };
        let used = |resource: Resource| record.used[resource as usize];
        let cursor = Cursor::of(record.cursor);
        let owner = Owner::new(index, epoch_of(record.epoch));
        match cursor.phase {
            Phase::Children if used(Resource::Accounts) == 0 => Next::Phase(Phase::Environments),
            Phase::Children => self.find_child(index, cursor.place, budget),
            Phase::Environments
                if used(Resource::Environments) == 0 && used(Resource::Spaces) == 0 =>
            {
                Next::Phase(Phase::Slices)
            }
            Phase::Environments => self.end_environments(hw, owner, cursor.place, budget),
            Phase::Slices if used(Resource::Slices) == 0 => Next::Phase(Phase::Spaces),
            Phase::Slices => self.end_slices_of_account(owner, cursor.place),
            // Until then pages may be pinned; whoever keeps what is charged has been told that it is to go.
            Phase::Spaces
                if used(Resource::Spaces) == 0 && ELSEWHERE.iter().any(|kept| used(*kept) > 0) =>
            {
                Next::Later(End::More)
            }
            Phase::Spaces if used(Resource::Spaces) == 0 => Next::Phase(Phase::Pages),
            Phase::Spaces => self.end_spaces(hw, owner, cursor.place, budget),
            Phase::Pages if used(Resource::Pages) == 0 => Next::Gone,
            Phase::Pages => self.end_pages(hw, owner, cursor.place),
        }
    }

    /// Goes through a table from `place` on, as far as `budget` allows, up to the first record for which `found`
    /// says so. Gives its place, or the phase that follows.
    fn scan(
        &mut self,
        index: u16,
        mut cursor: Cursor,
        budget: &mut u32,
        length: usize,
        then: Phase,
        found: impl Fn(&Self, u16) -> bool,
    ) -> Result<u16, Next> {
        while (cursor.place as usize) < length {
            let place = cursor.place as u16;
            if *budget == 0 {
                self.set_cursor(index, cursor);
                return Err(Next::Later(End::More));
            }
            *budget -= 1;
            if found(self, place) {
                self.set_cursor(index, cursor);
                return Ok(place);
            }
            cursor.place += 1;
        }
        Err(Next::Phase(then))
    }

    fn find_child(&mut self, index: u16, place: u32, budget: &mut u32) -> Next {
        let cursor = Cursor {
            phase: Phase::Children,
            place,
        };
        let length = self.accounts.len();
        // The first account, which is its own parent, never dies.
        let is_child = |domains: &Self, child: u16| {
            domains.account(child).map(|record| record.parent) == Some(index)
        };
        match self.scan(index, cursor, budget, length, Phase::Environments, is_child) {
            Ok(child) => Next::Child(child),
            Err(next) => next,
        }
    }

    /// Whether an environment is charged to `owner`, or is in a space of its.
    fn is_in(&self, index: u16, owner: Owner) -> bool {
        self.environment(index).is_some_and(|record| {
            let space = self.space(record.space).map(|space| space.owner);
            record.account == owner || space == Some(owner)
        })
    }

    fn end_environments<H: Hardware>(
        &mut self,
        hw: &mut H,
        owner: Owner,
        place: u32,
        budget: &mut u32,
    ) -> Next {
        // All at once: none of them has to be waited for longer than the others.
        let mut blocked = false;
        for core in 0..self.core_count {
            let running = self.core(core).map_or(NOBODY, |place| place.running);
            // It may have handed the core on.
            let has = self.life(running).core() == Some(core);
            if has && self.is_in(running, owner) {
                let _ = self.doom(running);
                self.interrupt(core);
                blocked = true;
            }
        }
        if blocked {
            return Next::Later(End::Blocked);
        }
        let mut cursor = Cursor {
            phase: Phase::Environments,
            place,
        };
        let length = self.environments.len();
        let is_in = |domains: &Self, index: u16| domains.is_in(index, owner);
        loop {
            let account = owner.index();
            match self.scan(account, cursor, budget, length, Phase::Slices, is_in) {
                Ok(found) => {
                    if let Some(core) = self.doom(found) {
                        self.interrupt(core);
                        return Next::Later(End::Blocked);
                    }
                    let space = self.end_environment(hw, found);
                    if self.environment(found).is_some() {
                        return Next::Later(End::More);
                    }
                    *budget = match space {
                        None => budget.saturating_sub(ENVIRONMENT_COST),
                        Some(_) => 0,
                    };
                    cursor.place = u32::from(found) + 1;
                }
                Err(next) => return next,
            }
        }
    }

    fn end_slices_of_account(&mut self, owner: Owner, place: u32) -> Next {
        let next = self.end_slices(Of::Account(owner), place as u16);
        let cursor = Cursor {
            phase: Phase::Slices,
            place: next.unwrap_or(0).into(),
        };
        self.set_cursor(owner.index(), cursor);
        Next::Later(End::More)
    }

    fn end_spaces<H: Hardware>(
        &mut self,
        hw: &mut H,
        owner: Owner,
        place: u32,
        budget: &mut u32,
    ) -> Next {
        let cursor = Cursor {
            phase: Phase::Spaces,
            place,
        };
        let length = self.spaces.len();
        let is_owned = |domains: &Self, index: u16| {
            domains.space(index).map(|record| record.owner) == Some(owner)
        };
        match self.scan(
            owner.index(),
            cursor,
            budget,
            length,
            Phase::Pages,
            is_owned,
        ) {
            Ok(found) => {
                self.begin_end_of_space(found);
                let _ = self.clear(hw, found);
                Next::Later(End::More)
            }
            Err(next) => next,
        }
    }

    fn end_pages<H: Hardware>(&mut self, hw: &mut H, owner: Owner, mut place: u32) -> Next {
        let reclaimed = self.pages.reclaim(hw, owner, &mut place);
        self.release(owner, Resource::Pages, reclaimed.freed);
        if reclaimed.step == Step::Done {
            return Next::Gone;
        }
        let cursor = Cursor {
            phase: Phase::Pages,
            place,
        };
        self.set_cursor(owner.index(), cursor);
        let used = self
            .account(owner.index())
            .map(|record| record.used[Resource::Pages as usize]);
        match used {
            Some(0) | None => Next::Gone,
            Some(_) => Next::Later(End::More),
        }
    }
}
