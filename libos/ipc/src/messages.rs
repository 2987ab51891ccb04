//! Messages that the kernel copies: many senders, one receiver, any cores, and no memory that two of them share.
//!
//! ```text
//!   Sender --gate--> kernel --copy--> | entry | entry | ...   pages of the receiver's    MessageRing
//!                                       sender's name, badge of its gate: the kernel's word
//! ```
//!
//! [`ring`](crate::ring) is for parties that share pages and trust one another to keep them in order; this is for all
//! others. Who sends needs the right to call the receiver, and can do nothing to the messages of others but take room
//! for them. The layout, and when the notice comes, is [`exopi_rt::msgring`]'s.
//!
//! A receiver looks at a message where it lies ([`MessageRing::look`]) or has a copy. The entry is given back when
//! it has been looked at, and the next message behind it is found then.

mod asking;

use core::sync::atomic::{AtomicU64, Ordering, fence};

use exopi_rt::domain::ObjectName;
use exopi_rt::msgring::{
    ENTRY_WORDS, HEAD, HEADER_WORDS, Head, MESSAGE_BYTES, MESSAGE_WORDS, SENDER,
};
use exopi_rt::{Environment, Error, PageNumber, environment, exposed, stubs};

use crate::gate::Gate;
use crate::wait::Wait;
use crate::wire::{self, Malformed, Wire};

pub use asking::{Asker, answer};

#[cfg(test)]
mod tests;

/// An entry of a ring.
type Entry = [AtomicU64; ENTRY_WORDS as usize];

/// A message in the receiver's ring.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'r> {
    /// Who has sent it. The kernel vouches for it.
    pub sender: ObjectName,
    /// The badge of the gate that it came through; 0 if that has none. The kernel vouches for it, too.
    pub badge: u32,
    length: usize,
    body: &'r [AtomicU64],
}

impl<'r> Letter<'r> {
    /// Bytes of the message, at most [`MESSAGE_BYTES`].
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The words of the message where it lies, as far as they are whole. Nobody writes them before the entry is given
    /// back, but who the receiver lets write into its pages.
    pub fn words(&self) -> &'r [AtomicU64] {
        self.body.get(..self.length / 8).unwrap_or_default()
    }

    /// Copies the message to the first bytes of `into`, as far as there is room, and gives those.
    pub fn copy<'b>(&self, into: &'b mut [u8]) -> &'b [u8] {
        let length = self.length.min(into.len());
        let (part, _) = into.split_at_mut(length);
        for (bytes, word) in part.chunks_mut(8).zip(self.body) {
            let word = word.load(Ordering::Relaxed).to_le_bytes();
            for (to, byte) in bytes.iter_mut().zip(word) {
                *to = byte;
            }
        }
        part
    }

    /// The value that the message is, all of it.
    ///
    /// # Errors
    /// [`Malformed`]: it is none.
    pub fn value<T: Wire>(&self) -> Result<T, Malformed> {
        let mut words = [0; MESSAGE_WORDS];
        if !self.length.is_multiple_of(8) {
            return Err(Malformed);
        }
        let found = self.words();
        for (to, word) in words.iter_mut().zip(found) {
            *to = word.load(Ordering::Relaxed);
        }
        wire::decode(words.get(..found.len()).unwrap_or_default())
    }
}

/// The calling environment's ring: it has one at a time. Dropped, it has none.
#[derive(Debug)]
pub struct MessageRing {
    entries: &'static [Entry],
    first: PageNumber,
    /// How many messages it has taken. Nobody else knows that.
    taken: u64,
}

