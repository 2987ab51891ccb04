//! Guests of every kind, told as consoles: each is reported as what it is.

use super::*;

/// What a good guest prints for one case.
const CASE: [&str; 2] = ["R one", "T one ok 1500"];

/// Feeds lines a tenth of a second apart, and gives what was found.
struct Fed {
    runner: Runner,
    now: Duration,
    told: String,
}

impl Fed {
    fn new(link: Link) -> Self {
        Self {
            runner: Runner::new(Limits::default(), link),
            now: Duration::ZERO,
            told: String::new(),
        }
    }

    fn event(&mut self, event: Event) {
        self.now += Duration::from_millis(100);
        self.runner.tick(self.now);
        self.runner.feed(event, self.now);
        self.take_news();
    }

    fn take_news(&mut self) {
        for finding in self.runner.news() {
            self.told.push_str(&finding.to_string());
        }
    }

    fn lines(mut self, lines: &[&str]) -> Self {
        for line in lines {
            self.event(Event::Line(Line::Text((*line).to_owned())));
        }
        self
    }

    fn exit(mut self, status: Result<(), &str>) -> Self {
        self.event(Event::Exit(status.map_err(str::to_owned)));
        self
    }

    fn wait(mut self, seconds: u64) -> Self {
        self.now += Duration::from_secs(seconds);
        self.runner.tick(self.now);
        self.take_news();
        self
    }

    /// Checks that it is over, the counts, and what was told.
    #[track_caller]
    fn ends(self, summary: &str, told: &[&str]) {
        assert!(self.runner.is_over(), "not over; told:\n{}", self.told);
        for part in told {
            assert!(
                self.told.contains(part),
                "{part:?} is not in:\n{}",
                self.told
            );
        }
        assert_eq!(self.runner.summary().to_string(), summary, "{}", self.told);
    }
}

fn guest(lines: &[&str]) -> Fed {
    Fed::new(Link::Emulator).lines(lines)
}

#[test]
fn good_guest_passes() {
    guest(&["[0.1] board", "P s 2 7", CASE[0], "hello", CASE[1]])
        .lines(&["R two", "T two skip 3 no such device", "E s 1 0 1 7"])
        .exit(Ok(()))
        .ends(
            "1 passed, 0 failed, 1 skipped",
            &[
                "suite s: 2 cases\n",
                "ok    one  (1.5 ms)\n",
                "skip  two  (0.0 ms): no such device\n",
            ],
        );
}

#[test]
fn failed_case_is_shown_with_its_console() {
    guest(&["P s 2 7", CASE[0], "not mine", CASE[1]])
        .lines(&["R two", "mine", "T two fail 3 left is 1", "E s 1 1 0 7"])
        .exit(Err("status 1"))
        .ends(
            "1 passed, 1 failed",
            &["FAIL  two  (0.0 ms): left is 1\n      | mine\n      | T two"],
        );
}

#[test]
fn each_silence_has_its_name() {
    guest(&["[0.1] board"])
        .wait(20)
        .ends("0 passed, 1 failed", &["FAIL  no plan line within 20 s"]);
    guest(&["P s 1 7"]).wait(20).ends(
        "0 passed, 1 failed",
        &["FAIL  no case began within 20 s after the plan"],
    );
    guest(&["P s 1 7", CASE[0]])
        .wait(20)
        .ends("0 passed, 1 failed", &["FAIL  one: no result within 20 s"]);
    guest(&["P s 2 7", CASE[0], CASE[1]]).wait(20).ends(
        "1 passed, 1 failed",
        &["FAIL  silence for 20 s after the case one"],
    );
    guest(&["P s 1 7", CASE[0], CASE[1], "E s 1 0 0 7"])
        .wait(10)
        .ends(
            "1 passed, 1 failed",
            &["FAIL  the emulator still ran 10 s after the end line"],
        );
}

#[test]
fn total_time_is_bounded_though_every_case_is_fast() {
    let mut fed = guest(&["P s 100000 7"]);
    let mut case = 0;
    while !fed.runner.is_over() {
        let (begin, end) = (format!("R c{case}"), format!("T c{case} ok 1"));
        fed = fed.lines(&[&begin, &end]);
        case += 1;
    }
    assert!(fed.now < Duration::from_secs(601));
    assert!(fed.told.contains("not done after 600 s in total"));
}

#[test]
fn deadline_is_when_something_will_be_wrong() {
    let fed = guest(&["P s 1 7", CASE[0]]);
    assert_eq!(fed.runner.deadline(), fed.now + Duration::from_secs(20));
}

