//! Message rings: messages that the kernel copies into pages of whoever receives them, on whatever core that is.
//!
//! ```text
//!   record   first, pages, bit, written          the kernel's, shown to all
//!   pages    | head 0 | head 0 | head n | ...    the receiver's: written by it at any time
//!                       ^ written % capacity
//! ```
//!
//! Nothing that lies in the pages decides where the kernel writes: the next entry follows from the record. Of what it
//! reads there it asks one thing, whether it is 0: the next entry's head, to know of room, and the head before, to know
//! whether the receiver may sleep ([`exopi_abi::msgring`] tells why that is enough).
//!
//! The pages are pinned while the ring is set, so that they are plain pages of the receiver's account. A ring ends when
//! its owner says so or dies, and when its pages are taken from their account.

use exopi_abi::domain::ObjectName;
use exopi_abi::msgring::{
    HEAD, HEADER_WORDS, Head, MAX_PAGES, MESSAGE_BYTES, MessageRingRecord, SENDER,
};
use exopi_abi::{Error, PageNumber};
use exopi_pages::{Hardware, Index};

use crate::links::Gate;
use crate::subject::epoch_of;
use crate::{Domains, Subject};

/// Bits of a notice's word.
const NOTICES: u64 = 32;

/// The page that an entry is in, and its first word there.
type Entry = (PageNumber, u64);

impl Domains<'_> {
    /// The ring of the environment at `index`, whoever that is; `None` if there is no such place.
    #[inline]
    pub fn message_ring(&self, index: u16) -> Option<&MessageRingRecord> {
        self.message_rings.get(usize::from(index))
    }

    /// Sets a ring up as the row `msgring_set` of the call table says, instead of the one that was.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::Stale`]; [`Error::Exhausted`] where no rings are kept;
    /// [`Error::BadCount`]; [`Error::OutOfRange`] of the notice; [`Error::Busy`] while the kernel takes from the account; of a
    /// page [`Error::OutOfRange`], [`Error::NotYours`], [`Error::WrongType`], [`Error::Leaving`],
    /// [`Error::LimitReached`].
    pub fn msgring_set<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        first: PageNumber,
        pages: u64,
        bit: u64,
    ) -> Result<(), Error> {
        let index = by.name.index;
        let owner = self.environment(index).ok_or(Error::Stale)?.account;
        self.message_ring(index).ok_or(Error::Exhausted)?;
        if pages == 0 || pages > MAX_PAGES {
            return Err(Error::BadCount);
        }
        if bit >= NOTICES {
            return Err(Error::OutOfRange);
        }
        if self.is_taken_from(owner) {
            return Err(Error::Busy);
        }
        first.plus(pages - 1).ok_or(Error::OutOfRange)?;
        let new = MessageRingRecord::new(first, pages as u8, bit as u8);
        for page in new.set_up() {
            self.pages.pinnable(owner, page, 1)?;
        }
        new.set_up().for_each(|page| self.pages.pin(page));
        self.end_message_ring(index);
        self.update_message_ring(index, new);
        for entry in (0..new.capacity()).filter_map(|number| new.place(number)) {
            self.set_entry_word(hw, entry, HEAD, 0);
        }
        // The caller finds it empty.
        hw.fence();
        Ok(())
    }

    /// Ends the caller's ring as the row `msgring_clear` of the call table says.
    pub fn msgring_clear(&mut self, by: &Subject) {
        self.end_message_ring(by.name.index);
    }

    /// Sends a message as the row `msgring_send` of the call table says.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::TooLong`], [`Error::NoGate`], [`Error::MissingRight`],
    /// [`Error::Stale`], [`Error::NotAccepting`], [`Error::RingFull`].
    pub fn msgring_send<H: Hardware>(
        &mut self,
        hw: &mut H,
        by: &Subject,
        gate: u64,
        message: &[u8],
    ) -> Result<(), Error> {
        if message.len() > MESSAGE_BYTES {
            return Err(Error::TooLong);
        }
        let bound = self.through(by, gate, Gate::CALL_BIT)?;
        let to = ObjectName {
            index: bound.index,
            epoch: bound.life.epoch(),
        };
        if !self.lives(to) {
            return Err(Error::Stale);
        }
        let ring = self.message_ring(to.index).copied();
        let ring = ring.filter(MessageRingRecord::is_set);
        let mut ring = ring.ok_or(Error::NotAccepting)?;
        let number = ring.written;
        let entry = ring.place(number).ok_or(Error::NotAccepting)?;
        if self.entry_word(hw, entry, HEAD) != 0 {
            return Err(Error::RingFull);
        }
        // What the receiver has read there it has read.
        hw.fence();
        self.set_entry_word(hw, entry, SENDER, by.name.word());
        let (words, rest) = message.as_chunks();
        let words = words.iter().copied().map(u64::from_le_bytes);
        let last = (!rest.is_empty()).then(|| word_of(rest));
        for (word, value) in (HEADER_WORDS..).zip(words.chain(last)) {
            self.set_entry_word(hw, entry, word, value);
        }
        let head = Head {
            number: number as u32,
            badge: (bound.tail & Gate::BADGE) as u32,
            length: message.len() as u8,
        };
        // Whoever finds the head finds what is behind it.
        hw.fence();
        self.set_entry_word(hw, entry, HEAD, head.word());
        // Either the receiver, which gives back first and looks then, finds the head, or what it has given back is found
        // here.
        hw.fence();
        let before = number.checked_sub(1).and_then(|before| ring.place(before));
        let before = before.map_or(0, |entry| self.entry_word(hw, entry, HEAD));
        ring.written = number.wrapping_add(1);
        self.update_message_ring(to.index, ring);
        if before == 0 {
            let _ = self.post(to, 1 << ring.bit);
        }
        Ok(())
    }

    /// The environment at `index` has no ring any more.
    pub(crate) fn end_message_ring(&mut self, index: u16) {
        if let Some(old) = self.message_ring(index).copied() {
            old.set_up().for_each(|page| self.pages.unpin(page));
            self.update_message_ring(index, MessageRingRecord::NONE);
        }
    }

    /// The same of one that did not want that: it is told.
    pub(crate) fn take_message_ring(&mut self, index: u16) {
        let ring = self.message_ring(index).copied();
        let Some(ring) = ring.filter(MessageRingRecord::is_set) else {
            return;
        };
        self.end_message_ring(index);
        if let Some(epoch) = self.environment(index).map(|record| record.epoch) {
            let epoch = epoch_of(epoch);
            let _ = self.post(ObjectName { index, epoch }, 1 << ring.bit);
        }
    }

    fn update_message_ring(&mut self, index: u16, ring: MessageRingRecord) {
        if let Some(record) = self.message_rings.get_mut(usize::from(index)) {
            *record = ring;
        }
    }

    /// A word of the entry that begins there in a page.
    fn entry_word<H: Hardware>(&self, hw: &H, (page, start): Entry, word: u64) -> u64 {
        let index = Index::truncate(start + word);
        self.pages.pinned_word(hw, page, index)
    }

    fn set_entry_word<H: Hardware>(
        &mut self,
        hw: &mut H,
        (page, start): Entry,
        word: u64,
        value: u64,
    ) {
        let index = Index::truncate(start + word);
        self.pages.set_pinned_word(hw, page, index, value);
    }
}

/// Fewer than eight bytes as a word, with zeros behind them.
fn word_of(bytes: &[u8]) -> u64 {
    let word = bytes.iter().rev();
    word.fold(0, |word, byte| word << 8 | u64::from(*byte))
}
