//! What reads and writes of registers do.

use super::card::{Reply, Stream};
use super::engine::Run;
use super::{COMMAND_DONE, Character, Data, Fault, Model, NO_ANSWER, State};
use crate::bus::Bus;

/// Where devices see the control blocks.
pub(crate) const BLOCKS_AT: u32 = 0xc010_0000;
/// Where the engine's registers begin, for a bus that has both.
pub(crate) const ENGINE: usize = 0x1_0000;
/// Registers of channel 2.
const CHANNEL: usize = ENGINE + 0x200;

/// The engine's window.
#[derive(Clone, Debug)]
pub(crate) struct Wires(pub(crate) Model, pub(crate) usize);

impl Bus for Wires {
    fn read32(&self, offset: usize) -> u32 {
        let mut state = self.0.0.borrow_mut();
        state.accesses += 1;
        state.read(self.1 + offset)
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut state = self.0.0.borrow_mut();
        state.accesses += 1;
        state.write(self.1 + offset, value);
        state.settle();
    }
}

impl State {
    fn read(&mut self, offset: usize) -> u32 {
        match offset {
            0x20 => {
                let word = self.word(None).expect("data is read that is not there");
                self.settle();
                word
            }
            0x24 => {
                let command = self.answer.is_some();
                let data = self.data.is_some() || self.waits_for_busy || self.jammed;
                u32::from(command) | u32::from(data) << 1
            }
            0x2c => {
                if self.reset_at.is_some_and(|at| self.now >= at) {
                    self.reset_at = None;
                    let rest = self.register(0x2c) & !(7 << 24);
                    self.set_register(0x2c, rest);
                }
                let stable = self.register(0x2c) & 1;
                self.register(0x2c) | stable << 1
            }
            0x30 => self.events,
            ..0x40 => self.register(offset),
            CHANNEL => self.engine.read_control(),
            _ if offset == CHANNEL + 4 => self.engine.block,
            _ if offset == CHANNEL + 0x14 => self.engine.run.map_or(0, |run| run.length),
            _ if offset == ENGINE + 0xff0 => self.engine.enable,
            _ => panic!("register {offset:#x} is read"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        if offset < ENGINE && offset != 0x20 && self.is_lost() {
            return;
        }
        match offset {
            0x0c => self.command(value),
            0x20 => {
                self.word(Some(value)).expect("data without room");
            }
            0x28 | 0x34 | 0x38 | 0x3c | 0x04 | 0x08 => self.set_register(offset, value),
            0x2c => self.control(value),
            0x30 => {
                self.events &= !value;
                if self.events >> 16 != 0 {
                    self.events |= 1 << 15;
                }
            }
            CHANNEL => {
                if self.engine.write_control(value) {
                    let first = self.engine.block;
                    assert!(self.load_run(first), "an empty chain");
                    self.pump();
                }
            }
            _ if offset == CHANNEL + 4 => {
                assert!(!self.engine.is_active(), "the chain of an active channel");
                self.engine.block = value;
            }
            _ if offset == CHANNEL + 0x20 => {}
            _ if offset == ENGINE + 0xff0 => self.engine.enable = value,
            _ => panic!("register {offset:#x} is written"),
        }
    }

    /// Whether a write comes too soon after another one.
    fn is_lost(&mut self) -> bool {
        let slow = self.clock() <= 400_000 && self.character == Character::Board;
        let soon = self.last_write.is_some_and(|at| self.now < at + 10);
        self.last_write = Some(self.now);
        slow && soon
    }

    /// The engine's next run; whether there is one.
    pub(super) fn load_run(&mut self, at: u32) -> bool {
        self.engine.run = None;
        if at == 0 {
            return false;
        }
        self.engine.block = at;
        assert!(at.is_multiple_of(32));
        let start = (at - BLOCKS_AT) as usize;
        let blocks = self.blocks.borrow();
        let word = |index: usize| {
            let at = start + 4 * index;
            u32::from_le_bytes(blocks[at..at + 4].try_into().unwrap())
        };
        self.engine.run = Some(Run {
            ti: word(0),
            source: word(1),
            destination: word(2),
            length: word(3),
            next: word(5),
        });
        assert_eq!(word(4), 0);
        true
    }

    fn control(&mut self, value: u32) {
        let resets = value >> 24 & 7;
        if self.character == Character::Emulator && ![0, 1, 2, 4].contains(&resets) {
            // It knows one at a time.
            self.set_register(0x2c, value & !(7 << 24));
            return;
        }
        if resets & 1 != 0 {
            self.registers = [0; 16];
            self.events = 0;
            self.answer = None;
            self.data = None;
            self.jammed = false;
            self.waits_for_busy = false;
            self.set_register(0x2c, value);
        } else {
            self.set_register(0x2c, value);
            let clock = self.clock();
            if let Some(card) = self.card.as_ref().filter(|_| clock > 0) {
                let identified = card.state as u32 >= super::card::State::Standby as u32;
                let most = match (identified, card.fast) {
                    (false, _) => 400_000,
                    (true, false) => 25_000_000,
                    (true, true) => 50_000_000,
                };
                let idle = card.state == super::card::State::Idle;
                assert!(clock <= most || idle, "{clock} Hz is too fast");
            }
        }
        if resets & 2 != 0 {
            self.answer = None;
            self.events &= !COMMAND_DONE;
        }
        if resets & 4 != 0 {
            self.data = None;
            self.jammed = false;
            self.waits_for_busy = false;
            self.events &= !0x32;
        }
        if resets != 0 {
            self.reset_at = Some(self.now.saturating_add(self.slow_reset));
        }
    }

    /// The fault whose turn has come.
    fn fault(&mut self, with_data: bool) -> Option<Fault> {
        for (wait, _) in &mut self.faults {
            *wait = wait.saturating_sub(1);
        }
        let fits = |fault: &Fault| {
            let data = matches!(
                fault,
                Fault::Data(..) | Fault::Later(_) | Fault::Stop | Fault::Engine(_)
            );
            with_data || !data
        };
        let mut all = self.faults.iter();
        let which = all.position(|(wait, fault)| *wait == 0 && fits(fault))?;
        Some(self.faults.remove(which).1)
    }

    fn command(&mut self, mode: u32) {
        let index = (mode >> 24 & 0x3f) as u8;
        assert!(self.clock() > 0, "CMD{index} without a clock");
        assert!(self.answer.is_none(), "CMD{index} before the last answer");
        let has_data = mode >> 21 & 1 != 0;
        let taken = self.data.is_some() || self.waits_for_busy || self.jammed;
        assert!(!has_data || !taken, "CMD{index} on taken data lines");
        self.commands.push(index);
        let argument = self.register(0x08);
        let fault = self.fault(has_data);
        match fault {
            Some(Fault::Remove(0)) => self.card = None,
            Some(Fault::Glitch) => {
                if let Some(card) = &mut self.card {
                    card.power_cycle();
                }
            }
            Some(Fault::Swap) => {
                let other = self.other.clone();
                self.card = other.or(self.card.take());
                if let Some(card) = &mut self.card {
                    card.power_cycle();
                }
            }
            Some(Fault::SlowReset(time)) => self.slow_reset = time,
            Some(Fault::Engine(ills)) => self.engine.ills = ills,
            _ => {}
        }
        let slow = if self.clock() <= 400_000 { 300 } else { 8 };
        let at = self.takes(slow);
        let unheard = matches!(fault, Some(Fault::Silent | Fault::Answer(_, false)));
        let mut reply = Reply::None;
        let mut stream = None;
        if let Some(card) = self.card.as_mut().filter(|_| !unheard) {
            if let Some(Fault::Status(bits)) = fault {
                card.errors |= bits;
                reply = card.command(13, argument).0;
                // Not one to be asked for its state: then it does what it was told.
                if reply == Reply::None {
                    (reply, stream) = card.command(index, argument);
                }
            } else {
                (reply, stream) = card.command(index, argument);
            }
        }
        self.wire(index, mode);
        let events = match (fault, reply) {
            (Some(Fault::Silent), _) => return,
            (Some(Fault::Answer(bits, _)), _) => bits | COMMAND_DONE,
            (_, Reply::None) if mode >> 16 & 3 != 0 => NO_ANSWER | COMMAND_DONE,
            _ => COMMAND_DONE,
        };
        self.answer = Some((at, events, Some(reply)));
        if events == COMMAND_DONE {
            self.after(index, mode, at, fault, stream);
        }
    }

    /// The mode must be the one that the command has.
    fn wire(&self, index: u8, mode: u32) {
        let response = mode >> 16 & 3;
        let (expected, checks) = match index {
            0 => (0, 0),
            2 | 9 => (1, 1),
            7 | 12 => (3, 3),
            41 => (2, 0),
            _ => (2, 3),
        };
        assert_eq!(response, expected, "CMD{index}");
        assert_eq!(mode >> 19 & 3, checks, "CMD{index}");
        if let Some(card) = &self.card
            && mode >> 21 & 1 != 0
        {
            let wide = self.register(0x28) & 2 != 0;
            let heard = card.state as u32 >= super::card::State::Transfer as u32;
            assert!(!heard || wide == card.wide, "CMD{index} on other lines");
        }
    }

    /// What follows the answer.
    fn after(
        &mut self,
        index: u8,
        mode: u32,
        at: u64,
        fault: Option<Fault>,
        stream: Option<Stream>,
    ) {
        if let (Some(Fault::Busy(time)), Some(card)) = (fault, &mut self.card) {
            card.busy_until = at.saturating_add(time);
        }
        if index == 12
            && let Some(card) = &mut self.card
        {
            // It programs what it took.
            card.busy_until = card.busy_until.max(at + 100);
        }
        if mode >> 21 & 1 == 0 {
            self.waits_for_busy = mode >> 16 & 3 == 3;
            return;
        }
        self.stop_fails = matches!(fault, Some(Fault::Stop));
        let sizes = self.register(0x04);
        self.data = Some(Data {
            reads: mode & 1 << 4 != 0,
            count: if mode & 2 != 0 { sizes >> 16 } else { 1 },
            size: (sizes & 0x3ff) as usize,
            moved: 0,
            block: Vec::new(),
            at: 0,
            // A card that refused sends nothing, ever.
            ready_at: if stream.is_some() {
                at.max(self.takes(60))
            } else {
                u64::MAX
            },
            announced: false,
            multiple: mode & 1 << 5 != 0,
            auto_stop: mode & 1 << 2 != 0,
            fault: match fault {
                Some(Fault::Data(after, bits)) => Some((after, bits)),
                _ => None,
            },
            later: match fault {
                Some(Fault::Later(bits)) => bits,
                _ => 0,
            },
            remove: match fault {
                Some(Fault::Remove(after)) => Some(after),
                _ => None,
            },
        });
        self.stream = stream;
    }
}
