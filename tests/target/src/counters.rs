//! Every exposed counter at once, to be the same after a case as before it.
//!
//! What stamps and free lists hold changes for good with each use; all else that the records say of pages in use, of
//! objects and of allowances must come back.

use alloc::format;
use alloc::vec::Vec;

use exopi_rt::capability::{CAPABILITY_WORDS, Kind, PageRights};
use exopi_rt::domain::{ObjectName, Resource};
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::{FrameType, PageRecord};
use exopi_rt::{
    Access, Account, Error, PageNumber, PageSelect, PageSource, Space, VirtAddr, account, exposed,
    memory, pages, space, stubs, tables,
};

use crate::area::{place, record};
use crate::granted::{self, mint_lasting};
use crate::harness::{Failure, Outcome};
use crate::{domain, other};

/// The counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    /// What the header says.
    free_pages: u64,
    /// How many records of pages say that they are free.
    free_records: u64,
    /// What this program's account has used of its allowance.
    used: [u32; Resource::COUNT],
    /// Its allowance.
    allowance: [u32; Resource::COUNT],
    /// Environments, spaces, accounts.
    objects: [usize; 3],
    /// Environments in this program's space.
    members: u16,
    /// Pages that others than this program's account are charged with.
    others: u64,
    /// References to all pages, and those by others than their owners.
    references: [u64; 2],
    /// Pages that are half broken.
    leaving: u64,
    /// Type, owner and references of each page that is not free, as a sum of hashes.
    pages: u64,
}

/// Environments, spaces and accounts that there are.
fn objects() -> [usize; 3] {
    [
        exposed::environments().count(),
        exposed::spaces().count(),
        exposed::accounts().count(),
    ]
}

impl Counters {
    /// As they are now.
    pub(crate) fn now() -> Result<Self, Failure> {
        let owner = domain::own_account()?;
        let account = domain::account(owner.index())?;
        let mut counters = Self {
            free_pages: exposed::free_pages(),
            free_records: 0,
            used: account.used,
            allowance: account.allowance,
            objects: objects(),
            members: domain::space(domain::own_space()?.index)?.members,
            others: 0,
            references: [0; 2],
            leaving: 0,
            pages: 0,
        };
        for (_, record) in exposed::pages() {
            if record.kind == FrameType::Free {
                counters.free_records += 1;
                continue;
            }
            let [all, foreign] = &mut counters.references;
            *all += u64::from(record.references);
            *foreign += u64::from(record.foreign);
            counters.leaving += u64::from(record.is_leaving());
            let charged = record.kind != FrameType::Kernel;
            counters.others += u64::from(charged && record.owner != owner);
            let words = [
                record.kind as u64,
                record.owner.word(),
                u64::from(record.references) << 16 | u64::from(record.foreign),
            ];
            // FNV-1a, by words. Not the number: which pages a library has in reserve may change.
            let hash = words
                .into_iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, word| {
                    (hash ^ word).wrapping_mul(0x100_0000_01b3)
                });
            counters.pages = counters.pages.wrapping_add(hash);
        }
        Ok(counters)
    }
}

/// Runs `work`, and checks that it has left every counter as it was.
pub(crate) fn conserving(work: impl FnOnce() -> Outcome) -> Outcome {
    let before = Counters::now()?;
    work()?;
    // Spaces whose last environment has gone the kernel takes apart in idle time.
    other::wait(
        || Ok(objects() == before.objects),
        || format!("{:?} objects, {:?} before", objects(), before.objects),
    )?;
    let after = Counters::now()?;
    check_eq!(after, before, "the counters");
    check_eq!(after.free_pages, after.free_records, "free pages");
    Ok(())
}

