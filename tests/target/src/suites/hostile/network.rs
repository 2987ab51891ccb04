//! What hostile calls on frames are about: a filter, a packet ring, and words in memory that name pages and atoms.

use exopi_rt::domain::ObjectName;
use exopi_rt::net::{Filter, NO_NOTICE, Piece, Send};
use exopi_rt::{Call, Object, PageNumber, UserBytes, memory, stubs};

use super::super::frames::{self, BY_TYPE, of_type};
use super::fixture::word;
use crate::area::AREA;
use crate::harness::{Failure, Outcome};

/// Where there are an atom, one that no key may have, a piece, and numbers of pages.
const ATOM: u64 = AREA + 3072;
const VALUE: u64 = AREA + 3136;
const PIECE: u64 = AREA + 3200;
const PAGES: u64 = AREA + 3264;

/// All of it.
pub(super) struct Network {
    filter: ObjectName,
    ring: ObjectName,
    page: PageNumber,
    root: ObjectName,
    send: ObjectName,
}

/// Writes words into the fixture's page.
fn write(at: u64, words: &[u64]) {
    for (index, word) in words.iter().enumerate() {
        // SAFETY: the fixture's own page, mapped writable, to which nothing else refers.
        unsafe { ((at + 8 * index as u64) as *mut u64).write_volatile(*word) };
    }
}

impl Network {
    /// Makes it; the pages from `row` on are the fixture's, and the first is mapped at [`AREA`].
    pub(super) fn new(row: PageNumber) -> Result<Self, Failure> {
        let nth = |n: u32| PageNumber::new(row.get() + n);
        let atom = of_type(0x88f0);
        write(ATOM, &atom.into_words());
        write(VALUE, &of_type(1).into_words());
        let piece = Piece {
            page: nth(2),
            offset: 0,
            length: 64,
            last: true,
        };
        write(PIECE, &[piece.into_word()]);
        write(PAGES, &[nth(2), nth(3)].map(|page| page.get().into()));
        let page = memory::take_page()?;
        let number = u64::from(page.get()).to_le_bytes();
        let ring = stubs::pktring_setring(11, UserBytes::from(&number[..]), NO_NOTICE)?;
        let root = frames::root()?;
        let filter = Filter::Owned(root).insert(BY_TYPE, &[of_type(0x88f1)], None)?;
        Ok(Self {
            filter,
            ring,
            page,
            root,
            send: frames::first_send()?,
        })
    }

    pub(super) fn close(&self) -> Outcome {
        Filter::Owned(self.filter).delete()?;
        stubs::pktring_delring(Object::Owned(self.ring)).unless_stopped()?;
        memory::give_page(self.page)?;
        Ok(())
    }

    /// Their names, as registers hold them.
    pub(super) fn words(&self) -> [u64; 2] {
        [self.filter, self.ring].map(|name| word(Object::Owned(name)))
    }

    /// Arguments with which the call would do something, or nearly.
    pub(super) fn good(&self, call: Call, row: u64) -> [u64; 6] {
        let [filter, ring] = self.words();
        let root = word(Object::Owned(self.root));
        let send = word(Object::Owned(self.send));
        match call {
            Call::dpf_split => [root, VALUE, 24, 0, 0, 0],
            Call::dpf_insert => [root, BY_TYPE, ATOM, 24, 0, 0],
            // With what is below it goes nothing that can be made again.
            Call::dpf_delete => [root, 0, 0, 0, 0, 0],
            Call::dpf_ref | Call::dpf_unref | Call::dpf_pktring | Call::nettap => {
                [filter, ring, 0, 0, 0, 0]
            }
            Call::pktring_setring => [11, PAGES, 16, NO_NOTICE, 0, 0],
            Call::pktring_modring => [ring, 0, row + 4, 0, 0, 0],
            Call::send_refine => [send, ATOM, 24, 0, 0, 0],
            Call::send_delete => [send, 0, 0, 0, 0, 0],
            Call::net_xmit => [send, PIECE, 8, u64::MAX, 0, 0],
            Call::account_allow => [0, 4, 1, 0, 0, 0],
            _ => [0; 6],
        }
    }

    /// Takes back what a call has carried out.
    pub(super) fn undo(&self, call: Call, value: u64) -> Outcome {
        let made = ObjectName::from_word(value);
        match call {
            Call::dpf_insert => Filter::Owned(made).delete()?,
            Call::dpf_ref | Call::dpf_pktring => Filter::Owned(self.filter).unshare(self.ring)?,
            Call::pktring_setring => {
                stubs::pktring_delring(Object::Owned(made)).unless_stopped()?;
            }
            Call::pktring_modring => {
                stubs::pktring_modring(Object::Owned(self.ring), 0, self.page)?;
            }
            Call::send_refine => Send::Owned(made).delete()?,
            _ => {}
        }
        Ok(())
    }

    /// What would end or change these for good, or count in the page where the capability is.
    pub(super) fn harmful(&self, call: Call, words: [u64; 6], row: u64) -> bool {
        let [filter, ring] = self.words();
        match call {
            Call::dpf_delete => words[0] == filter,
            Call::pktring_delring => words[0] == ring,
            Call::pktring_modring => words[0] == ring && words[1] == 1,
            Call::net_xmit => words[3] & 0xffff_ffff == row,
            _ => false,
        }
    }
}
