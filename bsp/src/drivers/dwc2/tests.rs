//! Channels against the model: what is moved, what is repeated, what a stop leaves.

use std::cell::RefCell;
use std::rc::Rc;

use super::channel::{Ending, HALT_PATIENCE, Pid, Progress, Refused, Transfer, TransferError};
use super::model::adapter::{Adapter, Cable};
use super::model::memory::{Memory, Shared};
use super::model::unit::Unit;
use super::model::{Character, Fault, Model};
use super::pipe::Pipe;
use super::stream::{Inlet, Outlet, Received, Sent};
use super::{CHANNELS, Dwc2};
use crate::dma::DmaMemory;
use crate::drivers::usb::Speed;
use crate::drivers::usb::descriptors::{Direction, EndpointKind};

struct Bench {
    model: Model,
    controller: Dwc2<Model>,
    memory: Memory,
    cable: Cable,
}

const BOTH: [Character; 2] = [Character::Emulator, Character::Board];

impl Bench {
    /// A controller that is reset, with a device at address 0 that has its configuration for CDC.
    fn new(character: Character) -> Self {
        let (unit, cable) = Adapter::unit(Speed::Full, true);
        let (memory, shared) = Memory::new(1 << 17);
        let mut bench = Self::of(character, unit, memory, shared, cable);
        bench.connect();
        let mut state = bench.model.0.borrow_mut();
        let unit = state.root.as_mut().unwrap();
        unit.configuration = 1;
        unit.function.configured(1);
        drop(state);
        bench
    }

    fn of(
        character: Character,
        unit: Unit,
        memory: Memory,
        shared: Rc<RefCell<Shared>>,
        cable: Cable,
    ) -> Self {
        let model = Model::new(character, shared, unit);
        Self {
            controller: Dwc2::new(model.clone()),
            model,
            memory,
            cable,
        }
    }

    fn connect(&mut self) {
        self.controller.begin_reset();
        let done = (0..1_000).any(|_| {
            self.model.run(1);
            self.controller.continue_reset()
        });
        assert!(done, "the reset does not end");
        self.controller.power_port();
        assert!(self.controller.port().connected && !self.controller.port().enabled);
        self.controller.set_port_reset(true);
        self.model.run(50_000);
        self.controller.set_port_reset(false);
        self.model.run(1_000);
        let port = self.controller.port();
        assert!(port.enabled && port.changed && port.speed == Speed::Full);
        assert!(self.controller.pending().port);
        self.controller.forget_port_changes();
        assert!(!self.controller.port().changed && self.controller.port().enabled);
    }

    fn out(&mut self, bytes: &[u8]) -> Transfer {
        let lines = bytes.len().next_multiple_of(64);
        self.memory.bytes_mut(0..bytes.len()).copy_from_slice(bytes);
        self.memory.clean(0..lines);
        Transfer {
            device: 0,
            endpoint: 2,
            kind: EndpointKind::Bulk,
            direction: Direction::Out,
            low_speed: false,
            max_packet: 64,
            pid: Pid::Data0,
            memory: self.memory.bus_address(),
            length: bytes.len() as u32,
            deadline: None,
        }
    }

    fn input(&mut self, length: u32) -> Transfer {
        self.memory.invalidate(4096..4096 + (1 << 16));
        let mut transfer = self.out(&[]);
        transfer.direction = Direction::In;
        transfer.length = length;
        transfer.memory += 4096;
        transfer
    }

    fn end(&mut self, transfer: Transfer) -> Ending {
        self.controller.start(3, transfer).unwrap();
        self.wait()
    }

    fn wait(&mut self) -> Ending {
        for _ in 0..100_000 {
            if let Progress::Ended(ending) = self.controller.poll(3, self.model.now()) {
                assert_eq!(self.controller.poll(3, self.model.now()), Progress::Idle);
                return ending;
            }
            self.model.run(10);
        }
        panic!("the transfer does not end");
    }
}

