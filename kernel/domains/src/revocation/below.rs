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
//! Only one request at a time has a family of frozen accounts; another one waits for its turn. A chain of accounts is
//! as long as the table at most, and whoever goes along one tells how far that was.

use exopi_abi::PageNumber;
use exopi_abi::domain::Resource;
use exopi_abi::layout::PAGE_SIZE;
use exopi_abi::page::{FrameType, Owner};
use exopi_abi::revocation::RevocationRecord;
use exopi_pages::{DISSOLVE_BOUND, Dissolved, Hardware, Taken};

use super::pages::{Budget, FRAMES, Item, RECORDS};
use crate::Domains;
use crate::cores::NOBODY;
use crate::subject::epoch_of;

/// How many parts of a table are taken at most, if its owner does not fill it again meanwhile.
const PARTS: u32 = (PAGE_SIZE / 8 / DISSOLVE_BOUND) as u32 + 1;

impl Domains<'_> {
    /// Whether an account is below one that the kernel takes from.
    pub(super) fn is_frozen(&self, owner: Owner) -> bool {
        self.charged(owner).is_some_and(|record| record.frozen != 0)
    }

    /// Something of number `number` that was `owner`'s was taken for the request at `index`, and is charged to nobody
    /// any more. Gives how many accounts that concerned.
    pub(super) fn lost<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        owner: Owner,
        number: u32,
    ) -> u32 {
        let Some(record) = self.revocation(index).copied() else {
            return 0;
        };
        let Some(resource) = Resource::ALL.get(usize::from(record.resource)).copied() else {
            return 0;
        };
        self.release(owner, resource, 1);
        let way = self.sink(&record, owner, 1);
        self.lose(hw, index, number);
        way
    }

    /// Takes `count` of a request's resource, which are not used, out of the allowance of `owner` and of all that it is
    /// carved out of, up to the account that was asked. Gives how many those were.
    fn sink(&mut self, record: &RevocationRecord, owner: Owner, count: u32) -> u32 {
        let resource = usize::from(record.resource);
        let asked = record.owner();
        let mut at = owner;
        let mut way = 0;
        while at != asked && way < self.accounts.len() as u32 {
            let Some(account) = self.charged(at).filter(|account| account.frozen != 0) else {
                break;
            };
            let parent = account.parent;
            let epoch = self.account(parent).map_or(0, |parent| parent.epoch);
            for (index, used) in [(at.index(), false), (parent, true)] {
                self.update_account(index, |account| {
                    let counts = if used {
                        &mut account.used
                    } else {
                        &mut account.allowance
                    };
                    if let Some(number) = counts.get_mut(resource) {
                        *number = number.saturating_sub(count);
                    }
                });
            }
            at = Owner::new(parent, epoch_of(epoch));
            way += 1;
        }
        way
    }

    /// Freezes accounts whose parent is frozen, or was asked, until a whole round has found none: a child's place may
    /// be before its parent's.
    pub(super) fn family_item(&mut self, index: u16, record: &RevocationRecord) -> Item {
        if ![NOBODY, index].contains(&self.revocations.family) {
            return Item::Later;
        }
        if self.revocations.family == NOBODY {
            self.revocations.family = index;
            self.revocations.family_since = 0;
        }
        let accounts = self.accounts.len() as u32;
        if record.cursor.saturating_sub(self.revocations.family_since) > accounts {
            return Item::Over;
        }
        let child = record.cursor.checked_rem(accounts).unwrap_or(0) as u16;
        let asked = record.owner();
        let below = |parent: u16| {
            parent == asked.index() || self.account(parent).is_some_and(|it| it.frozen != 0)
        };
        let found = self.account(child).is_some_and(|account| {
            account.frozen == 0
                && child != asked.index()
                && account.parent != child
                && below(account.parent)
        });
        if found {
            let frozen = record.resource + 1;
            self.update_account(child, |account| account.frozen = frozen);
            self.revocations.family_since = record.cursor;
        }
        Item::Next
    }

    /// Nobody is frozen any more for the request at `index`.
    pub(super) fn end_family(&mut self, index: u16) {
        if self.revocations.family == index {
            self.revocations.family = NOBODY;
            for account in self.accounts.iter_mut() {
                account.frozen = 0;
            }
        }
    }

    /// What the account at the cursor has not used, if it is frozen.
    pub(super) fn unused_item(&mut self, record: &RevocationRecord, budget: &mut Budget) -> Item {
        let Some(account) = self.accounts.get(record.cursor as usize).copied() else {
            return Item::Over;
        };
        if account.frozen != 0 {
            let resource = usize::from(record.resource);
            let [allowed, used] = [account.allowance, account.used]
                .map(|counts| counts.get(resource).copied().unwrap_or(0));
            let count = allowed.saturating_sub(used).min(self.excess(record));
            let owner = Owner::new(record.cursor as u16, epoch_of(account.epoch));
            if count != 0 {
                let way = self.sink(record, owner, count);
                budget.records = budget.records.saturating_sub(way);
            }
        }
        Item::Next
    }

    /// What the environment at the cursor has set up ends if its account is frozen.
    pub(super) fn untie_item(&mut self, record: &RevocationRecord) -> Item {
        let other = record.cursor as u16;
        if self.revocation(other).is_none() {
            return Item::Over;
        }
        let account = self.environment(other).map(|record| record.account);
        if account.is_some_and(|account| self.is_frozen(account)) {
            self.end_setup(other);
        }
        Item::Next
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
        let found = self.pages.find(from, budget.frames, |frame| {
            frame.kind == kind && self.gives(index, record, frame.owner)
        });
        let (Ok(at) | Err(at)) = found;
        let passed = at.saturating_sub(from);
        budget.frames = budget.frames.saturating_sub(passed);
        self.update_revocation(index, |record| record.cursor = start + at);
        let Ok(table) = found.map(PageNumber::new) else {
            return if at < frames {
                Item::Later
            } else {
                Item::Passed
            };
        };
        // All of its entries are looked at: no more than that, and not much before it, in one step.
        if budget.records < RECORDS / 2 || budget.frames < FRAMES / 2 {
            return Item::Later;
        }
        budget.records = 0;
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
                let _ = self.lost(hw, index, owner, page.get());
            }
        }
        false
    }
}
