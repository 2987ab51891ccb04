//! A card's set-up: from whatever it did before to sectors that can be read and written.
//!
//! ```text
//!   reset controller > power-up time > CMD0 > CMD8 > { CMD55 ACMD41 } until ready > CMD2 > CMD3 > CMD9 > CMD7
//!     > 25 MHz > ACMD51 > [ACMD6, four lines] > [CMD16] > [CMD6 look, CMD6 set, 50 MHz] > CMD13 > done
//! ```
//!
//! Source: PLSS 4.2 (identification, figure 4-2), 4.3.10 (high speed), 4.4 (clock). A *run*: a value that turns the end
//! of one job into the next. Where no card answers, that is known after the first CMD55, and nothing has been waited for
//! but the power-up time.

use super::commands::{Command, INTERFACE_CONDITION, State, VOLTAGES, status};
use super::controller::{Answer, Failure, Job, MOST_SMALL};
use super::decode::{Cid, Csd, Ocr, Scr, chose_high_speed};

/// From a stable supply and clock to the first command, in microseconds: 1 ms, and 74 cycles (PLSS 6.4.1).
const POWER_UP: u64 = 1_000 + 740;
/// Longest time from the first ACMD41 until the card is ready, in microseconds: 1 s (PLSS 4.2.3).
const OPERATING_PATIENCE: u64 = 1_000_000;
/// From one ACMD41 to the next, in microseconds; the specification wants less than 50 ms.
const OPERATING_PAUSE: u64 = 5_000;
/// Clocks after identification, in hertz (PLSS 4.2.3, 4.3.10).
pub(super) const DEFAULT_HZ: u32 = 25_000_000;
pub(super) const HIGH_SPEED_HZ: u32 = 50_000_000;
/// Tries of a command that a card may answer wrongly at first.
const TRIES: u8 = 3;

/// What a set-up has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Card {
    pub cid: Cid,
    pub csd: Csd,
    /// Its address on the bus.
    pub address: u16,
    /// Commands name sectors, not bytes.
    pub by_sector: bool,
    /// Four data lines.
    pub four_lines: bool,
    /// 50 MHz.
    pub high_speed: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This job, and come again with its end.
    Do(Job),
    /// Nothing, until this time.
    Wait(u64),
    /// The card works.
    Done(Card),
    /// There is no card.
    Absent,
    /// There is one, and it cannot be used, or not this time.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Begin,
    Reset,
    PowerUp,
    Idle,
    Interface(u8),
    Application(u64),
    Operating(u64),
    Pause(u64),
    AllCid,
    Address(u8),
    ReadCsd,
    Select,
    Clock,
    ScrApplication,
    ReadScr,
    WidthApplication,
    Width,
    FourLines,
    BlockLength,
    LookAtSpeed,
    SetSpeed,
    FastClock,
    Status(u8),
}

/// A set-up under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identify {
    at: At,
    /// No more than the least: one line less to fail, and the default clock.
    careful: bool,
    version_2: bool,
    by_sector: bool,
    cid: Cid,
    csd: Option<Csd>,
    scr: Option<Scr>,
    address: u16,
    four_lines: bool,
    high_speed: bool,
}

impl Identify {
    /// The beginning of one; a `careful` one does without high speed.
    pub(super) const fn new(careful: bool) -> Self {
        Self {
            at: At::Begin,
            careful,
            version_2: false,
            by_sector: false,
            cid: Cid::new(0),
            csd: None,
            scr: None,
            address: 0,
            four_lines: false,
            high_speed: false,
        }
    }

    /// What to do next, now that the last job has ended so. The first time, and after a wait, `last` means nothing.
    pub(super) fn next(
        &mut self,
        last: Result<Answer, Failure>,
        small: &[u8; MOST_SMALL],
        now: u64,
    ) -> Step {
        match self.at {
            At::Begin | At::Reset | At::PowerUp | At::Idle => self.waken(last, now),
            At::Interface(_) | At::Application(_) | At::Operating(_) | At::Pause(_) => {
                self.operate(last, now)
            }
            At::AllCid | At::Address(_) | At::ReadCsd | At::Select | At::Clock => {
                self.identify(last)
            }
            At::ScrApplication
            | At::ReadScr
            | At::WidthApplication
            | At::Width
            | At::FourLines
            | At::BlockLength => self.configure(last, small),
            At::LookAtSpeed | At::SetSpeed | At::FastClock | At::Status(_) => {
                self.speed_up(last, small)
            }
        }
    }

    fn ask(&mut self, at: At, command: Command) -> Step {
        self.go(at, Job::Exchange(command))
    }

    fn go(&mut self, at: At, job: Job) -> Step {
        self.at = at;
        Step::Do(job)
    }

    fn waken(&mut self, last: Result<Answer, Failure>, now: u64) -> Step {
        match (self.at, last) {
            (At::Begin, _) => self.go(At::Reset, Job::Reset),
            (At::Reset, Ok(_)) => {
                self.at = At::PowerUp;
                Step::Wait(now + POWER_UP)
            }
            (At::PowerUp, _) => self.ask(At::Idle, Command::go_idle()),
            (At::Idle, Ok(_)) => {
                self.ask(At::Interface(TRIES), Command::send_interface_condition())
            }
            _ => Step::Failed,
        }
    }

