//! Messages that the kernel copies: whole, in order, from whom they say, whatever sender and receiver do meanwhile.
//!
//! The ring is in the first page of shared memory (`peer`), so that peers of this space can write into it where a case
//! wants that; those that only send never look at it.

mod parallel;
mod ways;

use exopi_ipc::messages::MessageRing;
use exopi_rt::{Error, PageNumber, tables};

use crate::area::AREA;
use crate::harness::{Failure, Suite};
use crate::peer::{Shared, shared_words};

pub(crate) const SUITE: Suite = Suite {
    name: "msgrings",
    cases: &[
        ("each_refusal_has_its_reason", ways::refusals),
        ("badge_and_sender_are_the_kernels", ways::badges),
        ("the_notice_comes_for_the_first", ways::notice),
        ("ring_pages_stay", ways::pages_stay),
        ("a_ring_without_a_mapping", ways::unmapped),
        ("a_ring_that_is_revoked", ways::revoked),
        ("typed_calls_by_messages", parallel::typed_calls),
        ("four_cores_to_one", parallel::many_to_one),
        ("a_receiver_that_scribbles", parallel::scribbling),
        ("a_receiver_that_dies", parallel::dying),
    ],
};

/// The notice that rings here have.
const BIT: u64 = 13;

/// The page that shared memory begins with.
fn ring_page() -> Result<PageNumber, Failure> {
    let mapping = tables::mapping_of(AREA);
    let mapping = mapping.ok_or_else(|| Failure::new("nothing is mapped"))?;
    Ok(mapping.page)
}

/// A ring of 16 entries in the first page of shared memory, which must outlast it.
fn ring(_: &Shared) -> Result<MessageRing, Failure> {
    let words = shared_words(0, 1)?;
    // SAFETY: the page is the one that is mapped there.
    Ok(unsafe { MessageRing::new(words, ring_page()?, BIT) }?)
}

/// What a case does with a refusal that it expects.
fn refused(outcome: Result<(), Error>) -> Option<Error> {
    outcome.err()
}
