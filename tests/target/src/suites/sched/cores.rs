//! Threads of one scheduler on several cores: an environment on each, in one space.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use exopi_rt::environment::{self, Builder as Place, Made};
use exopi_rt::{TableLevel, exposed, memory, time};
use exopi_sched::sleep::Yielding;
use exopi_sched::sync::{Channel, LockError, Mutex};
use exopi_sched::thread::{self, Builder};
use exopi_sched::{Ended, RoundRobin, Scheduler};

use super::THREADS;
use crate::area::place;
use crate::harness::{Failure, Outcome};

/// Where the environments are: 2 MiB for each.
const PLACES: u64 = 0x3c_0000_0000;

static MANY: Scheduler<RoundRobin<THREADS>, THREADS> = Scheduler::new(RoundRobin::new());
/// The environments have nothing to do any more.
static OVER: AtomicBool = AtomicBool::new(false);

/// What an environment on another core does.
fn help(_: u64) {
    while !OVER.load(Ordering::Acquire) {
        // Refused before the first thread is there, and after the last one.
        let _ = MANY.work(&mut Yielding);
        environment::yield_now();
    }
}

/// Runs `case` as a thread, with an environment on each other core that runs threads too.
fn on_cores(case: fn(&[Made<'static>]) -> Outcome) -> Outcome {
    static HELPERS: Mutex<Vec<Made<'static>>> = Mutex::new(Vec::new());
    OVER.store(false, Ordering::Release);
    let cores = exposed::machine().cores;
    let mut made = Vec::new();
    for core in 1..cores {
        let at = place(PLACES + core * TableLevel::Three.span())?;
        made.push(Place::new(help, 0, at).start(core)?);
    }
    *HELPERS.lock().map_err(|_| Failure::new("taken"))? = made;
    let main = Builder::new().stack_pages(16);
    let outcome = MANY.run_with(
        main,
        move || {
            let helpers = HELPERS.lock().map(|helpers| helpers.clone());
            case(&helpers.map_err(|_| Failure::new("taken"))?)
        },
        &mut Yielding,
    );
    OVER.store(true, Ordering::Release);
    let made = core::mem::take(&mut *HELPERS.lock().map_err(|_| Failure::new("taken"))?);
    for helper in made {
        helper.join();
    }
    for core in 1..cores {
        memory::remove_tables(place(PLACES + core * TableLevel::Three.span())?)?;
    }
    outcome??
}

pub(super) fn several_cores() -> Outcome {
    static SUM: Mutex<u64> = Mutex::new(0);
    static WORDS: Channel<u64, 4> = Channel::new();
    /// A bit for each environment that has run a thread.
    static SEEN: AtomicU64 = AtomicU64::new(0);
    fn work(name: u64) -> bool {
        let patience = time::ticks() + 10 * time::ticks_per_second();
        while SEEN.load(Ordering::Relaxed).count_ones() < 2 && time::ticks() < patience {
            let index_of = environment::own().map_or(0, |name| name.index);
            SEEN.fetch_or(1 << (index_of % 64), Ordering::Relaxed);
            thread::yield_now();
        }
        for index in 0..50 {
            match SUM.lock() {
                Ok(mut sum) => *sum += 1,
                Err(_) => return false,
            }
            if index % 3 == 0 {
                thread::yield_now();
            }
            if WORDS.send(name).is_err() {
                return false;
            }
        }
        true
    }
    on_cores(|helpers| {
        let mut handles = Vec::new();
        for name in 1..=8 {
            handles.push(thread::spawn(move || work(name))?);
        }
        let mut sum = 0;
        for _ in 0..400 {
            sum += WORDS.receive().map_err(|_| Failure::new("closed"))?;
        }
        check_eq!(sum, 50 * 36);
        for handle in handles {
            check!(handle.join()?);
        }
        check_eq!(SUM.lock().map(|sum| *sum).ok(), Some(400));
        let seen = SEEN.load(Ordering::Relaxed).count_ones() as usize;
        check!(
            seen > helpers.len() / 2,
            "only {seen} environments have run threads"
        );
        Ok(())
    })
}

pub(super) fn environment_that_died() -> Outcome {
    static HELD: Mutex<u64> = Mutex::new(0);
    /// The environment that runs the thread, by its name, and 0 before it does.
    static WHERE: AtomicU64 = AtomicU64::new(0);
    on_cores(|helpers| {
        let names: [u64; 8] =
            core::array::from_fn(|index| helpers.get(index).map_or(0, |it| it.name().word()));
        let here = || environment::own().map_or(0, |name| name.word());
        let spinner = thread::spawn(move || -> () {
            let _held = HELD.lock();
            while !names.contains(&here()) {
                thread::yield_now();
            }
            WHERE.store(here(), Ordering::Release);
            loop {
                time::relax();
            }
        })?;
        // Wherever this thread goes on from here, it is not there: that environment's core is taken.
        let patience = time::ticks() + 20 * time::ticks_per_second();
        while WHERE.load(Ordering::Acquire) == 0 {
            check!(time::ticks() < patience, "no other environment runs it");
            thread::sleep(1000);
        }
        let name = WHERE.load(Ordering::Acquire);
        let helper = helpers.iter().find(|helper| helper.name().word() == name);
        let helper = helper.ok_or_else(|| Failure::new("not one of the helpers"))?;
        helper.environment().destroy()?;
        check_eq!(spinner.join().err(), Some(Ended::Lost));
        check!(matches!(HELD.lock(), Err(LockError::HolderEnded(_))));
        Ok(())
    })
}
