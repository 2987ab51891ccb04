//! The table behind its lock, and the steps that change who runs.
//!
//! ```text
//!   enter        mask upcalls, take the lock                    --> Inside
//!   Inside drop  give the lock back, unmask
//!   switch       the lock goes with the core: A enters, leaves its context for B's; B, which has
//!                entered long before, is back from its own switch and drops its own Inside
//! ```
//!
//! The lock is held across a switch, so no other environment can go on with a thread whose registers are
//! not yet in memory. Whether upcalls are masked is a matter of the flow of control, so each Inside brings
//! back what was there when it was made.
//!
//! A thread may come back from a switch in another environment. So nothing that depends on the
//! environment is kept across one: not the u-area's address, not the worker's number.
#![expect(unsafe_code, reason = "the table behind a lock that a switch hands on")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::environment as environments;
use exopi_rt::local::Word;
use exopi_rt::upcall::{self, Masked};

use crate::arch::{self, Context};
use crate::lock::Owner;
use crate::stack::Stack;
use crate::table::{Ended, Outcome, Table, ThreadId, ThreadIndex, WORKERS, Wait};

/// What belongs to a thread beside its slot: where it goes on, and on what stack.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) context: Context,
    pub(crate) stack: Option<Stack>,
    /// Bytes at the stack's upper end that are no stack.
    pub(crate) reserved: u64,
}

impl Seat {
    pub(crate) const EMPTY: Self = Self {
        context: Context::new(),
        stack: None,
        reserved: 0,
    };
}

/// A table in use.
pub(crate) struct Installed {
    pub(crate) table: Table<'static>,
    seats: &'static mut [Seat],
    /// Where workers go on when there is nobody to run.
    idle: [Context; WORKERS],
}

impl Installed {
    pub(crate) const fn new(table: Table<'static>, seats: &'static mut [Seat]) -> Self {
        Self {
            table,
            seats,
            idle: [const { Context::new() }; WORKERS],
        }
    }

    pub(crate) fn seat(&mut self, thread: ThreadIndex) -> Option<&mut Seat> {
        self.seats.get_mut(thread.get())
    }

    /// Where a thread goes on, or the worker itself for nobody.
    fn context(&mut self, thread: Option<ThreadIndex>, worker: usize) -> *mut Context {
        let seat = thread.and_then(|thread| self.seats.get_mut(thread.get()));
        match (seat, self.idle.get_mut(worker)) {
            (Some(seat), _) => &raw mut seat.context,
            (None, Some(idle)) => idle,
            // A thread of the table has a seat, a worker is below the bound.
            (None, None) => core::ptr::null_mut(),
        }
    }
}

/// All of it. The lock's word comes first: assembly knows it there.
#[repr(C)]
pub(crate) struct Runtime {
    owner: Owner,
    installed: UnsafeCell<Option<Installed>>,
    /// Grows when threads become ready: what idle workers watch.
    ready: AtomicU64,
    #[cfg(not(target_os = "none"))]
    pub(crate) host: arch::Host,
}

// SAFETY: what is not atomic is reached only through an `Inside`, by the lock's owner.
unsafe impl Sync for Runtime {}

impl Runtime {
    pub(crate) const fn new() -> Self {
        Self {
            owner: Owner::nobody(),
            installed: UnsafeCell::new(None),
            ready: AtomicU64::new(0),
            #[cfg(not(target_os = "none"))]
            host: arch::Host::new(),
        }
    }
}

/// The program's.
#[cfg(target_os = "none")]
pub(crate) static RUNTIME: Runtime = Runtime::new();

#[cfg(target_os = "none")]
#[inline(always)]
pub(crate) fn runtime() -> &'static Runtime {
    &RUNTIME
}

#[cfg(not(target_os = "none"))]
std::thread_local! {
    /// Off target each test has its own, which the threads inherit that it makes.
    static RUNTIME: core::cell::Cell<Option<&'static Runtime>> = const { core::cell::Cell::new(None) };
}

