//! An SD card as a device that stores blocks: one request, with retries, recovery and set-up.
//!
//! ```text
//!            look_for_medium            card works           start
//!   Absent ------------------> SetUp ---------------> Ready <-----> Transfer ----> Check (writes: CMD13)
//!     ^                        ^ |  ^                   ^              |             |
//!     '-- no card, unusable ---' '--|-------------------|--- Recover <-+-------------'
//!                                   '--- no answer, or a state without way back: set up anew
//! ```
//!
//! A request that fails in a way that may pass is tried three times, the last time after a careful set-up of the
//! card. Whatever fails, the card is brought back to the transfer state before the request ends, or is set up anew, or
//! is given up as a medium.
//!
//! There is no card detection that works on all boards: that a card is gone is noticed by the first command that has no
//! answer. Then the next one is identified, and only if it is the same (by its CID) is the request gone on with. Another
//! one gets another generation, and what was meant for the first never reaches it.

use super::commands::{Command, State as CardState, status};
use super::controller::{Answer, Controller, Failure, Job, Progress, Segments};
use super::identify::{Card, DEFAULT_HZ, HIGH_SPEED_HZ, Identify, Step};
use crate::block::{
    BlockCounters, BlockDevice, BlockError, Completion, Direction, Medium, Request, StartError,
};
use crate::traits::Clock;

/// How often a request is tried.
const TRIES: u32 = 3;
/// How often a card is set up before it is given up.
const SET_UP_TRIES: u8 = 3;
/// Jobs that end in one call, at most: what is left is due at once.
const MOST_JOBS: u32 = 8;
/// Longest time until a card is ready again, in microseconds.
const RECOVERY_PATIENCE: u64 = 1_000_000;
/// How often a busy card is asked, in microseconds.
const PAUSE: u64 = 1_000;
/// Times that a transfer is stopped, or a question repeated, in one recovery.
const MOST_REPEATS: u8 = 4;

#[derive(Clone, Copy, Debug)]
enum State {
    Absent,
    SetUp {
        run: Identify,
        tries: u8,
    },
    Ready,
    Transfer,
    /// After a write: is it on the medium?
    Check {
        until: u64,
    },
    /// Asked for its state.
    Recover {
        until: u64,
        repeats: u8,
    },
    /// Told to stop a transfer.
    Stop {
        until: u64,
        repeats: u8,
    },
}

/// The request under way.
#[derive(Clone, Copy, Debug)]
struct Active {
    direction: Direction,
    first: u64,
    sectors: u32,
    tries: u32,
    /// It will not be tried again, and this is why.
    verdict: Option<BlockError>,
}

/// A card and how it is run, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details {
    /// Its product name; what is not printable is a dot.
    pub product: [u8; 5],
    /// How many data lines are used.
    pub lines: u8,
    /// Its clock is not faster than this.
    pub hertz: u32,
}

/// A card at a controller.
#[derive(Debug)]
pub struct SdCard<C> {
    controller: C,
    state: State,
    /// A job is at the controller.
    working: bool,
    /// Nothing is to be done before.
    wait: u64,
    due: Option<u64>,
    card: Option<Card>,
    generation: u32,
    segments: Segments,
    active: Option<Active>,
    completion: Option<Completion>,
    counters: BlockCounters,
}

impl<C: Controller> SdCard<C> {
    /// A slot in which nothing has been looked for.
    pub const fn new(controller: C) -> Self {
        Self {
            controller,
            state: State::Absent,
            working: false,
            wait: 0,
            due: None,
            card: None,
            generation: 0,
            segments: Segments::NONE,
            active: None,
            completion: None,
            counters: BlockCounters {
                sectors_read: 0,
                sectors_written: 0,
                done: 0,
                failed: 0,
                retries: 0,
                set_up: 0,
                by_processor: 0,
            },
        }
    }

    /// The controller.
    pub const fn controller(&self) -> &C {
        &self.controller
    }

    /// The same, to be changed.
    pub const fn controller_mut(&mut self) -> &mut C {
        &mut self.controller
    }

    /// What the card is and how it is run, for people.
    pub fn details(&self) -> Option<Details> {
        let card = self.card?;
        Some(Details {
            product: card.cid.product(),
            lines: if card.four_lines { 4 } else { 1 },
            hertz: match card.high_speed {
                true => HIGH_SPEED_HZ,
                false => DEFAULT_HZ,
            },
        })
    }

