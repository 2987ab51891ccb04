//! The BCM2835's "EMMC" controller: an SD Host Controller of version 3, with 32-bit registers and no DMA of its own.
//!
//! Sources: BCM2835 ARM Peripherals, section 5; SD Host Controller Simplified Specification 3.00 ("HCSS"), which the
//! manual follows without naming it. Data is moved by a channel of the DMA engine, paced by the controller, or by the
//! processor.
//!
//! ```text
//!   Reset:     StopEngine > AwaitReset > StopClock > AwaitClock > ClockRuns > Ended
//!   Clock:     StopClock > AwaitClock > ClockRuns > Ended
//!   Exchange:  Prepare > AwaitAnswer +> Ended
//!                                    +> AwaitBusy ---------.
//!                                    +> Engine ------------+> Ended(done)
//!                                    +> ByProcessor > End -'
//!   whatever fails:  Halt > AwaitCommandLine > AwaitDataLines > Ended(failed)
//! ```
//!
//! Nothing waits: [`Controller::look`] goes on as far as the hardware has come, and moves at most
//! [`MOST_AT_ONCE`] sectors by the processor. The channel is started after the command was answered: the emulator
//! moves all data within the write that starts it, and pacing is no worse for it on a board.

pub(super) mod pace;
mod registers;
mod work;

use tock_registers::interfaces::Readable;

use super::commands::{Command, Data};
use super::controller::{Answer, Controller, Failure, Job, MOST_SMALL, Progress, Segments};
use crate::block::{SECTOR, SegmentMemory};
use crate::bus::Bus;
use crate::dma::DmaMemory;
use crate::drivers::bcm2835_dma::{DmaChannel, Peripheral};
use pace::Pace;
use registers::{CONTROL0, CONTROL1, CONTROL2, INTERRUPT, IRPT_EN, IRPT_MASK};

/// What paces the DMA engine (BCM2835 ARM Peripherals, sections 1.2.3, 4.2.1.3 and 5).
const PERIPHERAL: Peripheral = Peripheral {
    data: 0x7e30_0020,
    request: 11,
};

/// Fewest sectors that are worth the engine's set-up.
const LEAST_FOR_ENGINE: u16 = 8;
/// Most sectors that the processor moves in one look.
pub const MOST_AT_ONCE: u32 = 8;
/// Failures of the engine in a row after which it is not used any more.
const MOST_ENGINE_FAILURES: u32 = 3;

/// The clock for identification (PLSS 4.2.1: 100 to 400 kHz).
const IDENTIFICATION_HZ: u32 = 400_000;
/// How long the controller may take to reset itself, or to get a stable clock, in microseconds (HCSS 3.2.1: 150 ms
/// is more than any needs).
const CONTROLLER_PATIENCE: u64 = 150_000;
/// How long an answer may take, in microseconds: 64 clocks until it begins (PLSS 4.12.4), and itself, at 100 kHz.
const ANSWER_PATIENCE: u64 = 10_000;
/// How long the last data may be on its way between controller and memory, in microseconds.
const ENGINE_PATIENCE: u64 = 10_000;
/// How often something that gives no interrupt is looked at, in microseconds: short and long.
const SOON: u64 = 10;
const LATER: u64 = 1_000;
/// Longest time for a transfer that goes on, in microseconds: the slowest speed class moves it in a tenth.
const MOST_TRANSFER: u64 = 5_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    StopEngine,
    AwaitReset,
    StopClock,
    AwaitClock,
    ClockRuns,
    Settle,
    Prepare,
    AwaitAnswer,
    AwaitBusy,
    Engine,
    ByProcessor,
    End,
    Halt(Failure),
    AwaitCommandLine(Failure),
    AwaitDataLines(Failure),
    Ended(Progress),
}

