//! `exo test` as a process, with guests that hang, lie, crash and babble: each is reported as what
//! it is, with a failing status, and none outlives the run.

use std::time::{Duration, Instant};

use crate::support::{Fake, text};

/// Console of a guest that is good up to here.
const PLAN: &str = "echo 'P s 1 7'";
const CASE: &str = "echo 'R one'; echo 'T one ok 5'";
const END: &str = "echo 'E s 1 0 0 7'";

/// Runs a guest of these lines and checks status, last line and what is told.
#[track_caller]
fn reported(script: &[&str], summary: &str, told: &str) {
    let fake = Fake::guest(&script.join("\n"));
    let image = fake.image.to_str().unwrap();
    let start = Instant::now();
    let output = fake
        .exo(&["test", "--image", image, "--timeout", "2", "--total", "20"])
        .output()
        .unwrap();
    let all = text(&output);
    assert!(start.elapsed() < Duration::from_secs(25), "{all}");
    assert!(all.contains(told), "{told:?} is not in:\n{all}");
    let last = String::from_utf8_lossy(&output.stdout);
    assert_eq!(last.lines().last(), Some(summary), "{all}");
    let failing = !summary.contains(" 0 failed");
    assert_eq!(output.status.code(), Some(i32::from(failing)), "{all}");
}

#[test]
fn good_guest_passes() {
    reported(&[PLAN, CASE, END], "1 passed, 0 failed", "ok    one");
}

#[test]
fn checkpoint_is_answered() {
    // `read` fails at the end of input, which is what a guest gets that nobody talks to.
    let waits = "echo 'G page 1 2 3'; echo 'C s'; read -r answer || exit 9";
    reported(&[PLAN, CASE, waits, END], "1 passed, 0 failed", "ok    one");
}

#[test]
fn skipped_cases_are_counted() {
    let case = "echo 'R one'; echo 'T one skip 5 no camera'";
    reported(
        &[PLAN, case, "echo 'E s 0 0 1 7'"],
        "0 passed, 0 failed, 1 skipped",
        "skip  one  (0.0 ms): no camera",
    );
}

#[test]
fn hangs_in_a_case() {
    reported(
        &[PLAN, "echo 'R one'", "exec sleep 60"],
        "0 passed, 1 failed",
        "FAIL  one: no result within 2 s",
    );
}

#[test]
fn hangs_before_the_plan() {
    reported(
        &["echo board", "exec sleep 60"],
        "0 passed, 1 failed",
        "FAIL  no plan line within 2 s\n      | board",
    );
}

#[test]
fn hangs_after_the_end_line() {
    reported(
        &[PLAN, CASE, END, "exec sleep 60"],
        "1 passed, 1 failed",
        "FAIL  the emulator still ran 10 s after the end line",
    );
}

#[test]
fn closes_its_console_and_stays() {
    reported(
        &[PLAN, CASE, END, "exec sleep 60 >&-"],
        "1 passed, 1 failed",
        "FAIL  the emulator still ran 10 s after the end line",
    );
}

#[test]
fn does_not_end_when_asked_to() {
    reported(
        &["trap '' TERM", PLAN, "echo 'R one'", "while :; do :; done"],
        "0 passed, 1 failed",
        "FAIL  one: no result within 2 s",
    );
}

#[test]
fn panics() {
    let panic = "echo 'KERNEL PANIC on core 1: oh'; echo 'backtrace:'; echo '  at 0x1'";
    reported(
        &[PLAN, "echo 'R one'", panic, "exit 70"],
        "0 passed, 1 failed",
        "FAIL  one: kernel failure: KERNEL PANIC on core 1: oh\n      | KERNEL PANIC on core 1: oh\n      \
         | backtrace:\n      |   at 0x1\n",
    );
}

#[test]
fn lies_about_the_plan() {
    reported(
        &["echo 'P s 2 7'", CASE, END],
        "1 passed, 1 failed",
        "FAIL  only 1 of 2 planned cases ran",
    );
}

#[test]
fn runs_more_than_planned() {
    let more = "echo 'R two'; echo 'T two ok 1'";
    reported(
        &[PLAN, CASE, more, "echo 'E s 2 0 0 7'"],
        "2 passed, 1 failed",
        "FAIL  more cases than the 1 that were planned: two",
    );
}

#[test]
fn repeats_a_name() {
    reported(
        &["echo 'P s 2 7'", CASE, CASE, "echo 'E s 2 0 0 7'"],
        "2 passed, 1 failed",
        "FAIL  the case one ran twice",
    );
}

#[test]
fn loses_a_page() {
    reported(
        &[PLAN, CASE, "echo 'E s 1 0 0 6'"],
        "1 passed, 1 failed",
        "FAIL  1 page lost: 7 were free before, 6 after",
    );
}

#[test]
fn ends_early() {
    reported(
        &[PLAN, CASE],
        "1 passed, 1 failed",
        "FAIL  the emulator ended with success before the end line, after 1 case",
    );
}

#[test]
fn never_says_anything() {
    reported(
        &["exit 3"],
        "0 passed, 1 failed",
        "FAIL  the emulator ended with status 3 before the plan line",
    );
}

#[test]
fn is_killed_in_a_case() {
    reported(
        &[PLAN, "echo 'R one'", "kill -9 $$"],
        "0 passed, 1 failed",
        "FAIL  one: the emulator ended with signal 9 in the middle of the case",
    );
}

#[test]
fn fails_though_everything_passed() {
    reported(
        &[PLAN, CASE, END, "exit 9"],
        "1 passed, 1 failed",
        "FAIL  the emulator ended with status 9 though everything passed",
    );
}

#[test]
fn prints_noise() {
    reported(
        &[PLAN, r"printf '\377\376\001\n'", CASE, END],
        "1 passed, 1 failed",
        "FAIL  bytes that are no text on the console",
    );
}

#[test]
fn prints_noise_without_end() {
    reported(
        &["exec cat /dev/urandom"],
        "0 passed, 52 failed",
        "FAIL  too many problems",
    );
}

#[test]
fn prints_a_line_without_end() {
    reported(
        &[PLAN, "tr '\\0' x < /dev/zero"],
        "0 passed, 2 failed",
        "FAIL  a line longer than 4096 bytes",
    );
}

#[test]
fn warns() {
    reported(
        &[PLAN, "echo '[  0.500] warning: odd'", CASE, END],
        "1 passed, 1 failed",
        "FAIL  kernel warning: odd",
    );
}

#[test]
fn refused_image_is_told() {
    reported(
        &["echo 'boot image refused: no first program'", "exit 65"],
        "0 passed, 1 failed",
        "FAIL  boot image refused: no first program",
    );
}

#[test]
fn filter_reaches_the_suite() {
    let fake = Fake::guest("echo \"$@\" >&2; exit 1");
    let image = fake.image.to_str().unwrap();
    let arguments = ["test", "--image", image, "--append", "seed=4", "page"];
    let output = fake.exo(&arguments).output().unwrap();
    let all = text(&output);
    assert!(all.contains("-append case=page seed=4"), "{all}");
}