    /// Goes on with a set-up until it is over, or so many microseconds have passed, or there is nothing to do for longer
    /// than `longest_wait`: for the boot, which takes no interrupts.
    pub fn settle(&mut self, clock: &impl Clock, patience: u64, longest_wait: u64) {
        let until = clock.microseconds().saturating_add(patience);
        while self.is_setting_up() {
            let now = clock.microseconds();
            let due = self.due.unwrap_or(now);
            if now > until || due > now.saturating_add(longest_wait) {
                return;
            }
            if now >= due {
                self.serve(now);
            }
            core::hint::spin_loop();
        }
    }

    fn begin(&mut self, job: Job, now: u64) {
        self.controller.begin(job, now);
        self.working = true;
    }

    fn ask(&mut self, state: State, command: Command, now: u64) {
        self.state = state;
        self.begin(Job::Exchange(command), now);
    }

    /// Goes on with all that is due, within bounds.
    fn advance(&mut self, now: u64) {
        let mut moved = false;
        for _ in 0..MOST_JOBS {
            if now < self.wait {
                self.controller.hush(now);
                self.due = Some(self.wait);
                return;
            }
            let mut last = Ok(Answer::default());
            if self.working {
                last = match self.controller.look(&self.segments, now) {
                    Progress::Until(at) => {
                        self.due = Some(at);
                        return;
                    }
                    Progress::Done(answer) => Ok(answer),
                    Progress::Failed(failure) => Err(failure),
                };
                self.working = false;
            }
            if self.at_rest() {
                self.due = None;
                return;
            }
            let transfers = |state| matches!(state, State::Transfer);
            moved |= transfers(self.state);
            self.go_on(last, now);
            if moved && transfers(self.state) {
                // Again: not in the same call.
                break;
            }
        }
        self.due = match self.at_rest() {
            true => None,
            false => Some(now),
        };
    }

    fn at_rest(&self) -> bool {
        matches!(self.state, State::Ready | State::Absent)
    }

    /// One job has ended, or a wait; the next one.
    fn go_on(&mut self, last: Result<Answer, Failure>, now: u64) {
        match self.state {
            State::Absent | State::Ready => {}
            State::SetUp { run, tries } => self.set_up(run, tries, last, now),
            State::Transfer => self.transferred(last, now),
            State::Check { until } => self.checked(until, last, now),
            State::Recover { until, repeats } => self.recover(until, repeats, last, now),
            State::Stop { until, repeats } => self.look_at_state(until, repeats, now),
        }
    }

    fn begin_set_up(&mut self, tries: u8) {
        self.counters.set_up = self.counters.set_up.wrapping_add(1);
        let again = self.active.is_some_and(|active| active.tries > 1);
        let run = Identify::new(tries > 1 || again);
        self.state = State::SetUp { run, tries };
    }

    fn set_up(&mut self, mut run: Identify, tries: u8, last: Result<Answer, Failure>, now: u64) {
        let step = run.next(last, self.controller.small(), now);
        self.state = State::SetUp { run, tries };
        match step {
            Step::Do(job) => self.begin(job, now),
            Step::Wait(until) => self.wait = until,
            Step::Done(card) => self.found(card, now),
            Step::Failed if tries < SET_UP_TRIES => self.begin_set_up(tries + 1),
            Step::Failed | Step::Absent => {
                self.card = None;
                self.state = State::Absent;
                self.complete(Err(BlockError::Removed));
            }
        }
    }

    fn found(&mut self, card: Card, now: u64) {
        let known = self.card.replace(card);
        let same = known.is_some_and(|known| {
            known.cid == card.cid && known.csd == card.csd && known.by_sector == card.by_sector
        });
        self.state = State::Ready;
        if same {
            return self.again(now);
        }
        // Generations are few: a card must be put in for each.
        self.generation = self.generation.wrapping_add(1);
        self.complete(Err(BlockError::Removed));
    }

    /// The card works: the request is tried again, or ends.
    fn again(&mut self, now: u64) {
        self.state = State::Ready;
        match self.active {
            Some(Active {
                verdict: Some(error),
                ..
            }) => self.complete(Err(error)),
            Some(_) => self.transfer(now),
            None => {}
        }
    }

