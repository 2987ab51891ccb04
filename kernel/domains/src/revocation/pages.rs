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
//! below that. What it has given to accounts below it is as little out of reach as what it has made tables of (see
//! [`below`](super::below)): roots, u-areas and the tables that lead to those alone are what spaces and
//! environments consist of, and end with them.
//!
//! The order page is read while its owner writes it. So a page from there is taken in one step or not at all, and one
//! with too many mappings for that is left to the scan, whose place nobody else can change.

use exopi_abi::PageNumber;
use exopi_abi::domain::Resource;
use exopi_abi::page::{BREAK_BOUND, FrameType, Owner, PageRecord};
use exopi_abi::revocation::{MAX_GUARANTEED, RevocationRecord, order};
use exopi_pages::{Broken, Hardware, Step, Taken};

use super::{Revocable, setup};
use crate::Domains;

/// Most records that a step looks at.
pub(super) const RECORDS: u32 = 512;
/// Most frames whose records a step only passes.
pub(super) const FRAMES: u32 = 1024;
/// Most pages that a step takes: each may be an entry in the vector.
const PAGES: u32 = 32;

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

/// What is left of a step.
pub(super) struct Budget {
    pub(super) records: u32,
    pub(super) frames: u32,
    pub(super) pages: u32,
    pub(super) broken: Broken,
}

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
        let mut budget = Budget {
            records: RECORDS,
            frames: FRAMES,
            pages: PAGES,
            broken: Broken::nothing(),
        };
        let step = loop {
            let Some(record) = domains.revocation(index).copied() else {
                break Step::Done;
            };
            let phase = Phase::of(&record);
            if phase == Phase::End {
                break Step::Done;
            }
            if budget.records == 0 || budget.pages == 0 {
                break Step::More;
            }
            budget.records -= 1;
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
            Phase::Loosen => self.unpin_item(hw, index, record, |page| record.names(page)),
            Phase::Named => self.named_item(hw, index, record, budget),
            Phase::Order => self.order_item(hw, index, record, budget),
            Phase::Rescan if record.phase & LOOSE == 0 => Item::Over,
            Phase::Scan | Phase::Rescan => self.scan_item(hw, index, record, budget),
            Phase::Unpin | Phase::Family | Phase::Unused | Phase::Untie | Phase::Tables
                if self.excess(record) == 0 =>
            {
                Item::Over
            }
            Phase::Unpin => self.unpin_item(hw, index, record, |_| true),
            Phase::Family if self.uses_none(record, Resource::Accounts) => Item::Over,
            Phase::Family => self.family_item(index, record),
            Phase::Unused | Phase::Untie | Phase::Below if self.revocations.family != index => {
                Item::Over
            }
            Phase::Unused => self.unused_item(record, budget),
            Phase::Untie => self.untie_item(record),
            Phase::Below => self.scan_item(hw, index, record, budget),
            Phase::Tables if self.has_no_tables(index, record) => Item::Over,
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
        let found = self.pages.find(record.cursor, budget.frames, fits);
        let (Ok(at) | Err(at)) = found;
        budget.frames -= at.saturating_sub(record.cursor).min(budget.frames);
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
        if !self.gives(index, record, owner) {
            return Item::Next;
        }
        match self.pages.take(hw, owner, page, &mut budget.broken) {
            Taken::NoPage => Item::Next,
            Taken::Later => Item::Later,
            Taken::Page => {
                budget.pages = budget.pages.saturating_sub(1);
                let way = self.lost(hw, index, owner, page.get());
                budget.records = budget.records.saturating_sub(way);
                Item::Next
            }
        }
    }

    /// What an environment of the account has set up ends, if there is a page among it that is `wanted` and does not
    /// stay.
    fn unpin_item<H: Hardware>(
        &mut self,
        hw: &mut H,
        index: u16,
        record: &RevocationRecord,
        wanted: impl Fn(PageNumber) -> bool,
    ) -> Item {
        let Ok(other) = u16::try_from(record.cursor) else {
            return Item::Over;
        };
        let Some(found) = self.revocation(other).copied() else {
            return Item::Over;
        };
        let account = self.environment(other).map(|record| record.account);
        let ends = setup::pinned(&found).any(|page| wanted(page) && !is_kept(record, page));
        if account == Some(record.owner()) && ends {
            if other == index {
                self.tell_losses(hw, index);
            }
            self.end_setup(other);
            self.update_revocation(index, |record| record.phase |= LOOSE);
        }
        Item::Next
    }

    /// Whether the account of a request has none of a resource.
    fn uses_none(&self, record: &RevocationRecord, resource: Resource) -> bool {
        let account = self.charged(record.owner());
        account.is_none_or(|account| account.used.get(resource as usize) == Some(&0))
    }

    /// Whether nobody who gives has a space.
    fn has_no_tables(&self, index: u16, record: &RevocationRecord) -> bool {
        self.revocations.family != index && self.uses_none(record, Resource::Spaces)
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
