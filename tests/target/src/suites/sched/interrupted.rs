//! Threads that are interrupted between two instructions.
//!
//! What interrupts them here is a notice. Another environment on another core spins for a while and then
//! faults without a handler. That suspends it and tells its keeper, this environment, whose handler mends it
//! and lets it spin again:
//!
//! ```text
//!   core 0   threads ... | notice: mend, next thread | threads ...
//!   core 1   spin, udf --^             '--> spin, udf --^
//! ```

use alloc::vec::Vec;
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use exopi_rt::domain::ObjectName;
use exopi_rt::environment::{Builder as Place, Made};
use exopi_rt::uarea::{Entry, Frame, UArea, UpcallClass};
use exopi_rt::upcall::{self, masked};
use exopi_rt::{Environment, memory, time};
use exopi_sched::sync::{Channel, Mutex};
use exopi_sched::thread::{self, Builder, JoinHandle};
use exopi_sched::{Scheduler, Share, Stride, preempt};

use super::{THREADS, on_threads};
use crate::area::place;
use crate::harness::{Failure, Outcome};

/// Where the environment that ticks is.
const TICKER: u64 = 0x3c_0000_0000;
/// The notice of its suspension.
const SUSPENDED: u8 = 7;

/// Its name, and where its saved PC is.
static NAME: AtomicU64 = AtomicU64::new(0);
static SAVED_PC: AtomicU64 = AtomicU64::new(0);
/// Ticks that came, and how many of them found the thread in each slot.
static TICKS: AtomicU64 = AtomicU64::new(0);
static FOUND: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
/// The longest time between two ticks, and when the last one was.
static LONGEST: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicU64 = AtomicU64::new(0);
/// Threads that count until they are told to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// Spins so many turns, faults, and does it again when the fault has been stepped over.
#[unsafe(naked)]
unsafe extern "C" fn spin_and_fault(turns: u64) {
    naked_asm!(
        "1: mov x1, x0",
        "2: sub x1, x1, #1",
        "cbnz x1, 2b",
        "udf #0",
        "b 1b",
    )
}

fn tick(turns: u64) {
    // SAFETY: without an entry its faults suspend it.
    unsafe { upcall::set_entry(UpcallClass::Fault, Entry { pc: 0, sp: 0 }) };
    // SAFETY: it uses two registers that functions may use.
    unsafe { spin_and_fault(turns) };
}

/// Hears of a tick: the thread that runs is interrupted.
fn heard(bits: u32) -> bool {
    if bits & 1 << SUSPENDED == 0 {
        return false;
    }
    TICKS.fetch_add(1, Ordering::Relaxed);
    let now = time::ticks();
    LONGEST.fetch_max(now - LAST.swap(now, Ordering::Relaxed), Ordering::Relaxed);
    if let Some(found) = thread::current().and_then(|id| FOUND.get(id.index().get())) {
        found.fetch_add(1, Ordering::Relaxed);
    }
    let pc = SAVED_PC.load(Ordering::Relaxed) as *mut u64;
    if pc.is_null() {
        // It was told of its end.
        return true;
    }
    let name = ObjectName::from_word(NAME.load(Ordering::Relaxed));
    let ticker = Environment::Owned(name);
    // A suspended one is stopped, which waits until its core has let go of it. A refusal of either means that
    // it was ended.
    let _ = ticker.stop();
    // SAFETY: the u-area is mapped until the case ends, and its environment stopped.
    let at = unsafe { pc.read_volatile() };
    // SAFETY: as above.
    unsafe { pc.write_volatile(at + 4) };
    let _ = ticker.run(1);
    true
}

/// Runs `work`, on a thread, with threads interrupted each time that another core has spun so many turns.
fn with_ticks(turns: u64, work: impl FnOnce() -> Outcome) -> Outcome {
    let before = upcall::entry(UpcallClass::Notice);
    for word in FOUND.iter().chain([&TICKS, &LONGEST]) {
        word.store(0, Ordering::Relaxed);
    }
    STOP.store(false, Ordering::Relaxed);
    LAST.store(time::ticks(), Ordering::Relaxed);
    preempt::by_notices(heard);
    let ticker = begin(turns)?;
    let outcome = work();
    // For those that a failure has left running.
    STOP.store(true, Ordering::Relaxed);
    SAVED_PC.store(0, Ordering::Relaxed);
    let ended = ticker.end();
    // SAFETY: it was in force before.
    unsafe { upcall::set_entry(UpcallClass::Notice, before) };
    memory::remove_tables(place(TICKER)?)?;
    outcome?;
    Ok(ended?)
}

fn begin(turns: u64) -> Result<Made<'static>, Failure> {
    let ticker = Place::new(tick, turns, place(TICKER)?).build()?;
    NAME.store(ticker.name().word(), Ordering::Relaxed);
    let pc = ticker.uarea() + (offset_of!(UArea, saved) + offset_of!(Frame, pc)) as u64;
    SAVED_PC.store(pc, Ordering::Relaxed);
    ticker.environment().keep(SUSPENDED)?;
    ticker.environment().run(1)?;
    Ok(ticker)
}

