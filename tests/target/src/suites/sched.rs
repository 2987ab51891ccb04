//! `exopi-sched` on the kernel: what its host tests show with threads of the host, with real registers, stacks,
//! faults, notices and cores.

mod cores;
mod interrupted;
mod kept;
mod waiting;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::exposed;
use exopi_rt::upcall::{Action, Fault};
use exopi_sched::stack::Unit;
use exopi_sched::thread::{self, Builder};
use exopi_sched::{Ended, Error, RoundRobin, Scheduler, Stack, fault};

use crate::catch;
use crate::harness::{Failure, Outcome, Suite};

pub(crate) const SUITE: Suite = Suite {
    name: "sched",
    cases: &[
        ("threads_take_turns", || on_threads(threads_take_turns)),
        ("results_come_back", || on_threads(results_come_back)),
        ("nothing_is_left", || on_threads(nothing_is_left)),
        ("stacks_that_are_given", || {
            on_threads(stacks_that_are_given)
        }),
        ("switches_keep_registers", || {
            on_threads(kept::across_switches)
        }),
        ("thread_pointers", || on_threads(kept::thread_pointers)),
        ("overflow_ends_one_thread", || {
            on_threads(overflow_ends_one_thread)
        }),
        ("faults_end_one_thread", || {
            on_threads(faults_end_one_thread)
        }),
        ("mutex", || on_threads(waiting::mutex)),
        ("holder_that_ended", || {
            on_threads(waiting::holder_that_ended)
        }),
        ("condition", || on_threads(waiting::condition)),
        ("channel", || on_threads(waiting::channel)),
        ("timers", || on_threads(waiting::timers)),
        ("words_are_watched", || {
            on_threads(waiting::words_are_watched)
        }),
        ("executor", || on_threads(waiting::executor)),
        (
            "executor_without_threads",
            waiting::executor_without_threads,
        ),
        ("several_cores", cores::several_cores),
        ("environment_that_died", cores::environment_that_died),
        ("interrupted_share_the_core", interrupted::share_the_core),
        ("interrupted_keep_registers", interrupted::keep_registers),
        ("masks_keep_the_core", interrupted::masks_keep_the_core),
        ("interrupted_and_waiting", interrupted::and_waiting),
        ("shares_by_tickets", interrupted::shares_by_tickets),
    ],
};

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(alloc::format!("{error}"))
    }
}

impl From<Ended> for Failure {
    #[track_caller]
    fn from(ended: Ended) -> Self {
        Self::new(alloc::format!("a thread ended: {ended:x?}"))
    }
}

/// Most threads of a case.
const THREADS: usize = 16;

static TURNS: Scheduler<RoundRobin<THREADS>, THREADS> = Scheduler::new(RoundRobin::new());

/// Runs a case as the first thread of a scheduler that goes round.
fn on_threads(case: fn() -> Outcome) -> Outcome {
    TURNS.run_with(
        Builder::new().name("case").stack_pages(16),
        case,
        &mut exopi_sched::sleep::Yielding,
    )??
}

/// What threads have noted, in the order in which they did.
static LOG: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static LOGGED: AtomicU64 = AtomicU64::new(0);

fn log(word: u64) {
    let index = LOGGED.fetch_add(1, Ordering::Relaxed);
    if let Some(place) = LOG.get(index as usize) {
        place.store(word, Ordering::Relaxed);
    }
}

/// What was noted, which is forgotten.
fn logged() -> Vec<u64> {
    let count = LOGGED.swap(0, Ordering::Relaxed) as usize;
    let words = LOG.iter().take(count);
    words.map(|word| word.load(Ordering::Relaxed)).collect()
}

fn threads_take_turns() -> Outcome {
    let mut handles = Vec::new();
    for name in 1..=3 {
        handles.push(thread::spawn(move || {
            for turn in 0..3 {
                log(name * 10 + turn);
                thread::yield_now();
            }
        })?);
    }
    for handle in handles {
        handle.join()?;
    }
    check_eq!(logged(), [10, 20, 30, 11, 21, 31, 12, 22, 32]);
    Ok(())
}

fn results_come_back() -> Outcome {
    let named = Builder::new().name("named").spawn(|| {
        let me = thread::current()?;
        thread::name_of(me)
    })?;
    let id = named.id();
    check_eq!(thread::name_of(id), Some("named"));
    check_eq!(named.join()?, Some("named"));
    check_eq!(thread::name_of(id), None);
    // What is captured and what is returned are whole, whatever their size and alignment.
    #[repr(align(64))]
    struct Large([u64; 40]);
    let large = Large(core::array::from_fn(|index| index as u64 * 3));
    let back = thread::spawn(move || Large(large.0.map(|word| word + 1)))?.join()?;
    check_eq!(core::ptr::from_ref(&back) as usize % 64, 0);
    check!((0..40).all(|index| back.0[index as usize] == index * 3 + 1));
    Ok(())
}

