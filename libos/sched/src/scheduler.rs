//! A scheduler: a policy, room for threads, and the loop in which environments run them.
#![expect(unsafe_code, reason = "a static that is used by one run at a time")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::arch;
use crate::error::Error;
use crate::heap::Cell;
use crate::policy::Policy;
use crate::runtime::{self, Installed, Seat, Turn};
use crate::sleep::{AddOn, Sleep, Terms, Yielding};
use crate::table::{Ended, Slot, Table, TimerCell};
use crate::thread::{self, Builder};

/// Most add-ons of a scheduler.
pub const ADD_ONS: usize = 4;

/// Room for `N` threads, and the policy `P` that they run by. A program has it in a static, and runs one at a
/// time.
pub struct Scheduler<P, const N: usize> {
    /// It runs, and all below is that run's.
    running: AtomicBool,
    parts: UnsafeCell<Parts<P, N>>,
    add_ons: [UnsafeCell<Option<&'static dyn AddOn>>; ADD_ONS],
    /// Add-ons that are there.
    count: AtomicUsize,
}

struct Parts<P, const N: usize> {
    policy: P,
    slots: [Slot; N],
    timers: [TimerCell; N],
    seats: [Seat; N],
}

// SAFETY: the parts belong to whoever has set `running`; add-ons are written before they are counted and
// not changed after that.
unsafe impl<P: Policy, const N: usize> Sync for Scheduler<P, N> {}

impl<P, const N: usize> core::fmt::Debug for Scheduler<P, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Scheduler")
            .field("threads", &N)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl<P: Policy + 'static, const N: usize> Scheduler<P, N> {
    /// With a policy without threads, which should have room for as many.
    pub const fn new(policy: P) -> Self {
        Self {
            running: AtomicBool::new(false),
            parts: UnsafeCell::new(Parts {
                policy,
                slots: [Slot::FREE; N],
                timers: [Cell::empty((0, 0)); N],
                seats: [Seat::EMPTY; N],
            }),
            add_ons: [const { UnsafeCell::new(None) }; ADD_ONS],
            count: AtomicUsize::new(0),
        }
    }

    /// Adds something to be done beside the threads, for good. Only before the scheduler runs.
    ///
    /// # Errors
    /// [`Error::Running`]; [`Error::Full`] beyond [`ADD_ONS`].
    pub fn add(&'static self, add_on: &'static dyn AddOn) -> Result<(), Error> {
        if self.running.swap(true, Ordering::Acquire) {
            return Err(Error::Running);
        }
        let count = self.count.load(Ordering::Relaxed);
        let added = self.add_ons.get(count).ok_or(Error::Full).map(|place| {
            // SAFETY: nobody else adds, as `running` is set, and nobody reads beyond the count.
            unsafe { *place.get() = Some(add_on) };
            self.count.store(count + 1, Ordering::Release);
        });
        self.running.store(false, Ordering::Release);
        added
    }

    /// Runs `main` as the first thread, with all threads that it makes, until the last one has ended, and
    /// returns what `main` returned. When nobody can run, the core goes to others in turn.
    ///
    /// # Errors
    /// [`Error::Running`]; those of [`Builder::spawn`]. The inner result is how `main` ended.
    pub fn run<T, F>(&'static self, main: F) -> Result<Result<T, Ended>, Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run_with(Builder::new().name("main"), main, &mut Yielding)
    }

    /// The same, with `main` on a thread as `builder` says, and another way to sleep.
    ///
    /// # Errors
    /// Those of [`Scheduler::run`].
    pub fn run_with<T, F>(
        &'static self,
        builder: Builder,
        main: F,
        sleep: &mut dyn Sleep,
    ) -> Result<Result<T, Ended>, Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.running.swap(true, Ordering::Acquire) {
            return Err(Error::Running);
        }
        // SAFETY: this run is the only one from here to `take_down`, and nothing else reaches the parts.
        let parts = unsafe { &mut *self.parts.get() };
        let table = Table::new(&mut parts.slots, &mut parts.timers, &mut parts.policy);
        if !runtime::set_up(Installed::new(table, &mut parts.seats)) {
            self.running.store(false, Ordering::Release);
            return Err(Error::Running);
        }
        let outcome = builder.spawn(main).map(|handle| {
            self.serve(sleep);
            handle.join()
        });
        thread::reap();
        while !runtime::take_down() {
            sleep.until(Some(arch::now()), &[]);
            exopi_rt::environment::yield_now();
        }
        // SAFETY: as above; the table is gone. Threads that nobody has joined have left stacks.
        for seat in unsafe { &mut (*self.parts.get()).seats } {
            drop(seat.stack.take());
        }
        self.running.store(false, Ordering::Release);
        outcome
    }

    /// Runs threads in the calling environment too, as long as there are any: for environments of the same
    /// space on other cores, while the scheduler [`run`](Scheduler::run)s in another one.
    ///
    /// # Errors
    /// [`Error::NotRunning`]; [`Error::Full`] if as many as can already do.
    pub fn work(&'static self, sleep: &mut dyn Sleep) -> Result<(), Error> {
        if !self.running.load(Ordering::Acquire) {
            return Err(Error::NotRunning);
        }
        if self.serve(sleep) {
            Ok(())
        } else {
            Err(Error::Full)
        }
    }

    fn add_ons(&self) -> impl Iterator<Item = &'static dyn AddOn> {
        let count = self.count.load(Ordering::Acquire);
        self.add_ons
            .iter()
            .take(count)
            // SAFETY: those that are counted are not written any more.
            .filter_map(|place| unsafe { *place.get() })
    }

    /// The loop of a worker. False if it could not become one.
    fn serve(&self, sleep: &mut dyn Sleep) -> bool {
        if !runtime::join_workers() {
            return false;
        }
        loop {
            let now = arch::now();
            self.add_ons().for_each(|add_on| add_on.at_slice_begin(now));
            match runtime::turn() {
                Turn::Ran => thread::reap(),
                Turn::Idle(seen) => self.sleep(seen, sleep),
                Turn::Over => return true,
            }
        }
    }

    /// Sleeps until a thread could be ready. `seen` threads had become so when nobody was.
    fn sleep(&self, seen: u64, sleep: &mut dyn Sleep) {
        let mut terms = Terms::new();
        terms.watch(runtime::ready_count(), seen);
        if let Some(mut inside) = runtime::enter() {
            inside.with(|it| {
                if let Some(deadline) = it.table.next_deadline() {
                    terms.wake_at(deadline);
                }
                for watch in it.table.watches() {
                    terms.watch(watch.word, watch.holds);
                }
            });
        }
        let now = arch::now();
        for add_on in self.add_ons() {
            add_on.before_sleep(now, &mut terms);
        }
        terms.sleep(sleep);
    }
}
