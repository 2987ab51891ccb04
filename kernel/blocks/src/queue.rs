//! Requests that have not ended: who has made which, and which must wait for which.
//!
//! ```text
//!   requesters, by environment                       requests, one pool
//!   | name | slots: 0 1 2 ... 15 | queued | ring |   | order | pages | after | passed | ... |
//!                  `----------------------------------->
//! ```
//!
//! Requesters with something queued are in a ring, in the order of their turns. A request's `after` is a set of its own
//! requester's slots: requests that were made before it and must be over first.

use exopi_abi::Error;
use exopi_abi::capability::Epoch;
use exopi_abi::disk::{BlockRange, DiskCounters, DiskStatus, MOST_BLOCKS, MOST_REQUESTS};
use exopi_abi::domain::ObjectName;

/// How often a request is passed over by later ones of its requester.
pub const MOST_PASSED: u8 = 8;
/// How long a request waits before it goes next in its requester's turn, in microseconds.
pub const MOST_WAIT: u64 = 500_000;

const NOBODY: ObjectName = ObjectName {
    index: 0,
    epoch: Epoch::NONE,
};
pub(crate) const NONE: u16 = u16::MAX;

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From blocks to pages.
    Read,
    /// From pages to blocks.
    Write,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'o> {
    /// The environment that asks.
    pub requester: ObjectName,
    /// The extent by which it asks: looked at again when its turn comes.
    pub extent: ObjectName,
    /// Read or write.
    pub direction: Direction,
    /// The first block; the others follow it.
    pub first: u32,
    /// For each block the frame of its page, wherever that is: 1 to [`MOST_BLOCKS`].
    pub pages: &'o [u32],
    /// What the caller wants to be told with its end.
    pub token: u64,
}

/// A request in the pool.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub(crate) requester: u16,
    pub(crate) extent: ObjectName,
    pub(crate) direction: Direction,
    pub(crate) blocks: BlockRange,
    pub(crate) pages: [u32; MOST_BLOCKS],
    pub(crate) token: u64,
    /// Requests are numbered as they come.
    pub(crate) number: u64,
    pub(crate) since: u64,
    /// Slots of requests that must be over first.
    pub(crate) after: u16,
    pub(crate) passed: u8,
    /// It was part of a command that failed: it goes by itself.
    pub(crate) alone: bool,
    /// Its requester is gone.
    pub(crate) orphan: bool,
    /// The next free request.
    pub(crate) next: u16,
}

impl Request {
    /// No request.
    pub const FREE: Self = Self {
        requester: 0,
        extent: NOBODY,
        direction: Direction::Read,
        blocks: BlockRange { first: 0, count: 0 },
        pages: [0; MOST_BLOCKS],
        token: 0,
        number: 0,
        since: 0,
        after: 0,
        passed: 0,
        alone: false,
        orphan: false,
        next: NONE,
    };

    /// Frames of its blocks' pages.
    pub(crate) fn pages(&self) -> &[u32] {
        self.pages.get(..self.blocks.count as usize).unwrap_or(&[])
    }
}

/// What is kept for an environment.
#[derive(Clone, Copy, Debug)]
pub struct Requester {
    pub(crate) name: ObjectName,
    /// Its requests, by slot.
    pub(crate) slots: [u16; MOST_REQUESTS],
    /// Slots in use, and of these the ones that the device does not have.
    pub(crate) used: u16,
    pub(crate) queued: u16,
    /// Its neighbours in the ring.
    pub(crate) before: u16,
    pub(crate) behind: u16,
}

const _: () = assert!(MOST_REQUESTS <= u16::BITS as usize);

impl Requester {
    /// One that has asked for nothing.
    pub const FREE: Self = Self {
        name: NOBODY,
        slots: [NONE; MOST_REQUESTS],
        used: 0,
        queued: 0,
        before: NONE,
        behind: NONE,
    };
}

/// How a request has ended. Its pages are no longer lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'q> {
    /// Who asked.
    pub requester: ObjectName,
    /// Who asked has died, or is dying: there is nobody to tell.
    pub orphan: bool,
    /// As of [`Order`].
    pub token: u64,
    /// As of [`Order`].
    pub direction: Direction,
    /// Frames of the pages that were lent.
    pub pages: &'q [u32],
    /// What became of it.
    pub status: DiskStatus,
    /// Blocks that are done: all or none.
    pub blocks: u32,
}

/// Slots in a set.
pub(crate) fn slots(set: u16) -> impl Iterator<Item = usize> {
    (0..MOST_REQUESTS).filter(move |slot| set >> slot & 1 != 0)
}