/// The controller behind `bus`.
#[derive(Debug)]
pub struct Emmc<B, D, M> {
    bus: B,
    engine: Option<DmaChannel<B, D>>,
    memory: M,
    /// Rate of the clock that the card's is divided from, in hertz.
    base_hz: u32,
    pace: Pace,
    phase: Phase,
    command: Command,
    /// When the present phase has lasted too long.
    deadline: u64,
    /// When the whole transfer has.
    limit: u64,
    /// What the engine's progress was when the deadline was last set.
    mark: u64,
    with_engine: bool,
    /// The controller has said that all data has gone, but the engine has not.
    card_done: bool,
    /// Sectors, or small blocks, that the processor has moved.
    moved: u32,
    target_hz: u32,
    control0: u32,
    control1: u32,
    signals: u32,
    answer: Answer,
    small: [u8; MOST_SMALL],
    engine_failures: u32,
    /// The last try by the engine has failed, for whatever reason: the next one does without.
    engine_rests: bool,
    /// And it may have been the engine's fault.
    suspected: bool,
    by_processor: u64,
}

impl<B: Bus, D: DmaMemory, M: SegmentMemory> Emmc<B, D, M> {
    /// Takes the controller over, whose clock has this rate in hertz. Nothing is touched before the first job, which
    /// must be [`Job::Reset`].
    pub const fn new(bus: B, engine: Option<DmaChannel<B, D>>, memory: M, base_hz: u32) -> Self {
        Self {
            bus,
            engine,
            memory,
            base_hz,
            pace: Pace::NEW,
            phase: Phase::Ended(Progress::Failed(Failure::Controller)),
            command: Command::go_idle(),
            deadline: 0,
            limit: 0,
            mark: 0,
            with_engine: false,
            card_done: false,
            moved: 0,
            target_hz: IDENTIFICATION_HZ,
            control0: 0,
            control1: 0,
            signals: 0,
            answer: Answer {
                short: 0,
                long: 0,
                stopped: 0,
            },
            small: [0; MOST_SMALL],
            engine_failures: 0,
            engine_rests: false,
            suspected: false,
            by_processor: 0,
        }
    }

    /// The memory that requests lie in.
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// The same, to be changed.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Goes over to a phase that may last so long.
    fn enter(&mut self, phase: Phase, now: u64, patience: u64) -> Option<u64> {
        self.phase = phase;
        self.deadline = now.saturating_add(patience);
        None
    }

    fn end(&mut self, progress: Progress) -> Option<u64> {
        self.phase = Phase::Ended(progress);
        None
    }

    /// Ends the exchange with a failure, once the hardware does nothing for it any more.
    fn fail(&mut self, failure: Failure) -> Option<u64> {
        self.phase = Phase::Halt(failure);
        None
    }

    fn set_control1(&mut self, value: u32) {
        self.control1 = value;
        self.pace.push(&CONTROL1, value);
    }

    /// As far as the present phase goes now: when to look again, or nothing if there is another phase.
    fn step(&mut self, segments: &Segments, now: u64) -> Option<u64> {
        if let Some(at) = self.pace.drain(&self.bus, now) {
            return Some(at);
        }
        match self.phase {
            Phase::StopEngine => self.stop_engine(now),
            Phase::AwaitReset => self.await_reset(now),
            Phase::StopClock => self.stop_clock(now),
            Phase::AwaitClock => self.await_clock(now),
            Phase::ClockRuns => self.clock_runs(),
            Phase::Settle => self.end(Progress::Done(Answer::default())),
            Phase::Prepare => self.prepare(segments, now),
            Phase::AwaitAnswer => self.await_answer(now),
            Phase::AwaitBusy => self.await_busy(now),
            Phase::Engine => self.watch_engine(segments, now),
            Phase::ByProcessor => self.move_data(segments, now),
            Phase::End => self.await_end(now),
            Phase::Halt(failure) => self.halt(failure, now),
            Phase::AwaitCommandLine(failure) | Phase::AwaitDataLines(failure) => {
                self.await_line(failure, now)
            }
            Phase::Ended(_) => Some(u64::MAX),
        }
    }

