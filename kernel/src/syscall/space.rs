//! Calls that make spaces and end them.

use exopi_abi::domain::ObjectName;
use exopi_abi::{Error, PageNumber, Progress};
use exopi_domains::{Subject, Target};

use crate::arch::tables::Processor;
use crate::exposed;
use crate::kernel::lock;

pub(super) fn create(by: &Subject, root: PageNumber) -> Result<ObjectName, Error> {
    lock().space_create(&mut Processor, by, root, exposed::root_entry())
}

pub(super) fn destroy(by: &Subject, space: Target<'_>) -> Progress {
    lock().space_destroy(&mut Processor, by, space)
}
