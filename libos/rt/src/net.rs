//! Frames of a network: filters, packet rings and sending, with the steps of the bare calls put together.
//!
//! ```text
//!   Filter --insert--> Filter --frames--> Ring --take--> Entry --drop--> the kernel's again
//!   Send --refine--> Send --transmit--> the wire, and a count of what has gone
//! ```
//!
//! Nothing here knows a protocol: a frame is bytes. Interfaces and what they begin with are in the records
//! ([`exposed`]); their first filters and send capabilities belong to the first environment.

mod ring;

pub use exopi_abi::net::*;
pub use ring::{Entry, Received, Ring};

use crate::capability::{Epoch, FilterRights, SendRights};
use crate::domain::ObjectName;
use crate::handle::Handle;
use crate::{Error, Object, Progress, UserBytes, exposed, stubs, wait};

/// A packet filter, by name or by a capability. There is none of one's own.
pub type Filter<'a> = Handle<'a, FilterRights>;
/// A send capability, likewise.
pub type Send<'a> = Handle<'a, SendRights>;

/// Atoms as they lie in memory.
fn bytes_of(atoms: &[Atom]) -> UserBytes<'_> {
    // SAFETY: an atom is three words without padding (`Atom::OCTETS`), of which each octet may be read.
    #[expect(unsafe_code, reason = "calls take bytes")]
    let bytes = unsafe { core::slice::from_raw_parts(atoms.as_ptr().cast(), size_of_val(atoms)) };
    UserBytes::from(bytes)
}

/// Words as they lie in memory.
fn bytes_of_words(words: &[u64]) -> UserBytes<'_> {
    // SAFETY: each octet of a word may be read.
    #[expect(unsafe_code, reason = "calls take bytes")]
    let bytes = unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) };
    UserBytes::from(bytes)
}

/// The filter that takes all frames of an interface, if there is such an interface.
pub fn root(interface: usize) -> Option<ObjectName> {
    let index = filter_index(interface, 0)?;
    let record = exposed::filter_at(index)?;
    let epoch = Epoch::from_low_bits(record.epoch);
    (record.epoch != 0).then_some(ObjectName { index, epoch })
}

/// The send capability that allows all frames on an interface, likewise.
pub fn first_send(interface: usize) -> Option<ObjectName> {
    exposed::interface_at(interface)?;
    let index = u16::try_from(interface).ok()?;
    let record = exposed::send_at(index)?;
    let epoch = Epoch::from_low_bits(record.epoch);
    (record.epoch != 0).then_some(ObjectName { index, epoch })
}

impl Filter<'_> {
    /// Splits it by one key more, and gives the key's position: `atoms` without values.
    ///
    /// # Errors
    /// Those of `dpf_split`.
    pub fn split(self, atoms: &[Atom]) -> Result<u64, Error> {
        stubs::dpf_split(self.object(), bytes_of(atoms))
    }

    /// Makes a filter below it, whose frames go to `ring`, if there is one.
    ///
    /// # Errors
    /// Those of `dpf_insert`.
    pub fn insert(
        self,
        key: u64,
        atoms: &[Atom],
        ring: Option<ObjectName>,
    ) -> Result<ObjectName, Error> {
        let ring = ring.map_or(Object::Own, Object::Owned);
        stubs::dpf_insert(self.object(), key, bytes_of(atoms), ring)
    }

    /// Deletes it and all below it.
    ///
    /// # Errors
    /// Those of `dpf_delete`.
    pub fn delete(self) -> Result<(), Error> {
        wait::until_gone(|| stubs::dpf_delete(self.object(), 0))
    }

    /// Deletes it alone: what those below leave is then the next one's above.
    ///
    /// # Errors
    /// Those of `dpf_delete`.
    pub fn retire(self) -> Result<(), Error> {
        stubs::dpf_delete(self.object(), 1)
            .unless_stopped()
            .map(drop)
    }

    /// Has a copy of each of its frames put into `ring`, too.
    ///
    /// # Errors
    /// Those of `dpf_ref`.
    pub fn share(self, ring: ObjectName) -> Result<(), Error> {
        stubs::dpf_ref(self.object(), Object::Owned(ring))
    }

    /// Takes that away.
    ///
    /// # Errors
    /// Those of `dpf_unref`.
    pub fn unshare(self, ring: ObjectName) -> Result<(), Error> {
        stubs::dpf_unref(self.object(), Object::Owned(ring))
    }

    /// Has its frames put into `ring` from now on, and not where they went.
    ///
    /// # Errors
    /// Those of `dpf_pktring`.
    pub fn route(self, ring: ObjectName) -> Result<(), Error> {
        stubs::dpf_pktring(self.object(), Object::Owned(ring))
    }

    /// Has `ring` see each frame of the interface whose first filter this is.
    ///
    /// # Errors
    /// Those of `nettap`.
    pub fn tap(self, ring: ObjectName) -> Result<(), Error> {
        stubs::nettap(self.object(), Object::Owned(ring))
    }
}

impl Send<'_> {
    /// Makes one that allows less: what this one does and the atoms do.
    ///
    /// # Errors
    /// Those of `send_refine`.
    pub fn refine(self, atoms: &[Atom]) -> Result<ObjectName, Error> {
        stubs::send_refine(self.object(), bytes_of(atoms))
    }

    /// Ends it, and those that were narrowed from it.
    ///
    /// # Errors
    /// Those of `send_delete`.
    pub fn delete(self) -> Result<(), Error> {
        wait::until_gone(|| stubs::send_delete(self.object()))
    }

    /// Sends frames out of pages of one's own. Progress counts pieces; they must stay as they are until as many
    /// frames are counted at `completion`, if anybody is to get what was meant.
    pub fn transmit(self, pieces: &[Piece], completion: Completion) -> Progress {
        let mut words = [0; MOST_PIECES];
        let count = pieces.len().min(MOST_PIECES);
        for (word, piece) in words.iter_mut().zip(pieces) {
            *word = piece.into_word();
        }
        let words = words.get(..count).unwrap_or_default();
        stubs::net_xmit(self.object(), bytes_of_words(words), completion)
    }
}

/// Most pieces that one call takes.
pub const MOST_PIECES: usize = 16;
