//! Writes to the controller, no closer to each other than it can take.
//!
//! The controller loses a write that comes within two cycles of the card's clock after another one, the data
//! register excepted (a fault of this block that systems for the chip agree on). At the clock for identification
//! that is several microseconds, for which nobody is to wait: writes queue up, and the queue is looked at again.

use tock_registers::interfaces::{Readable, Writeable};

use super::registers::STATUS;
use crate::bus::{Bus, ReadWrite, RegisterAt};

/// Most writes of one step.
const MOST: usize = 6;
/// Microseconds between two writes at up to [`SLOW_HZ`], or without a clock: four cycles.
pub(super) const GAP: u64 = 10;
/// The fastest clock at which writes keep their distance by time.
pub(super) const SLOW_HZ: u32 = 400_000;

/// Writes that wait for their turn.
#[derive(Debug)]
pub(super) struct Pace {
    writes: [(usize, u32); MOST],
    count: usize,
    done: usize,
    /// Nothing may be written before.
    free_at: u64,
    slow: bool,
}

impl Pace {
    pub(super) const NEW: Self = Self {
        writes: [(0, 0); MOST],
        count: 0,
        done: 0,
        free_at: 0,
        slow: true,
    };

    /// The clock that the card has from now on; 0 for none.
    pub(super) fn set_clock(&mut self, hertz: u32) {
        self.slow = hertz <= SLOW_HZ;
    }

    /// Adds a write, which waits for [`Pace::drain`].
    pub(super) fn push<R: tock_registers::RegisterLongName>(
        &mut self,
        register: &RegisterAt<ReadWrite, R>,
        value: u32,
    ) {
        if let Some(place) = self.writes.get_mut(self.count) {
            *place = (register.offset(), value);
            self.count += 1;
        }
    }

    /// Writes what can be written now. If that is not all, when to go on.
    pub(super) fn drain<B: Bus>(&mut self, bus: &B, now: u64) -> Option<u64> {
        while let Some((offset, value)) = self.writes.get(self.done..self.count)?.first() {
            if self.slow && now < self.free_at {
                return Some(self.free_at);
            }
            RegisterAt::<ReadWrite>::new(*offset).on(bus).set(*value);
            self.done += 1;
            self.free_at = now + GAP;
            if !self.slow {
                // At 25 MHz four cycles are over before the controller's bus has answered a read.
                STATUS.on(bus).get();
            }
        }
        self.count = 0;
        self.done = 0;
        None
    }
}
