//! The libOS on the real kernel: environments made by its builder, handlers of their own, one heap for all,
//! programs in spaces of their own, tables and records read without a call.

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::cap::PageCap;
use exopi_rt::capability::PageRights;
use exopi_rt::domain::{EnvironmentState, ObjectName};
use exopi_rt::environment::{self, Builder};
use exopi_rt::layout::{FIRST_ARGUMENTS, PAGE_SIZE, USER_START};
use exopi_rt::local::Word;
use exopi_rt::page::DEFAULT_LIMIT;
use exopi_rt::pages::Run;
use exopi_rt::registers::{Argument, Arguments};
use exopi_rt::tables::{self, Entry, Mapping};
use exopi_rt::uarea::UpcallClass;
use exopi_rt::upcall::{self, Action, FaultCause, Notice, masked};
use exopi_rt::{
    Access, Account, Call, Environment, Error, Note, Object, PageNumber, PageSource, Space,
    TableLevel, VirtAddr, exposed, heap, memory, pages, space,
};

use crate::area::{Area, RW, place, record, remove};
use crate::catch;
use crate::harness::{Failure, Outcome, Suite};
use crate::second::Second;

pub(crate) const SUITE: Suite = Suite {
    name: "runtime",
    cases: &[
        ("own_names", own_names),
        ("tables_are_read", tables_are_read),
        ("runs_are_taken_whole_or_not", runs_are_taken_whole_or_not),
        ("grants_are_for_one", grants_are_for_one),
        ("threads_run_and_end", threads_run_and_end),
        ("threads_on_other_cores", threads_on_other_cores),
        ("the_heap_is_everybodys", the_heap_is_everybodys),
        ("handlers_are_ones_own", handlers_are_ones_own),
        ("notices_wait_for_the_mask", notices_wait_for_the_mask),
        ("states_are_read_and_mended", states_are_read_and_mended),
        (
            "programs_have_their_own_memory",
            programs_have_their_own_memory,
        ),
    ],
};

/// Where threads are: 2 MiB for each.
const THREADS: u64 = 0x3c_0000_0000;
/// Where a page goes through on its way to another space.
const SCRATCH: u64 = 0x3d_0000_0000;

/// Where the `index`-th thread is.
fn thread_place(index: u64) -> Result<VirtAddr, Failure> {
    place(THREADS + index * TableLevel::Three.span())
}

/// Takes out the tables that threads have needed.
fn remove_tables(threads: u64) -> Outcome {
    for index in 0..threads {
        memory::remove_tables(thread_place(index)?)?;
    }
    Ok(())
}

fn own_names() -> Outcome {
    let me = environment::own().ok_or_else(|| Failure::new("no name"))?;
    let record = exposed::environment(me).ok_or_else(|| Failure::new("no record"))?;
    check_eq!(record.uarea_at, upcall::uarea() as u64);
    check_eq!(exposed::life(me).state(), EnvironmentState::Running);
    check_eq!(Environment::Own.name(), Some(me));
    let space = Space::Own
        .record()
        .ok_or_else(|| Failure::new("no space"))?;
    check!(space.members >= 1);
    check_eq!(Space::Own.name().map(|name| name.index), Some(record.space));
    check_eq!(Account::Own.owner(), Some(record.account));
    check_eq!(exopi_rt::account::drawn_on(), Some(record.bound));
    check_eq!(
        Environment::Owned(ObjectName {
            index: me.index + 1,
            ..me
        })
        .record(),
        None
    );
    Ok(())
}

