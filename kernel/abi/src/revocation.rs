//! Visible revocation: how a holder is asked for what it has, how it answers, and how it reads what it has lost.
//!
//! ```text
//!   manager               kernel                                   holder
//!   revoke_request ---->  record: Asked      -- notice 31 -->      reads its record, frees what it likes,
//!                                                                  revoke_answer(Done | MoreTime)
//!                         deadline: Taking   (bounded steps)
//!   <-- its notice bit -- record: Given or Taken -- notice 31 -->  reads its repossession vector
//! ```
//!
//! * The [`RevocationRecord`] of each environment is exposed: what is asked of it, until when, what came of it.
//! * The *repossession vector* is a ring in pages of the holder's, into which the kernel writes what it has
//!   taken: each lost thing once, adjacent ones in one entry, and how many had no room.
//! * The *order page* is the holder's, too: what it keeps for as long as it may keep anything, and in which
//!   order the rest may go.
//!
//! Both are memory that the holder writes at any time. The kernel takes nothing that it reads there for true,
//! and what it has to remember of them it keeps in the record.

use crate::domain::Resource;
use crate::layout::PAGE_SIZE;
use crate::page::Owner;
use crate::registers::{Argument, Arguments};
use crate::{Error, PageNumber};

/// The notice that tells a holder of a request, and of its outcome.
pub const NOTICE_BIT: u32 = 31;
/// Most pages that an account can be guaranteed.
pub const MAX_GUARANTEED: usize = 8;
/// Most pages of a repossession vector.
pub const MAX_VECTOR_PAGES: u64 = 4;
/// Most pages that are asked for by number at a time.
pub const MAX_NAMED: u32 = 512;
/// A deadline is at least this many microseconds away.
pub const LEAST_MICROSECONDS: u64 = 100;
/// A deadline, and the extension behind it, are at most this many microseconds long each: a minute.
pub const MOST_MICROSECONDS: u64 = 60_000_000;

/// What is asked for. Travels in one word.
///
/// ```text
///   63      56 55            32 31              0
///   | form 0  |  zero          |  resource       |  so many, whichever
///   | form 1  |  zero          |  page number    |  this page and those that follow it
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many of a resource, whichever the holder likes.
    Any(Resource),
    /// Pages from this one on, those of them that the holder's account has.
    Pages(PageNumber),
}

impl Wanted {
    /// The resource that is asked for.
    pub const fn resource(self) -> Resource {
        match self {
            Self::Any(resource) => resource,
            Self::Pages(_) => Resource::Pages,
        }
    }
}

impl Argument for Wanted {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        let word = from.take();
        let low = word as u32;
        match word >> 32 {
            0 => match Resource::ALL.get(low as usize) {
                // Others are not taken away by themselves: they end with what is in them.
                Some(Resource::Pages) => Ok(Self::Any(Resource::Pages)),
                _ => Err(Error::Malformed),
            },
            0x100_0000 => Ok(Self::Pages(PageNumber::new(low))),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(match self {
            Self::Any(resource) => resource as u64,
            Self::Pages(first) => 1 << 56 | u64::from(first.get()),
        });
    }
}

/// A holder's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Answer {
    /// It has given back what was asked for.
    Done = 0,
    /// It needs the extension.
    MoreTime = 1,
}

impl Argument for Answer {
    const REFUSALS: &'static [Error] = &[Error::Malformed];

    #[inline(always)]
    fn decode(from: &mut Arguments) -> Result<Self, Error> {
        match from.take() {
            0 => Ok(Self::Done),
            1 => Ok(Self::MoreTime),
            _ => Err(Error::Malformed),
        }
    }

    #[inline(always)]
    fn encode(self, into: &mut Arguments) {
        into.put(self as u64);
    }
}

/// What becomes of a request.
///
/// ```text
///   None --request--> Asked --more time--> Extended
///                       |  \                 |  \
///                  done |   \ deadline, death|   \ done
///                       v    v               v    v
///                     Given  Taking <--------+   Given
///                              |
///                              +--> Given (nothing had to be taken), Taken, or Died (the holder has)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RevocationState {
    /// There has been none.
    #[default]
    None = 0,
    /// The holder was asked.
    Asked = 1,
    /// It was, and has asked for more time.
    Extended = 2,
    /// Its time is over, and the kernel takes.
    Taking = 3,
    /// It has given back what was asked for.
    Given = 4,
    /// The kernel has taken what it could of what was missing.
    Taken = 5,
    /// The holder has died; what was missing has been taken, or goes with its account.
    Died = 6,
}

impl RevocationState {
    /// The state with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::None,
            1 => Self::Asked,
            2 => Self::Extended,
            3 => Self::Taking,
            4 => Self::Given,
            5 => Self::Taken,
            6 => Self::Died,
            _ => return None,
        })
    }

    /// Whether the request has no outcome yet.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Asked | Self::Extended | Self::Taking)
    }
}

