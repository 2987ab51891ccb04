//! The emulator's Ethernet adapter: CDC Ethernet and RNDIS in one device.
//!
//! With `flawed` it does what the emulated one does: an RNDIS message that fills its last packet is followed
//! by nothing. Without, by an empty packet, as CDC frames are.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::unit::{Function, Reply, Unit};
use crate::drivers::usb::Speed;

/// The cable, and what the test does with the device.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Frames on their way to the host.
    pub inward: VecDeque<Vec<u8>>,
    /// Frames that came from the host.
    pub outward: Vec<Vec<u8>>,
    /// No partner.
    pub unplugged: bool,
    /// The device does not take frames now.
    pub blocked: bool,
    /// Answers to requests are so many questions late.
    pub late: u32,
    /// Words in a packet message's header that are wrong: which, and by what.
    pub lie: Option<(usize, u32)>,
    /// How often the PHY was used while it was busy.
    pub misused: u32,
    /// Every answer on endpoint 0 of the class is this.
    pub nonsense: Option<Vec<u8>>,
}

pub(crate) type Cable = Rc<RefCell<Wire>>;

/// The adapter.
pub(crate) struct Adapter {
    cable: Cable,
    configuration: u8,
    flawed: bool,
    packet: usize,
    out: Vec<u8>,
    sending: Option<(Vec<u8>, usize)>,
    answers: VecDeque<Vec<u8>>,
}

/// The address in the string, and the one that RNDIS tells.
pub(crate) const STRING_ADDRESS: [u8; 6] = [0x40, 0x54, 0, 0x12, 0x34, 0x57];
pub(crate) const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x57];

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn configuration(value: u8, interfaces: u8, rest: &[u8]) -> Vec<u8> {
    let total = (9 + rest.len()) as u16;
    let [low, high] = total.to_le_bytes();
    let mut bytes = vec![9, 2, low, high, interfaces, value, 0, 0xc0, 50];
    bytes.extend_from_slice(rest);
    bytes
}

impl Adapter {
    /// The adapter with its cable.
    pub(crate) fn unit(speed: Speed, flawed: bool) -> (Unit, Cable) {
        let cable = Cable::default();
        let packet: u16 = if speed == Speed::High { 512 } else { 64 };
        let adapter = Self {
            cable: cable.clone(),
            configuration: 0,
            flawed,
            packet: packet.into(),
            out: Vec::new(),
            sending: None,
            answers: VecDeque::new(),
        };
        let [low, high] = packet.to_le_bytes();
        let bulk = [[7, 5, 0x82, 2, low, high, 0], [7, 5, 0x02, 2, low, high, 0]].concat();
        let rndis = [
            &[9, 4, 0, 0, 1, 2, 2, 0xff, 0][..],
            &[
                5, 0x24, 0, 0x10, 1, 5, 0x24, 1, 0, 1, 4, 0x24, 2, 0, 5, 0x24, 6, 0, 1,
            ],
            &[7, 5, 0x81, 3, 16, 0, 5],
            &[9, 4, 1, 0, 2, 0x0a, 0, 0, 0],
            &bulk,
        ]
        .concat();
        let cdc = [
            &[9, 4, 0, 0, 1, 2, 6, 0, 0][..],
            &[5, 0x24, 0, 0x10, 1, 5, 0x24, 6, 0, 1],
            &[13, 0x24, 0x0f, 3, 0, 0, 0, 0, 0xea, 5, 0, 0, 0],
            &[7, 5, 0x81, 3, 16, 0, 5],
            &[9, 4, 1, 0, 0, 0x0a, 0, 0, 0],
            &[9, 4, 1, 1, 2, 0x0a, 0, 0, 0],
            &bulk,
        ]
        .concat();
        let device = [
            18, 1, 0, 2, 2, 0, 0, 64, 0x25, 0x05, 0xa2, 0xa4, 0, 0, 1, 2, 10, 2,
        ];
        let configurations = [configuration(2, 2, &rndis), configuration(1, 2, &cdc)];
        let mut unit = Unit::new(speed, Box::new(adapter)).with(device, &configurations);
        let mut string = vec![26, 3];
        for byte in STRING_ADDRESS {
            for digit in format!("{byte:02x}").bytes() {
                string.extend([digit, 0]);
            }
        }
        unit.descriptors.insert((3, 3), string);
        (unit, cable)
    }

