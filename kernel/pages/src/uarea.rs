//! u-areas: plain pages with one mapping that the kernel makes and takes away.

use exopi_abi::page::{FrameType, Owner};
use exopi_abi::{Error, PageNumber, VirtAddr};
use exopi_cap::Epochs;

use crate::binding::{Bind, Unbind};
use crate::right::{Claim, Drawn};
use crate::{Hardware, Index, Pages, Slot, Space, pte};

impl Pages<'_> {
    /// Makes `page`, a plain page of `who` that nothing refers to, a u-area, readable and writable at `at` in
    /// `space`, with the contents that it has. It stays there until [`Pages::remove_uarea`]: no `remove_pte` or
    /// `page_break` takes it away. The limit on others' references does not count: `who` asks for this one.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::NoTable`]; [`Error::Occupied`] by a superpage;
    /// [`Error::OutOfRange`], [`Error::NotYours`], [`Error::WrongType`], [`Error::InUse`],
    /// [`Error::Occupied`].
    pub fn make_uarea<H: Hardware>(
        &mut self,
        hw: &mut H,
        who: Owner,
        space: &Space,
        at: VirtAddr,
        page: PageNumber,
    ) -> Result<(), Error> {
        let found = self.table3(hw, space, at)?;
        let index = Index::in_table3(at);
        self.spare(page, Claim::Owner(who))?;
        if pte::is_valid(hw.entry(found.table, index)) {
            return Err(Error::Occupied);
        }
        let bind = Bind {
            found,
            index,
            page,
            foreign: who != space.owner(),
        };
        self.retype(page, FrameType::UArea, Slot::NONE.word(), Slot::NONE.word());
        self.commit_bind(hw, bind, pte::uarea(page));
        self.count_entries(found.table, 1);
        hw.publish();
        Ok(())
    }

    /// Takes a u-area's mapping away and makes it a plain page of its owner again, with what is in it. Stamped
    /// anew, unless no epoch is left: this is the end of something, and does not fail for that.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::WrongType`].
    pub fn remove_uarea<H: Hardware>(
        &mut self,
        hw: &mut H,
        epochs: &mut Epochs,
        page: PageNumber,
    ) -> Result<(), Error> {
        let record = self.record(page).ok_or(Error::OutOfRange)?;
        if record.kind != FrameType::UArea {
            return Err(Error::WrongType);
        }
        // It has a mapping, in a table with links.
        let slot = Slot::from_word(record.first);
        let place = self.place(slot).ok_or(Error::WrongType)?;
        let unbind = Unbind {
            found: self.with_links(slot.table())?,
            index: slot.index(),
            page,
            foreign: record.owner != place.owner,
        };
        hw.set_entry(slot.table(), slot.index(), pte::INVALID);
        self.commit_unbind(hw, unbind);
        self.discount_entries(slot.table(), 1);
        hw.before_invalidate();
        hw.invalidate_page(place.mapping.asid, place.mapping.at.into());
        hw.complete();
        self.make_plain(page, Drawn::new(epochs).stamp_or_none());
        Ok(())
    }
}
