//! An exchange: command, answer, data, busy.

use tock_registers::LocalRegisterCopy;
use tock_registers::interfaces::{Readable, Writeable};

use super::registers::{ARG1, BLKSIZECNT, CMDTM, DATA, INTERRUPT, IRPT_EN, RESP, STATUS};
use super::{
    ANSWER_PATIENCE, ENGINE_PATIENCE, Emmc, LATER, MOST_AT_ONCE, PERIPHERAL, Phase, SECTOR, SOON,
};
use crate::block::{Direction, Segment, SegmentMemory};
use crate::bus::Bus;
use crate::dma::DmaMemory;
use crate::drivers::bcm2835_dma::{DmaChannel, Transfer};
use crate::drivers::sd::commands::{Data, Response};
use crate::drivers::sd::controller::{Failure, MOST_SMALL, Progress, Segments};

type Events = LocalRegisterCopy<u32, INTERRUPT::Register>;

/// What interrupts, besides room or data for the processor.
pub(super) const SIGNALS: u32 = INTERRUPT::COMMAND_DONE::SET.value
    | INTERRUPT::DATA_DONE::SET.value
    | ANSWER_ERRORS
    | DATA_ERRORS;
const ANSWER_ERRORS: u32 = INTERRUPT::NO_ANSWER::SET.value
    | INTERRUPT::ANSWER_CRC::SET.value
    | INTERRUPT::ANSWER_END::SET.value
    | INTERRUPT::ANSWER_INDEX::SET.value;
const DATA_ERRORS: u32 = INTERRUPT::DATA_TIMEOUT::SET.value
    | INTERRUPT::DATA_CRC::SET.value
    | INTERRUPT::DATA_END::SET.value
    | INTERRUPT::AUTO_STOP::SET.value;

/// Why no answer will come, if one of these events says so.
fn answer_failure(events: Events) -> Option<Failure> {
    // Both at once: somebody else was on the line (HCSS 2.2.18).
    let damaged = ANSWER_ERRORS & !INTERRUPT::NO_ANSWER::SET.value;
    match events.get() {
        events if events & damaged != 0 => Some(Failure::AnswerDamaged),
        events if events & ANSWER_ERRORS != 0 => Some(Failure::NoAnswer),
        _ => None,
    }
}

/// Why data will not come, or go, to its end.
fn data_failure(events: Events) -> Option<Failure> {
    if events.is_set(INTERRUPT::AUTO_STOP) {
        return Some(Failure::StopFailed);
    }
    if events.is_set(INTERRUPT::DATA_CRC) || events.is_set(INTERRUPT::DATA_END) {
        return Some(Failure::DataDamaged);
    }
    // With both, the data is complete (HCSS 2.2.17).
    let late = events.is_set(INTERRUPT::DATA_TIMEOUT) && !events.is_set(INTERRUPT::DATA_DONE);
    late.then_some(Failure::DataLate)
}

impl<B: Bus, D: DmaMemory, M: SegmentMemory> Emmc<B, D, M> {
    fn events(&self) -> Events {
        INTERRUPT.on(&self.bus).extract()
    }

    /// Whether the processor moves this exchange's data.
    fn by_hand(&self) -> bool {
        self.command.data != Data::None && !self.with_engine
    }

    /// Makes memory and engine ready, and sends the command.
    pub(super) fn prepare(&mut self, segments: &Segments, now: u64) -> Option<u64> {
        let state = STATUS.on(&self.bus).extract();
        let uses_data = self.command.data != Data::None || self.command.response == Response::Busy;
        let stops = self.command.index == 12;
        let busy = state.is_set(STATUS::COMMAND_BUSY)
            || state.is_set(STATUS::DATA_BUSY) && uses_data && !stops;
        if busy {
            return match now < self.deadline {
                true => Some(now + SOON),
                false => self.fail(Failure::Controller),
            };
        }
        self.with_engine = self.wants_engine(self.command.data) && self.prepare_engine(segments);
        let events = self.events().get();
        if events != 0 {
            self.clear(events);
        }
        let ready = INTERRUPT::READ_READY::SET + INTERRUPT::WRITE_READY::SET;
        let signals = SIGNALS | if self.by_hand() { ready.value } else { 0 };
        if signals != self.signals {
            self.signals = signals;
            self.pace.push(&IRPT_EN, signals);
        }
        self.send();
        self.enter(Phase::AwaitAnswer, now, ANSWER_PATIENCE)
    }

