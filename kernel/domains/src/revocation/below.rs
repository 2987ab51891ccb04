//! What an account has put out of the way: with accounts below it, and into page tables.
//!
//! ```text
//!   asked   allowance |------------------------------------|
//!           used      |- own -|------ child's allowance ---|
//!   child                     |- used -|-- unused --|        unused goes first, then pages
//! ```
//!
//! An account's children are of its making, and what they have is used of what it has. If they were out of reach,
//! an account with one child could not be asked for anything. So when nothing plain is left of its own, accounts
//! below it are *frozen*: they get nothing more while the kernel takes from them. What they are guaranteed is a
//! promise of who made them, which binds nobody above that one.
//!
//! What is taken from one of them *sinks*: it leaves the allowance of that account and of each that this one is carved
//! out of, up to the one that was asked. A chain of accounts may be as long as the table, so that takes steps, too.
//! At each account on the way the books are right: what has sunk so far is room there that nobody can use.
//!
//! Only one request at a time has a family of frozen accounts; another one waits for its turn. So there is one family,
//! one thing that sinks, and one table that is taken.

use exopi_abi::PageNumber;
use exopi_abi::domain::{AccountRecord, Resource};
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::{FrameType, Owner};
use exopi_abi::revocation::RevocationRecord;
use exopi_pages::{DISSOLVE_BOUND, Dissolved, Hardware, Taken};

use super::budget::{Budget, FRAME, HOP, PAGE, RECORD, TABLE, UNUSED};
use super::pages::Item;
use crate::Domains;
use crate::cores::NOBODY;
use crate::subject::epoch_of;

/// Accounts that something may sink through whatever is left of a step.
const HOPS: u32 = 64;
/// How many parts of a table are taken at most, if its owner does not fill it again meanwhile.
const PARTS: u32 = (PAGE_SIZE / 8 / DISSOLVE_BOUND) as u32 + 1;

/// What is on its way from an account up to the one that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sinking {
    /// Whose allowance is the next that it leaves: it is not used of that any more.
    at: Owner,
    count: u32,
}