/// The last request to an environment, and where it reads and writes about it. Its place is the environment's index;
/// it outlives the environment, so that whoever asked finds the outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RevocationRecord {
    /// Grows by one with each request to an environment in this place.
    pub serial: u64,
    /// The [`ObjectName::word`](crate::domain::ObjectName::word) of who asked.
    pub by: u64,
    /// The account that gives, [`Owner::word`].
    pub account: u64,
    /// When the kernel takes what is missing, in ticks of the counter.
    pub deadline: u64,
    /// Until when the one extension goes: not beyond the deadline if there is none.
    pub limit: u64,
    /// How many were asked for, or how many of the pages asked for the account had.
    pub asked: u32,
    /// The most that the account may use in the end.
    pub target: u32,
    /// How many the account has given back.
    pub given: u32,
    /// How many the kernel has taken.
    pub taken: u32,
    /// How many of those the vector does not tell.
    pub missed: u32,
    /// The first page asked for, of `named`.
    pub first: u32,
    /// First page of the repossession vector.
    pub vector: u32,
    /// The order page; 0 if there is none.
    pub order: u32,
    /// For the kernel's use: where it goes on.
    pub cursor: u32,
    /// For the kernel's use: what it has taken and not written into the vector yet.
    pub pending: [u32; 2],
    /// For the kernel's use: entries of the vector that it has written.
    pub written: u32,
    /// Pages of the repossession vector; 0 if there is none.
    pub vector_pages: u8,
    /// [`RevocationState`].
    pub state: u8,
    /// [`Resource`].
    pub resource: u8,
    /// Which notice tells who asked, 0 to 31.
    pub bit: u8,
    /// For the kernel's use: what it does now.
    pub phase: u8,
    /// For the kernel's use: how many of `kept` there are.
    pub kept_count: u8,
    /// How many pages were asked for by number; 0 if any would do.
    pub named: u16,
    /// Pages that stay: the guaranteed minimum. Chosen when the kernel begins to take.
    pub kept: [u32; MAX_GUARANTEED],
}

const _: () = {
    assert!(size_of::<RevocationRecord>() == 128);
    // Records never straddle a page.
    assert!((PAGE_SIZE as usize).is_multiple_of(size_of::<RevocationRecord>()));
};

impl RevocationRecord {
    /// What becomes of the request. A code that is none, which no kernel writes, is taken for none.
    pub const fn state(&self) -> RevocationState {
        match RevocationState::from_code(self.state) {
            Some(state) => state,
            None => RevocationState::None,
        }
    }

    /// The account that gives.
    pub const fn owner(&self) -> Owner {
        Owner::from_word(self.account)
    }

    /// Whether it was asked for this page by its number.
    pub const fn names(&self, page: PageNumber) -> bool {
        page.get().wrapping_sub(self.first) < self.named as u32
    }
}

/// Something that was taken: an entry of a repossession vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The request that it was taken for, [`RevocationRecord::serial`].
    pub serial: u64,
    /// Of which resource.
    pub resource: Resource,
    /// The first one's number.
    pub first: u64,
    /// How many follow each other from it on; not 0.
    pub count: u64,
}

impl Loss {
    /// Words of an entry.
    pub const WORDS: usize = 4;

    /// The entry.
    pub const fn into_words(self) -> [u64; Loss::WORDS] {
        [self.serial, self.resource as u64, self.first, self.count]
    }

    /// The loss in an entry; `None` if the words are none.
    pub fn from_words(words: [u64; Loss::WORDS]) -> Option<Self> {
        let [serial, resource, first, count] = words;
        let resource = *Resource::ALL.get(usize::try_from(resource).ok()?)?;
        (count != 0 && first.checked_add(count).is_some()).then_some(Self {
            serial,
            resource,
            first,
            count,
        })
    }
}

/// The form of a repossession vector.
///
/// ```text
///   word 0   written: entries since it was set up          the kernel's
///        1   missed: losses that there was no room for     the kernel adds to it
///        2   read: entries that were read                  the holder's
///        3   zero
///        4   entry 0: serial, resource, first, count
///        8   entry 1 ...  up to the end of the last page; then entry 0 again
/// ```
///
/// Counts only grow. There is room while `written` is less than a vector ahead of `read`; a `read` that makes no
/// sense is taken for a full vector. After 2^32 - 1 entries there is no room until the vector is set up again.
pub mod vector {
    use super::{Loss, PAGE_SIZE};

    /// Word that tells how many entries were written.
    pub const WRITTEN: u64 = 0;
    /// Word that tells how many losses had no room.
    pub const MISSED: u64 = 1;
    /// Word by which the holder tells how many entries it has read.
    pub const READ: u64 = 2;
    /// Words before the first entry.
    pub const HEADER: u64 = 4;
    /// Words in a page.
    pub const PAGE_WORDS: u64 = PAGE_SIZE / 8;

    /// How many entries a vector of so many pages has.
    pub const fn capacity(pages: u8) -> u32 {
        (pages as u32 * PAGE_WORDS as u32).saturating_sub(HEADER as u32) / Loss::WORDS as u32
    }

