//! A card, by the states of the specification (PLSS 4.1, figures 4-2 and 4-3), with its contents.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// What is on a card, by sector; the others are zeros.
pub(crate) type Contents = Rc<RefCell<HashMap<u64, Vec<u8>>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Idle = 0,
    Ready = 1,
    Identification = 2,
    Standby = 3,
    Transfer = 4,
    Sending = 5,
    Receiving = 6,
    Programming = 7,
}

/// A card's answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    None,
    Short(u32),
    Long(u128),
}

/// Data that a command makes the card send or take.
#[derive(Clone, Debug)]
pub(crate) enum Stream {
    /// This block.
    Register(Vec<u8>),
    Read,
    Write,
}

#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) contents: Contents,
    /// Sectors that it has, and that it says it has.
    pub(crate) sectors: u64,
    pub(crate) says: u64,
    pub(crate) by_sector: bool,
    /// Version 2 or later: knows CMD8.
    pub(crate) version_2: bool,
    pub(crate) high_speed: bool,
    pub(crate) four_lines: bool,
    pub(crate) number: u32,
    pub(crate) write_protect: u32,
    pub(crate) protected: Range<u64>,
    pub(crate) locked: bool,
    /// Says that it was about to go further when it is stopped behind its last sector.
    pub(crate) eager: bool,
    /// How often it says that it is not ready.
    pub(crate) slow: u32,
    pub(crate) state: State,
    address: u16,
    application: bool,
    asked: u32,
    /// Errors to be told with the next status.
    pub(crate) errors: u32,
    pub(crate) wide: bool,
    pub(crate) fast: bool,
    pub(crate) busy_until: u64,
    /// The sector that the next block is.
    next: u64,
}

const READY_FOR_DATA: u32 = 1 << 8;
const APP_CMD: u32 = 1 << 5;

impl Card {
    pub(crate) fn new(sectors: u64, by_sector: bool) -> Self {
        Self {
            contents: Contents::default(),
            sectors,
            says: sectors,
            by_sector,
            version_2: true,
            high_speed: true,
            four_lines: true,
            number: 0x1234,
            write_protect: 0,
            protected: 0..0,
            locked: false,
            eager: false,
            slow: 0,
            state: State::Idle,
            address: 0,
            application: false,
            asked: 0,
            errors: 0,
            wide: false,
            fast: false,
            busy_until: 0,
            next: 0,
        }
    }

    /// Loses its supply for a moment.
    pub(crate) fn power_cycle(&mut self) {
        self.state = State::Idle;
        self.address = 0;
        self.application = false;
        self.asked = 0;
        self.errors = 0;
        self.wide = false;
        self.fast = false;
        self.busy_until = 0;
    }

    fn csd(&self) -> u128 {
        let classes: u128 = if self.high_speed { 0x5b5 } else { 0x1b5 };
        let common = classes << 84 | u128::from(self.write_protect) << 12;
        if self.by_sector {
            let size = self.says / 1024 - 1;
            return common | 1 << 126 | 9 << 80 | u128::from(size) << 48;
        }
        // With a multiplier of 512, and blocks as long as it takes.
        let (mut blocks, mut length) = (self.says, 9u128);
        while blocks / 512 > 4096 {
            blocks /= 2;
            length += 1;
        }
        common | length << 80 | u128::from(blocks / 512 - 1) << 62 | 7 << 47
    }

    fn status(&mut self) -> u32 {
        let errors = std::mem::take(&mut self.errors);
        let ready = match self.state {
            State::Programming => 0,
            _ => READY_FOR_DATA,
        };
        let application = if self.application { APP_CMD } else { 0 };
        let locked = u32::from(self.locked) << 25;
        errors | (self.state as u32) << 9 | ready | application | locked
    }

    fn sector(&self, argument: u32) -> Result<u64, u32> {
        let sector = match self.by_sector {
            true => argument.into(),
            false if !argument.is_multiple_of(512) => return Err(1 << 30),
            false => u64::from(argument) / 512,
        };
        match sector < self.sectors {
            true => Ok(sector),
            false => Err(1 << 31),
        }
    }

    /// A busy card goes on by itself.
    pub(crate) fn pass(&mut self, now: u64) {
        if self.state == State::Programming && now >= self.busy_until {
            self.state = State::Transfer;
        }
    }