fn tables_are_read() -> Outcome {
    let mut area = Area::new()?;
    let page = area.map(0, RW)?;
    let at = Area::address(0);
    let mapping = Mapping {
        page,
        access: RW,
        bound: RW,
        superpage: false,
    };
    check_eq!(tables::entry_of(at + 5), Entry::Mapped(mapping));
    // SAFETY: the case's own page.
    unsafe { Space::Own.protect(place(at)?, 1, Access::READ) }.unless_stopped()?;
    let narrowed = Mapping {
        access: Access::READ,
        ..mapping
    };
    check_eq!(tables::mapping_of(at), Some(narrowed));
    let note = Note::new(0x1234_5678_9abc).unwrap_or_default();
    Space::Own.note(place(Area::address(1))?, note)?;
    check_eq!(tables::note_of(Area::address(1)), Some(note));
    check_eq!(tables::note_of(Area::address(2)), Some(Note::default()));
    check_eq!(
        tables::entry_of(Area::address(512)),
        Entry::NoTable(TableLevel::Three)
    );
    check_eq!(
        tables::entry_of(Area::address(512 * 512)),
        Entry::NoTable(TableLevel::Two)
    );
    check_eq!(tables::table_of(at, TableLevel::Two), Some(area.level2));
    check_eq!(tables::table_of(at, TableLevel::Three), Some(area.level3));
    let all: Vec<_> = tables::mappings(Area::address(0), Area::address(512 * 512)).collect();
    check_eq!(all, vec![(place(at)?, narrowed)]);
    Space::Own.note(place(Area::address(1))?, Note::default())?;
    area.close()
}

fn runs_are_taken_whole_or_not() -> Outcome {
    let free = exposed::free_pages();
    let run = Run::take_row(40)?;
    check_eq!(exposed::free_pages(), free - 40);
    // The page in the middle is taken, so nothing of what is before it is.
    let first = run.first();
    let middle = run.part(20, 1).ok_or(Error::OutOfRange)?;
    for part in [run.part(0, 20), run.part(21, 19)].into_iter().flatten() {
        part.free().unless_stopped()?;
    }
    check_eq!(Run::take(first, 40), Err(Error::Taken));
    check_eq!(exposed::free_pages(), free - 1);
    middle.limit(3).unless_stopped()?;
    check_eq!(record(middle.first())?.stamp.limit(), 3);
    check!(DEFAULT_LIMIT != 3);
    middle.free().unless_stopped()?;
    let colours = exposed::machine().colours as u8;
    for colour in [0, colours - 1] {
        let page = pages::take(exopi_rt::PageSelect::Colour(colour))?;
        check_eq!(pages::colour_of(page), colour);
        memory::give_page(page)?;
    }
    Ok(())
}

/// A grant is good in the hands that it names, for what it names, and stays so in bytes.
fn grants_are_for_one() -> Outcome {
    let mut second = Second::new()?;
    let run = Run::take_row(2)?;
    let at = place(crate::second::AT + TableLevel::Three.span() / 2)?;
    let granted = run.grant_to(second.name())?;
    let granted = PageCap::from_bytes(&granted.to_bytes())?;
    let words = |cap: &PageCap, access: Access| {
        let mut words = Arguments::new([0; 6]);
        Object::Own.encode(&mut words);
        at.encode(&mut words);
        PageSource::Run(Run::presented(cap).run()).encode(&mut words);
        2_u64.encode(&mut words);
        access.encode(&mut words);
        words.words()
    };
    let mapped = second.call(Call::insert_pte, words(&granted, RW))?;
    check_eq!(mapped.status, 2 << 16, "a grant in the hands that it names");
    check_eq!(record(run.first())?.references, 1);
    remove(at, 2).unless_stopped()?;
    // Others present it for nothing, and so does the one that it names for what was left out.
    let mine = Space::Own.insert(at, PageSource::Run(Run::presented(&granted).run()), 1, RW);
    check_eq!(mine.stopped, Some(Error::WrongHolder));
    let mut free = Arguments::new([0; 6]);
    Run::presented(&granted).run().encode(&mut free);
    1_u64.encode(&mut free);
    let refused = second.call(Call::page_free, free.words())?;
    check_eq!(refused.error(), Some(Error::MissingRight));
    let reading = run.grant_rights_to(PageRights::READ, second.name())?;
    let refused = second.call(Call::insert_pte, words(&reading, RW))?;
    check_eq!(refused.error(), Some(Error::MissingRight));
    // And it ends when the owner says so.
    run.retire().unless_stopped()?;
    let refused = second.call(Call::insert_pte, words(&granted, RW))?;
    check_eq!(refused.error(), Some(Error::Stale));
    run.free().unless_stopped()?;
    second.close()
}

/// What threads have added up.
static SUM: AtomicU64 = AtomicU64::new(0);

fn add(argument: u64) {
    SUM.fetch_add(argument, Ordering::Relaxed);
}

