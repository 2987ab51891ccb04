//! Calls that issue capabilities. They change nothing but the words that they write.

use exopi_abi::capability::Kind;
use exopi_abi::{Error, UserCapability, UserCapabilityMut};
use exopi_domains::Subject;

use super::presented::with_capability;
use crate::arch::user;
use crate::kernel::lock;
use crate::seals;

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
    with_capability(by, from, |verified| {
        let issued = seals::narrow(verified, index, count, rights)?;
        user::write_capability(issued.words(), into)
    })
}
