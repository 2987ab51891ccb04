//! Threads, and tasks, that wait for each other.

use alloc::vec::Vec;
use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::time;
use exopi_sched::executor::{self, Tasks};
use exopi_sched::sync::{Channel, Condvar, LockError, Mutex, Semaphore};
use exopi_sched::thread;

use super::{log, logged};
use crate::harness::{Failure, Outcome};

pub(super) fn mutex() -> Outcome {
    static PAIR: Mutex<(u64, u64)> = Mutex::new((0, 0));
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(thread::spawn(|| {
            let mut torn = 0;
            for _ in 0..50 {
                let Ok(mut pair) = PAIR.lock() else { return 1 };
                pair.0 += 1;
                thread::yield_now();
                pair.1 += 1;
                torn += u64::from(pair.0 != pair.1);
            }
            torn
        })?);
    }
    for handle in handles {
        check_eq!(handle.join()?, 0, "halves of a pair");
    }
    let Ok(pair) = PAIR.lock() else {
        return Err(Failure::new("it is not free"));
    };
    check_eq!(*pair, (200, 200));
    check!(matches!(PAIR.lock(), Err(LockError::Deadlock)));
    let late = thread::spawn(|| {
        let soon = time::ticks() + time::ticks_per_second() / 1000;
        matches!(PAIR.lock_until(Some(soon)), Err(LockError::TimedOut))
    })?;
    check!(late.join()?, "a lock that is taken was had");
    Ok(())
}

pub(super) fn holder_that_ended() -> Outcome {
    static VALUE: Mutex<u64> = Mutex::new(1);
    let holder = thread::spawn(|| {
        let guard = VALUE.lock();
        thread::yield_now();
        core::mem::forget(guard);
        // SAFETY: nothing on its stack is anybody's.
        unsafe { thread::exit() }
    })?;
    thread::yield_now();
    let waiter = thread::spawn(|| match VALUE.lock() {
        Err(LockError::HolderEnded(mut guard)) => {
            *guard += 1;
            true
        }
        _ => false,
    })?;
    check_eq!(holder.join().err(), Some(exopi_sched::Ended::Exited));
    check!(waiter.join()?, "nobody was told");
    check_eq!(VALUE.lock().map(|guard| *guard).ok(), Some(2));
    Ok(())
}

pub(super) fn condition() -> Outcome {
    static TURN: Mutex<u64> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    let mut handles = Vec::new();
    for me in 0..3 {
        handles.push(thread::spawn(move || {
            for _ in 0..20 {
                let Ok(turn) = TURN.lock() else { return false };
                let Ok(mut turn) = CHANGED.wait_while(turn, |turn| *turn % 3 != me) else {
                    return false;
                };
                *turn += 1;
                drop(turn);
                CHANGED.notify_all();
            }
            true
        })?);
    }
    for handle in handles {
        check!(handle.join()?);
    }
    check_eq!(TURN.lock().map(|turn| *turn).ok(), Some(60));
    Ok(())
}

pub(super) fn channel() -> Outcome {
    static WORDS: Channel<u64, 3> = Channel::new();
    static SENDERS: Semaphore = Semaphore::new(0);
    let mut senders = Vec::new();
    for name in 0..3_u64 {
        senders.push(thread::spawn(move || {
            (0..100).all(|index| WORDS.send(name * 1000 + index).is_ok())
        })?);
    }
    let mut receivers = Vec::new();
    for _ in 0..2 {
        receivers.push(thread::spawn(|| {
            let mut sum = 0;
            while let Ok(word) = WORDS.receive() {
                sum += word;
                SENDERS.give();
            }
            sum
        })?);
    }
    for sender in senders {
        check!(sender.join()?);
    }
    for _ in 0..300 {
        SENDERS.take();
    }
    WORDS.close();
    let mut sum = 0;
    for receiver in receivers {
        sum += receiver.join()?;
    }
    check_eq!(sum, 3 * 4950 + 100 * 3000);
    check!(WORDS.send(1).is_err());
    Ok(())
}