impl Domains<'_> {
    /// Whether an account is below one that the kernel takes from.
    pub(super) fn is_frozen(&self, owner: Owner) -> bool {
        self.charged(owner).is_some_and(|record| record.frozen != 0)
    }

    /// Something of number `number` that was `owner`'s was taken for the request at `index`, and is charged to nobody
    /// any more. From a frozen account it has to [sink](Self::sink).
    pub(super) fn lost<H: Hardware>(&mut self, hw: &mut H, index: u16, owner: Owner, number: u32) {
        let Some(record) = self.revocation(index).copied() else {
            return;
        };
        let Some(resource) = Resource::ALL.get(usize::from(record.resource)).copied() else {
            return;
        };
        self.release(owner, resource, 1);
        self.lose(hw, index, number);
        if owner != record.owner() {
            self.let_sink(owner, 1);
        }
    }

    /// `count` of what is taken are used by nobody any more, and `owner` is to lose them, with all that it is carved out
    /// of.
    fn let_sink(&mut self, owner: Owner, count: u32) {
        let before = self.revocations.sinking.filter(|it| it.at == owner);
        let before = before.map_or(0, |it| it.count);
        self.revocations.sinking = Some(Sinking {
            at: owner,
            count: before.saturating_add(count),
        });
    }

    /// How many that are taken for the request of `record` have not come up to its account yet.
    pub(super) fn sinks(&self, record: &RevocationRecord) -> u32 {
        let family = self.revocation(self.revocations.family);
        let family = family.filter(|family| family.owner() == record.owner());
        let sinking = self.revocations.sinking.filter(|_| family.is_some());
        sinking.map_or(0, |sinking| sinking.count)
    }

    /// Goes on with what sinks, if that is for the request at `index`. Whether there is more of it.
    ///
    /// If an account on the way has ended meanwhile, all of it has flowed to its parent, and stays there: as much is
    /// missing again, and is taken elsewhere.
    pub(super) fn sink(
        &mut self,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
    ) -> bool {
        let most = budget.most(HOP).max(HOPS);
        for _ in 0..most {
            let sinking = self.revocations.sinking;
            let Some(Sinking { at, count }) = sinking.filter(|_| self.revocations.family == index)
            else {
                return false;
            };
            budget.spend(1, HOP);
            let parent = self.sink_through(record, at, count);
            let on = parent.filter(|parent| *parent != record.owner());
            self.revocations.sinking = on.map(|at| Sinking { at, count });
        }
        self.revocations.sinking.is_some()
    }

    /// Takes `count` out of the allowance of `at`, and gives whose that was part of.
    fn sink_through(&mut self, record: &RevocationRecord, at: Owner, count: u32) -> Option<Owner> {
        let resource = usize::from(record.resource);
        let account = self.charged(at).filter(|account| account.frozen != 0)?;
        let parent = account.parent;
        let epoch = self.account(parent)?.epoch;
        self.update_account(at.index(), |account| {
            if let Some(allowed) = account.allowance.get_mut(resource) {
                *allowed = allowed.saturating_sub(count);
            }
        });
        self.update_account(parent, |account| {
            if let Some(used) = account.used.get_mut(resource) {
                *used = used.saturating_sub(count);
            }
        });
        Some(Owner::new(parent, epoch_of(epoch)))
    }

    /// Freezes accounts whose parent is frozen, or was asked, until a whole round has found none: a child's place may
    /// be before its parent's.
    pub(super) fn family_item(
        &mut self,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
    ) -> Item {
        if ![NOBODY, index].contains(&self.revocations.family) {
            return Item::Later;
        }
        if self.revocations.family == NOBODY {
            self.revocations.family = index;
            self.revocations.family_since = 0;
            self.revocations.parts = 0;
        }
        let accounts = self.accounts.len() as u32;
        let most = budget.most(RECORD);
        budget.spend(most, RECORD);
        for cursor in (record.cursor..).take(most as usize) {
            if cursor.saturating_sub(self.revocations.family_since) > accounts {
                return Item::Over;
            }
            let child = cursor.checked_rem(accounts).unwrap_or(0) as u16;
            if self.is_below(child, record.owner()) {
                let frozen = record.resource + 1;
                self.update_account(child, |account| account.frozen = frozen);
                self.revocations.family_since = cursor;
            }
        }
        self.update_revocation(index, |record| {
            record.cursor = record.cursor.wrapping_add(most)
        });
        Item::Later
    }

    /// Whether an account that is not frozen is a child of one that is, or of the one that was asked.
    fn is_below(&self, child: u16, asked: Owner) -> bool {
        let Some(account) = self.account(child).filter(|account| account.frozen == 0) else {
            return false;
        };
        // The first account is its own parent.
        let parent = account.parent;
        let frozen = || self.account(parent).is_some_and(|it| it.frozen != 0);
        ![asked.index(), parent].contains(&child) && (parent == asked.index() || frozen())
    }

    /// Nobody is frozen any more for the request at `index`.
    pub(super) fn end_family(&mut self, index: u16) {
        if self.revocations.family == index {
            self.revocations.family = NOBODY;
            self.revocations.sinking = None;
            for account in self.accounts.iter_mut() {
                account.frozen = 0;
            }
        }
    }

    /// What the next frozen account from the cursor on has not used, of those with something left.
    pub(super) fn unused_item(
        &mut self,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
    ) -> Item {
        let (from, most) = (record.cursor, budget.most(RECORD));
        let resource = usize::from(record.resource);
        let unused = |account: &AccountRecord| {
            let [allowed, used] = [account.allowance, account.used]
                .map(|counts| counts.get(resource).copied().unwrap_or(0));
            allowed.saturating_sub(used)
        };
        let accounts = self.accounts.iter().skip(from as usize).take(most as usize);
        let mut accounts = (from..).zip(accounts);
        let found = accounts.find(|(_, account)| account.frozen != 0 && unused(account) != 0);
        let Some((at, account)) = found else {
            budget.spend(most, RECORD);
            let next = from.saturating_add(most);
            self.update_revocation(index, |record| record.cursor = next);
            let over = next as usize >= self.accounts.len();
            return if over { Item::Over } else { Item::Later };
        };
        budget.spend(at - from, RECORD);
        budget.spend(1, UNUSED);
        let owner = Owner::new(at as u16, epoch_of(account.epoch));
        let count = unused(account).min(self.excess(record));
        self.update_revocation(index, |record| record.cursor = at);
        if count != 0 {
            self.let_sink(owner, count);
        }
        Item::Next
    }

    /// What the next environment has set up ends if its account is frozen.
    pub(super) fn untie_item(
        &mut self,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
    ) -> Item {
        let frozen = |owner, domains: &Self| domains.is_frozen(owner);
        match self.pass_set_up(index, record, budget, frozen) {
            Ok(other) => {
                self.end_setup(other);
                self.take_message_ring(other);
                Item::Next
            }
            Err(item) => item,
        }
    }

    /// The next table of who gives: what it maps, a part at a time, and then it. All frames are gone through for level 3,
    /// and again for level 2.
    pub(super) fn table_item<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
    ) -> Item {
        let frames = self.pages.len() as u32;
        let (kind, start) = match record.cursor.checked_div(frames) {
            Some(0) => (FrameType::Table3, 0),
            Some(1) => (FrameType::Table2, frames),
            _ => return Item::Over,
        };
        let from = record.cursor - start;
        let found = self.pages.find(from, budget.most(FRAME), |frame| {
            frame.kind == kind && self.gives(index, record, frame.owner)
        });
        let (Ok(at) | Err(at)) = found;
        let passed = at.saturating_sub(from);
        budget.spend(passed, FRAME);
        self.update_revocation(index, |record| record.cursor = start + at);
        let Ok(table) = found.map(PageNumber::new) else {
            return if at < frames {
                Item::Later
            } else {
                Item::Passed
            };
        };
        // Not after much else, and nothing after it.
        if !budget.is_fresh() {
            return Item::Later;
        }
        budget.spend(1, TABLE);
        if passed != 0 {
            self.revocations.parts = 0;
        }
        self.revocations.parts += 1;
        if self.take_table(hw, index, record, table, budget) && self.revocations.parts < PARTS {
            return Item::Later;
        }
        self.revocations.parts = 0;
        Item::Next
    }

    /// A part of a table. Whether there is more of it.
    fn take_table<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        table: PageNumber,
        budget: &mut Budget,
    ) -> bool {
        let Some(owner) = self.pages.record(table).map(|frame| frame.owner) else {
            return false;
        };
        let epochs = &mut self.epochs;
        let stays = |first: PageNumber, count: u64| {
            let kept = record.kept.iter().take(record.kept_count.into());
            kept.into_iter()
                .any(|page| u64::from(page.wrapping_sub(first.get())) < count)
        };
        let pages = match self.pages.dissolve(hw, epochs, owner, table, stays) {
            Dissolved::Pages(pages) => pages,
            Dissolved::Later => return true,
            Dissolved::No => return false,
        };
        for page in pages {
            if self.excess(record) != 0
                && self.pages.take(hw, owner, page, &mut budget.broken) == Taken::Page
            {
                self.lost(hw, index, owner, page.get());
                budget.spend(1, PAGE);
            }
        }
        false
    }
}
