//! Taking pages: which, and in what order.
//!
//! ```text
//!   Keep     what stays: of the order page's list, then what is set up, as many as are guaranteed
//!   Fill     ... and if those were too few, the first others that are found
//!   Loosen   of those that were asked for by number, what environments have set up is plain memory again
//!   Named    the pages that were asked for by number
//!   Order    those of the order page, in its order
//!   Scan     the others, by number
//!   Unpin    what environments of the account have set up is plain memory again
//!   Rescan   the others, by number
//!   Family   accounts below get nothing more
//!   Unused   what they have not used
//!   Untie    what environments of theirs have set up is plain memory again
//!   Below    their pages, by number
//!   Tables   of spaces that go on, those that lead to nothing that stays; the last level's before those above
//! ```
//!
//! What is guaranteed is chosen before anything is taken, so that no order and no lie about it can take the account
//! below that; a chosen page that its owner itself has done away with is replaced by the next that would go. What
//! the account has given to those below it is as little out of reach as what it has made tables of (see
//! [`below`](super::below)): roots, u-areas and the tables that lead to those alone are what spaces and
//! environments consist of, and end with them.
//!
//! The order page is read while its owner writes it. So a page from there is taken in one step or not at all, and one
//! with too many mappings for that is left to the scan, whose place nobody else can change.

use exopi_abi::PageNumber;
use exopi_abi::domain::Resource;
use exopi_abi::msgring::MessageRingRecord;
use exopi_abi::page::{BREAK_BOUND, FrameType, Owner, PageRecord};
use exopi_abi::revocation::{MAX_GUARANTEED, RevocationRecord, order};
use exopi_pages::{Hardware, Step, Taken};

use super::budget::{Budget, FRAME, ITEM, MAPPING, PAGE, RECORD};
use super::{Revocable, setup};
use crate::Domains;

/// In a record's `phase`: something that was set up is plain memory again, so that going through the frames once more is
/// worth it.
const LOOSE: u8 = 0x80;

/// What is done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Keep,
    Fill,
    Loosen,
    Named,
    Order,
    Scan,
    Unpin,
    Rescan,
    Family,
    Unused,
    Untie,
    Below,
    Tables,
    End,
}

impl Phase {
    const ALL: [Phase; 14] = [
        Self::Keep,
        Self::Fill,
        Self::Loosen,
        Self::Named,
        Self::Order,
        Self::Scan,
        Self::Unpin,
        Self::Rescan,
        Self::Family,
        Self::Unused,
        Self::Untie,
        Self::Below,
        Self::Tables,
        Self::End,
    ];

    pub(super) fn of(record: &RevocationRecord) -> Self {
        let phase = Self::ALL.get(usize::from(record.phase & !LOOSE));
        phase.copied().unwrap_or(Self::End)
    }
}

/// Pages that their owner can use for anything.
pub(super) struct PlainPages;

/// How an item of a phase left it.
pub(super) enum Item {
    /// The next one comes.
    Next,
    /// The cursor is beyond the last frame.
    Passed,
    /// The phase is over.
    Over,
    /// The step is.
    Later,
}

impl<H: Hardware> Revocable<H> for PlainPages {
    fn resource(&self) -> Resource {
        Resource::Pages
    }

    fn take(&mut self, domains: &mut Domains<'_>, hw: &mut H, index: u16) -> Step {
        let mut budget = Budget::new();
        let step = loop {
            let Some(record) = domains.revocation(index).copied() else {
                break Step::Done;
            };
            let phase = Phase::of(&record);
            // Nothing more before all of what is taken has left the account that was asked.
            if domains.sink(index, &record, &mut budget) {
                break Step::More;
            }
            if budget.is_used_up() || phase == Phase::End && !budget.is_fresh() {
                break Step::More;
            }
            if phase == Phase::End {
                break Step::Done;
            }
            budget.spend(1, ITEM);
            match domains.item(hw, index, &record, phase, &mut budget) {
                Item::Next => {
                    domains.update_revocation(index, |record| record.cursor += 1);
                }
                Item::Passed => {}
                Item::Over => domains.update_revocation(index, |record| {
                    record.phase += 1;
                    record.cursor = 0;
                }),
                Item::Later => break Step::More,
            }
        };
        budget.broken.complete(hw);
        step
    }
}

