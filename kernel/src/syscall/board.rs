//! Calls on the board, by the first environment alone.

use exopi_abi::Error;
use exopi_domains::Subject;

use crate::kernel::lock;
use crate::power;

/// Whether the caller is the first environment.
///
/// # Errors
/// [`Error::MissingRight`].
fn holds(by: &Subject) -> Result<(), Error> {
    if lock().is_first(by.name) {
        Ok(())
    } else {
        Err(Error::MissingRight)
    }
}

pub(super) fn exit(by: &Subject, status: u64) -> Result<(), Error> {
    holds(by)?;
    power::off(status & 0xff)
}

pub(super) fn reset(by: &Subject) -> Result<(), Error> {
    holds(by)?;
    power::reset()
}
