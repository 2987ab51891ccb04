//! Sending: frames wait in lanes, one for each sender on an interface, and lanes are served in turn.
//!
//! ```text
//!   rotation:  lane A --> lane B --> lane C     the one in front gives one frame, and goes behind
//!                |          |          |
//!              frame      frame      frame      slots; at most `MAX_IN_FLIGHT` for a lane, those in
//!              frame                            the device counted
//! ```
//!
//! A frame's first octets are copied, checked, and go out as they were copied. The rest goes out of pages of the sender,
//! which are pinned until the device needs them no more. So does the page of the completion word.

mod described;

use exopi_abi::Error;
use exopi_abi::capability::SendRights;
use exopi_abi::net::{
    CHECKED, Completion, EntryFlags, InterfaceState, LEAST_FRAME, MAX_IN_FLIGHT, MAX_INTERFACES,
    MAX_PIECES, MOST_FRAME, Piece,
};
use exopi_abi::page::Owner;

use crate::delivery::Content;
use crate::{By, Claim, Frames, Holding, Ledger, Memory};
use described::{Described, NO_PIECE, tell, unpin};

/// No lane.
const NOWHERE: u16 = u16::MAX;
/// No slot: the first is not used.
const NONE: u16 = 0;

/// What a slot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    Waits,
    InDevice,
}

/// How a frame begins: aligned as the words are that it is compared with.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Head(pub(crate) [u8; CHECKED]);

/// A frame that waits, or is in a device.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    head: Head,
    /// What follows the head.
    pieces: [Piece; MAX_PIECES],
    count: u8,
    head_length: u8,
    state: State,
    length: u16,
    lane: u16,
    next: u16,
    account: Owner,
    completion: Completion,
}

impl Slot {
    /// No frame.
    pub const EMPTY: Slot = Slot {
        head: Head([0; CHECKED]),
        pieces: [NO_PIECE; MAX_PIECES],
        count: 0,
        head_length: 0,
        state: State::Free,
        length: 0,
        lane: NOWHERE,
        next: NONE,
        account: Owner::NOBODY,
        completion: Completion::Nowhere,
    };

    fn pieces(&self) -> &[Piece] {
        self.pieces.get(..self.count.into()).unwrap_or_default()
    }

    fn head(&self) -> &[u8] {
        self.head
            .0
            .get(..self.head_length.into())
            .unwrap_or_default()
    }
}

/// What a sender has on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Frames that wait, first and last.
    first: u16,
    last: u16,
    /// The lane behind it in the rotation.
    next: u16,
    /// Frames that wait or are in the device.
    in_flight: u16,
    in_rotation: bool,
    /// Word of the name of the environment whose frames wait.
    sender: u64,
}

impl Lane {
    /// Nobody sends.
    pub const EMPTY: Lane = Lane {
        first: NONE,
        last: NONE,
        next: NOWHERE,
        in_flight: 0,
        in_rotation: false,
        sender: 0,
    };
}

/// The lanes of an interface in which frames wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    front: u16,
    back: u16,
}

impl Rotation {
    pub(crate) const EMPTY: Rotation = Rotation {
        front: NOWHERE,
        back: NOWHERE,
    };
}

/// A frame whose turn it is.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'f> {
    /// By which [`Frames::went`] and [`Frames::completed`] know it.
    pub token: u16,
    /// How it begins.
    pub head: &'f [u8],
    /// How it goes on: pieces of pinned pages.
    pub pieces: &'f [Piece],
    /// Octets in all.
    pub length: usize,
}

/// What became of a frame whose turn it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// The device has a copy.
    Copied,
    /// The device reads the pages, until [`Frames::completed`].
    Kept,
    /// It cannot be sent.
    Lost,
}