/// The calling thread's.
#[cfg(not(target_os = "none"))]
pub(crate) fn runtime() -> &'static Runtime {
    use std::boxed::Box;
    RUNTIME.get().unwrap_or_else(|| {
        let new: &Runtime = Box::leak(Box::new(Runtime::new()));
        install(new);
        new
    })
}

/// From now on that is the calling thread's.
#[cfg(not(target_os = "none"))]
pub(crate) fn install(runtime: &'static Runtime) {
    RUNTIME.set(Some(runtime));
}

/// The environment's word that names the thread which it runs; 0 for none.
const CURRENT: Option<Word> = Word::new(0);
/// The environment's word with its number as a worker, plus one.
const WORKER: Option<Word> = Word::new(1);

/// The thread that the caller is; `None` if it is none, as handlers of upcalls are the thread that they
/// interrupt.
#[inline]
pub(crate) fn current() -> Option<ThreadId> {
    CURRENT.and_then(|word| ThreadId::from_word(word.get()))
}

pub(crate) fn set_current(thread: Option<ThreadId>) {
    if let Some(word) = CURRENT {
        word.set(thread.map_or(0, ThreadId::word));
    }
}

/// The calling environment's number as a worker. Off target there is one worker.
#[cfg(target_os = "none")]
fn worker() -> usize {
    let word = WORKER.map_or(0, Word::get);
    (word as usize).saturating_sub(1)
}

#[cfg(not(target_os = "none"))]
const fn worker() -> usize {
    0
}

/// The right to change the table.
pub(crate) struct Inside {
    runtime: &'static Runtime,
    /// Dropped behind the lock.
    masked: Option<Masked>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.runtime.owner.release();
        drop(self.masked.take());
    }
}

/// Whether the calling environment is inside already.
pub(crate) fn is_inside() -> bool {
    runtime().owner.is(arch::environment())
}

/// Takes the lock. `None` if there is no table.
pub(crate) fn enter() -> Option<Inside> {
    let masked = Some(upcall::mask());
    let runtime = runtime();
    let orphaned = runtime.owner.take();
    let mut inside = Inside { runtime, masked };
    if orphaned {
        inside.bury_workers();
    }
    inside.place().is_some().then_some(inside)
}

/// The lock came with a switch to a thread that has never run.
fn arrive() -> Inside {
    Inside {
        runtime: runtime(),
        masked: Some(Masked::taken_over()),
    }
}

/// Puts a table in use. False if there is one already.
pub(crate) fn set_up(installed: Installed) -> bool {
    let mut inside = take_empty();
    let place = inside.place();
    if place.is_some() {
        return false;
    }
    *place = Some(installed);
    true
}

/// Takes the table out of use, unless a worker is there.
pub(crate) fn take_down() -> bool {
    let mut inside = take_empty();
    let place = inside.place();
    let used = place
        .as_ref()
        .is_some_and(|it| it.table.workers.iter().any(|worker| worker.present));
    if !used {
        *place = None;
    }
    !used
}

fn take_empty() -> Inside {
    let masked = Some(upcall::mask());
    let runtime = runtime();
    runtime.owner.take();
    Inside { runtime, masked }
}

impl Inside {
    fn place(&mut self) -> &mut Option<Installed> {
        // SAFETY: whoever has an `Inside` has the lock, and there is one for each flow of control that has
        // entered: those that gave the core away have none of this in hand.
        unsafe { &mut *self.runtime.installed.get() }
    }

    /// Runs `work` on the table, if there is one.
    pub(crate) fn with<T>(&mut self, work: impl FnOnce(&mut Installed) -> T) -> Option<T> {
        self.place().as_mut().map(work)
    }

    /// Those that watch whether somebody is ready look again.
    fn announce(&self) {
        self.runtime.ready.fetch_add(1, Ordering::Release);
    }

