//! Taps: rings that see every frame of an interface, in either direction. For holders of all rights to its root filter.

use exopi_abi::Error;
use exopi_abi::capability::FilterRights;
use exopi_abi::domain::ObjectName;
use exopi_filter::FilterId;

use crate::{By, Claim, Frames};

impl Frames<'_> {
    /// Whether anybody taps an interface.
    pub(crate) fn has_taps(&self, interface: usize) -> bool {
        let found = self.interface(interface);
        found.is_some_and(|found| found.taps.iter().any(|tap| *tap != 0))
    }

    /// Makes a ring of the caller's a tap, as the row `nettap` of the call table says. It is one until its end, and may be
    /// bound to filters as well.
    ///
    /// # Errors
    /// In the order in which they are looked for: of the filter those of a claim with all rights;
    /// [`Error::MissingRight`] for one that is not a root; of the ring [`Error::NotYours`], [`Error::Stale`];
    /// [`Error::Occupied`] if it is a tap; [`Error::LimitReached`].
    pub fn nettap(&mut self, by: &By, root: Claim<'_>, ring: ObjectName) -> Result<(), Error> {
        let (place, _) = self.live_filter(by, root, FilterRights::all())?;
        if place.id != FilterId::ROOT || place.key.is_some() {
            return Err(Error::MissingRight);
        }
        let index = self.live_ring(by, ring)?;
        if self.ring(index).is_some_and(|record| record.tap != 0) {
            return Err(Error::Occupied);
        }
        let found = self.interface_mut(place.interface).ok_or(Error::Stale)?;
        let free = found.taps.iter_mut().find(|tap| **tap == 0);
        *free.ok_or(Error::LimitReached)? = index + 1;
        if let Some(record) = self.rings.get_mut(usize::from(index)) {
            record.tap = place.interface as u8 + 1;
        }
        self.count(place.interface, |record| record.taps += 1);
        Ok(())
    }

    /// A ring is no tap of interface `tap` - 1 any more.
    pub(crate) fn untap(&mut self, ring: u16, tap: u8) {
        let Some(interface) = usize::from(tap).checked_sub(1) else {
            return;
        };
        let Some(found) = self.interface_mut(interface) else {
            return;
        };
        for place in &mut found.taps {
            if *place == ring + 1 {
                *place = 0;
            }
        }
        self.count(interface, |record| record.taps -= 1);
    }
}
