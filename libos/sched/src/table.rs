//! The table of threads: who is where, what each waits for, and until when.
//!
//! ```text
//!   Free --admit--> Waiting --wake--> Ready --pick--> Running --end--> Ended --free--> Free
//!                      ^                ^                |
//!                      '------park------+----put_back----'
//! ```
//!
//! All decisions are here, and no mechanism: the table knows no stack, register, clock or lock, and is
//! tested without any. It is changed by one caller at a time, in steps that call nothing of the program's but
//! the policy.
//!
//! Waiting is by *key*, a number that the thing waited for has to itself, its address for instance. So a
//! mutex or a channel needs no list of its own, and there is nothing to take apart when it goes. Waiting
//! threads are found by a hash of the key, in the order in which they came.
//!
//! What a slot says is the truth. Lists, heap and policy follow from it, and [`Table::repair`] makes them
//! anew when an environment has died in the middle of a step.

mod lists;
mod repair;
mod slot;

pub use slot::{Ended, Slot, ThreadId, ThreadIndex, Watch};
pub(crate) use slot::{Outcome, State, Wait};

use core::sync::atomic::{AtomicU32, Ordering};

use crate::heap::{Cell, Heap};
use crate::policy::{Policy, Refused, Share};
use lists::Lists;

/// Environments that may run threads of one table: the cores of a board, and as many again.
pub const WORKERS: usize = 8;

/// An environment that runs threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Worker {
    /// It is here.
    pub(crate) present: bool,
    /// Whom it runs.
    pub(crate) current: Option<ThreadIndex>,
    /// Since when, or when it was charged last.
    since: u64,
    /// Who it is, to find out whether it is alive.
    pub(crate) name: u64,
}

/// The cell of a thread in the heap of deadlines: the tick, then the order of coming.
pub(crate) type TimerCell = Cell<(u64, u64)>;

/// Grows with each thread that begins, in whatever table, so that names do not come twice soon.
static SERIAL: AtomicU32 = AtomicU32::new(1);

/// All threads of a program.
pub(crate) struct Table<'a> {
    slots: &'a mut [Slot],
    timers: Heap<&'a mut [TimerCell]>,
    policy: &'a mut dyn Policy,
    lists: Lists,
    pub(crate) workers: [Worker; WORKERS],
    /// Grows with each thread that waits.
    order: u64,
    /// Threads that have not ended.
    living: usize,
    /// Waiting threads that watch a word.
    watching: usize,
    /// Ended threads that nobody joins.
    unclaimed: usize,
}

impl<'a> Table<'a> {
    /// Without threads, whatever slots and policy knew before.
    pub(crate) fn new(
        slots: &'a mut [Slot],
        timers: &'a mut [TimerCell],
        policy: &'a mut dyn Policy,
    ) -> Self {
        slots.fill(Slot::FREE);
        let mut timers = Heap::new(timers);
        timers.clear();
        policy.clear();
        Self {
            slots,
            timers,
            policy,
            lists: Lists::new(),
            workers: [Worker::default(); WORKERS],
            order: 0,
            living: 0,
            watching: 0,
            unclaimed: 0,
        }
    }

    /// Threads that have not ended.
    pub(crate) const fn living(&self) -> usize {
        self.living
    }

    pub(crate) fn slot(&self, thread: ThreadIndex) -> Option<&Slot> {
        self.slots.get(thread.get())
    }

    pub(crate) fn slot_mut(&mut self, thread: ThreadIndex) -> Option<&mut Slot> {
        self.slots.get_mut(thread.get())
    }

    /// The slot of a thread by its name, if it is that one's still.
    pub(crate) fn named(&self, id: ThreadId) -> Option<&Slot> {
        let slot = self.slot(id.index())?;
        (slot.state != State::Free && slot.serial == id.serial()).then_some(slot)
    }

    /// Whether a thread has not ended.
    pub(crate) fn is_alive(&self, id: ThreadId) -> bool {
        self.named(id)
            .is_some_and(|slot| slot.state != State::Ended)
    }

    /// The name of who has a slot.
    pub(crate) fn id(&self, thread: ThreadIndex) -> Option<ThreadId> {
        let slot = self.slot(thread)?;
        (slot.state != State::Free).then(|| ThreadId::new(thread, slot.serial))
    }

    /// A new thread, which waits until it is [`Table::start`]ed.
    pub(crate) fn admit(
        &mut self,
        name: &'static str,
        share: Share,
        now: u64,
    ) -> Result<ThreadId, Refused> {
        let free = self.slots.iter().position(|slot| slot.state == State::Free);
        let thread = free.and_then(ThreadIndex::new).ok_or(Refused::Full)?;
        self.policy.admit(thread, share, now)?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.slot_mut(thread) {
            *slot = Slot {
                state: State::Waiting,
                serial,
                name,
                share,
                ..Slot::FREE
            };
        }
        self.living += 1;
        Ok(ThreadId::new(thread, serial))
    }

