//! The controller as the driver sees it, with a bus of devices behind it, in two characters.
//!
//! * [`Character::Emulator`] does what the emulator's controller does: the first packet inside the register
//!   write, 250 µs after each packet but the first two, transfers of more than 1,536 bytes at once, silence
//!   for an absent device, "halted" for a stop that stops nothing, no check of marks and packet sizes,
//!   resets ignored.
//! * [`Character::Board`] is strict: packets take time, a stop takes time, marks and packet sizes are
//!   checked, a reset of the core forgets everything.
//!
//! Registers are given by offset, not by the driver's names, so that a wrong constant is seen.

pub(crate) mod adapter;
pub(crate) mod chips;
pub(crate) mod hub;
pub(crate) mod memory;
pub(crate) mod unit;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::bus::Bus;
use crate::drivers::usb::Speed;
use memory::Shared;
use unit::{Reply, Unit};

/// Whose habits it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
    Emulator,
    Board,
}

/// What goes wrong at a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Stall,
    /// The endpoint halts, as a device's does, until that is cleared.
    Halt,
    Error,
    Babble,
    BusError,
    /// The device says nothing any more until it is reset.
    Mute,
    /// The device is never ready any more until it is reset.
    NeverReady,
    Unplug,
    /// What it sends is something else.
    Garbage(u8),
    /// What it sends is shorter than it should be.
    Short,
    /// What it sends is longer than it should be, as far as a packet is.
    Long,
}

#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    character: u32,
    events: u32,
    mask: u32,
    size: u32,
    memory: u32,
    active: bool,
    /// Halted by a stop, and still tried.
    ghost: bool,
    stop_at: Option<u64>,
    next_at: u64,
}

pub(crate) struct State {
    character: Character,
    now: u64,
    pub root: Option<Unit>,
    port: u32,
    enable_at: Option<u64>,
    reset_since: Option<u64>,
    channels: [Channel; 8],
    registers: BTreeMap<usize, u32>,
    memory: Rc<RefCell<Shared>>,
    busy_until: u64,
    /// Transactions so far, and what goes wrong at which.
    pub transactions: u64,
    /// Requests on endpoint 0 so far.
    pub requests: u64,
    pub faults: BTreeMap<u64, Fault>,
    muted: bool,
    never_ready: bool,
    pub accesses: u64,
    /// A stop is not obeyed.
    pub never_halts: bool,
}

/// The model, as a bus.
#[derive(Clone)]
pub(crate) struct Model(pub Rc<RefCell<State>>);

/// Microseconds from one look of devices at the time to the next.
const DEVICES: u64 = 1_000;

const COMPLETE: u32 = 1 << 0;
const HALTED: u32 = 1 << 1;
const BUS_ERROR: u32 = 1 << 2;
const STALL: u32 = 1 << 3;
const NAK: u32 = 1 << 4;
const ERROR: u32 = 1 << 7;
const BABBLE: u32 = 1 << 8;

const CONNECTED: u32 = 1 << 0;
const CONNECT_DETECTED: u32 = 1 << 1;
const ENABLED: u32 = 1 << 2;
const ENABLE_CHANGED: u32 = 1 << 3;
const RESET: u32 = 1 << 8;
const POWER: u32 = 1 << 12;

impl Model {
    pub(crate) fn new(character: Character, memory: Rc<RefCell<Shared>>, root: Unit) -> Self {
        let mut state = State {
            character,
            now: 0,
            root: None,
            port: 0,
            enable_at: None,
            reset_since: None,
            channels: [Channel::default(); 8],
            registers: BTreeMap::new(),
            memory,
            busy_until: 0,
            transactions: 0,
            requests: 0,
            faults: BTreeMap::new(),
            muted: false,
            never_ready: false,
            accesses: 0,
            never_halts: false,
        };
        if character == Character::Emulator {
            state.port = POWER;
        }
        state.plug(root);
        Self(Rc::new(RefCell::new(state)))
    }