/// Sees to it that the next pages that are taken are of the lowest numbers, as far as there are free ones: the end of an
/// account goes through the page array up to its last page, a bounded part in each hold of the kernel's lock, and cores
/// that have nothing else to do, all of them, do that in turns. A few parts are as good as hundreds for what is tested.
pub(crate) fn take_low_pages_next(count: usize) -> Outcome {
    let free = |(_, record): &(PageNumber, PageRecord)| record.kind == FrameType::Free;
    let low: Vec<PageNumber> = exposed::pages()
        .filter(free)
        .take(count)
        .map(|(page, _)| page)
        .collect();
    for page in &low {
        pages::take(PageSelect::Exact(*page))?;
    }
    for page in low.iter().rev() {
        memory::give_page(*page)?;
    }
    Ok(())
}

/// An account of a case, and what it holds beside pages: ended with it.
#[derive(Debug)]
pub(crate) struct Purse(pub(crate) Account<'static>);

impl Purse {
    /// Runs `work` drawing on it.
    pub(crate) fn bound<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        self.0.bind()?;
        let outcome = work();
        Account::Own.bind()?;
        outcome
    }

    /// Ends it with all it has: begins that, and leaves the rest to the cores that have nothing else to do.
    pub(crate) fn end(self) -> Outcome {
        match stubs::account_destroy(self.0.object()).unless_stopped() {
            Ok(_) | Err(Error::Busy) => {}
            Err(error) => return Err(error.into()),
        }
        other::wait(
            || Ok(self.0.record().is_none()),
            || format!("the account stays: {:?}", self.0.record()),
        )
    }
}

/// For cases that end early.
impl Drop for Purse {
    fn drop(&mut self) {
        let _ = Account::Own.bind();
        if self.0.record().is_some() {
            let _ = self.0.destroy();
        }
    }
}

/// Access to code.
const RX: Access = Access::READ.union(Access::EXECUTE);

/// A space of the account that is drawn on with the two pages mapped, where they are here, that `code` begins in, and
/// tables over `at`.
///
/// The code is mapped by a capability, so that it does not matter whose the space is. It outlives the case.
pub(crate) fn space_with_code(code: u64, at: VirtAddr) -> Result<Space<'static>, Failure> {
    let first = code & !(PAGE_SIZE - 1);
    let drawn_on = account::drawn_on();
    Account::Own.bind()?;
    let mut caps = [[0; CAPABILITY_WORDS]; 2];
    let mut pages = [PageNumber::new(0); 2];
    for (index, page) in pages.iter_mut().enumerate() {
        let at = first + index as u64 * PAGE_SIZE;
        let mapping = tables::mapping_of(at).ok_or_else(|| Failure::new("no code"))?;
        *page = mapping.page;
        let rights = (PageRights::READ | PageRights::EXECUTE).bits().into();
        caps[index] = mint_lasting(Kind::Page, page.get().into(), 1, rights)?;
    }
    let own = domain::own_account()?;
    if let Some(owner) = drawn_on.filter(|owner| *owner != own) {
        Account::Owned(ObjectName::from_word(owner.word())).bind()?;
    }
    let space = space::create()?;
    for (index, (page, cap)) in pages.iter().zip(&caps).enumerate() {
        let source = PageSource::Run(granted::run(*page, cap)?);
        let to = place(first + index as u64 * PAGE_SIZE)?;
        space.map(to, source, 1, RX).unless_stopped()?;
    }
    space.supply_tables(at)?;
    Ok(space)
}

/// The pages that a space has to itself, to be given back by [`give_back`] when it is gone.
pub(crate) fn pages_of(space: Space<'_>) -> Result<Vec<PageNumber>, Failure> {
    let record = space.record().ok_or_else(|| Failure::new("no space"))?;
    Ok(space::pages_of(PageNumber::new(record.root)).collect())
}

/// Waits until `space`, which nobody is in any more, has gone, and gives back what were its `pages`.
pub(crate) fn give_back(space: Space<'_>, pages: &[PageNumber]) -> Outcome {
    other::wait(|| Ok(space.record().is_none()), || "the space stays".into())?;
    for page in pages {
        let record = record(*page)?;
        if record.kind == FrameType::Plain && record.references == 0 {
            memory::give_page(*page)?;
        }
    }
    Ok(())
}