#[test]
fn marks_go_on_from_transfer_to_transfer() {
    let mut bench = Bench::new(Character::Board);
    let mut pid = Pid::Data0;
    for length in [10, 65, 64, 200, 1, 129] {
        let bytes = vec![length as u8; length];
        let mut transfer = bench.out(&bytes);
        transfer.pid = pid;
        let ending = bench.end(transfer);
        assert_eq!((ending.result, ending.bytes), (Ok(()), length as u32));
        let odd = length.div_ceil(64) % 2 == 1;
        assert_eq!(ending.next == pid, !odd, "{length}");
        pid = ending.next;
    }
    let mut state = bench.model.0.borrow_mut();
    assert_eq!(state.root.as_mut().unwrap().out_of_step(), 0);
}

#[test]
fn a_damaged_packet_is_repeated_twice_and_no_more() {
    for character in [Character::Board] {
        for failures in 0..5 {
            let mut bench = Bench::new(character);
            let before = bench.model.0.borrow().transactions;
            // The third packet of five.
            let at = before + 3;
            bench.model.0.borrow_mut().faults =
                (0..failures).map(|n| (at + n, Fault::Error)).collect();
            let bytes: Vec<u8> = (0..300_u32).map(|n| n as u8).collect();
            let transfer = bench.out(&bytes);
            let ending = bench.end(transfer);
            let arrived = bench.cable.borrow_mut().outward.pop();
            if failures < 3 {
                assert_eq!((ending.result, ending.bytes), (Ok(()), 300), "{failures}");
                assert_eq!(arrived.as_ref(), Some(&bytes));
            } else {
                let expected = (Err(TransferError::Transaction), 128);
                assert_eq!((ending.result, ending.bytes), expected);
                assert_eq!(arrived, None);
            }
            let mut state = bench.model.0.borrow_mut();
            assert_eq!(state.root.as_mut().unwrap().out_of_step(), 0);
        }
    }
}

#[test]
fn failures_are_told_apart() {
    let faults = [
        (Fault::Stall, TransferError::Stall),
        (Fault::BusError, TransferError::Bus),
        (Fault::Babble, TransferError::Babble),
    ];
    for character in BOTH {
        for (fault, error) in faults {
            let mut bench = Bench::new(character);
            bench.cable.borrow_mut().inward.push_back(vec![1; 100]);
            let next = bench.model.0.borrow().transactions + 1;
            bench.model.0.borrow_mut().faults.insert(next, fault);
            let transfer = bench.input(2048);
            let ending = bench.end(transfer);
            assert_eq!(ending.result, Err(error), "{character:?}");
            assert!(!bench.controller.is_unsettled(3));
        }
    }
}

#[test]
fn what_arrives_is_counted_up_to_the_short_packet() {
    for character in BOTH {
        let mut bench = Bench::new(character);
        for length in [1, 63, 65, 100, 300, 1514] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8 ^ 0x33).collect();
            bench.cable.borrow_mut().inward.push_back(bytes.clone());
            let mut transfer = bench.input(2048);
            transfer.pid = Pid::Data0;
            let state = bench.model.0.clone();
            state.borrow_mut().root.as_mut().unwrap().reset();
            state.borrow_mut().root.as_mut().unwrap().configuration = 1;
            let ending = bench.end(transfer);
            assert_eq!((ending.result, ending.bytes), (Ok(()), length as u32));
            let range = 4096..4096 + 2048;
            bench.memory.invalidate(range);
            assert!(bench.memory.bytes(4096..4096 + length as usize) == bytes);
        }
    }
}

#[test]
fn a_stopped_channel_is_unsettled_until_another_transfer_has_ended() {
    for (character, hushed) in BOTH.into_iter().flat_map(|it| [(it, true), (it, false)]) {
        let mut bench = Bench::new(character);
        let transfer = bench.input(2048);
        bench.controller.start(3, transfer).unwrap();
        bench.model.run(1_000);
        let now = bench.model.now();
        assert_eq!(bench.controller.poll(3, now), Progress::Running);
        bench.controller.stop(3, now);
        let ending = bench.wait();
        assert_eq!(ending.result, Err(TransferError::Stopped));
        assert!(bench.controller.is_unsettled(3));
        // The emulator's goes on, into the same memory.
        bench.cable.borrow_mut().inward.push_back(vec![7; 90]);
        bench.model.run(1_000);
        let taken = bench.cable.borrow().inward.is_empty();
        assert_eq!(taken, character == Character::Emulator);
        // What it says then must not interrupt for ever, nor end the next transfer.
        if hushed {
            let pending = bench.controller.pending();
            bench.controller.hush(pending.channels);
            assert_eq!(bench.controller.pending().channels, 0);
        }
        bench.cable.borrow_mut().inward.clear();
        let transfer = bench.input(2048);
        bench.controller.start(3, transfer).unwrap();
        bench.model.run(1_000);
        let now = bench.model.now();
        assert_eq!(bench.controller.poll(3, now), Progress::Running);
        bench.cable.borrow_mut().inward.push_back(vec![8; 90]);
        let ending = bench.wait();
        assert_eq!((ending.result, ending.bytes), (Ok(()), 90));
        assert!(!bench.controller.is_unsettled(3));
    }
}