    /// Lets time pass.
    pub(crate) fn run(&self, microseconds: u64) {
        let mut state = self.0.borrow_mut();
        let end = state.now + microseconds;
        while state.now < end {
            state.now = state.next_event().clamp(state.now + 1, end);
            state.tick();
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.borrow().now
    }

    /// Whether the controller interrupts.
    pub(crate) fn interrupts(&self) -> bool {
        let state = self.0.borrow();
        let on = state
            .registers
            .get(&0x008)
            .is_some_and(|value| value & 1 != 0);
        let mask = state.registers.get(&0x018).copied().unwrap_or(0);
        on && state.pending() & mask != 0
    }
}

impl State {
    pub(crate) fn plug(&mut self, unit: Unit) {
        self.root = Some(unit);
        self.muted = false;
        self.never_ready = false;
        if self.port & POWER != 0 {
            self.port |= CONNECTED | CONNECT_DETECTED;
        }
    }

    pub(crate) fn unplug(&mut self) {
        self.root = None;
        if self.port & ENABLED != 0 {
            self.port |= ENABLE_CHANGED;
        }
        self.port |= CONNECT_DETECTED;
        self.port &= !(CONNECTED | ENABLED);
        self.enable_at = None;
    }

    fn pending(&self) -> u32 {
        let port = self.port & (CONNECT_DETECTED | ENABLE_CHANGED) != 0;
        let all = self.all_channels() & self.registers.get(&0x418).copied().unwrap_or(0);
        1 | u32::from(port) << 24 | u32::from(all != 0) << 25
    }

    fn all_channels(&self) -> u32 {
        let bits = self.channels.iter().enumerate();
        bits.map(|(n, own)| u32::from(own.events & own.mask != 0) << n)
            .sum()
    }

    /// When something happens next.
    fn next_event(&self) -> u64 {
        let channels = self.channels.iter().flat_map(|own| {
            let tried = (own.active || own.ghost).then_some(own.next_at);
            [own.stop_at, tried]
        });
        let devices = (self.now + 1).next_multiple_of(DEVICES);
        let times = channels.chain([self.enable_at, Some(devices)]);
        times.flatten().min().unwrap_or(devices)
    }

    fn tick(&mut self) {
        let now = self.now;
        if let Some(root) = &mut self.root
            && now.is_multiple_of(DEVICES)
        {
            root.run(now);
        }
        if self.enable_at.is_some_and(|at| now >= at) {
            self.enable_at = None;
            self.enable();
        }
        for number in 0..8 {
            let own = &mut self.channels[number];
            if own.stop_at.is_some_and(|at| now >= at) {
                own.stop_at = None;
                own.active = false;
                own.character &= 0x3fff_ffff;
                own.events |= HALTED;
                self.memory.borrow_mut().release(number);
            }
            let own = self.channels[number];
            if (own.active || own.ghost) && now >= own.next_at {
                self.serve(number);
            }
        }
    }

    fn enable(&mut self) {
        let Some(root) = &mut self.root else { return };
        root.reset();
        self.muted = false;
        self.never_ready = false;
        let speed = match root.speed {
            Speed::High => 0,
            Speed::Full => 1,
            Speed::Low => 2,
        };
        self.port = self.port & !(3 << 17) | ENABLED | ENABLE_CHANGED | speed << 17;
    }

    /// A channel's next packets, as many as come at this time.
    fn serve(&mut self, number: usize) {
        if self.character == Character::Board {
            self.channels[number].next_at = self.now + 3;
            self.transaction(number, None);
            return;
        }
        let length = self.channels[number].size & 0x7_ffff;
        let whole = length > 1536;
        for _ in 0..2 {
            self.channels[number].next_at = self.now;
            self.transaction(number, whole.then_some(length as usize));
            let own = &self.channels[number];
            if !own.active && !own.ghost || own.next_at != self.now {
                return;
            }
        }
        self.channels[number].next_at = self.now + 250;
    }

