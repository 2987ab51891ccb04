//! Giving back what is asked for, in an order of one's own.
//!
//! ```text
//!   notice 31 --> answer(giver):  asked()? --> giver.give(missing) ... --> revoke_answer(Done)
//!                                                  gives no more       --> revoke_answer(MoreTime), once
//! ```
//!
//! What is given, and what first, is a [`Giver`]'s: [`InOrder`] asks several, one after the other, of which those come
//! first whose pages cost least to have again.

use crate::revocation::{Answer, RevocationRecord, RevocationState};
use crate::{Error, environment, exposed, stubs};

/// Who can do without something.
pub trait Giver {
    /// Gives back up to `missing` of what `asked` says, and tells how many. 0: it has no more.
    fn give(&mut self, asked: &RevocationRecord, missing: u32) -> u32;
}

impl<F: FnMut(&RevocationRecord, u32) -> u32> Giver for F {
    fn give(&mut self, asked: &RevocationRecord, missing: u32) -> u32 {
        self(asked, missing)
    }
}

/// Several givers, the first of which gives as long as it has something: pages that hold nothing, then clean ones,
/// then those that must be saved.
#[derive(Debug)]
pub struct InOrder<'g, G: ?Sized>(pub &'g mut [&'g mut G]);

impl<G: Giver + ?Sized> Giver for InOrder<'_, G> {
    fn give(&mut self, asked: &RevocationRecord, missing: u32) -> u32 {
        let mut givers = self.0.iter_mut().map(|giver| giver.give(asked, missing));
        givers.find(|given| *given != 0).unwrap_or(0)
    }
}

/// The request that the caller has not answered yet, if there is one.
pub fn asked() -> Option<RevocationRecord> {
    let index = environment::own()?.index;
    let record = exposed::revocation_at(index)?;
    let open = matches!(
        record.state(),
        RevocationState::Asked | RevocationState::Extended
    );
    open.then_some(record)
}

/// How much of what was asked for is missing.
fn missing(asked: &RevocationRecord) -> u32 {
    let owner = asked.owner();
    let account = exposed::account_at(owner.index()).filter(|it| it.epoch == owner.epoch().bits());
    let used = account.and_then(|it| it.used.get(usize::from(asked.resource)).copied());
    used.unwrap_or(0).saturating_sub(asked.target)
}

/// Answers the open request with what `giver` gives. Whether there was one and it was met; if it was not, more time was
/// asked for, and this can be called again.
///
/// # Errors
/// Those of `revoke_answer`: [`Error::TimedOut`] when the kernel takes, [`Error::MissingRight`] if there is no more
/// time to be had.
pub fn answer(giver: &mut impl Giver) -> Result<bool, Error> {
    let Some(asked) = asked() else {
        return Ok(false);
    };
    loop {
        let missing = missing(&asked);
        if missing == 0 {
            match stubs::revoke_answer(asked.serial, Answer::Done) {
                // Pages that were asked for by number are there still.
                Err(Error::OverAllowance) => {}
                answered => return answered.map(|()| true),
            }
        }
        if giver.give(&asked, missing) == 0 {
            stubs::revoke_answer(asked.serial, Answer::MoreTime)?;
            return Ok(false);
        }
    }
}
