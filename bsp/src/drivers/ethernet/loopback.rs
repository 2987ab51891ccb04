//! An interface whose cable leads back to it: what is sent is received, in order.
//!
//! Its memory is fixed. With no place free a sender is told so, as by any interface; nothing is dropped.

use crate::traits::{
    Ethernet, FrameCounters, InFlight, LEAST_FRAME, Link, MOST_FRAME, MacAddress, SendError,
};

/// A place for a frame.
#[derive(Clone, Copy, Debug)]
struct Place {
    length: usize,
    bytes: [u8; MOST_FRAME],
}

/// A loopback interface with room for `N` frames.
#[derive(Debug)]
pub struct Loopback<const N: usize> {
    places: [Place; N],
    /// The oldest frame, and how many there are.
    first: usize,
    count: usize,
    receiving: bool,
    counters: FrameCounters,
}

impl<const N: usize> Loopback<N> {
    /// Its address: of the kind that anybody may choose (IEEE 802, 8.4), and no group's.
    pub const ADDRESS: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 1]);

    /// An interface with nothing on its way.
    pub const fn new() -> Self {
        const EMPTY: Place = Place {
            length: 0,
            bytes: [0; MOST_FRAME],
        };
        Self {
            places: [EMPTY; N],
            first: 0,
            count: 0,
            receiving: true,
            counters: FrameCounters {
                sent: 0,
                received: 0,
                lost: 0,
                malformed: 0,
                failed_transfers: 0,
                restarts: 0,
            },
        }
    }
}

impl<const N: usize> Default for Loopback<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes of all pieces; none if there are more than can be counted.
pub(super) fn total(pieces: &[&[u8]]) -> Option<usize> {
    pieces
        .iter()
        .try_fold(0_usize, |sum, piece| sum.checked_add(piece.len()))
        .filter(|total| (LEAST_FRAME..=MOST_FRAME).contains(total))
}

/// Copies pieces one behind the other to the beginning of `to`, as far as there is room.
fn gather(mut to: &mut [u8], pieces: &[&[u8]]) {
    for piece in pieces {
        let length = piece.len().min(to.len());
        let (here, rest) = core::mem::take(&mut to).split_at_mut(length);
        here.copy_from_slice(piece.get(..length).unwrap_or(&[]));
        to = rest;
    }
}

impl<const N: usize> Ethernet for Loopback<N> {
    fn address(&self) -> Option<MacAddress> {
        Some(Self::ADDRESS)
    }

    fn link(&self) -> Link {
        Link::Up
    }

    fn try_send(&mut self, pieces: &[&[u8]], _now: u64) -> Result<(), SendError> {
        let length = total(pieces).ok_or(SendError::Length)?;
        if self.count >= N {
            return Err(SendError::Full);
        }
        let at = (self.first + self.count) % N;
        let place = self.places.get_mut(at).ok_or(SendError::Full)?;
        gather(&mut place.bytes, pieces);
        place.length = length;
        self.count += 1;
        self.counters.sent = self.counters.sent.wrapping_add(1);
        Ok(())
    }

    fn try_receive(&mut self, take: impl FnOnce(&[u8])) -> bool {
        let place = self.places.get(self.first);
        let frame = place.and_then(|place| place.bytes.get(..place.length));
        let Some(frame) = frame.filter(|_| self.count > 0 && self.receiving) else {
            return false;
        };
        take(frame);
        self.first = (self.first + 1) % N;
        self.count -= 1;
        self.counters.received = self.counters.received.wrapping_add(1);
        true
    }

    fn serve(&mut self, _now: u64) {}

    fn next_look(&self) -> Option<u64> {
        None
    }

    fn set_receiving(&mut self, on: bool, _now: u64) {
        self.receiving = on;
    }

    fn in_flight(&self) -> InFlight {
        InFlight {
            sending: 0,
            sending_most: N,
            received: self.count,
            received_most: N,
        }
    }

    fn counters(&self) -> FrameCounters {
        self.counters
    }

    fn reset(&mut self, _now: u64) {
        self.counters.lost = self.counters.lost.wrapping_add(self.count as u64);
        self.counters.restarts = self.counters.restarts.wrapping_add(1);
        self.count = 0;
    }
}
