//! A USB device as the bus sees it: address, endpoint 0, toggles, halts. What it is for is its [`Function`].

use std::collections::{BTreeMap, BTreeSet};

use crate::drivers::usb::Speed;

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Ack,
    Data(Vec<u8>),
    Nak,
    Stall,
    /// Nobody answers.
    Silence,
}

/// What a device is for.
pub(crate) trait Function {
    /// A request of a class or vendor, with data for it; what it answers, or nothing if it refuses.
    fn control(&mut self, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>>;
    /// A packet for an endpoint.
    fn output(&mut self, _endpoint: u8, _packet: &[u8]) -> Reply {
        Reply::Stall
    }
    /// A packet of an endpoint, of at most so many bytes.
    fn input(&mut self, _endpoint: u8, _room: usize) -> Reply {
        Reply::Stall
    }
    fn configured(&mut self, _value: u8) {}
    fn reset(&mut self) {}
    /// Time passes.
    fn run(&mut self, _now: u64) {}
    /// Devices behind it that hear what is said on the bus.
    fn children(&mut self) -> Vec<&mut Unit> {
        Vec::new()
    }
    /// Pulls out what is behind a port.
    fn unplug(&mut self, _port: usize) -> Option<Unit> {
        None
    }
    /// Plugs something in behind a port.
    fn plug(&mut self, _port: usize, _unit: Unit) {}
}

/// A device.
pub(crate) struct Unit {
    pub speed: Speed,
    pub address: u8,
    pub configuration: u8,
    pub function: Box<dyn Function>,
    /// Descriptors by type and number.
    pub descriptors: BTreeMap<(u8, u8), Vec<u8>>,
    /// Largest packets by endpoint address.
    pub packets: BTreeMap<u8, usize>,
    toggles: BTreeMap<u8, bool>,
    halted: BTreeSet<u8>,
    setup: [u8; 8],
    data: Vec<u8>,
    at: usize,
    refused: bool,
    /// It does not come out of a reset.
    pub broken: bool,
    /// Packets with the wrong mark.
    pub out_of_step: u32,
}

impl Unit {
    pub(crate) fn new(speed: Speed, function: Box<dyn Function>) -> Self {
        Self {
            speed,
            address: 0,
            configuration: 0,
            function,
            descriptors: BTreeMap::new(),
            packets: BTreeMap::from([(0, 64), (0x80, 64)]),
            toggles: BTreeMap::new(),
            halted: BTreeSet::new(),
            setup: [0; 8],
            data: Vec::new(),
            at: 0,
            refused: false,
            broken: false,
            out_of_step: 0,
        }
    }