impl Domains<'_> {
    /// One item of a phase.
    fn item<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        phase: Phase,
        budget: &mut Budget,
    ) -> Item {
        match phase {
            Phase::Keep => self.keep_item(hw, index, record),
            Phase::Fill => self.fill_item(index, record, budget),
            Phase::Loosen if record.named == 0 => Item::Over,
            Phase::Loosen => self.unpin_item(hw, index, record, |page| record.names(page), budget),
            Phase::Named => self.named_item(hw, index, record, budget),
            Phase::Order => self.order_item(hw, index, record, budget),
            Phase::Rescan if record.phase & LOOSE == 0 => Item::Over,
            Phase::Scan | Phase::Rescan => self.scan_item(hw, index, record, budget),
            Phase::Unpin | Phase::Family | Phase::Unused | Phase::Untie | Phase::Tables
                if self.excess(record) == 0 =>
            {
                Item::Over
            }
            Phase::Unpin => self.unpin_item(hw, index, record, |_| true, budget),
            Phase::Family if self.has_nothing_below(record) => Item::Over,
            Phase::Family => self.family_item(index, record, budget),
            Phase::Unused | Phase::Untie | Phase::Below | Phase::Tables
                if self.revocations.family != index =>
            {
                Item::Over
            }
            Phase::Unused => self.unused_item(index, record, budget),
            Phase::Untie => self.untie_item(index, record, budget),
            Phase::Below => self.scan_item(hw, index, record, budget),
            Phase::Tables => self.table_item(hw, index, record, budget),
            Phase::End => Item::Over,
        }
    }

    /// How many pages the account of a request is guaranteed.
    fn guaranteed(&self, record: &RevocationRecord) -> usize {
        let account = self.charged(record.owner());
        let pages = account.map_or(0, |account| account.guaranteed as usize);
        pages.min(MAX_GUARANTEED)
    }

    /// Lets a page stay, if it can be lost and more may stay. Whether no more may.
    fn keep(&mut self, index: u16, record: &RevocationRecord, page: PageNumber) -> bool {
        let most = self.guaranteed(record);
        // Of one that is leaving, a part has gone.
        let whole = self
            .pages
            .record(page)
            .is_some_and(|frame| !frame.is_leaving());
        let takable = whole && self.is_takable(record, page);
        self.update_revocation(index, |record| {
            let count = usize::from(record.kept_count);
            let stays = count < most && takable && !is_kept(record, page);
            if let Some(place) = record.kept.get_mut(count).filter(|_| stays) {
                *place = page.get();
                record.kept_count += 1;
            }
        });
        let count = self.revocation(index).map_or(0, |r| r.kept_count.into());
        count >= most
    }

    /// Whether a page is a plain one of the account of a request.
    fn is_takable(&self, record: &RevocationRecord, page: PageNumber) -> bool {
        let found = self.pages.record(page);
        found.is_some_and(|frame| frame.kind == FrameType::Plain && frame.owner == record.owner())
    }

    /// The numbers of the order page that are to stay, then what is set up.
    fn keep_item<H: Hardware>(&mut self, hw: &H, index: u16, record: &RevocationRecord) -> Item {
        if self.guaranteed(record) == 0 {
            return Item::Over;
        }
        let n = record.cursor;
        let page = if n < order::KEPT {
            order::number(n, self.order_word(hw, record, order::place(n)))
        } else {
            match setup::pinned(record).nth((n - order::KEPT) as usize) {
                None => return Item::Over,
                some => some,
            }
        };
        match page {
            // What was asked for by number stays only where nothing else could.
            Some(page) if record.names(page) => Item::Next,
            Some(page) if self.keep(index, record, page) => Item::Over,
            _ => Item::Next,
        }
    }

    /// All frames that were not asked for by number, and then those.
    fn fill_item(&mut self, index: u16, record: &RevocationRecord, budget: &mut Budget) -> Item {
        if usize::from(record.kept_count) >= self.guaranteed(record) {
            return Item::Over;
        }
        let frames = self.pages.len() as u32;
        let owner = record.owner();
        let page = match record.cursor.checked_sub(frames) {
            None => match self.pass_frames(index, record, budget, |it, _| it == owner) {
                Ok(page) if record.names(page) => return Item::Next,
                Ok(page) => page,
                Err(item) => return item,
            },
            Some(n) if n < record.named.into() => PageNumber::new(record.first.wrapping_add(n)),
            Some(_) => return Item::Over,
        };
        if self.keep(index, record, page) {
            Item::Over
        } else {
            Item::Next
        }
    }

    /// The next plain frame of somebody who is `wanted`, at which the cursor is then; or how this item ends. After the
    /// last frame it ends as one that has done nothing.
    fn pass_frames(
        &mut self,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
        wanted: impl Fn(Owner, &Self) -> bool,
    ) -> Result<PageNumber, Item> {
        let fits = |frame: &PageRecord| frame.kind == FrameType::Plain && wanted(frame.owner, self);
        let found = self.pages.find(record.cursor, budget.most(FRAME), fits);
        let (Ok(at) | Err(at)) = found;
        budget.spend(at.saturating_sub(record.cursor), FRAME);
        self.update_revocation(index, |record| record.cursor = at);
        found.map(PageNumber::new).map_err(|_| {
            if at as usize >= self.pages.len() {
                Item::Passed
            } else {
                Item::Later
            }
        })
    }

    fn named_item<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
    ) -> Item {
        if record.cursor >= record.named.into() {
            return Item::Over;
        }
        let page = PageNumber::new(record.first.wrapping_add(record.cursor));
        self.take_page(hw, index, record, page, budget)
    }

    fn order_item<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
    ) -> Item {
        let n = order::KEPT + record.cursor;
        if n >= order::NUMBERS || self.excess(record) == 0 {
            return Item::Over;
        }
        let Some(page) = order::number(n, self.order_word(hw, record, order::place(n))) else {
            return Item::Over;
        };
        match self.pages.breakable(page) {
            many if many > BREAK_BOUND => Item::Next,
            some if some > budget.broken.left() => Item::Later,
            _ => self.take_page(hw, index, record, page, budget),
        }
    }

    fn scan_item<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
    ) -> Item {
        let begun = |frame: &PageRecord| {
            frame.kind == FrameType::Plain
                && self.gives(index, record, frame.owner)
                && frame.is_leaving()
        };
        // What was begun is not left half done.
        let here = self.pages.record(PageNumber::new(record.cursor));
        if self.excess(record) == 0 && !here.is_some_and(begun) {
            return Item::Over;
        }
        let gives = |owner, domains: &Self| domains.gives(index, record, owner);
        match self.pass_frames(index, record, budget, gives) {
            Ok(page) => self.take_page(hw, index, record, page, budget),
            Err(Item::Passed) => Item::Over,
            Err(item) => item,
        }
    }

    /// Whether pages of `owner` are taken for the request at `index`: it is asked, or below who is.
    pub(super) fn gives(&self, index: u16, record: &RevocationRecord, owner: Owner) -> bool {
        owner == record.owner() || (self.revocations.family == index && self.is_frozen(owner))
    }

    /// Takes a page, unless it stays or is none of the account's.
    fn take_page<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        page: PageNumber,
        budget: &mut Budget,
    ) -> Item {
        if is_kept(record, page) {
            return Item::Next;
        }
        let Some(owner) = self.pages.record(page).map(|frame| frame.owner) else {
            return Item::Next;
        };
        if !self.gives(index, record, owner) || self.keep_instead(index, record, page) {
            return Item::Next;
        }
        let before = budget.broken.left();
        let taken = self.pages.take(hw, owner, page, &mut budget.broken);
        budget.spend((before - budget.broken.left()) as u32, MAPPING);
        match taken {
            Taken::NoPage => Item::Next,
            Taken::Later => Item::Later,
            Taken::Page => {
                self.lost(hw, index, owner, page.get());
                budget.spend(1, PAGE);
                Item::Next
            }
        }
    }

    /// Lets a page stay in place of one that was to stay and which its owner has given away itself meanwhile, or made
    /// something else of. Whether there is such a one.
    fn keep_instead(&mut self, index: u16, record: &RevocationRecord, page: PageNumber) -> bool {
        let kept = record.kept.iter().take(record.kept_count.into());
        let mut kept = kept.map(|kept| PageNumber::new(*kept));
        let gone = kept.position(|kept| !self.is_takable(record, kept));
        let whole = self.pages.record(page);
        let whole = whole.is_some_and(|frame| !frame.is_leaving());
        let Some(gone) = gone.filter(|_| whole && self.is_takable(record, page)) else {
            return false;
        };
        self.update_revocation(index, |record| {
            if let Some(place) = record.kept.get_mut(gone) {
                *place = page.get();
            }
        });
        true
    }

    /// What an environment of the account has set up ends, if there is a page among it that is `wanted` and does not
    /// stay.
    fn unpin_item<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        wanted: impl Fn(PageNumber) -> bool,
        budget: &mut Budget,
    ) -> Item {
        let asked = record.owner();
        let other = match self.pass_set_up(index, record, budget, |owner, _| owner == asked) {
            Ok(other) => other,
            Err(item) => return item,
        };
        let found = self.revocation(other).map(setup::pinned);
        let mut pages = found.into_iter().flatten();
        if pages.any(|page| wanted(page) && !is_kept(record, page)) {
            if other == index {
                self.tell_losses(hw, index);
            }
            self.end_setup(other);
            self.update_revocation(index, |record| record.phase |= LOOSE);
        }
        let mut ring = self
            .message_ring(other)
            .into_iter()
            .flat_map(|ring| ring.set_up());
        let ends = ring.any(|page| wanted(page) && !is_kept(record, page));
        if ends {
            self.take_message_ring(other);
            self.update_revocation(index, |record| record.phase |= LOOSE);
        }
        Item::Next
    }

    /// The next environment that has set something up and whose account is `wanted`, at which the cursor is then; or
    /// how this item ends.
    pub(super) fn pass_set_up(
        &mut self,
        index: u16,
        record: &RevocationRecord,
        budget: &mut Budget,
        wanted: impl Fn(Owner, &Self) -> bool,
    ) -> Result<u16, Item> {
        let (from, most) = (record.cursor, budget.most(RECORD));
        let records = self.revocations.records.iter();
        let mut there = (from..).zip(records.skip(from as usize).take(most as usize));
        let found = there.find(|(other, found)| {
            let environment = self.environment(*other as u16);
            let ring = self.message_ring(*other as u16);
            let has = (found.vector_pages, found.order) != (0, 0)
                || ring.is_some_and(MessageRingRecord::is_set);
            has && environment.is_some_and(|environment| wanted(environment.account, self))
        });
        let at = found.map_or(from.saturating_add(most), |(other, _)| other);
        let over = at as usize >= self.revocations.records.len();
        let found = found.is_some();
        budget.spend(at - from, RECORD);
        self.update_revocation(index, |record| record.cursor = at);
        match (found, over) {
            (true, _) => Ok(at as u16),
            (false, true) => Err(Item::Over),
            (false, false) => Err(Item::Later),
        }
    }

    /// Whether the account of a request has neither children nor spaces: nobody is to be frozen, and there are no tables.
    fn has_nothing_below(&self, record: &RevocationRecord) -> bool {
        let account = self.charged(record.owner());
        let below = [Resource::Accounts, Resource::Spaces];
        account.is_none_or(|account| below.map(|it| account.used.get(it as usize)) == [Some(&0); 2])
    }
}

/// Whether a page stays.
pub(super) fn is_kept(record: &RevocationRecord, page: PageNumber) -> bool {
    let kept = record.kept.iter().take(record.kept_count.into());
    kept.into_iter().any(|kept| *kept == page.get())
}

/// Whether a request that is being carried out has got as far as to freeze accounts.
#[cfg(any(test, feature = "model"))]
pub(super) fn has_family(record: &RevocationRecord) -> bool {
    let (phase, family) = (Phase::of(record) as u8, Phase::Family as u8);
    record.resource == Resource::Pages as u8
        && (phase > family || (phase == family && record.cursor != 0))
}