    fn stop_engine(&mut self, now: u64) -> Option<u64> {
        if self.engine.as_mut().is_some_and(|engine| !engine.stop()) {
            return Some(now + LATER);
        }
        self.pace.set_clock(0);
        self.set_control1(1 << 24);
        self.enter(Phase::AwaitReset, now, CONTROLLER_PATIENCE)
    }

    fn await_reset(&mut self, now: u64) -> Option<u64> {
        if CONTROL1.on(&self.bus).is_set(CONTROL1::RESET_ALL) {
            return match now < self.deadline {
                true => Some(now + SOON),
                false => self.end(Progress::Failed(Failure::Controller)),
            };
        }
        self.control0 = 0;
        self.control1 = 0;
        self.signals = work::SIGNALS;
        self.pace.push(&CONTROL0, 0);
        self.pace.push(&CONTROL2, 0);
        self.pace.push(&INTERRUPT, u32::MAX);
        self.pace.push(&IRPT_MASK, u32::MAX);
        self.pace.push(&IRPT_EN, self.signals);
        self.phase = Phase::StopClock;
        None
    }

    /// Stops the card's clock, and has it divided as it will be.
    fn stop_clock(&mut self, now: u64) -> Option<u64> {
        let divider = divider(self.base_hz, self.target_hz);
        let off = self.control1 & !CONTROL1::CLOCK::SET.value;
        if off != self.control1 {
            self.set_control1(off);
        }
        self.pace.set_clock(0);
        let clock = CONTROL1::INTERNAL_CLOCK::SET
            + CONTROL1::DIVIDER_LOW.val(divider & 0xff)
            + CONTROL1::DIVIDER_HIGH.val(divider >> 8)
            + CONTROL1::DATA_TIMEOUT.val(14);
        self.set_control1(clock.value);
        self.enter(Phase::AwaitClock, now, CONTROLLER_PATIENCE)
    }

    fn await_clock(&mut self, now: u64) -> Option<u64> {
        if !CONTROL1.on(&self.bus).is_set(CONTROL1::CLOCK_STABLE) {
            return match now < self.deadline {
                true => Some(now + SOON),
                false => self.end(Progress::Failed(Failure::Controller)),
            };
        }
        self.set_control1(self.control1 | CONTROL1::CLOCK::SET.value);
        self.phase = Phase::ClockRuns;
        None
    }

    fn clock_runs(&mut self) -> Option<u64> {
        self.pace.set_clock(self.target_hz);
        self.end(Progress::Done(Answer::default()))
    }

    /// Stops whatever the hardware does for the exchange. Does not end before it has.
    fn halt(&mut self, failure: Failure, now: u64) -> Option<u64> {
        self.clear_signals();
        if self.with_engine {
            if self.engine.as_mut().is_some_and(|engine| !engine.stop()) {
                return Some(now + LATER);
            }
            self.with_engine = false;
            // If the processor can do what the engine could not, it was the engine.
            self.engine_rests = true;
            self.suspected = matches!(failure, Failure::Engine | Failure::DataLate);
        }
        self.reset_line(
            Phase::AwaitCommandLine(failure),
            now,
            CONTROL1::RESET_COMMAND::SET.value,
        )
    }

    /// Resets what drives a line. The bit falls by itself; with both at once the emulator does nothing.
    fn reset_line(&mut self, phase: Phase, now: u64, line: u32) -> Option<u64> {
        self.pace.push(&CONTROL1, self.control1 | line);
        self.enter(phase, now, CONTROLLER_PATIENCE)
    }

    fn await_line(&mut self, failure: Failure, now: u64) -> Option<u64> {
        self.clear_signals();
        let control = CONTROL1.on(&self.bus).extract();
        if control.is_set(CONTROL1::RESET_COMMAND) || control.is_set(CONTROL1::RESET_DATA) {
            return match now < self.deadline {
                true => Some(now + SOON),
                false => self.end(Progress::Failed(Failure::Controller)),
            };
        }
        if let Phase::AwaitCommandLine(_) = self.phase {
            let line = CONTROL1::RESET_DATA::SET.value;
            return self.reset_line(Phase::AwaitDataLines(failure), now, line);
        }
        self.clear(u32::MAX);
        self.end(Progress::Failed(failure))
    }

