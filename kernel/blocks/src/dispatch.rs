//! Which requests make up the next command, and what becomes of them.
//!
//! ```text
//!   turn: A           A's requests by block:   12..14   40..44  44..48  90..91
//!                                   position ------^      '-- one command: 40..48
//!   then B, C, A ...
//! ```
//!
//! Within a requester's turn the device goes upwards and begins anew from below (C-SCAN), among the requests that need
//! wait for no other. The oldest of these goes first if later ones have passed it [`MOST_PASSED`] times, or
//! it has waited for [`MOST_WAIT`]. Requests that go on where the command ends, in the same direction, go along,
//! up to [`MOST_BLOCKS`] blocks.

use exopi_abi::disk::{BlockRange, DiskStatus, MOST_BLOCKS};
use exopi_abi::domain::ObjectName;

use crate::queue::{Direction, Ended, MOST_PASSED, MOST_WAIT, NONE, Queue, slots};

/// Most requests that [`Queue::next`] gives up on its way to a command, and that [`Queue::refuse`] looks at in one call.
pub const LOOKS: usize = 64;

/// What the device is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Read or write.
    pub direction: Direction,
    /// Its blocks.
    pub blocks: BlockRange,
    pages: [u32; MOST_BLOCKS],
}

impl Command {
    /// The frame of each block's page.
    pub fn pages(&self) -> &[u32] {
        self.pages.get(..self.blocks.count as usize).unwrap_or(&[])
    }
}

