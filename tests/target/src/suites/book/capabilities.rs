//! A page is lent: to read, to one environment, until the owner thinks better of it.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::account::Allowance;
use exopi_rt::cap::PageCap;
use exopi_rt::capability::PageRights;
use exopi_rt::environment::Builder;
use exopi_rt::pages::Run;
use exopi_rt::{Access, Account, Capability, Error, PageSource, Space, VirtAddr, memory};

use crate::area::{AREA, RW, place};
use crate::harness::Outcome;

/// Where the capability is handed over. Any bytes that both can reach would do.
static LETTER: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];
/// What the reader found in the page.
static FOUND: AtomicU64 = AtomicU64::new(0);

/// What the other environment runs. It owns nothing; it presents what it was sent.
fn reader(at: u64) {
    let words = LETTER.each_ref().map(|word| word.load(Ordering::Acquire));
    let lent = Capability::from_words(words).and_then(PageCap::new);
    if let (Ok(lent), Some(at)) = (lent, VirtAddr::new(at))
        && map(&lent, at, Access::READ) == Ok(1)
    {
        // SAFETY: it was mapped just now, and holds at least a word.
        let found = unsafe { (at.get() as *const u64).read_volatile() };
        FOUND.store(found, Ordering::Release);
    }
}

fn map(page: &PageCap, at: VirtAddr, access: Access) -> Result<u64, Error> {
    let run = page.run(0).ok_or(Error::OutOfRange)?;
    Space::Own
        .map(at, PageSource::Run(run), 1, access)
        .unless_stopped()
}

pub(super) fn a_page_is_lent() -> Outcome {
    let [mine, view, stacks] = [
        place(AREA)?,
        place(AREA + 0x1000)?,
        place(AREA + 0x10_0000)?,
    ];
    let page = Run::owned(memory::map_new(mine, RW)?, 1);
    // SAFETY: it was mapped just now.
    unsafe { (mine.get() as *mut u64).write_volatile(42) };

    // Another environment, with an account of its own: what is ours is not its own.
    let builder = Builder::new(reader, view.get(), stacks);
    let account = Account::create(Allowance {
        pages: builder.pages() as u32,
        environments: 1,
        slices: 1,
        ..Allowance::default()
    })?;
    account.bind()?;
    let reader = builder.build();
    Account::Own.bind()?;
    let reader = reader?;

    // The loan. The first line asks the kernel for a capability; all that narrows it needs no call.
    let whole = page.mint(PageRights::READ | PageRights::WRITE)?;
    let lent = whole.keep(PageRights::READ)?.only_for(reader.name())?;
    for (place, word) in LETTER.iter().zip(lent.capability().words()) {
        place.store(word, Ordering::Release);
    }
    // Now it may run, in a slice that its account pays for.
    account.bind()?;
    let running = reader.environment().run(0);
    Account::Own.bind()?;
    running?;
    reader.environment().wait();
    check_eq!(FOUND.load(Ordering::Acquire), 42);

    // In other hands, ours included, it is worth nothing; and the whole allows no more than it says.
    let free = place(AREA + 0x2000)?;
    check_eq!(map(&lent, free, Access::READ), Err(Error::WrongHolder));
    check_eq!(
        map(&whole, free, Access::READ | Access::EXECUTE),
        Err(Error::MissingRight)
    );

    // The reader is gone, and its mapping is there still: it is in our space. Breaking removes it, and
    // with a new stamp nobody makes it again.
    // SAFETY: nothing in use is in the page.
    check_eq!(unsafe { page.break_all() }.progress.unless_stopped()?, 1);
    page.retire().unless_stopped()?;
    check_eq!(map(&whole, free, Access::READ), Err(Error::Stale));

    page.free().unless_stopped()?;
    account.destroy()?;
    Ok(memory::remove_tables(mine)?)
}
