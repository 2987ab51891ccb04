//! LAN9514 and LAN7800: Microchip's Ethernet controllers behind USB, as on the boards.
//!
//! Sources: the data sheets of LAN9514 and LAN7800, chapters on system and MAC registers and on the
//! formats of transmitted and received packets. Not seen on a board.
//!
//! Registers are read and written by requests, the register's offset in `wIndex`. What is done with them
//! here is a list of operations, run one request at a time. Nothing is offloaded and no power is saved:
//! frames go out and come in whole, one in a transfer, as `format.rs` has it.

mod tables;

use super::format::Format;
use super::nic::Offer;
use crate::drivers::usb::descriptors::double_word;
use crate::drivers::usb::request::{Answer, Request, Step, Target};
use crate::traits::{Link, MacAddress};
use tables::{Op, SET_UP_7800, SET_UP_9514, WATCH_7800, WATCH_9514, lan7800, lan9514, phy};

/// Vendor requests: `bmRequestType` to the device, and the two numbers.
const VENDOR: u8 = 0x40;
const WRITE_REGISTER: u8 = 0xa0;
const READ_REGISTER: u8 = 0xa1;
/// Microseconds from one look at a bit to the next, and how many looks.
const LOOK: u64 = 1_000;
const LOOKS: u8 = 200;

/// Access to the PHY's registers: the number's place, busy and write.
const MII_BUSY: u32 = 1;
const MII_WRITE: u32 = 2;

/// Which chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chip {
    Lan9514,
    Lan7800,
}

/// How far an operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    /// The register was asked for.
    Read,
    Write,
    Paused,
    /// The PHY's access: until it is free, its data, its number, until it is free again, its data.
    PhyFree,
    PhyPaused,
    PhyData,
    PhyStart,
    PhyBusy,
    PhyBusyPaused,
    PhyAnswer,
}

/// One of the chips.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lan {
    chip: Chip,
    address: MacAddress,
    link: Link,
    watching: bool,
    at: usize,
    stage: Stage,
    left: u8,
    /// What was read from the PHY last.
    phy: u32,
}

/// What comes after an answer: the next step of an operation, or the next operation.
enum Next {
    Step(Step),
    Operation,
}

