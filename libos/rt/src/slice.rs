//! Slices of processor time: where on a core's vector an environment runs.
//!
//! A slice is a place in the circular vector of one core, bound to one environment. Each time that the core comes by,
//! that environment runs for a while: the place decides how long it waits for it, the number of its slices how much
//! it gets. Which slices there are, whose they are and what they have left is exposed.

use exopi_abi::slice::Place;
pub use exopi_abi::slice::SliceRecord;

use crate::capability::SliceRights;
use crate::domain::ObjectName;
use crate::handle::{Environment, Owns, Slice};
use crate::{Error, account, exposed, stubs};

/// Any position.
const ANY: u64 = u64::MAX;

/// Which one runs no record tells.
impl Owns for SliceRights {
    fn own() -> Option<ObjectName> {
        None
    }
}

/// The slices of an environment, with their names.
pub fn of(environment: ObjectName) -> impl Iterator<Item = (ObjectName, SliceRecord)> {
    let word = environment.word();
    exposed::slices().filter(move |(_, record)| record.environment == word)
}

impl Slice<'static> {
    /// A new slice for `environment` on `core`, at `position` or at the lowest one that is free.
    ///
    /// # Errors
    /// Those of `slice_alloc`.
    pub fn alloc(
        core: u64,
        position: Option<u64>,
        environment: Environment<'_>,
    ) -> Result<Self, Error> {
        let position = position.unwrap_or(ANY);
        stubs::slice_alloc(core, position, environment.object()).map(Self::Owned)
    }
}

impl Slice<'_> {
    /// Its record, if it is there still.
    pub fn record(self) -> Option<SliceRecord> {
        exposed::slice(self.name()?)
    }

    /// Gives its turns to `environment`.
    ///
    /// # Errors
    /// Those of `slice_bind`.
    pub fn bind(self, environment: Environment<'_>) -> Result<(), Error> {
        stubs::slice_bind(self.object(), environment.object())
    }

    /// Moves it to `core`, to `position` or to the lowest one that is free. It has another name there.
    ///
    /// # Errors
    /// Those of `slice_move`.
    pub fn move_to(self, core: u64, position: Option<u64>) -> Result<Slice<'static>, Error> {
        stubs::slice_move(self.object(), core, position.unwrap_or(ANY)).map(Slice::Owned)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// Those of `slice_free`.
    pub fn free(self) -> Result<(), Error> {
        stubs::slice_free(self.object())
    }
}

/// Sees to it that `environment` has a slice on `core` that is charged to the account that the caller draws on: one
/// that it has there, or has elsewhere and that is moved, or a new one.
///
/// # Errors
/// Those of `slice_move` and `slice_alloc`.
pub(crate) fn place(environment: Environment<'_>, core: u64) -> Result<(), Error> {
    let paid = account::drawn_on();
    let name = environment.name().ok_or(Error::Stale)?;
    let mut elsewhere = None;
    for (slice, _) in of(name).filter(|(_, record)| Some(record.account) == paid) {
        match Place::of_number(slice.index) {
            Some(place) if u64::from(place.core()) == core => return Ok(()),
            _ => elsewhere = Some(slice),
        }
    }
    match elsewhere {
        Some(slice) => Slice::Owned(slice).move_to(core, None).map(|_| ()),
        None => Slice::alloc(core, None, environment).map(|_| ()),
    }
}
