//! The controller by its registers, with a card, a DMA channel, time, and everything that can go wrong.
//!
//! As on the chip, a write within four cycles of the card's clock after another one is lost while the clock is slow.
//! Two characters: the emulator's does everything within the write that asks for it, the board's takes time.

pub(crate) mod card;
pub(crate) mod engine;
pub(crate) mod memory;
pub(crate) mod wires;

use std::cell::RefCell;
use std::rc::Rc;

use card::{Card, Reply, Stream};
use engine::Engine;
use memory::Shared;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
    Emulator,
    Board,
}

/// What goes wrong with a command, or with the data that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// These bits say that there was no good answer; the card has done the command or not.
    Answer(u32, bool),
    /// Nothing happens.
    Silent,
    /// The card refuses with these bits.
    Status(u32),
    /// After so many blocks these bits say that data is bad; 0 says nothing, and no more comes.
    Data(u32, u32),
    /// After the data, these bits are in the card's next status: of a read in the answer to what ends it, of a write when
    /// it was programmed.
    Later(u32),
    /// The CMD12 that ends a transfer fails.
    Stop,
    /// The card is busy so long; `u64::MAX` is until it is put in again.
    Busy(u64),
    /// The card is pulled out, after so many blocks.
    Remove(u32),
    /// The card's supply fails for a moment.
    Glitch,
    /// Another card is in its place.
    Swap,
    /// The DMA channel goes wrong.
    Engine(engine::Ills),
    /// Resets of the controller's lines, or of all of it, take so long; `u64::MAX` for ever.
    SlowReset(u64),
}

#[derive(Debug)]
struct Data {
    reads: bool,
    count: u32,
    size: usize,
    moved: u32,
    /// The block under way, and how far it is.
    block: Vec<u8>,
    at: usize,
    /// When there is a block, or room for one.
    ready_at: u64,
    announced: bool,
    multiple: bool,
    auto_stop: bool,
    fault: Option<(u32, u32)>,
    later: u32,
    remove: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) now: u64,
    character: Character,
    pub(crate) card: Option<Card>,
    /// What is put in by [`Fault::Swap`].
    pub(crate) other: Option<Card>,
    /// Faults, by how many commands come before.
    pub(crate) faults: Vec<(u32, Fault)>,
    pub(crate) engine: Engine,
    pub(crate) ram: Shared,
    /// Control blocks, as devices see them.
    pub(crate) blocks: Rc<RefCell<Vec<u8>>>,
    pub(crate) accesses: u64,
    pub(crate) commands: Vec<u8>,
    base_hz: u32,
    registers: [u32; 16],
    events: u32,
    last_write: Option<u64>,
    answer: Option<(u64, u32, Option<Reply>)>,
    stream: Option<Stream>,
    data: Option<Data>,
    /// Waits for the card to be free, to say "data done".
    waits_for_busy: bool,
    /// Data lines are taken until they are reset.
    jammed: bool,
    pub(crate) slow_reset: u64,
    /// Time between two blocks on the board, in microseconds.
    pub(crate) block_time: u64,
    reset_at: Option<u64>,
    stop_fails: bool,
}

const COMMAND_DONE: u32 = 1;
const DATA_DONE: u32 = 1 << 1;
const WRITE_READY: u32 = 1 << 4;
const READ_READY: u32 = 1 << 5;
const NO_ANSWER: u32 = 1 << 16;
const AUTO_STOP: u32 = 1 << 24;

/// The model, which is also the bus of controller and engine.
#[derive(Clone, Debug)]
pub(crate) struct Model(pub(crate) Rc<RefCell<State>>);

impl Model {
    pub(crate) fn new(character: Character, card: Option<Card>, ram: Shared) -> Self {
        let state = State {
            now: 1_000,
            character,
            card,
            other: None,
            faults: Vec::new(),
            engine: Engine::default(),
            ram,
            blocks: Rc::new(RefCell::new(vec![0; 1024])),
            accesses: 0,
            commands: Vec::new(),
            base_hz: 200_000_000,
            registers: [0; 16],
            events: 0,
            last_write: None,
            answer: None,
            stream: None,
            data: None,
            waits_for_busy: false,
            jammed: false,
            slow_reset: 0,
            block_time: 40,
            reset_at: None,
            stop_fails: false,
        };
        Self(Rc::new(RefCell::new(state)))
    }

    pub(crate) fn base_hz(&self) -> u32 {
        self.0.borrow().base_hz
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.borrow().now
    }

