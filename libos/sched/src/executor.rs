//! An executor: tasks that wait for each other, timers and channels on one stack, without a heap.
//!
//! ```text
//!   static TASKS: Tasks<2> = Tasks::new();
//!   let one = pin!(async { ... });  let two = pin!(async { ... });
//!   TASKS.run([one, two])           returns when both are done
//! ```
//!
//! Futures stay where their owner has pinned them, in a static or on a stack; the executor has a few words
//! for each: is it ready, and when does it want to be woken. A waker is the address of these words, which
//! are static, so a waker may live as long as it likes, and be used from any thread, handler of upcalls or
//! core.
//!
//! When no task is ready the executor waits: as a thread in the scheduler's table, and without one by giving
//! the environment's core away.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use crate::arch;
use crate::error::Error;
use crate::runtime;
use crate::sleep::{Sleep, Watch, Yielding};
use crate::table::Wait;

/// The words of a task.
#[derive(Debug)]
struct Task {
    ready: AtomicBool,
    /// The tick at which it wants to be polled; the end of time for none.
    deadline: AtomicU64,
    /// What counts the wake-ups of the executor.
    bell: &'static AtomicU64,
}

/// Counts wake-ups of all executors: each looks for ready tasks when it has grown. One for all, since
/// a task must know it before its executor has an address.
static BELL: AtomicU64 = AtomicU64::new(0);

/// Room for `N` tasks that run together.
#[derive(Debug)]
pub struct Tasks<const N: usize> {
    running: AtomicBool,
    tasks: [Task; N],
}

impl<const N: usize> Default for Tasks<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Tasks<N> {
    /// Without tasks.
    pub const fn new() -> Self {
        Self {
            running: AtomicBool::new(false),
            tasks: [const {
                Task {
                    ready: AtomicBool::new(false),
                    deadline: AtomicU64::new(u64::MAX),
                    bell: &BELL,
                }
            }; N],
        }
    }

    /// Runs tasks until all are done. On a thread, others run while all tasks wait.
    ///
    /// # Errors
    /// [`Error::Running`].
    pub fn run(&'static self, tasks: [Pin<&mut dyn Future<Output = ()>>; N]) -> Result<(), Error> {
        self.run_with(tasks, &mut Yielding)
    }

    /// The same, with another way to sleep where there is no thread.
    ///
    /// # Errors
    /// [`Error::Running`].
    pub fn run_with(
        &'static self,
        tasks: [Pin<&mut dyn Future<Output = ()>>; N],
        sleep: &mut dyn Sleep,
    ) -> Result<(), Error> {
        if self.running.swap(true, Ordering::Acquire) {
            return Err(Error::Running);
        }
        for task in &self.tasks {
            task.deadline.store(u64::MAX, Ordering::Relaxed);
            task.ready.store(true, Ordering::Relaxed);
        }
        let mut tasks = tasks.map(Some);
        while tasks.iter().any(Option::is_some) {
            let seen = BELL.load(Ordering::Acquire);
            if !self.poll(&mut tasks) {
                self.wait(seen, sleep);
            }
        }
        self.running.store(false, Ordering::Release);
        Ok(())
    }

    /// Polls each task that is ready once. False if none was.
    fn poll(&'static self, tasks: &mut [Option<Pin<&mut dyn Future<Output = ()>>>; N]) -> bool {
        let now = arch::now();
        let mut polled = false;
        for (task, place) in self.tasks.iter().zip(tasks) {
            let due = task.deadline.load(Ordering::Relaxed) <= now;
            let Some(future) = place else { continue };
            if !task.ready.swap(false, Ordering::AcqRel) && !due {
                continue;
            }
            polled = true;
            // Timers that still wait say so again.
            task.deadline.store(u64::MAX, Ordering::Relaxed);
            let waker = waker(task);
            if future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
            {
                *place = None;
            }
        }
        polled
    }

    /// Waits until a task is woken that was not when the bell showed `seen`, or a task's time has come.
    fn wait(&'static self, seen: u64, sleep: &mut dyn Sleep) {
        let deadlines = self.tasks.iter();
        let deadlines = deadlines.map(|task| task.deadline.load(Ordering::Relaxed));
        let deadline = deadlines.min().filter(|deadline| *deadline != u64::MAX);
        if runtime::current().is_none() {
            let bell = Watch {
                word: &BELL,
                holds: seen,
            };
            sleep.until(deadline, &[bell]);
            return;
        }
        let wait = Wait {
            key: BELL_KEY,
            deadline,
            ..Wait::NONE
        };
        runtime::park(wait, || BELL.load(Ordering::Acquire) == seen);
    }
}

/// What executors wait for in the table: a number that is no thing's address and no thread's end.
const BELL_KEY: u64 = u64::MAX - 1;

/// What wakers do. Their pointer is a static task's, so cloning and dropping is nothing.
static WAKES: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &WAKES),
    |data| wake(task_of(data)),
    |data| wake(task_of(data)),
    |_| {},
);

#[expect(unsafe_code, reason = "a waker's pointer")]
fn task_of<'a>(data: *const ()) -> &'a Task {
    // SAFETY: only `waker` makes wakers with these functions, out of static tasks.
    unsafe { &*data.cast::<Task>() }
}

#[expect(unsafe_code, reason = "a waker's functions")]
fn waker(task: &'static Task) -> Waker {
    let data = core::ptr::from_ref(task).cast();
    // SAFETY: the functions take a static task, and only touch its atomic words.
    unsafe { Waker::from_raw(RawWaker::new(data, &WAKES)) }
}

fn wake(task: &Task) {
    if !task.ready.swap(true, Ordering::AcqRel) {
        task.bell.fetch_add(1, Ordering::Release);
        runtime::wake_all(BELL_KEY);
    }
}

/// A future that is ready when the clock shows a tick.
#[derive(Clone, Copy, Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Timer {
    tick: u64,
}

/// Ready when the clock shows `tick`.
pub const fn at(tick: u64) -> Timer {
    Timer { tick }
}

/// Ready after so many ticks of the counter from now on.
pub fn after(ticks: u64) -> Timer {
    at(arch::now().saturating_add(ticks))
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.tick <= arch::now() {
            return Poll::Ready(());
        }
        let waker = context.waker();
        if core::ptr::eq(waker.vtable(), &WAKES) {
            let task = task_of(waker.data());
            task.deadline.fetch_min(self.tick, Ordering::Relaxed);
        } else {
            // Somebody else's waker knows no time: it is asked again and again.
            waker.wake_by_ref();
        }
        Poll::Pending
    }
}

/// Lets other tasks go first, once.
pub async fn yield_now() {
    let mut yielded = false;
    core::future::poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
