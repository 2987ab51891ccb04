//! Calls on slices of processor time.

use exopi_abi::Error;
use exopi_abi::domain::ObjectName;
use exopi_domains::{Subject, Target};

use crate::kernel::lock;

pub(super) fn alloc(
    by: &Subject,
    core: u64,
    position: u64,
    environment: Target<'_>,
) -> Result<ObjectName, Error> {
    lock().slice_alloc(by, core, position, environment)
}

pub(super) fn bind(by: &Subject, slice: Target<'_>, environment: Target<'_>) -> Result<(), Error> {
    lock().slice_bind(by, slice, environment)
}

pub(super) fn move_to(
    by: &Subject,
    slice: Target<'_>,
    core: u64,
    position: u64,
) -> Result<ObjectName, Error> {
    lock().slice_move(by, slice, core, position)
}

pub(super) fn free(by: &Subject, slice: Target<'_>) -> Result<(), Error> {
    lock().slice_free(by, slice)
}
