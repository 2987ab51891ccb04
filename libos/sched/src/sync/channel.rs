//! Bounded channels between any number of threads, and tasks of executors, on both sides.
//!
//! ```text
//!   send --> [ first ... last ] --> receive
//!            full: senders wait     empty: receivers wait; closed and empty: they are told
//! ```
//!
//! The values are under a lock that is held for as long as it takes to move one, with upcalls masked. Who
//! finds no room, or no value, counts itself under the lock before it waits, so whoever makes room, or
//! brings a value, knows whether there is anybody to wake.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::key_of;
use crate::arch;
use crate::lock::Lock;
use crate::runtime;
use crate::table::{Outcome, Wait};

/// Tasks that a side can know to be waiting. One more, and all look again: nobody is forgotten.
const WAKERS: usize = 4;

/// Those who wait on one side.
#[derive(Debug)]
struct Side {
    /// Threads that wait, or are about to.
    threads: usize,
    wakers: [Option<Waker>; WAKERS],
}

/// Whom a step has to wake, once the lock is given back.
struct Called {
    thread: bool,
    wakers: [Option<Waker>; WAKERS],
}

impl Side {
    const EMPTY: Self = Self {
        threads: 0,
        wakers: [const { None }; WAKERS],
    };

    /// There is something for somebody. Of threads one is enough; a task that was told may have been
    /// dropped, so all are.
    fn call(&mut self) -> Called {
        Called {
            thread: self.threads > 0,
            wakers: core::mem::replace(&mut self.wakers, [const { None }; WAKERS]),
        }
    }

    /// A task waits. If there is no room to note it, all are called.
    fn note(&mut self, waker: &Waker) -> Option<Called> {
        let same = |known: &Option<Waker>| known.as_ref().is_some_and(|it| it.will_wake(waker));
        if self.wakers.iter().any(same) {
            return None;
        }
        let overflow = self.wakers.iter().all(Option::is_some).then(|| self.call());
        if let Some(place) = self.wakers.iter_mut().find(|place| place.is_none()) {
            *place = Some(waker.clone());
        }
        overflow
    }
}

impl Called {
    /// Wakes them. `key` is what the side's threads wait for.
    fn wake(self, key: u64) {
        for waker in self.wakers.into_iter().flatten() {
            waker.wake();
        }
        if self.thread {
            runtime::wake_one(key);
        }
    }
}

/// The values, and who waits for them.
#[derive(Debug)]
struct Ring<T, const N: usize> {
    values: [Option<T>; N],
    first: usize,
    len: usize,
    closed: bool,
    senders: Side,
    receivers: Side,
}

impl<T, const N: usize> Ring<T, N> {
    /// Appends a value, or gives it back.
    fn push(&mut self, value: T) -> Result<Called, T> {
        let last = (self.first + self.len).checked_rem(N).unwrap_or(0);
        match self.values.get_mut(last).filter(|_| self.len < N) {
            None => Err(value),
            Some(place) => {
                *place = Some(value);
                self.len += 1;
                Ok(self.receivers.call())
            }
        }
    }

    fn pop(&mut self) -> Option<(T, Called)> {
        let value = self.values.get_mut(self.first)?.take()?;
        self.first = (self.first + 1).checked_rem(N).unwrap_or(0);
        self.len -= 1;
        Some((value, self.senders.call()))
    }
}

/// The other side does not go on: of a value that was to be sent, or none comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed<T>(pub T);

/// Why a value was not sent, or none received. The value comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The channel is closed.
    Closed(T),
    /// There was no room, or no value, in time.
    Waits(T),
}

/// A queue of at most `N` values.
#[derive(Debug)]
pub struct Channel<T, const N: usize> {
    ring: Lock<Ring<T, N>>,
    /// Addresses to wait by.
    room: u8,
    values: u8,
}

impl<T, const N: usize> Default for Channel<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Channel<T, N> {
    /// Empty.
    pub const fn new() -> Self {
        const { assert!(N > 0, "a channel without room") };
        Self {
            ring: Lock::new(Ring {
                values: [const { None }; N],
                first: 0,
                len: 0,
                closed: false,
                senders: Side::EMPTY,
                receivers: Side::EMPTY,
            }),
            room: 0,
            values: 0,
        }
    }

    /// Values that are in it.
    pub fn len(&self) -> usize {
        self.ring.with(|ring| ring.len)
    }

    /// Whether no value is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From now on nothing can be sent; what is in it can be received. Everybody who waits is told.
    pub fn close(&self) {
        let (senders, receivers) = self.ring.with(|ring| {
            ring.closed = true;
            (ring.senders.call(), ring.receivers.call())
        });
        senders.wake(key_of(&self.room));
        receivers.wake(key_of(&self.values));
        runtime::wake_all(key_of(&self.room));
        runtime::wake_all(key_of(&self.values));
    }

    /// Sends a value if there is room for it now.
    ///
    /// # Errors
    /// The value, and why it was not sent.
    pub fn try_send(&self, value: T) -> Result<(), Refused<T>> {
        arch::chance();
        let called = self.ring.with(|ring| {
            if ring.closed {
                return Err(Refused::Closed(value));
            }
            ring.push(value).map_err(Refused::Waits)
        })?;
        called.wake(key_of(&self.values));
        Ok(())
    }