    /// Whether the controller interrupts.
    pub(crate) fn interrupts(&self) -> bool {
        let state = self.0.borrow();
        state.events & state.registers[0x38 / 4] != 0
    }

    /// Lets time pass until something happens, at most until `end`.
    pub(crate) fn pass(&self, end: u64) {
        let mut state = self.0.borrow_mut();
        let next = state.next_event().max(state.now + 1);
        state.now = next.min(end).max(state.now);
        state.settle();
    }
}

impl State {
    fn register(&self, offset: usize) -> u32 {
        self.registers[offset / 4]
    }

    fn set_register(&mut self, offset: usize, value: u32) {
        self.registers[offset / 4] = value;
    }

    /// The card's clock in hertz; 0 if it stands.
    fn clock(&self) -> u32 {
        let control = self.register(0x2c);
        if control & 5 != 5 {
            return 0;
        }
        match control >> 8 & 0xff | (control >> 6 & 3) << 8 {
            0 => self.base_hz,
            divider => self.base_hz / (2 * divider),
        }
    }

    fn raise(&mut self, events: u32) {
        // What is not noticed does not happen.
        let error = u32::from(events >> 16 != 0) << 15;
        self.events |= (events | error) & self.register(0x34);
    }

    fn takes(&self, microseconds: u64) -> u64 {
        match self.character {
            Character::Emulator => self.now,
            Character::Board => self.now + microseconds,
        }
    }

    fn next_event(&self) -> u64 {
        let busy = self.card.as_ref().map(|card| card.busy_until);
        let all = [
            self.answer.as_ref().map(|(at, ..)| *at),
            self.data.as_ref().map(|data| data.ready_at),
            busy.filter(|at| *at > self.now),
            self.engine.settles_at,
            self.reset_at,
        ];
        let later = all.into_iter().flatten().filter(|at| *at > self.now);
        later.min().unwrap_or(u64::MAX)
    }

