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
//! ```
//!
//! What is guaranteed is chosen before anything is taken, so that no order and no lie about it can take the account
//! below that. Only plain pages are taken: tables and u-areas are what spaces and environments consist of, and
//! end with those.
//!
//! The order page is read while its owner writes it. So a page from there is taken in one step or not at all, and one
//! with too many mappings for that is left to the scan, whose place nobody else can change.

use exopi_abi::PageNumber;
use exopi_abi::page::{BREAK_BOUND, FrameType};
use exopi_abi::revocation::{MAX_GUARANTEED, RevocationRecord, order};
use exopi_pages::{Broken, Hardware, Step, Taken};

use super::{Revocable, setup};
use crate::Domains;

/// Most records that a step looks at.
const RECORDS: u32 = 512;
/// Most pages that a step takes: each may be an entry in the vector.
const PAGES: u32 = 32;

/// What is done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Keep,
    Fill,
    Loosen,
    Named,
    Order,
    Scan,
    Unpin,
    Rescan,
    End,
}

impl Phase {
    const ALL: [Phase; 9] = [
        Self::Keep,
        Self::Fill,
        Self::Loosen,
        Self::Named,
        Self::Order,
        Self::Scan,
        Self::Unpin,
        Self::Rescan,
        Self::End,
    ];

    fn of(record: &RevocationRecord) -> Self {
        let phase = Self::ALL.get(usize::from(record.phase));
        phase.copied().unwrap_or(Self::End)
    }
}

/// Pages that their owner can use for anything.
pub(super) struct PlainPages;

/// What is left of a step.
struct Budget {
    records: u32,
    pages: u32,
    broken: Broken,
}

/// How an item of a phase left it.
enum Item {
    /// The next one comes.
    Next,
    /// The phase is over.
    Over,
    /// The step is.
    Later,
}

impl Revocable for PlainPages {
    fn take<H: Hardware>(domains: &mut Domains<'_>, hw: &mut H, index: u16) -> Step {
        let mut budget = Budget {
            records: RECORDS,
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
            Phase::Fill => self.fill_item(index, record),
            Phase::Loosen if record.named == 0 => Item::Over,
            Phase::Loosen => self.unpin_item(hw, index, record, |page| record.names(page)),
            Phase::Named => self.named_item(hw, index, record, budget),
            Phase::Order => self.order_item(hw, index, record, budget),
            Phase::Scan | Phase::Rescan => self.scan_item(hw, index, record, budget),
            Phase::Unpin if self.excess(record) == 0 => Item::Over,
            Phase::Unpin => self.unpin_item(hw, index, record, |_| true),
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
    fn fill_item(&mut self, index: u16, record: &RevocationRecord) -> Item {
        if usize::from(record.kept_count) >= self.guaranteed(record) {
            return Item::Over;
        }
        let frames = self.pages.len() as u32;
        let page = match record.cursor.checked_sub(frames) {
            None => PageNumber::new(record.cursor),
            Some(n) if n < record.named.into() => PageNumber::new(record.first.wrapping_add(n)),
            Some(_) => return Item::Over,
        };
        if record.cursor < frames && record.names(page) {
            return Item::Next;
        }
        if self.keep(index, record, page) {
            Item::Over
        } else {
            Item::Next
        }
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
        let page = PageNumber::new(record.cursor);
        let Some(frame) = self.pages.record(page) else {
            return Item::Over;
        };
        // What was begun is not left half done.
        let begun = frame.is_leaving() && self.is_takable(record, page);
        if self.excess(record) == 0 && !begun {
            return Item::Over;
        }
        self.take_page(hw, index, record, page, budget)
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
        let owner = record.owner();
        match self.pages.take(hw, owner, page, &mut budget.broken) {
            Taken::NoPage => Item::Next,
            Taken::Later => Item::Later,
            Taken::Page => {
                budget.pages -= 1;
                let resource = exopi_abi::domain::Resource::Pages;
                self.release(owner, resource, 1);
                self.lose(hw, index, page.get());
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
        }
        Item::Next
    }
}

/// Whether a page stays.
fn is_kept(record: &RevocationRecord, page: PageNumber) -> bool {
    let kept = record.kept.iter().take(record.kept_count.into());
    kept.into_iter().any(|kept| *kept == page.get())
}