    /// One packet; of this size instead of the transfer's.
    fn transaction(&mut self, number: usize, whole: Option<usize>) {
        let own = self.channels[number];
        if !(own.active || own.ghost) || own.stop_at.is_some() {
            return;
        }
        let packet = whole.unwrap_or((own.character & 0x7ff) as usize);
        let left = (own.size & 0x7_ffff) as usize;
        let input = own.character >> 15 & 1 != 0;
        let endpoint = (own.character >> 11 & 0xf) as u8;
        let kind = own.character >> 18 & 3;
        self.transactions += 1;
        self.requests += u64::from(own.size >> 29 == 3);
        let fault = self.faults.remove(&self.transactions);
        let strict = self.character == Character::Board;
        let mark = strict.then_some(own.size >> 29 == 2);
        let sent = match input {
            true => Vec::new(),
            false => self.memory.borrow().read(own.memory, left.min(packet)),
        };
        match fault {
            Some(Fault::Unplug) => self.unplug(),
            Some(Fault::Mute) => self.muted = true,
            Some(Fault::NeverReady) => self.never_ready = true,
            _ => {}
        }
        let reachable = self.port & ENABLED != 0 && !self.muted;
        let mut units = match &mut self.root {
            Some(root) if reachable => root.find((own.character >> 22 & 0x7f) as u8),
            _ => Vec::new(),
        };
        assert!(units.len() <= 1, "two devices at one address");
        let reply = match units.first_mut() {
            None => Reply::Silence,
            Some(unit) => {
                let address = endpoint | u8::from(input) << 7;
                if strict && let Some(real) = unit.packet(address) {
                    let named = (own.character & 0x7ff) as usize;
                    let first = unit.address == 0 && endpoint == 0;
                    assert!(named == real || first, "packets of {named} to {address:#x}");
                }
                if fault == Some(Fault::Halt) && endpoint != 0 {
                    unit.halt(address);
                }
                match (fault, own.size >> 29) {
                    (Some(Fault::Stall), _) => Reply::Stall,
                    (Some(Fault::Error), _) => Reply::Silence,
                    // What begins a request is always taken.
                    (_, 3) => unit.setup(&sent),
                    _ if self.never_ready => Reply::Nak,
                    _ if input => unit.input(endpoint, mark, packet.min(left.max(packet))),
                    _ => unit.output(endpoint, mark, &sent),
                }
            }
        };
        let reply = match (reply, fault) {
            (Reply::Data(mut bytes), Some(Fault::Garbage(seed))) => {
                let mut value = seed;
                for byte in &mut bytes {
                    value = value.wrapping_mul(73).wrapping_add(41);
                    *byte ^= value;
                }
                Reply::Data(bytes)
            }
            (Reply::Data(mut bytes), Some(Fault::Short)) => {
                bytes.truncate(bytes.len() / 2);
                Reply::Data(bytes)
            }
            (Reply::Data(mut bytes), Some(Fault::Long)) => {
                bytes.resize((bytes.len() + 40).min(packet.min(left)), 0xee);
                Reply::Data(bytes)
            }
            (reply, _) => reply,
        };
        match fault {
            Some(Fault::Babble) if input => self.end(number, BABBLE),
            Some(Fault::BusError) => self.end(number, BUS_ERROR),
            _ => self.took(number, kind, packet, left, reply, &sent),
        }
    }