    /// Shows the segments to the engine; whether it can do the transfer.
    fn prepare_engine(&mut self, segments: &Segments) -> bool {
        let Some(engine) = &mut self.engine else {
            return false;
        };
        let list = segments.list();
        let memory = &mut self.memory;
        if list.iter().any(|one| memory.bus_address(one).is_none()) {
            return false;
        }
        let direction = match self.command.data {
            Data::Write(_) => Direction::Write,
            _ => Direction::Read,
        };
        for segment in list {
            match direction {
                Direction::Read => memory.invalidate(segment),
                Direction::Write => memory.clean(segment),
            }
        }
        let run = |segment: &Segment| {
            let address = memory.bus_address(segment).unwrap_or(0);
            (address, segment.bytes() as u32)
        };
        engine.prepare(direction, PERIPHERAL, list.iter().map(run))
    }

    fn send(&mut self) {
        let command = self.command;
        let (size, count) = match command.data {
            Data::None => (0, 0),
            Data::Small(bytes) => (bytes.into(), 1),
            Data::Read(sectors) | Data::Write(sectors) => (SECTOR as u32, sectors.into()),
        };
        let mut mode = match command.response {
            Response::None => CMDTM::RESPONSE::None,
            Response::Short => {
                CMDTM::RESPONSE::Short + CMDTM::CHECK_CRC::SET + CMDTM::CHECK_INDEX::SET
            }
            Response::Busy => {
                CMDTM::RESPONSE::Busy + CMDTM::CHECK_CRC::SET + CMDTM::CHECK_INDEX::SET
            }
            Response::Unchecked => CMDTM::RESPONSE::Short,
            Response::Long => CMDTM::RESPONSE::Long + CMDTM::CHECK_CRC::SET,
        } + CMDTM::INDEX.val(command.index.into());
        if command.index == 12 {
            mode += CMDTM::ABORT::Yes;
        }
        if command.data != Data::None {
            mode += CMDTM::HAS_DATA::SET;
            self.pace.push(
                &BLKSIZECNT,
                (BLKSIZECNT::SIZE.val(size) + BLKSIZECNT::COUNT.val(count)).value,
            );
        }
        if !matches!(command.data, Data::None | Data::Write(_)) {
            mode += CMDTM::FROM_CARD::SET;
        }
        if command.stops_by_itself() {
            mode += CMDTM::MULTIPLE::SET + CMDTM::COUNTED::SET + CMDTM::AUTO_STOP::SET;
        }
        self.pace.push(&ARG1, command.argument);
        self.pace.push(&CMDTM, mode.value);
    }

    pub(super) fn await_answer(&mut self, now: u64) -> Option<u64> {
        let events = self.events();
        if let Some(failure) = answer_failure(events) {
            return self.fail(failure);
        }
        if !events.is_set(INTERRUPT::COMMAND_DONE) {
            return match now < self.deadline {
                true => Some(self.deadline),
                false => self.fail(Failure::Controller),
            };
        }
        self.clear(INTERRUPT::COMMAND_DONE::SET.value);
        let [a, b, c, d] = &RESP;
        self.answer.short = a.on(&self.bus).get();
        if self.command.response == Response::Long {
            let words = [d, c, b, a].map(|register| register.on(&self.bus).get());
            let long = words
                .iter()
                .fold(0, |sum, word| sum << 32 | u128::from(*word));
            // The register begins with bit 8 (HCSS 2.2.6).
            self.answer.long = long << 8;
        }
        if self.answer.short & self.command.refusals != 0 {
            return self.fail(Failure::Refused(self.answer.short));
        }
        let patience = self.command.patience;
        match self.command.data {
            Data::None if self.command.response == Response::Busy => {
                self.enter(Phase::AwaitBusy, now, patience)
            }
            Data::None => self.end(Progress::Done(self.answer)),
            _ if self.with_engine => {
                if let Some(engine) = &mut self.engine {
                    engine.start();
                    self.mark = engine.progress();
                }
                self.enter(Phase::Engine, now, patience)
            }
            _ => {
                if self.command.data.sectors() > 0 {
                    self.by_processor = self.by_processor.wrapping_add(1);
                }
                self.enter(Phase::ByProcessor, now, patience)
            }
        }
    }

    pub(super) fn await_busy(&mut self, now: u64) -> Option<u64> {
        let events = self.events();
        if let Some(failure) = data_failure(events) {
            return self.fail(failure);
        }
        // Who was not busy at all may say nothing.
        let free = !STATUS.on(&self.bus).is_set(STATUS::DATA_BUSY);
        if events.is_set(INTERRUPT::DATA_DONE) || free {
            return self.succeed(events);
        }
        match now < self.deadline {
            true => Some(now + LATER),
            false => self.fail(Failure::DataLate),
        }
    }

