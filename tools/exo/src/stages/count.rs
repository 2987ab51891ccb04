//! Counting: what a run's own lines say about how many cases passed and failed.
//!
//! A summary must never be greener than what ran. So a line counts only in its complete form, the last
//! word of a runner wins over anything that a case may have printed before it, and a run that says
//! nothing, or whose command fails without having named a failure, counts as a failure itself.

use std::fmt;
use std::ops::AddAssign;

/// How many cases passed, failed, and could not be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Cases that held.
    pub(crate) passed: u64,
    /// Cases that did not.
    pub(crate) failed: u64,
    /// Cases that were not tried.
    pub(crate) skipped: u64,
}

impl Tally {
    /// One failure and nothing else.
    pub(crate) const ONE_FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    /// One success and nothing else.
    pub(crate) const ONE_PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };

    /// Whether something ran and nothing failed.
    pub(crate) fn is_green(self) -> bool {
        self.passed > 0 && self.failed == 0
    }

    /// Reads the plain summary line, `N passed, N failed` with or without `, N skipped`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(", ");
        let mut number = |word| number_before(parts.next()?, word);
        let tally = Self {
            passed: number("passed")?,
            failed: number("failed")?,
            skipped: 0,
        };
        let skipped = match parts.next() {
            Some(part) => number_before(part, "skipped")?,
            None => 0,
        };
        parts.next().is_none().then_some(Self { skipped, ..tally })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.skipped {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
    }
}

/// Which lines of a command are its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `cargo test`: one `running N tests` and one `test result: ...` for each test binary.
    CargoTest,
    /// A runner of ours, whose last plain summary line is its word.
    Summary,
    /// No lines: the exit status is the one result.
    Status,
    /// A preparation: no result when it works, one failure when it does not.
    Silent,
}

/// Reads the lines of one command.
pub(crate) struct Counter {
    form: Form,
    closed: Tally,
    open: Option<Group>,
    last: Option<Tally>,
}

/// One test binary of `cargo test`: how many cases it announced, and its result so far.
struct Group {
    announced: u64,
    result: Option<Tally>,
}

impl Counter {
    /// A counter that has read nothing.
    pub(crate) fn new(form: Form) -> Self {
        Self {
            form,
            closed: Tally::default(),
            open: None,
            last: None,
        }
    }

    /// Takes in one line of the command's output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = plain(line);
        match self.form {
            Form::CargoTest => self.cargo_line(&line),
            Form::Summary => self.last = Tally::parse(&line).or(self.last),
            Form::Status | Form::Silent => {}
        }
    }

    fn cargo_line(&mut self, line: &str) {
        if let Some(announced) = announced(line) {
            self.close();
            let result = None;
            self.open = Some(Group { announced, result });
        } else if let Some((tally, all)) = cargo_result(line)
            && let Some(group) = &mut self.open
        {
            // Of several, the harness prints the last: what a case printed by itself comes before it.
            group.result = (all == group.announced).then_some(tally);
        }
    }

    /// A test binary that announced cases and gave no result that fits has crashed.
    fn close(&mut self) {
        if let Some(group) = self.open.take() {
            self.closed += group.result.unwrap_or(Tally::ONE_FAILED);
        }
    }

    /// What the command comes to, once it has ended with or without success.
    pub(crate) fn finish(mut self, success: bool) -> Tally {
        self.close();
        let mut tally = match self.form {
            Form::CargoTest => self.closed,
            Form::Summary => self.last.unwrap_or_default(),
            Form::Status if success => Tally::ONE_PASSED,
            Form::Status | Form::Silent => Tally::default(),
        };
        if !success && tally.failed == 0 {
            tally += Tally::ONE_FAILED;
        }
        tally
    }
}

/// The line without colours and without its end.
fn plain(line: &str) -> String {
    let mut pieces = line.trim_end().split("\x1b[");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once('m') {
            Some((code, rest)) if code.bytes().all(|b| b.is_ascii_digit() || b == b';') => {
                text.push_str(rest);
            }
            _ => text.push_str(piece),
        }
    }
    text
}

/// The number in `<number> <word>`, in plain digits.
fn number_before(part: &str, word: &str) -> Option<u64> {
    let digits = part.strip_suffix(word)?.strip_suffix(' ')?;
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

/// The number in `running <number> test[s]`.
fn announced(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("running ")?;
    number_before(rest, "tests").or_else(|| number_before(rest, "test"))
}

/// The counts in a complete `test result:` line, and how many cases they are together.
fn cargo_result(line: &str) -> Option<(Tally, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let (verdict, rest) = rest.split_once(". ")?;
    let mut parts = rest.split("; ");
    let mut number = |word| number_before(parts.next()?, word);
    let mut tally = Tally {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("ignored")?,
    };
    let measured = number("measured")?;
    number("filtered out")?;
    parts.next()?.strip_prefix("finished in ")?;
    let all = [tally.passed, tally.failed, tally.skipped, measured]
        .into_iter()
        .try_fold(0u64, u64::checked_add)?;
    match (verdict, tally.failed) {
        ("ok", 0) => {}
        ("FAILED", 1..) => {}
        // The harness contradicts itself: believe the worse.
        ("ok" | "FAILED", _) => tally.failed = tally.failed.max(1),
        _ => return None,
    }
    Some((tally, all))
}

#[cfg(test)]
mod tests;
