//! Message rings: the form of the memory into which the kernel copies messages for an environment.
//!
//! ```text
//!   sender A --msgring_send(gate)--+
//!   sender B --msgring_send(gate)--+--> kernel --> | entry | entry | entry | ...  pages of the receiver's own
//!   sender C --msgring_send(gate)--+                  ^ next, which only the kernel knows
//!
//!   an entry, 256 bytes
//!     word 0        63    62                 32 31            8 7       0
//!                 | full | number of the message | badge         | length |    0: free
//!     word 1        the sender's name, as ObjectName::word
//!     words 2..32   the message, up to 240 bytes; what is behind its end is whatever was there
//! ```
//!
//! Senders and receiver share nothing and need not trust each other. A message is in the ring whole or not at all, and
//! who sent it and the badge of the gate that it came through are the kernel's word.
//!
//! # Who owns an entry
//!
//! Word 0 says it. It is the kernel's while it is 0. The kernel stores it last, with release order, and then the entry
//! is the receiver's, which loads it with acquire order, uses the message where it lies or a copy of it, and gives the
//! entry back by storing 0 with release order, one entry after the other in their order. The kernel uses the entries
//! in a circle and knows by itself which is next: any other value than 0 there, whoever has written it, means that the
//! ring is full and nothing else. So by writing into its ring a receiver can lose messages of its own, and that is all.
//!
//! # When the notice comes
//!
//! After it has stored word 0 of an entry, and behind a full barrier, the kernel looks at word 0 of the entry before.
//! If that is free, the receiver has taken all that was there before and may have gone to sleep: the notice is posted. If
//! not, the receiver is still to give that entry back, and looks at the next one after that. So a receiver that goes to
//! sleep loses nothing if it gives back what it has taken, has a full barrier, and then finds the next entry free. It may
//! be told of a message that it has seen already.
//!
//! The ring may be taken by revocation, like whatever the account has. The record is [`MessageRingRecord::NONE`] then,
//! and the notice is posted once more.

use crate::PageNumber;
use crate::layout::PAGE_SIZE;

/// Words of an entry.
pub const ENTRY_WORDS: u64 = 32;
/// Entries in a page.
pub const PAGE_ENTRIES: u64 = PAGE_SIZE / 8 / ENTRY_WORDS;
/// Most pages of a ring.
pub const MAX_PAGES: u64 = 16;
/// Word of an entry that says whose it is.
pub const HEAD: u64 = 0;
/// Word of an entry that names the sender.
pub const SENDER: u64 = 1;
/// Words of an entry before the message.
pub const HEADER_WORDS: u64 = 2;
/// Most words of a message.
pub const MESSAGE_WORDS: usize = (ENTRY_WORDS - HEADER_WORDS) as usize;
/// Most bytes of a message.
pub const MESSAGE_BYTES: usize = MESSAGE_WORDS * 8;

/// What word 0 of an entry that is the receiver's says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which message it is since the ring was set: 0, 1, 2 ..., of which this has the low 31 bits.
    pub number: u32,
    /// The badge of the gate that it was sent through; 0 if that has none. 24 bits.
    pub badge: u32,
    /// Bytes of the message, at most [`MESSAGE_BYTES`].
    pub length: u8,
}

impl Head {
    const FULL: u64 = 1 << 63;
    const NUMBER_SHIFT: u32 = 32;
    const NUMBER: u32 = u32::MAX >> 1;
    const BADGE_SHIFT: u32 = 8;
    const BADGE: u32 = (1 << 24) - 1;

    /// As word 0. Never 0.
    pub const fn word(self) -> u64 {
        Self::FULL
            | ((self.number & Self::NUMBER) as u64) << Self::NUMBER_SHIFT
            | ((self.badge & Self::BADGE) as u64) << Self::BADGE_SHIFT
            | self.length as u64
    }

    /// What word 0 says. `None` if the entry is not the receiver's, or nobody but the receiver can have written that.
    pub const fn from_word(word: u64) -> Option<Self> {
        let length = word as u8;
        if word & Self::FULL == 0 || length as usize > MESSAGE_BYTES {
            return None;
        }
        Some(Self {
            number: (word >> Self::NUMBER_SHIFT) as u32 & Self::NUMBER,
            badge: (word >> Self::BADGE_SHIFT) as u32 & Self::BADGE,
            length,
        })
    }