    fn took(
        &mut self,
        number: usize,
        kind: u32,
        packet: usize,
        left: usize,
        reply: Reply,
        sent: &[u8],
    ) {
        let wait = self.now
            + if self.character == Character::Board {
                60
            } else {
                250
            };
        match reply {
            Reply::Silence if self.character == Character::Emulator => {
                // Nothing happens, for ever.
                self.channels[number].next_at = u64::MAX;
                if std::mem::take(&mut self.channels[number].ghost) {
                    self.memory.borrow_mut().release(number);
                }
            }
            Reply::Silence => self.end(number, ERROR),
            Reply::Stall => self.end(number, STALL),
            Reply::Nak if kind == 3 => self.end(number, NAK),
            Reply::Nak => {
                self.channels[number].events |= NAK;
                self.channels[number].next_at = wait;
            }
            Reply::Ack => self.moved(number, sent.len(), left, false),
            Reply::Data(bytes) if bytes.len() > left => self.end(number, BABBLE),
            Reply::Data(bytes) => {
                let at = self.channels[number].memory;
                self.memory.borrow_mut().write(at, &bytes);
                // The emulator's goes by the packet size that it was told.
                let told = (self.channels[number].character & 0x7ff) as usize;
                let short = match self.character {
                    Character::Board => bytes.len() < packet,
                    Character::Emulator => bytes.is_empty() || !bytes.len().is_multiple_of(told),
                };
                self.moved(number, bytes.len(), left, short);
            }
        }
    }

    fn moved(&mut self, number: usize, bytes: usize, left: usize, short: bool) {
        let own = &mut self.channels[number];
        let packets = (own.size >> 19 & 0x3ff).saturating_sub(1);
        let pid = own.size >> 29;
        let next = if pid == 0 { 2 } else { 0 };
        let left = (left - bytes) as u32;
        own.size = next << 29 | packets << 19 | left;
        own.memory += bytes as u32;
        if left == 0 || short {
            self.end(number, COMPLETE);
        }
    }

    fn end(&mut self, number: usize, event: u32) {
        let own = &mut self.channels[number];
        own.events |= HALTED | event;
        own.active = false;
        own.ghost = false;
        own.character &= 0x3fff_ffff;
        self.memory.borrow_mut().lay(number);
    }

    fn write_character(&mut self, number: usize, value: u32) {
        let own = self.channels[number];
        let board = self.character == Character::Board;
        if value >> 30 & 1 != 0 {
            assert!(own.active, "a channel that does nothing is stopped");
            if board {
                let patience = if self.never_halts { u64::MAX / 2 } else { 15 };
                self.channels[number].stop_at = Some(self.now + patience);
                return;
            }
            // Whoever was not ready is asked on.
            let own = &mut self.channels[number];
            own.ghost = own.next_at != u64::MAX;
            own.active = false;
            own.character = value & 0x3fff_ffff;
            own.events |= HALTED;
            match own.ghost {
                true => self.memory.borrow_mut().haunt(number),
                false => self.memory.borrow_mut().release(number),
            }
            return;
        }
        assert!(value >> 31 != 0, "neither enabled nor disabled");
        assert!(!own.active, "a channel at work is enabled");
        if board {
            assert!(
                self.registers.get(&0x008).is_some_and(|v| v & 0x20 != 0),
                "no DMA"
            );
            assert_eq!(own.events, 0, "old events are left");
        }
        assert_eq!(own.memory % 4, 0, "memory is not aligned");
        let length = (own.size & 0x7_ffff) as usize;
        let packet = (value & 0x7ff) as usize;
        let packets = (own.size >> 19 & 0x3ff) as usize;
        assert!(packet > 0 && packets == length.div_ceil(packet).max(1));
        assert_eq!(value >> 20 & 3, 1, "one transaction");
        let input = value >> 15 & 1 != 0;
        assert!(
            !input || length.is_multiple_of(packet),
            "parts of packets are asked for"
        );
        self.memory
            .borrow_mut()
            .hold(number, own.memory, length, input);
        self.channels[number] = Channel {
            character: value,
            active: true,
            next_at: self.now + u64::from(board),
            ..own
        };
        self.channels[number].ghost = false;
        if !board {
            self.serve(number);
        }
    }

