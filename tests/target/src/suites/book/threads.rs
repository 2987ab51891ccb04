//! Threads by deadline, a channel between them, and tasks beside them.

use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::time;
use exopi_sched::executor::{self, Tasks};
use exopi_sched::sync::{Channel, Mutex};
use exopi_sched::thread::{self, Builder};
use exopi_sched::{EarliestDeadline, Scheduler, Share};

use crate::harness::{Failure, Outcome};

/// Room for eight threads, and who of them runs: the one with the earliest deadline.
static THREADS: Scheduler<EarliestDeadline<8>, 8> = Scheduler::new(EarliestDeadline::new());
/// Samples on their way.
static SAMPLES: Channel<u64, 4> = Channel::new();
/// The sum of what came.
static SUM: Mutex<u64> = Mutex::new(0);
/// Room for two tasks.
static TASKS: Tasks<2> = Tasks::new();
/// How often the second task has looked.
static LOOKS: AtomicU64 = AtomicU64::new(0);

/// The first thread. It has no deadline: it runs when no other one wants to.
fn main() -> Outcome {
    // Every millisecond for at most a tenth of one. That much is kept free for it, or it is refused.
    let period = time::ticks_per_second() / 1000;
    let share = Share::Deadline {
        period,
        budget: period / 10,
    };
    let sampler = Builder::new().name("sampler").share(share).spawn(move || {
        let mut next = time::ticks();
        for sample in 1..=5 {
            next += period;
            thread::sleep_until(next);
            if SAMPLES.send(sample).is_err() {
                return;
            }
        }
        SAMPLES.close();
    })?;

    // Tasks share this thread, and wait for the same channel as threads do.
    let adder = pin!(async {
        while let Ok(sample) = SAMPLES.received().await {
            // An error says that who had it has ended in the middle.
            if let Ok(mut sum) = SUM.lock() {
                *sum += sample;
            }
        }
    });
    let looker = pin!(async {
        for _ in 0..3 {
            executor::after(period).await;
            LOOKS.fetch_add(1, Ordering::Relaxed);
        }
    });
    TASKS.run([adder, looker])?;
    Ok(sampler.join()?)
}

pub(super) fn threads_and_tasks() -> Outcome {
    // It returns when the last thread has ended.
    THREADS.run(main)???;
    let sum = SUM
        .lock()
        .map_err(|_| Failure::new("nobody gave it back"))?;
    check_eq!(*sum, 15);
    check_eq!(LOOKS.load(Ordering::Relaxed), 3);
    Ok(())
}
