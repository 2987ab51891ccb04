//! Checkpoints: what a guest has granted, when it waits to be looked at, and what was found then.

use std::time::Duration;

use exopi_abi::capability::Rights;

use super::findings::{Finding, Problem, counted};
use super::{Grant, Runner, Stage};

/// Most grants that are remembered, far more than suites make.
const MOST_GRANTS: usize = 10_000;

/// What is known of checkpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Checkpoints {
    /// Whether somebody looks at the guest at each.
    checked: bool,
    /// Whether a case has ended since the last one.
    pub(super) missing: bool,
    /// The suite of the one at which the guest waits.
    waiting: Option<String>,
    grants: Vec<Grant>,
}

impl Runner {
    /// Every case must be followed by a checkpoint before the end: somebody looks at the guest there.
    pub fn with_checks(mut self) -> Self {
        self.checkpoints.checked = true;
        self
    }

    /// The suite after which the guest waits to be looked at, told once. When that is done, it is to be told
    /// by [`Runner::checked`], and the guest by a byte on its console.
    pub fn checkpoint(&mut self) -> Option<String> {
        self.checkpoints.waiting.take()
    }

    /// What suites say that they have granted so far. What was granted once may lie about in memory for good.
    pub fn grants(&self) -> &[Grant] {
        &self.checkpoints.grants
    }

    /// The guest was looked at, and this is wrong with it. Time has come this far.
    pub fn checked(&mut self, suite: &str, wrong: Vec<String>, now: Duration) {
        self.now = self.now.max(now);
        // The guest stood still meanwhile.
        self.since = self.now;
        if !wrong.is_empty() {
            let what = counted(wrong.len() as u64, "violation");
            self.summary.problems += 1;
            self.news.push(Finding::Problem(Problem {
                what: format!("check after the suite {suite}: {what}"),
                console: wrong,
            }));
        }
    }

    pub(super) fn reached(&mut self, suite: &str) {
        if self.stage != Stage::Between {
            return self.problem(format!("a checkpoint of {suite} in the middle of a case"));
        }
        self.checkpoints.missing = false;
        self.checkpoints.waiting = Some(suite.to_owned());
    }

    pub(super) fn granted(&mut self, kind: &str, index: u32, count: u32, rights: u16) {
        if self.checkpoints.grants.len() >= MOST_GRANTS {
            return self.give_up(format!("more than {MOST_GRANTS} grants"));
        }
        match Grant::kind_named(kind) {
            Some(kind) => self.checkpoints.grants.push(Grant {
                kind,
                index,
                count,
                rights: Rights::from_bits(rights),
            }),
            None => self.problem(format!("a grant of {kind}, which is no kind of object")),
        }
    }

    /// The end line came.
    pub(super) fn end_checks(&mut self) {
        let Checkpoints {
            checked, missing, ..
        } = self.checkpoints;
        if checked && missing {
            let last = self.running.clone();
            self.problem(format!("no checkpoint after the case {last}"));
        }
    }
}
