//! Message rings: many senders, one receiver, any cores, nothing but shared words.
//!
//! ```text
//!   word 0           tail: how many places senders have taken
//!   words 1 .. 7     unused
//!   then entries     owner | seven words of a message            one cache line each, a power of two of them
//!
//!   owner of entry n of the ring of C, the k-th time round, p = k * C + n:
//!     p        free: whoever moves the tail from p to p + 1 may fill it
//!     p + 1    full: the receiver's
//!     p + C    free again: the next time round
//! ```
//!
//! This is the bounded queue of D. Vyukov (2010): one compare-and-swap for each message, no lock, and the entries'
//! sequence numbers say whose turn it is. Each sender's messages arrive in its order.
//!
//! # Between parties that do not trust each other
//!
//! Everybody who can write the words can write all of them. What the receiver believes is its own position, which is
//! not in shared memory, and the geometry, which comes from the slice that it was given: so no word leads it
//! elsewhere. A message is loaded once, and the copy is what it sees. An entry whose owner is neither "free" nor
//! "full" is [`ReceiveError::Corrupt`]; [`Receiver::reset`] begins anew.
//!
//! Senders of one ring must trust one another: one that takes a place and does not fill it holds up those behind it,
//! as it would in any queue that keeps one order. The receiver sees that ([`Receiver::is_held_up`]). Those that do
//! not trust one another get a ring each.

use core::sync::atomic::{AtomicU64, Ordering};

use exopi_rt::Error;

use crate::wait::Wait;

#[cfg(test)]
mod tests;

/// Words of a message.
pub const MESSAGE_WORDS: usize = 7;

/// A message.
pub type Message = [u64; MESSAGE_WORDS];

/// Words of an entry, and of what stands before the entries.
const LINE: usize = MESSAGE_WORDS + 1;

/// How often a sender looks again because others were faster, before it says so.
const TRIES: usize = 64;

/// The memory is too small for a ring of two entries: 24 words. With one, "full" and "free the next time round" would
/// be the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// All entries are full.
    Full,
    /// Others were faster many times in a row, or the tail makes no sense.
    Contended,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// None is there.
    Empty,
    /// The next entry is in a state that no sender that keeps the rules makes.
    Corrupt,
}

/// Where things are.
#[derive(Clone, Copy, Debug)]
struct Ring<'m> {
    tail: &'m AtomicU64,
    /// A power of two of them.
    entries: &'m [[AtomicU64; LINE]],
}

impl<'m> Ring<'m> {
    fn new(memory: &'m [AtomicU64]) -> Result<Self, TooSmall> {
        let (lines, _) = memory.as_chunks::<LINE>();
        let [[tail, ..], entries @ ..] = lines else {
            return Err(TooSmall);
        };
        let power = entries.len().checked_ilog2().filter(|power| *power > 0);
        let count = 1 << power.ok_or(TooSmall)?;
        let entries = entries.get(..count).ok_or(TooSmall)?;
        Ok(Self { tail, entries })
    }

    const fn capacity(self) -> u64 {
        self.entries.len() as u64
    }

    /// The entry at a position, whatever that is. There is one.
    #[inline(always)]
    fn entry(self, position: u64) -> Option<(&'m AtomicU64, &'m [AtomicU64])> {
        let index = position as usize & (self.entries.len() - 1);
        let [owner, body @ ..] = self.entries.get(index)?;
        Some((owner, body))
    }
}

/// Who puts messages in. Each party has one of its own, or shares it: it keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'m> {
    ring: Ring<'m>,
}

impl<'m> Sender<'m> {
    /// Sends through the ring in `memory`, which [`Receiver::new`] has made there, on as many words.
    ///
    /// # Errors
    /// [`TooSmall`].
    pub fn new(memory: &'m [AtomicU64]) -> Result<Self, TooSmall> {
        Ring::new(memory).map(|ring| Self { ring })
    }

    /// Puts a message in, now or not.
    ///
    /// # Errors
    /// See [`SendError`]; nothing was sent then.
    pub fn try_send(&self, message: &Message) -> Result<(), SendError> {
        self.attempt(message).map_err(|(error, ..)| error)
    }

