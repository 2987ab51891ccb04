//! The driver against the model: what it reads and writes, what it does when things fail, and for how long.

mod faults;
mod set_up;
mod transfers;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::card::SdCard;
use super::emmc::Emmc;
use super::model::card::Card;
use super::model::memory::{BASE, Memory, Ram, Shared};
use super::model::wires::{BLOCKS_AT, ENGINE, Wires};
use super::model::{Character, Model};
use crate::block::{BlockDevice, Completion, Direction, Request, SECTOR, Segment, StartError};
use crate::dma::DmaMemory;
use crate::drivers::bcm2835_dma::{ChannelNumber, DmaChannel, MEMORY_BYTES};

/// The engine's control blocks: devices see what was cleaned.
#[derive(Debug)]
pub(super) struct Blocks {
    seen: Vec<u8>,
    shared: Rc<RefCell<Vec<u8>>>,
}

impl DmaMemory for Blocks {
    fn len(&self) -> usize {
        MEMORY_BYTES
    }
    fn bus_address(&self) -> u32 {
        BLOCKS_AT
    }
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.seen[range]
    }
    fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.seen[range]
    }
    fn clean(&mut self, range: Range<usize>) {
        let from = self.seen[range.clone()].to_vec();
        self.shared.borrow_mut()[range].copy_from_slice(&from);
    }
    fn invalidate(&mut self, _: Range<usize>) {}
}

/// Register accesses of one call, at most: two sectors' words would be too many without the processor's way.
const MOST_ACCESSES: u64 = 8 * 128 + 512;
/// Longest time of a request, in microseconds.
const MOST_TIME: u64 = 60_000_000;

pub(super) struct World {
    pub model: Model,
    pub device: SdCard<Emmc<Wires, Blocks, Memory>>,
    pub ram: Shared,
    /// What each sector may hold; sectors that are not in it hold zeros.
    pub naive: HashMap<u64, Vec<Vec<u8>>>,
    count: u8,
}

impl World {
    pub fn new(character: Character, card: Option<Card>, with_engine: bool) -> Self {
        let ram = Ram::new();
        let model = Model::new(character, card, ram.clone());
        let shared = model.0.borrow().blocks.clone();
        let blocks = Blocks {
            seen: vec![0xee; MEMORY_BYTES],
            shared,
        };
        let number = ChannelNumber::lowest_of(0x3c).unwrap();
        let engine = DmaChannel::new(Wires(model.clone(), ENGINE), number, blocks);
        let emmc = Emmc::new(
            Wires(model.clone(), 0),
            engine.filter(|_| with_engine),
            Memory(ram.clone()),
            model.base_hz(),
        );
        Self {
            model,
            device: SdCard::new(emmc),
            ram,
            naive: HashMap::new(),
            count: 0,
        }
    }

    /// One that has its card set up.
    pub fn ready(character: Character, card: Card, with_engine: bool) -> Self {
        let mut world = Self::new(character, Some(card), with_engine);
        world.set_up();
        assert!(world.device.medium().is_some());
        world
    }

    pub fn set_up(&mut self) {
        let now = self.model.now();
        self.device.look_for_medium(now);
        self.run(|device| !device.is_setting_up());
    }

    fn serve(&mut self) {
        let before = self.model.0.borrow().accesses;
        self.device.serve(self.model.now());
        let accesses = self.model.0.borrow().accesses - before;
        assert!(accesses <= MOST_ACCESSES, "{accesses} accesses in one call");
    }

    /// Lets time pass, and the driver do its work, until it is so.
    #[track_caller]
    pub fn run(&mut self, done: impl Fn(&SdCard<Emmc<Wires, Blocks, Memory>>) -> bool) {
        let until = self.model.now() + MOST_TIME;
        // Calls without any progress in time.
        let mut calls = 0;
        while !done(&self.device) {
            let now = self.model.now();
            assert!(now < until, "it does not end");
            let due = self.device.next_look();
            if self.model.interrupts() || due.is_some_and(|due| due <= now) {
                self.serve();
                calls += 1;
                assert!(calls < 200, "the interrupt does not go away");
            }
            let Some(due) = self.device.next_look() else {
                assert!(done(&self.device), "nobody looks any more");
                return;
            };
            // At the slow clock the write that clears it may have to wait.
            let hushed = due <= now || self.device.is_setting_up();
            assert!(
                hushed || !self.model.interrupts(),
                "it goes on interrupting"
            );
            if due > now {
                let next = match self.model.interrupts() {
                    true => now + 1,
                    false => due,
                };
                self.model.pass(next);
                calls *= u64::from(self.model.now() == now);
            }
        }
    }

