//! The driver against a model of the port, its line and time.
//!
//! The model keeps to the manual where it is stricter than an emulator: both receive interrupts and
//! the transmit interrupt are latches set by an *event*, settings change only while the port is off,
//! the divisor takes effect with the line control register, a full receive FIFO drops what comes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::{Divisor, Pl011};
use crate::bus::Bus;
use crate::traits::{DeviceError, Polled, Received, Serial};

/// One bit and one 10-bit character at 115,200 baud.
const BIT_NS: u64 = 8_681;
const CHARACTER_NS: u64 = 10 * BIT_NS;
/// Longest time with interrupts masked: 20,000 instructions at 100 million each second.
const MASKED_NS: u64 = 200_000;
/// One device access, on the slow side.
const ACCESS_NS: u64 = 300;
const CLOCK_HZ: u32 = 48_000_000;

const RX: u32 = 1 << 4;
const TX: u32 = 1 << 5;
const RT: u32 = 1 << 6;
const FRAMING: u16 = 1 << 8;
const OVERRUN: u16 = 1 << 11;

#[derive(Default)]
struct State {
    now: u64,
    /// What the other end sends: when the stop bit ends, and the character with its errors.
    incoming: VecDeque<(u64, u16)>,
    received: VecDeque<u16>,
    overrun: bool,
    timeout_at: Option<u64>,
    sending: Option<(u64, u8)>,
    queued: VecDeque<u8>,
    /// What the other end has seen, and how long it saw nothing between characters.
    wire: Vec<u8>,
    idle_since: u64,
    longest_idle: u64,
    raised: u32,
    imsc: u32,
    cr: u32,
    lcr_h: u32,
    ifls: u32,
    divisor: (u32, u32),
    divisor_in_use: (u32, u32),
    writes: usize,
}

impl State {
    fn depth(&self) -> usize {
        if self.lcr_h & 0x10 == 0 { 1 } else { 16 }
    }

    fn level(&self, select: u32) -> usize {
        [2, 4, 8, 12, 14][select as usize & 7].min(self.depth())
    }

    fn on(&self, direction: u32) -> bool {
        self.cr & (1 | direction) == 1 | direction
    }