    fn succeed(&mut self, events: Events) -> Option<u64> {
        self.clear(events.get());
        if self.command.stops_by_itself() {
            let [.., last] = &RESP;
            self.answer.stopped = last.on(&self.bus).get();
        }
        if self.command.data.sectors() > 0 {
            match self.with_engine {
                true => self.engine_failures = 0,
                false => {
                    self.engine_failures += u32::from(core::mem::take(&mut self.suspected));
                    self.engine_rests = false;
                }
            }
        }
        self.with_engine = false;
        self.end(Progress::Done(self.answer))
    }

    pub(super) fn watch_engine(&mut self, segments: &Segments, now: u64) -> Option<u64> {
        let events = self.events();
        if let Some(failure) = data_failure(events) {
            return self.fail(failure);
        }
        let Some(engine) = &self.engine else {
            return self.fail(Failure::Engine);
        };
        let state = engine.look();
        if state == Transfer::Failed {
            return self.fail(Failure::Engine);
        }
        if events.is_set(INTERRUPT::DATA_DONE) {
            if state == Transfer::Done {
                return self.end_engine(segments, events);
            }
            // The card is done, and the last words are on their way to memory.
            self.clear(INTERRUPT::DATA_DONE::SET.value);
            self.card_done = true;
            self.deadline = now.saturating_add(ENGINE_PATIENCE);
        }
        if self.card_done && state == Transfer::Done {
            return self.end_engine(segments, events);
        }
        if now < self.deadline {
            return match self.card_done {
                true => Some(now + SOON),
                false => Some(self.deadline),
            };
        }
        let progress = self.engine.as_ref().map_or(0, DmaChannel::progress);
        let goes_on = progress != self.mark && now < self.limit;
        self.mark = progress;
        match (self.card_done, goes_on) {
            (true, _) => self.fail(Failure::Engine),
            (false, true) => self.enter(Phase::Engine, now, self.command.patience),
            (false, false) => self.fail(Failure::DataLate),
        }
    }

    fn end_engine(&mut self, segments: &Segments, events: Events) -> Option<u64> {
        if let Data::Read(_) = self.command.data {
            // The processor may have fetched lines meanwhile.
            for segment in segments.list() {
                self.memory.invalidate(segment);
            }
        }
        self.succeed(events)
    }

    /// Moves as much as the controller is ready for, within bounds.
    pub(super) fn move_data(&mut self, segments: &Segments, now: u64) -> Option<u64> {
        let count = u32::from(self.command.data.sectors()).max(1);
        let ready = match self.command.data {
            Data::Write(_) => INTERRUPT::WRITE_READY::SET,
            _ => INTERRUPT::READ_READY::SET,
        };
        for _ in 0..MOST_AT_ONCE {
            let events = self.events();
            if let Some(failure) = data_failure(events) {
                return self.fail(failure);
            }
            if !ready.matches_all(events.get()) {
                return match now < self.deadline && now < self.limit {
                    true => Some(self.deadline),
                    false => self.fail(Failure::DataLate),
                };
            }
            // Before the data: the next block's event may come with its last word.
            INTERRUPT.on(&self.bus).set(ready.value);
            if !self.move_block(segments) {
                return self.fail(Failure::Controller);
            }
            self.moved += 1;
            if self.moved == count {
                return self.enter(Phase::End, now, self.command.patience);
            }
            self.deadline = now.saturating_add(self.command.patience);
        }
        // There is more: interrupts are taken first.
        Some(now)
    }

    fn move_block(&mut self, segments: &Segments) -> bool {
        if let Data::Small(bytes) = self.command.data {
            let bytes = usize::from(bytes).min(MOST_SMALL);
            for place in self.small[..bytes].chunks_mut(4) {
                let word = DATA.on(&self.bus).get().to_le_bytes();
                for (to, from) in place.iter_mut().zip(word) {
                    *to = from;
                }
            }
            return true;
        }
        let Some(at) = segments.sector(self.moved) else {
            return false;
        };
        let mut words = [0; SECTOR / 4];
        match self.command.data {
            Data::Write(_) => {
                self.memory.load(at, &mut words);
                for word in words {
                    DATA.on(&self.bus).set(word);
                }
            }
            _ => {
                for word in &mut words {
                    *word = DATA.on(&self.bus).get();
                }
                self.memory.store(at, &words);
            }
        }
        true
    }

    /// All data has been moved by the processor: the card may still be busy with it.
    pub(super) fn await_end(&mut self, now: u64) -> Option<u64> {
        let events = self.events();
        if let Some(failure) = data_failure(events) {
            return self.fail(failure);
        }
        if events.is_set(INTERRUPT::DATA_DONE) {
            return self.succeed(events);
        }
        match now < self.deadline {
            true => Some(self.deadline),
            false => self.fail(Failure::DataLate),
        }
    }
}