/// Lets a notice come that has waited because the frame was held: that is delivered when somebody unmasks.
fn listen() {
    masked(|| ());
}

/// Waits, without giving the core away, for more ticks.
fn wait_for_ticks(count: u64) -> Outcome {
    let begin = TICKS.load(Ordering::Relaxed);
    let patience = time::ticks() + 10 * time::ticks_per_second();
    while TICKS.load(Ordering::Relaxed) < begin + count {
        check!(
            time::ticks() < patience,
            "only {} ticks come",
            TICKS.load(Ordering::Relaxed) - begin
        );
        listen();
    }
    Ok(())
}

/// Spins until it is told to stop.
fn hog() -> u64 {
    let mut turns = 0;
    while !STOP.load(Ordering::Relaxed) {
        turns += 1;
        listen();
    }
    turns
}

pub(super) fn share_the_core() -> Outcome {
    on_threads(|| {
        with_ticks(2000, || {
            let mut handles = Vec::new();
            for _ in 0..3 {
                handles.push(thread::spawn(hog)?);
            }
            // The case's own thread spins like the others.
            let counts = || masked(|| FOUND.each_ref().map(|it| it.load(Ordering::Relaxed)));
            let before = counts();
            wait_for_ticks(80)?;
            let after = counts();
            STOP.store(true, Ordering::Relaxed);
            let turns = [0, 1, 2, 3].map(|index: usize| after[index] - before[index]);
            for handle in handles {
                check!(handle.join()? > 0, "one has not run at all");
            }
            let (least, most) = (turns.iter().min(), turns.iter().max());
            check!(least > Some(&10), "turns: {turns:?}");
            // Round robin is exact.
            check!(
                least.zip(most).is_some_and(|(a, b)| b - a <= 1),
                "{turns:?}"
            );
            Ok(())
        })
    })
}