    /// Whether a vector has room for another entry.
    pub const fn has_room(pages: u8, written: u32, read: u64) -> bool {
        written != u32::MAX && written.wrapping_sub(read as u32) < capacity(pages)
    }

    /// The word that entry number `written` of a vector with pages begins at.
    pub const fn place(pages: u8, written: u32) -> u64 {
        match written.checked_rem(capacity(pages)) {
            Some(entry) => HEADER + entry as u64 * Loss::WORDS as u64,
            None => HEADER,
        }
    }

    /// The losses that a holder has not read, oldest first, from its vector's words; what is no entry is left out.
    /// Who has read them stores `written` in [`READ`].
    pub fn unread(pages: u8, word: impl Fn(u64) -> u64) -> impl Iterator<Item = Loss> {
        let (written, read) = (word(WRITTEN) as u32, word(READ) as u32);
        // Never more than there is room for, whatever the words are.
        let count = written.wrapping_sub(read).min(capacity(pages));
        (0..count).filter_map(move |ahead| {
            let at = place(pages, read.wrapping_add(ahead));
            Loss::from_words([0, 1, 2, 3].map(|n| word(at + n)))
        })
    }
}

/// The form of an order page: numbers of pages, two in each word, the first in its low half.
///
/// ```text
///   number 0..8    what stays, as far as the account is guaranteed pages; 0 is none
///          8..     what goes first, next ...; 0 is the end
/// ```
pub mod order {
    use super::{MAX_GUARANTEED, PAGE_SIZE};
    use crate::PageNumber;

    /// Numbers before the first one that goes.
    pub const KEPT: u32 = MAX_GUARANTEED as u32;
    /// Numbers in the page.
    pub const NUMBERS: u32 = (PAGE_SIZE / 4) as u32;

    /// The word that number `n` is in.
    pub const fn place(n: u32) -> u64 {
        n as u64 / 2
    }

    /// Number `n`, out of the word that it is in; `None` for 0, which is a page of the kernel's.
    pub const fn number(n: u32, word: u64) -> Option<PageNumber> {
        match (word >> (n % 2 * 32)) as u32 {
            0 => None,
            number => Some(PageNumber::new(number)),
        }
    }

    /// The word that number `n` is in, with `page` there instead.
    pub const fn with_number(n: u32, word: u64, page: PageNumber) -> u64 {
        let shift = n % 2 * 32;
        word & !(0xffff_ffff << shift) | (page.get() as u64) << shift
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_of_a_vector_can_be_anything(pages in 0..=4u8, words in prop::collection::vec(any::<u64>(), 2048)) {
            let end = u64::from(pages) * vector::PAGE_WORDS;
            let read = |at: u64| {
                assert!(at < vector::HEADER || at < end, "word {at} of {pages} pages");
                words[at as usize]
            };
            let found = vector::unread(pages, read).count();
            prop_assert!(found <= vector::capacity(pages) as usize);
        }

        /// A writer and a reader of the same ring, against a queue.
        #[test]
        fn what_is_written_is_read(pages in 1..=4u8, start: u32, steps in prop::collection::vec((any::<bool>(), 0..200u32), 1..40)) {
            let mut words = std::vec![0u64; 2048];
            words[0] = u64::from(start);
            words[2] = u64::from(start);
            let (mut written, mut queue) = (start, Vec::new());
            for (reads, count) in steps {
                if reads {
                    let found: Vec<Loss> = vector::unread(pages, |at| words[at as usize]).collect();
                    prop_assert_eq!(&found, &queue);
                    queue.clear();
                    words[2] = words[0];
                }
                for n in 0..count {
                    let loss = Loss { serial: 1, resource: Resource::Pages, first: n.into(), count: 1 };
                    let room = vector::has_room(pages, written, words[2]);
                    let full = queue.len() >= vector::capacity(pages) as usize || written == u32::MAX;
                    prop_assert_eq!(room, !full);
                    if room {
                        let at = vector::place(pages, written) as usize;
                        words[at..at + 4].copy_from_slice(&loss.into_words());
                        written = written.wrapping_add(1);
                        words[0] = u64::from(written);
                        queue.push(loss);
                    }
                }
            }
        }

        #[test]
        fn numbers_of_an_order_are_apart(n in 0..order::NUMBERS, word: u64, number in 1..u32::MAX) {
            let page = PageNumber::new(number);
            let with = order::with_number(n, word, page);
            prop_assert_eq!(order::number(n, with), Some(page));
            prop_assert_eq!(order::number(n ^ 1, with), order::number(n ^ 1, word));
        }

        #[test]
        fn what_is_wanted_survives_the_registers(first: u32) {
            for wanted in [Wanted::Any(Resource::Pages), Wanted::Pages(PageNumber::new(first))] {
                let mut words = Arguments::new([0; 6]);
                wanted.encode(&mut words);
                prop_assert_eq!(Wanted::decode(&mut Arguments::new(words.words())), Ok(wanted));
            }
        }
    }
}
