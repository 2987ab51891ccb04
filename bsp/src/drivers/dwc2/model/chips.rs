//! LAN9514 and LAN7800 as their data sheets have them: registers that must be in order before frames pass.

use std::collections::BTreeMap;

use super::adapter::{Cable, configuration};
use super::unit::{Function, Reply, Unit};
use crate::drivers::usb::Speed;

/// Largest packet of the bulk endpoints.
const PACKET: usize = 512;

/// Which chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chip {
    Lan9514,
    Lan7800,
}

/// A chip.
pub(crate) struct Lan {
    chip: Chip,
    cable: Cable,
    registers: BTreeMap<u16, u32>,
    phy: BTreeMap<u32, u32>,
    busy: u32,
    out: Vec<u8>,
    sending: Option<(Vec<u8>, usize)>,
}

impl Lan {
    /// The chip with its cable.
    pub(crate) fn unit(chip: Chip) -> (Unit, Cable) {
        let cable = Cable::default();
        let lan = Self {
            chip,
            cable: cable.clone(),
            registers: BTreeMap::new(),
            phy: BTreeMap::new(),
            busy: 0,
            out: Vec::new(),
            sending: None,
        };
        let product = match chip {
            Chip::Lan9514 => [0x00, 0xec],
            Chip::Lan7800 => [0x00, 0x78],
        };
        let device = [
            18, 1, 0, 2, 0xff, 0, 0xff, 64, 0x24, 0x04, product[0], product[1], 0, 2, 0, 0, 0, 1,
        ];
        let rest = [
            &[9, 4, 0, 0, 3, 0xff, 0, 0xff, 0][..],
            &[7, 5, 0x81, 2, 0, 2, 0, 7, 5, 0x02, 2, 0, 2, 0],
            &[7, 5, 0x83, 3, 16, 0, 4],
        ];
        let unit = Unit::new(Speed::High, Box::new(lan));
        (
            unit.with(device, &[configuration(1, 1, &rest.concat())]),
            cable,
        )
    }

    fn get(&self, register: u16) -> u32 {
        self.registers.get(&register).copied().unwrap_or(0)
    }

    fn is(&self, register: u16, bits: u32) -> bool {
        self.get(register) & bits == bits
    }

    /// Frames pass in and out.
    fn works(&self) -> bool {
        match self.chip {
            // Transmitter on in two places, receiver; "not ready" when empty.
            Chip::Lan9514 => self.is(0x10, 4) && self.is(0x100, 0xc) && self.is(0x14, 1 << 12),
            Chip::Lan7800 => {
                let fifos = self.is(0xc0, 1 << 31) && self.is(0xc4, 1 << 31);
                let ends = self.get(0xc8) == 23 && self.get(0xcc) == 23;
                let most = self.get(0x104) >> 16 & 0x3fff;
                let filter = self.is(0x400, 1 << 31) && self.get(0x404) == self.get(0x11c);
                fifos
                    && ends
                    && most >= 1518
                    && filter
                    && self.is(0x104, 1)
                    && self.is(0x108, 1)
                    && self.is(0x80, 1 << 6)
                    && self.is(0xb0, 1 << 10 | 1 << 1)
                    && self.is(0x100, 1 << 12 | 1 << 11)
            }
        }
    }

    /// Half duplex on the chip must be what partner and PHY have agreed on.
    fn duplex_is_right(&self) -> bool {
        self.chip == Chip::Lan7800 || self.is(0x100, 1 << 20) && self.get(0x100) >> 23 & 1 == 0
    }

    fn mii(&self) -> (u16, u16) {
        match self.chip {
            Chip::Lan9514 => (0x114, 0x118),
            Chip::Lan7800 => (0x120, 0x124),
        }
    }

    fn read(&mut self, register: u16) -> u32 {
        let (address, _) = self.mii();
        match (self.chip, register) {
            (Chip::Lan9514, 0) => 0xec00_0002,
            (Chip::Lan7800, 0) => 0x7800_0002,
            _ if register == address => {
                self.busy = self.busy.saturating_sub(1);
                u32::from(self.busy > 0)
            }
            (_, 0x10 | 0x14 | 0x20) => {
                let value = self.get(register);
                // Resets end by themselves, and the PHY is ready then.
                let reset = match (self.chip, register) {
                    (Chip::Lan9514, 0x14) => 1 << 3,
                    (Chip::Lan9514, 0x20) => 1 << 4,
                    (Chip::Lan7800, 0x10) => 1 << 1,
                    (Chip::Lan7800, 0x14) => 1 << 4,
                    _ => 0,
                };
                let ready = match (self.chip, register) {
                    (Chip::Lan7800, 0x14) => 1 << 7,
                    _ => 0,
                };
                self.registers.insert(register, value & !reset | ready);
                value
            }
            _ => self.get(register),
        }
    }