/// Fills all registers with what follows from `seed`, makes so many turns in which the flags are set and
/// compared, and returns not 0 if any register has changed.
#[unsafe(naked)]
extern "C" fn all_keep(turns: u64, seed: u64) -> u64 {
    naked_asm!(
        "stp x29, x30, [sp, #-192]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "stp x1, xzr, [sp, #160]",
        // Flags, rounding and saturation: by the lowest bits of the seed.
        "and x2, x1, #3",
        "lsl x2, x2, #22",
        "msr fpcr, x2",
        "and x2, x1, #0x1f",
        "msr fpsr, x2",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, \
         24, 25, 26, 27, 28, 29, 30, 31",
        "add x2, x1, #(\\n + 200)",
        "dup v\\n\\().2d, x2",
        ".endr",
        ".irp n, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, \
         28, 29, 30",
        "add x\\n, x1, #\\n",
        ".endr",
        "lsl x1, x1, #28",
        "and x1, x1, #0xf0000000",
        "mov x3, xzr",
        "1: msr nzcv, x1",
        "nop",
        "nop",
        "nop",
        "nop",
        "mrs x2, nzcv",
        "eor x2, x2, x1",
        "orr x3, x3, x2",
        "sub x0, x0, #1",
        "cbnz x0, 1b",
        "ldr x1, [sp, #160]",
        ".irp n, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, \
         28, 29, 30",
        "add x2, x1, #\\n",
        "eor x2, x2, x\\n",
        "orr x3, x3, x2",
        ".endr",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, \
         24, 25, 26, 27, 28, 29, 30, 31",
        "add x2, x1, #(\\n + 200)",
        "mov x4, v\\n\\().d[0]",
        "eor x4, x4, x2",
        "orr x3, x3, x4",
        "mov x4, v\\n\\().d[1]",
        "eor x4, x4, x2",
        "orr x3, x3, x4",
        ".endr",
        "mrs x2, fpcr",
        "and x4, x1, #3",
        "eor x2, x2, x4, lsl #22",
        "orr x3, x3, x2",
        "mrs x2, fpsr",
        "and x4, x1, #0x1f",
        "eor x2, x2, x4",
        "orr x0, x3, x2",
        "msr fpcr, xzr",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #192",
        "ret",
    )
}

pub(super) fn keep_registers() -> Outcome {
    on_threads(|| {
        with_ticks(700, || {
            let mut handles = Vec::new();
            for name in 1..=4_u64 {
                handles.push(thread::spawn(move || {
                    let mut changed = 0;
                    let mut round = 0;
                    while !STOP.load(Ordering::Relaxed) {
                        // Some of the switches are to threads that gave the core away, and from them.
                        changed |= all_keep(500, name << 40 | round << 8 | (name * 5 + round % 3));
                        if round % 4 == name - 1 {
                            thread::yield_now();
                        }
                        listen();
                        round += 1;
                    }
                    changed
                })?);
            }
            wait_for_ticks(400)?;
            STOP.store(true, Ordering::Relaxed);
            for handle in handles {
                check_eq!(handle.join()?, 0, "registers that have changed");
            }
            Ok(())
        })
    })
}

pub(super) fn masks_keep_the_core() -> Outcome {
    static OTHERS: AtomicU64 = AtomicU64::new(0);
    fn count() {
        while !STOP.load(Ordering::Relaxed) {
            OTHERS.fetch_add(1, Ordering::Relaxed);
            listen();
        }
    }
    on_threads(|| {
        with_ticks(2000, || {
            let other = thread::spawn(count)?;
            for _ in 0..20 {
                let (before, after) = masked(|| {
                    let before = OTHERS.load(Ordering::Relaxed);
                    let until = time::ticks() + time::ticks_per_second() / 2000;
                    while time::ticks() < until {}
                    (before, OTHERS.load(Ordering::Relaxed))
                });
                check_eq!(before, after, "turns of another thread meanwhile");
                // Afterwards it comes, though not at once perhaps: a tick may find it before its first step.
                let patience = time::ticks() + 10 * time::ticks_per_second();
                while OTHERS.load(Ordering::Relaxed) == after {
                    check!(time::ticks() < patience, "the other does not run again");
                    listen();
                }
            }
            STOP.store(true, Ordering::Relaxed);
            Ok(other.join()?)
        })
    })
}

pub(super) fn and_waiting() -> Outcome {
    static PAIR: Mutex<(u64, u64)> = Mutex::new((0, 0));
    static WORDS: Channel<u64, 2> = Channel::new();
    fn work(name: u64) -> bool {
        let mut good = true;
        for index in 0..100 {
            let Ok(mut pair) = PAIR.lock() else {
                return false;
            };
            good &= pair.0 == pair.1;
            pair.0 += 1;
            good &= all_keep(100, name << 16 | index) == 0;
            pair.1 += 1;
            drop(pair);
            // A block of the heap, whose allocator may be interrupted too.
            let block = alloc::vec![name; 30];
            good &= WORDS.send(block.iter().sum::<u64>()).is_ok();
        }
        good
    }
    on_threads(|| {
        PAIR.lock()
            .map_err(|_| Failure::new("taken"))?
            .clone_from(&(0, 0));
        with_ticks(1500, || {
            let mut handles = Vec::new();
            for name in 1..=3 {
                handles.push(thread::spawn(move || work(name))?);
            }
            let mut sum = 0;
            for _ in 0..300 {
                sum += WORDS.receive().map_err(|_| Failure::new("closed"))?;
            }
            check_eq!(sum, 30 * 100 * 6);
            for handle in handles {
                check!(handle.join()?, "halves of a pair, or registers");
            }
            Ok(())
        })
    })
}

static TICKETS: Scheduler<Stride<THREADS>, THREADS> = Scheduler::new(Stride::new());

pub(super) fn shares_by_tickets() -> Outcome {
    let main = Builder::new().stack_pages(16).share(Share::Tickets(1));
    TICKETS.run_with(main, by_tickets, &mut exopi_sched::sleep::Yielding)??
}

fn by_tickets() -> Outcome {
    const SHARES: [u64; 3] = [10, 30, 60];
    with_ticks(2000, || {
        let mut handles: Vec<JoinHandle<u64>> = Vec::new();
        for share in SHARES {
            let share = Share::Tickets(share as u32);
            handles.push(Builder::new().share(share).spawn(hog)?);
        }
        let used = |handles: &[JoinHandle<u64>]| -> Vec<u64> {
            let used = handles.iter().map(|it| thread::ticks_of(it.id()));
            masked(|| used.map(Option::unwrap_or_default).collect())
        };
        // From here on all of them are there. Some have run before.
        let before = used(&handles);
        LONGEST.store(0, Ordering::Relaxed);
        wait_for_ticks(300)?;
        let after = used(&handles);
        STOP.store(true, Ordering::Relaxed);
        for handle in handles {
            handle.join()?;
        }
        let used = after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before);
        let used: Vec<u64> = used.collect();
        // The lag that the policy promises, for charges as long as the longest time between two ticks and what a
        // switch takes: ahead at one end, and behind at the other.
        let longest = LONGEST.load(Ordering::Relaxed) * 2;
        let (sum, tickets): (u64, u64) = (used.iter().sum(), SHARES.iter().sum());
        for (used, share) in used.iter().zip(SHARES) {
            let lag = (used * tickets).abs_diff(sum * share);
            let bound = longest * (tickets - share) + longest * 2 * share;
            check!(
                lag <= bound,
                "{used} of {sum} by {share}, with charges up to {longest}"
            );
        }
        Ok(())
    })
}