    /// Takes what died with its environment out of the table.
    #[cold]
    fn bury_workers(&mut self) {
        let now = arch::now();
        self.with(|it| {
            it.table
                .repair(&mut |worker| !arch::is_alive(worker.name), now);
        });
        self.announce();
    }

    /// Goes on with whom the policy picks, or with the worker itself; back when somebody goes on here. The
    /// caller has been taken off the worker, and is `me`.
    #[inline(never)]
    fn reschedule(&mut self, me: ThreadId) {
        let Some((from, to)) = self.next(Some(me.index())) else {
            return;
        };
        if from != to {
            // SAFETY: `from` is the caller's own context, `to` that of a thread which is on no core, as the
            // table says and the lock makes sure, or of the worker that waits under this thread.
            unsafe { arch::switch(from, to) };
        }
        set_current(Some(me));
    }

    /// Where the caller, who has been taken off the worker, leaves its state, and where to go on. Who that is
    /// is noted now: one that was interrupted will not note it.
    fn next(&mut self, from: Option<ThreadIndex>) -> Option<(*mut Context, *mut Context)> {
        let (worker, now) = (worker(), arch::now());
        self.with(|it| {
            it.table.fire(now);
            let to = it.table.pick(worker, now);
            set_current(to.and_then(|to| it.table.id(to)));
            (it.context(from, worker), it.context(to, worker))
        })
    }
}

/// Gives the core away to whoever is next, and comes back in turn.
pub(crate) fn yield_now() {
    let Some((me, mut inside)) = current().zip(enter()) else {
        environments::yield_now();
        return;
    };
    let now = arch::now();
    inside.with(|it| it.table.put_back(worker(), false, now));
    inside.reschedule(me);
}

/// Waits, if `still` is true under the lock: who changes what it looks at, and then wakes, wakes the caller.
/// Waiting may end early; the caller looks again.
///
/// Who is no thread gives the environment's core away once instead.
pub(crate) fn park(wait: Wait, still: impl FnOnce() -> bool) -> Outcome {
    park_in(|_| (wait, still()))
}