#[test]
fn nobody_at_the_address_is_given_up_in_time() {
    let mut bench = Bench::new(Character::Emulator);
    let mut transfer = bench.out(&[0; 20]);
    transfer.device = 9;
    transfer.deadline = Some(bench.model.now() + 5_000);
    assert_eq!(bench.end(transfer).result, Err(TransferError::TimedOut));
    // And the channel can be used again.
    let transfer = bench.out(&[0; 20]);
    assert_eq!(bench.end(transfer).result, Ok(()));

    let mut bench = Bench::new(Character::Board);
    let mut transfer = bench.out(&[0; 20]);
    transfer.device = 9;
    assert_eq!(bench.end(transfer).result, Err(TransferError::Transaction));
}

#[test]
fn a_channel_that_does_not_halt_is_stuck_until_the_reset() {
    let mut bench = Bench::new(Character::Board);
    bench.model.0.borrow_mut().never_halts = true;
    let mut transfer = bench.input(2048);
    transfer.deadline = Some(bench.model.now() + 1_000);
    bench.controller.start(3, transfer).unwrap();
    let begin = bench.model.now();
    assert_eq!(bench.wait_stuck().result, Err(TransferError::Stuck));
    assert!(bench.model.now() - begin <= 1_000 + HALT_PATIENCE + 100);
    let again = bench.input(64);
    assert_eq!(bench.controller.start(3, again), Err(Refused));
    assert!(bench.controller.is_unsettled(3) || bench.controller.stop_all(bench.model.now()));
    bench.connect();
    assert!(bench.controller.is_unsettled(3));
    assert_eq!(bench.controller.poll(3, bench.model.now()), Progress::Idle);
}

impl Bench {
    fn wait_stuck(&mut self) -> Ending {
        for _ in 0..100_000 {
            if let Progress::Ended(ending) = self.controller.poll(3, self.model.now()) {
                assert_eq!(self.controller.poll(3, self.model.now()), Progress::Running);
                return ending;
            }
            self.model.run(10);
        }
        panic!("nothing is told");
    }
}

#[test]
fn what_is_no_transfer_is_refused() {
    let mut bench = Bench::new(Character::Board);
    let good = bench.input(128);
    let changes: [fn(&mut Transfer); 10] = [
        |t| t.length = 100,
        |t| t.length = 65_536 + 64,
        |t| t.max_packet = 0,
        |t| t.max_packet = 2048,
        |t| t.memory += 2,
        |t| t.device = 128,
        |t| t.endpoint = 16,
        |t| t.kind = EndpointKind::Isochronous,
        |t| (t.max_packet, t.length) = (1, 1024),
        |t| (t.max_packet, t.direction, t.length) = (1, Direction::Out, 1024),
    ];
    for change in changes {
        let mut transfer = good;
        change(&mut transfer);
        assert_eq!(bench.controller.start(3, transfer), Err(Refused));
    }
    assert_eq!(bench.controller.start(CHANNELS, good), Err(Refused));
    assert_eq!(bench.controller.poll(CHANNELS, 0), Progress::Idle);
    bench.controller.start(3, good).unwrap();
    assert_eq!(bench.controller.start(3, good), Err(Refused));
}

#[test]
fn interrupts_can_be_held_back() {
    for character in BOTH {
        let mut bench = Bench::new(character);
        bench.controller.set_interrupts(false);
        let transfer = bench.out(&[1; 30]);
        bench.controller.start(3, transfer).unwrap();
        bench.model.run(1_000);
        assert!(!bench.model.interrupts());
        bench.controller.set_interrupts(true);
        assert!(bench.model.interrupts());
        assert_eq!(bench.controller.pending().channels, 1 << 3);
        bench.wait();
        assert!(!bench.model.interrupts());
    }
}