fn own_core() -> u64 {
    Environment::Own.life().core().map_or(0, u64::from)
}

fn threads_run_and_end() -> Outcome {
    SUM.store(0, Ordering::Relaxed);
    let mut made = Vec::new();
    for index in 0..3 {
        made.push(Builder::new(add, 10 + index, thread_place(index)?).start(own_core())?);
    }
    for thread in made {
        thread.join();
        check_eq!(thread.environment().state(), EnvironmentState::Free);
    }
    check_eq!(SUM.load(Ordering::Relaxed), 33);
    // One that never runs is ended by who made it.
    let idle = Builder::new(add, 1, thread_place(0)?).build()?;
    check_eq!(idle.environment().state(), EnvironmentState::Stopped);
    idle.end()?;
    check_eq!(SUM.load(Ordering::Relaxed), 33);
    remove_tables(3)
}

fn threads_on_other_cores() -> Outcome {
    SUM.store(0, Ordering::Relaxed);
    let cores = exposed::machine().cores;
    let mut made = Vec::new();
    for core in 0..cores {
        made.push(Builder::new(add, 1 << core, thread_place(core)?).start(core)?);
    }
    for thread in made {
        thread.join();
    }
    check_eq!(SUM.load(Ordering::Relaxed), (1 << cores) - 1);
    remove_tables(cores)
}

/// Fills and checks blocks of the common heap; adds 1 if they have stayed as they were.
fn use_heap(mark: u64) {
    let mut good = true;
    for round in 0..20_usize {
        let blocks: Vec<Vec<u8>> = (1..8)
            .map(|n| vec![mark as u8; n * 16 + round % 32])
            .collect();
        environment::yield_now();
        good &= blocks.iter().flatten().all(|byte| *byte == mark as u8);
    }
    SUM.fetch_add(good.into(), Ordering::Relaxed);
}

fn the_heap_is_everybodys() -> Outcome {
    SUM.store(0, Ordering::Relaxed);
    let cores = exposed::machine().cores;
    let grown = heap::pages();
    let mut made = Vec::new();
    for core in 0..cores {
        made.push(Builder::new(use_heap, core + 1, thread_place(core)?).start(core)?);
    }
    use_heap(99);
    for thread in made {
        thread.join();
    }
    check_eq!(SUM.load(Ordering::Relaxed), cores + 1);
    check_eq!(heap::pages(), grown, "pages of the heap");
    remove_tables(cores)
}

/// The word in which a handler counts.
const COUNTED: Option<Word> = Word::new(15);

/// Faults under a handler of its own, which counts in this environment's word, and tells the count.
fn fault_alone(times: u64) {
    upcall::on_fault(|fault| {
        if fault.cause() != FaultCause::Undefined {
            return Action::Abort;
        }
        if let Some(word) = COUNTED {
            word.set(word.get() + 1);
        }
        fault.step_over();
        Action::Resume
    });
    for _ in 0..times {
        upcall::raise_undefined();
        environment::yield_now();
    }
    SUM.fetch_add(COUNTED.map_or(0, Word::get), Ordering::Relaxed);
}

fn handlers_are_ones_own() -> Outcome {
    SUM.store(0, Ordering::Relaxed);
    let before = catch::count();
    let first = Builder::new(fault_alone, 5, thread_place(0)?).start(own_core())?;
    let second =
        Builder::new(fault_alone, 7, thread_place(1)?).start(1 % exposed::machine().cores)?;
    // Its own faults meanwhile go to the suite's handler.
    for _ in 0..20 {
        // SAFETY: it faults.
        check!(unsafe { attempt!("udf #0"; ) }.is_err());
        environment::yield_now();
    }
    first.join();
    second.join();
    check_eq!(SUM.load(Ordering::Relaxed), 12);
    check_eq!(catch::count(), before + 20);
    remove_tables(2)
}

/// Bits that notices have told.
static TOLD: AtomicU64 = AtomicU64::new(0);

fn hear(notice: &mut Notice<'_>) {
    TOLD.fetch_or(notice.bits().into(), Ordering::Relaxed);
}

