//! The rights by which a call names things: capabilities are read and verified here, before the lock is taken.
//!
//! What belongs to the caller needs no proof but its record, and costs nothing here.

use exopi_abi::capability::Identity;
use exopi_abi::registers::Outcome;
use exopi_abi::{Error, Object, PageNumber, PageRun, PageSource, UserCapability};
use exopi_cap::Verified;
use exopi_domains::{Subject, Target};
use exopi_pages::{Right, Source};

use crate::seals;

/// Where a capability is put that was verified, for as long as the call takes.
type Place = Option<Verified>;

/// Reads a capability that `presenter` presents, and verifies it. One function for all calls: it is by far their
/// longest part. What it finds it writes where it stays.
#[inline(never)]
fn verify<'p>(
    presenter: Identity,
    capability: UserCapability<'_>,
    place: &'p mut Place,
) -> Result<&'p Verified, Error> {
    seals::verify_into(place, capability, presenter)
}

/// Makes `call` with what `capability` proves, or says why it is refused.
#[inline(always)]
pub(super) fn with_capability<R: Outcome>(
    by: &Subject,
    capability: UserCapability<'_>,
    call: impl FnOnce(&Verified) -> R,
) -> R {
    match verify(by.name.identity(), capability, &mut None) {
        Ok(verified) => call(verified),
        Err(error) => R::refused(error),
    }
}

/// Makes `call` on `object`, or says why its capability is refused.
#[inline(always)]
pub(super) fn with_object<R: Outcome>(
    by: &Subject,
    object: Object<'_>,
    call: impl FnOnce(Target<'_>) -> R,
) -> R {
    let mut place = None;
    let target = match object {
        Object::Own => Target::Own,
        Object::Owned(name) => Target::Owned(name),
        Object::Presented(capability) => match verify(by.name.identity(), capability, &mut place) {
            Ok(verified) => Target::Verified(verified),
            Err(error) => return R::refused(error),
        },
    };
    call(target)
}

/// Makes `call` on pages from a first one on, or says why their capability is refused.
#[inline(always)]
pub(super) fn with_run<R: Outcome>(
    by: &Subject,
    pages: PageRun<'_>,
    call: impl FnOnce(PageNumber, Right<'_>) -> R,
) -> R {
    let mut place = None;
    let (first, right) = match pages {
        PageRun::Owned(first) => (first, Right::Owner(by.owner)),
        PageRun::Presented(first, capability) => {
            match verify(by.name.identity(), capability, &mut place) {
                Ok(verified) => (first, Right::Verified(verified)),
                Err(error) => return R::refused(error),
            }
        }
    };
    call(first, right)
}

/// The same for pages that are to be mapped, which need not be there yet.
#[inline(always)]
pub(super) fn with_source<R: Outcome>(
    by: &Subject,
    source: PageSource<'_>,
    call: impl FnOnce(Source<'_>) -> R,
) -> R {
    match source {
        PageSource::New(which) => call(Source::New(which)),
        PageSource::Run(run) => with_run(by, run, |first, right| call(Source::Run(first, right))),
    }
}