    /// Gives it a device descriptor and configurations, and notes the endpoints in them.
    pub(crate) fn with(mut self, device: [u8; 18], configurations: &[Vec<u8>]) -> Self {
        let packet = usize::from(device[7]);
        self.packets.insert(0, packet);
        self.packets.insert(0x80, packet);
        self.descriptors.insert((1, 0), device.to_vec());
        for (number, bytes) in configurations.iter().enumerate() {
            let mut at = 0;
            while at < bytes.len() {
                if bytes[at + 1] == 5 {
                    let size = u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]);
                    self.packets.insert(bytes[at + 2], size.into());
                }
                at += usize::from(bytes[at]);
            }
            self.descriptors.insert((2, number as u8), bytes.clone());
        }
        self
    }

    pub(crate) fn reset(&mut self) {
        self.address = 0;
        self.configuration = 0;
        self.toggles.clear();
        self.halted.clear();
        self.function.reset();
    }

    pub(crate) fn halt(&mut self, endpoint: u8) {
        self.halted.insert(endpoint);
    }

    pub(crate) fn packet(&self, endpoint: u8) -> Option<usize> {
        self.packets.get(&endpoint).copied()
    }

    /// The device with this address, this one or one behind it.
    pub(crate) fn find(&mut self, address: u8) -> Vec<&mut Unit> {
        if self.address == address {
            // Whoever is behind it and has the same address answers as well.
            assert!(address != 0 || self.function.children().is_empty());
            return vec![self];
        }
        let children = self.function.children();
        children
            .into_iter()
            .flat_map(|child| child.find(address))
            .collect()
    }

    pub(crate) fn run(&mut self, now: u64) {
        self.function.run(now);
        for child in self.function.children() {
            child.run(now);
        }
    }

    pub(crate) fn out_of_step(&mut self) -> u32 {
        let behind: u32 = self
            .function
            .children()
            .into_iter()
            .map(Unit::out_of_step)
            .sum();
        self.out_of_step + behind
    }

    fn is_read(&self) -> bool {
        self.setup[0] & 0x80 != 0
    }

    fn length(&self) -> usize {
        u16::from_le_bytes([self.setup[6], self.setup[7]]).into()
    }

    pub(crate) fn setup(&mut self, bytes: &[u8]) -> Reply {
        let Ok(setup) = bytes.try_into() else {
            return Reply::Silence;
        };
        self.setup = setup;
        self.data.clear();
        self.at = 0;
        self.refused = false;
        if self.is_read() || self.length() == 0 {
            self.execute();
        }
        Reply::Ack
    }

    fn execute(&mut self) {
        let [kind, request, value, value_high, index, ..] = self.setup;
        let answer = match (kind, request) {
            (0x80, 6) => self.descriptors.get(&(value_high, value)).cloned(),
            // It counts when the status stage is over.
            (0x00, 5) => Some(Vec::new()),
            (0x00, 9) => {
                self.configuration = value;
                self.toggles.clear();
                self.halted.clear();
                self.function.configured(value);
                Some(Vec::new())
            }
            (0x01, 11) => {
                self.toggles.clear();
                Some(Vec::new())
            }
            (0x02, 1) => {
                self.halted.remove(&index);
                self.toggles.remove(&index);
                Some(Vec::new())
            }
            _ => self.function.control(self.setup, &self.data),
        };
        self.refused = answer.is_none();
        let mut answer = answer.unwrap_or_default();
        answer.truncate(self.length());
        if self.is_read() {
            self.data = answer;
        }
    }

    /// A data packet on endpoint 0.
    fn control_out(&mut self, packet: &[u8]) -> Reply {
        if self.refused {
            return Reply::Stall;
        }
        if !self.is_read() {
            self.data.extend_from_slice(packet);
            if self.data.len() >= self.length() {
                self.execute();
            }
        }
        if self.refused {
            Reply::Stall
        } else {
            Reply::Ack
        }
    }

    fn control_in(&mut self, room: usize) -> Reply {
        if self.refused {
            return Reply::Stall;
        }
        if !self.is_read() || self.length() == 0 {
            if self.setup[..2] == [0x00, 5] {
                self.address = self.setup[2];
            }
            return Reply::Data(Vec::new());
        }
        let end = (self.at + room).min(self.data.len());
        let packet = self.data[self.at..end].to_vec();
        self.at = end;
        Reply::Data(packet)
    }

    /// A packet to an endpoint, with its mark if marks are checked.
    pub(crate) fn output(&mut self, endpoint: u8, mark: Option<bool>, packet: &[u8]) -> Reply {
        if endpoint == 0 {
            return self.control_out(packet);
        }
        if self.configuration == 0 || !self.packets.contains_key(&endpoint) {
            return Reply::Silence;
        }
        if self.halted.contains(&endpoint) {
            return Reply::Stall;
        }
        let expected = *self.toggles.entry(endpoint).or_default();
        if mark.is_some_and(|mark| mark != expected) {
            // Taken for one that was repeated.
            self.out_of_step += 1;
            return Reply::Ack;
        }
        let reply = self.function.output(endpoint, packet);
        if reply == Reply::Ack {
            self.toggles.insert(endpoint, !expected);
        }
        reply
    }

    /// A packet from an endpoint, with the mark that the host expects if marks are checked.
    pub(crate) fn input(&mut self, endpoint: u8, mark: Option<bool>, room: usize) -> Reply {
        if endpoint == 0 {
            return self.control_in(room);
        }
        let address = endpoint | 0x80;
        if self.configuration == 0 || !self.packets.contains_key(&address) {
            return Reply::Silence;
        }
        if self.halted.contains(&address) {
            return Reply::Stall;
        }
        let own = *self.toggles.entry(address).or_default();
        let reply = self.function.input(endpoint, room);
        if matches!(reply, Reply::Data(_)) {
            if mark.is_some_and(|mark| mark != own) {
                self.out_of_step += 1;
            }
            self.toggles.insert(address, !own);
        }
        reply
    }
}