/// Faults with nobody to handle it.
fn fault(_: u64) {
    // SAFETY: an entry of 0 is none; a fault suspends.
    unsafe { upcall::set_entry(UpcallClass::Fault, exopi_rt::uarea::Entry::default()) };
    upcall::raise_undefined();
}

fn notices_wait_for_the_mask() -> Outcome {
    let before = upcall::entry(UpcallClass::Notice);
    TOLD.store(0, Ordering::Relaxed);
    upcall::on_notice(hear);
    let thread = Builder::new(fault, 0, thread_place(0)?).build()?;
    thread.environment().keep(5)?;
    let state = masked(|| {
        thread.environment().run(own_core())?;
        for _ in 0..100 {
            environment::yield_now();
        }
        check_eq!(TOLD.load(Ordering::Relaxed), 0, "told while masked");
        Ok::<_, Failure>(thread.environment().state())
    })?;
    check_eq!(state, EnvironmentState::Suspended);
    check_eq!(TOLD.load(Ordering::Relaxed), 1 << 5, "told after it");
    thread.end()?;
    // SAFETY: it was in force before.
    unsafe { upcall::set_entry(UpcallClass::Notice, before) };
    remove_tables(1)
}

/// A suspended environment's state tells why, and with another one it goes on.
fn states_are_read_and_mended() -> Outcome {
    SUM.store(0, Ordering::Relaxed);
    let thread = Builder::new(fault, 0, thread_place(0)?).start(own_core())?;
    let environment = thread.environment();
    for _ in 0..100 {
        environment::yield_now();
    }
    check_eq!(environment.state(), EnvironmentState::Suspended);
    let mut frame = environment.saved()?;
    let cause = FaultCause::decode(frame.esr, frame.far);
    check_eq!(cause, FaultCause::Undefined);
    // As if it had been made to add.
    frame.pc = add as *const () as u64;
    frame.x[0] = 21;
    frame.x[30] = environment::leave as *const () as u64;
    environment.stop()?;
    environment.set_saved(&frame)?;
    environment.run(own_core())?;
    thread.join();
    check_eq!(SUM.load(Ordering::Relaxed), 21);
    remove_tables(1)
}

/// Where parent and child share a page.
const SHARED: u64 = 0x3e_0000_0000;

/// What the child does: uses its copy of the program's memory, heap included, and tells in the shared page.
fn child(argument: u64) {
    let before = SUM.fetch_add(1, Ordering::Relaxed);
    let numbers: Vec<u64> = (0..argument).collect();
    let sum: u64 = numbers.iter().sum();
    // SAFETY: the parent has mapped the page here before it let this run.
    unsafe { (SHARED as *mut [u64; 2]).write_volatile([before, sum]) };
}

fn programs_have_their_own_memory() -> Outcome {
    SUM.store(77, Ordering::Relaxed);
    let shared = memory::map_new(place(SHARED)?, RW)?;
    let space = space::create()?;
    let root = space
        .record()
        .ok_or_else(|| Failure::new("no record"))?
        .root;
    let scratch = place(SCRATCH)?;
    space.copy_own(USER_START, heap::START + heap::LIMIT, scratch)?;
    space.copy_own(FIRST_ARGUMENTS, FIRST_ARGUMENTS + PAGE_SIZE, scratch)?;
    space
        .map(place(SHARED)?, PageSource::owned(shared), 1, RW)
        .unless_stopped()?;
    let made = Builder::new(child, 100, thread_place(0)?)
        .in_space(space)
        .build()?;
    let theirs: Vec<_> = space::pages_of(PageNumber::new(root)).collect();
    made.environment().run(own_core())?;
    made.join();
    space.wait();
    // SAFETY: the page is mapped, and the child is gone.
    let told = unsafe { (SHARED as *const [u64; 2]).read_volatile() };
    check_eq!(told, [77, 4950]);
    check_eq!(SUM.load(Ordering::Relaxed), 77, "the parent's memory");
    for page in theirs {
        memory::give_page(page)?;
    }
    // SAFETY: nothing refers to it any more.
    unsafe { memory::unmap_and_give(place(SHARED)?, shared) }?;
    for address in [SHARED, SCRATCH] {
        memory::remove_tables(place(address)?)?;
    }
    Ok(())
}