    fn operate(&mut self, last: Result<Answer, Failure>, now: u64) -> Step {
        match (self.at, last) {
            (At::Interface(_), Ok(answer)) if answer.short & 0xfff == INTERFACE_CONDITION => {
                self.version_2 = true;
                self.application(now + OPERATING_PATIENCE)
            }
            // Version 1, or nobody.
            (At::Interface(_), Err(Failure::NoAnswer)) => {
                self.application(now + OPERATING_PATIENCE)
            }
            (At::Interface(tries), _) if tries > 1 => self.ask(
                At::Interface(tries - 1),
                Command::send_interface_condition(),
            ),
            (At::Application(until), Ok(_)) => self.ask(
                At::Operating(until),
                Command::operating_condition(self.version_2),
            ),
            (At::Application(_), Err(Failure::NoAnswer)) => Step::Absent,
            (At::Operating(until), Ok(answer)) => {
                let ocr = Ocr(answer.short);
                if !ocr.allows(VOLTAGES) {
                    return Step::Failed;
                }
                if ocr.is_ready() {
                    self.by_sector = self.version_2 && ocr.high_capacity();
                    return self.ask(At::AllCid, Command::all_send_cid());
                }
                if now >= until {
                    return Step::Failed;
                }
                self.at = At::Pause(until);
                Step::Wait(now + OPERATING_PAUSE)
            }
            (At::Pause(until), _) => self.application(until),
            _ => Step::Failed,
        }
    }

    fn application(&mut self, until: u64) -> Step {
        self.ask(At::Application(until), Command::application(0))
    }

    fn identify(&mut self, last: Result<Answer, Failure>) -> Step {
        let Ok(answer) = last else {
            return Step::Failed;
        };
        match self.at {
            At::AllCid => {
                self.cid = Cid::new(answer.long);
                self.ask(At::Address(TRIES), Command::send_relative_address())
            }
            At::Address(tries) => {
                self.address = (answer.short >> 16) as u16;
                // 0 is everybody's: another one can be had (PLSS 4.9.5).
                match (self.address, tries) {
                    (0, 2..) => self.ask(At::Address(tries - 1), Command::send_relative_address()),
                    (0, _) => Step::Failed,
                    (address, _) => self.ask(At::ReadCsd, Command::send_csd(address)),
                }
            }
            At::ReadCsd => {
                self.csd = Csd::decode(answer.long);
                match self.csd {
                    // A card that means bytes and sectors at once means neither.
                    Some(csd) if csd.high_capacity == self.by_sector => {
                        self.ask(At::Select, Command::select(self.address))
                    }
                    _ => Step::Failed,
                }
            }
            // A locked card takes no other command that is of use.
            At::Select if answer.short & status::CARD_IS_LOCKED != 0 => Step::Failed,
            At::Select => self.go(At::Clock, Job::Clock(DEFAULT_HZ)),
            _ => self.ask(At::ScrApplication, Command::application(self.address)),
        }
    }

    fn configure(&mut self, last: Result<Answer, Failure>, small: &[u8; MOST_SMALL]) -> Step {
        let Ok(answer) = last else {
            return Step::Failed;
        };
        let application = answer.short & status::APP_CMD != 0;
        match self.at {
            At::ScrApplication if application => self.ask(At::ReadScr, Command::send_scr()),
            At::ReadScr => {
                let [a, b, c, d, e, f, g, h, ..] = *small;
                self.scr = Scr::decode([a, b, c, d, e, f, g, h]);
                match self.scr {
                    Some(scr) if scr.four_lines => {
                        self.ask(At::WidthApplication, Command::application(self.address))
                    }
                    Some(_) => self.set_length(),
                    None => Step::Failed,
                }
            }
            At::WidthApplication if application => self.ask(At::Width, Command::set_bus_width_4()),
            At::Width => {
                self.four_lines = true;
                self.go(At::FourLines, Job::FourLines)
            }
            At::FourLines => self.set_length(),
            At::BlockLength => self.look_at_speed(),
            _ => Step::Failed,
        }
    }

    /// Blocks of 512 bytes are the only ones of cards that are addressed by sector.
    fn set_length(&mut self) -> Step {
        match self.by_sector {
            true => self.look_at_speed(),
            false => self.ask(At::BlockLength, Command::set_block_length()),
        }
    }

    fn look_at_speed(&mut self) -> Step {
        let knows = self.scr.is_some_and(|scr| scr.version_1_10)
            && self.csd.is_some_and(|csd| csd.switches);
        match knows && !self.careful {
            true => self.ask(At::LookAtSpeed, Command::switch_to_high_speed(false)),
            false => self.look_at_status(),
        }
    }

    fn look_at_status(&mut self) -> Step {
        self.ask(At::Status(TRIES), Command::send_status(self.address))
    }

    fn speed_up(&mut self, last: Result<Answer, Failure>, small: &[u8; MOST_SMALL]) -> Step {
        match (self.at, last) {
            (At::LookAtSpeed, Ok(_)) if chose_high_speed(small) => {
                self.ask(At::SetSpeed, Command::switch_to_high_speed(true))
            }
            // It may say that it does not know the command; its clock stays.
            (At::LookAtSpeed, Ok(_) | Err(Failure::Refused(_))) => self.look_at_status(),
            (At::SetSpeed, Ok(_)) if chose_high_speed(small) => {
                self.high_speed = true;
                self.go(At::FastClock, Job::Clock(HIGH_SPEED_HZ))
            }
            (At::SetSpeed, Ok(_)) => self.look_at_status(),
            (At::FastClock, Ok(_)) => self.look_at_status(),
            (At::Status(_), Ok(answer)) if State::of(answer.short) == State::Transfer => {
                self.done()
            }
            (At::Status(tries), _) if tries > 1 => {
                self.ask(At::Status(tries - 1), Command::send_status(self.address))
            }
            _ => Step::Failed,
        }
    }

    fn done(&self) -> Step {
        let Some(csd) = self.csd else {
            return Step::Failed;
        };
        Step::Done(Card {
            cid: self.cid,
            csd,
            address: self.address,
            by_sector: self.by_sector,
            four_lines: self.four_lines,
            high_speed: self.high_speed,
        })
    }
}