    /// Everything that is due happens.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if let Some(card) = &mut self.card {
                card.pass(self.now);
            }
            if let Some((at, word)) = self.engine.pass(self.now) {
                self.ram.borrow_mut().device_write(at, word);
            }
            let due = self.answer.take_if(|(at, ..)| *at <= self.now);
            let went = match due {
                Some((_, events, reply)) => {
                    self.answered(events, reply);
                    true
                }
                None => self.go_on() || self.free() || self.pump(),
            };
            if !went {
                return;
            }
        }
        panic!("the model does not settle");
    }

    fn is_busy(&self) -> bool {
        self.card
            .as_ref()
            .is_some_and(|card| card.busy_until > self.now)
    }

    /// The card is no longer busy.
    fn free(&mut self) -> bool {
        if !self.waits_for_busy || self.is_busy() {
            return false;
        }
        self.waits_for_busy = false;
        self.raise(DATA_DONE);
        true
    }

    /// A block of data has come, or there is room for one.
    fn go_on(&mut self) -> bool {
        let now = self.now;
        let busy = self.is_busy();
        let Some(data) = &mut self.data else {
            return false;
        };
        if data.announced || data.ready_at > now || busy {
            return false;
        }
        if data.remove == Some(data.moved) {
            self.card = None;
        }
        if let Some((after, bits)) = data.fault
            && after <= data.moved
        {
            data.ready_at = u64::MAX;
            data.fault = None;
            self.raise(bits);
            return true;
        }
        let Some(card) = &mut self.card else {
            // A line that nobody drives: a block that never begins.
            data.ready_at = u64::MAX;
            self.raise(1 << 20);
            return true;
        };
        if data.reads {
            let block = match &self.stream {
                Some(Stream::Register(bytes)) => Some(bytes.clone()),
                _ => card.send(),
            };
            let Some(block) = block else {
                data.ready_at = u64::MAX;
                self.raise(1 << 20);
                return true;
            };
            assert_eq!(
                block.len(),
                data.size,
                "the controller expects another length"
            );
            data.block = block;
        } else {
            data.block = vec![0; data.size];
        }
        data.at = 0;
        data.announced = true;
        let event = if data.reads { READ_READY } else { WRITE_READY };
        self.raise(event);
        true
    }

    /// A word goes from or to the block under way. None: there is no room, or no data.
    fn word(&mut self, written: Option<u32>) -> Option<u32> {
        let data = self.data.as_mut().filter(|data| data.announced)?;
        let place = &mut data.block[data.at..data.at + 4];
        if let Some(word) = written {
            assert!(!data.reads, "a write to what is read");
            place.copy_from_slice(&word.to_le_bytes());
        }
        let word = u32::from_le_bytes((&*place).try_into().unwrap());
        data.at += 4;
        if data.at == data.size {
            self.block_over();
        }
        Some(word)
    }

    fn block_over(&mut self) {
        let pause = self.takes(self.block_time);
        let Some(data) = &mut self.data else { return };
        data.announced = false;
        data.moved += 1;
        data.ready_at = pause;
        if !data.reads
            && let Some(card) = &mut self.card
        {
            card.take(std::mem::take(&mut data.block));
        }
        // With the last block the transfer is over, if nothing is wrong with it.
        let bad = data.fault.is_some_and(|(after, _)| after <= data.moved);
        if data.moved == data.count && !bad {
            self.data_over();
        }
    }

    fn data_over(&mut self) {
        let Some(data) = self.data.take() else { return };
        let programming = self.takes(300);
        let Some(card) = &mut self.card else {
            self.jammed = true;
            self.raise(if data.reads { DATA_DONE } else { 1 << 20 });
            return;
        };
        let sectors = !matches!(self.stream, Some(Stream::Register(_)));
        let at_end = card.eager && card.at_end();
        if data.reads {
            card.errors |= data.later;
        }
        if data.multiple {
            assert!(data.auto_stop, "nobody ends this transfer");
            if std::mem::take(&mut self.stop_fails) {
                self.jammed = true;
                self.raise(AUTO_STOP);
                return;
            }
            if at_end {
                card.errors |= 1 << 31;
            }
            let (reply, _) = card.command(12, 0);
            if let Reply::Short(status) = reply {
                self.set_register(0x1c, status);
            }
        }
        let Some(card) = &mut self.card else { return };
        if sectors {
            card.state = match data.reads {
                true => card::State::Transfer,
                false => card::State::Programming,
            };
            if !data.reads {
                card.errors |= data.later;
                card.busy_until = card.busy_until.max(programming);
            }
        }
        self.waits_for_busy = true;
    }

    /// The answer to a command has come, or not.
    fn answered(&mut self, events: u32, reply: Option<Reply>) {
        match reply {
            Some(Reply::Short(word)) => self.set_register(0x10, word),
            Some(Reply::Long(register)) => {
                for (index, word) in [8, 40, 72, 104].into_iter().enumerate() {
                    self.set_register(0x10 + 4 * index, (register >> word) as u32);
                }
                let top = self.register(0x1c) & 0x00ff_ffff;
                self.set_register(0x1c, top);
            }
            _ => {}
        }
        self.raise(events);
        if events >> 16 != 0 {
            self.data = None;
            self.waits_for_busy = false;
        }
    }

    /// Moves words by the engine, as many as the controller has or takes.
    fn pump(&mut self) -> bool {
        let mut went = false;
        while let Some(mut run) = self.engine.run {
            if self.engine.ills.stuck {
                return went;
            }
            if self.engine.ills.error {
                self.engine.fail();
                return true;
            }
            let reads = run.source == 0x7e30_0020;
            let request = if reads {
                1 << 10 | 1 << 4
            } else {
                1 << 6 | 1 << 8
            };
            assert_eq!(run.ti & (1 << 10 | 1 << 4 | 1 << 6 | 1 << 8), request);
            assert_eq!(run.ti >> 16 & 0x1f, 11);
            assert_eq!(reads, run.destination != 0x7e30_0020);
            let emulated = self.character == Character::Emulator;
            if emulated {
                self.go_on();
            }
            let moved = match reads {
                true => self.word(None).map(|word| {
                    match (run.length, run.next) {
                        (4, 0) => self.engine.last = Some((run.destination, word)),
                        _ => self.ram.borrow_mut().device_write(run.destination, word),
                    }
                    run.destination += 4;
                }),
                false => match self.data.as_ref().is_some_and(|data| data.announced) {
                    true => {
                        let word = self.ram.borrow().device_read(run.source);
                        self.word(Some(word));
                        run.source += 4;
                        Some(())
                    }
                    false => None,
                },
            };
            if moved.is_none() {
                // The emulator's engine does not wait: it moves nothing into nowhere.
                if !emulated {
                    return went;
                }
                if reads {
                    self.ram.borrow_mut().device_write(run.destination, 0);
                    run.destination += 4;
                } else {
                    run.source += 4;
                }
            }
            went = true;
            run.length -= 4;
            self.engine.run = Some(run);
            if self.engine.ills.lost && run.length % 512 == 0 {
                self.engine.lose();
                return true;
            }
            if run.length == 0 && !self.load_run(run.next) {
                let at = self.takes(3);
                self.engine.finish(at);
            }
        }
        went
    }
}
