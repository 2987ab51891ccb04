//! Calls that issue capabilities. They change nothing but the words that they write.

use exopi_abi::capability::{Body, Kind, PageRights, Rights};
use exopi_abi::{Error, PageNumber, UserCapability, UserCapabilityMut};
use exopi_domains::Subject;

use super::net;
use super::presented::with_capability;
use crate::arch::core_data::Core;
use crate::arch::user;
use crate::kernel::{lock, with_pages};
use crate::seals;

/// The usual case, one page, with as few questions as there are; of any other, and of a refusal, [`mint_any`] tells.
#[inline(always)]
pub(super) fn mint(
    kind: Kind,
    index: u64,
    count: u64,
    rights: u64,
    into: &UserCapabilityMut<'_>,
) -> Result<(), Error> {
    match (kind, u32::try_from(index), count) {
        (Kind::Page, Ok(index), 1) if rights & !u64::from(PageRights::all().bits()) == 0 => {
            let by = Core::owner();
            let page = PageNumber::new(index);
            let epoch = with_pages(
                #[inline(always)]
                |pages| pages.mintable_page(by, page),
            );
            match epoch {
                Some(epoch) => {
                    let rights = Rights::from_bits(rights as u16);
                    let body = Body::of_kind(Kind::Page, rights, index, 1, epoch)?;
                    user::write_capability(seals::seal(&body).words(), into)
                }
                None => mint_any(kind, index.into(), count, rights, into),
            }
        }
        _ => mint_any(kind, index, count, rights, into),
    }
}

#[cold]
#[inline(never)]
fn mint_any(
    kind: Kind,
    index: u64,
    count: u64,
    rights: u64,
    into: &UserCapabilityMut<'_>,
) -> Result<(), Error> {
    let by = &Core::caller();
    let body = match kind {
        Kind::Filter | Kind::Send => net::mint(by, kind, index, count, rights)?,
        _ => lock().cap_mint(by, kind, index, count, rights)?,
    };
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