    fn write(&mut self, register: u16, value: u32) {
        let (address, data) = self.mii();
        if register == address {
            if self.busy > 0 {
                self.cable.borrow_mut().misused += 1;
                return;
            }
            assert_eq!(value >> 11 & 0x1f, 1, "another PHY");
            let number = value >> 6 & 0x1f;
            if value & 2 != 0 {
                let value = self.get(data);
                self.phy.insert(number, value);
            } else {
                let link = !self.cable.borrow().unplugged;
                let negotiates = self.phy.get(&0).is_some_and(|it| it & 0x1000 != 0);
                let value = match number {
                    1 => 0x7809 | u32::from(link && negotiates) << 2,
                    5 => 0x45e1,
                    _ => self.phy.get(&number).copied().unwrap_or(0),
                };
                self.registers.insert(data, value);
            }
            self.busy = 3;
            return;
        }
        let resets = match self.chip {
            Chip::Lan9514 => register == 0x14 && value & 1 << 3 != 0,
            Chip::Lan7800 => register == 0x10 && value & 1 << 1 != 0,
        };
        if resets {
            self.registers.clear();
        }
        self.registers.insert(register, value);
    }

    fn received(&self, frame: &[u8]) -> Vec<u8> {
        let length = frame.len() as u32 + 4;
        let mut bytes = match self.chip {
            Chip::Lan9514 => (length << 16).to_le_bytes().to_vec(),
            Chip::Lan7800 => {
                let mut bytes = length.to_le_bytes().to_vec();
                bytes.extend([0; 6]);
                bytes
            }
        };
        if let Some((at, by)) = self.cable.borrow_mut().lie.take() {
            let value = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            let value = value ^ by.rotate_left(at as u32);
            bytes[..4].copy_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(frame);
        // The check sequence.
        bytes.extend([0xc5; 4]);
        bytes
    }
}

impl Function for Lan {
    fn control(&mut self, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>> {
        let [kind, request, _, _, low, high, ..] = setup;
        let register = u16::from_le_bytes([low, high]);
        if register % 4 != 0 || register >= 0x800 {
            return None;
        }
        match (kind, request) {
            (0x40, 0xa0) => {
                self.write(register, u32::from_le_bytes(data.try_into().ok()?));
                Some(Vec::new())
            }
            (0xc0, 0xa1) => Some(self.read(register).to_le_bytes().to_vec()),
            _ => None,
        }
    }

    fn configured(&mut self, _: u8) {
        self.registers.clear();
        self.phy.clear();
        self.busy = 0;
        self.out.clear();
        self.sending = None;
    }

    fn output(&mut self, _: u8, packet: &[u8]) -> Reply {
        if self.cable.borrow().blocked {
            return Reply::Nak;
        }
        self.out.extend_from_slice(packet);
        if !packet.len().is_multiple_of(PACKET) || packet.is_empty() {
            let bytes = std::mem::take(&mut self.out);
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let (length, sane) = match self.chip {
                Chip::Lan9514 => (
                    word(0) & 0x7ff,
                    word(0) >> 12 & 3 == 3 && word(4) & 0x7ff == word(0) & 0x7ff,
                ),
                Chip::Lan7800 => (word(0) & 0xf_ffff, word(0) >> 22 & 1 == 1),
            };
            assert!(sane && bytes.len() == 8 + length as usize);
            if self.works() && self.duplex_is_right() {
                self.cable.borrow_mut().outward.push(bytes[8..].to_vec());
            }
        }
        Reply::Ack
    }

    fn input(&mut self, endpoint: u8, room: usize) -> Reply {
        if endpoint != 1 || !self.works() {
            return Reply::Nak;
        }
        if self.sending.is_none() {
            let Some(frame) = self.cable.borrow_mut().inward.pop_front() else {
                return Reply::Nak;
            };
            self.sending = Some((self.received(&frame), 0));
        }
        let (bytes, at) = self.sending.as_mut().unwrap();
        let end = (*at + room).min(bytes.len());
        let packet = bytes[*at..end].to_vec();
        *at = end;
        if !packet.len().is_multiple_of(PACKET) || packet.is_empty() {
            self.sending = None;
        }
        Reply::Data(packet)
    }
}
