//! Accounts: allowances carved out, drawn on, and flowing back with all that was charged to them.

use exopi_rt::domain::{AccountRecord, ObjectName, Resource};
use exopi_rt::page::{FrameType, Owner};
use exopi_rt::{
    Access, Account, Error, Object, PageNumber, PageRun, PageSelect, Progress, exposed, memory,
    stubs,
};

use crate::area::{Area, RW, insert, place, record};
use crate::catch;
use crate::domain::{account, own_account};
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "accounts",
    cases: &[
        ("carved_out_and_back", carved_out_and_back),
        ("no_more_than_there_is", no_more_than_there_is),
        ("drawn_on_when_bound", drawn_on_when_bound),
        ("pages_are_the_accounts", pages_are_the_accounts),
        ("ends_with_all_it_has", ends_with_all_it_has),
        ("ends_with_its_children", ends_with_its_children),
        ("names_end_with_accounts", names_end_with_accounts),
        ("allowances_change", allowances_change),
        ("only_ones_own", only_ones_own),
        ("by_capability", by_capability),
    ],
};

/// An account that a case has made, and ends.
pub(crate) struct Child(pub(crate) ObjectName);

impl Child {
    /// Carves out `pages` and nothing else.
    pub(crate) fn with_pages(pages: u32) -> Result<Self, Failure> {
        Ok(Self(stubs::account_create(pages, 0, 0, 0, 0)?))
    }

    /// As an owner of pages.
    pub(crate) fn owner(&self) -> Owner {
        Owner::new(self.0.index, self.0.epoch)
    }

    /// Its record.
    pub(crate) fn record(&self) -> Result<AccountRecord, Failure> {
        account(self.0.index)
    }

    /// Runs `work` drawing on it.
    pub(crate) fn bound<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        stubs::account_bind(Object::Owned(self.0))?;
        let outcome = work();
        stubs::account_bind(Object::Own)?;
        outcome
    }

    /// Ends it, however many calls that takes.
    pub(crate) fn end(&self) -> Outcome {
        Ok(Account::Owned(self.0).destroy()?)
    }
}

/// For cases that end early.
impl Drop for Child {
    fn drop(&mut self) {
        let _ = stubs::account_bind(Object::Own);
        let _ = self.end();
    }
}

fn destroy(name: ObjectName) -> Progress {
    stubs::account_destroy(Object::Owned(name))
}

/// What the account of this program has used.
fn used() -> Result<[u32; Resource::COUNT], Failure> {
    Ok(account(own_account()?.index())?.used)
}

fn carved_out_and_back() -> Outcome {
    let before = used()?;
    let child = Child(stubs::account_create(100, 3, 2, 1, 0)?);
    let record = child.record()?;
    check_eq!(record.epoch, child.0.epoch.bits());
    check_eq!(record.parent, own_account()?.index());
    check_eq!(record.allowance, [100, 3, 2, 1, 0, 0, 0]);
    check_eq!(record.used, [0; Resource::COUNT]);
    let [pages, environments, spaces, accounts, elsewhere @ ..] = before;
    // The account itself is one, too.
    check_eq!(
        used()?,
        [
            pages + 100,
            environments + 3,
            spaces + 2,
            accounts + 2,
            elsewhere[0],
            elsewhere[1],
            elsewhere[2]
        ]
    );
    child.end()?;
    check_eq!(used()?, before);
    check_eq!(child.record()?, AccountRecord::default());
    Ok(())
}

fn no_more_than_there_is() -> Outcome {
    let before = used()?;
    let mine = account(own_account()?.index())?;
    // What else there is comes by `account_allow`.
    for resource in Resource::ALL.into_iter().take(4) {
        let mut wanted = [0; 4];
        let left = mine.allowance[resource as usize] - mine.used[resource as usize];
        for too_much in [left + 1, u32::MAX] {
            wanted[resource as usize] = too_much;
            let [pages, environments, spaces, accounts, ..] = wanted;
            let refused = stubs::account_create(pages, environments, spaces, accounts, 0);
            check_eq!(
                refused,
                Err(Error::OverAllowance),
                "{too_much} of {resource:?}"
            );
        }
    }
    check_eq!(used()?, before);
    Ok(())
}