impl MessageRing {
    /// Makes an empty ring in `memory`, at most 16 whole pages, of which the first is `first` and the others follow it.
    /// Notice `bit` tells of messages, see [`exopi_rt::msgring`]. What ring the environment had is no more.
    ///
    /// # Errors
    /// Those of `msgring_set`.
    ///
    /// # Safety
    /// The pages that are mapped at `memory` must be those: the kernel writes into them.
    #[expect(
        unsafe_code,
        reason = "the kernel writes what the caller says is there"
    )]
    pub unsafe fn new(
        memory: &'static [AtomicU64],
        first: PageNumber,
        bit: u64,
    ) -> Result<Self, Error> {
        let (entries, _) = memory.as_chunks();
        let pages = entries.len() as u64 / exopi_rt::msgring::PAGE_ENTRIES;
        // SAFETY: the pages are those of `memory`, the caller says, whose words are atomic.
        unsafe { stubs::msgring_set(first, pages, bit) }?;
        Ok(Self {
            entries,
            first,
            taken: 0,
        })
    }

    /// How many messages there is room for.
    pub const fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Whether the environment still has this ring: revocation may have taken it.
    pub fn is_set(&self) -> bool {
        let index = environment::own().map(|name| name.index);
        let record = index.and_then(exposed::message_ring_at);
        record.is_some_and(|ring| ring.is_set() && ring.first == self.first.get())
    }

    fn next(&self) -> Option<&'static Entry> {
        let count = self.entries.len() as u64;
        let at = self.taken.checked_rem(count)?;
        self.entries.get(at as usize)
    }

    /// Has `look` look at the next message where it lies, if it is there, and gives the entry back.
    ///
    /// `None`: there is no message. If the environment goes to sleep now, the notice gets it going for the next one.
    pub fn look<T>(&mut self, look: impl FnOnce(Letter<'_>) -> T) -> Option<T> {
        let [head, sender, body @ ..] = self.next()?;
        const { assert!(HEAD == 0 && SENDER == 1 && HEADER_WORDS == 2) };
        let found = Head::from_word(head.load(Ordering::Acquire))?;
        let seen = look(Letter {
            sender: ObjectName::from_word(sender.load(Ordering::Relaxed)),
            badge: found.badge,
            length: found.length.into(),
            body,
        });
        head.store(0, Ordering::Release);
        // Before the next head is looked at: or else the kernel might store that and not see yet that this one is free,
        // and post no notice.
        fence(Ordering::SeqCst);
        self.taken = self.taken.wrapping_add(1);
        Some(seen)
    }

    /// The next message as the value that it is, with who has sent it and the badge of its gate, if there is one.
    pub fn try_receive<T: Wire>(&mut self) -> Option<(ObjectName, u32, Result<T, Malformed>)> {
        self.look(|letter| (letter.sender, letter.badge, letter.value()))
    }

    /// Has `look` look at the next message where it lies, waiting for it as long as `wait` does.
    ///
    /// # Errors
    /// What `wait` gives up with; [`Error::Stale`] if the ring was taken.
    pub fn receive<T>(
        &mut self,
        mut look: impl FnMut(Letter<'_>) -> T,
        wait: &mut impl Wait,
    ) -> Result<T, Error> {
        loop {
            if let Some(seen) = self.look(&mut look) {
                return Ok(seen);
            }
            if !self.is_set() {
                return Err(Error::Stale);
            }
            match self.next() {
                Some([head, ..]) => wait.until_changed(head, 0)?,
                None => wait.turn()?,
            }
        }
    }
}

impl Drop for MessageRing {
    fn drop(&mut self) {
        // It is not refused.
        let _cleared = stubs::msgring_clear();
    }
}

/// Who sends, through a gate of its own.
#[derive(Debug)]
pub struct Sender(Gate);

impl Sender {
    /// Binds a gate to the receiver: by ownership, or by a capability with the right to call, whose badge the receiver
    /// is told with each message.
    ///
    /// # Errors
    /// Those of [`Gate::bind`].
    pub fn bind(receiver: Environment<'_>) -> Result<Self, Error> {
        Gate::bind(receiver).map(Self)
    }

    /// Through a gate that is bound.
    pub const fn new(gate: Gate) -> Self {
        Self(gate)
    }

    /// The number of its gate.
    pub const fn slot(&self) -> u64 {
        self.0.slot()
    }

    /// Sends bytes, at most [`MESSAGE_BYTES`], now or not.
    ///
    /// # Errors
    /// Those of `msgring_send`; nothing was sent then. [`Error::RingFull`] is no lasting one.
    pub fn try_send(&self, bytes: &[u8]) -> Result<(), Error> {
        stubs::msgring_send(self.0.slot(), bytes.into())
    }

    /// Sends bytes, waiting for room as long as `wait` does.
    ///
    /// # Errors
    /// As for [`Sender::try_send`], and what `wait` gives up with.
    pub fn send(&self, bytes: &[u8], wait: &mut impl Wait) -> Result<(), Error> {
        loop {
            match self.try_send(bytes) {
                Err(Error::RingFull) => wait.turn()?,
                outcome => return outcome,
            }
        }
    }

    /// Sends a value of at most 30 words, waiting for room as long as `wait` does.
    ///
    /// # Errors
    /// As for [`Sender::send`]; [`Error::TooLong`] if the value has more words than its type says.
    pub fn send_value<T: Wire>(&self, value: &T, wait: &mut impl Wait) -> Result<(), Error> {
        const { assert!(T::WORDS <= MESSAGE_WORDS, "a message has at most 30 words") };
        let mut words = [0; MESSAGE_WORDS];
        let (words, _) = words.split_at_mut(T::WORDS);
        wire::encode(value, words).map_err(|Malformed| Error::TooLong)?;
        let mut bytes = [0; MESSAGE_BYTES];
        let (bytes, _) = bytes.split_at_mut(words.len() * 8);
        for (to, word) in bytes.chunks_mut(8).zip(words.iter()) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        self.send(bytes, wait)
    }
}
