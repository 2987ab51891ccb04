//! What threads wait for each other by, under random schedules: wherever a thread of a program could be
//! interrupted between two of the library's steps, it is, one time in four.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::any;
use proptest::test_runner::TestRunner;

use crate::arch;
use crate::policy::{EarliestDeadline, Policy, RoundRobin, Share, Stride};
use crate::runtime;
use crate::scheduler::Scheduler;
use crate::sleep::{AddOn, Sleep, Terms, Watch};
use crate::sync::{Channel, Condvar, LockError, Mutex, Refused, Semaphore};
use crate::thread::{self, Builder};
use crate::{Ended, Error};

const N: usize = 8;

/// A sleep in which the clock goes on to the next deadline. Without one there is nothing to wait for: a
/// deadlock, which fails the test.
pub(super) struct Forward;

impl Sleep for Forward {
    fn until(&mut self, deadline: Option<u64>, words: &[Watch]) {
        if words.iter().any(|watch| watch.has_changed()) {
            return;
        }
        match deadline {
            Some(tick) => runtime::runtime().host.advance(tick),
            None => {
                println!("every thread waits");
                std::process::abort();
            }
        }
    }
}

/// Runs `main` under each of many seeds, and each policy; a failure names the seed.
fn under_seeds(main: fn()) {
    fn with<P: Policy + 'static>(policy: P, seed: u64, main: fn()) {
        // A runtime and a scheduler for each, so that a failure leaves nothing behind.
        runtime::install(Box::leak(Box::new(runtime::Runtime::new())));
        let scheduler: &'static Scheduler<P, N> = Box::leak(Box::new(Scheduler::new(policy)));
        arch::set_chance(seed);
        let main = move || {
            let outcome = std::panic::catch_unwind(main);
            if outcome.is_err() {
                println!("with the seed {seed:#x}");
            }
            outcome.is_ok()
        };
        let outcome = scheduler.run_with(Builder::new(), main, &mut Forward);
        assert_eq!(outcome, Ok(Ok(true)), "seed {seed:#x}");
    }
    let mut runner = TestRunner::new(proptest::test_runner::Config::with_cases(24));
    let outcome = runner.run(&any::<u64>(), |seed| {
        with(RoundRobin::<N>::new(), seed | 1, main);
        with(Stride::<N>::new(), seed | 1, main);
        with(EarliestDeadline::<N>::new(), seed | 1, main);
        Ok(())
    });
    outcome.unwrap();
}

/// Leaks a value: threads take statics.
fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

#[test]
fn mutexes_exclude_and_are_fair() {
    under_seeds(|| {
        let value = leak(Mutex::new((0_u64, 0_u64)));
        let handles = [1, 2, 3].map(|_| {
            thread::spawn(move || {
                for _ in 0..10 {
                    let mut pair = value.lock().unwrap();
                    assert_eq!(pair.0, pair.1);
                    pair.0 += 1;
                    thread::yield_now();
                    pair.1 += 1;
                }
            })
            .unwrap()
        });
        for handle in handles {
            handle.join().unwrap();
        }
        assert_eq!(*value.lock().unwrap(), (30, 30));
        let guard = value.try_lock().unwrap();
        assert!(value.try_lock().is_none());
        assert!(matches!(value.lock(), Err(LockError::Deadlock)));
        let other = thread::spawn(move || {
            let soon = Some(arch::now() + 100);
            matches!(value.lock_until(soon), Err(LockError::TimedOut))
        });
        assert_eq!(other.unwrap().join(), Ok(true));
        drop(guard);
        assert!(value.try_lock().is_some());
    });
}