fn allowances_change() -> Outcome {
    let before = used()?;
    let child = Child::with_pages(2)?;
    let object = Object::Owned(child.0);
    let mine = account(own_account()?.index())?;
    for resource in Resource::ALL {
        let kind = resource as usize;
        let allow = |amount| stubs::account_allow(object, resource, amount);
        let had = child.record()?.allowance[kind];
        check_eq!(allow(7), Ok(7));
        check_eq!(child.record()?.allowance[kind], 7);
        let room = mine.allowance[kind] - used()?[kind];
        check_eq!(
            allow(7 + room + 1),
            Err(Error::OverAllowance),
            "{resource:?}"
        );
        check_eq!(allow(u32::MAX), Err(Error::OverAllowance), "{resource:?}");
        check_eq!(allow(had), Ok(had.into()));
    }
    let page = child.bound(|| {
        let refused = stubs::account_allow(object, Resource::Pages, 9);
        check_eq!(refused, Err(Error::NotYours), "by the account itself");
        Ok(memory::take_page()?)
    })?;
    // What is in use stays.
    check_eq!(stubs::account_allow(object, Resource::Pages, 0), Ok(1));
    child.bound(|| Ok(memory::give_page(page)?))?;
    child.end()?;
    check_eq!(used()?, before);
    Ok(())
}

fn drawn_on_when_bound() -> Outcome {
    let child = Child::with_pages(3)?;
    let mine = used()?;
    let pages = child.bound(|| {
        let pages = [
            memory::take_page()?,
            memory::take_page()?,
            memory::take_page()?,
        ];
        check_eq!(memory::take_page(), Err(Error::OverAllowance));
        check_eq!(child.record()?.used[Resource::Pages as usize], 3);
        Ok(pages)
    })?;
    check_eq!(used()?, mine, "of the account that is not drawn on");
    child.bound(|| {
        for page in pages {
            check_eq!(record(page)?.owner, child.owner());
            memory::give_page(page)?;
        }
        check_eq!(child.record()?.used[Resource::Pages as usize], 0);
        Ok(())
    })?;
    child.end()
}

/// What belongs to the one cannot be used while the other is drawn on.
fn pages_are_the_accounts() -> Outcome {
    let area = Area::new()?;
    let at = place(Area::address(0))?;
    let child = Child::with_pages(1)?;
    let mine = memory::take_page()?;
    let theirs = child.bound(|| Ok(memory::take_page()?))?;
    let not_yours = Progress::refused(Error::NotYours);
    let refuses = |page| {
        check_eq!(stubs::page_free(PageRun::Owned(page), 1), not_yours);
        check_eq!(stubs::page_retire(PageRun::Owned(page), 1), not_yours);
        check_eq!(insert(at, page, 1, Access::READ), not_yours);
        check_eq!(stubs::page_limit(page, 1, 9), not_yours);
        Ok(())
    };
    refuses(theirs)?;
    child.bound(|| refuses(mine))?;
    memory::give_page(mine)?;
    // `Own` is still the space that this program runs in, whoever is drawn on.
    child.bound(|| {
        insert(at, theirs, 1, RW).unless_stopped()?;
        check_eq!(record(theirs)?.foreign, 1, "in a space of another account");
        crate::area::remove(at, 1).unless_stopped()?;
        Ok(memory::give_page(theirs)?)
    })?;
    child.end()?;
    area.close()
}

fn ends_with_all_it_has() -> Outcome {
    let area = Area::new()?;
    let free_pages = exposed::free_pages();
    let child = Child::with_pages(40)?;
    let mapped = place(Area::address(0))?;
    let pages = child.bound(|| {
        let mut pages = [PageNumber::new(0); 40];
        for page in &mut pages {
            *page = memory::take_page()?;
        }
        insert(mapped, pages[7], 1, RW).unless_stopped()?;
        Ok(pages)
    })?;
    check_eq!(exposed::free_pages(), free_pages - 40);
    check!(catch::read(mapped.get()).is_ok());
    child.end()?;
    check_eq!(exposed::free_pages(), free_pages);
    check!(
        catch::read(mapped.get()).is_err(),
        "a page of nobody's is still mapped"
    );
    for page in pages {
        check_eq!(record(page)?.kind, FrameType::Free);
    }
    area.close()
}