/// The requests of all environments, and what the device has of them.
#[derive(Debug)]
pub struct Queue<'m> {
    pub(crate) requests: &'m mut [Request],
    pub(crate) requesters: &'m mut [Requester],
    pub(crate) free: u16,
    /// Whose turn is next.
    pub(crate) turn: u16,
    /// Requests that the device has, one behind the other.
    pub(crate) device: [u16; MOST_BLOCKS],
    pub(crate) device_count: usize,
    /// Behind the last block that the device was asked for.
    pub(crate) position: u32,
    pub(crate) last_number: u64,
    pub(crate) counters: DiskCounters,
}

impl<'m> Queue<'m> {
    /// An empty queue with room for so many requests, and for so many environments by index.
    pub fn new(requests: &'m mut [Request], requesters: &'m mut [Requester]) -> Self {
        let (requests, _) = requests.split_at_mut(requests.len().min(usize::from(NONE)));
        let (requesters, _) = requesters.split_at_mut(requesters.len().min(usize::from(NONE)));
        requests.fill(Request::FREE);
        requesters.fill(Requester::FREE);
        let count = requests.len();
        for (index, request) in requests.iter_mut().enumerate() {
            if index + 1 < count {
                request.next = index as u16 + 1;
            }
        }
        Self {
            free: if count > 0 { 0 } else { NONE },
            requests,
            requesters,
            turn: NONE,
            device: [NONE; MOST_BLOCKS],
            device_count: 0,
            position: 0,
            last_number: 0,
            counters: DiskCounters::default(),
        }
    }

    /// What has happened so far.
    pub const fn counters(&self) -> &DiskCounters {
        &self.counters
    }

    /// Whether nothing is queued. The device may have something.
    pub const fn is_idle(&self) -> bool {
        self.turn == NONE
    }

    /// Whether the device has a command.
    pub const fn is_busy(&self) -> bool {
        self.device_count > 0
    }

    pub(crate) fn request(&self, index: u16) -> Option<&Request> {
        self.requests.get(usize::from(index))
    }

    pub(crate) fn request_mut(&mut self, index: u16) -> Option<&mut Request> {
        self.requests.get_mut(usize::from(index))
    }

    pub(crate) fn requester(&self, index: u16) -> Option<&Requester> {
        self.requesters.get(usize::from(index))
    }

    pub(crate) fn requester_mut(&mut self, index: u16) -> Option<&mut Requester> {
        self.requesters.get_mut(usize::from(index))
    }

    /// The request in a slot.
    pub(crate) fn in_slot(&self, requester: &Requester, slot: usize) -> Option<(u16, &Request)> {
        let index = *requester.slots.get(slot)?;
        Some((index, self.request(index)?))
    }

    /// Takes an order, whose pages are lent from now on until it is told.
    ///
    /// # Errors
    /// [`Error::BadCount`]: no page, or more than [`MOST_BLOCKS`]. [`Error::OutOfRange`]: blocks beyond what a number can
    /// name, or an environment that this queue has no room for. [`Error::OverAllowance`]: the environment has
    /// [`MOST_REQUESTS`] that have not ended. [`Error::Busy`]: one of an environment that was here before is still at the
    /// device. [`Error::Exhausted`]: no room for any more.
    pub fn submit(&mut self, order: &Order<'_>, now: u64) -> Result<(), Error> {
        let count = order.pages.len();
        if count == 0 || count > MOST_BLOCKS {
            return Err(Error::BadCount);
        }
        let blocks = BlockRange {
            first: order.first,
            count: count as u32,
        };
        if blocks.end() > u64::from(u32::MAX) {
            return Err(Error::OutOfRange);
        }
        let who = order.requester.index;
        let requester = self.requester(who).ok_or(Error::OutOfRange)?;
        if requester.used != 0 && requester.name != order.requester {
            return Err(Error::Busy);
        }
        let slot = requester.used.trailing_ones() as usize;
        if slot >= MOST_REQUESTS {
            return Err(Error::OverAllowance);
        }
        let after = self.conflicts(requester, blocks, order.direction);
        let index = self.free;
        let place = self.request_mut(index).ok_or(Error::Exhausted)?;
        let next = place.next;
        *place = Request {
            requester: who,
            extent: order.extent,
            direction: order.direction,
            blocks,
            token: order.token,
            since: now,
            after,
            ..Request::FREE
        };
        for (to, from) in place.pages.iter_mut().zip(order.pages) {
            *to = *from;
        }
        self.free = next;
        self.last_number += 1;
        let number = self.last_number;
        if let Some(place) = self.request_mut(index) {
            place.number = number;
        }
        if let Some(requester) = self.requester_mut(who) {
            requester.name = order.requester;
            if let Some(place) = requester.slots.get_mut(slot) {
                *place = index;
            }
            requester.used |= 1 << slot;
        }
        self.enqueue(who, slot);
        self.counters.taken = self.counters.taken.wrapping_add(1);
        self.counters.waiting += 1;
        Ok(())
    }

