//! Calls of message rings.

use exopi_abi::msgring::MESSAGE_BYTES;
use exopi_abi::{Error, PageNumber, UserBytes};
use exopi_domains::Subject;

use crate::arch::tables::Processor;
use crate::arch::user;
use crate::kernel::lock;

pub(super) fn set(by: &Subject, first: PageNumber, pages: u64, bit: u64) -> Result<(), Error> {
    lock().msgring_set(&mut Processor, by, first, pages, bit)
}

pub(super) fn clear(by: &Subject) {
    lock().msgring_clear(by);
}

/// The message is copied in before the lock is taken: its pages may be anything, and change meanwhile.
pub(super) fn send(by: &Subject, gate: u64, message: &UserBytes<'_>) -> Result<(), Error> {
    let mut copy = [0; MESSAGE_BYTES];
    let length = message.length();
    let fits = usize::try_from(length).ok();
    let copy = fits.and_then(|length| copy.get_mut(..length));
    let copy = copy.ok_or(Error::TooLong)?;
    if user::copy_in(message, copy) as u64 != length {
        return Err(Error::BadAddress);
    }
    lock().msgring_send(&mut Processor, by, gate, copy)
}