/// Rounds of [`timers`] at most: one in which a thread came too late to sleep shows nothing.
const TIMER_ROUNDS: usize = 50;

pub(super) fn timers() -> Outcome {
    let millisecond = time::ticks_per_second() / 1000;
    for _ in 0..TIMER_ROUNDS {
        let in_time = sleep_in_three(millisecond)?;
        let order = logged();
        if in_time {
            check_eq!(order, [1, 2, 3]);
            return Ok(());
        }
    }
    Err(Failure::new("no round in which all slept in time"))
}

/// Three threads sleep until one, two and three milliseconds from now and log the order of their
/// waking. Whether all of them were asleep before the first was due: the machine may be busy with
/// others in between, and who comes after its time does not sleep.
fn sleep_in_three(millisecond: u64) -> Result<bool, Failure> {
    let begin = time::ticks();
    let mut handles = Vec::new();
    for wait in [3, 1, 2] {
        handles.push(thread::spawn(move || {
            let asked = time::ticks();
            thread::sleep_until(begin + wait * millisecond);
            log(wait);
            (asked, time::ticks() >= begin + wait * millisecond)
        })?);
    }
    let mut in_time = true;
    for handle in handles {
        let (asked, late_enough) = handle.join()?;
        check!(late_enough, "woken early");
        in_time &= asked < begin + millisecond;
    }
    Ok(in_time)
}

pub(super) fn words_are_watched() -> Outcome {
    static WORD: AtomicU64 = AtomicU64::new(5);
    static OTHER: AtomicU64 = AtomicU64::new(6);
    let watcher = thread::spawn(|| thread::wait_while(&WORD, 5, None))?;
    let late = thread::spawn(|| thread::wait_while(&OTHER, 6, Some(time::ticks() + 1000)))?;
    thread::yield_now();
    // Nobody is woken: it is seen.
    WORD.store(6, Ordering::Release);
    watcher.join()??;
    check_eq!(late.join()?, Err(exopi_sched::Error::TimedOut));
    Ok(())
}

/// Three tasks: one counts, one adds what it is sent, one waits for the clock.
fn tasks(tasks: &'static Tasks<3>) -> Result<u64, exopi_sched::Error> {
    static WORDS: Channel<u64, 2> = Channel::new();
    static SUM: AtomicU64 = AtomicU64::new(0);
    SUM.store(0, Ordering::Relaxed);
    let sender = pin!(async {
        for word in 1..=100 {
            if WORDS.sent(word).await.is_err() {
                return;
            }
        }
        let _ = WORDS.sent(0).await;
    });
    let receiver = pin!(async {
        while let Ok(word) = WORDS.received().await
            && word != 0
        {
            SUM.fetch_add(word, Ordering::Relaxed);
        }
    });
    let timer = pin!(async {
        for _ in 0..3 {
            executor::after(time::ticks_per_second() / 2000).await;
            SUM.fetch_add(10_000, Ordering::Relaxed);
        }
    });
    tasks.run([sender, receiver, timer])?;
    Ok(SUM.load(Ordering::Relaxed))
}

pub(super) fn executor() -> Outcome {
    static TASKS: Tasks<3> = Tasks::new();
    static ONE: Tasks<1> = Tasks::new();
    static WORDS: Channel<u64, 1> = Channel::new();
    check_eq!(tasks(&TASKS)?, 35_050);
    // A task and a thread on two sides of a channel.
    let thread = thread::spawn(|| (0..50).all(|word| WORDS.send(word).is_ok()))?;
    let mut sum = 0;
    let task = pin!(async {
        for _ in 0..50 {
            sum += WORDS.received().await.unwrap_or(0);
        }
    });
    ONE.run([task])?;
    check!(thread.join()?);
    check_eq!(sum, 1225);
    Ok(())
}

pub(super) fn executor_without_threads() -> Outcome {
    static TASKS: Tasks<3> = Tasks::new();
    check_eq!(tasks(&TASKS)?, 35_050);
    Ok(())
}