    /// The slots of requests that one for these blocks must not overtake.
    fn conflicts(&self, requester: &Requester, blocks: BlockRange, direction: Direction) -> u16 {
        let mut after = 0;
        for slot in slots(requester.used) {
            let Some((_, other)) = self.in_slot(requester, slot) else {
                continue;
            };
            let writes = direction == Direction::Write || other.direction == Direction::Write;
            if writes && other.blocks.overlaps(blocks) {
                after |= 1 << slot;
            }
        }
        after
    }

    /// Has a request wait for its turn, and its requester, if it had none, for the end of this round.
    pub(crate) fn enqueue(&mut self, who: u16, slot: usize) {
        let turn = self.turn;
        let Some(requester) = self.requester_mut(who) else {
            return;
        };
        let was_in_ring = requester.queued != 0;
        requester.queued |= 1 << slot;
        if was_in_ring {
            return;
        }
        let last = self.requester(turn).map_or(who, |first| first.before);
        let first = if turn == NONE { who } else { turn };
        if let Some(requester) = self.requester_mut(who) {
            requester.before = last;
            requester.behind = first;
        }
        if let Some(requester) = self.requester_mut(last) {
            requester.behind = who;
        }
        if let Some(requester) = self.requester_mut(first) {
            requester.before = who;
        }
        self.turn = first;
    }

    /// Has a request wait no more. Its requester leaves the ring with its last one.
    pub(crate) fn dequeue(&mut self, who: u16, slot: usize) {
        let Some(requester) = self.requester_mut(who) else {
            return;
        };
        let was_in_ring = requester.queued != 0;
        requester.queued &= !(1 << slot);
        if !was_in_ring || requester.queued != 0 {
            return;
        }
        let (before, behind) = (requester.before, requester.behind);
        if let Some(requester) = self.requester_mut(before) {
            requester.behind = behind;
        }
        if let Some(requester) = self.requester_mut(behind) {
            requester.before = before;
        }
        if self.turn == who {
            self.turn = if behind == who { NONE } else { behind };
        }
    }

    /// Tells the end of a request and forgets it.
    pub(crate) fn tell(
        &mut self,
        index: u16,
        status: DiskStatus,
        now: Option<u64>,
        told: &mut impl FnMut(&Ended<'_>),
    ) {
        let Some(&request) = self.request(index) else {
            return;
        };
        let who = request.requester;
        let Some(&requester) = self.requester(who) else {
            return;
        };
        let own = slots(requester.used).find(|slot| requester.slots.get(*slot) == Some(&index));
        let Some(slot) = own else {
            return;
        };
        self.dequeue(who, slot);
        for other in slots(requester.used) {
            let other = requester.slots.get(other).copied().unwrap_or(NONE);
            if let Some(other) = self.request_mut(other) {
                other.after &= !(1 << slot);
            }
        }
        if let Some(requester) = self.requester_mut(who) {
            requester.used &= !(1 << slot);
        }
        let free = self.free;
        if let Some(place) = self.request_mut(index) {
            *place = Request {
                next: free,
                ..Request::FREE
            };
        }
        self.free = index;
        self.count(&request, status, now);
        told(&Ended {
            requester: requester.name,
            orphan: request.orphan,
            token: request.token,
            direction: request.direction,
            pages: request.pages(),
            status,
            blocks: match status {
                DiskStatus::Done => request.blocks.count,
                _ => 0,
            },
        });
    }

    fn count(&mut self, request: &Request, status: DiskStatus, now: Option<u64>) {
        let counters = &mut self.counters;
        counters.waiting = counters.waiting.saturating_sub(1);
        let count = match status {
            DiskStatus::Done => &mut counters.done,
            DiskStatus::Cancelled | DiskStatus::Stale => &mut counters.dropped,
            _ => &mut counters.failed,
        };
        *count = count.wrapping_add(1);
        if status == DiskStatus::Done {
            counters.blocks = counters.blocks.wrapping_add(request.blocks.count.into());
        }
        if let Some(now) = now {
            let took = now.saturating_sub(request.since);
            counters.longest_wait = counters.longest_wait.max(took);
        }
    }

    /// Gives up what an environment has asked for. What has not begun is told now, as cancelled; whether the device still
    /// has some of it, which is told when it is done, and whose pages stay lent until then.
    pub fn cancel(&mut self, requester: ObjectName, mut told: impl FnMut(&Ended<'_>)) -> bool {
        let found = self.requester(requester.index).copied();
        let Some(found) = found.filter(|found| found.used != 0 && found.name == requester) else {
            return false;
        };
        for slot in slots(found.used) {
            let index = found.slots.get(slot).copied().unwrap_or(NONE);
            if let Some(request) = self.request_mut(index) {
                request.orphan = true;
            }
            if found.queued >> slot & 1 != 0 {
                self.tell(index, DiskStatus::Cancelled, None, &mut told);
            }
        }
        found.used != found.queued
    }
}