impl Lan {
    /// The chip keeps no address of its own here, so that it gets the board's, or one that anybody may
    /// choose.
    pub(super) fn new(chip: Chip, address: Option<MacAddress>) -> Self {
        const UNNAMED: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 2]);
        Self {
            chip,
            address: address.filter(MacAddress::is_usable).unwrap_or(UNNAMED),
            link: Link::Down,
            watching: false,
            at: 0,
            stage: Stage::Begin,
            left: LOOKS,
            phy: 0,
        }
    }

    pub(super) fn address(&self) -> MacAddress {
        self.address
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn format(&self) -> Format {
        match self.chip {
            Chip::Lan9514 => Format::Lan9514,
            Chip::Lan7800 => Format::Lan7800,
        }
    }

    /// Where the PHY is reached: its number's register, and its data's.
    fn mii(&self) -> (u16, u16) {
        match self.chip {
            Chip::Lan9514 => (lan9514::MII_ADDRESS, lan9514::MII_DATA),
            Chip::Lan7800 => (lan7800::MII_ADDRESS, lan7800::MII_DATA),
        }
    }

    fn ops(&self) -> &'static [Op] {
        match (self.chip, self.watching) {
            (Chip::Lan9514, false) => SET_UP_9514,
            (Chip::Lan9514, true) => WATCH_9514,
            (Chip::Lan7800, false) => SET_UP_7800,
            (Chip::Lan7800, true) => WATCH_7800,
        }
    }

    pub(super) fn set_up(&mut self, target: Target, offer: &Offer, answer: Answer<'_>) -> Step {
        match answer {
            Answer::Begin => {
                self.watching = false;
                self.at = usize::MAX;
                Step::Ask(target, Request::set_configuration(offer.configuration))
            }
            Answer::Failed(_) => Step::Failed,
            _ if self.at == usize::MAX => self.begin(0, target),
            answer => self.run(target, answer),
        }
    }

    pub(super) fn watch(&mut self, target: Target, answer: Answer<'_>) -> Step {
        match answer {
            Answer::Begin => {
                self.watching = true;
                self.begin(0, target)
            }
            answer => self.run(target, answer),
        }
    }

    /// Begins the operation at `at`, or the first after it that asks something.
    fn begin(&mut self, at: usize, target: Target) -> Step {
        for at in at..self.ops().len() {
            self.at = at;
            self.stage = Stage::Begin;
            self.left = LOOKS;
            match self.next(target, &[]) {
                Some(Next::Step(step)) => return step,
                Some(Next::Operation) => {}
                None => return Step::Failed,
            }
        }
        Step::Done
    }

    fn run(&mut self, target: Target, answer: Answer<'_>) -> Step {
        let Ok(bytes) = answer.data() else {
            return Step::Failed;
        };
        match self.next(target, bytes) {
            Some(Next::Step(step)) => step,
            Some(Next::Operation) => self.begin(self.at.saturating_add(1), target),
            None => Step::Failed,
        }
    }

    fn read(&mut self, stage: Stage, target: Target, register: u16) -> Option<Next> {
        self.stage = stage;
        let request = Request::read(VENDOR, READ_REGISTER, 0, register, 4);
        Some(Next::Step(Step::Ask(target, request)))
    }

    fn write(&mut self, stage: Stage, target: Target, register: u16, value: u32) -> Option<Next> {
        self.stage = stage;
        let data = value.to_le_bytes();
        let request = Request::write(VENDOR, WRITE_REGISTER, 0, register, &data);
        Some(Next::Step(Step::Ask(target, request)))
    }

    fn pause(&mut self, stage: Stage) -> Option<Next> {
        self.left = self.left.checked_sub(1)?;
        self.stage = stage;
        Some(Next::Step(Step::Wait(LOOK)))
    }

    /// Goes on with the operation; none if the chip does not do what it must.
    fn next(&mut self, target: Target, bytes: &[u8]) -> Option<Next> {
        let [a, b, c, d, e, f] = self.address.0;
        match *self.ops().get(self.at)? {
            Op::Write(register, value) => self.write_once(target, register, value),
            Op::AddressLow(register) => {
                self.write_once(target, register, u32::from_le_bytes([a, b, c, d]))
            }
            Op::AddressHigh(register, more) => {
                self.write_once(target, register, u32::from_le_bytes([e, f, 0, 0]) | more)
            }
            Op::Modify {
                register,
                clear,
                set,
            } => self.modify(target, bytes, register, clear, set),
            Op::Until {
                register,
                mask,
                value,
            } => match self.stage {
                Stage::Read if double_word(bytes, 0)? & mask == value => Some(Next::Operation),
                Stage::Read => self.pause(Stage::Paused),
                _ => self.read(Stage::Read, target, register),
            },
            Op::PhyWrite(register, value) => self.access_phy(target, bytes, register, Some(value)),
            Op::PhyRead(register) => self.access_phy(target, bytes, register, None),
            Op::Link => {
                self.link = match self.phy & phy::LINK {
                    0 => Link::Down,
                    _ => Link::Up,
                };
                Some(Next::Operation)
            }
            Op::Duplex {
                register,
                full,
                half,
            } => {
                let (set, clear) = match self.phy & phy::ALL_MODES & phy::FULL_DUPLEX {
                    0 => (half, full),
                    _ => (full, half),
                };
                self.modify(target, bytes, register, clear, set)
            }
        }
    }

    fn write_once(&mut self, target: Target, register: u16, value: u32) -> Option<Next> {
        match self.stage {
            Stage::Begin => self.write(Stage::Write, target, register, value),
            _ => Some(Next::Operation),
        }
    }

    fn modify(
        &mut self,
        target: Target,
        bytes: &[u8],
        register: u16,
        clear: u32,
        set: u32,
    ) -> Option<Next> {
        match self.stage {
            Stage::Begin => self.read(Stage::Read, target, register),
            Stage::Read => {
                let old = double_word(bytes, 0)?;
                match old & !clear | set {
                    new if new == old => Some(Next::Operation),
                    new => self.write(Stage::Write, target, register, new),
                }
            }
            _ => Some(Next::Operation),
        }
    }

    /// Reads a register of the PHY, or writes it.
    fn access_phy(
        &mut self,
        target: Target,
        bytes: &[u8],
        register: u8,
        value: Option<u32>,
    ) -> Option<Next> {
        let (address, data) = self.mii();
        let direction = value.map_or(0, |_| MII_WRITE);
        let command = phy::NUMBER << 11 | u32::from(register) << 6 | direction | MII_BUSY;
        match (self.stage, value) {
            (Stage::Begin | Stage::PhyPaused, _) => self.read(Stage::PhyFree, target, address),
            (Stage::PhyFree, _) if double_word(bytes, 0)? & MII_BUSY != 0 => {
                self.pause(Stage::PhyPaused)
            }
            (Stage::PhyFree, Some(value)) => self.write(Stage::PhyData, target, data, value),
            (Stage::PhyFree | Stage::PhyData, _) => {
                self.write(Stage::PhyStart, target, address, command)
            }
            (Stage::PhyStart | Stage::PhyBusyPaused, _) => {
                self.read(Stage::PhyBusy, target, address)
            }
            (Stage::PhyBusy, _) if double_word(bytes, 0)? & MII_BUSY != 0 => {
                self.pause(Stage::PhyBusyPaused)
            }
            (Stage::PhyBusy, None) => self.read(Stage::PhyAnswer, target, data),
            (Stage::PhyAnswer, _) => {
                self.phy = double_word(bytes, 0)? & 0xffff;
                Some(Next::Operation)
            }
            _ => Some(Next::Operation),
        }
    }
}
