//! The executor: with threads beside it, and without.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::primitives::Forward;
use crate::arch;
use crate::executor::{self, Tasks};
use crate::policy::RoundRobin;
use crate::runtime;
use crate::scheduler::Scheduler;
use crate::sync::{Channel, Closed};
use crate::thread::{self, Builder};

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn alone() {
    runtime::install(leak(runtime::Runtime::new()));
}

#[test]
fn tasks_wait_for_each_other() {
    alone();
    let words = leak(Channel::<u64, 1>::new());
    let sums = [0, 0].map(core::cell::Cell::new);
    let sender = pin!(async {
        for word in 1..=20 {
            words.sent(word).await.unwrap();
        }
        words.close();
    });
    let receive = async |sum: &core::cell::Cell<u64>| {
        while let Ok(word) = words.received().await {
            sum.set(sum.get() + word);
            executor::yield_now().await;
        }
    };
    let (one, two) = (pin!(receive(&sums[0])), pin!(receive(&sums[1])));
    let tasks = leak(Tasks::<3>::new());
    tasks.run_with([sender, one, two], &mut Forward).unwrap();
    let sums = sums.each_ref().map(core::cell::Cell::get);
    assert_eq!(sums.iter().sum::<u64>(), 210);
}

#[test]
fn timers_come_in_their_order() {
    alone();
    let log = core::cell::RefCell::new(Vec::new());
    let task = async |ticks: u64| {
        for round in 1..=3 {
            executor::after(ticks).await;
            log.borrow_mut().push((ticks, round));
        }
    };
    let (slow, fast) = (pin!(task(1000)), pin!(task(310)));
    let tasks = leak(Tasks::<2>::new());
    tasks.run_with([slow, fast], &mut Forward).unwrap();
    let log = log.into_inner();
    assert_eq!(log[..3], [(310, 1), (310, 2), (310, 3)]);
    assert_eq!(log[3..], [(1000, 1), (1000, 2), (1000, 3)]);
}

#[test]
fn tasks_and_threads_meet_at_channels() {
    alone();
    arch::set_chance(0x5eed);
    let scheduler = leak(Scheduler::<_, 4>::new(RoundRobin::<4>::new()));
    let main = || {
        let (up, down) = (
            leak(Channel::<u64, 2>::new()),
            leak(Channel::<u64, 2>::new()),
        );
        let thread = thread::spawn(move || {
            while let Ok(word) = up.receive() {
                down.send(word + 1).unwrap();
            }
        });
        let mut word = 0;
        let task = pin!(async {
            for _ in 0..20 {
                up.sent(word).await.unwrap();
                word = down.received().await.unwrap();
            }
            up.close();
        });
        leak(Tasks::<1>::new()).run([task]).unwrap();
        thread.unwrap().join().unwrap();
        word
    };
    let outcome = scheduler.run_with(Builder::new(), main, &mut Forward);
    assert_eq!(outcome, Ok(Ok(20)));
}

/// A task that was dropped while it waited takes nobody's value, and nobody's turn.
#[test]
fn a_dropped_task_is_nobody() {
    alone();
    let words = leak(Channel::<u64, 1>::new());
    {
        let mut gone = words.received();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(Pin::new(&mut gone).poll(&mut context), Poll::Pending);
    }
    let mut got = None;
    let receiver = pin!(async { got = words.received().await.ok() });
    let sender = pin!(async {
        executor::yield_now().await;
        words.sent(9).await.unwrap();
    });
    let tasks = leak(Tasks::<2>::new());
    tasks.run_with([receiver, sender], &mut Forward).unwrap();
    assert_eq!(got, Some(9));
    words.close();
    let mut refused = words.sent(1);
    let mut context = Context::from_waker(Waker::noop());
    let outcome = Pin::new(&mut refused).poll(&mut context);
    assert_eq!(outcome, Poll::Ready(Err(Closed(1))));
}

/// More tasks wait than a channel can note: each gets its value.
#[test]
fn more_tasks_than_a_channel_knows() {
    alone();
    let words = leak(Channel::<u64, 1>::new());
    let got = core::cell::Cell::new(0);
    let one = async || {
        let word = words.received().await.unwrap();
        got.set(got.get() + word);
    };
    let mut six = [(); 6].map(|()| Box::pin(one()));
    let sender = pin!(async {
        for _ in 0..10 {
            executor::yield_now().await;
        }
        for word in 1..=6 {
            words.sent(word).await.unwrap();
        }
    });
    let [a, b, c, d, e, f] = &mut six;
    let tasks = leak(Tasks::<7>::new());
    let all: [Pin<&mut dyn Future<Output = ()>>; 7] = [
        a.as_mut(),
        b.as_mut(),
        c.as_mut(),
        d.as_mut(),
        e.as_mut(),
        f.as_mut(),
        sender,
    ];
    tasks.run_with(all, &mut Forward).unwrap();
    assert_eq!(got.get(), 21);
}
