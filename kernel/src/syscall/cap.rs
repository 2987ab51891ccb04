//! Calls that issue capabilities. They change nothing but the words that they write.

use exopi_abi::capability::{Kind, Rights};
use exopi_abi::{Error, UserCapability, UserCapabilityMut};
use exopi_domains::Subject;

use super::presented::verify;
use crate::arch::user;
use crate::kernel::lock;
use crate::seals;

/// Rights are 16 bits; others are none of any kind.
fn rights(word: u64) -> Result<Rights, Error> {
    match u16::try_from(word) {
        Ok(bits) => Ok(Rights::from_bits(bits)),
        Err(_) => Err(Error::Malformed),
    }
}

pub(super) fn mint(
    by: &Subject,
    kind: Kind,
    index: u64,
    count: u64,
    rights: u64,
    into: &UserCapabilityMut<'_>,
) -> Result<(), Error> {
    let body = lock().cap_mint(by, kind, index, count, rights)?;
    user::write_capability(seals::seal(&body).words(), into)
}

pub(super) fn narrow(
    by: &Subject,
    from: UserCapability<'_>,
    index: u64,
    count: u64,
    rights: u64,
    into: &UserCapabilityMut<'_>,
) -> Result<(), Error> {
    let issued = seals::narrow(&verify(by, from)?, index, count, rights)?;
    user::write_capability(issued.words(), into)
}
