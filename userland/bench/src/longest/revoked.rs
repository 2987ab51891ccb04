//! Taking back what somebody has: each of its steps with as much as one does.
//!
//! ```text
//!   account   pages apart, each mapped once: one step takes as many as it may, and each is a loss of its own
//!             a page with more mappings than are broken at once
//!             a table full of mappings of the benchmark's own page: taken in parts
//!   below it  accounts in a chain, each of which has a page unused, and the last of which has pages: each is one less
//!             for all of them
//! ```

use exopi_rt::account::Allowance;
use exopi_rt::cap::EnvironmentCap;
use exopi_rt::capability::{EnvironmentRights, PageRights};
use exopi_rt::domain::{ObjectName, Resource};
use exopi_rt::environment::yield_now;
use exopi_rt::layout::PAGE_SIZE;
use exopi_rt::page::BREAK_BOUND;
use exopi_rt::pages::Run;
use exopi_rt::revocation::{LEAST_MICROSECONDS, RevocationState, Wanted};
use exopi_rt::{
    Access, Account, Environment, Error, PageSelect, PageSource, Space, VirtAddr, exposed, pages,
    space, stubs, time,
};

const RW: Access = Access::READ.union(Access::WRITE);
/// Where the account's space has its mappings: a table for each kind.
const AT: u64 = 0x10_0000_0000;
/// What a level-3 table covers.
const TABLE: u64 = 512 * PAGE_SIZE;
/// Pages apart.
const APART: u64 = 64;
/// Accounts in the chain.
const DEEP: u32 = 900;
/// Pages of the last one of them.
const AT_THE_END: u32 = 4;

/// Has all of it taken.
///
/// # Errors
/// Something was refused.
pub(super) fn make(lent: Run<'static>) -> Result<(), Error> {
    lent.limit(600).unless_stopped()?;
    let lent = lent.mint(PageRights::READ)?;
    let source = PageSource::Run(lent.run(0).ok_or(Error::OutOfRange)?);
    let account = Account::create(Allowance {
        pages: 3 * APART as u32 + DEEP,
        environments: 1,
        spaces: 1,
        accounts: DEEP,
        ..Allowance::default()
    })?;
    account.bind()?;
    let made = holder(source).and_then(|made| chain().map(|()| made));
    Account::Own.bind()?;
    let outcome = made.and_then(|(name, cap)| taken_from(name, &cap));
    account.destroy()?;
    outcome
}

/// An environment with all that, of the account that is drawn on. It never runs.
fn holder(lent: PageSource<'_>) -> Result<(ObjectName, EnvironmentCap), Error> {
    let space = space::create()?;
    let place = |table: u64, page: u64| {
        VirtAddr::new(AT + table * TABLE + page * PAGE_SIZE).ok_or(Error::BadAddress)
    };
    let map = |space: Space<'_>, at, source| space.map(at, source, 1, RW).unless_stopped();
    for page in 0..APART {
        let first = pages::take(PageSelect::Any)?;
        map(space, place(0, page)?, PageSource::owned(first))?;
    }
    let often = PageSource::owned(pages::take(PageSelect::Any)?);
    for page in 0..2 * BREAK_BOUND {
        map(space, place(1, page)?, often)?;
    }
    for page in 0..512 {
        let at = place(2, page)?;
        space.map(at, lent, 1, Access::READ).unless_stopped()?;
    }
    let uarea = pages::take(PageSelect::Any)?;
    // Beside a page, whose mapping brings the tables.
    map(space, place(3, 0)?, often)?;
    let environment = Environment::create(space, uarea, place(3, 1)?)?;
    let cap = environment.mint(EnvironmentRights::all())?;
    let name = environment.record().map(|_| environment.name());
    Ok((name.flatten().ok_or(Error::Stale)?, cap))
}

/// Accounts below the one that is drawn on, each below the one before.
fn chain() -> Result<(), Error> {
    for left in (0..DEEP).rev() {
        let below = Account::create(Allowance {
            // One that is not used in each.
            pages: AT_THE_END + left,
            accounts: left,
            ..Allowance::default()
        })?;
        below.bind()?;
    }
    for _ in 0..AT_THE_END {
        pages::take(PageSelect::Any)?;
    }
    Ok(())
}

/// Asks for everything, and waits until there is nothing more to be taken.
fn taken_from(name: ObjectName, cap: &EnvironmentCap) -> Result<(), Error> {
    let wanted = Wanted::Any(Resource::Pages);
    let after = 2 * LEAST_MICROSECONDS * time::ticks_per_second() / 1_000_000;
    let of = Environment::from(cap).object();
    // SAFETY: nothing of what is taken is the program's.
    unsafe { stubs::revoke_request(of, wanted, u32::MAX, after, 0, 0) }?;
    loop {
        let record = exposed::revocation_at(name.index).ok_or(Error::Stale)?;
        match record.state() {
            // All but the root, the u-area and the tables that lead to it.
            RevocationState::Taken if record.taken > APART as u32 + AT_THE_END + 2 => {
                return Ok(());
            }
            state if !state.is_open() => return Err(Error::InUse),
            _ => {}
        }
        yield_now();
        time::relax();
    }
}
