//! What the kernel issues from a capability that was presented to it: never more than that one.
//!
//! Every call that does so goes through here. The issued one is sealed anew, so that nothing of the
//! chain protects it any more; what the chain said is therefore said again:
//!
//! * its rights are at most those that were left, all masks counted;
//! * each caveat is sealed in again, in its place, for the presenter. That badges and times stay follows,
//!   and that what a holder caveat gave to one environment can be had by that one alone.
//!
//! A mask is sealed in again too, though the body has taken it in: so the caveats of the presented one are
//! the first of the issued one, whatever they are, and no rule decides which may go.

use exopi_abi::Error;
use exopi_abi::capability::{Body, Capability, Epoch, Restriction, Rights};

use crate::{Key, Verified, seal};

impl Verified {
    /// A capability for `count` objects from `index` on, all of which this one covers, with the same epoch. It
    /// has those of `rights` that this one has (see [`Verified::lendable`]), this one's caveats, and behind
    /// them the `further` ones.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadCount`] for no object, [`Error::OutOfRange`],
    /// [`Error::CaveatsFull`].
    pub fn issue(
        &self,
        key: &Key,
        index: u32,
        count: u32,
        rights: Rights,
        further: &[Restriction],
    ) -> Result<Capability, Error> {
        if count == 0 {
            return Err(Error::BadCount);
        }
        // In 64 bits no sum wraps.
        let begin = u64::from(index);
        let covered = u64::from(self.index())..=u64::from(self.index()) + u64::from(self.count());
        if !covered.contains(&begin) || !covered.contains(&(begin + u64::from(count))) {
            return Err(Error::OutOfRange);
        }
        self.reissue(key, index, count, self.epoch(), rights, further)
    }

    /// A capability for another object of the same kind, at `index` and stamped with `epoch`, that the
    /// kernel has made a child of the one that this covers: not a part by number, but by record. That the child
    /// allows nothing that its parent does not, the caller has made sure; rights and caveats are as for
    /// [`Verified::issue`].
    ///
    /// # Errors
    /// [`Error::Malformed`] for [`Epoch::NONE`]; [`Error::CaveatsFull`].
    pub fn issue_child(
        &self,
        key: &Key,
        index: u32,
        epoch: Epoch,
        rights: Rights,
        further: &[Restriction],
    ) -> Result<Capability, Error> {
        self.reissue(key, index, 1, epoch, rights, further)
    }

    fn reissue(
        &self,
        key: &Key,
        index: u32,
        count: u32,
        epoch: Epoch,
        rights: Rights,
        further: &[Restriction],
    ) -> Result<Capability, Error> {
        let rights = self.all_rights().intersection(rights);
        let body = Body::of_kind(self.kind(), rights, index, count, epoch)?;
        let mut issued = seal(&body, key);
        for caveat in self.capability.caveats() {
            issued = issued.attenuate(caveat.for_presenter(self.presenter())?)?;
        }
        for restriction in further {
            issued = issued.attenuate(*restriction)?;
        }
        Ok(issued)
    }
}