    fn is_rndis(&self) -> bool {
        self.configuration == 2
    }

    fn message(&mut self, bytes: &[u8]) {
        let number = word(bytes, 8);
        let answer = match word(bytes, 0) {
            2 => words(&[0x8000_0002, 52, number, 0, 1, 0, 1, 0, 1, 1580, 0, 0, 0]),
            4 => match word(bytes, 12) {
                0x0101_0101 => {
                    let mut answer = words(&[0x8000_0004, 30, number, 0, 6, 16]);
                    answer.extend(ADDRESS);
                    answer
                }
                0x0001_0114 => {
                    let down = u32::from(self.cable.borrow().unplugged);
                    words(&[0x8000_0004, 28, number, 0, 4, 16, down])
                }
                _ => words(&[0x8000_0004, 24, number, 0xc000_0001, 0, 0]),
            },
            5 => words(&[0x8000_0005, 16, number, 0]),
            _ => return,
        };
        self.answers.push_back(answer);
    }

    fn frame_out(&mut self) {
        let frame = std::mem::take(&mut self.out);
        let frame = match self.is_rndis() {
            false => frame,
            true => {
                assert_eq!(word(&frame, 0), 1);
                assert_eq!(word(&frame, 4) as usize, frame.len());
                let unused = &frame[16..44];
                assert!(unused.iter().all(|byte| *byte == 0), "{unused:x?}");
                let start = 8 + word(&frame, 8) as usize;
                frame[start..start + word(&frame, 12) as usize].to_vec()
            }
        };
        self.cable.borrow_mut().outward.push(frame);
    }
}

impl Function for Adapter {
    fn control(&mut self, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>> {
        if let Some(bytes) = &self.cable.borrow().nonsense {
            return Some(bytes.clone());
        }
        match (setup[0], setup[1]) {
            (0x21, 0x43) if !self.is_rndis() => Some(Vec::new()),
            (0x21, 0) if self.is_rndis() => {
                self.message(data);
                Some(Vec::new())
            }
            (0xa1, 1) if self.is_rndis() => {
                let late = &mut self.cable.borrow_mut().late;
                if *late > 0 {
                    *late -= 1;
                    return Some(vec![0]);
                }
                Some(self.answers.pop_front().unwrap_or(vec![0]))
            }
            _ => None,
        }
    }

    fn configured(&mut self, value: u8) {
        self.configuration = value;
        self.out.clear();
        self.sending = None;
        self.answers.clear();
    }

    fn output(&mut self, endpoint: u8, packet: &[u8]) -> Reply {
        if endpoint != 2 {
            return Reply::Stall;
        }
        if self.cable.borrow().blocked {
            return Reply::Nak;
        }
        self.out.extend_from_slice(packet);
        assert!(self.out.len() <= 2048, "beyond the device's buffer");
        let whole =
            self.is_rndis() && self.out.len() >= 8 && self.out.len() >= word(&self.out, 4) as usize;
        if !packet.len().is_multiple_of(self.packet) || packet.is_empty() || whole {
            self.frame_out();
        }
        Reply::Ack
    }

    fn input(&mut self, endpoint: u8, room: usize) -> Reply {
        if endpoint != 2 {
            return Reply::Nak;
        }
        if self.sending.is_none() {
            let mut cable = self.cable.borrow_mut();
            let Some(frame) = cable.inward.pop_front() else {
                return Reply::Nak;
            };
            let bytes = match self.configuration {
                2 => {
                    let mut header = [1, 44 + frame.len() as u32, 36, frame.len() as u32]
                        .into_iter()
                        .chain([0; 7])
                        .collect::<Vec<_>>();
                    if let Some((at, by)) = cable.lie.take() {
                        header[at % 4] = header[at % 4].wrapping_add(by);
                    }
                    let mut bytes = words(&header);
                    bytes.extend(frame);
                    bytes
                }
                _ => frame,
            };
            self.sending = Some((bytes, 0));
        }
        let (bytes, at) = self.sending.as_mut().unwrap();
        let end = (*at + room).min(bytes.len());
        let packet = bytes[*at..end].to_vec();
        *at = end;
        let last = end == bytes.len();
        let short = !packet.len().is_multiple_of(self.packet) || packet.is_empty();
        let ends = last && (short || self.flawed && self.configuration == 2);
        if ends {
            self.sending = None;
        }
        Reply::Data(packet)
    }
}