    /// Sends a value, when there is room for it.
    ///
    /// # Errors
    /// The value, if the channel is closed.
    pub fn send(&self, value: T) -> Result<(), Closed<T>> {
        let mut value = value;
        loop {
            match self.send_until(value, None) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed(back)) => return Err(Closed(back)),
                Err(Refused::Waits(back)) => value = back,
            }
        }
    }

    /// Sends a value, when there is room for it, if that is before the clock shows `deadline`.
    ///
    /// # Errors
    /// The value, and why it was not sent.
    pub fn send_until(&self, mut value: T, deadline: Option<u64>) -> Result<(), Refused<T>> {
        let mut over = false;
        loop {
            match self.try_send(value) {
                Err(Refused::Waits(back)) if !over => value = back,
                outcome => return outcome,
            }
            let full = |ring: &mut Ring<T, N>| ring.len == N && !ring.closed;
            over = self.wait(&self.room, |ring| &mut ring.senders, full, deadline);
        }
    }

    /// A value, if one is there now.
    ///
    /// # Errors
    /// Why there is none.
    pub fn try_receive(&self) -> Result<T, Refused<()>> {
        arch::chance();
        let (value, called) = self.ring.with(|ring| match ring.pop() {
            Some(found) => Ok(found),
            None if ring.closed => Err(Refused::Closed(())),
            None => Err(Refused::Waits(())),
        })?;
        called.wake(key_of(&self.room));
        Ok(value)
    }

    /// A value, when one is there.
    ///
    /// # Errors
    /// The channel is closed, and nothing is in it.
    pub fn receive(&self) -> Result<T, Closed<()>> {
        loop {
            match self.receive_until(None) {
                Ok(value) => return Ok(value),
                Err(Refused::Closed(())) => return Err(Closed(())),
                Err(Refused::Waits(())) => {}
            }
        }
    }

    /// A value, when one is there, if that is before the clock shows `deadline`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn receive_until(&self, deadline: Option<u64>) -> Result<T, Refused<()>> {
        let mut over = false;
        loop {
            match self.try_receive() {
                Err(Refused::Waits(())) if !over => {}
                outcome => return outcome,
            }
            let empty = |ring: &mut Ring<T, N>| ring.len == 0 && !ring.closed;
            over = self.wait(&self.values, |ring| &mut ring.receivers, empty, deadline);
        }
    }

    /// Waits on one side while `still` holds. True if the deadline has passed.
    fn wait(
        &self,
        place: &u8,
        side: fn(&mut Ring<T, N>) -> &mut Side,
        still: fn(&mut Ring<T, N>) -> bool,
        deadline: Option<u64>,
    ) -> bool {
        let wait = Wait {
            key: key_of(place),
            deadline,
            ..Wait::NONE
        };
        let count = |ring: &mut Ring<T, N>| {
            side(ring).threads += 1;
            still(ring)
        };
        let outcome = runtime::park(wait, || self.ring.with(count));
        // Who was woken and does not take what it was woken for, since its time is over, wakes the next.
        let others = self.ring.with(|ring| {
            let threads = &mut side(ring).threads;
            *threads = threads.saturating_sub(1);
            *threads > 0 && !still(ring)
        });
        if others {
            runtime::wake_one(key_of(place));
        }
        outcome == Outcome::TimedOut
    }

    /// Sends a value, as a future.
    pub const fn sent(&self, value: T) -> Sent<'_, T, N> {
        Sent {
            channel: self,
            value: Some(value),
        }
    }

    /// A value, as a future.
    pub const fn received(&self) -> Received<'_, T, N> {
        Received { channel: self }
    }
}

/// A value on its way into a channel. Its outcome is as that of [`Channel::send`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Sent<'a, T, const N: usize> {
    channel: &'a Channel<T, N>,
    value: Option<T>,
}

/// The value is never pinned.
impl<T, const N: usize> Unpin for Sent<'_, T, N> {}

impl<T, const N: usize> Future for Sent<'_, T, N> {
    type Output = Result<(), Closed<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(value) = self.value.take() else {
            // It was sent; who asks again is told so.
            return Poll::Ready(Ok(()));
        };
        let channel = self.channel;
        let (outcome, overflow) = channel.ring.with(|ring| {
            if ring.closed {
                return (Err(Refused::Closed(value)), None);
            }
            match ring.push(value) {
                Ok(called) => (Ok(called), None),
                Err(value) => (
                    Err(Refused::Waits(value)),
                    ring.senders.note(context.waker()),
                ),
            }
        });
        if let Some(overflow) = overflow {
            overflow.wake(key_of(&channel.room));
        }
        match outcome {
            Ok(called) => {
                called.wake(key_of(&channel.values));
                Poll::Ready(Ok(()))
            }
            Err(Refused::Closed(value)) => Poll::Ready(Err(Closed(value))),
            Err(Refused::Waits(value)) => {
                self.value = Some(value);
                Poll::Pending
            }
        }
    }
}

/// A value on its way out of a channel. Its outcome is as that of [`Channel::receive`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Received<'a, T, const N: usize> {
    channel: &'a Channel<T, N>,
}

impl<T, const N: usize> Future for Received<'_, T, N> {
    type Output = Result<T, Closed<()>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let channel = self.channel;
        let (found, overflow) = channel.ring.with(|ring| match ring.pop() {
            Some(found) => (Ok(found), None),
            None if ring.closed => (Err(true), None),
            None => (Err(false), ring.receivers.note(context.waker())),
        });
        if let Some(overflow) = overflow {
            overflow.wake(key_of(&channel.values));
        }
        match found {
            Ok((value, called)) => {
                called.wake(key_of(&channel.room));
                Poll::Ready(Ok(value))
            }
            Err(true) => Poll::Ready(Err(Closed(()))),
            Err(false) => Poll::Pending,
        }
    }
}
