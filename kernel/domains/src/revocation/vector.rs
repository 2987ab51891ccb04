//! What a holder has lost, told in its repossession vector.
//!
//! An entry is written when it is complete: adjacent losses are kept in the record until one comes that is not, or
//! there is an outcome. So a reader never sees an entry grow.

use exopi_abi::domain::Resource;
use exopi_abi::revocation::{Loss, vector};
use exopi_pages::Hardware;

use crate::Domains;

impl Domains<'_> {
    /// The thing of number `number` was taken for the request at `index`.
    pub(super) fn lose<H: Hardware>(&mut self, hw: &mut H, index: u16, number: u32) {
        let Some([first, count]) = self.revocation(index).map(|record| record.pending) else {
            return;
        };
        let follows = count != 0 && first.checked_add(count) == Some(number);
        if !follows {
            self.tell_losses(hw, index);
        }
        self.update_revocation(index, |record| {
            record.taken += 1;
            record.pending = if follows {
                [first, count + 1]
            } else {
                [number, 1]
            };
        });
    }

    /// Writes what was kept back into the vector, or counts it if there is no room.
    pub(super) fn tell_losses<H: Hardware>(&mut self, hw: &mut H, index: u16) {
        let Some(record) = self.revocation(index).copied() else {
            return;
        };
        let [first, count] = record.pending;
        let Some(resource) = Resource::ALL.get(usize::from(record.resource)) else {
            return;
        };
        if count == 0 {
            return;
        }
        let read = self.vector_word(hw, &record, vector::READ);
        if vector::has_room(record.vector_pages, record.written, read) {
            let loss = Loss {
                serial: record.serial,
                resource: *resource,
                first: first.into(),
                count: count.into(),
            };
            let at = vector::place(record.vector_pages, record.written);
            for (word, value) in (at..).zip(loss.into_words()) {
                self.set_vector_word(hw, &record, word, value);
            }
            // Who sees that it was written sees what was.
            hw.publish();
            let written = record.written + 1;
            self.set_vector_word(hw, &record, vector::WRITTEN, written.into());
            self.update_revocation(index, |record| record.written = written);
        } else {
            // The record counts those of this request, and the vector all since it was set up: what the holder makes of
            // that word is its own affair.
            let all = self.vector_word(hw, &record, vector::MISSED);
            let all = all.wrapping_add(count.into());
            self.set_vector_word(hw, &record, vector::MISSED, all);
            self.update_revocation(index, |record| record.missed += count);
        }
        self.update_revocation(index, |record| record.pending = [0; 2]);
    }
}
