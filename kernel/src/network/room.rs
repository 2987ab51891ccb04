//! The memory of filters, rings and frames that wait, set apart at boot.
//!
//! Pools are as large as the sum of all allowances, so that none is ever found empty: what one account does not
//! use, no other can have.

use core::ops::Range;

use exopi_abi::domain::{KEY_WEIGHT, MAX_ENVIRONMENTS, RING_WEIGHT};
use exopi_abi::net::{FilterRecord, InterfaceRecord, MAX_INTERFACES, RingRecord, SendRecord};
use exopi_filter::{Chunk, Filter, KeyRecord, MAX_CODE_WORDS, Pools as FilterPools, slots_for};
use exopi_frames::{Binding, Frames, Lane, Pools, RingPages, Rule, Slot};

use crate::arch::mmu;

/// Interfaces.
pub const INTERFACES: usize = 2;
/// What all accounts may have together of filters and what goes with them, and of rings and what goes with them.
pub(super) const MOST_FILTERS: usize = 1024;
pub(super) const MOST_FRAMES: usize = 1024;
/// Filters of an interface, the root counted.
pub const FILTERS: usize = MOST_FILTERS;
/// Keys of an interface.
pub(super) const KEYS: usize = MOST_FILTERS / KEY_WEIGHT as usize;
/// Packet rings.
pub const RINGS: usize = MOST_FRAMES / RING_WEIGHT as usize;
/// Send capabilities.
pub const SENDS: usize = MOST_FILTERS;
/// Chunks of an interface: no filter has more than nine.
const CHUNKS: usize = 9 * FILTERS;
/// Bindings, and slots: the first is not used.
const BINDINGS: usize = MOST_FRAMES + 1;
const SLOTS: usize = MOST_FRAMES + 1;
const LANES: usize = MAX_INTERFACES * MAX_ENVIRONMENTS;

/// Bytes that `count` values take with what aligns them.
const fn bytes<T>(count: usize) -> u64 {
    (count * size_of::<T>()).next_multiple_of(ALIGNMENT) as u64
}

const ALIGNMENT: usize = 64;

/// Bytes of the kernel's own part.
pub const BYTES: u64 = INTERFACES as u64
    * (bytes::<Filter>(FILTERS)
        + bytes::<u32>(slots_for(FILTERS))
        + bytes::<Chunk>(CHUNKS)
        + bytes::<KeyRecord>(KEYS))
    + bytes::<Binding>(BINDINGS)
    + bytes::<Rule>(SENDS)
    + bytes::<Slot>(SLOTS)
    + bytes::<Lane>(LANES)
    + bytes::<u32>(MAX_ENVIRONMENTS)
    + bytes::<u32>(MAX_CODE_WORDS);

/// Where all of it is.
#[derive(Debug)]
pub struct Room {
    /// Records that everybody sees.
    pub interfaces: &'static mut [InterfaceRecord],
    /// Of all interfaces.
    pub filters: &'static mut [FilterRecord],
    /// As above.
    pub rings: &'static mut [RingRecord],
    /// As above.
    pub ring_pages: &'static mut [RingPages],
    /// As above.
    pub sends: &'static mut [SendRecord],
    /// [`BYTES`] of RAM that are nobody else's, aligned to a page.
    pub private: Range<u64>,
}

/// RAM that is handed out from its beginning.
struct Heap(Range<u64>);

impl Heap {
    /// `count` times `value`; nothing if there is no room, which [`BYTES`] rules out.
    fn take<T: Copy>(&mut self, count: usize, value: T) -> &'static mut [T] {
        let at = self.0.start;
        let end = at + bytes::<T>(count);
        if end > self.0.end || align_of::<T>() > ALIGNMENT {
            return &mut [];
        }
        self.0.start = end;
        let first = mmu::linear(at) as *mut T;
        for index in 0..count {
            // SAFETY: RAM in the linear window that is the caller's of `Room`, aligned, and handed out once.
            unsafe { first.wrapping_add(index).write(value) };
        }
        // SAFETY: as above, and all of it was written just now.
        unsafe { core::slice::from_raw_parts_mut(first, count) }
    }
}

/// The filters of an interface.
type OfInterface = (FilterPools<'static>, &'static mut [FilterRecord]);

impl Room {
    /// Lays everything out.
    pub(super) fn furnish(self) -> (Frames<'static>, [OfInterface; INTERFACES]) {
        let mut heap = Heap(self.private);
        let frames = Frames::new(Pools {
            interfaces: self.interfaces,
            bindings: heap.take(BINDINGS, Binding::default()),
            rings: self.rings,
            ring_pages: self.ring_pages,
            sends: self.sends,
            rules: heap.take(SENDS, Rule::ANY),
            slots: heap.take(SLOTS, Slot::EMPTY),
            lanes: heap.take(LANES, Lane::EMPTY),
            makers: heap.take(MAX_ENVIRONMENTS, 0),
            scratch: heap.take(MAX_CODE_WORDS, 0),
        });
        let mut records = self.filters.chunks_mut(FILTERS);
        let tries = core::array::from_fn(|_| {
            let pools = FilterPools {
                filters: heap.take(FILTERS, Filter::default()),
                slots: heap.take(slots_for(FILTERS), 0),
                chunks: heap.take(CHUNKS, Chunk::default()),
                keys: heap.take(KEYS, KeyRecord::default()),
            };
            (pools, records.next().unwrap_or_default())
        });
        (frames, tries)
    }
}