    fn write_port(&mut self, value: u32) {
        self.port &= !(value & (CONNECT_DETECTED | ENABLE_CHANGED));
        if value & ENABLED != 0 {
            self.port &= !ENABLED;
        }
        if value & POWER != 0 && self.port & POWER == 0 {
            self.port |= POWER;
            if self.root.is_some() {
                self.port |= CONNECTED | CONNECT_DETECTED;
            }
        }
        let resets = value & RESET != 0;
        match (resets, self.reset_since) {
            (true, None) => self.reset_since = Some(self.now),
            (false, Some(since)) => {
                assert!(self.now - since >= 50_000, "a reset of less than 50 ms");
                self.reset_since = None;
                if self.port & CONNECTED != 0 {
                    self.enable_at = Some(self.now + 500);
                }
            }
            _ => {}
        }
        self.port = self.port & !RESET | value & RESET;
    }

    fn write_reset(&mut self, value: u32) {
        if self.character == Character::Emulator {
            return;
        }
        self.busy_until = self.now + 5;
        self.registers.insert(0x010, value & 0x31);
        if value & 1 != 0 {
            for number in 0..8 {
                self.memory.borrow_mut().release(number);
            }
            self.channels = [Channel::default(); 8];
            let reset = self.registers.remove(&0x010);
            self.registers.clear();
            self.registers.insert(0x010, reset.unwrap_or(0));
            self.port = 0;
        }
    }

    fn read_channel(&self, number: usize, offset: usize) -> u32 {
        let own = &self.channels[number];
        match offset {
            0x00 => own.character | u32::from(own.active) << 31,
            0x04 => 0,
            0x08 => own.events,
            0x0c => own.mask,
            0x10 => own.size,
            0x14 => own.memory,
            _ => panic!("read of channel register {offset:#x}"),
        }
    }

    fn write_channel(&mut self, number: usize, offset: usize, value: u32) {
        let board = self.character == Character::Board;
        let own = &mut self.channels[number];
        match offset {
            0x00 => self.write_character(number, value),
            0x04 => assert_eq!(value, 0, "a split transaction"),
            0x08 => own.events &= !value,
            0x0c => own.mask = value,
            0x10 | 0x14 if own.active && board => panic!("a channel at work is changed"),
            0x10 => own.size = value,
            0x14 => own.memory = value,
            _ => panic!("write of channel register {offset:#x}"),
        }
    }
}

impl Bus for Model {
    fn read32(&self, offset: usize) -> u32 {
        let mut state = self.0.borrow_mut();
        state.accesses += 1;
        let emulated = state.character == Character::Emulator;
        match offset {
            0x010 => {
                let idle = 1 << 31;
                match state.now < state.busy_until {
                    true => state.registers.get(&0x010).copied().unwrap_or(0),
                    false => idle,
                }
            }
            0x014 => state.pending(),
            0x040 if emulated => 0x4f54_294a,
            0x040 => 0x4f54_280a,
            0x408 => (state.now / 125) as u32 & 0x3fff,
            0x414 => state.all_channels(),
            0x440 => state.port,
            0x008 | 0x00c | 0x018 | 0x024 | 0x028 | 0x100 | 0x400 | 0x418 | 0xe00 => {
                state.registers.get(&offset).copied().unwrap_or(0)
            }
            0x500..0x600 => state.read_channel((offset - 0x500) / 0x20, offset % 0x20),
            _ => panic!("read of {offset:#x}"),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut state = self.0.borrow_mut();
        state.accesses += 1;
        match offset {
            0x010 => state.write_reset(value),
            0x014 => {}
            0x440 => state.write_port(value),
            0x008 | 0x00c | 0x018 | 0x024 | 0x028 | 0x100 | 0x400 | 0x418 | 0xe00 => {
                state.registers.insert(offset, value);
            }
            0x500..0x600 => state.write_channel((offset - 0x500) / 0x20, offset % 0x20, value),
            _ => panic!("write of {offset:#x}"),
        }
    }
}