    /// Takes a command. No answer: it is not one that the card knows, now.
    pub(crate) fn command(&mut self, index: u8, argument: u32) -> (Reply, Option<Stream>) {
        let application = std::mem::take(&mut self.application);
        let ours = (argument >> 16) as u16 == self.address;
        let none = (Reply::None, None);
        match (index, self.state) {
            (0, _) => {
                let busy = self.busy_until;
                self.power_cycle();
                self.busy_until = busy;
                none
            }
            (8, State::Idle) if self.version_2 => (Reply::Short(argument & 0xfff), None),
            (55, _) if ours => {
                self.application = true;
                (Reply::Short(self.status()), None)
            }
            (41, State::Idle) if application => {
                self.asked += 1;
                let mut ocr = 0x00ff_8000;
                let capable = !self.by_sector || argument >> 30 & 1 != 0;
                if self.asked > self.slow && capable {
                    ocr |= 1 << 31 | u32::from(self.by_sector) << 30;
                    self.state = State::Ready;
                }
                (Reply::Short(ocr), None)
            }
            (2, State::Ready) => {
                self.state = State::Identification;
                (Reply::Long(self.cid()), None)
            }
            (3, State::Identification | State::Standby) => {
                // The first one is nobody's: it can be asked again.
                self.address = match self.state {
                    State::Identification => 0,
                    _ => 0xb000 | self.number as u16 & 0xfff,
                };
                let status = self.status() & 0x1fff;
                self.state = State::Standby;
                (Reply::Short(u32::from(self.address) << 16 | status), None)
            }
            (9, State::Standby) if ours => (Reply::Long(self.csd()), None),
            (7, State::Standby) if ours => {
                let status = self.status();
                self.state = State::Transfer;
                (Reply::Short(status), None)
            }
            (13, state) if ours && state as u32 >= State::Standby as u32 => {
                (Reply::Short(self.status()), None)
            }
            (12, State::Sending | State::Receiving) => {
                let status = self.status();
                self.state = match self.state {
                    State::Receiving => State::Programming,
                    _ => State::Transfer,
                };
                (Reply::Short(status), None)
            }
            (_, State::Transfer) if !self.locked => self.transfer(index, argument, application),
            _ => {
                self.errors |= 1 << 22;
                none
            }
        }
    }

    pub(crate) fn cid(&self) -> u128 {
        0x03 << 120 | 0x4558_4f50_4955 << 64 | u128::from(self.number) << 24
    }

    fn transfer(&mut self, index: u8, argument: u32, application: bool) -> (Reply, Option<Stream>) {
        let mut stream = None;
        match (index, application) {
            (51, true) => {
                let widths = if self.four_lines { 0x05 } else { 0x01 };
                let version = if self.high_speed { 0x02 } else { 0x00 };
                stream = Some(Stream::Register(vec![version, widths, 0, 0, 0, 0, 0, 0]));
            }
            (6, true) => self.wide = argument == 2,
            (16, false) if argument == 512 => {}
            (6, false) if self.high_speed => {
                let mut answer = vec![0; 64];
                answer[13] = 0x03;
                answer[16] = (argument & 0xf) as u8;
                self.fast = argument >> 31 != 0 && argument & 0xf == 1;
                stream = Some(Stream::Register(answer));
            }
            (17 | 18 | 24 | 25, false) => match self.sector(argument) {
                Ok(sector) if index >= 24 && self.protected.contains(&sector) => {
                    self.errors |= 1 << 26;
                }
                Ok(sector) => {
                    self.next = sector;
                    stream = Some(match index {
                        17 | 18 => Stream::Read,
                        _ => Stream::Write,
                    });
                }
                Err(error) => self.errors |= error,
            },
            _ => {
                self.errors |= 1 << 22;
                return (Reply::None, None);
            }
        }
        let status = self.status();
        match stream {
            Some(Stream::Read) => self.state = State::Sending,
            Some(Stream::Write) => self.state = State::Receiving,
            _ => {}
        }
        let application = if application { APP_CMD } else { 0 };
        (Reply::Short(status | application), stream)
    }

    /// The next block that it sends, if there is one.
    pub(crate) fn send(&mut self) -> Option<Vec<u8>> {
        if self.next >= self.sectors {
            self.errors |= 1 << 31;
            return None;
        }
        let contents = self.contents.borrow();
        let block = contents.get(&self.next).cloned();
        self.next += 1;
        Some(block.unwrap_or_else(|| vec![0; 512]))
    }

    /// Takes a block.
    pub(crate) fn take(&mut self, block: Vec<u8>) {
        if self.next >= self.sectors {
            self.errors |= 1 << 31;
            return;
        }
        if self.protected.contains(&self.next) {
            self.errors |= 1 << 26;
            return;
        }
        self.contents.borrow_mut().insert(self.next, block);
        self.next += 1;
    }

    /// Whether the next sector would be the first beyond its end.
    pub(crate) fn at_end(&self) -> bool {
        self.next == self.sectors
    }
}