    fn next_event(&self) -> Option<u64> {
        [
            self.incoming.front().map(|c| c.0),
            self.timeout_at,
            self.sending.map(|c| c.0),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn arrive(&mut self, character: u16) {
        if !self.on(1 << 9) {
            return;
        }
        if self.received.len() == self.depth() {
            self.overrun = true;
            self.raised |= 1 << 10;
        } else {
            let mark = if std::mem::take(&mut self.overrun) {
                OVERRUN
            } else {
                0
            };
            self.received.push_back(character | mark);
            if self.received.len() == self.level(self.ifls >> 3) {
                self.raised |= RX;
            }
        }
        self.timeout_at = Some(self.now + 32 * BIT_NS);
    }

    fn start_sending(&mut self) {
        if self.sending.is_none() && self.on(1 << 8) {
            let Some(byte) = self.queued.pop_front() else {
                self.idle_since = self.now;
                return;
            };
            self.sending = Some((self.now + CHARACTER_NS, byte));
            if self.queued.len() == self.level(self.ifls) {
                self.raised |= TX;
            }
        }
    }

    fn advance_to(&mut self, time: u64) {
        while let Some(at) = self.next_event().filter(|at| *at <= time) {
            self.now = self.now.max(at);
            if self.incoming.front().is_some_and(|c| c.0 <= at) {
                let (_, character) = self.incoming.pop_front().unwrap();
                self.arrive(character);
            }
            if self.timeout_at.is_some_and(|t| t <= at) {
                self.timeout_at = None;
                if !self.received.is_empty() {
                    self.raised |= RT;
                }
            }
            if let Some((_, byte)) = self.sending.take_if(|c| c.0 <= at) {
                self.wire.push(byte);
                self.start_sending();
            }
        }
        self.now = self.now.max(time);
    }

    fn read_data(&mut self) -> u32 {
        let Some(character) = self.received.pop_front() else {
            return 0xbad; // the manual does not say what an empty FIFO gives
        };
        if self.received.len() < self.level(self.ifls >> 3) {
            self.raised &= !RX;
        }
        if self.received.is_empty() {
            self.raised &= !RT;
            self.timeout_at = None;
        }
        u32::from(character)
    }

    fn write_data(&mut self, byte: u8) {
        assert!(self.queued.len() < self.depth(), "sent to a full FIFO");
        if self.sending.is_none() && !self.wire.is_empty() {
            self.longest_idle = self.longest_idle.max(self.now - self.idle_since);
        }
        self.queued.push_back(byte);
        if self.queued.len() > self.level(self.ifls) {
            self.raised &= !TX;
        }
        self.start_sending();
    }

    fn write_line_control(&mut self, value: u32) {
        assert_eq!(self.cr & 1, 0, "line control changed under a running port");
        if value & 0x10 == 0 {
            self.received.clear();
            self.queued.clear();
            self.timeout_at = None;
        }
        self.lcr_h = value;
        self.divisor_in_use = self.divisor;
    }
}

#[derive(Default)]
struct Model(RefCell<State>);

impl Bus for Model {
    fn read32(&self, offset: usize) -> u32 {
        let mut s = self.0.borrow_mut();
        let at = s.now + ACCESS_NS;
        s.advance_to(at);
        match offset {
            0x00 => s.read_data(),
            0x18 => {
                let busy = s.sending.is_some() || !s.queued.is_empty();
                u32::from(busy) << 3
                    | u32::from(s.received.is_empty()) << 4
                    | u32::from(s.queued.len() == s.depth()) << 5
            }
            0x38 => s.imsc,
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut s = self.0.borrow_mut();
        let at = s.now + ACCESS_NS;
        s.advance_to(at);
        s.writes += 1;
        match offset {
            0x00 => s.write_data(value as u8),
            0x24 => s.divisor.0 = value,
            0x28 => s.divisor.1 = value,
            0x2c => s.write_line_control(value),
            0x30 => s.cr = value,
            0x34 => s.ifls = value,
            0x38 => s.imsc = value,
            0x44 => s.raised &= !value,
            _ => panic!("write of {offset:#x}"),
        }
    }
}

impl Model {
    fn ready() -> Self {
        let model = Self::default();
        Pl011::new(&model).init(CLOCK_HZ, 115_200).unwrap();
        model
    }

    fn interrupts(&self) -> bool {
        let s = self.0.borrow();
        s.raised & s.imsc != 0
    }

    fn wait(&self, ns: u64) {
        let mut s = self.0.borrow_mut();
        let until = s.now + ns;
        s.advance_to(until);
    }

    /// Lets time pass until the port interrupts; false if it never will.
    fn wait_for_interrupt(&self) -> bool {
        while !self.interrupts() {
            let Some(at) = self.0.borrow().next_event() else {
                return false;
            };
            self.0.borrow_mut().advance_to(at);
        }
        true
    }

    /// Has the other end send characters, each after its gap.
    fn send(&self, characters: impl IntoIterator<Item = (u64, u16)>) {
        let mut s = self.0.borrow_mut();
        let mut at = s.now;
        for (gap, character) in characters {
            at += gap + CHARACTER_NS;
            s.incoming.push_back((at, character));
        }
    }
}

/// Serves the interrupts of `model`, each `latency()` ns after it is raised, until the line is silent.
fn serve(model: &Model, mut latency: impl FnMut() -> u64) -> Vec<Received> {
    let mut serial = Pl011::new(model);
    let mut got = Vec::new();
    while model.wait_for_interrupt() {
        model.wait(latency());
        serial.acknowledge();
        got.extend(std::iter::from_fn(|| serial.try_receive()));
    }
    got
}

fn counting(length: usize) -> impl Iterator<Item = u8> {
    (0..length).map(|i| (i % 251) as u8)
}

fn back_to_back(length: usize) -> impl Iterator<Item = (u64, u16)> {
    counting(length).map(|byte| (0, u16::from(byte)))
}

/// Fails at the first of `length` counted bytes that did not arrive in its place, undamaged.
#[track_caller]
fn assert_whole(got: &[Received], length: usize, when: &str) {
    let place = counting(length)
        .zip(got)
        .position(|(sent, got)| *got != Received::Byte(sent));
    assert_eq!(
        (place, got.len()),
        (None, length),
        "first bad byte, bytes, {when}"
    );
}

#[test]
fn init_sets_speed_format_levels_and_interrupts() {
    for (clock, divisor) in [(48_000_000, (26, 3)), (3_000_000, (1, 40))] {
        let model = Model::default();
        Pl011::new(&model).init(clock, 115_200).unwrap();
        let s = model.0.borrow();
        assert_eq!(s.divisor_in_use, divisor);
        assert_eq!((s.lcr_h, s.cr), (0x70, 0x301));
        assert_eq!((s.ifls, s.imsc, s.raised), (0b001_001, RX | RT, 0));
    }
}

#[test]
fn init_lets_the_firmware_finish_and_drops_what_it_left() {
    let model = Model::ready();
    let mut serial = Pl011::new(&model);
    model.send(back_to_back(3));
    for byte in *b"firmware" {
        assert!(serial.try_send(byte));
    }
    serial.init(CLOCK_HZ, 115_200).unwrap();
    assert_eq!(model.0.borrow().wire, b"firmware");
    assert_eq!(serial.try_receive(), None);
    assert!(!model.interrupts());
}

#[test]
fn init_ends_with_a_transmitter_that_never_does() {
    struct Stuck;
    impl Bus for Stuck {
        fn read32(&self, _: usize) -> u32 {
            u32::MAX
        }
        fn write32(&self, _: usize, _: u32) {}
    }
    assert_eq!(Pl011::new(Stuck).init(CLOCK_HZ, 115_200), Ok(()));
}

#[test]
fn an_impossible_speed_is_refused_and_changes_nothing() {
    for (clock, baud) in [
        (0, 115_200),
        (48_000_000, 0),
        (1_000_000, 115_200),
        (48_000_000, 40),
        (u32::MAX, 1),
    ] {
        let model = Model::default();
        let result = Pl011::new(&model).init(clock, baud);
        assert_eq!(result, Err(DeviceError::Refused), "{clock} {baud}");
        assert_eq!(model.0.borrow().writes, 0);
    }
}

#[test]
fn nothing_is_lost_when_masking_begins_with_the_interrupt() {
    for latency in (0..=MASKED_NS).step_by(1_000) {
        let model = Model::ready();
        model.send(back_to_back(500));
        assert_whole(
            &serve(&model, || latency),
            500,
            &format!("served after {latency} ns"),
        );
    }
}

#[test]
fn nothing_is_lost_when_masking_recurs_at_any_phase() {
    for phase in (0..MASKED_NS).step_by(1_000) {
        let model = Model::ready();
        let mut serial = Pl011::new(&model);
        model.send(back_to_back(500));
        model.wait(phase);
        let mut got = Vec::new();
        // Interrupts are open for an instant only, at the end of each masked time.
        while model.interrupts() || model.0.borrow().next_event().is_some() {
            model.wait(MASKED_NS);
            if model.interrupts() {
                serial.acknowledge();
                got.extend(std::iter::from_fn(|| serial.try_receive()));
            }
        }
        assert_whole(&got, 500, &format!("phase {phase} ns"));
    }
}

#[test]
fn masking_beyond_the_grace_loses_bytes_and_says_so() {
    // 13 characters of grace after the trigger, less the accesses up to the first read.
    let model = Model::ready();
    model.send(back_to_back(500));
    let got = serve(&model, || 13 * CHARACTER_NS - 4 * ACCESS_NS);
    assert_whole(&got, 500, "served at the last moment");

    let model = Model::ready();
    model.send(back_to_back(500));
    let got = serve(&model, || 14 * CHARACTER_NS);
    assert!(got.len() < 500, "nothing was lost");
    let mut expected = 0;
    for received in got {
        match received {
            Received::Byte(byte) => assert_eq!(byte, (expected % 251) as u8),
            Received::AfterOverrun(byte) => {
                assert_ne!(byte, (expected % 251) as u8, "no byte was lost here");
                while byte != (expected % 251) as u8 {
                    expected += 1;
                }
            }
            Received::Damaged => panic!("nothing was damaged"),
        }
        expected += 1;
    }
}

#[test]
fn an_overrun_seen_with_a_damaged_character_is_told_with_the_next_byte() {
    let model = Model::ready();
    model.0.borrow_mut().received = [FRAMING | OVERRUN, 0x41, 0x42].into();
    let mut serial = Pl011::new(&model);
    assert_eq!(serial.try_receive(), Some(Received::Damaged));
    assert_eq!(serial.try_receive(), Some(Received::AfterOverrun(0x41)));
    assert_eq!(serial.try_receive(), Some(Received::Byte(0x42)));
    assert_eq!(serial.try_receive(), None);
}

#[test]
fn sending_by_interrupt_loses_nothing_and_keeps_the_line_busy() {
    let model = Model::ready();
    let mut serial = Pl011::new(&model);
    let mut left = counting(2_000).peekable();
    loop {
        while left.peek().is_some_and(|byte| serial.try_send(*byte)) {
            left.next();
        }
        serial.want_room(left.peek().is_some());
        if left.peek().is_none() {
            break;
        }
        assert!(
            model.wait_for_interrupt(),
            "the transmitter never asked for more"
        );
        model.wait(MASKED_NS);
        serial.acknowledge();
    }
    assert!(!serial.is_drained());
    assert!(
        !model.wait_for_interrupt(),
        "interrupts without being asked to"
    );
    assert!(serial.is_drained());
    let s = model.0.borrow();
    assert!(s.wire.iter().copied().eq(counting(2_000)));
    assert_eq!(s.longest_idle, 0);
}

#[test]
fn receiving_goes_on_while_sending() {
    let model = Model::ready();
    let mut serial = Pl011::new(&model);
    model.send(back_to_back(800));
    let (mut left, mut got) = (counting(500).peekable(), Vec::new());
    serial.want_room(true);
    while serial.try_send(0) {}
    while model.wait_for_interrupt() {
        model.wait(MASKED_NS);
        serial.acknowledge();
        got.extend(std::iter::from_fn(|| serial.try_receive()));
        while left.peek().is_some_and(|byte| serial.try_send(*byte)) {
            left.next();
        }
        serial.want_room(left.peek().is_some());
    }
    assert_whole(&got, 800, "while sending and after");
    let s = model.0.borrow();
    let sent = s.wire.iter().copied().skip_while(|byte| *byte == 0);
    assert!(sent.eq(counting(500).skip(1)));
}

#[test]
fn polled_printing_waits_for_room_and_ends_lines() {
    let model = Model::ready();
    let mut serial = Pl011::new(&model);
    let text = "a line longer than the FIFO is deep\nand another\n";
    write!(Polled(&mut serial), "{text}").unwrap();
    while !serial.is_drained() {}
    let seen = String::from_utf8(model.0.borrow().wire.clone()).unwrap();
    assert_eq!(seen, text.replace('\n', "\r\n"));
}

proptest! {
    #[test]
    fn a_divisor_is_within_one_percent(clock in any::<u32>(), baud in any::<u32>()) {
        if let Some(d) = Divisor::nearest(clock, baud) {
            prop_assert!((1..=65_535).contains(&d.integer) && d.sixty_fourths < 64);
            let ratio = f64::from(d.integer) + f64::from(d.sixty_fourths) / 64.0;
            let speed = f64::from(clock) / 16.0 / ratio;
            prop_assert!((speed / f64::from(baud) - 1.0).abs() < 0.008);
        }
    }

    #[test]
    fn a_usual_clock_reaches_usual_speeds(
        clock in 3_000_000u32..250_000_000,
        baud in prop::sample::select(vec![9_600u32, 19_200, 38_400, 57_600, 115_200]),
    ) {
        prop_assert!(Divisor::nearest(clock, baud).is_some());
    }

    #[test]
    fn irregular_traffic_arrives_whole(
        traffic in prop::collection::vec((0..6 * CHARACTER_NS, any::<u8>(), prop::bool::weighted(0.1)), 1..300),
        latencies in prop::collection::vec(0..=MASKED_NS, 1..50),
    ) {
        let model = Model::ready();
        model.send(traffic.iter().map(|(gap, byte, damaged)| {
            (*gap, u16::from(*byte) | if *damaged { FRAMING } else { 0 })
        }));
        let mut turn = latencies.iter().cycle();
        let got = serve(&model, || *turn.next().unwrap());
        let sent: Vec<_> = traffic.iter().map(|(_, byte, damaged)| {
            if *damaged { Received::Damaged } else { Received::Byte(*byte) }
        }).collect();
        prop_assert_eq!(got, sent);
    }
}
