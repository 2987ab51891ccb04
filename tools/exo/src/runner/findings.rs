//! What the runner found, and how it is told.

use std::fmt;
use std::time::Duration;

use exopi_protocol::Verdict;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The suite begins.
    Plan {
        /// Its name.
        suite: String,
        /// Cases that it means to run.
        cases: u64,
    },
    /// A case has ended.
    Case(Case),
    /// Something is wrong that belongs to no case.
    Problem(Problem),
}

/// A case that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took, if it says so.
    pub time: Option<Duration>,
    /// What else there is to say.
    pub detail: String,
    /// The console from its begin on, if it failed.
    pub console: Vec<String>,
}

/// Something wrong that belongs to no case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is.
    pub what: String,
    /// The console up to it, and the record of a failure that follows it.
    pub console: Vec<String>,
}

impl Finding {
    pub(super) fn console_mut(&mut self) -> Option<&mut Vec<String>> {
        match self {
            Self::Plan { .. } => None,
            Self::Case(case) => Some(&mut case.console),
            Self::Problem(problem) => Some(&mut problem.console),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, console) = match self {
            Self::Plan { suite, cases } => {
                return writeln!(f, "suite {suite}: {}", counted(*cases, "case"));
            }
            Self::Case(case) => (case.to_string(), &case.console),
            Self::Problem(problem) => (format!("FAIL  {}", problem.what), &problem.console),
        };
        writeln!(f, "{what}")?;
        for line in console {
            writeln!(f, "      | {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Fail => "FAIL",
            Verdict::Skip => "skip",
        };
        write!(f, "{verdict:<4}  {}", self.name)?;
        if let Some(time) = self.time {
            write!(f, "  ({:.1} ms)", time.as_secs_f64() * 1e3)?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Cases that held.
    pub passed: u64,
    /// Cases that did not.
    pub failed_cases: u64,
    /// Cases that could not be tried.
    pub skipped: u64,
    /// What else was wrong.
    pub problems: u64,
}

impl Summary {
    /// Cases that ended.
    pub fn cases(&self) -> u64 {
        self.passed + self.failed_cases + self.skipped
    }

    /// Everything that was wrong.
    pub fn failed(&self) -> u64 {
        self.failed_cases + self.problems
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed())?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// A number and what it counts.
pub(super) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