impl Queue<'_> {
    /// The next command, which the device has from now on until [`Queue::ended`]. None if it has one, or nothing is
    /// queued, or [`LOOKS`] requests were given up: then more may be.
    ///
    /// Each request is given only if its extent is still `good` for its blocks. If not, it is told now.
    pub fn next(
        &mut self,
        now: u64,
        mut good: impl FnMut(ObjectName, BlockRange) -> bool,
        mut told: impl FnMut(&Ended<'_>),
    ) -> Option<Command> {
        if self.is_busy() {
            return None;
        }
        for _ in 0..LOOKS {
            let who = self.turn;
            let slot = self.choose(who, now)?;
            let (index, request) = self.in_slot(self.requester(who)?, slot)?;
            let (extent, blocks) = (request.extent, request.blocks);
            if !good(extent, blocks) {
                self.tell(index, DiskStatus::Stale, Some(now), &mut told);
                continue;
            }
            let command = self.gather(who, slot, index, &mut good)?;
            // The next requester's turn; if this one is the only one, its own again.
            if self.turn == who {
                self.turn = self.requester(who)?.behind;
            }
            self.counters.commands = self.counters.commands.wrapping_add(1);
            return Some(command);
        }
        None
    }

    /// The slot whose request goes next in this requester's turn.
    fn choose(&mut self, who: u16, now: u64) -> Option<usize> {
        let requester = *self.requester(who)?;
        let position = self.position;
        let mut oldest: Option<(u64, usize)> = None;
        let mut best: Option<(bool, u32, u64, usize)> = None;
        for slot in slots(requester.queued) {
            let Some((_, request)) = self.in_slot(&requester, slot) else {
                continue;
            };
            if request.after != 0 {
                continue;
            }
            oldest = oldest.min_some((request.number, slot));
            let first = request.blocks.first;
            best = best.min_some((first < position, first, request.number, slot));
        }
        let (_, oldest) = oldest?;
        let (.., best) = best?;
        let (_, request) = self.in_slot(&requester, oldest)?;
        let late = now >= request.since.saturating_add(MOST_WAIT);
        if best != oldest && (late || request.passed >= MOST_PASSED) {
            self.counters.overdue = self.counters.overdue.wrapping_add(1);
            return Some(oldest);
        }
        Some(best)
    }

    /// Takes the chosen request and those that go on where it ends.
    fn gather(
        &mut self,
        who: u16,
        slot: usize,
        index: u16,
        good: &mut impl FnMut(ObjectName, BlockRange) -> bool,
    ) -> Option<Command> {
        let first = *self.request(index)?;
        let mut command = Command {
            direction: first.direction,
            blocks: first.blocks,
            pages: first.pages,
        };
        let mut last_number = first.number;
        self.hand_over(who, slot, index);
        while !first.alone
            && let Some((slot, index)) = self.goes_on(who, &command, good)
        {
            let more = *self.request(index)?;
            let free = command.pages.get_mut(command.blocks.count as usize..)?;
            for (to, from) in free.iter_mut().zip(more.pages()) {
                *to = *from;
            }
            command.blocks.count += more.blocks.count;
            last_number = last_number.max(more.number);
            self.hand_over(who, slot, index);
            self.counters.merged = self.counters.merged.wrapping_add(1);
        }
        // Who was there before one that goes now has been passed over.
        let requester = *self.requester(who)?;
        for slot in slots(requester.queued) {
            let index = requester.slots.get(slot).copied().unwrap_or(NONE);
            if let Some(request) = self.request_mut(index)
                && request.number < last_number
            {
                request.passed = request.passed.saturating_add(1);
            }
        }
        self.position = command.blocks.end() as u32;
        Some(command)
    }

    /// A request of this requester that goes on where the command ends, and fits.
    fn goes_on(
        &self,
        who: u16,
        command: &Command,
        good: &mut impl FnMut(ObjectName, BlockRange) -> bool,
    ) -> Option<(usize, u16)> {
        let requester = self.requester(who)?;
        for slot in slots(requester.queued) {
            let Some((index, request)) = self.in_slot(requester, slot) else {
                continue;
            };
            let fits = command.blocks.count + request.blocks.count <= MOST_BLOCKS as u32;
            let goes_on = u64::from(request.blocks.first) == command.blocks.end()
                && request.direction == command.direction;
            let free = request.after == 0 && !request.alone;
            if goes_on && fits && free && good(request.extent, request.blocks) {
                return Some((slot, index));
            }
        }
        None
    }

    /// Gives a request to the device.
    fn hand_over(&mut self, who: u16, slot: usize, index: u16) {
        self.dequeue(who, slot);
        if let Some(place) = self.device.get_mut(self.device_count) {
            *place = index;
            self.device_count += 1;
        }
    }

    /// The device is done with its command, and touches none of its pages any more. Each of its requests is told; but if
    /// there were several and the command failed, those whose requesters live are tried one by one.
    pub fn ended(&mut self, status: DiskStatus, now: u64, mut told: impl FnMut(&Ended<'_>)) {
        let count = core::mem::take(&mut self.device_count);
        let device = self.device;
        let again = status != DiskStatus::Done && count > 1;
        for index in device.into_iter().take(count) {
            let Some(request) = self.request_mut(index) else {
                continue;
            };
            if !again || request.orphan {
                self.tell(index, status, Some(now), &mut told);
                continue;
            }
            request.alone = true;
            let who = request.requester;
            let slot = self.requester(who).and_then(|requester| {
                slots(requester.used).find(|slot| requester.slots.get(*slot) == Some(&index))
            });
            if let Some(slot) = slot {
                self.enqueue(who, slot);
            }
        }
    }

    /// Gives up what is queued by extents that are no longer good for it. Looks at [`LOOKS`] requests at most, from the
    /// number `from` on, and gives the number to go on from, or `None` when all have been looked at. Without it they would
    /// be given up when their turn comes.
    pub fn refuse(
        &mut self,
        from: u16,
        now: u64,
        mut good: impl FnMut(ObjectName, BlockRange) -> bool,
        mut told: impl FnMut(&Ended<'_>),
    ) -> Option<u16> {
        let end = usize::from(from)
            .saturating_add(LOOKS)
            .min(self.requests.len());
        for index in usize::from(from)..end {
            let index = index as u16;
            let Some(request) = self.request(index) else {
                break;
            };
            if self.is_queued(index) && !good(request.extent, request.blocks) {
                self.tell(index, DiskStatus::Stale, Some(now), &mut told);
            }
        }
        (end < self.requests.len()).then_some(end as u16)
    }

    /// Whether a request is in use, and the device does not have it.
    fn is_queued(&self, index: u16) -> bool {
        let Some(request) = self.request(index) else {
            return false;
        };
        let requester = self.requester(request.requester);
        requester.is_some_and(|requester| {
            slots(requester.queued).any(|slot| requester.slots.get(slot) == Some(&index))
        })
    }
}

/// The lesser of two, where one may be missing.
trait MinSome<T> {
    fn min_some(self, other: T) -> Self;
}

impl<T: Ord + Copy> MinSome<T> for Option<T> {
    fn min_some(self, other: T) -> Self {
        Some(self.map_or(other, |one| one.min(other)))
    }
}
