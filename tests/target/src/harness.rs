//! Cases, which of them run, and what is printed of them.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::panic::Location;
use core::sync::atomic::{AtomicPtr, Ordering};

use exopi_protocol::{Record, Verdict};
use exopi_rt::{Error, ExitCode, args, exposed, println, time};

use crate::catch::{self, Caught};
use crate::checkpoint;
use crate::suites::{self, SUITES};

/// What came of a case: it holds, or this is why not.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a case does not hold, or could not be tried.
#[derive(Debug)]
pub(crate) struct Failure {
    verdict: Verdict,
    detail: String,
}

impl Failure {
    /// A failure with the place where it was noticed.
    #[track_caller]
    pub(crate) fn new(detail: impl AsRef<str>) -> Self {
        let place = Location::caller();
        let file = place.file().rsplit('/').next().unwrap_or("");
        Self {
            verdict: Verdict::Fail,
            detail: format!("{file}:{}: {}", place.line(), detail.as_ref()),
        }
    }
}

impl Failure {
    /// The case cannot be tried here.
    pub(crate) fn skip(reason: &str) -> Self {
        Self {
            verdict: Verdict::Skip,
            detail: reason.into(),
        }
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(format!("a call was refused: {error}"))
    }
}

impl From<Caught> for Failure {
    #[track_caller]
    fn from(caught: Caught) -> Self {
        Self::new(format!(
            "fault: {:x?} at pc {:#x}",
            caught.cause(),
            caught.pc
        ))
    }
}

/// Ends the case with a failure unless the condition holds.
macro_rules! check {
    ($condition:expr) => {
        check!($condition, "{}", stringify!($condition))
    };
    ($condition:expr, $($format:tt)+) => {
        if !$condition {
            return Err($crate::harness::Failure::new(alloc::format!($($format)+)));
        }
    };
}

/// Ends the case with a failure unless both are equal.
macro_rules! check_eq {
    ($left:expr, $right:expr) => {
        check_eq!($left, $right, "{}", stringify!($left))
    };
    ($left:expr, $right:expr, $($format:tt)+) => {
        match (&$left, &$right) {
            (left, right) => check!(
                *left == *right,
                "{} is {left:x?}, not {right:x?}",
                format_args!($($format)+)
            ),
        }
    };
}

/// What a case has to say besides that it holds; null for nothing.
static SAID: AtomicPtr<String> = AtomicPtr::new(core::ptr::null_mut());

/// Has the record of the case that runs say `detail` if the case holds: figures by which one sees that what the case is
/// about has happened at all, where that is not the case's to decide.
pub(crate) fn say(detail: String) {
    drop(swap_said(Box::into_raw(Box::new(detail))));
}

/// What was said until now, with `next` in its place.
fn swap_said(next: *mut String) -> Option<String> {
    let said = SAID.swap(next, Ordering::AcqRel);
    // SAFETY: only `say` puts a pointer there, a box's, and whoever takes it out has it alone.
    (!said.is_null()).then(|| *unsafe { Box::from_raw(said) })
}

/// A case: its name within the suite, and what it does.
pub(crate) type Case = (&'static str, fn() -> Outcome);

/// Cases on one subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    /// Its name; the cases' names begin with it.
    pub(crate) name: &'static str,
    /// Its cases, in the order in which they run.
    pub(crate) cases: &'static [Case],
}

/// A case that was chosen to run, with its full name.
type Chosen = (String, fn() -> Outcome);

/// Runs the suites that the boot arguments choose.
pub(crate) fn main() -> ExitCode {
    catch::install();
    let chosen = choose();
    // What lasts is done now, so that free pages before and after are the same.
    suites::prepare();
    let free_pages = exposed::free_pages();
    let suite = args().value("suite").unwrap_or("target");
    println!(
        "{}",
        Record::Plan {
            suite,
            cases: chosen.len() as u64,
            free_pages,
        }
    );
    let mut counts = [0; 3];
    for part in chosen.chunk_by(|(one, _), (next, _)| suite_of(one) == suite_of(next)) {
        for (name, case) in part {
            counts[run(name, *case) as usize] += 1;
        }
        if let Some((name, _)) = part.first() {
            checkpoint::reach(suite_of(name));
        }
    }
    let [passed, failed, skipped] = counts;
    println!(
        "{}",
        Record::End {
            suite,
            passed,
            failed,
            skipped,
            free_pages: exposed::free_pages(),
        }
    );
    u8::from(failed != 0).into()
}

fn choose() -> Vec<Chosen> {
    let suite = args().value("suite");
    let part = args().value("case").unwrap_or("");
    SUITES
        .iter()
        .filter(|candidate| suite.is_none_or(|name| candidate.name == name))
        .flat_map(|suite| suite.cases.iter().map(|case| (suite.name, case)))
        .map(|(suite, (case, run))| (format!("{suite}:{case}"), *run))
        .filter(|(name, _)| name.contains(part))
        .collect()
}

/// The suite that a case's full name begins with.
fn suite_of(case: &str) -> &str {
    case.split_once(':').map_or(case, |(suite, _)| suite)
}

/// Runs one case and prints its records.
fn run(name: &str, case: fn() -> Outcome) -> Verdict {
    println!("{}", Record::Running { case: name });
    let free_pages = exposed::free_pages();
    let begin = time::ticks();
    let outcome = catch::protected(case);
    let microseconds = time::microseconds(time::ticks() - begin);
    let left = exposed::free_pages();
    let said = swap_said(core::ptr::null_mut()).unwrap_or_default();
    let (verdict, detail) = match outcome {
        Ok(Ok(())) if left != free_pages => (
            Verdict::Fail,
            format!("{free_pages} pages were free before, {left} are now"),
        ),
        Ok(Ok(())) => (Verdict::Ok, said),
        Ok(Err(failure)) => (failure.verdict, failure.detail),
        Err(caught) => (
            Verdict::Fail,
            format!(
                "unexpected fault: {:x?} at pc {:#x}",
                caught.cause(),
                caught.pc
            ),
        ),
    };
    println!(
        "{}",
        Record::Case {
            case: name,
            verdict,
            microseconds,
            detail: &detail,
        }
    );
    verdict
}
