//! Delivery: from a frame to entries of rings.

use exopi_abi::PageNumber;
use exopi_abi::domain::ObjectName;
use exopi_abi::net::{
    EntryFlags, EntryHeader, KERNEL, LEAST_FRAME, MAX_TAPS, MOST_FRAME, PROGRAM, Piece,
    filter_index,
};
use exopi_filter::{FilterId, Trie};

use crate::rings::shape_of;
use crate::{Frames, Ledger, Memory, Went};

/// A frame's octets: some, and behind them pieces of pages.
pub(crate) struct Content<'f> {
    pub(crate) head: &'f [u8],
    pub(crate) pieces: &'f [Piece],
}

impl Content<'_> {
    /// Copies as much as `room` octets to `offset` of a page.
    fn copy(&self, page: PageNumber, mut offset: usize, room: usize, memory: &mut impl Memory) {
        let mut left = room;
        let head = self.head.get(..left).unwrap_or(self.head);
        memory.write(page, offset, head);
        offset += head.len();
        left -= head.len();
        for piece in self.pieces {
            let count = usize::from(piece.length).min(left);
            let from = (piece.page, usize::from(piece.offset));
            memory.copy(from, (page, offset), count);
            (offset, left) = (offset + count, left - count);
        }
    }
}

/// A frame that has come.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'f> {
    /// The interface that it came by.
    pub interface: usize,
    /// The frame.
    pub frame: &'f [u8],
    /// When it came, in ticks.
    pub time: u64,
}

/// What became of a frame that has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Rings that it was put into.
    pub copies: u8,
    /// Rings that had no room for it.
    pub full: u8,
}