fn ends_with_its_children() -> Outcome {
    let before = used()?;
    let free_pages = exposed::free_pages();
    let child = Child(stubs::account_create(10, 0, 0, 2, 0)?);
    let grandchild = child.bound(|| {
        let name = stubs::account_create(5, 0, 0, 0, 0)?;
        check_eq!(account(name.index)?.parent, child.0.index);
        // The child speaks for its own child.
        stubs::account_bind(Object::Owned(name))?;
        memory::take_page()?;
        Ok(name)
    })?;
    check_eq!(exposed::free_pages(), free_pages - 1);
    check_eq!(destroy(grandchild), Progress::refused(Error::NotYours));
    child.end()?;
    check_eq!(account(grandchild.index)?, AccountRecord::default());
    check_eq!(exposed::free_pages(), free_pages);
    check_eq!(used()?, before);
    Ok(())
}

fn names_end_with_accounts() -> Outcome {
    let child = Child::with_pages(1)?;
    let old = child.0;
    child.end()?;
    let next = Child::with_pages(1)?;
    check!(next.0 != old, "a name comes back");
    check_eq!(destroy(old), Progress::refused(Error::NotYours));
    check_eq!(
        stubs::account_bind(Object::Owned(old)),
        Err(Error::NotYours)
    );
    let gone = Owner::new(old.index, old.epoch);
    let page = memory::take_page()?;
    check_eq!(
        stubs::page_give(page, 1, gone),
        Progress::refused(Error::Stale)
    );
    memory::give_page(page)?;
    next.end()
}

fn only_ones_own() -> Outcome {
    let mine = own_account()?;
    let me = ObjectName {
        index: mine.index(),
        epoch: mine.epoch(),
    };
    check_eq!(
        stubs::account_destroy(Object::Own),
        Progress::refused(Error::MissingRight)
    );
    let child = Child::with_pages(1)?;
    // Nobody's parent may be ended or bound from below.
    child.bound(|| {
        check_eq!(destroy(me), Progress::refused(Error::NotYours));
        check_eq!(stubs::account_bind(Object::Owned(me)), Err(Error::NotYours));
        Ok(())
    })?;
    let unknown = ObjectName {
        index: u16::MAX,
        epoch: mine.epoch(),
    };
    check_eq!(destroy(unknown), Progress::refused(Error::NotYours));
    child.end()
}

fn by_capability() -> Outcome {
    use exopi_rt::Capability;
    use exopi_rt::cap::AccountCap;
    use exopi_rt::capability::{AccountRights, Kind};

    use crate::granted::{mint, present};

    let child = Child::with_pages(2)?;
    let of =
        |rights: AccountRights| mint(Kind::Account, child.0.index.into(), 1, rights.bits().into());
    let [draw, end] = [of(AccountRights::DRAW)?, of(AccountRights::DESTROY)?];
    check_eq!(
        stubs::account_bind(Object::Presented(present(&end)?)),
        Err(Error::MissingRight)
    );
    check_eq!(
        stubs::account_destroy(Object::Presented(present(&draw)?)),
        Progress::refused(Error::MissingRight)
    );
    stubs::account_bind(Object::Presented(present(&draw)?))?;
    let page = stubs::page_alloc(PageSelect::Any, 1);
    stubs::account_bind(Object::Own)?;
    check_eq!(record(page.first)?.owner, child.owner());
    let end = AccountCap::new(Capability::from_words(end)?)?;
    Account::from(&end).destroy()?;
    check_eq!(
        stubs::account_bind(Object::Presented(present(&draw)?)),
        Err(Error::Stale)
    );
    Ok(())
}
