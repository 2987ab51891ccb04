//! The call that ends an upcall.

use exopi_abi::Error;
use exopi_abi::uarea::UpcallClass;

use crate::arch::upcall;

#[inline(always)]
pub(super) fn resume(class: UpcallClass) -> Result<(), Error> {
    upcall::resume(class);
    Err(Error::NoFrame)
}
