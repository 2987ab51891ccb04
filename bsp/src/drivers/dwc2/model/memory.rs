//! Memory of which processor and devices each see what they have been shown: nothing is coherent by itself.
//!
//! Lines that the processor has written and not cleaned are *dirty*: a cache may write them back whenever it
//! likes. A device that writes where a line is dirty is a bug of the driver, as is a look of the processor at
//! what a device may be writing to.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use crate::dma::{DmaMemory, LINE};

/// Where devices see it.
pub(crate) const BUS_ADDRESS: u32 = 0xc020_0000;

/// A range that a channel has.
#[derive(Clone, Debug)]
struct Hold {
    channel: usize,
    range: Range<usize>,
    writes: bool,
}

/// What devices see, and what they have.
#[derive(Debug)]
pub(crate) struct Shared {
    bytes: Vec<u8>,
    dirty: Vec<bool>,
    holds: Vec<Hold>,
    /// What stopped transfers had, of whose channels none has ended by itself since. A channel's last two
    /// count.
    ghosts: Vec<Hold>,
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

fn lines(range: &Range<usize>) -> Range<usize> {
    range.start / LINE..range.end.div_ceil(LINE)
}

impl Shared {
    /// A channel begins to use `length` bytes at bus address `at`.
    pub(crate) fn hold(&mut self, channel: usize, at: u32, length: usize, writes: bool) {
        let start = at.checked_sub(BUS_ADDRESS).expect("memory of the driver") as usize;
        let range = start..start + length;
        assert!(range.end <= self.bytes.len(), "beyond the driver's memory");
        self.release(channel);
        let ghosts = self.ghosts.iter().filter(|hold| hold.channel != channel);
        for other in self.holds.iter().chain(ghosts) {
            let both_read = !writes && !other.writes;
            assert!(
                both_read || !overlap(&range, &other.range),
                "channel {channel} is given what channel {} has",
                other.channel
            );
        }
        if writes {
            let dirty = lines(&range).any(|line| self.dirty[line]);
            assert!(
                !dirty,
                "a dirty line may be written over what the device writes"
            );
        }
        self.holds.push(Hold {
            channel,
            range,
            writes,
        });
    }

    /// A channel was stopped, and may go on.
    pub(crate) fn haunt(&mut self, channel: usize) {
        let own = self.holds.iter().find(|hold| hold.channel == channel);
        self.ghosts.extend(own.cloned());
        self.release(channel);
        let own = self.ghosts.iter().filter(|hold| hold.channel == channel);
        if own.count() > 2 {
            let oldest = self.ghosts.iter().position(|hold| hold.channel == channel);
            self.ghosts.remove(oldest.unwrap());
        }
    }

    /// A channel's transfer has ended by itself.
    pub(crate) fn lay(&mut self, channel: usize) {
        self.release(channel);
        self.ghosts.retain(|hold| hold.channel != channel);
    }

    pub(crate) fn release(&mut self, channel: usize) {
        self.holds.retain(|hold| hold.channel != channel);
    }

    /// A device reads.
    pub(crate) fn read(&self, at: u32, length: usize) -> Vec<u8> {
        let start = (at - BUS_ADDRESS) as usize;
        self.bytes[start..start + length].to_vec()
    }

    /// A device writes.
    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) {
        let start = (at - BUS_ADDRESS) as usize;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }
}

/// The driver's side.
#[derive(Debug)]
pub(crate) struct Memory {
    seen: Vec<u8>,
    shared: Rc<RefCell<Shared>>,
}

impl Memory {
    /// Memory that nobody has written, full of what was there before.
    pub(crate) fn new(length: usize) -> (Self, Rc<RefCell<Shared>>) {
        let shared = Shared {
            bytes: vec![0xa5; length],
            // Somebody has just zeroed it.
            dirty: vec![true; length.div_ceil(LINE)],
            holds: Vec::new(),
            ghosts: Vec::new(),
        };
        let shared = Rc::new(RefCell::new(shared));
        let seen = vec![0x5a; length];
        (
            Self {
                seen,
                shared: shared.clone(),
            },
            shared,
        )
    }

    #[track_caller]
    fn check(&self, range: &Range<usize>, writes: bool) {
        let shared = self.shared.borrow();
        for hold in shared.holds.iter().chain(&shared.ghosts) {
            assert!(
                !(writes || hold.writes) || !overlap(range, &hold.range),
                "{range:?} is channel {}'s",
                hold.channel
            );
        }
    }
}

impl DmaMemory for Memory {
    fn len(&self) -> usize {
        self.seen.len()
    }

    fn bus_address(&self) -> u32 {
        BUS_ADDRESS
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.check(&range, false);
        &self.seen[range]
    }

    fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.check(&range, true);
        for line in lines(&range) {
            self.shared.borrow_mut().dirty[line] = true;
        }
        &mut self.seen[range]
    }

    fn clean(&mut self, range: Range<usize>) {
        assert!(range.start.is_multiple_of(LINE) && range.end.is_multiple_of(LINE));
        let mut shared = self.shared.borrow_mut();
        for line in lines(&range) {
            // A line that is not dirty is not written back.
            if std::mem::take(&mut shared.dirty[line]) {
                let line = line * LINE..(line + 1) * LINE;
                shared.bytes[line.clone()].copy_from_slice(&self.seen[line]);
            }
        }
    }

    fn invalidate(&mut self, range: Range<usize>) {
        assert!(range.start.is_multiple_of(LINE) && range.end.is_multiple_of(LINE));
        let mut shared = self.shared.borrow_mut();
        for line in lines(&range) {
            shared.dirty[line] = false;
        }
        self.seen[range.clone()].copy_from_slice(&shared.bytes[range]);
    }
}