    /// A thread that was admitted is ready.
    pub(crate) fn start(&mut self, thread: ThreadIndex, now: u64) {
        self.wake(thread, Outcome::Woken, now);
    }

    /// Who runs next on a worker, which runs nobody now.
    pub(crate) fn pick(&mut self, worker: usize, now: u64) -> Option<ThreadIndex> {
        let slots = &*self.slots;
        let mut may = |thread: ThreadIndex| {
            let slot = slots.get(thread.get());
            slot.is_some_and(|slot| slot.pinned.is_none_or(|to| usize::from(to) == worker))
        };
        let thread = self.policy.pick(now, &mut may)?;
        let slot = self.slot_mut(thread)?;
        slot.state = State::Running;
        slot.pinned = None;
        let worker = self.workers.get_mut(worker)?;
        worker.current = Some(thread);
        worker.since = now;
        Some(thread)
    }

    /// Whom a worker runs.
    pub(crate) fn current(&self, worker: usize) -> Option<ThreadIndex> {
        self.workers.get(worker)?.current
    }

    /// Charges the thread that a worker runs for the time since it was picked or charged last.
    pub(crate) fn charge(&mut self, worker: usize, now: u64) {
        let Some(worker) = self.workers.get_mut(worker) else {
            return;
        };
        // A turn costs something even if the clock is too coarse to show it: else who gives the core away
        // at once would always be the one who has had least.
        let ticks = now.saturating_sub(worker.since).max(1);
        worker.since = now;
        let Some(thread) = worker.current else {
            return;
        };
        self.policy.charge(thread, ticks, now);
        if let Some(slot) = self.slots.get_mut(thread.get()) {
            slot.used = slot.used.saturating_add(ticks);
        }
    }

    /// Takes the thread that a worker runs off it, charged.
    fn unseat(&mut self, worker: usize, now: u64) -> Option<ThreadIndex> {
        self.charge(worker, now);
        self.workers.get_mut(worker)?.current.take()
    }

    /// The thread that a worker runs is ready again; on that worker only, if it was interrupted there.
    pub(crate) fn put_back(&mut self, worker: usize, pinned: bool, now: u64) {
        let Some(thread) = self.unseat(worker, now) else {
            return;
        };
        if let Some(slot) = self.slot_mut(thread) {
            slot.pinned = pinned.then_some(worker as u8);
            slot.state = State::Ready;
        }
        self.policy.ready(thread, now);
    }

    /// The thread that a worker runs waits.
    pub(crate) fn park(&mut self, worker: usize, wait: Wait, now: u64) {
        let Some(thread) = self.unseat(worker, now) else {
            return;
        };
        self.order += 1;
        let order = self.order;
        let Some(slot) = self.slots.get_mut(thread.get()) else {
            return;
        };
        // The state last, as below: a step that is broken off before it leaves one that runs nowhere.
        slot.wait = wait;
        slot.order = order;
        slot.outcome = Outcome::Waits;
        slot.state = State::Waiting;
        self.policy.block(thread, now);
        self.file(thread);
    }

    /// Enters a waiting thread in what leads to it.
    fn file(&mut self, thread: ThreadIndex) {
        let Some(slot) = self.slot(thread) else {
            return;
        };
        let (wait, order) = (slot.wait, slot.order);
        if wait.key != 0 {
            self.lists.append(self.slots, thread);
        }
        if let Some(deadline) = wait.deadline {
            self.timers.insert(thread, (deadline, order));
        }
        self.watching += usize::from(wait.watch.is_some());
    }

    /// A waiting thread is ready.
    fn wake(&mut self, thread: ThreadIndex, outcome: Outcome, now: u64) {
        let Some(slot) = self.slots.get_mut(thread.get()) else {
            return;
        };
        let wait = core::mem::replace(&mut slot.wait, Wait::NONE);
        slot.state = State::Ready;
        slot.outcome = outcome;
        if wait.key != 0 {
            self.lists.remove(self.slots, thread, wait.key);
        }
        if wait.deadline.is_some() {
            self.timers.remove(thread);
        }
        self.watching -= usize::from(wait.watch.is_some());
        self.policy.ready(thread, now);
    }

