//! Lists of waiting threads, by a hash of what they wait for, each in the order of coming.

use super::slot::{Slot, ThreadIndex};

/// How many lists there are: a power of two.
const LISTS: usize = 32;

/// A list's ends.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    first: Option<ThreadIndex>,
    last: Option<ThreadIndex>,
}

/// All lists. Their links are in the slots.
#[derive(Clone, Debug)]
pub(super) struct Lists([Ends; LISTS]);

impl Lists {
    pub(super) const fn new() -> Self {
        Self(
            [Ends {
                first: None,
                last: None,
            }; LISTS],
        )
    }

    /// The list of a key: by the upper bits of a product, as the lower ones of addresses are mostly alike
    /// (Knuth, The Art of Computer Programming 3, 6.4).
    fn ends(&mut self, key: u64) -> Option<&mut Ends> {
        self.0.get_mut(list_of(key))
    }

    /// Enters a thread as the last; its slot says what it waits for.
    pub(super) fn append(&mut self, slots: &mut [Slot], thread: ThreadIndex) {
        let Some(slot) = slots.get_mut(thread.get()) else {
            return;
        };
        let Some(ends) = self.ends(slot.wait.key) else {
            return;
        };
        let last = ends.last.replace(thread);
        slot.previous = last;
        slot.next = None;
        match last.and_then(|last| slots.get_mut(last.get())) {
            Some(last) => last.next = Some(thread),
            None => ends.first = Some(thread),
        }
    }

    /// Takes a thread out that waited for `key`.
    pub(super) fn remove(&mut self, slots: &mut [Slot], thread: ThreadIndex, key: u64) {
        let Some(slot) = slots.get_mut(thread.get()) else {
            return;
        };
        let (previous, next) = (slot.previous.take(), slot.next.take());
        let Some(ends) = self.ends(key) else {
            return;
        };
        match previous.and_then(|previous| slots.get_mut(previous.get())) {
            Some(previous) => previous.next = next,
            None => ends.first = next,
        }
        match next.and_then(|next| slots.get_mut(next.get())) {
            Some(next) => next.previous = previous,
            None => ends.last = previous,
        }
    }

    /// The first thread that waits for a key.
    pub(super) fn first(&self, slots: &[Slot], key: u64) -> Option<ThreadIndex> {
        let first = self.0.get(list_of(key))?.first;
        Self::from(slots, first, key)
    }

    /// The next one that waits for the same.
    pub(super) fn next(
        &self,
        slots: &[Slot],
        thread: ThreadIndex,
        key: u64,
    ) -> Option<ThreadIndex> {
        let next = slots.get(thread.get())?.next;
        Self::from(slots, next, key)
    }

    /// The first one from `thread` on that waits for `key`.
    fn from(slots: &[Slot], mut thread: Option<ThreadIndex>, key: u64) -> Option<ThreadIndex> {
        while let Some(found) = thread {
            let slot = slots.get(found.get())?;
            if slot.wait.key == key {
                return Some(found);
            }
            thread = slot.next;
        }
        None
    }
}

fn list_of(key: u64) -> usize {
    let product = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product >> (u64::BITS - LISTS.trailing_zeros())) as usize
}
