//! Calls that end an upcall, or ask for one.

use exopi_abi::Error;
use exopi_abi::uarea::UpcallClass;

use crate::arch::upcall;
use crate::environment;
use crate::kernel::lock;

#[inline(always)]
pub(super) fn resume(class: UpcallClass) -> Result<(), Error> {
    upcall::resume(class);
    Err(Error::NoFrame)
}

pub(super) fn deliver() -> Result<(), Error> {
    environment::deliver(lock());
    Ok(())
}
