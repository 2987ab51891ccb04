//! Resources whose tables somebody else keeps: what is charged for them, and when they are to go.
//!
//! ```text
//!   an environment ends     --ended-->     whoever keeps things of its:    they go, and are let go of here
//!   an account begins to    --closing-->   ... charged to it               its end waits for that
//! ```

use exopi_abi::Error;
use exopi_abi::domain::Resource;
use exopi_abi::page::Owner;

use crate::Domains;
use crate::accounts::room;

/// The resources that are kept elsewhere.
pub(crate) const ELSEWHERE: [Resource; 2] = [Resource::Filters, Resource::Frames];

impl Domains<'_> {
    /// Whether `count` more of a resource that is kept elsewhere may be charged to an account.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::OverAllowance`].
    pub fn may_hold(&self, owner: Owner, resource: Resource, count: u32) -> Result<(), Error> {
        if room(self.drawable(owner)?, resource) < count.into() {
            return Err(Error::OverAllowance);
        }
        Ok(())
    }

    /// Charges as much, for which there is room.
    pub fn hold(&mut self, owner: Owner, resource: Resource, count: u32) {
        self.charge(owner, resource, count.into());
    }

    /// Takes it off the account again. An account does not end before that.
    pub fn let_go(&mut self, owner: Owner, resource: Resource, count: u32) {
        self.release(owner, resource, count.into());
    }

    /// Whether something can be charged to an account: it is there, and not at its end.
    pub fn pays(&self, owner: Owner) -> bool {
        self.drawable(owner).is_ok()
    }

    /// The place of an environment that has ended since this was asked last, one after the other. Another one may have
    /// come there.
    pub fn take_ended(&mut self) -> Option<u16> {
        let index = self.ended.first()?;
        self.ended.remove(index);
        Some(index)
    }

    /// Whether an account has begun to end, or an environment has ended, since this was asked last.
    #[inline(always)]
    pub const fn has_closed(&self) -> bool {
        self.closing || !self.ended.is_empty()
    }

    /// Whether an account has begun to end since this was asked last.
    pub fn take_closing(&mut self) -> bool {
        core::mem::replace(&mut self.closing, false)
    }
}
