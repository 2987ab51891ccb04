//! RNDIS: frames in messages with a header, and requests as messages inside control transfers.
//!
//! Source: the published "Remote NDIS" protocol ([MS-RNDIS]) and its USB mapping. All words are
//! little-endian, four bytes. Messages with frames are in `format.rs`, the others here.
//!
//! # The emulator's 250 µs
//!
//! The emulator's controller cuts a transfer of up to 1,536 bytes into packets and lets 250 µs pass after
//! each but the first two; a longer transfer goes to the device at once. Padding belongs to a message, so a
//! frame in a message that is longer is one transfer of one step, and legal on any hardware. There it
//! costs time on the wire, so it is done for the emulator's controller alone. On the way in, a transfer is
//! always armed with more than 1,536 bytes.
//!
//! The emulated device lacks the short packet after a message that fills its last packet, so that a transfer
//! would wait for the next frame. [`nic`](super::nic) tells how that is met.

use super::format::{Format, RNDIS_HEADER};
use super::nic::Offer;
use crate::drivers::usb::descriptors::double_word;
use crate::drivers::usb::request::{Answer, Request, Step, Target};
use crate::traits::{Link, MOST_FRAME, MacAddress};

/// Message types ([MS-RNDIS] 2.2).
mod message {
    pub const INITIALIZE: u32 = 2;
    pub const QUERY: u32 = 4;
    pub const SET: u32 = 5;
    /// Set in the type of an answer.
    pub const ANSWER: u32 = 0x8000_0000;
}

/// What can be asked or set ([MS-RNDIS] 2.2.12, and the NDIS documents).
mod object {
    pub const FILTER: u32 = 0x0001_010e;
    pub const LINK: u32 = 0x0001_0114;
    pub const ADDRESS: u32 = 0x0101_0101;
}

/// Frames to the device's own address, to all groups, to all.
const FILTER: u32 = 1 << 0 | 1 << 2 | 1 << 3;
/// Where the frame's place is counted from.
const PLACE_FROM: usize = 8;
/// Length of a padded message: beyond the emulator's limit, and its last packet is not full.
pub(super) const PADDED: usize = 1552;
/// Room for messages that we say we have: the length of what a receive transfer is armed with.
const ROOM: u32 = 2047;
/// Class requests to an interface: `SEND_ENCAPSULATED_COMMAND`, `GET_ENCAPSULATED_RESPONSE`.
const SEND: (u8, u8) = (0x21, 0x00);
const GET: (u8, u8) = (0xa1, 0x01);
/// Most bytes of an answer that are asked for (the mapping asks for at least so many).
const ANSWER_BYTES: u16 = 0x400;
/// Microseconds from one question for an answer to the next, and how many questions.
const ANSWER_LOOK: u64 = 5_000;
const ANSWER_LOOKS: u8 = 100;

/// What is asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Configuration,
    Initialize,
    Address,
    Filter,
    Link,
}

/// How far the question has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Sent,
    Asked { left: u8 },
    Paused { left: u8 },
}

/// An RNDIS device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rndis {
    phase: Phase,
    exchange: Exchange,
    number: u32,
    padded: bool,
    /// Longest message that the device takes.
    longest: usize,
    pub address: Option<MacAddress>,
    link: Link,
}

