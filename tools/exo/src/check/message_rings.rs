//! Laws of rings for messages: each is its environment's, in plain pages of the account that pays for it.

use core::mem::offset_of;

use exopi_abi::msgring::{MAX_PAGES, MessageRingRecord};
use exopi_abi::page::FrameType;

use super::memory::Fields;
use super::report::{Law, Report};
use super::state::State;

/// What of a ring's record is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRing {
    /// Messages that have come.
    written: u64,
    /// The first page.
    first: u32,
    /// Pages; 0 if there is no ring.
    pages: u8,
    /// Which notice tells the receiver.
    bit: u8,
}

impl MessageRing {
    pub(super) fn read(from: Fields<'_>) -> Self {
        Self {
            written: from.u64(offset_of!(MessageRingRecord, written)),
            first: from.u32(offset_of!(MessageRingRecord, first)),
            pages: from.u8(offset_of!(MessageRingRecord, pages)),
            bit: from.u8(offset_of!(MessageRingRecord, bit)),
        }
    }

    /// Numbers of the frames that it is in.
    pub(super) fn set_up(&self) -> impl Iterator<Item = u64> + use<> {
        let first = u64::from(self.first);
        (0..u64::from(self.pages)).map(move |n| first + n)
    }
}

/// Checks all of them. That their pages are pinned is a law of pins.
pub(super) fn check(state: &State, report: &mut Report) {
    for (index, ring) in state.message_rings.iter().enumerate() {
        let environment = state.environments.get(index);
        let account = environment
            .filter(|environment| environment.epoch != 0)
            .map(|environment| environment.account);
        for page in ring.set_up() {
            let fits = state
                .frame(page)
                .is_some_and(|frame| frame.is(FrameType::Plain) && account == Some(frame.owner));
            report.require(fits, Law::MessageRings, || {
                format!("the ring of environment {index} is in frame {page:#x}, which is none of its pages")
            });
        }
        let is_none = (ring.written, ring.first, ring.bit) == (0, 0, 0);
        let known = u64::from(ring.pages) <= MAX_PAGES && ring.bit < 32;
        report.require(
            known && (ring.pages != 0 || is_none),
            Law::MessageRings,
            || format!("the ring of environment {index} is {ring:?}"),
        );
    }
}