#[test]
fn a_mutex_outlives_its_holders() {
    under_seeds(|| {
        let value = leak(Mutex::new(0_u64));
        let told = leak(AtomicU64::new(0));
        let handles = [1, 2, 3, 4].map(|index| {
            thread::spawn(move || {
                let mut guard = match value.lock() {
                    Ok(guard) => guard,
                    Err(LockError::HolderEnded(guard)) => {
                        told.fetch_add(1, Ordering::Relaxed);
                        guard
                    }
                    Err(error) => panic!("{error:?}"),
                };
                *guard += 1;
                thread::yield_now();
                if index % 2 == 0 {
                    core::mem::forget(guard);
                    #[expect(unsafe_code, reason = "the test of it")]
                    // SAFETY: nothing on the stack is anybody's.
                    unsafe {
                        thread::exit()
                    }
                }
            })
            .unwrap()
        });
        let ended = handles.map(|handle| handle.join());
        assert_eq!(
            ended.iter().filter(|it| **it == Err(Ended::Exited)).count(),
            2
        );
        // Each of the two was followed by somebody: another thread, or this one.
        if value.lock().is_err() {
            told.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(told.load(Ordering::Relaxed), 2);
        assert_eq!(*value.lock().unwrap(), 4);
    });
}

/// Who waits behind a second holder hears of that one's end, though the first is still there.
#[test]
fn waiters_know_who_holds_it_now() {
    under_seeds(|| {
        let value = leak(Mutex::new(0_u64));
        let guard = value.lock().unwrap();
        let second = thread::spawn(move || {
            core::mem::forget(value.lock());
            thread::yield_now();
            #[expect(unsafe_code, reason = "the test of it")]
            // SAFETY: nothing on the stack is anybody's.
            unsafe {
                thread::exit()
            }
        });
        // Both wait, one after the other.
        thread::sleep(1000);
        let third = thread::spawn(move || matches!(value.lock(), Err(LockError::HolderEnded(_))));
        thread::sleep(1000);
        drop(guard);
        assert_eq!(third.unwrap().join(), Ok(true));
        assert_eq!(second.unwrap().join().err(), Some(Ended::Exited));
    });
}

#[test]
fn no_notification_is_missed() {
    under_seeds(|| {
        let (turn, changed) = (leak(Mutex::new(0_u64)), leak(Condvar::new()));
        let handles = [0, 1, 2].map(|me| {
            thread::spawn(move || {
                for _ in 0..6 {
                    let guard = turn.lock().unwrap();
                    let mut guard = changed.wait_while(guard, |turn| *turn % 3 != me).unwrap();
                    *guard += 1;
                    drop(guard);
                    changed.notify_all();
                }
            })
            .unwrap()
        });
        for handle in handles {
            handle.join().unwrap();
        }
        let guard = turn.lock().unwrap();
        assert_eq!(*guard, 18);
        let (_guard, over) = changed.wait_until(guard, Some(arch::now() + 50)).unwrap();
        assert!(over, "notified by nobody");
    });
}

#[test]
fn semaphores_count() {
    under_seeds(|| {
        let (units, inside) = (leak(Semaphore::new(2)), leak(AtomicU64::new(0)));
        let handles = [1, 2, 3, 4].map(|_| {
            thread::spawn(move || {
                for _ in 0..6 {
                    let _unit = units.acquire();
                    assert!(inside.fetch_add(1, Ordering::Relaxed) < 2);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .unwrap()
        });
        for handle in handles {
            handle.join().unwrap();
        }
        assert_eq!(units.units(), 2);
        assert!(units.try_take() && units.try_take());
        let late = units.take_until(Some(arch::now() + 10));
        assert_eq!(late, Err(Error::TimedOut));
    });
}

#[test]
fn channels_lose_nothing_and_keep_the_order_of_each_sender() {
    under_seeds(|| {
        let words = leak(Channel::<(u64, u64), 2>::new());
        let senders = [0, 1].map(|name| {
            thread::spawn(move || {
                for index in 0..12 {
                    words.send((name, index)).unwrap();
                }
            })
            .unwrap()
        });
        let receivers = [0, 1].map(|_| {
            thread::spawn(move || {
                let mut got = Vec::new();
                while let Ok(word) = words.receive() {
                    got.push(word);
                }
                got
            })
            .unwrap()
        });
        for sender in senders {
            sender.join().unwrap();
        }
        words.close();
        let got = receivers.map(|receiver| receiver.join().unwrap());
        for got in &got {
            for name in 0..2 {
                let mine: Vec<u64> = got
                    .iter()
                    .filter(|it| it.0 == name)
                    .map(|it| it.1)
                    .collect();
                assert!(mine.is_sorted(), "{mine:?}");
            }
        }
        let mut all = got.concat();
        all.sort_unstable();
        let expected: Vec<_> = (0..2)
            .flat_map(|name| (0..12).map(move |it| (name, it)))
            .collect();
        assert_eq!(all, expected);
        assert_eq!(words.try_send((0, 0)), Err(Refused::Closed((0, 0))));
        assert_eq!(words.try_receive(), Err(Refused::Closed(())));
    });
}

#[test]
fn channels_give_up_in_time() {
    under_seeds(|| {
        let words = leak(Channel::<u64, 1>::new());
        let late = words.receive_until(Some(arch::now() + 20));
        assert_eq!(late, Err(Refused::Waits(())));
        words.send(1).unwrap();
        let late = words.send_until(2, Some(arch::now() + 20));
        assert_eq!(late, Err(Refused::Waits(2)));
        assert_eq!((words.len(), words.receive()), (1, Ok(1)));
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_times() {
    under_seeds(|| {
        let log = leak(Mutex::new(Vec::new()));
        let begin = arch::now() + 10_000;
        let handles = [300, 100, 200].map(|wait| {
            thread::spawn(move || {
                thread::sleep_until(begin + wait);
                assert!(arch::now() > begin + wait);
                log.lock().unwrap().push(wait);
            })
            .unwrap()
        });
        for handle in handles {
            handle.join().unwrap();
        }
        assert_eq!(*log.lock().unwrap(), [100, 200, 300]);
    });
}

#[test]
fn threads_that_go_their_way_leave_their_slots() {
    under_seeds(|| {
        let dropped = leak(AtomicU64::new(0));
        struct Counts(&'static AtomicU64);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        for _ in 0..30 {
            let result = Counts(dropped);
            thread::spawn(move || result).unwrap().detach();
            while thread::list(&mut []) > 3 {
                thread::yield_now();
            }
        }
        while thread::list(&mut []) > 1 {
            thread::yield_now();
        }
        thread::spawn(|| ()).unwrap().join().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 30);
    });
}

/// An add-on that wakes a thread at its times, by a word that the thread watches.
struct Clockwork {
    next: AtomicU64,
    word: AtomicU64,
    slept: AtomicBool,
}

impl AddOn for Clockwork {
    fn at_slice_begin(&self, now: u64) {
        if self.next.load(Ordering::Relaxed) <= now {
            self.next.store(now + 500, Ordering::Relaxed);
            self.word.fetch_add(1, Ordering::Release);
        }
    }

    fn before_sleep(&self, _: u64, terms: &mut Terms) {
        self.slept.store(true, Ordering::Relaxed);
        terms.wake_at(self.next.load(Ordering::Relaxed));
    }
}

/// Without the add-on's own term nobody would wake the thread that waits for it: the test would end there.
#[test]
fn add_ons_add_their_terms() {
    runtime::install(leak(runtime::Runtime::new()));
    let clockwork = leak(Clockwork {
        next: AtomicU64::new(500),
        word: AtomicU64::new(0),
        slept: AtomicBool::new(false),
    });
    let scheduler = leak(Scheduler::<_, N>::new(RoundRobin::<N>::new()));
    scheduler.add(clockwork).unwrap();
    let main = || {
        for turn in 0..5 {
            thread::wait_while(&clockwork.word, turn, None).unwrap();
        }
        thread::wait_while(&clockwork.word, 5, Some(arch::now() + 3))
    };
    let outcome = scheduler.run_with(Builder::new(), main, &mut Forward);
    assert_eq!(outcome, Ok(Ok(Err(Error::TimedOut))));
    assert!(clockwork.slept.load(Ordering::Relaxed));
}

/// Who becomes ready with an earlier deadline has the core before the step that woke it returns.
#[test]
fn an_earlier_deadline_runs_at_once() {
    runtime::install(leak(runtime::Runtime::new()));
    let policy = EarliestDeadline::<N>::new();
    let scheduler = leak(Scheduler::<_, N>::new(policy));
    let main = || {
        let (go, ran) = (leak(Semaphore::new(0)), leak(AtomicU64::new(0)));
        let urgent = Share::Deadline {
            period: 1000,
            budget: 100,
        };
        let handle = Builder::new().share(urgent).spawn(move || {
            go.take();
            ran.store(1, Ordering::Relaxed);
        });
        thread::yield_now();
        go.give();
        let at_once = ran.load(Ordering::Relaxed);
        handle.unwrap().join().unwrap();
        at_once
    };
    assert_eq!(
        scheduler.run_with(Builder::new(), main, &mut Forward),
        Ok(Ok(1))
    );
}

#[test]
fn a_lock_is_taken_over_from_one_that_died() {
    use crate::lock::Owner;
    let owner = leak(Owner::nobody());
    let dead = std::thread::spawn(|| {
        owner.take();
        arch::environment()
    });
    let dead = dead.join().unwrap();
    let waiter = std::thread::spawn(|| owner.take());
    std::thread::sleep(core::time::Duration::from_millis(20));
    assert!(!waiter.is_finished(), "taken from one that is alive");
    arch::declare_dead(dead);
    assert!(waiter.join().unwrap(), "not told that it was taken over");
}