    /// The first thread that waits for a key is ready; returns who it is.
    pub(crate) fn wake_one(&mut self, key: u64, now: u64) -> Option<ThreadIndex> {
        let thread = self.lists.first(self.slots, key)?;
        self.wake(thread, Outcome::Woken, now);
        Some(thread)
    }

    /// All threads that wait for a key are ready; returns how many.
    pub(crate) fn wake_all(&mut self, key: u64, now: u64) -> usize {
        let mut count = 0;
        while self.wake_one(key, now).is_some() {
            count += 1;
        }
        count
    }

    /// Whether a thread waits for a key.
    pub(crate) fn is_awaited(&self, key: u64) -> bool {
        self.lists.first(self.slots, key).is_some()
    }

    /// What those waiting for a key wait for belongs to `holder` now.
    pub(crate) fn hand_on(&mut self, key: u64, holder: ThreadId) {
        let mut next = self.lists.first(self.slots, key);
        while let Some(thread) = next {
            if let Some(slot) = self.slots.get_mut(thread.get()) {
                slot.wait.holder = Some(holder);
            }
            next = self.lists.next(self.slots, thread, key);
        }
    }

    /// The thread that a worker runs has ended. Who waits for what it holds hears of it, and so does who joins
    /// it.
    pub(crate) fn end(&mut self, worker: usize, ended: Ended, now: u64) {
        let Some(thread) = self.unseat(worker, now) else {
            return;
        };
        self.policy.block(thread, now);
        self.bury(thread, ended, now);
    }

    fn bury(&mut self, thread: ThreadIndex, ended: Ended, now: u64) {
        let Some(id) = self.id(thread) else {
            return;
        };
        self.policy.leave(thread);
        self.living -= 1;
        if let Some(slot) = self.slot_mut(thread) {
            slot.state = State::Ended;
            slot.ended = ended;
            let detached = slot.detached;
            self.unclaimed += usize::from(detached);
        }
        for index in 0..self.slots.len() {
            let waits = self
                .slots
                .get(index)
                .is_some_and(|slot| slot.state == State::Waiting && slot.wait.holder == Some(id));
            if let Some(waiter) = ThreadIndex::new(index).filter(|_| waits) {
                self.wake(waiter, Outcome::HolderEnded, now);
            }
        }
        self.wake_all(id.end_key(), now);
    }

    /// Nobody will join a thread. False if it has ended already, and its slot is the caller's to free.
    pub(crate) fn detach(&mut self, id: ThreadId) -> bool {
        let alive = self.is_alive(id);
        if let Some(slot) = self.slot_mut(id.index()).filter(|_| alive) {
            slot.detached = true;
        }
        alive
    }

    /// The slot of a thread that has ended is free.
    pub(crate) fn free(&mut self, thread: ThreadIndex) {
        if let Some(slot) = self.slots.get_mut(thread.get())
            && slot.state == State::Ended
        {
            self.unclaimed -= usize::from(slot.detached);
            *slot = Slot::FREE;
        }
    }

    /// An ended thread that nobody joins.
    pub(crate) fn unclaimed(&self) -> Option<ThreadIndex> {
        let mut slots = self.slots.iter();
        let gone = |slot: &Slot| slot.state == State::Ended && slot.detached;
        let found = (self.unclaimed > 0).then(|| slots.position(gone))?;
        found.and_then(ThreadIndex::new)
    }

    /// Wakes those whose time has come, and those whose word has changed.
    pub(crate) fn fire(&mut self, now: u64) {
        while let Some((thread, (deadline, _))) = self.timers.first()
            && deadline <= now
        {
            self.wake(thread, Outcome::TimedOut, now);
        }
        if self.watching > 0 {
            self.look(now);
        }
    }

    fn look(&mut self, now: u64) {
        for index in 0..self.slots.len() {
            let watch = self.slots.get(index).and_then(|slot| slot.wait.watch);
            if let Some(thread) = ThreadIndex::new(index)
                && watch.is_some_and(Watch::has_changed)
            {
                self.wake(thread, Outcome::Woken, now);
            }
        }
    }

    /// The earliest tick at which a thread is to be woken.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.timers.first().map(|(_, (deadline, _))| deadline)
    }

    /// The words that threads watch.
    pub(crate) fn watches(&self) -> impl Iterator<Item = Watch> {
        let slots = self.slots.iter().take(if self.watching > 0 {
            self.slots.len()
        } else {
            0
        });
        slots.filter_map(|slot| slot.wait.watch)
    }

    /// Whether somebody ready should have the core of whom a worker runs.
    pub(crate) fn is_outranked(&self, worker: usize) -> bool {
        self.current(worker)
            .is_some_and(|thread| self.policy.outranks(thread))
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> &[Slot] {
        self.slots
    }
}