/// The same, for who must see the table to know what to wait for, and whether to.
pub(crate) fn park_in(look: impl FnOnce(Option<&Table<'static>>) -> (Wait, bool)) -> Outcome {
    arch::chance();
    let mut inside = enter();
    let table = inside.as_mut().and_then(|inside| inside.place().as_ref());
    let (wait, still) = look(table.map(|it| &it.table));
    let Some((me, mut inside)) = current().zip(inside.take()) else {
        drop(inside);
        return wait_outside(wait, still);
    };
    if !still {
        return Outcome::Woken;
    }
    let now = arch::now();
    if wait.deadline.is_some_and(|deadline| deadline <= now) {
        return Outcome::TimedOut;
    }
    inside.with(|it| it.table.park(worker(), wait, now));
    inside.reschedule(me);
    let outcome = inside.with(|it| it.table.slot(me.index()).map(|slot| slot.outcome));
    outcome.flatten().unwrap_or(Outcome::Woken)
}

fn wait_outside(wait: Wait, still: bool) -> Outcome {
    if !still {
        return Outcome::Woken;
    }
    if wait
        .deadline
        .is_some_and(|deadline| deadline <= arch::now())
    {
        return Outcome::TimedOut;
    }
    environments::yield_now();
    Outcome::Woken
}

/// Does something with the table that may make threads ready, and lets one of those run at once that
/// outranks the caller.
pub(crate) fn wake<T>(work: impl FnOnce(&mut Table<'static>, u64) -> T) -> Option<T> {
    arch::chance();
    let mut inside = enter()?;
    let now = arch::now();
    let done = inside.with(|it| work(&mut it.table, now));
    inside.announce();
    let outranked = inside.with(|it| it.table.is_outranked(worker())) == Some(true);
    if let Some(me) = current().filter(|_| outranked && !arch::in_upcall()) {
        inside.with(|it| it.table.put_back(worker(), false, now));
        inside.reschedule(me);
    }
    done
}

/// Wakes the first thread that waits for a key.
pub(crate) fn wake_one(key: u64) {
    wake(|table, now| table.wake_one(key, now).is_some());
}

/// Wakes all threads that wait for a key.
pub(crate) fn wake_all(key: u64) {
    wake(|table, now| table.wake_all(key, now));
}

/// The first step of a new thread: it is `me`, and the lock that came with the core is given back.
pub(crate) fn begin(me: ThreadId) {
    set_current(Some(me));
    drop(arrive());
}

/// The calling thread has ended; returns what to go on with, by [`arch::leave`] or by the return of its first
/// function. The lock goes there.
pub(crate) fn end(mut inside: Inside, ended: Ended) -> *mut Context {
    let now = arch::now();
    inside.with(|it| it.table.end(worker(), ended, now));
    inside.announce();
    let next = inside.next(None);
    // It is the next one's.
    core::mem::forget(inside);
    next.map_or(core::ptr::null_mut(), |(_, to)| to)
}

/// What a worker does next.
pub(crate) enum Turn {
    /// A thread ran, or threads ended.
    Ran,
    /// Nobody is ready. The ready count was this.
    Idle(u64),
    /// There are no threads any more.
    Over,
}

/// The calling environment becomes a worker. False if there is no room for one, or no table.
pub(crate) fn join_workers() -> bool {
    let name = arch::environment();
    let Some(mut inside) = enter() else {
        return false;
    };
    let index = inside.with(|it| {
        let workers = it.table.workers.iter_mut().enumerate();
        let (index, free) = workers.into_iter().find(|(_, worker)| !worker.present)?;
        (free.present, free.name) = (true, name);
        Some(index)
    });
    let Some(index) = index.flatten() else {
        return false;
    };
    if let Some(word) = WORKER {
        word.set(index as u64 + 1);
    }
    true
}

/// Runs a thread until it gives the core away and nobody is ready.
pub(crate) fn turn() -> Turn {
    let Some(mut inside) = enter() else {
        return Turn::Over;
    };
    let here = worker();
    let seen = inside.runtime.ready.load(Ordering::Acquire);
    match inside.next(None) {
        Some((from, to)) if from != to => {
            // SAFETY: as in `reschedule`; `from` is the worker's own.
            unsafe { arch::switch(from, to) };
            set_current(None);
            Turn::Ran
        }
        _ if inside.with(|it| it.table.living()) == Some(0) => {
            inside.with(|it| {
                if let Some(worker) = it.table.workers.get_mut(here) {
                    worker.present = false;
                }
            });
            Turn::Over
        }
        _ => {
            let dead = |it: &mut Installed| {
                let mut others = it.table.workers.iter();
                others.any(|other| other.present && !arch::is_alive(other.name))
            };
            if inside.with(dead) == Some(true) {
                inside.bury_workers();
            }
            Turn::Idle(seen)
        }
    }
}

/// The count of threads that became ready, for who watches it.
pub(crate) fn ready_count() -> &'static AtomicU64 {
    &runtime().ready
}

/// Interrupts the calling environment's thread, whose state an upcall has left in `frame` and `vectors`, and
/// has the upcall's end go on with whom the policy picks.
#[cfg(target_os = "none")]
pub(crate) fn preempt(frame: &mut exopi_rt::uarea::Frame, vectors: &mut exopi_rt::uarea::Vectors) {
    let Some((me, mut inside)) = current().zip(enter()) else {
        return;
    };
    let (here, now) = (worker(), arch::now());
    inside.with(|it| it.table.put_back(here, true, now));
    let next = inside.next(Some(me.index()));
    let Some((from, to)) = next.filter(|(from, to)| from != to) else {
        return;
    };
    // SAFETY: `from` is the context of the thread that was interrupted, `to` that of one on no core.
    if !unsafe { arch::begin_handler(from, to, frame, vectors) } {
        // It gave its core away inside; there it has the lock, and gives it back.
        core::mem::forget(inside);
    }
}