    /// Sends the request to the card.
    fn transfer(&mut self, now: u64) {
        let (Some(active), Some(card)) = (self.active, self.card) else {
            return;
        };
        // Both fit: `start` has compared with the medium's end.
        let unit = match card.by_sector {
            true => 1,
            false => crate::block::SECTOR as u64,
        };
        let address = (active.first * unit) as u32;
        let sectors = active.sectors as u16;
        let command = match active.direction {
            Direction::Read => Command::read(address, sectors),
            Direction::Write => Command::write(address, sectors),
        };
        self.ask(State::Transfer, command, now);
    }

    fn transferred(&mut self, last: Result<Answer, Failure>, now: u64) {
        let answer = match last {
            Ok(answer) => answer,
            Err(failure) => return self.failed(failure, now),
        };
        // A card that is stopped behind its last sector may say that it was about to go further (PLSS 4.10.1).
        let medium = self.medium();
        let to_the_end = self.active.zip(medium).is_some_and(|(active, medium)| {
            active.first + u64::from(active.sectors) == medium.sectors
        });
        let harmless = match to_the_end {
            true => status::OUT_OF_RANGE,
            false => 0,
        };
        let errors = answer.stopped & status::ERRORS & !harmless;
        if errors != 0 {
            return self.failed(Failure::Refused(errors), now);
        }
        match (self.active, self.card) {
            (Some(active), Some(card)) if active.direction == Direction::Write => {
                let until = now.saturating_add(RECOVERY_PATIENCE);
                self.ask(
                    State::Check { until },
                    Command::send_status(card.address),
                    now,
                );
            }
            _ => self.complete(Ok(())),
        }
    }

    /// A write counts when the card is ready for the next one and has nothing to complain of.
    fn checked(&mut self, until: u64, last: Result<Answer, Failure>, now: u64) {
        let status = match last {
            Ok(answer) => answer.short,
            Err(failure) => return self.failed(failure, now),
        };
        let Some(card) = self.card else {
            return self.failed(Failure::Controller, now);
        };
        if status & status::ERRORS != 0 {
            return self.failed(Failure::Refused(status & status::ERRORS), now);
        }
        match CardState::of(status) {
            CardState::Transfer if status & status::READY_FOR_DATA != 0 => self.complete(Ok(())),
            CardState::Transfer | CardState::Programming if now < until => {
                self.wait = now + PAUSE;
                self.ask(
                    State::Check { until },
                    Command::send_status(card.address),
                    now,
                );
            }
            _ => self.failed(Failure::DataLate, now),
        }
    }

    /// A try has failed. The card is brought back before anything else.
    fn failed(&mut self, failure: Failure, now: u64) {
        let Some(active) = &mut self.active else {
            return self.begin_set_up(1);
        };
        let (error, may_pass) = judge(failure);
        active.tries += 1;
        if !may_pass || active.tries >= TRIES {
            active.verdict = Some(error);
        } else {
            self.counters.retries = self.counters.retries.wrapping_add(1);
        }
        let last_try = active.verdict.is_none() && active.tries + 1 == TRIES;
        if failure == Failure::Controller || last_try && failure != Failure::Engine {
            return self.begin_set_up(1);
        }
        self.look_at_state(now.saturating_add(RECOVERY_PATIENCE), 0, now);
    }

    fn look_at_state(&mut self, until: u64, repeats: u8, now: u64) {
        match self.card {
            Some(card) => self.ask(
                State::Recover { until, repeats },
                Command::send_status(card.address),
                now,
            ),
            None => self.begin_set_up(1),
        }
    }

    fn recover(&mut self, until: u64, repeats: u8, last: Result<Answer, Failure>, now: u64) {
        let patient = now < until && repeats < MOST_REPEATS;
        let status = match last {
            Ok(answer) => answer.short,
            Err(Failure::AnswerDamaged) if patient => {
                return self.look_at_state(until, repeats + 1, now);
            }
            Err(_) => return self.begin_set_up(1),
        };
        match CardState::of(status) {
            CardState::Transfer if status & status::READY_FOR_DATA != 0 => self.again(now),
            CardState::Sending | CardState::Receiving if patient => {
                let stop = State::Stop {
                    until,
                    repeats: repeats + 1,
                };
                self.ask(stop, Command::stop_transmission(), now);
            }
            CardState::Transfer | CardState::Programming if now < until => {
                self.wait = now + PAUSE;
                self.look_at_state(until, repeats, now);
            }
            _ => self.begin_set_up(1),
        }
    }

