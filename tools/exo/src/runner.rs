//! The runner's judgement: what a guest that speaks the suites' protocol did, and what was wrong
//! with it. Events and times in, findings out; no process, clock or terminal, so that every way for
//! a guest to go wrong is tested by feeding.
//!
//! ```text
//!   Booting --P--> Between --R--> Running --T--> Between ... --E--> Ended --exit--> Over
//!      any stage  --kernel failure--> Dying --exit or a moment later--> Over
//!      any stage  --its time is over--> Over
//! ```
//!
//! A guest passes only if it says so in every way there is: records, counts, pages, exit status.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use exopi_protocol::{Record, Verdict};

use crate::check::Grant;
use crate::lines::{LONGEST, Line, without_time};

mod checkpoints;
mod findings;

use checkpoints::Checkpoints;

use findings::counted;
pub use findings::{Case, Finding, Problem, Summary};

/// How long a guest may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A case, and also what comes before the plan (of a board, three times that) and between cases.
    pub case: Duration,
    /// From the end line to the end of the emulator.
    pub ending: Duration,
    /// From the begin of a kernel failure's record to the end of the emulator.
    pub dying: Duration,
    /// Everything.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            case: Duration::from_secs(20),
            ending: Duration::from_secs(10),
            dying: Duration::from_secs(3),
            total: Duration::from_secs(600),
        }
    }
}

impl Limits {
    /// From the begin to the plan. With a board that is time for somebody to turn it on, and for its
    /// firmware.
    fn boot(&self, link: Link) -> Duration {
        match link {
            Link::Emulator => self.case,
            Link::Serial => self.case.saturating_mul(3),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The guest printed a line.
    Line(Line),
    /// The emulator ended, with this status in words if it is not success.
    Exit(Result<(), String>),
    /// The serial line closed.
    Closed,
}

/// What the guest is connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The emulator: there is an exit status, and every byte is the guest's.
    Emulator,
    /// A serial line: the end line ends it, and what comes before the plan may be anything.
    Serial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Booting,
    Between,
    Running,
    Dying,
    Ended,
    Over,
}

/// Most lines of the console that are kept to be shown with a failure.
const KEPT: usize = 60;
/// Most problems that are listed: a guest may make one with each line.
const MOST_PROBLEMS: u64 = 50;
/// Most cases whose names are remembered, far more than any plan has.
const MOST_CASES: usize = 100_000;

#[derive(Clone, Debug)]
struct Plan {
    suite: String,
    cases: u64,
    free_pages: u64,
}

/// Follows one guest.
#[derive(Clone, Debug)]
pub struct Runner {
    limits: Limits,
    link: Link,
    stage: Stage,
    /// When the stage began.
    since: Duration,
    now: Duration,
    plan: Option<Plan>,
    /// Name of the case that runs.
    running: String,
    names: HashSet<String>,
    console: VecDeque<String>,
    checkpoints: Checkpoints,
    summary: Summary,
    /// Findings that nobody has taken yet.
    news: Vec<Finding>,
    /// The failure of a guest that is dying, whose record is being collected.
    dying: Option<Finding>,
}

impl Runner {
    /// A runner for a guest that is started now.
    pub fn new(limits: Limits, link: Link) -> Self {
        Self {
            limits,
            link,
            stage: Stage::Booting,
            since: Duration::ZERO,
            now: Duration::ZERO,
            plan: None,
            running: String::new(),
            names: HashSet::new(),
            console: VecDeque::new(),
            checkpoints: Checkpoints::default(),
            summary: Summary::default(),
            news: Vec::new(),
            dying: None,
        }
    }

    /// Nothing more is expected: whatever still runs can be ended.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Findings since the last time.
    pub fn news(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.news)
    }

    /// Counts so far; final once it is over.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// When [`Runner::tick`] must be called at the latest.
    pub fn deadline(&self) -> Duration {
        self.limit().min(self.limits.total)
    }

    fn limit(&self) -> Duration {
        self.since.saturating_add(match self.stage {
            Stage::Booting => self.limits.boot(self.link),
            Stage::Between | Stage::Running => self.limits.case,
            Stage::Dying => self.limits.dying,
            Stage::Ended | Stage::Over => self.limits.ending,
        })
    }

