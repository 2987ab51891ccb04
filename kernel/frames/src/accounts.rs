//! The ledger that a kernel has: its accounts, its stamps and its pages.

use exopi_abi::capability::Epoch;
use exopi_abi::domain::{KEY_WEIGHT, RING_WEIGHT, Resource};
use exopi_abi::page::Owner;
use exopi_abi::{Error, PageNumber};
use exopi_domains::Domains;

use crate::{Holding, Ledger};

/// Accounts, stamps and pages of a kernel.
#[derive(Debug)]
pub struct Books<'d, 'm>(pub &'d mut Domains<'m>);

/// What a holding is charged as.
const fn weight(holding: Holding) -> (Resource, u32) {
    match holding {
        Holding::Filter | Holding::Send => (Resource::Filters, 1),
        Holding::Key => (Resource::Filters, KEY_WEIGHT),
        Holding::Reference | Holding::Frame => (Resource::Frames, 1),
        Holding::Ring => (Resource::Frames, RING_WEIGHT),
    }
}

impl Ledger for Books<'_, '_> {
    fn stamp(&mut self) -> Option<Epoch> {
        self.0.epochs.stamp()
    }

    fn room(&self, owner: Owner, holding: Holding) -> Result<(), Error> {
        let (resource, count) = weight(holding);
        self.0.may_hold(owner, resource, count)
    }

    fn charge(&mut self, owner: Owner, holding: Holding) {
        let (resource, count) = weight(holding);
        self.0.hold(owner, resource, count);
    }

    fn release(&mut self, owner: Owner, holding: Holding) {
        let (resource, count) = weight(holding);
        self.0.let_go(owner, resource, count);
    }

    fn pin(&mut self, owner: Owner, page: PageNumber) -> Result<(), Error> {
        self.0.pages.pinnable(owner, page, 1)?;
        self.0.pages.pin(page);
        Ok(())
    }

    fn unpin(&mut self, page: PageNumber) {
        self.0.pages.unpin(page);
    }
}