impl Frames<'_> {
    /// All slots are free.
    pub(crate) fn link_slots(&mut self) {
        let count = self.slots.len() as u16;
        for (slot, next) in self.slots.iter_mut().zip(1..=count) {
            *slot = Slot {
                next: if next == count { NONE } else { next },
                ..Slot::EMPTY
            };
        }
        self.free_slot = u16::from(count > 1);
    }

    fn lane_of(&self, interface: usize, environment: u16) -> Option<u16> {
        let environments = self.lanes.len() / MAX_INTERFACES;
        let environment = usize::from(environment);
        (interface < MAX_INTERFACES && environment < environments)
            .then_some((interface * environments + environment) as u16)
    }

    fn interface_of(&self, lane: u16) -> usize {
        usize::from(lane) / (self.lanes.len() / MAX_INTERFACES).max(1)
    }

    fn lane(&self, lane: u16) -> Option<&Lane> {
        self.lanes.get(usize::from(lane))
    }

    fn update_lane(&mut self, lane: u16, change: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lanes.get_mut(usize::from(lane)) {
            change(lane);
        }
    }

    fn slot(&self, token: u16) -> Option<&Slot> {
        self.slots.get(usize::from(token)).filter(|_| token != NONE)
    }

    fn update_slot(&mut self, token: u16, change: impl FnOnce(&mut Slot)) {
        if token != NONE
            && let Some(slot) = self.slots.get_mut(usize::from(token))
        {
            change(slot);
        }
    }

    /// Takes the first frame of a list of pieces for sending, as the row `net_xmit` of the call table says. Gives how many
    /// pieces it had. It goes when it is its turn: the caller sees to that ([`Frames::next`]).
    ///
    /// # Errors
    /// In the order in which they are looked for: of a capability [`Error::WrongKind`], [`Error::MissingRight`], of a
    /// name [`Error::NotYours`]; [`Error::Stale`]; [`Error::Malformed`] of a piece; [`Error::BadCount`] for too
    /// many pieces, or a frame too short or long; [`Error::NotReady`] while the interface is not up;
    /// [`Error::LimitReached`] for too many in flight; of the account [`Error::Stale`], [`Error::OverAllowance`];
    /// [`Error::Exhausted`]; of the pages those of [`Ledger::pin`]; [`Error::MissingRight`] for a
    /// frame that the send capability does not allow.
    pub fn net_xmit(
        &mut self,
        by: &By,
        send: Claim<'_>,
        words: &[u64],
        completion: Completion,
        memory: &impl Memory,
        ledger: &mut impl Ledger,
    ) -> Result<usize, Error> {
        let index = self.live_send(by, send, SendRights::SEND)?;
        let interface = usize::from(self.send(index).ok_or(Error::Stale)?.interface);
        let frame = Described::take(words)?;
        if !(LEAST_FRAME..=MOST_FRAME).contains(&frame.length) {
            self.count(interface, |record| record.refused_length += 1);
            return Err(Error::BadCount);
        }
        let state = self.records.get(interface).map(|record| record.state);
        if state != Some(InterfaceState::Up) {
            return Err(Error::NotReady);
        }
        let lane = self
            .lane_of(interface, by.name.index)
            .ok_or(Error::Exhausted)?;
        let in_flight = self.lane(lane).map_or(0, |lane| lane.in_flight);
        if in_flight >= MAX_IN_FLIGHT {
            self.count(interface, |record| record.refused_many += 1);
            return Err(Error::LimitReached);
        }
        ledger.room(by.owner, Holding::Frame)?;
        let token = self.free_slot;
        let slot = self.slots.get_mut(usize::from(token));
        let slot = slot.filter(|_| token != NONE).ok_or(Error::Exhausted)?;
        let rule = self.rules.get(usize::from(index)).ok_or(Error::Stale)?;
        frame.pin(by.owner, completion, ledger)?;
        // What is in a free slot is nobody's.
        let head_length = frame.copy_head(&mut slot.head.0, memory);
        if !rule.allows(&slot.head, head_length) {
            unpin(frame.pieces(), completion, ledger);
            self.count(interface, |record| record.refused_rule += 1);
            return Err(Error::MissingRight);
        }
        let count = frame.behind(head_length, &mut slot.pieces);
        // What has been copied is needed no more.
        let copied = frame.count() - usize::from(count);
        let copied = frame.pieces().take(copied);
        copied.for_each(|piece| ledger.unpin(piece.page));
        ledger.charge(by.owner, Holding::Frame);
        self.free_slot = slot.next;
        slot.count = count;
        slot.head_length = head_length as u8;
        slot.state = State::Waits;
        slot.length = frame.length as u16;
        slot.lane = lane;
        slot.next = NONE;
        slot.account = by.owner;
        slot.completion = completion;
        self.queue(interface, lane, token, by.name.word(), ledger);
        if let Some(record) = self.sends.get_mut(usize::from(index)) {
            record.frames = record.frames.wrapping_add(1);
        }
        Ok(frame.count())
    }

    /// Puts a frame behind those of its sender, and a sender without any behind the others.
    fn queue(
        &mut self,
        interface: usize,
        lane: u16,
        token: u16,
        sender: u64,
        ledger: &mut impl Ledger,
    ) {
        // What a dead one has left at this place is nobody's turn any more.
        if self.lane(lane).is_some_and(|lane| lane.sender != sender) {
            self.cancel(lane, ledger);
        }
        let last = self.lane(lane).map_or(NONE, |lane| lane.last);
        self.update_slot(last, |slot| slot.next = token);
        let mut joins = false;
        self.update_lane(lane, |lane| {
            joins = !lane.in_rotation;
            lane.sender = sender;
            lane.last = token;
            lane.in_flight += 1;
            lane.in_rotation = true;
            if lane.first == NONE {
                lane.first = token;
            }
        });
        if joins {
            self.join(interface, lane);
        }
    }

    /// Puts a lane at the end of the rotation.
    fn join(&mut self, interface: usize, lane: u16) {
        self.update_lane(lane, |lane| lane.next = NOWHERE);
        let Some(found) = self.interface_mut(interface) else {
            return;
        };
        let behind = core::mem::replace(&mut found.rotation.back, lane);
        if behind == NOWHERE {
            found.rotation.front = lane;
        } else {
            self.update_lane(behind, |behind| behind.next = lane);
        }
    }

    /// Takes the lane in front out of the rotation.
    fn leave(&mut self, interface: usize) {
        let front = self.interface(interface).map(|found| found.rotation.front);
        let next = front
            .and_then(|front| self.lane(front))
            .map(|lane| lane.next);
        let (Some(front), Some(next)) = (front, next) else {
            return;
        };
        self.update_lane(front, |lane| lane.in_rotation = false);
        if let Some(found) = self.interface_mut(interface) {
            found.rotation.front = next;
            if next == NOWHERE {
                found.rotation.back = NOWHERE;
            }
        }
    }

    /// The frame whose turn it is on an interface; it stays so until [`Frames::went`] says what became of it.
    pub fn next(&mut self, interface: usize) -> Option<Outgoing<'_>> {
        let token = loop {
            let front = self.interface(interface)?.rotation.front;
            match self.lane(front)?.first {
                // Its frames were cancelled.
                NONE => self.leave(interface),
                token => break token,
            }
        };
        let slot = self.slot(token)?;
        Some(Outgoing {
            token,
            head: slot.head(),
            pieces: slot.pieces(),
            length: slot.length.into(),
        })
    }

    /// Tells what became of the frame that [`Frames::next`] gave, at the time `now`. Taps see it now, unless it was lost.
    pub fn went(
        &mut self,
        token: u16,
        went: Went,
        now: u64,
        memory: &mut impl Memory,
        ledger: &mut impl Ledger,
    ) {
        let Some(slot) = self.slot(token).filter(|slot| slot.state == State::Waits) else {
            return;
        };
        let (lane, next, completion) = (slot.lane, slot.next, slot.completion);
        let interface = self.interface_of(lane);
        let more = next != NONE;
        self.update_lane(lane, |lane| {
            lane.first = next;
            if !more {
                lane.last = NONE;
            }
        });
        self.leave(interface);
        if more {
            self.update_lane(lane, |lane| lane.in_rotation = true);
            self.join(interface, lane);
        }
        self.count(interface, |record| match went {
            Went::Lost => record.lost += 1,
            Went::Copied | Went::Kept => record.sent += 1,
        });
        if went != Went::Lost
            && self.has_taps(interface)
            && let Some(slot) = self.slot(token).copied()
        {
            let content = Content {
                head: slot.head(),
                pieces: slot.pieces(),
            };
            self.show(
                interface,
                &content,
                slot.length.into(),
                EntryFlags::SENT,
                now,
                memory,
            );
        }
        match went {
            Went::Kept => self.update_slot(token, |slot| slot.state = State::InDevice),
            Went::Copied | Went::Lost => {
                tell(completion, memory);
                self.finish(token, ledger);
            }
        }
    }

    /// A device needs a frame's pages no more.
    pub fn completed(&mut self, token: u16, memory: &mut impl Memory, ledger: &mut impl Ledger) {
        let slot = self.slot(token);
        if let Some(slot) = slot.filter(|slot| slot.state == State::InDevice) {
            tell(slot.completion, memory);
            self.finish(token, ledger);
        }
    }

    /// A frame needs nothing any more.
    fn finish(&mut self, token: u16, ledger: &mut impl Ledger) {
        let free = self.free_slot;
        let slot = self.slots.get_mut(usize::from(token));
        let Some(slot) = slot.filter(|_| token != NONE) else {
            return;
        };
        let lane = slot.lane;
        unpin(slot.pieces().iter().copied(), slot.completion, ledger);
        ledger.release(slot.account, Holding::Frame);
        slot.state = State::Free;
        slot.count = 0;
        slot.head_length = 0;
        slot.completion = Completion::Nowhere;
        slot.account = Owner::NOBODY;
        slot.next = free;
        self.free_slot = token;
        self.update_lane(lane, |lane| lane.in_flight -= 1);
    }

    /// Takes back all frames that wait in a lane. Those in a device stay until that is done with them.
    pub(crate) fn cancel(&mut self, lane: u16, ledger: &mut impl Ledger) {
        let interface = self.interface_of(lane);
        while let Some(first) = self.lane(lane).map(|lane| lane.first)
            && let Some(next) = self.slot(first).map(|slot| slot.next)
        {
            self.update_lane(lane, |lane| {
                lane.first = next;
                if next == NONE {
                    lane.last = NONE;
                }
            });
            self.count(interface, |record| record.lost += 1);
            self.finish(first, ledger);
        }
    }

    /// Takes back all frames of an environment that wait.
    pub(crate) fn cancel_all(&mut self, environment: u16, ledger: &mut impl Ledger) {
        for interface in 0..MAX_INTERFACES {
            if let Some(lane) = self.lane_of(interface, environment) {
                self.cancel(lane, ledger);
            }
        }
    }

    /// The account that the frame in a slot is charged to, and the lane that it waits in; no lane if it is in a device.
    pub(crate) fn frame_at(&self, token: u16) -> Option<(Owner, Option<u16>)> {
        let slot = self.slot(token).filter(|slot| slot.state != State::Free)?;
        let lane = (slot.state == State::Waits).then_some(slot.lane);
        Some((slot.account, lane))
    }

    /// Frames of an environment that wait on an interface, or are in its device.
    pub fn in_flight(&self, interface: usize, environment: u16) -> u16 {
        let lane = self.lane_of(interface, environment);
        lane.and_then(|lane| self.lane(lane))
            .map_or(0, |lane| lane.in_flight)
    }
}

#[cfg(test)]
impl Frames<'_> {
    /// The pages that a frame has pinned, each as often.
    pub(crate) fn pinned_by(&self, token: u16, mut see: impl FnMut(exopi_abi::PageNumber)) {
        let Some(slot) = self.slot(token) else {
            return;
        };
        slot.pieces().iter().for_each(|piece| see(piece.page));
        if let Completion::Word { page, .. } = slot.completion {
            see(page);
        }
    }
}