    /// Time has come this far since the guest was started.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.now >= self.limit() {
            self.stage_timed_out();
        } else if self.now >= self.limits.total {
            let total = self.limits.total.as_secs_f64();
            self.give_up(format!("not done after {total} s in total"));
        }
    }

    fn stage_timed_out(&mut self) {
        let case = self.limits.case.as_secs_f64();
        match self.stage {
            Stage::Booting => {
                let boot = self.limits.boot(self.link).as_secs_f64();
                self.give_up(format!("no plan line within {boot} s"));
            }
            Stage::Between if self.names.is_empty() => {
                self.give_up(format!("no case began within {case} s after the plan"));
            }
            Stage::Between => {
                let last = self.running.clone();
                self.give_up(format!("silence for {case} s after the case {last}"));
            }
            Stage::Running => self.give_up(format!("no result within {case} s")),
            Stage::Ended => {
                let ending = self.limits.ending.as_secs_f64();
                self.give_up(format!(
                    "the emulator still ran {ending} s after the end line"
                ));
            }
            Stage::Dying => self.enter(Stage::Over),
            Stage::Over => {}
        }
    }

    /// Something happened, at this time since the guest was started.
    pub fn feed(&mut self, event: Event, now: Duration) {
        self.now = self.now.max(now);
        if self.is_over() {
            return;
        }
        match event {
            Event::Line(Line::Text(text)) => {
                self.keep(&text);
                self.text(&text);
            }
            Event::Line(Line::Noise(text)) => {
                self.keep(&text);
                self.bad_line("bytes that are no text on the console");
            }
            Event::Line(Line::Overlong(begin)) => {
                // Enough to recognise it.
                self.keep(&format!(
                    "{}...",
                    begin.chars().take(200).collect::<String>()
                ));
                self.bad_line(&format!("a line longer than {LONGEST} bytes"));
            }
            Event::Exit(status) => self.exit(status),
            Event::Closed => self.give_up(format!("the serial line closed {}", self.place())),
        }
    }

    fn keep(&mut self, line: &str) {
        if self.stage == Stage::Dying {
            let finding = self.dying.as_mut().and_then(Finding::console_mut);
            if let Some(console) = finding.filter(|console| console.len() < 2 * KEPT) {
                console.push(line.to_owned());
            }
            return;
        }
        if self.console.len() == KEPT {
            self.console.pop_front();
        }
        self.console.push_back(line.to_owned());
    }

    /// A serial line may carry anything until the guest speaks.
    fn bad_line(&mut self, what: &str) {
        if self.link == Link::Emulator || self.stage != Stage::Booting {
            self.problem(what.to_owned());
        }
    }

    fn text(&mut self, text: &str) {
        if self.stage == Stage::Dying {
            return;
        }
        if text.starts_with("KERNEL ") {
            return self.die(format!("kernel failure: {text}"));
        }
        if text.starts_with("boot image refused:")
            || text.starts_with("first environment suspended:")
        {
            return self.die(text.to_owned());
        }
        if without_time(text).starts_with("warning:") {
            return self.problem(format!("kernel {}", without_time(text)));
        }
        if let Some(record) = Record::parse(text) {
            self.record(record);
        }
    }

    fn record(&mut self, record: Record<'_>) {
        if self.stage == Stage::Ended {
            return self.problem(format!("a record after the end line: {record}"));
        }
        if self.plan.is_none() && !matches!(record, Record::Plan { .. }) {
            return self.problem(format!("a record before the plan: {record}"));
        }
        match record {
            Record::Plan {
                suite,
                cases,
                free_pages,
            } => self.planned(suite, cases, free_pages),
            Record::Running { case } => self.began(case),
            Record::Case {
                case,
                verdict,
                microseconds,
                detail,
            } => self.result(case, verdict, microseconds, detail),
            Record::End { .. } => self.end(record),
            Record::Checkpoint { suite } => self.reached(suite),
            Record::Grant {
                kind,
                index,
                count,
                rights,
            } => self.granted(kind, index, count, rights),
            Record::Bench { .. } | Record::Event { .. } => {}
        }
    }

    fn planned(&mut self, suite: &str, cases: u64, free_pages: u64) {
        if self.plan.is_some() {
            return self.problem("a second plan line".to_owned());
        }
        self.plan = Some(Plan {
            suite: suite.to_owned(),
            cases,
            free_pages,
        });
        self.news.push(Finding::Plan {
            suite: suite.to_owned(),
            cases,
        });
        self.enter(Stage::Between);
    }

    fn began(&mut self, case: &str) {
        self.fail_running(&format!("no result before {case} began"));
        // The console before a case belongs to the one before.
        self.console.clear();
        self.running = case.to_owned();
        self.enter(Stage::Running);
        if self.names.len() >= MOST_CASES {
            return self.give_up(format!("more than {MOST_CASES} cases"));
        }
        if !self.names.insert(case.to_owned()) {
            self.problem(format!("the case {case} ran twice"));
        } else if let Some(plan) = &self.plan
            && self.names.len() as u64 == plan.cases + 1
        {
            let planned = plan.cases;
            self.problem(format!(
                "more cases than the {planned} that were planned: {case}"
            ));
        }
    }

    fn result(&mut self, case: &str, verdict: Verdict, microseconds: u64, detail: &str) {
        if self.stage != Stage::Running || self.running != case {
            return self.problem(format!("a result of {case}, which was not running"));
        }
        let time = Duration::from_micros(microseconds);
        self.checkpoints.missing = true;
        self.case_ends(verdict, Some(time), detail.to_owned());
        self.enter(Stage::Between);
    }

    fn case_ends(&mut self, verdict: Verdict, time: Option<Duration>, detail: String) {
        match verdict {
            Verdict::Ok => self.summary.passed += 1,
            Verdict::Fail => self.summary.failed_cases += 1,
            Verdict::Skip => self.summary.skipped += 1,
        }
        let console = match verdict {
            Verdict::Fail => self.console.iter().cloned().collect(),
            Verdict::Ok | Verdict::Skip => Vec::new(),
        };
        self.news.push(Finding::Case(Case {
            name: self.running.clone(),
            verdict,
            time,
            detail,
            console,
        }));
    }

    fn end(&mut self, record: Record<'_>) {
        let Record::End {
            suite,
            passed,
            failed,
            skipped,
            free_pages,
        } = record
        else {
            return;
        };
        self.fail_running("no result before the end line");
        self.end_checks();
        self.enter(Stage::Ended);
        if let Some(plan) = self.plan.clone() {
            self.compare_with_plan(&plan, suite, free_pages);
        }
        let seen = self.summary;
        if (passed, failed, skipped) != (seen.passed, seen.failed_cases, seen.skipped) {
            self.problem(format!(
                "the end line counts {passed} passed, {failed} failed, {skipped} skipped, but the \
                 records {}, {}, {}",
                seen.passed, seen.failed_cases, seen.skipped
            ));
        }
        if self.link == Link::Serial {
            self.enter(Stage::Over);
        }
    }

    fn compare_with_plan(&mut self, plan: &Plan, suite: &str, free_pages: u64) {
        if suite != plan.suite {
            self.problem(format!(
                "the end line is of the suite {suite}, the plan of {}",
                plan.suite
            ));
        }
        if self.summary.cases() < plan.cases {
            self.problem(format!(
                "only {} of {} planned cases ran",
                self.summary.cases(),
                plan.cases
            ));
        }
        let pages = (plan.free_pages, free_pages);
        if pages.0 != pages.1 {
            let (what, by) = if pages.1 < pages.0 {
                ("lost", pages.0 - pages.1)
            } else {
                ("won", pages.1 - pages.0)
            };
            self.problem(format!(
                "{} {what}: {} were free before, {} after",
                counted(by, "page"),
                pages.0,
                pages.1
            ));
        }
    }

    fn exit(&mut self, status: Result<(), String>) {
        match (self.stage, status) {
            (Stage::Dying | Stage::Over, _) => {}
            // Failed cases give a failing status, as they should.
            (Stage::Ended, Ok(())) => {}
            (Stage::Ended, Err(_)) if self.summary.failed() > 0 => {}
            (Stage::Ended, Err(status)) => {
                self.problem(format!(
                    "the emulator ended with {status} though everything passed"
                ));
            }
            (_, status) => {
                let status = status.err().unwrap_or("success".to_owned());
                let place = self.place();
                return self.give_up(format!("the emulator ended with {status} {place}"));
            }
        }
        self.enter(Stage::Over);
    }

    fn place(&self) -> String {
        match self.stage {
            Stage::Booting => "before the plan line".to_owned(),
            Stage::Running => "in the middle of the case".to_owned(),
            _ => format!(
                "before the end line, after {}",
                counted(self.summary.cases(), "case")
            ),
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = self.now;
        if stage == Stage::Over {
            self.news.extend(self.dying.take());
        }
    }

    /// A failure that the guest does not survive: its record follows.
    fn die(&mut self, what: String) {
        self.blame(what);
        self.dying = self.news.pop();
        self.enter(Stage::Dying);
    }

    fn fail_running(&mut self, why: &str) {
        if self.stage == Stage::Running {
            self.case_ends(Verdict::Fail, None, why.to_owned());
            self.enter(Stage::Between);
        }
    }

    /// A failure after which nothing is worth waiting for.
    fn give_up(&mut self, what: String) {
        self.blame(what);
        self.enter(Stage::Over);
    }

    /// Notes a failure as the running case's, if there is one.
    fn blame(&mut self, what: String) {
        if self.stage == Stage::Running {
            self.fail_running(&what);
        } else {
            self.note(what);
        }
    }

    /// Notes a failure that belongs to no case, and gives up on a guest that goes on making them.
    fn problem(&mut self, what: String) {
        self.note(what);
        if self.summary.problems > MOST_PROBLEMS {
            self.give_up("too many problems: the rest of the run is not looked at".to_owned());
        }
    }

    fn note(&mut self, what: String) {
        self.summary.problems += 1;
        let console = self.console.iter().cloned().collect();
        self.news.push(Finding::Problem(Problem { what, console }));
    }
}

#[cfg(test)]
mod tests;