fn nothing_is_left() -> Outcome {
    // What the address space keeps at hand, it has then.
    thread::spawn(|| ())?.join()?;
    let before = exposed::free_pages();
    for round in 0..40 {
        // Joined, gone its way before and after its end, and ended in the middle.
        thread::spawn(|| ())?.join()?;
        thread::spawn(move || round)?.detach();
        let ended = thread::spawn(|| ())?;
        while !ended.is_finished() {
            thread::yield_now();
        }
        drop(ended);
        // SAFETY: nothing on its stack is anybody's.
        let exited = thread::spawn(|| unsafe { thread::exit() })?;
        check_eq!(exited.join(), Err::<(), _>(Ended::Exited));
    }
    // The last one that goes its way is taken care of when the next begins.
    thread::yield_now();
    thread::spawn(|| ())?.join()?;
    check_eq!(exposed::free_pages(), before);
    let mut all = Vec::new();
    for _ in 0..THREADS - 1 {
        all.push(thread::spawn(thread::yield_now)?);
    }
    check_eq!(thread::spawn(|| ()).err(), Some(Error::Full));
    for handle in all {
        handle.join()?;
    }
    check_eq!(exposed::free_pages(), before);
    Ok(())
}

fn stacks_that_are_given() -> Outcome {
    /// Room for a stack.
    struct Room(core::cell::UnsafeCell<[Unit; 512]>);
    // SAFETY: one thread after another has it.
    unsafe impl Sync for Room {}
    static ROOM: Room = Room(core::cell::UnsafeCell::new(
        [Unit([core::mem::MaybeUninit::uninit(); 16]); 512],
    ));
    // SAFETY: the case is the only one that knows it, and runs once.
    let units: &'static mut [Unit] = unsafe { &mut *ROOM.0.get() };
    let range = units.as_ptr_range();
    let within = range.start as u64..range.end as u64;
    let mut stack = Stack::Given(units);
    for round in 0..3_u64 {
        let handle = Builder::new().stack(stack).spawn(move || {
            let here = round;
            (core::ptr::from_ref(&here) as u64, here * 2)
        })?;
        let (result, back) = handle.join_with_stack();
        let (place, double) = result?;
        check!(within.contains(&place), "{place:x} is not in {within:x?}");
        check_eq!(double, round * 2);
        stack = back.ok_or_else(|| Failure::new("no stack came back"))?;
    }
    // One that is too small is refused.
    // SAFETY: the stack has come back, and nobody has it.
    let units: &'static mut [Unit] = unsafe { &mut *ROOM.0.get() };
    let small = Stack::Given(units.split_at_mut(64).0);
    let refused = Builder::new().stack(small).spawn(|| ());
    check_eq!(refused.err(), Some(Error::NoRoom));
    Ok(())
}

/// Whose fault the last one was: its thread's name, and whether it was an overflow.
static BLAMED: AtomicU64 = AtomicU64::new(0);

/// The handler of faults while threads may fault: they end.
fn contain(it: &mut Fault<'_>) -> Action {
    if let Some(blame) = fault::blame(it) {
        let overflow = u64::from(blame.overflow) << 63;
        BLAMED.store(blame.thread.word() | overflow, Ordering::Relaxed);
    }
    // SAFETY: those that fault here are in the middle of nothing.
    unsafe { fault::contain(it) }
}

/// Uses stack until there is none.
fn recurse(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 16]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1).wrapping_add(frame[3])
}

fn overflow_ends_one_thread() -> Outcome {
    catch::with_handler(contain, || {
        let deep = Builder::new().name("deep").spawn(|| recurse(0))?;
        let other = thread::spawn(|| {
            thread::yield_now();
            7
        })?;
        let id = deep.id();
        let ended = deep.join();
        let overflow = matches!(ended, Err(Ended::Faulted { overflow: true, .. }));
        check!(overflow, "it ended as {ended:x?}");
        check_eq!(BLAMED.load(Ordering::Relaxed), id.word() | 1 << 63);
        check_eq!(other.join()?, 7);
        Ok(())
    })
}

fn faults_end_one_thread() -> Outcome {
    catch::with_handler(contain, || {
        let wild = Builder::new().name("wild").spawn(|| {
            // SAFETY: nothing is ever mapped there.
            unsafe { (0x77_0000_0008 as *mut u64).write_volatile(1) };
        })?;
        let id = wild.id();
        let ended = wild.join();
        let as_told = matches!(
            ended,
            Err(Ended::Faulted {
                overflow: false,
                address: 0x77_0000_0008,
                ..
            })
        );
        check!(as_told, "it ended as {ended:x?}");
        check_eq!(BLAMED.load(Ordering::Relaxed), id.word());
        Ok(())
    })
}