impl Frames<'_> {
    /// Delivers a frame, classified by the interpreter: to the rings of the filter that it comes to, 8 at most, and to
    /// taps.
    pub fn receive(&mut self, arrival: Arrival<'_>, memory: &mut impl Memory) -> Delivered {
        let Some(found) = self.interface(arrival.interface) else {
            return Delivered::default();
        };
        let filter = found.trie.classify(arrival.frame);
        self.deliver(arrival, filter, memory)
    }

    /// The same for a frame that was classified: `filter` is what [`Trie::classify`](exopi_filter::Trie::classify) or its
    /// code gave.
    pub fn deliver(
        &mut self,
        arrival: Arrival<'_>,
        filter: FilterId,
        memory: &mut impl Memory,
    ) -> Delivered {
        let Arrival {
            interface,
            frame,
            time,
        } = arrival;
        let whole = (LEAST_FRAME..=MOST_FRAME).contains(&frame.len());
        self.count(interface, |record| {
            record.received = record.received.wrapping_add(1);
            record.misshapen = record.misshapen.wrapping_add(u64::from(!whole));
        });
        if !whole {
            return Delivered::default();
        }
        let content = Content {
            head: frame,
            pieces: &[],
        };
        let mut delivered = self.show(
            interface,
            &content,
            frame.len(),
            EntryFlags::empty(),
            time,
            memory,
        );
        let Some(found) = self.interface_mut(interface) else {
            return delivered;
        };
        let id = found.trie.receiver(filter);
        let Some(record) = found.filters.get_mut(id.0 as usize) else {
            return delivered;
        };
        record.frames = record.frames.wrapping_add(1);
        let index = filter_index(interface, id.0 as usize).unwrap_or_default();
        let header = EntryHeader {
            length: frame.len() as u16,
            interface: interface as u8,
            time,
            filter: u64::from(index) | record.epoch << u16::BITS,
            ..EntryHeader::default()
        };
        let mut targets = [0; exopi_abi::net::MAX_REFERENCES];
        let found = found.trie.filter(id);
        let found = found.iter().flat_map(|filter| filter.targets());
        let mut bound = false;
        for (place, target) in targets.iter_mut().zip(found) {
            *place = target as u16;
            bound = true;
        }
        for target in targets {
            if let Some(ring) = self.bindings.get(target).map(|binding| binding.ring) {
                self.put(ring, &content, header, &mut delivered, memory);
            }
        }
        self.count(interface, |record| {
            record.unclaimed = record.unclaimed.wrapping_add(u64::from(!bound));
        });
        delivered
    }

    /// Shows a frame to an interface's taps.
    pub(crate) fn show(
        &mut self,
        interface: usize,
        content: &Content<'_>,
        length: usize,
        flags: EntryFlags,
        time: u64,
        memory: &mut impl Memory,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        let taps = self.interface(interface).map(|found| found.taps);
        let header = EntryHeader {
            length: length as u16,
            interface: interface as u8,
            flags: flags | EntryFlags::TAP,
            time,
            ..EntryHeader::default()
        };
        for tap in taps.unwrap_or([0; MAX_TAPS]) {
            if let Some(ring) = tap.checked_sub(1) {
                self.put(ring, content, header, &mut delivered, memory);
            }
        }
        delivered
    }

    /// Puts a frame into the next entry of a ring, if that is the kernel's.
    fn put(
        &mut self,
        ring: u16,
        content: &Content<'_>,
        header: EntryHeader,
        delivered: &mut Delivered,
        memory: &mut impl Memory,
    ) {
        let record = self
            .ring(ring)
            .filter(|record| record.leaving == 0)
            .copied();
        let Some((record, shape)) = record.and_then(|record| Some((record, shape_of(&record)?)))
        else {
            return;
        };
        let (page, offset) = shape.place(record.next as usize);
        let Some(page) = self.ring_page(ring, page) else {
            return;
        };
        let empty = memory.load(page, offset) == KERNEL;
        let stored = shape.entry().room().min(header.length.into());
        if empty {
            let header = EntryHeader {
                stored: stored as u16,
                lost: record.lost as u32,
                ..header
            };
            memory.write(page, offset + size_of::<u32>(), &header.behind_state());
            content.copy(page, offset + EntryHeader::OCTETS, stored, memory);
            memory.store(page, offset, PROGRAM);
            if let Some(notice) = record.notice.checked_sub(1) {
                memory.tell(ObjectName::from_word(record.environment), notice);
            }
        }
        let next = (record.next as usize + 1) % shape.entries();
        if let Some(record) = self.rings.get_mut(usize::from(ring)) {
            if empty {
                record.next = next as u32;
                record.frames = record.frames.wrapping_add(1);
            } else {
                record.lost = record.lost.wrapping_add(1);
            }
        }
        delivered.copies += u8::from(empty);
        delivered.full += u8::from(!empty);
        self.count(header.interface.into(), |record| {
            record.copies = record.copies.wrapping_add(empty.into());
            record.no_room = record.no_room.wrapping_add((!empty).into());
        });
    }

    /// Lets the next frame that waits on a loopback interface come in there, classified by `classify`: the interpreter or
    /// the code. Whether there was one.
    pub fn loop_back(
        &mut self,
        interface: usize,
        now: u64,
        classify: impl FnOnce(&Trie<'_>, &[u8]) -> FilterId,
        memory: &mut impl Memory,
        ledger: &mut impl Ledger,
    ) -> bool {
        let mut frame = [0; MOST_FRAME];
        let Some(out) = self.next(interface) else {
            return false;
        };
        let (token, length) = (out.token, out.length);
        let mut done = out.head.len();
        if let Some(place) = frame.get_mut(..done) {
            place.copy_from_slice(out.head);
        }
        for piece in out.pieces {
            let end = done + usize::from(piece.length);
            if let Some(place) = frame.get_mut(done..end) {
                memory.read(piece.page, piece.offset.into(), place);
            }
            done = end;
        }
        self.went(token, Went::Copied, now, memory, ledger);
        let frame = frame.get(..length).unwrap_or_default();
        let time = now;
        let arrival = Arrival {
            interface,
            frame,
            time,
        };
        if let Some(filter) = self.trie(interface).map(|trie| classify(trie, frame)) {
            self.deliver(arrival, filter, memory);
        }
        true
    }
}
