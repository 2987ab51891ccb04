//! Pins: frames that the kernel itself reads or writes on somebody's behalf, between calls.
//!
//! A pin is a reference like a mapping: the frame changes neither its type nor its owner meanwhile. Who made it
//! knows of it, and takes it away; here is only counted how many there are, in the record, so that all
//! references of a frame can be told apart: `references` = entries that name it + pins.
//!
//! Breaking takes mappings away and leaves pins: what the kernel writes there reaches nobody who has no mapping.

use exopi_abi::page::{Owner, PageRecord};
use exopi_abi::{Error, PageNumber};

use crate::right::Claim;
use crate::space::bindable;
use crate::{Hardware, Index, Pages};

impl Pages<'_> {
    /// Whether a pin could be made.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::OutOfRange`], [`Error::NotYours`],
    /// [`Error::WrongType`], [`Error::Leaving`], [`Error::LimitReached`] if `more` pins would be too many.
    pub fn pinnable(&self, who: Owner, page: PageNumber, more: u8) -> Result<(), Error> {
        let record = self.plain(page, Claim::Owner(who))?;
        if !bindable(record) {
            return Err(Error::Leaving);
        }
        if PageRecord::MAX_PINS - record.pins() < more {
            return Err(Error::LimitReached);
        }
        Ok(())
    }

    /// Pins a page that [`Pages::pinnable`] was right about.
    pub fn pin(&mut self, page: PageNumber) {
        self.update(page, |record| {
            record.marks += 1;
            record.references += 1;
        });
    }

    /// Takes a pin away that [`Pages::pin`] made.
    pub fn unpin(&mut self, page: PageNumber) {
        self.update(page, |record| {
            record.marks -= 1;
            record.references -= 1;
        });
    }

    /// What a word of a pinned page holds. Programs may change it at any time: it is data.
    pub fn pinned_word<H: Hardware>(&self, hw: &H, page: PageNumber, index: Index) -> u64 {
        match self.record(page) {
            Some(record) if record.pins() != 0 => hw.word(page, index),
            _ => 0,
        }
    }

    /// Writes a word of a pinned page.
    pub fn set_pinned_word<H: Hardware>(
        &mut self,
        hw: &mut H,
        page: PageNumber,
        index: Index,
        value: u64,
    ) {
        if self.record(page).is_some_and(|record| record.pins() != 0) {
            hw.set_word(page, index, value);
        }
    }
}
