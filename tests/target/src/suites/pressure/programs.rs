//! The programs under pressure: copies of this one, each with an account and a space of its own.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use exopi_rt::account::Allowance;
use exopi_rt::cap::EnvironmentCap;
use exopi_rt::capability::EnvironmentRights;
use exopi_rt::domain::ObjectName;
use exopi_rt::environment::{Builder, yield_now};
use exopi_rt::layout::{PAGE_SIZE, USER_START};
use exopi_rt::upcall::{self, Action};
use exopi_rt::{
    Access, Account, Environment, PageSource, Space, VirtAddr, giver, memory, space, tables,
};
use exopi_vm::pager::Source;

use exopi_vm::revoke::{Answering, Cheapest};
use exopi_vm::{AddressSpace, Bare, Error, Layout, Options, Place, Slot, Verdict};

use crate::area::{AREA, Area, RW, place};
use crate::harness::{Failure, Outcome};

/// Where a program's stacks are, in its own space.
const STACKS: u64 = AREA + 0x10_0000;
/// Where pages are copied through, here.
const SCRATCH: u64 = AREA + 0x1c_0000;
/// Where a program finds its figures.
const FIGURES: u64 = AREA + 0x18_0000;
/// Pages that a program may have besides those that it is a copy of.
const MORE: u32 = 240;

/// Pages of the giver's that hold something.
const HELD: u64 = 16;
/// Those that hold nothing yet.
const EMPTY: u64 = 64;
/// Those that a pager makes, and makes again.
const MADE: u64 = 64;
/// Where the giver has its regions.
const LAYOUT: Layout = Layout {
    arena: 0x48_0000_0000,
    arena_end: 0x49_0000_0000,
    scratch: match VirtAddr::new(0x40_0000_0000) {
        Some(at) => at,
        None => panic!("not an address that programs map"),
    },
    shadow: 0x40_4000_0000,
};

/// What the giver tells of itself, in a page that both see.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Figures {
    /// Rounds through all its pages.
    pub(super) rounds: AtomicU64,
    /// Pages that did not hold what they should, and errors.
    pub(super) wrong: AtomicU64,
    /// Faults that its address space has handled.
    pub(super) faults: AtomicU64,
}

/// A program while a case uses it.
pub(super) struct Program {
    account: Account<'static>,
    name: ObjectName,
    cap: EnvironmentCap,
    figures: u64,
    gone: bool,
}

impl Program {
    /// A copy of this program that runs `entry` on `core`; its figures are in page `index` of the [`Area`].
    pub(super) fn begin(index: u64, core: u64, entry: fn(u64)) -> Result<Self, Failure> {
        let image = tables::mappings(USER_START, AREA).count() as u32;
        let allowance = Allowance {
            pages: image + MORE,
            environments: 1,
            spaces: 1,
            ..Allowance::default()
        };
        let account = Account::create(allowance)?;
        let figures = Area::address(index);
        account.bind()?;
        // Nothing here may use the heap, which would grow by the program's pages.
        let made = make(figures, entry);
        Account::Own.bind()?;
        let program = match made {
            Ok((name, cap)) => Self {
                account,
                name,
                cap,
                figures,
                gone: false,
            },
            Err(failure) => {
                account.destroy()?;
                return Err(failure);
            }
        };
        program.environment().run(core)?;
        Ok(program)
    }

    pub(super) fn name(&self) -> ObjectName {
        self.name
    }

    pub(super) fn account(&self) -> Account<'static> {
        self.account
    }

    /// With all rights to it.
    pub(super) fn environment(&self) -> Environment<'_> {
        (&self.cap).into()
    }

    /// What it tells.
    pub(super) fn figures(&self) -> &Figures {
        // SAFETY: the page is mapped here until the program's end, and words are all that it is.
        unsafe { &*(self.figures as *const Figures) }
    }

    /// Ends it with all that it has.
    pub(super) fn end(mut self) -> Outcome {
        self.gone = true;
        Ok(self.account.destroy()?)
    }
}

/// For cases that end early: they have failed, and the next one is to find nobody.
impl Drop for Program {
    fn drop(&mut self) {
        if !self.gone {
            let _ = self.account.destroy();
        }
    }
}

/// Makes the space and the environment, of the account that is drawn on.
fn make(figures: u64, entry: fn(u64)) -> Result<(ObjectName, EnvironmentCap), Failure> {
    let space = space::create()?;
    for (at, mapping) in tables::mappings(USER_START, AREA) {
        copy(space, at, mapping.access)?;
    }
    let page = memory::map_new(place(figures)?, RW)?;
    // SAFETY: the page was just mapped there.
    unsafe { (figures as *mut [u64; 3]).write_volatile([0; 3]) };
    let source = PageSource::owned(page);
    space.map(place(FIGURES)?, source, 1, RW).unless_stopped()?;
    let made = Builder::new(entry, FIGURES, place(STACKS)?)
        .in_space(space)
        .build()?;
    let cap = made.environment().mint(EnvironmentRights::all())?;
    Ok((made.name(), cap))
}