    fn segments(&self, lengths: &[u32]) -> Vec<Segment> {
        let mut at = BASE;
        let make = |sectors: &u32| {
            let segment = Segment {
                at,
                sectors: *sectors,
            };
            // Not one behind the other.
            at += (u64::from(*sectors) + 1) * SECTOR as u64;
            segment
        };
        lengths.iter().map(make).collect()
    }

    /// Begins a request, to which memory is lent.
    pub fn start(
        &mut self,
        direction: Direction,
        first: u64,
        segments: &[Segment],
    ) -> Result<(), StartError> {
        let generation = self.device.medium().map_or(0, |medium| medium.generation);
        let request = Request {
            direction,
            first,
            segments,
            generation,
        };
        self.ram.borrow_mut().lent = segments.to_vec();
        let before = self.model.0.borrow().accesses;
        let started = self.device.start(&request, self.model.now());
        assert!(self.model.0.borrow().accesses - before <= MOST_ACCESSES);
        if started.is_err() {
            self.ram.borrow_mut().lent.clear();
        }
        started
    }

    /// Does a request and gives its end. Memory that is touched afterwards makes the model fail.
    #[track_caller]
    pub fn transfer(
        &mut self,
        direction: Direction,
        first: u64,
        segments: &[Segment],
    ) -> Completion {
        self.start(direction, first, segments).expect("it begins");
        self.finish()
    }

    #[track_caller]
    pub fn finish(&mut self) -> Completion {
        // The completion itself is not looked at by the loop.
        let until = self.model.now() + MOST_TIME;
        loop {
            if let Some(completion) = self.device.take_completion() {
                self.ram.borrow_mut().lent.clear();
                return completion;
            }
            assert!(self.model.now() < until);
            let counters = self.device.counters();
            let ended = counters.done + counters.failed;
            self.run(|device| {
                let counters = device.counters();
                counters.done + counters.failed > ended
            });
        }
    }

    /// Writes new contents and notes what the sectors hold now; whether it ended well.
    #[track_caller]
    pub fn write(&mut self, first: u64, lengths: &[u32]) -> Completion {
        self.count = self.count.wrapping_add(1);
        let segments = self.segments(lengths);
        let mut sector = first;
        let mut news = Vec::new();
        for segment in &segments {
            for index in 0..segment.sectors {
                let number = self.count;
                let block: Vec<u8> = (0..SECTOR)
                    .map(|byte| (byte as u64 ^ sector.wrapping_mul(37)) as u8 ^ number)
                    .collect();
                let at = segment.at + u64::from(index) * SECTOR as u64;
                self.ram.borrow_mut().put(at, &block);
                news.push((sector, block));
                sector += 1;
            }
        }
        let completion = self.transfer(Direction::Write, first, &segments);
        for (sector, block) in news {
            let held = self
                .naive
                .entry(sector)
                .or_insert_with(|| vec![vec![0; SECTOR]]);
            match completion.result {
                Ok(()) => *held = vec![block],
                Err(_) => held.push(block),
            }
        }
        completion
    }

    /// Reads, and compares with what the sectors may hold, if it ended well.
    #[track_caller]
    pub fn read(&mut self, first: u64, lengths: &[u32]) -> Completion {
        let segments = self.segments(lengths);
        // Nothing may come from the last time.
        for segment in &segments {
            let old = vec![0xdb; segment.bytes()];
            self.ram.borrow_mut().put(segment.at, &old);
        }
        let completion = self.transfer(Direction::Read, first, &segments);
        if completion.result.is_err() {
            return completion;
        }
        let mut sector = first;
        for segment in &segments {
            for index in 0..segment.sectors {
                let at = segment.at + u64::from(index) * SECTOR as u64;
                let got = self.ram.borrow().get(at, SECTOR);
                let held = self
                    .naive
                    .entry(sector)
                    .or_insert_with(|| vec![vec![0; SECTOR]]);
                assert!(held.contains(&got), "sector {sector}");
                // A sector does not change by itself.
                *held = vec![got];
                sector += 1;
            }
        }
        completion
    }
}

/// Sectors of test cards: 8 MiB, and 4 GiB.
pub(super) const SMALL: u64 = 1 << 14;
pub(super) const LARGE: u64 = 1 << 23;

pub(super) fn cards() -> [Card; 2] {
    [Card::new(SMALL, false), Card::new(LARGE, true)]
}

pub(super) const CHARACTERS: [Character; 2] = [Character::Emulator, Character::Board];
