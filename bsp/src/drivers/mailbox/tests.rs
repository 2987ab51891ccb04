//! The driver against a model of the mailboxes, of firmware that may be slow, mute or lying, and of
//! memory that is not coherent: each side sees what the other wrote only after it was handed over.

use std::cell::RefCell;
use std::collections::VecDeque;

use proptest::prelude::*;

use super::Mailbox;
use crate::bus::{Bus, DmaBuffer};
use crate::traits::{DeviceError, Firmware, MacAddress, MemoryRange};

const BUS_ADDRESS: u32 = 0xc000_1230;
const WORD: u32 = BUS_ADDRESS | 8;

type Answer = Box<dyn Fn(&mut [u32])>;

#[derive(Default)]
struct State {
    /// The buffer as the processor's cache has it, and as memory has it.
    cache: Vec<u32>,
    memory: Vec<u32>,
    /// Words on their way to the processor: after how many looks, and what.
    to_arm: VecDeque<(u32, u32)>,
    /// Looks for which the mailbox to the firmware stays full.
    full_for: u32,
    /// Looks from a question to its answer; none: it never comes.
    delay: Option<u32>,
    answer: Option<Answer>,
    /// Words sent to the firmware.
    sent: Vec<u32>,
    looks: u32,
}

struct Model(RefCell<State>);

impl Model {
    fn new(words: usize, answer: impl Fn(&mut [u32]) + 'static) -> Self {
        Self(RefCell::new(State {
            cache: vec![0xdead_beef; words],
            memory: vec![0xdead_beef; words],
            delay: Some(0),
            answer: Some(Box::new(answer)),
            ..State::default()
        }))
    }

    fn mailbox(&self) -> Mailbox<&Self, &Self> {
        Mailbox::new(self, self)
    }
}