    /// As [`Sender::try_send`], but for the word that changes when there may be room, and what it was.
    fn attempt(&self, message: &Message) -> Result<(), (SendError, &'m AtomicU64, u64)> {
        let tail = self.ring.tail;
        let mut position = tail.load(Ordering::Relaxed);
        for _ in 0..TRIES {
            let Some((owner, body)) = self.ring.entry(position) else {
                break;
            };
            let seen = owner.load(Ordering::Acquire);
            match seen.wrapping_sub(position).cast_signed() {
                0 => {
                    let next = position.wrapping_add(1);
                    let taken = tail.compare_exchange_weak(
                        position,
                        next,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    match taken {
                        Ok(_) => {
                            for (to, word) in body.iter().zip(message) {
                                to.store(*word, Ordering::Relaxed);
                            }
                            owner.store(next, Ordering::Release);
                            return Ok(());
                        }
                        Err(now) => position = now,
                    }
                }
                // Not free yet since the last time round.
                ..0 => return Err((SendError::Full, owner, seen)),
                // Somebody was faster.
                1.. => position = tail.load(Ordering::Relaxed),
            }
        }
        Err((SendError::Contended, tail, position))
    }

    /// Puts a message in, waiting for room as long as `wait` does.
    ///
    /// # Errors
    /// What `wait` gives up with; nothing was sent then.
    pub fn send(&self, message: &Message, wait: &mut impl Wait) -> Result<(), Error> {
        while let Err((_, word, seen)) = self.attempt(message) {
            wait.until_changed(word, seen)?;
        }
        Ok(())
    }
}

/// Who takes messages out: one for each ring.
#[derive(Debug)]
pub struct Receiver<'m> {
    ring: Ring<'m>,
    /// How many messages it has taken. Nobody else can change that.
    position: u64,
}

impl<'m> Receiver<'m> {
    /// Makes an empty ring in `memory`, of as many entries as there is room for a power of two of.
    ///
    /// # Errors
    /// [`TooSmall`].
    pub fn new(memory: &'m [AtomicU64]) -> Result<Self, TooSmall> {
        let mut receiver = Self {
            ring: Ring::new(memory)?,
            position: 0,
        };
        receiver.reset();
        Ok(receiver)
    }

    /// How many messages there is room for.
    pub const fn capacity(&self) -> u64 {
        self.ring.capacity()
    }

    /// Makes the ring empty, whatever is in it. A message that is being put in meanwhile may be lost, or found
    /// torn: senders that keep the rules are told to stop before.
    pub fn reset(&mut self) {
        self.position = 0;
        for (owner, position) in self.ring.entries.iter().map(|[owner, ..]| owner).zip(0..) {
            owner.store(position, Ordering::Relaxed);
        }
        self.ring.tail.store(0, Ordering::Release);
    }

    /// Takes the next message, if it is there.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn try_receive(&mut self) -> Result<Message, ReceiveError> {
        let (owner, body) = self
            .ring
            .entry(self.position)
            .ok_or(ReceiveError::Corrupt)?;
        match owner.load(Ordering::Acquire).wrapping_sub(self.position) {
            0 => Err(ReceiveError::Empty),
            1 => {
                let mut message = [0; MESSAGE_WORDS];
                for (to, word) in message.iter_mut().zip(body) {
                    *to = word.load(Ordering::Relaxed);
                }
                let free = self.position.wrapping_add(self.capacity());
                owner.store(free, Ordering::Release);
                self.position = self.position.wrapping_add(1);
                Ok(message)
            }
            _ => Err(ReceiveError::Corrupt),
        }
    }

    /// Takes the next message, waiting as long as `wait` does.
    ///
    /// # Errors
    /// What `wait` gives up with; [`Error::Malformed`] if the ring is [corrupt](ReceiveError::Corrupt).
    pub fn receive(&mut self, wait: &mut impl Wait) -> Result<Message, Error> {
        loop {
            match self.try_receive() {
                Ok(message) => return Ok(message),
                Err(ReceiveError::Corrupt) => return Err(Error::Malformed),
                Err(ReceiveError::Empty) => {
                    let entry = self.ring.entry(self.position);
                    let (owner, _) = entry.ok_or(Error::Malformed)?;
                    wait.until_changed(owner, self.position)?;
                }
            }
        }
    }

    /// Whether somebody has taken the next place and has not filled it. A sender that was interrupted goes on;
    /// if this lasts, it does not, and only [`Receiver::reset`] helps.
    pub fn is_held_up(&self) -> bool {
        let tail = self.ring.tail.load(Ordering::Relaxed);
        let owner = self.ring.entry(self.position);
        tail.wrapping_sub(self.position).cast_signed() > 0
            && owner.is_some_and(|(owner, _)| owner.load(Ordering::Relaxed) == self.position)
    }
}