#[test]
fn kernel_failure_is_told_with_its_record() {
    let record = [
        "KERNEL PANIC on core 2: no",
        "x0 1",
        "backtrace:",
        "  at 0x1",
    ];
    guest(&["P s 1 7", CASE[0]])
        .lines(&record)
        .exit(Err("status 70"))
        .ends(
            "0 passed, 1 failed",
            &[
                "FAIL  one: kernel failure: KERNEL PANIC on core 2: no",
                "      | x0 1\n      | backtrace:\n      |   at 0x1\n",
            ],
        );
    // The emulator need not end.
    guest(&["KERNEL EXCEPTION on core 0: x", "backtrace:"])
        .wait(3)
        .ends(
            "0 passed, 1 failed",
            &[
                "FAIL  kernel failure: KERNEL EXCEPTION on core 0: x\n",
                "| backtrace:",
            ],
        );
}

#[test]
fn kernels_refusals_are_failures() {
    guest(&["boot image refused: no first program"])
        .exit(Err("status 65"))
        .ends(
            "0 passed, 1 failed",
            &["FAIL  boot image refused: no first program"],
        );
    guest(&[
        "P s 1 7",
        CASE[0],
        "first environment suspended: data abort",
    ])
    .exit(Err("status 71"))
    .ends(
        "0 passed, 1 failed",
        &["FAIL  one: first environment suspended: data abort"],
    );
}

#[test]
fn warnings_of_the_kernel_are_failures() {
    for warning in ["warning: x", "[  1.250] warning: x"] {
        guest(&["P s 1 7", CASE[0], warning, CASE[1], "E s 1 0 0 7"])
            .exit(Ok(()))
            .ends("1 passed, 1 failed", &["FAIL  kernel warning: x"]);
    }
}

#[test]
fn lost_and_won_pages_are_failures() {
    guest(&["P s 1 7", CASE[0], CASE[1], "E s 1 0 0 5"])
        .exit(Ok(()))
        .ends(
            "1 passed, 1 failed",
            &["FAIL  2 pages lost: 7 were free before, 5 after"],
        );
    guest(&["P s 1 7", CASE[0], CASE[1], "E s 1 0 0 8"])
        .exit(Ok(()))
        .ends("1 passed, 1 failed", &["1 page won"]);
}

#[test]
fn lies_about_counts_are_failures() {
    guest(&["P s 1 7", CASE[0], CASE[1], "E s 2 0 0 7"])
        .exit(Ok(()))
        .ends(
            "1 passed, 1 failed",
            &["the end line counts 2 passed, 0 failed, 0 skipped, but the records 1, 0, 0"],
        );
    guest(&["P s 3 7", CASE[0], CASE[1], "E s 1 0 0 7"])
        .exit(Ok(()))
        .ends("1 passed, 1 failed", &["only 1 of 3 planned cases ran"]);
    guest(&[
        "P s 1 7",
        CASE[0],
        CASE[1],
        "R two",
        "T two ok 1",
        "E s 2 0 0 7",
    ])
    .exit(Ok(()))
    .ends(
        "2 passed, 1 failed",
        &["more cases than the 1 that were planned: two"],
    );
    guest(&["P s 1 7", CASE[0], CASE[1], "E other 1 0 0 7"])
        .exit(Ok(()))
        .ends(
            "1 passed, 1 failed",
            &["the end line is of the suite other"],
        );
}

#[test]
fn records_out_of_turn_are_failures() {
    guest(&["P s 2 7", CASE[0], CASE[1], CASE[0], CASE[1], "E s 2 0 0 7"])
        .exit(Ok(()))
        .ends("2 passed, 1 failed", &["the case one ran twice"]);
    guest(&["P s 1 7", "T one ok 1", CASE[0], CASE[1], "E s 1 0 0 7"])
        .exit(Ok(()))
        .ends(
            "1 passed, 1 failed",
            &["a result of one, which was not running"],
        );
    guest(&["P s 2 7", CASE[0], "R two", "T two ok 1", "E s 1 1 0 7"])
        .exit(Err("status 1"))
        .ends(
            "1 passed, 1 failed",
            &["FAIL  one: no result before two began"],
        );
    guest(&["P s 1 7", CASE[0], "E s 0 1 0 7"])
        .exit(Ok(()))
        .ends(
            "0 passed, 1 failed",
            &["FAIL  one: no result before the end line"],
        );
    guest(&[
        "P s 1 7",
        "P s 1 7",
        CASE[0],
        CASE[1],
        "E s 1 0 0 7",
        "R two",
    ])
    .exit(Ok(()))
    .ends(
        "1 passed, 2 failed",
        &["a second plan line", "a record after the end line: R two"],
    );
    guest(&["R zero", "P s 1 7", CASE[0], CASE[1], "E s 1 0 0 7"])
        .exit(Ok(()))
        .ends("1 passed, 1 failed", &["a record before the plan: R zero"]);
}