/// Frames' way, with room for so much each time.
fn ways() -> (Inlet, Outlet) {
    let input = Pipe::bulk(0, 2, Direction::In, 64).unwrap();
    let output = Pipe::bulk(0, 2, Direction::Out, 64).unwrap();
    assert!(Inlet::new(output, 2048).is_none() && Outlet::new(input, 2048).is_none());
    assert!(Inlet::new(input, 63).is_none() && Inlet::new(input, 1 << 17).is_none());
    assert!(Outlet::new(output, 1 << 17).is_none());
    (
        Inlet::new(input, 2048 + 63).unwrap(),
        Outlet::new(output, 2048).unwrap(),
    )
}

#[test]
fn what_is_sent_at_once_tells_the_next_mark() {
    for (length, odd) in [(0, true), (10, true), (65, false), (1600, true), (64, true)] {
        for pid in [Pid::Data0, Pid::Data1] {
            let mut bench = Bench::new(Character::Emulator);
            let memory = bench.out(&vec![7; length]).memory;
            let data = (pid, memory, length as u32);
            let sent = bench.controller.send(3, &ways().1, data, (0, 1_000));
            let Ok(Sent::Well(next)) = sent else {
                panic!("{length}: {sent:?}");
            };
            assert_eq!(next != pid, odd, "{length}");
            assert_eq!(bench.controller.poll(3, 0), Progress::Idle);
        }
    }
}

#[test]
fn what_is_sent_by_packet_ends_with_one_that_is_not_full() {
    for (length, last) in [(10, 10), (64, 0), (65, 1), (1514, 42), (1536, 0)] {
        for character in BOTH {
            let mut bench = Bench::new(character);
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let data = (Pid::Data0, bench.out(&bytes).memory, length as u32);
            let sent = bench
                .controller
                .send_by_packet(3, &ways().1, data, (0, 1_000));
            let expected = match character {
                Character::Emulator => {
                    let next = match (length / 64) % 2 {
                        0 => Pid::Data1,
                        _ => Pid::Data0,
                    };
                    (length as u32 / 64 * 64, last, Sent::Well(next))
                }
                // A packet takes its time.
                Character::Board => (0, (length as u32).min(64), Sent::Begun),
            };
            assert_eq!(sent, Ok(expected), "{length}");
            let arrived = bench.cable.borrow().outward == [bytes];
            assert_eq!(arrived, character == Character::Emulator);
        }
    }
}

/// After a stop, another transfer must have ended before what it left is forgotten; nothing is sent at once until then.
#[test]
fn a_stopped_channel_is_settled_by_a_transfer_in() {
    for character in BOTH {
        let mut bench = Bench::new(character);
        let (inlet, outlet) = ways();
        let memory = bench.input(2048).memory;
        bench.controller.arm(3, &inlet, Pid::Data0, memory).unwrap();
        assert_eq!(bench.controller.received(3), Received::Goes);
        bench.model.run(1_000);
        bench.controller.stop(3, bench.model.now());
        assert_eq!(bench.controller.received(3), Received::Other);
        assert_eq!(bench.wait().result, Err(TransferError::Stopped));
        let refused = bench
            .controller
            .send(3, &outlet, (Pid::Data0, memory, 20), (0, 1_000));
        assert_eq!(refused, Err(Refused));
        bench.controller.arm(3, &inlet, Pid::Data0, memory).unwrap();
        let again = bench.controller.arm(3, &inlet, Pid::Data0, memory);
        assert_eq!(again, Err(Refused));
        bench.cable.borrow_mut().inward.push_back(vec![8; 90]);
        bench.model.run(2_000);
        let next = match character {
            // The emulator's is one packet.
            Character::Emulator => Pid::Data1,
            Character::Board => Pid::Data0,
        };
        let received = bench.controller.received(3);
        assert_eq!(received, Received::Well(90, next));
        assert!(!bench.controller.is_unsettled(3));
        let odd = bench.controller.arm(3, &inlet, Pid::Data0, memory + 2);
        assert_eq!(odd, Err(Refused));
    }
}