    /// Whether it is of the message of this number.
    pub const fn is_number(self, number: u64) -> bool {
        self.number == number as u32 & Self::NUMBER
    }
}

/// The ring of an environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MessageRingRecord {
    /// Messages that have come since the ring was set. The next one goes to the entry of this number, in a circle.
    pub written: u64,
    /// The first page; those that follow it are the others.
    pub first: u32,
    /// Pages; 0 if there is no ring.
    pub pages: u8,
    /// Which notice tells the receiver, 0 to 31.
    pub bit: u8,
    reserved: u16,
}

const _: () = {
    assert!(size_of::<MessageRingRecord>() == 16);
    // Records never straddle a page, and entries neither.
    assert!((PAGE_SIZE as usize).is_multiple_of(size_of::<MessageRingRecord>()));
    assert!(PAGE_ENTRIES * ENTRY_WORDS * 8 == PAGE_SIZE);
    assert!(MESSAGE_BYTES == 240);
};

impl MessageRingRecord {
    /// There is no ring.
    pub const NONE: Self = Self {
        written: 0,
        first: 0,
        pages: 0,
        bit: 0,
        reserved: 0,
    };

    /// An empty ring in `pages` pages from `first` on, at most [`MAX_PAGES`], with notice `bit`, at most 31.
    pub const fn new(first: PageNumber, pages: u8, bit: u8) -> Self {
        Self {
            first: first.get(),
            pages,
            bit,
            ..Self::NONE
        }
    }

    /// Whether there is one.
    pub const fn is_set(&self) -> bool {
        self.pages != 0
    }

    /// How many entries it has.
    pub const fn capacity(&self) -> u64 {
        self.pages as u64 * PAGE_ENTRIES
    }

    /// Its pages, in order.
    pub fn set_up(&self) -> impl Iterator<Item = PageNumber> + use<> {
        let first = self.first;
        let pages = 0..u32::from(self.pages);
        pages.map(move |n| PageNumber::new(first.wrapping_add(n)))
    }

    /// Where the entry is that message `number` goes to: the page, and the entry's first word in it. `None` without a
    /// ring.
    pub const fn place(&self, number: u64) -> Option<(PageNumber, u64)> {
        match number.checked_rem(self.capacity()) {
            Some(entry) => {
                let page = self.first.wrapping_add((entry / PAGE_ENTRIES) as u32);
                let word = entry % PAGE_ENTRIES * ENTRY_WORDS;
                Some((PageNumber::new(page), word))
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_round_trip_and_are_never_free() {
        for number in [0, 1, 77, Head::NUMBER] {
            for badge in [0, 1, Head::BADGE] {
                for length in [0, 1, 239, 240] {
                    let head = Head {
                        number,
                        badge,
                        length,
                    };
                    assert_ne!(head.word(), 0);
                    assert_eq!(Head::from_word(head.word()), Some(head));
                }
            }
        }
    }

    #[test]
    fn what_no_kernel_writes_is_no_head() {
        assert_eq!(Head::from_word(0), None);
        assert_eq!(Head::from_word(1), None);
        assert_eq!(Head::from_word(Head::FULL - 1), None);
        for length in 241..=255 {
            assert_eq!(Head::from_word(Head::FULL | length), None);
        }
    }

    #[test]
    fn numbers_are_told_apart_beyond_their_bits() {
        let head = Head {
            number: 5,
            badge: 0,
            length: 0,
        };
        assert!(head.is_number(5));
        assert!(head.is_number(5 + (1 << 31)));
        assert!(!head.is_number(6));
    }

    #[test]
    fn entries_go_round_through_all_pages() {
        let ring = MessageRingRecord::new(PageNumber::new(100), 3, 4);
        assert_eq!(ring.capacity(), 48);
        assert_eq!(ring.place(0), Some((PageNumber::new(100), 0)));
        assert_eq!(ring.place(17), Some((PageNumber::new(101), 32)));
        assert_eq!(ring.place(47), Some((PageNumber::new(102), 480)));
        assert_eq!(ring.place(48), ring.place(0));
        assert_eq!(MessageRingRecord::NONE.place(0), None);
    }
}