#[test]
fn ends_out_of_turn_are_failures() {
    guest(&["[0.1] board"]).exit(Ok(())).ends(
        "0 passed, 1 failed",
        &["the emulator ended with success before the plan line"],
    );
    guest(&["P s 1 7", CASE[0]]).exit(Err("status 3")).ends(
        "0 passed, 1 failed",
        &["FAIL  one: the emulator ended with status 3 in the middle of the case"],
    );
    guest(&["P s 2 7", CASE[0], CASE[1]]).exit(Ok(())).ends(
        "1 passed, 1 failed",
        &["the emulator ended with success before the end line, after 1 case"],
    );
    guest(&["P s 1 7", CASE[0], CASE[1], "E s 1 0 0 7"])
        .exit(Err("status 3"))
        .ends(
            "1 passed, 1 failed",
            &["the emulator ended with status 3 though everything passed"],
        );
}

#[test]
fn garbage_is_a_failure_and_bounded() {
    let mut fed = guest(&["P s 1 7", CASE[0]]);
    fed.event(Event::Line(Line::Noise("\u{fffd}".to_owned())));
    fed.event(Event::Line(Line::Overlong("x".repeat(LONGEST))));
    fed.lines(&[CASE[1], "E s 1 0 0 7"]).exit(Ok(())).ends(
        "1 passed, 2 failed",
        &["bytes that are no text", "a line longer than 4096 bytes"],
    );
    let mut flood = guest(&[]);
    for _ in 0..MOST_PROBLEMS + 1 {
        flood.event(Event::Line(Line::Noise("\u{fffd}".to_owned())));
    }
    flood.ends("0 passed, 52 failed", &["too many problems"]);
}

#[test]
fn serial_line_may_begin_with_noise_and_ends_with_the_end_line() {
    let serial = || {
        let mut fed = Fed::new(Link::Serial);
        fed.event(Event::Line(Line::Noise("\u{fffd}".to_owned())));
        fed.lines(&["P s 1 7", CASE[0]])
    };
    serial()
        .lines(&[CASE[1], "E s 1 0 0 7"])
        .ends("1 passed, 0 failed", &["ok    one"]);
    let mut closed = serial();
    closed.event(Event::Closed);
    closed.ends(
        "0 passed, 1 failed",
        &["FAIL  one: the serial line closed in the middle of the case"],
    );
}

/// As [`guest`], of whom somebody looks at memory.
fn watched(lines: &[&str]) -> Fed {
    let mut fed = Fed::new(Link::Emulator);
    fed.runner = fed.runner.with_checks();
    fed.lines(lines)
}

#[test]
fn checkpoint_is_told_once() {
    let mut fed = watched(&["P s 1 7", CASE[0], CASE[1], "G page 4096 2 3", "C some"]);
    assert_eq!(fed.runner.checkpoint().as_deref(), Some("some"));
    assert_eq!(fed.runner.checkpoint(), None);
    let granted: Vec<_> = fed.runner.grants().iter().map(Grant::to_string).collect();
    assert_eq!(granted, ["page 0x1000+2 rights 0x3"]);
    fed.runner.checked("some", Vec::new(), fed.now);
    fed.lines(&["E s 1 0 0 7"])
        .exit(Ok(()))
        .ends("1 passed, 0 failed", &[]);
}

#[test]
fn violations_fail_the_run() {
    let mut fed = watched(&["P s 1 7", CASE[0], CASE[1], "C some"]);
    let wrong = vec!["stamp: a".to_owned(), "list: b".to_owned()];
    fed.runner.checked("some", wrong, fed.now);
    fed.lines(&["E s 1 0 0 7"]).exit(Err("status 1")).ends(
        "1 passed, 1 failed",
        &["FAIL  check after the suite some: 2 violations\n      | stamp: a\n      | list: b"],
    );
}

#[test]
fn time_stands_still_during_a_check() {
    let mut fed = watched(&["P s 1 7", CASE[0], CASE[1], "C some"]);
    fed.now += Duration::from_secs(19);
    fed.runner.checked("some", Vec::new(), fed.now);
    fed.wait(19)
        .lines(&["E s 1 0 0 7"])
        .exit(Ok(()))
        .ends("1 passed, 0 failed", &[]);
}

#[test]
fn checkpoint_that_does_not_come_is_missed() {
    watched(&["P s 1 7", CASE[0], CASE[1], "E s 1 0 0 7"])
        .exit(Ok(()))
        .ends("1 passed, 1 failed", &["no checkpoint after the case one"]);
    guest(&["P s 1 7", CASE[0], CASE[1], "E s 1 0 0 7"])
        .exit(Ok(()))
        .ends("1 passed, 0 failed", &[]);
}

#[test]
fn odd_checkpoints_and_grants_are_told() {
    watched(&["P s 1 7", CASE[0], "C some", "G thing 1 1 1", CASE[1]])
        .lines(&["C some", "E s 1 0 0 7"])
        .exit(Ok(()))
        .ends(
            "1 passed, 2 failed",
            &[
                "a checkpoint of some in the middle",
                "a grant of thing, which",
            ],
        );
}