    /// Ends the request, if there is one.
    fn complete(&mut self, result: Result<(), BlockError>) {
        if self.card.is_some() {
            self.state = State::Ready;
        }
        let Some(active) = self.active.take() else {
            return;
        };
        let count = match active.direction {
            _ if result.is_err() => &mut self.counters.failed,
            Direction::Read => &mut self.counters.sectors_read,
            Direction::Write => &mut self.counters.sectors_written,
        };
        let sectors = match result {
            Ok(()) => active.sectors,
            Err(_) => 0,
        };
        *count = count.wrapping_add(match result {
            Ok(()) => sectors.into(),
            Err(_) => 1,
        });
        if result.is_ok() {
            self.counters.done = self.counters.done.wrapping_add(1);
        }
        self.completion = Some(Completion { sectors, result });
    }
}

/// What a failure means to the requester, and whether it may pass.
fn judge(failure: Failure) -> (BlockError, bool) {
    match failure {
        Failure::Refused(errors)
            if errors & (status::OUT_OF_RANGE | status::ADDRESS_ERROR) != 0 =>
        {
            (BlockError::OutOfRange, false)
        }
        Failure::Refused(errors) if errors & status::WP_VIOLATION != 0 => {
            (BlockError::Protected, false)
        }
        Failure::Refused(_) | Failure::Engine => (BlockError::Failed, true),
        Failure::AnswerDamaged | Failure::DataDamaged => (BlockError::Damaged, true),
        Failure::NoAnswer | Failure::DataLate | Failure::StopFailed | Failure::Controller => {
            (BlockError::TimedOut, true)
        }
    }
}

impl<C: Controller> BlockDevice for SdCard<C> {
    fn medium(&self) -> Option<Medium> {
        // Sectors that the argument of a command can name.
        let card = self.card?;
        let most = match card.by_sector {
            true => 1 << 32,
            false => (1 << 32) / crate::block::SECTOR as u64,
        };
        Some(Medium {
            kind: card.csd.kind(),
            sectors: card.csd.sectors.min(most),
            read_only: card.csd.read_only,
            generation: self.generation,
        })
    }

    fn look_for_medium(&mut self, now: u64) {
        if let State::Absent = self.state {
            self.begin_set_up(1);
            self.advance(now);
        }
    }

    fn is_setting_up(&self) -> bool {
        matches!(self.state, State::SetUp { .. })
    }

    fn start(&mut self, request: &Request<'_>, now: u64) -> Result<(), StartError> {
        let sectors = request.sectors().ok_or(StartError::Malformed)?;
        let medium = self.medium().ok_or(match self.is_setting_up() {
            true => StartError::Busy,
            false => StartError::Absent,
        })?;
        if request.generation != medium.generation {
            return Err(StartError::Changed);
        }
        let end = request.first.checked_add(sectors.into());
        if end.is_none_or(|end| end > medium.sectors) {
            return Err(StartError::OutOfRange);
        }
        if medium.read_only && request.direction == Direction::Write {
            return Err(StartError::ReadOnly);
        }
        if !matches!(self.state, State::Ready) || self.completion.is_some() {
            return Err(StartError::Busy);
        }
        self.segments.set(request.segments);
        self.active = Some(Active {
            direction: request.direction,
            first: request.first,
            sectors,
            tries: 0,
            verdict: None,
        });
        self.wait = 0;
        self.transfer(now);
        self.advance(now);
        Ok(())
    }

    fn serve(&mut self, now: u64) {
        match self.at_rest() {
            true => self.controller.hush(now),
            false => self.advance(now),
        }
    }

    fn next_look(&self) -> Option<u64> {
        self.due.filter(|_| !self.at_rest())
    }

    fn take_completion(&mut self) -> Option<Completion> {
        self.completion.take()
    }

    fn counters(&self) -> BlockCounters {
        BlockCounters {
            by_processor: self.controller.by_processor(),
            ..self.counters
        }
    }
}