/// A copy of the page at `at`, at the same place of `space`.
fn copy(space: Space<'_>, at: VirtAddr, access: Access) -> Outcome {
    let scratch = place(SCRATCH)?;
    let page = memory::map_new(scratch, RW)?;
    // SAFETY: both are mapped, and the one that is written is new.
    unsafe {
        core::ptr::copy_nonoverlapping(
            at.get() as *const u8,
            scratch.get() as *mut u8,
            PAGE_SIZE as usize,
        );
    }
    // SAFETY: it was mapped here, and only this function knows of it.
    unsafe { memory::unmap(scratch) }?;
    let source = PageSource::owned(page);
    space.map(at, source, 1, access).unless_stopped()?;
    Ok(())
}

/// The deaf one: it turns.
pub(super) fn hear_nothing(_: u64) {
    upcall::on_fault(|_| Action::Abort);
    loop {
        core::hint::spin_loop();
    }
}

/// The giver's address space, for its handler of faults.
static SPACE: AtomicPtr<AddressSpace<Bare>> = AtomicPtr::new(core::ptr::null_mut());

extern "C" fn fault(fault: &mut upcall::Fault<'_>) -> Action {
    let space = SPACE.load(Ordering::Acquire);
    // SAFETY: `give` touches pages of regions only while it has no reference to the space.
    let Some(space) = (unsafe { space.as_mut() }) else {
        return Action::Abort;
    };
    let figures = FIGURES as *const Figures;
    // SAFETY: the page is mapped in the giver's space.
    unsafe { &*figures }.faults.fetch_add(1, Ordering::Relaxed);
    match space.fault(fault.frame()) {
        Verdict::Resume | Verdict::StepOver => Action::Resume,
        Verdict::PassOn => Action::Abort,
    }
}

/// What a page of a region that a pager makes holds.
const fn made(offset: u64) -> u8 {
    (offset / PAGE_SIZE) as u8 | 0x80
}

/// The giver: goes through its pages, and gives what it can do without.
pub(super) fn give(figures: u64) {
    // SAFETY: the page is mapped here for as long as this runs.
    let figures = unsafe { &*(figures as *const Figures) };
    if give_and_go_on(figures).is_err() {
        figures.wrong.fetch_add(1, Ordering::Relaxed);
    }
    loop {
        yield_now();
    }
}

fn give_and_go_on(figures: &Figures) -> Result<(), Error> {
    let slots: Vec<Slot<Bare>> = (0..8).map(|_| Slot::EMPTY).collect();
    // SAFETY: it takes away only what its own regions have mapped.
    let machine = unsafe { Bare::new() };
    let mut space = AddressSpace::new(machine, Vec::leak(slots), LAYOUT)?;
    space.set_policy(Some(Box::leak(Box::new(Cheapest))));
    let held = space.reserve(Place::Any, HELD, Options::default())?;
    let empty = space.reserve(Place::Any, EMPTY, Options::default())?;
    let pager = Source(|offset: u64, bytes: &mut [u8; PAGE_SIZE as usize]| {
        bytes.fill(made(offset));
        Ok(())
    });
    let options = Options {
        access: Access::READ,
        pager: Some(Box::leak(Box::new(pager))),
        ..Options::default()
    };
    let file = space.reserve(Place::Any, MADE, options)?;
    let space: *mut AddressSpace<Bare> = &raw mut space;
    SPACE.store(space, Ordering::Release);
    upcall::on_fault_call(fault);
    let read = |start: VirtAddr, page: u64| {
        let at = (start.get() + page * PAGE_SIZE + page) as *const u8;
        // SAFETY: it lies in a region, which brings the page.
        unsafe { at.read_volatile() }
    };
    for page in 0..HELD {
        let at = (held.get() + page * PAGE_SIZE + page) as *mut u8;
        // SAFETY: as above; nothing else is there.
        unsafe { at.write_volatile(page as u8 + 1) };
    }
    loop {
        let wrong = (0..HELD)
            .filter(|page| read(held, *page) != *page as u8 + 1)
            .count()
            + (0..EMPTY).filter(|page| read(empty, *page) != 0).count()
            + (0..MADE)
                .filter(|page| read(file, *page) != made(page * PAGE_SIZE))
                .count();
        figures.wrong.fetch_add(wrong as u64, Ordering::Relaxed);
        figures.rounds.fetch_add(1, Ordering::Release);
        if giver::asked().is_some() {
            // SAFETY: nothing in here touches a page of a region but the space itself, where it is mapped.
            let space = unsafe { &mut *space };
            let policy = &mut Cheapest;
            let _ = giver::answer(&mut Answering { space, policy });
        }
        yield_now();
    }
}
