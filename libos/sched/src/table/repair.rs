//! The table after an environment has died, perhaps in the middle of a step.

use super::lists::Lists;
use super::slot::{Ended, Slot, State, ThreadIndex};
use super::{Table, Worker};

impl Table<'_> {
    /// Makes all that follows from the slots anew. `dead` says which workers are gone: the threads that they
    /// ran, and those that were interrupted there, are lost.
    pub(crate) fn repair(&mut self, dead: &mut dyn FnMut(&Worker) -> bool, now: u64) {
        let mut gone = [false; super::WORKERS];
        for (worker, gone) in self.workers.iter_mut().zip(&mut gone) {
            *gone = worker.present && dead(worker);
            if *gone {
                *worker = Worker::default();
            }
        }
        self.lists = Lists::new();
        self.timers.clear();
        self.policy.clear();
        (self.watching, self.unclaimed, self.living) = (0, 0, 0);
        for slot in self.slots.iter_mut() {
            (slot.next, slot.previous) = (None, None);
            self.unclaimed += usize::from(slot.state == State::Ended && slot.detached);
            self.living += usize::from(!matches!(slot.state, State::Free | State::Ended));
        }
        self.enter_ready(now);
        self.file_waiting();
        for index in 0..self.slots.len() {
            let lost = self
                .slots
                .get(index)
                .is_some_and(|slot| self.is_lost(index, slot, &gone));
            if let Some(thread) = ThreadIndex::new(index).filter(|_| lost) {
                self.take_back(thread, now);
                self.bury(thread, Ended::Lost, now);
            }
        }
    }

    /// Whether a thread went with a worker: it ran, and no worker that is left runs it, or only a worker that
    /// is gone could go on with it.
    fn is_lost(&self, index: usize, slot: &Slot, gone: &[bool]) -> bool {
        let runs = |worker: &Worker| worker.current.is_some_and(|thread| thread.get() == index);
        match slot.state {
            State::Running => !self.workers.iter().any(runs),
            State::Ready => slot
                .pinned
                .is_some_and(|worker| gone.get(usize::from(worker)).copied().unwrap_or(true)),
            State::Free | State::Waiting | State::Ended => false,
        }
    }

    /// A ready or running thread counts as asleep for the policy.
    fn take_back(&mut self, thread: ThreadIndex, now: u64) {
        let ready = self
            .slot(thread)
            .is_some_and(|slot| slot.state == State::Ready);
        if ready {
            let mut only = |other| other == thread;
            self.policy.pick(now, &mut only);
        }
        self.policy.block(thread, now);
    }

    /// Tells the policy of all living threads, and of those that are ready in the order of their slots.
    fn enter_ready(&mut self, now: u64) {
        for index in 0..self.slots.len() {
            let Some((thread, slot)) = ThreadIndex::new(index).zip(self.slots.get(index)) else {
                continue;
            };
            if matches!(slot.state, State::Free | State::Ended) {
                continue;
            }
            // It was admitted before, among the same others.
            let _admitted = self.policy.admit(thread, slot.share, now);
            if slot.state == State::Ready {
                self.policy.ready(thread, now);
            }
        }
    }

    /// Enters all waiting threads where they are looked for, in the order in which they came.
    fn file_waiting(&mut self) {
        let mut after = 0;
        while let Some((order, thread)) = self.next_waiting(after) {
            self.file(thread);
            after = order;
        }
    }

    fn next_waiting(&self, after: u64) -> Option<(u64, ThreadIndex)> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.state == State::Waiting && slot.order > after)
            .filter_map(|(index, slot)| Some((slot.order, ThreadIndex::new(index)?)))
            .min()
    }
}