impl Rndis {
    /// `emulated` if the controller is the emulator's.
    pub(super) fn new(emulated: bool) -> Self {
        Self {
            phase: Phase::Configuration,
            exchange: Exchange::Sent,
            number: 0,
            padded: emulated,
            longest: 0,
            address: None,
            link: Link::Down,
        }
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// Begins with the device in its first state.
    pub(super) fn set_up(&mut self, target: Target, offer: &Offer, answer: Answer<'_>) -> Step {
        match (self.phase, answer) {
            (_, Answer::Begin) => {
                self.phase = Phase::Configuration;
                Step::Ask(target, Request::set_configuration(offer.configuration))
            }
            (Phase::Configuration, Answer::Data(_)) => self.begin(Phase::Initialize, target, offer),
            (Phase::Configuration, _) => Step::Failed,
            (_, answer) => self.exchange(target, offer, answer),
        }
    }

    /// Asks for the link.
    pub(super) fn watch(&mut self, target: Target, offer: &Offer, answer: Answer<'_>) -> Step {
        match answer {
            Answer::Begin => self.begin(Phase::Link, target, offer),
            answer => self.exchange(target, offer, answer),
        }
    }

    /// Sends the message of a phase.
    fn begin(&mut self, phase: Phase, target: Target, offer: &Offer) -> Step {
        self.phase = phase;
        self.exchange = Exchange::Sent;
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        // Version 1.0; or an object, with what is set at the end.
        let words: [u32; 8] = match phase {
            Phase::Configuration | Phase::Initialize => {
                [message::INITIALIZE, 24, number, 1, 0, ROOM, 0, 0]
            }
            Phase::Address => [message::QUERY, 28, number, object::ADDRESS, 0, 0, 0, 0],
            Phase::Link => [message::QUERY, 28, number, object::LINK, 0, 0, 0, 0],
            // The value is 20 bytes behind the number's place.
            Phase::Filter => [message::SET, 32, number, object::FILTER, 4, 20, 0, FILTER],
        };
        let mut bytes = [0; 32];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let [_, length, ..] = words;
        let data = bytes.get(..length as usize).unwrap_or(&bytes);
        let interface = offer.control_interface.into();
        Step::Ask(target, Request::write(SEND.0, SEND.1, 0, interface, data))
    }

    fn ask_for_answer(&mut self, left: u8, target: Target, offer: &Offer) -> Step {
        self.exchange = Exchange::Asked { left };
        let interface = offer.control_interface.into();
        let request = Request::read(GET.0, GET.1, 0, interface, ANSWER_BYTES);
        Step::Ask(target, request)
    }

    /// Goes on with a message that was sent: until its answer is there, or it is late.
    fn exchange(&mut self, target: Target, offer: &Offer, answer: Answer<'_>) -> Step {
        match (self.exchange, answer) {
            (Exchange::Sent, Answer::Data(_)) => self.ask_for_answer(ANSWER_LOOKS, target, offer),
            (Exchange::Paused { left }, _) => self.ask_for_answer(left, target, offer),
            (Exchange::Asked { left }, Answer::Data(bytes)) => {
                if double_word(bytes, 8) == Some(self.number) {
                    return self.answered(bytes, target, offer);
                }
                // Nothing yet, or something that was not asked for.
                let Some(left) = left.checked_sub(1) else {
                    return Step::Failed;
                };
                self.exchange = Exchange::Paused { left };
                Step::Wait(ANSWER_LOOK)
            }
            _ => Step::Failed,
        }
    }

    fn answered(&mut self, bytes: &[u8], target: Target, offer: &Offer) -> Step {
        match self.judge(bytes) {
            Some(Some(next)) => self.begin(next, target, offer),
            Some(None) => Step::Done,
            None => Step::Failed,
        }
    }

    /// Takes what an answer says; which phase comes next.
    fn judge(&mut self, bytes: &[u8]) -> Option<Option<Phase>> {
        let asked = match self.phase {
            Phase::Configuration | Phase::Initialize => message::INITIALIZE,
            Phase::Address | Phase::Link => message::QUERY,
            Phase::Filter => message::SET,
        };
        let good =
            double_word(bytes, 0)? == asked | message::ANSWER && double_word(bytes, 12)? == 0;
        if !good {
            return None;
        }
        match self.phase {
            Phase::Configuration | Phase::Initialize => {
                self.longest = double_word(bytes, 36)? as usize;
                let enough = self.longest >= RNDIS_HEADER + MOST_FRAME;
                enough.then_some(Some(Phase::Address))
            }
            Phase::Address => {
                let address = MacAddress(value(bytes)?.get(..6)?.try_into().ok()?);
                self.address = address.is_usable().then_some(address);
                self.address.map(|_| Some(Phase::Filter))
            }
            Phase::Filter => Some(Some(Phase::Link)),
            Phase::Link => {
                // 0: there is a partner.
                self.link = match double_word(value(bytes)?, 0)? {
                    0 => Link::Up,
                    _ => Link::Down,
                };
                Some(None)
            }
        }
    }

    /// What goes around frames, for packets of this size.
    pub(super) fn format(&self, max_packet: u32) -> Format {
        Format::Rndis {
            padded: match self.padded && PADDED <= self.longest {
                true => PADDED as u32,
                false => 0,
            },
            max_packet,
        }
    }
}

/// The value in a query's answer.
fn value(bytes: &[u8]) -> Option<&[u8]> {
    let length = double_word(bytes, 16)? as usize;
    let start = PLACE_FROM.checked_add(double_word(bytes, 20)? as usize)?;
    bytes.get(start..start.checked_add(length)?)
}