impl Bus for Model {
    fn read32(&self, offset: usize) -> u32 {
        let mut s = self.0.borrow_mut();
        s.looks += 1;
        match offset {
            0x00 => {
                let (after, word) = s.to_arm.pop_front().expect("read of an empty mailbox");
                assert_eq!(after, 0, "read of an empty mailbox");
                word
            }
            0x18 => match s.to_arm.front_mut() {
                Some((0, _)) => 0,
                Some((after, _)) => {
                    *after -= 1;
                    1 << 30
                }
                None => 1 << 30,
            },
            0x38 => {
                // The firmware takes words only while it can give its own.
                if s.to_arm.len() < 8 {
                    s.full_for = s.full_for.saturating_sub(1);
                }
                u32::from(s.full_for > 0) << 31
            }
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        assert_eq!(offset, 0x20);
        let mut s = self.0.borrow_mut();
        assert_eq!(s.full_for, 0, "written to a full mailbox");
        s.sent.push(value);
        let Some(delay) = s.delay else { return };
        let answer = s.answer.take().unwrap();
        answer(&mut s.memory);
        s.answer = Some(answer);
        s.to_arm.push_back((delay, value));
    }
}

impl DmaBuffer for &Model {
    fn len(&self) -> usize {
        self.0.borrow().cache.len()
    }
    fn read(&self, index: usize) -> u32 {
        self.0.borrow().cache.get(index).copied().unwrap_or(0)
    }
    fn write(&mut self, index: usize, value: u32) {
        if let Some(word) = self.0.borrow_mut().cache.get_mut(index) {
            *word = value;
        }
    }
    fn bus_address(&self) -> u32 {
        BUS_ADDRESS
    }
    fn hand_over(&mut self) {
        let mut s = self.0.borrow_mut();
        s.memory = s.cache.clone();
    }
    fn take_back(&mut self) {
        let mut s = self.0.borrow_mut();
        s.cache = s.memory.clone();
    }
}

/// What the emulator's firmware says, with `line` as command line.
fn honest(line: &'static [u8]) -> impl Fn(&mut [u32]) {
    move |message| {
        let words = message[0] as usize / 4;
        assert_eq!(message[0] % 4, 0);
        assert_eq!(message[1], 0, "not a request");
        assert_eq!(message[4], 0, "not a request");
        let room = message[3] as usize;
        assert_eq!(words, 6 + room / 4);
        assert_eq!(message[words - 1], 0, "no end tag");
        let values = match message[2] {
            0x1_0002 => vec![0x00a0_2082],
            0x1_0003 => {
                message[1] = 0x8000_0000;
                message[4] = 0x8000_0006;
                message[5] = 0x12eb_27b8;
                message[6] = 0x5634;
                return;
            }
            0x1_0005 => vec![0, 0x3c00_0000],
            0x2_8001 => vec![message[5], if message[5] == 3 { message[6] & 1 } else { 2 }],
            0x3_0002 => vec![
                message[5],
                match message[5] {
                    1 => 200_000_000,
                    2 => 48_000_000,
                    _ => 0,
                },
            ],
            0x6_0001 => vec![0x7f35],
            0x5_0001 => {
                message[1] = 0x8000_0000;
                message[4] = 0x8000_0000 | line.len() as u32;
                if line.len() <= room {
                    for (i, byte) in line.iter().enumerate() {
                        message[5 + i / 4] |= u32::from(*byte) << (i % 4 * 8);
                    }
                }
                return;
            }
            _ => panic!("tag {:#x}", message[2]),
        };
        message[1] = 0x8000_0000;
        message[4] = 0x8000_0000 | (values.len() * 4) as u32;
        message[5..5 + values.len()].copy_from_slice(&values);
    }
}

#[test]
fn questions_are_answered() {
    let model = Model::new(8, honest(b""));
    let mut mailbox = model.mailbox();
    let memory = MemoryRange {
        start: 0,
        length: 0x3c00_0000,
    };
    assert_eq!(mailbox.arm_memory(), Ok(memory));
    assert_eq!(mailbox.board_revision(), Ok(0x00a0_2082));
    assert_eq!(mailbox.serial_clock(), Ok(48_000_000));
    assert_eq!(mailbox.card_clock(), Ok(200_000_000));
    assert_eq!(mailbox.dma_channels(), Ok(0x7f35));
    assert_eq!(mailbox.power_usb(), Ok(()));
    let address = MacAddress([0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56]);
    assert_eq!(mailbox.mac_address(), Ok(address));
    assert_eq!(model.0.borrow().sent, [WORD; 7]);
}

#[test]
fn the_command_line_is_copied_as_far_as_there_is_room() {
    for line in [
        &b"console=ttyAMA0"[..],
        b"console=ttyAMA0\0",
        b"console=ttyAMA0\0more",
    ] {
        let model = Model::new(12, honest(line));
        let mut into = [0xff; 20];
        assert_eq!(model.mailbox().command_line(&mut into), Ok(15));
        assert_eq!(&into[..16], b"console=ttyAMA0\xff");
        assert_eq!(model.mailbox().command_line(&mut into[..7]), Ok(7));
        assert_eq!(model.mailbox().command_line(&mut []), Ok(0));
    }
}

#[test]
fn no_command_line_is_absent_and_one_too_long_refused() {
    for line in [&b""[..], b"\0", b"\0\0"] {
        let model = Model::new(12, honest(line));
        let result = model.mailbox().command_line(&mut [0; 8]);
        assert_eq!(result, Err(DeviceError::Absent));
    }
    let model = Model::new(8, honest(b"nine bytes"));
    let result = model.mailbox().command_line(&mut [0; 64]);
    assert_eq!(result, Err(DeviceError::Refused));
}

#[test]
fn an_unknown_tag_is_absent() {
    let model = Model::new(8, |message| message[1] = 0x8000_0000);
    assert_eq!(model.mailbox().arm_memory(), Err(DeviceError::Absent));
    assert_eq!(
        model.mailbox().command_line(&mut []),
        Err(DeviceError::Absent)
    );
}

#[test]
fn a_clock_that_stands_still_is_absent() {
    let model = Model::new(8, |message| {
        honest(b"")(message);
        message[6] = 0;
    });
    assert_eq!(model.mailbox().serial_clock(), Err(DeviceError::Absent));
}

#[test]
fn power_that_does_not_come_is_told() {
    let answers = [
        (0, DeviceError::Refused),
        (2, DeviceError::Absent),
        (3, DeviceError::Absent),
    ];
    for (state, error) in answers {
        let model = Model::new(8, move |message| {
            honest(b"")(message);
            message[6] = state;
        });
        assert_eq!(model.mailbox().power_usb(), Err(error));
    }
    let other = Model::new(8, |message| {
        honest(b"")(message);
        message[5] = 4;
    });
    assert_eq!(other.mailbox().power_usb(), Err(DeviceError::Malformed));
}

#[test]
fn an_address_that_no_interface_may_have_is_malformed() {
    let lies: [fn(&mut [u32]); 3] = [
        |m| m[4] = 0x8000_0004,
        |m| m[5] |= 1,
        |m| (m[5], m[6]) = (0, 0),
    ];
    for lie in lies {
        let model = Model::new(8, move |message| {
            honest(b"")(message);
            lie(message);
        });
        assert_eq!(model.mailbox().mac_address(), Err(DeviceError::Malformed));
    }
}

#[test]
fn a_slow_firmware_is_waited_for() {
    let model = Model::new(8, honest(b""));
    {
        let mut s = model.0.borrow_mut();
        s.delay = Some(5_000);
        s.full_for = 5_000;
    }
    assert_eq!(model.mailbox().board_revision(), Ok(0x00a0_2082));
}

#[test]
fn words_for_others_are_dropped() {
    let model = Model::new(8, honest(b""));
    // A full mailbox of them, behind which the firmware takes nothing; some come late.
    model.0.borrow_mut().full_for = 3;
    model.0.borrow_mut().to_arm = (0..8)
        .map(|channel| (if channel == 6 { 50 } else { 0 }, BUS_ADDRESS | channel))
        .chain([(0, 0x8), (0, WORD + 16)])
        .collect();
    assert_eq!(model.mailbox().board_revision(), Ok(0x00a0_2082));
    assert!(model.0.borrow().to_arm.is_empty());
}

#[test]
fn a_late_answer_is_not_taken_for_the_next() {
    let model = Model::new(8, honest(b""));
    let mut mailbox = model.mailbox();
    model.0.borrow_mut().delay = None;
    assert_eq!(mailbox.board_revision(), Err(DeviceError::TimedOut));
    // The word of the question given up comes now, with the message of the next still unanswered.
    model.0.borrow_mut().to_arm.push_back((1_000, WORD));
    assert_eq!(mailbox.serial_clock(), Err(DeviceError::TimedOut));
    assert!(model.0.borrow().to_arm.is_empty());
    model.0.borrow_mut().delay = Some(10);
    assert_eq!(mailbox.serial_clock(), Ok(48_000_000));
}

#[test]
fn waits_end() {
    let mute = Model::new(8, honest(b""));
    mute.0.borrow_mut().delay = None;
    assert_eq!(mute.mailbox().arm_memory(), Err(DeviceError::TimedOut));
    assert!(mute.0.borrow().looks < 4_000_000);

    let full = Model::new(8, honest(b""));
    full.0.borrow_mut().full_for = u32::MAX;
    assert_eq!(full.mailbox().arm_memory(), Err(DeviceError::TimedOut));
    assert!(full.0.borrow().sent.is_empty());

    struct Babbling;
    impl Bus for Babbling {
        fn read32(&self, _: usize) -> u32 {
            0x1007
        }
        fn write32(&self, _: usize, _: u32) {}
    }
    let buffer = Model::new(8, |_| ());
    let result = Mailbox::new(Babbling, &buffer).board_revision();
    assert_eq!(result, Err(DeviceError::TimedOut));
}

#[test]
fn answers_to_something_else_are_malformed() {
    type Lie = fn(&mut [u32]);
    let lies: [(Lie, DeviceError); 6] = [
        (|m| m[1] = 0x8000_0001, DeviceError::Refused),
        (|m| m[1] = 0x1234, DeviceError::Malformed),
        (|m| m[2] = 0x1_0003, DeviceError::Malformed),
        (|m| m[4] = 0x8000_0004, DeviceError::Malformed),
        (|m| m[4] = 0x8000_0000, DeviceError::Malformed),
        (|m| m[4] = 0x8000_0009, DeviceError::Refused),
    ];
    for (lie, error) in lies {
        let model = Model::new(8, move |message| {
            honest(b"")(message);
            lie(message);
        });
        assert_eq!(model.mailbox().arm_memory(), Err(error));
    }
    let model = Model::new(8, |message| {
        honest(b"")(message);
        message[5] = 3;
    });
    assert_eq!(model.mailbox().serial_clock(), Err(DeviceError::Malformed));
}

#[test]
fn a_buffer_too_small_is_refused_before_anything_is_sent() {
    for words in 0..8 {
        let model = Model::new(words, honest(b""));
        assert_eq!(model.mailbox().arm_memory(), Err(DeviceError::Refused));
        assert!(model.0.borrow().sent.is_empty());
    }
}

proptest! {
    /// Whatever is in the buffer when the answer comes, each question ends, within the room given.
    #[test]
    fn any_answer_is_survived(answer in prop::collection::vec(any::<u32>(), 12), done in any::<bool>()) {
        let model = Model::new(12, move |message| {
            let tag = message[2];
            message.copy_from_slice(&answer);
            // Something to get past the first checks, often.
            message[1] = if done { 0x8000_0000 } else { message[1] | 1 };
            if message[0] & 1 == 0 {
                message[2] = tag;
            }
        });
        let _ = model.mailbox().arm_memory();
        let _ = model.mailbox().board_revision();
        let _ = model.mailbox().serial_clock();
        let mut into = [0; 16];
        if let Ok(length) = model.mailbox().command_line(&mut into) {
            prop_assert!(length <= 16);
        }
    }
}