    /// Takes note of what has happened, so that it interrupts no more.
    fn clear(&mut self, events: u32) {
        self.pace.push(&INTERRUPT, events);
    }

    /// Has nothing interrupt for which nobody waits any more.
    fn clear_signals(&mut self) {
        let events = INTERRUPT.on(&self.bus).get();
        if events & self.signals != 0 {
            self.clear(events);
        }
    }

    fn wants_engine(&self, data: Data) -> bool {
        data.sectors() >= LEAST_FOR_ENGINE
            && self.engine.is_some()
            && !self.engine_rests
            && self.engine_failures < MOST_ENGINE_FAILURES
    }
}

/// What the base clock is divided by, halved: 0 leaves it as it is (HCSS 2.2.14, ten bits).
fn divider(base_hz: u32, target_hz: u32) -> u32 {
    if base_hz <= target_hz {
        return 0;
    }
    base_hz
        .div_ceil(target_hz.saturating_mul(2).max(1))
        .min(0x3ff)
}

impl<B: Bus, D: DmaMemory, M: SegmentMemory> Controller for Emmc<B, D, M> {
    fn begin(&mut self, job: Job, now: u64) {
        self.limit = now.saturating_add(MOST_TRANSFER);
        self.deadline = now.saturating_add(CONTROLLER_PATIENCE);
        match job {
            Job::Reset => {
                self.target_hz = IDENTIFICATION_HZ;
                self.phase = Phase::StopEngine;
            }
            Job::Clock(hertz) => {
                self.target_hz = hertz;
                self.phase = Phase::StopClock;
            }
            Job::FourLines => {
                self.control0 |= CONTROL0::FOUR_LINES::SET.value;
                self.pace.push(&CONTROL0, self.control0);
                self.phase = Phase::Settle;
            }
            Job::Exchange(command) => {
                self.command = command;
                self.answer = Answer::default();
                self.moved = 0;
                self.card_done = false;
                self.phase = Phase::Prepare;
            }
        }
    }

    fn look(&mut self, segments: &Segments, now: u64) -> Progress {
        loop {
            let at = self.step(segments, now);
            if let Phase::Ended(progress) = self.phase {
                // Also what waits for its turn, such as the end of an interrupt.
                if let Some(at) = self.pace.drain(&self.bus, now) {
                    return Progress::Until(at);
                }
                self.phase = Phase::Ended(Progress::Failed(Failure::Controller));
                return progress;
            }
            if let Some(at) = at {
                // What ends the interrupt must not wait as long.
                let waits = self.pace.drain(&self.bus, now);
                return Progress::Until(waits.map_or(at, |sooner| sooner.min(at)));
            }
        }
    }

    fn small(&self) -> &[u8; MOST_SMALL] {
        &self.small
    }

    fn by_processor(&self) -> u64 {
        self.by_processor
    }

    fn hush(&mut self, now: u64) {
        self.clear_signals();
        self.pace.drain(&self.bus, now);
    }
}

#[cfg(test)]
mod tests {
    use super::divider;

    #[test]
    fn no_clock_is_faster_than_asked_for() {
        // The emulator's clock, the board's, and some.
        for base in [50_000_000, 200_000_000, 250_000_000, 41_666_667, 400_000] {
            for target in [400_000, 25_000_000, 50_000_000] {
                let divider = divider(base, target);
                let clock = match divider {
                    0 => base,
                    _ => base / (2 * divider),
                };
                assert!(clock <= target, "{base} {target}");
                // And none is needlessly slow.
                let faster = match divider {
                    0 => u32::MAX,
                    1 => base,
                    _ => base / (2 * (divider - 1)),
                };
                assert!(faster > target, "{base} {target}");
            }
        }
        assert_eq!(divider(u32::MAX, 1), 0x3ff);
        assert_eq!(divider(0, 0), 0);
    }
}
